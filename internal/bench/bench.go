package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"farm/internal/cluster"
	"farm/tasks"
)

// Options of a measurement.
type Options struct {
	Dir      string        // parent of the temporary folder; empty: the system's
	Binary   string        // the farm command; empty: this process's own
	Nodes    int           // 0: 3
	NodeArgs []string      // further arguments of "farm node"
	Run      time.Duration // length of one run; 0: a second
	Runs     int           // runs of which the median counts; 0: 3
	InFlight []int         // 0: 1, 16, 256, 4096
	Only     []string      // names of cases; empty: all
	Talk     func(format string, args ...any)
}

// Report is what was measured.
type Report struct {
	CPUs    int      `json:"cpus"`
	Go      string   `json:"go"`
	Nodes   int      `json:"nodes"`
	Fsync   Fsync    `json:"fsync"`
	Results []Result `json:"results"`
	Memory  Memory   `json:"memory"`
}

// Fsync is how fast the disk makes 4 KiB durable, one write at a time, with no
// farm running.
type Fsync struct {
	PerSecond float64 `json:"per_second"`
	P50       float64 `json:"p50_ms"`
	P99       float64 `json:"p99_ms"`
}

// Result is one case with one number of calls in flight: medians over the runs.
type Result struct {
	Case      string  `json:"case"`
	InFlight  int     `json:"in_flight"`
	PerSecond float64 `json:"per_second"`
	P50       float64 `json:"p50_ms"`
	P99       float64 `json:"p99_ms"`
	// CPU is the seconds that nodes and their children used for 10,000 calls.
	CPU    float64 `json:"cpu_seconds_per_10000"`
	Calls  int64   `json:"calls"`
	Errors int64   `json:"errors"`
	// Slowest and Fastest run, per second: how steady the figure is.
	Slowest float64 `json:"slowest_per_second"`
	Fastest float64 `json:"fastest_per_second"`
}

// Memory is the most that was resident at any moment, in bytes: of the node
// process that had the most, and of all other processes together.
type Memory struct {
	Node     int64 `json:"node_peak_bytes"`
	Children int64 `json:"children_peak_bytes"`
}

// ErrWrong is returned when the farm gave wrong answers while it was measured.
var ErrWrong = errors.New("the farm counted wrongly")

// MaxInFlight is the most calls a measurement keeps in flight: what a client
// has room for.
const MaxInFlight = 8000

// drainTime bounds the wait for calls that are in flight at the end of a run.
const drainTime = time.Minute

func (o *Options) defaults() error {
	if o.Nodes == 0 {
		o.Nodes = 3
	}
	if o.Run == 0 {
		o.Run = time.Second
	}
	if o.Runs == 0 {
		o.Runs = 3
	}
	if len(o.InFlight) == 0 {
		o.InFlight = []int{1, 16, 256, 4096}
	}
	if o.Talk == nil {
		o.Talk = func(string, ...any) {}
	}
	for _, name := range o.Only {
		if !Known(name) {
			return fmt.Errorf("there is no case %q: %s", name, strings.Join(Cases(), ", "))
		}
	}
	return nil
}

