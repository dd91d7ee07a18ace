// Package item encodes the items of a namespace. The form is documented in package namespace. It
// neither checks Go source nor looks into encoded values.
package item

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
)

// ErrCorrupt is returned for bytes that are not in the documented form.
var ErrCorrupt = errors.New("namespace: corrupt item")

const (
	format      = 1
	kindOwn     = 1
	kindShared  = 2
	kindFuncs   = 3 // its own value, with functions in it
	maxFuncs    = 10_000
	maxOrdinal  = 1 << 30
	maxPartners = 1 << 20
)

// Prefixes of the keys.
const (
	ImportPrefix = "i/"
	DeclPrefix   = "d/"
	VarPrefix    = "v/"
	HeaderPrefix = "h/"
)

// EngineKey is the key of the item that names the engine of a namespace.
const EngineKey = HeaderPrefix + "engine"

// Decl is a declaration.
type Decl struct {
	Ordinal int
	Kind    byte
	Source  string
}

// Var is a variable. It has its own value, or it shares the memory of Owner.
type Var struct {
	Type   string
	Owner  string   // "" when the value is here
	Shares []string // with a value: the other variables of the unit, sorted
	Data   []byte   // the encoded unit; not copied when parsed
	Funcs  []string // with a value: names of declarations that functions in it need, sorted
}

func str(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

func list(b []byte, names []string) []byte {
	b = binary.AppendUvarint(b, uint64(len(names)))
	for _, n := range names {
		b = str(b, n)
	}
	return b
}

// Import encodes an import.
func Import(path string) []byte { return str([]byte{format}, path) }

// Engine encodes the name of an engine.
func Engine(name string) []byte { return str([]byte{format}, name) }

// Encode encodes a declaration.
func (d Decl) Encode() []byte {
	b := binary.AppendUvarint([]byte{format}, uint64(d.Ordinal))
	return str(append(b, d.Kind), d.Source)
}

// Encode encodes a variable.
func (v Var) Encode() []byte { return append(v.head(len(v.Data)), v.Data...) }

// Is says whether b is what Encode returns, and does not make it.
func (v Var) Is(b []byte) bool {
	head := v.head(0)
	return len(b) == len(head)+len(v.Data) && bytes.HasPrefix(b, head) && bytes.Equal(b[len(head):], v.Data)
}

// head is what comes before the data, in room for more bytes.
func (v Var) head(more int) []byte {
	b := make([]byte, 0, 16+len(v.Type)+more)
	b = append(b, format)
	if v.Owner != "" {
		return str(str(append(b, kindShared), v.Type), v.Owner)
	}
	kind := byte(kindOwn)
	if len(v.Funcs) > 0 {
		kind = kindFuncs
	}
	b = list(str(append(b, kind), v.Type), v.Shares)
	if kind == kindFuncs {
		b = list(b, v.Funcs)
	}
	return b
}

// reader reads the parts of an item; the first fault sticks.
type reader struct {
	b   []byte
	bad bool
}

func open(b []byte) *reader {
	r := &reader{b: b}
	r.bad = r.byte() != format
	return r
}

func (r *reader) byte() byte {
	if r.bad || len(r.b) == 0 {
		r.bad = true
		return 0
	}
	c := r.b[0]
	r.b = r.b[1:]
	return c
}

func (r *reader) uint(limit uint64) int {
	n, w := binary.Uvarint(r.b)
	if r.bad || w <= 0 || n > limit {
		r.bad = true
		return 0
	}
	r.b = r.b[w:]
	return int(n)
}

func (r *reader) bytes() []byte {
	n := r.uint(uint64(len(r.b)))
	if r.bad || n > len(r.b) {
		r.bad = true
		return nil
	}
	s := r.b[:n]
	r.b = r.b[n:]
	return s
}

func (r *reader) list(limit uint64) (out []string) {
	n := r.uint(limit)
	for i := 0; i < n && !r.bad; i++ {
		out = append(out, string(r.bytes()))
	}
	return out
}

func (r *reader) end(key string) error {
	if r.bad || len(r.b) != 0 {
		return fmt.Errorf("%w: %s", ErrCorrupt, key)
	}
	return nil
}

// ParseImport decodes an import; key is for the error.
func ParseImport(key string, b []byte) (string, error) {
	r := open(b)
	p := string(r.bytes())
	return p, r.end(key)
}

// ParseEngine decodes the name of an engine.
func ParseEngine(b []byte) (string, error) { return ParseImport(EngineKey, b) }

// ParseDecl decodes a declaration.
func ParseDecl(key string, b []byte) (Decl, error) {
	r := open(b)
	d := Decl{Ordinal: r.uint(maxOrdinal), Kind: r.byte()}
	d.Source = string(r.bytes())
	return d, r.end(key)
}

// ParseVar decodes a variable.
func ParseVar(key string, b []byte) (Var, error) {
	r := open(b)
	kind := r.byte()
	v := Var{Type: string(r.bytes())}
	switch kind {
	case kindShared:
		v.Owner = string(r.bytes())
		r.bad = r.bad || v.Owner == ""
		return v, r.end(key)
	case kindOwn, kindFuncs:
		v.Shares = r.list(maxPartners)
		if kind == kindFuncs {
			v.Funcs = r.list(maxFuncs)
		}
		v.Data, r.b = r.b, nil
		return v, r.end(key)
	}
	return v, fmt.Errorf("%w: %s", ErrCorrupt, key)
}

// HoldsFuncs says that a variable has functions in its value, without decoding more.
func HoldsFuncs(b []byte) bool { return len(b) > 1 && b[0] == format && b[1] == kindFuncs }

// VarHeader gives the bytes of the type of a variable, without decoding the rest.
func VarHeader(b []byte) []byte {
	r := open(b)
	r.byte()
	return r.bytes()
}

// Split cuts a key into its prefix and name.
func Split(key string) (prefix, name string, err error) {
	if len(key) < 3 || key[1] != '/' || !strings.Contains("idvh", key[:1]) {
		return "", "", fmt.Errorf("%w: key %q", ErrCorrupt, key)
	}
	return key[:2], key[2:], nil
}
