package scheduler

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"

	"farm/internal/part"
)

// plainRecords is the simplest Records.
type plainRecords map[string][]byte

func (r plainRecords) Get(key string) []byte { return r[key] }

func (r plainRecords) Put(key string, value []byte) {
	if value == nil {
		value = []byte{}
	}
	r[key] = value
}

func (r plainRecords) Delete(key string) { delete(r, key) }

func (r plainRecords) Scan(prefix, from string, fn func(string, []byte) bool) {
	var keys []string
	for k := range r {
		if k >= from && strings.HasPrefix(k, prefix) {
			keys = append(keys, k)
		}
	}
	slices.Sort(keys)
	for _, k := range keys {
		if !fn(k, r[k]) {
			return
		}
	}
}

func mustLoad(r Records) *State {
	s, err := Load(r)
	if err != nil {
		panic(err)
	}
	return s
}

// records are what a state's records hold once it has settled.
func (s *State) settled() plainRecords {
	s.Settle()
	return maps.Clone(s.rec.(plainRecords))
}

// describe is an effect as text, with everything that matters of it.
func (e Effect) describe() string {
	names := [...]string{"", "assigned", "ended", "stop", "voided", "settled", "forgotten", "job ended"}
	var b strings.Builder
	b.WriteString(names[e.Kind])
	if t := e.Task; t != nil {
		fmt.Fprintf(&b, " %s", t.ID)
		if e.Kind == Ended {
			fmt.Fprintf(&b, " %s", t.State)
		}
	}
	if e.Attempt > 0 {
		fmt.Fprintf(&b, " attempt %d", e.Attempt)
	}
	if e.Worker != "" {
		fmt.Fprintf(&b, " on %s/%d", e.Worker, e.Incarnation)
	}
	if e.Kind == Assigned && e.Task.Namespace != "" {
		fmt.Fprintf(&b, " epoch %d", e.Task.Epoch)
	}
	if e.Space != "" {
		fmt.Fprintf(&b, " in %s", e.Space)
	}
	if e.Version > 0 {
		fmt.Fprintf(&b, " version %d", e.Version)
	}
	if j := e.Job; j != nil {
		fmt.Fprintf(&b, " %s: %d of %d succeeded, %d failed, %d of %d folded", j.ID, j.Succeeded, j.Total, j.Failed, j.Folded, j.Folds)
	}
	return b.String()
}

// take empties the effects into text.
func (s *State) take() (out []string) {
	for _, e := range s.Effects() {
		out = append(out, e.describe())
	}
	return out
}

// traffic draws commands that make sense for a state, and some that do not.
type traffic struct {
	rnd  *rand.Rand
	s    *State
	ids  int
	jobs int
	now  int64
}

func newTraffic(seed uint64, s *State) *traffic {
	return &traffic{rnd: rand.New(rand.NewPCG(seed, 1)), s: s}
}

func (g *traffic) one(in int) bool { return g.rnd.IntN(in) == 0 }

func (g *traffic) advance() int64 {
	if g.one(200) {
		g.now += 2 * Retention / 3
	}
	g.now += int64(g.rnd.IntN(int(second)))
	if g.one(10) {
		return g.now - second // a leader whose clock is behind
	}
	return g.now
}

func (g *traffic) worker() string { return fmt.Sprint("w", g.rnd.IntN(3)) }
func (g *traffic) task() string   { return fmt.Sprint("t", g.rnd.IntN(g.ids+1)) }

// partPool is the parts that random values are made of.
var partPool = func() (pool [6]part.Part) {
	for i := range pool {
		b := []byte(strings.Repeat(string(rune('A'+i)), i+1))
		pool[i] = part.Part{Hash: part.HashOf(b), Bytes: b}
	}
	return pool
}()

// fromPool returns a part of the pool.
func fromPool(h part.Hash) []byte {
	for _, p := range partPool {
		if p.Hash == h {
			return p.Bytes
		}
	}
	return nil
}

// valueOf is the value of an item, whose parts are of the pool.
func valueOf(it Item) string {
	if it.Parts == nil {
		return string(it.Value)
	}
	b, err := part.Join(*it.Parts, it.Parts.Size, fromPool)
	if err != nil {
		panic(err)
	}
	return string(b)
}

