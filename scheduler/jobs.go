package scheduler

import (
	"encoding/binary"
	"slices"
	"strings"

	"farm/internal/wire"
)

// Replace puts other tasks in the place of one of a job that did not succeed: one
// for each input that has no result, so that each is tried alone. The one replaced
// stays as it is, and no longer counts. What is owed to the job's fold is put in
// line as well. With many inputs it takes several commands, of which Last ends it.
//
// Round is which retry of the job it is. The first Replace of a round opens a job
// that was finished, and settles which tasks the round is for: those that had failed
// by then. So a retry that is asked for again goes on with what is left of it.
type Replace struct {
	Job   string
	Round uint64
	Task  string
	Items []Replacement
	Last  bool
}

// Replacement is a task that takes the place of another, with its options.
type Replacement struct {
	ID   string // beginning with that of the job and having a '/', which clients cannot use
	Body []byte
}

// MaxReplacements is how many tasks one Replace may bring.
const MaxReplacements = 1024

// AppendTo implements Command.
func (c *Replace) AppendTo(b []byte) []byte {
	b = wire.AppendString(append(b, cmdReplace), c.Job)
	b = wire.AppendUint(b, c.Round)
	b = wire.AppendString(b, c.Task)
	b = wire.AppendBool(b, c.Last)
	b = wire.AppendUint(b, uint64(len(c.Items)))
	for _, it := range c.Items {
		b = wire.AppendBytes(wire.AppendString(b, it.ID), it.Body)
	}
	return b
}

func readReplace(r *wire.Reader) *Replace {
	c := &Replace{Job: r.String(), Round: r.Uint(), Task: r.String(), Last: r.Bool()}
	for range r.Count() {
		c.Items = append(c.Items, Replacement{r.String(), r.Bytes()})
	}
	return c
}

// appendCount puts a number of inputs before the command it belongs to.
func appendCount(b []byte, n uint64) []byte {
	if n == 0 {
		return b
	}
	return wire.AppendUint(append(b, cmdCounted), n)
}

// decodeCounted reads a number of inputs and the command it belongs to.
func decodeCounted(r *wire.Reader) (Command, error) {
	n, t := r.Uint(), r.Byte()
	if n == 0 || t == cmdCounted {
		return nil, wire.ErrCorrupt
	}
	c, err := decodeCommand(r, t)
	if err != nil {
		return nil, err
	}
	switch c := c.(type) {
	case *Submit:
		c.Inputs = n
	case *Complete:
		c.Done = n
	default:
		return nil, wire.ErrCorrupt
	}
	return c, nil
}

// ---- what failed of a job ----

// Unfinished is a task of a job that did not succeed and was not replaced, or
// whose results the job's fold is owed.
type Unfinished struct {
	Order uint64 // of the task
	Task  string
	Owed  bool // its results are yet to be folded
	Part  bool // it failed and has results, of some of its inputs
}

func failedKey(job string, order uint64) string {
	return "e/" + job + "/" + string(binary.BigEndian.AppendUint64(nil, order))
}

// countInputs counts what the end of a task gives a job that counts its inputs, and
// notes it when it is not all.
func (s *State) countInputs(j *Job, t *Task, owed bool) {
	if t.FoldOf == "" && t.Parent == "" { // those that tasks submit are not inputs of the job
		j.Done += t.done
	}
	if t.State != Succeeded || owed {
		s.noteFailed(j, t, owed)
	}
}

// noteFailed remembers a task for a retry of its job. It is forgotten when it is
// replaced, or with the job.
func (s *State) noteFailed(j *Job, t *Task, owed bool) {
	b := wire.AppendBool([]byte{recordVersion}, owed)
	b = wire.AppendBool(b, t.State != Succeeded && t.done > 0)
	s.rec.Put(failedKey(j.ID, t.Order), wire.AppendString(b, t.ID))
}

// Unfinished returns up to limit tasks of a job that a retry would replace, by
// their order, from one on. Only jobs that count their inputs have them.
func (s *State) Unfinished(job string, from uint64, limit int) []Unfinished {
	var out []Unfinished
	s.rec.Scan("e/"+job+"/", failedKey(job, from), func(key string, value []byte) bool {
		if len(out) < limit {
			out = append(out, mustUnfinished(key, value))
		}
		return len(out) < limit
	})
	return out
}

