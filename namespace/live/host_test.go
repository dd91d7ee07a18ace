package live

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	ns "farm/namespace"
	"farm/namespace/cell"
)

func TestExitIsNoSuccess(t *testing.T) {
	h := newHost(Options{})
	h.begin(&ns.TaskInfo{}, nil, func() {})
	if _, ok := errors.AsType[*ns.ExitError](h.finish()); !ok {
		t.Error("a body that did not reach its end succeeded")
	}
	h.begin(&ns.TaskInfo{}, nil, func() {})
	h.end()
	if err := h.finish(); err != nil {
		t.Error(err)
	}
}

// TestAbandonedEngineIsSilent proves that code left running by a failed cell writes nothing later.
func TestAbandonedEngineIsSilent(t *testing.T) {
	var out bytes.Buffer
	l, err := newLoaded(ns.EngineYaegi, cell.NewCompiler(), Options{Stdout: &out, Stderr: &out})
	if err != nil {
		t.Fatal(err)
	}
	w := gated{l.gate, &out}
	fmt.Fprint(w, "before")
	l.gate.close()
	if _, err := fmt.Fprint(w, "after"); err == nil || out.String() != "before" {
		t.Errorf("wrote %q, error %v", out.String(), err)
	}
}

// TestRecycle proves that an interpreter is replaced after maxLoads loads, and that values survive it.
func TestRecycle(t *testing.T) { onEngines(t, recycle) }

func recycle(t *testing.T, engine string) {
	c := newOn(t, engine, Options{})
	mustRun(t, c, "n := 0")
	first := c.engines[0]
	var b strings.Builder
	for i := range maxLoads + 10 {
		b.Reset()
		fmt.Fprintf(&b, "n += 1 + %d - %d", i, i)
		mustRun(t, c, b.String())
	}
	if c.engines[0] == first || c.engines[0].eng.Loads() > maxLoads {
		t.Error("the interpreter was not replaced")
	}
	if r := mustRun(t, c, "n"); string(r.JSON) != fmt.Sprint(maxLoads+10) {
		t.Errorf("n is %s", r.JSON)
	}
}

// TestPanicPosition proves that a panic says where it was, in the cell and in earlier declarations.
func TestPanicPosition(t *testing.T) { onEngines(t, panicPosition) }

func panicPosition(t *testing.T, engine string) {
	c := newOn(t, engine, Options{})
	mustRun(t, c, "\n\nfunc f(x int) int {\n\treturn 10 / x\n}")
	_, err := run(t, c, "x := 0\n\nf(x)")
	e, ok := errors.AsType[*ns.PanicError](err)
	if !ok || len(e.Stack) != 2 || !strings.HasPrefix(e.Stack[0], "f:") || !strings.HasPrefix(e.Stack[1], "cell:") {
		t.Fatalf("%T: %v, stack %q", err, err, e.Stack)
	}
}

// TestGoroutinePanicEndsTheRun proves that a run does not wait for what a panic keeps from happening.
func TestGoroutinePanicEndsTheRun(t *testing.T) { onEngines(t, goroutinePanicEndsTheRun) }

func goroutinePanicEndsTheRun(t *testing.T, engine string) {
	if raceEnabled {
		t.Skip("the interpreter has a data race on a result that is not used when the context ends")
	}
	for name, src := range map[string]string{
		"a channel": "c := make(chan int)\ngo func() { panic(\"boom\") }()\n<-c",
		"a lock":    "import \"sync\"\nvar mu sync.Mutex\nmu.Lock()\ngo func() { panic(\"boom\") }()\nmu.Lock()",
		"a group":   "import \"sync\"\nvar wg sync.WaitGroup\nwg.Add(1)\ngo func() { panic(\"boom\") }()\nwg.Wait()",
		"a loop":    "go func() { panic(\"boom\") }()\nfor {\n}",
		"nested":    "func f() { go func() { panic(\"boom\") }() }\nc := make(chan int)\ngo f()\n<-c",
	} {
		t.Run(name, func(t *testing.T) {
			c := newOn(t, engine, Options{})
			mustRun(t, c, "n := 1")
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			_, err := c.Run(ctx, ns.Run{Source: src})
			if e, ok := errors.AsType[*ns.PanicError](err); !ok || e.Value != "boom" {
				t.Errorf("%T: %v", err, err)
			}
			if c.Spent() != (engine == ns.EngineYaegi) { // the machine ends what waits
				t.Error("what waits is left behind, and not told of")
			}
			if r := mustRun(t, c, "n"); string(r.JSON) != "1" {
				t.Errorf("n is %s", r.JSON)
			}
		})
	}
}

// TestPanicLeavesNoGoroutine proves that a context tells of goroutines that a failed run left.
func TestPanicLeavesNoGoroutine(t *testing.T) { onEngines(t, panicLeavesNoGoroutine) }

func panicLeavesNoGoroutine(t *testing.T, engine string) {
	c := newOn(t, engine, Options{})
	if _, err := run(t, c, "panic(1)"); err == nil || c.Spent() {
		t.Errorf("error %v, spent %v", err, c.Spent())
	}
	if _, err := run(t, c, "import \"time\"\ngo func() { time.Sleep(time.Minute) }()\npanic(1)"); err == nil || c.Spent() != (engine == ns.EngineYaegi) {
		t.Errorf("error %v, spent %v", err, c.Spent())
	}
}