// manifest is of one to three parts, which may or may not be there.
func (g *traffic) manifest() *part.Manifest {
	m := &part.Manifest{}
	for range 1 + g.rnd.IntN(3) {
		p := partPool[g.rnd.IntN(len(partPool))]
		m.Parts, m.Size = append(m.Parts, p.Hash), m.Size+uint64(len(p.Bytes))
	}
	return m
}

func (g *traffic) upload() Command {
	p := partPool[g.rnd.IntN(len(partPool))]
	return &Upload{Owner: []string{"", "w0", "w1"}[g.rnd.IntN(3)], Hash: p.Hash, Bytes: p.Bytes}
}

func (g *traffic) command() Command {
	if len(g.s.workers) == 0 && !g.one(4) {
		return g.workerUp()
	}
	switch k := g.rnd.IntN(54); {
	case k < 14:
		return g.submit()
	case k < 28:
		return g.complete()
	case k < 30:
		return &Cancel{ID: g.task()}
	case k < 32:
		return g.giveBack()
	case k < 34:
		return g.workerUp()
	case k < 35:
		return g.lost()
	case k < 36 && g.one(3):
		return g.slots()
	case k < 36:
		return &WorkerIdle{Worker: g.worker(), Drain: g.one(3)}
	case k < 39:
		return g.job()
	case k < 41:
		if g.one(3) {
			return g.schedule()
		}
		return g.again()
	}
	if !g.one(3) {
		return g.upload()
	}
	if g.one(2) {
		return g.setQueue()
	}
	if g.one(4) {
		return &Found{Cluster: fmt.Sprint("c", g.ids), Form: Form(g.ids % 3)}
	}
	return &Tick{}
}

func (g *traffic) submit() Command {
	c := &Submit{ID: fmt.Sprint("t", g.ids+1), Kind: Run, Retries: g.rnd.Uint32N(3), Priority: int32(g.rnd.IntN(3)), Body: []byte("body")}
	if g.one(10) {
		c.ID = g.task()
	} else {
		g.ids++
	}
	if !g.one(3) {
		c.Namespace = fmt.Sprint("n", g.rnd.IntN(3))
	}
	if g.one(6) {
		c.Delay = int64(g.rnd.IntN(int(3 * second)))
	}
	if g.one(4) {
		c.Job = fmt.Sprint("j", g.jobs)
		if g.jobs%3 > 0 { // the others are of an older farm
			c.Inputs = 1 + g.rnd.Uint64N(3)
		}
	}
	if g.one(3) {
		c.Options = &Options{Timing: g.timing(), Needs: g.things("handler:h", "label:a=1", "label:b=1")}
	}
	if g.one(2) {
		g.queueing(c)
	}
	if c.Namespace != "" && g.one(4) {
		c.Kind, c.Options = Patch, nil
		if g.one(4) {
			c.Options = &Options{Unique: g.unique()}
		}
		x := g.change()
		if g.one(3) {
			x.Require = []Item{{Key: "a", Value: [][]byte{nil, {}, {1}}[g.rnd.IntN(3)]}}
		}
		c.Body = x.Encode()
		if x.InParts() {
			c.Kind = PatchParts
		}
		switch g.rnd.IntN(12) {
		case 0, 1:
			c.Kind, c.Body = Drop, nil
		case 2, 3, 4:
			c.Kind, c.Body = Restore, RestoreBody(g.version(c.Namespace))
		case 5, 6:
			c.Kind, c.Body = Fork, ForkBody(fmt.Sprint("n", g.rnd.IntN(3)))
		}
	}
	return c
}

// things is some of those given.
func (g *traffic) things(all ...string) (some []string) {
	for _, t := range all {
		if g.one(2) {
			some = append(some, t)
		}
	}
	return some
}

// version is one that a namespace may have kept, or just not.
func (g *traffic) version(ns string) uint64 {
	n := g.s.namespaces[ns]
	if n == nil {
		return uint64(g.rnd.IntN(2))
	}
	return uint64(max(0, int(n.Version)+1-g.rnd.IntN(HistoryVersions+3)))
}

