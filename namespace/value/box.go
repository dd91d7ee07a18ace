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
	// Types gives the named types declared in the interpreter.
	Types func() []*types.Named
	// Wrap gives what the interpreter makes of a value v of static type t that
	// is assigned to an interface of the standard library.
	Wrap func(iface, t types.Type, v reflect.Value) (reflect.Value, error)
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
	if isWrapper(v.Type()) {
		return b.unwrap(v)
	}
	if !isStandIn(v.Type()) {
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

// isWrapper tells whether a type is one of those that give interpreted values
// the methods of an interface of the standard library: a field IValue with the
// value, and a field for each method.
func isWrapper(rt reflect.Type) bool {
	return rt.Kind() == reflect.Struct && strings.HasPrefix(rt.Name(), "_") && strings.Contains(rt.PkgPath(), "yaegi") &&
		rt.NumField() > 1 && rt.Field(0).Name == "IValue"
}

// unwrap looks into a wrapper. It has the value but not its type, which is that
// of the namespace with these methods and this shape; of structs, the
// interpreter keeps a part only. What could be two types is refused.
func (b *Boxer) unwrap(w reflect.Value) (types.Type, reflect.Value, error) {
	v := w.Field(0).Elem()
	if b.Types == nil || !v.IsValid() {
		return nil, w, errUnknownContent
	}
	b.Aliased = true // its methods are bound to a place in the interpreter that others write to
	var found []types.Type
	lost := ""
	for _, n := range b.Types() {
		for _, t := range [...]types.Type{n, types.NewPointer(n)} {
			switch {
			case types.IsInterface(n) || !hasMethods(t, w.Type()):
			case fits(t, v.Type()):
				found = append(found, t)
			case t == types.Type(n) && partFits(n, v.Type()):
				lost = n.Obj().Name()
			}
		}
	}
	switch {
	case len(found) == 1 && lost == "":
		return found[0], v, nil
	case len(found) == 0 && lost != "":
		return nil, w, fmt.Errorf("a struct of type %s in an interface of the standard library, of which the interpreter keeps a part only: use a pointer", lost)
	case len(found) == 0:
		return nil, w, errUnknownContent
	}
	names := make([]string, 0, len(found)+1)
	for _, t := range found {
		names = append(names, shortType(t))
	}
	if lost != "" {
		names = append(names, lost)
	}
	return nil, w, fmt.Errorf("of type %s in an interface of the standard library, in which the interpreter does not tell types of one shape apart", strings.Join(names, " or "))
}

func shortType(t types.Type) string {
	return types.TypeString(t, func(*types.Package) string { return "" })
}

// hasMethods tells whether a type has the methods that a wrapper has fields for.
func hasMethods(t types.Type, wrapper reflect.Type) bool {
	set := types.NewMethodSet(t)
	for i := 1; i < wrapper.NumField(); i++ {
		if set.Lookup(nil, strings.TrimPrefix(wrapper.Field(i).Name, "W")) == nil {
			return false
		}
	}
	return true
}

// fits tells whether the interpreter keeps a value of a static type whole, as
// an rt, in a wrapper.
func fits(t types.Type, rt reflect.Type) bool {
	if s, ok := t.Underlying().(*types.Struct); ok && s.NumFields() > 0 {
		return false
	}
	return planOf(t, rt).kind != kRefused && samePointed(t, rt)
}

// samePointed looks behind pointers, where plans may refuse without the plan of
// the pointer being refused.
func samePointed(t types.Type, rt reflect.Type) bool {
	p, ok := t.Underlying().(*types.Pointer)
	return !ok || planOf(p.Elem(), rt.Elem()).kind != kRefused
}

// partFits tells whether an rt may be what the interpreter keeps of a struct:
// its last field that is not a nil interface.
func partFits(t types.Type, rt reflect.Type) bool {
	s, ok := t.Underlying().(*types.Struct)
	if !ok {
		return false
	}
	last := s.NumFields() - 1
	return last >= 0 && (types.IsInterface(s.Field(last).Type()) || planOf(s.Field(last).Type(), rt).kind != kRefused)
}

// Box implements Engine.
func (b *Boxer) Box(iface types.Type, rt reflect.Type, t types.Type, v reflect.Value) (reflect.Value, error) {
	if rt.Kind() == reflect.Interface && rt.NumMethod() > 0 {
		if iface == nil && rt == errorType { // of a type of the standard library
			iface = types.Universe.Lookup("error").Type()
		}
		if b.Wrap == nil || iface == nil {
			return reflect.Value{}, errors.New("the engine cannot put it into an interface of the standard library")
		}
		return b.Wrap(iface, t, v)
	}
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
