// Package wire is the small binary encoding that farm's log entries and state
// records share: unsigned varints, length-prefixed bytes, and nothing else. It
// writes canonical bytes (one encoding for one value) and reads hostile ones:
// a Reader never panics, never allocates more than its input holds, and keeps
// the first error.
package wire

import (
	"encoding/binary"
	"errors"
)

// ErrCorrupt is returned when the bytes are not what a writer of this package
// makes: cut off, over-long, or with a non-canonical number.
var ErrCorrupt = errors.New("wire: corrupt encoding")

// AppendUint appends v as an unsigned varint.
func AppendUint(b []byte, v uint64) []byte { return binary.AppendUvarint(b, v) }

// AppendInt appends v as a zig-zag varint.
func AppendInt(b []byte, v int64) []byte { return binary.AppendVarint(b, v) }

// AppendBool appends one byte, 0 or 1.
func AppendBool(b []byte, v bool) []byte {
	if v {
		return append(b, 1)
	}
	return append(b, 0)
}

// AppendString appends the length of s and s.
func AppendString(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// AppendBytes appends the length of p and p. Nil and empty are the same.
func AppendBytes(b, p []byte) []byte {
	return append(binary.AppendUvarint(b, uint64(len(p))), p...)
}

// Reader reads what the Append functions wrote. The zero Reader is empty; use
// NewReader. After the first error every read returns a zero value, so a
// decoder checks Err or Done once at its end. Not safe for concurrent use.
type Reader struct {
	b   []byte
	err error
}

// NewReader reads b, which must not change while results of Bytes are in use:
// they are parts of it.
func NewReader(b []byte) *Reader { return &Reader{b: b} }

func (r *Reader) fail() {
	r.err, r.b = ErrCorrupt, nil
}

// Uint reads an unsigned varint.
func (r *Reader) Uint() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 || (n > 1 && r.b[n-1] == 0) {
		r.fail()
		return 0
	}
	r.b = r.b[n:]
	return v
}

// Int reads a zig-zag varint.
func (r *Reader) Int() int64 {
	u := r.Uint()
	v := int64(u >> 1)
	if u&1 != 0 {
		v = ^v
	}
	return v
}

// Bool reads one byte that must be 0 or 1.
func (r *Reader) Bool() bool {
	c := r.Byte()
	if c > 1 {
		r.fail()
	}
	return c == 1
}

// Byte reads one byte.
func (r *Reader) Byte() byte {
	if len(r.b) == 0 {
		r.fail()
		return 0
	}
	c := r.b[0]
	r.b = r.b[1:]
	return c
}

// Bytes reads a length and that many bytes, which are a part of the input and
// nil when there are none.
func (r *Reader) Bytes() []byte {
	n := r.Uint()
	if n > uint64(len(r.b)) {
		r.fail()
		return nil
	}
	if n == 0 {
		return nil
	}
	p := r.b[:n:n]
	r.b = r.b[n:]
	return p
}

// Fixed reads n bytes, which are a part of the input. After an error it returns
// n zero bytes, when n is that of a hash or less, and nil otherwise.
func (r *Reader) Fixed(n int) []byte {
	if n > len(r.b) {
		r.fail()
		if n > maxFixed {
			return nil
		}
		return make([]byte, n)
	}
	p := r.b[:n:n]
	r.b = r.b[n:]
	return p
}

// maxFixed is the largest n for which Fixed returns bytes after an error.
const maxFixed = 64

// String reads a length and that many bytes as a string.
func (r *Reader) String() string { return string(r.Bytes()) }

// Count reads a number of elements that follow, each at least one byte long:
// a count that the rest of the input cannot hold is an error, so a caller may
// allocate that many.
func (r *Reader) Count() int {
	n := r.Uint()
	if n > uint64(len(r.b)) {
		r.fail()
		return 0
	}
	return int(n)
}

// Rest returns what has not been read.
func (r *Reader) Rest() []byte { return r.b }

// Err returns the first error.
func (r *Reader) Err() error { return r.err }

// Done returns the first error, or ErrCorrupt when input is left over.
func (r *Reader) Done() error {
	if r.err == nil && len(r.b) != 0 {
		r.fail()
	}
	return r.err
}
