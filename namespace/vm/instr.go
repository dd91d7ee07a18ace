package vm

import (
	"go/token"
	"go/types"

	"golang.org/x/tools/go/ssa"

	"farm/namespace/vm/raw"
)

// fuse finds the instructions of a block that are done together with others.
func (f *function) fuse(b *ssa.BasicBlock) {
	f.coalesce(b)
	for i, in := range b.Instrs {
		switch x := in.(type) {
		case *ssa.FieldAddr:
			if f.foldable(x) {
				f.fused[x] = true
			}
		case *ssa.IndexAddr:
			if f.indexFuses(b, i, x) {
				f.fused[x] = true
				f.fuseRow(b, i, x)
			}
		case *ssa.BinOp:
			if m := factor(b, i, x); m != nil {
				f.fused[m] = true
			}
		case *ssa.If:
			if c, ok := x.Cond.(*ssa.BinOp); ok && i > 0 && b.Instrs[i-1] == ssa.Instruction(c) && len(*c.Referrers()) == 1 && f.branchOp(c) {
				f.fused[c] = true
			}
		case *ssa.Call:
			if c, ok := x.Call.Value.(*ssa.Builtin); ok && c.Name() == "append" {
				_, parts := appendsOne(&x.Call)
				for _, p := range parts {
					f.fused[p] = true
				}
			}
		case *ssa.Extract, *ssa.ChangeType, *ssa.DebugRef, *ssa.Phi:
			f.fused[in] = true
		case *ssa.Field:
			if !f.m.typeOf(x.X.Type()).boxed {
				f.fused[in] = true
			}
		}
	}
}

// coalesce lets what a block computes only for the next turn of a loop take the registers of the variable
// that has it there, when nothing looks at the old value any more.
func (f *function) coalesce(b *ssa.BasicBlock) {
	if len(b.Succs) != 1 || b.Succs[0].Index > b.Index {
		return
	}
	to := b.Succs[0]
	for _, in := range to.Instrs {
		phi, ok := in.(*ssa.Phi)
		if !ok {
			return
		}
		for i, p := range to.Preds {
			v, ok := phi.Edges[i].(*ssa.BinOp)
			if p != b || !ok || v.Block() != b || len(*v.Referrers()) != 1 || f.vals[v] != (loc{}) || !scalarOp(v) {
				continue
			}
			if _, set := f.vals[v]; !set && !usedAfter(phi, v, to) {
				f.vals[v] = f.reg(phi)
			}
		}
	}
}

// scalarOp says that an operation reads its operands before it writes its only register.
func scalarOp(v *ssa.BinOp) bool {
	b, ok := v.Type().Underlying().(*types.Basic)
	return ok && b.Info()&(types.IsInteger|types.IsFloat) != 0
}

// usedAfter says that a variable of a loop is looked at after v has been computed, in the same block or on
// the way back.
func usedAfter(phi *ssa.Phi, v *ssa.BinOp, to *ssa.BasicBlock) bool {
	at := map[ssa.Instruction]int{}
	for i, in := range v.Block().Instrs {
		at[in] = i
	}
	uses := func(x ssa.Value) bool {
		if x.Referrers() == nil {
			return false
		}
		for _, r := range *x.Referrers() {
			if p, ok := r.(*ssa.Phi); ok && p.Block() == to && p != phi {
				return true
			}
			if i, ok := at[r]; ok && i > at[v] {
				return true
			}
		}
		return false
	}
	if uses(phi) {
		return true
	}
	for _, r := range *phi.Referrers() { // the same registers under another name
		if c, ok := r.(*ssa.ChangeType); ok && uses(c) {
			return true
		}
	}
	return false
}

// appendsOne is the value that a call of append adds, when it is one, which needs no array of its own.
func appendsOne(x *ssa.CallCommon) (val ssa.Value, parts []ssa.Instruction) {
	s, ok := x.Args[1].(*ssa.Slice)
	if !ok || len(*s.Referrers()) != 1 {
		return nil, nil
	}
	a, ok := s.X.(*ssa.Alloc)
	if !ok || a.Comment != "varargs" || len(*a.Referrers()) != 2 || a.Block() != s.Block() {
		return nil, nil
	}
	for _, r := range *a.Referrers() {
		i, ok := r.(*ssa.IndexAddr)
		if !ok {
			continue
		}
		if len(*i.Referrers()) != 1 || deref(a.Type()).Underlying().(*types.Array).Len() != 1 {
			return nil, nil
		}
		if st, ok := (*i.Referrers())[0].(*ssa.Store); ok && st.Addr == ssa.Value(i) {
			return st.Val, []ssa.Instruction{s, a, i, st}
		}
	}
	return nil, nil
}

