package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"farm/api"
	"farm/internal/cluster"
	"farm/namespace"
	"farm/replica"
	"farm/tasks"
)

var update = flag.Bool("update", false, "write the golden files anew")

// golden compares with a file of testdata.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs (go test -update writes it anew):\n%s", path, got)
	}
}

func TestHelp(t *testing.T) {
	verbs := [][]string{nil}
	for _, cmd := range (&app{}).cli(nil).Commands {
		if cmd.Hidden {
			continue
		}
		verbs = append(verbs, []string{cmd.Name})
		for _, sub := range cmd.Subcommands {
			verbs = append(verbs, []string{cmd.Name, sub.Name})
		}
	}
	for _, verb := range verbs {
		r := farmCommand(t.Context(), t, nil, "", append(verb[:len(verb):len(verb)], "--help")...)
		if r.code != 0 || r.err != "" {
			t.Errorf("%v: exit %d, %q", verb, r.code, r.err)
		}
		golden(t, filepath.Join("help", strings.Join(append([]string{"farm"}, verb...), "-")+".txt"), r.out)
	}
	if r := farmCommand(t.Context(), t, nil, ""); r.code != 0 || !strings.Contains(r.out, "VERB") {
		t.Errorf("without a verb: %+v", r)
	}
}

// Wrong usage ends before anything is connected, says why, and prints no data.
func TestWrongUsage(t *testing.T) {
	for line, want := range map[string]string{
		"sumbit x.go":                          `no verb "sumbit"; did you mean "submit"?`,
		"task shwo x":                          `task has no verb "shwo"; did you mean "show"?`,
		"zzz":                                  `no verb "zzz"`,
		"--json status":                        "flags go after the verb",
		"submit":                               "give one of",
		"submit x.go y.go":                     "usage: farm submit",
		"submit -c 1 x.go":                     "give one of",
		"queue set mail":                       "say what to set",
		"queue set --rate 10 mail":             "is no rate",
		"queue set --burst 3 mail":             "--burst goes with --rate",
		"queue set --concurrency -1 mail":      "cannot be negative",
		"submit --unique-while 1h x.go":        "goes with --unique",
		"submit --label gpu x.go":              "is not KEY=VALUE",
		"submit --unique a --unique-while x y": "queued, running, or a time",
		"submit x.go --ns a":                   `"--ns" comes after the arguments`,
		"submit --nss a x.go":                  "did you mean --ns?",
		"submit --timeout 5 x.go":              "timeout",
		"submit --timeout -5s x.go":            "cannot be negative",
		"submit --arg novalue -c 1":            `"novalue" is not KEY=VALUE`,
		"submit no-such-file.go":               "no such file",
		"exec a":                               "usage: farm exec",
		"repl":                                 "usage: farm repl",
		"repl a b":                             "usage: farm repl",
		"repl --json a":                        "repl has no flag --json",
		"exec a 1 --json":                      `"--json" comes after`,
		"set a x":                              "usage: farm set",
		"set a x text":                         "needs quotes",
		"get a x -j":                           `"-j" comes after`,
		"ns rm":                                "usage: farm ns rm",
		"ns history":                           "usage: farm ns history",
		"ns restore a":                         "--version is needed",
		"ns restore a --version 1":             `"--version" comes after`,
		"ns restore --version x a":             "version",
		"ns fork a":                            "usage: farm ns fork",
		"ns export a":                          "usage: farm ns export",
		"ns import a no-such-file":             "no such file",
		"task ls --state odd":                  "no state",
		"task ls --limit 0":                    "positive",
		"task wait --timeout -1s x":            "negative",
		"task cancel":                          "give IDs",
		"logs -f --json x":                     "do not go together",
		"status now":                           "usage: farm status",
		"map x.go":                             "--call is needed",
		"map --call F":                         "usage: farm map",
		"map --call F --chunk 1000 x.go":       "--chunk is 1 to",
		"map --call F --fold total x.go":       "is not NS:FUNC",
		"map --call F -":                       "cannot both come from standard input",
		"node":                                 "data",
		"node --data x --log-level loud":       "--log-level",
		"node --data x --slots -1":             "slots",
		"node --data x --listen nowhere":       "host:port",
		"node --data x --join here":            "give host:port",
		"node --data x --bootstrap-expect 3":   "join the others",
		"dev -n -1":                            "negative",
		"bench --only nothing":                 "no case",
		"bench --seconds 0":                    "positive",
		"bench --in-flight 100000":             "--in-flight is 1 to",
		"version please":                       "usage: farm version",
		"scatter c x":                          "usage: farm scatter",
		"scatter c x no-such.json":             "no such file",
		"scatter c x testdata/bad.in":          "neither a JSON array nor JSON lines: input line 3",
		"gather c":                             "usage: farm gather",
		"job lss":                              `job has no verb "lss"; did you mean "ls"?`,
		"jbo ls":                               `no verb "jbo"; did you mean "job"?`,
		"job ls --state odd":                   "no state",
		"job ls --limit 0":                     "positive",
		"job wait --timeout -1s x":             "negative",
		"job show":                             "usage: farm job show",
		"job show x --json":                    `"--json" comes after`,
		"job results --josn x":                 "job results has no flag --josn",
		"map --call F --detach --out x y.go":   "do not go together",
		"node lss":                             `node has no verb "lss"; did you mean "ls"?`,
		"node drain":                           "usage: farm node drain",
		"submit --handler h -c 1":              "code or --handler, not both",
		"submit --handler h --ns n":            "it has no --ns",
		"submit --handler h --json-input {":    "is not JSON",
		"submit --json-input 1 -c 1":           "goes with --handler",
		"node remove":                          "usage: farm node remove",
		"completion tcsh":                      "bash, fish, zsh",
		"status -o {{.id":                      "-o: ",
		"status --jsn":                         "did you mean --json?",
		"help nonsense":                        "nonsense",
		"ns ls 'a b' c d":                      "usage: farm ns ls",
		"submit --retries many -c 1":           "invalid value",
		"map --call F --in no-such.jsonl -":    "", // program from standard input is fine; the file is missing
		"map --call Missing --in testdata -":   "declares no function",
		"map --call F --in testdata/bad.in -":  "input line 3 is not JSON",
	} {
		stdin := "func F(n int) int { return n }"
		r := farmCommand(t.Context(), t, nil, stdin, strings.Fields(line)...)
		if r.code != exitUsage || r.out != "" || !strings.Contains(r.err, want) || r.err == "" {
			t.Errorf("farm %s: exit %d, stdout %q, stderr %q; want %q", line, r.code, r.out, r.err, want)
		}
	}
}

