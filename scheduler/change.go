package scheduler

import (
	"slices"
	"strings"

	"farm/internal/wire"
)

// Item is one entry of a namespace's dictionary as farm stores it: a key and
// bytes that only the namespace's engine reads.
type Item struct {
	Key   string
	Value []byte
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

// Size is the bytes of keys and values put.
func (c *Change) Size() (n int) {
	for _, it := range c.Put {
		n += len(it.Key) + len(it.Value)
	}
	return n
}

// Encode gives the bytes of a change, the Body of a Patch task.
func (c *Change) Encode() []byte { return c.append(nil) }

// DecodeChange reads what Encode made. Error: wire.ErrCorrupt.
func DecodeChange(b []byte) (Change, error) {
	r := wire.NewReader(b)
	c := readChange(r)
	return c, r.Done()
}

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
	b = wire.AppendUint(b, uint64(len(c.Put)))
	for _, it := range c.Put {
		b = wire.AppendString(b, it.Key)
		b = wire.AppendBytes(b, it.Value)
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
		c.Put = append(c.Put, Item{r.String(), r.Bytes()})
	}
	for range r.Count() {
		c.Delete = append(c.Delete, r.String())
	}
	return c
}

// valid tells whether the change may be applied: keys ordered, distinct and
// within limits.
func (c *Change) valid() bool {
	ordered := func(n int, key func(int) string) bool {
		for i := range n {
			if k := key(i); k == "" || len(k) > MaxItemKey || (i > 0 && key(i-1) >= k) {
				return false
			}
		}
		return true
	}
	return ordered(len(c.Put), func(i int) string { return c.Put[i].Key }) &&
		ordered(len(c.Delete), func(i int) string { return c.Delete[i] }) &&
		c.Size() <= MaxChangeBytes
}
