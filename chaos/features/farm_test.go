package features

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"farm/internal/clock"
	"farm/internal/cluster"
	"farm/tasks"
)

// binary is the farm command, built once for all tests.
var binary string

func TestMain(m *testing.M) {
	os.Exit(buildAndRun(m))
}

func buildAndRun(m *testing.M) int {
	dir, err := os.MkdirTemp("", "farm-features-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	binary = filepath.Join(dir, "farm")
	if out, err := exec.Command("go", "build", "-o", binary, "farm/cmd/farm").CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build: %v\n%s", err, out)
		return 1
	}
	return m.Run()
}

// limit is how long all of it may take on the slowest machine. Nothing else is held
// against the clock from above: what is checked is that nothing is early, twice, lost,
// or more at a time than may be, by the times in the log.
const limit = 4 * time.Minute

// row is a feature. What its functions share they share as variables around them.
type row struct {
	name   string
	before func(f *farm) // the leader is killed
	during func(f *farm) // nobody leads, or another has just begun to: all rows at once
	after  func(f *farm) // the node is back
}

// TestFeaturesSurvive: one farm of three real nodes, a worker with handlers in this
// process, and the traffic of every feature under way when the leader is killed.
func TestFeaturesSurvive(t *testing.T) {
	if testing.Short() {
		t.Skip("starts real nodes")
	}
	f := startFarm(t)
	rows := slices.Concat(queueRows(), timeRows(), flowRows(), handlerRows(), dataRows(), jobRows())
	for _, r := range rows {
		f.part(r.name+"/before", r.before)
	}
	if t.Failed() {
		return
	}
	killed := f.killLeader()
	close(f.killed)
	f.together(rows)
	if err := f.nodes.Restart(f.ctx, killed); err != nil {
		t.Fatal(err)
	}
	for _, r := range rows {
		f.part(r.name, r.after)
	}
	f.part("schedules that missed times", missedTimes)
	f.part("replicas", sameReplicas)
}

// farm is what rows are about.
type farm struct {
	*tasks.Client
	t      *testing.T // of the part
	whole  *testing.T
	ctx    context.Context
	nodes  *cluster.Cluster
	mux    *tasks.Mux
	clock  string        // file with an offset of the nodes' clocks
	killed chan struct{} // closed when the leader is dead
	side   bool          // not on the goroutine of a test
}

func startFarm(t *testing.T) *farm {
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	t.Cleanup(cancel)
	f := &farm{t: t, whole: t, ctx: ctx, mux: tasks.NewMux(), clock: filepath.Join(t.TempDir(), "clock"), killed: make(chan struct{})}
	var err error
	f.nodes, err = cluster.Start(ctx, cluster.Options{Dir: t.TempDir(), Binary: binary, Nodes: 3, Args: []string{"--slots", "4", "--label", "zone=here"},
		Env: []string{clock.Variable + "=" + f.clock}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := f.nodes.Stop(); err != nil {
			t.Error(err)
		}
	})
	f.Client = f.dial()
	register(f)
	f.serve("main", nil)
	return f
}

// dial connects another client.
func (f *farm) dial() *tasks.Client {
	c, err := tasks.Options{Timeout: time.Minute}.Dial(f.ctx, f.nodes.Addrs()...)
	f.must(err)
	f.t.Cleanup(func() { _ = c.Close() })
	return c
}

// serve starts a worker with all handlers, and waits until the farm has it. It is there
// until all is over.
func (f *farm) serve(name string, labels map[string]string) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- f.Serve(ctx, f.mux, tasks.WorkerOptions{Name: name, Slots: 32, Labels: labels}) }()
	f.whole.Cleanup(func() {
		if cancel(); <-ended != nil {
			f.whole.Errorf("worker %s did not end well", name)
		}
	})
	f.until("worker "+name+" is ready", func() bool { return f.worker(name).State == "ready" })
}

// worker is what the farm knows of one.
func (f *farm) worker(name string) (w tasks.WorkerStatus) {
	st, err := f.Status(f.ctx)
	f.must(err)
	if i := slices.IndexFunc(st.Workers, func(w tasks.WorkerStatus) bool { return w.ID == name }); i >= 0 {
		w = st.Workers[i]
	}
	return w
}

// part runs a function of a row as a test.
func (f *farm) part(name string, fn func(*farm)) {
	if fn == nil {
		return
	}
	f.t.Run(strings.ReplaceAll(name, " ", "-"), func(t *testing.T) {
		g := *f
		g.t = t
		fn(&g)
	})
}

