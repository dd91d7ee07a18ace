package scheduler

import (
	"bytes"
	"fmt"
	"slices"

	"farm/internal/part"
)

// Code is how a command ended.
type Code uint8

// The codes of a Result. Every replica gives the same one for the same entry.
const (
	OK        Code = iota + 1
	Duplicate      // the task, job or worker is there already: the answer is about that one
	NotFound       // there is no such task, job, namespace or worker
	Stale          // the attempt or incarnation is not the current one: refused
	Conflict       // the command contradicts what is there, such as a sealed job
	Limit          // a limit of the state is reached
	Invalid        // the command breaks a rule a client should have kept
	Missing        // a part that the command refers to is not there: send it and repeat the command
)

var codeNames = [...]string{"", "ok", "duplicate", "not found", "stale", "conflict", "limit", "invalid", "missing"}

// String is the code in words.
func (c Code) String() string {
	if int(c) < len(codeNames) {
		return codeNames[c]
	}
	return fmt.Sprintf("code(%d)", uint8(c))
}

// Result answers one command.
type Result struct {
	Code   Code
	Detail string // for people, when Code is not OK or Duplicate
	Order  uint64 // of a submitted task
}

// EffectKind says what the leader, or whoever waits, has to do.
type EffectKind uint8

// The effects of commands.
const (
	Assigned  EffectKind = iota + 1 // Task was given to a worker: send it
	Ended                           // Task became final: tell who waits
	Stop                            // Task is running and shall be stopped: tell its worker
	Voided                          // Task's attempt is no longer wanted: tell the worker that had it
	Settled                         // Task's attempt was accepted: tell the worker that had it
	Forgotten                       // Space was removed: what workers know of it is void
	JobEnded                        // Job became finished
)

// Effect is one consequence of a command. Its pointers are into the state: read
// them before the next Step, under the state's lock.
type Effect struct {
	Kind        EffectKind
	Task        *Task
	Worker      string // of Stop, Voided, Settled: who had the attempt
	Incarnation uint64
	Attempt     uint32
	Space       string
	Version     uint64 // of Settled: the namespace's version after the task
	Job         *Job
}

// Advance sets the clock to now (unix nanoseconds), or leaves it where it is
// when that is later, and queues the tasks whose time has come. The leader's
// time of an entry goes here before the entry's commands.
func (s *State) Advance(now int64) {
	s.Clock = max(s.Clock, now)
	for s.delayed.len() > 0 && s.delayed.min().NotBefore <= s.Clock {
		t := s.delayed.min()
		s.delayed.remove(t)
		first := t.Attempt == 0
		if n := s.namespaces[t.Namespace]; n != nil && first {
			n.delayed--
		}
		switch {
		case t.late(s.Clock): // before it is given to a worker
			s.overdue(t)
			continue
		case !first: // it keeps its place
			s.offer(t)
			continue
		}
		s.Order++
		t.Order = s.Order // it takes its place in its namespace now
		s.touch(t)
		s.enqueue(t)
	}
	s.openGates()
	s.forgetKeys()
	s.lapseKeys()
	s.failOverdue()
	s.dropOutdated()
	s.expireLeases()
	s.place()
	s.sweep()
}

// NextDeadline is the time (unix nanoseconds) at which the state changes with
// no command but a Tick, 0 when there is none.
func (s *State) NextDeadline() (at int64) {
	next := func(t int64) {
		if at == 0 || t < at {
			at = t
		}
	}
	if s.delayed.len() > 0 {
		next(s.delayed.min().NotBefore)
	}
	if s.leased.len() > 0 {
		next(s.leased.min().until)
	}
	if s.due.len() > 0 {
		next(s.due.min().Options.Deadline)
	}
	if s.keptTill.len() > 0 {
		next(s.keptTill.min().until)
	}
	if s.timers.len() > 0 {
		next(s.timers.min().until)
	}
	return at
}

