package value

import (
	"encoding/json"
	"go/token"
	"go/types"
	"reflect"
	"slices"
	"strings"
	"unsafe"
)

// Func is a function value: the code that it runs and what it has captured.
type Func struct {
	Name     string     // of the code: the same code in every process that has the namespace
	Decls    []string   // names of what it needs of the declarations of the namespace: f, T, T.M
	Captured []Captured // in an order that hangs on the code alone
}

// Captured is what a function has captured: mostly a pointer to a variable, which others may share.
type Captured struct {
	Name  string // for messages
	Type  types.Type
	Value reflect.Value // addressable, a copy
}

// FuncEngine is an Engine that can keep function values. For that it must find any type.
type FuncEngine interface {
	Engine
	// Func describes a function value, given as it lies in memory, not nil. The text of an error is
	// the reason to refuse it: "a function ...".
	Func(word unsafe.Pointer) (Func, error)
	// MakeFunc makes the value of reflect type rt that runs the code of that name, with what it
	// has captured, as Func gave it.
	MakeFunc(rt reflect.Type, name string, captured []reflect.Value) (unsafe.Pointer, error)
	// TypeOf finds a type by its text, with import paths in full.
	TypeOf(text string) (types.Type, reflect.Type, error)
}

// tagFunc begins a function value: its name, and what it has captured, each as its type and value.
const tagFunc = 6

func (g *graph) function(word unsafe.Pointer) (Func, error) {
	e, ok := g.engine.(FuncEngine)
	if !ok {
		return Func{}, g.refuse("a func value")
	}
	f, err := e.Func(word)
	if err != nil {
		return Func{}, g.refuse("%s", err.Error())
	}
	return f, nil
}

// plan is that of what has been captured.
func (c *Captured) plan() *plan { return planOf(c.Type, c.Value.Type()) }

func (g *graph) walkFunc(p unsafe.Pointer, depth int) error {
	word := *(*unsafe.Pointer)(p)
	if word == nil {
		return nil
	}
	f, err := g.function(word)
	if err != nil {
		return err
	}
	for i := range f.Captured {
		c := &f.Captured[i]
		if err := g.walkValue(c.plan(), c.Value.Addr().UnsafePointer(), depth+1); err != nil {
			return at(err, "{"+c.Name+"}")
		}
	}
	return nil
}

// refInFunc is refIn for a function value.
func (g *graph) refInFunc(p unsafe.Pointer, to *region) (string, bool) {
	word := *(*unsafe.Pointer)(p)
	if word == nil {
		return "", false
	}
	f, err := g.function(word)
	if err != nil {
		return "", false
	}
	for i := range f.Captured {
		c := &f.Captured[i]
		if s, ok := g.refIn(c.plan(), c.Value.Addr().UnsafePointer(), to); ok {
			return "{" + c.Name + "}" + s, true
		}
	}
	return "", false
}

func (w *writer) function(p unsafe.Pointer, depth int) error {
	word := *(*unsafe.Pointer)(p)
	if word == nil {
		w.out = append(w.out, tagNil)
		return nil
	}
	if w.g == nil {
		return w.refuse("a func value")
	}
	f, err := w.g.function(word)
	if err != nil {
		return err
	}
	for _, n := range f.Decls {
		if !slices.Contains(w.decls, n) {
			w.decls = append(w.decls, n)
		}
	}
	w.out = appendString(append(w.out, tagFunc), f.Name)
	w.uint(uint64(len(f.Captured)))
	for i := range f.Captured {
		c := &f.Captured[i]
		pl := c.plan()
		if len(pl.id) > maxTypeID {
			return w.refuse("a function that has captured %s, of a type of more than %d bytes of text", c.Name, maxTypeID)
		}
		w.uint(uint64(w.dynamic.add(pl)))
		if err := w.value(pl, c.Value.Addr().UnsafePointer(), depth+1); err != nil {
			return at(err, "{"+c.Name+"}")
		}
	}
	return nil
}

