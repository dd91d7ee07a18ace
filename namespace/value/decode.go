package value

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"reflect"
	"slices"
	"unsafe"
)

// reader reads encoded bytes. It panics with a *CorruptError, which the
// exported functions catch by guard.
type reader struct {
	data []byte
	off  int
}

func (r *reader) fail(format string, args ...any) {
	panic(&CorruptError{Offset: r.off, Reason: fmt.Sprintf(format, args...)})
}

// guard turns a failed read into an error.
func guard(err *error) {
	switch e := recover().(type) {
	case nil:
	case *CorruptError:
		*err = e
	case *LimitError:
		*err = e
	case *JSONError:
		*err = e
	default:
		panic(e)
	}
}

func (r *reader) left() int { return len(r.data) - r.off }

func (r *reader) byte() byte {
	if r.off >= len(r.data) {
		r.fail("it ends too early")
	}
	r.off++
	return r.data[r.off-1]
}

func (r *reader) bool() bool {
	b := r.byte()
	if b > 1 {
		r.fail("a bool is neither 0 nor 1")
	}
	return b == 1
}

func (r *reader) uint() uint64 {
	n, k := binary.Uvarint(r.data[r.off:])
	if k <= 0 {
		r.fail("bad integer")
	}
	r.off += k
	return n
}

func (r *reader) varint() int64 {
	n, k := binary.Varint(r.data[r.off:])
	if k <= 0 {
		r.fail("bad integer")
	}
	r.off += k
	return n
}

// int reads a number that fits an int and is not negative.
func (r *reader) int() int {
	n := r.uint()
	if n > math.MaxInt {
		r.fail("integer out of range")
	}
	return int(n)
}

// count reads a number of things of at least size bytes each.
func (r *reader) count(size int) int {
	n := r.int()
	if size > 0 && n > r.left()/size {
		r.fail("%d things do not fit in %d bytes", n, r.left())
	}
	return n
}

func (r *reader) bytes(n int) []byte {
	if n > r.left() {
		r.fail("it ends too early")
	}
	r.off += n
	return r.data[r.off-n : r.off : r.off]
}

func (r *reader) string() string { return string(r.bytes(r.count(1))) }

// Decode restores variables from one unit. It is Decode of a Codec without
// engine.
func Decode(data []byte, roots []Root, lim Limits) error {
	return Codec{Limits: lim}.Decode(data, roots)
}

// Decode restores variables from one unit; roots are in the order of the
// unit's names. The types written in data must be the static types of the
// roots. Roots are set only when all of data has been read: after an error they
// are as before. Errors are *CorruptError and *LimitError. Memory taken is
// bounded by a multiple of len(data).
func (c Codec) Decode(data []byte, roots []Root) (err error) {
	lim := c.Limits.withDefaults()
	if len(data) > lim.MaxBytes {
		return &LimitError{"MaxBytes", lim.MaxBytes, len(data)}
	}
	for i := range roots {
		if !roots[i].Value.CanAddr() {
			return fmt.Errorf("value: root %q is not addressable", roots[i].Name)
		}
	}
	defer guard(&err)
	if len(roots) == 1 {
		if pl := planOf(roots[0].Type, roots[0].Value.Type()); pl.kind <= kString {
			decodeBasic(data, pl, roots[0].Value.Addr().UnsafePointer())
			return nil
		}
	}
	d := decoder{reader: reader{data: data}, codec: c, lim: lim}
	d.unit(roots)
	return nil
}

// decodeBasic is the fast way for one variable of a basic type.
func decodeBasic(data []byte, pl *plan, p unsafe.Pointer) {
	header := pl.singleTable().header
	d := decoder{reader: reader{data: data}}
	if !bytes.HasPrefix(data, header) || len(data) < len(header)+2 || data[len(header)] != 0 || data[len(header)+1] != 0 {
		d.wrongType(pl.id)
	}
	d.off = len(header) + 2
	var buf [2]uint64 // the variable changes only when all is well
	var str string
	tmp := unsafe.Pointer(&buf)
	if pl.kind == kString {
		tmp = unsafe.Pointer(&str)
	}
	d.value(pl, tmp, 0)
	if d.left() != 0 {
		d.fail("%d bytes too many", d.left())
	}
	if pl.kind == kString {
		*(*string)(p) = str
		return
	}
	copy(unsafe.Slice((*byte)(p), pl.size), unsafe.Slice((*byte)(tmp), pl.size))
}

