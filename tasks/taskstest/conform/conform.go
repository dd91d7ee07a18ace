// Package conform is what every farm must do for handlers, as tests: the farm in
// memory of package taskstest and real nodes run the same ones.
package conform

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"farm/tasks"
)

// suite is one farm under test.
type suite struct {
	*tasks.Client
	addrs []string
}

// Run tests the farm at some addresses. Other workers and tasks do not matter.
func Run(t *testing.T, addrs ...string) {
	s := &suite{addrs: addrs}
	s.Client = s.dial(t)
	for _, c := range []struct {
		name string
		test func(*testing.T, *suite)
	}{
		{"result", testResult}, {"retries", testRetries}, {"do not retry", testDoNotRetry}, {"panic", testPanic}, {"wrong input", testWrongInput},
		{"snooze", testSnooze}, {"cancel", testCancel}, {"cancel queued", testCancelQueued}, {"timeout", testTimeout}, {"watch", testWatch},
		{"stuck", testStuck}, {"many", testMany}, {"repeated", testRepeated}, {"drain", testDrain}, {"drain is over", testDrainOver},
		{"does not return", testNotReturning}, {"middleware", testMiddleware}, {"limits", testLimits}, {"name taken", testNameTaken},
		{"drained worker", testDrainedWorker}, {"labels", testLabels}, {"order of priority", testPriority}, {"delay", testDelay}, {"job", testJob},
		{"retried job", testRetryJob}, {"backoff", testBackoff}, {"deadline", testDeadline}, {"run at", testRunAt}, {"after", testAfter}, {"keep", testKeep}, {"cron", testCron}, {"cron changes", testCronChanges},
		{"parked", testParked}, {"cancel all", testCancelAll}, {"filter", testFilter}, {"labelled", testLabelled}, {"unique while", testUniqueWhile},
		{"children", testChildren},
		{"concurrency", testConcurrency}, {"keys", testKeys}, {"rate", testRate}, {"pause", testPause}, {"unique", testUnique},
	} {
		t.Run(c.name, func(t *testing.T) { c.test(t, s) })
	}
}

func (s *suite) dial(t *testing.T) *tasks.Client {
	t.Helper()
	c, err := tasks.Dial(t.Context(), s.addrs...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// worker is one that a test started.
type worker struct {
	name string
	stop func() error // waits for the end of Serve
}

// serve starts a worker and waits until the farm has it.
func (s *suite) serve(t *testing.T, mux *tasks.Mux, o tasks.WorkerOptions) *worker {
	t.Helper()
	if o.Name == "" {
		o.Name = "w-" + tasks.NewID()
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(ctx, mux, o) }()
	var err error
	over := false
	w := &worker{name: o.Name, stop: func() error {
		if cancel(); !over {
			err, over = <-ended, true
		}
		return err
	}}
	t.Cleanup(func() { _ = w.stop() })
	s.until(t, "the worker is there", func() bool { return s.worker(t, o.Name).State == "ready" })
	return w
}

// worker is what the farm knows of one; its State is empty when there is none.
func (s *suite) worker(t *testing.T, name string) tasks.WorkerStatus {
	t.Helper()
	st, err := s.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(st.Workers, func(w tasks.WorkerStatus) bool { return w.ID == name })
	if i < 0 {
		return tasks.WorkerStatus{}
	}
	return st.Workers[i]
}

// until polls a condition, with a deadline.
func (s *suite) until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not in time: %s", what)
		}
	}
}

// receive waits for something a handler says.
func receive[T any](t *testing.T, what string, c <-chan T) (v T) {
	t.Helper()
	select {
	case v = <-c:
	case <-time.After(20 * time.Second):
		t.Fatalf("not in time: %s", what)
	}
	return v
}

// handler is a name that no other test has.
func handler() string { return "h-" + tasks.NewID() }

func failure(t *testing.T, err error) *tasks.TaskError {
	t.Helper()
	var e *tasks.TaskError
	if !errors.As(err, &e) {
		t.Fatalf("the error is %v, not that of a task", err)
	}
	return e
}

type point struct{ X, Y int }

