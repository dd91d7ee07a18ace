// Package roster is what the node that leads remembers of the workers beside
// the log: which are attached, what each has begun and which state of which
// namespace it has, and when it was last heard. From that it decides what to
// send a worker, and when one is lost and who is to blame.
//
// It is a step machine like the scheduler: time, the state, what Step decided
// and what workers say come in; instructions and commands come out. It starts
// no goroutine, reads no clock and opens no connection, so the simulation runs
// it as the nodes do. Nothing in it must survive: a new leader begins with an
// empty one and takes all it needs from the state and the workers.
//
// A Roster and its sessions are not safe for concurrent use: their owner
// serialises. Instructions belong to the link once they are pushed.
package roster

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	"farm/api"
	"farm/internal/carry"
	"farm/replica/form"
	"farm/scheduler"
)

// Why a session ended, given to Link.End; ErrNotLeader and ErrReplaced are
// returned by Open as well.
var (
	ErrNotLeader = errors.New("this node does not lead any more")
	ErrReplaced  = errors.New("the worker attached again")
	ErrGivenUp   = errors.New("the worker was given up: it was silent for too long")
)

// Times are those of a lease.
type Times struct {
	Lease time.Duration // a worker that says nothing for longer is lost
	Grace time.Duration // and one whose stream broke and did not come back in this time
	Beat  time.Duration // how often a worker is told to say something
}

// Link is the way to a worker. Its methods must not block, nor call the roster.
type Link interface {
	Push(i *api.Instruction) // to be sent after those before
	End(why error)           // the stream is of no use any more
}

// Roster is the workers as the leader knows them. Use New.
type Roster struct {
	times    Times
	leads    bool
	since    time.Time // when the leadership began
	sessions map[string]*Session
}

// New returns the roster of a node that does not lead.
func New(t Times) *Roster { return &Roster{times: t, sessions: map[string]*Session{}} }

// Lead begins or ends a leadership: every session ends, and every worker in the
// state has a lease from now on to attach.
func (r *Roster) Lead(leads bool, now time.Time) {
	for _, id := range slices.Sorted(maps.Keys(r.sessions)) {
		r.sessions[id].link.End(ErrNotLeader)
	}
	r.leads, r.since, r.sessions = leads, now, map[string]*Session{}
}

// Act sends workers what the effects of an entry are to them.
func (r *Roster) Act(s *scheduler.State, effects []scheduler.Effect) {
	for i := range effects {
		e := &effects[i]
		if e.Kind == scheduler.Forgotten {
			for _, x := range r.sessions {
				x.forget(e.Space)
			}
			continue
		}
		x := r.sessions[e.Worker]
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
			x.stop(e.Task.ID, e.Attempt)
		}
	}
}

// Silent lists the workers whose lease is over, to be proposed as lost. What
// came of a proposal is to be told to GivenUp; until then an attached worker is
// not listed again.
func (r *Roster) Silent(s *scheduler.State, now time.Time) []*scheduler.WorkerLost {
	var out []*scheduler.WorkerLost
	for _, w := range s.Workers() {
		x := r.sessions[w.ID]
		if x == nil || x.incarnation != w.Incarnation {
			if now.Sub(r.since) > r.times.Lease {
				out = append(out, &scheduler.WorkerLost{Worker: w.ID, Incarnation: w.Incarnation, Guess: true,
					Cause: fmt.Sprintf("it did not attach within %v", r.times.Lease)})
			}
			continue
		}
		if cause := x.silence(r.times, now); cause != "" && !x.givenUp {
			x.givenUp = true
			out = append(out, x.lost(cause))
		}
	}
	return out
}

// GivenUp ends the session of a worker that the log now has as lost. With an
// error the worker is listed by Silent again.
func (r *Roster) GivenUp(c *scheduler.WorkerLost, err error) {
	x := r.sessions[c.Worker]
	if x == nil || x.incarnation != c.Incarnation {
		return
	}
	if err != nil {
		x.givenUp = false
		return
	}
	x.link.End(ErrGivenUp)
	delete(r.sessions, c.Worker)
}

