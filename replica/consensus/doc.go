// Package consensus is hashicorp/raft made safe for farm: one log of opaque
// commands, agreed on by a majority, applied in order to a state machine.
//
// What it is for. A [Raft] proposes commands (many to one log entry, so that the
// cost of an fsync and of a round trip is shared), tells each caller the result of
// its own command, answers linearizable reads, and reports who leads.
//
// What it may assume. The disk does what fsync says, or says that it failed. The
// network may lose, delay, repeat and reorder. Processes may pause for any time at
// any instruction. No two clocks need agree, and no safety argument here mentions
// one: reads are ordered by counting messages, not by time. Peers are trusted: the
// raft port has no authentication of its own.
//
// What it never does. It never goes on after an error of its log or stable store:
// raft's own reaction (step down, log a line) leaves a state nobody has thought
// about, so the process ends and comes back by a restart. It never returns an entry
// from disk whose checksum is wrong. It never reports a command as refused that may
// have been committed: such an error is [ErrUnknown]. It never blocks raft on a slow
// reader of [Raft.Leadership].
//
// Where hashicorp/raft is not used as it comes:
//
//   - Heartbeats are handled by raft's main loop, not by the goroutine of the
//     connection, which races with it (see acks.SetHeartbeatHandler).
//   - VerifyLeader counts answers to messages sent before it was called, so its
//     verdict is ignored; it only serves to send heartbeats (see reads).
//   - AppliedIndex counts what was handed to the state machine, so the index that
//     reads wait for is counted behind it (see tracker).
//   - Futures may never answer after a shutdown, so nothing waits for one alone, and
//     Shutdown lets all of them answer before it stops raft.
//   - Errors and stalls of the disk end the process, and entries and votes carry
//     checksums (see guard).
package consensus
