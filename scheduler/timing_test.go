package scheduler

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"farm/internal/part"
)

// timing draws what a task may ask for.
func (g *traffic) timing() (o Timing) {
	if g.one(3) {
		o.Backoff = 1 + g.rnd.Int64N(2*second)
		o.BackoffMax = o.Backoff + g.rnd.Int64N(3*second)
	}
	if g.one(4) {
		o.Within = 1 + g.rnd.Int64N(4*second)
	} else if g.one(8) {
		o.Deadline = g.now + g.rnd.Int64N(3*second)
	}
	if g.one(6) {
		o.At = g.now + g.rnd.Int64N(2*second)
	}
	if g.one(4) {
		o.Keep = []int64{MinKeep, 5 * second, Retention + second, MaxKeep}[g.rnd.IntN(4)]
	}
	if g.one(2) {
		o.AfterWhen = When(1 + g.rnd.IntN(3))
		for range 1 + g.rnd.IntN(4) {
			if id := fmt.Sprint("t", max(0, g.ids-g.rnd.IntN(8))); !slices.Contains(o.After, id) {
				o.After = append(o.After, id)
			}
		}
	}
	return o
}

// again makes a finished task live again, or drops it.
func (g *traffic) again() Command {
	id := g.task()
	if list := g.s.Finished("", "", 20); len(list) > 0 && !g.one(5) {
		id = list[g.rnd.IntN(len(list))].ID
	}
	if g.one(5) {
		return &Discard{ID: id}
	}
	return &Retry{ID: id, Request: []string{"", "a", "b"}[g.rnd.IntN(3)]}
}

// awaited is what a task waits for, as a test sees it come.
type awaited struct {
	when When
	came map[string]TaskState // 0: not yet
}

// admitted follows a command that may have made a task live. A task that it ended
// as well is still in the state's effects.
func (h *history) admitted(s *State, c Command, effects []Effect) {
	switch c := c.(type) {
	case *Submit:
		if h.answer == OK { // another life of an id whose task was let go of in the same moment
			delete(h.after, c.ID)
			delete(h.ended, c.ID)
		}
		h.awaits(s, c.ID)
	case *Complete:
		for _, child := range c.Submits {
			h.awaits(s, child.ID)
		}
	case *Replace:
		old := h.after[c.Task]
		if old == nil {
			return
		}
		for _, it := range c.Items { // they wait for what the replaced one waited for
			if s.Task(it.ID) == nil || h.after[it.ID] != nil || h.ended[it.ID] {
				continue
			}
			a := &awaited{old.when, maps.Clone(old.came)}
			for id := range a.came {
				a.look(s, id)
			}
			h.after[it.ID] = a
		}
	case *Retry:
		again := slices.ContainsFunc(effects, func(e Effect) bool { return e.Kind == Ended && e.Task.ID == c.ID })
		if !h.ended[c.ID] || s.tasks[c.ID] == nil && !again {
			return
		}
		delete(h.ended, c.ID)
		if a := h.after[c.ID]; a != nil {
			for id := range a.came {
				a.look(s, id)
			}
		}
	}
}

// awaits notes what a task that was submitted waits for, unless it did before.
func (h *history) awaits(s *State, task string) {
	t := s.Task(task)
	if t == nil || len(t.timing().After) == 0 || h.after[task] != nil || h.ended[task] {
		return
	}
	a := &awaited{t.Options.AfterWhen, map[string]TaskState{}}
	for _, id := range t.Options.After {
		a.look(s, id) // the end of another may have let go of it with the same command
	}
	h.after[task] = a
}

func finalState(s *State, id string) TaskState {
	if t := s.Task(id); t.State.Final() {
		return t.State
	}
	return 0
}

// look notes what has become of a task. One that is not kept any more has ended; how, if
// that was not noted, nobody knows: not as a success.
func (a *awaited) look(s *State, id string) {
	if s.Task(id) != nil {
		a.came[id] = finalState(s, id)
	} else if a.came[id] == 0 {
		a.came[id] = Failed
	}
}

