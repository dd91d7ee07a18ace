package sim

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"farm/api"
	"farm/scheduler"
)

// What tasks and workers ask for besides: a worker with labels or a handler, to be put
// off, to be tried again although they are final; fewer slots, nothing new.

// ---- what is injected ----

// Verbs of events.
const (
	doAgain = "again" // ID: a task that failed or was cancelled is made live again
	doSlots = "slots" // worker Who has N slots from now on
)

// opSnooze puts itself off N times, then succeeds. It has no namespace.
const opSnooze = "snooze"

// needs are what tasks can ask of a worker, as Event.Needs has it.
var needs = []string{"label:a=1", "handler:h", "handler:h,label:a=1"}

// asks has some tasks of a history ask for a worker that has something, some put
// themselves off and some tried again, and workers change their slots; each in every
// second history or so. It draws from a source of its own, so that the rest of the
// history is what it would be without.
func (d *drawing) asks() {
	rnd := rand.New(rand.NewPCG(d.p.Seed, 6))
	labels, snoozes, again, slots := rnd.IntN(2) == 0, rnd.IntN(2) == 0, rnd.IntN(2) == 0, rnd.IntN(2) == 0
	if labels {
		d.equip(rnd)
	}
	var failing []Event
	for i := range d.p.Events {
		e := &d.p.Events[i]
		if e.Do != doSubmit {
			continue
		}
		// The same for an event that repeats another.
		own := rand.New(rand.NewPCG(d.p.Seed, uint64(number(e.ID))))
		if labels && needsWorker(e.Op) && e.Job == "" && own.IntN(3) == 0 {
			e.Needs = needs[own.IntN(len(needs))]
			if strings.Contains(e.Needs, "handler:") {
				e.NS = ""
			}
		}
		if snoozes && e.Op == opAppend && own.IntN(4) == 0 {
			e.Op, e.NS, e.N = opSnooze, "", int64(1+own.IntN(2))
		}
		if again && e.Op == opAppend && own.IntN(4) == 0 {
			e.Op, e.N, e.Try = opFail, 1, 0 // so that it succeeds when it is tried again
		}
		if e.Op == opPermanent || e.Op == opFail && e.N > int64(e.Try) {
			failing = append(failing, *e)
		}
	}
	for i := range failing {
		if e := failing[i]; again && rnd.IntN(2) == 0 {
			d.add(Event{At: e.At + time.Duration(rnd.IntN(4000))*time.Millisecond, Do: doAgain, ID: e.ID})
		}
	}
	for range rnd.IntN(10) {
		if slots {
			d.add(Event{At: time.Duration(rnd.Int64N(int64(span))), Do: doSlots, Who: fmt.Sprint("w", 1+rnd.IntN(len(d.p.Slots))), N: int64(rnd.IntN(4))})
		}
	}
}

// equip gives workers labels and a handler. There is always one for whatever tasks ask
// for: the first runs cells, the last the handler.
func (d *drawing) equip(rnd *rand.Rand) {
	if len(d.p.Slots) == 1 {
		d.p.Slots = append(d.p.Slots, 1)
	}
	d.p.Has = make([]string, len(d.p.Slots))
	for i := range d.p.Has {
		d.p.Has[i] = append([]string{""}, needs...)[rnd.IntN(1+len(needs))]
	}
	d.p.Has[0], d.p.Has[len(d.p.Has)-1] = "label:a=1", "handler:h,label:a=1"
}

// things is a list as an event has it.
func things(list string) []string {
	if list == "" {
		return nil
	}
	return strings.Split(list, ",")
}

// has is what a worker has, by its number from 1.
func (p *Plan) has(i int) []string {
	if i > len(p.Has) {
		return nil
	}
	return things(p.Has[i-1])
}

// napOf is how long a task puts itself off.
func napOf(task string) time.Duration { return time.Duration(number(task)%1500) * time.Millisecond }

// resize has a worker have another number of slots, and say so.
func (k *worker) resize(n int) {
	k.slots, k.resized = max(n, 0), true
	k.sayResized()
	k.dispatch()
}

func (k *worker) sayResized() {
	k.say(func(m *api.FromWorker) { m.Resize = &api.Slots{Slots: uint32(k.slots)} })
}

// ---- what it is held against ----

// station is a worker as it should be.
type station struct {
	slots uint32
	has   []string
	drain bool
}

