package sim

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"

	"farm/fsm"
	"farm/replica/roster"
	"farm/scheduler"
)

const never = time.Hour // the machine writes its state when it is told to

var silent = slog.New(slog.DiscardHandler)

// Times of a node, as package replica has them.
const (
	leaseTime   = 3 * time.Second
	graceTime   = time.Second
	beatTime    = 500 * time.Millisecond
	tickTime    = 50 * time.Millisecond
	maxInFlight = 4
)

// node is a replica: its state machine is the real one, its log is what it has
// heard of the committed one.
type node struct {
	w   *world
	id  string
	rnd *rand.Rand
	dir string

	m        *fsm.Machine
	broken   atomic.Pointer[error] // what the machine gave Options.Fatal
	life     int                   // grows with each start: what an earlier one had in mind is void
	up       bool
	isolated bool
	lagUntil time.Duration
	skew     time.Duration // of its clock

	has      uint64 // entries of the log it knows to be committed
	first    uint64 // entries up to here are dropped from its log
	applied  uint64
	applying bool

	term    uint64 // in which it was elected last
	barrier uint64 // entry it must have applied to lead, 0 when there is nothing to win
	leading bool   // it thinks so
	roster  *roster.Roster
	links   []*link // to workers, in the order they came
	buffer  []proposal
	cutting bool
	flights []*flight // oldest first, until they are answered
	ticking bool      // a Tick is on its way
	firing  int       // schedules that are being fired
	beats   int
}

type proposal struct {
	cmd  scheduler.Command
	done func(scheduler.Result, error)
}

// flight is an entry on its way into the log.
type flight struct {
	proposals []proposal
	data      []byte
	index     uint64 // once committed
	sent      bool   // to the other nodes
	acked     bool   // by a majority, if it could be reached
}

func newNode(w *world, i int) *node {
	id := fmt.Sprint("n", i)
	return &node{w: w, id: id, rnd: w.stream(id), dir: filepath.Join(w.dir, id)}
}

// after is world.after for something that ends with this life of the node.
func (n *node) after(d time.Duration, do func()) {
	life := n.life
	n.w.after(d, func() {
		if n.up && n.life == life {
			do()
		}
	})
}

// wall is the node's own clock.
func (n *node) wall() int64 { return epoch + int64(n.w.now+n.skew) }

// open starts the node from what its disk holds.
func (n *node) open() {
	m, err := fsm.Open(fsm.Options{Dir: n.dir, FlushEvery: never, Logger: silent, OnApply: n.onApply,
		Fatal: func(err error) { n.broken.CompareAndSwap(nil, &err) }})
	if err != nil {
		n.w.fail("disk", "%s does not start: %v", n.id, err)
	}
	n.m, n.up, n.applying, n.cutting = m, true, false, false
	n.roster = roster.New(roster.Times{Lease: leaseTime, Grace: graceTime, Beat: beatTime})
	n.applied = n.onDisk()
	if n.applied < n.first {
		n.w.fail("disk", "%s has its state up to entry %d and no log before %d", n.id, n.applied, n.first)
	}
	// Raft may show entries again that the state has.
	n.applied = max(n.first, n.applied-min(n.applied, uint64(n.rnd.IntN(4))))
	n.has = max(n.has, n.applied)
}

// onDisk is the index that the state on disk answers for.
func (n *node) onDisk() uint64 {
	list, err := n.m.Snapshots().List()
	if err != nil {
		n.w.fail("disk", "%s: %v", n.id, err)
	}
	if len(list) == 0 {
		return 0
	}
	return list[0].Index
}

func (n *node) die() {
	n.up = false
	n.life++
	for _, l := range n.links {
		l.cut()
	}
	n.links, n.buffer, n.flights = nil, nil, nil
	n.leading, n.barrier, n.ticking, n.firing = false, 0, false, 0
}

