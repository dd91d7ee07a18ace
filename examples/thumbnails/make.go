package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"farm/tasks"
)

// side is how large thumbnails are, in pixels.
const side = 64

// makeAll asks for a thumbnail of each picture and tells what came of it, in the
// order of the names. Tasks are durable: when this program is stopped meanwhile,
// the same command, within the time that farm keeps what is finished, goes on
// where it was.
func makeAll(ctx context.Context, dir, out string) error {
	dir, err1 := filepath.Abs(dir)
	out, err2 := filepath.Abs(out)
	files, err3 := filepath.Glob(filepath.Join(dir, "*.png"))
	if err := errors.Join(err1, err2, err3, os.MkdirAll(out, 0o755)); err != nil {
		return err
	}
	c, err := dial(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	requests := make([]Request, len(files))
	for i, f := range files {
		requests[i] = Request{File: f, Out: out, Side: side}
	}
	submitted, err := tasks.SubmitMany(ctx, c, "thumbnail", requests, tasks.Task{Retries: 3})
	if err != nil {
		return err
	}
	for i, h := range submitted {
		t, err := tasks.Result[Thumbnail](ctx, c, h.ID)
		var failed *tasks.TaskError
		switch {
		case errors.As(err, &failed):
			fmt.Printf("%s: failed: %s\n", filepath.Base(files[i]), failed.Message)
		case err != nil:
			return err
		default:
			fmt.Printf("%s: %d by %d, %s\n", filepath.Base(t.File), t.Width, t.Height, t.Sum)
		}
	}
	return nil
}
