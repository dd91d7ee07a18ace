package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"strconv"
	"syscall"

	ns "farm/namespace"
	"farm/namespace/live"
)

// maxStack is the stack, in bytes, at which a child gives up.
const maxStack = 256 << 20

// child runs one program and says on descriptor 3 what became of it.
func child(file string) int {
	debug.SetMaxStack(maxStack)
	if err := limitTime(os.Getenv(limitVar)); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	say := os.NewFile(3, "outcome")
	src, err := os.ReadFile(file)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	engine := os.Getenv(engineVar)
	if engine == engineVM {
		err = runVM(file, string(src))
		return report(say, classOfVM(err), err)
	}
	c := live.New(live.Options{Stdout: os.Stdout, Stderr: os.Stderr, Limits: ns.Limits{Source: 16 << 20}})
	_, err = c.Run(context.Background(), ns.Run{Source: string(src), Engine: engine, Discard: true})
	return report(say, classOf(err), err)
}

// limitTime lets the process have that many seconds of processors: then the system kills it.
func limitTime(seconds string) error {
	n, err := strconv.ParseUint(seconds, 10, 32)
	if err != nil {
		return err
	}
	return syscall.Setrlimit(rlimitCPU, &syscall.Rlimit{Cur: n, Max: n})
}

// rlimitCPU is the limit of time on linux.
const rlimitCPU = 0

// report says what became of the program.
func report(say *os.File, class string, err error) int {
	o := outcome{Class: class}
	if err != nil {
		o.Reason = err.Error()
	}
	if err := json.NewEncoder(say).Encode(o); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// classOf tells an error that is a clear refusal from one that should not be.
func classOf(err error) string {
	var (
		notAllowed *ns.NotAllowedError
		limit      *ns.LimitError
		goroutines *ns.GoroutineError
		exit       *ns.ExitError
	)
	switch {
	case err == nil:
		return Passed
	case errors.As(err, &notAllowed):
		if notAllowed.Internal {
			return Wrong
		}
		return Refused
	case errors.As(err, &exit) && exit.Code == 0: // runtime.Goexit, which says what farm does not do
		return Refused
	case errors.As(err, &limit), errors.As(err, &goroutines):
		return Refused
	}
	return Wrong
}
