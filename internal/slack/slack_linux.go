package slack

import (
	"os"
	"runtime"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Process gives all threads of this process a slack of at least d. Since the monitor
// thread is there before any code of a program, it starts the program anew in its own
// place, with the same process id, arguments and open descriptors: call it before
// anything else is done. It returns when there is nothing to do, or when that cannot be
// done: then the process goes on as it is.
func Process(d time.Duration) error {
	_, again := os.LookupEnv(mark)
	if err := os.Unsetenv(mark); err != nil || again {
		return err
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	was, err := unix.PrctlRetInt(unix.PR_GET_TIMERSLACK, 0, 0, 0, 0)
	if err != nil || was >= int(d) {
		return err
	}
	program, err := os.Executable()
	if err != nil {
		return err
	}
	if err := set(d); err != nil {
		return err
	}
	defer func() { _ = set(time.Duration(was)) }()
	return syscall.Exec(program, os.Args, append(os.Environ(), mark+"=1"))
}

// set gives the calling thread, and those that it starts, a slack of d.
func set(d time.Duration) error {
	return unix.Prctl(unix.PR_SET_TIMERSLACK, uintptr(d), 0, 0, 0)
}
