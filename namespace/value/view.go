package value

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// TypeString gives the type of root index as Go source, with package names in
// place of import paths. The error is a *CorruptError.
func TypeString(data []byte, index int) (s string, err error) {
	defer guard(&err)
	r := reader{data: data}
	descs, roots := r.readHeader()
	if index < 0 || index >= len(roots) {
		return "", fmt.Errorf("value: root %d of %d", index, len(roots))
	}
	return typeText(descs, roots[index]), nil
}

// readHeader reads all type descriptors and the types of the roots.
func (r *reader) readHeader() (descs []typeDesc, roots []int) {
	if v := r.byte(); v != formatVersion {
		r.fail("format version %d, this is %d", v, formatVersion)
	}
	n := r.count(1)
	descs = r.readTypes(nil, r.int())
	for range n {
		i := r.int()
		if i >= len(descs) {
			r.fail("a root of unknown type")
		}
		roots = append(roots, i)
	}
	if len(roots) == 0 {
		r.fail("no roots")
	}
	descs = r.readTypes(descs, r.int())
	r.checkTypes(descs)
	return descs, roots
}

// JSON shows root index for people. It is made from the bytes alone and is
// lossy; it is never used to restore. []byte is a base64 string; NaN and Inf
// are strings; complex numbers are strings; structs are objects with the names
// that encoding/json gives their fields, private ones included; maps are objects with sorted keys,
// or lists of [key, value] when keys are not of a basic type; the standard
// library's errors are their text. What has been
// shown before, or holds itself, is {"$ref": place}; what exceeds the limits is
// {"$truncated": true}. Errors are *CorruptError.
func JSON(data []byte, index int, lim ViewLimits) (j json.RawMessage, err error) {
	defer guard(&err)
	v := view{reader: reader{data: data}, lim: lim.withDefaults()}
	roots := v.index()
	if index < 0 || index >= len(roots) {
		return nil, fmt.Errorf("value: root %d of %d", index, len(roots))
	}
	v.seen[extent{index, 0, 1, false}] = "$"
	v.off = v.objs[index].off
	v.show(roots[index], "$", 0)
	return v.out, nil
}

// view renders one unit.
type view struct {
	reader
	lim   ViewLimits
	descs []typeDesc
	objs  []viewObject
	seen  map[extent]string // where objects have been shown
	names map[*typeDesc]jsonStruct
	out   []byte
}

// jsonStruct is the names of a struct in JSON; see jsonNames.
type jsonStruct struct{ fields, all []string }

// namesOf are the names of the fields of a struct.
func (v *view) namesOf(d *typeDesc) jsonStruct {
	if s, there := v.names[d]; there {
		return s
	}
	fields := make([]named, len(d.fields))
	for i, f := range d.fields {
		fields[i] = named{name: f.name, tag: f.tag}
		if in := &v.descs[f.typ]; f.embedded && in.kind == kStruct && !errorStructs[in.pkg+"."+in.name] {
			fields[i].inner = v.namesOf(in).all
		}
	}
	var s jsonStruct
	s.fields, s.all = jsonNames(fields)
	if v.names == nil {
		v.names = map[*typeDesc]jsonStruct{}
	}
	v.names[d] = s
	return s
}

// viewObject is where the content of an object lies in the data.
type viewObject struct {
	typ   int // of an element; of the map
	form  form
	n     int
	off   int
	elems []int // offsets of elements, made when needed
}

// extent names part of an object.
type extent struct {
	obj, at, n int
	slice      bool
}

// index finds out where each object lies, and checks all of the data.
func (v *view) index() (roots []int) {
	v.descs, roots = v.readHeader()
	v.seen = map[extent]string{}
	for _, t := range roots {
		v.objs = append(v.objs, viewObject{typ: t, n: 1})
	}
	for range v.count(2) {
		o := viewObject{form: form(v.byte()), typ: v.int(), n: 1}
		if o.form > formMap || o.typ >= len(v.descs) || o.form == formMap && v.descs[o.typ].kind != kMap {
			v.fail("an object of unknown type")
		}
		if o.form != formSingle {
			o.n = v.int()
		}
		v.objs = append(v.objs, o)
	}
	for i := range v.objs {
		v.skipObject(&v.objs[i])
	}
	if v.left() != 0 {
		v.fail("%d bytes too many", v.left())
	}
	return roots
}

