package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"farm/internal/prompt"
	"farm/namespace"
	"farm/tasks"
)

// slowCall is after how long a call that is not answered is told about.
const slowCall = 2 * time.Second

func (a *app) replCommand() *cli.Command {
	var engine string
	return &cli.Command{
		Name:      "repl",
		Usage:     "a prompt on a namespace",
		UsageText: "farm repl [flags] NS",
		Description: "Each cell that is typed runs as a task in NS, which need not exist. A cell goes on while a bracket or a string is\n" +
			"open, or its line ends in an operator; an empty line ends it. What is pasted runs as one cell, at the next Enter.\n" +
			"Tab completes names; :help lists the commands. Ctrl-C cancels the running cell, Ctrl-D ends the prompt.\n\n" +
			"When standard input or output is no terminal, cells are read that are separated by empty lines (in brackets and\n" +
			"strings these do not count). The first one that fails ends the command, with its exit code.\n\n" +
			"What is typed is remembered in $XDG_STATE_HOME/farm/repl_history (~/.local/state without XDG_STATE_HOME).",
		Flags: []cli.Flag{addrFlag(), engineFlag(&engine)},
		Action: func(c *cli.Context) error {
			args, err := wantArgs(c, 1, 1)
			if err != nil {
				return err
			}
			if err := checkEngine("repl", engine); err != nil {
				return err
			}
			return a.with(c, func(ctx context.Context, conn *connection) error { return a.runRepl(ctx, conn, args[0], engine) })
		},
	}
}

// restorer takes a namespace back to an earlier version, as a new version.
type restorer interface {
	Restore(ctx context.Context, version uint64) error
}

// repl is a prompt on a namespace.
type repl struct {
	a    *app
	conn *connection
	ns   *tasks.Namespace
	back restorer // ns, but for tests
	live bool     // a person types

	engine string // that cells ask for, or empty

	entry  entry             // what is being typed
	names  *namespace.Names  // for completion; nil: to be read
	undone map[uint64]uint64 // versions that undos made: to the version brought back
}

func (a *app) runRepl(ctx context.Context, conn *connection, name, engine string) error {
	r := &repl{a: a, conn: conn, engine: engine, ns: conn.Namespace(name), undone: map[uint64]uint64{}}
	r.back = r.ns
	in, out, ok := a.io.editable()
	if !ok {
		return r.script(ctx)
	}
	r.live = true
	if err := r.greet(ctx); err != nil {
		return err
	}
	return r.prompt(ctx, in, out)
}

// editable gives the two directions of the terminal, if lines can be edited there.
func (s *streams) editable() (in, out *os.File, ok bool) {
	if !s.inTerm || !s.outTerm || os.Getenv("TERM") == "dumb" {
		return nil, nil, false
	}
	in, isIn := s.in.(*os.File)
	out, isOut := s.out.(*os.File)
	return in, out, isIn && isOut
}

// greet says which namespace this is. It fails when there can be none.
func (r *repl) greet(ctx context.Context) error {
	info, err := r.show(ctx)
	if err != nil {
		return err
	}
	what := "new"
	if info.Version > 0 {
		what = fmt.Sprintf("version %d, %d variables", info.Version, len(info.Variables))
	}
	r.a.io.talk("namespace %s, %s; :help for help, Ctrl-D to leave", r.ns.Name(), what)
	return nil
}

// prompt reads cells and commands from a terminal until it has enough.
func (r *repl) prompt(ctx context.Context, in, out *os.File) error {
	history, err := prompt.OpenHistory(historyPath())
	if err != nil {
		r.a.io.talk("%v", err)
	}
	editor, err := prompt.NewEditor(in, out, history, func(head string) (int, []string) { return r.complete(ctx, head) })
	if err != nil {
		return err
	}
	defer func() {
		if err := errors.Join(history.Err(), editor.Close()); err != nil {
			r.a.io.talk("%v", err)
		}
	}()
	for {
		line, err := editor.ReadLine(ctx, r.entry.prompt(r.ns.Name()))
		switch {
		case errors.Is(err, prompt.ErrInterrupt):
			r.entry = entry{}
			continue
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		}
		for _, text := range r.entry.add(line.Text, line.Pasted) {
			switch err := r.do(ctx, text); {
			case errors.Is(err, errQuit):
				return nil
			case ctx.Err() != nil:
				return context.Cause(ctx)
			case err != nil && !errors.Is(err, errSilent):
				r.a.io.talk("%v", err) // and go on: the next one may do better
			}
		}
	}
}

