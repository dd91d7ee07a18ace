package worker

import (
	"fmt"
	"slices"
	"testing"

	"farm/api"
)

// The next attempt of a namespace starts on the result of the last before the
// leader has answered, and its base says so.
func TestRunAhead(t *testing.T) {
	l := start(t, nil)
	l.say(
		l.in("s", 1, "a", "append x 1", loadOf(41, 0, "v/x", "0")),
		l.in("s", 1, "b", "append x 2", nil),
		l.in("s", 1, "c", "get x", nil),
		l.in("s", 1, "d", "append x 3\ndel y", nil),
	)
	for i, tc := range []struct {
		task string
		base uint64
		x    string
	}{{"a", 41, "01"}, {"b", 42, "012"}, {"c", 43, ""}, {"d", 43, "0123"}} {
		c := l.report(tc.task, 1)
		if c.Ending != api.Ending_SUCCESS || c.Base != tc.base || c.Epoch != 1 || tc.x != "" && item(c, "v/x") != tc.x {
			t.Errorf("%d: %v", i, c)
		}
	}
	if got := string(l.report("c", 1).Outcome.Value); got != `"012"` {
		t.Errorf("the third sees %s", got)
	}
	l.poll("nothing to run", func(s Stats) bool { return s.Unsettled == 4 && s.Running == 0 })
}

// After a failure the namespace waits: a retry of it may have to run first.
func TestFailureInTheChain(t *testing.T) {
	l := start(t, nil)
	l.say(
		l.in("s", 1, "a", "append x 1", loadOf(0, 0)),
		l.in("s", 1, "b", "append x 2\nfail panic b", nil),
		l.in("s", 1, "c", "append x 3", nil),
		l.in("s", 1, "d", "append x 4", nil),
	)
	if c := l.report("b", 1); c.Base != 1 || c.Ending != api.Ending_FAILURE {
		t.Errorf("the failure: %v", c)
	}
	if s := l.w.Stats(); s.Waiting != 2 || s.Running != 0 {
		t.Errorf("what comes after it did not wait: %+v", s)
	}
	// It is to be tried again: what came after it is void and follows it.
	retry := l.in("s", 1, "b", "append x 2", nil)
	retry.GetAssign().Attempt, retry.GetAssign().Order = 2, 2
	c2 := l.in("s", 1, "c", "append x 3", nil)
	c2.GetAssign().Attempt, c2.GetAssign().Order = 2, 3
	l.say(settled("a", 1), settled("b", 1), voided("d", 1), voided("c", 1), retry, c2)
	if c := l.report("c", 2); c.Base != 2 || item(c, "v/x") != "123" {
		t.Errorf("after the retry: %v", c)
	}
	if slices.ContainsFunc(l.now().completes, func(c *api.Complete) bool { return c.Attempt == 1 && (c.Task == "c" || c.Task == "d") }) {
		t.Error("a voided attempt was reported")
	}
}

func TestFinalFailureLetsTheRestRun(t *testing.T) {
	l := start(t, nil)
	l.say(l.in("s", 1, "a", "fail panic a", loadOf(0, 0)), l.in("s", 1, "b", "append x 1", nil))
	l.report("a", 1)
	l.say(settled("a", 1))
	if c := l.report("b", 1); c.Base != 0 || item(c, "v/x") != "1" {
		t.Errorf("%v", c)
	}
}

// A refused report takes the namespace back to before it, together with what
// ran on top of it.
func TestVoidedReport(t *testing.T) {
	l := start(t, nil)
	l.say(
		l.in("s", 1, "a", "append x 1", loadOf(5, 0, "v/x", "0", "v/y", "y")),
		l.in("s", 1, "b", "append x 2\ndel y\nappend z 1", nil),
		l.in("s", 1, "c", "append x 3", nil),
	)
	if c := l.report("c", 1); c.Base != 7 || item(c, "v/x") != "0123" {
		t.Fatalf("%v", c)
	}
	l.say(settled("a", 1), voided("c", 1), voided("b", 1))
	l.say(l.in("s", 1, "d", "append x 4\nappend y !\nappend z 2", nil))
	if c := l.report("d", 1); c.Base != 6 || item(c, "v/x") != "014" || item(c, "v/y") != "y!" || item(c, "v/z") != "2" {
		t.Errorf("%v", c)
	}
}

// The same when the leader names the first of them only.
func TestVoidedReportOutOfOrder(t *testing.T) {
	l := start(t, nil)
	l.say(l.in("s", 1, "a", "append x 1", loadOf(0, 0)), l.in("s", 1, "b", "append x 2", nil), l.in("s", 1, "c", "append x 3\nwait", nil))
	l.report("b", 1)
	l.awaitBegan("c")
	l.say(voided("a", 1), voided("b", 1), voided("c", 1), l.in("s", 1, "d", "append x 4", nil))
	if c := l.report("d", 1); c.Base != 0 || item(c, "v/x") != "4" {
		t.Errorf("%v", c)
	}
}