func TestArgumentsThatLookLikeFlags(t *testing.T) {
	f := newFakeFarm(t)
	for _, args := range [][]string{{"set", "a", "x", "-5"}, {"set", "--", "a", "x", "-5"}, {"exec", "--", "a", "-x"}} {
		if r := farmCommand(t.Context(), t, f, "", args...); r.code == exitUsage {
			t.Errorf("%q: %s", args, r.err)
		}
	}
	if got := f.vars["a"]["x"]; got != "-5" {
		t.Errorf("x is %q", got)
	}
	if r := farmCommand(t.Context(), t, f, "7", "set", "a", "x", "-"); r.code != 0 || f.vars["a"]["x"] != "7" {
		t.Errorf("from standard input: %+v, %q", r, f.vars["a"]["x"])
	}
	if r := farmCommand(t.Context(), t, f, "", "get", "help", "x"); r.code != exitFailed {
		t.Errorf("a namespace called help: %+v", r)
	}
}

func TestExitCodes(t *testing.T) {
	interrupted, cancel := context.WithCancelCause(t.Context())
	cancel(errInterrupted)
	for _, c := range []struct {
		ctx  context.Context
		err  error
		want int
	}{
		{t.Context(), nil, 0},
		{t.Context(), errors.New("any"), 1},
		{t.Context(), tasks.ErrNotFound, 1},
		{t.Context(), &tasks.TaskError{Kind: "panic"}, 1},
		{t.Context(), &tasks.TaskError{Kind: "compile"}, 1},
		{t.Context(), &tasks.TaskError{Kind: "cancelled"}, 1},
		{t.Context(), usage("wrong"), 2},
		{t.Context(), tasks.ErrInvalid, 2},
		{t.Context(), replica.ErrNodeID, 2},
		{t.Context(), replica.ErrConfig, 2},
		{t.Context(), tasks.ErrUnavailable, 3},
		{t.Context(), tasks.ErrTimeout, 3},
		{t.Context(), tasks.ErrConflict, 4},
		{t.Context(), tasks.ErrLimit, 4},
		{t.Context(), &tasks.TaskError{Kind: "not-allowed"}, 4},
		{t.Context(), &tasks.TaskError{Kind: "conflict"}, 4},
		{t.Context(), &namespace.LimitError{}, 4},
		{t.Context(), replica.ErrDataInUse, 4},
		{t.Context(), replica.ErrNewerFormat, 4},
		{t.Context(), cluster.ErrPort, 4},
		{interrupted, nil, 0},
		{interrupted, context.Canceled, 130},
	} {
		err := c.err
		if err != nil {
			err = fmt.Errorf("doing: %w", err)
		}
		if got := exitCode(c.ctx, err); got != c.want {
			t.Errorf("%v: %d, want %d", err, got, c.want)
		}
	}
}

