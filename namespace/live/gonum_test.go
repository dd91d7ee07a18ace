package live

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"gonum.org/v1/gonum/mat"

	ns "farm/namespace"
	"farm/namespace/typeinfo"
	"farm/namespace/typeinfo/packages"
	"farm/namespace/vm/gonum"
)

func needGonum(t testing.TB) {
	t.Helper()
	if !typeinfo.HasGonum() {
		t.Skip("built without gonum")
	}
}

// TestGonumIsForTheMachine proves that the interpreter refuses gonum and names the engine that has it, and
// what no engine has of it.
func TestGonumIsForTheMachine(t *testing.T) {
	needGonum(t)
	for _, x := range []struct{ engine, src, want string }{
		{ns.EngineYaegi, `import "gonum.org/v1/gonum/mat"`, "1:8: package \"gonum.org/v1/gonum/mat\" is not allowed: it is compiled code, which the interpreter does not have: use the engine ssa"},
		{ns.EngineYaegi, `import "gonum.org/v1/gonum/graph"`, "of gonum, cells can import blas, "},
		{ns.EngineSSA, `import "gonum.org/v1/gonum/graph"`, "of gonum, cells can import blas, "},
		{ns.EngineSSA, `import "gonum.org/v1/plot"`, "gonum"},
		{ns.EngineSSA, "import \"gonum.org/v1/gonum/blas/blas64\"\nblas64.Use(nil)", "2:8: gonum.org/v1/gonum/blas/blas64.Use is not allowed: it would change the arithmetic of the whole process"},
		{ns.EngineSSA, "import \"gonum.org/v1/gonum/optimize\"\np := optimize.NewPrinter()", "use &optimize.Printer{Writer: os.Stdout}"},
		{ns.EngineSSA, "import \"gonum.org/v1/gonum/diff/fd\"\nfd.Forward = fd.Formula{}", "changing gonum.org/v1/gonum/diff/fd.Forward is not allowed"},
		{ns.EngineSSA, "import \"gonum.org/v1/gonum/diff/fd\"\nfd.Forward.Stencil[0].Coeff = 1", "changing gonum.org/v1/gonum/diff/fd.Forward is not allowed"},
		{ns.EngineSSA, "import \"gonum.org/v1/gonum/diff/fd\"\nf := &fd.Forward", "changing gonum.org/v1/gonum/diff/fd.Forward is not allowed"},
	} {
		if _, err := runOn(t, New(Options{}), x.engine, x.src); err == nil || !strings.Contains(err.Error(), x.want) {
			t.Errorf("%s on %s: %v, want %q", x.src, x.engine, err, x.want)
		}
	}
}

