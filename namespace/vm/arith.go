package vm

import (
	"go/constant"
	"go/token"
	"go/types"
	"unicode/utf8"

	"golang.org/x/tools/go/ssa"

	"farm/namespace/vm/raw"
)

var intOps = map[token.Token]op{
	token.ADD: opAdd, token.SUB: opSub, token.MUL: opMul, token.AND: opAnd, token.OR: opOr, token.XOR: opXor, token.AND_NOT: opAndNot,
}

var floatOps = map[token.Token]op{token.ADD: opAddF, token.SUB: opSubF, token.MUL: opMulF, token.QUO: opDivF}

var float32Ops = map[token.Token]op{token.ADD: opAddF32, token.SUB: opSubF32, token.MUL: opMulF32, token.QUO: opDivF32}

func isComparison(o token.Token) bool {
	switch o {
	case token.EQL, token.NEQ, token.LSS, token.LEQ, token.GTR, token.GEQ:
		return true
	}
	return false
}

func (f *function) binop(dst loc, o token.Token, x, y ssa.Value, t types.Type) {
	if isComparison(o) {
		f.compare(dst.n, o, x, y)
		return
	}
	b := x.Type().Underlying().(*types.Basic)
	switch info := b.Info(); {
	case info&types.IsString != 0:
		l, r := f.use(x), f.use(y)
		f.emit(ins{op: opString, a: dst.p * 8, b: l.p * 8, c: l.n * 8, d: r.p * 8, e: dst.n * 8, x: uint16(r.n)})
		if r.n >= 1<<16 {
			f.fail("too many values")
		}
	case info&types.IsComplex != 0:
		f.complexOp(dst, o, x, y, b)
	case b.Kind() == types.Float32:
		f.emit(ins{op: float32Ops[o], a: dst.n * 8, b: f.use(x).n * 8, c: f.use(y).n * 8})
	case info&types.IsFloat != 0:
		if f.floatTree(dst.n, o, x, y) {
			return
		}
		f.emit(ins{op: floatOps[o], a: dst.n * 8, b: f.use(x).n * 8, c: f.use(y).n * 8})
	case o == token.SHL || o == token.SHR:
		f.shift(dst.n, o, x, y, b)
	case o == token.QUO || o == token.REM:
		f.divide(dst.n, o, x, y, b)
	default:
		f.integer(dst.n, o, x, y)
		if o != token.AND && o != token.OR && o != token.AND_NOT {
			f.extend(dst.n, t)
		}
	}
}

func (f *function) integer(dst int32, o token.Token, x, y ssa.Value) {
	if k, ok := f.small(x); ok && (o == token.ADD || o == token.MUL || o == token.AND) {
		if _, both := f.small(y); !both {
			x, y = y, x
			_ = k
		}
	}
	l := f.use(x).n * 8
	if k, ok := f.small(y); ok {
		switch {
		case o == token.ADD:
			f.emit(ins{op: opAddK, a: dst * 8, b: l, c: k})
			return
		case o == token.SUB && k != -1<<31:
			f.emit(ins{op: opAddK, a: dst * 8, b: l, c: -k})
			return
		case o == token.MUL:
			f.emit(ins{op: opMulK, a: dst * 8, b: l, c: k})
			return
		case o == token.AND:
			f.emit(ins{op: opAndK, a: dst * 8, b: l, c: k})
			return
		}
	}
	f.emit(ins{op: intOps[o], a: dst * 8, b: l, c: f.use(y).n * 8})
}

func (f *function) shift(dst int32, o token.Token, x, y ssa.Value, b *types.Basic) {
	signed := b.Info()&types.IsUnsigned == 0
	l := f.use(x).n * 8
	if k, ok := f.small(y); ok && k >= 0 && k < 64 {
		i := ins{op: opShlK, a: dst * 8, b: l, c: k}
		if o == token.SHR {
			i.op = opShrUK
			if signed {
				i.op = opShrK
			}
		}
		f.emit(i)
		f.extend(dst, b)
		return
	}
	r := f.use(y).n * 8
	if y.Type().Underlying().(*types.Basic).Info()&types.IsUnsigned == 0 {
		f.emit(ins{op: opCheckShift, a: r})
	}
	i := ins{op: opShl, a: dst * 8, b: l, c: r}
	if o == token.SHR {
		i.op = opShrU
		if signed {
			i.op = opShr
		}
	}
	f.emit(i)
	f.extend(dst, b)
}

