package cell

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/printer"
	"go/token"
	"go/types"
	"maps"
	"slices"
	"strings"
)

// Def is one definition for an engine: a function, a type with its methods, a constant group, a
// variable, an import. Engines load it once: two definitions of one key and hash are the same.
type Def struct {
	Key    string
	Hash   Hash
	Import string // path, when the definition is an import named Key
	Code   string // Go source, lowered; empty for an import

	// For the machine, instead of Code; imports are no definitions there.
	Names    []string // that it declares at top level
	Declares []string // the same, and its methods as T.M
	Trees    []ast.Decl
	Uses     map[string]string // imports of Trees, local name → path
}

// engineDecl is the lowered form of a declaration.
type engineDecl struct {
	code    string
	imports map[string]string
}

// hostPath is the package of helpers that engines provide to lowered code, hostName its local name.
const (
	HostPath = "farm/host"
	hostName = "__host"
)

func hostCall(name string, args ...ast.Expr) *ast.CallExpr {
	return &ast.CallExpr{Fun: &ast.SelectorExpr{X: ast.NewIdent(hostName), Sel: ast.NewIdent(name)}, Args: args}
}

func mustParse(fset *token.FileSet, name, src string) []*ast.File {
	f, err := parser.ParseFile(fset, name, src, parser.SkipObjectResolution)
	if err != nil {
		panic(err) // the source is a constant
	}
	return []*ast.File{f}
}

// emit turns what was checked into code for an engine.
func (w *work) emit() (*Unit, error) {
	if w.c.to == Machine {
		return w.emitTrees()
	}
	u := &Unit{N: w.n, Before: w.env, Env: w.next, New: w.newVars}
	w.unit, w.unitPkg = u, w.pkg
	w.lowered, w.instanceImports = map[string]*engineDecl{}, map[string]string{}
	u.Func = fmt.Sprintf("%s%d", cellFunc, u.N)
	if err := w.touched(); err != nil {
		return nil, err
	}
	w.result()
	if err := w.monomorphize(); err != nil {
		return nil, err
	}
	lw := &lowerer{c: w.c, info: w.info, pkg: w.pkg, loads: func(name string) bool {
		d := w.next.Find(name)
		return d == nil || w.need.decls[d] // an instance is made when it is needed
	}}
	for _, d := range w.next.Decls {
		n := w.nodes[d]
		if n == nil || d.generic() {
			continue
		}
		if err := lw.decl(n); err != nil {
			return nil, err
		}
		ed := w.print(n)
		w.lowered[d.Key] = ed
		if !w.genericUse[d] && !lw.helped {
			w.next.lowered[d.Key] = ed
		}
	}
	if err := w.lowerInstances(lw); err != nil {
		return nil, err
	}
	if err := lw.decl(w.fn); err != nil {
		return nil, err
	}
	w.assignResult()
	end := "End"
	if w.program != nil {
		end = "EndProgram"
	}
	w.fn.Body.List = append(w.fn.Body.List, &ast.ExprStmt{X: hostCall(end)})
	body := fmt.Sprintf("%sbody%d", Reserved, u.N)
	w.fn.Name = ast.NewIdent(body)
	fn := w.print(w.fn)
	u.Code = fmt.Sprintf("%s\n//line %s/%s:1\nfunc %s() {\n\tdefer %s.Leave()\n\t%s()\n}", fn.code, NoFile, BaseFile, u.Func, hostName, body)
	for _, f := range w.extra {
		if err := lw.decl(f); err != nil {
			return nil, err
		}
		ed := w.print(f)
		u.Code += "\n" + ed.code
		maps.Copy(fn.imports, ed.imports)
	}
	if len(w.replaced)+len(w.changed) == 0 {
		for _, d := range w.env.Decls {
			if ed := w.next.lowered[d.Key]; ed != nil {
				w.env.lowered[d.Key] = ed // the same declaration there
			}
		}
	}
	u.Defs = w.defs(lw, fn)
	return u, nil
}

func (w *work) print(n ast.Node) *engineDecl {
	var b bytes.Buffer
	cfg := printer.Config{Mode: printer.SourcePos | printer.RawFormat}
	if err := cfg.Fprint(&b, w.c.fset, n); err != nil {
		panic(fmt.Sprintf("cell: print: %v", err)) // the tree was made here
	}
	return &engineDecl{code: b.String(), imports: w.importsOf(n)}
}

func (w *work) importsOf(n ast.Node) map[string]string {
	out := map[string]string{}
	for m := range mentions(n) {
		if p, ok := w.next.Imports[m]; ok {
			if p != "unsafe" { // folded
				out[m] = p
			}
		} else if m == hostName {
			out[m] = HostPath
		} else if w.mono != nil && w.mono.extra[m] != "" {
			out[m] = w.mono.extra[m]
		}
	}
	return out
}

// touched lists the variables the unit can touch.
func (w *work) touched() error {
	for _, n := range slices.Sorted(maps.Keys(w.need.vars)) {
		w.unit.Vars = append(w.unit.Vars, Var{Name: n, Type: w.pkg.Scope().Lookup(n).Type(), Expr: w.next.Vars[n]})
	}
	return nil
}

