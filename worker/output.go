package worker

import (
	"bytes"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	streamChunk  = 4 << 10               // bytes of output that are sent on at once
	streamEvery  = 50 * time.Millisecond // how long less than that waits for more
	streamBudget = 64 << 10              // bytes of one stream of one attempt that are sent on in streamEvery; what comes on top is not streamed
	maxWords     = 4 << 10               // bytes of the last words of a child
	holdWords    = time.Second           // how long words that may be the last wait for the rest
	pipeRead     = 32 << 10              // bytes read from a pipe at a time
)

// outlet takes the output of an attempt on its way to the leader. It must not
// block and must not keep data.
type outlet func(stderr bool, data []byte)

// capture is what one attempt wrote to one of its streams.
type capture struct {
	kept    []byte // the beginning, up to the limit
	total   int64  // bytes written
	pending []byte // not streamed yet
	budget  int    // bytes that may be added to pending until the next tick

	// Of standard error, what looks like the last words of the runtime: they
	// are followed by a trace of the interpreter, which is no use to anybody.
	words  []byte    // from the last mark on, up to maxWords
	mark   int64     // where they begin, counted from the first byte
	since  time.Time // when they came; nothing is streamed for a while, since the trace may follow
	marked bool      // the line that is not ended has a mark
}

// sink reads both output pipes of a child and gives what it reads to the
// attempt that runs. Its lock is held around each read, so that whoever holds
// it knows that nothing is between a pipe and a capture.
type sink struct {
	limit int

	mu      sync.Mutex
	out     outlet // nil between attempts: output is dropped
	streams [2]capture
	buf     []byte
	pipes   [2]*os.File
	raw     [2]syscall.RawConn
	polled  [2]unix.PollFd
	readers sync.WaitGroup
}

func newSink(stdout, stderr *os.File, limit int) (*sink, error) {
	s := &sink{limit: limit, buf: make([]byte, pipeRead), pipes: [2]*os.File{stdout, stderr}}
	for i, f := range s.pipes {
		raw, err := f.SyscallConn()
		if err != nil {
			return nil, err
		}
		s.raw[i] = raw
		if err := raw.Control(func(fd uintptr) { s.polled[i] = unix.PollFd{Fd: int32(fd), Events: unix.POLLIN} }); err != nil {
			return nil, err
		}
	}
	for i := range s.pipes {
		s.readers.Go(func() { s.read(i) })
	}
	return s, nil
}

// read takes from a pipe until it ends or is closed.
func (s *sink) read(i int) {
	_ = s.raw[i].Read(func(fd uintptr) bool { return s.readAll(i, int(fd)) })
}

// readAll reads what there is. True means the end, false that there may be
// more later.
func (s *sink) readAll(i, fd int) (end bool) {
	for {
		s.mu.Lock()
		end, more := s.readOnce(i, fd)
		s.mu.Unlock()
		if !more {
			return end
		}
	}
}

// readOnce must be called with the lock held.
func (s *sink) readOnce(i, fd int) (end, more bool) {
	n, errno := readNow(fd, s.buf)
	switch {
	case errno == syscall.EINTR:
		return false, true
	case errno == syscall.EAGAIN:
		return false, false
	case errno != 0 || n <= 0:
		return true, false
	}
	s.take(i, s.buf[:n])
	return false, true
}

// drain reads what is in the pipes now, at most one pipe's worth of each: a
// child may be writing for ever. The lock is held.
func (s *sink) drain() {
	if nothingIn(s.polled[:]) {
		return // most cells print nothing, and this is one call for both
	}
	for i, raw := range s.raw {
		_ = raw.Control(func(fd uintptr) {
			for range maxDrain {
				if _, more := s.readOnce(i, int(fd)); !more {
					return
				}
			}
		})
	}
}

// maxDrain times pipeRead is more than a pipe holds.
const maxDrain = 1<<20/pipeRead + 1

// take gives data to the attempt. The lock is held.
func (s *sink) take(i int, data []byte) {
	if s.out == nil {
		return
	}
	c := &s.streams[i]
	if i == 1 {
		s.takeLines(c, data)
	} else {
		c.add(data, s.limit)
	}
	if len(c.pending) >= streamChunk && !c.holding() {
		s.flush(i)
	}
}

