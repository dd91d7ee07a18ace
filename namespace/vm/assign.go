package vm

import (
	"go/token"
	"go/types"

	"golang.org/x/tools/go/ssa"
)

// group are values that have the same registers, because no two of them are needed at once.
type group struct {
	values []ssa.Value
	fixed  bool // one of them is a parameter, whose registers are given
}

// assign decides which values share registers, and which are computed where a call or the caller needs them.
func (f *function) assign() {
	f.joinPhis()
	if f.deferStack { // what is deferred runs before the return, in the registers of calls
		return
	}
	for _, b := range f.fn.Blocks {
		f.placeForCalls(b)
		f.placeResults(b)
	}
}

// joinPhis gives a variable that is assigned in several places the same registers in all of them, as far as
// can be.
func (f *function) joinPhis() {
	candidates, phis := map[ssa.Value]int{}, []*ssa.Phi{}
	add := func(v ssa.Value) {
		if _, ok := candidates[v]; !ok {
			candidates[v] = len(candidates)
		}
	}
	for _, b := range f.lay.order {
		for _, in := range b.Instrs {
			phi, ok := in.(*ssa.Phi)
			if !ok {
				break
			}
			phis = append(phis, phi)
			add(phi)
			for _, e := range phi.Edges {
				if f.joinable(e) {
					add(e)
				}
			}
		}
	}
	if len(phis) == 0 || len(candidates) > maxCandidates {
		return
	}
	live := f.liveOf(candidates)
	for _, phi := range phis {
		for _, e := range phi.Edges {
			if _, ok := candidates[e]; ok {
				f.join(live, phi, e)
			}
		}
	}
}

// maxCandidates bounds the work that is done for a function.
const maxCandidates = 2000

// joinable says that a value has registers of its own.
func (f *function) joinable(v ssa.Value) bool {
	switch v.(type) {
	case *ssa.Phi, *ssa.Parameter:
		return true
	case *ssa.Range:
		return false
	}
	in, ok := v.(ssa.Instruction)
	return ok && !f.fused[in]
}

func (f *function) groupOf(v ssa.Value) *group {
	g := f.groups[v]
	if g == nil {
		_, fixed := v.(*ssa.Parameter)
		g = &group{values: []ssa.Value{v}, fixed: fixed}
		f.groups[v] = g
	}
	return g
}

// join makes one group of two values if none of the one meets any of the other.
func (f *function) join(live *liveness, x, y ssa.Value) {
	a, b := f.groupOf(x), f.groupOf(y)
	if a == b || a.fixed && b.fixed || len(a.values)*len(b.values) > maxPairs {
		return
	}
	for _, v := range a.values {
		for _, w := range b.values {
			if live.meet(v, w) {
				return
			}
		}
	}
	a.values, a.fixed = append(a.values, b.values...), a.fixed || b.fixed
	for _, v := range b.values {
		f.groups[v] = a
	}
}

// maxPairs bounds the comparisons of two groups.
const maxPairs = 256

// scalarOp says that an operation reads its operands before it writes its only register.
func scalarOp(v *ssa.BinOp) bool {
	b, ok := v.Type().Underlying().(*types.Basic)
	return ok && b.Info()&(types.IsInteger|types.IsFloat) != 0
}

func isString(v ssa.Value) bool {
	b, ok := v.Type().Underlying().(*types.Basic)
	return ok && b.Info()&types.IsString != 0
}

// stay is a value that is in the registers of a call from one instruction of its block to another.
type stay struct {
	from, to int
	at, size loc
}

func (s stay) meets(o stay) bool {
	return s.from < o.to && o.from < s.to && (s.at.p < o.at.p+o.size.p && o.at.p < s.at.p+s.size.p || s.at.n < o.at.n+o.size.n && o.at.n < s.at.n+s.size.n)
}

// placeForCalls computes arguments where the callee wants them, and leaves results where it put them, if
// they are needed once and no other call is in between.
func (f *function) placeForCalls(b *ssa.BasicBlock) {
	var calls []int
	for i, in := range b.Instrs {
		if usesOut(in) {
			calls = append(calls, i)
		}
	}
	if len(calls) == 0 {
		return
	}
	uses := f.usesIn(b)
	var stays []stay
	try := func(v ssa.Value, s stay) {
		for _, o := range stays {
			if s.meets(o) {
				return
			}
		}
		stays = append(stays, s)
		f.outs[v] = s.at
	}
	for k, at := range calls {
		before, after := -1, len(b.Instrs)
		if k > 0 {
			before = calls[k-1]
		}
		if k+1 < len(calls) {
			after = calls[k+1]
		}
		c, ok := b.Instrs[at].(*ssa.Call)
		if !ok {
			continue
		}
		f.placeArgs(c, at, before, uses, try)
		if len(*c.Referrers()) == 0 {
			f.outs[c] = loc{} // nothing looks at it
		} else if f.groups[c] == nil && !f.fused[c] {
			if u, ok := uses[c]; ok && !u.outside && u.last < after && u.last > at {
				try(c, stay{at, u.last, loc{}, f.sizeOf(c.Type())})
			}
		}
	}
}

