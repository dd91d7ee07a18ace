// Package fsm is the replicated state machine: it turns raft's log entries into
// steps of the scheduler, and keeps the scheduler's records on disk.
//
// # Writing
//
// A log entry carries many commands and the leader's time. ApplyBatch gives them
// to the scheduler one by one; their effect is in memory when it returns. What
// they changed reaches the disk later: a goroutine freezes the changed records,
// writes them sorted in one synced bbolt transaction, together with the index
// they reach, and begins again. Until then the log covers them. So
//
//   - the state on disk is always the state at exactly one index, and an entry
//     at or below that index is skipped when raft replays it;
//   - raft may drop log entries only after Persist has returned, which waits
//     until everything up to the snapshot's index is on disk;
//   - reads see three layers: records changed since the last freeze, records
//     being written, the file.
//
// # What may be assumed
//
// The state, its hash, the chain hash and a snapshot's bytes depend on the log
// alone: not on how entries were batched, when they were flushed, how often the
// process was killed, nor on snapshots installed between. Every record is stored
// with a checksum over key and value and checked whenever it is read.
//
// # What it never does
//
// It never goes on with what it is not sure of. A committed entry that cannot
// be read, or that makes the scheduler panic, is a panic; an error of the disk,
// a commit that does not end, or a stored record that fails its checksum is
// Options.Fatal, which ends the process. It never opens a connection, never
// proposes anything, and reads a clock only to decide when to write.
package fsm
