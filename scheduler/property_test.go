package scheduler

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"farm/internal/part"
	"farm/internal/wire"
)

// history is what a test remembers of what a state did, to hold it against.
type history struct {
	ended  map[string]bool     // tasks that became final and are retained
	ticks  map[string]int64    // schedule → newest time it was fired for
	answer Code                // to the command that is noted
	after  map[string]*awaited // live tasks that wait for others, or did
	spaces map[string]*space   // namespaces, as the tasks that succeeded made them
	flow   flow                // through queues
}

// space is a namespace as it should be, with all its versions.
type space struct {
	items    map[string]string
	versions []map[string]string // items of version 1 and on
}

func newHistory() *history {
	return &history{map[string]bool{}, map[string]int64{}, OK, map[string]*awaited{}, map[string]*space{}, newFlow()}
}

func (h *history) space(name string) *space {
	if h.spaces[name] == nil {
		h.spaces[name] = &space{items: map[string]string{}}
	}
	return h.spaces[name]
}

func (sp *space) now(items map[string]string) {
	sp.items = items
	sp.versions = append(sp.versions, items)
}

func (sp *space) change(c *Change) {
	if c.Empty() {
		return
	}
	items := maps.Clone(sp.items)
	for _, k := range c.Delete {
		delete(items, k)
	}
	for _, it := range c.Put {
		items[it.Key] = valueOf(it)
	}
	sp.now(items)
}

// restorable tells whether a version exists and is not too old.
func (sp *space) restorable(v uint64) bool {
	return v > 0 && v <= uint64(len(sp.versions)) && v+HistoryVersions > uint64(len(sp.versions))
}

// note follows one command's effects.
func (h *history) note(s *State, c Command, effects []Effect) error {
	if err := h.flow.note(s, effects); err != nil {
		return err
	}
	h.admitted(s, c, effects)
	if err := h.fired(s, c); err != nil {
		return err
	}
	for _, e := range effects {
		if e.Kind != Ended {
			continue
		}
		t := e.Task
		h.came(t)
		if h.ended[t.ID] {
			return fmt.Errorf("task %s ended twice", t.ID)
		}
		h.ended[t.ID] = true
		if !t.State.Final() || s.tasks[t.ID] != nil || s.rec.Get("t/"+t.ID) == nil {
			return fmt.Errorf("task %s ended as %s, but not everywhere", t.ID, t.State)
		}
		if err := h.follow(t, c); err != nil {
			return fmt.Errorf("task %s ended as %s %q: %w", t.ID, t.State, t.Causes, err)
		}
	}
	for id := range h.ended {
		if s.rec.Get("t/"+id) == nil { // retention is over, the id is free again
			delete(h.ended, id)
		}
	}
	return nil
}

// follow makes the namespaces what a task that ended makes of them.
func (h *history) follow(t *Task, c Command) error {
	if kind, _ := t.Verdict(); kind != "" {
		return nil // it was not carried out
	}
	if t.Namespace == "" || t.State == Cancelled || t.State == Failed && t.Kind != Restore && t.Kind != Fork {
		return nil
	}
	sp := h.space(t.Namespace)
	done := t.State == Succeeded
	switch t.Kind {
	case Drop:
		delete(h.spaces, t.Namespace)
	case Patch, PatchParts:
		p, err := DecodeChange(t.Body)
		if err != nil {
			return err
		}
		sp.change(&p)
	case Restore:
		v := wire.NewReader(t.Body).Uint()
		if possible := sp.restorable(v); possible != done {
			return fmt.Errorf("restorable to version %d of %d: %v", v, len(sp.versions), possible)
		}
		if done && !maps.Equal(sp.versions[v-1], sp.items) {
			sp.now(sp.versions[v-1])
		}
	case Fork:
		from := h.space(wire.NewReader(t.Body).String())
		if possible := len(sp.versions) == 0 && len(from.items) > 0; possible != done {
			return fmt.Errorf("could be forked: %v", possible)
		}
		if done {
			sp.now(from.items)
		}
	default:
		sp.change(&c.(*Complete).Change)
	}
	return nil
}

