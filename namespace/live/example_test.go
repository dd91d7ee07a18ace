package live_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"

	"farm/namespace"
	"farm/namespace/live"
)

// A cell changes a namespace; its delta is what has to be stored. Another context goes on from there.
func ExampleContext_Run() {
	ctx := context.Background()
	items := namespace.Items{}
	for _, cell := range []string{
		"words := map[string]int{}\nfunc count(w string) int { words[w]++; return words[w] }",
		`count("a") + count("b") + count("a")`,
		"words",
	} {
		c := live.New(live.Options{Stdout: os.Stdout})
		if err := c.Restore(items); err != nil {
			fmt.Println(err)
			return
		}
		r, err := c.Run(ctx, namespace.Run{Source: cell})
		if err != nil {
			fmt.Println(err)
			return
		}
		r.Delta.Apply(items)
		fmt.Printf("%s changed %d\n", r.JSON, len(r.Delta.Put)) // the first one also the name of the engine
	}
	// Output:
	//  changed 3
	// 4 changed 1
	// {"a":2,"b":1} changed 0
}

// One function over many inputs: compiled once, called once per input.
func ExampleContext_Run_call() {
	c := live.New(live.Options{})
	r, err := c.Run(context.Background(), namespace.Run{
		Source:  "func square(x int) int { return x * x }",
		Call:    "square",
		Inputs:  []json.RawMessage{[]byte("3"), []byte("4")},
		Discard: true,
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, x := range r.Results {
		fmt.Println(string(x.JSON))
	}
	// Output:
	// 9
	// 16
}
