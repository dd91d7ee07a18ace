package cell

import (
	"encoding/hex"
	"fmt"
	"go/ast"
	"go/constant"
	"go/token"
	"go/types"
	"strconv"
	"strings"
)

// What the interpreter gives to native code has no methods below the top level and no type names. Calls
// that would show it are lowered, or refused here.

// printers are the functions of fmt, log and farm that format: the index of the format, -1 when there is none, and
// that of the first operand.
var printers = map[string][2]int{
	"Print": {-1, 0}, "Println": {-1, 0}, "Sprint": {-1, 0}, "Sprintln": {-1, 0},
	"Fprint": {-1, 1}, "Fprintln": {-1, 1}, "Append": {-1, 1}, "Appendln": {-1, 1},
	"Printf": {0, 1}, "Sprintf": {0, 1}, "Errorf": {0, 1}, "Fprintf": {1, 2}, "Appendf": {1, 2},
	"Fatal": {-1, 0}, "Fatalln": {-1, 0}, "Fatalf": {0, 1}, "Panic": {-1, 0}, "Panicln": {-1, 0}, "Panicf": {0, 1},
	"Logf": {0, 1},
}

// reflectors are functions that look into values by reflection: the index of the argument they look at.
var reflectors = map[string]int{
	"encoding/json.Marshal": 0, "encoding/json.MarshalIndent": 0, "encoding/json.Unmarshal": 1,
	"encoding/json.Encoder.Encode": 0, "encoding/json.Decoder.Decode": 0,
	"text/template.Template.Execute": 1, "text/template.Template.ExecuteTemplate": 2,
}

func (l *lowerer) packageCall(n *ast.CallExpr, sel *ast.SelectorExpr) {
	f, ok := l.info.Uses[sel.Sel].(*types.Func)
	if !ok || f.Pkg() == nil || f.Pkg() == l.pkg {
		return
	}
	full := f.Pkg().Path() + "." + memberName(f)
	if i, ok := reflectors[full]; ok && i < len(n.Args) {
		l.reflected(full, n.Args[i])
		return
	}
	if full == "farm.Input" {
		for _, a := range n.Args {
			l.reflected(full, a)
		}
		return
	}
	if at, ok := printers[f.Name()]; ok && (f.Pkg().Path() == "fmt" || f.Pkg().Path() == "log" || f.Pkg().Path() == "farm") && f.Signature().Recv() == nil && !n.Ellipsis.IsValid() {
		l.format(n, at[0], at[1])
	}
	switch full {
	case "reflect.DeepEqual":
		l.deepEqual(n)
	case "errors.As":
		l.errorsAs(n)
	case "errors.Is":
		l.errorsIs(n)
	case "errors.Unwrap":
		l.errorsUnwrap(n)
	case "errors.Join":
		for i, a := range n.Args {
			if !n.Ellipsis.IsValid() && !l.info.Types[a].IsNil() {
				n.Args[i] = hostCall("Err", a)
			}
		}
	}
}

// reflected refuses an argument of a function that looks into it by reflection and would not see what is
// there.
func (l *lowerer) reflected(full string, arg ast.Expr) {
	if why := l.misread(l.typeOf(arg), strings.HasPrefix(full, "text/"), map[types.Type]bool{}); why != "" {
		l.refuse(arg.Pos(), full+" of this type", why)
	}
}

// deepEqual allows what native reflection compares as Go does: values of one type, known here. What is
// in an interface has lost its type.
func (l *lowerer) deepEqual(n *ast.CallExpr) {
	x, y := l.typeOf(n.Args[0]), l.typeOf(n.Args[1])
	why := ""
	switch {
	case x == nil || y == nil || !types.Identical(types.Default(x), types.Default(y)):
		why = "of values of two types"
	case l.holdsInterface(x, map[types.Type]bool{}):
		why = "of values with interfaces inside"
	}
	if why != "" {
		l.refuse(n.Pos(), "reflect.DeepEqual "+why, "the interpreter does not keep the types of the cell in them: compare what they hold")
	}
}

