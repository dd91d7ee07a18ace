package scheduler

import (
	"fmt"
	"slices"
	"strings"
)

// A task can wait for others. It is in no line meanwhile, so that it holds up nobody,
// and takes its place in line when what it waits for has come, as a delayed task
// does. What became of each task it waits for is noted once, when that one ends: a
// task that is made live again afterwards does not count a second time. When what it
// waits for cannot come any more, it fails.

// When says what must have become of the tasks that a task waits for.
type When uint8

// The conditions of a dependent task.
const (
	AllSucceeded When = iota + 1 // each of them succeeded
	AnySucceeded                 // one of them succeeded
	AllFinished                  // each is final, whatever it came to
)

// Limits of dependencies.
const (
	MaxAfter      = 100    // tasks that one waits for
	MaxDependents = 10_000 // tasks that wait for one
)

// What became of a task that another waits for.
const (
	stillLive    = 0
	hasSucceeded = 1
	hasFailed    = 2
	wasCancelled = 3
	isGone       = 4 // it ended, unnoticed, and is no longer kept
)

func endOf(t *Task) byte {
	switch t.State {
	case Succeeded:
		return hasSucceeded
	case Failed:
		return hasFailed
	case Cancelled:
		return wasCancelled
	}
	return stillLive
}

func (o *Timing) afterForm() Result {
	if len(o.After) == 0 {
		if o.AfterWhen != 0 {
			return refuse(Invalid, "the task waits for no other, and says when")
		}
		return Result{Code: OK}
	}
	if o.AfterWhen < AllSucceeded || o.AfterWhen > AllFinished {
		return refuse(Invalid, "the task does not say what must have become of those it waits for")
	}
	if len(o.After) > MaxAfter {
		return refuse(Limit, "the task waits for %d others, the limit is %d", len(o.After), MaxAfter)
	}
	for i, id := range o.After {
		if slices.Contains(o.After[:i], id) {
			return refuse(Invalid, "the task waits for %s twice", id)
		}
	}
	return Result{Code: OK}
}

// afterAllowed says whether the tasks that task id is to wait for are known, perhaps as
// submitted before it with the same report. As they are there before it, they cannot
// wait for it.
func (s *State) afterAllowed(id string, o *Timing, b *batch) Result {
	for _, x := range o.After {
		switch {
		case x == id:
			return refuse(Invalid, "task %s would wait for itself: a cycle", id)
		case s.tasks[x] == nil && s.rec.Get("t/"+x) == nil && !b.has(x):
			return refuse(NotFound, "there is no task %s to wait for", x)
		case len(s.dependents[x])+b.waitingFor(x) >= MaxDependents:
			return refuse(Limit, "%d tasks wait for task %s, which is the limit", MaxDependents, x)
		}
	}
	return Result{Code: OK}
}

// noteEnded notes what has become of the tasks that a task waits for. Those that are
// not known any more are as they were noted before; if that was live, nobody will ever
// tell how they ended.
func (s *State) noteEnded(t *Task) {
	o := t.Options
	if o == nil || len(o.After) == 0 {
		return
	}
	ended := make([]byte, len(o.After))
	copy(ended, o.ended)
	for i, id := range o.After {
		if x := s.Task(id); x != nil {
			ended[i] = endOf(x)
		} else if ended[i] == stillLive {
			ended[i] = isGone
		}
	}
	o.ended = ended
}

// awaitable says whether a task that is to be live again can wait for those it runs
// after, of which it is noted what became of them.
func (s *State) awaitable(t *Task) Result {
	o := t.timing()
	if o.judge() == cannot {
		return refuse(Conflict, "%s", o.why())
	}
	for i, e := range o.ended {
		if id := o.After[i]; e == stillLive && len(s.dependents[id]) >= MaxDependents {
			return refuse(Limit, "%d tasks wait for task %s, which is the limit", MaxDependents, id)
		}
	}
	return Result{Code: OK}
}

