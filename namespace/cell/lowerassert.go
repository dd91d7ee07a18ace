package cell

import (
	"fmt"
	"go/ast"
	"go/token"
	"go/types"
	"strconv"
	"strings"

	"golang.org/x/tools/go/ast/astutil"
)

// The interpreter is not good at which types implement an interface of the cell: it takes a value for one
// whose pointer has the methods, and misses a pointer to a type that has them. Here the types are known:
// an assertion to such an interface becomes a function that asks the interpreter, and then looks at the
// types that it gets wrong.

// toOwn says that a type is an interface with methods that the cell declares or writes out.
func (l *lowerer) toOwn(t types.Type) bool { return t != nil && ownInterface(t, l.pkg) }

// assertOwn makes an assertion to an interface of the cell a call.
func (l *lowerer) assertOwn(cur *astutil.Cursor, n *ast.TypeAssertExpr) {
	to := l.typeOf(n.Type)
	if !l.toOwn(to) {
		return
	}
	kind := "to"
	if t, ok := l.info.TypeOf(n).(*types.Tuple); ok && t.Len() > 1 {
		kind = "is"
	}
	fn, ok := l.assertFunc(kind, l.typeOf(n.X), to, n.Pos())
	if !ok {
		return
	}
	x := call1(fn, n.X, n.Pos())
	l.set(x, l.info.TypeOf(n))
	cur.Replace(x)
}

// assertFunc gives the name of the function that asserts from one interface to another: "to" panics when
// the value does not implement it, "is" gives a second result.
func (l *lowerer) assertFunc(kind string, from, to types.Type, pos token.Pos) (string, bool) {
	source, ok1 := l.typeExprOf(from)
	target, ok2 := l.typeExprOf(to)
	if !ok1 || !ok2 {
		l.refuse(pos, "an assertion to this interface", cannotRun+": declare the types at top level")
		return "", false
	}
	wanted := to.Underlying().(*types.Interface)
	shown := types.TypeString(to, func(p *types.Package) string { return p.Name() })
	var b strings.Builder
	no := func(string) string { return "return nil, false" }
	yes := "return v, true"
	head := fmt.Sprintf("(x %s) (%s, bool)", source, target)
	if kind == "to" {
		no = func(text string) string { return fmt.Sprintf("panic(%s.Conversion(%q))", hostName, text) }
		yes = "return v"
		head = fmt.Sprintf("(x %s) %s", source, target)
	}
	fmt.Fprintf(&b, "\tif x == nil { %s }\n", no("interface is nil, not "+shown))
	subject := "x"
	if l.standard(from) {
		subject = "e"
		fmt.Fprintf(&b, "\te := %s.Value(x)\n", hostName)
	}
	var kept, missed, others strings.Builder
	for i, t := range l.methodTypes() {
		if !types.AssignableTo(t, from) {
			continue
		}
		text, _ := l.typeExprOf(t)
		try := func(b *strings.Builder, do string) {
			fmt.Fprintf(b, "\tv%d, ok%d := %s.(%s)\n\t_ = v%d\n\tif ok%d { %s }\n", i, i, subject, text, i, i, strings.Replace(do, "return v", "return v"+strconv.Itoa(i), 1))
		}
		if missing, _ := types.MissingMethod(t, wanted, true); missing != nil {
			name := types.TypeString(t, func(p *types.Package) string { return p.Name() })
			not := no(fmt.Sprintf("%s is not %s: missing method %s", name, shown, missing.Name()))
			fmt.Fprintf(&kept, "\t_, no%d := %s.(%s)\n\tif no%d { %s }\n", i, subject, text, i, not)
			if kind == "to" {
				fmt.Fprintf(&others, "\t_, no%d := %s.(%s)\n\tif no%d { %s }\n", i, subject, text, i, not)
			}
			continue
		}
		if l.standard(from) && l.lost(t) {
			l.refuse(pos, "an assertion from a standard interface to one that "+text+" implements", lostWhy)
			return "", false
		}
		if l.distinct(t) {
			try(&missed, yes)
		}
	}
	fmt.Fprintf(&b, "\tswitch v := %s.(type) {\n\tcase %s:\n%s\t\t%s\n\t}\n", subject, l.named(to, target), kept.String(), yes)
	b.WriteString(missed.String() + others.String())
	end := no("")
	if kind == "to" {
		end = fmt.Sprintf("panic(%s.Missing(x, %q, %q))", hostName, shown, wanted.Method(0).Name())
	}
	fmt.Fprintf(&b, "\t%s\n", end)
	name, h := helperName(kind, source, target, b.String())
	l.addHelper(name, h, "func "+name+head+" {\n"+b.String()+"}")
	return name, true
}

