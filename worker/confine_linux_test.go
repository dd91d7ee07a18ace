package worker

import (
	"fmt"
	"os"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// What a child has of its worker's environment, descriptors and rights.
func TestConfinement(t *testing.T) {
	t.Setenv("FARM_SECRET", "1")
	secret, err := os.Open("/dev/null")
	if err != nil {
		t.Fatal(err)
	}
	defer secret.Close()
	inherited, err := unix.Dup(int(secret.Fd())) // as if this process had been given it
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(inherited)
	l := start(t, nil)
	l.onReport = settle
	l.say(l.private("a", "pid"))
	pid := string(l.report("a", 1).Outcome.Value)
	read := func(name string) string {
		b, err := os.ReadFile("/proc/" + pid + "/" + name)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	env := strings.Split(strings.TrimRight(read("environ"), "\x00"), "\x00")
	if got := strings.Join(env, " "); got != fmt.Sprintf("%s=%d,%d,%d,%d TZ=UTC GOTRACEBACK=none GOMAXPROCS=%d", childEnv, DefaultMemoryBytes, DefaultStackBytes, maxPlainChange, maxPlainChange, runtime.GOMAXPROCS(0)) {
		t.Errorf("environment: %s", got)
	}
	for _, want := range []string{`Max data size\s+1073741824 `, `Max core file size\s+0 `, `Max open files\s+64 `, `Max file size\s+0 `} {
		if !regexp.MustCompile(want).MatchString(read("limits")) {
			t.Errorf("no %q in %s", want, read("limits"))
		}
	}
	threads, err := os.ReadDir("/proc/" + pid + "/task")
	if err != nil || len(threads) < 2 {
		t.Fatalf("%d threads, %v", len(threads), err)
	}
	for _, th := range threads {
		if s := read("task/" + th.Name() + "/status"); !strings.Contains(s, "NoNewPrivs:\t1") || !strings.Contains(s, "Seccomp:\t2") {
			t.Errorf("thread %s may gain privileges or make any system call:\n%s", th.Name(), s)
		}
	}
	want := fullIsolation
	if !hasLandlock() {
		want = "no landlock"
	}
	if got := l.w.Stats().Isolation; got != want {
		t.Errorf("isolation %q, not %q", got, want)
	}
	l.await("the leader to hear it", func() bool { return l.isolation == want })
	stat := strings.Fields(read("stat")[strings.LastIndex(read("stat"), ")")+1:])
	if group, session := stat[2], stat[3]; group != pid || session != pid {
		t.Errorf("group %s and session %s of process %s", group, session, pid)
	}
	fds, err := os.ReadDir("/proc/" + pid + "/fd")
	if err != nil {
		t.Fatal(err)
	}
	for _, fd := range fds {
		to, _ := os.Readlink("/proc/" + pid + "/fd/" + fd.Name())
		own := strings.HasPrefix(to, "anon_inode:") || strings.HasPrefix(to, "/sys/fs/cgroup/") // the runtime's
		if n := fd.Name(); !own && n != "0" && n != "1" && n != "2" && n != fmt.Sprint(ordersFD) && n != fmt.Sprint(answersFD) {
			t.Errorf("descriptor %s: %s", n, to)
		}
	}
}

// hasLandlock tells whether this machine's kernel does.
func hasLandlock() bool {
	_, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION)
	return errno == 0
}

func init() { probe = probeKernel }

// probes are system calls that a child must not be able to make, with arguments
// that would do no harm if it were. EPERM is not what they fail with otherwise.
func probes() map[string]func() syscall.Errno {
	call := func(nr uintptr, args ...uintptr) func() syscall.Errno {
		return func() syscall.Errno {
			a := [6]uintptr{}
			copy(a[:], args)
			_, _, errno := syscall.Syscall6(nr, a[0], a[1], a[2], a[3], a[4], a[5])
			return errno
		}
	}
	path := func(s string) uintptr {
		b := append([]byte(s), 0)
		kept = append(kept, b)
		return uintptr(unsafe.Pointer(&b[0]))
	}
	at := ^uintptr(99) // AT_FDCWD
	parent, self := uintptr(os.Getppid()), uintptr(os.Getpid())
	list := map[string]func() syscall.Errno{
		"read a file":               call(unix.SYS_OPENAT, at, path("/etc/passwd"), unix.O_RDONLY),
		"read its environment":      call(unix.SYS_OPENAT, at, path("/proc/self/environ"), unix.O_RDONLY),
		"read the worker's":         call(unix.SYS_OPENAT, at, path(fmt.Sprint("/proc/", os.Getppid(), "/environ")), unix.O_RDONLY),
		"read its program":          call(unix.SYS_OPENAT, at, path("/proc/self/exe"), unix.O_RDONLY),
		"list a folder":             call(unix.SYS_OPENAT, at, path("/"), unix.O_RDONLY|unix.O_DIRECTORY),
		"make a file":               call(unix.SYS_OPENAT, at, path("/tmp/farm-probe"), unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL, 0o600),
		"openat2":                   call(unix.SYS_OPENAT2, at, path("/etc/passwd"), uintptr(unsafe.Pointer(&unix.OpenHow{})), unix.SizeofOpenHow),
		"look at a file":            call(unix.SYS_FACCESSAT, at, path("/etc/passwd"), 0),
		"readlink":                  call(unix.SYS_READLINKAT, at, path("/proc/self/exe"), path(strings.Repeat(" ", 100)), 100),
		"unlink":                    call(unix.SYS_UNLINKAT, at, path("/nonexistent"), 0),
		"mkdir":                     call(unix.SYS_MKDIRAT, at, path("/"), 0),
		"chdir":                     call(unix.SYS_CHDIR, path("/")),
		"chroot":                    call(unix.SYS_CHROOT, path("/")),
		"execve":                    call(unix.SYS_EXECVE, path("/nonexistent"), 0, 0),
		"execveat":                  call(unix.SYS_EXECVEAT, at, path("/nonexistent"), 0, 0, 0),
		"fork":                      forkProbe,
		"thread in a new namespace": call(unix.SYS_CLONE, unix.CLONE_THREAD|unix.CLONE_NEWUSER),
		"TCP socket":                call(unix.SYS_SOCKET, unix.AF_INET, unix.SOCK_STREAM, 0),
		"Unix socket":               call(unix.SYS_SOCKET, unix.AF_UNIX, unix.SOCK_STREAM, 0),
		"netlink socket":            call(unix.SYS_SOCKET, unix.AF_NETLINK, unix.SOCK_RAW, 0),
		"socketpair":                call(unix.SYS_SOCKETPAIR, unix.AF_UNIX, unix.SOCK_STREAM, 0, 0),
		"connect":                   call(unix.SYS_CONNECT, 0, 0, 0),
		"bind":                      call(unix.SYS_BIND, 0, 0, 0),
		"listen":                    call(unix.SYS_LISTEN, 0, 0),
		"pass a descriptor":         call(unix.SYS_SENDMSG, 0, 0, 0),
		"kill the worker":           call(unix.SYS_KILL, parent, 0),
		"kill everybody":            call(unix.SYS_KILL, ^uintptr(0), 0),
		"kill a thread of it":       call(unix.SYS_TGKILL, parent, parent, 0),
		"tkill":                     call(unix.SYS_TKILL, parent, 0),
		"queue a signal":            call(unix.SYS_RT_SIGQUEUEINFO, parent, 0, 0),
		"pidfd_open":                call(unix.SYS_PIDFD_OPEN, parent, 0),
		"pidfd_send_signal":         call(unix.SYS_PIDFD_SEND_SIGNAL, 0, 0, 0, 0),
		"signals by fcntl":          call(unix.SYS_FCNTL, answersFD, unix.F_SETOWN, self),
		"ioctl":                     call(unix.SYS_IOCTL, 1, unix.TIOCSTI, 0),
		"ptrace":                    call(unix.SYS_PTRACE, unix.PTRACE_PEEKTEXT, parent, 0, 0),
		"read its memory":           call(unix.SYS_PROCESS_VM_READV, parent, 0, 0, 0, 0, 0),
		"write its memory":          call(unix.SYS_PROCESS_VM_WRITEV, parent, 0, 0, 0, 0, 0),
		"its limits":                call(unix.SYS_PRLIMIT64, parent, unix.RLIMIT_CORE, 0, 0),
		"outlive the worker":        call(unix.SYS_PRCTL, unix.PR_SET_PDEATHSIG, 0),
		"leave the group":           call(unix.SYS_SETPGID, 0, 0),
		"setsid":                    call(unix.SYS_SETSID),
		"setuid":                    call(unix.SYS_SETUID, ^uintptr(0)),
		"mount":                     call(unix.SYS_MOUNT, 0, 0, 0, 0, 0),
		"umount":                    call(unix.SYS_UMOUNT2, 0, 0),
		"unshare":                   call(unix.SYS_UNSHARE, 0),
		"setns":                     call(unix.SYS_SETNS, ^uintptr(0), 0),
		"bpf":                       call(unix.SYS_BPF, ^uintptr(0), 0, 0),
		"keyctl":                    call(unix.SYS_KEYCTL, ^uintptr(0)),
		"add_key":                   call(unix.SYS_ADD_KEY, 0, 0, 0, 0, 0),
		"perf_event_open":           call(unix.SYS_PERF_EVENT_OPEN, 0, 0, 0, 0, 0),
		"userfaultfd":               call(unix.SYS_USERFAULTFD, ^uintptr(0)),
		"io_uring":                  call(unix.SYS_IO_URING_SETUP, 0, 0),
		"memfd_create":              call(unix.SYS_MEMFD_CREATE, 0, 0),
		"load a module":             call(unix.SYS_FINIT_MODULE, ^uintptr(0), 0, 0),
		"reboot":                    call(unix.SYS_REBOOT, 0, 0, 0, 0),
		"shared memory":             call(unix.SYS_SHMGET, 0, 0, 0),
		"inotify":                   call(unix.SYS_INOTIFY_INIT1, ^uintptr(0)),
		"pipe":                      call(unix.SYS_PIPE2, 0, 0),
		"another filter":            call(unix.SYS_SECCOMP, 1, 0, 0),
	}
	return list
}

// kept keeps what the kernel is given the address of.
var kept [][]byte

// forkProbe makes a process that ends at once.
func forkProbe() syscall.Errno {
	pid, _, errno := syscall.RawSyscall6(unix.SYS_CLONE, uintptr(unix.SIGCHLD), 0, 0, 0, 0, 0)
	if errno == 0 && pid == 0 {
		syscall.RawSyscall(unix.SYS_EXIT_GROUP, 0, 0, 0)
	}
	return errno
}

// probeKernel makes one of the probes, or all, on a thread of its own, and
// gives the names and errors of those that did not fail as the filter makes
// them fail.
func probeKernel(what string) string {
	runtime.LockOSThread() // never unlocked: a new thread, which has what they all have
	list := probes()
	if what != "all" {
		if list[what] == nil {
			return "no probe " + what
		}
		return errnoName(list[what]())
	}
	var wrong []string
	for name, try := range list {
		if errno := try(); errno != unix.EPERM {
			wrong = append(wrong, name+": "+errnoName(errno))
		}
	}
	if _, _, errno := syscall.Syscall(unix.SYS_CLONE3, 0, 0, 0); errno != unix.ENOSYS {
		wrong = append(wrong, "clone3: "+errnoName(errno))
	}
	slices.Sort(wrong)
	return strings.Join(wrong, ", ")
}

func errnoName(e syscall.Errno) string {
	if e == 0 {
		return "it can be done"
	}
	return unix.ErrnoName(e)
}

// The kernel refuses a child all that it has no need of, whatever code runs
// there: these calls are made directly.
func TestKernelRefuses(t *testing.T) {
	l := start(t, nil)
	l.onReport = settle
	if l.say(l.private("a", "probe all")); string(l.report("a", 1).Outcome.Value) != `""` {
		t.Errorf("not refused: %s", l.report("a", 1).Outcome.Value)
	}
	// Without the filter they are not, so the probes prove something; what is
	// left of the confinement, from the thread that starts children, is enough
	// to refuse files, programs and TCP.
	l = start(t, bare)
	l.onReport = settle
	if !hasLandlock() {
		t.Skip("this kernel has no Landlock")
	}
	for what, want := range map[string]string{
		"read a file": "EACCES", "read its environment": "EACCES", "read the worker's": "EACCES", "list a folder": "EACCES", "make a file": "EACCES",
		"fork": "it can be done", "Unix socket": "it can be done", "kill the worker": "it can be done", "unshare": "it can be done",
	} {
		l.say(l.private(what, "probe "+what))
		if got := string(l.report(what, 1).Outcome.Value); got != strconv.Quote(want) {
			t.Errorf("without the filter, %s: %s, not %s", what, got, want)
		}
	}
}

// A measure the system does not have is named in the level.
func TestIsolationLevel(t *testing.T) {
	for want, denied := range map[string][]string{
		"full":                    nil,
		"no landlock, no seccomp": {"landlock: files can be opened", "seccomp: function not implemented"},
		"no rlimit data":          {"rlimit data: x: y"},
	} {
		if got := isolationLevel(denied); got != want {
			t.Errorf("%q: %q, not %q", denied, got, want)
		}
	}
}
