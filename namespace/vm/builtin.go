package vm

import (
	"fmt"
	"go/types"
	"math"
	"strconv"
	"strings"

	"golang.org/x/tools/go/ssa"

	"farm/namespace/vm/raw"
)

// builtinCall emits the call of a builtin function. Deferred, or in a goroutine of its own, it runs with
// a copy of its arguments.
func (f *function) builtinCall(b *ssa.Builtin, x *ssa.CallCommon, dst loc, mode callMode, stack ssa.Value) {
	if mode == callPlain {
		f.builtin(b.Name(), x, dst)
		return
	}
	out := f.out()
	at := loc{}
	for _, a := range x.Args {
		f.into(out.plus(at), a)
		at = at.plus(f.shape(a).size)
	}
	c := f.builtinCode(b, x)
	f.later(mode, stack, out, at, func(*thread, raw.Pointer, raw.Pointer) (target, loc) { return target{c: c}, loc{} })
}

// builtinCode is a builtin function as a function without results.
func (f *function) builtinCode(b *ssa.Builtin, x *ssa.CallCommon) *code {
	if b.Name() == "recover" { // what the function that defers it would get
		c := &code{m: f.m, native: func(t *thread, _, _ raw.Pointer) { t.recovered() }}
		c.ready.Store(true)
		return c
	}
	c := &code{m: f.m, fn: f.fn, name: b.Name(), recover: -1}
	frame := loc{16, 16}
	p := newPlan(f.fn)
	for {
		g := newFunction(c, frame, p)
		g.block = f.fn.Blocks[0]
		for _, a := range x.Args {
			s := f.shape(a)
			g.vals[a] = g.next
			g.next = g.next.plus(s.size)
		}
		c.params = g.next
		res := g.next
		g.next = g.next.plus(g.sizeOf(x.Signature().Results()))
		g.builtin(b.Name(), x, res)
		g.emit(ins{op: opReturn})
		need := loc{g.next.p + g.most.p, g.next.n + g.most.n}
		if need.p <= frame.p && need.n <= frame.n {
			g.finish()
			c.once.Do(func() {})
			c.ready.Store(true)
			return c
		}
		frame = need
	}
}

func (f *function) builtin(name string, x *ssa.CallCommon, dst loc) {
	args := x.Args
	switch name {
	case "len", "cap":
		f.length(name, args[0], dst)
	case "append":
		f.appendCall(dst, args[0], args[1])
	case "copy":
		f.copyCall(dst, args[0], args[1])
	case "delete":
		f.deleteCall(args[0], args[1])
	case "clear":
		f.clearCall(args[0])
	case "close":
		f.closeCall(args[0])
	case "print", "println":
		f.print(name == "println", args)
	case "min", "max":
		f.minMax(name == "min", args, dst)
	case "real":
		f.emit(ins{op: opMoveN, a: dst.n * 8, b: f.use(args[0]).n * 8})
	case "imag":
		f.emit(ins{op: opMoveN, a: dst.n * 8, b: f.use(args[0]).n*8 + 8})
	case "complex":
		f.emit(ins{op: opMoveN, a: dst.n * 8, b: f.use(args[0]).n * 8})
		f.emit(ins{op: opMoveN, a: dst.n*8 + 8, b: f.use(args[1]).n * 8})
	case "panic":
		v := f.use(args[0])
		f.emitFn(func(_ *thread, pp, _ raw.Pointer) { panic(ifaceAt(pp, v.p)) })
	case "recover":
		f.emitFn(func(t *thread, pp, _ raw.Pointer) { setIface(pp, dst.p, t.recovered()) })
	case "ssa:wrapnilchk":
		f.nilCheck(args, dst)
	case "ssa:deferstack":
		f.emitFn(func(t *thread, pp, _ raw.Pointer) {
			*raw.At[raw.Pointer](pp, dst.p*8) = raw.PointerTo(t.frames[t.top].list())
		})
	case "Sizeof":
		f.num(dst.n, uint64(sizes.Sizeof(args[0].Type())))
	case "Alignof":
		f.num(dst.n, uint64(sizes.Alignof(args[0].Type())))
	case "Offsetof":
		f.offsetof(args[0], dst)
	default:
		f.unsafeBuiltin(name, args, dst)
	}
}

