package vm

import (
	"go/types"
	"reflect"
	"runtime"
	"strings"

	"golang.org/x/tools/go/ssa"

	"farm/namespace/vm/raw"
)

// nativeOf binds a function without a body to compiled Go.
func (m *Machine) nativeOf(c *code) nativeFunc {
	fn := c.fn
	obj, _ := fn.Object().(*types.Func)
	if obj == nil || obj.Pkg() == nil {
		if obj != nil && obj.Name() == "Error" {
			return errorMethod
		}
		if fn.Name() == "init" {
			return func(*thread, raw.Pointer, raw.Pointer) {}
		}
		panic(&typeError{msg: "there is no code for " + fn.String()})
	}
	name := obj.FullName()
	if o := fn.Origin(); o != nil {
		name = o.Object().(*types.Func).FullName()
	}
	if why := refused[name]; why != "" {
		panic(&typeError{msg: name + " is not for programs of the machine: " + why, refused: true})
	}
	if make := intrinsics[name]; make != nil {
		return make(m, fn)
	}
	v := m.nativeValue(fn)
	if !v.IsValid() {
		panic(&typeError{msg: "there is no function or method " + name, refused: fn.Signature.Recv() == nil})
	}
	if r := fn.Signature.Recv(); r != nil {
		return m.reflectCall(v, fn.Signature, m.typeOf(r.Type()).shape)
	}
	return m.reflectCall(v, fn.Signature, nil)
}

// nativeValue is the function of compiled Go, or the method as one with its receiver first, that a function
// without a body is. It is not valid when there is none, or the machine does it itself.
func (m *Machine) nativeValue(fn *ssa.Function) reflect.Value {
	obj, _ := fn.Object().(*types.Func)
	if obj == nil || obj.Pkg() == nil || fn.Origin() != nil || refused[obj.FullName()] != "" || intrinsics[obj.FullName()] != nil {
		return reflect.Value{}
	}
	if r := fn.Signature.Recv(); r != nil {
		x, _ := m.typeOf(r.Type()).rt.MethodByName(obj.Name())
		return x.Func
	}
	return m.syms.Func(obj.Pkg().Path(), obj.Name())
}

// errorMethod is the method Error of the interface error, as a function.
func errorMethod(_ *thread, pp, np raw.Pointer) {
	setString(pp, np, loc{}, anyOf(pp, 0, true).(error).Error())
}

// nativeMethod is a method of a type of compiled Go.
func (m *Machine) nativeMethod(rt reflect.Type, name string, sig *types.Signature, recv *shape) *code {
	x, ok := rt.MethodByName(name)
	if !ok {
		panic(&typeError{msg: "there is no method " + name + " of " + rt.String()})
	}
	c := &code{m: m, native: m.ownMethod(rt, name)}
	if c.native == nil {
		c.native = m.reflectCall(x.Func, sig, recv)
	}
	c.ready.Store(true)
	return c
}

// ownMethod is a method of a pointer type of compiled Go that the machine does itself, nil when it does not.
func (m *Machine) ownMethod(rt reflect.Type, name string) nativeFunc {
	if rt.Kind() != reflect.Pointer {
		return nil
	}
	if make := intrinsics["(*"+rt.Elem().PkgPath()+"."+rt.Elem().Name()+")."+name]; make != nil {
		return make(m, nil)
	}
	return nil
}

// reflectCall calls a function of compiled Go through package reflect. recv is the shape of its receiver,
// which comes after the arguments; nil for none.
func (m *Machine) reflectCall(fn reflect.Value, sig *types.Signature, recv *shape) nativeFunc {
	params, results := m.shapes(sig.Params()), m.shapes(sig.Results())
	ft := fn.Type()
	first := 0
	if recv != nil {
		first = 1
	}
	call := fn.Call
	if ft.IsVariadic() {
		call = fn.CallSlice
	}
	if fn.CanInterface() {
		if direct := directFunc(fn.Interface()); direct != nil {
			return direct(inPlace(params, recv), loc{})
		}
	}
	return func(_ *thread, pp, np raw.Pointer) {
		in := make([]reflect.Value, first+len(params))
		at := loc{}
		for i, s := range params {
			in[first+i] = memory(ft.In(first+i), s, pp, np, at)
			at = at.plus(s.size)
		}
		if recv != nil {
			in[0] = memory(ft.In(0), recv, pp, np, at)
		}
		out := call(in)
		at = loc{}
		for i, s := range results {
			fromValue(s, out[i], raw.Add(pp, int(at.p)*8), raw.Add(np, int(at.n)*8))
			at = at.plus(s.size)
		}
	}
}

