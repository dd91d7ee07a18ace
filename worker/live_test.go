package worker

import (
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"farm/api"
	"farm/namespace"
)

// cells makes a worker's children run cells.
func cells(c *Config) { c.Command = nil }

func (l *leader) work(task string, w *api.Work) *api.Instruction {
	return assign(&api.Assign{Task: task, Attempt: 1, Work: encode(w), Order: l.nextOrder()})
}

// on makes a task ask for an engine.
func on(engine string, in *api.Instruction) *api.Instruction {
	a := in.GetAssign()
	w := &api.Work{}
	if err := proto.Unmarshal(a.Work, w); err != nil {
		panic(err) // it was made here
	}
	w.Engine = engine
	a.Work = encode(w)
	return in
}

func TestCells(t *testing.T) {
	l := start(t, cells)
	l.onReport = settle
	l.say(l.private("a", "import \"fmt\"\nx := 20\nfmt.Println(\"hello\")\nx + 1"))
	if o := l.report("a", 1).Outcome; string(o.Value) != "21" || o.Type != "int" || string(o.Stdout) != "hello\n" {
		t.Errorf("%v", o)
	}
	for i, src := range []string{"n := 1", "n++", "func double() { n *= 2 }", "double()", "n"} {
		var load *api.Load
		if i == 0 {
			load = loadOf(0, 0)
		}
		l.say(on("yaegi", l.in("s", 1, fmt.Sprint("b", i), src, load)))
	}
	if c := l.report("b4", 1); string(c.Outcome.Value) != "4" || c.Base != 4 || len(c.Put) != 0 {
		t.Errorf("%v", c)
	}
	// The same on the other engine, in a namespace that is new, then in one that is not.
	l.say(on("ssa", l.in("m", 1, "c0", "type F func(int) F\nn := 3\nn", loadOf(0, 0))), l.in("m", 1, "c1", "n *= 2\nn", nil), on("yaegi", l.in("m", 1, "c2", "n", nil)))
	if c := l.report("c0", 1); string(c.Outcome.Value) != "3" || len(c.Put) != 3 {
		t.Errorf("%v", c)
	}
	if c := l.report("c1", 1); string(c.Outcome.Value) != "6" || c.Base != 1 {
		t.Errorf("%v", c)
	}
	if c := l.report("c2", 1); c.Outcome.Error.GetKind() != kindConflict || c.Ending != api.Ending_PERMANENT || !strings.Contains(c.Outcome.Error.Message, "engine ssa") {
		t.Errorf("%v", c)
	}
}