// Step applies one command. It never fails: a command that cannot be done is
// answered with its Code and changes nothing. Call Advance first, and Effects
// afterwards.
func (s *State) Step(c Command) Result {
	var r Result
	switch c := c.(type) {
	case *Submit:
		r = s.submit(c)
	case *Complete:
		r = s.complete(c)
	case *Cancel:
		r = s.cancel(c)
	case *Return:
		r = s.giveBack(c)
	case *WorkerUp:
		r = s.workerUp(c)
	case *WorkerLost:
		r = s.workerLost(c)
	case *WorkerIdle:
		r = s.workerIdle(c)
	case *WorkerSlots:
		r = s.workerSlots(c)
	case *OpenJob:
		r = s.openJob(c)
	case *SealJob:
		r = s.sealJob(c)
	case *CancelJob:
		r = s.cancelJob(c)
	case *Replace:
		r = s.replace(c)
	case *Tick:
		r = Result{Code: OK}
	case *Found:
		r = s.found(c)
	case *Upload:
		r = s.upload(c)
	case *SetQueue:
		r = s.setQueue(c)
	case *Retry:
		r = s.retry(c)
	case *Discard:
		r = s.discard(c)
	case *PutSchedule:
		r = s.putSchedule(c)
	case *ChangeSchedule:
		r = s.changeSchedule(c)
	case *FireSchedule:
		r = s.fireSchedule(c)
	default:
		panic(fmt.Sprintf("scheduler: Step of %T", c))
	}
	s.place()
	s.sweep()
	return r
}

// Effects returns the effects since the last call, in order, and forgets them.
// The slice is valid until the next Step.
func (s *State) Effects() []Effect {
	e := s.effects
	s.effects = s.effects[:0]
	return e
}

func (s *State) emit(e Effect) { s.effects = append(s.effects, e) }

func refuse(c Code, format string, args ...any) Result {
	return Result{Code: c, Detail: fmt.Sprintf(format, args...)}
}

// ---- submitting ----

func (s *State) submit(c *Submit) Result {
	if t := s.Task(c.ID); t != nil {
		return Result{Code: Duplicate, Order: t.Order}
	}
	if r := s.submitAllowed(c, nil, nil); r.Code != OK {
		return r
	}
	if u := c.Options.unique(); u != nil {
		if r := s.uniqueAllowed(u); r.Code != OK {
			return r
		}
	}
	return Result{Code: OK, Order: s.accept(c, nil).Order}
}

// accept makes the task of an allowed submission, by a client or by the parent.
func (s *State) accept(c *Submit, parent *Task) *Task {
	t := &Task{ID: c.ID, Namespace: c.Namespace, Job: c.Job, Kind: c.Kind, Body: bytes.Clone(c.Body), Timeout: c.Timeout,
		Retries: c.Retries, Priority: c.Priority, inQueue: -1}
	if !c.Options.None() {
		t.Options = c.Options.clone()
	}
	if c.Delay > 0 {
		t.NotBefore = s.Clock + c.Delay
	}
	if parent != nil {
		t.Parent, t.Depth = parent.ID, parent.Depth+1
	}
	s.setTimes(t)
	if c.Kind == PatchParts {
		s.pinBody(t.Body)
	}
	if c.Job != "" {
		j := s.jobs[c.Job]
		j.Total++
		j.Inputs += c.Inputs
		if parent != nil {
			j.Spawned++
		}
		s.touchJob(j)
	}
	if t.Options.unique() != nil {
		s.holdKey(t)
	}
	s.admit(t)
	return t
}

// submitAllowed says whether a submission by a client, or by the parent together with
// a batch of others, may be taken.
func (s *State) submitAllowed(c *Submit, parent *Task, b *batch) Result {
	switch {
	case !ValidName(c.ID) && !derivedFrom(parent, c.ID) || (c.Namespace != "" && !ValidName(c.Namespace)):
		return refuse(Invalid, "a task id or namespace is not a name: %q, %q", c.ID, c.Namespace)
	case c.Kind < Run || c.Kind > PatchParts || c.Timeout < 0 || c.Delay < 0 || c.Delay > maxDelay || c.Retries > MaxRetries:
		return refuse(Invalid, "a field of the task is out of range")
	case c.Kind != Run && c.Namespace == "":
		return refuse(Invalid, "this kind of task needs a namespace")
	case len(c.Body) > MaxBodyBytes:
		return refuse(Limit, "the task's body has %d bytes, the limit is %d", len(c.Body), MaxBodyBytes)
	}
	if r := s.roomFor(c.Namespace); r.Code != OK {
		return r
	}
	if c.Job != "" {
		switch j := s.jobs[c.Job]; {
		case j == nil:
			return refuse(NotFound, "there is no open job %s", c.Job)
		case j.Sealed && (parent == nil || parent.Job != c.Job):
			return refuse(Conflict, "job %s is sealed", c.Job)
		case j.Cancelled: // while it is not, its own tasks may add to it
			return refuse(Conflict, "job %s is cancelled", c.Job)
		}
	}
	if r := s.optionsAllowed(c); r.Code != OK {
		return r
	}
	if r := s.timesAllowed(c, b); r.Code != OK {
		return r
	}
	if c.Kind == PatchParts {
		return s.patchAllowed(c)
	}
	return Result{Code: OK}
}

