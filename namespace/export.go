package namespace

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"

	"farm/namespace/internal/item"
)

// The shape of an exported namespace, equal for equal namespaces. Lengths and
// numbers are unsigned varints (encoding/binary) in their shortest form:
//
//	8 bytes    exportMagic
//	byte       exportVersion
//	           length of the name, name
//	           version the namespace had
//	           number of items
//	           the items in ascending order of keys: length, key, length, value
//	32 bytes   SHA-256 of all before
const (
	exportMagic   = "farmname"
	exportVersion = 1
)

// Limits of an exported file.
const (
	MaxExportBytes = 1<<30 + 64<<20 // of the whole file: a namespace, with room for keys and lengths
	MaxExportItems = 100_000        // items, as many as a namespace can have
	MaxItemKey     = 512            // bytes of the key of one item
	maxExportName  = 128            // bytes of the name
)

// Errors of ReadExport.
var (
	// ErrNotExport is returned for what is no exported namespace, is cut off,
	// or is not as it was written.
	ErrNotExport = errors.New("not an exported namespace")
	// ErrNewerExport is returned for a file that a newer farm wrote.
	ErrNewerExport = errors.New("the exported namespace was written by a newer farm")
)

// Export is a namespace as a file: what it held at one version.
type Export struct {
	Name    string // of the namespace it was
	Version uint64 // of that namespace then
	Items   Items
}

// size is the bytes of the file.
func (e *Export) size() int64 {
	n := int64(len(exportMagic) + 1 + len(appendBytes(nil, []byte(e.Name))) + sha256.Size)
	n += int64(len(binary.AppendUvarint(nil, e.Version)) + len(binary.AppendUvarint(nil, uint64(len(e.Items)))))
	for k, v := range e.Items {
		n += int64(len(binary.AppendUvarint(nil, uint64(len(k)))) + len(k) + len(binary.AppendUvarint(nil, uint64(len(v)))) + len(v))
	}
	return n
}

// Write writes the file, in pieces. Errors: *LimitError before anything is
// written, that of w.
func (e *Export) Write(to io.Writer) error {
	if len(e.Items) > MaxExportItems {
		return &LimitError{What: "exported items", Limit: MaxExportItems, Got: int64(len(e.Items))}
	}
	if n := e.size(); n > MaxExportBytes {
		return &LimitError{What: "exported bytes", Limit: MaxExportBytes, Got: n}
	}
	hash := sha256.New()
	w := bufio.NewWriterSize(to, 64<<10)
	both := io.MultiWriter(w, hash)
	b := append([]byte(exportMagic), exportVersion)
	b = appendBytes(b, []byte(e.Name))
	b = binary.AppendUvarint(b, e.Version)
	b = binary.AppendUvarint(b, uint64(len(e.Items)))
	for _, k := range slices.Sorted(maps.Keys(e.Items)) {
		b = binary.AppendUvarint(appendBytes(b, []byte(k)), uint64(len(e.Items[k])))
		for _, p := range [][]byte{b, e.Items[k]} {
			if _, err := both.Write(p); err != nil {
				return err
			}
		}
		b = b[:0]
	}
	if _, err := both.Write(b); err != nil { // of a namespace without items
		return err
	}
	if _, err := w.Write(hash.Sum(nil)); err != nil {
		return err
	}
	return w.Flush()
}

func appendBytes(b, p []byte) []byte {
	return append(binary.AppendUvarint(b, uint64(len(p))), p...)
}

// ReadExport reads a file that Write made, to its end. The values are parts of
// one piece of memory. What the items say is not looked at: see Validate.
// Errors: ErrNotExport, ErrNewerExport, *LimitError, that of r.
func ReadExport(r io.Reader) (*Export, error) {
	b, err := io.ReadAll(io.LimitReader(r, MaxExportBytes+1))
	if err != nil {
		return nil, err
	}
	if len(b) > MaxExportBytes {
		return nil, &LimitError{What: "exported bytes", Limit: MaxExportBytes, Got: int64(len(b))}
	}
	body, ok := bytes.CutPrefix(b, []byte(exportMagic))
	if !ok || len(body) < 1+sha256.Size {
		return nil, ErrNotExport
	}
	if body[0] > exportVersion {
		return nil, fmt.Errorf("%w: it has format %d, this farm knows up to %d", ErrNewerExport, body[0], exportVersion)
	}
	n := len(b) - sha256.Size
	if sum := sha256.Sum256(b[:n]); !bytes.Equal(sum[:], b[n:]) {
		return nil, fmt.Errorf("%w: it does not match its checksum", ErrNotExport)
	}
	e, ok := parseExport(body[1 : len(body)-sha256.Size])
	if !ok || body[0] == 0 {
		return nil, fmt.Errorf("%w: it is malformed", ErrNotExport)
	}
	return e, nil
}

// parseExport reads what is between the format and the checksum, and tells
// whether it is exactly what Write makes.
func parseExport(b []byte) (*Export, bool) {
	r := &exportReader{b: b}
	e := &Export{Name: string(r.bytes(maxExportName)), Version: r.uint(), Items: Items{}}
	last := ""
	for range r.count() {
		key := string(r.bytes(MaxItemKey))
		if key <= last {
			return nil, false
		}
		e.Items[key], last = r.bytes(len(r.b)), key
	}
	return e, !r.bad && len(r.b) == 0
}

// exportReader reads the parts of a file; after the first fault there is
// nothing more.
type exportReader struct {
	b   []byte
	bad bool
}

func (r *exportReader) fail() { r.b, r.bad = nil, true }

func (r *exportReader) uint() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 || n > 1 && r.b[n-1] == 0 {
		r.fail()
		return 0
	}
	r.b = r.b[n:]
	return v
}

// count is a number of items, each of at least two bytes.
func (r *exportReader) count() int {
	n := r.uint()
	if n > MaxExportItems || n > uint64(len(r.b)/2) {
		r.fail()
		return 0
	}
	return int(n)
}

func (r *exportReader) bytes(limit int) []byte {
	n := r.uint()
	if n > uint64(limit) || n > uint64(len(r.b)) {
		r.fail()
		return nil
	}
	p := r.b[:n:n]
	r.b = r.b[n:]
	return p
}

// Validate tells whether items are what a namespace can hold as far as their
// own form goes: known keys, readable values, owners that are there. Whether
// their source is Go, and allowed, Check says, and the worker that loads them.
// It returns ErrCorrupt, *LimitError.
func Validate(items Items) error {
	p, err := parts(items)
	if err != nil {
		return err
	}
	lim := (Limits{}).WithDefaults()
	for key, b := range items {
		if len(key) > MaxItemKey {
			return &LimitError{What: "key of an item", Limit: MaxItemKey, Got: int64(len(key))}
		}
		if owner := Owner(b); key[:2] == item.VarPrefix && owner != "" {
			if _, _, err := lookup(items, key[2:]); err != nil {
				return fmt.Errorf("%w: %s shares memory with %s", ErrCorrupt, key[2:], owner)
			}
		}
	}
	switch {
	case len(p.vars) > lim.Variables:
		return &LimitError{What: "variables", Limit: int64(lim.Variables), Got: int64(len(p.vars))}
	case len(p.decls) > lim.Decls:
		return &LimitError{What: "declarations", Limit: int64(lim.Decls), Got: int64(len(p.decls))}
	}
	return nil
}
