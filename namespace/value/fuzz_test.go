package value

import (
	"encoding/json"
	"errors"
	"reflect"
	"runtime"
	"testing"
	"time"
)

// fuzzVar is what the fuzz targets decode into: every kind of value.
type fuzzVar struct {
	N     int
	U     []uint16
	B     []byte
	S     []string
	P     *point
	Any   any
	Anys  []any
	M     map[string]*fuzzVar
	K     map[any]int
	PK    map[*point]int
	At    time.Time
	Arr   [3]point
	Next  *fuzzVar
	F     func()
	Err   error
	Inner **int
}

func fuzzSeeds(t testing.TB) [][]byte {
	n := 4
	pn := &n
	v := fuzzVar{N: 1, U: []uint16{1, 2}, B: []byte("b"), S: []string{"x"}, P: &point{X: 1}, Any: []any{1, time.Second, "s", [2]int{1, 2}},
		M: map[string]*fuzzVar{"a": nil}, K: map[any]int{1: 2, "x": 3}, At: time.Now(), Inner: &pn}
	v.Next = &v
	v.PK = map[*point]int{v.P: 1, &v.Arr[1]: 2}
	v.Anys = append(v.Anys, map[string]any{"k": []int{1}}, struct{ A, B int }{1, 2}, &[]*int{pn}[0])
	var seeds [][]byte
	for _, r := range []Root{root("v", &v), root("v", &v.P), root("v", &fuzzVar{}), root("v", &v.Any), root("v", &n), root("v", &v.K)} {
		seeds = append(seeds, mustEncode(t, r)[0].Data)
	}
	return seeds
}

// allocFactor bounds the memory that decoding takes, in bytes for each byte of
// data; allocBase is what it may take anyway.
const (
	allocFactor = 2000
	allocBase   = 4 << 20
)

func FuzzDecode(f *testing.F) {
	for _, s := range fuzzSeeds(f) {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		for _, ptr := range []any{new(fuzzVar), new(any), new(*point), new(int)} {
			r := root("v", ptr)
			err := Decode(data, []Root{r}, Limits{})
			var c *CorruptError
			var l *LimitError
			if err == nil {
				reencode(t, r)
			} else if !errors.As(err, &c) && !errors.As(err, &l) {
				t.Fatalf("unexpected error %v", err)
			} else if !r.Value.IsZero() {
				t.Fatal("a failed Decode changed the variable")
			}
		}
		runtime.ReadMemStats(&after)
		if got := after.TotalAlloc - before.TotalAlloc; got > allocBase+allocFactor*uint64(len(data)) {
			t.Fatalf("%d bytes of data took %d bytes of memory", len(data), got)
		}
	})
}

// reencode checks that what has been decoded can be encoded, and then is
// canonical.
func reencode(t *testing.T, r Root) {
	units, err := Encode([]Root{r}, Limits{MaxBytes: 64 << 20})
	if err != nil {
		return // such as a map keyed by pointers to equal values
	}
	v := reflect.New(r.Value.Type()).Elem()
	if err := Decode(units[0].Data, []Root{{Name: "v", Type: r.Type, Value: v}}, Limits{MaxBytes: 64 << 20}); err != nil {
		t.Fatalf("what Encode wrote cannot be decoded: %v", err)
	}
	again, err := Encode([]Root{{Name: "v", Type: r.Type, Value: v}}, Limits{MaxBytes: 64 << 20})
	if err != nil || string(again[0].Data) != string(units[0].Data) {
		t.Fatalf("not canonical: %v\n%x\n%x", err, units[0].Data, again[0].Data)
	}
}

func FuzzJSON(f *testing.F) {
	for _, s := range fuzzSeeds(f) {
		f.Add(s, `{"N":1}`)
	}
	f.Fuzz(func(t *testing.T, data []byte, j string) {
		var c *CorruptError
		var je *JSONError
		view, err := JSON(data, 0, ViewLimits{})
		if err != nil && !errors.As(err, &c) {
			t.Fatal(err)
		}
		if err == nil && !json.Valid(view) {
			t.Fatalf("not JSON: %s", view)
		}
		if len(view) > 3*DefaultViewBytes {
			t.Fatalf("a view of %d bytes", len(view))
		}
		if _, err := TypeString(data, 0); err != nil && !errors.As(err, &c) {
			t.Fatal(err)
		}
		made, err := FromJSON(data, 0, []byte(j))
		if err != nil && !errors.As(err, &c) && !errors.As(err, &je) {
			t.Fatal(err)
		}
		if err == nil {
			if _, err := JSON(made, 0, ViewLimits{}); err != nil {
				t.Fatalf("FromJSON wrote what cannot be read: %v", err)
			}
		}
		if made, _, err := InferJSON([]byte(j)); err == nil {
			if _, err := JSON(made, 0, ViewLimits{}); err != nil {
				t.Fatalf("InferJSON wrote what cannot be read: %v", err)
			}
		} else if !errors.As(err, &je) {
			t.Fatal(err)
		}
	})
}
