package cell

import (
	"go/importer"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// TestPartialAgree proves that what cells see of a package is declared as it is in the package.
func TestPartialAgree(t *testing.T) {
	list, err := exec.Command("go", append([]string{"list", "-export", "-f", "{{.ImportPath}} {{.Export}}"}, partialPaths...)...).Output()
	if err != nil {
		t.Fatal(err)
	}
	from := importer.ForCompiler(token.NewFileSet(), "gc", func(path string) (io.ReadCloser, error) {
		for line := range strings.Lines(string(list)) {
			if f := strings.Fields(line); len(f) == 2 && f[0] == path {
				return os.Open(f[1])
			}
		}
		return nil, os.ErrNotExist
	})
	show := func(o types.Object) string {
		s := types.ObjectString(o, func(p *types.Package) string { return p.Path() })
		if c, ok := o.(*types.Const); ok { // values may be those of the platform
			return "const " + c.Name() + " " + strings.TrimPrefix(c.Type().String(), "untyped ")
		}
		if n, ok := o.(*types.TypeName); ok && !types.IsInterface(n.Type()) {
			return "type " + n.Name()
		}
		return s
	}
	for _, part := range partialPackages() {
		whole, err := from.Import(part.Path())
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range part.Scope().Names() {
			o := part.Scope().Lookup(name)
			if !o.Exported() {
				continue
			}
			real := whole.Scope().Lookup(name)
			if real == nil || show(real) != show(o) {
				t.Errorf("%s.%s is %v, not %v", part.Path(), name, real, o)
				continue
			}
			ms, realMS := types.NewMethodSet(types.NewPointer(o.Type())), types.NewMethodSet(types.NewPointer(real.Type()))
			if _, isType := o.(*types.TypeName); !isType || types.IsInterface(o.Type()) {
				continue
			}
			for m := range ms.Methods() {
				if r := realMS.Lookup(whole, m.Obj().Name()); r == nil || show(r.Obj()) != show(m.Obj()) {
					t.Errorf("%s.%s: method %v is not in the package", part.Path(), name, m.Obj())
				}
			}
		}
	}
}

// TestHiddenMemberFirst proves that a member that is not for cells is the error, not what follows from
// its lack, and that names which hide a package are not taken for it.
func TestHiddenMemberFirst(t *testing.T) {
	c := NewCompiler()
	env, err := c.Env(nil, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	for src, want := range map[string]string{
		"import \"os\"\nf, err := os.Open(\"x\")\nf.Close()":                                                                 "2:14: os.Open is not allowed: a cell has no files and no processes",
		"package main\nimport \"os\"\nfunc main() {\n\tos.Remove(\"x\")\n}":                                                  "4:5: os.Remove is not allowed: a cell has no files and no processes",
		"import \"os\"\nfunc f() { os := struct{ Open int }{1}; _ = os.Open }":                                               "",
		"import o \"os\"\no.Chdir(\"/\")":                                                                                    "2:3: os.Chdir is not allowed: a cell has no files and no processes",
		"import \"runtime\"\nfunc f() { runtime.ReadMemStats(nil) }":                                                         "2:20: runtime.ReadMemStats is not allowed: it would measure the engine, not the cell",
		"import \"unsafe\"\nfunc f(p *int) { _ = unsafe.Add(nil, 1) }":                                                       "2:29: unsafe.Add is not allowed: it reaches the memory or the process of the worker",
		"import \"os\"\nvar w interface{ Fd() uintptr } = os.Stdout":                                                         "2:35: cannot use os.Stdout",
		"import \"os\"\nos.Args = nil":                                                                                       "2:1: changing os.Args is not allowed: it belongs to the host of the cell",
		"import \"os\"\nfor os.Stdout = range map[*os.File]int{} {\n}":                                                       "2:5: changing os.Stdout is not allowed: it belongs to the host of the cell",
		"import \"reflect\"\nreflect.ValueOf(1).Pointer()":                                                                   "2:9: reflect.ValueOf is not allowed: it sees the types of the engine, not those of the cell",
		"import \"runtime/debug\"":                                                                                           "1:8: package \"runtime/debug\" is not allowed",
		"import \"unsafe\"\ntype T[E any] struct{ p E }\nfunc f[E any]() uintptr { return unsafe.Sizeof(T[E]{}) }\nf[int]()": "",
	} {
		_, err := c.Compile(env, src)
		if want == "" && err != nil || want != "" && (err == nil || !strings.HasPrefix(err.Error(), want)) {
			t.Errorf("%s\nerror %v, want %q", src, err, want)
		}
	}
}