// came notes the end of a task with those that wait for it.
func (h *history) came(t *Task) {
	for _, a := range h.after {
		if is, there := a.came[t.ID]; there && is == 0 {
			a.came[t.ID] = t.State
		}
	}
}

// may says whether a task may go now, and whether it may ever.
func (a *awaited) may() (now, ever bool) {
	live, good, bad := 0, 0, 0
	for _, st := range a.came {
		switch st {
		case 0:
			live++
		case Succeeded:
			good++
		default:
			bad++
		}
	}
	switch a.when {
	case AllSucceeded:
		return live+bad == 0, bad == 0
	case AnySucceeded:
		return good > 0, good+live > 0
	default:
		return live == 0, true
	}
}

// checkDependents: a task is held exactly as long as what it waits for has not come,
// fails when it cannot come, and is told of each end once.
func (h *history) checkDependents(s *State) error {
	waiting := map[string][]*Task{}
	for id, t := range s.tasks {
		now, ever := true, true
		if a := h.after[id]; a != nil && len(a.came) > 0 {
			now, ever = a.may()
		}
		if t.State == Queued && t.held == now || t.State == Running && !now || !ever && !now {
			return fmt.Errorf("%s task %s is held: %v, may go: %v, ever: %v", t.State, id, t.held, now, ever)
		}
		for _, x := range t.Awaits() {
			waiting[x] = append(waiting[x], t)
		}
	}
	for id, list := range waiting {
		slices.SortFunc(list, func(a, b *Task) int { return compare(a.Order, b.Order) })
		if !slices.Equal(list, s.dependents[id]) || s.tasks[id] == nil {
			return fmt.Errorf("%d tasks wait for %s, %d are noted", len(list), id, len(s.dependents[id]))
		}
	}
	if len(waiting) != len(s.dependents) || len(s.fired) > 0 {
		return fmt.Errorf("%d tasks are waited for, %d are noted, %d have not fired", len(waiting), len(s.dependents), len(s.fired))
	}
	for id := range h.after {
		if s.tasks[id] == nil && !h.ended[id] {
			delete(h.after, id)
		}
	}
	return nil
}

func (s *State) heldIn(space string) (n int) {
	for _, t := range s.tasks {
		if t.held && t.Namespace == space {
			n++
		}
	}
	return n
}

// checkDue: the heap of deadlines has the live tasks with one, none of which is over.
func checkDue(s *State) error {
	with := 0
	for id, t := range s.tasks {
		d := t.Deadline()
		if d == 0 {
			continue
		}
		if with++; d <= s.Clock {
			return fmt.Errorf("task %s is live at %d after its deadline %d", id, s.Clock, d)
		}
	}
	for i, d := range s.due.items {
		if d.at() != i || s.tasks[d.ID] != d.Task || i > 0 && d.before(s.due.items[(i-1)/2]) {
			return fmt.Errorf("the heap of deadlines is wrong at %d", i)
		}
	}
	if with != s.due.len() {
		return fmt.Errorf("%d live tasks have deadlines, %d are in the heap", with, s.due.len())
	}
	return nil
}

// checkKept: tasks that say how long they are kept are so, and counted.
func checkKept(s *State) (n int, err error) {
	size := uint64(0)
	s.rec.Scan("k/", "", func(key string, _ []byte) bool {
		n++
		id := strings.TrimPrefix(key, "k/")
		k, t := s.kept[id], s.Task(id)
		if k == nil || t == nil || !t.State.Final() || k.until < t.Finished+t.timing().Keep || k.until <= s.Clock {
			err = fmt.Errorf("task %s is kept as %+v", id, k)
			return false
		}
		size += uint64(len(s.rec.Get("t/" + id)))
		return true
	})
	if err == nil && (n != len(s.kept) || n != s.keptTill.len() || size != s.keptBytes) {
		err = fmt.Errorf("%d tasks of %d bytes are kept, %d of %d counted", n, size, len(s.kept), s.keptBytes)
	}
	return n, err
}

