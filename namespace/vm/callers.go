package vm

import (
	"go/token"
	"reflect"
	"runtime"
	"sync"

	"golang.org/x/tools/go/ssa"

	"farm/namespace/vm/raw"
)

// callers are the program counters that functions of package runtime have given out. A number stands for
// an instruction of a function of the machine.
type callers struct {
	mu    sync.Mutex
	list  []caller
	index map[caller]int
	funcs map[*code]*funcInfo
}

// caller is a place in a function: the number of an instruction, or atEntry.
type caller struct {
	c  *code
	pc int
}

// atEntry is where a function begins.
const atEntry = -1

// firstPC is the number of the first caller. Compiled code has no such addresses.
const firstPC = 1 << 50

// number gives the number of an instruction. As in compiled code, it is one more than that of the call.
func (x *callers) number(c caller) uint64 {
	x.mu.Lock()
	defer x.mu.Unlock()
	i, ok := x.index[c]
	if !ok {
		if x.index == nil {
			x.index = map[caller]int{}
		}
		i = len(x.list)
		x.index[c] = i
		x.list = append(x.list, c)
	}
	return firstPC + 2*uint64(i) + 1
}

func (x *callers) at(pc uint64) (caller, bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if i := int(pc-firstPC) / 2; pc >= firstPC && i < len(x.list) {
		return x.list[i], true
	}
	return caller{}, false
}

// info is what a *runtime.Func of a function points to: for each function the same.
func (x *callers) info(c *code) raw.Pointer {
	x.mu.Lock()
	defer x.mu.Unlock()
	f := x.funcs[c]
	if f == nil {
		if x.funcs == nil {
			x.funcs = map[*code]*funcInfo{}
		}
		f = &funcInfo{c: c}
		x.funcs[c] = f
	}
	return raw.PointerTo(f)
}

// panicCode stands for the runtime between a panic and what it runs.
var panicCode = &code{name: "runtime.gopanic"}

// stack lists the calls of a thread, innermost first. A function that a panic runs comes after those that
// the panic has left.
func (t *thread) stack() []caller {
	var out []caller
	for i := t.top; i >= 0; i-- {
		f := &t.frames[i]
		if f.c.wrapper {
			continue
		}
		out = append(out, caller{f.c, max(t.index(i), 0)})
		if f.flags&flagUnwind != 0 && f.pan != nil {
			out = append(out, caller{c: panicCode})
			return append(out, f.pan.callers...)
		}
	}
	return out
}

func (t *thread) place(c caller) (file string, line int) {
	if c.c == panicCode {
		return "runtime/panic.go", 1
	}
	if c.pc >= len(c.c.pos) || t.m.opt.Fset == nil {
		return "", 0
	}
	var p token.Position
	if c.pc == atEntry {
		p = t.m.opt.Fset.Position(c.c.fn.Pos())
	} else {
		p = t.m.opt.Fset.Position(c.c.pos[c.pc])
	}
	if p.Filename == "" {
		p.Filename = "??" // a line comment without a file
	}
	return p.Filename, p.Line
}

// funcInfo stands behind a *runtime.Func.
type funcInfo struct {
	_ [64]byte
	c *code
}

