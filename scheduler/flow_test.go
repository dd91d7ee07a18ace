package scheduler

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	"farm/internal/wire"
)

// ---- what random histories do with queues ----

var queueNames = []string{"default", "q1", "q2"}

func (g *traffic) queueing(c *Submit) {
	if c.Options == nil {
		c.Options = &Options{}
	}
	o := c.Options
	o.Queue = []string{"", "q1", "q2"}[g.rnd.IntN(3)]
	if g.one(2) {
		o.Key = fmt.Sprint("k", g.rnd.IntN(3))
	}
	if c.Job == "" && g.one(2) {
		o.Unique = g.unique()
	}
}

func (g *traffic) unique() *Unique {
	u := &Unique{Key: fmt.Sprint("u/", g.rnd.IntN(4)), While: While(1 + g.rnd.IntN(3))}
	if u.While == WhilePeriod {
		u.Period = 1 + g.rnd.Int64N(5*second)
	}
	return u
}

func (g *traffic) bounds() *Bounds {
	b := &Bounds{}
	if g.one(2) {
		b.Concurrency = g.rnd.Uint32N(4)
	}
	if g.one(2) {
		b.Rate = Rate{Count: 1 + g.rnd.Uint32N(5), Period: second/10 + g.rnd.Int64N(10*second), Burst: g.rnd.Uint32N(4)}
	}
	return b
}

func (g *traffic) setQueue() Command {
	c := &SetQueue{Name: queueNames[g.rnd.IntN(len(queueNames))]}
	if g.one(2) {
		p := g.one(4)
		c.Paused = &p
	}
	if b := g.bounds(); g.one(2) {
		c.Concurrency, c.Rate = &b.Concurrency, &b.Rate
	}
	if b := g.bounds(); g.one(2) {
		c.KeyConcurrency, c.KeyRate = &b.Concurrency, &b.Rate
	}
	return c
}

// ---- what they are held against ----

// flow is what went through each queue and key, as tests see it: from effects
// and settings, without gates.
type flow struct {
	starts map[string][]int64 // by queue, and queue/key: when attempts began since the rate was set
	rates  map[string]Rate
	first  map[string]bool     // tasks that were given to a worker
	held   map[string]*keeping // by unique key
}

type keeping struct {
	task  *Task
	until int64
}

func newFlow() flow {
	return flow{map[string][]int64{}, map[string]Rate{}, map[string]bool{}, map[string]*keeping{}}
}

func namesOf(t *Task) (queue, key string) {
	queue = "default"
	if o := t.Options; o != nil {
		key = o.Key
		if o.Queue != "" {
			queue = o.Queue
		}
	}
	return queue, key
}

func (s *State) settings(name string) *queue {
	if i, there := s.queueIndex(name); there {
		return s.queues[i]
	}
	return &queue{name: name}
}

// countRunning counts from the tasks.
func (s *State) countRunning(name, key string) (n int) {
	for _, t := range s.tasks {
		q, k := namesOf(t)
		if t.State == Running && q == name && (key == "" || k == key) {
			n++
		}
	}
	return n
}

// mayBegin tells whether nothing but workers keeps a task from beginning.
func (s *State) mayBegin(t *Task) bool {
	name, key := namesOf(t)
	q := s.settings(name)
	open := func(b Bounds, g *gate, key string) bool {
		return (b.Concurrency == 0 || s.countRunning(name, key) < int(b.Concurrency)) && (b.Rate.Count == 0 || g.next-b.Rate.slack() <= s.Clock)
	}
	return !q.paused && open(q.bounds, &q.gate, "") && (key == "" || open(q.keyBounds, &q.keys[key].gate, key))
}

