package sim

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"time"

	"farm/api"
)

// worker is a model of package worker: the same instructions come in, the same
// reports go out, and a namespace on its holder is kept the same way. Instead of
// children there is a time after which an attempt ends.
type worker struct {
	w     *world
	id    string
	full  int // slots that it has at first
	slots int
	has   []string
	rnd   *rand.Rand

	inc      uint64
	life     int // grows with each start and end
	up       bool
	still    bool // stopped by the system, until resume
	inbox    []func()
	cutUntil time.Duration

	link    *link
	ready   bool // welcomed on it
	resized bool // it has had other slots in this life
	out     *api.FromWorker
	sending bool

	attempts map[attemptKey]*attempt
	spaces   map[string]*space
	jobs     map[string]bool
	line     []unit
	running  int
	reports  int
	last     []*api.Complete // reported, the newest, of this and earlier lives
}

type attemptKey struct {
	task string
	num  uint32
}

type attemptState int

const (
	waiting attemptState = iota
	running
	reported
	gone
)

type attempt struct {
	attemptKey
	in      *api.Assign
	work    work
	space   *space // nil: private
	state   attemptState
	arrived time.Duration
	began   time.Duration
	stop    bool
	said    bool
	over    bool // its slot is free
	base    uint64
	undo    map[string]string // the items before, nil when nothing changed
	report  *api.Complete
	counter int
}

func (a *attempt) ref() *api.AttemptRef { return &api.AttemptRef{Task: a.task, Attempt: a.num} }

type space struct {
	name    string
	epoch   uint64
	version uint64
	items   map[string]string
	queue   []*attempt
	running *attempt
	chain   []*attempt
	paused  *attempt
	ready   bool // in line
}

type unit struct {
	attempt *attempt
	space   *space
}

func (s *space) held() bool { return len(s.queue) > 0 || s.running != nil || len(s.chain) > 0 }

func (s *space) startable() bool { return len(s.queue) > 0 && s.running == nil && s.paused == nil }

func newWorker(w *world, i, slots int) *worker {
	id := fmt.Sprint("w", i)
	return &worker{w: w, id: id, full: slots, has: w.plan.has(i), rnd: w.stream(id)}
}

// after is world.after for something that ends with this life of the worker and
// waits while it stands still.
func (k *worker) after(d time.Duration, do func()) {
	life := k.life
	k.w.after(d, func() {
		if k.up && k.life == life {
			k.do(do)
		}
	})
}

// do does something now, or when the worker goes on.
func (k *worker) do(fn func()) {
	if !k.still {
		fn()
		return
	}
	life := k.life
	k.inbox = append(k.inbox, func() {
		if k.life == life {
			fn()
		}
	})
}

func (k *worker) start() {
	if k.up {
		return
	}
	k.inc++
	k.life++
	k.up, k.still, k.inbox = true, false, nil
	k.slots, k.resized = k.full, false
	k.attempts, k.spaces, k.jobs = map[attemptKey]*attempt{}, map[string]*space{}, map[string]bool{}
	k.line, k.running, k.link, k.ready, k.out, k.sending = nil, 0, nil, false, &api.FromWorker{}, false
	k.after(k.w.between(k.rnd, time.Millisecond, 50*time.Millisecond), k.dial)
	k.after(tickTime, k.tend)
	k.after(beatTime, k.beat)
}

// die ends the worker; another incarnation starts after back.
func (k *worker) die(back time.Duration) {
	if !k.up {
		return
	}
	k.w.note("%s/%d dies", k.id, k.inc)
	k.up = false
	k.life++
	if l := k.link; l != nil { // what it has sent still arrives
		k.w.at(l.toNode+1, l.cut)
	}
	k.w.after(back, k.start)
}

func (k *worker) pause(d time.Duration) {
	if !k.up || k.still {
		return
	}
	k.still = true
	k.w.note("%s stands still for %v", k.id, d)
	life := k.life
	k.w.after(d, func() {
		if k.life == life {
			k.resume()
		}
	})
}

func (k *worker) resume() {
	if !k.still {
		return
	}
	k.still = false
	inbox := k.inbox
	k.inbox = nil
	for _, fn := range inbox {
		fn()
	}
}

