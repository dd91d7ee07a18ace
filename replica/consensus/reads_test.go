package consensus

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/raft"
)

// scripted makes reads whose surroundings the test decides.
type scripted struct {
	*reads
	mu       sync.Mutex
	term     uint64
	leading  bool
	barrier  readiness
	commit   uint64
	last     uint64
	accepted uint64 // rounds up to this one are accepted by a majority
	begun    uint64
	sent     int
}

func newScripted(t *testing.T) *scripted {
	s := &scripted{term: 5, leading: true, barrier: readiness{5, 10}, commit: 10, accepted: 1 << 60}
	s.reads = &reads{
		leads:       func() (uint64, bool) { s.mu.Lock(); defer s.mu.Unlock(); return s.term, s.leading },
		ready:       func() readiness { s.mu.Lock(); defer s.mu.Unlock(); return s.barrier },
		commitIndex: func() uint64 { s.mu.Lock(); defer s.mu.Unlock(); return s.commit },
		applied:     func() uint64 { s.mu.Lock(); defer s.mu.Unlock(); return s.last },
		sendAll:     func() { s.mu.Lock(); defer s.mu.Unlock(); s.sent++ },
		begin:       func() uint64 { s.mu.Lock(); defer s.mu.Unlock(); s.begun++; return s.begun },
		majority: func(term, round uint64) bool {
			s.mu.Lock()
			defer s.mu.Unlock()
			return term == 5 && round <= s.accepted
		},
		changed: make(chan struct{}, 1), wake: make(chan struct{}, 1), stop: make(chan struct{}),
	}
	t.Cleanup(func() { close(s.stop) })
	return s
}

func (s *scripted) set(change func()) {
	s.mu.Lock()
	change()
	s.mu.Unlock()
	s.poke()
}

// TestRound takes one condition away at a time: the round must wait for it, and go
// on, or fail when the term ends.
func TestRound(t *testing.T) {
	conditions := map[string]struct{ without, with func(s *scripted) }{
		"barrier of the term":  {func(s *scripted) { s.barrier = readiness{4, 10} }, func(s *scripted) { s.barrier = readiness{5, 10} }},
		"majority":             {func(s *scripted) { s.accepted = 0 }, func(s *scripted) { s.accepted = 1 }},
		"committed is applied": {func(s *scripted) { s.commit = 12 }, func(s *scripted) { s.last = 12 }},
	}
	for name, c := range conditions {
		for _, ending := range []string{"met", "deposed", "another term", "stopped"} {
			t.Run(name+"/"+ending, func(t *testing.T) {
				s := newScripted(t)
				c.without(s)
				done := make(chan error, 1)
				go func() { done <- s.round() }()
				for range 10 { // it looks, and is not satisfied
					s.poke()
					eventually(t, "the round to look", func() bool { return len(s.changed) == 0 || len(done) > 0 })
				}
				select {
				case err := <-done:
					t.Fatalf("the round is over: %v", err)
				default:
				}
				var want error
				switch ending {
				case "met":
					s.set(func() { c.with(s) })
				case "deposed":
					s.set(func() { s.leading = false; c.with(s) })
					want = ErrNotLeader
				case "another term":
					s.set(func() { s.term = 6; c.with(s) })
					want = ErrNotLeader
				case "stopped":
					s.stop <- struct{}{}
					want = ErrStopped
				}
				select {
				case err := <-done:
					if !errors.Is(err, want) {
						t.Errorf("round: %v, want %v", err, want)
					}
				case <-time.After(patience):
					t.Fatal("the round never ends")
				}
			})
		}
	}
}

// The commit index of a read is noted before its round begins, not after.
func TestRoundNotesTheCommitIndexFirst(t *testing.T) {
	s := newScripted(t)
	begin := s.reads.begin
	s.reads.begin = func() uint64 { s.set(func() { s.commit = 99 }); return begin() }
	done := make(chan error, 1)
	go func() { done <- s.round() }()
	select {
	case err := <-done:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(patience / 4):
		t.Error("the round waits for what was committed after it began")
	}
}

