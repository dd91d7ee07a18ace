package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"farm/internal/cluster"
	"farm/tasks"
)

// pickyProgram fails with some inputs until there is a namespace of a certain name;
// the fold notes what it was given.
const pickyProgram = `
import ("errors"; "farm"; "strings")

var seen []int

func Note(n int) []int { seen = append(seen, n); return seen }

func Picky(n int) (int, error) {
	switch {
	case n%100 == 7 && !strings.Contains(farm.TaskID(), "/r"):
		return 0, errors.New("not yet")
	case n == 250:
		panic("never")
	}
	return n, nil
}
`

// jobOf is the only job of the farm in dir.
func jobOf(t *testing.T, dir string) (j jobJSON) {
	t.Helper()
	r := runProcess(t, dir, "", "job", "ls", "--json")
	if err := json.Unmarshal([]byte(r.out), &j); err != nil || r.code != 0 {
		t.Fatalf("job ls: %+v, %v", r, err)
	}
	return j
}

// TestRetryOfAJob: the inputs that fail are told with what they are, their
// neighbours have their results and are folded; a retry tries them alone and folds
// what comes of it, once, although a node is killed meanwhile.
func TestRetryOfAJob(t *testing.T) {
	dir := t.TempDir()
	farm := startFarm(t, dir)
	if err := os.WriteFile(filepath.Join(dir, "picky.go"), []byte(pickyProgram), 0o600); err != nil {
		t.Fatal(err)
	}
	var in strings.Builder
	for i := range 300 {
		fmt.Fprintln(&in, i)
	}
	r := runProcess(t, dir, in.String(), "map", "--id", "p", "--call", "Picky", "--fold", "ns:Note", "--out", "-", "--chunk", "50", "--max-failures", "-1", "picky.go")
	lines := strings.Split(strings.TrimSuffix(r.out, "\n"), "\n")
	if r.code != exitFailed || len(lines) != 300 || lines[8] != "8" || lines[7] != "null" || !strings.Contains(r.err, "input 107: call: not yet, of 107") || !strings.Contains(r.err, "4 inputs failed") {
		t.Fatalf("%d lines, %d, %s", len(lines), r.code, r.err)
	}
	if j := jobOf(t, dir); j.State != "failed" || j.Inputs != 300 || j.Done != 296 || j.Failed != 4 {
		t.Errorf("after the map: %+v", j)
	}
	r = runProcess(t, dir, "", "job", "failures", "p")
	if want := "7\t7\tcall: not yet\tp.0\n107\t107\tcall: not yet\tp.100\n207\t207\tcall: not yet\tp.200\n250\t250\tcall: panic: never (at Picky:6:8, cell:1:6)\tp.250\n"; r.out != want {
		t.Errorf("failures: %+v, want %q", r, want)
	}
	if err := farm.Kill(theLeader(t, farm)); err != nil {
		t.Fatal(err)
	}
	runProcess(t, dir, "", "job", "retry", "p").check(t, 0, "", "farm: job p is running: 296/300 inputs done\n")
	if r := runProcess(t, dir, "", "job", "wait", "p"); r.code != exitFailed {
		t.Errorf("wait: %+v", r)
	}
	if j := jobOf(t, dir); j.State != "failed" || j.Done != 299 || j.Failed != 1 || j.Retries != 1 {
		t.Errorf("after the retry: %+v", j)
	}
	runProcess(t, dir, "", "job", "failures", "p").check(t, 0, "250\t250\tcall: panic: never (at Picky:6:8, cell:1:6)\tp.250/0/r1\n", "")
	r = runProcess(t, dir, "", "job", "results", "--max-failures", "1", "p")
	lines = strings.Split(strings.TrimSuffix(r.out, "\n"), "\n")
	if r.code != exitFailed || len(lines) != 300 || lines[7] != "7" || lines[250] != "null" || lines[299] != "299" {
		t.Errorf("results: %d, %d lines, %s", r.code, len(lines), r.err)
	}
	checkFolded(t, runProcess(t, dir, "", "get", "ns", "seen").out, 300, 250)
}

