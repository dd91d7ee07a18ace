package chaos

import (
	"context"
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

// largeNumbers of 8 bytes are a value of 20 MB: forty times what an entry of the
// log has of one.
const largeNumbers = 2_500_000

// makeLarge is a cell that makes x of numbers without a pattern, from a seed.
func makeLarge(seed int) string {
	return fmt.Sprintf(`x := make([]float64, %d)
s := uint64(%d)
for i := range x {
	s = s*2862933555777941757 + 3037000493
	x[i] = float64(s>>11) / (1 << 53)
}`, largeNumbers, seed)
}

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
	if err := cl.Namespace("n").Set(ctx, "runs", 0); err != nil {
		t.Fatal(err)
	}
	rounds := []struct {
		victim string // leader or worker
		all    bool   // when all parts are there, not the first
	}{{"leader", false}, {"leader", true}, {"worker", false}, {"worker", true}}
	for i, r := range rounds {
		// What it comes to without a kill; removed, so that nothing of it is there.
		if _, err := cl.Namespace("still").Exec(ctx, makeLarge(i+1)); err != nil {
			t.Fatal(err)
		}
		want := w.manifest(ctx, "still")
		if err := cl.Namespace("still").Drop(ctx); err != nil {
			t.Fatal(err)
		}
		task, err := cl.Submit(ctx, tasks.Task{Namespace: "n", Source: makeLarge(i+1) + "\nruns++"})
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
		if got := w.manifest(ctx, "n"); got.Size != want.Size || string(got.Hashes) != string(want.Hashes) {
			t.Errorf("after the kill of the %s: %d bytes in %d parts, want %d in %d", r.victim, got.Size, len(got.Hashes)/part.HashBytes, want.Size, len(want.Hashes)/part.HashBytes)
		}
		var runs int
		if err := cl.Namespace("n").Get(ctx, "runs", &runs); err != nil || runs != i+1 {
			t.Errorf("the tasks took effect %d times, want %d, %v", runs, i+1, err)
		}
		if err := CheckReplicas(ctx, cl, 3); err != nil {
			t.Fatal(err)
		}
	}
	// Another node's worker can go on from it.
	if i, err := cl.Namespace("n").Exec(ctx, "len(x)"); err != nil || string(i.Value) != fmt.Sprint(largeNumbers) {
		t.Errorf("%v %v", i, err)
	}
}