// foldable says that the address of a field is only used to load and store it, in its own block.
func (f *function) foldable(x *ssa.FieldAddr) bool {
	for _, r := range *x.Referrers() {
		if r.Block() != x.Block() {
			return false
		}
		switch r := r.(type) {
		case *ssa.UnOp:
		case *ssa.Store:
			if r.Val == ssa.Value(x) {
				return false
			}
		case *ssa.DebugRef:
		default:
			return false
		}
	}
	return true
}

// address is a pointer register and an offset.
func (f *function) address(v ssa.Value) (base, off int32) {
	x, ok := v.(*ssa.FieldAddr)
	if !ok || !f.fused[x] {
		return f.use(v).p, 0
	}
	base, off = f.address(x.X)
	return base, off + f.fieldOffset(x)
}

func deref(t types.Type) types.Type { return t.Underlying().(*types.Pointer).Elem() }

func (f *function) fieldOffset(x *ssa.FieldAddr) int32 {
	return int32(offsets(deref(x.X.Type()).Underlying().(*types.Struct))[x.Field])
}

// indexFuses says that the address of an element is only used by the next instruction, in a way that
// there is one operation for.
func (f *function) indexFuses(b *ssa.BasicBlock, i int, x *ssa.IndexAddr) bool {
	if _, ok := x.X.Type().Underlying().(*types.Slice); !ok || len(*x.Referrers()) != 1 || i+1 >= len(b.Instrs) || (*x.Referrers())[0] != b.Instrs[i+1] {
		return false
	}
	t := f.m.typeOf(deref(x.Type()))
	if t.boxed || len(t.parts) != 1 || t.parts[0].off != 0 {
		return false
	}
	k := t.parts[0].kind
	switch next := b.Instrs[i+1].(type) {
	case *ssa.UnOp:
		switch k {
		case part64, partI32, partU8, partPtr, partSlice:
			return next.Op == token.MUL && sizes.Sizeof(t.t) == partSize[k]
		}
	case *ssa.Store:
		return next.Addr == ssa.Value(x) && next.Val != ssa.Value(x) && (k == part64 || k == partU8)
	}
	return false
}

// fuseRow lets the load of an element take over that of the row it is in, when that comes right before.
func (f *function) fuseRow(b *ssa.BasicBlock, i int, x *ssa.IndexAddr) {
	row, ok := x.X.(*ssa.UnOp)
	if !ok || i == 0 || b.Instrs[i-1] != ssa.Instruction(row) || len(*row.Referrers()) != 1 {
		return
	}
	at, ok := row.X.(*ssa.IndexAddr)
	load, isLoad := b.Instrs[i+1].(*ssa.UnOp)
	if ok && isLoad && f.fused[at] && f.m.typeOf(load.Type()).parts[0].kind == part64 {
		f.fused[row] = true
	}
}

// factor is the product that an addition of float64 numbers is done together with: it comes right before
// and nothing else needs it.
func factor(b *ssa.BasicBlock, i int, x *ssa.BinOp) *ssa.BinOp {
	if t, ok := x.Type().Underlying().(*types.Basic); !ok || t.Kind() != types.Float64 || x.Op != token.ADD || i == 0 {
		return nil
	}
	m, ok := b.Instrs[i-1].(*ssa.BinOp)
	if !ok || m.Op != token.MUL || len(*m.Referrers()) != 1 || x.X != ssa.Value(m) && x.Y != ssa.Value(m) || x.X == x.Y {
		return nil
	}
	return m
}

var partSize = map[partKind]int64{part64: 8, partI32: 4, partU8: 1, partPtr: 8, partSlice: 24}

// branchOp says that there is a jump for a comparison.
func (f *function) branchOp(c *ssa.BinOp) bool {
	b, ok := c.X.Type().Underlying().(*types.Basic)
	if !ok {
		return false
	}
	cmp := c.Op == token.LSS || c.Op == token.LEQ || c.Op == token.GTR || c.Op == token.GEQ
	eq := c.Op == token.EQL || c.Op == token.NEQ
	if b.Info()&(types.IsInteger|types.IsBoolean) != 0 {
		return cmp || eq
	}
	return cmp && b.Info()&types.IsFloat != 0 && b.Kind() != types.Float32
}

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

func (f *function) jump(x *ssa.Jump) {
	to := x.Block().Succs[0]
	f.phis(x.Block(), to)
	if cond := onlyCondition(to, f.fused); cond != nil && to.Index <= x.Block().Index {
		f.branch(cond, x.Block()) // the condition of a loop, once more at its end
		return
	}
	f.jumpTo(ins{op: jumpOp(x.Block(), to)}, to)
}

// onlyCondition is the branch at the end of a block that does nothing else.
func onlyCondition(b *ssa.BasicBlock, fused map[ssa.Instruction]bool) *ssa.If {
	last, ok := b.Instrs[len(b.Instrs)-1].(*ssa.If)
	for _, in := range b.Instrs[:len(b.Instrs)-1] {
		ok = ok && fused[in]
	}
	if !ok {
		return nil
	}
	return last
}

