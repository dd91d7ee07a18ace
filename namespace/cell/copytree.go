package cell

import (
	"go/ast"
	"reflect"
)

// copyTree copies a syntax tree. sub, when set, may give a replacement for a node (which is used as it
// is, not copied); nil means copy. The tree must not have resolved objects (parser.SkipObjectResolution).
func copyTree[N ast.Node](n N, sub func(ast.Node) ast.Node) N {
	v := copyValue(reflect.ValueOf(n), sub)
	out, _ := v.Interface().(N)
	return out
}

var nodeType = reflect.TypeFor[ast.Node]()

func copyValue(v reflect.Value, sub func(ast.Node) ast.Node) reflect.Value {
	switch v.Kind() {
	case reflect.Interface:
		if v.IsNil() {
			return v
		}
		out := reflect.New(v.Type()).Elem()
		out.Set(copyValue(v.Elem(), sub))
		return out
	case reflect.Pointer:
		if v.IsNil() || !v.Type().Implements(nodeType) {
			return v
		}
		if sub != nil {
			if r := sub(v.Interface().(ast.Node)); r != nil {
				return reflect.ValueOf(r)
			}
		}
		out := reflect.New(v.Type().Elem())
		for i := range v.Elem().NumField() {
			out.Elem().Field(i).Set(copyValue(v.Elem().Field(i), sub))
		}
		return out
	case reflect.Slice:
		if v.IsNil() {
			return v
		}
		out := reflect.MakeSlice(v.Type(), v.Len(), v.Len())
		for i := range v.Len() {
			out.Index(i).Set(copyValue(v.Index(i), sub))
		}
		return out
	}
	return v
}
