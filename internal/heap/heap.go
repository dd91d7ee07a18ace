// Package heap decides how much garbage a process may hold before it is collected.
//
// Nodes and the children that run cells make much that is garbage a moment later, and
// keep little: collected each time the heap has doubled, as by default, a small heap is
// collected all the time. So a small one may grow by more before it is.
package heap

import (
	"context"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// Bytes of garbage that are of no account in a process.
const (
	NodeRoom  = 96 << 20
	ChildRoom = 48 << 20 // there are many of them
)

const (
	maxPercent   = 300 // of what is in use that garbage may take
	minPercent   = 100 // the same, for a large heap: Go's default
	lookEvery    = time.Second
	idleBytes    = 1 << 20 // allocated between two looks by a process that does nothing
	idleLooks    = 5       // in a row, before its memory is given back
	worthFreeing = 16 << 20
)

// Follow sets the percentage of garbage anew after each collection, from what that one
// left in use. It costs nothing between collections. The limit of memory, where one is
// set, still holds: collections come earlier near it.
func Follow(room uint64) {
	debug.SetGCPercent(maxPercent)
	f := &follower{sample: sample(), room: room, percent: maxPercent}
	runtime.SetFinalizer(&cycle{f}, (*cycle).over)
}

// follower is what one collection leaves to the next.
type follower struct {
	sample  []metrics.Sample
	room    uint64
	percent int
}

// cycle is garbage from the start: its finalizer runs after the next collection.
type cycle struct{ f *follower }

func (c *cycle) over() {
	metrics.Read(c.f.sample)
	if p := change(c.f.percent, c.f.room, c.f.sample[0].Value.Uint64()); p > 0 {
		c.f.percent = p
		debug.SetGCPercent(p)
	}
	runtime.SetFinalizer(c, (*cycle).over)
}

// Tend does what Follow does, once a second, and gives memory back where the process has
// nothing to do for some seconds, until ctx ends. It does nothing where the environment
// says what the collector is to do.
func Tend(ctx context.Context, room uint64) {
	if os.Getenv("GOGC") != "" || os.Getenv("GOMEMLIMIT") != "" {
		return
	}
	t := tender{room: room}
	sample := sample()
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		metrics.Read(sample)
		percent, free := t.look(sample[0].Value.Uint64(), sample[1].Value.Uint64())
		if percent > 0 {
			debug.SetGCPercent(percent)
		}
		if free {
			debug.FreeOSMemory()
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// sample is what the runtime is asked: what look takes, in this order.
func sample() []metrics.Sample {
	return []metrics.Sample{{Name: "/gc/heap/live:bytes"}, {Name: "/gc/heap/allocs:bytes"}}
}

// change is the percentage for a heap of which live bytes were in use after its last
// collection; 0 when it is so near to what is set that a change is not worth it.
func change(set int, room, live uint64) int {
	want := maxPercent
	if live > 0 {
		want = int(min(max(100*room/live, minPercent), maxPercent))
	}
	if want != set && (want < set*9/10 || want > set*11/10 || want == minPercent) {
		return want
	}
	return 0
}

// tender decides, from what the runtime says, what to do about the heap.
type tender struct {
	room    uint64
	percent int
	last    uint64 // bytes allocated ever, at the last look
	since   uint64 // the same, when memory was last given back
	quiet   int    // looks in a row at which there was nothing to do
}

// look takes the bytes that were in use after the last collection, and those
// allocated ever. It returns the percentage to set, 0 for none, and whether to give
// memory back.
func (t *tender) look(live, allocated uint64) (percent int, free bool) {
	if percent = change(t.percent, t.room, live); percent > 0 {
		t.percent = percent
	}
	if allocated-t.last < idleBytes {
		t.quiet++
	} else {
		t.quiet = 0
	}
	t.last = allocated
	if t.quiet == idleLooks && allocated-t.since > worthFreeing {
		t.since, free = allocated, true
	}
	return percent, free
}
