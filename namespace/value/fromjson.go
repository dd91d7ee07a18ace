package value

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"go/types"
	"io"
	"math"
	"math/big"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// maxJSONDepth bounds the nesting of JSON given, in levels.
const maxJSONDepth = 500

// FromGo encodes a plain Go value, such as the result of a handler, as a unit
// with a single root. Structs of any package are written by their fields, so
// the bytes may hold types in interfaces which only JSON and TypeString can
// read again. The error is an *UnserializableError or a *LimitError.
func FromGo(v any) (data []byte, err error) {
	rv := reflect.ValueOf(v)
	if !rv.IsValid() {
		rv = reflect.Zero(anyType)
	}
	c := reflect.New(rv.Type())
	c.Elem().Set(rv)
	g := newGraph(Codec{}, nil)
	g.any = true
	g.roots = []*region{{p: c.UnsafePointer(), pl: planOfReflect(rv.Type()), n: 1, id: -1}}
	g.names, g.group = []string{""}, []int{0}
	if err := g.walk(); err != nil {
		return nil, err
	}
	units, err := g.units()
	if err != nil {
		return nil, err
	}
	return units[0].Data, nil
}

// InferJSON encodes a JSON value as the Go value it looks like: integers are
// int, other numbers float64, arrays and objects of one kind []int, []float64,
// []string, []bool and maps from string to these, all others []any and
// map[string]any. A null at the top and an integer that does not fit an int
// are refused with a *JSONError. typ is the type as Go source.
func InferJSON(j []byte) (data []byte, typ string, err error) {
	defer guard(&err)
	v := parseJSON(j)
	if v == nil {
		return nil, "", &JSONError{"$", "null has no type"}
	}
	pl := inferred(v, "$")
	b := jsonBuilder{}
	data = b.unit(pl.singleTable(), v)
	return data, pl.id, nil
}

// FromJSON encodes a JSON value as a single root of the same type as root index
// of sample. Objects fill structs by the Go names of fields or their json tags;
// missing fields are zero, unknown ones are refused. The error is a *JSONError,
// or a *CorruptError for the sample.
func FromJSON(sample []byte, index int, j []byte) (data []byte, err error) {
	defer guard(&err)
	r := reader{data: sample}
	descs, roots := r.readHeader()
	if index < 0 || index >= len(roots) {
		return nil, fmt.Errorf("value: root %d of %d", index, len(roots))
	}
	m := planFromDesc{r: &r, descs: descs, made: make([]*plan, len(descs))}
	pl := m.plan(roots[index], 0)
	b := jsonBuilder{}
	return b.unit(pl.singleTable(), parseJSON(j)), nil
}

// DecodeJSON sets a live value of a static type from JSON; v is addressable.
// Fields are matched as by FromJSON. The error is a *JSONError; v is then
// unchanged.
func DecodeJSON(typ types.Type, v reflect.Value, j []byte) (err error) {
	if !v.CanAddr() {
		return errors.New("value: DecodeJSON needs an addressable value")
	}
	defer guard(&err)
	pl := planOf(typ, v.Type())
	b := jsonBuilder{}
	data := b.unit(pl.singleTable(), parseJSON(j))
	lim := Limits{MaxBytes: len(data) + 1}
	return Decode(data, []Root{{Type: typ, Value: v}}, lim)
}

func jsonFail(path, format string, args ...any) {
	panic(&JSONError{path, fmt.Sprintf(format, args...)})
}

// object of JSON: keys in the order of the text, and their values.
type jsonObject struct {
	keys []string
	vals []any
}

// parseJSON reads one JSON value: nil, bool, json.Number, string, []any or
// *jsonObject.
func parseJSON(j []byte) any {
	if v, ok := parseScalar(j); ok {
		return v
	}
	dec := json.NewDecoder(bytes.NewReader(j))
	dec.UseNumber()
	v := parseValue(dec, "$", 0)
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		jsonFail("$", "more than one value")
	}
	return v
}