// named gives an interface a name, in which the interpreter can assert to it.
func (l *lowerer) named(t types.Type, text string) string {
	if _, ok := types.Unalias(t).(*types.Named); ok {
		return text
	}
	name, h := helperName("iface", text)
	l.addHelper(name, h, "type "+name+" "+text)
	return name
}

// distinct says that t is a struct, or a pointer to one, that no type without methods looks like: such
// values have no other name in the interpreter.
func (l *lowerer) distinct(t types.Type) bool {
	if p, ok := t.(*types.Pointer); ok {
		t = p.Elem()
	}
	if _, ok := t.Underlying().(*types.Struct); !ok {
		return false
	}
	for _, o := range l.info.Defs {
		n, ok := o.(*types.TypeName)
		if ok && !n.IsAlias() && types.Identical(n.Type().Underlying(), t.Underlying()) && types.NewMethodSet(types.NewPointer(n.Type())).Len() == 0 {
			return false
		}
	}
	return true
}

// methodTypes are the types with methods that are loaded, and the pointers to them.
func (l *lowerer) methodTypes() []types.Type {
	var out []types.Type
	for _, name := range l.pkg.Scope().Names() {
		o, ok := l.pkg.Scope().Lookup(name).(*types.TypeName)
		if !ok || o.IsAlias() || types.IsInterface(o.Type()) || !l.loads(name) {
			continue
		}
		n, ok := o.Type().(*types.Named)
		if !ok || n.TypeParams().Len() > 0 {
			continue
		}
		p := types.NewPointer(n)
		if types.NewMethodSet(p).Len() == 0 {
			continue
		}
		out = append(out, n)
		if _, isPtr := n.Underlying().(*types.Pointer); !isPtr {
			out = append(out, p)
		}
	}
	return out
}

// ownSwitch makes a type switch with types or interfaces of the cell among its cases a switch on the
// number of the case, which a function finds by assertions: in a type switch the interpreter misses
// types that it finds in an assertion. It gives nil for other type switches.
func (s *stmts) ownSwitch(x *ast.TypeSwitchStmt) []ast.Stmt {
	var v *ast.Ident
	var value ast.Expr
	switch a := x.Assign.(type) {
	case *ast.AssignStmt:
		v, value = a.Lhs[0].(*ast.Ident), ast.Unparen(a.Rhs[0]).(*ast.TypeAssertExpr).X
	case *ast.ExprStmt:
		value = ast.Unparen(a.X).(*ast.TypeAssertExpr).X
	}
	from := s.l.typeOf(value)
	own, interfaces, standard := false, false, s.l.standard(from)
	writable := true
	for _, c := range x.Body.List {
		for _, e := range c.(*ast.CaseClause).List {
			t := s.l.typeOf(e)
			interfaces = interfaces || s.l.toOwn(t) || isEmpty(t)
			own = own || interfaces || s.l.namesTypes(t, map[types.Type]bool{})
			_, ok := s.l.typeExprOf(t)
			writable = writable && (ok || s.l.info.Types[e].IsNil())
		}
	}
	if !own || !writable && !interfaces {
		return nil
	}
	all := value
	var pre []ast.Stmt
	if x.Init != nil {
		pre = s.stmt(x.Init)
	}
	if standard { // what is in the wrapper that native code gets
		whole := s.l.temp(x.Pos())
		pre = append(pre, define(whole, value))
		all, value, from = use(whole), hostCall("Value", use(whole)), types.NewInterfaceType(nil, nil)
	}
	source, ok := s.l.typeExprOf(from)
	if !ok {
		s.l.refuse(x.Pos(), "a type switch on this type", cannotRun)
		return nil
	}
	t, k := s.l.temp(x.Pos()), s.l.temp(x.Pos())
	if !standard {
		all = use(t)
	}
	out := &ast.SwitchStmt{Switch: x.Switch, Tag: use(k), Body: &ast.BlockStmt{Lbrace: x.Body.Lbrace, Rbrace: x.Body.Rbrace}}
	which := whichFunc{l: s.l, from: from}
	for i, c := range x.Body.List {
		c := c.(*ast.CaseClause)
		clause := &ast.CaseClause{Case: c.Case, Colon: c.Colon, Body: s.list(c.Body)}
		if v != nil && s.l.info.Implicits[c] != nil {
			u := s.l.temp(c.Pos())
			clause.Body = append([]ast.Stmt{define(u, s.narrowed(c, use(t), all, from)), define(use(v), use(u))}, clause.Body...)
		}
		if c.List != nil {
			clause.List = []ast.Expr{&ast.BasicLit{Kind: token.INT, ValuePos: c.Pos(), Value: strconv.Itoa(i)}}
			which.add(i, c.List)
		}
		out.Body.List = append(out.Body.List, clause)
	}
	fn := which.emit(source)
	return s.around(append(pre, define(t, value), define(k, call1(fn, use(t), x.Pos()))), out)
}

