package vm

import (
	"fmt"
	"go/ast"
	"go/token"
	"go/types"
	"strings"

	"golang.org/x/tools/go/ssa"
)

// What a program means that the instructions of package ssa do not say is found in its syntax.

// unevaluated are the instructions of a function that Go does not run: those of an array that is ranged
// over without looking at its elements. Package ssa loads it, also by way of a nil pointer.
func unevaluated(fn *ssa.Function) map[ssa.Instruction]bool {
	var out map[ssa.Instruction]bool
	for _, b := range fn.Blocks {
		for _, in := range b.Instrs {
			load, ok := in.(*ssa.UnOp)
			if !ok || load.Op != token.MUL || len(*load.Referrers()) > 0 {
				continue
			}
			if _, ok := load.Type().Underlying().(*types.Array); !ok {
				continue
			}
			x := rangedOver(fn.Syntax(), load.Pos())
			if x == nil {
				continue
			}
			if out == nil {
				out = map[ssa.Instruction]bool{}
			}
			addWithin(out, fn, x)
		}
	}
	return out
}

// addWithin adds the instructions of an expression.
func addWithin(set map[ssa.Instruction]bool, fn *ssa.Function, x ast.Expr) {
	for _, b := range fn.Blocks {
		for _, in := range b.Instrs {
			if p := in.Pos(); p.IsValid() && x.Pos() <= p && p < x.End() {
				set[in] = true
			}
		}
	}
}

// rangedOver is the operand around pos of a range statement without a second variable, nil when there is
// none, or when it calls or receives something: then it is evaluated.
func rangedOver(syntax ast.Node, pos token.Pos) (x ast.Expr) {
	if syntax == nil {
		return nil
	}
	ast.Inspect(syntax, func(n ast.Node) bool {
		r, ok := n.(*ast.RangeStmt)
		if ok && r.Value == nil && r.X.Pos() <= pos && pos < r.X.End() && !acts(r.X) {
			x = r.X
		}
		return x == nil
	})
	return x
}

// acts says that an expression may do more than have a value.
func acts(x ast.Expr) (found bool) {
	ast.Inspect(x, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.CallExpr, *ast.CompositeLit, *ast.FuncLit:
			found = true
		case *ast.UnaryExpr:
			found = found || n.Op == token.ARROW
		}
		return !found
	})
	return found
}

// implied says that a field was selected on the way to another one that the program names: it is embedded,
// and its position is that of the whole selector.
func implied(fn *ssa.Function, outer, named *ssa.FieldAddr) (yes bool) {
	if fn.Syntax() == nil {
		return false
	}
	ast.Inspect(fn.Syntax(), func(n ast.Node) bool {
		if s, ok := n.(*ast.SelectorExpr); ok && s.Sel.Pos() == named.Pos() {
			yes = outer.Pos() == s.Pos()
		}
		return !yes
	})
	return yes
}

// closing is where a function ends in its source, not valid when that is not known.
func closing(fn *ssa.Function) token.Pos {
	switch x := fn.Syntax().(type) {
	case *ast.FuncDecl:
		return x.End() - 1
	case *ast.FuncLit:
		return x.End() - 1
	}
	return token.NoPos
}

// fallsOff says that a block leaves its function at the closing brace.
func fallsOff(b *ssa.BasicBlock) bool {
	r, ok := b.Instrs[len(b.Instrs)-1].(*ssa.Return)
	return ok && !r.Pos().IsValid()
}

// goName is the name that package runtime gives a function.
func goName(fn *ssa.Function) string {
	if p := fn.Parent(); p != nil {
		return goName(p) + literalSuffix(fn, p)
	}
	name := strings.TrimSuffix(fn.RelString(nil), "$thunk")
	name = strings.Replace(name, "$bound", "-fm", 1)
	if strings.HasPrefix(name, "(") { // a method
		recv, method, _ := strings.Cut(name[1:], ").")
		star := strings.HasPrefix(recv, "*")
		path, typ := cutLast(strings.TrimPrefix(recv, "*"), '.')
		if star {
			typ = "(*" + typ + ")"
		}
		return path + "." + typ + "." + method
	}
	if pkg, n, ok := strings.Cut(name, "init#"); ok && strings.HasSuffix(pkg, ".") {
		at := 0
		_, _ = fmt.Sscan(n, &at)
		return fmt.Sprintf("%sinit.%d", pkg, at-1)
	}
	if len(fn.TypeArgs()) > 0 {
		name, _, _ = strings.Cut(name, "[")
		name += "[...]"
	}
	return name
}

// cutLast cuts around the last c that is not in brackets.
func cutLast(s string, c byte) (before, after string) {
	end := len(s)
	if i := strings.IndexByte(s, '['); i >= 0 {
		end = i
	}
	i := strings.LastIndexByte(s[:end], c)
	return s[:max(i, 0)], s[i+1:]
}

// literalSuffix numbers a function literal, or the body of a range over a function, within its parent.
func literalSuffix(fn, parent *ssa.Function) string {
	n := 0
	for _, x := range parent.AnonFuncs {
		if rangeBody(x) == rangeBody(fn) {
			n++
		}
		if x == fn {
			break
		}
	}
	switch {
	case rangeBody(fn):
		return fmt.Sprintf("-range%d", n)
	case parent.Parent() == nil:
		return fmt.Sprintf(".func%d", n)
	}
	return fmt.Sprintf(".%d", n)
}

func rangeBody(fn *ssa.Function) bool {
	_, ok := fn.Syntax().(*ast.RangeStmt)
	return ok
}
