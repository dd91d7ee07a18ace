package worker

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"farm/internal/wire"
)

// interruption is why an attempt is ended from outside, the strongest last.
type interruption int

const (
	none     interruption = iota
	timedOut              // ask, then kill
	stopped               // ask, then kill
	unwanted              // kill
)

// process is a child as its worker sees it. exchange and close are called by
// one goroutine, interrupt by any.
type process struct {
	cmd    *exec.Cmd
	dead   *death        // set when it is
	down   *pipe         // orders
	up     *pipe         // answers
	in     *bufio.Reader // of up
	sink   *sink
	statm  *os.File // what the system says of its memory; nil: nothing
	grace  time.Duration
	most   uint32   // bytes of the largest answer
	room   *room    // for large answers; nil: any
	denied []string // measures of confinement the system did not allow
	buf    []byte

	mu     sync.Mutex
	reason interruption
	armed  bool      // an exchange is under way
	until  time.Time // its deadline
}

// forkChild must be called on a thread that lives as long as the child may.
// Descriptors up to last, which the child would inherit, are closed in it.
func forkChild(command []string, l Limits, last int) (*process, error) {
	p := &process{grace: l.Grace, most: uint32(maxUp + l.ChangeBytes)}
	p.cmd = exec.Command(command[0], command[1:]...)
	p.cmd.Env = childEnvironment(l)
	p.cmd.ExtraFiles = make([]*os.File, last-ordersFD+1) // nil: closed
	p.cmd.SysProcAttr = childAttr()
	p.cmd.Dir = "/"
	if err := p.startWithPipes(l.OutputBytes); err != nil {
		return nil, err
	}
	p.in = bufio.NewReaderSize(p.up, readAhead)
	return p, nil
}

// childEnvironment is all of a child's environment. Cells see the same clock
// zone on every worker, a dying runtime says why without the stacks of the
// interpreter, and the number of processors to use, which the runtime would read
// from files, is this process's.
func childEnvironment(l Limits) []string {
	return []string{
		fmt.Sprintf("%s=%d,%d,%d,%d", childEnv, l.MemoryBytes, l.StackBytes, l.ValueBytes, l.ChangeBytes),
		"TZ=UTC", "GOTRACEBACK=none", fmt.Sprint("GOMAXPROCS=", runtime.GOMAXPROCS(0)),
	}
}

// startWithPipes starts the child with pipes for orders, answers and its output.
// They are pipes and not a socket because the reader of a socket wakes whoever
// waits at its other end, for nothing: twice for each order.
func (p *process) startWithPipes(keep int) (err error) {
	var theirs, ours [4]*os.File
	defer func() {
		closeAll(theirs[:])
		if err != nil {
			closeAll(ours[:])
		}
	}()
	for i := range theirs {
		r, w, err := os.Pipe()
		if err != nil {
			return err
		}
		if theirs[i], ours[i] = w, r; i == 0 {
			theirs[i], ours[i] = r, w
		}
	}
	if p.down, err = newPipe(ours[0]); err != nil {
		return err
	}
	if p.up, err = newPipe(ours[1]); err != nil {
		return err
	}
	p.cmd.ExtraFiles[0], p.cmd.ExtraFiles[answersFD-ordersFD] = theirs[0], theirs[1]
	p.cmd.Stdout, p.cmd.Stderr = theirs[2], theirs[3]
	if p.sink, err = newSink(ours[2], ours[3], keep); err != nil {
		return err
	}
	if err = p.cmd.Start(); err != nil {
		p.sink.close()
	}
	return err
}

func closeAll(files []*os.File) {
	for _, f := range files {
		if f != nil {
			_ = f.Close()
		}
	}
}

// setDeadline is for orders and answers both.
func (p *process) setDeadline(t time.Time) {
	_ = p.down.SetWriteDeadline(t)
	_ = p.up.SetReadDeadline(t)
}

// becomeReady waits until the child is. After an error the child is gone.
func (p *process) becomeReady(l Limits) error {
	demote(p.cmd.Process.Pid)
	p.statm, _ = os.Open("/proc/" + strconv.Itoa(p.cmd.Process.Pid) + "/statm")
	err := p.awaitReady(l.StartTimeout)
	if err == nil {
		return nil
	}
	d := p.lost(err)
	p.close()
	return fmt.Errorf("worker: a child did not become ready: %w (%s)", err, d.describe(l).message)
}

func (p *process) awaitReady(timeout time.Duration) error {
	p.setDeadline(time.Now().Add(timeout))
	t, body, err := readFrame(p.in, maxUp)
	if err != nil {
		return err
	}
	r := wire.NewReader(body)
	if p.denied = readStrings(r); t != frameReady || r.Done() != nil {
		return errFrame
	}
	return nil
}

// ending is how an exchange ended: with an answer, or with the death of the
// child, or, with neither, by an interruption before it began. An unsent order
// met a child that was dead already: nothing of the attempt can have run.
type ending struct {
	answer *answer
	death  *death
	unsent bool
	reason interruption
}

