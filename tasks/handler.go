package tasks

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"sync"
	"time"
)

// HandlerFunc is a handler below its types: JSON in, JSON out. An error of it is
// the failure of the attempt, and is retried as the task's Retries say; see
// DoNotRetry and Snooze.
type HandlerFunc func(ctx context.Context, input json.RawMessage) (json.RawMessage, error)

// Middleware is put around handlers: it is called with what comes next and
// returns what is to be called instead. FromContext tells it of which attempt.
type Middleware func(next HandlerFunc) HandlerFunc

// Mux is the handlers of a worker by name. It is safe for concurrent use; what is
// added after Serve has begun is not served. Use NewMux.
type Mux struct {
	mu       sync.Mutex
	handlers map[string]*handler
	around   []Middleware
}

// handler is one entry of a Mux.
type handler struct {
	name  string
	call  HandlerFunc
	typ   string        // Go type of what it returns
	stuck time.Duration // see StuckAfter; 0: never
}

// NewMux returns one without handlers.
func NewMux() *Mux { return &Mux{handlers: map[string]*handler{}} }

// HandlerOption is a property of a handler.
type HandlerOption func(*handler)

// StuckAfter says that the handler gives a sign of life at least this often, by
// Attempt.Beat, Progress or Log. When it does not, its context ends with ErrStuck
// and the attempt fails with the kind "stuck", which is retried as any failure. It
// is for long handlers that can hang: a worker that is lost is noticed without it.
func StuckAfter(d time.Duration) HandlerOption { return func(h *handler) { h.stuck = d } }

// Handle registers a handler, a function that workers of this program run when a
// task names it. Input and result travel as JSON. Like a program's flags, handlers
// are named by the programmer: a name that is no name (1 to 128 letters, digits,
// '.', '_' and '-') or is there already panics.
//
// A task that was acknowledged runs until one attempt of it is at its end and
// accepted. A handler may be called again when a worker is lost, so what it does
// outside farm must bear that: Attempt says which task it is.
func Handle[In, Out any](m *Mux, name string, fn func(ctx context.Context, in In) (Out, error), options ...HandlerOption) {
	m.add(&handler{name: name, typ: reflect.TypeFor[Out]().String(), call: func(ctx context.Context, input json.RawMessage) (json.RawMessage, error) {
		var in In
		if len(input) > 0 {
			if err := json.Unmarshal(input, &in); err != nil {
				return nil, DoNotRetry(fmt.Errorf("%w: the input is no %v: %w", ErrInvalid, reflect.TypeFor[In](), err))
			}
		}
		out, err := fn(ctx, in)
		if err != nil {
			return nil, err
		}
		b, err := json.Marshal(out)
		if err != nil {
			return nil, DoNotRetry(fmt.Errorf("the result cannot be written as JSON: %w", err))
		}
		return b, nil
	}}, options)
}

// HandleRaw is Handle for a function that reads and writes JSON itself.
func (m *Mux) HandleRaw(name string, fn HandlerFunc, options ...HandlerOption) {
	m.add(&handler{name: name, typ: "json.RawMessage", call: fn}, options)
}

func (m *Mux) add(h *handler, options []HandlerOption) {
	for _, o := range options {
		o(h)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if !validName(h.name) {
		panic(fmt.Sprintf("tasks: %q cannot be the name of a handler", h.name))
	}
	if m.handlers[h.name] != nil {
		panic(fmt.Sprintf("tasks: there are two handlers %q", h.name))
	}
	m.handlers[h.name] = h
}

// Use puts middleware around all handlers, those registered before included. The
// first is the outermost; a later Use goes inside an earlier one.
func (m *Mux) Use(around ...Middleware) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.around = append(m.around, around...)
}

// Names are the handlers there are, sorted.
func (m *Mux) Names() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Sorted(maps.Keys(m.handlers))
}

// wrapped are the handlers with the middleware around them.
func (m *Mux) wrapped() map[string]*handler {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := make(map[string]*handler, len(m.handlers))
	for name, h := range m.handlers {
		x := *h
		for _, around := range slices.Backward(m.around) {
			x.call = around(x.call)
		}
		out[name] = &x
	}
	return out
}

// maxName is how many characters a name may have.
const maxName = 128

// validName is the rule of all names in farm.
func validName(s string) bool {
	if s == "" || len(s) > maxName || s[0] == '.' || s[0] == '-' {
		return false
	}
	for _, c := range []byte(s) {
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '.' || c == '_' || c == '-') {
			return false
		}
	}
	return true
}

// DoNotRetry makes err, returned by a handler, the end of its task: no retry is
// left to it. DoNotRetry(nil) is nil.
func DoNotRetry(err error) error {
	if err == nil {
		return nil
	}
	return &finalError{err}
}

type finalError struct{ error }

func (e *finalError) Unwrap() error { return e.error }

// MaxSnooze is how long Snooze can put a task off.
const MaxSnooze = 366 * 24 * time.Hour

// Snooze is an error that, returned by a handler, puts its task back into the queue
// until d has passed. It is no failure: it costs no retry. What the attempt
// printed is not kept.
func Snooze(d time.Duration) error { return &snoozeError{min(max(d, 0), MaxSnooze)} }

type snoozeError struct{ d time.Duration }

func (e *snoozeError) Error() string { return fmt.Sprintf("put off for %v", e.d) }