// scene is a state with one worker, for tests that tell a story.
type scene struct {
	*State
	t   *testing.T
	now int64
}

func newScene(t *testing.T, slots uint32) *scene {
	s := &scene{State: mustLoad(plainRecords{}), t: t, now: 1000 * second}
	s.Advance(s.now)
	s.do(&WorkerUp{Worker: "w", Incarnation: 1, Slots: slots})
	return s
}

// do gives a command and wants it accepted.
func (s *scene) do(c Command) {
	s.t.Helper()
	if r := s.Step(c); r.Code != OK {
		s.t.Fatalf("%T %+v: %v %s", c, c, r.Code, r.Detail)
	}
}

func (s *scene) refused(c Command, code Code, text string) {
	s.t.Helper()
	if r := s.Step(c); r.Code != code || !strings.Contains(r.Detail, text) {
		s.t.Errorf("%T %+v: %v %q, want %v %q", c, c, r.Code, r.Detail, code, text)
	}
}

func (s *scene) wait(d int64) {
	s.now += d
	s.Advance(s.now)
}

func (s *scene) submit(id, ns string, o Timing) {
	s.t.Helper()
	s.do(&Submit{ID: id, Namespace: ns, Kind: Run, Retries: 5, Body: []byte("body of " + id), Options: &Options{Timing: o}})
}

// end reports a running task.
func (s *scene) end(id string, st Status) {
	s.t.Helper()
	t := s.tasks[id]
	if t == nil || t.State != Running {
		s.t.Fatalf("task %s does not run: %+v", id, t)
	}
	c := &Complete{Task: id, Attempt: t.Attempt, Worker: t.Worker, Incarnation: t.Incarnation, Status: st, Cause: "failed"}
	if n := s.namespaces[t.Namespace]; n != nil {
		c.Epoch, c.Base = n.Epoch, n.Version
	}
	s.do(c)
}

// is checks the state of a task, and reloads the state now and then.
func (s *scene) is(id string, want TaskState) *Task {
	s.t.Helper()
	t := s.Task(id)
	if t == nil || t.State != want {
		s.t.Fatalf("task %s is %+v, want %s", id, t, want)
	}
	return t
}

// reload goes on from what the records hold.
func (s *scene) reload() { s.State = mustLoad(s.settled()) }

// TestBackoff: the waits double, are shortened by less than a quarter, and are the
// same wherever they are computed.
func TestBackoff(t *testing.T) {
	s := newScene(t, 1)
	s.submit("a", "", Timing{Backoff: second, BackoffMax: 5 * second})
	for i, want := range []int64{second, 2 * second, 4 * second, 5 * second, 5 * second} {
		s.end("a", Failure)
		x := s.is("a", Queued)
		if d := x.NotBefore - s.Clock; d > want || d <= want*3/4 {
			t.Errorf("after failure %d it waits %d, want up to %d", i+1, d, want)
		}
		if s.NextDeadline() != x.NotBefore {
			t.Errorf("the next deadline is %d, the task waits until %d", s.NextDeadline(), x.NotBefore)
		}
		s.reload()
		until := s.tasks["a"].NotBefore
		s.wait(until - s.now - 1)
		s.is("a", Queued)
		s.wait(1)
		s.is("a", Running)
	}
	s.end("a", Failure)
	s.is("a", Failed)
	a, b := &Task{ID: "a", Attempt: 1, Failures: 1}, &Task{ID: "b", Attempt: 1, Failures: 1}
	a.Options = &Options{Timing: Timing{Backoff: second, BackoffMax: second}}
	b.Options = a.Options
	if a.backoff() == b.backoff() {
		t.Error("two tasks wait equally long")
	}
}

