package worker

import (
	"fmt"
	"io"
	"os"
	"strconv"
	"syscall"
	"time"
	"unsafe"

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

// starter is what the thread that starts children needs once it is confined.
type starter struct{ descriptors *os.File }

// confineThread confines the calling thread, and so all the children it starts:
// they cannot gain privileges, nor open files but those that it takes to start
// the program. It is the kernel that hands this on, before a child runs
// anything, to all its threads. The thread cannot be used for anything else
// afterwards. The starter can be used even after an error, which says what of
// the confinement is missing.
func confineThread(program string) (*starter, error) {
	s := &starter{}
	s.descriptors, _ = os.Open("/proc/self/fd") // listed later, when it could not be opened any more
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return s, fmt.Errorf("no_new_privs: %w", err)
	}
	return s, landlock(program)
}

func (s *starter) close() { _ = s.descriptors.Close() }

// lastInherited is the highest descriptor that a child would inherit, at least
// answersFD. All that Go opens closes on exec, what this process was given by its
// parent does not.
func (s *starter) lastInherited() int {
	last := answersFD
	if _, err := s.descriptors.Seek(0, io.SeekStart); err != nil {
		return last
	}
	names, _ := s.descriptors.Readdirnames(-1)
	for _, name := range names {
		fd, err := strconv.Atoi(name)
		if err != nil || fd <= last {
			continue
		}
		if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err == nil && flags&unix.FD_CLOEXEC == 0 {
			last = fd
		}
	}
	return last
}

// confine takes from this process what a child does not need beyond what
// confineThread took. It is called once, before the first order is read.
// Measures that the system denies are returned, as "name: why"; the others hold.
//
// Go reserves far more address space than it uses, so memory is limited by
// RLIMIT_DATA, which counts private writable pages only. The number of
// processes is not limited by RLIMIT_NPROC: that counts those of the user, and
// the node is one of them. The filter allows none.
func confine(memory int64, stack int) (denied []string) {
	limitRuntime(memory, stack)
	unix.CloseOnExec(ordersFD)
	unix.CloseOnExec(answersFD)
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
		denied = append(denied, "no_new_privs: not set")
	}
	if !landlocked() {
		denied = append(denied, "landlock: files can be opened")
	}
	if err := seal(); err != nil {
		denied = append(denied, err.Error())
	}
	return denied
}

// readNow reads from a descriptor that does not block. Like those that follow it does not
// tell the runtime of the call: when a process was idle a moment ago, telling it wakes the
// runtime's monitor thread, which then looks for calls that wait every 20 to 70 µs for some
// milliseconds; in a worker with one namespace that was a third of its processor time.
func readNow(fd int, b []byte) (int, syscall.Errno) { return now(unix.SYS_READ, fd, b) }

// writeNow writes to a descriptor that does not block.
func writeNow(fd int, b []byte) (int, syscall.Errno) { return now(unix.SYS_WRITE, fd, b) }

func now(call uintptr, fd int, b []byte) (int, syscall.Errno) {
	n, _, errno := unix.RawSyscall(call, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)))
	if errno != 0 {
		return 0, errno
	}
	return int(n), 0
}

// readStart reads the beginning of a file that the system makes up.
func readStart(fd int, b []byte) (int, syscall.Errno) {
	n, _, errno := unix.RawSyscall6(unix.SYS_PREAD64, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)), 0, 0, 0)
	if errno != 0 {
		return 0, errno
	}
	return int(n), 0
}

// nothingIn tells whether none of the descriptors has anything to read, or an end.
func nothingIn(fds []unix.PollFd) bool {
	var at unix.Timespec
	n, _, errno := unix.RawSyscall6(unix.SYS_PPOLL, uintptr(unsafe.Pointer(unsafe.SliceData(fds))), uintptr(len(fds)), uintptr(unsafe.Pointer(&at)), 0, 0, 0)
	return n == 0 && errno == 0
}

// demote makes a child nice, and the first to be killed when the kernel is short
// of memory. That is for the good of others: not every system has all of it, and
// none of it confines.
func demote(pid int) {
	dir := "/proc/" + strconv.Itoa(pid)
	_ = unix.Setpriority(unix.PRIO_PGRP, pid, childNice)
	_ = os.WriteFile(dir+"/autogroup", []byte(strconv.Itoa(childNice)), 0)
	_ = os.WriteFile(dir+"/oom_score_adj", []byte(strconv.Itoa(oomScore)), 0)
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
