package differ

import (
	"fmt"
	"strings"
)

// Limits of a program.
const (
	maxDepth = 2   // statements within each other
	fuel     = 400 // turns of loops and calls when it runs
)

// Header is printed before the output of program i.
func Header(i int) string { return fmt.Sprintf("## %d", i) }

// helpers are what all programs of a file use.
const helpers = `package main

import (
	"cmp"
	"fmt"
	"slices"
	"sort"
	"strconv"
	"strings"
	"sync"
)

var out strings.Builder

var fuel int

func turn() bool { fuel--; return fuel > 0 }

func id[T any](x T) T { return x }

func choose[T any](c bool, a, b T) T {
	if c {
		return a
	}
	return b
}

func say(tag int, xs ...any) {
	if out.Len() < 20000 {
		fmt.Fprint(&out, tag, ":")
		for _, x := range xs {
			fmt.Fprintf(&out, " %v", x)
		}
		out.WriteByte('\n')
	}
}

func caught(tag int, r any) {
	switch r := r.(type) {
	case nil:
		say(tag, "no panic")
	case error:
		say(tag, "error", r.Error())
	default:
		say(tag, fmt.Sprintf("%T %v", r, r))
	}
}

func toInt(f float64) int {
	if f > -1e15 && f < 1e15 {
		return int(f)
	}
	return 7
}

func part(s string, i, j int) string {
	i, j = max(0, min(i, len(s))), max(0, min(j, len(s)))
	if i > j {
		i, j = j, i
	}
	return s[i:j]
}

func short(s string) string { return s[:min(len(s), 64)] }

func cat(a, b string) string { return short(a + b) }

func join[T any](a, b []T) []T {
	if len(a)+len(b) > 40 {
		return a
	}
	return append(a[:len(a):len(a)], b...)
}

func plus[T any](a []T, x T) []T { return join(a, []T{x}) }

func callM(x interface{ M(int) int }, a int) int {
	if x == nil {
		return -2
	}
	return x.M(a)
}

func at[T any](xs []T, i int) (x T) {
	if len(xs) > 0 {
		x = xs[uint(i)%uint(len(xs))]
	}
	return
}

func keys[K cmp.Ordered, V any](m map[K]V) []K {
	list := make([]K, 0, len(m))
	for k := range m {
		list = append(list, k)
	}
	slices.Sort(list)
	return list
}

func upTo(n int) func(func(int) bool) {
	return func(yield func(int) bool) {
		for i := 0; i < n; i++ {
			if !yield(i) {
				return
			}
		}
	}
}

func pairs[T any](xs []T) func(func(int, T) bool) {
	return func(yield func(int, T) bool) {
		for i, x := range xs {
			if !yield(i, x) {
				return
			}
		}
	}
}

type number interface {
	~int | ~int8 | ~int16 | ~int32 | ~int64 | ~uint | ~uint8 | ~uint16 | ~uint32 | ~uint64 | ~float32 | ~float64
}

func sum[T number](xs ...T) (s T) {
	for _, x := range xs {
		s = s*3 + x
	}
	return
}

func mapped[A, B any](xs []A, f func(A) B) []B {
	var list []B
	for _, x := range xs {
		list = append(list, f(x))
	}
	return list
}

type stack[T any] struct{ items []T }

func (s *stack[T]) push(x T) *stack[T] { s.items = append(s.items, x); return s }

func (s *stack[T]) pop() (x T, ok bool) {
	if n := len(s.items); n > 0 {
		x, ok = s.items[n-1], true
		s.items = s.items[:n-1]
	}
	return
}

func run(i int, f func()) {
	out.Reset()
	fuel = FUEL
	func() {
		defer func() {
			if r := recover(); r != nil {
				caught(0, r)
			}
		}()
		f()
	}()
	fmt.Println("##", i)
	fmt.Print(out.String())
}

var _ = []any{sort.Ints, strconv.Itoa, &sync.WaitGroup{}}
`

// File is a Go file of n programs that are made from data. Its output is, for each, its header and what it
// printed.
func File(data []byte, n int) string {
	c := newChoices(data)
	var b strings.Builder
	b.WriteString(strings.Replace(helpers, "FUEL", fmt.Sprint(fuel), 1))
	for i := range n {
		b.WriteString(program(c, i))
	}
	b.WriteString("\nfunc main() {\n")
	for i := range n {
		fmt.Fprintf(&b, "\trun(%d, p%d)\n", i, i)
	}
	b.WriteString("}\n")
	return b.String()
}

// One is a Go file with program i of those of File alone.
func One(data []byte, i int) string {
	c := newChoices(data)
	var p string
	for k := range i + 1 {
		p = program(c, k)
	}
	return strings.Replace(helpers, "FUEL", fmt.Sprint(fuel), 1) + p + fmt.Sprintf("\nfunc main() { run(%d, p%d) }\n", i, i)
}

// Split takes the output of a file apart by program.
func Split(output string) map[string]string {
	list := map[string]string{}
	for _, part := range strings.Split("\n"+output, "\n## ")[1:] {
		i, text, _ := strings.Cut(part, "\n")
		list["## "+i] = text
	}
	return list
}

