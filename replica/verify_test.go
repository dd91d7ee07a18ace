package replica

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"farm/api"
	"farm/fsm"
	"farm/replica/consensus"
)

// filled is the folder of a node that has run and stopped.
func filled(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	n := startNode(t, dir)
	c := dial(t, n.API())
	for _, id := range []string{"a", "b", "c"} {
		succeeded(t, id, c.cell(id, "space", "n := 1\nn++\nn"))
	}
	stopNode(t, n)
	return dir
}

func TestVerify(t *testing.T) {
	dir := filled(t)
	v, err := Verify(testContext(t), dir)
	if err != nil || !v.Replayed || v.First != 1 || v.Applied < 6 || v.Hash == "" {
		t.Fatalf("a sound folder: %+v, %v", v, err)
	}
}

func TestVerifyFindsAnotherState(t *testing.T) {
	dir, other := filled(t), filled(t)
	if err := os.Rename(filepath.Join(other, "state.db"), filepath.Join(dir, "state.db")); err != nil {
		t.Fatal(err)
	}
	if _, err := Verify(testContext(t), dir); !errors.Is(err, ErrReplay) {
		t.Errorf("the state of another farm: %v", err)
	}
}

func TestVerifyFindsDamage(t *testing.T) {
	for _, file := range []string{"state.db", "raft/wal/*.wal"} {
		dir := filled(t)
		paths, err := filepath.Glob(filepath.Join(dir, file))
		if err != nil || len(paths) == 0 {
			t.Fatal(paths, err)
		}
		b, err := os.ReadFile(paths[0])
		if err != nil {
			t.Fatal(err)
		}
		for i := range b { // the name is in the records and in the entries
			if string(b[i:min(i+5, len(b))]) == "space" {
				b[i] ^= 1
			}
		}
		if err := os.WriteFile(paths[0], b, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Verify(testContext(t), dir); !errors.Is(err, fsm.ErrCorrupt) && !errors.Is(err, consensus.ErrCorrupt) && !errors.Is(err, ErrReplay) {
			t.Errorf("%s: %v", file, err)
		}
	}
}

func TestVerifyLeavesARunningNodeAlone(t *testing.T) {
	dir := t.TempDir()
	startNode(t, dir)
	if _, err := Verify(testContext(t), dir); !errors.Is(err, ErrDataInUse) {
		t.Errorf("a folder in use: %v", err)
	}
}

func TestLateReportsAreCounted(t *testing.T) {
	n := startNode(t, t.TempDir())
	info := func() uint64 { return n.status(testContext(t), true).Nodes[0].Refused }
	if info() != 0 {
		t.Fatal("refused before anything ran")
	}
	conn, err := n.peers.conn(n.API())
	if err != nil {
		t.Fatal(err)
	}
	g, err := api.NewWorkersClient(conn).Attach(testContext(t))
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range []*api.FromWorker{{Hello: &api.Hello{Worker: "late", Incarnation: 7, Slots: 1}}, {Completes: []*api.Complete{lateReport()}}} {
		if err := g.Send(m); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "the report is counted as refused", func() bool { return info() == 1 })
}

func lateReport() *api.Complete {
	return &api.Complete{Task: "none", Attempt: 1, Ending: 1, Outcome: &api.Outcome{}}
}
