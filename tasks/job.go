package tasks

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"

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
	// Engine runs the code, as in Task. In FoldNamespace it counts when that is empty.
	Engine string
}

// OpenJob makes a job, to which tasks can then be submitted, and returns its id.
func (c *Client) OpenJob(ctx context.Context, s JobSpec) (string, error) {
	if s.ID == "" {
		s.ID = NewID()
	}
	if err := checkFiles(s.Files); err != nil {
		return "", err
	}
	_, err := c.conn.do(ctx, &api.Call{Op: &api.Call_OpenJob{OpenJob: &api.OpenJob{Id: s.ID,
		Spec: &api.JobSpec{Source: s.Source, Call: s.Call, FoldNamespace: s.FoldNamespace, FoldCall: s.FoldCall, Files: s.Files, Engine: s.Engine}}}}, false)
	if err != nil {
		return "", fmt.Errorf("open job %s: %w", s.ID, err)
	}
	return s.ID, nil
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

// Jobs returns jobs, the newest first: those with unfinished tasks, and those
// that one of the newest 1000 finished tasks belongs to. Job finds every one that
// is kept.
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

// JobResults yields the results of a map, in the order of its inputs, to whoever
// knows the job's id, as often as they are asked for while its tasks are kept. It
// waits for results that are not there yet. An error is the last thing it yields: a
// *TaskError when the function failed on an input, ErrConflict when all there is
// was yielded and the job's client has not submitted everything, ErrNotFound when
// its tasks are no longer kept or were not made by a map.
func (c *Client) JobResults(ctx context.Context, id string) iter.Seq2[json.RawMessage, error] {
	return func(yield func(json.RawMessage, error) bool) {
		if err := c.jobResults(ctx, id, func(j json.RawMessage) bool { return yield(j, nil) }); err != nil {
			yield(nil, fmt.Errorf("results of job %s: %w", id, err))
		}
	}
}

// jobResults goes from task to task: each is called after the position of its
// first input.
func (c *Client) jobResults(ctx context.Context, id string, yield func(json.RawMessage) bool) error {
	job, err := c.Job(ctx, id)
	if err != nil {
		return err
	}
	first := 0
	for n := uint64(0); job.State == "open" || n < job.Total-job.Spawned; n++ {
		i, err := c.Wait(ctx, chunkID(id, uint64(first)))
		if errors.Is(err, ErrNotFound) && i == nil {
			// Its end may have come meanwhile, or its client may be at work on it.
			if job, err = c.Job(ctx, id); err != nil {
				return err
			}
			switch {
			case job.State == "open":
				return fmt.Errorf("%w: its client has not submitted everything yet", ErrConflict)
			case n < job.Total-job.Spawned:
				return fmt.Errorf("%w: the task of input %d", ErrNotFound, first)
			}
			return nil
		}
		if err != nil {
			return err
		}
		if len(i.Results) == 0 {
			return fmt.Errorf("%w: task %s has no results", ErrNotFound, i.ID)
		}
		for _, j := range i.Results {
			if !yield(j) {
				return nil
			}
		}
		first += len(i.Results)
	}
	return nil
}
