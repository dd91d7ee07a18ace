package vm

import (
	"fmt"
	"go/token"
	"strings"
	"sync"
	"sync/atomic"

	"farm/namespace/vm/raw"
)

// panicking is a panic, or a call of runtime.Goexit, on its way.
type panicking struct {
	value     any
	recovered bool
	goexit    bool
	exitAfter bool // it has ended a Goexit, which goes on when it is recovered
	hard      bool // ends the thread without running what is deferred
	in        int  // the frame whose deferred function runs
	stack     []string
	callers   []caller // the calls at the panic
}

// goexit is what a panic carries for runtime.Goexit.
type goexit struct{}

// newPanic begins to unwind.
func (t *thread) newPanic(r any) {
	p := &panicking{value: r, in: -1}
	switch r.(type) {
	case stopped, *LimitError, *typeError, *ExitError, *PanicError:
		p.hard = true
	case goexit:
		p.goexit = true
	}
	p.stack, p.callers = t.trace(), t.stack()
	if e, ok := r.(*LimitError); ok && e.Stack == nil {
		e.Stack = p.stack
	}
	if e, ok := r.(*typeError); ok && e.pos == "" && len(p.stack) > 0 {
		_, e.pos, _ = strings.Cut(p.stack[0], " at ")
	}
	if t.top >= 0 { // where the frame stays while deferred functions run
		f := &t.frames[t.top]
		f.pc = int(t.pc-f.c.base) + insSize
	}
	t.panics = append(t.panics, p)
}

// unwind goes on with the innermost panic: it sets up the next deferred function, or what is done after
// a recovered panic. It panics when the frame base is left.
func (t *thread) unwind(base int) {
	p := t.panics[len(t.panics)-1]
	for {
		f := &t.frames[t.top]
		if p.recovered && p.in == t.top {
			if !p.exitAfter {
				t.drop(p)
				f.pc = f.c.recover * insSize
				return
			}
			p.recovered, p.exitAfter, p.goexit, p.value = false, false, true, goexit{}
		}
		if !p.hard {
			if d := f.popDefer(); d != nil {
				p.in = t.top
				if t.startDeferred(d, p) {
					return
				}
				p = t.panics[len(t.panics)-1]
				continue
			}
		}
		if old := f.pan; old != nil && old != p && f.flags&flagUnwind != 0 {
			p.exitAfter = p.exitAfter || old.goexit || old.exitAfter
			t.drop(old)
		}
		t.pop()
		if t.top < base {
			t.drop(p)
			t.leave(p)
		}
	}
}

// startDeferred sets up a deferred function, or runs it when it is of compiled Go.
func (t *thread) startDeferred(d *deferred, p *panicking) bool {
	pos, nos := t.end()
	t.room(t.frames[t.top].c, pos, nos)
	copy(t.ptrs[pos:], d.ptrs)
	copy(t.nums[nos:], d.nums)
	if d.target.c.native == nil {
		f := t.push(d.target, pos, nos)
		f.pan, f.flags = p, flagUnwind|flagKeeps
		return true
	}
	top := t.top
	defer func() {
		if r := recover(); r != nil {
			t.top = top
			old := t.panics[len(t.panics)-1]
			t.newPanic(r)
			t.drop(old)
		}
	}()
	t.byPanic = true
	defer func() { t.byPanic = false }()
	if d.target.c.adapter {
		defer t.m.adapters.expect(p)()
	}
	pp, np := t.regs(pos, nos)
	d.target.c.native(t, pp, np)
	return false
}

// adapters are the panics because of which compiled code is to call a function of the machine, by goroutine.
// That function may recover, as if it had been deferred itself.
type adapters struct {
	some atomic.Int64
	by   sync.Map // number of a goroutine → *panicking
}

// expect says that the next function called back in this goroutine runs because of p; the result takes it
// back.
func (x *adapters) expect(p *panicking) (done func()) {
	g := raw.Goroutine()
	x.some.Add(1)
	old, nested := x.by.Swap(g, p)
	return func() {
		x.some.Add(-1)
		if nested {
			x.by.Store(g, old)
		} else {
			x.by.Delete(g)
		}
	}
}

// take is the panic because of which a function is called back, nil when there is none.
func (x *adapters) take() *panicking {
	if x.some.Load() == 0 {
		return nil
	}
	if p, ok := x.by.LoadAndDelete(raw.Goroutine()); ok {
		return p.(*panicking)
	}
	return nil
}

func (f *frame) popDefer() *deferred {
	if f.defers == nil || f.defers.top == nil {
		return nil
	}
	d := f.defers.top
	f.defers.top = d.next
	return d
}

// list is the list of what the frame has deferred.
func (f *frame) list() *deferList {
	if f.defers == nil {
		f.defers = &deferList{}
		f.flags |= flagKeeps
	}
	return f.defers
}

func (t *thread) drop(p *panicking) {
	for i, x := range t.panics {
		if x == p {
			t.panics = append(t.panics[:i], t.panics[i+1:]...)
			return
		}
	}
}

// leave carries a panic to whoever called the machine: compiled code gets the value as it is. In a goroutine
// of compiled code nobody is there to get it: it is the error of the run, and the function gives zero.
func (t *thread) leave(p *panicking) {
	if t.back && foreign() {
		switch {
		case p.goexit:
			t.run.fail(ErrGoexit)
		case p.hard:
			t.run.fail(t.run.errorOf(p.value))
		default:
			t.run.fail(newPanicError(p.value, p.stack))
		}
		panic(adrift{})
	}
	if t.back && p.hard { // compiled code may recover it, as package fmt does
		t.run.fail(t.run.errorOf(p.value))
	}
	if t.back || t.nested > 0 || p.hard || p.goexit {
		panic(p.value)
	}
	panic(newPanicError(p.value, p.stack))
}

// recovered is what the builtin recover gives in the innermost frame.
func (t *thread) recovered() any {
	p := t.frames[t.top].pan
	if p == nil || p.recovered || p.goexit || t.byPanic {
		return nil
	}
	p.recovered = true
	return p.value
}

// trace lists the calls of the thread, innermost first.
func (t *thread) trace() []string {
	var out []string
	for i := t.top; i >= 0 && len(out) < maxTrace; i-- {
		f := &t.frames[i]
		pc := t.index(i)
		if pc < 0 || pc >= len(f.c.pos) {
			continue
		}
		out = append(out, fmt.Sprintf("%s at %s", f.c.name, t.m.position(f.c.pos[pc])))
	}
	return out
}

// index is the number of the instruction at which a frame is.
func (t *thread) index(i int) int {
	f := &t.frames[i]
	if i == t.top {
		return int(t.pc-f.c.base) / insSize
	}
	if t.frames[i+1].flags&flagDeferred != 0 { // it looks for more when that has returned
		return f.pc / insSize
	}
	return f.pc/insSize - 1
}

// maxTrace is how many calls an error lists.
const maxTrace = 50

func (m *Machine) position(p token.Pos) string {
	if m.opt.Fset == nil || !p.IsValid() {
		return "?"
	}
	return m.opt.Fset.Position(p).String()
}

// nilDereference panics as the runtime does.
func nilDereference() {
	var p *int
	*p = 0
}
