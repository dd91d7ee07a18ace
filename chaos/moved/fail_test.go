package moved

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"farm/internal/cluster"
	"farm/internal/zoo"
	ns "farm/namespace"
	"farm/namespace/live"
	"farm/tasks"
)

// fault is a reason for which a task fails, or is interrupted.
type fault struct {
	name    string
	end     string // of the cell
	kind    string // of the error
	machine string // the kind on the engine ssa, if it is another there
	timeout time.Duration
	during  func(f *faults, id string) // what is done while the cell runs; nil: nothing
}

var allFaults = []fault{
	{name: "compile error", end: "steps = nope", kind: "compile"},
	{name: "package not allowed", end: "import \"net\"\nnet.Dial(\"tcp\", \"x\")", kind: "not-allowed"},
	{name: "panic", end: "panic(\"boom\")", kind: "panic"},
	{name: "panic in a goroutine", end: "d := make(chan int)\ngo func() { panic(1) }()\n<-d", kind: "panic"},
	{name: "channel", end: "ch := make(chan int)", kind: "unserializable"},
	{name: "value over its limit", end: "octets = make([]byte, 65<<20)", kind: "limit"},
	{name: "result over its limit", end: "make([]byte, 70_000)", kind: "limit"},
	{name: "goroutine that goes on", end: "go func() { for { steps++ } }()", kind: "goroutine"},
	{name: "timeout", end: "for { steps++ }", kind: "timeout", timeout: 200 * time.Millisecond},
	{name: "timeout while waiting", end: "select { }", kind: "timeout", timeout: 200 * time.Millisecond},
	{name: "stack overflow", end: "func deep(n int) int { return deep(n+1) + 1 }\ndeep(0)", kind: "crash", machine: "limit"},
	{name: "memory", end: "hog := [][]byte{}\nfor { b := make([]byte, 1<<26); for i := 0; i < len(b); i += 4096 { b[i] = 1 }; hog = append(hog, b) }", kind: "memory"},
	{name: "cancel", end: "for { steps++ }", kind: "cancelled", during: (*faults).cancel},
	{name: "context killed", end: "for { steps++ }", kind: "crash", during: (*faults).killContext},
}

// faults are a farm, and what went wrong in it.
type faults struct {
	t   *testing.T
	ctx context.Context
	c   *cluster.Cluster
	cl  *tasks.Client
}

// running waits until a task runs, and says where.
func (f *faults) running(id string) (node int) {
	for {
		info, err := f.cl.Get(f.ctx, id)
		if err == nil && info.State == tasks.Running {
			return slices.IndexFunc(f.c.Nodes(), func(n cluster.Node) bool { return n.ID == info.Worker })
		}
		if f.ctx.Err() != nil {
			f.t.Fatalf("task %s does not run: %v, %v", id, info, err)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func (f *faults) cancel(id string) {
	f.running(id)
	if _, err := f.cl.Cancel(f.ctx, id); err != nil {
		f.t.Error(err)
	}
}

// killContext kills the child process that runs a task, and no other: only one
// of them is busy.
func (f *faults) killContext(id string) {
	node := f.c.PID(f.running(id))
	for f.ctx.Err() == nil {
		for _, pid := range contexts(node) {
			if busy(pid) {
				kill(f.t, pid)
				return
			}
		}
	}
}

// Cells that fail for any reason leave the version and the items of their
// namespace as they were, and those that succeed give what they give alone.
// More of it: "-fail-runs 50".
func TestFailuresChangeNothing(t *testing.T) {
	c, cl := start(t)
	f := &faults{t: t, ctx: limited(t, 10*time.Minute), c: c, cl: cl}
	cells, changes := zoo.Cells(5, 40), zoo.Changes(6, 40)
	t.Logf("seed %d", *moveSeed)
	r := rand.New(rand.NewPCG(*moveSeed, 7))
	var left []fault
	for n := range *failRuns {
		engine := ns.Engines()[n%2]
		alone := live.New(live.Options{})
		defer alone.Close()
		space := cl.Namespace(fmt.Sprint("fails-", n))
		succeed := func(src string) {
			want, err := alone.Run(f.ctx, ns.Run{Source: src, Engine: engine})
			if err != nil {
				t.Fatalf("alone: %v\n%s", err, src)
			}
			got, err := cl.Run(f.ctx, tasks.Task{Namespace: space.Name(), Source: src, Engine: engine})
			if err != nil || string(got.Value) != string(want.JSON) {
				t.Fatalf("%v, %v, want %s\n%s", got, err, want.JSON, src)
			}
		}
		for _, src := range zoo.Declare() {
			succeed(src)
		}
		for range 10 {
			succeed(cells[r.IntN(len(cells))])
			if len(left) == 0 {
				left = slices.Clone(allFaults)
			}
			i := r.IntN(len(left))
			x := left[i]
			left = slices.Delete(left, i, i+1)
			if engine == ns.EngineSSA {
				x.kind = cmp.Or(x.machine, x.kind)
			}
			f.fail(space, x, changes[r.IntN(len(changes))]+x.end)
			sameNamespace(f.ctx, t, space, alone.Items())
		}
	}
}

// fail runs a cell that must fail for the reason x and change nothing.
func (f *faults) fail(space *tasks.Namespace, x fault, src string) {
	before, err := space.Show(f.ctx)
	if err != nil {
		f.t.Fatal(err)
	}
	h, err := f.cl.Submit(f.ctx, tasks.Task{Namespace: space.Name(), Source: src, Timeout: x.timeout})
	if err != nil {
		f.t.Fatal(err)
	}
	if x.during != nil {
		x.during(f, h.ID)
	}
	info, err := h.Wait(f.ctx)
	var te *tasks.TaskError
	if !errors.As(err, &te) || te.Kind != x.kind {
		f.t.Fatalf("%s: %v, %v\n%s", x.name, info, err, src)
	}
	after, err := space.Show(f.ctx)
	if err != nil || after.Version != before.Version {
		f.t.Fatalf("%s: version %d became %d, %v\n%s", x.name, before.Version, after.Version, err, src)
	}
}

// A node that is lost while a cell runs does not fail it: it runs again
// elsewhere, from what was there before, and takes effect once.
func TestLostWorkerChangesNothing(t *testing.T) {
	c, cl := start(t)
	f := &faults{t: t, ctx: limited(t, 2*time.Minute), c: c, cl: cl}
	space := cl.Namespace("lost")
	if err := space.Set(f.ctx, "n", 1); err != nil {
		t.Fatal(err)
	}
	// The first attempt waits for ever; those after it, which see their number, do not.
	h, err := cl.Submit(f.ctx, tasks.Task{Namespace: "lost", Source: "import \"farm\"\nn++\nif farm.Attempt() == 1 { select { } }\nn"})
	if err != nil {
		t.Fatal(err)
	}
	at := f.running(h.ID)
	before, err := space.Show(f.ctx)
	if err != nil || before.Version != 1 {
		t.Fatalf("%v, %v", before, err)
	}
	if err := c.Kill(at); err != nil {
		t.Fatal(err)
	}
	info, err := h.Wait(f.ctx)
	if err != nil || string(info.Value) != "2" || info.Attempt != 2 {
		t.Fatalf("%v, %v", info, err)
	}
	after, err := space.Show(f.ctx)
	if err != nil || after.Version != 2 {
		t.Errorf("version %d: %v", after.Version, err)
	}
}
