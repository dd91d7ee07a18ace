package scheduler

import "slices"

// Placement. A worker's room is counted in slots: each private task and each
// namespace with something running takes one. Work is given ahead of free
// slots only where attempts are short: up to lookahead's worth of work a slot,
// so that a worker is not idle for the length of a round trip, and nothing
// long waits behind something long while another worker is free.
const (
	lookahead = int64(50e6) // nanoseconds of work a worker may hold in advance per slot
	maxAhead  = 512         // attempts held in advance per slot, or per namespace
	newcomer  = int64(1e6)  // assumed length of an attempt on a worker that has run none
)

// ahead is how many attempts of the worker's average length fit in lookahead.
func (w *Worker) ahead() int {
	return int(min(max(lookahead/max(w.Average, 1)-1, 0), maxAhead))
}

// window is the load a worker may have.
func (w *Worker) window() int { return int(w.Slots) * (1 + w.ahead()) }

func (w *Worker) room() bool { return !w.Drain && w.load < w.window() }

func (w *Worker) free() int { return int(w.Slots) - w.load }

// measure notes how long an attempt took: an average that forgets, in whole
// nanoseconds so that every replica computes the same.
func (s *State) measure(w *Worker, took int64) {
	took = min(max(took, 0), 3600*second)
	w.Average += (took - w.Average) / 8
	s.gained(w)
	s.touchWorker(w)
}

// offerSpace puts a namespace in line if it has something to place and nothing
// running, extends what it has running otherwise.
func (s *State) offerSpace(n *Namespace) {
	if n.gone || n.running == len(n.tasks) {
		return
	}
	switch {
	case n.running > 0:
		s.extend(n)
	case s.waitAtHead(n):
	case n.tasks[0].Kind != Run:
		s.inline = append(s.inline, n)
	case n.ready < 0:
		s.wait(unit{space: n})
	}
}

// place carries out what needs no worker, then gives what can be placed to
// workers, best first, while any that fits has room.
func (s *State) place() {
	for len(s.fired)+len(s.inline) > 0 {
		if len(s.fired) > 0 {
			t := s.fired[0]
			s.fired = s.fired[1:]
			s.fire(t)
			continue
		}
		n := s.inline[0]
		s.inline = s.inline[1:]
		if n.running == 0 && len(n.tasks) > 0 && n.tasks[0].Kind != Run {
			s.carryOut(n)
		}
	}
	for s.pools.len() > 0 {
		p := s.pools.min()
		u := p.best()
		w := s.pick(p, u)
		if w == nil {
			p.shut = true
			s.refilePool(p)
			continue
		}
		s.unwait(u)
		if u.space == nil {
			s.assign(u.task, w)
			w.load++
			continue
		}
		s.hold(u.space, w)
	}
}

// pick chooses the worker for a unit, among those that fit: a namespace's holder
// if it has a free slot, else the worker with most free slots, the first by id
// among equals. A namespace stays where it is warm when nobody has a free slot.
func (s *State) pick(p *pool, u unit) *Worker {
	var best *Worker
	for _, w := range p.workers {
		if w.room() && (best == nil || w.free() > best.free()) {
			best = w
		}
	}
	if u.space == nil || u.space.Worker == "" {
		return best
	}
	h := s.worker(u.space.Worker)
	if h != nil && h.Incarnation == u.space.Incarnation && p.has(h) && h.room() && (h.free() > 0 || best.free() <= 0) {
		return h
	}
	return best
}

// hold places a namespace on a worker, in a new epoch unless it is there.
func (s *State) hold(n *Namespace, w *Worker) {
	if n.Worker != w.ID || n.Incarnation != w.Incarnation {
		s.Epoch++
		n.Epoch = s.Epoch
		n.Worker, n.Incarnation = w.ID, w.Incarnation
		s.touchSpace(n)
	}
	w.load++
	s.extend(n)
}

// extend gives the holder more of a namespace's tasks, up to its run-ahead and
// not past one that Step itself carries out, that the holder does not fit, or
// that is limited.
func (s *State) extend(n *Namespace) {
	w := s.worker(n.Worker)
	for n.running < len(n.tasks) && n.running <= w.ahead() && n.tasks[n.running].Kind == Run {
		t := n.tasks[n.running]
		if n.running > 0 && (w.Drain || !t.line.free() || !t.line.lane.class.pool.has(w)) {
			return
		}
		n.running++
		s.assign(t, w)
	}
}

