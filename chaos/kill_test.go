package chaos

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"farm/internal/cluster"
	"farm/tasks"
)

// binary is the farm command, built once for all tests.
var binary string

func TestMain(m *testing.M) {
	os.Exit(buildAndRun(m))
}

func buildAndRun(m *testing.M) int {
	dir, err := os.MkdirTemp("", "farm-chaos-")
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

// start starts three real node processes, and shows their logs if the test
// fails.
func start(t *testing.T, args ...string) (*cluster.Cluster, *tasks.Client) {
	t.Helper()
	dir := t.TempDir()
	c, err := cluster.Start(t.Context(), cluster.Options{Dir: dir, Binary: binary, Nodes: 3, Args: args})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Stop(); err != nil {
			t.Error(err)
		}
		for i := range c.Nodes() {
			if b, err := os.ReadFile(c.LogPath(i)); err == nil && t.Failed() {
				t.Logf("log of node %d:\n%.8000s", i+1, b)
			}
		}
	})
	return c, dial(t, c)
}

func dial(t *testing.T, c *cluster.Cluster) *tasks.Client {
	t.Helper()
	cl, err := tasks.Options{Timeout: time.Minute}.Dial(t.Context(), c.Addrs()...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cl.Close() })
	return cl
}

func limited(t *testing.T, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

// leader is the position of the node that leads.
func leader(t *testing.T, c *cluster.Cluster, cl *tasks.Client) int {
	t.Helper()
	s, err := cl.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for i, n := range c.Nodes() {
		if n.ID == s.Leader {
			return i
		}
	}
	t.Fatalf("leader %q is no node", s.Leader)
	return 0
}

const increments = 2000

// kill -9 of one node in the middle of 2,000 submits: nothing acknowledged is
// lost, nothing counts twice, and the node comes back to the same state.
func TestKillOneNode(t *testing.T) {
	for _, victim := range []string{"leader", "follower"} {
		t.Run(victim, func(t *testing.T) {
			c, cl := start(t)
			ctx := limited(t, 2*time.Minute)
			x := &Increments{Namespaces: 20, Parallel: 64}
			if err := x.Prepare(ctx, cl); err != nil {
				t.Fatal(err)
			}
			at := leader(t, c, cl)
			if victim == "follower" {
				at = (at + 1) % 3
			}
			pid := c.PID(at)
			var once sync.Once
			x.Run(ctx, cl, increments, func(acked int) {
				if acked > increments/3 {
					once.Do(func() {
						if err := c.Kill(at); err != nil {
							t.Error(err)
						}
					})
				}
			})
			t.Logf("longest wait for an acknowledgement: %v", x.LongestWait())
			if err := x.Check(ctx, cl); err != nil {
				t.Fatal(err)
			}
			if err := c.Restart(ctx, at); err != nil {
				t.Fatal(err)
			}
			if c.PID(at) == pid {
				t.Fatal("the node was not killed")
			}
			if err := CheckReplicas(ctx, cl, 3); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// kill -9 of all three and a start of all three: nothing acknowledged is lost,
// on either log store.
func TestKillAllNodes(t *testing.T) {
	for _, store := range []string{"wal", "boltdb"} {
		t.Run(store, func(t *testing.T) { killAllNodes(t, store) })
	}
}

func killAllNodes(t *testing.T, store string) {
	c, cl := start(t, "--log-store", store)
	ctx := limited(t, 2*time.Minute)
	x := &Increments{Namespaces: 20, Parallel: 64}
	if err := x.Prepare(ctx, cl); err != nil {
		t.Fatal(err)
	}
	var once sync.Once
	x.Run(ctx, cl, increments, func(acked int) {
		if acked > increments/3 {
			once.Do(func() { restartAll(ctx, t, c) })
		}
	})
	if err := x.Check(ctx, cl); err != nil {
		t.Fatal(err)
	}
	if err := CheckReplicas(ctx, cl, 3); err != nil {
		t.Fatal(err)
	}
}

func restartAll(ctx context.Context, t *testing.T, c *cluster.Cluster) {
	var wg sync.WaitGroup
	for i := range c.Nodes() {
		wg.Go(func() {
			if err := c.Kill(i); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	for i := range c.Nodes() {
		wg.Go(func() {
			if err := c.Restart(ctx, i); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

// A leader that stands still for longer than every timeout, with its worker and
// the children of it going on, and then goes on itself: what it then says of its
// old tasks is too late, and counts for nothing.
func TestPauseLeader(t *testing.T) {
	c, cl := start(t)
	ctx := limited(t, 2*time.Minute)
	x := &Increments{Namespaces: 20, Parallel: 64}
	if err := x.Prepare(ctx, cl); err != nil {
		t.Fatal(err)
	}
	at := leader(t, c, cl)
	var once sync.Once
	var resumed sync.WaitGroup
	x.Run(ctx, cl, increments, func(acked int) {
		if acked > increments/3 {
			once.Do(func() {
				if err := c.Pause(at); err != nil {
					t.Error(err)
				}
				resumed.Go(func() {
					time.Sleep(pause)
					if err := c.Resume(at); err != nil {
						t.Error(err)
					}
				})
			})
		}
	})
	resumed.Wait()
	if err := x.Check(ctx, cl); err != nil {
		t.Fatal(err)
	}
	if now := leader(t, c, cl); now == at {
		t.Error("the pause went unnoticed: the same node leads")
	}
	if err := CheckReplicas(ctx, cl, 3); err != nil {
		t.Fatal(err)
	}
}

// pause is longer than the election timeout and a worker's lease together.
const pause = 6 * time.Second
