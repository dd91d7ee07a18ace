package tasks

import (
	"bytes"
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/protobuf/proto"

	"farm/api"
	"farm/internal/ask"
	"farm/internal/attach"
)

// Attempt is what a handler knows of the attempt it runs for. It is safe for
// concurrent use.
type Attempt struct {
	Task    string            // id of the task
	Number  int               // of the attempt, from 1: it grows with each try of the task
	Job     string            // the task belongs to, or empty
	Handler string            // that was called
	Args    map[string]string // of the task

	live *liveAttempt // nil outside of a worker
}

type attemptContext struct{}

// FromContext returns the attempt that a handler's context belongs to. Outside of
// a worker, as when a test calls a handler by itself, it is empty and drops what
// it is told; it is never nil.
func FromContext(ctx context.Context) *Attempt {
	if a, ok := ctx.Value(attemptContext{}).(*Attempt); ok {
		return a
	}
	return &Attempt{}
}

// Limits of what a handler says of itself.
const (
	maxKeptOutput   = 64 << 10 // bytes kept of what an attempt prints
	maxProgressText = 256      // bytes of a progress's message
	// maxPiece is how many bytes of output go in one message to those who watch.
	maxPiece = 16 << 10
)

// liveAttempt is the attempt's way to the worker.
type liveAttempt struct {
	attempt Attempt // whose live this is
	out     *attach.Outbox
	alive   atomic.Int64 // when it last gave a sign of life, unix nanoseconds

	mu       sync.Mutex
	kept     bytes.Buffer // what it printed, up to maxKeptOutput
	cut      bool
	progress *api.Progress // not told yet; nil: none
	submits  []*api.Submit // what it asks for
	size     int           // bytes of them
	over     bool          // it is reported
}

// newAttempt is what the handler of an attempt that begins knows of it.
func newAttempt(a *run, out *attach.Outbox) *Attempt {
	l := &liveAttempt{out: out}
	l.alive.Store(a.began.UnixNano())
	l.attempt = Attempt{Task: a.task, Number: int(a.attemptKey.attempt), Job: a.assign.Job, Handler: a.work.GetHandler(), Args: a.work.GetArgs(), live: l}
	return &l.attempt
}

// Submit asks for a task and returns its id. It is submitted when the handler returns
// without an error and the farm takes that in, in the same step as its result, and not
// at all otherwise: once, however often the handler had to be called. A task without an
// ID gets one of its own, this task's, a '/' and a number, which is the same in every
// attempt that submits in the same order. It may run After others that the same attempt
// has submitted. Of a job, it is of that which this task belongs to.
//
// What only the farm can tell, as that there is no task to run after, or that a queue is
// full, fails this task then, with the reason. Up to 500 tasks of 1 MiB together can be
// submitted. Errors: ErrInvalid, ErrLimit, and ErrClosed when the attempt is over, or
// the attempt is none of a worker.
func (a *Attempt) Submit(t Task) (id string, err error) {
	l := a.live
	if l == nil {
		return "", fmt.Errorf("submit: %w: this is no attempt of a worker", ErrClosed)
	}
	a.Beat()
	l.mu.Lock()
	defer l.mu.Unlock()
	derived := t.ID == ""
	if derived {
		t.ID = ask.ID(a.Task, len(l.submits)+1)
	}
	m, err := t.submit(false)
	if err != nil {
		return "", fmt.Errorf("submit %s: %w", t.ID, err)
	}
	size := proto.Size(m)
	switch {
	case l.over:
		return "", fmt.Errorf("submit %s: %w: the attempt is over", t.ID, ErrClosed)
	case !derived && !validName(t.ID):
		return "", fmt.Errorf("submit: %w: %q cannot be the id of a task", ErrInvalid, t.ID)
	case t.Job != "" && t.Job != a.Job:
		return "", fmt.Errorf("submit %s: %w: its job %s is not that of the task that submits it", t.ID, ErrInvalid, t.Job)
	case len(l.submits) == ask.MaxSubmissions:
		return "", fmt.Errorf("submit %s: %w: a task can submit %d", t.ID, ErrLimit, ask.MaxSubmissions)
	case l.size+size > ask.MaxSubmissionBytes:
		return "", fmt.Errorf("submit %s: %w: what a task submits can have %d bytes", t.ID, ErrLimit, ask.MaxSubmissionBytes)
	}
	l.submits = append(l.submits, m)
	l.size += size
	return t.ID, nil
}

// takeSubmits is what was submitted; nothing can be from then on.
func (l *liveAttempt) takeSubmits() []*api.Submit {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.over = true
	return l.submits
}

// Log prints a line to the output of the task, which whoever watches it sees at
// once, and which is kept with it, up to 64 KiB, when the attempt ends. The format
// is that of fmt.Printf.
func (a *Attempt) Log(format string, args ...any) {
	if a.live != nil {
		_, _ = a.Write(fmt.Appendf(nil, format+"\n", args...))
	}
}

// Write prints to the output of the task, as Log does. It never fails.
func (a *Attempt) Write(p []byte) (int, error) {
	l := a.live
	if l == nil {
		return len(p), nil
	}
	a.Beat()
	l.mu.Lock()
	room := maxKeptOutput - l.kept.Len()
	l.kept.Write(p[:min(room, len(p))])
	l.cut = l.cut || len(p) > room
	l.mu.Unlock()
	for rest := p; len(rest) > 0; {
		n := min(len(rest), maxPiece)
		l.out.Output(a.Task, uint32(a.Number), false, rest[:n])
		rest = rest[n:]
	}
	return len(p), nil
}

// Progress says how far the attempt is, and what it is at, to whoever watches the
// task or asks for it. It can be called as often as is convenient.
func (a *Attempt) Progress(done, total int64, message string) {
	if a.live == nil {
		return
	}
	a.Beat()
	if len(message) > maxProgressText {
		message = message[:maxProgressText]
	}
	a.live.mu.Lock()
	defer a.live.mu.Unlock()
	a.live.progress = &api.Progress{Task: a.Task, Attempt: uint32(a.Number), Done: done, Total: total, Message: string(bytes.ToValidUTF8([]byte(message), nil))}
}

// Beat is a sign of life: see StuckAfter.
func (a *Attempt) Beat() {
	if a.live != nil {
		a.live.alive.Store(time.Now().UnixNano())
	}
}

// takeProgress is what was not told yet.
func (l *liveAttempt) takeProgress() *api.Progress {
	l.mu.Lock()
	defer l.mu.Unlock()
	p := l.progress
	l.progress = nil
	return p
}
