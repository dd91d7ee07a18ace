package consensus

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/hashicorp/raft"
)

// fakeRaft takes entries and answers them when the test says so.
type fakeRaft struct {
	arrived chan *fakeFuture
}

type fakeFuture struct {
	entry    []byte
	done     chan struct{}
	err      error
	response any
}

func (f *fakeFuture) Error() error  { <-f.done; return f.err }
func (f *fakeFuture) Response() any { return f.response }
func (f *fakeFuture) Index() uint64 { return 0 }

func (r *fakeRaft) apply(entry []byte) raft.ApplyFuture {
	f := &fakeFuture{entry: entry, done: make(chan struct{})}
	r.arrived <- f
	return f
}

// ids are the request ids in the entry.
func (f *fakeFuture) ids() []uint64 {
	var out []uint64
	for b := f.entry[12:]; len(b) > 0; b = b[toyCommandSize:] {
		out = append(out, binary.BigEndian.Uint64(b))
	}
	return out
}

// answer gives each command its id as its result.
func (f *fakeFuture) answer() {
	results := []Result{}
	for _, id := range f.ids() {
		results = append(results, id)
	}
	f.response = results
	close(f.done)
}

func (f *fakeFuture) fail(err error) {
	f.err = err
	close(f.done)
}

type proposerTest struct {
	*proposer
	raft  *fakeRaft
	fatal chan error
	calls sync.Map // id -> outcome
}

func newProposerTest(t *testing.T, change func(c *Config)) *proposerTest {
	c := testConfig(t, "n").withDefaults()
	c.Now = func() int64 { return 42 }
	if change != nil {
		change(&c)
	}
	p := &proposerTest{raft: &fakeRaft{arrived: make(chan *fakeFuture, 100)}, fatal: make(chan error, 10)}
	p.proposer = newProposer(c, p.raft.apply, func(err error) { p.fatal <- err })
	return p
}

// finish closes the proposer. Entries in flight must have been answered.
func (p *proposerTest) finish() {
	p.close()
	p.stopped.Wait()
}

func (p *proposerTest) send(t *testing.T, id uint64) error {
	return p.add(toyCommand(id, 1), func(r Result, err error) {
		if _, twice := p.calls.LoadOrStore(id, outcome{r, err}); twice {
			t.Errorf("request %d is called back twice", id)
		}
	})
}

func (p *proposerTest) outcome(t *testing.T, id uint64) outcome {
	t.Helper()
	var o any
	eventually(t, fmt.Sprintf("request %d", id), func() bool {
		var ok bool
		o, ok = p.calls.Load(id)
		return ok
	})
	return o.(outcome)
}

func TestProposerSharesEntries(t *testing.T) {
	p := newProposerTest(t, func(c *Config) {
		c.MaxInFlight = 2
		c.MaxEntryBytes = 10 * toyCommandSize
	})
	defer p.finish()
	var flights []*fakeFuture
	for id := range uint64(2) { // one each, since nothing else waits
		if err := p.send(t, id); err != nil {
			t.Fatal(err)
		}
		flights = append(flights, <-p.raft.arrived)
	}
	for id := uint64(2); id < 27; id++ { // 25 wait behind the two in flight
		if err := p.send(t, id); err != nil {
			t.Fatal(err)
		}
	}
	if len(p.raft.arrived) > 0 {
		t.Error("more entries in flight than MaxInFlight")
	}
	next := uint64(0)
	for _, n := range []int{1, 1, 10, 10, 5} {
		f := flights[0]
		flights = flights[1:]
		if int64(binary.BigEndian.Uint64(f.entry)) != 42 || int(binary.BigEndian.Uint32(f.entry[8:])) != n {
			t.Errorf("entry of time %d with %d commands, want 42 and %d", binary.BigEndian.Uint64(f.entry), binary.BigEndian.Uint32(f.entry[8:]), n)
		}
		for _, id := range f.ids() {
			if id != next {
				t.Errorf("request %d where %d should be", id, next)
			}
			next++
		}
		f.answer()
		if next < 22 {
			flights = append(flights, <-p.raft.arrived)
		}
	}
	for id := range uint64(27) {
		if o := p.outcome(t, id); o != (outcome{id, nil}) {
			t.Errorf("request %d: %+v", id, o)
		}
	}
}

