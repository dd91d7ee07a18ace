package cell

import (
	"encoding/hex"
	"fmt"
	"go/ast"
	"go/constant"
	"go/parser"
	"go/token"
	"go/types"
	"math"
	"strconv"
	"strings"

	"golang.org/x/tools/go/ast/astutil"
)

// foldConstant replaces constant expressions by literals: the interpreter has no constants beyond 64
// bits and mistakes some types. It runs before the children of a node are visited.
func (l *lowerer) foldConstant(cur *astutil.Cursor) bool {
	x, ok := cur.Node().(ast.Expr)
	if !ok {
		return true
	}
	switch x.(type) {
	case *ast.BasicLit, *ast.ParenExpr:
		if !isShiftCount(cur) {
			return true
		}
	}
	if cur.Name() == "Sel" || cur.Name() == "Key" && isStructKey(cur.Parent(), l.info) {
		return true
	}
	tv, ok := l.info.Types[x]
	if id, is := x.(*ast.Ident); is && !ok {
		c, isConst := l.info.Uses[id].(*types.Const)
		if !isConst || c.Val() == nil {
			return true
		}
		tv = types.TypeAndValue{Type: c.Type(), Value: c.Val()}
	}
	if tv.Value == nil || tv.Type == nil {
		return true
	}
	if isShiftCount(cur) { // it may have been written as a float
		tv.Type, tv.Value = types.Typ[types.Uint], constant.ToInt(tv.Value)
	}
	lit := l.literal(tv.Type, tv.Value, x.Pos())
	if lit == nil {
		return true
	}
	l.set(lit, tv.Type)
	cur.Replace(lit)
	return false
}

func isShiftCount(cur *astutil.Cursor) bool {
	b, ok := cur.Parent().(*ast.BinaryExpr)
	return ok && (b.Op == token.SHL || b.Op == token.SHR) && cur.Name() == "Y"
}

func isStructKey(parent ast.Node, info *types.Info) bool {
	kv, ok := parent.(*ast.KeyValueExpr)
	if !ok {
		return false
	}
	id, ok := kv.Key.(*ast.Ident)
	if !ok {
		return false
	}
	v, ok := info.Uses[id].(*types.Var)
	return ok && v.IsField()
}

// literal writes a constant; nil when it is best left as it is.
func (l *lowerer) literal(t types.Type, v constant.Value, pos token.Pos) ast.Expr {
	basic, ok := t.Underlying().(*types.Basic)
	if !ok { // a constant in an interface
		return nil
	}
	var lit ast.Expr
	info := basic.Info()
	switch {
	case info&types.IsBoolean != 0:
		lit = ident(strconv.FormatBool(constant.BoolVal(v)), pos)
	case info&types.IsString != 0:
		lit = &ast.BasicLit{Kind: token.STRING, ValuePos: pos, Value: strconv.Quote(constant.StringVal(v))}
	case info&types.IsInteger != 0:
		v = constant.ToInt(v)
		if v.Kind() != constant.Int {
			return nil
		}
		lit = &ast.BasicLit{Kind: token.INT, ValuePos: pos, Value: v.ExactString()}
	case info&types.IsFloat != 0:
		f, _ := constant.Float64Val(v)
		if math.IsInf(f, 0) {
			return nil
		}
		s := strconv.FormatFloat(f, 'g', -1, 64)
		if !strings.ContainsAny(s, ".e") {
			s += ".0"
		}
		lit = &ast.BasicLit{Kind: token.FLOAT, ValuePos: pos, Value: s}
	case info&types.IsComplex != 0:
		return l.complexLiteral(t, basic, v, pos)
	default:
		return nil
	}
	return l.convertLiteral(lit, t, basic, pos)
}

