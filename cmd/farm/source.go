package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"

	"github.com/urfave/cli/v2"

	"farm/namespace"
	"farm/tasks"
)

// maxSource is how many bytes of source are read; what namespaces accept is
// less, and named by the error of the check.
const maxSource = 4 << 20

// source is a cell or program, and what positions in it are called.
type source struct {
	name, text string
	engine     string // that it asks for, or empty
}

// readSource reads a file, or standard input for "-".
func (a *app) readSource(path string) (source, error) {
	in, name := a.io.in, "stdin"
	if path != "-" {
		f, err := os.Open(path)
		if err != nil {
			return source{}, usage("%v", err)
		}
		defer f.Close()
		in, name = f, path
	} else if a.io.inTerm {
		a.io.talk("reading Go from the terminal; Ctrl-D ends it")
	}
	b, err := io.ReadAll(io.LimitReader(in, maxSource+1))
	if err != nil {
		return source{}, fmt.Errorf("read %s: %w", name, err)
	}
	if len(b) > maxSource {
		return source{}, fmt.Errorf("%s: %w", name, &namespace.LimitError{What: "source", Limit: maxSource, Got: int64(len(b))})
	}
	return source{name: name, text: string(b)}, nil
}

var (
	leadingPosition = regexp.MustCompile(`(?m)^(\d+:\d+: )`)
	barePosition    = regexp.MustCompile(`^(?:cell )?(\d+:\d+)\b`)
)

// positioned puts the name of the source before positions in a message.
func (s source) positioned(msg string) string {
	return leadingPosition.ReplaceAllString(msg, strings.ReplaceAll(s.name, "$", "$$")+":$1")
}

// check says what the farm would refuse, before anything is queued. The
// result is a *tasks.TaskError as the task's own would be.
func (s source) check(items map[string][]byte) error {
	err := namespace.CheckOn(items, s.engine, s.text)
	var compile *namespace.CompileError
	var notAllowed *namespace.NotAllowedError
	var limit *namespace.LimitError
	var engine *namespace.EngineError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &compile):
		return &tasks.TaskError{Kind: "compile", Message: err.Error()}
	case errors.As(err, &notAllowed):
		return &tasks.TaskError{Kind: "not-allowed", Message: err.Error()}
	case errors.As(err, &limit):
		return &tasks.TaskError{Kind: "limit", Message: err.Error()}
	case errors.As(err, &engine):
		return &tasks.TaskError{Kind: "conflict", Message: err.Error()}
	}
	return nil // the check itself failed: let the farm decide
}

// engineFlag is the flag by which a cell asks for an engine.
func engineFlag(to *string) cli.Flag {
	return &cli.StringFlag{Name: "engine", Usage: "`ENGINE` of the code: ssa, farm's own, or yaegi. A namespace keeps that of its first cell (default: ssa where it is new)", Destination: to}
}

// checkEngine refuses the name of an engine that there is not.
func checkEngine(verb, name string) error {
	if !namespace.KnownEngine(name) {
		return usage("%s: --engine is one of %s", verb, strings.Join(namespace.Engines(), ", "))
	}
	return nil
}

// checkIn checks the source against what a namespace holds now. Tasks that are
// still queued there may change what it means, so then the farm decides.
func (s source) checkIn(ctx context.Context, conn *connection, ns string) error {
	if ns == "" {
		return s.check(nil)
	}
	for again := false; ; again = true {
		items, err := conn.Namespace(ns).Items(ctx)
		if errors.Is(err, tasks.ErrLimit) {
			return nil // too large to be read as a whole: the farm decides
		}
		if err != nil && !errors.Is(err, tasks.ErrNotFound) {
			return err
		}
		bad := s.check(items)
		if bad == nil || again {
			return bad
		}
		// Nothing may be queued that could have come between: look, then check
		// what is there once more.
		for _, state := range []tasks.State{tasks.Queued, tasks.Running} {
			live, err := conn.List(ctx, tasks.Filter{Namespace: ns, State: state, Limit: 1})
			if err != nil {
				return err
			}
			if len(live) > 0 {
				return nil
			}
		}
	}
}

// tellFailure writes why a task failed, with positions a person can click on.
func (a *app) tellFailure(s source, err *tasks.TaskError, prefix string) {
	msg := s.positioned(err.Message)
	if err.Kind != "compile" && err.Kind != "not-allowed" || msg == "" {
		msg = strings.TrimSuffix(err.Kind+": "+msg, ": ")
		msg = strings.ReplaceAll(msg, "panic: panic: ", "panic: ")
	}
	var b strings.Builder
	fmt.Fprintln(&b, msg)
	for _, frame := range err.Stack {
		frame = barePosition.ReplaceAllString(frame, strings.ReplaceAll(s.name, "$", "$$")+":$1")
		fmt.Fprintf(&b, "\tat %s\n", frame)
	}
	if prefix == "" {
		fmt.Fprint(a.io.err, b.String())
		return
	}
	prefixed(a.io.err, prefix, b.String())
}
