package scheduler

import (
	"fmt"
	"slices"
	"strings"

	"farm/internal/part"
	"farm/internal/wire"
)

// Records is the durable side of the state: an ordered map. Values handed in
// and out are never changed afterwards by either side. Implementations need
// not be safe for concurrent use; the state's owner serialises.
type Records interface {
	Get(key string) []byte // nil when absent
	Put(key string, value []byte)
	Delete(key string) // of an absent key: nothing
	// Scan calls fn for the keys that begin with prefix and are not below
	// from, in ascending order, until fn returns false.
	Scan(prefix, from string, fn func(key string, value []byte) bool)
}

// recordVersion is the format of every record, its first byte.
const recordVersion = 1

// PolicyVersion is the version of the placement rules held in the state, so
// that replicas of different builds place alike.
const PolicyVersion = 1

// VersionError says that bytes are of a format this build does not know.
type VersionError struct {
	What      string
	Got, Want byte // Want is the newest known
}

// Error says what was found and what to do.
func (e *VersionError) Error() string {
	return fmt.Sprintf("%s has format %d, this farm knows up to %d: it was written by a newer farm", e.What, e.Got, e.Want)
}

// Limits of the state. Submit is refused with Limit past them; nothing that
// was acknowledged is ever dropped for them.
const (
	MaxLive           = 1_000_000 // tasks that are not final
	MaxNamespaceQueue = 100_000   // of them in one namespace
	MaxNamespaces     = 100_000   // namespaces
	MaxItems          = 100_000   // items of one namespace
	MaxItemKey        = 512       // bytes of one item's key
	MaxChangeBytes    = 1 << 20   // keys and values one task puts, but for those in parts
	MaxNamespaceBytes = 1 << 30   // keys and values of one namespace, without its past
	MaxWholeBytes     = 32 << 20  // of them, those that are not in parts
	MaxWorkers        = 1_000     // workers known at a time
	MaxSlots          = 4_096     // of one worker
	MaxJobs           = 10_000    // open jobs
	MaxFinished       = 1_000_000 // finished tasks retained, the newest
	MaxFinishedBytes  = 4 << 30   // bytes of them
	Retention         = 7 * 24 * 3600 * second
	maxDelay          = 366 * 24 * 3600 * second // of a task, before it may be placed
	second            = int64(1e9)
)

// Worker is a worker as the log knows it.
type Worker struct {
	ID          string
	Incarnation uint64
	Node        string   // the node it belongs to, or empty
	Slots       uint32   // attempts it runs at a time
	Drain       bool     // is given nothing new
	Average     int64    // nanoseconds an attempt takes here, smoothed
	Has         []string // labels and handlers, as in Options.Needs; sorted

	tasks    []*Task // assigned to it, in no order
	load     int     // private tasks and busy namespaces among them
	pools    []*pool // that it is of
	compiled bool    // has handlers, and so runs nothing else
	dirty    bool
}

// Busy is the number of attempts it may be running now.
func (w *Worker) Busy() int { return min(w.load, int(w.Slots)) }

// Assigned is the number of attempts assigned to it.
func (w *Worker) Assigned() int { return len(w.tasks) }

func (w *Worker) give(t *Task) {
	t.given = len(w.tasks)
	w.tasks = append(w.tasks, t)
}

func (w *Worker) take(t *Task) {
	last := len(w.tasks) - 1
	moved := w.tasks[last]
	w.tasks[t.given], moved.given = moved, t.given
	w.tasks[last] = nil
	w.tasks = w.tasks[:last]
}

// has tells whether a task is assigned to the worker.
func (w *Worker) has(t *Task) bool { return t.given < len(w.tasks) && w.tasks[t.given] == t }

// Namespace is a durable execution context: a dictionary of items that tasks
// change one at a time.
type Namespace struct {
	Name        string
	Version     uint64 // changes committed
	Epoch       uint64 // of its last placement, unique in the state
	Worker      string // its holder, or empty
	Incarnation uint64
	Items       uint64
	Bytes       uint64 // of keys and values
	InParts     uint64 // of them, of values in parts
	Cleared     uint64 // version in which an item was last removed
	Created     int64  // unix nanoseconds
	Changed     int64

	tasks   []*Task // by Order: those running, then those queued
	running int
	delayed int // tasks that wait for their time, not in tasks
	ready   int // position in its line, -1 when in none
	line    *line
	dirty   bool
	gone    bool
}

