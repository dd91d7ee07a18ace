// Package bench measures a farm of real processes on this machine: how many
// tasks per second become durable, how long each takes, and what that costs.
//
// It starts a fresh farm in a temporary folder, with fsync as always, loads it
// through package tasks like any program, and keeps a number of calls in
// flight: when one is answered the next is made. It assumes that nothing else
// of weight runs meanwhile; the load generator itself shares the machine with
// the nodes. It checks what it measured: counters must have counted each task
// once.
package bench
