package fsm

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/hashicorp/raft"
	"go.etcd.io/bbolt"

	"farm/internal/crash"
	"farm/scheduler"
)

const (
	restoreBatch = 32 << 20 // bytes of records a transaction of a restore takes
	restoreFill  = 0.95     // of a page: records come in order and few will be put between
)

// Restore implements raft.FSM: it replaces the state by a snapshot. The new
// state is built and loaded beside the old one and put in its place in one
// step, so a snapshot that is damaged, foreign or of a newer farm changes
// nothing, and a crash leaves the one state or the other. A snapshot that is
// not ahead of the state is checked and then left aside: the state never goes
// back. Errors: ErrCorrupt, ErrNewerFormat, ErrClosed, or what the file system
// says.
func (m *Machine) Restore(rc io.ReadCloser) error {
	defer rc.Close()
	st, err := m.build(rc)
	if err != nil {
		return err
	}
	ov, state, err := loadState(st)
	replaced := false
	if err == nil {
		m.hook("restore: built")
		crash.Here("restore.built")
		replaced, err = m.replace(st, ov, state)
	}
	if !replaced {
		err = errors.Join(err, st.close(), os.Remove(st.path))
	}
	return err
}

// build makes a state file of a snapshot, complete and synced.
func (m *Machine) build(rc io.ReadCloser) (*store, error) {
	f, err := os.CreateTemp(m.opts.Dir, restorePrefix)
	if err == nil {
		err = f.Close()
	}
	if err != nil {
		return nil, fmt.Errorf("fsm: restore: %w", err)
	}
	st, err := openStore(f.Name(), m.fail)
	if err != nil {
		return nil, errors.Join(err, os.Remove(f.Name()))
	}
	if err := st.fill(newSnapshotReader(rc), claimOf(rc)); err != nil {
		return nil, errors.Join(err, st.close(), os.Remove(f.Name()))
	}
	return st, nil
}

// claimOf finds what raft said about a snapshot that was received from another
// replica; nil for any other.
func claimOf(rc io.ReadCloser) *claim {
	for {
		switch r := rc.(type) {
		case *received:
			return &r.claim
		case raft.ReadCloserWrapper:
			rc = r.WrappedReadCloser()
		default:
			return nil
		}
	}
}

// fill writes a snapshot into a new store.
func (s *store) fill(r *snapshotReader, c *claim) error {
	m, err := r.header()
	if err != nil {
		return err
	}
	s.db.NoSync = true // until the last transaction, which syncs them all
	var t totals
	last := ""
	for t.Count < m.Count {
		err := s.db.Update(func(tx *bbolt.Tx) error {
			return fillBatch(tx.Bucket(recordsBucket), r, &t, m.Count, &last)
		})
		if err != nil {
			return fmt.Errorf("fsm: restore: %w", err)
		}
	}
	if err := r.end(); err != nil {
		return err
	}
	if t != m.totals {
		return badSnapshot("its records are not those its header tells of")
	}
	if c != nil {
		m.claim(c)
	}
	s.db.NoSync = false
	if err := s.db.Update(func(tx *bbolt.Tx) error { return putMeta(tx, m) }); err != nil {
		return fmt.Errorf("fsm: restore: %w", err)
	}
	s.durable.Store(m)
	return nil
}

func fillBatch(records *bbolt.Bucket, r *snapshotReader, t *totals, count uint64, last *string) error {
	records.FillPercent = restoreFill
	for limit := t.Bytes + restoreBatch; t.Count < count && t.Bytes < limit; {
		key, value, err := r.record()
		if err != nil {
			return err
		}
		if key <= *last {
			return badSnapshot("record %q is not in its place", key)
		}
		*last = key
		t.add(key, value)
		if err := records.Put([]byte(key), seal(key, value)); err != nil {
			return err
		}
	}
	return nil
}

// replace puts a store that is complete in the place of the machine's, if it is
// ahead of it.
func (m *Machine) replace(st *store, ov *overlay, state *scheduler.State) (bool, error) {
	m.writing.Lock()
	defer m.writing.Unlock()
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return false, ErrClosed
	}
	if err := m.failed(); err != nil {
		return false, err
	}
	if index, _ := st.durable.Load().reached(); index <= m.reached.Load() {
		m.opts.Logger.Info("snapshot left aside, the state has it already", "snapshot", index, "state", m.reached.Load())
		return false, nil
	}
	path := filepath.Join(m.opts.Dir, stateFile)
	if err := os.Rename(st.path, path); err != nil {
		return false, fmt.Errorf("fsm: restore: %w", err)
	}
	st.path = path
	m.hook("restore: renamed")
	crash.Here("restore.renamed")
	if err := syncFolder(m.opts.Dir); err != nil {
		m.fail(err) // which of the two a crash would leave is not known
		return true, err
	}
	old := m.store
	m.adopt(st, ov, state)
	m.generation++
	m.flushes.reach(m.generation - 1)
	if err := old.close(); err != nil {
		m.opts.Logger.Warn("closing the replaced state", "error", err)
	}
	return true, nil
}
