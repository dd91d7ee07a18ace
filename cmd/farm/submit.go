package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/urfave/cli/v2"

	"farm/tasks"
)

type submitOptions struct {
	taskOptions
	detach bool
	json   bool
}

func (a *app) submitCommand() *cli.Command {
	var o submitOptions
	return &cli.Command{
		Name:      "submit",
		Usage:     "run a cell as a task, and wait for it",
		UsageText: "farm submit [flags] FILE.go | -c CODE | - | --handler NAME",
		Description: "Prints what the task prints, and then its value as JSON. Without --ns the task runs in a fresh private context.\n" +
			"With --handler it calls a compiled function of a worker of your own (see docs/handlers.md) and waits for one that\n" +
			"has it. With --unique, when there is a task that has the key, that one is followed, or with --detach its id printed.\n" +
			"Ctrl-C cancels the task.",
		Flags: a.clientFlags(append(append(startFlags(), o.flags()...),
			&cli.StringFlag{Name: "id", Usage: "`ID` of the task: a second submit with it is the first one", Destination: &o.task.ID},
			&cli.BoolFlag{Name: "detach", Usage: "print the task's id and do not wait", Destination: &o.detach})...),
		Action: func(c *cli.Context) error {
			args, err := wantArgs(c, 0, 1)
			if err != nil {
				return err
			}
			o.file, o.json = strings.Join(args, ""), c.Bool("json")
			if err := errors.Join(o.read("submit", c), readStart("submit", c, &o.task)); err != nil {
				return err
			}
			return a.runSubmit(c.Context, c.String("addr"), &o)
		},
	}
}

// splitArgs reads --arg flags.
func splitArgs(verb string, args []string) (map[string]string, error) {
	out := map[string]string{}
	for _, arg := range args {
		k, v, ok := strings.Cut(arg, "=")
		if !ok || k == "" {
			return nil, usage("%s: --arg %q is not KEY=VALUE", verb, arg)
		}
		out[k] = v
	}
	return out, nil
}

func (a *app) runSubmit(ctx context.Context, addr string, o *submitOptions) error {
	src, err := a.load(&o.taskOptions)
	if err != nil {
		return err
	}
	if err := o.checkAlone(src); err != nil {
		return a.taskEnd(src, nil, err, "")
	}
	conn, err := a.connect(ctx, addr)
	if err != nil {
		return err
	}
	defer conn.close()
	if o.task.Namespace != "" && !startsLater(&o.task) {
		if err := src.checkIn(ctx, conn, o.task.Namespace); err != nil {
			return a.taskEnd(src, nil, err, "")
		}
	}
	if o.detach {
		return a.runDetached(ctx, conn, o.task, o.json)
	}
	return a.runTask(ctx, conn, src, o.task, o.json)
}

// endsHere says of work left to a farm that ends with this command when it goes on.
func (a *app) endsHere(conn *connection) {
	if conn.local {
		a.io.talk("the local farm ends with this command; the work goes on when one runs in this folder again")
	}
}

// cancelTimeout bounds the cancelling of a task after Ctrl-C.
const cancelTimeout = 5 * time.Second

// runTask submits a task, follows it to its end, shows it, and ends as it did.
// An interrupt cancels the task, also one whose submission was not answered yet.
func (a *app) runTask(ctx context.Context, conn *connection, src source, t tasks.Task, json bool) error {
	if t.ID == "" {
		t.ID = tasks.NewID()
	}
	var info *tasks.Info
	h, err := conn.Submit(ctx, t)
	duplicate := err == nil && h.Duplicate
	if err == nil {
		a.tellDuplicate(h)
		told := a.tellWaiting(ctx, conn, h.ID)
		info, err = a.follow(ctx, conn, h.ID, !json)
		told()
	}
	if err != nil {
		if duplicate { // it is somebody else's
			return err
		}
		if cancelInterrupted(ctx, conn, t.ID) {
			a.io.talk("cancelled task %s", t.ID)
		}
		return err
	}
	if json {
		if err := a.printJSON(jsonTask(info)); err != nil {
			return err
		}
		if err := info.Err(); err != nil {
			return fmt.Errorf("%w (%w)", errSilent, err)
		}
		return nil
	}
	return a.taskEnd(src, info, info.Err(), "")
}

// waitingAfter is how long somebody waits for a task to begin before being told what
// the task waits for.
const waitingAfter = 2 * time.Second

