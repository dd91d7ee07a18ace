package consensus

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"sync"
	"time"

	"github.com/hashicorp/raft"

	"farm/internal/crash"
	"farm/internal/stall"
)

const (
	// maxStoredEntry is the largest entry that is written, in bytes. The WAL
	// refuses 64 MiB; above any entry that Config allows.
	maxStoredEntry = 32 << 20

	// sealFormat is the first byte of a seal; another value is another format.
	sealFormat = 1
	sealSize   = 5 // format, CRC32C
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// errStoreEnded is what a guard answers after its first failure or after Close.
var errStoreEnded = errors.New("consensus: the log store has ended")

// store is what raft needs of a disk.
type store interface {
	raft.LogStore
	Set(key, value []byte) error
	Get(key []byte) ([]byte, error) // nil without an error when there is none
	IsMonotonic() bool
	Close() error
}

// guard stands between raft and its disk. It seals every entry and every stable
// value with a checksum and verifies it on the way back; and it ends the process,
// through fatal, on any error of a write, on any write longer than limit (while it
// still hangs), and on anything read back that is not what was written. raft itself
// would step down and go on, with a failed commit that the next read may show.
//
// The checksum of an entry rides in its Extensions, the field raft keeps for such a
// layer, so that the data need not be copied. It covers index, term, type and data:
// an intact entry in the wrong place is found as well.
//
// Safe for concurrent use, as raft uses it.
type guard struct {
	store
	limit time.Duration

	mu     sync.Mutex
	fatal  func(error) // nil until armed: Start reports errors by returning them
	failed error       // the first failure
	closed bool
}

func newGuard(s store, limit time.Duration) *guard {
	return &guard{store: s, limit: limit}
}

// arm lets failures end the process from here on, one that has happened included.
func (g *guard) arm(fatal func(error)) {
	g.mu.Lock()
	g.fatal = fatal
	failed := g.failed
	g.mu.Unlock()
	if failed != nil {
		fatal(failed)
	}
}

// fail records the first failure, calls fatal for it, and returns err.
func (g *guard) fail(err error) error {
	g.mu.Lock()
	first := g.failed == nil && !g.closed
	if first {
		g.failed = err
	}
	fatal := g.fatal
	g.mu.Unlock()
	if first && fatal != nil {
		fatal(err)
	}
	return err
}

// ended says why nothing may be done any more, nil while the guard works.
func (g *guard) ended() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case g.failed != nil:
		return fmt.Errorf("%w: %w", errStoreEnded, g.failed)
	case g.closed:
		return errStoreEnded
	}
	return nil
}

func (g *guard) failure() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.failed
}

// write runs one write of the store. what is formatted only when it goes wrong.
func (g *guard) write(do func() error, what string, args ...any) error {
	if err := g.ended(); err != nil {
		return err
	}
	stop := stall.Watch(g.limit, func() {
		_ = g.fail(fmt.Errorf("%w: %s took longer than %v", ErrStalled, fmt.Sprintf(what, args...), g.limit))
	})
	err := do()
	stop()
	if err != nil {
		return g.fail(fmt.Errorf("%w: %s: %w", ErrWrite, fmt.Sprintf(what, args...), err))
	}
	return g.ended()
}

func (g *guard) StoreLog(l *raft.Log) error { return g.StoreLogs([]*raft.Log{l}) }

func (g *guard) StoreLogs(logs []*raft.Log) error {
	if len(logs) == 0 {
		return nil
	}
	copies := make([]raft.Log, len(logs))
	sealed := make([]*raft.Log, len(logs))
	for i, l := range logs {
		if len(l.Data) > maxStoredEntry || len(l.Extensions) > 0 {
			return g.fail(fmt.Errorf("%w: entry %d has %d bytes of data and %d of extensions", ErrWrite, l.Index, len(l.Data), len(l.Extensions)))
		}
		copies[i] = *l
		copies[i].Extensions = sealEntry(l)
		sealed[i] = &copies[i]
	}
	return g.write(func() error {
		if err := crash.Err("log.before-write"); err != nil {
			return err
		}
		err := g.store.StoreLogs(sealed)
		crash.Here("log.after-write")
		return err
	}, "storing entries %d to %d", logs[0].Index, logs[len(logs)-1].Index)
}