// TestBackoffKeepsOrder: nothing of a namespace overtakes a task that waits to be
// tried again, others go on.
func TestBackoffKeepsOrder(t *testing.T) {
	s := newScene(t, 2)
	s.submit("a", "n", Timing{Backoff: second, BackoffMax: second})
	s.submit("b", "n", Timing{})
	s.end("a", Failure)
	s.submit("c", "m", Timing{})
	for range 2 {
		s.is("a", Queued)
		s.is("b", Queued)
		s.is("c", Running)
		s.reload()
	}
	s.do(&WorkerLost{Worker: "w", Incarnation: 1, Cause: "gone"})
	s.do(&WorkerUp{Worker: "v", Incarnation: 1, Slots: 2})
	s.is("b", Queued)
	s.wait(second)
	s.is("a", Running)
	s.end("a", Success)
	s.is("b", Running)
	s.do(&Cancel{ID: "b"})
}

// TestDeadline: a task that is not final in time has failed, whatever it did.
func TestDeadline(t *testing.T) {
	s := newScene(t, 1)
	s.submit("runs", "n", Timing{Within: 2 * second})
	s.submit("behind", "n", Timing{})
	s.submit("waits", "", Timing{Deadline: s.now + 2*second})
	s.submit("delayed", "n", Timing{Within: 2 * second, At: s.now + 3*second})
	s.submit("held", "n", Timing{Within: 2 * second, After: []string{"runs"}, AfterWhen: AllFinished})
	if s.NextDeadline() != s.now+2*second {
		t.Errorf("the next deadline is %d", s.NextDeadline())
	}
	s.reload()
	s.wait(2*second - 1)
	old := *s.is("runs", Running)
	s.Effects()
	s.wait(1)
	for _, id := range []string{"runs", "waits", "delayed", "held"} {
		x := s.is(id, Failed)
		if kind, why := x.Verdict(); kind != "expired" || !strings.Contains(why, "deadline") {
			t.Errorf("%s: %q %q %q", id, kind, why, x.Causes)
		}
	}
	if e := s.take(); !slices.ContainsFunc(e, func(x string) bool { return strings.HasPrefix(x, "voided runs attempt 1 on w/1") }) {
		t.Errorf("the worker is not told: %q", e)
	}
	s.refused(&Complete{Task: "runs", Attempt: 1, Worker: "w", Incarnation: 1, Epoch: old.Epoch, Status: Success}, Stale, "")
	s.is("behind", Running)
	s.submit("late", "", Timing{Deadline: s.now})
	s.is("late", Failed)
	s.do(&Retry{ID: "runs"})
	if x := s.is("runs", Running); x.Deadline() != s.now+2*second {
		t.Errorf("a duration begins anew when the task is live again, it is %d", x.Deadline())
	}
	s.do(&Retry{ID: "waits"})
	if x := s.Task("waits"); x.State.Final() || x.Deadline() != 0 {
		t.Errorf("a time that is over counts again: %+v", x)
	}
}

// TestDeadlineInChain: a task given ahead is taken away, and the one before it goes on.
func TestDeadlineInChain(t *testing.T) {
	s := newScene(t, 1)
	s.submit("a", "n", Timing{})
	s.submit("b", "n", Timing{Within: second})
	s.submit("c", "n", Timing{})
	for _, id := range []string{"a", "b", "c"} {
		s.is(id, Running)
	}
	s.wait(second)
	s.is("b", Failed)
	if x := s.is("a", Running); x.Attempt != 1 {
		t.Errorf("the task before it was taken away: %+v", x)
	}
	s.end("a", Success)
	s.end("c", Success)
}

// TestAt: a task begins at its time, and not before.
func TestAt(t *testing.T) {
	s := newScene(t, 1)
	s.submit("a", "", Timing{At: s.now + second})
	s.submit("past", "", Timing{At: s.now - second})
	s.is("past", Running)
	s.end("past", Success)
	s.wait(second - 1)
	s.is("a", Queued)
	s.wait(1)
	s.is("a", Running)
	s.refused(&Submit{ID: "far", Kind: Run, Options: &Options{Timing: Timing{At: s.now + MaxAhead + 1}}}, Invalid, "days ahead")
}

