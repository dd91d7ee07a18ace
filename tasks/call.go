package tasks

import (
	"context"
	"encoding/json"
	"fmt"
)

// Submit asks for a call of a handler with an input. The rest of t says how: its
// options are those of every task.
func Submit[In any](ctx context.Context, c *Client, handler string, in In, t Task) (*Submitted, error) {
	if err := t.calls(handler, in); err != nil {
		return nil, err
	}
	return c.Submit(ctx, t)
}

// SubmitMany asks for a call of a handler with each of many inputs, as
// Client.SubmitMany does. With an ID in t the i-th task has that ID, a dash, and i.
func SubmitMany[In any](ctx context.Context, c *Client, handler string, in []In, t Task) ([]*Submitted, error) {
	list := make([]Task, len(in))
	for i := range in {
		list[i] = t
		if err := list[i].calls(handler, in[i]); err != nil {
			return nil, fmt.Errorf("input %d: %w", i, err)
		}
		if t.ID != "" {
			list[i].ID = fmt.Sprintf("%s-%d", t.ID, i)
		}
	}
	return c.SubmitMany(ctx, list)
}

// Call asks for a call of a handler, waits for its end and returns its result.
// When the task failed or was cancelled the error is a *TaskError.
//
//	thumb, err := tasks.Call[Thumb](ctx, c, "resize", picture, tasks.Task{Retries: 3})
func Call[Out, In any](ctx context.Context, c *Client, handler string, in In, t Task) (out Out, err error) {
	if err := t.calls(handler, in); err != nil {
		return out, err
	}
	info, err := c.Run(ctx, t)
	if err != nil {
		return out, err
	}
	return out, info.Decode(&out)
}

// Result waits for the end of a task, which any program may have submitted at any
// time, and returns its result as an Out. When the task failed or was cancelled
// the error is a *TaskError.
func Result[Out any](ctx context.Context, c *Client, id string) (out Out, err error) {
	info, err := c.Wait(ctx, id)
	if err != nil {
		return out, err
	}
	return out, info.Decode(&out)
}

// calls makes t a call of a handler.
func (t *Task) calls(handler string, in any) error {
	if t.Handler != "" || t.Input != nil {
		return fmt.Errorf("%w: handler and input are not given twice", ErrInvalid)
	}
	b, err := json.Marshal(in)
	if err != nil {
		return fmt.Errorf("%w: the input cannot be written as JSON: %w", ErrInvalid, err)
	}
	if t.Handler, t.Input = handler, b; handler == "" {
		return fmt.Errorf("%w: no handler is named", ErrInvalid)
	}
	return nil
}
