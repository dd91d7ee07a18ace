package zoo

import (
	"fmt"
	"math/rand/v2"
	"regexp"
	"strings"
)

// Declare gives the cells that declare the types, the functions and the
// variables of the namespace.
func Declare() []string { return []string{declarations, variables} }

// Names are the variables, in the order they are declared.
func Names() []string {
	var out []string
	for _, m := range declared.FindAllStringSubmatch(variables, -1) {
		out = append(out, m[1]+m[2])
	}
	return out
}

// declared finds the two forms in which variables are declared below.
var declared = regexp.MustCompile(`(?m)^(?:var (\w+) |(\w+) :=)`)

const declarations = `import (
	"bytes"
	"container/list"
	"errors"
	"fmt"
	"math"
	"math/big"
	"math/rand"
	"slices"
	"sort"
	"strings"
	"time"
)

type Celsius float64

func (c Celsius) String() string { return fmt.Sprintf("%.1f°C", float64(c)) }

type Level int

const (
	Low Level = iota
	Mid
	High
)

func (l Level) Up() Level { return (l + 1) % (High + 1) }

type Point struct {
	X, Y   int
	secret string
}

func (p *Point) Move(dx, dy int) { p.X += dx; p.Y += dy; p.secret += "m"; p.secret = p.secret[max(0, len(p.secret)-8):] }
func (p Point) Norm() int        { return p.X*p.X + p.Y*p.Y }

type Node struct {
	Val        int
	Next, Prev *Node
	Kids       []*Node
	tags       map[string]int
}

type Tree struct {
	L, R *Tree
	K    int
}

func (t *Tree) Insert(k int) *Tree {
	if t == nil {
		return &Tree{K: k}
	}
	if k < t.K {
		t.L = t.L.Insert(k)
	} else if k > t.K {
		t.R = t.R.Insert(k)
	}
	return t
}

func (t *Tree) Sum() int {
	if t == nil {
		return 0
	}
	return t.L.Sum() + t.K + t.R.Sum()
}

type Shape interface {
	Area() int
	Grow(by int) Shape
}

type Square struct{ side int }

func (s Square) Area() int         { return s.side * s.side }
func (s Square) Grow(by int) Shape { return Square{(s.side + by) % 100} }

type Rect struct{ w, h int }

func (r *Rect) Area() int         { return r.w * r.h }
func (r *Rect) Grow(by int) Shape { r.w = (r.w + by) % 100; return r }

type Base struct {
	id    int
	Notes []string
}

func (b *Base) Note(s string) { b.id++; b.Notes = append(b.Notes[max(0, len(b.Notes)-3):], s) }

type Derived struct {
	Base
	Name string
	at   *Point
}

type Matrix [3][3]float64

func (m *Matrix) Scale(f float64) {
	for i := range m {
		for j := range m[i] {
			m[i][j] = math.Mod(m[i][j]*f, 1000)
		}
	}
}

type Words []string

func (w Words) Len() int           { return len(w) }
func (w Words) Less(i, j int) bool { return w[i] < w[j] }
func (w Words) Swap(i, j int)      { w[i], w[j] = w[j], w[i] }

type Bag map[string][]int

func (b Bag) Add(k string, v int) { b[k] = append(b[k][max(0, len(b[k])-4):], v) }

type Pair[K comparable, V any] struct {
	Key K
	Val V
}

type Fault struct {
	Code  int
	cause error
}

func (f *Fault) Error() string { return fmt.Sprint("fault ", f.Code) }
func (f *Fault) Unwrap() error { return f.cause }

type Oops string

func (o Oops) Error() string { return "oops " + string(o) }

func turn(s string, n int) string {
	if len(s) == 0 {
		return "x"
	}
	n %= len(s)
	return s[n:] + s[:n]
}`

