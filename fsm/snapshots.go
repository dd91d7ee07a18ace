package fsm

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"

	"github.com/hashicorp/raft"

	"farm/internal/crash"
)

// Snapshot implements raft.FSM.
func (m *Machine) Snapshot() (raft.FSMSnapshot, error) {
	return &snapshot{m, m.requestFlush()}, nil
}

// snapshot stands for the state at the moment it was made.
type snapshot struct {
	m          *Machine
	generation uint64
}

// Persist implements raft.FSMSnapshot: it returns when the state on disk has
// reached the snapshot. Nothing is copied when the sink is one of Snapshots:
// the state file is the snapshot. Any other sink gets the stream.
func (s *snapshot) Persist(to raft.SnapshotSink) error {
	if err := s.m.flushes.wait(context.Background(), s.generation); err != nil {
		return err
	}
	crash.Here("snapshot.write")
	if own, ok := to.(*sink); ok {
		own.local = true
		return own.Close()
	}
	_, from, err := s.m.openStream()
	if err != nil {
		return err
	}
	defer from.Close()
	if _, err := io.Copy(to, from); err != nil {
		return err
	}
	return to.Close()
}

// Release implements raft.FSMSnapshot.
func (s *snapshot) Release() {}

// openStream opens a snapshot of what is on disk.
func (m *Machine) openStream() (*meta, *stream, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if m.closed {
		return nil, nil, ErrClosed
	}
	t, err := m.store.openStream()
	if err != nil {
		return nil, nil, err
	}
	return t.meta, t, nil
}

// Snapshots is the machine's raft.SnapshotStore. The state file is the one
// snapshot there is, and always the newest; a snapshot that is installed from
// another replica is kept in a temporary file until it is restored. Since the
// state on disk is never behind a snapshot, raft is to run with
// NoSnapshotRestoreOnStart.
func (m *Machine) Snapshots() raft.SnapshotStore { return &snapshots{m: m} }

type snapshots struct{ m *Machine }

const stateID = "state"

func (m *meta) describe() *raft.SnapshotMeta {
	index, term := m.reached()
	return &raft.SnapshotMeta{Version: raft.SnapshotVersionMax, ID: stateID, Index: index, Term: term,
		Configuration: m.Configuration.Clone(), ConfigurationIndex: m.ConfigurationIndex, Size: m.streamBytes()}
}

// List implements raft.SnapshotStore.
func (s *snapshots) List() ([]*raft.SnapshotMeta, error) {
	s.m.mu.RLock()
	defer s.m.mu.RUnlock()
	d := s.m.store.durable.Load()
	if index, _ := d.reached(); index == 0 {
		return nil, nil
	}
	return []*raft.SnapshotMeta{d.describe()}, nil
}

// Installed tells whether the state on disk is as it was when a snapshot was taken
// or installed, with nothing applied since: only then may the log be behind it.
func (s *snapshots) Installed() bool {
	s.m.mu.RLock()
	defer s.m.mu.RUnlock()
	d := s.m.store.durable.Load()
	return d.CoverIndex > 0 && d.CoverIndex >= d.Applied
}

// Open implements raft.SnapshotStore. What it returns for the state is what is
// on disk then, which may be newer than what List said.
func (s *snapshots) Open(id string) (*raft.SnapshotMeta, io.ReadCloser, error) {
	if id != stateID {
		return s.m.openReceived(id)
	}
	d, t, err := s.m.openStream()
	if err != nil {
		return nil, nil, err
	}
	return d.describe(), t, nil
}

// Create implements raft.SnapshotStore.
func (s *snapshots) Create(_ raft.SnapshotVersion, index, term uint64, c raft.Configuration, cIndex uint64, _ raft.Transport) (raft.SnapshotSink, error) {
	return &sink{m: s.m, id: stateID, claim: claim{index, term, c.Clone(), cIndex}}, nil
}

