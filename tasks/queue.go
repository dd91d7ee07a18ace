package tasks

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"farm/api"
)

// DefaultQueue is the queue of tasks that name none.
const DefaultQueue = "default"

// Unique asks that there is one task at a time with a key. Whoever submits another
// gets the one there is: Submitted.Duplicate, or from Run an Info with another ID.
// The key is one of the whole farm, whatever the queue.
type Unique struct {
	Key string // 1 to 256 bytes; empty: nothing is asked for
	// While says how long a task has the key; empty: WhileRunning, or with For, for
	// that time.
	While While
	// For is how long a task has the key from its submission, whatever becomes of
	// it; at most 366 days.
	For time.Duration
}

// While says how long a task has a unique key.
type While string

// How long a task has its unique key.
const (
	WhileQueued  While = "queued"  // until it is given to a worker for the first time
	WhileRunning While = "running" // until it is final
)

// Rate is how many attempts may begin: Count in each Per, evenly, and up to Burst
// at once after a pause. The zero value is no limit. Rates are kept by the clock of
// the farm's log, to about 20 ms: a faster rate may come in bursts of that.
type Rate struct {
	Count int
	Per   time.Duration
	Burst int // 0: 1
}

// String is the rate as ParseRate reads it, without its burst.
func (r Rate) String() string {
	switch r.Per {
	case 0:
		return "none"
	case time.Second:
		return fmt.Sprintf("%d/s", r.Count)
	case time.Minute:
		return fmt.Sprintf("%d/m", r.Count)
	case time.Hour:
		return fmt.Sprintf("%d/h", r.Count)
	}
	return fmt.Sprintf("%d/%v", r.Count, r.Per)
}

// ParseRate reads a rate: "10/s", "100/m", "5/h", "1/1m30s", or "none".
func ParseRate(text string) (Rate, error) {
	if text == "none" {
		return Rate{}, nil
	}
	count, per, _ := strings.Cut(text, "/")
	n, err := strconv.Atoi(count)
	if per == "s" || per == "m" || per == "h" {
		per = "1" + per
	}
	d, err2 := time.ParseDuration(per)
	if err != nil || err2 != nil || n < 1 || d <= 0 {
		return Rate{}, fmt.Errorf("%w: %q is no rate; say 10/s, 100/m, 5/h, 1/1m30s or none", ErrInvalid, text)
	}
	return Rate{Count: n, Per: d}, nil
}

func (r *Rate) wire() *api.Rate {
	if r == nil {
		return nil
	}
	return &api.Rate{Count: uint32(r.Count), Period: int64(r.Per), Burst: uint32(r.Burst)}
}

func newRate(r *api.Rate) Rate {
	return Rate{int(r.GetCount()), time.Duration(r.GetPeriod()), int(r.GetBurst())}
}

// Queue is what farm knows of a queue: tasks that are limited, paused and counted
// together. A queue needs no making: it is there while it has tasks or settings.
type Queue struct {
	Name   string
	Paused bool
	// Concurrency is how many attempts may run at a time, 0 for no limit, Rate how
	// often one may begin. Limits count attempts, so a retry counts again.
	Concurrency int
	Rate        Rate
	// KeyConcurrency and KeyRate are the same for the tasks of each Task.Key.
	KeyConcurrency int
	KeyRate        Rate

	Waiting int // for a worker, for their turn in a namespace, or for a limit
	Running int
	Delayed int // for their time
	Limited int // of those waiting: that would be next but for a limit or the pause
	Parked  int // failed and kept, for Client.Retry or Drop; -1: a farm founded by an older version does not count them
	Keys    int // of tasks that are not finished, or that a rate still remembers
	Busiest []QueueKey
}

// QueueKey is one of the busiest keys of a queue; Client.Queue has up to 20.
type QueueKey struct {
	Key              string
	Running, Waiting int
}

// QueueChange is new settings of a queue; what is nil stays as it is. A zero
// concurrency or rate takes that limit away.
type QueueChange struct {
	Paused         *bool
	Concurrency    *int
	Rate           *Rate
	KeyConcurrency *int
	KeyRate        *Rate
}

