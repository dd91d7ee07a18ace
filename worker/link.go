package worker

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"

	"farm/api"
)

// link keeps a stream to the leader until the last has been said, or ctx ends.
func (w *Worker) link(ctx context.Context) {
	delay := dialDelayMin
	for ctx.Err() == nil {
		began := time.Now()
		err := w.session(ctx)
		if time.Since(began) > dialDelayMax {
			delay = dialDelayMin
		}
		w.log.Debug("no stream to the leader", "error", err, "retry_in", delay)
		select {
		case <-ctx.Done():
		case <-w.closed:
			return
		case <-time.After(delay):
		}
		delay = min(2*delay, dialDelayMax)
	}
}

func (w *Worker) isClosing() bool {
	select {
	case <-w.closed:
		return true
	default:
		return false
	}
}

// session is the life of one stream. It returns why it ended.
func (w *Worker) session(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s, err := w.cfg.Dial(ctx)
	if err != nil {
		return err
	}
	hello := w.attach(cancel)
	var sending sync.WaitGroup
	defer func() {
		w.detach()
		cancel()
		sending.Wait()
	}()
	if err := s.Send(&api.FromWorker{Hello: hello}); err != nil {
		return err
	}
	beat := make(chan time.Duration, 1)
	sending.Go(func() {
		if !w.send(ctx, s, beat) {
			cancel()
		}
	})
	for {
		m, err := s.Recv()
		if err != nil {
			return err
		}
		for _, i := range m.Instructions {
			if wel := i.GetWelcome(); wel != nil {
				select {
				case beat <- time.Duration(wel.Beat):
				default:
				}
			}
		}
		if !w.obey(m) {
			return errRelink
		}
	}
}

// attach notes that there is a stream, and says what the worker holds.
func (w *Worker) attach(cancel context.CancelFunc) *api.Hello {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.relink = cancel
	h := &api.Hello{Worker: w.cfg.ID, Incarnation: w.cfg.Incarnation, Node: w.cfg.Node, Slots: uint32(w.cfg.Slots), Has: w.cfg.Has}
	for _, a := range w.attempts {
		a.said = false
		if a.state != gone {
			h.Holds = append(h.Holds, a.ref())
		}
		if a.state == running || a.state == reported {
			h.Began = append(h.Began, a.ref())
		}
	}
	return h
}

func (w *Worker) detach() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.relink = nil
	w.out.end()
	w.poke()
}

// resume opens the outbox for a stream whose leader is known to listen, and
// puts into it what the last one may not have heard. The lock is held.
func (w *Worker) resume() {
	w.out.begin()
	w.sayIsolation()
	var again []*attempt
	for _, a := range w.attempts {
		switch a.state {
		case reported:
			a.told = false
			again = append(again, a)
		case running:
			w.sayBegan(a)
		}
	}
	slices.SortFunc(again, func(a, b *attempt) int { return cmp.Compare(a.counter, b.counter) })
	for _, a := range again {
		if a.space == nil {
			w.out.report(a.report)
		} else {
			w.deliver(a.space)
		}
	}
}

// defaultBeat is how often something is sent before the leader says how often.
const defaultBeat = 200 * time.Millisecond

// send sends what the outbox has, and an empty message when it has had
// nothing for a beat. True: the last was sent, the leader is to end the stream.
func (w *Worker) send(ctx context.Context, s Stream, beat <-chan time.Duration) bool {
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
		case <-w.out.wake:
		}
		m, more := w.out.take()
		if err := s.Send(m); err != nil {
			w.log.Debug("sending to the leader", "error", err)
			return false
		}
		t.Reset(every)
		if !more && w.isClosing() && w.out.empty() {
			return s.CloseSend() == nil
		}
	}
}
