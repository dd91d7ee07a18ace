package sim

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Search is what a search for a failing history is to do.
type Search struct {
	Seed     uint64        // the first; each history has the next one
	For      time.Duration // how long to search
	Limit    int           // histories, 0: as many as there is time for
	Parallel int           // histories at a time; 0 is 1
	Shrink   time.Duration // how long a failing history is cut down
}

// Found is what a search found.
type Found struct {
	Histories int
	Simulated time.Duration
	Took      time.Duration
	Stats     Stats
	Failed    *Plan // cut down, nil when every history held
	Err       error // of the history before it was cut down
	FirstSeed uint64
}

// Run searches, and stops at the first history that breaks a promise.
func (s Search) Run() *Found {
	began := time.Now()
	f := &Found{}
	var mu sync.Mutex
	var next atomic.Uint64
	var wg sync.WaitGroup
	for range max(s.Parallel, 1) {
		wg.Go(func() {
			for {
				i := next.Add(1) - 1
				mu.Lock()
				over := f.Failed != nil || time.Since(began) >= s.For || s.Limit > 0 && i >= uint64(s.Limit)
				mu.Unlock()
				if over {
					return
				}
				p := Draw(s.Seed + i)
				h := Run(p, false)
				mu.Lock()
				f.Histories++
				f.Simulated += h.Took
				f.Stats.add(h.Stats)
				if h.Err != nil && f.Failed == nil {
					f.Failed, f.FirstSeed, f.Err = p, p.Seed, h.Err
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	f.Took = time.Since(began)
	if f.Failed != nil {
		f.Failed = Shrink(f.Failed, s.Shrink)
	}
	return f
}

// Report writes what a search found, for people.
func (f *Found) Report(out io.Writer) {
	minutes := max(f.Took.Minutes(), 1e-9)
	fmt.Fprintf(out, "%d histories in %v, %.0f a minute, of %v simulated time\n",
		f.Histories, f.Took.Round(time.Millisecond), float64(f.Histories)/minutes, f.Simulated.Round(time.Second))
	s := f.Stats
	fmt.Fprintf(out, "%d events, %d log entries, %d tasks ended, %d of them submitted by others, %d faults injected: %d crashes of nodes, %d leaders, %d snapshots installed, %d attempts lost with workers, %d reports refused, %d tasks put off, %d made live again, %d changes of slots\n",
		s.Events, s.Entries, s.Tasks, s.Spawned, s.Faults, s.Crashes, s.Leaders, s.Snapshots, s.Losses, s.Refused, s.Snoozed, s.Revived, s.Resized)
	if f.Failed != nil {
		fmt.Fprintf(out, "\nthe history of seed %d breaks a promise:\n# %s\ncut down, its transcript is\n\n%s", f.FirstSeed, strings.ReplaceAll(f.Err.Error(), "\n", "\n# "), Transcript(f.Failed))
	}
}

// tail is how many lines of what happened a transcript ends with.
const tail = 60

// Transcript is a failing plan to be kept and run again, followed by what
// happens in it as comments.
func Transcript(p *Plan) string {
	var b strings.Builder
	h := Run(p, true)
	if h.Err != nil {
		fmt.Fprintf(&b, "# %s\n", strings.ReplaceAll(h.Err.Error(), "\n", "\n# "))
	}
	b.WriteString(p.String())
	b.WriteString("\n# what happens:\n")
	lines := h.Trace
	if len(lines) > tail {
		fmt.Fprintf(&b, "# ... %d lines before\n", len(lines)-tail)
		lines = lines[len(lines)-tail:]
	}
	for _, l := range lines {
		fmt.Fprintf(&b, "# %s\n", strings.ReplaceAll(l, "\n", "\n# "))
	}
	return b.String()
}
