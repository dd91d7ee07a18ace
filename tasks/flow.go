package tasks

import (
	"context"
	"sync"
)

// flow bounds what of a map is with the farm and its results not taken yet: tasks,
// and bytes of their inputs. One goroutine waits and takes, another gives back.
type flow struct {
	room int // tasks whose results are waited for

	mu    sync.Mutex
	limit int // tasks
	tasks int
	bytes int
	wake  chan struct{} // holds a token after something was given back or allowed
}

// newFlow allows as many tasks as have room.
func newFlow(room int) *flow { return &flow{room: room, limit: room, wake: make(chan struct{}, 1)} }

// wait waits until another task may be sent.
func (f *flow) wait(ctx context.Context) error {
	for {
		f.mu.Lock()
		ok := f.tasks < f.limit && f.bytes < maxAheadBytes
		f.mu.Unlock()
		if ok {
			return nil
		}
		select {
		case <-f.wake:
		case <-ctx.Done():
			return contextError(ctx)
		}
	}
}

// take counts a task, and tells whether there is room to wait for its result now.
func (f *flow) take(bytes int) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.tasks++
	f.bytes += bytes
	return f.tasks <= f.room
}

// give counts a task off.
func (f *flow) give(bytes int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.tasks--
	f.bytes -= bytes
	f.signal()
}

// allow sets how many tasks may be sent, at most maxAhead.
func (f *flow) allow(tasks int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.limit = min(tasks, maxAhead)
	f.signal()
}

func (f *flow) signal() {
	select {
	case f.wake <- struct{}{}:
	default:
	}
}