// checkFolded: every number below n but for one was folded once.
func checkFolded(t *testing.T, text string, n, but int) {
	t.Helper()
	var seen []int
	if err := json.Unmarshal([]byte(text), &seen); err != nil {
		t.Fatal(err)
	}
	times := make([]int, n)
	for _, i := range seen {
		times[i]++
	}
	for i, c := range times {
		if c != 1 && i != but || i == but && c != 0 {
			t.Errorf("%d was folded %d times", i, c)
		}
	}
}

// theLeader is the index of the node that leads.
func theLeader(t *testing.T, farm *cluster.Cluster) int {
	t.Helper()
	c, err := tasks.Dial(t.Context(), farm.Addrs()...)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	return leaderOf(t, c, farm)
}

// Large maps stay small in memory: of this many inputs, and of any other number.
const (
	largeMap  = 100_000
	mostBytes = 300 << 20
)

// TestLargeMapSurvives: the client and the leader are killed in the middle of a
// large map. The job goes on, whoever comes back finds the results, whole and in
// order, and no process needed much memory.
func TestLargeMapSurvives(t *testing.T) {
	dir := t.TempDir()
	farm := startFarm(t, dir)
	var in bytes.Buffer
	for i := range largeMap {
		fmt.Fprintln(&in, i)
	}
	program := "func square(n int) int { return n * n }\n"
	for name, b := range map[string][]byte{"in": in.Bytes(), "square.go": []byte(program)} {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	client := process(t.Context(), dir, "map", "--call", "square", "--in", "in", "--out", "out", "--id", "large", "square.go")
	if err := client.Start(); err != nil {
		t.Fatal(err)
	}
	defer client.Wait()
	awaitJob(t, farm, func(j *tasks.Job) bool { return j.State == "running" && j.Done > largeMap/10 })
	clientBytes := peakMemory(t, client.Process.Pid)
	if err := client.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	leader := theLeader(t, farm)
	if err := farm.Kill(leader); err != nil {
		t.Fatal(err)
	}
	if r := runProcess(t, dir, "", "job", "wait", "--timeout", "60s", "large"); r.code != 0 {
		t.Fatalf("wait: %+v", r)
	}
	if err := farm.Restart(t.Context(), leader); err != nil {
		t.Fatal(err)
	}
	r := runProcess(t, dir, "", "job", "results", "large")
	i := 0
	for s := bufio.NewScanner(strings.NewReader(r.out)); s.Scan(); i++ {
		if s.Text() != strconv.Itoa(i*i) {
			t.Fatalf("result %d is %s", i, s.Text())
		}
	}
	if i != largeMap || r.code != 0 {
		t.Errorf("%d results, exit code %d, %s", i, r.code, r.err)
	}
	if clientBytes > mostBytes {
		t.Errorf("the client had %d MB", clientBytes>>20)
	}
	for i := range farm.Nodes() {
		if n := peakMemory(t, farm.PID(i)); n > mostBytes {
			t.Errorf("node %d had %d MB", i+1, n>>20)
		}
	}
}

// awaitJob waits until the job "large" is as it should be.
func awaitJob(t *testing.T, farm *cluster.Cluster, is func(*tasks.Job) bool) {
	t.Helper()
	c, err := tasks.Dial(t.Context(), farm.Addrs()...)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	deadline := time.Now().Add(60 * time.Second)
	for time.Now().Before(deadline) {
		if j, err := c.Job(t.Context(), "large"); err == nil && is(j) {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Fatal("the job did not come so far in time")
}

var peak = regexp.MustCompile(`(?m)^VmHWM:\s*(\d+) kB`)

// peakMemory is the most resident bytes that a process has had.
func peakMemory(t *testing.T, pid int) int64 {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	m := peak.FindSubmatch(b)
	if m == nil {
		t.Fatalf("no VmHWM in %s", b)
	}
	kb, err := strconv.ParseInt(string(m[1]), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return kb << 10
}
