package value

import (
	"bytes"
	"reflect"
	"slices"
)

// Maps keyed by pointers have no order of their own: addresses mean nothing in
// another process. Entries whose keys refer only to objects that already have a
// number go first, in the order of those numbers. The others are ordered by
// what can be seen from them: the encoding the entry would have alone. Two
// entries that look the same from there are refused, since their order could
// not be the same every time.

const (
	keyNumbered = 0
	keyTrial    = 1
)

// referenceEntries writes a map with references in its keys.
func (w *writer) referenceEntries(r *region, m reflect.Value) error {
	if w.trial != nil {
		w.uint(uint64(r.n)) // a trial sees no further than the size of such a map
		return nil
	}
	es := make([]entry, 0, r.n)
	for it := m.MapRange(); it.Next(); {
		e := entry{k: reflect.New(r.pl.key.rt).Elem(), v: reflect.New(r.pl.elem.rt).Elem()}
		e.k.SetIterKey(it)
		e.v.SetIterValue(it)
		var err error
		if e.sort, err = w.tryEntry(r.pl, e); err != nil {
			return err
		}
		es = append(es, e)
	}
	slices.SortFunc(es, func(a, b entry) int { return bytes.Compare(a.sort, b.sort) })
	for i, e := range es {
		if i > 0 && bytes.Equal(e.sort, es[i-1].sort) {
			return w.refuse("a map with pointers to equal values as keys, which have no order")
		}
		if err := w.entry(r.pl, e); err != nil {
			return at(err, "[key]")
		}
	}
	return nil
}

func (w *writer) entry(pl *plan, e entry) error {
	if err := w.value(pl.key, e.k.Addr().UnsafePointer(), 1); err != nil {
		return err
	}
	return w.value(pl.elem, e.v.Addr().UnsafePointer(), 1)
}

// tryEntry encodes an entry as if it were alone with the objects numbered so
// far.
func (w *writer) tryEntry(pl *plan, e entry) ([]byte, error) {
	t := writer{g: w.g, lim: w.lim, static: w.static, dynamic: newTable(w.dynamic), trial: map[*region]int{}}
	if err := t.value(pl.key, e.k.Addr().UnsafePointer(), 1); err != nil {
		return nil, err
	}
	if len(t.objs) == 0 {
		return append([]byte{keyNumbered}, t.selfDescribed(t.out)...), nil
	}
	if err := t.value(pl.elem, e.v.Addr().UnsafePointer(), 1); err != nil {
		return nil, err
	}
	for i := 0; i < len(t.objs); i++ {
		if err := w.g.visit(0); err != nil {
			return nil, err
		}
		if err := t.body(t.objs[i]); err != nil {
			return nil, err
		}
	}
	return append([]byte{keyTrial}, t.selfDescribed(t.out)...), nil
}

// mentionTrial numbers an object for this trial only.
func (w *writer) mentionTrial(r *region) {
	i, ok := w.trial[r]
	if !ok {
		i = len(w.trial)
		w.trial[r] = i
		w.objs = append(w.objs, r)
	}
	w.out = append(w.out, keyTrial)
	w.uint(uint64(i))
	w.uint(uint64(r.n))
}
