package replica

import (
	"context"
	"sync"

	"farm/api"
	"farm/replica/consensus"
	"farm/replica/form"
	"farm/replica/roster"
	"farm/scheduler"
)

// status adds to what the state knows what every member says of itself, with
// the hash of its state, or with ask false only where they are.
func (n *Node) status(ctx context.Context, ask bool) *api.Status {
	v := &api.Status{Cluster: n.cluster()}
	v.Leader, _, v.Term = n.raft.Leader()
	servers := n.raft.Servers()
	v.Nodes = make([]*api.NodeInfo, len(servers))
	var wg sync.WaitGroup
	for i, s := range servers {
		raft, addr, _ := consensus.SplitAddress(s.Address)
		v.Nodes[i] = &api.NodeInfo{Id: s.ID, Raft: raft, Api: addr, Role: "unknown", Voter: s.Voter}
		if !ask {
			continue
		}
		wg.Go(func() {
			if info, err := n.peers.info(ctx, addr, true); err == nil && info.Id == s.ID {
				info.Voter = s.Voter
				v.Nodes[i] = info
			}
		})
	}
	wg.Wait()
	attached := n.dispatch.attached()
	n.fsm.View(func(s *scheduler.State) {
		c := s.Counts()
		v.Queued, v.Running, v.Succeeded, v.Failed, v.Cancelled = c.Queued, c.Running, c.Succeeded, c.Failed, c.Cancelled
		v.Queues = form.Queues(s, "")
		for _, w := range s.Workers() {
			v.Workers = append(v.Workers, workerView(w, attached[w.ID]))
		}
	})
	return v
}

// attached lists the workers that have a session.
func (d *dispatcher) attached() map[string]roster.Attachment {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.roster.Attached()
}
