package conform

import (
	"context"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"farm/tasks"
)

// queue is a name that no other test has.
func queue() string { return "q-" + tasks.NewID() }

func (s *suite) setQueue(t *testing.T, name string, c tasks.QueueChange) {
	t.Helper()
	if _, err := s.SetQueue(t.Context(), name, c); err != nil {
		t.Fatal(err)
	}
}

func (s *suite) submit(t *testing.T, handler string, in string, task tasks.Task) *tasks.Submitted {
	t.Helper()
	h, err := tasks.Submit(t.Context(), s.Client, handler, in, task)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// counting is a handler that counts how many of it run at the same time. Each
// gives others a moment to join it.
type counting struct{ now, most atomic.Int32 }

func (c *counting) run(ctx context.Context, _ string) (int, error) {
	n := c.now.Add(1)
	defer c.now.Add(-1)
	for {
		if m := c.most.Load(); n <= m || c.most.CompareAndSwap(m, n) {
			break
		}
	}
	select {
	case <-ctx.Done():
	case <-time.After(20 * time.Millisecond):
	}
	return 0, nil
}

func testConcurrency(t *testing.T, s *suite) {
	mux, name, q := tasks.NewMux(), handler(), queue()
	var c counting
	tasks.Handle(mux, name, c.run)
	s.serve(t, mux, tasks.WorkerOptions{Slots: 8})
	s.setQueue(t, q, tasks.QueueChange{Concurrency: new(2)})
	var list []*tasks.Submitted
	for range 8 {
		list = append(list, s.submit(t, name, "", tasks.Task{Queue: q}))
	}
	for _, h := range list {
		if _, err := h.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if n := c.most.Load(); n != 2 {
		t.Errorf("%d ran at the same time, 2 may", n)
	}
}

// testKeys: one of a key at a time, and different keys at the same time.
func testKeys(t *testing.T, s *suite) {
	mux, name, q := tasks.NewMux(), handler(), queue()
	began, release := make(chan string, 4), make(chan bool)
	tasks.Handle(mux, name, func(_ context.Context, key string) (int, error) {
		began <- key
		<-release
		return 0, nil
	})
	s.serve(t, mux, tasks.WorkerOptions{Slots: 8})
	s.setQueue(t, q, tasks.QueueChange{KeyConcurrency: new(1)})
	var list []*tasks.Submitted
	for _, key := range []string{"a", "a", "b", "b"} {
		list = append(list, s.submit(t, name, key, tasks.Task{Queue: q, Key: key}))
	}
	first := []string{receive(t, "a key begins", began), receive(t, "the other key begins", began)}
	if slices.Sort(first); !slices.Equal(first, []string{"a", "b"}) {
		t.Errorf("%q run at the same time", first)
	}
	i, err := list[1].Get(t.Context())
	if want := "key a of queue " + q + ", 1 of at most 1 run"; err != nil || i.Waiting != want || i.Key != "a" || i.Queue != q {
		t.Errorf("the second of a key: %+v, %v", i, err)
	}
	st, err := s.Queue(t.Context(), q)
	if err != nil || st.Running != 2 || st.Waiting != 2 || st.Limited != 2 || st.Keys != 2 || len(st.Busiest) != 2 || st.Busiest[0] != (tasks.QueueKey{Key: "a", Running: 1, Waiting: 1}) {
		t.Errorf("%+v, %v", st, err)
	}
	close(release)
	for _, h := range list {
		if _, err := h.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

func testRate(t *testing.T, s *suite) {
	mux, name, q := tasks.NewMux(), handler(), queue()
	tasks.Handle(mux, name, func(context.Context, string) (int, error) { return 0, nil })
	s.serve(t, mux, tasks.WorkerOptions{Slots: 8})
	s.setQueue(t, q, tasks.QueueChange{Rate: &tasks.Rate{Count: 20, Per: time.Second}})
	list := make([]*tasks.Submitted, 6)
	for i := range list {
		list[i] = s.submit(t, name, "", tasks.Task{Queue: q})
	}
	var began []time.Time
	for _, h := range list {
		i, err := h.Wait(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		began = append(began, i.Started)
	}
	slices.SortFunc(began, time.Time.Compare)
	for i := 1; i < len(began); i++ {
		if d := began[i].Sub(began[i-1]); d < 50*time.Millisecond {
			t.Errorf("at 20 a second two began within %v", d)
		}
	}
}

func testPause(t *testing.T, s *suite) {
	mux, name, q := tasks.NewMux(), handler(), queue()
	tasks.Handle(mux, name, func(context.Context, string) (int, error) { return 0, nil })
	s.serve(t, mux, tasks.WorkerOptions{})
	if err := s.PauseQueue(t.Context(), q); err != nil {
		t.Fatal(err)
	}
	h := s.submit(t, name, "", tasks.Task{Queue: q})
	other := s.submit(t, name, "", tasks.Task{})
	if _, err := other.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	if i, err := h.Get(t.Context()); err != nil || i.Attempt != 0 || i.Waiting != "queue "+q+", it is paused" {
		t.Errorf("in a paused queue: %+v, %v", i, err)
	}
	list, err := s.Queues(t.Context())
	at := slices.IndexFunc(list, func(x *tasks.Queue) bool { return x.Name == q })
	if err != nil || at < 0 || !list[at].Paused || list[at].Waiting != 1 {
		t.Errorf("%d of %d queues, %v", at, len(list), err)
	}
	if err := s.ResumeQueue(t.Context(), q); err != nil {
		t.Fatal(err)
	}
	if _, err := h.Wait(t.Context()); err != nil {
		t.Error(err)
	}
	if st, err := s.Queue(t.Context(), q); err != nil || st.Paused || st.Waiting+st.Running != 0 {
		t.Errorf("%+v, %v", st, err)
	}
}

func testUnique(t *testing.T, s *suite) {
	mux, name := tasks.NewMux(), handler()
	began, release := make(chan bool, 1), make(chan bool)
	tasks.Handle(mux, name, func(_ context.Context, in string) (string, error) {
		if in == "first" {
			began <- true
			<-release
		}
		return in, nil
	})
	s.serve(t, mux, tasks.WorkerOptions{})
	only := tasks.Unique{Key: "only " + name}
	first := s.submit(t, name, "first", tasks.Task{Unique: only})
	receive(t, "the first begins", began)
	second := s.submit(t, name, "second", tasks.Task{Unique: only})
	if first.Duplicate || !second.Duplicate || second.ID != first.ID {
		t.Errorf("%+v and %+v", first, second)
	}
	// While queued: the first is running already, so there may be another.
	queued := tasks.Unique{Key: "queued " + name, While: tasks.WhileQueued}
	for range 2 {
		if h := s.submit(t, name, "", tasks.Task{Unique: queued}); h.Duplicate {
			t.Errorf("%+v", h)
		} else if _, err := h.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	close(release)
	// Whoever calls gets the result of the first.
	if out, err := tasks.Call[string](t.Context(), s.Client, name, "third", tasks.Task{Unique: only}); err != nil || out != "first" && out != "third" {
		t.Errorf("%q, %v", out, err)
	}
	if _, err := first.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.until(t, "the key is free", func() bool { return !s.submit(t, name, "", tasks.Task{Unique: only}).Duplicate })

	hour := tasks.Unique{Key: "hour " + name, For: time.Hour}
	done := s.submit(t, name, "", tasks.Task{Unique: hour})
	if _, err := done.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	again := s.submit(t, name, "", tasks.Task{Unique: hour})
	if i, err := again.Wait(t.Context()); err != nil || !again.Duplicate || i.ID != done.ID || i.UniqueKey != hour.Key {
		t.Errorf("%+v, %+v, %v", again, i, err)
	}
}
