package conform

import (
	"context"
	"errors"
	"iter"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"farm/tasks"
)

// ids gathers what a bulk call yields, which must not be an error.
func ids(t *testing.T, list iter.Seq2[string, error]) (out []string) {
	t.Helper()
	for id, err := range list {
		if err != nil {
			t.Errorf("%s: %v", id, err)
		}
		out = append(out, id)
	}
	return out
}

func idsOf(list []*tasks.Submitted) (out []string) {
	for _, h := range list {
		out = append(out, h.ID)
	}
	return out
}

// same tells whether two lists have the same ids, in any order.
func same(a, b []string) bool {
	a, b = slices.Clone(a), slices.Clone(b)
	slices.Sort(a)
	slices.Sort(b)
	return slices.Equal(a, b)
}

// testParked: what failed is counted by queue, and can be retried and dropped, one at a
// time or all of a queue.
func testParked(t *testing.T, s *suite) {
	mux, name, q := tasks.NewMux(), handler(), queue()
	var mended atomic.Bool
	tasks.Handle(mux, name, func(_ context.Context, in string) (string, error) {
		if !mended.Load() {
			return "", errors.New("not yet")
		}
		return in, nil
	})
	s.serve(t, mux, tasks.WorkerOptions{Slots: 4})
	var list []*tasks.Submitted
	for range 3 {
		list = append(list, s.submit(t, name, "x", tasks.Task{Queue: q}))
	}
	other := s.submit(t, name, "x", tasks.Task{Queue: q + "-other", Keep: time.Hour})
	list = append(list, s.submit(t, name, "x", tasks.Task{Queue: q, After: []string{list[0].ID}}))
	for _, h := range append(slices.Clone(list), other) {
		if _, err := h.Wait(t.Context()); err == nil {
			t.Fatal("it did not fail")
		}
	}
	parked := func(want int) {
		t.Helper()
		if st, err := s.Queue(t.Context(), q); err != nil || st.Parked != want {
			t.Errorf("%+v, %v, want %d parked", st, err, want)
		}
	}
	parked(4)
	st, err := s.Status(t.Context())
	if err != nil || !slices.ContainsFunc(st.Queues, func(x *tasks.Queue) bool { return x.Name == q && x.Parked == 4 && x.Running == 0 }) {
		t.Errorf("%+v, %v", st.Queues, err)
	}
	if got := ids(t, s.DropAll(t.Context(), tasks.Filter{Queue: q + "-other"})); !slices.Equal(got, []string{other.ID}) {
		t.Errorf("dropped %q", got)
	}
	if _, err := other.Get(t.Context()); !errors.Is(err, tasks.ErrNotFound) {
		t.Errorf("dropped: %v", err)
	}
	mended.Store(true)
	if got := ids(t, s.RetryAll(t.Context(), tasks.Filter{Queue: q})); !same(got, idsOf(list)) {
		t.Errorf("retried %q", got)
	}
	for _, h := range list {
		if i, err := h.Wait(t.Context()); err != nil || i.State != tasks.Succeeded {
			t.Errorf("%+v, %v", i, err)
		}
	}
	parked(0)
	if _, err := s.Retry(t.Context(), list[0].ID); !errors.Is(err, tasks.ErrConflict) {
		t.Errorf("one that succeeded: %v", err)
	}
	if err := s.Drop(t.Context(), list[0].ID); !errors.Is(err, tasks.ErrConflict) {
		t.Errorf("one that succeeded: %v", err)
	}
	if _, err := s.Retry(t.Context(), "nobody-"+name); !errors.Is(err, tasks.ErrNotFound) {
		t.Errorf("nobody: %v", err)
	}
}

// testCancelAll: all of a queue are cancelled, whether they wait, wait for others, or run.
func testCancelAll(t *testing.T, s *suite) {
	mux, name, q := tasks.NewMux(), handler(), queue()
	began, _ := waiting(mux, name)
	s.serve(t, mux, tasks.WorkerOptions{Slots: 1})
	var list []*tasks.Submitted
	for i := range 3 {
		task := tasks.Task{Queue: q}
		if i == 2 {
			task.After = []string{list[0].ID}
		}
		h, err := tasks.Submit(t.Context(), s.Client, name, 1, task)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, h)
	}
	receive(t, "the handler begins", began)
	s.until(t, "it is known what runs", func() bool {
		st, err := s.Queue(t.Context(), q)
		return err == nil && st.Running >= 1 && st.Delayed == 1 && st.Running+st.Waiting == 2
	})
	if got := ids(t, s.CancelAll(t.Context(), tasks.Filter{Queue: q})); !same(got, idsOf(list)) {
		t.Errorf("cancelled %q", got)
	}
	for _, h := range list[:2] {
		if i, err := h.Wait(t.Context()); !errors.Is(err, tasks.ErrCancelled) || i.State != tasks.Cancelled {
			t.Errorf("%+v, %v", i, err)
		}
	}
	if i, err := list[2].Wait(t.Context()); err == nil || !i.State.Final() {
		t.Errorf("%+v, %v", i, err)
	}
	if got := ids(t, s.CancelAll(t.Context(), tasks.Filter{Queue: q})); len(got) != 0 {
		t.Errorf("cancelled again %q", got)
	}
	for _, err := range s.CancelAll(t.Context(), tasks.Filter{State: tasks.Failed}) {
		if !errors.Is(err, tasks.ErrInvalid) {
			t.Errorf("failed ones: %v", err)
		}
	}
}