// Queues returns the queues that have tasks that are not finished, settings or parked
// tasks, by name.
func (c *Client) Queues(ctx context.Context) ([]*Queue, error) {
	r, err := c.conn.do(ctx, &api.Call{Op: &api.Call_ListQueues{ListQueues: &api.ListQueues{}}}, false)
	if err != nil {
		return nil, fmt.Errorf("list queues: %w", err)
	}
	var out []*Queue
	for _, q := range r.GetQueues().GetQueues() {
		out = append(out, newQueue(q))
	}
	return out, nil
}

// Queue returns a queue; one that has neither tasks nor settings is empty.
func (c *Client) Queue(ctx context.Context, name string) (*Queue, error) {
	return c.queue(ctx, "queue "+name, &api.Call{Op: &api.Call_ListQueues{ListQueues: &api.ListQueues{Name: name}}})
}

// SetQueue changes settings of a queue, durably, and returns it as it is then.
// New limits count for what begins from now on; what runs goes on.
func (c *Client) SetQueue(ctx context.Context, name string, change QueueChange) (*Queue, error) {
	q := &api.SetQueue{Name: name, Paused: change.Paused, Rate: change.Rate.wire(), KeyRate: change.KeyRate.wire()}
	for _, x := range []struct {
		from *int
		to   **uint32
	}{{change.Concurrency, &q.Concurrency}, {change.KeyConcurrency, &q.KeyConcurrency}} {
		if x.from == nil {
			continue
		}
		if *x.from < 0 {
			return nil, fmt.Errorf("set queue %s: %w: a concurrency cannot be negative", name, ErrInvalid)
		}
		*x.to = new(uint32(*x.from))
	}
	for _, r := range []*Rate{change.Rate, change.KeyRate} {
		if r != nil && (r.Count < 0 || r.Burst < 0 || r.Per < 0) {
			return nil, fmt.Errorf("set queue %s: %w: a rate cannot be negative", name, ErrInvalid)
		}
	}
	return c.queue(ctx, "set queue "+name, &api.Call{Op: &api.Call_SetQueue{SetQueue: q}})
}

// PauseQueue lets nothing of a queue begin any more: what runs, or was given to a
// worker already, goes on; the rest waits. It can be repeated.
func (c *Client) PauseQueue(ctx context.Context, name string) error {
	_, err := c.SetQueue(ctx, name, QueueChange{Paused: new(true)})
	return err
}

// ResumeQueue ends a pause.
func (c *Client) ResumeQueue(ctx context.Context, name string) error {
	_, err := c.SetQueue(ctx, name, QueueChange{Paused: new(false)})
	return err
}

func (c *Client) queue(ctx context.Context, what string, msg *api.Call) (*Queue, error) {
	r, err := c.conn.do(ctx, msg, false)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	list := r.GetQueues().GetQueues()
	if len(list) != 1 {
		return nil, fmt.Errorf("%s: %w: the node answered with %d queues", what, ErrUnavailable, len(list))
	}
	return newQueue(list[0]), nil
}

func newQueue(q *api.Queue) *Queue {
	out := &Queue{Name: q.GetName(), Paused: q.GetPaused(), Concurrency: int(q.GetConcurrency()), Rate: newRate(q.GetRate()),
		KeyConcurrency: int(q.GetKeyConcurrency()), KeyRate: newRate(q.GetKeyRate()),
		Waiting: int(q.GetWaiting()), Running: int(q.GetRunning()), Delayed: int(q.GetDelayed()), Limited: int(q.GetLimited()), Keys: int(q.GetKeys()), Parked: -1}
	if q.Parked != nil {
		out.Parked = int(q.GetParked())
	}
	for _, k := range q.GetBusiest() {
		out.Busiest = append(out.Busiest, QueueKey{k.Key, int(k.Running), int(k.Waiting)})
	}
	return out
}