// complexLiteral is a complex constant: complex(re, im), converted.
func (l *lowerer) complexLiteral(t types.Type, basic *types.Basic, v constant.Value, pos token.Pos) ast.Expr {
	v = constant.ToComplex(v)
	part := types.Typ[types.Float64]
	re, im := l.literal(part, constant.ToFloat(constant.Real(v)), pos), l.literal(part, constant.ToFloat(constant.Imag(v)), pos)
	if re == nil || im == nil {
		return nil
	}
	lit := ast.Expr(&ast.CallExpr{Fun: ident("complex", pos), Lparen: pos, Args: []ast.Expr{re, im}, Rparen: pos})
	if basic.Kind() == types.Complex64 {
		lit = call1("complex64", lit, pos)
	}
	if n, ok := t.(*types.Named); ok {
		if n.Obj().Pkg() != l.pkg || n.Obj().Parent() != l.pkg.Scope() {
			return nil
		}
		return call1(n.Obj().Name(), lit, pos)
	}
	return lit
}

// convertLiteral gives a literal its type where that is not the default one of its kind.
func (l *lowerer) convertLiteral(lit ast.Expr, t types.Type, basic *types.Basic, pos token.Pos) ast.Expr {
	if t == types.Type(basic) {
		if basic.Info()&types.IsUntyped != 0 && basic.Kind() != types.UntypedRune {
			return lit
		}
		switch basic.Kind() {
		case types.Int, types.Float64, types.String, types.Bool:
			return lit
		}
		if basic.Kind() == types.UntypedRune {
			return call1("rune", lit, pos)
		}
		return call1(basic.Name(), lit, pos)
	}
	if n, ok := t.(*types.Named); ok && n.Obj().Pkg() == l.pkg && n.Obj().Parent() == l.pkg.Scope() {
		return call1(n.Obj().Name(), lit, pos)
	}
	return nil // of another package: the expression is fine there
}

func call1(fn string, x ast.Expr, pos token.Pos) ast.Expr {
	return &ast.CallExpr{Fun: ident(fn, pos), Lparen: pos, Args: []ast.Expr{x}, Rparen: pos}
}

// expr rewrites one expression, after its children.
func (l *lowerer) expr(cur *astutil.Cursor) bool {
	switch n := cur.Node().(type) {
	case *ast.CallExpr:
		l.call(cur, n)
	case *ast.BinaryExpr:
		l.binary(n)
	case *ast.UnaryExpr:
		l.addressOf(n)
	case *ast.IndexExpr:
		l.nilKey(n)
	case *ast.SelectorExpr:
		l.promoted(n)
		l.methodExpr(cur, n)
		l.methodValue(cur, n)
	case *ast.TypeAssertExpr:
		if n.Type != nil {
			l.refuseTarget(n.Type)
		}
		l.assertion(n)
		if n.Type != nil {
			l.assertOwn(cur, n)
		}
	case *ast.TypeSwitchStmt:
		for _, c := range n.Body.List {
			for _, x := range c.(*ast.CaseClause).List {
				l.refuseTarget(x)
			}
		}
		l.typeSwitch(n)
	case *ast.TypeSpec:
		l.refuseSpec(n)
	case *ast.StructType:
		l.refuseStruct(n)
	case *ast.MapType:
		if t := l.typeOf(n.Key); t != nil && ownInterface(t, l.pkg) {
			l.refuse(n.Pos(), "a map with keys of an interface with methods", cannotRun)
		}
	}
	return l.err == nil
}

func (l *lowerer) call(cur *astutil.Cursor, n *ast.CallExpr) {
	id, ok := ast.Unparen(n.Fun).(*ast.Ident)
	if ok {
		if b, ok := l.info.Uses[id].(*types.Builtin); ok {
			l.builtin(cur, n, b.Name())
			return
		}
	}
	l.toInterface(cur, n)
	if sel, ok := ast.Unparen(n.Fun).(*ast.SelectorExpr); ok {
		if b, ok := l.info.Uses[sel.Sel].(*types.Builtin); ok { // one that is constant is folded
			l.refuse(n.Pos(), "unsafe."+b.Name()+" of this type", "its value is not known here")
		}
	}
	if sel, ok := n.Fun.(*ast.SelectorExpr); ok {
		l.packageCall(n, sel)
	}
}