// checked fails when a command does not end as wanted.
func (r ended) check(t *testing.T, code int, out, err string) {
	t.Helper()
	if r.code != code || r.out != out || r.err != err {
		t.Errorf("exit %d, stdout %q, stderr %q\nwant %d, %q, %q", r.code, r.out, r.err, code, out, err)
	}
}

func TestSubmit(t *testing.T) {
	f := newFakeFarm(t)
	run := func(stdin string, args ...string) ended {
		t.Helper()
		return farmCommand(t.Context(), t, f, stdin, append([]string{"submit"}, args...)...)
	}
	file := filepath.Join(t.TempDir(), "cell.go")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	run("", "-c", "1 // value [1,2]").check(t, 0, "[1,2]\n", "")
	run("2 // value 2", "-").check(t, 0, "2\n", "")
	write("package main\n\nvar x = 1 // print some words\n// value 3")
	run("", file).check(t, 0, "some words\n3\n", "")
	run("", "-c", "1 // fail panic boom").check(t, 1, "", "panic: boom\n\tat cell:2:3\n")
	write("\n1 // fail compile 2:1: wrong\n")
	run("", file).check(t, 1, "", file+":2:1: wrong\n\tat "+file+":2:3\n")
	run("", "-c", "1 // fail limit too much").check(t, 4, "", "limit: too much\n\tat cell:2:3\n")
	run("", "--id", "mine", "--detach", "-c", "1").check(t, 0, "mine\n", "")
	run("", "--id", "mine", "--detach", "--json", "-c", "1").check(t, 0, "{\"id\":\"mine\"}\n", "")
	run("", "--id", "t", "--ns", "a", "--json", "-c", "1 // print hi").check(t, 0,
		`{"id":"t","namespace":"a","state":"succeeded","attempt":1,"worker":"n1","stdout":"hi\n","stderr":"","submitted":"1970-01-01T00:00:01.000000001Z","started":"1970-01-01T00:00:02Z","finished":"1970-01-01T00:00:02.5Z"}`+"\n", "")
	run("", "--id", "u", "--json", "-c", "1 // fail panic x").check(t, 1,
		`{"id":"u","state":"failed","attempt":1,"worker":"n1","stdout":"","stderr":"","error":{"kind":"panic","message":"x","stack":["2:3"]},"submitted":"1970-01-01T00:00:01.000000001Z","started":"1970-01-01T00:00:02Z","finished":"1970-01-01T00:00:02.5Z"}`+"\n", "")

	run("", "--ns", "n", "--arg", "k=v=w", "--timeout", "2s", "--retries", "3", "--priority", "-2", "--delay", "1m", "--id", "all", "-c", "1")
	all := f.submitted()
	got := all[len(all)-1]
	if got.Id != "all" || got.Namespace != "n" || got.Timeout != int64(2*time.Second) || got.Retries != 3 || got.Priority != -2 || got.Delay != int64(time.Minute) || got.Work.Args["k"] != "v=w" {
		t.Errorf("submitted %v", got)
	}
}

