package live

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	ns "farm/namespace"
	"farm/namespace/cell"
)

// goroutineGrace is how long goroutines of a cell may take to end once it has returned.
const goroutineGrace = 100 * time.Millisecond

// host is what code of one engine can call natively: package farm, and the helpers of lowered code.
// Its functions may be called from any goroutine.
type host struct {
	progress func(done, total int)
	stderr   io.Writer
	task     atomic.Pointer[ns.TaskInfo]

	mu       sync.Mutex
	ended    bool // the body reached its end
	running  int  // goroutines of the code
	idle     chan struct{}
	panicked []any  // values of panics in goroutines
	cut      func() // ends the run
}

func newHost(opt Options) *host {
	h := &host{progress: opt.Progress, stderr: opt.Stderr, idle: make(chan struct{}, 1)}
	h.task.Store(&ns.TaskInfo{})
	return h
}

func (h *host) packages() map[string]map[string]any {
	return map[string]map[string]any{
		"farm": {
			"TaskID":    func() string { return h.task.Load().ID },
			"Attempt":   func() int { return h.task.Load().Attempt },
			"Namespace": func() string { return h.task.Load().Namespace },
			"Arg":       func(name string) string { return h.task.Load().Args[name] },
			"Args": func() map[string]string {
				m := maps.Clone(h.task.Load().Args)
				if m == nil {
					m = map[string]string{}
				}
				return m
			},
			"Files": func() []string { return slices.Sorted(maps.Keys(h.task.Load().Files)) },
			"ReadFile": func(name string) ([]byte, error) {
				b, ok := h.task.Load().Files[name]
				if !ok {
					return nil, fmt.Errorf("no file %q was given with this task", name)
				}
				return slices.Clone(b), nil
			},
			"Progress": func(done, total int) {
				if h.progress != nil {
					h.progress(done, total)
				}
			},
			"Logf": func(format string, args ...any) { fmt.Fprintf(h.stderr, format+"\n", args...) },
		},
		cell.HostPath: {
			"End":     h.end,
			"GoStart": h.goStart,
			"GoEnd":   h.goEnd,
			"GoPanic": h.goPanic,
			"Recover": recovered,
			"Chain":   chain,
			"Err":     func(e error) error { return e },
			"Is":      errorIs,
			"Print":   func(args ...any) { printBuiltin(h.stderr, "", args) },
			"Println": func(args ...any) { printBuiltin(h.stderr, " ", args) },
			"Words":   func(v any) words { return words{v} },
			"Clear":   func(v any) { reflect.ValueOf(v).Clear() },
		},
	}
}

// runtimeError is a run-time error of interpreted code, where Go has a runtime.Error.
type runtimeError string

func (e runtimeError) Error() string { return "runtime error: " + string(e) }

// recovered turns the texts that stand for run-time errors in the interpreter into errors.
func recovered(v any) any {
	switch x := v.(type) {
	case string:
		return runtimeText(x)
	case reflect.Value: // of a panic that passed a deferred call
		if x.IsValid() && x.CanInterface() {
			return recovered(x.Interface())
		}
	case *reflect.ValueError:
		return runtimeError("invalid memory address or nil pointer dereference")
	}
	return v
}

// runtimeText is the run-time error that a text of package reflect stands for, or the text.
func runtimeText(text string) any {
	if !strings.HasPrefix(text, "reflect: ") && !strings.HasPrefix(text, "reflect.") {
		return text
	}
	for _, t := range []struct{ has, is string }{
		{"slice index out of bounds", "slice bounds out of range"},
		{"string slice index out of bounds", "slice bounds out of range"},
		{"index out of range", "index out of range"},
		{"MakeSlice: negative len", "makeslice: len out of range"},
		{"MakeSlice: negative cap", "makeslice: cap out of range"},
		{"slice overflow", "growslice: len out of range"},
		{"cannot convert slice with length", strings.TrimPrefix(text, "reflect: ")},
		{"MakeSlice: len > cap", "makeslice: cap out of range"},
	} {
		if strings.Contains(text, t.has) {
			return runtimeError(t.is)
		}
	}
	return text
}

// chain gives an error and all it wraps, depth first, each as the interpreter had it.
func chain(err error) (out []any) {
	if err == nil {
		return nil
	}
	out = append(out, interpreted(err))
	switch x := err.(type) { //nolint:errorlint // each link is looked at by itself
	case interface{ Unwrap() error }:
		out = append(out, chain(x.Unwrap())...)
	case interface{ Unwrap() []error }:
		for _, e := range x.Unwrap() {
			out = append(out, chain(e)...)
		}
	}
	return out
}

// errorIs is errors.Is that sees through the wrappers of errors of the interpreter.
func errorIs(err, target error) bool {
	if errors.Is(err, target) {
		return true
	}
	if err == nil || target == nil {
		return false
	}
	want := interpreted(target)
	if !reflect.TypeOf(want).Comparable() {
		return false
	}
	for _, e := range chain(err) {
		if reflect.TypeOf(e).Comparable() && e == want {
			return true
		}
	}
	return false
}

// interpreted gives the value inside the wrapper that the interpreter makes for native code.
func interpreted(err error) any {
	v := reflect.ValueOf(err)
	if v.Kind() == reflect.Pointer {
		v = v.Elem()
	}
	if v.Kind() == reflect.Struct {
		if f := v.FieldByName("IValue"); f.IsValid() && f.CanInterface() {
			return f.Interface()
		}
	}
	return err
}

// begin prepares for a run, which cut ends: a panic of a goroutine must not leave the others waiting for
// it.
func (h *host) begin(t *ns.TaskInfo, cut func()) {
	h.task.Store(t)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ended, h.running, h.panicked, h.cut = false, 0, nil, cut
}

func (h *host) end() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ended = true
}

func (h *host) goStart() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.running++
}

func (h *host) goEnd() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.running--; h.running == 0 {
		select {
		case h.idle <- struct{}{}:
		default:
		}
	}
}

func (h *host) goPanic(v any) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.panicked = append(h.panicked, v)
	h.cut()
}

// goroutinePanic is the error of a run in which a goroutine panicked, nil if none did.
func (h *host) goroutinePanic() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.panicked) == 0 {
		return nil
	}
	return &ns.PanicError{Value: panicText(h.panicked[0]), Stack: []string{"in a goroutine of the cell"}}
}

// left is how many goroutines of the run have not ended.
func (h *host) left() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.running
}

// finish says why a run that returned did not succeed: its goroutines go on or one panicked, or it did
// not reach its end.
func (h *host) finish() error {
	deadline := time.Time{}
	for {
		h.mu.Lock()
		running, ended := h.running, h.ended
		h.mu.Unlock()
		if err := h.goroutinePanic(); err != nil {
			return err
		}
		switch {
		case !ended:
			return &ns.ExitError{}
		case running == 0:
			return nil
		}
		if deadline.IsZero() {
			deadline = time.Now().Add(goroutineGrace)
		}
		wait := time.Until(deadline)
		if wait <= 0 {
			return &ns.GoroutineError{Count: running}
		}
		select {
		case <-h.idle:
		case <-time.After(wait):
		}
	}
}
