package main

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"farm/tasks"
	"farm/tasks/taskstest"
)

// A handler is a function: it can be tested as one.
func TestThumbnail(t *testing.T) {
	dir, out := t.TempDir(), t.TempDir()
	if err := generate(dir); err != nil {
		t.Fatal(err)
	}
	got, err := thumbnail(t.Context(), Request{File: filepath.Join(dir, "waves00.png"), Out: out, Side: 64})
	if err != nil || got.Width != 64 || got.Height != 48 {
		t.Fatalf("%+v, %v", got, err)
	}
	if _, err := os.Stat(got.File); err != nil {
		t.Error(err)
	}
}

// On a farm in memory all that a farm does around it is there as well.
func TestThumbnails(t *testing.T) {
	dir, out := t.TempDir(), t.TempDir()
	if err := generate(dir); err != nil {
		t.Fatal(err)
	}
	farm := taskstest.New(t)
	farm.Serve(handlers(), tasks.WorkerOptions{})
	got, err := tasks.Call[Thumbnail](t.Context(), farm.Client(), "thumbnail", Request{File: filepath.Join(dir, "waves11.png"), Out: out, Side: 64}, tasks.Task{})
	if err != nil || got.Width != 62 || got.Height != 30 {
		t.Fatalf("%+v, %v", got, err)
	}
	_, err = tasks.Call[Thumbnail](t.Context(), farm.Client(), "thumbnail", Request{File: filepath.Join(dir, "broken.png"), Out: out, Side: 64}, tasks.Task{Retries: 9})
	var failed *tasks.TaskError
	if !errors.As(err, &failed) {
		t.Fatal(err)
	}
	if i, err := farm.Client().Get(t.Context(), failed.Task); err != nil || i.Attempt != 1 {
		t.Errorf("a file that is no picture was tried %d times, %v", i.Attempt, err)
	}
}
