package main

import (
	"context"
	"fmt"

	"github.com/urfave/cli/v2"

	"farm/tasks"
)

func (a *app) queueCommand() *cli.Command {
	return &cli.Command{
		Name: "queue", Usage: "list, show, pause, resume and limit queues", UsageText: "farm queue VERB [flags] [args]",
		Subcommands: []*cli.Command{a.queueLsCommand(), a.queueShowCommand(), a.queuePauseCommand(true), a.queuePauseCommand(false), a.queueSetCommand()},
	}
}

func (a *app) queueLsCommand() *cli.Command {
	return &cli.Command{
		Name: "ls", Usage: "list queues", UsageText: "farm queue ls [flags]", Flags: a.clientFlags(),
		Description: "Lists the queues that have unfinished or parked tasks, limits, or are paused. Delayed tasks wait for their time, or for\n" +
			"other tasks; parked ones have failed, for \"farm task retry\" and \"farm task drop\". Of the tasks that wait, those that are\n" +
			"limited would be next but for a limit or a pause.",
		Action: func(c *cli.Context) error {
			if _, err := wantArgs(c, 0, 0); err != nil {
				return err
			}
			return a.with(c, func(ctx context.Context, conn *connection) error {
				list, err := conn.Queues(ctx)
				if err != nil {
					return err
				}
				return a.showQueues(list, c.Bool("json"))
			})
		},
	}
}

func (a *app) showQueues(list []*tasks.Queue, asJSON bool) error {
	t := a.io.table("QUEUE", "STATE", "WAITING", "RUNNING", "DELAYED", "PARKED", "LIMITED", "CONCURRENCY", "RATE", "KEYS")
	for _, q := range list {
		if asJSON {
			if err := a.printJSON(jsonQueue(q)); err != nil {
				return err
			}
			continue
		}
		t.row(q.Name, queueState(q), q.Waiting, q.Running, q.Delayed, parkedText(q), q.Limited, limitText(q.Concurrency), q.Rate, q.Keys)
	}
	if !asJSON {
		t.print()
	}
	return nil
}

// parkedText is how many tasks of a queue are parked, if that is counted.
func parkedText(q *tasks.Queue) string {
	if q.Parked < 0 {
		return "-"
	}
	return fmt.Sprint(q.Parked)
}

func queueState(q *tasks.Queue) string {
	if q.Paused {
		return "paused"
	}
	return "open"
}

func limitText(n int) string {
	if n == 0 {
		return "none"
	}
	return fmt.Sprint(n)
}

func rateText(r tasks.Rate) string {
	if r.Burst > 1 {
		return fmt.Sprintf("%v, %d at once", r, r.Burst)
	}
	return r.String()
}

func (a *app) queueShowCommand() *cli.Command {
	return &cli.Command{
		Name: "show", Usage: "show a queue and its busiest keys", UsageText: "farm queue show [flags] QUEUE", Flags: a.clientFlags(),
		Action: func(c *cli.Context) error {
			args, err := wantArgs(c, 1, 1)
			if err != nil {
				return err
			}
			return a.with(c, func(ctx context.Context, conn *connection) error {
				q, err := conn.Queue(ctx, args[0])
				if err != nil {
					return err
				}
				return a.showQueue(q, c.Bool("json"))
			})
		},
	}
}

func (a *app) showQueue(q *tasks.Queue, asJSON bool) error {
	if asJSON {
		return a.printJSON(jsonQueue(q))
	}
	line := func(name string, v any) { fmt.Fprintf(a.io.out, "%-16s %v\n", name, v) }
	line("queue", q.Name)
	line("state", queueState(q))
	line("waiting", q.Waiting)
	line("running", q.Running)
	line("delayed", q.Delayed)
	line("parked", parkedText(q))
	line("limited", q.Limited)
	line("concurrency", limitText(q.Concurrency))
	line("rate", rateText(q.Rate))
	line("key concurrency", limitText(q.KeyConcurrency))
	line("key rate", rateText(q.KeyRate))
	line("keys", q.Keys)
	for _, k := range q.Busiest {
		line("key "+k.Key, fmt.Sprintf("%d running, %d waiting", k.Running, k.Waiting))
	}
	return nil
}

