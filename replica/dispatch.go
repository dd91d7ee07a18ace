package replica

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/protobuf/proto"

	"farm/api"
	"farm/fsm"
	"farm/internal/carry"
	"farm/replica/consensus"
	"farm/scheduler"
)

// dispatcher is what only the leader does: it sends workers what Step decided,
// gives up workers that are silent, and moves the clock when a delay ends.
type dispatcher struct {
	n        *Node
	leading  atomic.Bool
	deadline atomic.Int64 // unix nanoseconds of the state's next one, 0: none

	mu       sync.Mutex
	since    time.Time // when this node began to lead
	sessions map[string]*session
}

// applied is called on the apply path, under the state's lock, for each entry.
func (n *Node) applied(a fsm.Applied) {
	n.dispatch.deadline.Store(a.State.NextDeadline())
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
	for i := range effects {
		e := &effects[i]
		if e.Kind == scheduler.Forgotten {
			for _, x := range d.sessions {
				x.forget(e.Space)
			}
			continue
		}
		x := d.sessions[e.Worker]
		if x == nil || x.incarnation != e.Incarnation {
			continue
		}
		switch e.Kind {
		case scheduler.Assigned:
			if e.Task.State == scheduler.Running && e.Task.Attempt == e.Attempt { // not taken back in the same entry
				x.assign(s, e.Task)
			}
		case scheduler.Settled:
			x.settled(e)
		case scheduler.Voided:
			x.voided(e.Task.ID, e.Attempt, e.Space)
		case scheduler.Stop:
			x.push(&api.Instruction{Do: &api.Instruction_Stop{Stop: &api.AttemptRef{Task: e.Task.ID, Attempt: e.Attempt}}})
		}
	}
}