// note follows effects; the commands have been applied.
func (f *flow) note(s *State, effects []Effect) error {
	for name, rate := range f.rates { // a new rate counts anew
		queue, key, _ := strings.Cut(name, "/")
		is := s.settings(queue).bounds.Rate
		if key != "" {
			is = s.settings(queue).keyBounds.Rate
		}
		if is != rate {
			delete(f.rates, name)
			delete(f.starts, name)
		}
	}
	for _, e := range effects {
		if e.Kind == Ended { // perhaps in the step that made it
			t := e.Task
			delete(f.first, t.ID) // it may be made live again, and has its key again then
			if u := t.Options.unique(); u != nil && u.While == WhilePeriod && t.Submitted+u.Period > s.Clock {
				f.held[u.Key] = &keeping{t, t.Submitted + u.Period}
			}
		}
		if e.Kind != Assigned {
			continue
		}
		f.first[e.Task.ID] = true
		name, key := namesOf(e.Task)
		q := s.settings(name)
		if q.paused {
			return fmt.Errorf("task %s begins in queue %s, which is paused", e.Task.ID, name)
		}
		if err := f.through(s, q.bounds, name, name, ""); err != nil {
			return err
		}
		if key != "" {
			if err := f.through(s, q.keyBounds, name+"/"+key, name, key); err != nil {
				return err
			}
		}
	}
	return nil
}

// through checks an attempt that began against the bounds of a queue or key.
func (f *flow) through(s *State, b Bounds, id, name, key string) error {
	if n := s.countRunning(name, key); b.Concurrency > 0 && n > int(b.Concurrency) {
		return fmt.Errorf("one more begins in %s, and %d run of at most %d", id, n, b.Concurrency)
	}
	if b.Rate.Count == 0 {
		return nil
	}
	f.rates[id] = b.Rate
	f.starts[id] = append(f.starts[id], s.Clock)
	all := f.starts[id]
	for i, from := range all {
		if n, most := int64(len(all)-i), 1+(s.Clock-from+b.Rate.slack())/b.Rate.interval(); n > most {
			return fmt.Errorf("%d attempts of %s in %d ns, at most %d by %+v", n, id, s.Clock-from, most, b.Rate)
		}
	}
	return nil
}

// check recounts what queues, gates and keys keep, and who has unique keys.
func (f *flow) check(s *State) error {
	type numbers struct{ live, running, delayed, held, units int }
	is := map[string]*numbers{}
	of := func(name string) *numbers {
		if is[name] == nil {
			is[name] = &numbers{}
		}
		return is[name]
	}
	for _, t := range s.tasks {
		if t.Kind != Run {
			continue
		}
		name, key := namesOf(t)
		for _, id := range []string{name, name + "/" + key}[:1+min(len(key), 1)] {
			n := of(id)
			n.live++
			if t.State == Running {
				n.running++
			}
			if slices.Contains(s.delayed.items, t) {
				n.delayed++
			}
			if t.held {
				n.held++
			}
		}
	}
	for _, u := range waiting(s) {
		name, key := namesOf(u.head())
		of(name).units++
		if key != "" {
			of(name+"/"+key).units++
		}
	}
	gate := func(g *gate, id string) error {
		n := of(id)
		shut, until := g.closed(s.Clock)
		timed := slices.Contains(s.timers.items, g)
		switch {
		case g.running != n.running || g.waiting != n.units:
			return fmt.Errorf("%s has %+v, counted %d and %d", id, *n, g.running, g.waiting)
		case n.units > 0 && g.shut != shut:
			return fmt.Errorf("gate %s is shut %v, it should be %v", id, g.shut, shut)
		case timed != (n.units > 0 && until > 0) || timed && g.until != until:
			return fmt.Errorf("gate %s opens at %d, it waits for %d: %v", id, until, g.until, timed)
		}
		return nil
	}
	keys := 0
	for _, q := range s.queues {
		n := of(q.name)
		if q.refs != n.live || q.delayed != n.delayed || q.held != n.held || q.refs == 0 && q.plain() && len(q.keys) == 0 && q.name != DefaultQueue {
			return fmt.Errorf("queue %s has %+v, counted %d and %d", q.name, *n, q.refs, q.delayed)
		}
		if err := gate(&q.gate, q.name); err != nil {
			return err
		}
		for name, k := range q.keys {
			keys++
			id := q.name + "/" + name
			if k.refs != of(id).live || (k.refs == 0) != slices.Contains(s.idle.items, k) || k.refs == 0 && k.gate.next <= s.Clock {
				return fmt.Errorf("key %s has %+v, counted %d, next at %d", id, *of(id), k.refs, k.gate.next)
			}
			if err := gate(&k.gate, id); err != nil {
				return err
			}
		}
		delete(is, q.name)
	}
	for id, n := range is {
		queue, key, keyed := strings.Cut(id, "/")
		if n.live > 0 && (!keyed || s.settings(queue).keys[key] == nil) {
			return fmt.Errorf("%s has %+v and is not known", id, *n)
		}
	}
	if keys != s.keys {
		return fmt.Errorf("%d keys, counted %d", keys, s.keys)
	}
	return f.checkUnique(s)
}

