package chaos

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"farm/tasks"
)

// Traffic through queues: what a task can ask for besides code.

// The kinds of calls that ask for more.
const (
	opHandler = "handler" // a task: a call of a handler, now or later
	opQueued  = "queued"  // the same, or a cell, in a queue with limits
	opUnique  = "unique"  // the same, with a unique key
	opAfter   = "after"   // two tasks, of which some fail, and opNext
	opParent  = "parent"  // one of them
	opRefuse  = "refuse"  // one of them, that fails
	opNext    = "next"    // a task: n++, after both
)

// asking are the kinds that ask for more, whose tasks are kept as they were asked for.
var asking = []string{opHandler, opQueued, opUnique, opParent, opRefuse, opNext}

// The queues of the traffic, and what is set of each.
const (
	queuePair   = "pair"   // two at a time
	queueSteady = "steady" // at a rate
	queueBurst  = "burst"  // at a rate, several at once
	queueKeyed  = "keyed"  // of each key one at a time, at a rate
	queueRanked = "ranked" // one at a time, by priority
	queueHalted = "halted" // paused now and then
)

var settings = map[string]tasks.QueueChange{
	queuePair:   {Concurrency: new(2)},
	queueSteady: {Rate: &tasks.Rate{Count: 10, Per: time.Second}},
	queueBurst:  {Rate: &tasks.Rate{Count: 5, Per: time.Second, Burst: 4}},
	queueKeyed:  {KeyConcurrency: new(1), KeyRate: &tasks.Rate{Count: 8, Per: time.Second}},
	queueRanked: {Concurrency: new(1)},
}

var queueNames = []string{queuePair, queueSteady, queueBurst, queueKeyed, queueRanked, queueHalted}

const (
	queueKeys   = 3
	uniqueKeys  = 5
	ranks       = 3
	schedules   = 2
	everyTick   = time.Second
	shortTask   = 40 * time.Millisecond // at most
	childSpaces = 3
	promptly    = 500 * time.Millisecond // an answer to the first try of a call
	lateCopies  = 10 * time.Second       // may arrive within that, of calls that were tried again
)

// asked is what was asked for of queues and the like, for the checks.
type asked struct {
	mu     sync.Mutex
	tasks  map[string]tasks.Task // by id
	taken  []taken
	pauses []pause
	first  map[string]time.Time // schedule → its first time
}

// taken is an answer that another task has the unique key.
type taken struct{ key, by string }

// pause is a time, by the log's clock, for which queueHalted was paused.
type pause struct{ from, to time.Time }

// wantsQueues tells whether the traffic asks for anything that needs queues made.
func (t *Traffic) wantsQueues() bool {
	return t.Mix[opQueued]+t.Mix[opHandler]+t.Mix[opUnique]+t.Mix[opAfter] > 0
}

// openQueues sets limits and makes schedules.
func (l *load) openQueues(ctx context.Context) error {
	if !l.wantsQueues() {
		return nil
	}
	c := l.clients[0]
	for _, name := range queueNames {
		if change, ok := settings[name]; ok {
			if _, err := c.SetQueue(ctx, name, change); err != nil {
				return err
			}
		}
	}
	for k := range schedules {
		name := scheduleName(k)
		if err := l.fill(ctx, c, name, map[string]any{"n": 0}); err != nil {
			return err
		}
		s, err := c.Schedule(ctx, tasks.Schedule{Name: name, Spec: fmt.Sprintf("@every %v", everyTick), CatchUp: tasks.CatchUpAll,
			Task: l.cell(tasks.Task{Namespace: name, Source: "n++", Retries: payRetries})})
		if err != nil {
			return err
		}
		l.asked.first[name] = s.Next
	}
	return nil
}

func scheduleName(k int) string { return fmt.Sprint("ticks-", k) }

