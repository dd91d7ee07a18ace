package vm

import (
	"go/token"
	"go/types"

	"golang.org/x/tools/go/ssa"
)

// tree is a float64 operation that is done together with operands that are operations, too: they come right
// before it, and nothing else needs them.
type tree struct {
	kind treeKind
	size int // instructions
}

type treeKind uint8

const (
	treeMul    treeKind = iota + 1 // x * y
	treeMul3                       // x * y * z
	treeMulSub                     // x*y - z*w
)

// fuseFloats finds the operands that an operation is done together with.
func (f *function) fuseFloats(b *ssa.BasicBlock, i int, x *ssa.BinOp) {
	if t, ok := x.Type().Underlying().(*types.Basic); !ok || t.Kind() != types.Float64 {
		return
	}
	right, rightTree := f.operandTree(b, i-1, x.Y)
	left, leftTree := f.operandTree(b, i-1-rightTree.size, x.X)
	mul := func(t tree) bool { return t.kind == treeMul }
	switch x.Op {
	case token.ADD:
		switch {
		case mul(leftTree) && mul(rightTree):
			f.fused[left], f.fused[right] = true, true
		case rightTree.kind == treeMul || rightTree.kind == treeMul3:
			f.fused[right] = true
		case rightTree.size == 0 && leftTree.kind != 0:
			f.fused[left] = true
		}
	case token.SUB:
		switch {
		case mul(leftTree) && mul(rightTree):
			f.fused[left], f.fused[right] = true, true
			f.trees[x] = tree{treeMulSub, 1 + leftTree.size + rightTree.size}
		case mul(rightTree):
			f.fused[right] = true
		case rightTree.size == 0 && mul(leftTree):
			f.fused[left] = true
		}
	case token.MUL:
		f.trees[x] = tree{treeMul, 1}
		if rightTree.size == 0 && mul(leftTree) {
			f.fused[left] = true
			f.trees[x] = tree{treeMul3, 2}
		}
	}
}

// operandTree is the operation at an index of a block if it is v and nothing else needs it.
func (f *function) operandTree(b *ssa.BasicBlock, at int, v ssa.Value) (*ssa.BinOp, tree) {
	x, ok := v.(*ssa.BinOp)
	if !ok || at < 0 || b.Instrs[at] != ssa.Instruction(x) || len(*x.Referrers()) != 1 {
		return nil, tree{}
	}
	return x, f.trees[x]
}

// fusedFloat is the operation that v is if it is done together with another.
func (f *function) fusedFloat(v ssa.Value) *ssa.BinOp {
	x, ok := v.(*ssa.BinOp)
	if !ok || !f.fused[x] {
		return nil
	}
	return x
}

// floatTree emits an operation of float64 numbers that is done together with operands of it, and says
// whether there are any.
func (f *function) floatTree(dst int32, o token.Token, x, y ssa.Value) bool {
	l, r := f.fusedFloat(x), f.fusedFloat(y)
	if l == nil && r == nil {
		return false
	}
	n := func(v ssa.Value) int32 { return f.use(v).n * 8 }
	i := ins{a: dst * 8}
	switch {
	case l != nil && r != nil:
		i.b, i.c, i.d, i.e = n(l.X), n(l.Y), n(r.X), n(r.Y)
		i.op = opMulMulAddF
		if o == token.SUB {
			i.op = opMulMulSubF
		}
	case l != nil && l.Op == token.SUB:
		m, k := f.fusedFloat(l.X), f.fusedFloat(l.Y)
		i.b, i.c, i.d, i.e = n(m.X), n(m.Y), n(k.X), n(k.Y)
		i.op, i.x = opMulMulSubAddF, f.shortRegister(f.use(y).n)
	case o == token.MUL:
		i.op, i.b, i.c, i.d = opMul3F, n(l.X), n(l.Y), n(y)
	case o == token.SUB && l != nil:
		i.op, i.b, i.c, i.d = opMulSubF, n(l.X), n(l.Y), n(y)
	case o == token.SUB:
		i.op, i.b, i.c, i.d = opSubMulF, n(x), n(r.X), n(r.Y)
	default:
		if l == nil {
			l, y = r, x
		}
		if m := f.fusedFloat(l.X); m != nil {
			i.op, i.b, i.c, i.d, i.e = opMul3AddF, n(y), n(m.X), n(m.Y), n(l.Y)
			break
		}
		i.op, i.b, i.c, i.d = opMulAddF, n(y), n(l.X), n(l.Y)
		if f.multiplyElements(i, l) {
			return true
		}
	}
	f.emit(i)
	return true
}

// shortRegister is a number register in the x of an instruction.
func (f *function) shortRegister(n int32) uint16 {
	if n >= markLocal/2 {
		f.fail("too many values")
	}
	return uint16(n)
}

// multiplyElements makes the addition of a product and the loads of both factors, elements of slices, which
// come right before, one operation of two instructions. It says whether it could.
func (f *function) multiplyElements(i ins, m *ssa.BinOp) bool {
	at := len(f.c.ins) - 2
	if at < f.barrier || m.X == m.Y || !f.loadedFor(m, m.X) || !f.loadedFor(m, m.Y) {
		return false
	}
	first, second := &f.c.ins[at], &f.c.ins[at+1]
	o, ok := products[[2]op{first.op, second.op}]
	if !ok || first.a != i.c || second.a != i.d {
		return false
	}
	first.op, first.a, second.a = o, i.a, i.b
	return true
}

// loadedFor says that v is the element of a slice that is loaded for the product m alone.
func (f *function) loadedFor(m *ssa.BinOp, v ssa.Value) bool {
	x, ok := v.(*ssa.UnOp)
	return ok && x.Op == token.MUL && len(*x.Referrers()) == 1 && x.Block() == m.Block()
}

// products are the operations for the loads of two factors, their product and its addition.
var products = map[[2]op]op{
	{opIndexLoad64, opIndexLoad64}: opMulAdd11F, {opIndexLoad64, opIndex2Load64}: opMulAdd12F,
	{opIndex2Load64, opIndexLoad64}: opMulAdd21F, {opIndex2Load64, opIndex2Load64}: opMulAdd22F,
}
