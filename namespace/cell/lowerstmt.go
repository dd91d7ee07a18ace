package cell

import (
	"go/ast"
	"go/token"
	"go/types"
	"maps"
	"slices"
	"strconv"

	"golang.org/x/tools/go/ast/astutil"
)

// stmts is one walk over the statements of a function.
type stmts struct {
	l      *lowerer
	caught map[types.Object]bool
	sig    *types.Signature      // of the function
	loops  int                   // loops around, within the function
	labels map[ast.Stmt]string   // of loops
	inLoop map[types.Object]bool // variables declared in loops
	gotos  map[string]bool       // labels that a goto of the function goes to
}

// statements lowers the statements of all functions in n.
func (l *lowerer) statements(n ast.Node, caught map[types.Object]bool) {
	s := &stmts{l: l, caught: caught, labels: map[ast.Stmt]string{}}
	switch n := n.(type) {
	case *ast.FuncDecl:
		var sig *types.Signature
		if f, ok := l.info.Defs[n.Name].(*types.Func); ok {
			sig = f.Signature()
		}
		s.body(n.Body, n.Type, sig)
	default:
		s.literals(n)
	}
}

func (s *stmts) body(b *ast.BlockStmt, ft *ast.FuncType, sig *types.Signature) {
	if b == nil {
		return
	}
	inner := &stmts{l: s.l, sig: sig, caught: s.caught, labels: s.labels, gotos: map[string]bool{}, inLoop: map[types.Object]bool{}}
	ast.Inspect(b, func(n ast.Node) bool {
		switch n.(type) {
		case *ast.ForStmt, *ast.RangeStmt:
			ast.Inspect(n, func(m ast.Node) bool {
				if id, ok := m.(*ast.Ident); ok && s.l.info.Defs[id] != nil {
					inner.inLoop[s.l.info.Defs[id]] = true
				}
				return true
			})
		}
		if g, ok := n.(*ast.BranchStmt); ok && g.Tok == token.GOTO {
			inner.gotos[g.Label.Name] = true
		}
		return true
	})
	b.List = slices.Concat(zeroResults(ft, sig), inner.list(b.List))
}

// zeroResults sets named results to zero: the interpreter has them in the place where the caller wants
// the value, with what was there before.
func zeroResults(ft *ast.FuncType, sig *types.Signature) []ast.Stmt {
	if sig == nil || ft.Results == nil {
		return nil
	}
	hidden := map[string]bool{} // names in the function that may hide those of a type
	for _, list := range []*types.Tuple{sig.Params(), sig.Results()} {
		for v := range list.Variables() {
			hidden[v.Name()] = true
		}
	}
	var out []ast.Stmt
	for _, f := range ft.Results.List {
		for _, id := range f.Names {
			if id.Name == "_" {
				continue
			}
			i := slices.IndexFunc(slices.Collect(sig.Results().Variables()), func(v *types.Var) bool { return v.Name() == id.Name })
			if lit := zeroLiteral(sig.Results().At(i).Type(), id.Pos()); lit != nil {
				out = append(out, assign(use(id), lit))
				continue
			}
			typ := copyTree(f.Type, nil)
			if slices.ContainsFunc(slices.Collect(maps.Keys(mentions(typ))), func(n string) bool { return hidden[n] }) {
				continue
			}
			out = append(out, varAssignment(&ast.ValueSpec{Names: []*ast.Ident{use(id)}, Type: typ})...)
		}
	}
	return out
}

// zeroLiteral is the zero value of types that have a short one, nil for others.
func zeroLiteral(t types.Type, pos token.Pos) ast.Expr {
	switch u := t.Underlying().(type) {
	case *types.Pointer, *types.Slice, *types.Map, *types.Chan, *types.Signature, *types.Interface:
		return ident("nil", pos)
	case *types.Basic:
		switch {
		case t != types.Type(u):
			return nil
		case u.Info()&types.IsInteger != 0:
			return &ast.BasicLit{Kind: token.INT, ValuePos: pos, Value: "0"}
		case u.Info()&types.IsString != 0:
			return &ast.BasicLit{Kind: token.STRING, ValuePos: pos, Value: `""`}
		case u.Info()&types.IsBoolean != 0:
			return ident("false", pos)
		}
	}
	return nil
}

// literals lowers the function literals in an expression or simple statement.
func (s *stmts) literals(n ast.Node) {
	if n == nil {
		return
	}
	ast.Inspect(n, func(n ast.Node) bool {
		if f, ok := n.(*ast.FuncLit); ok {
			sig, _ := s.l.typeOf(f).(*types.Signature)
			s.body(f.Body, f.Type, sig)
			return false
		}
		return true
	})
}

func (s *stmts) list(in []ast.Stmt) []ast.Stmt {
	var out []ast.Stmt
	for _, st := range in {
		out = append(out, s.stmt(st)...)
	}
	return out
}

func (s *stmts) stmt(st ast.Stmt) []ast.Stmt {
	switch x := st.(type) {
	case *ast.BlockStmt:
		x.List = s.list(x.List)
	case *ast.LabeledStmt:
		return s.labeled(x)
	case *ast.IfStmt:
		return s.ifStmt(x)
	case *ast.ForStmt:
		return s.forStmt(x)
	case *ast.RangeStmt:
		return s.rangeStmt(x)
	case *ast.SwitchStmt:
		return s.switchStmt(x)
	case *ast.TypeSwitchStmt:
		return s.typeSwitch(x)
	case *ast.SelectStmt:
		return s.selectStmt(x)
	case *ast.DeferStmt:
		s.literals(x.Call)
		return s.deferStmt(x)
	case *ast.GoStmt:
		s.literals(x.Call)
		return s.goStmt(x)
	case *ast.ReturnStmt:
		s.literals(x)
		return s.returnStmt(x)
	case *ast.AssignStmt:
		s.literals(x)
		return s.assignStmt(x)
	case *ast.DeclStmt:
		s.literals(x)
		return s.declStmt(x)
	default:
		s.literals(st)
	}
	return []ast.Stmt{st}
}

