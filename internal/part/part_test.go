package part

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"slices"
	"testing"

	"farm/internal/wire"
)

func random(n int, seed uint64) []byte {
	b := make([]byte, n)
	r := rand.New(rand.NewPCG(seed, 1))
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

func join(m Manifest, parts []Part) ([]byte, error) {
	held := map[Hash][]byte{}
	for _, p := range parts {
		held[p.Hash] = p.Bytes
	}
	return Join(m, 1<<30, func(h Hash) []byte { return held[h] })
}

func TestCutAndJoin(t *testing.T) {
	for _, n := range []int{0, 1, MinBytes - 1, MinBytes, MinBytes + 1, MaxBytes, MaxBytes + 1, 3 << 20} {
		for _, b := range [][]byte{make([]byte, n), random(n, uint64(n))} {
			m, parts := Cut(b)
			got, err := join(m, parts)
			if err != nil || !bytes.Equal(got, b) {
				t.Fatalf("%d bytes: %d back, %v", n, len(got), err)
			}
			for i, p := range parts {
				if len(p.Bytes) > MaxBytes || len(p.Bytes) < MinBytes && i+1 < len(parts) || HashOf(p.Bytes) != p.Hash {
					t.Fatalf("%d bytes: part %d has %d", n, i, len(p.Bytes))
				}
			}
		}
	}
}

// A change in the middle, also one that moves all that follows, costs a few
// parts and not all of them.
func TestMostPartsSurvive(t *testing.T) {
	b := random(16<<20, 7)
	_, before := Cut(b)
	known := map[Hash]bool{}
	for _, p := range before {
		known[p.Hash] = true
	}
	_, after := Cut(slices.Concat(b[:8<<20], []byte("inserted"), b[8<<20:]))
	fresh := 0
	for _, p := range after {
		if !known[p.Hash] {
			fresh++
		}
	}
	if len(before) < 16<<20/MaxBytes || len(before) > 16<<20/MinBytes {
		t.Errorf("%d parts", len(before))
	}
	if fresh == 0 || fresh > 3 {
		t.Errorf("%d of %d parts are new after inserting 8 bytes", fresh, len(after))
	}
}

func TestJoinRefuses(t *testing.T) {
	m, parts := Cut(random(1<<20, 3))
	for name, bad := range map[string]func(m *Manifest, p *[]Part){
		"a missing part": func(_ *Manifest, p *[]Part) { *p = (*p)[1:] },
		"a part less":    func(m *Manifest, _ *[]Part) { m.Parts = m.Parts[1:] },
		"a part more":    func(m *Manifest, _ *[]Part) { m.Parts = append(slices.Clone(m.Parts), m.Parts[0]) },
		"too large":      func(m *Manifest, _ *[]Part) { m.Size = 1<<30 + 1 },
	} {
		m, parts := m, slices.Clone(parts)
		bad(&m, &parts)
		if _, err := join(m, parts); !errors.Is(err, ErrMismatch) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := ParseHashes([]byte("short")); !errors.Is(err, ErrMismatch) {
		t.Error(err)
	}
	if list, err := ParseHashes(Hashes(m.Parts)); err != nil || !slices.Equal(list, m.Parts) {
		t.Error(list, err)
	}
}

func TestChoose(t *testing.T) {
	const k = 1 << 10
	for _, c := range []struct {
		sizes []int
		whole uint64
		want  []bool
	}{
		{[]int{10, LargeBytes - 1, LargeBytes, 5 << 20}, 0, []bool{false, false, true, true}},
		{[]int{200 * k, 200 * k, 100 * k, 50 * k}, 0, []bool{true, false, false, false}},
		{slices.Repeat([]int{SmallBytes - 1}, 1000), 0, make([]bool, 1000)},
		{[]int{10, 3 * k, SmallBytes, SmallBytes - 1}, CrowdedBytes, []bool{false, true, true, false}},
		{[]int{10, 3 * k}, CrowdedBytes - 3*k, []bool{false, true}},
		{[]int{10, 3 * k}, CrowdedBytes - 3*k - 10, []bool{false, false}},
	} {
		if got := Choose(c.sizes, c.whole); !slices.Equal(got, c.want) {
			t.Errorf("%v in a namespace of %d: %v", c.sizes, c.whole, got)
		}
	}
}

func FuzzManifest(f *testing.F) {
	m, _ := Cut(random(1<<20, 3))
	f.Add(m.AppendTo(nil))
	f.Add([]byte{1, 200, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		r := wire.NewReader(b)
		m := ReadManifest(r)
		if r.Done() == nil && !bytes.Equal(m.AppendTo(nil), b) {
			t.Fatalf("%x reads as %+v", b, m)
		}
	})
}