// TestMachineFailures proves what becomes of cells of the engine ssa that fail, and that the next one runs:
// in the same child, unless it died.
func TestMachineFailures(t *testing.T) {
	l := start(t, func(c *Config) {
		cells(c)
		c.Limits.MemoryBytes = 512 << 20
	})
	l.onReport = settle
	for _, tc := range []struct {
		name, source, kind, message string
		ending                      api.Ending
	}{
		{"panic", "type E struct{ n int }\nfunc (e E) Error() string { return \"boom\" }\npanic(E{1})", kindPanic, "boom", api.Ending_FAILURE},
		{"goroutine-panic", "done := make(chan int)\ngo func() { defer close(done); panic(\"boom\") }()\n<-done", kindPanic, "boom", api.Ending_FAILURE},
		{"goroutine", "go func() { for { } }()", kindGoroutine, "still running", api.Ending_FAILURE},
		{"stack", "func f(n int) int { return f(n+1) + 1 }\nf(0)", kindLimit, "stack overflow: calls within each other, bytes: more than the limit of 67108864", api.Ending_FAILURE},
		{"native stack", "import \"fmt\"\ntype T int\nfunc (t T) String() string { return fmt.Sprint(t + 1) }\nfmt.Sprint(T(1))", kindLimit, "compiled code", api.Ending_FAILURE},
		{"memory", "var all [][]byte\nfor {\n\tb := make([]byte, 1<<24)\n\tfor i := 0; i < len(b); i += 4096 {\n\t\tb[i] = 1\n\t}\n\tall = append(all, b)\n}", kindMemory, "limit 512 MiB", api.Ending_FAILURE},
		{"loop", "for {\n}", kindTimeout, "timed out after 1s", api.Ending_FAILURE},
		{"lock", "import \"sync\"\nvar mu sync.Mutex\nmu.Lock()\nmu.Lock()", kindTimeout, "timed out after 1s", api.Ending_FAILURE},
		{"exit", "import \"os\"\ngo os.Exit(3)\nselect {}", kindExit, "code 3", api.Ending_FAILURE},
		{"maps", "m := map[int]int{}\nfor range 8 { go func() { for { m[1]++ } }() }\nfor { m[2]++ }", kindPanic, "concurrent map", api.Ending_FAILURE},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if raceDetector && (tc.kind == kindMemory || tc.kind == kindLimit || tc.kind == kindCrash) {
				t.Skip("the race detector takes more memory than a child may have, and ends a process for a race")
			}
			a := on("ssa", l.private(tc.name, tc.source))
			a.GetAssign().Timeout = int64(20 * time.Second)
			if tc.kind == kindTimeout {
				a.GetAssign().Timeout = int64(time.Second)
			}
			l.say(a, on("ssa", l.private(tc.name+"-next", "1 + 1")))
			c := l.report(tc.name, 1)
			if c.Ending != tc.ending || c.Outcome.Error.GetKind() != tc.kind || !strings.Contains(c.Outcome.Error.GetMessage(), tc.message) {
				t.Errorf("ending %v, error %v, stderr %q", c.Ending, c.Outcome.Error, c.Outcome.Stderr)
			}
			if n := l.report(tc.name+"-next", 1); string(n.Outcome.Value) != "2" {
				t.Errorf("the next: %v", n)
			}
		})
	}
}

// TestCellFailures is the same for the interpreter, of which more of them cost the child.
func TestCellFailures(t *testing.T) {
	l := start(t, func(c *Config) {
		cells(c)
		c.Limits.MemoryBytes = 512 << 20
	})
	l.onReport = settle
	for _, tc := range []struct {
		name, source, kind, message string
		ending                      api.Ending
	}{
		{"compile", "x := y", kindCompile, "undefined: y", api.Ending_PERMANENT},
		{"not-allowed", "import \"os\"\nos.Remove(\"x\")", kindNotAllowed, "os", api.Ending_PERMANENT},
		{"panic", "panic(\"boom\")", kindPanic, "boom", api.Ending_FAILURE},
		{"goroutine-panic", "done := make(chan int)\ngo func() { defer close(done); panic(\"boom\") }()\n<-done", kindPanic, "boom", api.Ending_FAILURE},
		{"stack", "func f(n int) int { return f(n+1) + 1 }\nf(0)", kindCrash, "stack overflow", api.Ending_FAILURE},
		{"memory", "var all [][]byte\nfor {\n\tb := make([]byte, 1<<24)\n\tfor i := 0; i < len(b); i += 4096 {\n\t\tb[i] = 1\n\t}\n\tall = append(all, b)\n}", kindMemory, "limit 512 MiB", api.Ending_FAILURE},
		{"huge", "var a [1 << 40]byte\na[0]", kindMemory, "limit 512 MiB", api.Ending_FAILURE},
		{"loop", "for {\n}", kindTimeout, "timed out after 1s", api.Ending_FAILURE},
		{"lock", "import \"sync\"\nvar mu sync.Mutex\nmu.Lock()\nmu.Lock()", kindTimeout, "timed out after 1s", api.Ending_FAILURE},
		{"limit", "import \"strings\"\nstrings.Repeat(\"x\", 1<<20)", kindLimit, "result", api.Ending_FAILURE},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if raceDetector && (tc.name == "stack" || tc.kind == kindMemory) {
				t.Skip("the race detector takes more memory than a child may have")
			}
			a := on("yaegi", l.private(tc.name, tc.source))
			a.GetAssign().Timeout = int64(20 * time.Second)
			if tc.kind == kindTimeout {
				a.GetAssign().Timeout = int64(time.Second)
			}
			began := time.Now()
			l.say(a, on("yaegi", l.private(tc.name+"-next", "1 + 1")))
			c := l.report(tc.name, 1)
			if c.Ending != tc.ending || c.Outcome.Error.GetKind() != tc.kind || !strings.Contains(c.Outcome.Error.GetMessage(), tc.message) {
				t.Errorf("ending %v, error %v, stderr %q", c.Ending, c.Outcome.Error, c.Outcome.Stderr)
			}
			if n := l.report(tc.name+"-next", 1); string(n.Outcome.Value) != "2" {
				t.Errorf("the next: %v", n)
			}
			t.Log(time.Since(began).Round(time.Millisecond))
		})
	}
	l.say(l.in("s", 1, "c", "c := make(chan int)", loadOf(0, 0)))
	if c := l.report("c", 1); c.Outcome.Error.GetKind() != kindUnserializable {
		t.Errorf("%v", c)
	}
	l.say(l.in("s", 1, "d", "import \"time\"\ngo func() { time.Sleep(time.Hour) }()", nil))
	if c := l.report("d", 1); c.Outcome.Error.GetKind() != kindGoroutine {
		t.Errorf("%v", c)
	}
}

