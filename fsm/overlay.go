package fsm

import (
	"slices"
	"strings"
)

// overlay is the scheduler's Records: the records of a store, covered by those
// being written to it and those changed since. Reads may run beside each other,
// never beside a write.
type overlay struct {
	store   *store
	current *generation // changed since the last freeze
	frozen  *generation // being written to the store, or nil
}

// generation is a set of changed records; a nil value is a deletion.
type generation struct {
	records map[string][]byte
	order   []string            // its keys, as they came
	groups  map[string][]string // keys by group, so that a scan of one group is short
	bytes   int                 // of keys and values put, an upper bound of what they hold
}

// mostRoom is for how many records a generation is made beforehand.
const mostRoom = 1 << 15

// newGeneration makes one with room for as many records as another has, or a little
// when that is nil.
func newGeneration(like *generation) *generation {
	room := 0
	if like != nil {
		room = min(len(like.records), mostRoom)
	}
	return &generation{records: make(map[string][]byte, room), order: make([]string, 0, room), groups: map[string][]string{}}
}

// sorted are the keys in ascending order. Most of each kind, which is their first
// byte, came in about that order: sorting them by themselves is cheap.
func (g *generation) sorted() []string {
	var ends [1 << 8]int
	for _, k := range g.order {
		ends[k[0]]++
	}
	for i := 1; i < len(ends); i++ {
		ends[i] += ends[i-1]
	}
	out := make([]string, len(g.order))
	at := [1 << 8]int{}
	copy(at[1:], ends[:])
	for _, k := range g.order {
		out[at[k[0]]] = k
		at[k[0]]++
	}
	from := 0
	for _, end := range ends {
		slices.Sort(out[from:end])
		from = end
	}
	return out
}

// groupOf is a key up to its second slash: the items of one namespace are one
// group. Keys with fewer slashes are in none.
func groupOf(key string) string {
	i := strings.IndexByte(key, '/')
	if i < 0 {
		return ""
	}
	j := strings.IndexByte(key[i+1:], '/')
	if j < 0 {
		return ""
	}
	return key[:i+1+j+1]
}

func (g *generation) put(key string, value []byte) {
	known := len(g.records)
	g.records[key] = value
	if len(g.records) > known {
		g.order = append(g.order, key)
		if group := groupOf(key); group != "" {
			g.groups[group] = append(g.groups[group], key)
		}
	}
	g.bytes += len(key) + len(value)
}

// keys appends the generation's keys that begin with prefix and are not below
// from, in no order.
func (g *generation) keys(keys []string, prefix, from string) []string {
	if g == nil {
		return keys
	}
	if group := groupOf(prefix); group != "" {
		for _, k := range g.groups[group] {
			if k >= from && strings.HasPrefix(k, prefix) {
				keys = append(keys, k)
			}
		}
		return keys
	}
	for k := range g.records { // sorted below, by Scan
		if k >= from && strings.HasPrefix(k, prefix) {
			keys = append(keys, k)
		}
	}
	return keys
}

// covered returns what the generations say about a key.
func (o *overlay) covered(key string) (value []byte, known bool) {
	if value, known = o.current.records[key]; !known && o.frozen != nil {
		value, known = o.frozen.records[key]
	}
	return value, known
}

// Get implements scheduler.Records.
func (o *overlay) Get(key string) []byte {
	if v, known := o.covered(key); known {
		return v
	}
	return o.store.get(key)
}

// Put implements scheduler.Records.
func (o *overlay) Put(key string, value []byte) {
	if value == nil {
		value = []byte{}
	}
	o.current.put(key, value)
}

// Delete implements scheduler.Records.
func (o *overlay) Delete(key string) { o.current.put(key, nil) }

// Scan implements scheduler.Records. fn must not change records.
func (o *overlay) Scan(prefix, from string, fn func(key string, value []byte) bool) {
	keys := o.frozen.keys(o.current.keys(nil, prefix, from), prefix, from)
	slices.Sort(keys)
	keys = slices.Compact(keys)
	// cover calls fn for the covered records below limit, or all of them.
	cover := func(limit string, all bool) bool {
		for len(keys) > 0 && (all || keys[0] < limit) {
			k := keys[0]
			keys = keys[1:]
			if v, _ := o.covered(k); v != nil && !fn(k, v) {
				return false
			}
		}
		return true
	}
	done := o.store.scan(prefix, from, func(key string, value func() []byte) bool {
		if !cover(key, false) {
			return false
		}
		if len(keys) > 0 && keys[0] == key {
			return cover(key+"\x00", false)
		}
		return fn(key, value())
	})
	if done {
		cover("", true)
	}
}