// parseScalar is the fast way for the commonest inputs: numbers, and strings
// without escapes.
func parseScalar(j []byte) (any, bool) {
	if len(j) == 0 || j[0] == '[' || j[0] == '{' || !json.Valid(j) {
		return nil, false
	}
	switch last := j[len(j)-1]; {
	case '0' <= last && last <= '9':
		return json.Number(bytes.TrimLeft(j, " \t\r\n")), true
	case j[0] == '"' && last == '"' && bytes.IndexByte(j, '\\') < 0 && utf8.Valid(j):
		return string(j[1 : len(j)-1]), true
	}
	return nil, false
}

func parseToken(dec *json.Decoder, path string) json.Token {
	t, err := dec.Token()
	if errors.Is(err, io.EOF) {
		jsonFail(path, "it ends too early")
	}
	if err != nil {
		jsonFail(path, "%v", err)
	}
	return t
}

func parseValue(dec *json.Decoder, path string, depth int) any {
	if depth > maxJSONDepth {
		jsonFail(path, "nested more than %d levels deep", maxJSONDepth)
	}
	t := parseToken(dec, path)
	d, ok := t.(json.Delim)
	if !ok {
		return t
	}
	if d == '[' {
		list := []any{}
		for dec.More() {
			list = append(list, parseValue(dec, path, depth+1))
		}
		parseToken(dec, path)
		return list
	}
	o := &jsonObject{}
	seen := map[string]bool{}
	for dec.More() {
		k, _ := parseToken(dec, path).(string)
		if seen[k] {
			jsonFail(path, "the key %q comes twice", k)
		}
		seen[k] = true
		o.keys = append(o.keys, k)
		o.vals = append(o.vals, parseValue(dec, path+"."+k, depth+1))
	}
	parseToken(dec, path)
	return o
}

// Plans of the types that JSON may be inferred to be.
var (
	anyPlan  = planOfReflect(anyType)
	intPlan  = planOfReflect(reflect.TypeFor[int]())
	fltPlan  = planOfReflect(reflect.TypeFor[float64]())
	strPlan  = planOfReflect(reflect.TypeFor[string]())
	boolPlan = planOfReflect(reflect.TypeFor[bool]())

	slicePlans = map[*plan]*plan{
		anyPlan: planOfReflect(reflect.TypeFor[[]any]()), intPlan: planOfReflect(reflect.TypeFor[[]int]()),
		fltPlan: planOfReflect(reflect.TypeFor[[]float64]()), strPlan: planOfReflect(reflect.TypeFor[[]string]()),
		boolPlan: planOfReflect(reflect.TypeFor[[]bool]()),
	}
	mapPlans = map[*plan]*plan{
		anyPlan: planOfReflect(reflect.TypeFor[map[string]any]()), intPlan: planOfReflect(reflect.TypeFor[map[string]int]()),
		fltPlan: planOfReflect(reflect.TypeFor[map[string]float64]()), strPlan: planOfReflect(reflect.TypeFor[map[string]string]()),
		boolPlan: planOfReflect(reflect.TypeFor[map[string]bool]()),
	}
)

// inferred gives the type that a JSON value looks like.
func inferred(v any, path string) *plan {
	switch v := v.(type) {
	case bool:
		return boolPlan
	case string:
		return strPlan
	case json.Number:
		if isInteger(v) {
			return intPlan
		}
		return fltPlan
	case []any:
		return slicePlans[common(v, path)]
	case *jsonObject:
		return mapPlans[common(v.vals, path)]
	}
	return anyPlan
}

func isInteger(n json.Number) bool { return !strings.ContainsAny(string(n), ".eE") }

