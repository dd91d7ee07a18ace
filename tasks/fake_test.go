package tasks

import (
	"context"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"farm/api"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fakeNode is a node that answers with what a test says. Calls it does not
// answer at once can be answered later, in any order.
type fakeNode struct {
	api.UnimplementedFarmServer
	addr   string
	server *grpc.Server
	// answer returns the reply to a call; nil: none now.
	answer func(n *fakeNode, st *fakeStream, c *api.Call) *api.Reply
	watch  func(q *api.WatchRequest, g api.Farm_WatchServer) error

	mu      sync.Mutex
	batches []int // calls of each message, Status left out
	streams int
	names   []string // the cluster that each stream named
	seen    []*api.Call
}

// fakeStream lets a test answer later.
type fakeStream struct {
	mu sync.Mutex
	g  api.Farm_DoServer
}

func (s *fakeStream) send(replies ...*api.Reply) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.g.Send(&api.Replies{Replies: replies})
}

func startFake(t *testing.T, answer func(*fakeNode, *fakeStream, *api.Call) *api.Reply) *fakeNode {
	t.Helper()
	return startFakeAt(t, "127.0.0.1:0", answer)
}

func startFakeAt(t *testing.T, addr string, answer func(*fakeNode, *fakeStream, *api.Call) *api.Reply) *fakeNode {
	t.Helper()
	l, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	n := &fakeNode{addr: l.Addr().String(), answer: answer, server: grpc.NewServer(grpc.MaxRecvMsgSize(api.MaxMessage))}
	api.RegisterFarmServer(n.server, n)
	go n.server.Serve(l)
	t.Cleanup(n.stop)
	return n
}

// stop breaks every connection, as a killed process does.
func (n *fakeNode) stop() { n.server.Stop() }

func (n *fakeNode) Do(g api.Farm_DoServer) error {
	n.mu.Lock()
	n.streams++
	md, _ := metadata.FromIncomingContext(g.Context())
	n.names = append(n.names, strings.Join(md.Get(api.ClusterKey), ","))
	n.mu.Unlock()
	st := &fakeStream{g: g}
	for {
		m, err := g.Recv()
		if err != nil {
			return err
		}
		var out []*api.Reply
		count := 0
		for _, c := range m.Calls {
			if c.GetStatus() == nil || !c.Stale {
				count++
				n.mu.Lock()
				n.seen = append(n.seen, c)
				n.mu.Unlock()
			}
			if r := n.answer(n, st, c); r != nil {
				r.Seq = c.Seq
				out = append(out, r)
			}
		}
		n.mu.Lock()
		if count > 0 {
			n.batches = append(n.batches, count)
		}
		n.mu.Unlock()
		if len(out) > 0 {
			st.send(out...)
		}
	}
}

func (n *fakeNode) Watch(q *api.WatchRequest, g api.Farm_WatchServer) error { return n.watch(q, g) }

func (n *fakeNode) calls() []*api.Call {
	n.mu.Lock()
	defer n.mu.Unlock()
	return append([]*api.Call(nil), n.seen...)
}

func (n *fakeNode) named() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return append([]string(nil), n.names...)
}

// done is the answer "the task succeeded".
func done(id string) *api.Reply {
	return &api.Reply{Result: &api.Reply_Task{Task: &api.Task{Id: id, State: "succeeded", Value: []byte("1"), Type: "int"}}}
}

func failure(code api.Code, msg string) *api.Reply {
	return &api.Reply{Error: &api.Error{Code: code, Message: msg}}
}

// usual answers status calls with nothing and submits with success.
func usual(_ *fakeNode, _ *fakeStream, c *api.Call) *api.Reply {
	switch op := c.Op.(type) {
	case *api.Call_Status:
		return &api.Reply{Result: &api.Reply_Status{Status: &api.Status{}}}
	case *api.Call_Submit:
		return done(op.Submit.Id)
	case *api.Call_Wait:
		return done(op.Wait.Id)
	}
	return failure(api.Code_INVALID, "unknown")
}

func dialFake(t *testing.T, o Options, nodes ...*fakeNode) *Client {
	t.Helper()
	var addrs []string
	for _, n := range nodes {
		addrs = append(addrs, n.addr)
	}
	c, err := o.Dial(testContext(t), addrs...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func testContext(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// eventually polls a condition, with a deadline.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not in time: %s", what)
		}
	}
}

func newServer() *grpc.Server { return grpc.NewServer(grpc.MaxRecvMsgSize(api.MaxMessage)) }

// quietNode answers without remembering.
type quietNode struct{ *fakeNode }

func (n quietNode) Do(g api.Farm_DoServer) error {
	for {
		m, err := g.Recv()
		if err != nil {
			return err
		}
		out := &api.Replies{}
		for _, c := range m.Calls {
			r := n.answer(n.fakeNode, nil, c)
			r.Seq = c.Seq
			out.Replies = append(out.Replies, r)
		}
		if err := g.Send(out); err != nil {
			return err
		}
	}
}
