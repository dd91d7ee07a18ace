package vm

import (
	"go/token"
	"go/types"

	"golang.org/x/tools/go/ssa"

	"farm/namespace/vm/raw"
)

// instr emits what becomes of an instruction.
//
//nolint:gocyclo // one case for each instruction
func (f *function) instr(in ssa.Instruction) {
	switch x := in.(type) {
	case *ssa.Alloc:
		f.emit(ins{op: opNew, a: f.reg(x).p * 8, b: f.typeIndex(f.m.typeOf(deref(x.Type())))})
	case *ssa.Store:
		f.storeInstr(x)
	case *ssa.UnOp:
		f.unop(x)
	case *ssa.BinOp:
		f.binop(f.reg(x), x.Op, x.X, x.Y, x.Type())
	case *ssa.Call:
		f.call(&x.Call, f.reg(x), callPlain, nil)
	case *ssa.Defer:
		f.call(&x.Call, loc{}, callDefer, x.DeferStack)
	case *ssa.Go:
		f.call(&x.Call, loc{}, callGo, nil)
	case *ssa.RunDefers:
		f.emit(ins{op: opDefers})
	case *ssa.ChangeInterface:
		f.changeInterface(f.reg(x), f.use(x.X), f.m.typeOf(x.X.Type()), f.m.typeOf(x.Type()))
	case *ssa.Convert:
		f.convert(f.reg(x), x.X, x.Type())
	case *ssa.MultiConvert:
		f.convert(f.reg(x), x.X, x.Type())
	case *ssa.SliceToArrayPointer:
		f.sliceToArray(f.reg(x), x.X, deref(x.Type()).Underlying().(*types.Array).Len())
	case *ssa.MakeInterface:
		f.makeInterface(f.reg(x), x.X, f.m.typeOf(x.Type()))
	case *ssa.MakeClosure:
		f.makeClosure(x)
	case *ssa.MakeMap:
		f.makeMap(x)
	case *ssa.MakeChan:
		f.makeChan(x)
	case *ssa.MakeSlice:
		f.makeSlice(x)
	case *ssa.Slice:
		f.slice(x)
	case *ssa.FieldAddr:
		base, off := f.address(x.X)
		f.emit(ins{op: opField, a: f.reg(x).p * 8, b: base * 8, c: off + f.fieldOffset(x)})
	case *ssa.Field: // of a boxed struct
		off := offsets(x.X.Type().Underlying().(*types.Struct))[x.Field]
		f.load(f.reg(x), f.use(x.X).p, int32(off), f.m.typeOf(x.Type()))
	case *ssa.IndexAddr:
		f.indexAddr(x)
	case *ssa.Index:
		f.index(x)
	case *ssa.Lookup:
		f.lookup(x)
	case *ssa.Range:
		f.rangeOver(x)
	case *ssa.Next:
		f.nextOf(x)
	case *ssa.TypeAssert:
		f.typeAssert(x)
	case *ssa.Select:
		f.selectOf(x)
	case *ssa.Send:
		f.send(x)
	case *ssa.MapUpdate:
		f.mapUpdate(x)
	case *ssa.Jump:
		f.jump(x)
	case *ssa.If:
		f.branch(x, x.Block())
	case *ssa.Return:
		f.ret(x)
	case *ssa.Panic:
		v := f.use(x.X)
		f.emitFn(func(_ *thread, pp, _ raw.Pointer) {
			panic(ifaceAt(pp, v.p))
		})
	default:
		f.fail("instruction %T", in)
	}
}

// ifaceAt is the empty interface in two pointer registers.
func ifaceAt(pp raw.Pointer, at int32) any {
	w := raw.At[[2]raw.Pointer](pp, at*8)
	return raw.Iface(w[0], w[1])
}

func setIface(pp raw.Pointer, at int32, v any) {
	w := raw.At[[2]raw.Pointer](pp, at*8)
	w[0], w[1] = raw.IfaceWords(v)
}

func (f *function) ret(x *ssa.Return) {
	if f.deferStack {
		f.emit(ins{op: opDefers})
	}
	var list []move1
	at := loc{}
	type late struct {
		dst loc
		v   ssa.Value
	}
	var consts []late
	for _, v := range x.Results {
		size := f.shape(v).size
		switch v.(type) {
		case *ssa.Const, *ssa.Global, *ssa.Function:
			consts = append(consts, late{at, v})
		default:
			list = movesOf(list, at, f.use(v), size)
		}
		at = at.plus(size)
	}
	f.parallel(list)
	for _, l := range consts {
		f.constant(l.dst, l.v)
	}
	f.emit(ins{op: opReturn})
}

func (f *function) storeInstr(x *ssa.Store) {
	t := f.m.typeOf(x.Val.Type())
	if i, ok := x.Addr.(*ssa.IndexAddr); ok && f.fused[i] {
		s, n := f.use(i.X), f.use(i.Index)
		o := opIndexStore64
		if t.parts[0].kind == partU8 {
			o = opIndexStore8
		}
		f.emit(ins{op: o, x: unsignedIndex(i.Index), a: f.use(x.Val).n * 8, b: s.p * 8, c: n.n * 8, d: s.n * 8})
		return
	}
	if a, ok := x.Addr.(*ssa.FieldAddr); ok && deref(a.X.Type()).Underlying().(*types.Struct).Field(a.Field).Name() == "_" {
		return // of a composite literal
	}
	base, off := f.address(x.Addr)
	f.store(base, off, f.use(x.Val), t)
}

