package main

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"farm/api"
)

// TestTimeFlags: the flags of farm submit about time and other tasks reach the farm.
func TestTimeFlags(t *testing.T) {
	f := newFakeFarm(t)
	run := func(args ...string) ended {
		return farmCommand(t.Context(), t, f, "", append([]string{"submit"}, append(args, "-c", "1")...)...)
	}
	last := func() *api.Submit { all := f.submitted(); return all[len(all)-1] }
	run("--retries", "2", "--backoff", "3s", "--backoff-max", "1m", "--deadline", "90s", "--keep", "1h", "--after", "a,b", "--after-any", "--at", "2100-01-02T03:04:05Z")
	at := time.Date(2100, 1, 2, 3, 4, 5, 0, time.UTC).UnixNano()
	if s := last(); s.Backoff != 3e9 || s.BackoffMax != 60e9 || s.Within != 90e9 || s.Deadline != 0 || s.Keep != 3600e9 || !slices.Equal(s.After, []string{"a", "b"}) || s.AfterWhen != "any" || s.At != at {
		t.Errorf("%v", s)
	}
	run("--retries", "2", "--deadline", "2100-01-02T03:04:05Z", "--after", "a")
	if s := last(); s.Backoff != 1e9 || s.BackoffMax != 300e9 || s.Within != 0 || s.Deadline != at || s.AfterWhen != "" {
		t.Errorf("%v", s)
	}
	run("--retries", "2", "--backoff", "0")
	if s := last(); s.Backoff != 0 {
		t.Errorf("%v", s)
	}
	n := len(f.submitted())
	for _, bad := range []string{"--backoff -1s", "--deadline soon", "--deadline -3s", "--at 12", "--after-any", "--after a --after-any --after-finished", "--delay 1s --at 2100-01-02T03:04:05Z", "--keep -1s"} {
		if r := run(strings.Fields(bad)...); r.code != exitUsage {
			t.Errorf("%s: %+v", bad, r)
		}
	}
	if len(f.submitted()) != n {
		t.Error("wrong usage reached the farm")
	}
}

// TestParkedTasks: farm task retry and drop, one by one and all.
func TestParkedTasks(t *testing.T) {
	f := newFakeFarm(t)
	for id, state := range map[string]string{"a": "failed", "b": "failed", "c": "cancelled", "d": "succeeded"} {
		f.tasks[id] = &api.Task{Id: id, State: state, Awaits: nil}
	}
	run := func(args ...string) ended {
		return farmCommand(t.Context(), t, f, "", append([]string{"task"}, args...)...)
	}
	run("retry", "a").check(t, 0, "", "")
	run("retry", "--json", "c").check(t, 0, `{"id":"c","state":"queued"}`+"\n", "")
	if r := run("retry", "d"); r.code != exitRefused || !strings.Contains(r.err, "succeeded") {
		t.Errorf("%+v", r)
	}
	if r := run("drop", "no"); r.code != 0 {
		t.Errorf("a drop of what is gone: %+v", r)
	}
	run("retry", "--all").check(t, 0, "b\n", "farm: retried 1 task\n")
	f.tasks["a"].State, f.tasks["b"].State = "failed", "failed"
	run("drop", "--all", "-o", "{{.id}}").check(t, 0, "b\na\n", "farm: dropped 2 tasks\n")
	if f.tasks["a"] != nil || f.tasks["d"] == nil {
		t.Errorf("%v", f.tasks)
	}
	for _, bad := range [][]string{{"retry"}, {"retry", "--all", "a"}, {"drop", "--ns", "x", "a"}, {"drop", "--all", "--state", "queued"},
		{"drop", "--state", "failed"}, {"cancel", "--all", "--state", "failed"}, {"cancel", "--queue", "q", "a"}, {"retry", "--label", "no label", "a"}} {
		if r := run(bad...); r.code != exitUsage {
			t.Errorf("%q: %+v", bad, r)
		}
	}
}

// TestAllOfAQueue: cancel, retry and drop of all that a filter chooses.
func TestAllOfAQueue(t *testing.T) {
	f := newFakeFarm(t)
	for id, state := range map[string]string{"a": "running", "b": "failed", "c": "running", "d": "succeeded"} {
		f.tasks[id] = &api.Task{Id: id, State: state, Queue: "mail"}
	}
	f.tasks["c"].Queue = "other"
	run := func(args ...string) ended {
		return farmCommand(t.Context(), t, f, "", append([]string{"task"}, args...)...)
	}
	run("cancel", "--queue", "mail").check(t, 0, "a\n", "farm: cancelled 1 task in queue mail\n")
	run("retry", "--queue", "mail", "--label", "gpu=1", "--key", "k").check(t, 0, "b\n", "farm: retried 1 task in queue mail with key k with gpu=1\n")
	run("drop", "--queue", "none").check(t, 0, "", "farm: dropped 0 tasks in queue none\n")
	q := f.calls[len(f.calls)-1].GetListTasks()
	if q.GetQueue() != "none" || q.GetState() != "failed" {
		t.Errorf("%v", q)
	}
	run("ls", "--handler", "resize", "--label", "gpu=1", "--key", "k", "--state", "cancelled")
	q = f.calls[len(f.calls)-1].GetListTasks()
	if q.GetKey() != "k" || q.GetState() != "cancelled" || fmt.Sprint(q.GetNeeds()) != "[label:gpu=1 handler:resize]" {
		t.Errorf("%v", q)
	}
}

