package vm

import (
	"go/token"

	"golang.org/x/tools/go/ssa"
)

// liveness says where the values of a function are still needed, as far as they are candidates.
type liveness struct {
	f       *function
	index   map[ssa.Value]int
	in, out []bits // by index of block
	last    []map[ssa.Value]int
	place   map[ssa.Value]int // of the instruction in its block, -1 for phis, -2 for parameters
}

// bits is a set of candidates.
type bits []uint64

func (b bits) has(i int) bool { return b[i>>6]>>(i&63)&1 != 0 }
func (b bits) add(i int)      { b[i>>6] |= 1 << (i & 63) }

// reads calls yield for each value whose registers are read where an instruction is emitted: its operands,
// and those of what is done together with it.
func (f *function) reads(in ssa.Instruction, yield func(ssa.Value)) {
	if c, ok := in.(*ssa.Call); ok {
		if b, ok := c.Call.Value.(*ssa.Builtin); ok && b.Name() == "append" {
			if v, _ := appendsOne(&c.Call); v != nil {
				f.readsValue(c.Call.Args[0], yield)
				f.readsValue(v, yield)
				return
			}
		}
	}
	var buf [8]*ssa.Value
	for _, v := range in.Operands(buf[:0]) {
		if *v != nil {
			f.readsValue(*v, yield)
		}
	}
}

func (f *function) readsValue(v ssa.Value, yield func(ssa.Value)) {
	switch x := v.(type) {
	case *ssa.Const, *ssa.Global, *ssa.Function, *ssa.Builtin:
		return
	case *ssa.Phi:
	case ssa.Instruction:
		if f.fused[x] {
			f.reads(x, yield)
			return
		}
	}
	yield(v)
}

// liveOf finds where the candidates live.
func (f *function) liveOf(candidates map[ssa.Value]int) *liveness {
	blocks := f.fn.Blocks
	l := &liveness{f: f, index: candidates, in: make([]bits, len(blocks)), out: make([]bits, len(blocks)), last: make([]map[ssa.Value]int, len(blocks)), place: map[ssa.Value]int{}}
	words := len(candidates)/64 + 1
	uses, defs := make([]bits, len(blocks)), make([]bits, len(blocks))
	for v := range candidates {
		if _, ok := v.(ssa.Instruction); !ok {
			l.place[v] = -2
		}
	}
	for i, b := range blocks {
		l.in[i], l.out[i], uses[i], defs[i] = make(bits, words), make(bits, words), make(bits, words), make(bits, words)
		l.last[i] = map[ssa.Value]int{}
		l.block(b, uses[i], defs[i])
	}
	for changed := true; changed; {
		changed = false
		for i := len(f.lay.order) - 1; i >= 0; i-- {
			changed = l.step(f.lay.order[i], uses, defs) || changed
		}
	}
	return l
}

// block finds what a block needs from before, what it defines, and where it looks at what last.
func (l *liveness) block(b *ssa.BasicBlock, uses, defs bits) {
	for at, in := range b.Instrs {
		if phi, ok := in.(*ssa.Phi); ok {
			l.place[phi] = -1
			if i, ok := l.index[phi]; ok {
				defs.add(i)
			}
			continue
		}
		if !l.f.fused[in] {
			l.f.reads(in, func(v ssa.Value) {
				l.last[b.Index][v] = at
				if i, ok := l.index[v]; ok && !defs.has(i) {
					uses.add(i)
				}
			})
		}
		if v, ok := in.(ssa.Value); ok {
			l.place[v] = at
			if i, ok := l.index[v]; ok {
				defs.add(i)
			}
		}
	}
}

// step looks once more at a block, and says whether it has found something new.
func (l *liveness) step(b *ssa.BasicBlock, uses, defs []bits) bool {
	i := b.Index
	out := l.out[i]
	merge := func(s *ssa.BasicBlock) {
		for w, x := range l.in[s.Index] {
			out[w] |= x
		}
	}
	for _, s := range b.Succs {
		merge(s)
		for _, in := range s.Instrs {
			phi, ok := in.(*ssa.Phi)
			if !ok {
				break
			}
			for k, p := range s.Preds {
				if p == b {
					l.f.readsValue(phi.Edges[k], func(v ssa.Value) {
						if x, ok := l.index[v]; ok {
							out.add(x)
						}
					})
				}
			}
		}
	}
	if r := l.f.fn.Recover; r != nil && r != b {
		merge(r) // a panic may lead there from anywhere
	}
	changed := false
	for w := range out {
		x := uses[i][w] | out[w]&^defs[i][w]
		changed = changed || x != l.in[i][w]
		l.in[i][w] = x
	}
	return changed
}

// blockOf is the block that defines a value.
func (l *liveness) blockOf(v ssa.Value) *ssa.BasicBlock {
	if in, ok := v.(ssa.Instruction); ok {
		return in.Block()
	}
	return l.f.fn.Blocks[0]
}

// meet says that two values cannot have the same registers: one is needed when the other has been computed.
func (l *liveness) meet(a, b ssa.Value) bool {
	ab, bb := l.blockOf(a), l.blockOf(b)
	switch {
	case ab == bb && l.place[a] == l.place[b]:
		return true
	case ab == bb:
		if l.place[a] > l.place[b] {
			a, b = b, a
		}
	case bb.Dominates(ab):
		a, b, bb = b, a, ab
	case !ab.Dominates(bb):
		return false
	}
	at := l.place[b]
	if at < 0 {
		return l.in[bb.Index].has(l.index[a])
	}
	last, used := l.last[bb.Index][a]
	return l.out[bb.Index].has(l.index[a]) || used && (last > at || last == at && !l.f.readsFirst(b))
}

// readsFirst says that the instruction of a value has read all its operands before it writes any register of
// the value.
func (f *function) readsFirst(v ssa.Value) bool {
	switch x := v.(type) {
	case *ssa.BinOp:
		return scalarOp(x) || isString(x)
	case *ssa.UnOp:
		t := f.m.typeOf(x.Type())
		return x.Op == token.MUL && !t.boxed && len(t.parts) == 1
	case *ssa.Call:
		b, ok := x.Call.Value.(*ssa.Builtin)
		return !ok || b.Name() == "append"
	case *ssa.Slice:
		return true
	}
	return false
}
