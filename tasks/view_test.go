package tasks

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"farm/api"
)

func TestPatterns(t *testing.T) {
	for in, want := range map[string]string{
		"a":                "a",
		"a,b":              "a b",
		"c{0..3}":          "c0 c1 c2 c3",
		"c{3..1}x":         "c3x c2x c1x",
		"c{8..11}":         "c8 c9 c10 c11",
		"c{08..11}":        "c08 c09 c10 c11",
		"c{0..0}":          "c0",
		"r{0..1}c{0..1},z": "r0c0 r0c1 r1c0 r1c1 z",
		"c{0..1}*":         "c0* c1*",
		"c[a-c]?":          "c[a-c]?",
	} {
		if got, err := patterns(in); err != nil || strings.Join(got, " ") != want {
			t.Errorf("%s: %q, %v", in, got, err)
		}
	}
	for in, want := range map[string]error{
		"": ErrInvalid, "a,": ErrInvalid, ",a": ErrInvalid, "c{": ErrInvalid, "c}": ErrInvalid, "c{0..3": ErrInvalid, "c}0..3{": ErrInvalid,
		"c{a..b}": ErrInvalid, "c{..3}": ErrInvalid, "c{0..}": ErrInvalid, "c{0.3}": ErrInvalid, "c{-1..3}": ErrInvalid, "c{{0..1}}": ErrInvalid,
		"c[": ErrInvalid, "c{0..10000}": ErrLimit, "c{0..9}{0..9999}": ErrLimit, "c{0..99999999999999999999}": ErrInvalid,
		"a{1..9999},b{1..9999}": ErrLimit,
	} {
		if got, err := patterns(in); !errors.Is(err, want) {
			t.Errorf("%s: %d names, %v", in, len(got), err)
		}
	}
}

func TestCountedOrder(t *testing.T) {
	// Names that count the same are ordered as text.
	want := []string{"", "01", "1", "2", "10", "a", "a1b2", "a1b10", "a2", "a10", "a10x", "b", "c9", "c10"}
	got := slices.Clone(want)
	slices.Reverse(got)
	if slices.SortFunc(got, compareCounted); !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
}

func TestSelect(t *testing.T) {
	d := newDictFarm()
	for i := range 12 {
		d.vars[fmt.Sprint("c", i)] = map[string]string{}
	}
	c := dialFake(t, Options{}, startFake(t, d.answer))
	ctx := testContext(t)
	for in, want := range map[string]string{
		"c*":              "c0 c1 c2 c3 c4 c5 c6 c7 c8 c9 c10 c11",
		"c{9..10},new,c9": "c9 c10 new",
		"c{0..1}*":        "c0 c1 c10 c11",
	} {
		if v, err := c.Select(ctx, in); err != nil || strings.Join(v.Names(), " ") != want {
			t.Errorf("%s: %+v, %v", in, v, err)
		}
	}
	if _, err := c.Select(ctx, "d*"); !errors.Is(err, ErrNotFound) || !strings.Contains(err.Error(), `"d*"`) {
		t.Errorf("a glob that matches nothing: %v", err)
	}
	for s, want := range map[string]bool{"a": false, "a,b": true, "a*": true, "a{0..1}": true, "a?": true, "[ab]": true} {
		if IsSelection(s) != want {
			t.Errorf("IsSelection(%q) is %v", s, !want)
		}
	}
}

// Whatever the sizes, the runs are even to within one, in order, and together
// what was scattered.
func TestScatterAndGather(t *testing.T) {
	d := newDictFarm()
	c := dialFake(t, Options{}, startFake(t, d.answer))
	ctx := testContext(t)
	for _, k := range []int{1, 2, 3, 7, 70} {
		v, err := c.Select(ctx, fmt.Sprintf("s%d.{1..%d}", k, k))
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range []int{0, 1, 2, 6, 7, 8, 100} {
			want := numbers(n)
			if err := Scatter(ctx, v, "xs", want); err != nil {
				t.Fatal(err)
			}
			sizes, last := 0, n
			for _, name := range v.Names() {
				var run []int
				var text string
				d.locked(func() { text = d.vars[name]["xs"] })
				if err := json.Unmarshal([]byte(text), &run); err != nil || run == nil {
					t.Fatalf("%s of %d over %d: %q", name, n, k, text)
				}
				if len(run) > last || len(run) < n/k || len(run) > n/k+1 {
					t.Errorf("%d over %d: %s has %d", n, k, name, len(run))
				}
				sizes, last = sizes+len(run), len(run)
			}
			if got, err := Gather[int](ctx, v, "xs"); err != nil || !slices.Equal(got, want) || sizes != n {
				t.Errorf("%d over %d: %v, %v", n, k, got, err)
			}
		}
	}
}

