package vm

import (
	"sort"

	"golang.org/x/tools/go/ssa"

	"farm/namespace/vm/raw"
)

// addSorting adds the functions of package sort that call a function again and again to the intrinsics. They
// are those of compiled Go; what they call runs in the thread that called them.
func addSorting() {
	intrinsics["sort.Slice"] = sorting(sort.Slice)
	intrinsics["sort.SliceStable"] = sorting(sort.SliceStable)
	intrinsics["sort.Search"] = plain(func(t *thread, pp, np raw.Pointer) {
		at := 0
		size, f := int(*raw.At[int64](np, 0)), *raw.At[raw.Pointer](pp, 0)
		if tg, ok := ownFunc(f); ok {
			t.nest(tg, func(call func(i, j int) bool) {
				at = sort.Search(size, func(i int) bool { return call(i, 0) })
			})
		} else {
			at = sort.Search(size, *raw.As[func(int) bool](raw.PointerTo(&f)))
		}
		_, n := t.end()
		t.nums[n] = uint64(at)
	})
}

func sorting(by func(x any, less func(i, j int) bool)) func(*Machine, *ssa.Function) nativeFunc {
	return plain(func(t *thread, pp, _ raw.Pointer) {
		x, f := ifaceAt(pp, 0), *raw.At[raw.Pointer](pp, 16)
		if tg, ok := ownFunc(f); ok {
			t.nest(tg, func(less func(i, j int) bool) { by(x, less) })
			return
		}
		by(x, *raw.As[func(i, j int) bool](raw.PointerTo(&f)))
	})
}

// ownFunc is the function of the machine that a function value is.
func ownFunc(f raw.Pointer) (target, bool) {
	if f == nil {
		return target{}, false
	}
	fn := raw.FuncOf(f)
	if fn == nil {
		return target{}, false
	}
	body, ok := fn.Body.(*closureBody)
	if !ok || body.c.get().native != nil {
		return target{}, false
	}
	return target{body.c, fn}, true
}

// nest runs do with a Go function for a function of the machine that takes one or two integers and gives a
// bool. It runs in this thread, on top of what is there, and do must not keep it.
func (t *thread) nest(tg target, do func(call func(i, j int) bool)) {
	pc := t.pc
	if t.top >= 0 { // otherwise it is what a goroutine begins with
		caller := &t.frames[t.top]
		caller.pc = int(pc-caller.c.base) + insSize
	}
	t.nested++
	defer func() { t.pc, t.nested, t.moved = pc, t.nested-1, true }() // a loop within may have cleared moved
	p, n := t.end()
	do(func(i, j int) bool {
		t.checkStop()
		t.room(tg.c, p, n)
		t.nums[n], t.nums[n+1] = uint64(i), uint64(j)
		t.push(tg, p, n).flags = flagBase
		t.interpret(t.top)
		return t.nums[n] != 0
	})
}
