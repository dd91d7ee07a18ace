package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"farm/internal/cluster"
)

type devOptions struct {
	nodes, slots  int
	dir, logStore string
}

func (a *app) devCommand() *cli.Command {
	var o devOptions
	return &cli.Command{
		Name:      "dev",
		Usage:     "run a local farm of several nodes in the foreground",
		UsageText: "farm dev [-n 3] [--dir .farm]",
		Description: "Commands in the same folder use it without being told. Its data stay in --dir: the next farm dev goes on with\n" +
			"them; remove the folder to begin anew. A node that ends is started again.",
		Flags: []cli.Flag{
			&cli.IntFlag{Name: "n", Usage: "`NUMBER` of nodes (default: as many as the folder has, or 3)", Destination: &o.nodes},
			&cli.StringFlag{Name: "dir", Usage: "`FOLDER` for data and logs", Value: localDir, Destination: &o.dir},
			&cli.IntFlag{Name: "slots", Usage: "attempts each node runs at a time (default: the number of CPUs)", Destination: &o.slots},
			&cli.StringFlag{Name: "log-store", Usage: "`KIND` of log on disk, wal or boltdb (default: wal)", Destination: &o.logStore},
		},
		Action: func(c *cli.Context) error {
			if _, err := wantArgs(c, 0, 0); err != nil {
				return err
			}
			if o.nodes < 0 || o.slots < 0 {
				return usage("dev: -n and --slots cannot be negative")
			}
			return a.runDev(c.Context, &o)
		},
	}
}

// restartPause keeps a node that ends at once from being started in a circle.
const restartPause = time.Second

func (a *app) runDev(ctx context.Context, o *devOptions) error {
	type exit struct {
		node int
		err  error
	}
	exits := make(chan exit, 64)
	opt := cluster.Options{Dir: o.dir, Nodes: o.nodes, OnExit: func(i int, err error) {
		select {
		case exits <- exit{i, err}:
		case <-ctx.Done():
		}
	}}
	if o.slots > 0 {
		opt.Args = append(opt.Args, "--slots", strconv.Itoa(o.slots))
	}
	if o.logStore != "" {
		opt.Args = append(opt.Args, "--log-store", o.logStore)
	}
	c, err := cluster.Start(ctx, opt)
	if err != nil {
		return err
	}
	fmt.Fprintf(a.io.out, "farm of %d nodes is ready at %s (data in %s, Ctrl-C stops it)\n", len(c.Nodes()), strings.Join(c.Addrs(), ","), o.dir)
	for {
		select {
		case <-ctx.Done():
			return c.Stop() // that is how it ends: no error
		case e := <-exits:
			a.io.talk("%v", e.err)
			if wait(ctx, restartPause) != nil {
				continue
			}
			a.io.talk("starting it again")
			if err := c.Restart(ctx, e.node); err != nil && ctx.Err() == nil {
				return errors.Join(err, c.Stop())
			}
		}
	}
}

// wait waits, or returns why not.
func wait(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