// labeled keeps the label where its users need it: at the loop or switch for break and continue, before
// all the statements that one has become for goto.
func (s *stmts) labeled(x *ast.LabeledStmt) []ast.Stmt {
	s.labels[x.Stmt] = x.Label.Name
	old := x.Stmt
	r := s.stmt(x.Stmt)
	if len(r) == 1 {
		x.Stmt = r[0]
		return []ast.Stmt{x}
	}
	switch old := old.(type) {
	case *ast.ForStmt, *ast.RangeStmt, *ast.SwitchStmt, *ast.TypeSwitchStmt, *ast.SelectStmt:
		if s.gotos[x.Label.Name] {
			s.l.refuse(x.Pos(), "goto to this statement", "the interpreter cannot run it")
		}
		x.Stmt = r[len(r)-1]
		return append(r[:len(r)-1:len(r)-1], x)
	case *ast.AssignStmt:
		if old.Tok == token.DEFINE {
			s.l.refuse(x.Pos(), "a label at this definition", "the interpreter cannot run it")
		}
	case *ast.DeclStmt:
		s.l.refuse(x.Pos(), "a label at this declaration", "the interpreter cannot run it")
	}
	x.Stmt = &ast.BlockStmt{Lbrace: old.Pos(), List: r, Rbrace: old.End()}
	return []ast.Stmt{x}
}

// fresh says that a variable defined by id needs a place of its own in each iteration.
func (s *stmts) fresh(id *ast.Ident) bool {
	o := s.l.info.Defs[id]
	return s.loops > 0 && o != nil && id.Name != "_" && s.caught[o]
}

// assignStmt gives captured variables of loop bodies a place of their own in each iteration: only the
// plain definition x := y makes one in the interpreter.
func (s *stmts) assignStmt(x *ast.AssignStmt) []ast.Stmt {
	if x.Tok != token.DEFINE {
		if x.Tok != token.ASSIGN && callsLiteral(x.Rhs[0]) {
			s.l.refuse(x.Pos(), "an assignment operation with a call of a function literal", "the interpreter evaluates it in another order: put the value in a variable before")
		}
		list := s.assignOrder(x)
		if list[len(list)-1] != ast.Stmt(x) {
			return list
		}
		return s.throughTemps(list)
	}
	before := s.rightFirst(x.Rhs)
	var after []ast.Stmt
	for i, lhs := range x.Lhs {
		id, ok := lhs.(*ast.Ident)
		if !ok || id.Name == "_" || s.l.info.Defs[id] == nil || !s.fresh(id) && !receives(x.Rhs) {
			continue
		}
		t := s.l.temp(id.Pos())
		after = append(after, define(use(id), use(t)))
		x.Lhs[i] = t
	}
	return append(append(before, x), after...)
}

// rightFirst evaluates the values of a definition of several variables before it, when there is a call
// among them: the interpreter mixes up their places.
func (s *stmts) rightFirst(values []ast.Expr) []ast.Stmt {
	if len(values) < 2 || !slices.ContainsFunc(values, s.calls) {
		return nil
	}
	var before []ast.Stmt
	for i, v := range values {
		if tv := s.l.info.Types[v]; tv.Value != nil || tv.IsNil() || s.folded(v) {
			continue
		}
		if _, lit := v.(*ast.BasicLit); lit {
			continue
		}
		t := s.l.temp(v.Pos())
		before = append(before, define(t, v))
		values[i] = use(t)
	}
	return before
}

// receives says that a definition gets its values from a channel: the interpreter puts them where they
// cannot be changed.
func receives(values []ast.Expr) bool {
	return slices.ContainsFunc(values, func(x ast.Expr) bool {
		u, ok := ast.Unparen(x).(*ast.UnaryExpr)
		return ok && u.Op == token.ARROW
	})
}

func callsLiteral(x ast.Expr) bool {
	found := false
	ast.Inspect(x, func(n ast.Node) bool {
		if c, ok := n.(*ast.CallExpr); ok {
			_, lit := ast.Unparen(c.Fun).(*ast.FuncLit)
			found = found || lit
		}
		return !found
	})
	return found
}

// assignOrder makes multiple assignments whose left sides have operands safe: Go evaluates those
// operands before it assigns anything.
func (s *stmts) assignOrder(x *ast.AssignStmt) []ast.Stmt {
	if x.Tok != token.ASSIGN || len(x.Lhs) < 2 {
		return []ast.Stmt{x}
	}
	var before []ast.Stmt
	if len(x.Lhs) == len(x.Rhs) {
		if after := s.splitNil(x); after != nil {
			return append(s.assignOrder(x), after...)
		}
	}
	for i, lhs := range x.Lhs {
		if sel, ok := ast.Unparen(lhs).(*ast.SelectorExpr); ok && s.movesAway(x, sel.X) {
			t := s.l.temp(sel.Pos())
			before = append(before, define(t, sel.X))
			x.Lhs[i] = &ast.SelectorExpr{X: use(t), Sel: sel.Sel}
			continue
		}
		if p, ok := ast.Unparen(lhs).(*ast.StarExpr); ok && (calls(p.X) || s.movesAway(x, p.X)) {
			t := s.l.temp(p.Pos())
			before = append(before, define(t, p.X))
			x.Lhs[i] = &ast.StarExpr{Star: p.Star, X: use(t)}
			continue
		}
		ix, ok := ast.Unparen(lhs).(*ast.IndexExpr)
		if !ok {
			continue
		}
		if calls(ix.X) || s.movesAway(x, ix.X) {
			if _, array := s.l.typeOf(ix.X).Underlying().(*types.Array); !array {
				t := s.l.temp(ix.X.Pos())
				before = append(before, define(t, ix.X))
				y := *ix
				y.X = use(t)
				ix, x.Lhs[i] = &y, &y
			}
		}
		if tv := s.l.info.Types[ix.Index]; tv.Value != nil || s.l.types[ix.Index] != nil {
			continue
		}
		t := s.l.temp(ix.Index.Pos())
		before = append(before, define(t, ix.Index))
		y := *ix
		y.Index = use(t)
		x.Lhs[i] = &y
	}
	return append(before, x)
}

// movesAway says that an operand of a left side is a pointer, slice or map in a variable that the same
// statement assigns to.
func (s *stmts) movesAway(x *ast.AssignStmt, operand ast.Expr) bool {
	id, ok := ast.Unparen(operand).(*ast.Ident)
	if !ok || s.l.typeOf(id) == nil {
		return false
	}
	switch s.l.typeOf(id).Underlying().(type) {
	case *types.Pointer, *types.Slice, *types.Map:
	default:
		return false
	}
	return slices.ContainsFunc(x.Lhs, func(e ast.Expr) bool {
		l, ok := ast.Unparen(e).(*ast.Ident)
		return ok && l.Name == id.Name
	})
}

// calls says that an expression contains a call.
func calls(x ast.Expr) bool {
	found := false
	ast.Inspect(x, func(n ast.Node) bool {
		_, call := n.(*ast.CallExpr)
		found = found || call
		return !found
	})
	return found
}

