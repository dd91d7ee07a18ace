package vm

import (
	"sync"
	"sync/atomic"

	"golang.org/x/tools/go/ssa"

	"farm/namespace/vm/raw"
)

// addSyncs adds what of packages sync and sync/atomic programs call all the time to the intrinsics: without
// package reflect.
func addSyncs() {
	for name, fn := range map[string]nativeFunc{
		"(*sync.Mutex).Unlock":    func(_ *thread, pp, _ raw.Pointer) { raw.As[sync.Mutex](recvPtr(pp)).Unlock() },
		"(*sync.Mutex).TryLock":   func(_ *thread, pp, np raw.Pointer) { setBool(np, 0, raw.As[sync.Mutex](recvPtr(pp)).TryLock()) },
		"(*sync.RWMutex).Unlock":  func(_ *thread, pp, _ raw.Pointer) { raw.As[sync.RWMutex](recvPtr(pp)).Unlock() },
		"(*sync.RWMutex).RUnlock": func(_ *thread, pp, _ raw.Pointer) { raw.As[sync.RWMutex](recvPtr(pp)).RUnlock() },
		"(*sync.WaitGroup).Done":  func(_ *thread, pp, _ raw.Pointer) { raw.As[sync.WaitGroup](recvPtr(pp)).Done() },
		"(*sync.WaitGroup).Add": func(_ *thread, pp, np raw.Pointer) {
			raw.As[sync.WaitGroup](recvPtr(pp)).Add(int(*raw.At[int64](np, 0)))
		},
		"(*sync/atomic.Bool).Load": func(_ *thread, pp, np raw.Pointer) { setBool(np, 0, raw.As[atomic.Bool](recvPtr(pp)).Load()) },
		"(*sync/atomic.Bool).Store": func(_ *thread, pp, np raw.Pointer) {
			raw.As[atomic.Bool](recvPtr(pp)).Store(*raw.At[uint64](np, 0) != 0)
		},
	} {
		intrinsics[name] = plain(fn)
	}
	addAtomic("Int32", atomicInt[atomic.Int32, int32]())
	addAtomic("Int64", atomicInt[atomic.Int64, int64]())
	addAtomic("Uint32", atomicInt[atomic.Uint32, uint32]())
	addAtomic("Uint64", atomicInt[atomic.Uint64, uint64]())
}

// addAtomic adds the methods of an integer type of sync/atomic, and the functions that do the same with the
// address of an ordinary one. A method gets the address after its arguments, a function before them; in
// different banks of registers that is the same.
func addAtomic(typ string, ops map[string]nativeFunc) {
	for op, fn := range ops {
		make := func(*Machine, *ssa.Function) nativeFunc { return fn }
		intrinsics["(*sync/atomic."+typ+")."+op] = make
		intrinsics["sync/atomic."+op+typ] = make
	}
}

// atomicInt are the operations on an integer type of sync/atomic, whose memory is that of the integer.
func atomicInt[T any, N int32 | int64 | uint32 | uint64, P interface {
	*T
	Load() N
	Store(N)
	Add(N) N
	Swap(N) N
	CompareAndSwap(N, N) bool
}]() map[string]nativeFunc {
	at := func(pp raw.Pointer) P { return P(raw.As[T](recvPtr(pp))) }
	arg := func(np raw.Pointer, off int32) N { return N(*raw.At[uint64](np, off)) }
	give := func(np raw.Pointer, n N) { *raw.At[uint64](np, 0) = uint64(n) }
	return map[string]nativeFunc{
		"Load":           func(_ *thread, pp, np raw.Pointer) { give(np, at(pp).Load()) },
		"Store":          func(_ *thread, pp, np raw.Pointer) { at(pp).Store(arg(np, 0)) },
		"Add":            func(_ *thread, pp, np raw.Pointer) { give(np, at(pp).Add(arg(np, 0))) },
		"Swap":           func(_ *thread, pp, np raw.Pointer) { give(np, at(pp).Swap(arg(np, 0))) },
		"CompareAndSwap": func(_ *thread, pp, np raw.Pointer) { setBool(np, 0, at(pp).CompareAndSwap(arg(np, 0), arg(np, 8))) },
	}
}
