package chaos

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"farm/tasks"
)

// Limits that a node must keep to in a run. They are far above what it needs.
const (
	maxMemory     = 1 << 30
	maxFiles      = 2_000
	maxGoroutines = 5_000
	maxDisk       = 2 << 30
	tailCalls     = 20 // on each node, after the last fault
	askedAtOnce   = 32
	lossesAllowed = 5 // workers a task may lose before it is parked
)

// check looks at what came of everything, when the last fault is over.
func (x *run) check(ctx context.Context) error {
	if err := x.c.awaitHealthy(ctx); err != nil {
		return x.broken(ctx, "after the last fault", err)
	}
	cl, err := x.c.dial(ctx, patience)
	if err != nil {
		return err
	}
	defer cl.Close()
	if err := x.checkTail(ctx); err != nil {
		return err
	}
	ops := x.h.all()
	ends, err := x.resolve(ctx, cl, ops)
	if err != nil {
		return err
	}
	x.count(ops)
	x.checkTasks(ops, ends)
	if err := x.checkValues(ctx, cl, ops, ends); err != nil {
		return err
	}
	if err := x.checkPayments(ctx, cl, ops, ends); err != nil {
		return err
	}
	if err := x.checkOnce(ctx, cl); err != nil {
		return err
	}
	if err := x.checkAsked(ctx, cl, ops, ends); err != nil {
		return err
	}
	x.checkStale(ops)
	if err := x.checkLinearizable(ops, ends); err != nil {
		return err
	}
	if err := x.checkReplicas(ctx); err != nil {
		return err
	}
	x.checkUsage(ctx)
	if x.report.Refused = x.mostRefused; x.s.refusals && x.mostRefused == 0 {
		x.violate(promiseOnce, "no late report was refused: workers that were given up either did nothing or were believed")
	}
	if x.s.damages && x.found.Load() == 0 {
		x.violate(promiseIntact, "none of the damage was found")
	}
	return nil
}

func (x *run) count(ops []*Op) {
	for _, o := range ops {
		if o.acked() {
			x.report.Acknowledged++
			if o.Kind == opRead || o.Kind == opGet || o.Kind == opBigGet {
				x.report.Reads++
			}
		}
		if o.Outcome == unknown {
			x.report.Unknown++
		}
	}
	x.report.Unavailable = x.h.longest
}

// checkTail makes sure that every node serves: a run in which all calls failed would
// pass the other checks.
func (x *run) checkTail(ctx context.Context) error {
	for _, n := range x.c.members() {
		cl, err := x.c.dial(ctx, healthLimit, n)
		if err != nil {
			x.violate(promiseLive, "after the last fault %s is not reached: %v", n.id, err)
			continue
		}
		ns := cl.Namespace("tail-" + n.id)
		filled := x.load.fill(ctx, cl, ns.Name(), map[string]any{"k": -1})
		for i := range tailCalls {
			limited, cancel := context.WithTimeout(ctx, healthLimit)
			got, task := -1, 0
			err := errors.Join(filled, ns.Set(limited, "k", i))
			if err == nil {
				err = ns.Get(limited, "k", &got)
			}
			var info *tasks.Info
			if err == nil {
				info, err = ns.Exec(limited, "k + 1")
			}
			if err == nil {
				err = info.Decode(&task)
			}
			cancel()
			if err != nil || got != i || task != i+1 {
				x.violate(promiseLive, "after the last fault, call %d through %s: %v (read %d and %d)", i, n.id, err, got, task)
				break
			}
		}
		_ = cl.Close()
	}
	x.checked("the last calls through each node were answered")
	return ctx.Err()
}

// resolve asks for the end of every task: what no client has heard of is settled by
// its id. A task that is not there never ran and never will.
func (x *run) resolve(ctx context.Context, cl *tasks.Client, ops []*Op) (map[string]*tasks.Info, error) {
	ends := map[string]*tasks.Info{}
	var mu sync.Mutex
	var wg sync.WaitGroup
	limit := make(chan struct{}, askedAtOnce)
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for _, o := range ops {
		if o.Task == "" {
			continue
		}
		limit <- struct{}{}
		wg.Go(func() {
			defer func() { <-limit }()
			i, err := cl.Wait(ctx, o.Task)
			var te *tasks.TaskError
			switch {
			case i != nil && (err == nil || errors.As(err, &te)):
				mu.Lock()
				ends[o.Task] = i
				mu.Unlock()
			case errors.Is(err, tasks.ErrNotFound):
			default:
				x.violate(promiseLive, "task %s, submitted to %s, did not end: %v", o.Task, o.Namespace, err)
			}
		})
	}
	wg.Wait()
	return ends, nil
}

