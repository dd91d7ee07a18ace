package consensus

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
)

const (
	// maxAppendEntries is the most entries in one message. Entries are groups of
	// commands already; with the default MaxEntryBytes a message is at most 8 MiB.
	maxAppendEntries = 16

	// cachedEntries is the number of newest entries kept in memory for followers
	// that are close behind, cachedBytes the most they may have together.
	cachedEntries = 128
	cachedBytes   = 32 << 20
)

// Raft is one node's part in the cluster. Its methods are safe for concurrent use.
type Raft struct {
	config    Config // with defaults
	address   string // as peers have it in their configuration
	raft      *raft.Raft
	folder    *folder
	guard     *guard
	acks      *acks
	tracker   *tracker
	proposals *proposer
	reads     *reads
	changes   chan Change
	ready     atomic.Pointer[readiness]
	fatalOnce sync.Once

	stopping chan struct{} // closed when Shutdown begins to stop raft
	loops    sync.WaitGroup

	mu       sync.Mutex
	draining bool           // no new futures
	futures  sync.WaitGroup // goroutines that wait for one

	shutdown    sync.Once
	shutdownErr error
}

// Start opens the folder and takes part: as a member if it was one, else waiting for
// Bootstrap or for being added by a leader. Errors: those of Validate, ErrLocked,
// ErrLogStore, ErrCorrupt, and those of listening.
func Start(c Config) (*Raft, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	c = c.withDefaults()
	log := newLogger(c.Logger, c.LogLevel)
	f, err := openFolder(c.Dir, c.LogStore, log)
	if err != nil {
		return nil, err
	}
	r, err := start(c, f, log)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return r, nil
}

func start(c Config, f *folder, log hclog.Logger) (*Raft, error) {
	net, err := newTransport(c.Bind, c.Instance, log)
	if err != nil {
		return nil, fmt.Errorf("consensus: listening on %s: %w", c.Bind, err)
	}
	r := &Raft{config: c, folder: f, changes: make(chan Change, 1), stopping: make(chan struct{})}
	r.ready.Store(&readiness{})
	if err := r.connect(net); err != nil {
		return nil, errors.Join(err, net.Close())
	}
	r.tracker = &tracker{BatchingFSM: c.FSM, poke: func() { r.reads.poke() }}
	r.reads = r.newReads()
	if err := r.launch(log); err != nil {
		return nil, errors.Join(err, net.Close())
	}
	r.proposals = newProposer(r.config, func(entry []byte) raft.ApplyFuture { return r.raft.Apply(entry, 0) }, r.fatal)
	r.loops.Go(r.watch)
	r.loops.Go(r.reads.run)
	r.guard.arm(r.fatal)
	return r, nil
}

// connect puts the acknowledgement counter on the transport and settles the address.
func (r *Raft) connect(t *raft.NetworkTransport) error {
	address := r.config.Address
	if address == "" {
		address = string(t.LocalAddr())
		if tcp, err := net.ResolveTCPAddr("tcp", address); err != nil || tcp.IP.IsUnspecified() {
			return fmt.Errorf("consensus: Config.Address must say what peers dial, since %s is bound", address)
		}
	}
	address = JoinAddress(address, r.config.API, r.config.Instance)
	r.address = address
	var inner transport = t
	if hook := r.config.hooks.transport; hook != nil {
		inner = hook(inner)
	}
	r.acks = &acks{
		transport: inner,
		address:   raft.ServerAddress(address),
		poke:      func() { r.reads.poke() },
		peers:     map[raft.ServerID]ack{},
	}
	return nil
}

func (r *Raft) newReads() *reads {
	self := raft.ServerID(r.config.ID)
	return &reads{
		leads:       r.leads,
		ready:       func() readiness { return *r.ready.Load() },
		commitIndex: func() uint64 { return r.raft.CommitIndex() },
		applied:     r.tracker.last.Load,
		sendAll:     func() { r.raft.VerifyLeader() },
		begin:       r.acks.begin,
		majority: func(term, round uint64) bool {
			return r.acks.majority(r.servers(), self, term, round)
		},
		changed: make(chan struct{}, 1),
		wake:    make(chan struct{}, 1),
		stop:    r.stopping,
	}
}

// launch makes the raft node. raft panics on some of what it cannot read at start;
// when that is the guard's finding, it is an error like the others.
func (r *Raft) launch(log hclog.Logger) (err error) {
	var disk store = r.folder.store
	if hook := r.config.hooks.store; hook != nil {
		disk = hook(disk)
	}
	r.guard = newGuard(disk, r.config.hooks.stallLimit)
	if err := r.reachesState(); err != nil {
		return err
	}
	cache := newCache(r.guard, cachedEntries, cachedBytes)
	defer func() {
		if p := recover(); p != nil {
			if err = r.guard.failure(); err == nil {
				panic(p)
			}
		}
	}()
	r.raft, err = raft.NewRaft(r.config.raft(log), r.tracker, cache, r.guard, r.config.Snapshots, r.acks)
	if failed := r.guard.failure(); failed != nil {
		return failed
	}
	if err != nil {
		return fmt.Errorf("consensus: %w", err)
	}
	return nil
}

// installed is what a snapshot store may tell: that the state is as it was installed
// from another node, so that the log may be older.
type installed interface{ Installed() bool }

