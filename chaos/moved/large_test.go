package moved

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"farm/api"
	"farm/internal/cluster"
	"farm/internal/part"
	"farm/tasks"
)

// largeBytes is forty times what an entry of the log has of one value.
const largeBytes = 20_000_000

// makeLarge is a cell that makes x of bytes without a pattern.
var makeLarge = fmt.Sprintf(`import "math/rand"
x := make([]byte, %d)
rand.New(rand.NewSource(7)).Read(x)`, largeBytes)

// wire is the wire interface of the nodes that are there.
type wire struct {
	t     *testing.T
	conns []*grpc.ClientConn
}

func connect(t *testing.T, c *cluster.Cluster) *wire {
	w := &wire{t: t}
	for _, addr := range c.Addrs() {
		conn, err := grpc.NewClient("passthrough:///"+addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		w.conns = append(w.conns, conn)
	}
	return w
}

// manifest is what x of a namespace is made of.
func (w *wire) manifest(ctx context.Context, ns string) *api.Manifest {
	w.t.Helper()
	for ctx.Err() == nil {
		for _, conn := range w.conns {
			r, err := api.NewFarmClient(conn).One(ctx, &api.Call{Op: &api.Call_GetNamespace{GetNamespace: &api.GetNamespace{Name: ns, Items: true}}})
			if err != nil || r.Error != nil {
				continue
			}
			for _, it := range r.GetNamespace().GetStored() {
				if it.Key == "v/x" && it.Parts != nil {
					return it.Parts
				}
			}
			w.t.Fatalf("%s has no large x", ns)
		}
		time.Sleep(20 * time.Millisecond)
	}
	w.t.Fatal(ctx.Err())
	return nil
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

// awaitPart waits until the farm has a part of a value that is on its way.
func (w *wire) awaitPart(ctx context.Context, hash []byte) {
	w.t.Helper()
	for ctx.Err() == nil {
		for _, conn := range w.conns {
			r, err := api.NewPartsClient(conn).Offer(ctx, &api.OfferParts{Hashes: hash})
			if err == nil && r.Error == nil && len(r.Hashes) == 0 {
				return
			}
		}
		time.Sleep(time.Millisecond)
	}
	w.t.Fatalf("the part did not come: %v", ctx.Err())
}

// kill -9 of the leader, and of the node whose worker runs the task, while the
// parts of a value of 20 MB are on their way and when they are there: the task
// takes effect once, the value is what it is without a kill, and the replicas
// agree.
func TestKillWithLargeValue(t *testing.T) {
	c, cl := start(t)
	ctx := limited(t, 4*time.Minute)
	w := connect(t, c)
	// What it comes to without a kill; removed, so that nothing of it is there.
	if _, err := cl.Namespace("still").Exec(ctx, makeLarge); err != nil {
		t.Fatal(err)
	}
	want := w.manifest(ctx, "still")
	if err := cl.Namespace("still").Drop(ctx); err != nil {
		t.Fatal(err)
	}
	rounds := []struct {
		victim string // leader or worker
		all    bool   // when all parts are there, not the first
	}{{"leader", false}, {"leader", true}, {"worker", false}}
	for i, r := range rounds {
		ns := cl.Namespace(fmt.Sprint("n", i))
		if err := ns.Set(ctx, "runs", 0); err != nil {
			t.Fatal(err)
		}
		task, err := cl.Submit(ctx, tasks.Task{Namespace: ns.Name(), Source: makeLarge + "\nruns++"})
		if err != nil {
			t.Fatal(err)
		}
		hash := want.Hashes[:part.HashBytes]
		if r.all {
			hash = want.Hashes[len(want.Hashes)-part.HashBytes:]
		}
		w.awaitPart(ctx, hash)
		at := leader(t, c, cl)
		info, err := task.Get(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if r.victim == "worker" {
			for j, n := range c.Nodes() {
				if n.ID == info.Worker {
					at = j
				}
			}
		}
		if err := c.Kill(at); err != nil {
			t.Fatal(err)
		}
		done, err := task.Wait(ctx)
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%s killed, all parts there %v: the task was %s then, its attempt %d ended it", r.victim, r.all, info.State, done.Attempt)
		if err := c.Restart(ctx, at); err != nil {
			t.Fatal(err)
		}
		if got := w.manifest(ctx, ns.Name()); got.Size != want.Size || string(got.Hashes) != string(want.Hashes) {
			t.Errorf("after the kill of the %s: %d bytes in %d parts, want %d in %d", r.victim, got.Size, len(got.Hashes)/part.HashBytes, want.Size, len(want.Hashes)/part.HashBytes)
		}
		// Whichever worker has it now can go on from it.
		if x, err := ns.Exec(ctx, "len(x) * runs"); err != nil || string(x.Value) != fmt.Sprint(largeBytes) {
			t.Errorf("after the kill of the %s: %v, %v", r.victim, x, err)
		}
		if err := ns.Drop(ctx); err != nil {
			t.Fatal(err)
		}
		if err := sameReplicas(ctx, cl, 3); err != nil {
			t.Fatal(err)
		}
	}
}

// kill -9 of the leader while a client sends a value of 16 MB: the client goes on
// where it was, and what it sent is read back the same.
func TestKillWhileSending(t *testing.T) {
	c, cl := start(t)
	ctx := limited(t, 3*time.Minute)
	ns := cl.Namespace("a")
	text := make([]byte, 16<<20)
	seed := uint64(1)
	for i := range text {
		seed = seed*6364136223846793005 + 1442695040888963407
		text[i] = 'a' + byte(seed>>60)
	}
	value := append(append([]byte{'"'}, text...), '"')
	if err := ns.SetJSON(ctx, "s", make([]byte, tasks.MaxSetBytes+1)); !errors.Is(err, tasks.ErrLimit) {
		t.Errorf("a set over the limit: %v", err)
	}
	_, parts := part.Cut(value)
	at := leader(t, c, cl)
	set := make(chan error, 1)
	go func() { set <- ns.SetJSON(ctx, "s", value) }()
	hash := parts[0].Hash
	connect(t, c).awaitPart(ctx, hash[:])
	if err := c.Kill(at); err != nil {
		t.Fatal(err)
	}
	if err := <-set; err != nil {
		t.Fatal(err)
	}
	if err := c.Restart(ctx, at); err != nil {
		t.Fatal(err)
	}
	held, err := ns.Export(ctx)
	if err != nil || !bytes.Contains(held.Items["v/s"], text) {
		t.Fatalf("it is not what was sent: %d bytes, %v", len(held.Items["v/s"]), err)
	}
	if err := cl.Namespace("b").Import(ctx, held.Items); err != nil {
		t.Fatal(err)
	}
	if x, err := cl.Namespace("b").Exec(ctx, "len(s)"); err != nil || string(x.Value) != fmt.Sprint(len(text)) {
		t.Errorf("after the import: %v, %v", x, err)
	}
	if items, err := ns.Items(ctx); err != nil || len(items["v/s"]) > 100 {
		t.Errorf("to check a cell %d bytes are read, %v", len(items["v/s"]), err)
	}
	if err := sameReplicas(ctx, cl, 3); err != nil {
		t.Fatal(err)
	}
}