// roomFor says whether one more task fits, into a namespace if that is not empty.
func (s *State) roomFor(space string) Result {
	if len(s.tasks) >= MaxLive {
		return refuse(Limit, "%d tasks are waiting or running, which is the limit", len(s.tasks))
	}
	if space == "" {
		return Result{Code: OK}
	}
	n := s.namespaces[space]
	if n == nil && len(s.namespaces) >= MaxNamespaces {
		return refuse(Limit, "there are %d namespaces, which is the limit", len(s.namespaces))
	}
	if n != nil && len(n.tasks) >= MaxNamespaceQueue {
		return refuse(Limit, "%d tasks wait in namespace %s, which is the limit", len(n.tasks), n.Name)
	}
	return Result{Code: OK}
}

// patchAllowed looks at a patch with items in parts when it is submitted: from
// then on it holds them.
func (s *State) patchAllowed(c *Submit) Result {
	x, err := DecodeChange(c.Body)
	if err != nil {
		return refuse(Invalid, "the patch is malformed")
	}
	if r := x.check(MaxImportBytes); r.Code != OK {
		return r
	}
	return s.partsThere(&x)
}

// pinBody refers to the parts of a PatchParts task, unpinBody ends that.
func (s *State) pinBody(body []byte) { eachPart(body, s.pin) }

func (s *State) unpinBody(body []byte) { eachPart(body, s.unpin) }

func eachPart(body []byte, do func(*part.Manifest)) {
	x, err := DecodeChange(body)
	if err != nil {
		panic("scheduler: a patch that was accepted: " + err.Error())
	}
	for i := range x.Put {
		do(x.Put[i].Parts)
	}
}

// admit makes a new task live.
func (s *State) admit(t *Task) {
	t.Submitted = s.Clock
	s.enter(t)
}

// enter is admit of a task that was submitted now or before.
func (s *State) enter(t *Task) {
	s.Order++
	t.Order = s.Order
	t.State = Queued
	s.tasks[t.ID] = t
	s.join(t)
	s.touch(t)
	if t.Namespace != "" && s.namespaces[t.Namespace] == nil {
		n := &Namespace{Name: t.Namespace, Created: s.Clock, ready: -1}
		s.namespaces[n.Name] = n
		s.touchSpace(n)
	}
	s.watch(t)
	switch {
	case t.late(s.Clock):
		s.overdue(t)
	case !s.mustWait(t):
		s.lineUp(t)
	}
}

// lineUp puts a task in line, now or when its time has come.
func (s *State) lineUp(t *Task) {
	if t.NotBefore > s.Clock {
		s.delay(t)
		return
	}
	s.enqueue(t)
}

func (s *State) delay(t *Task) {
	s.delayed.push(t)
	if t.Namespace != "" {
		s.namespaces[t.Namespace].delayed++
	}
}

// enqueue gives a queued task its place in line.
func (s *State) enqueue(t *Task) {
	if t.Namespace == "" {
		s.wait(unit{task: t})
		return
	}
	n := s.namespaces[t.Namespace]
	n.tasks = append(n.tasks, t)
	s.offerSpace(n)
}

// offer has a task placed that has its place in line.
func (s *State) offer(t *Task) {
	if t.Namespace == "" {
		s.enqueue(t)
		return
	}
	s.offerSpace(s.namespaces[t.Namespace])
}

// ---- the end of an attempt ----

