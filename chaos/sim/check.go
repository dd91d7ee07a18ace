package sim

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"farm/fsm"
	"farm/internal/wire"
	"farm/scheduler"
)

// checker follows the committed log with a scheduler of its own, on plain
// records, and holds what that decides against what was promised. What it
// expects it works out from the commands and from what truly happened on the
// workers, and not from what the scheduler keeps.
type checker struct {
	w   *world
	ref *scheduler.State

	tasks    map[string]*known
	spaces   map[string]*dictionary
	jobs     map[string]*job
	workers  map[string]uint64   // id → incarnation in the log
	stations map[string]*station // workers as they should be
	began    map[begin]bool      // attempts that truly began
	hashes   map[uint64]string   // index → hash of all records, of the first that told
	clock    int64
	order    int           // positions given to tasks
	live     int           // tasks not final
	lastEnd  time.Duration // when one became final
	results  []byte        // digests of the entry at hand
	effects  []byte
	flow     flow
	ticks    map[string]int64 // schedule → newest time it was fired for
	touched  []*known         // took effect in a namespace that is to be looked at
}

// begin names an attempt on a worker.
type begin struct {
	worker string
	inc    uint64
	task   string
	num    uint32
}

// known is a task as it should be.
type known struct {
	id      string
	space   string
	kind    scheduler.Kind
	work    work
	body    []byte
	job     string
	queue   string // of what needs a worker
	key     string
	fold    string // the task whose result it folds
	due     int64  // log's clock before which it may not begin
	order   int    // in its namespace; 0: it waits for its time
	current *begin // the attempt that may report
	epoch   uint64 // of it
	highest uint32 // attempt so far
	begun   bool   // it was given to a worker, since it is live
	lives   int    // how often it was made live again
	needs   []string
	unique  *scheduler.Unique
	nth     int // in the order in which tasks were taken in
	timing
	end    scheduler.TaskState
	result string // outcome and causes when it ended
}

// dictionary is a namespace as it should be, with its past.
type dictionary struct {
	items    map[string]string
	versions []map[string]string // items of version 1 and on
	last     int                 // order of the last task that took effect
}

func (d *dictionary) version() uint64 { return uint64(len(d.versions)) }

func (d *dictionary) change(c *scheduler.Change) {
	if !c.Empty() {
		d.items = changed(d.items, c)
		d.versions = append(d.versions, d.items)
	}
}

// job is a job as it should be.
type job struct {
	fold      string
	sealed    bool
	cancelled bool
	ended     bool
	round     uint64
	tasks     []string        // that count
	owed      map[string]bool // that succeeded while it was cancelled, and are not folded
	folded    map[string]bool // whose fold has succeeded
}

func newChecker(w *world) *checker {
	c := &checker{w: w, tasks: map[string]*known{}, spaces: map[string]*dictionary{}, jobs: map[string]*job{}, workers: map[string]uint64{}, stations: map[string]*station{}, ticks: map[string]int64{},
		began: map[begin]bool{}, hashes: map[uint64]string{}, flow: newFlow()}
	var err error
	if c.ref, err = scheduler.Load(plain{}); err != nil {
		panic(err)
	}
	return c
}

// plain is the simplest scheduler.Records.
type plain map[string][]byte

func (r plain) Get(key string) []byte { return r[key] }

func (r plain) Put(key string, value []byte) {
	if value == nil {
		value = []byte{}
	}
	r[key] = value
}

func (r plain) Delete(key string) { delete(r, key) }

