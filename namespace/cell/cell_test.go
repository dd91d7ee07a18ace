package cell

import (
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"reflect"
	"strings"
	"testing"
	"time"
)

func compile(t *testing.T, env *Env, c *Compiler, src string) *Unit {
	t.Helper()
	u, err := c.Compile(env, src)
	if err != nil {
		t.Fatalf("%s: %v", src, err)
	}
	return u
}

func emptyEnv(t *testing.T, c *Compiler) *Env {
	t.Helper()
	env, err := c.Env(nil, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	return env
}

func TestSplit(t *testing.T) {
	chunks, err := split("import \"fmt\"; x := 1\nfunc f() {\n\ty := 2; _ = y\n}\nfunc() { x++ }()\nfunc (r *T) M() {}\ntype T struct {\n\tA int\n}\nx + 1")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, k := range chunks {
		got = append(got, []string{"import", "decl", "stmt"}[k.kind]+" "+strings.Fields(k.src)[0])
	}
	want := "import import|stmt x|decl func|stmt func()|decl func|decl type|stmt x"
	if strings.Join(got, "|") != want {
		t.Errorf("%q", got)
	}
	if chunks[1].line != 1 || chunks[1].col != 15 || chunks[2].line != 2 {
		t.Errorf("positions %+v", chunks)
	}
	if _, err := split(strings.Repeat("(", MaxNesting+1)); err == nil {
		t.Error("no limit on nesting")
	}
}

func TestCopyTreeSharesNothing(t *testing.T) {
	f, err := parser.ParseFile(token.NewFileSet(), "", "package p\nfunc f(a, b int) (c []string) { for i := range a { c = append(c, \"x\") ; _ = i }; return }", parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[ast.Node]bool{}
	ast.Inspect(f, func(n ast.Node) bool { seen[n] = n != nil; return true })
	g := copyTree(f.Decls[0], nil)
	ast.Inspect(g, func(n ast.Node) bool {
		if n != nil && seen[n] {
			t.Errorf("%T is shared", n)
		}
		return true
	})
	if !reflect.DeepEqual(g, f.Decls[0]) {
		t.Error("the copy differs")
	}
}

// TestLibraryHasStandardSignatures compares the functions that stand in for those of the standard
// library with the originals.
func TestLibraryHasStandardSignatures(t *testing.T) {
	for path, p := range library() {
		std, err := libImporter.Import(path)
		if err != nil {
			t.Fatal(err)
		}
		for name := range p.funcs {
			want, ok := std.Scope().Lookup(name).(*types.Func)
			if !ok {
				t.Errorf("%s.%s is not in the standard library", path, name)
				continue
			}
			if got := p.pkg.Scope().Lookup(name); !types.Identical(got.Type(), want.Type()) {
				t.Errorf("%s.%s: %v, want %v", path, name, got.Type(), want.Type())
			}
		}
	}
}

// TestDefsAreStable proves that a namespace gives the same definitions whether it was made cell by cell
// or rebuilt from its parts: engines rely on it to know what they hold.
func TestDefsAreStable(t *testing.T) {
	c := NewCompiler()
	env := emptyEnv(t, c)
	for _, src := range []string{
		"import \"strings\"\ntype T struct{ A []string }\nfunc (t T) Up() string { return strings.ToUpper(t.A[0]) }",
		"const k = 3\nt := T{[]string{\"a\"}}\nfunc Map[A, B any](xs []A, f func(A) B) (out []B) { for _, x := range xs { out = append(out, f(x)) }; return }",
	} {
		env = compile(t, env, c, src).Env
	}
	src := "t.Up() + Map([]int{k}, func(i int) string { return \"x\" })[0]"
	u := compile(t, env, c, src)

	c2 := NewCompiler()
	var decls []Decl
	for _, d := range env.Decls {
		decls = append(decls, Decl{Key: d.Key, Kind: d.Kind, Ordinal: d.Ordinal, Source: d.Source})
	}
	env2, err := c2.Env(env.Imports, decls, env.Vars)
	if err != nil {
		t.Fatal(err)
	}
	if env.Hash() != env2.Hash() {
		t.Error("hashes differ")
	}
	u2 := compile(t, env2, c2, src)
	hashes := map[string]Hash{}
	for _, d := range u.Defs {
		hashes[d.Key] = d.Hash
	}
	for _, d := range u2.Defs {
		if strings.HasPrefix(d.Key, "__out") {
			continue
		}
		if hashes[d.Key] != d.Hash {
			t.Errorf("definition %s differs", d.Key)
		}
	}
	if len(u.Defs) != len(u2.Defs) || u.Result != "string" || len(u.Vars) != 1 {
		t.Errorf("%d and %d definitions, result %s, variables %v", len(u.Defs), len(u2.Defs), u.Result, u.Vars)
	}
}

func TestRedefinition(t *testing.T) {
	c := NewCompiler()
	env := compile(t, emptyEnv(t, c), c, "type T struct{ A int }\nt := T{1}\nfunc f() int { return 1 }\nfunc g() int { return f() }").Env
	for src, want := range map[string]string{
		"func f() string { return \"\" }": "in g 1:23: cannot use f()",
		"type T struct{ A, B int }":       "1:1: type T is changed but variables still hold values of it: t",
		"import f \"fmt\"":                "f is already declared",
		"f := 1\nfunc f() {}":             "declared twice",
		"int := 3":                        "predeclared",
		"__x := 3":                        "cannot be declared",
		"func init() {}":                  "not supported",
	} {
		_, err := c.Compile(env, src)
		if e, ok := errors.AsType[*Error](err); !ok || !strings.Contains(e.Error(), want) {
			t.Errorf("%q: %v, want %q", src, err, want)
		}
	}
	same := compile(t, env, c, "func f() int { return 1 }")
	if same.Env.Hash() != env.Hash() {
		t.Error("the same declaration again is a change")
	}
}

func FuzzCompile(f *testing.F) {
	for _, src := range []string{"x := 1\nx", "func f[T any](x T) T { return x }\nf(2)", "for i := range 3 { defer func() { _ = i }() }", "type T struct{ a int }\nfunc (t T) M() {}\nT.M", "switch any(1) { case 2: }", "import \"slices\"\nslices.Sort([]int{})", "const x = 1 << 100"} {
		f.Add(src)
	}
	f.Fuzz(func(t *testing.T, src string) {
		if len(src) > 4096 {
			return
		}
		c := NewCompiler()
		start := time.Now()
		u, err := c.Compile(emptyEnv(t, c), src)
		if d := time.Since(start); d > 3*time.Second {
			t.Errorf("%q takes %v", src, d)
		}
		if err == nil {
			// What is accepted must be Go for the engine.
			var b strings.Builder
			b.WriteString("package main\n")
			for _, d := range u.Defs {
				b.WriteString(d.Code + "\n")
			}
			b.WriteString(u.Code)
			if _, err := parser.ParseFile(token.NewFileSet(), "", b.String(), 0); err != nil {
				t.Errorf("%q gives\n%s\n%v", src, b.String(), err)
			}
			return
		}
		if strings.Contains(err.Error(), "the front end failed") {
			t.Errorf("%q: %v", src, err)
		}
	})
}
