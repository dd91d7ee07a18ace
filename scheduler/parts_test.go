package scheduler

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"testing"

	"farm/internal/part"
	"farm/internal/wire"
)

// bulk makes large values cheap: one part many times over.
type bulk struct {
	*State
	t     *testing.T
	hash  part.Hash
	tasks int
}

func newBulk(t *testing.T) *bulk {
	b := &bulk{State: mustLoad(plainRecords{}), t: t}
	b.Advance(second)
	b.Step(&WorkerUp{Worker: "w", Incarnation: 1, Slots: 1})
	p := make([]byte, part.MaxBytes)
	b.hash = part.HashOf(p)
	if r := b.Step(&Upload{Hash: b.hash, Bytes: p}); r.Code != OK {
		t.Fatal(r)
	}
	b.complete("first", Change{Put: []Item{{Key: "x", Parts: b.manifest(1)}}}) // it stays
	return b
}

func (b *bulk) manifest(parts int) *part.Manifest {
	return &part.Manifest{Size: uint64(parts) * part.MaxBytes, Parts: slices.Repeat([]part.Hash{b.hash}, parts)}
}

// complete runs a task that makes a change, and returns it.
func (b *bulk) complete(ns string, c Change) *Task {
	b.t.Helper()
	b.tasks++
	id := fmt.Sprint("t", b.tasks)
	b.Step(&Submit{ID: id, Namespace: ns, Kind: Run})
	x, n := b.Task(id), b.Namespace(ns)
	cmd := &Complete{Task: id, Attempt: 1, Worker: "w", Incarnation: 1, Epoch: x.Epoch, Base: n.Version, Status: Success, Change: c}
	again, err := DecodeCommand(wire.NewReader(cmd.AppendTo(nil)))
	if err != nil {
		b.t.Fatal(err)
	}
	if r := b.Step(again); r.Code != OK {
		b.t.Fatal(r)
	}
	b.Effects()
	return b.Task(id)
}

// patch does the same as a patch.
func (b *bulk) patch(ns string, c Change) (Result, *Task) {
	b.tasks++
	id := fmt.Sprint("t", b.tasks)
	r := b.Step(&Submit{ID: id, Namespace: ns, Kind: PatchParts, Body: c.Encode()})
	return r, b.Task(id)
}

func cause(x *Task) string { return strings.Join(x.Causes, " ") }

const partsOf = MaxValueBytes / part.MaxBytes

// TestLargeValueLimits: a value, what a task puts, an import and a namespace may
// have as much as their limits and not a byte more.
func TestLargeValueLimits(t *testing.T) {
	b := newBulk(t)
	// With their keys two values of half the limit are over it.
	if x := b.complete("a", Change{Put: []Item{{Key: "k", Parts: b.manifest(partsOf - 1)}, {Key: "l", Value: make([]byte, part.MaxBytes-2)}}}); x.State != Succeeded {
		t.Errorf("as much as a task may put: %q", x.Causes)
	}
	if x := b.complete("a", Change{Put: []Item{{Key: "k", Parts: b.manifest(partsOf - 1)}, {Key: "l", Value: make([]byte, part.MaxBytes-1)}}}); x.State != Failed || !strings.Contains(cause(x), fmt.Sprintf("has %d bytes, the limit is %d", MaxDeltaBytes+1, MaxDeltaBytes)) {
		t.Errorf("a byte more than a task may put: %s %q", x.State, x.Causes)
	}
	if r, x := b.patch("b", Change{Put: []Item{{Key: "k", Parts: b.manifest(partsOf)}}}); r.Code != OK || x.State != Succeeded {
		t.Errorf("the largest value: %v", r)
	}
	over := b.manifest(partsOf)
	over.Size++
	if r, _ := b.patch("b", Change{Put: []Item{{Key: "k", Parts: over}}}); r.Code != Limit || !strings.Contains(r.Detail, fmt.Sprint(MaxValueBytes)) {
		t.Errorf("a larger value: %v", r)
	}
	four := Change{}
	for _, k := range []string{"k", "l", "m"} {
		four.Put = append(four.Put, Item{Key: k, Parts: b.manifest(partsOf)})
	}
	four.Put = append(four.Put, Item{Key: "n", Parts: b.manifest(partsOf - 1)}, Item{Key: "o", Value: make([]byte, part.MaxBytes-5)})
	if r, x := b.patch("c", four); r.Code != OK || x.State != Succeeded || b.Namespace("c").Bytes != MaxNamespaceBytes {
		t.Fatalf("a full namespace: %v %q", r, x.Causes)
	}
	if x := b.complete("c", Change{Put: []Item{{Key: "p"}}}); x.State != Failed || !strings.Contains(cause(x), fmt.Sprintf("would hold %d, the limit is %d", MaxNamespaceBytes+1, MaxNamespaceBytes)) {
		t.Errorf("more in a full namespace: %s %q", x.State, x.Causes)
	}
	if x := b.complete("c", Change{Put: []Item{{Key: "l", Parts: b.manifest(partsOf - 1)}}}); x.State != Succeeded {
		t.Errorf("less in the place of more in a full namespace: %q", x.Causes)
	}
	four.Put[4].Value = append(four.Put[4].Value, 1)
	if r, _ := b.patch("d", four); r.Code != Limit || !strings.Contains(r.Detail, fmt.Sprint(MaxImportBytes)) {
		t.Errorf("a larger import: %v", r)
	}
	if err := recountBulk(b); err != nil {
		t.Error(err)
	}
}

