// Command farm is the command line of farm: it runs nodes, and is a client of
// them. Everything it can do as a client, package tasks can do for a program.
//
// Data goes to standard output, talk to standard error. Exit codes: 0 done, 1
// the task or job failed or what was asked for is not there, 2 wrong usage, 3
// farm could not be reached or did not answer in time, 4 refused (a limit, not
// allowed, a conflict), 130 interrupted, 141 the reader of the output went away.
//
// There is one file per verb. Each has an options struct, filled from the flags
// and checked by validate, and a function that does the work with the streams
// and connection of its app and prints nothing else.
package main

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"syscall"

	"farm/chaos"
	"farm/worker"
)

// errInterrupted is the cause of the context that a signal ended.
var errInterrupted = errors.New("interrupted")

func main() {
	// Contexts run in children of this same binary, and so do the handlers that chaos
	// has run; in one of them, this never returns.
	worker.Child()
	chaos.Worker()
	ctx, cancel := context.WithCancelCause(context.Background())
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	// Whoever reads may have had enough, as head has: then a write fails, instead of
	// ending this process, which may have a job to cancel or nodes to stop.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	a := &app{io: standardIO()}
	a.io.watch(cancel)
	go func() {
		for s := range signals {
			switch {
			case a.heard(s):
			case ctx.Err() != nil: // impatience: whoever started nodes takes them along
				os.Exit(exitInterrupted)
			default:
				cancel(errInterrupted)
			}
		}
	}()
	a.connect, a.running = a.connectFarm, connectRunning
	os.Exit(a.run(ctx, os.Args))
}
