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

// generation is a set of changed records.
type generation struct {
	records []record            // as they came
	places  map[string]int32    // in records, by key
	lasts   [1 << 8]string      // the greatest key by its first byte
	groups  map[string][]string // keys by group, so that a scan of one group is short
	bytes   int                 // of keys and values put, an upper bound of what they hold
}

// record is one that changed; a nil value is a deletion.
type record struct {
	key   string
	value []byte
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
	return &generation{places: make(map[string]int32, room), records: make([]record, 0, room), groups: map[string][]string{}}
}

// sorted are the records in ascending order of keys. Most of each kind, which is the
// first byte of the key, came in about that order: sorting them by themselves is cheap.
func (g *generation) sorted() []record {
	var ends [1 << 8]int
	for i := range g.records {
		ends[g.records[i].key[0]]++
	}
	for i := 1; i < len(ends); i++ {
		ends[i] += ends[i-1]
	}
	out := make([]record, len(g.records))
	at := [1 << 8]int{}
	copy(at[1:], ends[:])
	for _, r := range g.records {
		out[at[r.key[0]]] = r
		at[r.key[0]]++
	}
	from := 0
	for _, end := range ends {
		slices.SortFunc(out[from:end], func(a, b record) int { return strings.Compare(a.key, b.key) })
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
	g.bytes += len(key) + len(value)
	if last := &g.lasts[key[0]]; key > *last { // as most that are new
		*last = key
	} else if i, known := g.places[key]; known {
		g.records[i].value = value
		return
	}
	g.places[key] = int32(len(g.records))
	g.records = append(g.records, record{key, value})
	if group := groupOf(key); group != "" {
		g.groups[group] = append(g.groups[group], key)
	}
}

// get returns what the generation says about a key.
func (g *generation) get(key string) (value []byte, known bool) {
	if g == nil || key > g.lasts[key[0]] {
		return nil, false // as of most that are asked for and not there: ids and numbers grow
	}
	i, known := g.places[key]
	if known {
		value = g.records[i].value
	}
	return value, known
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
	for i := range g.records {
		if k := g.records[i].key; k >= from && strings.HasPrefix(k, prefix) {
			keys = append(keys, k)
		}
	}
	return keys
}

// covered returns what the generations say about a key.
func (o *overlay) covered(key string) (value []byte, known bool) {
	if value, known = o.current.get(key); !known {
		value, known = o.frozen.get(key)
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
