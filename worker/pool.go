package worker

import (
	"context"
	"runtime"
	"slices"
	"strings"
	"time"

	"farm/api"
)

// child is a process in the pool. All but p and orders is guarded by the
// worker's lock.
type child struct {
	p      *process
	orders chan *job // holds at most one; closed when the child is to end

	busy    bool
	retired bool
	used    uint64 // when it was last used, 0: never
	runs    uint64
	shape   uint64 // of the definitions it last loaded
	space   *space // whose context it holds, with the content of stamp
	stamp   uint64
}

const (
	// spares is how many unused children are kept ahead, so that the first
	// cell of somebody new does not wait for a process to start.
	spares = 2
	// weighEvery is after how many attempts a child's memory is looked at.
	weighEvery = 64
	// restartDelay is how long after a failed start the next one waits.
	restartDelay = time.Second
)

// replenish orders children to be started: spares, and one at least. The lock
// is held.
func (w *Worker) replenish() {
	if w.closing || w.startErr != nil && w.now() < w.retryAt {
		return
	}
	unused := w.starting
	for _, c := range w.children {
		if c.used == 0 {
			unused++
		}
	}
	for unused < min(spares, w.cfg.Contexts) && len(w.children)+w.starting < w.cfg.Contexts {
		unused++
		w.starting++
		w.starts <- struct{}{}
	}
}

// startChildren starts a child for each token. Children die with the thread
// that started them, so this goroutine keeps one. It is never unlocked: the
// thread ends with the goroutine, and with it its confinement.
func (w *Worker) startChildren(ctx context.Context) {
	runtime.LockOSThread()
	thread, err := confineThread(w.cfg.Command[0])
	if err != nil {
		w.log.Warn("children cannot be confined as they should be", "error", err)
	}
	defer thread.close()
	for {
		select {
		case <-ctx.Done():
			w.kids.Wait()
			return
		case <-w.starts:
		}
		p, err := forkChild(w.cfg.Command, w.cfg.Limits, thread.lastInherited())
		if err != nil {
			w.startFailed(err)
			continue
		}
		p.room = w.room
		w.kids.Go(func() { w.raise(p) })
	}
}

// raise takes a child into the pool when it is ready and serves it to its end.
func (w *Worker) raise(p *process) {
	if err := p.becomeReady(w.cfg.Limits); err != nil {
		w.startFailed(err)
		return
	}
	c := &child{p: p, orders: make(chan *job, 1)}
	w.mu.Lock()
	w.starting--
	w.startErr = nil
	w.stats.Started++
	if w.isolation == "" {
		w.noteIsolation(p.denied)
	}
	w.children = append(w.children, c)
	if w.closing {
		w.retire(c)
	} else {
		w.dispatch()
		w.replenish()
	}
	w.mu.Unlock()
	w.drive(c)
}

// noteIsolation notes and tells how well children are confined, once: it is the
// system that decides it. The lock is held.
func (w *Worker) noteIsolation(denied []string) {
	w.isolation = isolationLevel(denied)
	if len(denied) == 0 {
		w.log.Info("children are confined", "isolation", w.isolation)
	} else {
		w.log.Warn("children are not fully confined", "isolation", w.isolation, "denied", denied)
	}
	w.sayIsolation()
}

func (w *Worker) sayIsolation() {
	if level := w.isolation; level != "" {
		w.out.Add(func(m *api.FromWorker) { m.Isolation = level })
	}
}

// fullIsolation is the level when no measure was denied.
const fullIsolation = "full"

// isolationLevel names the measures that were denied: "no landlock, no seccomp".
func isolationLevel(denied []string) string {
	if len(denied) == 0 {
		return fullIsolation
	}
	var missing []string
	for _, d := range denied {
		name, _, _ := strings.Cut(d, ":")
		missing = append(missing, "no "+name)
	}
	return strings.Join(missing, ", ")
}

// startFailed gives back what waits when no child can be had.
func (w *Worker) startFailed(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.starting--
	w.startErr, w.retryAt = err, w.now()+int64(restartDelay)
	if w.closing {
		return
	}
	w.log.Error("cannot start a child", "error", err)
	if len(w.children) == 0 && w.starting == 0 {
		w.returnWaiting(func(int64) bool { return true })
	}
}

// drive runs orders on a child until it is retired.
func (w *Worker) drive(c *child) {
	for j := range c.orders {
		a := j.attempt
		c.p.sink.begin(func(stderr bool, data []byte) { w.out.Output(a.task, a.attempt, stderr, data) })
		e := c.p.exchange(j.order, j.timeout, func(done, total int64) {
			w.out.Progress(&api.Progress{Task: a.task, Attempt: a.attempt, Done: done, Total: total})
		})
		var out written
		out.stdout, out.stderr = c.p.sink.end(e.death != nil)
		if c.runs++; e.death == nil && e.answer != nil && c.runs%weighEvery == 0 && c.p.resident() > w.cfg.Limits.RecycleBytes {
			e.answer.spent = true
		}
		w.finish(c, a, e, out)
	}
	c.p.kill()
	c.p.close()
}

// retire takes a child out of the pool; its goroutine ends it. The lock is
// held.
func (w *Worker) retire(c *child) {
	if c.retired {
		return
	}
	c.retired = true
	w.stats.Died++
	w.release(c)
	if i := slices.Index(w.children, c); i >= 0 {
		w.children = slices.Delete(w.children, i, i+1)
	}
	close(c.orders)
}

// killChildren ends all children, with what they run.
func (w *Worker) killChildren() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.closing = true
	for _, a := range w.attempts {
		w.disown(a)
	}
	for _, c := range slices.Clone(w.children) {
		w.retire(c)
	}
}