func TestVoidedWhileRunning(t *testing.T) {
	l := start(t, nil)
	l.say(l.in("s", 1, "a", "append x 1\nsleep 1m", loadOf(3, 0, "v/x", "0")))
	l.awaitBegan("a")
	l.say(voided("a", 1), l.in("s", 1, "b", "append x 2", nil))
	if c := l.report("b", 1); c.Base != 3 || item(c, "v/x") != "02" {
		t.Errorf("%v", c)
	}
	if got := l.now().completes; len(got) != 1 {
		t.Errorf("reports: %v", got)
	}
}

// An attempt whose namespace is not here is given back, and the leader is told
// that it must load it.
func TestUnknownBase(t *testing.T) {
	l := start(t, nil)
	l.say(
		l.in("s", 1, "a", "append x 1", nil),
		l.in("t", 1, "b", "append x 1", loadOf(0, 0)),
		l.in("t", 2, "c", "append x 1", nil),          // a placement it has not heard of
		l.in("u", 1, "d", "append x 1", loadOf(9, 8)), // a patch of what it lacks
	)
	for _, task := range []string{"a", "c", "d"} {
		l.awaitReturn(task)
	}
	l.report("b", 1)
	forgot := slices.Sorted(slices.Values(l.now().forgot))
	if fmt.Sprint(forgot) != "[s t u]" {
		t.Errorf("forgot %v", forgot)
	}
}

// A patch brings a namespace up to date, and the child that holds it.
func TestPatch(t *testing.T) {
	l := start(t, nil)
	l.say(l.in("s", 1, "a", "append x 1\npid", loadOf(0, 0, "v/y", "y")))
	first := l.report("a", 1)
	l.say(settled("a", 1), l.in("s", 1, "b", "append x 2\nappend y 2\npid", loadOf(3, 1, "v/y", "Y")))
	c := l.report("b", 1)
	if c.Base != 3 || item(c, "v/x") != "12" || item(c, "v/y") != "Y2" {
		t.Errorf("%v", c)
	}
	if s := l.w.Stats(); string(c.Outcome.Value) != string(first.Outcome.Value) || s.Updated != 1 {
		t.Errorf("not on the child that holds it: %+v", s)
	}
}

// A new placement replaces what is here.
func TestNewEpoch(t *testing.T) {
	l := start(t, nil)
	l.say(l.in("s", 1, "a", "append x 1", loadOf(0, 0)), l.in("s", 1, "b", "sleep 1m", nil), l.in("s", 1, "c", "append x 3", nil))
	l.awaitBegan("b")
	l.say(l.in("s", 2, "d", "append x 4", loadOf(7, 0, "v/x", "7")))
	if c := l.report("d", 1); c.Base != 7 || c.Epoch != 2 || item(c, "v/x") != "74" {
		t.Errorf("%v", c)
	}
	l.poll("the old placement to be gone", func(s Stats) bool { return s.Unsettled == 1 && s.Waiting == 0 && s.Running == 0 })
}

func TestForget(t *testing.T) {
	l := start(t, nil)
	l.say(l.in("s", 1, "a", "append x 1", loadOf(0, 0)))
	l.report("a", 1)
	l.say(settled("a", 1), &api.Instruction{Do: &api.Instruction_Forget{Forget: "s"}}, l.in("s", 1, "b", "append x 2", nil))
	l.awaitReturn("b")
	if s := l.w.Stats(); s.Spaces != 0 || s.SpaceSize != 0 {
		t.Errorf("%+v", s)
	}
}

// Namespaces nobody uses are dropped when there are too many bytes of them.
func TestCacheLimit(t *testing.T) {
	l := start(t, func(c *Config) { c.Limits.CacheBytes = 10 * (spaceCost + 64) })
	l.onReport = settle
	for i := range 50 {
		l.say(l.in(fmt.Sprintf("s%d", i), 1, fmt.Sprintf("a%d", i), "append x 1", loadOf(0, 0)))
		l.report(fmt.Sprintf("a%d", i), 1)
	}
	l.poll("a small cache", func(s Stats) bool { return s.Spaces <= 10 && s.SpaceSize <= 10*(spaceCost+64) })
	l.await("word of it", func() bool { return len(l.forgot) >= 40 })
	if first := l.now().forgot[0]; first != "s0" {
		t.Errorf("not the least recently used: %v", first)
	}
}

// A namespace that cannot be loaded fails the attempt and costs the child.
func TestBrokenNamespace(t *testing.T) {
	l := start(t, nil)
	l.onReport = settle
	l.say(l.in("s", 1, "a", "value 1", loadOf(1, 0, "v/broken", "x")), l.private("b", "value 1"))
	if c := l.report("a", 1); c.Ending != api.Ending_FAILURE || c.Outcome.Error.Kind != kindInternal {
		t.Errorf("%v", c)
	}
	l.report("b", 1)
	l.poll("the child to be replaced", func(s Stats) bool { return s.Died == 1 })
}

