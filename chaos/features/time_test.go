package features

import (
	"errors"
	"os"
	"slices"
	"strings"
	"time"

	"farm/tasks"
)

func timeRows() []row {
	return []row{retries(), timeout(), deadline(), delays(), schedule(), scheduleAt(), pausedSchedule(), retention()}
}

// retries: a task that fails is tried again, as often as it may, and not before its wait
// is over.
func retries() row {
	var good, bad string
	return row{
		name: "retries and backoff",
		before: func(f *farm) {
			good = f.submit(1, call("third-time", tasks.Task{Retries: 6, Backoff: 2 * time.Second, BackoffMax: 3 * time.Second}))[0]
			bad = f.submit(1, tasks.Task{Source: "panic(\"no\")", Retries: 2, Backoff: 500 * time.Millisecond})[0]
		},
		after: func(f *farm) {
			i := f.succeed(good)[0]
			wait := time.Duration(0) // a quarter less than asked, at most
			for k := range failures(i) {
				wait += min(2*time.Second<<k, 3*time.Second) * 3 / 4
			}
			if n := len(failures(i)); n > 2 || i.Started.Sub(i.Submitted) < wait {
				f.t.Errorf("after %d failures it began %v after it was submitted, the waits are %v", n, i.Started.Sub(i.Submitted), wait)
			}
			if i := f.fail(bad, "panic"); len(failures(i)) != 3 || i.Finished.Sub(i.Submitted) < 1125*time.Millisecond {
				f.t.Errorf("it failed %q within %v", i.Causes, i.Finished.Sub(i.Submitted))
			}
		},
	}
}

// timeout: an attempt is ended when its time is over, each of them.
func timeout() row {
	var cell, handler string
	return row{
		name: "timeout of an attempt",
		before: func(f *farm) {
			cell = f.submit(1, tasks.Task{Source: "for {\n}", Timeout: 1500 * time.Millisecond, Retries: 1, Backoff: -1})[0]
			handler = f.submit(1, call("forever", tasks.Task{Timeout: 1500 * time.Millisecond, Retries: 1, Backoff: -1}))[0]
		},
		after: func(f *farm) {
			for _, id := range []string{cell, handler} {
				i := f.fail(id, "timeout")
				if len(failures(i)) != 2 || i.Finished.Sub(i.Started) < 1500*time.Millisecond {
					f.t.Errorf("it failed %q, the last time within %v", i.Causes, i.Finished.Sub(i.Started))
				}
			}
		},
	}
}

// deadline: a task that has not ended by its deadline has failed, whether it runs, is to
// be tried again, or waits.
func deadline() row {
	var ids []string
	const within = 4 * time.Second
	return row{
		name: "deadline",
		before: func(f *farm) {
			ids = append(f.submit(1, tasks.Task{Source: "for {\n}", Within: within}), f.submit(1, call("forever", tasks.Task{Within: within}))...)
			ids = append(ids, f.submit(1, tasks.Task{Source: "1", Delay: time.Hour, Within: within})...)
			ids = append(ids, f.submit(1, tasks.Task{Source: "panic(1)", Retries: 5, Backoff: time.Hour, Deadline: time.Now().Add(within)})...)
		},
		after: func(f *farm) {
			for _, id := range ids {
				i := f.fail(id, "expired")
				if i.Finished.Before(i.Deadline) {
					f.t.Errorf("it expired %v before its deadline", i.Deadline.Sub(i.Finished))
				}
			}
		},
	}
}

// delays: a task with a delay, or a time, is neither early nor lost.
func delays() row {
	var ids []string
	times := map[string]time.Time{}
	return row{
		name: "delay and run-at",
		before: func(f *farm) {
			ids = f.submit(10, call("nothing", tasks.Task{Delay: 3 * time.Second}))
			at := time.Now().Add(4 * time.Second)
			ids = append(ids, f.submit(1, tasks.Task{Source: "1", At: at})...)
			times[ids[10]] = at
		},
		during: func(f *farm) { ids = append(ids, f.submit(1, tasks.Task{Source: "1", Delay: 2 * time.Second})...) },
		after: func(f *farm) {
			for k, i := range ids {
				from := times[i]
				if from.IsZero() {
					from = f.get(i).Submitted.Add(map[bool]time.Duration{true: 3 * time.Second, false: 2 * time.Second}[k < 10])
				}
				if i := f.succeed(i)[0]; i.Started.Before(from) {
					f.t.Errorf("it began %v early", from.Sub(i.Started))
				}
			}
		},
	}
}