func (s *State) complete(c *Complete) Result {
	t := s.tasks[c.Task]
	if t == nil || t.State != Running || t.Attempt != c.Attempt || t.Worker != c.Worker || t.Incarnation != c.Incarnation {
		return refuse(Stale, "attempt %d of task %s is not the current one", c.Attempt, c.Task)
	}
	n := s.namespaces[t.Namespace]
	if n != nil && (n.tasks[0] != t || n.Epoch != c.Epoch || n.Version != c.Base) {
		// The attempt is current but what it built on is not: run it again
		// from what is committed, blaming nobody.
		s.release(n)
		return refuse(Stale, "namespace %s is at epoch %d version %d, the attempt began from epoch %d version %d", n.Name, n.Epoch, n.Version, c.Epoch, c.Base)
	}
	r := s.completeAllowed(c, n)
	cause := r.Detail
	var children []*Submit
	if r.Code == OK && c.Status == Success {
		children, r = s.submitsAllowed(t, c.Submits)
		cause = r.Code.String() + refusalMark + r.Detail
	}
	if r.Code == Missing {
		return r // it is still the current attempt and will be reported again
	}
	if r.Code != OK {
		c = &Complete{Status: Permanent, Cause: cause, Outcome: c.Outcome, Took: c.Took}
	}
	s.measure(s.worker(t.Worker), c.Took)
	e := Effect{Kind: Settled, Task: t, Worker: t.Worker, Incarnation: t.Incarnation, Attempt: t.Attempt, Space: t.Namespace}
	if n != nil {
		if c.Status == Success {
			s.change(n, t.ID, &c.Change)
		}
		e.Version = n.Version
	}
	s.emit(e)
	t.done = c.Done
	switch c.Status {
	case Success:
		for _, child := range children { // before it ends, and perhaps its job with it
			s.accept(child, t)
		}
		s.finish(t, Succeeded, c.Outcome)
	case Stopped:
		s.finish(t, Cancelled, c.Outcome)
	case Snoozed:
		t.done = 0 // the record has it no more than other attempts' that were not the last
		s.putOff(t, c.Wait)
	default:
		t.Failures++
		t.blame(c.Cause)
		if c.Status == Failure && t.Failures <= t.Retries && !t.Cancelling {
			t.done = 0
			s.tryAgain(t)
		} else {
			s.finish(t, Failed, c.Outcome)
		}
	}
	return Result{Code: OK, Order: t.Order}
}

// putOff makes a running task wait until a while has passed. It has no namespace.
func (s *State) putOff(t *Task, wait int64) {
	if t.Cancelling {
		s.finish(t, Cancelled, nil)
		return
	}
	s.takeBack(t)
	t.NotBefore = s.Clock + wait
	if t.NotBefore > s.Clock {
		s.delay(t)
		return
	}
	s.wait(unit{task: t})
}

// completeAllowed says why a report of a current attempt cannot be applied as
// it is; the attempt then counts as failed for that reason.
func (s *State) completeAllowed(c *Complete, n *Namespace) Result {
	switch {
	case !c.Status.known():
		return refuse(Invalid, "the worker reported an unknown status")
	case c.Status == Snoozed && n != nil:
		return refuse(Invalid, "a task in a namespace cannot be put off")
	case c.Status == Snoozed && (c.Wait < 0 || c.Wait > maxDelay || !c.Change.Empty() || len(c.Submits) > 0):
		return refuse(Invalid, "a task can be put off for 0 to %d seconds", maxDelay/second)
	case len(c.Outcome) > MaxOutcome:
		c.Outcome = nil
		return refuse(Limit, "the outcome is over the limit of %d bytes", MaxOutcome)
	case c.Status != Success:
		return Result{Code: OK}
	case n == nil && !c.Change.Empty():
		return refuse(Invalid, "a private task reported a change of a namespace")
	case n == nil:
		return Result{Code: OK}
	}
	if r := c.Change.check(MaxDeltaBytes); r.Code != OK {
		return r
	}
	if r := s.changeFits(n, &c.Change); r.Code != OK {
		return r
	}
	return s.partsThere(&c.Change)
}

