package main

import (
	"context"
	"errors"
	"fmt"
	"iter"

	"github.com/urfave/cli/v2"

	"farm/tasks"
)

// bulk is a verb for tasks that are given by their ids, or all those that a filter
// chooses.
type bulk struct {
	name, about, description string
	done                     string // "retried": what is said of those it was done to
	states                   []tasks.State
	which                    string // "failed": what is meant without --state
	all                      func(*connection, context.Context, tasks.Filter) iter.Seq2[string, error]
	one                      func(context.Context, *connection, string) (*tasks.Info, error)
}

func (a *app) taskRetryCommand() *cli.Command {
	return a.bulkCommand(bulk{name: "retry", about: "make failed or cancelled tasks live again", done: "retried", states: parked, which: "failed",
		description: "A retried task has the id it had; its attempts go on counting, its failures begin anew, and it is the last in line.\n" +
			"One that waits for another that failed is refused until that one is retried.",
		all: func(conn *connection, ctx context.Context, f tasks.Filter) iter.Seq2[string, error] {
			return conn.RetryAll(ctx, f)
		},
		one: func(ctx context.Context, conn *connection, id string) (*tasks.Info, error) {
			return conn.Retry(ctx, id)
		}})
}

func (a *app) taskDropCommand() *cli.Command {
	return a.bulkCommand(bulk{name: "drop", about: "forget failed or cancelled tasks", done: "dropped", states: parked, which: "failed",
		description: "A finished task is forgotten anyway when the time for which it is kept is over.",
		all: func(conn *connection, ctx context.Context, f tasks.Filter) iter.Seq2[string, error] {
			return conn.DropAll(ctx, f)
		},
		one: func(ctx context.Context, conn *connection, id string) (*tasks.Info, error) {
			return nil, conn.Drop(ctx, id)
		}})
}

func (a *app) taskCancelCommand() *cli.Command {
	return a.bulkCommand(bulk{name: "cancel", about: "cancel tasks", done: "cancelled", states: []tasks.State{tasks.Queued, tasks.Running}, which: "queued or running",
		description: "A queued task is cancelled at once; a running one is stopped, unless it ends before that. A finished one stays as it is.",
		all: func(conn *connection, ctx context.Context, f tasks.Filter) iter.Seq2[string, error] {
			return conn.CancelAll(ctx, f)
		},
		one: func(ctx context.Context, conn *connection, id string) (*tasks.Info, error) {
			return conn.Cancel(ctx, id)
		}})
}

// parked are the states of tasks that can be retried and dropped.
var parked = []tasks.State{tasks.Failed, tasks.Cancelled}

func (a *app) bulkCommand(b bulk) *cli.Command {
	var f tasks.Filter
	var every bool
	verb := "task " + b.name
	flags := append(filterFlags(&f),
		&cli.BoolFlag{Name: "all", Usage: "all that are " + b.which + ", or in --state, instead of IDs", Destination: &every},
		&cli.StringFlag{Name: "state", Usage: fmt.Sprintf("in `STATE`, %s or %s (default: %s)", b.states[0], b.states[1], b.which)})
	return &cli.Command{
		Name: b.name, Usage: b.about, UsageText: fmt.Sprintf("farm task %s [flags] ID... | --queue QUEUE | --all", b.name), Flags: a.clientFlags(flags...),
		Description: b.description + fmt.Sprintf("\n\nWith --queue, --ns, --job, --key, --handler or --label it is done to all those tasks that are %s, at once and\n"+
			"without asking, and with --all to those of the whole farm. Their ids are printed, then how many they were; those\nrefused are told with the reason.", b.which),
		Action: func(c *cli.Context) error {
			args, err := wantArgs(c, 0, -1)
			if err != nil {
				return err
			}
			if err := readFilter(verb, c, &f, b.states...); err != nil {
				return err
			}
			many := every || filters(&f)
			switch {
			case many == (len(args) > 0):
				return usage("%s: give IDs, or say which: --all, --queue, --ns, --job, --key, --handler or --label", verb)
			case !many && f.State != "":
				return usage("%s: --state goes with --all or another choice", verb)
			}
			return a.with(c, func(ctx context.Context, conn *connection) error {
				if many {
					return a.runBulk(&b, b.all(conn, ctx, f), &f, c.Bool("json"))
				}
				return a.each(ctx, args, func(ctx context.Context, id string) (func() error, error) {
					i, err := b.one(ctx, conn, id)
					if err != nil || i == nil || !c.Bool("json") {
						return nil, err
					}
					return func() error { return a.printJSON(jsonTask(i)) }, nil
				})
			})
		},
	}
}

// runBulk prints the ids of what was done, tells what was refused, and how many they
// were.
func (a *app) runBulk(b *bulk, done iter.Seq2[string, error], f *tasks.Filter, asJSON bool) error {
	var refused error
	n, bad := 0, 0
	tell := func() {
		text := fmt.Sprintf("%s %d %s", b.done, n, plural(n, "task"))
		if bad > 0 {
			text += fmt.Sprintf(", %d refused", bad)
		}
		a.io.talk("%s%s", text, filterText(f))
	}
	for id, err := range done {
		switch {
		case id == "":
			tell()
			return err
		case err != nil:
			bad++
			a.io.talk("%v", err)
			refused = fmt.Errorf("%w (%w)", errSilent, err)
			continue
		}
		n++
		if asJSON {
			if err := a.printJSON(idJSON{ID: id}); err != nil {
				return err
			}
			continue
		}
		fmt.Fprintln(a.io.out, id)
	}
	tell()
	return errors.Join(refused)
}

// plural is a word for a number of things.
func plural(n int, word string) string {
	if n == 1 {
		return word
	}
	return word + "s"
}
