package value

import (
	"errors"
	"fmt"
	"go/types"
	"reflect"
	"strings"
	"unsafe"
)

// Boxer is an Engine for yaegi v0.16, which keeps values of interpreted types
// in interfaces as a struct of a syntax tree node, that knows the type, and the
// value. It reads and makes such structs by reflection on their private fields
// and does not need the interpreter's package; whatever does not look as
// expected is refused. A Boxer is used by one goroutine at a time.
type Boxer struct {
	// Type finds a named type declared in the interpreter, nil if there is none.
	Type func(pkg, name string) types.Type
	// Donor gives some interface content which the interpreter made from a
	// value of static type t: an element of []any{v}. Its node is reused.
	Donor func(t types.Type) (reflect.Value, error)
	// Aliased is set when a value met in an interface is the memory of some
	// variable: the interpreter does not always copy what is assigned to an
	// interface. Encoded it is a copy, as it must be; in memory it is not.
	Aliased bool

	donors map[string]reflect.Value
}

// errUnknownContent is returned for interface content of which the type cannot
// be told.
var errUnknownContent = errors.New("of a type declared in a cell, in an interface that does not tell which")

// Unbox implements Engine.
func (b *Boxer) Unbox(_ types.Type, v reflect.Value) (t types.Type, inner reflect.Value, err error) {
	if !isStandIn(v.Type()) {
		if strings.HasPrefix(v.Type().Name(), "_") { // a wrapper with the methods of some native interface
			return nil, v, errUnknownContent
		}
		return nil, v, nil
	}
	defer func() {
		if r := recover(); r != nil {
			err = errUnknownContent
		}
	}()
	text := ""
	for isStandIn(v.Type()) {
		node, val := standInParts(v)
		if !val.IsValid() || val.Kind() == reflect.Interface && val.IsNil() {
			return nil, reflect.Value{}, nil
		}
		text = node.Elem().FieldByName("typ").Elem().FieldByName("str").String()
		v = val
	}
	b.Aliased = b.Aliased || v.CanAddr()
	if t = b.parse(text); t == nil {
		return nil, v, errUnknownContent
	}
	if planOf(t, v.Type()).kind == kRefused {
		return nil, v, errUnknownContent
	}
	return t, v, nil
}

// standInParts gives the two fields of the struct yaegi uses.
func standInParts(v reflect.Value) (node, val reflect.Value) {
	c := reflect.New(v.Type()).Elem()
	c.Set(v)
	f := c.FieldByName("value")
	return c.FieldByName("node"), *(*reflect.Value)(unsafe.Pointer(f.UnsafeAddr()))
}

// parse understands the types that yaegi's text tells rightly: a named type or
// a pointer to one, and the predeclared types.
func (b *Boxer) parse(text string) types.Type {
	name, pointer := strings.CutPrefix(text, "*")
	pkg, base, ok := strings.Cut(name, ".")
	var t types.Type
	if ok {
		t = b.Type(pkg, base)
	} else if o, isType := types.Universe.Lookup(name).(*types.TypeName); isType {
		t, _ = o.Type().(*types.Basic)
	}
	if t == nil || reflect.ValueOf(t).IsNil() {
		return nil
	}
	if pointer {
		return types.NewPointer(t)
	}
	return t
}

// Box implements Engine.
func (b *Boxer) Box(_ types.Type, _ reflect.Type, t types.Type, v reflect.Value) (reflect.Value, error) {
	d, err := b.donor(t)
	if err != nil {
		return reflect.Value{}, err
	}
	_, val := standInParts(d)
	if val.Type() != v.Type() {
		return reflect.Value{}, fmt.Errorf("the engine holds a %v", val.Type())
	}
	c := reflect.New(d.Type()).Elem()
	c.Set(d)
	*(*reflect.Value)(unsafe.Pointer(c.FieldByName("value").UnsafeAddr())) = reflect.ValueOf(v.Interface())
	return c, nil
}

// Named implements Engine.
func (b *Boxer) Named(pkg, name string) (types.Type, reflect.Type, error) {
	t := b.Type(pkg, name)
	if t == nil {
		return nil, nil, errors.New("it is not declared")
	}
	d, err := b.donor(t)
	if err != nil {
		return nil, nil, err
	}
	_, val := standInParts(d)
	return t, val.Type(), nil
}

func (b *Boxer) donor(t types.Type) (reflect.Value, error) {
	id := typeID(t)
	if d, ok := b.donors[id]; ok {
		return d, nil
	}
	d, err := b.Donor(t)
	if err != nil {
		return reflect.Value{}, err
	}
	if d.Kind() == reflect.Interface {
		d = d.Elem()
	}
	if !d.IsValid() || !isStandIn(d.Type()) {
		return reflect.Value{}, errors.New("the engine does not keep its type")
	}
	if b.donors == nil {
		b.donors = map[string]reflect.Value{}
	}
	b.donors[id] = d
	return d, nil
}
