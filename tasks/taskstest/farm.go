package taskstest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"

	"farm/api"
	"farm/tasks"
)

// startTimeout bounds the start of a farm and of a worker in it.
const startTimeout = 10 * time.Second

// Farm is a farm in memory. Its methods may be called by any goroutine.
type Farm struct {
	node   *node
	server *grpc.Server
	client *tasks.Client
	addr   string

	mu      sync.Mutex
	stops   []func() error // of workers
	stopped sync.WaitGroup
}

// New starts a farm that ends with the test.
func New(t testing.TB) *Farm {
	t.Helper()
	f, err := Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	})
	return f
}

// Start starts a farm for programs that are no tests, as examples. Close it.
func Start() (*Farm, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("taskstest: %w", err)
	}
	f := &Farm{node: newNode(l.Addr().String()), addr: l.Addr().String(),
		server: grpc.NewServer(grpc.MaxRecvMsgSize(api.MaxWorkerMessage), grpc.MaxSendMsgSize(api.MaxWorkerMessage))}
	api.RegisterFarmServer(f.server, f.node)
	api.RegisterWorkersServer(f.server, f.node)
	f.stopped.Go(func() { _ = f.server.Serve(l) }) // it ends with Stop
	f.stopped.Go(f.node.tick)
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	if f.client, err = tasks.Dial(ctx, f.addr); err != nil {
		return nil, errors.Join(fmt.Errorf("taskstest: %w", err), f.Close())
	}
	return f, nil
}

// Close stops the workers, with their drain, and then the farm. The errors are
// those of Serve. It can be repeated.
func (f *Farm) Close() error {
	f.mu.Lock()
	stops := f.stops
	f.stops = nil
	f.mu.Unlock()
	var errs []error
	for _, stop := range slices.Backward(stops) {
		errs = append(errs, stop())
	}
	if f.client != nil {
		errs = append(errs, f.client.Close())
	}
	f.node.close()
	f.server.Stop()
	f.stopped.Wait()
	return errors.Join(errs...)
}

// Client is one for the farm. It is closed with the farm.
func (f *Farm) Client() *tasks.Client { return f.client }

// Addr is where the farm takes calls, for tasks.Dial.
func (f *Farm) Addr() string { return f.addr }

// Serve runs handlers in a worker, and returns when the farm has it. The worker
// ends with the farm, or when the function returned is called, which waits for the
// end of its drain and returns the error of tasks.Client.Serve. It panics when the
// worker does not come to be: its options are wrong.
func (f *Farm) Serve(mux *tasks.Mux, o tasks.WorkerOptions) (stop func() error) {
	if o.Name == "" {
		o.Name = "worker-" + tasks.NewID()
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- f.client.Serve(ctx, mux, o) }()
	stop = sync.OnceValue(func() error { cancel(); return <-ended })
	limit := time.NewTimer(startTimeout)
	defer limit.Stop()
	select {
	case <-f.node.attachedSoon(o.Name):
	case err := <-ended:
		cancel()
		panic(fmt.Sprintf("taskstest: the worker ended: %v", err))
	case <-limit.C:
		panic("taskstest: the worker does not attach")
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.stops = append(f.stops, stop)
	return stop
}

// Settled waits until no attempt of a task runs, and returns the task as it is then: it
// waits for something, such as its time after a failure, or is at its end. A test calls it
// before Advance, when a handler has just returned and the farm may not know yet.
func (f *Farm) Settled(ctx context.Context, id string) (*tasks.Info, error) {
	tick := time.NewTicker(tickTime)
	defer tick.Stop()
	for {
		i, err := f.client.Get(ctx, id)
		if err != nil || i.State != tasks.Running {
			return i, err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return i, context.Cause(ctx)
		}
	}
}

// Advance moves the farm's clock on: what was to happen in that time happens now, each
// time of a schedule included.
func (f *Farm) Advance(d time.Duration) { f.node.advance(d) }

// Now is the farm's clock.
func (f *Farm) Now() time.Time { return time.Unix(0, f.node.now()) }
