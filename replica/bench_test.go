package replica

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"farm/tasks"
)

// inFlight keeps n calls of op under way until b's work is done. op calls done
// exactly once, from any goroutine. cpu-ns/op is the CPU of this process: of the
// nodes and the client, not of the workers' children.
func inFlight(b *testing.B, n int, op func(i int, done func(error)) error) {
	slots := make(chan struct{}, n)
	for range n {
		slots <- struct{}{}
	}
	done := func(err error) {
		if err != nil {
			b.Error(err)
		}
		slots <- struct{}{}
	}
	i := 0
	cpu := processTime(b)
	for b.Loop() {
		<-slots
		if err := op(i, done); err != nil {
			b.Fatal(err)
		}
		i++
	}
	for range n {
		<-slots
	}
	b.ReportMetric(float64((processTime(b)-cpu).Nanoseconds())/float64(b.N), "cpu-ns/op")
}

// BenchmarkDictionary measures set and get of a key in three nodes of this
// process, on real sockets and disks.
func BenchmarkDictionary(b *testing.B) {
	c := startCluster(b)
	cl, err := tasks.Dial(context.Background(), c.nodes[c.leader()].API())
	if err != nil {
		b.Fatal(err)
	}
	defer cl.Close()
	ctx := context.Background()
	spaces := make([]*tasks.Namespace, 100)
	for i := range spaces {
		spaces[i] = cl.Namespace(fmt.Sprint("c", i))
		if err := spaces[i].Set(ctx, "x", 1); err != nil {
			b.Fatal(err)
		}
	}
	for _, n := range []int{1, 16, 256} {
		b.Run(fmt.Sprintf("set/%d", n), func(b *testing.B) {
			inFlight(b, n, func(i int, done func(error)) error {
				return spaces[i%100].SetJSONAsync(ctx, "x", json.RawMessage("7"), done)
			})
		})
		b.Run(fmt.Sprintf("get/%d", n), func(b *testing.B) {
			inFlight(b, n, func(i int, done func(error)) error {
				return spaces[i%100].VariableAsync(ctx, "x", func(_ *tasks.Variable, err error) { done(err) })
			})
		})
	}
}

// BenchmarkHandlers measures tasks of a handler that does nothing, in a worker of this
// process.
func BenchmarkHandlers(b *testing.B) {
	c := startCluster(b)
	cl, err := tasks.Dial(context.Background(), c.nodes[c.leader()].API())
	if err != nil {
		b.Fatal(err)
	}
	defer cl.Close()
	ctx, stop := context.WithCancel(context.Background())
	mux := tasks.NewMux()
	tasks.Handle(mux, "next", func(_ context.Context, n int64) (int64, error) { return n + 1, nil })
	served := make(chan error, 1)
	go func() { served <- cl.Serve(ctx, mux, tasks.WorkerOptions{Slots: 64}) }()
	defer func() {
		stop()
		if err := <-served; err != nil {
			b.Error(err)
		}
	}()
	if _, err := tasks.Call[int64](ctx, cl, "next", 1, tasks.Task{}); err != nil { // it is there
		b.Fatal(err)
	}
	for _, n := range []int{256, 4096} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			inFlight(b, n, func(_ int, done func(error)) error {
				return cl.RunAsync(ctx, tasks.Task{Handler: "next", Input: json.RawMessage("1")}, func(_ *tasks.Info, err error) { done(err) })
			})
		})
	}
}

// processTime is the CPU time that the process has used: unlike the time that passed,
// it says something on a machine with other work.
func processTime(b *testing.B) time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkCells measures tasks from submit to result: cells that do nothing in
// private contexts, and n++ in namespaces.
func BenchmarkCells(b *testing.B) {
	c := startCluster(b)
	cl, err := tasks.Dial(context.Background(), c.nodes[c.leader()].API())
	if err != nil {
		b.Fatal(err)
	}
	defer cl.Close()
	ctx := context.Background()
	for _, n := range []int{1, 16, 256, 4096} {
		b.Run(fmt.Sprintf("private/%d", n), func(b *testing.B) {
			inFlight(b, n, func(_ int, done func(error)) error {
				return cl.RunAsync(ctx, tasks.Task{Source: "1"}, func(_ *tasks.Info, err error) { done(err) })
			})
		})
	}
	for _, spaces := range []int{1, 10, 1000} {
		for i := range spaces {
			if err := cl.Namespace(fmt.Sprint("b", i)).Set(ctx, "n", 0); err != nil {
				b.Fatal(err)
			}
		}
		b.Run(fmt.Sprintf("namespaces-%d/256", spaces), func(b *testing.B) {
			inFlight(b, 256, func(i int, done func(error)) error {
				return cl.RunAsync(ctx, tasks.Task{Namespace: fmt.Sprint("b", i%spaces), Source: "n++"}, func(_ *tasks.Info, err error) { done(err) })
			})
		})
	}
}
