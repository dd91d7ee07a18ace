package cell

import (
	"embed"
	"go/ast"
	"go/token"
	"go/types"
	"path"
	"runtime"
	"strings"
	"sync"

	"farm/namespace/typeinfo/packages"
)

// Of some packages that reach the process of the worker cells see a part: the members declared in
// partial/, which the host of an engine gives. A member that is not declared there is refused by name.
//
//go:embed partial/*.go.txt
var partialFiles embed.FS

// partialPaths are the packages that cells see a part of. Of unsafe, which has no declarations, they see
// unsafeMembers.
var partialPaths = []string{"log", "os", "reflect", "runtime"}

// unsafeMembers are the members of unsafe that are constants. The others reach memory.
var unsafeMembers = map[string]bool{"Sizeof": true, "Alignof": true, "Offsetof": true}

// partialPackages are shared by all compilers and only read.
var partialPackages = sync.OnceValue(func() []*types.Package {
	worker := strings.NewReplacer("GOOS-OF-WORKER", runtime.GOOS, "GOARCH-OF-WORKER", runtime.GOARCH)
	var out []*types.Package
	for _, p := range partialPaths {
		src, err := partialFiles.ReadFile("partial/" + path.Base(p) + ".go.txt")
		if err != nil {
			panic(err) // embedded
		}
		fset := token.NewFileSet()
		conf := types.Config{IgnoreFuncBodies: true, GoVersion: goVersion}
		pkg, err := conf.Check(p, fset, mustParse(fset, p, worker.Replace(string(src))), nil)
		if err != nil {
			panic(err) // embedded
		}
		out = append(out, pkg)
	}
	return out
})

// partial says that cells see a part of the package only.
func partial(p *types.Package) bool {
	for _, q := range partialPackages() {
		if p == q {
			return true
		}
	}
	return false
}

// hiddenMember finds the first use of a member that is not in the part of its package that cells see.
// Such a use is an error of the type checker, which knows no more of the package; this is the better
// reason. It is nil when there is none.
func (c *Compiler) hiddenMember(info *types.Info, f *ast.File) error {
	var first *NotAllowedError
	var at token.Pos
	ast.Inspect(f, func(n ast.Node) bool {
		s, ok := n.(*ast.SelectorExpr)
		if !ok || first != nil && s.Sel.Pos() >= at {
			return true
		}
		what, why := hiddenBy(info, s)
		if what != "" {
			first, at = &NotAllowedError{What: what, Why: why, Pos: c.at(s.Sel.Pos())}, s.Sel.Pos()
		}
		return true
	})
	if first == nil {
		return nil
	}
	return first
}

func hiddenBy(info *types.Info, s *ast.SelectorExpr) (what, why string) {
	if id, ok := s.X.(*ast.Ident); ok {
		if p, ok := info.Uses[id].(*types.PkgName); ok {
			if !partial(p.Imported()) || p.Imported().Scope().Lookup(s.Sel.Name) != nil {
				return "", ""
			}
			what = p.Imported().Path() + "." + s.Sel.Name
			return what, whyNotMember(p.Imported().Path(), s.Sel.Name)
		}
	}
	t := info.TypeOf(s.X)
	if t == nil {
		return "", ""
	}
	if p, ok := t.(*types.Pointer); ok {
		t = p.Elem()
	}
	n, ok := types.Unalias(t).(*types.Named)
	if !ok || n.Obj().Pkg() == nil || !partial(n.Obj().Pkg()) {
		return "", ""
	}
	if o, _, _ := types.LookupFieldOrMethod(n, true, n.Obj().Pkg(), s.Sel.Name); o != nil && o.Exported() {
		return "", ""
	}
	name := n.Obj().Name() + "." + s.Sel.Name
	return n.Obj().Pkg().Path() + "." + name, whyNotMember(n.Obj().Pkg().Path(), name)
}

// changesPartial finds an assignment to a variable of a package that cells see a part of: what it holds is the
// host's. Of gonum, whose variables the whole process computes with, it also finds one to a part. It finds the
// address as well, by which it could be assigned.
func changesPartial(info *types.Info, file *ast.File) *ast.SelectorExpr {
	var found *ast.SelectorExpr
	see := func(x ast.Expr) {
		s := ofPackage(info, x)
		if s == nil || found != nil {
			return
		}
		p := info.Uses[s.Sel].Pkg()
		if p != nil && (partial(p) && s == ast.Unparen(x) || packages.OfGonum(p.Path())) {
			found = s
		}
	}
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.AssignStmt:
			for _, x := range n.Lhs {
				see(x)
			}
		case *ast.RangeStmt:
			see(n.Key)
			see(n.Value)
		case *ast.UnaryExpr:
			if n.Op == token.AND {
				see(n.X)
			}
		}
		return found == nil
	})
	return found
}

// ofPackage is the variable of another package that x is, or is a field or element of, nil for none.
func ofPackage(info *types.Info, x ast.Expr) *ast.SelectorExpr {
	for {
		switch y := x.(type) {
		case *ast.ParenExpr:
			x = y.X
		case *ast.IndexExpr:
			x = y.X
		case *ast.SliceExpr:
			x = y.X
		case *ast.StarExpr:
			x = y.X
		case *ast.SelectorExpr:
			if v, ok := info.Uses[y.Sel].(*types.Var); ok && !v.IsField() {
				return y
			}
			x = y.X
		default:
			return nil
		}
	}
}
