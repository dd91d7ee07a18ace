package replica

import (
	"context"
	"fmt"
	"net"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"farm/api"
	"farm/scheduler"
)

// testCluster is three nodes in this process, on real sockets and disks.
type testCluster struct {
	t     testing.TB
	cfg   []Config
	nodes []*Node
}

func freeAddr(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func startCluster(t testing.TB) *testCluster {
	t.Helper()
	c := &testCluster{t: t, nodes: make([]*Node, 3)}
	dir := t.TempDir()
	var join []string
	for range 3 {
		join = append(join, freeAddr(t))
	}
	for i := range 3 {
		id := fmt.Sprintf("n%d", i+1)
		c.cfg = append(c.cfg, Config{ID: id, Data: filepath.Join(dir, id), Listen: join[i], Raft: freeAddr(t), Join: join, BootstrapExpect: 3, Slots: 2, Logger: testLogger(t)})
	}
	var wg sync.WaitGroup
	for i := range 3 {
		wg.Go(func() { c.start(i) })
	}
	wg.Wait()
	if t.Failed() {
		t.FailNow()
	}
	t.Cleanup(func() {
		var wg sync.WaitGroup
		for i := range c.nodes {
			wg.Go(func() { c.stop(i) })
		}
		wg.Wait()
	})
	return c
}

func (c *testCluster) start(i int) {
	n, err := Start(testContext(c.t), c.cfg[i])
	if err != nil {
		c.t.Error(err)
		return
	}
	c.nodes[i] = n
}

func (c *testCluster) stop(i int) {
	if c.nodes[i] != nil {
		stopNode(c.t, c.nodes[i])
		c.nodes[i] = nil
	}
}

// leader waits until one node leads, and returns its position.
func (c *testCluster) leader() int {
	c.t.Helper()
	at := -1
	eventually(c.t, "a leader", func() bool {
		for i, n := range c.nodes {
			if n != nil && n.leads() {
				at = i
				return true
			}
		}
		return false
	})
	return at
}

func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: not within 30 s", what)
		}
	}
}

func TestAnyNodeTakesAnyCall(t *testing.T) {
	c := startCluster(t)
	for i, n := range c.nodes {
		cl := dial(t, n.API())
		if r := cl.set(fmt.Sprint("s", i), "c0", fmt.Sprint("x", i), fmt.Sprint(i)); r.Error != nil {
			t.Fatalf("set through node %d: %v", i, r.Error)
		}
	}
	for _, n := range c.nodes {
		cl := dial(t, n.API())
		for i := range c.nodes {
			if got := cl.get("c0", fmt.Sprint("x", i)); got != fmt.Sprint(i) {
				t.Fatalf("x%d read through %s is %s", i, n.ID(), got)
			}
		}
	}
}

func TestReplicasHaveOneHash(t *testing.T) {
	c := startCluster(t)
	cl := dial(t, c.nodes[0].API())
	for i := range 50 {
		cl.set(fmt.Sprint("s", i), fmt.Sprint("c", i%7), "x", fmt.Sprint(i))
	}
	var v *api.Status
	eventually(t, "equal hashes", func() bool {
		v = cl.call(&api.Call{Op: &api.Call_Status{Status: &api.GetStatus{}}}).GetStatus()
		return len(v.Nodes) == 3 && v.Nodes[0].Hash != "" && v.Nodes[0].Hash == v.Nodes[1].Hash && v.Nodes[1].Hash == v.Nodes[2].Hash &&
			v.Nodes[0].Applied == v.Nodes[2].Applied && v.Nodes[0].LogHash == v.Nodes[2].LogHash
	})
	if v.Leader == "" || v.Term == 0 {
		t.Fatalf("no leader in %v", v)
	}
}

// A call that is on its way when the leader stops is answered by the next one,
// through a follower that held it.
func TestCallsOutliveTheLeader(t *testing.T) {
	c := startCluster(t)
	l := c.leader()
	other := (l + 1) % 3
	cl := dial(t, c.nodes[other].API())
	const calls = 100
	failed := make(chan string, calls)
	var stopped sync.WaitGroup
	defer stopped.Wait()
	for i := range calls {
		go func() {
			ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
			defer cancel()
			r, err := cl.One(ctx, &api.Call{Op: &api.Call_Set{Set: &api.SetKey{Id: fmt.Sprint("s", i), Namespace: fmt.Sprint("c", i), Key: "x", Json: []byte("1")}}})
			if err == nil && r.Error == nil {
				failed <- ""
				return
			}
			failed <- fmt.Sprint(i, err, r)
		}()
		if i == calls/2 {
			stopped.Go(func() { c.stop(l) })
		}
	}
	for range calls {
		if f := <-failed; f != "" {
			t.Error(f)
		}
	}
	eventually(t, "a new leader", func() bool { return c.nodes[other].leads() || c.nodes[(l+2)%3].leads() })
	// A follower may hear only from the next leader what the last one committed.
	eventually(t, "every call is in the state", func() (all bool) {
		c.nodes[other].fsm.View(func(s *scheduler.State) { all = len(s.Namespaces("", 1000)) == calls })
		return all
	})
}

