package yaegi

import (
	"bytes"
	"context"
	"errors"
	"io"
	"testing"
	"time"
)

func newEngine(t *testing.T, out io.Writer) *Engine {
	t.Helper()
	e, err := New(Options{Stdout: out, Stderr: io.Discard, Host: map[string]map[string]any{"farm/host": {"Twice": func(n int) int { return 2 * n }}}})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func TestLoadRunAndVariables(t *testing.T) {
	var out bytes.Buffer
	e := newEngine(t, &out)
	if err := e.Load("u.go", "package main\nimport h \"farm/host\"\nimport \"fmt\"\nvar n int\nfunc f() { n = h.Twice(n) + 1; fmt.Println(n) }"); err != nil {
		t.Fatal(err)
	}
	if err := e.Prepare("f"); err != nil {
		t.Fatal(err)
	}
	e.Vars()["n"].SetInt(20)
	for range 2 {
		if err := e.Run(t.Context(), "f"); err != nil {
			t.Fatal(err)
		}
	}
	if n := e.Vars()["n"].Int(); n != 83 || out.String() != "41\n83\n" || e.Loads() != 1 {
		t.Errorf("n is %d, output %q, %d loads", n, out.String(), e.Loads())
	}
}

// TestOnlyAllowedPackages proves that the engine has no symbols beyond the allowed packages, whatever
// the front end lets through.
func TestOnlyAllowedPackages(t *testing.T) {
	for _, p := range []string{"os", "os/exec", "net", "net/http", "syscall", "reflect", "unsafe", "runtime", "log", "plugin", "github.com/traefik/yaegi/interp"} {
		e := newEngine(t, io.Discard)
		err := e.Load("u.go", "package main\nimport x \""+p+"\"\nvar _ = x.Name")
		if _, ok := errors.AsType[*LoadError](err); !ok {
			t.Errorf("import of %s: %v", p, err)
		}
	}
}

func TestPanicAndTrace(t *testing.T) {
	e := newEngine(t, io.Discard)
	if err := e.Load("u.go", "package main\nfunc g() { panic(\"boom\") }\nfunc f() { g() }"); err != nil {
		t.Fatal(err)
	}
	if err := e.Prepare("f"); err != nil {
		t.Fatal(err)
	}
	p, ok := errors.AsType[*PanicError](e.Run(t.Context(), "f"))
	if !ok || p.Value != "boom" || len(p.Trace) < 2 {
		t.Errorf("%v", p)
	}
}

func TestRunEndsWithContext(t *testing.T) {
	if raceEnabled {
		t.Skip("yaegi's ExecuteWithContext has a data race on its result when the context ends; Run does not use that result")
	}
	for _, body := range []string{"for { }", "select { }", "<-make(chan int)"} {
		e := newEngine(t, io.Discard)
		if err := e.Load("u.go", "package main\nfunc f() { "+body+" }"); err != nil {
			t.Fatal(err)
		}
		if err := e.Prepare("f"); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		if err := e.Run(ctx, "f"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s: %v", body, err)
		}
		cancel()
	}
}