func (k *worker) isCut() bool { return k.w.now < k.cutUntil }

// ---- the stream ----

func (k *worker) dial() {
	if k.link != nil {
		return
	}
	n := k.w.leader
	for _, x := range k.w.nodes { // one that does not know better may be asked
		if x.up && x.leading && x != n && k.rnd.IntN(3) == 0 {
			n = x
		}
	}
	if n == nil || !n.up || k.isCut() {
		k.after(k.w.between(k.rnd, 50*time.Millisecond, 300*time.Millisecond), k.dial)
		return
	}
	l := &link{n: n, k: k, inc: k.inc, life: n.life, heard: map[string]uint32{}}
	k.link, k.ready, k.out = l, false, &api.FromWorker{}
	h := &api.Hello{Worker: k.id, Incarnation: k.inc, Slots: uint32(k.full), Has: k.has}
	for _, a := range k.sorted() {
		a.said = false
		h.Holds = append(h.Holds, a.ref())
		if a.state == running || a.state == reported {
			h.Began = append(h.Began, a.ref())
		}
	}
	l.tell(&api.FromWorker{Hello: h})
}

// sorted are the attempts in an order.
func (k *worker) sorted() []*attempt {
	return slices.SortedFunc(maps.Values(k.attempts), func(a, b *attempt) int {
		if a.counter != b.counter {
			return a.counter - b.counter
		}
		if a.in.Order != b.in.Order {
			return int(a.in.Order) - int(b.in.Order)
		}
		return int(a.num) - int(b.num)
	})
}

// unlink: the stream is of no use any more.
func (k *worker) unlink(l *link) {
	if k.link != l || !k.up {
		return
	}
	k.link, k.ready, k.out = nil, false, &api.FromWorker{}
	l.down = true
	k.w.after(k.w.between(k.rnd, time.Millisecond, 10*time.Millisecond), l.broke)
	k.after(k.w.between(k.rnd, 50*time.Millisecond, 300*time.Millisecond), k.dial)
}

// say adds to what is sent next. Before there is a stream nothing is: it is
// collected anew then.
func (k *worker) say(put func(m *api.FromWorker)) {
	if !k.ready {
		return
	}
	put(k.out)
	if !k.sending {
		k.sending = true
		k.after(k.w.between(k.rnd, 20*time.Microsecond, time.Millisecond), k.send)
	}
}

// amend is say for what takes back what a Hello may say that is under way.
func (k *worker) amend(put func(m *api.FromWorker)) {
	if k.link != nil && !k.ready {
		put(k.out)
		return
	}
	k.say(put)
}

func (k *worker) send() {
	k.sending = false
	if k.ready {
		k.link.tell(k.out)
		k.out = &api.FromWorker{}
	}
}

func (k *worker) beat() {
	if k.ready {
		k.link.tell(&api.FromWorker{})
	}
	k.after(beatTime, k.beat)
}

// welcome: the leader listens. It is told what the last one may not have heard.
func (k *worker) welcome() {
	k.ready = true
	if len(k.out.Returns)+len(k.out.Forgot) > 0 {
		k.say(func(*api.FromWorker) {})
	}
	if k.resized { // the leader may not know, or know what is over
		k.sayResized()
	}
	for _, a := range k.sorted() {
		switch a.state {
		case running:
			k.sayBegan(a)
		case reported:
			k.say(func(m *api.FromWorker) { m.Completes = append(m.Completes, a.report) })
		}
	}
}

func (k *worker) sayBegan(a *attempt) {
	a.said = true
	k.say(func(m *api.FromWorker) { m.Began = append(m.Began, a.ref()) })
}

// ---- what the leader says ----