func TestLimits(t *testing.T) { onEngines(t, limitsHold) }

func limitsHold(t *testing.T, engine string) {
	for what, x := range map[string]struct {
		lim ns.Limits
		run ns.Run
	}{
		"variables":    {ns.Limits{Variables: 2}, ns.Run{Source: "a, b, c := 1, 2, 3"}},
		"declarations": {ns.Limits{Decls: 1}, ns.Run{Source: "func f() {}\nfunc g() {}"}},
		"delta":        {ns.Limits{Delta: 100}, ns.Run{Source: "a, b := make([]byte, 60), make([]byte, 60)"}},
		"source":       {ns.Limits{Source: 3}, ns.Run{Source: "1 + 1"}},
		"inputs":       {ns.Limits{Inputs: 1}, ns.Run{Source: "func f() {}", Call: "f", Inputs: []json.RawMessage{nil, nil}}},
		"result":       {ns.Limits{Result: 50}, ns.Run{Source: "make([]byte, 100)"}},
	} {
		c := New(Options{Limits: x.lim})
		x.run.Engine = engine
		_, err := c.Run(t.Context(), x.run)
		if e, ok := errors.AsType[*ns.LimitError](err); !ok || e.What != what || e.Got <= e.Limit {
			t.Errorf("%s: %v", what, err)
		}
		if len(c.Items()) != 0 {
			t.Errorf("%s: the namespace has changed", what)
		}
	}
}

// TestValuesAreDecodedWhenNeeded proves that variables a cell cannot reach are not decoded: a value that
// is damaged, and never used, does no harm.
func TestValuesAreDecodedWhenNeeded(t *testing.T) { onEngines(t, valuesAreDecodedWhenNeeded) }

func valuesAreDecodedWhenNeeded(t *testing.T, engine string) {
	c := newOn(t, engine, Options{})
	mustRun(t, c, "a := 1\nb := []int{1, 2, 3}")
	items := c.Items().Clone()
	items["v/b"] = append(append([]byte(nil), items["v/b"]...), 0xff, 0xff)
	if err := c.Restore(items); err != nil {
		t.Fatal(err)
	}
	if r := mustRun(t, c, "a + 1"); string(r.JSON) != "2" {
		t.Errorf("%s", r.JSON)
	}
	if _, err := run(t, c, "b[0]"); !errors.Is(err, ns.ErrCorrupt) {
		t.Errorf("a damaged value: %v", err)
	}
}

// TestVariablesStartAtZero proves that a cell run again in an empty namespace finds its variables zero,
// though the engine holds values of the run before.
func TestVariablesStartAtZero(t *testing.T) { onEngines(t, variablesStartAtZero) }

func variablesStartAtZero(t *testing.T, engine string) {
	c := newOn(t, engine, Options{})
	for range 2 {
		if err := c.Restore(nil); err != nil {
			t.Fatal(err)
		}
		if r := mustRun(t, c, "func get() int { return n }\nx := get()\nn := 5\nx"); string(r.JSON) != "0" {
			t.Errorf("n was %s", r.JSON)
		}
	}
}

// TestCachesAreBounded proves that a context that drops its caches goes on where it was.
func TestCachesAreBounded(t *testing.T) {
	c := New(Options{})
	mustRun(t, c, "n := 1\nfunc f() int { return n }")
	for i := range maxUnits + 1 {
		c.units[unitKey{src: fmt.Sprint(i)}] = nil
	}
	if r := mustRun(t, c, "n++\nf()"); string(r.JSON) != "2" || len(c.units) > 2 {
		t.Errorf("%s, %d units", r.JSON, len(c.units))
	}
}

// TestStuckOnTheCallersGoroutine proves that a context that runs cells in the goroutine of its caller tells
// of one that goes on in compiled code after its end, with the cause of the end, and that all else is as it
// is without.
func TestStuckOnTheCallersGoroutine(t *testing.T) {
	told := make(chan error, 1)
	c := New(Options{Stuck: func(err error) { told <- err }})
	mustRun(t, c, "n := 1")
	if _, err := run(t, c, "import \"time\"\ngo func() { panic(\"soon\") }()\ntime.Sleep(time.Hour)"); err == nil || !strings.Contains(err.Error(), "soon") {
		t.Errorf("what can be ended: %v", err)
	}
	if _, err := run(t, c, "runtime.Goexit()\nimport \"runtime\""); err == nil {
		t.Error("the goroutine of the caller would be gone")
	}
	if r := mustRun(t, c, "n"); string(r.JSON) != "1" {
		t.Errorf("n is %s", r.JSON)
	}
	select {
	case err := <-told:
		t.Fatalf("told of what had ended: %v", err)
	case <-time.After(hurry + 200*time.Millisecond):
	}
	returned := make(chan error, 1)
	// The panic comes once the cell is in compiled code: before, it would end by itself.
	const deaf = `import "io"
r, w := io.Pipe()
go func() {
	w.Write([]byte("a"))
	panic("boom")
}()
io.ReadFull(r, make([]byte, 2))`
	go func() {
		_, err := c.Run(context.WithoutCancel(t.Context()), ns.Run{Source: deaf})
		returned <- err
	}()
	select {
	case err := <-told:
		if e, ok := errors.AsType[*ns.PanicError](err); !ok || e.Value != "boom" {
			t.Errorf("%T: %v", err, err)
		}
	case err := <-returned:
		t.Errorf("it returned: %v", err)
	}
}
