package tasks

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"time"

	"farm/api"
)

// JobSpec is what the tasks of a job share.
type JobSpec struct {
	ID     string // empty: NewID
	Source string // a program that declares Call, and FoldCall
	Call   string
	// FoldNamespace and FoldCall, when set, name a function that is called in a
	// namespace, exactly once with each result of the job's tasks.
	FoldNamespace string
	FoldCall      string
	// Files can be read by the code of every task, by name. At most MaxFiles bytes.
	Files map[string][]byte
}

// OpenJob makes a job, to which tasks can then be submitted, and returns its id.
func (c *Client) OpenJob(ctx context.Context, s JobSpec) (string, error) {
	job, err := c.openJob(ctx, s)
	if err != nil {
		return "", err
	}
	return job.ID, nil
}

func (c *Client) openJob(ctx context.Context, s JobSpec) (*Job, error) {
	if s.ID == "" {
		s.ID = NewID()
	}
	if err := checkFiles(s.Files); err != nil {
		return nil, err
	}
	return c.job(ctx, "open", s.ID, false, &api.Call{Op: &api.Call_OpenJob{OpenJob: &api.OpenJob{Id: s.ID,
		Spec: &api.JobSpec{Source: s.Source, Call: s.Call, FoldNamespace: s.FoldNamespace, FoldCall: s.FoldCall, Files: s.Files}}}})
}

// SealJob says that a job has that many tasks and no more will follow.
func (c *Client) SealJob(ctx context.Context, id string, tasks int) (*Job, error) {
	return c.job(ctx, "seal", id, false, &api.Call{Op: &api.Call_SealJob{SealJob: &api.SealJob{Id: id, Total: uint64(tasks)}}})
}

// Job returns what is known of a job now.
func (c *Client) Job(ctx context.Context, id string) (*Job, error) {
	return c.job(ctx, "get", id, false, &api.Call{Op: &api.Call_GetJob{GetJob: &api.GetJob{Id: id}}})
}

// WaitJob waits until all tasks of a sealed job, folds included, are finished.
func (c *Client) WaitJob(ctx context.Context, id string) (*Job, error) {
	return c.job(ctx, "wait for", id, true, &api.Call{Op: &api.Call_GetJob{GetJob: &api.GetJob{Id: id, Wait: true}}})
}

// CancelJob seals a job as it is and cancels its tasks.
func (c *Client) CancelJob(ctx context.Context, id string) (*Job, error) {
	return c.job(ctx, "cancel", id, false, &api.Call{Op: &api.Call_CancelJob{CancelJob: &api.CancelJob{Id: id}}})
}

func (c *Client) job(ctx context.Context, verb, id string, long bool, msg *api.Call) (*Job, error) {
	r, err := c.conn.do(ctx, msg, long)
	if err != nil {
		return nil, fmt.Errorf("%s job %s: %w", verb, id, err)
	}
	return newJob(r.GetJob()), nil
}

// JobFilter chooses jobs; empty fields choose all.
type JobFilter struct {
	State string // open, running, succeeded, failed, cancelled
	Limit int    // 0: 100; at most 1000
}

// Jobs returns jobs, the newest first: those that are not finished, and those that
// are kept.
func (c *Client) Jobs(ctx context.Context, f JobFilter) ([]*Job, error) {
	r, err := c.conn.do(ctx, &api.Call{Op: &api.Call_ListJobs{ListJobs: &api.ListJobs{State: f.State, Limit: uint32(max(f.Limit, 0))}}}, false)
	if err != nil {
		return nil, fmt.Errorf("list jobs: %w", err)
	}
	var out []*Job
	for _, j := range r.GetJobs().GetJobs() {
		out = append(out, newJob(j))
	}
	return out, nil
}

// Failures yields the inputs of a job that have no result and will not get one
// without RetryJob, with what they are and why; and the tasks of its fold that
// failed. Jobs of farms before this could be asked have none. An error that is not
// nil is the last thing it yields: ErrNotFound when there is no such job, or when
// some of the failed tasks are no longer kept.
func (c *Client) Failures(ctx context.Context, id string) iter.Seq2[*InputError, error] {
	return func(yield func(*InputError, error) bool) {
		lost := uint64(0)
		for from := uint64(0); ; {
			r, err := c.conn.do(ctx, &api.Call{Op: &api.Call_ListFailures{ListFailures: &api.ListFailures{Job: id, From: from}}}, false)
			if err != nil {
				yield(nil, fmt.Errorf("failures of job %s: %w", id, err))
				return
			}
			for _, f := range r.GetFailures().GetFailures() {
				if !yield(newInputError(f), nil) {
					return
				}
			}
			lost += r.GetFailures().GetLost()
			if from = r.GetFailures().GetNext(); from == 0 {
				break
			}
		}
		if lost > 0 {
			yield(nil, fmt.Errorf("failures of job %s: %w: %d tasks that failed are no longer kept", id, ErrNotFound, lost))
		}
	}
}

