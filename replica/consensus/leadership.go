package consensus

import (
	"strings"
	"time"

	"github.com/hashicorp/raft"
)

// barrierRetry is how long to wait before a barrier is tried again that raft
// refused although this node still leads (during a transfer that came to nothing).
const barrierRetry = 50 * time.Millisecond

// readiness says in which term this node has applied an entry as leader, and that
// everything up to index was applied by then. Zero when it does not lead.
type readiness struct{ term, index uint64 }

// barrier is the outcome of one barrier proposed in a term.
type barrier struct {
	readiness
	err error
}

// watch follows raft's leadership, proposes a barrier in every term won, and reports.
func (r *Raft) watch() {
	var answer chan barrier // of the newest barrier
	var retry <-chan time.Time
	for {
		select {
		case leads := <-r.raft.LeaderCh():
			// raft keeps only the newest event: whatever it is, the leadership
			// known until now is over.
			r.leadershipLost()
			answer, retry = nil, nil
			if leads {
				answer = r.barrier()
			}
		case b := <-answer:
			answer = nil
			if term, ok := r.leads(); !ok || term != b.term {
				continue // raft's next event says so
			}
			if b.err != nil {
				retry = time.After(barrierRetry)
				continue
			}
			r.ready.Store(&b.readiness)
			r.reads.poke()
			r.announce(Change{Leader: true, Term: b.term})
		case <-retry:
			retry = nil
			answer = r.barrier()
		case <-r.stopping:
			r.leadershipLost()
			return
		}
	}
}

func (r *Raft) leadershipLost() {
	was := r.ready.Swap(&readiness{})
	r.reads.poke() // also when not ready: a round may wait for the barrier
	if was.term != 0 {
		r.announce(Change{Leader: false, Term: was.term})
	}
}

// announce replaces what nobody has read yet. Only watch calls it.
func (r *Raft) announce(c Change) {
	select {
	case <-r.changes:
	default:
	}
	r.changes <- c
}

// barrier proposes an entry that is answered when all before it are applied. The
// term it is for was this node's before, and if it still is after, the entry is of
// that term.
func (r *Raft) barrier() chan barrier {
	term, ok := r.leads()
	if !ok {
		return nil
	}
	answer := make(chan barrier, 1)
	err := r.track(func() {
		f := r.raft.Barrier(0)
		err := f.Error()
		b := barrier{readiness{term: term}, err}
		if f, ok := f.(raft.IndexFuture); ok {
			b.index = f.Index()
		}
		answer <- b
	})
	if err != nil {
		return nil
	}
	return answer
}

// leads says in which term this node leads. Two reads of the term around one of the
// state make them belong together: the term never runs back.
func (r *Raft) leads() (term uint64, ok bool) {
	for {
		term = r.raft.CurrentTerm()
		if r.raft.State() != raft.Leader {
			return 0, false
		}
		if r.raft.CurrentTerm() == term {
			return term, true
		}
	}
}

// Leader returns who leads as far as this node knows, with the address as it stands
// in the configuration, and this node's term. The id is empty when unknown.
func (r *Raft) Leader() (id, address string, term uint64) {
	a, i := r.raft.LeaderWithID()
	return string(i), string(a), r.raft.CurrentTerm()
}

// IsLeader says whether this node leads and has applied an entry of its term, and
// in which term. It is a hint: only ReadBarrier knows that nobody else leads by now.
func (r *Raft) IsLeader() (term uint64, ok bool) {
	term, ok = r.leads()
	if !ok || r.ready.Load().term != term {
		return 0, false
	}
	return term, true
}

// Leadership reports changes of this node's leadership. The channel holds the newest
// change only: after Leader true in term 5, Leader true in term 9 says that 5 was
// lost. Shutdown reports the end of a leadership too; the channel is never closed.
// There is one channel; have one reader.
func (r *Raft) Leadership() <-chan Change { return r.changes }

// Role is what this node is in its term: "follower", "candidate" or "leader"; or
// "shutdown". It says nothing about other nodes' terms.
func (r *Raft) Role() string { return strings.ToLower(r.raft.State().String()) }

// LastContact is when this node last heard from a leader; for the leader itself, now.
func (r *Raft) LastContact() time.Time {
	if _, ok := r.leads(); ok {
		return time.Now()
	}
	return r.raft.LastContact()
}
