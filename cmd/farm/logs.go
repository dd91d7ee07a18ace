package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/urfave/cli/v2"
)

// logsPause is how long what a running task printed may take to come.
const logsPause = 500 * time.Millisecond

func (a *app) logsCommand() *cli.Command {
	var follow bool
	return &cli.Command{
		Name: "logs", Usage: "print what a task printed", UsageText: "farm logs [-f] ID",
		Description: "Its standard output goes to standard output, its standard error to standard error. Ctrl-C ends -f, not the task.",
		Flags:       a.clientFlags(&cli.BoolFlag{Name: "f", Usage: "follow the task to its end", Destination: &follow}),
		Action: func(c *cli.Context) error {
			args, err := wantArgs(c, 1, 1)
			if err != nil {
				return err
			}
			if follow && c.Bool("json") {
				return usage("logs: -f and --json do not go together")
			}
			return a.with(c, func(ctx context.Context, conn *connection) error {
				return a.runLogs(ctx, conn, args[0], follow, c.Bool("json"))
			})
		},
	}
}

func (a *app) runLogs(ctx context.Context, conn *connection, id string, follow, asJSON bool) error {
	i, err := conn.Get(ctx, id)
	if err != nil {
		return err
	}
	switch {
	case asJSON:
		return a.printJSON(jsonTask(i))
	case follow && !i.State.Final():
		_, err := a.follow(ctx, conn, id, true)
		if err != nil {
			a.goesOn(ctx, "task "+id, "farm logs -f "+id)
		}
		return err
	case !i.State.Final():
		return a.logsSoFar(ctx, conn, id)
	}
	newOutput(a).finish(i)
	return nil
}

// logsSoFar prints what a task that runs has printed: a watch begins with it.
func (a *app) logsSoFar(ctx context.Context, conn *connection, id string) error {
	ctx, cancel := context.WithTimeout(ctx, logsPause)
	defer cancel()
	_, err := a.follow(ctx, conn, id, true)
	if errors.Is(err, context.DeadlineExceeded) {
		a.io.talk("task %s is not finished; -f follows it", id)
		return nil
	}
	if err != nil {
		return fmt.Errorf("logs: %w", err)
	}
	return nil
}