// TestGonumReachesNothing proves that what is linked for cells has no way to files, processes or the network by
// the types of its members: none of those it is made of is there.
func TestGonumReachesNothing(t *testing.T) {
	needGonum(t)
	for path := range gonum.Packages() {
		if !slices.Contains(packages.Gonum, path) {
			t.Errorf("%s is in the table and not in the list", path)
		}
	}
	for name := range packages.GonumLeftOut {
		i := strings.LastIndexByte(name, '.')
		if gonum.Packages().Func(name[:i], name[i+1:]).IsValid() {
			t.Errorf("%s is in the table", name)
		}
	}
	im := typeinfo.New()
	for _, path := range packages.Gonum {
		p, err := im.Import(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range p.Scope().Names() {
			text := p.Scope().Lookup(n).String()
			for _, bad := range []string{"os.", "net.", "exec.", "syscall.", "unsafe.", "reflect.", "plugin."} {
				if strings.Contains(text, " "+bad) || strings.Contains(text, "*"+bad) || strings.Contains(text, "("+bad) {
					t.Errorf("%s.%s: %s", path, n, text)
				}
			}
		}
	}
}

// minimize runs an objective function in goroutines of gonum's own.
const minimize = `import ("gonum.org/v1/gonum/optimize"; "gonum.org/v1/gonum/diff/fd"; "gonum.org/v1/gonum/integrate/quad")
func least(f func(x []float64) float64) float64 {
	r, err := optimize.Minimize(optimize.Problem{Func: f}, []float64{3, 4}, nil, &optimize.NelderMead{})
	if err != nil { panic(err) }
	return r.F
}
n := 1`

// TestPanicInGoroutineOfCompiledCode proves that what user code does wrong in a goroutine that compiled code has
// started is the error of the cell and not the end of the process.
func TestPanicInGoroutineOfCompiledCode(t *testing.T) {
	needGonum(t)
	c := newOn(t, ns.EngineSSA, Options{})
	mustRun(t, c, minimize)
	for _, x := range []struct{ src, want string }{
		{"n = 2\nleast(func(x []float64) float64 { var m map[string]int; m[\"a\"]++; return 1 })", "assignment to entry in nil map"},
		{"n = 2\nleast(func(x []float64) float64 { return x[7] })", "index out of range [7] with length 2"},
		{"n = 2\nquad.Fixed(func(x float64) float64 { panic(\"no\") }, 0, 1, 10, nil, 2)", "no"},
		{"n = 2\nfd.Gradient(nil, func(x []float64) float64 { panic(\"no\") }, []float64{1}, &fd.Settings{Concurrent: true})", "no"},
		{"import \"os\"\nn = 2\nleast(func(x []float64) float64 { os.Exit(3); return 1 })", "exit"},
	} {
		if _, err := run(t, c, x.src); err == nil || !strings.Contains(err.Error(), x.want) {
			t.Errorf("%s: %v, want %q", x.src, err, x.want)
		}
		if r := mustRun(t, c, "n"); string(r.JSON) != "1" {
			t.Errorf("%s: n is %s", x.src, r.JSON)
		}
	}
	if r := mustRun(t, c, "least(func(x []float64) float64 { return x[0]*x[0] + x[1]*x[1] }) < 1e-6"); string(r.JSON) != "true" {
		t.Errorf("afterwards: %s", r.JSON)
	}
}

// TestCancelInGoroutineOfCompiledCode proves that a cell whose function compiled code calls from goroutines of
// its own can be ended.
func TestCancelInGoroutineOfCompiledCode(t *testing.T) {
	needGonum(t)
	c := newOn(t, ns.EngineSSA, Options{})
	mustRun(t, c, minimize)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := c.Run(ctx, ns.Run{Source: "least(func(x []float64) float64 { for {} })"}); err == nil || ctx.Err() == nil {
		t.Errorf("%v", err)
	}
	if c.Spent() {
		t.Error("something goes on")
	}
	if r := mustRun(t, c, "n"); string(r.JSON) != "1" {
		t.Errorf("n is %s", r.JSON)
	}
}

// product multiplies two 500 by 500 matrices.
const product = `import "gonum.org/v1/gonum/mat"
func filled(n int, k float64) *mat.Dense {
	data := make([]float64, n*n)
	for i := range data { data[i] = k * float64(i%17) }
	return mat.NewDense(n, n, data)
}
func product() float64 {
	var c mat.Dense
	c.Mul(filled(500, 1), filled(500, 2))
	return mat.Sum(&c)
}
a, b := filled(500, 1), filled(500, 2)
var c mat.Dense`

func filled(n int, k float64) *mat.Dense {
	data := make([]float64, n*n)
	for i := range data {
		data[i] = k * float64(i%17)
	}
	return mat.NewDense(n, n, data)
}

// BenchmarkGonumProduct multiplies two 500 by 500 matrices in a cell and in compiled Go, in turn, and reports how
// many times the time of compiled Go a cell takes: medians. In "made in the cell" the matrices are filled by
// interpreted code; in "variables" they, and the product, are variables, which the cell's commit looks at.
func BenchmarkGonumProduct(b *testing.B) {
	needGonum(b)
	x, y := filled(500, 1), filled(500, 2)
	for _, kind := range []struct {
		name, src string
		compiled  func() float64
	}{
		{"made in the cell", "product()", func() float64 {
			var c mat.Dense
			c.Mul(filled(500, 1), filled(500, 2))
			return mat.Sum(&c)
		}},
		{"variables", "c.Mul(a, b)\nmat.Sum(&c)", func() float64 {
			var c mat.Dense
			c.Mul(x, y)
			return mat.Sum(&c)
		}},
	} {
		b.Run(kind.name, func(b *testing.B) {
			ctx := New(Options{})
			defer ctx.Close()
			benchRunOn(b, ctx, ns.EngineSSA, product)
			want := fmt.Sprintf("%.0f", kind.compiled())
			var cell, compiled []time.Duration
			for b.Loop() {
				start := time.Now()
				r := benchRun(b, ctx, kind.src)
				middle := time.Now()
				kind.compiled()
				cell, compiled = append(cell, middle.Sub(start)), append(compiled, time.Since(middle))
				if got := string(r.JSON); got != want {
					b.Fatalf("%s, want %s", got, want)
				}
			}
			slices.Sort(cell)
			slices.Sort(compiled)
			mid := len(cell) / 2
			b.ReportMetric(float64(cell[mid])/float64(compiled[mid]), "x-compiled")
			b.ReportMetric(float64(compiled[mid].Microseconds())/1000, "compiled-ms")
		})
	}
}