func jumpOp(from, to *ssa.BasicBlock) op {
	if to.Index <= from.Index {
		return opLoop
	}
	return opJump
}

func hasPhis(b *ssa.BasicBlock) bool {
	_, ok := b.Instrs[0].(*ssa.Phi)
	return ok
}

// branch emits a branch at the end of the block here: a jump to one of its targets; the other follows.
func (f *function) branch(x *ssa.If, here *ssa.BasicBlock) {
	b := x.Block()
	yes, no := b.Succs[0], b.Succs[1]
	cond := f.condition(x.Cond)
	if here != b && !hasPhis(yes) { // at the end of a loop: back to its body
		f.jumpTo(cond(true), yes)
		f.phis(b, no)
		f.follow(here, no)
		return
	}
	if !hasPhis(no) {
		f.jumpTo(cond(false), no)
		f.phis(b, yes)
		f.follow(here, yes)
		return
	}
	if !hasPhis(yes) {
		f.jumpTo(cond(true), yes)
		f.phis(b, no)
		f.follow(here, no)
		return
	}
	at := f.emit(cond(false))
	f.phis(b, yes)
	f.jumpTo(ins{op: jumpOp(here, yes)}, yes)
	f.label(at)
	f.phis(b, no)
	f.follow(here, no)
}

// follow goes on in a block, without a jump when it is the next one.
func (f *function) follow(from, to *ssa.BasicBlock) {
	if to.Index == from.Index+1 {
		return
	}
	f.jumpTo(ins{op: jumpOp(from, to)}, to)
}

// condition gives the jump for a condition that holds, or does not.
func (f *function) condition(v ssa.Value) func(holds bool) ins {
	c, ok := v.(*ssa.BinOp)
	if !ok || !f.fused[c] {
		r := f.use(v).n * 8
		return func(holds bool) ins {
			if holds {
				return ins{op: opIf, b: r}
			}
			return ins{op: opIfNot, b: r}
		}
	}
	if p := c.Pos(); p.IsValid() {
		f.pos = p
	}
	b := c.X.Type().Underlying().(*types.Basic)
	if b.Info()&types.IsFloat != 0 {
		return f.floatCondition(c)
	}
	l := f.use(c.X).n * 8
	unsigned := b.Info()&types.IsUnsigned != 0
	if k, ok := f.small(c.Y); ok && (!unsigned || c.Op == token.EQL || c.Op == token.NEQ) {
		return func(holds bool) ins { return ins{op: jumpsK[when(c.Op, holds)], b: l, c: k} }
	}
	r := f.use(c.Y).n * 8
	return func(holds bool) ins {
		o, l, r := when(c.Op, holds), l, r
		switch o {
		case token.GTR:
			o, l, r = token.LSS, r, l
		case token.GEQ:
			o, l, r = token.LEQ, r, l
		}
		i := ins{op: jumps[o], b: l, c: r}
		if unsigned && i.op == opIfLt {
			i.op = opIfLtU
		} else if unsigned && i.op == opIfLe {
			i.op = opIfLeU
		}
		return i
	}
}

var jumps = map[token.Token]op{token.EQL: opIfEq, token.NEQ: opIfNe, token.LSS: opIfLt, token.LEQ: opIfLe}

var jumpsK = map[token.Token]op{
	token.EQL: opIfEqK, token.NEQ: opIfNeK, token.LSS: opIfLtK, token.LEQ: opIfLeK, token.GTR: opIfGtK, token.GEQ: opIfGeK,
}

// when is the comparison that is true when o is, or is not.
func when(o token.Token, holds bool) token.Token {
	if holds {
		return o
	}
	switch o {
	case token.EQL:
		return token.NEQ
	case token.NEQ:
		return token.EQL
	case token.LSS:
		return token.GEQ
	case token.LEQ:
		return token.GTR
	case token.GTR:
		return token.LEQ
	}
	return token.LSS
}

// floatCondition does not turn comparisons around: neither holds for NaN.
func (f *function) floatCondition(c *ssa.BinOp) func(bool) ins {
	l, r := f.use(c.X).n*8, f.use(c.Y).n*8
	o := c.Op
	switch o {
	case token.GTR:
		o, l, r = token.LSS, r, l
	case token.GEQ:
		o, l, r = token.LEQ, r, l
	}
	return func(holds bool) ins {
		i := ins{op: opIfLtF, b: l, c: r}
		switch {
		case o == token.LSS && !holds:
			i.op = opIfNotLtF
		case o == token.LEQ && holds:
			i.op = opIfLeF
		case o == token.LEQ:
			i.op = opIfNotLeF
		}
		return i
	}
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
