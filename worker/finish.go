package worker

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	"farm/api"
	"farm/internal/attach"
	"farm/internal/part"
	"farm/namespace"
)

// Limits of a report. The scheduler has the same or larger ones: a report over
// them would cost the attempt a less clear reason.
const (
	maxOutcome  = 480 << 10 // bytes of the parts of an outcome
	maxCause    = 512       // bytes of a cause
	maxErrorLen = 16 << 10  // bytes of an error's message
	maxStack    = 64        // lines of an error's stack
)

// written is what an attempt wrote.
type written struct{ stdout, stderr capture }

// finish takes the end of an attempt from the child that ran it.
func (w *Worker) finish(c *child, a *attempt, e ending, out written) {
	r, parts := w.verdict(a, e, out)
	w.mu.Lock()
	defer w.mu.Unlock()
	if e.answer != nil {
		a.room = e.answer.room
	}
	a.parts = parts
	c.p.reset()
	c.busy = false
	w.running--
	if e.death != nil || e.answer != nil && e.answer.spent {
		w.retire(c)
	}
	if e.unsent && e.reason == none && a.state == running {
		w.again(a)
		return
	}
	s := a.space
	if s != nil {
		s.running = nil
	}
	if a.state == gone || succeededThere(e) && r.Ending != api.Ending_SUCCESS {
		w.release(c) // its context has what the namespace will not have
	}
	if a.state != gone {
		w.report(c, a, r, e)
	} else {
		w.forget(a)
	}
	if a.parts == nil && a.space == nil {
		w.room.release(a.room)
		a.room = 0
	}
	if s != nil {
		w.count(s)
		w.join(s)
	}
	w.evict()
	w.dispatch()
	w.replenish()
	w.poke()
}

// again lets an attempt that never began have another child: the one it was
// meant for had died while it was idle, which is not the attempt's doing. The
// lock is held.
func (w *Worker) again(a *attempt) {
	a.state, a.child = waiting, nil
	if s := a.space; s != nil {
		s.running = nil
		s.insert(a)
		s.since = w.now()
	}
	w.putBack(a)
	w.dispatch()
	w.replenish()
	w.poke()
}

func succeededThere(e ending) bool { return e.answer != nil && e.answer.failure == nil }

// verdict makes the report of an attempt, but for what only the lock shows, and
// the parts it refers to.
func (w *Worker) verdict(a *attempt, e ending, out written) (*api.Complete, []part.Part) {
	r := &api.Complete{Task: a.task, Attempt: a.attempt, Epoch: a.epoch, Base: a.base, Took: w.now() - a.began}
	r.Outcome = &api.Outcome{
		Stdout: out.stdout.kept, StdoutCut: out.stdout.total > int64(len(out.stdout.kept)),
		Stderr: out.stderr.kept, StderrCut: out.stderr.total > int64(len(out.stderr.kept)),
	}
	f := w.failureOf(a, e)
	switch {
	case f == nil:
		f = fill(r, e.answer, w.cfg.Limits.ChangeBytes)
	case e.answer != nil && f == e.answer.failure:
		fillPart(r.Outcome, e.answer)
	}
	r.Done = a.doneInputs(r.Outcome, f)
	if f == nil {
		r.Ending = api.Ending_SUCCESS
		if w.cfg.Parts == nil || a.space == nil {
			return r, nil
		}
		w.mu.Lock()
		whole := a.space.whole
		w.mu.Unlock()
		return r, divide(r, whole)
	}
	r.Ending = endingOf(f)
	r.Cause = clip(f.kind+": "+f.message, maxCause)
	r.Outcome.Error = &api.TaskError{Kind: f.kind, Message: clip(f.message, maxErrorLen), Stack: f.stack[:min(len(f.stack), maxStack)]}
	return r, nil
}

// doneInputs is how many of its job's inputs an attempt has a result for. An attempt
// that was stopped has none.
func (a *attempt) doneInputs(o *api.Outcome, f *failure) uint64 {
	switch {
	case a.assign.Job == "" || a.assign.Fold:
		return 0
	case f == nil:
		return uint64(max(len(o.Results), 1))
	}
	return uint64(len(o.Results) - len(o.Failed))
}

// fillPart puts what a call gave for the inputs that it did not fail with into the
// outcome, unless that is too much: then none of them counts.
func fillPart(o *api.Outcome, a *answer) {
	if len(a.failed) == 0 {
		return
	}
	o.Results = a.results
	n := 0
	for _, x := range a.failed {
		n += len(x.message)
		o.Failed = append(o.Failed, &api.InputError{Index: uint32(x.index), Error: &api.TaskError{Kind: kindCall, Message: x.message}})
	}
	if n+attach.OutcomeSize(o) > maxOutcome {
		o.Results, o.Failed = nil, nil
	}
}

func endingOf(f *failure) api.Ending {
	switch {
	case f.kind == kindCancelled:
		return api.Ending_STOPPED
	case f.permanent:
		return api.Ending_PERMANENT
	}
	return api.Ending_FAILURE
}

