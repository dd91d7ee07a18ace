package tasks

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"farm/api"
)

func TestNewIDGrowsAndIsUnique(t *testing.T) {
	const each, goroutines = 5000, 4
	lists := make([][]string, goroutines)
	var wg sync.WaitGroup
	for g := range lists {
		wg.Go(func() {
			for range each {
				lists[g] = append(lists[g], NewID())
			}
		})
	}
	wg.Wait()
	all := map[string]bool{}
	for _, l := range lists {
		if !slices.IsSorted(l) {
			t.Error("ids made one after the other do not grow")
		}
		for _, id := range l {
			if len(id) != 26 || strings.Trim(id, idAlphabet) != "" {
				t.Fatalf("bad id %q", id)
			}
			all[id] = true
		}
	}
	if len(all) != each*goroutines {
		t.Errorf("%d different ids of %d", len(all), each*goroutines)
	}
}

func TestEncodeIDKeepsOrder(t *testing.T) {
	if got, want := encodeID(0, 1), "00000000000000000000000001"; got != want {
		t.Errorf("1 is %s", got)
	}
	if got, want := encodeID(^uint64(0), ^uint64(0)), "7zzzzzzzzzzzzzzzzzzzzzzzzz"; got != want {
		t.Errorf("the largest is %s", got)
	}
	if encodeID(1, 0) <= encodeID(0, ^uint64(0)) {
		t.Error("the high half does not go first")
	}
}