func TestRestartedNodeCatchesUp(t *testing.T) {
	c := startCluster(t)
	follower := (c.leader() + 1) % 3
	c.stop(follower)
	cl := dial(t, c.nodes[c.leader()].API())
	for i := range 20 {
		cl.set(fmt.Sprint("s", i), "c0", "x", fmt.Sprint(i))
	}
	c.start(follower)
	eventually(t, "equal hashes", func() bool {
		v := cl.call(&api.Call{Op: &api.Call_Status{Status: &api.GetStatus{}}}).GetStatus()
		return v.Nodes[0].Hash != "" && v.Nodes[0].Hash == v.Nodes[1].Hash && v.Nodes[1].Hash == v.Nodes[2].Hash
	})
}

func TestNewNodeJoins(t *testing.T) {
	c := startCluster(t)
	cl := dial(t, c.nodes[0].API())
	cl.set("s", "c0", "x", "7")
	n, err := Start(testContext(t), Config{ID: "n4", Data: t.TempDir(), Join: []string{c.cfg[1].Listen}, Slots: 1, Logger: testLogger(t)})
	if err != nil {
		t.Fatal(err)
	}
	defer stopNode(t, n)
	if got := dial(t, n.API()).get("c0", "x"); got != "7" {
		t.Fatalf("through the new node x is %s", got)
	}
	v := cl.call(&api.Call{Op: &api.Call_Status{Status: &api.GetStatus{}}}).GetStatus()
	if len(v.Nodes) != 4 {
		t.Fatalf("%d nodes after one joined three", len(v.Nodes))
	}
}

// A node whose state is not that of the two others finds out, and would end.
func TestDivergedNodeEnds(t *testing.T) {
	c := startCluster(t)
	cl := dial(t, c.nodes[0].API())
	for i := range 200 { // past a mark
		cl.set(fmt.Sprint("s", i), "c0", "x", fmt.Sprint(i))
	}
	liar := c.nodes[2]
	eventually(t, "marks on all nodes", func() bool {
		return len(c.nodes[0].fsm.Marks()) > 0 && len(c.nodes[1].fsm.Marks()) > 0 && len(liar.fsm.Marks()) > 0
	})
	for _, n := range c.nodes {
		if err := n.compare(t.Context()); err != nil {
			t.Fatalf("%s: %v", n.ID(), err)
		}
	}
	wrong := liar.fsm.Marks()
	for i := range wrong {
		wrong[i].Sum[0]++
	}
	index, against := contradiction(wrong, [][]*api.Mark{markViews(c.nodes[0].fsm.Marks()), markViews(c.nodes[1].fsm.Marks()), nil})
	if against != 2 || index != wrong[0].Index {
		t.Fatalf("%d against at entry %d, want 2 at %d", against, index, wrong[0].Index)
	}
	if _, against := contradiction(c.nodes[0].fsm.Marks(), [][]*api.Mark{markViews(c.nodes[1].fsm.Marks()), markViews(wrong)}); against != 1 {
		t.Fatalf("%d against a node that is right, want the one that is wrong", against)
	}
}

// A call that names another cluster is refused: the port was another farm's before.
func TestCallForAnotherCluster(t *testing.T) {
	n := startNode(t, t.TempDir())
	c := dial(t, n.API())
	ctx := metadata.AppendToOutgoingContext(testContext(t), api.ClusterKey, "c-of-others")
	if _, err := c.One(ctx, &api.Call{Stale: true, Op: &api.Call_Status{Status: &api.GetStatus{}}}); status.Code(err) != codes.FailedPrecondition {
		t.Errorf("a call for another cluster: %v", err)
	}
	g, err := c.Do(ctx)
	if err == nil {
		_, err = g.Recv()
	}
	if status.Code(err) != codes.FailedPrecondition {
		t.Errorf("a stream for another cluster: %v", err)
	}
	other := peers{cluster: func() string { return "c-of-others" }}
	defer other.close()
	if _, err := other.info(testContext(t), n.API(), false); status.Code(err) != codes.FailedPrecondition {
		t.Errorf("a peer of another cluster: %v", err)
	}
	fresh := peers{cluster: func() string { return "" }}
	defer fresh.close()
	if i, err := fresh.info(testContext(t), n.API(), false); err != nil || i.Cluster != n.cluster() || i.Instance != n.instance {
		t.Errorf("a node without a cluster asks: %v, %v", i, err)
	}
}

// The folder of a node that is older than instances gets one, and its address in the
// configuration with it.
func TestFolderWithoutInstance(t *testing.T) {
	c := startCluster(t)
	at := (c.leader() + 1) % 3
	c.stop(at)
	path := filepath.Join(c.cfg[at].Data, "node.json")
	if err := writeFile(path, map[string]any{"format": 1, "id": c.cfg[at].ID}); err != nil {
		t.Fatal(err)
	}
	c.start(at)
	n := c.nodes[at]
	if n == nil || n.instance == "" {
		t.Fatal("no instance")
	}
	leader := c.nodes[c.leader()]
	eventually(t, "the new address in the configuration", func() bool {
		for _, s := range leader.raft.Servers() {
			if s.ID == n.id && s.Address == n.raft.Address() {
				return true
			}
		}
		return false
	})
	if r := dial(t, n.API()).set("s", "c0", "x", "1"); r.Error != nil {
		t.Errorf("a set through it: %v", r.Error)
	}
}