// The index that reads wait for moves behind the state machine, and wakes them.
func TestTrackerCountsWhatIsApplied(t *testing.T) {
	f := &toy{seen: map[uint64]toyResult{}}
	poked := make(chan struct{}, 10)
	tr := &tracker{BatchingFSM: f, poke: func() { poked <- struct{}{} }}
	release := f.hold()
	done := make(chan []any, 1)
	go func() {
		done <- tr.ApplyBatch([]*raft.Log{
			{Index: 7, Type: raft.LogConfiguration},
			{Index: 8, Type: raft.LogCommand, Data: toyEntry(0, 1, toyCommand(1, 1))},
		})
	}()
	eventually(t, "the state machine to be asked", func() bool { return f.asked.Load() > 0 })
	if tr.last.Load() != 0 || len(poked) > 0 {
		t.Errorf("applied up to %d before it is", tr.last.Load())
	}
	release()
	if out := <-done; len(out) != 2 || toyResults(out[1])[0] != (toyResult{1, 1}) {
		t.Errorf("responses %v", out)
	}
	if tr.last.Load() != 8 || len(poked) != 1 {
		t.Errorf("applied up to %d with %d wake-ups, want 8 and 1", tr.last.Load(), len(poked))
	}
}

func TestAcksCountOnlyMessagesSentAfter(t *testing.T) {
	const term = 7
	servers := []raft.Server{
		{ID: "a", Suffrage: raft.Voter}, {ID: "b", Suffrage: raft.Voter}, {ID: "c", Suffrage: raft.Voter},
		{ID: "x", Suffrage: raft.Nonvoter}, {ID: "y", Suffrage: raft.Nonvoter},
	}
	wire := &fakeWire{}
	a := &acks{transport: wire, poke: func() {}, peers: map[raft.ServerID]ack{}}
	send := func(id raft.ServerID, term uint64) {
		_ = a.AppendEntries(id, "", &raft.AppendEntriesRequest{Term: term}, &raft.AppendEntriesResponse{})
	}
	has := func(round uint64) bool { return a.majority(servers, "a", term, round) }

	wire.answer = func(req *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse) error {
		resp.Success, resp.Term = true, req.Term
		return nil
	}
	send("b", term)
	round := a.begin()
	if has(round) {
		t.Error("answers to messages sent before the round count")
	}
	send("x", term)
	send("y", term)
	if has(round) {
		t.Error("servers without a vote count")
	}
	send("c", term-1) // an old leadership of this node, to a voter that knows no newer one
	if has(round) {
		t.Error("messages of another term count")
	}
	accept := wire.answer
	for name, answer := range map[string]func(*raft.AppendEntriesRequest, *raft.AppendEntriesResponse) error{
		"refusals": func(q *raft.AppendEntriesRequest, p *raft.AppendEntriesResponse) error { p.Term = q.Term; return nil },
		"answers of a later term": func(q *raft.AppendEntriesRequest, p *raft.AppendEntriesResponse) error {
			p.Success, p.Term = true, q.Term+1
			return nil
		},
		"messages without answers": func(q *raft.AppendEntriesRequest, p *raft.AppendEntriesResponse) error {
			_ = accept(q, p)
			return errCut
		},
	} {
		wire.answer = answer
		send("b", term)
		if has(round) {
			t.Errorf("%s count", name)
		}
	}
	// Sent before the next round begins, answered after.
	wire.answer = func(q *raft.AppendEntriesRequest, p *raft.AppendEntriesResponse) error {
		a.begin()
		return accept(q, p)
	}
	send("b", term)
	if !has(round) {
		t.Error("one other voter of three is a majority with this node")
	}
	if has(round + 1) {
		t.Error("a message counts for a round that began after it was sent")
	}
	if a.majority(servers, "x", term, round) {
		t.Error("a node without a vote counts itself")
	}
	if !a.majority(servers[:1], "a", term, round+100) {
		t.Error("the only voter is no majority")
	}
}

type fakeWire struct {
	transport
	answer func(*raft.AppendEntriesRequest, *raft.AppendEntriesResponse) error
}

func (w *fakeWire) AppendEntries(_ raft.ServerID, _ raft.ServerAddress, req *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse) error {
	return w.answer(req, resp)
}

