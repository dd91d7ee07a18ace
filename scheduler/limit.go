package scheduler

import (
	"slices"
	"strings"
)

// Limits of what queues and their keys let through.
const (
	MaxRateCount  = 1_000_000                // attempts in a rate's period
	MaxRatePeriod = 366 * 24 * 3600 * second // of a rate, and what its burst makes up
	minRatePeriod = int64(1e6)
	minInterval   = int64(1e3) // between two attempts: a million a second
	// grain is how finely rates are kept: the leader looks at the clock about that
	// often, so what could have begun within it may begin at once.
	grain = int64(20e6)
)

// Rate is how many attempts may begin: Count in each Period, evenly, and up to
// Burst at once after a pause. A Count of 0 is no limit; a Burst of 0 is 1.
type Rate struct {
	Count  uint32
	Period int64 // nanoseconds
	Burst  uint32
}

// interval is the time between two attempts, rounded up so that there are never
// more than Count in a Period but for what slack allows.
func (r *Rate) interval() int64 { return (r.Period + int64(r.Count) - 1) / int64(r.Count) }

// slack is by how much an attempt may be early: what makes a burst.
func (r *Rate) slack() int64 {
	t := r.interval()
	slack := (max(int64(r.Burst), 1) - 1) * t
	if t < grain {
		slack = max(slack, grain)
	}
	return slack
}

func (r *Rate) allowed() Result {
	switch {
	case r.Count == 0 && r.Period == 0 && r.Burst == 0:
		return Result{Code: OK}
	case r.Count == 0 || r.Count > MaxRateCount || r.Burst > MaxRateCount || r.Period < minRatePeriod || r.Period > MaxRatePeriod:
		return refuse(Invalid, "a rate is of 1 to %d attempts in 1 ms to 366 days", MaxRateCount)
	case r.interval() < minInterval:
		return refuse(Invalid, "a rate is at most a million attempts in a second")
	case int64(r.Burst) > MaxRatePeriod/r.interval():
		return refuse(Invalid, "a burst of %d at this rate makes up more than 366 days", r.Burst)
	}
	return Result{Code: OK}
}

// Bounds are the limits of a queue, or of each key in one. The zero value has none.
type Bounds struct {
	Concurrency uint32 // attempts assigned at a time; 0: no limit
	Rate        Rate
}

func (b *Bounds) none() bool { return b.Concurrency == 0 && b.Rate.Count == 0 }

// gate counts what goes through a queue, or through a key of one, and is shut
// while nothing more may.
type gate struct {
	queue   *queue
	key     *key // nil: it is the queue's own
	running int  // attempts assigned
	waiting int  // units in its lines
	// next is when the next attempt would be due if all had come evenly
	// (GCRA's theoretical arrival time); 0: none came.
	next  int64
	shut  bool  // may be out of date while nothing waits
	until int64 // while shut: when it opens by itself, 0 if it does not
	place int   // in State.timers, -1 when not there
}

// A gate that opens by itself is ordered by when, then by name.
func (g *gate) before(o *gate) bool {
	switch {
	case g.until != o.until:
		return g.until < o.until
	case g.queue != o.queue:
		return g.queue.name < o.queue.name
	case g.key == nil || o.key == nil:
		return g.key == nil && o.key != nil
	}
	return g.key.name < o.key.name
}

func (g *gate) moved(i int) { g.place = i }
func (g *gate) at() int     { return g.place }

func (g *gate) bounds() *Bounds {
	if g.key != nil {
		return &g.queue.keyBounds
	}
	return &g.queue.bounds
}

// closed tells whether nothing may go through now, and until when if time is
// what opens it.
func (g *gate) closed(now int64) (shut bool, until int64) {
	b := g.bounds()
	switch {
	case g.key == nil && g.queue.paused:
		return true, 0
	case b.Concurrency > 0 && g.running >= int(b.Concurrency):
		return true, 0
	case b.Rate.Count > 0 && g.next-b.Rate.slack() > now:
		return true, g.next - b.Rate.slack()
	}
	return false, 0
}

