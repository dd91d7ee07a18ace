package consensus

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/hashicorp/raft"
)

// changeTimeout bounds how long a membership change may wait to be started when the
// caller's context has no deadline.
const changeTimeout = 30 * time.Second

// Bootstrap makes this node the first of a cluster of the servers, all of them
// voters and this node among them. Call it once, on one node, or on several with the
// same servers. ErrAlreadyBootstrapped when the node has a log, a vote or a term.
func (r *Raft) Bootstrap(servers []Server) error {
	var c raft.Configuration
	for _, s := range servers {
		c.Servers = append(c.Servers, raft.Server{ID: raft.ServerID(s.ID), Address: raft.ServerAddress(s.Address)})
	}
	ctx, cancel := context.WithTimeout(context.Background(), changeTimeout)
	defer cancel()
	err := r.wait(ctx, func() raft.Future { return r.raft.BootstrapCluster(c) })
	if errors.Is(err, raft.ErrCantBootstrap) {
		return ErrAlreadyBootstrapped
	}
	return changeError(err)
}

// Bootstrapped says whether this node knows of a configuration: it was bootstrapped
// or has been added.
func (r *Raft) Bootstrapped() bool { return len(r.servers()) > 0 }

// Servers are the members by the newest configuration this node has, which may not
// be committed.
func (r *Raft) Servers() []Server {
	var out []Server
	for _, s := range r.servers() {
		out = append(out, Server{ID: string(s.ID), Address: string(s.Address), Voter: s.Suffrage == raft.Voter})
	}
	return out
}

// servers does not block: raft answers this future before it returns it.
func (r *Raft) servers() []raft.Server {
	return r.raft.GetConfiguration().Configuration().Servers
}

// Add adds a server that gets the log and does not vote: see Promote. Of one that is
// a member it changes the address, and it votes as before. It returns when the new
// configuration is committed. Only the leader can; errors are those of Propose, and
// ErrBusy.
func (r *Raft) Add(ctx context.Context, id, address string) error {
	return r.change(ctx, func(timeout time.Duration) raft.Future {
		return r.raft.AddNonvoter(raft.ServerID(id), raft.ServerAddress(address), 0, timeout)
	})
}

// Promote makes a voter of a server that Servers returned, if it is still a member at
// that address and does not vote; else it does nothing. It must have caught up: from
// now on it counts for a majority. Errors are those of Add.
func (r *Raft) Promote(ctx context.Context, s Server) error {
	now := r.raft.GetConfiguration()
	is := func(m raft.Server) bool {
		return string(m.ID) == s.ID && string(m.Address) == s.Address && m.Suffrage != raft.Voter
	}
	if !slices.ContainsFunc(now.Configuration().Servers, is) {
		return nil
	}
	return r.change(ctx, func(timeout time.Duration) raft.Future {
		// The index makes it fail if another change, such as its removal, was faster.
		return r.raft.AddVoter(raft.ServerID(s.ID), raft.ServerAddress(s.Address), now.Index(), timeout)
	})
}

// Remove removes a server; one that is not there is no error. A leader that removes
// itself steps down when that is committed.
func (r *Raft) Remove(ctx context.Context, id string) error {
	return r.change(ctx, func(timeout time.Duration) raft.Future {
		return r.raft.RemoveServer(raft.ServerID(id), 0, timeout)
	})
}

func (r *Raft) change(ctx context.Context, start func(time.Duration) raft.Future) error {
	if _, ok := r.leads(); !ok {
		return ErrNotLeader
	}
	timeout := changeTimeout
	if end, ok := ctx.Deadline(); ok {
		timeout = max(min(timeout, time.Until(end)), time.Millisecond) // 0 would wait for ever
	}
	return changeError(r.wait(ctx, func() raft.Future { return start(timeout) }))
}

// Transfer hands leadership to the voter that is furthest along, and returns when
// this node no longer leads. While it runs, proposals are refused with ErrNotLeader.
// It takes at most about two election timeouts; then this node goes on leading.
func (r *Raft) Transfer(ctx context.Context) error {
	if _, ok := r.leads(); !ok {
		return ErrNotLeader
	}
	if !r.hasPeer() {
		return ErrNoPeer
	}
	return changeError(r.wait(ctx, func() raft.Future { return r.raft.LeadershipTransfer() }))
}

// hasPeer says whether another server votes.
func (r *Raft) hasPeer() bool {
	for _, s := range r.servers() {
		if s.Suffrage == raft.Voter && string(s.ID) != r.config.ID {
			return true
		}
	}
	return false
}

// wait waits for a future of raft and for the context, whichever is first. The
// future is left to a goroutine that Shutdown waits for.
func (r *Raft) wait(ctx context.Context, start func() raft.Future) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("consensus: not started: %w", context.Cause(ctx))
	}
	answer := make(chan error, 1)
	if err := r.track(func() { answer <- start().Error() }); err != nil {
		return err
	}
	select {
	case err := <-answer:
		return err
	case <-ctx.Done():
		return cutShort(ctx)
	}
}