const squares = `
import "errors"
func square(n int) (int, error) {
	if n < 0 {
		return 0, errors.New("negative")
	}
	return n * n, nil
}
var total int
var seen int
func add(n int) int { total += n; seen++; return total }
`

func (l *leader) jobTask(task string, spec *api.JobSpec, w *api.Work) *api.Instruction {
	return assign(&api.Assign{Task: task, Attempt: 1, Work: encode(w), Order: l.nextOrder(), Job: "j", Spec: spec})
}

func (l *leader) fold(task string, load *api.Load, results ...string) *api.Instruction {
	a := &api.Assign{Task: task, Attempt: 1, Namespace: "sums", Epoch: 1, Order: l.nextOrder(), Job: "j", Fold: true, Load: load}
	for _, r := range results {
		a.Results = append(a.Results, []byte(r))
	}
	return assign(a)
}

func inputs(list ...string) (b [][]byte) {
	for _, s := range list {
		b = append(b, []byte(s))
	}
	return b
}

func TestJob(t *testing.T) {
	l := start(t, cells)
	l.onReport = settle
	spec := &api.JobSpec{Source: squares, Call: "square", FoldNamespace: "sums", FoldCall: "add"}
	l.say(
		l.jobTask("a", spec, &api.Work{Inputs: inputs("1", "2", "3")}),
		l.jobTask("b", nil, &api.Work{Inputs: inputs("4", "-5", "6"), First: 100}),
		l.fold("a/fold", loadOf(0, 0), "1", "4", "9"),
		l.fold("b/fold", nil, "16"),
		l.fold("c/fold", nil),
	)
	if got := fmt.Sprintf("%s", l.report("a", 1).Outcome.Results); got != "[1 4 9]" {
		t.Errorf("results %s", got)
	}
	if c := l.report("b", 1); c.Ending != api.Ending_FAILURE || c.Outcome.Error.Kind != kindCall || !strings.Contains(c.Outcome.Error.Message, "input 101: negative") {
		t.Errorf("%v", c)
	}
	if c := l.report("a/fold", 1); string(c.Outcome.Value) != "14" || c.Base != 0 {
		t.Errorf("%v", c)
	}
	if c := l.report("b/fold", 1); string(c.Outcome.Value) != "30" || c.Base != 1 {
		t.Errorf("%v", c)
	}
	if c := l.report("c/fold", 1); c.Ending != api.Ending_SUCCESS || len(c.Put) != 0 {
		t.Errorf("%v", c)
	}
	// On a child that never saw the program, and with a later version of it:
	// the variables stay as they are.
	l.say(l.in("sums", 1, "kill", "func forever() { forever() }\nforever()", nil))
	l.report("kill", 1)
	l.say(l.fold("d/fold", nil, "2"))
	if c := l.report("d/fold", 1); string(c.Outcome.Value) != "32" {
		t.Errorf("%v", c)
	}
	newer := &api.JobSpec{Source: strings.Replace(squares, "total += n", "total -= n", 1), FoldCall: "add"}
	f := l.fold("e/fold", nil, "30")
	f.GetAssign().Job, f.GetAssign().Spec = "j2", newer
	l.say(f, l.in("sums", 1, "seen", "seen", nil))
	if c := l.report("e/fold", 1); string(c.Outcome.Value) != "2" {
		t.Errorf("%v", c)
	}
	if c := l.report("seen", 1); string(c.Outcome.Value) != "6" {
		t.Errorf("%v", c)
	}
}