func (s *State) changeFits(n *Namespace, c *Change) Result {
	if n.Items+uint64(len(c.Put)) > MaxItems && n.Items+s.newItems(n, c) > MaxItems {
		return refuse(Limit, "namespace %s has %d items, the limit is %d", n.Name, n.Items, MaxItems)
	}
	after, whole := n.Bytes+c.Total(), n.Bytes-n.InParts+uint64(c.Size())
	if after <= MaxNamespaceBytes && whole <= MaxWholeBytes {
		return Result{Code: OK}
	}
	less, lessWhole := s.replaced(n, c)
	if after -= less; after > MaxNamespaceBytes {
		return refuse(Limit, "namespace %s holds %d bytes and would hold %d, the limit is %d", n.Name, n.Bytes, after, MaxNamespaceBytes)
	}
	if whole -= lessWhole; whole > MaxWholeBytes && whole > n.Bytes-n.InParts {
		return refuse(Limit, "namespace %s would hold %d bytes of values that are not in parts, the limit is %d", n.Name, whole, MaxWholeBytes)
	}
	return Result{Code: OK}
}

// replaced is the bytes of items that a change removes or puts others for, and
// those of them that are not in parts.
func (s *State) replaced(n *Namespace, c *Change) (bytes, whole uint64) {
	count := func(key string) {
		if it, _, there := s.item(n.Name, key); there {
			bytes += uint64(len(key)) + it.size()
			whole += uint64(len(key) + len(it.Value))
		}
	}
	for _, k := range c.Delete {
		count(k)
	}
	for i := range c.Put {
		if k := c.Put[i].Key; !slices.Contains(c.Delete, k) {
			count(k)
		}
	}
	return bytes, whole
}

// newItems is how many of a change's items the namespace does not have.
func (s *State) newItems(n *Namespace, c *Change) (count uint64) {
	for _, it := range c.Put {
		if s.rec.Get(itemKey(n.Name, it.Key)) == nil {
			count++
		}
	}
	return count
}

// change applies the change that a task made to a namespace's items. An empty
// one is no new version.
func (s *State) change(n *Namespace, task string, c *Change) {
	if c.Empty() {
		return
	}
	n.Version++
	n.Changed = s.Clock
	u := &undo{made: s.Clock, task: task, complete: true}
	for _, k := range c.Delete {
		if old, _, there := s.item(n.Name, k); there {
			u.note(old)
			s.rec.Delete(itemKey(n.Name, k))
			s.weigh(n, &old, -1)
			s.unpin(old.Parts)
			n.Cleared = n.Version
		}
	}
	for i := range c.Put {
		it := &c.Put[i]
		s.pin(it.Parts)
		old, _, there := s.item(n.Name, it.Key)
		if there {
			s.weigh(n, &old, -1)
			s.unpin(old.Parts)
		} else {
			old = Item{Key: it.Key}
		}
		u.note(old)
		s.weigh(n, it, 1)
		s.rec.Put(itemKey(n.Name, it.Key), it.record(n.Version))
	}
	s.keep(n, u)
	s.touchSpace(n)
}

// weigh counts an item in (1) or out (-1) of a namespace.
func (s *State) weigh(n *Namespace, it *Item, sign int64) {
	n.Items += uint64(sign)
	n.Bytes += uint64(sign * int64(uint64(len(it.Key))+it.size()))
	if it.Parts != nil {
		n.InParts += uint64(sign * int64(it.Parts.Size))
	}
}

// unassign takes a running task from its worker. It leaves the namespace's
// queue alone but for the count of running ones.
func (s *State) unassign(t *Task) {
	w := s.worker(t.Worker)
	w.take(t)
	s.running--
	s.end(t)
	if n := s.namespaces[t.Namespace]; n != nil {
		if n.running--; n.running > 0 {
			return
		}
	}
	w.load--
	s.gained(w)
}

// takeBack makes a running task queued again, where it was in its namespace.
// The caller offers it for placement.
func (s *State) takeBack(t *Task) {
	s.unassign(t)
	t.State = Queued
	s.touch(t)
}

// void is takeBack of an attempt whose worker does not know yet.
func (s *State) void(t *Task) {
	s.emit(Effect{Kind: Voided, Task: t, Worker: t.Worker, Incarnation: t.Incarnation, Attempt: t.Attempt, Space: t.Namespace})
	s.takeBack(t)
}

// requeueFrom puts a running task back in line, and with it those of its
// namespace that were to run after it.
func (s *State) requeueFrom(t *Task) {
	if t.Namespace == "" {
		s.takeBack(t)
		if s.backsOff(t) {
			s.delay(t)
			return
		}
		s.wait(unit{task: t})
		return
	}
	n := s.namespaces[t.Namespace]
	for n.running > 0 && n.tasks[n.running-1] != t {
		s.void(n.tasks[n.running-1])
	}
	s.takeBack(t)
	s.offerSpace(n)
}

