package consensus

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
)

func TestEachCommandGetsItsOwnResult(t *testing.T) {
	stores(t, func(t *testing.T, kind string) {
		c := newCluster(t, 3, func(_ int, c *Config) { c.LogStore = kind })
		l := c.leader()
		const callers, each = 64, 25
		var mu sync.Mutex
		totals := map[uint64]bool{}
		var wg sync.WaitGroup
		for i := range uint64(callers) {
			wg.Go(func() {
				for k := range uint64(each) {
					id := i*each + k
					r, err := l.Propose(withTimeout(t), toyCommand(id, 1))
					if err != nil || r.(toyResult).ID != id {
						t.Errorf("request %d: %v, %v", id, r, err)
						return
					}
					mu.Lock()
					totals[r.(toyResult).Total] = true
					mu.Unlock()
				}
			})
		}
		wg.Wait()
		if len(totals) != callers*each {
			t.Errorf("%d different totals, want %d: some results were given twice", len(totals), callers*each)
		}
		c.agree(callers * each)
		if s := l.Stats(); s.Commands != callers*each || s.Entries >= s.Commands/2 {
			t.Errorf("%d commands in %d entries: they do not share entries", s.Commands, s.Entries)
		}
	})
}

// client proposes its own requests at one member after the other until told to stop,
// each once, and sorts them by what it was told.
type client struct{ acked, refused, unknown []uint64 }

func (cl *client) run(c *cluster, base uint64, stop <-chan struct{}) {
	for id := base; ; id++ {
		select {
		case <-stop:
			return
		default:
		}
		m := c.members[int(id)%len(c.members)]
		if l := hint(c); l != nil && id%4 != 0 {
			m = l
		}
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		_, err := m.Propose(ctx, toyCommand(id, 1))
		cancel()
		switch {
		case err == nil:
			cl.acked = append(cl.acked, id)
		case errors.Is(err, ErrUnknown):
			cl.unknown = append(cl.unknown, id)
		case errors.Is(err, ErrNotLeader):
			cl.refused = append(cl.refused, id)
			time.Sleep(time.Millisecond) // be gentle with the cores while nobody leads
		default:
			c.t.Errorf("request %d: %v", id, err)
		}
	}
}

func hint(c *cluster) *member {
	for _, m := range c.members {
		if _, ok := m.leads(); ok {
			return m
		}
	}
	return nil
}

// Acknowledged requests are there once, refused ones are not, whatever happens to
// the leaders meanwhile.
func TestLeaderChangesLoseAndRepeatNothing(t *testing.T) {
	c := newCluster(t, 3, nil)
	c.leader()
	stop := make(chan struct{})
	clients := make([]client, 8)
	var wg sync.WaitGroup
	for i := range clients {
		wg.Go(func() { clients[i].run(c, uint64(i)<<32, stop) })
	}
	for round := range 6 {
		l := c.leader()
		before := l.Stats().Commands
		eventually(t, "traffic", func() bool { return l.Stats().Commands > before+200 || !leads(l) })
		switch round % 2 {
		case 0: // gone without a word
			c.replace(l)
			c.net.isolate(l.config.ID, false)
		case 1: // handed over
			if err := l.Transfer(withTimeout(t)); err != nil && !errors.Is(err, ErrNotLeader) && !errors.Is(err, ErrBusy) && !errors.Is(err, ErrUnknown) {
				t.Logf("transfer: %v", err)
			}
		}
	}
	close(stop)
	wg.Wait()
	c.propose(1<<60, 0) // behind everything
	l := c.leader()
	if err := l.ReadBarrier(withTimeout(t)); err != nil {
		t.Fatal(err)
	}
	_, history := l.toy.read()
	c.agree(len(history))

	in := map[uint64]int{}
	for _, id := range history {
		in[id]++
	}
	acked, refused, unknown := 0, 0, 0
	for _, cl := range clients {
		acked, refused, unknown = acked+len(cl.acked), refused+len(cl.refused), unknown+len(cl.unknown)
		for _, id := range cl.acked {
			if in[id] != 1 {
				t.Errorf("acknowledged request %x is there %d times", id, in[id])
			}
		}
		for _, id := range cl.refused {
			if in[id] != 0 {
				t.Errorf("refused request %x is there", id)
			}
		}
	}
	for _, m := range c.members {
		if m.toy.again != 0 {
			t.Errorf("%s applied %d commands twice", m.config.ID, m.toy.again)
		}
	}
	if acked < 300 || refused == 0 {
		t.Errorf("%d acknowledged, %d refused, %d unknown: the run proves nothing", acked, refused, unknown)
	}
}