// calls says that an expression calls a function, or makes a conversion that is not one of a literal.
func (s *stmts) calls(x ast.Expr) bool {
	c, ok := ast.Unparen(x).(*ast.CallExpr)
	return ok && !s.folded(c) && !s.l.info.Types[c.Fun].IsType()
}

// loads says that an expression makes a value or reads one through a pointer.
func loads(x ast.Expr) bool {
	switch ast.Unparen(x).(type) {
	case *ast.CompositeLit, *ast.StarExpr:
		return true
	}
	return false
}

func isLiteral(x ast.Expr) bool {
	_, lit := ast.Unparen(x).(*ast.FuncLit)
	return lit
}

// throughTemps assigns the results of calls, receives and other expressions with several values by way
// of new variables: the interpreter has them write to the place of the variable itself, too early (the
// called function sees its own result there) or to another place (pointers go stale).
func (s *stmts) throughTemps(list []ast.Stmt) []ast.Stmt {
	x := list[len(list)-1].(*ast.AssignStmt)
	if x.Tok == token.ASSIGN && len(x.Rhs) > 1 {
		called := slices.ContainsFunc(x.Rhs, s.calls) || slices.ContainsFunc(x.Rhs, isLiteral)
		for i, r := range x.Rhs {
			switch ast.Unparen(r).(type) {
			case *ast.CompositeLit, *ast.StarExpr, *ast.BinaryExpr, *ast.CallExpr, *ast.FuncLit:
				if !called && !loads(r) {
					continue
				}
				t := s.l.temp(r.Pos())
				list = slices.Insert(list, len(list)-1, define(t, r))
				x.Rhs[i] = use(t)
			}
		}
	}
	if x.Tok == token.ASSIGN && len(x.Rhs) == 1 && allBlank(x.Lhs) {
		if _, call := ast.Unparen(x.Rhs[0]).(*ast.CallExpr); !call && len(x.Lhs) == 2 {
			y := *x
			y.Lhs, y.Tok = []ast.Expr{s.l.temp(x.Pos()), x.Lhs[1]}, token.DEFINE
			list[len(list)-1] = &y
			return list
		}
		// A value that is thrown away is computed all the same: a nil pointer panics.
		if _, call := ast.Unparen(x.Rhs[0]).(*ast.CallExpr); !call && acts(x.Rhs[0]) && len(x.Lhs) == 1 {
			t := s.l.temp(x.Pos())
			list = slices.Insert(list, len(list)-1, define(t, x.Rhs[0]))
			x.Rhs[0] = use(t)
		}
		return list
	}
	if x.Tok != token.ASSIGN || len(x.Rhs) != 1 || !s.indirect(x) {
		return list
	}
	list = list[:len(list)-1]
	temps := make([]ast.Expr, len(x.Lhs))
	var after []ast.Stmt
	some := false
	for i, lhs := range x.Lhs {
		if id, ok := lhs.(*ast.Ident); ok && id.Name == "_" {
			temps[i] = lhs
			continue
		}
		some = true
		t := s.l.temp(lhs.Pos())
		temps[i] = t
		after = append(after, assign(lhs, use(t)))
	}
	if !some {
		return append(list, x)
	}
	y := *x
	y.Lhs, y.Tok = temps, token.DEFINE
	return append(append(list, &y), after...)
}

func (s *stmts) indirect(x *ast.AssignStmt) bool {
	if len(x.Lhs) > 1 {
		return true
	}
	switch r := ast.Unparen(x.Rhs[0]).(type) {
	case *ast.StarExpr:
		_, index := ast.Unparen(x.Lhs[0]).(*ast.IndexExpr)
		return index
	case *ast.CallExpr:
		tv := s.l.info.Types[r.Fun]
		if tv.IsType() || tv.IsBuiltin() {
			return false
		}
	case *ast.UnaryExpr:
		return r.Op == token.ARROW
	case *ast.CompositeLit, *ast.FuncLit:
		return true
	case *ast.TypeAssertExpr:
		return types.IsInterface(s.l.typeOf(r))
	default:
		return false
	}
	id, ok := x.Lhs[0].(*ast.Ident)
	if !ok {
		return true
	}
	v, ok := s.l.info.Uses[id].(*types.Var)
	return !ok || s.caught[v] || v.Parent() == s.l.pkg.Scope()
}

// splitNil takes the nils out of a multiple assignment: the interpreter has no type for them there.
func (s *stmts) splitNil(x *ast.AssignStmt) []ast.Stmt {
	var after []ast.Stmt
	var lhs, rhs []ast.Expr
	for i, r := range x.Rhs {
		if s.l.info.Types[r].IsNil() {
			after = append(after, assign(x.Lhs[i], r))
			continue
		}
		lhs, rhs = append(lhs, x.Lhs[i]), append(rhs, r)
	}
	if len(lhs) == 0 {
		x.Lhs, x.Rhs = after[0].(*ast.AssignStmt).Lhs, after[0].(*ast.AssignStmt).Rhs
		return after[1:]
	}
	if len(after) > 0 {
		x.Lhs, x.Rhs = lhs, rhs
	}
	return after
}

func (s *stmts) declStmt(x *ast.DeclStmt) []ast.Stmt {
	g, ok := x.Decl.(*ast.GenDecl)
	if !ok || g.Tok != token.VAR {
		if ok && g.Tok == token.CONST {
			return nil // folded
		}
		return []ast.Stmt{x}
	}
	var after, before []ast.Stmt
	for _, sp := range g.Specs {
		vs := sp.(*ast.ValueSpec)
		if vs.Type == nil && len(g.Specs) == 1 {
			before = s.rightFirst(vs.Values)
		}
		for i, id := range vs.Names {
			if !s.fresh(id) && (id.Name == "_" || !receives(vs.Values)) {
				continue
			}
			t := s.l.temp(id.Pos())
			after = append(after, define(use(id), use(t)))
			vs.Names[i] = t
		}
	}
	return append(append(before, x), after...)
}

// lift takes the init statement of an if or switch out in front when it has to become several.
func (s *stmts) lift(init *ast.Stmt, st ast.Stmt) []ast.Stmt {
	if *init == nil {
		return []ast.Stmt{st}
	}
	r := s.stmt(*init)
	if len(r) == 1 {
		*init = r[0]
		return []ast.Stmt{st}
	}
	*init = nil
	return []ast.Stmt{&ast.BlockStmt{Lbrace: st.Pos(), List: append(r, st), Rbrace: st.End()}}
}

