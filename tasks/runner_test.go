package tasks

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"farm/api"
	"farm/internal/attach"
)

// fakeLeader is the other side of a worker's stream.
type fakeLeader struct {
	r    *runner
	down chan *api.ToWorker

	mu    sync.Mutex
	heard []*api.FromWorker
}

func (l *fakeLeader) Send(m *api.FromWorker) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.heard = append(l.heard, m)
	return nil
}

func (l *fakeLeader) Recv() (*api.ToWorker, error) {
	m, ok := <-l.down
	if !ok {
		return nil, io.EOF
	}
	return m, nil
}

func (l *fakeLeader) CloseSend() error { return nil }

// leadRunner runs a worker of handlers on a stream of its own.
func leadRunner(t *testing.T, mux *Mux, o WorkerOptions) *fakeLeader {
	t.Helper()
	l := &fakeLeader{down: make(chan *api.ToWorker, 100)}
	l.r = serveStream(t, mux, o, l, func() { close(l.down) })
	l.say(welcome())
	return l
}

// serveStream runs a worker of handlers on s. At the end hangUp is to end the stream.
func serveStream(t testing.TB, mux *Mux, o WorkerOptions, s attach.Stream, hangUp func()) *runner {
	t.Helper()
	if err := o.defaults(); err != nil {
		t.Fatal(err)
	}
	r := newRunner(context.Background(), mux, o)
	ctx, cancel := context.WithCancel(context.Background())
	link := attach.New(func(context.Context) (attach.Stream, error) { return s, nil }, r, r.out, o.Logger)
	var parts sync.WaitGroup
	parts.Go(func() { _ = link.Run(ctx) })
	parts.Go(func() { r.tend(ctx) })
	t.Cleanup(func() { r.abort(); cancel(); hangUp(); parts.Wait(); r.dismiss() })
	return r
}

func welcome() *api.Instruction {
	return &api.Instruction{Do: &api.Instruction_Welcome{Welcome: &api.Welcome{Lease: int64(time.Hour), Beat: int64(time.Hour)}}}
}

func (l *fakeLeader) say(i ...*api.Instruction) { l.down <- &api.ToWorker{Instructions: i} }

func (l *fakeLeader) assign(task, handler string) { l.assignFor(task, handler, 0) }

func (l *fakeLeader) assignFor(task, handler string, timeout time.Duration) {
	work, err := proto.Marshal(&api.Work{Handler: handler})
	if err != nil {
		panic(err)
	}
	l.say(&api.Instruction{Do: &api.Instruction_Assign{Assign: &api.Assign{Task: task, Attempt: 1, Work: work, Timeout: int64(timeout)}}})
}

func voided(task string) *api.Instruction {
	return &api.Instruction{Do: &api.Instruction_Voided{Voided: &api.AttemptRef{Task: task, Attempt: 1}}}
}

// said is the tasks that the worker gave back and told the end of.
func (l *fakeLeader) said() (returned, reported []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, m := range l.heard {
		for _, a := range m.Returns {
			returned = append(returned, a.Task)
		}
		for _, c := range m.Completes {
			reported = append(reported, c.Task)
		}
	}
	return returned, reported
}

// waiter is a handler that waits for the end of its context and returns its cause.
func waiter(mux *Mux) (began chan string, causes chan error) {
	began, causes = make(chan string, 10), make(chan error, 10)
	Handle(mux, "wait", func(ctx context.Context, _ int) (int, error) {
		began <- FromContext(ctx).Task
		<-ctx.Done()
		causes <- context.Cause(ctx)
		return 0, context.Cause(ctx)
	})
	return began, causes
}

func soon[T any](t *testing.T, c <-chan T) (v T) {
	t.Helper()
	select {
	case v = <-c:
	case <-time.After(10 * time.Second):
		t.Fatal("not in time")
	}
	return v
}

// An attempt that is another worker's by now ends, and nothing is said of it.
func TestVoidedAttemptEnds(t *testing.T) {
	mux := NewMux()
	began, causes := waiter(mux)
	Handle(mux, "quick", func(context.Context, int) (int, error) { return 1, nil })
	l := leadRunner(t, mux, WorkerOptions{Slots: 1})
	l.assign("a", "wait")
	soon(t, began)
	l.say(voided("a"))
	if cause := soon(t, causes); !errors.Is(cause, ErrLost) {
		t.Errorf("the cause is %v", cause)
	}
	l.assign("b", "quick") // its slot is free again
	eventually(t, "the next one is reported", func() bool { _, reported := l.said(); return slices.Contains(reported, "b") })
	if returned, reported := l.said(); len(returned) != 0 || slices.Contains(reported, "a") {
		t.Errorf("given back %v, reported %v", returned, reported)
	}
}