// gen makes one program.
type gen struct {
	*choices
	b       strings.Builder
	depth   int
	id      int // of the program
	next    int // number for the next name or tag
	nest    int // leaves around the expression at hand
	vars    []variable
	funcs   []function
	structs []*typ
	named   []*typ
	iface   *typ
	pure    bool     // nothing shared may be used: it is for another goroutine
	inside  bool     // of a function literal or method: it calls no function values and methods
	risk    bool     // the statement at hand may panic, in one place: Go leaves open in which order others are
	loops   []string // ways out of the loops around
}

type variable struct {
	name string
	t    *typ
	set  bool // it may be assigned to
}

type function struct {
	name string
	t    *typ
	two  *typ // a second result, nil for none
}

func program(c *choices, i int) string {
	g := &gen{choices: c, id: i}
	g.iface = &typ{kind: kIface, text: fmt.Sprintf("i%d", i)}
	g.declare()
	for range 1 + g.n(2) {
		g.function()
	}
	g.line("func p%d() {", i)
	g.block(func() {
		for range 3 + g.n(6) {
			g.stmt()
		}
	})
	g.line("}")
	return g.b.String()
}

func (g *gen) line(f string, a ...any) {
	g.b.WriteString(strings.Repeat("\t", g.depth))
	fmt.Fprintf(&g.b, f+"\n", a...)
}

func (g *gen) name(prefix string) string {
	g.next++
	return fmt.Sprintf("%s%d", prefix, g.next)
}

func (g *gen) tag() int {
	g.next++
	return g.next
}

// begin begins a statement.
func (g *gen) begin() { g.risk = g.one(3) }

// risky says, at most once for each statement, that an expression may panic.
func (g *gen) risky() bool {
	yes := g.risk && g.one(2)
	if yes {
		g.risk = false
	}
	return yes
}

// block makes what f says with its variables going out of scope.
func (g *gen) block(f func()) {
	n := len(g.vars)
	g.depth++
	f()
	g.depth--
	g.vars = g.vars[:n]
}

// declare makes the types of the program.
func (g *gen) declare() {
	g.line("\ntype i%d interface{ M(int) int }", g.id)
	for k := range g.n(2) {
		base := pick(g.choices, ints...)
		t := *base
		t.text = fmt.Sprintf("n%d_%d", g.id, k)
		g.line("type %s %s", t.text, base.text)
		g.line("func (x %s) Twice() %s { return x + x }", t.text, t.text)
		g.named = append(g.named, &t)
	}
	for k := range 1 + g.n(3) {
		g.structType(k)
	}
}

func (g *gen) structType(k int) {
	s := &typ{kind: kStruct, text: fmt.Sprintf("s%d_%d", g.id, k), byPtr: g.one(2)}
	g.line("type %s struct {", s.text)
	for i := range 1 + g.n(4) {
		f := field{fmt.Sprintf("F%d", i), g.anyType(2)}
		if f.t.kind == kPointer && f.t.elem == s {
			f.t = tInt
		}
		s.fields = append(s.fields, f)
		g.line("\t%s %s", f.name, f.t.text)
	}
	if len(g.structs) > 0 && g.one(3) { // an embedded one
		e := pick(g.choices, g.structs...)
		s.fields = append(s.fields, field{e.text, e})
		g.line("\t%s", e.text)
	}
	g.line("}")
	recv := s.text
	if s.byPtr {
		recv = "*" + s.text
	}
	g.line("func (r %s) M(a int) int {", recv)
	g.vars = []variable{{"a", tInt, true}, {"r", s, false}}
	g.inside, g.risk = true, false
	g.block(func() {
		if s.byPtr {
			g.vars[1].t = pointerTo(s)
			g.line("if r == nil { return -1 }")
			g.line("x := *r")
			g.line("_ = x")
			g.vars = append(g.vars, variable{"x", s, false})
		}
		g.line("return %s", g.expr(tInt, 2))
	})
	g.line("}")
	g.vars, g.inside = nil, false
	g.structs = append(g.structs, s)
}

// function makes a function that others may call: those made before it.
func (g *gen) function() {
	f := function{name: fmt.Sprintf("f%d_%d", g.id, len(g.funcs))}
	var params []*typ
	var list []string
	for i := range g.n(4) {
		t := g.anyType(2)
		params = append(params, t)
		list = append(list, fmt.Sprintf("a%d %s", i, t.text))
		g.vars = append(g.vars, variable{fmt.Sprintf("a%d", i), t, true})
	}
	f.t = funcOf(g.anyType(1), params...)
	results := "(r " + f.t.elem.text + ")"
	if g.one(3) {
		f.two = g.simple()
		results = "(r " + f.t.elem.text + ", q " + f.two.text + ")"
		g.vars = append(g.vars, variable{"q", f.two, true})
	}
	g.vars = append(g.vars, variable{"r", f.t.elem, true})
	g.line("func %s(%s) %s {", f.name, strings.Join(list, ", "), results)
	g.block(func() {
		g.line("if !turn() { return }")
		for range 1 + g.n(5) {
			g.stmt()
		}
		g.begin()
		if f.two != nil {
			g.line("return %s, %s", g.expr(f.t.elem, 2), g.expr(f.two, 2))
		} else {
			g.line("return %s", g.expr(f.t.elem, 3))
		}
	})
	g.line("}")
	g.vars = nil
	g.funcs = append(g.funcs, f)
}
