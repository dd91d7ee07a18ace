package vm

import (
	"fmt"
	"go/token"
	"go/types"
	"math"
	"slices"
	"strings"

	"golang.org/x/tools/go/ssa"

	"farm/namespace/vm/raw"
)

// function compiles one function.
type function struct {
	m     *Machine
	c     *code
	fn    *ssa.Function
	frame loc // the registers it may use; a second pass gets more when they are not enough

	vals   map[ssa.Value]loc
	next   loc // first register that is free
	temp   loc // first temporary register that is free, within the instruction
	most   loc // the most temporary registers so far
	starts []int
	jumps  []jump
	block  *ssa.BasicBlock
	pos    token.Pos
	places map[*group]loc
	// what comes before it may not be changed any more: jumps lead to it
	barrier int
	*plan

	deferStack bool  // functions within it defer for it, and nothing else runs that
	prologue   []ins // what makes constants that loops use
	consts     map[any]loc
	nums       map[uint64]int32
	typeIdx    map[*typ]int32
}

// plan is what is decided about a function before instructions are emitted, once for all passes.
type plan struct {
	lay    *ordering
	fused  map[ssa.Instruction]bool // done together with another instruction
	trees  map[ssa.Value]tree
	groups map[ssa.Value]*group
	// values that are computed, or stay, in the registers of a call, counted from those; and in the
	// registers of the function's results
	outs, results map[ssa.Value]loc
}

func newPlan(fn *ssa.Function) *plan {
	return &plan{
		lay: orderOf(fn), fused: map[ssa.Instruction]bool{}, trees: map[ssa.Value]tree{}, groups: map[ssa.Value]*group{},
		outs: map[ssa.Value]loc{}, results: map[ssa.Value]loc{},
	}
}

// decide makes the plan of the function.
func (f *function) decide() {
	for _, b := range f.fn.Blocks {
		f.fuse(b)
	}
	f.assign()
}

// jump is an instruction whose target is a block.
type jump struct {
	at int
	to int
}

// compile makes the instructions of a function. It panics with a *typeError.
func compile(c *code) {
	c.m.types.claim(c.fn)
	c.params, c.args, c.recv, c.results = loc{}, loc{}, nil, loc{}
	frame := loc{}
	p := newPlan(c.fn)
	newFunction(c, frame, p).decide()
	for {
		f := newFunction(c, frame, p)
		f.run()
		need := loc{f.next.p + f.most.p, f.next.n + f.most.n}
		if need.p <= frame.p && need.n <= frame.n {
			f.finish()
			return
		}
		frame = loc{need.p + 4, need.n + 4}
	}
}

func newFunction(c *code, frame loc, p *plan) *function {
	c.ins, c.pos, c.nums, c.ptrs, c.types, c.codes, c.sites, c.fns = nil, nil, nil, nil, nil, nil, nil, nil
	return &function{
		m: c.m, c: c, fn: c.fn, frame: frame, vals: map[ssa.Value]loc{}, starts: make([]int, len(c.fn.Blocks)),
		plan: p, places: map[*group]loc{}, consts: map[any]loc{}, nums: map[uint64]int32{}, typeIdx: map[*typ]int32{},
		deferStack: lateDefers(c.fn),
	}
}

// lateDefers says that a function hands out its list of deferred calls and has no instruction to run them.
func lateDefers(fn *ssa.Function) bool {
	stack := false
	for _, b := range fn.Blocks {
		for _, in := range b.Instrs {
			if _, ok := in.(*ssa.RunDefers); ok {
				return false
			}
			if c, ok := in.(*ssa.Call); ok {
				b, ok := c.Call.Value.(*ssa.Builtin)
				stack = stack || ok && b.Name() == "ssa:deferstack"
			}
		}
	}
	return stack
}

func (f *function) fail(format string, a ...any) {
	panic(&typeError{msg: fmt.Sprintf("%s: %s", f.fn, fmt.Sprintf(format, a...))})
}

func (f *function) run() {
	f.signature()
	f.c.wrapper = strings.Contains(f.fn.Synthetic, "wrapper") || strings.Contains(f.fn.Synthetic, "thunk")
	skip := unevaluated(f.fn)
	for _, b := range f.lay.order {
		f.block = b
		f.starts[b.Index], f.barrier = len(f.c.ins), len(f.c.ins)
		for _, in := range b.Instrs {
			if f.fused[in] || skip[in] {
				continue
			}
			f.moveTo(b, in)
			f.temp = loc{}
			f.instr(in)
		}
	}
	f.recovery()
}

