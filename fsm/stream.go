package fsm

import (
	"bufio"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"io"
	"sync"

	"go.etcd.io/bbolt"

	"farm/internal/wire"
)

// The shape of a snapshot, equal on every replica at the same index:
//
//	8 bytes    snapshotMagic
//	byte       snapshotVersion
//	uvarint    length of the header
//	           the header: index, term, policy version, chain hash,
//	           configuration, number, bytes and hash of the records
//	           the records by key: length, key, length, value
//	32 bytes   SHA-256 of all before
const (
	snapshotMagic   = "farmsnap"
	snapshotVersion = 1
	maxHeaderBytes  = 1 << 20 // of the header: a configuration of thousands of replicas
	streamChunk     = 256 << 10
)

// ErrClosed is returned once the machine, or the store a stream reads, is closed.
var ErrClosed = errors.New("fsm: closed")

func (m *meta) header() []byte {
	h := m.appendShared(nil)
	b := append([]byte(snapshotMagic), snapshotVersion)
	return append(wire.AppendUint(b, uint64(len(h))), h...)
}

// streamBytes is the length of the snapshot of a state.
func (m *meta) streamBytes() int64 {
	return int64(len(m.header())) + int64(m.Bytes) + sha256.Size
}

// stream reads a snapshot out of a read transaction. One goroutine may read
// while another closes or aborts.
type stream struct {
	store *store
	meta  *meta

	mu    sync.Mutex
	tx    *bbolt.Tx // nil when closed
	hash  hash.Hash
	cur   *bbolt.Cursor
	begun bool
	ended bool
	check *totals // of the records read, when they are to be verified
	buf   []byte  // made but not read yet
	spare []byte
}

func (s *store) openStream() (*stream, error) {
	tx, err := s.db.Begin(false)
	if err != nil {
		return nil, fmt.Errorf("fsm: read state: %w", err)
	}
	m, err := s.readMeta(tx)
	if err != nil {
		tx.Rollback()
		s.report(err)
		return nil, err
	}
	t := &stream{store: s, meta: m, tx: tx, hash: sha256.New(), cur: tx.Bucket(recordsBucket).Cursor()}
	t.buf = m.header()
	t.hash.Write(t.buf)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.streams[t] = struct{}{}
	return t, nil
}

// Read implements io.Reader.
func (t *stream) Read(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.tx == nil {
		return 0, ErrClosed
	}
	if len(t.buf) == 0 {
		if t.ended {
			return 0, io.EOF
		}
		if err := guard(t.store.path, t.fill); err != nil {
			t.store.report(err)
			return 0, err
		}
	}
	n := copy(p, t.buf)
	t.buf = t.buf[n:]
	return n, nil
}

// fill makes the next chunk of records, or the end.
func (t *stream) fill() error {
	b := t.spare[:0]
	for len(b) < streamChunk && !t.ended {
		k, sealed := t.next()
		if k == nil {
			return t.finish(b)
		}
		v, err := unseal(string(k), sealed)
		if err != nil {
			return err
		}
		if t.check != nil {
			t.check.add(string(k), v)
		}
		b = wire.AppendBytes(wire.AppendBytes(b, k), v)
	}
	t.hash.Write(b)
	t.buf, t.spare = b, b
	return nil
}

// finish makes the last chunk.
func (t *stream) finish(b []byte) error {
	if t.check != nil && *t.check != t.meta.totals {
		return fmt.Errorf("%w: %d records of %d bytes are there, %d of %d were written, or their hashes differ",
			ErrCorrupt, t.check.Count, t.check.Bytes, t.meta.Count, t.meta.Bytes)
	}
	t.hash.Write(b)
	t.buf = t.hash.Sum(b)
	t.ended = true
	return nil
}

func (t *stream) next() (k, v []byte) {
	if t.begun {
		return t.cur.Next()
	}
	t.begun = true
	return t.cur.First()
}

// abort ends the transaction; reads fail from then on.
func (t *stream) abort() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.tx != nil {
		t.tx.Rollback()
		t.tx, t.cur = nil, nil
	}
}

// Close implements io.Closer.
func (t *stream) Close() error {
	t.abort()
	t.store.mu.Lock()
	defer t.store.mu.Unlock()
	delete(t.store.streams, t)
	return nil
}

// snapshotReader reads a snapshot that came from elsewhere: nothing in it is
// believed before the checksum at its end.
type snapshotReader struct {
	r    *bufio.Reader
	hash hash.Hash
}

func newSnapshotReader(r io.Reader) *snapshotReader {
	return &snapshotReader{bufio.NewReaderSize(r, streamChunk), sha256.New()}
}

func badSnapshot(format string, args ...any) error {
	return fmt.Errorf("%w: snapshot: %w", ErrCorrupt, fmt.Errorf(format, args...))
}

// bytes reads n bytes.
func (s *snapshotReader) bytes(n int) ([]byte, error) {
	b := make([]byte, n)
	if _, err := io.ReadFull(s.r, b); err != nil {
		return nil, badSnapshot("cut off: %w", err)
	}
	s.hash.Write(b)
	return b, nil
}

// ReadByte implements io.ByteReader, for lengths.
func (s *snapshotReader) ReadByte() (byte, error) {
	c, err := s.r.ReadByte()
	if err == nil {
		s.hash.Write([]byte{c})
	}
	return c, err
}

// prefixed reads a length of at most limit, and that many bytes.
func (s *snapshotReader) prefixed(what string, limit uint64) ([]byte, error) {
	n, err := binary.ReadUvarint(s)
	if err != nil {
		return nil, badSnapshot("length of a %s: %w", what, err)
	}
	if n > limit {
		return nil, badSnapshot("a %s of %d bytes, the limit is %d", what, n, limit)
	}
	return s.bytes(int(n))
}

// header reads up to the first record.
func (s *snapshotReader) header() (*meta, error) {
	magic, err := s.bytes(len(snapshotMagic) + 1)
	if err != nil {
		return nil, err
	}
	if string(magic[:len(snapshotMagic)]) != snapshotMagic {
		return nil, badSnapshot("this is none")
	}
	if v := magic[len(snapshotMagic)]; v > snapshotVersion {
		return nil, newerFormat("the snapshot", uint64(v), snapshotVersion)
	} else if v == 0 {
		return nil, badSnapshot("format 0")
	}
	h, err := s.prefixed("header", maxHeaderBytes)
	if err != nil {
		return nil, err
	}
	m := &meta{}
	r := wire.NewReader(h)
	m.readShared(r)
	if r.Done() != nil {
		return nil, badSnapshot("header")
	}
	return m, nil
}

// record reads the next record.
func (s *snapshotReader) record() (key string, value []byte, err error) {
	k, err := s.prefixed("key", maxKeyBytes)
	if err != nil {
		return "", nil, err
	}
	value, err = s.prefixed("value", maxValueBytes)
	return string(k), value, err
}

// end reads the checksum and makes sure that nothing follows.
func (s *snapshotReader) end() error {
	want := s.hash.Sum(nil)
	got := make([]byte, sha256.Size)
	if _, err := io.ReadFull(s.r, got); err != nil {
		return badSnapshot("cut off: %w", err)
	}
	if string(got) != string(want) {
		return badSnapshot("it does not match its checksum")
	}
	if _, err := s.r.ReadByte(); !errors.Is(err, io.EOF) {
		return badSnapshot("there is more after its end")
	}
	return nil
}