// A typo costs nothing: nothing is submitted, not even a connection is made
// for a private task.
func TestSubmitChecksFirst(t *testing.T) {
	r := farmCommand(t.Context(), t, nil, "", "submit", "-c", "x := undefined1\ny")
	r.check(t, 1, "", "cell:1:6: undefined: undefined1\ncell:2:1: undefined: y\n")
	r = farmCommand(t.Context(), t, nil, "", "submit", "-c", `import "os/exec"`)
	if r.code != exitRefused || !strings.Contains(r.err, "cell:1:8: ") {
		t.Errorf("%+v", r)
	}
	f := newFakeFarm(t)
	if r := farmCommand(t.Context(), t, f, "", "exec", "a", "nope"); r.code != exitFailed || len(f.submitted()) != 0 {
		t.Errorf("exec: %+v, %d submitted", r, len(f.submitted()))
	}
	// While another task is on its way in the namespace, only the farm can tell.
	f.mu.Lock()
	f.tasks["other"] = &api.Task{Id: "other", State: "running"}
	f.mu.Unlock()
	if r := farmCommand(t.Context(), t, f, "", "exec", "a", "nope"); r.code != exitDone || len(f.submitted()) != 1 {
		t.Errorf("exec while another runs: %+v, %d submitted", r, len(f.submitted()))
	}
}

func TestInterruptCancelsTheTask(t *testing.T) {
	for _, args := range [][]string{{"submit", "-c", "1 // never"}, {"exec", "a", "1 // never"}, {"exec", "a,b", "1 // never"}} {
		interruptCancels(t, args)
	}
}

func interruptCancels(t *testing.T, args []string) {
	f := newFakeFarm(t)
	ctx, cancel := context.WithCancelCause(t.Context())
	done := make(chan ended)
	go func() { done <- farmCommand(ctx, t, f, "", args...) }()
	for end := time.Now().Add(5 * time.Second); len(f.submitted()) == 0; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("nothing submitted")
		}
	}
	cancel(errInterrupted)
	r := <-done
	if r.code != exitInterrupted {
		t.Errorf("%q: %+v", args, r)
	}
	for _, x := range f.submitted() {
		cancelled := false
		f.mu.Lock()
		for _, c := range f.calls {
			cancelled = cancelled || c.GetCancel().GetId() == x.Id
		}
		f.mu.Unlock()
		if !cancelled || !strings.Contains(r.err, "cancelled task "+x.Id) {
			t.Errorf("%q: task %s was not cancelled: %+v", args, x.Id, r)
		}
	}
}

func TestVariables(t *testing.T) {
	f := newFakeFarm(t)
	run := func(args ...string) ended { t.Helper(); return farmCommand(t.Context(), t, f, "", args...) }
	run("set", "c0,c1,d", "x", "1").check(t, 0, "", "")
	run("set", "c*", "x", "2").check(t, 0, "", "")
	run("get", "c0", "x").check(t, 0, "2\n", "")
	run("get", "d,c?", "x").check(t, 0, "d: 1\nc0: 2\nc1: 2\n", "")
	run("get", "--json", "d", "x").check(t, 0, `{"namespace":"d","key":"x","value":1,"type":"int","version":3}`+"\n", "")
	run("get", "d", "y").check(t, 1, "", "farm: get y in d: not found: namespace d has no variable y\n")
	run("get", "z*", "y").check(t, 1, "", "farm: not found: no namespace matches \"z*\"\n")
	run("get", "a,,b", "y").check(t, 2, "", "farm: invalid: \"a,,b\" is not a list of namespaces\n")
	run("del", "c*", "x").check(t, 0, "", "")
	run("get", "c0", "x").check(t, 1, "", "farm: get x in c0: not found: namespace c0 has no variable x\n")
	run("del", "d", "used").check(t, 4, "", "farm: delete used in d: conflict: used is in use by f\n")
	run("set", "d", "func", "1").check(t, 2, "", "farm: set func in d: invalid: func is not a name\n")
	run("ns", "ls").check(t, 0, "c0\t2\t0\t99\t0\t\t\nc1\t2\t0\t99\t0\t\t\nd\t2\t1\t99\t0\t\t\n", "")
	run("ns", "ls", "--json", "d").check(t, 0, `{"name":"d","version":2,"epoch":0,"items":1,"bytes":99,"queue":0}`+"\n", "")
	run("ns", "show", "d").check(t, 0, "import \"strings\"\nfunc f() {}\nx\tint\t9\t2\n", "farm: namespace d, version 2, 0 bytes, 0 tasks queued\n")
	run("get", "--type", "d", "x").check(t, 0, "int\n", "")
	run("get", "--type", "d,c?", "x").check(t, 1, "d: int\n", "farm: get x in c0: not found: namespace c0 has no variable x\n"+
		"farm: get x in c1: not found: namespace c1 has no variable x\nfarm: 2 of 3 failed\n")
	run("ns", "history", "d").check(t, 0, "3\t1970-01-01T00:00:02.5Z\t1\ttrue\tt3\n2\t1970-01-01T00:00:01Z\t4\tfalse\tt2\n", "")
	run("ns", "history", "--json", "d").check(t, 0, `{"version":3,"made":"1970-01-01T00:00:02.5Z","task":"t3","changed":1,"restorable":true}`+"\n"+
		`{"version":2,"made":"1970-01-01T00:00:01Z","task":"t2","changed":4,"restorable":false}`+"\n", "")
	run("ns", "restore", "--version", "3", "d").check(t, 0, "", "")
	run("ns", "restore", "--version", "2", "d").check(t, 1, "", "farm: restore d: not-found: no longer kept\n")
	run("ns", "fork", "d", "e").check(t, 0, "", "")
	run("get", "e", "x").check(t, 0, "1\n", "")
	run("ns", "fork", "d", "e").check(t, 4, "", "farm: fork d to e: conflict: it exists (farm ns rm e removes it)\n")
	run("ns", "rm", "e").check(t, 0, "", "")
	run("ns", "rm", "c*", "d").check(t, 0, "", "")
	run("ns", "ls").check(t, 0, "", "")
}