// reachesState makes sure that the log reaches at least as far as the state. It is
// written first, so one that does not has lost entries, which this node may have
// acknowledged. After a crash in the middle of installing a snapshot it is legitimately
// older, and of no use any more.
func (r *Raft) reachesState() error {
	list, err := r.config.Snapshots.List()
	if err != nil || len(list) == 0 {
		return err
	}
	first, err := r.guard.FirstIndex()
	if err != nil {
		return err
	}
	last, err := r.guard.LastIndex()
	if err != nil || last >= list[0].Index {
		return err
	}
	if s, ok := r.config.Snapshots.(installed); !ok || !s.Installed() {
		return fmt.Errorf("%w: the log ends with entry %d, the state has entry %d: entries were lost", ErrCorrupt, last, list[0].Index)
	}
	if last == 0 {
		return nil
	}
	return r.guard.DeleteRange(first, last)
}

// raft is the configuration of hashicorp/raft.
func (c Config) raft(log hclog.Logger) *raft.Config {
	rc := raft.DefaultConfig()
	rc.LocalID = raft.ServerID(c.ID)
	rc.HeartbeatTimeout = c.HeartbeatTimeout
	rc.ElectionTimeout = c.ElectionTimeout
	rc.LeaderLeaseTimeout = c.LeaderLeaseTimeout
	rc.CommitTimeout = c.CommitTimeout
	rc.SnapshotThreshold = c.SnapshotThreshold
	rc.SnapshotInterval = c.SnapshotInterval
	rc.TrailingLogs = c.TrailingLogs
	rc.MaxAppendEntries = maxAppendEntries
	rc.Logger = log
	rc.NoLegacyTelemetry = true
	// The state machine's disk is never behind its newest snapshot.
	rc.NoSnapshotRestoreOnStart = true
	// Shutdown is ours to call: raft's own would leave futures unanswered.
	rc.ShutdownOnRemove = false
	// An entry in the buffer of raft's queue would not be answered at a shutdown.
	rc.BatchApplyCh = false
	return rc
}

// fatal reports once why this node cannot go on.
func (r *Raft) fatal(err error) {
	r.fatalOnce.Do(func() { r.config.Fatal(err) })
}

// Address is this node's address as a member: see JoinAddress.
func (r *Raft) Address() string { return r.address }

// Stats returns counters and indexes for people and metrics.
func (r *Raft) Stats() Stats {
	p := r.proposals
	p.mu.Lock()
	s := Stats{Entries: p.entries, Commands: p.commands, Waiting: p.waiting, WaitingBytes: p.waitingBytes}
	p.mu.Unlock()
	s.State = r.Role()
	s.Term = r.raft.CurrentTerm()
	s.LastLogIndex = r.raft.LastIndex()
	s.CommitIndex = r.raft.CommitIndex()
	s.AppliedIndex = r.tracker.last.Load()
	s.ReadRounds = r.reads.rounds.Load()
	s.LogStore = r.folder.kind
	_, _ = fmt.Sscan(r.raft.Stats()["last_snapshot_index"], &s.LastSnapshotIndex)
	return s
}

// track runs a wait for a future of raft. After Shutdown began to drain there are no
// new ones, since raft would not answer them.
func (r *Raft) track(wait func()) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.draining {
		return ErrStopped
	}
	r.futures.Go(wait)
	return nil
}

// Shutdown hands leadership over if it can, lets what is in flight be answered, and
// stops. It is idempotent and returns when every goroutine has ended, every callback
// has been called and the folder is free again, or with ErrStuck.
//
// The order has reasons. New commands are refused first, and those that raft has not
// seen are refused for certain. Then the transfer, so that others go on at once. Then
// raft answers what is in flight: by committing it, or by stepping down when its
// lease ends; a future left over would never be answered after raft has stopped.
// Only then raft stops, its connections first, since its goroutines wait on them,
// and at last the disk is closed, when nobody uses it.
func (r *Raft) Shutdown() error {
	r.shutdown.Do(func() { r.shutdownErr = r.stop() })
	return r.shutdownErr
}

func (r *Raft) stop() error {
	r.proposals.close()
	r.handOver()
	r.mu.Lock()
	r.draining = true
	r.mu.Unlock()
	drained := within(ShutdownLimit, func() {
		r.proposals.stopped.Wait()
		r.futures.Wait()
	})
	close(r.stopping)
	done := r.raft.Shutdown()
	closeErr := r.acks.Close()
	stopped := within(ShutdownLimit, func() {
		_ = done.Error() // never fails
		r.loops.Wait()
	})
	r.proposals.abandon()
	if !stopped {
		return ErrStuck
	}
	err := errors.Join(closeErr, r.guard.Close(), r.folder.lock.Close())
	if !drained {
		err = errors.Join(ErrStuck, err)
	}
	return err
}

// handOver tries to make another node the leader, for at most an election timeout.
// It may fail: the others elect one anyway.
func (r *Raft) handOver() {
	ctx, cancel := context.WithTimeout(context.Background(), r.config.ElectionTimeout)
	defer cancel()
	if err := r.Transfer(ctx); err != nil && !errors.Is(err, ErrNotLeader) && !errors.Is(err, ErrNoPeer) {
		r.config.Logger.Debug("leadership was not handed over", "error", err)
	}
}

// within says whether do ended in time. If not, its goroutine is left behind.
func within(limit time.Duration, do func()) bool {
	done := make(chan struct{})
	go func() {
		defer close(done)
		do()
	}()
	select {
	case <-done:
		return true
	case <-time.After(limit):
		return false
	}
}
