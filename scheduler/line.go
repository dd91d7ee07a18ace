package scheduler

import (
	"slices"
	"strings"
)

// Lines. A unit is what is placed: a private task, or a namespace by the task at
// its head. Units that ask for the same stand in one line, a heap, so that
// whether they can be placed is a question about the line and not about each of
// them:
//
//	State.pools   heap of pools that have work, and a worker with room
//	  pool.lanes  heap of lanes whose queue lets something through
//	    lane.lines  heap of lines whose key lets something through
//	      line.units  heap of units
//
// Each heap is ordered by the best unit below, so the best unit that can be
// placed is found at the top, and what cannot be placed is in no heap that is
// looked at: however much of it there is, it costs the others nothing.
//
// Nothing of this is stored: it follows from tasks, namespaces, workers and
// queues, and Load builds it anew.

// MaxNeedsSets is how many different sets of needs live tasks may have together.
const MaxNeedsSets = 1_000

// class is all tasks that need the same of a worker.
type class struct {
	needs []string
	lanes []*lane // its; none: it is forgotten
	pool  *pool
}

// pool is all classes that the same workers fit, and those workers.
type pool struct {
	workers []*Worker // by id
	classes int
	lanes   heap[*lane]
	shut    bool // no worker had room when it was last looked at, and none gained some since
	place   int  // in State.pools, -1 when not there
}

// lane is what one queue has of one class.
type lane struct {
	queue *queue
	class *class
	count int // lines
	lines heap[*line]
	place int // in the pool's lanes, -1 when not there
}

// line is units that ask for the same.
type line struct {
	lane  *lane
	key   *key // nil: none
	refs  int  // live tasks that belong here, whether they are units or not
	units heap[unit]
	place int // in the lane's lines, -1 when not there
}

type laneKey struct {
	queue *queue
	class *class
}

type lineKey struct {
	lane *lane
	key  *key
}

// ---- the heaps order themselves by the best unit ----

func (l *line) best() unit          { return l.units.min() }
func (l *line) before(o *line) bool { return l.best().before(o.best()) }
func (l *line) moved(i int)         { l.place = i }
func (l *line) at() int             { return l.place }

func (x *lane) best() unit          { return x.lines.min().best() }
func (x *lane) before(o *lane) bool { return x.best().before(o.best()) }
func (x *lane) moved(i int)         { x.place = i }
func (x *lane) at() int             { return x.place }

func (p *pool) best() unit          { return p.lanes.min().best() }
func (p *pool) before(o *pool) bool { return p.best().before(o.best()) }
func (p *pool) moved(i int)         { p.place = i }
func (p *pool) at() int             { return p.place }

// refile puts a line where it belongs after its units or its key changed, and
// with it what is above.
func (s *State) refile(l *line) {
	l.lane.lines.remove(l)
	if l.units.len() > 0 && (l.key == nil || !l.key.gate.shut) {
		l.lane.lines.push(l)
	}
	s.refileLane(l.lane)
}

func (s *State) refileLane(x *lane) {
	p := x.class.pool
	p.lanes.remove(x)
	if x.lines.len() > 0 && !x.queue.gate.shut {
		p.lanes.push(x)
	}
	s.refilePool(p)
}

func (s *State) refilePool(p *pool) {
	s.pools.remove(p)
	if p.lanes.len() > 0 && !p.shut {
		s.pools.push(p)
	}
}

// ---- units ----

// wait puts a unit in line.
func (s *State) wait(u unit) {
	l := u.head().line
	if u.space != nil {
		u.space.line = l
	}
	s.crowd(l, 1)
	l.units.push(u)
	if u.at() == 0 { // else the line's best is what it was
		s.refile(l)
	}
}

// unwait takes a unit out of its line; nothing happens when it is in none.
func (s *State) unwait(u unit) {
	i := u.at()
	if i < 0 {
		return
	}
	l := u.line()
	l.units.remove(u)
	if i == 0 {
		s.refile(l)
	}
	s.crowd(l, -1)
}

// crowd counts a unit that waits behind the gates of a line, in (1) or out (-1).
func (s *State) crowd(l *line, by int) {
	s.crowdGate(&l.lane.queue.gate, by)
	if l.key != nil {
		s.crowdGate(&l.key.gate, by)
	}
}

// begin counts an attempt of a task that was given to a worker, end its end.
func (s *State) begin(t *Task) {
	s.pass(&t.line.lane.queue.gate)
	if t.line.key != nil {
		s.pass(&t.line.key.gate)
	}
	s.releaseKey(t, true)
}

func (s *State) end(t *Task) {
	s.unpass(&t.line.lane.queue.gate)
	if t.line.key != nil {
		s.unpass(&t.line.key.gate)
	}
}

// free tells whether nothing limits what stands in a line: only then may a
// namespace's holder be given more of its tasks than it can run.
func (l *line) free() bool {
	q := l.lane.queue
	return !q.paused && q.bounds.none() && (l.key == nil || q.keyBounds.none())
}

// line is that a waiting unit stands in.
func (u unit) line() *line {
	if u.space != nil {
		return u.space.line
	}
	return u.task.line
}

// ---- tasks come and go ----

// layOut makes what is there before any task: the line of those without options.
func (s *State) layOut() {
	s.lines, s.lanes, s.classes = map[lineKey]*line{}, map[laneKey]*lane{}, map[string]*class{}
	s.plain = s.openLine(s.openQueue(DefaultQueue), s.classOf(nil), nil)
}

