package tasks

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	"farm/api"
	"farm/internal/attach"
	"farm/internal/label"
)

// Times of a worker of handlers.
const (
	// handBack is how long an attempt waits for a slot before it is given back.
	handBack = 100 * time.Millisecond
	// tendEvery is how often progress is told and times are looked at.
	tendEvery = 50 * time.Millisecond
	// settleTimeout is how long Serve waits, at its end, for the leader's answers to
	// reports, and lastWordsTimeout for the last messages to be sent.
	settleTimeout    = time.Second
	lastWordsTimeout = time.Second
	// maxHeld is how many bytes it may take to name the attempts that a worker holds:
	// the first message of a stream names each at most twice and must fit api.MaxMessage.
	// More are given back.
	maxHeld = 3 << 20
	// awayLeases is how many leases a worker may be without a leader before it takes
	// its attempts for lost. One may pass with an election and with attaching.
	awayLeases = 2
)

// runner is a worker of handlers: what it was assigned, and what came of it.
type runner struct {
	handlers map[string]*handler
	o        WorkerOptions
	log      *slog.Logger
	has      []string
	serial   uint64          // the incarnation
	base     context.Context // of handlers
	out      *attach.Outbox
	link     *attach.Link
	changed  chan struct{} // holds a token when something happened while draining

	mu       sync.Mutex // guards all that follows and all it refers to
	attempts map[attemptKey]*run
	held     int    // bytes that naming all attempts takes
	line     []*run // waiting, from head on, first come first served; some may be gone
	head     int
	hands    []*hand // all there are, at most Slots
	idle     []*hand // those without an attempt, the last to be used first
	closed   bool    // no hand is kept any more
	running  int     // handlers that run and whose attempts have no end yet
	lost     int     // handlers that run although the attempt is over
	resized  bool
	reports  uint64
	draining bool
	attached bool
	away     time.Time // since when there is no leader; zero: there is one
	lease    time.Duration
}

type attemptKey struct {
	task    string
	attempt uint32
}

type runState int

const (
	waiting  runState = iota // for a slot
	running                  // its handler was called
	reported                 // its report is kept until the leader answers
	gone                     // nobody wants to hear of it any more
)

// run is one attempt that was assigned to this worker.
type run struct {
	attemptKey
	assign  *api.Assign
	work    *api.Work // nil: it cannot be read
	state   runState
	arrived time.Time

	// Of the call; set when it begins.
	hand     *hand // that runs the handler; nil: none any more
	began    time.Time
	ctx      context.Context
	cancel   context.CancelCauseFunc
	why      error // its context was ended for; nil: it was not
	handler  *handler
	input    json.RawMessage
	attempt  *Attempt
	grace    *time.Timer // of leave, nil while the handler may run
	detached bool        // the handler runs on, its slot is lost

	report  *api.Complete
	counter uint64 // position among all reports
}

func (a *run) ref() *api.AttemptRef {
	return &api.AttemptRef{Task: a.task, Attempt: a.attemptKey.attempt}
}

// refSize is about what naming the attempt takes in a message.
func (a *run) refSize() int { return len(a.task) + 12 }

func newRunner(base context.Context, m *Mux, o WorkerOptions) *runner {
	r := &runner{handlers: m.wrapped(), o: o, log: o.Logger.With("worker", o.Name), serial: uint64(time.Now().UnixNano()), base: base,
		out: attach.NewOutbox(), changed: make(chan struct{}, 1), attempts: map[attemptKey]*run{}, away: time.Now()}
	for name := range r.handlers {
		r.has = append(r.has, label.Handler+name)
	}
	r.has = append(r.has, label.Things(o.Labels)...)
	slices.Sort(r.has)
	return r
}

// ---- the stream ----

// Attached implements attach.Worker.
func (r *runner) Attached(context.CancelFunc) *api.Hello {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.attached = true
	r.out.Hello()
	h := &api.Hello{Worker: r.o.Name, Incarnation: r.serial, Slots: uint32(r.o.Slots), Has: r.has, Echo: true}
	for _, a := range r.attempts {
		h.Holds = append(h.Holds, a.ref())
		if a.state != waiting {
			h.Began = append(h.Began, a.ref())
		}
	}
	return h
}

// Detached implements attach.Worker.
func (r *runner) Detached() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.attached = false
	if r.away.IsZero() {
		r.away = time.Now()
	}
	r.out.End()
	r.poke()
}

// Obey implements attach.Worker.
func (r *runner) Obey(m *api.ToWorker) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, i := range m.Instructions {
		switch do := i.Do.(type) {
		case *api.Instruction_Welcome:
			r.lease = time.Duration(do.Welcome.Lease)
			r.resume()
		case *api.Instruction_Assign:
			r.take(do.Assign)
		case *api.Instruction_Settled:
			if a := r.attempts[keyOf(do.Settled)]; a != nil && a.state == reported {
				r.forget(a)
			}
		case *api.Instruction_Voided:
			r.void(r.attempts[keyOf(do.Voided)])
		case *api.Instruction_Stop:
			r.stop(r.attempts[keyOf(do.Stop)])
		}
	}
	r.dispatch()
	r.poke()
	return true
}