// common gives the one scalar type of all values, or any. Integers among other
// numbers are numbers, if a float64 holds them exactly.
func common(vals []any, path string) *plan {
	if len(vals) == 0 {
		return anyPlan
	}
	var pl *plan
	for i, v := range vals {
		p := inferred(v, path)
		if slicePlans[p] == nil { // not a scalar
			return anyPlan
		}
		if i > 0 && p != pl && (p == intPlan && pl == fltPlan || p == fltPlan && pl == intPlan) {
			p, pl = fltPlan, fltPlan
		}
		if i > 0 && p != pl {
			return anyPlan
		}
		pl = p
	}
	if pl == fltPlan && slices.ContainsFunc(vals, func(v any) bool { return !exactFloat(v.(json.Number)) }) {
		return anyPlan
	}
	return pl
}

func exactFloat(n json.Number) bool {
	if !isInteger(n) {
		return true
	}
	i, err := strconv.ParseInt(string(n), 10, 64)
	return err == nil && i >= -1<<53 && i <= 1<<53
}

// planFromDesc makes plans that are good for writing only: they have no Go
// types.
type planFromDesc struct {
	r     *reader
	descs []typeDesc
	made  []*plan
}

func (m *planFromDesc) plan(i, depth int) *plan {
	if p := m.made[i]; p != nil {
		if p.id == "" {
			m.r.fail("a type without a name that mentions itself")
		}
		return p
	}
	if depth > maxTypeDepth {
		m.r.fail("types nest too deeply")
	}
	d := &m.descs[i]
	p := &plan{kind: d.kind, pkg: d.pkg, name: d.name, len: d.len, reason: d.text, min: d.min}
	m.made[i] = p
	if d.name != "" {
		p.id = strings.TrimPrefix(d.pkg+"."+d.name, ".")
	}
	m.parts(p, d, depth+1)
	if p.id == "" {
		checkID(m.r, p)
		p.id = unnamedID(p)
	}
	return p
}

func (m *planFromDesc) parts(p *plan, d *typeDesc, depth int) {
	switch d.kind {
	case kInterface, kFunc, kChan, kRefused:
		p.id = d.text
	case kArray, kSlice, kPointer:
		p.elem = m.plan(d.elem, depth)
	case kMap:
		p.key, p.elem = m.plan(d.key, depth), m.plan(d.elem, depth)
	case kStruct:
		for _, f := range d.fields {
			p.fields = append(p.fields, field{name: f.name, tag: f.tag, embedded: f.embedded, plan: m.plan(f.typ, depth)})
		}
	case kOpaque:
		if rt := stdTypes[d.pkg+"."+d.name]; rt != nil {
			p.rt, p.opaque = rt, planOfReflect(rt).opaque
		}
	}
}

// jsonBuilder writes a unit from JSON, with the numbering that Encode uses.
type jsonBuilder struct {
	dynamic *typeTable
	out     []byte
	objs    []jsonTask
}

// jsonTask is an object whose content is still to be written.
type jsonTask struct {
	pl   *plan
	form form
	vals []any
	keys [][]byte // of a map: encoded, in order
	path string
}

func (b *jsonBuilder) unit(t *typeTable, v any) []byte {
	b.dynamic = newTable(t)
	b.value(t.plans[0], v, "$")
	for i := 0; i < len(b.objs); i++ {
		o := b.objs[i]
		for k, v := range o.vals {
			if o.form != formMap {
				b.value(o.pl, v, o.path+"["+strconv.Itoa(k)+"]")
				continue
			}
			b.out = append(b.out, o.keys[k]...)
			b.value(o.pl.elem, v, o.path)
		}
	}
	data := append([]byte(nil), t.header...)
	data = binary.AppendUvarint(data, uint64(len(b.dynamic.plans)))
	data = append(data, b.dynamic.data...)
	data = binary.AppendUvarint(data, uint64(len(b.objs)))
	for _, o := range b.objs {
		i, _ := b.dynamic.lookup(o.pl)
		data = append(data, byte(o.form))
		data = binary.AppendUvarint(data, uint64(i))
		if o.form != formSingle {
			data = binary.AppendUvarint(data, uint64(len(o.vals)))
		}
	}
	return append(data, b.out...)
}

