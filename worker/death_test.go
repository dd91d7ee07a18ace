package worker

import (
	"fmt"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"farm/api"
)

// Whatever ends a child is that attempt's failure, with its cause, and the
// next attempt runs.
func TestCauses(t *testing.T) {
	l := start(t, func(c *Config) { c.Limits.MemoryBytes = 512 << 20 })
	l.onReport = settle
	for _, tc := range []struct{ name, source, kind, message string }{
		{"exit", "exit 3", kindExit, "the cell ended its process with exit status 3"},
		{"signal", "signal 15", kindCrash, "signal 15"},
		{"sigkill", "signal 9", kindCrash, "signal 9"},
		{"panic", "panic boom", kindCrash, "panic: boom"},
		{"stack", "stack", kindCrash, "stack overflow: a goroutine's stack exceeded 64 MiB"},
		{"memory", "memory", kindMemory, "out of memory: limit 512 MiB"},
		{"threads", fmt.Sprint("threads ", maxThreads()), kindCrash, "thread exhaustion"},
		{"timeout", "wait", kindTimeout, "timed out after 100ms"},
		{"heedless", "sleep 60s", kindTimeout, "timed out after 100ms"},
		{"garbage", "garbage", kindCrash, "closed its connection"},
		{"short", "short", kindExit, "exit status 0"},
		{"close", "close", kindCrash, "closed its connection"},
		{"failure", "fail panic boom", kindPanic, "boom"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if raceDetector && slices.Contains([]string{"stack", "memory", "threads"}, tc.name) {
				t.Skip("the race detector takes more memory than a child may have")
			}
			a := l.private(tc.name, tc.source)
			if tc.kind == kindTimeout {
				a.GetAssign().Timeout = int64(100 * time.Millisecond)
			}
			l.say(a, l.private(tc.name+"-next", "value 1"))
			c := l.report(tc.name, 1)
			if c.Ending != api.Ending_FAILURE || c.Outcome.Error.GetKind() != tc.kind || !strings.Contains(c.Outcome.Error.GetMessage(), tc.message) {
				t.Errorf("ending %v, error %v, stderr %q", c.Ending, c.Outcome.Error, c.Outcome.Stderr)
			}
			if !strings.HasPrefix(c.Cause, tc.kind) {
				t.Errorf("cause %q", c.Cause)
			}
			if n := l.report(tc.name+"-next", 1); n.Ending != api.Ending_SUCCESS || string(n.Outcome.Value) != "1" {
				t.Errorf("the next attempt: %v", n)
			}
		})
	}
	l.say(l.private("bad", "fail compile 1:1: no"))
	if c := l.report("bad", 1); c.Ending != api.Ending_PERMANENT {
		t.Errorf("a compile error: %v", c)
	}
}

// What a child started dies with it, where the kernel let it start something.
func TestKillsTheGroup(t *testing.T) {
	l := start(t, bare)
	l.say(l.private("a", "spawn"))
	pid, err := strconv.Atoi(string(l.report("a", 1).Outcome.Value))
	if err != nil {
		t.Fatal(err)
	}
	if syscall.Kill(pid, 0) != nil {
		t.Fatal("the grandchild is not there")
	}
	l.end()
	l.poll("the grandchild to die", func(Stats) bool { return !runs(pid) })
}

// bare makes a worker's children those of bareArg.
func bare(c *Config) { c.Command = []string{c.Command[0], bareArg} }

// runs tells whether a process is there and not a zombie.
func runs(pid int) bool {
	b := statOf(pid)
	return b != "" && !strings.Contains(b, ") Z ")
}

// A child killed from outside costs the attempt it ran and no other.
func TestKilledChild(t *testing.T) {
	l := start(t, nil)
	l.onReport = settle
	l.say(l.in("s", 1, "a", "append x 1\npid", loadOf(0, 0)))
	pid, _ := strconv.Atoi(string(l.report("a", 1).Outcome.Value))
	l.say(l.in("s", 1, "b", "wait", nil), l.private("p", "sleep 300ms\nvalue 1"))
	l.awaitBegan("b")
	l.awaitBegan("p")
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if c := l.report("b", 1); c.Ending != api.Ending_FAILURE || c.Base != 1 || !strings.Contains(c.Cause, "signal 9") {
		t.Errorf("the killed one: %v", c)
	}
	if c := l.report("p", 1); c.Ending != api.Ending_SUCCESS {
		t.Errorf("its neighbour: %v", c)
	}
	l.say(l.in("s", 1, "c", "append x 2", nil))
	if c := l.report("c", 1); item(c, "v/x") != "12" || c.Base != 1 {
		t.Errorf("the next in the namespace: %v", c)
	}
}

func statOf(pid int) string {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return ""
	}
	return string(b)
}

// In a build with cgo the runtime has other last words when there is no memory
// left for a thread.
func TestNoMemoryForAThread(t *testing.T) {
	var s sink
	s.limit = DefaultOutputBytes
	c := &s.streams[1]
	s.takeLines(c, []byte("printed before\nruntime/cgo: pthread_create failed: Resource temporarily unavailable\nSIGABRT: abort\nPC=0x7f661563deec m=4 sigcode=18446744073709551610\n"))
	d := &death{status: exitRuntime << 8, words: cutTrace(c.words)}
	f := d.describe(Limits{MemoryBytes: 512 << 20})
	if f.kind != kindMemory || !strings.HasPrefix(f.message, "out of memory: limit 512 MiB") {
		t.Errorf("%s: %s", f.kind, f.message)
	}
}

// TestChildrenAreWeighed proves that what is known of a child's memory follows it: a child that has
// grown is known to have, and one that is over the limit is replaced in the end.
func TestChildrenAreWeighed(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("there is no way to tell")
	}
	l := start(t, func(c *Config) { c.Slots, c.Limits.RecycleBytes = 1, 1 })
	l.onReport = settle
	weigh := func() int64 {
		l.w.mu.Lock()
		defer l.w.mu.Unlock()
		most := int64(0)
		for _, c := range l.w.children {
			most = max(most, c.p.resident())
		}
		return most
	}
	l.say(l.private("a", "value 1"))
	l.report("a", 1)
	before := weigh()
	l.say(l.private("b", fmt.Sprint("use ", 64<<20)))
	l.report("b", 1)
	if after := weigh(); before <= 0 || after < before+48<<20 {
		t.Errorf("%d bytes, then %d", before, after)
	}
	for i := range weighEvery {
		l.say(l.private(fmt.Sprint("c", i), "value 1"))
		l.report(fmt.Sprint("c", i), 1)
	}
	if s := l.w.Stats(); s.Died != 1 || s.Failed != 0 {
		t.Errorf("%+v", s)
	}
}
