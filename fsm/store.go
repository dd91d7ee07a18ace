package fsm

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"

	"farm/internal/crash"
	"farm/internal/wire"
)

// ErrCorrupt is returned when stored bytes are not what was written: a record
// or a snapshot that fails its checksum, or a file that is no state file. The
// error names the record.
var ErrCorrupt = errors.New("fsm: corrupt state")

// ErrLocked is returned by Open when another process uses the data folder.
var ErrLocked = errors.New("fsm: the data folder is in use by another process")

const (
	// MaxStateBytes is the size of the state file at which the process ends.
	// The whole of it is reserved as address space, which costs nothing, so
	// that the file is never mapped anew: that would wait for every reader, and
	// stop the readers that follow.
	MaxStateBytes = 256 << 30
	// maxKeyBytes and maxValueBytes are the most one record may have; what
	// the scheduler makes is far below. A snapshot with more is refused.
	maxKeyBytes   = 16 << 10
	maxValueBytes = 64 << 20

	lockTimeout  = time.Second // how long Open waits for another process to let go
	storeVersion = 1           // format of the file
)

// The file has a bucket of records, each value followed by its CRC32C, and a
// bucket that says what they are: the format, and how far in the log they reach.
var (
	recordsBucket = []byte("records")
	metaBucket    = []byte("meta")
	formatKey     = []byte("format")
	metaKey       = []byte("meta")
)

// store is the state file. Reads and commit may run beside each other; commits
// may not.
type store struct {
	db      *bbolt.DB
	path    string
	fail    func(error) // told of corrupt records once the store is live
	live    atomic.Bool // it is the machine's state, no longer being opened or built
	durable atomic.Pointer[meta]

	mu      sync.Mutex
	idle    []*reader         // of the newest commit
	lasts   map[string]string // prefix → the last key of the newest commit that begins with it, as far as asked for
	streams map[*stream]struct{}
}

// reader is a read transaction that one goroutine uses at a time.
type reader struct {
	tx      *bbolt.Tx
	records *bbolt.Bucket
}

// openStore opens or makes the state file at path.
func openStore(path string, fail func(error)) (*store, error) {
	s := &store{path: path, fail: fail, lasts: map[string]string{}, streams: map[*stream]struct{}{}}
	err := guard(path, func() error {
		if err := s.openFile(); err != nil {
			return err
		}
		return s.begin()
	})
	if err != nil {
		if s.db != nil {
			_ = guard(path, s.db.Close)
		}
		return nil, err
	}
	return s, nil
}

// guard turns what a damaged file can do to bbolt, a panic or a read outside its
// mapping, into ErrCorrupt.
func guard(path string, fn func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: file %s: %v", ErrCorrupt, path, p)
		}
	}()
	return fn()
}

func (s *store) openFile() error {
	var file *os.File
	db, err := bbolt.Open(s.path, 0o600, &bbolt.Options{
		Timeout:         lockTimeout,
		InitialMmapSize: MaxStateBytes,
		MaxSize:         MaxStateBytes,
		FreelistType:    bbolt.FreelistMapType,
		NoStatistics:    true,
		OpenFile: func(name string, flag int, mode os.FileMode) (f *os.File, err error) {
			file, err = os.OpenFile(name, flag, mode)
			return file, err
		},
	})
	switch {
	case errors.Is(err, berrors.ErrTimeout):
		return fmt.Errorf("%w: %s", ErrLocked, s.path)
	case errors.Is(err, berrors.ErrInvalid), errors.Is(err, berrors.ErrChecksum), errors.Is(err, berrors.ErrVersionMismatch):
		return fmt.Errorf("%w: file %s: %w", ErrCorrupt, s.path, err)
	case err != nil:
		return fmt.Errorf("fsm: open state: %w", err)
	}
	s.db = db
	// While this waited for the lock, its owner may have put a restored file
	// in the place of the one opened here.
	opened, err1 := file.Stat()
	there, err2 := os.Stat(s.path)
	if err := errors.Join(err1, err2); err != nil {
		return fmt.Errorf("fsm: open state: %w", err)
	}
	if !os.SameFile(opened, there) {
		return fmt.Errorf("%w: %s", ErrLocked, s.path)
	}
	return nil
}

