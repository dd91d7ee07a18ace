package value

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"go/types"
	"math"
	"reflect"
	"slices"
	"strings"
	"sync"
	"unsafe"
)

// Root is one variable of a namespace.
type Root struct {
	Name  string
	Type  types.Type    // static type, the authority on what the value is
	Value reflect.Value // addressable; the variable as the engine holds it
}

// Unit is the encoding of variables that share memory; most units are one
// variable.
type Unit struct {
	Names []string // sorted
	Data  []byte
	Decls []string // names of declarations that functions in it need, sorted
}

// Engine knows how an interpreter puts values of its own types into interfaces.
// A Codec without Engine refuses such values by name. Methods are called from
// the goroutine that calls the Codec.
type Engine interface {
	// Unbox looks into an interface of static type iface. v is what the
	// interface holds, or for a struct standing in for an interface, that
	// struct. It returns the static type and the value for values of the
	// engine's own types, (nil, v, nil) for plain Go values, and (nil,
	// reflect.Value{}, nil) for an empty interface. The text of an error is
	// the reason to refuse the value: "a value of type T, which ...".
	Unbox(iface types.Type, v reflect.Value) (types.Type, reflect.Value, error)
	// Box is the inverse: it makes what an interface of static type iface
	// and reflect type rt holds when a value v of static type t is
	// assigned to it.
	Box(iface types.Type, rt reflect.Type, t types.Type, v reflect.Value) (reflect.Value, error)
	// Named finds a named type by its import path and name.
	Named(pkg, name string) (types.Type, reflect.Type, error)
}

// Codec encodes and decodes with limits and an engine. Codecs may be used by
// several goroutines when their engine may.
type Codec struct {
	Limits Limits
	Engine Engine // may be nil
}

// Encode writes variables as units, sorted by their first name. It is Encode of
// a Codec without engine.
func Encode(roots []Root, lim Limits) ([]Unit, error) { return Codec{Limits: lim}.Encode(roots) }

// Encode writes variables as units, sorted by their first name. Names must
// differ, and nothing may change the values meanwhile. Errors are
// *UnserializableError, for the first root in the order of names that cannot be
// kept, and *LimitError.
func (c Codec) Encode(roots []Root) ([]Unit, error) {
	roots, err := sorted(roots)
	if err != nil {
		return nil, err
	}
	if units, ok := encodePlain(roots, c.Limits.withDefaults()); ok {
		return units, nil
	}
	g := newGraph(c, roots)
	if err := g.walk(); err != nil {
		return nil, err
	}
	return g.units()
}

func sorted(roots []Root) ([]Root, error) {
	byName := func(a, b Root) int { return strings.Compare(a.Name, b.Name) }
	if !slices.IsSortedFunc(roots, byName) {
		roots = slices.Clone(roots)
		slices.SortFunc(roots, byName)
	}
	for i := range roots {
		if i > 0 && roots[i].Name == roots[i-1].Name {
			return nil, fmt.Errorf("value: two roots are called %q", roots[i].Name)
		}
		if !roots[i].Value.CanAddr() {
			return nil, fmt.Errorf("value: root %q is not addressable", roots[i].Name)
		}
	}
	return roots, nil
}

// encodePlain is the fast way for roots without references.
func encodePlain(roots []Root, lim Limits) ([]Unit, bool) {
	units := make([]Unit, len(roots))
	for i := range roots {
		pl := planOf(roots[i].Type, roots[i].Value.Type())
		if pl.refs {
			return nil, false
		}
		header := pl.singleTable().header
		w := writer{lim: lim, out: make([]byte, 0, len(header)+pl.min+16)}
		w.out = append(w.out, header...)
		w.out = append(w.out, 0, 0) // no dynamic types, no objects
		if err := w.value(pl, roots[i].Value.Addr().UnsafePointer(), 0); err != nil || len(w.out) > lim.MaxBytes {
			return nil, false // the slow way finds out why
		}
		units[i] = Unit{Names: []string{roots[i].Name}, Data: w.out}
	}
	return units, true
}

