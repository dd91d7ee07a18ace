package live

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"

	"farm/internal/zoo"
	ns "farm/namespace"
	"farm/namespace/internal/cases"
	"farm/namespace/internal/item"
)

func run(t *testing.T, c *Context, src string) (ns.Result, error) {
	t.Helper()
	return c.Run(t.Context(), ns.Run{Source: src})
}

func runOn(t *testing.T, c *Context, engine, src string) (ns.Result, error) {
	t.Helper()
	return c.Run(t.Context(), ns.Run{Source: src, Engine: engine})
}

// newOn is a context of a namespace for an engine.
func newOn(t *testing.T, engine string, opt Options) *Context {
	t.Helper()
	c := New(opt)
	if _, err := runOn(t, c, engine, ""); err != nil {
		t.Fatal(err)
	}
	return c
}

// onEngines runs a test on each engine.
func onEngines(t *testing.T, test func(t *testing.T, engine string)) {
	t.Helper()
	for _, engine := range ns.Engines() {
		t.Run(engine, func(t *testing.T) { test(t, engine) })
	}
}

func mustRun(t *testing.T, c *Context, src string) ns.Result {
	t.Helper()
	r, err := run(t, c, src)
	if err != nil {
		t.Fatalf("%s: %v", src, err)
	}
	return r
}

// unkept says that a cell failed because a variable cannot be kept. Some cases, made for engines, keep
// channels and functions between cells.
func unkept(err error) bool {
	_, ok := errors.AsType[*ns.UnserializableError](err)
	return ok
}

// TestWarmEqualsRestored runs every case twice: in one context, and restored in another process before
// each cell. Results, errors and items must be equal after each cell, and be what Go says.
func TestWarmEqualsRestored(t *testing.T) {
	o := startOthers(t)
	for _, engine := range ns.Engines() {
		t.Run(engine, func(t *testing.T) { warmEqualsRestored(t, engine, o) })
	}
}

