package tasks

import (
	"slices"
	"time"
)

// handRest is how long a hand without an attempt is kept.
const handRest = time.Second

// hand is a goroutine that calls handlers, one after the other: its stack grows once
// and not for each attempt. There are never more than the worker has slots.
type hand struct {
	next  chan *run   // has room for one; closed: nothing comes any more
	limit *time.Timer // calls late when the time of the attempt it has is over

	// Guarded by the runner's mu.
	has   *run      // nil: none
	until time.Time // that the attempt may take
	since time.Time // it has been idle
}

// freeHand is one that has nothing to do. The lock is held.
func (r *runner) freeHand() *hand {
	if n := len(r.idle); n > 0 {
		h := r.idle[n-1]
		r.idle = r.idle[:n-1]
		return h
	}
	h := &hand{next: make(chan *run, 1)}
	r.hands = append(r.hands, h)
	go r.work(h, nil)
	return h
}

// take makes a hand that of an attempt that begins. The runner's lock is held.
func (h *hand) take(a *run, r *runner, timeout time.Duration) {
	h.has, h.until = a, a.began.Add(timeout)
	if h.limit == nil {
		h.limit = time.AfterFunc(timeout, func() { r.late(h) })
		return
	}
	h.limit.Reset(timeout)
}

// late ends the attempt that a hand has, if its time is over: the timer may have been
// that of the attempt before.
func (r *runner) late(h *hand) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if h.has != nil && !time.Now().Before(h.until) {
		r.interrupt(h.has, ErrTimeout)
	}
}

// work carries out a and what comes after it. A handler may end the goroutine
// (runtime.Goexit): another one goes on as this hand.
func (r *runner) work(h *hand, a *run) {
	var out outcome
	defer func() {
		if a != nil {
			go r.work(h, r.ended(h, a, out))
		}
	}()
	for {
		if a == nil {
			a = <-h.next
		}
		if a == nil {
			return // closed
		}
		out = outcome{}
		perform(a, &out)
		a = r.ended(h, a, out)
	}
}

// rest makes a hand idle. The lock is held.
func (r *runner) rest(h *hand) {
	if r.closed {
		r.endHand(h)
		return
	}
	h.since = time.Now()
	r.idle = append(r.idle, h)
}

// thin ends hands that have been idle for long. What became idle last is used first,
// so they are in front. The lock is held.
func (r *runner) thin(now time.Time) {
	for len(r.idle) > 0 && now.Sub(r.idle[0].since) > handRest {
		r.endHand(r.idle[0])
		r.idle = slices.Delete(r.idle, 0, 1)
	}
}

// dismiss ends idle hands, and every other one when it has done what it has.
func (r *runner) dismiss() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
	for _, h := range r.idle {
		r.endHand(h)
	}
	r.idle = nil
}

// endHand ends a hand that has no attempt. The lock is held.
func (r *runner) endHand(h *hand) {
	if h.limit != nil {
		h.limit.Stop()
	}
	close(h.next)
	r.hands = slices.DeleteFunc(r.hands, func(x *hand) bool { return x == h })
}