func TestExecInMany(t *testing.T) {
	f := newFakeFarm(t)
	run := func(args ...string) ended { t.Helper(); return farmCommand(t.Context(), t, f, "", args...) }
	run("exec", "a", "1 // value 5").check(t, 0, "5\n", "")
	run("exec", "b,a,b", "1 // print hello\n// value 5").check(t, 0, "b: hello\nb: 5\na: hello\na: 5\n", "")
	run("exec", "b,a", "1 // fail panic no").check(t, 1, "", "b: panic: no\nb: \tat cell:2:3\na: panic: no\na: \tat cell:2:3\n")
}

func TestTaskVerbs(t *testing.T) {
	f := newFakeFarm(t)
	run := func(args ...string) ended { t.Helper(); return farmCommand(t.Context(), t, f, "", args...) }
	run("submit", "--detach", "--id", "a", "-c", "1 // value 5\n// print out")
	run("submit", "--detach", "--id", "b", "-c", "1 // fail panic no")
	run("submit", "--detach", "--id", "c", "-c", "1 // never")
	run("task", "wait", "a").check(t, 0, "5\n", "")
	run("task", "wait", "b").check(t, 1, "", "panic: no\n\tat cell:2:3\n")
	run("task", "wait", "d").check(t, 1, "", "farm: wait for d: not found: there is no task d\n")
	if r := run("task", "wait", "--timeout", "20ms", "c"); r.code != exitUnreachable || !strings.Contains(r.err, "timed out") {
		t.Errorf("wait with a timeout: %+v", r)
	}
	run("task", "ls").check(t, 0, "a\tsucceeded\t\t\t1\tn1\t1970-01-01T00:00:01.000000001Z\t500ms\t5\n"+
		"b\tfailed\t\t\t1\tn1\t1970-01-01T00:00:01.000000001Z\t500ms\tpanic: no\n"+
		"c\trunning\t\t\t1\tn1\t1970-01-01T00:00:01.000000001Z\t\t\n", "")
	run("logs", "a").check(t, 0, "out\n", "")
	run("task", "cancel", "a", "b").check(t, 0, "", "")
	run("task", "cancel", "d").check(t, 1, "", "farm: cancel d: not found: there is no task d\n")
	if r := run("task", "show", "a"); r.code != 0 || !strings.Contains(r.out, "value      5\n") {
		t.Errorf("show: %+v", r)
	}
	run("submit", "--detach", "--id", "a/1", "-c", "1 // value 5")
	if r := run("task", "show", "a/1"); !strings.Contains(r.out, "parent     a\n") {
		t.Errorf("show of a child: %+v", r)
	}
	var v struct {
		State, Parent string
		Error         *struct{ Kind string }
	}
	if r := run("task", "show", "--json", "a/1"); json.Unmarshal([]byte(r.out), &v) != nil || v.Parent != "a" {
		t.Errorf("show --json of a child: %+v", r)
	}
	if r := run("task", "show", "--json", "b"); json.Unmarshal([]byte(r.out), &v) != nil || v.State != "failed" || v.Error.Kind != "panic" {
		t.Errorf("show --json: %+v", r)
	}
}

