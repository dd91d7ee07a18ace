package sim

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"farm/scheduler"
)

// What is checked of times and dependencies: deadlines, waits before retries, tasks
// that run after others, and schedules.

// timing is what a task asked for, and what has come of it.
type timing struct {
	deadline int64
	within   int64 // the deadline's distance from when it was submitted
	backoff  int64 // the first wait; the longest is four times that
	failures int
	when     scheduler.When
	after    map[string]scheduler.TaskState // what became of each, 0: nothing yet
}

// timingOf is what an event asks for.
func (e *Event) timingOf() (o scheduler.Timing) {
	o.Backoff, o.BackoffMax, o.Within = int64(e.Backoff), 4*int64(e.Backoff), int64(e.Within)
	if e.After != "" {
		o.After = strings.Split(e.After, ",")
		o.AfterWhen = scheduler.When(1 + e.N%3)
	}
	return o
}

// draw adds times to a task now and then.
func (d *drawing) timing(e *Event) {
	switch d.n(10) {
	case 0:
		e.Backoff = time.Duration(1+d.n(2000)) * time.Millisecond
	case 1:
		e.Within = time.Duration(1+d.n(4000)) * time.Millisecond
	case 2, 3:
		var ids []string
		for range 1 + d.n(3) {
			if id := fmt.Sprint("t", max(1, d.ids-1-d.n(6))); id != e.ID && !slices.Contains(ids, id) {
				ids = append(ids, id)
			}
		}
		e.After = strings.Join(ids, ",")
	}
}

// noteTiming notes what a task that is taken in asks for, and whether it may go.
func (c *checker) noteTiming(k *known, x *scheduler.Submit) (ready bool) {
	if x.Options == nil {
		return true
	}
	o := &x.Options.Timing
	k.timing = timing{backoff: o.Backoff, when: o.AfterWhen, after: map[string]scheduler.TaskState{}}
	if o.Within > 0 {
		k.deadline, k.within = c.clock+o.Within, o.Within
	}
	for _, id := range o.After {
		k.after[id] = c.tasks[id].end
	}
	return k.mayGo()
}

func (t *timing) count() (live, good, bad int) {
	for _, end := range t.after { // only counted
		switch end {
		case 0:
			live++
		case scheduler.Succeeded:
			good++
		default:
			bad++
		}
	}
	return live, good, bad
}

// mayGo tells whether what a task runs after has come.
func (t *timing) mayGo() bool {
	live, good, bad := t.count()
	switch t.when {
	case scheduler.AllSucceeded:
		return live+bad == 0
	case scheduler.AnySucceeded:
		return good > 0
	}
	return live == 0
}

// cannotGo tells whether it cannot come any more.
func (t *timing) cannotGo() bool {
	live, good, bad := t.count()
	return t.when == scheduler.AllSucceeded && bad > 0 || t.when == scheduler.AnySucceeded && good+live == 0
}

// begins checks that a task begins when it may.
func (c *checker) begins(k *known) {
	switch {
	case !k.mayGo():
		c.w.fail("after", "task %s begins before what it runs after has come: %v", k.id, k.after)
	case k.deadline > 0 && c.clock >= k.deadline:
		c.w.fail("deadline", "task %s begins %d ns after its deadline", k.id, c.clock-k.deadline)
	}
}

// failedOnce has a task that failed wait before it is tried again.
func (c *checker) failedOnce(k *known) {
	k.failures++
	d := k.backoff
	for n := 1; n < k.failures && n < 3; n++ {
		d *= 2
	}
	k.due = max(k.due, c.clock+d*3/4)
}

// over checks why a task ended that no worker ended, and lets those go that run after
// it; true: the scheduler found that it cannot be done.
func (c *checker) over(k *known, t *scheduler.Task) bool {
	kind, _ := t.Verdict()
	switch {
	case kind == "expired" && (k.deadline == 0 || c.clock < k.deadline):
		c.w.fail("deadline", "task %s has expired, and its deadline is %d at %d", k.id, k.deadline, c.clock)
	case kind == "dependency" && !k.cannotGo():
		c.w.fail("after", "task %s fails for what it runs after: %v", k.id, k.after)
	}
	return kind != ""
}

// release lets the tasks go that ran after one that ended, in the order in which they
// were taken in.
func (c *checker) release(x *known) {
	var free []*known
	for _, k := range c.tasks { // sorted below
		if end, waits := k.after[x.id]; waits && end == 0 && k.end == 0 {
			ready := k.mayGo()
			k.after[x.id] = x.end
			if !ready && k.mayGo() {
				free = append(free, k)
			}
		}
	}
	slices.SortFunc(free, func(a, b *known) int { return a.nth - b.nth })
	for _, k := range free {
		if k.due <= c.clock {
			c.order++
			k.order = c.order
		}
	}
}

// late checks that no live task is past its deadline, and none is held that may go.
func (c *checker) late() {
	for _, id := range slices.Sorted(maps.Keys(c.tasks)) {
		k := c.tasks[id]
		if k.end != 0 {
			continue
		}
		if k.deadline > 0 && c.clock >= k.deadline {
			c.w.fail("deadline", "task %s is live %d ns after its deadline", id, c.clock-k.deadline)
		}
		if waits := len(c.ref.Task(id).Awaits()) > 0; waits && (k.mayGo() || k.cannotGo()) {
			c.w.fail("after", "task %s waits, and what it runs after is %v", id, k.after)
		}
	}
}

// ---- schedules ----

// everyTick is how far apart the times of a schedule are: short enough for some in a
// history, few enough when a clock jumps by a day.
const everyTick = int64(2 * time.Second)

// fire proposes the newest time that has come of each schedule.
func (n *node) fire(due []scheduler.Schedule) {
	for i := range due {
		x := &due[i]
		last := n.wall() / everyTick * everyTick
		c := &scheduler.FireSchedule{Name: x.Name, Revision: x.Revision, From: x.Next, Times: []int64{last}, Next: last + everyTick}
		n.firing++
		n.propose(c, func(scheduler.Result, error) { n.firing-- })
	}
}

// dueSchedules are those whose time has come by this node's clock.
func (n *node) dueSchedules(s *scheduler.State) (out []scheduler.Schedule) {
	for _, x := range s.Schedules() {
		if !x.Paused && x.Next <= n.wall() {
			out = append(out, *x)
		}
	}
	return out
}

// ticked checks the times for which a schedule was fired, and takes their tasks in.
func (c *checker) ticked(x *scheduler.FireSchedule) {
	for _, at := range x.Times {
		switch last := c.ticks[x.Name]; {
		case at <= last:
			c.w.fail("tick", "schedule %s is fired for %d after it was for %d", x.Name, at, last)
		case at > c.clock:
			c.w.fail("tick", "schedule %s is fired %d ns early", x.Name, at-c.clock)
		}
		c.ticks[x.Name] = at
		t := *c.ref.Schedule(x.Name).Task
		t.ID = scheduler.TickID(x.Name, at)
		c.submitted(&t)
	}
}

// stopSchedules pauses what would go on for ever.
func (c *checker) stopSchedules() {
	for _, x := range c.ref.Schedules() {
		if !x.Paused {
			c.w.request("pause "+x.Name, func() scheduler.Command {
				return &scheduler.ChangeSchedule{Name: x.Name, Change: scheduler.Pause}
			})
		}
	}
}

// ticking tells whether a schedule is not paused.
func (c *checker) ticking() bool {
	return slices.ContainsFunc(c.ref.Schedules(), func(x *scheduler.Schedule) bool { return !x.Paused })
}
