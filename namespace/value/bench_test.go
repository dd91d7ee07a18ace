package value

import (
	"fmt"
	"testing"
)

func benchmark(b *testing.B, ptr any) {
	roots := []Root{root("v", ptr)}
	lim := Limits{MaxBytes: 64 << 20}
	units, err := Encode(roots, lim)
	if err != nil {
		b.Fatal(err)
	}
	b.Run("encode", func(b *testing.B) {
		b.ReportAllocs()
		b.SetBytes(int64(len(units[0].Data)))
		for b.Loop() {
			if _, err := Encode(roots, lim); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("decode", func(b *testing.B) {
		b.ReportAllocs()
		b.SetBytes(int64(len(units[0].Data)))
		into := fresh(roots)
		for b.Loop() {
			if err := Decode(units[0].Data, into, lim); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkInt(b *testing.B)    { n := 12345; benchmark(b, &n) }
func BenchmarkString(b *testing.B) { s := "some text"; benchmark(b, &s) }
func BenchmarkStruct(b *testing.B) { p := point{1, 2, "note"}; benchmark(b, &p) }

func BenchmarkInts(b *testing.B) {
	s := make([]int, 100000)
	for i := range s {
		s[i] = i * 7
	}
	benchmark(b, &s)
}

func BenchmarkFloats(b *testing.B) { s := make([]float64, 100000); benchmark(b, &s) }
func BenchmarkBytes(b *testing.B)  { s := make([]byte, 1<<20); benchmark(b, &s) }

func BenchmarkMap(b *testing.B) {
	m := map[string]int{}
	for i := range 100000 {
		m[fmt.Sprint("key", i)] = i
	}
	benchmark(b, &m)
}

func BenchmarkPointers(b *testing.B) {
	var head *node
	for i := range 100000 {
		head = &node{Val: i, Left: head}
	}
	benchmark(b, &head)
}

func BenchmarkStructs(b *testing.B) { s := make([]point, 100000); benchmark(b, &s) }

func BenchmarkAnys(b *testing.B) {
	s := make([]any, 10000)
	for i := range s {
		s[i] = i
	}
	benchmark(b, &s)
}

func BenchmarkJSON(b *testing.B) {
	s := make([]point, 1000)
	data := mustEncode(b, root("v", &s))[0].Data
	b.ReportAllocs()
	for b.Loop() {
		if _, err := JSON(data, 0, ViewLimits{}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDecodeJSONInt(b *testing.B) {
	n := 0
	r := root("n", &n)
	b.ReportAllocs()
	for b.Loop() {
		if err := DecodeJSON(r.Type, r.Value, []byte("12345")); err != nil {
			b.Fatal(err)
		}
	}
}
