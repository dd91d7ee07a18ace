package worker

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"farm/api"

	"go.uber.org/goleak"
)

func refs(list []*api.AttemptRef) []string {
	var out []string
	for _, r := range list {
		out = append(out, fmt.Sprintf("%s.%d", r.Task, r.Attempt))
	}
	slices.Sort(out)
	return out
}

// On a new stream the worker says what it holds, and again what it reported
// and had no answer to; what runs goes on.
func TestReconnect(t *testing.T) {
	l := start(t, func(c *Config) { c.Slots = 1 })
	l.say(
		l.in("s", 1, "a", "append x 1", loadOf(0, 0)),
		l.in("s", 1, "b", "append x 2", nil),
	)
	l.report("b", 1)
	l.say(l.private("c", "wait"), l.private("d", "value 1"))
	l.awaitBegan("c")
	l.say(settled("a", 1))
	l.poll("the answer", func(s Stats) bool { return s.Unsettled == 1 })
	l.mu.Lock()
	l.completes, l.began = nil, nil
	l.mu.Unlock()
	l.hangUp(false)
	if c := l.report("b", 1); c.Base != 1 || item(c, "v/x") != "12" {
		t.Errorf("said again: %v", c)
	}
	l.awaitBegan("c")
	l.mu.Lock()
	h := l.hellos[len(l.hellos)-1]
	if got := fmt.Sprint(refs(h.Holds)); got != "[b.1 c.1 d.1]" || h.Incarnation != 7 || h.Worker != "w1" || h.Node != "n1" || h.Slots != 1 {
		t.Errorf("hello: %v", h)
	}
	if len(l.completes) != 1 {
		t.Errorf("a settled report was said again: %v", l.completes)
	}
	l.mu.Unlock()
	// A new leader that does not know better assigns it all again.
	l.say(l.in("s", 1, "b", "append x 2", loadOf(1, 0, "v/x", "1")), l.private("c", "wait"), stopIt("c"))
	l.report("c", 1)
	l.report("d", 1)
	if n := l.w.Stats().Succeeded; n != 3 {
		t.Errorf("%d successes, want 3", n)
	}
}

// Without a leader attempts go on, and are reported to the next one in the
// order in which they ran.
func TestLeaderAway(t *testing.T) {
	l := start(t, nil)
	l.say(l.in("s", 1, "a", "append x 1\nsleep 50ms", loadOf(0, 0)), l.in("s", 1, "b", "append x 2", nil), l.in("s", 1, "c", "append x 3", nil))
	l.awaitBegan("a")
	l.hangUp(true)
	l.poll("all to have run", func(s Stats) bool { return s.Unsettled == 3 })
	l.mu.Lock()
	l.down = false
	l.mu.Unlock()
	l.report("c", 1)
	var order []string
	for _, c := range l.now().completes {
		order = append(order, c.Task)
	}
	if fmt.Sprint(order) != "[a b c]" {
		t.Errorf("reported as %v", order)
	}
}

// TestGivenBackDuringHello: what a Hello says the worker holds, and it gives back before the
// leader has answered, the leader hears of all the same.
func TestGivenBackDuringHello(t *testing.T) {
	l := start(t, func(c *Config) { c.Slots, c.Limits.DrainTimeout = 1, patience })
	l.say(l.private("long", "wait"), l.private("a", "value 1"))
	l.awaitBegan("long")
	l.mu.Lock()
	l.quiet = true
	l.mu.Unlock()
	l.hangUp(false)
	l.await("another Hello", func() bool { return len(l.hellos) == 2 })
	if got := fmt.Sprint(refs(l.now().hellos[1].Holds)); got != "[a.1 long.1]" {
		t.Errorf("the Hello says it holds %s", got)
	}
	drained := make(chan struct{})
	go func() { defer close(drained); l.end() }()
	l.poll("a to be given back", func(s Stats) bool { return s.Returned == 1 })
	l.say(welcome())
	l.awaitReturn("a")
	l.await("it to say that it ends", func() bool { return l.heard.draining })
	l.say(stopIt("long"))
	l.report("long", 1)
	<-drained
}

