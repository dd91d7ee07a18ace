package consensus

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"
	raftwal "github.com/hashicorp/raft-wal"
	"github.com/hashicorp/raft-wal/metadb"
	"go.etcd.io/bbolt"
)

const (
	// walSegmentSize is the size of a WAL segment in bytes. It is allocated ahead
	// for each, so a node costs at least that much disk.
	walSegmentSize = 16 << 20

	// lockTimeout is how long the folder's lock, and then bbolt's, is waited for: a
	// process that was killed may leave it held for a moment.
	lockTimeout = time.Second
	lockRetry   = 10 * time.Millisecond

	kindFile = "log-store" // names the kind of log store in the folder
	lockFile = "lock"
)

// folder is an opened Config.Dir: the lock on it and the store in it.
type folder struct {
	store
	kind string
	lock *os.File
}

// openFolder locks dir and opens the kind of store asked for, or the one found.
func openFolder(dir, kind string, log hclog.Logger) (*folder, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("consensus: %w", err)
	}
	lock, err := lockFolder(dir)
	if err != nil {
		return nil, err
	}
	if kind, err = settleKind(dir, kind); err != nil {
		_ = lock.Close()
		return nil, err
	}
	s, err := openStore(dir, kind, log)
	if err != nil {
		_ = lock.Close()
		return nil, fmt.Errorf("consensus: opening the %s log store in %s: %w", kind, dir, err)
	}
	return &folder{store: s, kind: kind, lock: lock}, nil
}

// Close closes the store and then lets go of the folder.
func (f *folder) Close() error {
	return errors.Join(f.store.Close(), f.lock.Close())
}

// lockFolder holds the folder for as long as the file is open. bbolt locks its own
// files, but the WAL's waits for ever and does not cover its segments.
func lockFolder(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, lockFile), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("consensus: %w", err)
	}
	for end := time.Now().Add(lockTimeout); ; time.Sleep(lockRetry) {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return f, nil
		}
		if time.Now().After(end) {
			_ = f.Close()
			return nil, fmt.Errorf("%w: %s: %w", ErrLocked, dir, err)
		}
	}
}

// settleKind compares the kind asked for with the one written in dir, and writes it
// there, durably, before anything is stored.
func settleKind(dir, asked string) (string, error) {
	path := filepath.Join(dir, kindFile)
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		def(&asked, LogStoreWAL)
		return asked, writeDurably(path, asked+"\n")
	}
	if err != nil {
		return "", fmt.Errorf("consensus: %w", err)
	}
	found := strings.TrimSpace(string(data))
	if found != LogStoreWAL && found != LogStoreBoltDB {
		return "", fmt.Errorf("%w: %s names %q", ErrCorrupt, path, found)
	}
	if asked != "" && asked != found {
		return "", fmt.Errorf("%w: %s was made with %q, %q was asked for", ErrLogStore, dir, found, asked)
	}
	return found, nil
}

// writeDurably makes the file appear whole or not at all.
func writeDurably(path, content string) error {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*.tmp")
	if err != nil {
		return fmt.Errorf("consensus: %w", err)
	}
	defer os.Remove(f.Name())
	_, err = f.WriteString(content)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err == nil {
		err = syncFolder(filepath.Dir(path))
	}
	if err != nil {
		return fmt.Errorf("consensus: writing %s: %w", path, err)
	}
	return nil
}

