package raw

import (
	"reflect"
	"runtime"
	"sync/atomic"
	"unsafe"
)

// Pointer is memory of some type.
type Pointer = unsafe.Pointer

// At is the memory off bytes after p as a T. The memory must be one.
func At[T any](p Pointer, off int32) *T { return (*T)(unsafe.Add(p, off)) }

// Add is the address off bytes after p, in the same object.
func Add(p Pointer, off int) Pointer { return unsafe.Add(p, off) }

// PointerTo is v as a Pointer.
func PointerTo[T any](v *T) Pointer { return Pointer(v) }

// As is p as a *T, which it must have been.
func As[T any](p Pointer) *T { return (*T)(p) }

// String is the string of n bytes at p.
func String(p Pointer, n uint64) string { return unsafe.String((*byte)(p), int(n)) }

// StringData is where the bytes of s are.
func StringData(s string) Pointer { return Pointer(unsafe.StringData(s)) }

// Slice is the n elements at p.
func Slice[T any](p Pointer, n int) []T { return unsafe.Slice((*T)(p), n) }

// SliceData is where the elements of s are.
func SliceData[T any](s []T) Pointer { return Pointer(unsafe.SliceData(s)) }

// Address is p as a number, for the uintptr of a program: nothing keeps the memory.
func Address(p Pointer) uint64 { return uint64(uintptr(p)) }

// Stack is registers: pointers in one memory, numbers in another.
type Stack struct {
	Ptrs []Pointer
	Nums []uint64
}

// Type is the address of a run-time type.
type Type = Pointer

// TypeOf is the run-time type of a reflect.Type.
func TypeOf(t reflect.Type) Type { return words(t)[1] }

// Reflect is the reflect.Type of a run-time type.
func Reflect(t Type) reflect.Type {
	r := reflect.TypeFor[int]()
	wordsOf(&r)[1] = t
	return r
}

func words[T any](v T) *[2]unsafe.Pointer { return wordsOf(&v) }

func wordsOf[T any](v *T) *[2]unsafe.Pointer { return (*[2]unsafe.Pointer)(unsafe.Pointer(v)) }

// New is zero memory of the type.
func New(t Type) Pointer { return unsafeNew(t) }

// NewArray is zero memory for n of the type.
func NewArray(t Type, n int) Pointer { return unsafeNewArray(t, n) }

// Move copies a value of the type.
func Move(t Type, dst, src Pointer) { typedmemmove(t, dst, src) }

// Equal compares two values of a type as == does. The type must be comparable.
func Equal(t Type, a, b Pointer) bool { return (*abiType)(t).Equal(a, b) }

// Comparable says that values of the type can be compared.
func Comparable(t Type) bool { return (*abiType)(t).Equal != nil }

// Direct says that an interface holds a value of the type itself, not its address.
func Direct(t Type) bool { return (*abiType)(t).TFlag&flagDirect != 0 }

// Iface is an interface from its two words: the type word of an empty interface is a run-time type.
func Iface(typ, data Pointer) (v any) {
	*wordsOf(&v) = [2]unsafe.Pointer{typ, data}
	return v
}

// IfaceWords are the two words of an empty interface.
func IfaceWords(v any) (typ, data Pointer) {
	w := wordsOf(&v)
	return w[0], w[1]
}

// TabType is the run-time type that the type word of an interface with methods stands for.
func TabType(tab Pointer) Type {
	if tab == nil {
		return nil
	}
	return (*[2]unsafe.Pointer)(tab)[1]
}

// Tab is the type word for values of type t in the interface type inter, which has methods and which t
// must implement.
func Tab(inter, t Type) Pointer {
	var dst [2]unsafe.Pointer
	var v any
	*wordsOf(&v) = [2]unsafe.Pointer{t, unsafe.Pointer(&dst)}
	ifaceE2I(inter, v, unsafe.Pointer(&dst))
	return dst[0]
}

// MapAccess is where the element of a key is, nil when there is none.
func MapAccess(t Type, m, key Pointer) Pointer { return mapaccess(t, m, key) }

// MapAssign sets the element of a key.
func MapAssign(t Type, m, key, elem Pointer) { mapassign(t, m, key, elem) }

// MapAccess64 is MapAccess for a map whose keys are integers of 64 bits and whose elements have at most
// MapMaxElem bytes.
func MapAccess64(t Type, m Pointer, key uint64) Pointer {
	p, ok := mapaccessFast64(t, m, key)
	if !ok {
		return nil
	}
	return p
}

