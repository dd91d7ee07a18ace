package prompt

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"unicode/utf8"

	"golang.org/x/term"
)

// ErrInterrupt is returned when Ctrl-C was typed instead of a line.
var ErrInterrupt = errors.New("prompt: Ctrl-C")

// indent is what Tab means where there is nothing to complete.
const indent = "    "

// maxListed is how many candidates of a completion are shown.
const maxListed = 120

// Complete finds what a line up to the cursor could go on with. It returns
// candidates for the end of head, from byte start on. It may take a moment.
type Complete func(head string) (start int, candidates []string)

// Line is a line that was entered, without its end.
type Line struct {
	Text   string
	Pasted bool // all of it: it was not typed
}

// Editor reads lines from a terminal. It is for one goroutine. Between lines
// the terminal is in its usual mode for output, Ctrl-C is a signal, and what is
// typed waits, unseen, for the next line.
type Editor struct {
	in, out  *os.File
	keys     keys
	term     *term.Terminal
	history  *History
	complete Complete
	usual    *term.State
}

// NewEditor begins to edit on the terminal whose two directions are in and out.
// Close it, or the terminal stays as it is now. complete may be nil.
func NewEditor(in, out *os.File, history *History, complete Complete) (*Editor, error) {
	usual, err := term.GetState(int(in.Fd()))
	if err != nil {
		return nil, fmt.Errorf("prompt: %w", err)
	}
	e := &Editor{in: in, out: out, history: history, complete: complete, usual: usual}
	e.keys.in = in
	e.renew()
	if err := quiet(int(in.Fd())); err != nil {
		return nil, fmt.Errorf("prompt: %w", err)
	}
	return e, nil
}

// Close gives the terminal back.
func (e *Editor) Close() error { return term.Restore(int(e.in.Fd()), e.usual) }

// renew makes a terminal that has no unfinished line.
func (e *Editor) renew() {
	e.term = term.NewTerminal(&screen{e}, "")
	e.term.History = e.history
	e.term.AutoCompleteCallback = e.key
}

// screen is the terminal as package term sees it.
type screen struct{ e *Editor }

func (s *screen) Read(b []byte) (int, error) { return s.e.keys.Read(b) }

// Write shows a tab as one column, which is what package term takes it for.
func (s *screen) Write(b []byte) (int, error) {
	if bytes.IndexByte(b, '\t') < 0 {
		return s.e.out.Write(b)
	}
	_, err := s.e.out.Write(bytes.ReplaceAll(b, []byte{'\t'}, []byte{' '}))
	return len(b), err
}

// ReadLine shows a prompt and reads a line. It returns ErrInterrupt for Ctrl-C,
// io.EOF for Ctrl-D at the beginning of a line or a terminal that is gone, and
// the cause of a context that ended: then the editor is good only to be closed.
func (e *Editor) ReadLine(ctx context.Context, prompt string) (Line, error) {
	fd := int(e.in.Fd())
	between, err := term.MakeRaw(fd)
	if err != nil {
		return Line{}, fmt.Errorf("prompt: %w", err)
	}
	defer func() {
		e.term.SetBracketedPasteMode(false)
		_ = term.Restore(fd, between) // as it was a moment ago
	}()
	e.resize()
	defer e.followSize()()
	e.term.SetPrompt(prompt)
	e.term.SetBracketedPasteMode(true)
	type read struct {
		text string
		err  error
	}
	done := make(chan read, 1)
	go func() {
		text, err := e.term.ReadLine()
		done <- read{text, err}
	}()
	var r read
	select {
	case r = <-done:
	case <-ctx.Done():
		return Line{}, context.Cause(ctx) // the reader ends with the process
	}
	line := Line{Text: printable(r.text), Pasted: errors.Is(r.err, term.ErrPasteIndicator)}
	if r.err == nil || line.Pasted {
		return line, nil
	}
	e.renew()
	interrupted := e.keys.last == ctrlC
	if interrupted {
		e.keys.left, e.keys.last = nil, 0 // what was typed after it was for the line given up
	}
	fmt.Fprint(e.out, "\r\n")
	if interrupted {
		return Line{}, ErrInterrupt
	}
	return Line{}, io.EOF
}

// printable removes control characters, which only a paste can bring.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' && r != '\t' || r == 0x7f {
			return -1
		}
		return r
	}, s)
}

func (e *Editor) resize() {
	if w, h, err := term.GetSize(int(e.out.Fd())); err == nil && w > 0 {
		_ = e.term.SetSize(w, h) // writes to the screen; nothing helps when it cannot
	}
}

// followSize follows the size of the window until the function it returns is called.
func (e *Editor) followSize() func() {
	changed, stop := make(chan os.Signal, 1), make(chan struct{})
	signal.Notify(changed, syscall.SIGWINCH)
	go func() {
		for {
			select {
			case <-changed:
				e.resize()
			case <-stop:
				return
			}
		}
	}()
	return func() {
		signal.Stop(changed)
		close(stop)
	}
}

// key carries out Tab; all other keys are the terminal's.
func (e *Editor) key(line string, pos int, key rune) (string, int, bool) {
	if key != '\t' {
		return "", 0, false
	}
	head, tail := line[:pos], line[pos:]
	if strings.TrimSpace(head) == "" {
		return head + indent + tail, pos + len(indent), true
	}
	if e.complete == nil {
		return line, pos, true
	}
	start, found := e.complete(head)
	if len(found) == 0 {
		return line, pos, true
	}
	common := commonPrefix(found)
	if len(found) > 1 && len(common) <= pos-start {
		width, _, err := term.GetSize(int(e.out.Fd()))
		if err != nil {
			width = 80
		}
		fmt.Fprint(e.term, columns(found, width))
		return line, pos, true
	}
	head = head[:start] + common
	return head + tail, len(head), true
}

func commonPrefix(list []string) string {
	p := list[0]
	for _, s := range list[1:] {
		for !strings.HasPrefix(s, p) {
			_, n := utf8.DecodeLastRuneInString(p)
			p = p[:len(p)-n]
		}
	}
	return p
}

// columns arranges names for a screen.
func columns(names []string, width int) string {
	more := len(names) - maxListed
	if more > 0 {
		names = names[:maxListed]
	}
	widest := 0
	for _, n := range names {
		widest = max(widest, utf8.RuneCountInString(n))
	}
	perLine := max(1, width/(widest+2))
	lines := (len(names) + perLine - 1) / perLine
	var b strings.Builder
	for i := range lines {
		line := ""
		for j := i; j < len(names); j += lines {
			line += names[j] + strings.Repeat(" ", widest+2-utf8.RuneCountInString(names[j]))
		}
		b.WriteString(strings.TrimRight(line, " ") + "\n")
	}
	if more > 0 {
		fmt.Fprintf(&b, "… and %d more\n", more)
	}
	return b.String()
}