// object queues an object and writes its number; the single root is number 0.
func (b *jsonBuilder) object(t jsonTask) {
	b.objs = append(b.objs, t)
	b.out = binary.AppendUvarint(b.out, uint64(len(b.objs)))
}

func (b *jsonBuilder) value(pl *plan, v any, path string) {
	switch pl.kind {
	case kBool:
		x, ok := v.(bool)
		b.want(ok, pl, v, path)
		b.out = appendBool(b.out, x)
	case kString:
		x, ok := v.(string)
		b.want(ok, pl, v, path)
		b.out = appendString(b.out, x)
	case kInt, kInt8, kInt16, kInt32, kInt64, kUint, kUint8, kUint16, kUint32, kUint64, kUintptr:
		b.integer(pl, v, path)
	case kFloat32:
		b.out = binary.LittleEndian.AppendUint32(b.out, math.Float32bits(float32(b.float(pl, v, 32, path))))
	case kFloat64:
		b.out = binary.LittleEndian.AppendUint64(b.out, math.Float64bits(b.float(pl, v, 64, path)))
	case kComplex64, kComplex128:
		b.complex(pl, v, path)
	default:
		b.composite(pl, v, path)
	}
}

func (b *jsonBuilder) want(ok bool, pl *plan, v any, path string) {
	if !ok {
		jsonFail(path, "%s does not fit %s", jsonKind(v), describe(pl))
	}
}

func jsonKind(v any) string {
	switch v := v.(type) {
	case nil:
		return "null"
	case bool:
		return "a bool"
	case json.Number:
		return "the number " + shorten(string(v))
	case string:
		return "a string"
	case []any:
		return "an array"
	}
	return "an object"
}

func shorten(s string) string {
	if len(s) > maxKeyText {
		return s[:maxKeyText] + "..."
	}
	return s
}

// describe names a type for a message.
func describe(pl *plan) string {
	if pl.name != "" {
		return pl.name
	}
	switch pl.kind {
	case kArray:
		return "an array of " + strconv.Itoa(pl.len)
	case kSlice:
		return "a slice"
	case kStruct:
		return "a struct"
	case kPointer:
		return "a pointer"
	case kMap:
		return "a map"
	case kInterface, kFunc, kChan, kRefused:
		return shortID(pl)
	case kOpaque:
		return pl.name
	}
	return kindNames[pl.kind]
}

var intBits = map[kind]int{kInt: strconv.IntSize, kInt8: 8, kInt16: 16, kInt32: 32, kInt64: 64, kUint: strconv.IntSize,
	kUint8: 8, kUint16: 16, kUint32: 32, kUint64: 64, kUintptr: strconv.IntSize}

func (b *jsonBuilder) integer(pl *plan, v any, path string) {
	n, ok := v.(json.Number)
	b.want(ok, pl, v, path)
	text := wholeNumber(string(n))
	if pl.kind <= kInt64 {
		i, err := strconv.ParseInt(text, 10, intBits[pl.kind])
		b.want(err == nil, pl, v, path)
		if pl.kind == kInt8 {
			b.out = append(b.out, byte(i))
			return
		}
		b.out = binary.AppendVarint(b.out, i)
		return
	}
	i, err := strconv.ParseUint(text, 10, intBits[pl.kind])
	b.want(err == nil, pl, v, path)
	if pl.kind == kUint8 {
		b.out = append(b.out, byte(i))
		return
	}
	b.out = binary.AppendUvarint(b.out, i)
}

// maxNumberText bounds a number whose exact value is worked out, in bytes;
// maxExponent bounds its exponent.
const (
	maxNumberText = 100
	maxExponent   = 30
)

