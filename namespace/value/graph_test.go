package value

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"go/token"
	"go/types"
	"io"
	"math"
	"reflect"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
	"unsafe"

	"pgregory.net/rapid"
)

func TestUnitsAreVariablesThatShareMemory(t *testing.T) {
	x, y := 1, 2
	px := &x
	s := []int{1, 2, 3, 4}
	tail := s[2:]
	apart := s[:1:1] // does not overlap with tail, but with s
	m := map[string]int{"a": 1}
	m2 := m
	lone := []int{1, 2, 3, 4}
	roots := []Root{root("y", &y), root("x", &x), root("px", &px), root("s", &s), root("tail", &tail), root("apart", &apart),
		root("m", &m), root("m2", &m2), root("lone", &lone)}
	eof, eof2 := io.EOF, io.EOF // the library's variable is nobody's memory
	zero, zero2 := &struct{}{}, &struct{}{}
	roots = append(roots, root("eof", &eof), root("eof2", &eof2), root("zero", &zero), root("zero2", &zero2))
	var names []string
	units := mustEncode(t, roots...)
	for _, u := range units {
		names = append(names, strings.Join(u.Names, "+"))
	}
	if want := "apart+s+tail eof eof2 lone m+m2 px+x y zero zero2"; strings.Join(names, " ") != want {
		t.Errorf("units %v, want %s", names, want)
	}
	got := restore(t, units, roots)
	at := func(i int) any { return got[i].Value.Addr().Interface() }
	if *at(2).(**int) != at(1).(*int) {
		t.Error("px does not point to x")
	}
	(*at(4).(*[]int))[0] = 77
	(*at(5).(*[]int))[0] = 78
	if rs := *at(3).(*[]int); rs[2] != 77 || rs[0] != 78 {
		t.Error("slices do not share their array:", rs)
	}
	(*at(6).(*map[string]int))["new"] = 1
	if (*at(7).(*map[string]int))["new"] != 1 {
		t.Error("m2 is another map")
	}
}

type holder struct {
	arr  [4]point
	mid  point
	self *holder
}

func TestInteriorPointers(t *testing.T) {
	h := &holder{}
	h.self = h
	h.arr[2].X = 9
	toField := &h.arr[2].X
	toStruct := &h.mid
	slice := h.arr[1:3]
	var arr [4]point
	ofArr := &arr[1].note
	view := (*[2]point)(slice)
	backing := []int{1, 2, 3, 4, 5}
	low, high := backing[:3:3], backing[2:]
	array := (*[2]int)(backing[3:])
	roots := []Root{root("h", &h), root("toField", &toField), root("toStruct", &toStruct), root("slice", &slice), root("arr", &arr),
		root("ofArr", &ofArr), root("view", &view), root("low", &low), root("high", &high), root("array", &array)}
	got := restore(t, mustEncode(t, roots...), roots)
	v := func(i int) any { return got[i].Value.Interface() }
	rh, rs := v(0).(*holder), v(3).([]point)
	if rh.self != rh || v(1).(*int) != &rh.arr[2].X || v(2).(*point) != &rh.mid || &rs[0] != &rh.arr[1] || cap(rs) != 3 || len(rs) != 2 {
		t.Error("pointers into a struct lead elsewhere")
	}
	if v(6).(*[2]point) != (*[2]point)(rs) {
		t.Error("an array view of a slice leads elsewhere")
	}
	if v(5).(*string) != &got[4].Value.Addr().Interface().(*[4]point)[1].note {
		t.Error("a pointer into a variable leads elsewhere")
	}
	if lo, hi := v(7).([]int), v(8).([]int); &lo[2] != &hi[0] || v(9).(*[2]int) != (*[2]int)(hi[1:]) {
		t.Error("overlapping slices do not overlap")
	}
}

func TestCycles(t *testing.T) {
	n := &node{Val: 1}
	n.Left, n.Right = n, &node{Val: 2, Left: n}
	n.Kids = []*node{n.Right, n}
	n.Index = map[string]*node{"me": n, "kid": n.Right}
	got := carry(t, n)
	if got.Left != got || got.Right.Left != got || got.Kids[0] != got.Right || got.Kids[1] != got || got.Index["me"] != got {
		t.Error("a cycle came apart")
	}
}

