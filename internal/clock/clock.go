// Package clock is the wall clock of a node, which tests can shift.
//
// It is the machine's, unless the environment variable FARM_CLOCK was set when
// the process started: it names a file that holds an offset as Go writes
// durations, such as -1h. The file is looked at all the time, so that the clock
// of a running process can be made to jump. Nothing but wall times is shifted:
// what measures how long something takes uses the monotonic clock.
package clock

import (
	"os"
	"strings"
	"sync/atomic"
	"time"
)

// Variable is the environment variable that names the file.
const Variable = "FARM_CLOCK"

// every is how often the file is looked at.
const every = 20 * time.Millisecond

var offset atomic.Int64 // nanoseconds

func init() {
	if path := os.Getenv(Variable); path != "" {
		follow(path)
		go func() {
			for range time.Tick(every) {
				follow(path)
			}
		}()
	}
}

// follow takes the offset over from the file; one that cannot be read or
// understood, as when it is being written, changes nothing.
func follow(path string) {
	b, err := os.ReadFile(path)
	if err != nil {
		return
	}
	if d, err := time.ParseDuration(strings.TrimSpace(string(b))); err == nil {
		offset.Store(int64(d))
	}
}

// Now is the time in nanoseconds since 1970.
func Now() int64 { return time.Now().UnixNano() + offset.Load() }
