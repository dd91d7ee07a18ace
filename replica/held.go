package replica

import (
	"context"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	"farm/api"
)

// held keeps the calls that are for the leader, passes them on, and takes them
// back when the leader goes: the one place where a call waits for a leader.
type held struct {
	n     *Node
	mu    sync.Mutex
	calls []*call
	wake  chan struct{} // has room for one: a new call
	back  chan struct{} // has room for one: a call that found no leader
	link  *link
}

// retryEvery is how often calls that found no leader look again.
const retryEvery = 20 * time.Millisecond

// add takes a call. One that has come for the first time goes on at once, one
// that was sent back at the next round.
func (h *held) add(c *call) {
	first := c.until.IsZero()
	if first {
		c.until = time.Now().Add(HoldTime)
	}
	h.mu.Lock()
	full := len(h.calls) >= MaxHeld
	if !full {
		h.calls = append(h.calls, c)
	}
	h.mu.Unlock()
	if full {
		c.fail(api.Code_LIMIT, "%d calls wait for a leader, which is the limit", MaxHeld)
		return
	}
	if first {
		signal(h.wake)
	} else {
		signal(h.back)
	}
}

// signal puts a token into a channel that has room for one.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// run passes calls on until ctx ends.
func (h *held) run(ctx context.Context) {
	defer h.drop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-h.wake:
		case <-h.back:
			select { // a new call need not wait for the old ones
			case <-h.wake:
			case <-time.After(retryEvery):
			}
		}
		h.mu.Lock()
		calls := h.calls
		h.calls = nil
		h.mu.Unlock()
		if calls = h.unexpired(calls); len(calls) > 0 {
			h.forward(ctx, calls)
		}
	}
}

// unexpired answers the calls that have waited too long and forgets those
// nobody waits for.
func (h *held) unexpired(calls []*call) []*call {
	now := time.Now()
	kept := calls[:0]
	for _, c := range calls {
		switch {
		case c.stream.over():
		case now.After(c.until):
			c.fail(api.Code_UNAVAILABLE, "no leader took the call within %v", HoldTime)
		case h.n.out():
			c.fail(api.Code_UNAVAILABLE, "node %s is no longer a member", h.n.id)
		default:
			kept = append(kept, c)
		}
	}
	return kept
}

func (h *held) forward(ctx context.Context, calls []*call) {
	if h.n.leads() {
		h.n.handle(calls)
		return
	}
	addr := h.n.leaderAPI()
	if addr == "" || addr == h.n.apiAddr {
		h.putBack(calls)
		return
	}
	if h.link == nil || h.link.addr != addr || h.link.ctx.Err() != nil {
		h.drop()
		l, err := h.open(ctx, addr)
		if err != nil {
			h.putBack(calls)
			return
		}
		h.link = l
	}
	h.link.send(calls)
}

func (h *held) putBack(calls []*call) {
	h.mu.Lock()
	h.calls = append(h.calls, calls...)
	h.mu.Unlock()
	signal(h.back)
}

func (h *held) drop() {
	if h.link != nil {
		h.link.cancel()
		h.link = nil
	}
}

// link is a stream of calls to the leader.
type link struct {
	h      *held
	addr   string
	ctx    context.Context
	cancel context.CancelFunc
	g      api.Farm_DoClient

	mu      sync.Mutex
	seq     uint64
	pending map[uint64]*call
	closed  bool
}

func (h *held) open(ctx context.Context, addr string) (*link, error) {
	conn, err := h.n.peers.conn(addr)
	if err != nil {
		return nil, err
	}
	l := &link{h: h, addr: addr, pending: map[uint64]*call{}}
	l.ctx, l.cancel = context.WithCancel(ctx)
	if l.g, err = api.NewFarmClient(conn).Do(l.ctx); err != nil {
		l.cancel()
		return nil, err
	}
	h.n.tasks.Go(l.receive)
	return l, nil
}

// send passes calls on. What fails comes back to held through receive.
func (l *link) send(calls []*call) {
	batch := make([]*api.Call, 0, len(calls))
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		l.h.putBack(calls)
		return
	}
	for _, c := range calls {
		l.seq++
		l.pending[l.seq] = c
		x := proto.CloneOf(c.Call)
		x.Seq, x.Forwarded = l.seq, true
		batch = append(batch, x)
	}
	l.mu.Unlock()
	for len(batch) > 0 {
		n := cut(batch)
		if l.g.Send(&api.Calls{Calls: batch[:n]}) != nil {
			l.cancel()
			return
		}
		batch = batch[n:]
	}
}

// receive answers calls until the link breaks, then gives back the rest.
func (l *link) receive() {
	for {
		m, err := l.g.Recv()
		if err != nil {
			break
		}
		for _, r := range m.Replies {
			l.answer(r)
		}
	}
	l.cancel()
	l.mu.Lock()
	rest := l.pending
	l.pending, l.closed = nil, true
	l.mu.Unlock()
	for _, c := range rest {
		c.until = time.Time{} // it had a leader: its time without one begins now
		l.h.add(c)
	}
}

func (l *link) answer(r *api.Reply) {
	l.mu.Lock()
	c := l.pending[r.Seq]
	delete(l.pending, r.Seq)
	l.mu.Unlock()
	switch {
	case c == nil:
	case r.Error.GetCode() == api.Code_NOT_LEADER:
		l.h.add(c)
	default:
		r.Seq = c.Seq
		c.reply(r)
	}
}