func TestHeartbeat(t *testing.T) {
	l := start(t, nil)
	l.await("heartbeats", func() bool { return l.messages > 10 })
}

// What waits too long for a slot is given back; of a namespace, all of it.
func TestHandBack(t *testing.T) {
	l := start(t, func(c *Config) { c.Limits.HandBack = 20 * time.Millisecond })
	l.say(l.private("long1", "wait"), l.private("long2", "wait"), l.private("a", "value 1"),
		l.in("s", 1, "b", "value 1", loadOf(0, 0)), l.in("s", 1, "c", "value 1", nil))
	l.await("all that waits", func() bool { return len(l.returns) == 3 })
	if got := fmt.Sprint(refs(l.now().returns)); got != "[a.1 b.1 c.1]" {
		t.Errorf("given back: %s", got)
	}
	// While a slot is free nothing is, however long it waits for its turn.
	l.say(stopIt("long1"))
	l.report("long1", 1)
	again := l.in("s", 1, "b", "sleep 100ms\nappend x 1", nil)
	again.GetAssign().Attempt = 2
	l.say(again, l.in("s", 1, "d", "append x 2", nil))
	if c := l.report("d", 1); item(c, "v/x") != "12" {
		t.Errorf("%v", c)
	}
}

func TestStop(t *testing.T) {
	l := start(t, func(c *Config) { c.Slots = 1 })
	l.say(l.in("s", 1, "a", "append x 1\nwait", loadOf(0, 0)), l.in("s", 1, "b", "append x 2", nil), l.in("s", 1, "c", "append x 3", nil))
	l.awaitBegan("a")
	l.say(stopIt("b"), stopIt("a"))
	if c := l.report("a", 1); c.Ending != api.Ending_STOPPED || c.Base != 0 || len(c.Put) != 0 {
		t.Errorf("%v", c)
	}
	l.awaitReturn("b")
	if c := l.report("c", 1); c.Base != 0 || item(c, "v/x") != "3" {
		t.Errorf("%v", c)
	}
	l.say(l.private("h", "sleep 1m"))
	l.awaitBegan("h")
	l.say(stopIt("h"))
	if c := l.report("h", 1); c.Ending != api.Ending_STOPPED {
		t.Errorf("a heedless one: %v", c)
	}
}

// At its end the worker gives back what has not begun, reports what has, and
// leaves no goroutine, descriptor or child.
func TestDrain(t *testing.T) {
	ignore := goleak.IgnoreCurrent()
	files := openFiles(t)
	l := start(t, func(c *Config) { c.Slots, c.Limits.DrainTimeout = 1, patience })
	l.onReport = settle
	l.say(l.private("a", "sleep 100ms\nvalue 1"), l.private("b", "value 2"), l.in("s", 1, "c", "value 3", loadOf(0, 0)))
	l.awaitBegan("a")
	l.end()
	if c := l.report("a", 1); c.Ending != api.Ending_SUCCESS {
		t.Errorf("%v", c)
	}
	if got := fmt.Sprint(refs(l.now().returns)); got != "[b.1 c.1]" {
		t.Errorf("given back: %s", got)
	}
	if !l.now().draining {
		t.Error("the leader was not told that the worker drains")
	}
	goleak.VerifyNone(t, ignore)
	if kids := children(); len(kids) > 0 {
		t.Errorf("children left: %v", kids)
	}
	if now := openFiles(t); now > files {
		t.Errorf("%d descriptors open, %d before", now, files)
	}
}

