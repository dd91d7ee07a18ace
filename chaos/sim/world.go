package sim

import (
	"container/heap"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"hash/fnv"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"time"

	"github.com/hashicorp/raft"

	"farm/fsm"
)

// ViolationError says which promise a history broke, and how.
type ViolationError struct {
	Check  string // short name of the promise, see the package doc
	Detail string
}

// Error implements error.
func (v *ViolationError) Error() string { return v.Check + ": " + v.Detail }

// Stats counts what happened in a history.
type Stats struct {
	Events    int // steps of the simulation
	Entries   int // log entries committed
	Tasks     int // that ended
	Faults    int // injected
	Refused   int // reports that came too late, twice or of a wrong attempt
	Losses    int // attempts lost with a worker
	Crashes   int // of nodes
	Leaders   int // elected
	Snapshots int // installed
	Spawned   int // tasks that tasks submitted
	Snoozed   int // attempts that put their task off
	Revived   int // tasks that were final, and were made live again
	Resized   int // workers that changed their slots
}

func (s *Stats) add(o Stats) {
	s.Events += o.Events
	s.Entries += o.Entries
	s.Tasks += o.Tasks
	s.Faults += o.Faults
	s.Refused += o.Refused
	s.Losses += o.Losses
	s.Crashes += o.Crashes
	s.Leaders += o.Leaders
	s.Spawned += o.Spawned
	s.Snoozed += o.Snoozed
	s.Revived += o.Revived
	s.Resized += o.Resized
	s.Snapshots += o.Snapshots
}

// History is what came of a plan.
type History struct {
	Err   error  // a *ViolationError, or nil
	Hash  uint64 // of everything that happened: a plan always gives the same
	Took  time.Duration
	Stats Stats
	Trace []string // what happened, line by line, if asked for
}

// Run carries out a plan, in a folder that is made and removed. With trace set
// what happens is written down.
func Run(p *Plan, trace bool) (h History) {
	dir, err := os.MkdirTemp(scratch(), "farm-sim-")
	if err != nil {
		return History{Err: err}
	}
	defer os.RemoveAll(dir)
	w := newWorld(p, dir)
	w.tracing = trace
	defer func() {
		h = History{Err: w.err, Hash: w.hash.Sum64(), Took: w.now, Stats: w.stats, Trace: w.trace}
		w.close()
	}()
	w.err = w.run()
	return h
}

// scratch is where states are written: in memory if the system has such a
// folder, since what a crash leaves is the simulation's to decide.
func scratch() string {
	const memory = "/dev/shm"
	if i, err := os.Stat(memory); err == nil && i.IsDir() {
		return memory
	}
	return os.TempDir()
}

// record is one committed log entry.
type record struct {
	term    uint64
	kind    raft.LogType
	data    []byte
	decided uint64 // digest of what the scheduler makes of it
}

// world is one simulated farm. Everything in it happens on one goroutine, one
// event after the other, at times that follow from the plan.
type world struct {
	plan *Plan
	dir  string
	now  time.Duration
	seq  uint64
	todo queue

	nodes   []*node
	workers []*worker
	calls   map[string]*call
	waiting int // calls not answered
	check   *checker

	log    []record
	term   uint64
	leader *node // who can have entries committed, nil between two
	rnd    *rand.Rand
	healed bool // nothing is broken any more

	hash    hash.Hash64
	stats   Stats
	tracing bool
	trace   []string
	err     error
}

// epoch is the wall clock's time at the beginning, unix nanoseconds.
const epoch = int64(1_700_000_000_000_000_000)

func newWorld(p *Plan, dir string) *world {
	w := &world{plan: p, dir: dir, calls: map[string]*call{}, hash: fnv.New64a()}
	w.rnd = w.stream("world")
	w.check = newChecker(w)
	for i := range p.Nodes {
		w.nodes = append(w.nodes, newNode(w, i+1))
	}
	for i, slots := range p.Slots {
		w.workers = append(w.workers, newWorker(w, i+1, slots))
	}
	return w
}

// stream is a source of chance of its own for each actor: what is left out of a
// plan then changes little elsewhere.
func (w *world) stream(name string) *rand.Rand {
	h := fnv.New64a()
	h.Write([]byte(name))
	return rand.New(rand.NewPCG(w.plan.Seed, h.Sum64()))
}

