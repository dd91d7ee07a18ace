package chaos

import (
	"context"
	"errors"
	"fmt"
	"time"

	"farm/tasks"
)

// Check waits until every request that was acknowledged, or that the farm knows
// all the same, has ended, and says what of the promises does not hold: every
// acknowledged task succeeded, and each namespace's n is the number of its
// tasks that did.
func (x *Increments) Check(ctx context.Context, c *tasks.Client) error {
	var errs []error
	want := map[string]int{}
	for i := range x.Namespaces {
		want[x.space(i)] = 0
	}
	for _, op := range x.Ops() {
		info, err := c.Wait(ctx, op.ID)
		switch {
		case err == nil && info.State == tasks.Succeeded:
			want[op.Namespace]++
		case errors.Is(err, tasks.ErrNotFound) && op.Acked.IsZero():
		case errors.Is(err, tasks.ErrNotFound):
			errs = append(errs, fmt.Errorf("lost: task %s was acknowledged and is not there", op.ID))
		default:
			errs = append(errs, fmt.Errorf("task %s: %w", op.ID, err))
		}
		if len(errs) > 10 {
			return errors.Join(errs...)
		}
	}
	for ns, n := range want {
		var got int
		if err := c.Namespace(ns).Get(ctx, "n", &got); err != nil {
			errs = append(errs, err)
		} else if got != n {
			errs = append(errs, fmt.Errorf("namespace %s: n is %d after %d increments that succeeded", ns, got, n))
		}
	}
	return errors.Join(errs...)
}

// CheckReplicas waits until all nodes answer with the same state hash at the
// same index, which they must once nothing is under way.
func CheckReplicas(ctx context.Context, c *tasks.Client, nodes int) error {
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
			return fmt.Errorf("the replicas do not agree: %s", describe(last))
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

func describe(s *tasks.Status) string {
	if s == nil {
		return "no status"
	}
	out := ""
	for _, n := range s.Nodes {
		out += fmt.Sprintf("%s reachable=%v applied=%d hash=%.12s; ", n.ID, n.Reachable, n.Applied, n.Hash)
	}
	return out
}
