package vm

import (
	"math"

	"farm/namespace/vm/raw"
)

// insSize is the size of an instruction in bytes.
const insSize = 24

// loop interprets the innermost frame and what it calls, until the frame marked as base returns, a
// deferred function returns to unwinding, or something panics.
//
// It is one function so that what it needs all the time (ip, pp, np, c) stays in registers of the
// processor. For that to hold, nothing of it may live across a call: an operation that calls a Go function
// sets t.pc first, which says where it is, and goes to resume or again, which find everything anew; or it
// keeps what it needs in memory and goes to kept. An operation that may panic sets t.pc, too. Functions that
// the compiler does not inline into one as large as this are spelled out.
//
//nolint:gocyclo,funlen // one case for each operation
func (t *thread) loop() (how outcome) {
	defer func() {
		if r := recover(); r != nil {
			t.newPanic(r)
			how = panicked
		}
	}()
	var (
		c      *code
		callee *code
		// memory for what is needed after a call of a Go function; arrays are never in registers of the
		// processor
		keep   [3]raw.Pointer
		keepC  [2]*code
		ip     raw.Pointer // the instruction
		pp, np raw.Pointer // the registers of the frame
	)
	how = returned
	t.pc = t.frames[t.top].c.base + uint64(t.frames[t.top].pc)
again: // the instruction at t.pc
	{
		t.moved = false
		f := &t.frames[t.top]
		c = f.c
		ip = raw.Add(c.start, int(t.pc-c.base))
		pp, np = raw.PointerTo(&t.ptrs[f.p]), raw.PointerTo(&t.nums[f.n])
	}
next:
	for {
		i := raw.As[ins](ip)
		switch i.op {
		case 0:
			goto unknown
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
				goto isNil
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
				goto isNil
			}
			*raw.At[uint64](np, i.a) = *raw.At[uint64](m, i.c)
		case opLoadPtr:
			m := *raw.At[raw.Pointer](pp, i.b)
			if m == nil {
				goto isNil
			}
			*raw.At[raw.Pointer](pp, i.a) = *raw.At[raw.Pointer](m, i.c)
		case opLoadStr:
			m := *raw.At[raw.Pointer](pp, i.b)
			if m == nil {
				goto isNil
			}
			s := *raw.At[string](m, i.c)
			*raw.At[raw.Pointer](pp, i.a) = raw.StringData(s)
			*raw.At[uint64](np, i.d) = uint64(len(s))
		case opLoadSlice:
			m := *raw.At[raw.Pointer](pp, i.b)
			if m == nil {
				goto isNil
			}
			s := raw.At[slice](m, i.c)
			*raw.At[raw.Pointer](pp, i.a) = s.p
			*raw.At[[2]uint64](np, i.d) = [2]uint64{s.n, s.c}
		case opLoadIface:
			m := *raw.At[raw.Pointer](pp, i.b)
			if m == nil {
				goto isNil
			}
			// word by word: the compiler would call a function to move both
			*raw.At[raw.Pointer](pp, i.a) = *raw.At[raw.Pointer](m, i.c)
			*raw.At[raw.Pointer](pp, i.a+8) = *raw.At[raw.Pointer](m, i.c+8)
		case opLoadBox:
			t.pc = raw.Address(ip)
			keep[0], keep[1], keep[2], keepC[0] = ip, pp, np, c
			loadBox(c, i, pp)
			goto kept

		case opStore8, opStore16, opStore32:
			m := *raw.At[raw.Pointer](pp, i.a)
			if m == nil {
				goto isNil
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
				goto isNil
			}
			*raw.At[uint64](m, i.c) = *raw.At[uint64](np, i.b)
		case opStorePtr:
			m := *raw.At[raw.Pointer](pp, i.a)
			if m == nil {
				goto isNil
			}
			*raw.At[raw.Pointer](m, i.c) = *raw.At[raw.Pointer](pp, i.b)
		case opStoreStr:
			m := *raw.At[raw.Pointer](pp, i.a)
			if m == nil {
				goto isNil
			}
			h := raw.At[textHead](m, i.c)
			h.p, h.n = *raw.At[raw.Pointer](pp, i.b), *raw.At[uint64](np, i.d)
		case opStoreSlice:
			m := *raw.At[raw.Pointer](pp, i.a)
			if m == nil {
				goto isNil
			}
			w := *raw.At[[2]uint64](np, i.d)
			*raw.At[slice](m, i.c) = slice{*raw.At[raw.Pointer](pp, i.b), w[0], w[1]}
		case opStoreIface:
			m := *raw.At[raw.Pointer](pp, i.a)
			if m == nil {
				goto isNil
			}
			*raw.At[raw.Pointer](m, i.c) = *raw.At[raw.Pointer](pp, i.b)
			*raw.At[raw.Pointer](m, i.c+8) = *raw.At[raw.Pointer](pp, i.b+8)
		case opStoreBox:
			m := *raw.At[raw.Pointer](pp, i.a)
			if m == nil {
				goto isNil
			}
			t.pc = raw.Address(ip)
			keep[0], keep[1], keep[2], keepC[0] = ip, pp, np, c
			raw.Move(c.types[i.d].Type, raw.Add(m, int(i.c)), *raw.At[raw.Pointer](pp, i.b))
			goto kept

		case opNew:
			t.pc = raw.Address(ip)
			keep[0], keep[1], keep[2], keepC[0] = ip, pp, np, c
			newValue(c, i, pp)
			goto kept
		case opField:
			m := *raw.At[raw.Pointer](pp, i.b)
			if m == nil {
				goto isNil
			}
			*raw.At[raw.Pointer](pp, i.a) = raw.Add(m, int(i.c))

		case opIndex:
			x := *raw.At[uint64](np, i.c)
			if x >= *raw.At[uint64](np, i.d) {
				goto outside
			}
			*raw.At[raw.Pointer](pp, i.a) = raw.Add(*raw.At[raw.Pointer](pp, i.b), int(x)*int(i.e))
		case opIndexArr:
			m := *raw.At[raw.Pointer](pp, i.b)
			if m == nil {
				goto isNil
			}
			x := *raw.At[uint64](np, i.c)
			if x >= uint64(i.d) {
				goto outside
			}
			*raw.At[raw.Pointer](pp, i.a) = raw.Add(m, int(x)*int(i.e))
		case opIndexLoad64:
			x := *raw.At[uint64](np, i.c)
			if x >= *raw.At[uint64](np, i.d) {
				goto outside
			}
			*raw.At[uint64](np, i.a) = *raw.As[uint64](raw.Add(*raw.At[raw.Pointer](pp, i.b), int(x)*8))
		case opIndexLoadI32:
			x := *raw.At[uint64](np, i.c)
			if x >= *raw.At[uint64](np, i.d) {
				goto outside
			}
			*raw.At[uint64](np, i.a) = uint64(*raw.As[int32](raw.Add(*raw.At[raw.Pointer](pp, i.b), int(x)*4)))
		case opIndexLoadU8:
			x := *raw.At[uint64](np, i.c)
			if x >= *raw.At[uint64](np, i.d) {
				goto outside
			}
			*raw.At[uint64](np, i.a) = uint64(*raw.As[uint8](raw.Add(*raw.At[raw.Pointer](pp, i.b), int(x))))
		case opIndexLoadPtr:
			x := *raw.At[uint64](np, i.c)
			if x >= *raw.At[uint64](np, i.d) {
				goto outside
			}
			*raw.At[raw.Pointer](pp, i.a) = *raw.As[raw.Pointer](raw.Add(*raw.At[raw.Pointer](pp, i.b), int(x)*8))
		case opIndexStore64:
			x := *raw.At[uint64](np, i.c)
			if x >= *raw.At[uint64](np, i.d) {
				goto outside
			}
			*raw.As[uint64](raw.Add(*raw.At[raw.Pointer](pp, i.b), int(x)*8)) = *raw.At[uint64](np, i.a)
		case opIndexStore8:
			x := *raw.At[uint64](np, i.c)
			if x >= *raw.At[uint64](np, i.d) {
				goto outside
			}
			*raw.As[uint8](raw.Add(*raw.At[raw.Pointer](pp, i.b), int(x))) = uint8(*raw.At[uint64](np, i.a))
		case opIndexStr:
			x := *raw.At[uint64](np, i.c)
			if x >= *raw.At[uint64](np, i.d) {
				goto outside
			}
			*raw.At[uint64](np, i.a) = uint64(*raw.As[uint8](raw.Add(*raw.At[raw.Pointer](pp, i.b), int(x))))
		case opIndex2Load64:
			x := *raw.At[uint64](np, i.c)
			if x >= *raw.At[uint64](np, i.d) {
				goto outside
			}
			row := raw.As[slice](raw.Add(*raw.At[raw.Pointer](pp, i.b), int(x)*24))
			y := *raw.At[uint64](np, i.e)
			if y >= row.n {
				goto outsideRow
			}
			*raw.At[uint64](np, i.a) = *raw.As[uint64](raw.Add(row.p, int(y)*8))
		case opIndexRow:
			x := *raw.At[uint64](np, i.c)
			if x >= *raw.At[uint64](np, i.d) {
				goto outside
			}
			s := raw.As[slice](raw.Add(*raw.At[raw.Pointer](pp, i.b), int(x)*24))
			*raw.At[raw.Pointer](pp, i.a) = s.p
			*raw.At[[2]uint64](np, i.e) = [2]uint64{s.n, s.c}
		case opAppend8:
			n := *raw.At[uint64](np, i.c)
			room := *raw.At[uint64](np, i.c+8)
			if n == room {
				goto grow
			}
			p := *raw.At[raw.Pointer](pp, i.b)
			*raw.As[uint8](raw.Add(p, int(n))) = uint8(*raw.At[uint64](np, i.d))
			*raw.At[raw.Pointer](pp, i.a) = p
			*raw.At[uint64](np, i.e) = n + 1
			*raw.At[uint64](np, i.e+8) = room
		case opAppend64:
			n := *raw.At[uint64](np, i.c)
			room := *raw.At[uint64](np, i.c+8)
			if n == room {
				goto grow
			}
			p := *raw.At[raw.Pointer](pp, i.b)
			*raw.As[uint64](raw.Add(p, int(n)*8)) = *raw.At[uint64](np, i.d)
			*raw.At[raw.Pointer](pp, i.a) = p
			*raw.At[uint64](np, i.e) = n + 1
			*raw.At[uint64](np, i.e+8) = room
		case opAppendPtr:
			n := *raw.At[uint64](np, i.c)
			room := *raw.At[uint64](np, i.c+8)
			if n == room {
				goto grow
			}
			p := *raw.At[raw.Pointer](pp, i.b)
			*raw.As[raw.Pointer](raw.Add(p, int(n)*8)) = *raw.At[raw.Pointer](pp, i.d)
			*raw.At[raw.Pointer](pp, i.a) = p
			*raw.At[uint64](np, i.e) = n + 1
			*raw.At[uint64](np, i.e+8) = room

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
			t.pc = raw.Address(ip)
			*raw.At[int64](np, i.a) = *raw.At[int64](np, i.b) / *raw.At[int64](np, i.c)
		case opDivU:
			t.pc = raw.Address(ip)
			*raw.At[uint64](np, i.a) = *raw.At[uint64](np, i.b) / *raw.At[uint64](np, i.c)
		case opRem:
			t.pc = raw.Address(ip)
			*raw.At[int64](np, i.a) = *raw.At[int64](np, i.b) % *raw.At[int64](np, i.c)
		case opRemU:
			t.pc = raw.Address(ip)
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
			if *raw.At[int64](np, i.a) < 0 {
				goto negative
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
			*raw.At[float64](np, i.a) = *raw.At[float64](np, i.b) + float64(*raw.At[float64](np, i.c)**raw.At[float64](np, i.d))
		case opMulSubF:
			*raw.At[float64](np, i.a) = float64(*raw.At[float64](np, i.b)**raw.At[float64](np, i.c)) - *raw.At[float64](np, i.d)
		case opSubMulF:
			*raw.At[float64](np, i.a) = *raw.At[float64](np, i.b) - float64(*raw.At[float64](np, i.c)**raw.At[float64](np, i.d))
		case opMul3F:
			*raw.At[float64](np, i.a) = float64(*raw.At[float64](np, i.b)**raw.At[float64](np, i.c)) * *raw.At[float64](np, i.d)
		case opMul3AddF:
			x := float64(*raw.At[float64](np, i.c)**raw.At[float64](np, i.d)) * *raw.At[float64](np, i.e)
			*raw.At[float64](np, i.a) = *raw.At[float64](np, i.b) + float64(x)
		case opMulMulAddF:
			x, y := *raw.At[float64](np, i.b)**raw.At[float64](np, i.c), *raw.At[float64](np, i.d)**raw.At[float64](np, i.e)
			*raw.At[float64](np, i.a) = float64(x) + float64(y)
		case opMulMulSubF:
			x, y := *raw.At[float64](np, i.b)**raw.At[float64](np, i.c), *raw.At[float64](np, i.d)**raw.At[float64](np, i.e)
			*raw.At[float64](np, i.a) = float64(x) - float64(y)
		case opMulMulSubAddF:
			x, y := *raw.At[float64](np, i.b)**raw.At[float64](np, i.c), *raw.At[float64](np, i.d)**raw.At[float64](np, i.e)
			*raw.At[float64](np, i.a) = float64(x) - float64(y) + *raw.At[float64](np, int32(i.x)*8)
		case opMulAdd11F, opMulAdd12F, opMulAdd21F, opMulAdd22F:
			x := *raw.At[uint64](np, i.c)
			if x >= *raw.At[uint64](np, i.d) {
				goto outside
			}
			p := *raw.At[raw.Pointer](pp, i.b)
			if i.op >= opMulAdd21F {
				row := raw.As[slice](raw.Add(p, int(x)*24))
				if x = *raw.At[uint64](np, i.e); x >= row.n {
					goto outsideRow
				}
				p = row.p
			}
			v := *raw.As[float64](raw.Add(p, int(x)*8))
			ip = raw.Add(ip, insSize)
			j := raw.As[ins](ip)
			x = *raw.At[uint64](np, j.c)
			if x >= *raw.At[uint64](np, j.d) {
				goto outside
			}
			p = *raw.At[raw.Pointer](pp, j.b)
			if j.op == opIndex2Load64 {
				row := raw.As[slice](raw.Add(p, int(x)*24))
				if x = *raw.At[uint64](np, j.e); x >= row.n {
					goto outsideRow
				}
				p = row.p
			}
			*raw.At[float64](np, i.a) = *raw.At[float64](np, j.a) + float64(v**raw.As[float64](raw.Add(p, int(x)*8)))

		case opEq:
			var v uint64
			if *raw.At[uint64](np, i.b) == *raw.At[uint64](np, i.c) {
				v = 1
			}
			*raw.At[uint64](np, i.a) = v
		case opNe:
			var v uint64
			if *raw.At[uint64](np, i.b) != *raw.At[uint64](np, i.c) {
				v = 1
			}
			*raw.At[uint64](np, i.a) = v
		case opLt:
			var v uint64
			if *raw.At[int64](np, i.b) < *raw.At[int64](np, i.c) {
				v = 1
			}
			*raw.At[uint64](np, i.a) = v
		case opLe:
			var v uint64
			if *raw.At[int64](np, i.b) <= *raw.At[int64](np, i.c) {
				v = 1
			}
			*raw.At[uint64](np, i.a) = v
		case opLtU:
			var v uint64
			if *raw.At[uint64](np, i.b) < *raw.At[uint64](np, i.c) {
				v = 1
			}
			*raw.At[uint64](np, i.a) = v
		case opLeU:
			var v uint64
			if *raw.At[uint64](np, i.b) <= *raw.At[uint64](np, i.c) {
				v = 1
			}
			*raw.At[uint64](np, i.a) = v
		case opEqF:
			var v uint64
			if *raw.At[float64](np, i.b) == *raw.At[float64](np, i.c) {
				v = 1
			}
			*raw.At[uint64](np, i.a) = v
		case opLtF:
			var v uint64
			if *raw.At[float64](np, i.b) < *raw.At[float64](np, i.c) {
				v = 1
			}
			*raw.At[uint64](np, i.a) = v
		case opLeF:
			var v uint64
			if *raw.At[float64](np, i.b) <= *raw.At[float64](np, i.c) {
				v = 1
			}
			*raw.At[uint64](np, i.a) = v
		case opEqF32:
			var v uint64
			if f32(np, i.b) == f32(np, i.c) {
				v = 1
			}
			*raw.At[uint64](np, i.a) = v
		case opLtF32:
			var v uint64
			if f32(np, i.b) < f32(np, i.c) {
				v = 1
			}
			*raw.At[uint64](np, i.a) = v
		case opLeF32:
			var v uint64
			if f32(np, i.b) <= f32(np, i.c) {
				v = 1
			}
			*raw.At[uint64](np, i.a) = v
		case opEqP:
			var v uint64
			if *raw.At[raw.Pointer](pp, i.b) == *raw.At[raw.Pointer](pp, i.c) {
				v = 1
			}
			*raw.At[uint64](np, i.a) = v
		case opIsNil:
			var v uint64
			if *raw.At[raw.Pointer](pp, i.b) == nil {
				v = 1
			}
			*raw.At[uint64](np, i.a) = v
		case opNotNil:
			var v uint64
			if *raw.At[raw.Pointer](pp, i.b) != nil {
				v = 1
			}
			*raw.At[uint64](np, i.a) = v
		case opEqStr, opLtStr, opLeStr:
			t.pc = raw.Address(ip)
			keep[0], keep[1], keep[2], keepC[0] = ip, pp, np, c
			compareStrings(i, pp, np)
			goto kept

		// jumps to a
		case opJump:
			ip = raw.Add(ip, int(i.a))
			continue
		case opLoop:
			if t.run.stop.Load() {
				goto stop
			}
			ip = raw.Add(ip, int(i.a))
			continue
		case opIf:
			if *raw.At[uint64](np, i.b) != 0 {
				goto jump
			}
		case opIfNot:
			if *raw.At[uint64](np, i.b) == 0 {
				goto jump
			}
		case opIfEq:
			if *raw.At[uint64](np, i.b) == *raw.At[uint64](np, i.c) {
				goto jump
			}
		case opIfNe:
			if *raw.At[uint64](np, i.b) != *raw.At[uint64](np, i.c) {
				goto jump
			}
		case opIfLt:
			if *raw.At[int64](np, i.b) < *raw.At[int64](np, i.c) {
				goto jump
			}
		case opIfLe:
			if *raw.At[int64](np, i.b) <= *raw.At[int64](np, i.c) {
				goto jump
			}
		case opIfLtU:
			if *raw.At[uint64](np, i.b) < *raw.At[uint64](np, i.c) {
				goto jump
			}
		case opIfLeU:
			if *raw.At[uint64](np, i.b) <= *raw.At[uint64](np, i.c) {
				goto jump
			}
		case opIfEqK:
			if *raw.At[int64](np, i.b) == int64(i.c) {
				goto jump
			}
		case opIfNeK:
			if *raw.At[int64](np, i.b) != int64(i.c) {
				goto jump
			}
		case opIfLtK:
			if *raw.At[int64](np, i.b) < int64(i.c) {
				goto jump
			}
		case opIfLeK:
			if *raw.At[int64](np, i.b) <= int64(i.c) {
				goto jump
			}
		case opIfGtK:
			if *raw.At[int64](np, i.b) > int64(i.c) {
				goto jump
			}
		case opIfGeK:
			if *raw.At[int64](np, i.b) >= int64(i.c) {
				goto jump
			}
		case opIfLtF:
			if *raw.At[float64](np, i.b) < *raw.At[float64](np, i.c) {
				goto jump
			}
		case opIfLeF:
			if *raw.At[float64](np, i.b) <= *raw.At[float64](np, i.c) {
				goto jump
			}
		case opIfNotLtF:
			if !(*raw.At[float64](np, i.b) < *raw.At[float64](np, i.c)) {
				goto jump
			}
		case opIfNotLeF:
			if !(*raw.At[float64](np, i.b) <= *raw.At[float64](np, i.c)) {
				goto jump
			}
		case opIfNormLe:
			x, y := *raw.At[float64](np, i.b)**raw.At[float64](np, i.c), *raw.At[float64](np, i.d)**raw.At[float64](np, i.e)
			if float64(x)+float64(y) <= *raw.At[float64](np, int32(i.x)*8) {
				goto jump
			}
		case opIfNormNotLe:
			x, y := *raw.At[float64](np, i.b)**raw.At[float64](np, i.c), *raw.At[float64](np, i.d)**raw.At[float64](np, i.e)
			if !(float64(x)+float64(y) <= *raw.At[float64](np, int32(i.x)*8)) {
				goto jump
			}
		case opIfNormLt:
			x, y := *raw.At[float64](np, i.b)**raw.At[float64](np, i.c), *raw.At[float64](np, i.d)**raw.At[float64](np, i.e)
			if float64(x)+float64(y) < *raw.At[float64](np, int32(i.x)*8) {
				goto jump
			}
		case opIfNormNotLt:
			x, y := *raw.At[float64](np, i.b)**raw.At[float64](np, i.c), *raw.At[float64](np, i.d)**raw.At[float64](np, i.e)
			if !(float64(x)+float64(y) < *raw.At[float64](np, int32(i.x)*8)) {
				goto jump
			}
		case opIfNil:
			if *raw.At[raw.Pointer](pp, i.b) == nil {
				goto jump
			}
		case opIfNotNil:
			if *raw.At[raw.Pointer](pp, i.b) != nil {
				goto jump
			}

		case opAddKIfLt:
			v := *raw.At[int64](np, i.e) + int64(i.c)
			*raw.At[int64](np, i.b) = v
			if v < *raw.At[int64](np, i.d) {
				goto jump
			}
		case opAddKIfLe:
			v := *raw.At[int64](np, i.e) + int64(i.c)
			*raw.At[int64](np, i.b) = v
			if v <= *raw.At[int64](np, i.d) {
				goto jump
			}
		case opAddIfLt:
			v := *raw.At[int64](np, i.e) + *raw.At[int64](np, i.c)
			*raw.At[int64](np, i.b) = v
			if v < *raw.At[int64](np, i.d) {
				goto jump
			}
		case opAddIfLe:
			v := *raw.At[int64](np, i.e) + *raw.At[int64](np, i.c)
			*raw.At[int64](np, i.b) = v
			if v <= *raw.At[int64](np, i.d) {
				goto jump
			}
		case opAddKIfLtK:
			v := *raw.At[int64](np, i.e) + int64(i.c)
			*raw.At[int64](np, i.b) = v
			if v < int64(i.d) {
				goto jump
			}
		case opAddKIfLeK:
			v := *raw.At[int64](np, i.e) + int64(i.c)
			*raw.At[int64](np, i.b) = v
			if v <= int64(i.d) {
				goto jump
			}
		case opAddKIfGtK:
			v := *raw.At[int64](np, i.e) + int64(i.c)
			*raw.At[int64](np, i.b) = v
			if v > int64(i.d) {
				goto jump
			}
		case opAddKIfGeK:
			v := *raw.At[int64](np, i.e) + int64(i.c)
			*raw.At[int64](np, i.b) = v
			if v >= int64(i.d) {
				goto jump
			}

		case opCall:
			callee = c.codes[i.c]
			if callee.ready.Load() {
				goto call
			}
			t.pc = raw.Address(ip)
			callee.prepare()
			goto again
		case opInvoke:
			{
				w := raw.At[[2]raw.Pointer](pp, i.d)
				s := c.sites[i.c]
				known := s.known.Load()
				if known == nil {
					goto slowCall
				}
				var x *siteTarget
				for k := range *known {
					if (*known)[k].word == w[0] {
						x = &(*known)[k]
						break
					}
				}
				if x == nil {
					goto slowCall
				}
				switch x.recv {
				case recvPointer:
					*raw.At[raw.Pointer](pp, i.e) = w[1]
				case recvNumber:
					*raw.At[uint64](np, (i.b+s.args.n)*8) = *raw.As[uint64](w[1])
				case recvNothing:
				default:
					goto slowCall
				}
				callee = x.c
				goto call
			}
		case opCallFn:
			goto slowCall
		case opReturn:
			f := &t.frames[t.top]
			if f.flags != 0 {
				flags := f.flags
				t.pop()
				if flags&flagBase != 0 {
					return returned
				}
				if flags&flagUnwind != 0 {
					return unwound
				}
			} else {
				t.top--
			}
			f = &t.frames[t.top]
			c = f.c
			ip = raw.Add(c.start, f.pc)
			pp, np = raw.PointerTo(&t.ptrs[f.p]), raw.PointerTo(&t.nums[f.n])
			continue
		case opDefers:
			t.pc = raw.Address(ip)
			switch t.runDefer(c) {
			case 0:
				goto resume
			case 1:
				goto enter
			}
			goto again
		case opFn:
			t.pc = raw.Address(ip)
			keep[0], keep[1], keep[2], keepC[0] = ip, pp, np, c
			c.fns[i.a](t, pp, np)
			goto kept
		case opString:
			t.pc = raw.Address(ip)
			keep[0], keep[1], keep[2], keepC[0] = ip, pp, np, c
			concat(t, i, pp, np)
			goto kept
		case opAssertT:
			ty := *raw.At[raw.Pointer](pp, i.b)
			if i.x != 0 {
				ty = raw.TabType(ty)
			}
			var v uint64
			if ty == c.types[i.d].Type {
				v = 1
			}
			*raw.At[uint64](np, i.a) = v
		case opTypeOf:
			*raw.At[raw.Pointer](pp, i.a) = raw.TabType(*raw.At[raw.Pointer](pp, i.b))
		case opLenMap:
			t.pc = raw.Address(ip)
			keep[0], keep[1], keep[2], keepC[0] = ip, pp, np, c
			mapLen(i, pp, np)
			goto kept
		default:
			goto unknown
		}
		ip = raw.Add(ip, insSize)
	}
call: // callee, whose arguments are in place
	{
		if t.run.stop.Load() {
			goto stop
		}
		i := raw.As[ins](ip)
		f := &t.frames[t.top]
		p, n := f.p+int(i.a), f.n+int(i.b)
		if p+callee.needP > len(t.ptrs) || n+callee.needN > len(t.nums) || t.top+2 > len(t.frames) {
			t.pc = raw.Address(ip)
			t.room(callee, p, n)
			goto again
		}
		f.pc = int(raw.Address(ip)-c.base) + insSize
		pan := f.pan
		t.top++
		f = &t.frames[t.top]
		f.c, f.p, f.n = callee, p, n
		if pan != nil && c.wrapper {
			f.pan, f.flags = pan, flagKeeps
		}
		c, ip = callee, callee.start
		pp, np = raw.PointerTo(&t.ptrs[p]), raw.PointerTo(&t.nums[n])
		goto next
	}
slowCall: // of what is not known yet, or has to be prepared
	t.pc = raw.Address(ip)
	if t.callValue(c, raw.As[ins](ip), pp, np) {
		goto enter
	}
	goto resume
jump: // to the target of the instruction
	{
		d := raw.As[ins](ip).a
		if d <= 0 && t.run.stop.Load() {
			goto stop
		}
		ip = raw.Add(ip, int(d))
		goto next
	}
stop:
	t.pc = raw.Address(ip)
	panic(stopped{})
kept: // after an instruction that has called a Go function
	if !t.moved {
		ip, pp, np, c = raw.Add(keep[0], insSize), keep[1], keep[2], keepC[0]
		goto next
	}
resume: // after the instruction at t.pc
	t.pc += insSize
	goto again
enter: // the frame that has been pushed
	t.pc = t.frames[t.top].c.base
	goto again
isNil:
	t.pc = raw.Address(ip)
	nilDereference()
	return panicked
outside:
	t.pc = raw.Address(ip)
	outOfRange(raw.As[ins](ip), np)
	return panicked
outsideRow:
	t.pc = raw.Address(ip)
	outOfRow(raw.As[ins](ip), pp, np)
	return panicked
grow:
	t.pc = raw.Address(ip)
	keep[0], keep[1], keep[2], keepC[0] = ip, pp, np, c
	t.appendGrown(c, raw.As[ins](ip), pp, np)
	goto kept
negative:
	t.pc = raw.Address(ip)
	panic(plainError("runtime error: negative shift amount"))
unknown:
	panic(&typeError{msg: "an instruction that there is not"})
}

