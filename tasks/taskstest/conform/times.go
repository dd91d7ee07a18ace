package conform

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"farm/tasks"
)

// echo is a handler that returns what it gets, and fails where that says so.
func echo(mux *tasks.Mux, name string) {
	tasks.Handle(mux, name, func(_ context.Context, in string) (string, error) {
		if in == "fail" {
			return "", tasks.DoNotRetry(errors.New("as asked for"))
		}
		return in, nil
	})
}

// testBackoff: a retry waits, for as long as was asked for and less up to a quarter.
func testBackoff(t *testing.T, s *suite) {
	mux, name := tasks.NewMux(), handler()
	tries := make(chan time.Time, 10)
	tasks.Handle(mux, name, func(ctx context.Context, _ string) (int, error) {
		tries <- time.Now()
		return 0, fmt.Errorf("try %d", tasks.FromContext(ctx).Number)
	})
	s.serve(t, mux, tasks.WorkerOptions{})
	const wait = 200 * time.Millisecond
	h := s.submit(t, name, "", tasks.Task{Retries: 2, Backoff: wait, BackoffMax: wait})
	first := receive(t, "the first attempt", tries)
	s.until(t, "it waits", func() bool {
		i, err := h.Get(t.Context())
		return err == nil && i.State == tasks.Queued && i.NotBefore.After(first)
	})
	second, third := receive(t, "a retry", tries), receive(t, "the last retry", tries)
	for _, d := range []time.Duration{second.Sub(first), third.Sub(second)} {
		if d < wait*3/4 {
			t.Errorf("a retry came after %v", d)
		}
	}
	if i, err := h.Wait(t.Context()); failure(t, err).Message != "try 3" || i.Attempt != 3 {
		t.Errorf("%+v, %v", i, err)
	}
	at := s.submit(t, name, "", tasks.Task{Retries: 1, Backoff: -1})
	first, second = receive(t, "an attempt", tries), receive(t, "its retry", tries)
	if d := second.Sub(first); d > wait*3 {
		t.Errorf("a retry that does not wait came after %v", d)
	}
	_, _ = at.Wait(t.Context())
}

// testDeadline: what has not ended by its deadline has failed, whether it runs or waits.
func testDeadline(t *testing.T, s *suite) {
	mux, name := tasks.NewMux(), handler()
	began, ended := waiting(mux, name)
	s.serve(t, mux, tasks.WorkerOptions{})
	runs, err := tasks.Submit(t.Context(), s.Client, name, 1, tasks.Task{Within: 300 * time.Millisecond, Retries: 3})
	if err != nil {
		t.Fatal(err)
	}
	receive(t, "the handler begins", began)
	waits := s.submit(t, handler(), "", tasks.Task{Deadline: time.Now().Add(100 * time.Millisecond)})
	for _, h := range []*tasks.Submitted{runs, waits} {
		i, err := h.Wait(t.Context())
		if e := failure(t, err); e.Kind != "expired" || i.State != tasks.Failed || i.Deadline.IsZero() {
			t.Errorf("%+v, %v", i, err)
		}
	}
	if cause := receive(t, "its context ends", ended); !errors.Is(cause, tasks.ErrLost) {
		t.Errorf("the cause is %v", cause)
	}
	if _, err := tasks.Submit(t.Context(), s.Client, name, 1, tasks.Task{Within: time.Second, Deadline: time.Now()}); !errors.Is(err, tasks.ErrInvalid) {
		t.Errorf("both: %v", err)
	}
}

func testRunAt(t *testing.T, s *suite) {
	mux, name := tasks.NewMux(), handler()
	tasks.Handle(mux, name, func(context.Context, string) (int64, error) { return time.Now().UnixNano(), nil })
	s.serve(t, mux, tasks.WorkerOptions{})
	at := time.Now().Add(200 * time.Millisecond)
	h := s.submit(t, name, "", tasks.Task{At: at})
	if i, err := h.Get(t.Context()); err != nil || i.State != tasks.Queued || !i.NotBefore.Equal(at) {
		t.Errorf("%+v, %v", i, err)
	}
	ran, err := tasks.Result[int64](t.Context(), s.Client, h.ID)
	if err != nil || time.Unix(0, ran).Before(at) {
		t.Errorf("it ran at %v and not at %v, %v", time.Unix(0, ran), at, err)
	}
	if _, err := tasks.Submit(t.Context(), s.Client, name, "", tasks.Task{At: at, Delay: 1}); !errors.Is(err, tasks.ErrInvalid) {
		t.Errorf("both: %v", err)
	}
	if _, err := tasks.Submit(t.Context(), s.Client, name, "", tasks.Task{At: at.AddDate(2, 0, 0)}); !errors.Is(err, tasks.ErrInvalid) {
		t.Errorf("in two years: %v", err)
	}
}

