package worker

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
	_ "time/tzdata" // a child has no files, and cells find the same zones everywhere

	"farm/internal/heap"
	"farm/internal/wire"
)

// The child's side.

const (
	childEnv = "FARM_CONTEXT_CHILD" // marks a child; its value is childLimits

	// The descriptors of the protocol in a child.
	ordersFD  = 3
	answersFD = 4

	// watchAfter is how long an order runs before the child listens for a
	// cancel: short orders are not worth a second goroutine.
	watchAfter = 2 * time.Millisecond
	// yieldEvery is how long the goroutine that reads orders goes on before it gives the
	// scheduler a turn. From one that has had none for 10 ms the runtime's monitor thread
	// takes its processor each time it finds it in a read, and finds much to look for then.
	yieldEvery = 5 * time.Millisecond
	// progressEvery is the least time between two reports of progress.
	progressEvery = 50 * time.Millisecond
)

// maxThreads is how many threads a child may have; the runtime ends one that
// needs more. Cells have no calls that wait in the kernel, so a few beside those
// that run Go are enough.
func maxThreads() int { return 32 + 2*runtime.GOMAXPROCS(0) }

// Exit statuses of a child that ends by itself, in a range cells hardly use.
const (
	exitOrphan   = 0   // the worker is gone
	exitProtocol = 121 // what the worker sends cannot be read any more
)

// engine is a live context as the child needs it. It is used by one goroutine
// at a time. An error of restore or update means that it cannot be used again.
type engine interface {
	restore(items map[string][]byte) error
	update(c change) error
	run(ctx context.Context, o *order) *answer
}

// host is what an engine may call.
type host struct {
	stdout, stderr io.Writer
	progress       func(done, total int) // safe for concurrent use
	stuck          func(*answer)         // called instead of returning from run, from another goroutine
	limits         childLimits
}

// Child serves one context and never returns if this process was started by a
// Worker as a child; otherwise it returns at once. It must come first in main,
// and in TestMain of tests that run a Worker.
func Child() {
	if os.Getenv(childEnv) != "" {
		os.Exit(serve(newLiveEngine))
	}
}

// limitRuntime sets the limits that the Go runtime keeps itself.
func limitRuntime(memory int64, stack int) {
	debug.SetMaxStack(stack)
	debug.SetMemoryLimit(memory / 10 * 9)
	heap.Follow(heap.ChildRoom)
	debug.SetMaxThreads(maxThreads())
}

// serve confines this process and answers orders until the worker goes away.
// The result is the exit status of the process.
func serve(start func(host) engine) int {
	l := parseChildEnv(os.Getenv(childEnv))
	_ = os.Unsetenv(childEnv)
	return answerOrders(start, l, confine(l.memory, l.stack))
}

// answerOrders tells the worker which measures of confinement were denied, and
// then does what it orders.
func answerOrders(start func(host) engine, l childLimits, denied []string) int {
	p := &port{out: os.NewFile(answersFD, "answers"), frames: make(chan frame)}
	p.in = bufio.NewReaderSize(os.NewFile(ordersFD, "orders"), readAhead)
	stuck := func(a *answer) { _ = p.send(frameAnswer, a.append) } // the worker ends this process, or has gone
	e := start(host{stdout: os.Stdout, stderr: os.Stderr, progress: p.progress, stuck: stuck, limits: l})
	if err := p.send(frameReady, func(b []byte) []byte { return appendStrings(b, denied) }); err != nil {
		return exitOrphan
	}
	for {
		p.yield()
		f := p.next()
		switch {
		case f.err != nil:
			return exitOn(f.err)
		case f.t == frameCancel:
			continue // it crossed with the answer
		case f.t != frameOrder:
			return exitProtocol
		}
		o, err := readOrder(f.body)
		if err != nil {
			return exitProtocol
		}
		ctx, cancel := context.WithCancel(context.Background())
		p.begin(cancel)
		a := perform(ctx, e, o)
		p.end()
		cancel()
		if err := p.send(frameAnswer, a.append); err != nil {
			return exitOrphan
		}
	}
}

// exitOn is the exit status after an error of the connection.
func exitOn(err error) int {
	if errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) {
		return exitOrphan
	}
	return exitProtocol
}

// childLimits is what a child is told to keep within, all in bytes.
type childLimits struct {
	memory        int64
	stack         int
	value, change int64 // 0: the defaults of package namespace
}