// release voids everything a namespace has running and its placement.
func (s *State) release(n *Namespace) {
	for n.running > 0 {
		s.void(n.tasks[n.running-1])
	}
	n.Worker, n.Incarnation = "", 0
	s.touchSpace(n)
	s.offerSpace(n)
}

// finish makes a task final: its record moves from the live to the retained,
// and what hangs on its end follows in the same entry.
func (s *State) finish(t *Task, st TaskState, outcome []byte) {
	if t.State == Running {
		s.unassign(t)
	}
	s.leave(t)
	s.unwatch(t)
	s.quit(t)
	s.releaseKey(t, false)
	if t.Kind == PatchParts {
		s.unpinBody(t.Body)
	}
	t.State, t.Outcome, t.Finished = st, outcome, s.Clock
	switch st {
	case Succeeded:
		s.Succeeded++
	case Failed:
		s.Failed++
	default:
		s.Cancelled++
	}
	delete(s.tasks, t.ID)
	if t.stored {
		s.rec.Delete("q/" + t.ID)
	}
	rec := s.record(t)
	s.rec.Put("t/"+t.ID, rec)
	s.retainTask(t, len(rec))
	s.emit(Effect{Kind: Ended, Task: t})
	if len(s.dependents[t.ID]) > 0 {
		s.fired = append(s.fired, t)
	}
	if t.Job != "" {
		s.countJob(s.jobs[t.Job], t)
	}
}

// leave takes a task out of every queue.
func (s *State) leave(t *Task) {
	held := t.held
	if held {
		s.letGo(t)
	}
	if t.Namespace == "" {
		switch {
		case t.inQueue < 0:
		case t.NotBefore > s.Clock:
			s.delayed.remove(t)
		default:
			s.unwait(unit{task: t})
		}
		return
	}
	n := s.namespaces[t.Namespace]
	if t.inQueue >= 0 {
		s.delayed.remove(t)
		if !s.backsOff(t) {
			n.delayed--
		}
	}
	if held {
		s.abandon(n)
		return
	}
	s.unwait(unit{space: n})
	for i, x := range n.tasks {
		if x != t {
			continue
		}
		if i == 0 {
			n.tasks[0] = nil
			n.tasks = n.tasks[1:]
		} else {
			n.tasks = append(n.tasks[:i], n.tasks[i+1:]...)
		}
		break
	}
	s.offerSpace(n)
	s.abandon(n)
}

// abandon forgets a namespace nothing was made of and nothing waits for.
func (s *State) abandon(n *Namespace) {
	if len(n.tasks) == 0 && n.delayed == 0 && !n.Exists() && !n.gone {
		s.removeSpace(n)
	}
}

func (s *State) removeSpace(n *Namespace) {
	s.unwait(unit{space: n})
	n.gone = true
	delete(s.namespaces, n.Name)
	s.rec.Delete("n/" + n.Name)
	s.emit(Effect{Kind: Forgotten, Space: n.Name})
}

// ---- cancelling, giving back ----

func (s *State) cancel(c *Cancel) Result {
	t := s.tasks[c.ID]
	if t == nil {
		if s.rec.Get("t/"+c.ID) != nil {
			return Result{Code: Duplicate, Detail: "the task is finished"}
		}
		return refuse(NotFound, "there is no task %s", c.ID)
	}
	s.stop(t)
	return Result{Code: OK, Order: t.Order}
}

func (s *State) stop(t *Task) {
	if t.State == Queued {
		s.finish(t, Cancelled, nil)
		return
	}
	if !t.Cancelling {
		t.Cancelling = true
		s.touch(t)
		s.emit(Effect{Kind: Stop, Task: t, Worker: t.Worker, Incarnation: t.Incarnation, Attempt: t.Attempt})
	}
}

