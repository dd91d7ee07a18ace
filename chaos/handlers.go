package chaos

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"farm/tasks"
)

// A worker of the user's own is a process that serves handlers. The harness's are the
// farm command as well, told to be one by its environment.
const (
	workerVariable = "FARM_CHAOS_WORKER" // the nodes' addresses
	nameVariable   = "FARM_CHAOS_NAME"
	workerSlots    = 4
	handlerName    = "chaos"
)

// errUnwilling is what a handler fails with that is asked to.
var errUnwilling = errors.New("not willing")

// order is what the handler is asked for.
type order struct {
	N      int           // it returns the square of it
	Takes  time.Duration // how long it works
	Snooze time.Duration // by how much its first attempt puts the task off
	Fail   bool          // it fails for good
}

// Worker is for the main function of the farm command: in a process that the harness
// has started to serve handlers it does that, and never returns. In others it does
// nothing.
func Worker() {
	addrs := os.Getenv(workerVariable)
	if addrs == "" {
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	if err := serve(ctx, os.Getenv(nameVariable), strings.Split(addrs, ",")); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// serve is a worker until ctx ends.
func serve(ctx context.Context, name string, addrs []string) error {
	c, err := tasks.Options{Timeout: patience}.Dial(ctx, addrs...)
	if err != nil {
		return err
	}
	defer c.Close()
	mux := tasks.NewMux()
	tasks.Handle(mux, handlerName, carryOut)
	return c.Serve(ctx, mux, tasks.WorkerOptions{Name: name, Slots: workerSlots, DrainTimeout: time.Second})
}

// carryOut is the handler.
func carryOut(ctx context.Context, o order) (int, error) {
	if o.Snooze > 0 && tasks.FromContext(ctx).Number == 1 {
		return 0, tasks.Snooze(o.Snooze)
	}
	if err := rest(ctx, o.Takes); err != nil {
		return 0, err
	}
	if o.Fail {
		return 0, tasks.DoNotRetry(errUnwilling)
	}
	return o.N * o.N, nil
}

// ---- their processes ----

// startWorkers starts workers with handlers, as many as were asked for.
func (c *cluster) startWorkers() error {
	for i := range c.opt.workers {
		if err := c.spawnWorker(i); err != nil {
			return err
		}
	}
	return nil
}

func workerName(i int) string { return fmt.Sprint("handlers-", i+1) }

// spawnWorker starts a worker, or starts it again under its name.
func (c *cluster) spawnWorker(i int) error {
	log, err := os.OpenFile(c.opt.dir+"/"+workerName(i)+".log", os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command(c.opt.binary)
	cmd.Env = append(os.Environ(), workerVariable+"="+strings.Join(c.fronts(), ","), nameVariable+"="+workerName(i))
	cmd.Stdout, cmd.Stderr = log, log
	p, err := startProcess(cmd)
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(c.workers) <= i {
		c.workers = append(c.workers, nil)
	}
	c.workers[i] = p
	return nil
}

// worker is the process of a worker's last run.
func (c *cluster) worker(i int) *process {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.workers[i]
}

// killHandlerWorker kills a worker that runs handlers, and starts it again.
func killHandlerWorker(ctx context.Context, x *run, r *rand.Rand) (string, error) {
	i := r.IntN(x.c.opt.workers)
	if err := x.busyWorker(ctx, i); err != nil {
		return "", err
	}
	p := x.c.worker(i)
	if err := p.end(syscall.SIGKILL, stopLimit); err != nil {
		return "", err
	}
	if _, sig := p.how(); sig != syscall.SIGKILL {
		return "", fmt.Errorf("%s ended by itself", workerName(i))
	}
	if err := rest(ctx, time.Duration(r.IntN(1500))*time.Millisecond); err != nil {
		return "", err
	}
	if err := x.c.spawnWorker(i); err != nil {
		return "", err
	}
	return fmt.Sprintf("%s: process %d → %d", workerName(i), p.pid(), x.c.worker(i).pid()), nil
}

// busyWorker waits until a worker runs something.
func (x *run) busyWorker(ctx context.Context, i int) error {
	return x.soon(ctx, workerName(i)+" runs something", func() bool {
		l := x.c.leader(ctx)
		if l == nil {
			return false
		}
		s, err := x.c.status(ctx, l)
		if err != nil {
			return false
		}
		for _, w := range s.Workers {
			if w.Id == workerName(i) {
				return w.Busy > 0
			}
		}
		return false
	})
}
