package live

import (
	"errors"
	"fmt"
	"reflect"
	"runtime"
	"strings"
	"sync"
	"time"

	ns "farm/namespace"
	"farm/namespace/cell"
)

// goroutineGrace is how long goroutines of a cell may take to end once it has returned.
const goroutineGrace = 100 * time.Millisecond

// host is what code of one interpreter can call natively: package farm and the like, and the helpers of
// lowered code. Its functions may be called from any goroutine.
type host struct {
	services
	silence func() // shuts the output

	mu      sync.Mutex
	ended   bool // the body reached its end
	left    bool // the body is left
	exit    *int // the code, when the code asked to end the cell
	parked  int  // goroutines that asked that, and wait for ever
	running int  // goroutines of the code
	// Of the run: closed when it is being stopped, and when it is.
	stopping, stopped chan struct{}
	idle              chan struct{}
	panicked          []any  // values of panics in goroutines
	cut               func() // ends the run
}

func newHost(opt Options) *host {
	h := &host{silence: func() {}, idle: make(chan struct{}, 1)}
	h.services.init(opt, h.exitNow, func() int { return h.remain() + 1 })
	return h
}

func (h *host) packages() map[string]map[string]any {
	all := h.members()
	all[cell.HostPath] = map[string]any{
		"End":        h.end,
		"EndProgram": h.endProgram,
		"Leave":      h.leave,
		"Go":         h.goFunc,
		"Select":     h.selectCase,
		"Starts":     starts,
		"Runes":      func(s string) []rune { return []rune(s) },
		"Inner":      inner,
		"Value":      interpreted,
		"Links":      links,
		"SameError":  sameError,
		"Unwrap":     errors.Unwrap,
		"CheckMake":  checkMake,
		"Conversion": func(text string) error { return conversionError(text) },
		"Missing": func(v any, to, method string) error {
			return conversionError(fmt.Sprintf("%T is not %s: missing method %s", v, to, method))
		},
		"Recover": recovered,
		"Err":     func(e error) error { return e },
		"Print":   func(args ...any) { printBuiltin(h.stderr, "", args) },
		"Println": func(args ...any) { printBuiltin(h.stderr, " ", args) },
		"Words":   func(v any) words { return words{v} },
		"Clear":   func(v any) { reflect.ValueOf(v).Clear() },
	}
	return all
}

// runtimeError is a run-time error of interpreted code, where Go has a runtime.Error.
type runtimeError string

func (e runtimeError) Error() string { return "runtime error: " + string(e) }

// RuntimeError makes it a runtime.Error.
func (runtimeError) RuntimeError() {}

const conversion = "interface conversion: "

// conversionError is the run-time error of a failed assertion.
type conversionError string

func (e conversionError) Error() string { return conversion + string(e) }

// RuntimeError makes it a runtime.Error.
func (conversionError) RuntimeError() {}

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
	case runtime.Error:
		if strings.Contains(x.Error(), "allocation size out of range") {
			return runtimeError("makeslice: len out of range")
		}
	case error:
		// What a failed assertion of the interpreter says begins with where it is.
		if _, text, ok := strings.Cut(x.Error(), ": "+conversion); ok && strings.HasSuffix(fmt.Sprintf("%T", v), "interp.cfgError") {
			return conversionError(text)
		}
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
		{"MakeChan: negative buffer size", "makechan: size out of range"},
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

// inner is an error as the interpreter had it.
func inner(err error) any {
	if err == nil {
		return nil
	}
	return interpreted(err)
}

// links gives what a native error wraps, each as the interpreter had it.
func links(err any) (out []any) {
	switch x := err.(type) {
	case interface{ Unwrap() error }:
		out = append(out, inner(x.Unwrap()))
	case interface{ Unwrap() []error }:
		for _, e := range x.Unwrap() {
			out = append(out, inner(e))
		}
	}
	return out
}

// sameError says that an error, as the interpreter has it, is the target, or says so itself.
func sameError(err any, target error) bool {
	if want := inner(target); reflect.TypeOf(want).Comparable() && reflect.TypeOf(err).Comparable() && err == want {
		return true
	}
	x, ok := err.(interface{ Is(error) bool })
	return ok && x.Is(target)
}

// interpreted gives the value inside the wrapper that the interpreter makes for native code.
func interpreted(x any) any {
	v := reflect.ValueOf(x)
	if v.Kind() == reflect.Pointer {
		v = v.Elem()
	}
	if v.Kind() == reflect.Struct {
		if f := v.FieldByName("IValue"); f.IsValid() && f.CanInterface() {
			return f.Interface()
		}
	}
	return x
}

// begin prepares for a run, which cut ends: a panic of a goroutine must not leave the others waiting for
// it.
func (h *host) begin(t *ns.TaskInfo, s *submissions, cut func()) {
	h.services.begin(t, s)
	h.stopping, h.stopped = make(chan struct{}), make(chan struct{})
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ended, h.left, h.exit, h.parked = false, false, nil, 0
	h.running, h.panicked, h.cut = 0, nil, cut
}

