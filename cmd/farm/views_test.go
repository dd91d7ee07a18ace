package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"farm/api"
	"farm/tasks"
)

func TestScatterAndGatherCommands(t *testing.T) {
	f := newFakeFarm(t)
	t.Chdir(t.TempDir())
	if err := os.WriteFile("xs.json", []byte("[1, 2,\n3, 4, 5]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	run := func(stdin string, args ...string) ended {
		t.Helper()
		return farmCommand(t.Context(), t, f, stdin, args...)
	}
	run("", "scatter", "c{0..2}", "xs", "xs.json").check(t, 0, "", "farm: 5 elements in 3 namespaces\n")
	if got := f.vars["c0"]["xs"] + f.vars["c1"]["xs"] + f.vars["c2"]["xs"]; got != "[1,2][3,4][5]" {
		t.Errorf("scattered %s", got)
	}
	run("", "gather", "c*", "xs").check(t, 0, "[1,2,3,4,5]\n", "")
	run("", "gather", "--lines", "c{2..1}", "xs").check(t, 0, "5\n3\n4\n", "")
	run("", "gather", "--json", "c{1..2}", "xs").check(t, 0, `{"key":"xs","elements":3,"namespaces":["c1","c2"],"values":[3,4,5]}`+"\n", "")
	run("\"a\"\n\n\"b\"\n", "scatter", "--json", "d{0..2}", "ws", "-").check(t, 0, `{"key":"ws","elements":2,"namespaces":["d0","d1","d2"]}`+"\n", "")
	run("", "get", "d{0..2}", "ws").check(t, 0, "d0: [\"a\"]\nd1: [\"b\"]\nd2: []\n", "")
	run("", "set", "c{0..2}", "n", "7").check(t, 0, "", "")
	run("", "del", "c1", "n").check(t, 0, "", "")
	run("", "gather", "c*", "n").check(t, exitUsage, "", "farm: c0: invalid: n is of type int, no sequence\n"+
		"farm: c1: get n in c1: not found: namespace c1 has no variable n\nfarm: c2: invalid: n is of type int, no sequence\nfarm: 3 of 3 failed\n")
	run("", "set", "c{0..", "n", "7").check(t, exitUsage, "", "farm: invalid: \"c{0..\" has a brace without its other one\n")
	run("", "exec", "c{0..99999}", "1").check(t, exitRefused, "", "farm: limit reached: {0..99999} has 100000 numbers, at most 10000 namespaces can be used as one\n")
}

// Views on three real nodes, of which one is killed meanwhile, and again: nothing
// that was acknowledged is lost, and every namespace has run each cell once.
func TestViewsOnARealFarm(t *testing.T) {
	t.Parallel()
	farm := startFarm(t, t.TempDir())
	ctx := t.Context()
	c, err := tasks.Dial(ctx, farm.Addrs()...)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	v, err := c.Select(ctx, "v{0..11}")
	if err != nil {
		t.Fatal(err)
	}
	want := make([]float64, 101)
	for i := range want {
		want[i] = float64(i)
	}
	want[50] = 50.5 // the other runs have whole numbers alone, and one type all the same
	if err := tasks.Scatter(ctx, v, "xs", want); err != nil {
		t.Fatal(err)
	}
	few := c.View("f0", "f1", "f2", "f3")
	if err := tasks.Scatter(ctx, few, "words", []string{"one", "two"}); err != nil {
		t.Fatal(err)
	}
	for _, x := range []struct {
		v        *tasks.View
		key, typ string
	}{{v, "xs", "[]float64"}, {few, "words", "[]string"}} {
		vars, err := x.v.Pull(ctx, x.key)
		if err != nil {
			t.Fatal(err)
		}
		for i, got := range vars {
			if got.Type != x.typ {
				t.Errorf("%s of %s is of type %s", x.key, x.v.Names()[i], got.Type)
			}
		}
	}

	// Rounds of cells on all, while a node dies and comes back.
	if _, err := v.Exec(ctx, "rounds := 0"); err != nil {
		t.Fatal(err)
	}
	const rounds = 12
	var chaos sync.WaitGroup
	killed := make(chan struct{})
	chaos.Go(func() {
		<-killed
		if err := farm.Kill(0); err != nil {
			t.Error(err)
		}
		if err := farm.Restart(ctx, 0); err != nil {
			t.Error(err)
		}
	})
	for i := range rounds {
		if i == 2 {
			close(killed)
		}
		if _, err := v.Exec(ctx, "for i := range xs { xs[i] *= 2 }\nrounds++"); err != nil {
			t.Fatal(err)
		}
		if err := v.Push(ctx, "round", i); err != nil {
			t.Fatal(err)
		}
	}
	chaos.Wait()
	got, err := tasks.Gather[float64](ctx, v, "xs")
	if err != nil {
		t.Fatal(err)
	}
	for i := range want {
		want[i] *= 1 << rounds
	}
	if !slices.Equal(got, want) {
		t.Errorf("gathered %v", got)
	}
	ran, err := tasks.Pull[int](ctx, v, "rounds")
	last, err2 := tasks.Pull[int](ctx, v, "round")
	if err := errors.Join(err, err2); err != nil {
		t.Fatal(err)
	}
	for i := range ran {
		if ran[i] != rounds || last[i] != rounds-1 {
			t.Errorf("%s: %d rounds, the last is %d", v.Names()[i], ran[i], last[i])
		}
	}

	// Errors name their namespaces; the others have done it.
	if err := c.Namespace("v5").Delete(ctx, "rounds"); err != nil {
		t.Fatal(err)
	}
	infos, err := v.Exec(ctx, "rounds++\nrounds")
	var failed *tasks.ViewError
	if !errors.As(err, &failed) || len(failed.Failed) != 1 || failed.Failed[0].Namespace != "v5" || string(infos[6].Value) != fmt.Sprint(rounds+1) {
		t.Errorf("%v", err)
	}
	if err := v.Delete(ctx, "round"); err != nil {
		t.Fatal(err)
	}
	if _, err := v.Pull(ctx, "round"); !errors.As(err, &failed) || len(failed.Failed) != 12 || !errors.Is(err, tasks.ErrNotFound) {
		t.Errorf("after delete: %v", err)
	}
}

// A map that is handed over goes on when its client and a node are gone, and
// other commands find it, follow it and read what it gives.
func TestJobsOnARealFarm(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	farm := startFarm(t, dir)
	run := func(stdin string, args ...string) ended { t.Helper(); return runProcess(t, dir, stdin, args...) }
	program := "func Square(n int) int { if n == 666 { panic(\"no\") }; return n * n }\n\nvar total int\n\nfunc Add(n int) int { total += n; return total }\n"
	if err := os.WriteFile(filepath.Join(dir, "squares.go"), []byte(program), 0o600); err != nil {
		t.Fatal(err)
	}
	var in, want strings.Builder
	sum := 0
	for i := range 600 {
		fmt.Fprintln(&in, i)
		fmt.Fprintln(&want, i*i)
		sum += i * i
	}
	r := run(in.String(), "map", "--call", "Square", "--fold", "sums:Add", "--id", "first", "--detach", "squares.go")
	if r.code != 0 || r.out != "first\n" || !strings.Contains(r.err, "600 inputs in ") || !strings.Contains(r.err, "farm job wait first") {
		t.Fatalf("%+v", r)
	}
	if err := farm.Kill(1); err != nil {
		t.Fatal(err)
	}
	run("", "job", "wait", "first").check(t, 0, fmt.Sprintln(sum), "")
	run("", "job", "results", "first").check(t, 0, want.String(), "")
	run("", "job", "show", "-o", "{{.state}} {{.failed}} {{eq .total .succeeded}} {{eq .folded .folds}}", "first").check(t, 0, "succeeded 0 true true\n", "")
	run("", "get", "sums", "total").check(t, 0, fmt.Sprintln(sum), "")
	if err := farm.Restart(t.Context(), 1); err != nil {
		t.Fatal(err)
	}

	// One that fails, one that is cancelled, one that is interrupted while waited for.
	r = run("1\n666\n3\n", "map", "--call", "Square", "--id", "second", "--chunk", "1", "--detach", "squares.go")
	if r.code != 0 {
		t.Fatalf("%+v", r)
	}
	if r := run("", "job", "wait", "second"); r.code != exitFailed || r.out != "" || !strings.Contains(r.err, "task second.1:\n  ") || !strings.Contains(r.err, "job second failed: 2 of 3 tasks succeeded") {
		t.Errorf("%+v", r)
	}
	if r := run("", "job", "results", "second"); r.code != exitFailed || r.out != "1\n" || !strings.Contains(r.err, "panic") {
		t.Errorf("%+v", r)
	}
	slow := "import \"time\"\n\nfunc Slow(n int) int { time.Sleep(time.Minute); return n }\n"
	if err := os.WriteFile(filepath.Join(dir, "slow.go"), []byte(slow), 0o600); err != nil {
		t.Fatal(err)
	}
	if r := run("1\n2\n", "map", "--call", "Slow", "--id", "third", "--detach", "slow.go"); r.code != 0 {
		t.Fatalf("%+v", r)
	}
	if r := run("", "job", "wait", "--timeout", "300ms", "third"); r.code != exitUnreachable {
		t.Errorf("%+v", r)
	}
	x := startTerminal(t, dir, nil, "job", "wait", "third")
	x.expect("] 0/2")
	x.keys("\x03")
	x.expect("job third goes on; farm job wait third")
	x.exit(exitInterrupted)
	if r := run("", "job", "ls", "--state", "running", "-o", "{{.id}}"); r.out != "third\n" {
		t.Errorf("%+v", r)
	}
	run("", "job", "cancel", "-o", "{{.id}}", "third").check(t, 0, "third\n", "")
	if r := run("", "job", "wait", "third"); r.code != exitFailed || !strings.Contains(r.err, "job third cancelled: 0 of 2") {
		t.Errorf("%+v", r)
	}
	run("", "job", "ls", "-o", "{{.id}} {{.state}}").check(t, 0, "third cancelled\nsecond failed\nfirst succeeded\n", "")
	run("", "job", "ls", "--limit", "1", "-o", "{{.id}}").check(t, 0, "third\n", "")
	if r := run("", "job", "show", "nothing"); r.code != exitFailed {
		t.Errorf("%+v", r)
	}
}

// A node that is gone is taken out; one that answers is not.
func TestNodesOnARealFarm(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	farm := startFarm(t, dir)
	run := func(args ...string) ended { t.Helper(); return runProcess(t, dir, "", args...) }
	n := farm.Nodes()
	ids := strings.Fields(run("node", "ls", "-o", "{{.id}}").out)
	slices.Sort(ids)
	if !slices.Equal(ids, []string{n[0].ID, n[1].ID, n[2].ID}) {
		t.Errorf("node ls: %q", ids)
	}
	if r := run("node", "remove", n[2].ID); r.code != exitRefused || !strings.Contains(r.err, "it answers") {
		t.Errorf("one that answers: %+v", r)
	}
	if r := run("node", "remove", "n9"); r.code != exitFailed || !strings.Contains(r.err, "there is no node n9") {
		t.Errorf("none: %+v", r)
	}
	if err := farm.Kill(2); err != nil {
		t.Fatal(err)
	}
	await(t, "it is missed", func() bool {
		return strings.Contains(run("node", "ls", "-o", "{{.id}} {{.reachable}}").out, n[2].ID+" false")
	})
	run("node", "remove", n[2].ID).check(t, 0, "", fmt.Sprintf("farm: node %s is no longer a member\n", n[2].ID))
	if got := run("node", "ls", "-o", "{{.id}}").out; strings.Contains(got, n[2].ID) || strings.Count(got, "\n") != 2 {
		t.Errorf("node ls: %q", got)
	}
	run("exec", "a", "6*7").check(t, 0, "42\n", "")
}

func TestJobCommands(t *testing.T) {
	f := newFakeFarm(t)
	f.jobs = map[string]*api.Job{"bad": {Id: "bad", State: "failed", Total: 3, Succeeded: 2, Failed: 1, FirstError: "bad.1", Created: 1_000_000_000, Finished: 2_000_000_000}}
	f.tasks["bad.1"] = &api.Task{Id: "bad.1", State: "failed", Error: &api.TaskError{Kind: "panic", Message: "no"}}
	run := func(args ...string) ended { t.Helper(); return farmCommand(t.Context(), t, f, "", args...) }
	run("job", "ls").check(t, 0, "j2\topen\t3\t0\t\t1970-01-01T00:00:02Z\t\nj1\tfailed\t8/9\t1\t8/8\t1970-01-01T00:00:01Z\t1.5s\n", "")
	run("job", "ls", "--json").check(t, 0, `{"id":"j2","state":"open","total":0,"succeeded":3,"failed":0,"created":"1970-01-01T00:00:02Z"}`+"\n"+
		`{"id":"j1","state":"failed","total":9,"succeeded":8,"failed":1,"folds":8,"folded":8,"created":"1970-01-01T00:00:01Z","finished":"1970-01-01T00:00:02.5Z"}`+"\n", "")
	run("job", "wait", "good").check(t, 0, "{\n  \"sum\": 10\n}\n", "")
	run("job", "wait", "bad").check(t, 1, "", "farm: task bad.1:\n  panic: no\nfarm: job bad failed: 2 of 3 tasks succeeded, 0 folds failed\n")
	run("job", "wait", "-o", "{{.failed}} of {{.total}}", "bad").check(t, 1, "1 of 3\n", "")
	run("job", "show", "bad").check(t, 0, "id           bad\nstate        failed\ntasks        3\nsucceeded    2\nfailed       1\nfirst error  bad.1\n"+
		"created      1970-01-01T00:00:01Z\nfinished     1970-01-01T00:00:02Z\ntook         1s\n", "")
	run("job", "cancel", "a", "b").check(t, 0, "", "")
	run("job", "results", "good").check(t, 0, "", "")
	run("job", "retry", "bad").check(t, 0, "", "farm: job bad is running: 5/8 inputs done\n")
	f.mu.Lock()
	r := f.calls[len(f.calls)-1].GetRetryJob()
	f.mu.Unlock()
	if r.GetId() != "bad" || r.GetRound() != 1 {
		t.Errorf("asked for %v", r)
	}
	run("job", "retry", "--json", "bad").check(t, 0, `{"id":"bad","state":"running","total":0,"succeeded":0,"failed":0,"inputs":8,"done":5,"retries":1,"created":"1970-01-01T00:00:01Z"}`+"\n", "")
	run("job", "failures", "bad").check(t, 0, "7\t{\"n\":7}\tpanic: no\tbad.4\nfold\t\tcancelled\tbad.0/fold\n", "")
	run("job", "failures", "--json", "bad").check(t, 0, `{"task":"bad.4","position":7,"input":{"n":7},"error":{"kind":"panic","message":"no"}}`+"\n"+
		`{"task":"bad.0/fold","position":0,"fold":true,"error":{"kind":"cancelled","message":""}}`+"\n", "")
}

func TestJobLine(t *testing.T) {
	begun := &tasks.Job{State: "running", Total: 100, Succeeded: 20}
	for want, j := range map[string]*tasks.Job{
		"[============                  ] 40/100  2.0/s  30s left":                              {State: "running", Total: 100, Succeeded: 40},
		"[==============================] 100/100  8.0/s  3 failed":                             {State: "failed", Total: 100, Succeeded: 97, Failed: 3},
		"[=========                     ] 60/200  4.0/s  35s left":                              {State: "running", Total: 100, Succeeded: 40, Folds: 40, Folded: 20},
		"[======                        ] 20/100  0.0/s":                                        begun,
		"40 tasks done, still being submitted  2.0/s":                                           {State: "open", Succeeded: 40},
		"[==============================] 198/198  18/s  2 failed":                              {State: "failed", Total: 100, Succeeded: 98, Failed: 2, Folds: 98, Folded: 98},
		"[===============               ] 500/1000  48/s  10s left  1/3 tasks folded  1 failed": {State: "running", Total: 8, Succeeded: 3, Failed: 1, Folds: 3, Folded: 1, Inputs: 1000, Done: 500},
		"70 inputs done, still being submitted  5.0/s":                                          {State: "open", Succeeded: 2, Inputs: 90, Done: 70},
	} {
		if got := jobLine(begun, j, 10*time.Second); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