func (m *Machine) shapes(t *types.Tuple) []*shape {
	var out []*shape
	for v := range t.Variables() {
		out = append(out, m.typeOf(v.Type()).shape)
	}
	return out
}

// memory is a value in registers as one of type rt, which has the same layout.
func memory(rt reflect.Type, s *shape, pp, np raw.Pointer, at loc) reflect.Value {
	t := raw.TypeOf(rt)
	if s.boxed {
		return raw.Value(t, *raw.At[raw.Pointer](pp, at.p*8))
	}
	p := raw.New(t)
	s.store(p, raw.Add(pp, int(at.p)*8), raw.Add(np, int(at.n)*8))
	return raw.Value(t, p)
}

// fromValue puts a value of compiled Go into registers.
func fromValue(s *shape, v reflect.Value, pp, np raw.Pointer) {
	t := raw.TypeOf(v.Type())
	p := raw.New(t)
	raw.Value(t, p).Set(v)
	s.load(pp, np, p)
}

// closureBody is what a function value of the machine runs.
type closureBody struct {
	c   *code
	out []reflect.Type
}

// CallFromGo runs the function for compiled code.
func (b *closureBody) CallFromGo(f *raw.Func, in []reflect.Value) []reflect.Value {
	return b.c.m.callBack(target{b.c.get(), f}, b.c.fn.Signature, in, nil, nil, b.out)
}

// methodBody is a method of a type of the machine, for compiled code.
type methodBody struct {
	m        *Machine
	sel      *types.Selection
	recv     types.Type
	indirect bool // it gets the address of the receiver
	out      []reflect.Type
}

// CallFromGo runs the method for compiled code.
func (b *methodBody) CallFromGo(_ *raw.Func, in []reflect.Value) []reflect.Value {
	c := b.m.codeOf(b.m.prog.MethodValue(b.sel)).get()
	s := b.m.typeOf(b.recv).shape
	recv := address(in[0])
	if b.indirect {
		recv = in[0].UnsafePointer()
	}
	return b.m.callBack(target{c: c}, b.sel.Obj().(*types.Func).Signature(), in[1:], s, recv, b.out)
}

// address is where a copy of a value is.
func address(v reflect.Value) raw.Pointer {
	t := raw.TypeOf(v.Type())
	p := raw.New(t)
	raw.Value(t, p).Set(v)
	return p
}

// callBack runs a function of the machine for compiled code, in a thread of its own.
func (m *Machine) callBack(tg target, sig *types.Signature, in []reflect.Value, recv *shape, recvAt raw.Pointer, out []reflect.Type) (res []reflect.Value) {
	r := m.run.Load()
	if r.stop.Load() {
		if foreign() {
			return zeros(out)
		}
		panic(stopped{})
	}
	defer func() {
		switch x := recover().(type) {
		case nil:
		case adrift:
			res = zeros(out)
		default:
			panic(x)
		}
	}()
	if m.callbacks.Add(1) > int64(m.lim.Callbacks) {
		m.callbacks.Add(-1)
		r.fail(&LimitError{What: "calls from compiled code within each other", Limit: int64(m.lim.Callbacks)})
		panic(stopped{})
	}
	defer m.callbacks.Add(-1)
	t := m.threads.Get().(*thread)
	t.back, t.run, t.given = true, r, m.adapters.take()
	at := loc{}
	put := func(s *shape, mem raw.Pointer) {
		pp, np := t.regs(int(at.p), int(at.n))
		s.load(pp, np, mem)
		at = at.plus(s.size)
	}
	for i, s := range m.shapes(sig.Params()) {
		put(s, address(in[i]))
	}
	if recv != nil {
		put(recv, recvAt)
	}
	t.call(tg)
	at = loc{}
	for i, s := range m.shapes(sig.Results()) {
		pp, np := t.regs(int(at.p), int(at.n))
		res = append(res, memory(out[i], s, pp, np, loc{}))
		at = at.plus(s.size)
	}
	t.done()
	return res
}