// TestAfter: what each condition waits for, and what makes it impossible.
func TestAfter(t *testing.T) {
	both := []string{"a", "b"}
	for _, c := range []struct {
		when  When
		ends  []Status // of a, of b
		after []TaskState
	}{
		{AllSucceeded, []Status{Success, Success}, []TaskState{Queued, Running}},
		{AllSucceeded, []Status{Success, Permanent}, []TaskState{Queued, Failed}},
		{AllSucceeded, []Status{Stopped, Success}, []TaskState{Failed, Failed}},
		{AnySucceeded, []Status{Permanent, Success}, []TaskState{Queued, Running}},
		{AnySucceeded, []Status{Success, Permanent}, []TaskState{Running, Running}},
		{AnySucceeded, []Status{Permanent, Stopped}, []TaskState{Queued, Failed}},
		{AllFinished, []Status{Permanent, Stopped}, []TaskState{Queued, Running}},
	} {
		s := newScene(t, 9)
		s.submit("a", "", Timing{})
		s.submit("b", "", Timing{})
		s.submit("x", "n", Timing{After: both, AfterWhen: c.when})
		s.submit("other", "n", Timing{})
		s.is("other", Running) // x holds up nobody
		if got := s.is("x", Queued).Awaits(); !slices.Equal(got, both) {
			t.Errorf("it waits for %q", got)
		}
		for i, id := range both {
			s.end(id, c.ends[i])
			s.reload()
			s.is("x", c.after[i])
		}
		if x := s.Task("x"); x.State == Failed {
			if kind, why := x.Verdict(); kind != "dependency" || c.when == AllSucceeded && !strings.Contains(why, "task ") {
				t.Errorf("%v: %q %q", c, kind, why)
			}
		}
	}
}

// TestAfterRefused: unknown tasks, cycles, and too many.
func TestAfterRefused(t *testing.T) {
	s := newScene(t, 1)
	after := func(id string, o Timing) *Submit { return &Submit{ID: id, Kind: Run, Options: &Options{Timing: o}} }
	s.submit("a", "", Timing{})
	s.refused(after("x", Timing{After: []string{"a", "b"}, AfterWhen: AllSucceeded}), NotFound, "no task b")
	s.refused(after("x", Timing{After: []string{"x"}, AfterWhen: AllSucceeded}), Invalid, "cycle")
	s.refused(after("x", Timing{After: []string{"a", "a"}, AfterWhen: AllSucceeded}), Invalid, "twice")
	s.refused(after("x", Timing{After: []string{"a"}}), Invalid, "does not say")
	s.refused(after("x", Timing{AfterWhen: AllFinished}), Invalid, "waits for no other")
	var many []string
	for i := range MaxAfter + 1 {
		many = append(many, fmt.Sprint("a", i))
	}
	s.refused(after("x", Timing{After: many, AfterWhen: AllSucceeded}), Limit, fmt.Sprint(MaxAfter))
	for i := range MaxDependents {
		s.do(after(fmt.Sprint("d", i), Timing{After: []string{"a"}, AfterWhen: AllSucceeded}))
	}
	s.refused(after("x", Timing{After: []string{"a"}, AfterWhen: AllSucceeded}), Limit, fmt.Sprint(MaxDependents))
	s.end("a", Success)
	if len(s.dependents) != 0 || s.Task("d0").Awaits() != nil {
		t.Error("what waited still does")
	}
}