func testResult(t *testing.T, s *suite) {
	mux, name := tasks.NewMux(), handler()
	tasks.Handle(mux, name, func(ctx context.Context, p point) (point, error) {
		if a := tasks.FromContext(ctx); a.Handler != name || a.Number != 1 || a.Task != "swap-"+name || a.Args["by"] != "me" {
			return p, fmt.Errorf("the attempt is %+v", a)
		}
		return point{p.Y, p.X}, nil
	})
	s.serve(t, mux, tasks.WorkerOptions{})
	got, err := tasks.Call[point](t.Context(), s.Client, name, point{1, 2}, tasks.Task{ID: "swap-" + name, Args: map[string]string{"by": "me"}})
	if err != nil || got != (point{2, 1}) {
		t.Fatalf("%v, %v", got, err)
	}
	again, err := tasks.Result[point](t.Context(), s.dial(t), "swap-"+name)
	if err != nil || again != got {
		t.Fatalf("later: %v, %v", again, err)
	}
	info, err := s.Get(t.Context(), "swap-"+name)
	if err != nil || info.State != tasks.Succeeded || info.Handler != name || info.Type != "conform.point" || string(info.Value) != `{"X":2,"Y":1}` {
		t.Fatalf("%+v, %v", info, err)
	}
}

func testRetries(t *testing.T, s *suite) {
	mux, name := tasks.NewMux(), handler()
	tasks.Handle(mux, name, func(ctx context.Context, _ struct{}) (int, error) {
		n := tasks.FromContext(ctx).Number
		if n < 3 {
			return 0, fmt.Errorf("try %d", n)
		}
		return n, nil
	})
	s.serve(t, mux, tasks.WorkerOptions{})
	id := tasks.NewID()
	n, err := tasks.Call[int](t.Context(), s.Client, name, struct{}{}, tasks.Task{ID: id, Retries: 2})
	if err != nil || n != 3 {
		t.Fatalf("%d, %v", n, err)
	}
	if i, err := s.Get(t.Context(), id); err != nil || len(i.Causes) != 2 || !strings.Contains(i.Causes[1], "error: try 2") {
		t.Fatalf("causes %q, %v", i.Causes, err)
	}
	_, err = tasks.Call[int](t.Context(), s.Client, name, struct{}{}, tasks.Task{Retries: 1})
	if e := failure(t, err); e.Kind != "error" || e.Message != "try 2" {
		t.Fatalf("%+v", e)
	}
}

func testDoNotRetry(t *testing.T, s *suite) {
	mux, name := tasks.NewMux(), handler()
	var calls atomic.Int32
	tasks.Handle(mux, name, func(context.Context, int) (int, error) {
		calls.Add(1)
		return 0, tasks.DoNotRetry(errors.New("no use"))
	})
	s.serve(t, mux, tasks.WorkerOptions{})
	_, err := tasks.Call[int](t.Context(), s.Client, name, 1, tasks.Task{Retries: 5})
	if e := failure(t, err); e.Kind != "error" || e.Message != "no use" || calls.Load() != 1 {
		t.Fatalf("%+v after %d calls", e, calls.Load())
	}
}

func testPanic(t *testing.T, s *suite) {
	mux, name := tasks.NewMux(), handler()
	tasks.Handle(mux, name, func(_ context.Context, list []int) (int, error) { return list[3], nil })
	s.serve(t, mux, tasks.WorkerOptions{Slots: 1})
	for range 2 { // the worker goes on
		_, err := tasks.Call[int](t.Context(), s.Client, name, []int{1}, tasks.Task{})
		e := failure(t, err)
		if e.Kind != "panic" || !strings.Contains(e.Message, "index out of range [3]") || len(e.Stack) == 0 ||
			!strings.Contains(strings.Join(e.Stack, "\n"), "conform.testPanic.func1") {
			t.Fatalf("%+v\n%s", e, strings.Join(e.Stack, "\n"))
		}
	}
}

func testWrongInput(t *testing.T, s *suite) {
	mux, name := tasks.NewMux(), handler()
	tasks.Handle(mux, name, func(context.Context, point) (int, error) { return 1, nil })
	s.serve(t, mux, tasks.WorkerOptions{})
	_, err := tasks.Call[int](t.Context(), s.Client, name, "a string", tasks.Task{Retries: 5})
	e := failure(t, err)
	if !errors.Is(err, tasks.ErrInvalid) || !strings.Contains(e.Message, "conform.point") {
		t.Fatalf("%+v", e)
	}
	if i, err := s.Get(t.Context(), e.Task); err != nil || i.Attempt != 1 {
		t.Fatalf("attempt %d, %v", i.Attempt, err)
	}
}

