package vm

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"runtime"
	"sync"
	"time"

	"golang.org/x/tools/go/ssa"

	"farm/namespace/vm/raw"
)

// intrinsics are functions of compiled Go that the machine does itself, by their full names: what prints,
// what blocks (so that the end of the task ends it), what runs functions in goroutines, and what is
// generic.
var intrinsics map[string]func(m *Machine, fn *ssa.Function) nativeFunc

func init() {
	intrinsics = map[string]func(m *Machine, fn *ssa.Function) nativeFunc{
		"fmt.Print":              plain(printFn),
		"fmt.Println":            plain(printlnFn),
		"fmt.Printf":             plain(printfFn),
		"os.Exit":                plain(func(_ *thread, _, np raw.Pointer) { panic(&ExitError{int(*raw.At[int64](np, 0))}) }),
		"runtime.Goexit":         plain(func(*thread, raw.Pointer, raw.Pointer) { panic(goexit{}) }),
		"runtime.Gosched":        plain(func(t *thread, _, _ raw.Pointer) { t.checkStop(); runtime.Gosched() }),
		"time.Sleep":             plain(sleep),
		"(*sync.Mutex).Lock":     plain(func(t *thread, pp, _ raw.Pointer) { t.lock(raw.As[sync.Mutex](recvPtr(pp)).TryLock) }),
		"(*sync.RWMutex).Lock":   plain(func(t *thread, pp, _ raw.Pointer) { t.lock(raw.As[sync.RWMutex](recvPtr(pp)).TryLock) }),
		"(*sync.RWMutex).RLock":  plain(func(t *thread, pp, _ raw.Pointer) { t.lock(raw.As[sync.RWMutex](recvPtr(pp)).TryRLock) }),
		"(*sync.rlocker).Lock":   plain(func(t *thread, pp, _ raw.Pointer) { t.lock(raw.As[sync.RWMutex](recvPtr(pp)).TryRLock) }),
		"(*sync.WaitGroup).Wait": plain(func(t *thread, pp, _ raw.Pointer) { t.wait(raw.As[sync.WaitGroup](recvPtr(pp)).Wait) }),
		"(*sync.Cond).Wait":      plain(func(t *thread, pp, _ raw.Pointer) { t.wait(raw.As[sync.Cond](recvPtr(pp)).Wait) }),
		"(*sync.WaitGroup).Go":   plain(waitGroupGo),
		"time.AfterFunc":         plain(afterFunc),
		"maps.clone":             plain(cloneMap),
		"runtime.GC":             plain(collect),
	}
	addCallers()
	addSyncs()
	addSorting()
	intrinsics["sync.OnceValue"], intrinsics["sync.OnceValues"] = onceValue, onceValue
	intrinsics["errors.AsType"] = errorsAsType
	intrinsics["math/rand/v2.N"] = randN
	for name, make := range atomicPointer {
		intrinsics["(*sync/atomic.Pointer[T])."+name] = make
	}
}

// refused are functions that would tell a program what is not so, by their full names.
var refused = map[string]string{
	"runtime.SetFinalizer":          memoryIsOther,
	"runtime.AddCleanup":            memoryIsOther,
	"runtime.MemProfile":            memoryIsOther,
	"runtime.ReadMemStats":          memoryIsOther,
	"runtime/debug.ReadGCStats":     memoryIsOther,
	"testing.AllocsPerRun":          memoryIsOther,
	"testing.Benchmark":             memoryIsOther,
	"runtime.Stack":                 stackIsOther,
	"runtime/debug.Stack":           stackIsOther,
	"runtime/debug.PrintStack":      stackIsOther,
	"runtime/debug.SetPanicOnFault": "there are no faults",
	"testing.Main":                  endsProcess,
	"(*testing.M).Run":              endsProcess,
	"syscall.Exit":                  endsProcess,
	"syscall.Mmap":                  addressSpace,
	"syscall.Mprotect":              addressSpace,
	"syscall.Munmap":                addressSpace,
}