func (f *function) divide(dst int32, o token.Token, x, y ssa.Value, b *types.Basic) {
	signed := b.Info()&types.IsUnsigned == 0
	l := f.use(x).n * 8
	if k, ok := f.small(y); ok && signed && k != 0 && k != -1 {
		i := ins{op: opDivK, a: dst * 8, b: l, c: k}
		if o == token.REM {
			i.op = opRemK
		}
		f.emit(i)
		return
	}
	ops := map[bool][2]op{true: {opDiv, opRem}, false: {opDivU, opRemU}}[signed]
	i := ins{op: ops[0], a: dst * 8, b: l, c: f.use(y).n * 8}
	if o == token.REM {
		i.op = ops[1]
	}
	f.emit(i)
	f.extend(dst, b)
}

func (f *function) complexOp(dst loc, o token.Token, x, y ssa.Value, b *types.Basic) {
	l, r := f.use(x).n*8, f.use(y).n*8
	small := b.Kind() == types.Complex64
	f.emitFn(func(_ *thread, _, np raw.Pointer) {
		a, b := complexAt(np, l, small), complexAt(np, r, small)
		var z complex128
		switch {
		case small && o == token.MUL:
			z = complex128(complex64(a) * complex64(b))
		case small && o == token.QUO:
			z = complex128(complex64(a) / complex64(b))
		case o == token.ADD:
			z = a + b
		case o == token.SUB:
			z = a - b
		case o == token.MUL:
			z = a * b
		default:
			z = a / b
		}
		setComplex(np, dst.n*8, small, z)
	})
}

func complexAt(np raw.Pointer, off int32, small bool) complex128 {
	if small {
		return complex(float64(f32(np, off)), float64(f32(np, off+8)))
	}
	return complex(*raw.At[float64](np, off), *raw.At[float64](np, off+8))
}

func setComplex(np raw.Pointer, off int32, small bool, z complex128) {
	if small {
		setF32(np, off, float32(real(z)))
		setF32(np, off+8, float32(imag(z)))
		return
	}
	*raw.At[float64](np, off), *raw.At[float64](np, off+8) = real(z), imag(z)
}

// compare emits a comparison whose result is a bool in number register dst.
func (f *function) compare(dst int32, o token.Token, x, y ssa.Value) {
	if o == token.GTR || o == token.GEQ {
		x, y = y, x
		o = map[token.Token]token.Token{token.GTR: token.LSS, token.GEQ: token.LEQ}[o]
	}
	b, basic := x.Type().Underlying().(*types.Basic)
	if !basic {
		f.equal(dst, o, x, y)
		return
	}
	l, r := f.use(x), f.use(y)
	i := ins{a: dst * 8, b: l.n * 8, c: r.n * 8}
	neg := o == token.NEQ
	pick := func(eq, lt, le op) {
		i.op = map[token.Token]op{token.EQL: eq, token.NEQ: eq, token.LSS: lt, token.LEQ: le}[o]
	}
	switch info := b.Info(); {
	case info&types.IsString != 0:
		pick(opEqStr, opLtStr, opLeStr)
		i.b, i.c, i.d, i.e = l.p*8, l.n*8, r.p*8, r.n*8
	case info&types.IsComplex != 0:
		small := b.Kind() == types.Complex64
		f.emitFn(func(_ *thread, _, np raw.Pointer) {
			setBool(np, dst*8, (complexAt(np, l.n*8, small) == complexAt(np, r.n*8, small)) != neg)
		})
		return
	case b.Kind() == types.UnsafePointer || b.Kind() == types.UntypedNil:
		i.op, i.b, i.c = opEqP, l.p*8, r.p*8
	case b.Kind() == types.Float32:
		pick(opEqF32, opLtF32, opLeF32)
	case info&types.IsFloat != 0:
		pick(opEqF, opLtF, opLeF)
	case info&types.IsUnsigned != 0:
		pick(opEq, opLtU, opLeU)
	default:
		pick(opEq, opLt, opLe)
	}
	if i.op == opEq && neg {
		i.op, neg = opNe, false
	}
	f.emit(i)
	if neg {
		f.emit(ins{op: opNotB, a: dst * 8, b: dst * 8})
	}
}