// lead begins or ends this node's leadership of the workers.
func (d *dispatcher) lead(leader bool) {
	d.n.fsm.View(func(*scheduler.State) { // no entry is being applied meanwhile
		d.mu.Lock()
		defer d.mu.Unlock()
		d.since = time.Now()
		for _, x := range d.sessions {
			x.end(errNotLeader)
		}
		d.sessions = map[string]*session{}
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
		if at := d.deadline.Load(); at != 0 && at <= time.Now().UnixNano() && !ticking.Swap(true) {
			d.n.propose(&scheduler.Tick{}, func(scheduler.Result, error) { ticking.Store(false) })
		}
		for _, c := range d.silent() {
			d.giveUp(c)
		}
	}
}

// silent lists the workers whose lease is over.
func (d *dispatcher) silent() []*scheduler.WorkerLost {
	var out []*scheduler.WorkerLost
	d.n.fsm.View(func(s *scheduler.State) {
		d.mu.Lock()
		defer d.mu.Unlock()
		for _, w := range s.Workers() {
			x := d.sessions[w.ID]
			if x == nil || x.incarnation != w.Incarnation {
				if time.Since(d.since) > LeaseTime {
					out = append(out, &scheduler.WorkerLost{Worker: w.ID, Incarnation: w.Incarnation, Guess: true, Cause: fmt.Sprintf("it did not attach within %v", LeaseTime)})
				}
				continue
			}
			if cause := x.silence(); cause != "" && !x.givenUp {
				x.givenUp = true
				out = append(out, x.lost(cause))
			}
		}
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
		x := d.sessions[c.Worker]
		if x == nil || x.incarnation != c.Incarnation {
			return
		}
		if err != nil {
			x.givenUp = false
			return
		}
		x.end(errGivenUp)
		delete(d.sessions, c.Worker)
	})
}

// session is one worker's stream, and what the leader remembers of it. Its
// fields are guarded by the dispatcher's mu, out and kick by its own.
type session struct {
	d           *dispatcher
	worker      string
	incarnation uint64
	known       map[string]uint64 // namespace → version of the items the worker has
	jobs        map[string]bool   // whose description it was sent
	began       map[string]uint32 // task → attempt it said it had begun
	heard       time.Time
	broken      time.Time // when its stream ended, zero before
	givenUp     bool
	isolation   string // of its children, as it said
	cancel      context.CancelCauseFunc

	outMu sync.Mutex
	out   []*api.Instruction
	kick  chan struct{}
}

var (
	errNotLeader = errors.New("this node does not lead any more")
	errReplaced  = errors.New("the worker attached again")
	errGivenUp   = errors.New("the worker was given up: it was silent for too long")
)

func (x *session) push(i *api.Instruction) {
	x.outMu.Lock()
	x.out = append(x.out, i)
	x.outMu.Unlock()
	signal(x.kick)
}

func (x *session) end(why error) { x.cancel(why) }

// silence says why the worker counts as lost, or nothing.
func (x *session) silence() string {
	switch {
	case !x.broken.IsZero() && time.Since(x.broken) > Grace:
		return "its connection broke"
	case time.Since(x.heard) > LeaseTime:
		return fmt.Sprintf("nothing was heard of it for %v", LeaseTime)
	}
	return ""
}

// lost is the command that gives this worker up, blaming what it had begun.
func (x *session) lost(cause string) *scheduler.WorkerLost {
	c := &scheduler.WorkerLost{Worker: x.worker, Incarnation: x.incarnation, Cause: cause}
	for id := range x.began { // the command is data: its order does not matter to Step
		c.Began = append(c.Began, id)
	}
	return c
}

func (x *session) forget(space string) {
	if _, ok := x.known[space]; ok {
		delete(x.known, space)
		x.push(&api.Instruction{Do: &api.Instruction_Forget{Forget: space}})
	}
}

func (x *session) settled(e *scheduler.Effect) {
	if e.Space != "" {
		x.known[e.Space] = e.Version
	}
	delete(x.began, e.Task.ID)
	x.push(&api.Instruction{Do: &api.Instruction_Settled{Settled: &api.AttemptRef{Task: e.Task.ID, Attempt: e.Attempt}}})
}

// voided tells the worker to drop an attempt; it drops the namespace with it.
func (x *session) voided(task string, attempt uint32, space string) {
	delete(x.known, space)
	delete(x.began, task)
	x.push(&api.Instruction{Do: &api.Instruction_Voided{Voided: &api.AttemptRef{Task: task, Attempt: attempt}}})
}

// assign sends a task with all the worker needs and does not have.
func (x *session) assign(s *scheduler.State, t *scheduler.Task) {
	a := &api.Assign{Task: t.ID, Attempt: t.Attempt, Namespace: t.Namespace, Epoch: t.Epoch, Work: t.Body, Timeout: t.Timeout, Job: t.Job, Order: t.Order}
	if t.Job != "" && !x.jobs[t.Job] {
		x.jobs[t.Job] = true
		a.Spec = jobSpec(s, t.Job)
	}
	if t.FoldOf != "" {
		a.Fold = true
		var o api.Outcome
		if from := s.Task(t.FoldOf); from != nil && proto.Unmarshal(from.Outcome, &o) == nil {
			a.Results = o.Results
		}
	}
	if t.Namespace != "" && s.Head(t.Namespace) == t {
		a.Load = x.load(s, t.Namespace)
	}
	x.push(&api.Instruction{Do: &api.Instruction_Assign{Assign: a}})
}

func jobSpec(s *scheduler.State, id string) *api.JobSpec {
	spec := &api.JobSpec{}
	if j := s.Job(id); j != nil {
		if err := proto.Unmarshal(j.Body, spec); err != nil {
			return &api.JobSpec{}
		}
	}
	return spec
}

// load is what brings the worker's copy of a namespace to the committed
// version, nil when it is there.
func (x *session) load(s *scheduler.State, space string) *api.Load {
	n := s.Namespace(space)
	have, ok := x.known[space]
	if ok && have == n.Version {
		return nil
	}
	x.known[space] = n.Version
	l := &api.Load{Version: n.Version}
	if ok && have < n.Version && have >= n.Cleared && have > 0 {
		l.Since = have
	}
	s.StoredItems(space, l.Since, func(it scheduler.Item, v uint64) {
		l.Items = append(l.Items, &api.Item{Key: it.Key, Value: it.Value, Version: v, Parts: carry.Manifest(it.Parts)})
	})
	return l
}

// resync puts in line what a worker that has just attached should have and has
// not, and withdraws what it has and should not have.
func (x *session) resync(s *scheduler.State, holds []*api.AttemptRef) {
	has := map[string]uint32{}
	for _, h := range holds {
		has[h.Task] = h.Attempt
	}
	for _, t := range s.Assigned(x.worker) {
		if has[t.ID] != t.Attempt {
			x.assign(s, t)
			continue
		}
		delete(has, t.ID)
		x.began[t.ID] = t.Attempt // it may have: blame is settled when it reports
		if t.Namespace != "" && s.Head(t.Namespace) == t {
			x.known[t.Namespace] = s.Namespace(t.Namespace).Version
		}
		if t.Cancelling {
			x.push(&api.Instruction{Do: &api.Instruction_Stop{Stop: &api.AttemptRef{Task: t.ID, Attempt: t.Attempt}}})
		}
	}
	for id, attempt := range has {
		x.voided(id, attempt, "")
	}
}

// maxIsolation is how many bytes a worker may take to say how its children are
// confined; more is ignored.
const maxIsolation = 256

// report handles one message of a worker.
func (x *session) report(m *api.FromWorker) error {
	d := x.d
	d.mu.Lock()
	x.heard = time.Now()
	for _, b := range m.Began {
		x.began[b.Task] = b.Attempt
	}
	for _, ns := range m.Forgot {
		delete(x.known, ns)
	}
	if m.Isolation != "" && len(m.Isolation) <= maxIsolation {
		x.isolation = m.Isolation
	}
	d.mu.Unlock()
	for _, o := range m.Outputs {
		d.n.hub.output(o)
	}
	for _, p := range m.Progress {
		d.n.hub.progress(p)
	}
	for _, c := range m.Completes {
		if err := x.complete(c); err != nil {
			return err
		}
	}
	if m.Draining {
		if err := x.propose(&scheduler.WorkerIdle{Worker: x.worker, Drain: true}, func(scheduler.Result, error) {}); err != nil {
			return err
		}
	}
	if len(m.Returns) == 0 {
		return nil
	}
	r := &scheduler.Return{Worker: x.worker, Incarnation: x.incarnation, Lacking: len(m.Forgot) > 0}
	for _, a := range m.Returns {
		r.Attempts = append(r.Attempts, scheduler.Attempt{Task: a.Task, Number: a.Attempt})
	}
	return x.propose(r, func(scheduler.Result, error) {})
}

func (x *session) complete(c *api.Complete) error {
	outcome, err := proto.Marshal(c.Outcome)
	if err != nil {
		return err
	}
	cmd := &scheduler.Complete{Task: c.Task, Attempt: c.Attempt, Worker: x.worker, Incarnation: x.incarnation, Epoch: c.Epoch, Base: c.Base,
		Status: scheduler.Status(c.Ending), Cause: c.Cause, Outcome: outcome, Took: c.Took, Change: scheduler.Change{Delete: c.Delete}}
	for _, it := range c.Put {
		m, err := carry.ReadManifest(it.Parts)
		if err != nil {
			return err
		}
		cmd.Change.Put = append(cmd.Change.Put, scheduler.Item{Key: it.Key, Value: it.Value, Parts: m})
	}
	return x.propose(cmd, func(r scheduler.Result, err error) {
		if err == nil && r.Code == scheduler.Missing {
			x.push(&api.Instruction{Do: &api.Instruction_Missing{Missing: &api.AttemptRef{Task: c.Task, Attempt: c.Attempt}}})
		}
		if err == nil && r.Code == scheduler.Stale {
			x.d.n.log.Info("refused the report of a superseded attempt", "task", c.Task, "attempt", c.Attempt, "worker", x.worker, "reason", r.Detail)
			x.d.mu.Lock()
			x.voided(c.Task, c.Attempt, "")
			x.d.mu.Unlock()
		}
	})
}

// propose waits while the log is overloaded: the worker is read no further.
// Other errors end the stream, and the worker reports again on the next.
func (x *session) propose(cmd scheduler.Command, done func(scheduler.Result, error)) error {
	b := cmd.AppendTo(nil)
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