// wholeNumber writes 1e3 and 2.0 as integers, exactly; other text is unchanged.
func wholeNumber(s string) string {
	if isInteger(json.Number(s)) || len(s) > maxNumberText {
		return s
	}
	if _, e, ok := strings.Cut(strings.ToLower(s), "e"); ok {
		if n, err := strconv.Atoi(e); err != nil || n > maxExponent || n < -maxExponent {
			return s
		}
	}
	if r, ok := new(big.Rat).SetString(s); ok && r.IsInt() {
		return r.Num().String()
	}
	return s
}

func (b *jsonBuilder) float(pl *plan, v any, bits int, path string) float64 {
	switch v := v.(type) {
	case json.Number:
		f, err := strconv.ParseFloat(string(v), bits)
		b.want(err == nil, pl, v, path)
		return f
	case string: // as the view shows them
		switch v {
		case "NaN":
			return math.NaN()
		case "+Inf":
			return math.Inf(1)
		case "-Inf":
			return math.Inf(-1)
		}
	}
	b.want(false, pl, v, path)
	return 0
}

func (b *jsonBuilder) complex(pl *plan, v any, path string) {
	s, _ := v.(string)
	if n, ok := v.(json.Number); ok {
		s = string(n)
	}
	bits := 64
	if pl.kind == kComplex128 {
		bits = 128
	}
	c, err := strconv.ParseComplex(s, bits)
	b.want(err == nil, pl, v, path)
	if pl.kind == kComplex64 {
		b.out = binary.LittleEndian.AppendUint32(b.out, math.Float32bits(float32(real(c))))
		b.out = binary.LittleEndian.AppendUint32(b.out, math.Float32bits(float32(imag(c))))
		return
	}
	b.out = binary.LittleEndian.AppendUint64(b.out, math.Float64bits(real(c)))
	b.out = binary.LittleEndian.AppendUint64(b.out, math.Float64bits(imag(c)))
}

func (b *jsonBuilder) composite(pl *plan, v any, path string) {
	if v == nil {
		switch pl.kind {
		case kPointer, kSlice, kMap, kInterface, kFunc, kChan, kUnsafePointer:
			b.out = append(b.out, tagNil)
			return
		}
	}
	switch pl.kind {
	case kPointer:
		b.pointer(pl, v, path)
	case kSlice:
		b.slice(pl, b.listOf(pl, v, path), path)
	case kArray:
		list := b.listOf(pl, v, path)
		if len(list) != pl.len {
			jsonFail(path, "%d elements for %s", len(list), describe(pl))
		}
		for i, e := range list {
			b.value(pl.elem, e, path+"["+strconv.Itoa(i)+"]")
		}
	case kMap:
		b.mapOf(pl, v, path)
	case kStruct:
		b.structOf(pl, v, path)
	case kInterface:
		b.iface(pl, v, path)
	case kOpaque:
		b.opaque(pl, v, path)
	default:
		b.want(false, pl, v, path)
	}
}

func (b *jsonBuilder) pointer(pl *plan, v any, path string) {
	if pl.elem.kind == kRefused {
		jsonFail(path, "a value of type %s cannot be made from JSON", describe(pl.elem))
	}
	if pl.elem.min == 0 {
		b.out = append(b.out, tagEmpty)
		return
	}
	b.out = append(b.out, tagWhole)
	b.object(jsonTask{pl: pl.elem, form: formSingle, vals: []any{v}, path: path})
}

// listOf reads an array, or for bytes also base64.
func (b *jsonBuilder) listOf(pl *plan, v any, path string) []any {
	if s, ok := v.(string); ok && pl.elem.kind == kUint8 {
		raw, err := base64.StdEncoding.DecodeString(s)
		if err != nil {
			jsonFail(path, "not base64: %v", err)
		}
		list := make([]any, len(raw))
		for i, c := range raw {
			list[i] = json.Number(strconv.Itoa(int(c)))
		}
		return list
	}
	list, ok := v.([]any)
	b.want(ok, pl, v, path)
	return list
}

