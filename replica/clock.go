package replica

import (
	"sync"
	"time"

	"farm/internal/clock"
)

// stamps gives the times that entries are stamped with. The state's clock never
// runs back; this one, besides, never stands still: where the machine's clock has
// jumped back, or that of the last leader was ahead, it goes on from there at the
// pace of real time. Delayed tasks would otherwise wait until the machine's clock
// has come again to where the state's is.
type stamps struct {
	mu   sync.Mutex
	last int64     // given or seen
	at   time.Time // when, by the monotonic clock
}

// now is the time in nanoseconds since 1970.
func (s *stamps) now() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.move(clock.Now())
	return s.last
}

// saw notes a time that is in the log already.
func (s *stamps) saw(t int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.move(t)
}

// move goes on to a time, or to where real time has come, whatever is later.
func (s *stamps) move(t int64) {
	real := time.Now()
	if !s.at.IsZero() {
		t = max(t, s.last+int64(real.Sub(s.at)))
	}
	s.last, s.at = t, real
}