func testSnooze(t *testing.T, s *suite) {
	mux, name := tasks.NewMux(), handler()
	const nap = 200 * time.Millisecond
	var first atomic.Int64
	tasks.Handle(mux, name, func(ctx context.Context, _ int) (time.Duration, error) {
		a := tasks.FromContext(ctx)
		if a.Number == 1 {
			a.Log("not kept")
			first.Store(time.Now().UnixNano())
			return 0, tasks.Snooze(nap)
		}
		return time.Duration(time.Now().UnixNano() - first.Load()), nil
	})
	s.serve(t, mux, tasks.WorkerOptions{})
	id := tasks.NewID()
	slept, err := tasks.Call[time.Duration](t.Context(), s.Client, name, 0, tasks.Task{ID: id})
	if err != nil || slept < nap {
		t.Fatalf("%v, %v", slept, err)
	}
	if i, err := s.Get(t.Context(), id); err != nil || i.Attempt != 2 || len(i.Causes) != 0 || i.Stdout != "" {
		t.Fatalf("%+v, %v", i, err)
	}
}

// waiting is a handler that says that it began, and waits for the end of its
// context, which it returns as a cause.
func waiting(mux *tasks.Mux, name string, o ...tasks.HandlerOption) (began <-chan string, ended <-chan error) {
	b, e := make(chan string, 100), make(chan error, 100)
	tasks.Handle(mux, name, func(ctx context.Context, _ int) (int, error) {
		b <- tasks.FromContext(ctx).Task
		<-ctx.Done()
		e <- context.Cause(ctx)
		return 0, context.Cause(ctx)
	}, o...)
	return b, e
}

func testCancel(t *testing.T, s *suite) {
	mux, name := tasks.NewMux(), handler()
	began, ended := waiting(mux, name)
	s.serve(t, mux, tasks.WorkerOptions{})
	h, err := tasks.Submit(t.Context(), s.Client, name, 1, tasks.Task{Retries: 3})
	if err != nil {
		t.Fatal(err)
	}
	receive(t, "the handler begins", began)
	if _, err := h.Cancel(t.Context()); err != nil {
		t.Fatal(err)
	}
	if cause := receive(t, "its context ends", ended); !errors.Is(cause, tasks.ErrCancelled) {
		t.Errorf("the cause is %v", cause)
	}
	i, err := h.Wait(t.Context())
	if !errors.Is(err, tasks.ErrCancelled) || i.State != tasks.Cancelled || i.Attempt != 1 {
		t.Fatalf("%+v, %v", i, err)
	}
}

func testCancelQueued(t *testing.T, s *suite) {
	h, err := tasks.Submit(t.Context(), s.Client, handler(), 1, tasks.Task{})
	if err != nil {
		t.Fatal(err)
	}
	if i, err := h.Get(t.Context()); err != nil || i.State != tasks.Queued {
		t.Fatalf("without a worker: %+v, %v", i, err)
	}
	if i, err := h.Cancel(t.Context()); err != nil || i.State != tasks.Cancelled {
		t.Fatalf("%+v, %v", i, err)
	}
}

func testTimeout(t *testing.T, s *suite) {
	mux, name := tasks.NewMux(), handler()
	_, ended := waiting(mux, name)
	s.serve(t, mux, tasks.WorkerOptions{})
	_, err := tasks.Call[int](t.Context(), s.Client, name, 1, tasks.Task{Timeout: 50 * time.Millisecond})
	if e := failure(t, err); e.Kind != "timeout" {
		t.Fatalf("%+v", e)
	}
	if cause := receive(t, "its context ends", ended); !errors.Is(cause, tasks.ErrTimeout) {
		t.Errorf("the cause is %v", cause)
	}
}

