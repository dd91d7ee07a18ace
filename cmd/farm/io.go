package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"golang.org/x/term"
)

// streams are where a command reads and writes, and what can be shown there.
type streams struct {
	in       io.Reader
	out, err io.Writer
	inTerm   bool // a person types
	outTerm  bool // a person reads: tables are aligned
	errTerm  bool // and can be shown progress
	width    int  // columns of that terminal; 0: not known
	color    bool
}

func standardIO() streams {
	outTerm := term.IsTerminal(int(os.Stdout.Fd()))
	width := 0
	if outTerm {
		width, _, _ = term.GetSize(int(os.Stdout.Fd())) // not known, then
	}
	return streams{
		width: width,
		in:    os.Stdin, out: os.Stdout, err: os.Stderr,
		inTerm: term.IsTerminal(int(os.Stdin.Fd())), outTerm: outTerm, errTerm: term.IsTerminal(int(os.Stderr.Fd())),
		color: wantsColor(outTerm),
	}
}

// wantsColor tells whether what is printed may be coloured; see no-color.org.
func wantsColor(terminal bool) bool {
	return terminal && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
}

// errOutput is the cause of the context of a command whose output could not be written.
var errOutput = errors.New("standard output")

// watched is standard output. The first write that fails ends the command: nobody sees
// what it goes on to do.
type watched struct {
	w      io.Writer
	failed func(cause error) // may be called again
}

// watch has failed called when standard output cannot be written. A terminal is left as it
// is: the prompt edits on it, and when it goes a signal says so.
func (s *streams) watch(failed func(cause error)) {
	if !s.outTerm {
		s.out = &watched{w: s.out, failed: failed}
	}
}

func (o *watched) Write(b []byte) (int, error) {
	n, err := o.w.Write(b)
	if err != nil {
		var path *os.PathError
		if errors.As(err, &path) {
			err = path.Err
		}
		err = fmt.Errorf("%w: %w", errOutput, err)
		o.failed(err)
	}
	return n, err
}

// talk writes a line of talk.
func (s *streams) talk(format string, args ...any) {
	fmt.Fprintf(s.err, "farm: "+format+"\n", args...)
}

// table collects rows. On a terminal they are aligned under their headings;
// elsewhere they are separated by tabs, without headings, for other programs.
type table struct {
	s    *streams
	head []string
	rows [][]string
}

func (s *streams) table(head ...string) *table { return &table{s: s, head: head} }

func (t *table) row(cells ...any) {
	r := make([]string, len(cells))
	for i, c := range cells {
		if r[i] = fmt.Sprint(c); t.s.outTerm && r[i] == "" {
			r[i] = "-"
		}
		r[i] = strings.NewReplacer("\t", " ", "\n", " ").Replace(r[i])
	}
	t.rows = append(t.rows, r)
}

func (t *table) print() {
	if !t.s.outTerm {
		for _, r := range t.rows {
			fmt.Fprintln(t.s.out, strings.Join(r, "\t"))
		}
		return
	}
	all := append([][]string{t.head}, t.rows...)
	widths := t.widths(all)
	w := bufio.NewWriter(t.s.out)
	for n, r := range all {
		for i, cell := range r {
			shown := cut(cell, widths[i])
			pad := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(shown)+columnGap)
			if i == len(r)-1 {
				pad = ""
			}
			color := colors[cell]
			if n == 0 {
				color = "1"
			}
			fmt.Fprint(w, t.s.painted(shown, color), pad)
		}
		fmt.Fprintln(w)
	}
	_ = w.Flush() // nothing can be done when standard output is gone
}

const (
	columnGap = 2
	leastCut  = 6 // columns that a table that does not fit leaves of a column
)

// widths are those of the columns. When they do not fit the terminal the widest
// give way, but never the first one: it is what is copied into the next command.
func (t *table) widths(rows [][]string) []int {
	widths := make([]int, len(t.head))
	total := -columnGap
	for _, r := range rows {
		for i, cell := range r {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	for _, w := range widths {
		total += w + columnGap
	}
	for t.s.width > 0 && total > t.s.width {
		widest := 0
		for i, w := range widths {
			if i > 0 && w > leastCut && (widest == 0 || w >= widths[widest]) {
				widest = i
			}
		}
		if widest == 0 {
			break
		}
		widths[widest]--
		total--
	}
	return widths
}

// cut leaves the beginning of a cell that is too wide.
func cut(cell string, width int) string {
	if utf8.RuneCountInString(cell) <= width {
		return cell
	}
	return string([]rune(cell)[:width-1]) + "…"
}

// colors of words that say how something ended or is.
var colors = map[string]string{"succeeded": "32", "failed": "31", "cancelled": "33", "running": "36", "leader": "1", "draining": "33", "away": "31"}

// painted adds a colour, where somebody sees it.
func (s *streams) painted(text, color string) string {
	if !s.color || color == "" {
		return text
	}
	return "\x1b[" + color + "m" + text + "\x1b[0m"
}

// ago is a time for people.
func (s *streams) ago(t time.Time) string {
	switch {
	case t.IsZero():
		return ""
	case !s.outTerm:
		return t.UTC().Format(time.RFC3339Nano)
	}
	d := time.Since(t)
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%ds ago", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%dm ago", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh ago", int(d.Hours()))
	}
	return t.Local().Format(time.DateTime)
}

// lineWriter writes to w and remembers whether a line is unfinished.
type lineWriter struct {
	w    io.Writer
	open bool
}

func (l *lineWriter) Write(b []byte) (int, error) {
	if len(b) > 0 {
		l.open = b[len(b)-1] != '\n'
	}
	return l.w.Write(b)
}

// endLine ends a line that is unfinished.
func (l *lineWriter) endLine() {
	if l.open {
		fmt.Fprintln(l)
	}
}

// prefixed writes text to w with each line after a prefix.
func prefixed(w io.Writer, prefix, text string) {
	if text == "" {
		return
	}
	for line := range strings.Lines(text) {
		fmt.Fprintf(w, "%s%s\n", prefix, strings.TrimSuffix(line, "\n"))
	}
}

// progress is one line on a terminal that is written over and over. On
// anything else it does nothing.
type progress struct {
	s    *streams
	mu   sync.Mutex
	stop chan struct{}
	done sync.WaitGroup
}

// progressEvery is how often the line is written.
const progressEvery = 200 * time.Millisecond

// progress shows what line returns until end is called.
func (s *streams) progress(line func() string) *progress {
	p := &progress{s: s, stop: make(chan struct{})}
	if !s.errTerm {
		return p
	}
	p.done.Go(func() {
		tick := time.NewTicker(progressEvery)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				fmt.Fprintf(s.err, "\r\x1b[K%s", line())
			case <-p.stop:
				fmt.Fprint(s.err, "\r\x1b[K")
				return
			}
		}
	})
	return p
}

// end removes the line. It can be repeated.
func (p *progress) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-p.stop:
	default:
		close(p.stop)
	}
	p.done.Wait()
}
