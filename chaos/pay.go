package chaos

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"farm/tasks"
)

// Payments: a task takes an amount from one namespace, and submits the task that adds it to
// another. The two commit in one step, so that nothing is lost or made between them.

const (
	purses     = 4
	purseTotal = 1000
	payRetries = 20 // of the task that adds the amount: it is to fail only if it cannot be helped
)

// purse is the namespace of a payment.
func purse(n int) (slot string, values map[string]any) {
	return fmt.Sprintf("purse-%d", n), map[string]any{"m": purseTotal}
}

// pay makes a payment out of the namespace of o.
func (l *load) pay(prepare, ctx context.Context, c *tasks.Client, o *Op, r *rand.Rand) {
	from, _, _ := strings.Cut(o.Namespace, ".")
	slot, values := purse(r.IntN(purses))
	if slot == from {
		slot, values = purse((int(from[len(from)-1]-'0') + 1) % purses)
	}
	var err error
	if o.To, err = l.space(prepare, c, slot, values); err != nil {
		if prepare.Err() == nil {
			l.violate(promiseLive, "a namespace could not be made: %v", err)
		}
		return
	}
	l.task(ctx, c, o)
}

// payment is the cell of a payment. Some take their time, to be under way when something
// happens.
func payment(o *Op) string {
	slow := time.Duration(0)
	if o.Arg%3 == 0 {
		slow = longTask
	}
	end := "m"
	if o.Kind == opBounce {
		end = `panic("no")`
	}
	return fmt.Sprintf("import (\n\t\"farm\"\n\t\"time\"\n)\nm -= %d\nfarm.Submit(farm.Task{Namespace: %q, Source: \"m += %d\", Retries: %d})\ntime.Sleep(%d)\n%s",
		o.Arg, o.To, o.Arg, payRetries, slow, end)
}

// checkPayments asks for the second half of every payment, which must be there exactly when
// the first has succeeded, and counts the money.
func (x *run) checkPayments(ctx context.Context, cl *tasks.Client, ops []*Op, ends map[string]*tasks.Info) error {
	balance := map[string]int{}
	lost, n := 0, 0
	var mu sync.Mutex
	var wg sync.WaitGroup
	limit := make(chan struct{}, askedAtOnce)
	limited, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for _, o := range ops {
		if o.Kind != opPay && o.Kind != opBounce {
			continue
		}
		i := ends[o.Task]
		paid := i != nil && i.State == tasks.Succeeded
		n++
		mu.Lock()
		balance[o.Namespace] += 0
		balance[o.To] += 0
		if paid {
			balance[o.Namespace] -= o.Arg
		}
		mu.Unlock()
		limit <- struct{}{}
		wg.Go(func() {
			defer func() { <-limit }()
			arrived := x.checkChild(limited, cl, o, paid)
			mu.Lock()
			defer mu.Unlock()
			switch {
			case arrived:
				balance[o.To] += o.Arg
			case paid:
				lost += o.Arg
			}
		})
	}
	wg.Wait()
	sum := 0
	for ns, change := range balance {
		m := 0
		if err := cl.Namespace(ns).Get(limited, "m", &m); err != nil {
			return fmt.Errorf("%s.m: %w", ns, err)
		}
		if sum += m; m != purseTotal+change {
			x.violate(promiseOnce, "%s.m is %d, the payments that succeeded make it %d", ns, m, purseTotal+change)
		}
	}
	if sum != len(balance)*purseTotal-lost {
		x.violate(promiseTransaction, "%d purses hold %d together, of %d, and %d of it was paid to tasks that failed", len(balance), sum, len(balance)*purseTotal, lost)
	}
	x.checked("%d payments between %d namespaces: each arrived once, or nothing was paid; all of the money is there", n, len(balance))
	return nil
}

// checkChild tells whether the task that another submits, and must have submitted exactly if
// it has succeeded, has succeeded itself.
func (x *run) checkChild(ctx context.Context, cl *tasks.Client, o *Op, paid bool) bool {
	id := o.Task + "/1"
	i, err := cl.Wait(ctx, id)
	var te *tasks.TaskError
	switch {
	case errors.Is(err, tasks.ErrNotFound) && i == nil:
		if paid {
			x.violate(promiseOnce, "task %s, a %s, succeeded, and %s that it submitted is not there", o.Task, o.Kind, id)
		}
		return false
	case i == nil:
		x.violate(promiseLive, "task %s, which %s submitted, did not end: %v", id, o.Task, err)
		return false
	case !paid:
		x.violate(promiseOnce, "task %s, a %s, did not succeed, and submitted %s", o.Task, o.Kind, id)
	case errors.As(err, &te) && te.Kind != "lost" && te.Kind != "crash":
		x.violate(promiseBlame, "task %s, which a payment submitted, ended %s: %v, causes %q", id, i.State, te, i.Causes)
	case i.Parent != o.Task:
		x.violate(promiseOnce, "task %s is of %q", id, i.Parent)
	}
	return i.State == tasks.Succeeded
}

// counted is a namespace in which each of some tasks counts, by a task that it submits.
type counted struct {
	space string
	tasks []string
}

// checkOnce makes sure that each of the tasks that a zombie ran too late has counted once.
func (x *run) checkOnce(ctx context.Context, cl *tasks.Client) error {
	limited, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for _, c := range x.once {
		want := 0
		for _, id := range c.tasks {
			i, err := cl.Wait(limited, id)
			if i == nil {
				return fmt.Errorf("task %s: %w", id, err)
			}
			if x.checkChild(limited, cl, &Op{Task: id, Kind: opLong}, i.State == tasks.Succeeded) {
				want++
			}
		}
		n := 0
		if err := cl.Namespace(c.space).Get(limited, "n", &n); err != nil {
			return err
		}
		if n != want {
			x.violate(promiseOnce, "%s.n is %d, %d tasks have counted in it", c.space, n, want)
		}
	}
	if len(x.once) > 0 {
		x.checked("what the tasks of zombies submit has been submitted once, in %d namespaces", len(x.once))
	}
	return nil
}