// restart brings a node back that is down.
func (n *node) restart() {
	if n.up {
		return
	}
	n.open()
	n.w.note("%s is back with its state up to entry %d", n.id, n.onDisk())
	n.rejoin()
}

// connect ends an isolation.
func (n *node) connect() {
	if !n.isolated {
		return
	}
	n.isolated = false
	if n.up {
		n.w.note("%s reaches the others again", n.id)
		n.rejoin()
	}
}

func (n *node) rejoin() {
	if n.w.leader != n {
		n.after(n.delay(), n.stepDown)
	}
	n.after(n.delay(), n.hear)
	n.w.electSoon()
	if l := n.w.leader; l != nil {
		l.commit()
	}
}

func (n *node) delay() time.Duration {
	return n.w.between(n.rnd, 100*time.Microsecond, 3*time.Millisecond)
}

// ---- following ----

// hear is what a follower learns from the leader: how far the log is.
func (n *node) hear() {
	l := n.w.leader
	switch {
	case l == nil || l == n || n.isolated || l.isolated:
		return
	case n.has >= uint64(len(n.w.log)): // as it had before it was down, it may be
		n.apply()
		return
	case n.has < l.first:
		n.install(l)
		return
	}
	n.has = uint64(len(n.w.log))
	n.apply()
}

// install takes the leader's snapshot, because its log begins too late.
func (n *node) install(from *node) {
	meta, rc, err := from.m.Snapshots().Open("state")
	if err != nil {
		n.w.fail("disk", "snapshot of %s: %v", from.id, err)
	}
	defer rc.Close()
	b, err := io.ReadAll(rc)
	if err != nil {
		n.w.fail("disk", "snapshot of %s: %v", from.id, err)
	}
	sink, err := n.m.Snapshots().Create(raft.SnapshotVersionMax, meta.Index, meta.Term, meta.Configuration, meta.ConfigurationIndex, nil)
	if err != nil {
		n.w.fail("disk", "snapshot to %s: %v", n.id, err)
	}
	if !n.w.plan.Calm && n.rnd.IntN(6) == 0 { // the connection breaks
		_, err1 := sink.Write(b[:len(b)/2])
		if err := sink.Cancel(); err1 != nil || err != nil {
			n.w.fail("disk", "half a snapshot to %s: %v, %v", n.id, err1, err)
		}
		return
	}
	_, err = sink.Write(b)
	if err == nil {
		err = sink.Close()
	}
	var in io.ReadCloser
	if err == nil {
		_, in, err = n.m.Snapshots().Open(sink.ID())
	}
	if err == nil {
		err = n.m.Restore(in)
	}
	if err != nil {
		n.w.fail("disk", "snapshot of %s to %s: %v", from.id, n.id, err)
	}
	n.w.stats.Snapshots++
	n.w.note("%s takes the snapshot of %s at entry %d", n.id, from.id, meta.Index)
	n.has, n.applied, n.first = meta.Index, meta.Index, meta.Index
}

// apply goes on with the log, soon.
func (n *node) apply() {
	if n.applying || n.applied >= n.has {
		return
	}
	n.applying = true
	n.after(max(n.w.between(n.rnd, 20*time.Microsecond, 500*time.Microsecond), n.lagUntil-n.w.now), n.applySome)
}

func (n *node) applySome() {
	n.applying = false
	if n.w.now < n.lagUntil {
		n.apply()
		return
	}
	to := n.has
	if n.w.plan.Calm {
		to = n.applied + 1
	} else {
		to = min(to, n.applied+1+uint64(n.rnd.IntN(8)))
	}
	logs := n.w.logs(n.applied, to)
	responses := n.m.ApplyBatch(logs)
	n.applied = to
	n.sound()
	byIndex := map[uint64]*fsm.Response{}
	for i, l := range logs {
		byIndex[l.Index], _ = responses[i].(*fsm.Response)
	}
	n.answer(byIndex)
	if n.barrier > 0 && n.applied >= n.barrier {
		n.lead()
	}
	n.say()
	n.apply()
}

