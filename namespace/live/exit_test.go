package live

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	ns "farm/namespace"
)

// TestExit proves what os.Exit does wherever it is called: it ends the cell with what was done so far,
// or fails it; no deferred function runs, nothing is printed after it, and the process goes on.
func TestExit(t *testing.T) { onEngines(t, exit) }

func exit(t *testing.T, engine string) {
	const defs = "import (\"os\"; \"fmt\"; \"sort\")\nn := 1\nfunc exit(c int) { defer func() { recover(); n = 50 }(); defer fmt.Println(\"deferred\"); n++; fmt.Print(\"out\"); os.Exit(c) }"
	for _, c := range []struct {
		name, src string
		code      int
		n         string
	}{
		{"in the cell", "n = 7\nos.Exit(0)\nn = 8", 0, "7"},
		{"in a function", "exit(0)\nn = 8", 0, "2"},
		{"with a code", "exit(9)", 9, "1"},
		{"in a deferred function", "func() { defer exit(0); panic(1) }()", 0, "2"},
		{"in a goroutine", "go exit(0)\nselect {}", 0, "2"},
		{"in a goroutine, with a code", "c := make(chan int)\ngo exit(4)\n<-c", 4, "1"},
		{"below native code", "xs := []int{2, 1}\nsort.Slice(xs, func(i, j int) bool { exit(0); return true })", 0, "2"},
		{"below native code that recovers", "import \"fmt\"\ntype T int\nfunc (T) String() string { exit(0); return \"\" }\nfmt.Sprint(T(1))\nn = 9", 0, "2"},
		{"while others run", "go func() { for { } }()\ngo func() { select {} }()\ngo func() { c := make(chan int); c <- 1 }()\nexit(0)", 0, "2"},
		{"in many", "for range 20 { go exit(0) }\nselect {}", 0, ""},
		{"while the cell runs on", "go exit(0)\nfor { }", 0, "2"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var out bytes.Buffer
			ctx := newOn(t, engine, Options{Stdout: &out})
			mustRun(t, ctx, defs)
			_, err := run(t, ctx, c.src)
			var exit *ns.ExitError
			if c.code == 0 && err != nil || c.code != 0 && (!errors.As(err, &exit) || exit.Code != c.code) {
				t.Fatalf("error %v, want code %d", err, c.code)
			}
			if ctx.Spent() != (engine == ns.EngineYaegi) {
				t.Error("a goroutine waits for ever and the context does not tell, or it tells of none")
			}
			printed := out.String()
			if strings.Contains(printed, "deferred") {
				t.Errorf("printed %q after the exit", printed)
			}
			if r := mustRun(t, ctx, "n"); c.n != "" && string(r.JSON) != c.n {
				t.Errorf("n is %s, want %s", r.JSON, c.n)
			}
		})
	}
}

// TestExitOfCall proves that a function called for its result fails when it ends the cell.
func TestExitOfCall(t *testing.T) { onEngines(t, exitOfCall) }

func exitOfCall(t *testing.T, engine string) {
	c := newOn(t, engine, Options{})
	mustRun(t, c, "import \"os\"\nfunc f() int { os.Exit(0); return 1 }")
	_, err := c.Run(t.Context(), ns.Run{Call: "f"})
	if _, ok := errors.AsType[*ns.ExitError](err); !ok {
		t.Errorf("%T: %v", err, err)
	}
	_, err = c.Run(t.Context(), ns.Run{Source: "os.Exit(0)", Call: "f"})
	if _, ok := errors.AsType[*ns.ExitError](err); !ok {
		t.Errorf("a call after the end: %T: %v", err, err)
	}
}

// TestProgramEndsItsGoroutines proves that the goroutines of a program end with main, as in Go, and that
// what they did before is kept.
func TestProgramEndsItsGoroutines(t *testing.T) { onEngines(t, programEndsItsGoroutines) }