func newInputError(f *api.Failure) *InputError {
	e := &InputError{Task: f.GetTask(), Position: f.GetPosition(), Fold: f.GetFold(), Err: newTaskError(f.GetTask(), f.GetError())}
	if len(f.GetInput()) > 0 {
		e.Input = f.GetInput()
	}
	return e
}

// RetryJob tries again what failed of a job or was cancelled, each input in a task
// of its own, and feeds what comes of it to the job's fold. Results that are there
// stay, and are not folded again. It returns the job, running again; a job of which
// nothing failed stays as it is. ErrConflict: its tasks are still being submitted,
// or it is being cancelled.
func (c *Client) RetryJob(ctx context.Context, id string) (*Job, error) {
	job, err := c.Job(ctx, id)
	if err != nil {
		return nil, err
	}
	return c.job(ctx, "retry", id, false, &api.Call{Op: &api.Call_RetryJob{RetryJob: &api.RetryJob{Id: id, Round: job.Retries + 1}}})
}

// watchJobEvery is how often WatchJob looks.
const watchJobEvery = 500 * time.Millisecond

// WatchJob yields a job as it is now, and again as its counts change, until it is
// finished: the last that it yields is the finished job, or an error.
func (c *Client) WatchJob(ctx context.Context, id string) iter.Seq2[*Job, error] {
	return func(yield func(*Job, error) bool) {
		var last Job
		tick := time.NewTicker(watchJobEvery)
		defer tick.Stop()
		for {
			j, err := c.Job(ctx, id)
			if err != nil {
				yield(nil, err)
				return
			}
			if *j != last && !yield(j, nil) {
				return
			}
			if last = *j; !j.Finished.IsZero() {
				return
			}
			select {
			case <-tick.C:
			case <-ctx.Done():
				yield(nil, fmt.Errorf("watch job %s: %w", id, contextError(ctx)))
				return
			}
		}
	}
}

// JobHandle is a job by its id: all that can be asked of one. It needs no Close, and
// any number of them may be of the same job, in any program.
type JobHandle struct {
	ID string
	c  *Client
}

// JobHandle is the job with an id. It asks the farm nothing.
func (c *Client) JobHandle(id string) *JobHandle { return &JobHandle{id, c} }

// Handle is the map's job.
func (r *MapRun) Handle() *JobHandle { return r.c.JobHandle(r.ID) }

// Get returns what is known of the job now, as Client.Job does.
func (h *JobHandle) Get(ctx context.Context) (*Job, error) { return h.c.Job(ctx, h.ID) }

// Wait waits for the end of the job, as Client.WaitJob does.
func (h *JobHandle) Wait(ctx context.Context) (*Job, error) { return h.c.WaitJob(ctx, h.ID) }

// Watch yields the job as it goes on, as Client.WatchJob does.
func (h *JobHandle) Watch(ctx context.Context) iter.Seq2[*Job, error] { return h.c.WatchJob(ctx, h.ID) }

// Cancel seals the job and cancels its tasks, as Client.CancelJob does.
func (h *JobHandle) Cancel(ctx context.Context) (*Job, error) { return h.c.CancelJob(ctx, h.ID) }

// Retry tries again what failed of the job, as Client.RetryJob does.
func (h *JobHandle) Retry(ctx context.Context) (*Job, error) { return h.c.RetryJob(ctx, h.ID) }

// Failures yields what failed of the job, as Client.Failures does.
func (h *JobHandle) Failures(ctx context.Context) iter.Seq2[*InputError, error] {
	return h.c.Failures(ctx, h.ID)
}

// Results yields the results of the map in the order of its inputs, as
// Client.JobResults does.
func (h *JobHandle) Results(ctx context.Context) iter.Seq2[json.RawMessage, error] {
	return h.c.JobResults(ctx, h.ID)
}

// JobResults yields the results of a map, in the order of its inputs, to whoever
// knows the job's id, as often as they are asked for while its tasks are kept. It
// waits for results that are not there yet. For an input that the function failed
// with it yields an *InputError, and goes on with the next. Any other error is the
// last thing it yields: ErrConflict when all there is was yielded and the job's
// client has not submitted everything, ErrNotFound when its tasks are no longer
// kept or were not made by a map.
func (c *Client) JobResults(ctx context.Context, id string) iter.Seq2[json.RawMessage, error] {
	return func(yield func(json.RawMessage, error) bool) {
		if err := c.jobResults(ctx, id, yield); err != nil {
			yield(nil, fmt.Errorf("results of job %s: %w", id, err))
		}
	}
}

