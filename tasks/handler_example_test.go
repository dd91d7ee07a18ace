package tasks_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"strings"
	"time"

	"farm/tasks"
	"farm/tasks/taskstest"
)

// inMemory is a farm that serves the handlers; a program would use tasks.Dial.
func inMemory(mux *tasks.Mux) (farm *taskstest.Farm, c *tasks.Client) {
	farm, err := taskstest.Start()
	if err != nil {
		log.Fatal(err)
	}
	farm.Serve(mux, tasks.WorkerOptions{Slots: 2})
	return farm, farm.Client()
}

type order struct {
	Item  string
	Count int
}

type receipt struct{ Text string }

// A handler is a function with a name. Whoever knows the name calls it through the
// farm, from any program.
func ExampleHandle() {
	mux := tasks.NewMux()
	tasks.Handle(mux, "order", func(_ context.Context, o order) (receipt, error) {
		return receipt{fmt.Sprintf("%d × %s", o.Count, o.Item)}, nil
	})
	farm, c := inMemory(mux)
	defer farm.Close()

	r, err := tasks.Call[receipt](context.Background(), c, "order", order{"apple", 3}, tasks.Task{})
	fmt.Println(r.Text, err)
	// Output: 3 × apple <nil>
}

// Serve is the main function of a worker: it ends when the context does, after what
// runs has come to its end.
func ExampleClient_Serve() {
	mux := tasks.NewMux()
	tasks.Handle(mux, "upper", func(_ context.Context, s string) (string, error) { return strings.ToUpper(s), nil })
	farm, err := taskstest.Start()
	if err != nil {
		log.Fatal(err)
	}
	defer farm.Close()

	ctx, stop := context.WithCancel(context.Background()) // of a signal, in a program
	served := make(chan error)
	go func() { served <- farm.Client().Serve(ctx, mux, tasks.WorkerOptions{Slots: 8}) }()

	s, err := tasks.Call[string](context.Background(), farm.Client(), "upper", "hello", tasks.Task{})
	fmt.Println(s, err)
	stop()
	fmt.Println(<-served)
	// Output:
	// HELLO <nil>
	// <nil>
}

// The result of a task can be had later, by a program that knows its id.
func ExampleResult() {
	mux := tasks.NewMux()
	tasks.Handle(mux, "double", func(_ context.Context, n int) (int, error) { return 2 * n, nil })
	farm, c := inMemory(mux)
	defer farm.Close()

	ctx := context.Background()
	if _, err := tasks.Submit(ctx, c, "double", 21, tasks.Task{ID: "answer"}); err != nil {
		log.Fatal(err)
	}
	n, err := tasks.Result[int](ctx, c, "answer")
	fmt.Println(n, err)
	// Output: 42 <nil>
}

// Many calls are asked for at once. With an ID, the same call again submits nothing
// twice.
func ExampleSubmitMany() {
	mux := tasks.NewMux()
	tasks.Handle(mux, "square", func(_ context.Context, n int) (int, error) { return n * n, nil })
	farm, c := inMemory(mux)
	defer farm.Close()

	ctx := context.Background()
	list, err := tasks.SubmitMany(ctx, c, "square", []int{1, 2, 3}, tasks.Task{ID: "monday"})
	if err != nil {
		log.Fatal(err)
	}
	for _, h := range list {
		n, err := tasks.Result[int](ctx, c, h.ID)
		fmt.Println(h.ID, n, err)
	}
	// Output:
	// monday-0 1 <nil>
	// monday-1 4 <nil>
	// monday-2 9 <nil>
}

// An error is tried again while Retries are left. DoNotRetry says that it is no use.
func ExampleDoNotRetry() {
	mux := tasks.NewMux()
	tasks.Handle(mux, "charge", func(ctx context.Context, card string) (string, error) {
		if card == "stolen" {
			return "", tasks.DoNotRetry(errors.New("the card is not accepted"))
		}
		if a := tasks.FromContext(ctx); a.Number < 3 {
			return "", fmt.Errorf("the bank did not answer attempt %d", a.Number)
		}
		return "charged", nil
	})
	farm, c := inMemory(mux)
	defer farm.Close()

	ctx := context.Background()
	fmt.Println(tasks.Call[string](ctx, c, "charge", "good", tasks.Task{Retries: 5}))
	_, err := tasks.Call[string](ctx, c, "charge", "stolen", tasks.Task{Retries: 5})
	fmt.Println(err)
	// Output:
	// charged <nil>
	// error: the card is not accepted
}

// A handler can put its task off. That is no failure.
func ExampleSnooze() {
	mux := tasks.NewMux()
	looked := make(chan bool, 2)
	tasks.Handle(mux, "ship", func(ctx context.Context, _ string) (string, error) {
		looked <- true
		if tasks.FromContext(ctx).Number == 1 {
			return "", tasks.Snooze(24 * time.Hour) // the shop is closed
		}
		return "shipped", nil
	})
	farm, c := inMemory(mux)
	defer farm.Close()

	ctx := context.Background()
	h, err := tasks.Submit(ctx, c, "ship", "parcel", tasks.Task{})
	if err != nil {
		log.Fatal(err)
	}
	<-looked
	if _, err := farm.Settled(ctx, h.ID); err != nil { // its report is on its way
		log.Fatal(err)
	}
	farm.Advance(24 * time.Hour)
	fmt.Println(tasks.Result[string](ctx, c, h.ID))
	// Output: shipped <nil>
}