// outOfRange panics as the runtime does for the index of an instruction.
func outOfRange(i *ins, np raw.Pointer) {
	l := uint64(i.d)
	if i.op != opIndexArr {
		l = *raw.At[uint64](np, i.d)
	}
	panic(raw.BoundsError(*raw.At[uint64](np, i.c), i.x&1 == 0, int(l), raw.BoundsIndex))
}

// outOfRow panics for the second index of an instruction.
func outOfRow(i *ins, pp, np raw.Pointer) {
	row := raw.As[slice](raw.Add(*raw.At[raw.Pointer](pp, i.b), int(*raw.At[uint64](np, i.c))*24))
	panic(raw.BoundsError(*raw.At[uint64](np, i.e), i.x&2 == 0, int(row.n), raw.BoundsIndex))
}

func newValue(c *code, i *ins, pp raw.Pointer) {
	*raw.At[raw.Pointer](pp, i.a) = raw.New(c.types[i.b].Type)
}

func mapLen(i *ins, pp, np raw.Pointer) {
	*raw.At[uint64](np, i.a) = uint64(raw.MapLen(*raw.At[raw.Pointer](pp, i.b)))
}

func compareStrings(i *ins, pp, np raw.Pointer) {
	a, b := str(pp, np, i.b, i.c), str(pp, np, i.d, i.e)
	switch i.op {
	case opEqStr:
		setBool(np, i.a, a == b)
	case opLtStr:
		setBool(np, i.a, a < b)
	default:
		setBool(np, i.a, a <= b)
	}
}

