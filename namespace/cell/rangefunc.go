package cell

import (
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"

	"golang.org/x/tools/go/ast/astutil"
)

func mustParseExpr(text string, pos token.Pos) ast.Expr {
	x, err := parser.ParseExpr(text)
	if err != nil {
		panic("cell: " + err.Error()) // the text was made here
	}
	stripPos(x, pos)
	return x
}

// rangeFunc turns the body into a function that is called for each element. Leaving the body is noted
// in a variable and done after the call.
func (s *stmts) rangeFunc(x *ast.RangeStmt, sig *types.Signature) []ast.Stmt {
	pos := x.Pos()
	yield, ok := sig.Params().At(0).Type().Underlying().(*types.Signature)
	if !ok {
		s.l.refuse(pos, "range over this function", "the interpreter cannot run it")
		return []ast.Stmt{x}
	}
	if out := s.leaves(x); out != nil {
		s.l.refuse(out.Pos(), "defer, goto or a branch to an outer label in a range over a function", "the interpreter cannot run it: collect the elements first, or use break")
		return []ast.Stmt{x}
	}
	back, ok := s.returns(x)
	if !ok {
		s.l.refuse(pos, "return out of this range over a function", "the interpreter cannot run it")
		return []ast.Stmt{x}
	}
	params := &ast.FieldList{Opening: pos, Closing: pos}
	var head []ast.Stmt
	for i := range yield.Params().Len() {
		text, ok := s.l.typeExprOf(yield.Params().At(i).Type())
		if !ok {
			s.l.refuse(pos, "range over this function", "the interpreter cannot run it")
			return []ast.Stmt{x}
		}
		p := s.l.temp(pos)
		params.List = append(params.List, &ast.Field{Names: []*ast.Ident{p}, Type: mustParseExpr(text, pos)})
		e := []ast.Expr{x.Key, x.Value}[i]
		if id, ok := e.(*ast.Ident); e == nil || ok && id.Name == "_" {
			continue
		}
		if x.Tok == token.DEFINE {
			head = append(head, define(use(e.(*ast.Ident)), use(p)))
		} else {
			head = append(head, assign(e, use(p)))
		}
	}
	list := leaveBody(append(head, x.Body.List...), s.labels[x])
	list = append(list, yieldResult(true, pos))
	fn := &ast.FuncLit{
		Type: &ast.FuncType{Func: pos, Params: params, Results: &ast.FieldList{List: []*ast.Field{{Type: ident("bool", pos)}}}},
		Body: &ast.BlockStmt{Lbrace: x.Body.Lbrace, List: list, Rbrace: x.Body.Rbrace},
	}
	run := &ast.ExprStmt{X: &ast.CallExpr{Fun: x.X, Lparen: pos, Args: []ast.Expr{fn}, Rparen: pos}}
	if back == nil {
		return []ast.Stmt{run}
	}
	return []ast.Stmt{&ast.BlockStmt{Lbrace: pos, List: append(back.before, run, back.after), Rbrace: pos}}
}

// wayBack is what a return in the body of a range over a function becomes: its values are kept in
// variables, and returned after the call.
type wayBack struct {
	before []ast.Stmt
	after  ast.Stmt
}

// returns rewrites the returns of the body; nil when there are none.
func (s *stmts) returns(x *ast.RangeStmt) (*wayBack, bool) {
	var list []*ast.ReturnStmt
	eachReturn(x.Body, func(r *ast.ReturnStmt) ast.Stmt { list = append(list, r); return r })
	if len(list) == 0 {
		return nil, true
	}
	if s.sig == nil {
		return nil, false
	}
	pos := x.Pos()
	left := s.l.temp(pos)
	b := &wayBack{before: []ast.Stmt{define(left, ident("false", pos))}}
	var temps []*ast.Ident
	for i := range s.sig.Results().Len() {
		text, ok := s.l.typeExprOf(s.sig.Results().At(i).Type())
		if !ok {
			return nil, false
		}
		t := s.l.temp(pos)
		temps = append(temps, t)
		v := varOf(t, text, nil)
		v.(*ast.DeclStmt).Decl.(*ast.GenDecl).Specs[0].(*ast.ValueSpec).Values = nil
		b.before = append(b.before, v)
	}
	bare := false
	eachReturn(x.Body, func(r *ast.ReturnStmt) ast.Stmt {
		out := &ast.BlockStmt{Lbrace: r.Pos(), Rbrace: r.End()}
		bare = bare || len(r.Results) == 0 && len(temps) > 0
		if len(r.Results) > 0 {
			var lhs []ast.Expr
			for _, t := range temps {
				lhs = append(lhs, use(t))
			}
			out.List = append(out.List, &ast.AssignStmt{Lhs: lhs, TokPos: r.Pos(), Tok: token.ASSIGN, Rhs: r.Results})
		}
		out.List = append(out.List, assign(use(left), ident("true", r.Pos())), yieldResult(false, r.Pos()))
		return out
	})
	ret := &ast.ReturnStmt{Return: pos}
	if !bare {
		for _, t := range temps {
			ret.Results = append(ret.Results, use(t))
		}
	}
	b.after = &ast.IfStmt{If: pos, Cond: use(left), Body: &ast.BlockStmt{Lbrace: pos, List: []ast.Stmt{ret}, Rbrace: pos}}
	return b, true
}