func (s *stmts) ifStmt(x *ast.IfStmt) []ast.Stmt {
	s.literals(x.Cond)
	x.Body.List = s.list(x.Body.List)
	if x.Else != nil {
		r := s.stmt(x.Else)
		if len(r) == 1 {
			x.Else = r[0]
		} else {
			x.Else = &ast.BlockStmt{Lbrace: x.Else.Pos(), List: r, Rbrace: x.Else.End()}
		}
		if _, isIf := x.Else.(*ast.IfStmt); !isIf {
			if _, isBlock := x.Else.(*ast.BlockStmt); !isBlock {
				x.Else = &ast.BlockStmt{Lbrace: x.Else.Pos(), List: []ast.Stmt{x.Else}, Rbrace: x.Else.End()}
			}
		}
	}
	return s.lift(&x.Init, x)
}

func (s *stmts) clauses(b *ast.BlockStmt) {
	for _, c := range b.List {
		switch c := c.(type) {
		case *ast.CaseClause:
			for _, e := range c.List {
				s.literals(e)
			}
			c.Body = s.list(c.Body)
		case *ast.CommClause:
			s.literals(c.Comm)
			c.Body = s.list(c.Body)
		}
	}
}

// switchStmt compares an interface with constants outright: the interpreter finds no match otherwise.
func (s *stmts) switchStmt(x *ast.SwitchStmt) []ast.Stmt {
	s.literals(x.Tag)
	s.clauses(x.Body)
	if id, ok := x.Tag.(*ast.Ident); ok && id.Name == "true" && s.l.typeOf(id) == types.Typ[types.Bool] {
		x.Tag = nil // folded
	}
	if x.Tag == nil { // the interpreter looks at one condition of a case
		for _, c := range x.Body.List {
			c := c.(*ast.CaseClause)
			for i, e := range c.List {
				if types.IsInterface(s.l.typeOf(e)) {
					c.List[i] = &ast.BinaryExpr{X: e, OpPos: e.Pos(), Op: token.EQL, Y: call1("any", ident("true", e.Pos()), e.Pos())}
				}
			}
			for _, e := range c.List[min(len(c.List), 1):] {
				c.List[0] = &ast.BinaryExpr{X: c.List[0], OpPos: e.Pos(), Op: token.LOR, Y: e}
			}
			c.List = c.List[:min(len(c.List), 1)]
		}
		return s.lift(&x.Init, x)
	}
	t := s.l.typeOf(x.Tag)
	if t == nil || !s.outright(t) {
		return s.lift(&x.Init, x)
	}
	tag := s.l.temp(x.Tag.Pos())
	for _, c := range x.Body.List {
		c := c.(*ast.CaseClause)
		for i, e := range c.List {
			et := s.l.typeOf(e)
			if types.IsInterface(t) && et != nil && !types.IsInterface(et) && et != types.Typ[types.UntypedNil] {
				e = call1("any", e, e.Pos())
				s.l.set(e, types.NewInterfaceType(nil, nil))
			}
			if _, lit := e.(*ast.CompositeLit); lit {
				e = &ast.ParenExpr{Lparen: e.Pos(), X: e, Rparen: e.End()}
			}
			value := use(tag)
			s.l.set(value, t)
			is := &ast.BinaryExpr{X: value, OpPos: e.Pos(), Op: token.EQL, Y: e}
			s.l.compared(is)
			e = is
			if i > 0 { // the interpreter looks at one condition of a case
				e = &ast.BinaryExpr{X: c.List[0], OpPos: e.Pos(), Op: token.LOR, Y: e}
			}
			c.List[0] = e
		}
		c.List = c.List[:min(len(c.List), 1)]
	}
	var pre []ast.Stmt
	if x.Init != nil {
		pre = s.stmt(x.Init)
	}
	pre = append(pre, define(tag, x.Tag))
	x.Init, x.Tag = nil, nil
	return s.around(pre, x)
}

// outright says that a switch on a value of type t becomes one of comparisons: the interpreter only
// finds constants of basic types, and those up to 63 bits.
func (s *stmts) outright(t types.Type) bool {
	b, ok := t.Underlying().(*types.Basic)
	return !ok || b.Info()&types.IsBoolean != 0 || b.Kind() == types.Uint64 || b.Kind() == types.Uint || b.Kind() == types.Uintptr
}

// around puts statements before one that may have a label: breaks out of it must keep working, so the
// label stays with it. Callers get the statement last.
func (s *stmts) around(pre []ast.Stmt, st ast.Stmt) []ast.Stmt {
	return append(pre, st)
}

func (s *stmts) typeSwitch(x *ast.TypeSwitchStmt) []ast.Stmt {
	if list := s.ownSwitch(x); list != nil {
		return list
	}
	if a, ok := x.Assign.(*ast.AssignStmt); ok {
		for _, c := range x.Body.List {
			c := c.(*ast.CaseClause)
			o := s.l.info.Implicits[c]
			if o != nil && s.loops > 0 && s.caught[o] {
				id := a.Lhs[0].(*ast.Ident)
				t := s.l.temp(id.Pos())
				c.Body = []ast.Stmt{define(t, use(id)), &ast.BlockStmt{Lbrace: c.Pos(), Rbrace: c.End(),
					List: append([]ast.Stmt{define(use(id), use(t))}, c.Body...)}}
			}
		}
	}
	s.clauses(x.Body)
	return s.lift(&x.Init, x)
}

// selectStmt has the host do the select, and becomes a switch on the number of the case that it took:
//
//	switch __host.Select(blocks, c1, &sent, nil, c2, &received, &ok) { case 0: ...; case 1: ... }
//
// The interpreter keeps the cases of a select in one place for all goroutines that execute it. Channels
// and values are evaluated once, before, in order; what is received goes through new variables.
func (s *stmts) selectStmt(x *ast.SelectStmt) []ast.Stmt {
	var pre []ast.Stmt
	out := &ast.SwitchStmt{Switch: x.Pos(), Body: &ast.BlockStmt{Lbrace: x.Body.Lbrace, Rbrace: x.Body.Rbrace}}
	args := []ast.Expr{ident("true", x.Pos())}
	number := 0
	for _, c := range x.Body.List {
		c := c.(*ast.CommClause)
		clause := &ast.CaseClause{Case: c.Case, Colon: c.Colon}
		out.Body.List = append(out.Body.List, clause)
		if c.Comm == nil {
			args[0] = ident("false", x.Pos())
			clause.Body = s.list(c.Body)
			continue
		}
		ch, value, ok, head := s.communication(&pre, c.Comm)
		clause.Body = append(head, s.list(c.Body)...)
		clause.List = []ast.Expr{&ast.BasicLit{Kind: token.INT, ValuePos: c.Pos(), Value: strconv.Itoa(number)}}
		args = append(args, ch, value, ok)
		number++
	}
	call := hostCall("Select", args...)
	call.Lparen, call.Rparen = x.Pos(), x.Pos()
	if number == 0 && len(out.Body.List) > 0 { // default alone
		return []ast.Stmt{out}
	}
	t := s.l.temp(x.Pos())
	out.Tag = use(t)
	return s.around(append(pre, define(t, call)), out)
}

