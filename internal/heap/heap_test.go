package heap

import (
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"testing"
	"time"
)

func TestHeapOfANode(t *testing.T) {
	const mib = 1 << 20
	h := tender{room: 48 * mib}
	at := uint64(0)
	for _, c := range []struct {
		live, more uint64 // MiB
		percent    int
		free       bool
	}{
		{0, 0, 300, false},    // nothing was collected yet
		{10, 100, 0, false},   // small: as it is
		{24, 100, 200, false}, // 48 MiB of garbage
		{25, 100, 0, false},   // about the same
		{480, 100, 100, false},
		{500, 0, 0, false}, {500, 0, 0, false}, {500, 0, 0, false}, {500, 0, 0, false},
		{500, 0, 0, true}, // nothing to do for five looks
		{500, 0, 0, false}, {500, 0, 0, false}, {500, 0, 0, false}, {500, 0, 0, false}, {500, 0, 0, false}, {500, 0, 0, false},
		{12, 2, 300, false},                                                                           // a little
		{12, 0, 0, false}, {12, 0, 0, false}, {12, 0, 0, false}, {12, 0, 0, false}, {12, 0, 0, false}, // not worth it
		{12, 20, 0, false},
		{12, 0, 0, false}, {12, 0, 0, false}, {12, 0, 0, false}, {12, 0, 0, false},
		{12, 0, 0, true},
	} {
		at += c.more * mib
		if percent, free := h.look(c.live*mib, at); percent != c.percent || free != c.free {
			t.Fatalf("at %d MiB, %+v: %d%%, %v", at/mib, c, percent, free)
		}
	}
}

// TestRuntimeTellsOfTheHeap: the metrics are there, and are numbers.
func TestRuntimeTellsOfTheHeap(t *testing.T) {
	sample := sample()
	metrics.Read(sample)
	for _, s := range sample {
		if s.Value.Kind() != metrics.KindUint64 {
			t.Errorf("%s is of kind %v", s.Name, s.Value.Kind())
		}
	}
}

// TestFollow: the percentage is that of the heap after each collection, not only the first.
func TestFollow(t *testing.T) {
	before := debug.SetGCPercent(100)
	defer debug.SetGCPercent(before)
	const room = 48 << 20
	Follow(room)
	if p := percent(); p != maxPercent {
		t.Fatalf("%d%% at first", p)
	}
	func() {
		large := make([]byte, 8*room)
		settles(t, minPercent)
		runtime.KeepAlive(large)
	}()
	settles(t, maxPercent)
}

// settles waits until the percentage is as wanted, collecting meanwhile.
func settles(t *testing.T, want int) {
	t.Helper()
	for range 500 {
		runtime.GC()
		if percent() == want {
			return
		}
		time.Sleep(10 * time.Millisecond) // the finalizer is another goroutine
	}
	t.Fatalf("%d%%, want %d%%", percent(), want)
}

func percent() int {
	s := []metrics.Sample{{Name: "/gc/gogc:percent"}}
	metrics.Read(s)
	return int(s[0].Value.Uint64())
}
