package worker

import (
	"hash/maphash"
	"maps"
	"time"

	"farm/api"
)

// unit is something that can take a slot: a private attempt, or a namespace.
type unit struct {
	attempt *attempt
	space   *space
}

// line is who waits for a slot, first come first served. A namespace is in it
// at most once and goes to its end after each attempt, so that it shares slots
// fairly with private attempts.
type line struct {
	units []unit
	head  int
}

func (l *line) push(u unit, front bool) {
	if front && l.head > 0 {
		l.head--
		l.units[l.head] = u
		return
	}
	if l.head > 64 && l.head > len(l.units)/2 {
		l.units = append(l.units[:0], l.units[l.head:]...)
		l.head = 0
	}
	l.units = append(l.units, u)
}

func (l *line) pop() (unit, bool) {
	if l.head == len(l.units) {
		return unit{}, false
	}
	u := l.units[l.head]
	l.units[l.head] = unit{}
	l.head++
	return u, true
}

func (l *line) len() int { return len(l.units) - l.head }

func (l *line) filter(keep func(unit) bool) {
	kept := l.units[:0]
	for _, u := range l.units[l.head:] {
		if keep(u) {
			kept = append(kept, u)
		}
	}
	clear(l.units[len(kept):])
	l.units, l.head = kept, 0
}

// join puts a namespace in line if it has something to run and is not there.
func (w *Worker) join(s *space) {
	if s.ready || !s.startable() {
		return
	}
	s.ready, s.since = true, w.now()
	w.line.push(unit{space: s}, false)
}

// next takes the first attempt in line that can begin.
func (w *Worker) next() *attempt {
	for {
		u, ok := w.line.pop()
		if !ok {
			return nil
		}
		if s := u.space; s != nil {
			s.ready = false
			if s.startable() {
				return s.queue[0]
			}
		} else if u.attempt.state == waiting {
			return u.attempt
		}
	}
}

// dispatch begins attempts while there are slots and children.
func (w *Worker) dispatch() {
	for w.running < w.cfg.Slots {
		a := w.next()
		if a == nil {
			return
		}
		c := w.choose(a)
		if c == nil {
			w.putBack(a)
			w.replenish()
			return
		}
		w.begin(a, c)
	}
}

func (w *Worker) putBack(a *attempt) {
	if s := a.space; s != nil {
		s.ready = true
		w.line.push(unit{space: s}, true)
		return
	}
	w.line.push(unit{attempt: a}, true)
}

// cheapSwitch is the size in bytes of a namespace up to which a child that
// holds another with the same definitions is better than a fresh one.
const cheapSwitch = 64 << 10

// Preferences for a child, the best first.
const (
	ownContext   = iota // holds the namespace
	sameProgram         // has the definitions loaded and holds nothing of use
	sameButInUse        // has them, and holds a small namespace
	freshChild
	sameButLarge // has them, and holds a large namespace
	holdsNothing // other definitions, nothing of use
	holdsOther
	unfit
)

// choose picks an idle child for an attempt, nil if there is none: by
// preference, then the least recently used.
func (w *Worker) choose(a *attempt) *child {
	var best *child
	rank := unfit
	shape := a.shape()
	for _, c := range w.children {
		if c.busy {
			continue
		}
		r := c.rank(a, shape)
		if r < rank || r == rank && c.used < best.used {
			best, rank = c, r
		}
	}
	return best
}

func (c *child) rank(a *attempt, shape uint64) int {
	same := c.shape == shape && c.used != 0
	switch {
	case a.space != nil && c.space == a.space:
		return ownContext
	case same && c.space == nil:
		return sameProgram
	case same && c.space.bytes <= cheapSwitch && (a.space == nil || a.space.bytes <= cheapSwitch):
		return sameButInUse
	case a.space == nil && c.used != 0 && c.space == nil:
		return holdsNothing - sameButLarge + freshChild // private programs are many: they share children
	case c.used == 0:
		return freshChild
	case same:
		return sameButLarge
	case c.space == nil:
		return holdsNothing
	}
	return holdsOther
}

var shapeSeed = maphash.MakeSeed()

// shape is equal for attempts whose definitions are likely to be the same.
func (a *attempt) shape() uint64 {
	switch {
	case a.space != nil:
		return a.space.shape
	case a.spec != nil:
		return maphash.String(shapeSeed, a.spec.Source)
	case a.work != nil:
		return maphash.String(shapeSeed, a.work.Source)
	}
	return 0
}

// begin gives an attempt to an idle child.
func (w *Worker) begin(a *attempt, c *child) {
	s := a.space
	a.state, a.child, a.began = running, c, w.now()
	o := a.order()
	if s == nil {
		w.release(c)
		o.mode = restore
		c.shape = a.shape()
	} else {
		s.queue = s.queue[1:]
		s.running = a
		a.base = s.version
		w.approach(o, s, c)
	}
	w.uses++
	c.busy, c.used = true, w.uses
	w.running++
	w.sayBegan(a)
	c.orders <- &job{attempt: a, order: o, timeout: a.timeout(w.cfg.Limits.Timeout)}
}

// approach says how the child's context is to come to the namespace, and notes
// that it will be there.
func (w *Worker) approach(o *order, s *space, c *child) {
	switch {
	case c.space == s && c.stamp == s.stamp:
		o.mode = keep
		w.stats.Kept++
	case c.space == s && s.patch != nil && s.patch.from == c.stamp:
		o.mode, o.change = update, s.patch.change
		w.stats.Updated++
	default:
		o.mode, o.items = restore, maps.Clone(s.items)
		w.stats.Restored++
	}
	if c.space != s {
		w.release(c)
		if s.child != nil {
			s.child.space = nil
		}
		c.space, s.child = s, c
	}
	c.stamp, c.shape = s.stamp, s.shape
}

// release notes that a child's context is no namespace's any more.
func (w *Worker) release(c *child) {
	if c.space != nil {
		c.space.child, c.space = nil, nil
	}
}

func (a *attempt) timeout(otherwise time.Duration) time.Duration {
	if t := time.Duration(a.assign.Timeout); t > 0 {
		return t
	}
	return otherwise
}

// order is what the child is told to do.
func (a *attempt) order() *order {
	o := &order{task: a.task, attempt: a.attempt, job: a.assign.Job}
	if a.space != nil {
		o.namespace = a.space.name
	}
	wk := a.work
	if wk == nil {
		wk = &api.Work{}
	}
	o.args, o.files = wk.Args, wk.Files
	if o.files == nil {
		o.files = a.spec.GetFiles()
	}
	switch {
	case a.assign.Fold:
		o.fold = true
		o.source, o.call, o.inputs = a.spec.GetSource(), a.spec.GetFoldCall(), a.assign.Results
		o.engine = a.spec.GetEngine()
	case wk.Set != nil:
		o.set, o.value = wk.Set.Key, wk.Set.Json
	default:
		o.source, o.call, o.inputs, o.first, o.engine = wk.Source, wk.Call, wk.Inputs, wk.First, wk.Engine
		if a.spec != nil && o.source == "" {
			o.source = a.spec.Source
			if o.call == "" {
				o.call = a.spec.Call
			}
			if o.engine == "" {
				o.engine = a.spec.Engine
			}
		}
	}
	return o
}
