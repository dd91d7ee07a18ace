package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync/atomic"

	"farm/tasks"
)

// benchCase is one kind of call. prepare makes what it needs in the farm;
// check, at the end, looks whether the farm did what was asked for.
type benchCase struct {
	name    string
	prepare func(ctx context.Context, c *tasks.Client) (load call, check func(context.Context) error, err error)
}

var cases = []benchCase{
	{"cell", cell},
	{"handler", handler},
	{"count-1", counting(1)},
	{"count-10", counting(10)},
	{"count-1000", counting(1000)},
	{"set", set},
	{"get", get},
}

// Cases are the names of what can be measured: a cell that does nothing, in
// private contexts; a handler that does nothing, in a worker in this process; n++ in 1, 10 and 1000 namespaces; setting and reading one
// variable.
func Cases() []string {
	out := make([]string, len(cases))
	for i, c := range cases {
		out[i] = c.name
	}
	return out
}

// Known tells whether there is a case of that name.
func Known(name string) bool { return slices.Contains(Cases(), name) }

func nothingToCheck(context.Context) error { return nil }

func cell(_ context.Context, c *tasks.Client) (call, func(context.Context) error, error) {
	return func(ctx context.Context, done func(error)) error {
		return c.RunAsync(ctx, tasks.Task{Source: "1"}, func(_ *tasks.Info, err error) { done(err) })
	}, nothingToCheck, nil
}

// handlerSlots is how many handlers the worker of the measurement runs at a time.
const handlerSlots = 64

// handler serves a handler that returns its input plus one, and checks each answer.
func handler(ctx context.Context, c *tasks.Client) (call, func(context.Context) error, error) {
	mux := tasks.NewMux()
	tasks.Handle(mux, "next", func(_ context.Context, n int64) (int64, error) { return n + 1, nil })
	serving, stop := context.WithCancel(ctx)
	served := make(chan error, 1)
	go func() { served <- c.Serve(serving, mux, tasks.WorkerOptions{Slots: handlerSlots}) }()
	if _, err := tasks.Call[int64](ctx, c, "next", 1, tasks.Task{}); err != nil { // it is there
		stop()
		return nil, nil, errors.Join(err, <-served)
	}
	var next atomic.Int64
	load := func(ctx context.Context, done func(error)) error {
		n := next.Add(1)
		return c.RunAsync(ctx, tasks.Task{Handler: "next", Input: strconv.AppendInt(nil, n, 10)}, func(i *tasks.Info, err error) {
			var got int64
			if err == nil {
				err = i.Decode(&got)
			}
			if err == nil && got != n+1 {
				err = fmt.Errorf("%w: the handler made %d of %d", ErrWrong, got, n)
			}
			done(err)
		})
	}
	return load, func(context.Context) error { stop(); return <-served }, nil
}

// counting runs n++ in several namespaces in turn, and checks in the end that
// each acknowledged task counted once.
func counting(namespaces int) func(context.Context, *tasks.Client) (call, func(context.Context) error, error) {
	return func(ctx context.Context, c *tasks.Client) (call, func(context.Context) error, error) {
		names := make([]string, namespaces)
		for i := range names {
			names[i] = fmt.Sprintf("count-%d-%d", namespaces, i)
			if err := c.Namespace(names[i]).Set(ctx, "n", 0); err != nil {
				return nil, nil, err
			}
		}
		var turn, counted, unknown atomic.Int64
		load := func(ctx context.Context, done func(error)) error {
			name := names[int(turn.Add(1))%namespaces]
			return c.RunAsync(ctx, tasks.Task{Namespace: name, Source: "n++"}, func(_ *tasks.Info, err error) {
				if err == nil {
					counted.Add(1)
				} else {
					unknown.Add(1)
				}
				done(err)
			})
		}
		check := func(ctx context.Context) error {
			sum := int64(0)
			for _, name := range names {
				var n int64
				if err := c.Namespace(name).Get(ctx, "n", &n); err != nil {
					return err
				}
				sum += n
			}
			if least := counted.Load(); sum < least || sum > least+unknown.Load() {
				return fmt.Errorf("%w: %d tasks were acknowledged and %d failed, the counters say %d", ErrWrong, least, unknown.Load(), sum)
			}
			return nil
		}
		return load, check, nil
	}
}

func set(ctx context.Context, c *tasks.Client) (call, func(context.Context) error, error) {
	ns := c.Namespace("set")
	var next atomic.Int64
	return func(ctx context.Context, done func(error)) error {
		return ns.SetJSONAsync(ctx, "k", strconv.AppendInt(nil, next.Add(1), 10), done)
	}, nothingToCheck, ns.Set(ctx, "k", 0)
}

func get(ctx context.Context, c *tasks.Client) (call, func(context.Context) error, error) {
	const value = 42
	ns := c.Namespace("get")
	return func(ctx context.Context, done func(error)) error {
		return ns.VariableAsync(ctx, "k", func(v *tasks.Variable, err error) {
			var n int
			if err == nil {
				err = json.Unmarshal(v.JSON, &n)
			}
			if err == nil && n != value {
				err = fmt.Errorf("%w: the variable is %d, not %d", ErrWrong, n, value)
			}
			done(err)
		})
	}, nothingToCheck, ns.Set(ctx, "k", value)
}