func (v *view) skipObject(o *viewObject) {
	o.off = v.off
	d := &v.descs[o.typ]
	if o.form != formMap {
		v.skipN(o.typ, o.n, 0)
		return
	}
	if v.descs[d.key].min+v.descs[d.elem].min == 0 && o.n > 1 {
		v.fail("a map with equal keys")
	}
	for range o.n {
		v.skip(d.key, 0)
		v.skip(d.elem, 0)
	}
}

func (v *view) skipN(t, n, depth int) {
	d := &v.descs[t]
	if d.min == 0 {
		return
	}
	if n > v.left()/d.min {
		v.fail("%d values do not fit in %d bytes", n, v.left())
	}
	for range n {
		v.skip(t, depth)
	}
}

// skip reads over a value.
func (v *view) skip(t, depth int) {
	if depth > DefaultMaxDepth+maxTypeDepth {
		v.fail("values nest too deeply")
	}
	d := &v.descs[t]
	switch d.kind {
	case kBool, kInt8, kUint8:
		v.byte()
	case kInt, kInt16, kInt32, kInt64, kUint, kUint16, kUint32, kUint64, kUintptr:
		v.uint()
	case kFloat32:
		v.bytes(4)
	case kFloat64, kComplex64:
		v.bytes(8)
	case kComplex128:
		v.bytes(16)
	case kString, kOpaque:
		v.bytes(v.count(1))
	case kArray:
		v.skipN(d.elem, d.len, depth+1)
	case kStruct:
		for _, f := range d.fields {
			v.skip(f.typ, depth+1)
		}
	case kInterface:
		if t, ok := v.held(); ok {
			v.skip(t, depth+1)
		}
	case kFunc:
		v.skipFunc(depth)
	case kRefused:
		v.fail("a value of type %s", d.text)
	default:
		v.ref(d)
	}
}

// held reads the head of an interface.
func (v *view) held() (t int, ok bool) {
	tag := v.byte()
	if tag == tagNil {
		return 0, false
	}
	t = v.int()
	if tag != tagWhole && tag != tagBoxed || t >= len(v.descs) || v.descs[t].kind == kInterface {
		v.fail("an interface holding an unknown type")
	}
	return t, true
}

// viewRef is a reference as read.
type viewRef struct {
	tag   byte
	len   int
	obj   int
	steps []int
	name  string
}

// ref reads a pointer, slice, map, func or channel.
func (v *view) ref(d *typeDesc) (r viewRef) {
	r.tag = v.byte()
	if r.tag == tagNil {
		return r
	}
	if d.kind == kSlice {
		r.len = v.int()
		if r.len > v.int() {
			v.fail("a slice longer than its capacity")
		}
	}
	switch r.tag {
	case tagWhole, tagInterior:
		if r.obj = v.int(); r.obj >= len(v.objs) {
			v.fail("object %d of %d", r.obj, len(v.objs))
		}
		if r.tag == tagInterior {
			for range v.count(1) {
				r.steps = append(r.steps, v.int())
			}
		}
		if (d.kind == kMap) != (v.objs[r.obj].form == formMap) || d.kind == kChan || d.kind == kUnsafePointer {
			v.fail("a reference to an object of another kind")
		}
	case tagEmpty:
	case tagStd:
		r.name = v.string()
	default:
		v.fail("unknown kind of reference")
	}
	return r
}

func (v *view) full() bool { return len(v.out) >= v.lim.MaxBytes }

const truncated = `{"$truncated":true}`

func (v *view) put(s string) { v.out = append(v.out, s...) }

