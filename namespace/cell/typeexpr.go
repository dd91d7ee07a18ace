package cell

import (
	"fmt"
	"go/types"
	"maps"
	"slices"
	"strconv"
)

// typeExpr writes a type as an expression at package level of env, adding to imports what it needs. It
// returns an error for types that cannot be written there.
func typeExpr(t types.Type, self *types.Package, env *Env, imports map[string]string) (string, error) {
	if err := writable(t, self, map[types.Type]bool{}); err != nil {
		return "", err
	}
	return typeString(t, func(p *types.Package) string {
		if p == self {
			return ""
		}
		return importName(p, env, imports)
	}), nil
}

// importName is the local name of a package, imported under a free name when it is not yet.
func importName(p *types.Package, env *Env, imports map[string]string) string {
	for _, n := range slices.Sorted(maps.Keys(imports)) {
		if imports[n] == p.Path() {
			return n
		}
	}
	name := p.Name()
	for i := 2; ; i++ {
		_, isImport := imports[name]
		_, isVar := env.Vars[name]
		if !isImport && !isVar && env.Find(name) == nil {
			imports[name] = p.Path()
			return name
		}
		name = p.Name() + strconv.Itoa(i)
	}
}

func writable(t types.Type, self *types.Package, seen map[types.Type]bool) error {
	if seen[t] {
		return nil
	}
	seen[t] = true
	each := func(ts ...types.Type) error {
		for _, t := range ts {
			if err := writable(t, self, seen); err != nil {
				return err
			}
		}
		return nil
	}
	switch t := t.(type) {
	case *types.Alias:
		return each(types.Unalias(t))
	case *types.Named:
		o := t.Obj()
		if o.Pkg() != nil && o.Parent() != o.Pkg().Scope() {
			return fmt.Errorf("its type %s is declared inside a function: declare it at top level", o.Name())
		}
		if o.Pkg() != nil && o.Pkg() != self && !o.Exported() {
			return fmt.Errorf("its type %s is not exported by its package: keep another form of the value", t)
		}
		return each(slices.Collect(t.TypeArgs().Types())...)
	case *types.Pointer:
		return each(t.Elem())
	case *types.Slice:
		return each(t.Elem())
	case *types.Array:
		return each(t.Elem())
	case *types.Chan:
		return each(t.Elem())
	case *types.Map:
		return each(t.Key(), t.Elem())
	case *types.Signature:
		return each(t.Params(), t.Results())
	case *types.Tuple:
		for v := range t.Variables() {
			if err := each(v.Type()); err != nil {
				return err
			}
		}
	case *types.Struct:
		for f := range t.Fields() {
			if !f.Exported() && f.Pkg() != self {
				return fmt.Errorf("its type has the field %s of another package", f.Name())
			}
			if err := each(f.Type()); err != nil {
				return err
			}
		}
	case *types.Interface:
		for m := range t.ExplicitMethods() {
			if err := each(m.Type()); err != nil {
				return err
			}
		}
	}
	return nil
}
