package fsm

import (
	"context"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"

	"farm/scheduler"
)

// node is a machine under a real raft.
type node struct {
	t    *testing.T
	id   string
	dir  string
	m    *Machine
	log  *raftboltdb.BoltStore
	net  *raft.InmemTransport
	raft *raft.Raft
	file bool // raft keeps its snapshots in files, not in the state
	seen int  // command entries applied since it was started
}

const raftWait = 10 * time.Second

func (n *node) start(o Options, restore bool) {
	n.t.Helper()
	o.Dir = filepath.Join(n.dir, "state")
	n.seen = 0
	o.OnApply = func(Applied) { n.seen++ }
	n.m = mustOpen(n.t, o)
	var err error
	if n.log, err = raftboltdb.New(raftboltdb.Options{Path: filepath.Join(n.dir, "raft.db"), NoSync: true}); err != nil {
		n.t.Fatal(err)
	}
	_, n.net = raft.NewInmemTransport(raft.ServerAddress(n.id))
	c := raft.DefaultConfig()
	c.LocalID = raft.ServerID(n.id)
	c.HeartbeatTimeout, c.ElectionTimeout, c.LeaderLeaseTimeout = 50*time.Millisecond, 50*time.Millisecond, 50*time.Millisecond
	c.CommitTimeout = time.Millisecond
	c.TrailingLogs = 20
	c.Logger = hclog.NewNullLogger()
	c.NoSnapshotRestoreOnStart = !restore
	c.BatchApplyCh = true
	snapshots := n.m.Snapshots()
	if n.file {
		if snapshots, err = raft.NewFileSnapshotStoreWithLogger(n.dir, 1, hclog.NewNullLogger()); err != nil {
			n.t.Fatal(err)
		}
	}
	if n.raft, err = raft.NewRaft(c, n.m, n.log, n.log, snapshots, n.net); err != nil {
		n.t.Fatal(err)
	}
}

func (n *node) bootstrap() {
	n.t.Helper()
	c := raft.Configuration{Servers: []raft.Server{{ID: raft.ServerID(n.id), Address: raft.ServerAddress(n.id)}}}
	if err := n.raft.BootstrapCluster(c).Error(); err != nil {
		n.t.Fatal(err)
	}
}

// lead waits until the node leads and has applied all there is.
func (n *node) lead() {
	n.t.Helper()
	eventually(n.t, "leads", func() bool { return n.raft.State() == raft.Leader })
	if err := n.raft.Barrier(raftWait).Error(); err != nil {
		n.t.Fatal(err)
	}
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), raftWait)
	defer cancel()
	for tick := time.NewTicker(time.Millisecond); !ok(); {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("not in time: %s", what)
		}
	}
}

// halt ends the node; killed, what was not flushed is lost.
func (n *node) halt(kill bool) {
	n.t.Helper()
	if err := n.raft.Shutdown().Error(); err != nil {
		n.t.Fatal(err)
	}
	if kill {
		abandonAndReopen(n.t, n.m)
	} else {
		mustClose(n.t, n.m)
	}
	if err := n.log.Close(); err != nil {
		n.t.Fatal(err)
	}
}

func (n *node) snapshot() {
	n.t.Helper()
	if err := n.raft.Snapshot().Error(); err != nil {
		n.t.Fatal(err)
	}
}

// increment adds entries that each change namespace n once.
func (n *node) increment(from, to int) {
	n.t.Helper()
	var last raft.ApplyFuture
	for i := from; i < to; i++ {
		c := scheduler.Change{Put: []scheduler.Item{{Key: "n", Value: fmt.Append(nil, i+1)}}}
		last = n.raft.Apply(EncodeEntry(int64(i), []scheduler.Command{
			&scheduler.Submit{ID: fmt.Sprint("i", i), Namespace: "n", Kind: scheduler.Patch, Body: c.Encode()}}), raftWait)
	}
	if err := last.Error(); err != nil {
		n.t.Fatal(err)
	}
	if r := last.Response().(*Response); len(r.Results) != 1 || r.Results[0].Code != scheduler.OK {
		n.t.Fatalf("response %+v", r)
	}
}

