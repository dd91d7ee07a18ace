package replica

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"farm/api"
	"farm/replica/consensus"
)

// member is what the leader's configuration says of a node, nil when it is none.
func (c *testCluster) member(id string) *consensus.Server {
	servers := c.nodes[c.leader()].raft.Servers()
	i := slices.IndexFunc(servers, func(s consensus.Server) bool { return s.ID == id })
	if i < 0 {
		return nil
	}
	return &servers[i]
}

// A node that joined and has caught up with nothing must not be needed for a majority:
// of three nodes one may still die.
func TestJoinedNodeIsNotNeededYet(t *testing.T) {
	c := startCluster(t)
	leader := c.nodes[c.leader()]
	nobody := consensus.JoinAddress(freeAddr(t), freeAddr(t), "nobody")
	ctx := testContext(t)
	if r, err := leader.Join(ctx, &api.JoinRequest{Id: "n9", Address: nobody}); err != nil || r.Error != nil {
		t.Fatal(r, err)
	}
	dead := (c.leader() + 1) % 3
	c.stop(dead)
	if r := dial(t, leader.API()).set("s", "c0", "x", "1"); r.Error != nil {
		t.Fatalf("a set while one of three is down and one has not caught up: %v", r.Error)
	}
	if s := c.member("n9"); s == nil || s.Voter {
		t.Errorf("a node that never answered is %+v", s)
	}
	other := c.cfg[3-dead-c.leader()].ID
	r, err := leader.Remove(ctx, &api.RemoveRequest{Id: other})
	if err != nil || r.GetError().GetCode() != api.Code_CONFLICT {
		t.Errorf("removing %s, without which there is no majority: %v, %v", other, r, err)
	}
	for _, id := range []string{"n9", c.cfg[dead].ID} {
		if r, err := leader.Remove(ctx, &api.RemoveRequest{Id: id}); err != nil || r.Error != nil {
			t.Errorf("removing %s: %v, %v", id, r, err)
		}
	}
	if r := dial(t, leader.API()).set("s2", "c0", "x", "2"); r.Error != nil {
		t.Errorf("a set of the two that are left: %v", r.Error)
	}
}

func TestJoinedNodeVotesWhenCaughtUp(t *testing.T) {
	c := startCluster(t)
	cl := dial(t, c.nodes[0].API())
	if r := cl.set("s", "c0", "x", "1"); r.Error != nil {
		t.Fatal(r.Error)
	}
	dir := filepath.Join(t.TempDir(), "n4")
	c.cfg = append(c.cfg, Config{ID: "n4", Data: dir, Listen: freeAddr(t), Raft: freeAddr(t), Join: []string{c.cfg[0].Listen}, Slots: 2, Logger: testLogger(t)})
	c.nodes = append(c.nodes, nil)
	c.start(3)
	eventually(t, "n4 votes", func() bool { s := c.member("n4"); return s != nil && s.Voter })
	if got := dial(t, c.nodes[3].API()).get("c0", "x"); got != "1" {
		t.Errorf("x read through it is %s", got)
	}
}

// A node whose folder is lost has lost its votes and what it acknowledged: it comes
// back as a node that has to catch up first.
func TestEmptyFolderDoesNotVote(t *testing.T) {
	c := startCluster(t)
	at := (c.leader() + 1) % 3
	id := c.cfg[at].ID
	c.stop(at)
	before := c.member(id)
	if err := os.RemoveAll(c.cfg[at].Data); err != nil {
		t.Fatal(err)
	}
	leader := c.nodes[c.leader()]
	raft, addr, _ := consensus.SplitAddress(before.Address)
	fresh := consensus.JoinAddress(raft, addr, "fresh")
	if r, err := leader.Join(testContext(t), &api.JoinRequest{Id: id, Address: fresh}); err != nil || r.Error != nil {
		t.Fatal(r, err)
	}
	if s := c.member(id); s == nil || s.Voter || s.Address != fresh {
		t.Errorf("a node with an empty folder is %+v", s)
	}
	c.start(at)
	eventually(t, id+" votes again", func() bool { s := c.member(id); return s != nil && s.Voter })
}
