package attach

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"farm/api"
)

// Stream is one conversation with the leader. Send and Recv are called from
// one goroutine each. After an error of either, or when the context given to
// the Dialer ends, both must return soon.
type Stream interface {
	Send(*api.FromWorker) error
	Recv() (*api.ToWorker, error)
	CloseSend() error
}

// Dialer opens a stream to the node that leads. It is called again after each
// break, with a growing delay. The stream lives no longer than ctx.
type Dialer func(ctx context.Context) (Stream, error)

// Worker is what a Link is the way to. Its methods are called by one goroutine
// at a time.
type Worker interface {
	// Attached begins a stream: what it returns is said first. Outbox.Hello is to
	// be called with it. cut ends the stream.
	Attached(cut context.CancelFunc) *api.Hello
	// Obey carries out one message, all of it before anything new begins. With a
	// Welcome in it the leader listens: Outbox.Begin is to be called then. False:
	// the stream must be made anew.
	Obey(*api.ToWorker) bool
	// Detached ends a stream. Outbox.End is to be called then.
	Detached()
}

// Errors that end a stream from this side.
var (
	errAnew   = errors.New("attach: the worker wants another stream")
	errSilent = errors.New("attach: nothing is heard of the leader")
)

// Delays between attempts to reach the leader.
const (
	dialDelayMin = 50 * time.Millisecond
	dialDelayMax = time.Second
)

// defaultBeat is how often something is sent before the leader says how often.
const defaultBeat = 200 * time.Millisecond

// helloTimeout is how long a leader that was promised to answer beats may take
// for its first answer.
const helloTimeout = 10 * time.Second

// Link keeps a stream between a worker and the leader. Use New.
type Link struct {
	Dial   Dialer
	Worker Worker
	Out    *Outbox
	Log    *slog.Logger
	// Echo says that the Hello asks for an answer to beats: a stream on which
	// nothing comes for the time of the lease is then given up.
	Echo bool
	// Fatal tells errors after which no other stream is to be tried; nil: none.
	Fatal func(error) bool

	closed chan struct{}
}

// New returns a link that does nothing before Run.
func New(dial Dialer, w Worker, out *Outbox, log *slog.Logger) *Link {
	return &Link{Dial: dial, Worker: w, Out: out, Log: log, closed: make(chan struct{})}
}

// Close lets Run return when what the outbox holds has been sent, or when there
// is no stream to send it on. It is to be called once.
func (l *Link) Close() {
	close(l.closed)
	l.Out.signalLast()
}

// Run keeps a stream until the last has been said after Close, or ctx ends:
// then the result is nil. A fatal error is returned.
func (l *Link) Run(ctx context.Context) error {
	delay := dialDelayMin
	for ctx.Err() == nil {
		began := time.Now()
		err := l.session(ctx)
		if l.Fatal != nil && err != nil && l.Fatal(err) {
			return err
		}
		if time.Since(began) > dialDelayMax {
			delay = dialDelayMin
		}
		l.Log.Debug("no stream to the leader", "error", err, "retry_in", delay)
		select {
		case <-ctx.Done():
		case <-l.closed:
			return nil
		case <-time.After(delay):
		}
		delay = min(2*delay, dialDelayMax)
	}
	return nil
}

func (l *Link) isClosing() bool {
	select {
	case <-l.closed:
		return true
	default:
		return false
	}
}

// session is the life of one stream. It returns why it ended.
func (l *Link) session(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	s, err := l.Dial(ctx)
	if err != nil {
		return err
	}
	hello := l.Worker.Attached(func() { cancel(nil) })
	var sending sync.WaitGroup
	defer func() {
		l.Worker.Detached()
		cancel(nil)
		sending.Wait()
	}()
	silence := l.watch(cancel)
	defer silence.Stop()
	if err := s.Send(&api.FromWorker{Hello: hello}); err != nil {
		_, err = s.Recv() // says why
		return err
	}
	beat := make(chan time.Duration, 1)
	sending.Go(func() {
		if !l.send(ctx, s, beat) {
			cancel(nil)
		}
	})
	lease := helloTimeout
	for {
		m, err := s.Recv()
		if errors.Is(context.Cause(ctx), errSilent) {
			return errSilent
		}
		if err != nil {
			return err
		}
		if wel := welcome(m); wel != nil {
			select {
			case beat <- time.Duration(wel.Beat):
			default:
			}
			lease = time.Duration(wel.Lease)
		}
		if l.Echo {
			silence.Reset(lease)
		}
		if !l.Worker.Obey(m) {
			return errAnew
		}
	}
}

// watch is the timer that gives a silent stream up.
func (l *Link) watch(cancel context.CancelCauseFunc) *time.Timer {
	t := time.AfterFunc(helloTimeout, func() { cancel(errSilent) })
	if !l.Echo {
		t.Stop()
	}
	return t
}

func welcome(m *api.ToWorker) *api.Welcome {
	for _, i := range m.Instructions {
		if w := i.GetWelcome(); w != nil {
			return w
		}
	}
	return nil
}

// send sends what the outbox has, and an empty message when it has had
// nothing for a beat. True: the last was sent, the leader is to end the stream.
func (l *Link) send(ctx context.Context, s Stream, beat <-chan time.Duration) bool {
	every := defaultBeat
	t := time.NewTimer(every)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return false
		case d := <-beat:
			if d > 0 {
				every = d
			}
			t.Reset(every)
			continue
		case <-t.C:
		case <-l.Out.wake:
		}
		m, more := l.Out.take()
		if err := s.Send(m); err != nil {
			l.Log.Debug("sending to the leader", "error", err)
			return false
		}
		t.Reset(every)
		if !more && l.isClosing() && l.Out.empty() {
			return s.CloseSend() == nil
		}
	}
}