// sound fails when the machine has given up.
func (n *node) sound() {
	if err := n.broken.Load(); err != nil {
		n.w.fail("disk", "%s ends its process: %v", n.id, *err)
	}
}

// onApply is on the apply path: it holds what this replica decided against what
// was decided when the entry was committed, and passes it on to workers.
func (n *node) onApply(a fsm.Applied) {
	if want, got := n.w.log[a.Index-1].decided, digest(a.Results, a.Effects); got != want {
		n.w.fail("replicas", "%s decides otherwise than the others on entry %d", n.id, a.Index)
	}
	if n.leading {
		n.roster.Act(a.State, a.Effects)
	}
}

// digest is a hash of what the scheduler answered and decided.
func digest(results []scheduler.Result, effects []scheduler.Effect) uint64 {
	var b []byte
	for i := range results {
		b = appendResult(b, &results[i])
	}
	for i := range effects {
		b = appendEffect(b, &effects[i])
	}
	return sumOf(b)
}

func sumOf(b []byte) uint64 {
	h := fnv.New64a()
	h.Write(b)
	return h.Sum64()
}

func appendResult(b []byte, r *scheduler.Result) []byte {
	return binary.AppendUvarint(append(b, byte(r.Code)), r.Order)
}

// appendEffect takes of an effect what does not change before its entry is
// through.
func appendEffect(b []byte, e *scheduler.Effect) []byte {
	id := e.Space
	if e.Task != nil {
		id = e.Task.ID
	} else if e.Job != nil {
		id = e.Job.ID
	}
	b = append(append(b, byte(e.Kind)), id...)
	b = append(append(b, 0), e.Worker...)
	b = binary.AppendUvarint(append(b, 0), e.Incarnation)
	b = binary.AppendUvarint(b, uint64(e.Attempt))
	return binary.AppendUvarint(b, e.Version)
}

// ---- leading ----

// win is the beginning of a leadership: it leads once it has applied all there is.
func (n *node) win() {
	n.term, n.has = n.w.term, uint64(len(n.w.log))
	n.barrier = n.has
	n.apply()
}

func (n *node) lead() {
	n.barrier = 0
	n.leading = true
	n.roster.Lead(true, n.w.mono())
	n.w.note("%s leads", n.id)
	n.beats = 0
	n.tick()
}

// stepDown is what a node does that learns that it leads no more.
func (n *node) stepDown() {
	if n.w.leader == n || (!n.leading && n.barrier == 0 && len(n.flights)+len(n.buffer) == 0) {
		return
	}
	n.w.note("%s learns that it leads no more", n.id)
	n.leading, n.barrier = false, 0
	n.roster.Lead(false, n.w.mono())
	flights, buffer := n.flights, n.buffer
	n.flights, n.buffer = nil, nil
	for _, f := range flights {
		for _, p := range f.proposals {
			p.done(scheduler.Result{}, errUnknown)
		}
	}
	for _, p := range buffer {
		p.done(scheduler.Result{}, errUnknown)
	}
	n.links = nil
}

// propose puts a command in line for the log.
func (n *node) propose(cmd scheduler.Command, done func(scheduler.Result, error)) {
	if !n.leading {
		done(scheduler.Result{}, errUnknown)
		return
	}
	n.buffer = append(n.buffer, proposal{cmd, done})
	n.cutSoon()
}

func (n *node) cutSoon() {
	if n.cutting || len(n.buffer) == 0 || len(n.flights) >= maxInFlight {
		return
	}
	n.cutting = true
	n.after(n.w.between(n.rnd, 50*time.Microsecond, time.Millisecond), n.cut)
}