// recountBulk holds the count of the one part against all that refers to it.
func recountBulk(b *bulk) error {
	refs := uint64(0)
	add := func(it Item) {
		if it.Parts != nil {
			refs += uint64(len(it.Parts.Parts))
		}
	}
	for name := range b.namespaces {
		b.StoredItems(name, 0, func(it Item, _ uint64) { add(it) })
	}
	b.rec.Scan("u/", "", func(_ string, rec []byte) bool {
		for _, it := range mustUndo(rec).former {
			add(it)
		}
		return true
	})
	if c, _ := b.counted(b.hash); c.refs != refs {
		return fmt.Errorf("%d references, counted %d", refs, c.refs)
	}
	return nil
}

// TestMalformedParts: what a manifest says is held against what is there.
func TestMalformedParts(t *testing.T) {
	b := newBulk(t)
	short := b.manifest(2)
	short.Size--
	for want, c := range map[string]Change{
		"have 1048576 bytes, not 1048575": {Put: []Item{{Key: "k", Parts: short}}},
		"has no parts":                    {Put: []Item{{Key: "k", Parts: &part.Manifest{}}}},
		"not in order":                    {Put: []Item{{Key: "k", Parts: b.manifest(1)}, {Key: "k", Value: []byte("v")}}},
		"not in parts":                    {Put: []Item{{Key: "k", Parts: &part.Manifest{Size: 1, Parts: make([]part.Hash, MaxChangeBytes/part.HashBytes)}}}},
	} {
		if x := b.complete("a", c); x.State != Failed || !strings.Contains(cause(x), want) {
			t.Errorf("%s: %s %q", want, x.State, x.Causes)
		}
		if r, _ := b.patch("a", c); r.Code != Limit && (r.Code != Invalid || !strings.Contains(r.Detail, want)) {
			t.Errorf("%s: %v", want, r)
		}
	}
	// A kind and its body belong together.
	x := Change{Put: []Item{{Key: "k", Parts: b.manifest(1)}}}
	b.Step(&Submit{ID: "p", Namespace: "a", Kind: Patch, Body: x.Encode()})
	if p := b.Task("p"); p.State != Failed {
		t.Errorf("a plain patch with parts %s", p.State)
	}
	if r, _ := b.patch("a", Change{Require: []Item{{Key: "k", Value: []byte("other")}}, Put: x.Put}); r.Code != OK {
		t.Error(r)
	}
	if b.complete("b", x); b.begins(&Item{Parts: b.manifest(2)}, make([]byte, 10)) != true || b.begins(&Item{Parts: b.manifest(2)}, []byte{1}) {
		t.Error("how a value in parts begins")
	}
}

// TestUploadLimits: what waits to be used is bounded, in all and by uploader.
func TestUploadLimits(t *testing.T) {
	s := mustLoad(plainRecords{})
	n := uint64(0)
	send := func(owner string, size int) Result {
		n++
		b := binary.LittleEndian.AppendUint64(nil, n)
		b = append(b, make([]byte, size-len(b))...)
		return s.Step(&Upload{Owner: owner, Hash: part.HashOf(b), Bytes: b})
	}
	refused := func(r Result, what string) {
		t.Helper()
		if r.Code != Limit || !strings.Contains(r.Detail, what) {
			t.Errorf("%v, want a limit that says %s", r, what)
		}
	}
	if r := s.Step(&Upload{Owner: "a/b", Bytes: []byte("x")}); r.Code != Invalid {
		t.Errorf("a bad owner: %v", r)
	}
	if r := s.Step(&Upload{}); r.Code != Invalid {
		t.Errorf("an empty part: %v", r)
	}
	refused(send("w", part.MaxBytes+1), fmt.Sprint(part.MaxBytes))
	if r := send("w", part.MaxBytes); r.Code != OK {
		t.Errorf("the largest part: %v", r)
	}
	// As if more had come.
	s.uploaders["w"] += MaxUploaderBytes - part.MaxBytes - 100
	if r := send("w", 100); r.Code != OK {
		t.Errorf("as much as one may send: %v", r)
	}
	refused(send("w", 8), fmt.Sprint(MaxUploaderBytes))
	s.uploaded = MaxUploadBytes - 100
	if r := send("v", 100); r.Code != OK {
		t.Errorf("as much as all may send: %v", r)
	}
	refused(send("u", 8), fmt.Sprint(uint64(MaxUploadBytes)))
	s = mustLoad(plainRecords{})
	for range MaxUploads {
		send("", 8)
	}
	refused(send("", 8), fmt.Sprint(MaxUploads))
	s.Advance(UploadLease)
	if k, size := s.Uploads(); k != 0 || size != 0 || len(s.uploaders) != 0 || len(s.settled()) != 1 {
		t.Errorf("when their time is over, %d of %d bytes are left", k, size)
	}
	if r := send("", 8); r.Code != OK || s.NextDeadline() != 2*UploadLease {
		t.Errorf("afterwards: %v, next deadline %d", r, s.NextDeadline())
	}
}