// between is a length of time by chance.
func (w *world) between(rnd *rand.Rand, lo, hi time.Duration) time.Duration {
	if w.plan.Calm {
		return lo
	}
	return lo + time.Duration(rnd.Int64N(int64(hi-lo)+1))
}

// ---- time ----

type event struct {
	at  time.Duration
	seq uint64
	do  func()
}

type queue []event

func (q queue) Len() int { return len(q) }
func (q queue) Less(i, j int) bool {
	return q[i].at < q[j].at || q[i].at == q[j].at && q[i].seq < q[j].seq
}
func (q queue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *queue) Push(x any)   { *q = append(*q, x.(event)) }
func (q *queue) Pop() any {
	last := len(*q) - 1
	x := (*q)[last]
	(*q)[last] = event{}
	*q = (*q)[:last]
	return x
}

func (w *world) at(t time.Duration, do func()) {
	w.seq++
	heap.Push(&w.todo, event{max(t, w.now), w.seq, do})
}

func (w *world) after(d time.Duration, do func()) { w.at(w.now+d, do) }

// mono is the monotonic clock, which all nodes share: only lengths are taken
// from it.
func (w *world) mono() time.Time { return time.Unix(0, epoch).Add(w.now) }

// note writes down what happened; it goes into the history's hash as well.
func (w *world) note(format string, args ...any) {
	line := fmt.Sprintf(format, args...)
	w.mark(line)
	w.write(line)
}

// write adds a line to the trace only.
func (w *world) write(line string) {
	if w.tracing {
		w.trace = append(w.trace, fmt.Sprintf("%-12v %s", w.now, line))
	}
}

func (w *world) mark(s string) {
	var b [8]byte
	binary.LittleEndian.PutUint64(b[:], uint64(w.now))
	w.hash.Write(b[:])
	w.hash.Write([]byte(s))
}

// fail ends the history.
func (w *world) fail(check, format string, args ...any) {
	panic(&ViolationError{check, fmt.Sprintf(format, args...)})
}

const (
	// patience is how long a farm that is whole may be without a task that ends
	// while some are left. Nothing takes longer than to lose as many workers as
	// it takes to park a task.
	patience = 40 * time.Second
	settling = 200 * time.Millisecond // from the last event to the healing
	maxSteps = 400_000                // events of one history; more is a loop
)

func (w *world) run() (err error) {
	defer func() {
		switch p := recover().(type) {
		case nil:
		case *ViolationError:
			err = p
		default:
			err = &ViolationError{"panic", fmt.Sprintf("%v\n%s", p, clip(debug.Stack()))}
		}
		if err != nil {
			w.note("%v", err)
		}
	}()
	w.start()
	end := settling
	for i := range w.plan.Events {
		e := &w.plan.Events[i]
		w.at(e.At, func() { w.inject(e) })
		end = max(end, e.At+settling)
	}
	w.at(end, w.heal)
	for !w.drained() {
		if w.now > max(end, w.check.lastEnd)+patience {
			w.fail("live", "nothing ends any more although everything is whole: %s", w.check.unfinished())
		}
		if w.stats.Events++; w.stats.Events > maxSteps {
			w.fail("live", "%d steps come to no end", maxSteps)
		}
		e := heap.Pop(&w.todo).(event)
		w.now = e.at
		e.do()
	}
	w.finish()
	return nil
}

func clip(stack []byte) string {
	var out []string
	for _, l := range strings.Split(string(stack), "\n") {
		if strings.Contains(l, ".go:") && !strings.Contains(l, "/runtime/") {
			out = append(out, strings.TrimSpace(l))
		}
	}
	return strings.Join(out[:min(len(out), 12)], "\n")
}

// start makes the first leader; a log begins with the members.
func (w *world) start() {
	var c raft.Configuration
	for _, n := range w.nodes {
		n.open()
		c.Servers = append(c.Servers, raft.Server{ID: raft.ServerID(n.id), Address: raft.ServerAddress(n.id)})
	}
	w.append(record{term: 1, kind: raft.LogConfiguration, data: raft.EncodeConfiguration(c)})
	w.elect()
	for _, k := range w.workers {
		k.start()
	}
}

// drained tells whether nothing is left to do: only asked once all is whole.
func (w *world) drained() bool {
	if !w.healed || w.waiting > 0 || !w.check.quiet() || w.leader == nil || !w.leader.leading {
		return false
	}
	for _, n := range w.nodes {
		if !n.up || n.applied < uint64(len(w.log)) {
			return false
		}
	}
	return true
}

