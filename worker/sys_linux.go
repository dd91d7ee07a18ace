package worker

import (
	"fmt"
	"runtime/debug"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// maxFiles is the number of descriptors a child may have open.
const maxFiles = 64

// childAttr puts a child in a session and process group of its own and makes
// it die with the thread that starts it.
func childAttr() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGKILL}
}

// confine takes from this process what a child does not need. It is called
// once, before the first order is read. Measures that the system denies are
// returned, the others hold.
//
// Go reserves far more address space than it uses, so memory is limited by
// RLIMIT_DATA, which counts private writable pages only.
func confine(memory int64, stack int) (denied []string) {
	debug.SetMaxStack(stack)
	debug.SetMemoryLimit(memory / 10 * 9)
	for _, l := range []struct {
		name  string
		which int
		max   uint64
	}{
		{"data", unix.RLIMIT_DATA, uint64(memory)},
		{"core", unix.RLIMIT_CORE, 0},
		{"nofile", unix.RLIMIT_NOFILE, maxFiles},
	} {
		if err := unix.Setrlimit(l.which, &unix.Rlimit{Cur: l.max, Max: l.max}); err != nil {
			denied = append(denied, fmt.Sprintf("rlimit %s: %v", l.name, err))
		}
	}
	if _, _, e := syscall.AllThreadsSyscall6(unix.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0, 0); e != 0 {
		denied = append(denied, fmt.Sprintf("no_new_privs: %v", e))
	}
	return denied
}

// ends tells whether a child of this process ends within the time, without
// reaping it.
func ends(pid int, within time.Duration) bool {
	for deadline := time.Now().Add(within); ; time.Sleep(time.Millisecond) {
		var info unix.Siginfo
		err := unix.Waitid(unix.P_PID, pid, &info, unix.WEXITED|unix.WNOWAIT|unix.WNOHANG, nil)
		if err == nil && info.Signo != 0 {
			return true
		}
		if err != nil && err != unix.EINTR || time.Now().After(deadline) {
			return false
		}
	}
}