const variables = `yes := true
i8 := int8(-7)
u16 := uint16(65000)
i64 := int64(1) << 40
u64 := uint64(math.MaxUint64)
f32 := float32(0.1)
f64 := 1.0 / 3
nan := math.NaN()
negzero := math.Copysign(0, -1)
inf := math.Inf(1)
c128 := complex(1.5, -2)
text := "héllo"
raw := "a\xffb"
letter := 'ß'
temp := Celsius(20.5)
level := Mid
grid := [4]int{1, 2, 3, 4}
whole := []int{0, 1, 2, 3, 4, 5, 6, 7}
left := whole[:3]
right := whole[3:6:7]
var none []int
empty := []int{}
octets := []byte("octets")
var nomap map[string]int
counts := map[string]int{"a": 1}
keyed := map[Point]string{{1, 2, "k"}: "one"}
byptr := map[string]*Point{}
pt := Point{1, 2, "s"}
ptp := &pt
inner := &pt.Y
far := &Point{3, 4, "far"}
byside := []*Point{far, ptp, far, nil}
chain := ring(3)
trees := (*Tree)(nil).Insert(5).Insert(2).Insert(8)
self := map[string]any{}
anything := any(1)
mixed := []any{1, "two", 3.5, nil, Square{2}, Level(1)}
var shape Shape = Square{3}
shapes := []Shape{Square{1}, &Rect{2, 3}, nil}
base := Base{id: 1}
derived := Derived{Base: Base{id: 2, Notes: []string{"n"}}, Name: "d", at: far}
matrix := Matrix{{1, 2, 3}, {4, 5, 6}, {7, 8, 9}}
words := Words{"pear", "apple", "fig"}
bag := Bag{"k": {1}}
pair := Pair[string, []int]{"k", whole[2:4]}
anon := struct { a int; B *int }{7, &grid[1]}
when := time.Date(2024, 2, 29, 12, 30, 15, 123456789, time.FixedZone("here", 5400))
lasting := 90 * time.Minute
large := new(big.Int).Exp(big.NewInt(3), big.NewInt(100), nil)
ratio := big.NewRat(22, 7)
notfound := errors.New("not found")
same := notfound
other := errors.New("not found")
wrapped := fmt.Errorf("looking: %w", notfound)
culprit := &Fault{1, notfound}
var fault error = culprit
faults := []error{culprit, nil, Oops("o")}
var named fmt.Stringer = Celsius(1)
builder := strings.Builder{}
buffer := bytes.NewBufferString("buffer")
queue := list.New()
steps := 0
self["me"] = self
byptr["far"] = far
for n := range 3 { queue.PushBack(n) }

func ring(n int) *Node {
	first := &Node{Val: 1, tags: map[string]int{"first": 1}}
	last := first
	for i := 2; i <= n; i++ {
		last.Next = &Node{Val: i, Prev: last}
		last = last.Next
	}
	last.Next, first.Prev = first, last
	return first
}`

// Check is a cell whose value is "" when sharing, identity and what cannot be
// told from bytes are as they must be, and else says what is not.
const Check = `bad := ""
say := func(ok bool, what string) { if !ok { bad += what + "; " } }
say(ptp == &pt && inner == &pt.Y, "pointers to a variable and into it")
left[0], right[0] = 1001, 1002
say(whole[0] == 1001 && whole[3] == 1002, "slices of one array")
say(len(left) == 3 && cap(left) == 8 && len(right) == 3 && cap(right) == 4, "lengths and capacities")
say(none == nil && empty != nil && len(empty) == 0 && nomap == nil, "nil and empty")
say(nan != nan && math.Signbit(negzero) && negzero == 0 && math.IsInf(inf, 1), "numbers that are none")
say(byptr["far"] == far && byside[0] == far && byside[2] == far && byside[1] == ptp && byside[3] == nil && derived.at == far, "one thing by many names")
me, ok := self["me"].(map[string]any)
self["mark"] = steps
say(ok && len(me) == len(self), "a map in itself")
n := 0
for x := chain; n == 0 || x != chain; x = x.Next { n++; if x.Next.Prev != x { bad += "a ring; " } }
say(n == 3, "a ring of three")
say(same == notfound && other != notfound && errors.Is(wrapped, notfound) && !errors.Is(wrapped, other), "identity of errors")
var got *Fault
say(errors.As(faults[0], &got) && got == culprit && errors.Is(faults[0], notfound) && faults[1] == nil, "errors of types of the namespace")
zone, offset := when.Zone()
say(zone == "here" && offset == 5400, "a time zone")
grid[1] = -5
say(*anon.B == -5, "a pointer to an element of an array")
pair.Val[0] = -6
say(whole[2] == -6, "a slice in a struct")
_, square := mixed[4].(Square)
_, lev := mixed[5].(Level)
say(square && lev && mixed[3] == nil, "types in interfaces")
_, isRect := shapes[1].(*Rect)
say(isRect && shapes[2] == nil && shape.Area() >= 0, "types in interfaces with methods")
queue.PushBack(99)
say(queue.Back().Value.(int) == 99, "a list of package container/list")
say = nil
me = nil
bad`

