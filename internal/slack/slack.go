// Package slack lets the threads of a process sleep for longer than they ask.
//
// Whoever enters a system call in a Go process that was idle a moment ago wakes the
// runtime's monitor thread, which then sleeps 20 µs at a time, 50 times in a row, to look
// for calls that wait. A node that is neither idle nor full is in that state all the
// time: ten thousand wakings a second, at some 15 µs of processor time each. Linux lets
// a thread say by how much its sleeps may be prolonged so that wakings coincide (prctl,
// PR_SET_TIMERSLACK), 50 µs by default; threads that it starts have the same. With a
// millisecond the monitor thread wakes a tenth as often. Timers of Go are not much later
// for it: they have a millisecond's grain in a process that waits.
package slack

import "time"

// Node is what a node gives its threads, and so the children in which cells run.
const Node = time.Millisecond

// mark is the environment variable that says that a process was started anew, so that
// one that cannot get what it wants does not try again.
const mark = "FARM_SLACK"