func (f *function) unop(x *ssa.UnOp) {
	dst := f.reg(x)
	switch x.Op {
	case token.MUL:
		t := f.m.typeOf(x.Type())
		if i, ok := x.X.(*ssa.IndexAddr); ok && f.fused[i] {
			f.indexLoad(dst, i, t.parts[0].kind)
			return
		}
		base, off := f.address(x.X)
		f.load(dst, base, off, t)
	case token.ARROW:
		f.receive(dst, x)
	case token.NOT:
		f.emit(ins{op: opNotB, a: dst.n * 8, b: f.use(x.X).n * 8})
	case token.XOR:
		f.emit(ins{op: opNot, a: dst.n * 8, b: f.use(x.X).n * 8})
		f.extend(dst.n, x.Type())
	case token.SUB:
		f.negate(dst, x)
	default:
		f.fail("operation %s", x.Op)
	}
}

func (f *function) negate(dst loc, x *ssa.UnOp) {
	v := f.use(x.X)
	b := x.Type().Underlying().(*types.Basic)
	switch {
	case b.Info()&types.IsComplex != 0:
		o := opNegF
		if b.Kind() == types.Complex64 {
			o = opNegF32
		}
		f.emit(ins{op: o, a: dst.n * 8, b: v.n * 8})
		f.emit(ins{op: o, a: dst.n*8 + 8, b: v.n*8 + 8})
	case b.Kind() == types.Float32:
		f.emit(ins{op: opNegF32, a: dst.n * 8, b: v.n * 8})
	case b.Info()&types.IsFloat != 0:
		f.emit(ins{op: opNegF, a: dst.n * 8, b: v.n * 8})
	default:
		f.emit(ins{op: opNeg, a: dst.n * 8, b: v.n * 8})
		f.extend(dst.n, x.Type())
	}
}

var extends = map[partKind]op{
	partI8: opExtI8, partI16: opExtI16, partI32: opExtI32, partU8: opExtU8, partU16: opExtU16, partU32: opExtU32,
}

// extend cuts an integer to the width of its type.
func (f *function) extend(at int32, t types.Type) {
	if o, ok := extends[basicPart(t.Underlying().(*types.Basic))]; ok {
		f.emit(ins{op: o, a: at * 8, b: at * 8})
	}
}

func (f *function) indexLoad(dst loc, x *ssa.IndexAddr, k partKind) {
	n := f.use(x.Index)
	i := ins{e: n.n * 8}
	if row, ok := x.X.(*ssa.UnOp); !ok || !f.fused[row] {
		s := f.use(x.X)
		i = ins{x: unsignedIndex(x.Index), a: dst.n * 8, b: s.p * 8, c: n.n * 8, d: s.n * 8}
	}
	switch k {
	case part64:
		i.op = opIndexLoad64
		if row, ok := x.X.(*ssa.UnOp); ok && f.fused[row] {
			at := row.X.(*ssa.IndexAddr)
			s, first := f.use(at.X), f.use(at.Index)
			i = ins{op: opIndex2Load64, x: unsignedIndex(at.Index) | 2*unsignedIndex(x.Index), a: dst.n * 8, b: s.p * 8, c: first.n * 8, d: s.n * 8, e: n.n * 8}
		}
	case partI32:
		i.op = opIndexLoadI32
	case partU8:
		i.op = opIndexLoadU8
	case partPtr:
		i.op, i.a = opIndexLoadPtr, dst.p*8
	default:
		i.op, i.a, i.e = opIndexRow, dst.p*8, dst.n*8
	}
	f.emit(i)
}

func (f *function) indexAddr(x *ssa.IndexAddr) {
	dst, s, n := f.reg(x), f.use(x.X), f.use(x.Index)
	i := ins{op: opIndex, x: unsignedIndex(x.Index), a: dst.p * 8, b: s.p * 8, c: n.n * 8, d: s.n * 8, e: f.elemSize(deref(x.Type()))}
	if p, ok := x.X.Type().Underlying().(*types.Pointer); ok {
		i.op = opIndexArr
		l := p.Elem().Underlying().(*types.Array).Len()
		if l != int64(int32(l)) {
			f.fail("an array of %d elements", l)
		}
		i.d = int32(l)
	}
	f.emit(i)
}

// unsignedIndex is the x of operations on elements.
func unsignedIndex(v ssa.Value) uint16 {
	if signed(v) {
		return 0
	}
	return 1
}

func (f *function) elemSize(t types.Type) int32 {
	n := sizes.Sizeof(t)
	if n != int64(int32(n)) {
		f.fail("elements of %d bytes", n)
	}
	return int32(n)
}

// index is an element of an array that is a value, or of a string.
func (f *function) index(x *ssa.Index) {
	dst, v, n := f.reg(x), f.use(x.X), f.use(x.Index)
	if _, ok := x.X.Type().Underlying().(*types.Basic); ok {
		f.emit(ins{op: opIndexStr, x: unsignedIndex(x.Index), a: dst.n * 8, b: v.p * 8, c: n.n * 8, d: v.n * 8})
		return
	}
	a := x.X.Type().Underlying().(*types.Array)
	t := f.m.typeOf(a.Elem())
	base := f.tmp(loc{1, 0}).p
	from := v.p
	if !f.shape(x.X).boxed { // no elements, or without size
		from = base
		f.ptr(base, raw.New(t.Type))
	}
	f.emit(ins{op: opIndexArr, x: unsignedIndex(x.Index), a: base * 8, b: from * 8, c: n.n * 8, d: int32(a.Len()), e: f.elemSize(a.Elem())})
	f.load(dst, base, 0, t)
}
