package cell

import (
	"fmt"
	"go/ast"
	"go/types"
	"strings"
)

// Native code sees no methods but Error of an error of the cell. So the functions of package errors that
// look for others are done here, with the types of the cell that have them.

// errorMethods are the methods that package errors looks for.
var errorMethods = []string{"Unwrap", "Is", "As"}

// errorsIs makes errors.Is a function of the cell's own types.
func (l *lowerer) errorsIs(n *ast.CallExpr) {
	walk, ok := l.errorWalk("errIs", "target error", "target", n, func(self string) string {
		return fmt.Sprintf("\tif %s.SameError(e, target) { return true }\n", hostName) + l.errorCases("Is", func(string) string {
			return "if v.Is(target) { return true }"
		})
	})
	if !ok {
		return
	}
	name, h := helperName("errorsIs", walk)
	l.addHelper(name, h, fmt.Sprintf("func %s(err, target error) bool {\n\tif err == nil || target == nil { return err == nil && target == nil }\n\treturn %s(%s.Inner(err), target)\n}",
		name, walk, hostName))
	n.Fun = ident(name, n.Pos())
}

// errorsAs makes errors.As a function of the cell's own types.
func (l *lowerer) errorsAs(n *ast.CallExpr) {
	p, ok := l.typeOf(n.Args[1]).Underlying().(*types.Pointer)
	if !ok || l.standard(p.Elem()) {
		return // to a standard interface: native types implement those
	}
	if l.lost(p.Elem()) {
		l.refuse(n.Args[1].Pos(), "errors.As for a struct", lostWhy)
		return
	}
	text, ok := l.typeExprOf(p.Elem())
	if !ok {
		l.refuse(n.Pos(), "errors.As for this type", cannotRun)
		return
	}
	test := fmt.Sprintf("\tfound, ok := e.(%s)\n\tif ok { *target = found; return true }\n", text)
	if l.toOwn(p.Elem()) {
		is, ok := l.assertFunc("is", types.NewInterfaceType(nil, nil), p.Elem(), n.Pos())
		if !ok {
			return
		}
		test = fmt.Sprintf("\tfound, ok := %s(e)\n\tif ok { *target = found; return true }\n", is)
	}
	walk, ok := l.errorWalk("errAs", "target *"+text, "target", n, func(self string) string {
		return test + l.errorCases("As", func(string) string { return "if v.As(target) { return true }" })
	})
	if !ok {
		return
	}
	n.Args[0] = hostCall("Inner", n.Args[0])
	n.Fun = ident(walk, n.Pos())
}

// errorsUnwrap makes errors.Unwrap a function of the cell's own types.
func (l *lowerer) errorsUnwrap(n *ast.CallExpr) {
	if !l.errorsKept(n) {
		return
	}
	cases := l.errorCases("Unwrap", func(result string) string {
		if result != "error" {
			return "return nil"
		}
		return "return v.Unwrap()"
	})
	name, h := helperName("errorsUnwrap", cases)
	l.addHelper(name, h, fmt.Sprintf("func %s(err error) error {\n\te := %s.Inner(err)\n%s\treturn %s.Unwrap(err)\n}", name, hostName, cases, hostName))
	n.Fun = ident(name, n.Pos())
}

// errorWalk makes a function that tests an error and all it wraps, depth first, and gives its name. The
// error is what the interpreter has, in an empty interface e.
func (l *lowerer) errorWalk(what, param, arg string, n *ast.CallExpr, test func(self string) string) (string, bool) {
	if !l.errorsKept(n) {
		return "", false
	}
	body := func(self string) string {
		next := l.errorCases("Unwrap", func(result string) string {
			if result == "error" {
				return fmt.Sprintf("return %s(%s.Inner(v.Unwrap()), %s)", self, hostName, arg)
			}
			return fmt.Sprintf("list := v.Unwrap()\n\t\tfor i := 0; i < len(list); i++ { if %s(%s.Inner(list[i]), %s) { return true } }\n\t\treturn false", self, hostName, arg)
		})
		return fmt.Sprintf("\tif e == nil { return false }\n%s%s\tlinks := %s.Links(e)\n\tfor i := 0; i < len(links); i++ { if %s(links[i], %s) { return true } }\n\treturn false\n",
			test(self), next, hostName, self, arg)
	}
	name, h := helperName(what, param, body("self"))
	l.addHelper(name, h, fmt.Sprintf("func %s(e interface{}, %s) bool {\n%s}", name, param, body(name)))
	return name, l.err == nil
}

// errorCases is a type switch over the pointers to types of the cell whose method of package errors has
// that name; do gives what to do, by the type of its result.
func (l *lowerer) errorCases(method string, do func(result string) string) string {
	var b strings.Builder
	for _, t := range l.methodTypes() {
		result := l.errorMethod(t, method)
		text, ok := l.typeExprOf(t)
		if _, isPtr := t.(*types.Pointer); !isPtr || result == "" || !ok {
			continue
		}
		fmt.Fprintf(&b, "\tcase %s:\n\t\t%s\n", text, do(result))
	}
	if b.Len() == 0 {
		return ""
	}
	return "\tswitch v := e.(type) {\n" + b.String() + "\t}\n"
}

// errorMethod gives the type of the result of a method that package errors looks for, "" when t is no
// error or has no such method.
func (l *lowerer) errorMethod(t types.Type, method string) string {
	ms := types.NewMethodSet(t)
	m := ms.Lookup(l.pkg, method)
	if m == nil || ms.Lookup(l.pkg, "Error") == nil {
		return ""
	}
	sig, ok := m.Obj().Type().(*types.Signature)
	if !ok || sig.Results().Len() != 1 {
		return ""
	}
	params := map[string]string{"Unwrap": "", "Is": "error", "As": "any"}[method]
	have := ""
	if sig.Params().Len() == 1 {
		have = sig.Params().At(0).Type().String()
		if isEmpty(sig.Params().At(0).Type()) {
			have = "any"
		}
	}
	result := sig.Results().At(0).Type().String()
	if have != params || method == "Unwrap" != (result == "error" || result == "[]error") || method != "Unwrap" && result != "bool" {
		return ""
	}
	return result
}

// errorsKept refuses package errors for types of the cell that are lost in an error and have a method it
// looks for.
func (l *lowerer) errorsKept(n *ast.CallExpr) bool {
	for _, t := range l.methodTypes() {
		if _, isPtr := t.(*types.Pointer); isPtr {
			continue
		}
		for _, m := range errorMethods {
			if l.errorMethod(t, m) != "" {
				text, _ := l.typeExprOf(t)
				l.refuse(n.Pos(), "package errors with "+text+", whose method "+m+" is not one of a pointer", lostWhy)
				return false
			}
		}
	}
	return true
}