// checkTasks checks the end of every task by itself.
func (x *run) checkTasks(ops []*Op, ends map[string]*tasks.Info) {
	n, unexpected := 0, 0
	for _, o := range ops {
		if o.Task == "" {
			continue
		}
		n++
		i := ends[o.Task]
		if i == nil {
			if o.acked() {
				x.violate(promiseDurable, "task %s was acknowledged and is not there", o.Task)
			}
			continue
		}
		if o.ended() {
			x.load.same(o, i)
		}
		if x.wrongEnd(o, i) {
			unexpected++
		}
		if o.Kind == opMove && i.State == tasks.Succeeded && string(i.Value) != fmt.Sprint(bankTotal) {
			x.violate(promiseTransaction, "a transfer in %s saw a sum of %s", o.Namespace, i.Value)
		}
	}
	if unexpected > int(x.killed.Load()) {
		x.violate(promiseBlame, "%d tasks died with a child process, %d were killed", unexpected, x.killed.Load())
	}
	x.checked("%d tasks: each acknowledged one is there, has one end, and the one that was told", n)
}

// wrongEnd checks how a task ended. True: it died with the child that ran it, which
// the harness may have killed.
func (x *run) wrongEnd(o *Op, i *tasks.Info) bool {
	if i.State == tasks.Succeeded {
		if expectedFailure[o.Kind] != "" {
			x.violate(promiseTransaction, "task %s, a %s, succeeded", o.Task, o.Kind)
		}
		return false
	}
	kind := ""
	if i.Error != nil {
		kind = i.Error.Kind
	}
	switch {
	case kind == expectedFailure[o.Kind]:
		if o.Kind == opKill && i.Attempt < 2 {
			x.violate(promiseBlame, "task %s, which kills its process and may be tried again, ended after %d attempts", o.Task, i.Attempt)
		}
	case kind == "lost" && len(i.Causes) > lossesAllowed:
	case kind == "dependency" && o.Kind == opNext: // checkAfter knows whether it had to
	case kind == "crash" && slices.Contains(x.s.Faults, "kill-context"):
		return true
	default:
		x.violate(promiseBlame, "task %s, a %s, ended %s: %v, causes %q", o.Task, o.Kind, i.State, i.Error, i.Causes)
	}
	return false
}

// checkValues compares each namespace with the effects of exactly the tasks that
// succeeded in it.
func (x *run) checkValues(ctx context.Context, cl *tasks.Client, ops []*Op, ends map[string]*tasks.Info) error {
	adds, moved, lists := map[string]int{}, map[string]int{}, map[string][]int{}
	for _, o := range ops {
		i := ends[o.Task]
		done := i != nil && i.State == tasks.Succeeded
		switch o.Kind {
		case opAdd, opLong, opDelayed, opTwice, opFail, opTimeout, opKill, opNext:
			if adds[o.Namespace] += 0; done {
				adds[o.Namespace]++
			}
		case opMove:
			if moved[o.Namespace] += 0; done {
				moved[o.Namespace] += o.Arg
			}
		case opAppend:
			if lists[o.Namespace] = lists[o.Namespace][:len(lists[o.Namespace]):len(lists[o.Namespace])]; done {
				lists[o.Namespace] = append(lists[o.Namespace], o.Arg)
			}
		}
	}
	var err error
	is := func(promise, ns, key string, want any) {
		b, _ := json.Marshal(want)
		v, e := cl.Namespace(ns).Variable(ctx, key)
		switch {
		case errors.Is(e, tasks.ErrNotFound):
			x.violate(promiseDurable, "%s.%s is not there, it must be %s", ns, key, b)
		case e != nil:
			err = e
		case strings.Join(strings.Fields(string(v.JSON)), "") != string(b):
			x.violate(promise, "%s.%s is %.200s, the tasks that succeeded make it %.200s", ns, key, v.JSON, b)
		}
	}
	for ns, n := range adds {
		is(promiseOnce, ns, "n", n)
	}
	for ns, n := range moved {
		is(promiseTransaction, ns, "a", bankTotal-n)
		is(promiseTransaction, ns, "b", n)
	}
	for ns, list := range lists {
		if list == nil {
			list = []int{}
		}
		is(promiseOrder, ns, "list", list)
	}
	x.checked("%d namespaces hold the effects of exactly their tasks that succeeded, %d of them in order", len(adds)+len(moved)+len(lists), len(lists))
	return err
}

