package live

import (
	"context"
	"errors"
	"maps"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"farm/internal/zoo"
	ns "farm/namespace"
)

// failing are ends of cells that make them fail, whatever came before, and what says that they failed
// for that reason.
var failing = []struct {
	name, end string
	is        func(error) bool
	rare      bool   // takes a while
	on        string // the engine that refuses it; empty: both
}{
	{"a compile error", "steps = nope", as[*ns.CompileError], false, ""},
	{"a type error", "steps = \"s\"", as[*ns.CompileError], false, ""},
	{"a redefinition that others do not fit", "func (s Square) Area() string { return \"\" }", as[*ns.CompileError], false, ""},
	{"a changed type with values", "type Point struct{ Z int }", as[*ns.CompileError], false, ""},
	{"a package that is not allowed", "import \"net\"\nnet.Dial(\"tcp\", \"x\")", as[*ns.NotAllowedError], false, ""},
	{"a construct that is refused", "type Loop func() Loop", as[*ns.NotAllowedError], false, ns.EngineYaegi},
	{"a panic", "panic(\"boom\")", as[*ns.PanicError], false, ""},
	{"a panic while things are half done", "for i := range whole { whole[i] = -1; left[i]++ }\nwhole[len(whole)] = 1", as[*ns.PanicError], false, ""},
	{"a nil map", "nomap[\"a\"] = 1", as[*ns.PanicError], false, ""},
	{"a panic in a method", "(*Rect)(nil).Grow(1)", as[*ns.PanicError], false, ""},
	{"a panic in a goroutine", "d := make(chan int)\ngo func() { panic(1) }()\n<-d", as[*ns.PanicError], false, ""},
	{"a channel", "ch := make(chan int)", as[*ns.UnserializableError], false, ""},
	{"a function in a value", "self[\"f\"] = func() {}", as[*ns.UnserializableError], false, ns.EngineYaegi},
	{"a channel in a value", "anything = make(chan int)", as[*ns.UnserializableError], false, ""},
	{"a value over its limit", "octets = make([]byte, 1<<20)", as[*ns.LimitError], false, ""},
	{"a delta over its limit", "huge1, huge2 := make([]byte, 600_000), make([]byte, 600_000)", as[*ns.LimitError], false, ""},
	{"a result over its limit", "make([]byte, 70_000)", as[*ns.LimitError], false, ""},
	{"source over its limit", "//" + strings.Repeat("x", ns.DefaultMaxSource), as[*ns.LimitError], false, ""},
	{"a cancel", "import \"farm\"\nfarm.Progress(1, 1)\nfor { steps++ }", func(err error) bool { return errors.Is(err, context.Canceled) }, true, ""},
	{"a cancel while waiting", "import \"farm\"\nfarm.Progress(1, 1)\nselect { }", func(err error) bool { return errors.Is(err, context.Canceled) }, true, ""},
	{"a goroutine that goes on", "go func() { for { steps++ } }()", as[*ns.GoroutineError], true, ""},
}

func as[E error](err error) bool { _, ok := errors.AsType[E](err); return ok }

// TestFailuresChangeNothing runs cells of which some fail, in one context, and those that succeed in
// another too. A cell that fails leaves all items as they were, and the others give what they give alone:
// the same values and items. Now and then the context is restored from its items in between. More of it:
// -rapid.checks=2000.
func TestFailuresChangeNothing(t *testing.T) { onEngines(t, failuresChangeNothing) }

func failuresChangeNothing(t *testing.T, engine string) {
	if raceEnabled {
		t.Skip("the interpreter has a data race on a result that is not used when the context ends")
	}
	cells, changes := zoo.Cells(3, 60), zoo.Changes(4, 30)
	var cancel func()
	c := newOn(t, engine, Options{Progress: func(int, int) { cancel() }, Limits: ns.Limits{Value: 1 << 20, Delta: 1 << 20}})
	alone := newOn(t, engine, Options{})
	for _, src := range zoo.Declare() {
		mustRun(t, alone, src)
	}
	began := alone.Items().Clone()
	seen, failed, succeeded := map[string]int{}, 0, 0
	rapid.Check(t, func(r *rapid.T) {
		for _, x := range []*Context{c, alone} {
			if err := x.Restore(began); err != nil {
				r.Fatal(err)
			}
		}
		for range rapid.IntRange(3, 10).Draw(r, "cells") {
			if rapid.IntRange(0, 9).Draw(r, "restore") == 0 {
				if err := c.Restore(c.Items().Clone()); err != nil {
					r.Fatal(err)
				}
			}
			if rapid.Bool().Draw(r, "succeeds") {
				src := rapid.SampledFrom(cells).Draw(r, "cell")
				got, err := c.Run(t.Context(), ns.Run{Source: src})
				want, err2 := alone.Run(t.Context(), ns.Run{Source: src})
				if err != nil || err2 != nil || string(got.JSON) != string(want.JSON) {
					r.Fatalf("%s\n%s, %v; alone: %s, %v", src, got.JSON, err, want.JSON, err2)
				}
				succeeded++
				equalItems(r, c.Items(), alone.Items())
				continue
			}
			f := rapid.SampledFrom(failing).Draw(r, "failure")
			if f.on != "" && f.on != engine {
				continue
			}
			if f.rare && rapid.IntRange(0, 1).Draw(r, "rarely") != 0 {
				continue
			}
			src := rapid.SampledFrom(changes).Draw(r, "changes") + f.end
			before := maps.Clone(c.Items())
			ctx, stop := context.WithCancel(t.Context())
			cancel = stop
			res, err := c.Run(ctx, ns.Run{Source: src})
			stop()
			if !f.is(err) || !res.Delta.Empty() {
				r.Fatalf("%s: %v, %v\n%s", f.name, err, res.Delta, src)
			}
			failed++
			seen[f.name]++
			equalItems(r, c.Items(), before)
		}
	})
	t.Logf("%d cells succeeded, %d failed: %v", succeeded, failed, seen)
	for _, f := range failing {
		if seen[f.name] == 0 && !t.Failed() && (f.on == "" || f.on == engine) {
			t.Errorf("%s never came", f.name)
		}
	}
}

func equalItems(r *rapid.T, a, b ns.Items) {
	if d := ns.Diff(b, a); !d.Empty() {
		r.Fatalf("items differ: %v, %v", d.Put, d.Delete)
	}
}