// addCallers adds the functions of package runtime that look at the stack to the intrinsics.
func addCallers() {
	intrinsics["runtime.Caller"] = plain(func(t *thread, pp, np raw.Pointer) {
		skip := *raw.At[int64](np, 0)
		list := t.stack()
		ok := skip >= 0 && skip < int64(len(list))
		var pc uint64
		var file string
		var line int
		if ok {
			pc = t.m.callers.number(list[skip])
			file, line = t.place(list[skip])
		}
		*raw.At[uint64](np, 0) = pc
		setString(pp, raw.Add(np, 8), loc{}, file)
		*raw.At[int64](np, 16) = int64(line)
		setBool(np, 24, ok)
	})
	intrinsics["runtime.Callers"] = plain(func(t *thread, pp, np raw.Pointer) {
		pcs := raw.Slice[uintptr](*raw.At[raw.Pointer](pp, 0), int(*raw.At[uint64](np, 8)))
		n := 0
		list := t.stack()
		for i := int(*raw.At[int64](np, 0)) - 1; i < len(list) && n < len(pcs); i++ {
			pcs[n] = uintptr(firstPC)
			if i >= 0 {
				pcs[n] = uintptr(t.m.callers.number(list[i]))
			}
			n++
		}
		*raw.At[uint64](np, 0) = uint64(n)
	})
	intrinsics["runtime.FuncForPC"] = plain(func(t *thread, pp, np raw.Pointer) {
		if c, ok := t.m.callers.at(*raw.At[uint64](np, 0)); ok {
			*raw.At[raw.Pointer](pp, 0) = t.m.callers.info(c.c)
			return
		}
		*raw.At[raw.Pointer](pp, 0) = nil
	})
	intrinsics["(*runtime.Func).Name"] = plain(func(_ *thread, pp, np raw.Pointer) {
		name := ""
		if p := *raw.At[raw.Pointer](pp, 0); p != nil {
			name = raw.As[funcInfo](p).c.name
		}
		setString(pp, np, loc{}, name)
	})
	intrinsics["(*runtime.Func).Entry"] = plain(func(t *thread, pp, np raw.Pointer) {
		*raw.At[uint64](np, 0) = t.m.callers.number(caller{raw.As[funcInfo](recvPtr(pp)).c, atEntry})
	})
	intrinsics["(reflect.Value).Pointer"] = reflectPointer
	intrinsics["(*runtime.Func).FileLine"] = plain(func(t *thread, pp, np raw.Pointer) {
		c, _ := t.m.callers.at(*raw.At[uint64](np, 0))
		file, line := "", 0
		if c.c != nil {
			file, line = t.place(c)
		}
		setString(pp, np, loc{}, file)
		*raw.At[int64](np, 8) = int64(line)
	})
	intrinsics["runtime.CallersFrames"] = plain(func(_ *thread, pp, np raw.Pointer) {
		pcs := raw.Slice[uintptr](*raw.At[raw.Pointer](pp, 0), int(*raw.At[uint64](np, 0)))
		*raw.At[raw.Pointer](pp, 0) = raw.PointerTo(&frames{pcs: pcs})
	})
	intrinsics["(*runtime.Frames).Next"] = plain(nextFrame)
}

// frames stands behind a *runtime.Frames.
type frames struct{ pcs []uintptr }

func nextFrame(t *thread, pp, np raw.Pointer) {
	x := raw.As[frames](*raw.At[raw.Pointer](pp, 0))
	box := raw.New(raw.TypeOf(reflect.TypeFor[runtime.Frame]()))
	if len(x.pcs) > 0 {
		pc := x.pcs[0]
		x.pcs = x.pcs[1:]
		f := raw.As[runtime.Frame](box)
		f.PC = pc
		if c, ok := t.m.callers.at(uint64(pc)); ok {
			f.Function = c.c.name
			f.Func = raw.As[runtime.Func](t.m.callers.info(c.c))
			f.File, f.Line = t.place(c)
		}
	}
	*raw.At[raw.Pointer](pp, 0) = box
	setBool(np, 0, len(x.pcs) > 0)
}

// reflectPointer gives functions of the machine addresses of their own: in memory they all have the code
// that calls the machine.
func reflectPointer(m *Machine, fn *ssa.Function) nativeFunc {
	s := m.typeOf(fn.Signature.Recv().Type()).shape
	rt := reflect.TypeFor[reflect.Value]()
	return func(t *thread, pp, np raw.Pointer) {
		v := memory(rt, s, pp, np, loc{}).Interface().(reflect.Value)
		if v.Kind() == reflect.Func && !v.IsNil() {
			if f := raw.FuncOf(raw.Word(v)); f != nil {
				if b, ok := f.Body.(*closureBody); ok {
					*raw.At[uint64](np, 0) = t.m.callers.number(caller{b.c, atEntry})
					return
				}
			}
		}
		*raw.At[uint64](np, 0) = uint64(v.Pointer())
	}
}
