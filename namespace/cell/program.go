package cell

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/scanner"
	"go/token"
	"go/types"
	"maps"
	"slices"
)

// program is a cell that is a whole program: a file of package main with a func main. Running it is what
// `go run` does: package variables are given their values in the order of their dependencies, then the
// init functions run in their order, then main. Its variables become the namespace's, and its types,
// constants and functions too; main and the init functions run once and are not kept.
type program struct {
	pkg   *types.Package
	info  *types.Info
	vars  []*ast.Ident // package variables, as declared
	runs  []*ast.FuncDecl
	skips map[token.Position]bool // declarations that are not taken in as such, by line and column
}

// parseProgram finds out whether a cell is a whole program, and then checks it as one, so that the
// errors are those of a Go file. It gives nil for any other cell, also for one with syntax errors.
func (w *work) parseProgram(src string) (*program, error) {
	if !beginsWithPackage(src) {
		return nil, nil
	}
	f, err := parser.ParseFile(w.c.fset, cellFile, src, parser.SkipObjectResolution)
	if err != nil || f.Name.Name != "main" || !hasMain(f) {
		return nil, nil //nolint:nilerr // what does not parse as a file is split, which tells the errors
	}
	w.keepText(f, src)
	for _, is := range f.Imports {
		if _, err := w.importOf(is); err != nil {
			return nil, err
		}
	}
	conf := w.c.config()
	conf.DisableUnusedImportCheck = false
	p := &program{skips: map[token.Position]bool{}}
	var list []types.Error
	if p.pkg, p.info, list = w.c.typecheckWith(conf, f); len(list) > 0 {
		return nil, w.c.problem(list, p.info, f)
	}
	if err := w.allowedIn(p.info, p.pkg, f); err != nil {
		return nil, err
	}
	for _, d := range f.Decls {
		switch d := d.(type) {
		case *ast.FuncDecl:
			w.programFunc(p, d)
		case *ast.GenDecl:
			if d.Tok == token.VAR {
				p.variables(d)
			} else if blank(d) {
				p.skip(w.c, d)
			}
		}
	}
	for id, o := range p.info.Uses {
		if f, ok := o.(*types.Func); ok && o.Parent() == p.pkg.Scope() && f.Name() == "main" {
			return nil, &NotAllowedError{What: "main as a function to call", Why: "it is what the cell runs: give the function another name", Pos: w.c.at(id.Pos())}
		}
	}
	return p, nil
}

func beginsWithPackage(src string) bool {
	var s scanner.Scanner
	s.Init(token.NewFileSet().AddFile("cell", -1, len(src)), []byte(src), nil, 0)
	_, t, _ := s.Scan()
	return t == token.PACKAGE
}

func hasMain(f *ast.File) bool {
	return slices.ContainsFunc(f.Decls, func(d ast.Decl) bool {
		fd, ok := d.(*ast.FuncDecl)
		return ok && fd.Recv == nil && fd.Name.Name == "main"
	})
}

// blank says that a declaration declares nothing but blank names: once checked it has done its work.
func blank(d *ast.GenDecl) bool {
	for _, s := range d.Specs {
		if t, ok := s.(*ast.TypeSpec); !ok || t.Name.Name != "_" {
			return false
		}
	}
	return len(d.Specs) > 0
}

func (p *program) skip(c *Compiler, d ast.Decl) {
	at := c.fset.Position(d.Pos())
	p.skips[token.Position{Line: at.Line, Column: at.Column}] = true
}

func (w *work) programFunc(p *program, d *ast.FuncDecl) {
	switch {
	case d.Name.Name == "_":
		p.skip(w.c, d)
	case d.Recv == nil && (d.Name.Name == "main" || d.Name.Name == "init"):
		p.skip(w.c, d)
		x := *d
		x.Name = &ast.Ident{Name: fmt.Sprintf("%s%s%d_%d", Reserved, d.Name.Name, w.n, len(p.runs)), NamePos: d.Name.Pos()}
		if d.Name.Name == "main" {
			p.runs = append(p.runs, &x)
			return
		}
		at := len(p.runs)
		if at > 0 && hasPrefixMain(p.runs[at-1]) {
			at-- // main runs last
		}
		p.runs = slices.Insert(p.runs, at, &x)
	}
}