// communication gives the operands of one case for the host: the channel, the place of the value, that of
// the second value, and what comes first in the body of the case. It evaluates what is sent.
func (s *stmts) communication(pre *[]ast.Stmt, comm ast.Stmt) (ch, value, ok ast.Expr, head []ast.Stmt) {
	none := func() ast.Expr { return ident("nil", comm.Pos()) }
	place := func(id *ast.Ident) ast.Expr { return &ast.UnaryExpr{OpPos: id.Pos(), Op: token.AND, X: use(id)} }
	send, isSend := comm.(*ast.SendStmt)
	var from ast.Expr
	var lhs []ast.Expr
	tok := token.ASSIGN
	switch c := comm.(type) {
	case *ast.SendStmt:
		s.literals(c)
		from = c.Chan
	case *ast.AssignStmt:
		s.literals(c)
		from, lhs, tok = ast.Unparen(c.Rhs[0]).(*ast.UnaryExpr).X, c.Lhs, c.Tok
	case *ast.ExprStmt:
		s.literals(c)
		from = ast.Unparen(c.X).(*ast.UnaryExpr).X
	}
	t, isChan := s.l.typeOf(from).Underlying().(*types.Chan)
	if !isChan {
		s.l.refuse(comm.Pos(), "a select with a channel of this type", cannotRun)
		return none(), none(), none(), nil
	}
	text, writes := s.l.typeExprOf(t.Elem())
	if !writes {
		s.l.refuse(comm.Pos(), "a select with a channel of this type", cannotRun+": declare the type at top level")
		return none(), none(), none(), nil
	}
	ch = s.now(pre, from)
	v := s.l.temp(comm.Pos())
	if isSend {
		*pre = append(*pre, varOf(v, text, send.Value))
		return ch, place(v), ident("true", comm.Pos()), nil
	}
	*pre = append(*pre, varOf(v, text, nil))
	second := s.l.temp(comm.Pos())
	*pre = append(*pre, varOf(second, "bool", nil))
	for i, l := range lhs {
		if id, is := l.(*ast.Ident); is && id.Name == "_" {
			continue
		}
		from := use([]*ast.Ident{v, second}[i])
		if tok == token.DEFINE {
			head = append(head, define(use(l.(*ast.Ident)), from))
		} else {
			head = append(head, assign(l, from))
		}
	}
	return ch, place(v), place(second), head
}

// now evaluates an expression before the statement.
func (s *stmts) now(pre *[]ast.Stmt, x ast.Expr) ast.Expr {
	if s.l.info.Types[x].IsNil() {
		return x
	}
	t := s.l.temp(x.Pos())
	*pre = append(*pre, define(t, x))
	return use(t)
}

func allBlank(list []ast.Expr) bool {
	for _, x := range list {
		if id, ok := x.(*ast.Ident); !ok || id.Name != "_" {
			return false
		}
	}
	return true
}

// varOf is var name T = value, or var name T.
func varOf(name *ast.Ident, typ string, v ast.Expr) ast.Stmt {
	x := mustParseExpr(typ, name.Pos())
	spec := &ast.ValueSpec{Names: []*ast.Ident{name}, Type: x}
	if v != nil {
		spec.Values = []ast.Expr{v}
	}
	return &ast.DeclStmt{Decl: &ast.GenDecl{Tok: token.VAR, TokPos: name.Pos(), Specs: []ast.Spec{spec}}}
}

// returnStmt takes receives out of a return.
func (s *stmts) returnStmt(x *ast.ReturnStmt) []ast.Stmt {
	var pre []ast.Stmt
	apart := len(x.Results) > 1 && s.sig != nil && s.sig.Results().Len() == len(x.Results)
	for i, r := range x.Results {
		if s.sig != nil && s.sig.Results().Len() == len(x.Results) && s.comparesInto(r, s.sig.Results().At(i).Type()) ||
			apart && s.named(r) {
			t := s.l.temp(r.Pos())
			pre = append(pre, define(t, r))
			x.Results[i] = use(t)
			continue
		}
		if id, ok := ast.Unparen(r).(*ast.Ident); ok {
			if f, ok := s.l.info.Uses[id].(*types.Func); ok {
				x.Results[i] = s.l.literalOf(id, f.Signature())
			}
		}
		if u, ok := ast.Unparen(r).(*ast.UnaryExpr); ok && u.Op == token.ARROW {
			t := s.l.temp(r.Pos())
			pre = append(pre, define(t, u))
			x.Results[i] = use(t)
		}
	}
	return append(pre, x)
}

// named says that an expression is to be evaluated before any result is set: it is a named result, or
// may panic.
func (s *stmts) named(x ast.Expr) bool {
	if _, ok := ast.Unparen(x).(*ast.StarExpr); ok {
		return true
	}
	found := false
	ast.Inspect(x, func(n ast.Node) bool {
		if _, lit := n.(*ast.FuncLit); lit {
			return false
		}
		if id, ok := n.(*ast.Ident); ok {
			for r := range s.sig.Results().Variables() {
				found = found || r.Name() != "" && s.l.info.Uses[id] == r
			}
		}
		return !found
	})
	return found && !s.l.info.Types[x].IsNil()
}

// comparesInto says that the value of a comparison becomes an interface, where the interpreter has no
// type for it.
func (s *stmts) comparesInto(x ast.Expr, t types.Type) bool {
	b, ok := ast.Unparen(x).(*ast.BinaryExpr)
	if !ok || !types.IsInterface(t) {
		return false
	}
	switch b.Op {
	case token.EQL, token.NEQ, token.LSS, token.LEQ, token.GTR, token.GEQ, token.LAND, token.LOR:
		return true
	}
	return false
}

