package namespace_test

import (
	"errors"
	"os/exec"
	"slices"
	"strings"
	"testing"

	ns "farm/namespace"
	"farm/namespace/internal/item"
)

// namespace makes items: declarations by key with source, in the order given.
func items(t *testing.T, decls ...item.Decl) ns.Items {
	t.Helper()
	it := ns.Items{"i/fmt": item.Import("fmt")}
	for i, d := range decls {
		d.Ordinal = i + 1
		name := strings.FieldsFunc(d.Source, func(r rune) bool { return r == ' ' || r == '(' })[1]
		it["d/"+name] = d.Encode()
	}
	return it
}

func TestCheck(t *testing.T) {
	it := items(t, item.Decl{Kind: 2, Source: "func f(n int) int { return n }"})
	for _, src := range []string{"x := f(2)\nx + 1", "fmt.Println(f(1))", ""} {
		if err := ns.Check(it, src); err != nil {
			t.Errorf("%q: %v", src, err)
		}
	}
	err := ns.Check(it, "a := f(\"s\")\nb := nope\nc := f(1, 2)")
	ce, ok := errors.AsType[*ns.CompileError](err)
	if !ok || len(ce.Msgs) != 3 || !strings.HasPrefix(ce.Msgs[1], "2:6: undefined: nope") {
		t.Errorf("error %v", err)
	}
	err = ns.Check(it, "import \"os/exec\"")
	if na, ok := errors.AsType[*ns.NotAllowedError](err); !ok || na.What != `package "os/exec"` || na.Pos != "1:8" {
		t.Errorf("error %v", err)
	}
	if _, ok := errors.AsType[*ns.LimitError](ns.Check(it, strings.Repeat(" ", ns.DefaultMaxSource+1))); !ok {
		t.Error("no limit on source")
	}
	// Hostile sources are refused, not fatal.
	for _, src := range []string{strings.Repeat("(", 200_000), strings.Repeat("{", 100_000), "}", "} func g() {", "\x00", "func (", "type T [1<<60]int\nvar t T", "func F[T any]() { F[[]T]() }\nF[int]()", "x := " + strings.Repeat("-", 100_000) + "1"} {
		if err := ns.Check(nil, src[:min(len(src), ns.DefaultMaxSource)]); err == nil && !strings.HasPrefix(src, "type T") {
			t.Errorf("%.20q is accepted", src)
		}
	}
}

func TestSetGetJSON(t *testing.T) {
	it := items(t, item.Decl{Kind: 2, Source: "func f(n int) int { return n }"})
	for _, x := range []struct{ name, json, typ, back string }{
		{"n", "20", "int", "20"},
		{"n", "21", "int", "21"},
		{"x", "2.5", "float64", "2.5"},
		{"s", `"a"`, "string", `"a"`},
		{"b", "true", "bool", "true"},
		{"xs", "[1,2]", "[]int", "[1,2]"},
		{"xs", "[]", "[]int", "[]"},
		{"m", `{"b":1,"a":2}`, "map[string]int", `{"a":2,"b":1}`},
		{"mixed", `[1,"a"]`, "[]any", `[1,"a"]`},
	} {
		d, err := ns.SetJSON(it, x.name, []byte(x.json))
		if err != nil {
			t.Errorf("set %s %s: %v", x.name, x.json, err)
			continue
		}
		d.Apply(it)
		j, typ, err := ns.GetJSON(it, x.name)
		if err != nil || string(j) != x.back || typ != x.typ {
			t.Errorf("get %s: %s of type %s: %v; want %s of type %s", x.name, j, typ, err, x.back, x.typ)
		}
		if d, err := ns.SetJSON(it, x.name, []byte(x.json)); err != nil || !d.Empty() {
			t.Errorf("set %s again: %v %v", x.name, d, err)
		}
	}
	for _, x := range []struct {
		name, json string
		want       error
	}{
		{"f", "1", ns.ErrBadName}, {"fmt", "1", ns.ErrBadName}, {"_", "1", ns.ErrBadName}, {"1x", "1", ns.ErrBadName},
		{"int", "1", ns.ErrBadName}, {"func", "1", ns.ErrBadName}, {"__x", "1", ns.ErrBadName}, {"", "1", ns.ErrBadName},
		{"fresh", "null", ns.ErrBadValue}, {"fresh", "{", ns.ErrBadValue}, {"n", `"s"`, ns.ErrBadValue}, {"n", "1.5", ns.ErrBadValue},
	} {
		if d, err := ns.SetJSON(it, x.name, []byte(x.json)); !errors.Is(err, x.want) {
			t.Errorf("set %q to %s: %v %v, want %v", x.name, x.json, d, err, x.want)
		}
	}
	if _, _, err := ns.GetJSON(it, "nosuch"); !errors.Is(err, ns.ErrNoVariable) {
		t.Errorf("get of nothing: %v", err)
	}
	list, err := ns.List(it)
	if err != nil || len(list) != 7 || list[0].Name != "b" || list[0].Type != "bool" || list[0].Bytes == 0 {
		t.Errorf("list %v: %v", list, err)
	}
}