func hasPrefixMain(d *ast.FuncDecl) bool {
	return len(d.Name.Name) > len(Reserved)+4 && d.Name.Name[len(Reserved):len(Reserved)+4] == "main"
}

func (p *program) variables(d *ast.GenDecl) {
	for _, s := range d.Specs {
		for _, id := range s.(*ast.ValueSpec).Names {
			if id.Name != "_" {
				p.vars = append(p.vars, id)
			}
		}
	}
}

// takeProgram takes in the declarations of a program; its statements are the values of its variables
// and the calls of its functions.
func (w *work) takeProgram(p *program, chunks []chunk) error {
	w.program, w.extra = p, p.runs
	var decls []chunk
	for _, k := range chunks {
		if k.kind == chunkDecl && !p.skips[token.Position{Line: k.line, Column: k.col}] {
			decls = append(decls, k)
		}
	}
	if err := w.parseDecls(decls); err != nil {
		return err
	}
	for _, id := range p.vars {
		w.top[id.Name] = id
		w.order = append(w.order, id.Name)
	}
	for _, n := range w.order {
		if _, again := w.env.Vars[n]; again { // it begins as it would in a new process
			o := p.pkg.Scope().Lookup(n)
			text, err := typeExpr(o.Type(), p.pkg, w.env, maps.Clone(w.imps))
			if err != nil {
				return w.fail(o.Pos(), "%s: %v", n, err)
			}
			w.stmts = append(w.stmts, varAssignment(&ast.ValueSpec{Names: []*ast.Ident{{Name: n, NamePos: o.Pos()}}, Type: mustParseExpr(text, o.Pos())})...)
		}
	}
	for _, in := range p.info.InitOrder {
		if s := initialiser(in); s != nil {
			w.stmts = append(w.stmts, s)
		}
	}
	for _, f := range w.extra {
		pos := f.Name.Pos()
		w.stmts = append(w.stmts, &ast.ExprStmt{X: &ast.CallExpr{Fun: ident(f.Name.Name, pos), Lparen: pos, Rparen: pos}})
	}
	return nil
}

// initialiser is the assignment that gives package variables their value, nil when it does nothing.
func initialiser(in *types.Initializer) ast.Stmt {
	var lhs []ast.Expr
	some := false
	for _, v := range in.Lhs {
		lhs = append(lhs, ident(v.Name(), v.Pos()))
		some = some || v.Name() != "_"
	}
	if !some && !acts(in.Rhs) {
		return nil
	}
	return &ast.AssignStmt{Lhs: lhs, TokPos: in.Lhs[0].Pos(), Tok: token.ASSIGN, Rhs: []ast.Expr{in.Rhs}}
}

// acts says that an expression may do more than have a value.
func acts(x ast.Expr) bool {
	found := false
	ast.Inspect(x, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.FuncLit:
			return false
		case *ast.CallExpr, *ast.IndexExpr, *ast.SliceExpr, *ast.StarExpr, *ast.TypeAssertExpr:
			found = true
		case *ast.UnaryExpr:
			found = found || n.Op == token.ARROW
		}
		return !found
	})
	return found
}

// hoistProgram makes the package variables of a program those of the namespace. Their types are known.
func (w *work) hoistProgram() error {
	vars, imps := maps.Clone(w.vars), maps.Clone(w.imps)
	drop := map[string]bool{}
	for _, n := range w.order {
		expr, err := typeExpr(w.program.pkg.Scope().Lookup(n).Type(), w.program.pkg, w.next, imps)
		if err != nil {
			return w.fail(w.top[n].Pos(), "%s: %v", n, err)
		}
		if old, ok := w.env.Vars[n]; ok && old == expr && !w.replaced[n] {
			continue
		} else if ok {
			w.changed[n] = true
		}
		if w.env.Find(n) != nil {
			w.changed[n], drop[n] = true, true
		}
		w.newVars = append(w.newVars, n)
		vars[n] = expr
	}
	w.joinVars(drop, imps, vars)
	return nil
}