// decoder restores one unit.
type decoder struct {
	reader
	codec Codec
	lim   Limits
	plans []*plan
	objs  []object
}

// object is a piece of memory being filled.
type object struct {
	pl   *plan
	form form
	n    int
	p    unsafe.Pointer // where references point to
	body unsafe.Pointer // where the content is read to: for roots, a copy
}

func (d *decoder) unit(roots []Root) {
	pls := make([]*plan, len(roots))
	for i := range roots {
		pls[i] = planOf(roots[i].Type, roots[i].Value.Type())
	}
	static, header := tableOf(pls)
	if !bytes.HasPrefix(d.data, header) {
		want := pls[0].id
		if pls = plansBefore(roots); pls == nil {
			d.wrongType(want)
		}
		if static, header = tableOf(pls); !bytes.HasPrefix(d.data, header) {
			d.wrongType(want)
		}
	}
	d.off = len(header)
	d.plans = slices.Clip(static.plans)
	d.dynamicTypes(static)
	fresh := make([]reflect.Value, len(roots))
	for i, pl := range pls {
		fresh[i] = reflect.New(pl.rt).Elem()
		d.objs = append(d.objs, object{pl: pl, n: 1, p: roots[i].Value.Addr().UnsafePointer(),
			body: fresh[i].Addr().UnsafePointer()})
	}
	d.objects()
	for i := range d.objs {
		d.body(&d.objs[i])
	}
	if d.left() != 0 {
		d.fail("%d bytes too many", d.left())
	}
	for i := range roots {
		roots[i].Value.Set(fresh[i])
	}
}

// wrongType explains why the beginning of the data is not as expected.
func (d *decoder) wrongType(want string) {
	if len(d.data) > 0 && d.data[0] != formatVersion {
		d.fail("format version %d, this is %d", d.data[0], formatVersion)
	}
	if got, err := TypeString(d.data, 0); err == nil {
		d.fail("it holds a %s (or one declared otherwise), not a %s", got, want)
	}
	d.fail("it does not hold a %s", want)
}

// objects reads the table of objects and makes their memory.
func (d *decoder) objects() {
	n := d.count(2)
	total := 0
	for range n {
		o := object{form: form(d.byte()), n: 1}
		i := d.int()
		if i >= len(d.plans) || o.form > formMap {
			d.fail("an object of unknown type")
		}
		o.pl = d.plans[i]
		least := o.pl.min
		if o.form != formSingle {
			o.n = d.int()
		}
		if o.form == formMap {
			if o.pl.kind != kMap {
				d.fail("an object of type %s as a map", shortID(o.pl))
			}
			least = o.pl.key.min + o.pl.elem.min
		} else if o.pl.size == 0 || o.pl.kind == kRefused || o.n == 0 {
			d.fail("an object of type %s", shortID(o.pl))
		}
		if o.form == formMap && least == 0 && o.n > 1 || least > 0 && o.n > (d.left()-total)/least {
			d.fail("%d values of type %s do not fit", o.n, shortID(o.pl))
		}
		total += o.n * least
		d.make(&o)
		d.objs = append(d.objs, o)
	}
}

func (d *decoder) make(o *object) {
	switch o.form {
	case formSingle:
		o.p = reflect.New(o.pl.rt).UnsafePointer()
	case formArray:
		o.p = reflect.MakeSlice(reflect.SliceOf(o.pl.rt), o.n, o.n).UnsafePointer()
	case formMap:
		o.p = reflect.MakeMapWithSize(o.pl.rt, o.n).UnsafePointer()
	}
	o.body = o.p
}

func (d *decoder) body(o *object) {
	if o.form == formMap {
		d.entries(o)
		return
	}
	d.elements(o.pl, o.body, o.n, 0)
}

