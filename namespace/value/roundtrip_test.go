package value

import (
	"bytes"
	"container/list"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"math/big"
	"math/rand/v2"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

type point struct {
	X    int
	y    int8
	note string
}

type ident int

type node struct {
	Val         int
	Left, Right *node
	Kids        []*node
	Index       map[string]*node
	Any         any
	Err         error
	F           func()
}

type wrapper struct {
	point
	P    *point
	tags map[ident][]string
	arr  [3]point
	_    int
}

func TestRoundTripValues(t *testing.T) {
	type pair struct {
		A int
		B float32
	}
	nan := math.Float64frombits(0x7ff8000000000abc)
	values := []any{
		true, false, int(-5), int8(-128), int16(-300), int32(math.MinInt32), int64(math.MinInt64), uint(7), uint8(255),
		uint16(65535), uint32(math.MaxUint32), uint64(math.MaxUint64), uintptr(9), float32(1.5), 2.5,
		math.Inf(1), math.Inf(-1), complex64(complex(1, -2)), complex(math.Inf(1), 3), "", "text", "\xff\xfe bad utf8 \x00",
		ident(4), []int(nil), []int{}, []int{1, -2, 3}, []byte{0, 1, 255}, []byte(nil), []string{"a", "", "\xff"}, []float64{1, -0.5},
		map[string]int(nil), map[string]int{}, map[string]int{"b": 2, "a": 1, "long key": 3},
		map[string]string{"x": "y"}, map[string]float64{"x": 1.5}, map[string]bool{"t": true}, map[int]string{-1: "a", 300: "b"},
		map[point][]int{{1, 2, "n"}: {1}, {}: nil}, map[any]any{1: "a", "b": 2.5, ident2(3): nil}, map[[2]string]int{{"a", "b"}: 1},
		[0]int{}, [3]bool{true, false, true}, [2][2]int8{{1, 2}, {3, 4}}, struct{}{}, []struct{}{{}, {}}, pair{1, 2},
		point{1, 2, "n"}, wrapper{point: point{1, 2, "e"}, P: &point{3, 4, "p"}, tags: map[ident][]string{1: {"a"}, 2: nil}},
		[]point{{1, 2, "a"}, {3, 4, "b"}}, (*point)(nil), &point{5, 6, "q"}, []*int{nil}, (*int)(nil),
		any(nil), []any{nil, 1, "s", 2.5, true, []any{1}, map[string]any{"k": []string{"v"}}, time.Second, [2]int{1, 2}},
		(func())(nil), (chan int)(nil), []func(){nil}, struct{ F func() }{}, time.Duration(5), time.March,
		[]time.Time{{}, time.Unix(1, 2).UTC()}, big.NewInt(-12345678901234), *big.NewInt(7), []big.Int{*big.NewInt(1)},
		&strconv.NumError{Func: "f", Num: "1", Err: strconv.ErrRange},
	}
	for _, v := range values {
		t.Run(fmt.Sprintf("%T", v), func(t *testing.T) {
			p := reflect.New(reflect.TypeOf(&v).Elem())
			if v != nil {
				p = reflect.New(reflect.TypeOf(v))
				p.Elem().Set(reflect.ValueOf(v))
			}
			roots := []Root{{Name: "v", Type: static.of(p.Elem().Type()), Value: p.Elem()}}
			got := restore(t, mustEncode(t, roots...), roots)
			if want := p.Elem().Interface(); !reflect.DeepEqual(got[0].Value.Interface(), want) {
				t.Errorf("got %#v, want %#v", got[0].Value.Interface(), want)
			}
		})
	}
	if got := carry(t, nan); math.Float64bits(got) != math.Float64bits(nan) {
		t.Errorf("NaN payload became %x", math.Float64bits(got))
	}
	if got := carry(t, math.Copysign(0, -1)); !math.Signbit(got) {
		t.Error("-0 lost its sign")
	}
	if got := carry(t, []float32{float32(math.Copysign(0, -1))}); !math.Signbit(float64(got[0])) {
		t.Error("float32 -0 lost its sign")
	}
}

// ident2 makes a named standard value, since interfaces cannot keep those of
// unknown packages.
func ident2(n int) any { return time.Month(n) }

func TestRoundTripCapacity(t *testing.T) {
	s := make([]int, 2, 10)
	s[:10][7] = 42
	got := carry(t, s)
	if len(got) != 2 || cap(got) != 10 || got[:10][7] != 42 {
		t.Errorf("len %d, cap %d, hidden element %d", len(got), cap(got), got[:10][7])
	}
	if got := carry(t, make([]struct{}, 3, 8)); len(got) != 3 || cap(got) != 8 {
		t.Errorf("slice of empty structs: len %d, cap %d", len(got), cap(got))
	}
}

func TestRoundTripTimes(t *testing.T) {
	paris, err := time.LoadLocation("Europe/Paris")
	if err != nil {
		t.Skip("this machine has no time zone data:", err)
	}
	cet, err := time.LoadLocation("CET") // in winter its abbreviation is its name
	if err != nil {
		t.Fatal(err)
	}
	for _, at := range []time.Time{
		{}, time.Date(2024, 1, 1, 0, 0, 0, 1, cet), time.Unix(0, 0).UTC(), time.Date(2024, 7, 1, 12, 0, 0, 123456789, paris), time.Date(2024, 1, 1, 0, 0, 0, 1, paris),
		time.Date(1900, 1, 1, 0, 0, 0, 0, time.FixedZone("odd", 12345)), time.Date(2024, 1, 1, 0, 0, 0, 0, time.FixedZone("", -60)),
		time.Date(-5000, 1, 1, 0, 0, 0, 5, time.UTC), time.Now().Local(), time.Date(2024, 1, 1, 0, 0, 0, 0, time.FixedZone("UTC", 0)),
	} {
		got := carry(t, at)
		if !got.Equal(at) || got.Format(time.RFC3339Nano+" MST") != at.Format(time.RFC3339Nano+" MST") ||
			got.Location().String() != at.Location().String() || got.IsZero() != at.IsZero() {
			t.Errorf("%v (%v) became %v (%v)", at, at.Location(), got, got.Location())
		}
		if later := at.AddDate(0, 6, 0); !got.AddDate(0, 6, 0).Equal(later) {
			t.Errorf("half a year after %v: %v", later, got.AddDate(0, 6, 0))
		}
	}
	if a := carry(t, [2]time.Time{time.Unix(5, 0).In(paris), time.Unix(5, 0).In(paris)}); a[0] != a[1] {
		t.Error("equal times differ")
	}
}

func TestRoundTripStandardTypes(t *testing.T) {
	var b strings.Builder
	b.WriteString("built")
	got := carry(t, struct {
		b *strings.Builder
		c strings.Builder
	}{b: &b})
	got.b.WriteString("!")
	got.c.WriteString("fresh")
	if got.b.String() != "built!" || got.c.String() != "fresh" {
		t.Errorf("builders: %q, %q", got.b.String(), got.c.String())
	}

	var buf bytes.Buffer
	buf.WriteString("hello")
	buf.ReadByte()
	rb := carry(t, &buf)
	if rb.String() != "ello" || rb.UnreadByte() != nil || rb.String() != "hello" {
		t.Errorf("buffer: %q", rb.String())
	}

	l := list.New()
	l.PushBack(1)
	l.PushFront("zero")
	rl := carry(t, l)
	if rl.Len() != 2 || rl.Front().Value != "zero" || rl.Front().Next().Value != 1 || rl.Front().Next().Next() != nil {
		t.Errorf("list: %v", rl)
	}

	var mu sync.Mutex
	mu.Lock()
	mu.Unlock() //nolint:staticcheck // a mutex that was used
	m := carry(t, &mu)
	m.Lock()
	m.Unlock() //nolint:staticcheck // it works, that is all

	var once sync.Once
	once.Do(func() {})
	carry(t, &once).Do(func() { t.Error("done a second time") })

	var n atomic.Int64
	n.Store(-9)
	if got := carry(t, &n).Load(); got != -9 {
		t.Errorf("atomic: %d", got)
	}

	r := rand.New(rand.NewPCG(1, 2))
	r.Uint64()
	if got := carry(t, r); got.Uint64() != r.Uint64() {
		t.Error("the random sequence does not go on")
	}
	if re := carry(t, regexp.MustCompile(`a+(b)?`)); re.FindString("caab") != "aab" {
		t.Error("regexp")
	}
	f := carry(t, new(big.Float).SetPrec(100).SetInt64(3))
	if f.Prec() != 100 || f.Cmp(big.NewFloat(3)) != 0 {
		t.Error("big.Float")
	}
	if rat := carry(t, big.NewRat(1, 3)); rat.Cmp(big.NewRat(1, 3)) != 0 {
		t.Error("big.Rat")
	}
}

func TestErrorsKeepIdentity(t *testing.T) {
	sentinel := errors.New("boom")
	last := fmt.Errorf("while: %w", sentinel)
	eof := io.EOF
	both := errors.Join(sentinel, io.ErrUnexpectedEOF)
	deadline := context.DeadlineExceeded
	canceled := context.Canceled
	roots := []Root{root("a", &sentinel), root("b", &last), root("c", &eof), root("d", &both), root("e", &deadline), root("f", &canceled)}
	units := mustEncode(t, roots...)
	got := restore(t, units, roots)
	get := func(i int) error { return got[i].Value.Interface().(error) }
	switch {
	case !errors.Is(get(1), get(0)) || get(1).Error() != "while: boom":
		t.Error("a wrapped error lost what it wraps")
	case get(2) != io.EOF: //nolint:errorlint // it must be the very value
		t.Error("io.EOF is another error")
	case !errors.Is(get(3), get(0)) || !errors.Is(get(3), io.ErrUnexpectedEOF):
		t.Error("a joined error lost its parts")
	case get(4) != context.DeadlineExceeded || get(5) != context.Canceled: //nolint:errorlint // they must be the very values
		t.Error("errors of context")
	}
}