// failureOf is why the attempt failed, nil if it did not.
func (w *Worker) failureOf(a *attempt, e ending) *failure {
	switch {
	case a.work == nil:
		return &failure{kind: kindInternal, message: "the task's body cannot be read", permanent: true}
	case a.work.Handler != "": // not to be passed over in silence
		return &failure{kind: kindInternal, message: "this worker runs cells, not the handler " + a.work.Handler, permanent: true}
	case succeededThere(e):
		return nil
	case e.reason == stopped:
		return &failure{kind: kindCancelled, message: "cancelled"}
	case e.reason == timedOut:
		return &failure{kind: kindTimeout, message: fmt.Sprintf("timed out after %v", a.timeout(w.cfg.Limits.Timeout))}
	case e.death != nil:
		return e.death.describe(w.cfg.Limits)
	case e.answer == nil:
		return &failure{kind: kindInternal, message: "ended by the worker"}
	case e.answer.failure.kind == kindCancelled:
		return &failure{kind: kindInternal, message: "the child stopped unasked"}
	}
	return e.answer.failure
}

// fill puts what a successful attempt made into its report, if it is allowed.
func fill(r *api.Complete, a *answer, maxChange int64) *failure {
	o := r.Outcome
	o.Value, o.Type, o.Results = a.value, a.typ, a.results
	if n := attach.OutcomeSize(o); n > maxOutcome {
		o.Value, o.Type, o.Results = nil, "", nil
		return &failure{kind: kindLimit, message: fmt.Sprintf("result and output: %d bytes is over the limit of %d", n, maxOutcome)}
	}
	if f := fillSubmits(r, a.submits); f != nil {
		return f
	}
	n := 0
	for k, v := range a.change.put {
		n += len(k) + len(v)
		r.Put = append(r.Put, &api.Item{Key: k, Value: v})
	}
	slices.SortFunc(r.Put, func(a, b *api.Item) int { return strings.Compare(a.Key, b.Key) })
	r.Delete = a.change.del
	if int64(n) > maxChange {
		r.Put, r.Delete, r.Submits = nil, nil, nil
		return &failure{kind: kindLimit, message: fmt.Sprintf("change of the namespace: %d bytes is over the limit of %d", n, maxChange)}
	}
	return nil
}

// maxSubmits is the bytes of what an attempt submits, encoded. A child that keeps to
// the limits of package namespace stays below it.
const maxSubmits = namespace.MaxSubmissionBytes + namespace.MaxSubmissions*256

// fillSubmits puts what a successful attempt submits into its report. The child is not
// trusted to have kept to the limits.
func fillSubmits(r *api.Complete, submits [][]byte) *failure {
	size := 0
	for _, b := range submits {
		size += len(b)
	}
	if len(submits) > namespace.MaxSubmissions || size > maxSubmits {
		return &failure{kind: kindLimit, message: fmt.Sprintf("%d submissions of %d bytes are over the limit of %d of %d", len(submits), size, namespace.MaxSubmissions, maxSubmits)}
	}
	for _, b := range submits {
		s := &api.Submit{}
		if err := proto.Unmarshal(b, s); err != nil || s.Work == nil {
			r.Submits = nil
			return &failure{kind: kindInternal, message: "a submission cannot be read"}
		}
		r.Submits = append(r.Submits, s)
	}
	return nil
}

// report notes the end of an attempt and tells the leader. A success moves the
// namespace on; the next attempt does not wait for the leader's answer.
func (w *Worker) report(c *child, a *attempt, r *api.Complete, e ending) {
	w.reports++
	a.state, a.child, a.report, a.counter = reported, nil, r, w.reports
	s := a.space
	switch {
	case r.Ending != api.Ending_SUCCESS:
		w.stats.Failed++
	default:
		w.stats.Succeeded++
	}
	if s == nil {
		r.Put, r.Delete = nil, nil
		w.tell(r, w.line.len() >= w.cfg.Slots*backlog)
		return
	}
	s.chain = append(s.chain, a)
	switch {
	case r.Ending == api.Ending_FAILURE:
		s.paused = a
	case r.Ending == api.Ending_SUCCESS && len(r.Put)+len(r.Delete) > 0:
		w.advance(c, a, e.answer.change)
	}
	w.deliver(s)
}

// backlog is how many attempts, for a slot, are more than it runs while a report that is
// not urgent stays in the outbox.
const backlog = 32

// tell puts a report into the outbox. It is not urgent where the worker has enough to go
// on with whatever the leader says: then it takes less to tell of many at a time.
func (w *Worker) tell(r *api.Complete, busy bool) {
	if busy && r.Ending == api.Ending_SUCCESS {
		w.out.ReportSoon(r)
	} else {
		w.out.Report(r)
	}
}

// advance makes a namespace what a successful attempt made of it.
func (w *Worker) advance(c *child, a *attempt, ch change) {
	s := a.space
	a.undo = &undo{change: s.change(ch), version: s.version}
	s.version++
	s.stamp, s.patch = w.stamp(), nil
	if c.space == s {
		c.stamp, c.shape = s.stamp, s.shape
	}
}

// clip shortens text for people.
func clip(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	const more = "..."
	return s[:limit-len(more)] + more
}

// job is an attempt on its way to a child.
type job struct {
	attempt *attempt
	order   *order
	timeout time.Duration
}
