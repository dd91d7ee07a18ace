package scheduler

import (
	"fmt"
	"strings"

	"farm/internal/wire"
)

// Tasks that submit tasks. What an attempt submits travels with its report, and
// is taken in the step that accepts the report, or not at all: not when the
// attempt failed or is not the current one, and not when one of the submissions
// is refused, which fails the task.

// Limits of what tasks submit.
const (
	MaxSubmits     = 500     // tasks that one task submits
	MaxSubmitBytes = 5 << 18 // their bodies and names together
	MaxDepth       = 1000    // parents above a task
	MaxDerived     = 40      // bytes of a derived id behind that of the first of its line
)

// spawnedVersion is the format of the record of a job that tasks have added to.
const spawnedVersion = 4

// derivedFrom tells whether id is one that the parent may give to a task for which
// nobody chose a name: that of the first task of its line and, behind a '/', up to
// MaxDerived bytes of names with more of '/' between them. Clients cannot make such
// an id, and the last name is not that of a fold, so it is nobody else's.
func derivedFrom(parent *Task, id string) bool {
	if parent == nil {
		return false
	}
	root, _, _ := strings.Cut(parent.ID, "/")
	rest, ok := strings.CutPrefix(id, root+"/")
	if !ok || len(rest) > MaxDerived {
		return false
	}
	last := ""
	for name := range strings.SplitSeq(rest, "/") {
		if last = name; !ValidName(name) {
			return false
		}
	}
	return foldID(root) != root+"/"+last
}

// submitsAllowed says whether all that a task submits may be taken.
func (s *State) submitsAllowed(t *Task, submits []*Submit) Result {
	switch {
	case len(submits) == 0:
		return Result{Code: OK}
	case len(submits) > MaxSubmits:
		return refuse(Limit, "the task submits %d tasks, the limit is %d", len(submits), MaxSubmits)
	case t.Depth >= MaxDepth:
		return refuse(Limit, "the task has %d parents, one above the other, which is the limit: it cannot submit tasks", t.Depth)
	}
	together := batch{s: s, live: len(s.tasks), spaces: len(s.namespaces), queued: map[string]int{}, derived: map[string]bool{}, needs: map[string]bool{}}
	size := 0
	for i, c := range submits {
		if size += len(c.ID) + len(c.Namespace) + len(c.Job) + len(c.Body); size > MaxSubmitBytes {
			return refuse(Limit, "the tasks that the task submits have %d bytes, the limit is %d", size, MaxSubmitBytes)
		}
		r := s.childAllowed(t, c)
		if r.Code == OK {
			r = together.add(c)
		}
		if r.Code != OK && r.Code != Duplicate {
			return refuse(r.Code, "submission %d: %s", i+1, r.Detail)
		}
	}
	return Result{Code: OK}
}

// childAllowed looks at one submission by itself.
func (s *State) childAllowed(t *Task, c *Submit) Result {
	switch there := s.Task(c.ID) != nil; {
	case c.Kind != Run:
		return refuse(Invalid, "a task can submit cells and calls only")
	case there && ValidName(c.ID):
		return Result{Code: Duplicate}
	case there: // nobody chose that name: it would be lost
		return refuse(Conflict, "there is a task %s, of an earlier task %s", c.ID, t.ID)
	}
	return s.submitAllowed(c, t)
}

// batch counts what several submissions take together.
type batch struct {
	s            *State
	live, spaces int
	queued       map[string]int // new tasks by namespace
	derived      map[string]bool
	needs        map[string]bool // sets of needs that no other task has
}

func (b *batch) add(c *Submit) Result {
	if b.derived[c.ID] {
		return refuse(Invalid, "the id %s is derived twice", c.ID)
	}
	b.derived[c.ID] = !ValidName(c.ID)
	if b.live++; b.live > MaxLive {
		return refuse(Limit, "%d tasks are waiting or running, which is the limit", MaxLive)
	}
	if o := c.Options; o != nil && b.s.classes[needsKey(o.Needs)] == nil {
		b.needs[needsKey(o.Needs)] = true
		if len(b.s.classes)+len(b.needs) > MaxNeedsSets {
			return refuse(Limit, "waiting and running tasks have %d different sets of needs, which is the limit", MaxNeedsSets)
		}
	}
	if c.Namespace == "" {
		return Result{Code: OK}
	}
	b.queued[c.Namespace]++
	n := b.s.namespaces[c.Namespace]
	if n == nil {
		if b.queued[c.Namespace] == 1 {
			b.spaces++
		}
		if b.spaces > MaxNamespaces {
			return refuse(Limit, "there are %d namespaces, which is the limit", MaxNamespaces)
		}
	} else if len(n.tasks)+b.queued[c.Namespace] > MaxNamespaceQueue {
		return refuse(Limit, "%d tasks wait in namespace %s, which is the limit", MaxNamespaceQueue, n.Name)
	}
	return Result{Code: OK}
}

// spawn takes what a task submits, all of it allowed. A task that is there
// already is the one asked for.
func (s *State) spawn(t *Task, submits []*Submit) {
	for _, c := range submits {
		if s.Task(c.ID) == nil {
			s.accept(c, t)
		}
	}
}

// appendSubmits appends submissions, each as the command it could have been.
func appendSubmits(b []byte, submits []*Submit) []byte {
	b = wire.AppendUint(b, uint64(len(submits)))
	for _, c := range submits {
		b = wire.AppendBytes(b, c.AppendTo(nil))
	}
	return b
}

func readSubmits(r *wire.Reader) ([]*Submit, error) {
	var out []*Submit
	for range r.Count() {
		b := r.Bytes()
		if len(b) == 0 || b[0] == cmdCompleteSubmits { // which could go on for ever
			return nil, wire.ErrCorrupt
		}
		sub := wire.NewReader(b)
		c, err := DecodeCommand(sub)
		if err != nil {
			return nil, err
		}
		x, ok := c.(*Submit)
		if !ok || sub.Done() != nil {
			return nil, fmt.Errorf("%w: %T inside a report", wire.ErrCorrupt, c)
		}
		out = append(out, x)
	}
	return out, r.Err()
}