func (d *decoder) function(pl *plan, p unsafe.Pointer, depth int) {
	switch d.byte() {
	case tagNil:
		return
	case tagFunc:
	default:
		d.fail("unknown kind of function")
	}
	e, ok := d.codec.Engine.(FuncEngine)
	if !ok {
		d.fail("a function, which takes an engine to restore")
	}
	name := d.string()
	n := d.count(1)
	captured := make([]reflect.Value, 0, min(n, d.left()))
	for range n {
		i := d.int()
		if i >= len(d.plans) || d.plans[i].kind == kRefused {
			d.fail("a function that has captured something of an unknown type")
		}
		v := reflect.New(d.plans[i].rt).Elem()
		d.value(d.plans[i], v.Addr().UnsafePointer(), depth+1)
		captured = append(captured, v)
	}
	word, err := e.MakeFunc(pl.rt, name, captured)
	if err != nil {
		d.fail("function %s: %v", name, err)
	}
	*(*unsafe.Pointer)(p) = word
}

// skipFunc reads over a function value and gives its name, "" for nil.
func (v *view) skipFunc(depth int) string {
	switch v.byte() {
	case tagNil:
		return ""
	case tagFunc:
	default:
		v.fail("unknown kind of function")
	}
	name := v.string()
	for range v.count(1) {
		t := v.int()
		if t >= len(v.descs) {
			v.fail("a function that has captured something of an unknown type")
		}
		v.skip(t, depth+1)
	}
	return name
}

// showFunc renders a function value as the code it runs.
func (v *view) showFunc() {
	name := v.skipFunc(0)
	if name == "" {
		v.put("null")
		return
	}
	b, _ := json.Marshal(name) // a string
	v.put(`{"$func":` + string(b) + `}`)
}

// viaEngine makes a type that only an engine can find: one with functions, interfaces or fields of its own
// in it. Nil when it is not one of those.
func (m *typeMaker) viaEngine(i int) *plan {
	e, ok := m.d.codec.Engine.(FuncEngine)
	if !ok || !m.special(i, 0) {
		return nil
	}
	var b strings.Builder
	m.text(&b, i, 0)
	t, rt, err := e.TypeOf(b.String())
	if err != nil {
		m.d.fail("type %s: %v", b.String(), err)
	}
	return planOf(t, rt)
}

// special says that a type without a name cannot be made of what this process has.
func (m *typeMaker) special(i, depth int) bool {
	if i < m.base || i >= m.base+len(m.descs) {
		return false
	}
	if depth > maxTypeDepth {
		m.d.fail("a type that mentions itself")
	}
	d := &m.descs[i-m.base]
	switch {
	case d.name != "":
		return false
	case d.kind == kFunc, d.kind == kChan, d.kind == kInterface && d.text != "any":
		return true
	case d.kind == kMap:
		return m.special(d.key, depth+1) || m.special(d.elem, depth+1)
	case d.kind == kSlice, d.kind == kPointer, d.kind == kArray:
		return m.special(d.elem, depth+1)
	case d.kind == kStruct:
		for _, f := range d.fields {
			if f.embedded || !token.IsExported(f.name) || m.special(f.typ, depth+1) {
				return true
			}
		}
	}
	return false
}

// text writes a type as typeID does.
func (m *typeMaker) text(b *strings.Builder, i, depth int) {
	if i >= m.base+len(m.descs) || depth > maxTypeDepth || b.Len() > maxTypeID {
		m.d.fail("a type that is too large")
	}
	if i < m.base {
		b.WriteString(m.d.plans[i].id)
		return
	}
	d := &m.descs[i-m.base]
	p := plan{kind: d.kind, len: d.len}
	of := func(i int) *plan {
		var sub strings.Builder
		m.text(&sub, i, depth+1)
		return &plan{id: sub.String()}
	}
	switch {
	case d.name != "" && d.pkg != "":
		b.WriteString(d.pkg + "." + d.name)
		return
	case d.name != "":
		b.WriteString(d.name)
		return
	case d.text != "":
		b.WriteString(d.text)
		return
	case d.kind == kMap:
		p.key, p.elem = of(d.key), of(d.elem)
	case d.kind == kSlice, d.kind == kPointer, d.kind == kArray:
		p.elem = of(d.elem)
	case d.kind == kStruct:
		for _, f := range d.fields {
			p.fields = append(p.fields, field{name: f.name, tag: f.tag, embedded: f.embedded, plan: of(f.typ)})
		}
	}
	b.WriteString(unnamedID(&p))
}