// checkUnique: a unique key is with the one task that may have it.
func (f *flow) checkUnique(s *State) error {
	for key, h := range f.held {
		u := h.task.Options.Unique
		over := u.While == WhilePeriod && h.until <= s.Clock || u.While != WhilePeriod && s.tasks[h.task.ID] == nil ||
			u.While == WhileQueued && f.first[h.task.ID]
		if over {
			delete(f.held, key)
		}
	}
	for _, t := range s.tasks {
		u := t.Options.unique()
		if u == nil || u.While == WhileQueued && f.first[t.ID] || u.While == WhilePeriod && t.Submitted+u.Period <= s.Clock {
			continue
		}
		if h := f.held[u.Key]; h != nil && h.task.ID != t.ID {
			return fmt.Errorf("tasks %s and %s both have the unique key %s", h.task.ID, t.ID, u.Key)
		}
		f.held[u.Key] = &keeping{t, t.Submitted + u.Period}
	}
	stored := 0
	for i := range 4 {
		key, want := fmt.Sprint("u/", i), ""
		if h := f.held[key]; h != nil {
			want = h.task.ID
		}
		if is := s.UniqueHolder(key); is != want {
			return fmt.Errorf("unique key %s is with %q, it should be with %q", key, is, want)
		}
	}
	s.rec.Scan("U/", "", func(string, []byte) bool { stored++; return true })
	if stored != s.uniques {
		return fmt.Errorf("%d unique keys are stored, %d counted", stored, s.uniques)
	}
	return nil
}

// ---- transcripts ----

func (f fields) unique() *Unique {
	w := f.list("unique")
	if len(w) < 2 {
		return nil
	}
	u := &Unique{Key: w[0]}
	switch w[1] {
	case "queued":
		u.While = WhileQueued
	case "running":
		u.While = WhileRunning
	default:
		n, _ := strconv.ParseFloat(w[1], 64)
		u.While, u.Period = WhilePeriod, int64(n*float64(second))
	}
	return u
}

func (f fields) limits(prefix string) (conc *uint32, rate *Rate) {
	if n := f.number(prefix+"conc", -1); n >= 0 {
		conc = new(uint32(n))
	}
	if count, period, ok := strings.Cut(f.text(prefix+"rate", ""), "/"); ok {
		n, _ := strconv.Atoi(count)
		x, _ := strconv.ParseFloat(period, 64)
		rate = &Rate{Count: uint32(n), Period: int64(x * float64(second)), Burst: uint32(f.number(prefix+"burst", 0))}
	}
	return conc, rate
}

func (p *player) setQueue(name string) Command {
	c := &SetQueue{Name: name}
	c.Concurrency, c.Rate = p.f.limits("")
	c.KeyConcurrency, c.KeyRate = p.f.limits("key")
	if paused := p.f.has("pause"); paused || p.f.has("resume") {
		c.Paused = &paused
	}
	return c
}

func (p *player) queues() (out []string) {
	for _, i := range p.s.Queues() {
		i = p.s.Queue(i.Name)
		text := fmt.Sprintf("%s: %d waiting, %d running, %d delayed, %d limited, %d keys", i.Name, i.Waiting, i.Running, i.Delayed, i.Limited, i.Keys)
		if i.Paused {
			text += ", paused"
		}
		for _, k := range i.Busiest {
			text += fmt.Sprintf(", %s %d+%d", k.Key, k.Running, k.Waiting)
		}
		out = append(out, text)
	}
	return out
}

// ---- codec, limits ----

func TestSetQueueRoundTrip(t *testing.T) {
	one, two, r := new(uint32(1)), new(uint32(2)), &Rate{10, second, 2}
	for _, c := range []*SetQueue{{Name: "q"}, {Name: "q", Paused: new(true)}, {Name: "q", Concurrency: one}, {Name: "q", KeyRate: r}, {"q", new(false), one, r, two, &Rate{}}} {
		enc := c.AppendTo(nil)
		r := wire.NewReader(enc)
		if got, err := DecodeCommand(r); err != nil || r.Done() != nil || !reflect.DeepEqual(got, c) {
			t.Errorf("%+v: %+v, %v", c, got, err)
		}
		for i := range enc {
			if _, err := DecodeCommand(wire.NewReader(enc[:i])); !errors.Is(err, wire.ErrCorrupt) {
				t.Errorf("%+v cut at %d: %v", c, i, err)
			}
		}
	}
}