// halt pauses a queue and resumes it, again and again. A call that is not answered at
// once is made again elsewhere, and what became of the first copy is not known: it may
// end a later pause. So pauses count only when there can be none.
func (l *load) halt(ctx context.Context, r *rand.Rand) {
	c := l.clients[0]
	var doubtful time.Time
	for !l.stopped(ctx) {
		begun := time.Now()
		err := c.PauseQueue(ctx, queueHalted)
		if time.Since(begun) > promptly {
			doubtful = time.Now().Add(lateCopies)
		}
		from, err1 := l.logTime(ctx, c)
		_ = rest(ctx, time.Duration(200+r.IntN(600))*time.Millisecond)
		to, err2 := l.logTime(ctx, c)
		sound := time.Now().After(doubtful)
		begun = time.Now()
		l.resume(ctx, c)
		if time.Since(begun) > promptly {
			doubtful = time.Now().Add(lateCopies)
		}
		if errors.Join(err, err1, err2) == nil && sound {
			l.asked.mu.Lock()
			l.asked.pauses = append(l.asked.pauses, pause{from, to})
			l.asked.mu.Unlock()
		}
		_ = rest(ctx, time.Duration(r.IntN(600))*time.Millisecond)
	}
}

// resume ends a pause for certain.
func (l *load) resume(ctx context.Context, c *tasks.Client) {
	for ctx.Err() == nil && c.ResumeQueue(ctx, queueHalted) != nil {
		_ = rest(ctx, pauseBetween)
	}
}

// logTime is a moment of the log's clock: not before what was acknowledged, not after
// what is asked for from now on.
func (l *load) logTime(ctx context.Context, c *tasks.Client) (time.Time, error) {
	h, err := c.Submit(ctx, tasks.Task{Source: "1", Delay: time.Hour})
	if err != nil {
		return time.Time{}, err
	}
	i, err := h.Cancel(ctx)
	if err != nil {
		return time.Time{}, err
	}
	return i.Submitted, nil
}

// more makes a call that asks for more.
func (l *load) more(ctx context.Context, c *tasks.Client, o *Op, r *rand.Rand) {
	switch o.Kind {
	case opHandler:
		l.ask(ctx, c, o, call(order{N: o.Arg, Takes: short(r)}, tasks.Task{Delay: delay(r)}, r))
	case opQueued:
		x := tasks.Task{Queue: queueRanked, Priority: r.IntN(ranks)} // often, so that some wait
		if r.IntN(3) > 0 {
			x.Queue = queueNames[r.IntN(len(queueNames))]
		}
		if x.Queue == queueKeyed {
			x.Key = fmt.Sprint("key-", r.IntN(queueKeys))
		}
		l.ask(ctx, c, o, l.either(o, x, r))
	case opUnique:
		x := tasks.Task{Unique: tasks.Unique{Key: fmt.Sprint("only-", r.IntN(uniqueKeys))}}
		switch r.IntN(3) {
		case 0:
			x.Unique.While = tasks.WhileQueued
			x.Queue = queuePair // where it is queued for a while
		case 1:
			x.Unique.For = time.Duration(1+r.IntN(2000)) * time.Millisecond
		}
		x.Unique.Key += "-" + string(x.Unique.While) // of one kind each
		if x.Unique.For > 0 {
			x.Unique.Key += "for"
		}
		l.ask(ctx, c, o, l.either(o, x, r))
	case opAfter:
		l.dependent(ctx, c, o, r)
	}
}

func short(r *rand.Rand) time.Duration { return time.Duration(r.Int64N(int64(shortTask))) }

// delay is none most of the time.
func delay(r *rand.Rand) time.Duration {
	if r.IntN(3) > 0 {
		return 0
	}
	return time.Duration(r.IntN(1500)) * time.Millisecond
}

// call is a task that calls the handler. Some put themselves off.
func call(o order, x tasks.Task, r *rand.Rand) tasks.Task {
	if r.IntN(10) == 0 {
		o.Snooze = time.Duration(r.IntN(1000)) * time.Millisecond
	}
	x.Handler = handlerName
	x.Input, _ = json.Marshal(o) // numbers and a bool
	return x
}

// either is a task that a node runs, or a worker with handlers.
func (l *load) either(o *Op, x tasks.Task, r *rand.Rand) tasks.Task {
	if r.IntN(2) == 0 {
		return call(order{N: o.Arg, Takes: short(r)}, x, r)
	}
	x.Source = fmt.Sprintf("import \"time\"\ntime.Sleep(%d)\n%d", short(r), o.Arg*o.Arg)
	return l.cell(x)
}

