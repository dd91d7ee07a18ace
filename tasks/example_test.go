package tasks_test

import (
	"context"
	"errors"
	"fmt"
	"log"

	"farm/tasks"
)

// dial connects the examples to a farm.
func dial() (c *tasks.Client, stop func()) {
	addr, stopFarm := tasks.DictFarm()
	c, err := tasks.Dial(context.Background(), addr)
	if err != nil {
		log.Fatal(err)
	}
	return c, func() { c.Close(); stopFarm() }
}

// A sequence is spread over four namespaces, worked on in all of them, and
// collected again.
func ExampleScatter() {
	ctx := context.Background()
	c, stop := dial()
	defer stop()

	v, err := c.Select(ctx, "c{0..3}")
	if err != nil {
		log.Fatal(err)
	}
	if err := tasks.Scatter(ctx, v, "xs", []int{2, 3, 5, 7, 11, 13}); err != nil {
		log.Fatal(err)
	}
	ran, err := v.Exec(ctx, "len(xs)")
	if err != nil {
		log.Fatal(err)
	}
	for i, name := range v.Names() {
		fmt.Println(name, "has", string(ran[i].Value))
	}
	// Output:
	// c0 has 2
	// c1 has 2
	// c2 has 1
	// c3 has 1
}

// What was scattered comes back in order, from the same namespaces however they
// are named.
func ExampleGather() {
	ctx := context.Background()
	c, stop := dial()
	defer stop()

	if err := tasks.Scatter(ctx, c.View("c0", "c1", "c2"), "words", []string{"a", "stitch", "in", "time"}); err != nil {
		log.Fatal(err)
	}
	v, err := c.Select(ctx, "c*")
	if err != nil {
		log.Fatal(err)
	}
	words, err := tasks.Gather[string](ctx, v, "words")
	fmt.Println(words, err)
	// Output: [a stitch in time] <nil>
}

// Push gives each namespace the same value, Pull reads one of each.
func ExamplePull() {
	ctx := context.Background()
	c, stop := dial()
	defer stop()

	v := c.View("left", "right")
	if err := v.Push(ctx, "limit", 10); err != nil {
		log.Fatal(err)
	}
	if err := c.Namespace("right").Set(ctx, "limit", 20); err != nil {
		log.Fatal(err)
	}
	limits, err := tasks.Pull[int](ctx, v, "limit")
	fmt.Println(limits, err)
	// Output: [10 20] <nil>
}

// A view goes on after a failure and says where there was one.
func ExampleViewError() {
	ctx := context.Background()
	c, stop := dial()
	defer stop()

	v := c.View("a", "b", "c")
	if err := c.View("a", "c").Push(ctx, "xs", []int{1, 2}); err != nil {
		log.Fatal(err)
	}
	ran, err := v.Exec(ctx, "len(xs)")
	var failed *tasks.ViewError
	if errors.As(err, &failed) {
		for _, f := range failed.Failed {
			fmt.Println("failed:", f)
		}
	}
	fmt.Println("c:", string(ran[2].Value))
	// Output:
	// failed: b: compile: undefined: xs
	// c: 2
}