func (h *host) end() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ended = true
}

// endProgram ends a whole program: as in Go, its goroutines end with main.
func (h *host) endProgram() {
	h.mu.Lock()
	h.ended = true
	more := h.running > 0 && len(h.panicked) == 0
	h.mu.Unlock()
	if more {
		h.exitNow(0)
	}
}

// stop says that the run is being stopped: what waits here for a channel is to end. The interpreter must
// be stopped when stopDone is called.
func (h *host) stop() { close(h.stopping) }

func (h *host) stopDone() { close(h.stopped) }

// selectCase does a select: of each three operands the first is a channel, the second a pointer to the
// value, and the third true for a send, a pointer to the second value for a receive. It gives the number
// of the case, -1 for the default. When the run is stopped it gives -1 once the interpreter does no more.
func (h *host) selectCase(blocks bool, operands ...any) int {
	const each = 3
	cases := make([]reflect.SelectCase, 0, len(operands)/each+1)
	for i := 0; i < len(operands); i += each {
		c := reflect.SelectCase{Dir: reflect.SelectRecv}
		if ch := reflect.ValueOf(operands[i]); ch.IsValid() {
			c.Chan = ch
		}
		if operands[i+2] == true {
			c.Dir = reflect.SelectSend
			if c.Chan.IsValid() {
				c.Send = reflect.ValueOf(operands[i+1]).Elem()
			}
		}
		cases = append(cases, c)
	}
	if blocks {
		cases = append(cases, reflect.SelectCase{Dir: reflect.SelectRecv, Chan: reflect.ValueOf(h.stopping)})
	} else {
		cases = append(cases, reflect.SelectCase{Dir: reflect.SelectDefault})
	}
	i, v, ok := reflect.Select(cases)
	if i == len(cases)-1 {
		if blocks {
			<-h.stopped
		}
		return -1
	}
	if cases[i].Dir == reflect.SelectRecv {
		reflect.ValueOf(operands[i*each+1]).Elem().Set(v)
		reflect.ValueOf(operands[i*each+2]).Elem().SetBool(ok)
	}
	return i
}

// leave is called when the body is left, however.
func (h *host) leave() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.left = true
	h.tell()
}

// exitNow ends the run, and never returns: what waits here can do nothing more, and runs no deferred
// function. The engine is not used again.
func (h *host) exitNow(code int) {
	h.mu.Lock()
	if h.exit == nil {
		h.exit = &code
		h.silence()
		h.cut()
	}
	h.parked++
	h.tell()
	h.mu.Unlock()
	select {}
}

// goFunc starts a goroutine. Being native it counts whatever the interpreter does.
func (h *host) goFunc(f func()) {
	h.mu.Lock()
	h.running++
	h.mu.Unlock()
	go func() {
		defer h.goEnd()
		f()
	}()
}

// goEnd is deferred in each goroutine.
func (h *host) goEnd() {
	r := recover()
	h.mu.Lock()
	defer h.mu.Unlock()
	if r != nil {
		h.panicked = append(h.panicked, r)
		h.cut()
	}
	h.running--
	h.tell()
}

// tell wakes who waits for the goroutines. Callers hold the lock.
func (h *host) tell() {
	select {
	case h.idle <- struct{}{}:
	default:
	}
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

// remain is how many goroutines of the run have not ended.
func (h *host) remain() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.running
}

// exited is the code with which the code asked to end the cell.
func (h *host) exited() (code int, ok bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.exit == nil {
		return 0, false
	}
	return *h.exit, true
}

// finish says why a run that returned did not succeed: its goroutines go on or one panicked, or it did
// not reach its end.
func (h *host) finish() error {
	h.mu.Lock()
	ended := h.ended
	h.mu.Unlock()
	if err := h.goroutinePanic(); err != nil {
		return err
	}
	if !ended {
		return &ns.ExitError{}
	}
	return h.wait(func() int { return h.running })
}

// settle waits until nothing of a run that was ended by exitNow goes on.
func (h *host) settle() error {
	return h.wait(func() int {
		n := h.running - h.parked
		if !h.left {
			n++
		}
		return n
	})
}

// wait waits for goroutines, count of which are left, for goroutineGrace. A panic ends it at once.
func (h *host) wait(count func() int) error {
	deadline := time.Now().Add(goroutineGrace)
	for {
		h.mu.Lock()
		n := count()
		h.mu.Unlock()
		if err := h.goroutinePanic(); err != nil {
			return err
		}
		wait := time.Until(deadline)
		switch {
		case n == 0:
			return nil
		case wait <= 0:
			return &ns.GoroutineError{Count: n}
		}
		select {
		case <-h.idle:
		case <-time.After(wait):
		}
	}
}