func warmEqualsRestored(t *testing.T, engine string, o *others) {
	for _, cs := range cases.For(engine) {
		t.Run(cs.Name, func(t *testing.T) {
			warm := New(Options{})
			items := ns.Items{}
			for i, src := range cs.Cells {
				before := maps.Clone(warm.Items())
				w, werr := runOn(t, warm, engine, src)
				c := o.run(t, engine, items, src)
				if text(werr) != c.Err {
					t.Errorf("cell %d:\n%s\nwarm: %v\ncold: %v", i, src, werr, c.Err)
				}
				if string(w.JSON) != string(c.JSON) || string(w.Value) != string(c.Value) {
					t.Errorf("cell %d:\n%s\nwarm: %s\ncold: %s", i, src, w.JSON, c.JSON)
				}
				sameItems(t, warm.Items(), c.After)
				if werr != nil {
					sameItems(t, warm.Items(), before)
				}
				answer(t, engine, cs, i, w, werr)
				if unkept(werr) {
					t.Logf("cell %d ends the case: %v", i, werr)
					return
				}
				c.Delta.Apply(items)
				sameItems(t, items, warm.Items())
			}
		})
	}
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// mustKeep says that a case keeps nothing that cannot be kept: all of cases.More and cases.Gonum.
func mustKeep(c cases.Case) bool {
	return slices.ContainsFunc(slices.Concat(cases.More, cases.Gonum), func(m cases.Case) bool { return m.Name == c.Name })
}

// answer holds what a cell gave against what Go says; a cell that is known to be wrong must be.
func answer(t *testing.T, engine string, cs cases.Case, i int, r ns.Result, err error) {
	t.Helper()
	got := string(r.JSON)
	if s, bad := strconv.Unquote(got); bad == nil {
		got = s
	}
	if strings.ContainsAny(string(r.JSON), "[{.") && string(r.JSON)[0] != '"' || strings.HasPrefix(cs.Wants(engine, i), "[") && r.Type != "string" {
		got = cs.Wants(engine, i) // the readable form of a composite value is not that of fmt: the engine's own test has it
	}
	if unkept(err) && !mustKeep(cs) {
		return
	}
	if wrong := compare(cs.Wants(engine, i), got, err); (wrong != nil) != (cases.Wrong(engine, cs.Name, i) != "") {
		t.Errorf("cell %d:\n%s\n%v; known to be wrong: %q", i, cs.Cells[i], wrong, cases.Wrong(engine, cs.Name, i))
	}
}

func sameItems(t *testing.T, a, b map[string][]byte) {
	t.Helper()
	for _, k := range slices.Sorted(maps.Keys(a)) {
		if string(a[k]) != string(b[k]) {
			t.Errorf("item %s differs: %q, %q", k, a[k], b[k])
		}
	}
	if len(a) != len(b) {
		t.Errorf("items differ: %v, %v", slices.Sorted(maps.Keys(a)), slices.Sorted(maps.Keys(b)))
	}
}

func TestResults(t *testing.T) { onEngines(t, results) }

func results(t *testing.T, engine string) {
	c := newOn(t, engine, Options{})
	for _, x := range []struct{ src, json, typ string }{
		{"n := 20\nn", "20", "int"},
		{"n + 1", "21", "int"},
		{`"a" + "b"`, `"ab"`, "string"},
		{"[]int{1, 2}", "[1,2]", "[]int"},
		{`map[string]int{"b": 1, "a": 2}`, `{"a":2,"b":1}`, "map[string]int"},
		{"x := 1", "", ""},
		{"import \"fmt\"\nfmt.Println(n)", "", ""},
		{"fmt.Sscan(\"7\", &n)", "[1,null]", "(int, error)"},
		{"n", "7", "int"},
		{"type P struct{ A int; b string }\nP{1, \"x\"}", `{"A":1,"b":"x"}`, "P"},
		{"func() {}", "", "func()"},
		{"for i := 0; i < 2; i++ { n++ }", "", ""},
	} {
		r := mustRun(t, c, x.src)
		if x.typ == "func()" && engine == "ssa" { // it has a name there
			x.json = string(r.JSON)
			if !strings.HasPrefix(x.json, `{"$func":"__lit_`) {
				t.Errorf("%s: %s", x.src, x.json)
			}
		}
		if string(r.JSON) != x.json || r.Type != x.typ {
			t.Errorf("%s: %s of type %q, want %s of type %q", x.src, r.JSON, r.Type, x.json, x.typ)
		}
	}
}

func TestDeltaShipsOnlyWhatChanged(t *testing.T) { onEngines(t, deltaShipsOnlyWhatChanged) }

func deltaShipsOnlyWhatChanged(t *testing.T, engine string) {
	c := newOn(t, engine, Options{})
	mustRun(t, c, "a := 1\nb := []int{1, 2}\nfunc get() int { return a }")
	r := mustRun(t, c, "a++\nget() + len(b)")
	if len(r.Delta.Put) != 1 || r.Delta.Put["v/a"] == nil || len(r.Delta.Delete) != 0 {
		t.Errorf("delta %v", r.Delta)
	}
	if r := mustRun(t, c, "get()"); !r.Delta.Empty() {
		t.Errorf("delta of a read: %v", r.Delta)
	}
}

func TestTransaction(t *testing.T) { onEngines(t, transaction) }

func transaction(t *testing.T, engine string) {
	for _, x := range []struct {
		name, src string
		check     func(error) bool
	}{
		{"compile", "n = 5\nnope()", func(err error) bool { e, ok := errors.AsType[*ns.CompileError](err); return ok && len(e.Msgs) == 1 }},
		{"not allowed", "import \"os\"\nn = 5\nos.Getpid()", func(err error) bool { _, ok := errors.AsType[*ns.NotAllowedError](err); return ok }},
		{"panic", "n = 5\nxs = append(xs, 9)\nxs[0] = 100\npanic(\"boom\")", func(err error) bool { e, ok := errors.AsType[*ns.PanicError](err); return ok && e.Value == "boom" }},
		{"panic in a function", "func f() { n = 6; xs[7]++ }\nf()", func(err error) bool {
			e, ok := errors.AsType[*ns.PanicError](err)
			return ok && strings.Contains(e.Value, "out of range") && len(e.Stack) > 0
		}},
		{"panic in a goroutine", "n = 7\nd := 0\nc := make(chan int)\ngo func() { defer close(c); n = 1 / d }()\n<-c\nc = nil", func(err error) bool { _, ok := errors.AsType[*ns.PanicError](err); return ok }},
		{"channel", "n = 8\nch := make(chan int)", func(err error) bool {
			e, ok := errors.AsType[*ns.UnserializableError](err)
			return ok && e.Variable == "ch"
		}},
		{"goroutine", "n = 9\ngo func() { for { n++ } }()", func(err error) bool { _, ok := errors.AsType[*ns.GoroutineError](err); return ok }},
		{"value limit", "n = 10\nbig := make([]byte, 2<<20)", func(err error) bool { _, ok := errors.AsType[*ns.LimitError](err); return ok }},
		{"source limit", "n = 11 //" + strings.Repeat("x", ns.DefaultMaxSource), func(err error) bool { _, ok := errors.AsType[*ns.LimitError](err); return ok }},
		{"result limit", "n = 12\nmake([]byte, 1<<17)", func(err error) bool { _, ok := errors.AsType[*ns.LimitError](err); return ok }},
	} {
		t.Run(x.name, func(t *testing.T) {
			c := newOn(t, engine, Options{Limits: ns.Limits{Value: 1 << 20}})
			mustRun(t, c, "n := 1\nxs := make([]int, 2, 10)")
			before := maps.Clone(c.Items())
			_, err := run(t, c, x.src)
			if !x.check(err) {
				t.Fatalf("error %T: %v", err, err)
			}
			sameItems(t, before, c.Items())
			if r := mustRun(t, c, "n*100 + xs[0] + len(xs)"); string(r.JSON) != "102" {
				t.Errorf("after a failed cell: %s", r.JSON)
			}
		})
	}
}

func TestCancel(t *testing.T) { onEngines(t, cancel) }

func cancel(t *testing.T, engine string) {
	if raceEnabled {
		t.Skip("the interpreter has a data race on a result that is not used when the context ends")
	}
	c := newOn(t, engine, Options{})
	mustRun(t, c, "n := 1")
	ctx, cancel := contextAfter(t, c)
	defer cancel()
	_, err := c.Run(ctx, ns.Run{Source: "n = 2\nfor { n++ }"})
	if !errors.Is(err, ctx.Err()) || err == nil {
		t.Fatalf("error %v", err)
	}
	if r := mustRun(t, c, "n"); string(r.JSON) != "1" {
		t.Errorf("after a cancelled cell: %s", r.JSON)
	}
}

func TestCall(t *testing.T) { onEngines(t, callHold) }

func callHold(t *testing.T, engine string) {
	c := New(Options{})
	prog := `
import "errors"
total := 0
type P struct { Name string; Age int }
func double(x int) int { return 2 * x }
func older(p P, by int) P { p.Age += by; return p }
func odd(x int) (int, error) { if x%2 == 0 { return 0, errors.New("even") }; return x, nil }
func boom(x int) int { if x == 1 { panic("one") }; return x }
func add(x int) { total += x }
func none() string { return "called" }
func sum(xs ...int) (t int) { for _, x := range xs { t += x }; return }
`
	for _, x := range []struct {
		fn      string
		inputs  string
		want    string
		discard bool
	}{
		{"double", "[1,2,3]", `[{"json":2},{"json":4},{"json":6}]`, true},
		{"older", `[[{"Name":"a","Age":1},5]]`, `[{"json":{"Name":"a","Age":6}}]`, true},
		{"odd", "[1,2]", `[{"json":1},{"error":"even"}]`, true},
		{"boom", "[0,1,2]", `[{"json":0},{"error":"panic: one`, true},
		{"none", "[]", `[{"json":"called"}]`, true},
		{"sum", "[[1,2,3]]", `[{"json":6}]`, true},
		{"double", `["x"]`, `[{"error":`, true},
		{"add", "[1,2,3]", `[{"json":null},{"json":null},{"json":null}]`, false},
	} {
		var inputs []json.RawMessage
		if err := json.Unmarshal([]byte(x.inputs), &inputs); err != nil {
			t.Fatal(err)
		}
		r, err := c.Run(t.Context(), ns.Run{Engine: engine, Source: prog, Call: x.fn, Inputs: inputs, Discard: x.discard})
		if err != nil {
			t.Errorf("%s: %v", x.fn, err)
			continue
		}
		got, _ := json.Marshal(r.Results)
		if !strings.HasPrefix(string(got), x.want) {
			t.Errorf("%s: %s, want %s", x.fn, got, x.want)
		}
		if x.discard && (len(c.Items()) != 0 || !r.Delta.Empty()) {
			t.Errorf("%s: a discarded run left items", x.fn)
		}
	}
	if r := mustRun(t, c, "total"); string(r.JSON) != "6" {
		t.Errorf("total is %s", r.JSON)
	}
	before := maps.Clone(c.Items())
	_, err := c.Run(t.Context(), ns.Run{Call: "boom", Inputs: []json.RawMessage{[]byte("0"), []byte("1")}})
	if e, ok := errors.AsType[*ns.CallError](err); !ok || e.Input != 1 {
		t.Errorf("error %v", err)
	}
	sameItems(t, before, c.Items())
	if _, err := c.Run(t.Context(), ns.Run{Call: "nosuch"}); err == nil {
		t.Error("a call of no function succeeded")
	}
}

// TestCompiledOnce proves that the same cell, private or not, is not compiled again.
func TestCompiledOnce(t *testing.T) {
	c := New(Options{})
	src := "n := 5\nfunc f() int { return n * 2 }\nf()"
	for range 3 {
		if err := c.Restore(nil); err != nil {
			t.Fatal(err)
		}
		if r := mustRun(t, c, src); string(r.JSON) != "10" {
			t.Fatalf("result %s", r.JSON)
		}
	}
	if len(c.engines) != 1 || c.engines[0].eng.Loads() != 1 || len(c.units) != 1 {
		t.Errorf("%d engines, %d loads, %d units", len(c.engines), c.engines[0].eng.Loads(), len(c.units))
	}
	for range 5 {
		mustRun(t, c, "n++")
	}
	if l := c.engines[0].eng.Loads(); l != 2 {
		t.Errorf("%d loads", l)
	}
	if r := mustRun(t, c, "n"); string(r.JSON) != "10" {
		t.Errorf("n is %s", r.JSON)
	}
}

// TestSwitchNamespaces proves that two namespaces that use the same engine do not see each other, with
// equal and with different definitions.
func TestSwitchNamespaces(t *testing.T) {
	a, b, d := New(Options{}), New(Options{}), New(Options{})
	mustRun(t, a, "n := 1\nfunc f() int { return n }")
	mustRun(t, b, "n := 50\nfunc f() int { return n }")
	mustRun(t, d, "n := \"s\"\nfunc f() string { return n + n }")
	c := New(Options{})
	state := map[string]ns.Items{"a": a.Items().Clone(), "b": b.Items().Clone(), "d": d.Items().Clone()}
	want := map[string]string{"a": "1", "b": "50", "d": `"ss"`}
	for range 3 {
		for _, n := range []string{"a", "b", "d"} {
			if err := c.Restore(state[n]); err != nil {
				t.Fatal(err)
			}
			if r := mustRun(t, c, "f()"); string(r.JSON) != want[n] {
				t.Errorf("%s: %s, want %s", n, r.JSON, want[n])
			}
			if n == "d" {
				continue
			}
			mustRun(t, c, "n++")
			state[n] = c.Items().Clone()
			want[n] = fmt.Sprint(must(fmt.Sscan(want[n], new(int))), "")
			var v int
			fmt.Sscan(string(mustRun(t, c, "n").JSON), &v)
			want[n] = fmt.Sprint(v)
		}
	}
	if want["a"] != "4" || want["b"] != "53" {
		t.Errorf("a is %s, b is %s", want["a"], want["b"])
	}
	if len(c.engines) != 2 {
		t.Errorf("%d engines", len(c.engines))
	}
}

func must(n int, err error) int { return n }

func TestUpdateFromOutside(t *testing.T) { onEngines(t, updateFromOutside) }

func updateFromOutside(t *testing.T, engine string) {
	c := newOn(t, engine, Options{})
	mustRun(t, c, "n := 1\nfunc f() int { return n * 10 }")
	d, err := ns.SetJSON(c.Items(), "n", []byte("7"))
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Update(d); err != nil {
		t.Fatal(err)
	}
	if r := mustRun(t, c, "f()"); string(r.JSON) != "70" {
		t.Errorf("after a set: %s", r.JSON)
	}
	d, err = ns.SetJSON(c.Items(), "fresh", []byte(`{"a":[1,2]}`))
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Update(d); err != nil {
		t.Fatal(err)
	}
	if r := mustRun(t, c, `fresh["a"].([]int)[1]`); string(r.JSON) != "2" {
		t.Errorf("a new variable: %s", r.JSON)
	}
}

// TestSharedMemory proves that variables that share memory do so after a restore.
func TestSharedMemory(t *testing.T) { onEngines(t, sharedMemory) }

func sharedMemory(t *testing.T, engine string) {
	c := newOn(t, engine, Options{})
	mustRun(t, c, "x := 5\np := &x\nxs := []int{1, 2, 3}\nys := xs[1:]")
	cold := newOn(t, engine, Options{})
	if err := cold.Restore(c.Items()); err != nil {
		t.Fatal(err)
	}
	mustRun(t, cold, "*p = 9\nys[0] = 20")
	if r := mustRun(t, cold, "x*1000 + xs[1]"); string(r.JSON) != "9020" {
		t.Errorf("shared memory: %s", r.JSON)
	}
	if _, _, err := ns.GetJSON(cold.Items(), "p"); err != nil {
		t.Error(err)
	}
	if j, typ, err := ns.GetJSON(cold.Items(), "ys"); err != nil || string(j) != "[20,3]" || typ != "[]int" {
		t.Errorf("ys is %s of type %s: %v", j, typ, err)
	}
	if _, err := ns.SetJSON(cold.Items(), "x", []byte("1")); !errors.Is(err, ns.ErrNeedsEngine) {
		t.Errorf("set of a shared variable: %v", err)
	}
}

func TestFarmPackage(t *testing.T) { onEngines(t, farmPackage) }

func farmPackage(t *testing.T, engine string) {
	var out, errOut strings.Builder
	var progress []int
	c := newOn(t, engine, Options{Stdout: &out, Stderr: &errOut, Progress: func(done, total int) { progress = append(progress, done, total) }})
	task := ns.TaskInfo{ID: "t1", Namespace: "lab", Attempt: 2, Args: map[string]string{"k": "v"}, Files: map[string][]byte{"b.csv": []byte("1,2"), "a.txt": nil}}
	r, err := c.Run(t.Context(), ns.Run{Task: task, Source: `
import ("farm"; "fmt")
fmt.Println("hello")
farm.Logf("at %d", 3)
farm.Progress(1, 4)
fmt.Sprint(farm.TaskID(), farm.Namespace(), farm.Attempt(), farm.Arg("k"), farm.Arg("none"), len(farm.Args()))`})
	if err != nil {
		t.Fatal(err)
	}
	if string(r.JSON) != `"t1lab2v1"` && string(r.JSON) != `"t1 lab 2 v 1"` && !strings.Contains(string(r.JSON), "t1lab") {
		t.Errorf("result %s", r.JSON)
	}
	r, err = c.Run(t.Context(), ns.Run{Task: task, Source: `
import ("farm"; "fmt")
b, err := farm.ReadFile("b.csv")
b[0] = '9'
again, _ := farm.ReadFile("b.csv")
_, none := farm.ReadFile("/etc/passwd")
fmt.Sprint(farm.Files(), string(b), err, string(again), none)`})
	if err != nil {
		t.Fatal(err)
	}
	if want := `"[a.txt b.csv]9,2\u003cnil\u003e1,2no file \"/etc/passwd\" was given with this task"`; string(r.JSON) != want {
		t.Errorf("files: %s, want %s", r.JSON, want)
	}
	if out.String() != "hello\n" || errOut.String() != "at 3\n" || len(progress) != 2 {
		t.Errorf("output %q, %q, progress %v", out.String(), errOut.String(), progress)
	}
}

// TestInterfacesDoNotShare proves that a value which the interpreter did not copy into an interface is a
// copy from the end of the cell on, as it is after a restore.
func TestInterfacesDoNotShare(t *testing.T) { onEngines(t, interfacesDoNotShare) }

func interfacesDoNotShare(t *testing.T, engine string) {
	c := newOn(t, engine, Options{})
	mustRun(t, c, "type T struct{ N int }\nfunc (t T) Get() int { return t.N }\ntype G interface{ Get() int }\nt := T{1}\nvar g G\nxs := []any{nil}\nm := map[string]G{}")
	mustRun(t, c, "g = t\nxs[0] = t\nm[\"k\"] = t")
	mustRun(t, c, "t.N = 5")
	if r := mustRun(t, c, "g.Get()*100 + xs[0].(T).N*10 + m[\"k\"].Get()"); string(r.JSON) != "111" {
		t.Errorf("interfaces hold %s", r.JSON)
	}
}

// TestLoadedBefore proves that what the interpreter cannot load after other things is loaded apart.
func TestLoadedBefore(t *testing.T) { onEngines(t, loadedBefore) }

func loadedBefore(t *testing.T, engine string) {
	alone, c := newOn(t, engine, Options{}), newOn(t, engine, Options{})
	for _, src := range zoo.Declare() {
		mustRun(t, alone, src)
	}
	if err := c.Restore(alone.Items().Clone()); err != nil {
		t.Fatal(err)
	}
	mustRun(t, c, "steps += 3\nwhole[36%8] = 30\nm := matrix\nm[0][0] = 48\nmatrix[1] = m[0]\nc128")
	mustRun(t, c, "slices.Reverse(words)\nqueue.MoveToFront(queue.Back())")
}

// TestUntouchedIsNotLookedAt proves that a cell neither loads, decodes nor encodes a variable that it cannot
// touch, however large.
func TestUntouchedIsNotLookedAt(t *testing.T) { onEngines(t, untouchedIsNotLookedAt) }

func untouchedIsNotLookedAt(t *testing.T, engine string) {
	warm := newOn(t, engine, Options{Limits: ns.Limits{Value: 1 << 30, Delta: 1 << 30}})
	mustRun(t, warm, "n := 1\nbig := make([]byte, 20<<20)\nfunc touch() { big[0]++ }")
	cold := newOn(t, engine, Options{Limits: ns.Limits{Value: 1000, Delta: 1000}})
	if err := cold.Restore(warm.Items()); err != nil {
		t.Fatal(err)
	}
	if r := mustRun(t, cold, "n++\nn"); string(r.JSON) != "2" || len(r.Delta.Put) != 1 {
		t.Errorf("%s, %d items", r.JSON, len(r.Delta.Put))
	}
	if s := cold.engines[0].vars["big"]; s != nil {
		t.Error("a variable that the cell does not mention was loaded")
	}
	if _, err := run(t, cold, "touch()"); err == nil {
		t.Error("a cell that touches it through a function did not look at it")
	}
}

// TestEngineOfOld proves that a namespace that names no engine is yaegi's when it has code, as those that
// earlier farms made have, and that one that was only set may still choose.
func TestEngineOfOld(t *testing.T) {
	for source, want := range map[string]string{"func f() int { return 1 }": ns.EngineYaegi, `import "time"
d := time.Second`: ns.EngineYaegi, "type T int": ns.EngineYaegi, "n := 1": "", "xs := []any{1, nil}": ""} {
		c := New(Options{})
		if _, err := runOn(t, c, ns.EngineYaegi, source); err != nil {
			t.Fatal(err)
		}
		items := c.Items().Clone()
		delete(items, "h/engine")
		for _, asked := range append(ns.Engines(), "") {
			if err := c.Restore(items); err != nil {
				t.Fatal(err)
			}
			_, err := runOn(t, c, asked, "7")
			if refused := want != "" && asked != "" && asked != want; refused {
				if e, ok := errors.AsType[*ns.EngineError](err); !ok || e.Has != want {
					t.Errorf("%s, %q asked for: %v", source, asked, err)
				}
				continue
			}
			if err != nil {
				t.Errorf("%s, %q asked for: %v", source, asked, err)
			}
			if got, _ := ns.EngineOf(c.Items()); got != cmp.Or(want, asked, ns.DefaultEngine) {
				t.Errorf("%s, %q asked for: the engine is %s", source, asked, got)
			}
		}
	}
}

// TestEngineIsForGood proves that a namespace keeps the engine of its first cell that succeeds, also
// restored elsewhere, and that another one is refused by name and changes nothing.
func TestEngineIsForGood(t *testing.T) {
	c := New(Options{})
	if _, err := runOn(t, c, ns.EngineSSA, "n := nope"); err == nil || len(c.Items()) != 0 {
		t.Fatalf("a first cell that fails: %v, %v", err, c.Items())
	}
	if _, err := c.Run(t.Context(), ns.Run{Source: "n := 1", Engine: ns.EngineSSA, Discard: true}); err != nil || len(c.Items()) != 0 {
		t.Fatalf("a private cell: %v, %v", err, c.Items())
	}
	if _, err := runOn(t, c, "nope", "n := 1"); err == nil || !strings.Contains(err.Error(), `no engine "nope"`) {
		t.Fatalf("an engine that there is not: %v", err)
	}
	if _, err := runOn(t, c, ns.EngineSSA, "type T func() T\nn := 1"); err != nil { // yaegi would refuse it
		t.Fatal(err)
	}
	cold := New(Options{})
	if err := cold.Restore(c.Items()); err != nil {
		t.Fatal(err)
	}
	for _, x := range []*Context{c, cold} {
		before := x.Items().Clone()
		_, err := runOn(t, x, ns.EngineYaegi, "n = 2")
		e, ok := errors.AsType[*ns.EngineError](err)
		if !ok || e.Has != ns.EngineSSA || e.Asked != ns.EngineYaegi {
			t.Errorf("another engine: %T: %v", err, err)
		}
		sameItems(t, before, x.Items())
		if r := mustRun(t, x, "n++\nn"); string(r.JSON) != "2" {
			t.Errorf("n is %s", r.JSON)
		}
	}
	for asked, want := range map[string]string{"": ns.DefaultEngine, ns.EngineYaegi: ns.EngineYaegi} {
		if c := New(Options{}); true {
			if _, err := runOn(t, c, asked, "6 * 7"); err != nil {
				t.Fatal(err)
			}
			sameItems(t, ns.Items{"h/engine": item.Engine(want)}, c.Items())
		}
	}
	if engine, err := ns.EngineOf(ns.Items{"h/engine": []byte{1, 3, 'n', 'e', 'w'}}); err == nil {
		t.Errorf("the engine of a newer farm is %s", engine)
	}
}
