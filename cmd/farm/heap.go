package main

import (
	"context"
	"os"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// A node makes much that is garbage a moment later, and keeps little: collected each
// time the heap has doubled, as by default, a small heap is collected all the time.
// So a small one may grow by more before it is, and is given back when there is
// nothing to do.
const (
	heapRoom     = 48 << 20 // bytes of garbage that are of no account
	maxHeap      = 300      // percent of what is in use that garbage may take
	minHeap      = 100      // the same, for a large heap: Go's default
	tendEvery    = time.Second
	idleBytes    = 1 << 20 // allocated between two looks by a node that does nothing
	idleLooks    = 5       // in a row, before its memory is given back
	worthFreeing = 16 << 20
)

// heapTender decides, from what the runtime says, what to do about the heap.
type heapTender struct {
	percent int
	last    uint64 // bytes allocated ever, at the last look
	since   uint64 // the same, when memory was last given back
	quiet   int    // looks in a row at which there was nothing to do
}

// look takes the bytes that were in use after the last collection, and those
// allocated ever. It returns the percentage to set, 0 for none, and whether to give
// memory back.
func (h *heapTender) look(live, allocated uint64) (percent int, free bool) {
	want := maxHeap
	if live > 0 {
		want = int(min(max(100*heapRoom/live, minHeap), maxHeap))
	}
	if want != h.percent && (want < h.percent*9/10 || want > h.percent*11/10 || want == minHeap) {
		h.percent, percent = want, want
	}
	if allocated-h.last < idleBytes {
		h.quiet++
	} else {
		h.quiet = 0
	}
	h.last = allocated
	if h.quiet == idleLooks && allocated-h.since > worthFreeing {
		h.since, free = allocated, true
	}
	return percent, free
}

// tendHeap looks after the heap of this process, which is a node, until ctx ends. It
// does nothing where the environment says what the collector is to do.
func tendHeap(ctx context.Context) {
	if os.Getenv("GOGC") != "" || os.Getenv("GOMEMLIMIT") != "" {
		return
	}
	var h heapTender
	sample := heapSample()
	tick := time.NewTicker(tendEvery)
	defer tick.Stop()
	for {
		metrics.Read(sample)
		percent, free := h.look(sample[0].Value.Uint64(), sample[1].Value.Uint64())
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

// heapSample is what the runtime is asked: what look takes, in this order.
func heapSample() []metrics.Sample {
	return []metrics.Sample{{Name: "/gc/heap/live:bytes"}, {Name: "/gc/heap/allocs:bytes"}}
}
