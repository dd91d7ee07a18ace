package fsm

import (
	"crypto/sha256"
	"encoding/binary"

	"farm/internal/wire"
)

// sum is the hash of a set of records, whatever the order they came in: each
// record's SHA-256, as four numbers, added modulo 2^64. So it is kept up to
// date at the cost of what changed: a record's old value is taken away, the new
// one added. It finds accidents, on disk or in the code; it is no defence
// against somebody who chooses records to collide.
type sum [4]uint64

func recordSum(key string, value []byte) (s sum) {
	b := make([]byte, 0, 512)
	b = append(append(wire.AppendUint(b, uint64(len(key))), key...), value...)
	h := sha256.Sum256(b)
	for i := range s {
		s[i] = binary.LittleEndian.Uint64(h[8*i:])
	}
	return s
}

func (s *sum) add(o sum) {
	for i := range s {
		s[i] += o[i]
	}
}

func (s *sum) sub(o sum) {
	for i := range s {
		s[i] -= o[i]
	}
}

func (s sum) bytes() []byte {
	b := make([]byte, 0, 32)
	for _, v := range s {
		b = binary.BigEndian.AppendUint64(b, v)
	}
	return b
}

// totals describes a set of records: it is the same on every replica that
// holds the same records.
type totals struct {
	Count uint64 // records
	Bytes uint64 // they take in a snapshot
	Sum   sum
}

func (t *totals) add(key string, value []byte) {
	t.Count++
	t.Bytes += recordBytes(key, value)
	t.Sum.add(recordSum(key, value))
}

func (t *totals) remove(key string, value []byte) {
	t.Count--
	t.Bytes -= recordBytes(key, value)
	t.Sum.sub(recordSum(key, value))
}

// recordBytes is the length of a record in a snapshot.
func recordBytes(key string, value []byte) uint64 {
	return uint64(uintBytes(len(key)) + len(key) + uintBytes(len(value)) + len(value))
}

func uintBytes(n int) int {
	k := 1
	for ; n >= 0x80; n >>= 7 {
		k++
	}
	return k
}
