package vm

import (
	"go/token"
	"go/types"

	"golang.org/x/tools/go/ssa"
)

// fuse finds the instructions of a block that are done together with others.
func (f *function) fuse(b *ssa.BasicBlock) {
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
			f.fuseFloats(b, i, x)
		case *ssa.MapUpdate:
			f.fuseElement(b, i, x)
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
		case *ssa.Convert:
			if sameRegister(x.X.Type(), x.Type()) {
				f.fused[in] = true
			}
		case *ssa.Field:
			if !f.m.typeOf(x.X.Type()).boxed {
				f.fused[in] = true
			}
		}
	}
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

// sameRegister says that the conversion of an integer leaves the register as it is.
func sameRegister(from, to types.Type) bool {
	x, ok := from.Underlying().(*types.Basic)
	y, yes := to.Underlying().(*types.Basic)
	return ok && yes && x.Info()&types.IsInteger != 0 && y.Info()&types.IsInteger != 0 && basicPart(y) == part64
}

// partSize is the size in memory of a part.
var partSize = [...]int64{
	partI8: 1, partI16: 2, partI32: 4, part64: 8, partU8: 1, partU16: 2, partU32: 4, partF32: 4, partPtr: 8, partStr: 16,
	partSlice: 24, partIface: 16,
}

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
