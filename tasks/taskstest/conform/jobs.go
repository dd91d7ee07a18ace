package conform

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"testing"

	"farm/tasks"
)

// mending is a handler that fails until it is told to work.
func mending(mux *tasks.Mux, name string) (mended *atomic.Bool) {
	mended = &atomic.Bool{}
	tasks.Handle(mux, name, func(_ context.Context, in string) (string, error) {
		if !mended.Load() {
			return "", tasks.DoNotRetry(errors.New("broken"))
		}
		return in, nil
	})
	return mended
}

func testRetryJob(t *testing.T, s *suite) {
	mux, name := tasks.NewMux(), handler()
	mended := mending(mux, name)
	s.serve(t, mux, tasks.WorkerOptions{})
	id, err := s.OpenJob(t.Context(), tasks.JobSpec{})
	if err != nil {
		t.Fatal(err)
	}
	list, err := tasks.SubmitMany(t.Context(), s.Client, name, []string{"a", "b"}, tasks.Task{Job: id})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.SealJob(t.Context(), id, len(list)); err != nil {
		t.Fatal(err)
	}
	if j, err := s.WaitJob(t.Context(), id); err != nil || j.State != "failed" || j.Failed != 2 {
		t.Fatalf("%+v, %v", j, err)
	}
	var failed []string
	for f, err := range s.Failures(t.Context(), id) {
		if err != nil || f.Err.Message != "broken" {
			t.Fatalf("%v, %v", f, err)
		}
		failed = append(failed, string(f.Input))
	}
	if slices.Sort(failed); !slices.Equal(failed, []string{`"a"`, `"b"`}) {
		t.Errorf("what failed had the inputs %v", failed)
	}
	mended.Store(true)
	if _, err := s.RetryJob(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	if j, err := s.WaitJob(t.Context(), id); err != nil || j.State != "succeeded" || j.Retries != 1 {
		t.Errorf("%+v, %v", j, err)
	}
	jobs, err := s.Jobs(t.Context(), tasks.JobFilter{State: "succeeded", Limit: 1000})
	if err != nil || !slices.ContainsFunc(jobs, func(j *tasks.Job) bool { return j.ID == id }) {
		t.Errorf("the job is not listed: %v", err)
	}
}
