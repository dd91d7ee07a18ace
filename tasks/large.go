package tasks

import (
	"context"
	"errors"
	"fmt"
	"time"

	"farm/api"
	"farm/internal/carry"
	"farm/internal/part"
)

// Limits of large values, which travel in parts.
const (
	// MaxSetBytes is the JSON text of one Set.
	MaxSetBytes = 64 << 20
	// MaxItemBytes is one variable of an Import or Export, encoded.
	MaxItemBytes = 256 << 20
	// maxPlainSet is the JSON text that goes in the call itself.
	maxPlainSet = 1 << 20
	// maxExportTries is how often an Export begins anew because the namespace
	// changed meanwhile.
	maxExportTries = 5
)

// withParts calls do with the way to parts of a node that answers, again while
// none does for up to the client's timeout. do must be repeatable.
func (c *conn) withParts(ctx context.Context, do func(ctx context.Context, pc api.PartsClient) error) error {
	var failing time.Time
	for try := 0; ; try++ {
		s, err := c.current(ctx)
		if err != nil {
			return err
		}
		begun := time.Now()
		err = do(ctx, api.NewPartsClient(s.client))
		var r *carry.RefusedError
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return contextError(ctx)
		case errors.Is(err, part.ErrMismatch):
			return err
		case errors.As(err, &r) && r.Err.Code != api.Code_UNAVAILABLE && r.Err.Code != api.Code_NOT_LEADER:
			return replyError(r.Err)
		}
		if failing.IsZero() || time.Since(begun) > c.timeout {
			failing = time.Now()
		}
		if time.Since(failing) > c.timeout {
			return fmt.Errorf("%w: parts of a large value: %w", ErrUnavailable, err)
		}
		c.pause(ctx, backoffFor(try))
	}
}

// send brings the parts of a value to the farm.
func (c *conn) send(ctx context.Context, value []byte) (*api.Manifest, error) {
	m, parts := part.Cut(value)
	err := c.withParts(ctx, func(ctx context.Context, pc api.PartsClient) error { return carry.Put(ctx, pc, "", parts) })
	return carry.Manifest(&m), err
}

// fetch brings a large value from the farm. Error, among others:
// part.ErrMismatch when it is there no more.
func (c *conn) fetch(ctx context.Context, m *api.Manifest) (b []byte, err error) {
	x, err := carry.ReadManifest(m)
	if err != nil {
		return nil, err
	}
	if x.Size > MaxItemBytes {
		return nil, fmt.Errorf("%w: a value of %d bytes, the limit is %d", ErrLimit, x.Size, MaxItemBytes)
	}
	err = c.withParts(ctx, func(ctx context.Context, pc api.PartsClient) (err error) {
		b, err = carry.Fetch(ctx, pc, *x, MaxItemBytes)
		return err
	})
	return b, err
}

// setCall is the call of a set. A large text is sent before.
func (n *Namespace) setCall(ctx context.Context, key string, value []byte) (*api.Call, error) {
	q := &api.SetKey{Id: NewID(), Namespace: n.name, Key: key}
	switch {
	case len(value) > MaxSetBytes:
		return nil, fmt.Errorf("%w: the JSON text has %d bytes, the limit is %d", ErrLimit, len(value), MaxSetBytes)
	case len(value) <= maxPlainSet:
		q.Json = value
	default:
		var err error
		if q.Parts, err = n.c.conn.send(ctx, value); err != nil {
			return nil, err
		}
	}
	return &api.Call{Op: &api.Call_Set{Set: q}}, nil
}

// importItems are the items of an import. Large ones are sent before.
func (n *Namespace) importItems(ctx context.Context, keys []string, items map[string][]byte) ([]*api.Item, error) {
	sizes := make([]int, len(keys))
	for i, k := range keys {
		if sizes[i] = len(items[k]); sizes[i] > MaxItemBytes {
			return nil, fmt.Errorf("%w: %s has %d bytes, the limit is %d", ErrLimit, k, sizes[i], MaxItemBytes)
		}
	}
	out := make([]*api.Item, len(keys))
	for i, large := range part.Choose(sizes, 0) {
		out[i] = &api.Item{Key: keys[i]}
		if !large {
			out[i].Value = items[keys[i]]
			continue
		}
		var err error
		if out[i].Parts, err = n.c.conn.send(ctx, items[keys[i]]); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// stored reads the items of the namespace as they are stored.
func (n *Namespace) stored(ctx context.Context) (*api.Namespace, error) {
	r, err := n.read(ctx, &api.Call{Op: &api.Call_GetNamespace{GetNamespace: &api.GetNamespace{Name: n.name, Items: true}}})
	if err != nil {
		return nil, fmt.Errorf("namespace %s: %w", n.name, err)
	}
	return r.GetNamespace(), nil
}

// whole reads the items of the namespace, with all that large ones are made of.
func (n *Namespace) whole(ctx context.Context) (*Contents, error) {
	for try := 1; ; try++ {
		ns, err := n.stored(ctx)
		if err != nil {
			return nil, err
		}
		c := &Contents{Version: ns.GetVersion(), Items: map[string][]byte{}}
		for _, it := range ns.GetStored() {
			if c.Items[it.Key] = it.Value; it.Parts == nil {
				continue
			}
			if c.Items[it.Key], err = n.c.conn.fetch(ctx, it.Parts); err != nil {
				break
			}
		}
		switch {
		case err == nil:
			return c, nil
		case !errors.Is(err, part.ErrMismatch):
			return nil, fmt.Errorf("namespace %s: %w", n.name, err)
		case try == maxExportTries:
			return nil, fmt.Errorf("%w: namespace %s changed each time it was read", ErrConflict, n.name)
		}
	}
}