func TestCyclesThroughInterfacesSlicesAndMaps(t *testing.T) {
	s := make([]any, 2)
	s[0], s[1] = s, "end"
	got := carry(t, s)
	inner := got[0].([]any)
	if &inner[0] != &got[0] {
		t.Error("a slice does not hold itself")
	}
	m := map[string]any{}
	m["me"] = m
	rm := carry(t, m)
	rm["new"] = 1
	if rm["me"].(map[string]any)["new"] != 1 {
		t.Error("a map does not hold itself")
	}
	var a any
	a = &a
	p := &a
	rp := carry(t, p)
	if (*rp).(*any) != rp {
		t.Error("an interface does not point to itself")
	}
}

func TestLongListsNeedNoDepth(t *testing.T) {
	var head *node
	for i := range 20000 {
		head = &node{Val: i, Left: head}
	}
	n := 0
	for p := carry(t, head); p != nil; p = p.Left {
		n++
	}
	if n != 20000 {
		t.Errorf("%d nodes left", n)
	}
}

func TestManySuffixesAreLinear(t *testing.T) {
	base := make([]*int, 4000)
	one := 1
	for i := range base {
		base[i] = &one
	}
	var suffixes [][]*int
	for i := range base {
		suffixes = append(suffixes, base[i:])
	}
	if _, err := Encode([]Root{root("s", &suffixes)}, Limits{MaxNodes: 20000}); err != nil {
		t.Error("the walk is not linear:", err)
	}
}

func TestPointerKeys(t *testing.T) {
	a, b := &point{X: 1}, &point{X: 2}
	seen := map[*point]bool{a: true, b: false}
	list := []*point{b, a}
	for range 5 { // the order of addresses and of the map must not matter
		c, d := &point{X: 2}, &point{X: 1}
		seen2, list2 := map[*point]bool{c: false, d: true}, []*point{c, d}
		if x, y := mustEncode(t, root("list", &list), root("seen", &seen)), mustEncode(t, root("list", &list2), root("seen", &seen2)); !bytes.Equal(x[0].Data, y[0].Data) {
			t.Fatal("equal maps, different bytes")
		}
		if x, y := mustEncode(t, root("seen", &seen)), mustEncode(t, root("seen", &seen2)); !bytes.Equal(x[0].Data, y[0].Data) {
			t.Fatal("equal lone maps, different bytes")
		}
	}
	roots := []Root{root("list", &list), root("seen", &seen)}
	got := restore(t, mustEncode(t, roots...), roots)
	rl, rs := got[0].Value.Interface().([]*point), got[1].Value.Interface().(map[*point]bool)
	if v, ok := rs[rl[0]]; v || !ok || !rs[rl[1]] || len(rs) != 2 {
		t.Error("keys are other pointers")
	}
	twins := map[*point]int{{X: 1}: 1, {X: 1}: 1}
	_, err := Encode([]Root{root("twins", &twins)}, Limits{})
	if u := unserializable(t, err); u.Variable != "twins" || !strings.Contains(u.Reason, "no order") {
		t.Error(u)
	}
	ring := map[*node]string{}
	p := &node{Val: 1, Any: ring}
	ring[p] = "self"
	_, err = Encode([]Root{root("ring", &ring)}, Limits{})
	unserializable(t, err) // the type of ring cannot be found again from an interface
	owner := map[*holder]string{}
	h := &holder{}
	h.self = h
	owner[h] = "self"
	for k, v := range carry(t, owner) {
		if k.self != k || v != "self" {
			t.Error("a key with a cycle came apart")
		}
	}
}

func TestSameStateSameBytes(t *testing.T) {
	build := func(order []int) []Root {
		m := map[string]*point{}
		shared := &point{X: 5}
		for _, i := range order {
			m[fmt.Sprint("key", i)] = &point{X: i}
		}
		m["s1"], m["s2"] = shared, shared
		return []Root{root("shared", &shared), root("m", &m)}
	}
	up := mustEncode(t, build([]int{1, 2, 3, 4, 5, 6, 7, 8, 9})...)
	down := build([]int{9, 8, 7, 6, 5, 4, 3, 2, 1})
	slices.Reverse(down)
	if got := mustEncode(t, down...); !bytes.Equal(up[0].Data, got[0].Data) {
		t.Error("history shows in the bytes")
	}
	keys := map[any]int{1: 1, "a": 2, 2.5: 3, time.Second: 4, [1]int{1}: 5, true: 6}
	first := mustEncode(t, root("k", &keys))
	for range 20 {
		other := map[any]int{}
		for k, v := range keys {
			other[k] = v
		}
		if got := mustEncode(t, root("k", &other)); !bytes.Equal(got[0].Data, first[0].Data) {
			t.Fatal("keys of several types have no stable order")
		}
	}
}

