package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/urfave/cli/v2"

	"farm/tasks"
)

// taskOptions are a task as a command line describes it: "farm submit" one that is
// submitted now, "farm cron add" one that is submitted at times.
type taskOptions struct {
	task  tasks.Task
	file  string // or "-"
	code  string // instead of file
	input string // of a handler: JSON, or "-"
}

// flags are those that say what the task is to do, where and how often.
func (o *taskOptions) flags() []cli.Flag {
	t := &o.task
	return append(retryFlags(),
		&cli.StringFlag{Name: "c", Usage: "the `CODE` itself, instead of a file", Destination: &o.code},
		&cli.StringFlag{Name: "handler", Usage: "call the handler `NAME` instead of running code", Destination: &t.Handler},
		&cli.StringFlag{Name: "json-input", Usage: "what to call it with, as `JSON`; - reads standard input", Destination: &o.input},
		&cli.StringFlag{Name: "ns", Usage: "run in `NAMESPACE`", Destination: &t.Namespace},
		engineFlag(&t.Engine),
		&cli.StringSliceFlag{Name: "arg", Usage: "`KEY=VALUE` the code can read; may be repeated"},
		fileFlag(),
		&cli.DurationFlag{Name: "timeout", Usage: "`TIME` one attempt may take (default: the farm's)", Destination: &t.Timeout},
		&cli.IntFlag{Name: "retries", Usage: "try again up to `N` times when it fails", Destination: &t.Retries},
		&cli.IntFlag{Name: "priority", Usage: "higher goes first", Destination: &t.Priority},
		queueFlag(&t.Queue), keyFlag(&t.Key), labelFlag(),
		&cli.StringFlag{Name: "unique", Usage: "submit nothing while there is a task with this `KEY`: that one is meant", Destination: &t.Unique.Key},
		&cli.StringFlag{Name: "unique-while", Usage: "how `LONG` the task has the key: while queued, while running (queued or running), or for a time such as 1h from its submission (default: running)"})
}

// read reads the flags, and checks what can be checked without a farm. What the code is
// called, if not given by -c, is in file.
func (o *taskOptions) read(verb string, c *cli.Context) (err error) {
	t := &o.task
	if err := o.readWork(verb, c.IsSet("c"), len(c.StringSlice("file")) > 0); err != nil {
		return err
	}
	if t.Timeout < 0 || t.Retries < 0 {
		return usage("%s: --timeout and --retries cannot be negative", verb)
	}
	if err := uniqueFlags(verb, c, &t.Unique); err != nil {
		return err
	}
	if err := readRetry(verb, c, t); err != nil {
		return err
	}
	if t.Labels, err = labelFlags(verb, c); err != nil {
		return err
	}
	if t.Args, err = splitArgs(verb, c.StringSlice("arg")); err != nil {
		return err
	}
	t.Files, err = readFiles(verb, c.StringSlice("file"))
	return err
}

// readWork checks that the task runs one thing: a file, code, or a handler.
func (o *taskOptions) readWork(verb string, hasCode, hasFiles bool) error {
	t := &o.task
	if t.Handler == "" {
		switch {
		case o.input != "":
			return usage("%s: --json-input goes with --handler; code reads --arg and --file", verb)
		case hasCode == (o.file != ""):
			return usage("%s: give one of FILE.go, -c CODE and - (standard input), or --handler NAME", verb)
		}
		return checkEngine(verb, t.Engine)
	}
	switch {
	case hasCode || o.file != "":
		return usage("%s: give code or --handler, not both", verb)
	case t.Namespace != "" || hasFiles || t.Engine != "":
		return usage("%s: a handler runs in its worker's own process: it has no --ns, no --file and no --engine", verb)
	case o.input != "" && o.input != "-" && !json.Valid([]byte(o.input)):
		return usage("%s: --json-input %q is not JSON", verb, o.input)
	}
	return nil
}

// load reads what the task is to do, from files or standard input, and gives it as a
// source for messages.
func (a *app) load(o *taskOptions) (source, error) {
	t := &o.task
	if t.Handler != "" {
		if o.input == "-" {
			b, err := io.ReadAll(io.LimitReader(a.io.in, tasks.MaxInput+1))
			if err != nil {
				return source{}, fmt.Errorf("standard input: %w", err)
			}
			o.input = string(b)
		}
		if o.input != "" {
			t.Input = json.RawMessage(o.input)
		}
		return source{name: "handler " + t.Handler}, nil
	}
	src := source{name: "cell", text: o.code}
	if o.file != "" {
		var err error
		if src, err = a.readSource(o.file); err != nil {
			return source{}, err
		}
	}
	src.engine, t.Source = t.Engine, src.text
	return src, nil
}

// checkAlone checks code that runs in a context of its own: a typo costs not even a
// connection.
func (o *taskOptions) checkAlone(src source) error {
	if o.task.Handler != "" || o.task.Namespace != "" {
		return nil
	}
	return src.check(nil)
}

// filterFlags choose tasks.
func filterFlags(f *tasks.Filter) []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "ns", Usage: "of `NAMESPACE`", Destination: &f.Namespace},
		&cli.StringFlag{Name: "job", Usage: "of `JOB`", Destination: &f.Job},
		&cli.StringFlag{Name: "queue", Usage: "of `QUEUE`", Destination: &f.Queue},
		&cli.StringFlag{Name: "key", Usage: "with the `KEY` that limits per key count by", Destination: &f.Key},
		&cli.StringFlag{Name: "handler", Usage: "that call the handler `NAME`", Destination: &f.Handler},
		&cli.StringSliceFlag{Name: "label", Usage: "that ask for the label `KEY=VALUE`; may be repeated"},
	}
}

// readFilter reads --label, and a state that must be one of those given, or none.
func readFilter(verb string, c *cli.Context, f *tasks.Filter, states ...tasks.State) (err error) {
	if f.Labels, err = labelFlags(verb, c); err != nil {
		return err
	}
	f.State = tasks.State(c.String("state"))
	names := make([]string, len(states))
	for i, s := range states {
		if names[i] = string(s); f.State == s {
			return nil
		}
	}
	if f.State != "" {
		return usage("%s: %q is no state here: say one of %s", verb, f.State, strings.Join(names, ", "))
	}
	return nil
}

// filters tells whether a filter chooses, by more than a state.
func filters(f *tasks.Filter) bool {
	return f.Namespace != "" || f.Job != "" || f.Queue != "" || f.Key != "" || f.Handler != "" || len(f.Labels) > 0
}

// filterText is a filter in words, behind "tasks".
func filterText(f *tasks.Filter) string {
	var b strings.Builder
	for _, x := range [][2]string{{" in namespace ", f.Namespace}, {" of job ", f.Job}, {" in queue ", f.Queue}, {" with key ", f.Key}, {" of handler ", f.Handler}} {
		if x[1] != "" {
			b.WriteString(x[0] + x[1])
		}
	}
	if len(f.Labels) > 0 {
		b.WriteString(" with " + hasText(f.Labels, nil))
	}
	return b.String()
}

// runDetached submits a task, and prints its id.
func (a *app) runDetached(ctx context.Context, conn *connection, t tasks.Task, asJSON bool) error {
	h, err := conn.Submit(ctx, t)
	if err != nil {
		return err
	}
	a.tellDuplicate(h)
	a.endsHere(conn)
	if asJSON {
		return a.printJSON(idJSON{h.ID, h.Duplicate})
	}
	fmt.Fprintln(a.io.out, h.ID)
	return nil
}