// callParts evaluates the function and the arguments of a call now, for a defer or go.
func (s *stmts) callParts(c *ast.CallExpr) []ast.Stmt {
	var pre []ast.Stmt
	now := func(x ast.Expr) ast.Expr {
		t, u := s.l.temp(x.Pos()), s.l.temp(x.Pos())
		pre = append(pre, define(t, x), define(u, use(t)))
		return use(u)
	}
	if n, ok := ast.Unparen(c.Fun).(*ast.SelectorExpr); ok {
		if sel := s.l.info.Selections[n]; sel != nil && sel.Kind() == types.MethodVal {
			x, _ := s.l.receiver(n, sel)
			c.Fun = &ast.SelectorExpr{X: now(x), Sel: n.Sel}
		}
	}
	for i, a := range c.Args {
		tv := s.l.info.Types[a]
		_, lit := a.(*ast.BasicLit)
		switch {
		case tv.IsNil() || tv.IsType() || tv.Value != nil || lit:
		default:
			if t, ok := s.l.typeOf(a).(*types.Tuple); ok && t.Len() != 1 {
				s.l.refuse(a.Pos(), "defer or go of a call with the results of another call as arguments", "the interpreter cannot run it: put them in variables")
			}
			c.Args[i] = now(a)
		}
	}
	return pre
}

// deferStmt evaluates the arguments of a deferred call at the defer: the interpreter reads them when it
// calls.
func (s *stmts) deferStmt(x *ast.DeferStmt) []ast.Stmt {
	pre := s.callParts(x.Call)
	lit, ok := ast.Unparen(x.Call.Fun).(*ast.FuncLit)
	if !ok || s.loops == 0 {
		return append(pre, x)
	}
	// A literal is made when it is called, too, and would see the variables of the last iteration. Made
	// now it sees the right ones, but then recover finds nothing in it.
	if mentions(lit)["recover"] {
		if s.usesFresh(lit) {
			s.l.refuse(x.Pos(), "a deferred function literal in a loop that recovers and uses variables of the loop", "the interpreter cannot run it: pass them as arguments")
		}
		return append(pre, x)
	}
	t := s.l.temp(x.Pos())
	x.Call.Fun = use(t)
	return append(pre, define(t, lit), x)
}

// makeApart has each function literal that is kept made by a call of its own:
//
//	func() func(A) R { return func(a A) R { ... } }()
//
// When a literal returns, the interpreter locks the frame that made it and writes to it. That frame must
// not be one that is running deferred calls (it is locked then), nor one that goes on in another
// goroutine.
func makeApart(n ast.Node) {
	astutil.Apply(n, nil, func(c *astutil.Cursor) bool {
		lit, ok := c.Node().(*ast.FuncLit)
		if !ok {
			return true
		}
		if call, ok := c.Parent().(*ast.CallExpr); ok && call.Fun == ast.Expr(lit) {
			return true
		}
		pos := lit.Pos()
		made := &ast.FuncLit{
			Type: &ast.FuncType{Func: pos, Params: &ast.FieldList{Opening: pos, Closing: pos},
				Results: &ast.FieldList{List: []*ast.Field{{Type: copyTree(lit.Type, nil)}}}},
			Body: &ast.BlockStmt{Lbrace: pos, List: []ast.Stmt{&ast.ReturnStmt{Return: pos, Results: []ast.Expr{lit}}}, Rbrace: pos},
		}
		c.Replace(&ast.CallExpr{Fun: made, Lparen: pos, Rparen: pos})
		return true
	})
}

// usesFresh says that a literal uses a variable that each iteration has of its own.
func (s *stmts) usesFresh(lit *ast.FuncLit) bool {
	found := false
	ast.Inspect(lit, func(n ast.Node) bool {
		if id, ok := n.(*ast.Ident); ok {
			if v, ok := s.l.info.Uses[id].(*types.Var); ok && s.caught[v] && s.inLoop[v] {
				found = true
			}
		}
		return !found
	})
	return found
}

// goStmt has the host start the goroutine, which counts it and makes a panic in it an error of the cell
// rather than the end of the process. That is in a function literal that gets what it needs as arguments:
//
//	func(a A) { __host.Go(func() { f(a) }) }(x)
//
// When a function literal returns, the interpreter writes to the frame that made it. That frame must be
// this call's own, not the one of a loop that goes on.
func (s *stmts) goStmt(x *ast.GoStmt) []ast.Stmt {
	pos := x.Pos()
	c := x.Call
	params := &ast.FieldList{Opening: pos, Closing: pos}
	var args []ast.Expr
	pass := func(e ast.Expr, t types.Type) ast.Expr {
		text, ok := "", false
		if t != nil {
			text, ok = s.l.typeExprOf(types.Default(t))
		}
		if !ok {
			s.l.refuse(e.Pos(), "a go statement with an operand of this type", "the interpreter cannot run it: use a function literal")
			return e
		}
		p := s.l.temp(pos)
		params.List = append(params.List, &ast.Field{Names: []*ast.Ident{p}, Type: mustParseExpr(text, pos)})
		args = append(args, e)
		return use(p)
	}
	switch f := ast.Unparen(c.Fun).(type) {
	case *ast.FuncLit:
	case *ast.SelectorExpr:
		if sel := s.l.info.Selections[f]; sel == nil {
			break // a function of a package
		} else if sel.Kind() == types.MethodVal {
			r, t := s.l.receiver(f, sel)
			c.Fun = &ast.SelectorExpr{X: pass(r, t), Sel: f.Sel}
		} else {
			c.Fun = pass(f, s.l.typeOf(f))
		}
	case *ast.Ident:
		if _, isVar := s.l.info.Uses[f].(*types.Var); isVar {
			c.Fun = pass(f, s.l.typeOf(f))
		}
	default:
		c.Fun = pass(f, s.l.typeOf(f))
	}
	for i, a := range c.Args {
		tv := s.l.info.Types[a]
		if _, lit := a.(*ast.BasicLit); lit || tv.IsNil() || tv.IsType() || tv.Value != nil || s.folded(a) {
			continue
		}
		c.Args[i] = pass(a, s.l.typeOf(a))
	}
	inner := literal(pos, nil, &ast.ExprStmt{X: c})
	outer := literal(pos, params, &ast.ExprStmt{X: hostCall("Go", inner)})
	return []ast.Stmt{&ast.ExprStmt{X: &ast.CallExpr{Fun: outer, Lparen: pos, Args: args, Rparen: pos}}}
}

// folded says that an argument was a constant, written out.
func (s *stmts) folded(a ast.Expr) bool {
	if s.l.types[a] == nil {
		return false
	}
	c, ok := a.(*ast.CallExpr)
	if !ok || len(c.Args) != 1 {
		return false
	}
	_, lit := c.Args[0].(*ast.BasicLit)
	return lit
}

