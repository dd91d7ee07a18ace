package sim

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Plan is everything that decides a history: the same plan gives the same one.
// What is injected is a list, so that a plan can be cut down; what nature adds,
// such as how long a message takes, follows from Seed and who is concerned.
type Plan struct {
	Seed   uint64
	Nodes  int
	Slots  []int         // of each worker
	Has    []string      // labels and handlers of each, separated by commas; empty: none has any
	Task   time.Duration // about how long an attempt takes
	Calm   bool          // every message takes equally long, every batch is one entry
	Events []Event       // by At
}

// Event is something injected. Which fields count depends on Do; an event that
// makes no sense when it comes, such as the end of a job that is not there, does
// nothing or is refused, as in life.
type Event struct {
	At  time.Duration // from the beginning
	Do  string        // one of the verbs below
	Who string        // the node or worker it is done to
	ID  string        // of the task or job
	NS  string        // namespace; of a job the one it is folded into
	Op  string        // of a task: see work
	Job string
	Arg string        // another namespace, or a key
	N   int64         // a number: a version, failures, a disk's fate
	Try int           // retries
	For time.Duration // how long it lasts, or by how much

	After           string        // tasks that it runs after, separated by commas; when, follows from N
	Within, Backoff time.Duration // its deadline, its wait before the first retry

	Queue, Key string // of a task
	Unique     string // its unique key, and how long it has it: u1/queued, u1/running, u1/2s
	Needs      string // what a worker must have to be given it, separated by commas
}

// The verbs of events.
const (
	doSubmit    = "submit"     // ID NS Op Job Arg N Try For Queue Key Unique; the same one again is a repeated request
	doCancel    = "cancel"     // ID
	doOpenJob   = "open-job"   // ID NS
	doSealJob   = "seal-job"   // ID N
	doCancelJob = "cancel-job" // ID
	doRetry     = "retry"      // ID N Arg; task Arg of job ID is tried again, in round N
	doRead      = "read"       // ID
	doQueue     = "queue"      // ID Op N For Try: see flow
	doKill      = "kill"       // worker Who, back after For
	doPause     = "pause"      // worker Who stands still for For
	doCut       = "cut"        // worker Who reaches nobody for For
	doEcho      = "echo"       // worker Who says again what it reported last
	doForge     = "forge"      // worker Who reports attempts it has with N added to their number
	doDrain     = "drain"      // worker Who is given nothing new
	doUse       = "use"        // worker Who is used again
	doCrash     = "crash"      // node Who loses what it had not synced, back after For; N 1: in the middle of a write
	doLag       = "lag"        // node Who applies nothing for For
	doFlush     = "flush"      // node Who writes its state
	doSnapshot  = "snapshot"   // node Who takes a snapshot and drops the log before it, but N entries
	doIsolate   = "isolate"    // node Who reaches no other node for For
	doDepose    = "depose"     // another node becomes leader
	doSchedule  = "schedule"   // ID NS: a task again and again
	doClock     = "clock"      // the clock of node Who jumps by For
)

// faults are the verbs that break something.
var faults = []string{doKill, doPause, doCut, doEcho, doForge, doDrain, doCrash, doLag, doIsolate, doDepose, doClock}

// What a task does. Those from opPatch on need no worker.
const (
	opAppend    = "append"    // puts its id behind item "log", and puts or removes another item
	opLook      = "look"      // changes nothing
	opFail      = "fail"      // fails N times, then is append
	opPermanent = "permanent" // fails for good
	opDie       = "die"       // takes its worker with it
	opSlow      = "slow"      // is append, and takes long
	opSpawn     = "spawn"     // fails N times, then is append and submits tasks
	opRefused   = "refused"   // is spawn, and submits one that is refused: so it fails
	opPatch     = "patch"     // puts item Arg; with N 1 only if it is not there
	opDrop      = "drop"      // removes the namespace
	opRestore   = "restore"   // to N versions ago
	opFork      = "fork"      // of namespace Arg
)

// span is how long what is injected goes on in a history.
const span = 12 * time.Second