// Exists tells whether any task has made it something; before that a
// namespace is only a queue.
func (n *Namespace) Exists() bool { return n.Version > 0 }

// Queue is the number of its tasks that are not final.
func (n *Namespace) Queue() int { return len(n.tasks) }

// Job is a set of tasks submitted together.
type Job struct {
	ID         string
	Body       []byte
	Fold       string
	Sealed     bool
	Cancelled  bool
	Total      uint64 // tasks submitted to it
	Spawned    uint64 // of them, by its own tasks or by others
	Succeeded  uint64
	Failed     uint64 // failed or cancelled
	Folds      uint64 // fold tasks made
	Folded     uint64 // of them succeeded
	FoldFailed uint64
	LastFold   string // the newest fold task that succeeded
	FirstError string // the first task, in the log's order, that failed
	Created    int64
	Finished   int64 // unix nanoseconds, 0 while open

	// Inputs is how many inputs its tasks were submitted with, Done how many of
	// them have a result; both are 0 where they are not counted. A retry changes
	// Done alone.
	Inputs, Done uint64
	Round        uint64 // how often it was retried
	Mark         uint64 // order of the newest task that this round may replace

	dirty, stored bool
}

// counters is the record "m".
type counters struct {
	Policy    uint64
	Clock     int64 // unix nanoseconds
	Order     uint64
	Seq       uint64 // assignments made
	Epoch     uint64
	FinLo     uint64 // the oldest in the list of the finished
	FinHi     uint64 // the next
	FinBytes  uint64 // of their records
	Succeeded uint64 // of all tasks ever
	Failed    uint64
	Cancelled uint64
}

// State is everything the log has decided. Not safe for concurrent use.
type State struct {
	rec Records
	counters
	cluster string

	tasks      map[string]*Task
	namespaces map[string]*Namespace
	workers    []*Worker // by ID
	jobs       map[string]*Job
	queues     []*queue // by name
	keys       int      // in all of them
	idle       heap[*key]
	timers     heap[*gate] // that open by themselves and have something waiting
	uniques    int         // unique keys held
	lapse      int64       // when the next may be let go for its time, 0: none
	lanes      map[laneKey]*lane
	lines      map[lineKey]*line
	plain      *line             // of tasks without options
	classes    map[string]*class // by needsKey
	classList  []*class          // the same, in the order they were made
	grouped    []*pool           // all there are
	pools      heap[*pool]
	delayed    heap[*Task]
	inline     []*Namespace // with a task at the head that needs no worker
	leases     map[part.Hash]*lease
	leased     heap[*lease]
	uploaded   uint64             // bytes of leases
	uploaders  map[string]uint64  // of them, by who sent them
	orphans    []part.Hash        // parts that may have to go
	due        heap[due]          // live tasks with a deadline
	dependents map[string][]*Task // by the task they wait for, by order
	fired      []*Task            // ended, and those that wait for them do not know yet
	kept       map[string]*kept   // finished tasks that say how long they are kept
	keptTill   heap[*kept]
	keptBytes  uint64
	pages      *pages            // of the list of the finished, nil: it has none
	oldest     []listed          // the first of the list, as far as they are at hand
	parked     map[string]uint64 // failed tasks that are kept, by queue; nil: they are not counted
	schedules  map[string]*Schedule
	clockwork  heap[*Schedule] // those that are not paused
	running    int

	effects []Effect
	room    []byte // for records of tasks; what it holds is theirs

	dirtyTasks []*Task
	dirtySpace []*Namespace
	dirtyWork  []*Worker
	dirtyJobs  []*Job

	dirtyQueues []*queue
	dirtyKeys   []*key
}

