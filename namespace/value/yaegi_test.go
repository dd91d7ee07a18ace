package value

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"reflect"
	"strings"
	"sync"
	"testing"

	"github.com/traefik/yaegi/interp"
	"github.com/traefik/yaegi/stdlib"
)

// session is a yaegi interpreter together with what go/types knows of its
// program.
type session struct {
	i   *interp.Interpreter
	pkg *types.Package
}

var sourceImporter = sync.OnceValue(func() types.Importer { return importer.ForCompiler(token.NewFileSet(), "source", nil) })

func newSession(t testing.TB, decls string) *session {
	t.Helper()
	fset := token.NewFileSet()
	src := "package main\n" + decls
	f, err := parser.ParseFile(fset, "main.go", src, 0)
	if err != nil {
		t.Fatal(err)
	}
	conf := types.Config{Importer: sourceImporter()}
	pkg, err := conf.Check("main", fset, []*ast.File{f}, nil)
	if err != nil {
		t.Fatal(err)
	}
	s := &session{i: interp.New(interp.Options{}), pkg: pkg}
	if err := s.i.Use(stdlib.Symbols); err != nil {
		t.Fatal(err)
	}
	s.eval(t, src)
	return s
}

func (s *session) eval(t testing.TB, src string) reflect.Value {
	t.Helper()
	v, err := s.i.Eval(src)
	if err != nil {
		t.Fatalf("%v in\n%s", err, src)
	}
	return v
}

// roots gives the variables of the program, or only those named. Assignments may
// move a variable in yaegi's frame, so they are looked up every time.
func (s *session) roots(names ...string) (out []Root) {
	vals := s.i.Globals()
	if len(names) == 0 {
		names = s.pkg.Scope().Names()
	}
	for _, n := range names {
		if v, ok := s.pkg.Scope().Lookup(n).(*types.Var); ok {
			out = append(out, Root{Name: n, Type: v.Type(), Value: vals[n]})
		}
	}
	return out
}

const yaegiTypes = `
import ("time"; "errors"; "math/big"; "strings"; "sync")
type P struct { X int; y int; Tag string }
func (p P) Sum() int { return p.X + p.y }
func (p *P) Inc() { p.y++ }
type ID int
type T struct { V int; L, R *T; Kids []*T; M map[string]*T; A any; f func(int) int; err error }
type Shape interface { Sum() int }
var (
	n, big8 int
	f float64
	str string
	b []byte
	id ID
	p P
	pp *P
	py *int
	ps []P
	sub []P
	mp map[ID]P
	t *T
	tv T
	a any
	as []any
	e, e2 error
	at time.Time
	d time.Duration
	bi *big.Int
	sb strings.Builder
	mu sync.Mutex
	anon struct { a int; B string }
	fn func(int) int
	ch chan int
	sh Shape
	lazy map[string]any
)
var boom = errors.New("boom")
`

func TestYaegiRoundTrip(t *testing.T) {
	s := newSession(t, yaegiTypes)
	s.eval(t, `n = 42; f = 2.5; str = "hi"; b = []byte{1,2}; id = 7
p = P{1, 2, "x"}; pp = &P{3, 4, "y"}; py = &pp.y
ps = []P{{1,1,"a"},{2,2,"b"},{3,3,"c"}}; sub = ps[1:]
mp = map[ID]P{1: {5, 6, "m"}}
t = &T{V: 1}; t.L = t; t.R = &T{V: 2, L: t}; t.Kids = append(t.Kids, t, t.R); t.M = map[string]*T{"r": t.R}
tv.V = 5; tv.L = t
a = []any{1, "x", 2.5, map[string]any{"k": []int{1}}}; as = []any{nil, time.Second}
e = boom; e2 = e
at = time.Unix(5, 6).UTC(); d = 3*time.Second; bi = big.NewInt(99); sb.WriteString("sb")
anon.a = 1; anon.B = "b"
lazy = map[string]any{"list": as}`)
	units := mustEncode(t, s.roots()...)
	groups := map[string]bool{}
	for _, u := range units {
		groups[strings.Join(u.Names, "+")] = true
	}
	for _, g := range []string{"pp+py", "ps+sub", "t+tv", "as+lazy", "boom+e+e2", "n"} {
		if !groups[g] {
			t.Errorf("no unit %s in %v", g, groups)
		}
	}
	s2 := newSession(t, yaegiTypes)
	decodeInto(t, units, s2.roots())
	again := mustEncode(t, s2.roots()...)
	for i := range units {
		if !bytes.Equal(units[i].Data, again[i].Data) {
			t.Errorf("unit %v changed", units[i].Names)
		}
	}
	s2.eval(t, `*py = 8; pp.X = 5; sub[0].X = 50; sb.WriteString("!"); lazy["list"].([]any)[0] = 4`)
	for expr, want := range map[string]any{
		`n + big8 + int(id)`: 49, `p.Sum()`: 3, `pp.Sum() + *py`: 5 + 8 + 8,
		`ps[1].X`: 50, `mp[1].Sum()`: 11, `t.L == t && t.R.L == t && t.Kids[1] == t.R`: true,
		`t.M["r"].V`: 2, `tv.L.V`: 1, `a.([]any)[3].(map[string]any)["k"].([]int)[0]`: 1, `as[1].(time.Duration).String()`: "1s",
		`e == boom && e2 == boom`: true, `at.Nanosecond()`: 6, `bi.String()`: "99", `sb.String()`: "sb!",
		`anon.B`: "b", `as[0].(int)`: 4, `sh == nil`: true, `fn == nil && ch == nil`: true,
	} {
		if got := s2.eval(t, expr); fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%s = %v, want %v", expr, got, want)
		}
	}
	if j, err := JSON(units[slicesIndex(units, "p")].Data, 0, ViewLimits{}); err != nil || string(j) != `{"X":1,"y":2,"Tag":"x"}` {
		t.Errorf("view of p: %s, %v", j, err)
	}
}

