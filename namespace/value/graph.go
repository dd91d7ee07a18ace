package value

import (
	"cmp"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"unsafe"
)

// region is a piece of memory that values refer to: a root variable, what a
// pointer points to, the array behind a slice, or a map.
type region struct {
	p      unsafe.Pointer
	pl     *plan // of an element; of the map
	form   form
	n      int     // elements: 1 for a single value, capacity for an array
	root   int     // index of the root variable, -1 if it is none
	owner  int     // a root from which it is reachable
	parent *region // where it was first met; for error messages
	id     int     // number in its unit, -1 until mentioned

	keyRefs bool // a map with references in its keys
}

// form is how an object is laid out. The numbers are part of the byte format.
type form uint8

const (
	formSingle form = 0
	formArray  form = 1
	formMap    form = 2
)

func (r *region) size() uintptr { return r.pl.size * uintptr(r.n) }
func (r *region) end() uintptr  { return uintptr(r.p) + r.size() }

type regionKey struct {
	p    unsafe.Pointer // of an array: its end, see addArray
	id   string
	form form
}

// graph finds the memory reachable from the roots and which roots share it.
type graph struct {
	engine Engine
	lim    Limits
	any    bool // named types of this process may be in interfaces: nobody restores them
	roots  []*region
	names  []string
	found  map[regionKey]*region
	list   []*region // memory: all but maps
	maps   []*region
	work   []task
	group  []int // union-find over roots
	nodes  int
	cur    *region // being walked
}

// task is a range of elements of a region still to be walked, counted from its
// end, since a region may grow at its start.
type task struct {
	r        *region
	from, to int
}

func newGraph(c Codec, roots []Root) *graph {
	g := &graph{engine: c.Engine, lim: c.Limits.withDefaults(), found: map[regionKey]*region{}, group: make([]int, len(roots))}
	for i := range roots {
		r := &region{p: roots[i].Value.Addr().UnsafePointer(), pl: planOf(roots[i].Type, roots[i].Value.Type()), n: 1,
			root: i, owner: i, id: -1}
		g.roots = append(g.roots, r)
		g.names = append(g.names, roots[i].Name)
		g.group[i] = i
	}
	return g
}

// walk finds all regions, refuses what cannot be kept, and groups the roots.
func (g *graph) walk() error {
	for _, r := range g.roots {
		g.work = append(g.work[:0], task{r, 0, 1})
		for len(g.work) > 0 {
			t := g.work[len(g.work)-1]
			g.work = g.work[:len(g.work)-1]
			if err := g.walkRegion(t); err != nil {
				return g.explain(err)
			}
		}
		if r.pl.size > 0 {
			g.list = append(g.list, r)
		}
	}
	return g.explain(g.merge())
}