// check recounts everything the state keeps twice.
func (h *history) check(s *State) error {
	for _, fn := range []func(*State) error{checkTasks, checkWorkers, checkReady, checkLines, h.flow.check, checkDue, checkSchedules, h.checkDependents, h.checkSpaces, checkParts, checkJobs, checkRetained, checkParked} {
		if err := fn(s); err != nil {
			return err
		}
	}
	return nil
}

func checkTasks(s *State) error {
	running := 0
	for id, t := range s.tasks {
		lines := 0
		n := s.namespaces[t.Namespace]
		if (n == nil) != (t.Namespace == "") {
			return fmt.Errorf("task %s is in no known namespace", id)
		}
		if n != nil {
			lines += count(n.tasks, func(x *Task) bool { return x == t })
		}
		if t.held {
			lines++
		}
		if n == nil || !s.backsOff(t) {
			lines += count(s.delayed.items, func(x *Task) bool { return x == t })
		}
		lines += count(waiting(s), func(u unit) bool { return u.task == t })
		switch t.State {
		case Running:
			running++
			if n == nil {
				lines++
			}
			if w := s.worker(t.Worker); w == nil || !w.has(t) || w.Incarnation != t.Incarnation {
				return fmt.Errorf("running task %s is not with its worker", id)
			}
		case Queued:
		default:
			return fmt.Errorf("live task %s is %s", id, t.State)
		}
		if lines != 1 {
			return fmt.Errorf("%s task %s is in %d lines", t.State, id, lines)
		}
	}
	if running != s.running {
		return fmt.Errorf("%d tasks run, %d are counted", running, s.running)
	}
	return nil
}

func checkWorkers(s *State) error {
	if !slices.IsSortedFunc(s.workers, func(a, b *Worker) int { return strings.Compare(a.ID, b.ID) }) {
		return fmt.Errorf("workers are not in order")
	}
	assigned := 0
	for _, w := range s.workers {
		load := 0
		for _, t := range w.tasks {
			if t.State != Running || s.tasks[t.ID] != t || !w.has(t) {
				return fmt.Errorf("worker %s has task %s, which does not run", w.ID, t.ID)
			}
			if n := s.namespaces[t.Namespace]; n == nil || n.tasks[0] == t {
				load++
			}
		}
		assigned += len(w.tasks)
		if load != w.load {
			return fmt.Errorf("worker %s has load %d, %d is counted", w.ID, load, w.load)
		}
		for _, u := range waiting(s) {
			if w.room() && fitting(w, u.head()) && s.mayBegin(u.head()) {
				return fmt.Errorf("worker %s has room and what %s needs, which waits", w.ID, u.head().ID)
			}
		}
		for _, t := range w.tasks {
			if !fitting(w, t) {
				return fmt.Errorf("worker %s with %q was given %s", w.ID, w.Has, t.ID)
			}
		}
	}
	if assigned != s.running {
		return fmt.Errorf("%d tasks are assigned, %d run", assigned, s.running)
	}
	return nil
}

// waiting are the units in all lines.
func waiting(s *State) (units []unit) {
	for _, l := range s.lines {
		units = append(units, l.units.items...)
	}
	return units
}

// fitting is what the doc of Options.Needs says.
func fitting(w *Worker, t *Task) bool {
	handler := false
	if t.Options != nil {
		for _, n := range t.Options.Needs {
			if !slices.Contains(w.Has, n) {
				return false
			}
			handler = handler || strings.HasPrefix(n, "handler:")
		}
	}
	return handler || !slices.ContainsFunc(w.Has, func(h string) bool { return strings.HasPrefix(h, "handler:") })
}