// heal makes everything whole: nodes and workers are up and reach each other,
// clocks agree.
func (w *world) heal() {
	w.note("everything is whole again")
	w.healed = true
	ahead := time.Duration(0)
	for _, n := range w.nodes {
		ahead = max(ahead, n.skew)
	}
	ahead = max(ahead, time.Duration(w.check.ref.Now()-epoch)-w.now) // a clock that was ahead has been caught up with
	for _, n := range w.nodes {
		n.skew, n.lagUntil = ahead, 0
		n.restart()
		n.connect()
	}
	for _, k := range w.workers {
		k.cutUntil = 0
		k.resume()
		k.start()
		k.resize(k.full)
	}
	w.check.tidy()
}

// finish compares what is left at the end.
func (w *world) finish() {
	for _, n := range w.nodes {
		n.flush()
	}
	w.check.end()
	w.replay()
}

// replay gives the whole log to a new machine in one batch: it must come to the
// state that the nodes came to by their ways.
func (w *world) replay() {
	m, err := fsm.Open(fsm.Options{Dir: filepath.Join(w.dir, "replay"), FlushEvery: never, Logger: silent, Fatal: func(error) {}})
	if err != nil {
		w.fail("disk", "a new state: %v", err)
	}
	defer m.Close()
	m.ApplyBatch(w.logs(0, uint64(len(w.log))))
	w.compareHash("a replay of the log from nothing", m)
}

// logs are the committed entries after an index that a state machine is shown.
func (w *world) logs(after, to uint64) []*raft.Log {
	var out []*raft.Log
	for i := after + 1; i <= to; i++ {
		if r := &w.log[i-1]; r.kind == raft.LogCommand || r.kind == raft.LogConfiguration {
			out = append(out, &raft.Log{Index: i, Term: r.term, Type: r.kind, Data: r.data})
		}
	}
	return out
}

func (w *world) close() {
	for _, n := range w.nodes {
		if n.m != nil {
			_ = n.m.Close() // what it has to say was said
		}
	}
}

// ---- the log ----

// errUnknown is the answer to a proposal of which nobody knows what became.
var errUnknown = errors.New("the node does not lead any more: the command may or may not be in the log")

// append commits an entry: it is in the log of a majority from now on.
func (w *world) append(r record) uint64 {
	w.log = append(w.log, r)
	index := uint64(len(w.log))
	w.stats.Entries++
	if r.kind == raft.LogCommand {
		w.log[index-1].decided = w.check.commit(index, r.data)
	}
	return index
}

// connected are the nodes that reach a majority, nil when there is none.
func (w *world) connected() []*node {
	var out []*node
	for _, n := range w.nodes {
		if n.up && !n.isolated {
			out = append(out, n)
		}
	}
	if 2*len(out) <= len(w.nodes) {
		return nil
	}
	return out
}

// elect makes one of the nodes that reach a majority the leader, if there is
// none: one that has heard most of the log.
func (w *world) elect() {
	if w.leader != nil {
		return
	}
	var best *node
	for _, n := range w.connected() {
		if best == nil || n.has > best.has || n.has == best.has && w.rnd.IntN(2) == 0 {
			best = n
		}
	}
	if best == nil {
		return
	}
	w.term++
	w.stats.Leaders++
	w.leader = best
	w.append(record{term: w.term, kind: raft.LogNoop})
	w.note("%s is elected in term %d", best.id, w.term)
	best.win()
}

// electSoon is the time in which followers notice that they have no leader.
func (w *world) electSoon() {
	w.after(w.between(w.rnd, time.Second, 2*time.Second), w.elect)
}

// unseat takes the leadership from a node. What it had sent to the others may be
// committed by the next leader, up to some entry; it is told of none.
func (w *world) unseat(n *node) {
	w.leader = nil
	sent := 0
	for sent < len(n.flights) && n.flights[sent].sent {
		sent++
	}
	if sent == 0 {
		return
	}
	for _, f := range n.flights[:w.rnd.IntN(sent+1)] {
		if f.index == 0 {
			f.index = w.append(record{term: n.term, kind: raft.LogCommand, data: f.data})
			w.note("entry %d of %s is committed although it leads no more", f.index, n.id)
		}
	}
}
