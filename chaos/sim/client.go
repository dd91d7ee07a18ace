package sim

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"farm/scheduler"
)

// call is a request of a client, repeated until it is answered.
type call struct {
	name     string
	make     func() scheduler.Command
	cmd      scheduler.Command
	tries    int
	answered bool
}

// inject carries out one event of the plan.
func (w *world) inject(e *Event) {
	w.note("-- %s", strings.Join(strings.Fields(e.String())[1:], " "))
	if slices.Contains(faults, e.Do) {
		w.stats.Faults++
	}
	switch e.Do {
	case doSubmit:
		if strings.Contains(e.ID, "/") || !scheduler.ValidName(e.ID) {
			return
		}
		w.request("submit "+e.ID, func() scheduler.Command { return e.submission(w.check.version(e.NS)) })
	case doSchedule:
		w.request("schedule "+e.ID, func() scheduler.Command {
			next := (w.check.clock/everyTick + 1) * everyTick
			return &scheduler.PutSchedule{Name: e.ID, Spec: "x", CatchUp: scheduler.CatchUpNone, Next: next,
				Task: &scheduler.Submit{Namespace: e.NS, Kind: scheduler.Run, Body: work{opAppend, 0}.body()}}
		})
	case doCancel:
		w.request("cancel "+e.ID, func() scheduler.Command { return &scheduler.Cancel{ID: e.ID} })
	case doOpenJob:
		w.request("open "+e.ID, func() scheduler.Command { return &scheduler.OpenJob{ID: e.ID, Fold: e.NS} })
	case doSealJob:
		w.request("seal "+e.ID, func() scheduler.Command { return &scheduler.SealJob{ID: e.ID, Total: uint64(e.N)} })
	case doCancelJob:
		w.request("cancel job "+e.ID, func() scheduler.Command { return &scheduler.CancelJob{ID: e.ID} })
	case doRetry:
		w.request(fmt.Sprintf("retry %s %s %d", e.ID, e.Arg, e.N), func() scheduler.Command { return e.replacement(w.check.endOf(e.Arg)) })
	case doQueue:
		w.request(strings.Join(strings.Fields(e.String()), " "), func() scheduler.Command { return e.setting() })
	case doAgain:
		w.request(strings.Join(strings.Fields(e.String()), " "), func() scheduler.Command {
			return &scheduler.Retry{ID: e.ID, Request: fmt.Sprint(e.At)}
		})
	case doRead:
		w.read(e.ID, 0)
	case doDrain:
		w.request("drain "+e.Who, func() scheduler.Command { return &scheduler.WorkerIdle{Worker: e.Who, Drain: true} })
	case doUse:
		w.request("use "+e.Who, func() scheduler.Command { return &scheduler.WorkerIdle{Worker: e.Who} })
	case doDepose:
		if n := w.leader; n != nil {
			w.unseat(n)
			n.after(n.delay(), n.stepDown)
			w.after(w.between(w.rnd, time.Millisecond, 300*time.Millisecond), w.elect)
		}
	default:
		if k := w.worker(e.Who); k != nil {
			k.suffer(e)
		}
		if n := w.node(e.Who); n != nil && n.up {
			n.suffer(e)
		}
	}
}

func (w *world) worker(id string) *worker {
	for _, k := range w.workers {
		if k.id == id {
			return k
		}
	}
	return nil
}

func (w *world) node(id string) *node {
	for _, n := range w.nodes {
		if n.id == id {
			return n
		}
	}
	return nil
}

func (k *worker) suffer(e *Event) {
	switch e.Do {
	case doKill:
		k.die(e.For)
	case doPause:
		k.pause(e.For)
	case doCut:
		k.cutUntil = max(k.cutUntil, k.w.now+e.For)
		if k.link != nil {
			k.link.cut()
		}
	case doEcho:
		k.do(k.echo)
	case doForge:
		k.do(func() { k.forge(e.N) })
	case doSlots:
		if k.up {
			k.do(func() { k.resize(int(e.N)) })
		}
	}
}

func (n *node) suffer(e *Event) {
	switch e.Do {
	case doCrash:
		n.crash(e.N == 1)
		n.w.after(e.For, n.restart)
	case doLag:
		n.lagUntil = max(n.lagUntil, n.w.now+e.For)
	case doFlush:
		n.flush()
	case doSnapshot:
		n.snapshot(uint64(max(e.N, 0)))
	case doClock:
		n.skew += e.For
	case doIsolate:
		n.isolate(e.For)
	}
}

// isolate cuts a node off from the others. One that leads does not know at once.
func (n *node) isolate(d time.Duration) {
	if n.isolated || len(n.w.nodes) == 1 {
		return
	}
	n.isolated = true
	if n.w.leader == n {
		n.w.unseat(n)
		n.w.electSoon()
		n.after(n.w.between(n.rnd, 500*time.Millisecond, 3*time.Second), n.stepDown)
	}
	n.w.after(d, n.connect)
}

// request has a client ask for a command until it is answered. A request that
// was made before is made again, with the same content.
func (w *world) request(name string, command func() scheduler.Command) {
	c := w.calls[name]
	if c == nil {
		c = &call{name: name, make: command}
		w.calls[name] = c
		w.waiting++
	}
	w.try(c)
}

// retryAfter is how long a client waits for an answer.
const retryAfter = 700 * time.Millisecond

func (w *world) try(c *call) {
	if c.cmd == nil {
		c.cmd = c.make()
	}
	c.tries++
	n := w.leader
	for _, x := range w.nodes {
		if x.up && x.leading && w.rnd.IntN(3) == 0 {
			n = x
		}
	}
	if w.after(retryAfter, func() {
		if !c.answered {
			w.try(c)
		}
	}); n == nil || w.lost() {
		return
	}
	send := func() {
		n.propose(c.cmd, func(r scheduler.Result, err error) {
			if err == nil && !w.lost() {
				w.after(w.between(w.rnd, 100*time.Microsecond, 5*time.Millisecond), func() { w.answer(c, r) })
			}
		})
	}
	n.after(w.between(w.rnd, 100*time.Microsecond, 5*time.Millisecond), send)
	if !w.plan.Calm && w.rnd.IntN(10) == 0 { // it arrives twice
		n.after(w.between(w.rnd, 100*time.Microsecond, 50*time.Millisecond), send)
	}
}

// lost tells whether a message between client and node is.
func (w *world) lost() bool { return !w.plan.Calm && !w.healed && w.rnd.IntN(12) == 0 }

func (w *world) answer(c *call, r scheduler.Result) {
	if !c.answered {
		c.answered = true
		w.waiting--
		w.note("%s: %s", c.name, r.Code)
	}
	w.check.answered(c.cmd, r)
}

// read looks at a task, linearizably: the node has to lead when it is asked, and
// to have applied all that was committed by then.
func (w *world) read(id string, tries int) {
	n := w.leader
	if n == nil || !n.leading || n.isolated {
		if tries < 20 {
			w.after(100*time.Millisecond, func() { w.read(id, tries+1) })
		}
		return
	}
	index := uint64(len(w.log))
	final, lives := w.check.final(id)
	var look func()
	look = func() {
		if n.applied < index {
			n.after(time.Millisecond, look)
			return
		}
		n.m.View(func(s *scheduler.State) { w.check.read(id, s.Task(id), final, lives) })
	}
	look()
}
