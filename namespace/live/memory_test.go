package live

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"testing"

	ns "farm/namespace"
)

var memoryCells = flag.Int("cells", 3000, "how many cells of each kind TestMemoryIsFlat runs")

// cellKinds are sequences of cells in one namespace, without end: what is done first, then cell i.
var cellKinds = []struct {
	name, first string
	cell        func(i int) string
}{
	{"same cell", "n := 0", func(int) string { return "n++" }},
	{"new expression", "n := 0", func(i int) string { return fmt.Sprintf("n += %d - %d", i+1, i) }},
	{"new function", "n := 0\nfunc f() int { return 1 }", func(i int) string {
		return fmt.Sprintf("func f() int { return %d - %d }\nn += f()", i+1, i)
	}},
	{"new function, types beside it", `import "fmt"
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
	{"new type", "n := 0", func(i int) string {
		return fmt.Sprintf("type T struct{ n, of%d int }\nfunc (t T) Get() int { return t.n }\nfunc (t *T) Add(k int) { t.n += k }\n{\n\tt := T{}\n\tt.Add(1)\n\tn += t.Get()\n}", i)
	}},
}

// TestMemoryIsFlat runs thousands of cells of each kind in one namespace, on each engine. What is left for good,
// when the context has let go of all that it can make again, must not grow with their number.
//
//	go test ./namespace/live -run TestMemoryIsFlat -v -timeout 0 -cells 100000
//
// shows the memory of the process on the way, caches included.
func TestMemoryIsFlat(t *testing.T) {
	// Bytes left for good by a cell: run-time types cannot be freed, so a new type costs some.
	most := map[string]uint64{"new type": 12 << 10, "new function, types beside it": 12 << 10}
	for _, kind := range cellKinds {
		t.Run(kind.name, func(t *testing.T) {
			onEngines(t, func(t *testing.T, engine string) {
				limit := most[kind.name]
				if engine == ns.EngineYaegi || limit == 0 {
					limit = 512
				}
				flat(t, engine, kind.first, kind.cell, limit)
			})
		})
	}
}

func flat(t *testing.T, engine, first string, cell func(int) string, most uint64) {
	c := newOn(t, engine, Options{})
	mustRun(t, c, first)
	i := 0
	upTo := func(n int) {
		for ; i < n; i++ {
			mustRun(t, c, cell(i))
		}
	}
	total := *memoryCells
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
