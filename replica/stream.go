package replica

import (
	"context"
	"sync"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"farm/api"
)

// stream is one client's Do stream: replies gather here and leave together.
type stream struct {
	mu      sync.Mutex
	out     []*api.Reply
	pending int // calls not answered
	closed  bool
	kick    chan struct{} // has room for one: there is something in out
}

func newStream() *stream { return &stream{kick: make(chan struct{}, 1)} }

// reply queues one reply. It never blocks; a slow client is bounded by the
// number of calls it may have pending.
func (s *stream) reply(r *api.Reply) {
	s.mu.Lock()
	s.out = append(s.out, r)
	s.pending--
	s.mu.Unlock()
	signal(s.kick)
}

// admit counts calls in and tells how many of them are within the limit.
func (s *stream) admit(n int) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	ok := min(n, max(MaxCallsPerStream-s.pending, 0))
	s.pending += n
	return ok
}

func (s *stream) close() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
}

// over tells whether nobody reads the stream's replies any more. A nil stream
// is never over.
func (s *stream) over() bool {
	if s == nil {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closed
}

// batchBytes is about how many bytes of replies or calls go in one message.
const batchBytes = 1 << 20

// write sends what gathers until ctx ends or a send fails.
func (s *stream) write(ctx context.Context, send func(*api.Replies) error) error {
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-s.kick:
		}
		s.mu.Lock()
		out := s.out
		s.out = nil
		s.mu.Unlock()
		for len(out) > 0 {
			n := cut(out)
			if err := send(&api.Replies{Replies: out[:n]}); err != nil {
				return err
			}
			out = out[n:]
		}
	}
}

// cut is how many of the first messages make a batch of about batchBytes.
func cut[M proto.Message](list []M) int {
	size := 0
	for i, m := range list {
		if size += proto.Size(m); size > batchBytes && i > 0 {
			return i
		}
	}
	return len(list)
}

// Do implements api.FarmServer.
func (n *Node) Do(g api.Farm_DoServer) error {
	s := newStream()
	ctx, cancel := context.WithCancel(g.Context())
	var wg sync.WaitGroup
	defer wg.Wait()
	defer n.waiters.hangUp(s)
	defer s.close()
	defer cancel()
	wg.Go(func() {
		if s.write(ctx, g.Send) != nil {
			cancel()
		}
	})
	received := make(chan struct{})
	go func() { n.receive(g, s); close(received) }() // ends with the stream, at the latest when this returns
	select {
	case <-received:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-n.ctx.Done():
		return status.Error(codes.Unavailable, "the node is stopping")
	}
}

// receive handles calls until the client goes away or closes its side.
func (n *Node) receive(g api.Farm_DoServer, s *stream) {
	reply := s.reply // one for all, and not one for each call
	for {
		m, err := g.Recv()
		if err != nil {
			return
		}
		calls := make([]*call, 0, len(m.Calls))
		ok := s.admit(len(m.Calls))
		for i, x := range m.Calls {
			c := &call{Call: x, stream: s, reply: reply}
			if i >= ok {
				c.fail(api.Code_LIMIT, "%d calls of this stream are not answered yet, which is the limit", MaxCallsPerStream)
				continue
			}
			calls = append(calls, c)
		}
		n.handle(calls)
	}
}

// One implements api.FarmServer.
func (n *Node) One(ctx context.Context, x *api.Call) (*api.Reply, error) {
	s := newStream()
	defer n.waiters.hangUp(s)
	defer s.close()
	answer := make(chan *api.Reply, 1)
	n.handle([]*call{{Call: x, stream: s, reply: func(r *api.Reply) { answer <- r }}})
	select {
	case r := <-answer:
		return r, nil
	case <-ctx.Done():
		return nil, status.FromContextError(ctx.Err()).Err()
	case <-n.ctx.Done():
		return nil, status.Error(codes.Unavailable, "the node is stopping")
	}
}
