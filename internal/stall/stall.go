// Package stall notices a call that does not return, such as a write to a disk
// that hangs, while it still hangs. It counts looks and not time: a process that
// was stopped for a minute and goes on has looked once, and not found a stall.
package stall

import (
	"sync"
	"time"
)

// looks is how often a watch looks within its limit.
const looks = 20

// Watch calls stalled, once and on a goroutine of its own, when stop is not
// called within limit. Stop does not wait for a call that has begun; it can be
// repeated.
func Watch(limit time.Duration, stalled func()) (stop func()) {
	w := &watch{step: limit / looks, stalled: stalled}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.timer = time.AfterFunc(w.step, w.look)
	return w.stop
}

type watch struct {
	step    time.Duration
	stalled func()

	mu    sync.Mutex
	timer *time.Timer
	seen  int
	over  bool
}

func (w *watch) look() {
	w.mu.Lock()
	if w.over {
		w.mu.Unlock()
		return
	}
	w.seen++
	w.over = w.seen == looks
	if !w.over {
		w.timer.Reset(w.step)
	}
	over := w.over
	w.mu.Unlock()
	if over {
		w.stalled()
	}
}

func (w *watch) stop() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.over = true
	w.timer.Stop()
}