func (d *decoder) entries(o *object) {
	m := mapValue(o.pl, o.p)
	kp, ep := o.pl.key, o.pl.elem
	if d.plainEntries(o, m) {
		return
	}
	var last []byte
	for i := range o.n {
		key, elem := reflect.New(kp.rt).Elem(), reflect.New(ep.rt).Elem()
		from := d.off
		d.value(kp, key.Addr().UnsafePointer(), 1)
		if b := d.data[from:d.off]; !kp.refs {
			if i > 0 && bytes.Compare(last, b) >= 0 {
				d.fail("map keys out of order")
			}
			last = b
		}
		if !key.Comparable() || !key.Equal(key) {
			d.fail("a map key that equals nothing")
		}
		d.value(ep, elem.Addr().UnsafePointer(), 1)
		m.SetMapIndex(key, elem)
	}
	if m.Len() != o.n {
		d.fail("a map with equal keys")
	}
}

// plainEntries reads maps of the commonest types without reflection.
func (d *decoder) plainEntries(o *object, m reflect.Value) bool {
	p := m.Addr().UnsafePointer()
	switch m.Type() {
	case reflect.TypeFor[map[string]int]():
		fillMap(d, o.n, *(*map[string]int)(p), func() int { return int(d.varint()) })
	case reflect.TypeFor[map[string]string]():
		fillMap(d, o.n, *(*map[string]string)(p), d.string)
	case reflect.TypeFor[map[string]float64]():
		fillMap(d, o.n, *(*map[string]float64)(p), func() float64 {
			return math.Float64frombits(binary.LittleEndian.Uint64(d.bytes(8)))
		})
	case reflect.TypeFor[map[string]bool]():
		fillMap(d, o.n, *(*map[string]bool)(p), d.bool)
	default:
		return false
	}
	return true
}

func fillMap[V any](d *decoder, n int, m map[string]V, read func() V) {
	last := ""
	for i := range n {
		k := d.string()
		if i > 0 && compareStrings(last, k) >= 0 {
			d.fail("map keys out of order")
		}
		last = k
		m[k] = read()
	}
}

func (d *decoder) elements(pl *plan, p unsafe.Pointer, n int, depth int) {
	if pl.min == 0 {
		return
	}
	switch pl.kind {
	case kUint8, kInt8:
		copy(unsafe.Slice((*byte)(p), n), d.bytes(n))
		return
	case kFloat64:
		b := d.bytes(8 * n)
		if littleEndian {
			copy(unsafe.Slice((*byte)(p), 8*n), b)
			return
		}
		for i, s := 0, unsafe.Slice((*uint64)(p), n); i < n; i++ {
			s[i] = binary.LittleEndian.Uint64(b[8*i:])
		}
		return
	case kInt:
		s := unsafe.Slice((*int)(p), n)
		for i := range s {
			s[i] = int(d.varint())
		}
		return
	case kString:
		s := unsafe.Slice((*string)(p), n)
		for i := range s {
			s[i] = d.string()
		}
		return
	}
	for i := range n {
		d.value(pl, unsafe.Add(p, uintptr(i)*pl.size), depth)
	}
}

func (d *decoder) signed(bits int) int64 {
	n := d.varint()
	if n<<(64-bits)>>(64-bits) != n {
		d.fail("%d does not fit in %d bits", n, bits)
	}
	return n
}

func (d *decoder) unsigned(bits int) uint64 {
	n := d.uint()
	if n<<(64-bits)>>(64-bits) != n {
		d.fail("%d does not fit in %d bits", n, bits)
	}
	return n
}

