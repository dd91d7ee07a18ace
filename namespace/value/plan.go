package value

import (
	"fmt"
	"go/types"
	"reflect"
	"strconv"
	"strings"
	"sync"
)

// kind is the shape of a type, as written in type descriptors. The numbers are
// part of the byte format.
type kind uint8

const (
	kInvalid kind = iota
	kBool
	kInt
	kInt8
	kInt16
	kInt32
	kInt64
	kUint
	kUint8
	kUint16
	kUint32
	kUint64
	kUintptr
	kFloat32
	kFloat64
	kComplex64
	kComplex128
	kString
	kUnsafePointer
	kArray
	kSlice
	kStruct
	kPointer
	kMap
	kInterface
	kFunc
	kChan
	kOpaque  // a standard library type with an encoding of its own
	kRefused // a type of which no value can be kept
	kindEnd
)

var kindNames = [...]string{"invalid", "bool", "int", "int8", "int16", "int32", "int64", "uint", "uint8", "uint16",
	"uint32", "uint64", "uintptr", "float32", "float64", "complex64", "complex128", "string", "unsafe.Pointer"}

// maxPlanTypes bounds the types reachable from one static type, in types.
const maxPlanTypes = 4096

// plan is a type compiled for the codec: where its parts lie in memory and how
// they are written. Plans are immutable once built and shared by goroutines.
type plan struct {
	kind    kind
	id      string // canonical text of the type: equal ids mean identical types
	pkg     string // import path, of a named type
	name    string // with type arguments; "" for an unnamed type
	rt      reflect.Type
	typ     types.Type // nil when only the reflect type is known
	size    uintptr
	min     int  // least encoded size in bytes; the bound of what Decode allocates
	depth   int  // levels of arrays and structs
	refs    bool // has parts which must be walked before they can be written
	len     int  // of an array
	key     *plan
	elem    *plan
	fields  []field
	opaque  *opaque
	reason  string // why a kRefused cannot be kept
	standIn bool   // an interface the engine holds as a struct of its own
	unnamed bool   // only while building: a type without name, whose id is not known yet

	tableOnce sync.Once
	table     *typeTable

	findOnce sync.Once
	lost     string // see unfindable
}

type field struct {
	name     string
	tag      string
	embedded bool
	offset   uintptr
	plan     *plan
}

type planKey struct {
	t  types.Type
	rt reflect.Type
}

// maxCachedPlans bounds the cache of plans, in plans; a full cache is dropped. A plan keeps its static type, and
// that all types of the namespace it was checked in: kilobytes each when types are redefined often.
const maxCachedPlans = 1024

// planCache remembers plans. A namespace keeps its static types between cells,
// so that a hit is the rule.
type planCache struct {
	mu    sync.RWMutex
	plans map[planKey]*plan
}

var plans = planCache{plans: map[planKey]*plan{}}

func (c *planCache) get(k planKey) *plan {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.plans[k]
}

// Forget drops what the package remembers of types, for when many of them will not come again: it is made again
// when needed. It may be called at any time.
func Forget() {
	plans.mu.Lock()
	defer plans.mu.Unlock()
	clear(plans.plans)
}

func (c *planCache) put(k planKey, p *plan) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.plans) >= maxCachedPlans {
		clear(c.plans)
	}
	c.plans[k] = p
}

// planOf compiles static type t, of which a variable is held as rt.
func planOf(t types.Type, rt reflect.Type) *plan {
	if b, ok := t.(*types.Basic); ok {
		if p := basicPlans[b.Kind()]; p != nil && p.rt == rt {
			return p
		}
	}
	k := planKey{t, rt}
	if p := plans.get(k); p != nil {
		return p
	}
	b := builder{memo: map[planKey]*plan{}}
	p := b.static(t, rt)
	plans.put(k, p)
	return p
}

// planOfReflect compiles a type of which only the reflect type is known: what
// interfaces hold.
func planOfReflect(rt reflect.Type) *plan {
	k := planKey{nil, rt}
	if p := plans.get(k); p != nil {
		return p
	}
	b := builder{memo: map[planKey]*plan{}}
	p := b.reflected(rt)
	plans.put(k, p)
	return p
}

var basicKinds = map[types.BasicKind]kind{
	types.Bool: kBool, types.Int: kInt, types.Int8: kInt8, types.Int16: kInt16, types.Int32: kInt32, types.Int64: kInt64,
	types.Uint: kUint, types.Uint8: kUint8, types.Uint16: kUint16, types.Uint32: kUint32, types.Uint64: kUint64,
	types.Uintptr: kUintptr, types.Float32: kFloat32, types.Float64: kFloat64, types.Complex64: kComplex64,
	types.Complex128: kComplex128, types.String: kString, types.UnsafePointer: kUnsafePointer,
}

