package consensus

import (
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
)

const (
	// rpcTimeout bounds one message and its answer; a snapshot gets it for every
	// 256 KiB.
	rpcTimeout = 10 * time.Second

	// dialTimeout bounds making a connection.
	dialTimeout = 2 * time.Second

	// maxPooled is the number of idle connections kept to each peer.
	maxPooled = 3

	// maxInbound is the number of connections that peers may have open here. A
	// peer needs about four.
	maxInbound = 256
)

// transport is what raft asks of the network, pre-vote and closing included.
type transport interface {
	raft.Transport
	raft.WithPreVote
	raft.WithClose
}

// acks is the transport that raft gets. It remembers for every peer the newest
// round of reads that had begun when a message was sent that the peer accepted, so
// that a read can tell answers to messages sent after it began from older ones.
//
// Only AppendEntries calls are counted, not those of a replication pipeline: every
// round sends a heartbeat, which is such a call, and watching pipelines would put a
// goroutine in the way of every answer.
type acks struct {
	transport
	address raft.ServerAddress // what LocalAddr says: see JoinAddress
	poke    func()             // after each newer acknowledgement

	round atomic.Uint64 // the newest round that has begun

	mu    sync.Mutex
	peers map[raft.ServerID]ack
}

type ack struct{ term, round uint64 }

// SetHeartbeatHandler does nothing. raft would otherwise handle heartbeats on the
// goroutine of the connection, racing with its main loop (hashicorp/raft #695:
// logs can diverge). The price is that a disk stall of a follower longer than the
// election timeout starts an election.
func (a *acks) SetHeartbeatHandler(func(raft.RPC)) {}

func (a *acks) LocalAddr() raft.ServerAddress { return a.address }

func (a *acks) AppendEntries(id raft.ServerID, to raft.ServerAddress, req *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse) error {
	round := a.round.Load() // before it is sent: this order is what reads rest on
	err := a.transport.AppendEntries(id, to, req, resp)
	if err == nil && resp.Success && resp.Term == req.Term {
		a.accepted(id, ack{req.Term, round})
	}
	return err
}

func (a *acks) accepted(id raft.ServerID, got ack) {
	a.mu.Lock()
	had := a.peers[id]
	newer := got.term > had.term || got.term == had.term && got.round > had.round
	if newer {
		a.peers[id] = got
	}
	a.mu.Unlock()
	if newer {
		a.poke()
	}
}

// begin starts a round: messages sent from here on belong to it, or to a later one.
func (a *acks) begin() uint64 { return a.round.Add(1) }

// majority says whether, of the voters, most have accepted a message of the term
// that was sent after the round began. This node, if it votes, has.
func (a *acks) majority(servers []raft.Server, self raft.ServerID, term, round uint64) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	voters, have := 0, 0
	for _, s := range servers {
		if s.Suffrage != raft.Voter {
			continue
		}
		voters++
		if p := a.peers[s.ID]; s.ID == self || p.term == term && p.round >= round {
			have++
		}
	}
	return have > voters/2
}

// newTransport listens on bind and speaks raft's TCP protocol with those who mean
// this instance.
func newTransport(bind, instance string, log hclog.Logger) (*raft.NetworkTransport, error) {
	l, err := net.Listen("tcp", bind)
	if err != nil {
		return nil, err
	}
	return raft.NewNetworkTransportWithConfig(&raft.NetworkTransportConfig{
		Stream:                  newStream(l, instance, log),
		MaxPool:                 maxPooled,
		Timeout:                 rpcTimeout,
		Logger:                  log,
		MsgpackUseNewTimeFormat: true,
	}), nil
}

// stream makes and takes the connections of a transport. It knows all of them, since
// raft's transport leaves them open when it is closed.
type stream struct {
	net.Listener
	instance string
	log      hclog.Logger

	mu      sync.Mutex
	conns   map[*conn]struct{}
	inbound int
	closed  bool
	refused string // the last connection refused, to say each reason once
}

func newStream(l net.Listener, instance string, log hclog.Logger) *stream {
	return &stream{Listener: l, instance: instance, log: log, conns: map[*conn]struct{}{}}
}

// conn is a connection that tells its stream when it is closed. Nothing is read from
// an inbound one before it has said that it is meant for this node.
type conn struct {
	net.Conn
	of      *stream
	inbound bool
	greeted bool // only used by the goroutine that reads
}

// Read is called by one goroutine at a time: raft's, of this connection.
func (c *conn) Read(b []byte) (int, error) {
	if c.inbound && !c.greeted {
		err := hearHello(c.Conn, c.of.instance)
		if errors.Is(err, net.ErrClosed) {
			return 0, err
		}
		if err != nil {
			c.of.refuse(err)
			return 0, io.EOF // anything else, raft reports on its own, each time
		}
		c.greeted = true
	}
	return c.Conn.Read(b)
}

func (s *stream) refuse(err error) {
	s.mu.Lock()
	again := s.refused == err.Error()
	s.refused = err.Error()
	s.mu.Unlock()
	if !again {
		s.log.Warn("refused a connection", "error", err)
	}
}

// Dial connects to the part of the address that raft dials, and says which instance
// it means.
func (s *stream) Dial(address raft.ServerAddress, timeout time.Duration) (net.Conn, error) {
	to, _, instance := SplitAddress(string(address))
	c, err := net.DialTimeout("tcp", to, min(timeout, dialTimeout))
	if err != nil {
		return nil, err
	}
	if err := sayHello(c, instance); err != nil {
		_ = c.Close()
		return nil, err
	}
	return s.add(c, false)
}

// Accept refuses, by closing them, connections above maxInbound.
func (s *stream) Accept() (net.Conn, error) {
	for {
		c, err := s.Listener.Accept()
		if err != nil {
			return nil, err
		}
		added, err := s.add(c, true)
		if errors.Is(err, net.ErrClosed) {
			return nil, err
		}
		if err == nil {
			return added, nil
		}
	}
}

var errTooManyConnections = errors.New("consensus: too many connections from peers")

func (s *stream) add(c net.Conn, inbound bool) (net.Conn, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		_ = c.Close()
		return nil, net.ErrClosed
	case inbound && s.inbound >= maxInbound:
		_ = c.Close()
		return nil, errTooManyConnections
	}
	if inbound {
		s.inbound++
	}
	known := &conn{Conn: c, of: s, inbound: inbound}
	s.conns[known] = struct{}{}
	return known, nil
}

func (c *conn) Close() error {
	c.of.mu.Lock()
	if _, ok := c.of.conns[c]; ok {
		delete(c.of.conns, c)
		if c.inbound {
			c.of.inbound--
		}
	}
	c.of.mu.Unlock()
	return c.Conn.Close()
}

// Close ends listening and every connection.
func (s *stream) Close() error {
	err := s.Listener.Close()
	s.mu.Lock()
	s.closed = true
	open := make([]*conn, 0, len(s.conns))
	for c := range s.conns {
		open = append(open, c)
	}
	s.mu.Unlock()
	for _, c := range open {
		_ = c.Close()
	}
	return err
}
