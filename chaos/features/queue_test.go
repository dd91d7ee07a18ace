package features

import (
	"slices"
	"strings"
	"time"

	"farm/tasks"
)

func queueRows() []row {
	return []row{queueLimits(), priority(), pause(), labels(), uniqueKeys(), rates()}
}

const sleeping = "import \"time\"\ntime.Sleep(150 * time.Millisecond)"

// queueLimits: tasks stay in their queues, and no more of a queue, or of a key in one,
// run at a time than may, although some run again elsewhere.
func queueLimits() row {
	var two, a, b, late []string
	return row{
		name: "concurrency of queues and keys",
		before: func(f *farm) {
			_, err := f.SetQueue(f.ctx, "two", tasks.QueueChange{Concurrency: new(2)})
			f.must(err)
			_, err = f.SetQueue(f.ctx, "keyed", tasks.QueueChange{KeyConcurrency: new(1)})
			f.must(err)
			two = f.submit(30, tasks.Task{Queue: "two", Source: sleeping})
			a = f.submit(10, tasks.Task{Queue: "keyed", Key: "a", Source: sleeping})
			b = f.submit(10, tasks.Task{Queue: "keyed", Key: "b", Source: sleeping})
		},
		during: func(f *farm) {
			_, err := f.SetQueue(f.ctx, "late", tasks.QueueChange{Concurrency: new(1)})
			f.must(err)
			late = f.submit(5, call("nap", tasks.Task{Queue: "late"}))
		},
		after: func(f *farm) {
			f.atMost("queue two", 2, f.succeed(two...))
			f.atMost("key a", 1, f.succeed(a...))
			f.atMost("key b", 1, f.succeed(b...))
			f.atMost("a queue limited while nobody led", 1, f.succeed(late...))
			if i := f.get(two[0]); i.Queue != "two" {
				f.t.Errorf("a task is in queue %q", i.Queue)
			}
			if q, err := f.Queue(f.ctx, "two"); err != nil || q.Concurrency != 2 || q.Running+q.Waiting != 0 {
				f.t.Errorf("%+v, %v", q, err)
			}
		},
	}
}

// atMost checks how many of the tasks had an attempt at the same time.
func (f *farm) atMost(what string, most int, list []*tasks.Info) {
	f.t.Helper()
	for _, a := range list {
		n := 0
		for _, b := range list {
			if !b.Started.After(a.Started) && b.Finished.After(a.Started) {
				n++
			}
		}
		if n > most {
			f.t.Errorf("%s: %d ran at %v, at most %d may", what, n, a.Started, most)
		}
	}
}

// rates: attempts of a queue, and of a key, are as far apart as asked.
func rates() row {
	var ten, burst, a, b []string
	return row{
		name: "rates of queues and keys",
		before: func(f *farm) {
			for name, change := range map[string]tasks.QueueChange{"ten": {Rate: &tasks.Rate{Count: 10, Per: time.Second}},
				"burst": {Rate: &tasks.Rate{Count: 5, Per: time.Second, Burst: 4}}, "per-key": {KeyRate: &tasks.Rate{Count: 5, Per: time.Second}}} {
				_, err := f.SetQueue(f.ctx, name, change)
				f.must(err)
			}
			ten = f.submit(50, call("nothing", tasks.Task{Queue: "ten"}))
			burst = f.submit(25, call("nothing", tasks.Task{Queue: "burst"}))
			a = f.submit(20, call("nothing", tasks.Task{Queue: "per-key", Key: "a"}))
			b = f.submit(20, call("nothing", tasks.Task{Queue: "per-key", Key: "b"}))
		},
		after: func(f *farm) {
			f.apart("queue ten", 100*time.Millisecond, 1, f.succeed(ten...))
			f.apart("queue burst", 200*time.Millisecond, 4, f.succeed(burst...))
			f.apart("key a", 200*time.Millisecond, 1, f.succeed(a...))
			f.apart("key b", 200*time.Millisecond, 1, f.succeed(b...))
		},
	}
}

// apart checks that of tasks, sorted by their beginning, no more begin in any length of
// time than that has intervals, but for a burst.
func (f *farm) apart(what string, interval time.Duration, burst int, list []*tasks.Info) {
	f.t.Helper()
	for i := range list {
		for j := i + burst; j < len(list); j++ {
			if d := list[j].Started.Sub(list[i].Started); d < interval*time.Duration(j-i+1-burst) {
				f.t.Errorf("%s: %d tasks began within %v", what, j-i+1, d)
				return
			}
		}
	}
}

