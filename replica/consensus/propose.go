package consensus

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/hashicorp/raft"
)

// proposer is the group commit: commands that wait while earlier entries are in
// flight share the next entry.
//
// Commands are appended to one buffer while entries are cut from the other; the two
// change places when the second is empty. An entry is cut only when fewer than
// inFlight are on their way, so the busier the node, the fuller its entries.
//
// Two goroutines: propose cuts entries and hands them to raft, complete waits for
// raft's answers in the order of the entries and calls the commands back.
type proposer struct {
	apply    func(entry []byte) raft.ApplyFuture
	newEntry func(now int64, n int, body []byte) []byte
	results  func(response any) []Result
	now      func() int64
	fatal    func(error)

	maxEntryBytes   int
	maxWaiting      int
	maxWaitingBytes int

	slots   chan struct{} // one taken for each entry in flight
	flights chan *flight  // entries in flight, oldest first
	closing chan struct{}
	stopped sync.WaitGroup // propose and complete

	mu           sync.Mutex
	arrived      sync.Cond // filling is not empty, or closed
	filling      *buffer
	waiting      int // commands not yet handed to raft, in both buffers
	waitingBytes int
	inFlight     map[*flight]struct{} // not called back yet
	closed       bool
	entries      uint64
	commands     uint64
}

// buffer holds encoded commands, one after the other, and whom to call back.
type buffer struct {
	body []byte
	ends []int // of each command in body
	done []func(Result, error)
	cut  int // commands already cut off
}

// flight is one entry on its way.
type flight struct {
	future raft.ApplyFuture
	done   []func(Result, error)
}

func newProposer(c Config, apply func([]byte) raft.ApplyFuture, fatal func(error)) *proposer {
	p := &proposer{
		apply: apply, newEntry: c.NewEntry, results: c.Results, now: c.Now, fatal: fatal,
		maxEntryBytes: c.MaxEntryBytes, maxWaiting: c.MaxWaiting, maxWaitingBytes: c.MaxWaitingBytes,
		slots:    make(chan struct{}, c.MaxInFlight),
		flights:  make(chan *flight, c.MaxInFlight),
		closing:  make(chan struct{}),
		filling:  &buffer{},
		inFlight: map[*flight]struct{}{},
	}
	p.arrived.L = &p.mu
	p.stopped.Add(2)
	go p.propose()
	go p.complete()
	return p
}

// add puts a command in line. Unless it returns an error, done is called once.
func (p *proposer) add(cmd []byte, done func(Result, error)) error {
	if len(cmd) > p.maxEntryBytes {
		return fmt.Errorf("%w: %d bytes, at most %d", ErrTooLarge, len(cmd), p.maxEntryBytes)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.closed:
		return ErrStopped
	case p.waiting >= p.maxWaiting:
		return fmt.Errorf("%w: %d", ErrOverloaded, p.waiting)
	case p.waitingBytes+len(cmd) > p.maxWaitingBytes:
		return fmt.Errorf("%w: %d bytes", ErrOverloaded, p.waitingBytes)
	}
	p.filling.add(cmd, done)
	p.waiting++
	p.waitingBytes += len(cmd)
	if p.filling.len() == 1 {
		p.arrived.Signal()
	}
	return nil
}

// propose hands entries to raft until the proposer is closed, then refuses what
// still waits.
func (p *proposer) propose() {
	defer p.stopped.Done()
	defer close(p.flights)
	taken := &buffer{}
	for p.slot() {
		if taken.len() == 0 {
			taken = p.swap(taken)
		}
		if taken.len() == 0 {
			break
		}
		body, done := taken.take(p.maxEntryBytes)
		f := &flight{done: done}
		p.departs(f, len(done), len(body))
		f.future = p.apply(p.newEntry(p.now(), len(done), body))
		p.flights <- f
	}
	p.refuse(taken)
	p.refuse(p.swap(&buffer{}))
}

// slot waits until another entry may be in flight; false when closed.
func (p *proposer) slot() bool {
	select {
	case <-p.closing:
		return false
	default:
	}
	select {
	case p.slots <- struct{}{}:
		return true
	case <-p.closing:
		return false
	}
}

// swap waits for commands and takes them, leaving the empty buffer in their place.
// It returns an empty one only when closed.
func (p *proposer) swap(empty *buffer) *buffer {
	empty.reset()
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.filling.len() == 0 && !p.closed {
		p.arrived.Wait()
	}
	full := p.filling
	p.filling = empty
	return full
}

func (p *proposer) departs(f *flight, commands, bytes int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.waiting -= commands
	p.waitingBytes -= bytes
	p.entries++
	p.commands += uint64(commands)
	p.inFlight[f] = struct{}{}
}