func (k *worker) obey(l *link, instructions []*api.Instruction) {
	if k.link != l || !k.up {
		return
	}
	ok := true
	for _, i := range instructions {
		switch do := i.Do.(type) {
		case *api.Instruction_Welcome:
			k.welcome()
		case *api.Instruction_Assign:
			ok = k.assign(do.Assign) && ok
		case *api.Instruction_Settled:
			k.settled(attemptKey{do.Settled.Task, do.Settled.Attempt}, do.Settled.Version)
		case *api.Instruction_Voided:
			k.voided(attemptKey{do.Voided.Task, do.Voided.Attempt})
		case *api.Instruction_Stop:
			k.stop(attemptKey{do.Stop.Task, do.Stop.Attempt})
		case *api.Instruction_Forget:
			if s := k.spaces[do.Forget]; s != nil {
				k.abandon(s)
				delete(k.spaces, s.name)
			}
		}
	}
	k.dispatch()
	if !ok {
		k.unlink(l)
	}
}

func (k *worker) assign(in *api.Assign) bool {
	if in.Spec != nil {
		k.jobs[in.Job] = true
	}
	a := &attempt{attemptKey: attemptKey{in.Task, in.Attempt}, in: in, work: readWork(in.Work), arrived: k.w.now}
	if k.attempts[a.attemptKey] != nil {
		return true
	}
	k.attempts[a.attemptKey] = a
	if in.Namespace != "" && !k.place(a) {
		k.giveBack(a)
		k.amend(func(m *api.FromWorker) { m.Forgot = append(m.Forgot, in.Namespace) })
		return true
	}
	if in.Job != "" && !k.jobs[in.Job] {
		k.giveBack(a)
		return false
	}
	if a.space == nil {
		k.line = append(k.line, unit{attempt: a})
		return true
	}
	k.join(a.space)
	return true
}

func (k *worker) place(a *attempt) bool {
	in := a.in
	s := k.spaces[in.Namespace]
	switch {
	case in.Load == nil:
		if s == nil || s.epoch != in.Epoch {
			return false
		}
	case s == nil:
		s = &space{name: in.Namespace}
		if !s.load(in.Load) {
			return false
		}
		k.spaces[s.name] = s
	case s.epoch == in.Epoch && s.held():
	default:
		k.abandon(s)
		if !s.load(in.Load) {
			delete(k.spaces, s.name)
			return false
		}
	}
	s.epoch = in.Epoch
	if s.paused != nil && s.paused.task == a.task {
		s.paused = nil
	}
	a.space = s
	i := len(s.queue)
	for i > 0 && s.queue[i-1].in.Order > in.Order {
		i--
	}
	s.queue = slices.Insert(s.queue, i, a)
	return true
}

func (s *space) load(l *api.Load) bool {
	if l.Since == 0 {
		s.items = map[string]string{}
	} else if s.items == nil || s.version < l.Since || s.version > l.Version {
		return false
	}
	s.items = maps.Clone(s.items)
	for _, it := range l.Items {
		s.items[it.Key] = string(it.Value)
	}
	s.version = l.Version
	return true
}

// settled: version is the namespace's then, plus 1. It is not that after the attempt when
// its success was taken for a failure.
func (k *worker) settled(key attemptKey, version uint64) {
	a := k.attempts[key]
	if a == nil || a.state != reported {
		return
	}
	delete(k.attempts, key)
	s := a.space
	if s == nil {
		return
	}
	if i := slices.Index(s.chain, a); i >= 0 {
		if a.undo != nil && version == a.base+1 && s.running == nil && i == len(s.chain)-1 {
			s.unwind(i)
		} else {
			s.chain = slices.Delete(s.chain, i, i+1)
		}
	}
	if s.paused == a {
		s.paused = nil
	}
	k.join(s)
}

func (k *worker) voided(key attemptKey) {
	a := k.attempts[key]
	if a == nil {
		return
	}
	switch s := a.space; {
	case a.state == waiting:
		k.leave(a)
	case a.state == running:
		k.disown(a)
	case s != nil:
		if i := slices.Index(s.chain, a); i >= 0 {
			k.disown(s.running)
			s.unwind(i)
			k.join(s)
		}
	}
	a.state = gone
	delete(k.attempts, key)
}

