package main

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/urfave/cli/v2"

	"farm/tasks"
)

// drainPoll is how often a drain looks whether it is done.
const drainPoll = 100 * time.Millisecond

func (a *app) nodeDrainCommand() *cli.Command {
	var undo, detach bool
	return &cli.Command{
		Name: "drain", Usage: "give a node's worker nothing new, and wait until it has nothing left", UsageText: "farm node drain [--undo] [flags] NAME",
		Description: "NAME is a node, or a worker of your own as \"farm status\" shows it. What runs there comes to its end, namespaces go to\n" +
			"other workers; the node stays a member. It lasts until --undo, or until the node or worker is started again. Ctrl-C\n" +
			"ends the waiting, not the drain.",
		Flags: a.clientFlags(
			&cli.BoolFlag{Name: "undo", Usage: "use it again", Destination: &undo},
			&cli.BoolFlag{Name: "detach", Usage: "do not wait", Destination: &detach}),
		Action: func(c *cli.Context) error {
			args, err := wantArgs(c, 1, 1)
			if err != nil {
				return err
			}
			return a.with(c, func(ctx context.Context, conn *connection) error {
				return a.runNodeDrain(ctx, conn, args[0], undo, detach, c.Bool("json"))
			})
		},
	}
}

func (a *app) runNodeDrain(ctx context.Context, conn *connection, name string, undo, detach, asJSON bool) error {
	workers, err := workersNamed(ctx, conn, name)
	if err != nil {
		return err
	}
	for _, w := range workers {
		if _, err := conn.DrainWorker(ctx, w.ID, undo); err != nil {
			return err
		}
	}
	if !undo && !detach {
		if err := a.awaitIdle(ctx, conn, name); err != nil {
			return err
		}
	}
	if workers, err = workersNamed(ctx, conn, name); err != nil {
		return err
	}
	for _, w := range workers {
		switch {
		case asJSON:
			err = a.printJSON(jsonWorker(w))
		case undo:
			a.io.talk("worker %s is used again", w.ID)
		default:
			a.io.talk("worker %s is given nothing new; it has %d attempts left", w.ID, w.Assigned)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// workersNamed are the workers of a node, or the one of that name.
func workersNamed(ctx context.Context, conn *connection, name string) ([]tasks.WorkerStatus, error) {
	s, err := conn.Status(ctx)
	if err != nil {
		return nil, err
	}
	var out []tasks.WorkerStatus
	for _, w := range s.Workers {
		if w.Node == name || w.ID == name {
			out = append(out, w)
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("drain: %w: there is no node or worker %s", tasks.ErrNotFound, name)
	}
	return out, nil
}

// awaitIdle waits until the workers have nothing left, and shows how much it is.
func (a *app) awaitIdle(ctx context.Context, conn *connection, name string) error {
	watch := &drainWatch{}
	bar := a.io.progress(watch.line)
	defer bar.end()
	tick := time.NewTicker(drainPoll)
	defer tick.Stop()
	for {
		workers, err := workersNamed(ctx, conn, name)
		if err != nil {
			return err
		}
		left := 0
		for _, w := range workers {
			left += w.Assigned
		}
		if left == 0 {
			return nil
		}
		watch.left.Store(int64(left))
		select {
		case <-ctx.Done():
			a.io.talk("the drain goes on: farm node drain %s waits for it, --undo ends it", name)
			return context.Cause(ctx)
		case <-tick.C:
		}
	}
}

// drainWatch is the progress line of a drain.
type drainWatch struct{ left atomic.Int64 }

func (d *drainWatch) line() string { return fmt.Sprintf("%d attempts left", d.left.Load()) }