// adrift is what a panic carries to callBack that has nobody above it: the run has failed with it already.
type adrift struct{}

// zeros are the results of a function that did not return.
func zeros(out []reflect.Type) []reflect.Value {
	res := make([]reflect.Value, len(out))
	for i, t := range out {
		res[i] = reflect.Zero(t)
	}
	return res
}

// foreign says that compiled code has started the goroutine, as a parallel algorithm does for a function that
// it is given. A panic that leaves it would end the process. It looks at the stack, so it is for calls that
// have failed.
func foreign() bool {
	pcs := make([]uintptr, 256)
	n := runtime.Callers(2, pcs)
	for n == len(pcs) {
		pcs = make([]uintptr, 4*len(pcs))
		n = runtime.Callers(2, pcs)
	}
	outermost := ""
	frames := runtime.CallersFrames(pcs[:n])
	for more := n > 0; more; {
		var f runtime.Frame
		if f, more = frames.Next(); strings.HasPrefix(f.Function, "farm/namespace/vm.") {
			outermost = f.Function
		}
	}
	return strings.HasSuffix(outermost, ".CallFromGo")
}

// funcValue is a function as a value.
func (m *Machine) funcValue(fn *ssa.Function) raw.Pointer {
	c := m.codeOf(fn)
	if p := c.value.Load(); p != nil {
		return p.Value()
	}
	if obj, ok := fn.Object().(*types.Func); ok && fn.Blocks == nil && fn.Signature.Recv() == nil && obj.Pkg() != nil && intrinsics[obj.FullName()] == nil {
		if v := m.syms.Func(obj.Pkg().Path(), obj.Name()); v.IsValid() {
			word := raw.Word(v)
			m.natives.Store(word, obj.FullName())
			return word
		}
	}
	c.value.CompareAndSwap(nil, m.maker(fn.Signature).Make(m.body(fn), nil, nil))
	return c.value.Load().Value()
}

func (m *Machine) body(fn *ssa.Function) *closureBody {
	b := &closureBody{c: m.codeOf(fn)}
	for v := range fn.Signature.Results().Variables() {
		b.out = append(b.out, m.reflectOf(v.Type()))
	}
	return b
}

// maker makes function values of a signature.
func (m *Machine) maker(sig *types.Signature) *raw.FuncMaker {
	t := m.typeOf(withoutRecv(sig))
	if x := t.maker.Load(); x != nil {
		return x
	}
	t.maker.CompareAndSwap(nil, raw.NewFuncMaker(t.rt))
	return t.maker.Load()
}

func (f *function) makeClosure(x *ssa.MakeClosure) {
	fn := x.Fn.(*ssa.Function)
	dst := f.reg(x)
	var from []loc
	var size []loc
	total := loc{}
	for _, b := range x.Bindings {
		s := f.shape(b).size
		from, size = append(from, f.use(b)), append(size, s)
		total = total.plus(s)
	}
	mk, body := f.m.maker(fn.Signature), f.m.body(fn)
	f.emitFn(func(_ *thread, pp, np raw.Pointer) {
		var ptrs []raw.Pointer
		var nums []uint64
		if total.p > 0 {
			ptrs = make([]raw.Pointer, 0, total.p)
		}
		if total.n > 0 {
			nums = make([]uint64, 0, total.n)
		}
		for i, l := range from {
			if s := size[i]; s.p > 0 {
				ptrs = append(ptrs, raw.Slice[raw.Pointer](raw.Add(pp, int(l.p)*8), int(s.p))...)
			}
			if s := size[i]; s.n > 0 {
				nums = append(nums, raw.Slice[uint64](raw.Add(np, int(l.n)*8), int(s.n))...)
			}
		}
		*raw.At[raw.Pointer](pp, dst.p*8) = mk.Make(body, ptrs, nums).Value()
	})
}