func (g *traffic) change() (c Change) {
	for _, k := range []string{"a", "b", "c"} {
		switch n := g.rnd.IntN(9); {
		case n < 2:
			c.Put = append(c.Put, Item{Key: k, Value: []byte{byte(g.rnd.IntN(3))}})
		case n < 4:
			c.Delete = append(c.Delete, k)
		case n < 5:
			c.Put = append(c.Put, Item{Key: k, Parts: g.manifest()})
		case n < 6: // as one that puts
			c.Delete = append(c.Delete, k)
			c.Put = append(c.Put, Item{Key: k})
		}
	}
	return c
}

func (g *traffic) complete() Command {
	w := g.s.Worker(g.worker())
	if w == nil || len(w.tasks) == 0 {
		return &Tick{}
	}
	tasks := g.s.assignedTo(w)
	t := tasks[g.rnd.IntN(len(tasks))]
	if n := g.s.namespaces[t.Namespace]; n != nil && !g.one(10) {
		t = n.tasks[0]
	}
	c := &Complete{Task: t.ID, Attempt: t.Attempt, Worker: t.Worker, Incarnation: t.Incarnation, Status: Success, Outcome: []byte("out"),
		Took: int64(g.rnd.IntN(int(second / 10)))}
	if g.one(2) {
		c.Took /= 100
	}
	if n := g.s.namespaces[t.Namespace]; n != nil {
		c.Epoch, c.Base, c.Change = n.Epoch, n.Version, g.change()
	}
	switch g.rnd.IntN(12) {
	case 0, 1:
		c.Status, c.Cause = Failure, "failed"
	case 2:
		c.Status, c.Cause = Permanent, "wrong"
	case 3:
		c.Status = Stopped
	case 4:
		g.spoil(c)
	case 5:
		c.Status, c.Wait = Snoozed, int64(g.rnd.IntN(int(2*second)))
		c.Change = Change{}
	}
	for range g.rnd.IntN(8) - 4 {
		child := g.child(t, len(c.Submits)+1)
		if g.one(3) {
			g.chain(child, t, c.Submits)
		}
		c.Submits = append(c.Submits, child)
	}
	if j := g.s.jobs[t.Job]; j != nil && j.counted() && g.one(2) {
		c.Done = 1
	}
	return c
}

// child is a task that a task submits: its n-th, or one that others submit too. At
// times one that is refused.
func (g *traffic) child(t *Task, n int) *Submit {
	c := &Submit{ID: fmt.Sprintf("%s/%d", t.ID, n), Kind: Run, Retries: g.rnd.Uint32N(2), Body: []byte("body")}
	if root, rest, _ := strings.Cut(c.ID, "/"); len(rest) > MaxDerived {
		c.ID = fmt.Sprintf("%s/h%d", root, g.rnd.Uint64())
	}
	if g.one(3) {
		c.ID = fmt.Sprint("named", g.rnd.IntN(6))
	}
	if g.one(3) {
		c.Namespace = fmt.Sprint("n", g.rnd.IntN(3))
	}
	if g.one(4) {
		c.Options = &Options{Needs: g.things("handler:h", "label:a=1", "label:b=1")}
	}
	if g.one(4) {
		g.queueing(c)
	}
	switch g.rnd.IntN(30) {
	case 0, 1, 2:
		c.Delay = int64(g.rnd.IntN(int(3 * second)))
	case 3, 4, 5, 6:
		c.Job = t.Job
	case 7:
		c.Job = fmt.Sprint("j", g.jobs)
	case 8:
		c.Kind = Drop
	case 9:
		c.ID = t.ID + "/"
	}
	return c
}

