package replica

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"farm/api"
	"farm/internal/carry"
	"farm/internal/crash"
	"farm/internal/part"
	"farm/namespace"
	"farm/replica/consensus"
	"farm/scheduler"
)

// Limits of large values on a node, in bytes.
const (
	// UploadWindow is what may be on its way into the log of parts at a time, so
	// that short tasks do not wait behind large values. More waits.
	UploadWindow = 8 << 20
	// BulkBytes is what reads and changes of large values that a node carries out
	// may hold in memory at a time. More waits.
	BulkBytes = 512 << 20
	// MaxSetBytes is the JSON text of one set.
	MaxSetBytes = 64 << 20

	// readBatch is how many parts are read while entries wait to be applied.
	readBatch = 8
	// maxReadTries is how often a large value is read anew because it changed
	// meanwhile.
	maxReadTries = 10
)

// errGone is returned when a part that was there a moment ago is not any more.
var errGone = errors.New("the value changed while it was read")

// Offer implements api.PartsServer.
func (n *Node) Offer(ctx context.Context, q *api.OfferParts) (*api.PartsNeeded, error) {
	hashes, fault := parseHashes(q.GetHashes())
	if fault != nil {
		return &api.PartsNeeded{Error: fault}, nil
	}
	if !n.leads() {
		c, fault := n.leaderParts(q.Forwarded)
		if fault != nil {
			return &api.PartsNeeded{Error: fault}, nil
		}
		return c.Offer(ctx, &api.OfferParts{Hashes: q.Hashes, Forwarded: true})
	}
	var needed []part.Hash
	n.fsm.View(func(s *scheduler.State) {
		for _, h := range hashes {
			if s.Needed(h) {
				needed = append(needed, h)
			}
		}
	})
	return &api.PartsNeeded{Hashes: part.Hashes(needed)}, nil
}

// Put implements api.PartsServer.
func (n *Node) Put(ctx context.Context, q *api.PutParts) (*api.PartsKept, error) {
	if !n.leads() {
		c, fault := n.leaderParts(q.Forwarded)
		if fault != nil {
			return &api.PartsKept{Error: fault}, nil
		}
		return c.Put(ctx, &api.PutParts{Owner: q.Owner, Parts: q.Parts, Forwarded: true})
	}
	if len(q.Parts) > carry.MaxParts {
		return &api.PartsKept{Error: fault(api.Code_LIMIT, "a message has at most %d parts", carry.MaxParts)}, nil
	}
	parts := make([]part.Part, len(q.Parts))
	for i, b := range q.Parts {
		parts[i] = part.Part{Hash: part.HashOf(b), Bytes: b}
	}
	return &api.PartsKept{Error: asFault(n.keep(ctx, q.Owner, parts))}, nil
}

// Get implements api.PartsServer.
func (n *Node) Get(ctx context.Context, q *api.GetParts) (*api.PartsFound, error) {
	hashes, fault := parseHashes(q.GetHashes())
	if fault != nil {
		return &api.PartsFound{Error: fault}, nil
	}
	r := &api.PartsFound{}
	size, missing := 0, false
	for len(hashes) > 0 && size < carry.MessageBytes {
		k := min(len(hashes), readBatch)
		n.fsm.View(func(s *scheduler.State) {
			for _, h := range hashes[:k] {
				b := s.Part(h)
				missing = missing || b == nil
				size += len(b)
				r.Parts = append(r.Parts, b)
			}
		})
		hashes = hashes[k:]
	}
	if !missing || n.leads() || q.Forwarded {
		return r, nil
	}
	c, fault := n.leaderParts(false) // this node may be behind
	if fault != nil {
		return &api.PartsFound{Error: fault}, nil
	}
	return c.Get(ctx, &api.GetParts{Hashes: q.Hashes, Forwarded: true})
}

func fault(code api.Code, format string, args ...any) *api.Error {
	return &api.Error{Code: code, Message: fmt.Sprintf(format, args...)}
}