// Attempts that outlast the drain are killed and not reported: they are lost,
// as the leader will find.
func TestDrainTimeout(t *testing.T) {
	l := start(t, func(c *Config) { c.Limits.DrainTimeout = 50 * time.Millisecond })
	l.say(l.private("a", "sleep 1m"))
	l.awaitBegan("a")
	began := time.Now()
	l.end()
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("it took %v", took)
	}
	if got := l.now().completes; len(got) > 0 {
		t.Errorf("reported: %v", got)
	}
	if kids := children(); len(kids) > 0 {
		t.Errorf("children left: %v", kids)
	}
}

func openFiles(t *testing.T) int {
	t.Helper()
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Skip("no /proc to count descriptors in")
	}
	return len(list)
}

// children lists the processes started by this one.
func children() []string {
	var list []string
	tasks, _ := os.ReadDir("/proc/self/task")
	for _, task := range tasks {
		b, _ := os.ReadFile("/proc/self/task/" + task.Name() + "/children")
		list = append(list, strings.Fields(string(b))...)
	}
	return list
}

// Attempts of namespaces and private ones take turns.
func TestFairness(t *testing.T) {
	l := start(t, func(c *Config) { c.Slots = 1 })
	instr := []*api.Instruction{l.private("hold", "sleep 50ms")}
	for i := range 20 {
		var load *api.Load
		if i == 0 {
			load = loadOf(0, 0)
		}
		instr = append(instr, l.in("s", 1, fmt.Sprint("s", i), "append x 1", load))
	}
	for i := range 3 {
		instr = append(instr, l.in(fmt.Sprint("t", i), 1, fmt.Sprint("t", i), "append x 1", loadOf(0, 0)))
	}
	l.say(append(instr, l.private("p", "value 1"))...)
	l.report("s19", 1)
	var order []string
	for _, c := range l.now().completes {
		order = append(order, c.Task)
	}
	if got := strings.Join(order[:6], " "); got != "hold s0 t0 t1 t2 p" {
		t.Errorf("order %v", order)
	}
}

// A worker whose children cannot start gives back what it was given.
func TestNoChildren(t *testing.T) {
	l := start(t, func(c *Config) { c.Command = []string{"/bin/false"} })
	l.say(l.private("a", "value 1"))
	l.awaitReturn("a")
	l2 := start(t, func(c *Config) { c.Command = []string{"/nowhere"} })
	l2.say(l2.private("a", "value 1"))
	l2.awaitReturn("a")
}

func TestNewChecksConfig(t *testing.T) {
	if _, err := New(Config{ID: "w"}); err == nil {
		t.Error("no dialer, no error")
	}
}

// A child is asked before it is killed.
func TestStopAsksFirst(t *testing.T) {
	l := start(t, func(c *Config) { c.Limits.Grace = time.Hour })
	l.say(l.private("a", "print before\nwait"))
	l.await("its output", func() bool { return l.streamed("a", false) == "before" })
	l.say(stopIt("a"))
	if c := l.report("a", 1); c.Ending != api.Ending_STOPPED || string(c.Outcome.Stdout) != "before" {
		t.Errorf("%v", c)
	}
	l.poll("its child to be replaced", func(s Stats) bool { return s.Died == 1 })
}

// TestReportsAreGathered proves that a worker that has enough to go on with tells the leader of
// many attempts at a time: but for the last ones, once a millisecond.
func TestReportsAreGathered(t *testing.T) {
	l := start(t, nil)
	l.onReport = settle
	l.poll("children", func(s Stats) bool { return s.Children >= spares })
	const n = 1000
	var all []*api.Instruction
	for i := range n {
		all = append(all, l.private(fmt.Sprint("a", i), "value 1"))
	}
	before, began := l.now().messages, time.Now()
	l.say(all...)
	l.await("the reports", func() bool { return len(l.completes) == n })
	most := int(time.Since(began)/time.Millisecond)*11/10 + 2*backlog + 20
	if got := l.now().messages - before; got > most {
		t.Errorf("%d messages in %v, at most %d were to be sent", got, time.Since(began), most)
	}
}