// A job whose program the worker does not have is given back, and a new stream
// is made, on which the leader will say it.
func TestJobWithoutProgram(t *testing.T) {
	l := start(t, nil)
	l.say(l.jobTask("a", nil, &api.Work{Inputs: inputs("1")}))
	l.await("a new stream", func() bool { return len(l.hellos) == 2 })
	if h := l.now().hellos[1]; len(h.Holds) != 0 {
		t.Errorf("%v", h)
	}
}

func TestSet(t *testing.T) {
	l := start(t, cells)
	l.onReport = settle
	set := func(task, key, json string) *api.Instruction {
		return assign(&api.Assign{Task: task, Attempt: 1, Namespace: "s", Epoch: 1, Order: l.nextOrder(),
			Work: encode(&api.Work{Set: &api.SetKey{Key: key, Json: []byte(json)}})})
	}
	l.say(
		l.in("s", 1, "a", "type T struct { A int; B []string }\nvar t T\nx := []int{1, 2}\ny := x", loadOf(0, 0)),
		set("b", "t", `{"A": 7, "B": ["u"]}`),
		set("c", "x", `[5]`),
		set("d", "T", `1`),
		set("e", "t", `"no"`),
		set("f", "fresh", `[1.5]`),
		l.in("s", 1, "g", "import \"fmt\"\nfmt.Sprint(t.A, t.B, x, y, fresh)", nil),
	)
	for _, task := range []string{"b", "c", "f"} {
		if c := l.report(task, 1); c.Ending != api.Ending_SUCCESS {
			t.Errorf("%v", c)
		}
	}
	for _, task := range []string{"d", "e"} {
		if c := l.report(task, 1); c.Ending != api.Ending_PERMANENT || c.Outcome.Error.Kind != kindConflict {
			t.Errorf("%v", c)
		}
	}
	if c := l.report("g", 1); string(c.Outcome.Value) != `"7 [u] [5] [1 2] [1.5]"` {
		t.Errorf("%v", c)
	}
	for _, c := range l.now().completes {
		for _, it := range c.Put {
			if strings.HasPrefix(it.Key, "d/farmSet") {
				t.Errorf("%s left %s behind", c.Task, it.Key)
			}
		}
	}
}

// What a cell can ask of package farm.
func TestTaskInfo(t *testing.T) {
	l := start(t, cells)
	l.onReport = settle
	a := l.work("a", &api.Work{Source: "import (\n\"farm\"\n\"fmt\"\n)\nfarm.Progress(1, 1)\nfmt.Sprint(farm.TaskID(), farm.Attempt(), farm.Arg(\"k\"))", Args: map[string]string{"k": "v"}})
	l.say(a)
	if o := l.report("a", 1).Outcome; string(o.Value) != `"a 1 v"` && string(o.Value) != `"a1v"` {
		t.Errorf("%v", o)
	}
	l.await("progress", func() bool { return len(l.progress) == 1 })
}

// bench keeps n attempts outstanding until b.N are done.
func bench(b *testing.B, outstanding int, next func(l *leader, i int) *api.Instruction) {
	l := start(b, cells)
	l.poll("children", func(s Stats) bool { return s.Children >= spares })
	done, sent := 0, 0
	l.onReport = func(c *api.Complete) []*api.Instruction {
		if c.Ending != api.Ending_SUCCESS {
			b.Error(c)
		}
		done++
		out := settle(c)
		if sent < b.N {
			out = append(out, next(l, sent))
			sent++
		}
		return out
	}
	before, children := cpu(), l.childCPU()
	b.ResetTimer()
	var first []*api.Instruction
	l.mu.Lock()
	for sent < min(outstanding, b.N) {
		first = append(first, next(l, sent))
		sent++
	}
	l.mu.Unlock()
	l.say(first...)
	l.await("the end", func() bool { return done == b.N })
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "attempts/s")
	b.ReportMetric(float64(l.now().messages)/float64(b.N), "messages/op")
	own, theirs := cpu()-before, l.childCPU()-children
	b.ReportMetric(float64(own.Microseconds())/float64(b.N), "worker-us/op")
	b.ReportMetric(float64(theirs.Microseconds())/float64(b.N), "child-us/op")
}

