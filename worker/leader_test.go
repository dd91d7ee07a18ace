package worker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"farm/api"

	"google.golang.org/protobuf/proto"
)

// patience is how long a test waits for what must come.
const patience = 20 * time.Second

// stream is the worker's end of a conversation with the fake leader.
type stream struct {
	ctx  context.Context
	l    *leader
	to   chan *api.ToWorker
	done chan struct{} // closed when the worker said its last
	once sync.Once
}

func (s *stream) Send(m *api.FromWorker) error {
	// What a wire would do: nothing of the message is shared.
	b, err := proto.Marshal(m)
	if err != nil {
		return err
	}
	if s.ctx.Err() != nil {
		return s.ctx.Err()
	}
	s.l.receive(s, b)
	return nil
}

func (s *stream) Recv() (*api.ToWorker, error) {
	select {
	case m := <-s.to:
		return m, nil
	case <-s.done:
		return nil, io.EOF
	case <-s.ctx.Done():
		return nil, s.ctx.Err()
	}
}

func (s *stream) CloseSend() error {
	s.once.Do(func() { close(s.done) })
	return nil
}

// heard is what a worker said, in the order in which it did.
type heard struct {
	hellos    []*api.Hello
	completes []*api.Complete
	draining  bool
	isolation string
	returns   []*api.AttemptRef
	began     []*api.AttemptRef
	forgot    []string
	outputs   []*api.Output
	progress  []*api.Progress
	messages  int
}

// streamed is what came of one stream of a task.
func (h *heard) streamed(task string, stderr bool) string {
	var b strings.Builder
	for _, o := range h.outputs {
		if o.Task == task && o.Stderr == stderr {
			b.Write(o.Data)
		}
	}
	return b.String()
}

// now is what was heard so far. Without it the fields are read under the lock.
func (l *leader) now() heard {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.heard
}

// leader collects what the worker says and says what the test wants.
type leader struct {
	t testing.TB
	w *Worker

	mu      sync.Mutex
	cond    *sync.Cond
	down    bool // dialling fails
	quiet   bool // no answers to a Hello
	current *stream
	break_  context.CancelFunc
	heard
	onReport func(c *api.Complete) []*api.Instruction   // may be nil; answered at once
	handle   func(m *api.FromWorker) []*api.Instruction // may be nil; the same for whole messages
	order    uint64
	stopped  bool
	end      func()
}

// start runs a worker with script children against a new leader.
func start(t testing.TB, change func(*Config)) *leader {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	l := &leader{t: t}
	l.cond = sync.NewCond(&l.mu)
	cfg := Config{ID: "w1", Node: "n1", Incarnation: 7, Slots: 2, Dial: l.dial, Command: []string{exe, fakeArg},
		Limits: Limits{HandBack: time.Minute, Grace: 200 * time.Millisecond, DrainTimeout: 300 * time.Millisecond}}
	if change != nil {
		change(&cfg)
	}
	if l.w, err = New(cfg); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := l.w.Run(ctx); err != nil {
			t.Errorf("Run: %v", err)
		}
	}()
	l.end = func() {
		cancel()
		select {
		case <-ended:
		case <-time.After(patience):
			t.Error("Run does not return")
		}
	}
	t.Cleanup(func() {
		l.hangUp(true)
		l.end()
	})
	return l
}

// hangUp breaks the stream there is. With down set no new one can be had.
func (l *leader) hangUp(down bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.down = down
	if l.current != nil {
		l.break_()
		l.current = nil
	}
}

func (l *leader) dial(ctx context.Context) (Stream, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.down {
		return nil, errors.New("no leader")
	}
	ctx, cancel := context.WithCancel(ctx)
	l.current = &stream{ctx: ctx, l: l, to: make(chan *api.ToWorker, 100_000), done: make(chan struct{})}
	l.break_ = cancel
	return l.current, nil
}

