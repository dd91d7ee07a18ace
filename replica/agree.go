package replica

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"sync"
	"time"

	"farm/api"
	"farm/fsm"
	"farm/replica/consensus"
)

// agreeEvery is how often a node compares its state with the others'.
const agreeEvery = 5 * time.Second

// DivergedExit is the exit code of a node whose state is not that of the others.
const DivergedExit = 72

// agree compares this node's marks with those of the other members until ctx
// ends. A node that finds a majority against it ends its process: its state
// came from the same log by another way, through a broken disk, memory or
// program, and nothing it says can be relied on.
func (n *Node) agree(ctx context.Context) {
	tick := time.NewTicker(agreeEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if err := n.compare(ctx); err != nil {
			n.exitDiverged(err)
		}
	}
}

// exitDiverged is how a node ends that has diverged.
func (n *Node) exitDiverged(err error) {
	n.log.Error("this node ends: its state is not that of the others. Remove its data folder and start it again: it gets the state from them", "error", err)
	os.Exit(DivergedExit)
}

// compare asks the other members for their marks, and returns an error when a
// majority of all contradicts this node's. Contradictions without a majority
// are logged: which side is right is not known.
func (n *Node) compare(ctx context.Context) error {
	servers := n.raft.Servers()
	marks := make([][]*api.Mark, len(servers))
	var wg sync.WaitGroup
	for i, s := range servers {
		if s.ID == n.id {
			continue
		}
		wg.Go(func() {
			_, addr, _ := consensus.SplitAddress(s.Address)
			if info, err := n.peers.info(ctx, addr, false); err == nil && info.Id == s.ID {
				marks[i] = info.Marks
			}
		})
	}
	wg.Wait()
	index, against := contradiction(n.fsm.Marks(), marks)
	switch {
	case 2*against > len(servers):
		return fmt.Errorf("at log entry %d, %d of %d nodes have another state", index, against, len(servers))
	case against > 0:
		n.log.Error("the replicas do not agree, and it is not known which is right", "entry", index, "nodes", against)
	}
	return nil
}

// contradiction finds the first mark of mine for which others have another sum,
// the same among them, and how many have it.
func contradiction(mine []fsm.Mark, others [][]*api.Mark) (index uint64, against int) {
	for _, m := range mine {
		sums := map[string]int{}
		for _, list := range others {
			for _, o := range list {
				if o.Index == m.Index && !bytes.Equal(o.Sum, m.Sum[:]) {
					sums[string(o.Sum)]++
				}
			}
		}
		for _, count := range sums {
			against = max(against, count)
		}
		if against > 0 {
			return m.Index, against
		}
	}
	return 0, 0
}

func markViews(marks []fsm.Mark) []*api.Mark {
	out := make([]*api.Mark, len(marks))
	for i, m := range marks {
		out[i] = &api.Mark{Index: m.Index, Sum: m.Sum[:]}
	}
	return out
}
