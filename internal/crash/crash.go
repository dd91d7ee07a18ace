// Package crash has the named points at which a test can make a process die,
// fail or hang. It does nothing unless the environment variable FARM_CRASH was
// set when the process started, and then a point that is not named costs the
// comparison of a pointer.
//
// FARM_CRASH is NAME:N[:HOW[:FILE]]: at the Nth time that point NAME is passed,
// counted from 1 and, when there is a FILE, only while that exists, the process
//
//	kill    ends as kill -9 ends it (this is the default)
//	error   goes on with ErrInjected, where the point can return an error
//	full    goes on with ENOSPC, likewise
//	stall   stands still at the point, for ever, on the goroutine that passed it
//
// Points of kind error and full stay broken from the Nth time on, as a disk does.
package crash

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
)

// Variable is the environment variable that arms a point.
const Variable = "FARM_CRASH"

// ErrInjected is what a point of kind error returns.
var ErrInjected = errors.New("injected failure")

// point is the one point that is armed.
type point struct {
	name  string
	after int64
	how   string
	file  string
	times atomic.Int64
}

// armed is nil in every process but those of tests.
var armed = parse(os.Getenv(Variable))

// parse ends the process when the variable cannot be understood: a test that
// injects nothing would prove nothing.
func parse(s string) *point {
	if s == "" {
		return nil
	}
	f := strings.SplitN(s, ":", 4)
	if len(f) == 2 {
		f = append(f, "kill")
	}
	if len(f) == 3 {
		f = append(f, "")
	}
	if len(f) == 4 {
		n, err := strconv.ParseInt(f[1], 10, 64)
		if err == nil && n > 0 && (f[2] == "kill" || f[2] == "error" || f[2] == "full" || f[2] == "stall") {
			return &point{name: f[0], after: n, how: f[2], file: f[3]}
		}
	}
	fmt.Fprintf(os.Stderr, "%s=%q is not NAME:N[:kill|error|full|stall[:FILE]]\n", Variable, s)
	os.Exit(2)
	return nil
}

// Here is a point at which the process may die or hang.
func Here(name string) {
	if armed != nil && armed.name == name {
		_ = armed.pass()
	}
}

// Err is Here at a point that may fail too: an error is to be handled as that of
// the operation the point stands before.
func Err(name string) error {
	if armed != nil && armed.name == name {
		return armed.pass()
	}
	return nil
}

func (p *point) pass() error {
	if p.file != "" {
		if _, missing := os.Stat(p.file); missing != nil {
			return nil //nolint:nilerr // not armed yet
		}
	}
	n := p.times.Add(1)
	if n < p.after {
		return nil
	}
	if n == p.after {
		fmt.Fprintf(os.Stderr, "crash point %s, time %d: %s\n", p.name, n, p.how)
	}
	switch p.how {
	case "error":
		return ErrInjected
	case "full":
		return syscall.ENOSPC
	case "stall":
		select {}
	}
	_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	select {} // until the signal arrives
}