// Many namespaces share few children: each sees its own state only.
func TestEviction(t *testing.T) {
	const spaces, each = 20, 10
	l := start(t, func(c *Config) { c.Contexts = 4 })
	l.onReport = settle
	l.poll("children", func(s Stats) bool { return s.Children == spares })
	for n := range each {
		for i := range spaces {
			var load *api.Load
			if n == 0 {
				load = loadOf(0, 0, "d/f", fmt.Sprint(i%7)) // of seven shapes
			}
			l.say(l.in(fmt.Sprint("s", i), 1, fmt.Sprintf("t%d-%d", i, n), fmt.Sprintf("append x %d.%d,", i, n), load))
		}
	}
	for i := range spaces {
		want := ""
		for n := range each {
			want += fmt.Sprintf("%d.%d,", i, n)
			if c := l.report(fmt.Sprintf("t%d-%d", i, n), 1); c.Base != uint64(n) || item(c, "v/x") != want {
				t.Fatalf("%v", c)
			}
		}
	}
	if s := l.w.Stats(); s.Children > 4 || s.Restored == 0 {
		t.Errorf("%+v", s)
	}
}

// A namespace has its child for itself while there are enough.
func TestStaysWarm(t *testing.T) {
	l := start(t, nil)
	l.onReport = settle
	var pids [3]string
	for n := range 5 {
		for i := range pids {
			var load *api.Load
			if n == 0 {
				load = loadOf(0, 0, "d/f", fmt.Sprint(i))
			}
			l.poll("a spare child", func(s Stats) bool { return n > 0 || s.Children == i+spares })
			task := fmt.Sprintf("t%d-%d", i, n)
			l.say(l.in(fmt.Sprint("s", i), 1, task, "append x 1\npid", load))
			pid := string(l.report(task, 1).Outcome.Value)
			if n > 0 && pid != pids[i] {
				t.Errorf("namespace %d went from child %s to %s", i, pids[i], pid)
			}
			pids[i] = pid
		}
		l.poll("idleness", func(s Stats) bool { return s.Running == 0 })
	}
	if s := l.w.Stats(); s.Restored != 3 || s.Kept != 12 {
		t.Errorf("%+v", s)
	}
}

func TestSetThroughTheEngine(t *testing.T) {
	l := start(t, nil)
	l.say(assign(&api.Assign{Task: "a", Attempt: 1, Namespace: "s", Epoch: 1, Load: loadOf(0, 0), Order: 1,
		Work: encode(&api.Work{Set: &api.SetKey{Key: "x", Json: []byte("7")}})}))
	if c := l.report("a", 1); c.Ending != api.Ending_SUCCESS || item(c, "v/x") != "7" {
		t.Errorf("%v", c)
	}
}

// Over a limit of a report the attempt fails with that limit's name, and its
// namespace is as it was.
func TestReportLimits(t *testing.T) {
	l := start(t, nil)
	l.onReport = settle
	big := make([]byte, maxOutcome)
	for i := range big {
		big[i] = 'x'
	}
	l.say(l.in("s", 1, "a", "append x 1\nvalue "+string(big), loadOf(0, 0)))
	if c := l.report("a", 1); c.Ending != api.Ending_FAILURE || c.Outcome.Error.Kind != kindLimit || len(c.Put) > 0 {
		t.Errorf("%v %v", c.Ending, c.Outcome.Error)
	}
	l.say(l.in("s", 1, "b", "append x 2", nil))
	if c := l.report("b", 1); c.Base != 0 || item(c, "v/x") != "2" {
		t.Errorf("the child kept what the namespace has not: %v", c)
	}
}

// A patch is for what the worker has, not for what a child has that ran on
// what was taken back.
func TestPatchAfterVoid(t *testing.T) {
	l := start(t, nil)
	l.say(l.in("s", 1, "a", "append x 1", loadOf(0, 0)), l.in("s", 1, "b", "append x 2", nil))
	l.report("b", 1)
	l.say(settled("a", 1), voided("b", 1), l.in("s", 1, "c", "append x 3\nget y", loadOf(2, 1, "v/y", "Y")))
	if c := l.report("c", 1); c.Base != 2 || item(c, "v/x") != "13" || string(c.Outcome.Value) != `"Y"` {
		t.Errorf("%v", c)
	}
}

// Before and after its first cell has named its engine a namespace is of one shape:
// otherwise children of the one are no good for the other, and more are started.
func TestEngineIsNoShape(t *testing.T) {
	var shapes []uint64
	for _, l := range []*api.Load{loadOf(1, 0, "v/n", "1"), loadOf(1, 0, "v/n", "1", "h/engine", "ssa"), loadOf(1, 0, "v/n", "1", "d/f", "f")} {
		s := &space{}
		if !s.load(l, 1) {
			t.Fatal("not loaded")
		}
		shapes = append(shapes, s.shape)
	}
	if shapes[0] != shapes[1] || shapes[0] == shapes[2] {
		t.Errorf("shapes %v", shapes)
	}
}
