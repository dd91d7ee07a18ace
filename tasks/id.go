package tasks

import (
	"crypto/rand"
	"encoding/binary"
	"sync"
	"time"
)

// idAlphabet is Crockford's base 32, lower case: its order is that of the
// values, so ids sort by time as text.
const idAlphabet = "0123456789abcdefghjkmnpqrstvwxyz"

// idState is the newest id given out by this process: 48 bits of unix
// milliseconds, then 80 random bits, as one 128-bit number.
var idState struct {
	sync.Mutex
	hi, lo uint64
}

// NewID makes an id for a task or job: 26 characters, unique without asking
// anybody, growing with time, and strictly growing within a process. It is
// safe for concurrent use.
func NewID() string {
	ms := uint64(time.Now().UnixMilli())
	idState.Lock()
	defer idState.Unlock()
	if ms > idState.hi>>16 {
		var r [10]byte
		rand.Read(r[:]) // never fails
		idState.hi = ms<<16 | uint64(binary.BigEndian.Uint16(r[:2]))
		idState.lo = binary.BigEndian.Uint64(r[2:])
	} else {
		// The same millisecond, or a clock that ran back: count on from the
		// last id by a random step, which keeps ids of one process growing
		// and still hard to guess.
		var r [4]byte
		rand.Read(r[:])
		lo := idState.lo + 1 + uint64(binary.BigEndian.Uint32(r[:]))
		if lo < idState.lo {
			idState.hi++
		}
		idState.lo = lo
	}
	return encodeID(idState.hi, idState.lo)
}

// encodeID writes 128 bits as 26 digits of 5 bits, the first holding 3.
func encodeID(hi, lo uint64) string {
	var b [26]byte
	for i := len(b) - 1; i >= 0; i-- {
		b[i] = idAlphabet[lo&31]
		lo = lo>>5 | hi<<59
		hi >>= 5
	}
	return string(b[:])
}
