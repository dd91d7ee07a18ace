package vm

import (
	"go/types"

	"golang.org/x/tools/go/ssa"

	"farm/namespace/vm/raw"
)

func (f *function) makeSlice(x *ssa.MakeSlice) {
	elem := f.m.typeOf(x.Type().Underlying().(*types.Slice).Elem())
	dst, n, c := f.reg(x), f.use(x.Len).n*8, f.use(x.Cap).n*8
	size := uint64(max(sizes.Sizeof(elem.t), 1))
	f.emitFn(func(t *thread, pp, np raw.Pointer) {
		l, k := *raw.At[int64](np, n), *raw.At[int64](np, c)
		most := uint64(t.m.lim.Memory) / size
		if l < 0 || uint64(l) > most {
			_ = make([]byte, minusOne)
		}
		if k < l || uint64(k) > most {
			_ = make([]byte, 0, minusOne)
		}
		*raw.At[raw.Pointer](pp, dst.p*8) = raw.NewArray(elem.Type, int(k))
		*raw.At[[2]uint64](np, dst.n*8) = [2]uint64{uint64(l), uint64(k)}
	})
}

var minusOne = -1

func (f *function) slice(x *ssa.Slice) {
	dst, v := f.reg(x), f.use(x.X)
	bound := func(v ssa.Value) int32 {
		if v == nil {
			return -1
		}
		return f.use(v).n * 8
	}
	lo, hi, mx := bound(x.Low), bound(x.High), bound(x.Max)
	signs := sliceSigns{signed(x.Low), signed(x.High), signed(x.Max)}
	kind, elem := sliceOfSlice, 1
	length := uint64(0)
	switch u := x.X.Type().Underlying().(type) {
	case *types.Slice:
		elem = int(sizes.Sizeof(u.Elem()))
	case *types.Pointer:
		a := u.Elem().Underlying().(*types.Array)
		kind, elem, length = sliceOfArray, int(sizes.Sizeof(a.Elem())), uint64(a.Len())
	default:
		kind = sliceOfString
	}
	if a, ok := x.X.(*ssa.Alloc); ok && a.Comment == "makeslice" {
		kind = sliceOfMake
	}
	f.emitFn(func(_ *thread, pp, np raw.Pointer) {
		p := *raw.At[raw.Pointer](pp, v.p*8)
		var n, c uint64
		switch kind {
		case sliceOfArray, sliceOfMake:
			if p == nil {
				nilDereference()
			}
			n, c = length, length
		case sliceOfString:
			n = *raw.At[uint64](np, v.n*8)
			c = n
		default:
			n, c = *raw.At[uint64](np, v.n*8), *raw.At[uint64](np, v.n*8+8)
		}
		l, h, m := uint64(0), n, c
		if lo >= 0 {
			l = *raw.At[uint64](np, lo)
		}
		if hi >= 0 {
			h = *raw.At[uint64](np, hi)
		}
		if mx >= 0 {
			m = *raw.At[uint64](np, mx)
		}
		if l > h || h > m || m > c {
			badSlice(kind, signs, c, l, h, m, mx >= 0)
		}
		if l < c { // otherwise it would point past the end
			p = raw.Add(p, int(l)*elem)
		}
		*raw.At[raw.Pointer](pp, dst.p*8) = p
		if kind == sliceOfString {
			*raw.At[uint64](np, dst.n*8) = h - l
			return
		}
		*raw.At[[2]uint64](np, dst.n*8) = [2]uint64{h - l, m - l}
	})
}

const (
	sliceOfSlice = iota
	sliceOfArray
	sliceOfString
	sliceOfMake // make with a constant capacity
)

// sliceSigns says which bounds are signed.
type sliceSigns struct{ lo, hi, max bool }

func signed(v ssa.Value) bool {
	if v == nil {
		return true
	}
	return signedType(v.Type())
}

func signedType(t types.Type) bool {
	b, ok := t.Underlying().(*types.Basic)
	return ok && b.Info()&types.IsUnsigned == 0
}

// badSlice panics as the runtime does.
func badSlice(kind int, sign sliceSigns, c, l, h, m uint64, three bool) {
	alen := kind != sliceOfSlice
	pick := func(len, cap uint8) uint8 {
		if alen {
			return len
		}
		return cap
	}
	switch {
	case kind == sliceOfMake && int64(h) < 0:
		_ = make([]byte, minusOne)
	case kind == sliceOfMake:
		_ = make([]byte, 0, minusOne)
	case three && m > c:
		panic(raw.BoundsError(m, sign.max, int(c), pick(raw.BoundsSlice3Alen, raw.BoundsSlice3Acap)))
	case three && h > m:
		panic(raw.BoundsError(h, sign.hi, int(m), raw.BoundsSlice3B))
	case three:
		panic(raw.BoundsError(l, sign.lo, int(h), raw.BoundsSlice3C))
	case h > c:
		panic(raw.BoundsError(h, sign.hi, int(c), pick(raw.BoundsSliceAlen, raw.BoundsSliceAcap)))
	}
	panic(raw.BoundsError(l, sign.lo, int(h), raw.BoundsSliceB))
}

func (f *function) sliceToArray(dst loc, x ssa.Value, n int64) {
	v := f.use(x)
	f.emitFn(func(_ *thread, pp, np raw.Pointer) {
		checkArrayLength(*raw.At[uint64](np, v.n*8), n)
		*raw.At[raw.Pointer](pp, dst.p*8) = *raw.At[raw.Pointer](pp, v.p*8)
	})
}

func checkArrayLength(have uint64, want int64) {
	if have < uint64(want) {
		panic(raw.BoundsError(uint64(want), true, int(have), raw.BoundsConvert))
	}
}