// priority: what waits in a paused queue goes by priority, then by order, when the
// pause ends while nobody leads.
func priority() row {
	var ids []string
	return row{
		name: "priority",
		before: func(f *farm) {
			f.must(f.PauseQueue(f.ctx, "ranked"))
			_, err := f.SetQueue(f.ctx, "ranked", tasks.QueueChange{Concurrency: new(1)})
			f.must(err)
			for k := range 12 {
				ids = append(ids, f.submit(1, call("nothing", tasks.Task{Queue: "ranked", Priority: k % 3}))...)
			}
		},
		during: func(f *farm) { f.must(f.ResumeQueue(f.ctx, "ranked")) },
		after: func(f *farm) {
			want := slices.Clone(ids)
			slices.SortStableFunc(want, func(a, b string) int { return slices.Index(ids, b)%3 - slices.Index(ids, a)%3 })
			began := f.succeed(ids...)
			for k, i := range began { // one that ran again was first in its time
				for _, o := range began[k+1:] {
					if o.Attempt == 1 && slices.Index(want, o.ID) < slices.Index(want, i.ID) {
						f.t.Errorf("task %d of priority %d began before task %d of priority %d", slices.Index(ids, i.ID), slices.Index(ids, i.ID)%3, slices.Index(ids, o.ID), slices.Index(ids, o.ID)%3)
					}
				}
			}
		},
	}
}

// pause: nothing of a paused queue begins, whoever leads, until it is resumed.
func pause() row {
	var held, more []string
	return row{
		name: "pause of a queue",
		before: func(f *farm) {
			f.must(f.PauseQueue(f.ctx, "held"))
			held = f.submit(3, call("nothing", tasks.Task{Queue: "held"}))
		},
		during: func(f *farm) { more = f.submit(2, tasks.Task{Queue: "held", Source: "1"}) },
		after: func(f *farm) {
			for _, id := range append(held, more...) {
				if i := f.get(id); i.Attempt != 0 || i.Waiting != "queue held, it is paused" {
					f.t.Errorf("in a paused queue: %+v", i)
				}
			}
			until := f.now()
			f.must(f.ResumeQueue(f.ctx, "held"))
			for _, i := range f.succeed(append(held, more...)...) {
				if i.Started.Before(until) {
					f.t.Errorf("task %s began at %v, the queue was paused at %v", i.ID, i.Started, until)
				}
			}
		},
	}
}

// labels: a task waits for a worker with its labels over the change of leader, and runs
// on it.
func labels() row {
	var here, there string
	return row{
		name: "labels",
		before: func(f *farm) {
			here = f.submit(1, tasks.Task{Labels: map[string]string{"zone": "here"}, Source: "import \"time\"\ntime.Sleep(time.Second)"})[0]
			there = f.submit(1, call("nothing", tasks.Task{Labels: map[string]string{"zone": "there"}}))[0]
		},
		during: func(f *farm) {
			if i := f.get(there); i.Attempt != 0 || !strings.Contains(i.Waiting, "label zone=there") {
				f.t.Errorf("%+v", i)
			}
			f.serve("there", map[string]string{"zone": "there"})
		},
		after: func(f *farm) {
			f.succeed(here)
			if i := f.succeed(there)[0]; i.Worker != "there" {
				f.t.Errorf("it ran on %s", i.Worker)
			}
		},
	}
}

// uniqueKeys: in each of the three kinds, a second task is not made while the first has
// the key, also when it is asked for by several while nobody leads.
func uniqueKeys() row {
	of := func(handler string, u tasks.Unique) tasks.Task {
		return call(handler, tasks.Task{Queue: "unique", Unique: u})
	}
	running, queued, period := of("gate", tasks.Unique{Key: "r"}), of("nothing", tasks.Unique{Key: "q", While: tasks.WhileQueued}), of("nothing", tasks.Unique{Key: "p", For: time.Hour})
	var r, q, p string
	dup := func(f *farm, x tasks.Task, first string) {
		f.t.Helper()
		for range 3 {
			if h, err := f.Submit(f.ctx, x); err != nil || !h.Duplicate || h.ID != first {
				f.t.Errorf("a second task with unique key %s: %+v, %v; the first is %s", x.Unique.Key, h, err, first)
			}
		}
	}
	again := func(f *farm, x tasks.Task, first string) {
		f.t.Helper()
		h, err := f.Submit(f.ctx, x)
		if err != nil || h.Duplicate || h.ID == first {
			f.t.Fatalf("unique key %s is free: %+v, %v", x.Unique.Key, h, err)
		}
		f.succeed(h.ID)
	}
	return row{
		name: "unique keys",
		before: func(f *farm) {
			r = f.submit(1, running)[0]
			f.until("it runs", func() bool { return f.get(r).State == tasks.Running })
			p = f.submit(1, period)[0]
			f.succeed(p)
			f.must(f.PauseQueue(f.ctx, "unique"))
			q = f.submit(1, queued)[0]
			dup(f, running, r)
		},
		during: func(f *farm) {
			dup(f, queued, q)
			dup(f, period, p)
		},
		after: func(f *farm) {
			dup(f, queued, q)
			f.must(f.ResumeQueue(f.ctx, "unique"))
			f.succeed(r, q)
			again(f, running, r)
			again(f, queued, q)
			dup(f, period, p)
		},
	}
}
