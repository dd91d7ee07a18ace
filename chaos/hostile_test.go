package chaos

import (
	"cmp"
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"farm/namespace"
	"farm/tasks"
)

// Cells that try to take their process, or the node, with them. Each must fail
// with its cause, leave its namespace as it was, and leave the node and the
// other tasks alone.
var hostile = []struct {
	name, source string
	kind         string // of the error; on the engine ssa, where that is another: machine
	machine      string
	says         string
	timeout      time.Duration
}{
	{name: "exit", source: "import \"os\"\nn = 2\nos.Exit(3)", kind: "exit", says: "code 3"},
	{name: "recursion", source: "n = 2\nfunc f(x int) int { return f(x+1) + 1 }\nf(0)", kind: "crash", machine: "limit", says: "stack"},
	{name: "allocation", source: "n = 2\nvar keep [][]byte\nfor { keep = append(keep, make([]byte, 16<<20)); for i := 0; i < 16<<20; i += 4096 { keep[len(keep)-1][i] = 1 } }", kind: "memory", says: "memory"},
	{name: "goroutine", source: "n = 2\nimport \"time\"\ngo func() { panic(\"boom\") }()\ntime.Sleep(2 * time.Second)", kind: "panic", says: "boom"},
	{name: "loop", source: "n = 2\nfor { }", kind: "timeout", says: "1s", timeout: time.Second},
	{name: "sleep", source: "n = 2\nimport \"time\"\ntime.Sleep(time.Hour)", kind: "timeout", says: "1s", timeout: time.Second},
	{name: "panic", source: "n = 2\nvar m map[string]int\nm[\"a\"] = 1", kind: "panic", says: "nil map"},
	{name: "huge", source: "n = 2\nvar a [1 << 40]byte\na[5] = 1", says: ""},
	{name: "parentheses", source: strings.Repeat("(", 100_000) + "1" + strings.Repeat(")", 100_000), says: ""},
}

func TestHostileCells(t *testing.T) {
	for _, engine := range namespace.Engines() {
		t.Run(engine, func(t *testing.T) { hostileCells(t, engine) })
	}
}

func hostileCells(t *testing.T, engine string) {
	c, cl := start(t)
	ctx := limited(t, 3*time.Minute)
	ns := cl.Namespace("victim")
	if err := ns.Set(ctx, "n", 1); err != nil {
		t.Fatal(err)
	}
	before, err := ns.Show(ctx)
	if err != nil {
		t.Fatal(err)
	}
	bystander, err := cl.Submit(ctx, tasks.Task{Namespace: "bystander", Source: "import \"time\"\nx := 0\nfor i := 0; i < 300; i++ { time.Sleep(20 * time.Millisecond); x++ }\nx"})
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range hostile {
		t.Run(h.name, func(t *testing.T) {
			began := time.Now()
			_, err := cl.Run(ctx, tasks.Task{Namespace: "victim", Source: h.source, Engine: engine, Timeout: h.timeout})
			var te *tasks.TaskError
			if !errors.As(err, &te) {
				t.Fatalf("the task ended with %v", err)
			}
			t.Logf("%v: %s: %.200s", time.Since(began).Round(time.Millisecond), te.Kind, te.Message)
			want := h.kind
			if engine == namespace.EngineSSA {
				want = cmp.Or(h.machine, want)
			}
			if want != "" && te.Kind != want {
				t.Errorf("kind %s, want %s", te.Kind, want)
			}
			if !strings.Contains(te.Message, h.says) {
				t.Errorf("the message does not say %q", h.says)
			}
		})
	}
	after, err := ns.Show(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if after.Version != before.Version || len(after.Variables) != 1 {
		t.Errorf("the namespace went from version %d to %d with %v", before.Version, after.Version, after.Variables)
	}
	if i, err := bystander.Wait(ctx); err != nil || string(i.Value) != "300" || i.Attempt != 1 {
		t.Errorf("the bystander: %v, %v", i, err)
	}
	for _, n := range c.members() {
		if i, err := c.info(ctx, n, false); err != nil || int(i.Pid) != n.proc.pid() {
			t.Errorf("node %s did not survive: %v", n.id, err)
		}
	}
}

// start starts three real node processes, and shows their logs if the test fails.
func start(t *testing.T) (*cluster, *tasks.Client) {
	t.Helper()
	c, err := startCluster(t.Context(), clusterOptions{dir: t.TempDir(), binary: farmBinary, nodes: 3})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.stop(); err != nil {
			t.Error(err)
		}
		for _, n := range c.members() {
			if t.Failed() {
				t.Logf("log of %s ends with:%s", n.id, c.tail(n))
			}
		}
	})
	cl, err := c.dial(t.Context(), time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cl.Close() })
	return c, cl
}

func limited(t *testing.T, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}
