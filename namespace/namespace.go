package namespace

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
)

// Items is the durable form of a namespace; see the package documentation for keys and values. The
// values are shared freely and must not be changed in place.
type Items map[string][]byte

// Clone gives a copy that shares the values.
func (it Items) Clone() Items {
	if it == nil {
		return Items{}
	}
	return maps.Clone(it)
}

// Delta is a change of a namespace: items set and items removed.
type Delta struct {
	Put    map[string][]byte
	Delete []string // sorted, disjoint from Put
}

// Empty says that applying the delta changes nothing.
func (d Delta) Empty() bool { return len(d.Put) == 0 && len(d.Delete) == 0 }

// Size is the number of bytes of keys and values in the delta.
func (d Delta) Size() int {
	n := 0
	for k, v := range d.Put {
		n += len(k) + len(v)
	}
	for _, k := range d.Delete {
		n += len(k)
	}
	return n
}

// Apply changes items by the delta.
func (d Delta) Apply(items Items) {
	for _, k := range d.Delete {
		delete(items, k)
	}
	maps.Copy(items, d.Put)
}

// Diff gives the delta that turns from into to.
func Diff(from, to Items) Delta {
	var d Delta
	for k, v := range to {
		if old, ok := from[k]; !ok || !bytes.Equal(old, v) {
			d.put(k, v)
		}
	}
	for k := range from {
		if _, ok := to[k]; !ok {
			d.Delete = append(d.Delete, k)
		}
	}
	slices.Sort(d.Delete)
	return d
}

func (d *Delta) put(k string, v []byte) {
	if d.Put == nil {
		d.Put = map[string][]byte{}
	}
	d.Put[k] = v
}

// Default limits of a namespace and of one cell.
const (
	DefaultMaxSource    = 256 << 10 // bytes of source of one cell
	DefaultMaxVariables = 10_000    // variables of a namespace
	DefaultMaxDecls     = 2_000     // declarations of a namespace
	DefaultMaxValue     = 64 << 20  // encoded bytes of one unit of variables
	DefaultMaxDelta     = 256 << 20 // encoded bytes of one delta
	DefaultMaxResult    = 64 << 10  // bytes of a result, encoded or as JSON
	DefaultMaxInputs    = 100_000   // inputs of one call
)

// Limits cannot be set beyond these.
const (
	MaxValueBytes = 256 << 20 // encoded bytes of one unit of variables
	MaxDeltaBytes = 256 << 20 // encoded bytes of one delta
)

// Limits bounds what a cell may bring into a namespace. A zero field means the default.
type Limits struct {
	Source    int // bytes of source of one cell
	Variables int // variables of a namespace
	Decls     int // declarations of a namespace
	Value     int // encoded bytes of one unit of variables
	Delta     int // encoded bytes of one delta
	Result    int // bytes of a result, encoded or as JSON
	Inputs    int // inputs of one call
}

// WithDefaults fills the zero fields.
func (l Limits) WithDefaults() Limits {
	def := func(p *int, d int) {
		if *p <= 0 {
			*p = d
		}
	}
	def(&l.Source, DefaultMaxSource)
	def(&l.Variables, DefaultMaxVariables)
	def(&l.Decls, DefaultMaxDecls)
	def(&l.Value, DefaultMaxValue)
	def(&l.Delta, DefaultMaxDelta)
	def(&l.Result, DefaultMaxResult)
	def(&l.Inputs, DefaultMaxInputs)
	l.Value, l.Delta = min(l.Value, MaxValueBytes), min(l.Delta, MaxDeltaBytes)
	return l
}

// TaskInfo is what a cell can ask about the task it runs for (package "farm" inside the cell).
type TaskInfo struct {
	ID        string            `json:"id"`
	Namespace string            `json:"namespace,omitempty"` // empty in a private namespace
	Attempt   int               `json:"attempt"`             // 1 for the first
	Job       string            `json:"job,omitempty"`       // it belongs to
	Args      map[string]string `json:"args,omitempty"`
	Files     map[string][]byte `json:"files,omitempty"` // by name; not changed by the code
}

// Run is one thing to run in a context.
type Run struct {
	Task TaskInfo `json:"task"`
	// Source is a cell.
	Source string `json:"source,omitempty"`
	// Call, when set, names a function of the namespace or of Source. Source is run first, then the
	// function once per input.
	Call string `json:"call,omitempty"`
	// Inputs are the arguments of the calls, one JSON value each: of the type of the single parameter,
	// or an array with one element per parameter when there are several; ignored (but counted) when the
	// function has none. No inputs and a function without parameters: one call.
	Inputs []json.RawMessage `json:"inputs,omitempty"`
	// Engine is the engine to run it, "" for that of the namespace. One that is not that of a namespace
	// with items fails the run with *EngineError.
	Engine string `json:"engine,omitempty"`
	// Discard leaves the namespace as it was, whatever the code did to it.
	Discard bool `json:"discard,omitempty"`
}

// Result is what a run that succeeded gives.
type Result struct {
	// Value is the value of the cell's last expression as encoded by package value, nil if it has none
	// or one that cannot be encoded (a function, a channel).
	Value []byte `json:"value,omitempty"`
	// JSON is the readable form of Value.
	JSON json.RawMessage `json:"json,omitempty"`
	// Type is the static type of the last expression, "(int, error)" for several values, empty for none.
	Type string `json:"type,omitempty"`
	// Delta is the change of the namespace, already made in the context.
	Delta Delta `json:"delta"`
	// Results has one entry per input of a Call.
	Results []CallResult `json:"results,omitempty"`
	// Submissions are the tasks that the code has asked for, in that order. They take effect together
	// with Delta, in one step, or not at all: that is up to the caller.
	Submissions []Submission `json:"submissions,omitempty"`
}

// CallResult is the outcome of one call. With Run.Discard a call that fails does not stop the others:
// Error says why. Without it the first failure fails the run.
type CallResult struct {
	JSON  json.RawMessage `json:"json,omitempty"`
	Error string          `json:"error,omitempty"`
}
