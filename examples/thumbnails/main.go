// Command thumbnails makes small pictures of large ones with a farm: handlers in a
// worker of its own, and a client that asks for one call for each picture.
//
//	thumbnails generate DIR      pictures to work on, always the same ones
//	thumbnails work              a worker, until it is told to stop
//	thumbnails make DIR OUT      a thumbnail of each picture in DIR
//
// The farm is where FARM_ADDR says. Worker and client see the same folders.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"farm/tasks"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "thumbnails:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	switch {
	case len(args) == 2 && args[0] == "generate":
		return generate(args[1])
	case len(args) == 1 && args[0] == "work":
		return work(ctx)
	case len(args) == 3 && args[0] == "make":
		return makeAll(ctx, args[1], args[2])
	}
	return fmt.Errorf("usage: thumbnails generate DIR | work | make DIR OUT")
}

func dial(ctx context.Context) (*tasks.Client, error) {
	return tasks.Dial(ctx, strings.Split(os.Getenv("FARM_ADDR"), ",")...)
}
