package tasks

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"sync"

	"google.golang.org/protobuf/proto"

	"farm/api"
)

// Retry makes a task live again that failed or was cancelled: the same task, with the
// same id, whose attempts go on counting; its failures count anew. It is the last in
// line. A deadline that was a duration begins anew, one that was a time and is over
// does not count any more. Retrying a task that is not final changes nothing.
//
// Errors, among others: ErrNotFound; ErrConflict when the task succeeded, when what
// it runs after failed, or when what it needs is no longer kept.
func (c *Client) Retry(ctx context.Context, id string) (*Info, error) {
	r, err := c.conn.do(ctx, &api.Call{Op: &api.Call_RetryTask{RetryTask: &api.RetryTask{Id: id, Request: NewID()}}}, false)
	if err != nil {
		return nil, fmt.Errorf("retry %s: %w", id, err)
	}
	return newInfo(r.GetTask()), nil
}

// Drop removes a task that failed or was cancelled, before the time for which it is
// kept is over. Dropping one that is not there changes nothing. Errors, among others:
// ErrConflict when the task is not final, or succeeded.
func (c *Client) Drop(ctx context.Context, id string) error {
	if _, err := c.conn.do(ctx, &api.Call{Op: &api.Call_DropTask{DropTask: &api.DropTask{Id: id}}}, false); err != nil {
		return fmt.Errorf("drop %s: %w", id, err)
	}
	return nil
}

// RetryAll retries every task that is parked when it is called and fits the filter:
// those that failed, or with State Cancelled those that were cancelled. It yields
// each id, with an error where one was refused; another error, with an empty id, is
// the last thing it yields. Filter.Limit does not count. It can be called again after
// an error, or when it was left early: it goes on with those that are still parked.
func (c *Client) RetryAll(ctx context.Context, f Filter) iter.Seq2[string, error] {
	return c.bulk(ctx, f, func(ctx context.Context, id string) error {
		_, err := c.Retry(ctx, id)
		return err
	})
}

// DropAll drops every task that RetryAll would retry, and yields as it does.
func (c *Client) DropAll(ctx context.Context, f Filter) iter.Seq2[string, error] {
	return c.bulk(ctx, f, c.Drop)
}

// CancelAll cancels, as Cancel does, every task that fits the filter and is not
// finished when it is called: queued and running ones, or with a State those in it. It
// yields as RetryAll does, and Filter.Limit does not count.
func (c *Client) CancelAll(ctx context.Context, f Filter) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		ids, err := c.unfinished(ctx, f)
		if err != nil {
			yield("", err)
			return
		}
		each(ctx, ids, bulkCalls, func(ctx context.Context, id string) error {
			_, err := c.Cancel(ctx, id)
			return err
		}, yield)
	}
}

// unfinished are the ids of tasks that fit a filter and are not finished. Those that
// begin meanwhile are among them: queued ones are listed before running ones.
func (c *Client) unfinished(ctx context.Context, f Filter) (ids []string, err error) {
	states := []State{Queued, Running}
	switch f.State {
	case "":
	case Queued, Running:
		states = []State{f.State}
	default:
		return nil, fmt.Errorf("%w: only tasks that are queued or running can be cancelled, not %s ones", ErrInvalid, f.State)
	}
	seen := map[string]bool{}
	f.Limit = 0
	for _, f.State = range states {
		err := c.list(ctx, f, true, func(t *api.Task) bool {
			if !seen[t.GetId()] {
				seen[t.GetId()] = true
				ids = append(ids, t.GetId())
			}
			return true
		})
		if err != nil {
			return nil, err
		}
	}
	return ids, nil
}

// bulkCalls is how many calls of a RetryAll, DropAll or CancelAll are on their way at a
// time.
const bulkCalls = 64

// bulk calls do for every parked task that fits a filter: first the tasks that run
// after no other, many at a time, and then the others in the order in which they
// ended, so that what a task runs after comes before it.
func (c *Client) bulk(ctx context.Context, f Filter, do func(context.Context, string) error) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		free, bound, err := c.parked(ctx, f)
		if err != nil {
			yield("", err)
			return
		}
		if each(ctx, free, bulkCalls, do, yield) {
			each(ctx, bound, 1, do, yield)
		}
	}
}

// each calls do for each id, several at a time, and yield with what came of them, in
// order; false: yield has seen the last.
func each(ctx context.Context, ids []string, atOnce int, do func(context.Context, string) error, yield func(string, error) bool) bool {
	for some := range slices.Chunk(ids, atOnce) {
		errs := make([]error, len(some))
		var wg sync.WaitGroup
		for i, id := range some {
			wg.Go(func() { errs[i] = do(ctx, id) })
		}
		wg.Wait()
		for i, err := range errs {
			refused := errors.Is(err, ErrConflict) || errors.Is(err, ErrNotFound) || errors.Is(err, ErrLimit) || errors.Is(err, ErrInvalid)
			if err != nil && !refused {
				yield("", err)
				return false
			}
			if !yield(some[i], err) {
				return false
			}
		}
	}
	return true
}

// parked are the ids of the parked tasks that fit a filter, the oldest first: those
// that run after no other, and the others.
func (c *Client) parked(ctx context.Context, f Filter) (free, bound []string, err error) {
	if f.State == "" {
		f.State = Failed
	}
	if f.State != Failed && f.State != Cancelled {
		return nil, nil, fmt.Errorf("%w: only tasks that failed or were cancelled are parked, not %s ones", ErrInvalid, f.State)
	}
	err = c.list(ctx, f, true, func(t *api.Task) bool {
		if len(t.GetAfter()) > 0 {
			bound = append(bound, t.GetId())
		} else {
			free = append(free, t.GetId())
		}
		return true
	})
	slices.Reverse(free)
	slices.Reverse(bound)
	return free, bound, err
}

// maxPage is how many tasks one answer lists.
const maxPage = 1000

// list calls fn for the tasks that fit a filter until it returns false, however many
// answers they take. Filter.Limit does not count.
func (c *Client) list(ctx context.Context, f Filter, brief bool, fn func(*api.Task) bool) error {
	q, err := f.wire()
	if err != nil {
		return fmt.Errorf("list tasks: %w", err)
	}
	q.Limit, q.Brief = maxPage, brief
	if f.Limit > 0 {
		q.Limit = uint32(min(f.Limit, maxPage))
	}
	for {
		r, err := c.conn.do(ctx, &api.Call{Op: &api.Call_ListTasks{ListTasks: q}}, false)
		if err != nil {
			return fmt.Errorf("list tasks: %w", err)
		}
		for _, t := range r.GetTasks().GetTasks() {
			if !fn(t) {
				return nil
			}
		}
		next := r.GetTasks().GetNext()
		if next == "" {
			return nil
		}
		q = proto.CloneOf(q) // the one before may still be on its way
		q.From = next
	}
}
