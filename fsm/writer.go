package fsm

import (
	"bytes"

	"go.etcd.io/bbolt"
)

const (
	// flushFill is how full a page is made that new records split. Most records are
	// new, in ascending order of their keys, and never change: half-full pages, as
	// bbolt makes them for keys that come anywhere, would double what is written.
	flushFill = 0.9
	// sealChunk is how many bytes of stored values are allocated at once.
	sealChunk = 64 << 10
)

// writer puts and deletes records in one transaction, in ascending order of their
// keys, and keeps the totals. What it hands to bbolt lives as long as the
// transaction.
type writer struct {
	records *bbolt.Bucket
	totals  *totals

	key    []byte // of the record in hand; bbolt copies it
	sealed []byte // room for stored values
	// next is the first key of the file that is not below the one last looked for,
	// nil when there is none. Between the two there is nothing, so that most new
	// records need not be looked for.
	next   []byte
	looked bool
}

func newWriter(records *bbolt.Bucket, t *totals) *writer {
	records.FillPercent = flushFill
	return &writer{records: records, totals: t}
}

// write puts a record, or deletes it when value is nil. Errors: ErrCorrupt for the
// record that was there, or bbolt's.
func (w *writer) write(key string, value []byte) error {
	w.key = append(w.key[:0], key...)
	old := w.stored()
	if old != nil {
		v, err := unseal(key, old)
		if err != nil {
			return err
		}
		if value != nil && bytes.Equal(v, value) {
			return nil
		}
		w.totals.remove(key, v)
	}
	if value != nil {
		w.totals.add(key, value)
		return w.records.Put(w.key, w.seal(value))
	}
	if old == nil {
		return nil
	}
	return w.records.Delete(w.key)
}

// stored is what the file has for the key in hand, nil for nothing.
func (w *writer) stored() []byte {
	if w.looked && (w.next == nil || bytes.Compare(w.key, w.next) < 0) {
		return nil
	}
	k, v := w.records.Cursor().Seek(w.key)
	w.next, w.looked = k, true
	if !bytes.Equal(k, w.key) {
		return nil
	}
	return v
}

// seal is the stored form of a value, of the key in hand.
func (w *writer) seal(value []byte) []byte {
	n := len(value) + crcBytes
	if n > cap(w.sealed)-len(w.sealed) {
		w.sealed = make([]byte, 0, max(n, sealChunk))
	}
	at := len(w.sealed)
	w.sealed = appendSealed(w.sealed, w.key, value)
	return w.sealed[at:len(w.sealed):len(w.sealed)]
}