func (p *proposer) refuse(b *buffer) {
	body, done := b.take(len(b.body))
	p.mu.Lock()
	p.waiting -= len(done)
	p.waitingBytes -= len(body)
	p.mu.Unlock()
	for _, d := range done {
		d(nil, ErrStopped)
	}
}

// complete calls back the commands of each entry when raft has answered it. Entries
// are answered in order, so waiting for the oldest delays nobody.
func (p *proposer) complete() {
	defer p.stopped.Done()
	for f := range p.flights {
		err := f.future.Error()
		<-p.slots
		if !p.lands(f) {
			continue
		}
		if err != nil {
			f.fail(proposalError(err))
			continue
		}
		p.answer(f)
	}
}

// lands claims the flight's callbacks: true for one caller only.
func (p *proposer) lands(f *flight) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	_, mine := p.inFlight[f]
	delete(p.inFlight, f)
	return mine
}

// answer gives each command its own result, by position.
func (p *proposer) answer(f *flight) {
	results := p.results(f.future.Response())
	if len(results) != len(f.done) {
		p.fatal(fmt.Errorf("%w: %d results for %d commands", ErrStateMachine, len(results), len(f.done)))
		f.fail(fmt.Errorf("%w: %w", ErrUnknown, ErrStateMachine))
		return
	}
	for i, d := range f.done {
		d(results[i], nil)
	}
}

func (f *flight) fail(err error) {
	for _, d := range f.done {
		d(nil, err)
	}
}

// close refuses new commands and those not handed to raft yet. Entries in flight
// go on; stopped ends when they have been answered.
func (p *proposer) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.closed {
		p.closed = true
		close(p.closing)
		p.arrived.Broadcast()
	}
}

// abandon calls back what raft has not answered. For when raft will not any more.
func (p *proposer) abandon() {
	p.mu.Lock()
	left := p.inFlight
	p.inFlight = map[*flight]struct{}{}
	p.mu.Unlock()
	for f := range left {
		f.fail(fmt.Errorf("%w: %w", ErrUnknown, ErrStopped))
	}
}

// keptBuffer is the largest buffer, in bytes, that is kept for reuse.
const keptBuffer = 4 << 20

func (b *buffer) len() int { return len(b.done) - b.cut }

func (b *buffer) add(cmd []byte, done func(Result, error)) {
	b.body = append(b.body, cmd...)
	b.ends = append(b.ends, len(b.body))
	b.done = append(b.done, done)
}

// take cuts off as many commands as fit into limit bytes, at least one if there is
// one. The body is valid until the next reset; done is the caller's.
func (b *buffer) take(limit int) (body []byte, done []func(Result, error)) {
	start := 0
	if b.cut > 0 {
		start = b.ends[b.cut-1]
	}
	from, end := b.cut, start
	for b.cut < len(b.ends) && (b.cut == from || b.ends[b.cut]-start <= limit) {
		end = b.ends[b.cut]
		b.cut++
	}
	return b.body[start:end], slices.Clone(b.done[from:b.cut])
}

func (b *buffer) reset() {
	if cap(b.body) > keptBuffer {
		*b = buffer{}
		return
	}
	clear(b.done) // lets go of the callers
	b.body, b.ends, b.done, b.cut = b.body[:0], b.ends[:0], b.done[:0], 0
}

// outcome is what one command came to.
type outcome struct {
	result Result
	err    error
}

// Propose puts one encoded command into the log and returns the state machine's
// result once it is committed, durably on a majority, and applied here. cmd is
// copied.
//
// Errors: ErrNotLeader, ErrOverloaded and ErrTooLarge mean that the command was not
// proposed. ErrUnknown means that it may be; it wraps the context's error when the
// context ended the wait. Safe for concurrent use.
func (r *Raft) Propose(ctx context.Context, cmd []byte) (Result, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("consensus: not proposed: %w", context.Cause(ctx))
	}
	answer := make(chan outcome, 1)
	if err := r.ProposeAsync(cmd, func(res Result, err error) { answer <- outcome{res, err} }); err != nil {
		return nil, err
	}
	select {
	case o := <-answer:
		return o.result, o.err
	case <-ctx.Done():
		return nil, cutShort(ctx)
	}
}

// ProposeAsync is Propose without the wait. If it returns nil, done is called
// exactly once, with what Propose would return, at the latest when Shutdown returns.
// If it returns an error, the command was not proposed and done is not called.
//
// done is called on the goroutine that completes every command: it must not block,
// and must not call Shutdown.
func (r *Raft) ProposeAsync(cmd []byte, done func(Result, error)) error {
	if r.raft.State() != raft.Leader { // raft decides; this only spares the queue
		select {
		case <-r.stopping:
			return ErrStopped
		default:
			return ErrNotLeader
		}
	}
	return r.proposals.add(cmd, done)
}
