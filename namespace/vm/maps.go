package vm

import (
	"go/token"
	"go/types"
	"reflect"
	"unicode/utf8"

	"golang.org/x/tools/go/ssa"

	"farm/namespace/vm/raw"
)

// mapType is what operations on maps need to know of their type.
type mapType struct {
	t         raw.Type
	key, elem *typ
	by        keyKind
	one       bool // elements are 64 bits without pointers
}

// keyKind is how a map is looked into.
type keyKind uint8

const (
	keyOther keyKind = iota
	key64            // an integer
	keyStr
)

func (f *function) mapType(t types.Type) *mapType {
	m := t.Underlying().(*types.Map)
	mt := &mapType{t: f.m.typeOf(t).Type, key: f.m.typeOf(m.Key()), elem: f.m.typeOf(m.Elem())}
	b, ok := m.Key().Underlying().(*types.Basic)
	switch {
	case !ok || sizes.Sizeof(m.Elem()) > raw.MapMaxElem:
	case b.Info()&types.IsString != 0:
		mt.by = keyStr
	case b.Info()&types.IsInteger != 0 && sizes.Sizeof(b) == 8:
		mt.by = key64
	}
	mt.one = elemKind(mt.elem) == part64
	return mt
}

// find is where the element of the key in registers is, nil when there is none.
func (mt *mapType) find(t *thread, m, pp, np raw.Pointer, key loc) raw.Pointer {
	switch mt.by {
	case key64:
		return raw.MapAccess64(mt.t, m, *raw.At[uint64](np, key.n*8))
	case keyStr:
		return raw.MapAccessStr(mt.t, m, text(pp, np, key))
	}
	return raw.MapAccess(mt.t, m, t.operand(mt.key.shape, pp, np, key, 0))
}

// slot is where the element of the key in registers is to be set, at once. The map is not one by other keys.
func (mt *mapType) slot(m, pp, np raw.Pointer, key loc) raw.Pointer {
	if mt.by == key64 {
		return raw.MapSlot64(mt.t, m, *raw.At[uint64](np, key.n*8))
	}
	return raw.MapSlotStr(mt.t, m, text(pp, np, key))
}

// operand is where a value in registers can be read as memory, until the next operand with the same
// number.
func (t *thread) operand(s *shape, pp, np raw.Pointer, at loc, which int) raw.Pointer {
	if s.boxed {
		return *raw.At[raw.Pointer](pp, at.p*8)
	}
	if len(s.parts) == 1 && s.parts[0].off == 0 {
		switch k := s.parts[0].kind; {
		case k == partStr:
			t.str[which] = str(pp, np, at.p*8, at.n*8)
			return raw.PointerTo(&t.str[which])
		case k == partPtr || k == partIface:
			return raw.Add(pp, int(at.p)*8)
		case k.number():
			return raw.Add(np, int(at.n)*8)
		}
	}
	p := raw.New(s.t)
	s.store(p, raw.Add(pp, int(at.p)*8), raw.Add(np, int(at.n)*8))
	return p
}

func (f *function) makeMap(x *ssa.MakeMap) {
	mt := f.mapType(x.Type())
	dst := f.reg(x)
	n := int32(-1)
	if x.Reserve != nil {
		n = f.use(x.Reserve).n * 8
	}
	rt := raw.Reflect(mt.t)
	f.emitFn(func(_ *thread, pp, np raw.Pointer) {
		size := 0
		if n >= 0 {
			size = int(min(max(*raw.At[int64](np, n), 0), maxReserve))
		}
		*raw.At[raw.Pointer](pp, dst.p*8) = reflect.MakeMapWithSize(rt, size).UnsafePointer()
	})
}

// maxReserve is how many elements a program may reserve in a map; more come as they are needed.
const maxReserve = 1 << 20

func (f *function) lookup(x *ssa.Lookup) {
	dst := f.reg(x)
	if _, ok := x.X.Type().Underlying().(*types.Map); !ok {
		v, n := f.use(x.X), f.use(x.Index)
		f.emit(ins{op: opIndexStr, x: unsignedIndex(x.Index), a: dst.n * 8, b: v.p * 8, c: n.n * 8, d: v.n * 8})
		return
	}
	mt := f.mapType(x.X.Type())
	m, key := f.use(x.X).p*8, f.use(x.Index)
	ok := int32(-1)
	if x.CommaOk {
		ok = (dst.n + mt.elem.size.n) * 8
	}
	f.emitFn(func(t *thread, pp, np raw.Pointer) {
		mp := *raw.At[raw.Pointer](pp, m)
		if t.run.races.Load() != nil {
			defer t.mapUse(mp, false)()
		}
		p := mt.find(t, mp, pp, np, key)
		d, e := raw.Add(pp, int(dst.p)*8), raw.Add(np, int(dst.n)*8)
		switch {
		case p == nil:
			mt.elem.zero(d, e)
		case mt.one:
			*raw.As[uint64](e) = *raw.As[uint64](p)
		default:
			mt.elem.load(d, e, p)
		}
		if ok >= 0 {
			setBool(np, ok, p != nil)
		}
	})
}

