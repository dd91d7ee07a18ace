package fsm

import (
	"fmt"
	"runtime/debug"

	"github.com/hashicorp/raft"

	"farm/scheduler"
)

// Response is raft's response to a command entry.
type Response struct {
	Results []scheduler.Result // one for each command
}

// Applied is what an entry did, for Options.OnApply.
type Applied struct {
	Index, Term uint64
	State       *scheduler.State
	Commands    []scheduler.Command
	Results     []scheduler.Result
	Effects     []scheduler.Effect // valid until OnApply returns
}

// EntryError is the value of the panic that ends the process when a committed
// entry cannot be applied: every replica has the same entry, so there is nobody
// to ask and nothing to skip to.
type EntryError struct {
	Index   uint64
	Command int    // position in the entry, -1 when it is the entry
	Cause   any    // an error, or what the scheduler panicked with
	Stack   []byte // of the scheduler's panic
}

// Error says which entry and why.
func (e *EntryError) Error() string {
	if e.Command < 0 {
		return fmt.Sprintf("fsm: log entry %d cannot be read: %v", e.Index, e.Cause)
	}
	return fmt.Sprintf("fsm: log entry %d, command %d: the scheduler panicked: %v\n%s", e.Index, e.Command, e.Cause, e.Stack)
}

// Unwrap returns the cause when it is an error.
func (e *EntryError) Unwrap() error {
	err, _ := e.Cause.(error)
	return err
}

// Apply implements raft.FSM.
func (m *Machine) Apply(l *raft.Log) any { return m.ApplyBatch([]*raft.Log{l})[0] }

// ApplyBatch implements raft.BatchingFSM. The response to a command entry is a
// *Response; it is nil for entries of other types, and for entries that the
// state on disk had already when the machine was opened. Effects are in memory
// when it returns, on disk later. It waits when the disk falls far behind.
func (m *Machine) ApplyBatch(logs []*raft.Log) []any {
	responses := make([]any, len(logs))
	for i, l := range logs {
		if l.Index <= m.reached.Load() {
			continue
		}
		m.waitForDisk()
		switch l.Type {
		case raft.LogCommand:
			responses[i] = m.applyCommands(l)
		case raft.LogConfiguration:
			m.applyConfiguration(l)
		}
	}
	return responses
}

func (m *Machine) applyCommands(l *raft.Log) *Response {
	now, cmds, err := DecodeEntry(l.Data)
	if err != nil {
		panic(&EntryError{Index: l.Index, Command: -1, Cause: err})
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	results := m.step(l.Index, now, cmds)
	effects := m.state.Effects()
	before := m.pos.ChainIndex
	m.decided = decisions(m.decided[:0], results, effects)
	m.pos.link(l.Index, l.Data, m.decided)
	m.marks.add(&m.pos, before)
	m.advance(l)
	if m.opts.OnApply != nil {
		m.opts.OnApply(Applied{l.Index, l.Term, m.state, cmds, results, effects})
	}
	return &Response{results}
}

// step gives one entry's commands to the scheduler. A panic of the scheduler is
// a bug in it that every replica meets at this entry. To answer the command
// with an error and go on would mean to go on with a state that was left
// halfway through a change, alike everywhere and wrong everywhere; so the
// process ends, and nothing of the entry reaches the disk before it does. The
// caller holds mu.
func (m *Machine) step(index uint64, now int64, cmds []scheduler.Command) []scheduler.Result {
	at := 0
	defer func() {
		if p := recover(); p != nil {
			err := &EntryError{Index: index, Command: at, Cause: p, Stack: debug.Stack()}
			if m.poison(err) {
				close(m.told)
			}
			panic(err)
		}
	}()
	m.state.Advance(now)
	results := make([]scheduler.Result, len(cmds))
	for ; at < len(cmds); at++ {
		results[at] = m.state.Step(cmds[at])
	}
	return results
}

func (m *Machine) applyConfiguration(l *raft.Log) {
	c := raft.DecodeConfiguration(l.Data)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.pos.Configuration, m.pos.ConfigurationIndex = c, l.Index
	m.advance(l)
}

// StoreConfiguration implements raft.ConfigurationStore. Raft calls it only for
// machines without ApplyBatch; it is here for tools that replay a log by hand.
func (m *Machine) StoreConfiguration(index uint64, c raft.Configuration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if index > m.pos.ConfigurationIndex {
		m.pos.Configuration, m.pos.ConfigurationIndex = c.Clone(), index
		m.dirty = true
	}
}

// advance notes that an entry is applied. The caller holds mu.
func (m *Machine) advance(l *raft.Log) {
	m.pos.Applied, m.pos.Term, m.pos.Policy = l.Index, l.Term, m.state.Policy
	m.dirty = true
	m.arrive()
}
