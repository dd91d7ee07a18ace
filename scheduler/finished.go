package scheduler

import (
	"bytes"
	"encoding/binary"
	"slices"

	"farm/internal/wire"
)

// The list of the finished: tasks and jobs in the order in which they ended, numbered
// from FinLo, the oldest, up to FinHi, for retention and for looking through them:
//
//	F            that this farm keeps the list in pages, from its beginning
//	F/<number>   the page that begins with pageEntries times that number
//	f/<number>   one entry, where there are no pages
//
// A farm that was founded before there were pages does not begin with them later: its
// replicas must agree, and the commands of its log say nothing of it.

// pageEntries is how many entries a page has. A finished task is one more record
// without pages, with its share of the tree, its checksum and its hash: a fifth of what
// applying and writing down a task takes.
const pageEntries = 64

// listed is an entry of the list of the finished.
type listed struct {
	kind byte // listedTask, listedParked, listedJob, listedNothing
	at   int64
	size uint64 // bytes of its record
	id   string
}

// Kinds of entries.
const (
	listedNothing = 0 // where something was that is not finished any more, or was dropped
	listedTask    = 't'
	listedParked  = 'p' // a task that is counted as parked
	listedJob     = 'h'
)

func (l *listed) isTask() bool { return l.kind == listedTask || l.kind == listedParked }

// key is that of the record of what is listed.
func (l *listed) key() string {
	if l.kind == listedJob {
		return "h/" + l.id
	}
	return "t/" + l.id
}

// pages is the list of a farm that keeps it in pages, as far as it is in memory.
type pages struct {
	newest []byte // the page that FinHi belongs to, when it has entries
	dirty  bool   // newest is not in the records as it is
}

func numberKey(prefix string, n uint64) string {
	b := make([]byte, 0, 16)
	return string(binary.BigEndian.AppendUint64(append(b, prefix...), n))
}

func finKey(n uint64) string  { return numberKey("f/", n) }
func pageKey(p uint64) string { return numberKey("F/", p) }

// paged begins the keeping in pages, with what is in the list already.
func (s *State) paged() {
	if s.pages != nil {
		return
	}
	var all []listed
	for n := s.FinLo; n < s.FinHi; n++ {
		all = append(all, readListed(s.rec.Get(finKey(n))))
		s.rec.Delete(finKey(n))
	}
	s.rec.Put("F", []byte{recordVersion})
	s.pages, s.oldest = &pages{}, nil
	hi := s.FinHi
	for s.FinHi = s.FinLo - s.FinLo%pageEntries; s.FinHi < s.FinLo; {
		s.list(&listed{})
	}
	for i := range all {
		s.list(&all[i])
	}
	if s.FinHi != hi {
		panic("scheduler: the list of the finished has other numbers in pages")
	}
}

// loadPages reads what of the list is to be in memory.
func (s *State) loadPages() {
	if s.rec.Get("F") == nil {
		return
	}
	s.pages = &pages{}
	if s.FinHi%pageEntries != 0 {
		s.pages.newest = slices.Clip(s.rec.Get(pageKey(s.FinHi / pageEntries)))
	}
}

// settlePages writes the newest page down.
func (s *State) settlePages() {
	if p := s.pages; p != nil && p.dirty {
		p.dirty = false
		s.rec.Put(pageKey(s.FinHi/pageEntries), bytes.Clone(p.newest))
	}
}

// list puts an entry at the end of the list.
func (s *State) list(l *listed) {
	n := s.FinHi
	s.FinHi++
	p := s.pages
	if p == nil {
		s.rec.Put(finKey(n), l.appendTo(make([]byte, 0, 2+2*binary.MaxVarintLen64+len(l.id))))
		return
	}
	if len(p.newest) == 0 {
		p.newest = append(p.newest, recordVersion)
	}
	p.newest = l.appendInPage(p.newest)
	p.dirty = s.FinHi%pageEntries != 0
	if !p.dirty {
		s.rec.Put(pageKey(n/pageEntries), p.newest)
		p.newest = make([]byte, 0, cap(p.newest))
	}
}

// lookup reads the list, and keeps the page it read last: it is for looking at entries
// that are near to each other, while the list does not change.
type lookup struct {
	s    *State
	page uint64
	list []listed
}

// at is an entry by its number, which is from FinLo on and below FinHi.
func (k *lookup) at(n uint64) *listed {
	each := k.s.entriesPerPage()
	if p := n / each; k.list == nil || k.page != p {
		k.page, k.list = p, k.s.readPage(p)
	}
	return &k.list[n%each]
}

// entriesPerPage is pageEntries, or 1 where each entry has a record of its own.
func (s *State) entriesPerPage() uint64 {
	if s.pages == nil {
		return 1
	}
	return pageEntries
}