// ask submits a task and waits for its end. That another has its unique key is an answer
// as well.
func (l *load) ask(ctx context.Context, c *tasks.Client, o *Op, x tasks.Task) {
	o.Task = tasks.NewID()
	x.ID = o.Task
	l.asked.mu.Lock()
	l.asked.tasks[x.ID] = x
	l.asked.mu.Unlock()
	l.h.call(o)
	h, err := c.Submit(ctx, x)
	if err != nil {
		l.answer(o, err, nil)
		return
	}
	if h.Duplicate {
		l.asked.mu.Lock()
		l.asked.taken = append(l.asked.taken, taken{x.Unique.Key, h.ID})
		l.asked.mu.Unlock()
		l.h.answer(o, func(o *Op) { o.Outcome, o.Task, o.Error = answered, "", "the unique key is with "+h.ID })
		return
	}
	l.h.answer(o, func(o *Op) { o.Outcome = submitted })
	i, err := h.Wait(ctx)
	if err != nil && i == nil {
		return // nobody said in time how it ended; it is there all the same
	}
	l.answer(o, err, i)
	l.mu.Lock()
	l.ended = append(l.ended, o)
	l.mu.Unlock()
}

// dependent submits two tasks and one that runs after both.
func (l *load) dependent(ctx context.Context, c *tasks.Client, o *Op, r *rand.Rand) {
	next := tasks.Task{Namespace: o.Namespace, Source: "n++\nn", Retries: payRetries, AfterWhen: []tasks.When{tasks.AllSucceeded, tasks.AnySucceeded, tasks.AllFinished}[r.IntN(3)]}
	var parents sync.WaitGroup
	defer parents.Wait()
	for k := range 2 {
		p := &Op{Client: o.Client, Kind: opParent, Arg: o.Arg + k}
		work := order{N: p.Arg, Takes: 2 * short(r)}
		if r.IntN(4) == 0 {
			p.Kind, work.Fail = opRefuse, true
		}
		x := call(work, tasks.Task{}, r)
		x.ID = tasks.NewID()
		p.Task = x.ID
		l.asked.mu.Lock()
		l.asked.tasks[x.ID] = x
		l.asked.mu.Unlock()
		l.h.call(p)
		h, err := c.Submit(ctx, x)
		if err != nil {
			l.answer(p, err, nil)
			return
		}
		l.h.answer(p, func(o *Op) { o.Outcome = submitted })
		next.After = append(next.After, h.ID)
		parents.Go(func() {
			if i, err := h.Wait(ctx); i != nil {
				l.answer(p, err, i)
			}
		})
	}
	o.Kind = opNext
	l.ask(ctx, c, o, l.cell(next))
}

// ---- checks ----

// checkAsked holds what came of tasks, by the times in the log, against what was asked
// for.
func (x *run) checkAsked(ctx context.Context, cl *tasks.Client, ops []*Op, ends map[string]*tasks.Info) error {
	if !x.load.wantsQueues() {
		return nil
	}
	var list []*tasks.Info // as they began
	for _, o := range ops {
		if i := ends[o.Task]; i != nil && slices.Contains(asking, o.Kind) {
			x.checkResult(o, i)
			if !i.Started.IsZero() {
				list = append(list, i)
			}
		}
	}
	slices.SortStableFunc(list, func(a, b *tasks.Info) int { return a.Started.Compare(b.Started) })
	x.checkLimits(list)
	x.checkPauses(list)
	x.checkRanks(list)
	x.checkUnique(ends)
	x.checkTimes(list, ends)
	return x.checkTicks(ctx, cl)
}

// checkResult: whoever ran it, a handler's result is what it returns.
func (x *run) checkResult(o *Op, i *tasks.Info) {
	if o.Kind == opNext || i.State != tasks.Succeeded {
		return
	}
	if string(i.Value) != fmt.Sprint(o.Arg*o.Arg) {
		x.violate(promiseOnce, "the result of task %s, a %s, is %s, and not the square of %d", o.Task, o.Kind, i.Value, o.Arg)
	}
}

// checkLimits: of each queue and key no more ran at a time, and none began sooner after
// others, than it lets through. Of a task that was tried again only the last attempt is
// known, so these are fewer than there were.
func (x *run) checkLimits(list []*tasks.Info) {
	n := 0
	for _, name := range queueNames {
		in := of(list, func(i *tasks.Info) bool { return i.Queue == name })
		n += len(in)
		x.within("queue "+name, settings[name].Concurrency, settings[name].Rate, in)
		for k := range queueKeys {
			key := fmt.Sprint("key-", k)
			x.within("key "+key+" of queue "+name, settings[name].KeyConcurrency, settings[name].KeyRate, of(in, func(i *tasks.Info) bool { return i.Key == key }))
		}
	}
	x.checked("%d tasks in %d queues: never more at a time, or sooner one after the other, than their limits let through", n, len(queueNames))
}

