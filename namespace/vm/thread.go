package vm

import (
	"farm/namespace/vm/raw"
)

// thread is a goroutine of the program, or a call from compiled code back into the machine.
type thread struct {
	m      *Machine
	run    *run // to which it belongs
	ptrs   []raw.Pointer
	nums   []uint64
	frames []frame // those above top are zero
	top    int     // of frames, -1 when there is none
	pc     uint64  // address of the instruction that may panic
	panics []*panicking
	back   bool // it was called by compiled code
	moved  bool // the registers are in other memory than they were when an operation began
	nested int  // calls from compiled code within each other in this thread
	// a panic runs a deferred function of compiled code; recover, if it is that, does nothing
	byPanic bool
	given   *panicking // because of which the next call runs, made by compiled code
	str     [2]string  // memory for operands that are strings
}

// frame is a call.
type frame struct {
	c      *code
	pc     int // where to go on: bytes from the first instruction
	p, n   int // first registers
	flags  uint8
	defers *deferList
	pan    *panicking // of a deferred function that runs because of a panic: that panic
}

// Flags of frames.
const (
	flagBase     = 1 << iota // returns to compiled code
	flagUnwind               // a deferred function: when it returns, unwinding goes on
	flagKeeps                // has defers or pan
	flagDeferred             // a deferred function that runs as its function returns
)

// deferList are the deferred calls of a frame, last first.
type deferList struct{ top *deferred }

type deferred struct {
	target target
	ptrs   []raw.Pointer
	nums   []uint64
	next   *deferred
}

// target is what a call calls, with the variables it has captured.
type target struct {
	c  *code
	fn *raw.Func
}

// Sizes of a new thread, in registers and frames, at most what the limits allow.
const (
	firstRegisters = 1024
	firstFrames    = 32
)

// argRoom is how many registers of each bank the arguments and results of one call may take.
const argRoom = 256

func newThread(m *Machine, r *run) *thread {
	regs, frames := min(firstRegisters, m.lim.Registers), min(firstFrames, m.lim.Frames)
	return &thread{m: m, run: r, ptrs: make([]raw.Pointer, regs), nums: make([]uint64, regs), frames: make([]frame, frames), top: -1}
}

// maxPooled is how many registers of a kind a thread may have grown to and still be used again.
const maxPooled = 16 * firstRegisters

// done gives a thread back whose call has returned.
func (t *thread) done() {
	if len(t.ptrs) > maxPooled || len(t.nums) > maxPooled || len(t.frames) > maxPooled {
		return
	}
	clear(t.ptrs)
	t.run = nil
	t.m.threads.Put(t)
}

// room makes room for a frame of c that begins at p, n and for the arguments of what it calls.
func (t *thread) room(c *code, p, n int) {
	if need := p + int(c.frame.p) + argRoom; need > len(t.ptrs) {
		t.checkStack(need)
		ptrs := make([]raw.Pointer, min(2*need, t.m.lim.Registers))
		copy(ptrs, t.ptrs)
		t.ptrs, t.moved = ptrs, true
	}
	if need := n + int(c.frame.n) + argRoom; need > len(t.nums) {
		t.checkStack(need)
		nums := make([]uint64, min(2*need, t.m.lim.Registers))
		copy(nums, t.nums)
		t.nums, t.moved = nums, true
	}
	if t.top+2 > len(t.frames) {
		if t.top+2 > t.m.lim.Frames {
			panic(&LimitError{What: StackOverflow, Limit: int64(t.m.lim.Frames)})
		}
		frames := make([]frame, min(2*len(t.frames), t.m.lim.Frames))
		copy(frames, t.frames)
		t.frames = frames
	}
}

func (t *thread) checkStack(registers int) {
	if registers > t.m.lim.Registers {
		panic(&LimitError{What: StackOverflow, Limit: int64(t.m.lim.Registers)})
	}
}

// regs are the registers from p, n on.
func (t *thread) regs(p, n int) (pp, np raw.Pointer) {
	return raw.PointerTo(&t.ptrs[p]), raw.PointerTo(&t.nums[n])
}

// end is the first registers after those of the innermost frame.
func (t *thread) end() (p, n int) {
	if t.top < 0 {
		return 0, 0
	}
	f := &t.frames[t.top]
	return f.p + int(f.c.frame.p), f.n + int(f.c.frame.n)
}

// push begins a call whose arguments are at p, n.
func (t *thread) push(tg target, p, n int) *frame {
	c := tg.c
	t.room(c, p, n)
	if tg.fn != nil {
		copy(t.ptrs[p+int(c.params.p):], tg.fn.Ptrs)
		copy(t.nums[n+int(c.params.n):], tg.fn.Nums)
	}
	t.top++
	f := &t.frames[t.top]
	f.c, f.p, f.n, f.pc = c, p, n, 0
	return f
}

// pop ends the innermost call.
func (t *thread) pop() {
	t.frames[t.top] = frame{}
	t.top--
}

// call runs what is at the end of the innermost frame until it returns.
func (t *thread) call(tg target) {
	p, n := t.end()
	c := tg.c.get()
	if c.native != nil {
		t.room(c, p, n)
		pp, np := t.regs(p, n)
		c.native(t, pp, np)
		return
	}
	f := t.push(tg, p, n)
	f.flags = flagBase
	if t.given != nil {
		f.pan, f.flags, t.given = t.given, flagBase|flagKeeps, nil
	}
	t.interpret(t.top)
}

// outcome of a stretch of interpretation.
type outcome int

const (
	returned outcome = iota // the base frame returned
	unwound                 // a deferred function returned to unwinding
	panicked                // there is a new panic
)

// interpret goes on from the innermost frame on until the frame base has returned. It panics when that
// panics.
func (t *thread) interpret(base int) {
	for how := t.loop(); how != returned; how = t.loop() {
		t.unwind(base)
	}
}