func (s *State) giveBack(c *Return) Result {
	w := s.worker(c.Worker)
	if w == nil || w.Incarnation != c.Incarnation {
		return refuse(Stale, "incarnation %d of worker %s is not the current one", c.Incarnation, c.Worker)
	}
	if !c.Lacking {
		w.Average = max(w.Average, lookahead) // it had more than it could begin: give it nothing ahead
		s.touchWorker(w)
	}
	for _, a := range c.Attempts {
		t := s.tasks[a.Task]
		switch {
		case t == nil || !w.has(t) || t.Attempt != a.Number:
		case t.Cancelling:
			s.finish(t, Cancelled, nil)
		default:
			s.requeueFrom(t)
		}
	}
	return Result{Code: OK}
}

func (s *State) found(c *Found) Result {
	switch {
	case !ValidName(c.Cluster):
		return refuse(Invalid, "a cluster id is not a name: %q", c.Cluster)
	case s.cluster != "":
		return Result{Code: Duplicate, Detail: s.cluster}
	}
	s.cluster = c.Cluster
	if c.Form >= FormPaged {
		s.paged()
	}
	if c.Form >= FormCounting {
		s.countParked()
	}
	return Result{Code: OK}
}

// ---- jobs ----

func (s *State) openJob(c *OpenJob) Result {
	if s.Job(c.ID) != nil {
		return Result{Code: Duplicate}
	}
	switch {
	case !ValidName(c.ID) || (c.Fold != "" && !ValidName(c.Fold)):
		return refuse(Invalid, "a job id or namespace is not a name: %q, %q", c.ID, c.Fold)
	case len(c.Body) > MaxBodyBytes:
		return refuse(Limit, "the job's body has %d bytes, the limit is %d", len(c.Body), MaxBodyBytes)
	case len(s.jobs) >= MaxJobs:
		return refuse(Limit, "%d jobs are open, which is the limit", len(s.jobs))
	}
	j := &Job{ID: c.ID, Body: bytes.Clone(c.Body), Fold: c.Fold, Created: s.Clock}
	s.jobs[c.ID] = j
	s.touchJob(j)
	return Result{Code: OK}
}

func (s *State) sealJob(c *SealJob) Result {
	j := s.jobs[c.ID]
	switch {
	case j == nil && s.rec.Get("h/"+c.ID) != nil:
		return Result{Code: Duplicate}
	case j == nil:
		return refuse(NotFound, "there is no job %s", c.ID)
	case j.Sealed && j.Round > 0:
		return Result{Code: Duplicate} // what a retry added is not the client's
	case j.Total-j.Spawned != c.Total:
		return refuse(Conflict, "job %s has %d tasks, not %d", c.ID, j.Total-j.Spawned, c.Total)
	}
	j.Sealed = true
	s.touchJob(j)
	s.endJob(j)
	return Result{Code: OK}
}

func (s *State) cancelJob(c *CancelJob) Result {
	j := s.jobs[c.ID]
	if j == nil {
		if s.rec.Get("h/"+c.ID) != nil {
			return Result{Code: Duplicate, Detail: "the job is finished"}
		}
		return refuse(NotFound, "there is no job %s", c.ID)
	}
	j.Sealed, j.Cancelled = true, true
	s.touchJob(j)
	for _, t := range s.liveWhere(func(t *Task) bool { return t.Job == c.ID }) {
		s.stop(t)
	}
	s.endJob(j)
	return Result{Code: OK}
}

// countJob follows the end of one of a job's tasks.
func (s *State) countJob(j *Job, t *Task) {
	if j == nil {
		return // the job was finished by force and its last tasks follow
	}
	s.touchJob(j)
	owed := false
	switch {
	case t.FoldOf != "" && t.State == Succeeded:
		j.Folded++
		j.LastFold = t.ID
	case t.FoldOf != "":
		j.FoldFailed++
	case t.State == Succeeded:
		j.Succeeded++
		owed = !s.fold(j, t)
	default:
		j.Failed++
		owed = t.done > 0 && !s.fold(j, t)
	}
	if j.counted() {
		s.countInputs(j, t, owed)
	}
	if t.State != Succeeded && j.FirstError == "" {
		j.FirstError = t.ID
	}
	s.endJob(j)
}

