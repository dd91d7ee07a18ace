package tasks

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"farm/api"
	"farm/internal/attach"
	"farm/internal/label"
)

// Defaults and limits of WorkerOptions.
const (
	DefaultAttemptTimeout = 10 * time.Minute // of an attempt whose task names none
	DefaultGrace          = 5 * time.Second  // for a handler to return when its context has ended
	DefaultDrainTimeout   = 30 * time.Second // for handlers that run when Serve is to end
	MaxSlots              = 4096             // of one worker
	MaxHandlers           = 512              // of one worker
	maxLabels             = 64               // of one worker
)

// Why the context of a handler ended, for context.Cause; besides ErrCancelled and
// ErrTimeout.
var (
	// ErrStuck is the cause when a handler gave no sign of life for the time it had
	// promised. It is returned by Serve when handlers did not return at its end.
	ErrStuck = errors.New("the handler is stuck")
	// ErrLost is the cause when the attempt is no longer this worker's: the farm gave
	// the worker up, or the worker has not reached the farm for so long that it must
	// have. Nothing that the handler returns then counts.
	ErrLost = errors.New("the attempt is another worker's by now")
	// ErrDraining is the cause when Serve ends and DrainTimeout is over. An attempt
	// that returns an error then goes to another worker, at no cost.
	ErrDraining = errors.New("the worker is stopping")
)

// WorkerOptions say how handlers are served. The zero value has the defaults.
type WorkerOptions struct {
	// Name of the worker, unique in the farm; empty: one made of the host's name and
	// chance. A worker that is started under the name of one that runs takes its
	// place, and Serve of the other returns ErrConflict.
	Name string
	// Slots is how many handlers run at a time; 0: as many as there are processors.
	Slots int
	// Labels are what tasks may ask of their worker.
	Labels map[string]string
	// Timeout of an attempt whose task names none; 0: DefaultAttemptTimeout.
	Timeout time.Duration
	// Grace is how long a handler may take to return when its context has ended; 0:
	// DefaultGrace. Then the end of the attempt is reported without it, and its slot
	// is lost until it returns.
	Grace time.Duration
	// DrainTimeout is how long handlers may go on when Serve is to end; 0:
	// DefaultDrainTimeout.
	DrainTimeout time.Duration
	Logger       *slog.Logger // nil: nothing is logged
}