// TestOldAnswer is a stale read that VerifyLeader allows. A leader with a slow clock
// (its lease is long, which stands for a pause of its process) sends heartbeats, whose
// answers are held up on their way. It is cut off; the others elect a leader, which
// acknowledges a write. A read that begins now, at the old leader, must not be
// satisfied by those answers when they arrive.
func TestOldAnswer(t *testing.T) {
	c := newCluster(t, 3, func(i int, c *Config) {
		if i == 0 {
			c.HeartbeatTimeout, c.ElectionTimeout, c.LeaderLeaseTimeout = time.Minute, time.Minute, time.Minute
		}
	})
	old := c.leader()
	c.propose(1, 1)
	if err := old.ReadBarrier(withTimeout(t)); err != nil { // all is well so far
		t.Fatal(err)
	}

	hold := make(chan struct{})
	release := sync.OnceFunc(func() { close(hold) })
	defer release()
	old.link.mu.Lock()
	old.link.hold = hold
	old.link.mu.Unlock()
	old.raft.VerifyLeader() // sends heartbeats
	eventually(t, "both answers to be held", func() bool {
		old.link.mu.Lock()
		defer old.link.mu.Unlock()
		return old.link.held >= 2
	})
	next := c.replace(old)
	if _, err := next.Propose(withTimeout(t), toyCommand(2, 1)); err != nil {
		t.Fatal(err)
	}

	// The write is acknowledged. A read begins at the old leader.
	verified := old.raft.VerifyLeader()
	barrier := make(chan error, 1)
	ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
	defer cancel()
	begun := old.Stats().ReadRounds
	go func() { barrier <- old.ReadBarrier(ctx) }()
	eventually(t, "the read to begin", func() bool { return old.Stats().ReadRounds > begun })
	release() // the old answers arrive
	if err := verified.Error(); err != nil {
		t.Fatalf("VerifyLeader: %v: the scenario did not come about", err)
	}
	if err := <-barrier; err == nil {
		total, _ := old.toy.read()
		t.Errorf("ReadBarrier succeeded at a deposed leader, which would read %d after 2 was acknowledged", total)
	}
	if err := next.ReadBarrier(withTimeout(t)); err != nil {
		t.Errorf("ReadBarrier at the new leader: %v", err)
	}
}

func TestReadBarrier(t *testing.T) {
	c := newCluster(t, 3, nil)
	l := c.leader()
	if err := c.others(l)[0].ReadBarrier(withTimeout(t)); !errors.Is(err, ErrNotLeader) {
		t.Errorf("at a follower: %v", err)
	}
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	if err := l.ReadBarrier(ended); !errors.Is(err, context.Canceled) {
		t.Errorf("with a context that has ended: %v", err)
	}
	// What was acknowledged before a read begins is seen by it.
	var acked atomic.Uint64
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for id := uint64(0); ; id++ {
			select {
			case <-stop:
				return
			default:
			}
			if _, err := l.Propose(withTimeout(t), toyCommand(id, 1)); err != nil {
				t.Error(err)
				return
			}
			acked.Add(1)
		}
	})
	const readers, each = 64, 20
	before := l.Stats().ReadRounds
	var reading sync.WaitGroup
	for range readers {
		reading.Go(func() {
			for range each {
				least := acked.Load()
				if err := l.ReadBarrier(withTimeout(t)); err != nil {
					t.Error(err)
					return
				}
				if total, _ := l.toy.read(); total < least {
					t.Errorf("read %d, %d were acknowledged", total, least)
				}
			}
		})
	}
	reading.Wait()
	close(stop)
	wg.Wait()
	if rounds := l.Stats().ReadRounds - before; rounds > readers*each/4 {
		t.Errorf("%d rounds for %d reads: readers do not share them", rounds, readers*each)
	}
}

// Everything in an idle cluster's log may be entries the state machine never sees.
func TestReadBarrierWithoutCommands(t *testing.T) {
	for _, n := range []int{1, 3} {
		c := newCluster(t, n, nil)
		if err := c.leader().ReadBarrier(withTimeout(t)); err != nil {
			t.Errorf("%d nodes: %v", n, err)
		}
	}
}

// A leader that lost its majority fails reads when its lease ends, not never.
func TestReadBarrierWithoutMajority(t *testing.T) {
	c := newCluster(t, 3, nil)
	l := c.leader()
	c.net.isolate(l.config.ID, true)
	if err := l.ReadBarrier(withTimeout(t)); !errors.Is(err, ErrNotLeader) {
		t.Errorf("ReadBarrier: %v, want ErrNotLeader", err)
	}
}
