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
	keeps(t, []keptCase{
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
	})
}

// keptCase is cells that follow counters.
type keptCase struct {
	name  string
	cells []string
	want  string // of the last
}

// keeps runs cases in a live context and in another process for each cell.
func keeps(t *testing.T, list []keptCase) {
	o := startOthers(t)
	for _, x := range list {
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
		"func counter(k int) func() int { return nil }":                                   "counter is changed but c still holds a function of counter",
		"func (t *T) Add(k int) int { return 0 }":                                         "T.Add is changed but add still holds a function of T.Add",
		"type T struct{ n, m int; next *T }":                                              "type T is changed but variables still hold",
		"{ type L int; k = func() int { return int(L(1)) } }":                             "k cannot be kept: it is a function literal: it uses the type L, which is declared inside a block",
		"{ const two = 2; x := []any{func() int { return two }}; k = x[0].(func() int) }": "it uses the constant two, which is declared inside a block",
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

// TestLiteralsAreKept proves the same of function literals in the statements of cells.
func TestLiteralsAreKept(t *testing.T) {
	keeps(t, []keptCase{
		{"of a variable of the namespace", []string{"n := 1\nf := func() int { n++; return n }", "f()", "n = 10", "f()*100 + n"}, "1111"},
		{"of locals", []string{"var f func() int\n{ a, b := 1, \"x\"; p := &a; f = func() int { a += len(b); *p += 10; b += \"y\"; return a } }", "f()", "f()"}, "24"},
		{"loop variables", []string{"var fs []func() int\nfor i := 0; i < 3; i++ { for _, s := range []string{\"a\", \"bc\"} { fs = append(fs, func() int { i += 10; return i*10 + len(s) }) } }", "fs[1]()", "x := \"\"\nfor _, f := range fs { x += fmt.Sprint(f(), \" \") }\nx"}, `"201 302 111 212 121 222 "`},
		{"shared by two", []string{"var inc, get func() int\n{ n := 5; inc = func() int { n++; return n }; get = func() int { return n } }", "inc()\ninc()", "get()"}, "7"},
		{"recursive by its variable", []string{"var fib func(int) int\nfib = func(n int) int { if n < 2 { return n }; return fib(n-1) + fib(n-2) }", "fib(10)"}, "55"},
		{"recursive by a local", []string{"var f func(int) int\n{ var g func(int) int; g = func(n int) int { if n < 2 { return 1 }; return n * g(n-1) }; f = g }", "f(5)"}, "120"},
		{"that makes others", []string{"mk := func(k int) func() int { n := k; return func() int { n += k; return n } }\na := mk(2)", "b := mk(10)\na()", "a()*100 + b()"}, "620"},
		{"in a struct, a map and an interface", []string{"type H struct { f func(string) string; m map[string]func() int; x any }\nh := H{f: func(s string) string { return s + s }}", "k := 3\nh.m = map[string]func() int{\"a\": func() int { k *= 2; return k }}\nh.x = Op(func(x int) int { return x + k })", "fmt.Sprint(h.f(\"z\"), h.m[\"a\"](), h.x.(Op)(1))"}, `"zz6 7"`},
		{"with what it declares", []string{"f := func(n int) string { type P struct{ A, B int }; const k = 2; g := func(p P) int { return p.A * k }; return fmt.Sprintf(\"%T %d\", P{}, g(P{n, 0})) }", "f(4)"}, `"main.P 8"`},
		{"that is large and has comments", []string{"f := func() int { // one\n\t/* two */ x := `a\nb`\n\tfor range 3 {\n\t\tx += \"c\" // three\n\t}\n\treturn len(x) // }\n}", "f()"}, "6"},
		{"of a type of a package", []string{"var w func(string) string\n{ b := &strings.Builder{}; w = func(s string) string { b.WriteString(s); return b.String() } }", "w(\"x\")", "w(\"y\")"}, `"xy"`},
		{"of a buffer", []string{"var w func(string) string\n{ b := &bytes.Buffer{}; w = func(s string) string { b.WriteString(s); return b.String() } }", "w(\"x\")", "w(\"y\")"}, `"xy"`},
		{"in a range over a function", []string{"var fs []func() int\nfor x := range slices.Values([]int{4, 5}) { fs = append(fs, func() int { x++; return x }) }", "fs[0]() + fs[1]()", "fs[0]()*10 + fs[1]()"}, "67"},
		{"of a type switch", []string{"var f func() string\nswitch v := any(7).(type) { case int: f = func() string { v++; return fmt.Sprint(v) } }", "f()", "f()"}, `"9"`},
		{"method value of a local", []string{"var add func(int) int\n{ t := &T{n: 3}; add = t.Add }", "add(1)", "add(1)"}, "5"},
		{"that recovers", []string{"f := func(n int) (s string) { defer func() { s = fmt.Sprint(recover()) }(); return string(rune(1 / n)) }", "f(0)"}, `"runtime error: integer divide by zero"`},
		{"whole program", []string{"package main\n\nvar n = 2\n\nvar f = func() int { n *= 3; return n }\n\nvar g func() int\n\nfunc main() {\n\tk := 1\n\tg = func() int { k += n; return k }\n}", "f()", "f() + g()"}, "37"},
		{"of a package not imported", []string{"func mk() *sort.IntSlice { s := sort.IntSlice{3, 1}; return &s }\nvar f func() int", "{ s := mk(); f = func() int { return s.Len() } }", "f()"}, "2"},
	})
}

// TestLiteralsComeAndGo proves that the source of a literal is in the namespace once, as long as a variable
// holds it, and what it holds fast.
func TestLiteralsComeAndGo(t *testing.T) {
	c := newOn(t, ns.EngineSSA, Options{})
	mustRun(t, c, "n := 1\nfunc g() int { return 1 }\ntype T struct{ a int }")
	literals := func() (list []string) {
		for k := range c.Items() {
			if strings.HasPrefix(k, "d/__lit_") {
				list = append(list, k)
			}
		}
		return list
	}
	mustRun(t, c, "f := func() int { n++; return g() + T{a: n}.a }")
	before := c.Items().Clone()
	mustRun(t, c, "h := func() int { n++; return g() + T{a: n}.a }")
	if l := literals(); len(l) != 1 {
		t.Fatal("literals:", l)
	}
	for src, says := range map[string]string{
		"n := \"s\"":                      "in a function literal that a variable holds, 1:",
		"func g() string { return \"\" }": "in a function literal that a variable holds, 1:",
		"type T struct{ a, b int }":       "T is changed but f still holds a function literal that uses it",
		"__lit_x := 1":                    "the name __lit_x cannot be declared",
	} {
		if _, err := run(t, c, src); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v", src, err)
		}
	}
	for _, name := range []string{"n", "g"} {
		if _, err := ns.Delete(c.Items(), name); err == nil || !strings.Contains(err.Error(), "f, h") {
			t.Errorf("delete %s: %v", name, err)
		}
	}
	mustRun(t, c, "func g() int { return 100 }") // as for a declared function, it is called by name
	if r := mustRun(t, c, "f()"); string(r.JSON) != "102" {
		t.Errorf("f gives %s", r.JSON)
	}
	mustRun(t, c, "n = 1\nfunc g() int { return 1 }")
	d, err := ns.Delete(c.Items(), "h")
	if err != nil || len(d.Delete) != 1 {
		t.Error(d, err)
	}
	if err := c.Update(d); err != nil {
		t.Fatal(err)
	}
	sameItems(t, before, c.Items())
	if d, err = ns.Delete(c.Items(), "f"); err != nil || len(d.Delete) != 2 {
		t.Error(d, err)
	}
	mustRun(t, c, "f = nil")
	if l := literals(); len(l) != 0 {
		t.Error("literals:", l)
	}
	mustRun(t, c, "var r func(int) int\nr = func(k int) int { if k == 0 { return 0 }; return r(k-1) + 1 }")
	if d, err = ns.Delete(c.Items(), "r"); err != nil || len(d.Delete) != 2 {
		t.Error("a literal that calls itself:", d, err)
	}
	mustRun(t, c, "r = nil")
	mustRun(t, c, "r := 3")
}

// TestLiteralsAreLimited counts them as the declarations they are.
func TestLiteralsAreLimited(t *testing.T) {
	c := newOn(t, ns.EngineSSA, Options{Limits: ns.Limits{Decls: 2}})
	mustRun(t, c, "fs := []func() int{func() int { return 1 }, func() int { return 2 }}")
	before := c.Items().Clone()
	if _, err := run(t, c, "fs = append(fs, func() int { return 3 })"); err == nil || !strings.Contains(err.Error(), "function literals") {
		t.Error(err)
	}
	sameItems(t, before, c.Items())
	mustRun(t, c, "fs[0] = func() int { return 3 }")
	if r := mustRun(t, c, "fs[0]()*10 + fs[1]()"); string(r.JSON) != "32" {
		t.Errorf("%s", r.JSON)
	}
}
