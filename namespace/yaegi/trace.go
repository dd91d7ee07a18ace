package yaegi

import (
	"io"
	"io/fs"
	"regexp"
	"sync"
)

// maxTrace bounds the positions kept of one panic.
const maxTrace = 20

// traceWriter is the standard error of an interpreter. The interpreter reports each frame that a panic
// passes there, one line a frame in one write; those are kept as the trace, all else goes on.
type traceWriter struct {
	mu    sync.Mutex
	out   io.Writer
	lines []string
}

// traceLine is such a line. The frame of code that is in no file has only a number.
var traceLine = regexp.MustCompile(`^((?:\S+:)?\d+): panic: [^ \n]*\(\.\.\.\)\n$`)

func (t *traceWriter) Write(p []byte) (int, error) {
	if m := traceLine.FindSubmatch(p); m != nil {
		t.mu.Lock()
		defer t.mu.Unlock()
		if len(t.lines) < maxTrace {
			t.lines = append(t.lines, string(m[1]))
		}
		return len(p), nil
	}
	return t.out.Write(p)
}

func (t *traceWriter) reset() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.lines = t.lines[:0]
}

func (t *traceWriter) positions() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return append([]string(nil), t.lines...)
}

// noFiles keeps the interpreter from looking for source packages on disk.
type noFiles struct{}

func (noFiles) Open(name string) (fs.File, error) {
	return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
}