// TestNeeded: a part is to be sent when it is not there or will soon be gone.
func TestNeeded(t *testing.T) {
	b := newBulk(t)
	p := []byte("part")
	h := part.HashOf(p)
	if b.Needed(b.hash) || !b.Needed(h) {
		t.Error("what is there is needed, or what is not is not")
	}
	b.Step(&Upload{Hash: h, Bytes: p})
	if b.Needed(h) {
		t.Error("needed again at once")
	}
	b.Advance(b.Clock + UploadLease/2 + 1)
	if !b.Needed(h) {
		t.Error("not needed although half its time is over")
	}
	b.Step(&Upload{Owner: "w", Hash: h, Bytes: p})
	if b.Needed(h) || b.Part(h) == nil || !bytes.Equal(b.Part(h), p) {
		t.Error("needed after it was sent again")
	}
}

// TestPastInParts: the former values in parts of a namespace are kept within
// their limit, the newest first; what loses them cannot be undone.
func TestPastInParts(t *testing.T) {
	b := newBulk(t)
	third := func() Change { return Change{Put: []Item{{Key: "k", Parts: b.manifest(partsOf / 3)}}} }
	restorable := func(want ...bool) {
		t.Helper()
		var is []bool
		for _, v := range b.History("a") {
			is = append(is, v.Restorable)
		}
		if !slices.Equal(is, want) {
			t.Errorf("restorable: %v, want %v", is, want)
		}
		if err := recountBulk(b); err != nil {
			t.Error(err)
		}
	}
	b.complete("a", third()) // nothing was before it
	for range 3 {
		b.complete("a", third())
	}
	restorable(true, true, true, true)
	b.complete("a", third())
	restorable(true, true, true, true, false)
	b.complete("a", Change{Put: []Item{{Key: "k", Parts: b.manifest(partsOf - 1)}}})
	restorable(true, true, true, true, false, false)
	b.complete("a", Change{Put: []Item{{Key: "k", Value: []byte("small")}}})
	restorable(true, true, false, false, false, false, false)
	b.Step(&Submit{ID: "r", Namespace: "a", Kind: Restore, Body: RestoreBody(6)})
	if it, _, _ := b.Stored("a", "k"); it.Parts == nil || it.size() != MaxValueBytes-part.MaxBytes {
		t.Errorf("restored to %d bytes, %q", it.size(), b.Task("r").Causes)
	}
	restorable(true, true, true, false, false, false, false, false)
	for i := range 2 * HistoryVersions {
		b.complete("a", Change{Put: []Item{{Key: "k", Value: []byte{byte(i)}}}})
	}
	if err := recountBulk(b); err != nil {
		t.Error(err)
	}
	if c, _ := b.counted(b.hash); c.refs != 1 {
		t.Errorf("%d references are left of a past that is over", c.refs)
	}
}

// TestForkInParts: large values are not copied by a fork, and do not count for
// its limit.
func TestForkInParts(t *testing.T) {
	b := newBulk(t)
	b.patch("a", Change{Put: []Item{{Key: "k", Parts: b.manifest(partsOf)}, {Key: "l", Value: []byte("v")}}})
	before := len(b.settled())
	b.Step(&Submit{ID: "f", Namespace: "b", Kind: Fork, Body: ForkBody("a")})
	if x := b.Task("f"); x.State != Succeeded || b.Namespace("b").Bytes != b.Namespace("a").Bytes {
		t.Fatalf("%s %q", x.State, x.Causes)
	}
	size := 0
	for k, rec := range b.settled() {
		if strings.HasPrefix(k, "i/b/") {
			size += len(rec)
		}
	}
	if grown := len(b.settled()) - before; grown > 7 || size > 2*partsOf*part.HashBytes {
		t.Errorf("the fork made %d records, its items have %d bytes", grown, size)
	}
	if err := recountBulk(b); err != nil {
		t.Error(err)
	}
}
