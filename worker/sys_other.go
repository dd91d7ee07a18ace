//go:build !linux

package worker

import (
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// childAttr puts a child in a session and process group of its own.
func childAttr() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setsid: true} }

// confine limits what the runtime itself can limit; see the Linux version.
func confine(memory int64, stack int) (denied []string) {
	limitRuntime(memory, stack)
	const why = ": not on this system"
	return []string{"rlimits" + why, "no_new_privs" + why, "landlock" + why, "seccomp" + why}
}

// starter is what the thread that starts children needs.
type starter struct{}

func confineThread(string) (*starter, error) { return &starter{}, nil }

func (s *starter) close() {}

// lastInherited is the last descriptor that is known to be a child's.
func (s *starter) lastInherited() int { return answersFD }

func demote(int) {}

// readNow reads from a descriptor that does not block.
func readNow(fd int, b []byte) (int, syscall.Errno) { return now(syscall.Read(fd, b)) }

// writeNow writes to a descriptor that does not block.
func writeNow(fd int, b []byte) (int, syscall.Errno) { return now(syscall.Write(fd, b)) }

// readStart reads the beginning of a file.
func readStart(fd int, b []byte) (int, syscall.Errno) { return now(syscall.Pread(fd, b, 0)) }

func now(n int, err error) (int, syscall.Errno) {
	errno, _ := err.(syscall.Errno)
	return max(n, 0), errno
}

// nothingIn tells whether none of the descriptors has anything to read, or an end.
func nothingIn(fds []unix.PollFd) bool {
	n, err := unix.Poll(fds, 0)
	return n == 0 && err == nil
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