// readPage is the entries of a page.
func (s *State) readPage(p uint64) []listed {
	if s.pages == nil {
		return []listed{readListed(s.rec.Get(finKey(p)))}
	}
	out := make([]listed, 0, pageEntries)
	for r := s.pageReader(p); len(r.Rest()) > 0; {
		out = append(out, readInPage(r))
	}
	return out
}

// pageBegins is when the first entry of a page ended.
func (s *State) pageBegins(p uint64) int64 {
	if s.pages == nil {
		return readListed(s.rec.Get(finKey(p))).at
	}
	return readInPage(s.pageReader(p)).at
}

func (s *State) pageReader(p uint64) *wire.Reader {
	r := wire.NewReader(s.page(p))
	r.Byte()
	return r
}

// page is the record of a page.
func (s *State) page(p uint64) []byte {
	if p == s.FinHi/pageEntries {
		return s.pages.newest
	}
	return s.rec.Get(pageKey(p))
}

// relist puts another entry in the place of one.
func (s *State) relist(n uint64, l *listed) {
	s.oldest = nil // it may be that one
	if s.pages == nil {
		s.rec.Put(finKey(n), l.appendTo(nil))
		return
	}
	page := n / pageEntries
	list := s.readPage(page)
	list[n%pageEntries] = *l
	b := []byte{recordVersion}
	for i := range list {
		b = list[i].appendInPage(b)
	}
	if page == s.FinHi/pageEntries {
		s.pages.newest, s.pages.dirty = b, true
		return
	}
	s.rec.Put(pageKey(page), b)
}

// retain lists what has just become final and drops the oldest over the limits, at most
// two a call so that an entry's work is bounded.
func (s *State) retain(kind byte, id string, size int) {
	s.list(&listed{kind: kind, at: s.Clock, size: uint64(size), id: id})
	s.FinBytes += uint64(size)
	for range 2 {
		if !s.expire() {
			return
		}
	}
}

// expire drops the oldest of the list if it is not to be kept any more.
func (s *State) expire() bool {
	if s.FinLo == s.FinHi {
		return false
	}
	l := s.oldestListed()
	if l.kind != listedNothing && s.FinHi-s.FinLo <= MaxFinished && s.FinBytes <= MaxFinishedBytes && l.at+Retention > s.Clock {
		return false
	}
	if l.kind == listedJob && !s.dropFailures(l.id) {
		return false // the rest of them are for the next call
	}
	if l.kind == listedParked {
		s.unpark(mustTask(s.rec.Get(l.key())))
	}
	if l.kind != listedNothing {
		s.rec.Delete(l.key())
	}
	s.FinBytes -= l.size
	s.oldest = s.oldest[1:]
	switch n := s.FinLo; {
	case s.pages == nil:
		s.rec.Delete(finKey(n))
	case n%pageEntries == pageEntries-1:
		s.rec.Delete(pageKey(n / pageEntries))
	}
	s.FinLo++
	return true
}

// oldestListed is the first entry of the list, which is not empty. It is looked at with
// each that is added, so it is kept at hand, and with it what was on its page then.
func (s *State) oldestListed() *listed {
	if len(s.oldest) == 0 {
		each := s.entriesPerPage()
		s.oldest = s.readPage(s.FinLo / each)[s.FinLo%each:]
	}
	return &s.oldest[0]
}

// unlist takes a task or a job that ended at a time out of the list, which is in the
// order of time. Its place stays until it is the oldest.
func (s *State) unlist(kind byte, id string, at int64) {
	each := s.entriesPerPage()
	lo, hi := s.FinLo/each, (s.FinHi+each-1)/each
	for lo < hi { // for the first page that begins with something as late
		if mid := lo + (hi-lo)/2; s.pageBegins(mid) < at-1 { // a job's end is never 0
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	look := lookup{s: s}
	for n := max(s.FinLo, (max(lo, 1)-1)*each); n < s.FinHi; n++ {
		if l := look.at(n); (l.kind == kind || kind == listedTask && l.isTask()) && l.id == id {
			s.relist(n, &listed{kind: listedNothing, at: l.at})
			s.FinBytes -= l.size
			return
		}
	}
	panic("scheduler: " + id + " is finished and is not listed")
}

// ---- the form of entries ----

// appendTo makes the record of an entry that has one of its own.
func (l *listed) appendTo(b []byte) []byte {
	b = append(b, recordVersion, l.kind)
	return append(wire.AppendUint(wire.AppendInt(b, l.at), l.size), l.id...)
}

func readListed(rec []byte) (l listed) {
	r := wire.NewReader(rec)
	r.Byte()
	l.kind, l.at, l.size = r.Byte(), r.Int(), r.Uint()
	l.id = string(r.Rest())
	return l
}

func (l *listed) appendInPage(b []byte) []byte {
	b = wire.AppendUint(wire.AppendInt(append(b, l.kind), l.at), l.size)
	return wire.AppendString(b, l.id)
}

func readInPage(r *wire.Reader) listed {
	return listed{kind: r.Byte(), at: r.Int(), size: r.Uint(), id: r.String()}
}