var reflectKinds = map[reflect.Kind]kind{
	reflect.Bool: kBool, reflect.Int: kInt, reflect.Int8: kInt8, reflect.Int16: kInt16, reflect.Int32: kInt32,
	reflect.Int64: kInt64, reflect.Uint: kUint, reflect.Uint8: kUint8, reflect.Uint16: kUint16, reflect.Uint32: kUint32,
	reflect.Uint64: kUint64, reflect.Uintptr: kUintptr, reflect.Float32: kFloat32, reflect.Float64: kFloat64,
	reflect.Complex64: kComplex64, reflect.Complex128: kComplex128, reflect.String: kString,
	reflect.UnsafePointer: kUnsafePointer, reflect.Array: kArray, reflect.Slice: kSlice, reflect.Struct: kStruct,
	reflect.Pointer: kPointer, reflect.Map: kMap, reflect.Interface: kInterface, reflect.Func: kFunc, reflect.Chan: kChan,
}

// basicTypes are the reflect types of the unnamed basic kinds.
var basicTypes = [kUnsafePointer + 1]reflect.Type{
	kBool: reflect.TypeFor[bool](), kInt: reflect.TypeFor[int](), kInt8: reflect.TypeFor[int8](),
	kInt16: reflect.TypeFor[int16](), kInt32: reflect.TypeFor[int32](), kInt64: reflect.TypeFor[int64](),
	kUint: reflect.TypeFor[uint](), kUint8: reflect.TypeFor[uint8](), kUint16: reflect.TypeFor[uint16](),
	kUint32: reflect.TypeFor[uint32](), kUint64: reflect.TypeFor[uint64](), kUintptr: reflect.TypeFor[uintptr](),
	kFloat32: reflect.TypeFor[float32](), kFloat64: reflect.TypeFor[float64](), kComplex64: reflect.TypeFor[complex64](),
	kComplex128: reflect.TypeFor[complex128](), kString: reflect.TypeFor[string](),
}

var (
	anyType   = reflect.TypeFor[any]()
	errorType = reflect.TypeFor[error]()
)

// basicPlans are the plans of the predeclared types, by their number in go/types.
var basicPlans = func() (a [types.UnsafePointer + 1]*plan) {
	for bk, k := range basicKinds {
		if k == kUnsafePointer {
			continue
		}
		p := &plan{kind: k, id: kindNames[k], rt: basicTypes[k], typ: types.Typ[bk]}
		p.finish()
		a[bk] = p
	}
	return a
}()

// builder compiles one type and those it mentions.
type builder struct {
	memo map[planKey]*plan
	// before compiles types as they were before they grew.
	before bool
	grew   bool // one of those was met
}

// grown are the struct types that have got fields, behind those they had, since
// variables of them were first kept: by id, how many they had.
var grown = map[string]int{"farm.Task": 11}

// plansBefore compiles the types of roots as they were before those of grown grew, nil
// when they mention none of them. What was read by such a plan has zero in the new
// fields.
func plansBefore(roots []Root) (pls []*plan) {
	b := builder{memo: map[planKey]*plan{}, before: true}
	for _, r := range roots {
		pls = append(pls, b.static(r.Type, r.Value.Type()))
	}
	if !b.grew {
		return nil
	}
	return pls
}

func (b *builder) refuse(p *plan, id, reason string) *plan {
	p.kind, p.id, p.reason = kRefused, id, reason
	p.elem, p.key, p.fields, p.opaque = nil, nil, nil, nil
	return p
}

func (b *builder) static(t types.Type, rt reflect.Type) *plan {
	t = types.Unalias(t)
	k := planKey{t, rt}
	if p := b.memo[k]; p != nil {
		return p
	}
	p := &plan{rt: rt, typ: t, size: rt.Size(), id: typeID(t)}
	b.memo[k] = p
	if len(b.memo) > maxPlanTypes {
		return b.refuse(p, p.id, fmt.Sprintf("of a type that mentions more than %d types", maxPlanTypes))
	}
	defer p.finish()
	if n, ok := t.(*types.Named); ok {
		if q := b.named(p, n); q != nil {
			return q
		}
	}
	b.fill(p, t.Underlying())
	return p
}

// named fills in the name of a named type, and the whole plan when the type is
// native to this process.
func (b *builder) named(p *plan, n *types.Named) *plan {
	obj := n.Obj()
	if obj.Pkg() == nil { // error, comparable
		p.name = obj.Name()
		return nil
	}
	p.pkg, p.name = obj.Pkg().Path(), strings.TrimPrefix(p.id, obj.Pkg().Path()+".")
	if isLocal(obj) {
		return b.refuse(p, p.id, "of type "+obj.Name()+", which is declared inside a function")
	}
	base, _, _ := strings.Cut(p.rt.Name(), "[")
	if p.rt.PkgPath() == p.pkg && base == obj.Name() && p.pkg != declaredPath {
		q := b.reflected(p.rt)
		*p = plan{kind: q.kind, id: p.id, pkg: p.pkg, name: p.name, rt: q.rt, typ: n, size: q.size, len: q.len,
			key: q.key, elem: q.elem, fields: q.fields, opaque: q.opaque, reason: q.reason}
		return p
	}
	return nil
}

