package scheduler

import (
	"cmp"
	"fmt"
	"slices"
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

// submitsAllowed says whether all that a task submits may be taken, and returns what is
// to be taken of it: not what is there already, by its id or with its unique key.
func (s *State) submitsAllowed(t *Task, submits []*Submit) (take []*Submit, r Result) {
	switch {
	case len(submits) == 0:
		return nil, Result{Code: OK}
	case len(submits) > MaxSubmits:
		return nil, refuse(Limit, "the task submits %d tasks, the limit is %d", len(submits), MaxSubmits)
	case t.Depth >= MaxDepth:
		return nil, refuse(Limit, "the task has %d parents, one above the other, which is the limit: it cannot submit tasks", t.Depth)
	}
	b := newBatch(s)
	size := 0
	for i, c := range submits {
		if size += len(c.ID) + len(c.Namespace) + len(c.Job) + len(c.Body); size > MaxSubmitBytes {
			return nil, refuse(Limit, "the tasks that the task submits have %d bytes, the limit is %d", size, MaxSubmitBytes)
		}
		c = b.meaning(c)
		r := s.childAllowed(t, c, b)
		if r.Code == OK {
			r = b.add(c)
		}
		switch r.Code {
		case OK:
			take = append(take, c)
		case Duplicate:
			b.meant[c.ID] = r.Detail
		default:
			return nil, refuse(r.Code, "%s: %s", which(i, c), r.Detail)
		}
	}
	return take, Result{Code: OK}
}

// which names a submission. What failed a task is kept with it, so those of logs that
// are older than options of submissions are named as they were.
func which(i int, c *Submit) string {
	if c.Options.None() {
		return fmt.Sprintf("submission %d", i+1)
	}
	return fmt.Sprintf("submission %d, task %s", i+1, c.ID)
}

// childAllowed looks at one submission, after the others of its batch so far. That of a
// task that is there is a Duplicate, with the id of another one that has its unique key.
func (s *State) childAllowed(t *Task, c *Submit, b *batch) Result {
	switch there := s.Task(c.ID) != nil; {
	case c.Kind != Run:
		return refuse(Invalid, "a task can submit cells and calls only")
	case b.has(c.ID) && !ValidName(c.ID):
		return refuse(Invalid, "the id %s is derived twice", c.ID)
	case (there || b.has(c.ID)) && ValidName(c.ID):
		return Result{Code: Duplicate}
	case there: // nobody chose that name: it would be lost
		return refuse(Conflict, "there is a task %s, of an earlier task %s", c.ID, t.ID)
	}
	r := s.submitAllowed(c, t, b)
	u := c.Options.unique()
	switch {
	case u == nil || r.Code != OK:
		return r
	case b.holders[u.Key] != "":
		return Result{Code: Duplicate, Detail: b.holders[u.Key]}
	}
	return s.uniqueAllowed(u)
}

// batch is what several submissions take together.
type batch struct {
	s            *State
	live, spaces int
	queued       map[string]int    // new tasks by namespace
	taken        map[string]bool   // ids of new tasks
	needs        map[string]bool   // sets of needs that no other task has
	queues, keys map[string]bool   // that are not known yet
	holders      map[string]string // new tasks by the unique key they have
	waiting      map[string]int    // new tasks that wait for a task
	meant        map[string]string // by the id of one that was not taken, the one that has its unique key
}

func newBatch(s *State) *batch {
	return &batch{s: s, live: len(s.tasks), spaces: len(s.namespaces), queued: map[string]int{}, taken: map[string]bool{}, needs: map[string]bool{},
		queues: map[string]bool{}, keys: map[string]bool{}, holders: map[string]string{}, waiting: map[string]int{}, meant: map[string]string{}}
}

// has tells whether a task was taken before in the batch; there may be no batch.
func (b *batch) has(id string) bool { return b != nil && b.taken[id] }

func (b *batch) waitingFor(id string) int {
	if b == nil {
		return 0
	}
	return b.waiting[id]
}

// meaning is a submission in which those it waits for are the tasks that there are or
// will be: instead of one that was not taken, who has its unique key.
func (b *batch) meaning(c *Submit) *Submit {
	if c.Options == nil || !slices.ContainsFunc(c.Options.After, func(id string) bool { return b.meant[id] != "" }) {
		return c
	}
	x := *c
	x.Options = c.Options.clone()
	x.Options.After = nil
	for _, id := range c.Options.After {
		if id = cmp.Or(b.meant[id], id); !slices.Contains(x.Options.After, id) {
			x.Options.After = append(x.Options.After, id)
		}
	}
	return &x
}

// add counts one that is to be taken.
func (b *batch) add(c *Submit) Result {
	if b.live++; b.live > MaxLive {
		return refuse(Limit, "%d tasks are waiting or running, which is the limit", MaxLive)
	}
	if r := b.addOptions(c); r.Code != OK {
		return r
	}
	b.taken[c.ID] = true
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

// addOptions counts needs, queues, keys, unique keys and those that are waited for.
func (b *batch) addOptions(c *Submit) Result {
	o := c.Options
	if o == nil {
		return Result{Code: OK}
	}
	s, name := b.s, cmp.Or(o.Queue, DefaultQueue)
	if s.classes[needsKey(o.Needs)] == nil {
		if b.needs[needsKey(o.Needs)] = true; len(s.classes)+len(b.needs) > MaxNeedsSets {
			return refuse(Limit, "waiting and running tasks have %d different sets of needs, which is the limit", MaxNeedsSets)
		}
	}
	i, there := s.queueIndex(name)
	if !there {
		if b.queues[name] = true; len(s.queues)+len(b.queues) > MaxQueues {
			return refuse(Limit, "there would be more than %d queues, which is the limit", MaxQueues)
		}
	}
	if o.Key != "" && (!there || s.queues[i].keys[o.Key] == nil) {
		if b.keys[keyKey(name, o.Key)] = true; s.keys+len(b.keys) > MaxKeys {
			return refuse(Limit, "more than %d keys would be in use, which is the limit", MaxKeys)
		}
	}
	if o.Unique != nil {
		if b.holders[o.Unique.Key] = c.ID; s.uniques+len(b.holders) > MaxUniques {
			return refuse(Limit, "more than %d unique keys would be held, which is the limit", MaxUniques)
		}
	}
	for _, id := range o.After {
		b.waiting[id]++
	}
	return Result{Code: OK}
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