// TestAfterOnce: a task that is made live again and ends again does not move those
// that waited for it.
func TestAfterOnce(t *testing.T) {
	s := newScene(t, 2)
	s.submit("a", "", Timing{})
	s.submit("x", "", Timing{After: []string{"a"}, AfterWhen: AllSucceeded})
	s.submit("y", "", Timing{After: []string{"x"}, AfterWhen: AllSucceeded})
	s.end("a", Permanent)
	s.is("x", Failed)
	s.is("y", Failed) // it goes on along the chain
	s.refused(&Retry{ID: "x"}, Conflict, "task a, which it was to run after, failed")
	s.do(&Retry{ID: "a"})
	s.do(&Retry{ID: "x"})
	if got := s.is("x", Queued).Awaits(); !slices.Equal(got, []string{"a"}) {
		t.Errorf("x waits for %q", got)
	}
	s.end("a", Success)
	s.end("x", Success)
	s.is("y", Failed)
	// What is finished and kept is known.
	s.submit("z", "", Timing{After: []string{"a", "x"}, AfterWhen: AllSucceeded})
	s.is("z", Running)
}

// TestRetryAfterUnknown: a task does not wait for one that is not kept any more. That one
// has ended, and nobody knows how.
func TestRetryAfterUnknown(t *testing.T) {
	s := newScene(t, 2)
	s.submit("a", "", Timing{})
	for id, when := range map[string]When{"all": AllSucceeded, "any": AnySucceeded, "finished": AllFinished} {
		s.submit(id, "", Timing{After: []string{"a"}, AfterWhen: when})
		s.do(&Cancel{ID: id})
	}
	s.end("a", Permanent)
	s.do(&Discard{ID: "a"})
	s.refused(&Retry{ID: "all"}, Conflict, "task a, which it was to run after, is no longer kept")
	s.refused(&Retry{ID: "any"}, Conflict, "none of the 1 tasks it was to run after succeeded")
	s.do(&Retry{ID: "finished"})
	s.is("finished", Running)
}

// TestReplaceAfterUnknown: what takes the place of a task that waited for one that is not
// kept any more fails, or goes, and does not wait for ever.
func TestReplaceAfterUnknown(t *testing.T) {
	s := newScene(t, 2)
	s.submit("a", "", Timing{})
	s.do(&OpenJob{ID: "j"})
	for id, when := range map[string]When{"all": AllSucceeded, "finished": AllFinished} {
		s.do(&Submit{ID: id, Job: "j", Kind: Run, Inputs: 1, Options: &Options{Timing: Timing{After: []string{"a"}, AfterWhen: when}}})
	}
	s.do(&CancelJob{ID: "j"})
	s.end("a", Permanent)
	s.do(&Discard{ID: "a"})
	for _, id := range []string{"all", "finished"} {
		s.do(&Replace{Job: "j", Round: 1, Task: id, Items: []Replacement{{ID: id + "/0/r1"}}, Last: true})
	}
	s.is("all/0/r1", Failed)
	s.end("finished/0/r1", Success)
	if j := s.Job("j"); j.Finished == 0 || j.Succeeded != 1 || j.Failed != 1 {
		t.Errorf("the job is %+v", j)
	}
}

// TestLongChain: the end of a task that twenty thousand hang on, one on the other.
func TestLongChain(t *testing.T) {
	s := newScene(t, 1)
	s.submit("t0", "", Timing{})
	const n = 20_000
	for i := 1; i < n; i++ {
		s.submit(fmt.Sprint("t", i), "", Timing{After: []string{fmt.Sprint("t", i-1)}, AfterWhen: AllSucceeded})
	}
	s.end("t0", Permanent)
	if len(s.tasks) != 0 || s.Failed != n {
		t.Errorf("%d tasks live, %d failed", len(s.tasks), s.Failed)
	}
}