// equal emits == or != of values of other types than the basic ones.
func (f *function) equal(dst int32, o token.Token, x, y ssa.Value) {
	neg := o == token.NEQ
	isNil := func(v ssa.Value) bool {
		c, ok := v.(*ssa.Const)
		return ok && c.Value == nil
	}
	if isNil(x) {
		x, y = y, x
	}
	xt, yt := f.m.typeOf(x.Type()), f.m.typeOf(y.Type())
	switch x.Type().Underlying().(type) {
	case *types.Struct, *types.Array:
		f.equalValues(dst, neg, f.use(x), f.use(y), xt)
		return
	case *types.Interface:
		if !isNil(y) {
			f.equalInterfaces(dst, neg, f.use(x).p, f.use(y).p, xt, yt)
			return
		}
	}
	if isNil(y) {
		op := opIsNil
		if neg {
			op = opNotNil
		}
		f.emit(ins{op: op, a: dst * 8, b: f.use(x).p * 8})
		return
	}
	f.emit(ins{op: opEqP, a: dst * 8, b: f.use(x).p * 8, c: f.use(y).p * 8})
	if neg {
		f.emit(ins{op: opNotB, a: dst * 8, b: dst * 8})
	}
}

func (f *function) equalValues(dst int32, neg bool, l, r loc, t *typ) {
	ty := t.shape
	f.emitFn(func(_ *thread, pp, np raw.Pointer) {
		var a, b raw.Pointer
		if ty.boxed {
			a, b = *raw.At[raw.Pointer](pp, l.p*8), *raw.At[raw.Pointer](pp, r.p*8)
		} else {
			a, b = raw.New(ty.t), raw.New(ty.t)
			ty.store(a, raw.Add(pp, int(l.p)*8), raw.Add(np, int(l.n)*8))
			ty.store(b, raw.Add(pp, int(r.p)*8), raw.Add(np, int(r.n)*8))
		}
		setBool(np, dst*8, raw.Equal(ty.t, a, b) != neg)
	})
}

func (f *function) equalInterfaces(dst int32, neg bool, l, r int32, xt, yt *typ) {
	xTab, yTab := xt.hasTab(), yt.hasTab()
	f.emitFn(func(_ *thread, pp, np raw.Pointer) {
		setBool(np, dst*8, (anyOf(pp, l, xTab) == anyOf(pp, r, yTab)) != neg)
	})
}

// anyOf is an interface in registers as an empty one.
func anyOf(pp raw.Pointer, at int32, tab bool) any {
	w := raw.At[[2]raw.Pointer](pp, at*8)
	if tab {
		return raw.Iface(raw.TabType(w[0]), w[1])
	}
	return raw.Iface(w[0], w[1])
}

func stringOf(c *ssa.Const) string {
	if c.Value.Kind() == constant.Int {
		n, ok := constant.Int64Val(c.Value)
		if !ok || n < 0 || n > utf8.MaxRune {
			n = utf8.RuneError
		}
		return string(rune(n))
	}
	return constant.StringVal(c.Value)
}

func float32Of(c *ssa.Const) float32 {
	v, _ := constant.Float32Val(constant.ToFloat(c.Value))
	return v
}

// convert emits a conversion.
func (f *function) convert(dst loc, x ssa.Value, to types.Type) {
	from := x.Type()
	fb, fromBasic := from.Underlying().(*types.Basic)
	tb, toBasic := to.Underlying().(*types.Basic)
	switch {
	case fromBasic && toBasic && fb.Info()&types.IsNumeric != 0 && tb.Info()&types.IsNumeric != 0:
		f.convertNumber(dst, f.use(x), fb, tb)
	case toBasic && tb.Info()&types.IsString != 0:
		f.convertToString(dst, x, from)
	case fromBasic && fb.Info()&types.IsString != 0:
		if s, ok := to.Underlying().(*types.Slice); ok {
			f.convertFromString(dst, f.use(x), s.Elem())
			return
		}
		f.move(dst, f.use(x), f.shape(x).size)
	case toBasic && tb.Kind() == types.Uintptr:
		l := f.use(x).p * 8
		f.emitFn(func(_ *thread, pp, np raw.Pointer) {
			*raw.At[uint64](np, dst.n*8) = raw.Address(*raw.At[raw.Pointer](pp, l))
		})
	case fromBasic && fb.Kind() == types.Uintptr:
		l := f.use(x).n * 8
		f.emitFn(func(_ *thread, pp, np raw.Pointer) {
			*raw.At[raw.Pointer](pp, dst.p*8) = raw.ToPointer(*raw.At[uint64](np, l))
		})
	default:
		if a, ok := to.Underlying().(*types.Array); ok {
			f.sliceToArrayValue(dst, x, f.m.typeOf(to), a.Len())
			return
		}
		f.move(dst, f.use(x), f.shape(x).size)
	}
}