func literal(pos token.Pos, params *ast.FieldList, body ...ast.Stmt) *ast.FuncLit {
	if params == nil {
		params = &ast.FieldList{Opening: pos, Closing: pos}
	}
	return &ast.FuncLit{Type: &ast.FuncType{Func: pos, Params: params}, Body: &ast.BlockStmt{Lbrace: pos, List: body, Rbrace: pos}}
}

// forStmt gives each iteration its own copy of captured loop variables.
func (s *stmts) forStmt(x *ast.ForStmt) []ast.Stmt {
	s.literals(x.Init)
	s.literals(x.Cond)
	s.literals(x.Post)
	var vars []*ast.Ident
	var before []ast.Stmt
	if a, ok := x.Init.(*ast.AssignStmt); ok && a.Tok == token.DEFINE {
		before = s.rightFirst(a.Rhs)
		for _, lhs := range a.Lhs {
			if id, ok := lhs.(*ast.Ident); ok && s.l.info.Defs[id] != nil && s.caught[s.l.info.Defs[id]] {
				vars = append(vars, id)
			}
		}
	}
	s.loops++
	x.Body.List = s.list(x.Body.List)
	s.loops--
	for _, id := range vars {
		s.perIteration(x, id)
	}
	return append(before, x)
}

func (s *stmts) perIteration(x *ast.ForStmt, id *ast.Ident) {
	o := s.l.info.Defs[id]
	outer := s.l.temp(id.Pos())
	inner := ident(id.Name, id.Pos())
	for _, part := range []ast.Node{x.Init, x.Cond, x.Post} {
		if part == nil || part == ast.Expr(nil) {
			continue
		}
		ast.Inspect(part, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.FuncLit:
				if mentions(n)[inner.Name] {
					s.l.refuse(n.Pos(), "a function literal in the head of a for that captures its variable", "the interpreter cannot run it")
				}
				return false
			case *ast.Ident:
				if n != id && s.l.info.Uses[n] == o {
					n.Name = outer.Name
				}
			}
			return true
		})
	}
	id.Name = outer.Name
	back := func() ast.Stmt { return assign(use(outer), use(inner)) }
	x.Body.List = slices.Concat([]ast.Stmt{define(use(inner), use(outer))},
		beforeContinue(x.Body.List, s.labels[x], back), []ast.Stmt{back()})
}

// beforeContinue puts a statement before each continue of the loop whose body list is.
func beforeContinue(list []ast.Stmt, label string, make func() ast.Stmt) []ast.Stmt {
	var walk func(st ast.Stmt, nested bool) ast.Stmt
	lists := func(in []ast.Stmt, nested bool) {
		for i := range in {
			in[i] = walk(in[i], nested)
		}
	}
	walk = func(st ast.Stmt, nested bool) ast.Stmt {
		switch x := st.(type) {
		case *ast.BranchStmt:
			if x.Tok == token.CONTINUE && (x.Label == nil && !nested || x.Label != nil && x.Label.Name == label) {
				return &ast.BlockStmt{Lbrace: x.Pos(), List: []ast.Stmt{make(), x}, Rbrace: x.End()}
			}
		case *ast.BlockStmt:
			lists(x.List, nested)
		case *ast.IfStmt:
			lists(x.Body.List, nested)
			if x.Else != nil {
				x.Else = walk(x.Else, nested)
			}
		case *ast.LabeledStmt:
			x.Stmt = walk(x.Stmt, nested)
		case *ast.ForStmt:
			lists(x.Body.List, true)
		case *ast.RangeStmt:
			lists(x.Body.List, true)
		case *ast.SwitchStmt:
			lists(x.Body.List, nested)
		case *ast.TypeSwitchStmt:
			lists(x.Body.List, nested)
		case *ast.SelectStmt:
			lists(x.Body.List, nested)
		case *ast.CaseClause:
			lists(x.Body, nested)
		case *ast.CommClause:
			lists(x.Body, nested)
		}
		return st
	}
	lists(list, false)
	return list
}

// rangeStmt lowers a range. What is ranged over is evaluated once, before it: the interpreter makes
// calls in it more than once.
func (s *stmts) rangeStmt(x *ast.RangeStmt) []ast.Stmt {
	s.literals(x.X)
	t := s.l.typeOf(x.X)
	if _, isFunc := t.Underlying().(*types.Signature); !isFunc && calls(x.X) {
		tmp := s.l.temp(x.X.Pos())
		s.l.set(tmp, t)
		pre := define(tmp, x.X)
		x.X = tmp
		return append([]ast.Stmt{pre}, s.rangeOver(x, t)...)
	}
	return s.rangeOver(x, t)
}

func (s *stmts) rangeOver(x *ast.RangeStmt, t types.Type) []ast.Stmt {
	s.loops++
	x.Body.List = s.list(x.Body.List)
	s.loops--
	if n, ok := s.indexOnly(x, t); ok {
		x.X, x.Value = &ast.BasicLit{Kind: token.INT, Value: strconv.FormatInt(n, 10), ValuePos: x.X.Pos()}, nil
		return s.rangeInt(x, types.Typ[types.Int])
	}
	switch u := t.Underlying().(type) {
	case *types.Basic:
		if u.Info()&types.IsInteger != 0 {
			return s.rangeInt(x, t)
		}
	case *types.Signature:
		return s.rangeFunc(x, u)
	}
	if list := s.rangeChans(x, t); list != nil {
		return list
	}
	if b, ok := t.Underlying().(*types.Basic); ok && b.Info()&types.IsString != 0 && x.Key != nil && !allBlank([]ast.Expr{x.Key}) {
		return s.rangeString(x)
	}
	if x.Tok != token.DEFINE {
		return s.rangeAssign(x)
	}
	var head []ast.Stmt
	own := func(e ast.Expr) ast.Expr {
		id, ok := e.(*ast.Ident)
		if !ok || id.Name == "_" || !s.caught[s.l.info.Defs[id]] {
			return e
		}
		t := s.l.temp(id.Pos())
		head = append(head, define(use(id), use(t)))
		return t
	}
	if x.Key != nil {
		x.Key = own(x.Key)
	}
	if x.Value != nil {
		x.Value = own(x.Value)
	}
	x.Body.List = append(head, x.Body.List...)
	return []ast.Stmt{x}
}