// takeLines adds standard error and looks for marks: the first in a line
// counts, since a cell need not have ended its own line before. An indented
// one belongs to the words before it (a panic while panicking).
func (s *sink) takeLines(c *capture, data []byte) {
	for len(data) > 0 {
		line := data
		if end := bytes.IndexByte(data, '\n'); end >= 0 {
			line = data[:end+1]
		}
		data = data[len(line):]
		if at := findMark(line); at >= 0 && !c.marked {
			c.marked = true
			if !bytes.Equal(line[:at], []byte{'\t'}) || c.words == nil {
				c.add(line[:at], s.limit)
				s.flush(1)
				c.words, c.mark, c.since = []byte{}, c.total, time.Now()
				line = line[at:]
			}
		}
		c.add(line, s.limit)
		if line[len(line)-1] == '\n' {
			c.marked = false
		}
	}
}

func (c *capture) add(data []byte, limit int) {
	if len(data) == 0 {
		return
	}
	c.total += int64(len(data))
	c.kept = append(c.kept, data[:min(len(data), limit-len(c.kept))]...)
	n := min(len(data), c.budget)
	c.pending = append(c.pending, data[:n]...)
	c.budget -= n
	if c.words != nil {
		c.words = append(c.words, data[:min(len(data), maxWords-len(c.words))]...)
	}
}

// holding tells whether what waits is to wait on: it may be the end.
func (c *capture) holding() bool { return c.words != nil && time.Since(c.since) < holdWords }

// findMark finds the first mark in a line.
func findMark(line []byte) int {
	at := -1
	for _, mark := range marks {
		if i := bytes.Index(line, mark); i >= 0 && (at < 0 || i < at) {
			at = i
		}
	}
	return at
}

func (s *sink) flush(i int) {
	if c := &s.streams[i]; len(c.pending) > 0 && s.out != nil {
		s.out(i == 1, c.pending)
		c.pending = c.pending[:0]
	}
}

// tick sends on what waits.
func (s *sink) tick() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range s.streams {
		s.streams[i].budget = streamBudget
		if !s.streams[i].holding() {
			s.flush(i)
		}
	}
}

// begin gives what is written from now on to an attempt.
func (s *sink) begin(out outlet) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.drain() // what a last one left behind is nobody's
	s.streams = [2]capture{{budget: streamBudget}, {budget: streamBudget}}
	s.out = out
}

// end returns what the attempt wrote up to now. With dead set the child came to
// its end by itself: the trace of its runtime is left out.
func (s *sink) end(dead bool) (stdout, stderr capture) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.drain()
	if c := &s.streams[1]; dead && c.words != nil {
		c.words = cutTrace(c.words)
		if c.holding() {
			c.pending = append(c.pending[:0], c.words...)
		}
		if c.mark <= int64(len(c.kept)) {
			c.kept = append(cutPreface(c.kept[:c.mark]), c.words[:min(len(c.words), s.limit-int(c.mark))]...)
		}
		c.total = min(c.total, c.mark+int64(len(c.words)))
	}
	s.flush(0)
	s.flush(1)
	s.out = nil
	stdout, stderr = s.streams[0], s.streams[1]
	s.streams = [2]capture{}
	return stdout, stderr
}

// lastWords returns what may be the last words of a child that is dead.
func (s *sink) lastWords() []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.drain()
	return s.streams[1].words
}

// close ends the readers. Nothing is written any more.
func (s *sink) close() {
	for _, p := range s.pipes {
		_ = p.Close()
	}
	s.readers.Wait()
}

// cutTrace removes the trace that follows the last words of a runtime.
func cutTrace(words []byte) []byte {
	for _, mark := range [][]byte{[]byte("\n\nruntime stack:"), []byte("\n\ngoroutine "), []byte("\nSIGABRT")} {
		if i := bytes.Index(words, mark); i >= 0 {
			words = words[:i+1]
		}
	}
	return words
}

// cutPreface removes the lines of addresses that a runtime writes before its
// last words.
func cutPreface(b []byte) []byte {
	for {
		line := b[bytes.LastIndexByte(bytes.TrimSuffix(b, []byte{'\n'}), '\n')+1:]
		if !bytes.HasPrefix(line, []byte("runtime: ")) {
			return b
		}
		b = b[:len(b)-len(line)]
	}
}