// declaredPath is the import path of types that a namespace declares, also where an engine makes Go types of
// that path for them: their static types know more.
const declaredPath = "main"

// isLocal tells whether a type is declared inside a function.
func isLocal(o *types.TypeName) bool {
	return o.Pkg() != nil && o.Parent() != nil && o.Parent() != o.Pkg().Scope()
}

// fill compiles the underlying type u of p.
func (b *builder) fill(p *plan, u types.Type) {
	want := reflect.Invalid
	switch u := u.(type) {
	case *types.Basic:
		p.kind = basicKinds[u.Kind()]
		if p.kind == kInvalid || reflectKinds[p.rt.Kind()] != p.kind {
			b.mismatch(p)
		}
		return
	case *types.Signature:
		p.kind = kFunc
		if p.rt.Kind() != reflect.Func && p.rt.Kind() != reflect.Pointer {
			b.mismatch(p)
		}
		return
	case *types.Interface:
		p.kind = kInterface
		p.standIn = isStandIn(p.rt)
		if p.rt.Kind() != reflect.Interface && !p.standIn {
			b.mismatch(p)
		}
		return
	case *types.Array:
		want, p.kind, p.len = reflect.Array, kArray, int(u.Len())
	case *types.Slice:
		want, p.kind = reflect.Slice, kSlice
	case *types.Pointer:
		want, p.kind = reflect.Pointer, kPointer
	case *types.Map:
		want, p.kind = reflect.Map, kMap
	case *types.Struct:
		want, p.kind = reflect.Struct, kStruct
	case *types.Chan:
		want, p.kind = reflect.Chan, kChan
	}
	if p.rt.Kind() != want || want == reflect.Invalid {
		b.mismatch(p)
		return
	}
	b.parts(p, u)
}

// parts compiles what a composite type is made of.
func (b *builder) parts(p *plan, u types.Type) {
	switch u := u.(type) {
	case *types.Array:
		if p.rt.Len() != p.len {
			b.mismatch(p)
			return
		}
		p.elem = b.static(u.Elem(), p.rt.Elem())
	case *types.Slice:
		p.elem = b.static(u.Elem(), p.rt.Elem())
	case *types.Pointer:
		p.elem = b.static(u.Elem(), p.rt.Elem())
	case *types.Map:
		p.key = b.static(u.Key(), p.rt.Key())
		p.elem = b.static(u.Elem(), p.rt.Elem())
	case *types.Struct:
		if p.rt.NumField() != u.NumFields() {
			b.mismatch(p)
			return
		}
		n := u.NumFields()
		if had, ok := grown[p.id]; ok && b.before {
			n, b.grew = had, true
		}
		for i := range n {
			f, rf := u.Field(i), p.rt.Field(i)
			p.fields = append(p.fields, field{f.Name(), u.Tag(i), f.Embedded(), rf.Offset, b.static(f.Type(), rf.Type)})
		}
	}
}

// mismatch refuses a variable whose memory is not of its static type; engines
// have such bugs, and guessing would corrupt the value.
func (b *builder) mismatch(p *plan) {
	b.refuse(p, p.id, fmt.Sprintf("a %s which the engine holds as a Go %v", p.id, p.rt))
}

// isStandIn tells whether an engine holds an interface as a struct of its own.
func isStandIn(rt reflect.Type) bool {
	return rt.Kind() == reflect.Struct && rt.Name() == "valueInterface" && strings.HasSuffix(rt.PkgPath(), "/interp")
}

// reflected compiles a type from its reflect type alone.
func (b *builder) reflected(rt reflect.Type) *plan {
	k := planKey{nil, rt}
	if p := b.memo[k]; p != nil {
		if p.unnamed { // only an engine makes these: Go has no recursive type without a name
			return b.refuse(&plan{rt: rt}, "recursive", "of a recursive type without a name")
		}
		return p
	}
	p := &plan{rt: rt, size: rt.Size(), kind: reflectKinds[rt.Kind()]}
	b.memo[k] = p
	defer p.finish()
	if len(b.memo) > maxPlanTypes {
		return b.refuse(p, rt.String(), fmt.Sprintf("of a type that mentions more than %d types", maxPlanTypes))
	}
	switch {
	case isStandIn(rt):
		return b.refuse(p, rt.String(), "of a type declared in a cell, in an interface that does not tell which")
	case rt == errorType:
		p.id, p.name = "error", "error"
		return p
	case rt.PkgPath() != "" && rt.Name() != "":
		p.pkg, p.name = rt.PkgPath(), rt.Name()
		p.id = p.pkg + "." + p.name
		if native(p) {
			return p
		}
	default:
		p.unnamed = true
	}
	b.reflectedParts(p)
	if p.kind != kRefused && p.unnamed {
		p.id = unnamedID(p)
	}
	p.unnamed = false
	return p
}