// Cells gives n different cells for a seed. Each changes some variables and
// most have a value.
func Cells(seed uint64, n int) []string {
	r := rand.New(rand.NewPCG(seed, 0))
	return different(n, func() string { return changes(r) + fill(values[r.IntN(len(values))], r) })
}

// Changes gives n different pieces of source for a seed, each some statements
// that change variables: the beginnings of cells.
func Changes(seed uint64, n int) []string {
	r := rand.New(rand.NewPCG(seed, 1))
	return different(n, func() string { return changes(r) })
}

func different(n int, next func() string) []string {
	seen := map[string]bool{}
	var out []string
	for len(out) < n {
		if src := next(); !seen[src] {
			seen[src] = true
			out = append(out, src)
		}
	}
	return out
}

func changes(r *rand.Rand) string {
	var b strings.Builder
	fmt.Fprintf(&b, "steps += %d\n", 1+r.IntN(9))
	for range 1 + r.IntN(3) {
		b.WriteString(fill(kinds[r.IntN(len(kinds))], r) + "\n")
	}
	return b.String()
}

// fill replaces # by small numbers and $ by small words.
func fill(template string, r *rand.Rand) string {
	var b strings.Builder
	for _, c := range template {
		switch c {
		case '#':
			fmt.Fprint(&b, 1+r.IntN(50))
		case '$':
			fmt.Fprintf(&b, "%c%d", 'a'+rune(r.IntN(6)), r.IntN(4))
		default:
			b.WriteRune(c)
		}
	}
	return b.String()
}

