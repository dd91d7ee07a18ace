package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"farm/internal/label"
	"farm/tasks"
)

func (a *app) taskCommand() *cli.Command {
	return &cli.Command{
		Name: "task", Usage: "list, show, wait for, cancel, retry and drop tasks", UsageText: "farm task VERB [flags] [args]",
		Subcommands: []*cli.Command{a.taskLsCommand(), a.taskShowCommand(), a.taskCancelCommand(), a.taskWaitCommand(), a.taskRetryCommand(), a.taskDropCommand()},
	}
}

func (a *app) taskLsCommand() *cli.Command {
	var f tasks.Filter
	return &cli.Command{
		Name: "ls", Usage: "list tasks: unfinished ones, then finished ones, newest first", UsageText: "farm task ls [flags]",
		Flags: a.clientFlags(append(filterFlags(&f),
			&cli.StringFlag{Name: "state", Usage: "in `STATE`: queued, running, succeeded, failed, cancelled"},
			&cli.IntFlag{Name: "limit", Usage: "at most `N`", Value: 100, Destination: &f.Limit})...),
		Action: func(c *cli.Context) error {
			if _, err := wantArgs(c, 0, 0); err != nil {
				return err
			}
			if err := readFilter("task ls", c, &f, tasks.Queued, tasks.Running, tasks.Succeeded, tasks.Failed, tasks.Cancelled); err != nil {
				return err
			}
			if f.Limit < 1 {
				return usage("task ls: --limit must be positive")
			}
			return a.with(c, func(ctx context.Context, conn *connection) error { return a.runTaskLs(ctx, conn, f, c.Bool("json")) })
		},
	}
}

func (a *app) runTaskLs(ctx context.Context, conn *connection, f tasks.Filter, asJSON bool) error {
	list, err := conn.List(ctx, f)
	if err != nil {
		return err
	}
	t := a.io.table("ID", "STATE", "NAMESPACE", "QUEUE", "ATTEMPT", "WORKER", "SUBMITTED", "TOOK", "RESULT")
	for _, i := range list {
		if asJSON {
			if err := a.printJSON(jsonTask(i)); err != nil {
				return err
			}
			continue
		}
		t.row(i.ID, i.State, i.Namespace, i.Queue, i.Attempt, i.Worker, a.io.ago(i.Submitted), took(i), result(i))
	}
	if !asJSON && (len(list) > 0 || !a.io.outTerm) {
		t.print()
	}
	return nil
}

// took is how long the last attempt took.
func took(i *tasks.Info) string {
	if i.Started.IsZero() || i.Finished.IsZero() {
		return ""
	}
	return i.Finished.Sub(i.Started).Round(10 * time.Microsecond).String()
}

// result is a task's value or error in a few words.
func result(i *tasks.Info) string {
	const most = 50
	s := string(i.Value)
	if err := i.Err(); err != nil {
		s = err.Error()
	}
	if r := []rune(s); len(r) > most {
		return string(r[:most]) + "…"
	}
	return s
}

func (a *app) taskShowCommand() *cli.Command {
	return &cli.Command{
		Name: "show", Usage: "show a task", UsageText: "farm task show [flags] ID", Flags: a.clientFlags(),
		Action: func(c *cli.Context) error {
			args, err := wantArgs(c, 1, 1)
			if err != nil {
				return err
			}
			return a.with(c, func(ctx context.Context, conn *connection) error {
				i, err := conn.Get(ctx, args[0])
				if err != nil {
					return err
				}
				if c.Bool("json") {
					return a.printJSON(jsonTask(i))
				}
				a.showTask(i)
				return nil
			})
		},
	}
}

func (a *app) showTask(i *tasks.Info) {
	line := func(name string, v any) {
		if s := fmt.Sprint(v); s != "" && s != "0" {
			fmt.Fprintf(a.io.out, "%-10s %s\n", name, s)
		}
	}
	line("id", i.ID)
	line("state", i.State)
	line("namespace", i.Namespace)
	line("job", i.Job)
	line("parent", i.Parent)
	line("attempt", i.Attempt)
	line("worker", i.Worker)
	line("handler", i.Handler)
	if i.Progress != nil {
		line("progress", progressText(i.Progress))
	}
	if i.Waiting != "" {
		fmt.Fprintf(a.io.out, "waiting for: %s\n", i.Waiting)
	}
	line("queue", i.Queue)
	line("key", i.Key)
	line("unique", i.UniqueKey)
	line("labels", strings.Join(label.Texts(i.Labels), ","))
	line("submitted", jsonTime(i.Submitted))
	for _, x := range timesText(i) {
		line(x[0], x[1])
	}
	line("started", jsonTime(i.Started))
	line("finished", jsonTime(i.Finished))
	line("took", took(i))
	line("type", i.Type)
	line("value", string(i.Value))
	for _, r := range i.Results {
		line("result", string(r))
	}
	if err := i.Err(); err != nil {
		line("error", err)
	}
	for _, c := range i.Causes {
		line("cause", c)
	}
	if i.Stdout != "" {
		prefixed(a.io.out, "stdout     ", i.Stdout)
	}
	if i.Stderr != "" {
		prefixed(a.io.out, "stderr     ", i.Stderr)
	}
}

func (a *app) taskWaitCommand() *cli.Command {
	var timeout time.Duration
	return &cli.Command{
		Name: "wait", Usage: "wait for a task, and end as it does", UsageText: "farm task wait [flags] ID",
		Description: "Prints its value. Ctrl-C ends the waiting, not the task.",
		Flags:       a.clientFlags(&cli.DurationFlag{Name: "timeout", Usage: "wait no longer than `TIME` (exit code 3)", Destination: &timeout}),
		Action: func(c *cli.Context) error {
			args, err := wantArgs(c, 1, 1)
			if err != nil {
				return err
			}
			if timeout < 0 {
				return usage("task wait: --timeout cannot be negative")
			}
			return a.with(c, func(ctx context.Context, conn *connection) error {
				if timeout > 0 {
					var cancel context.CancelFunc
					ctx, cancel = context.WithTimeout(ctx, timeout)
					defer cancel()
				}
				i, err := conn.Wait(ctx, args[0])
				var failure *tasks.TaskError
				if err != nil && !errors.As(err, &failure) {
					a.goesOn(ctx, "task "+args[0], "farm task wait "+args[0])
					return err
				}
				if c.Bool("json") {
					if e := a.printJSON(jsonTask(i)); e != nil || err == nil {
						return e
					}
					return fmt.Errorf("%w (%w)", errSilent, err)
				}
				return a.taskEnd(source{name: "cell"}, i, err, "")
			})
		},
	}
}