// holdsInterface says that a type has an interface somewhere in it.
func (l *lowerer) holdsInterface(t types.Type, seen map[types.Type]bool) bool {
	if seen[t] {
		return false
	}
	seen[t] = true
	in := func(t types.Type) bool { return l.holdsInterface(t, seen) }
	switch u := t.Underlying().(type) {
	case *types.Interface:
		return true
	case *types.Basic:
		return u.Kind() == types.UntypedNil
	case *types.Pointer:
		return in(u.Elem())
	case *types.Slice:
		return in(u.Elem())
	case *types.Array:
		return in(u.Elem())
	case *types.Map:
		return in(u.Key()) || in(u.Elem())
	case *types.Struct:
		for f := range u.Fields() {
			if in(f.Type()) {
				return true
			}
		}
	}
	return false
}

// misread says why native reflection would see a type wrongly, "" when it would not.
func (l *lowerer) misread(t types.Type, methods bool, seen map[types.Type]bool) string {
	if t == nil || seen[t] {
		return ""
	}
	seen[t] = true
	if n, ok := types.Unalias(t).(*types.Named); ok {
		if n.Obj().Pkg() != l.pkg {
			return ""
		}
		ms := types.NewMethodSet(types.NewPointer(n))
		for m := range ms.Methods() {
			switch m.Obj().Name() {
			case "MarshalJSON", "UnmarshalJSON", "MarshalText", "UnmarshalText":
				return "the interpreter does not show it the method " + m.Obj().Name() + " of " + n.Obj().Name()
			}
		}
		if methods && ms.Len() > 0 {
			return "the interpreter does not show it the methods of " + n.Obj().Name()
		}
	}
	switch u := t.Underlying().(type) {
	case *types.Pointer:
		return l.misread(u.Elem(), methods, seen)
	case *types.Slice:
		return l.misread(u.Elem(), methods, seen)
	case *types.Array:
		return l.misread(u.Elem(), methods, seen)
	case *types.Map:
		return l.misread(u.Elem(), methods, seen)
	case *types.Struct:
		for f := range u.Fields() {
			if f.Embedded() {
				return "the interpreter does not show it that " + f.Name() + " is embedded"
			}
			if !f.Exported() {
				return "the interpreter shows it the unexported field " + f.Name()
			}
			if why := l.misread(f.Type(), methods, seen); why != "" {
				return why
			}
		}
	}
	return ""
}

// formats says that fmt calls a method of t, a type of the namespace.
func (l *lowerer) formats(t types.Type) bool {
	n, ok := types.Unalias(t).(*types.Named)
	if p, isPtr := t.(*types.Pointer); isPtr {
		n, ok = types.Unalias(p.Elem()).(*types.Named)
	}
	if !ok || n.Obj().Pkg() != l.pkg || types.IsInterface(t) {
		return false
	}
	ms := types.NewMethodSet(t)
	for _, name := range []string{"String", "Error", "Format", "GoString"} {
		if ms.Lookup(l.pkg, name) != nil {
			return true
		}
	}
	return false
}

// hidden says that t has, below the top, a type whose method fmt would call.
func (l *lowerer) hidden(t types.Type, top bool, seen map[types.Type]bool) bool {
	if seen[t] {
		return false
	}
	seen[t] = true
	if !top && l.formats(t) {
		return true
	}
	if n, ok := types.Unalias(t).(*types.Named); ok && n.Obj().Pkg() != l.pkg {
		return false
	}
	switch u := t.Underlying().(type) {
	case *types.Slice:
		return l.hidden(u.Elem(), false, seen)
	case *types.Array:
		return l.hidden(u.Elem(), false, seen)
	case *types.Map:
		return l.hidden(u.Elem(), false, seen) || l.hidden(u.Key(), false, seen)
	case *types.Pointer:
		return top && l.hidden(u.Elem(), true, seen)
	case *types.Struct:
		for f := range u.Fields() {
			if f.Exported() && l.hidden(f.Type(), false, seen) {
				return true
			}
		}
	}
	return false
}