// result decides what the value of the cell is and makes variables for it.
func (w *work) result() {
	if w.trailing == nil || w.prints() {
		return
	}
	tv := w.info.Types[w.trailing]
	if tv.Type == nil || tv.IsVoid() {
		return
	}
	ts := []types.Type{tv.Type}
	if t, ok := tv.Type.(*types.Tuple); ok {
		ts = ts[:0]
		for v := range t.Variables() {
			ts = append(ts, v.Type())
		}
	}
	if len(ts) == 0 {
		return
	}
	show := func(p *types.Package) string {
		if p == w.pkg {
			return ""
		}
		return p.Name()
	}
	var names []string
	for i, t := range ts {
		t = types.Default(t)
		names = append(names, typeString(t, show))
		imports := maps.Clone(w.next.Imports)
		expr, err := typeExpr(t, w.pkg, w.next, imports)
		if err != nil || len(imports) != len(w.next.Imports) {
			w.unit.Opaque = true
		}
		w.unit.Out = append(w.unit.Out, Var{Name: fmt.Sprintf("__out%d_%d", w.unit.N, i), Type: t, Expr: expr})
	}
	w.unit.Result = strings.Join(names, ", ")
	if len(names) > 1 {
		w.unit.Result = "(" + w.unit.Result + ")"
	}
	if w.unit.Opaque {
		w.unit.Out = nil
	}
}

// prints says that the last expression is a call of fmt.Print and its like: nobody wants the byte count.
func (w *work) prints() bool {
	call, ok := ast.Unparen(w.trailing).(*ast.CallExpr)
	if !ok {
		return false
	}
	sel, ok := call.Fun.(*ast.SelectorExpr)
	if !ok {
		return false
	}
	o := w.info.Uses[sel.Sel]
	return o != nil && o.Pkg() != nil && o.Pkg().Path() == "fmt" && (strings.HasPrefix(o.Name(), "Print") || strings.HasPrefix(o.Name(), "Fprint"))
}

// assignResult makes the last statement an assignment to the result variables, by way of new ones (see
// throughTemps).
func (w *work) assignResult() {
	list := w.fn.Body.List
	if len(w.unit.Out) == 0 || len(list) == 0 {
		return
	}
	var value ast.Expr
	switch s := list[len(list)-1].(type) {
	case *ast.ExprStmt:
		value = s.X
	case *ast.AssignStmt:
		value = s.Rhs[0]
	}
	var temps []ast.Expr
	var after []ast.Stmt
	for i, v := range w.unit.Out {
		t := ident(fmt.Sprintf("__value%d", i), value.Pos())
		temps = append(temps, t)
		after = append(after, assign(ident(v.Name, value.Pos()), use(t)))
	}
	list[len(list)-1] = &ast.AssignStmt{Lhs: temps, Tok: token.DEFINE, TokPos: value.Pos(), Rhs: []ast.Expr{value}}
	w.fn.Body.List = append(list, after...)
}

// defs lists the definitions the unit needs: what it reaches of the namespace, and its own variables.
func (w *work) defs(lw *lowerer, fn *engineDecl) []Def {
	imports := maps.Clone(fn.imports)
	maps.Copy(imports, w.instanceImports)
	var types, funcs, vars []Def
	for _, d := range w.next.Decls {
		if !w.need.decls[d] || d.generic() {
			continue
		}
		ed := w.code(d)
		maps.Copy(imports, ed.imports)
		switch d.Kind {
		case KindConst: // folded where they are used
		case KindFunc:
			funcs = append(funcs, Def{Key: d.Key, Hash: hashOf("func", d.Source), Code: ed.code})
		case KindType:
			types = append(types, w.typeDef(d, ed, imports))
		}
	}
	for _, v := range slices.Concat(w.unit.Vars, w.unit.Out) {
		t := w.engineType(v)
		for m := range mentionsOf(t) {
			if p, ok := w.next.Imports[m]; ok {
				imports[m] = p
			} else if w.mono != nil && w.mono.extra[m] != "" {
				imports[m] = w.mono.extra[m]
			}
		}
		vars = append(vars, Def{Key: v.Name, Hash: hashOf("var", v.Expr), Code: "var " + v.Name + " " + t})
	}
	instances := slices.Concat(w.instances, lw.helpers)
	var out []Def
	for _, n := range slices.Sorted(maps.Keys(imports)) {
		out = append(out, Def{Key: n, Hash: hashOf("import", imports[n]), Import: imports[n]})
	}
	return slices.Concat(out, types, instances, vars, funcs)
}

// code is the lowered form of a declaration.
func (w *work) code(d *Decl) *engineDecl {
	if ed := w.lowered[d.Key]; ed != nil {
		return ed
	}
	return w.next.lowered[d.Key]
}

// lowerInstances lowers the instances of generic declarations.
func (w *work) lowerInstances(lw *lowerer) error {
	if w.mono == nil {
		return nil
	}
	for _, in := range w.mono.made {
		var code []string
		imports := map[string]string{}
		for _, n := range in.nodes {
			if err := lw.decl(n); err != nil {
				return err
			}
			ed := w.print(n)
			code = append(code, ed.code)
			maps.Copy(imports, ed.imports)
		}
		w.instances = append(w.instances, Def{Key: in.key, Hash: in.hash, Code: strings.Join(code, "\n")})
		maps.Copy(w.instanceImports, imports)
	}
	return nil
}

// engineType is the type of a variable as the engine sees it.
func (w *work) engineType(v Var) string {
	if w.mono == nil {
		return v.Expr
	}
	return w.mono.typeText(v.Type, &scope{self: w.unitPkg})
}

func mentionsOf(expr string) map[string]bool {
	x, err := parser.ParseExpr(expr)
	if err != nil {
		return nil
	}
	return mentions(x)
}

// typeDef is a type with all its methods: an engine cannot add one later.
func (w *work) typeDef(d *Decl, ed *engineDecl, imports map[string]string) Def {
	parts, code := []string{"type", d.Source}, []string{ed.code}
	for _, n := range d.names {
		for _, m := range w.next.methods[n] {
			md := w.code(m)
			parts = append(parts, m.Source)
			code = append(code, md.code)
			maps.Copy(imports, md.imports)
		}
	}
	return Def{Key: d.Key, Hash: hashOf(parts...), Code: strings.Join(code, "\n")}
}
