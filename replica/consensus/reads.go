package consensus

import (
	"context"
	"sync"
	"sync/atomic"
)

// reads answers read barriers in rounds; readers that arrive during a round share
// the next one, so their number does not matter.
//
// A round is over when a majority of the voters has accepted a message of this
// leader's term that was sent after the round began. Those voters had not voted in
// a later term by then, so no later leader had committed anything when the round
// began; and what this leader and those before it had committed is at or below the
// commit index noted at the start, since an entry of the term has been applied.
//
// raft's VerifyLeader is called for the heartbeats it sends, and its verdict is not
// used: it counts answers to messages sent before the call, and a leader that was
// paused, and deposed meanwhile, finds such answers in its sockets. One call is
// enough to send a heartbeat to every peer after it: a peer whose heartbeat is on
// its way keeps the request and sends another one next.
type reads struct {
	leads       func() (term uint64, ok bool)
	ready       func() readiness
	commitIndex func() uint64
	applied     func() uint64
	sendAll     func() // sends heartbeats
	begin       func() uint64
	majority    func(term, round uint64) bool

	changed chan struct{} // something a round waits for may be true now
	wake    chan struct{} // there is a reader
	stop    chan struct{}
	rounds  atomic.Uint64

	mu   sync.Mutex
	next *readers // of the next round; nil when there are none
}

// readers are the readers of one round.
type readers struct {
	done chan struct{}
	err  error // valid once done is closed
}

// poke lets a waiting round look again. Never blocks.
func (r *reads) poke() {
	select {
	case r.changed <- struct{}{}:
	default:
	}
}

func (r *reads) run() {
	for {
		select {
		case <-r.wake:
		case <-r.stop:
			return
		}
		r.mu.Lock()
		batch := r.next
		r.next = nil
		r.mu.Unlock()
		batch.err = r.round()
		close(batch.done)
	}
}

// join makes the caller one of the readers of the next round.
func (r *reads) join() *readers {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.next == nil {
		r.next = &readers{done: make(chan struct{})}
		r.wake <- struct{}{} // never blocks: the loop empties it before next is nil
	}
	return r.next
}

func (r *reads) round() error {
	term, ok := r.leads()
	if !ok {
		return ErrNotLeader
	}
	r.rounds.Add(1)
	if err := r.await(term, func() bool { return r.ready().term == term }); err != nil {
		return err
	}
	index := r.commitIndex()
	round := r.begin()
	if !r.majority(term, round) { // true at once when this is the only voter
		r.sendAll()
	}
	if err := r.await(term, func() bool { return r.majority(term, round) }); err != nil {
		return err
	}
	floor := r.ready().index
	return r.await(term, func() bool { return max(floor, r.applied()) >= index })
}

// await waits for the condition while this node leads in the term. Everything that
// can make it true, or end the term, calls poke afterwards.
func (r *reads) await(term uint64, condition func() bool) error {
	for {
		if now, ok := r.leads(); !ok || now != term {
			return ErrNotLeader
		}
		if condition() {
			return nil
		}
		select {
		case <-r.changed:
		case <-r.stop:
			return ErrStopped
		}
	}
}

// ReadBarrier waits until a read of the state machine is linearizable: after nil,
// this node led at a moment after the call began, and its state machine holds
// everything that was committed before the call. It costs one round of heartbeats,
// shared by all callers, and no write.
//
// It returns ErrNotLeader, or the context's error. Safe for concurrent use.
func (r *Raft) ReadBarrier(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return context.Cause(ctx)
	}
	if _, ok := r.leads(); !ok {
		return ErrNotLeader
	}
	batch := r.reads.join()
	select {
	case <-batch.done:
		return batch.err
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-r.stopping:
		return ErrStopped
	}
}