// A new variable gets its type from the whole, since a run may suggest another
// one; one that exists is only set.
func TestScatterGivesOneType(t *testing.T) {
	type celsius float64
	ctx := testContext(t)
	sets := func(scatter func(v *View) error) []string {
		t.Helper()
		d := newDictFarm()
		v := dialFake(t, Options{}, startFake(t, d.answer)).View("a", "b")
		for range 2 { // the second time the variables exist
			if err := scatter(v); err != nil {
				t.Fatal(err)
			}
		}
		var sets []string
		d.locked(func() { sets = slices.Clone(d.sets) })
		slices.Sort(sets[:4])
		return sets
	}
	raw := func(s ...string) func(v *View) error {
		return func(v *View) error {
			var list []json.RawMessage
			for _, x := range s {
				list = append(list, json.RawMessage(x))
			}
			return v.ScatterJSON(ctx, "x", list)
		}
	}
	for name, c := range map[string]struct {
		scatter func(v *View) error
		example string
	}{
		"floats":      {raw("1", "2.5"), exampleFloats},
		"ints":        {raw("1", "-2"), exampleInts},
		"strings":     {raw(`"a"`, `"b"`), exampleStrings},
		"bools":       {raw("true", "false"), exampleBools},
		"mixed":       {raw("true", "1"), exampleAny},
		"objects":     {raw("{}", "{}"), exampleAny},
		"nothing":     {raw(), exampleAny},
		"typed":       {func(v *View) error { return Scatter(ctx, v, "x", []celsius{1, 2}) }, exampleFloats},
		"typed empty": {func(v *View) error { return Scatter(ctx, v, "x", []string{}) }, exampleStrings},
		"numbers":     {func(v *View) error { return Scatter(ctx, v, "x", []json.Number{"1", "2.5"}) }, exampleFloats},
		"marshalers":  {func(v *View) error { return Scatter(ctx, v, "x", []json.RawMessage{[]byte("1")}) }, exampleInts},
		"any":         {func(v *View) error { return Scatter(ctx, v, "x", []any{1, 2}) }, exampleInts},
	} {
		got := sets(c.scatter)
		typed := 0
		for _, s := range got {
			if strings.HasSuffix(s, "x = "+c.example) {
				typed++
			}
		}
		if len(got) != 6 || typed < 2 {
			t.Errorf("%s: %q", name, got)
		}
	}
	if err := dialFake(t, Options{}, startFake(t, usual)).View("a").Push(ctx, "x", func() {}); !errors.Is(err, ErrInvalid) {
		t.Errorf("push of a func: %v", err)
	}
	if err := Scatter(ctx, dialFake(t, Options{}, startFake(t, usual)).View("a"), "x", []any{func() {}}); !errors.Is(err, ErrInvalid) {
		t.Errorf("scatter of a func: %v", err)
	}
}