func (b *jsonBuilder) slice(pl *plan, list []any, path string) {
	n := len(list)
	tag := byte(tagWhole)
	if n == 0 || pl.elem.min == 0 {
		tag = tagEmpty
	}
	b.out = append(b.out, tag)
	b.out = binary.AppendUvarint(b.out, uint64(n))
	b.out = binary.AppendUvarint(b.out, uint64(n))
	if tag == tagWhole {
		b.object(jsonTask{pl: pl.elem, form: formArray, vals: list, path: path})
	}
}

// mapOf reads an object, or a list of pairs for keys that are not basic.
func (b *jsonBuilder) mapOf(pl *plan, v any, path string) {
	type pair struct {
		key []byte
		val any
	}
	var pairs []pair
	switch v := v.(type) {
	case *jsonObject:
		for i, k := range v.keys {
			pairs = append(pairs, pair{b.keyFromText(pl.key, k, path), v.vals[i]})
		}
	case []any:
		for _, e := range v {
			kv, ok := e.([]any)
			if !ok || len(kv) != 2 {
				jsonFail(path, "a map is an object or a list of [key, value]")
			}
			pairs = append(pairs, pair{b.key(pl.key, kv[0], path), kv[1]})
		}
	default:
		b.want(false, pl, v, path)
	}
	slices.SortFunc(pairs, func(x, y pair) int { return bytes.Compare(x.key, y.key) })
	t := jsonTask{pl: pl, form: formMap, path: path}
	for i, p := range pairs {
		if i > 0 && bytes.Equal(p.key, pairs[i-1].key) {
			jsonFail(path, "a key comes twice")
		}
		t.keys, t.vals = append(t.keys, p.key), append(t.vals, p.val)
	}
	b.out = append(b.out, tagWhole)
	b.object(t)
}

func (b *jsonBuilder) keyFromText(pl *plan, k, path string) []byte {
	switch {
	case pl.kind == kString:
		return b.key(pl, k, path)
	case pl.kind == kBool && (k == "true" || k == "false"):
		return b.key(pl, k == "true", path)
	case pl.kind == kComplex64, pl.kind == kComplex128:
		return b.key(pl, k, path)
	case pl.kind < kString && pl.kind != kBool:
		return b.key(pl, json.Number(k), path)
	}
	jsonFail(path, "the key %q does not fit %s", shorten(k), describe(pl))
	return nil
}

// key encodes a map key by itself.
func (b *jsonBuilder) key(pl *plan, v any, path string) []byte {
	sub := jsonBuilder{dynamic: newTable(b.dynamic)}
	sub.value(pl, v, path+"[key]")
	if len(sub.objs) > 0 || len(sub.dynamic.plans) > 0 {
		jsonFail(path, "map keys of type %s cannot be made from JSON", describe(pl))
	}
	if n, ok := v.(string); ok && n == "NaN" && pl.kind != kString {
		jsonFail(path, "a map key that is NaN")
	}
	return sub.out
}

// structOf fills fields by their Go name or the name in their json tag.
func (b *jsonBuilder) structOf(pl *plan, v any, path string) {
	o, ok := v.(*jsonObject)
	b.want(ok, pl, v, path)
	given := make([]bool, len(pl.fields))
	vals := make([]any, len(pl.fields))
	inner := map[int]*jsonObject{} // of embedded structs, what is among the fields of this one
	for i, k := range o.keys {
		f := fieldNamed(pl, k)
		if f < 0 {
			if f = promotedFrom(pl, k); f < 0 {
				jsonFail(path, "%s has no field %q", describe(pl), shorten(k))
			}
			if inner[f] == nil {
				inner[f] = &jsonObject{}
			}
			inner[f].keys, inner[f].vals = append(inner[f].keys, k), append(inner[f].vals, o.vals[i])
			continue
		}
		if given[f] {
			jsonFail(path, "the field %s comes twice", pl.fields[f].name)
		}
		given[f], vals[f] = true, o.vals[i]
	}
	for f, x := range inner { // each is looked at once, so their order does not matter
		if given[f] {
			jsonFail(path, "the field %s comes twice", pl.fields[f].name)
		}
		given[f], vals[f] = true, x
	}
	for i, f := range pl.fields {
		if given[i] {
			b.value(f.plan, vals[i], path+"."+f.name)
		} else {
			b.zero(f.plan, path+"."+f.name)
		}
	}
}