type stringer interface{ String() string }

func TestRefusals(t *testing.T) {
	type local struct{ C chan int }
	ch, f := make(chan int), func() {}
	locked, one := new(sync.Mutex), 1
	locked.Lock()
	deep := map[string]any{"a": []any{1, map[string]any{"b": ch}}}
	longest := regexp.MustCompile("a")
	longest.Longest()
	list := &node{Left: &node{Kids: []*node{nil, {F: f}}}}
	named := any(point{})
	ticker := time.NewTicker(time.Hour)
	defer ticker.Stop()
	up := unsafe.Pointer(&one)
	cases := []struct {
		ptr          any
		path, reason string
	}{
		{&ch, "", "a channel"},
		{&f, "", "a func value"},
		{&up, "", "an unsafe.Pointer"},
		{&local{C: ch}, ".C", "a channel"},
		{&[]any{1, f}, "[1]", "a func value"},
		{&map[string][]chan int{"k": {nil, ch}}, `["k"][1]`, "a channel"},
		{&deep, `["a"].([]any)[1].(map[string]any)["b"]`, "a channel"},
		{&list, ".Left.Kids[1].F", "a func value"},
		{&named, "", "value.point"},
		{&map[float64]int{math.NaN(): 1}, "", "NaN"},
		{&map[any]int{[1]float64{math.NaN()}: 1}, "", "NaN"},
		{&locked, "", "a locked sync.Mutex"},
		{&longest, "", "CompilePOSIX"},
		{&ticker, "", "private state"},
		{&struct{ s stringer }{time.Second}, ".s", ""},
		{&struct{ m map[chan int]bool }{map[chan int]bool{ch: true}}, ".m[key]", "a channel"},
	}
	for _, c := range cases {
		_, err := Encode([]Root{root("before", new(int)), root("v", c.ptr)}, Limits{})
		if c.reason == "" { // not refused: a standard value in a user's interface
			if err != nil {
				t.Errorf("%T: %v", c.ptr, err)
			}
			continue
		}
		u := unserializable(t, err)
		if u.Variable != "v" || u.Path != c.path || !strings.Contains(u.Reason, c.reason) {
			t.Errorf("%T: got %q %q: %s, want path %q: %s", c.ptr, u.Variable, u.Path, u.Reason, c.path, c.reason)
		}
	}
	// The same things are fine while they are nil or idle.
	ch, f, up = nil, nil, nil
	locked.Unlock()
	for _, p := range []any{&ch, &f, &up, &local{}, &locked} {
		mustEncode(t, root("v", p))
	}
}

func TestTypesDeclaredInFunctionsAreRefused(t *testing.T) {
	obj := types.NewTypeName(token.NoPos, mainPkg, "inner", nil)
	named := types.NewNamed(obj, types.Typ[types.Int], nil)
	types.NewScope(mainPkg.Scope(), token.NoPos, token.NoPos, "function").Insert(obj)
	s := []int{1}
	_, err := Encode([]Root{{Name: "s", Type: types.NewSlice(named), Value: reflect.ValueOf(&s).Elem()}}, Limits{})
	if u := unserializable(t, err); u.Path != "[0]" || !strings.Contains(u.Reason, "inner, which is declared inside a function") {
		t.Error(u)
	}
}

// TestGoldenBytes pins the byte format: states written by earlier versions must
// stay readable.
func TestGoldenBytes(t *testing.T) {
	x := -3
	px := &x
	s := []string{"a", "b"}
	v := map[string]any{"k": 1, "j": []bool{true}}
	for _, c := range []struct {
		roots []Root
		want  string
	}{
		{[]Root{root("x", &x)}, "0101010200000005"},
		{[]Root{root("px", &px), root("x", &x)}, "01020216010200010000" + "0101" + "05"},
		{[]Root{root("s", &s)}, "010102140111000001010102" + "01020201" + "01610162"},
		{[]Root{root("v", &v)}, "010103170102111803616e79000314040102020200020104010101016a010301010102016b01050201"},
	} {
		if got := fmt.Sprintf("%x", mustEncode(t, c.roots...)[0].Data); got != c.want {
			t.Errorf("%v:\n got %s\nwant %s", c.roots[0].Name, got, c.want)
		}
	}
}