func TestDelete(t *testing.T) {
	it := items(t,
		item.Decl{Kind: 1, Source: "type T struct{ A int }"},
		item.Decl{Kind: 2, Source: "func g() int { return n + h() }"},
		item.Decl{Kind: 2, Source: "func h() int { return 1 }"},
	)
	it["d/T.M"] = item.Decl{Ordinal: 9, Kind: 3, Source: "func (t T) M() {}"}.Encode()
	for _, v := range []string{"n", "free"} {
		d, err := ns.SetJSON(it, v, []byte("1"))
		if err != nil {
			t.Fatal(err)
		}
		d.Apply(it)
	}
	for _, n := range []string{"n", "h"} {
		_, err := ns.Delete(it, n)
		if e, ok := errors.AsType[*ns.InUseError](err); !ok || !slices.Equal(e.By, []string{"g"}) {
			t.Errorf("delete %s: %v", n, err)
		}
	}
	for n, want := range map[string][]string{"free": {"v/free"}, "g": {"d/g"}, "T": {"d/T", "d/T.M"}, "T.M": {"d/T.M"}, "fmt": {"i/fmt"}} {
		d, err := ns.Delete(it, n)
		if err != nil || !slices.Equal(d.Delete, want) || d.Put != nil {
			t.Errorf("delete %s: %v %v, want %v", n, d, err, want)
		}
	}
	if _, err := ns.Delete(it, "nosuch"); !errors.Is(err, ns.ErrNoVariable) {
		t.Errorf("delete of nothing: %v", err)
	}
}

func TestDeclarations(t *testing.T) {
	it := items(t, item.Decl{Kind: 2, Source: "func z() {}"}, item.Decl{Kind: 2, Source: "func a() {}"})
	list, err := ns.Declarations(it)
	if err != nil || len(list) != 3 {
		t.Fatalf("%v %v", list, err)
	}
	if list[0].Kind != "import" || list[1].Key != "z" || list[2].Key != "a" || list[2].Source != "func a() {}" || list[2].Kind != "func" {
		t.Errorf("%v", list)
	}
}

func TestCorruptItems(t *testing.T) {
	for _, it := range []ns.Items{
		{"v/x": nil}, {"v/x": {9}}, {"v/x": {1, 1, 200}}, {"d/f": {1}}, {"i/a": {1, 5, 'x'}}, {"zzz": {1}}, {"q/x": {1}},
		{"d/f": item.Decl{Kind: 2, Source: "func g() {}"}.Encode()}, {"d/f": item.Decl{Kind: 2, Source: "}"}.Encode()},
	} {
		if err := ns.Check(it, "1"); !errors.Is(err, ns.ErrCorrupt) {
			t.Errorf("%v: %v", it, err)
		}
	}
}

func TestDelta(t *testing.T) {
	a := ns.Items{"v/a": {1}, "v/b": {2}, "v/c": {3}}
	b := ns.Items{"v/a": {1}, "v/b": {9}, "v/d": {4}, "v/e": {5}}
	d := ns.Diff(a, b)
	if len(d.Put) != 3 || !slices.Equal(d.Delete, []string{"v/c"}) || d.Empty() || d.Size() != 3*4+3 {
		t.Errorf("%v", d)
	}
	d.Apply(a)
	if !ns.Diff(a, b).Empty() {
		t.Errorf("%v", a)
	}
}

// TestNoInterpreter proves that those who only look at namespaces do not link the interpreter.
func TestNoInterpreter(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", "farm/namespace").Output()
	if err != nil {
		t.Fatal(err)
	}
	for p := range strings.Lines(string(out)) {
		if strings.Contains(p, "yaegi") || strings.HasPrefix(p, "farm/scheduler") || strings.HasPrefix(p, "farm/fsm") || strings.HasPrefix(p, "farm/replica") {
			t.Errorf("package namespace depends on %s", p)
		}
	}
}

func FuzzItems(f *testing.F) {
	f.Add("v/x", item.Var{Type: "int", Data: []byte{1, 2}}.Encode())
	f.Add("v/y", item.Var{Type: "int", Owner: "x"}.Encode())
	f.Add("d/f", item.Decl{Ordinal: 1, Kind: 2, Source: "func f() {}"}.Encode())
	f.Fuzz(func(t *testing.T, key string, b []byte) {
		it := ns.Items{key: b}
		list, err := ns.List(it)
		if err == nil && len(list) == 1 {
			v, err := item.ParseVar(key, b)
			if err != nil || v.Type != list[0].Type {
				t.Errorf("%v %v", v, err)
			}
		}
		ns.Declarations(it)
	})
}
