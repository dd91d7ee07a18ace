package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"farm/namespace"
	"farm/tasks"
)

// do carries out a cell or a command.
func (r *repl) do(ctx context.Context, text string) error {
	text = strings.TrimRight(text, " \t\n")
	if strings.TrimSpace(text) == "" {
		return nil
	}
	p := r.patience(ctx)
	defer p.end()
	if command := strings.TrimSpace(text); command[0] == ':' {
		return r.command(p.soft, command)
	}
	return r.cell(ctx, p, text)
}

// patience is a person's, with something that takes time: soft ends with the
// first Ctrl-C, hard with the second. Both end with the farm command.
type patience struct {
	soft, hard context.Context
	end        func()
}

func (r *repl) patience(ctx context.Context) *patience {
	hard, endHard := context.WithCancelCause(ctx)
	soft, endSoft := context.WithCancelCause(hard)
	release := func() {}
	if r.live { // in a script Ctrl-C ends the command
		release = r.a.onInterrupt(func() {
			if soft.Err() != nil {
				endHard(errInterrupted)
			}
			endSoft(errInterrupted)
		})
	}
	return &patience{soft, hard, func() {
		release()
		endSoft(context.Canceled)
		endHard(context.Canceled)
	}}
}

// patiently tells when there is no sign of an answer for long. The sign is
// that the function it returns is called.
func (r *repl) patiently() (answered func()) {
	t := time.AfterFunc(slowCall, func() { r.a.io.talk("waiting for a leader…") })
	return func() { t.Stop() }
}

// cell runs a cell and shows what comes of it.
func (r *repl) cell(ctx context.Context, p *patience, text string) error {
	src, id := source{"cell", text, r.engine}, tasks.NewID()
	info, err := r.run(p, src, id)
	r.names = nil
	var failure *tasks.TaskError
	switch {
	case err == nil && info.Err() == nil:
		r.value(info)
		return nil
	case err == nil:
		err = info.Err()
	case ctx.Err() != nil, p.soft.Err() != nil:
		return r.interrupted(ctx, p, id)
	}
	if !errors.As(err, &failure) {
		return err
	}
	if errors.Is(failure, tasks.ErrCancelled) && r.live {
		r.a.io.talk("cancelled; the namespace is as it was")
	} else {
		fmt.Fprint(r.a.io.err, r.failure(ctx, text, failure))
	}
	return fmt.Errorf("%w (%w)", errSilent, err)
}

// run checks and submits a cell, and follows the task to its end.
func (r *repl) run(p *patience, src source, id string) (*tasks.Info, error) {
	answered := r.patiently()
	defer answered()
	if err := src.checkIn(p.soft, r.conn, r.ns.Name()); err != nil {
		return nil, err
	}
	if _, err := r.conn.Submit(p.soft, tasks.Task{ID: id, Namespace: r.ns.Name(), Source: src.text, Engine: src.engine}); err != nil {
		return nil, err
	}
	stop := context.AfterFunc(p.soft, func() { _, _ = r.conn.Cancel(p.hard, id) }) // the watch tells what came of it
	defer stop()
	out := newOutput(r.a)
	for e, err := range r.conn.Watch(p.hard, id) {
		answered()
		switch {
		case err != nil:
			return nil, err
		case e.Output != nil:
			out.add(e.Output)
		case e.Task != nil:
			out.finish(e.Task)
			return e.Task, nil
		}
	}
	return nil, fmt.Errorf("%w: the watch of task %s ended early", tasks.ErrUnavailable, id)
}

// interrupted ends a cell whose end nobody waited for.
func (r *repl) interrupted(ctx context.Context, p *patience, id string) error {
	switch {
	case ctx.Err() != nil:
		if cancelInterrupted(ctx, r.conn, id) {
			r.a.io.talk("cancelled task %s", id)
		}
		return context.Cause(ctx)
	case p.hard.Err() != nil:
		r.a.io.talk("not waiting any longer; farm task wait %s does", id)
	default: // the check or the submission was not answered yet
		cancelInterrupted(p.soft, r.conn, id)
		r.a.io.talk("cancelled")
	}
	return errSilent
}

// value shows the value of a cell, on a terminal with its type.
func (r *repl) value(info *tasks.Info) {
	switch {
	case info.Value == nil:
	case !r.live:
		fmt.Fprintf(r.a.io.out, "%s\n", info.Value)
	case r.a.io.color:
		fmt.Fprintf(r.a.io.out, "%s  \x1b[2m%s\x1b[0m\n", info.Value, info.Type)
	default:
		fmt.Fprintf(r.a.io.out, "%s  %s\n", info.Value, info.Type)
	}
}

// failure shows why a cell failed, under the place where it did.
func (r *repl) failure(ctx context.Context, text string, e *tasks.TaskError) string {
	find := func(name string) string {
		if name == "" || name == "cell" {
			return text
		}
		return r.declaration(ctx, name)
	}
	if e.Kind == "compile" || e.Kind == "not-allowed" {
		return annotate(e.Message, find)
	}
	msg := strings.ReplaceAll(strings.TrimSuffix(e.Kind+": "+e.Message, ": "), "panic: panic: ", "panic: ")
	return withStack(msg, e.Stack)
}

// declaration gives the source of a declaration, empty when there is none.
func (r *repl) declaration(ctx context.Context, name string) string {
	ctx, cancel := context.WithTimeout(ctx, namesTimeout)
	defer cancel()
	info, err := r.ns.Show(ctx)
	if err != nil {
		return ""
	}
	for _, d := range info.Declarations {
		if d.Name == name && d.Kind != "import" {
			return d.Source
		}
	}
	return ""
}

// namesTimeout bounds the reading of names for a completion or a message.
const namesTimeout = time.Second

// complete finds what could follow head, which stands before the cursor.
func (r *repl) complete(ctx context.Context, head string) (int, []string) {
	if r.names == nil {
		ctx, cancel := context.WithTimeout(ctx, namesTimeout)
		defer cancel()
		items, err := r.ns.Items(ctx)
		if err == nil || errors.Is(err, tasks.ErrNotFound) {
			r.names, _ = namespace.NewNames(items) // without names, there is less to complete
		}
	}
	return completions(head, r.entry.text, r.names)
}

// onInterrupt lets f hear the interrupts of the user, instead of the command as
// a whole, until release is called.
func (a *app) onInterrupt(f func()) (release func()) {
	a.interrupts.Store(&f)
	return func() { a.interrupts.CompareAndSwap(&f, nil) }
}

// heard tells whether somebody took a signal as theirs.
func (a *app) heard(s os.Signal) bool {
	f := a.interrupts.Load()
	if s != os.Interrupt || f == nil {
		return false
	}
	(*f)()
	return true
}