// chain has a child ask for times, and run after its parent, after others of the same
// report, and now and then after one that there is not.
func (g *traffic) chain(c *Submit, parent *Task, before []*Submit) {
	if c.Options == nil {
		c.Options = &Options{}
	}
	o := &c.Options.Timing
	if *o = g.timing(); g.one(2) {
		o.After, o.AfterWhen = nil, 0
	}
	add := func(id string) {
		if !slices.Contains(o.After, id) {
			o.After, o.AfterWhen = append(o.After, id), max(o.AfterWhen, 1)
		}
	}
	for _, b := range before {
		if g.one(2) {
			add(b.ID)
		}
	}
	if g.one(4) {
		add(parent.ID)
	}
	if g.one(20) {
		add("nobody")
	}
}

func (g *traffic) spoil(c *Complete) {
	switch g.rnd.IntN(5) {
	case 0:
		c.Attempt--
	case 1:
		c.Worker = "other"
	case 2:
		c.Incarnation++
	case 3:
		c.Epoch++
	case 4:
		c.Base++
	}
}

func (g *traffic) giveBack() Command {
	c := &Return{Worker: g.worker(), Incarnation: uint64(g.rnd.IntN(3))}
	if w := g.s.Worker(c.Worker); w != nil {
		c.Incarnation = w.Incarnation
		for _, t := range g.s.assignedTo(w) {
			if g.one(2) {
				c.Attempts = append(c.Attempts, Attempt{t.ID, t.Attempt})
			}
		}
	}
	return c
}

func (g *traffic) workerUp() Command {
	id, inc := g.worker(), uint64(1)
	if w := g.s.Worker(id); w != nil {
		inc = w.Incarnation + uint64(g.rnd.IntN(3)) - 1
	}
	return &WorkerUp{Worker: id, Incarnation: inc, Slots: 1 + g.rnd.Uint32N(3), Has: g.has()}
}

func (g *traffic) has() []string {
	if g.one(4) {
		return g.things("handler:h", "label:a=1", "label:b=1")
	}
	return g.things("label:a=1", "label:b=1")
}

func (g *traffic) slots() Command {
	c := &WorkerSlots{Worker: g.worker(), Incarnation: uint64(g.rnd.IntN(3)), Slots: g.rnd.Uint32N(4)}
	if w := g.s.Worker(c.Worker); w != nil && !g.one(5) {
		c.Incarnation = w.Incarnation
	}
	return c
}

func (g *traffic) lost() Command {
	c := &WorkerLost{Worker: g.worker(), Incarnation: 1, Guess: g.one(2), Cause: "gone"}
	if w := g.s.Worker(c.Worker); w != nil {
		c.Incarnation = w.Incarnation
		for _, t := range g.s.assignedTo(w) {
			if !c.Guess && g.one(2) {
				c.Began = append(c.Began, Attempt{t.ID, t.Attempt - g.rnd.Uint32N(2)})
			}
		}
	}
	return c
}

// replace is what a retry of some job does next, or what a repeated or mistaken one does.
func (g *traffic) replace() Command {
	id := fmt.Sprint("j", max(0, g.jobs-g.rnd.IntN(4)))
	c := &Replace{Job: id, Round: g.rnd.Uint64N(2), Task: g.task(), Last: g.one(2)}
	j := g.s.Job(id)
	if j == nil {
		return c
	}
	c.Round += j.Round
	list := g.s.Unfinished(id, 0, 5)
	if len(list) == 0 {
		return c
	}
	u := list[g.rnd.IntN(len(list))]
	c.Task = u.Task
	t := g.s.Task(u.Task)
	if t == nil {
		return c
	}
	for i := range g.rnd.IntN(3) {
		if t.State != Succeeded && (t.FoldOf == "" || i == 0) {
			c.Items = append(c.Items, Replacement{ID: fmt.Sprintf("%s/%d/r%d", t.ID, i, c.Round), Body: []byte("again")})
		}
	}
	return c
}

func (g *traffic) job() Command {
	id := fmt.Sprint("j", g.jobs)
	j := g.s.jobs[id]
	switch {
	case j == nil:
		g.jobs++
		c := &OpenJob{ID: fmt.Sprint("j", g.jobs)}
		if g.one(2) {
			c.Fold = "n0"
		}
		return c
	case g.one(3):
		return &CancelJob{ID: id}
	case g.one(3):
		return g.replace()
	}
	return &SealJob{ID: id, Total: j.Total}
}