func TestProposerLimits(t *testing.T) {
	p := newProposerTest(t, func(c *Config) {
		c.MaxInFlight, c.MaxWaiting = 1, 3
		c.MaxEntryBytes, c.MaxWaitingBytes = 100, 100
	})
	defer p.finish()
	nobody := func(Result, error) {}
	if err := p.add(make([]byte, 101), nobody); !errors.Is(err, ErrTooLarge) {
		t.Errorf("too large: %v", err)
	}
	if err := p.send(t, 0); err != nil {
		t.Fatal(err)
	}
	first := <-p.raft.arrived // blocks the rest
	for id := uint64(1); id < 4; id++ {
		if err := p.send(t, id); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.send(t, 4); !errors.Is(err, ErrOverloaded) {
		t.Errorf("too many: %v", err)
	}
	first.answer()
	(<-p.raft.arrived).answer()
	p.outcome(t, 3)
	if err := p.send(t, 5); err != nil { // there is room again
		t.Fatal(err)
	}
	second := <-p.raft.arrived
	if err := p.add(make([]byte, 60), nobody); err != nil {
		t.Fatal(err)
	}
	if err := p.add(make([]byte, 41), nobody); !errors.Is(err, ErrOverloaded) {
		t.Errorf("too many bytes: %v", err)
	}
	p.close()
	second.answer()
	p.stopped.Wait()
	if p.waiting != 0 || p.waitingBytes != 0 {
		t.Errorf("%d commands of %d bytes are counted as waiting at the end", p.waiting, p.waitingBytes)
	}
}

// What raft answers decides between "not proposed" and "unknown".
func TestProposerErrors(t *testing.T) {
	for err, want := range map[error]error{
		raft.ErrNotLeader:                    ErrNotLeader,
		raft.ErrLeadershipTransferInProgress: ErrNotLeader,
		raft.ErrEnqueueTimeout:               ErrNotLeader,
		raft.ErrLeadershipLost:               ErrUnknown,
		raft.ErrRaftShutdown:                 ErrUnknown,
		raft.ErrAbortedByRestore:             ErrUnknown,
		errors.New("the disk is gone"):       ErrUnknown,
	} {
		p := newProposerTest(t, nil)
		if err := p.send(t, 1); err != nil {
			t.Fatal(err)
		}
		(<-p.raft.arrived).fail(err)
		o := p.outcome(t, 1)
		if other := map[error]error{ErrNotLeader: ErrUnknown, ErrUnknown: ErrNotLeader}[want]; !errors.Is(o.err, want) || errors.Is(o.err, other) {
			t.Errorf("%v becomes %v, want %v", err, o.err, want)
		}
		p.finish()
	}
}

func TestProposerWrongNumberOfResults(t *testing.T) {
	p := newProposerTest(t, nil)
	if err := p.send(t, 1); err != nil {
		t.Fatal(err)
	}
	f := <-p.raft.arrived
	f.response = []Result{1, 2}
	close(f.done)
	if o := p.outcome(t, 1); !errors.Is(o.err, ErrUnknown) {
		t.Errorf("%+v, want ErrUnknown", o)
	}
	if err := <-p.fatal; !errors.Is(err, ErrStateMachine) {
		t.Errorf("fatal: %v", err)
	}
	p.finish()
}

// Closing refuses what raft has not seen, for certain, and lets the rest be answered;
// what raft never answers is unknown.
func TestProposerClose(t *testing.T) {
	p := newProposerTest(t, func(c *Config) { c.MaxInFlight = 2 })
	var flights []*fakeFuture
	for id := range uint64(2) {
		if err := p.send(t, id); err != nil {
			t.Fatal(err)
		}
		flights = append(flights, <-p.raft.arrived)
	}
	for id := uint64(2); id < 10; id++ {
		if err := p.send(t, id); err != nil {
			t.Fatal(err)
		}
	}
	p.close()
	p.close() // twice is fine
	for id := uint64(2); id < 10; id++ {
		if o := p.outcome(t, id); !errors.Is(o.err, ErrStopped) {
			t.Errorf("request %d, not handed to raft: %+v", id, o)
		}
	}
	if err := p.send(t, 10); !errors.Is(err, ErrStopped) {
		t.Errorf("after close: %v", err)
	}
	flights[0].answer()
	if o := p.outcome(t, 0); o != (outcome{uint64(0), nil}) {
		t.Errorf("request 0, answered after close: %+v", o)
	}
	p.abandon()
	if o := p.outcome(t, 1); !errors.Is(o.err, ErrUnknown) {
		t.Errorf("request 1, never answered: %+v", o)
	}
	flights[1].answer() // too late, and not called back twice
	p.stopped.Wait()
}

func TestProposeContext(t *testing.T) {
	c := newCluster(t, 1, nil)
	l := c.leader()
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := l.Propose(ended, toyCommand(1, 1)); !errors.Is(err, context.Canceled) || errors.Is(err, ErrUnknown) {
		t.Errorf("ended before: %v: nothing was proposed", err)
	}
	release := l.toy.hold()
	defer release()
	ctx, cut := context.WithCancelCause(context.Background())
	reason := errors.New("enough")
	done := make(chan error, 1)
	go func() {
		_, err := l.Propose(ctx, toyCommand(2, 1))
		done <- err
	}()
	eventually(t, "the proposal", func() bool { return l.Stats().Entries == 1 })
	cut(reason)
	if err := <-done; !errors.Is(err, ErrUnknown) || !errors.Is(err, reason) {
		t.Errorf("ended meanwhile: %v", err)
	}
}
