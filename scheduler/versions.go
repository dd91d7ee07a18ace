package scheduler

import (
	"bytes"
	"encoding/binary"
	"slices"

	"farm/internal/wire"
)

// Limits of what is kept of a namespace's past, and of copying one.
const (
	HistoryVersions = 10       // versions of a namespace that are kept, the current one among them
	MaxUndoBytes    = 1 << 20  // keys and former values kept to undo one change; a larger change cannot be undone
	MaxForkBytes    = 32 << 20 // keys and values of a namespace that can be forked
)

// RestoreBody is the Body of a Restore task: the version whose items are to be
// the namespace's again.
func RestoreBody(version uint64) []byte { return wire.AppendUint(nil, version) }

// ForkBody is the Body of a Fork task: the namespace whose items are copied.
func ForkBody(from string) []byte { return wire.AppendString(nil, from) }

// Version is one version of a namespace that is kept.
type Version struct {
	Number     uint64
	Made       int64  // unix nanoseconds
	Task       string // that made it
	Changed    int    // items it put or removed
	Restorable bool   // a Restore to it can be carried out
}

// History returns the versions that are kept of a namespace, the newest first:
// at most HistoryVersions of them.
func (s *State) History(ns string) []Version {
	n := s.namespaces[ns]
	if n == nil {
		return nil
	}
	var out []Version
	restorable := true
	for v := n.Version; v > 0 && len(out) < HistoryVersions; v-- {
		u := s.undoOf(ns, v)
		if u == nil {
			break
		}
		out = append(out, Version{Number: v, Made: u.made, Task: u.task, Changed: u.changed, Restorable: restorable})
		restorable = restorable && u.complete
	}
	return out
}

// undo is the record u/<namespace>/<version>: what takes a namespace from that
// version to the one before.
type undo struct {
	made     int64
	task     string
	changed  int
	complete bool   // former has all that changed; otherwise nothing, for its size
	former   []Item // each item as it was; Value nil: it was not there
	size     int
}

// note remembers an item, as rec stores it, that is about to change.
func (u *undo) note(key string, rec []byte) {
	u.changed++
	old := Item{Key: key}
	if rec != nil {
		if old.Value = itemValue(rec); old.Value == nil {
			old.Value = []byte{}
		}
	}
	u.size += len(key) + len(old.Value)
	if u.complete = u.complete && u.size <= MaxUndoBytes; !u.complete {
		u.former = nil
		return
	}
	u.former = append(u.former, old)
}

func (u *undo) record() []byte {
	b := make([]byte, 0, 64+u.size+4*len(u.former))
	b = wire.AppendInt(append(b, recordVersion), u.made)
	b = wire.AppendString(b, u.task)
	b = wire.AppendUint(b, uint64(u.changed))
	b = wire.AppendBool(b, u.complete)
	for _, it := range u.former {
		b = wire.AppendString(b, it.Key)
		b = wire.AppendBool(b, it.Value != nil)
		if it.Value != nil {
			b = wire.AppendBytes(b, it.Value)
		}
	}
	return b
}

// decodeUndo reads what record made. Values are parts of b.
func decodeUndo(b []byte) (*undo, error) {
	r := wire.NewReader(b)
	if v := r.Byte(); v != recordVersion {
		return nil, &VersionError{What: "undo record", Got: v, Want: recordVersion}
	}
	u := &undo{made: r.Int(), task: r.String(), changed: int(r.Uint()), complete: r.Bool()}
	for len(r.Rest()) > 0 {
		it := Item{Key: r.String()}
		if r.Bool() {
			if it.Value = r.Bytes(); it.Value == nil {
				it.Value = []byte{}
			}
		}
		u.former = append(u.former, it)
	}
	return u, r.Done()
}

// undoOf reads an undo record, nil when it is not kept. One that is there and
// cannot be read is a bug or a broken disk.
func (s *State) undoOf(ns string, version uint64) *undo {
	rec := s.rec.Get(undoKey(ns, version))
	if rec == nil {
		return nil
	}
	u, err := decodeUndo(rec)
	if err != nil {
		panic("scheduler: undo record: " + err.Error())
	}
	return u
}

func undoKey(ns string, version uint64) string {
	return string(binary.BigEndian.AppendUint64([]byte("u/"+ns+"/"), version))
}

// keep stores how a namespace's newest version is undone, and lets the oldest go.
func (s *State) keep(n *Namespace, u *undo) {
	s.rec.Put(undoKey(n.Name, n.Version), u.record())
	if n.Version > HistoryVersions {
		s.rec.Delete(undoKey(n.Name, n.Version-HistoryVersions))
	}
}

// restore makes a namespace's items those of an earlier version again: one
// change, and so a new version, because history is never rewritten.
func (s *State) restore(n *Namespace, t *Task) Result {
	r := wire.NewReader(t.Body)
	to := r.Uint()
	switch {
	case r.Done() != nil || to == 0:
		return refuse(Invalid, "this is no version to restore")
	case !n.Exists():
		return refuse(NotFound, "there is no namespace %s", n.Name)
	case to > n.Version:
		return refuse(NotFound, "namespace %s is at version %d, there is no version %d", n.Name, n.Version, to)
	case s.rec.Get(undoKey(n.Name, to)) == nil:
		return refuse(NotFound, "version %d of namespace %s is no longer kept, only the last %d are", to, n.Name, HistoryVersions)
	}
	former := map[string][]byte{}
	for v := n.Version; v > to; v-- {
		u := s.undoOf(n.Name, v)
		if u == nil || !u.complete {
			return refuse(Limit, "version %d changed more than the %d bytes that are kept, it cannot be undone", v, MaxUndoBytes)
		}
		for _, it := range slices.Backward(u.former) { // of an item removed and put, the first note is what it was
			former[it.Key] = it.Value
		}
	}
	c := s.difference(n, former)
	s.change(n, t.ID, &c)
	return Result{Code: OK}
}

// difference is the change that gives items of a namespace other values; nil
// removes one.
func (s *State) difference(n *Namespace, want map[string][]byte) (c Change) {
	for key, value := range want { // sorted below
		rec := s.rec.Get(itemKey(n.Name, key))
		switch {
		case value == nil && rec != nil:
			c.Delete = append(c.Delete, key)
		case value != nil && (rec == nil || !bytes.Equal(itemValue(rec), value)):
			c.Put = append(c.Put, Item{key, value})
		}
	}
	c.Sort()
	return c
}

// fork fills a namespace that does not exist with the items that another one
// has at this position of the log.
func (s *State) fork(n *Namespace, t *Task) Result {
	r := wire.NewReader(t.Body)
	name := r.String()
	from := s.namespaces[name]
	switch {
	case r.Done() != nil || !ValidName(name):
		return refuse(Invalid, "this is no namespace to fork")
	case n.Exists():
		return refuse(Conflict, "namespace %s exists", n.Name)
	case from == nil || !from.Exists():
		return refuse(NotFound, "there is no namespace %s", name)
	case from.Bytes > MaxForkBytes:
		return refuse(Limit, "namespace %s holds %d bytes, the limit of a fork is %d", name, from.Bytes, MaxForkBytes)
	}
	c := Change{Put: make([]Item, 0, from.Items)}
	s.Items(name, 0, func(key string, value []byte, _ uint64) { c.Put = append(c.Put, Item{key, value}) })
	if c.Empty() {
		return refuse(Conflict, "namespace %s is empty", name)
	}
	s.change(n, t.ID, &c)
	return Result{Code: OK}
}
