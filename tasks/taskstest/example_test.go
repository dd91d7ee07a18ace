package taskstest_test

import (
	"context"
	"fmt"
	"log"
	"time"

	"farm/tasks"
	"farm/tasks/taskstest"
)

// A week passes in a moment.
func ExampleFarm_Advance() {
	farm, err := taskstest.Start() // in a test: taskstest.New(t)
	if err != nil {
		log.Fatal(err)
	}
	defer farm.Close()
	mux := tasks.NewMux()
	tasks.Handle(mux, "remind", func(_ context.Context, what string) (string, error) { return what + "!", nil })
	farm.Serve(mux, tasks.WorkerOptions{})

	ctx := context.Background()
	h, err := tasks.Submit(ctx, farm.Client(), "remind", "water the plants", tasks.Task{Delay: 7 * 24 * time.Hour})
	if err != nil {
		log.Fatal(err)
	}
	i, err := h.Get(ctx)
	fmt.Println(i.State, err)
	farm.Advance(7 * 24 * time.Hour)
	fmt.Println(tasks.Result[string](ctx, farm.Client(), h.ID))
	// Output:
	// queued <nil>
	// water the plants! <nil>
}