// testAfter: a task runs when what it waits for has come, or fails when that cannot.
func testAfter(t *testing.T, s *suite) {
	mux, name := tasks.NewMux(), handler()
	echo(mux, name)
	hold := handler()
	release := make(chan bool)
	tasks.Handle(mux, hold, func(context.Context, string) (int, error) { <-release; return 1, nil })
	s.serve(t, mux, tasks.WorkerOptions{Slots: 4})
	first, bad := s.submit(t, hold, "", tasks.Task{}), s.submit(t, name, "fail", tasks.Task{})
	if _, err := bad.Wait(t.Context()); err == nil {
		t.Fatal("it did not fail")
	}
	for _, c := range []struct {
		when tasks.When
		want tasks.State
	}{{"", tasks.Failed}, {tasks.AllSucceeded, tasks.Failed}, {tasks.AnySucceeded, tasks.Succeeded}, {tasks.AllFinished, tasks.Succeeded}} {
		h := s.submit(t, name, "next", tasks.Task{After: []string{first.ID, bad.ID}, AfterWhen: c.when})
		if c.want == tasks.Succeeded {
			i, err := h.Get(t.Context())
			if err != nil || i.State != tasks.Queued || !slices.Equal(i.Awaits, []string{first.ID}) || i.AfterWhen != c.when || !strings.Contains(i.Waiting, first.ID) {
				t.Errorf("%q: %+v, %v", c.when, i, err)
			}
			defer func() {
				if i, err := h.Wait(t.Context()); err != nil || i.State != c.want {
					t.Errorf("%q: %+v, %v", c.when, i, err)
				}
			}()
			continue
		}
		_, err := h.Wait(t.Context())
		if e := failure(t, err); e.Kind != "dependency" || !strings.Contains(e.Message, bad.ID) {
			t.Errorf("%q: %v", c.when, err)
		}
	}
	close(release)
	for want, task := range map[error]tasks.Task{
		tasks.ErrNotFound: {After: []string{"nobody-" + tasks.NewID()}}, tasks.ErrInvalid: {ID: "self-" + name, After: []string{"self-" + name}},
	} {
		if _, err := tasks.Submit(t.Context(), s.Client, name, "", task); !errors.Is(err, want) {
			t.Errorf("after %q: %v, want %v", task.After, err, want)
		}
	}
}

// testKeep: a finished task is kept for as long as it says.
func testKeep(t *testing.T, s *suite) {
	mux, name := tasks.NewMux(), handler()
	echo(mux, name)
	s.serve(t, mux, tasks.WorkerOptions{})
	short, long := s.submit(t, name, "a", tasks.Task{Keep: time.Second}), s.submit(t, name, "b", tasks.Task{Keep: time.Hour})
	i, err := short.Wait(t.Context())
	if err != nil || i.Keep != time.Second {
		t.Fatalf("%+v, %v", i, err)
	}
	s.until(t, "it is forgotten", func() bool { _, err := short.Get(t.Context()); return errors.Is(err, tasks.ErrNotFound) })
	if gone := time.Now(); gone.Sub(i.Finished) < time.Second-50*time.Millisecond {
		t.Errorf("it was forgotten after %v", gone.Sub(i.Finished))
	}
	if i, err := long.Wait(t.Context()); err != nil || i.Keep != time.Hour {
		t.Errorf("%+v, %v", i, err)
	}
	if _, err := tasks.Submit(t.Context(), s.Client, name, "", tasks.Task{Keep: time.Millisecond}); !errors.Is(err, tasks.ErrInvalid) {
		t.Errorf("too short: %v", err)
	}
}

// ticking is a schedule that fires every second, with all that its task can ask for, and
// a worker that has what it needs.
func (s *suite) ticking(t *testing.T) tasks.Schedule {
	t.Helper()
	mux, name, q := tasks.NewMux(), handler(), queue()
	echo(mux, name)
	s.serve(t, mux, tasks.WorkerOptions{Labels: map[string]string{"cron": "1"}})
	return tasks.Schedule{Name: "s-" + tasks.NewID(), Spec: "@every 1s", Task: tasks.Task{Handler: name, Input: []byte(`"tick"`), Queue: q, Key: "k", Priority: 3,
		Retries: 2, Backoff: time.Second, BackoffMax: time.Minute, Timeout: time.Minute, Within: time.Hour, Keep: time.Hour, Labels: map[string]string{"cron": "1"},
		Unique: tasks.Unique{Key: "u-" + q, While: tasks.WhileQueued}}}
}

