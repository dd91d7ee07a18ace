package taskstest

import (
	"context"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"farm/api"
	"farm/replica/roster"
	"farm/scheduler"
)

// session is one worker's stream.
type session struct {
	*roster.Session
	out    *outlet[*api.Instruction]
	cancel context.CancelCauseFunc
}

// Push implements roster.Link.
func (x *session) Push(i *api.Instruction) { x.out.put(i) }

// End implements roster.Link.
func (x *session) End(why error) { x.cancel(why) }

// Attach implements api.WorkersServer.
func (n *node) Attach(g api.Workers_AttachServer) error {
	m, err := g.Recv()
	if err != nil {
		return err
	}
	if m.Hello == nil {
		return status.Error(codes.InvalidArgument, "a worker's first message says who it is")
	}
	ctx, cancel := context.WithCancelCause(g.Context())
	defer cancel(nil)
	x := &session{out: newOutlet[*api.Instruction](), cancel: cancel}
	if err := n.open(x, m.Hello); err != nil {
		return err
	}
	received := make(chan error, 1)
	go func() { received <- n.receive(x, g) }()
	err = n.instruct(ctx, x, g, received)
	n.mu.Lock()
	x.Broke(time.Now())
	n.mu.Unlock()
	return err
}

// open admits a worker and makes its session.
func (n *node) open(x *session, h *api.Hello) (err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if lost := n.roster.Replace(h); lost != nil {
		n.step(lost)
	}
	r := n.step(&scheduler.WorkerUp{Worker: h.Worker, Incarnation: h.Incarnation, Node: h.Node, Slots: h.Slots, Has: h.Has})
	switch {
	case r.Code == scheduler.Stale:
		return status.Error(codes.Aborted, r.Detail)
	case r.Code != scheduler.OK && r.Code != scheduler.Duplicate:
		return status.Error(codes.InvalidArgument, r.Detail)
	}
	if x.Session, err = n.roster.Open(n.state, h, x, time.Now()); err != nil {
		return status.Error(codes.FailedPrecondition, err.Error())
	}
	for _, c := range n.attached[h.Worker] {
		close(c)
	}
	delete(n.attached, h.Worker)
	return nil
}

// instruct sends instructions, and something every beat, until the stream ends.
func (n *node) instruct(ctx context.Context, x *session, g api.Workers_AttachServer, received <-chan error) error {
	beat := time.NewTicker(beatTime)
	defer beat.Stop()
	for {
		select {
		case <-ctx.Done():
			return status.Error(codes.FailedPrecondition, context.Cause(ctx).Error())
		case err := <-received:
			return err
		case <-n.ctx.Done():
			return status.Error(codes.Unavailable, "the farm is closed")
		case <-beat.C:
		case <-x.out.kick:
		}
		if err := g.Send(&api.ToWorker{Instructions: x.out.take()}); err != nil {
			return err
		}
	}
}

func (n *node) receive(x *session, g api.Workers_AttachServer) error {
	for {
		m, err := g.Recv()
		if err != nil {
			return err
		}
		if err := n.hear(x, m); err != nil {
			return err
		}
	}
}

// hear does what a message of a worker asks for.
func (n *node) hear(x *session, m *api.FromWorker) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	x.Heard(m, time.Now())
	for _, o := range m.Outputs {
		n.printed(o)
	}
	for _, p := range m.Progress {
		if l := n.heardOf(p.Task); l != nil {
			l.progress = p
			l.tell(&api.Event{Event: &api.Event_Progress{Progress: p}})
		}
	}
	commands, err := x.Commands(m)
	if err != nil {
		return status.Error(codes.InvalidArgument, err.Error())
	}
	for _, c := range commands {
		r := n.step(c)
		if report, ok := c.(*scheduler.Complete); ok && r.Code == scheduler.Stale {
			x.Refused(report)
		}
	}
	return nil
}

// heardOf is what is known of a task that is not finished, nil for others.
func (n *node) heardOf(id string) *liveTask {
	if t := n.state.Task(id); t == nil || t.State.Final() {
		return nil
	}
	return n.listen(id)
}

// maxOutputs is how many pieces of output late watchers are shown.
const maxOutputs = 1000

func (n *node) printed(o *api.Output) {
	l := n.heardOf(o.Task)
	if l == nil {
		return
	}
	if len(l.outputs) > 0 && l.outputs[0].Attempt < o.Attempt {
		l.outputs = nil
	}
	if len(l.outputs) < maxOutputs {
		l.outputs = append(l.outputs, o)
	}
	l.tell(&api.Event{Event: &api.Event_Output{Output: o}})
}

func (l *liveTask) tell(e *api.Event) {
	for _, w := range l.watchers {
		w.put(e)
	}
}
