package scheduler

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"farm/internal/wire"
)

// submissions is what a report submits that is not there yet.
type submissions struct {
	parent string
	order  uint64
	ids    []string
}

// absent notes what a command would submit.
func (s *State) absent(c Command) (w submissions) {
	x, ok := c.(*Complete)
	if !ok {
		return w
	}
	w.parent, w.order = x.Task, s.Order
	if t := s.Task(x.Task); t == nil || t.State.Final() {
		w.parent = ""
	}
	taken := map[string]bool{} // unique keys, by earlier ones
	for _, c := range x.Submits {
		if s.Task(c.ID) != nil || slices.Contains(w.ids, c.ID) {
			continue
		}
		if u := c.Options.unique(); u != nil {
			if taken[u.Key] || s.UniqueHolder(u.Key) != "" {
				continue
			}
			taken[u.Key] = true
		}
		w.ids = append(w.ids, c.ID)
	}
	return w
}

// follow checks, after the command, that all of it was taken if its task succeeded,
// and nothing otherwise.
func (w submissions) follow(s *State) error {
	parent := s.Task(w.parent)
	done := parent != nil && parent.State == Succeeded
	for _, id := range w.ids {
		t := s.Task(id)
		switch {
		case !done && t != nil:
			return fmt.Errorf("%s was submitted by %s, which has not succeeded", id, w.parent)
		case done && t == nil:
			return fmt.Errorf("%s was not submitted by %s, which has succeeded", id, w.parent)
		case done && (t.Parent != parent.ID || t.Depth != parent.Depth+1 || t.Order <= w.order):
			return fmt.Errorf("%s is of %q, at depth %d under %d", id, t.Parent, t.Depth, parent.Depth)
		}
	}
	return nil
}

// spawning is a state with one running task, and its report that submits.
func spawning(t *testing.T) (*State, *Complete) {
	t.Helper()
	s := mustLoad(plainRecords{})
	s.Step(&WorkerUp{Worker: "w", Incarnation: 1, Slots: 1})
	submitted(t, s, Submit{ID: "a"}, OK, "")
	return s, &Complete{Task: "a", Attempt: 1, Worker: "w", Incarnation: 1, Status: Success}
}

// TestSpawnLimits: what is over a limit fails the task, and none of it is taken.
func TestSpawnLimits(t *testing.T) {
	many := func(n, body int, ns string) (out []*Submit) {
		for i := range n {
			out = append(out, &Submit{ID: fmt.Sprint("c", i), Kind: Run, Namespace: ns, Body: make([]byte, body)})
		}
		return out
	}
	for name, c := range map[string]struct {
		submits []*Submit
		full    func(s *State)
		want    string
	}{
		"number":     {submits: many(MaxSubmits+1, 0, ""), want: "limit: the task submits 501"},
		"bytes":      {submits: many(100, MaxSubmitBytes/100, ""), want: fmt.Sprint("the limit is ", MaxSubmitBytes)},
		"body":       {submits: many(1, MaxBodyBytes+1, ""), want: "submission 1: the task's body"},
		"depth":      {submits: many(1, 0, ""), full: func(s *State) { s.tasks["a"].Depth = MaxDepth }, want: "the task has 1000 parents"},
		"unfinished": {submits: many(9, 0, ""), full: func(s *State) { crowd(s, MaxLive-8) }, want: fmt.Sprintf("submission 9: %d tasks are waiting", MaxLive)},
		"queue": {submits: many(9, 0, "n"), full: func(s *State) {
			s.namespaces["n"] = &Namespace{Name: "n", ready: -1, tasks: make([]*Task, MaxNamespaceQueue-8)}
		}, want: fmt.Sprintf("submission 9: %d tasks wait in namespace n", MaxNamespaceQueue)},
		"namespaces": {submits: append(many(9, 0, "n"), &Submit{ID: "m", Kind: Run, Namespace: "m"}), full: func(s *State) {
			for i := range MaxNamespaces - 1 {
				s.namespaces[fmt.Sprint("x", i)] = &Namespace{ready: -1}
			}
		}, want: fmt.Sprintf("submission 10: there are %d namespaces", MaxNamespaces)},
	} {
		s, report := spawning(t)
		report.Submits = c.submits
		if c.full != nil {
			c.full(s)
		}
		live := len(s.tasks)
		if r := s.Step(report); r.Code != OK {
			t.Errorf("%s: the report is answered with %v %s", name, r.Code, r.Detail)
		}
		a := s.Task("a")
		if a.State != Failed || len(a.Causes) != 1 || !strings.Contains(a.Causes[0], c.want) {
			t.Errorf("%s: the task is %s %q, want %q", name, a.State, a.Causes, c.want)
		}
		if len(s.tasks) != live-1 || s.Task("c0") != nil {
			t.Errorf("%s: something was submitted", name)
		}
	}
}

func crowd(s *State, n int) {
	for i := len(s.tasks); i < n; i++ {
		s.tasks[fmt.Sprint("x", i)] = nil
	}
}