// tick is the id of the task of a schedule for a time.
func tick(name string, at time.Time) string { return name + "." + at.UTC().Format("20060102T150405Z") }

// schedule: a schedule submits its task once for each of its times, and leaves none out.
func schedule() row {
	var first time.Time
	return row{
		name: "schedule",
		before: func(f *farm) {
			f.must(f.Namespace("ticks").Set(f.ctx, "n", 0))
			s, err := f.Schedule(f.ctx, tasks.Schedule{Name: "tick", Spec: "@every 1s", CatchUp: tasks.CatchUpAll, Task: tasks.Task{Namespace: "ticks", Source: "n++"}})
			f.must(err)
			first = s.Next
			f.until("it has begun", func() bool { s, err := f.GetSchedule(f.ctx, "tick"); return err == nil && s.Submitted > 0 })
		},
		after: func(f *farm) {
			f.until("it goes on", func() bool {
				s, err := f.GetSchedule(f.ctx, "tick")
				return err == nil && s.Last.Sub(first) > 6*time.Second
			})
			s, err := f.PauseSchedule(f.ctx, "tick")
			f.must(err)
			n := 0
			for at := first; !at.After(s.Last); at = at.Add(time.Second) {
				n++
				if i := f.succeed(tick("tick", at))[0]; i.Submitted.Before(at) {
					f.t.Errorf("the task for %v was submitted %v before", at, at.Sub(i.Submitted))
				}
			}
			if got := f.number("ticks", "n"); got != n || s.Submitted != n {
				f.t.Errorf("from %v to %v there are %d times, %d tasks were submitted, %d have run", first, s.Last, n, s.Submitted, got)
			}
		},
	}
}

// scheduleAt: what a schedule's next time is in its time zone does not depend on who
// works it out.
func scheduleAt() row {
	var want time.Time
	return row{
		name: "time zone of a schedule",
		before: func(f *farm) {
			s, err := f.Schedule(f.ctx, tasks.Schedule{Name: "zoned", Spec: "30 4 1 1 *", Zone: "Asia/Kolkata", Task: tasks.Task{Source: "1"}})
			f.must(err)
			year := time.Now().Add(5*time.Hour + 30*time.Minute).UTC().Year()
			for want = time.Date(year-1, 12, 31, 23, 0, 0, 0, time.UTC); !want.After(s.Created); year++ {
				want = time.Date(year, 12, 31, 23, 0, 0, 0, time.UTC)
			}
			_, err = f.PauseSchedule(f.ctx, "zoned")
			f.must(err)
		},
		during: func(f *farm) { // it is worked out anew by whoever leads
			_, err := f.ResumeSchedule(f.ctx, "zoned")
			f.must(err)
		},
		after: func(f *farm) {
			s, err := f.GetSchedule(f.ctx, "zoned")
			if f.must(err); !s.Next.Equal(want) || s.Zone != "Asia/Kolkata" || s.Submitted != 0 {
				f.t.Errorf("%+v, its next time is %v", s, want)
			}
		},
	}
}

// pausedSchedule: a schedule that is paused stays so, and leaves out what falls due.
func pausedSchedule() row {
	var paused *tasks.ScheduleInfo
	return row{
		name: "pause of a schedule",
		before: func(f *farm) {
			_, err := f.Schedule(f.ctx, tasks.Schedule{Name: "still", Spec: "@every 1s", CatchUp: tasks.CatchUpAll, Task: call("nothing", tasks.Task{})})
			f.must(err)
			paused, err = f.PauseSchedule(f.ctx, "still")
			f.must(err)
		},
		after: func(f *farm) {
			s, err := f.GetSchedule(f.ctx, "still")
			if f.must(err); !s.Paused || s.Submitted != paused.Submitted || !s.Last.Equal(paused.Last) {
				f.t.Errorf("while it is paused %+v became %+v", paused, s)
			}
			from := f.now()
			_, err = f.ResumeSchedule(f.ctx, "still")
			f.must(err)
			f.until("it goes on", func() bool {
				s, err = f.GetSchedule(f.ctx, "still")
				return err == nil && s.Submitted > paused.Submitted
			})
			first := s.Last.Add(-time.Duration(s.Submitted-paused.Submitted-1) * time.Second)
			if first.Before(from) {
				f.t.Errorf("it was resumed at %v, and submitted its task for %v", from, first)
			}
			f.must(f.RemoveSchedule(f.ctx, "still"))
		},
	}
}

