package cell

import (
	"encoding/hex"
	"fmt"
	"go/ast"
	"go/token"
	"go/types"
	"runtime"

	"golang.org/x/tools/go/ast/astutil"
)

// binary gives constants in shifts their type, and operands of == one type.
func (l *lowerer) binary(n *ast.BinaryExpr) {
	switch n.Op {
	case token.SHL, token.SHR:
		l.shifted(n)
	case token.EQL, token.NEQ:
		l.compared(n)
	}
}

// shifted writes out the type of a constant that is shifted: the interpreter takes it from nowhere.
func (l *lowerer) shifted(n *ast.BinaryExpr) {
	lit, ok := ast.Unparen(n.X).(*ast.BasicLit)
	t := l.info.TypeOf(n)
	if !ok || t == nil || lit.Kind != token.INT {
		return
	}
	if b, ok := t.Underlying().(*types.Basic); !ok || b.Info()&types.IsInteger == 0 {
		return
	}
	if text, ok := l.typeExprOf(types.Default(t)); ok {
		n.X = call1(text, lit, lit.Pos())
		l.set(n.X, t)
	}
}

// compared converts the operand without a type name to that of the other.
func (l *lowerer) compared(n *ast.BinaryExpr) {
	x, y := l.typeOf(n.X), l.typeOf(n.Y)
	if x == nil || y == nil {
		return
	}
	if ownInterface(x, l.pkg) && !l.info.Types[n.Y].IsNil() || ownInterface(y, l.pkg) && !l.info.Types[n.X].IsNil() {
		l.refuse(n.OpPos, "comparing values of an interface with methods", "the interpreter does not do it rightly: compare what is in them")
	}
	if types.Identical(x, y) {
		l.comparedCalls(n, x)
		return
	}
	if types.IsInterface(x) || types.IsInterface(y) || x == types.Typ[types.UntypedNil] || y == types.Typ[types.UntypedNil] {
		return
	}
	to := func(e ast.Expr, t types.Type) ast.Expr {
		text, ok := l.typeExprOf(t)
		if !ok {
			return e
		}
		c := &ast.CallExpr{Fun: &ast.ParenExpr{X: mustParseExpr(text, e.Pos())}, Lparen: e.Pos(), Args: []ast.Expr{e}, Rparen: e.Pos()}
		l.set(c, t)
		return c
	}
	switch a := x.Underlying().(type) {
	case *types.Array:
	case *types.Chan:
		if a.Dir() == types.SendRecv {
			n.X = to(n.X, y)
		} else {
			n.Y = to(n.Y, x)
		}
		return
	default:
		return
	}
	if _, named := x.(*types.Named); named {
		n.Y = to(n.Y, x)
	} else {
		n.X = to(n.X, y)
	}
}

// comparedCalls compares arrays and structs that calls give in a function made for the type: the
// interpreter has no place for the two results.
func (l *lowerer) comparedCalls(n *ast.BinaryExpr, t types.Type) {
	switch t.Underlying().(type) {
	case *types.Array, *types.Struct:
	default:
		return
	}
	text, ok := l.typeExprOf(t)
	if !ok || !calls(n.X) && !calls(n.Y) {
		return
	}
	name, h := helperName("same", text)
	l.addHelper(name, h, fmt.Sprintf("func %s(a, b %s) bool { return a == b }", name, text))
	pos := n.X.Pos()
	same := &ast.CallExpr{Fun: ident(name, pos), Lparen: pos, Args: []ast.Expr{n.X, n.Y}, Rparen: pos}
	l.set(same, types.Typ[types.Bool])
	n.X, n.Y = same, ident("true", pos)
}

// nilKey gives the nil that indexes a map its type.
func (l *lowerer) nilKey(n *ast.IndexExpr) {
	if !l.info.Types[n.Index].IsNil() || l.typeOf(n.X) == nil {
		return
	}
	m, ok := l.typeOf(n.X).Underlying().(*types.Map)
	if !ok || types.IsInterface(m.Key()) {
		return
	}
	if text, ok := l.typeExprOf(m.Key()); ok {
		n.Index = &ast.CallExpr{Fun: &ast.ParenExpr{X: mustParseExpr(text, n.Pos())}, Lparen: n.Pos(), Args: []ast.Expr{n.Index}, Rparen: n.Pos()}
		l.set(n.Index, m.Key())
	}
}

// ownInterface says that a type is an interface with methods of user types.
func ownInterface(t types.Type, pkg *types.Package) bool {
	i, ok := t.Underlying().(*types.Interface)
	if !ok || i.NumMethods() == 0 {
		return false
	}
	n, named := types.Unalias(t).(*types.Named)
	return !named || n.Obj().Pkg() == pkg
}

