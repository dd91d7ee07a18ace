package worker

import (
	"slices"
	"sync"

	"google.golang.org/protobuf/proto"

	"farm/api"
)

const (
	batchBytes = 1 << 20 // bytes of reports and output after which a message is sent

	// outputQueue is how many bytes of output may wait for the stream. It is
	// dropped on top of that: attempts never wait for the leader.
	outputQueue = 1 << 20
	fixedCost   = 128 // bytes reckoned for the small parts of one element
)

// outbox collects what is to be sent. It is not bounded by itself: reports and
// returns are bounded by the attempts the leader assigned, and output and
// progress by the limits above.
type outbox struct {
	mu     sync.Mutex
	open   bool // there is a stream
	msg    *api.FromWorker
	more   []*api.Complete // reports that did not fit the message
	bytes  int
	output int
	wake   chan struct{} // holds a token while there is something to send
}

func newOutbox() *outbox {
	return &outbox{msg: &api.FromWorker{}, wake: make(chan struct{}, 1)}
}

// begin and end follow the life of a stream. What was not sent is dropped: it
// is in the worker's state and is collected anew for the next stream.
func (o *outbox) begin() { o.reset(true) }
func (o *outbox) end()   { o.reset(false) }

func (o *outbox) reset(open bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.open, o.msg, o.more, o.bytes, o.output = open, &api.FromWorker{}, nil, 0, 0
	select {
	case <-o.wake:
	default:
	}
}

// add lets put add to the message, if there is a stream.
func (o *outbox) add(put func(m *api.FromWorker)) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.open {
		put(o.msg)
		o.signal()
	}
}

func (o *outbox) signal() {
	select {
	case o.wake <- struct{}{}:
	default:
	}
}

// report adds the report of an attempt.
func (o *outbox) report(c *api.Complete) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.open {
		return
	}
	// That it began goes without saying.
	o.msg.Began = slices.DeleteFunc(o.msg.Began, func(r *api.AttemptRef) bool { return r.Attempt == c.Attempt && r.Task == c.Task })
	o.more = append(o.more, c)
	o.signal()
}

// outputs adds a piece of output, or drops it when too much waits.
func (o *outbox) outputs(task string, attempt uint32, stderr bool, data []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.open || o.output+len(data) > outputQueue {
		return
	}
	o.output += len(data) + fixedCost
	o.msg.Outputs = append(o.msg.Outputs, &api.Output{Task: task, Attempt: attempt, Stderr: stderr, Data: append([]byte(nil), data...)})
	o.signal()
}

// progress adds the progress of an attempt, in place of an older one.
func (o *outbox) progress(p *api.Progress) {
	o.add(func(m *api.FromWorker) {
		for _, q := range m.Progress {
			if q.Task == p.Task && q.Attempt == p.Attempt {
				q.Done, q.Total = p.Done, p.Total
				return
			}
		}
		m.Progress = append(m.Progress, p)
	})
}

// take returns the next message, and whether more is left.
func (o *outbox) take() (m *api.FromWorker, more bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	m = o.msg
	o.msg, o.output = &api.FromWorker{}, 0
	n, size := 0, 0
	for n < len(o.more) && size < batchBytes {
		size += reportSize(o.more[n])
		n++
	}
	m.Completes = o.more[:n:n]
	o.more = o.more[n:]
	if len(o.more) == 0 {
		o.more = nil
		return m, false
	}
	o.signal()
	return m, true
}

// reportSize is about what a report takes in a message.
func reportSize(c *api.Complete) int {
	n := fixedCost
	for _, it := range c.Put {
		n += len(it.Key) + len(it.Value) + 8
	}
	for _, k := range c.Delete {
		n += len(k) + 4
	}
	for _, s := range c.Submits {
		n += proto.Size(s) + 4
	}
	return n + outcomeSize(c.Outcome)
}

func outcomeSize(out *api.Outcome) int {
	if out == nil {
		return 0
	}
	n := fixedCost + len(out.Value) + len(out.Type) + len(out.Stdout) + len(out.Stderr)
	for _, r := range out.Results {
		n += len(r) + 4
	}
	if e := out.Error; e != nil {
		n += len(e.Message) + len(e.Kind)
		for _, s := range e.Stack {
			n += len(s) + 4
		}
	}
	return n
}

// signalLast has whatever there is sent now, if only an empty message.
func (o *outbox) signalLast() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.signal()
}

// empty tells whether nothing waits to be sent.
func (o *outbox) empty() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.more) == 0 && len(o.wake) == 0
}