// unwind takes the namespace back to before the i-th attempt of its chain.
func (s *space) unwind(i int) {
	for j := len(s.chain) - 1; j >= i; j-- {
		a := s.chain[j]
		if a.undo != nil {
			s.items, s.version, a.undo = a.undo, a.base, nil
		}
		if s.paused == a {
			s.paused = nil
		}
	}
	s.chain = slices.Delete(s.chain, i, len(s.chain))
}

// disown ends a running attempt of which nothing will be reported; its slot is
// free when its child is killed.
func (k *worker) disown(a *attempt) {
	if a != nil && a.state == running {
		a.state = gone
		delete(k.attempts, a.attemptKey)
		k.after(k.w.between(k.rnd, time.Millisecond, 20*time.Millisecond), func() { k.finish(a) })
	}
}

func (k *worker) stop(key attemptKey) {
	a := k.attempts[key]
	switch {
	case a == nil:
	case a.state == waiting:
		k.leave(a)
		k.giveBack(a)
	case a.state == running:
		a.stop = true
	}
}

func (k *worker) leave(a *attempt) {
	a.state = gone
	if s := a.space; s != nil {
		if i := slices.Index(s.queue, a); i >= 0 {
			s.queue = slices.Delete(s.queue, i, i+1)
		}
	}
}

func (k *worker) giveBack(a *attempt) {
	a.state = gone
	delete(k.attempts, a.attemptKey)
	k.amend(func(m *api.FromWorker) { m.Returns = append(m.Returns, a.ref()) })
}

func (k *worker) abandon(s *space) {
	k.disown(s.running)
	for _, a := range s.queue {
		a.state = gone
		delete(k.attempts, a.attemptKey)
	}
	for _, a := range s.chain {
		delete(k.attempts, a.attemptKey)
	}
	s.queue = nil
	s.unwind(0)
	s.paused = nil
}

// handBack is how long an attempt waits for a slot before it is given back.
const handBack = 100 * time.Millisecond

// tend gives back what has waited too long.
func (k *worker) tend() {
	k.after(tickTime, k.tend)
	if k.running < k.slots {
		return
	}
	late := func(a *attempt) bool { return k.w.now-a.arrived >= handBack }
	k.line = slices.DeleteFunc(k.line, func(u unit) bool {
		if a := u.attempt; a != nil {
			if a.state == waiting && late(a) {
				k.giveBack(a)
			}
			return a.state != waiting
		}
		s := u.space
		if s.startable() && !late(s.queue[0]) {
			return false
		}
		s.ready = false
		if s.startable() {
			for _, a := range s.queue {
				k.giveBack(a)
			}
			s.queue = nil
		}
		return true
	})
}

// ---- running ----

func (k *worker) join(s *space) {
	if !s.ready && s.startable() {
		s.ready = true
		k.line = append(k.line, unit{space: s})
	}
}

func (k *worker) next() *attempt {
	for len(k.line) > 0 {
		u := k.line[0]
		k.line = k.line[1:]
		if s := u.space; s != nil {
			s.ready = false
			if s.startable() {
				return s.queue[0]
			}
		} else if u.attempt.state == waiting {
			return u.attempt
		}
	}
	return nil
}

func (k *worker) dispatch() {
	for k.running < k.slots {
		a := k.next()
		if a == nil {
			return
		}
		k.begin(a)
	}
}

func (k *worker) begin(a *attempt) {
	a.state, a.began = running, k.w.now
	if s := a.space; s != nil {
		s.queue = s.queue[1:]
		s.running = a
		a.base = s.version
	}
	k.running++
	k.w.check.began[begin{k.id, k.inc, a.task, a.num}] = true
	k.sayBegan(a)
	d := k.w.between(k.rnd, k.w.plan.Task/2, 2*k.w.plan.Task)
	switch a.work.op {
	case opSlow:
		d *= 20
	case opDie: // not at once: of an attempt that nobody has heard of nobody is to blame
		k.after(max(d, 10*time.Millisecond), func() {
			if a.state == running {
				k.die(k.w.between(k.rnd, 100*time.Millisecond, 1500*time.Millisecond))
			}
		})
		return
	}
	k.after(d, func() { k.finish(a) })
}