func TestViewNamesWhatFailed(t *testing.T) {
	d := newDictFarm()
	c := dialFake(t, Options{}, startFake(t, d.answer))
	ctx := testContext(t)
	v, err := c.Select(ctx, "c{0..9}")
	if err != nil {
		t.Fatal(err)
	}
	d.locked(func() { d.refuse["c3"], d.refuse["c7"] = -1, -1 })
	err = v.Push(ctx, "x", []int{1})
	var failed *ViewError
	if !errors.As(err, &failed) || len(failed.Failed) != 2 || failed.Of != 10 || failed.Failed[0].Namespace != "c3" || failed.Failed[1].Namespace != "c7" {
		t.Fatalf("%v", err)
	}
	if !errors.Is(err, ErrLimit) || errors.Is(err, ErrNotFound) || !strings.HasPrefix(err.Error(), "failed in 2 of 10 namespaces: c3: ") || !strings.Contains(err.Error(), "; c7: ") {
		t.Errorf("%v", err)
	}
	d.locked(func() {
		if got := len(d.vars); got != 8 {
			t.Errorf("%d namespaces were set", got)
		}
	})
	vars, err := v.Pull(ctx, "x")
	if err == nil || len(vars) != 10 || vars[3] != nil || string(vars[9].JSON) != "[1]" {
		t.Errorf("pull: %v, %v", vars, err)
	}
	if _, err := Pull[[]int](ctx, v, "x"); !errors.As(err, &failed) {
		t.Errorf("pull into Go: %v", err)
	}
	if _, err := Pull[int](ctx, c.View("c0"), "x"); err == nil || !strings.Contains(err.Error(), "x in c0") {
		t.Errorf("pull into the wrong type: %v", err)
	}
	ran, err := v.Exec(ctx, "len(x)")
	if !errors.As(err, &failed) || ran[3] != nil || string(ran[0].Value) != "1" {
		t.Errorf("exec: %v", err)
	}
	var task *TaskError
	if ran, err := v.Exec(ctx, "len(y)"); !errors.As(err, &task) || task.Kind != "compile" || ran[0].State != Failed {
		t.Errorf("exec that fails: %v", err)
	}
	if _, err := v.GatherJSON(ctx, "x"); !errors.As(err, &failed) {
		t.Errorf("gather: %v", err)
	}
	d.locked(func() {
		d.refuse = map[string]int{}
		d.vars["c4"]["x"] = "5"
	})
	if _, err := v.GatherJSON(ctx, "x"); !errors.As(err, &failed) || !errors.Is(err, ErrInvalid) || !errors.Is(err, ErrNotFound) || failed.Failed[1].Namespace != "c4" {
		t.Errorf("gather of a number: %v", err)
	}
	many := &ViewError{Of: 9}
	for i := range 7 {
		many.Failed = append(many.Failed, &NamespaceError{fmt.Sprint("n", i), ErrLimit})
	}
	if s := many.Error(); strings.Contains(s, "n5") || !strings.HasSuffix(s, "; and 2 more") {
		t.Errorf("%s", s)
	}
	if err := c.View().Push(ctx, "x", 1); !errors.Is(err, ErrInvalid) {
		t.Errorf("a view of nothing: %v", err)
	}
	if got := c.View("a", "b", "a").Names(); !slices.Equal(got, []string{"a", "b"}) {
		t.Errorf("names twice: %q", got)
	}
}

// A view has many calls in flight, and no more than viewParallel.
func TestViewIsParallelAndBounded(t *testing.T) {
	var mu sync.Mutex
	var waiting []*api.Call
	most, answered := 0, 0
	full := make(chan struct{})
	n := startFake(t, func(n *fakeNode, st *fakeStream, c *api.Call) *api.Reply {
		if c.GetDelete() == nil {
			return usual(n, st, c)
		}
		mu.Lock()
		defer mu.Unlock()
		waiting = append(waiting, c)
		if most = max(most, len(waiting)); len(waiting) == viewParallel {
			close(full)
		}
		if answered > 0 { // the first lot went: answer what comes
			waiting = waiting[1:]
			return done(c.GetDelete().Id)
		}
		go func() {
			<-full
			mu.Lock()
			defer mu.Unlock()
			answered++
			waiting = slices.DeleteFunc(waiting, func(x *api.Call) bool { return x == c })
			r := done(c.GetDelete().Id)
			r.Seq = c.Seq
			st.send(r)
		}()
		return nil
	})
	c := dialFake(t, Options{}, n)
	v, err := c.Select(testContext(t), "n{1..300}")
	if err != nil {
		t.Fatal(err)
	}
	if err := v.Delete(testContext(t), "x"); err != nil {
		t.Fatal(err)
	}
	if most != viewParallel {
		t.Errorf("%d calls in flight, want %d", most, viewParallel)
	}
}

func TestViewEndsWithItsContext(t *testing.T) {
	n := startFake(t, func(n *fakeNode, st *fakeStream, c *api.Call) *api.Reply {
		if c.GetGet() != nil {
			return nil
		}
		return usual(n, st, c)
	})
	c := dialFake(t, Options{}, n)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := c.View("a", "b").Stale().Pull(ctx, "x"); !errors.Is(err, ErrTimeout) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
	if calls := n.calls(); len(calls) != 2 || !calls[0].Stale {
		t.Errorf("%v", calls)
	}
}
