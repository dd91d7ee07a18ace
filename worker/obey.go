package worker

import (
	"slices"

	"farm/api"

	"google.golang.org/protobuf/proto"
)

// obey carries out one message of the leader, all of it before anything new
// begins. False: the stream must be made anew.
func (w *Worker) obey(m *api.ToWorker) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	ok := true
	for _, i := range m.Instructions {
		switch do := i.Do.(type) {
		case *api.Instruction_Welcome:
			w.resume()
		case *api.Instruction_Assign:
			ok = w.assign(do.Assign) && ok
		case *api.Instruction_Settled:
			w.settled(keyOf(do.Settled), do.Settled.GetVersion())
		case *api.Instruction_Voided:
			w.voided(keyOf(do.Voided))
		case *api.Instruction_Stop:
			w.stop(keyOf(do.Stop))
		case *api.Instruction_Missing:
			w.missing(keyOf(do.Missing))
		case *api.Instruction_Forget:
			if s := w.spaces[do.Forget]; s != nil {
				w.abandon(s)
				w.drop(s)
			}
		}
	}
	w.evict()
	w.dispatch()
	w.poke()
	return ok
}

func keyOf(r *api.AttemptRef) attemptKey { return attemptKey{r.GetTask(), r.GetAttempt()} }

// assign takes an attempt. False: its job's program is missing.
func (w *Worker) assign(in *api.Assign) bool {
	if in.Spec != nil {
		w.jobs.put(in.Job, in.Spec)
	}
	a := &attempt{attemptKey: attemptKey{in.Task, in.Attempt}, assign: in, work: &api.Work{}, epoch: in.Epoch, arrived: w.now()}
	if w.attempts[a.attemptKey] != nil {
		return true // said again by a new leader
	}
	w.attempts[a.attemptKey] = a
	if in.Namespace != "" && !w.place(a) {
		w.giveBack(a)
		w.out.Forgot(in.Namespace)
		return true
	}
	if err := proto.Unmarshal(in.Work, a.work); err != nil {
		a.work = nil // it fails at its turn
	}
	if in.Job != "" {
		if a.spec = w.jobs.get(in.Job); a.spec == nil {
			w.giveBack(a)
			return false
		}
	}
	if a.space == nil {
		w.line.push(unit{attempt: a}, false)
		return true
	}
	w.join(a.space)
	return true
}

// place puts an attempt into its namespace's queue. False: the worker lacks
// the state it builds on.
func (w *Worker) place(a *attempt) bool {
	in := a.assign
	s := w.spaces[in.Namespace]
	if w.cfg.Parts == nil && slices.ContainsFunc(in.GetLoad().GetItems(), func(it *api.Item) bool { return it.Parts != nil }) {
		return false // it has no way to large values
	}
	switch {
	case in.Load == nil:
		if s == nil || s.epoch != in.Epoch {
			return false
		}
	case s == nil:
		s = &space{name: in.Namespace}
		if !s.load(in.Load, w.stamp()) {
			return false
		}
		w.spaces[s.name] = s
		s.lru = w.lru.PushFront(s)
	case s.epoch == in.Epoch && s.held():
		// A new leader does not know that attempts before this one are here.
	default:
		w.abandon(s) // what is left of an earlier placement is void
		if !s.load(in.Load, w.stamp()) {
			w.drop(s)
			return false
		}
	}
	s.epoch = in.Epoch
	w.lru.MoveToFront(s.lru)
	w.count(s)
	if s.paused != nil && s.paused.task == a.task {
		s.paused = nil // the retry says that the failure was settled
	}
	a.space = s
	s.insert(a)
	w.fetch(s)
	return true
}

func (w *Worker) stamp() uint64 {
	w.stamps++
	return w.stamps
}

// settled: the report was accepted, so what it changed is never undone; unless the
// farm took the attempt for failed, which shows in the version that the namespace has
// then, plus 1. What other attempts have built on it is refused when they report, and
// the namespace is loaded anew; when nothing has, it is undone here.
func (w *Worker) settled(k attemptKey, version uint64) {
	a := w.attempts[k]
	if a == nil || a.state != reported {
		return
	}
	w.forget(a)
	s := a.space
	if s == nil {
		return
	}
	if i := slices.Index(s.chain, a); i >= 0 {
		if a.undo != nil && version == a.base+1 && s.running == nil && i == len(s.chain)-1 {
			s.unwind(i, w.stamp())
			w.count(s)
		} else {
			s.chain = slices.Delete(s.chain, i, i+1)
		}
	}
	if s.paused == a {
		s.paused = nil
	}
	w.join(s)
}

