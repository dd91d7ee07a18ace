package features

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"farm/tasks"
)

// What handlers tell rows.
var (
	snoozed  atomic.Int64 // when "snooze" put its task off, unix nanoseconds
	progress atomic.Int64 // what "progress" said last
	enough   = make(chan struct{})
)

// How long some handlers may be silent, and another speaks.
const (
	silence = 2 * time.Second
	speech  = 5 * time.Second
	nap     = 3 * time.Second
)

// register has the handlers that rows call.
func register(f *farm) {
	none := func(context.Context, int) (int, error) { return 0, nil }
	// reports waits until nobody leads, so that what it says is for the next leader.
	reports := func(say func() error) func(context.Context, int) (int, error) {
		return func(ctx context.Context, _ int) (int, error) {
			select {
			case <-f.killed:
				return 0, say()
			case <-ctx.Done():
				return 0, context.Cause(ctx)
			}
		}
	}
	wait := func(ctx context.Context, _ int) (int, error) {
		<-ctx.Done()
		return 0, context.Cause(ctx)
	}
	tasks.Handle(f.mux, "nothing", none)
	tasks.Handle(f.mux, "gate", reports(func() error { return nil }))
	tasks.Handle(f.mux, "gate-no", reports(func() error { return errors.New("no") }))
	tasks.Handle(f.mux, "never-again", reports(func() error { return tasks.DoNotRetry(errors.New("no use")) }))
	tasks.Handle(f.mux, "forever", wait)
	tasks.Handle(f.mux, "mute", wait, tasks.StuckAfter(silence))
	tasks.Handle(f.mux, "third-time", func(ctx context.Context, _ int) (int, error) {
		if tasks.FromContext(ctx).Number < 3 {
			return 0, errors.New("not yet")
		}
		return 0, nil
	})
	tasks.Handle(f.mux, "nap", func(ctx context.Context, _ int) (int, error) { return 0, pass(ctx, 50*time.Millisecond) })
	tasks.Handle(f.mux, "until-cancelled", func(ctx context.Context, _ int) (int, error) {
		a := tasks.FromContext(ctx)
		a.Progress(0, 0, "begun")
		<-ctx.Done()
		a.Log("%v", context.Cause(ctx))
		return 0, context.Cause(ctx)
	})
	tasks.Handle(f.mux, "snooze", func(ctx context.Context, _ int) (int, error) {
		if tasks.FromContext(ctx).Number > 1 {
			return 0, nil
		}
		snoozed.Store(time.Now().UnixNano())
		return 0, tasks.Snooze(nap)
	})
	tasks.Handle(f.mux, "snooze-gate", func(ctx context.Context, _ int) (int, error) {
		if tasks.FromContext(ctx).Number > 1 {
			return 0, nil
		}
		return reports(func() error { return tasks.Snooze(nap) })(ctx, 0)
	})
	tasks.Handle(f.mux, "progress", func(ctx context.Context, _ int) (int, error) {
		for k := int64(1); ; k++ {
			tasks.FromContext(ctx).Progress(k, 0, "")
			progress.Store(k)
			select {
			case <-enough:
				return int(k), nil
			default:
			}
			if err := pass(ctx, 20*time.Millisecond); err != nil {
				return 0, err
			}
		}
	})
	tasks.Handle(f.mux, "beats", func(ctx context.Context, _ int) (int, error) {
		for begun := time.Now(); time.Since(begun) < speech; {
			tasks.FromContext(ctx).Beat()
			if err := pass(ctx, 20*time.Millisecond); err != nil {
				return 0, err
			}
		}
		return 0, nil
	}, tasks.StuckAfter(silence))
}

