package yaegi

import (
	"bytes"
	"slices"
	"testing"
)

// What the interpreter says of the frames of a panic is its trace, and not output of the
// cell; what a cell prints is.
func TestTraceLines(t *testing.T) {
	var out bytes.Buffer
	w := &traceWriter{out: &out}
	for _, line := range []string{"a.go/cell:2:5: panic: main.f(...)\n", "1: panic: main.__body7(...)\n", "a.go/cell:9: panic: main.(*T).g(...)\n",
		"panic: at the disco\n", "3: panic: no frame\n"} {
		if n, err := w.Write([]byte(line)); n != len(line) || err != nil {
			t.Errorf("%q: %d, %v", line, n, err)
		}
	}
	if got := w.positions(); !slices.Equal(got, []string{"a.go/cell:2:5", "1", "a.go/cell:9"}) {
		t.Errorf("the trace is %q", got)
	}
	if out.String() != "panic: at the disco\n3: panic: no frame\n" {
		t.Errorf("the output is %q", out.String())
	}
}