// MapSlot64 is where the element of a key of such a map is, made when there is none. It is to be set at
// once.
func MapSlot64(t Type, m Pointer, key uint64) Pointer { return mapassignFast64(t, m, key) }

// MapAccessStr is MapAccess for a map whose keys are strings and whose elements have at most MapMaxElem
// bytes.
func MapAccessStr(t Type, m Pointer, key string) Pointer {
	p, ok := mapaccessFastStr(t, m, key)
	if !ok {
		return nil
	}
	return p
}

// MapSlotStr is MapSlot64 for such a map.
func MapSlotStr(t Type, m Pointer, key string) Pointer { return mapassignFastStr(t, m, key) }

// MapMaxElem is the size up to which elements lie in the map itself.
const MapMaxElem = 128

// MapLen is the length of a map; m may be nil.
func MapLen(m Pointer) int { return maplen(m) }

// Grow makes room for num more elements of the type than a slice of n, with room for c, has. n+num must be
// more than c.
func Grow(t Type, p Pointer, n, c, num int) (Pointer, int) {
	h := growslice(t, header{p, n, c}, num)
	if h.cap < n+num {
		panic("raw: growslice has another meaning")
	}
	return h.p, h.cap
}

// Copy copies elements of the type and says how many.
func Copy(t Type, dst Pointer, n int, src Pointer, m int) int {
	return typedslicecopy(t, header{dst, n, n}, header{src, m, m})
}

// Value is the memory at p as an addressable value of the type.
func Value(t Type, p Pointer) reflect.Value { return reflect.NewAt(Reflect(t), p).Elem() }

// ValuePointer is where an addressable value is.
func ValuePointer(v reflect.Value) Pointer { return v.Addr().UnsafePointer() }

// Word is the pointer that a map, channel, function or pointer value is.
func Word(v reflect.Value) Pointer {
	x := reflect.New(v.Type())
	x.Elem().Set(v)
	return *(*unsafe.Pointer)(x.UnsafePointer())
}

// ToPointer is a number as an address, as a program may do with package unsafe. It breaks the first
// invariant and is as safe as the program.
func ToPointer(n uint64) Pointer { return codePointer(uintptr(n)) }

// AssertionError is the error of the runtime for a failed assertion of an interface of type iface that
// holds a value of type concrete, nil for none.
func AssertionError(iface, concrete, asserted Type, missing string) error {
	e := &runtime.TypeAssertionError{}
	*(*assertionError)(unsafe.Pointer(e)) = assertionError{iface, concrete, asserted, missing}
	return e
}

// assertionError mirrors runtime.TypeAssertionError.
type assertionError struct {
	iface, concrete, asserted unsafe.Pointer
	missing                   string
}

// The kinds of BoundsError, as the runtime numbers them.
const (
	BoundsIndex      = iota // s[x], y is the length
	BoundsSliceAlen         // s[:x], y is the length
	BoundsSliceAcap         // s[:x], y is the capacity
	BoundsSliceB            // s[x:y]
	BoundsSlice3Alen        // s[::x], y is the length
	BoundsSlice3Acap        // s[::x], y is the capacity
	BoundsSlice3B           // s[:x:y]
	BoundsSlice3C           // s[x:y:]
	BoundsConvert           // a slice of length y to an array of length x
)

// BoundsError is the error of the runtime for a bound x, signed or not, that does not fit y.
func BoundsError(x uint64, signed bool, y int, kind uint8) error {
	var err error
	func() {
		defer func() { err, _ = recover().(error) }()
		_ = make([]int, zero)[zero]
	}()
	v := reflect.New(reflect.TypeOf(err))
	*(*boundsError)(v.UnsafePointer()) = boundsError{int64(x), y, signed, kind}
	return v.Elem().Interface().(error)
}

var zero int

// boundsError mirrors that of the runtime.
type boundsError struct {
	x      int64
	y      int
	signed bool
	code   uint8
}

// AtomicLoad reads the pointer at p.
func AtomicLoad(p Pointer) Pointer { return atomic.LoadPointer((*unsafe.Pointer)(p)) }

// AtomicSwap sets the pointer at p and gives the old one.
func AtomicSwap(p, v Pointer) Pointer { return atomic.SwapPointer((*unsafe.Pointer)(p), v) }

// AtomicCAS sets the pointer at p if it is old.
func AtomicCAS(p, old, v Pointer) bool {
	return atomic.CompareAndSwapPointer((*unsafe.Pointer)(p), old, v)
}