func of(list []*tasks.Info, is func(*tasks.Info) bool) []*tasks.Info {
	return slices.DeleteFunc(slices.Clone(list), func(i *tasks.Info) bool { return !is(i) })
}

func (x *run) within(what string, most *int, rate *tasks.Rate, list []*tasks.Info) {
	if most != nil {
		for k, a := range list {
			n := 1
			for _, b := range list[:k] {
				if b.Finished.After(a.Started) {
					n++
				}
			}
			if n > *most {
				x.violate(promiseLimits, "%d tasks of %s ran at a time, when %s began; at most %d may", n, what, a.ID, *most)
			}
		}
	}
	if rate == nil {
		return
	}
	interval, burst := rate.Per/time.Duration(rate.Count), max(rate.Burst, 1)
	for k := burst; k < len(list); k++ {
		if d := list[k].Started.Sub(list[k-burst].Started); d < interval {
			x.violate(promiseLimits, "%d tasks of %s began within %v, the last was %s", burst+1, what, d, list[k].ID)
		}
	}
}

// checkPauses: nothing of a queue begins while it is paused.
func (x *run) checkPauses(list []*tasks.Info) {
	pauses := x.load.asked.pauses
	for _, i := range list {
		for _, p := range pauses {
			if i.Queue == queueHalted && i.Started.After(p.from) && i.Started.Before(p.to) {
				x.violate(promiseLimits, "task %s began at %v, its queue was paused from %v to %v", i.ID, i.Started, p.from, p.to)
			}
		}
	}
	x.checked("nothing of a queue began in %d pauses", len(pauses))
}

// checkRanks: of a queue with priorities nothing overtakes what is of a higher one, or of
// the same and was submitted before, among tasks that the same workers can run. One that
// was tried again or put off may have begun in its time.
func (x *run) checkRanks(list []*tasks.Info) {
	list = of(list, func(i *tasks.Info) bool { return i.Queue == queueRanked })
	asked := x.load.asked.tasks
	n := 0
	for k, a := range list {
		for _, b := range list[k+1:] {
			if b.Attempt != 1 || a.Handler != b.Handler || !b.Submitted.Before(a.Started) || !a.Started.Before(b.Started) {
				continue
			}
			n++
			pa, pb := asked[a.ID].Priority, asked[b.ID].Priority
			if pa < pb || pa == pb && b.Submitted.Before(a.Submitted) && a.Attempt == 1 {
				x.violate(promiseLimits, "task %s of priority %d, submitted at %v, began before %s of priority %d, submitted at %v, which waited", a.ID, pa, a.Submitted, b.ID, pb, b.Submitted)
			}
		}
	}
	x.checked("priorities: in %d cases of two tasks of a queue that waited the right one went first", n)
}

// checkUnique: no two tasks had a unique key at the same time, and who was told of another
// task was told of one with the key.
func (x *run) checkUnique(ends map[string]*tasks.Info) {
	holders := map[string][]*tasks.Info{}
	for _, i := range ends { // sorted below
		if i.UniqueKey != "" {
			holders[i.UniqueKey] = append(holders[i.UniqueKey], i)
		}
	}
	n := 0
	for key, list := range holders {
		n += len(list)
		slices.SortFunc(list, func(a, b *tasks.Info) int { return a.Submitted.Compare(b.Submitted) })
		for k, b := range list[1:] {
			a := list[k]
			until, known := x.heldUntil(a)
			if known && b.Submitted.Before(until) {
				x.violate(promiseUnique, "task %s was taken in at %v with unique key %s, which task %s had until %v", b.ID, b.Submitted, key, a.ID, until)
			}
		}
	}
	for _, t := range x.load.asked.taken {
		if i := ends[t.by]; i == nil || i.UniqueKey != t.key {
			x.violate(promiseUnique, "a client was told that task %s has unique key %s, and it has not", t.by, t.key)
		}
	}
	x.checked("%d tasks with %d unique keys, %d more were not made: never two at a time", n, len(holders), len(x.load.asked.taken))
}

