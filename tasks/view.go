package tasks

import (
	"bytes"
	"cmp"
	"context"
	"encoding"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
)

// viewParallel is how many namespaces of a view are worked on at a time.
const viewParallel = 64

// View is several namespaces used as one, in an order of their own. Like a
// Namespace it is names and a client, nothing else. What is asked of a view is
// asked of each of its namespaces, of several at a time; it is not one
// transaction: when some fail, the others have done it, and the error is a
// *ViewError that names those that failed.
type View struct {
	c     *Client
	names []string
	stale bool
}

// View returns a view of namespaces by their names, in that order. A name given
// twice counts once. Select makes one of a list, a glob or a range.
func (c *Client) View(names ...string) *View {
	v := &View{c: c}
	seen := map[string]bool{}
	for _, n := range names {
		if !seen[n] {
			seen[n] = true
			v.names = append(v.names, n)
		}
	}
	return v
}

// Names are the names of the view's namespaces, in its order.
func (v *View) Names() []string { return slices.Clone(v.names) }

// Stale returns the view for reads that may be answered from the state of
// whichever node is asked; see Namespace.Stale.
func (v *View) Stale() *View {
	s := *v
	s.stale = true
	return &s
}

// NamespaceError is what went wrong in one namespace of a view.
type NamespaceError struct {
	Namespace string
	Err       error
}

// Error is the error after the namespace's name.
func (e *NamespaceError) Error() string { return e.Namespace + ": " + e.Err.Error() }

// Unwrap returns the error without the name.
func (e *NamespaceError) Unwrap() error { return e.Err }

// ViewError says in which namespaces of a view something failed. It is
// (errors.Is, errors.As) each of their errors.
type ViewError struct {
	Failed []*NamespaceError // in the view's order, never empty
	Of     int               // namespaces of the view
}

// maxTold is how many errors a ViewError's text has.
const maxTold = 5

// Error names the first few namespaces that failed, and why they did.
func (e *ViewError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "failed in %d of %d namespaces", len(e.Failed), e.Of)
	for i, f := range e.Failed {
		if i == maxTold {
			fmt.Fprintf(&b, "; and %d more", len(e.Failed)-i)
			break
		}
		fmt.Fprintf(&b, "%s %v", map[bool]string{true: ":", false: ";"}[i == 0], f)
	}
	return b.String()
}

// Unwrap returns the error of each namespace that failed.
func (e *ViewError) Unwrap() []error {
	out := make([]error, len(e.Failed))
	for i, f := range e.Failed {
		out[i] = f
	}
	return out
}

// Each calls fn for every namespace of the view, for several at a time, and
// waits for all. It goes on after a failure.
func (v *View) Each(ctx context.Context, fn func(ctx context.Context, n *Namespace) error) error {
	return v.each(func(_ int, n *Namespace) error { return fn(ctx, n) })
}

func (v *View) each(fn func(i int, n *Namespace) error) error {
	if len(v.names) == 0 {
		return fmt.Errorf("%w: a view needs namespaces", ErrInvalid)
	}
	errs := make([]error, len(v.names))
	room := make(chan struct{}, viewParallel)
	var all sync.WaitGroup
	for i, name := range v.names {
		room <- struct{}{}
		all.Go(func() {
			errs[i] = fn(i, &Namespace{c: v.c, name: name, stale: v.stale})
			<-room
		})
	}
	all.Wait()
	var failed []*NamespaceError
	for i, err := range errs {
		if err != nil {
			failed = append(failed, &NamespaceError{v.names[i], err})
		}
	}
	if len(failed) > 0 {
		return &ViewError{failed, len(v.names)}
	}
	return nil
}

// Exec runs a cell in each namespace, in parallel, and waits for all. The tasks
// are in the view's order; one that failed is there as well, one of which
// nothing is known is nil.
func (v *View) Exec(ctx context.Context, source string) ([]*Info, error) {
	out := make([]*Info, len(v.names))
	err := v.each(func(i int, n *Namespace) (err error) {
		out[i], err = n.Exec(ctx, source)
		return err
	})
	return out, err
}

// Push sets a variable to the same value in each namespace, as Namespace.Set does.
func (v *View) Push(ctx context.Context, key string, value any) error {
	j, err := json.Marshal(value)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	return v.each(func(_ int, n *Namespace) error { return n.SetJSON(ctx, key, j) })
}

// Delete removes a variable or declaration from each namespace.
func (v *View) Delete(ctx context.Context, key string) error {
	return v.each(func(_ int, n *Namespace) error { return n.Delete(ctx, key) })
}

// Pull reads a variable of each namespace, in the view's order; nil where that
// failed. The function Pull has Go values.
func (v *View) Pull(ctx context.Context, key string) ([]*Variable, error) {
	out := make([]*Variable, len(v.names))
	err := v.each(func(i int, n *Namespace) (err error) {
		out[i], err = n.Variable(ctx, key)
		return err
	})
	return out, err
}

// Pull reads a variable of each namespace of a view, in the view's order, as
// json.Unmarshal does. It returns all values or an error.
func Pull[T any](ctx context.Context, v *View, key string) ([]T, error) {
	vars, err := v.Pull(ctx, key)
	if err != nil {
		return nil, err
	}
	out := make([]T, len(vars))
	for i, x := range vars {
		if err := json.Unmarshal(x.JSON, &out[i]); err != nil {
			return nil, fmt.Errorf("%s in %s: %w", key, v.names[i], err)
		}
	}
	return out, nil
}