// cut makes an entry of the commands in line and sends it to the others.
func (n *node) cut() {
	n.cutting = false
	if !n.leading || len(n.buffer) == 0 {
		return
	}
	size := len(n.buffer)
	if n.w.plan.Calm {
		size = 1
	} else if n.rnd.IntN(3) == 0 {
		size = 1 + n.rnd.IntN(size)
	}
	f := &flight{proposals: n.buffer[:size:size], sent: !n.isolated}
	n.buffer = n.buffer[size:]
	cmds := make([]scheduler.Command, size)
	for i, p := range f.proposals {
		cmds[i] = p.cmd
	}
	f.data = fsm.EncodeEntry(n.wall(), cmds)
	n.flights = append(n.flights, f)
	n.after(n.w.between(n.rnd, 300*time.Microsecond, 4*time.Millisecond), func() {
		f.acked = true
		n.commit()
	})
	n.cutSoon()
}

// commit commits the entries that a majority has, in order.
func (n *node) commit() {
	for _, f := range n.flights {
		if f.index > 0 {
			continue
		}
		if !f.acked || n.w.leader != n || n.isolated || n.w.connected() == nil {
			return
		}
		f.index = n.w.append(record{term: n.term, kind: raft.LogCommand, data: f.data})
		n.has = f.index
		n.apply()
		for _, o := range n.w.nodes {
			if o != n {
				o.after(o.delay(), o.hear)
			}
		}
	}
}

// answer calls those back whose commands are applied.
func (n *node) answer(responses map[uint64]*fsm.Response) {
	for len(n.flights) > 0 {
		f := n.flights[0]
		if f.index == 0 || f.index > n.applied {
			break
		}
		n.flights = n.flights[1:]
		r := responses[f.index]
		if r == nil || len(r.Results) != len(f.proposals) {
			n.w.fail("replicas", "%s has no answers to the commands of entry %d", n.id, f.index)
		}
		for i, p := range f.proposals {
			p.done(r.Results[i], nil)
		}
	}
	n.cutSoon()
}

// tick is what the leader does every tickTime.
func (n *node) tick() {
	if !n.leading {
		return
	}
	n.beats++
	var lost []*scheduler.WorkerLost
	deadline := int64(0)
	var due []scheduler.Schedule
	n.m.View(func(s *scheduler.State) {
		due = n.dueSchedules(s)
		deadline = s.NextDeadline()
		lost = n.roster.Silent(s, n.w.mono())
	})
	if deadline != 0 && deadline <= n.wall() && !n.ticking {
		n.ticking = true
		n.propose(&scheduler.Tick{}, func(scheduler.Result, error) { n.ticking = false })
	}
	if n.firing == 0 {
		n.fire(due)
	}
	for _, c := range lost {
		n.giveUp(c)
	}
	if n.beats%4 == 0 {
		for _, o := range n.w.nodes {
			if o != n && n.w.leader == n {
				o.after(o.delay(), o.hear)
			}
		}
	}
	n.say()
	n.after(tickTime, n.tick)
}

func (n *node) giveUp(c *scheduler.WorkerLost) {
	n.blame(c)
	n.propose(c, func(_ scheduler.Result, err error) {
		n.roster.GivenUp(c, err)
		n.say()
	})
}

// blame makes sure that what the leader was told had begun, and has no end yet,
// is in the command that gives the worker up.
func (n *node) blame(c *scheduler.WorkerLost) {
	if c.Guess {
		return
	}
	began := map[scheduler.Attempt]bool{}
	for _, a := range c.Began {
		began[a] = true
	}
	n.m.View(func(s *scheduler.State) {
		for _, l := range n.links {
			if l.sess == nil || l.k.id != c.Worker || l.inc != c.Incarnation {
				continue
			}
			for _, t := range s.Assigned(c.Worker) {
				if l.heard[t.ID] == t.Attempt && l == n.newest(l.k) && !began[scheduler.Attempt{Task: t.ID, Number: t.Attempt}] {
					n.w.fail("blame", "worker %s is given up, and task %s, which it had begun, is not blamed", c.Worker, t.ID)
				}
			}
		}
	})
}

func (n *node) newest(k *worker) (newest *link) {
	for _, l := range n.links {
		if l.k == k {
			newest = l
		}
	}
	return newest
}