func (f *function) mapUpdate(x *ssa.MapUpdate) {
	mt := f.mapType(x.Map.Type())
	if sum, ok := x.Value.(*ssa.BinOp); ok && f.fused[sum] {
		f.addToElement(mt, f.use(x.Map).p*8, f.use(x.Key), f.use(sum.Y).n*8, sum.Type())
		return
	}
	m, key, elem := f.use(x.Map).p*8, f.use(x.Key), f.use(x.Value)
	if mt.by != keyOther {
		f.emitFn(func(t *thread, pp, np raw.Pointer) {
			mp := *raw.At[raw.Pointer](pp, m)
			if t.run.races.Load() != nil {
				defer t.mapUse(mp, true)()
			}
			to := mt.slot(mp, pp, np, key)
			if mt.one {
				*raw.As[uint64](to) = *raw.At[uint64](np, elem.n*8)
				return
			}
			mt.elem.store(to, raw.Add(pp, int(elem.p)*8), raw.Add(np, int(elem.n)*8))
		})
		return
	}
	f.emitFn(func(t *thread, pp, np raw.Pointer) {
		mp := *raw.At[raw.Pointer](pp, m)
		if t.run.races.Load() != nil {
			defer t.mapUse(mp, true)()
		}
		raw.MapAssign(mt.t, mp, t.operand(mt.key.shape, pp, np, key, 0), t.operand(mt.elem.shape, pp, np, elem, 1))
	})
}

// addToElement emits m[key] += v.
func (f *function) addToElement(mt *mapType, m int32, key loc, v int32, t types.Type) {
	if t.Underlying().(*types.Basic).Info()&types.IsFloat != 0 {
		f.emitFn(func(t *thread, pp, np raw.Pointer) {
			mp := *raw.At[raw.Pointer](pp, m)
			if t.run.races.Load() != nil {
				defer t.mapUse(mp, true)()
			}
			*raw.As[float64](mt.slot(mp, pp, np, key)) += *raw.At[float64](np, v)
		})
		return
	}
	f.emitFn(func(t *thread, pp, np raw.Pointer) {
		mp := *raw.At[raw.Pointer](pp, m)
		if t.run.races.Load() != nil {
			defer t.mapUse(mp, true)()
		}
		*raw.As[uint64](mt.slot(mp, pp, np, key)) += *raw.At[uint64](np, v)
	})
}

// fuseElement finds m[k] += v, which is a lookup, an addition and an update right after each other.
func (f *function) fuseElement(b *ssa.BasicBlock, i int, x *ssa.MapUpdate) {
	sum, ok := x.Value.(*ssa.BinOp)
	if !ok || sum.Op != token.ADD || i < 2 || b.Instrs[i-1] != ssa.Instruction(sum) || len(*sum.Referrers()) != 1 {
		return
	}
	old, ok := sum.X.(*ssa.Lookup)
	if !ok || old.CommaOk || b.Instrs[i-2] != ssa.Instruction(old) || len(*old.Referrers()) != 1 || old.X != x.Map || old.Index != x.Key {
		return
	}
	if mt := f.mapType(x.Map.Type()); mt.by != keyOther && mt.one && isNumber(sum.Type()) {
		f.fused[sum], f.fused[old] = true, true
	}
}

// isNumber says that a type is one of integers or real numbers.
func isNumber(t types.Type) bool {
	b, ok := t.Underlying().(*types.Basic)
	return ok && b.Info()&(types.IsInteger|types.IsFloat) != 0
}

// mapValue is the map in a pointer register.
func mapValue(mt *mapType, pp raw.Pointer, at int32) reflect.Value {
	return raw.Value(mt.t, raw.Add(pp, int(at)))
}

