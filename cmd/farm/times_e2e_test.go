package main

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"farm/tasks"
)

// TestTimesOnARealFarm: what tasks ask for of time and of each other holds while the
// leader is killed.
func TestTimesOnARealFarm(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	farm := startFarm(t, dir)
	run := func(args ...string) ended { t.Helper(); return runProcess(t, dir, "", args...) }
	ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
	defer cancel()
	c, err := tasks.Dial(ctx, farm.Addrs()...)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	submit := func(x tasks.Task) string {
		t.Helper()
		h, err := c.Submit(ctx, x)
		if err != nil {
			t.Fatal(err)
		}
		return h.ID
	}

	run("exec", "ticks", "n := 0").check(t, 0, "", "")
	if r := run("cron", "add", "--catch-up", "all", "--ns", "ticks", "-c", "n++", "tick", "@every 1s"); r.code != 0 {
		t.Fatalf("%+v", r)
	}
	begun := time.Now()
	delayed := submit(tasks.Task{Source: "1", Delay: 4 * time.Second})
	at := submit(tasks.Task{Source: "2", At: begun.Add(5 * time.Second)})
	// Fails twice, and says which attempt succeeded.
	backoff := submit(tasks.Task{Source: "import \"farm\"\nif farm.Attempt() < 3 { panic(\"not yet\") }\nfarm.Attempt()", Retries: 4, Backoff: time.Second, BackoffMax: 2 * time.Second})
	overdue := submit(tasks.Task{Source: "for {}", Within: 4 * time.Second})
	first := submit(tasks.Task{Source: "import \"time\"\ntime.Sleep(3 * time.Second)\n3"})
	after := submit(tasks.Task{Namespace: "order", Source: "hits := 1\nhits", After: []string{first, delayed}})
	never := submit(tasks.Task{Source: "4", After: []string{overdue}})
	anyway := submit(tasks.Task{Source: "5", After: []string{overdue, never}, AfterWhen: tasks.AllFinished})
	if i, err := c.Get(ctx, after); err != nil || len(i.Awaits) != 2 || i.State != tasks.Queued || !strings.HasPrefix(i.Waiting, "task ") {
		t.Errorf("a task that waits for others: %+v, %v", i, err)
	}
	if _, err := c.Submit(ctx, tasks.Task{Source: "1", After: []string{"nobody"}}); err == nil || !strings.Contains(err.Error(), "no task nobody") {
		t.Errorf("after an unknown task: %v", err)
	}

	killLeader(t, c, farm)

	end := func(id string) *tasks.Info {
		t.Helper()
		i, err := c.Wait(ctx, id)
		if i == nil {
			t.Fatalf("%s: %v", id, err)
		}
		return i
	}
	for id, from := range map[string]time.Duration{delayed: 4 * time.Second, at: 5 * time.Second} {
		if i := end(id); i.State != tasks.Succeeded || i.Started.Sub(begun) < from-time.Second/2 || i.Attempt > 2 {
			t.Errorf("a task that was to begin after %v: %v after %v", from, i.State, i.Started.Sub(begun))
		}
	}
	if i := end(backoff); i.State != tasks.Succeeded || string(i.Value) != fmt.Sprint(i.Attempt) || i.Attempt < 3 {
		t.Errorf("with backoff: %+v", i)
	} else if took := i.Started.Sub(i.Submitted); took < 3*time.Second*3/4 {
		t.Errorf("two failures were waited out in %v", took)
	}
	if i := end(overdue); i.State != tasks.Failed || i.Error.Kind != "expired" || i.Finished.Sub(i.Submitted) < 4*time.Second {
		t.Errorf("past its deadline: %+v", i)
	}
	if i := end(never); i.State != tasks.Failed || i.Error.Kind != "dependency" || !strings.Contains(i.Error.Message, overdue) {
		t.Errorf("after one that failed: %+v", i)
	}
	if i := end(after); string(i.Value) != "1" || i.Started.Before(end(first).Finished) || i.Started.Before(end(delayed).Finished) {
		t.Errorf("after two: %+v", i)
	}
	end(anyway)

	// What failed is made live again, all of it; the one that depends on another after it.
	r := run("task", "retry", "--all")
	ids := strings.Fields(r.out)
	if r.code != 0 || !slices.Contains(ids, overdue) || slices.Index(ids, never) < slices.Index(ids, overdue) {
		t.Errorf("retry of all that failed: %+v", r)
	}
	if i := end(overdue); i.Error == nil || i.Error.Kind != "expired" || i.Attempt < 2 {
		t.Errorf("tried again: %+v", i)
	}
	end(never)
	if r := run("task", "drop", "--all"); r.code != 0 || !strings.Contains(r.out, never) {
		t.Errorf("drop: %+v", r)
	}
	if r := run("task", "show", never); r.code != exitFailed {
		t.Errorf("what was dropped: %+v", r)
	}
	checkTicks(ctx, t, c, run)
}

// checkTicks: the schedule "tick" has run once for each second since it was made.
func checkTicks(ctx context.Context, t *testing.T, c *tasks.Client, run func(...string) ended) {
	t.Helper()
	if r := run("cron", "pause", "tick"); r.code != 0 {
		t.Fatalf("%+v", r)
	}
	var s scheduleJSON
	if r := run("cron", "show", "--json", "tick"); json.Unmarshal([]byte(r.out), &s) != nil || !s.Paused || s.Submitted < 3 || s.Problem != "" {
		t.Fatalf("cron show: %+v", r)
	}
	last, err := time.Parse(time.RFC3339, s.Last)
	if err != nil {
		t.Fatal(err)
	}
	for k := range s.Submitted { // one for each second, without a gap
		id := "tick." + last.Add(-time.Duration(k)*time.Second).UTC().Format("20060102T150405Z")
		i, err := c.Wait(ctx, id)
		if err != nil || i.State != tasks.Succeeded {
			t.Fatalf("tick %d of %d: %v", k, s.Submitted, err)
		}
	}
	run("get", "ticks", "n").check(t, 0, fmt.Sprintln(s.Submitted), "")
	if r := run("cron", "run-now", "tick"); r.code != 0 || !strings.HasPrefix(r.out, "tick.run-") {
		t.Errorf("run-now: %+v", r)
	}
	run("cron", "rm", "tick").check(t, 0, "", "")
}