// begin reads what the file says of itself, and makes the buckets of a new one.
func (s *store) begin() error {
	var m *meta
	err := s.db.View(func(tx *bbolt.Tx) (err error) {
		m, err = s.readMeta(tx)
		return err
	})
	if err != nil {
		return err
	}
	if m == nil {
		m = &meta{}
		if err := s.db.Update(initialise); err != nil {
			return fmt.Errorf("fsm: make state: %w", err)
		}
		if err := syncFolder(filepath.Dir(s.path)); err != nil {
			return err
		}
	}
	s.durable.Store(m)
	return nil
}

// readMeta returns nil for a new file.
func (s *store) readMeta(tx *bbolt.Tx) (*meta, error) {
	info, records := tx.Bucket(metaBucket), tx.Bucket(recordsBucket)
	if info == nil && records == nil {
		return nil, nil
	}
	if info == nil || records == nil {
		return nil, fmt.Errorf("%w: file %s lacks a bucket", ErrCorrupt, s.path)
	}
	format, err := unseal("format", info.Get(formatKey))
	if err != nil {
		return nil, err
	}
	r := wire.NewReader(format)
	if v := r.Uint(); v > storeVersion {
		return nil, newerFormat("the state in "+s.path, v, storeVersion)
	} else if v == 0 || r.Done() != nil {
		return nil, fmt.Errorf("%w: record %q", ErrCorrupt, "format")
	}
	b, err := unseal("meta", info.Get(metaKey))
	if err != nil {
		return nil, err
	}
	m, err := decodeMeta(bytes.Clone(b))
	if errors.Is(err, wire.ErrCorrupt) {
		return nil, fmt.Errorf("%w: record %q", ErrCorrupt, "meta")
	}
	return m, err
}

func initialise(tx *bbolt.Tx) error {
	_, err := tx.CreateBucket(recordsBucket)
	if err != nil {
		return err
	}
	info, err := tx.CreateBucket(metaBucket)
	if err != nil {
		return err
	}
	if err := info.Put(formatKey, seal("format", wire.AppendUint(nil, storeVersion))); err != nil {
		return err
	}
	return putMeta(tx, &meta{})
}

func putMeta(tx *bbolt.Tx, m *meta) error {
	return tx.Bucket(metaBucket).Put(metaKey, seal("meta", m.encode()))
}

// seal is the stored form of a value.
func seal(key string, value []byte) []byte {
	return appendSealed(make([]byte, 0, len(value)+crcBytes), key, value)
}

func appendSealed[K string | []byte](b []byte, key K, value []byte) []byte {
	return binary.LittleEndian.AppendUint32(append(b, value...), recordCRC(key, value))
}

// unseal returns the value in a stored form, a part of it and never nil. The
// error is ErrCorrupt.
func unseal(key string, b []byte) ([]byte, error) {
	n := len(b) - crcBytes
	if n < 0 || binary.LittleEndian.Uint32(b[n:]) != recordCRC(key, b[:n]) {
		return nil, fmt.Errorf("%w: record %q does not match its checksum", ErrCorrupt, key)
	}
	return b[:n:n], nil
}

func recordCRC[K string | []byte](key K, value []byte) uint32 {
	return crc32.Update(crc32.Checksum([]byte(key), castagnoli), castagnoli, value)
}

// ---- reading ----

func (s *store) acquire() *reader {
	s.mu.Lock()
	if n := len(s.idle); n > 0 {
		r := s.idle[n-1]
		s.idle = s.idle[:n-1]
		s.mu.Unlock()
		return r
	}
	s.mu.Unlock()
	tx, err := s.db.Begin(false)
	if err != nil {
		s.stop(fmt.Errorf("fsm: read state: %w", err))
	}
	return &reader{tx, tx.Bucket(recordsBucket)}
}

func (s *store) release(r *reader) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.idle = append(s.idle, r)
}

