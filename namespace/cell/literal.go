package cell

import (
	"encoding/hex"
	"fmt"
	"go/ast"
	"go/token"
	"go/types"
	"maps"
	"strings"
)

// LiteralPrefix begins the names of declarations that keep function literals of statements.
const LiteralPrefix = Reserved + "lit_"

// IsLiteral says that a declaration keeps a function literal.
func IsLiteral(name string) bool { return strings.HasPrefix(name, LiteralPrefix) }

// Literal is a function literal in the statements of a cell as a declaration: a function whose parameters
// are what the literal has captured, with their names and types, and whose result is the literal. So the
// code of a value that outlives the cell can be made again, with the same captured variables in the same
// order. Literals of the same source and captured variables are one.
type Literal struct {
	Name    string            // LiteralPrefix and a hash
	Source  string            // of the declaration
	Imports map[string]string // that it takes and the namespace does not have, local name → path
	Refused string            // why it cannot be kept, "" when it can
}

// Decl is the literal as a declaration of a namespace. Those all come first, so that they have no order of
// their own.
func (l *Literal) Decl() Decl { return Decl{Key: l.Name, Kind: KindFunc, Source: l.Source} }

// literals finds the function literals in what the unit runs and does not keep, without those within others.
func (w *work) literals() map[*ast.FuncLit]*Literal {
	out := map[*ast.FuncLit]*Literal{}
	find := func(n ast.Node) bool {
		if lit, ok := n.(*ast.FuncLit); ok {
			out[lit] = w.literal(lit)
			return false
		}
		return true
	}
	for _, s := range w.fn.Body.List {
		ast.Inspect(s, find)
	}
	for _, f := range w.extra {
		ast.Inspect(f, find)
	}
	return out
}

// literal describes one.
func (w *work) literal(lit *ast.FuncLit) *Literal {
	src, ok := w.sourceOf(lit)
	if !ok {
		return &Literal{Refused: "its source is not known"}
	}
	captured, err := w.captured(lit)
	if err != nil {
		return &Literal{Refused: err.Error()}
	}
	imports := maps.Clone(w.next.Imports)
	var params []string
	for _, v := range captured {
		text, err := typeExpr(v.Type(), w.pkg, w.next, imports)
		if err != nil {
			return &Literal{Refused: fmt.Sprintf("of %s that it has captured: %v", v.Name(), err)}
		}
		params = append(params, v.Name()+" "+text)
	}
	maps.DeleteFunc(imports, func(n, _ string) bool { return w.next.Imports[n] != "" })
	rest := fmt.Sprintf("(%s) any { return %s }", strings.Join(params, ", "), src)
	h := hashOf("literal", rest)
	name := LiteralPrefix + hex.EncodeToString(h[:8])
	return &Literal{Name: name, Source: "func " + name + rest, Imports: imports}
}

// captured lists the variables of the statements around a literal that it mentions, as first mentioned. An
// error says what else of those statements it mentions.
func (w *work) captured(lit *ast.FuncLit) (list []*types.Var, err error) {
	seen := map[types.Object]bool{}
	ast.Inspect(lit, func(n ast.Node) bool {
		id, ok := n.(*ast.Ident)
		if !ok || err != nil {
			return err == nil
		}
		o := w.info.Uses[id]
		if o == nil || seen[o] || o.Pkg() != w.pkg || !outside(o, lit, w.pkg) {
			return true
		}
		seen[o] = true
		switch o := o.(type) {
		case *types.Var:
			if !o.IsField() {
				list = append(list, o)
			}
		case *types.TypeName:
			err = fmt.Errorf("it uses the type %s, which is declared inside a block: declare it at top level", o.Name())
		case *types.Const:
			err = fmt.Errorf("it uses the constant %s, which is declared inside a block: declare it at top level", o.Name())
		}
		return true
	})
	return list, err
}

// outside says that an object is declared in the statements around a literal.
func outside(o types.Object, lit *ast.FuncLit, pkg *types.Package) bool {
	if s := o.Parent(); s == nil || s == pkg.Scope() || s == types.Universe {
		return false
	}
	return o.Pos() < lit.Pos() || o.Pos() >= lit.End()
}

// sourceOf is what the user wrote for a node of the statements.
func (w *work) sourceOf(n ast.Node) (string, bool) {
	f := w.c.fset.File(n.Pos())
	text, ok := w.texts[f]
	if !ok {
		return "", false
	}
	from, to := f.Offset(n.Pos()), f.Offset(n.End())
	if from > to || to > len(text) {
		return "", false
	}
	return text[from:to], true
}

// keepText remembers the text that was parsed as a file.
func (w *work) keepText(f *ast.File, text string) {
	if w.c.to != Machine {
		return
	}
	if w.texts == nil {
		w.texts = map[*token.File]string{}
	}
	w.texts[w.c.fset.File(f.Package)] = text
}
