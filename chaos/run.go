package chaos

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"farm/tasks"
)

// Options of a run.
type Options struct {
	Binary   string // the farm command
	Dir      string // folder to make the run's folder in; empty: that for temporary files
	Seed     uint64
	Nodes    int           // 0: as the scenario says
	LogStore string        // wal or boltdb; empty: wal
	Engine   string        // of all cells: yaegi or ssa; empty: that of the farm
	Duration time.Duration // faults are injected for at least as long, and each once
	Keep     bool          // the folder, whatever is found
	// Talk, when set, is told what is being done.
	Talk func(format string, args ...any)
}

// run is a scenario under way.
type run struct {
	s      Scenario
	o      Options
	dir    string
	c      *cluster
	h      *history
	load   *load
	report *Report
	number atomic.Int64 // of things that need a name
	found  atomic.Int64 // damage
	killed atomic.Int64 // child processes

	mostRefused uint64
	once        []*counted
	fault       string // that is being injected

	mu sync.Mutex // of the report
}

// Seeds and other limits of a run.
const (
	maxViolations = 50 // of one promise in a report, so that no promise hides another
	maxTold       = 10 // while the run lasts
	pauseBetween  = 400 * time.Millisecond
)

// Run carries a scenario out. The error is of the harness: what is wrong with farm
// is in the report.
func (s Scenario) Run(ctx context.Context, o Options) (*Report, error) {
	if o.Talk == nil {
		o.Talk = func(string, ...any) {}
	}
	if o.Nodes == 0 || s.fixture != "" {
		o.Nodes = max(s.Nodes, 1)
		if s.Nodes == 0 {
			o.Nodes = 3
		}
	}
	if o.LogStore == "" {
		o.LogStore = "wal"
	}
	dir, err := os.MkdirTemp(o.Dir, "farm-chaos-"+s.Name+"-")
	if err != nil {
		return nil, err
	}
	x := &run{s: s, o: o, dir: dir, report: &Report{Scenario: s.Name, Seed: o.Seed, Nodes: o.Nodes, LogStore: o.LogStore, Engine: o.Engine, Outages: map[string][]time.Duration{}}}
	x.talk("seed %d, %d nodes, log store %s, engine %s, in %s", o.Seed, o.Nodes, o.LogStore, cmp.Or(o.Engine, "of the farm"), dir)
	if err := x.begin(ctx); err != nil {
		return x.report, errors.Join(err, x.end())
	}
	err = x.whole(ctx)
	if e := x.end(); err == nil {
		err = e
	}
	if err != nil {
		err = fmt.Errorf("scenario %s, seed %d, in %s: %w", s.Name, o.Seed, dir, err)
	}
	return x.report, err
}

func (x *run) talk(format string, args ...any) {
	x.o.Talk("%s: "+format, append([]any{x.s.Name}, args...)...)
}

// violate notes that a promise does not hold.
func (x *run) violate(promise, format string, args ...any) {
	x.mu.Lock()
	defer x.mu.Unlock()
	v := Violation{Promise: promise, What: fmt.Sprintf(format, args...), At: x.h.now()}
	switch promise {
	case promiseDurable:
		x.report.Lost++
	case promiseOnce:
		x.report.Duplicated++
	case promiseReads:
		x.report.Stale++
	}
	n := 0
	for _, other := range x.report.Violations {
		if other.Promise == promise {
			n++
		}
	}
	if n < maxViolations {
		x.report.Violations = append(x.report.Violations, v)
	}
	if n < maxTold {
		x.talk("BROKEN %q: %s", v.Promise, v.What)
	}
}

func (x *run) outage(d time.Duration) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.report.Outages[x.fault] = append(x.report.Outages[x.fault], d)
}

func (x *run) checked(format string, args ...any) {
	what := fmt.Sprintf(format, args...)
	x.report.Checks = append(x.report.Checks, what)
	x.talk("checked: %s", what)
}

func (x *run) begin(ctx context.Context) error {
	var err error
	if x.h, err = newHistory(filepath.Join(x.dir, "history.jsonl")); err != nil {
		return err
	}
	o := clusterOptions{workers: x.s.workers, dir: x.dir, binary: x.o.Binary, logStore: x.o.LogStore, nodes: x.o.Nodes, args: x.s.args, smallDisk: x.s.smallDisk}
	if x.s.fixture != "" {
		o.fixture = x.s.fixture + "-" + x.o.LogStore
	}
	x.c, err = startCluster(ctx, o)
	if err != nil {
		return err
	}
	x.load = &load{Traffic: x.s.Traffic, h: x.h, violate: x.violate, seed: x.o.Seed, engine: x.o.Engine,
		asked: asked{tasks: map[string]tasks.Task{}, first: map[string]time.Time{}}}
	for range 4 {
		cl, err := x.c.dial(ctx, patience)
		if err != nil {
			return err
		}
		x.load.clients = append(x.load.clients, cl)
	}
	if x.s.fixture != "" {
		if err := x.checkFixture(ctx); err != nil {
			return err
		}
	}
	return x.load.openQueues(ctx)
}

