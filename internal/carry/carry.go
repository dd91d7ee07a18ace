// Package carry moves the parts of large values between a program and the farm,
// over the wire interface: only those the farm lacks, a few at a time, and each
// checked against its hash.
package carry

import (
	"context"
	"fmt"

	"golang.org/x/sync/errgroup"

	"farm/api"
	"farm/internal/part"
)

// Limits of a message. Both sides keep them.
const (
	MaxHashes    = 8_192   // in one message
	MessageBytes = 2 << 20 // of parts in one message, about
	flights      = 3       // messages of parts on their way at a time
	MaxParts     = 64      // parts in one message
)

// RefusedError is an answer of the farm that is no failure of the way to it.
type RefusedError struct{ Err *api.Error }

// Error is the farm's message.
func (e *RefusedError) Error() string { return e.Err.GetMessage() }

func refused(e *api.Error) error {
	if e == nil {
		return nil
	}
	return &RefusedError{e}
}

// Put brings to the farm those of the parts that it needs. Errors: *RefusedError, and
// those of the connection. It can be repeated.
func Put(ctx context.Context, c api.PartsClient, owner string, parts []part.Part) error {
	byHash := make(map[part.Hash][]byte, len(parts))
	var hashes []part.Hash
	for _, p := range parts {
		if byHash[p.Hash] == nil {
			byHash[p.Hash] = p.Bytes
			hashes = append(hashes, p.Hash)
		}
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(flights)
	for len(hashes) > 0 && ctx.Err() == nil {
		n := min(len(hashes), MaxHashes)
		needed, err := offer(ctx, c, hashes[:n])
		if err != nil {
			g.Go(func() error { return err })
			break
		}
		hashes = hashes[n:]
		for len(needed) > 0 && ctx.Err() == nil {
			m := &api.PutParts{Owner: owner}
			size := 0
			for len(needed) > 0 && size < MessageBytes && len(m.Parts) < MaxParts {
				b := byHash[needed[0]]
				if b == nil {
					return fmt.Errorf("%w: the farm asks for a part that was not offered", part.ErrMismatch)
				}
				m.Parts = append(m.Parts, b)
				size += len(b)
				needed = needed[1:]
			}
			g.Go(func() error { return put(ctx, c, m) })
		}
	}
	return g.Wait()
}

func offer(ctx context.Context, c api.PartsClient, hashes []part.Hash) ([]part.Hash, error) {
	r, err := c.Offer(ctx, &api.OfferParts{Hashes: part.Hashes(hashes)})
	if err == nil {
		err = refused(r.GetError())
	}
	if err != nil {
		return nil, err
	}
	return part.ParseHashes(r.Hashes)
}

func put(ctx context.Context, c api.PartsClient, m *api.PutParts) error {
	r, err := c.Put(ctx, m)
	if err == nil {
		err = refused(r.GetError())
	}
	return err
}

// Get brings parts from the farm, and gives each that is there to have once, in
// the order of hashes. Errors: part.ErrMismatch when what came is not what was
// asked for, *RefusedError, and those of the connection.
func Get(ctx context.Context, c api.PartsClient, hashes []part.Hash, have func(part.Hash, []byte)) error {
	for len(hashes) > 0 {
		n := min(len(hashes), MaxHashes)
		r, err := c.Get(ctx, &api.GetParts{Hashes: part.Hashes(hashes[:n])})
		if err == nil {
			err = refused(r.GetError())
		}
		if err != nil {
			return err
		}
		if len(r.Parts) == 0 || len(r.Parts) > n {
			return fmt.Errorf("%w: %d parts came, %d were asked for", part.ErrMismatch, len(r.Parts), n)
		}
		for i, b := range r.Parts {
			switch {
			case len(b) == 0:
			case part.HashOf(b) != hashes[i]:
				return fmt.Errorf("%w: a part is not the one that was asked for", part.ErrMismatch)
			default:
				have(hashes[i], b)
			}
		}
		hashes = hashes[len(r.Parts):]
	}
	return nil
}

// Fetch brings a whole value of at most limit bytes from the farm. Errors: those
// of Get, and part.ErrMismatch when a part of it is gone.
func Fetch(ctx context.Context, c api.PartsClient, m part.Manifest, limit uint64) ([]byte, error) {
	return Collect(m, limit, func(hashes []part.Hash, have func(part.Hash, []byte)) error {
		return Get(ctx, c, hashes, have)
	})
}

// Collect is Fetch with another way to get parts.
func Collect(m part.Manifest, limit uint64, get func(hashes []part.Hash, have func(part.Hash, []byte)) error) ([]byte, error) {
	if m.Size > limit {
		return nil, fmt.Errorf("%w: a value of %d bytes, at most %d were expected", part.ErrMismatch, m.Size, limit)
	}
	held := make(map[part.Hash][]byte, len(m.Parts))
	var distinct []part.Hash
	for _, h := range m.Parts {
		if _, known := held[h]; !known {
			held[h] = nil
			distinct = append(distinct, h)
		}
	}
	if err := get(distinct, func(h part.Hash, b []byte) { held[h] = b }); err != nil {
		return nil, err
	}
	return part.Join(m, limit, func(h part.Hash) []byte { return held[h] })
}

// Manifest is a manifest as it is sent, ReadManifest reads it. Nil is nil.
func Manifest(m *part.Manifest) *api.Manifest {
	if m == nil {
		return nil
	}
	return &api.Manifest{Size: m.Size, Hashes: part.Hashes(m.Parts)}
}

// ReadManifest is the opposite of Manifest. Error: part.ErrMismatch.
func ReadManifest(m *api.Manifest) (*part.Manifest, error) {
	if m == nil {
		return nil, nil
	}
	hashes, err := part.ParseHashes(m.Hashes)
	if err == nil && len(hashes) == 0 {
		err = fmt.Errorf("%w: a manifest without parts", part.ErrMismatch)
	}
	return &part.Manifest{Size: m.Size, Parts: hashes}, err
}