func (f *function) convertNumber(dst, v loc, from, to *types.Basic) {
	fi, ti := from.Info(), to.Info()
	one := func(o op) { f.emit(ins{op: o, a: dst.n * 8, b: v.n * 8}) }
	switch {
	case fi&types.IsComplex != 0:
		f.convertComplex(dst, v, from, to)
	case fi&types.IsInteger != 0 && ti&types.IsInteger != 0:
		if o, ok := extends[basicPart(to)]; ok {
			one(o)
			return
		}
		one(opMoveN)
	case fi&types.IsInteger != 0 && to.Kind() == types.Float32:
		unsigned := fi&types.IsUnsigned != 0
		f.emitFn(func(_ *thread, _, np raw.Pointer) {
			n := *raw.At[uint64](np, v.n*8)
			if unsigned {
				setF32(np, dst.n*8, float32(n))
				return
			}
			setF32(np, dst.n*8, float32(int64(n)))
		})
	case fi&types.IsInteger != 0:
		if fi&types.IsUnsigned != 0 {
			one(opUintToF)
			return
		}
		one(opIntToF)
	case ti&types.IsInteger != 0:
		if from.Kind() == types.Float32 {
			one(opF32ToF)
			v = dst
		}
		o := opFToInt
		if k := basicPart(to); ti&types.IsUnsigned != 0 && k != partU8 && k != partU16 {
			o = opFToUint
		}
		one(o)
		f.extend(dst.n, to)
	case from.Kind() == types.Float32 && to.Kind() != types.Float32:
		one(opF32ToF)
	case from.Kind() != types.Float32 && to.Kind() == types.Float32:
		one(opFToF32)
	default:
		one(opMoveN)
	}
}

func (f *function) convertComplex(dst, v loc, from, to *types.Basic) {
	fs, ts := from.Kind() == types.Complex64, to.Kind() == types.Complex64
	f.emitFn(func(_ *thread, _, np raw.Pointer) {
		setComplex(np, dst.n*8, ts, complexAt(np, v.n*8, fs))
	})
}

func setString(pp, np raw.Pointer, at loc, s string) {
	*raw.At[raw.Pointer](pp, at.p*8), *raw.At[uint64](np, at.n*8) = raw.StringData(s), uint64(len(s))
}

func setSlice[T any](pp, np raw.Pointer, at loc, s []T) {
	*raw.At[raw.Pointer](pp, at.p*8) = raw.SliceData(s)
	*raw.At[[2]uint64](np, at.n*8) = [2]uint64{uint64(len(s)), uint64(cap(s))}
}

func sliceAt[T any](pp, np raw.Pointer, at loc) []T {
	return raw.Slice[T](*raw.At[raw.Pointer](pp, at.p*8), int(*raw.At[uint64](np, at.n*8)))
}

func (f *function) convertToString(dst loc, x ssa.Value, from types.Type) {
	v := f.use(x)
	switch u := from.Underlying().(type) {
	case *types.Slice:
		if sizes.Sizeof(u.Elem()) == 1 {
			f.emitFn(func(_ *thread, pp, np raw.Pointer) { setString(pp, np, dst, string(sliceAt[byte](pp, np, v))) })
			return
		}
		f.emitFn(func(_ *thread, pp, np raw.Pointer) { setString(pp, np, dst, string(sliceAt[rune](pp, np, v))) })
	case *types.Basic:
		if u.Info()&types.IsInteger == 0 {
			f.move(dst, v, f.shape(x).size)
			return
		}
		unsigned := u.Info()&types.IsUnsigned != 0
		f.emitFn(func(_ *thread, pp, np raw.Pointer) {
			n := *raw.At[int64](np, v.n*8)
			if n < 0 && !unsigned || uint64(n) > utf8.MaxRune {
				n = utf8.RuneError
			}
			setString(pp, np, dst, string(rune(n)))
		})
	default:
		f.fail("conversion of %s to a string", from)
	}
}

func (f *function) convertFromString(dst, v loc, elem types.Type) {
	if sizes.Sizeof(elem) == 1 {
		f.emitFn(func(_ *thread, pp, np raw.Pointer) {
			setSlice(pp, np, dst, []byte(str(pp, np, v.p*8, v.n*8)))
		})
		return
	}
	f.emitFn(func(_ *thread, pp, np raw.Pointer) {
		setSlice(pp, np, dst, []rune(str(pp, np, v.p*8, v.n*8)))
	})
}
