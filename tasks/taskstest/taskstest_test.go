package taskstest_test

import (
	"context"
	"testing"
	"time"

	"go.uber.org/goleak"

	"farm/tasks"
	"farm/tasks/taskstest"
	"farm/tasks/taskstest/conform"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestConformance(t *testing.T) { conform.Run(t, taskstest.New(t).Addr()) }

// The clock can be moved: a week passes at once.
func TestAdvance(t *testing.T) {
	farm := taskstest.New(t)
	mux := tasks.NewMux()
	tasks.Handle(mux, "remind", func(context.Context, string) (int, error) { return 1, nil })
	farm.Serve(mux, tasks.WorkerOptions{})
	const week = 7 * 24 * time.Hour
	before := farm.Now()
	h, err := tasks.Submit(t.Context(), farm.Client(), "remind", "tea", tasks.Task{Delay: week})
	if err != nil {
		t.Fatal(err)
	}
	if i, err := h.Get(t.Context()); err != nil || i.State != tasks.Queued {
		t.Fatalf("%+v, %v", i, err)
	}
	farm.Advance(week)
	i, err := h.Wait(t.Context())
	if err != nil || i.Finished.Before(before.Add(week)) {
		t.Fatalf("%+v, %v", i, err)
	}
}

// It is fast enough to be had for each test.
func TestStartsAtOnce(t *testing.T) {
	began := time.Now()
	const farms = 20
	for range farms {
		f, err := taskstest.Start()
		if err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if took := time.Since(began) / farms; took > time.Second {
		t.Errorf("a farm takes %v", took)
	} else {
		t.Logf("a farm takes %v", took)
	}
}

func TestServeTellsWrongOptions(t *testing.T) {
	farm := taskstest.New(t)
	defer func() {
		if recover() == nil {
			t.Error("a worker without handlers was started")
		}
	}()
	farm.Serve(tasks.NewMux(), tasks.WorkerOptions{})
}
