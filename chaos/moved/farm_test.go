package moved

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
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
	dir, err := os.MkdirTemp("", "farm-moved-")
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
func start(t *testing.T) (*cluster.Cluster, *tasks.Client) {
	t.Helper()
	c, err := cluster.Start(t.Context(), cluster.Options{Dir: t.TempDir(), Binary: binary, Nodes: 3})
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
	cl, err := tasks.Options{Timeout: time.Minute}.Dial(t.Context(), c.Addrs()...)
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

// sameReplicas waits until all nodes answer with the same state hash at the same
// index, which they must once nothing is under way.
func sameReplicas(ctx context.Context, c *tasks.Client, nodes int) error {
	var last *tasks.Status
	for {
		s, err := c.Status(ctx)
		if err == nil {
			if last = s; agree(s, nodes) {
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the replicas do not agree: %+v", last)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func agree(s *tasks.Status, nodes int) bool {
	if len(s.Nodes) != nodes {
		return false
	}
	for _, n := range s.Nodes {
		if !n.Reachable || n.Hash == "" || n.Hash != s.Nodes[0].Hash || n.Applied != s.Nodes[0].Applied {
			return false
		}
	}
	return true
}
