//go:build !linux

package worker

import (
	"os"
	"runtime/debug"
	"syscall"
	"time"
)

// childAttr puts a child in a session and process group of its own.
func childAttr() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setsid: true} }

// confine limits what the runtime itself can limit; see the Linux version.
func confine(memory int64, stack int) (denied []string) {
	debug.SetMaxStack(stack)
	debug.SetMemoryLimit(memory / 10 * 9)
	return []string{"rlimits: not on this system", "no_new_privs: not on this system"}
}

// ends gives a child the time to end; whether it did is not known here.
func ends(_ int, within time.Duration) bool {
	time.Sleep(within)
	return true
}

// selfCommand is the program of a child.
func selfCommand() ([]string, error) {
	exe, err := os.Executable()
	return []string{exe, childTitle}, err
}

func taint() {}