// Load builds the state from its records. Errors: *VersionError, or
// wire.ErrCorrupt wrapped with the record's key.
func Load(rec Records) (*State, error) {
	s := &State{rec: rec, tasks: map[string]*Task{}, namespaces: map[string]*Namespace{}, jobs: map[string]*Job{},
		leases: map[part.Hash]*lease{}, uploaders: map[string]uint64{}, dependents: map[string][]*Task{}, kept: map[string]*kept{}, schedules: map[string]*Schedule{}}
	s.Policy = PolicyVersion
	s.layOut()
	var err error
	each := func(prefix string, fn func([]byte) error) {
		if err != nil {
			return
		}
		rec.Scan(prefix, "", func(key string, value []byte) bool {
			if e := fn(value); e != nil {
				err = fmt.Errorf("record %q: %w", key, e)
			}
			return err == nil
		})
	}
	if b := rec.Get("m"); b != nil {
		if err = s.decodeCounters(b); err != nil {
			return nil, fmt.Errorf("record \"m\": %w", err)
		}
	}
	s.loadPages()
	each("Q/", s.loadQueue)
	each("K/", s.loadKey)
	each("w/", s.loadWorker)
	s.regroup()
	each("n/", s.loadNamespace)
	each("j/", s.loadJob)
	each("l/", s.loadLease)
	each("k/", s.loadKept)
	each("s/", s.loadSchedule)
	var live []*Task
	each("q/", func(b []byte) error {
		t, e := decodeTask(b)
		live = append(live, t)
		return e
	})
	if err != nil {
		return nil, err
	}
	slices.SortFunc(live, func(a, b *Task) int { return compare(a.Order, b.Order) })
	for _, t := range live {
		if err := s.loadTask(t); err != nil {
			return nil, fmt.Errorf("record %q: %w", "q/"+t.ID, err)
		}
	}
	s.loadGates()
	if err := s.loadParked(); err != nil {
		return nil, fmt.Errorf("record \"P\": %w", err)
	}
	if err := s.loadUniques(); err != nil {
		return nil, fmt.Errorf("record \"U\": %w", err)
	}
	return s, nil
}

func (s *State) loadWorker(b []byte) error {
	r := wire.NewReader(b)
	v := r.Byte()
	if v != recordVersion && v != optionsVersion {
		return &VersionError{"worker record", v, optionsVersion}
	}
	w := &Worker{ID: r.String(), Incarnation: r.Uint(), Node: r.String(), Slots: uint32(r.Uint()), Drain: r.Bool(), Average: r.Int()}
	if v == optionsVersion {
		w.equip(readStrings(r))
	}
	s.workers = append(s.workers, w)
	return r.Done()
}

func (w *Worker) append(b []byte) []byte {
	if len(w.Has) > 0 {
		b = append(b, optionsVersion)
	} else {
		b = append(b, recordVersion)
	}
	b = wire.AppendString(b, w.ID)
	b = wire.AppendUint(b, w.Incarnation)
	b = wire.AppendString(b, w.Node)
	b = wire.AppendUint(b, uint64(w.Slots))
	b = wire.AppendBool(b, w.Drain)
	b = wire.AppendInt(b, w.Average)
	if len(w.Has) > 0 {
		b = appendStrings(b, w.Has)
	}
	return b
}

func (s *State) loadNamespace(b []byte) error {
	r := wire.NewReader(b)
	v := r.Byte()
	if v != recordVersion && v != partsVersion {
		return &VersionError{"namespace record", v, partsVersion}
	}
	n := &Namespace{Name: r.String(), Version: r.Uint(), Epoch: r.Uint(), Worker: r.String(), Incarnation: r.Uint(),
		Items: r.Uint(), Bytes: r.Uint(), Cleared: r.Uint(), Created: r.Int(), Changed: r.Int(), ready: -1}
	if v == partsVersion {
		n.InParts = r.Uint()
	}
	s.namespaces[n.Name] = n
	return r.Done()
}

func (n *Namespace) append(b []byte) []byte {
	if n.InParts > 0 {
		b = append(b, partsVersion)
	} else {
		b = append(b, recordVersion)
	}
	b = wire.AppendString(b, n.Name)
	b = wire.AppendUint(b, n.Version)
	b = wire.AppendUint(b, n.Epoch)
	b = wire.AppendString(b, n.Worker)
	b = wire.AppendUint(b, n.Incarnation)
	b = wire.AppendUint(b, n.Items)
	b = wire.AppendUint(b, n.Bytes)
	b = wire.AppendUint(b, n.Cleared)
	b = wire.AppendInt(b, n.Created)
	b = wire.AppendInt(b, n.Changed)
	if n.InParts > 0 {
		b = wire.AppendUint(b, n.InParts)
	}
	return b
}