// units writes each group of roots.
func (g *graph) units() ([]Unit, error) {
	var units []Unit
	members := map[int][]*region{}
	var order []int
	for i, r := range g.roots {
		k := g.find(i)
		if members[k] == nil {
			order = append(order, k)
		}
		members[k] = append(members[k], r)
	}
	for _, k := range order {
		u := Unit{}
		for _, r := range members[k] {
			u.Names = append(u.Names, g.names[r.root])
		}
		w := writer{g: g, lim: g.lim, out: *takeRoom()}
		data, err := w.unit(members[k])
		if err != nil {
			return nil, g.explain(err)
		}
		giveRoom(w.out)
		u.Data, u.Decls = data, w.decls
		slices.Sort(u.Decls)
		units = append(units, u)
	}
	return units, nil
}

// maxRoom is how large a buffer may be to be kept for the next units, in bytes.
const maxRoom = 8 << 20

// rooms are buffers for the bodies of units, which are copied when they are complete.
var rooms = sync.Pool{New: func() any { return new([]byte) }}

func takeRoom() *[]byte { return rooms.Get().(*[]byte) }

func giveRoom(b []byte) {
	if cap(b) <= maxRoom {
		b = b[:0]
		rooms.Put(&b)
	}
}

// writer writes one unit.
type writer struct {
	g       *graph // nil when there are no references
	lim     Limits
	static  *typeTable
	dynamic *typeTable
	objs    []*region       // in the order of their numbers
	out     []byte          // bodies
	trial   map[*region]int // numbers of a trial encoding, see keyorder.go
	decls   []string        // that functions need
}

// unit writes the unit of the given roots, which are in the order of names.
// Objects are numbered as they are first mentioned, never by address, so that
// equal states give equal bytes.
func (w *writer) unit(roots []*region) ([]byte, error) {
	roots = slices.Clone(roots)
	pls := make([]*plan, len(roots))
	for i, r := range roots {
		pls[i] = r.pl
		r.id = i
	}
	var header []byte
	w.static, header = tableOf(pls)
	w.dynamic = newTable(w.static)
	w.objs = roots
	if err := w.bodies(); err != nil {
		return nil, err
	}
	n := len(w.objs) - len(roots)
	data := make([]byte, 0, len(header)+len(w.dynamic.data)+len(w.out)+8*n+20)
	data = append(data, header...)
	data = binary.AppendUvarint(data, uint64(len(w.dynamic.plans)))
	data = append(data, w.dynamic.data...)
	data = binary.AppendUvarint(data, uint64(n))
	for _, r := range w.objs[len(roots):] {
		i, _ := w.dynamic.lookup(r.pl)
		data = append(data, byte(r.form))
		data = binary.AppendUvarint(data, uint64(i))
		if r.form != formSingle {
			data = binary.AppendUvarint(data, uint64(r.n))
		}
	}
	data = append(data, w.out...)
	if len(data) > w.lim.MaxBytes {
		return nil, &LimitError{"MaxBytes", w.lim.MaxBytes, len(data)}
	}
	return data, nil
}

// bodies writes the objects, which grow in number while they are written. Maps
// keyed by references are written last, for their order hangs on the numbers of
// all others; their bodies still stand where their numbers say.
func (w *writer) bodies() error {
	var late []int      // numbers of maps still to be written
	var chunks [][]byte // bodies by number, once there are late ones
	for next := 0; next < len(w.objs) || len(late) > 0; {
		i := next
		if next == len(w.objs) {
			i, late = late[0], late[1:]
		} else {
			next++
			if w.objs[i].keyRefs {
				if chunks == nil {
					// All that came before in one piece; object 0 is a variable, never a map.
					chunks = append([][]byte{w.out}, make([][]byte, i-1)...)
					w.out = nil
				}
				late = append(late, i)
				chunks = append(chunks, nil)
				continue
			}
		}
		w.g.cur = w.objs[i]
		if err := w.body(w.objs[i]); err != nil {
			return err
		}
		if chunks != nil {
			if i == len(chunks) {
				chunks = append(chunks, nil)
			}
			chunks[i], w.out = w.out, nil
		}
	}
	if chunks != nil {
		w.out = bytes.Join(chunks, nil)
	}
	return nil
}

func (w *writer) body(r *region) error {
	if r.form == formMap {
		return w.entries(r)
	}
	err := w.elements(r.pl, r.p, r.n, 0)
	if err == nil && len(w.out) > w.lim.MaxBytes {
		err = &LimitError{"MaxBytes", w.lim.MaxBytes, len(w.out)}
	}
	return err
}

func (w *writer) uint(n uint64) { w.out = binary.AppendUvarint(w.out, n) }
func (w *writer) int(n int64)   { w.out = binary.AppendVarint(w.out, n) }

