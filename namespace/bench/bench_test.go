package bench

import (
	"bufio"
	"context"
	_ "embed"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	"golang.org/x/sys/unix"

	"farm/internal/heap"
	ns "farm/namespace"
	"farm/namespace/bench/programs"
	"farm/namespace/live"
)

// program is one that all sides have.
type program struct {
	name     string
	compiled func(int) int
	size     int // in the table
	small    int // in tests
}

var list = []program{
	{"Loop", programs.Loop, 10_000_000, 1000},
	{"Fib", programs.Fib, 30, 12},
	{"Matmul", programs.Matmul, 200, 10},
	{"Mandelbrot", programs.Mandelbrot, 200, 8},
	{"Sieve", programs.Sieve, 2_000_000, 1000},
	{"Build", programs.Build, 300_000, 1000},
	{"Append", programs.Append, 2_000_000, 1000},
	{"Count", programs.Count, 1_000_000, 5000},
	{"Words", programs.Words, 1_000_000, 1000},
	{"Sort", programs.Sort, 100_000, 500},
	{"Methods", programs.Methods, 1_000_000, 1000},
	{"Channel", programs.Channel, 200_000, 100},
}

// side runs programs and says how long the processor was busy with it.
type side interface {
	run(p program, size int) (result string, busy time.Duration, err error)
}

// compiled is this test's own code.
type compiled struct{}

// leastBusy is how long a compiled program is repeated: what takes little time cannot be measured well.
const leastBusy = 60 * time.Millisecond

func (compiled) run(p program, size int) (result string, busy time.Duration, err error) {
	before := busyTime()
	for n := 1; ; n++ {
		r := p.compiled(size)
		if busy = busyTime() - before; busy >= leastBusy || size == p.small {
			return strconv.Itoa(r), busy / time.Duration(n), nil
		}
	}
}

// busyTime is the processor time of this process.
func busyTime() time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// engine is a context that has the programs in it.
type engine struct {
	c   *live.Context
	ctx context.Context
}

//go:embed programs/programs.go
var source string

func newEngine(tb testing.TB, name string) engine {
	tb.Helper()
	c := live.New(live.Options{})
	_, cell, _ := strings.Cut(source, "\npackage programs\n")
	if _, err := c.Run(tb.Context(), ns.Run{Source: cell, Engine: name}); err != nil {
		tb.Fatalf("%s: %v", name, err)
	}
	return engine{c, tb.Context()}
}

func (e engine) run(p program, size int) (result string, busy time.Duration, err error) {
	before := busyTime()
	r, err := e.c.Run(e.ctx, ns.Run{Source: fmt.Sprintf("%s(%d)", p.name, size)})
	return string(r.JSON), busyTime() - before, err
}

// python is a process of the system's interpreter.
type python struct {
	in  io.Writer
	out *bufio.Reader
}

// newPython starts the interpreter, nil when there is none.
func newPython(tb testing.TB) side {
	tb.Helper()
	path, err := exec.LookPath("python3")
	if err != nil {
		return nil
	}
	cmd := exec.CommandContext(tb.Context(), path, "testdata/programs.py")
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		tb.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		tb.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		in.Close()
		if err := cmd.Wait(); err != nil && tb.Context().Err() == nil {
			tb.Error("python3:", err)
		}
	})
	return &python{in, bufio.NewReader(out)}
}

func (y *python) run(p program, size int) (result string, busy time.Duration, err error) {
	if _, err = fmt.Fprintln(y.in, p.name, size); err != nil {
		return "", 0, err
	}
	var seconds float64
	_, err = fmt.Fscanln(y.out, &result, &seconds)
	return result, time.Duration(seconds * float64(time.Second)), err
}

var others = flag.String("sides", "ssa,yaegi,python", "what is compared with compiled Go")

// sides are those there are, compiled Go first.
func sides(tb testing.TB) (names []string, all []side) {
	tb.Helper()
	names, all = []string{"compiled"}, []side{compiled{}}
	for name := range strings.SplitSeq(*others, ",") {
		var s side
		if name == "python" {
			if s = newPython(tb); s == nil {
				continue
			}
		} else {
			s = newEngine(tb, name)
		}
		names, all = append(names, name), append(all, s)
	}
	return names, all
}

