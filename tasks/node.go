package tasks

import (
	"context"
	"fmt"
	"slices"

	"google.golang.org/grpc"

	"farm/api"
)

// RemoveNode takes a node out of the cluster: it no longer counts for a
// majority, and what it had is left behind. It is for nodes that do not come
// back; one that is still running should be stopped first. Errors, among others:
// ErrNotFound when there is no such node, ErrConflict when those that are left could
// not go on, ErrUnavailable.
func (c *Client) RemoveNode(ctx context.Context, id string) error {
	st, err := c.Status(ctx)
	if err != nil {
		return err
	}
	has := func(id string) int { return slices.IndexFunc(st.Nodes, func(n NodeStatus) bool { return n.ID == id }) }
	if has(id) < 0 {
		return fmt.Errorf("remove node: %w: there is no node %s", ErrNotFound, id)
	}
	leader := has(st.Leader)
	if leader < 0 {
		return fmt.Errorf("remove node %s: %w: no node leads", id, ErrUnavailable)
	}
	client, err := grpc.NewClient("passthrough:///"+st.Nodes[leader].API, dialOptions...)
	if err != nil {
		return fmt.Errorf("remove node %s: %w", id, err)
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(ctx, c.conn.timeout)
	defer cancel()
	r, err := api.NewPeersClient(client).Remove(c.conn.meaning(ctx), &api.RemoveRequest{Id: id})
	if err != nil {
		return fmt.Errorf("remove node %s: %w: %w", id, ErrUnavailable, err)
	}
	if e := r.GetError(); e != nil {
		if e.Code == api.Code_CONFLICT {
			return fmt.Errorf("remove node %s: %w: %s", id, ErrConflict, e.Message)
		}
		return fmt.Errorf("remove node %s: %w: %s", id, ErrUnavailable, e.Message)
	}
	return nil
}
