package taskstest

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"farm/api"
	"farm/replica/roster"
	"farm/scheduler"
)

// The times of leases; those of real farms.
const (
	leaseTime = 3 * time.Second
	graceTime = time.Second
	beatTime  = 500 * time.Millisecond
	tickTime  = 5 * time.Millisecond
)

// nodeID is the name of the only node.
const nodeID = "memory"

// node is what a farm's node does for clients and workers, without a log: every
// command is applied at once. All fields below mu are guarded by it.
type node struct {
	api.UnimplementedFarmServer
	api.UnimplementedWorkersServer
	addr   string
	ctx    context.Context
	cancel context.CancelFunc

	mu       sync.Mutex
	state    *scheduler.State
	roster   *roster.Roster
	offset   time.Duration // of the clock to the real one
	waits    map[string][]*wait
	live     map[string]*liveTask
	attached map[string][]chan struct{} // who waits for a worker
}

// wait is somebody who waits for the end of a task, or of a job.
type wait struct {
	then  func()
	timer *time.Timer
}

// liveTask is what was heard of a task that is not finished, and who watches it.
type liveTask struct {
	outputs  []*api.Output
	progress *api.Progress
	watchers []*outlet[*api.Event]
}

func newNode(addr string) *node {
	state, err := scheduler.Load(records{})
	if err != nil {
		panic("taskstest: an empty state: " + err.Error())
	}
	n := &node{addr: addr, state: state, roster: roster.New(roster.Times{Lease: leaseTime, Grace: graceTime, Beat: beatTime}),
		waits: map[string][]*wait{}, live: map[string]*liveTask{}, attached: map[string][]chan struct{}{}}
	n.ctx, n.cancel = context.WithCancel(context.Background())
	n.roster.Lead(true, time.Now())
	n.step(&scheduler.Found{Cluster: "memory", Form: scheduler.FormNewest})
	return n
}

func (n *node) close() { n.cancel() }

func (n *node) now() int64 {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.clock()
}

func (n *node) clock() int64 { return time.Now().Add(n.offset).UnixNano() }

// advance moves the clock on. It stops at each time of a schedule on the way, so that no
// schedule misses one.
func (n *node) advance(d time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	end := n.clock() + int64(d)
	for at := n.state.NextSchedule(); at != 0 && at <= end; at = n.state.NextSchedule() {
		n.move(at)
	}
	n.move(end)
}

// move moves the clock on to a time, and does what is due by then.
func (n *node) move(to int64) {
	n.offset += time.Duration(max(to-n.clock(), 0))
	n.fire()
	n.step(&scheduler.Tick{})
}

// tick moves the state's clock when it has something to do, and gives up workers
// that are silent.
func (n *node) tick() {
	t := time.NewTicker(tickTime)
	defer t.Stop()
	for {
		select {
		case <-n.ctx.Done():
			return
		case <-t.C:
		}
		n.mu.Lock()
		n.fire()
		if at := n.state.NextDeadline(); at != 0 && at <= n.clock() {
			n.step(&scheduler.Tick{})
		}
		for _, c := range n.roster.Silent(n.state, time.Now()) {
			n.step(c)
			n.roster.GivenUp(c, nil)
		}
		n.mu.Unlock()
	}
}

// step applies a command and does what follows. The lock is held.
func (n *node) step(c scheduler.Command) scheduler.Result {
	n.state.Advance(n.clock())
	r := n.state.Step(c)
	effects := slices.Clone(n.state.Effects())
	n.roster.Act(n.state, effects)
	n.state.Settle()
	for _, e := range effects {
		switch e.Kind {
		case scheduler.Ended:
			n.ended(e.Task.ID)
		case scheduler.JobEnded:
			n.ended(jobKey(e.Job.ID))
		}
	}
	return r
}

func jobKey(id string) string { return "/" + id }

// ended calls those who wait for a task or job.
func (n *node) ended(key string) {
	list := n.waits[key]
	delete(n.waits, key)
	for _, w := range list {
		if w.timer != nil {
			w.timer.Stop()
		}
		w.then()
	}
	delete(n.live, key)
}

// await calls then, under the lock, when a task or job ends; with a timeout it may
// be that late is called instead. The lock is held.
func (n *node) await(key string, timeout time.Duration, then, late func()) {
	w := &wait{then: then}
	n.waits[key] = append(n.waits[key], w)
	if timeout > 0 {
		w.timer = time.AfterFunc(timeout, func() {
			n.mu.Lock()
			defer n.mu.Unlock()
			if i := slices.Index(n.waits[key], w); i >= 0 {
				n.waits[key] = slices.Delete(n.waits[key], i, i+1)
				late()
			}
		})
	}
}

func failure(code api.Code, format string, args ...any) *api.Reply {
	return &api.Reply{Error: &api.Error{Code: code, Message: fmt.Sprintf(format, args...)}}
}

// attachedSoon is closed when a worker is attached.
func (n *node) attachedSoon(worker string) <-chan struct{} {
	n.mu.Lock()
	defer n.mu.Unlock()
	c := make(chan struct{})
	if n.roster.Attached()[worker].Up {
		close(c)
		return c
	}
	n.attached[worker] = append(n.attached[worker], c)
	return c
}
