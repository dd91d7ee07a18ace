package embedded_test

import (
	"context"
	"fmt"
	"os"

	"farm/embedded"
	"farm/tasks"
)

// A program begins with embedded.Main and opens a folder. What it does in a
// namespace is there when the folder is opened again.
func Example() {
	// embedded.Main() comes first in main; in a test, in TestMain.
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "farm")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	for _, cell := range []string{"n := 41; n", "n++; n"} {
		farm, err := embedded.Open(ctx, dir, embedded.Options{})
		if err != nil {
			fmt.Println(err)
			return
		}
		info, err := farm.Client().Run(ctx, tasks.Task{Namespace: "counter", Source: cell})
		if err != nil {
			fmt.Println(err)
		} else {
			fmt.Printf("%s: %s\n", cell, info.Value)
		}
		if err := farm.Close(); err != nil {
			fmt.Println(err)
		}
	}
	// Output:
	// n := 41; n: 41
	// n++; n: 42
}