func (s *State) loadJob(b []byte) error {
	j, err := decodeJob(b)
	if err == nil {
		j.stored = true
		s.jobs[j.ID] = j
	}
	return err
}

func decodeJob(b []byte) (*Job, error) {
	r := wire.NewReader(b)
	v := r.Byte()
	if v != recordVersion && v != countedVersion && v != spawnedVersion && v != bothVersion {
		return nil, &VersionError{"job record", v, bothVersion}
	}
	j := &Job{ID: r.String(), Body: r.Bytes(), Fold: r.String(), Sealed: r.Bool(), Cancelled: r.Bool(), Total: r.Uint(), Succeeded: r.Uint(),
		Failed: r.Uint(), Folds: r.Uint(), Folded: r.Uint(), FoldFailed: r.Uint(), LastFold: r.String(), FirstError: r.String(), Created: r.Int(), Finished: r.Int()}
	if v == spawnedVersion || v == bothVersion {
		j.Spawned = r.Uint()
	}
	if v == countedVersion || v == bothVersion {
		j.Inputs, j.Done, j.Round, j.Mark = r.Uint(), r.Uint(), r.Uint(), r.Uint()
	}
	return j, r.Done()
}

// countedVersion is the format of the record of a job whose inputs are counted.
const countedVersion = 2

// bothVersion is the format of the record of one that tasks have added to as well.
const bothVersion = 5

// counted tells whether the job's inputs are counted, and with them what of it
// failed is kept for a retry.
func (j *Job) counted() bool { return j.Inputs > 0 }

// format is that of the job's record.
func (j *Job) format() byte {
	switch {
	case j.counted() && j.Spawned > 0:
		return bothVersion
	case j.counted():
		return countedVersion
	case j.Spawned > 0:
		return spawnedVersion
	}
	return recordVersion
}

func (j *Job) append(b []byte) []byte {
	b = append(b, j.format())
	b = wire.AppendString(b, j.ID)
	b = wire.AppendBytes(b, j.Body)
	b = wire.AppendString(b, j.Fold)
	b = wire.AppendBool(b, j.Sealed)
	b = wire.AppendBool(b, j.Cancelled)
	for _, v := range [...]uint64{j.Total, j.Succeeded, j.Failed, j.Folds, j.Folded, j.FoldFailed} {
		b = wire.AppendUint(b, v)
	}
	b = wire.AppendString(b, j.LastFold)
	b = wire.AppendString(b, j.FirstError)
	b = wire.AppendInt(b, j.Created)
	b = wire.AppendInt(b, j.Finished)
	if j.Spawned > 0 {
		b = wire.AppendUint(b, j.Spawned)
	}
	if j.counted() {
		for _, v := range [...]uint64{j.Inputs, j.Done, j.Round, j.Mark} {
			b = wire.AppendUint(b, v)
		}
	}
	return b
}

func (s *State) loadTask(t *Task) error {
	t.stored = true
	s.tasks[t.ID] = t
	s.join(t)
	if t.State == Running {
		w := s.worker(t.Worker)
		if w == nil || w.Incarnation != t.Incarnation {
			return fmt.Errorf("runs on unknown worker %q", t.Worker)
		}
		w.give(t)
		s.running++
		t.line.lane.queue.gate.running++
		if k := t.line.key; k != nil {
			k.gate.running++
		}
		if t.Namespace == "" {
			w.load++
		}
	}
	s.watch(t)
	n := s.namespaces[t.Namespace]
	switch {
	case t.Namespace != "" && n == nil:
		return fmt.Errorf("belongs to unknown namespace %q", t.Namespace)
	case t.Awaits() != nil:
		s.holdBack(t)
	case t.NotBefore > s.Clock && (n == nil || !s.backsOff(t)):
		s.delay(t)
	case n == nil && t.State == Queued:
		s.wait(unit{task: t})
	case n != nil:
		s.loadIntoSpace(n, t)
	}
	return nil
}

