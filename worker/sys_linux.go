package worker

import (
	"fmt"
	"os"
	"runtime/debug"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	maxFiles  = 64   // descriptors a child may have open
	childNice = 5    // added to a child's niceness: the node beside it must keep its deadlines
	oomScore  = 1000 // the kernel, short of memory, is to kill children first
)

// selfCommand is the program of a child: the very file this process runs, even
// if another version has taken its name meanwhile.
func selfCommand() ([]string, error) {
	const self = "/proc/self/exe"
	if _, err := os.Stat(self); err == nil {
		return []string{self, childTitle}, nil
	}
	exe, err := os.Executable()
	return []string{exe, childTitle}, err
}

// childAttr puts a child in a session and process group of its own and makes
// it die with the thread that starts it.
func childAttr() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGKILL}
}

// taint makes the children that this thread starts unable to gain privileges.
// The thread cannot be used for anything else afterwards.
func taint() { _ = unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) }

// closeInherited closes the descriptors that the worker's process was given
// and passed on. They are those that do not close on exec: all that Go opens,
// here or in the worker, does.
func closeInherited() {
	unix.CloseOnExec(childFD)
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return
	}
	for _, e := range list {
		fd, err := strconv.Atoi(e.Name())
		if err != nil || fd <= childFD {
			continue
		}
		if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err == nil && flags&unix.FD_CLOEXEC == 0 {
			_ = unix.Close(fd)
		}
	}
}

// confine takes from this process what a child does not need. It is called
// once, before the first order is read. Measures that the system denies are
// returned, the others hold.
//
// Go reserves far more address space than it uses, so memory is limited by
// RLIMIT_DATA, which counts private writable pages only. The number of
// processes is not limited: that limit counts those of the user, and the node
// is one of them.
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
		{"fsize", unix.RLIMIT_FSIZE, 0},
	} {
		if err := unix.Setrlimit(l.which, &unix.Rlimit{Cur: l.max, Max: l.max}); err != nil {
			denied = append(denied, fmt.Sprintf("rlimit %s: %v", l.name, err))
		}
	}
	if on, err := unix.PrctlRetInt(unix.PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0); err != nil || on != 1 {
		denied = append(denied, "no_new_privs")
	}
	closeInherited()
	// To be nice and to be killed first is for the good of others: not every
	// system has all of these, and none of them confines.
	_ = unix.Setpriority(unix.PRIO_PGRP, 0, childNice)
	_ = os.WriteFile("/proc/self/autogroup", []byte(strconv.Itoa(childNice)), 0)
	_ = os.WriteFile("/proc/self/oom_score_adj", []byte(strconv.Itoa(oomScore)), 0)
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
