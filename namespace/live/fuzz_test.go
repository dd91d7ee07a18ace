package live

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	ns "farm/namespace"
	"farm/namespace/typeinfo"
)

// checkpoints are namespaces of the machine by the cells that make them, and the cell that uses all that
// they hold.
var checkpoints = []struct {
	cells []string
	probe string
}{
	{[]string{counters + "c := counter(3)\nc()"}, "c()"},
	{[]string{counters + "inc, get := pair()\ninc()"}, "inc()\nget()"},
	{[]string{counters + "tt := &T{n: 10}\nxs := []int{1, 2}\nh := held(T{n: 1}, xs, fmt.Errorf(\"e %d\", 5), map[string]*T{\"a\": tt})"}, "h()"},
	{[]string{counters + "p := &T{n: 5}\nadd, get, of := p.Add, p.Get, T.Get"}, "add(1) + get() + of(*p)"},
	{[]string{counters + "var i Getter = T{n: 4}\nget := i.Get\nf, idx := fact(), slices.Index[[]string, string]"}, "get() + f(3) + idx(nil, \"\")"},
	{[]string{counters + "m := mapped([]int{1, 2}, func() Op { return double }())\nbox := Box[string]{\"v\", strings.ToLower}"}, "fmt.Sprint(len(m()), box.show(box.v))"},
	{[]string{counters + "xs := []any{double, counter(2), T.Get, Op(double), T{n: 1}, &T{n: 2}, []T{{n: 3}}, fmt.Errorf(\"e\")}"}, "fmt.Sprint(xs[0], xs[1].(func() int)(), xs[4:])"},
	{[]string{"import (\"bytes\"; \"time\"; \"math/big\")\ntype L struct{ next *L; at time.Time; b bytes.Buffer; n *big.Int }\nl := &L{at: time.Unix(5, 0), n: big.NewInt(7)}\nl.next = l\nl.b.WriteString(\"x\")\nm := map[any][]*L{1: {l}, \"a\": nil}"}, "l.next.n.Int64() + int64(len(m)) + int64(l.b.Len()) + l.at.Unix()"},
	{[]string{"import (\"gonum.org/v1/gonum/mat\"; \"gonum.org/v1/gonum/optimize\")\nx := mat.NewDense(2, 2, []float64{1, 2, 3, 4})\nvar m mat.Matrix = x.T()\nvar lu mat.LU\nlu.Factorize(x)\nfunc pr(a float64) optimize.Problem { return optimize.Problem{Func: func(x []float64) float64 { return a * x[0] }} }\np := pr(2)"}, "mat.Sum(m) + lu.Det() + p.Func([]float64{1})"},
}

// made are the items of each checkpoint.
func made(t testing.TB) (out []ns.Items) {
	t.Helper()
	for _, cp := range checkpoints {
		c := New(Options{})
		if typeinfo.HasGonum() || !strings.Contains(cp.cells[0], "gonum") {
			for _, src := range cp.cells {
				if _, err := c.Run(context.Background(), ns.Run{Source: src, Engine: ns.EngineSSA}); err != nil {
					t.Fatal(err)
				}
			}
		}
		out = append(out, c.Items().Clone())
		c.Close()
	}
	return out
}

// FuzzRestore loads checkpoints of the machine in which one item was changed, and runs a cell that uses what they
// hold. Whatever the bytes, that ends with a result or an error of the cell or the namespace; the process lives.
func FuzzRestore(f *testing.F) {
	all := made(f)
	for i, items := range all {
		for n, k := range slices.Sorted(maps.Keys(items)) {
			f.Add(uint8(i), uint8(n), items[k])
		}
	}
	f.Fuzz(func(t *testing.T, which, item uint8, b []byte) {
		at := int(which) % len(all)
		items := all[at].Clone()
		if len(items) == 0 {
			return
		}
		keys := slices.Sorted(maps.Keys(items))
		items[keys[int(item)%len(keys)]] = b
		c := New(Options{StackBytes: 1 << 20})
		defer c.Close()
		if err := c.Restore(items); err != nil {
			return
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := c.Run(ctx, ns.Run{Source: checkpoints[at].probe})
		var internal *ns.NotAllowedError
		if errors.Is(err, errBug) || errors.As(err, &internal) && internal.Internal {
			t.Fatal(err)
		}
	})
}