// Scatter splits a sequence over the namespaces of a view: each gets a run of
// it under key, in the view's order, of which the first ones are longer by one
// where it does not come out even. With more namespaces than values the last
// ones get an empty slice. Where the variable exists, its type stays; a new one
// gets the same slice type in each namespace, the one that fits T or all the
// values. Repeating a Scatter is harmless.
func Scatter[T any](ctx context.Context, v *View, key string, values []T) error {
	list := make([]json.RawMessage, len(values))
	for i, x := range values {
		j, err := json.Marshal(x)
		if err != nil {
			return fmt.Errorf("%w: value %d: %w", ErrInvalid, i, err)
		}
		list[i] = j
	}
	return v.scatter(ctx, key, list, cmp.Or(exampleFor(reflect.TypeFor[T]()), exampleOf(list)))
}

// ScatterJSON is Scatter of values that are JSON already.
func (v *View) ScatterJSON(ctx context.Context, key string, values []json.RawMessage) error {
	return v.scatter(ctx, key, values, exampleOf(values))
}

func (v *View) scatter(ctx context.Context, key string, values []json.RawMessage, example string) error {
	k := max(len(v.names), 1)
	size, longer := len(values)/k, len(values)%k
	return v.each(func(i int, n *Namespace) error {
		from := i*size + min(i, longer)
		to := from + size
		if i < longer {
			to++
		}
		// A run alone may suggest another type than the whole: [1] of [1, 2.5], or
		// none, []. So a new variable is given its type first.
		_, err := n.Variable(ctx, key)
		if errors.Is(err, ErrNotFound) {
			err = n.SetJSON(ctx, key, json.RawMessage(example))
		}
		if err != nil && !errors.Is(err, ErrLimit) { // too large to be read: it exists
			return err
		}
		return n.SetJSON(ctx, key, joined(values[from:to]))
	})
}

// joined is a JSON array of values.
func joined(values []json.RawMessage) json.RawMessage {
	var b bytes.Buffer
	b.WriteByte('[')
	for i, j := range values {
		if i > 0 {
			b.WriteByte(',')
		}
		b.Write(j)
	}
	b.WriteByte(']')
	return b.Bytes()
}

// JSON arrays from which a namespace makes a variable of each slice type that
// it makes of JSON at all.
const (
	exampleInts    = `[0]`
	exampleFloats  = `[0.5]`
	exampleStrings = `[""]`
	exampleBools   = `[false]`
	exampleAny     = `[0,""]`
)

// exampleFor is the example for values of a Go type, "" when their JSON must be
// looked at.
func exampleFor(t reflect.Type) string {
	if t.Implements(reflect.TypeFor[json.Marshaler]()) || t.Implements(reflect.TypeFor[encoding.TextMarshaler]()) || t == reflect.TypeFor[json.Number]() {
		return ""
	}
	switch k := t.Kind(); {
	case k == reflect.Bool:
		return exampleBools
	case k == reflect.String:
		return exampleStrings
	case k == reflect.Float32 || k == reflect.Float64:
		return exampleFloats
	case k >= reflect.Int && k <= reflect.Uint64:
		return exampleInts
	case k != reflect.Interface:
		return exampleAny
	}
	return ""
}

// exampleOf is the example for JSON values: of one kind, or of numbers, and any
// otherwise.
func exampleOf(values []json.RawMessage) string {
	kind := ""
	for _, j := range values {
		k := exampleAny
		switch c := append(bytes.TrimLeft(j, " \t\r\n"), 0)[0]; {
		case c == '"':
			k = exampleStrings
		case c == 't' || c == 'f':
			k = exampleBools
		case (c == '-' || '0' <= c && c <= '9') && bytes.ContainsAny(j, ".eE"):
			k = exampleFloats
		case c == '-' || '0' <= c && c <= '9':
			k = exampleInts
		}
		switch {
		case kind == "" || kind == k:
			kind = k
		case kind == exampleInts && k == exampleFloats || kind == exampleFloats && k == exampleInts:
			kind = exampleFloats
		default:
			return exampleAny
		}
	}
	return cmp.Or(kind, exampleAny)
}

// GatherJSON collects a sequence that is spread over the namespaces of a view:
// the elements of the variable of each, in the view's order. It returns all or
// an error, ErrInvalid where a variable is no sequence.
func (v *View) GatherJSON(ctx context.Context, key string) ([]json.RawMessage, error) {
	runs := make([][]json.RawMessage, len(v.names))
	err := v.each(func(i int, n *Namespace) error {
		x, err := n.Variable(ctx, key)
		if err != nil {
			return err
		}
		if err := json.Unmarshal(x.JSON, &runs[i]); err != nil {
			return fmt.Errorf("%w: %s is of type %s, no sequence", ErrInvalid, key, x.Type)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return slices.Concat(runs...), nil
}

// Gather is View.GatherJSON into Go values, as json.Unmarshal makes them.
func Gather[T any](ctx context.Context, v *View, key string) ([]T, error) {
	list, err := v.GatherJSON(ctx, key)
	if err != nil {
		return nil, err
	}
	out := make([]T, len(list))
	for i, j := range list {
		if err := json.Unmarshal(j, &out[i]); err != nil {
			return nil, fmt.Errorf("element %d of %s: %w", i, key, err)
		}
	}
	return out, nil
}
