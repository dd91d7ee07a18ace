package stall

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		var after atomic.Int64
		Watch(time.Second, func() { after.Store(int64(time.Since(began))) })
		stop := Watch(time.Second, func() { t.Error("a call that returned in time is a stall") })
		time.Sleep(900 * time.Millisecond)
		stop()
		stop()
		if d := time.Duration(after.Load()); d != 0 {
			t.Errorf("a stall after %v", d)
		}
		time.Sleep(10 * time.Second)
		if d := time.Duration(after.Load()); d != time.Second {
			t.Errorf("a stall after %v, want 1s", d)
		}
	})
}

// A process that stands still sees no time pass between two looks: one look,
// however late, is no stall.
func TestOneLateLookIsNoStall(t *testing.T) {
	w := &watch{step: time.Hour, stalled: func() { t.Error("stalled") }}
	w.timer = time.AfterFunc(time.Hour, w.look)
	defer w.stop()
	for range looks - 1 {
		w.look()
	}
}