// elements writes n values that lie one after the other.
func (w *writer) elements(pl *plan, p unsafe.Pointer, n int, depth int) error {
	if pl.min > 0 && n > w.lim.MaxBytes/pl.min {
		return &LimitError{"MaxBytes", w.lim.MaxBytes, n * pl.min}
	}
	if pl.min == 0 {
		return nil
	}
	switch pl.kind {
	case kUint8, kInt8:
		w.out = append(w.out, unsafe.Slice((*byte)(p), n)...)
		return nil
	case kInt:
		for _, v := range unsafe.Slice((*int)(p), n) {
			w.out = binary.AppendVarint(w.out, int64(v))
		}
		return nil
	case kFloat64:
		w.floats(unsafe.Slice((*float64)(p), n))
		return nil
	case kString:
		for _, v := range unsafe.Slice((*string)(p), n) {
			w.out = appendString(w.out, v)
		}
		return nil
	}
	for i := range n {
		if err := w.value(pl, unsafe.Add(p, uintptr(i)*pl.size), depth); err != nil {
			return err
		}
		if len(w.out) > w.lim.MaxBytes {
			return &LimitError{"MaxBytes", w.lim.MaxBytes, len(w.out)}
		}
	}
	return nil
}

// littleEndian says whether floats lie in memory as they are encoded.
var littleEndian = binary.NativeEndian.Uint16([]byte{1, 0}) == 1

func (w *writer) floats(list []float64) {
	if littleEndian {
		w.out = append(w.out, unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(list))), 8*len(list))...)
		return
	}
	w.out = slices.Grow(w.out, 8*len(list))
	for _, v := range list {
		w.out = binary.LittleEndian.AppendUint64(w.out, math.Float64bits(v))
	}
}

// value writes the value of plan pl at p.
func (w *writer) value(pl *plan, p unsafe.Pointer, depth int) error {
	switch pl.kind {
	case kBool:
		w.out = appendBool(w.out, *(*bool)(p))
	case kInt:
		w.int(int64(*(*int)(p)))
	case kInt8, kUint8:
		w.out = append(w.out, *(*byte)(p))
	case kInt16:
		w.int(int64(*(*int16)(p)))
	case kInt32:
		w.int(int64(*(*int32)(p)))
	case kInt64:
		w.int(*(*int64)(p))
	case kUint:
		w.uint(uint64(*(*uint)(p)))
	case kUint16:
		w.uint(uint64(*(*uint16)(p)))
	case kUint32:
		w.uint(uint64(*(*uint32)(p)))
	case kUint64:
		w.uint(*(*uint64)(p))
	case kUintptr:
		w.uint(uint64(*(*uintptr)(p)))
	case kFloat32:
		w.out = binary.LittleEndian.AppendUint32(w.out, *(*uint32)(p))
	case kFloat64:
		w.out = binary.LittleEndian.AppendUint64(w.out, *(*uint64)(p))
	case kComplex64:
		c := (*[2]uint32)(p)
		w.out = binary.LittleEndian.AppendUint32(w.out, c[0])
		w.out = binary.LittleEndian.AppendUint32(w.out, c[1])
	case kComplex128:
		c := (*[2]uint64)(p)
		w.out = binary.LittleEndian.AppendUint64(w.out, c[0])
		w.out = binary.LittleEndian.AppendUint64(w.out, c[1])
	case kString:
		s := *(*string)(p)
		if len(s) > w.lim.MaxBytes {
			return &LimitError{"MaxBytes", w.lim.MaxBytes, len(s)}
		}
		w.out = appendString(w.out, s)
	default:
		return w.composite(pl, p, depth)
	}
	return nil
}

