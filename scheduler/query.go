package scheduler

import (
	"math"
	"slices"
	"strings"
)

// Task returns a task, live or finished, or nil. Not to be changed.
func (s *State) Task(id string) *Task {
	if t := s.tasks[id]; t != nil {
		return t
	}
	rec := s.rec.Get("t/" + id)
	if rec == nil {
		return nil
	}
	return mustTask(rec)
}

// mustTask decodes a committed record: one that cannot be read is a bug or a
// broken disk, and the process must not go on.
func mustTask(rec []byte) *Task {
	t, err := decodeTask(rec)
	if err != nil {
		panic("scheduler: finished task: " + err.Error())
	}
	return t
}

// Job returns a job, open or finished, or nil. Not to be changed.
func (s *State) Job(id string) *Job {
	if j := s.jobs[id]; j != nil {
		return j
	}
	rec := s.rec.Get("h/" + id)
	if rec == nil {
		return nil
	}
	j, err := decodeJob(rec)
	if err != nil {
		panic("scheduler: finished job: " + err.Error())
	}
	return j
}

// Namespace returns a namespace, or nil when nothing made it or waits for it.
func (s *State) Namespace(name string) *Namespace { return s.namespaces[name] }

// Namespaces returns up to limit namespaces that exist, by name, from the
// given one on.
func (s *State) Namespaces(from string, limit int) []*Namespace {
	var out []*Namespace
	for name, n := range s.namespaces { // sorted below
		if n.Exists() && name >= from {
			out = append(out, n)
		}
	}
	slices.SortFunc(out, func(a, b *Namespace) int { return strings.Compare(a.Name, b.Name) })
	return out[:min(limit, len(out))]
}

// Workers returns the workers, by id.
func (s *State) Workers() []*Worker { return s.workers }

// Worker returns a worker, or nil.
func (s *State) Worker(id string) *Worker { return s.worker(id) }

// Item returns the bytes of a namespace's item, put together if it is in parts,
// and the version that last changed it; nil when there is none.
func (s *State) Item(ns, key string) (value []byte, version uint64) {
	it, version, there := s.item(ns, key)
	if !there {
		return nil, 0
	}
	return s.whole(&it), version
}

// Items calls fn for the items of a namespace that were changed after version
// since, by key, each put together if it is in parts: see StoredItems for the
// items as they are.
func (s *State) Items(ns string, since uint64, fn func(key string, value []byte, version uint64)) {
	s.StoredItems(ns, since, func(it Item, v uint64) { fn(it.Key, s.whole(&it), v) })
}

// Counts is how many tasks are in each state: live ones now, final ones ever.
type Counts struct{ Queued, Running, Succeeded, Failed, Cancelled uint64 }

// Counts returns the tasks by state.
func (s *State) Counts() Counts {
	run := uint64(s.running)
	return Counts{uint64(len(s.tasks)) - run, run, s.Succeeded, s.Failed, s.Cancelled}
}

// Now is the state's clock, unix nanoseconds.
func (s *State) Now() int64 { return s.Clock }

// Live returns up to limit tasks that are not final, by submission; ns limits
// them to a namespace, job to a job, when not empty.
func (s *State) Live(ns, job string, limit int) []*Task {
	out := s.liveWhere(func(t *Task) bool { return (ns == "" || t.Namespace == ns) && (job == "" || t.Job == job) })
	return out[:min(limit, len(out))]
}

// LiveFrom returns up to limit tasks that are not final and that keep keeps, by
// submission, of those behind a place, which is the Order of a task.
func (s *State) LiveFrom(behind uint64, limit int, keep func(*Task) bool) []*Task {
	var out []*Task
	last := uint64(math.MaxUint64) // no task behind it is among the first
	cut := func() {
		slices.SortFunc(out, func(a, b *Task) int { return compare(a.Order, b.Order) })
		if len(out) > limit {
			out = out[:limit]
			last = out[limit-1].Order
		}
	}
	for _, t := range s.tasks { // sorted below, by cut
		if t.Order <= behind || t.Order > last || !keep(t) {
			continue
		}
		if out = append(out, t); len(out) >= 4*limit {
			cut()
		}
	}
	cut()
	return out
}

// IsLive tells whether there is a task with the id that is not final.
func (s *State) IsLive(id string) bool { return s.tasks[id] != nil }

// Finished returns up to limit finished tasks, the newest first.
func (s *State) Finished(ns, job string, limit int) []*Task {
	var out []*Task
	_, _ = s.FinishedFrom("", math.MaxInt, func(t *Task) bool { // the empty place is one
		if len(out) < limit && (ns == "" || t.Namespace == ns) && (job == "" || t.Job == job) {
			out = append(out, t)
		}
		return len(out) < limit
	})
	return out
}

// Assigned returns the tasks assigned to a worker, in the order of assignment.
func (s *State) Assigned(worker string) []*Task {
	w := s.worker(worker)
	if w == nil {
		return nil
	}
	return s.assignedTo(w)
}

func (s *State) assignedTo(w *Worker) []*Task {
	out := slices.Clone(w.tasks)
	slices.SortFunc(out, func(a, b *Task) int { return compare(a.seq, b.seq) })
	return out
}

func (s *State) liveWhere(keep func(*Task) bool) []*Task {
	var out []*Task
	for _, t := range s.tasks { // sorted below
		if keep(t) {
			out = append(out, t)
		}
	}
	slices.SortFunc(out, func(a, b *Task) int { return compare(a.Order, b.Order) })
	return out
}

func (s *State) spacesOf(w *Worker) []*Namespace {
	var out []*Namespace
	for _, n := range s.namespaces { // sorted below
		if n.Worker == w.ID && n.Incarnation == w.Incarnation {
			out = append(out, n)
		}
	}
	slices.SortFunc(out, func(a, b *Namespace) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// Cluster is the id of the cluster, empty before it has one.
func (s *State) Cluster() string { return s.cluster }

// Head returns the task that is next or running in a namespace, or nil.
func (s *State) Head(ns string) *Task {
	if n := s.namespaces[ns]; n != nil && len(n.tasks) > 0 {
		return n.tasks[0]
	}
	return nil
}
