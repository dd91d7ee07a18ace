package main

import (
	"context"
	"errors"
	"fmt"
	"iter"

	"github.com/urfave/cli/v2"

	"farm/tasks"
)

func parkedFlags(a *app, all *bool, f *tasks.Filter, state *string) []cli.Flag {
	return a.clientFlags(
		&cli.BoolFlag{Name: "all", Usage: "all that failed, or of --state, instead of IDs", Destination: all},
		&cli.StringFlag{Name: "ns", Usage: "with --all: of `NAMESPACE`", Destination: &f.Namespace},
		&cli.StringFlag{Name: "job", Usage: "with --all: of `JOB`", Destination: &f.Job},
		&cli.StringFlag{Name: "state", Usage: "with --all: in `STATE`, failed or cancelled", Value: string(tasks.Failed), Destination: state})
}

func (a *app) taskRetryCommand() *cli.Command {
	return a.parkedCommand("retry", "make failed or cancelled tasks live again",
		"A retried task has the id it had; its attempts go on counting, its failures begin anew, and it is the last in line.\n"+
			"One that waits for another that failed is refused until that one is retried.",
		func(conn *connection, f tasks.Filter) func(context.Context) iter.Seq2[string, error] {
			return func(ctx context.Context) iter.Seq2[string, error] { return conn.RetryAll(ctx, f) }
		},
		func(ctx context.Context, conn *connection, id string) (*tasks.Info, error) {
			return conn.Retry(ctx, id)
		})
}

func (a *app) taskDropCommand() *cli.Command {
	return a.parkedCommand("drop", "forget failed or cancelled tasks",
		"A finished task is forgotten anyway when the time for which it is kept is over.",
		func(conn *connection, f tasks.Filter) func(context.Context) iter.Seq2[string, error] {
			return func(ctx context.Context) iter.Seq2[string, error] { return conn.DropAll(ctx, f) }
		},
		func(ctx context.Context, conn *connection, id string) (*tasks.Info, error) {
			return nil, conn.Drop(ctx, id)
		})
}

// parkedCommand is a verb for parked tasks: given by their ids, or all of them.
func (a *app) parkedCommand(name, about, description string,
	all func(*connection, tasks.Filter) func(context.Context) iter.Seq2[string, error],
	one func(context.Context, *connection, string) (*tasks.Info, error),
) *cli.Command {
	var f tasks.Filter
	var every bool
	var state string
	return &cli.Command{
		Name: name, Usage: about, UsageText: fmt.Sprintf("farm task %s [flags] ID... | --all", name), Flags: parkedFlags(a, &every, &f, &state),
		Description: description + "\n\nWith --all the ids are printed, and those refused are told with the reason.",
		Action: func(c *cli.Context) error {
			args, err := wantArgs(c, 0, -1)
			if err != nil {
				return err
			}
			f.State = tasks.State(state)
			switch {
			case every == (len(args) > 0):
				return usage("task %s: give IDs, or --all", name)
			case !every && (f.Namespace != "" || f.Job != "" || c.IsSet("state")):
				return usage("task %s: --ns, --job and --state go with --all", name)
			case f.State != tasks.Failed && f.State != tasks.Cancelled:
				return usage("task %s: --state is failed or cancelled", name)
			}
			return a.with(c, func(ctx context.Context, conn *connection) error {
				if every {
					return a.showBulk(all(conn, f)(ctx), c.Bool("json"))
				}
				return a.each(ctx, args, func(ctx context.Context, id string) (func() error, error) {
					i, err := one(ctx, conn, id)
					if err != nil || i == nil || !c.Bool("json") {
						return nil, err
					}
					return func() error { return a.printJSON(jsonTask(i)) }, nil
				})
			})
		},
	}
}

// showBulk prints the ids of what was done, and tells what was refused.
func (a *app) showBulk(done iter.Seq2[string, error], asJSON bool) error {
	var refused error
	for id, err := range done {
		switch {
		case id == "":
			return err
		case err != nil:
			a.io.talk("%v", err)
			refused = fmt.Errorf("%w (%w)", errSilent, err)
		case asJSON:
			if err := a.printJSON(idJSON{ID: id}); err != nil {
				return err
			}
		default:
			fmt.Fprintln(a.io.out, id)
		}
	}
	return errors.Join(refused)
}