// isEmpty says that a type is an interface without methods.
func isEmpty(t types.Type) bool {
	if t == nil {
		return false
	}
	i, ok := t.Underlying().(*types.Interface)
	return ok && i.Empty()
}

// narrowed is the value of a type switch as its variable has it in a clause.
func (s *stmts) narrowed(c *ast.CaseClause, value, all ast.Expr, from types.Type) ast.Expr {
	if len(c.List) != 1 || s.l.info.Types[c.List[0]].IsNil() {
		return all
	}
	t := s.l.typeOf(c.List[0])
	if isEmpty(t) {
		return all
	}
	if s.l.toOwn(t) {
		fn, _ := s.l.assertFunc("to", from, t, c.Pos())
		return call1(fn, value, c.Pos())
	}
	return &ast.TypeAssertExpr{X: value, Lparen: c.Pos(), Type: copyTree(c.List[0], nil), Rparen: c.Pos()}
}

// whichFunc makes the function that finds the case of a type switch.
type whichFunc struct {
	l     *lowerer
	from  types.Type
	tests strings.Builder
	none  string // what nil does
}

func (w *whichFunc) add(i int, list []ast.Expr) {
	for _, e := range list {
		if w.l.info.Types[e].IsNil() {
			w.none = fmt.Sprintf("\tif x == nil { return %d }\n", i)
			continue
		}
		t := w.l.typeOf(e)
		if isEmpty(t) {
			fmt.Fprintf(&w.tests, "\tif x != nil { return %d }\n", i)
			continue
		}
		if w.l.toOwn(t) {
			fn, _ := w.l.assertFunc("is", w.from, t, e.Pos())
			ok := fmt.Sprintf("ok%d", w.tests.Len())
			fmt.Fprintf(&w.tests, "\t_, %s := %s(x)\n\tif %s { return %d }\n", ok, fn, ok, i)
			continue
		}
		text, ok := w.l.typeExprOf(t)
		if !ok {
			w.l.refuse(e.Pos(), "this type beside an interface in a type switch", cannotRun+": declare the type at top level")
		}
		yes := fmt.Sprintf("ok%d", w.tests.Len())
		fmt.Fprintf(&w.tests, "\t_, %s := x.(%s)\n\tif %s { return %d }\n", yes, text, yes, i)
	}
}

func (w *whichFunc) emit(source string) string {
	body := w.none + w.tests.String()
	name, h := helperName("which", source, body)
	w.l.addHelper(name, h, fmt.Sprintf("func %s(x %s) int {\n%s\treturn -1\n}", name, source, body))
	return name
}
