package vm

import (
	"go/token"
	"sync"
	"sync/atomic"

	"golang.org/x/tools/go/ssa"

	"farm/namespace/vm/raw"
)

// ins is an instruction. Registers are byte offsets from the first of the frame, in the bank that the
// operation says; a is written unless the operation says otherwise.
type ins struct {
	op            op
	x             uint16
	a, b, c, d, e int32
}

type op uint16

// The operations. P is a pointer register, N a number register, K an immediate number.
const (
	opMoveP op = iota + 1 // P a = P b
	opMoveN               // N a = N b
	opConst               // N a = K b
	opNumK                // N a = nums[b]
	opPtrK                // P a = ptrs[b]
	opNil                 // P a = nil

	// loads from P b + K c
	opLoadI8
	opLoadI16
	opLoadI32
	opLoad64
	opLoadU8
	opLoadU16
	opLoadU32
	opLoadPtr
	opLoadStr   // P a, N d
	opLoadSlice // P a, N d, N d+8
	opLoadIface // P a, P a+8
	opLoadBox   // P a = a copy of the memory of type types[d]

	// stores to P a + K c
	opStore8  // N b
	opStore16 // N b
	opStore32 // N b
	opStore64 // N b
	opStorePtr
	opStoreStr   // P b, N d
	opStoreSlice // P b, N d, N d+8
	opStoreIface // P b, P b+8
	opStoreBox   // *P b, of type types[d]

	opNew   // P a = new(types[b])
	opField // P a = P b + K c, b not nil

	// elements of size x: P a = P b + x*N c, where N c < the length
	opIndex    // length N d
	opIndexArr // length K d, b not nil
	// the same, loaded or stored
	opIndexLoad64  // N a = element of P b
	opIndexLoadI32 // N a
	opIndexLoadU8  // N a
	opIndexLoadPtr // P a
	opIndexStore64 // element of P b = N a
	opIndexStore8  // element of P b = N a
	opIndexStr     // N a = byte N c of the string P b, N d
	opIndex2Load64 // N a = element N e of the slice at element N c of P b, N d
	// the slice P a, N e, N e+8 = append(P b, N c, N c+8; value d), of elements of type types[x]
	opAppend8
	opAppend64
	opAppendPtr
	opIndexRow // P a, N e, N e+8 = the slice at element N c of P b, N d

	// integers
	opAdd
	opSub
	opMul
	opAnd
	opOr
	opXor
	opAndNot
	opAddK // N a = N b + K c
	opMulK
	opAndK
	opShlK
	opShrK  // signed
	opShrUK // unsigned
	opDivK  // signed, K not 0 or -1
	opRemK
	opDiv
	opDivU
	opRem
	opRemU
	opShl
	opShr
	opShrU
	opNeg
	opNot   // complement
	opNotB  // of a bool
	opExtI8 // N a = N b cut to the width
	opExtI16
	opExtI32
	opExtU8
	opExtU16
	opExtU32
	opCheckShift // panics when N a is negative

	// floats
	opAddF
	opSubF
	opMulF
	opDivF
	opNegF
	opAddF32
	opSubF32
	opMulF32
	opDivF32
	opNegF32
	opIntToF
	opUintToF
	opFToInt
	opFToUint
	opFToF32
	opF32ToF
	// several, each rounded
	opMulAddF       // N a = N b + N c * N d
	opMulSubF       // N a = N b * N c - N d
	opSubMulF       // N a = N b - N c * N d
	opMul3F         // N a = N b * N c * N d
	opMul3AddF      // N a = N b + N c * N d * N e
	opMulMulAddF    // N a = N b * N c + N d * N e
	opMulMulSubF    // N a = N b * N c - N d * N e
	opMulMulSubAddF // N a = N b * N c - N d * N e + N x*8
	// N a = N a of the next instruction + the product of two elements: this instruction says where the first
	// one is, as opIndexLoad64 or opIndex2Load64 does, the next one where the second one is
	opMulAdd11F
	opMulAdd12F
	opMulAdd21F
	opMulAdd22F

	// comparisons: N a = N b ? N c
	opEq
	opNe
	opLt
	opLe
	opLtU
	opLeU
	opEqF
	opLtF
	opLeF
	opEqF32
	opLtF32
	opLeF32
	opEqP
	opIsNil  // N a = P b == nil
	opNotNil // N a = P b != nil
	opEqStr  // N a = (P b, N c) == (P d, N e)
	opLtStr
	opLeStr

	// jumps to a
	opJump
	opLoop // backwards: looks whether the task ends
	opIf   // N b != 0
	opIfNot
	opIfEq // N b ? N c
	opIfNe
	opIfLt
	opIfLe
	opIfLtU
	opIfLeU
	opIfEqK // N b ? K c
	opIfNeK
	opIfLtK
	opIfLeK
	opIfGtK
	opIfGeK
	opIfLtF
	opIfLeF
	opIfNotLtF
	opIfNotLeF
	opIfNormLe // N b * N c + N d * N e <= N x*8
	opIfNormNotLe
	opIfNormLt
	opIfNormNotLt
	opIfNil
	opIfNotNil
	// after an addition: N b = N e + K c, N b = N e + N c
	opAddKIfLt  // N b < N d
	opAddKIfLe  // N b <= N d
	opAddIfLt   // N b < N d
	opAddIfLe   // N b <= N d
	opAddKIfLtK // N b < K d
	opAddKIfLeK
	opAddKIfGtK
	opAddKIfGeK

	// calls: arguments and results are at P a, N b
	opCall    // codes[c]
	opCallFn  // of the function value P c
	opInvoke  // sites[c], of the interface at P d
	opReturn  // results are in place
	opDefers  // run what is deferred
	opFn      // fns[a]
	opString  // P a, N e = P b, N c + P d, N x*8: concatenation
	opAssertT // N a = the type of the interface P b is types[d]; x: its type word is a table
	opTypeOf  // P a = the type of the interface with the table P b
	opLenMap  // N a = len of map P b
)

// code is a compiled function, or one of compiled Go.
type code struct {
	m     *Machine
	fn    *ssa.Function
	name  string
	once  sync.Once
	ready atomic.Bool

	native  nativeFunc
	ins     []ins
	pos     []token.Pos
	start   raw.Pointer // the first instruction
	base    uint64      // its address
	frame   loc         // registers of the frame, after which those of a callee begin
	needP   int         // registers that must be there for a call
	needN   int
	args    loc // registers of the parameters without the receiver of a method
	recv    *shape
	params  loc // of all parameters
	results loc
	recover int  // where to go on after a recovered panic, or -1
	wrapper bool // made by the compiler to call another function
	adapter bool // of compiled Go, and calls another function that may be the machine's

	nums  []uint64
	ptrs  []raw.Pointer
	types []*typ
	codes []*code
	sites []*site
	fns   []func(t *thread, pp, np raw.Pointer)
	value atomic.Pointer[raw.Func] // the function as a value
}

// nativeFunc is a function of compiled Go. Its arguments, receiver last, and then its results are at pp
// and np.
type nativeFunc func(t *thread, pp, np raw.Pointer)

// get compiles the function if that has not been done.
func (c *code) get() *code {
	if !c.ready.Load() {
		c.prepare()
	}
	return c
}

func (c *code) prepare() {
	c.once.Do(func() {
		if c.fn.Blocks == nil {
			c.native = c.m.nativeOf(c)
		} else {
			compile(c)
		}
		c.ready.Store(true)
	})
	if !c.ready.Load() {
		panic(&typeError{msg: "function " + c.name + " cannot be run"})
	}
}