// format lowers the operands of a call of fmt.
func (l *lowerer) format(n *ast.CallExpr, at, first int) {
	if len(n.Args) < first {
		return
	}
	operands := n.Args[first:]
	var verbs []verb
	known := at < 0
	var text string
	if at >= 0 {
		if lit, ok := n.Args[at].(*ast.BasicLit); ok && lit.Kind == token.STRING {
			text, _ = strconv.Unquote(lit.Value)
			verbs, known = verbsOf(text)
		} else if tv := l.info.Types[n.Args[at]]; tv.Value != nil {
			text = constant.StringVal(tv.Value)
			verbs, known = verbsOf(text)
		}
	}
	changed := false
	for i, a := range operands {
		t := l.typeOf(a)
		if t == nil {
			continue
		}
		v := verb{c: 'v'}
		if at >= 0 && known && i < len(verbs) {
			v = verbs[i]
		}
		if !known && (l.formats(t) || l.hidden(t, true, map[types.Type]bool{})) {
			l.refuse(a.Pos(), "a format that is not a constant, for this type", "the interpreter does not show its methods to all verbs")
			return
		}
		x, edit := l.operand(a, t, v)
		if l.err != nil {
			return
		}
		if v.c == 'w' || isErrorType(t) {
			x = hostCall("Err", x) // otherwise fmt does not see that it is an error
		}
		n.Args[first+i] = x
		if edit != 0 && v.at > 0 {
			text = text[:v.at] + string(edit) + text[v.at+1:]
			changed = true
		}
	}
	if changed {
		n.Args[at] = &ast.BasicLit{Kind: token.STRING, ValuePos: n.Args[at].Pos(), Value: strconv.Quote(text)}
	}
}

func isErrorType(t types.Type) bool {
	n, ok := types.Unalias(t).(*types.Named)
	return ok && n.Obj().Pkg() == nil && n.Obj().Name() == "error"
}

// operand lowers one operand; edit is a verb to use in place of its own, 0 for none.
func (l *lowerer) operand(a ast.Expr, t types.Type, v verb) (x ast.Expr, edit byte) {
	self := l.namesTypes(t, map[types.Type]bool{})
	switch {
	case v.c == 'T' && types.IsInterface(t):
		return a, 0
	case v.c == 'T' && self:
		name := types.TypeString(t, func(p *types.Package) string { return p.Name() })
		return &ast.BasicLit{Kind: token.STRING, ValuePos: a.Pos(), Value: strconv.Quote(name)}, 's'
	case v.c == 'v' && v.sharp && self:
		l.refuse(a.Pos(), "%#v of this type", "the interpreter does not show its name")
	case v.c == 'v' && v.plus && self && l.unexported(t, map[types.Type]bool{}) && !l.formats(t):
		l.refuse(a.Pos(), "%+v of this type", "the interpreter does not show the names of its unexported fields")
	case l.formats(t) && strings.IndexByte("vsqxXw", v.c) < 0:
		if b, ok := t.Underlying().(*types.Basic); ok {
			return call1(b.Name(), a, a.Pos()), 0
		}
		l.refuse(a.Pos(), fmt.Sprintf("%%%c of this type", v.c), "the interpreter shows its methods only")
	case l.hidden(t, true, map[types.Type]bool{}):
		return l.elements(a, t, v), 0
	}
	return a, 0
}

// elements turns a slice of types with a String or Error method into the strings.
func (l *lowerer) elements(a ast.Expr, t types.Type, v verb) ast.Expr {
	var elem types.Type
	switch u := t.Underlying().(type) {
	case *types.Slice:
		elem = u.Elem()
	case *types.Array:
		elem = u.Elem()
	}
	method := ""
	if elem != nil && l.formats(elem) {
		ms := types.NewMethodSet(elem)
		for _, name := range []string{"Error", "String"} {
			if ms.Lookup(l.pkg, name) != nil {
				method = name
				break
			}
		}
		if ms.Lookup(l.pkg, "Format") != nil {
			method = ""
		}
	}
	text, ok := "", false
	if elem != nil {
		text, ok = l.typeExprOf(t)
	}
	if method == "" || !ok || strings.IndexByte("vs", v.c) < 0 || v.sharp {
		l.refuse(a.Pos(), "formatting this type", "the interpreter does not show fmt the methods inside it: format its parts")
		return a
	}
	h := hashOf("strings", text, method)
	fn := Reserved + "strings_" + hex.EncodeToString(h[:5])
	l.addHelper(fn, h, fmt.Sprintf("func %s(a %s) []string {\n\tvar out []string\n\tfor i := 0; i < len(a); i++ {\n\t\tout = append(out, a[i].%s())\n\t}\n\treturn out\n}", fn, text, method))
	return call1(fn, a, a.Pos())
}