// parseChildEnv reads memory,stack,value,change. What cannot be read is its
// default.
func parseChildEnv(s string) (l childLimits) {
	fields := strings.Split(s, ",")
	number := func(i int, other int64) int64 {
		if i < len(fields) {
			if n, err := strconv.ParseInt(fields[i], 10, 64); err == nil && n > 0 {
				return n
			}
		}
		return other
	}
	return childLimits{number(0, DefaultMemoryBytes), int(number(1, DefaultStackBytes)), number(2, 0), number(3, 0)}
}

// perform carries out one order. A panic of the engine itself costs this child.
func perform(ctx context.Context, e engine, o *order) (a *answer) {
	defer func() {
		if r := recover(); r != nil {
			a = broken(fmt.Errorf("the engine panicked: %v\n%s", r, debug.Stack()))
		}
	}()
	var err error
	switch o.mode {
	case restore:
		err = e.restore(o.items)
	case update:
		err = e.update(o.change)
	}
	if err != nil {
		return broken(fmt.Errorf("the namespace could not be loaded: %w", err))
	}
	return e.run(ctx, o)
}

// broken is the answer of a child that is of no use any more.
func broken(err error) *answer {
	return &answer{spent: true, failure: &failure{kind: kindInternal, message: err.Error()}}
}

// port is the child's end of the protocol. While an order runs nobody reads,
// until it has taken watchAfter: then a watcher does, for a cancel.
type port struct {
	in  *bufio.Reader // orders, for whoever reads at the time
	out *os.File      // answers

	yielded time.Time // when the scheduler was last given a turn

	mu       sync.Mutex // guards the following
	cancel   context.CancelFunc
	watching bool
	timer    *time.Timer

	frames chan frame // what the watcher read when it was not a cancel

	sending sync.Mutex // one frame at a time; guards the following
	buf     []byte
	last    time.Time // of the last progress sent
}

type frame struct {
	t    byte
	body []byte
	err  error
}

func (p *port) read() frame {
	t, body, err := readFrame(p.in, maxDown)
	return frame{t, body, err}
}

// yield gives the scheduler a turn when it has had none for a while.
func (p *port) yield() {
	if now := time.Now(); now.Sub(p.yielded) > yieldEvery {
		runtime.Gosched()
		p.yielded = now
	}
}

// next waits for a frame between two orders.
func (p *port) next() frame {
	p.mu.Lock()
	watching := p.watching
	p.mu.Unlock()
	if !watching {
		return p.read()
	}
	f := <-p.frames
	p.mu.Lock()
	p.watching = false
	p.mu.Unlock()
	return f
}

func (p *port) begin(cancel context.CancelFunc) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cancel = cancel
	if p.timer == nil {
		p.timer = time.AfterFunc(watchAfter, p.watch)
	} else {
		p.timer.Reset(watchAfter)
	}
}

func (p *port) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cancel = nil
	p.timer.Stop()
}

// watch reads until something other than a cancel comes, for whoever calls
// next. When the worker is gone there is nobody to work for.
func (p *port) watch() {
	p.mu.Lock()
	if p.cancel == nil || p.watching {
		p.mu.Unlock()
		return
	}
	p.watching = true
	p.mu.Unlock()
	for {
		f := p.read()
		if f.err != nil {
			os.Exit(exitOn(f.err))
		}
		if f.t != frameCancel {
			p.frames <- f
			return
		}
		p.mu.Lock()
		if p.cancel != nil {
			p.cancel()
		}
		p.mu.Unlock()
	}
}

func (p *port) send(t byte, body func([]byte) []byte) error {
	p.sending.Lock()
	defer p.sending.Unlock()
	return p.sendLocked(t, body)
}

func (p *port) sendLocked(t byte, body func([]byte) []byte) error {
	b, err := endFrame(body(startFrame(p.buf[:0], t)))
	if err != nil {
		return err
	}
	if p.buf = b; cap(b) > maxKeptBuffer {
		p.buf = nil
	}
	_, err = p.out.Write(b)
	return err
}

// maxKeptBuffer is the size in bytes up to which a frame's buffer is reused.
const maxKeptBuffer = 64 << 10

// progress tells the worker how far the code is, not more often than
// progressEvery except for the end.
func (p *port) progress(done, total int) {
	p.sending.Lock()
	defer p.sending.Unlock()
	now := time.Now()
	if now.Sub(p.last) < progressEvery && done != total {
		return
	}
	p.last = now
	// An error shows when the answer is sent.
	_ = p.sendLocked(frameProgress, func(b []byte) []byte {
		return wire.AppendInt(wire.AppendInt(b, int64(done)), int64(total))
	})
}