// placeArgs looks at the arguments of a call.
func (f *function) placeArgs(c *ssa.Call, at, before int, uses map[ssa.Value]*usesOf, try func(ssa.Value, stay)) {
	args, recv := c.Call.Args, ssa.Value(nil)
	if fn, ok := c.Call.Value.(*ssa.Function); ok && fn.Signature.Recv() != nil {
		recv, args = args[0], args[1:]
	}
	to := loc{}
	place := func(v ssa.Value) {
		size := f.shape(v).size
		if u := uses[v]; u != nil && u.count == 1 && !u.outside && u.place > before && u.place < at && f.groups[v] == nil && f.placeable(v) {
			if _, taken := f.outs[v]; !taken {
				try(v, stay{u.place, at, to, size})
			}
		}
		to = to.plus(size)
	}
	for _, a := range args {
		place(a)
	}
	if recv != nil {
		place(recv)
	}
}

// placeable says that a value can be computed in any registers: its instruction has one operation, or
// several of which only the last ones read what it writes.
func (f *function) placeable(v ssa.Value) bool {
	in, ok := v.(ssa.Instruction)
	if !ok || f.fused[in] {
		return false
	}
	switch x := v.(type) {
	case *ssa.BinOp:
		return scalarOp(x)
	case *ssa.UnOp:
		return x.Op == token.MUL && f.readsFirst(x)
	}
	return false
}

// usesOut says that an instruction uses the registers of calls.
func usesOut(in ssa.Instruction) bool {
	switch x := in.(type) {
	case *ssa.Call:
		_, builtin := x.Call.Value.(*ssa.Builtin)
		return !builtin
	case *ssa.Defer, *ssa.Go, *ssa.RunDefers:
		return true
	}
	return false
}

// usesOf is where a value that a block defines is needed.
type usesOf struct {
	place   int // of its instruction
	count   int // in the block
	last    int
	outside bool
}

// usesIn finds the uses of the values that a block defines.
func (f *function) usesIn(b *ssa.BasicBlock) map[ssa.Value]*usesOf {
	uses := map[ssa.Value]*usesOf{}
	for i, in := range b.Instrs {
		if v, ok := in.(ssa.Value); ok && !f.fused[in] {
			u := &usesOf{place: i}
			uses[v] = u
			u.outside = f.leaves(v, b, 0)
		}
		if f.fused[in] {
			continue
		}
		f.reads(in, func(v ssa.Value) {
			if u := uses[v]; u != nil {
				u.count++
				u.last = i
			}
		})
	}
	return uses
}

// leaves says that a value, or what is another name of it or done together with its use, is needed by a phi
// or another block.
func (f *function) leaves(v ssa.Value, b *ssa.BasicBlock, deep int) bool {
	for _, r := range *v.Referrers() {
		if _, phi := r.(*ssa.Phi); phi || r.Block() != b || deep > maxDeep {
			return true
		}
		if x, ok := r.(ssa.Value); ok && f.fused[r] && f.leaves(x, b, deep+1) {
			return true
		}
	}
	return false
}

const maxDeep = 8

// placeResults computes what a block returns where the caller looks for it, if nothing that is there is
// needed any more.
func (f *function) placeResults(b *ssa.BasicBlock) {
	ret, ok := b.Instrs[len(b.Instrs)-1].(*ssa.Return)
	if !ok || len(ret.Results) == 0 {
		return
	}
	uses := f.usesIn(b)
	at := loc{}
	for _, v := range ret.Results {
		size := f.shape(v).size
		u := uses[v]
		_, taken := f.outs[v]
		if u != nil && u.count == 1 && !u.outside && !taken && f.groups[v] == nil && f.placeable(v) && f.freeAfter(b, u.place, at, size) {
			f.results[v] = at
		}
		at = at.plus(size)
	}
}

// freeAfter says that no parameter and no other result in the registers is read in a block after an
// instruction.
func (f *function) freeAfter(b *ssa.BasicBlock, place int, at, size loc) bool {
	free := true
	for _, in := range b.Instrs[place+1:] {
		if f.fused[in] {
			continue
		}
		f.reads(in, func(v ssa.Value) {
			if f.fixedIn(v) {
				free = false
			}
			if x, ok := f.results[v]; ok && (stay{0, 1, x, f.shape(v).size}).meets(stay{0, 1, at, size}) {
				free = false
			}
		})
	}
	return free
}

// fixedIn says that a value is in the registers of a parameter or captured variable.
func (f *function) fixedIn(v ssa.Value) bool {
	switch v.(type) {
	case *ssa.Parameter, *ssa.FreeVar:
		return true
	}
	g := f.groups[v]
	return g != nil && g.fixed
}
