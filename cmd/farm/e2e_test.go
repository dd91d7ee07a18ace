package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"farm/internal/cluster"
)

// These tests run the command as its users do: processes, a real farm, disks.

// process is a command line to be run as a process, in dir.
func process(ctx context.Context, dir string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, os.Args[0], args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), farmEnv+"=1", "FARM_ADDR=")
	cmd.WaitDelay = 10 * time.Second
	return cmd
}

func runProcess(t *testing.T, dir, stdin string, args ...string) ended {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	cmd := process(ctx, dir, args...)
	var out, errs bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &out, &errs
	if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return ended{cmd.ProcessState.ExitCode(), out.String(), errs.String()}
}

// startFarm starts a farm in dir/.farm, which commands run in dir find.
func startFarm(t *testing.T, dir string, args ...string) *cluster.Cluster {
	t.Helper()
	if testing.Short() {
		t.Skip("starts real nodes")
	}
	c, err := cluster.Start(t.Context(), cluster.Options{Dir: filepath.Join(dir, localDir), Env: []string{farmEnv + "=1"}, Args: args})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Stop(); err != nil {
			t.Error(err)
		}
	})
	return c
}

func TestCommandsOnARealFarm(t *testing.T) {
	dir := t.TempDir()
	farm := startFarm(t, dir)
	run := func(args ...string) ended { t.Helper(); return runProcess(t, dir, "", args...) }

	run("submit", "-c", "import \"fmt\"\nfmt.Println(\"hello\")\n6*7").check(t, 0, "hello\n42\n", "")
	if r := run("submit", "-c", "panic(\"boom\")"); r.code != exitFailed || r.out != "" || !strings.HasPrefix(r.err, "panic: boom\n\tat cell:1") {
		t.Errorf("panic: %+v", r)
	}
	run("exec", "a", "x := []int{1, 2}\nfunc sum() (s int) { for _, v := range x { s += v }; return s }").check(t, 0, "", "")
	run("set", "a", "x", "[3,4]").check(t, 0, "", "")
	run("exec", "a", "sum()").check(t, 0, "7\n", "")
	run("get", "a", "x").check(t, 0, "[3,4]\n", "")
	run("exec", "a", "sum(1)").check(t, 1, "", "cell:1:5: too many arguments in call to sum\n\thave (number)\n\twant ()\n")
	if r := run("set", "a", "x", `"text"`); r.code == 0 {
		t.Errorf("a []int became a string: %+v", r)
	}
	run("ns", "rm", "a").check(t, 0, "", "")
	if r := run("get", "a", "x"); r.code != exitFailed {
		t.Errorf("after ns rm: %+v", r)
	}

	program := filepath.Join(dir, "program.go")
	text := "package main\n\nfunc Square(n int) int { return n * n }\n\nvar total int\n\nfunc Add(n int) int { total += n; return total }\n"
	if err := os.WriteFile(program, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	var in, want strings.Builder
	sum := 0
	for i := range 1000 {
		fmt.Fprintln(&in, i)
		fmt.Fprintln(&want, i*i)
		sum += i * i
	}
	runProcess(t, dir, in.String(), "map", "--call", "Square", program).check(t, 0, want.String(), "")
	runProcess(t, dir, in.String(), "map", "--call", "Square", "--fold", "sums:Add", program).check(t, 0, fmt.Sprintln(sum), "")
	run("get", "sums", "total").check(t, 0, fmt.Sprintln(sum), "")

	// A node that dies is not noticed by commands.
	if err := farm.Kill(0); err != nil {
		t.Fatal(err)
	}
	run("exec", "b", "n := 1").check(t, 0, "", "")
	run("exec", "b", "n++\nn").check(t, 0, "2\n", "")
	if err := farm.Restart(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	var s statusJSON
	if r := run("status", "--json"); json.Unmarshal([]byte(r.out), &s) != nil || s.Leader == "" || len(s.Nodes) != 3 || s.Tasks.Succeeded < 2000/256 {
		t.Errorf("status: %+v", r)
	}
	if i := slices.IndexFunc(s.Workers, func(w workerJSON) bool { return w.Isolation != "" }); i < 0 {
		t.Errorf("no worker has said how its children are confined: %+v", s.Workers)
	}
}

// A namespace is copied, taken back, and carried to another name in a file.
func TestWholeNamespacesOnARealFarm(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	farm := startFarm(t, dir)
	run := func(args ...string) ended { t.Helper(); return runProcess(t, dir, "", args...) }

	run("exec", "a", "type T struct{ N int; Next *T }\nfunc (t *T) Double() int { return 2 * t.N }\nx := &T{N: 1}\nx.Next = x").check(t, 0, "", "")
	run("exec", "a", "x.N = 20").check(t, 0, "", "")
	run("get", "--type", "a", "x").check(t, 0, "*T\n", "")
	if r := run("ns", "show", "a"); !strings.Contains(r.out, "type T struct") || !strings.Contains(r.out, "func (t *T) Double() int") || !strings.Contains(r.out, "x\t*T\t") {
		t.Errorf("ns show: %+v", r)
	}
	run("ns", "fork", "a", "b").check(t, 0, "", "")
	run("ns", "export", "b", "b.farm").check(t, 0, "", "farm: namespace b, version 1, 4 items, is in b.farm\n")
	run("ns", "restore", "--version", "1", "a").check(t, 0, "", "")
	run("exec", "a", "x.Next.Double()").check(t, 0, "2\n", "")
	run("exec", "b", "x.Next.Double()").check(t, 0, "40\n", "")
	if r := run("ns", "history", "a"); strings.Count(r.out, "\ttrue\t") != 3 || !strings.HasPrefix(r.out, "3\t") {
		t.Errorf("ns history: %+v", r)
	}

	run("exec", "m", "import \"fmt\"\ntype S struct{ n int; last error; self *S }\nfunc (s *S) Error() string { return fmt.Sprint(\"worked \", s.n) }\nfunc (s *S) Err() string { return s.self.last.Error() }\ns := &S{n: 1}\ns.last, s.self = s, s").check(t, 0, "", "")
	run("exec", "m", "s.n++").check(t, 0, "", "")

	// The past is the cluster's: it is there when a node is not.
	if err := farm.Kill(0); err != nil {
		t.Fatal(err)
	}
	run("ns", "restore", "--version", "2", "a").check(t, 0, "", "")
	run("exec", "a", "x.Next.Double()").check(t, 0, "40\n", "")
	run("exec", "--engine", "yaegi", "a", "1").check(t, exitRefused, "", "conflict: the namespace is for the engine ssa and not for yaegi: it is chosen with the first cell of a namespace\n")
	run("set", "y", "n", "2").check(t, 0, "", "") // variables alone do not choose
	run("exec", "--engine", "yaegi", "y", "n*21").check(t, 0, "42\n", "")
	if r := run("ns", "show", "y"); !strings.Contains(r.err, ", engine yaegi\n") {
		t.Errorf("ns show: %+v", r)
	}
	run("exec", "m", "s.Err()").check(t, 0, "\"worked 2\"\n", "") // the worker that had it was perhaps of that node
	if r := run("ns", "show", "m"); !strings.Contains(r.err, ", engine ssa\n") {
		t.Errorf("ns show: %+v", r)
	}
	run("ns", "import", "c", "b.farm").check(t, 0, "", "")
	run("exec", "c", "x.Next.Double()").check(t, 0, "40\n", "")
	run("ns", "export", "c", "c.farm").check(t, 0, "", "farm: namespace c, version 1, 4 items, is in c.farm\n")

	run("ns", "import", "c", "b.farm").check(t, exitRefused, "", "farm: import into c: conflict: namespace c exists (farm ns rm c removes it)\n")
	run("ns", "fork", "a", "b").check(t, exitRefused, "", "farm: fork a to b: conflict: namespace b exists (farm ns rm b removes it)\n")
	run("ns", "restore", "--version", "9", "a").check(t, exitFailed, "", "farm: restore a: not-found: namespace a is at version 4, there is no version 9\n")
	if err := os.Truncate(filepath.Join(dir, "c.farm"), 50); err != nil {
		t.Fatal(err)
	}
	if r := run("ns", "import", "d", "c.farm"); r.code != exitRefused || !strings.Contains(r.err, "not an exported namespace") {
		t.Errorf("import of half a file: %+v", r)
	}
}

func TestInterruptedMapCancelsItsJob(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	startFarm(t, dir)
	program := filepath.Join(dir, "program.go")
	if err := os.WriteFile(program, []byte("import \"time\"\n\nfunc Slow(n int) int { time.Sleep(time.Minute); return n }\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := process(t.Context(), dir, "map", "--call", "Slow", program)
	var errs bytes.Buffer
	cmd.Stderr = &errs
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	fmt.Fprint(stdin, "1\n2\n3\n") // and no end
	listed := func(state string) int {
		return strings.Count(runProcess(t, dir, "", "task", "ls", "--state", state).out, "\n")
	}
	await(t, "tasks are running", func() bool { return listed("running") > 0 })
	cmd.Process.Signal(syscall.SIGINT)
	cmd.Wait()
	if cmd.ProcessState.ExitCode() != exitInterrupted || !strings.Contains(errs.String(), "cancelled job") {
		t.Errorf("exit %d, %s", cmd.ProcessState.ExitCode(), &errs)
	}
	await(t, "tasks are cancelled", func() bool { return listed("running") == 0 && listed("cancelled") > 0 })
}

func await(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !ok(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not in time: %s", what)
		}
	}
}

// With no address and nothing running, a command brings its own farm, whose
// state is there again the next time, and leaves no process behind.
func TestACommandBringsItsOwnFarm(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("starts real nodes")
	}
	dir := t.TempDir()
	r := runProcess(t, dir, "", "exec", "a", "n := 41")
	if r.code != 0 || !strings.Contains(r.err, "starting a local farm of three nodes") {
		t.Fatalf("%+v", r)
	}
	if r := runProcess(t, dir, "", "exec", "a", "n + 1"); r.code != 0 || r.out != "42\n" {
		t.Errorf("%+v", r)
	}
	if _, err := os.Stat(filepath.Join(dir, localDir, "cluster.json")); err == nil {
		t.Error("cluster.json is left")
	}
	data := filepath.Join(dir, localDir)
	procs, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range procs {
		if b, err := os.ReadFile(p); err == nil && bytes.Contains(b, []byte(data)) {
			t.Errorf("left: %s", bytes.ReplaceAll(b, []byte{0}, []byte{' '}))
		}
	}
}

// farm dev starts a node again that died, and stops on a signal with success.
func TestDev(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("starts real nodes")
	}
	dir := t.TempDir()
	cmd := process(t.Context(), dir, "dev", "-n", "1")
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	pid := func() int {
		var r struct{ PIDs []int }
		b, _ := os.ReadFile(filepath.Join(dir, localDir, "cluster.json"))
		if json.Unmarshal(b, &r) != nil || len(r.PIDs) == 0 {
			return 0
		}
		return r.PIDs[0]
	}
	await(t, "the farm is ready", func() bool { return pid() != 0 })
	if r := runProcess(t, dir, "", "submit", "-c", "1"); r.out != "1\n" || r.err != "" {
		t.Errorf("a command beside it: %+v", r)
	}
	if r := runProcess(t, dir, "", "dev"); r.code != exitRefused {
		t.Errorf("a second one: %+v", r)
	}
	first := pid()
	if err := syscall.Kill(first, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	await(t, "the node is started again", func() bool { return pid() != first && pid() != 0 })
	if r := runProcess(t, dir, "", "submit", "-c", "2"); r.out != "2\n" {
		t.Errorf("after its death: %+v", r)
	}
	cmd.Process.Signal(syscall.SIGTERM)
	if err := cmd.Wait(); err != nil || strings.Count(out.String(), "\n") != 1 {
		t.Errorf("%v, %s%s", err, &out, &errs)
	}
}

func TestNobodyAnswers(t *testing.T) {
	t.Parallel()
	r := runProcess(t, t.TempDir(), "", "status", "--addr", "127.0.0.1:1")
	if r.code != exitUnreachable || !strings.Contains(r.err, "127.0.0.1:1") {
		t.Errorf("%+v", r)
	}
}