func (o *WorkerOptions) defaults() error {
	if o.Name == "" {
		o.Name = workerName()
	}
	if o.Slots == 0 {
		o.Slots = runtime.GOMAXPROCS(0)
	}
	for _, d := range []struct {
		is    *time.Duration
		other time.Duration
	}{{&o.Timeout, DefaultAttemptTimeout}, {&o.Grace, DefaultGrace}, {&o.DrainTimeout, DefaultDrainTimeout}} {
		if *d.is == 0 {
			*d.is = d.other
		}
		if *d.is < 0 {
			return fmt.Errorf("%w: a worker's times cannot be negative", ErrInvalid)
		}
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	switch {
	case !validName(o.Name):
		return fmt.Errorf("%w: %q cannot be the name of a worker", ErrInvalid, o.Name)
	case o.Slots < 1 || o.Slots > MaxSlots:
		return fmt.Errorf("%w: a worker has 1 to %d slots, not %d", ErrInvalid, MaxSlots, o.Slots)
	case len(o.Labels) > maxLabels:
		return fmt.Errorf("%w: a worker has at most %d labels", ErrLimit, maxLabels)
	}
	for k, v := range o.Labels {
		if err := label.Check(k, v); err != nil {
			return fmt.Errorf("%w: %w", ErrInvalid, err)
		}
	}
	return nil
}

// workerName makes a name that no other worker has.
func workerName() string {
	host, _ := os.Hostname()
	host, _, _ = strings.Cut(host, ".")
	if len(host) > 32 {
		host = host[:32]
	}
	id := NewID()
	if name := host + "-" + id[len(id)-12:]; validName(name) {
		return name
	}
	return "worker-" + id[len(id)-12:]
}

// Serve runs the handlers of a Mux as a worker of the farm, until ctx ends: then
// the worker is given nothing new, gives back what it has not begun, lets what
// runs come to its end for DrainTimeout, ends the contexts of the rest, and the
// result is nil. Nodes may come, go and lead in turn meanwhile: the worker finds
// the one that leads, and goes on.
//
// Handlers are called at the same time, each with a context that has the values of ctx.
// A goroutine may call one after the other: a handler that locks its thread is to
// unlock it. The context ends when the task is cancelled, when the attempt's time is
// over, or when the attempt is another worker's; context.Cause says why. A panic
// of a handler is the failure of its attempt.
//
// Errors: ErrInvalid and ErrLimit for options that cannot be; ErrConflict when
// another worker has taken the name; ErrClosed when the client was closed;
// ErrStuck when handlers have not returned at the end.
func (c *Client) Serve(ctx context.Context, m *Mux, o WorkerOptions) error {
	if err := o.defaults(); err != nil {
		return fmt.Errorf("serve: %w", err)
	}
	r := newRunner(context.WithoutCancel(ctx), m, o)
	if n := len(r.handlers); n == 0 || n > MaxHandlers {
		return fmt.Errorf("serve: %w: there are %d handlers; a worker has 1 to %d", ErrInvalid, n, MaxHandlers)
	}
	defer r.dismiss()
	inner, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	r.link = attach.New((&leaderDialer{conn: c.conn}).dial, r, r.out, o.Logger)
	r.link.Echo, r.link.Fatal = true, func(err error) bool { return fatal(err) != nil }
	var parts sync.WaitGroup
	defer parts.Wait()
	parts.Go(func() { r.tend(inner) })
	var ended error
	linked := make(chan struct{})
	parts.Go(func() { ended = r.link.Run(inner); close(linked) })
	select {
	case <-linked:
		r.abort()
		cancel()
		return fmt.Errorf("serve: %w", fatal(ended))
	case <-ctx.Done():
	}
	stuck := r.drain()
	r.link.Close()
	select {
	case <-linked: // no error counts any more
	case <-time.After(lastWordsTimeout):
	}
	cancel()
	if stuck > 0 {
		return fmt.Errorf("serve: %w: %d have not returned", ErrStuck, stuck)
	}
	return nil
}

// fatal says what a worker ends with when a stream ended so; nil: it is to try
// another one.
func fatal(err error) error {
	switch {
	case errors.Is(err, ErrClosed):
		return ErrClosed
	case status.Code(err) == codes.Aborted:
		return fmt.Errorf("%w: %s", ErrConflict, status.Convert(err).Message())
	case status.Code(err) == codes.InvalidArgument:
		return fmt.Errorf("%w: %s", ErrInvalid, status.Convert(err).Message())
	}
	return nil
}

// leaderDialer opens streams to the node that leads. It is used by one goroutine.
type leaderDialer struct {
	conn *conn
	next string // where a node said the leader is; empty: try the client's node
}

func (d *leaderDialer) dial(ctx context.Context) (attach.Stream, error) {
	addr := d.next
	if d.next = ""; addr == "" {
		s, err := d.conn.current(ctx)
		if err != nil {
			return nil, err
		}
		addr = s.addr
	}
	client, err := grpc.NewClient("passthrough:///"+addr, workerDialOptions...)
	if err != nil {
		return nil, err
	}
	context.AfterFunc(ctx, func() { client.Close() })
	g, err := api.NewWorkersClient(client).Attach(d.conn.meaning(ctx))
	if err != nil {
		return nil, err
	}
	return &leaderStream{g, d}, nil
}

var workerDialOptions = append(slices.Clone(dialOptions), grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(api.MaxWorkerMessage)))

// leaderStream remembers where the leader is when its end says so.
type leaderStream struct {
	api.Workers_AttachClient
	d *leaderDialer
}

func (s *leaderStream) Recv() (*api.ToWorker, error) {
	m, err := s.Workers_AttachClient.Recv()
	if err != nil {
		if where := s.Trailer().Get(api.LeaderKey); len(where) == 1 {
			s.d.next = where[0]
		}
	}
	return m, err
}