func (g *guard) DeleteRange(from, to uint64) error {
	return g.write(func() error { return g.store.DeleteRange(from, to) }, "deleting entries %d to %d", from, to)
}

// GetLog returns raft.ErrLogNotFound, as it is, when there is no such entry: raft
// compares it.
func (g *guard) GetLog(index uint64, l *raft.Log) error {
	var read raft.Log
	err := g.store.GetLog(index, &read)
	if errors.Is(err, raft.ErrLogNotFound) {
		return raft.ErrLogNotFound
	}
	if err != nil {
		return g.readFailed(fmt.Errorf("%w: entry %d cannot be read: %w", ErrCorrupt, index, err))
	}
	if read.Index != index || !entrySealed(&read) {
		return g.readFailed(fmt.Errorf("%w: entry %d does not match its checksum", ErrCorrupt, index))
	}
	read.Extensions = nil
	*l = read
	return nil
}

// readFailed is fail, except that a store that has been closed has not failed.
func (g *guard) readFailed(err error) error {
	if ended := g.ended(); ended != nil {
		return ended
	}
	return g.fail(err)
}

func (g *guard) FirstIndex() (uint64, error) {
	i, err := g.store.FirstIndex()
	if err != nil {
		return 0, g.readFailed(fmt.Errorf("%w: first index: %w", ErrCorrupt, err))
	}
	return i, nil
}

func (g *guard) LastIndex() (uint64, error) {
	i, err := g.store.LastIndex()
	if err != nil {
		return 0, g.readFailed(fmt.Errorf("%w: last index: %w", ErrCorrupt, err))
	}
	return i, nil
}

// Set stores a stable value: the term, or a vote.
func (g *guard) Set(key, value []byte) error {
	sealed := append(sealValue(key, value), value...)
	return g.write(func() error {
		crash.Here("vote.before-write")
		return g.store.Set(key, sealed)
	}, "storing %q", key)
}

// Get returns nil for a key that was never set.
func (g *guard) Get(key []byte) ([]byte, error) {
	sealed, err := g.store.Get(key)
	if err != nil {
		return nil, g.readFailed(fmt.Errorf("%w: %q cannot be read: %w", ErrCorrupt, key, err))
	}
	if sealed == nil {
		return nil, nil
	}
	if len(sealed) < sealSize || string(sealed[:sealSize]) != string(sealValue(key, sealed[sealSize:])) {
		return nil, g.readFailed(fmt.Errorf("%w: %q does not match its checksum", ErrCorrupt, key))
	}
	return sealed[sealSize:], nil
}

func (g *guard) SetUint64(key []byte, value uint64) error {
	return g.Set(key, binary.BigEndian.AppendUint64(nil, value))
}

// GetUint64 returns 0 for a key that was never set.
func (g *guard) GetUint64(key []byte) (uint64, error) {
	value, err := g.Get(key)
	if err != nil || value == nil {
		return 0, err
	}
	if len(value) != 8 {
		return 0, g.readFailed(fmt.Errorf("%w: %q is not a number", ErrCorrupt, key))
	}
	return binary.BigEndian.Uint64(value), nil
}

// Close ends the guard and the store. Later calls fail without being failures.
func (g *guard) Close() error {
	g.mu.Lock()
	closed := g.closed
	g.closed = true
	g.mu.Unlock()
	if closed {
		return nil
	}
	return g.store.Close()
}

// sealEntry is the format byte and the CRC32C of index, term, type and data.
func sealEntry(l *raft.Log) []byte {
	var head [17]byte
	binary.BigEndian.PutUint64(head[:], l.Index)
	binary.BigEndian.PutUint64(head[8:], l.Term)
	head[16] = byte(l.Type)
	return appendSeal(crc32.Update(crc32.Checksum(head[:], castagnoli), castagnoli, l.Data))
}

func entrySealed(l *raft.Log) bool {
	return string(l.Extensions) == string(sealEntry(l))
}

// sealValue is the format byte and the CRC32C of key and value.
func sealValue(key, value []byte) []byte {
	return appendSeal(crc32.Update(crc32.Checksum(key, castagnoli), castagnoli, value))
}

func appendSeal(sum uint32) []byte {
	return binary.BigEndian.AppendUint32([]byte{sealFormat}, sum)
}
