package main

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/urfave/cli/v2"
	"golang.org/x/sync/errgroup"

	"farm/tasks"
)

// maxParallel is how many namespaces one command works on at a time.
const maxParallel = 256

type execOptions struct {
	targets string // as for Client.Select
	code    string
	engine  string
	json    bool
}

func (a *app) execCommand() *cli.Command {
	var o execOptions
	return &cli.Command{
		Name:      "exec",
		Usage:     "run a cell in a namespace, now",
		UsageText: "farm exec [flags] NS CODE",
		Description: nsHelp + " Then the cell runs in each, in parallel, and each\n" +
			"line of output has the namespace before it. CODE may be - for standard input. Ctrl-C cancels the cell.",
		Flags: a.clientFlags(engineFlag(&o.engine)),
		Action: func(c *cli.Context) error {
			args, err := wantArgs(c, 2, 2)
			if err != nil {
				return err
			}
			if err := checkEngine("exec", o.engine); err != nil {
				return err
			}
			o.targets, o.code, o.json = args[0], args[1], c.Bool("json")
			return a.with(c, func(ctx context.Context, conn *connection) error { return a.runExec(ctx, conn, &o) })
		},
	}
}

func (a *app) runExec(ctx context.Context, conn *connection, o *execOptions) error {
	src := source{name: "cell", text: o.code}
	if o.code == "-" {
		var err error
		if src, err = a.readSource("-"); err != nil {
			return err
		}
	}
	src.engine = o.engine
	names, many, err := targets(ctx, conn, o.targets)
	if err != nil {
		return err
	}
	if !many {
		return a.execOne(ctx, conn, src, names[0], o.json)
	}
	return a.each(ctx, names, func(ctx context.Context, ns string) (func() error, error) {
		id := tasks.NewID()
		info, err := conn.Run(ctx, tasks.Task{ID: id, Namespace: ns, Source: src.text, Engine: src.engine})
		if info == nil {
			cancelled := cancelInterrupted(ctx, conn, id)
			return func() error {
				if cancelled {
					a.io.talk("cancelled task %s", id)
				}
				return err
			}, nil
		}
		return func() error { return a.showExec(src, ns, info, o.json) }, nil
	})
}

func (a *app) execOne(ctx context.Context, conn *connection, src source, ns string, json bool) error {
	if err := src.checkIn(ctx, conn, ns); err != nil {
		return a.taskEnd(src, nil, err, "")
	}
	return a.runTask(ctx, conn, src, tasks.Task{Namespace: ns, Source: src.text, Engine: src.engine}, json)
}

// showExec shows the finished task of one of several namespaces.
func (a *app) showExec(src source, ns string, info *tasks.Info, json bool) error {
	if json {
		if err := a.printJSON(jsonTask(info)); err != nil {
			return err
		}
		if err := info.Err(); err != nil {
			return fmt.Errorf("%w (%w)", errSilent, err)
		}
		return nil
	}
	prefixed(a.io.out, ns+": ", info.Stdout)
	prefixed(a.io.err, ns+": ", info.Stderr)
	return a.taskEnd(src, info, info.Err(), ns+": ")
}

// targets finds the namespaces that a selection means. many tells whether it could
// have been several, whatever it is now: output looks the same however many there
// are.
func targets(ctx context.Context, conn *connection, selection string) (names []string, many bool, err error) {
	v, err := conn.Select(ctx, selection)
	if err != nil {
		return nil, false, err
	}
	return v.Names(), tasks.IsSelection(selection), nil
}

// each works on names in parallel and then shows each outcome, in the order of
// names and as soon as it can be; show alone may use the app's streams. It goes on
// after a failure, tells each, and returns how many there were.
func (a *app) each(ctx context.Context, names []string, work func(ctx context.Context, name string) (show func() error, err error)) error {
	type outcome struct {
		show func() error
		err  error
	}
	outcomes := make([]chan outcome, len(names))
	for i := range outcomes {
		outcomes[i] = make(chan outcome, 1)
	}
	var g errgroup.Group
	g.SetLimit(maxParallel + 1)
	g.Go(func() error {
		for i, name := range names {
			g.Go(func() error {
				show, err := work(ctx, name)
				outcomes[i] <- outcome{show, err}
				return nil
			})
		}
		return nil
	})
	var failed []error
	for _, ch := range outcomes {
		o := <-ch
		if o.err == nil && o.show != nil {
			o.err = o.show()
		}
		if o.err == nil {
			continue
		}
		failed = append(failed, o.err)
		if len(names) > 1 && ctx.Err() == nil && !errors.Is(o.err, errSilent) {
			a.io.talk("%v", o.err)
		}
	}
	_ = g.Wait() // nothing in it returns an error
	return someOf(len(names), failed)
}

// someOf is the error of failures that were told, if there were several to do.
func someOf(of int, failed []error) error {
	own := slices.IndexFunc(failed, func(err error) bool { return !errors.Is(err, errSilent) })
	switch {
	case len(failed) == 0:
		return nil
	case of == 1 || own < 0:
		return failed[0]
	}
	failed[0], failed[own] = failed[own], failed[0] // the exit code is that of one that is no task's
	return &toldError{failed, of}
}

// toldError is several failures that were told already.
type toldError struct {
	failed []error
	of     int
}

func (e *toldError) Error() string   { return fmt.Sprintf("%d of %d failed", len(e.failed), e.of) }
func (e *toldError) Unwrap() []error { return e.failed }
