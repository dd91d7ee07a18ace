package prompt

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

const (
	// maxHistory is how many lines are remembered.
	maxHistory = 1000
	// maxHistoryFile is how many bytes of a history file are read; a longer one
	// is cut at its beginning.
	maxHistoryFile = 512 << 10
	// maxHistoryLine is the bytes of the longest line worth remembering.
	maxHistoryLine = 4096
)

// History is the lines typed before, the newest last, in a file that only its
// owner can read. Prompts that share the file add to it line by line; each sees
// what was there when it began. It is the History of a terminal.
type History struct {
	path  string // empty: not kept
	lines []string
	err   error // the first failure to keep a line
}

// OpenHistory reads the history kept in a file, which need not exist. With an
// empty path nothing is kept. The history can be used also when it returns an
// error.
func OpenHistory(path string) (*History, error) {
	h := &History{path: path}
	if path == "" {
		return h, nil
	}
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return h, nil
	}
	if err != nil {
		h.path = ""
		return h, fmt.Errorf("history: %w", err)
	}
	defer f.Close()
	if err := h.load(f); err != nil {
		h.path = ""
		return h, fmt.Errorf("history: %w", err)
	}
	return h, nil
}

func (h *History) load(f *os.File) error {
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	from := max(0, size-maxHistoryFile)
	b, err := io.ReadAll(io.NewSectionReader(f, from, maxHistoryFile))
	if err != nil {
		return err
	}
	if from > 0 { // a line was cut
		_, b, _ = bytes.Cut(b, []byte("\n"))
	}
	for line := range strings.Lines(string(b)) {
		if line = strings.TrimRight(line, "\n"); line != "" && len(line) <= maxHistoryLine {
			h.lines = append(h.lines, line)
		}
	}
	if from == 0 && len(h.lines) <= 2*maxHistory {
		h.trim()
		return nil
	}
	h.trim()
	return h.rewrite()
}

func (h *History) trim() {
	h.lines = h.lines[max(0, len(h.lines)-maxHistory):]
}

// rewrite puts the lines in place of the file.
func (h *History) rewrite() error {
	f, err := os.CreateTemp(filepath.Dir(h.path), ".history-*") // mode 0600
	if err != nil {
		return err
	}
	_, err = f.WriteString(strings.Join(h.lines, "\n") + "\n")
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), h.path)
	}
	if err != nil {
		os.Remove(f.Name())
	}
	return err
}

// Add remembers a line, unless it is blank, too long or the same as the last.
func (h *History) Add(line string) {
	line = strings.TrimRight(line, " \t")
	if line == "" || len(line) > maxHistoryLine || strings.ContainsAny(line, "\r\n") {
		return
	}
	if n := len(h.lines); n > 0 && h.lines[n-1] == line {
		return
	}
	h.lines = append(h.lines, line)
	h.trim()
	if h.path != "" && h.err == nil {
		h.err = h.keep(line)
	}
}

// keep adds a line to the file, with one write, so that lines of several prompts do not mix.
func (h *History) keep(line string) error {
	if err := os.MkdirAll(filepath.Dir(h.path), 0o700); err != nil {
		return err
	}
	f, err := os.OpenFile(h.path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.WriteString(line + "\n")
	return errors.Join(err, f.Chmod(0o600), f.Close())
}

// Err is why lines are not kept any more, if so.
func (h *History) Err() error {
	if h.err != nil {
		return fmt.Errorf("history: %w", h.err)
	}
	return nil
}

// Len is the number of lines.
func (h *History) Len() int { return len(h.lines) }

// At returns a line, counted from the newest, which is 0.
func (h *History) At(i int) string { return h.lines[len(h.lines)-1-i] }
