package vm

import (
	"slices"

	"golang.org/x/tools/go/ssa"
)

// ordering is the order in which the blocks of a function are emitted.
type ordering struct {
	order []*ssa.BasicBlock
	at    []int // place in order, by the index of the block
	depth []int // how many loops a block is in, by its index
}

// orderOf puts a block after those that dominate it and keeps loops together, their condition first.
func orderOf(fn *ssa.Function) *ordering {
	n := len(fn.Blocks)
	l := &ordering{at: make([]int, n), depth: make([]int, n)}
	if n == 1 {
		l.order = fn.Blocks
		return l
	}
	l.loops(fn)
	seen := make([]bool, n)
	for _, b := range fn.Blocks { // the first is the entry; what it does not reach comes last
		if !seen[b.Index] {
			from := len(l.order)
			l.visit(b, seen)
			slices.Reverse(l.order[from:])
		}
	}
	for i, b := range l.order {
		l.at[b.Index] = i
	}
	return l
}

// loops counts for each block the loops around it. A loop is what reaches a jump back to its first block
// without passing that.
func (l *ordering) loops(fn *ssa.Function) {
	for _, head := range fn.Blocks {
		in := map[*ssa.BasicBlock]bool{head: true}
		var todo []*ssa.BasicBlock
		for _, p := range head.Preds {
			if head.Dominates(p) {
				todo = append(todo, p)
			}
		}
		if len(todo) == 0 {
			continue
		}
		for len(todo) > 0 {
			b := todo[len(todo)-1]
			todo = todo[:len(todo)-1]
			if !in[b] {
				in[b] = true
				todo = append(todo, b.Preds...)
			}
		}
		for b := range in {
			l.depth[b.Index]++
		}
	}
}

// visit appends what a block reaches, last block first: what leaves a loop comes after the loop.
func (l *ordering) visit(b *ssa.BasicBlock, seen []bool) {
	seen[b.Index] = true
	next := slices.Clone(b.Succs)
	slices.Reverse(next)
	slices.SortStableFunc(next, func(x, y *ssa.BasicBlock) int { return l.depth[x.Index] - l.depth[y.Index] })
	for _, s := range next {
		if !seen[s.Index] {
			l.visit(s, seen)
		}
	}
	l.order = append(l.order, b)
}

// back says that a jump goes backwards.
func (l *ordering) back(from, to *ssa.BasicBlock) bool { return l.at[to.Index] <= l.at[from.Index] }