// join says in which line a live task is to stand when its turn has come. Tasks
// that need no worker stand in none.
func (s *State) join(t *Task) {
	if t.Kind != Run {
		return
	}
	t.line = s.lineOf(t)
	t.line.refs++
	t.line.lane.queue.refs++
	if k := t.line.key; k != nil {
		k.refs++
		s.idle.remove(k)
	}
}

// quit ends what join began. The task is in no line any more.
func (s *State) quit(t *Task) {
	l := t.line
	if l == nil {
		return
	}
	l.refs--
	l.lane.queue.refs--
	if l.key != nil {
		l.key.refs--
	}
	s.dropLine(l)
}

func (s *State) lineOf(t *Task) *line {
	o := t.Options
	if o == nil {
		return s.plain
	}
	q := s.plain.lane.queue
	if o.Queue != "" {
		q = s.openQueue(o.Queue)
	}
	var k *key
	if o.Key != "" {
		k = s.openKey(q, o.Key)
	}
	return s.openLine(q, s.classOf(o.Needs), k)
}

// openLine finds or makes a line.
func (s *State) openLine(q *queue, c *class, k *key) *line {
	x := s.lanes[laneKey{q, c}]
	if x == nil {
		x = &lane{queue: q, class: c, place: -1}
		s.lanes[laneKey{q, c}] = x
		c.lanes = append(c.lanes, x)
		q.lanes = append(q.lanes, x)
	}
	l := s.lines[lineKey{x, k}]
	if l == nil {
		l = &line{lane: x, key: k, place: -1}
		s.lines[lineKey{x, k}] = l
		x.count++
		if k != nil {
			k.lines = append(k.lines, l)
		}
	}
	return l
}

// dropLine forgets a line that no task belongs to, and what is empty with it.
func (s *State) dropLine(l *line) {
	x := l.lane
	if l.refs > 0 || l == s.plain {
		return
	}
	delete(s.lines, lineKey{x, l.key})
	if k := l.key; k != nil {
		k.lines = without(k.lines, l)
		s.dropKey(k)
	}
	if x.count--; x.count == 0 {
		delete(s.lanes, laneKey{x.queue, x.class})
		x.class.lanes = without(x.class.lanes, x)
		x.queue.lanes = without(x.queue.lanes, x)
		s.dropClass(x.class)
		s.dropQueue(x.queue)
	}
}

func without[T comparable](list []T, x T) []T {
	return slices.DeleteFunc(list, func(o T) bool { return o == x })
}

// ---- what workers fit ----

// fits tells whether a worker may be given tasks with these needs. One with
// compiled handlers is a program of the user's own: it runs calls of handlers
// and no cells.
func (w *Worker) fits(needs []string) bool {
	calls := false
	for _, n := range needs {
		if _, has := slices.BinarySearch(w.Has, n); !has {
			return false
		}
		calls = calls || strings.HasPrefix(n, NeedHandler)
	}
	return calls || !w.compiled
}

// equip sets what a worker has.
func (w *Worker) equip(has []string) {
	w.Has = slices.Clone(has)
	w.compiled = slices.ContainsFunc(w.Has, func(h string) bool { return strings.HasPrefix(h, NeedHandler) })
}

func needsKey(needs []string) string { return strings.Join(needs, "\x00") }

func (s *State) classOf(needs []string) *class {
	key := needsKey(needs)
	c := s.classes[key]
	if c == nil {
		c = &class{needs: needs}
		s.classes[key] = c
		s.classList = append(s.classList, c)
		s.enroll(c)
	}
	return c
}

func (s *State) dropClass(c *class) {
	if len(c.lanes) > 0 {
		return
	}
	delete(s.classes, needsKey(c.needs))
	s.classList = without(s.classList, c)
	p := c.pool
	if p.classes--; p.classes == 0 {
		s.grouped = without(s.grouped, p)
		for _, w := range p.workers {
			w.pools = without(w.pools, p)
		}
	}
}

// enroll finds or makes the pool of a class.
func (s *State) enroll(c *class) {
	var fit []*Worker
	for _, w := range s.workers {
		if w.fits(c.needs) {
			fit = append(fit, w)
		}
	}
	for _, p := range s.grouped {
		if slices.Equal(p.workers, fit) {
			p.classes++
			c.pool = p
			return
		}
	}
	c.pool = &pool{workers: fit, classes: 1, place: -1}
	s.grouped = append(s.grouped, c.pool)
	for _, w := range fit {
		w.pools = append(w.pools, c.pool)
	}
}

// regroup makes the pools anew, after workers came, went or changed.
func (s *State) regroup() {
	for _, w := range s.workers {
		w.pools = nil
	}
	s.grouped, s.pools = nil, heap[*pool]{}
	for _, c := range s.classList {
		s.enroll(c)
		for _, x := range c.lanes {
			x.place = -1
			s.refileLane(x)
		}
	}
}

// gained looks again at the pools of a worker that may have room now.
func (s *State) gained(w *Worker) {
	for _, p := range w.pools {
		if p.shut && w.room() {
			p.shut = false
			s.refilePool(p)
		}
	}
}

// has tells whether a worker is of the pool.
func (p *pool) has(w *Worker) bool { return slices.Contains(w.pools, p) }
