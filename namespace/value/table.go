package value

import (
	"encoding/binary"
	"path"
	"strconv"
	"strings"
)

// formatVersion is the first byte of every encoded unit.
const formatVersion = 1

// Limits on type descriptors in encoded bytes.
const (
	// maxTypes bounds the types of one unit, in types.
	maxTypes = 3 * maxPlanTypes
	// maxTypeDepth bounds how types nest by value, in levels.
	maxTypeDepth = 1000
	// maxTypeID bounds the text of a type read from bytes, in bytes.
	maxTypeID = 16 << 10
	// maxShownID bounds a type shown in errors, in bytes.
	maxShownID = 80
)

const namedFlag = 0x80 // on the kind byte: package path and name follow

// typeTable is a numbered list of types and its encoding. Numbers follow the
// first mention, depth first.
type typeTable struct {
	base  *typeTable // types before these
	first int        // number of the first type here
	index map[string]int
	plans []*plan
	data  []byte
	// header of a unit with a single root of the first type: version, roots,
	// types and the number of the root's type.
	header []byte
}

func newTable(base *typeTable) *typeTable {
	t := &typeTable{base: base, index: map[string]int{}}
	if base != nil {
		t.first = base.first + len(base.plans)
	}
	return t
}

func (pl *plan) tableKey() string {
	if pl.kind == kRefused {
		return "!" + pl.id
	}
	return pl.id
}

func (t *typeTable) lookup(pl *plan) (int, bool) {
	k := pl.tableKey()
	for ; t != nil; t = t.base {
		if i, ok := t.index[k]; ok {
			return i, true
		}
	}
	return 0, false
}

func (t *typeTable) add(pl *plan) int {
	if i, ok := t.lookup(pl); ok {
		return i
	}
	from := len(t.plans)
	t.number(pl)
	for _, p := range t.plans[from:] {
		t.data = t.appendType(t.data, p)
	}
	return t.first + from
}

func (t *typeTable) number(pl *plan) {
	if _, ok := t.lookup(pl); ok {
		return
	}
	t.index[pl.tableKey()] = t.first + len(t.plans)
	t.plans = append(t.plans, pl)
	for _, f := range pl.fields {
		t.number(f.plan)
	}
	if pl.key != nil {
		t.number(pl.key)
	}
	if pl.elem != nil {
		t.number(pl.elem)
	}
}

func (t *typeTable) appendType(b []byte, pl *plan) []byte {
	ref := func(b []byte, p *plan) []byte {
		i, _ := t.lookup(p)
		return binary.AppendUvarint(b, uint64(i))
	}
	if pl.name == "" {
		b = append(b, byte(pl.kind))
	} else {
		b = append(b, byte(pl.kind)|namedFlag)
		b = appendString(b, pl.pkg)
		b = appendString(b, pl.name)
	}
	switch pl.kind {
	case kArray:
		b = binary.AppendUvarint(b, uint64(pl.len))
		b = ref(b, pl.elem)
	case kSlice, kPointer:
		b = ref(b, pl.elem)
	case kMap:
		b = ref(b, pl.key)
		b = ref(b, pl.elem)
	case kStruct:
		b = binary.AppendUvarint(b, uint64(len(pl.fields)))
		for _, f := range pl.fields {
			b = appendString(b, f.name)
			b = appendString(b, f.tag)
			b = appendBool(b, f.embedded)
			b = ref(b, f.plan)
		}
	case kInterface, kFunc, kChan, kRefused:
		b = appendString(b, pl.id)
	}
	return b
}

func appendBool(b []byte, v bool) []byte {
	if v {
		return append(b, 1)
	}
	return append(b, 0)
}

// singleTable gives the table of a unit with one root of this type.
func (pl *plan) singleTable() *typeTable {
	pl.tableOnce.Do(func() {
		pl.table = newTable(nil)
		pl.table.add(pl)
		pl.table.header = appendHeader(pl.table, []*plan{pl})
	})
	return pl.table
}

// tableOf gives the static types of a unit and its header.
func tableOf(roots []*plan) (t *typeTable, header []byte) {
	if len(roots) == 1 {
		t = roots[0].singleTable()
		return t, t.header
	}
	t = newTable(nil)
	for _, pl := range roots {
		t.add(pl)
	}
	return t, appendHeader(t, roots)
}

func appendHeader(t *typeTable, roots []*plan) []byte {
	b := []byte{formatVersion}
	b = binary.AppendUvarint(b, uint64(len(roots)))
	b = binary.AppendUvarint(b, uint64(len(t.plans)))
	b = append(b, t.data...)
	for _, pl := range roots {
		i, _ := t.lookup(pl)
		b = binary.AppendUvarint(b, uint64(i))
	}
	return b
}

// typeDesc is a type as read from encoded bytes.
type typeDesc struct {
	kind   kind
	pkg    string
	name   string
	text   string
	len    int
	key    int
	elem   int
	fields []fieldDesc
	min    int // least encoded bytes of a value
	state  uint8
}

type fieldDesc struct {
	name     string
	tag      string
	embedded bool
	typ      int
}