// script reads cells and commands until the end of the input or a failure.
func (r *repl) script(ctx context.Context) error {
	if r.a.io.inTerm {
		r.a.io.talk("reading cells, separated by empty lines; Ctrl-D ends them")
	}
	lines := scanLines(ctx, r.a.io.in)
	for more := true; more; {
		var texts []string
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case line, ok := <-lines:
			switch {
			case !ok:
				texts, more = []string{r.entry.rest()}, false
			case line.err != nil:
				return fmt.Errorf("read cells: %w", line.err)
			default:
				texts = r.entry.line(line.text)
			}
		}
		for _, text := range texts {
			if err := r.do(ctx, text); errors.Is(err, errQuit) {
				return nil
			} else if err != nil {
				return err
			}
		}
	}
	return nil
}

type scanned struct {
	text string
	err  error
}

// scanLines reads lines until the input or ctx ends.
func scanLines(ctx context.Context, in io.Reader) <-chan scanned {
	out := make(chan scanned)
	go func() {
		defer close(out)
		sc := bufio.NewScanner(in)
		sc.Buffer(nil, maxSource)
		tell := func(s scanned) bool {
			select {
			case out <- s:
				return true
			case <-ctx.Done():
				return false
			}
		}
		for sc.Scan() {
			if !tell(scanned{text: sc.Text()}) {
				return
			}
		}
		if err := sc.Err(); err != nil {
			tell(scanned{err: err})
		}
	}()
	return out
}

// historyPath is where what was typed is kept; empty: nowhere.
func historyPath() string {
	dir := os.Getenv("XDG_STATE_HOME")
	if !filepath.IsAbs(dir) {
		home, err := os.UserHomeDir()
		if err != nil {
			return ""
		}
		dir = filepath.Join(home, ".local", "state")
	}
	return filepath.Join(dir, "farm", "repl_history")
}

// entry is a cell that is being entered, line by line.
type entry struct{ text string }

// prompt is what stands before the next line.
func (e *entry) prompt(ns string) string {
	if e.text == "" {
		return ns + "> "
	}
	return strings.Repeat(".", len([]rune(ns))) + "> "
}

// add takes a line from a terminal and returns what is whole now: cells and
// commands. What is pasted is whole only with a typed line after it, so that
// declarations that need each other go together.
func (e *entry) add(line string, pasted bool) []string {
	if texts, ok := e.command(line); ok {
		return texts
	}
	blank := strings.TrimSpace(line) == ""
	e.text += line + "\n"
	want := prompt.Wants(e.text)
	switch {
	case len(e.text) > maxSource: // the check will refuse it
	case pasted, want == prompt.Text, want != prompt.Nothing && !blank:
		return nil
	}
	return []string{e.rest()}
}

// line is add for a line of a script: an empty one ends a cell, unless it is
// inside brackets or text.
func (e *entry) line(line string) []string {
	if texts, ok := e.command(line); ok {
		return texts
	}
	blank := strings.TrimSpace(line) == ""
	e.text += line + "\n"
	want := prompt.Wants(e.text)
	if len(e.text) <= maxSource && (!blank || want == prompt.Bracket || want == prompt.Text) {
		return nil
	}
	return []string{e.rest()}
}

// command takes a command, which stands where a cell could begin, and so ends
// the one before it.
func (e *entry) command(line string) (texts []string, ok bool) {
	if !strings.HasPrefix(strings.TrimSpace(line), ":") || prompt.Wants(e.text) != prompt.Nothing {
		return nil, false
	}
	return []string{e.rest(), line}, true
}

// rest gives what there is and begins anew.
func (e *entry) rest() string {
	text := e.text
	e.text = ""
	return text
}