// moveTo sets the position of what is emitted next to that of an instruction.
func (f *function) moveTo(b *ssa.BasicBlock, in ssa.Instruction) {
	if p := in.Pos(); p.IsValid() {
		f.pos = p
	} else if _, ok := in.(*ssa.RunDefers); ok && fallsOff(b) {
		if p := closing(f.fn); p.IsValid() {
			f.pos = p
		}
	}
}

// recovery is what is done after a recovered panic: the deferred functions that are left, and the return.
func (f *function) recovery() {
	f.c.recover = len(f.c.ins)
	f.emit(ins{op: opDefers})
	if f.fn.Recover != nil {
		f.jumpTo(ins{op: opJump}, f.fn.Recover)
		return
	}
	res := f.fn.Signature.Results()
	at := loc{}
	for v := range res.Variables() {
		s := f.m.typeOf(v.Type()).shape
		f.zero(at, s)
		at = at.plus(s.size)
	}
	f.emit(ins{op: opReturn})
}

// finish puts the prologue in front and sets the targets of jumps.
func (f *function) finish() {
	c := f.c
	shift := len(f.prologue)
	for _, j := range f.jumps {
		in := &c.ins[j.at]
		in.a = int32(f.starts[j.to]-j.at) * insSize
		if in.op == opJump && in.a <= 0 {
			in.op = opLoop
		}
	}
	for at := range c.ins {
		if in := &c.ins[at]; in.x&markLocal != 0 {
			in.x, in.a = in.x&^markLocal, (in.a-int32(at))*insSize
		}
	}
	c.recover += shift
	c.ins = slices.Concat(f.prologue, c.ins)
	c.pos = slices.Concat(make([]token.Pos, shift), c.pos)
	c.start = raw.SliceData(c.ins)
	c.base = raw.Address(c.start)
	c.frame = f.frame
	c.needP, c.needN = int(c.frame.p)+argRoom, int(c.frame.n)+argRoom
}

// markLocal in the x of a jump says that its target is an instruction of the same function, not a block.
const markLocal = 1 << 15

// markAlone in the x of a jump that is not emitted yet says that nothing else needs what it compares first.
const markAlone = 1 << 14

// signature gives parameters, captured variables and results their registers.
func (f *function) signature() {
	c, params := f.c, f.fn.Params
	at := loc{}
	place := func(v ssa.Value) *shape {
		s := f.m.typeOf(v.Type()).shape
		f.vals[v] = at
		if g := f.groups[v]; g != nil {
			f.places[g] = at
		}
		at = at.plus(s.size)
		return s
	}
	var recv *ssa.Parameter
	if f.fn.Signature.Recv() != nil && len(params) > 0 {
		recv, params = params[0], params[1:]
	}
	for _, p := range params {
		place(p)
	}
	c.args = at
	if recv != nil {
		c.recv = place(recv)
	}
	c.params = at
	for _, v := range f.fn.FreeVars {
		place(v)
	}
	f.next = at
	c.results = loc{}
	for v := range f.fn.Signature.Results().Variables() {
		c.results = c.results.plus(f.m.typeOf(v.Type()).size)
	}
	if max(c.results.p, c.results.n, at.p, at.n) > argRoom {
		f.fail("more than %d words of parameters or results", argRoom)
	}
	f.next.p, f.next.n = max(f.next.p, c.results.p), max(f.next.n, c.results.n)
}

func (f *function) emit(i ins) int {
	f.c.ins = append(f.c.ins, i)
	f.c.pos = append(f.c.pos, f.pos)
	return len(f.c.ins) - 1
}

// emitFn emits a function of the machine that gets the registers of the frame.
func (f *function) emitFn(fn func(t *thread, pp, np raw.Pointer)) {
	f.c.fns = append(f.c.fns, fn)
	f.emit(ins{op: opFn, a: int32(len(f.c.fns) - 1)})
}

func (f *function) jumpTo(i ins, b *ssa.BasicBlock) {
	f.jumps = append(f.jumps, jump{f.emitJump(i), b.Index})
}

// label sets the target of a jump within the instruction to what comes next.
func (f *function) label(at int) {
	f.c.ins[at].a = int32(len(f.c.ins))
	f.c.ins[at].x |= markLocal
	f.barrier = len(f.c.ins)
}