func leads(m *member) bool { _, ok := m.leads(); return ok }

// A client that repeats a request with the same id after an unknown outcome counts it once.
func TestRepeatedRequestCountsOnce(t *testing.T) {
	c := newCluster(t, 3, nil)
	l := c.leader()
	c.propose(1, 1)
	c.net.isolate(l.config.ID, true)
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	if _, err := l.Propose(ctx, toyCommand(2, 1)); !errors.Is(err, ErrUnknown) {
		t.Fatalf("a proposal nobody can commit: %v, want ErrUnknown", err)
	}
	c.replace(l)
	c.net.isolate(l.config.ID, false)
	for range 3 {
		if r := c.propose(2, 1); r.Total != 2 {
			t.Errorf("total is %d, want 2", r.Total)
		}
	}
	c.agree(2)
}

func TestRestartFromDisk(t *testing.T) {
	stores(t, func(t *testing.T, kind string) {
		c := newCluster(t, 3, func(_ int, c *Config) { c.LogStore = kind })
		for id := range uint64(30) {
			c.propose(id, 1)
		}
		terms := map[string]uint64{}
		for _, m := range c.members {
			_, _, terms[m.config.ID] = m.Leader()
		}
		c.stop()
		for _, m := range c.members {
			c.start(m)
			if !m.Bootstrapped() {
				t.Errorf("%s has forgotten its cluster", m.config.ID)
			}
			if _, _, term := m.Leader(); term < terms[m.config.ID] {
				t.Errorf("%s was in term %d and restarts in %d", m.config.ID, terms[m.config.ID], term)
			}
		}
		c.elect(c.members...)
		if r := c.propose(30, 1); r.Total != 31 {
			t.Errorf("total after the restart is %d, want 31", r.Total)
		}
		c.agree(31)
	})
}