// Draw makes the plan of a seed. Which kinds of faults there are, and how many,
// is drawn first: a history with everything in it finds less than many with
// little each.
func Draw(seed uint64) *Plan {
	d := &drawing{rnd: rand.New(rand.NewPCG(seed, 0)), p: &Plan{Seed: seed}}
	d.p.Nodes = []int{1, 3, 3, 3, 5}[d.n(5)]
	for range 1 + d.n(4) {
		d.p.Slots = append(d.p.Slots, 1+d.n(3))
	}
	d.p.Task = []time.Duration{200 * time.Microsecond, 5 * time.Millisecond, 60 * time.Millisecond, 400 * time.Millisecond}[d.n(4)]
	for range 10 + d.n(50) {
		d.traffic()
	}
	var kinds []string
	for _, f := range append(slices.Clone(faults), doFlush, doSnapshot, doUse) {
		if d.n(2) == 0 {
			kinds = append(kinds, f)
		}
	}
	for range d.n(25) {
		if len(kinds) > 0 {
			d.fault(kinds[d.n(len(kinds))])
		}
	}
	d.flows()
	d.asks()
	slices.SortStableFunc(d.p.Events, func(a, b Event) int { return int(a.At - b.At) })
	return d.p
}

type drawing struct {
	rnd *rand.Rand
	p   *Plan
	ids int
	job int
}

func (d *drawing) n(n int) int { return d.rnd.IntN(n) }

func (d *drawing) at() time.Duration { return time.Duration(d.rnd.Int64N(int64(span))) }

func (d *drawing) add(e Event) { d.p.Events = append(d.p.Events, e) }

func (d *drawing) space() string { return string(rune('a' + d.n(3))) }

func (d *drawing) task() string { return fmt.Sprint("t", 1+d.n(d.ids+1)) }

// traffic adds what a client does: often several requests at once, so that
// queues form.
func (d *drawing) traffic() {
	at := d.at()
	switch k := d.n(20); {
	case k < 13:
		ns := d.space()
		for range 1 + d.n(4)*d.n(4) {
			d.submit(at, ns)
			at += time.Duration(d.n(3)) * time.Millisecond
		}
	case k < 15:
		d.add(Event{At: at, Do: doCancel, ID: d.task()})
	case k < 17:
		d.add(Event{At: at, Do: doRead, ID: d.task()})
	case k < 18:
		d.add(Event{At: at, Do: doSchedule, ID: fmt.Sprint("s", d.n(2)), NS: d.space()})
	default:
		d.jobOf(at)
	}
}

func (d *drawing) submit(at time.Duration, ns string) {
	d.ids++
	e := Event{At: at, Do: doSubmit, ID: fmt.Sprint("t", d.ids), NS: ns, Op: opAppend, Try: d.n(3)}
	switch d.n(24) {
	case 0:
		e.Op, e.N = opFail, int64(1+d.n(3))
	case 1:
		e.Op = opPermanent
	case 2:
		e.Op = opLook
	case 3:
		e.Op = opSlow
	case 4, 5:
		e.Op, e.Arg, e.N = opPatch, fmt.Sprint("p", d.n(3)), int64(d.n(2))
	case 6:
		e.Op = opDrop
	case 7:
		e.Op, e.N = opRestore, int64(d.n(4))
	case 8:
		e.Op, e.Arg = opFork, d.space()
	case 9:
		if d.n(4) == 0 {
			e.Op = opDie
		}
	case 10, 11:
		e.For = time.Duration(d.n(3000)) * time.Millisecond
	case 12, 13:
		e.Op, e.N = opSpawn, int64(d.n(3)/2)
	case 14:
		e.Op = opRefused
	}
	if needsWorker(e.Op) && d.n(3) == 0 {
		e.NS = ""
	}
	d.timing(&e)
	d.add(e)
	if d.n(6) == 0 {
		e.At += time.Duration(d.n(2000)) * time.Millisecond
		d.add(e) // the client repeats it, although it may have been answered
	}
}

