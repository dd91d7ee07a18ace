package tasks

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"farm/api"
)

// jobFarm has jobs of a map that was handed over: it answers submits at once and
// waits as if the tasks had been done.
type jobFarm struct {
	mu     sync.Mutex
	job    *api.Job
	open   *api.OpenJob
	tasks  map[string]*api.Submit
	failAt int // the task that begins with this input fails
	refuse int // submits after this many are refused; 0: none
	cancel bool
}

func (f *jobFarm) answer(n *fakeNode, st *fakeStream, c *api.Call) *api.Reply {
	f.mu.Lock()
	defer f.mu.Unlock()
	reply := func(state string) *api.Reply {
		f.job.State = state
		return &api.Reply{Result: &api.Reply_Job{Job: &api.Job{Id: f.job.Id, State: state, Total: f.job.Total}}}
	}
	switch op := c.Op.(type) {
	case *api.Call_Status:
		return &api.Reply{Result: &api.Reply_Status{Status: &api.Status{Workers: []*api.WorkerInfo{{Id: "w", Slots: 2}}}}}
	case *api.Call_OpenJob:
		f.open, f.job = op.OpenJob, &api.Job{Id: op.OpenJob.Id}
		return reply("open")
	case *api.Call_SealJob:
		f.job.Total = op.SealJob.Total
		return reply("running")
	case *api.Call_CancelJob:
		f.cancel = true
		return reply("cancelled")
	case *api.Call_GetJob:
		if f.job == nil || op.GetJob.Id != f.job.Id {
			return failure(api.Code_NOT_FOUND, "no job")
		}
		return reply(f.job.State)
	case *api.Call_ListJobs:
		return &api.Reply{Result: &api.Reply_Jobs{Jobs: &api.JobList{Jobs: []*api.Job{{Id: fmt.Sprint(op.ListJobs.State, op.ListJobs.Limit), Total: 3}}}}}
	case *api.Call_Submit:
		if f.refuse > 0 && len(f.tasks) >= f.refuse {
			return failure(api.Code_LIMIT, "too many tasks")
		}
		f.tasks[op.Submit.Id] = op.Submit
		return &api.Reply{Result: &api.Reply_Task{Task: &api.Task{Id: op.Submit.Id, State: "queued"}}}
	case *api.Call_GetTask:
		s := f.tasks[op.GetTask.Id]
		if s == nil {
			return failure(api.Code_NOT_FOUND, "no task")
		}
		return &api.Reply{Result: &api.Reply_Task{Task: &api.Task{Id: s.Id, Job: s.Job, Inputs: s.Work.Inputs, First: s.Work.First}}}
	case *api.Call_Wait:
		s := f.tasks[op.Wait.Id]
		if s == nil {
			return failure(api.Code_NOT_FOUND, "no task")
		}
		x := &api.Task{Id: op.Wait.Id, State: "succeeded"}
		if f.failAt > 0 && int(s.Work.First) == f.failAt {
			x.Job, x.State, x.Error = s.Job, "failed", &api.TaskError{Kind: "call", Message: "bad input"}
			return &api.Reply{Result: &api.Reply_Task{Task: x}}
		}
		for _, in := range s.Work.Inputs {
			x.Results = append(x.Results, fmt.Appendf(nil, "[%s]", in))
		}
		return &api.Reply{Result: &api.Reply_Task{Task: x}}
	}
	return usual(n, st, c)
}

// collect ranges over results; it returns how many were right before the end.
func collect(t *testing.T, c *Client, id string) (n int, err error) {
	t.Helper()
	for j, e := range c.JobResults(testContext(t), id) {
		if e != nil {
			return n, e
		}
		if want := fmt.Sprintf("[%d]", n); string(j) != want {
			t.Fatalf("result %d is %s", n, j)
		}
		n++
	}
	return n, nil
}

