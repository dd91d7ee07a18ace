package tasks

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"farm/api"
)

// Event is something that happened to a task. One field is set.
type Event struct {
	State    State // it is in this state now
	Output   *Output
	Progress *Progress
	Task     *Info // the finished task; the last event
}

// Output is a piece of what an attempt printed.
type Output struct {
	Attempt int
	Stderr  bool
	Data    []byte
}

// Progress is how far an attempt says it is.
type Progress struct {
	Attempt     int
	Done, Total int64
	Message     string
}

func newProgress(p *api.Progress) *Progress {
	return &Progress{Attempt: int(p.Attempt), Done: p.Done, Total: p.Total, Message: p.Message}
}

// Watch tells what happens to a task from now on, until its end: the last
// event carries the finished task, whether it succeeded or not. Watching goes
// on at another node when a connection breaks; output of the moments between
// may not be seen here, but is in the finished task. What was seen is not
// repeated. An error is the last thing the sequence yields.
func (c *Client) Watch(ctx context.Context, id string) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		w := watch{c: c.conn, id: id, heard: time.Now(), seen: map[printed][]byte{}}
		for try := 0; ; try++ {
			before := w.heard
			err := w.stream(ctx, func(e Event) bool { return yield(e, nil) })
			if err == nil {
				return
			}
			if w.heard != before {
				try = 0
			}
			if final := w.giveUp(ctx, err); final != nil {
				yield(Event{}, fmt.Errorf("watch %s: %w", id, final))
				return
			}
			c.conn.pause(ctx, backoffFor(try))
		}
	}
}

// watch is a Watch over several streams.
type watch struct {
	c     *conn
	id    string
	state State // told last
	heard time.Time
	seen  map[printed][]byte // the beginning of what was told, up to maxSeen
	at    map[printed]int    // how much of seen this stream has repeated; -1: it began elsewhere
}

// printed names one thing an attempt writes.
type printed struct {
	attempt uint32
	stderr  bool
}

// maxSeen is how many bytes of output are remembered to recognise a repetition:
// as much as a node repeats.
const maxSeen = 64 << 10

// stream watches over one stream. It returns nil when the consumer has had
// enough or everything there is.
func (w *watch) stream(ctx context.Context, tell func(Event) bool) error {
	s, err := w.c.current(ctx)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	in, err := api.NewFarmClient(s.client).Watch(w.c.meaning(ctx), &api.WatchRequest{Id: w.id})
	if err != nil {
		return err
	}
	w.at = map[printed]int{}
	for {
		m, err := in.Recv()
		if errors.Is(err, io.EOF) {
			return io.ErrUnexpectedEOF // before the last event
		}
		if err != nil {
			return err
		}
		w.heard = time.Now()
		e, ok := w.event(m)
		if !ok {
			continue
		}
		if !tell(e) || e.Task != nil {
			return nil
		}
	}
}

func (w *watch) event(m *api.Event) (e Event, ok bool) {
	switch m := m.Event.(type) {
	case *api.Event_State:
		// Each stream begins with the state there is.
		if State(m.State) == w.state {
			return e, false
		}
		w.state = State(m.State)
		e.State = w.state
	case *api.Event_Output:
		data := w.fresh(printed{m.Output.Attempt, m.Output.Stderr}, m.Output.Data)
		if len(data) == 0 {
			return e, false
		}
		e.Output = &Output{Attempt: int(m.Output.Attempt), Stderr: m.Output.Stderr, Data: data}
	case *api.Event_Progress:
		e.Progress = newProgress(m.Progress)
	case *api.Event_Task:
		e.Task = newInfo(m.Task)
	default:
		return e, false // of a newer version
	}
	return e, true
}

// fresh returns the part of data that was not told yet. A node begins a stream
// with what it has of the attempt's output; after a change of leader that may be
// all of it, or nothing.
func (w *watch) fresh(p printed, data []byte) []byte {
	seen, at := w.seen[p], w.at[p]
	if n := min(len(seen)-at, len(data)); at >= 0 && n > 0 {
		if bytes.Equal(seen[at:at+n], data[:n]) {
			w.at[p] = at + n
			data = data[n:]
		} else {
			w.at[p] = -1
		}
	}
	if room := maxSeen - len(seen); room > 0 && len(data) > 0 {
		w.seen[p] = append(seen, data[:min(room, len(data))]...)
		if w.at[p] >= 0 {
			w.at[p] = len(w.seen[p])
		}
	}
	return data
}

// giveUp returns the error to end with, or nil when another stream may do better.
func (w *watch) giveUp(ctx context.Context, err error) error {
	switch {
	case ctx.Err() != nil:
		return contextError(ctx)
	case errors.Is(err, ErrClosed), errors.Is(err, ErrUnavailable):
		return err
	case status.Code(err) == codes.NotFound:
		return fmt.Errorf("%w: %s", ErrNotFound, status.Convert(err).Message())
	case status.Code(err) == codes.InvalidArgument:
		return fmt.Errorf("%w: %s", ErrInvalid, status.Convert(err).Message())
	case time.Since(w.heard) > w.c.timeout:
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return nil
}
