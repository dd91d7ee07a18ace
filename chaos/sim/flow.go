package sim

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"farm/scheduler"
)

// ---- what is injected ----

// What is done to a queue.
const (
	opPause  = "pause"
	opResume = "resume"
	opLimit  = "limit"      // N at a time, one in each For, Try at once; 0: no such limit
	opKeys   = "limit-keys" // the same for each key
)

// flows has the tasks of a history use queues, keys and unique keys, in every
// second one, and queues paused and limited. It draws from a source of its own, so
// that the rest of the history is what it would be without.
func (d *drawing) flows() {
	rnd := rand.New(rand.NewPCG(d.p.Seed, 5))
	if rnd.IntN(2) == 0 {
		return
	}
	for i := range d.p.Events {
		e := &d.p.Events[i]
		if e.Do != doSubmit {
			continue
		}
		// The same for an event that repeats another.
		own := rand.New(rand.NewPCG(d.p.Seed, uint64(len(e.ID))<<32+uint64(e.ID[len(e.ID)-1])<<8+uint64(e.ID[len(e.ID)/2])))
		if needsWorker(e.Op) {
			e.Queue = []string{"", "q1", "q1", "q2"}[own.IntN(4)]
			e.Key = []string{"", "x", "y"}[own.IntN(3)]
		}
		if e.Job == "" && own.IntN(3) == 0 {
			e.Unique = fmt.Sprintf("u%d/%s", own.IntN(3), []string{"queued", "running", "500ms", "4s"}[own.IntN(4)])
		}
	}
	for range 1 + rnd.IntN(8) {
		e := Event{At: time.Duration(rnd.Int64N(int64(span))), Do: doQueue, ID: []string{"q1", "q1", "q2", scheduler.DefaultQueue}[rnd.IntN(4)]}
		switch e.Op = []string{opPause, opResume, opLimit, opLimit, opKeys, opKeys}[rnd.IntN(6)]; e.Op {
		case opLimit, opKeys:
			e.N = int64(rnd.IntN(4))
			if rnd.IntN(2) == 0 {
				e.For, e.Try = time.Duration(1+rnd.IntN(300))*time.Millisecond, rnd.IntN(4)
			}
		}
		d.add(e)
	}
}

// options are those of a submit event.
func (e *Event) options() *scheduler.Options {
	o := &scheduler.Options{Queue: e.Queue, Key: e.Key, Timing: e.timingOf()}
	o.Needs = things(e.Needs)
	if o.None() && e.Unique == "" {
		return nil
	}
	if key, long, ok := strings.Cut(e.Unique, "/"); ok {
		o.Unique = &scheduler.Unique{Key: key}
		switch d, err := time.ParseDuration(long); {
		case err == nil:
			o.Unique.While, o.Unique.Period = scheduler.WhilePeriod, int64(d)
		case long == "queued":
			o.Unique.While = scheduler.WhileQueued
		default:
			o.Unique.While = scheduler.WhileRunning
		}
	}
	return o
}

// setting is the command of a queue event.
func (e *Event) setting() *scheduler.SetQueue {
	c := &scheduler.SetQueue{Name: e.ID}
	n, rate := uint32(max(e.N, 0)), scheduler.Rate{}
	if e.For > 0 {
		rate = scheduler.Rate{Count: 1, Period: int64(e.For), Burst: uint32(max(e.Try, 0))}
	}
	switch e.Op {
	case opPause, opResume:
		c.Paused = new(e.Op == opPause)
	case opLimit:
		c.Concurrency, c.Rate = &n, &rate
	case opKeys:
		c.KeyConcurrency, c.KeyRate = &n, &rate
	}
	return c
}

// ---- what it is held against ----

// flow is what went through queues, worked out from commands and assignments.
type flow struct {
	queues  map[string]*settings
	starts  map[string][]int64 // by queue, and queue/key: when attempts began since the rate was set
	holders map[string]*holder // by unique key
}

type settings struct {
	paused            bool
	most, mostKey     uint32
	every, everyOfKey scheduler.Rate
}

type holder struct {
	task  *known
	while scheduler.While
	until int64
}

func newFlow() flow {
	return flow{map[string]*settings{}, map[string][]int64{}, map[string]*holder{}}
}