// missedTimes: each policy, when the clock says that hours have passed, and the leader is
// killed at that moment.
func missedTimes(f *farm) {
	const every = 30 * time.Minute
	first := map[tasks.CatchUp]time.Time{}
	for _, policy := range []tasks.CatchUp{tasks.CatchUpNone, tasks.CatchUpOne, tasks.CatchUpAll} {
		s, err := f.Schedule(f.ctx, tasks.Schedule{Name: "missed-" + string(policy), Spec: "@every 30m", CatchUp: policy, Task: call("nothing", tasks.Task{})})
		f.must(err)
		first[policy] = s.Next
	}
	// To the middle between two times, so that none is near.
	now := time.Now()
	to := now.Truncate(every).Add(2*time.Hour + every/2)
	f.must(os.WriteFile(f.clock, []byte(to.Sub(now).String()), 0o600))
	killed := f.killLeader()
	f.must(f.nodes.Restart(f.ctx, killed))
	last := to.Truncate(every)
	for policy, from := range first {
		var want []string
		for at := from; !at.After(last); at = at.Add(every) {
			if policy == tasks.CatchUpAll || policy == tasks.CatchUpOne && at.Equal(last) {
				want = append(want, tick("missed-"+string(policy), at))
			}
		}
		var s *tasks.ScheduleInfo
		f.until("the schedule is past what it missed", func() bool {
			var err error
			s, err = f.GetSchedule(f.ctx, "missed-"+string(policy))
			f.must(err)
			return s.Next.After(last)
		})
		if s.Submitted != len(want) {
			f.t.Errorf("%s: from %v to %v %d tasks were submitted, want %q", s.Name, from, last, s.Submitted, want)
		}
		f.succeed(want...)
	}
}

// retention: a finished task is kept for as long as was asked, and not for ever.
func retention() row {
	var short, long string
	var gone time.Time
	return row{
		name: "retention",
		before: func(f *farm) {
			short = f.submit(1, call("nothing", tasks.Task{Keep: 6 * time.Second}))[0]
			long = f.submit(1, call("nothing", tasks.Task{Keep: time.Hour}))[0]
			gone = f.succeed(short)[0].Finished.Add(6 * time.Second)
			f.succeed(long)
		},
		after: func(f *farm) {
			f.until("it is gone", func() bool {
				_, err := f.Get(f.ctx, short)
				if err != nil && !errors.Is(err, tasks.ErrNotFound) {
					f.must(err)
				}
				return err != nil
			})
			if now := time.Now(); now.Before(gone) {
				f.t.Errorf("it is gone %v before its time", gone.Sub(now))
			}
			f.succeed(long)
		},
	}
}

// flowRows: dependencies, parked tasks, cancels.
func flowRows() []row { return []row{dependencies(), parked(), cancels()} }

// dependencies: a task that runs after others runs once, when what became of them is
// what it asked for, or fails when that cannot come.
func dependencies() row {
	kinds := []struct {
		name string
		when tasks.When
		bad  bool // one of the two it runs after fails
		fate string
	}{{"all", tasks.AllSucceeded, false, ""}, {"all-bad", tasks.AllSucceeded, true, "dependency"}, {"any", tasks.AnySucceeded, true, ""}, {"finished", tasks.AllFinished, true, ""}}
	var good, slow, bad, late string
	return row{
		name: "after other tasks",
		before: func(f *farm) {
			f.must(f.Namespace("after").Set(f.ctx, "hits", []string{}))
			good = f.submit(1, call("gate", tasks.Task{}))[0]
			slow = f.submit(1, tasks.Task{Source: "import \"time\"\ntime.Sleep(2 * time.Second)"})[0]
			bad = f.submit(1, call("gate-no", tasks.Task{}))[0]
			for _, k := range kinds {
				after := []string{good, slow}
				if k.bad {
					after = []string{good, bad}
				}
				f.submit(1, tasks.Task{ID: "after-" + k.name, Namespace: "after", Source: "hits = append(hits, \"" + k.name + "\")", After: after, AfterWhen: k.when})
			}
		},
		during: func(f *farm) {
			late = f.submit(1, tasks.Task{Namespace: "after", Source: "hits = append(hits, \"late\")", After: []string{"after-all", "after-any"}})[0]
		},
		after: func(f *farm) {
			ends := map[string]time.Time{good: f.end(good).Finished, slow: f.end(slow).Finished, bad: f.fail(bad, "error").Finished}
			hits := []string{"late"}
			for _, k := range kinds {
				id := "after-" + k.name
				if k.fate != "" {
					f.fail(id, k.fate)
					continue
				}
				hits = append(hits, k.name)
				i := f.succeed(id)[0]
				ends[id] = i.Finished
				for _, x := range i.After {
					if i.Started.Before(ends[x]) && !(k.when == tasks.AnySucceeded && x == bad) {
						f.t.Errorf("%s began %v before the end of %s", id, ends[x].Sub(i.Started), x)
					}
				}
			}
			for i := f.succeed(late)[0]; len(i.After) > 0; i.After = i.After[1:] {
				if i.Started.Before(ends[i.After[0]]) {
					f.t.Errorf("the last began before the end of %s", i.After[0])
				}
			}
			var got []string
			f.must(f.Namespace("after").Get(f.ctx, "hits", &got))
			slices.Sort(got)
			if slices.Sort(hits); !slices.Equal(got, hits) {
				f.t.Errorf("those that ran after others have run %q, want %q", got, hits)
			}
		},
	}
}