// helperName names a function made for types.
func helperName(what string, parts ...string) (string, Hash) {
	h := hashOf(append([]string{what}, parts...)...)
	return Reserved + what + "_" + hex.EncodeToString(h[:5]), h
}

// callHelper replaces a call by one of a function made for its types.
func (l *lowerer) callHelper(cur *astutil.Cursor, n *ast.CallExpr, name string) {
	out := &ast.CallExpr{Fun: ident(name, n.Pos()), Lparen: n.Pos(), Args: n.Args, Ellipsis: n.Ellipsis, Rparen: n.Rparen}
	l.set(out, l.info.TypeOf(n))
	cur.Replace(out)
}

// appendCall evaluates what is appended before it appends: the interpreter writes the first element and
// then reads the next from the same array.
func (l *lowerer) appendCall(cur *astutil.Cursor, n *ast.CallExpr) {
	l.refuseArgs(n, "append")
	if len(n.Args) < 3 || n.Ellipsis.IsValid() {
		return
	}
	reads := false
	for _, a := range n.Args[2:] {
		reads = reads || acts(a)
	}
	s, ok := l.info.TypeOf(n).Underlying().(*types.Slice)
	if !reads || !ok {
		return
	}
	text, ok1 := l.typeExprOf(l.info.TypeOf(n))
	elem, ok2 := l.typeExprOf(s.Elem())
	if !ok1 || !ok2 {
		return
	}
	name, h := helperName("append", text)
	l.addHelper(name, h, fmt.Sprintf("func %s(s %s, e ...%s) %s { return append(s, e...) }", name, text, elem, text))
	l.callHelper(cur, n, name)
}

// newCall is new of a value.
func (l *lowerer) newCall(cur *astutil.Cursor, n *ast.CallExpr) {
	if tv := l.info.Types[n.Args[0]]; tv.IsType() {
		return
	}
	p, ok := l.info.TypeOf(n).(*types.Pointer)
	if !ok {
		return
	}
	text, ok := l.typeExprOf(p.Elem())
	if !ok {
		l.refuse(n.Pos(), "new of a value of this type", cannotRun)
		return
	}
	name, h := helperName("new", text)
	l.addHelper(name, h, fmt.Sprintf("func %s(v %s) *%s { return &v }", name, text, text))
	l.callHelper(cur, n, name)
}

// makeCall makes channels of one direction from one of both.
func (l *lowerer) makeCall(cur *astutil.Cursor, n *ast.CallExpr) {
	t := l.info.TypeOf(n)
	if slice, ok := t.Underlying().(*types.Slice); ok && len(n.Args) == 3 && l.info.Types[n.Args[2]].Value == nil {
		l.makeSlice(cur, n, slice)
		return
	}
	c, ok := t.Underlying().(*types.Chan)
	if !ok || c.Dir() == types.SendRecv {
		return
	}
	elem, ok1 := l.typeExprOf(c.Elem())
	text, ok2 := l.typeExprOf(t)
	if !ok1 || !ok2 {
		l.refuse(n.Pos(), "a channel of one direction of this type", cannotRun)
		return
	}
	n.Args[0] = mustParseExpr("chan ("+elem+")", n.Pos())
	out := &ast.CallExpr{Fun: &ast.ParenExpr{X: mustParseExpr(text, n.Pos())}, Lparen: n.Pos(), Args: []ast.Expr{n}, Rparen: n.Pos()}
	l.set(out, t)
	cur.Replace(out)
}

// makeSlice looks at length and capacity first, for the errors of Go.
func (l *lowerer) makeSlice(cur *astutil.Cursor, n *ast.CallExpr, slice *types.Slice) {
	text, ok := l.typeExprOf(l.info.TypeOf(n))
	if !ok {
		return
	}
	size := types.SizesFor("gc", runtime.GOARCH).Sizeof(slice.Elem())
	name, h := helperName("make", text)
	l.addHelper(name, h, fmt.Sprintf("func %s(n, c int) %s { %s.CheckMake(n, c, %d); return make(%s, n, c) }", name, text, hostName, size, text))
	pos := n.Pos()
	out := &ast.CallExpr{Fun: ident(name, pos), Lparen: pos, Rparen: pos,
		Args: []ast.Expr{call1("int", n.Args[1], pos), call1("int", n.Args[2], pos)}}
	l.set(out, l.info.TypeOf(n))
	cur.Replace(out)
}