func syncFolder(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func openStore(dir, kind string, log hclog.Logger) (store, error) {
	if kind == LogStoreBoltDB {
		return openBoltDB(filepath.Join(dir, "raft.db"))
	}
	return openWAL(filepath.Join(dir, "wal"), log)
}

// boltStore holds log and stable values in one bbolt file, every write synced.
type boltStore struct{ *raftboltdb.BoltStore }

func openBoltDB(path string) (store, error) {
	if err := wholeBoltDB(path); err != nil {
		return nil, err
	}
	s, err := raftboltdb.New(raftboltdb.Options{
		Path: path,
		BoltOptions: &bbolt.Options{
			Timeout: lockTimeout,
			// The free list is rebuilt at open instead of written with each commit.
			NoFreelistSync: true,
			FreelistType:   bbolt.FreelistMapType,
		},
		MsgpackUseNewTimeFormat: true,
	})
	if err != nil {
		return nil, err
	}
	return boltStore{s}, nil
}

// wholeBoltDB makes sure that a bbolt file is as long as it says it is. bbolt, which
// reads through a mapping, would end the process without a word on a shorter one.
func wholeBoltDB(path string) error {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil || st.Size() == 0 {
		return err
	}
	page := int64(os.Getpagesize())
	for at := range int64(2) { // either of the two meta pages may be the newer one
		var b [metaBytes]byte
		if _, err := f.ReadAt(b[:], at*page); err != nil {
			return fmt.Errorf("%w: %s has %d bytes: %w", ErrCorrupt, path, st.Size(), err)
		}
		size, pages := binary.NativeEndian.Uint32(b[24:]), binary.NativeEndian.Uint64(b[56:])
		valid := binary.NativeEndian.Uint32(b[16:]) == boltMagic && int64(size) == page && pages < 1<<40
		if need := int64(pages) * page; valid && st.Size() < need {
			return fmt.Errorf("%w: %s has %d bytes and must have %d: its end is gone", ErrCorrupt, path, st.Size(), need)
		}
	}
	return nil
}

// Of bbolt's meta page: 16 bytes of a page header; magic, version, page size, flags;
// the root bucket; the page of the free list; the number of pages in use.
const (
	boltMagic = 0xED0CDAED
	metaBytes = 64
)

func (s boltStore) IsMonotonic() bool { return false }

func (s boltStore) Get(key []byte) ([]byte, error) {
	v, err := s.BoltStore.Get(key)
	if errors.Is(err, raftboltdb.ErrKeyNotFound) {
		return nil, nil
	}
	return v, err
}

// walStore holds the log in segments and stable values in the WAL's own bbolt file.
// That file is opened here because the WAL does not close it.
type walStore struct {
	*raftwal.WAL
	meta   *metadb.BoltMetaDB
	dir    string
	sealed map[string]bool // segments that have given back what they do not use
}

func openWAL(dir string, log hclog.Logger) (store, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	meta := &metadb.BoltMetaDB{}
	w, err := raftwal.Open(dir,
		raftwal.WithMetaStore(meta),
		raftwal.WithSegmentSize(walSegmentSize),
		raftwal.WithLogger(log))
	if err != nil {
		return nil, errors.Join(err, meta.Close())
	}
	s := walStore{w, meta, dir, map[string]bool{}}
	if err := s.trim(); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// DeleteRange implements raft.LogStore. A suffix that is dropped, which every change of
// leader may ask for, ends its segment before it is full: without more, each would keep
// a whole segment's disk for as long as the log keeps its entries.
func (s walStore) DeleteRange(from, to uint64) error {
	last, err := s.LastIndex()
	if err != nil {
		return err
	}
	if err := s.WAL.DeleteRange(from, to); err != nil || to < last {
		return err
	}
	return s.trim()
}

// trim gives back what segments have allocated and do not use, but for the one that is
// written. Their names are in the order of the log.
func (s walStore) trim() error {
	segments, err := filepath.Glob(filepath.Join(s.dir, "*.wal"))
	if err != nil || len(segments) == 0 {
		return err
	}
	there := map[string]bool{}
	for _, path := range segments[:len(segments)-1] {
		there[path] = true
		if s.sealed[path] {
			continue
		}
		if err := giveBack(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		s.sealed[path] = true
	}
	maps.DeleteFunc(s.sealed, func(path string, _ bool) bool { return !there[path] })
	return nil
}

func (s walStore) Close() error {
	return errors.Join(s.WAL.Close(), s.meta.Close())
}

var (
	_ raft.LogStore          = (*guard)(nil)
	_ raft.StableStore       = (*guard)(nil)
	_ raft.MonotonicLogStore = (*guard)(nil)
)