func programEndsItsGoroutines(t *testing.T, engine string) {
	for name, body := range map[string]string{
		"loop":    "for { }",
		"receive": "<-c",
		"send":    "c <- 1",
		"select":  "select { case <-c: case c <- 1: }",
		"range":   "for range c { }",
	} {
		t.Run(name, func(t *testing.T) {
			c := newOn(t, engine, Options{})
			mustRun(t, c, "package main\nvar n int\nfunc main() {\n\tready, c := make(chan bool), make(chan int)\n\t_ = c\n\tgo func() { n = 3; ready <- true; "+body+" }()\n\t<-ready\n}")
			if r := mustRun(t, c, "n"); string(r.JSON) != "3" {
				t.Errorf("n is %s", r.JSON)
			}
		})
	}
	c := newOn(t, engine, Options{})
	_, err := run(t, c, "package main\nimport \"io\"\nfunc main() {\n\tr, w := io.Pipe()\n\tgo func() { w.Write([]byte(\"ab\")) }()\n\tr.Read(make([]byte, 1))\n}")
	if _, ok := errors.AsType[*ns.GoroutineError](err); !ok {
		t.Errorf("a goroutine in native code: %T: %v", err, err)
	}
}

// TestSelectIsNoEnd proves that a goroutine that waits in a select is one that still runs, and goes no
// further when the cell has returned.
func TestSelectIsNoEnd(t *testing.T) { onEngines(t, selectIsNoEnd) }

func selectIsNoEnd(t *testing.T, engine string) {
	for _, src := range []string{"go func() { select {} }()", "import \"fmt\"\nc := make(chan int)\ngo func() { select { case <-c: }; fmt.Print(\"on\") }()\nc = nil"} {
		var out bytes.Buffer
		c := newOn(t, engine, Options{Stdout: &out})
		_, err := run(t, c, src)
		if _, ok := errors.AsType[*ns.GoroutineError](err); !ok || c.Spent() != (engine == ns.EngineYaegi) || out.Len() > 0 {
			t.Errorf("%s: %T: %v, printed %q", src, err, err, out.String())
		}
	}
}

// TestOutputOfMembers proves where os.Stdout, os.Stderr and log write, and that the time is in a log.
func TestOutputOfMembers(t *testing.T) { onEngines(t, outputOfMembers) }

func outputOfMembers(t *testing.T, engine string) {
	var out, errs bytes.Buffer
	c := newOn(t, engine, Options{Stdout: &out, Stderr: &errs})
	mustRun(t, c, "import (\"os\"; \"fmt\"; \"log\")\ntype T struct{}\nfunc (T) String() string { return \"tee\" }\nfmt.Fprintln(os.Stdout, \"a\", T{})\nos.Stdout.WriteString(\"b\\n\")\nfmt.Fprint(os.Stderr, \"c\\n\")\nlog.SetFlags(0)\nlog.Print(\"d\", T{})")
	if out.String() != "a tee\nb\n" || errs.String() != "c\nd tee\n" && errs.String() != "c\ndtee\n" {
		t.Errorf("wrote %q and %q", out.String(), errs.String())
	}
	errs.Reset()
	mustRun(t, c, "log.Print(\"e\")") // with the flags of a new process
	if _, err := time.Parse(time.DateTime, strings.ReplaceAll(strings.TrimSuffix(errs.String(), " e\n"), "/", "-")); err != nil {
		t.Errorf("logged %q: %v", errs.String(), err)
	}
}

// TestHostKeepsProcess proves that what code does to the members of the host stays in its run.
func TestHostKeepsProcess(t *testing.T) { onEngines(t, hostKeepsProcess) }

func hostKeepsProcess(t *testing.T, engine string) {
	c := newOn(t, engine, Options{})
	mustRun(t, c, "import (\"os\"; \"runtime\")\nos.Args[0] = \"changed\"\nruntime.GOMAXPROCS(77)")
	if r := mustRun(t, c, "os.Args[0]"); string(r.JSON) != `"`+programName+`"` {
		t.Errorf("os.Args[0] is %s", r.JSON)
	}
	if r := mustRun(t, c, "runtime.GOMAXPROCS(0)"); string(r.JSON) == "77" {
		t.Error("GOMAXPROCS outlived its cell")
	}
}