// checkLines: what is above the units follows from them.
func checkLines(s *State) error {
	refs, lanes := map[*line]int{}, map[*lane]int{}
	for _, t := range s.tasks {
		if (t.line == nil) != (t.Kind != Run) {
			return fmt.Errorf("task %s has a line: %v", t.ID, t.line != nil)
		}
		refs[t.line]++
	}
	for at, l := range s.lines {
		x, p := l.lane, l.lane.class.pool
		open := l.key == nil || !l.key.gate.shut
		if at.lane != x || at.key != l.key || s.lanes[laneKey{x.queue, x.class}] != x || refs[l] != l.refs || l.refs == 0 && l != s.plain {
			return fmt.Errorf("the line of %q has %d tasks, counted %d", x.class.needs, refs[l], l.refs)
		}
		lanes[x]++
		if (l.units.len() > 0 && open) != slices.Contains(x.lines.items, l) || (x.lines.len() > 0 && !x.queue.gate.shut) != slices.Contains(p.lanes.items, x) ||
			(p.lanes.len() > 0 && !p.shut) != slices.Contains(s.pools.items, p) {
			return fmt.Errorf("the line of %q is not filed where it belongs", x.class.needs)
		}
		for i, u := range l.units.items {
			if u.at() != i || u.line() != l || u.head().line != l || i > 0 && u.before(l.units.items[(i-1)/2]) {
				return fmt.Errorf("the line of %q is out of order at %d", x.class.needs, i)
			}
		}
	}
	for x, n := range lanes {
		if x.count != n || !slices.Contains(x.class.lanes, x) || !slices.Contains(x.queue.lanes, x) {
			return fmt.Errorf("a lane of %q has %d lines, counted %d", x.class.needs, n, x.count)
		}
	}
	if len(s.lanes) != len(lanes) {
		return fmt.Errorf("%d lanes have lines, %d are known", len(lanes), len(s.lanes))
	}
	return checkPools(s)
}

func checkPools(s *State) error {
	if len(s.classes) != len(s.classList) {
		return fmt.Errorf("%d classes, listed %d", len(s.classes), len(s.classList))
	}
	classes := map[*pool]int{}
	for _, c := range s.classList {
		if s.classes[needsKey(c.needs)] != c || len(c.lanes) == 0 {
			return fmt.Errorf("class %q is not known, or of nothing", c.needs)
		}
		classes[c.pool]++
		for _, w := range s.workers {
			if w.fits(c.needs) != slices.Contains(c.pool.workers, w) || w.fits(c.needs) != c.pool.has(w) {
				return fmt.Errorf("worker %s in the pool of %q: %v", w.ID, c.needs, c.pool.has(w))
			}
		}
	}
	for i, p := range s.grouped {
		if classes[p] != p.classes || p.classes == 0 || slices.ContainsFunc(s.grouped[:i], func(o *pool) bool { return slices.Equal(o.workers, p.workers) }) {
			return fmt.Errorf("pool %d of %d classes, counted %d, or twice", i, classes[p], p.classes)
		}
		if p.shut && slices.ContainsFunc(p.workers, (*Worker).room) {
			return fmt.Errorf("pool %d is shut and has room", i)
		}
	}
	return nil
}

// checkReady: in the lines is exactly what could be placed but for workers.
func checkReady(s *State) error {
	want := 0
	for _, t := range s.tasks {
		if t.Namespace == "" && t.State == Queued && !t.held && !slices.Contains(s.delayed.items, t) {
			want++
		}
	}
	for _, n := range s.namespaces {
		if len(n.tasks) > 0 && s.backsOff(n.tasks[0]) != slices.Contains(s.delayed.items, n.tasks[0]) {
			return fmt.Errorf("the head of namespace %s waits: %v", n.Name, s.backsOff(n.tasks[0]))
		}
		if n.running == 0 && len(n.tasks) > 0 && !s.backsOff(n.tasks[0]) {
			want++
			if n.tasks[0].Kind != Run {
				return fmt.Errorf("task %s needs no worker and waits", n.tasks[0].ID)
			}
			if n.ready < 0 || n.line != n.tasks[0].line {
				return fmt.Errorf("namespace %s could be placed and is not in line", n.Name)
			}
		} else if n.ready >= 0 {
			return fmt.Errorf("namespace %s is in line for nothing", n.Name)
		}
	}
	if is := len(waiting(s)); want != is {
		return fmt.Errorf("%d units are in line, %d could be placed", is, want)
	}
	if len(s.inline) != 0 {
		return fmt.Errorf("a patch or drop was left undone")
	}
	for i, t := range s.delayed.items {
		if t.at() != i || t.NotBefore <= s.Clock || i > 0 && t.before(s.delayed.items[(i-1)/2]) {
			return fmt.Errorf("the delayed heap is out of order at %d", i)
		}
	}
	return nil
}

