package cell

import (
	"go/ast"
	"go/token"
	"go/types"
	"strconv"

	"golang.org/x/tools/go/ast/astutil"
)

// lowerer rewrites checked code to what the engine runs rightly, or refuses it. It changes the tree in
// place. Expressions first, while every node still has its type; then statements, from the inside out.
type lowerer struct {
	c       *Compiler
	info    *types.Info
	pkg     *types.Package
	err     error
	n       int                     // temporaries so far
	types   map[ast.Expr]types.Type // of expressions made here
	helpers []Def                   // functions that lowered code calls
	have    map[string]bool
	helped  bool                   // the current unit uses helpers
	loads   func(name string) bool // says that a type of the package is loaded
}

// decl lowers one declaration.
func (l *lowerer) decl(n ast.Decl) error {
	if g, ok := n.(*ast.GenDecl); ok && g.Tok == token.CONST {
		return nil // uses of constants are folded
	}
	l.simplify(n)
	caught := l.captured(n)
	astutil.Apply(n, l.foldConstant, l.expr)
	l.statements(n, caught)
	makeApart(n)
	return l.err
}

func (l *lowerer) refuse(pos token.Pos, what, why string) {
	if l.err == nil {
		l.err = &NotAllowedError{What: what, Why: why, Pos: l.c.at(pos)}
	}
}

func (l *lowerer) typeOf(x ast.Expr) types.Type {
	if t := l.types[x]; t != nil {
		return t
	}
	return l.info.TypeOf(x)
}

func (l *lowerer) set(x ast.Expr, t types.Type) {
	if l.types == nil {
		l.types = map[ast.Expr]types.Type{}
	}
	l.types[x] = t
}

// temp gives a fresh name.
func (l *lowerer) temp(pos token.Pos) *ast.Ident {
	l.n++
	return &ast.Ident{Name: Reserved + "t" + strconv.Itoa(l.n), NamePos: pos}
}

func ident(name string, pos token.Pos) *ast.Ident { return &ast.Ident{Name: name, NamePos: pos} }

func define(lhs *ast.Ident, rhs ast.Expr) ast.Stmt {
	return &ast.AssignStmt{Lhs: []ast.Expr{lhs}, TokPos: lhs.Pos(), Tok: token.DEFINE, Rhs: []ast.Expr{rhs}}
}

func assign(lhs, rhs ast.Expr) ast.Stmt {
	return &ast.AssignStmt{Lhs: []ast.Expr{lhs}, TokPos: lhs.Pos(), Tok: token.ASSIGN, Rhs: []ast.Expr{rhs}}
}

func use(id *ast.Ident) *ast.Ident { return &ast.Ident{Name: id.Name, NamePos: id.NamePos} }

// typeExprOf writes a type in lowered code; ok is false when it cannot be written.
func (l *lowerer) typeExprOf(t types.Type) (text string, ok bool) {
	ok = writable(t, l.pkg, map[types.Type]bool{}) == nil
	text = typeString(t, func(p *types.Package) string {
		if p == l.pkg || p.Path() == "main" {
			return ""
		}
		if n := l.importName(p.Path()); n != "" {
			return n
		}
		ok = false
		return "?"
	})
	return text, ok
}

func (l *lowerer) importName(path string) string {
	for _, o := range l.info.Uses {
		if p, is := o.(*types.PkgName); is && p.Imported().Path() == path {
			return p.Name()
		}
	}
	return ""
}

// captured finds the variables that function literals use from around them.
func (l *lowerer) captured(n ast.Node) map[types.Object]bool {
	out := map[types.Object]bool{}
	ast.Inspect(n, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.FuncLit:
			ast.Inspect(n.Body, func(m ast.Node) bool {
				if id, ok := m.(*ast.Ident); ok {
					if v, ok := l.info.Uses[id].(*types.Var); ok && !v.IsField() && (v.Pos() < n.Pos() || v.Pos() > n.End()) {
						out[v] = true
					}
				}
				return true
			})
		case *ast.UnaryExpr: // &x outlives the iteration as well
			if n.Op != token.AND {
				return true
			}
			x := ast.Unparen(n.X)
			for {
				switch y := x.(type) {
				case *ast.SelectorExpr:
					x = ast.Unparen(y.X)
					continue
				case *ast.IndexExpr:
					x = ast.Unparen(y.X)
					continue
				}
				break
			}
			if id, ok := x.(*ast.Ident); ok {
				if v, ok := l.info.Uses[id].(*types.Var); ok {
					out[v] = true
				}
			}
		}
		return true
	})
	return out
}
