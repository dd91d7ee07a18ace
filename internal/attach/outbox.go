package attach

import (
	"slices"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	"farm/api"
)

const (
	batchBytes = 1 << 20 // bytes of reports and output after which a message is sent

	// outputQueue is how many bytes of output may wait for the stream. It is
	// dropped on top of that: attempts never wait for the leader.
	outputQueue = 1 << 20
	fixedCost   = 128              // bytes reckoned for the small parts of one element
	linger      = time.Millisecond // how long what is not urgent waits for more
)

// Outbox collects what is to be sent. It is not bounded by itself: reports and
// returns are bounded by the attempts the leader assigned, and output and
// progress by the limits above. Hello, Begin and End follow the life of a stream:
// what was not sent is dropped, since the worker knows it and says it anew on the
// next one. It is safe for concurrent use.
type Outbox struct {
	mu     sync.Mutex
	open   bool // there is a stream
	hello  bool // there is to be one: a Hello is under way
	msg    *api.FromWorker
	more   []*api.Complete // reports that did not fit the message
	output int
	wake   chan struct{} // holds a token while there is something to send
	idle   bool          // something waits that is not urgent
	timer  *time.Timer   // of which set says that it runs
	set    bool
}

// NewOutbox returns one that is closed: what is put into it is dropped.
func NewOutbox() *Outbox {
	return &Outbox{msg: &api.FromWorker{}, wake: make(chan struct{}, 1)}
}

// Hello is to be called when what the Hello says is collected, before anything of that can
// change.
func (o *Outbox) Hello() {
	o.reset()
	o.mu.Lock()
	defer o.mu.Unlock()
	o.hello = true
}

// Begin opens the outbox, when the leader has heard the Hello. What was amended since is
// sent first.
func (o *Outbox) Begin() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.open, o.hello = true, false
	if len(o.msg.Returns) > 0 || len(o.msg.Forgot) > 0 {
		o.signal()
	}
}

// End closes the outbox until the next stream.
func (o *Outbox) End() { o.reset() }

func (o *Outbox) reset() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.open, o.hello, o.msg, o.more, o.output, o.idle = false, false, &api.FromWorker{}, nil, 0, false
	select {
	case <-o.wake:
	default:
	}
}

// Add lets put add to the message, if there is a stream.
func (o *Outbox) Add(put func(m *api.FromWorker)) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.open {
		put(o.msg)
		o.signal()
	}
}

// Return gives an attempt back. It also amends a Hello that is under way and says
// otherwise: a leader that never heard of it would wait for the attempt for ever.
func (o *Outbox) Return(a *api.AttemptRef) {
	o.amend(func(m *api.FromWorker) { m.Returns = append(m.Returns, a) })
}

// Forgot says that a namespace is not held any more; it amends a Hello as Return does.
func (o *Outbox) Forgot(namespace string) {
	o.amend(func(m *api.FromWorker) { m.Forgot = append(m.Forgot, namespace) })
}

func (o *Outbox) amend(put func(m *api.FromWorker)) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.open || o.hello {
		put(o.msg)
	}
	if o.open {
		o.signal()
	}
}

func (o *Outbox) signal() {
	select {
	case o.wake <- struct{}{}:
	default:
	}
}

// signalSoon has what there is sent after a while, if nothing else has by then. The timer
// is left to run when something has: setting it costs more than letting it go off now and
// then, each time it is the next to go off in the process.
func (o *Outbox) signalSoon() {
	o.idle = true
	switch {
	case o.set:
		return
	case o.timer == nil:
		o.timer = time.AfterFunc(linger, o.lingered)
	default:
		o.timer.Reset(linger)
	}
	o.set = true
}

func (o *Outbox) lingered() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.set = false
	if o.idle {
		o.signal()
	}
}

// Began says that an attempt runs, if there is a stream. It is not urgent: of most
// attempts the end comes before it was sent, and then it is left out.
func (o *Outbox) Began(a *api.AttemptRef) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.open {
		o.msg.Began = append(o.msg.Began, a)
		o.signalSoon()
	}
}

// Report adds the report of an attempt.
func (o *Outbox) Report(c *api.Complete) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.open {
		o.more = append(o.more, c)
		o.signal()
	}
}

// ReportSoon is Report where nobody is idle before the leader answers: one message, and
// one turn of the goroutine that sends it, is enough for what comes within the while.
func (o *Outbox) ReportSoon(c *api.Complete) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.open {
		o.more = append(o.more, c)
		o.signalSoon()
	}
}

// Output adds a piece of output, or drops it when too much waits.
func (o *Outbox) Output(task string, attempt uint32, stderr bool, data []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.open || o.output+len(data) > outputQueue {
		return
	}
	o.output += len(data) + fixedCost
	o.msg.Outputs = append(o.msg.Outputs, &api.Output{Task: task, Attempt: attempt, Stderr: stderr, Data: append([]byte(nil), data...)})
	o.signal()
}

// Progress adds the progress of an attempt, in place of an older one.
func (o *Outbox) Progress(p *api.Progress) {
	o.Add(func(m *api.FromWorker) {
		for _, q := range m.Progress {
			if q.Task == p.Task && q.Attempt == p.Attempt {
				q.Done, q.Total, q.Message = p.Done, p.Total, p.Message
				return
			}
		}
		m.Progress = append(m.Progress, p)
	})
}

// take returns the next message, and whether more is left.
func (o *Outbox) take() (m *api.FromWorker, more bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	m = o.msg
	o.msg, o.output, o.idle = &api.FromWorker{}, 0, false
	o.leaveOut(m)
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

// leaveOut takes from a message that attempts began of which it is known how they
// ended: that they began goes without saying.
func (o *Outbox) leaveOut(m *api.FromWorker) {
	if len(m.Began) == 0 || len(o.more) == 0 {
		return
	}
	type key struct {
		task    string
		attempt uint32
	}
	over := make(map[key]bool, len(o.more))
	for _, c := range o.more {
		over[key{c.Task, c.Attempt}] = true
	}
	m.Began = slices.DeleteFunc(m.Began, func(r *api.AttemptRef) bool { return over[key{r.Task, r.Attempt}] })
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
	return n + OutcomeSize(c.Outcome)
}

// OutcomeSize is about what an outcome takes in a message.
func OutcomeSize(out *api.Outcome) int {
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
func (o *Outbox) signalLast() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.signal()
}

// empty tells whether nothing waits to be sent.
func (o *Outbox) empty() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.more) == 0 && len(o.wake) == 0
}
