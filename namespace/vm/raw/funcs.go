package raw

import (
	"reflect"
	"runtime"
	"unsafe"
)

// Caller runs function values for Go code that calls them.
type Caller interface {
	CallFromGo(f *Func, in []reflect.Value) []reflect.Value
}

// Func is a function value of the machine, and at the same time one of Go: its head is that of the
// values of reflect.MakeFunc.
type Func struct {
	head makeFuncHead
	back goFunc

	Body Caller    // what it runs
	Ptrs []Pointer // what it has captured
	Nums []uint64
}

// makeFuncHead mirrors the values of reflect.MakeFunc.
type makeFuncHead struct {
	code   uintptr
	stack  unsafe.Pointer
	argLen uintptr
	regs   [2]uint8
	typ    unsafe.Pointer
	fn     *goFunc
}

// goFunc mirrors a Go closure that has captured a Func.
type goFunc struct {
	code uintptr
	self *Func
}

// makeFuncCode is the code of the values of reflect.MakeFunc, backCode that of the closures of backOf. The
// runtime insists that the former begins what it calls.
var makeFuncCode, backCode = codes()

func codes() (makeFunc, back uintptr) {
	fn := reflect.MakeFunc(reflect.TypeFor[func()](), func([]reflect.Value) []reflect.Value { return nil })
	f := backOf(&Func{})
	return (*makeFuncHead)(Word(fn)).code, (*(**goFunc)(unsafe.Pointer(&f))).code
}

func backOf(f *Func) func([]reflect.Value) []reflect.Value {
	return func(in []reflect.Value) []reflect.Value { return f.Body.CallFromGo(f, in) }
}

// FuncMaker makes function values of one type.
type FuncMaker struct{ head makeFuncHead }

// NewFuncMaker makes a maker of function values of type t.
func NewFuncMaker(t reflect.Type) *FuncMaker {
	fn := reflect.MakeFunc(t, func([]reflect.Value) []reflect.Value { return nil })
	return &FuncMaker{head: *(*makeFuncHead)(Word(fn))}
}

// Make makes a function value.
func (m *FuncMaker) Make(body Caller, ptrs []Pointer, nums []uint64) *Func {
	f := &Func{head: m.head, Body: body, Ptrs: ptrs, Nums: nums}
	f.back = goFunc{backCode, f}
	f.head.fn = &f.back
	return f
}

// Value is the function value as a word of memory.
func (f *Func) Value() Pointer { return unsafe.Pointer(f) }

// FuncOf is the machine's function that a function value is, nil when it is another's.
func FuncOf(p Pointer) *Func {
	if *(*uintptr)(p) != makeFuncCode {
		return nil
	}
	if back := (*makeFuncHead)(p).fn; back.code == backCode {
		return back.self
	}
	return nil
}

// methodValueCode is the code of the method values that package reflect makes.
var methodValueCode = *(*uintptr)(Word(reflect.ValueOf(reflect.ValueOf(method(0)).MethodByName("Call").Interface())))

type method int

// Call is there to have a method.
func (method) Call() {}

// Adapter says that a function value does nothing but call a function that it was made of: by package
// reflect, or for a method of a type made here. No defer statement sees it as a call of its own.
func Adapter(p Pointer) bool {
	pc := *(*uintptr)(p)
	return pc == makeFuncCode || pc == methodValueCode || pc-firstEntry() < entrySize*maxSlots
}

// Goroutine is the number of the goroutine that calls it. It takes a microsecond.
func Goroutine() (n uint64) {
	var b [64]byte
	for _, c := range b[len("goroutine "):runtime.Stack(b[:], false)] {
		if c < '0' || c > '9' {
			break
		}
		n = 10*n + uint64(c-'0')
	}
	return n
}