func (s *State) assign(t *Task, w *Worker) {
	s.Seq++
	t.seq = s.Seq
	t.State = Running
	t.Attempt++
	t.Worker, t.Incarnation = w.ID, w.Incarnation
	t.Started = s.Clock
	if t.Namespace != "" {
		t.Epoch = s.namespaces[t.Namespace].Epoch
	}
	w.give(t)
	s.running++
	s.begin(t)
	s.touch(t)
	s.emit(Effect{Kind: Assigned, Task: t, Worker: w.ID, Incarnation: w.Incarnation, Attempt: t.Attempt})
}

// ---- workers ----

func (s *State) workerUp(c *WorkerUp) Result {
	if !ValidName(c.Worker) || c.Slots == 0 || c.Slots > MaxSlots || len(c.Node) > MaxIDBytes {
		return refuse(Invalid, "a worker's name or slots are out of range")
	}
	if r := thingsAllowed("the worker has", c.Has, MaxHas); r.Code != OK {
		return r
	}
	i, found := s.workerIndex(c.Worker)
	if !found {
		if len(s.workers) >= MaxWorkers {
			return refuse(Limit, "there are %d workers, which is the limit", len(s.workers))
		}
		w := &Worker{ID: c.Worker, Incarnation: c.Incarnation, Node: c.Node, Slots: c.Slots, Average: newcomer}
		w.equip(c.Has)
		s.workers = slices.Insert(s.workers, i, w)
		s.regroup()
		s.touchWorker(w)
		return Result{Code: OK}
	}
	old := s.workers[i]
	switch {
	case c.Incarnation == old.Incarnation:
		return Result{Code: Duplicate}
	case c.Incarnation < old.Incarnation:
		return refuse(Stale, "worker %s has a newer incarnation, %d", c.Worker, old.Incarnation)
	}
	s.lose(old, nil, true, "the worker was started again")
	old.Incarnation, old.Node, old.Slots, old.Drain = c.Incarnation, c.Node, c.Slots, false
	old.equip(c.Has)
	s.regroup()
	s.touchWorker(old)
	return Result{Code: OK}
}

func (s *State) workerLost(c *WorkerLost) Result {
	w := s.worker(c.Worker)
	if w == nil || w.Incarnation != c.Incarnation {
		return refuse(Stale, "incarnation %d of worker %s is not the current one", c.Incarnation, c.Worker)
	}
	s.lose(w, c.Began, c.Guess, c.Cause)
	i, _ := s.workerIndex(c.Worker)
	s.workers = slices.Delete(s.workers, i, i+1)
	s.regroup()
	s.rec.Delete("w/" + c.Worker)
	return Result{Code: OK}
}

func (s *State) workerIdle(c *WorkerIdle) Result {
	w := s.worker(c.Worker)
	if w == nil {
		return refuse(NotFound, "there is no worker %s", c.Worker)
	}
	w.Drain = c.Drain
	s.gained(w)
	s.touchWorker(w)
	return Result{Code: OK}
}

func (s *State) workerSlots(c *WorkerSlots) Result {
	w := s.worker(c.Worker)
	switch {
	case w == nil || w.Incarnation != c.Incarnation:
		return refuse(Stale, "incarnation %d of worker %s is not the current one", c.Incarnation, c.Worker)
	case c.Slots > MaxSlots:
		return refuse(Invalid, "a worker's slots are out of range")
	}
	w.Slots = c.Slots
	s.gained(w)
	s.touchWorker(w)
	return Result{Code: OK}
}

// lose takes everything from a worker. Only tasks that had begun lose an
// attempt: those in began, or, when nobody knows, the first Slots assigned.
func (s *State) lose(w *Worker, began []Attempt, guess bool, cause string) {
	tasks := s.assignedTo(w)
	named := make(map[Attempt]bool, len(began)) // both may be tens of thousands
	for _, a := range began {
		named[a] = true
	}
	for i, t := range tasks {
		begun := named[Attempt{t.ID, t.Attempt}] || named[Attempt{t.ID, 0}]
		blamed := begun || (guess && i < int(w.Slots))
		if !blamed {
			continue
		}
		t.Losses++
		t.blame("worker " + w.ID + " was lost: " + cause)
		s.touch(t)
	}
	for _, n := range s.spacesOf(w) {
		s.release(n)
	}
	for _, t := range tasks {
		if t.Namespace == "" {
			s.requeueFrom(t)
		}
		switch {
		case t.Cancelling:
			s.finish(t, Cancelled, nil)
		case t.Losses > MaxLosses:
			s.finish(t, Failed, nil)
		}
	}
}