// voided: nobody wants the attempt, or its report was refused.
func (w *Worker) voided(k attemptKey) {
	a := w.attempts[k]
	if a == nil {
		return
	}
	switch a.state {
	case waiting:
		w.leave(a)
	case running:
		w.disown(a)
	case reported:
		if a.space != nil {
			w.unwind(a)
		}
	}
	a.state = gone
	w.forget(a)
}

// unwind takes a namespace back to before a reported attempt.
func (w *Worker) unwind(a *attempt) {
	s := a.space
	i := slices.Index(s.chain, a)
	if i < 0 {
		return // undone with one before it
	}
	if s.running != nil {
		w.disown(s.running)
	}
	s.unwind(i, w.stamp())
	w.count(s)
	w.join(s)
}

// disown ends a running attempt of which nothing will be reported.
func (w *Worker) disown(a *attempt) {
	if a.state != running {
		return
	}
	a.state = gone
	w.forget(a)
	a.child.p.interrupt(unwanted)
}

// stop ends an attempt, or gives it back if it has not begun.
func (w *Worker) stop(k attemptKey) {
	a := w.attempts[k]
	if a == nil {
		return
	}
	switch a.state {
	case waiting:
		w.leave(a)
		w.giveBack(a)
	case running:
		a.stop = true
		a.child.p.interrupt(stopped)
	}
}

// leave takes a waiting attempt out of its queue.
func (w *Worker) leave(a *attempt) {
	a.state = gone
	if s := a.space; s != nil {
		if i := slices.Index(s.queue, a); i >= 0 {
			s.queue = slices.Delete(s.queue, i, i+1)
		}
	}
}

// giveBack returns an attempt that was taken out of its queue or never was in
// one.
func (w *Worker) giveBack(a *attempt) {
	a.state = gone
	w.forget(a)
	w.stats.Returned++
	w.out.Return(a.ref())
}

// returnWaiting gives back what waits for a slot since a time of which late
// says that it is too long. A namespace's attempts go together: none of them
// can run elsewhere while those before it are here.
func (w *Worker) returnWaiting(late func(since int64) bool) {
	w.line.filter(func(u unit) bool {
		if a := u.attempt; a != nil {
			if a.state != waiting || !late(a.arrived) {
				return a.state == waiting
			}
			w.giveBack(a)
			return false
		}
		s := u.space
		if !s.startable() {
			s.ready = false
			return false
		}
		if !late(max(s.since, s.queue[0].arrived)) {
			return true
		}
		s.ready = false
		w.returnQueue(s)
		return false
	})
	if !w.draining {
		return
	}
	for _, s := range w.spaces { // also what waits behind a running attempt
		if len(s.queue) > 0 && late(s.queue[0].arrived) {
			w.returnQueue(s)
		}
	}
}

func (w *Worker) returnQueue(s *space) {
	queue := s.queue
	s.queue = nil
	for _, a := range queue {
		w.giveBack(a)
	}
}

// abandon gives up all that is held of a namespace and takes it back to what
// was settled.
func (w *Worker) abandon(s *space) {
	if s.running != nil {
		w.disown(s.running)
	}
	for _, a := range s.queue {
		a.state = gone
		w.forget(a)
	}
	s.queue = nil
	for _, a := range s.chain {
		w.forget(a)
	}
	if len(s.chain) > 0 {
		s.unwind(0, w.stamp())
	}
	s.paused = nil
}

// drop forgets a namespace.
func (w *Worker) drop(s *space) {
	if w.spaces[s.name] != s {
		return
	}
	delete(w.spaces, s.name)
	w.lru.Remove(s.lru)
	w.cached -= s.counted
	s.counted = 0
	if s.child != nil {
		s.child.space, s.child = nil, nil
	}
}

// spaceCost is what a namespace is reckoned to take besides its items, bytes.
const spaceCost = 1 << 10

// count brings the size of the cache up to date.
func (w *Worker) count(s *space) {
	if w.spaces[s.name] != s {
		return
	}
	n := s.bytes + spaceCost + int64(len(s.items))*64
	w.cached += n - s.counted
	s.counted = n
}

// evict keeps the cache of namespaces within its limit.
func (w *Worker) evict() {
	for e := w.lru.Back(); e != nil && w.cached > w.cfg.Limits.CacheBytes; {
		s := e.Value.(*space)
		e = e.Prev()
		if s.held() {
			continue
		}
		w.drop(s)
		w.out.Forgot(s.name)
	}
}

// sayBegan tells the leader that an attempt runs, once a stream.
func (w *Worker) sayBegan(a *attempt) {
	a.said = true
	w.out.Began(a.ref())
}