func TestQueueLimits(t *testing.T) {
	s := mustLoad(plainRecords{})
	set := func(name string, b Bounds, want Code) {
		t.Helper()
		for _, c := range []*SetQueue{{Name: name, Concurrency: &b.Concurrency, Rate: &b.Rate}, {Name: name, KeyConcurrency: &b.Concurrency, KeyRate: &b.Rate}} {
			if r := s.Step(c); r.Code != want {
				t.Errorf("%s %+v: %+v", name, b, r)
			}
		}
	}
	set("a/b", Bounds{}, Invalid)
	set("q", Bounds{Concurrency: MaxLive + 1}, Invalid)
	for _, r := range []Rate{{Count: 1}, {Period: second}, {Burst: 2}, {MaxRateCount + 1, second, 0}, {1, 1, 0}, {1, MaxRatePeriod + 1, 0}, {2, MaxRatePeriod, 3},
		{1_000_000, second / 2, 0}} {
		set("q", Bounds{Rate: r}, Invalid)
	}
	if len(s.queues) != 1 || len(s.settled()) != 1 {
		t.Errorf("what was refused left something: %v", s.settled())
	}
	set("q", Bounds{MaxLive, Rate{1, MaxRatePeriod, 1}}, OK)
	submitted(t, s, Submit{ID: "a", Options: &Options{Queue: "a/b"}}, Invalid, "queue")
	submitted(t, s, Submit{ID: "a", Options: &Options{Key: strings.Repeat("x", MaxKeyBytes+1)}}, Limit, fmt.Sprint(MaxKeyBytes))
	submitted(t, s, Submit{ID: "a", Kind: Drop, Namespace: "n", Options: &Options{Queue: "q"}}, Invalid, "no worker")
	for _, u := range []Unique{{}, {Key: "k"}, {Key: "k", While: WhileQueued, Period: 1}, {Key: "k", While: WhilePeriod}, {Key: "k", While: WhilePeriod + 1},
		{Key: "k", While: WhilePeriod, Period: MaxUniqueFor + 1}, {Key: strings.Repeat("x", MaxKeyBytes+1), While: WhileQueued}} {
		submitted(t, s, Submit{ID: "a", Options: &Options{Unique: &u}}, Invalid, "unique key")
	}
	s.Step(&OpenJob{ID: "j"})
	submitted(t, s, Submit{ID: "a", Job: "j", Options: &Options{Unique: &Unique{Key: "k", While: WhileQueued}}}, Invalid, "job")
	for i := len(s.queues); i < MaxQueues; i++ {
		submitted(t, s, Submit{ID: fmt.Sprint("q", i), Options: &Options{Queue: fmt.Sprint("x", i)}}, OK, "")
	}
	submitted(t, s, Submit{ID: "a", Options: &Options{Queue: "more"}}, Limit, "queues")
	if r := s.Step(&SetQueue{Name: "more"}); r.Code != Limit {
		t.Errorf("%+v", r)
	}
	submitted(t, s, Submit{ID: "a"}, OK, "")
	s.uniques = MaxUniques
	submitted(t, s, Submit{ID: "b", Options: &Options{Unique: &Unique{Key: "k", While: WhileQueued}}}, Limit, "unique keys")
}

