package vm

import (
	"runtime"
	"sync"
	"sync/atomic"

	"farm/namespace/vm/raw"
)

// races finds maps that goroutines of a program use at the same time while one of them writes. The runtime
// would end the process. Operations enter their map in a table before they begin: of each place in it one map
// at a time has the use, with any number of readers or one writer. As long as a run has one goroutine
// nothing is entered.
type races struct{ busy [racePlaces]atomic.Uint64 }

// allRaces is the table of all runs of the process.
var allRaces = sync.OnceValue(func() *races { return &races{} })

// racePlaces is how many maps can be in use at a time, at least when their addresses differ in the right
// bits; others wait for each other.
const racePlaces = 1 << 12

// The use of a place: the address of the map, and above it the number of readers, or that of a writer.
const (
	raceReader  = 1 << 48
	raceWriter  = 0xffff << 48
	raceAddress = 1<<48 - 1
	maxReaders  = 0xfff0 << 48
)

// place is that of a map.
func (x *races) place(address uint64) *atomic.Uint64 {
	return &x.busy[address>>4*0x9e3779b97f4a7c15>>(64-12)]
}

// mapUse says that a map is about to be read or written. The caller calls the result when it has been.
// It ends the run when another goroutine uses the map so that the runtime would end the process.
func (t *thread) mapUse(m raw.Pointer, write bool) (done func()) {
	if m == nil {
		return func() {}
	}
	address := raw.Address(m)
	place := t.run.races.Load().place(address)
	for {
		was := place.Load()
		use := was + raceReader
		switch {
		case was == 0 && write:
			use = address | raceWriter
		case was == 0:
			use = address | raceReader
		case was&raceAddress != address || !write && was >= maxReaders && was < raceWriter: // in a moment
			t.checkStop()
			runtime.Gosched()
			continue
		case write || was >= raceWriter:
			t.racing(write, was >= raceWriter)
		}
		if place.CompareAndSwap(was, use) {
			return func() { unuse(place) }
		}
	}
}

// unuse ends a use of a place.
func unuse(place *atomic.Uint64) {
	for {
		was := place.Load()
		now := was - raceReader
		if was >= raceWriter || now < raceReader {
			now = 0
		}
		if place.CompareAndSwap(was, now) {
			return
		}
	}
}

// racing ends the run as the runtime would end the process.
func (t *thread) racing(write, other bool) {
	text := "fatal error: concurrent map read and map write"
	if write && other {
		text = "fatal error: concurrent map writes"
	}
	err := &PanicError{Value: text, Text: text, Stack: t.trace()}
	t.run.fail(err)
	panic(err)
}