func (b *builder) reflectedParts(p *plan) {
	rt := p.rt
	switch p.kind {
	case kArray:
		p.len = rt.Len()
		p.elem = b.reflected(rt.Elem())
	case kSlice, kPointer:
		p.elem = b.reflected(rt.Elem())
	case kMap:
		p.key = b.reflected(rt.Key())
		p.elem = b.reflected(rt.Elem())
	case kStruct:
		for i := range rt.NumField() {
			f := rt.Field(i)
			p.fields = append(p.fields, field{f.Name, string(f.Tag), f.Anonymous, f.Offset, b.reflected(f.Type)})
		}
	}
}

// finish computes what follows from the parts. Parts held by reference may not
// be finished yet, and do not matter here.
func (p *plan) finish() {
	p.size = p.rt.Size()
	switch p.kind {
	case kFloat32:
		p.min = 4
	case kFloat64, kComplex64:
		p.min = 8
	case kComplex128:
		p.min = 16
	case kArray:
		p.min, p.refs, p.depth = p.len*p.elem.min, p.elem.refs && p.len > 0, p.elem.depth+1
	case kStruct:
		p.min = 0
		for _, f := range p.fields {
			p.min += f.plan.min
			p.refs = p.refs || f.plan.refs
			p.depth = max(p.depth, f.plan.depth)
		}
		p.depth++
	case kPointer, kSlice, kMap, kInterface, kFunc, kChan, kUnsafePointer, kRefused:
		p.min, p.refs = 1, true
	case kOpaque:
		p.min, p.refs = 1, p.opaque.check != nil
	default:
		p.min = 1
	}
}

// typeID gives the canonical text of a static type: equal for identical types,
// different for others, with import paths in full.
func typeID(t types.Type) string {
	switch t := types.Unalias(t).(type) {
	case *types.Basic:
		if k := basicKinds[t.Kind()]; k != kInvalid {
			return kindNames[k]
		}
	case *types.Named:
		return namedID(t)
	case *types.Pointer:
		return "*" + typeID(t.Elem())
	case *types.Slice:
		return "[]" + typeID(t.Elem())
	case *types.Array:
		return "[" + strconv.FormatInt(t.Len(), 10) + "]" + typeID(t.Elem())
	case *types.Map:
		return "map[" + typeID(t.Key()) + "]" + typeID(t.Elem())
	case *types.Struct:
		var sb structID
		for i := range t.NumFields() {
			f := t.Field(i)
			sb.field(f.Name(), t.Tag(i), f.Embedded(), typeID(f.Type()))
		}
		return sb.String()
	case *types.Interface:
		if t.Empty() {
			return "any"
		}
	}
	return types.TypeString(t, func(p *types.Package) string { return p.Path() })
}

func namedID(n *types.Named) string {
	id := n.Obj().Name()
	if p := n.Obj().Pkg(); p != nil {
		id = p.Path() + "." + id
	}
	if n.TypeArgs().Len() == 0 {
		return id
	}
	args := make([]string, n.TypeArgs().Len())
	for i := range args {
		args[i] = typeID(n.TypeArgs().At(i))
	}
	return id + "[" + strings.Join(args, ",") + "]"
}

// unnamedID is typeID for a plan made from a reflect type.
func unnamedID(p *plan) string {
	switch p.kind {
	case kPointer:
		return "*" + p.elem.id
	case kSlice:
		return "[]" + p.elem.id
	case kArray:
		return "[" + strconv.Itoa(p.len) + "]" + p.elem.id
	case kMap:
		return "map[" + p.key.id + "]" + p.elem.id
	case kStruct:
		var sb structID
		for _, f := range p.fields {
			sb.field(f.name, f.tag, f.embedded, f.plan.id)
		}
		return sb.String()
	case kInterface:
		if p.rt == anyType {
			return "any"
		}
	case kFunc, kChan:
	default:
		return kindNames[p.kind]
	}
	return p.rt.String()
}

type structID struct{ b strings.Builder }

func (s *structID) field(name, tag string, embedded bool, typ string) {
	if s.b.Len() > 0 {
		s.b.WriteString("; ")
	}
	if !embedded {
		s.b.WriteString(name + " ")
	}
	s.b.WriteString(typ)
	if tag != "" {
		s.b.WriteString(" " + strconv.Quote(tag))
	}
}

func (s *structID) String() string { return "struct{" + s.b.String() + "}" }
