package replica

import (
	"context"
	"errors"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"farm/api"
	"farm/scheduler"
)

// helloTime is how long a worker that connects may take to say who it is, and
// the log to take it in.
const helloTime = 5 * time.Second

// Attach implements api.WorkersServer: one worker's stream, from its Hello to
// its end. Only the node that leads takes it.
func (n *Node) Attach(g api.Workers_AttachServer) error {
	if !n.leads() {
		addr := n.leaderAPI()
		g.SetTrailer(metadata.Pairs(api.LeaderKey, addr))
		return status.Errorf(codes.FailedPrecondition, "node %s does not lead; the leader is at %s", n.id, addr)
	}
	ctx, cancel := context.WithCancelCause(g.Context())
	defer cancel(nil)
	hello, err := receiveHello(ctx, g)
	if err != nil {
		return err
	}
	if err := n.admitWorker(ctx, hello); err != nil {
		return err
	}
	x, err := n.dispatch.open(hello, cancel)
	if err != nil {
		return status.Error(codes.FailedPrecondition, err.Error())
	}
	received := make(chan error, 1)
	go func() { received <- x.receive(g) }() // ends with the stream
	err = x.write(ctx, g, received, hello.Echo)
	n.dispatch.broke(x)
	if cause := context.Cause(ctx); cause != nil && g.Context().Err() == nil {
		return status.Error(codes.FailedPrecondition, cause.Error())
	}
	return err
}

func receiveHello(ctx context.Context, g api.Workers_AttachServer) (*api.Hello, error) {
	type first struct {
		m   *api.FromWorker
		err error
	}
	got := make(chan first, 1)
	go func() {
		m, err := g.Recv()
		got <- first{m, err}
	}()
	select {
	case f := <-got:
		if f.err != nil {
			return nil, f.err
		}
		if f.m.Hello == nil || !scheduler.ValidName(f.m.Hello.Worker) {
			return nil, status.Error(codes.InvalidArgument, "a worker's first message says who it is")
		}
		return f.m.Hello, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-time.After(helloTime):
		return nil, status.Error(codes.DeadlineExceeded, "the worker did not say who it is")
	}
}

// admitWorker puts the worker into the state. An older incarnation that this
// node knows is given up first, with just blame.
func (n *Node) admitWorker(ctx context.Context, h *api.Hello) error {
	if c := n.dispatch.replace(h); c != nil {
		if _, err := n.proposeWait(ctx, c); err != nil {
			return status.Error(codes.Unavailable, err.Error())
		}
	}
	r, err := n.proposeWait(ctx, &scheduler.WorkerUp{Worker: h.Worker, Incarnation: h.Incarnation, Node: h.Node, Slots: h.Slots, Has: h.Has})
	switch {
	case err != nil:
		return status.Error(codes.Unavailable, err.Error())
	case r.Code == scheduler.Stale:
		return status.Error(codes.Aborted, r.Detail)
	case r.Code != scheduler.OK && r.Code != scheduler.Duplicate:
		return status.Error(codes.InvalidArgument, r.Detail)
	}
	return nil
}

// proposeWait proposes a command and waits for its result, for a bounded time.
func (n *Node) proposeWait(ctx context.Context, cmd scheduler.Command) (scheduler.Result, error) {
	type answer struct {
		r   scheduler.Result
		err error
	}
	got := make(chan answer, 1)
	n.propose(cmd, func(r scheduler.Result, err error) { got <- answer{r, err} })
	select {
	case a := <-got:
		return a.r, a.err
	case <-ctx.Done():
		return scheduler.Result{}, ctx.Err()
	case <-time.After(helloTime):
		return scheduler.Result{}, errors.New("the log did not take the command in time")
	}
}

// replace ends the session a worker has, and says what its older incarnation
// loses, if it is another one.
func (d *dispatcher) replace(h *api.Hello) *scheduler.WorkerLost {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.roster.Replace(h)
}

// open makes the worker's session, with what it is to do in line.
func (d *dispatcher) open(h *api.Hello, cancel context.CancelCauseFunc) (*session, error) {
	x := &session{d: d, cancel: cancel, kick: make(chan struct{}, 1)}
	var err error
	d.n.fsm.View(func(s *scheduler.State) { // no entry is applied between looking and listening
		d.mu.Lock()
		defer d.mu.Unlock()
		if x.Session, err = d.roster.Open(s, h, x, time.Now()); err == nil {
			d.n.withdrawn.Add(uint64(x.Withdrew()))
		}
	})
	return x, err
}

// broke notes that a session's stream ended: it has Grace to come back.
func (d *dispatcher) broke(x *session) {
	d.mu.Lock()
	defer d.mu.Unlock()
	x.Broke(time.Now())
}

func (x *session) receive(g api.Workers_AttachServer) error {
	for {
		m, err := g.Recv()
		if err != nil {
			return err
		}
		if err := x.report(m); err != nil {
			return status.Error(codes.Unavailable, err.Error())
		}
	}
}

// write sends instructions until the session ends; with echo something every
// beat, if only an empty message.
func (x *session) write(ctx context.Context, g api.Workers_AttachServer, received <-chan error, echo bool) error {
	var beat <-chan time.Time
	if echo {
		t := time.NewTicker(BeatTime)
		defer t.Stop()
		beat = t.C
	}
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case err := <-received:
			return err
		case <-x.d.n.ctx.Done():
			return status.Error(codes.Unavailable, "the node is stopping")
		case <-beat:
			if err := g.Send(&api.ToWorker{}); err != nil {
				return err
			}
			continue
		case <-x.kick:
		}
		x.outMu.Lock()
		out := x.out
		x.out = nil
		x.outMu.Unlock()
		for len(out) > 0 {
			n := cut(out)
			if err := g.Send(&api.ToWorker{Instructions: out[:n]}); err != nil {
				return err
			}
			out = out[n:]
		}
	}
}
