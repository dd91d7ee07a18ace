package main

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"

	"farm/api"
)

// brokenWriter fails as a file does, after some bytes.
type brokenWriter struct {
	room int
	err  error
}

func (w *brokenWriter) Write(b []byte) (int, error) {
	if w.room -= len(b); w.room < 0 {
		return 0, &fs.PathError{Op: "write", Path: "/dev/stdout", Err: w.err}
	}
	return len(b), nil
}

// A command whose output nobody takes ends, and takes the job along that was only for
// that; it is a failure unless it is a reader that has had enough, as head has.
func TestOutputThatCannotBeWritten(t *testing.T) {
	run := func(f *fakeFarm, err error, stdin string, args ...string) ended {
		var errs bytes.Buffer
		ctx, cancel := context.WithCancelCause(t.Context())
		defer cancel(nil)
		a := fakeApp(t, f, streams{in: strings.NewReader(stdin), out: &brokenWriter{2, err}, err: &errs})
		a.io.watch(cancel)
		return ended{a.run(ctx, append([]string{"farm"}, args...)), "", errs.String()}
	}
	f := newFakeFarm(t)
	run(f, syscall.ENOSPC, "", "status").check(t, exitFailed, "", "farm: standard output: no space left on device\n")
	run(f, syscall.EPIPE, "", "status").check(t, exitNoReader, "", "")

	f = newFakeFarm(t)
	r := run(f, syscall.EPIPE, "{}\n{}\n{}\n", "map", "--call", "F", "testdata/f.cell")
	if r.code != exitNoReader || !strings.Contains(r.err, "cancelled job") {
		t.Errorf("%+v", r)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if !slices.ContainsFunc(f.calls, func(c *api.Call) bool { return c.GetCancelJob() != nil }) {
		t.Error("the job was left behind")
	}
}

// The prompt edits on the terminal itself.
func TestATerminalIsNotWatched(t *testing.T) {
	t.Setenv("TERM", "xterm")
	s := streams{in: os.Stdin, out: os.Stdout, inTerm: true, outTerm: true}
	s.watch(func(error) {})
	if _, out, ok := s.editable(); !ok || out != os.Stdout {
		t.Error("there is no prompt at a terminal")
	}
}

// Of several namespaces each failure is told, and the others are done.
func TestFailuresOfManyAreTold(t *testing.T) {
	f := newFakeFarm(t)
	f.vars["b"] = map[string]string{"x": "1"}
	r := farmCommand(t.Context(), t, f, "", "get", "a,b,c", "x")
	if r.code != exitFailed || r.out != "b: 1\n" || !strings.Contains(r.err, " a:") || !strings.Contains(r.err, " c:") || !strings.HasSuffix(r.err, "farm: 2 of 3 failed\n") {
		t.Errorf("%+v", r)
	}
	if r := farmCommand(t.Context(), t, f, "", "get", "a", "x"); r.code != exitFailed || strings.Count(r.err, "\n") != 1 {
		t.Errorf("%+v", r)
	}
	if err := someOf(2, []error{errSilent, &usageError{"wrong"}}); exitCode(t.Context(), err) != exitUsage || errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}
