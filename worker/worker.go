package worker

import (
	"container/list"
	"context"
	"log/slog"
	"sync"
	"time"

	"farm/api"
	"farm/internal/attach"
)

// Worker runs attempts for a farm. Use New.
type Worker struct {
	cfg   Config
	log   *slog.Logger
	out   *attach.Outbox
	link  *attach.Link
	began time.Time

	starts  chan struct{} // one token for each child to start
	kids    sync.WaitGroup
	changed chan struct{} // holds a token when something happened while draining

	room    *room
	toCarry chan struct{} // holds a token while carries may have something
	fetches sync.WaitGroup
	inner   context.Context // of Run

	mu        sync.Mutex // guards all that follows and all it refers to
	attempts  map[attemptKey]*attempt
	spaces    map[string]*space
	lru       list.List // of spaces, the last used first
	cached    int64     // bytes of spaces
	jobs      specCache
	line      line
	carries   []*attempt // whose parts are to be brought to the farm
	children  []*child
	starting  int    // children being started
	isolation string // level of the children's confinement, "" before there was one
	startErr  error
	retryAt   int64 // when to try again after startErr, nanoseconds
	running   int   // attempts on children
	stamps    uint64
	reports   uint64
	uses      uint64
	draining  bool
	closing   bool               // no child is to be started any more
	relink    context.CancelFunc // ends the stream there is
	stats     Stats              // the counters
}

// New checks the configuration. The worker does nothing before Run. Errors
// wrap ErrConfig.
func New(cfg Config) (*Worker, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	w := &Worker{
		cfg:      cfg,
		log:      cfg.Logger.With("worker", cfg.ID),
		out:      attach.NewOutbox(),
		began:    time.Now(),
		starts:   make(chan struct{}, cfg.Contexts),
		changed:  make(chan struct{}, 1),
		room:     newRoom(cfg.Limits.UnsettledBytes),
		toCarry:  make(chan struct{}, 1),
		attempts: map[attemptKey]*attempt{},
		spaces:   map[string]*space{},
	}
	w.link = attach.New(cfg.Dial, linked{w}, w.out, w.log)
	return w, nil
}

// now is a monotonic time in nanoseconds.
func (w *Worker) now() int64 { return int64(time.Since(w.began)) }

// Run takes and runs attempts until ctx ends. It then gives back what has not
// begun, lets what runs finish for DrainTimeout, kills the children and
// returns nil. It is to be called once.
func (w *Worker) Run(ctx context.Context) error {
	inner, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	w.inner = inner
	var parts sync.WaitGroup
	parts.Go(func() { w.startChildren(inner) })
	parts.Go(func() { w.tend(inner) })
	parts.Go(func() { w.carrier(inner) })
	linked := make(chan struct{})
	parts.Go(func() {
		defer close(linked)
		_ = w.link.Run(inner) // no error of it is fatal
	})
	w.mu.Lock()
	w.replenish()
	w.mu.Unlock()
	<-ctx.Done()
	w.drain()
	w.killChildren()
	w.link.Close()
	select {
	case <-linked:
	case <-time.After(lastWordsTimeout):
	}
	cancel()
	parts.Wait()
	w.kids.Wait()
	w.fetches.Wait()
	return nil
}

// lastWordsTimeout is how long the last messages may take to be sent after
// the end of all attempts.
const lastWordsTimeout = time.Second

// settleTimeout is how long Run waits, at its end, for the leader's answers to
// reports: with them the leader need not ask anybody.
const settleTimeout = time.Second

// drain gives back what waits and lets the rest come to its end.
func (w *Worker) drain() {
	w.mu.Lock()
	w.draining = true
	w.sayDraining()
	w.returnWaiting(func(int64) bool { return true })
	w.mu.Unlock()
	w.await(w.cfg.Limits.DrainTimeout, func() bool { return w.running == 0 })
	w.await(w.cfg.Limits.DrainTimeout, func() bool { return w.uncarried() == 0 || w.relink == nil })
	w.await(settleTimeout, func() bool { return w.unsettled() == 0 || w.relink == nil })
}

// sayDraining tells the leader that nothing new is to come. The lock is held.
func (w *Worker) sayDraining() { w.out.Add(func(m *api.FromWorker) { m.Draining = true }) }

// await waits until done, which is called with the lock held.
func (w *Worker) await(timeout time.Duration, done func() bool) {
	limit := time.NewTimer(timeout)
	defer limit.Stop()
	for {
		w.mu.Lock()
		ok := done()
		w.mu.Unlock()
		if ok {
			return
		}
		select {
		case <-w.changed:
		case <-limit.C:
			return
		}
	}
}

// poke wakes await. The lock is held.
func (w *Worker) poke() {
	if !w.draining {
		return
	}
	select {
	case w.changed <- struct{}{}:
	default:
	}
}

// unsettled counts the reports without an answer. The lock is held.
func (w *Worker) unsettled() int {
	n := 0
	for _, a := range w.attempts {
		if a.state == reported {
			n++
		}
	}
	return n
}

// tend does what is due from time to time: output to be streamed, attempts
// that waited too long, children that could not be started.
func (w *Worker) tend(ctx context.Context) {
	t := time.NewTicker(min(streamEvery, w.cfg.Limits.HandBack/2+1))
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		w.mu.Lock()
		var sinks []*sink
		for _, c := range w.children {
			if c.busy {
				sinks = append(sinks, c.p.sink)
			}
		}
		if w.running >= w.cfg.Slots || w.draining {
			limit := w.now() - int64(w.cfg.Limits.HandBack)
			w.returnWaiting(func(since int64) bool { return since <= limit })
		}
		w.dispatch()
		w.mu.Unlock()
		for _, s := range sinks {
			s.tick()
		}
	}
}

// Stats tells what the worker is doing. Safe for concurrent use.
func (w *Worker) Stats() Stats {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := w.stats
	s.Connected = w.relink != nil
	s.Isolation = w.isolation
	s.Running = w.running
	s.Unsettled = w.unsettled()
	for _, a := range w.attempts {
		if a.state == waiting {
			s.Waiting++
		}
	}
	s.Spaces, s.SpaceSize = len(w.spaces), w.cached
	s.Children = len(w.children)
	for _, c := range w.children {
		if !c.busy {
			s.Idle++
		}
	}
	return s
}