func (f *function) sliceToArrayValue(dst loc, x ssa.Value, to *typ, n int64) {
	v := f.use(x)
	f.emitFn(func(_ *thread, pp, np raw.Pointer) {
		checkArrayLength(*raw.At[uint64](np, v.n*8), n)
		if !to.boxed {
			return
		}
		box := raw.New(to.Type)
		raw.Move(to.Type, box, *raw.At[raw.Pointer](pp, v.p*8))
		*raw.At[raw.Pointer](pp, dst.p*8) = box
	})
}

// appendCall emits append(x, y...), where y is a slice or string.
func (f *function) appendCall(dst loc, x, y ssa.Value) {
	elem := f.m.typeOf(x.Type().Underlying().(*types.Slice).Elem())
	if v, _ := appendsOne(&ssa.CallCommon{Args: []ssa.Value{x, y}}); v != nil {
		a, e := f.use(x), f.use(v)
		if o, ok := appendOps[elemKind(elem)]; ok {
			i := ins{op: o, x: f.shortRegister(f.typeIndex(elem)), a: dst.p * 8, b: a.p * 8, c: a.n * 8, d: e.n * 8, e: dst.n * 8}
			if o == opAppendPtr {
				i.d = e.p * 8
			}
			f.emit(i)
			return
		}
		f.appendOne(dst, a, e, elem)
		return
	}
	a, b := f.use(x), f.use(y)
	size := int(sizes.Sizeof(elem.t))
	ty := elem.Type
	f.emitFn(func(t *thread, pp, np raw.Pointer) {
		p, w := *raw.At[raw.Pointer](pp, a.p*8), *raw.At[[2]uint64](np, a.n*8)
		q, k := *raw.At[raw.Pointer](pp, b.p*8), *raw.At[uint64](np, b.n*8)
		n, c := w[0], w[1]
		if k > 0 {
			if n+k > c {
				if size > 0 && n+k > uint64(t.m.lim.Memory)/uint64(size) {
					panic(&LimitError{What: "memory for a slice, bytes", Limit: t.m.lim.Memory})
				}
				var cc int
				p, cc = raw.Grow(ty, p, int(n), int(c), int(k))
				c = uint64(cc)
			}
			if size > 0 {
				raw.Copy(ty, raw.Add(p, int(n)*size), int(k), q, int(k))
			}
			n += k
		}
		*raw.At[raw.Pointer](pp, dst.p*8) = p
		*raw.At[[2]uint64](np, dst.n*8) = [2]uint64{n, c}
	})
}

var appendOps = map[partKind]op{partI8: opAppend8, partU8: opAppend8, part64: opAppend64, partPtr: opAppendPtr}

// elemKind is the kind of the only part of a type, another one when it has several or none.
func elemKind(t *typ) partKind {
	if t.boxed || len(t.parts) != 1 || sizes.Sizeof(t.t) != partSize[t.parts[0].kind] {
		return partIface
	}
	return t.parts[0].kind
}

// appendGrown does the append of an instruction to a slice that is full.
func (t *thread) appendGrown(c *code, i *ins, pp, np raw.Pointer) {
	elem := c.types[i.x]
	n := *raw.At[uint64](np, i.c)
	if n >= uint64(t.m.lim.Memory)/uint64(partSize[elem.parts[0].kind]) {
		panic(&LimitError{What: "memory for a slice, bytes", Limit: t.m.lim.Memory})
	}
	p, room := raw.Grow(elem.Type, *raw.At[raw.Pointer](pp, i.b), int(n), int(n), 1)
	at := raw.Add(p, int(n)*int(partSize[elem.parts[0].kind]))
	elem.store(at, raw.Add(pp, int(i.d)), raw.Add(np, int(i.d)))
	*raw.At[raw.Pointer](pp, i.a) = p
	*raw.At[[2]uint64](np, i.e) = [2]uint64{n + 1, uint64(room)}
}

// appendOne emits append(x, v).
func (f *function) appendOne(dst, a, v loc, elem *typ) {
	size := int(sizes.Sizeof(elem.t))
	f.emitFn(func(t *thread, pp, np raw.Pointer) {
		p, w := *raw.At[raw.Pointer](pp, a.p*8), *raw.At[[2]uint64](np, a.n*8)
		n, c := w[0], w[1]
		if n == c {
			if size > 0 && n >= uint64(t.m.lim.Memory)/uint64(size) {
				panic(&LimitError{What: "memory for a slice, bytes", Limit: t.m.lim.Memory})
			}
			var cc int
			p, cc = raw.Grow(elem.Type, p, int(n), int(c), 1)
			c = uint64(cc)
		}
		if size > 0 {
			elem.store(raw.Add(p, int(n)*size), raw.Add(pp, int(v.p)*8), raw.Add(np, int(v.n)*8))
		}
		*raw.At[raw.Pointer](pp, dst.p*8) = p
		*raw.At[[2]uint64](np, dst.n*8) = [2]uint64{n + 1, c}
	})
}

func (f *function) copyCall(dst loc, x, y ssa.Value) {
	elem := f.m.typeOf(x.Type().Underlying().(*types.Slice).Elem())
	a, b := f.use(x), f.use(y)
	f.emitFn(func(_ *thread, pp, np raw.Pointer) {
		n := raw.Copy(elem.Type, *raw.At[raw.Pointer](pp, a.p*8), int(*raw.At[uint64](np, a.n*8)), *raw.At[raw.Pointer](pp, b.p*8), int(*raw.At[uint64](np, b.n*8)))
		*raw.At[uint64](np, dst.n*8) = uint64(n)
	})
}