func (n *node) count() (version uint64, value string) {
	n.m.View(func(s *scheduler.State) {
		version = s.Namespace("n").Version
		v, _ := s.Item("n", "n")
		value = string(v)
	})
	return version, value
}

// checkChain compares the machine with what its log, kept by the test, must give.
func (n *node) checkChain(logs []*raft.Log) {
	n.t.Helper()
	hash, chain := expected(n.t, logs)
	if _, got := n.m.Chain(); got != chain {
		n.t.Errorf("the chain is not that of the log: an entry was applied twice or not at all")
	}
	if _, got := mustHash(n.t, n.m); got != hash {
		n.t.Errorf("the state is not that of the log")
	}
}

// keep adds to logs what the log store has behind them.
func (n *node) keep(logs []*raft.Log) []*raft.Log {
	n.t.Helper()
	from := uint64(1)
	if len(logs) > 0 {
		from = logs[len(logs)-1].Index + 1
	}
	last, err := n.log.LastIndex()
	if err != nil {
		n.t.Fatal(err)
	}
	for i := from; i <= last; i++ {
		l := &raft.Log{}
		if err := n.log.GetLog(i, l); err != nil {
			n.t.Fatal(err)
		}
		logs = append(logs, l)
	}
	return logs
}

// TestReplayIsExact: 150 increments, and a restart in which raft replays some,
// all or none of them, count 150 and every entry once.
func TestReplayIsExact(t *testing.T) {
	for _, c := range []struct {
		name     string
		every    time.Duration // between flushes
		snapshot int           // after how many increments, 0 never
		kill     bool
		restore  bool // raft restores its snapshot at start
		file     bool // raft does not know how far the state is, and replays more
		replayed int  // increments that the second life must apply
	}{
		{name: "all flushed", every: never, replayed: 0},
		{name: "nothing flushed", every: never, kill: true, replayed: 150},
		{name: "snapshot, then killed", every: never, snapshot: 100, kill: true, replayed: 50},
		{name: "snapshot, then killed, restored", every: never, snapshot: 100, kill: true, restore: true, replayed: 50},
		{name: "snapshot, all flushed", every: never, snapshot: 100, replayed: 0},
		{name: "snapshot, all flushed, restored", every: never, snapshot: 100, restore: true, replayed: 0},
		{name: "all flushed, all replayed", every: never, file: true, replayed: 0},
		{name: "nothing flushed, all replayed", every: never, file: true, kill: true, replayed: 150},
		{name: "all flushed, replayed from the snapshot", every: never, file: true, snapshot: 100, replayed: 0},
		{name: "all flushed, snapshot restored", every: never, file: true, snapshot: 100, restore: true, replayed: 0},
		{name: "flushed to the snapshot, snapshot restored", every: never, file: true, snapshot: 100, restore: true, kill: true, replayed: 50},
		{name: "flushed anywhere, all replayed", every: time.Millisecond, file: true, kill: true, replayed: -1},
		{name: "flushed anywhere", every: time.Millisecond, snapshot: 100, kill: true, replayed: -1},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			n := &node{t: t, id: "a", dir: t.TempDir(), file: c.file}
			n.start(Options{FlushEvery: c.every}, c.restore)
			n.bootstrap()
			n.lead()
			at := 100
			n.increment(0, at)
			logs := n.keep(nil)
			if c.snapshot > 0 {
				n.snapshot()
			}
			n.increment(at, 150)
			logs = n.keep(logs)
			n.halt(c.kill)

			n.start(Options{FlushEvery: c.every}, c.restore)
			defer n.halt(false)
			n.lead()
			logs = n.keep(logs)
			if v, s := n.count(); v != 150 || s != "150" {
				t.Errorf("counted %d (%s), want 150", v, s)
			}
			if c.replayed >= 0 && n.seen != c.replayed {
				t.Errorf("%d entries were applied again, want %d", n.seen, c.replayed)
			}
			n.checkChain(logs)
		})
	}
}