func testWatch(t *testing.T, s *suite) {
	mux, name := tasks.NewMux(), handler()
	began, seen := make(chan string, 1), make(chan string, 2)
	tasks.Handle(mux, name, func(ctx context.Context, _ int) (string, error) {
		a := tasks.FromContext(ctx)
		began <- a.Task
		<-seen
		a.Log("%s %d", "line", 1)
		a.Progress(3, 7, "halfway")
		<-seen
		fmt.Fprint(a, "the end")
		return "done", nil
	})
	s.serve(t, mux, tasks.WorkerOptions{})
	h, err := tasks.Submit(t.Context(), s.Client, name, 1, tasks.Task{})
	if err != nil {
		t.Fatal(err)
	}
	receive(t, "the handler begins", began)
	seen <- ""
	out, told := "", false
	for e, err := range h.Watch(t.Context()) {
		switch {
		case err != nil:
			t.Fatal(err)
		case e.Output != nil:
			out += string(e.Output.Data)
		case e.Progress != nil:
			if *e.Progress != (tasks.Progress{Attempt: 1, Done: 3, Total: 7, Message: "halfway"}) {
				t.Errorf("progress %+v", e.Progress)
			}
			if i, err := h.Get(t.Context()); err != nil || i.Progress == nil || i.Progress.Message != "halfway" {
				t.Errorf("asked for, the progress is %+v, %v", i.Progress, err)
			}
			if !told {
				told = true
				seen <- ""
			}
		case e.Task != nil:
			if e.Task.State != tasks.Succeeded || e.Task.Stdout != "line 1\nthe end" || string(e.Task.Value) != `"done"` || e.Task.Progress != nil {
				t.Errorf("%+v", e.Task)
			}
		}
	}
	if !told || !strings.HasPrefix("line 1\nthe end", out) || out == "" {
		t.Errorf("watched %q, progress %v", out, told)
	}
}

func testStuck(t *testing.T, s *suite) {
	mux, hangs, beats := tasks.NewMux(), handler(), handler()
	const limit = 300 * time.Millisecond
	_, ended := waiting(mux, hangs, tasks.StuckAfter(limit))
	tasks.Handle(mux, beats, func(ctx context.Context, _ int) (int, error) {
		tick := time.NewTicker(limit / 10)
		defer tick.Stop()
		for range 20 {
			select {
			case <-ctx.Done():
				return 0, context.Cause(ctx)
			case <-tick.C:
				tasks.FromContext(ctx).Beat()
			}
		}
		return 1, nil
	}, tasks.StuckAfter(limit))
	s.serve(t, mux, tasks.WorkerOptions{Slots: 2})
	_, err := tasks.Call[int](t.Context(), s.Client, hangs, 1, tasks.Task{})
	if e := failure(t, err); e.Kind != "stuck" {
		t.Fatalf("%+v", e)
	}
	if cause := receive(t, "its context ends", ended); !errors.Is(cause, tasks.ErrStuck) {
		t.Errorf("the cause is %v", cause)
	}
	if _, err := tasks.Call[int](t.Context(), s.Client, beats, 1, tasks.Task{}); err != nil {
		t.Errorf("one that beats: %v", err)
	}
}

func testMany(t *testing.T, s *suite) {
	mux, name := tasks.NewMux(), handler()
	tasks.Handle(mux, name, func(_ context.Context, n int) (int, error) { return n * n, nil })
	s.serve(t, mux, tasks.WorkerOptions{Slots: 8})
	in := make([]int, 500)
	for i := range in {
		in[i] = i
	}
	id := tasks.NewID()
	list, err := tasks.SubmitMany(t.Context(), s.Client, name, in, tasks.Task{ID: id})
	if err != nil {
		t.Fatal(err)
	}
	other := s.dial(t)
	for i, h := range list {
		n, err := tasks.Result[int](t.Context(), other, h.ID)
		if err != nil || n != i*i || h.ID != fmt.Sprintf("%s-%d", id, i) {
			t.Fatalf("%s: %d, %v", h.ID, n, err)
		}
	}
}

func testRepeated(t *testing.T, s *suite) {
	mux, name := tasks.NewMux(), handler()
	var calls atomic.Int32
	tasks.Handle(mux, name, func(context.Context, int) (int32, error) { return calls.Add(1), nil })
	s.serve(t, mux, tasks.WorkerOptions{})
	id := tasks.NewID()
	for range 3 {
		if n, err := tasks.Call[int32](t.Context(), s.Client, name, 1, tasks.Task{ID: id}); err != nil || n != 1 {
			t.Fatalf("%d, %v", n, err)
		}
	}
}