func (w *writer) composite(pl *plan, p unsafe.Pointer, depth int) error {
	switch pl.kind {
	case kArray:
		return w.elements(pl.elem, p, pl.len, depth+1)
	case kStruct:
		for i := range pl.fields {
			f := &pl.fields[i]
			if err := w.value(f.plan, unsafe.Add(p, f.offset), depth+1); err != nil {
				return at(err, "."+f.name)
			}
		}
	case kOpaque:
		b, err := pl.opaque.encode(p)
		if err != nil {
			return w.refuse("a %s, which cannot be encoded: %v", shortID(pl), err)
		}
		w.uint(uint64(len(b)))
		w.out = append(w.out, b...)
	case kPointer:
		return w.pointer(pl, *(*unsafe.Pointer)(p))
	case kSlice:
		return w.slice(pl, (*sliceHeader)(p))
	case kMap:
		m := *(*unsafe.Pointer)(p)
		if m == nil {
			w.out = append(w.out, tagNil)
			return nil
		}
		w.out = append(w.out, tagWhole)
		w.mention(w.g.found[regionKey{m, "", formMap}])
	case kInterface:
		return w.iface(pl, p, depth)
	case kFunc:
		return w.function(p, depth)
	case kChan, kUnsafePointer: // not nil has been refused
		w.out = append(w.out, tagNil)
	default:
		return w.refuse("%s", pl.reason)
	}
	return nil
}

func (w *writer) refuse(format string, args ...any) error {
	if w.g == nil {
		return errors.New("value: a reference where none was expected")
	}
	return w.g.refuse(format, args...)
}

// Tags of references. The numbers are part of the byte format.
const (
	tagNil      = 0
	tagWhole    = 1 // the start of an object: its number
	tagInterior = 2 // inside an object: its number and the steps
	tagEmpty    = 3 // something without memory
	tagStd      = 4 // a variable of the standard library: its name
	tagBoxed    = 5 // an interface whose content the engine boxes: type, value
)

// mention writes the number of an object and numbers it if it is new.
func (w *writer) mention(r *region) {
	if w.trial != nil && r.id < 0 {
		w.mentionTrial(r)
		return
	}
	if r.id < 0 {
		r.id = len(w.objs)
		w.objs = append(w.objs, r)
		if r.form == formMap {
			r.n = mapValue(r.pl, r.p).Len()
		}
	}
	w.uint(uint64(r.id))
}

// find locates the value of type target at p; with n > 0 it is the first of n
// elements of one array. The object is whole when it is just that value or
// array, so that the reader can do without steps.
func (w *writer) find(p unsafe.Pointer, target *plan, n int) (r *region, way []int, whole bool, err error) {
	r = w.g.locate(p)
	if r == nil {
		return nil, nil, false, w.refuse("a reference into memory of unknown type")
	}
	want := formSingle
	if n > 0 {
		want = formArray
	}
	if r.p == p && r.form == want && sameType(r.pl, target) {
		return r, nil, true, nil
	}
	way, ok := steps(r, p, target, n)
	if !ok {
		return nil, nil, false, w.refuse("a reference to a %s inside memory of type %s", shortID(target), shortID(r.pl))
	}
	return r, way, false, nil
}

func (w *writer) inside(r *region, way []int) {
	w.mention(r)
	w.uint(uint64(len(way)))
	for _, i := range way {
		w.uint(uint64(i))
	}
}

func (w *writer) pointer(pl *plan, q unsafe.Pointer) error {
	switch {
	case q == nil:
		w.out = append(w.out, tagNil)
	case wellKnown[q] != "":
		w.out = append(w.out, tagStd)
		w.out = appendString(w.out, wellKnown[q])
	case pl.elem.size == 0:
		w.out = append(w.out, tagEmpty)
	default:
		r, way, whole, err := w.find(q, pl.elem, 0)
		if err != nil {
			return err
		}
		if whole {
			w.out = append(w.out, tagWhole)
			w.mention(r)
			return nil
		}
		w.out = append(w.out, tagInterior)
		w.inside(r, way)
	}
	return nil
}

func (w *writer) slice(pl *plan, s *sliceHeader) error {
	if s.data == nil {
		w.out = append(w.out, tagNil)
		return nil
	}
	if s.cap == 0 || pl.elem.size == 0 {
		w.extent(tagEmpty, s)
		return nil
	}
	r, way, whole, err := w.find(s.data, pl.elem, s.cap)
	if err != nil {
		return err
	}
	if whole {
		w.extent(tagWhole, s)
		w.mention(r)
		return nil
	}
	w.extent(tagInterior, s)
	w.inside(r, way)
	return nil
}

func (w *writer) extent(tag byte, s *sliceHeader) {
	w.out = append(w.out, tag)
	w.uint(uint64(s.len))
	w.uint(uint64(s.cap))
}