// Run measures. A run that is interrupted by ctx returns the error and what
// was measured before.
func Run(ctx context.Context, o Options) (*Report, error) {
	if err := o.defaults(); err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp(o.Dir, "farm-bench-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	r := &Report{CPUs: runtime.NumCPU(), Go: runtime.Version(), Nodes: o.Nodes}
	if r.Fsync, err = measureFsync(ctx, dir, o.Run); err != nil {
		return r, err
	}
	farm, err := cluster.Start(ctx, cluster.Options{Dir: dir, Binary: o.Binary, Nodes: o.Nodes, Args: o.NodeArgs})
	if err != nil {
		return r, err
	}
	err = r.measure(ctx, &o, farm)
	return r, errors.Join(err, farm.Stop())
}

func (r *Report) measure(ctx context.Context, o *Options, farm *cluster.Cluster) error {
	client, err := tasks.Dial(ctx, farm.Addrs()...)
	if err != nil {
		return err
	}
	defer client.Close()
	var pids []int
	for i := range farm.Nodes() {
		pids = append(pids, farm.PID(i))
	}
	procs := watchProcesses(pids)
	defer procs.stop()
	for _, c := range cases {
		if len(o.Only) > 0 && !slices.Contains(o.Only, c.name) {
			continue
		}
		load, check, err := c.prepare(ctx, client)
		if err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
		for _, n := range o.InFlight {
			res, err := measureCase(ctx, o, procs, load, n)
			if err != nil {
				return fmt.Errorf("%s with %d in flight: %w", c.name, n, err)
			}
			res.Case = c.name
			r.Results = append(r.Results, res)
			o.Talk("%-11s %5d in flight  %8.0f/s  p50 %.2f ms  p99 %.2f ms", c.name, n, res.PerSecond, res.P50, res.P99)
		}
		if err := check(ctx); err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
	}
	r.Memory = procs.peaks()
	return nil
}

// call makes one call; done is called once with its end.
type call func(ctx context.Context, done func(error)) error

// run is one stretch of load.
type run struct {
	perSecond, p50, p99, cpu float64
	calls, errors            int64
	firstError               error
}

func measureCase(ctx context.Context, o *Options, procs *processes, load call, inFlight int) (Result, error) {
	if _, err := measureRun(ctx, procs, load, inFlight, o.Run/2); err != nil { // warm up
		return Result{}, err
	}
	var runs []run
	res := Result{InFlight: inFlight}
	for range o.Runs {
		x, err := measureRun(ctx, procs, load, inFlight, o.Run)
		if err != nil {
			return res, err
		}
		runs = append(runs, x)
		res.Calls += x.calls
		res.Errors += x.errors
	}
	of := func(f func(run) float64) []float64 {
		out := make([]float64, len(runs))
		for i, x := range runs {
			out[i] = f(x)
		}
		slices.Sort(out)
		return out
	}
	rates := of(func(x run) float64 { return x.perSecond })
	res.PerSecond, res.Slowest, res.Fastest = median(rates), rates[0], rates[len(rates)-1]
	res.P50 = median(of(func(x run) float64 { return x.p50 }))
	res.P99 = median(of(func(x run) float64 { return x.p99 }))
	res.CPU = median(of(func(x run) float64 { return x.cpu }))
	return res, nil
}

// generator keeps calls in flight for a while.
type generator struct {
	ctx    context.Context
	load   call
	until  time.Time
	left   sync.WaitGroup
	errors atomic.Int64

	mu    sync.Mutex
	first error
	took  []time.Duration
}

// measureRun keeps inFlight calls going for d, and waits for the last.
func measureRun(ctx context.Context, procs *processes, load call, inFlight int, d time.Duration) (run, error) {
	before := procs.cpu()
	begun := time.Now()
	g := &generator{ctx: ctx, load: load, until: begun.Add(d)}
	g.left.Add(inFlight)
	for range inFlight {
		g.next()
	}
	idle := make(chan struct{})
	go func() { g.left.Wait(); close(idle) }()
	limit := time.NewTimer(d + drainTime)
	defer limit.Stop()
	select {
	case <-idle:
	case <-ctx.Done():
		return run{}, context.Cause(ctx)
	case <-limit.C:
		return run{}, fmt.Errorf("calls are not answered %v after the end", drainTime)
	}
	passed := time.Since(begun)
	calls := int64(len(g.took))
	if calls == 0 {
		return run{}, fmt.Errorf("no call succeeded: %w", g.first)
	}
	slices.Sort(g.took)
	return run{
		perSecond: float64(calls) / passed.Seconds(),
		p50:       ms(g.took[calls/2]), p99: ms(g.took[calls*99/100]),
		cpu:   (procs.cpu() - before).Seconds() * 10_000 / float64(calls),
		calls: calls, errors: g.errors.Load(), firstError: g.first,
	}, nil
}

// next makes the next call of one of those in flight. It runs on the goroutine
// that reads answers, so that the generator costs little.
func (g *generator) next() {
	begun := time.Now()
	if !begun.Before(g.until) {
		g.left.Done()
		return
	}
	err := g.load(g.ctx, func(err error) {
		g.ended(begun, err)
		g.next()
	})
	if err != nil { // not even sent
		g.ended(begun, err)
		g.left.Done()
	}
}

func (g *generator) ended(begun time.Time, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if err != nil {
		g.errors.Add(1)
		if g.first == nil {
			g.first = err
		}
		return
	}
	g.took = append(g.took, time.Since(begun))
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// median of a sorted list.
func median(sorted []float64) float64 {
	n := len(sorted)
	if n%2 == 1 {
		return sorted[n/2]
	}
	return (sorted[n/2-1] + sorted[n/2]) / 2
}
