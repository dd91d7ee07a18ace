// Package part cuts large values into parts that are known by the hash of what
// they hold, and puts them together again. Equal stretches of two values give
// equal parts wherever they lie, so that of a value that changed a little only
// a little has to be sent and stored.
package part

import (
	"cmp"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"

	"farm/internal/wire"
)

// Sizes of parts, in bytes. Where a part ends follows from the bytes before its
// end: on average 128 KiB after MinBytes. The last part of a value may be
// shorter than MinBytes.
const (
	MinBytes = 128 << 10
	MaxBytes = 512 << 10
)

// HashBytes is the size of a hash.
const HashBytes = sha256.Size

// Hash is the SHA-256 of a part.
type Hash [HashBytes]byte

// HashOf is the hash of a part's bytes.
func HashOf(b []byte) Hash { return sha256.Sum256(b) }

// Part is one part of a value. The bytes are a piece of the value.
type Part struct {
	Hash  Hash
	Bytes []byte
}

// Manifest says what a value is made of.
type Manifest struct {
	Size  uint64 // bytes of the value
	Parts []Hash // in order; one may come more than once
}

// ErrMismatch is returned when parts are not those a manifest names.
var ErrMismatch = errors.New("parts do not match")

// Cut cuts a value. The same bytes always give the same parts.
func Cut(value []byte) (Manifest, []Part) {
	m := Manifest{Size: uint64(len(value))}
	var parts []Part
	for len(value) > 0 {
		n := length(value)
		p := Part{HashOf(value[:n]), value[:n:n]}
		m.Parts, parts = append(m.Parts, p.Hash), append(parts, p)
		value = value[n:]
	}
	return m, parts
}

// Which values of a change go in parts, in bytes.
const (
	// LargeBytes is the size from which a value does.
	LargeBytes = 256 << 10
	// EntryBytes is what the other values of one change may have together; of more
	// the largest go in parts, down to SmallBytes.
	EntryBytes = 512 << 10
	SmallBytes = 2 << 10
	// CrowdedBytes is what the values of a namespace that are not in parts may have
	// together before all from SmallBytes go in parts.
	CrowdedBytes = 16 << 20
)

// Choose says which values of a change go in parts, by their sizes, for a
// namespace that holds whole bytes of values that are not in parts.
func Choose(sizes []int, whole uint64) []bool {
	in := make([]bool, len(sizes))
	order := make([]int, len(sizes))
	left := 0
	for i, n := range sizes {
		order[i] = i
		left += n
	}
	slices.SortFunc(order, func(a, b int) int {
		return cmp.Or(cmp.Compare(sizes[b], sizes[a]), cmp.Compare(a, b))
	})
	for _, i := range order {
		n := sizes[i]
		crowded := whole+uint64(left) > CrowdedBytes
		if n < SmallBytes || n < LargeBytes && left <= EntryBytes && !crowded {
			break
		}
		in[i] = true
		left -= n
	}
	return in
}

// endMask selects the bits of the rolling sum that are zero where a part ends.
const endMask = (1<<17 - 1) << 47

// length is the length of the first part of a value: up to where a sum over
// the last 64 bytes has a certain form.
func length(b []byte) int {
	if len(b) <= MinBytes {
		return len(b)
	}
	end := min(len(b), MaxBytes)
	var sum uint64
	for i, c := range b[MinBytes-64 : end] {
		sum = sum<<1 + mix[c]
		if i >= 64 && sum&endMask == 0 {
			return MinBytes - 64 + i + 1
		}
	}
	return end
}

// mix gives each byte a number of its own, without a pattern.
var mix = func() (t [256]uint64) {
	for i := range t {
		z := uint64(i+1) * 0x9e3779b97f4a7c15
		z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
		z = (z ^ z>>27) * 0x94d049bb133111eb
		t[i] = z ^ z>>31
	}
	return t
}()

// Join puts the parts of a value together. get returns the bytes of a part, or
// nil when there is none, and may be called with parts that follow. It
// allocates no more than limit bytes. Error: ErrMismatch, wrapped, when the
// manifest says more than limit, a part is missing, or the sizes do not add up.
func Join(m Manifest, limit uint64, get func(Hash) []byte) ([]byte, error) {
	if m.Size > limit {
		return nil, fmt.Errorf("%w: a value of %d bytes, at most %d were expected", ErrMismatch, m.Size, limit)
	}
	b := make([]byte, 0, m.Size)
	for _, h := range m.Parts {
		p := get(h)
		if p == nil || uint64(len(p)) > m.Size-uint64(len(b)) {
			return nil, fmt.Errorf("%w: part %x is missing or too long", ErrMismatch, h[:6])
		}
		b = append(b, p...)
	}
	if uint64(len(b)) != m.Size {
		return nil, fmt.Errorf("%w: a value of %d bytes, its parts have %d", ErrMismatch, m.Size, len(b))
	}
	return b, nil
}

// Hashes are the hashes of the parts, one behind the other, as they are sent.
func Hashes(list []Hash) []byte {
	b := make([]byte, 0, len(list)*HashBytes)
	for i := range list {
		b = append(b, list[i][:]...)
	}
	return b
}

// ParseHashes reads what Hashes made. Error: ErrMismatch.
func ParseHashes(b []byte) ([]Hash, error) {
	if len(b)%HashBytes != 0 {
		return nil, fmt.Errorf("%w: %d bytes of hashes", ErrMismatch, len(b))
	}
	list := make([]Hash, len(b)/HashBytes)
	for i := range list {
		list[i] = Hash(b[i*HashBytes:])
	}
	return list, nil
}

// AppendTo appends the manifest in the encoding of package wire: the size, the
// number of parts, their hashes.
func (m Manifest) AppendTo(b []byte) []byte {
	b = wire.AppendUint(b, m.Size)
	b = wire.AppendUint(b, uint64(len(m.Parts)))
	for i := range m.Parts {
		b = append(b, m.Parts[i][:]...)
	}
	return b
}

// ReadManifest reads what AppendTo wrote; r keeps the error.
func ReadManifest(r *wire.Reader) Manifest {
	m := Manifest{Size: r.Uint()}
	n := r.Count()
	if n > len(r.Rest())/HashBytes {
		n = 0
		r.Fixed(len(r.Rest()) + 1) // cut off
	}
	if n > 0 {
		m.Parts = make([]Hash, n)
	}
	for i := range m.Parts {
		m.Parts[i] = Hash(r.Fixed(HashBytes))
	}
	return m
}