func (l *lowerer) builtin(cur *astutil.Cursor, n *ast.CallExpr, name string) {
	switch name {
	case "min", "max":
		t := l.info.TypeOf(n)
		text, ok := l.typeExprOf(t)
		if !ok {
			l.refuse(n.Pos(), name+" of this type", "the interpreter cannot run it")
			return
		}
		fn := l.helper(name, text)
		out := n.Args[0]
		for _, a := range n.Args[1:] {
			out = &ast.CallExpr{Fun: ident(fn, n.Pos()), Lparen: n.Pos(), Args: []ast.Expr{out, a}, Rparen: n.Pos()}
		}
		if len(n.Args) == 1 {
			out = call1(text, out, n.Pos())
		}
		l.set(out, t)
		cur.Replace(out)
	case "append":
		l.appendCall(cur, n)
	case "len", "cap":
		l.lengthCall(cur, n)
	case "copy", "delete", "complex":
		l.refuseArgs(n, name)
	case "new":
		l.newCall(cur, n)
	case "make":
		l.makeCall(cur, n)
	case "print", "println":
		l.printCall(cur, n, name)
	case "clear":
		cur.Replace(hostCall("Clear", n.Args[0]))
	case "recover":
		x := hostCall("Recover", n)
		l.set(x, l.info.TypeOf(n))
		cur.Replace(x)
	}
}

// addHelper adds a function that lowered code calls.
func (l *lowerer) addHelper(name string, h Hash, code string) {
	l.helped = true
	if l.have == nil {
		l.have = map[string]bool{}
	}
	if !l.have[name] {
		l.have[name] = true
		l.helpers = append(l.helpers, Def{Key: name, Hash: h, Code: code})
	}
}

// helper gives the name of a function for min or max of a type.
func (l *lowerer) helper(name, typ string) string {
	h := hashOf(name, typ)
	fn := Reserved + name + "_" + hex.EncodeToString(h[:5])
	// NaN wins over any number.
	op := map[string]string{"min": "<", "max": ">"}[name]
	l.addHelper(fn, h, fmt.Sprintf("func %s(a, b %s) %s {\n\tif a != a { return a }\n\tif b != b || b %s a { return b }\n\treturn a\n}", fn, typ, typ, op))
	return fn
}

// methodExpr rewrites T.M to a function literal.
func (l *lowerer) methodExpr(cur *astutil.Cursor, n *ast.SelectorExpr) {
	sel := l.info.Selections[n]
	if sel == nil || sel.Kind() != types.MethodExpr {
		return
	}
	sig := sel.Type().(*types.Signature)
	var params, args []string
	for i := range sig.Params().Len() {
		t := sig.Params().At(i).Type()
		text, ok := l.typeExprOf(t)
		if !ok {
			l.refuse(n.Pos(), "this method expression", "the interpreter cannot run it")
			return
		}
		p, a := fmt.Sprintf("__p%d", i), fmt.Sprintf("__p%d", i)
		if sig.Variadic() && i == sig.Params().Len()-1 {
			text, a = "..."+strings.TrimPrefix(text, "[]"), a+"..."
		}
		params, args = append(params, p+" "+text), append(args, a)
	}
	results, ok := l.resultsText(sig)
	if !ok {
		l.refuse(n.Pos(), "this method expression", "the interpreter cannot run it")
		return
	}
	body := fmt.Sprintf("%s.%s(%s)", args[0], n.Sel.Name, strings.Join(args[1:], ", "))
	if sig.Results().Len() > 0 {
		body = "return " + body
	}
	x, err := parser.ParseExpr(fmt.Sprintf("func(%s) %s { %s }", strings.Join(params, ", "), results, body))
	if err != nil {
		l.refuse(n.Pos(), "this method expression", "the interpreter cannot run it")
		return
	}
	stripPos(x, n.Pos())
	l.set(x, sig)
	cur.Replace(x)
}