// claim is what raft says a snapshot stands for. Its index may be past the last
// entry that the state machine was shown.
type claim struct {
	index, term        uint64
	configuration      raft.Configuration
	configurationIndex uint64
}

// incoming is the snapshots that were received, by id.
type incoming struct {
	mu     sync.Mutex
	claims map[string]claim
}

// sink takes a snapshot: from Persist, which has nothing to write, or from
// another replica. One goroutine uses it.
type sink struct {
	m     *Machine
	id    string
	claim claim
	local bool     // from Persist
	file  *os.File // what was received, nil when nothing was
	done  bool
}

// ID implements raft.SnapshotSink.
func (k *sink) ID() string { return k.id }

// Write implements io.Writer.
func (k *sink) Write(p []byte) (int, error) {
	if k.file == nil {
		f, err := os.CreateTemp(k.m.opts.Dir, incomePrefix)
		if err != nil {
			return 0, fmt.Errorf("fsm: receive snapshot: %w", err)
		}
		k.file, k.id = f, filepath.Base(f.Name())
	}
	crash.Here("snapshot.receive")
	return k.file.Write(p)
}

// Close implements raft.SnapshotSink. Calling it again does nothing.
func (k *sink) Close() error {
	switch {
	case k.done:
		return nil
	case k.local:
		k.done = true
		return k.m.cover(k.claim)
	case k.file == nil:
		return badSnapshot("nothing was received")
	}
	k.done = true
	in := &k.m.incoming
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.claims == nil {
		in.claims = map[string]claim{}
	}
	in.claims[k.id] = k.claim
	return k.file.Close()
}

// Cancel implements raft.SnapshotSink.
func (k *sink) Cancel() error {
	k.done = true
	if k.file == nil {
		return nil
	}
	return errors.Join(k.file.Close(), os.Remove(k.file.Name()))
}

// cover notes that the state answers for everything up to a claim of raft's,
// and writes that down: after a restart raft begins behind it, and may have
// dropped the log before it.
func (m *Machine) cover(c claim) error {
	m.mu.Lock()
	if reached, _ := m.pos.reached(); c.index >= reached {
		m.pos.claim(&c)
		m.dirty = true
		m.arrive()
	}
	m.mu.Unlock()
	return m.flush(context.Background())
}

func (p *position) claim(c *claim) {
	p.CoverIndex, p.CoverTerm = c.index, c.term
	p.Configuration, p.ConfigurationIndex = c.configuration, c.configurationIndex
}

// received reads a snapshot that was received; closing it deletes it.
type received struct {
	*os.File
	m     *Machine
	claim claim
}

func (m *Machine) openReceived(id string) (*raft.SnapshotMeta, io.ReadCloser, error) {
	m.incoming.mu.Lock()
	defer m.incoming.mu.Unlock()
	c, ok := m.incoming.claims[id]
	if !ok {
		return nil, nil, fmt.Errorf("fsm: there is no snapshot %q", id)
	}
	f, err := os.Open(filepath.Join(m.opts.Dir, id))
	if err != nil {
		return nil, nil, fmt.Errorf("fsm: open snapshot: %w", err)
	}
	size, err := f.Seek(0, io.SeekEnd)
	if err == nil {
		_, err = f.Seek(0, io.SeekStart)
	}
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("fsm: open snapshot: %w", err), f.Close())
	}
	return &raft.SnapshotMeta{Version: raft.SnapshotVersionMax, ID: id, Index: c.index, Term: c.term,
		Configuration: c.configuration, ConfigurationIndex: c.configurationIndex, Size: size}, &received{f, m, c}, nil
}

// Close implements io.Closer.
func (r *received) Close() error {
	err := r.File.Close()
	if errors.Is(err, os.ErrClosed) {
		return nil
	}
	r.m.incoming.mu.Lock()
	defer r.m.incoming.mu.Unlock()
	delete(r.m.incoming.claims, filepath.Base(r.Name()))
	return errors.Join(err, os.Remove(r.Name()))
}
