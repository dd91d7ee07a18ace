package value

import (
	"bytes"
	"go/token"
	"go/types"
	"reflect"
)

// dynamicTypes reads the types that only interfaces hold, and finds or makes
// their Go types.
func (d *decoder) dynamicTypes(static *typeTable) {
	n := d.int()
	if n == 0 {
		return
	}
	from := d.off
	m := typeMaker{d: d, base: len(d.plans), descs: d.readTypes(nil, n)}
	m.made = make([]*plan, n)
	read := d.data[from:d.off]
	table := newTable(static)
	for i := range n {
		pl := m.plan(m.base+i, 0)
		d.plans = append(d.plans, pl)
		table.add(pl)
	}
	if !bytes.Equal(table.data, read) {
		d.fail("a type in an interface is declared otherwise")
	}
}

// typeMaker finds the types described in encoded bytes.
type typeMaker struct {
	d     *decoder
	base  int // number of the first described type; those before are known
	descs []typeDesc
	made  []*plan
}

func (m *typeMaker) plan(i, depth int) *plan {
	if i >= m.base+len(m.descs) || depth > maxTypeDepth {
		m.d.fail("a type that does not exist")
	}
	if i < m.base {
		return m.d.plans[i]
	}
	desc := &m.descs[i-m.base]
	if pl := m.made[i-m.base]; pl != nil {
		return pl
	}
	if desc.state == 1 {
		m.d.fail("a type without a name that mentions itself")
	}
	desc.state = 1
	var pl *plan
	if desc.name != "" {
		pl = m.named(desc)
	} else if pl = m.viaEngine(i); pl == nil {
		pl = m.unnamed(desc, depth)
	}
	m.made[i-m.base] = pl
	return pl
}

func (m *typeMaker) named(desc *typeDesc) *plan {
	if desc.pkg == "" && desc.name == "error" {
		return planOfReflect(errorType)
	}
	if rt := stdTypes[desc.pkg+"."+desc.name]; rt != nil {
		return planOfReflect(rt)
	}
	if e := m.d.codec.Engine; e != nil {
		t, rt, err := e.Named(desc.pkg, desc.name)
		if err != nil {
			m.d.fail("type %s.%s: %v", desc.pkg, desc.name, err)
		}
		if t != nil {
			return planOf(t, rt)
		}
		return planOfReflect(rt)
	}
	m.d.fail("type %s.%s cannot be found", desc.pkg, desc.name)
	return nil
}

func (m *typeMaker) unnamed(desc *typeDesc, depth int) *plan {
	p := &plan{kind: desc.kind, len: desc.len}
	next := func(i int) *plan { return m.plan(i, depth+1) }
	switch desc.kind {
	case kSlice:
		p.elem = next(desc.elem)
		p.rt = reflect.SliceOf(p.elem.rt)
	case kPointer:
		p.elem = next(desc.elem)
		p.rt = reflect.PointerTo(p.elem.rt)
	case kMap:
		p.key, p.elem = next(desc.key), next(desc.elem)
		if !p.key.rt.Comparable() {
			m.d.fail("a map with keys of type %s", shortID(p.key))
		}
		p.rt = reflect.MapOf(p.key.rt, p.elem.rt)
	case kArray:
		p.elem = next(desc.elem)
		p.rt = m.arrayOf(p.len, p.elem.rt)
	case kStruct:
		m.structOf(p, desc, next)
	case kInterface:
		if desc.text != "any" {
			m.d.fail("an interface without a name")
		}
		return planOfReflect(anyType)
	default:
		if int(desc.kind) >= len(basicTypes) || basicTypes[desc.kind] == nil {
			m.d.fail("an unknown kind of type")
		}
		p.rt = basicTypes[desc.kind]
	}
	checkID(&m.d.reader, p)
	p.id = unnamedID(p)
	p.typ = staticOf(p)
	p.finish()
	return p
}