// jobOf adds a job with a few tasks.
func (d *drawing) jobOf(at time.Duration) {
	d.job++
	id := fmt.Sprint("j", d.job)
	e := Event{At: at, Do: doOpenJob, ID: id}
	if d.n(3) > 0 {
		e.NS = d.space()
	}
	d.add(e)
	n := 1 + d.n(5)
	var list []string
	for range n {
		d.ids++
		at += time.Duration(d.n(40)) * time.Millisecond
		e := Event{At: at, Do: doSubmit, ID: fmt.Sprint("t", d.ids), Op: opAppend, Job: id, Try: d.n(2)}
		switch d.n(6) {
		case 0, 1:
			e.Op, e.N = opFail, 1
		case 2:
			e.Op = opSpawn
		}
		d.add(e)
		list = append(list, e.ID)
	}
	at += time.Duration(d.n(1000)) * time.Millisecond
	if d.n(5) == 0 {
		d.add(Event{At: at, Do: doCancelJob, ID: id})
	} else {
		d.add(Event{At: at, Do: doSealJob, ID: id, N: int64(n)})
	}
	for round := range int64(d.n(3)) {
		at += time.Duration(d.n(2000)) * time.Millisecond
		for _, task := range list {
			d.add(Event{At: at, Do: doRetry, ID: id, N: round + 1, Arg: task})
			d.add(Event{At: at, Do: doRetry, ID: id, N: round + 1, Arg: task + "/fold"})
		}
	}
}

func (d *drawing) fault(kind string) {
	e := Event{At: d.at(), Do: kind, For: time.Duration(1+d.n(400)) * 10 * time.Millisecond}
	switch kind {
	case doKill, doPause, doCut, doEcho, doForge, doDrain, doUse:
		e.Who = fmt.Sprint("w", 1+d.n(len(d.p.Slots)))
	default:
		e.Who = fmt.Sprint("n", 1+d.n(d.p.Nodes))
	}
	switch kind {
	case doEcho, doDrain, doUse, doFlush:
		e.For = 0
	case doForge:
		e.For, e.N = 0, []int64{-1, 1000}[d.n(2)] // never that of the attempt there is
	case doCrash:
		e.N = int64(d.n(2))
	case doSnapshot:
		e.For, e.N = 0, int64(d.n(6))
	case doDepose:
		e.For, e.Who = 0, ""
	case doClock:
		e.For = []time.Duration{-24 * time.Hour, -time.Hour, -2 * time.Second, 2 * time.Second, time.Hour, 24 * time.Hour}[d.n(6)]
	}
	d.add(e)
	if (kind == doCrash || kind == doIsolate) && d.n(2) == 0 {
		d.outrun(e)
	}
}

// outrun has the other nodes drop their logs while one is away, so that it needs
// a snapshot when it is back.
func (d *drawing) outrun(e Event) {
	at := e.At + e.For*3/4
	d.submit(e.At+e.For/2, d.space())
	for i := range d.p.Nodes {
		if id := fmt.Sprint("n", i+1); id != e.Who {
			d.add(Event{At: at, Do: doSnapshot, Who: id, N: int64(d.n(2))})
		}
	}
}

// ---- as text ----

// String is the plan as a transcript that Parse reads.
func (p *Plan) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "seed %d\nnodes %d\nslots", p.Seed, p.Nodes)
	for _, s := range p.Slots {
		fmt.Fprintf(&b, " %d", s)
	}
	fmt.Fprintf(&b, "\ntask %v\n", p.Task)
	if len(p.Has) > 0 {
		b.WriteString("has")
		for _, list := range p.Has {
			fmt.Fprintf(&b, " %s", cmp.Or(list, "nothing"))
		}
		b.WriteString("\n")
	}
	if p.Calm {
		b.WriteString("calm\n")
	}
	for i := range p.Events {
		fmt.Fprintf(&b, "%s\n", p.Events[i].String())
	}
	return b.String()
}

// String is the event as one line of a transcript.
func (e *Event) String() string {
	b := []string{fmt.Sprintf("%-10v %s", e.At, e.Do)}
	for _, f := range e.fields() {
		if s := f.get(); s != "" {
			b = append(b, f.name+"="+s)
		}
	}
	return strings.Join(b, " ")
}

