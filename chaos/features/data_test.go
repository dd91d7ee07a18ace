package features

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"

	"farm/tasks"
)

func dataRows() []row { return []row{views(), sequences()} }

// views: what is asked of many namespaces while nobody leads is done once in each, and
// the one that cannot do it is named.
func views() row {
	names := []string{"v0", "v1", "v2", "v3"}
	return row{
		name: "push, pull, exec on many",
		before: func(f *farm) {
			f.must(f.View(names...).Push(f.ctx, "n", 0))
			f.must(f.Namespace("other").Set(f.ctx, "text", "none"))
		},
		during: func(f *farm) {
			v := f.View(slices.Insert(slices.Clone(names), 2, "other")...)
			list, err := v.Exec(f.ctx, "n++\nn")
			var failed *tasks.ViewError
			if !errors.As(err, &failed) || len(failed.Failed) != 1 || failed.Failed[0].Namespace != "other" || len(list) != 5 {
				f.t.Errorf("exec on five, one of which cannot: %v", err)
			}
			f.must(v.Push(f.ctx, "k", 7))
		},
		after: func(f *farm) {
			for key, want := range map[string]int{"n": 1, "k": 7} {
				if got, err := tasks.Pull[int](f.ctx, f.View(names...), key); err != nil || !slices.Equal(got, []int{want, want, want, want}) {
					f.t.Errorf("%s is %v, want %d in each; %v", key, got, want, err)
				}
			}
		},
	}
}

// sequences: a sequence that is scattered while nobody leads is whole, in order, and
// spread evenly; also one that is shorter than the namespaces are many.
func sequences() row {
	even, few := []int{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}, []int{1, 2}
	return row{
		name: "scatter and gather",
		during: func(f *farm) {
			f.must(tasks.Scatter(f.ctx, f.View("s0", "s1", "s2", "s3"), "list", even))
			f.must(tasks.Scatter(f.ctx, f.View("s0", "s1", "s2", "s3"), "few", few))
		},
		after: func(f *farm) {
			v, err := f.Select(f.ctx, "s{0..3}")
			f.must(err)
			for key, want := range map[string][]int{"list": even, "few": few} {
				if got, err := tasks.Gather[int](f.ctx, v, key); err != nil || !slices.Equal(got, want) {
					f.t.Errorf("gathered %v, scattered %v; %v", got, want, err)
				}
			}
			lists, err := tasks.Pull[[]int](f.ctx, v, "list")
			f.must(err)
			if fmt.Sprint(lists) != "[[1 2 3] [4 5 6] [7 8] [9 10]]" {
				f.t.Errorf("it was spread %v", lists)
			}
		},
	}
}

func jobRows() []row { return []row{jobs(), maps()} }

// jobs: one that is cancelled while nobody leads ends so, with all of its tasks; another
// is waited for by who did not submit it.
func jobs() row {
	var stopped, other string
	var held []string
	open := func(f *farm, x tasks.Task, n int) (id string, list []string) {
		id, err := f.OpenJob(f.ctx, tasks.JobSpec{})
		f.must(err)
		x.Job = id
		list = f.submit(n, x)
		_, err = f.SealJob(f.ctx, id, n)
		f.must(err)
		return id, list
	}
	return row{
		name: "cancel of a job, and wait",
		before: func(f *farm) {
			f.must(f.PauseQueue(f.ctx, "of-job"))
			stopped, held = open(f, call("nothing", tasks.Task{Queue: "of-job"}), 6)
			other, _ = open(f, call("gate", tasks.Task{}), 6)
		},
		during: func(f *farm) {
			_, err := f.CancelJob(f.ctx, stopped)
			f.must(err)
		},
		after: func(f *farm) {
			c := f.dial()
			if j, err := c.WaitJob(f.ctx, stopped); err != nil || j.State != "cancelled" || j.Failed != 6 {
				f.t.Errorf("%+v, %v", j, err)
			}
			for _, id := range held {
				if i := f.end(id); i.State != tasks.Cancelled {
					f.t.Errorf("task %s of a job that was cancelled is %s", id, i.State)
				}
			}
			if j, err := c.JobHandle(other).Wait(f.ctx); err != nil || j.State != "succeeded" || j.Succeeded != 6 {
				f.t.Errorf("%+v, %v", j, err)
			}
		},
	}
}

// Of a map: how many inputs, which fail the first time, and what is called.
const (
	inputs  = 2000
	failing = 400 // every so many-th, from the 7th on
	program = `
import ("errors"; "farm"; "strings")

var seen []int

func Note(n int) int { seen = append(seen, n); return len(seen) }

func Double(n int) (int, error) {
	if n%400 == 7 && !strings.Contains(farm.TaskID(), "/r") {
		return 0, errors.New("not yet")
	}
	return 2 * n, nil
}`
)

// maps: results come in the order of inputs, those that fail are told with what they
// are, and are retried alone; each result is folded once.
func maps() row {
	var m *tasks.MapRun
	var done atomic.Int64
	over := make(chan error, 1)
	// is checks the result of the k-th input.
	is := func(k int, b json.RawMessage, err error, failed bool) error {
		var e *tasks.InputError
		switch {
		case failed && errors.As(err, &e) && e.Position == uint64(k):
		case failed || err != nil || string(b) != fmt.Sprint(2*k):
			return fmt.Errorf("result %d is %s, %w", k, b, err)
		}
		return nil
	}
	return row{
		name: "map, fold, retry of a job",
		before: func(f *farm) {
			list := make([]int, inputs)
			for k := range list {
				list[k] = k
			}
			m = f.Map(tasks.Map{Source: program, Call: "Double", FoldNamespace: "folded", FoldCall: "Note", Chunk: 20}, tasks.Values(list))
			go func() {
				k := 0
				for b, err := range m.Results(f.ctx) {
					if err := is(k, b, err, k%failing == 7); err != nil {
						over <- err
						return
					}
					k++
					done.Add(1)
				}
				if k != inputs {
					over <- fmt.Errorf("%d results", k)
				}
				over <- nil
			}()
			f.until("the map is under way", func() bool { return done.Load() > inputs/20 || len(over) > 0 })
		},
		after: func(f *farm) {
			f.must(<-over)
			j, err := m.Handle().Wait(f.ctx)
			if f.must(err); j.State != "failed" || j.Done != inputs-inputs/failing {
				f.t.Errorf("%+v", j)
			}
			_, err = m.Handle().Retry(f.ctx)
			f.must(err)
			if j, err = m.Handle().Wait(f.ctx); err != nil || j.State != "succeeded" || j.Done != inputs || j.Retries != 1 {
				f.t.Errorf("%+v, %v", j, err)
			}
			k := 0
			for b, err := range m.Handle().Results(f.ctx) {
				f.must(is(k, b, err, false))
				k++
			}
			var seen []int
			f.must(f.Namespace("folded").Get(f.ctx, "seen", &seen))
			slices.Sort(seen)
			for i := range seen {
				if len(seen) != inputs || k != inputs || seen[i] != 2*i {
					f.t.Fatalf("%d results, %d are folded, the %d-th is %d", k, len(seen), i, seen[i])
				}
			}
		},
	}
}