// testFilter: tasks are listed by queue, key, handler and label.
func testFilter(t *testing.T, s *suite) {
	mux, name, q := tasks.NewMux(), handler(), queue()
	echo(mux, name)
	s.serve(t, mux, tasks.WorkerOptions{})
	var done []*tasks.Submitted
	for _, key := range []string{"k", ""} { // one after the other: lists are in the order of their ends
		h := s.submit(t, name, "a", tasks.Task{Queue: q, Key: key})
		if _, err := h.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
		done = append(done, h)
	}
	var live []*tasks.Submitted // which no worker takes
	for range 5 {
		live = append(live, s.submit(t, name, "c", tasks.Task{Queue: q, Key: "k", Labels: map[string]string{"moon": "full", "tide": "high"}}))
	}
	for _, c := range []struct {
		name   string
		filter tasks.Filter
		want   []string
	}{
		{"queue", tasks.Filter{Queue: q}, append(idsOf(live), done[1].ID, done[0].ID)},
		{"live", tasks.Filter{Queue: q, State: tasks.Queued}, idsOf(live)},
		{"some live", tasks.Filter{Queue: q, State: tasks.Queued, Limit: 2}, idsOf(live)[:2]},
		{"some", tasks.Filter{Queue: q, Limit: 6}, append(idsOf(live), done[1].ID)},
		{"finished", tasks.Filter{Queue: q, State: tasks.Succeeded}, []string{done[1].ID, done[0].ID}},
		{"key", tasks.Filter{Handler: name, Key: "k", State: tasks.Succeeded}, []string{done[0].ID}},
		{"label", tasks.Filter{Queue: q, Labels: map[string]string{"moon": "full"}}, idsOf(live)},
		{"other label", tasks.Filter{Queue: q, Labels: map[string]string{"moon": "new"}}, nil},
		{"handler", tasks.Filter{Handler: name, Limit: 1000}, append(idsOf(live), done[1].ID, done[0].ID)},
	} {
		list, err := s.List(t.Context(), c.filter)
		var got []string
		for _, i := range list {
			got = append(got, i.ID)
		}
		if err != nil || !slices.Equal(got, c.want) {
			t.Errorf("%s: %q, %v, want %q", c.name, got, err, c.want)
		}
	}
	if got := ids(t, s.CancelAll(t.Context(), tasks.Filter{Labels: map[string]string{"moon": "full"}, Queue: q})); !same(got, idsOf(live)) {
		t.Errorf("cancelled %q", got)
	}
	if _, err := s.List(t.Context(), tasks.Filter{Labels: map[string]string{"a b": "c"}}); !errors.Is(err, tasks.ErrInvalid) {
		t.Errorf("a label that is none: %v", err)
	}
}

// testLabelled: a task waits for a worker that has what it asks for.
func testLabelled(t *testing.T, s *suite) {
	mux, name := tasks.NewMux(), handler()
	tasks.Handle(mux, name, func(context.Context, string) (string, error) { return "plain", nil })
	s.serve(t, mux, tasks.WorkerOptions{})
	h := s.submit(t, name, "", tasks.Task{Labels: map[string]string{"sort": name}})
	if i, err := h.Get(t.Context()); err != nil || i.State != tasks.Queued || !strings.Contains(i.Waiting, "sort="+name) {
		t.Errorf("%+v, %v", i, err)
	}
	mux2 := tasks.NewMux()
	tasks.Handle(mux2, name, func(context.Context, string) (string, error) { return "labelled", nil })
	s.serve(t, mux2, tasks.WorkerOptions{Labels: map[string]string{"sort": name}})
	if got, err := tasks.Result[string](t.Context(), s.Client, h.ID); err != nil || got != "labelled" {
		t.Errorf("%q, %v", got, err)
	}
}