// show renders the value at the current offset and moves past it, unless the
// view is full: then nothing more will be read.
func (v *view) show(t int, path string, depth int) {
	if v.full() || depth > v.lim.MaxDepth {
		v.skip(t, 0)
		v.put(truncated)
		return
	}
	d := &v.descs[t]
	switch d.kind {
	case kBool:
		v.put(strconv.FormatBool(v.bool()))
	case kInt8:
		v.put(strconv.Itoa(int(int8(v.byte()))))
	case kUint8:
		v.put(strconv.Itoa(int(v.byte())))
	case kInt, kInt16, kInt32, kInt64:
		v.put(strconv.FormatInt(v.varint(), 10))
	case kUint, kUint16, kUint32, kUint64, kUintptr:
		v.put(strconv.FormatUint(v.uint(), 10))
	case kFloat32:
		v.float(float64(math.Float32frombits(binary.LittleEndian.Uint32(v.bytes(4)))), 32)
	case kFloat64:
		v.float(math.Float64frombits(binary.LittleEndian.Uint64(v.bytes(8))), 64)
	case kComplex64:
		re, im := v.bytes(4), v.bytes(4)
		c := complex(math.Float32frombits(binary.LittleEndian.Uint32(re)), math.Float32frombits(binary.LittleEndian.Uint32(im)))
		v.put(strconv.Quote(strconv.FormatComplex(complex128(c), 'g', -1, 64)))
	case kComplex128:
		re, im := v.bytes(8), v.bytes(8)
		c := complex(math.Float64frombits(binary.LittleEndian.Uint64(re)), math.Float64frombits(binary.LittleEndian.Uint64(im)))
		v.put(strconv.Quote(strconv.FormatComplex(c, 'g', -1, 128)))
	case kString:
		v.text(v.string())
	default:
		v.showComposite(d, path, depth)
	}
}

func (v *view) showComposite(d *typeDesc, path string, depth int) {
	switch d.kind {
	case kOpaque:
		v.opaque(d, v.bytes(v.count(1)))
	case kArray:
		v.list(d.elem, d.len, path, depth)
	case kStruct:
		v.object(d, path, depth)
	case kInterface:
		if t, ok := v.held(); ok {
			v.show(t, path, depth)
			return
		}
		v.put("null")
	case kFunc:
		v.showFunc()
	case kRefused:
		v.fail("a value of type %s", d.text)
	default:
		v.follow(d, v.ref(d), path, depth)
	}
}

// float writes a number as encoding/json does, and NaN and Inf as strings.
func (v *view) float(f float64, bits int) {
	switch {
	case math.IsNaN(f):
		v.put(`"NaN"`)
	case math.IsInf(f, 1):
		v.put(`"+Inf"`)
	case math.IsInf(f, -1):
		v.put(`"-Inf"`)
	case f == 0 && math.Signbit(f):
		v.put("-0")
	case bits == 32:
		b, _ := json.Marshal(float32(f))
		v.put(string(b))
	default:
		b, _ := json.Marshal(f)
		v.put(string(b))
	}
}

// text writes a string, or as much of it as there is room for.
func (v *view) text(s string) {
	room := max(v.lim.MaxBytes-len(v.out), 0)
	if len(s) <= room {
		v.out = appendJSONString(v.out, s)
		return
	}
	for room > 0 && !utf8.RuneStart(s[room]) {
		room--
	}
	v.put(`{"$string":`)
	v.out = appendJSONString(v.out, s[:room])
	v.put(`,"$truncated":true}`)
}

func appendJSONString(b []byte, s string) []byte {
	q, _ := json.Marshal(s) // a string always marshals
	return append(b, q...)
}

func (v *view) opaque(d *typeDesc, b []byte) {
	var shown any = b
	if rt := stdTypes[d.pkg+"."+d.name]; rt != nil {
		if pl := planOfReflect(rt); pl.kind == kOpaque {
			var err error
			if shown, err = pl.opaque.text(b); err != nil {
				v.fail("%s.%s: %v", d.pkg, d.name, err)
			}
		}
	}
	if s, ok := shown.(string); ok {
		v.text(s)
		return
	}
	j, err := json.Marshal(shown)
	if err != nil {
		v.fail("%s.%s: %v", d.pkg, d.name, err)
	}
	if len(j) > v.lim.MaxBytes-len(v.out) {
		v.put(truncated)
		return
	}
	v.out = append(v.out, j...)
}

// list shows n values of type t that lie one after the other.
func (v *view) list(t, n int, path string, depth int) {
	if v.descs[t].kind == kUint8 {
		v.base64(v.bytes(n))
		return
	}
	v.put("[")
	for i := range n {
		if i > 0 {
			v.put(",")
		}
		if v.full() {
			v.put(truncated)
			break
		}
		v.show(t, path+"["+strconv.Itoa(i)+"]", depth+1)
	}
	v.put("]")
}

