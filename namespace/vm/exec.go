package vm

import (
	"math"

	"farm/namespace/vm/raw"
)

// loop interprets the innermost frame and what it calls, until the frame marked as base returns, a
// deferred function returns to unwinding, or something panics.
//
// An operation that may panic sets t.pc first.
func (t *thread) loop() (how outcome) {
	defer func() {
		if r := recover(); r != nil {
			t.newPanic(r)
			how = panicked
		}
	}()
	f := &t.frames[t.top]
	c := f.c
	code := c.ins
	p, n := f.p, f.n
	pp, np := t.regs(p, n)
	pc := f.pc
	stop := &t.m.stop
	for {
		i := &code[pc]
		switch i.op {
		case opMoveP:
			*raw.At[raw.Pointer](pp, i.a) = *raw.At[raw.Pointer](pp, i.b)
		case opMoveN:
			*raw.At[uint64](np, i.a) = *raw.At[uint64](np, i.b)
		case opConst:
			*raw.At[uint64](np, i.a) = uint64(int64(i.b))
		case opNumK:
			*raw.At[uint64](np, i.a) = c.nums[i.b]
		case opPtrK:
			*raw.At[raw.Pointer](pp, i.a) = c.ptrs[i.b]
		case opNil:
			*raw.At[raw.Pointer](pp, i.a) = nil

		case opLoadI8, opLoadI16, opLoadI32, opLoadU8, opLoadU16, opLoadU32:
			m := *raw.At[raw.Pointer](pp, i.b)
			if m == nil {
				t.pc = pc
				nilDereference()
			}
			v := raw.At[uint64](np, i.a)
			switch i.op {
			case opLoadI8:
				*v = uint64(*raw.At[int8](m, i.c))
			case opLoadI16:
				*v = uint64(*raw.At[int16](m, i.c))
			case opLoadI32:
				*v = uint64(*raw.At[int32](m, i.c))
			case opLoadU8:
				*v = uint64(*raw.At[uint8](m, i.c))
			case opLoadU16:
				*v = uint64(*raw.At[uint16](m, i.c))
			default:
				*v = uint64(*raw.At[uint32](m, i.c))
			}
		case opLoad64:
			m := *raw.At[raw.Pointer](pp, i.b)
			if m == nil {
				t.pc = pc
				nilDereference()
			}
			*raw.At[uint64](np, i.a) = *raw.At[uint64](m, i.c)
		case opLoadPtr:
			m := *raw.At[raw.Pointer](pp, i.b)
			if m == nil {
				t.pc = pc
				nilDereference()
			}
			*raw.At[raw.Pointer](pp, i.a) = *raw.At[raw.Pointer](m, i.c)
		case opLoadStr:
			m := *raw.At[raw.Pointer](pp, i.b)
			if m == nil {
				t.pc = pc
				nilDereference()
			}
			s := *raw.At[string](m, i.c)
			*raw.At[raw.Pointer](pp, i.a) = raw.StringData(s)
			*raw.At[uint64](np, i.d) = uint64(len(s))
		case opLoadSlice:
			m := *raw.At[raw.Pointer](pp, i.b)
			if m == nil {
				t.pc = pc
				nilDereference()
			}
			s := raw.At[slice](m, i.c)
			*raw.At[raw.Pointer](pp, i.a) = s.p
			*raw.At[[2]uint64](np, i.d) = [2]uint64{s.n, s.c}
		case opLoadIface:
			m := *raw.At[raw.Pointer](pp, i.b)
			if m == nil {
				t.pc = pc
				nilDereference()
			}
			*raw.At[[2]raw.Pointer](pp, i.a) = *raw.At[[2]raw.Pointer](m, i.c)
		case opLoadBox:
			m := *raw.At[raw.Pointer](pp, i.b)
			t.pc = pc
			if m == nil {
				nilDereference()
			}
			ty := c.types[i.d].Type
			box := raw.New(ty)
			raw.Move(ty, box, raw.Add(m, int(i.c)))
			*raw.At[raw.Pointer](pp, i.a) = box

		case opStore8, opStore16, opStore32:
			m := *raw.At[raw.Pointer](pp, i.a)
			if m == nil {
				t.pc = pc
				nilDereference()
			}
			v := *raw.At[uint64](np, i.b)
			switch i.op {
			case opStore8:
				*raw.At[uint8](m, i.c) = uint8(v)
			case opStore16:
				*raw.At[uint16](m, i.c) = uint16(v)
			default:
				*raw.At[uint32](m, i.c) = uint32(v)
			}
		case opStore64:
			m := *raw.At[raw.Pointer](pp, i.a)
			if m == nil {
				t.pc = pc
				nilDereference()
			}
			*raw.At[uint64](m, i.c) = *raw.At[uint64](np, i.b)
		case opStorePtr:
			m := *raw.At[raw.Pointer](pp, i.a)
			if m == nil {
				t.pc = pc
				nilDereference()
			}
			*raw.At[raw.Pointer](m, i.c) = *raw.At[raw.Pointer](pp, i.b)
		case opStoreStr:
			m := *raw.At[raw.Pointer](pp, i.a)
			if m == nil {
				t.pc = pc
				nilDereference()
			}
			*raw.At[string](m, i.c) = raw.String(*raw.At[raw.Pointer](pp, i.b), *raw.At[uint64](np, i.d))
		case opStoreSlice:
			m := *raw.At[raw.Pointer](pp, i.a)
			if m == nil {
				t.pc = pc
				nilDereference()
			}
			w := *raw.At[[2]uint64](np, i.d)
			*raw.At[slice](m, i.c) = slice{*raw.At[raw.Pointer](pp, i.b), w[0], w[1]}
		case opStoreIface:
			m := *raw.At[raw.Pointer](pp, i.a)
			if m == nil {
				t.pc = pc
				nilDereference()
			}
			*raw.At[[2]raw.Pointer](m, i.c) = *raw.At[[2]raw.Pointer](pp, i.b)
		case opStoreBox:
			m := *raw.At[raw.Pointer](pp, i.a)
			if m == nil {
				t.pc = pc
				nilDereference()
			}
			raw.Move(c.types[i.d].Type, raw.Add(m, int(i.c)), *raw.At[raw.Pointer](pp, i.b))

		case opNew:
			t.pc = pc
			*raw.At[raw.Pointer](pp, i.a) = raw.New(c.types[i.b].Type)
		case opField:
			m := *raw.At[raw.Pointer](pp, i.b)
			if m == nil {
				t.pc = pc
				nilDereference()
			}
			*raw.At[raw.Pointer](pp, i.a) = raw.Add(m, int(i.c))

		case opIndex:
			x := *raw.At[uint64](np, i.c)
			if l := *raw.At[uint64](np, i.d); x >= l {
				t.pc = pc
				outOfRange(x, l, i.x == 0)
			}
			*raw.At[raw.Pointer](pp, i.a) = raw.Add(*raw.At[raw.Pointer](pp, i.b), int(x)*int(i.e))
		case opIndexArr:
			m := *raw.At[raw.Pointer](pp, i.b)
			if m == nil {
				t.pc = pc
				nilDereference()
			}
			x := *raw.At[uint64](np, i.c)
			if x >= uint64(i.d) {
				t.pc = pc
				outOfRange(x, uint64(i.d), i.x == 0)
			}
			*raw.At[raw.Pointer](pp, i.a) = raw.Add(m, int(x)*int(i.e))
		case opIndexLoad64:
			x := *raw.At[uint64](np, i.c)
			if l := *raw.At[uint64](np, i.d); x >= l {
				t.pc = pc
				outOfRange(x, l, i.x == 0)
			}
			*raw.At[uint64](np, i.a) = *raw.As[uint64](raw.Add(*raw.At[raw.Pointer](pp, i.b), int(x)*8))
		case opIndexLoadI32:
			x := *raw.At[uint64](np, i.c)
			if l := *raw.At[uint64](np, i.d); x >= l {
				t.pc = pc
				outOfRange(x, l, i.x == 0)
			}
			*raw.At[uint64](np, i.a) = uint64(*raw.As[int32](raw.Add(*raw.At[raw.Pointer](pp, i.b), int(x)*4)))
		case opIndexLoadU8:
			x := *raw.At[uint64](np, i.c)
			if l := *raw.At[uint64](np, i.d); x >= l {
				t.pc = pc
				outOfRange(x, l, i.x == 0)
			}
			*raw.At[uint64](np, i.a) = uint64(*raw.As[uint8](raw.Add(*raw.At[raw.Pointer](pp, i.b), int(x))))
		case opIndexLoadPtr:
			x := *raw.At[uint64](np, i.c)
			if l := *raw.At[uint64](np, i.d); x >= l {
				t.pc = pc
				outOfRange(x, l, i.x == 0)
			}
			*raw.At[raw.Pointer](pp, i.a) = *raw.As[raw.Pointer](raw.Add(*raw.At[raw.Pointer](pp, i.b), int(x)*8))
		case opIndexStore64:
			x := *raw.At[uint64](np, i.c)
			if l := *raw.At[uint64](np, i.d); x >= l {
				t.pc = pc
				outOfRange(x, l, i.x == 0)
			}
			*raw.As[uint64](raw.Add(*raw.At[raw.Pointer](pp, i.b), int(x)*8)) = *raw.At[uint64](np, i.a)
		case opIndexStore8:
			x := *raw.At[uint64](np, i.c)
			if l := *raw.At[uint64](np, i.d); x >= l {
				t.pc = pc
				outOfRange(x, l, i.x == 0)
			}
			*raw.As[uint8](raw.Add(*raw.At[raw.Pointer](pp, i.b), int(x))) = uint8(*raw.At[uint64](np, i.a))
		case opIndexStr:
			x := *raw.At[uint64](np, i.c)
			if l := *raw.At[uint64](np, i.d); x >= l {
				t.pc = pc
				outOfRange(x, l, i.x == 0)
			}
			*raw.At[uint64](np, i.a) = uint64(*raw.As[uint8](raw.Add(*raw.At[raw.Pointer](pp, i.b), int(x))))
		case opIndexRow:
			x := *raw.At[uint64](np, i.c)
			if l := *raw.At[uint64](np, i.d); x >= l {
				t.pc = pc
				outOfRange(x, l, i.x == 0)
			}
			s := raw.As[slice](raw.Add(*raw.At[raw.Pointer](pp, i.b), int(x)*24))
			*raw.At[raw.Pointer](pp, i.a) = s.p
			*raw.At[[2]uint64](np, i.e) = [2]uint64{s.n, s.c}

		case opAdd:
			*raw.At[uint64](np, i.a) = *raw.At[uint64](np, i.b) + *raw.At[uint64](np, i.c)
		case opSub:
			*raw.At[uint64](np, i.a) = *raw.At[uint64](np, i.b) - *raw.At[uint64](np, i.c)
		case opMul:
			*raw.At[uint64](np, i.a) = *raw.At[uint64](np, i.b) * *raw.At[uint64](np, i.c)
		case opAnd:
			*raw.At[uint64](np, i.a) = *raw.At[uint64](np, i.b) & *raw.At[uint64](np, i.c)
		case opOr:
			*raw.At[uint64](np, i.a) = *raw.At[uint64](np, i.b) | *raw.At[uint64](np, i.c)
		case opXor:
			*raw.At[uint64](np, i.a) = *raw.At[uint64](np, i.b) ^ *raw.At[uint64](np, i.c)
		case opAndNot:
			*raw.At[uint64](np, i.a) = *raw.At[uint64](np, i.b) &^ *raw.At[uint64](np, i.c)
		case opAddK:
			*raw.At[uint64](np, i.a) = *raw.At[uint64](np, i.b) + uint64(int64(i.c))
		case opMulK:
			*raw.At[uint64](np, i.a) = *raw.At[uint64](np, i.b) * uint64(int64(i.c))
		case opAndK:
			*raw.At[uint64](np, i.a) = *raw.At[uint64](np, i.b) & uint64(int64(i.c))
		case opShlK:
			*raw.At[uint64](np, i.a) = *raw.At[uint64](np, i.b) << uint(i.c&63)
		case opShrK:
			*raw.At[int64](np, i.a) = *raw.At[int64](np, i.b) >> uint(i.c&63)
		case opShrUK:
			*raw.At[uint64](np, i.a) = *raw.At[uint64](np, i.b) >> uint(i.c&63)
		case opDivK:
			*raw.At[int64](np, i.a) = *raw.At[int64](np, i.b) / int64(i.c)
		case opRemK:
			*raw.At[int64](np, i.a) = *raw.At[int64](np, i.b) % int64(i.c)
		case opDiv:
			t.pc = pc
			*raw.At[int64](np, i.a) = *raw.At[int64](np, i.b) / *raw.At[int64](np, i.c)
		case opDivU:
			t.pc = pc
			*raw.At[uint64](np, i.a) = *raw.At[uint64](np, i.b) / *raw.At[uint64](np, i.c)
		case opRem:
			t.pc = pc
			*raw.At[int64](np, i.a) = *raw.At[int64](np, i.b) % *raw.At[int64](np, i.c)
		case opRemU:
			t.pc = pc
			*raw.At[uint64](np, i.a) = *raw.At[uint64](np, i.b) % *raw.At[uint64](np, i.c)
		case opShl:
			*raw.At[uint64](np, i.a) = *raw.At[uint64](np, i.b) << *raw.At[uint64](np, i.c)
		case opShr:
			*raw.At[int64](np, i.a) = *raw.At[int64](np, i.b) >> *raw.At[uint64](np, i.c)
		case opShrU:
			*raw.At[uint64](np, i.a) = *raw.At[uint64](np, i.b) >> *raw.At[uint64](np, i.c)
		case opNeg:
			*raw.At[uint64](np, i.a) = -*raw.At[uint64](np, i.b)
		case opNot:
			*raw.At[uint64](np, i.a) = ^*raw.At[uint64](np, i.b)
		case opNotB:
			*raw.At[uint64](np, i.a) = *raw.At[uint64](np, i.b) ^ 1
		case opExtI8:
			*raw.At[uint64](np, i.a) = uint64(int8(*raw.At[uint64](np, i.b)))
		case opExtI16:
			*raw.At[uint64](np, i.a) = uint64(int16(*raw.At[uint64](np, i.b)))
		case opExtI32:
			*raw.At[uint64](np, i.a) = uint64(int32(*raw.At[uint64](np, i.b)))
		case opExtU8:
			*raw.At[uint64](np, i.a) = uint64(uint8(*raw.At[uint64](np, i.b)))
		case opExtU16:
			*raw.At[uint64](np, i.a) = uint64(uint16(*raw.At[uint64](np, i.b)))
		case opExtU32:
			*raw.At[uint64](np, i.a) = uint64(uint32(*raw.At[uint64](np, i.b)))
		case opCheckShift:
			if s := *raw.At[int64](np, i.a); s < 0 {
				t.pc = pc
				_ = 1 << s
			}

		case opAddF:
			*raw.At[float64](np, i.a) = *raw.At[float64](np, i.b) + *raw.At[float64](np, i.c)
		case opSubF:
			*raw.At[float64](np, i.a) = *raw.At[float64](np, i.b) - *raw.At[float64](np, i.c)
		case opMulF:
			*raw.At[float64](np, i.a) = *raw.At[float64](np, i.b) * *raw.At[float64](np, i.c)
		case opDivF:
			*raw.At[float64](np, i.a) = *raw.At[float64](np, i.b) / *raw.At[float64](np, i.c)
		case opNegF:
			*raw.At[float64](np, i.a) = -*raw.At[float64](np, i.b)
		case opAddF32:
			setF32(np, i.a, f32(np, i.b)+f32(np, i.c))
		case opSubF32:
			setF32(np, i.a, f32(np, i.b)-f32(np, i.c))
		case opMulF32:
			setF32(np, i.a, f32(np, i.b)*f32(np, i.c))
		case opDivF32:
			setF32(np, i.a, f32(np, i.b)/f32(np, i.c))
		case opNegF32:
			setF32(np, i.a, -f32(np, i.b))
		case opIntToF:
			*raw.At[float64](np, i.a) = float64(*raw.At[int64](np, i.b))
		case opUintToF:
			*raw.At[float64](np, i.a) = float64(*raw.At[uint64](np, i.b))
		case opFToInt:
			*raw.At[int64](np, i.a) = int64(*raw.At[float64](np, i.b))
		case opFToUint:
			*raw.At[uint64](np, i.a) = uint64(*raw.At[float64](np, i.b))
		case opFToF32:
			setF32(np, i.a, float32(*raw.At[float64](np, i.b)))
		case opF32ToF:
			*raw.At[float64](np, i.a) = float64(f32(np, i.b))
		case opMulAddF:
			x := *raw.At[float64](np, i.c) * *raw.At[float64](np, i.d)
			*raw.At[float64](np, i.a) = *raw.At[float64](np, i.b) + float64(x)

		case opEq:
			setBool(np, i.a, *raw.At[uint64](np, i.b) == *raw.At[uint64](np, i.c))
		case opNe:
			setBool(np, i.a, *raw.At[uint64](np, i.b) != *raw.At[uint64](np, i.c))
		case opLt:
			setBool(np, i.a, *raw.At[int64](np, i.b) < *raw.At[int64](np, i.c))
		case opLe:
			setBool(np, i.a, *raw.At[int64](np, i.b) <= *raw.At[int64](np, i.c))
		case opLtU:
			setBool(np, i.a, *raw.At[uint64](np, i.b) < *raw.At[uint64](np, i.c))
		case opLeU:
			setBool(np, i.a, *raw.At[uint64](np, i.b) <= *raw.At[uint64](np, i.c))
		case opEqF:
			setBool(np, i.a, *raw.At[float64](np, i.b) == *raw.At[float64](np, i.c))
		case opLtF:
			setBool(np, i.a, *raw.At[float64](np, i.b) < *raw.At[float64](np, i.c))
		case opLeF:
			setBool(np, i.a, *raw.At[float64](np, i.b) <= *raw.At[float64](np, i.c))
		case opEqF32:
			setBool(np, i.a, f32(np, i.b) == f32(np, i.c))
		case opLtF32:
			setBool(np, i.a, f32(np, i.b) < f32(np, i.c))
		case opLeF32:
			setBool(np, i.a, f32(np, i.b) <= f32(np, i.c))
		case opEqP:
			setBool(np, i.a, *raw.At[raw.Pointer](pp, i.b) == *raw.At[raw.Pointer](pp, i.c))
		case opIsNil:
			setBool(np, i.a, *raw.At[raw.Pointer](pp, i.b) == nil)
		case opNotNil:
			setBool(np, i.a, *raw.At[raw.Pointer](pp, i.b) != nil)
		case opEqStr:
			setBool(np, i.a, str(pp, np, i.b, i.c) == str(pp, np, i.d, i.e))
		case opLtStr:
			setBool(np, i.a, str(pp, np, i.b, i.c) < str(pp, np, i.d, i.e))
		case opLeStr:
			setBool(np, i.a, str(pp, np, i.b, i.c) <= str(pp, np, i.d, i.e))

		case opJump:
			pc = int(i.a)
			continue
		case opLoop:
			if stop.Load() {
				t.pc = pc
				panic(stopped{})
			}
			pc = int(i.a)
			continue
		case opIf:
			if *raw.At[uint64](np, i.b) != 0 {
				pc = int(i.a)
				continue
			}
		case opIfNot:
			if *raw.At[uint64](np, i.b) == 0 {
				pc = int(i.a)
				continue
			}
		case opIfEq:
			if *raw.At[uint64](np, i.b) == *raw.At[uint64](np, i.c) {
				pc = int(i.a)
				continue
			}
		case opIfNe:
			if *raw.At[uint64](np, i.b) != *raw.At[uint64](np, i.c) {
				pc = int(i.a)
				continue
			}
		case opIfLt:
			if *raw.At[int64](np, i.b) < *raw.At[int64](np, i.c) {
				pc = int(i.a)
				continue
			}
		case opIfLe:
			if *raw.At[int64](np, i.b) <= *raw.At[int64](np, i.c) {
				pc = int(i.a)
				continue
			}
		case opIfLtU:
			if *raw.At[uint64](np, i.b) < *raw.At[uint64](np, i.c) {
				pc = int(i.a)
				continue
			}
		case opIfLeU:
			if *raw.At[uint64](np, i.b) <= *raw.At[uint64](np, i.c) {
				pc = int(i.a)
				continue
			}
		case opIfEqK:
			if *raw.At[int64](np, i.b) == int64(i.c) {
				pc = int(i.a)
				continue
			}
		case opIfNeK:
			if *raw.At[int64](np, i.b) != int64(i.c) {
				pc = int(i.a)
				continue
			}
		case opIfLtK:
			if *raw.At[int64](np, i.b) < int64(i.c) {
				pc = int(i.a)
				continue
			}
		case opIfLeK:
			if *raw.At[int64](np, i.b) <= int64(i.c) {
				pc = int(i.a)
				continue
			}
		case opIfGtK:
			if *raw.At[int64](np, i.b) > int64(i.c) {
				pc = int(i.a)
				continue
			}
		case opIfGeK:
			if *raw.At[int64](np, i.b) >= int64(i.c) {
				pc = int(i.a)
				continue
			}
		case opIfLtF:
			if *raw.At[float64](np, i.b) < *raw.At[float64](np, i.c) {
				pc = int(i.a)
				continue
			}
		case opIfLeF:
			if *raw.At[float64](np, i.b) <= *raw.At[float64](np, i.c) {
				pc = int(i.a)
				continue
			}
		case opIfNotLtF:
			if !(*raw.At[float64](np, i.b) < *raw.At[float64](np, i.c)) {
				pc = int(i.a)
				continue
			}
		case opIfNotLeF:
			if !(*raw.At[float64](np, i.b) <= *raw.At[float64](np, i.c)) {
				pc = int(i.a)
				continue
			}
		case opIfNil:
			if *raw.At[raw.Pointer](pp, i.b) == nil {
				pc = int(i.a)
				continue
			}
		case opIfNotNil:
			if *raw.At[raw.Pointer](pp, i.b) != nil {
				pc = int(i.a)
				continue
			}

		case opCall:
			t.pc = pc
			callee := c.codes[i.c]
			if !callee.ready.Load() {
				callee.prepare()
			}
			if stop.Load() {
				panic(stopped{})
			}
			f.pc = pc + 1
			p += int(i.a)
			n += int(i.b)
			if p+int(callee.frame.p)+argRoom > len(t.ptrs) || n+int(callee.frame.n)+argRoom > len(t.nums) || t.top+2 > len(t.frames) {
				t.room(callee, p, n)
			}
			if c.wrapper && f.pan != nil {
				t.frames[t.top+1].pan, t.frames[t.top+1].flags = f.pan, flagKeeps
			}
			t.top++
			f = &t.frames[t.top]
			f.c, f.p, f.n = callee, p, n
			c, code, pc = callee, callee.ins, 0
			pp, np = t.regs(p, n)
			continue
		case opCallFn, opInvoke:
			t.pc = pc
			if stop.Load() {
				panic(stopped{})
			}
			var tg target
			if i.op == opCallFn {
				tg = t.funcTarget(c.types[i.d], *raw.At[raw.Pointer](pp, i.c))
			} else {
				tg = t.methodTarget(c.sites[i.c], raw.Add(pp, int(i.d)), raw.Add(pp, int(i.a)*8), raw.Add(np, int(i.b)*8))
			}
			if tg.c.native != nil {
				t.native(tg, p+int(i.a), n+int(i.b))
				break
			}
			f.pc = pc + 1
			pan := f.pan
			wrap := c.wrapper
			p += int(i.a)
			n += int(i.b)
			f = t.push(tg, p, n)
			if wrap && pan != nil {
				f.pan, f.flags = pan, flagKeeps
			}
			c = tg.c
			code, pc = c.ins, 0
			pp, np = t.regs(p, n)
			continue
		case opReturn:
			flags := f.flags
			if flags != 0 {
				t.pop()
				if flags&flagBase != 0 {
					return returned
				}
				if flags&flagUnwind != 0 {
					return unwound
				}
			} else {
				f.c = nil
				t.top--
			}
			f = &t.frames[t.top]
			c = f.c
			code, pc = c.ins, f.pc
			p, n = f.p, f.n
			pp, np = t.regs(p, n)
			continue
		case opDefers:
			t.pc = pc
			d := f.popDefer()
			if d == nil {
				break
			}
			f.pc = pc // look again when it has returned
			ep, en := t.end()
			t.room(c, ep, en)
			copy(t.ptrs[ep:], d.ptrs)
			copy(t.nums[en:], d.nums)
			if d.target.c.native != nil {
				ap, an := t.regs(ep, en)
				d.target.c.native(t, ap, an)
				pp, np = t.regs(p, n)
				continue
			}
			f = t.push(d.target, ep, en)
			p, n = ep, en
			c = f.c
			code, pc = c.ins, 0
			pp, np = t.regs(p, n)
			continue
		case opFn:
			t.pc = pc
			c.fns[i.a](t, pp, np)
		case opString:
			t.pc = pc
			s := str(pp, np, i.b, i.c) + str(pp, np, i.d, int32(i.x)*8)
			*raw.At[raw.Pointer](pp, i.a) = raw.StringData(s)
			*raw.At[uint64](np, i.e) = uint64(len(s))
		case opAssertT:
			ty := *raw.At[raw.Pointer](pp, i.b)
			if i.x != 0 {
				ty = raw.TabType(ty)
			}
			setBool(np, i.a, ty == c.types[i.d].Type)
		case opTypeOf:
			*raw.At[raw.Pointer](pp, i.a) = raw.TabType(*raw.At[raw.Pointer](pp, i.b))
		case opLenMap:
			*raw.At[uint64](np, i.a) = uint64(raw.MapLen(*raw.At[raw.Pointer](pp, i.b)))
		default:
			t.pc = pc
			panic(&typeError{msg: "an instruction that there is not"})
		}
		pc++
	}
}

func f32(np raw.Pointer, off int32) float32 { return *raw.At[float32](np, off) }

// setF32 sets a register to a float32: its bits, with zeros above.
func setF32(np raw.Pointer, off int32, v float32) {
	*raw.At[uint64](np, off) = uint64(math.Float32bits(v))
}

func setBool(np raw.Pointer, off int32, v bool) {
	var x uint64
	if v {
		x = 1
	}
	*raw.At[uint64](np, off) = x
}

func str(pp, np raw.Pointer, p, n int32) string {
	return raw.String(*raw.At[raw.Pointer](pp, p), *raw.At[uint64](np, n))
}
