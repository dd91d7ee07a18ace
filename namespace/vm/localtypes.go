package vm

import (
	"fmt"
	"go/ast"
	"go/token"
	"go/types"
	"iter"
	"slices"
	"strings"

	"golang.org/x/tools/go/ssa"
)

// claim notes the types that are declared in an instance of a generic function: their names mention its type
// arguments. It comes before any of them is made.
func (tt *typeTable) claim(fn *ssa.Function) {
	root := fn
	for root.Parent() != nil {
		root = root.Parent()
	}
	if len(root.TypeArgs()) == 0 || root.Syntax() == nil {
		return
	}
	tt.mu.Lock()
	defer tt.mu.Unlock()
	seen := map[types.Type]bool{}
	for _, b := range fn.Blocks {
		for _, in := range b.Instrs {
			for _, x := range in.Operands(nil) {
				if *x != nil {
					tt.claimType(root, (*x).Type(), seen)
				}
			}
			if v, ok := in.(ssa.Value); ok {
				tt.claimType(root, v.Type(), seen)
			}
		}
	}
}

func (tt *typeTable) claimType(root *ssa.Function, t types.Type, seen map[types.Type]bool) {
	if t == nil || seen[t] {
		return
	}
	seen[t] = true
	each := func(ts ...types.Type) {
		for _, t := range ts {
			tt.claimType(root, t, seen)
		}
	}
	switch t := t.(type) {
	case *types.Named:
		o, syntax := t.Obj(), root.Syntax()
		if o.Pkg() == nil || o.Pos() < syntax.Pos() || o.Pos() >= syntax.End() {
			return
		}
		if tt.owners == nil {
			tt.owners = map[*types.TypeName]*ssa.Function{}
		}
		if tt.owners[o] == nil {
			tt.owners[o] = root
		}
		for a := range t.TypeArgs().Types() {
			each(a)
		}
		each(t.Underlying())
	case *types.Map:
		each(t.Key(), t.Elem())
	case interface{ Elem() types.Type }:
		each(t.Elem())
	case *types.Struct:
		for f := range t.Fields() {
			each(f.Type())
		}
	case *types.Tuple:
		for v := range t.Variables() {
			each(v.Type())
		}
	case *types.Signature:
		each(t.Params(), t.Results())
	}
}

// nameOf is what package reflect says a type is called. What a generic function declares has the type
// arguments of that before its own.
func (tt *typeTable) nameOf(t *types.Named) string {
	owner := tt.owners[t.Obj()]
	if owner == nil {
		if t.TypeArgs().Len() == 0 || len(tt.owners) == 0 {
			return reflectText(t)
		}
		return t.Obj().Pkg().Name() + "." + t.Obj().Name() + "[" + tt.argNames(t.TypeArgs().Types()) + "]"
	}
	own := ""
	if t.TypeArgs().Len() > 0 {
		own = tt.argNames(t.TypeArgs().Types())
	}
	name := t.Obj().Pkg().Name() + "." + t.Obj().Name()
	if own == "" {
		return name + "[" + tt.argNames(slices.Values(owner.TypeArgs())) + "]"
	}
	return name + "[" + tt.argNames(slices.Values(owner.TypeArgs())) + ";" + own + "]"
}

// argNames are type arguments in a name: packages by path, local types with their number in the function.
func (tt *typeTable) argNames(args iter.Seq[types.Type]) string {
	var list []string
	for a := range args {
		n, ok := types.Unalias(a).(*types.Named)
		if !ok || n.Obj().Pkg() == nil || tt.owners[n.Obj()] == nil {
			list = append(list, types.TypeString(unaliased(a), nil))
			continue
		}
		name := tt.nameOf(n)
		if n.Obj().Pkg().Path() != n.Obj().Pkg().Name() {
			name = n.Obj().Pkg().Path() + strings.TrimPrefix(name, n.Obj().Pkg().Name())
		}
		list = append(list, fmt.Sprintf("%s·%d", name, localNumber(tt.owners[n.Obj()].Syntax(), n.Obj().Pos())))
	}
	return strings.Join(list, ",")
}

// unaliased is a type without aliases in it, as far as that is likely.
func unaliased(t types.Type) types.Type {
	switch t := types.Unalias(t).(type) {
	case *types.Pointer:
		return types.NewPointer(unaliased(t.Elem()))
	case *types.Slice:
		return types.NewSlice(unaliased(t.Elem()))
	case *types.Array:
		return types.NewArray(unaliased(t.Elem()), t.Len())
	case *types.Map:
		return types.NewMap(unaliased(t.Key()), unaliased(t.Elem()))
	default:
		return t
	}
}

// localNumber counts the types that a function declares up to pos.
func localNumber(syntax ast.Node, pos token.Pos) (n int) {
	ast.Inspect(syntax, func(x ast.Node) bool {
		if s, ok := x.(*ast.TypeSpec); ok && s.Pos() <= pos {
			n++
		}
		return true
	})
	return n
}