// offsetof is the offset of a field within its struct, embedded ones without pointers included.
func (f *function) offsetof(v ssa.Value, dst loc) {
	switch x := v.(type) {
	case *ssa.Field:
		f.num(dst.n, uint64(offsets(x.X.Type().Underlying().(*types.Struct))[x.Field]))
	case *ssa.UnOp:
		a, ok := x.X.(*ssa.FieldAddr)
		if !ok {
			f.fail("offset of %s", v)
		}
		off := f.fieldOffset(a)
		named := a
		for { // embedded structs that the selector does not name
			outer, ok := a.X.(*ssa.FieldAddr)
			if !ok || !implied(f.fn, outer, named) {
				break
			}
			a = outer
			off += f.fieldOffset(a)
		}
		f.num(dst.n, uint64(off))
	default:
		f.fail("offset of %s", v)
	}
}

func (f *function) length(name string, x ssa.Value, dst loc) {
	v := f.use(x)
	switch u := x.Type().Underlying().(type) {
	case *types.Basic:
		f.emit(ins{op: opMoveN, a: dst.n * 8, b: v.n * 8})
	case *types.Slice:
		off := int32(0)
		if name == "cap" {
			off = 8
		}
		f.emit(ins{op: opMoveN, a: dst.n * 8, b: v.n*8 + off})
	case *types.Map:
		f.emit(ins{op: opLenMap, a: dst.n * 8, b: v.p * 8})
	case *types.Chan:
		ct := f.chanType(x.Type())
		isCap := name == "cap"
		f.emitFn(func(_ *thread, pp, np raw.Pointer) {
			c, n := ct.at(pp, v.p*8), 0
			switch {
			case c.IsNil():
			case isCap:
				n = c.Cap()
			default:
				n = c.Len()
			}
			*raw.At[uint64](np, dst.n*8) = uint64(n)
		})
	case *types.Array:
		f.num(dst.n, uint64(u.Len()))
	case *types.Pointer:
		f.num(dst.n, uint64(u.Elem().Underlying().(*types.Array).Len()))
	default:
		f.fail("%s of %s", name, x.Type())
	}
}

// print emits the builtin functions print and println, which write to the standard error.
func (f *function) print(line bool, args []ssa.Value) {
	type arg struct {
		at    loc
		shape *shape
		b     *types.Basic
		iface bool
	}
	var list []arg
	for _, a := range args {
		x := arg{at: f.use(a), shape: f.shape(a)}
		x.b, _ = a.Type().Underlying().(*types.Basic)
		_, x.iface = a.Type().Underlying().(*types.Interface)
		list = append(list, x)
	}
	f.emitFn(func(t *thread, pp, np raw.Pointer) {
		var s strings.Builder
		for i, a := range list {
			if i > 0 && line {
				s.WriteByte(' ')
			}
			switch {
			case a.b != nil:
				printBasic(&s, a.b, pp, np, a.at)
			case a.iface:
				w := raw.At[[2]raw.Pointer](pp, a.at.p*8)
				fmt.Fprintf(&s, "(%#x,%#x)", raw.Address(w[0]), raw.Address(w[1]))
			case a.shape.size.n == 2:
				w := raw.At[[2]uint64](np, a.at.n*8)
				fmt.Fprintf(&s, "[%d/%d]%#x", w[0], w[1], raw.Address(*raw.At[raw.Pointer](pp, a.at.p*8)))
			default:
				fmt.Fprintf(&s, "%#x", raw.Address(*raw.At[raw.Pointer](pp, a.at.p*8)))
			}
		}
		if line {
			s.WriteByte('\n')
		}
		_, _ = t.m.opt.Stderr.Write([]byte(s.String()))
	})
}

func printBasic(s *strings.Builder, b *types.Basic, pp, np raw.Pointer, at loc) {
	n := *raw.At[uint64](np, at.n*8)
	switch info := b.Info(); {
	case info&types.IsBoolean != 0:
		fmt.Fprint(s, n != 0)
	case info&types.IsString != 0:
		s.WriteString(str(pp, np, at.p*8, at.n*8))
	case info&types.IsUnsigned != 0:
		fmt.Fprint(s, n)
	case info&types.IsInteger != 0:
		fmt.Fprint(s, int64(n))
	case b.Kind() == types.UnsafePointer || b.Kind() == types.UntypedNil:
		fmt.Fprintf(s, "%#x", raw.Address(*raw.At[raw.Pointer](pp, at.p*8)))
	case info&types.IsComplex != 0:
		size := 128
		if b.Kind() == types.Complex64 {
			size = 64
		}
		s.WriteString(strconv.FormatComplex(complexAt(np, at.n*8, size == 64), 'g', -1, size))
	case b.Kind() == types.Float32:
		s.WriteString(strconv.FormatFloat(float64(f32(np, at.n*8)), 'g', -1, 32))
	default:
		s.WriteString(strconv.FormatFloat(math.Float64frombits(n), 'g', -1, 64))
	}
}