// A worker that ends finishes what runs and gives the rest to another.
func testDrain(t *testing.T, s *suite) {
	name := handler()
	began, release := make(chan string, 10), make(chan bool)
	mux := tasks.NewMux()
	tasks.Handle(mux, name, func(ctx context.Context, _ int) (string, error) {
		began <- tasks.FromContext(ctx).Task
		<-release
		return "first", nil
	})
	first := s.serve(t, mux, tasks.WorkerOptions{Slots: 1})
	list, err := tasks.SubmitMany(t.Context(), s.Client, name, []int{1, 2, 3}, tasks.Task{})
	if err != nil {
		t.Fatal(err)
	}
	runs := receive(t, "a handler begins", began)
	ended := make(chan error, 1)
	go func() { ended <- first.stop() }()
	s.until(t, "the worker drains", func() bool { return s.worker(t, first.name).State == "draining" })
	mux2 := tasks.NewMux()
	tasks.Handle(mux2, name, func(context.Context, int) (string, error) { return "second", nil })
	s.serve(t, mux2, tasks.WorkerOptions{})
	for _, h := range list {
		if h.ID == runs {
			continue
		}
		if by, err := tasks.Result[string](t.Context(), s.Client, h.ID); err != nil || by != "second" {
			t.Fatalf("%q, %v", by, err)
		}
	}
	close(release)
	if by, err := tasks.Result[string](t.Context(), s.Client, runs); err != nil || by != "first" {
		t.Fatalf("%q, %v", by, err)
	}
	if err := receive(t, "the worker ends", ended); err != nil {
		t.Fatal(err)
	}
}

// When the time for draining is over, what runs goes to another, at no cost.
func testDrainOver(t *testing.T, s *suite) {
	mux, name := tasks.NewMux(), handler()
	began, ended := waiting(mux, name)
	first := s.serve(t, mux, tasks.WorkerOptions{DrainTimeout: 50 * time.Millisecond})
	h, err := tasks.Submit(t.Context(), s.Client, name, 1, tasks.Task{})
	if err != nil {
		t.Fatal(err)
	}
	receive(t, "the handler begins", began)
	if err := first.stop(); err != nil {
		t.Fatal(err)
	}
	if cause := receive(t, "its context ends", ended); !errors.Is(cause, tasks.ErrDraining) {
		t.Errorf("the cause is %v", cause)
	}
	mux2 := tasks.NewMux()
	tasks.Handle(mux2, name, func(context.Context, int) (string, error) { return "second", nil })
	s.serve(t, mux2, tasks.WorkerOptions{})
	if i, err := h.Wait(t.Context()); err != nil || string(i.Value) != `"second"` || len(i.Causes) != 0 || i.Attempt != 2 {
		t.Fatalf("%+v, %v", i, err)
	}
}

// A handler that does not return costs its slot, and nothing else waits for it.
func testNotReturning(t *testing.T, s *suite) {
	mux, name, other := tasks.NewMux(), handler(), handler()
	release := make(chan bool)
	tasks.Handle(mux, name, func(context.Context, int) (int, error) { <-release; return 1, nil })
	tasks.Handle(mux, other, func(context.Context, int) (int, error) { return 2, nil })
	w := s.serve(t, mux, tasks.WorkerOptions{Slots: 2, Grace: 20 * time.Millisecond})
	_, err := tasks.Call[int](t.Context(), s.Client, name, 1, tasks.Task{Timeout: 50 * time.Millisecond})
	if e := failure(t, err); e.Kind != "timeout" || !strings.Contains(e.Message, "did not return within 20ms") {
		t.Fatalf("%+v", e)
	}
	s.until(t, "a slot is lost", func() bool { return s.worker(t, w.name).Slots == 1 })
	if _, err := tasks.Call[int](t.Context(), s.Client, other, 1, tasks.Task{}); err != nil {
		t.Fatal(err)
	}
	close(release)
	s.until(t, "the slot is back", func() bool { return s.worker(t, w.name).Slots == 2 })
	if err := w.stop(); err != nil {
		t.Fatal(err)
	}
}