func TestOverlappingRootsAreRefused(t *testing.T) {
	var p point
	roots := []Root{root("p", &p), root("x", &p.X)}
	_, err := Encode(roots, Limits{})
	if err == nil {
		// Plain roots are written without looking at their memory; with a
		// pointer about, the overlap is seen.
		px := &p.X
		_, err = Encode(append(roots, root("px", &px)), Limits{})
	}
	if u := unserializable(t, err); !strings.Contains(u.Reason, "same memory") {
		t.Error(u)
	}
}

func TestLimits(t *testing.T) {
	big := make([]byte, 2<<20)
	str := strings.Repeat("x", 2<<20)
	floats := make([]float64, 1<<20)
	var nested any
	for range 600 {
		nested = struct{ A any }{nested}
	}
	cases := []struct {
		ptr  any
		what string
	}{
		{&big, "MaxBytes"}, {&str, "MaxBytes"}, {&floats, "MaxBytes"}, {&nested, "MaxDepth"}, {&[]string{str}, "MaxBytes"},
		{&[2 << 20]byte{}, "MaxBytes"}, {&map[string]string{"a": str}, "MaxBytes"},
	}
	for _, c := range cases {
		_, err := Encode([]Root{root("v", c.ptr)}, Limits{})
		var l *LimitError
		if !errors.As(err, &l) || l.What != c.what {
			t.Errorf("%T: got %v, want a LimitError of %s", c.ptr, err, c.what)
		}
	}
	many := make([]*int, 1000)
	var l *LimitError
	if _, err := Encode([]Root{root("v", &many)}, Limits{MaxNodes: 100}); !errors.As(err, &l) || l.What != "MaxNodes" {
		t.Errorf("got %v, want a LimitError of MaxNodes", err)
	}
	units, err := Encode([]Root{root("v", &big)}, Limits{MaxBytes: 3 << 20})
	if err != nil {
		t.Fatal(err)
	}
	if err := Decode(units[0].Data, []Root{root("v", &big)}, Limits{}); !errors.As(err, &l) {
		t.Errorf("Decode beyond MaxBytes: %v", err)
	}
}

func TestDecodeChecksTypesAndLeavesVariablesAlone(t *testing.T) {
	n, s, p := 5, "old", &point{X: 1}
	data := mustEncode(t, root("n", &n))[0].Data
	var c *CorruptError
	if err := Decode(data, []Root{root("s", &s)}, Limits{}); !errors.As(err, &c) || s != "old" || !strings.Contains(err.Error(), "int") {
		t.Errorf("an int for a string: %v", err)
	}
	good := mustEncode(t, root("p", &p))[0].Data
	for cut := range good {
		if err := Decode(good[:cut], []Root{root("p", &p)}, Limits{}); !errors.As(err, &c) || p.X != 1 {
			t.Fatalf("cut at %d: %v", cut, err)
		}
	}
	if err := Decode(append(slices.Clone(good), 0), []Root{root("p", &p)}, Limits{}); !errors.As(err, &c) {
		t.Errorf("a byte too many: %v", err)
	}
	if err := Decode(append([]byte{99}, good[1:]...), []Root{root("p", &p)}, Limits{}); !errors.As(err, &c) || !strings.Contains(err.Error(), "version") {
		t.Errorf("another version: %v", err)
	}
	type point2 struct {
		X    int
		y    int16 // differs from point
		note string
	}
	q := &point2{}
	if err := Decode(good, []Root{root("p", &q)}, Limits{}); !errors.As(err, &c) {
		t.Errorf("another struct: %v", err)
	}
}