// reg gives the registers of a value that an instruction defines.
func (f *function) reg(v ssa.Value) loc {
	if l, ok := f.vals[v]; ok {
		return l
	}
	g := f.groups[v]
	l, ok := f.places[g]
	switch {
	case g != nil && ok:
	case f.isOut(v):
		l = f.out().plus(f.outs[v])
	case f.isResult(v):
		l = f.results[v]
	default:
		l = f.next
		f.next = f.next.plus(f.sizeOf(v.Type()))
	}
	if g != nil {
		f.places[g] = l
	}
	f.vals[v] = l
	return l
}

func (f *function) isOut(v ssa.Value) bool {
	_, ok := f.outs[v]
	return ok
}

func (f *function) isResult(v ssa.Value) bool {
	_, ok := f.plan.results[v]
	return ok
}

func (f *function) sizeOf(t types.Type) loc {
	if tuple, ok := t.(*types.Tuple); ok {
		l := loc{}
		for v := range tuple.Variables() {
			l = l.plus(f.sizeOf(v.Type()))
		}
		return l
	}
	return f.m.typeOf(t).size
}

func (f *function) shape(v ssa.Value) *shape { return f.m.typeOf(v.Type()).shape }

// tmp gives temporary registers, free until the next instruction.
func (f *function) tmp(size loc) loc {
	// they lie at the end of the frame, whose size is known from the first pass
	f.temp = f.temp.plus(size)
	f.most.p, f.most.n = max(f.most.p, f.temp.p), max(f.most.n, f.temp.n)
	return loc{f.frame.p - f.temp.p, f.frame.n - f.temp.n}
}

// out is the first registers of a callee.
func (f *function) out() loc { return f.frame }

// use gives the registers that hold an operand.
func (f *function) use(v ssa.Value) loc {
	switch v.(type) {
	case *ssa.Const, *ssa.Global, *ssa.Function:
	default:
		l, ok := f.vals[v]
		if !ok {
			l = f.alias(v)
		}
		return l
	}
	if f.lay.depth[f.block.Index] == 0 {
		l := f.tmp(f.shape(v).size)
		f.constant(l, v)
		return l
	}
	key := constKey(v)
	if l, ok := f.consts[key]; ok {
		return l
	}
	l := f.next
	f.next = f.next.plus(f.shape(v).size)
	body, pos := f.c.ins, f.c.pos
	f.c.ins, f.c.pos = f.prologue, nil
	f.constant(l, v)
	f.prologue = f.c.ins
	f.c.ins, f.c.pos = body, pos
	f.consts[key] = l
	return l
}

// alias gives a value that has not been computed yet, because a later block defines it, its registers.
func (f *function) alias(v ssa.Value) loc {
	switch x := v.(type) {
	case *ssa.Extract:
		return f.extract(x)
	case *ssa.ChangeType:
		return f.use(x.X)
	case *ssa.Convert:
		if f.fused[x] {
			return f.use(x.X)
		}
	case *ssa.Field:
		if l, ok := f.flatField(x); ok {
			return l
		}
	}
	return f.reg(v)
}

func (f *function) extract(x *ssa.Extract) loc {
	l := f.use(x.Tuple)
	tuple := x.Tuple.Type().(*types.Tuple)
	for i := range x.Index {
		l = l.plus(f.sizeOf(tuple.At(i).Type()))
	}
	return l
}

// flatField is the registers of a field of a struct that is held in registers.
func (f *function) flatField(x *ssa.Field) (loc, bool) {
	s := f.shape(x.X)
	if s.boxed {
		return loc{}, false
	}
	l := f.use(x.X)
	u := x.X.Type().Underlying().(*types.Struct)
	for i := range x.Field {
		l = l.plus(f.m.typeOf(u.Field(i).Type()).size)
	}
	return l, true
}

type constantKey struct {
	t *shape
	s string
}

func constKey(v ssa.Value) any {
	c, ok := v.(*ssa.Const)
	if !ok {
		return v
	}
	if c.Value == nil {
		return constantKey{nil, "nil " + c.Type().String()}
	}
	return constantKey{nil, c.Type().String() + " " + c.Value.ExactString()}
}

// into puts an operand into registers that nothing else uses.
func (f *function) into(dst loc, v ssa.Value) {
	switch v.(type) {
	case *ssa.Const, *ssa.Global, *ssa.Function:
		f.constant(dst, v)
		return
	}
	f.move(dst, f.use(v), f.shape(v).size)
}

func (f *function) move(dst, src, size loc) {
	for i := range size.p {
		if dst.p != src.p {
			f.emit(ins{op: opMoveP, a: (dst.p + i) * 8, b: (src.p + i) * 8})
		}
	}
	for i := range size.n {
		if dst.n != src.n {
			f.emit(ins{op: opMoveN, a: (dst.n + i) * 8, b: (src.n + i) * 8})
		}
	}
}