// value reads a value of plan pl to p.
func (d *decoder) value(pl *plan, p unsafe.Pointer, depth int) {
	switch pl.kind {
	case kBool:
		*(*bool)(p) = d.bool()
	case kInt:
		*(*int)(p) = int(d.signed(int(pl.size) * 8))
	case kInt8, kUint8:
		*(*byte)(p) = d.byte()
	case kInt16:
		*(*int16)(p) = int16(d.signed(16))
	case kInt32:
		*(*int32)(p) = int32(d.signed(32))
	case kInt64:
		*(*int64)(p) = d.varint()
	case kUint:
		*(*uint)(p) = uint(d.unsigned(int(pl.size) * 8))
	case kUint16:
		*(*uint16)(p) = uint16(d.unsigned(16))
	case kUint32:
		*(*uint32)(p) = uint32(d.unsigned(32))
	case kUint64:
		*(*uint64)(p) = d.uint()
	case kUintptr:
		*(*uintptr)(p) = uintptr(d.unsigned(int(pl.size) * 8))
	case kFloat32:
		*(*uint32)(p) = binary.LittleEndian.Uint32(d.bytes(4))
	case kFloat64:
		*(*uint64)(p) = binary.LittleEndian.Uint64(d.bytes(8))
	case kComplex64:
		*(*[2]uint32)(p) = [2]uint32{binary.LittleEndian.Uint32(d.bytes(4)), binary.LittleEndian.Uint32(d.bytes(4))}
	case kComplex128:
		*(*[2]uint64)(p) = [2]uint64{binary.LittleEndian.Uint64(d.bytes(8)), binary.LittleEndian.Uint64(d.bytes(8))}
	case kString:
		*(*string)(p) = d.string()
	default:
		d.composite(pl, p, depth)
	}
}

func (d *decoder) composite(pl *plan, p unsafe.Pointer, depth int) {
	if depth > d.lim.MaxDepth {
		panic(&LimitError{"MaxDepth", d.lim.MaxDepth, depth})
	}
	switch pl.kind {
	case kArray:
		d.elements(pl.elem, p, pl.len, depth+1)
	case kStruct:
		for i := range pl.fields {
			f := &pl.fields[i]
			d.value(f.plan, unsafe.Add(p, f.offset), depth+1)
		}
	case kOpaque:
		b := d.bytes(d.count(1))
		if err := pl.opaque.decode(p, b); err != nil {
			d.fail("%s: %v", shortID(pl), err)
		}
	case kPointer:
		*(*unsafe.Pointer)(p) = d.pointer(pl)
	case kSlice:
		d.slice(pl, p)
	case kMap:
		switch d.byte() {
		case tagNil:
		case tagWhole:
			o := d.object()
			if o.form != formMap || !sameType(o.pl, pl) {
				d.fail("a map that is none")
			}
			*(*unsafe.Pointer)(p) = o.p
		default:
			d.fail("unknown kind of map")
		}
	case kInterface:
		d.iface(pl, p, depth)
	case kFunc:
		d.function(pl, p, depth)
	case kChan, kUnsafePointer:
		if d.byte() != tagNil {
			d.fail("a %s that is not nil", shortID(pl))
		}
	default:
		d.fail("a value of type %s", shortID(pl))
	}
}

func (d *decoder) object() *object {
	i := d.int()
	if i >= len(d.objs) {
		d.fail("object %d of %d", i, len(d.objs))
	}
	return &d.objs[i]
}

// maxSteps bounds the way to the inside of an object, in steps.
const maxSteps = maxTypeDepth

// inside follows the steps to the value of type target in an object; with n > 0
// to the first of n elements of one array.
func (d *decoder) inside(target *plan, n int) unsafe.Pointer {
	o := d.object()
	left := d.count(1)
	if o.form == formMap || left > maxSteps {
		d.fail("a reference into the inside of nothing")
	}
	p, cur, count := o.p, o.pl, 0
	if o.form == formArray {
		count = o.n
	}
	for {
		if count > 0 {
			if left == 0 {
				d.fail("a reference that stops early")
			}
			i := d.int()
			left--
			if i >= count {
				d.fail("element %d of %d", i, count)
			}
			p = unsafe.Add(p, uintptr(i)*cur.size)
			if left == 0 && n > 0 && sameType(cur, target) && n <= count-i {
				return p
			}
			if left == 0 && n == 0 && target.kind == kArray && sameType(cur, target.elem) && target.len <= count-i {
				return p
			}
			count = 0
		}
		if left == 0 {
			break
		}
		switch cur.kind {
		case kArray:
			cur, count = cur.elem, cur.len
			if count == 0 {
				d.fail("an element of an empty array")
			}
		case kStruct:
			i := d.int()
			left--
			if i >= len(cur.fields) {
				d.fail("field %d of %d", i, len(cur.fields))
			}
			p = unsafe.Add(p, cur.fields[i].offset)
			cur = cur.fields[i].plan
		default:
			d.fail("a reference into the inside of a %s", shortID(cur))
		}
	}
	if n > 0 || !sameType(cur, target) {
		d.fail("a reference to a %s that leads to a %s", shortID(target), shortID(cur))
	}
	return p
}

