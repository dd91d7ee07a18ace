package crash

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

func TestMain(m *testing.M) {
	if os.Getenv("FARM_CRASH_TEST") != "" { // the process that TestKill starts
		for range 2 {
			Here("other")
			Here("point")
			os.Stdout.WriteString("alive\n")
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func TestInert(t *testing.T) {
	Here("point")
	if err := Err("point"); err != nil {
		t.Fatal(err)
	}
	if n := testing.AllocsPerRun(100, func() { Here("point") }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestKill(t *testing.T) {
	for value, want := range map[string]string{"point:2": "alive\n", "point:3": "alive\nalive\n", "other:1:kill": ""} {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), "FARM_CRASH_TEST=1", Variable+"="+value)
		out, err := cmd.Output()
		killed := cmd.ProcessState.Sys().(syscall.WaitStatus).Signaled()
		if string(out) != want || killed != (value != "point:3") {
			t.Errorf("%s: printed %q, killed %v (%v)", value, out, killed, err)
		}
	}
}

func TestNonsense(t *testing.T) {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), Variable+"=point")
	if err := cmd.Run(); err == nil || cmd.ProcessState.ExitCode() != 2 {
		t.Errorf("a variable that says nothing: %v", err)
	}
}

func TestErrorsLast(t *testing.T) {
	t.Cleanup(func() { armed = nil })
	for how, want := range map[string]error{"error": ErrInjected, "full": syscall.ENOSPC} {
		armed = parse("point:2:" + how)
		if Err("other") != nil || Err("point") != nil {
			t.Fatal("before its time")
		}
		for range 2 {
			if err := Err("point"); !errors.Is(err, want) {
				t.Errorf("%s: %v", how, err)
			}
		}
	}
}

func TestFile(t *testing.T) {
	t.Cleanup(func() { armed = nil })
	file := filepath.Join(t.TempDir(), "now")
	armed = parse("point:1:error:" + file)
	if Err("point") != nil {
		t.Fatal("before its time")
	}
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if Err("point") == nil {
		t.Error("the file is there")
	}
}

func TestStall(t *testing.T) {
	stalls := parse("point:1:stall") // not armed: the goroutine stays, and other tests arm others
	passed := make(chan bool)
	go func() {
		_ = stalls.pass()
		passed <- true
	}()
	select {
	case <-passed:
		t.Error("passed")
	case <-time.After(20 * time.Millisecond):
	}
}