// testCron: a schedule submits its task once for each of its times, with all it asks for.
func testCron(t *testing.T, s *suite) {
	plan := s.ticking(t)
	made, err := s.Schedule(t.Context(), plan)
	if err != nil || made.Next.IsZero() {
		t.Fatalf("%+v, %v", made, err)
	}
	if got, want := fmt.Sprintf("%+v", made.Task), fmt.Sprintf("%+v", plan.Task); got != want {
		t.Errorf("its task is\n%s\nwant\n%s", got, want)
	}
	if again, err := s.Schedule(t.Context(), plan); err != nil || !again.Created.Equal(made.Created) {
		t.Errorf("the same again: %+v, %v", again, err)
	}
	var i *tasks.ScheduleInfo
	s.until(t, "it fires twice", func() bool {
		i, err = s.GetSchedule(t.Context(), plan.Name)
		return err == nil && i.Submitted >= 2
	})
	last, err := s.Wait(t.Context(), i.LastTask)
	if want := plan.Name + "." + i.Last.UTC().Format("20060102T150405Z"); err != nil || last.ID != want || string(last.Value) != `"tick"` {
		t.Fatalf("%s: %+v, %v", want, last, err)
	}
	if last.Queue != plan.Task.Queue || last.Key != "k" || last.UniqueKey != plan.Task.Unique.Key || last.Keep != time.Hour || last.Deadline.IsZero() || last.Labels["cron"] != "1" {
		t.Errorf("%+v", last)
	}
	if err := s.RemoveSchedule(t.Context(), plan.Name); err != nil {
		t.Error(err)
	}
	if _, err := s.GetSchedule(t.Context(), plan.Name); !errors.Is(err, tasks.ErrNotFound) {
		t.Errorf("removed: %v", err)
	}
}

// testCronChanges: a schedule can be paused, run at once, changed, listed; and what cannot
// be one is refused.
func testCronChanges(t *testing.T, s *suite) {
	plan := s.ticking(t)
	if _, err := s.Schedule(t.Context(), plan); err != nil {
		t.Fatal(err)
	}
	if i, err := s.PauseSchedule(t.Context(), plan.Name); err != nil || !i.Paused || !i.Next.IsZero() {
		t.Errorf("paused: %+v, %v", i, err)
	}
	now, err := s.RunSchedule(t.Context(), plan.Name)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Wait(t.Context(), now.ID); err != nil {
		t.Error(err)
	}
	other := plan
	other.Spec = "@daily"
	if _, err := s.Schedule(t.Context(), other); !errors.Is(err, tasks.ErrConflict) {
		t.Errorf("another one of the name: %v", err)
	}
	other.Replace = true
	if i, err := s.Schedule(t.Context(), other); err != nil || i.Spec != "@daily" {
		t.Errorf("replaced: %+v, %v", i, err)
	}
	if i, err := s.ResumeSchedule(t.Context(), plan.Name); err != nil || i.Paused || i.Next.Before(time.Now()) {
		t.Errorf("resumed: %+v, %v", i, err)
	}
	listed := func(i *tasks.ScheduleInfo) bool {
		return i.Name == plan.Name && i.Task.Queue == plan.Task.Queue && i.Task.Handler == plan.Task.Handler
	}
	if list, err := s.Schedules(t.Context()); err != nil || !slices.ContainsFunc(list, listed) {
		t.Errorf("%+v, %v", list, err)
	}
	for _, bad := range []tasks.Schedule{{Name: "x", Spec: "every day", Task: plan.Task}, {Name: "x", Spec: "@daily", Zone: "Nowhere", Task: plan.Task}, {Name: "a b", Spec: "@daily", Task: plan.Task}} {
		if _, err := s.Schedule(t.Context(), bad); !errors.Is(err, tasks.ErrInvalid) {
			t.Errorf("%s %s: %v", bad.Name, bad.Spec, err)
		}
	}
	if err := s.RemoveSchedule(t.Context(), plan.Name); err != nil {
		t.Error(err)
	}
}