func (w *writer) iface(pl *plan, p unsafe.Pointer, depth int) error {
	h, err := w.g.dynamic(pl, p)
	if err != nil {
		return err
	}
	switch {
	case h.pl == nil:
		w.out = append(w.out, tagNil)
		return nil
	case h.boxed:
		w.out = append(w.out, tagBoxed)
	default:
		w.out = append(w.out, tagWhole)
	}
	w.uint(uint64(w.dynamic.add(h.pl)))
	if err := w.value(h.pl, h.p, depth+1); err != nil {
		return at(err, ".("+shortID(h.pl)+")")
	}
	return nil
}

// entry is a map entry on its way out.
type entry struct {
	sort []byte // what the entries are ordered by; mostly the encoded key
	k, v reflect.Value
}

// entries writes a map in the order of its encoded keys.
func (w *writer) entries(r *region) error {
	m := mapValue(r.pl, r.p)
	r.n = m.Len()
	if done := w.plainEntries(r.pl, m); done {
		return nil
	}
	if r.keyRefs {
		return w.referenceEntries(r, m)
	}
	es := make([]entry, 0, r.n)
	kp, ep := r.pl.key, r.pl.elem
	out := w.out
	w.out = nil
	key := reflect.New(kp.rt).Elem()
	// Keys do not mention objects, so they can be written out of order; but
	// they may bring types with them, which must be numbered in order.
	save := w.dynamic
	for it := m.MapRange(); it.Next(); {
		key.SetIterKey(it)
		w.dynamic = newTable(save)
		from := len(w.out)
		if err := w.value(kp, key.Addr().UnsafePointer(), 1); err != nil {
			return err
		}
		e := entry{sort: w.out[from:len(w.out):len(w.out)], v: it.Value()}
		if kp.refs {
			k := reflect.New(kp.rt).Elem()
			k.Set(key)
			e.k = k
			e.sort = w.selfDescribed(e.sort)
		}
		es = append(es, e)
	}
	w.dynamic, w.out = save, out
	slices.SortFunc(es, func(a, b entry) int { return bytes.Compare(a.sort, b.sort) })
	elem := reflect.New(ep.rt).Elem()
	for i := range es {
		if es[i].k.IsValid() {
			if err := w.value(kp, es[i].k.Addr().UnsafePointer(), 1); err != nil {
				return err
			}
		} else {
			w.out = append(w.out, es[i].sort...)
		}
		elem.Set(es[i].v)
		if err := w.value(ep, elem.Addr().UnsafePointer(), 1); err != nil {
			return at(err, "[key]")
		}
	}
	return nil
}

// selfDescribed puts in front of an encoded key the types it brought.
func (w *writer) selfDescribed(key []byte) []byte {
	var b []byte
	for _, pl := range w.dynamic.plans {
		b = appendString(b, pl.id)
	}
	return append(b, key...)
}

// plainEntries writes maps of the commonest types without reflection.
func (w *writer) plainEntries(pl *plan, m reflect.Value) bool {
	p := m.Addr().UnsafePointer()
	switch m.Type() {
	case reflect.TypeFor[map[string]int]():
		sortedEntries(*(*map[string]int)(p), func(k string, v int) {
			w.out = binary.AppendVarint(appendString(w.out, k), int64(v))
		})
	case reflect.TypeFor[map[string]string]():
		sortedEntries(*(*map[string]string)(p), func(k, v string) {
			w.out = appendString(appendString(w.out, k), v)
		})
	case reflect.TypeFor[map[string]float64]():
		sortedEntries(*(*map[string]float64)(p), func(k string, v float64) {
			w.out = binary.LittleEndian.AppendUint64(appendString(w.out, k), math.Float64bits(v))
		})
	case reflect.TypeFor[map[string]bool]():
		sortedEntries(*(*map[string]bool)(p), func(k string, v bool) {
			w.out = appendBool(appendString(w.out, k), v)
		})
	default:
		return false
	}
	return true
}

func sortedEntries[V any](m map[string]V, put func(string, V)) {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, compareStrings)
	for _, k := range keys {
		put(k, m[k])
	}
}

// compareStrings orders strings as their encodings are ordered: by the length
// prefix first.
func compareStrings(a, b string) int {
	if len(a) != len(b) {
		var x, y [binary.MaxVarintLen64]byte
		return bytes.Compare(x[:binary.PutUvarint(x[:], uint64(len(a)))], y[:binary.PutUvarint(y[:], uint64(len(b)))])
	}
	return cmp.Compare(a, b)
}