// TestRetry: a task that failed lives again as the same one.
func TestRetry(t *testing.T) {
	s := newScene(t, 1)
	s.submit("a", "n", Timing{})
	s.submit("b", "n", Timing{})
	s.end("a", Permanent)
	s.refused(&Retry{ID: "b"}, Duplicate, "")
	s.refused(&Retry{ID: "no"}, NotFound, "no task no")
	s.end("b", Success)
	s.refused(&Retry{ID: "b"}, Conflict, "succeeded")
	s.refused(&Discard{ID: "b"}, Conflict, "succeeded")
	s.reload()
	s.do(&Retry{ID: "a", Request: "r"})
	a := s.is("a", Running)
	if a.Attempt != 2 || a.Failures != 0 || string(a.Body) != "body of a" || len(a.Causes) != 1 || a.Order != 3 {
		t.Errorf("%+v", a)
	}
	s.end("a", Permanent)
	s.refused(&Retry{ID: "a", Request: "r"}, Duplicate, "")
	s.is("a", Failed)
	s.do(&Retry{ID: "a", Request: "s"})
	s.end("a", Success)
	if got := s.Finished("", "", 9); len(got) != 2 || got[0].ID != "a" {
		t.Errorf("%v", got)
	}
}

// TestRetryOfJob: the job follows, open or finished.
func TestRetryOfJob(t *testing.T) {
	s := newScene(t, 9)
	s.do(&OpenJob{ID: "j", Fold: "f"})
	for _, id := range []string{"a", "b"} {
		s.do(&Submit{ID: id, Job: "j", Kind: Run})
	}
	s.end("a", Permanent)
	s.do(&Retry{ID: "a"})
	s.end("a", Permanent)
	s.end("b", Success)
	s.do(&SealJob{ID: "j", Total: 2})
	s.end("b/fold", Permanent)
	if j := s.Job("j"); j.Finished == 0 || j.Failed != 1 || j.FoldFailed != 1 || j.FirstError != "a" {
		t.Fatalf("%+v", j)
	}
	s.reload()
	s.do(&Retry{ID: "a"})
	if j := s.jobs["j"]; j == nil || j.Finished != 0 || j.Failed != 0 || j.FirstError != "" {
		t.Fatalf("the job is not open again: %+v", s.Job("j"))
	}
	s.reload()
	s.do(&Retry{ID: "b/fold"})
	s.end("b/fold", Success)
	s.end("a", Success)
	s.end("a/fold", Success)
	if j := s.Job("j"); j.Finished == 0 || j.Succeeded != 2 || j.Folded != 2 || j.Failed+j.FoldFailed != 0 {
		t.Fatalf("%+v", j)
	}
	if err := checkRetained(s.State); err != nil {
		t.Error(err)
	}
}

// TestRetryOfParts: a patch whose values are gone says so.
func TestRetryOfParts(t *testing.T) {
	s := newScene(t, 1)
	p := partPool[0]
	x := Change{Require: []Item{{Key: "a", Value: []byte{}}}, Put: []Item{{Key: "b", Parts: &part.Manifest{Size: uint64(len(p.Bytes)), Parts: []part.Hash{p.Hash}}}}}
	s.do(&Upload{Hash: p.Hash, Bytes: p.Bytes})
	s.do(&Submit{ID: "p", Namespace: "n", Kind: PatchParts, Body: x.Encode()})
	s.is("p", Failed)
	s.refused(&Retry{ID: "p"}, Conflict, "no longer kept")
	s.do(&Upload{Hash: p.Hash, Bytes: p.Bytes})
	s.do(&Retry{ID: "p"})
	s.is("p", Failed) // what it asks for is not there, still
	if err := checkParts(s.State); err != nil {
		t.Error(err)
	}
}

// TestDiscard: what was dropped is gone, wherever it was listed.
func TestDiscard(t *testing.T) {
	s := newScene(t, 1)
	for i, keep := range []int64{0, 0, 2 * second, 0} {
		id := fmt.Sprint("t", i)
		s.submit(id, "", Timing{Keep: keep})
		s.end(id, Permanent)
		s.wait(1)
	}
	s.do(&Discard{ID: "t1"})
	s.do(&Discard{ID: "t2"})
	s.reload()
	s.do(&Discard{ID: "t0"})
	if got := s.Finished("", "", 9); len(got) != 1 || got[0].ID != "t3" {
		t.Errorf("%v", got)
	}
	if err := checkRetained(s.State); err != nil {
		t.Error(err)
	}
}

