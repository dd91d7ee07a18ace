package scheduler

import (
	"slices"
	"strings"

	"farm/internal/part"
	"farm/internal/wire"
)

// Item is one entry of a namespace's dictionary as farm stores it: a key and
// bytes that only the namespace's engine reads. A large value is not in the item:
// Parts says what it is made of.
type Item struct {
	Key   string
	Value []byte
	Parts *part.Manifest // instead of Value
}

// Change is what one task does to a namespace: items put and keys removed,
// each in ascending order of keys. Require, used by patches, says what the
// patch was made for: items whose value must begin with Value.
type Change struct {
	Require []Item // Value nil: the key must be absent
	At      uint64 // the version the namespace must have, plus 1; 0: any
	Put     []Item
	Delete  []string
}

// Sort brings a change into the order that Step asks for.
func (c *Change) Sort() {
	byKey := func(a, b Item) int { return strings.Compare(a.Key, b.Key) }
	slices.SortFunc(c.Require, byKey)
	slices.SortFunc(c.Put, byKey)
	slices.Sort(c.Delete)
}

// Empty tells whether nothing is put or removed.
func (c *Change) Empty() bool { return len(c.Put) == 0 && len(c.Delete) == 0 }

// Size is the bytes of keys and values put that are in the change itself: of a
// value in parts, their hashes.
func (c *Change) Size() (n int) {
	for i := range c.Put {
		it := &c.Put[i]
		n += len(it.Key) + len(it.Value)
		if it.Parts != nil {
			n += part.HashBytes * len(it.Parts.Parts)
		}
	}
	return n
}

// Total is the bytes of keys and values put, parts counted in.
func (c *Change) Total() (n uint64) {
	for i := range c.Put {
		n += uint64(len(c.Put[i].Key)) + c.Put[i].size()
	}
	return n
}

// InParts tells whether a value put is in parts.
func (c *Change) InParts() bool {
	return slices.ContainsFunc(c.Put, func(it Item) bool { return it.Parts != nil })
}

// Encode gives the bytes of a change, the Body of a Patch task, or of a
// PatchParts task when it is InParts.
func (c *Change) Encode() []byte {
	b := c.append(nil)
	if c.InParts() {
		b = c.appendParts(b)
	}
	return b
}

// DecodeChange reads what Encode made. Error: wire.ErrCorrupt.
func DecodeChange(b []byte) (Change, error) {
	r := wire.NewReader(b)
	c := readChange(r)
	if len(r.Rest()) > 0 {
		c.readParts(r)
	}
	return c, r.Done()
}

// appendParts appends the items put that are in parts.
func (c *Change) appendParts(b []byte) []byte {
	n := 0
	for i := range c.Put {
		if c.Put[i].Parts != nil {
			n++
		}
	}
	b = wire.AppendUint(b, uint64(n))
	for i := range c.Put {
		if m := c.Put[i].Parts; m != nil {
			b = m.AppendTo(wire.AppendString(b, c.Put[i].Key))
		}
	}
	return b
}

// readParts adds what appendParts wrote to a change.
func (c *Change) readParts(r *wire.Reader) {
	for range r.Count() {
		it := Item{Key: r.String()}
		m := part.ReadManifest(r)
		it.Parts = &m
		c.Put = append(c.Put, it)
	}
	slices.SortStableFunc(c.Put, func(a, b Item) int { return strings.Compare(a.Key, b.Key) })
}

// append appends all of a change but its items in parts.
func (c *Change) append(b []byte) []byte {
	b = wire.AppendUint(b, c.At)
	b = wire.AppendUint(b, uint64(len(c.Require)))
	for _, it := range c.Require {
		b = wire.AppendString(b, it.Key)
		b = wire.AppendBool(b, it.Value != nil)
		if it.Value != nil {
			b = wire.AppendBytes(b, it.Value)
		}
	}
	whole := len(c.Put)
	for i := range c.Put {
		if c.Put[i].Parts != nil {
			whole--
		}
	}
	b = wire.AppendUint(b, uint64(whole))
	for i := range c.Put {
		if it := &c.Put[i]; it.Parts == nil {
			b = wire.AppendString(b, it.Key)
			b = wire.AppendBytes(b, it.Value)
		}
	}
	b = wire.AppendUint(b, uint64(len(c.Delete)))
	for _, k := range c.Delete {
		b = wire.AppendString(b, k)
	}
	return b
}

func readChange(r *wire.Reader) (c Change) {
	c.At = r.Uint()
	for range r.Count() {
		it := Item{Key: r.String()}
		if r.Bool() {
			if it.Value = r.Bytes(); it.Value == nil {
				it.Value = []byte{}
			}
		}
		c.Require = append(c.Require, it)
	}
	for range r.Count() {
		c.Put = append(c.Put, Item{Key: r.String(), Value: r.Bytes()})
	}
	for range r.Count() {
		c.Delete = append(c.Delete, r.String())
	}
	return c
}

// check says whether the change may be applied as far as its own form goes: keys
// ordered, distinct and within limits, and no more bytes than total.
func (c *Change) check(total uint64) Result {
	ordered := func(n int, key func(int) string) bool {
		for i := range n {
			if k := key(i); k == "" || len(k) > MaxItemKey || (i > 0 && key(i-1) >= k) {
				return false
			}
		}
		return true
	}
	if !ordered(len(c.Put), func(i int) string { return c.Put[i].Key }) || !ordered(len(c.Delete), func(i int) string { return c.Delete[i] }) {
		return refuse(Invalid, "the change of the namespace is malformed: its keys are not in order, or have not 1 to %d bytes", MaxItemKey)
	}
	if n := c.Size(); n > MaxChangeBytes {
		return refuse(Limit, "the change of the namespace has %d bytes that are not in parts, the limit is %d", n, MaxChangeBytes)
	}
	for i := range c.Put {
		switch it := &c.Put[i]; {
		case it.size() > MaxValueBytes:
			return refuse(Limit, "item %s has %d bytes, the limit is %d", it.Key, it.size(), MaxValueBytes)
		case it.Parts != nil && len(it.Parts.Parts) == 0:
			return refuse(Invalid, "item %s has no parts", it.Key)
		}
	}
	if n := c.Total(); n > total {
		return refuse(Limit, "the change of the namespace has %d bytes, the limit is %d", n, total)
	}
	return Result{Code: OK}
}