// kinds are statements that change the namespace, of all that must be kept.
var kinds = []string{
	"yes = !yes", "i8 += #", "u16 *= #", "i64 = i64*3 + #", "u64 -= #", "f32 = f32*1.5 + #", "f64 = math.Mod(f64*#.5, 1e6)",
	"c128 = complex(imag(c128), real(c128)+#)", "nan = math.NaN()", "inf = math.Inf(1)",
	"text = turn(text+\"$\", #)[:5]", "raw = \"\\xfe$\"", "letter += #", "temp = Celsius(#) / 4", "level = level.Up()",
	"grid[#%4] += #", "whole[#%8] = #", "left[#%3]++", "right[#%3] -= #", "whole[0], whole[7] = whole[7], whole[0]",
	"for i := range right { right[i] += i * # }",
	"octets = append(octets[:min(len(octets), #%6)], \"$\"...)", "octets = bytes.ToUpper(octets)", "octets = bytes.ToLower(append(octets, '-', 'x', 'y', 'z', 'w', 'v'))[:6]",
	"counts[\"$\"] += #", "delete(counts, \"$\")", "keyed[Point{#, #, \"$\"}] = \"$\"", "clear(keyed)\nkeyed[Point{Y: #}] = \"again\"",
	"byptr[\"$\"] = ptp", "byptr[\"$\"] = &Point{#, #, \"new\"}", "byptr[\"$\"] = byptr[\"$\"]",
	"pt.Move(#, -#)", "ptp.X = #", "*inner = #", "far.Move(#, #)", "byside[1].X++", "*byside[2] = Point{#, #, \"by side\"}", "pt = Point{#, #, \"$\"}",
	"chain = chain.Next", "chain.Prev.Val += #", "if chain.tags == nil { chain.tags = map[string]int{} }\nchain.tags[\"$\"]++", "chain.Kids = append(chain.Kids[:0:0], chain.Next, chain)",
	"trees.Insert(#)", "trees = trees.Insert(#).Insert(#)",
	"self[\"$\"] = #", "self[\"$\"] = []any{\"$\", #, self}", "self[\"$\"] = Point{#, 0, \"in any\"}",
	"anything = #", "anything = \"$\"", "anything = Square{#}", "anything = []int{#, #}", "anything = ptp", "anything = Celsius(#)", "anything = map[string]any{\"$\": Level(#)}", "anything = nil", "anything = [2]bool{true}",
	"mixed[#%3] = #", "mixed[0] = pt", "mixed[1] = far", "mixed[2] = Pair[string, []int]{\"$\", left}.Key", "mixed = append(mixed[:6:6], Celsius(#), &pt)",
	"shape = shape.Grow(#)", "shape = &Rect{#, #}", "shape = Square{#}", "shapes[0] = shapes[0].Grow(#)", "shapes[1].Grow(#)", "shapes[0] = shape", "shapes = append(shapes[:3], Square{#})",
	"base.Note(\"$\")", "derived.Note(\"$\")", "derived.Name += \"$\"\nderived.Name = derived.Name[len(derived.Name)-2:]", "derived.at.X = #", "base = derived.Base",
	"matrix.Scale(#)", "matrix[#%3][#%3] = #", "m := matrix\nm[0][0] = #\nmatrix[1] = m[0]",
	"words = append(words, \"$\")[len(words)/5:]", "sort.Sort(words)", "slices.Reverse(words)",
	"bag.Add(\"$\", #)", "bag[\"$\"] = left", "delete(bag, \"$\")", "pair.Key = \"$\"", "pair.Val[1] += #", "anon.a += #", "*anon.B = #",
	"when = when.Add(# * time.Hour)", "when = when.AddDate(0, 0, #)", "lasting += # * time.Second", "lasting = when.Sub(when.Add(-# * time.Minute))",
	"large.Add(large, big.NewInt(#))", "large = new(big.Int).Mod(new(big.Int).Mul(large, big.NewInt(#)), big.NewInt(1_000_000_007))", "ratio = new(big.Rat).SetFrac64(#, #)",
	"wrapped = fmt.Errorf(\"again $: %w\", notfound)", "wrapped = errors.Join(notfound, fmt.Errorf(\"$\"))",
	"fault = &Fault{#, notfound}", "fault = Oops(\"$\")", "fault = culprit", "culprit.Code += #", "if f, ok := fault.(*Fault); ok { f.Code -= # }", "faults = append(faults[:2:2], fault)", "faults[2] = &Fault{#, fault}",
	"wrapped = fmt.Errorf(\"blame: %w\", errors.Join(notfound, fault))", "named = Celsius(#)", "byptr[\"$\"] = nil",
	"builder.WriteString(\"$\")\nif builder.Len() > 20 { builder.Reset() }", "buffer.WriteString(\"$\")", "if buffer.Len() > 6 { buffer.Next(3) }",
	"queue.PushFront(#)", "if queue.Len() > 4 { queue.Remove(queue.Back()) }", "queue.MoveToFront(queue.Back())",
	"func(p *Point, xs ...int) { for _, x := range xs { p.X += x } }(ptp, #, #)",
	"func() { defer func() { recover(); level = High }(); var t *Tree; t.K = # }()",
	"c := make(chan int, 3)\ngo func() { defer close(c); for i := range 3 { c <- i * # } }()\nfor v := range c { whole[4] += v }\nc = nil",
	"whole[5] = rand.New(rand.NewSource(#)).Intn(100)",
}

// values are last expressions.
var values = []string{
	"whole", "left", "pt.Norm() + #", "counts", "fmt.Sprint(temp, level, text)", "trees.Sum()", "shape.Area()", "shapes[1].Area() + *inner",
	"len(mixed)", "when", "large.String()", "lasting.String()", "wrapped.Error()", "errors.Is(wrapped, notfound)", "far", "derived", "matrix", "words",
	"fault.Error() + named.String()", "fmt.Sprint(fault, faults[2], culprit)", "buffer.String() + builder.String()", "queue.Len()", "steps", "f64", "c128", "chain.Val*100 + chain.Prev.Val", "bag", "grid",
	"fmt.Sprintf(\"%v %+v %T\", pt, pair, anything)", "",
}