// TestKeep: a finished task is kept as long as it said, shorter or longer than others.
func TestKeep(t *testing.T) {
	s := newScene(t, 1)
	s.submit("first", "", Timing{})
	s.end("first", Success)
	for id, keep := range map[string]int64{"short": 3 * second, "long": Retention + 2*second, "default": 0} {
		s.submit(id, "", Timing{Keep: keep})
		s.end(id, Success)
	}
	there := func() (out []string) {
		for _, id := range []string{"short", "default", "long"} {
			if s.Task(id) != nil {
				out = append(out, id)
			}
		}
		return out
	}
	for _, x := range []struct {
		wait int64
		want string
	}{{3*second - 1, "short default long"}, {1, "default long"}, {Retention - 3*second, "long"}, {2 * second, ""}} {
		s.wait(x.wait)
		s.submit(fmt.Sprint("next", s.now), "", Timing{}) // retention is looked at when something ends
		s.end(fmt.Sprint("next", s.now), Success)
		s.reload()
		if got := strings.Join(there(), " "); got != x.want {
			t.Errorf("%d seconds later: %q, want %q", x.wait/second, got, x.want)
		}
	}
	s.refused(&Submit{ID: "x", Kind: Run, Options: &Options{Timing: Timing{Keep: MaxKeep + 1}}}, Invalid, "kept")
}

// TestKeptForFold: results that are still to be folded are kept.
func TestKeptForFold(t *testing.T) {
	s := newScene(t, 1)
	s.do(&OpenJob{ID: "j", Fold: "f"})
	s.submit("first", "f", Timing{})
	s.do(&Submit{ID: "a", Job: "j", Kind: Run, Options: &Options{Timing: Timing{Keep: second}}})
	s.end("a", Success)
	s.wait(2 * second)
	s.is("a", Succeeded)
	s.reload()
	s.end("first", Success)
	s.end("a/fold", Success)
	s.wait(foldTime)
	if s.Task("a") != nil {
		t.Error("it is kept after it was folded")
	}
}

// TestKeptFully: the soonest go first past the limit.
func TestKeptFully(t *testing.T) {
	s := newScene(t, 1)
	for i := range MaxKept {
		id := fmt.Sprint("x", i)
		s.kept[id] = &kept{id: id}
	}
	s.submit("a", "", Timing{Keep: second})
	s.end("a", Success)
	if s.Task("a") != nil {
		t.Error("a task is kept past the limit")
	}
}

// TestFinishedFrom: pages have each finished task once, the newest first.
func TestFinishedFrom(t *testing.T) {
	s := newScene(t, 1)
	var want []string
	for i := range 40 {
		id := fmt.Sprintf("t%02d", i)
		s.submit(id, "", Timing{Keep: []int64{0, 3600 * second, 0}[i%3]})
		s.end(id, Permanent)
		s.wait(1)
		if i%7 == 3 {
			s.do(&Discard{ID: id})
		} else {
			want = append(want, id)
		}
	}
	slices.Reverse(want)
	for look := 1; look < 50; look += 3 {
		var got []string
		for from := ""; ; {
			next, err := s.FinishedFrom(from, look, func(t *Task) bool { got = append(got, t.ID); return len(got)%5 != 0 })
			if err != nil {
				t.Fatal(err)
			}
			if from = next; from == "" {
				break
			}
		}
		if !slices.Equal(got, want) {
			t.Fatalf("pages of %d: %q, want %q", look, got, want)
		}
	}
	for _, bad := range []string{"x", "1.2", "1.x.", "x.1."} {
		if _, err := s.FinishedFrom(bad, 1, nil); err == nil {
			t.Errorf("%q is a place", bad)
		}
	}
}