// A node reports leadership, and reads, only when its state machine has caught up.
func TestLeadershipAfterBarrier(t *testing.T) {
	c := newCluster(t, 3, nil)
	old := c.leader()
	c.propose(1, 1)
	var releases []func()
	for _, m := range c.others(old) {
		drain(m.Leadership())
		releases = append(releases, m.toy.hold())
	}
	defer func() {
		for _, release := range releases {
			release()
		}
	}()
	if _, err := old.Propose(withTimeout(t), toyCommand(2, 1)); err != nil { // not applied by the others
		t.Fatal(err)
	}
	if err := old.Transfer(withTimeout(t)); err != nil {
		t.Fatal(err)
	}
	var next *member
	eventually(t, "raft to elect another", func() bool {
		for _, m := range c.others(old) {
			if leads(m) {
				next = m
			}
		}
		return next != nil
	})
	term, _ := next.leads()
	// Its first entry commits, but is not applied.
	eventually(t, "the first entry of the term to be committed", func() bool { return next.Stats().CommitIndex >= next.Stats().LastLogIndex })
	if _, ok := next.IsLeader(); ok {
		t.Error("IsLeader before the barrier is applied")
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	if err := next.ReadBarrier(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("ReadBarrier before the barrier is applied: %v", err)
	}
	select {
	case ch := <-next.Leadership():
		t.Errorf("%+v before the barrier is applied", ch)
	default:
	}
	for _, release := range releases {
		release()
	}
	select {
	case ch := <-next.Leadership():
		if ch != (Change{Leader: true, Term: term}) {
			t.Errorf("%+v, want leader in term %d", ch, term)
		}
		if total, _ := next.toy.read(); total != 2 {
			t.Errorf("total is %d when leadership is reported, want 2", total)
		}
	case <-time.After(patience):
		t.Fatal("leadership was never reported")
	}
	select {
	case ch := <-old.Leadership(): // the gain was not read: only the newest is kept
		if ch.Leader {
			t.Errorf("%+v after a transfer", ch)
		}
	case <-time.After(patience):
		t.Fatal("the loss was never reported")
	}
}

func drain(ch <-chan Change) {
	select {
	case <-ch:
	default:
	}
}

func TestMembership(t *testing.T) {
	c := newCluster(t, 1, func(_ int, c *Config) { c.API = "api.example:1" })
	l := c.leader()
	if err := l.Bootstrap([]Server{{ID: "n0", Address: l.Address()}}); !errors.Is(err, ErrAlreadyBootstrapped) {
		t.Errorf("second Bootstrap: %v", err)
	}
	if err := l.Transfer(withTimeout(t)); !errors.Is(err, ErrNoPeer) {
		t.Errorf("Transfer without a peer: %v", err)
	}
	c.propose(1, 1)
	for i := 1; i < 3; i++ {
		m := c.add(i, func(_ int, c *Config) { c.API = "api.example:2" })
		if m.Bootstrapped() {
			t.Error("a new node claims to be a member")
		}
		if err := l.Add(withTimeout(t), m.config.ID, m.Address()); err != nil {
			t.Fatal(err)
		}
		if s := l.Servers()[i]; s.Voter || s.ID != m.config.ID {
			t.Errorf("server %d was added as %+v", i, s)
		}
		s := l.Servers()[i]
		gone := s
		gone.Address = "127.0.0.1:1"
		if err := l.Promote(withTimeout(t), gone); err != nil || l.Servers()[i].Voter {
			t.Errorf("promotion at another address: %v, %+v", err, l.Servers()[i])
		}
		for range 2 { // the second time there is nothing to do
			if err := l.Promote(withTimeout(t), s); err != nil || !l.Servers()[i].Voter {
				t.Fatalf("promotion: %v, %+v", err, l.Servers()[i])
			}
		}
		if err := l.Add(withTimeout(t), m.config.ID, m.Address()); err != nil || !l.Servers()[i].Voter {
			t.Errorf("a voter added again: %v, %+v", err, l.Servers()[i])
		}
	}
	c.agree(1)
	for _, m := range c.members {
		eventually(t, "the configuration", func() bool { return len(m.Servers()) == 3 })
		if s := m.Servers()[1]; !s.Voter || s.ID != "n1" || s.Address != c.members[1].Address() || !strings.Contains(s.Address, "|api.example:2|") {
			t.Errorf("server 1 is %+v", s)
		}
		if id, address, _ := m.Leader(); id != "n0" || address != l.Address() || !strings.Contains(address, "|api.example:1|") {
			t.Errorf("leader is %q at %q", id, address)
		}
	}
	if err := c.members[1].Add(withTimeout(t), "x", "127.0.0.1:1"); !errors.Is(err, ErrNotLeader) {
		t.Errorf("Add at a follower: %v", err)
	}
	if err := l.Transfer(withTimeout(t)); err != nil {
		t.Fatal(err)
	}
	if leads(l) {
		t.Error("still leading after a transfer")
	}
	next := c.leader(l)
	if err := next.Remove(withTimeout(t), next.config.ID); err != nil { // itself
		t.Fatal(err)
	}
	last := c.elect(c.others(next)...)
	if _, err := last.Propose(withTimeout(t), toyCommand(2, 1)); err != nil {
		t.Fatal(err)
	}
	if n := len(last.Servers()); n != 2 {
		t.Errorf("%d servers are left, want 2", n)
	}
	if _, err := next.Propose(withTimeout(t), toyCommand(3, 1)); !errors.Is(err, ErrNotLeader) {
		t.Errorf("Propose at a removed node: %v", err)
	}
}

// A follower that was cut off does not depose the leader when it comes back.
func TestReturningFollowerLeavesTheLeader(t *testing.T) {
	c := newCluster(t, 3, nil)
	l := c.leader()
	term, _ := l.IsLeader()
	f := c.others(l)[0]
	c.net.isolate(f.config.ID, true)
	eventually(t, "the follower to miss the leader", func() bool { return f.Role() == "candidate" })
	c.propose(1, 1)
	c.net.isolate(f.config.ID, false)
	c.agree(1)
	if now, ok := l.IsLeader(); !ok || now != term {
		t.Errorf("leader of term %d is leader %v of %d", term, ok, now)
	}
}

// Every callback comes, once, and nothing is left running (TestMain sees to that).
func TestShutdownWithProposalsInFlight(t *testing.T) {
	for name, isolated := range map[string]bool{"healthy": false, "without a majority": true} {
		t.Run(name, func(t *testing.T) {
			c := newCluster(t, 3, nil)
			l := c.leader()
			c.propose(1, 1)
			if isolated {
				c.net.isolate(l.config.ID, true)
			}
			const n = 500
			var calls, wrong atomic.Int64
			accepted := 0
			for id := range uint64(n) {
				err := l.ProposeAsync(toyCommand(100+id, 1), func(r Result, err error) {
					calls.Add(1)
					if err != nil && !errors.Is(err, ErrUnknown) && !errors.Is(err, ErrNotLeader) || isolated && err == nil {
						wrong.Add(1)
					}
				})
				if err == nil {
					accepted++
				}
			}
			if err := l.Shutdown(); err != nil {
				t.Fatal(err)
			}
			if calls.Load() != int64(accepted) || accepted < n/2 || wrong.Load() > 0 {
				t.Errorf("%d proposals, %d accepted, %d callbacks, %d of them wrong", n, accepted, calls.Load(), wrong.Load())
			}
			if _, err := l.Propose(withTimeout(t), toyCommand(1, 1)); !errors.Is(err, ErrStopped) || !errors.Is(err, ErrNotLeader) {
				t.Errorf("Propose after Shutdown: %v", err)
			}
			if err := l.ReadBarrier(withTimeout(t)); !errors.Is(err, ErrNotLeader) {
				t.Errorf("ReadBarrier after Shutdown: %v", err)
			}
			if err := l.Add(withTimeout(t), "x", "127.0.0.1:1"); !errors.Is(err, ErrNotLeader) {
				t.Errorf("Add after Shutdown: %v", err)
			}
			if err := l.Shutdown(); err != nil {
				t.Errorf("second Shutdown: %v", err)
			}
		})
	}
}

// Entries that are committed but not applied yet are answered before raft stops: raft
// itself would drop them, and their futures would never answer.
func TestShutdownWaitsForTheStateMachine(t *testing.T) {
	const n = 16
	c := newCluster(t, 3, func(_ int, c *Config) { c.MaxInFlight, c.MaxEntryBytes = n, toyCommandSize })
	l := c.leader()
	release := l.toy.hold()
	defer release()
	answers := make(chan error, n)
	before := l.Stats().CommitIndex
	for id := range uint64(n) {
		if err := l.ProposeAsync(toyCommand(id, 1), func(_ Result, err error) { answers <- err }); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the entry to be committed", func() bool { return l.Stats().CommitIndex > before+id })
	}
	stopped := make(chan error, 1)
	go func() { stopped <- l.Shutdown() }()
	eventually(t, "Shutdown to drain", func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		return l.draining
	})
	select {
	case <-l.stopping:
		t.Error("raft is stopped while entries are not applied")
	case <-time.After(50 * time.Millisecond): // a wrong order would not need so long
	}
	release()
	if err := <-stopped; err != nil {
		t.Error(err)
	}
	for range n {
		if err := <-answers; err != nil {
			t.Errorf("a committed entry was answered %v", err)
		}
	}
}

