package chaos

import (
	"encoding/json"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// What became of a call.
const (
	answered  = "answered"  // with a result
	failed    = "failed"    // the task ended without success
	submitted = "submitted" // the task is acknowledged, its end is not
	refused   = "refused"   // the call was not carried out, for certain
	unknown   = "unknown"   // nobody answered in time: it may have been carried out, or may be yet
)

// Op is one call of a client.
type Op struct {
	N         int           `json:"n"`
	Client    int           `json:"client"`
	Kind      string        `json:"kind"`
	Namespace string        `json:"namespace,omitempty"`
	Task      string        `json:"task,omitempty"` // id, made by the client
	Arg       int           `json:"arg,omitempty"`
	Expected  int           `json:"expected,omitempty"` // of a swap
	To        string        `json:"to,omitempty"`       // of a payment: the other namespace
	Call      time.Duration `json:"call"`               // since the run began
	Return    time.Duration `json:"return,omitempty"`
	Outcome   string        `json:"outcome,omitempty"`
	Value     int           `json:"value,omitempty"`
	Failure   string        `json:"failure,omitempty"` // kind of the task's failure
	Attempt   int           `json:"attempt,omitempty"`
	Error     string        `json:"error,omitempty"`
}

// acked tells that farm has acknowledged the call, whatever the result.
func (o *Op) acked() bool {
	return o.Outcome == answered || o.Outcome == failed || o.Outcome == submitted
}

// ended tells that the caller knows how its task ended.
func (o *Op) ended() bool { return o.acked() && o.Outcome != submitted && o.Kind != opAppend }

// history is every call of a run, in a file line by line: before it is made, and
// after it was answered.
type history struct {
	begun time.Time
	file  *os.File

	mu      sync.Mutex
	ops     []*Op
	err     error
	lastAck time.Duration
	longest time.Duration // between two acknowledgements
	acks    atomic.Int64
	waiters []*firstAck
}

// firstAck is told when a call that was made after a moment has been acknowledged.
type firstAck struct {
	after time.Duration
	at    chan time.Duration
}

func newHistory(path string) (*history, error) {
	f, err := os.Create(path)
	return &history{begun: time.Now(), file: f}, err
}

func (h *history) now() time.Duration { return time.Since(h.begun) }

func (h *history) call(o *Op) *Op {
	h.mu.Lock()
	defer h.mu.Unlock()
	o.N = len(h.ops)
	o.Call = h.now()
	h.ops = append(h.ops, o)
	h.write(o)
	return o
}

func (h *history) answer(o *Op, fill func(*Op)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	fill(o)
	o.Return = h.now()
	h.write(o)
	if !o.acked() {
		return
	}
	h.acks.Add(1)
	h.longest = max(h.longest, o.Return-h.lastAck)
	h.lastAck = o.Return
	h.waiters = slices.DeleteFunc(h.waiters, func(w *firstAck) bool {
		if o.Call < w.after || o.Kind == opRead {
			return false
		}
		w.at <- o.Return - w.after
		return true
	})
}

func (h *history) write(o *Op) {
	b, err := json.Marshal(o)
	if err == nil {
		_, err = h.file.Write(append(b, '\n'))
	}
	if err != nil && h.err == nil {
		h.err = err
	}
}

// next returns a channel that gets how long it took until a write that was called
// from now on was acknowledged.
func (h *history) next() <-chan time.Duration {
	h.mu.Lock()
	defer h.mu.Unlock()
	w := &firstAck{after: h.now(), at: make(chan time.Duration, 1)}
	h.waiters = append(h.waiters, w)
	return w.at
}

// quiet says that nothing is to be expected for a while: what passes until the next
// acknowledgement is no gap.
func (h *history) quiet() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.lastAck = h.now()
}

func (h *history) all() []*Op {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.ops)
}

func (h *history) close() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if err := h.file.Close(); h.err == nil {
		h.err = err
	}
	return h.err
}