func fieldNamed(pl *plan, name string) int {
	if i := slices.IndexFunc(pl.fields, func(f field) bool { return f.name == name }); i >= 0 && name != "_" {
		return i
	}
	return slices.IndexFunc(pl.fields, func(f field) bool { return name != "" && tagName(f.tag) == name })
}

// promotedFrom is the embedded struct that has a field of a name among its own or those
// of its embedded structs; -1 when none has, or more than one.
func promotedFrom(pl *plan, name string) int {
	found := -1
	for i, f := range pl.fields {
		if !f.embedded || f.plan.kind != kStruct || fieldNamed(f.plan, name) < 0 && promotedFrom(f.plan, name) < 0 {
			continue
		}
		if found >= 0 {
			return -1
		}
		found = i
	}
	return found
}

// maxZeroBytes bounds what is filled in where JSON gives nothing, in bytes.
const maxZeroBytes = 4 << 20

// zero writes the zero value of a type.
func (b *jsonBuilder) zero(pl *plan, path string) {
	switch pl.kind {
	case kArray:
		if pl.elem.min == 0 {
			return
		}
		for range pl.len {
			if b.zero(pl.elem, path); len(b.out) > maxZeroBytes {
				jsonFail(path, "arrays of more than %d bytes cannot be made from JSON", maxZeroBytes)
			}
		}
	case kStruct:
		for _, f := range pl.fields {
			b.zero(f.plan, path)
		}
	case kOpaque:
		b.opaqueValue(pl, nil, path)
	case kRefused:
		jsonFail(path, "a value of type %s cannot be made from JSON", describe(pl))
	default:
		b.out = append(b.out, make([]byte, pl.min)...)
	}
}

func (b *jsonBuilder) iface(pl *plan, v any, path string) {
	if pl.id != "any" {
		jsonFail(path, "a value of the interface type %s cannot be made from JSON", describe(pl))
	}
	dyn := inferred(v, path)
	b.out = append(b.out, tagWhole)
	b.out = binary.AppendUvarint(b.out, uint64(b.dynamic.add(dyn)))
	b.value(dyn, v, path)
}

func (b *jsonBuilder) opaque(pl *plan, v any, path string) {
	b.opaqueValue(pl, toJSON(v), path)
}

// opaqueValue lets the standard library read its type's JSON; nil is the zero
// value.
func (b *jsonBuilder) opaqueValue(pl *plan, j []byte, path string) {
	if pl.opaque == nil {
		jsonFail(path, "a value of type %s cannot be made from JSON", describe(pl))
	}
	v := reflect.New(pl.rt)
	if j != nil {
		if err := pl.opaque.parse(v.UnsafePointer(), j); err != nil {
			jsonFail(path, "%v", err)
		}
	}
	raw, err := pl.opaque.encode(v.UnsafePointer())
	if err != nil {
		jsonFail(path, "%v", err)
	}
	b.out = appendString(b.out, string(raw))
}

// toJSON writes parsed JSON again.
func toJSON(v any) []byte {
	o, ok := v.(*jsonObject)
	if !ok {
		j, err := json.Marshal(v)
		if err != nil {
			jsonFail("$", "%v", err)
		}
		return j
	}
	j := []byte{'{'}
	for i, k := range o.keys {
		if i > 0 {
			j = append(j, ',')
		}
		j = append(append(appendJSONString(j, k), ':'), toJSON(o.vals[i])...)
	}
	return append(j, '}')
}
