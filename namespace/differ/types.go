package differ

import (
	"fmt"
	"strings"
)

type kind int

const (
	kInt kind = iota // also unsigned
	kFloat
	kComplex
	kString
	kBool
	kSlice
	kArray
	kMap
	kStruct
	kPointer // to a struct
	kFunc    // of one result
	kAny
	kIface // with the method M
)

// typ is a type of a program.
type typ struct {
	kind   kind
	text   string
	bits   int  // of an integer or floating-point number
	signed bool // of an integer
	n      int  // elements of an array
	key    *typ
	elem   *typ // the result of a function
	params []*typ
	fields []field
	byPtr  bool // a struct whose method M has a pointer receiver
}

type field struct {
	name string
	t    *typ
}

var (
	tInt    = &typ{kind: kInt, text: "int", bits: 64, signed: true}
	tString = &typ{kind: kString, text: "string"}
	tBool   = &typ{kind: kBool, text: "bool"}
	tAny    = &typ{kind: kAny, text: "any"}

	ints = []*typ{
		tInt, tInt,
		{kind: kInt, text: "int8", bits: 8, signed: true}, {kind: kInt, text: "int16", bits: 16, signed: true},
		{kind: kInt, text: "int32", bits: 32, signed: true}, {kind: kInt, text: "int64", bits: 64, signed: true},
		{kind: kInt, text: "uint8", bits: 8}, {kind: kInt, text: "uint16", bits: 16}, {kind: kInt, text: "uint32", bits: 32},
		{kind: kInt, text: "uint64", bits: 64}, {kind: kInt, text: "uint", bits: 64},
	}
	floats = []*typ{{kind: kFloat, text: "float64", bits: 64}, {kind: kFloat, text: "float32", bits: 32}}
	others = []*typ{tString, tString, tBool, {kind: kComplex, text: "complex128"}}
)

func sliceOf(t *typ) *typ { return &typ{kind: kSlice, text: "[]" + t.text, elem: t} }

func arrayOf(n int, t *typ) *typ {
	return &typ{kind: kArray, text: fmt.Sprintf("[%d]%s", n, t.text), elem: t, n: n}
}

func mapOf(k, t *typ) *typ {
	return &typ{kind: kMap, text: "map[" + k.text + "]" + t.text, key: k, elem: t}
}

func pointerTo(t *typ) *typ { return &typ{kind: kPointer, text: "*" + t.text, elem: t} }

func funcOf(result *typ, params ...*typ) *typ {
	var list []string
	for _, p := range params {
		list = append(list, p.text)
	}
	return &typ{kind: kFunc, text: "func(" + strings.Join(list, ", ") + ") " + result.text, elem: result, params: params}
}

// comparable says that == is for values of the type.
func (t *typ) comparable() bool {
	switch t.kind {
	case kSlice, kMap, kFunc:
		return false
	case kArray:
		return t.elem.comparable()
	case kStruct:
		for _, f := range t.fields {
			if !f.t.comparable() {
				return false
			}
		}
	}
	return true
}

// shown says that fmt prints values of the type without addresses.
func (t *typ) shown() bool {
	switch t.kind {
	case kFunc, kAny, kIface, kPointer:
		return false
	case kSlice, kArray:
		return t.elem.shown()
	case kMap:
		return t.key.shown() && t.elem.shown()
	case kStruct:
		for _, f := range t.fields {
			if !f.t.shown() {
				return false
			}
		}
	}
	return true
}

// simple is a type of numbers, strings and bools.
func (g *gen) simple() *typ {
	switch g.n(5) {
	case 0:
		return pick(g.choices, floats...)
	case 1:
		return pick(g.choices, others...)
	case 2:
		if len(g.named) > 0 {
			return pick(g.choices, g.named...)
		}
	}
	return pick(g.choices, ints...)
}

// anyType is a type of any kind, of at most d constructors.
func (g *gen) anyType(d int) *typ {
	if d == 0 || g.one(2) {
		return g.simple()
	}
	switch g.n(8) {
	case 0, 1:
		return sliceOf(g.anyType(d - 1))
	case 2:
		return arrayOf(1+g.n(4), g.anyType(d-1))
	case 3:
		return mapOf(g.keyType(), g.anyType(d-1))
	case 4, 5:
		if len(g.structs) > 0 {
			s := pick(g.choices, g.structs...)
			if g.one(3) {
				return pointerTo(s)
			}
			return s
		}
	case 6:
		if g.one(2) && len(g.structs) > 0 {
			return g.iface
		}
		return tAny
	case 7:
		return funcOf(g.simple(), g.simple())
	}
	return g.simple()
}

func (g *gen) keyType() *typ {
	if g.one(4) {
		for _, s := range g.structs {
			if s.comparable() && s.shown() && !s.has(kFloat) && !s.has(kComplex) {
				return s
			}
		}
	}
	return pick(g.choices, tString, tInt, ints[6], ints[3], tBool)
}

// has says that a struct or array holds something of a kind.
func (t *typ) has(k kind) bool {
	if t.kind == k || t.kind == kArray && t.elem.has(k) {
		return true
	}
	for _, f := range t.fields {
		if f.t.has(k) {
			return true
		}
	}
	return false
}
