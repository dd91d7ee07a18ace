package cell

import (
	"go/ast"
	"go/types"
)

const cannotRun = "the interpreter cannot run it"

// refuseSpec refuses types the interpreter cannot make.
func (l *lowerer) refuseSpec(n *ast.TypeSpec) {
	if n.TypeParams != nil {
		l.refuse(n.Pos(), "a generic type inside a function", cannotRun+": declare it at top level")
	}
	o, ok := l.info.Defs[n.Name].(*types.TypeName)
	if ok && o.Parent() != l.pkg.Scope() {
		if _, other := l.pkg.Scope().Lookup(o.Name()).(*types.TypeName); other {
			l.refuse(n.Pos(), "the type "+o.Name()+", which hides a type of that name", "the interpreter mixes them up: give it another name")
		} else if s, ok := o.Type().Underlying().(*types.Struct); ok && s.NumFields() > 0 && s.Field(0).Embedded() && l.sharesName(o) {
			l.refuse(n.Pos(), "the type "+o.Name()+", one of several of that name with embedded fields", "the interpreter mixes them up: give it another name")
		}
	}
	if ok && !o.IsAlias() && intertwined(o.Type()) {
		l.refuse(n.Pos(), "the type "+o.Name()+", which contains a struct that points back to it", cannotRun+": use a pointer")
	}
	if ok && !o.IsAlias() && selfish(o.Type()) {
		l.refuse(n.Pos(), "the type "+o.Name()+", which refers to itself without a struct in between", cannotRun+": put it in a field of a struct")
	}
}

// selfish says that a type contains itself with no struct or interface in between.
func selfish(t types.Type) bool {
	seen := map[types.Type]bool{}
	var find func(types.Type) bool
	find = func(x types.Type) bool {
		switch x := types.Unalias(x).(type) {
		case *types.Named:
			if seen[x] {
				return x == t
			}
			seen[x] = true
			return find(x.Underlying())
		case *types.Pointer:
			return find(x.Elem())
		case *types.Slice:
			return find(x.Elem())
		case *types.Array:
			return find(x.Elem())
		case *types.Chan:
			return find(x.Elem())
		case *types.Map:
			return find(x.Key()) || find(x.Elem())
		case *types.Signature:
			for _, list := range []*types.Tuple{x.Params(), x.Results()} {
				for v := range list.Variables() {
					if find(v.Type()) {
						return true
					}
				}
			}
		}
		return false
	}
	return find(t)
}

// intertwined says that a struct has a field of another struct type that has a pointer to the first.
func intertwined(t types.Type) bool {
	s, ok := t.Underlying().(*types.Struct)
	if !ok {
		return false
	}
	for f := range s.Fields() {
		in, ok := f.Type().Underlying().(*types.Struct)
		if _, named := f.Type().(*types.Named); !ok || !named {
			continue
		}
		for g := range in.Fields() {
			if p, ok := g.Type().(*types.Pointer); ok && types.Identical(p.Elem(), t) {
				return true
			}
		}
	}
	return false
}

// refuseStruct refuses structs whose fields the interpreter mixes up.
func (l *lowerer) refuseStruct(n *ast.StructType) {
	blanks := 0
	for _, f := range n.Fields.List {
		for _, id := range f.Names {
			if id.Name == "_" {
				blanks++
			}
		}
		if id, ok := f.Type.(*ast.Ident); ok && len(f.Names) == 0 {
			if o, ok := l.info.Uses[id].(*types.TypeName); ok && o.IsAlias() && o.Pkg() != nil {
				l.refuse(f.Pos(), "a field embedded under the alias "+id.Name, cannotRun+": give the field a name")
			}
		}
	}
	if blanks > 1 {
		l.refuse(n.Pos(), "a struct with several blank fields", cannotRun+": give them names")
	}
}

// refuseTarget refuses assertions to types that the interpreter cannot tell from others.
func (l *lowerer) refuseTarget(x ast.Expr) {
	t := l.typeOf(x)
	if t == nil {
		return
	}
	if p, ok := t.(*types.Pointer); ok {
		t = p.Elem()
	}
	n, ok := t.(*types.Named)
	if !ok || n.Obj().Pkg() != l.pkg || types.IsInterface(n) {
		return
	}
	if n.Obj().Parent() != l.pkg.Scope() && l.sharesName(n.Obj()) {
		l.refuse(x.Pos(), "an assertion to "+n.Obj().Name()+", one of several types of that name", "the interpreter cannot tell them apart: give them different names")
	}
}

// sharesName says that another type of the program has the name of a local one.
func (l *lowerer) sharesName(n *types.TypeName) bool {
	for id, o := range l.info.Defs {
		if t, ok := o.(*types.TypeName); ok && id.Name == n.Name() && t != n {
			return true
		}
	}
	return false
}

// refuseArgs refuses builtins that get their arguments from one call.
func (l *lowerer) refuseArgs(n *ast.CallExpr, name string) {
	if len(n.Args) != 1 {
		return
	}
	if t, ok := l.typeOf(n.Args[0]).(*types.Tuple); ok && t.Len() > 1 {
		l.refuse(n.Pos(), name+" of the results of a call", cannotRun+": put them in variables")
	}
}