const (
	memoryIsOther = "when memory is allocated and freed is not as in compiled code"
	stackIsOther  = "the stack is that of the machine, not of the program"
	endsProcess   = "it ends the process, which is not the program's"
	addressSpace  = "the memory is the process's, and a fault in it is not the program's"
)

func plain(fn nativeFunc) func(*Machine, *ssa.Function) nativeFunc {
	return func(*Machine, *ssa.Function) nativeFunc { return fn }
}

// recvPtr is the receiver of a method without parameters, a pointer that must not be nil.
func recvPtr(pp raw.Pointer) raw.Pointer {
	p := *raw.At[raw.Pointer](pp, 0)
	if p == nil {
		nilDereference()
	}
	return p
}

func (t *thread) checkStop() {
	if t.run.stop.Load() {
		panic(stopped{})
	}
}

func printed(pp, np raw.Pointer, n int, err error) {
	*raw.At[uint64](np, 0) = uint64(n)
	setError(pp, 0, err)
}

// setError sets two pointer registers to an error.
func setError(pp raw.Pointer, at int32, err error) {
	w := raw.At[[2]raw.Pointer](pp, at*8)
	w[0], w[1] = nil, nil
	if err != nil {
		ty, data := raw.IfaceWords(err)
		w[0], w[1] = raw.Tab(raw.TypeOf(reflect.TypeFor[error]()), ty), data
	}
}

func printFn(t *thread, pp, np raw.Pointer) {
	n, err := fmt.Fprint(t.m.opt.Stdout, sliceAt[any](pp, np, loc{})...)
	printed(pp, np, n, err)
}

func printlnFn(t *thread, pp, np raw.Pointer) {
	n, err := fmt.Fprintln(t.m.opt.Stdout, sliceAt[any](pp, np, loc{})...)
	printed(pp, np, n, err)
}

func printfFn(t *thread, pp, np raw.Pointer) {
	n, err := fmt.Fprintf(t.m.opt.Stdout, str(pp, np, 0, 0), sliceAt[any](pp, np, loc{1, 1})...)
	printed(pp, np, n, err)
}

func sleep(t *thread, _, np raw.Pointer) {
	x := time.NewTimer(time.Duration(*raw.At[int64](np, 0)))
	defer x.Stop()
	select {
	case <-x.C:
	case <-t.run.done:
		panic(stopped{})
	}
}

// lock tries until it has the lock: what waits in compiled code cannot be ended.
func (t *thread) lock(try func() bool) {
	for i := 0; !try(); i++ {
		if i < 20 {
			t.checkStop()
			runtime.Gosched()
			continue
		}
		x := time.NewTimer(min(time.Microsecond<<min(i-20, 10), time.Millisecond))
		select {
		case <-x.C:
		case <-t.run.done:
			x.Stop()
			panic(stopped{})
		}
	}
}

// wait waits in a goroutine of its own, which is left behind when the task ends.
func (t *thread) wait(wait func()) {
	done := make(chan any, 1)
	go func() {
		defer func() { done <- recover() }()
		wait()
	}()
	select {
	case r := <-done:
		if r != nil {
			panic(r)
		}
	case <-t.run.done:
		panic(stopped{})
	}
}

// goFunc is a function value as a func() that ends the task when it panics.
func (t *thread) goFunc(p raw.Pointer) func() {
	fn := *raw.As[func()](raw.PointerTo(&p))
	m, run := t.m, t.run
	run.began()
	return func() {
		defer run.ended()
		defer func() {
			if r := recover(); r != nil {
				(&thread{m: m, run: run}).died(r)
			}
		}()
		fn()
	}
}

// laterFunc is goFunc for what may never be called.
func (t *thread) laterFunc(p raw.Pointer) func() {
	return func() { t.goFunc(p)() }
}

func waitGroupGo(t *thread, pp, _ raw.Pointer) {
	raw.As[sync.WaitGroup](*raw.At[raw.Pointer](pp, 8)).Go(t.goFunc(*raw.At[raw.Pointer](pp, 0)))
}