func keyOf(r *api.AttemptRef) attemptKey { return attemptKey{r.GetTask(), r.GetAttempt()} }

// resume says what the last stream may not have heard. The lock is held.
func (r *runner) resume() {
	r.away = time.Time{}
	r.out.Begin()
	var again []*run
	for _, a := range r.attempts {
		switch a.state {
		case reported:
			again = append(again, a)
		case running:
			r.sayBegan(a)
		}
	}
	slices.SortFunc(again, func(a, b *run) int { return cmp.Compare(a.counter, b.counter) })
	for _, a := range again {
		r.out.Report(a.report)
	}
	if r.resized {
		r.saySlots()
	}
	if r.draining {
		r.sayDraining()
	}
}

func (r *runner) sayBegan(a *run) {
	r.out.Add(func(m *api.FromWorker) { m.Began = append(m.Began, a.ref()) })
}

func (r *runner) saySlots() {
	n := uint32(max(r.o.Slots-r.lost, 0))
	r.resized = true
	r.out.Add(func(m *api.FromWorker) { m.Resize = &api.Slots{Slots: n} })
}

func (r *runner) sayDraining() {
	r.out.Add(func(m *api.FromWorker) { m.Draining = true })
}

// ---- attempts, before they run. The lock is held. ----

func (r *runner) take(in *api.Assign) {
	a := &run{attemptKey: attemptKey{in.Task, in.Attempt}, assign: in, arrived: time.Now()}
	if r.attempts[a.attemptKey] != nil {
		return // said again by a new leader
	}
	r.attempts[a.attemptKey] = a
	r.held += a.refSize()
	var w api.Work
	if proto.Unmarshal(in.Work, &w) == nil {
		a.work = &w
	}
	if r.draining || r.held > maxHeld {
		r.giveBack(a)
		return
	}
	if r.head > 64 && r.head > len(r.line)/2 {
		r.line = append(r.line[:0], r.line[r.head:]...)
		r.head = 0
	}
	r.line = append(r.line, a)
}

func (r *runner) giveBack(a *run) {
	a.state = gone
	r.forget(a)
	r.out.Return(a.ref())
}

// void is for an attempt that nobody wants, or whose report was refused.
func (r *runner) void(a *run) {
	if a == nil {
		return
	}
	if a.state == running {
		r.interrupt(a, ErrLost)
	}
	a.state = gone
	r.forget(a)
}

// forget is for an attempt of which nothing is to be said any more.
func (r *runner) forget(a *run) {
	if r.attempts[a.attemptKey] == a {
		delete(r.attempts, a.attemptKey)
		r.held -= a.refSize()
	}
}

// stop ends an attempt, or gives it back if it has not begun.
func (r *runner) stop(a *run) {
	switch {
	case a == nil:
	case a.state == waiting:
		r.giveBack(a)
	case a.state == running:
		r.interrupt(a, ErrCancelled)
	}
}

// dispatch begins attempts while there are slots.
func (r *runner) dispatch() {
	for a := r.next(); a != nil; a = r.next() {
		h := r.freeHand()
		r.begin(h, a)
		h.next <- a
	}
}

// next takes the first in line, nil when there is none or no slot for it.
func (r *runner) next() *run {
	for r.running+r.lost < r.o.Slots && r.head < len(r.line) {
		a := r.line[r.head]
		r.line[r.head] = nil
		r.head++
		if a.state == waiting {
			return a
		}
	}
	return nil
}

// returnWaiting gives back what waits since before a time.
func (r *runner) returnWaiting(before time.Time) {
	for r.head < len(r.line) {
		a := r.line[r.head]
		if a.state == waiting && !a.arrived.Before(before) {
			return
		}
		r.line[r.head] = nil
		r.head++
		if a.state == waiting {
			r.giveBack(a)
		}
	}
}

// ---- attempts that run ----

// begin makes all that an attempt's handler is called with. The lock is held.
func (r *runner) begin(h *hand, a *run) {
	a.state, a.hand, a.began = running, h, time.Now()
	r.running++
	r.sayBegan(a)
	a.attempt = newAttempt(a, r.out)
	if a.handler = r.handlers[a.attempt.Handler]; a.handler == nil {
		a.handler = unknownHandler
	}
	a.input = a.work.GetInput()
	var ctx context.Context
	ctx, a.cancel = context.WithCancelCause(r.base)
	a.ctx = context.WithValue(ctx, attemptContext{}, a.attempt)
	timeout := time.Duration(a.assign.Timeout)
	if timeout <= 0 {
		timeout = r.o.Timeout
	}
	h.take(a, r, timeout)
}

// unknownHandler stands in for one that there is not, which the farm does not let
// happen.
var unknownHandler = &handler{call: func(ctx context.Context, _ json.RawMessage) (json.RawMessage, error) {
	return nil, DoNotRetry(fmt.Errorf("%w: this worker has no handler %q", ErrNotFound, FromContext(ctx).Handler))
}}