func (k *worker) finish(a *attempt) {
	if a.over {
		return
	}
	a.over = true
	k.running--
	s := a.space
	if s != nil && s.running == a {
		s.running = nil
	}
	if a.state != gone {
		k.report(a)
	}
	if s != nil {
		k.join(s)
	}
	k.evict()
	k.dispatch()
}

// report tells the leader how an attempt ended, and moves its namespace on.
func (k *worker) report(a *attempt) {
	s := a.space
	r := &api.Complete{Task: a.task, Attempt: a.num, Epoch: a.in.Epoch, Base: a.base, Took: int64(k.w.now - a.began), Ending: api.Ending_SUCCESS, Outcome: outcome(a.task)}
	for _, c := range children(a.work.op, a.task, a.in.Job) { // also of a failure: the farm is not to rely on workers
		r.Submits = append(r.Submits, c.submit())
	}
	k.reports++
	a.state, a.report, a.counter = reported, r, k.reports
	if a.in.Job != "" && !a.in.Fold {
		r.Done = 1
	}
	switch {
	case a.stop:
		r.Ending, r.Done = api.Ending_STOPPED, 0
	case a.work.op == opPermanent:
		r.Ending, r.Cause, r.Done = api.Ending_PERMANENT, "for good", 0
	case a.work.op == opSnooze && int(a.num) <= a.work.n:
		r.Ending, r.Done, r.Wait = api.Ending_SNOOZED, 0, int64(napOf(a.task))
	case (a.work.op == opFail || a.work.op == opSpawn) && int(a.num) <= a.work.n:
		r.Ending, r.Cause, r.Done = api.Ending_FAILURE, "not yet", 0
	case s != nil:
		k.advance(a, s)
	}
	if s != nil {
		s.chain = append(s.chain, a)
		if r.Ending == api.Ending_FAILURE {
			s.paused = a
		}
	}
	k.last = append(k.last, r)
	k.last = k.last[max(0, len(k.last)-5):]
	k.say(func(m *api.FromWorker) {
		m.Began = slices.DeleteFunc(m.Began, func(b *api.AttemptRef) bool { return b.Task == a.task && b.Attempt == a.num })
		m.Completes = append(m.Completes, r)
	})
}

func (k *worker) advance(a *attempt, s *space) {
	name := a.task
	if a.in.Fold {
		for _, r := range a.in.Results {
			name = "fold-of-" + string(r)
		}
	}
	c := effect(a.work.op, name, s.items)
	if c.Empty() {
		return
	}
	for _, it := range c.Put {
		a.report.Put = append(a.report.Put, &api.Item{Key: it.Key, Value: it.Value})
	}
	a.report.Delete = c.Delete
	a.undo = s.items
	s.items = changed(s.items, &c)
	s.version++
}

// evict forgets a namespace now and then, as a full cache does.
func (k *worker) evict() {
	if k.w.plan.Calm || k.w.healed || k.rnd.IntN(40) > 0 {
		return
	}
	for _, name := range slices.Sorted(maps.Keys(k.spaces)) {
		if !k.spaces[name].held() {
			delete(k.spaces, name)
			k.amend(func(m *api.FromWorker) { m.Forgot = append(m.Forgot, name) })
			return
		}
	}
}

// ---- misbehaving ----

// echo says again what was said before, of this life or an earlier one.
func (k *worker) echo() {
	for _, r := range k.last {
		k.say(func(m *api.FromWorker) { m.Completes = append(m.Completes, r) })
	}
}

// forge reports success for attempts that there are not: those at hand with
// another number.
func (k *worker) forge(by int64) {
	for _, a := range k.sorted() {
		r := &api.Complete{Task: a.task, Attempt: uint32(int64(a.num) + by), Epoch: a.in.Epoch, Base: a.base, Ending: api.Ending_SUCCESS, Outcome: outcome("forged"),
			Submits: []*api.Submit{{Id: "forged", Work: &api.Work{}}}}
		if s := a.space; s != nil {
			r.Base = s.version
			r.Put = []*api.Item{{Key: "log", Value: []byte("forged ")}}
		}
		k.say(func(m *api.FromWorker) { m.Completes = append(m.Completes, r) })
	}
}
