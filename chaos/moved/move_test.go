package moved

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"farm/internal/cluster"
	"farm/internal/zoo"
	ns "farm/namespace"
	"farm/namespace/live"
	"farm/tasks"
)

// How much the tests do. The defaults are for every run of the tests;
// "-move-cells 2000 -move-nodes-every 10" takes some minutes.
var (
	moveCells      = flag.Int("move-cells", 200, "cells between which the namespace is moved")
	moveNodesEvery = flag.Int("move-nodes-every", 50, "cells after which a node is killed instead of its contexts")
	failRuns       = flag.Int("fail-runs", 2, "namespaces of TestFailuresChangeNothing")
	moveSeed       = flag.Uint64("move-seed", 1, "of the cells and of what fails")
)

// A namespace whose context is killed after every cell, and its node with it
// now and then, ends as one that was never moved, and as one that never was in
// a farm: the same items, the same JSON of each variable, the same results on
// the way, and code that looks sees everything shared as it was.
func TestMovedNamespace(t *testing.T) {
	for _, engine := range ns.Engines() {
		t.Run(engine, func(t *testing.T) { movedNamespace(t, engine) })
	}
}

func movedNamespace(t *testing.T, engine string) {
	c, cl := start(t)
	ctx := limited(t, 10*time.Minute)
	cells := append(zoo.Declare(), zoo.Cells(*moveSeed, *moveCells)...)
	t.Logf("seed %d, %d cells", *moveSeed, len(cells))

	local := live.New(live.Options{})
	defer local.Close()
	m := mover{t: t, c: c, ctx: ctx}
	var results [][]byte
	for i, src := range cells {
		r, err := local.Run(ctx, ns.Run{Source: src, Engine: engine})
		if err != nil {
			t.Fatalf("cell %d, in this process: %v\n%s", i, err, src)
		}
		results = append(results, r.JSON)
	}
	run := func(name string, after func(i int, worker string)) {
		for i, src := range cells {
			info, err := cl.Run(ctx, tasks.Task{Namespace: name, Source: src, Engine: engine})
			if err != nil {
				t.Fatalf("cell %d, %s: %v\n%s", i, name, err, src)
			}
			if !bytes.Equal(info.Value, results[i]) {
				t.Errorf("cell %d, %s:\n%s\n%s, want %s", i, name, src, info.Value, results[i])
			}
			// One may have been sent to a node that was gone, but not to a context.
			if info.Attempt > 1 && (name == "still" || i%*moveNodesEvery != 0) {
				t.Errorf("cell %d, %s took %d attempts: %v", i, name, info.Attempt, info.Causes)
			}
			after(i, info.Worker)
		}
	}
	run("still", func(int, string) {})
	run("moved", m.move)
	if m.contexts == 0 || m.nodes == 0 || m.places() < 2 {
		t.Errorf("it was not moved: %d contexts and %d nodes were killed, it was in %d places", m.contexts, m.nodes, m.places())
	}
	t.Logf("%d contexts and %d nodes were killed; it was on %v", m.contexts, m.nodes, slices.Sorted(maps.Keys(m.on)))

	want := local.Items()
	for _, name := range []string{"still", "moved"} {
		sameNamespace(ctx, t, cl.Namespace(name), want)
	}
	for _, name := range []string{"still", "moved"} {
		if info, err := cl.Run(ctx, tasks.Task{Namespace: name, Source: zoo.Check}); err != nil || string(info.Value) != `""` {
			t.Errorf("%s: %v, %v", name, info, err)
		}
	}
	if err := sameReplicas(ctx, cl, 3); err != nil {
		t.Fatal(err)
	}
}

