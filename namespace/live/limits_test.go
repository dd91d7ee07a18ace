package live

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	ns "farm/namespace"
	"farm/namespace/internal/item"
)

// TestLimitsAreExact proves that each limit allows what is at it and refuses, by its name, what is one
// past it, and that what was refused changed nothing.
func TestLimitsAreExact(t *testing.T) { onEngines(t, limitsAreExact) }

func limitsAreExact(t *testing.T, engine string) {
	many := func(f string, n int) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, f, i)
		}
		return b.String()
	}
	value := func(c *Context) int {
		v, err := item.ParseVar("x", c.Items()["v/x"])
		if err != nil {
			t.Fatal(err)
		}
		return len(v.Data)
	}
	for _, x := range []struct {
		what  string
		run   ns.Run
		limit func(*ns.Limits) *int
		size  func(ns.Result, *Context) int // of what the run brings, by that limit's measure
	}{
		{"source", ns.Run{Source: "x := 1 + 1"}, func(l *ns.Limits) *int { return &l.Source }, func(ns.Result, *Context) int { return len("x := 1 + 1") }},
		{"variables", ns.Run{Source: many("x%d := 1\n", 20)}, func(l *ns.Limits) *int { return &l.Variables }, func(ns.Result, *Context) int { return 20 }},
		{"declarations", ns.Run{Source: many("func f%d() {}\n", 20)}, func(l *ns.Limits) *int { return &l.Decls }, func(ns.Result, *Context) int { return 20 }},
		{"value of a variable", ns.Run{Source: "x := make([]byte, 5000)"}, func(l *ns.Limits) *int { return &l.Value }, func(_ ns.Result, c *Context) int { return value(c) }},
		{"delta", ns.Run{Source: "x, y := make([]byte, 3000), make([]byte, 3000)"}, func(l *ns.Limits) *int { return &l.Delta }, func(r ns.Result, _ *Context) int { return r.Delta.Size() }},
		{"result", ns.Run{Source: "make([]byte, 5000)"}, func(l *ns.Limits) *int { return &l.Result }, func(r ns.Result, _ *Context) int { return len(r.Value) }},
		{"inputs", ns.Run{Source: "func f(n int) int { return n }", Call: "f", Inputs: []json.RawMessage{[]byte("1"), []byte("2")}}, func(l *ns.Limits) *int { return &l.Inputs }, func(ns.Result, *Context) int { return 2 }},
	} {
		t.Run(x.what, func(t *testing.T) {
			x.run.Engine = engine
			free := New(Options{})
			r, err := free.Run(t.Context(), x.run)
			if err != nil {
				t.Fatal(err)
			}
			size := x.size(r, free)
			for _, over := range []int{0, 1} {
				var lim ns.Limits
				*x.limit(&lim) = size - over
				c := New(Options{Limits: lim})
				_, err := c.Run(t.Context(), x.run)
				if over == 0 {
					if err != nil {
						t.Errorf("at the limit of %d: %v", size, err)
					}
					continue
				}
				if e, ok := errors.AsType[*ns.LimitError](err); !ok || e.What != x.what || e.Limit != int64(size-1) || e.Got <= e.Limit {
					t.Errorf("one past the limit of %d: %v", size-1, err)
				}
				if len(c.Items()) != 0 {
					t.Error("the namespace has changed")
				}
			}
		})
	}
}

// TestMoreMethodsThanAProcessHas: what needs more methods than a process has room for is refused by that
// name, and leaves the room to others.
func TestMoreMethodsThanAProcessHas(t *testing.T) {
	c := newOn(t, ns.EngineSSA, Options{})
	defer c.Close()
	var src strings.Builder
	for i := range 49 {
		fmt.Fprintf(&src, "type T%d struct{}\nvar v%[1]d T%[1]d\n", i)
		for m := range 38 {
			fmt.Fprintf(&src, "func (T%d) M%d() {}\n", i, m)
		}
	}
	_, err := run(t, c, src.String())
	if _, ok := errors.AsType[*ns.NotAllowedError](err); !ok || !strings.Contains(err.Error(), "no room for more methods") {
		t.Fatalf("error %T: %v", err, err)
	}
	mustRun(t, c, "type T0 struct{}\nfunc (T0) String() string { return \"t\" }\nvar v0 T0")
}

// TestWhereAStackOverflows proves that it is told.
func TestWhereAStackOverflows(t *testing.T) {
	c := newOn(t, ns.EngineSSA, Options{StackBytes: 1 << 20})
	mustRun(t, c, "func f(n int) int {\n\treturn f(n+1) + 1\n}")
	_, err := run(t, c, "f(0)")
	e, ok := errors.AsType[*ns.LimitError](err)
	if !ok || e.Limit != 1<<20 || len(e.Stack) != overflowTrace || e.Stack[0] != "f:2:10" {
		t.Errorf("%T: %v, at %q", err, err, e.Stack)
	}
}
