package vm

import (
	"go/types"
	"reflect"

	"golang.org/x/tools/go/ssa"

	"farm/namespace/vm/raw"
)

// makeInterface emits the conversion of a value to an interface type.
func (f *function) makeInterface(dst loc, x ssa.Value, to *typ) {
	t := f.m.typeOf(x.Type())
	tab, ok := to.tabFor(t.Type)
	if !ok {
		f.fail("%s does not implement %s", t.t, to.t)
	}
	if c, ok := x.(*ssa.Const); ok {
		f.ptr(dst.p, tab)
		f.ptr(dst.p+1, f.boxedConst(c, t))
		return
	}
	v := f.use(x)
	switch {
	case raw.Direct(t.Type) && t.boxed:
		f.emit(ins{op: opLoadPtr, a: (dst.p + 1) * 8, b: v.p * 8})
	case raw.Direct(t.Type):
		f.emit(ins{op: opMoveP, a: (dst.p + 1) * 8, b: v.p * 8})
	case t.boxed:
		f.emit(ins{op: opMoveP, a: (dst.p + 1) * 8, b: v.p * 8}) // never written again
	default:
		f.emit(ins{op: opNew, a: (dst.p + 1) * 8, b: f.typeIndex(t)})
		if len(t.parts) > 0 {
			f.store(dst.p+1, 0, v, t)
		}
	}
	f.ptr(dst.p, tab)
}

// boxedConst is the data word of an interface that holds a constant.
func (f *function) boxedConst(c *ssa.Const, t *typ) raw.Pointer {
	if raw.Direct(t.Type) {
		return nil
	}
	box := raw.New(t.Type)
	if c.Value == nil || t.boxed {
		return box
	}
	b := c.Type().Underlying().(*types.Basic)
	v := raw.Value(t.Type, box)
	switch {
	case b.Info()&types.IsString != 0:
		v.SetString(stringOf(c))
	case b.Info()&types.IsComplex != 0:
		v.SetComplex(c.Complex128())
	default:
		n, _ := f.bits(c)
		t.store(box, nil, raw.PointerTo(&n))
	}
	return box
}

// changeInterface emits the conversion between interface types, which cannot fail.
func (f *function) changeInterface(dst, v loc, from, to *typ) {
	if from.hasTab() && !to.hasTab() {
		f.emit(ins{op: opTypeOf, a: dst.p * 8, b: v.p * 8})
		f.emit(ins{op: opMoveP, a: (dst.p + 1) * 8, b: (v.p + 1) * 8})
		return
	}
	if from.Type == to.Type || !to.hasTab() {
		f.move(dst, v, loc{2, 0})
		return
	}
	tab := from.hasTab()
	f.emitFn(func(_ *thread, pp, _ raw.Pointer) {
		w := *raw.At[[2]raw.Pointer](pp, v.p*8)
		if w[0] != nil {
			ty := w[0]
			if tab {
				ty = raw.TabType(ty)
			}
			w[0], _ = to.tabFor(ty)
		}
		*raw.At[[2]raw.Pointer](pp, dst.p*8) = w
	})
}

func (f *function) typeAssert(x *ssa.TypeAssert) {
	from, to := f.m.typeOf(x.X.Type()), f.m.typeOf(x.AssertedType)
	dst, v := f.reg(x), f.use(x.X)
	if _, ok := x.AssertedType.Underlying().(*types.Interface); ok {
		f.assertInterface(dst, v, from, to, x.CommaOk)
		return
	}
	ok := f.tmp(loc{0, 1}).n
	if x.CommaOk {
		ok = dst.n + to.size.n
	}
	i := ins{op: opAssertT, a: ok * 8, b: v.p * 8, d: f.typeIndex(to)}
	if from.hasTab() {
		i.x = 1
	}
	f.emit(i)
	no := f.emit(ins{op: opIfNot, b: ok * 8})
	f.unbox(dst, v.p+1, to)
	end := f.emit(ins{op: opJump})
	f.label(no)
	if x.CommaOk {
		f.zero(dst, to.shape)
	} else {
		f.emitFn(func(_ *thread, pp, _ raw.Pointer) { assertionFails(pp, v.p, from, to) })
	}
	f.label(end)
}

// unbox emits the value that an interface holds. data is the register of its data word.
func (f *function) unbox(dst loc, data int32, t *typ) {
	switch {
	case raw.Direct(t.Type) && t.boxed:
		f.emit(ins{op: opNew, a: dst.p * 8, b: f.typeIndex(t)})
		f.emit(ins{op: opStorePtr, a: dst.p * 8, b: data * 8})
	case raw.Direct(t.Type):
		f.emit(ins{op: opMoveP, a: dst.p * 8, b: data * 8})
	case t.boxed:
		f.emit(ins{op: opMoveP, a: dst.p * 8, b: data * 8})
	case len(t.parts) > 0:
		f.load(dst, data, 0, t)
	}
}

func (f *function) assertInterface(dst, v loc, from, to *typ, commaOk bool) {
	tab := from.hasTab()
	f.emitFn(func(_ *thread, pp, np raw.Pointer) {
		w := *raw.At[[2]raw.Pointer](pp, v.p*8)
		ty := w[0]
		if tab {
			ty = raw.TabType(ty)
		}
		ok := ty != nil
		if ok {
			w[0], ok = to.tabFor(ty)
		}
		if !ok {
			if !commaOk {
				assertionFails(pp, v.p, from, to)
			}
			w = [2]raw.Pointer{}
		}
		*raw.At[[2]raw.Pointer](pp, dst.p*8) = w
		if commaOk {
			setBool(np, dst.n*8, ok)
		}
	})
}

// assertionFails panics as the runtime does.
func assertionFails(pp raw.Pointer, at int32, from, to *typ) {
	ty := raw.At[[2]raw.Pointer](pp, at*8)[0]
	if from.hasTab() {
		ty = raw.TabType(ty)
	}
	iface, missing := from.Type, ""
	if to.rt.Kind() == reflect.Interface {
		if iface = nil; ty != nil {
			missing = missingMethod(ty, to)
		}
	}
	panic(raw.AssertionError(iface, ty, to.Type, missing))
}

func missingMethod(ty raw.Type, to *typ) string {
	have := raw.Reflect(ty)
	for i := range to.rt.NumMethod() {
		m := to.rt.Method(i)
		if x, ok := have.MethodByName(m.Name); !ok || !sameMethod(x.Type.String(), m.Type.String()) {
			return m.Name
		}
	}
	return ""
}

// sameMethod compares the type of a method with receiver to one without.
func sameMethod(with, without string) bool {
	return len(with) >= len(without) // the name is there; its type is not looked at further
}