// A map that is handed over is whole in the farm, in tasks that are small first,
// and anybody who knows its id gets the results in order.
func TestSubmitMapAndItsResults(t *testing.T) {
	for _, chunk := range []int{0, 7} {
		f := &jobFarm{tasks: map[string]*api.Submit{}}
		n := startFake(t, f.answer)
		run := dialFake(t, Options{}, n).Map(Map{ID: "j", Call: "f", Source: "s", Chunk: chunk, Retries: 2}, Values(numbers(5000)))
		job, err := run.Submit(testContext(t))
		if err != nil || job.State != "running" || int(job.Total) != len(f.tasks) || f.open.Spec.Call != "f" {
			t.Fatalf("%+v, %v", job, err)
		}
		if sub, done := run.Progress(); sub != 5000 || done != 5000 {
			t.Errorf("%d submitted, %d done", sub, done)
		}
		sizes := []int{}
		for first := 0; first < 5000; {
			s := f.tasks[fmt.Sprintf("j.%d", first)]
			if s == nil || s.Job != "j" || s.Wait || s.Retries != 2 {
				t.Fatalf("task of input %d: %v", first, s)
			}
			sizes = append(sizes, len(s.Work.Inputs))
			first += len(s.Work.Inputs)
		}
		switch {
		case chunk == 0 && (sizes[0] != 1 || slices.Max(sizes) != MaxChunk || len(sizes) > 100 || !slices.IsSorted(sizes[:len(sizes)-1])):
			t.Errorf("chunks %v", sizes)
		case chunk > 0 && sizes[0] != chunk:
			t.Errorf("chunks %v", sizes)
		}
		other := dialFake(t, Options{}, n)
		for range 2 {
			if got, err := collect(t, other, "j"); got != 5000 || err != nil {
				t.Errorf("%d results, %v", got, err)
			}
		}
		for range other.JobResults(testContext(t), "j") {
			break // and no more
		}
	}
}

func TestJobResultsEndAsTheyMust(t *testing.T) {
	f := &jobFarm{tasks: map[string]*api.Submit{}, failAt: 30}
	c := dialFake(t, Options{}, startFake(t, f.answer))
	if _, err := c.Map(Map{ID: "j", Call: "f", Chunk: 10}, Values(numbers(100))).Submit(testContext(t)); err != nil {
		t.Fatal(err)
	}
	var failed *TaskError
	if n, err := collect(t, c, "j"); n != 30 || !errors.As(err, &failed) || failed.Task != "j.30" {
		t.Errorf("a failure: %d, %v", n, err)
	}
	f.failAt = 0
	delete(f.tasks, "j.50")
	if n, err := collect(t, c, "j"); n != 50 || !errors.Is(err, ErrNotFound) {
		t.Errorf("a task that is gone: %d, %v", n, err)
	}
	f.job.State = "open"
	if n, err := collect(t, c, "j"); n != 50 || !errors.Is(err, ErrConflict) {
		t.Errorf("an open job: %d, %v", n, err)
	}
	if n, err := collect(t, c, "other"); n != 0 || !errors.Is(err, ErrNotFound) {
		t.Errorf("no job: %d, %v", n, err)
	}
	f.job.State, f.job.Total = "succeeded", 0
	if n, err := collect(t, c, "j"); n != 0 || err != nil {
		t.Errorf("a job of nothing: %d, %v", n, err)
	}
	list, err := c.Jobs(testContext(t), JobFilter{State: "open", Limit: 7})
	if err != nil || len(list) != 1 || list[0].ID != "open7" || list[0].Total != 3 {
		t.Errorf("jobs: %v, %v", list, err)
	}
}

// When it cannot be handed over whole, there is no job left that nobody knows of.
func TestSubmitMapThatFails(t *testing.T) {
	bad := func(yield func(json.RawMessage, error) bool) {
		_ = yield(json.RawMessage("1"), nil) && yield(json.RawMessage("nonsense"), nil)
	}
	for name, c := range map[string]struct {
		refuse int
		spec   Map
		in     func(func(json.RawMessage, error) bool)
		want   error
	}{
		"limit":     {5, Map{Call: "f", Chunk: 1}, Values(numbers(1000)), ErrLimit},
		"not JSON":  {0, Map{Call: "f"}, bad, ErrInvalid},
		"bad chunk": {0, Map{Call: "f", Chunk: MaxChunk + 1}, Values(numbers(1)), ErrInvalid},
	} {
		f := &jobFarm{tasks: map[string]*api.Submit{}, refuse: c.refuse}
		client := dialFake(t, Options{}, startFake(t, f.answer))
		if _, err := client.Map(c.spec, c.in).Submit(testContext(t)); !errors.Is(err, c.want) || !strings.HasPrefix(err.Error(), "map ") {
			t.Errorf("%s: %v", name, err)
		}
		if f.cancel == (f.job == nil) {
			t.Errorf("%s: cancelled is %v", name, f.cancel)
		}
	}
}

// Nobody waits for acknowledgements that do not come longer than the context.
func TestSubmitMapEndsWithItsContext(t *testing.T) {
	f := &jobFarm{tasks: map[string]*api.Submit{}}
	n := startFake(t, func(n *fakeNode, st *fakeStream, c *api.Call) *api.Reply {
		if c.GetSubmit() != nil {
			return nil
		}
		return f.answer(n, st, c)
	})
	c := dialFake(t, Options{}, n)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := c.Map(Map{Call: "f"}, Values(numbers(3))).Submit(ctx); !errors.Is(err, ErrTimeout) || !f.cancel {
		t.Errorf("%v, cancelled: %v", err, f.cancel)
	}
}