// namesTypes says that t mentions a type of the namespace.
func (l *lowerer) namesTypes(t types.Type, seen map[types.Type]bool) bool {
	if seen[t] {
		return false
	}
	seen[t] = true
	if n, ok := types.Unalias(t).(*types.Named); ok {
		return n.Obj().Pkg() == l.pkg
	}
	switch u := t.(type) {
	case *types.Pointer:
		return l.namesTypes(u.Elem(), seen)
	case *types.Slice:
		return l.namesTypes(u.Elem(), seen)
	case *types.Array:
		return l.namesTypes(u.Elem(), seen)
	case *types.Map:
		return l.namesTypes(u.Elem(), seen) || l.namesTypes(u.Key(), seen)
	}
	return false
}

func (l *lowerer) unexported(t types.Type, seen map[types.Type]bool) bool {
	if seen[t] {
		return false
	}
	seen[t] = true
	switch u := t.Underlying().(type) {
	case *types.Pointer:
		return l.unexported(u.Elem(), seen)
	case *types.Slice:
		return l.unexported(u.Elem(), seen)
	case *types.Array:
		return l.unexported(u.Elem(), seen)
	case *types.Map:
		return l.unexported(u.Elem(), seen)
	case *types.Struct:
		for f := range u.Fields() {
			if !f.Exported() || l.unexported(f.Type(), seen) {
				return true
			}
		}
	}
	return false
}

type verb struct {
	c           byte
	at          int // of the verb in the format
	plus, sharp bool
}

// verbsOf finds the verbs of a format, one per operand; ok is false when operands are numbered or widths
// are operands.
func verbsOf(format string) (list []verb, ok bool) {
	for i := 0; i < len(format); i++ {
		if format[i] != '%' {
			continue
		}
		v := verb{}
		for i++; i < len(format) && strings.IndexByte("+-# 0123456789.*[]", format[i]) >= 0; i++ {
			switch format[i] {
			case '*', '[':
				return nil, false
			case '+':
				v.plus = true
			case '#':
				v.sharp = true
			}
		}
		if i >= len(format) {
			break
		}
		if format[i] == '%' {
			continue
		}
		v.c, v.at = format[i], i
		list = append(list, v)
	}
	return list, true
}

const lostWhy = "the interpreter loses structs of the namespace in error and other standard interfaces: use a pointer"

// lost says that a value of t cannot be got back out of a standard interface.
func (l *lowerer) lost(t types.Type) bool {
	n, ok := types.Unalias(t).(*types.Named)
	if !ok || n.Obj().Pkg() != l.pkg {
		return false
	}
	_, isStruct := n.Underlying().(*types.Struct)
	return isStruct
}

// standard says that t is an interface with methods that is not declared in the namespace.
func (l *lowerer) standard(t types.Type) bool {
	n, ok := types.Unalias(t).(*types.Named)
	if !ok || n.Obj().Pkg() == l.pkg {
		return false
	}
	i, ok := n.Underlying().(*types.Interface)
	return ok && i.NumMethods() > 0
}

func (l *lowerer) assertion(n *ast.TypeAssertExpr) {
	if n.Type != nil && l.typeOf(n.X) != nil && l.standard(l.typeOf(n.X)) && l.lost(l.typeOf(n.Type)) {
		l.refuse(n.Type.Pos(), "this type assertion", lostWhy)
	}
}

func (l *lowerer) typeSwitch(n *ast.TypeSwitchStmt) {
	var x *ast.TypeAssertExpr
	switch s := n.Assign.(type) {
	case *ast.ExprStmt:
		x, _ = ast.Unparen(s.X).(*ast.TypeAssertExpr)
	case *ast.AssignStmt:
		x, _ = ast.Unparen(s.Rhs[0]).(*ast.TypeAssertExpr)
	}
	if x == nil || l.typeOf(x.X) == nil || !l.standard(l.typeOf(x.X)) {
		return
	}
	for _, c := range n.Body.List {
		for _, e := range c.(*ast.CaseClause).List {
			if t := l.typeOf(e); t != nil && (l.lost(t) || isErrorType(t)) {
				l.refuse(e.Pos(), "this case of a type switch", lostWhy)
			}
		}
	}
}