// sameNamespace demands the items of want, by their hash and one by one, and
// the JSON that they have.
func sameNamespace(ctx context.Context, t *testing.T, n *tasks.Namespace, want ns.Items) {
	t.Helper()
	got, err := n.Items(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if g, w := hashOf(got), hashOf(want); g != w {
		t.Errorf("%s has the hash %s, want %s", n.Name(), g, w)
		d := ns.Diff(want, got)
		t.Errorf("they differ in %v, %v", slices.Sorted(maps.Keys(d.Put)), d.Delete)
	}
	for _, name := range zoo.Names() {
		v, err := n.Variable(ctx, name)
		if err != nil {
			t.Errorf("%s.%s: %v", n.Name(), name, err)
			continue
		}
		if j, typ, err := ns.GetJSON(want, name); err != nil || typ != v.Type || !bytes.Equal(j, v.JSON) {
			t.Errorf("%s.%s is %s of type %s, want %s of type %s", n.Name(), name, v.JSON, v.Type, j, typ)
		}
	}
}

func hashOf(items map[string][]byte) string {
	h := sha256.New()
	for _, k := range slices.Sorted(maps.Keys(items)) {
		fmt.Fprintf(h, "%d %s %d ", len(k), k, len(items[k]))
		h.Write(items[k])
	}
	return hex.EncodeToString(h.Sum(nil))
}

// mover makes a namespace cold where it is, or homeless.
type mover struct {
	t   *testing.T
	c   *cluster.Cluster
	ctx context.Context

	down            []int          // nodes that were killed and not started again
	on              map[string]int // cells by worker
	contexts, nodes int
}

func (m *mover) places() int { return len(m.on) }

// move kills what the namespace lives in after its i-th cell, which ran on the
// given worker: the child processes of the node, or the node. A node that is
// down is started again before the next is killed, so that two are always up.
func (m *mover) move(i int, worker string) {
	if m.on == nil {
		m.on = map[string]int{}
	}
	m.on[worker]++
	at := slices.IndexFunc(m.c.Nodes(), func(n cluster.Node) bool { return n.ID == worker })
	if at < 0 {
		m.t.Fatalf("worker %q is on no node", worker)
	}
	for _, d := range m.down {
		if err := m.c.Restart(m.ctx, d); err != nil {
			m.t.Fatal(err)
		}
	}
	m.down = nil
	if (i+1)%*moveNodesEvery != 0 {
		m.contexts += killContexts(m.t, m.c.PID(at))
		return
	}
	end := m.c.Kill
	if m.nodes++; m.nodes%2 == 0 {
		end = m.c.Terminate
	}
	if err := end(at); err != nil {
		m.t.Fatal(err)
	}
	m.down = []int{at}
}

// killContexts kills the contexts of a node and returns how many, when they
// have ended. Those that only start are let be until they have: a worker waits
// a while after a start that failed.
func killContexts(t *testing.T, node int) int {
	t.Helper()
	deadline := time.Now().Add(2 * time.Second)
	for idle := 0; idle < 2 && time.Now().Before(deadline); time.Sleep(2 * time.Millisecond) {
		if idle++; slices.ContainsFunc(contexts(node), busy) {
			idle = 0
		}
	}
	pids := contexts(node)
	for _, pid := range pids {
		kill(t, pid)
	}
	return len(pids)
}

// kill kills a process and returns when all of it has ended.
func kill(t *testing.T, pid int) {
	t.Helper()
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if err := unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0); err != nil {
		t.Fatal(err)
	}
	n := 0
	for err = unix.EINTR; errors.Is(err, unix.EINTR); {
		n, err = unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 10_000)
	}
	if n != 1 {
		t.Fatalf("process %d does not end: %v", pid, err)
	}
}

// contexts are the child processes of a node that hold contexts.
func contexts(node int) (pids []int) {
	lists, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", node))
	for _, list := range lists {
		b, _ := os.ReadFile(list)
		for f := range strings.FieldsSeq(string(b)) {
			cmd, _ := os.ReadFile(filepath.Join("/proc", f, "cmdline"))
			if pid, err := strconv.Atoi(f); err == nil && bytes.Contains(cmd, []byte("farm-context")) {
				pids = append(pids, pid)
			}
		}
	}
	return pids
}

// busy tells whether a thread of a process does anything.
func busy(pid int) bool {
	threads, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
	return slices.ContainsFunc(threads, func(path string) bool {
		b, _ := os.ReadFile(path)
		_, rest, _ := strings.Cut(string(b), ") ") // the name may hold anything, but ends there
		return strings.HasPrefix(rest, "R") || strings.HasPrefix(rest, "D")
	})
}
