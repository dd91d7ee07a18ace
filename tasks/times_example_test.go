package tasks_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"time"

	"farm/tasks"
	"farm/tasks/taskstest"
)

// A schedule submits its task once for each of its times. In a farm in memory a month
// passes in a moment.
func ExampleClient_Schedule() {
	ctx := context.Background()
	farm, err := taskstest.Start()
	if err != nil {
		log.Fatal(err)
	}
	defer farm.Close()
	c := farm.Client()

	// With no worker that has the handler the tasks wait.
	_, err = c.Schedule(ctx, tasks.Schedule{Name: "nightly", Spec: "30 2 * * *", Zone: "Europe/Berlin",
		Task: tasks.Task{Handler: "report", Input: []byte(`"yesterday"`), Retries: 3}})
	if err != nil {
		log.Fatal(err)
	}
	farm.Advance(30 * 24 * time.Hour)
	s, err := c.GetSchedule(ctx, "nightly")
	fmt.Println(s.Submitted, "tasks", err)
	// Output: 30 tasks <nil>
}

// A task can run after others: when all have succeeded, when one has, or when all have
// ended.
func ExampleWhen() {
	mux := tasks.NewMux()
	tasks.Handle(mux, "fetch", func(_ context.Context, site string) (int, error) {
		if site == "down.example" {
			return 0, errors.New("no answer")
		}
		return len(site), nil
	})
	tasks.Handle(mux, "summary", func(context.Context, string) (string, error) { return "done", nil })
	farm, c := inMemory(mux)
	defer farm.Close()

	ctx := context.Background()
	sites, err := tasks.SubmitMany(ctx, c, "fetch", []string{"up.example", "down.example"}, tasks.Task{})
	if err != nil {
		log.Fatal(err)
	}
	ids := []string{sites[0].ID, sites[1].ID}
	fmt.Println(tasks.Call[string](ctx, c, "summary", "", tasks.Task{After: ids, AfterWhen: tasks.AllFinished}))
	_, err = tasks.Call[string](ctx, c, "summary", "", tasks.Task{After: ids})
	var failed *tasks.TaskError
	fmt.Println(errors.As(err, &failed), failed.Kind)
	// Output:
	// done <nil>
	// true dependency
}

// A retry waits, longer each time, by the clock of the farm.
func ExampleTask_backoff() {
	mux := tasks.NewMux()
	tried := make(chan int, 3)
	tasks.Handle(mux, "call", func(ctx context.Context, _ string) (string, error) {
		n := tasks.FromContext(ctx).Number
		tried <- n
		if n < 3 {
			return "", errors.New("nobody answers")
		}
		return "hello", nil
	})
	farm, c := inMemory(mux)
	defer farm.Close()

	ctx := context.Background()
	h, err := tasks.Submit(ctx, c, "call", "grandmother", tasks.Task{Retries: 5, Backoff: time.Hour})
	if err != nil {
		log.Fatal(err)
	}
	for range 2 {
		fmt.Println("attempt", <-tried)
		if _, err := farm.Settled(ctx, h.ID); err != nil { // the failure is on its way to the farm
			log.Fatal(err)
		}
		farm.Advance(2 * time.Hour)
	}
	fmt.Println(tasks.Result[string](ctx, c, h.ID))
	// Output:
	// attempt 1
	// attempt 2
	// hello <nil>
}

// What failed is kept, and can be tried again when its cause is gone.
func ExampleClient_RetryAll() {
	mux := tasks.NewMux()
	paid := false
	tasks.Handle(mux, "ship", func(context.Context, int) (string, error) {
		if !paid {
			return "", tasks.DoNotRetry(errors.New("not paid"))
		}
		return "shipped", nil
	})
	farm, c := inMemory(mux)
	defer farm.Close()

	ctx := context.Background()
	_, err := tasks.Call[string](ctx, c, "ship", 1, tasks.Task{ID: "order-1"})
	fmt.Println(err)
	paid = true
	for id, err := range c.RetryAll(ctx, tasks.Filter{}) {
		fmt.Println("again:", id, err)
	}
	fmt.Println(tasks.Result[string](ctx, c, "order-1"))
	// Output:
	// error: not paid
	// again: order-1 <nil>
	// shipped <nil>
}

// Watching a task tells what it prints and how far it is, to its end.
func ExampleClient_Watch() {
	mux := tasks.NewMux()
	watched := make(chan bool)
	tasks.Handle(mux, "boil", func(ctx context.Context, _ string) (string, error) {
		<-watched
		tasks.FromContext(ctx).Progress(3, 4, "minutes")
		fmt.Fprintln(tasks.FromContext(ctx), "it boils")
		return "an egg", nil
	})
	farm, c := inMemory(mux)
	defer farm.Close()

	ctx := context.Background()
	h, err := tasks.Submit(ctx, c, "boil", "", tasks.Task{})
	if err != nil {
		log.Fatal(err)
	}
	close(watched)
	for e, err := range h.Watch(ctx) {
		switch {
		case err != nil:
			log.Fatal(err)
		case e.Progress != nil:
			log.Printf("%d of %d %s", e.Progress.Done, e.Progress.Total, e.Progress.Message)
		case e.Output != nil:
			log.Printf("%s", e.Output.Data)
		case e.Task != nil: // the last event
			fmt.Printf("%s %s, %s", e.Task.State, e.Task.Value, e.Task.Stdout)
		}
	}
	// Output: succeeded "an egg", it boils
}