// checkID makes sure that the text of a type read from bytes stays short: types
// that mention each other twice double it at every level.
func checkID(r *reader, p *plan) {
	n := 0
	for _, f := range p.fields {
		n += len(f.plan.id) + len(f.name) + len(f.tag)
	}
	if p.key != nil {
		n += len(p.key.id)
	}
	if p.elem != nil {
		n += len(p.elem.id)
	}
	if n > maxTypeID {
		r.fail("a type of more than %d bytes of text", maxTypeID)
	}
}

// maxArrayBytes bounds arrays in interfaces, in bytes of memory.
const maxArrayBytes = 1 << 30

func (m *typeMaker) arrayOf(n int, elem reflect.Type) reflect.Type {
	if size := int(elem.Size()); size > 0 && n > maxArrayBytes/size {
		m.d.fail("an array of %d elements", n)
	}
	return reflect.ArrayOf(n, elem)
}

func (m *typeMaker) structOf(p *plan, desc *typeDesc, next func(int) *plan) {
	var fs []reflect.StructField
	for _, f := range desc.fields {
		pl := next(f.typ)
		if f.embedded || !token.IsIdentifier(f.name) || !token.IsExported(f.name) {
			m.d.fail("a struct without a name with field %q", f.name)
		}
		fs = append(fs, reflect.StructField{Name: f.name, Type: pl.rt, Tag: reflect.StructTag(f.tag)})
		p.fields = append(p.fields, field{name: f.name, tag: f.tag, plan: pl})
	}
	p.rt = m.makeStruct(fs)
	for i := range p.fields {
		p.fields[i].offset = p.rt.Field(i).Offset
	}
}

func (m *typeMaker) makeStruct(fs []reflect.StructField) (t reflect.Type) {
	defer func() { // StructOf has no other way to say that it does not like the fields
		if r := recover(); r != nil {
			m.d.fail("a struct type that cannot be made: %v", r)
		}
	}()
	size := uintptr(0)
	for _, f := range fs {
		if size += f.Type.Size(); size > maxArrayBytes {
			m.d.fail("a struct of %d bytes", size)
		}
	}
	return reflect.StructOf(fs)
}

// staticOf makes the static type of a plan from those of its parts, or nil when
// they have none.
func staticOf(p *plan) types.Type {
	switch {
	case p.kind <= kString:
		for bk, k := range basicKinds {
			if k == p.kind {
				return types.Typ[bk]
			}
		}
	case p.elem == nil || p.elem.typ == nil:
	case p.kind == kPointer:
		return types.NewPointer(p.elem.typ)
	case p.kind == kSlice:
		return types.NewSlice(p.elem.typ)
	case p.kind == kArray:
		return types.NewArray(p.elem.typ, int64(p.len))
	case p.kind == kMap && p.key.typ != nil:
		return types.NewMap(p.key.typ, p.elem.typ)
	}
	return nil
}

// unfindable names a type inside this one that a restoring process could not
// find, or "".
func (pl *plan) unfindable() string {
	pl.findOnce.Do(func() { pl.lost = pl.findLost() })
	return pl.lost
}

func (pl *plan) findLost() string {
	if pl.name != "" {
		if rt, known := stdTypes[pl.id]; known && rt == pl.rt || pl.rt == errorType {
			return ""
		}
		return pl.id
	}
	switch pl.kind {
	case kArray, kSlice, kPointer:
		return pl.elem.unfindable()
	case kMap:
		if lost := pl.key.unfindable(); lost != "" {
			return lost
		}
		return pl.elem.unfindable()
	case kStruct:
		for _, f := range pl.fields {
			if f.embedded || !token.IsExported(f.name) {
				return shortID(pl)
			}
			if lost := f.plan.unfindable(); lost != "" {
				return lost
			}
		}
	case kInterface:
		if pl.rt != anyType {
			return shortID(pl)
		}
	case kFunc, kChan, kRefused, kUnsafePointer:
		return shortID(pl)
	}
	return ""
}