// together runs what rows do while nobody leads.
func (f *farm) together(rows []row) {
	var wg sync.WaitGroup
	g := *f
	g.side = true
	for _, r := range rows {
		if r.during != nil {
			wg.Go(func() { r.during(&g) })
		}
	}
	wg.Wait()
	if f.t.Failed() {
		f.t.FailNow()
	}
}

func (f *farm) must(err error) {
	f.t.Helper()
	if err != nil {
		f.fatal("%v", err)
	}
}

func (f *farm) fatal(format string, args ...any) {
	f.t.Helper()
	f.t.Errorf(format, args...)
	if f.side {
		runtime.Goexit()
	}
	f.t.FailNow()
}

// until waits for something that must happen.
func (f *farm) until(what string, ok func() bool) {
	f.t.Helper()
	for !ok() {
		select {
		case <-f.ctx.Done():
			f.fatal("not in time: %s", what)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// killLeader kills the node that leads with kill -9, and returns its number.
func (f *farm) killLeader() (i int) {
	f.t.Helper()
	f.until("a node leads", func() bool {
		st, err := f.Status(f.ctx)
		f.must(err)
		i = slices.IndexFunc(f.nodes.Nodes(), func(n cluster.Node) bool { return n.ID == st.Leader })
		return i >= 0
	})
	f.must(f.nodes.Kill(i))
	return i
}

// ---- tasks ----

// submit submits a task n times and returns the ids.
func (f *farm) submit(n int, x tasks.Task) (ids []string) {
	f.t.Helper()
	for range n {
		h, err := f.Submit(f.ctx, x)
		f.must(err)
		ids = append(ids, h.ID)
	}
	return ids
}

// call is a task that calls a handler.
func call(handler string, x tasks.Task) tasks.Task {
	x.Handler, x.Input = handler, []byte("0")
	return x
}

func (f *farm) get(id string) *tasks.Info {
	f.t.Helper()
	i, err := f.Get(f.ctx, id)
	f.must(err)
	return i
}

// end waits for the end of a task, however it ends.
func (f *farm) end(id string) *tasks.Info {
	f.t.Helper()
	i, err := f.Wait(f.ctx, id)
	if i == nil {
		f.fatal("task %s: %v", id, err)
	}
	return i
}

// succeed waits for tasks, which must succeed, and returns them in the order in which
// they began.
func (f *farm) succeed(ids ...string) (out []*tasks.Info) {
	f.t.Helper()
	for _, id := range ids {
		i := f.end(id)
		if i.State != tasks.Succeeded {
			f.fatal("task %s is %s: %v, causes %q", id, i.State, i.Error, i.Causes)
		}
		out = append(out, i)
	}
	slices.SortStableFunc(out, func(a, b *tasks.Info) int { return a.Started.Compare(b.Started) })
	return out
}

// fail waits for a task, which must fail in a way.
func (f *farm) fail(id, kind string) *tasks.Info {
	f.t.Helper()
	i := f.end(id)
	if i.State != tasks.Failed || i.Error.Kind != kind {
		f.fatal("task %s is %s: %v, causes %q; it must have failed as %q", id, i.State, i.Error, i.Causes, kind)
	}
	return i
}

// failures are why earlier attempts of a task ended that were not lost with a worker.
func failures(i *tasks.Info) (out []string) {
	for _, c := range i.Causes {
		if !strings.Contains(c, " was lost: ") {
			out = append(out, c)
		}
	}
	return out
}

// number reads a variable that is one.
func (f *farm) number(ns, key string) (n int) {
	f.t.Helper()
	f.must(f.Namespace(ns).Get(f.ctx, key, &n))
	return n
}

// now is a moment by the log's clock: no earlier than all that was acknowledged
// before, no later than what is asked for after.
func (f *farm) now() time.Time {
	f.t.Helper()
	return f.get(f.submit(1, call("nothing", tasks.Task{}))[0]).Submitted
}

// sameReplicas waits until all nodes have one state, which they must once nothing is
// under way.
func sameReplicas(f *farm) {
	f.until("all nodes have one state", func() bool {
		st, err := f.Status(f.ctx)
		f.must(err)
		for _, n := range st.Nodes {
			if !n.Reachable || n.Hash == "" || n.Hash != st.Nodes[0].Hash || n.Applied != st.Nodes[0].Applied {
				return false
			}
		}
		return len(st.Nodes) == 3
	})
}