// rangeChans ranges over the keys of what has channels for elements: the interpreter takes the elements
// for channels to range over. It gives nil for all else.
func (s *stmts) rangeChans(x *ast.RangeStmt, t types.Type) []ast.Stmt {
	if p, ok := t.Underlying().(*types.Pointer); ok {
		t = p.Elem()
	}
	c, ok := t.Underlying().(interface{ Elem() types.Type })
	if _, isChan := t.Underlying().(*types.Chan); !ok || isChan || x.Value == nil {
		return nil
	}
	if _, isChan := c.Elem().Underlying().(*types.Chan); !isChan {
		return nil
	}
	all, k, v := s.l.temp(x.Pos()), s.l.temp(x.Pos()), s.l.temp(x.Pos())
	pre := define(all, x.X)
	head := append([]ast.Stmt{define(v, at(all, k))}, s.intoBoth(x, k, v)...)
	x.X, x.Key, x.Value, x.Tok = use(all), k, nil, token.DEFINE
	x.Body.List = append(head, x.Body.List...)
	return []ast.Stmt{pre, x}
}

// rangeString ranges over where the characters of a string begin: the interpreter counts bytes that are
// not UTF-8 as three.
func (s *stmts) rangeString(x *ast.RangeStmt) []ast.Stmt {
	all, starts := s.l.temp(x.Pos()), s.l.temp(x.Pos())
	n, k, v := s.l.temp(x.Pos()), s.l.temp(x.Pos()), s.l.temp(x.Pos())
	pre := []ast.Stmt{define(all, call1("string", x.X, x.X.Pos())), define(starts, hostCall("Starts", use(all)))}
	head := []ast.Stmt{define(k, at(starts, n))}
	if x.Value != nil && !allBlank([]ast.Expr{x.Value}) {
		runes := s.l.temp(x.Pos())
		pre = append(pre, define(runes, hostCall("Runes", use(all))))
		head = append(head, define(v, at(runes, n)))
	} else {
		x.Value = nil
	}
	head = append(head, s.intoBoth(x, k, v)...)
	x.X, x.Key, x.Value, x.Tok = use(starts), n, nil, token.DEFINE
	x.Body.List = append(head, x.Body.List...)
	return append(pre, x)
}

func at(list, index *ast.Ident) ast.Expr {
	return &ast.IndexExpr{X: use(list), Lbrack: list.Pos(), Index: use(index), Rbrack: list.Pos()}
}

// intoBoth gives the variables of a range what they get: k and v.
func (s *stmts) intoBoth(x *ast.RangeStmt, k, v *ast.Ident) []ast.Stmt {
	both := &ast.AssignStmt{TokPos: x.TokPos, Tok: token.ASSIGN}
	var head []ast.Stmt
	for i, e := range []ast.Expr{x.Key, x.Value} {
		from := use([]*ast.Ident{k, v}[i])
		id, isID := e.(*ast.Ident)
		switch {
		case e == nil || isID && id.Name == "_":
		case x.Tok == token.DEFINE:
			head = append(head, define(use(id), from))
		default:
			both.Lhs, both.Rhs = append(both.Lhs, e), append(both.Rhs, from)
		}
	}
	if len(both.Lhs) > 0 {
		head = append(head, s.assignOrder(both)...)
	}
	return head
}

// indexOnly gives the length of an array, or the array of a pointer, that is ranged over without looking
// at its elements: Go does not look at the array then, and a pointer may be nil.
func (s *stmts) indexOnly(x *ast.RangeStmt, t types.Type) (int64, bool) {
	if id, ok := x.Value.(*ast.Ident); x.Value != nil && (!ok || id.Name != "_") || acts(x.X) && !isLoad(x.X) {
		return 0, false
	}
	if p, ok := t.Underlying().(*types.Pointer); ok {
		t = p.Elem()
	}
	a, ok := t.Underlying().(*types.Array)
	if !ok {
		return 0, false
	}
	return a.Len(), true
}

// isLoad says that an expression is *p of a variable p.
func isLoad(x ast.Expr) bool {
	p, ok := ast.Unparen(x).(*ast.StarExpr)
	return ok && !acts(p.X)
}

// rangeAssign ranges into new variables and assigns those: the interpreter makes new places for the
// variables it ranges into, and pointers to them go stale.
func (s *stmts) rangeAssign(x *ast.RangeStmt) []ast.Stmt {
	both := &ast.AssignStmt{TokPos: x.TokPos, Tok: token.ASSIGN}
	into := func(e ast.Expr) ast.Expr {
		if id, ok := e.(*ast.Ident); ok && id.Name == "_" || e == nil {
			return e
		}
		t := s.l.temp(e.Pos())
		both.Lhs, both.Rhs = append(both.Lhs, e), append(both.Rhs, use(t))
		return t
	}
	x.Key, x.Value = into(x.Key), into(x.Value)
	if len(both.Lhs) > 0 {
		x.Tok = token.DEFINE
		x.Body.List = append(s.assignOrder(both), x.Body.List...)
	}
	return []ast.Stmt{x}
}

// rangeInt is a counting loop.
func (s *stmts) rangeInt(x *ast.RangeStmt, t types.Type) []ast.Stmt {
	pos := x.Pos()
	if key, ok := x.Key.(*ast.Ident); ok && x.Tok == token.DEFINE && s.l.info.Defs[key] != nil {
		t = s.l.info.Defs[key].Type()
	} else if x.Key != nil && x.Tok == token.ASSIGN {
		if kt := s.l.typeOf(x.Key); kt != nil {
			t = kt
		}
	}
	text, ok := s.l.typeExprOf(types.Default(t))
	if !ok {
		s.l.refuse(pos, "range over an integer of this type", "the interpreter cannot run it")
		return []ast.Stmt{x}
	}
	n, i := s.l.temp(pos), s.l.temp(pos)
	var head []ast.Stmt
	if id, ok := x.Key.(*ast.Ident); x.Key != nil && !(ok && id.Name == "_") {
		if x.Tok == token.DEFINE {
			head = append(head, define(use(id), use(i)))
		} else {
			head = append(head, assign(x.Key, use(i)))
		}
	}
	conv := func(e ast.Expr) ast.Expr {
		return &ast.CallExpr{Fun: &ast.ParenExpr{X: mustParseExpr(text, pos)}, Lparen: pos, Args: []ast.Expr{e}, Rparen: pos}
	}
	f := &ast.ForStmt{
		For:  pos,
		Init: define(i, conv(&ast.BasicLit{Kind: token.INT, Value: "0", ValuePos: pos})),
		Cond: &ast.BinaryExpr{X: use(i), OpPos: pos, Op: token.LSS, Y: use(n)},
		Post: &ast.IncDecStmt{X: use(i), TokPos: pos, Tok: token.INC},
		Body: &ast.BlockStmt{Lbrace: x.Body.Lbrace, List: append(head, x.Body.List...), Rbrace: x.Body.Rbrace},
	}
	return []ast.Stmt{define(n, conv(x.X)), f}
}