// errorStructs are errors of which the first field is the whole text.
var errorStructs = map[string]bool{"errors.errorString": true, "fmt.wrapError": true, "fmt.wrapErrors": true}

func (v *view) base64(b []byte) {
	if room := max(v.lim.MaxBytes-len(v.out), 0) / 4 * 3; len(b) > room {
		v.put(`{"$base64":"` + base64.StdEncoding.EncodeToString(b[:room]) + `","$truncated":true}`)
		return
	}
	v.put(`"` + base64.StdEncoding.EncodeToString(b) + `"`)
}

func (v *view) object(d *typeDesc, path string, depth int) {
	if errorStructs[d.pkg+"."+d.name] && len(d.fields) > 0 {
		v.show(d.fields[0].typ, path, depth)
		for _, f := range d.fields[1:] {
			v.skip(f.typ, 0)
		}
		return
	}
	v.put("{")
	v.members(d, path, depth)
	v.put("}")
}

// members shows the fields of a struct; false: there was no room for all of them, and
// nothing more will be read.
func (v *view) members(d *typeDesc, path string, depth int) bool {
	names := v.namesOf(d).fields
	for i, f := range d.fields {
		if names[i] == "" {
			if !v.members(&v.descs[f.typ], path, depth) {
				return false
			}
			continue
		}
		if v.out[len(v.out)-1] != '{' {
			v.put(",")
		}
		if v.full() {
			v.put(`"$truncated":true`)
			return false
		}
		v.out = appendJSONString(v.out, names[i])
		v.put(":")
		v.show(f.typ, path+"."+names[i], depth+1)
	}
	return true
}

// follow shows what a reference leads to.
func (v *view) follow(d *typeDesc, r viewRef, path string, depth int) {
	after := v.off
	defer func() { v.off = after }()
	switch {
	case r.tag == tagNil:
		v.put("null")
	case r.tag == tagStd:
		v.text(stdText(r.name))
	case d.kind == kMap:
		if !v.again(extent{obj: r.obj}, path) {
			v.showMap(r.obj, path, depth)
		}
	case d.kind == kSlice:
		v.showSlice(d, r, path, depth)
	case d.kind == kPointer:
		v.showPointer(d, r, path, depth)
	default:
		v.fail("a reference of unknown kind")
	}
}

func stdText(name string) string {
	if v, ok := wellKnownByName[name]; ok {
		if e, ok := v.Interface().(error); ok {
			return e.Error()
		}
	}
	return name
}

// again shows a reference in place of what has been shown before.
func (v *view) again(e extent, path string) bool {
	if was, ok := v.seen[e]; ok {
		v.put(`{"$ref":`)
		v.out = appendJSONString(v.out, was)
		v.put("}")
		return true
	}
	v.seen[e] = path
	return false
}

func (v *view) showPointer(d *typeDesc, r viewRef, path string, depth int) {
	if r.tag == tagEmpty {
		v.put("{}")
		return
	}
	e := extent{obj: r.obj, n: 1}
	t := v.objs[r.obj].typ
	v.off = v.objs[r.obj].off
	if r.tag == tagInterior {
		t, _ = v.seek(r)
		e = extent{obj: r.obj, at: v.off, n: 1}
	} else if v.objs[r.obj].form != formSingle {
		v.fail("a pointer to an array of objects")
	}
	if v.again(e, path) {
		return
	}
	if d.kind == kPointer && v.descs[d.elem].kind == kArray && t != d.elem { // a view of a slice as an array
		v.list(v.descs[d.elem].elem, v.room(v.descs[d.elem].len, t), path, depth)
		return
	}
	v.show(t, path, depth+1)
}

// room bounds a number of elements by what can be there.
func (v *view) room(n, t int) int {
	if m := v.descs[t].min; m > 0 {
		return min(n, v.left()/m)
	}
	return n
}

func (v *view) showSlice(d *typeDesc, r viewRef, path string, depth int) {
	if r.tag == tagEmpty {
		if v.descs[d.elem].min > 0 {
			r.len = 0
		}
		v.list(d.elem, r.len, path, depth)
		return
	}
	o := &v.objs[r.obj]
	t, n := o.typ, o.n
	v.off = o.off
	if r.tag == tagInterior {
		t, n = v.seek(r)
	} else if o.form != formArray {
		v.fail("a slice of something that is no array")
	}
	if r.len > n || v.descs[t].kind != v.descs[d.elem].kind {
		v.fail("a slice of %d elements where there are %d", r.len, n)
	}
	if r.len > 0 && v.again(extent{r.obj, v.off, r.len, true}, path) {
		return
	}
	v.list(t, r.len, path, depth)
}