// whole is traffic, faults and checks.
func (x *run) whole(ctx context.Context) error {
	begun := time.Now()
	x.h.quiet()
	x.load.start(ctx)
	err := x.inject(ctx)
	x.load.end()
	x.report.Took = time.Since(begun)
	if err == nil {
		err = x.check(ctx)
	}
	return err
}

// inject injects faults until the time is over.
func (x *run) inject(ctx context.Context) error {
	r := rand.New(rand.NewPCG(x.o.Seed, 0))
	first := slices.Clone(x.s.Faults)
	r.Shuffle(len(first), func(a, b int) { first[a], first[b] = first[b], first[a] })
	if err := x.warm(ctx); err != nil {
		return err
	}
	begun := time.Now()
	for i := 0; i < len(first) || time.Since(begun) < x.o.Duration; i++ {
		name := first[i%len(first)]
		if i >= len(first) {
			name = first[r.IntN(len(first))]
		}
		// Parameters come from a generator of each fault's own, so that how much one
		// of them draws does not change what follows.
		if err := x.one(ctx, name, rand.New(rand.NewPCG(x.o.Seed, r.Uint64()))); err != nil {
			return err
		}
		x.refused(ctx)
	}
	return nil
}

// warm waits until there is traffic, so that what is used can be compared later.
func (x *run) warm(ctx context.Context) error {
	err := x.soon(ctx, "traffic", func() bool { return x.h.acks.Load() > 200 })
	x.report.Before = x.usage(ctx)
	return err
}

func (x *run) one(ctx context.Context, name string, r *rand.Rand) error {
	f, ok := faults[name]
	if !ok {
		return fmt.Errorf("there is no fault %q", name)
	}
	if err := x.c.awaitHealthy(ctx); err != nil {
		return x.broken(ctx, "before "+name, err)
	}
	x.fault = name
	at := x.h.now()
	evidence, err := f.inject(ctx, x, r)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if name == "kill-context" {
		x.killed.Add(1)
	}
	if err := x.c.awaitHealthy(ctx); err != nil {
		return x.broken(ctx, fmt.Sprintf("after %s (%s)", name, evidence), err)
	}
	// Nodes that are whole are not yet clients that are served.
	if err := x.acknowledged(ctx, x.h.next()); err != nil {
		return fmt.Errorf("after %s (%s): %w", name, evidence, err)
	}
	took := x.h.now() - at
	x.report.Faults = append(x.report.Faults, Injected{Fault: name, At: at, Took: took, Evidence: evidence})
	x.talk("%s: %s (whole after %v; %d acknowledged)", name, evidence, took.Round(10*time.Millisecond), x.h.acks.Load())
	return rest(ctx, pauseBetween)
}

// broken notes that the cluster did not become whole.
func (x *run) broken(ctx context.Context, when string, err error) error {
	if ctx.Err() != nil {
		return err
	}
	promise := promiseLive
	for _, n := range x.c.members() {
		if n.proc == nil || !n.proc.over() {
			continue
		}
		if code, _ := n.proc.how(); code == exitDiverged {
			promise = promiseOne
		}
	}
	x.violate(promise, "%s: %v", when, err)
	return err
}

// end stops everything and keeps, or removes, the folder.
func (x *run) end() error {
	for _, cl := range x.load.clientsOrNone() {
		_ = cl.Close()
	}
	var err error
	if x.c != nil {
		err = x.c.stop()
		if err == nil && len(x.report.Checks) > 0 {
			x.checkFolders()
		}
		x.c.unmount()
	}
	x.report.grade()
	if x.h != nil {
		err = errors.Join(err, x.h.close())
	}
	if err == nil && len(x.report.Violations) == 0 && !x.o.Keep && len(x.report.Checks) > 0 {
		return os.RemoveAll(x.dir)
	}
	x.report.Folder = x.dir
	return errors.Join(err, x.report.save(x.dir))
}

// soon waits for something that must happen.
func (x *run) soon(ctx context.Context, what string, happened func() bool) error {
	limited, cancel := context.WithTimeout(ctx, healthLimit)
	defer cancel()
	err := poll(limited, func() (bool, error) { return happened(), nil })
	if err != nil && ctx.Err() == nil {
		return fmt.Errorf("within %v it was not seen that %s", healthLimit, what)
	}
	return err
}

// leader waits until a node leads.
func (x *run) leader(ctx context.Context) (n *node, err error) {
	err = x.soon(ctx, "a node leads", func() bool {
		n = x.c.leader(ctx)
		return n != nil
	})
	return n, err
}
