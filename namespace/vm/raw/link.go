package raw

import "unsafe"

// Functions of the runtime that package reflect uses, and that the linker lets others use. All take the
// address of a run-time type; the memory they get is of that type.

//go:linkname addReflectOff reflect.addReflectOff
func addReflectOff(ptr unsafe.Pointer) int32

//go:linkname unsafeNew reflect.unsafe_New
func unsafeNew(t unsafe.Pointer) unsafe.Pointer

//go:linkname unsafeNewArray reflect.unsafe_NewArray
func unsafeNewArray(t unsafe.Pointer, n int) unsafe.Pointer

//go:linkname typedmemmove reflect.typedmemmove
//go:noescape
func typedmemmove(t, dst, src unsafe.Pointer)

//go:linkname typedslicecopy reflect.typedslicecopy
//go:noescape
func typedslicecopy(t unsafe.Pointer, dst, src header) int

//go:linkname mapaccess reflect.mapaccess
//go:noescape
func mapaccess(t, m, key unsafe.Pointer) unsafe.Pointer

//go:linkname mapassign reflect.mapassign0
//go:noescape
func mapassign(t, m, key, elem unsafe.Pointer)

//go:linkname maplen reflect.maplen
//go:noescape
func maplen(m unsafe.Pointer) int

// Those that compiled code uses for maps with keys of 64 bits that are no pointers, and of strings.

//go:linkname mapaccessFast64 runtime.mapaccess2_fast64
//go:noescape
func mapaccessFast64(t, m unsafe.Pointer, key uint64) (unsafe.Pointer, bool)

//go:linkname mapassignFast64 runtime.mapassign_fast64
func mapassignFast64(t, m unsafe.Pointer, key uint64) unsafe.Pointer

//go:linkname mapaccessFastStr runtime.mapaccess2_faststr
//go:noescape
func mapaccessFastStr(t, m unsafe.Pointer, key string) (unsafe.Pointer, bool)

//go:linkname mapassignFastStr runtime.mapassign_faststr
func mapassignFastStr(t, m unsafe.Pointer, key string) unsafe.Pointer

//go:linkname growslice reflect.growslice
func growslice(t unsafe.Pointer, old header, num int) header

//go:linkname ifaceE2I reflect.ifaceE2I
//go:noescape
func ifaceE2I(inter unsafe.Pointer, e any, dst unsafe.Pointer)

type header struct {
	p        unsafe.Pointer
	len, cap int
}
