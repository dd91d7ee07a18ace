package worker

import (
	"fmt"
	"strings"
	"testing"

	"farm/api"
)

func TestOutput(t *testing.T) {
	l := start(t, nil)
	l.onReport = settle
	l.say(l.private("a", "print out\neprint err\nprogress"))
	c := l.report("a", 1)
	if string(c.Outcome.Stdout) != "out" || string(c.Outcome.Stderr) != "err" || c.Outcome.StdoutCut || c.Outcome.StderrCut {
		t.Errorf("%v", c.Outcome)
	}
	l.await("the same as a stream", func() bool { return l.streamed("a", false) == "out" && l.streamed("a", true) == "err" })
	l.await("progress", func() bool { return len(l.progress) == 1 && l.progress[0].Done == 3 && l.progress[0].Total == 3 })
}

// Output comes while the attempt runs.
func TestOutputStreams(t *testing.T) {
	l := start(t, nil)
	l.say(l.private("a", "print one\nwait"))
	l.await("a first word", func() bool { return l.streamed("a", false) == "one" })
	if len(l.now().completes) > 0 {
		t.Error("it has ended")
	}
}

// Much output is cut, and does not stop the attempt.
func TestFlood(t *testing.T) {
	const much = 10 << 20
	l := start(t, func(c *Config) { c.Limits.OutputBytes = 1000 })
	l.onReport = settle
	l.say(l.private("a", fmt.Sprintf("print head\nflood %d\nvalue 1", much)), l.private("b", "print b"))
	c := l.report("a", 1)
	if c.Ending != api.Ending_SUCCESS || len(c.Outcome.Stdout) != 1000 || !c.Outcome.StdoutCut || len(c.Outcome.Stderr) != 1000 || !c.Outcome.StderrCut || !strings.HasPrefix(string(c.Outcome.Stdout), "head") {
		t.Errorf("%v, %d and %d bytes, cut %v %v", c.Ending, len(c.Outcome.Stdout), len(c.Outcome.Stderr), c.Outcome.StdoutCut, c.Outcome.StderrCut)
	}
	if h := l.now(); len(h.streamed("a", false)) > much/2 {
		t.Errorf("%d bytes were streamed", len(h.streamed("a", false)))
	}
	if c := l.report("b", 1); string(c.Outcome.Stdout) != "b" {
		t.Errorf("the next: %q", c.Outcome.Stdout)
	}
}

// All an attempt wrote is in its report, and nothing of it in the next one's.
func TestOutputIsAttributed(t *testing.T) {
	l := start(t, func(c *Config) { c.Slots, c.Contexts = 1, 1 })
	l.onReport = settle
	var all []*api.Instruction
	for i := range 200 {
		all = append(all, l.private(fmt.Sprint("a", i), fmt.Sprintf("print <%d>\neprint [%d]\nprint !", i, i)))
	}
	l.say(all...)
	for i := range 200 {
		o := l.report(fmt.Sprint("a", i), 1).Outcome
		if string(o.Stdout) != fmt.Sprintf("<%d>!", i) || string(o.Stderr) != fmt.Sprintf("[%d]", i) {
			t.Fatalf("%d: %q %q", i, o.Stdout, o.Stderr)
		}
	}
}

// The last words of a dying runtime are kept, the trace after them is not.
func TestLastWords(t *testing.T) {
	l := start(t, nil)
	l.onReport = settle
	l.say(l.private("a", "eprint hello\neprint panic: none"), l.private("b", "flood 200000\neprint \neprint hello\nstack"), l.private("c", "eprint hello \npanic of mine"))
	if c := l.report("a", 1); string(c.Outcome.Stderr) != "hellopanic: none" {
		t.Errorf("%q", c.Outcome.Stderr)
	}
	if c := l.report("b", 1); !c.Outcome.StderrCut || !strings.Contains(c.Outcome.Error.Message, "stack overflow") {
		t.Errorf("%v", c.Outcome.Error)
	}
	c := l.report("c", 1)
	if s := string(c.Outcome.Stderr); !strings.HasPrefix(s, "hello") || strings.Contains(s, "goroutine ") {
		t.Errorf("%q", s)
	}
	if l.await("the same as a stream", func() bool { return l.streamed("c", true) == string(c.Outcome.Stderr) }); !strings.Contains(c.Outcome.Error.Message, "of mine") {
		t.Errorf("%v", c.Outcome.Error)
	}
}
