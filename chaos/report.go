package chaos

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"text/tabwriter"
	"time"
)

// The promises that violations are of.
const (
	promiseDurable     = "acknowledged means durable"
	promiseOnce        = "exactly once inside farm"
	promiseTransaction = "a task is a transaction"
	promiseOrder       = "a namespace is serial, in the order of submission"
	promiseReads       = "reads are linearizable"
	promiseOne         = "one state on every replica"
	promiseBounded     = "everything is bounded"
	promiseBlame       = "blame is just"
	promiseIntact      = "damage is found, and named"
	promiseLive        = "the farm goes on"
	promiseLimits      = "limits of queues hold"
	promiseUnique      = "a unique key has one task"
	promiseTimes       = "times and dependencies hold"
	promiseTicks       = "a schedule submits once for each of its times"
)

// Violation is a promise that does not hold.
type Violation struct {
	Promise string        `json:"promise"`
	What    string        `json:"what"`
	At      time.Duration `json:"at"` // since the run began
}

// Injected is a fault that was injected.
type Injected struct {
	Fault    string        `json:"fault"`
	At       time.Duration `json:"at"`
	Took     time.Duration `json:"took"` // until the cluster was whole again
	Evidence string        `json:"evidence"`
}

// Usage is what the nodes used at most.
type Usage struct {
	Nodes      int   `json:"nodes"`  // how many there were
	Memory     int64 `json:"memory"` // bytes, of one node
	Files      int   `json:"files"`
	Goroutines int   `json:"goroutines"`
	Disk       int64 `json:"disk"` // bytes, of one node
}

// Report is what a run did and found. It is sound when there are no violations.
type Report struct {
	Scenario     string                     `json:"scenario"`
	Seed         uint64                     `json:"seed"`
	Nodes        int                        `json:"nodes"`
	LogStore     string                     `json:"log_store"`
	Engine       string                     `json:"engine,omitempty"` // that was asked for
	Took         time.Duration              `json:"took"`
	Faults       []Injected                 `json:"faults"`
	Acknowledged int                        `json:"acknowledged"` // calls
	Reads        int                        `json:"reads"`        // of them, checked ones
	Unknown      int                        `json:"unknown"`      // calls without an answer, resolved later where they had an id
	Lost         int                        `json:"lost"`
	Duplicated   int                        `json:"duplicated"`
	Stale        int                        `json:"stale"`
	Refused      uint64                     `json:"refused"` // late reports of given up workers
	Unavailable  time.Duration              `json:"unavailable"`
	Outages      map[string][]time.Duration `json:"outages"` // by fault, until a call made after it was acknowledged
	Checks       []string                   `json:"checks"`
	Before       Usage                      `json:"usage_before"`
	After        Usage                      `json:"usage_after"`
	Violations   []Violation                `json:"violations"`
	Folder       string                     `json:"folder,omitempty"` // kept, when there are violations
}

// FaultCount is how often each kind of fault was injected in some runs.
func FaultCount(reports []*Report) map[string]int {
	out := map[string]int{}
	for _, r := range reports {
		for _, f := range r.Faults {
			out[f.Fault]++
		}
	}
	return out
}

// WriteText writes a report for people.
func (r *Report) WriteText(w io.Writer) {
	fmt.Fprintf(w, "scenario %s, seed %d, %d nodes, log store %s, engine %s, %v\n", r.Scenario, r.Seed, r.Nodes, r.LogStore, cmp.Or(r.Engine, "of the farm"), r.Took.Round(time.Second))
	for _, f := range r.Faults {
		fmt.Fprintf(w, "  %7.1fs %-20s %s (whole again after %v)\n", f.At.Seconds(), f.Fault, f.Evidence, f.Took.Round(10*time.Millisecond))
	}
	for _, c := range r.Checks {
		fmt.Fprintf(w, "  checked: %s\n", c)
	}
	for _, v := range r.Violations {
		fmt.Fprintf(w, "  BROKEN %q: %s (at %.1fs)\n", v.Promise, v.What, v.At.Seconds())
	}
	if r.Folder != "" {
		fmt.Fprintf(w, "  everything is kept in %s\n", r.Folder)
	}
}

// WriteTable writes what several runs did, a line each, and in all.
func WriteTable(w io.Writer, reports []*Report) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "SCENARIO\tFAULTS\tACKNOWLEDGED\tREADS\tLOST\tDUPLICATED\tSTALE\tREFUSED\tUNAVAILABLE\tBROKEN PROMISES")
	all := &Report{Scenario: "all"}
	line := func(r *Report, faults, broken int) {
		fmt.Fprintf(t, "%s\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%.1fs\t%d\n", r.Scenario, faults, r.Acknowledged, r.Reads, r.Lost, r.Duplicated, r.Stale, r.Refused, r.Unavailable.Seconds(), broken)
	}
	faults, broken := 0, 0
	for _, r := range reports {
		line(r, len(r.Faults), len(r.Violations))
		faults, broken = faults+len(r.Faults), broken+len(r.Violations)
		all.Acknowledged, all.Reads, all.Lost, all.Duplicated = all.Acknowledged+r.Acknowledged, all.Reads+r.Reads, all.Lost+r.Lost, all.Duplicated+r.Duplicated
		all.Stale, all.Refused, all.Unavailable = all.Stale+r.Stale, all.Refused+r.Refused, max(all.Unavailable, r.Unavailable)
	}
	line(all, faults, broken)
	_ = t.Flush()
	writeFaults(w, reports)
}

func writeFaults(w io.Writer, reports []*Report) {
	counts := FaultCount(reports)
	outages := map[string][]time.Duration{}
	for _, r := range reports {
		for f, d := range r.Outages {
			outages[f] = append(outages[f], d...)
		}
	}
	fmt.Fprintln(w)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "FAULT\tTIMES\tACKNOWLEDGED AGAIN: MEDIAN\tAT MOST\tWHAT")
	for _, f := range slices.Sorted(maps.Keys(counts)) {
		median, most := "", ""
		if d := outages[f]; len(d) > 0 {
			slices.Sort(d)
			median, most = d[len(d)/2].Round(time.Millisecond).String(), d[len(d)-1].Round(time.Millisecond).String()
		}
		fmt.Fprintf(t, "%s\t%d\t%s\t%s\t%s\n", f, counts[f], median, most, faults[f].about)
	}
	_ = t.Flush()
}

// save writes the report beside what it is about.
func (r *Report) save(dir string) error {
	b, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	f, err := os.Create(filepath.Join(dir, "report.txt"))
	if err != nil {
		return err
	}
	r.WriteText(f)
	return errors.Join(f.Close(), os.WriteFile(filepath.Join(dir, "report.json"), append(b, '\n'), 0o600))
}

// grade counts what was broken.
func (r *Report) grade() {
	slices.SortStableFunc(r.Violations, func(a, b Violation) int { return cmp.Compare(a.At, b.At) })
}
