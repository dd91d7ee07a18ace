package consensus

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"slices"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
)

func newTestTransport(t *testing.T) *acks {
	t.Helper()
	n, err := newTransport("127.0.0.1:0", "", hclog.NewNullLogger())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = n.Close() })
	return &acks{transport: n, address: n.LocalAddr() + "|the.api:1", poke: func() {}, peers: map[raft.ServerID]ack{}}
}

// Heartbeats must reach raft's main loop like every other message.
func TestHeartbeatsGoThroughTheMainLoop(t *testing.T) {
	from, to := newTestTransport(t), newTestTransport(t)
	to.SetHeartbeatHandler(func(rpc raft.RPC) {
		t.Error("a heartbeat took the fast path")
		rpc.Respond(&raft.AppendEntriesResponse{}, nil)
	})
	received := make(chan struct{})
	go func() {
		select {
		case rpc := <-to.Consumer():
			rpc.Respond(&raft.AppendEntriesResponse{Term: 3, Success: true}, nil)
		case <-time.After(patience):
		}
		close(received)
	}()
	heartbeat := &raft.AppendEntriesRequest{RPCHeader: raft.RPCHeader{ProtocolVersion: 3, ID: []byte("a"), Addr: []byte("a")}, Term: 3}
	var resp raft.AppendEntriesResponse
	if err := from.AppendEntries("b", to.LocalAddr(), heartbeat, &resp); err != nil || !resp.Success {
		t.Errorf("%v, %+v", err, resp)
	}
	<-received
}

func TestStreamClosesItsConnections(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := newStream(l, "", hclog.NewNullLogger())
	out, err := s.Dial(raft.ServerAddress(l.Addr().String()+"|ignored:9"), time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	in, err := s.Accept()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for _, c := range []net.Conn{out, in} {
		if _, err := c.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
			t.Errorf("reading after Close: %v", err)
		}
		_ = c.Close()
	}
	if len(s.conns) != 0 || s.inbound != 0 {
		t.Errorf("%d connections are remembered, %d inbound", len(s.conns), s.inbound)
	}
	if _, err := s.Dial(raft.ServerAddress(l.Addr().String()), time.Second); err == nil {
		t.Error("Dial after Close")
	}
}

func TestStreamRefusesTooManyConnections(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := newStream(l, "", hclog.NewNullLogger())
	defer s.Close()
	s.inbound = maxInbound - 1
	accepted := make(chan net.Conn, 2)
	go func() {
		for {
			c, err := s.Accept()
			if err != nil {
				close(accepted)
				return
			}
			accepted <- c
		}
	}()
	dial := func() net.Conn {
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		return c
	}
	dial()
	last := <-accepted
	if _, err := dial().Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("a connection too many: %v, want it closed", err)
	}
	_ = last.Close()
	dial()
	<-accepted // there is room again
}

type recorder struct {
	slog.Handler
	records []slog.Record
}

func (r *recorder) Enabled(context.Context, slog.Level) bool { return true }
func (r *recorder) Handle(_ context.Context, x slog.Record) error {
	r.records = append(r.records, x)
	return nil
}

func TestLoggerMapsLevels(t *testing.T) {
	r := &recorder{}
	log := newLogger(slog.New(r), slog.LevelInfo)
	log.Trace("a")
	log.Debug("b")
	log.Info("c")
	log.Warn("d", "servers", hclog.Fmt("%d of %s", 3, "five"))
	log.With("k", "v").Error("e")
	var levels []slog.Level
	var attrs []string
	for _, x := range r.records {
		levels = append(levels, x.Level)
		x.Attrs(func(a slog.Attr) bool { attrs = append(attrs, a.String()); return true })
	}
	if !slices.Equal(levels, []slog.Level{slog.LevelInfo, slog.LevelWarn, slog.LevelError}) {
		t.Errorf("levels %v", levels)
	}
	if !slices.Equal(attrs, []string{"servers=3 of five", "k=v"}) {
		t.Errorf("attributes %q", attrs)
	}
}

// What a connection begins with decides whether it is listened to.
func TestHello(t *testing.T) {
	for _, c := range []struct {
		says, is string
		raw      []byte
		ok       bool
	}{
		{says: "a", is: "a", ok: true},
		{says: "a", is: "b"},
		{says: "a", is: "ab"},
		{says: "", is: "a", ok: true}, // a configuration from before there were instances
		{says: "a", is: "", ok: true},
		{raw: []byte{0, 1, 2}, is: "a"},
		{raw: append([]byte("farm\x02\x01"), 'a'), is: "a"},
		{raw: append([]byte("farm\x01\xff"), make([]byte, 255)...), is: "a"},
	} {
		out, in := net.Pipe()
		go func() {
			if c.raw != nil {
				_, _ = out.Write(c.raw)
			} else {
				_ = sayHello(out, c.says)
			}
			_ = out.Close()
		}()
		if err := hearHello(in, c.is); (err == nil) != c.ok || err != nil && !errors.Is(err, errNotMeant) {
			t.Errorf("%q to %q, raw %q: %v", c.says, c.is, c.raw, err)
		}
		_ = in.Close()
	}
}