// exchange sends an order and waits for its end, at most for timeout and the
// grace after it. progress is called on the way. A child that did not simply
// answer is dead when exchange returns.
func (p *process) exchange(o *order, timeout time.Duration, progress func(done, total int64)) ending {
	b, err := endFrame(o.append(startFrame(p.buf[:0], frameOrder)))
	if err != nil {
		return ending{answer: &answer{failure: &failure{kind: kindLimit, message: err.Error(), permanent: true}}}
	}
	if p.buf = b; cap(b) > maxKeptBuffer {
		p.buf = nil
	}
	if r := p.arm(time.Now().Add(timeout)); r != none {
		return ending{reason: r}
	}
	if n, err := p.down.Write(b); err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
		return ending{death: p.lost(err), unsent: n == 0, reason: p.disarm()}
	}
	asked := false
	for {
		a, err := p.readAnswer(progress)
		switch {
		case err == nil:
			a.spent = a.spent || asked // the cancel may still be on its way
			return ending{answer: a, reason: p.disarm()}
		case !errors.Is(err, os.ErrDeadlineExceeded):
			return ending{death: p.lost(err), reason: p.disarm()}
		case asked || p.why() == unwanted:
			return ending{death: p.kill(), reason: p.disarm()}
		}
		asked = true
		p.ask()
	}
}

// arm sets the deadline of an exchange, unless it was interrupted already.
func (p *process) arm(deadline time.Time) interruption {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.reason == none {
		p.armed, p.until = true, deadline
		p.setDeadline(deadline)
	}
	return p.reason
}

// past is a deadline that is over: it wakes whoever reads.
var past = time.Unix(1, 0)

func (p *process) disarm() interruption {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.armed = false
	return p.reason
}

// reset forgets an interruption that came too late.
func (p *process) reset() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.reason = none
}

func (p *process) why() interruption {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.reason == none {
		p.reason = timedOut
	}
	return p.reason
}

// interrupt ends the exchange under way, or the next one unless reset comes
// first.
func (p *process) interrupt(r interruption) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if r <= p.reason {
		return
	}
	p.reason = r
	if p.armed {
		p.setDeadline(past)
	}
}

// ask sends a cancel and gives the child its grace.
func (p *process) ask() {
	p.mu.Lock()
	if p.reason != unwanted {
		p.setDeadline(time.Now().Add(p.grace))
	}
	p.mu.Unlock()
	b, _ := endFrame(startFrame(nil, frameCancel))
	_, _ = p.down.Write(b) // when it does not get through, the grace ends
}

// readAnswer reads frames until the answer.
func (p *process) readAnswer(progress func(done, total int64)) (*answer, error) {
	taken := int64(0)
	defer func() { p.room.release(taken) }()
	for {
		t, body, err := readFrameIn(p.in, p.most, func(n int) {
			if n >= roomFrom {
				taken += p.makeRoom(int64(n))
			}
		})
		if err != nil {
			return nil, err
		}
		switch t {
		case frameAnswer:
			a, err := readAnswer(body)
			if err == nil {
				a.room, taken = taken, 0
			}
			return a, err
		case frameProgress:
			r := wire.NewReader(body)
			done, total := r.Int(), r.Int()
			if err := r.Done(); err != nil {
				return nil, err
			}
			progress(done, total)
		default:
			return nil, errFrame
		}
	}
}

// makeRoom waits for room for an answer, and gives the exchange that time again.
// An interruption ends the wait.
func (p *process) makeRoom(n int64) int64 {
	began := time.Now()
	taken := p.room.take(n, func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		return p.reason != none
	})
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.reason == none && p.armed {
		p.until = p.until.Add(time.Since(began))
		p.setDeadline(p.until)
	}
	return taken
}

// lost is for a child whose connection failed with err: it has died, or is
// killed for breaking the connection.
func (p *process) lost(err error) *death {
	ended := false
	if !errors.Is(err, errFrame) && !errors.Is(err, wire.ErrCorrupt) {
		ended = ends(p.cmd.Process.Pid, deathWait)
	}
	d := p.kill()
	d.broke = !ended
	return d
}

// deathWait is how long a child that closed its connection may take to end. On a
// machine with much other work a child that dies takes its time, and is not to be taken
// for one that goes on without a connection.
const deathWait = 2 * time.Second

// kill kills the child with all it started and waits for its end. The group is
// killed before the child is reaped: until then its number is its own.
func (p *process) kill() *death {
	if p.dead != nil {
		return p.dead
	}
	_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
	_ = p.cmd.Process.Kill()
	err := p.cmd.Wait()
	p.dead = &death{}
	var exit *exec.ExitError
	switch ws, ok := p.cmd.ProcessState.Sys().(syscall.WaitStatus); {
	case ok:
		p.dead.status = ws
	case err != nil && !errors.As(err, &exit):
		p.dead.other = err
	}
	p.dead.words = p.sink.lastWords()
	return p.dead
}

// close lets go of a dead child.
func (p *process) close() {
	_ = p.down.Close()
	_ = p.up.Close()
	_ = p.statm.Close()
	p.sink.close()
}

// resident is the child's resident memory in bytes, 0 when it cannot be told.
func (p *process) resident() int64 {
	if p.statm == nil {
		return 0
	}
	var b [128]byte
	n, _ := readStart(int(p.statm.Fd()), b[:])
	fields := strings.Fields(string(b[:n]))
	if len(fields) < 2 {
		return 0
	}
	pages, err := strconv.ParseInt(fields[1], 10, 64)
	if err != nil {
		return 0
	}
	return pages * int64(os.Getpagesize())
}