// stationed follows a command about a worker that was accepted.
func (c *checker) stationed(cmd scheduler.Command) {
	switch x := cmd.(type) {
	case *scheduler.WorkerUp:
		c.stations[x.Worker] = &station{slots: x.Slots, has: x.Has}
	case *scheduler.WorkerSlots:
		c.stations[x.Worker].slots = x.Slots
		c.w.stats.Resized++
	case *scheduler.WorkerIdle:
		c.stations[x.Worker].drain = x.Drain
	}
}

// suits checks that a task was given to a worker that has what it asks for and wants
// work.
func (c *checker) suits(k *known, worker string) {
	s := c.stations[worker]
	handler := func(thing string) bool { return strings.HasPrefix(thing, "handler:") }
	for _, thing := range k.needs {
		if !slices.Contains(s.has, thing) {
			c.w.fail("labels", "task %s, which needs %q, is given to %s, which has %q", k.id, k.needs, worker, s.has)
		}
	}
	if !slices.ContainsFunc(k.needs, handler) && slices.ContainsFunc(s.has, handler) {
		c.w.fail("labels", "task %s, a cell, is given to %s, which has a handler", k.id, worker)
	}
	if s.drain {
		c.w.fail("drain", "task %s is given to %s, which is to be given nothing new", k.id, worker)
	}
	const most, long, mostLong = 600, 100e6, 50 // attempts a slot may hold if each is very short, or takes 100 ms
	average := c.ref.Worker(worker).Average
	units, more := c.unitsOf(worker, k)
	if more && (units > int(s.slots)*most || average > long && units > int(s.slots)*mostLong) {
		c.w.fail("slots", "task %s is given to %s, which has %d slots and %d things to do, of %d ns each", k.id, worker, s.slots, units, average)
	}
}

// unitsOf counts what a worker has to do at a time: private tasks, and namespaces. More:
// a task of them made it one more, and is not one of a namespace that it has anyway.
func (c *checker) unitsOf(worker string, task *known) (n int, more bool) {
	spaces := map[string]int{}
	for _, k := range c.tasks { // only counted
		if k.current == nil || k.current.worker != worker {
			continue
		}
		if k.space == "" || spaces[k.space] == 0 {
			n++
		}
		spaces[k.space]++
	}
	return n, task.space == "" || spaces[task.space] == 1
}

// snoozed follows a task that put itself off.
func (c *checker) snoozed(k *known, wait int64, failures uint32) {
	c.w.stats.Snoozed++
	k.due = max(k.due, c.clock+wait)
	if t := c.ref.Task(k.id); t.Failures != failures {
		c.w.fail("snooze", "task %s has put itself off, and has %d failures after %d", k.id, t.Failures, failures)
	}
}

// revived takes in a task that was final, and is made live again as a new one.
func (c *checker) revived(id string) {
	k := c.tasks[id]
	if k == nil || k.end == 0 || k.end == scheduler.Succeeded {
		c.w.fail("retry", "task %s is made live again, and is %s", id, c.endOf(id))
	}
	c.w.stats.Revived++
	// What needs no worker may have failed again by now.
	if t := c.ref.Task(id); !t.State.Final() && (t.Failures != 0 || t.Losses != 0 || t.Attempt < k.highest || t.Attempt > k.highest+1) { // it may have begun at once
		c.w.fail("retry", "task %s is made live again with %d failures, %d losses and attempt %d, after attempt %d", id, t.Failures, t.Losses, t.Attempt, k.highest)
	}
	if u := k.unique; u != nil && u.While != scheduler.WhilePeriod {
		if h := c.flow.holders[u.Key]; h.holds(c.clock) && h.task != k {
			c.w.fail("unique", "task %s is made live again, and %s has its unique key %s", id, h.task.id, u.Key)
		}
	}
	k.end, k.result, k.due, k.failures, k.order, k.begun = 0, "", 0, 0, 0, false
	k.lives++
	c.live++
	if u := k.unique; u != nil && u.While != scheduler.WhilePeriod {
		c.flow.holders[u.Key] = &holder{k, u.While, 0}
	}
	if k.within > 0 {
		k.deadline = c.clock + k.within
	}
	for x := range k.after { // only noted
		k.after[x] = c.tasks[x].end
	}
	if k.mayGo() {
		c.order++
		k.order = c.order
	}
	if j := c.jobs[k.job]; j != nil {
		j.ended = false
	}
}
