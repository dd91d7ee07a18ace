package scheduler

import (
	"encoding/binary"
	"slices"

	"farm/internal/part"
	"farm/internal/wire"
)

// Limits of what is kept of a namespace's past, and of copying one.
const (
	HistoryVersions = 10       // versions of a namespace that are kept, the current one among them
	MaxUndoBytes    = 1 << 20  // keys and former values kept to undo one change, see also MaxPastBytes; a larger change cannot be undone
	MaxForkBytes    = 32 << 20 // keys and values of a namespace that can be forked, but for those in parts
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
	former   []Item // each item as it was; neither Value nor Parts: it was not there
	size     int    // bytes of former in the record
	inParts  uint64 // bytes of former values in parts
}

// note remembers an item as it was before the change.
func (u *undo) note(old Item) {
	u.changed++
	u.size += len(old.Key) + len(old.Value)
	if old.Parts != nil {
		u.size += part.HashBytes * len(old.Parts.Parts)
		u.inParts += old.Parts.Size
	}
	if u.complete = u.complete && u.size <= MaxUndoBytes && u.inParts <= MaxPastBytes; !u.complete {
		u.former, u.inParts = nil, 0
		return
	}
	u.former = append(u.former, old)
}

// Marks of what an item was, in an undo record.
const (
	wasAbsent = 0
	wasWhole  = 1
	wasParts  = 2 // only in records of partsVersion
)

func (u *undo) record() []byte {
	b := make([]byte, 0, 64+u.size+4*len(u.former))
	version := byte(recordVersion)
	if u.inParts > 0 {
		version = partsVersion
	}
	b = wire.AppendInt(append(b, version), u.made)
	b = wire.AppendString(b, u.task)
	b = wire.AppendUint(b, uint64(u.changed))
	b = wire.AppendBool(b, u.complete)
	for _, it := range u.former {
		b = wire.AppendString(b, it.Key)
		switch {
		case it.Parts != nil:
			b = it.Parts.AppendTo(append(b, wasParts))
		case it.Value != nil:
			b = wire.AppendBytes(append(b, wasWhole), it.Value)
		default:
			b = append(b, wasAbsent)
		}
	}
	return b
}

// decodeUndo reads what record made. Values are parts of b.
func decodeUndo(b []byte) (*undo, error) {
	r := wire.NewReader(b)
	if v := r.Byte(); v != recordVersion && v != partsVersion {
		return nil, &VersionError{What: "undo record", Got: v, Want: partsVersion}
	}
	u := &undo{made: r.Int(), task: r.String(), changed: int(r.Uint()), complete: r.Bool()}
	for len(r.Rest()) > 0 {
		it := Item{Key: r.String()}
		switch r.Byte() {
		case wasAbsent:
		case wasWhole:
			if it.Value = r.Bytes(); it.Value == nil {
				it.Value = []byte{}
			}
		case wasParts:
			m := part.ReadManifest(r)
			it.Parts = &m
			u.inParts += m.Size
		default:
			return nil, wire.ErrCorrupt
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
	return mustUndo(rec)
}

func mustUndo(rec []byte) *undo {
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
	for i := range u.former {
		s.pin(u.former[i].Parts)
	}
	s.rec.Put(undoKey(n.Name, n.Version), u.record())
	if n.Version > HistoryVersions {
		oldest := undoKey(n.Name, n.Version-HistoryVersions)
		if rec := s.rec.Get(oldest); rec != nil && rec[0] == partsVersion {
			s.unpinFormer(mustUndo(rec))
		}
		s.rec.Delete(oldest)
	}
	if u.inParts > 0 {
		s.trimPast(n, u.inParts)
	}
}

func (s *State) unpinFormer(u *undo) {
	for i := range u.former {
		s.unpin(u.former[i].Parts)
	}
}

// trimPast keeps the former values in parts of a namespace within their limit,
// the newest first, of which size is that of the newest version: a version that
// loses them cannot be undone any more.
func (s *State) trimPast(n *Namespace, size uint64) {
	for v := n.Version - 1; v > 0 && v+HistoryVersions > n.Version; v-- {
		rec := s.rec.Get(undoKey(n.Name, v))
		if rec == nil {
			return
		}
		if rec[0] != partsVersion {
			continue
		}
		u := mustUndo(rec)
		if size += u.inParts; size <= MaxPastBytes {
			continue
		}
		s.unpinFormer(u)
		u.complete, u.former, u.inParts, u.size = false, nil, 0, 0
		s.rec.Put(undoKey(n.Name, v), u.record())
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
	former := map[string]Item{}
	for v := n.Version; v > to; v-- {
		u := s.undoOf(n.Name, v)
		if u == nil || !u.complete {
			return refuse(Limit, "version %d changed more than the %d bytes that are kept, or the %d in large values, it cannot be undone", v, MaxUndoBytes, MaxPastBytes)
		}
		for _, it := range slices.Backward(u.former) { // of an item removed and put, the first note is what it was
			former[it.Key] = it
		}
	}
	c := s.difference(n, former)
	s.change(n, t.ID, &c)
	return Result{Code: OK}
}

// difference is the change that gives items of a namespace other values; one
// without a value is removed.
func (s *State) difference(n *Namespace, want map[string]Item) (c Change) {
	for key, it := range want { // sorted below
		is, _, there := s.item(n.Name, key)
		switch absent := it.Value == nil && it.Parts == nil; {
		case absent && there:
			c.Delete = append(c.Delete, key)
		case !absent && (!there || !is.same(&it)):
			c.Put = append(c.Put, it)
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
	case from.Bytes-from.InParts > MaxForkBytes:
		return refuse(Limit, "namespace %s holds %d bytes besides its large values, the limit of a fork is %d", name, from.Bytes-from.InParts, MaxForkBytes)
	}
	c := Change{Put: make([]Item, 0, from.Items)}
	s.StoredItems(name, 0, func(it Item, _ uint64) { c.Put = append(c.Put, it) })
	if c.Empty() {
		return refuse(Conflict, "namespace %s is empty", name)
	}
	s.change(n, t.ID, &c)
	return Result{Code: OK}
}
