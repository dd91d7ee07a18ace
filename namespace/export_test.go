package namespace

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"

	"farm/namespace/internal/item"
)

func exported(t testing.TB, e *Export) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := e.Write(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// sealed puts the checksum behind what may be wrong otherwise.
func sealed(b []byte) []byte {
	sum := sha256.Sum256(b)
	return append(b, sum[:]...)
}

func sample() *Export {
	return &Export{Name: "sums", Version: 300, Items: Items{
		"i/strings": item.Import("strings"),
		"d/f":       item.Decl{Ordinal: 1, Kind: 2, Source: "func f() int { return n }"}.Encode(),
		"v/n":       item.Var{Type: "int", Data: []byte{1, 2, 3}}.Encode(),
		"v/empty":   {},
	}}
}

func TestExport(t *testing.T) {
	e := sample()
	b := exported(t, e)
	if !bytes.Equal(b, exported(t, &Export{Name: e.Name, Version: e.Version, Items: e.Items.Clone()})) {
		t.Error("the same namespace gives other bytes")
	}
	got, err := ReadExport(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	if got.Name != e.Name || got.Version != e.Version || !maps.EqualFunc(got.Items, e.Items, bytes.Equal) {
		t.Errorf("read back: %+v", got)
	}
	// Exactly these bytes, so that files stay readable: docs/format.md.
	want := "farmname\x01\x01a\x02\x01\x03v/n\x01z"
	if b := exported(t, &Export{Name: "a", Version: 2, Items: Items{"v/n": []byte("z")}}); string(b[:len(b)-sha256.Size]) != want {
		t.Errorf("an export is now %q", b)
	}
	half := make([]byte, MaxExportBytes/64) // one piece of memory, many times over
	many := Items{}
	for i := range 64 {
		many[fmt.Sprint("v/n", i)] = half
	}
	if err := (&Export{Items: many}).Write(&bytes.Buffer{}); !isLimit(err) {
		t.Errorf("too much was written: %v", err)
	}
}

func isLimit(err error) bool {
	_, ok := errors.AsType[*LimitError](err)
	return ok
}

// Every change of a file is noticed, and what is no export is refused.
func TestDamagedExport(t *testing.T) {
	b := exported(t, sample())
	for i := range b {
		bad := bytes.Clone(b)
		bad[i] ^= 0x41
		if _, err := ReadExport(bytes.NewReader(bad)); !errors.Is(err, ErrNotExport) && !errors.Is(err, ErrNewerExport) {
			t.Fatalf("byte %d changed: %v", i, err)
		}
		if _, err := ReadExport(bytes.NewReader(b[:i])); !errors.Is(err, ErrNotExport) {
			t.Fatalf("cut at %d: %v", i, err)
		}
	}
	for _, text := range []string{
		"farmname\x00\x01a\x02\x00",                       // format 0
		"farmname\x01\x01a\x02\x01\x03v/n\x01z!",          // something behind
		"farmname\x01\x01a\x02\x02\x03v/n\x00\x03v/n\x00", // a key twice
		"farmname\x01\x01a\x02\x02\x03v/n\x00\x03v/m\x00", // out of order
		"farmname\x01\x01a\x82\x00\x00",                   // a number longer than it needs to be
		"farmname\x01\x01a\x02\xff\xff\xff\xff\x0f\x03",   // more items than bytes
		"farmname\x01\xff\x01a",                           // a name longer than the file
		"farmname\x01\x01a\x02\x01\x00\x00",               // an empty key
	} {
		if e, err := ReadExport(bytes.NewReader(sealed([]byte(text)))); !errors.Is(err, ErrNotExport) {
			t.Errorf("%q: %+v, %v", text, e, err)
		}
	}
	if _, err := ReadExport(bytes.NewReader(sealed([]byte("farmname\x02")))); !errors.Is(err, ErrNewerExport) {
		t.Errorf("a newer format: %v", err)
	}
	if _, err := ReadExport(&endless{}); !isLimit(err) {
		t.Errorf("a file without end: %v", err)
	}
}

type endless struct{}

func (*endless) Read(p []byte) (int, error) { return len(p), nil }

func TestValidate(t *testing.T) {
	own := func(shares ...string) []byte { return item.Var{Type: "*int", Shares: shares, Data: []byte{1}}.Encode() }
	shared := func(owner string) []byte { return item.Var{Type: "*int", Owner: owner}.Encode() }
	for name, c := range map[string]struct {
		items Items
		ok    bool
	}{
		"good":                 {Items{"v/a": own("b"), "v/b": shared("a"), "i/s": item.Import("strings")}, true},
		"no prefix":            {Items{"a": own()}, false},
		"another prefix":       {Items{"x/a": own()}, false},
		"empty name":           {Items{"v/": own()}, false},
		"not a variable":       {Items{"v/a": {9}}, false},
		"not an import":        {Items{"i/a": {1, 5, 'x'}}, false},
		"not a declaration":    {Items{"d/a": {1}}, false},
		"no owner":             {Items{"v/b": shared("a")}, false},
		"an owner that is not": {Items{"v/a": own(), "v/b": shared("a")}, false},
		"a long key":           {Items{"v/" + strings.Repeat("a", MaxItemKey): own()}, false},
	} {
		if err := Validate(c.items); (err == nil) != c.ok || err != nil && !errors.Is(err, ErrCorrupt) && !isLimit(err) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// FuzzReadExport: no file makes it crash, and what it takes is canonical.
func FuzzReadExport(f *testing.F) {
	f.Add(exported(f, sample())[:40])
	f.Add([]byte("farmname\x01\x01a\x02\x01\x03v/n\x01z"))
	f.Fuzz(func(t *testing.T, b []byte) {
		b = sealed(b)
		e, err := ReadExport(bytes.NewReader(b))
		if err != nil {
			return
		}
		if !bytes.Equal(exported(t, e), b) {
			t.Errorf("%q is read as %+v, which is written otherwise", b, e)
		}
		_ = Validate(e.Items) // only that it returns
	})
}

// TestImportedSource: whatever items bring with them, source that is not for
// cells is refused by the check of the cell that would use it.
func TestImportedSource(t *testing.T) {
	items := Items{
		"i/template": item.Import("text/template"),
		"d/f":        item.Decl{Ordinal: 1, Kind: 2, Source: `func f() { template.ParseFiles("file") }`}.Encode(),
	}
	if _, ok := errors.AsType[*NotAllowedError](Check(items, "f()")); !ok {
		t.Errorf("a member that is not allowed: %v", Check(items, "f()"))
	}
	items = Items{"i/os": item.Import("os"), "d/f": item.Decl{Ordinal: 1, Kind: 2, Source: `func f() { os.Getpid() }`}.Encode()}
	if _, ok := errors.AsType[*NotAllowedError](Check(items, "f()")); !ok {
		t.Errorf("a member that is not in the part for cells: %v", Check(items, "f()"))
	}
	items = Items{"i/exec": item.Import("os/exec"), "d/f": item.Decl{Ordinal: 1, Kind: 2, Source: `func f() { exec.Command("ls") }`}.Encode()}
	if err := Check(items, ""); err == nil {
		t.Error("a package that is not allowed is allowed")
	}
}