// Sizes in damaged data must not be believed: memory is taken only for what can
// be there.
func TestHostileSizes(t *testing.T) {
	var ints []int
	var m map[string]int
	var a any
	huge := binary.AppendUvarint(nil, 1<<40)
	some := binary.AppendUvarint(nil, 1<<24)
	header := func(v any) []byte { return slices.Clone(planOfReflect(reflect.TypeOf(v).Elem()).singleTable().header) }
	cases := map[string]struct {
		ptr  any
		data []byte
	}{
		"array object":  {&ints, slices.Concat(header(&ints), []byte{0, 1, 1, 1}, huge, []byte{0})},
		"map object":    {&m, slices.Concat(header(&m), []byte{0, 1, 2, 0}, huge, []byte{0})},
		"slice extent":  {&ints, slices.Concat(header(&ints), []byte{0, 1, 1, 1, 1, 1, 1}, huge, []byte{1, 0})},
		"types":         {&a, slices.Concat(header(&a), huge)},
		"objects":       {&a, slices.Concat(header(&a), []byte{0}, huge)},
		"array in any":  {&a, slices.Concat(header(&a), []byte{2, byte(kArray)}, some, []byte{2, byte(kInt), 0, 1, 1})},
		"array of any":  {&a, slices.Concat(header(&a), []byte{2, byte(kArray)}, huge, []byte{2, byte(kInt), 0, 1, 1})},
		"other type":    {&a, slices.Concat(header(&a), []byte{1, byte(kString) | namedFlag, 4}, []byte("time"), []byte{8}, []byte("Duration"), []byte{0, 1, 1, 2})},
		"a type itself": {&a, slices.Concat(header(&a), []byte{1, byte(kSlice), 1, 0, 0})},
	}
	for name, c := range cases {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		err := Decode(c.data, []Root{root("v", c.ptr)}, Limits{})
		_, viewErr := JSON(c.data, 0, ViewLimits{})
		runtime.ReadMemStats(&after)
		var ce *CorruptError
		if !errors.As(err, &ce) || viewErr != nil && !errors.As(viewErr, &ce) {
			t.Errorf("%s: %v, %v", name, err, viewErr)
		}
		if got := after.TotalAlloc - before.TotalAlloc; got > 1<<20 {
			t.Errorf("%s: %d bytes of data took %d bytes of memory", name, len(c.data), got)
		}
	}
}

// TestRandomGraphs builds random graphs and checks that a restored graph has
// the same shape, by comparing their bytes.
func TestRandomGraphs(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		n := rapid.IntRange(1, 12).Draw(r, "nodes")
		nodes := make([]*node, n)
		for i := range nodes {
			nodes[i] = &node{Val: i}
		}
		pick := func() *node { return nodes[rapid.IntRange(0, n-1).Draw(r, "to")] }
		backing := make([]*node, 8)
		for i := range backing {
			backing[i] = pick()
		}
		for _, x := range nodes {
			x.Left = pick()
			if rapid.Bool().Draw(r, "index") {
				x.Index = map[string]*node{"a": pick(), "b": pick()}
			}
			lo := rapid.IntRange(0, 8).Draw(r, "lo")
			hi := rapid.IntRange(lo, 8).Draw(r, "hi")
			x.Kids = backing[lo:hi:rapid.IntRange(hi, 8).Draw(r, "cap")]
		}
		other := &nodes[0].Val
		seen, deep := map[*node]int{}, map[[2]*node]map[*node]int{}
		for range rapid.IntRange(0, 5).Draw(r, "seen") {
			seen[pick()] = len(seen)
			deep[[2]*node{pick(), pick()}] = seen
		}
		roots := []Root{root("deep", &deep), root("nodes", &nodes), root("other", &other), root("seen", &seen)}
		got := restore(t, mustEncode(t, roots...), roots)
		rn := got[1].Value.Interface().([]*node)
		for k, v := range got[3].Value.Interface().(map[*node]int) {
			if rn[k.Val] != k || seen[nodes[k.Val]] != v {
				r.Fatal("a key is another pointer")
			}
		}
		if &rn[0].Val != got[2].Value.Interface().(*int) {
			r.Fatal("an interior pointer leads elsewhere")
		}
		index := map[*node]int{}
		for i, x := range rn {
			index[x] = i
		}
		for i, x := range nodes {
			if index[rn[i].Left] != x.Left.Val || len(rn[i].Kids) != len(x.Kids) || cap(rn[i].Kids) != cap(x.Kids) {
				r.Fatal("the graph changed its shape")
			}
			if !reflect.DeepEqual(x.Index == nil, rn[i].Index == nil) {
				r.Fatal("a nil map changed")
			}
		}
	})
}