func (l *leader) receive(s *stream, b []byte) {
	m := &api.FromWorker{}
	if err := proto.Unmarshal(b, m); err != nil {
		l.t.Error(err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.messages++
	if m.Hello != nil {
		l.hellos = append(l.hellos, m.Hello)
		if !l.quiet {
			s.to <- tell(welcome())
		}
	}
	var answers []*api.Instruction
	for _, c := range m.Completes {
		l.completes = append(l.completes, c)
		if l.onReport != nil {
			answers = append(answers, l.onReport(c)...)
		}
	}
	if l.handle != nil {
		answers = append(answers, l.handle(m)...)
	}
	if len(answers) > 0 {
		s.to <- tell(answers...)
	}
	l.draining = l.draining || m.Draining
	if m.Isolation != "" {
		l.isolation = m.Isolation
	}
	l.returns = append(l.returns, m.Returns...)
	l.began = append(l.began, m.Began...)
	l.forgot = append(l.forgot, m.Forgot...)
	l.outputs = append(l.outputs, m.Outputs...)
	l.progress = append(l.progress, m.Progress...)
	l.cond.Broadcast()
}

func welcome() *api.Instruction {
	return &api.Instruction{Do: &api.Instruction_Welcome{Welcome: &api.Welcome{Lease: 1e9, Beat: 20e6}}}
}

func tell(i ...*api.Instruction) *api.ToWorker { return &api.ToWorker{Instructions: i} }

// say sends instructions on the stream there is, in one message.
func (l *leader) say(i ...*api.Instruction) {
	l.t.Helper()
	l.await("a stream", func() bool { return l.current != nil && len(l.hellos) > 0 })
	l.mu.Lock()
	defer l.mu.Unlock()
	l.current.to <- tell(i...)
}

// await waits until cond, called with the lock held.
func (l *leader) await(what string, cond func() bool) {
	l.t.Helper()
	late := time.AfterFunc(patience, func() {
		l.mu.Lock()
		l.stopped = true
		l.cond.Broadcast()
		l.mu.Unlock()
	})
	defer late.Stop()
	l.mu.Lock()
	defer l.mu.Unlock()
	for !cond() {
		if l.stopped {
			l.t.Fatalf("waited in vain for %s; reports: %v; returns: %v; %+v", what, l.completes, l.returns, l.w.Stats())
		}
		l.cond.Wait()
	}
}

// report waits for the report of an attempt.
func (l *leader) report(task string, attempt uint32) *api.Complete {
	l.t.Helper()
	var c *api.Complete
	l.await("the report of "+task, func() bool {
		for _, x := range l.completes {
			if x.Task == task && x.Attempt == attempt {
				c = x
			}
		}
		return c != nil
	})
	return c
}

func (l *leader) awaitBegan(task string) {
	l.t.Helper()
	l.await(task+" to begin", func() bool {
		for _, r := range l.began {
			if r.Task == task {
				return true
			}
		}
		return false
	})
}

func (l *leader) awaitReturn(task string) {
	l.t.Helper()
	l.await(task+" to be given back", func() bool {
		for _, r := range l.returns {
			if r.Task == task {
				return true
			}
		}
		return false
	})
}

// poll waits for a condition of the worker itself.
func (l *leader) poll(what string, cond func(Stats) bool) {
	l.t.Helper()
	for deadline := time.Now().Add(patience); !cond(l.w.Stats()); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			l.t.Fatalf("waited in vain for %s: %+v", what, l.w.Stats())
		}
	}
}

func encode(w *api.Work) []byte {
	b, err := proto.Marshal(w)
	if err != nil {
		panic(err)
	}
	return b
}

func (l *leader) nextOrder() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.order++
	return l.order
}

// private assigns a cell in a context of its own.
func (l *leader) private(task, source string) *api.Instruction {
	return assign(&api.Assign{Task: task, Attempt: 1, Work: encode(&api.Work{Source: source}), Order: l.nextOrder()})
}

// in assigns a cell in a namespace.
func (l *leader) in(ns string, epoch uint64, task, source string, load *api.Load) *api.Instruction {
	return assign(&api.Assign{Task: task, Attempt: 1, Namespace: ns, Epoch: epoch, Work: encode(&api.Work{Source: source}), Load: load, Order: l.nextOrder()})
}

func assign(a *api.Assign) *api.Instruction {
	return &api.Instruction{Do: &api.Instruction_Assign{Assign: a}}
}

func settled(task string, attempt uint32) *api.Instruction {
	return &api.Instruction{Do: &api.Instruction_Settled{Settled: &api.AttemptRef{Task: task, Attempt: attempt}}}
}

func voided(task string, attempt uint32) *api.Instruction {
	return &api.Instruction{Do: &api.Instruction_Voided{Voided: &api.AttemptRef{Task: task, Attempt: attempt}}}
}

func stopIt(task string) *api.Instruction {
	return &api.Instruction{Do: &api.Instruction_Stop{Stop: &api.AttemptRef{Task: task, Attempt: 1}}}
}

func loadOf(version, since uint64, items ...string) *api.Load {
	l := &api.Load{Version: version, Since: since}
	for i := 0; i < len(items); i += 2 {
		l.Items = append(l.Items, &api.Item{Key: items[i], Value: []byte(items[i+1])})
	}
	return l
}

func settle(c *api.Complete) []*api.Instruction {
	return []*api.Instruction{settled(c.Task, c.Attempt)}
}

func item(c *api.Complete, key string) string {
	for _, it := range c.Put {
		if it.Key == key {
			return string(it.Value)
		}
	}
	return fmt.Sprintf("no %s in %v", key, c.Put)
}