// TestCronAddTakesOptions: a schedule submits what farm submit would.
func TestCronAddTakesOptions(t *testing.T) {
	f := newFakeFarm(t)
	options := []string{"--queue", "q", "--key", "k", "--label", "gpu=1", "--unique", "u", "--unique-while", "1h", "--priority", "3", "--retries", "2", "--backoff", "2s",
		"--backoff-max", "3s", "--timeout", "4s", "--delay", "5s", "--keep", "6h", "--deadline", "7h"}
	for _, what := range [][]string{{"-c", "6*7", "--ns", "n", "--engine", "ssa", "--arg", "a=b"}, {"--handler", "resize", "--json-input", "[1]"}} {
		run := func(verb []string, args ...string) *api.Call {
			t.Helper()
			if r := farmCommand(t.Context(), t, f, "", append(append(append(verb, options...), what...), args...)...); r.code != 0 {
				t.Fatalf("%+v", r)
			}
			for _, c := range slices.Backward(f.calls) {
				if c.GetSubmit() != nil || c.GetPutSchedule() != nil {
					return c
				}
			}
			return nil
		}
		once := run([]string{"submit", "--detach"}).GetSubmit()
		often := run([]string{"cron", "add"}, "nightly", "@daily").GetPutSchedule().GetSchedule().GetTask()
		if once.Id = ""; !proto.Equal(once, often) || once.Queue != "q" || once.Unique.GetPeriod() != 3600e9 || once.Keep != 6*3600e9 {
			t.Errorf("submitted once:\n%v\nand often:\n%v", once, often)
		}
	}
	if r := farmCommand(t.Context(), t, f, "", "cron", "add", "--handler", "h", "--engine", "ssa", "n", "@daily"); r.code != exitUsage {
		t.Errorf("a handler with an engine: %+v", r)
	}
}

// TestCron: farm cron and what it asks of the farm.
func TestCron(t *testing.T) {
	f := newFakeFarm(t)
	run := func(args ...string) ended {
		return farmCommand(t.Context(), t, f, "", append([]string{"cron"}, args...)...)
	}
	r := run("add", "--tz", "Europe/Berlin", "--catch-up", "one", "--retries", "2", "--deadline", "1h", "--replace", "-c", "6*7", "n", "*/5 * * * mon")
	if r.code != 0 || !strings.Contains(r.err, "next at 2026-11-27T02:30:00+01:00") {
		t.Errorf("%+v", r)
	}
	p := f.calls[len(f.calls)-1].GetPutSchedule()
	if s := p.GetSchedule(); !p.GetReplace() || s.Name != "n" || s.Spec != "*/5 * * * mon" || s.Zone != "Europe/Berlin" || s.CatchUp != "one" || s.Task.Id != "" ||
		s.Task.Work.Source != "6*7" || s.Task.Within != 3600e9 || s.Task.Retries != 2 || s.Task.Backoff != 1e9 {
		t.Errorf("%v", p)
	}
	n := len(f.calls)
	for _, bad := range [][]string{{"add", "n", "* * * * *"}, {"add", "-c", "1", "n", "* * *"}, {"add", "-c", "1", "--tz", "Mars", "n", "@daily"}, {"add", "-c", "1", "--catch-up", "some", "n", "@daily"},
		{"add", "-c", "1", "--deadline", "-1s", "n", "@daily"}, {"pause"}, {"show", "a", "b"}} {
		if r := run(bad...); r.code != exitUsage {
			t.Errorf("%q: %+v", bad, r)
		}
	}
	if len(f.calls) != n {
		t.Error("wrong usage reached the farm")
	}
	if r := run("add", "-c", "x +", "n", "@daily"); r.code != exitFailed || len(f.calls) != n {
		t.Errorf("a typo: %+v", r)
	}
	if r := run("ls"); r.code != 0 || !strings.Contains(r.out, "nightly") || !strings.Contains(r.out, "2026-11-27T02:30:00+01:00") {
		t.Errorf("%+v", r)
	}
	if r := run("show", "nightly"); r.code != 0 || !strings.Contains(r.out, "2026-11-27T02:30:00+01:00") || !strings.Contains(r.out, "source     6*7") {
		t.Errorf("%+v", r)
	}
	if r := run("pause", "--json", "nightly"); r.code != 0 || !strings.Contains(r.out, `"paused":true`) || strings.Contains(r.out, `"next"`) {
		t.Errorf("%+v", r)
	}
	run("run-now", "nightly").check(t, 0, "nightly.run-1\n", "")
	run("rm", "nightly").check(t, 0, "", "")
	if r := run("resume", "other"); r.code != exitFailed || !strings.Contains(r.err, "no schedule other") {
		t.Errorf("%+v", r)
	}
}
