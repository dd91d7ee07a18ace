package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// terminal is a process at a terminal, and the person who types there.
type terminal struct {
	t      *testing.T
	cmd    *exec.Cmd
	master *os.File
	exited chan struct{}

	mu   sync.Mutex
	seen bytes.Buffer // all that was shown
	mark int          // how much of it was expected already
}

const screenWidth = 100

// startTerminal runs a command of farm at a terminal of its own, in dir.
func startTerminal(t *testing.T, dir string, env []string, args ...string) *terminal {
	t.Helper()
	master, slave := openTerminal(t)
	x := &terminal{t: t, master: master, exited: make(chan struct{}), cmd: process(t.Context(), dir, args...)}
	x.cmd.Env = append(x.cmd.Env, append([]string{"TERM=xterm", "NO_COLOR=1", "XDG_STATE_HOME=" + dir + "/state"}, env...)...)
	x.cmd.Stdin, x.cmd.Stdout, x.cmd.Stderr = slave, slave, slave
	x.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := x.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	slave.Close()
	go func() {
		b := make([]byte, 4096)
		for {
			n, err := master.Read(b)
			x.mu.Lock()
			x.seen.Write(b[:n])
			x.mu.Unlock()
			if err != nil {
				return
			}
		}
	}()
	go func() {
		x.cmd.Wait()
		close(x.exited)
	}()
	t.Cleanup(func() {
		x.cmd.Process.Kill()
		<-x.exited
		master.Close()
		if t.Failed() {
			t.Logf("the terminal showed:\n%q", x.seen.String())
		}
	})
	return x
}

func openTerminal(t *testing.T) (master, slave *os.File) {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Skipf("no pseudo-terminals here: %v", err)
	}
	fd := int(master.Fd())
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0)
	}
	if err == nil {
		err = unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Row: 40, Col: screenWidth})
	}
	if err != nil {
		t.Fatal(err)
	}
	slave, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	return master, slave
}

// keys types.
func (x *terminal) keys(s string) {
	x.t.Helper()
	if _, err := x.master.WriteString(s); err != nil {
		x.t.Fatal(err)
	}
}

// paste pastes, as a terminal that marks what is pasted.
func (x *terminal) paste(s string) {
	x.t.Helper()
	x.keys("\x1b[200~" + strings.ReplaceAll(s, "\n", "\r") + "\x1b[201~")
}

// expect waits until something is shown, and returns what was shown up to it.
func (x *terminal) expect(want string) string {
	x.t.Helper()
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		x.mu.Lock()
		fresh := x.seen.String()[x.mark:]
		if i := strings.Index(fresh, want); i >= 0 {
			x.mark += i + len(want)
			x.mu.Unlock()
			return fresh[:i]
		}
		x.mu.Unlock()
		if time.Now().After(end) {
			x.t.Fatalf("not shown: %q, but %q", want, fresh)
		}
	}
}

// enter types a line at the prompt, waits for the next prompt and returns what
// was shown between.
func (x *terminal) enter(prompt, line string) string {
	x.t.Helper()
	x.keys(line + "\r")
	x.expect("\r\n")
	return x.expect(prompt)
}

// exit waits for the end of the process.
func (x *terminal) exit(code int) {
	x.t.Helper()
	select {
	case <-x.exited:
	case <-time.After(20 * time.Second):
		x.t.Fatal("it does not end")
	}
	if got := x.cmd.ProcessState.ExitCode(); got != code {
		x.t.Errorf("exit code %d, want %d", got, code)
	}
}