// seek moves to the value a reference leads into; n is the number of elements
// of the array it lies in, from there on.
func (v *view) seek(r viewRef) (t, n int) {
	o := &v.objs[r.obj]
	t, n, v.off = o.typ, 1, o.off
	steps := r.steps
	if o.form == formMap {
		v.fail("a reference into a map")
	}
	if o.form == formArray {
		if len(steps) == 0 || steps[0] >= o.n {
			v.fail("a reference outside an array")
		}
		v.off = v.element(o, steps[0])
		n, steps = o.n-steps[0], steps[1:]
	}
	for _, s := range steps {
		d := &v.descs[t]
		switch {
		case d.kind == kArray && s < d.len:
			v.skipN(d.elem, s, 0)
			t, n = d.elem, d.len-s
		case d.kind == kStruct && s < len(d.fields):
			for _, f := range d.fields[:s] {
				v.skip(f.typ, 0)
			}
			t, n = d.fields[s].typ, 1
		default:
			v.fail("a reference into nothing")
		}
	}
	return t, n
}

// element gives the offset of an element; the first call for an object reads
// them all.
func (v *view) element(o *viewObject, i int) int {
	if v.descs[o.typ].min == 0 {
		return o.off
	}
	if o.elems == nil {
		save := v.off
		v.off = o.off
		for range o.n {
			o.elems = append(o.elems, v.off)
			v.skip(o.typ, 0)
		}
		v.off = save
	}
	return o.elems[i]
}

// mapEntry is where a map entry lies, and its key as text if it is basic.
type mapEntry struct {
	name     string
	num      float64
	key, val int
}

func (v *view) showMap(obj int, path string, depth int) {
	o := &v.objs[obj]
	d := &v.descs[o.typ]
	es, basic := v.entries(o, d)
	open, end := "[", "]"
	if basic {
		open, end = "{", "}"
	}
	v.put(open)
	for i, e := range es {
		if i > 0 {
			v.put(",")
		}
		if v.full() {
			if basic {
				v.put(`"$truncated":true`)
			} else {
				v.put(truncated)
			}
			break
		}
		if basic {
			v.out = appendJSONString(v.out, e.name)
			v.put(":")
			v.off = e.val
			v.show(d.elem, path+"["+strconv.Quote(e.name)+"]", depth+1)
			continue
		}
		v.put("[")
		v.off = e.key
		v.show(d.key, path+"[key "+strconv.Itoa(i)+"]", depth+2)
		v.put(",")
		v.off = e.val
		v.show(d.elem, path+"[value "+strconv.Itoa(i)+"]", depth+2)
		v.put("]")
	}
	v.put(end)
}

// entries finds the entries of a map, sorted by key when keys are basic.
func (v *view) entries(o *viewObject, d *typeDesc) (es []mapEntry, basic bool) {
	k := v.descs[d.key].kind
	basic = k <= kString
	v.off = o.off
	for range o.n {
		e := mapEntry{key: v.off}
		v.skip(d.key, 0)
		e.val = v.off
		v.skip(d.elem, 0)
		if basic {
			e.name, e.num = v.keyName(k, d.key, e)
		}
		es = append(es, e)
	}
	if basic {
		slices.SortStableFunc(es, func(a, b mapEntry) int {
			if a.num != b.num {
				if a.num < b.num {
					return -1
				}
				return 1
			}
			return strings.Compare(a.name, b.name)
		})
	}
	return es, basic
}

// keyName renders a basic key; num is its number, for the order.
func (v *view) keyName(k kind, t int, e mapEntry) (name string, num float64) {
	sub := view{reader: reader{data: v.data, off: e.key}, lim: ViewLimits{MaxDepth: 1, MaxBytes: math.MaxInt}, descs: v.descs}
	if k == kString {
		return sub.string(), 0
	}
	sub.show(t, "", 0)
	name = strings.Trim(string(sub.out), `"`)
	num, _ = strconv.ParseFloat(name, 64)
	return name, num
}