// constant emits what makes a constant.
func (f *function) constant(dst loc, v ssa.Value) {
	switch v := v.(type) {
	case *ssa.Global:
		f.ptr(dst.p, f.m.global(v))
	case *ssa.Function:
		f.ptr(dst.p, f.m.funcValue(v))
	case *ssa.Const:
		f.constOf(dst, v)
	}
}

func (f *function) ptr(at int32, p raw.Pointer) {
	if p == nil {
		f.emit(ins{op: opNil, a: at * 8})
		return
	}
	f.c.ptrs = append(f.c.ptrs, p)
	f.emit(ins{op: opPtrK, a: at * 8, b: int32(len(f.c.ptrs) - 1)})
}

func (f *function) num(at int32, n uint64) {
	if int64(n) == int64(int32(n)) {
		f.emit(ins{op: opConst, a: at * 8, b: int32(n)})
		return
	}
	i, ok := f.nums[n]
	if !ok {
		i = int32(len(f.c.nums))
		f.nums[n] = i
		f.c.nums = append(f.c.nums, n)
	}
	f.emit(ins{op: opNumK, a: at * 8, b: i})
}

func (f *function) zero(dst loc, s *shape) {
	if s.boxed {
		f.ptr(dst.p, raw.New(s.t))
		return
	}
	for i := range s.size.p {
		f.emit(ins{op: opNil, a: (dst.p + i) * 8})
	}
	for i := range s.size.n {
		f.num(dst.n+i, 0)
	}
}

func (f *function) constOf(dst loc, v *ssa.Const) {
	s := f.shape(v)
	if v.Value == nil {
		f.zero(dst, s)
		return
	}
	b, ok := v.Type().Underlying().(*types.Basic)
	if !ok {
		f.fail("constant %s", v)
	}
	switch {
	case b.Info()&types.IsString != 0:
		text := stringOf(v)
		f.ptr(dst.p, raw.StringData(text))
		f.num(dst.n, uint64(len(text)))
	case b.Info()&types.IsComplex != 0:
		z := v.Complex128()
		re, im := math.Float64bits(real(z)), math.Float64bits(imag(z))
		if b.Kind() == types.Complex64 {
			re, im = uint64(math.Float32bits(float32(real(z)))), uint64(math.Float32bits(float32(imag(z))))
		}
		f.num(dst.n, re)
		f.num(dst.n+1, im)
	case b.Kind() == types.UnsafePointer:
		f.ptr(dst.p, raw.ToPointer(v.Uint64()))
	default:
		n, _ := f.bits(v)
		f.num(dst.n, n)
	}
}

// bits gives a constant that is held in one number register.
func (f *function) bits(v ssa.Value) (uint64, bool) {
	c, ok := v.(*ssa.Const)
	if !ok {
		return 0, false
	}
	b, ok := c.Type().Underlying().(*types.Basic)
	if !ok {
		return 0, false
	}
	info := b.Info()
	if c.Value == nil {
		return 0, info&(types.IsBoolean|types.IsInteger|types.IsFloat) != 0
	}
	switch {
	case info&types.IsBoolean != 0:
		if c.Value.String() == "true" {
			return 1, true
		}
		return 0, true
	case info&types.IsUnsigned != 0:
		return c.Uint64(), true
	case info&types.IsInteger != 0:
		return uint64(c.Int64()), true
	case b.Kind() == types.Float32:
		return uint64(math.Float32bits(float32Of(c))), true
	case info&types.IsFloat != 0:
		return math.Float64bits(c.Float64()), true
	}
	return 0, false
}

// small gives an integer constant that fits into an instruction.
func (f *function) small(v ssa.Value) (int32, bool) {
	b, ok := v.Type().Underlying().(*types.Basic)
	if !ok || b.Info()&types.IsInteger == 0 {
		return 0, false
	}
	n, ok := f.bits(v)
	return int32(n), ok && int64(n) == int64(int32(n))
}

func (f *function) typeIndex(t *typ) int32 {
	i, ok := f.typeIdx[t]
	if !ok {
		i = int32(len(f.c.types))
		f.typeIdx[t] = i
		f.c.types = append(f.c.types, t)
	}
	return i
}

var loadOps = map[partKind]op{
	partI8: opLoadI8, partI16: opLoadI16, partI32: opLoadI32, part64: opLoad64, partU8: opLoadU8, partU16: opLoadU16,
	partU32: opLoadU32, partF32: opLoadU32, partPtr: opLoadPtr, partStr: opLoadStr, partSlice: opLoadSlice, partIface: opLoadIface,
}