// Replace ends the session a worker has, and says what its older incarnation
// loses, to be proposed before the new one; nil when it is the same one.
func (r *Roster) Replace(h *api.Hello) *scheduler.WorkerLost {
	x := r.sessions[h.Worker]
	if x == nil {
		return nil
	}
	x.link.End(ErrReplaced)
	delete(r.sessions, h.Worker)
	if x.incarnation >= h.Incarnation {
		return nil
	}
	return x.lost("the worker was started again")
}

// Open makes the session of a worker that the state has, and puts in line what
// it is to do. No entry may be applied between looking at s and giving the next
// effects to Act. Errors: ErrNotLeader, ErrReplaced.
func (r *Roster) Open(s *scheduler.State, h *api.Hello, link Link, now time.Time) (*Session, error) {
	w := s.Worker(h.Worker)
	switch {
	case !r.leads:
		return nil, ErrNotLeader
	case w == nil || w.Incarnation != h.Incarnation:
		return nil, ErrReplaced
	}
	if old := r.sessions[h.Worker]; old != nil {
		old.link.End(ErrReplaced)
	}
	x := &Session{link: link, worker: h.Worker, incarnation: h.Incarnation, heard: now,
		known: map[string]uint64{}, jobs: map[string]bool{}, given: map[string]uint32{}, began: map[string]uint32{}}
	link.Push(&api.Instruction{Do: &api.Instruction_Welcome{Welcome: &api.Welcome{Lease: int64(r.times.Lease), Beat: int64(r.times.Beat)}}})
	x.resync(s, h)
	r.sessions[h.Worker] = x
	return x, nil
}

// Attachment is what the leader knows of a worker beside the state.
type Attachment struct {
	Up        bool   // its stream
	Isolation string // of its children, as it said
}

// Attached lists the workers that have a session.
func (r *Roster) Attached() map[string]Attachment {
	out := map[string]Attachment{}
	for id, x := range r.sessions {
		out[id] = Attachment{x.broken.IsZero(), x.isolation}
	}
	return out
}

// Session is one worker's stream, and what the leader remembers of it.
type Session struct {
	link        Link
	worker      string
	incarnation uint64
	known       map[string]uint64 // namespace → version of the items the worker has
	jobs        map[string]bool   // whose description it was sent
	given       map[string]uint32 // task → attempt it was last given
	began       map[string]uint32 // of them, those it said it had begun
	heard       time.Time
	broken      time.Time // when its stream ended, zero before
	givenUp     bool
	isolation   string
	withdrew    int // attempts
}

// Worker is the worker's id.
func (x *Session) Worker() string { return x.worker }

// Broke notes that the stream ended: the worker has Grace to come back.
func (x *Session) Broke(now time.Time) { x.broken = now }

// maxIsolation is how many bytes a worker may take to say how its children are
// confined; more is ignored.
const maxIsolation = 256

// Heard notes what a worker says of itself. What it asks for is in Commands.
func (x *Session) Heard(m *api.FromWorker, now time.Time) {
	x.heard = now
	x.begun(m.Began)
	for _, ns := range m.Forgot {
		delete(x.known, ns)
	}
	if m.Isolation != "" && len(m.Isolation) <= maxIsolation {
		x.isolation = m.Isolation
	}
}

// begun notes which attempts have begun. What a worker says of an earlier one is
// late: it must not cost the task the attempt it has now.
func (x *Session) begun(attempts []*api.AttemptRef) {
	for _, b := range attempts {
		if x.given[b.Task] == b.Attempt {
			x.began[b.Task] = b.Attempt
		}
	}
}