// pass lets time pass, as work does.
func pass(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func handlerRows() []row {
	return []row{snooze(), doNotRetry(), progressSeen(), heartBeat(), drain()}
}

// snooze: a task that puts itself off comes back, not early, and has lost no retry.
func snooze() row {
	var early, late string
	return row{
		name: "snooze",
		before: func(f *farm) {
			early = f.submit(1, call("snooze", tasks.Task{}))[0]
			late = f.submit(1, call("snooze-gate", tasks.Task{}))[0]
			f.until("one has put itself off", func() bool { return snoozed.Load() > 0 })
		},
		after: func(f *farm) {
			from := map[string]time.Time{early: time.Unix(0, snoozed.Load()).Add(nap), late: {}}
			for id, from := range from {
				i := f.succeed(id)[0]
				if i.Attempt < 2 || len(failures(i)) > 0 || i.Started.Before(from) || i.Started.Sub(i.Submitted) < nap {
					f.t.Errorf("it came back %v early, for attempt %d, after %q", from.Sub(i.Started), i.Attempt, i.Causes)
				}
			}
		},
	}
}

// doNotRetry: a handler that says so while nobody leads has ended its task.
func doNotRetry() row {
	var id string
	return row{
		name: "do not retry",
		before: func(f *farm) {
			id = f.submit(1, call("never-again", tasks.Task{Retries: 5, Backoff: -1}))[0]
		},
		after: func(f *farm) {
			if i := f.fail(id, "error"); len(failures(i)) != 1 || i.Error.Message != "no use" {
				f.t.Errorf("it failed %q: %v", i.Causes, i.Error)
			}
		},
	}
}

// progressSeen: whoever watches a task sees its progress before and after the change of
// leader, and never going back.
func progressSeen() row {
	var id string
	var seen, at atomic.Int64
	over := make(chan error, 1)
	return row{
		name: "progress",
		before: func(f *farm) {
			id = f.submit(1, call("progress", tasks.Task{}))[0]
			go func() {
				attempt, last := 0, int64(0)
				for e, err := range f.Watch(f.ctx, id) {
					if err != nil {
						over <- err
						return
					}
					if p := e.Progress; p != nil {
						if p.Attempt == attempt && p.Done < last {
							f.t.Errorf("progress went back from %d to %d", last, p.Done)
						}
						attempt, last = p.Attempt, p.Done
						seen.Store(p.Done)
					}
				}
				over <- nil
			}()
			f.until("progress is seen", func() bool { return seen.Load() > 0 })
		},
		during: func(*farm) { at.Store(progress.Load()) },
		after: func(f *farm) {
			f.until("what was said since is seen by who watched", func() bool { return seen.Load() > at.Load() })
			f.until("it is seen by who asks", func() bool { p := f.get(id).Progress; return p != nil && p.Done > at.Load() })
			close(enough)
			f.succeed(id)
			f.must(<-over)
		},
	}
}

// heartBeat: one that gives signs of life goes on over the change of leader, and one
// that gives none is stuck.
func heartBeat() row {
	var beats, mute string
	return row{
		name: "heart-beat",
		before: func(f *farm) {
			beats = f.submit(1, call("beats", tasks.Task{}))[0]
			mute = f.submit(1, call("mute", tasks.Task{}))[0]
		},
		after: func(f *farm) {
			if i := f.fail(mute, "stuck"); i.Finished.Sub(i.Started) < silence {
				f.t.Errorf("it was stuck within %v", i.Finished.Sub(i.Started))
			}
			if i := f.succeed(beats)[0]; i.Finished.Sub(i.Started) < speech {
				f.t.Errorf("it was done within %v", i.Finished.Sub(i.Started))
			}
		},
	}
}

// drain: a worker that is to be given nothing is given nothing by the next leader, and
// is used again when it is told.
func drain() row {
	var during []string
	var only string // for that worker
	var from time.Time
	return row{
		name: "drain",
		before: func(f *farm) {
			f.serve("spare", map[string]string{"only": "spare"})
			_, err := f.DrainWorker(f.ctx, "spare", false)
			f.must(err)
			from = f.now()
			only = f.submit(1, call("nothing", tasks.Task{Labels: map[string]string{"only": "spare"}}))[0]
		},
		during: func(f *farm) { during = f.submit(40, call("nothing", tasks.Task{})) },
		after: func(f *farm) {
			for _, i := range f.succeed(append(during, f.submit(40, call("nothing", tasks.Task{}))...)...) {
				if i.Worker == "spare" && i.Started.After(from) {
					f.t.Errorf("a worker that drains was given task %s", i.ID)
				}
			}
			if w := f.worker("spare"); w.State != "draining" {
				f.t.Errorf("it is %s", w.State)
			}
			if i := f.get(only); i.Attempt != 0 {
				f.t.Errorf("what only that worker can run is %s, attempt %d", i.State, i.Attempt)
			}
			_, err := f.DrainWorker(f.ctx, "spare", true)
			f.must(err)
			f.succeed(only)
		},
	}
}