func (g *graph) walkRegion(t task) error {
	g.cur = t.r
	if t.r.form == formMap {
		return g.walkMap(t.r)
	}
	if !t.r.pl.refs {
		return nil
	}
	for i := t.from; i < t.to; i++ {
		e := t.r.n - 1 - i
		err := g.walkValue(t.r.pl, unsafe.Add(t.r.p, uintptr(e)*t.r.pl.size), 0)
		if err != nil && t.r.form == formArray {
			err = at(err, "["+strconv.Itoa(e)+"]")
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// refusal is an UnserializableError that does not know its place yet.
type refusal struct {
	where  *region
	path   string // inside the region, filled in while the error travels up
	reason string
}

func (e *refusal) Error() string { return e.reason }

func at(err error, step string) error {
	if r, ok := errors.AsType[*refusal](err); ok {
		r.path = step + r.path
	}
	return err
}

func (g *graph) refuse(format string, args ...any) error {
	return &refusal{where: g.cur, reason: fmt.Sprintf(format, args...)}
}

func (g *graph) visit(depth int) error {
	g.nodes++
	if g.nodes > g.lim.MaxNodes {
		return &LimitError{"MaxNodes", g.lim.MaxNodes, g.nodes}
	}
	if depth > g.lim.MaxDepth {
		return &LimitError{"MaxDepth", g.lim.MaxDepth, depth}
	}
	return nil
}

// walkValue visits the references in the value of plan pl at p.
func (g *graph) walkValue(pl *plan, p unsafe.Pointer, depth int) error {
	if !pl.refs {
		return nil
	}
	if err := g.visit(depth); err != nil {
		return err
	}
	switch pl.kind {
	case kPointer:
		return g.walkPointer(pl, *(*unsafe.Pointer)(p))
	case kSlice:
		if s := (*sliceHeader)(p); s.data != nil && s.cap > 0 && pl.elem.size > 0 {
			return g.addArray(s.data, pl.elem, s.cap)
		}
	case kMap:
		if m := *(*unsafe.Pointer)(p); m != nil {
			g.addMap(m, pl)
		}
	case kInterface:
		return g.walkInterface(pl, p, depth)
	case kFunc:
		return g.walkFunc(p, depth)
	case kStruct:
		for i := range pl.fields {
			f := &pl.fields[i]
			if !f.plan.refs {
				continue
			}
			if err := g.walkValue(f.plan, unsafe.Add(p, f.offset), depth+1); err != nil {
				return at(err, "."+f.name)
			}
		}
	case kArray:
		for i := range pl.len {
			if err := g.walkValue(pl.elem, unsafe.Add(p, uintptr(i)*pl.elem.size), depth+1); err != nil {
				return at(err, "["+strconv.Itoa(i)+"]")
			}
		}
	default:
		return g.judge(pl, p)
	}
	return nil
}

// judge refuses values of kinds that are kept only when they are nil or idle.
func (g *graph) judge(pl *plan, p unsafe.Pointer) error {
	switch pl.kind {
	case kChan:
		if *(*unsafe.Pointer)(p) != nil {
			return g.refuse("a channel")
		}
	case kUnsafePointer:
		if *(*unsafe.Pointer)(p) != nil {
			return g.refuse("an unsafe.Pointer")
		}
	case kOpaque:
		if reason := pl.opaque.check(p); reason != "" {
			return g.refuse("%s", reason)
		}
	case kRefused:
		return g.refuse("%s", pl.reason)
	}
	return nil
}

type sliceHeader struct {
	data     unsafe.Pointer
	len, cap int
}

func (g *graph) walkPointer(pl *plan, q unsafe.Pointer) error {
	if q == nil || pl.elem.size == 0 || wellKnown[q] != "" {
		return nil
	}
	if pl.elem.kind == kRefused {
		return g.refuse("%s", "a pointer to "+pl.elem.reason)
	}
	k := regionKey{q, pl.elem.id, formSingle}
	if r := g.found[k]; r != nil {
		g.join(r.owner, g.cur.owner)
		return nil
	}
	g.add(k, &region{p: q, pl: pl.elem, n: 1})
	return nil
}

func (g *graph) add(k regionKey, r *region) {
	r.root, r.owner, r.parent, r.id = -1, g.cur.owner, g.cur, -1
	g.found[k] = r
	if r.form == formMap {
		g.maps = append(g.maps, r)
	} else {
		g.list = append(g.list, r)
	}
	g.work = append(g.work, task{r, 0, r.n})
}

// addArray adds the memory behind a slice. Slices of one array mostly share its
// end, so they are looked up by their end: a slice that begins earlier extends
// the region, and only what is new is walked. That keeps the walk linear when
// there are many.
func (g *graph) addArray(p unsafe.Pointer, elem *plan, n int) error {
	if max := g.lim.MaxBytes; elem.min > 0 && n > max/elem.min {
		return &LimitError{"MaxBytes", max, n * elem.min}
	}
	// The last element stands for the end: a pointer past the end of an object
	// could belong to its neighbour.
	last := unsafe.Add(p, uintptr(n-1)*elem.size)
	k := regionKey{last, elem.id, formArray}
	r := g.found[k]
	if r == nil {
		g.add(k, &region{p: p, pl: elem, form: formArray, n: n})
		return nil
	}
	g.join(r.owner, g.cur.owner)
	if n > r.n {
		g.work = append(g.work, task{r, r.n, n})
		r.p, r.n = p, n
	}
	return nil
}

func (g *graph) addMap(m unsafe.Pointer, pl *plan) {
	k := regionKey{m, "", formMap}
	if r := g.found[k]; r != nil {
		g.join(r.owner, g.cur.owner)
		return
	}
	g.add(k, &region{p: m, pl: pl, form: formMap, n: 1})
}

func mapValue(pl *plan, m unsafe.Pointer) reflect.Value {
	return reflect.NewAt(pl.rt, unsafe.Pointer(&m)).Elem()
}

func (g *graph) walkMap(r *region) error {
	m := mapValue(r.pl, r.p)
	kp, ep := r.pl.key, r.pl.elem
	if n := m.Len(); n > g.lim.MaxBytes/(kp.min+ep.min+1) {
		return &LimitError{"MaxBytes", g.lim.MaxBytes, n * (kp.min + ep.min)}
	}
	if !kp.refs && !ep.refs && !mayBeNaN(kp) {
		return nil
	}
	key, elem := reflect.New(kp.rt).Elem(), reflect.New(ep.rt).Elem()
	for it := m.MapRange(); it.Next(); {
		key.SetIterKey(it)
		if key.Interface() != key.Interface() {
			return g.refuse("a map with a NaN key")
		}
		if err := g.walkKey(r, kp, key); err != nil {
			return at(err, "[key]")
		}
		elem.SetIterValue(it)
		if err := g.walkValue(ep, elem.Addr().UnsafePointer(), 1); err != nil {
			return at(err, "["+keyText(key)+"]")
		}
	}
	return nil
}

func (g *graph) walkKey(r *region, kp *plan, key reflect.Value) error {
	p := key.Addr().UnsafePointer()
	held, err := g.holdsReference(kp, p)
	if err != nil {
		return err
	}
	r.keyRefs = r.keyRefs || held
	return g.walkValue(kp, p, 1)
}

// mayBeNaN tells whether values of a key type can differ from themselves.
func mayBeNaN(pl *plan) bool {
	switch pl.kind {
	case kFloat32, kFloat64, kComplex64, kComplex128, kInterface:
		return true
	case kArray:
		return mayBeNaN(pl.elem)
	case kStruct:
		return slices.ContainsFunc(pl.fields, func(f field) bool { return mayBeNaN(f.plan) })
	}
	return false
}

// maxKeyText bounds a map key shown in an error, in bytes.
const maxKeyText = 40

func keyText(k reflect.Value) string {
	for k.Kind() == reflect.Interface && !k.IsNil() {
		k = k.Elem()
	}
	s := "key"
	switch {
	case k.Kind() == reflect.String:
		s = strconv.Quote(k.String())
	case k.Kind() <= reflect.Complex128:
		s = fmt.Sprint(k)
	}
	if len(s) > maxKeyText {
		s = s[:maxKeyText] + "..."
	}
	return s
}

// holdsReference tells whether a map key refers to memory, so that its place in
// the encoding cannot follow from its bytes.
func (g *graph) holdsReference(pl *plan, p unsafe.Pointer) (bool, error) {
	if !pl.refs {
		return false, nil
	}
	switch pl.kind {
	case kPointer:
		q := *(*unsafe.Pointer)(p)
		return q != nil && pl.elem.size > 0 && wellKnown[q] == "", nil
	case kInterface:
		h, err := g.dynamic(pl, p)
		if h.pl == nil || err != nil {
			return false, err
		}
		return g.holdsReference(h.pl, h.p)
	case kArray:
		for i := range pl.len {
			if held, err := g.holdsReference(pl.elem, unsafe.Add(p, uintptr(i)*pl.elem.size)); held || err != nil {
				return held, err
			}
		}
	case kStruct:
		for _, f := range pl.fields {
			if held, err := g.holdsReference(f.plan, unsafe.Add(p, f.offset)); held || err != nil {
				return held, err
			}
		}
	}
	return false, nil
}

func (g *graph) walkInterface(pl *plan, p unsafe.Pointer, depth int) error {
	h, err := g.dynamic(pl, p)
	if h.pl == nil || err != nil {
		return err
	}
	if err := g.walkValue(h.pl, h.p, depth+1); err != nil {
		return at(err, ".("+shortID(h.pl)+")")
	}
	return nil
}

// held is what an interface holds.
type held struct {
	pl    *plan          // nil: the interface is nil
	p     unsafe.Pointer // a copy of the value
	boxed bool           // the engine must box it again
}

// dynamic looks into an interface.
func (g *graph) dynamic(pl *plan, p unsafe.Pointer) (held, error) {
	v := reflect.NewAt(pl.rt, p).Elem()
	if pl.standIn {
		if v.IsZero() {
			return held{}, nil
		}
	} else if v = v.Elem(); !v.IsValid() {
		return held{}, nil
	}
	var h held
	if g.engine != nil {
		t, inner, err := g.engine.Unbox(pl.typ, v)
		if err != nil {
			return held{}, g.refuse("%s", err.Error())
		}
		if !inner.IsValid() {
			return held{}, nil
		}
		v = inner
		if t != nil {
			h = held{pl: planOf(t, v.Type()), boxed: true}
		}
	}
	if h.pl == nil {
		h.pl = planOfReflect(v.Type())
		switch h.pl.kind {
		case kFunc:
			return held{}, g.refuse("a func value")
		case kChan:
			return held{}, g.refuse("a channel")
		case kUnsafePointer:
			return held{}, g.refuse("an unsafe.Pointer")
		}
		if lost := h.pl.unfindable(); lost != "" && !g.any && h.pl.kind != kRefused {
			return held{}, g.refuse("an interface holding a value of type %s, which could not be found again", lost)
		}
	}
	if len(h.pl.id) > maxTypeID {
		return held{}, g.refuse("an interface holding a value of a type of more than %d bytes of text", maxTypeID)
	}
	if h.pl.kind == kRefused {
		return held{}, g.refuse("%s", h.pl.reason)
	}
	c := reflect.New(v.Type())
	c.Elem().Set(v)
	h.p = c.UnsafePointer()
	return h, nil
}

// find gives the representative of a root's group.
func (g *graph) find(i int) int {
	for g.group[i] != i {
		g.group[i] = g.group[g.group[i]]
		i = g.group[i]
	}
	return i
}

func (g *graph) join(a, b int) {
	if a, b = g.find(a), g.find(b); a != b {
		g.group[max(a, b)] = min(a, b)
	}
}

// merge leaves only outermost regions in the list, in the order of their
// addresses, and joins the roots that share one.
func (g *graph) merge() error {
	if len(g.list) < 2 {
		return nil
	}
	slices.SortFunc(g.list, outerFirst)
	out := g.list[:1]
	for _, r := range g.list[1:] {
		l := out[len(out)-1]
		if uintptr(r.p) >= l.end() {
			out = append(out, r)
			continue
		}
		g.cur = r
		if r.root >= 0 || r.end() > l.end() && !extend(l, r) {
			return g.refuse("in the same memory as another variable or value of type %s", l.pl.id)
		}
		g.join(l.owner, r.owner)
	}
	g.list = out
	return nil
}

// outerFirst orders regions by address, what contains before what is contained.
func outerFirst(a, b *region) int {
	return cmp.Or(
		cmp.Compare(uintptr(a.p), uintptr(b.p)),
		cmp.Compare(b.size(), a.size()),
		cmp.Compare(b.root, a.root), // roots are 0 and up, all else is -1
		cmp.Compare(b.levels(), a.levels()),
		cmp.Compare(a.form, b.form),
		cmp.Compare(a.pl.id, b.pl.id),
	)
}

func (r *region) levels() int { return r.pl.depth + int(r.form) }

// extend makes l cover r too, when both are parts of one array.
func extend(l, r *region) bool {
	if l.root >= 0 {
		return false
	}
	le, _ := l.elements()
	re, _ := r.elements()
	if !sameType(le, re) || le.size == 0 || (uintptr(r.p)-uintptr(l.p))%le.size != 0 {
		return false
	}
	l.form, l.n, l.pl = formArray, int((r.end()-uintptr(l.p))/le.size), le
	return true
}

// elements sees a region as an array.
func (r *region) elements() (*plan, int) {
	if r.form == formSingle && r.pl.kind == kArray {
		return r.pl.elem, r.pl.len
	}
	return r.pl, r.n
}

// sameType tells whether memory of type a may be referred to as b.
func sameType(a, b *plan) bool { return a == b || (a.id == b.id || a.rt == b.rt) && a.size == b.size }

// locate finds the outermost region that holds p.
func (g *graph) locate(p unsafe.Pointer) *region {
	i, ok := slices.BinarySearchFunc(g.list, uintptr(p), func(r *region, p uintptr) int { return cmp.Compare(uintptr(r.p), p) })
	if !ok {
		i--
	}
	if i < 0 || uintptr(p) >= g.list[i].end() {
		return nil
	}
	return g.list[i]
}

// steps finds the way from the start of region r to the value of type target at
// p: indices of elements and fields. With n > 0 it is the first of n elements
// of one array.
func steps(r *region, p unsafe.Pointer, target *plan, n int) ([]int, bool) {
	off := uintptr(p) - uintptr(r.p)
	var path []int
	cur, count := r.pl, 0 // count > 0: cur is the element type of an array of count
	if r.form == formArray {
		count = r.n
	}
	for {
		if count > 0 {
			if cur.size == 0 {
				return nil, false
			}
			i := int(off / cur.size)
			off %= cur.size
			path = append(path, i)
			if off == 0 && n > 0 && sameType(cur, target) && i+n <= count {
				return path, true
			}
			if off == 0 && n == 0 && target.kind == kArray && sameType(cur, target.elem) && i+target.len <= count {
				return path, true
			}
			count = 0
		}
		if off == 0 && n == 0 && sameType(cur, target) {
			return path, true
		}
		switch cur.kind {
		case kArray:
			cur, count = cur.elem, cur.len
		case kStruct:
			i := fieldAt(cur, off)
			if i < 0 {
				return nil, false
			}
			path = append(path, i)
			off -= cur.fields[i].offset
			cur = cur.fields[i].plan
		default:
			return nil, false
		}
		if count == 0 && cur.size == 0 {
			return nil, false
		}
	}
}

// fieldAt finds the field that holds the byte at an offset.
func fieldAt(pl *plan, off uintptr) int {
	for i, f := range pl.fields {
		if off >= f.offset && off < f.offset+f.plan.size {
			return i
		}
	}
	return -1
}

// explain gives a refusal the name of its variable and its path.
func (g *graph) explain(err error) error {
	e, ok := errors.AsType[*refusal](err)
	if !ok {
		return err
	}
	path := e.path
	r := e.where
	for ; r.parent != nil; r = r.parent {
		step, _ := g.pathTo(r.parent, r)
		path = step + path
	}
	return &UnserializableError{Variable: g.names[r.owner], Path: path, Reason: e.reason}
}

// pathTo finds a reference to region "to" in region "in".
func (g *graph) pathTo(in, to *region) (string, bool) {
	g.cur = in
	if in.form == formMap {
		for it := mapValue(in.pl, in.p).MapRange(); it.Next(); {
			elem := reflect.New(in.pl.elem.rt).Elem()
			elem.SetIterValue(it)
			if s, ok := g.refIn(in.pl.elem, elem.Addr().UnsafePointer(), to); ok {
				return "[" + keyText(it.Key()) + "]" + s, true
			}
		}
		return "[key]", false
	}
	for i := range in.n {
		if s, ok := g.refIn(in.pl, unsafe.Add(in.p, uintptr(i)*in.pl.size), to); ok {
			if in.form == formArray {
				s = "[" + strconv.Itoa(i) + "]" + s
			}
			return s, true
		}
	}
	return "", false
}

func (g *graph) refIn(pl *plan, p unsafe.Pointer, to *region) (string, bool) {
	if !pl.refs {
		return "", false
	}
	switch pl.kind {
	case kPointer, kMap, kSlice:
		q := *(*unsafe.Pointer)(p)
		if to.form == formMap || pl.kind == kMap {
			return "", q == to.p
		}
		return "", uintptr(q) >= uintptr(to.p) && uintptr(q) < to.end()
	case kInterface:
		if h, err := g.dynamic(pl, p); h.pl != nil && err == nil {
			s, ok := g.refIn(h.pl, h.p, to)
			return ".(" + shortID(h.pl) + ")" + s, ok
		}
	case kFunc:
		return g.refInFunc(p, to)
	case kStruct:
		for _, f := range pl.fields {
			if s, ok := g.refIn(f.plan, unsafe.Add(p, f.offset), to); ok {
				return "." + f.name + s, true
			}
		}
	case kArray:
		for i := range pl.len {
			if s, ok := g.refIn(pl.elem, unsafe.Add(p, uintptr(i)*pl.elem.size), to); ok {
				return "[" + strconv.Itoa(i) + "]" + s, true
			}
		}
	}
	return "", false
}