// UnfinishedTask is the task that u notes, nil when it is no longer kept. There may be
// another one of its name by then.
func (s *State) UnfinishedTask(u Unfinished) *Task {
	if t := s.Task(u.Task); t != nil && t.Order == u.Order {
		return t
	}
	return nil
}

func mustUnfinished(key string, value []byte) Unfinished {
	r := wire.NewReader(value)
	r.Byte()
	u := Unfinished{Owed: r.Bool(), Part: r.Bool(), Task: r.String()}
	if r.Done() != nil || len(key) < 8 {
		panic("scheduler: a failed task of a job: " + r.Done().Error())
	}
	u.Order = binary.BigEndian.Uint64([]byte(key[len(key)-8:]))
	return u
}

// aloneAllowed says whether a failed task of a job that counts its inputs may be
// tried again by itself, as it is: not when others have taken its place, nor when
// some of its inputs have a result, which would be folded again.
func (s *State) aloneAllowed(j *Job, t *Task) Result {
	if !j.counted() {
		return Result{Code: OK}
	}
	key := failedKey(j.ID, t.Order)
	note := s.rec.Get(key)
	if note == nil {
		return refuse(Conflict, "task %s was replaced when its job %s was retried", t.ID, j.ID)
	}
	if u := mustUnfinished(key, note); u.Part || u.Owed {
		return refuse(Conflict, "task %s has results for some of its inputs: retry its job %s, which tries the others", t.ID, j.ID)
	}
	return Result{Code: OK}
}

// dropFailed is how many notes of failed tasks are removed at a time when their
// job is no longer kept, so that an entry's work is bounded.
const dropFailed = 64

// dropFailures removes what is noted of a job that is no longer kept; false when
// there is more.
func (s *State) dropFailures(job string) bool {
	list := s.Unfinished(job, 0, dropFailed)
	for _, u := range list {
		s.rec.Delete(failedKey(job, u.Order))
	}
	return len(list) < dropFailed
}

// ---- retrying ----

func (s *State) replace(c *Replace) Result {
	j, t := s.Job(c.Job), s.Task(c.Task)
	switch {
	case j == nil || t == nil:
		return refuse(NotFound, "there is no job %s with a task %s", c.Job, c.Task)
	case t.Job != j.ID || s.rec.Get(failedKey(j.ID, t.Order)) == nil:
		return Result{Code: Duplicate, Detail: "the task was replaced"}
	}
	if r := s.roundAllowed(c, j, t); r.Code != OK {
		return r
	}
	if r := s.replaceAllowed(c, t); r.Code != OK {
		return r
	}
	if c.Round != j.Round {
		j.Round, j.Mark, j.Cancelled = c.Round, s.Order, false
	}
	s.reopen(j)
	j.Sealed = false // until all are counted: some may end at once, and with them the job
	for i := range c.Items {
		s.admitReplacement(j, t, &c.Items[i])
	}
	if c.Last {
		s.retire(j, t)
	}
	j.Sealed = true
	s.touchJob(j)
	s.endJob(j)
	return Result{Code: OK}
}

// roundAllowed says whether a round of retrying a job is there or may begin, and
// whether it is for task t.
func (s *State) roundAllowed(c *Replace, j *Job, t *Task) Result {
	switch {
	case c.Round == j.Round && c.Round > 0 && t.Order <= j.Mark:
	case c.Round != j.Round+1:
		return refuse(Stale, "round %d of job %s is not for task %s", c.Round, j.ID, t.ID)
	case !j.Sealed:
		return refuse(Conflict, "job %s is still being submitted", j.ID)
	case j.Cancelled && j.Finished == 0:
		return refuse(Conflict, "job %s is being cancelled", j.ID)
	case j.Finished != 0 && len(s.jobs) >= MaxJobs:
		return refuse(Limit, "%d jobs are open, which is the limit", len(s.jobs))
	}
	return Result{Code: OK}
}

