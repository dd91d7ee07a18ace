package live

import (
	"strings"
	"testing"

	ns "farm/namespace"
)

const counters = `import ("fmt"; "slices"; "strings"; "bytes"; "sort"; "iter")
type T struct{ n int; next *T }
func (t T) Get() int { return t.n }
func (t *T) Add(k int) int { t.n += k; return t.n }
type Getter interface{ Get() int }
type Op func(int) int
func counter(k int) func() int { n := 0; return func() int { n += k; return n } }
func pair() (inc func(), get func() int) { n := 0; return func() { n++ }, func() int { return n } }
func twice(f Op) Op { return func(x int) int { return f(f(x)) } }
func fact() func(int) int { var f func(int) int; f = func(n int) int { if n < 2 { return 1 }; return n * f(n-1) }; return f }
func held(t T, s []int, e error, m map[string]*T) func() string { return func() string { t.n++; s[0]++; m["a"].n++; return fmt.Sprint(t.n, s, e, m["a"].n) } }
func double(x int) int { return 2 * x }
func mapped[A, B any](xs []A, f func(A) B) func() []B { return func() (out []B) { for _, x := range xs { out = append(out, f(x)) }; return } }
type Box[V any] struct{ v V; show func(V) string }
`

// TestFunctionsAreKept proves that functions of declared functions, with what they have captured and share,
// are kept, and work after a restore in another process as before.
func TestFunctionsAreKept(t *testing.T) {
	o := startOthers(t)
	for _, x := range []struct {
		name  string
		cells []string
		want  string // of the last
	}{
		{"closure", []string{"c := counter(3)\nc()", "c()", "c()"}, "9"},
		{"declared", []string{"f := double\nvar g Op = double", "f(4) + g(5)"}, "18"},
		{"shared by two", []string{"inc, get := pair()", "inc()\ninc()", "inc()", "get()"}, "3"},
		{"of a named type", []string{"q := twice(twice(double))", "q(1)"}, "16"},
		{"recursive", []string{"f := fact()", "f(5)"}, "120"},
		{"values and pointers", []string{"tt := &T{n: 10}\nxs := []int{1, 2}\nh := held(T{n: 1}, xs, fmt.Errorf(\"e %d\", 5), map[string]*T{\"a\": tt})", "h()", "tt.n, xs[0] = 20, 7", "h() + fmt.Sprint(\" \", tt.n, xs)"}, `"3 [8 2] e 5 21 21 [8 2]"`},
		{"method value", []string{"p := &T{n: 5}\nadd, get := p.Add, p.Get", "add(2)", "p.n = 50", "fmt.Sprint(add(1), get())"}, `"51 5"`},
		{"method value of an interface", []string{"var i Getter = T{n: 4}\nget := i.Get", "get()"}, "4"},
		{"method expression", []string{"add, get := (*T).Add, T.Get", "p := T{n: 1}\nfmt.Sprint(add(&p, 2), get(p))"}, `"3 3"`},
		{"compiled functions", []string{"up, b := strings.ToUpper, &bytes.Buffer{}\nw := b.WriteString", "w(up(\"x\"))", "w(up(\"y\"))\nb.String()"}, `"XY"`},
		{"generic", []string{"m := mapped([]int{1, 2}, func() Op { return double }())", "n := mapped([]string{\"a\"}, strings.ToUpper)\nlen(m()) + m()[1]", "n()[0]"}, `"A"`},
		{"instance", []string{"idx := slices.Index[[]string, string]", "idx([]string{\"a\", \"b\"}, \"b\")"}, "1"},
		{"in types", []string{"ops := map[string]Op{\"d\": double, \"t\": twice(double)}\nbox := Box[int]{7, func() func(int) string { return show }()}\nfunc show(n int) string { return fmt.Sprint(\"<\", n, \">\") }", "fmt.Sprint(ops[\"d\"](1), ops[\"t\"](1), box.show(box.v))"}, `"2 4<7>"`},
		{"in interfaces", []string{"xs := []any{double, counter(2), T.Get, Op(double), Box[string]{\"v\", strings.ToLower}}", "xs[1].(func() int)()", "fmt.Sprint(xs[0].(func(int) int)(1), xs[1].(func() int)(), xs[2].(func(T) int)(T{n: 3}), xs[3].(Op)(2), xs[4].(Box[string]).show(\"QQ\"))"}, `"2 4 3 4qq"`},
		{"sequence", []string{"seq := slices.Values([]int{3, 1, 2})", "s := 0\nfor x := range seq { s = s*10 + x }\ns"}, "312"},
		{"nil", []string{"var f func()\nvar g Op", "f == nil && g == nil"}, "true"},
	} {
		t.Run(x.name, func(t *testing.T) {
			warm := newOn(t, ns.EngineSSA, Options{})
			items := warm.Items().Clone()
			for i, src := range append([]string{counters}, x.cells...) {
				w := mustRun(t, warm, src)
				c := o.run(t, ns.EngineSSA, items, src)
				if c.Err != "" || string(c.JSON) != string(w.JSON) {
					t.Fatalf("cell %d:\n%s\nwarm %s, cold %s, %s", i, src, w.JSON, c.JSON, c.Err)
				}
				sameItems(t, warm.Items(), c.After)
				c.Delta.Apply(items)
				if got := strings.NewReplacer(`\u003c`, "<", `\u003e`, ">").Replace(string(w.JSON)); i == len(x.cells) && got != x.want {
					t.Errorf("%s, want %s", got, x.want)
				}
			}
		})
	}
}

// TestFunctionsHoldTheirCode proves that a declaration whose code is in a variable, or a type that such code
// uses, cannot change while that is so, and what functions are refused.
func TestFunctionsHoldTheirCode(t *testing.T) {
	c := newOn(t, ns.EngineSSA, Options{})
	mustRun(t, c, counters)
	mustRun(t, c, "c := counter(2)\nadd := (&T{n: 1}).Add\nk := counter(1)\nfetch := T.Get")
	for src, says := range map[string]string{
		"func counter(k int) func() int { return nil }": "counter is changed but c still holds a function of counter",
		"func (t *T) Add(k int) int { return 0 }":       "T.Add is changed but add still holds a function of T.Add",
		"type T struct{ n, m int; next *T }":            "type T is changed but variables still hold",
		"lit := func() int { return 1 }":                "lit cannot be kept: it is a function made by the statements of a cell",
		"x := []any{func() {}}":                         "x[0].(func()) cannot be kept",
		"m := map[string]func(){\"a\": func() {}}":      "a function made by the statements of a cell",
	} {
		before := c.Items().Clone()
		if _, err := run(t, c, src); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v, want %q", src, err, says)
		}
		sameItems(t, before, c.Items())
	}
	if _, err := ns.Delete(c.Items(), "counter"); err == nil {
		t.Error("the code of a variable was deleted")
	}
	if j, typ, err := ns.GetJSON(c.Items(), "c"); err != nil || string(j) != `{"$func":"counter#1"}` || typ != "func() (int)" {
		t.Errorf("c is %s of type %s: %v", j, typ, err)
	}
	mustRun(t, c, "c, k = nil, nil")
	mustRun(t, c, "func counter(k int) func() int { return func() int { return 77 } }")
	if r := mustRun(t, c, "c = counter(1)\nc()"); string(r.JSON) != "77" {
		t.Errorf("a new function gives %s", r.JSON)
	}
}
