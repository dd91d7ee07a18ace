package chaos

import (
	"context"
	"fmt"
	"sync"
	"time"

	"farm/tasks"
)

// Op is one request of the traffic and what became of it.
type Op struct {
	ID        string // of the task
	Namespace string
	Asked     time.Time
	Acked     time.Time // zero: never acknowledged, so it may have happened or not
	Err       error     // of the last try
}

// Increments is traffic of tasks that each add one to a variable n of their
// namespace: what is lost or done twice shows in its value.
type Increments struct {
	Namespaces int
	Parallel   int // requests under way at a time

	mu  sync.Mutex
	ops []*Op
}

func (x *Increments) space(i int) string { return fmt.Sprintf("chaos-%d", i%x.Namespaces) }

// Prepare gives every namespace its n, 0.
func (x *Increments) Prepare(ctx context.Context, c *tasks.Client) error {
	for i := range x.Namespaces {
		if err := c.Namespace(x.space(i)).Set(ctx, "n", 0); err != nil {
			return err
		}
	}
	return nil
}

// Run submits count increments and returns when each is acknowledged or its
// time, of ctx, is over. every is called after each acknowledgement with their
// number so far.
func (x *Increments) Run(ctx context.Context, c *tasks.Client, count int, every func(acked int)) {
	next := make(chan int)
	acked := 0
	var wg sync.WaitGroup
	for range x.Parallel {
		wg.Go(func() {
			for i := range next {
				op := &Op{ID: tasks.NewID(), Namespace: x.space(i), Asked: time.Now()}
				_, op.Err = c.Submit(ctx, tasks.Task{ID: op.ID, Namespace: op.Namespace, Source: "n++"})
				x.mu.Lock()
				if op.Err == nil {
					op.Acked = time.Now()
					acked++
				}
				n := acked
				x.ops = append(x.ops, op)
				x.mu.Unlock()
				if op.Err == nil {
					every(n)
				}
			}
		})
	}
	for i := range count {
		next <- i
	}
	close(next)
	wg.Wait()
}

// Ops returns the requests so far.
func (x *Increments) Ops() []*Op {
	x.mu.Lock()
	defer x.mu.Unlock()
	return append([]*Op(nil), x.ops...)
}

// LongestWait is the longest time a request took to be acknowledged.
func (x *Increments) LongestWait() (longest time.Duration) {
	for _, op := range x.Ops() {
		if !op.Acked.IsZero() {
			longest = max(longest, op.Acked.Sub(op.Asked))
		}
	}
	return longest
}