// A clean stop hands over: the next leader is there without an election timeout.
func TestShutdownHandsOver(t *testing.T) {
	c := newCluster(t, 3, func(_ int, c *Config) {
		c.HeartbeatTimeout, c.ElectionTimeout, c.LeaderLeaseTimeout = 15*time.Second, 15*time.Second, 5*time.Second
	})
	l := c.leader()
	c.propose(1, 1)
	if err := l.Shutdown(); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	c.leader(l)
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("the next leader took %v: leadership was not handed over", took)
	}
}

func TestValidate(t *testing.T) {
	good := testConfig(t, "n")
	good.FSM = &toy{}
	if err := good.Validate(); err != nil {
		t.Fatal(err)
	}
	bad := map[string]func(c *Config){
		"Config.ID":              func(c *Config) { c.ID = "" },
		"Config.Dir":             func(c *Config) { c.Dir = "" },
		"Config.Bind":            func(c *Config) { c.Bind = "nowhere" },
		"Config.Address":         func(c *Config) { c.Address = "nowhere" },
		"Config.Address, API":    func(c *Config) { c.API = "a:1|b:2" },
		"Config.Instance":        func(c *Config) { c.Instance = strings.Repeat("x", maxInstance+1) },
		"Config.FSM":             func(c *Config) { c.FSM = nil },
		"Config.Snapshots":       func(c *Config) { c.Snapshots = nil },
		"Config.NewEntry":        func(c *Config) { c.NewEntry = nil },
		"Config.Results":         func(c *Config) { c.Results = nil },
		"Config.LogStore":        func(c *Config) { c.LogStore = "paper" },
		"Config.TrailingLogs":    func(c *Config) { c.TrailingLogs = MinTrailingLogs - 1 },
		"Config.MaxInFlight":     func(c *Config) { c.MaxInFlight = -1 },
		"Config.MaxEntryBytes":   func(c *Config) { c.MaxEntryBytes = maxStoredEntry },
		"Config.MaxWaiting":      func(c *Config) { c.MaxWaiting = -1 },
		"Config.MaxWaitingBytes": func(c *Config) { c.MaxWaitingBytes = 1 },
		"LeaderLeaseTimeout":     func(c *Config) { c.LeaderLeaseTimeout = time.Hour },
	}
	for _, name := range slices.Sorted(maps.Keys(bad)) {
		c := good
		bad[name](&c)
		if err := c.Validate(); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
		if r, err := Start(c); err == nil {
			_ = r.Shutdown()
			t.Errorf("%s: Start takes it", name)
		}
	}
}