func (h *history) checkSpaces(s *State) error {
	for name, n := range s.namespaces {
		for i, t := range n.tasks {
			if (t.State == Running) != (i < n.running) || (i > 0 && n.tasks[i-1].Order >= t.Order) {
				return fmt.Errorf("namespace %s: its line is wrong at %d", name, i)
			}
			if t.State == Running && (t.Worker != n.Worker || t.Incarnation != n.Incarnation || t.Epoch != n.Epoch) {
				return fmt.Errorf("namespace %s: task %s does not run where it is", name, t.ID)
			}
		}
		if n.delayed != count(s.delayed.items, func(t *Task) bool { return t.Namespace == name && !s.backsOff(t) })+s.heldIn(name) {
			return fmt.Errorf("namespace %s: delayed tasks are miscounted", name)
		}
		sp := h.space(name)
		if n.Version != uint64(len(sp.versions)) {
			return fmt.Errorf("namespace %s has version %d after %d changes", name, n.Version, len(sp.versions))
		}
		var items, size, inParts uint64
		are := map[string]string{}
		s.Items(name, 0, func(k string, v []byte, _ uint64) {
			items++
			size += uint64(len(k) + len(v))
			are[k] = string(v)
		})
		s.StoredItems(name, 0, func(it Item, _ uint64) {
			if it.Parts != nil {
				inParts += it.Parts.Size
			}
		})
		if inParts != n.InParts {
			return fmt.Errorf("namespace %s has %d bytes in parts, counted as %d", name, inParts, n.InParts)
		}
		if !maps.Equal(are, sp.items) {
			return fmt.Errorf("namespace %s holds %q, it should hold %q", name, are, sp.items)
		}
		kept := 0
		s.rec.Scan("u/"+name+"/", "", func(string, []byte) bool { kept++; return true })
		if want := min(len(sp.versions), HistoryVersions); kept != want || len(s.History(name)) != want {
			return fmt.Errorf("namespace %s at version %d has %d undo records and %d versions", name, n.Version, kept, len(s.History(name)))
		}
		if items != n.Items || size != n.Bytes {
			return fmt.Errorf("namespace %s has %d items of %d bytes, counted as %d of %d", name, items, size, n.Items, n.Bytes)
		}
		if len(n.tasks) == 0 && n.delayed == 0 && !n.Exists() {
			return fmt.Errorf("namespace %s is nothing and still there", name)
		}
	}
	var orphan error
	s.rec.Scan("u/", "", func(k string, _ []byte) bool {
		if ns, _, _ := strings.Cut(k[2:], "/"); s.namespaces[ns] == nil {
			orphan = fmt.Errorf("undo record %q is of no namespace", k)
		}
		return orphan == nil
	})
	return orphan
}

