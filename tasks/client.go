package tasks

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"farm/api"
	"farm/internal/ask"
	"farm/internal/label"
)

// waitRound is how long one Wait request may be held by a node; a longer wait
// is several of them, so that a node forgets what nobody waits for any more.
const waitRound = time.Minute

// Options of a client. The zero value has the defaults.
type Options struct {
	// Timeout is how long a call is tried while no node answers; 0:
	// DefaultTimeout. Waiting for a task may take longer, as long as a node is
	// there to wait with.
	Timeout time.Duration
}

// Client makes calls to a farm. It is safe for concurrent use. Close it.
type Client struct{ conn *conn }

// Dial connects to a farm with the default options: to any of its nodes, given
// as host:port. The others are learned from it. It returns when one of them
// accepted the connection, or with ErrUnavailable or ErrTimeout.
func Dial(ctx context.Context, addrs ...string) (*Client, error) {
	return Options{}.Dial(ctx, addrs...)
}

// Dial is the function Dial with these options.
func (o Options) Dial(ctx context.Context, addrs ...string) (*Client, error) {
	if len(addrs) == 0 || len(addrs) > maxNodes {
		return nil, fmt.Errorf("%w: %d addresses; give 1 to %d", ErrInvalid, len(addrs), maxNodes)
	}
	if o.Timeout < 0 {
		return nil, fmt.Errorf("%w: negative timeout", ErrInvalid)
	}
	if o.Timeout == 0 {
		o.Timeout = DefaultTimeout
	}
	c := &Client{conn: newConn(o.Timeout, addrs)}
	if _, err := c.conn.current(ctx); err != nil {
		c.conn.close()
		return nil, err
	}
	return c, nil
}

// Close ends all calls with ErrClosed. Tasks go on. It can be repeated.
func (c *Client) Close() error {
	c.conn.close()
	return nil
}

// Submitted is a task that was submitted.
type Submitted struct {
	ID string
	// Duplicate says that nothing was submitted: another task has the unique key,
	// and this is the handle of it.
	Duplicate bool
	c         *Client
}

// Wait waits for the end of the task, as Client.Wait does.
func (h *Submitted) Wait(ctx context.Context) (*Info, error) { return h.c.Wait(ctx, h.ID) }

// Get returns what is known of the task now.
func (h *Submitted) Get(ctx context.Context) (*Info, error) { return h.c.Get(ctx, h.ID) }

// Cancel asks for the end of the task, as Client.Cancel does.
func (h *Submitted) Cancel(ctx context.Context) (*Info, error) { return h.c.Cancel(ctx, h.ID) }

// Watch tells what happens to the task, as Client.Watch does.
func (h *Submitted) Watch(ctx context.Context) iter.Seq2[Event, error] { return h.c.Watch(ctx, h.ID) }

// Submit asks for a task. When it returns without an error the task is durable
// and will be carried out whatever happens to this program.
func (c *Client) Submit(ctx context.Context, t Task) (*Submitted, error) {
	msg, err := t.submit(false)
	if err != nil {
		return nil, err
	}
	r, err := c.conn.do(ctx, &api.Call{Op: &api.Call_Submit{Submit: msg}}, false)
	if err != nil {
		return nil, fmt.Errorf("submit %s: %w", t.ID, err)
	}
	return submitted(c, t, r), nil
}

// submitted is the handle of a task that was accepted, or of the one that has its
// unique key.
func submitted(c *Client, t Task, r *api.Reply) *Submitted {
	s := &Submitted{ID: t.ID, c: c}
	if id := r.GetTask().GetId(); t.Unique.Key != "" && id != t.ID {
		s.ID, s.Duplicate = id, true
	}
	return s
}

// SubmitMany submits tasks, in as few messages as there are moments to send one,
// and returns when each of them is answered. Tasks without an ID get one, in the
// slice, so that the call can be repeated with the same slice: what was accepted
// then is there already. With an error, the tasks that were not accepted are nil
// in the result.
func (c *Client) SubmitMany(ctx context.Context, list []Task) ([]*Submitted, error) {
	calls := make([]*api.Call, len(list))
	for i := range list {
		msg, err := list[i].submit(false)
		if err != nil {
			return nil, fmt.Errorf("task %d: %w", i, err)
		}
		calls[i] = &api.Call{Op: &api.Call_Submit{Submit: msg}}
	}
	out := make([]*Submitted, len(list))
	err := c.conn.doAll(ctx, calls, func(i int, r *api.Reply) { out[i] = submitted(c, list[i], r) })
	if err != nil {
		return out, fmt.Errorf("submit: %w", err)
	}
	return out, nil
}

