package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"farm/internal/cluster"
	"farm/tasks"
)

// TestQueuesOnARealFarm: queues, limits, labels and unique keys as their users see
// them, on a farm whose leader is killed meanwhile.
func TestQueuesOnARealFarm(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	farm := startFarm(t, dir, "--slots", "4", "--label", "zone=here")
	run := func(args ...string) ended { t.Helper(); return runProcess(t, dir, "", args...) }
	c, err := tasks.Dial(t.Context(), farm.Addrs()...)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()

	run("queue", "set", "--concurrency", "2", "two").check(t, 0, "", "")
	run("queue", "set", "--rate", "10/s", "ten").check(t, 0, "", "")
	run("queue", "set", "--key-concurrency", "1", "keyed").check(t, 0, "", "")
	run("queue", "pause", "held").check(t, 0, "", "")

	const sleep = "import \"time\"\ntime.Sleep(100*time.Millisecond)"
	submit := func(n int, task tasks.Task) (ids []string) {
		t.Helper()
		for range n {
			h, err := c.Submit(t.Context(), task)
			if err != nil {
				t.Fatal(err)
			}
			ids = append(ids, h.ID)
		}
		return ids
	}
	two := submit(10, tasks.Task{Queue: "two", Source: sleep})
	ten := submit(12, tasks.Task{Queue: "ten", Source: "1"})
	keyed := submit(3, tasks.Task{Queue: "keyed", Key: "a", Source: sleep})
	other := submit(3, tasks.Task{Queue: "keyed", Key: "b", Source: sleep})
	held := submit(2, tasks.Task{Queue: "held", Source: "1"})
	unique := tasks.Task{Queue: "held", Unique: tasks.Unique{Key: "only"}, Source: "1"}
	first := submit(1, unique)[0]

	i := killLeader(t, c, farm)
	many := make(chan *tasks.Submitted)
	for range 4 {
		go func() {
			h, err := c.Submit(t.Context(), unique)
			if err != nil {
				t.Error(err)
				h = &tasks.Submitted{}
			}
			many <- h
		}()
	}
	for range 4 {
		if h := <-many; !h.Duplicate || h.ID != first {
			t.Errorf("a second task with the unique key: %+v, the first is %s", h, first)
		}
	}
	if err := farm.Restart(t.Context(), i); err != nil {
		t.Fatal(err)
	}

	atMost(t, "queue two", 2, succeed(t, c, two))
	for _, ids := range [][]string{keyed, other} {
		atMost(t, "a key of queue keyed", 1, succeed(t, c, ids))
	}
	begun := succeed(t, c, ten)
	slices.SortFunc(begun, func(a, b *tasks.Info) int { return a.Started.Compare(b.Started) })
	for i := 1; i < len(begun); i++ {
		if d := begun[i].Started.Sub(begun[i-1].Started); d < 100*time.Millisecond {
			t.Errorf("at 10/s two tasks began within %v", d)
		}
	}

	if q, err := c.Queue(t.Context(), "held"); err != nil || !q.Paused || q.Waiting != 3 || q.Limited != 3 || q.Running != 0 {
		t.Errorf("%+v, %v", q, err)
	}
	for _, id := range held {
		if i, err := c.Get(t.Context(), id); err != nil || i.Attempt != 0 || i.Waiting != "queue held, it is paused" {
			t.Errorf("in a paused queue: %+v, %v", i, err)
		}
	}
	run("queue", "resume", "held").check(t, 0, "", "")
	succeed(t, c, append(held, first))
	if h, err := c.Submit(t.Context(), unique); err != nil || h.Duplicate {
		t.Errorf("after the end of the first: %+v, %v", h, err)
	}

	run("submit", "--label", "zone=here", "-c", "1").check(t, 0, "1\n", "")
	run("submit", "--id", "nowhere", "--detach", "--label", "zone=there", "-c", "1").check(t, 0, "nowhere\n", "")
	if r := run("task", "show", "nowhere"); !strings.Contains(r.out, "\nwaiting for: label zone=there, no worker has it\n") {
		t.Errorf("%+v", r)
	}
	if r := run("status"); strings.Count(r.out, "zone=here") != 6 {
		t.Errorf("%+v", r)
	}
}

// killLeader kills the node that leads, and returns its number.
func killLeader(t *testing.T, c *tasks.Client, farm *cluster.Cluster) int {
	t.Helper()
	s, err := c.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(s.Nodes, func(n tasks.NodeStatus) bool { return n.ID == s.Leader })
	i = slices.Index(farm.Addrs(), s.Nodes[i].API)
	if err := farm.Kill(i); err != nil {
		t.Fatal(err)
	}
	return i
}

// succeed waits for tasks, which must succeed.
func succeed(t *testing.T, c *tasks.Client, ids []string) (out []*tasks.Info) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for _, id := range ids {
		i, err := c.Wait(ctx, id)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, i)
	}
	return out
}

// atMost checks how many of the tasks ran at the same time.
func atMost(t *testing.T, what string, most int, list []*tasks.Info) {
	t.Helper()
	for _, a := range list {
		n := 0
		for _, b := range list {
			if !b.Started.After(a.Started) && b.Finished.After(a.Started) {
				n++
			}
		}
		if n > most {
			t.Errorf("%s: %d ran at %v, at most %d may", what, n, a.Started, most)
		}
	}
	if len(list) == 0 {
		t.Error(fmt.Sprint(what, ": nothing ran"))
	}
}