// parked: what failed stays, is made live again in bulk, each once, or dropped.
func parked() row {
	var failed, dropped []string
	const source = "if bad {\n\tpanic(\"bad\")\n}\nn++"
	return row{
		name: "parked tasks, retry and drop in bulk",
		before: func(f *farm) {
			for _, ns := range []string{"parked", "dropped"} {
				f.must(f.Namespace(ns).Set(f.ctx, "bad", true))
				f.must(f.Namespace(ns).Set(f.ctx, "n", 0))
			}
			failed, dropped = f.submit(6, tasks.Task{Namespace: "parked", Source: source}), f.submit(4, tasks.Task{Namespace: "dropped", Source: source})
			for _, id := range append(failed, dropped...) {
				f.fail(id, "panic")
			}
			f.must(f.Namespace("parked").Set(f.ctx, "bad", false))
		},
		during: func(f *farm) {
			for id, err := range f.RetryAll(f.ctx, tasks.Filter{Namespace: "parked"}) {
				if f.must(err); !slices.Contains(failed, id) {
					f.t.Errorf("%s was retried", id)
				}
			}
			for _, err := range f.DropAll(f.ctx, tasks.Filter{Namespace: "dropped"}) {
				f.must(err)
			}
		},
		after: func(f *farm) {
			f.succeed(failed...)
			if n := f.number("parked", "n"); n != len(failed) {
				f.t.Errorf("%d tasks were retried, and have counted %d times", len(failed), n)
			}
			for _, id := range dropped {
				if _, err := f.Get(f.ctx, id); !errors.Is(err, tasks.ErrNotFound) {
					f.t.Errorf("%s was dropped: %v", id, err)
				}
			}
		},
	}
}

// cancels: a queued task, a running cell and a running handler end as cancelled, and the
// cell has changed nothing.
func cancels() row {
	var queued, cell, handler string
	return row{
		name: "cancel",
		before: func(f *farm) {
			f.must(f.PauseQueue(f.ctx, "stopped"))
			f.must(f.Namespace("cancelled").Set(f.ctx, "n", 1))
			queued = f.submit(1, tasks.Task{Queue: "stopped", Source: "1"})[0]
			cell = f.submit(1, tasks.Task{Namespace: "cancelled", Source: "n = 2\nfor {\n}"})[0]
			handler = f.submit(1, call("until-cancelled", tasks.Task{}))[0]
			f.until("both run", func() bool { return f.get(cell).State == tasks.Running && f.get(handler).Progress != nil })
		},
		during: func(f *farm) {
			for _, id := range []string{queued, cell, handler} {
				_, err := f.Cancel(f.ctx, id)
				f.must(err)
			}
		},
		after: func(f *farm) {
			for _, id := range []string{queued, cell, handler} {
				if i := f.end(id); i.State != tasks.Cancelled {
					f.t.Errorf("task %s is %s: %v", id, i.State, i.Error)
				}
			}
			if i := f.get(handler); !strings.Contains(i.Stdout, tasks.ErrCancelled.Error()) && len(failures(i)) == len(i.Causes) {
				f.t.Errorf("the handler was not told that it is cancelled: %q", i.Stdout)
			}
			if n := f.number("cancelled", "n"); n != 1 {
				f.t.Errorf("a cancelled task has set n to %d", n)
			}
		},
	}
}