var storeOps = map[partKind]op{
	partI8: opStore8, partI16: opStore16, partI32: opStore32, part64: opStore64, partU8: opStore8, partU16: opStore16,
	partU32: opStore32, partF32: opStore32, partPtr: opStorePtr, partStr: opStoreStr, partSlice: opStoreSlice, partIface: opStoreIface,
}

// numbers says that a part is held in a number register only.
func (k partKind) number() bool { return k < partPtr }

// load emits the loads of a value from the address in pointer register base plus off.
func (f *function) load(dst loc, base, off int32, t *typ) {
	if t.boxed {
		f.emit(ins{op: opLoadBox, a: dst.p * 8, b: base * 8, c: off, d: f.typeIndex(t)})
		return
	}
	if len(t.parts) == 0 {
		f.emit(ins{op: opField, a: f.tmp(loc{1, 0}).p * 8, b: base * 8})
	}
	for _, x := range t.parts {
		at := dst.plus(x.at)
		i := ins{op: loadOps[x.kind], a: at.p * 8, b: base * 8, c: off + x.off, d: at.n * 8}
		if x.kind.number() {
			i.a = at.n * 8
		}
		f.emit(i)
	}
}

// store emits the stores of a value.
func (f *function) store(base, off int32, src loc, t *typ) {
	if t.boxed {
		f.emit(ins{op: opStoreBox, a: base * 8, b: src.p * 8, c: off, d: f.typeIndex(t)})
		return
	}
	if len(t.parts) == 0 {
		f.emit(ins{op: opField, a: f.tmp(loc{1, 0}).p * 8, b: base * 8})
	}
	for _, x := range t.parts {
		at := src.plus(x.at)
		i := ins{op: storeOps[x.kind], a: base * 8, b: at.p * 8, c: off + x.off, d: at.n * 8}
		if x.kind.number() {
			i.b = at.n * 8
		}
		f.emit(i)
	}
}

// move1 is the move of a register.
type move1 struct {
	ptr      bool
	dst, src int32
}

func movesOf(list []move1, dst, src, size loc) []move1 {
	for i := range size.p {
		list = append(list, move1{true, dst.p + i, src.p + i})
	}
	for i := range size.n {
		list = append(list, move1{false, dst.n + i, src.n + i})
	}
	return list
}

// parallel emits moves that all happen at once.
func (f *function) parallel(list []move1) {
	emit := func(m move1) {
		o := opMoveN
		if m.ptr {
			o = opMoveP
		}
		f.emit(ins{op: o, a: m.dst * 8, b: m.src * 8})
	}
	for len(list) > 0 {
		var rest []move1
		for i, m := range list {
			if m.dst == m.src {
				continue
			}
			blocked := false
			for j, o := range list {
				blocked = blocked || i != j && o.ptr == m.ptr && o.src == m.dst && o.dst != o.src
			}
			if blocked {
				rest = append(rest, m)
				continue
			}
			emit(m)
			list[i].src = m.dst // done: blocks nothing any more
		}
		if len(rest) == len(list) { // a cycle: break it
			m := rest[0]
			size := loc{0, 1}
			if m.ptr {
				size = loc{1, 0}
			}
			t := f.tmp(size)
			at := t.n
			if m.ptr {
				at = t.p
			}
			emit(move1{m.ptr, at, m.src})
			for i := range rest {
				if rest[i].ptr == m.ptr && rest[i].src == m.src {
					rest[i].src = at
				}
			}
		}
		list = rest
	}
}

// edge is the number of the way from one block to another among those to the latter.
func edge(from, to *ssa.BasicBlock) int { return slices.Index(to.Preds, from) }

// phis emits what the way from one block to another means for the values that depend on it.
func (f *function) phis(from, to *ssa.BasicBlock) {
	at := edge(from, to)
	var list []move1
	type late struct {
		dst loc
		v   ssa.Value
	}
	var consts []late
	for _, in := range to.Instrs {
		phi, ok := in.(*ssa.Phi)
		if !ok {
			break
		}
		v := phi.Edges[at]
		dst := f.reg(phi)
		switch v.(type) {
		case *ssa.Const, *ssa.Global, *ssa.Function:
			consts = append(consts, late{dst, v})
		default:
			list = movesOf(list, dst, f.use(v), f.shape(v).size)
		}
	}
	f.parallel(list)
	for _, l := range consts {
		f.constant(l.dst, l.v)
	}
}
