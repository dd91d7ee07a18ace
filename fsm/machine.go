package fsm

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"farm/internal/wire"
	"farm/scheduler"
)

const (
	stateFile     = "state.db"
	restorePrefix = "restore-"  // a state being built from a snapshot
	incomePrefix  = "incoming-" // a snapshot being received

	defaultFlushEvery   = 500 * time.Millisecond
	defaultFlushRecords = 1 << 18
	// flushBytes of unflushed keys and values start a flush before its time.
	flushBytes = 32 << 20
	// backlog times FlushRecords or flushBytes unflushed make an apply wait.
	backlog = 4
	// FatalExit is the exit code of the default Options.Fatal.
	FatalExit = 70
)

// Options are what a Machine needs. They are copied by Open.
type Options struct {
	// Dir is the data folder. It holds state.db, and temporary files while a
	// snapshot is installed. One machine uses it at a time.
	Dir string
	// FlushEvery is how long a change may be in memory only; 500 ms if zero.
	FlushEvery time.Duration
	// FlushRecords is the number of changed records that start a flush before
	// its time; 1<<18 if zero. At four times as many an apply waits.
	FlushRecords int
	// OnApply, if set, is called for every command entry that is applied, on
	// raft's goroutine and under the state's write lock: it must not block, nor
	// call the machine, and may keep nothing of the state.
	OnApply func(Applied)
	// Fatal is called once, with an error after which the state cannot be
	// trusted, and must end the process: the machine does no more. It may be
	// called from any goroutine and with locks held, and must not call the
	// machine. The default logs and exits with FatalExit.
	Fatal func(error)
	// Logger is slog.Default if nil.
	Logger *slog.Logger
}

func (o *Options) setDefaults() {
	if o.FlushEvery <= 0 {
		o.FlushEvery = defaultFlushEvery
	}
	if o.FlushRecords <= 0 {
		o.FlushRecords = defaultFlushRecords
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.Fatal == nil {
		log := o.Logger
		o.Fatal = func(err error) {
			log.Error("the state can not be trusted any more, the process ends", "error", err)
			os.Exit(FatalExit)
		}
	}
}

// Machine is the replicated state on one node. It implements raft.FSM,
// raft.BatchingFSM and raft.ConfigurationStore; raft calls those one at a time,
// everything else is safe for concurrent use.
type Machine struct {
	opts    Options
	reached atomic.Uint64 // entries up to this index are in the state

	applied progress      // indexes
	flushes progress      // generations on disk
	kick    chan struct{} // to the flusher, one at a time
	stop    chan struct{}
	stopped sync.WaitGroup
	failure atomic.Pointer[error]
	told    chan struct{}      // closed when what failed has been said
	hook    func(point string) // of tests: called where a crash is interesting
	limit   time.Duration      // a commit longer than this ends the process

	writing sync.Mutex // held while the store is written or replaced, taken before mu

	incoming incoming // snapshots being received

	mu         sync.RWMutex // guards what follows
	store      *store
	overlay    *overlay
	state      *scheduler.State
	pos        position
	marks      marks
	decided    []byte // room for what is hashed of an entry's results
	generation uint64 // number of the current generation
	dirty      bool   // the position or a record changed in it
	closed     bool
}

// Open opens the state in a folder, or makes a new one. Errors: ErrLocked,
// ErrNewerFormat, ErrCorrupt, or what the file system says.
func Open(o Options) (*Machine, error) {
	o.setDefaults()
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("fsm: data folder: %w", err)
	}
	m := &Machine{opts: o, kick: make(chan struct{}, 1), stop: make(chan struct{}), told: make(chan struct{}), generation: 1, limit: commitLimit, hook: func(string) {}}
	st, err := openStore(filepath.Join(o.Dir, stateFile), m.fail)
	if err != nil {
		return nil, err
	}
	ov, state, err := loadState(st)
	if err == nil {
		err = removeLeftovers(o.Dir)
	}
	if err != nil {
		return nil, errors.Join(err, st.close())
	}
	m.adopt(st, ov, state)
	m.stopped.Go(m.flusher)
	return m, nil
}

// adopt makes a loaded store the machine's. The caller holds mu, or nobody else
// has the machine yet.
func (m *Machine) adopt(st *store, ov *overlay, state *scheduler.State) {
	st.live.Store(true)
	m.store, m.overlay, m.state, m.pos = st, ov, state, st.durable.Load().position
	m.dirty = false
	m.arrive()
}

// loadState builds the scheduler's state from a store.
func loadState(st *store) (*overlay, *scheduler.State, error) {
	if err := checkPolicy(st.durable.Load().Policy); err != nil {
		return nil, nil, err
	}
	ov := &overlay{store: st, current: newGeneration(nil)}
	var state *scheduler.State
	err := guard(st.path, func() (err error) {
		state, err = scheduler.Load(ov)
		return err
	})
	var newer *scheduler.VersionError
	switch {
	case errors.As(err, &newer):
		return nil, nil, fmt.Errorf("fsm: %w: %w", ErrNewerFormat, err)
	case errors.Is(err, wire.ErrCorrupt):
		return nil, nil, fmt.Errorf("%w: %w", ErrCorrupt, err)
	case err != nil:
		return nil, nil, fmt.Errorf("fsm: load state: %w", err)
	}
	return ov, state, nil
}