func (f *flow) of(name string) *settings {
	if f.queues[name] == nil {
		f.queues[name] = &settings{}
	}
	return f.queues[name]
}

// set follows a SetQueue that was accepted.
func (f *flow) set(c *scheduler.SetQueue) {
	q := f.of(c.Name)
	if c.Paused != nil {
		q.paused = *c.Paused
	}
	if c.Concurrency != nil {
		q.most = *c.Concurrency
	}
	if c.KeyConcurrency != nil {
		q.mostKey = *c.KeyConcurrency
	}
	if c.Rate != nil {
		q.every = *c.Rate
		delete(f.starts, c.Name)
	}
	if c.KeyRate != nil {
		q.everyOfKey = *c.KeyRate
		maps.DeleteFunc(f.starts, func(id string, _ []int64) bool { return strings.HasPrefix(id, c.Name+"/") })
	}
}

// passed checks an attempt that was just given to a worker.
func (c *checker) passed(k *known) {
	q := c.flow.of(k.queue)
	if q.paused {
		c.w.fail("limit", "task %s begins in queue %s, which is paused", k.id, k.queue)
	}
	c.within(k.queue, q.most, q.every, func(o *known) bool { return o.queue == k.queue })
	if k.key != "" {
		c.within(k.queue+"/"+k.key, q.mostKey, q.everyOfKey, func(o *known) bool { return o.queue == k.queue && o.key == k.key })
	}
}

func (c *checker) within(id string, most uint32, every scheduler.Rate, belongs func(*known) bool) {
	n := uint32(0)
	for _, o := range c.tasks { // only counted
		if o.current != nil && belongs(o) {
			n++
		}
	}
	if most > 0 && n > most {
		c.w.fail("limit", "%d attempts of %s run, at most %d may", n, id, most)
	}
	if every.Count == 0 {
		return
	}
	interval := every.Period / int64(every.Count)
	slack := max(int64(every.Burst)-1, 0) * interval
	if grain := int64(20 * time.Millisecond); interval < grain {
		slack = max(slack, grain)
	}
	c.flow.starts[id] = append(c.flow.starts[id], c.clock)
	all := c.flow.starts[id]
	for i, from := range all {
		if n, allowed := int64(len(all)-i), 1+(c.clock-from+slack)/interval; n > allowed {
			c.w.fail("limit", "%d attempts of %s began in %d ns, at most %d may at %+v", n, id, c.clock-from, allowed, every)
		}
	}
}

// holds tells whether a task still has its unique key.
func (h *holder) holds(clock int64) bool {
	switch {
	case h == nil:
		return false
	case h.while == scheduler.WhilePeriod:
		return h.until > clock
	case h.while == scheduler.WhileQueued:
		return !h.task.begun && h.task.end == 0
	}
	return h.task.end == 0
}

// unique checks what a submit with a unique key came to.
func (c *checker) unique(x *scheduler.Submit, r scheduler.Result) {
	if x.Options == nil || x.Options.Unique == nil {
		return
	}
	u := x.Options.Unique
	h := c.flow.holders[u.Key]
	switch {
	case r.Code == scheduler.OK && h.holds(c.clock):
		c.w.fail("unique", "task %s is taken in, and %s has its unique key %s", x.ID, h.task.id, u.Key)
	case r.Code == scheduler.OK:
		c.flow.holders[u.Key] = &holder{c.tasks[x.ID], u.While, c.clock + u.Period}
	case r.Code == scheduler.Duplicate && r.Detail != "" && (!h.holds(c.clock) || h.task.id != r.Detail):
		c.w.fail("unique", "task %s is a duplicate of %s, which does not have the unique key %s", x.ID, r.Detail, u.Key)
	}
}

// resume has clients end the pauses that are left.
func (c *checker) resume() {
	for _, name := range slices.Sorted(maps.Keys(c.flow.queues)) {
		if !c.flow.queues[name].paused {
			continue
		}
		ask := "resume " + name
		if x := c.w.calls[ask]; x != nil && x.answered {
			delete(c.w.calls, ask) // as a request of its own
		}
		c.w.request(ask, func() scheduler.Command { return &scheduler.SetQueue{Name: name, Paused: new(bool)} })
	}
}