// tellWaiting tells a person what keeps a task from beginning, if anything does for
// long. The function returned ends it.
func (a *app) tellWaiting(ctx context.Context, conn *connection, id string) (end func()) {
	if !a.io.errTerm {
		return func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	var told sync.WaitGroup
	told.Go(func() {
		select {
		case <-time.After(waitingAfter):
		case <-ctx.Done():
			return
		}
		if i, err := conn.Get(ctx, id); err == nil && i.State == tasks.Queued && i.Waiting != "" {
			a.io.talk("task %s waits for: %s", id, i.Waiting)
		}
	})
	return func() {
		cancel()
		told.Wait()
	}
}

// cancelInterrupted cancels a task nobody waits for any more, if it was an
// interrupt that ended the waiting.
func cancelInterrupted(ctx context.Context, conn *connection, id string) bool {
	if ctx.Err() == nil {
		return false
	}
	late, done := context.WithTimeout(context.WithoutCancel(ctx), cancelTimeout)
	defer done()
	_, err := conn.Cancel(late, id)
	return err == nil
}

// follow waits for the end of a task and shows its output meanwhile.
func (a *app) follow(ctx context.Context, conn *connection, id string, show bool) (*tasks.Info, error) {
	if !show {
		info, err := conn.Wait(ctx, id)
		if info != nil {
			err = nil // the task's own error is in info
		}
		return info, err
	}
	out := newOutput(a)
	for e, err := range conn.Watch(ctx, id) {
		switch {
		case err != nil:
			return nil, err
		case e.Output != nil:
			out.add(e.Output)
		case e.Progress != nil:
			out.progress(e.Progress)
		case e.Task != nil:
			out.finish(e.Task)
			return e.Task, nil
		}
	}
	return nil, fmt.Errorf("%w: the watch of task %s ended early", tasks.ErrUnavailable, id)
}

// output shows what a task prints, as it comes, and at the end what did not
// come: each byte once.
type output struct {
	a        *app
	out, err *lineWriter
	attempt  int
	shown    [2][]byte // of the attempt: of standard output, of standard error
	status   bool      // the progress is shown
}

func newOutput(a *app) *output {
	return &output{a: a, out: &lineWriter{w: a.io.out}, err: &lineWriter{w: a.io.err}}
}

// progress shows how far the task is, on a terminal, in a line that goes when
// something else is to be seen.
func (o *output) progress(p *tasks.Progress) {
	if !o.a.io.errTerm || p.Attempt < o.attempt {
		return
	}
	fmt.Fprintf(o.a.io.err, "\r\x1b[K%s", progressText(p))
	o.status = true
}

func (o *output) clear() {
	if o.status {
		fmt.Fprint(o.a.io.err, "\r\x1b[K")
		o.status = false
	}
}

func (o *output) add(p *tasks.Output) {
	o.clear()
	if p.Attempt < o.attempt {
		return // of an attempt that was given up
	}
	if p.Attempt > o.attempt {
		if o.attempt > 0 {
			o.end()
			o.a.io.talk("attempt %d", p.Attempt)
		}
		o.attempt, o.shown = p.Attempt, [2][]byte{}
	}
	i, w := 0, o.out
	if p.Stderr {
		i, w = 1, o.err
	}
	o.shown[i] = append(o.shown[i], p.Data...)
	fmt.Fprintf(w, "%s", p.Data)
}

func (o *output) finish(t *tasks.Info) {
	o.clear()
	if t.Attempt != o.attempt {
		o.shown = [2][]byte{}
	}
	o.rest(o.out, t.Stdout, string(o.shown[0]))
	o.rest(o.err, t.Stderr, string(o.shown[1]))
	o.end()
	if t.StdoutCut || t.StderrCut {
		o.a.io.talk("the task printed more than farm keeps")
	}
}

// rest writes what was kept beyond what was shown. When the beginning was
// missed, only the place where it can be read can still be told.
func (o *output) rest(w *lineWriter, kept, shown string) {
	switch {
	case strings.HasPrefix(kept, shown):
		fmt.Fprint(w, kept[len(shown):])
	case strings.HasPrefix(shown, kept): // shown live, and cut
	default:
		o.end()
		o.a.io.talk("some output was missed while reconnecting; farm logs shows all of it")
	}
}

func (o *output) end() {
	o.out.endLine()
	o.err.endLine()
}

// taskEnd shows a task's value, or why it failed. info may be nil.
func (a *app) taskEnd(src source, info *tasks.Info, err error, prefix string) error {
	var failure *tasks.TaskError
	if errors.As(err, &failure) {
		a.tellFailure(src, failure, prefix)
		return fmt.Errorf("%w (%w)", errSilent, err)
	}
	if err != nil {
		return err
	}
	if info != nil && info.Value != nil {
		fmt.Fprintf(a.io.out, "%s%s\n", prefix, info.Value)
	}
	return nil
}