// loadIntoSpace is enqueue without a decision: loading must not place.
func (s *State) loadIntoSpace(n *Namespace, t *Task) {
	n.tasks = append(n.tasks, t)
	if t.State == Running {
		if n.running++; n.running == 1 {
			s.worker(t.Worker).load++
		}
	} else if len(n.tasks) == 1 {
		s.offerSpace(n)
	}
}

func (c *counters) fields() []*uint64 {
	return []*uint64{&c.Policy, &c.Order, &c.Seq, &c.Epoch, &c.FinLo, &c.FinHi, &c.FinBytes, &c.Succeeded, &c.Failed, &c.Cancelled}
}

func (c *counters) append(b []byte) []byte {
	b = wire.AppendInt(append(b, recordVersion), c.Clock)
	for _, f := range c.fields() {
		b = wire.AppendUint(b, *f)
	}
	return b
}

func (s *State) decodeCounters(b []byte) error {
	c := &s.counters
	r := wire.NewReader(b)
	if v := r.Byte(); v != recordVersion {
		return &VersionError{"state record", v, recordVersion}
	}
	c.Clock = r.Int()
	for _, f := range c.fields() {
		*f = r.Uint()
	}
	s.cluster = r.String()
	if c.Policy > PolicyVersion {
		return &VersionError{"placement policy", byte(c.Policy), PolicyVersion}
	}
	return r.Done()
}

// Settle writes every object that changed since the last Settle to the
// records. How often it is called does not change what the records hold then.
func (s *State) Settle() {
	for _, t := range s.dirtyTasks {
		if t.dirty = false; !t.State.Final() {
			s.rec.Put("q/"+t.ID, s.record(t))
			t.stored = true
		}
	}
	for _, n := range s.dirtySpace {
		if n.dirty = false; !n.gone {
			s.rec.Put("n/"+n.Name, n.append(nil))
		}
	}
	for _, w := range s.dirtyWork {
		w.dirty = false
		if s.worker(w.ID) == w {
			s.rec.Put("w/"+w.ID, w.append(nil))
		}
	}
	for _, j := range s.dirtyJobs {
		if j.dirty = false; j.Finished == 0 {
			s.rec.Put("j/"+j.ID, j.append(nil))
			j.stored = true
		}
	}
	s.settleQueues()
	s.settlePages()
	s.dirtyTasks, s.dirtySpace, s.dirtyWork, s.dirtyJobs = s.dirtyTasks[:0], s.dirtySpace[:0], s.dirtyWork[:0], s.dirtyJobs[:0]
	s.rec.Put("m", wire.AppendString(s.counters.append(nil), s.cluster))
}

// Unsettled is the number of objects the next Settle writes.
func (s *State) Unsettled() int {
	return len(s.dirtyTasks) + len(s.dirtySpace) + len(s.dirtyWork) + len(s.dirtyJobs) + len(s.dirtyQueues) + len(s.dirtyKeys)
}

func (s *State) touch(t *Task) {
	if !t.dirty {
		t.dirty = true
		s.dirtyTasks = append(s.dirtyTasks, t)
	}
}

func (s *State) touchSpace(n *Namespace) {
	if !n.dirty {
		n.dirty = true
		s.dirtySpace = append(s.dirtySpace, n)
	}
}

func (s *State) touchWorker(w *Worker) {
	if !w.dirty {
		w.dirty = true
		s.dirtyWork = append(s.dirtyWork, w)
	}
}

func (s *State) touchJob(j *Job) {
	if !j.dirty {
		j.dirty = true
		s.dirtyJobs = append(s.dirtyJobs, j)
	}
}

func (s *State) worker(id string) *Worker {
	if i, ok := s.workerIndex(id); ok {
		return s.workers[i]
	}
	return nil
}

func (s *State) workerIndex(id string) (int, bool) {
	return slices.BinarySearchFunc(s.workers, id, func(w *Worker, id string) int { return strings.Compare(w.ID, id) })
}

func itemKey(ns, item string) string { return "i/" + ns + "/" + item }

func compare(a, b uint64) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}
