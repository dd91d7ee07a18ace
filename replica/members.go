package replica

import (
	"context"
	"fmt"
	"slices"
	"time"

	"farm/api"
	"farm/replica/consensus"
	"farm/scheduler"
)

// promoteEvery is how often the leader looks whether those that joined have caught
// up. One that reaches within it what the leader had applied at the last look is
// close enough behind to vote without holding up anything. As in section 4.2.1 of
// Ongaro's "Consensus: Bridging Theory and Practice" (2014), where it is a round.
const promoteEvery = 200 * time.Millisecond

// Join implements api.PeersServer: the leader takes a node in, or notes its new
// address; another node asks the leader. A node that is taken in does not vote until
// it has caught up (see promote): until then it could only stand in the way of a
// majority.
func (n *Node) Join(ctx context.Context, q *api.JoinRequest) (*api.JoinReply, error) {
	if !n.leads() {
		return n.joinElsewhere(ctx, q)
	}
	cluster := n.cluster()
	switch {
	case !scheduler.ValidName(q.Id):
		return refuseMember(api.Code_INVALID, "%q cannot be a node's id", q.Id)
	case q.Cluster != "" && q.Cluster != cluster:
		return refuseMember(api.Code_CONFLICT, "node %s belongs to cluster %s, this is cluster %s", q.Id, q.Cluster, cluster)
	}
	for _, s := range n.raft.Servers() {
		switch {
		case s.ID != q.Id:
		case s.Address == q.Address:
			return &api.JoinReply{Cluster: cluster}, nil
		case n.answers(ctx, s, q.Address):
			return refuseMember(api.Code_CONFLICT, "a node %s is running at %s", s.ID, s.Address)
		case otherFolder(s.Address, q.Address):
			// What it voted for and acknowledged is lost with its folder: it must not
			// vote by the name of the one that was.
			if err := n.raft.Remove(ctx, q.Id); err != nil {
				return refuseMember(api.Code_UNAVAILABLE, "%v", err)
			}
		}
	}
	if err := n.raft.Add(ctx, q.Id, q.Address); err != nil {
		return refuseMember(api.Code_UNAVAILABLE, "%v", err)
	}
	n.log.Info("node joined", "id", q.Id, "address", q.Address)
	return &api.JoinReply{Cluster: cluster}, nil
}

// refuseMember answers Join or Remove with a refusal, which travels in the reply.
func refuseMember(code api.Code, format string, args ...any) (*api.JoinReply, error) {
	return &api.JoinReply{Error: &api.Error{Code: code, Message: fmt.Sprintf(format, args...)}}, nil
}

// otherFolder tells whether two addresses of one id are of different data folders. A
// folder that is older than instances has none in its address until it announces it.
func otherFolder(a, b string) bool {
	_, _, one := consensus.SplitAddress(a)
	_, _, other := consensus.SplitAddress(b)
	return one != "" && one != other
}

// answers tells whether the member is running at its address and is not the node that
// asks to join, which may come back with only its instance new to the cluster.
func (n *Node) answers(ctx context.Context, s consensus.Server, joining string) bool {
	i := n.memberInfo(ctx, s)
	_, _, instance := consensus.SplitAddress(joining)
	return i != nil && i.Instance != instance
}

// memberInfo is what a member says of itself, nil when it does not answer.
func (n *Node) memberInfo(ctx context.Context, s consensus.Server) *api.NodeInfo {
	_, addr, _ := consensus.SplitAddress(s.Address)
	i, err := n.peers.info(ctx, addr, false)
	if err != nil || i.Id != s.ID {
		return nil
	}
	return i
}

func (n *Node) joinElsewhere(ctx context.Context, q *api.JoinRequest) (*api.JoinReply, error) {
	addr := n.leaderAPI()
	if addr == "" || addr == n.apiAddr {
		return refuseMember(api.Code_UNAVAILABLE, "there is no leader")
	}
	c, err := n.peers.conn(addr)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, 5*peerTimeout)
	defer cancel()
	return api.NewPeersClient(c).Join(ctx, q)
}

// promote makes voters of the members that have caught up, while this node leads,
// until ctx ends.
func (n *Node) promote(ctx context.Context) {
	tick := time.NewTicker(promoteEvery)
	defer tick.Stop()
	var goal uint64 // what this node had applied at the last look; 0: it did not lead
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if !n.leads() {
			goal = 0
			continue
		}
		applied := n.fsm.Applied()
		for _, s := range n.raft.Servers() {
			if !s.Voter && goal > 0 {
				n.promoteIf(ctx, s, goal)
			}
		}
		goal = applied
	}
}

// promoteIf makes a voter of a member that has applied entry goal.
func (n *Node) promoteIf(ctx context.Context, s consensus.Server, goal uint64) {
	i := n.memberInfo(ctx, s)
	_, _, instance := consensus.SplitAddress(s.Address)
	if i == nil || i.Instance != instance || i.Applied < goal {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, 5*peerTimeout)
	defer cancel()
	if err := n.raft.Promote(ctx, s); err != nil {
		n.log.Debug("a node that caught up does not vote yet", "id", s.ID, "error", err) // the next look tries again
		return
	}
	n.log.Info("node votes", "id", s.ID, "applied", i.Applied)
}

// Remove implements api.PeersServer: the leader takes a node out.
func (n *Node) Remove(ctx context.Context, q *api.RemoveRequest) (*api.JoinReply, error) {
	if !n.leads() {
		return refuseMember(api.Code_NOT_LEADER, "the leader is at %s", n.leaderAPI())
	}
	if there, rest := n.votersWithout(ctx, q.Id); 2*there <= rest {
		return refuseMember(api.Code_CONFLICT, "without %s there would be %d nodes that vote, and %d of them answer, which is no majority: bring back the others first", q.Id, rest, there)
	}
	if err := n.raft.Remove(ctx, q.Id); err != nil {
		return refuseMember(api.Code_UNAVAILABLE, "%v", err)
	}
	return &api.JoinReply{Cluster: n.cluster()}, nil
}

// votersWithout counts the voters there would be without one member, and those of
// them that answer.
func (n *Node) votersWithout(ctx context.Context, id string) (there, rest int) {
	answers := make(chan bool)
	for _, s := range n.raft.Servers() {
		if s.Voter && s.ID != id {
			rest++
			n.tasks.Go(func() { answers <- s.ID == n.id || n.memberInfo(ctx, s) != nil })
		}
	}
	for range rest {
		if <-answers {
			there++
		}
	}
	return there, rest
}

// out tells whether this node was taken out of its cluster, as far as it knows.
func (n *Node) out() bool {
	servers := n.raft.Servers()
	return len(servers) > 0 && !slices.ContainsFunc(servers, func(s consensus.Server) bool { return s.ID == n.id })
}

// HandOver implements api.PeersServer: the leader lets another node lead.
func (n *Node) HandOver(ctx context.Context, _ *api.HandOverRequest) (*api.JoinReply, error) {
	if !n.leads() {
		return refuseMember(api.Code_NOT_LEADER, "the leader is at %s", n.leaderAPI())
	}
	if err := n.raft.Transfer(ctx); err != nil {
		return refuseMember(api.Code_UNAVAILABLE, "%v", err)
	}
	return &api.JoinReply{Cluster: n.cluster()}, nil
}
