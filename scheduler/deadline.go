package scheduler

import (
	"slices"
	"strings"
)

// A task that is not final at its deadline fails with the first command, or tick,
// from then on. One that runs is taken from its worker, which stops it: what it
// reports later is refused, as the report of any attempt that is not the current one.

// due is a live task with a deadline, in the heap of those.
type due struct{ *Task }

func (d due) before(o due) bool {
	if a, b := d.Options.Deadline, o.Options.Deadline; a != b {
		return a < b
	}
	return d.ID < o.ID
}

func (d due) moved(i int) { d.inDue = i }
func (d due) at() int     { return d.inDue }

// Deadline is when the task fails unless it is final, 0: never.
func (t *Task) Deadline() int64 { return t.timing().Deadline }

// late tells whether the deadline of a task has come.
func (t *Task) late(now int64) bool { return t.Deadline() > 0 && t.Deadline() <= now }

// setDeadline counts the deadline of a task from now, if it is to be counted.
func (s *State) setDeadline(t *Task) {
	if o := t.Options; o != nil && o.Within > 0 {
		o.Deadline = s.Clock + o.Within
	}
}

// renewDeadline is setDeadline for a task that is made live again: a deadline that
// was a time, and is over, does not count any more.
func (s *State) renewDeadline(t *Task) {
	s.setDeadline(t)
	if t.Deadline() > 0 && t.Deadline() <= s.Clock {
		t.Options.Deadline = 0
	}
}

// watch has the deadline of a live task kept.
func (s *State) watch(t *Task) {
	if t.Deadline() > 0 {
		s.due.push(due{t})
	}
}

// unwatch is the opposite of watch.
func (s *State) unwatch(t *Task) {
	if t.Deadline() > 0 {
		s.due.remove(due{t})
	}
}

// failOverdue ends the tasks whose deadline has come, the last in line first: the end
// of one may have what is behind it in its namespace begin.
func (s *State) failOverdue() {
	var late []*Task
	for s.due.len() > 0 && s.due.min().Options.Deadline <= s.Clock {
		d := s.due.min()
		s.due.remove(d)
		late = append(late, d.Task)
	}
	slices.SortFunc(late, func(a, b *Task) int { return compare(b.Order, a.Order) })
	for _, t := range late {
		if !t.State.Final() { // the end of another may have ended it
			s.overdue(t)
		}
	}
}

func (s *State) overdue(t *Task) {
	was := "it waited"
	if t.State == Running {
		was = "it ran"
		s.takeAway(t)
	}
	if t.Cancelling {
		s.finish(t, Cancelled, nil)
		return
	}
	t.blame(expired + ": its deadline came while " + was)
	s.finish(t, Failed, nil)
}

// takeAway takes a running task from its worker, and with it those of its namespace
// that were to run after it.
func (s *State) takeAway(t *Task) {
	n := s.namespaces[t.Namespace]
	switch {
	case n == nil:
		s.void(t)
	case n.tasks[0] == t:
		s.release(n)
	default:
		for t.State == Running {
			s.void(n.tasks[n.running-1])
		}
	}
}

// Kinds of failures that Step itself finds, the first word of their cause.
const (
	expired    = "expired"
	dependency = "dependency"
)

// Verdict says why Step failed a task that no worker failed: the kind, "expired" or
// "dependency", and the detail for people. The kind is empty for every other task.
func (t *Task) Verdict() (kind, detail string) {
	if t.State != Failed || len(t.Causes) == 0 || len(t.Outcome) > 0 {
		return "", ""
	}
	_, cause, _ := strings.Cut(t.Causes[len(t.Causes)-1], ": ") // after the attempt
	kind, detail, _ = strings.Cut(cause, ": ")
	if kind != expired && kind != dependency {
		return "", ""
	}
	return kind, detail
}