func TestStatus(t *testing.T) {
	f := newFakeFarm(t)
	farmCommand(t.Context(), t, f, "", "status", "--json").check(t, 0, `{"leader":"n1","term":3,"nodes":[{"id":"n1","raft":"127.0.0.1:1","api":"","pid":123,"role":"leader","voter":true,"applied":812,"hash":"abcd","reachable":true,"refused":0,"withdrawn":0,"goroutines":0,"labels":{"gpu":"1"}}],`+
		`"workers":[{"id":"n1","node":"n1","slots":2,"busy":1,"assigned":0,"state":"ready","isolation":"full","labels":{"gpu":"1"}}],"tasks":{"queued":0,"running":1,"succeeded":9,"failed":0,"cancelled":0},"queues":[]}`+"\n", "")
	farmCommand(t.Context(), t, f, "", "status").check(t, 0, "leader n1, term 3\ntasks  0 queued, 1 running, 9 succeeded, 0 failed, 0 cancelled\n\n"+
		"n1\tleader\tyes\t\t127.0.0.1:1\t123\t812\tabcd\tyes\tgpu=1\n\nn1\tn1\t2\t1\tready\tfull\tgpu=1\n", "")
}

func TestMapCommand(t *testing.T) {
	f := newFakeFarm(t)
	dir := t.TempDir()
	program, in, out := filepath.Join(dir, "p.go"), filepath.Join(dir, "in.jsonl"), filepath.Join(dir, "out.jsonl")
	for path, text := range map[string]string{
		program: "package p\n\nfunc F(n int) []int { return []int{n} }\nfunc G(n []int) int { return 1 }\n",
		in:      "1\n2\n\n 3 \n4",
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	run := func(stdin string, args ...string) ended {
		t.Helper()
		return farmCommand(t.Context(), t, f, stdin, append([]string{"map", "--call", "F"}, args...)...)
	}
	want := "[1]\n[2]\n[3]\n[4]\n"
	run("", "--in", in, program).check(t, 0, want, "")
	run("1\n2\n3\n4\n", program).check(t, 0, want, "")
	run("", "--in", in, "--out", out, program).check(t, 0, "", "")
	if b, err := os.ReadFile(out); err != nil || string(b) != want {
		t.Errorf("--out: %q, %v", b, err)
	}
	run("", "--in", in, "--fold", "ns:G", program).check(t, 0, "{\n  \"sum\": 10\n}\n", "")
	before := len(f.submitted())
	r := run("1\n2\n{\n", program)
	if r.code != exitUsage || !strings.Contains(r.err, "input line 3 is not JSON") {
		t.Errorf("bad input: %+v", r)
	}
	f.mu.Lock()
	cancelled := f.calls[len(f.calls)-1].GetCancelJob() != nil
	f.mu.Unlock()
	if !cancelled {
		t.Error("bad input: the job was not cancelled")
	}
	for _, s := range f.submitted()[before:] {
		if len(s.Work.Inputs) > 2 {
			t.Error("the bad line was submitted")
		}
	}
	if r := run("", "--in", in, "--fold", "ns:H", program); r.code != exitUsage || !strings.Contains(r.err, "declares no function H") {
		t.Errorf("%+v", r)
	}
}

func TestProgressLine(t *testing.T) {
	for _, c := range []struct {
		done, submitted, total int64
		passed                 time.Duration
		want                   string
	}{
		{0, 10, 100, 0, "[                              ] 0/100  0.0/s"},
		{50, 60, 100, 10 * time.Second, "[===============               ] 50/100  5.0/s  10s left"},
		{100, 100, 100, time.Second, "[==============================] 100/100  waiting for the end of the job"},
		{3, 10, 0, time.Minute, "3 of 10 read so far  3.0/min"},
	} {
		if got := progressLine(c.done, c.submitted, c.total, c.passed, "waiting for the end of the job"); got != c.want {
			t.Errorf("%q, want %q", got, c.want)
		}
	}
}

func TestTableOnATerminal(t *testing.T) {
	var b strings.Builder
	s := &streams{out: &b, outTerm: true}
	tab := s.table("NAME", "N")
	tab.row("long\tname", 1)
	tab.row("", 22)
	tab.print()
	if want := "NAME       N\nlong name  1\n-          22\n"; b.String() != want {
		t.Errorf("%q", b.String())
	}
}

func TestOutputShowsEachByteOnce(t *testing.T) {
	for _, c := range []struct {
		name           string
		live           []tasks.Output
		attempt        int
		kept, out, err string
	}{
		{"nothing live", nil, 1, "all\n", "all\n", ""},
		{"part live", []tasks.Output{{Attempt: 1, Data: []byte("al")}}, 1, "all\n", "all\n", ""},
		{"all live, more than kept", []tasks.Output{{Attempt: 1, Data: []byte("abc\n")}}, 1, "ab", "abc\n", ""},
		{"no newline at the end", []tasks.Output{{Attempt: 1, Data: []byte("abc")}}, 1, "abc", "abc\n", ""},
		{"second attempt", []tasks.Output{{Attempt: 1, Data: []byte("one")}, {Attempt: 2, Data: []byte("tw")}, {Attempt: 1, Data: []byte("late")}}, 2, "two", "one\ntwo\n", "farm: attempt 2\n"},
		{"last attempt not seen", []tasks.Output{{Attempt: 1, Data: []byte("one\n")}}, 2, "two\n", "one\ntwo\n", ""},
		{"beginning missed", []tasks.Output{{Attempt: 1, Data: []byte("end\n")}}, 1, "begin end\n", "end\n", "farm: some output was missed while reconnecting; farm logs shows all of it\n"},
	} {
		var out, errs strings.Builder
		o := newOutput(&app{io: streams{out: &out, err: &errs}})
		for i := range c.live {
			o.add(&c.live[i])
		}
		o.finish(&tasks.Info{Attempt: c.attempt, Stdout: c.kept})
		if out.String() != c.out || errs.String() != c.err {
			t.Errorf("%s: %q, %q", c.name, out.String(), errs.String())
		}
	}
}

func TestSplitAddrs(t *testing.T) {
	if got, err := splitAddrs(" a:1, ,b:2"); err != nil || strings.Join(got, "|") != "a:1|b:2" {
		t.Errorf("%q, %v", got, err)
	}
	for _, bad := range []string{"", " , ", "host"} {
		if _, err := splitAddrs(bad); err == nil {
			t.Errorf("%q is accepted", bad)
		}
	}
}

// An exported file is read back as it was written; what is none is refused
// before anything is connected.
func TestExportAndImport(t *testing.T) {
	f := newFakeFarm(t)
	run := func(stdin string, args ...string) ended {
		t.Helper()
		return farmCommand(t.Context(), t, f, stdin, args...)
	}
	delta, err := namespace.SetJSON(nil, "n", []byte("42"))
	if err != nil {
		t.Fatal(err)
	}
	f.vars["a"] = map[string]string{}
	for k, v := range delta.Put {
		f.stored["a"] = append(f.stored["a"], &api.Item{Key: k, Value: v, Version: 1})
	}
	file := filepath.Join(t.TempDir(), "a.farm")
	run("", "ns", "export", "a", file).check(t, 0, "", "farm: namespace a, version 2, 1 items, is in "+file+"\n")
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	run("", "ns", "export", "a", "-").check(t, 0, string(text), "")
	run("", "ns", "export", "--json", "a", file).check(t, 0, fmt.Sprintf(`{"namespace":"a","version":2,"items":1,"bytes":%d,"file":%q}`+"\n", len(text), file), "")
	run("", "ns", "import", "b", file).check(t, 0, "", "")
	run(string(text), "ns", "import", "c", "-").check(t, 0, "", "")
	run("", "ns", "export", "b", file+"2").check(t, 0, "", "farm: namespace b, version 2, 1 items, is in "+file+"2\n")
	for _, ns := range []string{"b", "c"} {
		if len(f.stored[ns]) != 1 || f.stored[ns][0].Key != "v/n" || string(f.stored[ns][0].Value) != string(delta.Put["v/n"]) {
			t.Errorf("%s has %v", ns, f.stored[ns])
		}
	}
	run("", "ns", "export", "nothing", file).check(t, 1, "", "farm: namespace nothing: not found: there is no namespace nothing\n")
	var bad strings.Builder
	if err := (&namespace.Export{Name: "a", Items: namespace.Items{"x/n": {1}}}).Write(&bad); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"", "{}", string(text[:len(text)-1]), bad.String()} {
		if r := run(text, "ns", "import", "d", "-"); r.code != exitRefused || f.stored["d"] != nil {
			t.Errorf("%q: %+v", text, r)
		}
	}
}
