package fsm

import (
	"context"
	"errors"
	"fmt"
	"time"

	"farm/internal/stall"
)

const (
	// commitLimit is how long a commit of the state may take before the disk
	// is held to be stuck and the process ends, so that a healthy replica can
	// take over; commitLimitPerRecord is added for each record of it.
	commitLimit          = 5 * time.Second
	commitLimitPerRecord = 50 * time.Microsecond
	// commitLimitPerMiB is added for each MiB: 10 MiB/s is a slow disk, not a
	// stuck one.
	commitLimitPerMiB = 100 * time.Millisecond
)

// flusher writes generation after generation until the machine is closed or
// fails.
func (m *Machine) flusher() {
	tick := time.NewTicker(m.opts.FlushEvery)
	defer tick.Stop()
	for stopping := false; !stopping; {
		select {
		case <-tick.C:
		case <-m.kick:
		case <-m.stop:
			stopping = true
		}
		if m.failed() != nil {
			return
		}
		if err := m.writeGeneration(); err != nil {
			m.fail(err)
			return
		}
	}
}

// writeGeneration freezes what changed, writes it, and forgets it.
func (m *Machine) writeGeneration() error {
	m.writing.Lock()
	defer m.writing.Unlock()
	number, p := m.freeze()
	if number == 0 {
		return nil
	}
	stop := m.watch(len(m.overlay.frozen.records), m.overlay.frozen.bytes)
	m.hook("flush: writing")
	err := m.store.commit(p, m.overlay.frozen)
	stop()
	if err != nil {
		return err
	}
	m.hook("flush: committed")
	m.mu.Lock()
	defer m.mu.Unlock()
	m.overlay.frozen = nil
	m.store.refresh()
	m.flushes.reach(number)
	return nil
}

// freeze ends the current generation and returns its number and the position it
// reaches; 0 when there is nothing to write, or nothing may be.
func (m *Machine) freeze() (uint64, position) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.dirty || m.failed() != nil {
		return 0, position{}
	}
	m.state.Settle()
	m.overlay.frozen, m.overlay.current = m.overlay.current, newGeneration(m.overlay.current)
	m.dirty = false
	m.generation++
	return m.generation - 1, m.pos
}

// watch ends the process when the returned function is not called in time.
func (m *Machine) watch(records, bytes int) (stop func()) {
	limit := m.limit + time.Duration(records)*commitLimitPerRecord + time.Duration(bytes>>20)*commitLimitPerMiB
	return stall.Watch(limit, func() {
		m.fail(fmt.Errorf("fsm: the disk is stuck: writing %d records of the state takes longer than %v", records, limit))
	})
}

// flush returns when everything applied before the call is on disk.
func (m *Machine) flush(ctx context.Context) error {
	return m.flushes.wait(ctx, m.requestFlush())
}

// requestFlush starts a flush of everything applied so far and returns the
// generation to wait for.
func (m *Machine) requestFlush() uint64 {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if !m.dirty {
		return m.generation - 1
	}
	m.kickFlusher()
	return m.generation
}

func (m *Machine) kickFlusher() {
	select {
	case m.kick <- struct{}{}:
	default: // one is waiting already
	}
}

// waitForDisk starts a flush when much is unflushed, and waits for one when it
// is too much. When the machine has failed what follows must not be applied:
// Options.Fatal is left the time to end the process, with its own words and exit
// code, and a panic comes only if it does not.
func (m *Machine) waitForDisk() {
	for {
		if err := m.failed(); err != nil {
			<-m.told
			panic(err)
		}
		m.mu.RLock()
		records, bytes := len(m.overlay.current.records)+m.state.Unsettled(), m.overlay.current.bytes
		number := m.generation
		m.mu.RUnlock()
		if records >= m.opts.FlushRecords || bytes >= flushBytes {
			m.kickFlusher()
		}
		if records < backlog*m.opts.FlushRecords && bytes < backlog*flushBytes {
			return
		}
		if err := m.flushes.wait(context.Background(), number); errors.Is(err, ErrClosed) {
			panic(err)
		}
	}
}
