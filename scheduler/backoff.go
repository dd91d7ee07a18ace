package scheduler

// A task that failed by itself and has retries left waits before it is tried again.
// The wait doubles with each failure, up to a most, and is shortened by up to a
// quarter, so that tasks that failed together do not come again together. How much
// follows from the task's id and the number of the attempt: every replica computes
// the same. What was lost with its worker, or given back, does not wait.
//
// In a namespace nothing overtakes it: the tasks behind it wait as well, since their
// order is promised. A private task has its place in line again.

// backoff is how long a task waits before it is tried again, after its last failure.
func (t *Task) backoff() int64 {
	o := t.timing()
	d := o.Backoff
	for n := uint32(1); n < t.Failures && d < o.BackoffMax; n++ {
		d *= 2
	}
	d = min(d, o.BackoffMax)
	if spread := uint64(d) / 4; spread > 0 {
		d -= int64(scatter(t.ID, t.Attempt) % spread)
	}
	return d
}

// scatter is a number that follows from a task and its attempt, and looks drawn.
func scatter(id string, attempt uint32) uint64 {
	h := uint64(14695981039346656037) // FNV-1a
	for i := range len(id) {
		h = (h ^ uint64(id[i])) * 1099511628211
	}
	h = (h ^ uint64(attempt)) * 1099511628211
	h = (h ^ h>>32) * 0x9e3779b97f4a7c15
	return h ^ h>>29
}

// tryAgain puts a task that has failed back in line, now or when its wait is over.
func (s *State) tryAgain(t *Task) {
	if d := t.backoff(); d > 0 {
		t.NotBefore = s.Clock + d
	}
	s.requeueFrom(t)
}

// backsOff tells whether a task that has been tried waits to be tried again. In a
// namespace it is at the head of its line then, and in the heap of the delayed.
func (s *State) backsOff(t *Task) bool { return t.Attempt > 0 && t.NotBefore > s.Clock }

// waitAtHead puts a namespace aside whose head waits to be tried again; false: it
// does not.
func (s *State) waitAtHead(n *Namespace) bool {
	t := n.tasks[0]
	if !s.backsOff(t) {
		return false
	}
	if t.inQueue < 0 {
		s.delayed.push(t)
	}
	return true
}