// jobResults goes from task to task: each is called after the position of its
// first input.
func (c *Client) jobResults(ctx context.Context, id string, yield func(json.RawMessage, error) bool) error {
	job, err := c.Job(ctx, id)
	if err != nil {
		return err
	}
	first := uint64(0)
	for n := uint64(0); job.more(first, n); n++ {
		i, err := c.Wait(ctx, chunkID(id, first))
		if i == nil && errors.Is(err, ErrNotFound) {
			// Its end may have come meanwhile, or its client may be at work on it.
			if job, err = c.Job(ctx, id); err != nil {
				return err
			}
			switch {
			case job.State == "open":
				return fmt.Errorf("%w: its client has not submitted everything yet", ErrConflict)
			case job.more(first, n):
				return fmt.Errorf("%w: the task of input %d", ErrNotFound, first)
			}
			return nil
		}
		if i == nil {
			return err
		}
		had, on, err := c.taskResults(ctx, i, yield)
		if err != nil || !on {
			return err
		}
		first += uint64(had)
	}
	return nil
}

// more tells whether a job has, or may come to have, more than its first inputs in
// some tasks.
func (j *Job) more(inputs, tasks uint64) bool {
	switch {
	case j.State == "open":
		return true
	case j.Inputs > 0:
		return inputs < j.Inputs
	}
	return tasks < j.Total
}

// taskResults yields what a finished task of a map gave, or for inputs that it
// failed with, what trying them again gave. It tells how many inputs that was, and
// whether more is wanted.
func (c *Client) taskResults(ctx context.Context, i *Info, yield func(json.RawMessage, error) bool) (n int, on bool, err error) {
	if i.State == Succeeded {
		for _, j := range i.Results {
			if !yield(j, nil) {
				return 0, false, nil
			}
		}
		if len(i.Results) == 0 {
			return 0, false, fmt.Errorf("%w: task %s has no results", ErrNotFound, i.ID)
		}
		return len(i.Results), true, nil
	}
	r, err := c.conn.do(ctx, &api.Call{Op: &api.Call_GetTask{GetTask: &api.GetTask{Id: i.ID, Inputs: true}}}, false)
	if err != nil {
		return 0, false, err
	}
	job, err := c.Job(ctx, i.Job)
	if err != nil {
		return 0, false, err
	}
	inputs := r.GetTask().GetInputs()
	for k := range inputs {
		j, failed, err := c.inputResult(ctx, i, r.GetTask(), k, job.Retries)
		switch {
		case err != nil:
			return 0, false, err
		case failed != nil && !yield(nil, failed), failed == nil && !yield(j, nil):
			return 0, false, nil
		}
	}
	if len(inputs) == 0 {
		return 0, false, i.Err()
	}
	return len(inputs), true, nil
}

// inputResult is what came of one input of a task that failed: of the task itself,
// or of the newest that tried the input again.
func (c *Client) inputResult(ctx context.Context, i *Info, t *api.Task, k int, rounds uint64) (json.RawMessage, *InputError, error) {
	if k < len(i.Results) && i.Results[k] != nil {
		return i.Results[k], nil, nil
	}
	failed := &InputError{Task: i.ID, Position: t.GetFirst() + uint64(k), Input: t.GetInputs()[k], Err: i.Error}
	for _, f := range t.GetFailed() {
		if int(f.GetIndex()) == k {
			failed.Err = newTaskError(i.ID, f.GetError())
		}
	}
	if failed.Err == nil {
		failed.Err = &TaskError{Task: i.ID, Kind: "cancelled"}
	}
	for round := rounds; round > 0; round-- {
		again, err := c.Wait(ctx, retriedID(i.ID, k, len(t.GetInputs()), round))
		switch {
		case again == nil && errors.Is(err, ErrNotFound):
			continue
		case again == nil:
			return nil, nil, err
		case again.State == Succeeded && len(again.Results) == 1:
			return again.Results[0], nil, nil
		case again.Error != nil:
			failed.Task, failed.Err = again.ID, again.Error
		}
		break
	}
	return nil, failed, nil
}

// retriedID is the id of the task that tries input k of n of a map's task again, in
// one round of retrying the job. The farm makes it.
func retriedID(task string, k, n int, round uint64) string {
	if n == 1 {
		return fmt.Sprintf("%s/r%d", task, round)
	}
	return fmt.Sprintf("%s/%d/r%d", task, k, round)
}
