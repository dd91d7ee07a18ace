package tasks

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"farm/api"
)

// parkedFarm has failed tasks, of which one page lists a few, and notes what is done
// to them.
type parkedFarm struct {
	mu    sync.Mutex
	tasks []*api.Task // the newest first
	done  []string
}

func (f *parkedFarm) answer(_ *fakeNode, _ *fakeStream, c *api.Call) *api.Reply {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch op := c.Op.(type) {
	case *api.Call_Status:
		return &api.Reply{Result: &api.Reply_Status{Status: &api.Status{}}}
	case *api.Call_ListTasks:
		const page = 3
		from := 0
		fmt.Sscan(op.ListTasks.From, &from)
		to := min(from+page, len(f.tasks))
		list := &api.TaskList{}
		for _, t := range f.tasks[from:to] {
			if t.State == op.ListTasks.State {
				list.Tasks = append(list.Tasks, t)
			}
		}
		if to < len(f.tasks) {
			list.Next = fmt.Sprint(to)
		}
		return &api.Reply{Result: &api.Reply_Tasks{Tasks: list}}
	case *api.Call_RetryTask:
		return f.did(op.RetryTask.Id)
	case *api.Call_DropTask:
		return f.did(op.DropTask.Id)
	}
	return failure(api.Code_INVALID, "unknown")
}

func (f *parkedFarm) did(id string) *api.Reply {
	f.done = append(f.done, id)
	switch {
	case strings.HasPrefix(id, "bad"):
		return failure(api.Code_CONFLICT, id)
	case strings.HasPrefix(id, "broken"):
		return failure(api.Code_UNAVAILABLE, id)
	}
	return &api.Reply{Result: &api.Reply_Task{Task: &api.Task{Id: id, State: "queued"}}}
}

func newParkedFarm(t *testing.T) (*parkedFarm, *Client) {
	f := &parkedFarm{}
	for i := range 10 {
		x := &api.Task{Id: fmt.Sprint("t", 9-i), State: "failed"}
		switch {
		case i%4 == 1:
			x.State = "succeeded"
		case i%3 == 0:
			x.After = []string{"x"}
		}
		f.tasks = append(f.tasks, x)
	}
	return f, dialFake(t, Options{Timeout: 300 * time.Millisecond}, startFake(t, f.answer))
}

// TestListGoesOn: a list goes on from page to page until it has what was asked for.
func TestListGoesOn(t *testing.T) {
	_, c := newParkedFarm(t)
	for limit, want := range map[int]string{2: "t9 t7", 5: "t9 t7 t6 t5 t3", 0: "t9 t7 t6 t5 t3 t2 t1", 99: "t9 t7 t6 t5 t3 t2 t1"} {
		list, err := c.List(testContext(t), Filter{State: Failed, Limit: limit})
		var got []string
		for _, i := range list {
			got = append(got, i.ID)
		}
		if err != nil || strings.Join(got, " ") != want {
			t.Errorf("%d: %q, %v; want %q", limit, got, err, want)
		}
	}
}

// TestRetryAll: each parked task once; those that run after others last, in the order
// in which they ended.
func TestRetryAll(t *testing.T) {
	f, c := newParkedFarm(t)
	var got []string
	for id, err := range c.RetryAll(testContext(t), Filter{}) {
		if err != nil {
			t.Error(id, err)
		}
		got = append(got, id)
	}
	if want := []string{"t1", "t2", "t5", "t7", "t3", "t6", "t9"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	f.done = nil
	for range c.DropAll(testContext(t), Filter{}) {
		break
	}
	if n := len(f.done); n == 0 || n > 4 {
		t.Errorf("%d were dropped after the consumer stopped", n)
	}
	f.tasks = []*api.Task{{Id: "a", State: "failed"}, {Id: "broken", State: "failed", After: []string{"a"}}, {Id: "bad", State: "failed", After: []string{"a"}}}
	got = nil
	for id, err := range c.RetryAll(testContext(t), Filter{}) {
		got = append(got, fmt.Sprint(id, " ", errors.Is(err, ErrConflict), errors.Is(err, ErrUnavailable)))
	}
	if want := []string{"a false false", "bad true false", " false true"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	for id, err := range c.RetryAll(testContext(t), Filter{State: Succeeded}) {
		if id != "" || !errors.Is(err, ErrInvalid) {
			t.Error(id, err)
		}
	}
}

// TestTimesOfTask: what a task asks for of time reaches the farm, with the defaults.
func TestTimesOfTask(t *testing.T) {
	at := time.Unix(1_900_000_000, 5)
	msg := func(x Task) *api.Submit {
		t.Helper()
		s, err := x.submit(false)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	s := msg(Task{Retries: 2})
	if s.Backoff != int64(DefaultBackoff) || s.BackoffMax != int64(DefaultBackoffMax) {
		t.Errorf("default: %v", s)
	}
	if s := msg(Task{}); s.Backoff != 0 || s.BackoffMax != 0 {
		t.Errorf("without retries: %v", s)
	}
	if s := msg(Task{Retries: 1, Backoff: -1, BackoffMax: time.Second}); s.Backoff != 0 || s.BackoffMax != 0 {
		t.Errorf("at once: %v", s)
	}
	if s := msg(Task{Retries: 1, Backoff: time.Hour}); s.Backoff != int64(time.Hour) || s.BackoffMax != int64(time.Hour) {
		t.Errorf("a first wait over the default of the longest: %v", s)
	}
	s = msg(Task{At: at, Deadline: at.Add(1), Keep: time.Hour, After: []string{"a"}, AfterWhen: AllFinished})
	if s.At != at.UnixNano() || s.Deadline != s.At+1 || s.Keep != int64(time.Hour) || len(s.After) != 1 || s.AfterWhen != "finished" {
		t.Errorf("%v", s)
	}
	for _, bad := range []Task{{Within: -1}, {Keep: -1}, {BackoffMax: -1}, {Within: 1, Deadline: at}, {Delay: 1, At: at}} {
		if _, err := bad.submit(false); !errors.Is(err, ErrInvalid) {
			t.Errorf("%+v: %v", bad, err)
		}
	}
	i := newInfo(&api.Task{NotBefore: 5, Deadline: 7, Keep: 9, After: []string{"a", "b"}, AfterWhen: "any", Awaits: []string{"b"}})
	if i.NotBefore.UnixNano() != 5 || i.Deadline.UnixNano() != 7 || i.Keep != 9 || i.AfterWhen != AnySucceeded || !slices.Equal(i.Awaits, []string{"b"}) {
		t.Errorf("%+v", i)
	}
}