// A handler knows its attempt, and says how far it is to whoever watches.
func ExampleFromContext() {
	mux := tasks.NewMux()
	tasks.Handle(mux, "copy", func(ctx context.Context, files []string) (int, error) {
		a := tasks.FromContext(ctx)
		for i, f := range files {
			a.Progress(int64(i), int64(len(files)), f)
			a.Log("copying %s, attempt %d", f, a.Number)
		}
		return len(files), nil
	})
	farm, c := inMemory(mux)
	defer farm.Close()

	ctx := context.Background()
	h, err := tasks.Submit(ctx, c, "copy", []string{"a.txt", "b.txt"}, tasks.Task{})
	if err != nil {
		log.Fatal(err)
	}
	for e, err := range h.Watch(ctx) {
		if err != nil {
			log.Fatal(err)
		}
		if e.Task != nil { // the last event has all that was printed
			fmt.Print(e.Task.Stdout)
		}
	}
	// Output:
	// copying a.txt, attempt 1
	// copying b.txt, attempt 1
}

// Middleware goes around every handler: for logging, metrics, transactions.
func ExampleMux_Use() {
	mux := tasks.NewMux()
	mux.Use(func(next tasks.HandlerFunc) tasks.HandlerFunc {
		return func(ctx context.Context, in json.RawMessage) (json.RawMessage, error) {
			out, err := next(ctx, in)
			fmt.Printf("%s(%s) = %s, %v\n", tasks.FromContext(ctx).Handler, in, out, err)
			return out, err
		}
	})
	tasks.Handle(mux, "negate", func(_ context.Context, n int) (int, error) { return -n, nil })
	farm, c := inMemory(mux)
	defer farm.Close()

	_, err := tasks.Call[int](context.Background(), c, "negate", 7, tasks.Task{})
	fmt.Println(err)
	// Output:
	// negate(7) = -7, <nil>
	// <nil>
}

// A handler that can hang promises a sign of life; one that gives none has failed,
// and is tried again.
func ExampleStuckAfter() {
	mux := tasks.NewMux()
	tasks.Handle(mux, "download", func(ctx context.Context, _ string) (string, error) {
		if tasks.FromContext(ctx).Number == 1 {
			<-ctx.Done() // the server does not answer
			return "", context.Cause(ctx)
		}
		return "downloaded", nil
	}, tasks.StuckAfter(50*time.Millisecond))
	farm, c := inMemory(mux)
	defer farm.Close()

	s, err := tasks.Call[string](context.Background(), c, "download", "big.iso", tasks.Task{ID: "big", Retries: 1})
	fmt.Println(s, err)
	i, _ := c.Get(context.Background(), "big")
	fmt.Println(i.Causes[0])
	// Output:
	// downloaded <nil>
	// attempt 1: stuck: it gave no sign of life for 50ms
}

// The context of a handler ends when its task is cancelled.
func ExampleSubmitted_Cancel() {
	mux := tasks.NewMux()
	began := make(chan bool)
	tasks.Handle(mux, "wait", func(ctx context.Context, _ int) (int, error) {
		close(began)
		<-ctx.Done()
		return 0, context.Cause(ctx)
	})
	farm, c := inMemory(mux)
	defer farm.Close()

	ctx := context.Background()
	h, err := tasks.Submit(ctx, c, "wait", 1, tasks.Task{})
	if err != nil {
		log.Fatal(err)
	}
	<-began
	if _, err := h.Cancel(ctx); err != nil {
		log.Fatal(err)
	}
	_, err = h.Wait(ctx)
	fmt.Println(errors.Is(err, tasks.ErrCancelled))
	// Output: true
}

// What a handler submits is submitted with its success, in one step: once, or not at
// all. What comes after others is submitted with them.
func ExampleAttempt_Submit() {
	mux := tasks.NewMux()
	tasks.Handle(mux, "bake", func(_ context.Context, what string) (string, error) { return what + " is baked", nil })
	tasks.Handle(mux, "menu", func(ctx context.Context, _ string) (string, error) {
		a := tasks.FromContext(ctx)
		bread, err := a.Submit(tasks.Task{Handler: "bake", Input: json.RawMessage(`"bread"`), Queue: "oven"})
		if err != nil {
			return "", err
		}
		return a.Submit(tasks.Task{Handler: "bake", Input: json.RawMessage(`"cake"`), Queue: "oven", After: []string{bread}})
	})
	farm, c := inMemory(mux)
	defer farm.Close()

	ctx := context.Background()
	cake, err := tasks.Call[string](ctx, c, "menu", "", tasks.Task{ID: "sunday"})
	fmt.Println(cake, err)
	text, err := tasks.Result[string](ctx, c, cake)
	fmt.Println(text, err)
	// Output:
	// sunday/2 <nil>
	// cake is baked <nil>
}
