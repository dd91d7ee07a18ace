package replica

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"farm/api"
	"farm/fsm"
	"farm/internal/crash"
	"farm/replica/consensus"
	"farm/replica/roster"
	"farm/scheduler"
)

// dispatcher is what only the leader does: it sends workers what Step decided,
// gives up workers that are silent, and moves the clock when a delay ends.
type dispatcher struct {
	n        *Node
	leading  atomic.Bool
	deadline atomic.Int64    // unix nanoseconds of the state's next one, 0: none
	schedule atomic.Int64    // when a schedule is to be fired next, 0: none
	firing   atomic.Int32    // schedules that are being fired
	told     map[uint64]bool // revisions of schedules that this build cannot read; of run alone

	mu     sync.Mutex
	roster *roster.Roster
}

func newDispatcher(n *Node) *dispatcher {
	return &dispatcher{n: n, roster: roster.New(roster.Times{Lease: LeaseTime, Grace: Grace, Beat: BeatTime})}
}

// applied is called on the apply path, under the state's lock, for each entry.
func (n *Node) applied(a fsm.Applied) {
	n.stamps.saw(a.State.Clock)
	n.dispatch.deadline.Store(a.State.NextDeadline())
	n.dispatch.schedule.Store(a.State.NextSchedule())
	for i, c := range a.Commands {
		if _, report := c.(*scheduler.Complete); report && a.Results[i].Code == scheduler.Stale {
			n.refused.Add(1)
		}
	}
	if len(a.Effects) == 0 {
		return
	}
	for i := range a.Effects {
		switch e := &a.Effects[i]; e.Kind {
		case scheduler.Ended:
			n.waiters.ended(e.Task.ID, ending{task: e.Task})
			n.hub.ended(e.Task)
		case scheduler.JobEnded:
			n.waiters.ended(jobKey(e.Job.ID), ending{job: e.Job})
		}
	}
	if n.dispatch.leading.Load() {
		n.dispatch.act(a.State, a.Effects)
	}
}

// act sends workers what an entry's effects are to them.
func (d *dispatcher) act(s *scheduler.State, effects []scheduler.Effect) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.roster.Act(s, effects)
}

// lead begins or ends this node's leadership of the workers.
func (d *dispatcher) lead(leader bool) {
	d.n.fsm.View(func(s *scheduler.State) { // no entry is being applied meanwhile
		d.deadline.Store(s.NextDeadline())
		d.schedule.Store(s.NextSchedule())
		d.mu.Lock()
		defer d.mu.Unlock()
		d.roster.Lead(leader, time.Now())
		d.leading.Store(leader)
	})
}

const (
	tickTime   = 50 * time.Millisecond // how late a delayed task may begin
	sweepTicks = 40
)

// run watches the clock and the leases until ctx ends.
func (d *dispatcher) run(ctx context.Context) {
	tick := time.NewTicker(tickTime)
	defer tick.Stop()
	var ticking atomic.Bool
	for n := 1; ; n++ {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if n%sweepTicks == 0 {
			d.n.waiters.sweep(d.n.fsm.View)
		}
		if !d.leading.Load() {
			continue
		}
		if at := d.deadline.Load(); at != 0 && at <= d.n.stamps.now() && !ticking.Swap(true) {
			d.n.propose(&scheduler.Tick{}, func(scheduler.Result, error) { ticking.Store(false) })
		}
		if now := d.n.stamps.now(); d.firing.Load() == 0 && d.scheduleDue(now) {
			d.fire(now)
		}
		for _, c := range d.silent() {
			d.giveUp(c)
		}
	}
}

// silent lists the workers whose lease is over.
func (d *dispatcher) silent() (out []*scheduler.WorkerLost) {
	d.n.fsm.View(func(s *scheduler.State) {
		d.mu.Lock()
		defer d.mu.Unlock()
		out = d.roster.Silent(s, time.Now())
	})
	return out
}

// giveUp proposes that a worker is lost. If that fails the next round proposes
// it again.
func (d *dispatcher) giveUp(c *scheduler.WorkerLost) {
	d.n.log.Warn("worker lost", "worker", c.Worker, "incarnation", c.Incarnation, "cause", c.Cause)
	d.n.propose(c, func(_ scheduler.Result, err error) {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.roster.GivenUp(c, err)
	})
}

// session is one worker's stream. What the leader remembers of it is guarded by
// the dispatcher's mu, out and kick by its own.
type session struct {
	*roster.Session
	d      *dispatcher
	cancel context.CancelCauseFunc

	outMu sync.Mutex
	out   []*api.Instruction
	kick  chan struct{}
}

// Push implements roster.Link.
func (x *session) Push(i *api.Instruction) {
	x.outMu.Lock()
	x.out = append(x.out, i)
	x.outMu.Unlock()
	signal(x.kick)
}

// End implements roster.Link.
func (x *session) End(why error) { x.cancel(why) }

// report handles one message of a worker.
func (x *session) report(m *api.FromWorker) error {
	d := x.d
	d.mu.Lock()
	x.Heard(m, time.Now())
	d.mu.Unlock()
	for _, o := range m.Outputs {
		d.n.hub.output(o)
	}
	for _, p := range m.Progress {
		d.n.hub.progress(p)
	}
	cmds, err := x.Commands(m)
	if err != nil {
		return err
	}
	for _, cmd := range cmds {
		done := func(scheduler.Result, error) {}
		if c, ok := cmd.(*scheduler.Complete); ok {
			done = func(r scheduler.Result, err error) { x.answered(c, r, err) }
			crash.Here("complete.before-propose")
		}
		if err := x.propose(cmd, done); err != nil {
			return err
		}
	}
	return nil
}

// answered tells the worker when its report was refused.
func (x *session) answered(c *scheduler.Complete, r scheduler.Result, err error) {
	if err == nil && r.Code == scheduler.Missing {
		x.d.n.log.Info("parts of a report are not there", "task", c.Task, "attempt", c.Attempt, "worker", x.Worker(), "reason", r.Detail)
		x.d.mu.Lock()
		defer x.d.mu.Unlock()
		x.Lacks(c)
		return
	}
	if err != nil || r.Code != scheduler.Stale {
		return
	}
	x.d.n.log.Info("refused the report of a superseded attempt", "task", c.Task, "attempt", c.Attempt, "worker", x.Worker(), "reason", r.Detail)
	x.d.mu.Lock()
	defer x.d.mu.Unlock()
	x.Refused(c)
}

// propose waits while the log is overloaded: the worker is read no further.
// Other errors end the stream, and the worker reports again on the next.
func (x *session) propose(cmd scheduler.Command, done func(scheduler.Result, error)) error {
	b := encode(cmd)
	for {
		err := x.d.n.raft.ProposeAsync(b, typed(done))
		if !errors.Is(err, consensus.ErrOverloaded) {
			return err
		}
		select {
		case <-x.d.n.ctx.Done():
			return x.d.n.ctx.Err()
		case <-time.After(5 * time.Millisecond):
		}
	}
}
