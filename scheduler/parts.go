package scheduler

import (
	"bytes"
	"fmt"
	"slices"

	"farm/internal/part"
	"farm/internal/wire"
)

// Limits of large values. What is over MaxChangeBytes travels as parts, before
// the change that refers to them.
const (
	MaxValueBytes    = 256 << 20 // one item
	MaxDeltaBytes    = 256 << 20 // what one task puts, parts counted in
	MaxImportBytes   = 1 << 30   // what a patch puts, parts counted in: a whole namespace
	MaxPastBytes     = 256 << 20 // former values in parts that a namespace's undo records hold
	MaxUploads       = 65_536    // parts that nothing refers to yet
	MaxUploadBytes   = 4 << 30   // bytes of them
	MaxUploaderBytes = 5 << 28   // of those, from one uploader: a namespace and a quarter
	// UploadLease is how long a part that nothing refers to is kept after it was
	// last sent, nanoseconds of the log's time.
	UploadLease = 600 * second
)

// A large item is kept as a manifest, the record of the item, and its parts,
// which any number of items, undo records and waiting patches may refer to:
//
//	p/ hash   the bytes of the part
//	c/ hash   how many references there are, and the part's size
//	l/ hash   until when it is kept without one, and who sent it
//
// A part is there as long as it has a reference or a lease. A reference ends the
// lease.
func partKey(h part.Hash) string  { return "p/" + string(h[:]) }
func countKey(h part.Hash) string { return "c/" + string(h[:]) }
func leaseKey(h part.Hash) string { return "l/" + string(h[:]) }

// lease keeps a part that nothing refers to.
type lease struct {
	hash  part.Hash
	until int64 // unix nanoseconds
	owner string
	size  uint64
	pos   int // in the heap
}

// A lease is ordered by its end.
func (l *lease) before(o *lease) bool {
	if l.until != o.until {
		return l.until < o.until
	}
	return bytes.Compare(l.hash[:], o.hash[:]) < 0
}

func (l *lease) moved(i int) { l.pos = i }
func (l *lease) at() int     { return l.pos }

func (l *lease) record() []byte {
	b := wire.AppendInt([]byte{recordVersion}, l.until)
	b = wire.AppendUint(b, l.size)
	b = wire.AppendString(b, l.owner)
	return append(b, l.hash[:]...)
}

func (s *State) loadLease(b []byte) error {
	r := wire.NewReader(b)
	if v := r.Byte(); v != recordVersion {
		return &VersionError{"lease record", v, recordVersion}
	}
	l := &lease{until: r.Int(), size: r.Uint(), owner: r.String(), hash: part.Hash(r.Fixed(part.HashBytes)), pos: -1}
	s.addLease(l)
	return r.Done()
}

func (s *State) addLease(l *lease) {
	s.leases[l.hash] = l
	s.leased.push(l)
	s.uploaded += l.size
	s.uploaders[l.owner] += l.size
}

func (s *State) dropLease(l *lease) {
	delete(s.leases, l.hash)
	s.leased.remove(l)
	s.uploaded -= l.size
	if s.uploaders[l.owner] -= l.size; s.uploaders[l.owner] == 0 {
		delete(s.uploaders, l.owner)
	}
	s.rec.Delete(leaseKey(l.hash))
}

// counted is how often a part is referred to, and its size, which is never 0.
type counted struct{ refs, size uint64 }

// counted reads the count of a part. One that is there and cannot be read is a
// bug or a broken disk.
func (s *State) counted(h part.Hash) (c counted, ok bool) {
	rec := s.rec.Get(countKey(h))
	if rec == nil {
		return c, false
	}
	r := wire.NewReader(rec)
	if v := r.Byte(); v != recordVersion {
		panic(&VersionError{"part count", v, recordVersion})
	}
	c = counted{r.Uint(), r.Uint()}
	if err := r.Done(); err != nil {
		panic("scheduler: part count: " + err.Error())
	}
	return c, true
}

func (s *State) count(h part.Hash, c counted) {
	s.rec.Put(countKey(h), wire.AppendUint(wire.AppendUint([]byte{recordVersion}, c.refs), c.size))
}