// asFault is an error of keep as it is sent.
func asFault(err error) *api.Error {
	var r *carry.RefusedError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &r):
		return r.Err
	}
	return fault(api.Code_UNAVAILABLE, "%v", err)
}

func parseHashes(b []byte) ([]part.Hash, *api.Error) {
	hashes, err := part.ParseHashes(b)
	switch {
	case err != nil:
		return nil, fault(api.Code_INVALID, "%v", err)
	case len(hashes) > carry.MaxHashes:
		return nil, fault(api.Code_LIMIT, "%d parts are asked for at once, the limit is %d", len(hashes), carry.MaxHashes)
	}
	return hashes, nil
}

// leaderParts is where the leader takes parts.
func (n *Node) leaderParts(forwarded bool) (api.PartsClient, *api.Error) {
	addr := n.leaderAPI()
	if forwarded || addr == "" || addr == n.apiAddr && !n.leads() {
		return nil, fault(api.Code_UNAVAILABLE, "node %s does not lead and knows no leader", n.id)
	}
	conn, err := n.peers.conn(addr)
	if err != nil {
		return nil, fault(api.Code_UNAVAILABLE, "%v", err)
	}
	return api.NewPartsClient(conn), nil
}

// keep puts parts into the log, within UploadWindow, and returns when they are
// committed. This node leads, or did a moment ago. Errors: *carry.RefusedError, or
// one after which nothing may be assumed.
func (n *Node) keep(ctx context.Context, owner string, parts []part.Part) error {
	g, each := errgroup.WithContext(ctx)
	for _, p := range parts {
		if err := n.window.Acquire(each, int64(len(p.Bytes))); err != nil {
			break
		}
		g.Go(func() error {
			defer n.window.Release(int64(len(p.Bytes)))
			crash.Here("upload.before-propose")
			r, err := n.proposeUntil(each, &scheduler.Upload{Owner: owner, Hash: p.Hash, Bytes: p.Bytes})
			switch {
			case err != nil:
				return err
			case r.Code == scheduler.Limit:
				return &carry.RefusedError{Err: fault(api.Code_LIMIT, "%s", r.Detail)}
			case r.Code != scheduler.OK && r.Code != scheduler.Duplicate:
				return &carry.RefusedError{Err: fault(api.Code_INVALID, "%s", r.Detail)}
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	crash.Here("upload.kept")
	return ctx.Err()
}

// proposeUntil proposes a command, again while the log is overloaded, and waits
// for its result.
func (n *Node) proposeUntil(ctx context.Context, cmd scheduler.Command) (scheduler.Result, error) {
	for {
		r, err := n.proposeWait(ctx, cmd)
		if !errors.Is(err, consensus.ErrOverloaded) {
			return r, err
		}
		select {
		case <-ctx.Done():
			return r, ctx.Err()
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// partsOf gives the node's worker its way to parts.
type partsOf struct{ n *Node }

// Put implements worker.Parts.
func (p partsOf) Put(ctx context.Context, owner string, parts []part.Part) error {
	c, fault := p.n.leaderParts(false)
	if fault != nil {
		return &carry.RefusedError{Err: fault}
	}
	return carry.Put(ctx, c, owner, parts)
}

// Get implements worker.Parts: what this node has it need not ask for.
func (p partsOf) Get(ctx context.Context, hashes []part.Hash, have func(part.Hash, []byte)) error {
	var missing []part.Hash
	p.n.readParts(hashes, func(h part.Hash, b []byte) {
		if b == nil {
			missing = append(missing, h)
		} else {
			have(h, b)
		}
	})
	if len(missing) == 0 {
		return nil
	}
	c, fault := p.n.leaderParts(false)
	if fault != nil {
		return &carry.RefusedError{Err: fault}
	}
	return carry.Get(ctx, c, missing, have)
}

// readParts reads parts from this node's state, a few at a time so that entries
// do not wait long; nil for one that is not there.
func (n *Node) readParts(hashes []part.Hash, have func(part.Hash, []byte)) {
	for len(hashes) > 0 {
		k := min(len(hashes), readBatch)
		n.fsm.View(func(s *scheduler.State) {
			for _, h := range hashes[:k] {
				have(h, s.Part(h))
			}
		})
		hashes = hashes[k:]
	}
}

// ---- whole values ----

// stored is a set of items, some of them in parts.
type stored []scheduler.Item

func (list stored) inParts() (size int64) {
	for _, it := range list {
		if it.Parts != nil {
			size += int64(it.Parts.Size)
		}
	}
	return size
}

// bulk waits until size bytes of large values may be held in memory.
func (n *Node) bulk(size int64) (release func(), err error) {
	size = min(size, BulkBytes)
	if err := n.large.Acquire(n.ctx, size); err != nil {
		return nil, err
	}
	return func() { n.large.Release(size) }, nil
}

// whole makes items whole, within BulkBytes until release is called. Error:
// errGone, that of the node's end.
func (n *Node) whole(list stored) (items namespace.Items, release func(), err error) {
	items, release = namespace.Items{}, func() {}
	if size := list.inParts(); size > 0 {
		if release, err = n.bulk(size); err != nil {
			return nil, nil, err
		}
	}
	for _, it := range list {
		if items[it.Key], err = n.assemble(it); err != nil {
			release()
			return nil, nil, err
		}
	}
	return items, release, nil
}

// assemble makes one item whole.
func (n *Node) assemble(it scheduler.Item) ([]byte, error) {
	if it.Parts == nil {
		return it.Value, nil
	}
	b, err := carry.Collect(*it.Parts, scheduler.MaxValueBytes, func(hashes []part.Hash, have func(part.Hash, []byte)) error {
		n.readParts(hashes, have)
		return nil
	})
	if errors.Is(err, part.ErrMismatch) {
		return nil, fmt.Errorf("%w: %w", errGone, err)
	}
	return b, err
}

// begin gives how a large variable begins, all before its data, and any other
// item whole.
func (n *Node) begin(it scheduler.Item) ([]byte, error) {
	if it.Parts == nil || !namespace.IsVariable(it.Key) {
		return n.assemble(it)
	}
	var head []byte
	n.readParts(it.Parts.Parts[:1], func(_ part.Hash, b []byte) {
		if b != nil {
			head = append([]byte{}, namespace.Head(b)...)
		}
	})
	if head == nil {
		return nil, errGone
	}
	return head, nil
}

// readWhole reads items that find chooses and makes them whole, again when they
// change meanwhile.
func (n *Node) readWhole(find func(s *scheduler.State) stored) (items namespace.Items, release func(), err error) {
	for range maxReadTries {
		var list stored
		n.fsm.View(func(s *scheduler.State) { list = find(s) })
		if items, release, err = n.whole(list); !errors.Is(err, errGone) {
			return items, release, err
		}
	}
	return nil, nil, err
}

// ---- changes ----

// carryChange puts the large values of a change in parts, and those in the log.
// whole is what the namespace holds of values that are not in parts.
func (n *Node) carryChange(ctx context.Context, c *scheduler.Change, whole uint64) error {
	sizes := make([]int, len(c.Put))
	for i := range c.Put {
		sizes[i] = len(c.Put[i].Value)
	}
	for i, large := range part.Choose(sizes, whole) {
		if !large {
			continue
		}
		m, parts := part.Cut(c.Put[i].Value)
		var needed []part.Part
		n.fsm.View(func(s *scheduler.State) {
			for _, p := range parts {
				if s.Needed(p.Hash) {
					needed = append(needed, p)
				}
			}
		})
		if err := n.keep(ctx, "", needed); err != nil {
			return err
		}
		c.Put[i].Value, c.Put[i].Parts = nil, &m
	}
	return nil
}

// patchKind is the kind of task that applies a change.
func patchKind(c *scheduler.Change) scheduler.Kind {
	if c.InParts() {
		return scheduler.PatchParts
	}
	return scheduler.Patch
}

// wholeBytes is what a namespace holds of values that are not in parts.
func wholeBytes(s *scheduler.State, ns string) uint64 {
	if sp := s.Namespace(ns); sp != nil {
		return sp.Bytes - sp.InParts
	}
	return 0
}