// TestInstall: a replica that joins late gets the state from another's file,
// and keeps it over a restart, though raft counts entries past it that no state
// machine is shown.
func TestInstall(t *testing.T) {
	a := &node{t: t, id: "a", dir: t.TempDir()}
	a.start(Options{FlushEvery: never}, false)
	a.bootstrap()
	a.lead()
	a.increment(0, 100)
	for range 30 { // more than the log keeps
		if err := a.raft.Barrier(raftWait).Error(); err != nil {
			t.Fatal(err)
		}
	}
	a.snapshot()
	// The log before the barriers is gone: a must begin behind them.
	a.halt(true)
	a.start(Options{FlushEvery: never}, false)
	defer a.halt(false)
	a.lead()
	if a.seen != 0 {
		t.Errorf("%d entries before the snapshot were replayed", a.seen)
	}
	if first, err := a.log.FirstIndex(); err != nil || first < 100 {
		t.Fatalf("the log begins at %d (%v): the snapshot would not be needed", first, err)
	}

	b := &node{t: t, id: "b", dir: t.TempDir()}
	join := func() {
		b.start(Options{FlushEvery: never}, false)
		a.net.Connect("b", b.net)
		b.net.Connect("a", a.net)
	}
	join()
	if err := a.raft.AddNonvoter("b", "b", 0, raftWait).Error(); err != nil {
		t.Fatal(err)
	}
	a.increment(100, 110)
	same := func() {
		t.Helper()
		if err := b.m.WaitApplied(t.Context(), a.m.Applied()); err != nil {
			t.Fatal(err)
		}
		at, want := mustHash(t, a.m)
		if bt, got := mustHash(t, b.m); bt != at || got != want {
			t.Fatalf("b has %s at %d, a %s at %d", got, bt, want, at)
		}
		_, chain := a.m.Chain()
		if _, got := b.m.Chain(); got != chain {
			t.Fatal("the chains differ")
		}
		if string(mustStream(t, a.m)) != string(mustStream(t, b.m)) {
			t.Fatal("the snapshots differ")
		}
	}
	same()
	b.halt(true)
	join()
	defer b.halt(false)
	a.increment(110, 120)
	same()
}

// TestRecoverCluster: raft's tool for a cluster that lost its majority gives the
// state a configuration of its own.
func TestRecoverCluster(t *testing.T) {
	n := &node{t: t, id: "a", dir: t.TempDir()}
	n.start(Options{FlushEvery: never}, false)
	n.bootstrap()
	n.lead()
	n.increment(0, 20)
	n.halt(true)

	m := mustOpen(t, Options{Dir: filepath.Join(n.dir, "state"), FlushEvery: never})
	log, err := raftboltdb.New(raftboltdb.Options{Path: filepath.Join(n.dir, "raft.db"), NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	c := raft.DefaultConfig()
	c.LocalID, c.Logger = "z", hclog.NewNullLogger()
	_, trans := raft.NewInmemTransport("z")
	conf := raft.Configuration{Servers: []raft.Server{{ID: "z", Address: "z"}}}
	if err := raft.RecoverCluster(c, m, log, log, m.Snapshots(), trans, conf); err != nil {
		t.Fatal(err)
	}
	abandonAndReopen(t, m)
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}

	n.id = "z"
	n.start(Options{FlushEvery: never}, false)
	defer n.halt(false)
	n.lead()
	if v, _ := n.count(); v != 20 {
		t.Errorf("counted %d, want 20", v)
	}
}

// TestForeignSnapshotStore: with a snapshot store that is not the machine's,
// snapshots are written out and restored as streams.
func TestForeignSnapshotStore(t *testing.T) {
	logs := newTraffic(7).logs(50)
	a := mustOpen(t, Options{Dir: t.TempDir(), FlushEvery: never})
	defer mustClose(t, a)
	a.ApplyBatch(logs)
	snap, err := a.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	store := raft.NewInmemSnapshotStore()
	sink, err := store.Create(1, logs[len(logs)-1].Index, 1, raft.Configuration{}, 1, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := snap.Persist(sink); err != nil {
		t.Fatal(err)
	}
	_, rc, err := store.Open(sink.ID())
	if err != nil {
		t.Fatal(err)
	}
	b := mustOpen(t, Options{Dir: t.TempDir(), FlushEvery: never})
	defer mustClose(t, b)
	if err := b.Restore(rc); err != nil {
		t.Fatal(err)
	}
	_, want := mustHash(t, a)
	if _, got := mustHash(t, b); got != want {
		t.Fatal("the restored state is another")
	}
}