func slicesIndex(units []Unit, name string) int {
	for i, u := range units {
		if u.Names[0] == name {
			return i
		}
	}
	return -1
}

// Without an engine, values that only the interpreter can put into interfaces
// are refused by name; so is what yaegi holds as another type than declared.
func TestYaegiRefusals(t *testing.T) {
	for _, c := range []struct{ cell, name, reason string }{
		{`sh = P{1, 2, "x"}`, "sh", "declared in a cell"},
		{`as = append(as, P{1, 2, "x"}, pp)`, "as", ""},
		{`fn = func(i int) int { return i }`, "fn", "a func value"},
		{`ch = make(chan int)`, "ch", "a channel"},
		{`t = &T{f: func(i int) int { return i }}`, "t", "a func value"},
		{`mu.Lock()`, "mu", "a locked sync.Mutex"},
	} {
		s := newSession(t, yaegiTypes)
		s.eval(t, c.cell)
		_, err := Encode(s.roots(), Limits{})
		if u := unserializable(t, err); u.Variable != c.name || !strings.Contains(u.Reason, c.reason) {
			t.Errorf("%s: %v", c.cell, u)
		}
	}
	s := newSession(t, "type E struct{ m string }\nfunc (e E) Error() string { return e.m }\nvar e error = E{\"x\"}")
	_, err := Encode(s.roots(), Limits{})
	if u := unserializable(t, err); !strings.Contains(u.Reason, "which the engine holds as") {
		t.Error(u)
	}
}

// boxer makes the Engine of a session.
func (s *session) boxer(t testing.TB) *Boxer {
	n := 0
	return &Boxer{
		Type: func(pkg, name string) types.Type {
			if o, ok := s.pkg.Scope().Lookup(name).(*types.TypeName); ok && pkg == "main" {
				return o.Type()
			}
			return nil
		},
		Donor: func(typ types.Type) (reflect.Value, error) {
			n++
			name := fmt.Sprint("donor", n)
			text := types.TypeString(typ, func(*types.Package) string { return "" })
			s.eval(t, fmt.Sprintf("var %s %s\nvar %ss = []any{%s}", name, text, name, name))
			return s.i.Globals()[name+"s"].Index(0), nil
		},
	}
}

func TestYaegiUserTypesInInterfaces(t *testing.T) {
	const decls = yaegiTypes + `
type Square struct { side int }
func (s *Square) Sum() int { return s.side * s.side }
var (
	shapes []Shape
	byName map[string]Shape
	sq *Square
	mixed []any
	none Shape
	gaps []Shape
)
func fill() {
	sq = &Square{3}
	shapes = []Shape{P{1, 2, "x"}, sq}
	byName = map[string]Shape{"p": P{3, 4, "y"}}
	mixed = []any{1, P{5, 6, "z"}, ID(7), sq, "s"}
}
func total() (n int) {
	for _, s := range shapes { n += s.Sum() }
	for _, s := range byName { n += s.Sum() }
	return n
}
`
	names := []string{"shapes", "byName", "sq", "mixed", "none", "gaps"}
	s := newSession(t, decls)
	s.eval(t, `fill(); none = nil; gaps = []Shape{nil, sq}; gaps = append(gaps, nil, none)`)
	units, err := Codec{Engine: s.boxer(t)}.Encode(s.roots(names...))
	if err != nil {
		t.Fatal(err)
	}
	s2 := newSession(t, decls)
	engine := s2.boxer(t)
	roots := s2.roots(names...)
	for _, u := range units {
		var rs []Root
		for _, n := range u.Names {
			rs = append(rs, s2.roots(n)...)
		}
		if err := (Codec{Engine: engine}).Decode(u.Data, rs); err != nil {
			t.Fatalf("%v: %v", u.Names, err)
		}
	}
	again, err := Codec{Engine: engine}.Encode(roots)
	if err != nil {
		t.Fatal(err)
	}
	for i := range units {
		if !bytes.Equal(units[i].Data, again[i].Data) {
			t.Errorf("unit %v changed", units[i].Names)
		}
	}
	s2.eval(t, `sq.side = 10`)
	for expr, want := range map[string]any{
		`total()`: 3 + 100 + 7, `none == nil`: true, `gaps[0] == nil && gaps[2] == nil && gaps[3] == nil`: true, `gaps[1].Sum()`: 100, `mixed[1].(P).Sum()`: 11, `mixed[0].(int)`: 1, `shapes[1].(*Square) == sq`: true,
	} {
		if got := s2.eval(t, expr); fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%s = %v, want %v", expr, got, want)
		}
	}
	i := slicesIndex(units, "byName")
	if j, err := JSON(units[i].Data, 0, ViewLimits{}); err != nil || string(j) != `{"p":{"X":3,"y":4,"Tag":"y"}}` {
		t.Errorf("view: %s, %v", j, err)
	}
}