// What a Hello says the worker holds, and it gives back before the leader has answered,
// the leader hears of all the same.
func TestGivenBackDuringHello(t *testing.T) {
	mux := NewMux()
	began, _ := waiter(mux)
	o := WorkerOptions{Slots: 1}
	if err := o.defaults(); err != nil {
		t.Fatal(err)
	}
	r := newRunner(context.Background(), mux, o)
	leaders := make(chan *fakeLeader, 2)
	first, second := &fakeLeader{r: r, down: make(chan *api.ToWorker, 100)}, &fakeLeader{r: r, down: make(chan *api.ToWorker, 100)}
	leaders <- first
	leaders <- second
	link := attach.New(func(ctx context.Context) (attach.Stream, error) {
		select {
		case l := <-leaders:
			return l, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}, r, r.out, o.Logger)
	ctx, cancel := context.WithCancel(context.Background())
	var parts sync.WaitGroup
	parts.Go(func() { _ = link.Run(ctx) })
	t.Cleanup(func() { r.abort(); cancel(); close(second.down); parts.Wait(); r.dismiss() })
	first.say(welcome())
	first.assign("a", "wait")
	first.assign("b", "wait")
	soon(t, began)
	close(first.down)
	eventually(t, "it says what it holds", func() bool { return slices.Equal(second.holds(), []string{"a", "b"}) })
	r.look(time.Now().Add(time.Minute)) // b has waited long enough for a slot
	second.say(welcome())
	eventually(t, "b is given back", func() bool { returned, _ := second.said(); return slices.Equal(returned, []string{"b"}) })
}

// holds are the tasks of the newest Hello.
func (l *fakeLeader) holds() (list []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, m := range l.heard {
		if m.Hello != nil {
			list = nil
			for _, a := range m.Hello.Holds {
				list = append(list, a.Task)
			}
		}
	}
	slices.Sort(list)
	return list
}

// A worker that hears of no leader for two leases ends what runs, and gives it back
// to the next leader.
func TestLostLease(t *testing.T) {
	mux := NewMux()
	began, causes := waiter(mux)
	l := leadRunner(t, mux, WorkerOptions{Slots: 1})
	l.assign("a", "wait")
	soon(t, began)
	now := time.Now()
	l.r.mu.Lock()
	l.r.away, l.r.lease = now, time.Second
	l.r.mu.Unlock()
	l.r.look(now.Add(awayLeases * time.Second))
	select {
	case cause := <-causes:
		t.Fatalf("too early: %v", cause)
	default:
	}
	l.r.look(now.Add(awayLeases*time.Second + 1))
	if cause := soon(t, causes); !errors.Is(cause, ErrLost) {
		t.Errorf("the cause is %v", cause)
	}
	eventually(t, "it is given back", func() bool { returned, _ := l.said(); return slices.Equal(returned, []string{"a"}) })
}

// A worker that drains gives back at once what has not begun, and what comes.
func TestDrainGivesBack(t *testing.T) {
	mux := NewMux()
	began, _ := waiter(mux)
	l := leadRunner(t, mux, WorkerOptions{Slots: 1, DrainTimeout: time.Hour})
	l.assign("a", "wait")
	soon(t, began)
	l.r.mu.Lock() // so that nothing waits for so long that it is given back anyway
	l.r.attempts[attemptKey{"b", 1}] = &run{attemptKey: attemptKey{"b", 1}, arrived: time.Now().Add(time.Hour)}
	l.r.line = append(l.r.line, l.r.attempts[attemptKey{"b", 1}])
	l.r.held += l.r.attempts[attemptKey{"b", 1}].refSize()
	l.r.mu.Unlock()
	drained := make(chan int, 1)
	go func() { drained <- l.r.drain() }()
	eventually(t, "what waits is given back", func() bool { returned, _ := l.said(); return slices.Equal(returned, []string{"b"}) })
	l.assign("c", "wait")
	eventually(t, "what comes is given back", func() bool { returned, _ := l.said(); return slices.Equal(returned, []string{"b", "c"}) })
	l.say(voided("a"))
	if left := soon(t, drained); left != 0 {
		t.Errorf("%d handlers are left", left)
	}
}

// What a worker holds can always be said in the first message of a stream: more is
// given back.
func TestWorkerHoldsNoMoreThanItCanName(t *testing.T) {
	mux := NewMux()
	began, _ := waiter(mux)
	l := leadRunner(t, mux, WorkerOptions{Slots: 1})
	l.assign("a", "wait")
	soon(t, began)
	l.r.mu.Lock()
	l.r.held = maxHeld // as tens of thousands of them do
	l.r.mu.Unlock()
	l.assign("b", "wait")
	eventually(t, "it is given back", func() bool { returned, _ := l.said(); return slices.Equal(returned, []string{"b"}) })
	l.r.mu.Lock()
	defer l.r.mu.Unlock()
	if l.r.held != maxHeld || len(l.r.attempts) != 1 {
		t.Errorf("it reckons with %d bytes for %d attempts", l.r.held, len(l.r.attempts))
	}
}

// Attempts that follow each other are run by as many goroutines as there are slots, and
// by none when there is nothing to do.
func TestHandsAreBounded(t *testing.T) {
	const slots, attempts = 3, 200
	mux := NewMux()
	Handle(mux, "quick", func(context.Context, int) (int, error) { return 1, nil })
	l := leadRunner(t, mux, WorkerOptions{Slots: slots})
	for i := range attempts {
		l.assign(fmt.Sprint(i), "quick")
		l.r.mu.Lock()
		if n := len(l.r.hands); n > slots {
			t.Errorf("%d hands for %d slots", n, slots)
		}
		l.r.mu.Unlock()
	}
	eventually(t, "all come to an end", func() bool {
		returned, reported := l.said()
		return len(returned)+len(reported) == attempts
	})
	l.r.look(time.Now().Add(2 * handRest))
	l.r.mu.Lock()
	defer l.r.mu.Unlock()
	if len(l.r.hands) != 0 || len(l.r.idle) != 0 {
		t.Errorf("%d hands are kept, %d idle", len(l.r.hands), len(l.r.idle))
	}
}

// A handler that ends its goroutine, as testing's FailNow does, has failed; its slot is
// free for the next.
func TestHandlerEndsItsGoroutine(t *testing.T) {
	mux := NewMux()
	Handle(mux, "exit", func(context.Context, int) (int, error) { runtime.Goexit(); return 0, nil })
	Handle(mux, "quick", func(context.Context, int) (int, error) { return 1, nil })
	l := leadRunner(t, mux, WorkerOptions{Slots: 1})
	for _, task := range []string{"a", "c", "e"} {
		l.assign(task, "exit")
		l.assign(task+"-next", "quick")
	}
	eventually(t, "all are reported", func() bool { _, reported := l.said(); return len(reported) == 6 })
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, m := range l.heard {
		for _, c := range m.Completes {
			if failed := c.Ending == api.Ending_FAILURE && c.Outcome.Error.GetKind() == "panic"; failed == strings.HasSuffix(c.Task, "-next") {
				t.Errorf("%s ended with %v, %v", c.Task, c.Ending, c.Outcome.Error)
			}
		}
	}
}

// The time that an attempt may take is its own, and not that of the one before, which
// the same goroutine ran.
func TestTimeoutsOfOneHand(t *testing.T) {
	mux := NewMux()
	began, causes := waiter(mux)
	Handle(mux, "quick", func(context.Context, int) (int, error) { return 1, nil })
	l := leadRunner(t, mux, WorkerOptions{Slots: 1, Timeout: time.Hour})
	l.assignFor("a", "quick", time.Millisecond)
	l.assignFor("b", "wait", 0)
	soon(t, began)
	select {
	case cause := <-causes:
		t.Fatalf("b ended with the time of a: %v", cause)
	case <-time.After(20 * time.Millisecond):
	}
	l.say(voided("b"))
	soon(t, causes)
	l.assignFor("c", "wait", time.Millisecond)
	soon(t, began)
	if cause := soon(t, causes); !errors.Is(cause, ErrTimeout) {
		t.Errorf("the cause is %v", cause)
	}
}