// fold puts the task that folds the results of t in line, and tells whether
// nothing is owed: a cancelled job folds no more, until it is retried.
func (s *State) fold(j *Job, t *Task) bool {
	switch {
	case j.Fold == "":
		return true
	case j.Cancelled:
		return false
	}
	j.Folds++
	s.admit(&Task{ID: foldID(t.ID), Namespace: j.Fold, Job: j.ID, FoldOf: t.ID, Kind: Run, Timeout: t.Timeout, Retries: t.Retries, Priority: t.Priority,
		Depth: t.Depth, inQueue: -1})
	return true
}

// foldID is the id of the task that folds the results of task id. Clients
// cannot make one: their names have no '/'.
func foldID(id string) string { return id + "/fold" }

func (s *State) endJob(j *Job) {
	if !j.Sealed || j.Finished != 0 || j.Succeeded+j.Failed < j.Total || j.Folded+j.FoldFailed < j.Folds {
		return
	}
	j.Finished = max(s.Clock, 1)
	delete(s.jobs, j.ID)
	if j.stored {
		s.rec.Delete("j/" + j.ID)
	}
	rec := j.append(nil)
	s.rec.Put("h/"+j.ID, rec)
	s.retain(listedJob, j.ID, len(rec))
	s.emit(Effect{Kind: JobEnded, Job: j})
}

// ---- tasks that Step carries out itself ----

// carryOut does the task at the head of a namespace, which needs no worker.
func (s *State) carryOut(n *Namespace) {
	t := n.tasks[0]
	t.Attempt, t.Started = 1, s.Clock
	r := Result{Code: OK}
	switch t.Kind {
	case Drop:
		s.clear(n)
	case Restore:
		r = s.restore(n, t)
	case Fork:
		r = s.fork(n, t)
	default:
		r = s.patch(n, t)
	}
	if r.Code == OK {
		s.finish(t, Succeeded, nil)
		return
	}
	t.Failures++
	t.blame(r.Code.String() + refusalMark + r.Detail)
	s.finish(t, Failed, nil)
}

// patch applies an encoded Change if its conditions hold.
func (s *State) patch(n *Namespace, t *Task) Result {
	c, err := DecodeChange(t.Body)
	if err != nil || c.InParts() != (t.Kind == PatchParts) {
		return refuse(Invalid, "the patch is malformed")
	}
	if r := c.check(MaxImportBytes); r.Code != OK {
		return r
	}
	if r := s.changeFits(n, &c); r.Code != OK {
		return r
	}
	if c.At == 1 && n.Exists() {
		return refuse(Conflict, "namespace %s exists", n.Name)
	}
	if c.At != 0 && c.At != n.Version+1 {
		return refuse(Conflict, "the namespace was changed meanwhile")
	}
	for _, it := range c.Require {
		is, _, there := s.item(n.Name, it.Key)
		if there != (it.Value != nil) || there && !s.begins(&is, it.Value) {
			return refuse(Conflict, "the namespace was changed meanwhile")
		}
	}
	s.change(n, t.ID, &c)
	return Result{Code: OK}
}

// clear removes a namespace's items and its past; the namespace itself goes when its last
// task leaves.
func (s *State) clear(n *Namespace) {
	var keys []string
	var held []Item
	s.rec.Scan(itemKey(n.Name, ""), "", func(k string, rec []byte) bool {
		keys = append(keys, k)
		if rec[0] == partsVersion {
			it, _ := readItem(rec)
			held = append(held, it)
		}
		return true
	})
	s.rec.Scan("u/"+n.Name+"/", "", func(k string, rec []byte) bool {
		keys = append(keys, k)
		if rec[0] == partsVersion {
			held = append(held, mustUndo(rec).former...)
		}
		return true
	})
	for _, k := range keys {
		s.rec.Delete(k)
	}
	for i := range held {
		s.unpin(held[i].Parts)
	}
	n.Version, n.Items, n.Bytes, n.InParts, n.Cleared = 0, 0, 0, 0, 0
	n.Worker, n.Incarnation = "", 0
	s.touchSpace(n)
	s.emit(Effect{Kind: Forgotten, Space: n.Name})
}

// ValidName tells whether s may name a namespace, task, job or worker: 1 to
// MaxIDBytes of letters, digits, '.', '_' and '-', not beginning with '.' or '-'.
func ValidName(s string) bool {
	if s == "" || len(s) > MaxIDBytes || s[0] == '.' || s[0] == '-' {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '.' || c == '_' || c == '-') {
			return false
		}
	}
	return true
}
