package main

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	ns "farm/namespace"
)

func TestIsRun(t *testing.T) {
	for src, want := range map[string]bool{
		"// run\n\n// Copyright\npackage p\n":      true,
		"//go:build amd64\n\n// run\npackage main": true,
		"// errorcheck\n\n// run\npackage main":    false,
		"// run -race\npackage main":               false,
		"package main\n// run\n":                   false,
	} {
		if got := isRun([]byte(src)); got != want {
			t.Errorf("isRun(%q) is %v", src, got)
		}
	}
}

func TestJudge(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "a.go")
	if err := os.WriteFile(filepath.Join(dir, "a.out"), []byte("hello\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	silent := filepath.Join(dir, "b.go")
	died := errors.New("exit status 2")
	for _, c := range []struct {
		name, path, printed string
		said                outcome
		timeout, died       error
		want                string
	}{
		{"as expected", path, "hello\n", outcome{Class: Passed}, nil, nil, Passed},
		{"other output", path, "bye\n", outcome{Class: Passed}, nil, nil, Wrong},
		{"output of a silent program", silent, "BUG\n", outcome{Class: Passed}, nil, nil, Wrong},
		{"silent", silent, "", outcome{Class: Passed}, nil, nil, Passed},
		{"died", silent, "fatal error", outcome{}, nil, died, Wrong},
		{"hangs", silent, "", outcome{}, errors.New("deadline"), died, Wrong},
		{"refused", path, "", outcome{Class: Refused, Reason: "os"}, nil, nil, Refused},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got, why := judge(c.path, []byte(c.printed), c.said, c.timeout, c.died); got != c.want || got != Passed && why == "" {
				t.Errorf("%s (%s), want %s", got, why, c.want)
			}
		})
	}
}

func TestClassOf(t *testing.T) {
	for _, c := range []struct {
		err  error
		want string
	}{
		{nil, Passed},
		{&ns.NotAllowedError{What: "package os"}, Refused},
		{&ns.NotAllowedError{What: "this code", Internal: true}, Wrong},
		{&ns.CompileError{Msgs: []string{"1:1: x"}}, Wrong},
		{&ns.PanicError{Value: "x"}, Wrong},
		{&ns.GoroutineError{Count: 1}, Refused},
		{&ns.ExitError{}, Refused},
		{&ns.ExitError{Code: 1}, Wrong},
	} {
		if got := classOf(c.err); got != c.want {
			t.Errorf("%v is %s, want %s", c.err, got, c.want)
		}
	}
}
