package cell

import (
	"fmt"
	"go/ast"
	"go/token"
	"go/types"
	"maps"
	"slices"

	"farm/namespace/typeinfo"
	"farm/namespace/typeinfo/packages"
)

// Target is what the code of a compiler is for.
type Target int

const (
	// Interpreter runs source of a part of Go: code is lowered to it, and what it cannot run is refused.
	Interpreter Target = iota
	// Machine runs Go as it is checked, from its syntax trees. Nothing is lowered.
	Machine
)

// onlyInterpreter are members that the interpreter alone does not have or gets wrong.
var onlyInterpreter = map[string]bool{
	"sync.WaitGroup.Go":   true,
	"sync/atomic.Pointer": true,
	"sync.OnceFunc":       true,
}

// notMember is the reason why a member, "path.F" or "path.T.M", is not for cells of the target, "" when it
// is.
func (t Target) notMember(name string) string {
	if t == Machine && onlyInterpreter[name] {
		return ""
	}
	if why := packages.GonumLeftOut[name]; why != "" {
		return why
	}
	return notMembers[name]
}

// whyNotPackage is the reason why cells of the target cannot import a package.
func (t Target) whyNotPackage(path string) string {
	switch {
	case !packages.OfGonum(path) || !slices.Contains(packages.Gonum, path):
	case t == Interpreter:
		return "it is compiled code, which the interpreter does not have: use the engine ssa (--engine ssa), which is chosen with the first cell of a namespace"
	case !typeinfo.HasGonum():
		return "this farm is built without gonum"
	}
	return whyNotPackage(path)
}

// lacks says that the engine does not have an exported member of a package.
func (t Target) lacks(path, name string) bool {
	return t == Interpreter && typeinfo.Lacks(path, name) && !inLibrary(path, name)
}

// emitTrees makes the unit for an engine that runs what was checked.
func (w *work) emitTrees() (*Unit, error) {
	u := &Unit{N: w.n, Before: w.env, Env: w.next, New: w.newVars, Program: w.program != nil}
	w.unit, w.unitPkg = u, w.pkg
	u.Func = fmt.Sprintf("%s%d", cellFunc, u.N)
	if err := w.touched(); err != nil {
		return nil, err
	}
	w.result()
	fn := *w.fn
	fn.Name = &ast.Ident{Name: u.Func, NamePos: w.c.none}
	fn.Body = &ast.BlockStmt{List: w.giveResult(w.fn.Body.List), Lbrace: w.c.none, Rbrace: w.c.none}
	u.Trees = []ast.Decl{&fn}
	for _, d := range w.extra {
		u.Trees = append(u.Trees, d)
	}
	u.Uses = map[string]string{}
	for _, d := range u.Trees {
		maps.Copy(u.Uses, w.usedImports(mentions(d)))
	}
	u.Defs = w.treeDefs()
	u.Literals = w.literals()
	w.remember()
	return u, nil
}

// remember notes which declarations have been checked: they are not checked again.
func (w *work) remember() {
	same := len(w.replaced)+len(w.changed) == 0
	for _, d := range w.next.Decls {
		if w.bodies(d) {
			w.next.lowered[d.Key] = &engineDecl{}
		}
		if same && w.next.lowered[d.Key] != nil && w.env.Find(d.names[0]) == d {
			w.env.lowered[d.Key] = w.next.lowered[d.Key]
		}
	}
}

// giveResult makes the last statement an assignment to the variables of the result.
func (w *work) giveResult(list []ast.Stmt) []ast.Stmt {
	if len(w.unit.Out) == 0 || len(list) == 0 {
		return list
	}
	var value ast.Expr
	switch s := list[len(list)-1].(type) {
	case *ast.ExprStmt:
		value = s.X
	case *ast.AssignStmt:
		value = s.Rhs[0]
	}
	var out []ast.Expr
	for _, v := range w.unit.Out {
		out = append(out, ident(v.Name, value.Pos()))
	}
	return append(slices.Clone(list[:len(list)-1]), &ast.AssignStmt{Lhs: out, Tok: token.ASSIGN, TokPos: value.Pos(), Rhs: []ast.Expr{value}})
}

// usedImports are the imports of the namespace among identifiers.
func (w *work) usedImports(names map[string]bool) map[string]string {
	out := map[string]string{}
	for n, p := range w.next.Imports {
		if names[n] {
			out[n] = p
		}
	}
	return out
}

// treeDefs lists the definitions the unit needs, each with its trees.
func (w *work) treeDefs() []Def {
	var out []Def
	for _, d := range w.next.Decls {
		if !w.need.decls[d] || d.Kind == KindMethod {
			continue
		}
		def := Def{Key: d.Key, Names: d.names, Trees: []ast.Decl{d.node}, Uses: w.usedImports(d.uses)}
		def.Declares = slices.Clone(d.names)
		parts := []string{d.Kind.String(), d.Source}
		if d.Kind == KindType {
			for _, n := range d.names {
				for _, m := range w.next.methods[n] {
					def.Trees, def.Declares = append(def.Trees, m.node), append(def.Declares, m.Key)
					parts = append(parts, m.Source)
					maps.Copy(def.Uses, w.usedImports(m.uses))
				}
			}
		}
		def.Hash = hashOf(append(parts, w.importParts(def.Uses)...)...)
		out = append(out, def)
	}
	for _, v := range slices.Concat(w.unit.Vars, w.unit.Out) {
		out = append(out, w.varTree(v))
	}
	return out
}

// importParts is what imports mean, for a hash.
func (w *work) importParts(uses map[string]string) []string {
	var out []string
	for _, n := range slices.Sorted(maps.Keys(uses)) {
		out = append(out, n, uses[n])
	}
	return out
}

func (w *work) varTree(v Var) Def {
	var t ast.Expr
	if _, ok := w.next.Vars[v.Name]; ok {
		t = w.next.typeNode(v.Name)
	} else {
		t = mustParseExpr(v.Expr, w.c.none)
	}
	spec := &ast.ValueSpec{Names: []*ast.Ident{{Name: v.Name, NamePos: w.c.none}}, Type: t}
	uses := w.usedImports(mentions(t))
	return Def{
		Key: v.Name, Names: []string{v.Name}, Uses: uses,
		Hash:  hashOf(append([]string{"var", v.Expr}, w.importParts(uses)...)...),
		Trees: []ast.Decl{&ast.GenDecl{Tok: token.VAR, TokPos: w.c.none, Specs: []ast.Spec{spec}}},
	}
}

// File is definitions and the function of the unit as a file for an engine that runs trees.
func (c *Compiler) File(u *Unit, defs []Def) *ast.File {
	uses := maps.Clone(u.Uses)
	f := &ast.File{Name: ast.NewIdent("main"), Package: c.none}
	var decls []ast.Decl
	for _, d := range defs {
		maps.Copy(uses, d.Uses)
		decls = append(decls, d.Trees...)
	}
	decls = append(decls, u.Trees...)
	if g := c.imports(uses); len(g.Specs) > 0 {
		f.Decls = append(f.Decls, g)
		for _, s := range g.Specs {
			f.Imports = append(f.Imports, s.(*ast.ImportSpec))
		}
	}
	f.Decls = append(f.Decls, decls...)
	return f
}

// Files are the positions of all that the compiler has parsed.
func (c *Compiler) Files() *token.FileSet { return c.fset }

// HostPackages are the packages of which the host of an engine gives cells a part: they reach the process.
// They have no code, are shared and only read.
func HostPackages() []*types.Package { return slices.Clone(partialPackages()) }
