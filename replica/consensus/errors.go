package consensus

import (
	"context"
	"errors"
	"fmt"

	"github.com/hashicorp/raft"
)

// Errors of proposals and membership changes are definite or unknown. All of them
// except ErrUnknown are definite: the command is not in the log and never will be by
// this call.
var (
	// ErrNotLeader is returned when this node does not lead, or is handing its
	// leadership over. What was asked for has not been done: ask the leader.
	ErrNotLeader = errors.New("consensus: this node is not the leader")

	// ErrStopped is returned after Shutdown began. It is an ErrNotLeader too.
	ErrStopped = fmt.Errorf("%w: it has been shut down", ErrNotLeader)

	// ErrUnknown is returned when the command may or may not be committed, now or
	// later: leadership was lost or the wait was cut short while it was in flight.
	// Repeat it with the same request id.
	ErrUnknown = errors.New("consensus: the outcome of the command is not known")

	// ErrOverloaded is returned when Config.MaxWaiting or Config.MaxWaitingBytes
	// is reached. Try again later.
	ErrOverloaded = errors.New("consensus: too many commands are waiting")

	// ErrTooLarge is returned for a single command above Config.MaxEntryBytes.
	ErrTooLarge = errors.New("consensus: the command is larger than a log entry may be")

	// ErrBusy is returned when a membership change or a transfer could not be
	// started in time, because another one is under way. Nothing was changed.
	ErrBusy = errors.New("consensus: another change is under way")

	// ErrAlreadyBootstrapped is returned by Bootstrap on a node that has a log, a
	// vote or a configuration. It is harmless when the call was a repetition.
	ErrAlreadyBootstrapped = errors.New("consensus: this node has been bootstrapped already")

	// ErrNoPeer is returned by Transfer when there is nobody to hand over to.
	ErrNoPeer = errors.New("consensus: there is no other voter")

	// ErrStuck is returned by Shutdown when raft or the state machine did not stop
	// within ShutdownLimit. The stores stay open; the process should end.
	ErrStuck = errors.New("consensus: raft did not stop in time")
)

// Errors of what is on disk.
var (
	// ErrLocked is returned by Start when another process has the folder.
	ErrLocked = errors.New("consensus: the folder is in use by another process")

	// ErrLogStore is returned by Start when the folder holds the other kind of log
	// store than the one asked for.
	ErrLogStore = errors.New("consensus: the folder holds another kind of log store")

	// ErrCorrupt means that an entry or a stable value read from disk is not what
	// was written. The error names it.
	ErrCorrupt = errors.New("consensus: the log on disk is corrupt")

	// ErrStalled means that one write took longer than StallLimit.
	ErrStalled = errors.New("consensus: the disk is stuck")

	// ErrWrite means that a write to the log or stable store failed.
	ErrWrite = errors.New("consensus: writing the log failed")

	// ErrStateMachine means that the state machine answered an entry with another
	// number of results than the entry has commands.
	ErrStateMachine = errors.New("consensus: the state machine did not answer every command")
)

// proposalError turns what raft answered to an Apply into definite or unknown.
// Only the answers that raft gives before the entry reaches its log are definite.
func proposalError(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, raft.ErrNotLeader):
		return ErrNotLeader
	case errors.Is(err, raft.ErrLeadershipTransferInProgress), errors.Is(err, raft.ErrEnqueueTimeout):
		return fmt.Errorf("%w: %w", ErrNotLeader, err)
	default:
		return fmt.Errorf("%w: %w", ErrUnknown, err)
	}
}

// changeError is proposalError for membership changes and transfers, which raft
// also refuses for reasons of their own.
func changeError(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, raft.ErrNotLeader):
		return ErrNotLeader
	case errors.Is(err, raft.ErrLeadershipTransferInProgress), errors.Is(err, raft.ErrEnqueueTimeout):
		return fmt.Errorf("%w: %w", ErrBusy, err)
	case errors.Is(err, raft.ErrLeadershipLost), errors.Is(err, raft.ErrRaftShutdown):
		return fmt.Errorf("%w: %w", ErrUnknown, err)
	case errors.Is(err, ErrUnknown), errors.Is(err, ErrNotLeader):
		return err
	default:
		return fmt.Errorf("consensus: %w", err)
	}
}

// cutShort is the error of a wait that the caller ended.
func cutShort(ctx context.Context) error {
	return fmt.Errorf("%w: %w", ErrUnknown, context.Cause(ctx))
}