func afterFunc(t *thread, pp, np raw.Pointer) {
	t.run.races.Store(allRaces())
	x := time.AfterFunc(time.Duration(*raw.At[int64](np, 0)), t.laterFunc(*raw.At[raw.Pointer](pp, 0)))
	*raw.At[raw.Pointer](pp, 0) = raw.PointerTo(x)
}

// atomicPointer are the methods of sync/atomic.Pointer, whose only word with bytes is the pointer.
var atomicPointer = map[string]func(*Machine, *ssa.Function) nativeFunc{
	"Load": plain(func(_ *thread, pp, _ raw.Pointer) {
		*raw.At[raw.Pointer](pp, 0) = raw.AtomicLoad(recvPtr(pp))
	}),
	"Store": plain(func(_ *thread, pp, _ raw.Pointer) {
		raw.AtomicSwap(recvPtr(raw.Add(pp, 8)), *raw.At[raw.Pointer](pp, 0))
	}),
	"Swap": plain(func(_ *thread, pp, _ raw.Pointer) {
		*raw.At[raw.Pointer](pp, 0) = raw.AtomicSwap(recvPtr(raw.Add(pp, 8)), *raw.At[raw.Pointer](pp, 0))
	}),
	"CompareAndSwap": plain(func(_ *thread, pp, np raw.Pointer) {
		setBool(np, 0, raw.AtomicCAS(recvPtr(raw.Add(pp, 16)), *raw.At[raw.Pointer](pp, 0), *raw.At[raw.Pointer](pp, 8)))
	}),
}

// cloneMap is what maps.Clone does with a map in an interface.
func cloneMap(t *thread, pp, _ raw.Pointer) {
	m := reflect.ValueOf(anyOf(pp, 0, false))
	if t.run.races.Load() != nil {
		defer t.mapUse(m.UnsafePointer(), false)()
	}
	n := reflect.MakeMapWithSize(m.Type(), m.Len())
	for it := m.MapRange(); it.Next(); {
		n.SetMapIndex(it.Key(), it.Value())
	}
	setIface(pp, 0, n.Interface())
}

// collect forgets what the registers of calls that have returned hold.
func collect(t *thread, _, _ raw.Pointer) {
	p, _ := t.end()
	clear(t.ptrs[p:])
	runtime.GC()
}

// onceValue is sync.OnceValue and OnceValues.
func onceValue(m *Machine, fn *ssa.Function) nativeFunc {
	t := m.typeOf(fn.Signature.Params().At(0).Type())
	return func(_ *thread, pp, _ raw.Pointer) {
		var out []reflect.Value
		f := *raw.At[raw.Pointer](pp, 0)
		call := sync.OnceFunc(func() { out = raw.Value(t.Type, raw.PointerTo(&f)).Call(nil) })
		*raw.At[raw.Pointer](pp, 0) = raw.Word(reflect.MakeFunc(t.rt, func([]reflect.Value) []reflect.Value {
			call()
			return out
		}))
	}
}

func errorsAsType(m *Machine, fn *ssa.Function) nativeFunc {
	t := m.typeOf(fn.TypeArgs()[0])
	return func(_ *thread, pp, np raw.Pointer) {
		target := reflect.New(t.rt)
		err, _ := anyOf(pp, 0, true).(error)
		ok := errors.As(err, target.Interface())
		t.load(pp, np, target.UnsafePointer())
		setBool(np, t.size.n*8, ok)
	}
}

func randN(m *Machine, fn *ssa.Function) nativeFunc {
	isSigned := signedType(fn.TypeArgs()[0])
	return func(_ *thread, _, np raw.Pointer) {
		n := *raw.At[uint64](np, 0)
		if n == 0 || isSigned && int64(n) < 0 {
			panic("invalid argument to N")
		}
		*raw.At[uint64](np, 0) = rand.Uint64N(n)
	}
}