func (f *function) deleteCall(x, key ssa.Value) {
	mt := f.mapType(x.Type())
	m, k := f.use(x).p*8, f.use(key)
	f.emitFn(func(t *thread, pp, np raw.Pointer) {
		if t.run.races.Load() != nil {
			defer t.mapUse(*raw.At[raw.Pointer](pp, m), true)()
		}
		kv := raw.Value(mt.key.Type, t.operand(mt.key.shape, pp, np, k, 0))
		if v := mapValue(mt, pp, m); !v.IsNil() {
			v.SetMapIndex(kv, reflect.Value{})
		} else {
			raw.MapAccess(mt.t, nil, raw.ValuePointer(kv)) // a key that cannot be hashed panics
		}
	})
}

func (f *function) clearCall(x ssa.Value) {
	v := f.use(x)
	if _, ok := x.Type().Underlying().(*types.Map); ok {
		mt := f.mapType(x.Type())
		f.emitFn(func(t *thread, pp, _ raw.Pointer) {
			if t.run.races.Load() != nil {
				defer t.mapUse(*raw.At[raw.Pointer](pp, v.p*8), true)()
			}
			if m := mapValue(mt, pp, v.p*8); !m.IsNil() {
				m.Clear()
			}
		})
		return
	}
	t := f.m.typeOf(x.Type())
	f.emitFn(func(th *thread, pp, np raw.Pointer) {
		memory(t.rt, t.shape, pp, np, v).Clear()
	})
}

// iterator is what a range over a map or string has come to.
type iterator struct {
	m        *reflect.MapIter
	of       raw.Pointer // the map
	key, val reflect.Value
	s        string
	at       int
}

func (f *function) rangeOver(x *ssa.Range) {
	f.vals[x] = f.next
	f.next.p++
	dst, v := f.vals[x].p*8, f.use(x.X)
	if _, ok := x.X.Type().Underlying().(*types.Map); !ok {
		f.emitFn(func(_ *thread, pp, np raw.Pointer) {
			*raw.At[raw.Pointer](pp, dst) = raw.PointerTo(&iterator{s: str(pp, np, v.p*8, v.n*8)})
		})
		return
	}
	mt := f.mapType(x.X.Type())
	f.emitFn(func(_ *thread, pp, _ raw.Pointer) {
		m := reflect.New(raw.Reflect(mt.t)).Elem()
		m.Set(mapValue(mt, pp, v.p*8))
		it := &iterator{m: m.MapRange(), of: *raw.At[raw.Pointer](pp, v.p*8), key: raw.Value(mt.key.Type, raw.New(mt.key.Type)), val: raw.Value(mt.elem.Type, raw.New(mt.elem.Type))}
		*raw.At[raw.Pointer](pp, dst) = raw.PointerTo(it)
	})
}

func (f *function) nextOf(x *ssa.Next) {
	dst, it := f.reg(x), f.use(x.Iter).p*8
	if x.IsString {
		f.emitFn(func(_ *thread, pp, np raw.Pointer) {
			it := raw.As[iterator](*raw.At[raw.Pointer](pp, it))
			at := dst.n * 8
			setBool(np, at, it.at < len(it.s))
			if it.at < len(it.s) {
				r, n := utf8.DecodeRuneInString(it.s[it.at:])
				*raw.At[uint64](np, at+8), *raw.At[uint64](np, at+16) = uint64(it.at), uint64(r)
				it.at += n
			}
		})
		return
	}
	mt := f.mapType(x.Iter.(*ssa.Range).X.Type())
	tuple := x.Type().(*types.Tuple)
	used := func(i int) *typ {
		if b, ok := tuple.At(i).Type().(*types.Basic); ok && b.Kind() == types.Invalid {
			return nil
		}
		return f.m.typeOf(tuple.At(i).Type())
	}
	key, val := used(1), used(2)
	kAt := dst.plus(loc{0, 1})
	vAt := kAt.plus(f.sizeOf(tuple.At(1).Type()))
	f.emitFn(func(t *thread, pp, np raw.Pointer) {
		it := raw.As[iterator](*raw.At[raw.Pointer](pp, it))
		if t.run.races.Load() != nil {
			defer t.mapUse(it.of, false)()
		}
		ok := it.m.Next()
		setBool(np, dst.n*8, ok)
		if !ok {
			return
		}
		if key != nil {
			it.key.SetIterKey(it.m)
			mt.key.load(raw.Add(pp, int(kAt.p)*8), raw.Add(np, int(kAt.n)*8), raw.ValuePointer(it.key))
		}
		if val != nil {
			it.val.SetIterValue(it.m)
			mt.elem.load(raw.Add(pp, int(vAt.p)*8), raw.Add(np, int(vAt.n)*8), raw.ValuePointer(it.val))
		}
	})
}