func (a *app) queuePauseCommand(pause bool) *cli.Command {
	cmd := &cli.Command{
		Name: "resume", Usage: "end the pause of queues", UsageText: "farm queue resume [flags] QUEUE...", Flags: a.clientFlags(),
		Description: "A queue that is not paused stays as it is.",
	}
	if pause {
		cmd.Name, cmd.Usage, cmd.UsageText = "pause", "let nothing of queues begin", "farm queue pause [flags] QUEUE..."
		cmd.Description = "What runs, or was given to a worker already, goes on; everything else waits until \"farm queue resume\"."
	}
	cmd.Action = func(c *cli.Context) error {
		args, err := wantArgs(c, 1, -1)
		if err != nil {
			return err
		}
		return a.with(c, func(ctx context.Context, conn *connection) error {
			return a.each(ctx, args, func(ctx context.Context, name string) (func() error, error) {
				q, err := conn.SetQueue(ctx, name, tasks.QueueChange{Paused: &pause})
				if err != nil {
					return nil, err
				}
				return func() error {
					if c.Bool("json") {
						return a.printJSON(jsonQueue(q))
					}
					return nil
				}, nil
			})
		})
	}
	return cmd
}

func (a *app) queueSetCommand() *cli.Command {
	return &cli.Command{
		Name: "set", Usage: "limit a queue", UsageText: "farm queue set [flags] QUEUE",
		Description: "What is not given stays as it is; 0 and none take a limit away. Limits count attempts, so a retry counts again. They\n" +
			"are kept by the farm, whichever node leads. Rates are even: 10/s lets one begin every 100 ms, and with --burst 5\n" +
			"up to 5 at once after a pause. Limits per key count the tasks that have the same \"farm submit --key\".",
		Flags: a.clientFlags(
			&cli.IntFlag{Name: "concurrency", Usage: "run at most `N` attempts at a time"},
			&cli.StringFlag{Name: "rate", Usage: "let at most `RATE` begin: 10/s, 100/m, 5/h, 1/1m30s"},
			&cli.IntFlag{Name: "burst", Usage: "with --rate: let up to `N` begin at once after a pause (default: 1)"},
			&cli.IntFlag{Name: "key-concurrency", Usage: "run at most `N` attempts of each key at a time"},
			&cli.StringFlag{Name: "key-rate", Usage: "let at most `RATE` of each key begin"},
			&cli.IntFlag{Name: "key-burst", Usage: "with --key-rate: up to `N` of a key at once (default: 1)"}),
		Action: func(c *cli.Context) error {
			args, err := wantArgs(c, 1, 1)
			if err != nil {
				return err
			}
			change, err := readQueueChange(c)
			if err != nil {
				return err
			}
			return a.with(c, func(ctx context.Context, conn *connection) error {
				q, err := conn.SetQueue(ctx, args[0], change)
				if err != nil || !c.Bool("json") {
					return err
				}
				return a.printJSON(jsonQueue(q))
			})
		},
	}
}

func readQueueChange(c *cli.Context) (x tasks.QueueChange, err error) {
	number := func(name string, to **int) {
		if c.IsSet(name) {
			*to = new(c.Int(name))
		}
	}
	number("concurrency", &x.Concurrency)
	number("key-concurrency", &x.KeyConcurrency)
	for _, r := range []struct {
		rate, burst string
		to          **tasks.Rate
	}{{"rate", "burst", &x.Rate}, {"key-rate", "key-burst", &x.KeyRate}} {
		if c.IsSet(r.burst) && !c.IsSet(r.rate) {
			return x, usage("queue set: --%s goes with --%s", r.burst, r.rate)
		}
		if !c.IsSet(r.rate) {
			continue
		}
		rate, err := tasks.ParseRate(c.String(r.rate))
		if err != nil {
			return x, usage("queue set: --%s: %v", r.rate, err)
		}
		rate.Burst = c.Int(r.burst)
		*r.to = &rate
	}
	if x == (tasks.QueueChange{}) {
		return x, usage("queue set: say what to set: --concurrency, --rate, --key-concurrency or --key-rate")
	}
	for name, n := range map[string]*int{"concurrency": x.Concurrency, "key-concurrency": x.KeyConcurrency, "burst": new(c.Int("burst")), "key-burst": new(c.Int("key-burst"))} {
		if n != nil && *n < 0 {
			return x, usage("queue set: --%s cannot be negative", name)
		}
	}
	return x, nil
}