// methodValue binds the receiver of a method value now: the interpreter binds the variable it is in.
func (l *lowerer) methodValue(cur *astutil.Cursor, n *ast.SelectorExpr) {
	sel := l.info.Selections[n]
	if sel == nil || sel.Kind() != types.MethodVal || sel.Obj().Pkg() != l.pkg {
		return
	}
	if c, ok := cur.Parent().(*ast.CallExpr); ok && cur.Name() == "Fun" && c.Fun == ast.Expr(n) {
		return
	}
	x, t := l.receiver(n, sel)
	recv, ok1 := l.typeExprOf(t)
	fn, ok2 := l.typeExprOf(sel.Type())
	sig := sel.Type().(*types.Signature)
	if !ok1 || !ok2 || sig.Variadic() {
		l.refuse(n.Pos(), "this method value", "the interpreter cannot run it: use a function literal")
		return
	}
	var params, args []string
	for i := range sig.Params().Len() {
		text, ok := l.typeExprOf(sig.Params().At(i).Type())
		if !ok {
			l.refuse(n.Pos(), "this method value", "the interpreter cannot run it: use a function literal")
			return
		}
		params, args = append(params, fmt.Sprintf("__p%d %s", i, text)), append(args, fmt.Sprintf("__p%d", i))
	}
	results, _ := l.resultsText(sig)
	body := fmt.Sprintf("__r.%s(%s)", n.Sel.Name, strings.Join(args, ", "))
	if sig.Results().Len() > 0 {
		body = "return " + body
	}
	text := fmt.Sprintf("func(__r %s) %s { return func(%s) %s { %s } }", recv, fn, strings.Join(params, ", "), results, body)
	out := &ast.CallExpr{Fun: mustParseExpr(text, n.Pos()), Lparen: n.Pos(), Args: []ast.Expr{x}, Rparen: n.Pos()}
	l.set(out, sig)
	cur.Replace(out)
}

// literalOf is a function literal that calls a declared function, or the function when its type cannot
// be written: the interpreter cannot call what returns a declared function, and that result, at once.
func (l *lowerer) literalOf(id *ast.Ident, sig *types.Signature) ast.Expr {
	results, ok := l.resultsText(sig)
	if !ok || sig.Variadic() || sig.TypeParams() != nil {
		return id
	}
	var params, args []string
	for i := range sig.Params().Len() {
		text, ok := l.typeExprOf(sig.Params().At(i).Type())
		if !ok {
			return id
		}
		params, args = append(params, fmt.Sprintf("__p%d %s", i, text)), append(args, fmt.Sprintf("__p%d", i))
	}
	body := fmt.Sprintf("%s(%s)", id.Name, strings.Join(args, ", "))
	if sig.Results().Len() > 0 {
		body = "return " + body
	}
	return mustParseExpr(fmt.Sprintf("func(%s) %s { %s }", strings.Join(params, ", "), results, body), id.Pos())
}

// receiver is the operand of a method value as it is bound, and its type: a copy for methods of values,
// a pointer for the others.
func (l *lowerer) receiver(n *ast.SelectorExpr, sel *types.Selection) (ast.Expr, types.Type) {
	t := sel.Recv()
	f, ok := sel.Obj().(*types.Func)
	if !ok || types.IsInterface(t) {
		return n.X, t
	}
	if xt := l.types[n.X]; xt != nil { // embedded fields written out
		t = xt
	}
	_, isPtr := t.Underlying().(*types.Pointer)
	_, wantPtr := f.Signature().Recv().Type().(*types.Pointer)
	switch {
	case wantPtr && !isPtr:
		return &ast.UnaryExpr{OpPos: n.Pos(), Op: token.AND, X: n.X}, types.NewPointer(t)
	case !wantPtr && isPtr && len(sel.Index()) == 1:
		return &ast.StarExpr{Star: n.Pos(), X: n.X}, t.Underlying().(*types.Pointer).Elem()
	}
	return n.X, t
}

func (l *lowerer) resultsText(sig *types.Signature) (string, bool) {
	var list []string
	for i := range sig.Results().Len() {
		t, ok := l.typeExprOf(sig.Results().At(i).Type())
		if !ok {
			return "", false
		}
		list = append(list, t)
	}
	return "(" + strings.Join(list, ", ") + ")", true
}
