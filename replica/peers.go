package replica

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"

	"farm/api"
	"farm/replica/consensus"
	"farm/scheduler"
)

// peers holds the connections to other nodes, one for each address.
type peers struct {
	cluster func() string // this node's, empty while it has none

	mu    sync.Mutex
	conns map[string]*grpc.ClientConn
}

// peerTimeout bounds one question to another node.
const peerTimeout = time.Second

func (p *peers) conn(addr string) (*grpc.ClientConn, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if c := p.conns[addr]; c != nil {
		return c, nil
	}
	options := append(naming(p.cluster),
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(api.MaxWorkerMessage), grpc.MaxCallSendMsgSize(api.MaxMessage)),
		grpc.WithConnectParams(reconnect),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 10 * time.Second, Timeout: 5 * time.Second}))
	c, err := grpc.NewClient("passthrough:///"+addr, options...)
	if err == nil {
		if p.conns == nil {
			p.conns = map[string]*grpc.ClientConn{}
		}
		p.conns[addr] = c
	}
	return c, err
}

func (p *peers) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.conns {
		c.Close()
	}
	p.conns = nil
}

func (p *peers) info(ctx context.Context, addr string, hash bool) (*api.NodeInfo, error) {
	c, err := p.conn(addr)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, peerTimeout)
	defer cancel()
	return api.NewPeersClient(c).Info(ctx, &api.InfoRequest{Hash: hash})
}

// Info implements api.PeersServer.
func (n *Node) Info(ctx context.Context, q *api.InfoRequest) (*api.NodeInfo, error) {
	leader, _, term := n.raft.Leader()
	v := &api.NodeInfo{Id: n.id, Instance: n.instance, Raft: n.raftAddr, Api: n.apiAddr, Pid: int64(os.Getpid()), Role: strings.ToLower(n.raft.Stats().State), Applied: n.fsm.Applied(),
		Reachable: true, Term: term, Leader: leader, Version: n.cfg.Version,
		Refused: n.refused.Load(), Withdrawn: n.withdrawn.Load(), Goroutines: uint64(runtime.NumGoroutine())}
	n.fsm.View(func(s *scheduler.State) { v.Cluster = s.Cluster() })
	_, chain := n.fsm.Chain()
	v.LogHash = fmt.Sprintf("%x", chain[:8])
	v.Marks = markViews(n.fsm.Marks())
	if q.Hash {
		index, sum, err := n.fsm.Hash(ctx)
		if err != nil {
			return nil, err
		}
		v.Applied, v.Hash = index, sum
	}
	return v, nil
}

// enter makes the node a member of a cluster: it goes on where it was, starts
// one with the nodes of Join, or joins the one they have. It returns when that
// is done, or ctx ends.
func (n *Node) enter(ctx context.Context) error {
	var last error
	for {
		done, err := n.tryEnter(ctx)
		if done || errors.Is(err, ErrJoin) {
			return err
		}
		if err != nil {
			last = err
		}
		select {
		case <-ctx.Done():
			if last != nil {
				return fmt.Errorf("%w: %w", ErrJoin, last)
			}
			return fmt.Errorf("%w: %w", ErrJoin, ctx.Err())
		case <-time.After(100 * time.Millisecond):
		}
	}
}

func (n *Node) tryEnter(ctx context.Context) (bool, error) {
	me := consensus.Server{ID: n.id, Address: n.raft.Address()}
	if n.raft.Bootstrapped() {
		return n.announce(ctx, me)
	}
	if n.cfg.BootstrapExpect == 1 && len(n.cfg.Join) == 0 {
		return true, n.raft.Bootstrap([]consensus.Server{me})
	}
	others := map[string]string{}
	for _, addr := range n.cfg.Join {
		i, err := n.peers.info(ctx, addr, false)
		if err != nil || i.Id == n.id {
			continue
		}
		if i.Cluster != "" || i.Leader != "" {
			return n.join(ctx, addr, me)
		}
		others[i.Id] = consensus.JoinAddress(i.Raft, i.Api, i.Instance)
	}
	if n.cfg.BootstrapExpect == 0 || len(others)+1 < n.cfg.BootstrapExpect {
		return false, fmt.Errorf("%d of %d nodes are there", len(others)+1, max(n.cfg.BootstrapExpect, 1))
	}
	return n.bootstrap(me, others)
}

// bootstrap starts a cluster of the nodes that found each other. One of them
// does it, the first by id: it tells the others through raft.
func (n *Node) bootstrap(me consensus.Server, others map[string]string) (bool, error) {
	servers := []consensus.Server{me}
	for id, a := range others {
		servers = append(servers, consensus.Server{ID: id, Address: a})
	}
	slices.SortFunc(servers, func(a, b consensus.Server) int { return strings.Compare(a.ID, b.ID) })
	if servers[0].ID != n.id {
		return false, nil // the first does it, and then this node is bootstrapped
	}
	n.log.Info("starting a new cluster", "nodes", len(servers))
	return true, n.raft.Bootstrap(servers)
}

func (n *Node) join(ctx context.Context, addr string, me consensus.Server) (bool, error) {
	c, err := n.peers.conn(addr)
	if err != nil {
		return false, err
	}
	ctx, cancel := context.WithTimeout(ctx, 5*peerTimeout)
	defer cancel()
	r, err := api.NewPeersClient(c).Join(ctx, &api.JoinRequest{Id: me.ID, Address: me.Address, Cluster: n.cluster()})
	switch {
	case err != nil:
		return false, err
	case r.Error == nil:
		return true, nil
	case r.Error.Code == api.Code_UNAVAILABLE:
		return false, errors.New(r.Error.Message)
	}
	return false, fmt.Errorf("%w: %s", ErrJoin, r.Error.Message)
}

// announce tells the members when this one has come back at another address.
func (n *Node) announce(ctx context.Context, me consensus.Server) (bool, error) {
	servers := n.raft.Servers()
	for _, s := range servers {
		if s.ID == me.ID && s.Address == me.Address {
			return true, nil
		}
	}
	if n.leads() {
		err := n.raft.Add(ctx, me.ID, me.Address)
		return err == nil, err
	}
	err := errors.New("no other member answers")
	for _, s := range servers {
		if _, addr, _ := consensus.SplitAddress(s.Address); s.ID != n.id {
			var done bool
			if done, err = n.join(ctx, addr, me); done || errors.Is(err, ErrJoin) {
				return done, err
			}
		}
	}
	return false, err
}