// interrupt ends an attempt's context, once, and gives its handler Grace to
// return. The lock is held.
func (r *runner) interrupt(a *run, why error) {
	if a.hand == nil || a.why != nil {
		return
	}
	a.why = why
	a.cancel(why)
	a.grace = time.AfterFunc(r.o.Grace, func() { r.leave(a) })
}

// leave goes on without a handler that has not returned in time: the attempt is
// over, its slot is lost.
func (r *runner) leave(a *run) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if a.hand == nil || a.detached {
		return
	}
	a.detached = true
	r.running--
	r.lost++
	r.log.Warn("a handler does not return; its slot is lost until it does", "task", a.task, "attempt", a.attemptKey.attempt, "handler", a.attempt.Handler, "cause", a.why)
	r.settle(a, outcome{err: a.why, left: r.o.Grace})
	r.saySlots()
	r.dispatch()
	r.poke()
}

// ended takes what a handler returned, and says what its hand goes on with; nil:
// with what it is given.
func (r *runner) ended(h *hand, a *run, out outcome) (next *run) {
	r.mu.Lock()
	defer r.mu.Unlock()
	h.has, a.hand, a.ctx, a.input = nil, nil, nil, nil
	if a.grace != nil {
		a.grace.Stop()
	}
	a.cancel(nil)
	if a.detached {
		r.lost--
		r.log.Info("a handler has returned after all", "task", a.task, "attempt", a.attemptKey.attempt)
		r.saySlots()
	} else {
		r.running--
		r.settle(a, out)
	}
	if next = r.next(); next != nil {
		r.begin(h, next)
	} else {
		r.rest(h)
	}
	r.poke()
	return next
}

// settle reports the end of an attempt, or gives it back. The lock is held.
func (r *runner) settle(a *run, out outcome) {
	if a.state != running {
		return // nobody wants to know
	}
	if out.err != nil && (errors.Is(a.why, ErrDraining) || errors.Is(a.why, ErrLost)) {
		r.giveBack(a)
		return
	}
	a.report = out.report(a)
	a.state = reported
	r.reports++
	a.counter = r.reports
	a.assign, a.work = nil, nil
	r.out.Report(a.report)
}

// ---- time passes ----

// tend does what is due from time to time.
func (r *runner) tend(ctx context.Context) {
	t := time.NewTicker(tendEvery)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		r.look(time.Now())
	}
}

func (r *runner) look(now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.away.IsZero() && r.lease > 0 && now.Sub(r.away) > awayLeases*r.lease {
		r.endLocked(ErrLost)
	}
	for _, h := range r.hands {
		a := h.has
		if a == nil || a.state != running {
			continue
		}
		if p := a.attempt.live.takeProgress(); p != nil {
			r.out.Progress(p)
		}
		if d := a.handler.stuck; d > 0 && now.UnixNano()-a.attempt.live.alive.Load() > int64(d) {
			r.interrupt(a, ErrStuck)
		}
	}
	r.thin(now)
	if r.running+r.lost >= r.o.Slots {
		r.returnWaiting(now.Add(-handBack))
	}
}

// abort ends everything without a farm to tell it to.
func (r *runner) abort() {
	r.mu.Lock()
	r.draining = true
	r.endLocked(ErrLost)
	r.mu.Unlock()
	r.await(r.o.Grace+time.Second, func() bool { return r.running == 0 })
}

// end gives up everything: the contexts of handlers end for a reason, and what
// waits is dropped.
func (r *runner) end(why error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.endLocked(why)
}

func (r *runner) endLocked(why error) {
	r.returnWaiting(time.Now().Add(time.Hour))
	for _, a := range r.attempts {
		if a.state == running {
			r.interrupt(a, why)
		}
	}
}

// drain comes to the end of everything, and says how many handlers have not
// returned.
func (r *runner) drain() int {
	r.mu.Lock()
	r.draining = true
	r.sayDraining()
	r.returnWaiting(time.Now().Add(time.Hour))
	r.mu.Unlock()
	idle := func() bool { return r.running == 0 }
	if !r.await(r.o.DrainTimeout, idle) {
		r.end(ErrDraining)
		r.await(r.o.Grace+time.Second, idle)
	}
	r.await(settleTimeout, func() bool { return r.unsettled() == 0 || !r.attached })
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.running + r.lost
}

// unsettled counts the reports without an answer. The lock is held.
func (r *runner) unsettled() (n int) {
	for _, a := range r.attempts {
		if a.state == reported {
			n++
		}
	}
	return n
}

// await waits until done, which is called with the lock held, and tells whether
// that was in time.
func (r *runner) await(timeout time.Duration, done func() bool) bool {
	limit := time.NewTimer(timeout)
	defer limit.Stop()
	for {
		r.mu.Lock()
		ok := done()
		r.mu.Unlock()
		if ok {
			return true
		}
		select {
		case <-r.changed:
		case <-limit.C:
			return false
		}
	}
}

// poke wakes await. The lock is held.
func (r *runner) poke() {
	if !r.draining {
		return
	}
	select {
	case r.changed <- struct{}{}:
	default:
	}
}
