package live

import (
	"context"
	"fmt"
	"testing"
	"time"

	ns "farm/namespace"
)

// contextAfter gives a context that ends once the cell runs.
func contextAfter(t *testing.T, c *Context) (context.Context, context.CancelFunc) {
	t.Helper()
	return context.WithTimeout(t.Context(), 50*time.Millisecond)
}

// benchOn is a benchmark of each engine.
func benchOn(b *testing.B, bench func(b *testing.B, engine string)) {
	for _, engine := range ns.Engines() {
		b.Run(engine, func(b *testing.B) { bench(b, engine) })
	}
}

func benchRun(b *testing.B, c *Context, src string) ns.Result { return benchRunOn(b, c, "", src) }

// benchRunOn runs a cell that asks for an engine, if it is not "".
func benchRunOn(b *testing.B, c *Context, engine, src string) ns.Result {
	r, err := c.Run(b.Context(), ns.Run{Source: src, Engine: engine})
	if err != nil {
		b.Fatal(err)
	}
	return r
}

// BenchmarkWarmIncrement is n++ in a live namespace.
func BenchmarkWarmIncrement(b *testing.B) { benchOn(b, warmIncrementOn) }

func warmIncrementOn(b *testing.B, engine string) {
	c := New(Options{})
	benchRunOn(b, c, engine, "n := 0")
	for b.Loop() {
		benchRunOn(b, c, engine, "n++")
	}
}

// BenchmarkPrivateCell is one small cell in a fresh private namespace each time.
func BenchmarkPrivateCell(b *testing.B) { benchOn(b, privateCellOn) }

func privateCellOn(b *testing.B, engine string) {
	c := New(Options{})
	for b.Loop() {
		if err := c.Restore(nil); err != nil {
			b.Fatal(err)
		}
		benchRunOn(b, c, engine, "n := 1\nn + 1")
	}
}

// BenchmarkSwitch turns between two namespaces of equal shape and runs n++ in each.
func BenchmarkSwitch(b *testing.B) { benchOn(b, switchOn) }

func switchOn(b *testing.B, engine string) {
	c := New(Options{})
	var items [2]ns.Items
	for i := range items {
		c.Restore(nil)
		benchRunOn(b, c, engine, "n := 0\nm := map[string]int{}\nfunc f() int { return n }")
		items[i] = c.Items().Clone()
	}
	i := 0
	for b.Loop() {
		if err := c.Restore(items[i]); err != nil {
			b.Fatal(err)
		}
		r := benchRunOn(b, c, engine, "n++")
		r.Delta.Apply(items[i])
		i = 1 - i
	}
}

// BenchmarkCall is a loaded function called with many inputs; the figure is for one input.
func BenchmarkCall(b *testing.B) { benchOn(b, callOn) }

func callOn(b *testing.B, engine string) {
	c := New(Options{})
	r := ns.Run{Engine: engine, Source: "func double(x int) int { return 2 * x }", Call: "double", Discard: true}
	for range 1000 {
		r.Inputs = append(r.Inputs, []byte("21"))
	}
	for b.Loop() {
		if _, err := c.Run(b.Context(), r); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/1000, "ns/input")
}

// BenchmarkNewSource is a cell never seen before: check, load and run.
func BenchmarkNewSource(b *testing.B) { benchOn(b, newSourceOn) }

func newSourceOn(b *testing.B, engine string) {
	c := New(Options{})
	benchRunOn(b, c, engine, "n := 0")
	i := 0
	for b.Loop() {
		i++
		benchRunOn(b, c, engine, "n += "+time.Duration(i).String()[:1]+"\n_ = \""+time.Duration(i).String()+"\"")
	}
}

// roomy lets values be as large as these benchmarks have them.
var roomy = Options{Limits: ns.Limits{Value: 1 << 30, Delta: 1 << 30}}

// BenchmarkUntouched is n++ beside a variable of some MB that the cell does not mention: it costs what it
// costs alone.
func BenchmarkUntouched(b *testing.B) {
	for _, mb := range []int{0, 1, 100} {
		b.Run(fmt.Sprintf("%dMB", mb), func(b *testing.B) {
			c := New(roomy)
			benchRun(b, c, fmt.Sprintf("n := 0\nbig := make([]byte, %d)", mb<<20))
			for b.Loop() {
				benchRun(b, c, "n++")
			}
		})
	}
}

// BenchmarkUntouchedRestore is n++ in a namespace that was just restored, beside such a variable.
func BenchmarkUntouchedRestore(b *testing.B) {
	for _, mb := range []int{0, 1, 100} {
		b.Run(fmt.Sprintf("%dMB", mb), func(b *testing.B) {
			c := New(roomy)
			benchRun(b, c, fmt.Sprintf("n := 0\nbig := make([]byte, %d)", mb<<20))
			items := c.Items().Clone()
			for b.Loop() {
				if err := c.Restore(items); err != nil {
					b.Fatal(err)
				}
				benchRun(b, c, "n++")
			}
		})
	}
}

// BenchmarkTouched changes one byte of a variable of some KB: the cost follows the size of what a cell can
// touch.
func BenchmarkTouched(b *testing.B) {
	for _, kb := range []int{1, 100, 10_000} {
		b.Run(fmt.Sprintf("%dKB", kb), func(b *testing.B) {
			c := New(roomy)
			benchRun(b, c, fmt.Sprintf("n := 0\nbig := make([]byte, %d)", kb<<10))
			for b.Loop() {
				benchRun(b, c, "big[0]++")
			}
		})
	}
}

// BenchmarkNewEngine is the first cell of an instance: a namespace whose definitions no other one has.
func BenchmarkNewEngine(b *testing.B) {
	benchOn(b, func(b *testing.B, engine string) {
		for b.Loop() {
			benchRunOn(b, New(Options{}), engine, "n := 1\nn + 1")
		}
	})
}

// BenchmarkFib is calls: a function that calls itself 22,000 times.
func BenchmarkFib(b *testing.B) {
	benchOn(b, func(b *testing.B, engine string) {
		c := New(Options{})
		benchRunOn(b, c, engine, "func fib(n int) int { if n < 2 { return n }; return fib(n-1) + fib(n-2) }")
		for b.Loop() {
			benchRunOn(b, c, engine, "fib(20)")
		}
	})
}
