package slack

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// TestMain is the program that is started anew, where it is told to be.
func TestMain(m *testing.M) {
	if os.Getenv("SLACK_TEST") != "" {
		err := Process(Node)
		_, left := os.LookupEnv(mark)
		fmt.Println(os.Getpid(), err, left, os.Args[1:])
		threads, _ := os.ReadDir("/proc/self/task")
		for _, t := range threads {
			if b, err := os.ReadFile("/proc/" + t.Name() + "/timerslack_ns"); err == nil { // not every user's to read
				fmt.Println(strings.TrimSpace(string(b)))
			}
		}
		return
	}
	os.Exit(m.Run())
}

// TestProcess proves that a process that asks for it has the slack in all its threads, is
// the same process with the same arguments, and leaves nothing in its environment.
func TestProcess(t *testing.T) {
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, env := range []string{"SLACK_TEST=1", mark + "=1"} {
		cmd := exec.Command(program, "a", "b c")
		cmd.Env = append(os.Environ(), "SLACK_TEST=1", env)
		out, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		lines := strings.Split(strings.TrimSpace(string(out)), "\n")
		if want := fmt.Sprint(cmd.Process.Pid, " <nil> false [a b c]"); lines[0] != want {
			t.Errorf("%q, want %q", lines[0], want)
		}
		want := fmt.Sprint(Node.Nanoseconds())
		if env == mark+"=1" { // it has been tried
			want = "50000" // the default
		}
		for _, l := range lines[1:] {
			if l != want {
				t.Errorf("%s: a thread has %s", env, l)
			}
		}
		if len(lines) == 1 {
			t.Log("what threads have is not to be seen here")
		}
	}
}
