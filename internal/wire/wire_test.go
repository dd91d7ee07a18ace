package wire

import (
	"bytes"
	"errors"
	"math"
	"testing"
)

func TestRoundTrip(t *testing.T) {
	var b []byte
	uints := []uint64{0, 1, 127, 128, 300, math.MaxUint64}
	ints := []int64{0, 1, -1, 63, -64, 64, math.MaxInt64, math.MinInt64}
	for _, v := range uints {
		b = AppendUint(b, v)
	}
	for _, v := range ints {
		b = AppendInt(b, v)
	}
	b = AppendBool(AppendBool(b, true), false)
	b = AppendString(AppendString(b, "héllo"), "")
	b = AppendBytes(AppendBytes(b, []byte{0, 255}), nil)
	r := NewReader(b)
	for _, v := range uints {
		if got := r.Uint(); got != v {
			t.Errorf("uint %d read as %d", v, got)
		}
	}
	for _, v := range ints {
		if got := r.Int(); got != v {
			t.Errorf("int %d read as %d", v, got)
		}
	}
	if !r.Bool() || r.Bool() || r.String() != "héllo" || r.String() != "" || !bytes.Equal(r.Bytes(), []byte{0, 255}) || r.Bytes() != nil {
		t.Error("bools, strings or bytes differ")
	}
	if err := r.Done(); err != nil {
		t.Error(err)
	}
}

func TestCorrupt(t *testing.T) {
	for name, c := range map[string]struct {
		in   []byte
		read func(*Reader)
	}{
		"nothing":             {nil, func(r *Reader) { r.Uint() }},
		"cut varint":          {[]byte{0x80}, func(r *Reader) { r.Uint() }},
		"long varint":         {bytes.Repeat([]byte{0xff}, 11), func(r *Reader) { r.Uint() }},
		"zero that is long":   {[]byte{0x80, 0}, func(r *Reader) { r.Uint() }},
		"bool of two":         {[]byte{2}, func(r *Reader) { r.Bool() }},
		"bytes past the end":  {[]byte{5, 'a'}, func(r *Reader) { r.Bytes() }},
		"huge length":         {AppendUint(nil, math.MaxUint64), func(r *Reader) { _ = r.String() }},
		"count past the end":  {[]byte{9, 'a'}, func(r *Reader) { r.Count() }},
		"something left over": {[]byte{1, 1}, func(r *Reader) { r.Uint() }},
	} {
		r := NewReader(c.in)
		c.read(r)
		if err := r.Done(); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: %v", name, err)
		}
		if r.Uint() != 0 || r.Bytes() != nil || r.Count() != 0 || r.Bool() {
			t.Errorf("%s: something is read after the error", name)
		}
	}
}

// FuzzReader: whatever is read is within the input, and what is read as a
// number is written the same.
func FuzzReader(f *testing.F) {
	f.Add([]byte{1, 2, 'a', 'b', 0x80, 1})
	f.Fuzz(func(t *testing.T, in []byte) {
		r := NewReader(in)
		v := r.Uint()
		if r.Err() == nil && !bytes.HasPrefix(in, AppendUint(nil, v)) {
			t.Errorf("%d is not the one encoding of % x", v, in)
		}
		i := r.Int()
		if n := r.Count(); n > len(in) {
			t.Errorf("count %d of %d bytes", n, len(in))
		}
		_, _ = i, r.String()
		if b := r.Bytes(); len(b) > len(in) {
			t.Errorf("%d bytes of %d", len(b), len(in))
		}
	})
}