func TestRunBatchesCallsThatWait(t *testing.T) {
	hold := make(chan struct{})
	var once sync.Once
	n := startFake(t, func(n *fakeNode, st *fakeStream, c *api.Call) *api.Reply {
		if c.GetSubmit() != nil {
			once.Do(func() { <-hold }) // the reader stops, so calls gather at the client
		}
		return usual(n, st, c)
	})
	c := dialFake(t, Options{}, n)
	const calls = 5000
	var left sync.WaitGroup
	left.Add(calls)
	var bad atomic.Int32
	for i := range calls {
		err := c.RunAsync(testContext(t), Task{ID: fmt.Sprint(i), Source: strings.Repeat("x", 100)}, func(info *Info, err error) {
			if err != nil || info.ID != fmt.Sprint(i) {
				bad.Add(1)
			}
			left.Done()
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	close(hold)
	left.Wait()
	if bad.Load() > 0 {
		t.Errorf("%d calls got a wrong answer", bad.Load())
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	sum := 0
	for _, b := range n.batches {
		sum += b
		if b > maxBatchCalls {
			t.Errorf("a message of %d calls", b)
		}
	}
	if sum != calls || slices.Max(n.batches) < maxBatchCalls || len(n.batches) > calls/10 {
		t.Errorf("%d calls in %d messages", sum, len(n.batches))
	}
}

func TestRepliesOutOfOrder(t *testing.T) {
	const calls = 50
	var mu sync.Mutex
	var waiting []*api.Call
	n := startFake(t, func(n *fakeNode, st *fakeStream, c *api.Call) *api.Reply {
		if c.GetSubmit() == nil {
			return usual(n, st, c)
		}
		mu.Lock()
		defer mu.Unlock()
		if waiting = append(waiting, c); len(waiting) == calls {
			for _, c := range slices.Backward(waiting) {
				r := done(c.GetSubmit().Id)
				r.Seq = c.Seq
				st.send(r)
			}
		}
		return nil
	})
	c := dialFake(t, Options{}, n)
	var wg sync.WaitGroup
	for i := range calls {
		wg.Go(func() {
			if info, err := c.Run(testContext(t), Task{ID: fmt.Sprint("t", i)}); err != nil || info.ID != fmt.Sprint("t", i) {
				t.Errorf("task %d: %v, %v", i, info, err)
			}
		})
	}
	wg.Wait()
}

func TestBrokenStreamIsRepeatedElsewhereWithTheSameIDs(t *testing.T) {
	first := startFake(t, func(n *fakeNode, st *fakeStream, c *api.Call) *api.Reply {
		if c.GetSubmit() != nil {
			return nil // never answers
		}
		return usual(n, st, c)
	})
	second := startFake(t, usual)
	c := dialFake(t, Options{}, first, second)
	const calls = 20
	var wg sync.WaitGroup
	for range calls {
		wg.Go(func() {
			if _, err := c.Run(testContext(t), Task{Source: "1"}); err != nil {
				t.Error(err)
			}
		})
	}
	eventually(t, "the first node has the calls", func() bool { return len(first.calls()) == calls })
	first.stop()
	wg.Wait()
	ids := func(n *fakeNode) (out []string) {
		for _, x := range n.calls() {
			out = append(out, x.GetSubmit().Id)
		}
		return out
	}
	a, b := ids(first), ids(second)
	if !slices.Equal(a, b) {
		t.Errorf("repeated as %v, were %v", b, a)
	}
}

func TestNodesAreLearnedAndUsedForFailover(t *testing.T) {
	second := startFake(t, usual)
	first := startFake(t, func(n *fakeNode, st *fakeStream, c *api.Call) *api.Reply {
		if c.GetStatus() != nil {
			return &api.Reply{Result: &api.Reply_Status{Status: &api.Status{Nodes: []*api.NodeInfo{{Id: "a", Api: n.addr}, {Id: "b", Api: second.addr}}}}}
		}
		return usual(n, st, c)
	})
	c := dialFake(t, Options{}, first)
	eventually(t, "the second address is known", func() bool {
		c.conn.mu.Lock()
		defer c.conn.mu.Unlock()
		return slices.Contains(c.conn.addrs, second.addr)
	})
	first.stop()
	if _, err := c.Run(testContext(t), Task{}); err != nil {
		t.Fatal(err)
	}
	if len(second.calls()) != 1 {
		t.Error("the call did not reach the node that was learned")
	}
}

// All nodes that a client knew may be replaced while it is connected: it hears of the
// new ones in time, and forgets the old.
func TestNodesAreLearnedWhileConnected(t *testing.T) {
	third := startFake(t, usual)
	var members atomic.Pointer[[]*api.NodeInfo]
	members.Store(&[]*api.NodeInfo{{Id: "b", Api: "127.0.0.1:1"}})
	first := startFake(t, func(n *fakeNode, st *fakeStream, c *api.Call) *api.Reply {
		if c.GetStatus() != nil {
			return &api.Reply{Result: &api.Reply_Status{Status: &api.Status{Leader: "b", Nodes: *members.Load()}}}
		}
		return usual(n, st, c)
	})
	c := dialFake(t, Options{}, first)
	knows := func(want ...string) func() bool {
		return func() bool {
			c.conn.mu.Lock()
			defer c.conn.mu.Unlock()
			return slices.Equal(c.conn.addrs, want)
		}
	}
	eventually(t, "the first members are known", knows(first.addr, "127.0.0.1:1"))
	members.Store(&[]*api.NodeInfo{{Id: "c", Api: third.addr}})
	eventually(t, "the new member is known, the old forgotten", knows(first.addr, third.addr))
	first.stop()
	if _, err := c.Run(testContext(t), Task{}); err != nil {
		t.Fatal(err)
	}
}

func TestMovesToTheLeaderOnce(t *testing.T) {
	var leader, other *fakeNode
	answer := func(n *fakeNode, st *fakeStream, c *api.Call) *api.Reply {
		if c.GetStatus() != nil {
			return &api.Reply{Result: &api.Reply_Status{Status: &api.Status{Leader: "l", Term: 3,
				Nodes: []*api.NodeInfo{{Id: "o", Api: other.addr}, {Id: "l", Api: leader.addr}}}}}
		}
		return usual(n, st, c)
	}
	ready := make(chan struct{})
	guarded := func(n *fakeNode, st *fakeStream, c *api.Call) *api.Reply { <-ready; return answer(n, st, c) }
	leader, other = startFake(t, guarded), startFake(t, guarded)
	close(ready)
	c := dialFake(t, Options{}, other)
	eventually(t, "a call reaches the leader", func() bool {
		if _, err := c.Run(testContext(t), Task{}); err != nil {
			t.Fatal(err)
		}
		return len(leader.calls()) > 0
	})
	leader.stop()
	if _, err := c.Run(testContext(t), Task{}); err != nil {
		t.Fatal("after the leader is gone, in the same term: ", err)
	}
}

// Nodes that each take the other for the leader must not make the client run
// between them.
func TestMovesAtMostOnceATerm(t *testing.T) {
	var nodes [2]*fakeNode
	ready := make(chan struct{})
	for i := range nodes {
		nodes[i] = startFake(t, func(n *fakeNode, st *fakeStream, c *api.Call) *api.Reply {
			<-ready
			if c.GetStatus() != nil {
				return &api.Reply{Result: &api.Reply_Status{Status: &api.Status{Leader: "l", Term: 3, Nodes: []*api.NodeInfo{{Id: "l", Api: nodes[1-i].addr}}}}}
			}
			return usual(n, st, c)
		})
	}
	close(ready)
	c := dialFake(t, Options{}, nodes[0])
	eventually(t, "it moved", func() bool {
		c.conn.mu.Lock()
		defer c.conn.mu.Unlock()
		return c.conn.up != nil && c.conn.up.addr == nodes[1].addr
	})
	for range 50 { // time enough for more moves
		if _, err := c.Run(testContext(t), Task{}); err != nil {
			t.Fatal(err)
		}
	}
	streams := 0
	for _, n := range nodes {
		n.mu.Lock()
		streams += n.streams
		n.mu.Unlock()
	}
	if streams != 2 {
		t.Errorf("%d streams", streams)
	}
}

func TestNoLeaderIsRetried(t *testing.T) {
	var tries atomic.Int32
	n := startFake(t, func(n *fakeNode, st *fakeStream, c *api.Call) *api.Reply {
		if c.GetSubmit() != nil && tries.Add(1) < 4 {
			return failure(api.Code_UNAVAILABLE, "there is no leader")
		}
		return usual(n, st, c)
	})
	c := dialFake(t, Options{}, n)
	if _, err := c.Run(testContext(t), Task{}); err != nil {
		t.Fatal(err)
	}
	if got := tries.Load(); got != 4 {
		t.Errorf("%d tries", got)
	}
}

func TestNoLeaderForTooLong(t *testing.T) {
	n := startFake(t, func(n *fakeNode, st *fakeStream, c *api.Call) *api.Reply {
		if c.GetStatus() == nil {
			return failure(api.Code_UNAVAILABLE, "there is no leader")
		}
		return usual(n, st, c)
	})
	c := dialFake(t, Options{Timeout: 400 * time.Millisecond}, n)
	for name, call := range map[string]func() error{
		"short": func() error { _, err := c.Submit(testContext(t), Task{}); return err },
		"long":  func() error { _, err := c.Run(testContext(t), Task{}); return err },
	} {
		err := call()
		if !errors.Is(err, ErrUnavailable) || !strings.Contains(err.Error(), "there is no leader") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAnotherNodeIsTriedWhenOneFindsNoLeader(t *testing.T) {
	cut := startFake(t, func(n *fakeNode, st *fakeStream, c *api.Call) *api.Reply {
		if c.GetStatus() == nil {
			return failure(api.Code_UNAVAILABLE, "there is no leader")
		}
		return usual(n, st, c)
	})
	well := startFake(t, usual)
	c := dialFake(t, Options{}, cut, well)
	if _, err := c.Run(testContext(t), Task{}); err != nil {
		t.Fatal(err)
	}
}

func TestALongTaskOutlivesTheTimeout(t *testing.T) {
	n := startFake(t, func(n *fakeNode, st *fakeStream, c *api.Call) *api.Reply {
		if s := c.GetSubmit(); s != nil {
			time.AfterFunc(time.Second, func() {
				r := done(s.Id)
				r.Seq = c.Seq
				st.send(r)
			})
			return nil
		}
		return usual(n, st, c)
	})
	c := dialFake(t, Options{Timeout: 200 * time.Millisecond}, n)
	if _, err := c.Run(testContext(t), Task{}); err != nil {
		t.Fatal(err)
	}
}

func TestNobodyThere(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	l.Close()
	_, err = Options{Timeout: 150 * time.Millisecond}.Dial(testContext(t), addr)
	if !errors.Is(err, ErrUnavailable) {
		t.Errorf("Dial: %v", err)
	}
	n := startFake(t, usual)
	c := dialFake(t, Options{Timeout: 150 * time.Millisecond}, n)
	n.stop()
	for name, call := range map[string]func() error{
		"short": func() error { _, err := c.Get(testContext(t), "x"); return err },
		"long":  func() error { _, err := c.Run(testContext(t), Task{}); return err },
	} {
		if err := call(); !errors.Is(err, ErrUnavailable) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestContextEndsACall(t *testing.T) {
	n := startFake(t, func(n *fakeNode, st *fakeStream, c *api.Call) *api.Reply {
		if c.GetStatus() != nil {
			return usual(n, st, c)
		}
		return nil
	})
	c := dialFake(t, Options{}, n)
	ctx, cancel := context.WithCancel(testContext(t))
	ended := make(chan error)
	go func() { _, err := c.Run(ctx, Task{}); ended <- err }()
	eventually(t, "the call is at the node", func() bool { return len(n.calls()) == 1 })
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) || errors.Is(err, ErrTimeout) {
		t.Errorf("cancelled: %v", err)
	}
	ctx, cancel = context.WithTimeout(testContext(t), 20*time.Millisecond)
	defer cancel()
	if _, err := c.Wait(ctx, "x"); !errors.Is(err, ErrTimeout) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("deadline: %v", err)
	}
	// A node need not hold the wait for longer than anybody waits.
	eventually(t, "the wait is at the node", func() bool { return len(n.calls()) == 2 })
	if held := n.calls()[1].GetWait().GetTimeout(); held <= 0 || held > int64(20*time.Millisecond) {
		t.Errorf("held for %v", time.Duration(held))
	}
	c.conn.mu.Lock()
	defer c.conn.mu.Unlock()
	if n := len(c.conn.pending); n != 0 {
		t.Errorf("%d calls pending", n)
	}
}

func TestCloseEndsCalls(t *testing.T) {
	n := startFake(t, func(n *fakeNode, st *fakeStream, c *api.Call) *api.Reply { return nil })
	c := dialFake(t, Options{}, n)
	ended := make(chan error)
	go func() { _, err := c.Run(testContext(t), Task{}); ended <- err }()
	eventually(t, "the call is at the node", func() bool { return len(n.calls()) == 1 })
	c.Close()
	if err := <-ended; !errors.Is(err, ErrClosed) {
		t.Errorf("pending: %v", err)
	}
	if _, err := c.Get(testContext(t), "x"); !errors.Is(err, ErrClosed) {
		t.Errorf("later: %v", err)
	}
}

func TestErrorsOfReplies(t *testing.T) {
	codes := map[string]api.Code{"a": api.Code_INVALID, "b": api.Code_NOT_FOUND, "c": api.Code_CONFLICT, "d": api.Code_LIMIT}
	n := startFake(t, func(n *fakeNode, st *fakeStream, c *api.Call) *api.Reply {
		if g := c.GetGetTask(); g != nil {
			return failure(codes[g.Id], "because")
		}
		return usual(n, st, c)
	})
	c := dialFake(t, Options{}, n)
	for id, want := range map[string]error{"a": ErrInvalid, "b": ErrNotFound, "c": ErrConflict, "d": ErrLimit} {
		if _, err := c.Get(testContext(t), id); !errors.Is(err, want) || !strings.Contains(err.Error(), "because") {
			t.Errorf("%s: %v", id, err)
		}
	}
}

func TestTooLargeIsRefusedHere(t *testing.T) {
	n := startFake(t, usual)
	c := dialFake(t, Options{}, n)
	if _, err := c.Run(testContext(t), Task{Source: strings.Repeat("x", MaxCall)}); !errors.Is(err, ErrLimit) {
		t.Errorf("%v", err)
	}
	if len(n.calls()) != 0 {
		t.Error("it was sent")
	}
	if _, err := c.Run(testContext(t), Task{Source: strings.Repeat("x", MaxCall-1000)}); err != nil {
		t.Errorf("just under the limit: %v", err)
	}
}

func TestTaskErrors(t *testing.T) {
	n := startFake(t, func(n *fakeNode, st *fakeStream, c *api.Call) *api.Reply {
		if s := c.GetSubmit(); s != nil {
			x := &api.Task{Id: s.Id, State: "failed", Stdout: []byte("hi"), Error: &api.TaskError{Kind: "panic", Message: "boom", Stack: []string{"1:2"}}}
			if s.Id == "c" {
				x = &api.Task{Id: s.Id, State: "cancelled"}
			}
			return &api.Reply{Result: &api.Reply_Task{Task: x}}
		}
		return usual(n, st, c)
	})
	c := dialFake(t, Options{}, n)
	info, err := c.Run(testContext(t), Task{ID: "p"})
	var te *TaskError
	if !errors.As(err, &te) || te.Kind != "panic" || te.Message != "boom" || te.Task != "p" || errors.Is(err, ErrCancelled) {
		t.Errorf("panic: %v", err)
	}
	if info == nil || info.Stdout != "hi" {
		t.Errorf("info: %+v", info)
	}
	if _, err := c.Run(testContext(t), Task{ID: "c"}); !errors.Is(err, ErrCancelled) {
		t.Errorf("cancelled: %v", err)
	}
}

func TestNamespaceCalls(t *testing.T) {
	values := map[string]string{}
	n := startFake(t, func(n *fakeNode, st *fakeStream, c *api.Call) *api.Reply {
		switch op := c.Op.(type) {
		case *api.Call_Set:
			values[op.Set.Key] = string(op.Set.Json)
			return &api.Reply{Result: &api.Reply_Task{Task: &api.Task{Id: op.Set.Id, State: "queued"}}} // wait for it
		case *api.Call_Get:
			v, ok := values[op.Get.Key]
			if !ok {
				return failure(api.Code_NOT_FOUND, "no variable")
			}
			r := &api.Reply{Result: &api.Reply_Variable{Variable: &api.Variable{Json: []byte(v), Type: "T", Version: 7}}}
			if c.Stale {
				r.Age = int64(time.Second)
			}
			return r
		case *api.Call_ListNamespaces:
			var list []*api.Namespace
			for _, name := range []string{"a", "b", "c", "d", "e"} {
				if name >= op.ListNamespaces.From && len(list) < 2 {
					list = append(list, &api.Namespace{Name: name})
				}
			}
			return &api.Reply{Result: &api.Reply_Namespaces{Namespaces: &api.NamespaceList{Namespaces: list, More: list[len(list)-1].Name != "e"}}}
		}
		return usual(n, st, c)
	})
	c := dialFake(t, Options{}, n)
	ctx := testContext(t)
	ns := c.Namespace("x")
	type point struct{ X, Y int }
	if err := ns.Set(ctx, "p", point{1, 2}); err != nil {
		t.Fatal(err)
	}
	var p point
	if err := ns.Get(ctx, "p", &p); err != nil || p != (point{1, 2}) {
		t.Errorf("%v, %v", p, err)
	}
	if v, err := ns.Stale().Variable(ctx, "p"); err != nil || v.Age != time.Second || v.Version != 7 {
		t.Errorf("stale: %+v, %v", v, err)
	}
	if err := ns.Get(ctx, "q", &p); !errors.Is(err, ErrNotFound) {
		t.Errorf("missing: %v", err)
	}
	if err := ns.Set(ctx, "f", func() {}); !errors.Is(err, ErrInvalid) {
		t.Errorf("a func: %v", err)
	}
	if _, err := c.Namespace("").Exec(ctx, "1"); !errors.Is(err, ErrInvalid) {
		t.Errorf("no name: %v", err)
	}
	list, err := c.Namespaces(ctx, "")
	if err != nil || len(list) != 5 || list[4].Name != "e" {
		t.Errorf("list: %v, %v", list, err)
	}
}

func TestWatchGoesOnAtAnotherNode(t *testing.T) {
	out := func(s string) *api.Event {
		return &api.Event{Event: &api.Event_Output{Output: &api.Output{Attempt: 1, Data: []byte(s)}}}
	}
	state := func(s string) *api.Event { return &api.Event{Event: &api.Event_State{State: s}} }
	first := startFake(t, usual)
	first.watch = func(q *api.WatchRequest, g api.Farm_WatchServer) error {
		g.Send(state("running"))
		g.Send(out("one\n"))
		g.Send(out("two\n"))
		return status.Error(codes.Unavailable, "the node is stopping")
	}
	again := make(chan struct{})
	var once sync.Once
	first2 := first.watch
	first.watch = func(q *api.WatchRequest, g api.Farm_WatchServer) error {
		err := errors.New("called twice")
		once.Do(func() { err = first2(q, g); close(again) })
		select {
		case <-again:
		default:
		}
		if err.Error() == "called twice" {
			g.Send(state("running"))
			g.Send(out("one\n"))
			g.Send(out("two\nthree\n"))
			g.Send(&api.Event{Event: &api.Event_Task{Task: &api.Task{Id: q.Id, State: "succeeded", Stdout: []byte("one\ntwo\nthree\n")}}})
			return nil
		}
		return err
	}
	c := dialFake(t, Options{}, first)
	var got []string
	for e, err := range c.Watch(testContext(t), "t") {
		switch {
		case err != nil:
			t.Fatal(err)
		case e.Output != nil:
			got = append(got, string(e.Output.Data))
		case e.Task != nil:
			got = append(got, string(e.Task.State))
		default:
			got = append(got, string(e.State))
		}
	}
	if want := []string{"running", "one\n", "two\n", "three\n", "succeeded"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestWatchOfNothing(t *testing.T) {
	n := startFake(t, usual)
	n.watch = func(*api.WatchRequest, api.Farm_WatchServer) error { return status.Error(codes.NotFound, "no task") }
	c := dialFake(t, Options{}, n)
	for _, err := range c.Watch(testContext(t), "t") {
		if !errors.Is(err, ErrNotFound) {
			t.Errorf("%v", err)
		}
	}
}

// mapNode squares inputs, keeping each chunk for a moment in reverse order.
func mapNode(t *testing.T, failAt int) (*fakeNode, *sync.Map) {
	var calls sync.Map
	n := startFake(t, func(n *fakeNode, st *fakeStream, c *api.Call) *api.Reply {
		switch op := c.Op.(type) {
		case *api.Call_Status:
			return &api.Reply{Result: &api.Reply_Status{Status: &api.Status{Workers: []*api.WorkerInfo{{Id: "w", Slots: 4}}}}}
		case *api.Call_OpenJob:
			calls.Store("open", op.OpenJob)
			return &api.Reply{Result: &api.Reply_Job{Job: &api.Job{Id: op.OpenJob.Id, State: "open"}}}
		case *api.Call_SealJob:
			calls.Store("seal", op.SealJob)
			return &api.Reply{Result: &api.Reply_Job{Job: &api.Job{Id: op.SealJob.Id, State: "succeeded"}}}
		case *api.Call_CancelJob:
			calls.Store("cancel", op.CancelJob)
			return &api.Reply{Result: &api.Reply_Job{Job: &api.Job{Id: op.CancelJob.Id, State: "cancelled"}}}
		case *api.Call_Submit:
			calls.Store("max", max(load[int](&calls, "max"), len(op.Submit.Work.Inputs)))
			calls.Store("tasks", load[int](&calls, "tasks")+1)
			calls.Store(op.Submit.Id, op.Submit)
			if !op.Submit.Wait {
				return &api.Reply{Result: &api.Reply_Task{Task: &api.Task{Id: op.Submit.Id, State: "queued"}}}
			}
			r := &api.Reply{Seq: c.Seq, Result: &api.Reply_Task{Task: squares(op.Submit, failAt)}}
			time.AfterFunc(time.Duration(op.Submit.Work.First%3)*time.Millisecond, func() { st.send(r) })
			return nil
		case *api.Call_Wait:
			s := load[*api.Submit](&calls, op.Wait.Id)
			if int(s.Work.First)%5 == 0 && load[int](&calls, "late "+s.Id) == 0 {
				calls.Store("late "+s.Id, 1)
				return failure(api.Code_TIMEOUT, "not yet")
			}
			return &api.Reply{Result: &api.Reply_Task{Task: squares(s, failAt)}}
		case *api.Call_GetTask:
			s := load[*api.Submit](&calls, op.GetTask.Id)
			x := squares(s, failAt)
			x.Inputs, x.First = s.Work.Inputs, s.Work.First
			return &api.Reply{Result: &api.Reply_Task{Task: x}}
		case *api.Call_GetJob:
			return &api.Reply{Result: &api.Reply_Job{Job: &api.Job{Id: op.GetJob.Id, State: "open"}}}
		}
		return usual(n, st, c)
	})
	return n, &calls
}

// squares is the task that squares its inputs, but fails with one of them.
func squares(s *api.Submit, failAt int) *api.Task {
	x := &api.Task{Id: s.Id, Job: s.Job, State: "succeeded"}
	for i, in := range s.Work.Inputs {
		var v int
		_ = json.Unmarshal(in, &v)
		if int(s.Work.First)+i != failAt {
			x.Results = append(x.Results, []byte(fmt.Sprint(v*v)))
			continue
		}
		x.State, x.Error = "failed", &api.TaskError{Kind: "call", Message: "input 700: no"}
		x.Failed = append(x.Failed, &api.InputError{Index: uint32(i), Error: &api.TaskError{Kind: "call", Message: "no"}})
		x.Results = append(x.Results, nil)
	}
	return x
}

func load[T any](m *sync.Map, key string) T {
	v, _ := m.Load(key)
	x, _ := v.(T)
	return x
}

func numbers(n int) []int {
	out := make([]int, n)
	for i := range out {
		out[i] = i
	}
	return out
}

func TestMapResultsInOrder(t *testing.T) {
	for _, chunk := range []int{0, 1, 7, MaxChunk} {
		n, calls := mapNode(t, -1)
		c := dialFake(t, Options{}, n)
		run := c.Map(Map{Source: "s", Call: "f", Chunk: chunk}, Values(numbers(2000)))
		i := 0
		for j, err := range run.Results(testContext(t)) {
			if err != nil {
				t.Fatal(err)
			}
			if string(j) != fmt.Sprint(i*i) {
				t.Fatalf("chunk %d: result %d is %s", chunk, i, j)
			}
			i++
		}
		sub, done := run.Progress()
		if i != 2000 || sub != 2000 || done != 2000 {
			t.Errorf("chunk %d: %d results, %d submitted, %d done", chunk, i, sub, done)
		}
		if s := load[*api.SealJob](calls, "seal"); s == nil || int(s.Total) != load[int](calls, "tasks") {
			t.Errorf("chunk %d: sealed as %v of %d tasks", chunk, s, load[int](calls, "tasks"))
		}
		if got := load[int](calls, "max"); chunk > 0 && got != chunk || got > MaxChunk {
			t.Errorf("chunk %d: tasks of up to %d inputs", chunk, got)
		}
	}
}

// A fold begins from what the program says, unless it is to go on.
func TestMapBeginsItsFold(t *testing.T) {
	for _, goOn := range []bool{false, true} {
		n, calls := mapNode(t, -1)
		c := dialFake(t, Options{}, n)
		run := c.Map(Map{ID: "j", Source: "var total int", Call: "f", FoldNamespace: "ns", FoldCall: "g", Continue: goOn}, Values(numbers(3)))
		for _, err := range run.Results(testContext(t)) {
			if err != nil {
				t.Fatal(err)
			}
		}
		if s := load[*api.OpenJob](calls, "open").Spec; s.FoldNamespace != "ns" || s.FoldCall != "g" || s.Call != "f" {
			t.Errorf("opened %v", s)
		}
		first := n.calls()[0].GetSubmit()
		if began := first != nil && first.Namespace == "ns" && first.Id == "j.begin" && first.Work.Source == "var total int" && first.Job == ""; began == goOn {
			t.Errorf("continue %v: first call %v", goOn, n.calls()[0])
		}
	}
}

// An input that fails is told with what it is, in its place; whoever stops there
// cancels the job, and whoever goes on gets all the others.
func TestMapWithAFailure(t *testing.T) {
	for _, stop := range []bool{true, false} {
		n, calls := mapNode(t, 700)
		c := dialFake(t, Options{}, n)
		count, failed := 0, 0
		for _, err := range c.Map(Map{Call: "f", Chunk: 10}, Values(numbers(2000))).Results(testContext(t)) {
			var te *TaskError
			var ie *InputError
			switch {
			case err == nil:
				count++
			case errors.As(err, &te) && errors.As(err, &ie) && te.Kind == "call" && te.Message == "no" && ie.Position == 700 && string(ie.Input) == "700" && count == 700:
				failed++
			default:
				t.Fatalf("%d results, then %v", count, err)
			}
			if failed > 0 && stop {
				break
			}
		}
		cancelled := load[*api.CancelJob](calls, "cancel") != nil
		if failed != 1 || cancelled != stop || !stop && count != 1999 {
			t.Errorf("stop %v: %d results, %d failures, cancelled %v", stop, count, failed, cancelled)
		}
	}
}

func TestMapGivenUp(t *testing.T) {
	n, calls := mapNode(t, -1)
	c := dialFake(t, Options{}, n)
	ctx, cancel := context.WithCancel(testContext(t))
	defer cancel()
	count := 0
	var last error
	for _, err := range c.Map(Map{Call: "f"}, Values(numbers(100_000))).Results(ctx) {
		if last = err; err == nil {
			if count++; count == 10 {
				cancel()
			}
		}
	}
	if !errors.Is(last, context.Canceled) {
		t.Errorf("context: %v", last)
	}
	if load[*api.CancelJob](calls, "cancel") == nil {
		t.Error("context: the job was not cancelled")
	}
	calls.Delete("cancel")
	for range c.Map(Map{Call: "f"}, Values(numbers(100_000))).Results(testContext(t)) {
		break
	}
	if load[*api.CancelJob](calls, "cancel") == nil {
		t.Error("break: the job was not cancelled")
	}
}

func TestMapTakesFewInputsAhead(t *testing.T) {
	n, _ := mapNode(t, -1)
	c := dialFake(t, Options{}, n)
	const size = 200 << 10 // bytes of an input
	input := json.RawMessage("1" + strings.Repeat(" ", size-1))
	taken := 0
	inputs := func(yield func(json.RawMessage, error) bool) {
		for ; taken < 1_000_000; taken++ {
			if !yield(input, nil) {
				return
			}
		}
	}
	next := 0
	for range c.Map(Map{Call: "f", Chunk: 1}, inputs).Results(testContext(t)) {
		if next++; next == 200 {
			break
		}
	}
	if limit := next + maxAheadBytes/size + 2*MaxChunk; taken > limit {
		t.Errorf("%d inputs taken for %d results", taken, next)
	}
}

func TestMapRefusesInputThatIsNotJSON(t *testing.T) {
	n, _ := mapNode(t, -1)
	c := dialFake(t, Options{}, n)
	for _, want := range []error{ErrInvalid, io.ErrUnexpectedEOF} {
		inputs := func(yield func(json.RawMessage, error) bool) {
			if !yield(json.RawMessage("1"), nil) {
				return
			}
			if errors.Is(want, ErrInvalid) {
				yield(json.RawMessage("{"), nil)
				return
			}
			yield(nil, want)
		}
		var last error
		for _, err := range c.Map(Map{Call: "f"}, inputs).Results(testContext(t)) {
			last = err
		}
		if !errors.Is(last, want) {
			t.Errorf("%v, want %v", last, want)
		}
	}
}

// A slow source of inputs must not hold results back, even when chunks have
// become large.
func TestMapOfASlowSource(t *testing.T) {
	n, calls := mapNode(t, -1)
	c := dialFake(t, Options{}, n)
	const fast, slow = 5000, 3
	got := make(chan struct{}, fast+slow)
	taken := 0
	inputs := func(yield func(json.RawMessage, error) bool) {
		for i := range fast + slow {
			for i >= fast && taken < i { // this input comes after the results of all before it
				<-got
				taken++
			}
			if !yield(json.RawMessage("2"), nil) {
				return
			}
		}
	}
	count := 0
	for _, err := range c.Map(Map{Call: "f"}, inputs).Results(testContext(t)) {
		if err != nil {
			t.Fatal(err)
		}
		count++
		got <- struct{}{}
	}
	if count != fast+slow || load[int](calls, "max") == 1 {
		t.Errorf("%d results, chunks of at most %d", count, load[int](calls, "max"))
	}
}

func BenchmarkRun(b *testing.B) {
	for _, flight := range []int{1, 16, 256, 4096} {
		b.Run(fmt.Sprint(flight), func(b *testing.B) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				b.Fatal(err)
			}
			n := &fakeNode{answer: usual, server: newServer()}
			api.RegisterFarmServer(n.server, quietNode{n})
			go n.server.Serve(l)
			defer n.stop()
			c, err := Dial(context.Background(), l.Addr().String())
			if err != nil {
				b.Fatal(err)
			}
			defer c.Close()
			room := make(chan struct{}, flight)
			for b.Loop() {
				room <- struct{}{}
				c.RunAsync(context.Background(), Task{Source: "1"}, func(*Info, error) { <-room })
			}
			for range flight {
				room <- struct{}{}
			}
		})
	}
}

// A client keeps to the farm it began with: it says which with each stream, so that
// another farm at a reused address refuses it.
func TestTheClusterIsNamed(t *testing.T) {
	answer := func(n *fakeNode, st *fakeStream, c *api.Call) *api.Reply {
		if c.GetStatus() != nil {
			return &api.Reply{Result: &api.Reply_Status{Status: &api.Status{Cluster: "c-1"}}}
		}
		return usual(n, st, c)
	}
	first := startFake(t, answer)
	c := dialFake(t, Options{}, first)
	eventually(t, "the cluster is known", func() bool {
		c.conn.mu.Lock()
		defer c.conn.mu.Unlock()
		return c.conn.cluster == "c-1"
	})
	if named := first.named(); len(named) != 1 || named[0] != "" {
		t.Errorf("the first stream named %q", named)
	}
	first.stop()
	again := startFakeAt(t, first.addr, answer)
	if _, err := c.Run(testContext(t), Task{}); err != nil {
		t.Fatal(err)
	}
	if named := again.named(); len(named) == 0 || named[0] != "c-1" {
		t.Errorf("a later stream named %q", named)
	}
}

// A node that takes calls and answers none of them is left for another one, although
// it still says who the members are.
func TestSilentNodeIsLeft(t *testing.T) {
	t.Parallel()
	other := startFake(t, usual)
	silent := startFake(t, func(n *fakeNode, st *fakeStream, c *api.Call) *api.Reply {
		if c.GetStatus() != nil {
			return &api.Reply{Result: &api.Reply_Status{Status: &api.Status{Leader: "x", Nodes: []*api.NodeInfo{{Id: "b", Api: other.addr}}}}}
		}
		return nil
	})
	c := dialFake(t, Options{}, silent, other)
	begun := time.Now()
	if _, err := c.Submit(testContext(t), Task{}); err != nil {
		t.Fatal(err)
	}
	if len(silent.calls()) != 1 || time.Since(begun) < stallTimeout {
		t.Errorf("the silent node had %d calls, after %v", len(silent.calls()), time.Since(begun))
	}
}

// A node that does not even say who the members are is left, though only long calls
// wait for it.
func TestMuteNodeIsLeft(t *testing.T) {
	t.Parallel()
	other := startFake(t, usual)
	mute := startFake(t, func(*fakeNode, *fakeStream, *api.Call) *api.Reply { return nil })
	c := dialFake(t, Options{}, mute, other)
	if _, err := c.Run(testContext(t), Task{}); err != nil {
		t.Fatal(err)
	}
	if len(mute.calls()) != 1 {
		t.Errorf("the mute node had %d calls", len(mute.calls()))
	}
}