// pass lets an attempt through.
func (s *State) pass(g *gate) {
	g.running++
	b := g.bounds()
	if b.none() {
		return
	}
	if b.Rate.Count > 0 {
		g.next = max(g.next, s.Clock) + b.Rate.interval()
		s.touchGate(g)
	}
	s.regate(g)
}

// unpass ends what pass began. What it took of a rate is not given back: the
// attempt may have begun.
func (s *State) unpass(g *gate) {
	g.running--
	if g.shut {
		s.regate(g)
	}
}

// regate looks whether a gate is shut, and files what is behind it accordingly.
func (s *State) regate(g *gate) {
	shut, until := g.closed(s.Clock)
	s.timers.remove(g)
	g.until = until
	if until > 0 && g.waiting > 0 {
		s.timers.push(g)
	}
	if shut == g.shut {
		return
	}
	g.shut = shut
	if g.key == nil {
		for _, x := range g.queue.lanes {
			s.refileLane(x)
		}
		return
	}
	for _, l := range g.key.lines {
		s.refile(l)
	}
}

// openGates looks at the gates whose time has come.
func (s *State) openGates() {
	for s.timers.len() > 0 && s.timers.min().until <= s.Clock {
		s.regate(s.timers.min())
	}
}

func (s *State) crowdGate(g *gate, by int) {
	g.waiting += by
	if g.shut {
		s.regate(g)
	}
}

// rebound makes a gate fit bounds that changed: it need not wait longer than the
// new rate asks for.
func (s *State) rebound(g *gate) {
	if r := g.bounds().Rate; r.Count == 0 {
		g.next = 0
	} else {
		g.next = min(g.next, s.Clock+r.slack()+r.interval())
	}
	s.touchGate(g)
	s.regate(g)
}

// ---- keys ----

// key is tasks of a queue that are limited together.
type key struct {
	name  string
	gate  gate
	refs  int // live tasks
	lines []*line
	idle  int // position in State.idle, -1 when not there

	dirty, stored, gone bool
}

// A key without tasks is kept while its rate may still hold something back.
func (k *key) before(o *key) bool {
	a, b := &k.gate, &o.gate
	if a.next != b.next {
		return a.next < b.next
	}
	if a.queue != b.queue {
		return a.queue.name < b.queue.name
	}
	return k.name < o.name
}

func (k *key) moved(i int) { k.idle = i }
func (k *key) at() int     { return k.idle }

func keyKey(queue, key string) string { return "K/" + queue + "/" + key }

func (s *State) openKey(q *queue, name string) *key {
	k := q.keys[name]
	if k == nil {
		k = &key{name: name, idle: -1}
		k.gate = gate{queue: q, key: k, place: -1}
		q.keys[name] = k
		s.keys++
	}
	return k
}

// dropKey forgets a key that nothing needs any more, at once or later.
func (s *State) dropKey(k *key) {
	s.idle.remove(k)
	switch {
	case k.refs > 0:
	case k.gate.next > s.Clock:
		s.idle.push(k)
	default:
		k.gone = true
		delete(k.gate.queue.keys, k.name)
		s.keys--
		s.timers.remove(&k.gate)
		if k.stored {
			s.rec.Delete(keyKey(k.gate.queue.name, k.name))
		}
	}
}

// forgetKeys forgets the keys that were kept for their rate alone.
func (s *State) forgetKeys() {
	for s.idle.len() > 0 && s.idle.min().gate.next <= s.Clock {
		s.dropKey(s.idle.min())
	}
}

// keysByName are the keys of a queue, by name.
func (q *queue) keysByName() []*key {
	out := make([]*key, 0, len(q.keys))
	for _, k := range q.keys { // sorted below
		out = append(out, k)
	}
	slices.SortFunc(out, func(a, b *key) int { return strings.Compare(a.name, b.name) })
	return out
}