// Commands is what a worker's message asks for, to be proposed in this order.
// A Complete that is answered with Stale is to be told to Refused, one with
// Missing to Lacks. It does not
// touch the session and may be called without serialising.
func (x *Session) Commands(m *api.FromWorker) ([]scheduler.Command, error) {
	out := make([]scheduler.Command, 0, len(m.Completes))
	for _, c := range m.Completes {
		cmd, err := x.complete(c)
		if err != nil {
			return nil, err
		}
		out = append(out, cmd)
	}
	if m.Draining {
		out = append(out, &scheduler.WorkerIdle{Worker: x.worker, Drain: true})
	}
	if m.Resize != nil {
		out = append(out, &scheduler.WorkerSlots{Worker: x.worker, Incarnation: x.incarnation, Slots: m.Resize.Slots})
	}
	if len(m.Returns) > 0 {
		r := &scheduler.Return{Worker: x.worker, Incarnation: x.incarnation, Lacking: len(m.Forgot) > 0}
		for _, a := range m.Returns {
			r.Attempts = append(r.Attempts, scheduler.Attempt{Task: a.Task, Number: a.Attempt})
		}
		out = append(out, r)
	}
	return out, nil
}

func (x *Session) complete(c *api.Complete) (*scheduler.Complete, error) {
	submits, err := children(c)
	if err != nil {
		c = unmeant(c, err)
	}
	outcome, err := proto.Marshal(c.Outcome)
	if err != nil {
		return nil, err
	}
	cmd := &scheduler.Complete{Task: c.Task, Attempt: c.Attempt, Worker: x.worker, Incarnation: x.incarnation, Epoch: c.Epoch, Base: c.Base,
		Status: scheduler.Status(c.Ending), Cause: c.Cause, Outcome: outcome, Took: c.Took, Wait: c.Wait, Done: c.Done, Change: scheduler.Change{Delete: c.Delete}}
	for _, it := range c.Put {
		m, err := carry.ReadManifest(it.Parts)
		if err != nil {
			return nil, err
		}
		cmd.Change.Put = append(cmd.Change.Put, scheduler.Item{Key: it.Key, Value: it.Value, Parts: m})
	}
	cmd.Submits = submits
	return cmd, nil
}

// children are the commands for what a report submits. The error names the first that
// cannot be meant.
func children(c *api.Complete) (out []*scheduler.Submit, err error) {
	for i, s := range c.Submits {
		child, err := form.Submit(s)
		if err != nil {
			return nil, fmt.Errorf("submission %d, task %s: %w", i+1, s.GetId(), err)
		}
		child.Inputs = 0 // those of tasks that tasks submit are not counted
		out = append(out, child)
	}
	return out, nil
}

// unmeant is a report of success as that of a failure, since what it submits cannot be.
// The worker hears which version of the namespace counts.
func unmeant(c *api.Complete, why error) *api.Complete {
	o := &api.Outcome{Stdout: c.GetOutcome().GetStdout(), Stderr: c.GetOutcome().GetStderr(), StdoutCut: c.GetOutcome().GetStdoutCut(),
		StderrCut: c.GetOutcome().GetStderrCut(), Error: &api.TaskError{Kind: "invalid", Message: why.Error()}}
	return &api.Complete{Task: c.Task, Attempt: c.Attempt, Epoch: c.Epoch, Base: c.Base, Ending: api.Ending_PERMANENT, Cause: "invalid: " + why.Error(),
		Outcome: o, Took: c.Took}
}

// Refused tells the worker that its report was of a superseded attempt.
func (x *Session) Refused(c *scheduler.Complete) { x.voided(c.Task, c.Attempt, "") }

// Lacks tells the worker that parts its report refers to are not in the farm: it
// is to send both again.
func (x *Session) Lacks(c *scheduler.Complete) {
	x.link.Push(&api.Instruction{Do: &api.Instruction_Missing{Missing: &api.AttemptRef{Task: c.Task, Attempt: c.Attempt}}})
}

// silence says why the worker counts as lost, or nothing.
func (x *Session) silence(t Times, now time.Time) string {
	switch {
	case !x.broken.IsZero() && now.Sub(x.broken) > t.Grace:
		return "its connection broke"
	case now.Sub(x.heard) > t.Lease:
		return fmt.Sprintf("nothing was heard of it for %v", t.Lease)
	}
	return ""
}