type field struct {
	name string
	get  func() string // empty when not set
	set  func(string) error
}

func (e *Event) fields() []field {
	text := func(name string, p *string) field {
		return field{name, func() string { return *p }, func(s string) error { *p = s; return nil }}
	}
	length := func(name string, p *time.Duration) field {
		return field{name, func() string { return nonzero(*p, *p) }, func(s string) (err error) { *p, err = time.ParseDuration(s); return err }}
	}
	return []field{
		text("who", &e.Who), text("id", &e.ID), text("ns", &e.NS), text("op", &e.Op), text("job", &e.Job), text("arg", &e.Arg), text("after", &e.After), length("within", &e.Within), length("backoff", &e.Backoff),
		text("queue", &e.Queue), text("key", &e.Key), text("unique", &e.Unique), text("needs", &e.Needs),
		{"n", func() string { return nonzero(e.N, e.N) }, func(s string) (err error) { e.N, err = strconv.ParseInt(s, 10, 64); return err }},
		{"try", func() string { return nonzero(e.Try, e.Try) }, func(s string) (err error) { e.Try, err = strconv.Atoi(s); return err }},
		{"for", func() string { return nonzero(e.For, e.For) }, func(s string) (err error) { e.For, err = time.ParseDuration(s); return err }},
	}
}

func nonzero[T comparable](v T, text any) string {
	var zero T
	if v == zero {
		return ""
	}
	return fmt.Sprint(text)
}

// Parse reads a transcript: a line each for the seed, nodes, slots, task length
// and, if so, calm; then one for each event. Empty lines, and what follows a #,
// do not count.
func Parse(text string) (*Plan, error) {
	p := &Plan{Nodes: 1, Slots: []int{1}, Task: time.Millisecond}
	for i, line := range strings.Split(text, "\n") {
		line, _, _ = strings.Cut(line, "#")
		words := strings.Fields(line)
		if len(words) == 0 {
			continue
		}
		if err := p.parseLine(words); err != nil {
			return nil, fmt.Errorf("sim: line %d of the transcript: %w", i+1, err)
		}
	}
	if p.Nodes < 1 || p.Nodes > 9 || len(p.Slots) == 0 || len(p.Slots) > 9 || p.Task <= 0 {
		return nil, fmt.Errorf("sim: the transcript needs 1 to 9 nodes and workers, and a task length")
	}
	slices.SortStableFunc(p.Events, func(a, b Event) int { return int(a.At - b.At) })
	return p, nil
}

func (p *Plan) parseLine(words []string) (err error) {
	if words[0] == "calm" {
		p.Calm = true
		return nil
	}
	if len(words) < 2 {
		return fmt.Errorf("%q says nothing", words[0])
	}
	switch words[0] {
	case "seed":
		p.Seed, err = strconv.ParseUint(words[1], 10, 64)
	case "nodes":
		p.Nodes, err = strconv.Atoi(words[1])
	case "task":
		p.Task, err = time.ParseDuration(words[1])
	case "slots":
		p.Slots = nil
		for _, s := range words[1:] {
			n, e := strconv.Atoi(s)
			if e != nil || n < 1 {
				return fmt.Errorf("%q are no slots", s)
			}
			p.Slots = append(p.Slots, n)
		}
	case "has":
		for _, list := range words[1:] {
			p.Has = append(p.Has, strings.TrimPrefix(list, "nothing"))
		}
	default:
		e := Event{Do: words[1]}
		if e.At, err = time.ParseDuration(words[0]); err != nil {
			return err
		}
		if err = e.parse(words[2:]); err == nil {
			p.Events = append(p.Events, e)
		}
	}
	return err
}

func (e *Event) parse(words []string) error {
	fields := e.fields()
	for _, w := range words {
		name, value, _ := strings.Cut(w, "=")
		i := slices.IndexFunc(fields, func(f field) bool { return f.name == name })
		if i < 0 {
			return fmt.Errorf("%q is unknown", w)
		}
		if err := fields[i].set(value); err != nil {
			return err
		}
	}
	return nil
}
