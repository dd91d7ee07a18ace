package live

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"testing"

	ns "farm/namespace"
)

var memoryCells = flag.Int("cells", 3000, "how many cells of each kind TestMemoryIsFlat runs")

// maxLeft is the bytes that a cell may leave for good, where no types are made; there, run-time types of both
// engines are: nothing can free them.
const (
	maxLeft      = 512
	maxTypesLeft = 12 << 10
)

// cellKinds are sequences of cells in one namespace, without end: what is done first, then cell i; which part of
// the cells is run, and what each may leave for good.
var cellKinds = []struct {
	name  string
	share int
	most  uint64
	first string
	cell  func(i int) string
}{
	{"same cell", 1, maxLeft, "n := 0", func(int) string { return "n++" }},
	{"new expression", 1, maxLeft, "n := 0", func(i int) string { return fmt.Sprintf("n += %d - %d", i+1, i) }},
	{"new function", 3, maxLeft, "n := 0\nfunc f() int { return 1 }", func(i int) string {
		return fmt.Sprintf("func f() int { return %d - %d }\nn += f()", i+1, i)
	}},
	{"redefinition beside types", 5, maxTypesLeft, `import "fmt"
type Shape interface{ Area() int }
type Square struct{ a int }
func (s Square) Area() int { return s.a * s.a }
func (s *Square) Grow(k int) { s.a += k }
func (s Square) String() string { return fmt.Sprint("square ", s.a) }
var shapes = []Shape{Square{1}, &Square{2}}
n := 0
func f() int { return 1 }`, func(i int) string {
		return fmt.Sprintf("func f() int { return %d - %d }\nn += f() * shapes[0].Area()", i+1, i)
	}},
	{"new type", 5, maxTypesLeft, "n := 0", func(i int) string {
		return fmt.Sprintf("type T struct{ n, of%d int }\nfunc (t T) Get() int { return t.n }\nfunc (t *T) Add(k int) { t.n += k }\n{\n\tt := T{}\n\tt.Add(1)\n\tn += t.Get()\n}", i)
	}},
}

// TestMemoryIsFlat runs thousands of cells of each kind in one namespace, on each engine; fewer of those that take
// a new instance of the engine each time. What is left for good, when the context has let go of all that it can make
// again, must not grow with their number.
//
//	go test ./namespace/live -run TestMemoryIsFlat/.*/ssa -v -timeout 0 -cells 100000
//
// shows the memory of the process on the way, caches included.
func TestMemoryIsFlat(t *testing.T) {
	for _, kind := range cellKinds {
		t.Run(kind.name, func(t *testing.T) {
			onEngines(t, func(t *testing.T, engine string) {
				n := *memoryCells / kind.share
				if engine == ns.EngineYaegi && kind.share > 1 {
					n /= 2
				}
				flat(t, engine, n, kind.first, kind.cell, kind.most)
			})
		})
	}
}

func flat(t *testing.T, engine string, total int, first string, cell func(int) string, most uint64) {
	c := newOn(t, engine, Options{})
	mustRun(t, c, first)
	i := 0
	upTo := func(n int) {
		for ; i < n; i++ {
			mustRun(t, c, cell(i))
		}
	}
	upTo(total / 5)
	t.Logf("after %d cells: %s", i, processMemory())
	before := leftForGood(c)
	upTo(total)
	t.Logf("after %d cells: %s", i, processMemory())
	after := leftForGood(c)
	if r := mustRun(t, c, "n"); string(r.JSON) != strconv.Itoa(total) {
		t.Errorf("n is %s after %d cells", r.JSON, total)
	}
	cells := uint64(total - total/5)
	grown := uint64(0)
	if after > before {
		grown = after - before
	}
	t.Logf("left for good: %d bytes a cell", grown/cells)
	if grown > most*cells {
		t.Errorf("%d cells leave %d bytes each for good, more than %d", cells, grown/cells, most)
	}
}

// leftForGood is the bytes in use when a context has let go of what it can make again.
func leftForGood(c *Context) uint64 {
	for _, s := range c.sides {
		s.reset()
	}
	c.env = nil
	var m runtime.MemStats
	for range 2 { // the second frees what pools of the first have kept
		runtime.GC()
	}
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// processMemory says how much memory the process has now, caches and garbage included.
func processMemory() string {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	resident := "unknown"
	if b, err := os.ReadFile("/proc/self/status"); err == nil {
		for l := range bytes.Lines(b) {
			if v, ok := bytes.CutPrefix(l, []byte("VmRSS:")); ok {
				resident = string(bytes.TrimSpace(v))
			}
		}
	}
	return fmt.Sprintf("%d MiB of heap, %s resident", m.HeapAlloc>>20, resident)
}

// TestManyMethods redefines a function in a namespace with a type of many methods: instances of the machine that
// are kept for later must not use up what the process has for methods.
func TestManyMethods(t *testing.T) {
	var src strings.Builder
	src.WriteString("type T struct{ n int }\nfunc f() int { return 0 }\n")
	const methods = 300
	for i := range methods {
		fmt.Fprintf(&src, "func (t T) M%d() int { return t.n + %d }\n", i, i)
	}
	src.WriteString("var v any = T{1}")
	c := newOn(t, ns.EngineSSA, Options{})
	mustRun(t, c, src.String())
	for i := range 2 * maxEngines {
		r := mustRun(t, c, fmt.Sprintf("func f() int { return %d }\nv.(interface{ M%d() int }).M%d() + f()", i, methods-1, methods-1))
		if string(r.JSON) != fmt.Sprint(methods+i) {
			t.Fatalf("%d: %s", i, r.JSON)
		}
	}
}