// upload takes a part, or keeps one for longer that is there.
func (s *State) upload(c *Upload) Result {
	switch {
	case c.Owner != "" && !ValidName(c.Owner):
		return refuse(Invalid, "an uploader is not a name: %q", c.Owner)
	case len(c.Bytes) == 0:
		return refuse(Invalid, "a part is empty")
	case len(c.Bytes) > part.MaxBytes:
		return refuse(Limit, "a part has %d bytes, the limit is %d", len(c.Bytes), part.MaxBytes)
	}
	l := s.leases[c.Hash]
	if l != nil {
		s.dropLease(l)
	} else {
		if _, there := s.counted(c.Hash); there {
			return Result{Code: Duplicate}
		}
		if r := s.uploadFits(c); r.Code != OK {
			return r
		}
		s.rec.Put(partKey(c.Hash), append([]byte{recordVersion}, c.Bytes...))
		s.count(c.Hash, counted{size: uint64(len(c.Bytes))})
		l = &lease{hash: c.Hash, owner: c.Owner, size: uint64(len(c.Bytes)), pos: -1}
	}
	l.until = s.Clock + UploadLease
	s.addLease(l)
	s.rec.Put(leaseKey(l.hash), l.record())
	return Result{Code: OK}
}

func (s *State) uploadFits(c *Upload) Result {
	n := uint64(len(c.Bytes))
	switch {
	case len(s.leases) >= MaxUploads:
		return refuse(Limit, "%d parts were uploaded and wait to be used, which is the limit", len(s.leases))
	case s.uploaded+n > MaxUploadBytes:
		return refuse(Limit, "parts of %d bytes were uploaded and wait to be used, the limit is %d", s.uploaded, uint64(MaxUploadBytes))
	case s.uploaders[c.Owner]+n > MaxUploaderBytes:
		return refuse(Limit, "parts of %d bytes were uploaded by %q and wait to be used, the limit is %d", s.uploaders[c.Owner], c.Owner, MaxUploaderBytes)
	}
	return Result{Code: OK}
}

// expireLeases removes the parts that nobody came to refer to in time.
func (s *State) expireLeases() {
	for s.leased.len() > 0 && s.leased.min().until <= s.Clock {
		l := s.leased.min()
		s.dropLease(l)
		s.orphans = append(s.orphans, l.hash)
	}
	s.sweep()
}

// pin refers to the parts of a value, which are there.
func (s *State) pin(m *part.Manifest) {
	if m == nil {
		return
	}
	for _, h := range m.Parts {
		c, ok := s.counted(h)
		if !ok {
			panic(fmt.Sprintf("scheduler: part %x is not there", h))
		}
		c.refs++
		s.count(h, c)
		if l := s.leases[h]; l != nil {
			s.dropLease(l)
		}
	}
}

// unpin is the opposite of pin. The parts nothing refers to then are removed
// by sweep: until then they may be pinned again.
func (s *State) unpin(m *part.Manifest) {
	if m == nil {
		return
	}
	for _, h := range m.Parts {
		c, ok := s.counted(h)
		if !ok || c.refs == 0 {
			panic(fmt.Sprintf("scheduler: part %x is let go and not pinned", h))
		}
		c.refs--
		s.count(h, c)
		if c.refs == 0 {
			s.orphans = append(s.orphans, h)
		}
	}
}

// sweep removes the parts that were unpinned and not pinned again.
func (s *State) sweep() {
	for _, h := range s.orphans {
		if c, there := s.counted(h); there && c.refs == 0 && s.leases[h] == nil {
			s.rec.Delete(partKey(h))
			s.rec.Delete(countKey(h))
		}
	}
	s.orphans = s.orphans[:0]
}

// partsThere says whether a change's parts are all there and are what its
// manifests say.
func (s *State) partsThere(c *Change) Result {
	for i := range c.Put {
		m := c.Put[i].Parts
		if m == nil {
			continue
		}
		size := uint64(0)
		for _, h := range m.Parts {
			n, there := s.counted(h)
			if !there {
				return refuse(Missing, "part %x of item %s is not there", h[:6], c.Put[i].Key)
			}
			size += n.size
		}
		if size != m.Size {
			return refuse(Invalid, "the parts of item %s have %d bytes, not %d", c.Put[i].Key, size, m.Size)
		}
	}
	return Result{Code: OK}
}

