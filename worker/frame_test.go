package worker

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"reflect"
	"testing"
)

func TestFramesRoundTrip(t *testing.T) {
	orders := []*order{
		{mode: keep, task: "t", namespace: "s", attempt: 3, files: map[string][]byte{"f": []byte("x")}, args: map[string]string{"a": "1", "b": ""}, source: "x", call: "f", inputs: [][]byte{[]byte("1"), []byte("[2]")}, first: 9},
		{mode: restore, items: map[string][]byte{"v/x": []byte("1"), "d/f": []byte("2")}, fold: true},
		{mode: update, change: change{put: map[string][]byte{"v/x": []byte("1")}, del: []string{"v/a", "v/b"}}, set: "x", value: []byte("7")},
	}
	for _, o := range orders {
		if got, err := readOrder(o.append(nil)); err != nil || !reflect.DeepEqual(got, o) {
			t.Errorf("%+v, %v; want %+v", got, err, o)
		}
	}
	answers := []*answer{
		{value: []byte("1"), typ: "int", results: [][]byte{[]byte("2")}, change: change{put: map[string][]byte{"v/x": []byte("1")}, del: []string{"v/a"}}},
		{spent: true, failure: &failure{kind: kindPanic, message: "boom", stack: []string{"1:2"}, permanent: true}},
		{failure: &failure{kind: kindCall, message: "input 1: no"}, failed: []failedInput{{1, "no"}}, results: [][]byte{[]byte("2"), nil}},
	}
	for _, a := range answers {
		b, err := endFrame(a.append(startFrame(nil, frameAnswer)))
		if err != nil {
			t.Fatal(err)
		}
		kind, body, err := readFrame(bytes.NewReader(b), maxUp)
		if err != nil || kind != frameAnswer {
			t.Fatal(kind, err)
		}
		if got, err := readAnswer(body); err != nil || !reflect.DeepEqual(got, a) {
			t.Errorf("%+v, %v; want %+v", got, err, a)
		}
	}
}

// A header is not believed: neither a length out of range nor one that nothing
// follows.
func TestFrameLimits(t *testing.T) {
	head := func(n uint32) io.Reader {
		return bytes.NewReader(append(binary.LittleEndian.AppendUint32(nil, n), frameAnswer))
	}
	for _, n := range []uint32{0, maxUp + 1, 1<<32 - 1} {
		if _, _, err := readFrame(head(n), maxUp); !errors.Is(err, errFrame) {
			t.Errorf("length %d: %v", n, err)
		}
	}
	took := testing.Benchmark(func(b *testing.B) {
		b.ReportAllocs()
		for range b.N {
			if _, _, err := readFrame(head(maxUp), maxUp); err == nil {
				b.Fatal("no error")
			}
		}
	}).AllocedBytesPerOp()
	if took > 2*firstRead {
		t.Errorf("a header alone costs %d bytes", took)
	}
}

// Whatever a child writes is an error or an answer.
func FuzzAnswer(f *testing.F) {
	f.Add((&answer{value: []byte("1"), results: [][]byte{nil}}).append(nil))
	f.Add((&answer{failure: &failure{kind: "x"}}).append(nil))
	f.Add([]byte{0, 0, 0xff, 0xff, 0xff, 0xff, 0x0f})
	f.Fuzz(func(t *testing.T, b []byte) {
		a, err := readAnswer(b)
		if err != nil {
			return
		}
		again, err := readAnswer(a.append(nil))
		if err != nil || !reflect.DeepEqual(again, a) {
			t.Errorf("%+v, %v; want %+v", again, err, a)
		}
	})
}