func testMiddleware(t *testing.T, s *suite) {
	mux, name := tasks.NewMux(), handler()
	var order []string
	around := func(tag string) tasks.Middleware {
		return func(next tasks.HandlerFunc) tasks.HandlerFunc {
			return func(ctx context.Context, in json.RawMessage) (json.RawMessage, error) {
				order = append(order, tag+" before "+tasks.FromContext(ctx).Handler[:2])
				out, err := next(ctx, in)
				order = append(order, tag+" after "+string(out))
				return out, err
			}
		}
	}
	mux.Use(around("a"), around("b"))
	tasks.Handle(mux, name, func(_ context.Context, n int) (int, error) {
		order = append(order, "handler")
		return n + 1, nil
	})
	mux.Use(around("c"))
	s.serve(t, mux, tasks.WorkerOptions{})
	if n, err := tasks.Call[int](t.Context(), s.Client, name, 1, tasks.Task{}); err != nil || n != 2 {
		t.Fatal(n, err)
	}
	want := "a before h-,b before h-,c before h-,handler,c after 2,b after 2,a after 2"
	if got := strings.Join(order, ","); got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

func testLimits(t *testing.T, s *suite) {
	mux, name := tasks.NewMux(), handler()
	tasks.Handle(mux, name, func(_ context.Context, n int) (string, error) { return strings.Repeat("x", n), nil })
	s.serve(t, mux, tasks.WorkerOptions{})
	if got, err := tasks.Call[string](t.Context(), s.Client, name, 400<<10, tasks.Task{}); err != nil || len(got) != 400<<10 {
		t.Errorf("a large result: %d bytes, %v", len(got), err)
	}
	_, err := tasks.Call[string](t.Context(), s.Client, name, tasks.MaxResult, tasks.Task{Retries: 3})
	if !errors.Is(err, tasks.ErrLimit) {
		t.Errorf("too large a result: %v", err)
	}
	if _, err := tasks.Submit(t.Context(), s.Client, name, strings.Repeat("x", tasks.MaxInput), tasks.Task{}); !errors.Is(err, tasks.ErrLimit) {
		t.Errorf("too large an input: %v", err)
	}
	if _, err := tasks.Submit(t.Context(), s.Client, name, 1, tasks.Task{Namespace: "n"}); !errors.Is(err, tasks.ErrInvalid) {
		t.Errorf("in a namespace: %v", err)
	}
	if _, err := tasks.Submit(t.Context(), s.Client, "no name", 1, tasks.Task{}); !errors.Is(err, tasks.ErrInvalid) {
		t.Errorf("a name that is none: %v", err)
	}
	if err := s.Serve(t.Context(), tasks.NewMux(), tasks.WorkerOptions{}); !errors.Is(err, tasks.ErrInvalid) {
		t.Errorf("no handlers: %v", err)
	}
}

func testNameTaken(t *testing.T, s *suite) {
	mux, name := tasks.NewMux(), handler()
	began, ended := waiting(mux, name)
	o := tasks.WorkerOptions{Name: "w-" + tasks.NewID()}
	first := s.serve(t, mux, o)
	h, err := tasks.Submit(t.Context(), s.Client, name, 1, tasks.Task{})
	if err != nil {
		t.Fatal(err)
	}
	receive(t, "the handler begins", began)
	mux2 := tasks.NewMux()
	tasks.Handle(mux2, name, func(context.Context, int) (string, error) { return "second", nil })
	second := s.serve(t, mux2, o)
	if i, err := h.Wait(t.Context()); err != nil || string(i.Value) != `"second"` {
		t.Fatalf("%+v, %v", i, err)
	}
	if cause := receive(t, "its context ends", ended); !errors.Is(cause, tasks.ErrLost) {
		t.Errorf("the cause is %v", cause)
	}
	if err := first.stop(); !errors.Is(err, tasks.ErrConflict) {
		t.Errorf("the first worker ended with %v", err)
	}
	if err := second.stop(); err != nil {
		t.Error(err)
	}
}

func testDrainedWorker(t *testing.T, s *suite) {
	mux, name := tasks.NewMux(), handler()
	tasks.Handle(mux, name, func(context.Context, int) (int, error) { return 1, nil })
	w := s.serve(t, mux, tasks.WorkerOptions{})
	if st, err := s.DrainWorker(t.Context(), w.name, false); err != nil || st.State != "draining" {
		t.Fatalf("%+v, %v", st, err)
	}
	h, err := tasks.Submit(t.Context(), s.Client, name, 1, tasks.Task{})
	if err != nil {
		t.Fatal(err)
	}
	if i, err := h.Get(t.Context()); err != nil || i.State != tasks.Queued {
		t.Fatalf("%+v, %v", i, err)
	}
	if st, err := s.DrainWorker(t.Context(), w.name, true); err != nil || st.State != "ready" {
		t.Fatalf("%+v, %v", st, err)
	}
	if _, err := h.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := s.DrainWorker(t.Context(), "nobody", false); !errors.Is(err, tasks.ErrNotFound) {
		t.Errorf("a worker that there is not: %v", err)
	}
}

func testLabels(t *testing.T, s *suite) {
	mux, name := tasks.NewMux(), handler()
	tasks.Handle(mux, name, func(context.Context, int) (int, error) { return 1, nil })
	w := s.serve(t, mux, tasks.WorkerOptions{Labels: map[string]string{"zone": "b", "gpu": "1"}})
	st := s.worker(t, w.name)
	if !maps.Equal(st.Labels, map[string]string{"gpu": "1", "zone": "b"}) || !slices.Equal(st.Handlers, []string{name}) {
		t.Errorf("%+v", st)
	}
}

func testPriority(t *testing.T, s *suite) {
	mux, name := tasks.NewMux(), handler()
	var order []int
	first, release := make(chan bool, 1), make(chan bool)
	tasks.Handle(mux, name, func(_ context.Context, n int) (int, error) {
		if n == 0 {
			first <- true
			<-release
		}
		order = append(order, n)
		return n, nil
	})
	s.serve(t, mux, tasks.WorkerOptions{Slots: 1})
	list := make([]*tasks.Submitted, 4)
	for i := range list { // the last is the most urgent
		var err error
		if list[i], err = tasks.Submit(t.Context(), s.Client, name, i, tasks.Task{Priority: i}); err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			receive(t, "the handler begins", first)
		}
	}
	// What was given to the worker in advance is given back when it waits for long.
	s.until(t, "only one is with the worker", func() bool {
		running, err := s.List(t.Context(), tasks.Filter{State: tasks.Running})
		if err != nil {
			t.Fatal(err)
		}
		return !slices.ContainsFunc(running, func(i *tasks.Info) bool { return i.ID != list[0].ID && i.Handler == name })
	})
	close(release)
	for _, h := range list {
		if _, err := h.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if fmt.Sprint(order) != "[0 3 2 1]" {
		t.Errorf("they ran as %v", order)
	}
}

func testDelay(t *testing.T, s *suite) {
	mux, name := tasks.NewMux(), handler()
	const delay = 200 * time.Millisecond
	tasks.Handle(mux, name, func(context.Context, int) (int64, error) { return time.Now().UnixNano(), nil })
	s.serve(t, mux, tasks.WorkerOptions{})
	began := time.Now()
	at, err := tasks.Call[int64](t.Context(), s.Client, name, 0, tasks.Task{Delay: delay})
	if err != nil || time.Unix(0, at).Sub(began) < delay {
		t.Fatalf("after %v, %v", time.Unix(0, at).Sub(began), err)
	}
}

func testJob(t *testing.T, s *suite) {
	mux, name := tasks.NewMux(), handler()
	tasks.Handle(mux, name, func(_ context.Context, n int) (int, error) {
		if n == 3 {
			return 0, errors.New("three")
		}
		return n, nil
	})
	s.serve(t, mux, tasks.WorkerOptions{})
	id, err := s.OpenJob(t.Context(), tasks.JobSpec{})
	if err != nil {
		t.Fatal(err)
	}
	list, err := tasks.SubmitMany(t.Context(), s.Client, name, []int{1, 2, 3, 4}, tasks.Task{Job: id})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.SealJob(t.Context(), id, len(list)); err != nil {
		t.Fatal(err)
	}
	j, err := s.WaitJob(t.Context(), id)
	if err != nil || j.Total != 4 || j.Succeeded != 3 || j.Failed != 1 || j.FirstError != list[2].ID {
		t.Fatalf("%+v, %v", j, err)
	}
}