func (s *State) replaceAllowed(c *Replace, t *Task) Result {
	if len(c.Items) > MaxReplacements {
		return refuse(Limit, "%d tasks to replace one, the limit is %d", len(c.Items), MaxReplacements)
	}
	if t.State == Succeeded && len(c.Items) > 0 {
		return refuse(Invalid, "task %s succeeded: only its fold is owed", t.ID)
	}
	if t.Kind != Run && len(c.Items) > 0 {
		return refuse(Invalid, "task %s runs no code: others cannot take its place", t.ID)
	}
	if len(s.tasks)+len(c.Items)+1 > MaxLive { // 1 for a fold
		return refuse(Limit, "%d tasks are waiting or running, the limit is %d", len(s.tasks), MaxLive)
	}
	if t.Options != nil {
		if r := s.placesAllowed(t.Options); r.Code != OK {
			return r
		}
	}
	if n := s.namespaces[t.Namespace]; n != nil && len(n.tasks)+len(c.Items) > MaxNamespaceQueue {
		return refuse(Limit, "%d tasks wait in namespace %s, the limit is %d", len(n.tasks), n.Name, MaxNamespaceQueue)
	}
	for _, it := range c.Items {
		if len(it.Body) > MaxBodyBytes {
			return refuse(Limit, "the task's body has %d bytes, the limit is %d", len(it.Body), MaxBodyBytes)
		}
		if !strings.Contains(it.ID, "/") || strings.HasSuffix(it.ID, foldID("")) {
			return refuse(Invalid, "%q cannot be the id of a task that replaces another", it.ID)
		}
	}
	return Result{Code: OK}
}

// reopen makes a finished job an open one.
func (s *State) reopen(j *Job) {
	if j.Finished == 0 {
		return
	}
	s.unlist('h', j.ID, j.Finished)
	s.rec.Delete("h/" + j.ID)
	j.Finished, j.stored = 0, false
	s.jobs[j.ID] = j
}

// admitReplacement admits a task in the place of t, once.
func (s *State) admitReplacement(j *Job, t *Task, it *Replacement) {
	if s.Task(it.ID) != nil {
		return
	}
	switch {
	case t.FoldOf != "":
		j.Folds++
	case t.Parent != "":
		j.Spawned++
		fallthrough
	default:
		j.Total++
	}
	n := &Task{ID: it.ID, Namespace: t.Namespace, Job: j.ID, FoldOf: t.FoldOf, Kind: t.Kind, Body: slices.Clone(it.Body),
		Timeout: t.Timeout, Retries: t.Retries, Priority: t.Priority, Parent: t.Parent, Depth: t.Depth, inQueue: -1}
	if t.Options != nil {
		n.Options = t.Options.clone()
		n.Options.request, n.Options.Unique = "", nil // they are of the one task
		s.noteEnded(n)
		s.renewDeadline(n)
	}
	s.admit(n)
}

// retire takes a task whose place others have taken out of its job's counts.
func (s *State) retire(j *Job, t *Task) {
	key := failedKey(j.ID, t.Order)
	owed := mustUnfinished(key, s.rec.Get(key)).Owed
	s.rec.Delete(key)
	switch {
	case t.State == Succeeded:
	case t.FoldOf != "":
		j.FoldFailed--
		j.Folds--
	default:
		j.Failed--
		j.Total--
		if t.Parent != "" {
			j.Spawned--
		}
	}
	if owed {
		s.fold(j, t)
	}
	if j.FirstError != t.ID {
		return
	}
	j.FirstError = ""
	for _, u := range s.Unfinished(j.ID, 0, 1) {
		j.FirstError = u.Task
	}
}

// Jobs returns up to limit finished jobs that are kept, by id, from one on. Not to
// be changed.
func (s *State) Jobs(from string, limit int) []*Job {
	var out []*Job
	s.rec.Scan("h/", "h/"+from, func(_ string, rec []byte) bool {
		j, err := decodeJob(rec)
		if err != nil {
			panic("scheduler: finished job: " + err.Error())
		}
		out = append(out, j)
		return len(out) < limit
	})
	return out
}

// OpenJobs returns the jobs that are not finished, by id.
func (s *State) OpenJobs() []*Job {
	out := make([]*Job, 0, len(s.jobs))
	for _, j := range s.jobs { // sorted below
		out = append(out, j)
	}
	slices.SortFunc(out, func(a, b *Job) int { return strings.Compare(a.ID, b.ID) })
	return out
}