// testUniqueWhile: a unique key is held for as long as was asked for.
func testUniqueWhile(t *testing.T, s *suite) {
	mux, name := tasks.NewMux(), handler()
	began, release := make(chan bool, 1), make(chan bool)
	tasks.Handle(mux, name, func(_ context.Context, in string) (string, error) {
		if in == "hold" {
			began <- true
			<-release
		}
		return in, nil
	})
	s.serve(t, mux, tasks.WorkerOptions{Slots: 2})
	hour := tasks.Task{Unique: tasks.Unique{Key: "hour-" + name, For: time.Hour}}
	first := s.submit(t, name, "a", hour)
	if _, err := first.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	if h := s.submit(t, name, "b", hour); !h.Duplicate || h.ID != first.ID {
		t.Errorf("within the hour: %+v", h)
	}
	moment := tasks.Task{Unique: tasks.Unique{Key: "moment-" + name, For: 200 * time.Millisecond}}
	was := time.Now()
	first = s.submit(t, name, "a", moment)
	s.until(t, "the key is free", func() bool { return !s.submit(t, name, "b", moment).Duplicate })
	if d := time.Since(was); d < 200*time.Millisecond-20*time.Millisecond {
		t.Errorf("it was free after %v", d)
	}
	queued := tasks.Task{Unique: tasks.Unique{Key: "queued-" + name, While: tasks.WhileQueued}}
	holds := s.submit(t, name, "hold", queued)
	receive(t, "it begins", began)
	if h := s.submit(t, name, "b", queued); h.Duplicate {
		t.Errorf("while one runs: %+v", h)
	}
	close(release)
	if _, err := holds.Wait(t.Context()); err != nil {
		t.Error(err)
	}
	_ = first
	if _, err := tasks.Submit(t.Context(), s.Client, name, "", tasks.Task{Unique: tasks.Unique{While: tasks.WhileQueued}}); !errors.Is(err, tasks.ErrInvalid) {
		t.Errorf("without a key: %v", err)
	}
}

// testChildren: what a handler submits is submitted with its success, once, with all it
// asks for, and not at all when it fails.
func testChildren(t *testing.T, s *suite) {
	mux, name, child, q := tasks.NewMux(), handler(), handler(), queue()
	echo(mux, child)
	submit := func(ctx context.Context, task tasks.Task) string {
		task.Handler, task.Queue = child, q
		id, err := tasks.FromContext(ctx).Submit(task)
		if err != nil {
			t.Errorf("%+v: %v", task, err)
		}
		return id
	}
	tasks.Handle(mux, name, func(ctx context.Context, in string) ([]string, error) {
		switch in {
		case "refused":
			submit(ctx, tasks.Task{})
			submit(ctx, tasks.Task{After: []string{"nobody-" + name}})
			return nil, nil
		case "wrong":
			_, err := tasks.FromContext(ctx).Submit(tasks.Task{Handler: child, Retries: -1})
			return nil, tasks.DoNotRetry(err)
		}
		a := submit(ctx, tasks.Task{Input: []byte(`"a"`), Key: "k", Keep: time.Hour, Unique: tasks.Unique{Key: "u-" + name}})
		b := submit(ctx, tasks.Task{Input: []byte(`"b"`), After: []string{a}, Within: time.Hour, Delay: 50 * time.Millisecond})
		if tasks.FromContext(ctx).Number == 1 {
			return nil, errors.New("not yet")
		}
		return []string{a, b}, nil
	})
	s.serve(t, mux, tasks.WorkerOptions{})
	id := "parent-" + name
	got, err := tasks.Call[[]string](t.Context(), s.Client, name, "", tasks.Task{ID: id, Retries: 1, Backoff: -1})
	if err != nil || !slices.Equal(got, []string{id + "/1", id + "/2"}) {
		t.Fatalf("%q, %v", got, err)
	}
	b, err := s.Wait(t.Context(), got[1])
	if err != nil || string(b.Value) != `"b"` || b.Parent != id || b.Queue != q || !slices.Equal(b.After, got[:1]) || b.Deadline.IsZero() {
		t.Errorf("%+v, %v", b, err)
	}
	a, err := s.Get(t.Context(), got[0])
	if err != nil || a.Key != "k" || a.Keep != time.Hour || a.UniqueKey != "u-"+name || a.Finished.After(b.Started) {
		t.Errorf("%+v, %v", a, err)
	}
	if list, err := s.List(t.Context(), tasks.Filter{Queue: q}); err != nil || len(list) != 2 {
		t.Errorf("%d tasks, %v", len(list), err)
	}
	_, err = tasks.Call[[]string](t.Context(), s.Client, name, "refused", tasks.Task{ID: "refused-" + name, Retries: 2})
	if e := failure(t, err); e.Kind != "not-found" || !strings.Contains(e.Message, "submission 2, task refused-"+name+"/2: there is no task nobody-"+name) {
		t.Errorf("%+v", e)
	}
	_, err = tasks.Call[[]string](t.Context(), s.Client, name, "wrong", tasks.Task{})
	if e := failure(t, err); e.Kind != "invalid" || !strings.Contains(e.Message, "Retries") {
		t.Errorf("%+v", e)
	}
	if _, err := s.Get(t.Context(), "refused-"+name+"/1"); !errors.Is(err, tasks.ErrNotFound) {
		t.Errorf("what was submitted beside one that is refused: %v", err)
	}
	if _, err := tasks.FromContext(t.Context()).Submit(tasks.Task{Handler: child}); !errors.Is(err, tasks.ErrClosed) {
		t.Errorf("outside of a worker: %v", err)
	}
}