// refresh ends the readers of older commits. No reader may be in use.
func (s *store) refresh() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.idle {
		r.tx.Rollback()
	}
	s.idle = s.idle[:0]
	clear(s.lasts)
}

// report tells the machine of an error after which it must not go on.
func (s *store) report(err error) {
	if s.live.Load() {
		s.fail(err)
	}
}

// stop reports an error that a read cannot return.
func (s *store) stop(err error) {
	s.report(err)
	panic(err)
}

// get returns a copy of a record, nil when there is none.
func (s *store) get(key string) []byte {
	if key > s.last(prefixOf(key)) {
		return nil // as of most that are asked for and not there: ids and numbers grow
	}
	r := s.acquire()
	defer s.release(r)
	b := r.records.Get([]byte(key))
	if b == nil {
		return nil
	}
	v, err := unseal(key, b)
	if err != nil {
		s.stop(err)
	}
	return append([]byte{}, v...)
}

// prefixOf is a key up to its first slash, nothing of one without.
func prefixOf(key string) string {
	return key[:strings.IndexByte(key, '/')+1]
}

// last is the last key that begins with prefix, "" when there is none. It is looked
// for once a commit.
func (s *store) last(prefix string) string {
	s.mu.Lock()
	last, known := s.lasts[prefix]
	s.mu.Unlock()
	if known {
		return last
	}
	r := s.acquire()
	defer s.release(r)
	last = lastKey(r.records.Cursor(), prefix)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lasts[strings.Clone(prefix)] = last
	return last
}

func lastKey(c *bbolt.Cursor, prefix string) string {
	var k []byte
	if n := len(prefix); n == 0 {
		k, _ = c.Last()
	} else if k, _ = c.Seek([]byte(prefix[:n-1] + string(prefix[n-1]+1))); k == nil { // what comes behind them all
		k, _ = c.Last()
	} else {
		k, _ = c.Prev()
	}
	if !bytes.HasPrefix(k, []byte(prefix)) {
		return ""
	}
	return string(k)
}

// scan calls fn for the records that begin with prefix and are not below from,
// ascending, until it returns false, and tells whether it never did. value
// makes a copy.
func (s *store) scan(prefix, from string, fn func(key string, value func() []byte) bool) bool {
	r := s.acquire()
	defer s.release(r)
	c := r.records.Cursor()
	for k, b := c.Seek([]byte(max(prefix, from))); k != nil && bytes.HasPrefix(k, []byte(prefix)); k, b = c.Next() {
		key := string(k)
		more := fn(key, func() []byte {
			v, err := unseal(key, b)
			if err != nil {
				s.stop(err)
			}
			return append([]byte{}, v...)
		})
		if !more {
			return false
		}
	}
	return true
}

// ---- writing ----

// commit writes changed records and the position they reach in one synced
// transaction. After an error what the file shows is
// not known: nobody may go on.
func (s *store) commit(p position, changed *generation) error {
	records := changed.sorted()
	m := &meta{p, s.durable.Load().totals}
	if err := crash.Err("state.before-commit"); err != nil {
		return fmt.Errorf("fsm: write state: %w", err)
	}
	err := s.db.Update(func(tx *bbolt.Tx) error {
		w := newWriter(tx.Bucket(recordsBucket), &m.totals)
		for _, r := range records {
			if err := w.write(r.key, r.value); err != nil {
				return err
			}
		}
		return putMeta(tx, m)
	})
	if err != nil {
		return fmt.Errorf("fsm: write state: %w", err)
	}
	crash.Here("state.after-commit")
	s.durable.Store(m)
	return nil
}

// close ends every reader and lets the file go. Streams that are open give
// ErrClosed from then on.
func (s *store) close() error {
	s.refresh()
	s.mu.Lock()
	open := s.streams
	s.streams = nil
	s.mu.Unlock()
	for t := range open {
		t.abort()
	}
	return s.db.Close()
}

func syncFolder(dir string) error {
	d, err := os.Open(dir)
	if err == nil {
		err = errors.Join(d.Sync(), d.Close())
	}
	if err != nil {
		return fmt.Errorf("fsm: sync folder: %w", err)
	}
	return nil
}