// printCall prints as the built-in does, to the standard error of the cell. Interfaces print as two
// words.
func (l *lowerer) printCall(cur *astutil.Cursor, n *ast.CallExpr, name string) {
	l.refuseArgs(n, name)
	host := map[string]string{"print": "Print", "println": "Println"}[name]
	var args []ast.Expr
	for _, a := range n.Args {
		t := l.typeOf(a)
		if t != nil && types.IsInterface(t) && !l.info.Types[a].IsNil() {
			a = hostCall("Words", a)
		}
		args = append(args, a)
	}
	out := hostCall(host, args...)
	out.Lparen, out.Rparen = n.Lparen, n.Rparen
	cur.Replace(out)
}

// promoted writes out the embedded fields on the way to a promoted field or method where another is
// hidden by it: the interpreter takes the wrong one.
func (l *lowerer) promoted(n *ast.SelectorExpr) {
	sel := l.info.Selections[n]
	if sel == nil || sel.Kind() == types.MethodExpr {
		return
	}
	if len(sel.Index()) < 2 {
		if sel.Kind() == types.FieldVal && sel.Obj().Pkg() == l.pkg && hides(sel.Recv(), n.Sel.Name) {
			l.refuse(n.Sel.Pos(), "a field that hides one of an embedded field, or a method", cannotRun+": give it another name")
		}
		return
	}
	t := sel.Recv()
	x := n.X
	for _, i := range sel.Index()[:len(sel.Index())-1] {
		if p, ok := t.Underlying().(*types.Pointer); ok {
			t = p.Elem()
		}
		s, ok := t.Underlying().(*types.Struct)
		if !ok {
			return
		}
		f := s.Field(i)
		if !f.Exported() && f.Pkg() != l.pkg {
			return
		}
		x = &ast.SelectorExpr{X: x, Sel: ident(f.Name(), n.Sel.Pos())}
		t = f.Type()
		l.set(x, t)
	}
	if hides(sel.Recv(), n.Sel.Name) {
		n.X = x
	}
}

// hides says that several embedded fields of a type have something of that name, at different depths.
func hides(t types.Type, name string) bool {
	const deep = 8 // embedded fields in each other; a type may embed a pointer to itself
	count := 0
	var walk func(types.Type, int)
	walk = func(t types.Type, depth int) {
		if p, ok := t.Underlying().(*types.Pointer); ok {
			t = p.Elem()
		}
		if depth > deep || count > 1 {
			return
		}
		if n, ok := t.(*types.Named); ok {
			for m := range n.Methods() {
				if m.Name() == name {
					count++
				}
			}
		}
		s, ok := t.Underlying().(*types.Struct)
		if !ok {
			return
		}
		for f := range s.Fields() {
			if f.Name() == name {
				count++
			}
			if f.Embedded() {
				walk(f.Type(), depth+1)
			}
		}
	}
	walk(t, 0)
	return count > 1
}

// lengthCall takes the length of an array through a pointer without looking at the array: the pointer
// may be nil.
func (l *lowerer) lengthCall(cur *astutil.Cursor, n *ast.CallExpr) {
	t := l.typeOf(n.Args[0])
	p, ok := t.Underlying().(*types.Pointer)
	if !ok {
		return
	}
	a, ok := p.Elem().Underlying().(*types.Array)
	text, writes := l.typeExprOf(t)
	if !ok || !writes {
		return
	}
	name, h := helperName("len", text)
	l.addHelper(name, h, fmt.Sprintf("func %s(%s) int { return %d }", name, text, a.Len()))
	l.callHelper(cur, n, name)
}

// addressOf writes out the pointer that &p[i] follows.
func (l *lowerer) addressOf(n *ast.UnaryExpr) {
	ix, ok := ast.Unparen(n.X).(*ast.IndexExpr)
	if n.Op != token.AND || !ok {
		return
	}
	t := l.typeOf(ix.X)
	if t == nil {
		return
	}
	if _, ok := t.Underlying().(*types.Pointer); ok {
		ix.X = &ast.ParenExpr{Lparen: ix.X.Pos(), X: &ast.StarExpr{Star: ix.X.Pos(), X: ix.X}, Rparen: ix.X.End()}
	}
}

// toInterface converts to an interface by passing a parameter: the interpreter loses the methods
// otherwise.
func (l *lowerer) toInterface(cur *astutil.Cursor, n *ast.CallExpr) {
	tv, ok := l.info.Types[n.Fun]
	if _, selected := cur.Parent().(*ast.SelectorExpr); !selected {
		return
	}
	if !ok || !tv.IsType() || len(n.Args) != 1 || l.info.Types[n.Args[0]].IsNil() {
		return
	}
	i, ok := tv.Type.Underlying().(*types.Interface)
	text, writes := l.typeExprOf(tv.Type)
	if !ok || !writes || i.NumMethods() == 0 {
		return
	}
	name, h := helperName("as", text)
	l.addHelper(name, h, fmt.Sprintf("func %s(v %s) %s { return v }", name, text, text))
	l.callHelper(cur, n, name)
}