// heldUntil is the moment at which a task lets go its unique key.
func (x *run) heldUntil(i *tasks.Info) (at time.Time, known bool) {
	switch u := x.load.asked.tasks[i.ID].Unique; {
	case u.For > 0:
		return i.Submitted.Add(u.For), true
	case u.While == tasks.WhileQueued:
		return i.Started, i.Attempt == 1
	}
	return i.Finished, true
}

// checkTimes: nothing began before its delay was over, or before what it runs after had
// come; and nothing failed for that which could have run.
func (x *run) checkTimes(list []*tasks.Info, ends map[string]*tasks.Info) {
	delayed, after := 0, 0
	for _, i := range list {
		if d := x.load.asked.tasks[i.ID].Delay; d > 0 {
			if delayed++; i.Started.Sub(i.Submitted) < d {
				x.violate(promiseTimes, "task %s began %v after it was submitted, with a delay of %v", i.ID, i.Started.Sub(i.Submitted), d)
			}
		}
	}
	for _, i := range ends {
		if len(i.After) == 0 {
			continue
		}
		after++
		good, last, first := 0, time.Time{}, time.Time{}
		for _, id := range i.After {
			p := ends[id]
			if p == nil {
				x.violate(promiseDurable, "task %s, after which %s runs, is not there", id, i.ID)
				continue
			}
			if p.Finished.After(last) {
				last = p.Finished
			}
			if p.State == tasks.Succeeded {
				if good++; first.IsZero() || p.Finished.Before(first) {
					first = p.Finished
				}
			}
		}
		x.checkAfter(i, good, first, last)
	}
	x.checked("%d tasks with a delay and %d after others: none early, none that could run was refused", delayed, after)
}

// checkAfter checks a task that runs after others, of which some have succeeded: the
// first at a time, and all had ended at another.
func (x *run) checkAfter(i *tasks.Info, good int, first, last time.Time) {
	from, can := last, true
	switch i.AfterWhen {
	case tasks.AnySucceeded:
		from, can = first, good > 0
	case tasks.AllFinished:
	default:
		can = good == len(i.After)
	}
	refused := i.Error != nil && i.Error.Kind == "dependency"
	switch {
	case refused == can:
		x.violate(promiseTimes, "task %s is %s (%v): of the %d it runs after, %q, %d have succeeded", i.ID, i.State, i.Error, len(i.After), i.AfterWhen, good)
	case !refused && i.Started.Before(from):
		x.violate(promiseTimes, "task %s began %v before what it runs after had come", i.ID, from.Sub(i.Started))
	}
}

// checkTicks: each schedule has submitted its task once for each of its times, and each
// has run.
func (x *run) checkTicks(ctx context.Context, cl *tasks.Client) error {
	limited, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	n := 0
	for name, first := range x.load.asked.first {
		s, err := cl.PauseSchedule(limited, name)
		if err != nil {
			return err
		}
		done, times := 0, 0
		for at := first; !at.After(s.Last); at = at.Add(everyTick) {
			times++
			id := name + "." + at.UTC().Format("20060102T150405Z")
			i, err := cl.Wait(limited, id)
			switch {
			case errors.Is(err, tasks.ErrNotFound) && i == nil:
				x.violate(promiseTicks, "task %s, that a schedule was to submit, is not there", id)
				continue
			case i == nil:
				x.violate(promiseLive, "task %s did not end: %v", id, err)
				continue
			case i.State == tasks.Succeeded:
				done++
			case !strings.Contains(fmt.Sprint(i.Causes), "lost"):
				x.violate(promiseBlame, "task %s is %s: %v", id, i.State, i.Error)
			}
			if i.Submitted.Before(at) {
				x.violate(promiseTicks, "task %s was submitted %v early", id, at.Sub(i.Submitted))
			}
		}
		counted := 0
		if err := cl.Namespace(name).Get(limited, "n", &counted); err != nil {
			return err
		}
		if counted != done || s.Submitted != times {
			x.violate(promiseTicks, "schedule %s has %d times from %v to %v, it has submitted %d tasks, of which %d have succeeded; they have counted %d", name, times, first, s.Last, s.Submitted, done, counted)
		}
		n += times
	}
	x.checked("%d times of %d schedules: a task was submitted once for each", n, len(x.load.asked.first))
	return nil
}