// Awaits are the tasks that a task waits for and that are not final, none when it
// waits for none any more.
func (t *Task) Awaits() (ids []string) {
	o := t.timing()
	if t.State != Queued || o.judge() != undecided {
		return nil
	}
	for i, id := range o.After {
		if o.ended[i] == stillLive {
			ids = append(ids, id)
		}
	}
	return ids
}

// judgement is whether a task may go.
type judgement uint8

const (
	mayGo judgement = iota
	undecided
	cannot
)

// judge tells whether what a task waits for has come.
func (o *Timing) judge() judgement {
	live, succeeded := 0, 0
	for _, e := range o.ended {
		switch e {
		case stillLive:
			live++
		case hasSucceeded:
			succeeded++
		}
	}
	all := len(o.ended)
	switch {
	case all == 0, o.AfterWhen == AnySucceeded && succeeded > 0, o.AfterWhen == AllFinished && live == 0, succeeded == all:
		return mayGo
	case o.AfterWhen == AllSucceeded && live+succeeded < all, live == 0:
		return cannot
	}
	return undecided
}

// why says which task made it impossible.
func (o *Timing) why() string {
	if o.AfterWhen == AnySucceeded {
		return fmt.Sprintf("none of the %d tasks it was to run after succeeded", len(o.After))
	}
	for i, e := range o.ended {
		switch e {
		case hasFailed:
			return fmt.Sprintf("task %s, which it was to run after, failed", o.After[i])
		case wasCancelled:
			return fmt.Sprintf("task %s, which it was to run after, was cancelled", o.After[i])
		case isGone:
			return fmt.Sprintf("task %s, which it was to run after, is no longer kept", o.After[i])
		}
	}
	return ""
}

// mustWait keeps a task out of every line while it waits for others, or fails it when
// what it waits for cannot come; false: it may go.
func (s *State) mustWait(t *Task) bool {
	o := t.timing()
	switch o.judge() {
	case mayGo:
		return false
	case undecided:
		s.holdBack(t)
	default:
		s.failDependent(t)
	}
	return true
}

// holdBack has a task told of the end of those it waits for.
func (s *State) holdBack(t *Task) {
	t.held = true
	if t.line != nil {
		t.line.lane.queue.held++
	}
	if n := s.namespaces[t.Namespace]; n != nil {
		n.delayed++
	}
	for _, id := range t.Awaits() {
		s.dependents[id] = append(s.dependents[id], t)
	}
}

// letGo is the opposite of holdBack.
func (s *State) letGo(t *Task) {
	t.held = false
	if t.line != nil {
		t.line.lane.queue.held--
	}
	if n := s.namespaces[t.Namespace]; n != nil {
		n.delayed--
	}
	for i, id := range t.Options.After {
		if t.Options.ended[i] != stillLive {
			continue
		}
		list := s.dependents[id]
		if i := slices.Index(list, t); i >= 0 {
			list = slices.Delete(list, i, i+1)
		}
		if s.dependents[id] = list; len(list) == 0 {
			delete(s.dependents, id)
		}
	}
}

func (s *State) failDependent(t *Task) {
	t.blame(dependency + ": " + t.Options.why())
	s.finish(t, Failed, nil)
}

// fire tells those that wait for a task that it ended, in the order in which they
// were submitted.
func (s *State) fire(x *Task) {
	list := s.dependents[x.ID]
	delete(s.dependents, x.ID)
	for _, t := range list {
		o := t.Options
		o.ended = slices.Clone(o.ended) // the one there may be part of a record
		o.ended[slices.Index(o.After, x.ID)] = endOf(x)
		s.touch(t)
		switch o.judge() {
		case mayGo:
			s.letGo(t)
			s.Order++
			t.Order = s.Order // it takes its place in line now
			s.lineUp(t)
		case cannot:
			s.failDependent(t)
		}
	}
}

// describeAwaited is tasks that another waits for, for people.
func describeAwaited(ids []string) string {
	const named = 3
	if len(ids) > named {
		return fmt.Sprintf("tasks %s and %d more", strings.Join(ids[:named], ", "), len(ids)-named)
	}
	return "task " + strings.Join(ids, ", ")
}