// ---- the disk ----

func (n *node) statePath() string { return filepath.Join(n.dir, "state.db") }

// image is what the state's file holds. Nothing is being written to it: that
// happens only when the simulation says so.
func (n *node) image() []byte {
	b, err := readUsed(n.statePath())
	if err != nil {
		n.w.fail("disk", "%s: %v", n.id, err)
	}
	return b
}

// Of the file's format this has to know: pages, the two first of which say how
// many there are. The rest of the file is room that nothing was put into yet.
const (
	page    = 4096
	heads   = 2
	pagesAt = 16 + 16 + 16 + 8 // in a head
)

func readUsed(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	head := make([]byte, heads*page)
	if _, err := io.ReadFull(f, head); err != nil {
		return nil, err
	}
	used := uint64(heads)
	for i := range heads {
		used = max(used, binary.LittleEndian.Uint64(head[i*page+pagesAt:]))
	}
	return io.ReadAll(io.MultiReader(bytes.NewReader(head), io.LimitReader(f, int64(used-heads)*page)))
}

// writeUsed puts an image in the place of a file's content, and leaves its size.
func writeUsed(path string, image []byte) error {
	i, err := os.Stat(path)
	if err == nil {
		err = os.WriteFile(path, image, 0o600)
	}
	if err == nil && i.Size() > int64(len(image)) {
		err = os.Truncate(path, i.Size())
	}
	return err
}

// flush writes the state and compares it with those of others.
func (n *node) flush() {
	if n.up {
		n.w.compareHash(n.id, n.m)
		n.sound()
	}
}

// compareHash holds a machine's hash against that of others at the same index.
func (w *world) compareHash(who string, m *fsm.Machine) {
	index, sum, err := m.Hash(context.Background())
	if err != nil {
		w.fail("disk", "%s: %v", who, err)
	}
	w.check.hash(who, index, sum)
}

// snapshot has the state on disk answer for the log up to here, and drops the
// log but for its last entries.
func (n *node) snapshot(keep uint64) {
	if !n.up || n.applied == 0 || n.applied < n.onDisk() {
		return
	}
	s, err := n.m.Snapshot()
	if err != nil {
		n.w.fail("disk", "%s: %v", n.id, err)
	}
	defer s.Release()
	conf := raft.DecodeConfiguration(n.w.log[0].data)
	sink, err := n.m.Snapshots().Create(raft.SnapshotVersionMax, n.applied, n.w.log[n.applied-1].term, conf, 1, nil)
	if err == nil {
		err = s.Persist(sink)
	}
	if err != nil {
		n.w.fail("disk", "snapshot of %s: %v", n.id, err)
	}
	n.first = max(n.first, n.applied-min(n.applied, keep))
	n.w.note("%s drops its log before entry %d", n.id, n.first+1)
}

// crash ends the node at once. Its disk keeps what was synced; torn, the crash
// comes while the state is being written, and any of the pages may be there.
func (n *node) crash(torn bool) {
	image := n.image()
	if torn {
		n.flush()
		image = n.tear(image, n.image())
	}
	n.w.stats.Crashes++
	was := n.w.leader == n
	if was {
		n.w.unseat(n)
		n.w.electSoon()
	}
	n.die()
	n.w.note("%s crashes", n.id)
	if err := n.m.Close(); err != nil {
		n.w.fail("disk", "%s: %v", n.id, err)
	}
	if err := writeUsed(n.statePath(), image); err != nil {
		n.w.fail("disk", "%s: %v", n.id, err)
	}
}

// tear mixes the file before a write with the one after it as a crash does in
// the middle: the pages that say where all begins are written last.
func (n *node) tear(before, after []byte) []byte {
	torn := bytes.Clone(after)
	for i := 0; i < len(before)/page; i++ {
		if i < heads || n.rnd.IntN(2) == 0 {
			copy(torn[i*page:(i+1)*page], before[i*page:])
		}
	}
	return torn
}
