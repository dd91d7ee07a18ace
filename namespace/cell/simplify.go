package cell

import (
	"go/ast"
	"go/token"
	"go/types"
)

// simplify writes what the interpreter gets wrong in other words of the same meaning, before anything
// else is lowered:
//
//   - of the conditions in one case of a switch without a value, it looks at the first only: they become
//     one, "a || b";
//   - a method takes parameters without names for its receiver, when it is called through an interface:
//     they are called "_".
func (l *lowerer) simplify(n ast.Node) {
	ast.Inspect(n, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.SwitchStmt:
			if n.Tag == nil {
				for _, s := range n.Body.List {
					l.oneCondition(s.(*ast.CaseClause))
				}
			}
		case *ast.FuncDecl:
			if n.Recv != nil {
				nameParams(n.Type.Params)
			}
		}
		return true
	})
}

func (l *lowerer) oneCondition(c *ast.CaseClause) {
	if len(c.List) < 2 {
		return
	}
	for _, x := range c.List {
		if t := l.typeOf(x); t != types.Typ[types.Bool] && t != types.Typ[types.UntypedBool] {
			return // of a type of its own, or an interface: compared with true, one by one
		}
	}
	all := c.List[0]
	for _, x := range c.List[1:] {
		all = &ast.BinaryExpr{X: all, OpPos: x.Pos(), Op: token.LOR, Y: x}
		l.set(all, types.Typ[types.Bool])
	}
	c.List = []ast.Expr{all}
}

func nameParams(params *ast.FieldList) {
	for _, f := range params.List {
		if len(f.Names) == 0 {
			f.Names = []*ast.Ident{ident("_", f.Type.Pos())}
		}
	}
}