// TestSpawnToTheLimit: as much as is allowed is taken, generation after generation
// until there are too many.
func TestSpawnToTheLimit(t *testing.T) {
	s, report := spawning(t)
	for i := range MaxSubmits {
		report.Submits = append(report.Submits, &Submit{ID: fmt.Sprint("a/", i), Kind: Run, Body: make([]byte, MaxSubmitBytes/MaxSubmits-5)})
	}
	s.Step(report)
	if len(s.tasks) != MaxSubmits {
		t.Fatalf("%d tasks were submitted: %q", len(s.tasks), s.Task("a").Causes)
	}
	s, report = spawning(t)
	for i := 1; s.Task(report.Task).Depth < MaxDepth; i++ {
		id := fmt.Sprint("a/", i)
		report.Submits = []*Submit{{ID: id, Kind: Run}}
		if s.Step(report); s.Task(id) == nil {
			t.Fatalf("%s was not submitted: %q", id, s.Task(report.Task).Causes)
		}
		report = &Complete{Task: id, Attempt: 1, Worker: "w", Incarnation: 1, Status: Success}
	}
	report.Submits = []*Submit{{ID: "a/one-too-many", Kind: Run}}
	if s.Step(report); s.Task("a/one-too-many") != nil || s.Task(report.Task).State != Failed {
		t.Error("a task was submitted below the lowest")
	}
}

// TestDerivedNames: only what nobody else can be called is derived.
func TestDerivedNames(t *testing.T) {
	parent := &Task{ID: "a/1"}
	for _, id := range []string{"a/1/1", "a/2", "a/h123", "a/fold/1"} {
		if !derivedFrom(parent, id) {
			t.Errorf("%s is refused", id)
		}
	}
	for _, id := range []string{"a", "a/", "a//1", "b/1", "a/1/fold", "a/fold", "a/ä", "/1", "", "a/" + strings.Repeat("1", MaxDerived+1)} {
		if derivedFrom(parent, id) {
			t.Errorf("%s is derived", id)
		}
	}
	if derivedFrom(nil, "a/1") {
		t.Error("a client derives a name")
	}
}

// TestDerivedTakenTwice: a task whose derived name is still there of an earlier task of
// the same id fails, and does not lose what it submits.
func TestDerivedTakenTwice(t *testing.T) {
	s, report := spawning(t)
	report.Submits = []*Submit{{ID: "a/1", Kind: Run}}
	s.Step(report)
	s.rec.Delete("t/a") // as when it is no longer retained
	s.Step(&WorkerUp{Worker: "v", Incarnation: 1, Slots: 1})
	submitted(t, s, Submit{ID: "a"}, OK, "")
	report.Worker = s.tasks["a"].Worker
	s.Step(report)
	if a := s.Task("a"); a.State != Failed || !strings.Contains(a.Causes[0], "conflict: submission 1: there is a task a/1") {
		t.Errorf("the task is %s %q", a.State, a.Causes)
	}
}

// TestSubmitsAsBytes: what is not a list of submissions is not read as one, however
// deep it goes on.
func TestSubmitsAsBytes(t *testing.T) {
	inner := (&Complete{Task: "a", Submits: []*Submit{{ID: "a/1", Kind: Run, Body: []byte("x")}, {ID: "b", Kind: Run}}}).AppendTo(nil)
	c, err := DecodeCommand(wire.NewReader(inner))
	if err != nil || len(c.(*Complete).Submits) != 2 || !bytes.Equal(c.AppendTo(nil), inner) {
		t.Fatalf("%+v, %v", c, err)
	}
	head := (&Complete{Task: "a"}).AppendTo(nil)
	head[0] = cmdCompleteSubmits
	for name, sub := range map[string][]byte{"nothing": nil, "another command": (&Tick{}).AppendTo(nil), "a report": inner,
		"cut off": (&Submit{ID: "x"}).AppendTo(nil)[:3], "more": append((&Submit{ID: "x"}).AppendTo(nil), 1)} {
		b := wire.AppendUint(append([]byte{}, head[:len(head)-2]...), 0) // no items in parts
		b = append(b, head[len(head)-2:]...)
		b = wire.AppendBytes(wire.AppendUint(b, 1), sub)
		if c, err := DecodeCommand(wire.NewReader(b)); !errors.Is(err, wire.ErrCorrupt) {
			t.Errorf("%s is read as %+v, %v", name, c, err)
		}
	}
}

// TestOldRecords: a task and a job that no task has added to are stored as ever, so that
// an older farm reads them.
func TestOldRecords(t *testing.T) {
	if v := (&Task{ID: "a", Kind: Run}).append(nil)[0]; v != recordVersion {
		t.Errorf("the record of a client's task has version %d", v)
	}
	if v := (&Job{ID: "j"}).append(nil)[0]; v != recordVersion {
		t.Errorf("the record of a client's job has version %d", v)
	}
	if v := (&Complete{Task: "a"}).AppendTo(nil)[0]; v != cmdComplete {
		t.Errorf("a report without submissions has type %d", v)
	}
}

