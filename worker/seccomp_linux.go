//go:build linux && (amd64 || arm64)

package worker

import (
	"fmt"
	"os"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A child may make the system calls that the Go runtime and, in a binary that
// uses C, the threads of the C library need, and no others: what is not listed
// here fails with EPERM. So a child has the descriptors and memory it has, and
// threads; it cannot open a file, make a socket or a process, run a program, or
// reach another process.

// callsAllowed are allowed with any arguments, those made most often first.
var callsAllowed = append([]uint32{
	unix.SYS_FUTEX, unix.SYS_READ, unix.SYS_WRITE, unix.SYS_EPOLL_PWAIT, unix.SYS_NANOSLEEP, unix.SYS_MADVISE,
	unix.SYS_CLOCK_GETTIME, unix.SYS_CLOCK_NANOSLEEP, unix.SYS_GETTIMEOFDAY, unix.SYS_SCHED_YIELD,
	unix.SYS_RT_SIGPROCMASK, unix.SYS_RT_SIGRETURN, unix.SYS_RT_SIGACTION, unix.SYS_SIGALTSTACK, unix.SYS_RESTART_SYSCALL,
	unix.SYS_MMAP, unix.SYS_MUNMAP, unix.SYS_MPROTECT, unix.SYS_MREMAP, unix.SYS_MINCORE, unix.SYS_BRK,
	unix.SYS_GETPID, unix.SYS_GETTID, unix.SYS_GETRANDOM, unix.SYS_SCHED_GETAFFINITY, unix.SYS_RSEQ, unix.SYS_SET_ROBUST_LIST, unix.SYS_SET_TID_ADDRESS,
	unix.SYS_EPOLL_CREATE1, unix.SYS_EPOLL_CTL, unix.SYS_EPOLL_PWAIT2, unix.SYS_EVENTFD2, unix.SYS_CLOSE, unix.SYS_FSTAT, unix.SYS_WRITEV,
	unix.SYS_EXIT, unix.SYS_EXIT_GROUP,
}, archCalls...)

// callCheck allows a system call only when an argument, of 32 bits, masked, has
// one of some values.
type callCheck struct {
	call   uint32
	arg    uint32 // its index
	mask   uint32
	values []uint32
}

const (
	anyBit = ^uint32(0)
	// cloneNew are the flags that make namespaces.
	cloneNew = unix.CLONE_NEWNS | unix.CLONE_NEWCGROUP | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC | unix.CLONE_NEWUSER | unix.CLONE_NEWPID | unix.CLONE_NEWNET
)

func callChecks(pid uint32) []callCheck {
	return []callCheck{
		{unix.SYS_CLONE, 0, unix.CLONE_THREAD | cloneNew, []uint32{unix.CLONE_THREAD}}, // threads, not processes
		{unix.SYS_TGKILL, 0, anyBit, []uint32{pid}},                                    // the runtime stops its own threads so
		{unix.SYS_KILL, 0, anyBit, []uint32{pid}},                                      // and ends itself so
		// Not F_SETOWN: with it a descriptor sends signals to any process.
		{unix.SYS_FCNTL, 1, anyBit, []uint32{unix.F_GETFD, unix.F_SETFD, unix.F_GETFL, unix.F_SETFL}},
		{unix.SYS_PRCTL, 0, anyBit, []uint32{unix.PR_SET_VMA}}, // names of the runtime's memory
	}
}

// Where things are in what a filter sees of a system call, struct seccomp_data.
const (
	dataCall = 0
	dataArch = 4
	dataArgs = 16 // 64 bits each, the low half first on the machines listed here
	retErrno = unix.SECCOMP_RET_ERRNO
)

func load(offset uint32) unix.SockFilter {
	return unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: offset}
}

func ret(action uint32) unix.SockFilter {
	return unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: action}
}

// unless skips n instructions unless the value loaded is k.
func unless(k uint32, n uint8) unix.SockFilter {
	return unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jf: n, K: k}
}

// filter is the program that the kernel runs at each system call of a child.
func filter(pid uint32) []unix.SockFilter {
	prog := []unix.SockFilter{
		load(dataArch), {Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jt: 1, K: auditArch},
		ret(unix.SECCOMP_RET_KILL_PROCESS), // the numbers of another architecture mean other calls
		load(dataCall),
	}
	for _, c := range callsAllowed {
		prog = append(prog, unless(c, 1), ret(unix.SECCOMP_RET_ALLOW))
	}
	// Without it the C library makes threads by clone, whose flags can be seen here.
	prog = append(prog, unless(unix.SYS_CLONE3, 1), ret(retErrno|uint32(unix.ENOSYS)))
	for _, c := range callChecks(pid) {
		check := []unix.SockFilter{load(dataArgs + 8*c.arg), {Code: unix.BPF_ALU | unix.BPF_AND | unix.BPF_K, K: c.mask}}
		for _, v := range c.values {
			check = append(check, unless(v, 1), ret(unix.SECCOMP_RET_ALLOW))
		}
		check = append(check, ret(retErrno|uint32(unix.EPERM)))
		prog = append(prog, unless(c.call, uint8(len(check))))
		prog = append(prog, check...)
	}
	return append(prog, ret(retErrno|uint32(unix.EPERM)))
}

// seal puts all threads of this process, and those to come, under the filter.
// It cannot be undone. The process must have no_new_privs. Seccomp brings the
// filter to all threads itself, so this works with C in the binary as well,
// where the syscall package's AllThreadsSyscall does not.
func seal() error {
	prog := filter(uint32(os.Getpid()))
	p := unix.SockFprog{Len: uint16(len(prog)), Filter: &prog[0]}
	other, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_TSYNC, uintptr(unsafe.Pointer(&p)))
	runtime.KeepAlive(prog)
	switch {
	case errno != 0:
		return fmt.Errorf("seccomp: %w", errno)
	case other != 0:
		return fmt.Errorf("seccomp: thread %d has a filter of its own", other)
	}
	return nil
}