// checkParts: each part is there exactly as long as something refers to it or it
// has a lease, and every count is that of a recount.
func checkParts(s *State) error {
	refs := map[part.Hash]uint64{}
	add := func(m *part.Manifest) {
		if m != nil {
			for _, h := range m.Parts {
				refs[h]++
			}
		}
	}
	for name := range s.namespaces {
		s.StoredItems(name, 0, func(it Item, _ uint64) { add(it.Parts) })
	}
	s.rec.Scan("u/", "", func(_ string, rec []byte) bool {
		for _, it := range mustUndo(rec).former {
			add(it.Parts)
		}
		return true
	})
	for _, t := range s.tasks {
		if t.Kind == PatchParts {
			eachPart(t.Body, add)
		}
	}
	there, stored, size := 0, 0, uint64(0)
	owners := map[string]uint64{}
	for _, p := range partPool {
		c, ok := s.counted(p.Hash)
		l := s.leases[p.Hash]
		wanted := refs[p.Hash] > 0 || l != nil
		if ok != wanted || c.refs != refs[p.Hash] || (s.Part(p.Hash) != nil) != wanted || s.rec.Get(leaseKey(p.Hash)) != nil != (l != nil) {
			return fmt.Errorf("part %q: %d references, counted %d, there %v, leased %v", p.Bytes, refs[p.Hash], c.refs, ok, l != nil)
		}
		if ok {
			there++
			if c.size != uint64(len(p.Bytes)) || !bytes.Equal(s.Part(p.Hash), p.Bytes) {
				return fmt.Errorf("part %q is %q of %d bytes", p.Bytes, s.Part(p.Hash), c.size)
			}
		}
		if l != nil {
			if c.refs > 0 || l.until <= s.Clock {
				return fmt.Errorf("part %q has %d references and a lease until %d at %d", p.Bytes, c.refs, l.until, s.Clock)
			}
			size += l.size
			owners[l.owner] += l.size
		}
	}
	s.rec.Scan("p/", "", func(string, []byte) bool { stored++; return true })
	s.rec.Scan("c/", "", func(string, []byte) bool { stored++; return true })
	if n, bytes := s.Uploads(); stored != 2*there || n != s.leased.len() || bytes != size || !maps.Equal(owners, s.uploaders) {
		return fmt.Errorf("%d records of %d parts; %d leases of %d bytes, counted %d %v of %d", stored, there, s.leased.len(), size, n, s.uploaders, bytes)
	}
	return nil
}

func checkJobs(s *State) error {
	for id, j := range s.jobs {
		live, folds := uint64(0), uint64(0)
		for _, t := range s.tasks {
			if t.Job == id && t.FoldOf == "" {
				live++
			} else if t.Job == id {
				folds++
			}
		}
		if j.Succeeded+j.Failed+live != j.Total || j.Folded+j.FoldFailed+folds != j.Folds {
			return fmt.Errorf("job %s: %d and %d live, counted as %+v", id, live, folds, *j)
		}
		if j.Sealed && live+folds == 0 {
			return fmt.Errorf("job %s is over and open", id)
		}
		if err := checkFailures(s, j); err != nil {
			return err
		}
	}
	for _, j := range s.Jobs("", 1000) {
		if err := checkFailures(s, j); err != nil {
			return err
		}
	}
	return nil
}

// checkFailures: what a job counts as failed is noted, once, and nothing else is.
func checkFailures(s *State, j *Job) error {
	failed, folds := uint64(0), uint64(0)
	for _, u := range s.Unfinished(j.ID, 0, 1000) {
		t := s.UnfinishedTask(u)
		if t == nil { // it is no longer kept
			return nil
		}
		switch {
		case !t.State.Final() || t.State == Succeeded && !u.Owed:
			return fmt.Errorf("job %s: %+v is noted as failed, and is %v", j.ID, u, t.State)
		case t.State == Succeeded:
		case t.FoldOf != "":
			folds++
		default:
			failed++
		}
	}
	if j.counted() && (failed > j.Failed || folds > j.FoldFailed || j.Spawned == 0 && (failed != j.Failed || folds != j.FoldFailed)) { // what came before the first counted one is not noted
		return fmt.Errorf("job %s: %d tasks and %d folds are noted as failed, counted %d and %d", j.ID, failed, folds, j.Failed, j.FoldFailed)
	}
	if j.counted() && j.Round == 0 && j.Done > j.Inputs { // what replaces a task here may have more inputs than it
		return fmt.Errorf("job %s: %d of %d inputs done", j.ID, j.Done, j.Inputs)
	}
	return nil
}

// checkRetained: everything finished is in the list of the finished, once.
func checkRetained(s *State) error {
	size, listed, stored, gone := uint64(0), 0, 0, 0
	look := lookup{s: s}
	for n := s.FinLo; n < s.FinHi; n++ {
		if l := look.at(n); l.kind != listedNothing {
			listed++
			size += uint64(len(s.rec.Get(l.key())))
		} else {
			gone++
		}
	}
	if err := checkListRecords(s); err != nil {
		return err
	}
	own, err := checkKept(s)
	if err != nil {
		return err
	}
	for _, prefix := range []string{"t/", "h/"} {
		s.rec.Scan(prefix, "", func(string, []byte) bool { stored++; return true })
	}
	if listed+own != stored || uint64(listed+gone) != s.FinHi-s.FinLo || size != s.FinBytes {
		return fmt.Errorf("%d finished are stored, %d listed, %d counted, of %d bytes, counted %d", stored, listed, s.FinHi-s.FinLo, size, s.FinBytes)
	}
	return nil
}