// eachReturn replaces the returns of a body, not those of function literals in it.
func eachReturn(b *ast.BlockStmt, f func(*ast.ReturnStmt) ast.Stmt) {
	astutil.Apply(b, func(c *astutil.Cursor) bool {
		switch n := c.Node().(type) {
		case *ast.FuncLit:
			return false
		case *ast.ReturnStmt:
			c.Replace(f(n))
			return false
		}
		return true
	}, nil)
}

func yieldResult(more bool, pos token.Pos) ast.Stmt {
	name := "false"
	if more {
		name = "true"
	}
	return &ast.ReturnStmt{Return: pos, Results: []ast.Expr{ident(name, pos)}}
}

// leaves finds a statement that leaves the loop other than by break or continue.
func (s *stmts) leaves(x *ast.RangeStmt) (out ast.Stmt) {
	own := s.labels[x]
	inner := map[string]bool{own: own != ""}
	ast.Inspect(x.Body, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.FuncLit:
			return false
		case *ast.LabeledStmt:
			inner[n.Label.Name] = true
		case *ast.DeferStmt:
			out = n
		case *ast.BranchStmt:
			if n.Tok == token.GOTO || n.Label != nil && !inner[n.Label.Name] {
				out = n
			}
		}
		return true
	})
	return out
}

// leaveBody turns break and continue of the loop into returns of the body function.
func leaveBody(list []ast.Stmt, label string) []ast.Stmt {
	var walk func(st ast.Stmt, loop, sw bool) ast.Stmt
	lists := func(in []ast.Stmt, loop, sw bool) {
		for i := range in {
			in[i] = walk(in[i], loop, sw)
		}
	}
	walk = func(st ast.Stmt, loop, sw bool) ast.Stmt {
		switch x := st.(type) {
		case *ast.BranchStmt:
			mine := x.Label != nil && x.Label.Name == label && label != ""
			if x.Tok == token.CONTINUE && (x.Label == nil && !loop || mine) {
				return yieldResult(true, x.Pos())
			}
			if x.Tok == token.BREAK && (x.Label == nil && !loop && !sw || mine) {
				return yieldResult(false, x.Pos())
			}
		case *ast.BlockStmt:
			lists(x.List, loop, sw)
		case *ast.IfStmt:
			lists(x.Body.List, loop, sw)
			if x.Else != nil {
				e := walk(x.Else, loop, sw)
				if _, ok := e.(*ast.ReturnStmt); ok {
					e = &ast.BlockStmt{Lbrace: e.Pos(), List: []ast.Stmt{e}, Rbrace: e.End()}
				}
				x.Else = e
			}
		case *ast.LabeledStmt:
			x.Stmt = walk(x.Stmt, loop, sw)
		case *ast.ForStmt:
			lists(x.Body.List, true, sw)
		case *ast.RangeStmt:
			lists(x.Body.List, true, sw)
		case *ast.SwitchStmt:
			lists(x.Body.List, loop, true)
		case *ast.TypeSwitchStmt:
			lists(x.Body.List, loop, true)
		case *ast.SelectStmt:
			lists(x.Body.List, loop, true)
		case *ast.CaseClause:
			lists(x.Body, loop, sw)
		case *ast.CommClause:
			lists(x.Body, loop, sw)
		}
		return st
	}
	lists(list, false, false)
	return list
}