// checkStale finds reads of a counter that show less than was known before they
// began. The check of linearizability finds them too; this one names them.
func (x *run) checkStale(ops []*Op) {
	type event struct {
		at    time.Duration
		ends  bool // a value becomes known
		op    *Op
		value int
	}
	spaces := map[string][]event{}
	for _, o := range ops {
		switch o.Kind {
		case opRead, opAdd, opLong, opDelayed, opTwice:
			if o.Outcome == answered {
				spaces[o.Namespace] = append(spaces[o.Namespace], event{o.Call, false, o, 0}, event{o.Return, true, o, o.Value})
			}
		}
	}
	reads := 0
	for ns, events := range spaces {
		slices.SortFunc(events, func(a, b event) int {
			if a.at != b.at {
				return int(a.at - b.at)
			}
			return b.op.N - a.op.N
		})
		known, since := 0, time.Duration(0)
		floor := map[*Op]int{}
		for _, e := range events {
			if !e.ends {
				floor[e.op] = known
				continue
			}
			if e.op.Kind == opRead {
				reads++
				if e.value < floor[e.op] {
					x.violate(promiseReads, "a read of %s gave %d at %v; %d was known before it began at %v (since %v)", ns, e.value, e.at, floor[e.op], e.op.Call, since)
				}
			}
			if e.value > known {
				known, since = e.value, e.at
			}
			delete(floor, e.op)
		}
	}
	x.checked("%d reads of counters: none shows less than was known", reads)
}

// checkReplicas waits until all nodes have the same state at the same index, which
// they must once nothing is under way.
func (x *run) checkReplicas(ctx context.Context) error {
	limited, cancel := context.WithTimeout(ctx, healthLimit)
	defer cancel()
	hashes := ""
	err := poll(limited, func() (bool, error) {
		hashes = ""
		same, first := true, ""
		for _, n := range x.c.members() {
			i, err := x.c.info(limited, n, true)
			if err != nil {
				hashes += fmt.Sprintf("%s: %v; ", n.id, err)
				same = false
				continue
			}
			state := fmt.Sprintf("entry %d state %.12s log %s", i.Applied, i.Hash, i.LogHash)
			hashes += n.id + ": " + state + "; "
			if first == "" {
				first = state
			}
			same = same && state == first
		}
		return same, nil
	})
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err != nil {
		x.violate(promiseOne, "the nodes have different states: %s", hashes)
		return nil
	}
	x.checked("all nodes have one state: %s", strings.SplitN(hashes, ";", 2)[0])
	return nil
}

// usage is what the nodes use now.
func (x *run) usage(ctx context.Context) (u Usage) {
	live := x.c.live()
	u.Nodes = len(live)
	for _, n := range live {
		if s, err := readStat(n.proc.pid()); err == nil {
			u.Memory = max(u.Memory, s.rss)
		}
		u.Files = max(u.Files, openFiles(n.proc.pid()))
		u.Disk = max(u.Disk, diskUsed(n.dir))
		if i, err := x.c.info(ctx, n, false); err == nil {
			u.Goroutines = max(u.Goroutines, int(i.Goroutines))
		}
	}
	return u
}

// onPlateau reports whether u is what was used before the first fault, give or take
// half of it. A node has connections to each other node, so that more nodes need more,
// and a log of kind wal is a file for each segment, of which there may be many: they
// are bounded by maxDisk.
func (u Usage) onPlateau(before Usage) bool {
	most := func(n int) int { return max(n, n*u.Nodes/max(before.Nodes, 1))*3/2 + 50 }
	const segmentBytes = 16 << 20
	segments := int(u.Disk / segmentBytes)
	return u.Files-segments <= most(before.Files) && u.Goroutines <= most(before.Goroutines)
}

// checkUsage waits until what the nodes use is on the plateau where it was, and
// makes sure that nothing has grown without bounds.
func (x *run) checkUsage(ctx context.Context) {
	var u Usage
	limited, cancel := context.WithTimeout(ctx, healthLimit)
	defer cancel()
	before := x.report.Before
	err := poll(limited, func() (bool, error) {
		u = x.usage(ctx)
		return u.onPlateau(before), nil
	})
	x.report.After = u
	if err != nil || u.Memory > maxMemory || u.Files > maxFiles || u.Goroutines > maxGoroutines || u.Disk > maxDisk {
		x.violate(promiseBounded, "a node uses %d MiB of memory, %d files, %d goroutines, %d MiB of disk; before the first fault: %d MiB, %d, %d, %d MiB",
			u.Memory>>20, u.Files, u.Goroutines, u.Disk>>20, before.Memory>>20, before.Files, before.Goroutines, before.Disk>>20)
	}
	x.checked("no node uses more than %d MiB of memory, %d files, %d goroutines, %d MiB of disk", u.Memory>>20, u.Files, u.Goroutines, u.Disk>>20)
}

// checkFolders replays what every stopped node has at rest.
func (x *run) checkFolders() {
	ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
	defer cancel()
	for _, n := range x.c.members() {
		if found := x.verify(ctx, n); found != "" {
			x.violate(promiseOne, "%s at rest: %s", n.id, found)
		}
	}
	x.checked("every node's log and state at rest are intact; the whole log, replayed from nothing, makes the state")
}