// checkListRecords: the list has the records that it is made of, and no others.
func checkListRecords(s *State) error {
	singles, pages := uint64(0), uint64(0)
	s.rec.Scan("f/", "", func(string, []byte) bool { singles++; return true })
	s.rec.Scan("F/", "", func(string, []byte) bool { pages++; return true })
	if s.pages == nil {
		if singles != s.FinHi-s.FinLo || pages != 0 {
			return fmt.Errorf("%d entries and %d pages are stored, of %d to %d", singles, pages, s.FinLo, s.FinHi)
		}
		return nil
	}
	full := s.FinHi/pageEntries - s.FinLo/pageEntries // and the newest, which may not be written yet
	if singles != 0 || pages < full || pages > full+min(s.FinHi%pageEntries, 1) {
		return fmt.Errorf("%d entries and %d pages are stored, of %d to %d", singles, pages, s.FinLo, s.FinHi)
	}
	return nil
}

// checkParked: where parked tasks are counted, the numbers are those there are, in
// memory and in the records.
func checkParked(s *State) error {
	if s.parked == nil {
		return nil
	}
	are := map[string]uint64{}
	s.rec.Scan("t/", "", func(_ string, rec []byte) bool {
		if t := mustTask(rec); t.State == Failed && t.Kind == Run {
			name, _ := namesOf(t)
			are[name]++
		}
		return true
	})
	if !maps.Equal(are, s.parked) {
		return fmt.Errorf("parked are %v, counted %v", are, s.parked)
	}
	again := mustLoad(s.settled())
	if !maps.Equal(again.parked, s.parked) {
		return fmt.Errorf("parked are %v, loaded %v", s.parked, again.parked)
	}
	return nil
}

func count[T any](list []T, is func(T) bool) (n int) {
	for _, x := range list {
		if is(x) {
			n++
		}
	}
	return n
}

// twin is a second state that is given the same commands.
type twin struct{ *State }

// load makes a twin from what a state has written down.
func (s *State) twin() *twin { return &twin{mustLoad(s.settled())} }

func (w *twin) same(s *State) error {
	a, b := s.settled(), w.settled()
	if maps.EqualFunc(a, b, bytes.Equal) {
		return nil
	}
	for k := range a {
		if !bytes.Equal(a[k], b[k]) {
			return fmt.Errorf("record %q is %q in one and %q in the other", k, a[k], b[k])
		}
	}
	return fmt.Errorf("one has records that the other has not")
}

// TestInvariants: whatever commands come, the state stays consistent; a state
// loaded from its records goes on as the one that wrote them; and when the
// records are written does not matter.
func TestInvariants(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := mustLoad(plainRecords{})
		g := newTraffic(rapid.Uint64().Draw(t, "seed"), s)
		h := newHistory()
		twins := []*twin{s.twin()} // the first is loaded at the beginning and never settles before the end
		steps := rapid.IntRange(1, 400).Draw(t, "steps")
		for i := range steps {
			step(t, s, g, h, twins)
			if g.one(40) {
				twins = append(twins, s.twin())
			}
			if g.one(20) {
				if err := twins[len(twins)-1].same(s); len(twins) > 1 && err != nil {
					t.Fatalf("step %d: %v", i, err)
				}
			}
		}
		for i, w := range twins {
			if err := w.same(s); err != nil {
				t.Fatalf("twin %d: %v", i, err)
			}
		}
	})
}

