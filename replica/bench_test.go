package replica

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"

	"farm/tasks"
)

// inFlight keeps n calls of op under way until b's work is done. op calls done
// exactly once, from any goroutine.
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
