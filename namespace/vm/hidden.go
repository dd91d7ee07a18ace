package vm

import (
	"go/types"
	"reflect"
)

// hiddenType finds the run-time type of a type that a package of compiled Go does not export, by what it
// does export: variables, parameters, results and fields of that type. Nil when there is none.
func (tt *typeTable) hiddenType(o *types.TypeName) reflect.Type {
	p := o.Pkg()
	if o.Exported() || p.Path() == "main" {
		return nil
	}
	if !tt.learned[p] {
		if tt.learned == nil {
			tt.learned, tt.hidden = map[*types.Package]bool{}, map[*types.TypeName]reflect.Type{}
		}
		tt.learned[p] = true
		tt.learn(p)
	}
	return tt.hidden[o]
}

func (tt *typeTable) learn(p *types.Package) {
	for _, n := range p.Scope().Names() {
		switch o := p.Scope().Lookup(n).(type) {
		case *types.Var:
			if v := tt.m.syms.Var(p.Path(), n); v.IsValid() {
				tt.match(o.Type(), v.Type().Elem())
			}
		case *types.Func:
			if v := tt.m.syms.Func(p.Path(), n); v.IsValid() {
				tt.match(o.Type(), v.Type())
			}
		case *types.TypeName:
			if rt := tt.m.syms.Type(p.Path(), n); rt != nil {
				tt.matchUnder(o.Type().Underlying(), rt)
			}
		}
	}
}

// match learns from a type and its run-time type.
func (tt *typeTable) match(t types.Type, rt reflect.Type) {
	n, ok := types.Unalias(t).(*types.Named)
	if !ok {
		tt.matchUnder(t, rt)
		return
	}
	o := n.Obj()
	if o.Pkg() == nil || o.Exported() || n.TypeArgs().Len() > 0 || o.Name() != rt.Name() || tt.hidden[o] != nil {
		return
	}
	tt.hidden[o] = rt
	tt.matchUnder(n.Underlying(), rt)
}

func (tt *typeTable) matchUnder(t types.Type, rt reflect.Type) {
	switch t := t.(type) {
	case *types.Pointer:
		tt.match(t.Elem(), rt.Elem())
	case *types.Slice:
		tt.match(t.Elem(), rt.Elem())
	case *types.Array:
		tt.match(t.Elem(), rt.Elem())
	case *types.Chan:
		tt.match(t.Elem(), rt.Elem())
	case *types.Map:
		tt.match(t.Key(), rt.Key())
		tt.match(t.Elem(), rt.Elem())
	case *types.Signature:
		if t.TypeParams().Len() > 0 || t.Params().Len() != rt.NumIn() || t.Results().Len() != rt.NumOut() {
			return
		}
		for i := range rt.NumIn() {
			tt.match(t.Params().At(i).Type(), rt.In(i))
		}
		for i := range rt.NumOut() {
			tt.match(t.Results().At(i).Type(), rt.Out(i))
		}
	case *types.Struct:
		for i := range min(t.NumFields(), rt.NumField()) {
			tt.match(t.Field(i).Type(), rt.Field(i).Type)
		}
	}
}