// readTypes reads n type descriptors; those of the whole unit are total.
func (r *reader) readTypes(descs []typeDesc, n int) []typeDesc {
	if n > r.left() || len(descs)+n > maxTypes {
		r.fail("too many types")
	}
	for range n {
		descs = append(descs, r.readType())
	}
	return descs
}

func (r *reader) readType() typeDesc {
	b := r.byte()
	d := typeDesc{kind: kind(b &^ namedFlag)}
	if d.kind == kInvalid || d.kind >= kindEnd {
		r.fail("unknown kind of type")
	}
	if b&namedFlag != 0 {
		d.pkg, d.name = r.string(), r.string()
		if d.name == "" {
			r.fail("a named type without name")
		}
	}
	switch d.kind {
	case kArray:
		d.len = r.int()
		d.elem = r.int()
	case kSlice, kPointer:
		d.elem = r.int()
	case kMap:
		d.key, d.elem = r.int(), r.int()
	case kStruct:
		n := r.count(4)
		for range n {
			d.fields = append(d.fields, fieldDesc{r.string(), r.string(), r.bool(), r.int()})
		}
	case kInterface, kFunc, kChan, kRefused:
		if d.text = r.string(); d.text == "" {
			r.fail("a type without text")
		}
	case kOpaque:
		if d.name == "" {
			r.fail("an opaque type without name")
		}
	}
	return d
}

// checkTypes makes sure that all types mentioned exist and that no type holds
// itself by value, and computes the least size of values.
func (r *reader) checkTypes(descs []typeDesc) {
	ok := func(i int) {
		if i >= len(descs) {
			r.fail("type number out of range")
		}
	}
	for i := range descs {
		d := &descs[i]
		ok(d.key)
		ok(d.elem)
		for _, f := range d.fields {
			ok(f.typ)
		}
	}
	for i := range descs {
		r.leastSize(descs, i, 0)
	}
}

func (r *reader) leastSize(descs []typeDesc, i, depth int) int {
	d := &descs[i]
	if d.state == 2 {
		return d.min
	}
	if d.state == 1 || depth > maxTypeDepth {
		r.fail("a type that holds itself")
	}
	d.state = 1
	switch d.kind {
	case kArray:
		e := r.leastSize(descs, d.elem, depth+1)
		if e > 0 && d.len > len(r.data)/e {
			e = len(r.data) + 1 // no value of it fits
			d.min = e
			break
		}
		d.min = d.len * e
	case kStruct:
		for _, f := range d.fields {
			d.min = min(d.min+r.leastSize(descs, f.typ, depth+1), len(r.data)+1)
		}
	case kFloat32:
		d.min = 4
	case kFloat64, kComplex64:
		d.min = 8
	case kComplex128:
		d.min = 16
	default:
		d.min = 1
	}
	d.state = 2
	return d.min
}

// typeText writes a type as Go source, with package names for import paths.
func typeText(descs []typeDesc, i int) string {
	w := typeWriter{descs: descs}
	w.write(i)
	return w.b.String()
}

// typeWriter writes types; what would exceed maxTypeID is "...".
type typeWriter struct {
	descs []typeDesc
	b     strings.Builder
}

func (w *typeWriter) write(i int) {
	d := &w.descs[i]
	switch {
	case w.b.Len() > maxTypeID:
		w.b.WriteString("...")
	case d.name != "" && d.pkg != "":
		w.b.WriteString(path.Base(d.pkg) + "." + d.name)
	case d.name != "":
		w.b.WriteString(d.name)
	default:
		w.unnamed(d)
	}
}

func (w *typeWriter) unnamed(d *typeDesc) {
	switch d.kind {
	case kArray:
		w.b.WriteString("[" + strconv.Itoa(d.len) + "]")
		w.write(d.elem)
	case kSlice:
		w.b.WriteString("[]")
		w.write(d.elem)
	case kPointer:
		w.b.WriteString("*")
		w.write(d.elem)
	case kMap:
		w.b.WriteString("map[")
		w.write(d.key)
		w.b.WriteString("]")
		w.write(d.elem)
	case kStruct:
		w.structOf(d)
	case kInterface, kFunc, kChan, kRefused:
		w.b.WriteString(d.text)
	default:
		w.b.WriteString(kindNames[d.kind])
	}
}

func (w *typeWriter) structOf(d *typeDesc) {
	w.b.WriteString("struct{")
	for i, f := range d.fields {
		if i > 0 {
			w.b.WriteString("; ")
		}
		if w.b.Len() > maxTypeID {
			w.b.WriteString("...")
			break
		}
		if !f.embedded {
			w.b.WriteString(f.name + " ")
		}
		w.write(f.typ)
		if f.tag != "" {
			w.b.WriteString(" " + strconv.Quote(f.tag))
		}
	}
	w.b.WriteString("}")
}

// shortID is a type's id for messages.
func shortID(pl *plan) string {
	id := pl.id
	if len(id) > maxShownID {
		id = id[:maxShownID] + "..."
	}
	return id[strings.LastIndex(id, "/")+1:]
}
