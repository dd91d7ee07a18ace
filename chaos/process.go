package chaos

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// process is one run of a node.
type process struct {
	cmd    *exec.Cmd
	exited chan struct{}
	err    error // how it ended, once exited is closed
}

func startProcess(cmd *exec.Cmd) (*process, error) {
	// A group of its own, so that Ctrl-C reaches only the harness; and no node
	// outlives it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	p := &process{cmd: cmd, exited: make(chan struct{})}
	go func() {
		p.err = cmd.Wait()
		close(p.exited)
	}()
	return p, nil
}

func (p *process) pid() int { return p.cmd.Process.Pid }

func (p *process) over() bool {
	select {
	case <-p.exited:
		return true
	default:
		return false
	}
}

// signal sends a signal to a process that may be gone.
func (p *process) signal(s syscall.Signal) error {
	if err := p.cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	return nil
}

// end sends a signal and waits for the end, which kill -9 enforces after limit.
func (p *process) end(s syscall.Signal, limit time.Duration) error {
	if err := p.signal(s); err != nil {
		return err
	}
	select {
	case <-p.exited:
		return nil
	case <-time.After(limit):
	}
	if err := errors.Join(p.signal(syscall.SIGCONT), p.signal(syscall.SIGKILL)); err != nil {
		return err
	}
	<-p.exited
	return fmt.Errorf("process %d did not end within %v of signal %v", p.pid(), limit, s)
}

// how says how the process ended: its exit code, or -1 and the signal.
func (p *process) how() (code int, sig syscall.Signal) {
	if st, ok := p.cmd.ProcessState.Sys().(syscall.WaitStatus); ok && st.Signaled() {
		return -1, st.Signal()
	}
	return p.cmd.ProcessState.ExitCode(), 0
}

// stat is what /proc/PID/stat says of a process.
type stat struct {
	state  byte // R, S, D, T, Z …
	parent int
	rss    int64 // bytes
}

func readStat(pid int) (s stat, err error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return s, err
	}
	f := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:])) // the name may hold anything
	const rss = 21
	if len(f) <= rss {
		return s, fmt.Errorf("/proc/%d/stat has %d fields", pid, len(f))
	}
	s.state = f[0][0]
	s.parent, _ = strconv.Atoi(f[1])
	pages, err := strconv.ParseInt(f[rss], 10, 64)
	s.rss = pages * int64(os.Getpagesize())
	return s, err
}

// children are the processes that pid has started and that live.
func children(pid int) []int {
	var out []int
	paths, _ := filepath.Glob("/proc/[0-9]*")
	for _, p := range paths {
		child, err := strconv.Atoi(filepath.Base(p))
		if err != nil {
			continue
		}
		if s, err := readStat(child); err == nil && s.parent == pid && s.state != 'Z' {
			out = append(out, child)
		}
	}
	return out
}

// openFiles is the number of files a process has open.
func openFiles(pid int) int {
	f, _ := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	return len(f)
}

// diskUsed is the number of bytes that a folder's files occupy.
func diskUsed(dir string) int64 {
	var sum int64
	_ = filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d == nil {
			return fs.SkipDir // it went away meanwhile
		}
		if info, err := d.Info(); err == nil {
			if st, ok := info.Sys().(*syscall.Stat_t); ok {
				sum += st.Blocks * 512
			}
		}
		return nil
	})
	return sum
}
