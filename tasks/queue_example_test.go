package tasks_test

import (
	"context"
	"fmt"
	"log"
	"time"

	"farm/tasks"
	"farm/tasks/taskstest"
)

// A queue has at most so many attempts at a time, and lets them begin at most so
// fast; and the same for each key in it.
func ExampleClient_SetQueue() {
	ctx := context.Background()
	farm, err := taskstest.Start()
	if err != nil {
		log.Fatal(err)
	}
	defer farm.Close()
	c := farm.Client()

	q, err := c.SetQueue(ctx, "mail", tasks.QueueChange{
		Concurrency:    new(4),
		Rate:           &tasks.Rate{Count: 10, Per: time.Second},
		KeyConcurrency: new(1), // of each domain
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(q.Name, q.Concurrency, q.Rate, q.KeyConcurrency, q.KeyRate)

	for _, domain := range []string{"example.org", "example.org", "example.net"} {
		if _, err := tasks.Submit(ctx, c, "send", domain, tasks.Task{Queue: "mail", Key: domain}); err != nil {
			log.Fatal(err)
		}
	}
	q, err = c.Queue(ctx, "mail")
	fmt.Println(q.Waiting, "wait,", q.Keys, "keys", err)
	// Output:
	// mail 4 10/s 1 none
	// 3 wait, 2 keys <nil>
}

// Of tasks with the same unique key there is one at a time. Who submits another
// gets the one there is.
func ExampleUnique() {
	ctx := context.Background()
	farm, err := taskstest.Start()
	if err != nil {
		log.Fatal(err)
	}
	defer farm.Close()

	nightly := tasks.Task{Unique: tasks.Unique{Key: "report", For: 24 * time.Hour}}
	first, err := tasks.Submit(ctx, farm.Client(), "report", "2026-01-31", nightly)
	if err != nil {
		log.Fatal(err)
	}
	second, err := tasks.Submit(ctx, farm.Client(), "report", "2026-01-31", nightly)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(first.Duplicate, second.Duplicate, first.ID == second.ID)
	// Output: false true true
}