// loadBox copies a boxed value from memory.
func loadBox(c *code, i *ins, pp raw.Pointer) {
	m := *raw.At[raw.Pointer](pp, i.b)
	if m == nil {
		nilDereference()
	}
	ty := c.types[i.d].Type
	box := raw.New(ty)
	raw.Move(ty, box, raw.Add(m, int(i.c)))
	*raw.At[raw.Pointer](pp, i.a) = box
}

func concat(t *thread, i *ins, pp, np raw.Pointer) {
	a, b := str(pp, np, i.b, i.c), str(pp, np, i.d, int32(i.x)*8)
	if int64(len(a))+int64(len(b)) > t.m.lim.Memory {
		panic(&LimitError{What: "memory for a string, bytes", Limit: t.m.lim.Memory})
	}
	s := a + b
	*raw.At[raw.Pointer](pp, i.a), *raw.At[uint64](np, i.e) = raw.StringData(s), uint64(len(s))
}

// callValue calls a function value or a method of an interface. It says whether there is a new frame;
// what is of compiled Go has returned.
func (t *thread) callValue(c *code, i *ins, pp, np raw.Pointer) bool {
	t.checkStop()
	var tg target
	if i.op == opCallFn {
		tg = t.funcTarget(c.types[i.d], *raw.At[raw.Pointer](pp, i.c))
	} else {
		tg, _ = t.methodTarget(c.sites[i.c], raw.Add(pp, int(i.d)), raw.Add(pp, int(i.a)*8), raw.Add(np, int(i.b)*8))
	}
	f := &t.frames[t.top]
	p, n := f.p+int(i.a), f.n+int(i.b)
	if tg.c.native != nil {
		t.native(tg, p, n)
		return false
	}
	f.pc = int(t.pc-c.base) + insSize
	pan := f.pan
	g := t.push(tg, p, n)
	if pan != nil && c.wrapper {
		g.pan, g.flags = pan, flagKeeps
	}
	return true
}

// runDefer runs the deferred call that is next: 0 when there is none, 1 when there is a new frame, 2 when
// one of compiled Go has returned.
func (t *thread) runDefer(c *code) int {
	f := &t.frames[t.top]
	d := f.popDefer()
	if d == nil {
		return 0
	}
	f.pc = int(t.pc - c.base) // look again when it has returned
	p, n := t.end()
	t.room(c, p, n)
	copy(t.ptrs[p:], d.ptrs)
	copy(t.nums[n:], d.nums)
	if d.target.c.native != nil {
		t.native(d.target, p, n)
		return 2
	}
	t.push(d.target, p, n).flags = flagDeferred
	return 1
}

// textHead is a string in memory.
type textHead struct {
	p raw.Pointer
	n uint64
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