func (r plain) Scan(prefix, from string, fn func(string, []byte) bool) {
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

func (c *checker) space(name string) *dictionary {
	d := c.spaces[name]
	if d == nil {
		d = &dictionary{}
		c.spaces[name] = d
	}
	return d
}

// version is that of a namespace now.
func (c *checker) version(space string) uint64 {
	if d := c.spaces[space]; d != nil {
		return d.version()
	}
	return 0
}

// commit follows an entry, and returns a digest of what was decided on it.
func (c *checker) commit(index uint64, data []byte) uint64 {
	now, cmds, err := fsm.DecodeEntry(data)
	if err != nil {
		c.w.fail("panic", "entry %d: %v", index, err)
	}
	c.results, c.effects = c.results[:0], c.effects[:0]
	c.ref.Advance(now)
	c.clock = max(c.clock, now)
	if got := c.ref.Now(); got != c.clock {
		c.w.fail("clock", "at entry %d the state's clock is %d, after entries of at most %d", index, got, c.clock)
	}
	c.fallDue()
	c.follow(nil, scheduler.Result{}, c.ref.Effects())
	for _, cmd := range cmds {
		before := c.before(cmd)
		r := c.ref.Step(cmd)
		c.results = appendResult(c.results, &r)
		c.step(cmd, r, before)
		c.follow(cmd, r, c.ref.Effects())
		c.after(cmd, r)
		if c.w.tracing {
			c.w.write(fmt.Sprintf("entry %d: %s", index, describe(cmd, r)))
		}
	}
	c.loads()
	c.late()
	sum := sumOf(append(c.results, c.effects...))
	c.w.mark(fmt.Sprint(index, sum))
	return sum
}

// describe is a command and its answer for people.
func describe(cmd scheduler.Command, r scheduler.Result) string {
	text := strings.TrimPrefix(fmt.Sprintf("%T", cmd), "*scheduler.")
	switch x := cmd.(type) {
	case *scheduler.Submit:
		text += " " + x.ID
	case *scheduler.Cancel:
		text += " " + x.ID
	case *scheduler.Complete:
		text += fmt.Sprintf(" %s attempt %d status %d of %s/%d epoch %d base %d", x.Task, x.Attempt, x.Status, x.Worker, x.Incarnation, x.Epoch, x.Base)
	case *scheduler.Return:
		text += fmt.Sprintf(" of %s/%d: %v", x.Worker, x.Incarnation, x.Attempts)
	case *scheduler.WorkerUp:
		text += fmt.Sprintf(" %s/%d", x.Worker, x.Incarnation)
	case *scheduler.WorkerLost:
		text += fmt.Sprintf(" %s/%d began %v guess %v", x.Worker, x.Incarnation, x.Began, x.Guess)
	case *scheduler.OpenJob:
		text += " " + x.ID
	case *scheduler.SealJob:
		text += " " + x.ID
	case *scheduler.CancelJob:
		text += " " + x.ID
	case *scheduler.Retry:
		text += " " + x.ID
	case *scheduler.WorkerSlots:
		text += fmt.Sprintf(" %s/%d: %d", x.Worker, x.Incarnation, x.Slots)
	case *scheduler.WorkerIdle:
		text += fmt.Sprintf(" %s: %v", x.Worker, x.Drain)
	case *scheduler.Replace:
		text += fmt.Sprintf(" %s of %s, round %d", x.Task, x.Job, x.Round)
	case *scheduler.SetQueue:
		text += " " + x.Name
	}
	return text + ": " + strings.TrimSpace(r.Code.String()+" "+r.Detail)
}

// fallDue gives the tasks whose time has come their place in line.
func (c *checker) fallDue() {
	var due []*known
	for _, k := range c.tasks { // sorted below
		if k.order == 0 && k.end == 0 && k.due <= c.clock && k.mayGo() {
			due = append(due, k)
		}
	}
	slices.SortFunc(due, func(a, b *known) int {
		if a.due != b.due {
			return int(a.due - b.due)
		}
		return int(c.ref.Task(a.id).Submitted - c.ref.Task(b.id).Submitted)
	})
	for i, k := range due {
		if i > 0 && due[i-1].due == k.due {
			k.order = c.order // at the same moment: either may be the first
			continue
		}
		c.order++
		k.order = c.order
	}
}

// before is what has to be known of the state before a command is applied.
type before struct {
	holds  []*begin          // attempts that the worker of the command has
	losses map[string]uint32 // of their tasks
	slots  uint32
	failed uint32 // failures of the task of a Complete
	valid  bool   // a Complete of the current attempt, on what is committed
}

func (c *checker) before(cmd scheduler.Command) (b before) {
	hold := func(worker string) {
		b.losses = map[string]uint32{}
		if w := c.ref.Worker(worker); w != nil {
			b.slots = w.Slots
		}
		for _, t := range c.ref.Assigned(worker) {
			b.losses[t.ID] = t.Losses
			if k := c.tasks[t.ID]; k.current != nil && k.current.worker == worker {
				b.holds = append(b.holds, k.current)
			}
		}
	}
	switch x := cmd.(type) {
	case *scheduler.WorkerLost:
		hold(x.Worker)
	case *scheduler.WorkerUp:
		hold(x.Worker)
	case *scheduler.Complete:
		k := c.tasks[x.Task]
		if t := c.ref.Task(x.Task); t != nil {
			b.failed = t.Failures
		}
		b.valid = k != nil && k.current != nil && *k.current == (begin{x.Worker, x.Incarnation, x.Task, x.Attempt}) &&
			c.workers[x.Worker] == x.Incarnation && (k.space == "" || k.epoch == x.Epoch && c.version(k.space) == x.Base)
	}
	return b
}

// step checks what a command did to the attempts there were.
func (c *checker) step(cmd scheduler.Command, r scheduler.Result, b before) {
	ok := r.Code == scheduler.OK
	switch x := cmd.(type) {
	case *scheduler.Submit:
		if ok {
			c.submitted(x)
		}
		c.unique(x, r)
	case *scheduler.SetQueue:
		if ok {
			c.flow.set(x)
		}
	case *scheduler.Complete:
		if !ok {
			c.w.stats.Refused++
		} else if !b.valid {
			c.w.fail("fence", "the report of %s attempt %d by %s/%d, epoch %d, base %d, is accepted; the current attempt is %s", x.Task, x.Attempt, x.Worker, x.Incarnation, x.Epoch, x.Base, c.currentOf(x.Task))
		} else if x.Status == scheduler.Success {
			c.spawned(c.tasks[x.Task])
		} else if x.Status == scheduler.Failure {
			c.failedOnce(c.tasks[x.Task])
		} else if x.Status == scheduler.Snoozed && c.ref.Task(x.Task).State == scheduler.Queued {
			c.snoozed(c.tasks[x.Task], x.Wait, b.failed)
		}
	case *scheduler.Retry:
		if ok {
			c.revived(x.ID)
		}
	case *scheduler.Return:
		for _, a := range x.Attempts {
			if k := c.tasks[a.Task]; ok && k != nil && k.current != nil && k.current.num == a.Number && k.current.worker == x.Worker {
				k.current = nil
			}
		}
	default:
		if ok {
			c.changed(cmd, b)
		}
	}
}

// changed checks what a command did that was accepted and is of workers, jobs or
// schedules.
func (c *checker) changed(cmd scheduler.Command, b before) {
	switch x := cmd.(type) {
	case *scheduler.FireSchedule:
		c.ticked(x)
	case *scheduler.WorkerSlots, *scheduler.WorkerIdle:
		c.stationed(cmd)
	case *scheduler.WorkerLost:
		delete(c.workers, x.Worker)
		c.lost(b, x.Guess, "worker "+x.Worker+" was lost")
	case *scheduler.WorkerUp:
		c.workers[x.Worker] = x.Incarnation
		c.stationed(cmd)
		c.lost(b, true, "worker "+x.Worker+" began anew")
	case *scheduler.OpenJob:
		c.jobs[x.ID] = &job{fold: x.Fold, owed: map[string]bool{}, folded: map[string]bool{}}
	case *scheduler.SealJob:
		c.jobs[x.ID].sealed = true
	case *scheduler.CancelJob:
		c.jobs[x.ID].sealed, c.jobs[x.ID].cancelled = true, true
	case *scheduler.Replace:
		c.replaced(x)
	}
}

func (c *checker) currentOf(task string) string {
	k := c.tasks[task]
	switch {
	case k == nil:
		return "none, there is no such task"
	case k.current == nil:
		return fmt.Sprintf("none, and the namespace is at version %d", c.version(k.space))
	}
	return fmt.Sprintf("%d on %s/%d in epoch %d, at version %d", k.current.num, k.current.worker, k.current.inc, k.epoch, c.version(k.space))
}

// lost checks whom the loss of a worker costs an attempt, and ends the attempts
// it had.
func (c *checker) lost(b before, guess bool, what string) {
	charged := 0
	for _, a := range b.holds {
		t := c.ref.Task(a.task)
		now := uint32(0)
		if t != nil {
			now = t.Losses
		}
		switch {
		case now == b.losses[a.task]:
		case now != b.losses[a.task]+1:
			c.w.fail("blame", "%s: task %s has now lost %d attempts after %d", what, a.task, now, b.losses[a.task])
		case !guess && !c.began[*a]:
			c.w.fail("blame", "%s: attempt %d of task %s is charged and had not begun there", what, a.num, a.task)
		default:
			charged++
		}
		if t != nil && now > scheduler.MaxLosses && t.State != scheduler.Failed && t.State != scheduler.Cancelled {
			c.w.fail("blame", "task %s has lost %d workers and is %s", a.task, now, t.State)
		}
		if k := c.tasks[a.task]; k.current == a {
			k.current = nil
		}
	}
	c.w.stats.Losses += charged
	if guess && charged > int(b.slots) {
		c.w.fail("blame", "%s: %d attempts are charged, it has %d slots", what, charged, b.slots)
	}
}

func (c *checker) submitted(x *scheduler.Submit) {
	if c.tasks[x.ID] != nil {
		c.w.fail("durable", "task %s was there and is taken in again", x.ID)
	}
	k := &known{id: x.ID, space: x.Namespace, kind: x.Kind, body: x.Body, job: x.Job, work: readWork(x.Body), queue: scheduler.DefaultQueue}
	if o := x.Options; o != nil {
		k.queue, k.key, k.needs, k.unique = cmp.Or(o.Queue, k.queue), o.Key, o.Needs, o.Unique
	}
	ready := c.noteTiming(k, x)
	if x.Delay > 0 {
		k.due = c.clock + x.Delay
	} else if ready {
		c.order++
		k.order = c.order
	}
	c.admit(k)
}

// spawned takes in what a task submits that has just succeeded, if it may.
func (c *checker) spawned(k *known) {
	if k.work.op != opSpawn || k.fold != "" {
		return
	}
	list := children(k.work.op, k.id, k.job)
	for _, x := range list {
		if j := c.jobs[x.job]; j != nil && j.cancelled && c.tasks[x.id] == nil {
			return // the task has failed
		}
	}
	for _, x := range list {
		if t := c.ref.Task(x.id); t == nil {
			c.w.fail("once", "task %s has succeeded, and %s that it submits is not there", k.id, x.id)
		}
		if c.tasks[x.id] != nil {
			continue
		}
		c.w.stats.Spawned++
		n := &known{id: x.id, space: x.space, kind: scheduler.Run, job: x.job, work: x.work, queue: cmp.Or(x.queue, scheduler.DefaultQueue), key: x.key}
		ready := true
		if x.after != "" {
			ready = c.noteTiming(n, &scheduler.Submit{Options: &scheduler.Options{Timing: scheduler.Timing{After: []string{x.after}, AfterWhen: x.when}}})
		}
		if x.delay > 0 {
			n.due = c.clock + int64(x.delay)
		} else if ready {
			c.order++
			n.order = c.order
		}
		c.admit(n)
	}
}

func (c *checker) admit(k *known) {
	c.tasks[k.id] = k
	k.nth = len(c.tasks)
	c.live++
	if k.job != "" && k.fold == "" {
		c.jobs[k.job].tasks = append(c.jobs[k.job].tasks, k.id)
	}
}

// follow takes in effects.
func (c *checker) follow(cmd scheduler.Command, r scheduler.Result, effects []scheduler.Effect) {
	stale := false
	if _, complete := cmd.(*scheduler.Complete); complete {
		stale = r.Code != scheduler.OK
	}
	for i := range effects {
		e := &effects[i]
		c.effects = appendEffect(c.effects, e)
		switch e.Kind {
		case scheduler.Assigned:
			c.assigned(e)
		case scheduler.Voided, scheduler.Settled:
			c.tasks[e.Task.ID].current = nil
			if stale && e.Kind == scheduler.Settled {
				c.w.fail("fence", "a refused report of %s is settled", e.Task.ID)
			}
		case scheduler.Ended:
			c.ended(e.Task)
		case scheduler.JobEnded:
			c.jobEnded(e.Job)
		}
	}
	for _, k := range c.touched { // not before: what needs no worker follows in the same step
		c.compareSpace(k)
	}
	c.touched = c.touched[:0]
}

// after looks at what must hold when a command is through.
func (c *checker) after(cmd scheduler.Command, r scheduler.Result) {
	if x, ok := cmd.(*scheduler.Submit); ok && r.Code == scheduler.Duplicate && c.tasks[cmp.Or(r.Detail, x.ID)] == nil {
		c.w.fail("durable", "task %s is a duplicate of nothing", x.ID)
	}
}

func (c *checker) assigned(e *scheduler.Effect) {
	k := c.tasks[e.Task.ID]
	switch {
	case k == nil:
		c.w.fail("once", "task %s is assigned and nobody asked for it", e.Task.ID)
	case k.end != 0:
		c.w.fail("once", "task %s is %s and assigned again", k.id, k.end)
	case c.workers[e.Worker] != e.Incarnation:
		c.w.fail("fence", "task %s is assigned to %s/%d, which is not the current one", k.id, e.Worker, e.Incarnation)
	case k.current != nil:
		c.w.fail("fence", "task %s is assigned to %s while %s has it", k.id, e.Worker, k.current.worker)
	case e.Attempt <= k.highest:
		c.w.fail("fence", "attempt %d of task %s is assigned after attempt %d", e.Attempt, k.id, k.highest)
	case c.clock < k.due:
		c.w.fail("delay", "task %s begins %d ns before its time", k.id, k.due-c.clock)
	}
	c.begins(k)
	k.current = &begin{e.Worker, e.Incarnation, k.id, e.Attempt}
	k.highest, k.epoch, k.begun = e.Attempt, e.Task.Epoch, true
	c.suits(k, e.Worker)
	c.passed(k)
}

// loads recounts what workers have. A worker is given work ahead of its slots
// only while its attempts are short.
func (c *checker) loads() {
	type load struct {
		units  int
		spaces map[string]bool
	}
	loads := map[string]*load{}
	for _, k := range c.tasks { // only counted
		if k.current == nil {
			continue
		}
		l := loads[k.current.worker]
		if l == nil {
			l = &load{spaces: map[string]bool{}}
			loads[k.current.worker] = l
		}
		if k.space == "" || !l.spaces[k.space] {
			l.units++
		}
		l.spaces[k.space] = true
	}
	for _, w := range c.ref.Workers() {
		units := 0
		if l := loads[w.ID]; l != nil {
			units = l.units
		}
		if want := min(units, int(w.Slots)); w.Busy() != want {
			c.w.fail("slots", "worker %s has %d things to do on %d slots, and %d are counted busy", w.ID, units, w.Slots, w.Busy())
		}
	}
}

// ended follows a task that is final.
func (c *checker) ended(t *scheduler.Task) {
	k := c.tasks[t.ID]
	switch {
	case k == nil:
		c.w.fail("durable", "task %s ends and nobody asked for it", t.ID)
	case k.end != 0:
		c.w.fail("once", "task %s ends as %s after it ended as %s", t.ID, t.State, k.end)
	case t.State == scheduler.Failed && t.Losses <= scheduler.MaxLosses && t.Failures == 0 && !c.over(k, t):
		c.w.fail("blame", "task %s failed, without a failure and after %d lost workers: %q", t.ID, t.Losses, t.Causes)
	case t.State == scheduler.Succeeded && c.clock < k.due:
		c.w.fail("delay", "task %s is done before its time", t.ID)
	}
	k.end, k.current, k.result = t.State, nil, resultText(t)
	c.live--
	c.lastEnd = c.w.now
	c.w.stats.Tasks++
	if t.State == scheduler.Succeeded {
		c.succeeded(k)
	}
	j := c.jobs[k.job]
	switch {
	case j == nil || j.fold == "" || t.State != scheduler.Succeeded:
	case k.fold != "" && j.folded[k.fold]:
		c.w.fail("once", "task %s is folded again, by %s", k.fold, k.id)
	case k.fold != "":
		j.folded[k.fold] = true
	case j.cancelled:
		j.owed[k.id] = true
	default:
		c.folds(j, k)
	}
	c.release(k)
}

// folds takes in the task that folds the result of another.
func (c *checker) folds(j *job, k *known) {
	c.order++
	f := &known{id: k.id + "/fold", space: j.fold, kind: scheduler.Run, work: work{op: opAppend}, job: k.job, fold: k.id, order: c.order, queue: scheduler.DefaultQueue}
	if c.ref.Task(f.id) == nil {
		c.w.fail("job", "task %s of job %s succeeded and is not folded", k.id, k.job)
	}
	c.admit(f)
}

// replaced takes in what a retry puts in the place of a task.
func (c *checker) replaced(x *scheduler.Replace) {
	j, k := c.jobs[x.Job], c.tasks[x.Task]
	if k == nil || k.end == 0 || k.end == scheduler.Succeeded && !j.owed[k.id] {
		c.w.fail("job", "task %s is replaced, and has not failed", x.Task)
	}
	if x.Round != j.round {
		j.round, j.cancelled = x.Round, false
	}
	j.ended = false
	for _, it := range x.Items {
		c.order++
		c.admit(&known{id: it.ID, space: k.space, kind: scheduler.Run, body: it.Body, job: k.job, fold: k.fold, work: readWork(it.Body), order: c.order, queue: k.queue, key: k.key})
	}
	if k.fold == "" && k.end != scheduler.Succeeded {
		j.tasks = slices.DeleteFunc(j.tasks, func(id string) bool { return id == k.id })
	}
	if j.owed[k.id] {
		delete(j.owed, k.id)
		c.folds(j, k)
	}
}

func resultText(t *scheduler.Task) string {
	return fmt.Sprintf("%s %q %q %d", t.State, resultOf(t.Outcome), t.Causes, t.Finished)
}

// succeeded makes a namespace what a task that succeeded makes of it.
func (c *checker) succeeded(k *known) {
	if k.space == "" {
		return
	}
	d := c.space(k.space)
	if k.order < d.last {
		c.w.fail("order", "task %s takes effect in %s after one that was submitted later", k.id, k.space)
	}
	d.last = k.order
	switch k.kind {
	case scheduler.Drop:
		c.spaces[k.space] = &dictionary{last: d.last}
	case scheduler.Patch:
		p, _ := scheduler.DecodeChange(k.body)
		d.change(&p)
	case scheduler.Restore:
		v := wire.NewReader(k.body).Uint()
		if v == 0 || v > d.version() {
			c.w.fail("space", "namespace %s at version %d is restored to version %d", k.space, d.version(), v)
		}
		if old := d.versions[v-1]; !maps.Equal(old, d.items) {
			d.items = old
			d.versions = append(d.versions, old)
		}
	case scheduler.Fork:
		d.items = c.space(wire.NewReader(k.body).String()).items
		d.versions = append(d.versions, d.items)
	default:
		name := k.id
		if k.fold != "" {
			name = "fold-of-" + k.fold
		}
		x := effect(k.work.op, name, d.items)
		d.change(&x)
	}
	c.touched = append(c.touched, k)
}

// compareSpace holds a namespace against what it should be.
func (c *checker) compareSpace(k *known) {
	d := c.space(k.space)
	are := itemsOf(c.ref, k.space)
	if !maps.Equal(are, d.items) {
		c.w.fail("once", "after task %s namespace %s holds %q, it should hold %q", k.id, k.space, are, d.items)
	}
	if n := c.ref.Namespace(k.space); n != nil && n.Version != d.version() {
		c.w.fail("once", "after task %s namespace %s is at version %d, it should be %d", k.id, k.space, n.Version, d.version())
	}
}

func itemsOf(s *scheduler.State, space string) map[string]string {
	are := map[string]string{}
	s.Items(space, 0, func(key string, value []byte, _ uint64) { are[key] = string(value) })
	return are
}

func (c *checker) jobEnded(x *scheduler.Job) {
	j := c.jobs[x.ID]
	if j == nil || j.ended || !j.sealed {
		c.w.fail("job", "job %s ends", x.ID)
	}
	j.ended = true
	for _, id := range j.tasks {
		f := c.tasks[id+"/fold"]
		if c.tasks[id].end == 0 || f != nil && f.end == 0 {
			c.w.fail("job", "job %s ends before task %s, or its fold", x.ID, id)
		}
	}
	if x.Total != uint64(len(j.tasks)) || x.Succeeded+x.Failed != x.Total {
		c.w.fail("job", "job %s ends with %d and %d of %d tasks, %d were submitted", x.ID, x.Succeeded, x.Failed, x.Total, len(j.tasks))
	}
}

// ---- what clients see ----

// answered is an acknowledgement that a client has received.
func (c *checker) answered(cmd scheduler.Command, r scheduler.Result) {
	x, ok := cmd.(*scheduler.Submit)
	if !ok || r.Code != scheduler.OK && r.Code != scheduler.Duplicate {
		return
	}
	if c.tasks[cmp.Or(r.Detail, x.ID)] == nil {
		c.w.fail("durable", "task %s was acknowledged and is not in the log", x.ID)
	}
}

// final is what a task has come to, empty while it is not, and how often it was made live
// again before.
func (c *checker) final(id string) (result string, lives int) {
	if k := c.tasks[id]; k != nil {
		return k.result, k.lives
	}
	return "", 0
}

// endOf is how a task has ended, 0 before.
func (c *checker) endOf(id string) scheduler.TaskState {
	if k := c.tasks[id]; k != nil {
		return k.end
	}
	return 0
}

// read checks what a client sees of a task; final is what it had come to when
// the client asked.
func (c *checker) read(id string, t *scheduler.Task, final string, lives int) {
	switch {
	case final != "" && c.tasks[id].lives != lives: // it was made live again meanwhile
	case t == nil && final != "":
		c.w.fail("durable", "task %s was final and is not there", id)
	case t == nil:
	case final != "" && resultText(t) != final:
		c.w.fail("once", "task %s is read as %s, it was %s", id, resultText(t), final)
	}
}

// hash holds the hash of all records at an index against what others have told.
func (c *checker) hash(who string, index uint64, sum string) {
	if have, ok := c.hashes[index]; ok && have != sum {
		c.w.fail("replicas", "at entry %d the state of %s is not that of the others", index, who)
	}
	c.hashes[index] = sum
}

// ---- the end ----

// quiet tells whether every task is final and every job over.
func (c *checker) quiet() bool {
	if c.live > 0 || c.ticking() {
		return false
	}
	for _, j := range c.jobs {
		if !j.ended {
			return false
		}
	}
	return true
}

// tidy has clients cancel the jobs that are still open, and use the workers that
// a late request to drain has reached; now and later.
func (c *checker) tidy() {
	c.w.after(time.Second, c.tidy)
	for _, id := range slices.Sorted(maps.Keys(c.jobs)) {
		if !c.jobs[id].sealed {
			c.w.request("cancel job "+id, func() scheduler.Command { return &scheduler.CancelJob{ID: id} })
		}
	}
	c.resume()
	c.stopSchedules()
	for _, w := range c.ref.Workers() {
		if name := "use " + w.ID; w.Drain {
			if x := c.w.calls[name]; x != nil && x.answered {
				delete(c.w.calls, name) // as a request of its own
			}
			c.w.request(name, func() scheduler.Command { return &scheduler.WorkerIdle{Worker: w.ID} })
		}
	}
}

// unfinished says what is left.
func (c *checker) unfinished() string {
	var out []string
	for _, id := range slices.Sorted(maps.Keys(c.tasks)) {
		if k := c.tasks[id]; k.end == 0 {
			t := c.ref.Task(id)
			if t == nil {
				out = append(out, "task "+id+" is nowhere")
				continue
			}
			out = append(out, fmt.Sprintf("task %s in %q is %s, attempt %d on %s/%d", id, t.Namespace, t.State, t.Attempt, t.Worker, t.Incarnation))
		}
	}
	for _, id := range slices.Sorted(maps.Keys(c.jobs)) {
		if !c.jobs[id].ended {
			out = append(out, "job "+id+" is open")
		}
	}
	for _, name := range slices.Sorted(maps.Keys(c.w.calls)) {
		if !c.w.calls[name].answered {
			out = append(out, "a client waits for: "+name)
		}
	}
	for _, n := range c.w.nodes {
		if n.applied < uint64(len(c.w.log)) {
			out = append(out, fmt.Sprintf("%s has applied %d entries of %d", n.id, n.applied, len(c.w.log)))
		}
	}
	if c.w.leader == nil || !c.w.leader.leading {
		out = append(out, "nobody leads")
	}
	return strings.Join(out, "; ")
}

// end looks at every node when all is over: each task as it ended, each
// namespace as it should be.
func (c *checker) end() {
	for _, n := range c.w.nodes {
		n.m.View(func(s *scheduler.State) {
			for _, id := range slices.Sorted(maps.Keys(c.tasks)) {
				t := s.Task(id)
				if t == nil {
					c.w.fail("durable", "task %s is not there on %s", id, n.id)
				}
				if got := resultText(t); got != c.tasks[id].result {
					c.w.fail("once", "task %s is %s on %s, it was %s", id, got, n.id, c.tasks[id].result)
				}
			}
			for _, name := range slices.Sorted(maps.Keys(c.spaces)) {
				if are := itemsOf(s, name); !maps.Equal(are, c.spaces[name].items) {
					c.w.fail("once", "namespace %s holds %q on %s, it should hold %q", name, are, n.id, c.spaces[name].items)
				}
			}
		})
	}
}