// Run submits a task and waits for its end. When the task failed or was
// cancelled the error is a *TaskError and Info is there as well.
func (c *Client) Run(ctx context.Context, t Task) (*Info, error) {
	msg, err := t.submit(true)
	if err != nil {
		return nil, err
	}
	r, err := c.conn.do(ctx, &api.Call{Op: &api.Call_Submit{Submit: msg}}, true)
	if err != nil {
		return nil, fmt.Errorf("run %s: %w", t.ID, err)
	}
	return c.final(ctx, r.GetTask())
}

// RunAsync is Run for programs that have thousands of tasks in flight: it
// returns when the request is on its way, and done is called once with the
// result. done must not block; it is called by the goroutine that reads all
// replies. The error returned is that of a request that was not made.
func (c *Client) RunAsync(ctx context.Context, t Task, done func(*Info, error)) error {
	msg, err := t.submit(true)
	if err != nil {
		return err
	}
	_, err = c.conn.start(ctx, &api.Call{Op: &api.Call_Submit{Submit: msg}}, true, func(r *api.Reply, err error) {
		if err != nil {
			done(nil, fmt.Errorf("run %s: %w", msg.Id, err))
			return
		}
		i := newInfo(r.GetTask())
		done(i, i.Err())
	})
	return err
}

// final waits for a task that a call began, if it is not at its end yet.
func (c *Client) final(ctx context.Context, t *api.Task) (*Info, error) {
	if i := newInfo(t); i.State.Final() {
		return i, i.Err()
	}
	return c.Wait(ctx, t.GetId())
}

// Wait waits for the end of a task. When it failed or was cancelled the error
// is a *TaskError and Info is there as well.
func (c *Client) Wait(ctx context.Context, id string) (*Info, error) {
	for {
		round := waitRound
		if d, ok := ctx.Deadline(); ok {
			round = min(round, max(time.Until(d), time.Millisecond))
		}
		r, err := c.conn.do(ctx, &api.Call{Op: &api.Call_Wait{Wait: &api.Wait{Id: id, Timeout: int64(round)}}}, true)
		switch {
		case err == nil:
			i := newInfo(r.GetTask())
			return i, i.Err()
		case ctx.Err() != nil:
			return nil, fmt.Errorf("wait for %s: %w", id, contextError(ctx))
		case !errors.Is(err, ErrTimeout):
			return nil, fmt.Errorf("wait for %s: %w", id, err)
		}
	}
}

// Get returns what is known of a task now. Its failure is in Info, not in the
// error.
func (c *Client) Get(ctx context.Context, id string) (*Info, error) {
	r, err := c.conn.do(ctx, &api.Call{Op: &api.Call_GetTask{GetTask: &api.GetTask{Id: id}}}, false)
	if err != nil {
		return nil, fmt.Errorf("task %s: %w", id, err)
	}
	return newInfo(r.GetTask()), nil
}

// Cancel asks for the end of a task: a queued one is cancelled at once, a
// running one is stopped by its worker, and may still succeed. A finished one
// stays as it is. Info is the task as it is then; wait for the end of it.
func (c *Client) Cancel(ctx context.Context, id string) (*Info, error) {
	r, err := c.conn.do(ctx, &api.Call{Op: &api.Call_Cancel{Cancel: &api.Cancel{Id: id}}}, false)
	if err != nil {
		return nil, fmt.Errorf("cancel %s: %w", id, err)
	}
	return newInfo(r.GetTask()), nil
}

// Filter chooses tasks; empty fields choose all.
type Filter struct {
	Namespace, Job string
	State          State
	Queue, Key     string            // tasks that no worker carries out are in no queue
	Handler        string            // that they call
	Labels         map[string]string // that they ask of a worker, these and perhaps others
	Limit          int               // 0: 100
}

// wire is the filter as a request, without its limit.
func (f *Filter) wire() (*api.ListTasks, error) {
	o := ask.Options{Labels: f.Labels}
	if err := o.Check(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	q := &api.ListTasks{Namespace: f.Namespace, Job: f.Job, State: string(f.State), Queue: f.Queue, Key: f.Key, Needs: label.Things(f.Labels)}
	if f.Handler != "" {
		q.Needs = append(q.Needs, label.Handler+f.Handler)
	}
	return q, nil
}

// List returns tasks: those not finished by submission, then finished ones,
// the newest first.
func (c *Client) List(ctx context.Context, f Filter) ([]*Info, error) {
	if f.Limit <= 0 {
		f.Limit = 100
	}
	var out []*Info
	err := c.list(ctx, f, false, func(t *api.Task) bool {
		out = append(out, newInfo(t))
		return len(out) < f.Limit
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// Status describes the cluster.
func (c *Client) Status(ctx context.Context) (*Status, error) {
	r, err := c.conn.do(ctx, &api.Call{Op: &api.Call_Status{Status: &api.GetStatus{}}}, false)
	if err != nil {
		return nil, fmt.Errorf("status: %w", err)
	}
	return newStatus(r.GetStatus()), nil
}