// TestManyKeys: keys are bounded, those without tasks are forgotten, and a key
// whose tasks cannot begin costs the others nothing.
func TestManyKeys(t *testing.T) {
	s := mustLoad(plainRecords{})
	s.Step(&SetQueue{Name: "q", KeyConcurrency: new(uint32(1))})
	s.Step(&WorkerUp{Worker: "w", Incarnation: 1, Slots: 1})
	const keys = 2_000
	s.keys += MaxKeys - keys
	for i := range keys {
		submitted(t, s, Submit{ID: fmt.Sprint("t", i), Options: &Options{Queue: "q", Key: fmt.Sprint(i)}}, OK, "")
	}
	submitted(t, s, Submit{ID: "more", Options: &Options{Queue: "q", Key: "more"}}, Limit, "keys")
	submitted(t, s, Submit{ID: "more", Options: &Options{Queue: "q", Key: "7"}}, OK, "")
	s.Step(&Cancel{ID: fmt.Sprint("t", keys-1)})
	submitted(t, s, Submit{ID: "another", Options: &Options{Queue: "q", Key: "another"}}, OK, "")
	for id := range s.tasks {
		s.Step(&Cancel{ID: id})
	}
	for _, x := range s.Assigned("w") {
		s.Step(&Complete{Task: x.ID, Attempt: x.Attempt, Worker: "w", Incarnation: 1, Status: Stopped})
	}
	if s.keys -= MaxKeys - keys; s.keys != 0 || len(s.tasks) != 0 {
		t.Errorf("%d keys of %d tasks are left", s.keys, len(s.tasks))
	}
}

// TestUniqueLapse: keys held for a period are forgotten, few at a time, and count
// no more before they are.
func TestUniqueLapse(t *testing.T) {
	s := mustLoad(plainRecords{})
	for i := range 3 * lapses {
		submitted(t, s, Submit{ID: fmt.Sprint("t", i), Options: &Options{Unique: &Unique{fmt.Sprint("k", i), WhilePeriod, second + int64(i)}}}, OK, "")
	}
	s = mustLoad(s.settled())
	s.Advance(2 * second)
	if s.uniques != 2*lapses || s.UniqueHolder(fmt.Sprint("k", 2*lapses)) != "" {
		t.Errorf("%d are held, and one that lapsed by %q", s.uniques, s.UniqueHolder(fmt.Sprint("k", 2*lapses)))
	}
	submitted(t, s, Submit{ID: "again", Options: &Options{Unique: &Unique{fmt.Sprint("k", 2*lapses), WhilePeriod, 9 * second}}}, OK, "")
	for range 3 {
		s.Advance(2 * second)
	}
	if s.uniques != 1 || s.UniqueHolder(fmt.Sprint("k", 2*lapses)) != "again" {
		t.Errorf("%d are held", s.uniques)
	}
	s.Advance(20 * second)
	for k, rec := range s.settled() {
		if k[0] == 'V' || strings.HasPrefix(k, "U/") || k == "U" && !bytes.Equal(rec, []byte{recordVersion, 0}) {
			t.Errorf("%q is left: %q", k, rec)
		}
	}
}

// TestUniqueOfSubmits: what a task submits has unique keys as what a client does:
// the second of a key is not made, and the limits count them together.
func TestUniqueOfSubmits(t *testing.T) {
	s := mustLoad(plainRecords{})
	s.Step(&WorkerUp{Worker: "w", Incarnation: 1, Slots: 1})
	page := func(id, key string) *Submit {
		return &Submit{ID: id, Kind: Run, Options: &Options{Queue: "pages", Unique: &Unique{Key: key, While: WhileRunning}}}
	}
	report := func(id string, submits ...*Submit) {
		t.Helper()
		x := s.Task(id)
		if r := s.Step(&Complete{Task: id, Attempt: x.Attempt, Worker: "w", Incarnation: 1, Status: Success, Submits: submits, Took: second}); r.Code != OK {
			t.Fatalf("%s: %+v", id, r)
		}
		if err := checkLines(s); err != nil {
			t.Fatal(err)
		}
	}
	s.Step(page("root", "/"))
	report("root", page("a", "/a"), page("b", "/b"), page("again", "/a"), page("up", "/"))
	for id, there := range map[string]bool{"a": true, "b": true, "again": false, "up": false} {
		if (s.Task(id) != nil) != there {
			t.Errorf("%s is there: %v", id, !there)
		}
	}
	if h := s.UniqueHolder("/a"); h != "a" || s.uniques != 2 {
		t.Errorf("/a is with %q, %d are held", h, s.uniques)
	}
	s.uniques = MaxUniques - 1
	report("a", page("c", "/c"), page("d", "/d"))
	if x := s.Task("a"); x.State != Failed || !strings.Contains(fmt.Sprint(x.Causes), "unique keys") || s.Task("c") != nil {
		t.Errorf("%s %q", x.State, x.Causes)
	}
}