// removeLeftovers deletes what a crash left in the data folder. The lock on the
// state is held, so nobody is using it.
func removeLeftovers(dir string) error {
	files, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("fsm: data folder: %w", err)
	}
	for _, f := range files {
		if strings.HasPrefix(f.Name(), restorePrefix) || strings.HasPrefix(f.Name(), incomePrefix) {
			if err := os.Remove(filepath.Join(dir, f.Name())); err != nil {
				return fmt.Errorf("fsm: left over file: %w", err)
			}
		}
	}
	return nil
}

// arrive publishes how far the state is. The caller holds mu.
func (m *Machine) arrive() {
	index, _ := m.pos.reached()
	m.reached.Store(index)
	m.applied.reach(index)
}

// fail stops the machine for an error after which it must not go on.
func (m *Machine) fail(err error) {
	if m.poison(err) {
		m.opts.Fatal(err)
		close(m.told)
	}
}

// poison makes the machine write and apply nothing any more, and tells whether
// it was the first to: whoever was says what failed, and closes told.
func (m *Machine) poison(err error) bool {
	if !m.failure.CompareAndSwap(nil, &err) {
		return false
	}
	m.applied.fail(err)
	m.flushes.fail(err)
	return true
}

func (m *Machine) failed() error {
	if e := m.failure.Load(); e != nil {
		return *e
	}
	return nil
}

// View calls fn with the state as it is now. fn may read it, together with
// other readers, and keeps nothing of it; entries wait to be applied meanwhile,
// so it should be short. After Close fn is not called.
func (m *Machine) View(fn func(*scheduler.State)) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if !m.closed {
		fn(m.state)
	}
}

// Applied is the index of the last command or configuration entry applied.
func (m *Machine) Applied() uint64 {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.pos.Applied
}

// WaitApplied returns when the state holds the effects of the entry at index,
// which must be one of a command or a configuration: raft does not show others
// to the state machine, so waiting for one of those lasts until the next
// command. Errors: that of ctx, ErrClosed, or the fatal one.
func (m *Machine) WaitApplied(ctx context.Context, index uint64) error {
	return m.applied.wait(ctx, index)
}

// Flushed is the index that the state on disk has reached.
func (m *Machine) Flushed() uint64 {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.store.durable.Load().Applied
}

// Hash writes what is applied to disk and returns the hash of all records, in
// hexadecimal, and the index it belongs to. Replicas at the same index have the
// same hash. Errors: that of ctx, ErrClosed, or the fatal one.
func (m *Machine) Hash(ctx context.Context) (index uint64, sum string, err error) {
	if err := m.flush(ctx); err != nil {
		return 0, "", err
	}
	m.mu.RLock()
	defer m.mu.RUnlock()
	if m.closed {
		return 0, "", ErrClosed
	}
	d := m.store.durable.Load()
	return d.Applied, hex.EncodeToString(d.Sum.bytes()), nil
}

// Chain is the rolling hash over the index and bytes of all command entries,
// and the index of the last of them. Replicas with the same log have the same.
func (m *Machine) Chain() (index uint64, sum [32]byte) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.pos.ChainIndex, m.pos.Chain
}

// Marks returns marks of up to 64 of the newest entries that were applied since
// the machine was opened, the oldest first. Replicas choose the same entries,
// so that those of two can be compared.
func (m *Machine) Marks() []Mark {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return slices.Clone(m.marks)
}

// Verify reads the whole state on disk and checks every record, their number
// and their hash. Writing goes on meanwhile. Errors: ErrCorrupt, which is fatal
// as it is for any other reader, that of ctx, ErrClosed.
func (m *Machine) Verify(ctx context.Context) error {
	_, t, err := m.openStream()
	if err != nil {
		return err
	}
	defer t.Close()
	t.check = &totals{}
	chunk := make([]byte, streamChunk)
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		if _, err := t.Read(chunk); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
	}
}

// Close writes what is not yet on disk and lets the folder go. Raft must have
// been shut down before. Calling it again does nothing.
func (m *Machine) Close() error {
	m.mu.Lock()
	closed := m.closed
	m.closed = true
	m.mu.Unlock()
	if closed {
		return nil
	}
	close(m.stop)
	m.stopped.Wait()
	m.applied.fail(ErrClosed)
	m.flushes.fail(ErrClosed)
	m.writing.Lock()
	defer m.writing.Unlock()
	m.mu.Lock()
	defer m.mu.Unlock()
	return errors.Join(m.failed(), m.store.close())
}