// Part returns the bytes of a part, nil when it is not there.
func (s *State) Part(h part.Hash) []byte {
	rec := s.rec.Get(partKey(h))
	if rec == nil {
		return nil
	}
	if rec[0] != recordVersion {
		panic(&VersionError{"part record", rec[0], recordVersion})
	}
	return rec[1:]
}

// Needed tells whether a part must be sent before something refers to it: it is
// not there, or will soon be gone.
func (s *State) Needed(h part.Hash) bool {
	if l := s.leases[h]; l != nil {
		return l.until-s.Clock < UploadLease/2
	}
	return s.rec.Get(countKey(h)) == nil
}

// Uploads is how many parts wait to be referred to, and their bytes.
func (s *State) Uploads() (parts int, bytes uint64) { return len(s.leases), s.uploaded }

// ---- items ----

// Versions of the record of an item, and of an undo record: with
// partsVersion values in parts are in it.
const partsVersion = 2

// size is the bytes of an item's value.
func (it *Item) size() uint64 {
	if it.Parts != nil {
		return it.Parts.Size
	}
	return uint64(len(it.Value))
}

// same tells whether two items are stored as the same value.
func (it *Item) same(o *Item) bool {
	if it.Parts == nil || o.Parts == nil {
		return it.Parts == nil && o.Parts == nil && bytes.Equal(it.Value, o.Value)
	}
	return it.Parts.Size == o.Parts.Size && slices.Equal(it.Parts.Parts, o.Parts.Parts)
}

// record is an item as it is stored.
func (it *Item) record(version uint64) []byte {
	if it.Parts != nil {
		return it.Parts.AppendTo(wire.AppendUint([]byte{partsVersion}, version))
	}
	return append(wire.AppendUint([]byte{recordVersion}, version), it.Value...)
}

// readItem reads an item's record, without its key; nil is no item. Values are
// parts of rec and never nil.
func readItem(rec []byte) (it Item, version uint64) {
	r := wire.NewReader(rec)
	switch v := r.Byte(); v {
	case recordVersion:
		version = r.Uint()
		if it.Value = r.Rest(); it.Value == nil {
			it.Value = []byte{}
		}
	case partsVersion:
		version = r.Uint()
		m := part.ReadManifest(r)
		if it.Parts = &m; r.Done() != nil {
			panic("scheduler: item record: " + r.Err().Error())
		}
	default:
		panic(&VersionError{"item record", v, partsVersion})
	}
	return it, version
}

// item reads an item of a namespace.
func (s *State) item(ns, key string) (it Item, version uint64, there bool) {
	rec := s.rec.Get(itemKey(ns, key))
	if rec == nil {
		return it, 0, false
	}
	it, version = readItem(rec)
	it.Key = key
	return it, version, true
}

// begins tells whether an item's value begins with some bytes; with those of a
// value in parts it looks at the first.
func (s *State) begins(it *Item, with []byte) bool {
	if it.Parts == nil {
		return bytes.HasPrefix(it.Value, with)
	}
	return bytes.HasPrefix(s.Part(it.Parts.Parts[0]), with)
}

// whole puts the value of an item together.
func (s *State) whole(it *Item) []byte {
	if it.Parts == nil {
		return it.Value
	}
	b, err := part.Join(*it.Parts, it.Parts.Size, s.Part)
	if err != nil {
		panic("scheduler: item " + it.Key + ": " + err.Error())
	}
	return b
}

// Stored returns an item as it is stored, in parts if it is large, and the
// version that last changed it.
func (s *State) Stored(ns, key string) (it Item, version uint64, there bool) { return s.item(ns, key) }

// StoredItems calls fn for the items of a namespace that were changed after
// version since, as they are stored, by key.
func (s *State) StoredItems(ns string, since uint64, fn func(it Item, version uint64)) {
	prefix := itemKey(ns, "")
	s.rec.Scan(prefix, "", func(k string, rec []byte) bool {
		if it, v := readItem(rec); v > since {
			it.Key = k[len(prefix):]
			fn(it, v)
		}
		return true
	})
}