// TestSameResults runs each program on each side.
func TestSameResults(t *testing.T) {
	names, all := sides(t)
	for _, p := range list {
		var want string
		for i, s := range all {
			got, _, err := s.run(p, p.small)
			if err != nil {
				t.Fatalf("%s on %s: %v", p.name, names[i], err)
			}
			if i == 0 {
				want = got
			} else if got != want {
				t.Errorf("%s on %s is %s, want %s", p.name, names[i], got, want)
			}
		}
	}
}

// TestEveryProgramIsMeasured compares the list with the source.
func TestEveryProgramIsMeasured(t *testing.T) {
	for line := range strings.Lines(source) {
		name, _, ok := strings.Cut(strings.TrimPrefix(line, "func "), "(n int) int {")
		if ok && !slices.ContainsFunc(list, func(p program) bool { return p.name == name }) {
			t.Errorf("%s is not in the list", name)
		}
	}
}

var table = flag.String("table", "", "file to which the benchmark writes its table, besides the standard output")

// BenchmarkEngines runs the programs on all sides in turn. -benchtime 5x is five rounds; the figures are
// medians. Garbage is collected as in a child of a worker, for compiled Go too.
func BenchmarkEngines(b *testing.B) {
	heap.Follow(heap.ChildRoom)
	names, all := sides(b)
	rows := map[string][]time.Duration{}
	for _, p := range list {
		b.Run(p.name, func(b *testing.B) {
			for _, s := range all { // what is compiled when it is first called
				if _, _, err := s.run(p, p.small); err != nil {
					b.Fatal(err)
				}
			}
			rows[p.name] = rounds(b, p, all)
			for i, t := range rows[p.name][1:] {
				b.ReportMetric(float64(t)/float64(rows[p.name][0]), names[i+1]+"/compiled")
			}
			b.ReportMetric(rows[p.name][0].Seconds()*1000, "compiled-ms")
			b.ReportMetric(0, "ns/op")
		})
	}
	w := io.Writer(os.Stdout)
	if *table != "" {
		f, err := os.Create(*table)
		if err != nil {
			b.Fatal(err)
		}
		defer f.Close()
		w = io.MultiWriter(w, f)
	}
	printTable(w, names, rows)
}

// rounds gives the median of each side.
func rounds(b *testing.B, p program, all []side) []time.Duration {
	took := make([][]time.Duration, len(all))
	for b.Loop() {
		for i, s := range all {
			runtime.GC() // what others have left
			_, busy, err := s.run(p, p.size)
			if err != nil {
				b.Fatal(err)
			}
			took[i] = append(took[i], busy)
		}
	}
	out := make([]time.Duration, len(all))
	for i, t := range took {
		slices.Sort(t)
		out[i] = t[len(t)/2]
	}
	return out
}

// printTable prints the medians in milliseconds and their ratios, as a table of a document.
func printTable(w io.Writer, names []string, rows map[string][]time.Duration) {
	t := tabwriter.NewWriter(w, 0, 0, 1, ' ', 0)
	fmt.Fprintf(t, "\n| program\t| %s\t|", strings.Join(names, " ms\t| ")+" ms")
	for _, n := range names[1:] {
		fmt.Fprintf(t, " %s / compiled\t|", n)
	}
	columns := 2 * len(names)
	if slices.Contains(names, "python") {
		columns++
		fmt.Fprintf(t, " python / %s\t|", names[1])
	}
	fmt.Fprintln(t, "\n"+strings.Repeat("|---\t", columns)+"|")
	for _, p := range list {
		row := rows[p.name]
		if row == nil {
			continue
		}
		fmt.Fprintf(t, "| %s(%d)\t|", p.name, p.size)
		for _, d := range row {
			fmt.Fprintf(t, " %s\t|", figure(d.Seconds()*1000))
		}
		for _, d := range row[1:] {
			fmt.Fprintf(t, " %s\t|", figure(float64(d)/float64(row[0])))
		}
		if py := slices.Index(names, "python"); py > 0 {
			fmt.Fprintf(t, " %s\t|", figure(float64(row[py])/float64(row[1])))
		}
		fmt.Fprintln(t)
	}
	_ = t.Flush()
}

// figure is a number with as many digits as mean something.
func figure(x float64) string {
	if x < 10 {
		return strconv.FormatFloat(x, 'f', 1, 64)
	}
	return strconv.FormatFloat(x, 'f', 0, 64)
}