// childCPU is the processor time of the children there are.
func (l *leader) childCPU() (d time.Duration) {
	l.w.mu.Lock()
	defer l.w.mu.Unlock()
	for _, c := range l.w.children {
		d += processCPU(c.p.cmd.Process.Pid)
	}
	return d
}

// cpu is the processor time of this process: worker and fake leader.
func cpu() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func BenchmarkPrivateNoop(b *testing.B) {
	onEngines(b, func(b *testing.B, engine string) {
		bench(b, 256, func(l *leader, i int) *api.Instruction {
			l.order++
			return assign(&api.Assign{Task: fmt.Sprint("t", i), Attempt: 1, Order: l.order, Work: encode(&api.Work{Source: "1", Engine: engine})})
		})
	})
}

// onEngines is a benchmark of each engine.
func onEngines(b *testing.B, bench func(b *testing.B, engine string)) {
	for _, engine := range namespace.Engines() {
		b.Run(engine, func(b *testing.B) { bench(b, engine) })
	}
}

// benchIncrement is n++ in warm namespaces.
func benchIncrement(b *testing.B, outstanding, spaces int) {
	onEngines(b, func(b *testing.B, engine string) {
		bench(b, outstanding, func(l *leader, i int) *api.Instruction {
			l.order++
			a := &api.Assign{Task: fmt.Sprint("t", i), Attempt: 1, Order: l.order, Namespace: fmt.Sprint("s", i%spaces), Epoch: 1}
			w := &api.Work{Source: "n++"}
			if i < spaces {
				w.Source, w.Engine, a.Load = "n := 0", engine, &api.Load{}
			}
			a.Work = encode(w)
			return assign(a)
		})
	})
}

// A warm cell of one line, with nothing else going on: what a person at a prompt
// costs.
func BenchmarkIncrementAlone(b *testing.B)          { benchIncrement(b, 1, 1) }
func BenchmarkIncrementOneSpace(b *testing.B)       { benchIncrement(b, 256, 1) }
func BenchmarkIncrementThousandSpaces(b *testing.B) { benchIncrement(b, 256, 1000) }

// A child that dies while it is idle costs the next attempt nothing: it runs in
// another child, on the namespace as it was.
func TestIdleChildKilled(t *testing.T) {
	l := start(t, cells)
	l.onReport = settle
	l.say(l.in("s", 1, "a", "n := 1", loadOf(0, 0)), l.private("p", "1"))
	l.report("a", 1)
	l.report("p", 1)
	l.poll("nothing runs", func(s Stats) bool { return s.Running == 0 && s.Unsettled == 0 })
	for i := range 3 {
		l.killIdle()
		in, private := fmt.Sprint("b", i), fmt.Sprint("q", i)
		l.say(l.in("s", 1, in, "n++\nn", nil), l.private(private, "2"))
		if c := l.report(in, 1); string(c.Outcome.Value) != fmt.Sprint(i+2) || c.Attempt != 1 {
			t.Errorf("%v", c)
		}
		if c := l.report(private, 1); string(c.Outcome.Value) != "2" {
			t.Errorf("%v", c)
		}
		l.poll("nothing runs", func(s Stats) bool { return s.Running == 0 && s.Unsettled == 0 })
	}
	if s := l.w.Stats(); s.Failed != 0 || s.Died < 3 {
		t.Errorf("%+v", s)
	}
}

// killIdle kills all children, of which none runs anything, and returns when
// they have ended.
func (l *leader) killIdle() {
	l.w.mu.Lock()
	defer l.w.mu.Unlock()
	for _, c := range l.w.children {
		pid := c.p.cmd.Process.Pid
		_ = syscall.Kill(pid, syscall.SIGKILL)
		if !ends(pid, 10*time.Second) {
			l.t.Errorf("child %d goes on", pid)
		}
	}
}