func TestAddressMustBeSpecific(t *testing.T) {
	c := testConfig(t, "n")
	c.FSM, c.Bind = &toy{}, "0.0.0.0:0"
	if r, err := Start(c); err == nil {
		_ = r.Shutdown()
		t.Error("peers were told to dial 0.0.0.0")
	}
}

// The port of a dead member may be another cluster's when it is dialled again. That
// cluster must not be given the log of the first.
func TestAnotherClusterAtTheAddressOfAMember(t *testing.T) {
	c := newCluster(t, 3, nil)
	l := c.leader()
	c.propose(1, 1)
	dead := c.others(l)[0]
	if err := dead.Shutdown(); err != nil {
		t.Fatal(err)
	}
	bind, _, _ := SplitAddress(dead.Address())
	refused := make(chan struct{}, 1)
	stranger := newCluster(t, 1, func(_ int, c *Config) {
		c.ID, c.Bind = dead.config.ID, bind
		c.Logger = slog.New(watchFor{slog.DiscardHandler, "raft: refused a connection", refused})
	})
	select {
	case <-refused:
	case <-time.After(patience):
		t.Fatal("no member dialled the stranger")
	}
	c.propose(2, 1)
	stranger.propose(3, 1)
	if total, history := stranger.members[0].toy.read(); total != 1 || !slices.Equal(history, []uint64{3}) {
		t.Errorf("the other cluster has applied %v, total %d", history, total)
	}
	if id, _, _ := stranger.members[0].Leader(); id != dead.config.ID {
		t.Errorf("the other cluster is led by %q", id)
	}
}

// watchFor is a log handler that tells when a message comes.
type watchFor struct {
	slog.Handler
	message string
	came    chan<- struct{}
}

func (w watchFor) Enabled(context.Context, slog.Level) bool { return true }

func (w watchFor) Handle(_ context.Context, r slog.Record) error {
	if r.Message == w.message {
		select {
		case w.came <- struct{}{}:
		default:
		}
	}
	return nil
}

func (w watchFor) WithAttrs([]slog.Attr) slog.Handler { return w }

// A log that ends before the state does has lost entries.
func TestLogThatLostEntries(t *testing.T) {
	for _, kind := range []string{LogStoreWAL, LogStoreBoltDB} {
		dir := t.TempDir()
		f, err := openFolder(dir, kind, hclog.NewNullLogger())
		if err != nil {
			t.Fatal(err)
		}
		g := newGuard(f.store, StallLimit)
		for i := range uint64(5) {
			if err := g.StoreLog(&raft.Log{Index: i + 1, Term: 1, Data: []byte("x")}); err != nil {
				t.Fatal(err)
			}
		}
		for _, c := range []struct {
			state     uint64
			installed bool
			want      error
			last      uint64
		}{{4, false, nil, 5}, {5, false, nil, 5}, {6, false, ErrCorrupt, 5}, {6, true, nil, 0}} {
			r := &Raft{guard: g, config: Config{Snapshots: reaching{index: c.state, installed: c.installed}}}
			if err := r.reachesState(); !errors.Is(err, c.want) {
				t.Errorf("%s: a state of entry %d, installed %v: %v", kind, c.state, c.installed, err)
			}
			if last, err := g.LastIndex(); err != nil || last != c.last {
				t.Errorf("%s: the log ends with %d (%v), want %d", kind, last, err, c.last)
			}
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// reaching is a snapshot store whose state has come to an index.
type reaching struct {
	raft.SnapshotStore
	index     uint64
	installed bool
}

func (s reaching) List() ([]*raft.SnapshotMeta, error) {
	return []*raft.SnapshotMeta{{Index: s.index}}, nil
}
func (s reaching) Installed() bool { return s.installed }

func TestBoltFileWithoutItsEnd(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "raft.db")
	s, err := openBoltDB(path)
	if err != nil {
		t.Fatal(err)
	}
	for i := range uint64(50) {
		if err := s.StoreLogs([]*raft.Log{{Index: i + 1, Data: make([]byte, 4096)}}); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if s, err = openBoltDB(path); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for _, size := range []int64{64 << 10, 5000, 10} {
		if err := os.Truncate(path, size); err != nil {
			t.Fatal(err)
		}
		if _, err := openBoltDB(path); !errors.Is(err, ErrCorrupt) {
			t.Errorf("cut to %d bytes: %v", size, err)
		}
	}
}