func (f *function) minMax(isMin bool, args []ssa.Value, dst loc) {
	b := args[0].Type().Underlying().(*types.Basic)
	var at []loc
	for _, a := range args {
		at = append(at, f.use(a))
	}
	f.emitFn(func(_ *thread, pp, np raw.Pointer) {
		best := at[0]
		if info := b.Info(); info&types.IsFloat != 0 {
			minMaxFloat(isMin, b.Kind() == types.Float32, np, at, dst.n*8)
			return
		}
		for _, x := range at[1:] {
			if less := lessBasic(b, pp, np, x, best); less == isMin && (less || lessBasic(b, pp, np, best, x)) {
				best = x
			}
		}
		*raw.At[uint64](np, dst.n*8) = *raw.At[uint64](np, best.n*8)
		if b.Info()&types.IsString != 0 {
			*raw.At[raw.Pointer](pp, dst.p*8) = *raw.At[raw.Pointer](pp, best.p*8)
		}
	})
}

func lessBasic(b *types.Basic, pp, np raw.Pointer, x, y loc) bool {
	switch info := b.Info(); {
	case info&types.IsString != 0:
		return str(pp, np, x.p*8, x.n*8) < str(pp, np, y.p*8, y.n*8)
	case info&types.IsUnsigned != 0:
		return *raw.At[uint64](np, x.n*8) < *raw.At[uint64](np, y.n*8)
	}
	return *raw.At[int64](np, x.n*8) < *raw.At[int64](np, y.n*8)
}

func minMaxFloat(isMin, small bool, np raw.Pointer, at []loc, dst int32) {
	get := func(l loc) float64 {
		if small {
			return float64(f32(np, l.n*8))
		}
		return *raw.At[float64](np, l.n*8)
	}
	v := get(at[0])
	for _, l := range at[1:] {
		if isMin {
			v = min(v, get(l))
		} else {
			v = max(v, get(l))
		}
	}
	if small {
		setF32(np, dst, float32(v))
		return
	}
	*raw.At[float64](np, dst) = v
}

// nilCheck panics for a method of a value called through a nil pointer.
func (f *function) nilCheck(args []ssa.Value, dst loc) {
	p, ty, m := f.use(args[0]), f.use(args[1]), f.use(args[2])
	f.emitFn(func(_ *thread, pp, np raw.Pointer) {
		v := *raw.At[raw.Pointer](pp, p.p*8)
		if v == nil {
			name := str(pp, np, ty.p*8, ty.n*8)
			short := name[strings.LastIndexByte(name, '.')+1:]
			panic(plainError("value method " + name + "." + str(pp, np, m.p*8, m.n*8) + " called using nil *" + short + " pointer"))
		}
		*raw.At[raw.Pointer](pp, dst.p*8) = v
	})
}

// plainError is an error of the runtime.
type plainError string

// RuntimeError says that it is one.
func (plainError) RuntimeError() {}

// Error is the text.
func (e plainError) Error() string { return string(e) }

// maxAddress bounds what package unsafe may make slices of.
const maxAddress = 1<<64 - 1

// unsafeBuiltin emits the functions of package unsafe.
func (f *function) unsafeBuiltin(name string, args []ssa.Value, dst loc) {
	v := f.use(args[0])
	switch name {
	case "SliceData", "StringData":
		f.emit(ins{op: opMoveP, a: dst.p * 8, b: v.p * 8})
	case "Add":
		n := f.use(args[1]).n * 8
		f.emitFn(func(_ *thread, pp, np raw.Pointer) {
			*raw.At[raw.Pointer](pp, dst.p*8) = raw.Add(*raw.At[raw.Pointer](pp, v.p*8), int(*raw.At[int64](np, n)))
		})
	case "String", "Slice":
		n := f.use(args[1]).n * 8
		isSlice := name == "Slice"
		size := uint64(max(sizes.Sizeof(deref(args[0].Type())), 1))
		f.emitFn(func(_ *thread, pp, np raw.Pointer) {
			l := *raw.At[int64](np, n)
			p := *raw.At[raw.Pointer](pp, v.p*8)
			if l < 0 || uint64(l) > maxAddress/size || l > 0 && uint64(l)*size-1 > maxAddress-raw.Address(p) {
				panic(plainError("unsafe." + name + ": len out of range"))
			}
			if p == nil && l > 0 {
				panic(plainError("unsafe." + name + ": ptr is nil and len is not zero"))
			}
			*raw.At[raw.Pointer](pp, dst.p*8) = p
			*raw.At[int64](np, dst.n*8) = l
			if isSlice {
				*raw.At[int64](np, dst.n*8+8) = l
			}
		})
	default:
		f.fail("builtin %s", name)
	}
}
