// Package worker runs attempts: it takes assignments from the node that leads
// over a Stream, runs their code in child processes, and reports how they
// ended.
//
// # What it may assume
//
// The leader's instructions are obeyed in their order. The leader decides
// everything that must not be decided twice: a report counts only when the
// leader says Settled, and one it refuses comes back as Voided. The worker may
// therefore lose a namespace, an attempt or itself at any moment without
// breaking a promise; it only must never report an attempt with a base it did
// not run on.
//
// # What it never does
//
// It never runs, parses or decodes the code or the values of a cell in its own
// process: those are opaque bytes here, and hostile until a child has run them.
// It never blocks an attempt on the leader: output and progress are dropped
// when they cannot be sent, reports are kept.
//
// # A namespace on its holder
//
// For each namespace the worker keeps the items at the version after the last
// attempt it ran, and a chain of attempts reported but not settled, each with
// what it takes to undo it. The next attempt starts on top of the chain without
// waiting for the leader. Voided takes the chain back to before that attempt.
// After a failure the next waits for Settled, since the leader may order a
// retry in between.
//
// # Children
//
// A child is this executable again (see Child) with one live context. It has
// an environment of its own, no descriptors but standard input, output, error
// and the protocol's, a session and process group of its own, and limits on
// memory, stack, descriptors and threads; it dies with its worker. Children are
// reused: for the namespace whose context they hold, then for one with the same
// definitions, since switching costs microseconds and a start costs
// milliseconds. One that was stopped, timed out, or left goroutines behind is
// never used again.
//
// # Confinement
//
// The front end of cells lets nothing through that reaches the system. That a
// mistake there, or in the interpreter, costs no more than the child is the
// kernel's work, on Linux:
//
//   - The thread that starts children has no_new_privs and a Landlock domain in
//     which there are no files but those it takes to start the program, and no
//     TCP. Children inherit both before they run anything, in all their threads.
//   - A child sets its limits, and then a seccomp filter for all its threads: of
//     the system calls those that the Go runtime needs are allowed. Files cannot
//     be opened, sockets, processes and programs not be made, other processes
//     not be reached; threads can be made.
//
// A kernel without one of them leaves the others in force. The level, "full" or
// what is missing, is logged at the first child and told to the leader.
package worker