// lost is the command that gives this worker up, blaming what it had begun.
func (x *Session) lost(cause string) *scheduler.WorkerLost {
	c := &scheduler.WorkerLost{Worker: x.worker, Incarnation: x.incarnation, Cause: cause}
	for _, id := range slices.Sorted(maps.Keys(x.began)) {
		c.Began = append(c.Began, scheduler.Attempt{Task: id, Number: x.began[id]})
	}
	return c
}

func (x *Session) forget(space string) {
	if _, ok := x.known[space]; ok {
		delete(x.known, space)
		x.link.Push(&api.Instruction{Do: &api.Instruction_Forget{Forget: space}})
	}
}

func (x *Session) settled(e *scheduler.Effect) {
	ref := &api.AttemptRef{Task: e.Task.ID, Attempt: e.Attempt}
	if e.Space != "" {
		x.known[e.Space] = e.Version
		ref.Version = e.Version + 1
	}
	x.drop(e.Task.ID, e.Attempt)
	x.link.Push(&api.Instruction{Do: &api.Instruction_Settled{Settled: ref}})
}

// voided tells the worker to drop an attempt; it drops the namespace with it.
func (x *Session) voided(task string, attempt uint32, space string) {
	delete(x.known, space)
	x.drop(task, attempt)
	x.link.Push(&api.Instruction{Do: &api.Instruction_Voided{Voided: &api.AttemptRef{Task: task, Attempt: attempt}}})
}

// drop forgets an attempt, if there is no later one.
func (x *Session) drop(task string, attempt uint32) {
	if x.given[task] == attempt {
		delete(x.given, task)
		delete(x.began, task)
	}
}

func (x *Session) stop(task string, attempt uint32) {
	x.link.Push(&api.Instruction{Do: &api.Instruction_Stop{Stop: &api.AttemptRef{Task: task, Attempt: attempt}}})
}

// assign sends a task with all the worker needs and does not have.
func (x *Session) assign(s *scheduler.State, t *scheduler.Task) {
	a := &api.Assign{Task: t.ID, Attempt: t.Attempt, Namespace: t.Namespace, Epoch: t.Epoch, Work: t.Body, Timeout: t.Timeout, Job: t.Job, Order: t.Order}
	if t.Job != "" && !x.jobs[t.Job] {
		x.jobs[t.Job] = true
		a.Spec = jobSpec(s, t.Job)
	}
	if t.FoldOf != "" {
		a.Fold = true
		var o api.Outcome
		if from := s.Task(t.FoldOf); from != nil && proto.Unmarshal(from.Outcome, &o) == nil {
			a.Results = slices.DeleteFunc(o.Results, func(r []byte) bool { return len(r) == 0 }) // those that failed
		}
	}
	if t.Namespace != "" && s.Head(t.Namespace) == t {
		a.Load = x.load(s, t.Namespace)
	}
	x.given[t.ID] = t.Attempt
	delete(x.began, t.ID)
	x.link.Push(&api.Instruction{Do: &api.Instruction_Assign{Assign: a}})
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
func (x *Session) load(s *scheduler.State, space string) *api.Load {
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

// Withdrew is how many attempts the worker came with that were not its any more:
// they were given to others while it was away.
func (x *Session) Withdrew() int { return x.withdrew }

// resync puts in line what a worker that has just attached should have and has
// not, and withdraws what it has and should not have.
func (x *Session) resync(s *scheduler.State, hello *api.Hello) {
	has := map[string]uint32{}
	for _, h := range hello.Holds {
		has[h.Task] = h.Attempt
	}
	for _, t := range s.Assigned(x.worker) {
		if has[t.ID] != t.Attempt {
			x.assign(s, t)
			continue
		}
		delete(has, t.ID)
		x.given[t.ID] = t.Attempt
		if t.Namespace != "" && s.Head(t.Namespace) == t {
			x.known[t.Namespace] = s.Namespace(t.Namespace).Version
		}
		if t.Cancelling {
			x.stop(t.ID, t.Attempt)
		}
	}
	x.withdrew = len(has)
	for _, id := range slices.Sorted(maps.Keys(has)) {
		x.voided(id, has[id], "")
	}
	x.begun(hello.Began)
}