// step gives one entry of one command to a state and its twins, and compares.
func step(t *rapid.T, s *State, g *traffic, h *history, twins []*twin) {
	now := g.advance()
	s.Advance(now)
	if err := h.note(s, &Tick{}, s.effects); err != nil {
		t.Fatalf("advance: %v", err)
	}
	began := len(s.effects)
	c := g.command()
	encoded := c.AppendTo(nil)
	was := s.absent(c)
	r := s.Step(c)
	h.answer = r.Code
	text := fmt.Sprintf("%T %+v: %s", c, c, r.Code)
	if err := was.follow(s); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	if err := h.note(s, c, s.effects[began:]); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	if err := h.check(s); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	effects := s.take()
	for _, w := range twins {
		again, err := DecodeCommand(wire.NewReader(encoded))
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		w.Advance(now)
		if other := w.Step(again); other != r {
			t.Fatalf("%s: the twin answers %+v", text, other)
		}
		if other := w.take(); !slices.Equal(other, effects) {
			t.Fatalf("%s: effects %q, of the twin %q", text, effects, other)
		}
	}
}

// TestDrains: when workers stay and every attempt succeeds, everything that was
// submitted ends.
func TestDrains(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) { drain(t, rapid.Uint64().Draw(t, "seed")) })
}

// TestDrainsAgain: histories that once did not come to an end.
func TestDrainsAgain(t *testing.T) {
	for _, seed := range []uint64{
		0x646c9e432, // replaces a task that waited for one that was dropped
	} {
		drain(t, seed)
	}
}

// drain makes a history of a seed, and has it come to an end.
func drain(t interface{ Fatalf(string, ...any) }, seed uint64) {
	s := mustLoad(plainRecords{})
	g := newTraffic(seed, s)
	for range 100 {
		s.Advance(g.advance())
		s.Step(g.command())
	}
	s.Advance(g.now + 10*second)
	for _, name := range queueNames {
		s.Step(&SetQueue{Name: name, Paused: new(bool)})
	}
	for i, has := range [][]string{nil, {"label:a=1", "label:b=1"}, {"handler:h", "label:a=1", "label:b=1"}} {
		s.Step(&WorkerUp{Worker: fmt.Sprint("last", i), Incarnation: 1, Slots: 1, Has: has})
	}
	for rounds := 0; len(s.tasks) > 0; rounds++ {
		g.now += second
		s.Advance(g.now)
		if rounds > 10_000 {
			t.Fatalf("%d tasks never end, the first is %+v", len(s.tasks), *s.Live("", "", 1)[0])
		}
		if at := s.NextDeadline(); at > 0 {
			s.Advance(at)
		}
		for _, w := range slices.Clone(s.workers) {
			for _, x := range s.assignedTo(w) {
				c := &Complete{Task: x.ID, Attempt: x.Attempt, Worker: x.Worker, Incarnation: x.Incarnation, Status: Success}
				if n := s.namespaces[x.Namespace]; n != nil {
					c.Epoch, c.Base = n.Epoch, n.Version
				}
				s.Step(c)
			}
		}
	}
}

// TestRestore: after any changes, a restore brings back exactly the items of
// the version it names, for each version that is kept, and nothing for others.
func TestRestore(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := mustLoad(plainRecords{})
		g := newTraffic(rapid.Uint64().Draw(t, "seed"), s)
		h := newHistory()
		for i := range rapid.IntRange(1, 60).Draw(t, "changes") {
			x := g.change()
			c := &Submit{ID: fmt.Sprint("t", i), Namespace: "n0", Kind: Patch, Body: x.Encode()}
			if x.InParts() {
				c.Kind = PatchParts
				for _, p := range partPool {
					s.Step(&Upload{Hash: p.Hash, Bytes: p.Bytes})
				}
			}
			if g.one(3) {
				c.Kind, c.Body = Restore, RestoreBody(g.version("n0"))
			}
			s.Step(c)
			if err := h.note(s, c, s.Effects()); err != nil {
				t.Fatal(err)
			}
			if err := h.checkSpaces(s); err != nil {
				t.Fatal(err)
			}
			if err := checkParts(s); err != nil {
				t.Fatal(err)
			}
			if g.one(10) {
				s = mustLoad(s.settled())
				g.s = s
			}
		}
	})
}