// TestSpawnUnique: a unique key that a task has is not given to another, whoever submits it.
func TestSpawnUnique(t *testing.T) {
	s, report := spawning(t)
	with := func(id string) *Submit {
		return &Submit{ID: id, Kind: Run, Options: &Options{Unique: &Unique{Key: "k", While: WhileRunning}}}
	}
	submitted(t, s, *with("first"), OK, "")
	report.Submits = []*Submit{with("second"), {ID: "a/1", Kind: Run}}
	s.Step(report)
	if s.Task("second") != nil || s.Task("a/1") == nil || s.UniqueHolder("k") != "first" {
		t.Errorf("the key is held by %s, the second is %+v", s.UniqueHolder("k"), s.Task("second"))
	}
	s, report = spawning(t)
	report.Submits = []*Submit{with("third"), with("fourth")}
	s.Step(report)
	if s.Task("third") == nil || s.Task("fourth") != nil || s.UniqueHolder("k") != "third" {
		t.Errorf("the key is held by %s, the fourth is %+v", s.UniqueHolder("k"), s.Task("fourth"))
	}
}

// TestChildrenInARow: what a task submits can run after others that it submits, after
// itself, and after who has the unique key of one that was not taken.
func TestChildrenInARow(t *testing.T) {
	s, report := spawning(t)
	submitted(t, s, Submit{ID: "holder", Options: &Options{Needs: []string{"label:a=1"}, Unique: &Unique{Key: "k", While: WhileRunning}}}, OK, "")
	after := func(id string, ids ...string) *Submit {
		return &Submit{ID: id, Kind: Run, Options: &Options{Timing: Timing{After: ids, AfterWhen: AllSucceeded}}}
	}
	report.Submits = []*Submit{{ID: "a/1", Kind: Run}, after("a/2", "a/1", "a"), {ID: "a/3", Kind: Run, Options: &Options{Unique: &Unique{Key: "k", While: WhileRunning}}},
		after("a/4", "a/3", "holder", "a/2")}
	was := slices.Clone(report.Submits[3].Options.After)
	s.Step(report)
	if a := s.Task("a"); a.State != Succeeded || s.Task("a/3") != nil {
		t.Fatalf("%s %q", a.State, a.Causes)
	}
	if got := s.Task("a/2").Awaits(); !slices.Equal(got, []string{"a/1"}) {
		t.Errorf("a/2 waits for %q", got)
	}
	if got := s.Task("a/4").Options.After; !slices.Equal(got, []string{"holder", "a/2"}) || !slices.Equal(report.Submits[3].Options.After, was) {
		t.Errorf("a/4 runs after %q", got)
	}
	if i := s.Queue(DefaultQueue); i.Delayed != 2 || i.Waiting != 1 {
		t.Errorf("of the queue %+v", i)
	}
	s.Step(&Complete{Task: "a/1", Attempt: 1, Worker: "w", Incarnation: 1, Status: Success})
	if x := s.Task("a/2"); x.State != Running {
		t.Errorf("a/2 is %s", x.State)
	}
}

// TestChildRefusedByOption: an option of a child that cannot be fails the task, which
// says of which child, and why; none of the others is taken.
func TestChildRefusedByOption(t *testing.T) {
	for want, o := range map[string]*Options{
		"there is no task nobody to wait for":        {Timing: Timing{After: []string{"nobody"}, AfterWhen: AllSucceeded}},
		"there is no task a/3 to wait for":           {Timing: Timing{After: []string{"a/3"}, AfterWhen: AllSucceeded}},
		"task a/2 would wait for itself: a cycle":    {Timing: Timing{After: []string{"a/2"}, AfterWhen: AllSucceeded}},
		"a queue's name is not a name":               {Queue: "no name"},
		"the task's key has 257 bytes":               {Key: strings.Repeat("k", MaxKeyBytes+1)},
		"a unique key is held":                       {Unique: &Unique{Key: "k"}},
		"the backoff of a task is out of range":      {Timing: Timing{Backoff: 2, BackoffMax: 1}},
		"the deadline of a task is out of range":     {Timing: Timing{Within: MaxAhead + 1}},
		"the deadline of the task is more than":      {Timing: Timing{Deadline: MaxAhead * 2}},
		"the time at which the task is to start is ": {Timing: Timing{At: MaxAhead * 2}},
		"a finished task is kept for":                {Timing: Timing{Keep: 1}},
		"the task needs 17 things":                   {Needs: make([]string, MaxNeeds+1)},
	} {
		s, report := spawning(t)
		report.Submits = []*Submit{{ID: "a/1", Kind: Run}, {ID: "a/2", Kind: Run, Options: o}, {ID: "a/3", Kind: Run}}
		s.Step(report)
		if a := s.Task("a"); a.State != Failed || !strings.Contains(a.Causes[0], "submission 2, task a/2: ") || !strings.Contains(a.Causes[0], want) || s.Task("a/1") != nil {
			t.Errorf("%s: %s %q", want, a.State, a.Causes)
		}
	}
}
