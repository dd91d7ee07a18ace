package worker

import (
	"fmt"
	"strings"
	"testing"

	"farm/api"
	"farm/namespace"
)

// What a cell submits is in the report of its success, whole; and in none of a failure.
func TestReportSubmits(t *testing.T) {
	l := start(t, cells)
	l.onReport = settle
	const cell = "import (\"farm\"; \"time\")\nfarm.Submit(farm.Task{Namespace: \"b\", Source: \"n++\", Timeout: time.Second, InJob: true})\n" +
		"farm.Submit(farm.Task{ID: \"x\", Call: \"F\", Inputs: []string{farm.Input(1)}, Args: map[string]string{\"k\": \"v\"}})\n"
	spec := &api.JobSpec{}
	l.say(l.jobTask("a", spec, &api.Work{Source: cell}), l.jobTask("b", nil, &api.Work{Source: cell + "panic(1)"}))
	c := l.report("a", 1)
	want := `id:"a/1"  namespace:"b"  job:"j"  work:{source:"n++"}  timeout:1000000000 id:"x"  work:{call:"F"  inputs:"1"  args:{key:"k"  value:"v"}}`
	var got []string
	for _, s := range c.Submits {
		got = append(got, s.String())
	}
	plain := func(s string) string { return strings.Join(strings.Fields(s), " ") }
	if plain(strings.Join(got, " ")) != plain(want) || c.Ending != api.Ending_SUCCESS {
		t.Errorf("%v: submitted\n%s\nwant\n%s", c.Ending, strings.Join(got, " "), want)
	}
	if c := l.report("b", 1); c.Ending != api.Ending_FAILURE || len(c.Submits) != 0 {
		t.Errorf("%v", c)
	}
}

// Why a task cannot submit is said in words that its owner understands, and another try is no use.
func TestReportsWhySubmitsFail(t *testing.T) {
	l := start(t, cells)
	l.onReport = settle
	for i, tc := range []struct{ source, kind, message string }{
		{`farm.Submit(farm.Task{Source: "x := y"})`, kindCompile, "submission 1: 1:6: undefined: y"},
		{`farm.Submit(farm.Task{Source: "import \"net\""})`, kindNotAllowed, "submission 1: "},
		{"for {\n\tfarm.Submit(farm.Task{Call: \"F\"})\n}", kindLimit, "submission 501: tasks that a task submits"},
		{`farm.Submit(farm.Task{})`, kindInvalid, "neither Source nor Call"},
	} {
		task := fmt.Sprint("a", i)
		l.say(l.private(task, "import \"farm\"\n"+tc.source))
		c := l.report(task, 1)
		if c.Ending != api.Ending_PERMANENT || c.Outcome.Error.GetKind() != tc.kind || !strings.Contains(c.Outcome.Error.GetMessage(), tc.message) {
			t.Errorf("%s: ending %v, %v", tc.source, c.Ending, c.Outcome.Error)
		}
	}
}

// A child that does not keep to the limits is not believed.
func TestChildSubmitsTooMuch(t *testing.T) {
	l := start(t, nil)
	l.onReport = settle
	most := namespace.MaxSubmissions
	for task, c := range map[string]struct {
		source string
		fits   bool
	}{
		"most": {fmt.Sprint("submit ", most, " 2000"), true}, "many": {fmt.Sprint("submit ", most+1, " 1"), false},
		"large": {"submit 2 700000", false}, "garbled": {"garble xx", false},
	} {
		l.say(l.private(task, c.source))
		if r := l.report(task, 1); (r.Ending == api.Ending_SUCCESS) != c.fits || len(r.Submits) > 0 != c.fits {
			t.Errorf("%s: %v with %d submissions, %v", task, r.Ending, len(r.Submits), r.Outcome.Error)
		}
	}
}

// A success that the farm takes for a failure leaves the namespace as it was: for the next
// attempt, on whatever it is told to build.
func TestSettledAsFailure(t *testing.T) {
	for _, after := range []string{"nothing", "a patch"} {
		l := start(t, nil)
		l.say(l.in("s", 1, "a", "append x 1", loadOf(3, 0, "v/x", "0")))
		if c := l.report("a", 1); c.Base != 3 || item(c, "v/x") != "01" {
			t.Fatalf("%v", c)
		}
		refused := settled("a", 1)
		refused.GetSettled().Version = 3 + 1 // it is at the version that it was at
		var load *api.Load
		base := uint64(3)
		if after == "a patch" { // which makes the version that the attempt made as well
			load, base = loadOf(4, 3, "v/y", "p"), 4
		}
		l.say(refused, l.in("s", 1, "b", "append x 2", load))
		if c := l.report("b", 1); c.Base != base || item(c, "v/x") != "02" {
			t.Errorf("after %s: %v", after, c)
		}
	}
}

// One that is taken as reported stays.
func TestSettledAsSuccess(t *testing.T) {
	l := start(t, nil)
	l.say(l.in("s", 1, "a", "append x 1", loadOf(3, 0, "v/x", "0")))
	l.report("a", 1)
	done := settled("a", 1)
	done.GetSettled().Version = 4 + 1
	l.say(done, l.in("s", 1, "b", "append x 2", nil))
	if c := l.report("b", 1); c.Base != 4 || item(c, "v/x") != "012" {
		t.Errorf("%v", c)
	}
}
