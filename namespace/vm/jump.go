package vm

import (
	"go/token"
	"go/types"
	"slices"

	"golang.org/x/tools/go/ssa"
)

func (f *function) jump(x *ssa.Jump) {
	from, to := x.Block(), x.Block().Succs[0]
	f.phis(from, to)
	if last := f.shortHead(to); last != nil && f.lay.back(from, to) {
		for _, in := range to.Instrs { // the condition of a loop, once more at its end
			if in != ssa.Instruction(last) && !f.fused[in] {
				f.temp = loc{}
				f.instr(in)
			}
		}
		f.temp = loc{}
		f.branch(last, from)
		return
	}
	f.follow(from, to)
}

// maxHead is how many instructions the first block of a loop may have to be there twice.
const maxHead = 4

// shortHead is the branch at the end of a block that does little else.
func (f *function) shortHead(b *ssa.BasicBlock) *ssa.If {
	last, ok := b.Instrs[len(b.Instrs)-1].(*ssa.If)
	n := 0
	for _, in := range b.Instrs[:len(b.Instrs)-1] {
		if f.fused[in] {
			continue
		}
		n++
		switch x := in.(type) {
		case *ssa.BinOp:
		case *ssa.UnOp:
			ok = ok && x.Op != token.ARROW
		case *ssa.Call:
			b, builtin := x.Call.Value.(*ssa.Builtin)
			ok = ok && builtin && b.Name() == "len"
		default:
			ok = false
		}
	}
	if !ok || n > maxHead {
		return nil
	}
	return last
}

// norms are the operations that compare the sum of two products with a number register.
var norms = map[op]op{opIfLeF: opIfNormLe, opIfNotLeF: opIfNormNotLe, opIfLtF: opIfNormLt, opIfNotLtF: opIfNormNotLt}

// moves says that the way from one block to another moves values.
func (f *function) moves(from, to *ssa.BasicBlock) bool {
	at := edge(from, to)
	for _, in := range to.Instrs {
		phi, ok := in.(*ssa.Phi)
		if !ok {
			break
		}
		switch v := phi.Edges[at].(type) {
		case *ssa.Const, *ssa.Global, *ssa.Function:
			return true
		default:
			if f.use(v) != f.reg(phi) {
				return true
			}
		}
	}
	return false
}

// branch emits a branch at the end of the block here: a jump to one of its targets; the other follows.
func (f *function) branch(x *ssa.If, here *ssa.BasicBlock) {
	b := x.Block()
	yes, no := b.Succs[0], b.Succs[1]
	cond := f.condition(x.Cond)
	turn := here != b // at the end of a loop: back into it
	stays := turn && f.lay.back(here, yes)
	switch {
	case stays && !f.moves(b, yes), !(turn && f.lay.back(here, no)) && f.moves(b, no) && !f.moves(b, yes):
		f.jumpTo(cond(true), yes)
		f.phis(b, no)
		f.follow(here, no)
	case !f.moves(b, no):
		f.jumpTo(cond(false), no)
		f.phis(b, yes)
		f.follow(here, yes)
	default:
		at := f.emitJump(cond(false))
		f.phis(b, yes)
		f.jumpTo(ins{op: opJump}, yes)
		f.label(at)
		f.phis(b, no)
		f.follow(here, no)
	}
}

// follow goes on in a block, without a jump when it is the next one.
func (f *function) follow(from, to *ssa.BasicBlock) {
	if f.lay.at[to.Index] != f.lay.at[from.Index]+1 {
		f.jumpTo(ins{op: opJump}, to)
	}
}

// emitJump emits a conditional jump, together with the operation before it when there is one for both.
func (f *function) emitJump(i ins) int {
	alone := i.x&markAlone != 0
	i.x &^= markAlone
	at, ok := f.before(i.b)
	if !ok {
		return f.emit(i)
	}
	prev := f.c.ins[at]
	if o, ok := steps[[2]op{prev.op, i.op}]; ok {
		f.remove(at)
		return f.emit(ins{op: o, b: prev.a, c: prev.c, d: i.c, e: prev.b})
	}
	if o, ok := norms[i.op]; ok && alone && prev.op == opMulMulAddF {
		f.remove(at)
		return f.emit(ins{op: o, x: f.shortRegister(i.c / 8), b: prev.b, c: prev.c, d: prev.d, e: prev.e})
	}
	return f.emit(i)
}

// before finds the operation that has set a number register, when nothing but moves of other values came
// after it.
func (f *function) before(reg int32) (int, bool) {
	for at := len(f.c.ins) - 1; at >= f.barrier; at-- {
		i := f.c.ins[at]
		switch i.op {
		case opMoveP:
		case opMoveN:
			if i.a == reg || i.b == reg {
				return 0, false
			}
		default:
			return at, i.a == reg && !f.movedOver(at)
		}
	}
	return 0, false
}

// movedOver says that a move after an instruction changes a register that it reads.
func (f *function) movedOver(at int) bool {
	p := f.c.ins[at]
	for _, i := range f.c.ins[at+1:] {
		if i.op == opMoveN && (i.a == p.b || i.a == p.c || i.a == p.d || i.a == p.e) {
			return true
		}
	}
	return false
}

// remove takes an instruction out, to which and over which no jump leads.
func (f *function) remove(at int) {
	f.c.ins, f.c.pos = slices.Delete(f.c.ins, at, at+1), slices.Delete(f.c.pos, at, at+1)
}

// steps are the operations that do an addition and the jump after it.
var steps = map[[2]op]op{
	{opAddK, opIfLt}: opAddKIfLt, {opAddK, opIfLe}: opAddKIfLe, {opAdd, opIfLt}: opAddIfLt, {opAdd, opIfLe}: opAddIfLe,
	{opAddK, opIfLtK}: opAddKIfLtK, {opAddK, opIfLeK}: opAddKIfLeK, {opAddK, opIfGtK}: opAddKIfGtK, {opAddK, opIfGeK}: opAddKIfGeK,
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
	x := uint16(0)
	if users := c.X.Referrers(); users != nil && o == c.Op && len(*users) == 1 { // a constant has none
		x = markAlone
	}
	return func(holds bool) ins {
		i := ins{op: opIfLtF, x: x, b: l, c: r}
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
