package prompt

import (
	"bytes"
	"io"
)

const (
	ctrlC = 3
	ctrlD = 4
)

// keys reads what is typed for a terminal of package term, which has one answer
// for Ctrl-C and Ctrl-D, and keeps to itself what it has read beyond a line. So
// this one gives it no more than up to the next key that can end a line, and
// remembers that key; the rest stays here.
type keys struct {
	in   io.Reader
	left []byte // read and not given yet
	last byte   // given last
	buf  [256]byte
}

// otherKeys are sequences that terminals send, in the form that package term
// knows: Home and End in their three forms, words with Ctrl as with Alt.
var otherKeys = [][2][]byte{
	{[]byte("\x1bOH"), []byte("\x1b[H")}, {[]byte("\x1bOF"), []byte("\x1b[F")},
	{[]byte("\x1b[1~"), []byte("\x1b[H")}, {[]byte("\x1b[4~"), []byte("\x1b[F")},
	{[]byte("\x1b[1;5C"), []byte("\x1b[1;3C")}, {[]byte("\x1b[1;5D"), []byte("\x1b[1;3D")},
	{[]byte("\x1bOA"), []byte("\x1b[A")}, {[]byte("\x1bOB"), []byte("\x1b[B")},
}

// Read gives what there is up to the next key that can end a line.
func (k *keys) Read(b []byte) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	if len(k.left) == 0 {
		n, err := k.in.Read(k.buf[:])
		if n == 0 {
			return 0, err
		}
		k.left = k.buf[:n]
		for _, o := range otherKeys {
			k.left = bytes.ReplaceAll(k.left, o[0], o[1])
		}
	}
	n := min(len(k.left), len(b))
	if i := bytes.IndexAny(k.left[:n], "\x03\x04\r\n"); i >= 0 {
		n = i + 1
		if n < len(k.left) && n < len(b) && k.left[i] == '\r' && k.left[n] == '\n' {
			n++ // one end of a line
		}
	}
	copy(b, k.left[:n])
	k.last, k.left = b[n-1], k.left[n:]
	return n, nil
}
