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
		if limit := t.m.lim.Memory; l < 0 || uint64(l) > uint64(limit)/size {
			_ = make([]byte, makeLen(l))
		}
		if k < l || uint64(k) > uint64(t.m.lim.Memory)/size {
			_ = make([]byte, 0, makeLen(k))
			_ = make([]byte, l, int(min(k, l-1))) // len larger than cap
		}
		*raw.At[raw.Pointer](pp, dst.p*8) = raw.NewArray(elem.Type, int(k))
		*raw.At[[2]uint64](np, dst.n*8) = [2]uint64{uint64(l), uint64(k)}
	})
}

// makeLen is a length that make refuses as too large.
func makeLen(n int64) int {
	if n < 0 {
		return int(n)
	}
	return 1 << 62
}

func (f *function) slice(x *ssa.Slice) {
	dst, v := f.reg(x), f.use(x.X)
	bound := func(v ssa.Value) int32 {
		if v == nil {
			return -1
		}
		return f.use(v).n * 8
	}
	lo, hi, mx := bound(x.Low), bound(x.High), bound(x.Max)
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
	f.emitFn(func(_ *thread, pp, np raw.Pointer) {
		p := *raw.At[raw.Pointer](pp, v.p*8)
		var n, c uint64
		switch kind {
		case sliceOfArray:
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
			badSlice(kind, n, c, l, h, m, mx >= 0)
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
)

// badSlice panics as the runtime does.
func badSlice(kind int, n, c, l, h, m uint64, three bool) {
	switch {
	case kind == sliceOfString:
		s := raw.String(raw.PointerTo(&zeroByte), n)
		_ = s[int64(l):int64(h)]
	case kind == sliceOfArray && !three && h > c:
		panic(raw.BoundsError(int64(h), int(c), raw.BoundsSliceAlen))
	case three:
		s := make([]struct{}, n, c)
		_ = s[int64(l):int64(h):int64(m)]
	default:
		s := make([]struct{}, n, c)
		_ = s[int64(l):int64(h)]
	}
	panic("unreachable")
}

var zeroByte byte

func (f *function) sliceToArray(dst loc, x ssa.Value, n int64) {
	v := f.use(x)
	f.emitFn(func(_ *thread, pp, np raw.Pointer) {
		checkArrayLength(*raw.At[uint64](np, v.n*8), n)
		*raw.At[raw.Pointer](pp, dst.p*8) = *raw.At[raw.Pointer](pp, v.p*8)
	})
}

func checkArrayLength(have uint64, want int64) {
	if have < uint64(want) {
		panic(raw.BoundsError(int64(have), int(want), raw.BoundsConvert))
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
					panic(&LimitError{"memory for a slice, bytes", t.m.lim.Memory})
				}
				var cc int
				p, cc = raw.Grow(ty, p, int(n), int(c), int(n+k-c))
				c = uint64(cc)
			}
			switch {
			case k == 1 && size == 8 && elem.parts != nil && elem.parts[0].kind == part64:
				*raw.As[uint64](raw.Add(p, int(n)*8)) = *raw.As[uint64](q)
			case size > 0:
				raw.Copy(ty, raw.Add(p, int(n)*size), int(k), q, int(k))
			}
			n += k
		}
		*raw.At[raw.Pointer](pp, dst.p*8) = p
		*raw.At[[2]uint64](np, dst.n*8) = [2]uint64{n, c}
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
