package tasks

import (
	"context"
	"fmt"

	"farm/api"
)

// DrainWorker asks for a worker to be given nothing new, or with undo to be used
// again. It finishes what it has; one that is started anew is used again. The
// result is the worker as it is then: it is idle when Assigned is 0. Errors, among
// others: ErrNotFound.
func (c *Client) DrainWorker(ctx context.Context, id string, undo bool) (*WorkerStatus, error) {
	r, err := c.conn.do(ctx, &api.Call{Op: &api.Call_DrainWorker{DrainWorker: &api.DrainWorker{Worker: id, Undo: undo}}}, false)
	if err != nil {
		return nil, fmt.Errorf("drain worker %s: %w", id, err)
	}
	w := newWorker(r.GetWorker())
	return &w, nil
}
