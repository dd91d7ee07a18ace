package cell

import (
	"fmt"
	"go/ast"
	"go/token"
	"go/types"
	"reflect"
	"strconv"
	"strings"
)

// typeWriter writes types as Go expressions, without the names of parameters: a parameter may be
// called like a variable. The callbacks write named types and type parameters.
type typeWriter struct {
	strings.Builder
	named func(w *typeWriter, t *types.Named)
	param func(w *typeWriter, t *types.TypeParam)
	bad   func(t types.Type) // a type that cannot be written
}

// typeText writes a type with its type parameters replaced and its instances by name.
func (m *mono) typeText(t types.Type, sc *scope) string {
	w := &typeWriter{
		named: func(w *typeWriter, t *types.Named) { m.writeNamed(w, t, sc) },
		param: func(w *typeWriter, t *types.TypeParam) {
			text, ok := sc.params[t]
			if !ok {
				m.fail(t.Obj().Pos(), "the type parameter "+t.Obj().Name(), "its argument is not known here")
				text = "int"
			}
			w.WriteString(text)
		},
		bad: func(t types.Type) { m.fail(m.w.c.none, "the type "+t.String(), "it cannot be written down") },
	}
	w.write(t)
	return w.String()
}

// typeString writes a type with the given names of packages, "" for none.
func typeString(t types.Type, pkg func(*types.Package) string) string {
	w := &typeWriter{
		param: func(w *typeWriter, t *types.TypeParam) { w.WriteString(t.Obj().Name()) },
		bad:   func(types.Type) {},
	}
	w.named = func(w *typeWriter, t *types.Named) {
		o := t.Obj()
		if o.Pkg() != nil {
			if n := pkg(o.Pkg()); n != "" {
				w.WriteString(n + ".")
			}
		}
		w.WriteString(o.Name())
		for i := range t.TypeArgs().Len() {
			w.WriteString([]string{"[", ", "}[min(i, 1)])
			w.write(t.TypeArgs().At(i))
		}
		if t.TypeArgs().Len() > 0 {
			w.WriteByte(']')
		}
	}
	w.write(t)
	return w.String()
}

func (b *typeWriter) write(t types.Type) {
	switch t := t.(type) {
	case *types.Basic:
		b.WriteString(types.Default(t).(*types.Basic).Name())
	case *types.Alias:
		b.write(types.Unalias(t))
	case *types.TypeParam:
		b.param(b, t)
	case *types.Named:
		b.named(b, t)
	case *types.Pointer:
		b.WriteByte('*')
		b.write(t.Elem())
	case *types.Slice:
		b.WriteString("[]")
		b.write(t.Elem())
	case *types.Array:
		fmt.Fprintf(b, "[%d]", t.Len())
		b.write(t.Elem())
	case *types.Map:
		b.WriteString("map[")
		b.write(t.Key())
		b.WriteByte(']')
		b.write(t.Elem())
	case *types.Chan:
		b.WriteString([]string{"chan ", "chan<- ", "<-chan "}[t.Dir()])
		b.WriteByte('(')
		b.write(t.Elem())
		b.WriteByte(')')
	case *types.Signature:
		b.WriteString("func")
		b.writeSignature(t)
	case *types.Struct:
		b.writeStruct(t)
	case *types.Interface:
		b.writeInterface(t)
	default:
		b.bad(t)
		b.WriteString("int")
	}
}

func (b *typeWriter) writeSignature(t *types.Signature) {
	b.WriteByte('(')
	for i := range t.Params().Len() {
		if i > 0 {
			b.WriteString(", ")
		}
		pt := t.Params().At(i).Type()
		if t.Variadic() && i == t.Params().Len()-1 {
			b.WriteString("...")
			pt = pt.(*types.Slice).Elem()
		}
		b.write(pt)
	}
	b.WriteString(")")
	if t.Results().Len() == 0 {
		return
	}
	b.WriteString(" (")
	for i := range t.Results().Len() {
		if i > 0 {
			b.WriteString(", ")
		}
		b.write(t.Results().At(i).Type())
	}
	b.WriteByte(')')
}

func (b *typeWriter) writeStruct(t *types.Struct) {
	b.WriteString("struct{")
	for i := range t.NumFields() {
		if i > 0 {
			b.WriteString("; ")
		}
		f := t.Field(i)
		if !f.Embedded() {
			b.WriteString(f.Name() + " ")
		}
		b.write(f.Type())
		if t.Tag(i) != "" {
			b.WriteString(" " + strconv.Quote(t.Tag(i)))
		}
	}
	b.WriteByte('}')
}

func (b *typeWriter) writeInterface(t *types.Interface) {
	if t.NumExplicitMethods() == 0 && t.NumEmbeddeds() == 0 {
		b.WriteString("any")
		return
	}
	b.WriteString("interface{")
	for i := range t.NumExplicitMethods() {
		if i > 0 {
			b.WriteString("; ")
		}
		f := t.ExplicitMethod(i)
		b.WriteString(f.Name())
		b.writeSignature(f.Signature())
	}
	for i := range t.NumEmbeddeds() {
		if i > 0 || t.NumExplicitMethods() > 0 {
			b.WriteString("; ")
		}
		b.write(t.EmbeddedType(i))
	}
	b.WriteByte('}')
}

func (m *mono) writeNamed(b *typeWriter, t *types.Named, sc *scope) {
	o := t.Obj()
	if t.TypeArgs().Len() == 0 {
		if o.Pkg() != nil && o.Pkg().Path() != "main" {
			b.WriteString(m.alias(o.Pkg()) + ".")
		}
		b.WriteString(o.Name())
		return
	}
	if o.Pkg().Path() == "iter" { // iter.Seq and Seq2 have no methods: their form will do
		b.write(t.Underlying())
		return
	}
	var args []string
	for a := range t.TypeArgs().Types() {
		args = append(args, m.typeText(a, sc))
	}
	b.WriteString(m.request(m.home(o, sc), o.Name(), args))
}

// stripPos sets all positions in a tree to pos.
func stripPos(n ast.Node, pos token.Pos) {
	ast.Inspect(n, func(n ast.Node) bool {
		if n == nil {
			return false
		}
		v := reflect.ValueOf(n).Elem()
		for i := range v.NumField() {
			if f := v.Field(i); f.Type() == posType && f.CanSet() && (f.Int() != 0) {
				f.SetInt(int64(pos))
			}
		}
		return true
	})
}

var posType = reflect.TypeFor[token.Pos]()