func (d *decoder) pointer(pl *plan) unsafe.Pointer {
	switch d.byte() {
	case tagNil:
		return nil
	case tagWhole:
		o := d.object()
		if o.form != formSingle || !sameType(o.pl, pl.elem) {
			d.fail("a pointer to a %s that leads to a %s", shortID(pl.elem), shortID(o.pl))
		}
		return o.p
	case tagInterior:
		return d.inside(pl.elem, 0)
	case tagEmpty:
		if pl.elem.size == 0 {
			return reflect.New(pl.elem.rt).UnsafePointer()
		}
	case tagStd:
		if v, ok := wellKnownByName[d.string()]; ok && v.Type() == pl.rt {
			return v.UnsafePointer()
		}
	}
	d.fail("unknown kind of pointer")
	return nil
}

func (d *decoder) slice(pl *plan, p unsafe.Pointer) {
	tag := d.byte()
	if tag == tagNil {
		return
	}
	h := sliceHeader{len: d.int(), cap: d.int()}
	if h.len > h.cap {
		d.fail("a slice of length %d and capacity %d", h.len, h.cap)
	}
	switch {
	case tag == tagEmpty && (h.cap == 0 || pl.elem.size == 0):
		h.data = reflect.MakeSlice(reflect.SliceOf(pl.elem.rt), 0, 0).UnsafePointer()
	case tag == tagWhole && h.cap > 0:
		o := d.object()
		if o.form != formArray || !sameType(o.pl, pl.elem) || h.cap > o.n {
			d.fail("a slice of %d %s in a %s", h.cap, shortID(pl.elem), shortID(o.pl))
		}
		h.data = o.p
	case tag == tagInterior && h.cap > 0:
		h.data = d.inside(pl.elem, h.cap)
	default:
		d.fail("unknown kind of slice")
	}
	*(*sliceHeader)(p) = h
}

func (d *decoder) iface(pl *plan, p unsafe.Pointer, depth int) {
	tag := d.byte()
	if tag == tagNil {
		return
	}
	if tag != tagWhole && tag != tagBoxed {
		d.fail("unknown kind of interface")
	}
	i := d.int()
	if i >= len(d.plans) || d.plans[i].kind == kRefused || d.plans[i].kind == kInterface {
		d.fail("an interface holding an unknown type")
	}
	dyn := d.plans[i]
	if dyn.min > d.left() {
		d.fail("it ends too early")
	}
	v := reflect.New(dyn.rt).Elem()
	d.value(dyn, v.Addr().UnsafePointer(), depth+1)
	if tag == tagBoxed {
		v = d.box(pl, dyn, v)
	}
	if !v.Type().AssignableTo(pl.rt) {
		d.fail("a %s in an interface of type %s", shortID(dyn), shortID(pl))
	}
	reflect.NewAt(pl.rt, p).Elem().Set(v)
}

func (d *decoder) box(pl, dyn *plan, v reflect.Value) reflect.Value {
	if d.codec.Engine == nil || dyn.typ == nil {
		d.fail("a value of type %s in an interface, which takes an engine to restore", shortID(dyn))
	}
	b, err := d.codec.Engine.Box(pl.typ, pl.rt, dyn.typ, v)
	if err != nil {
		d.fail("%s: %v", shortID(dyn), err)
	}
	return b
}
