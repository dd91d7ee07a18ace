package vm

import (
	"go/types"
	"reflect"
	"slices"
	"sync"
	"sync/atomic"

	"golang.org/x/tools/go/ssa"

	"farm/namespace/vm/raw"
)

// callMode is what is done with a call.
type callMode int

const (
	callPlain callMode = iota
	callDefer
	callGo
)

// site is a call of a method of an interface.
type site struct {
	t    *typ // the interface
	name string
	sig  *types.Signature
	args loc // registers of the arguments, after which comes the receiver
	// what it has called so far: the first few, and all others by type word
	known atomic.Pointer[[]siteTarget]
	more  sync.Map
}

// siteTarget is what a site calls for a type word.
type siteTarget struct {
	word   raw.Pointer
	c      *code
	shape  *shape // of the receiver
	direct bool   // the interface holds the receiver itself
	recv   recvKind
}

// recvKind is how the receiver gets into its registers.
type recvKind uint8

const (
	recvOther   recvKind = iota // or the method is one of compiled Go
	recvPointer                 // it is the data word of the interface
	recvNumber                  // 64 bits of memory
	recvNothing                 // it has no registers
)

// maxKnown is how many types a site compares with, one after the other.
const maxKnown = 8

// find gives what the site calls for a type word if it has done so before; nil otherwise, or when many
// others came before.
func (s *site) find(word raw.Pointer) *siteTarget {
	if known := s.known.Load(); known != nil {
		for i := range *known {
			if x := &(*known)[i]; x.word == word {
				return x
			}
		}
	}
	return nil
}

// learn remembers what the site calls.
func (s *site) learn(x *siteTarget) {
	old := s.known.Load()
	var list []siteTarget
	if old != nil {
		list = *old
	}
	if len(list) == maxKnown {
		s.more.Store(x.word, x)
		return
	}
	list = append(slices.Clip(list), *x)
	s.known.CompareAndSwap(old, &list) // otherwise the next time
}

func (f *function) call(x *ssa.CallCommon, dst loc, mode callMode, stack ssa.Value) {
	if b, ok := x.Value.(*ssa.Builtin); ok {
		f.builtinCall(b, x, dst, mode, stack)
		return
	}
	if mode == callPlain && f.directCall(x, dst) {
		return
	}
	args := x.Args
	out := f.out()
	fn, static := x.Value.(*ssa.Function)
	var recv ssa.Value
	if static && fn.Signature.Recv() != nil {
		recv, args = args[0], args[1:]
	}
	var tgt, iface loc
	if !static {
		tgt = f.use(x.Value)
		iface = tgt
	}
	at := loc{}
	for _, a := range args {
		f.into(out.plus(at), a)
		at = at.plus(f.shape(a).size)
	}
	argSize := at
	if recv != nil {
		f.into(out.plus(at), recv)
		at = at.plus(f.shape(recv).size)
	}
	results := f.sizeOf(x.Signature().Results())
	if max(at.p, at.n, results.p, results.n) > argRoom-maxFlat {
		f.fail("more than %d words of arguments or results", argRoom-maxFlat)
	}
	i := ins{a: out.p, b: out.n}
	switch {
	case static:
		c := f.m.codeOf(fn)
		i.op, i.c = opCall, int32(len(f.c.codes))
		if mode != callPlain {
			f.later(mode, stack, out, at, func(*thread, raw.Pointer, raw.Pointer) (target, loc) { return target{c: c}, loc{} })
			return
		}
		if fn.Blocks == nil {
			f.nativeCall(c, out)
			break
		}
		f.c.codes = append(f.c.codes, c)
		f.emit(i)
	case x.IsInvoke():
		s := &site{t: f.m.typeOf(x.Value.Type()), name: x.Method.Name(), sig: x.Method.Signature(), args: argSize}
		if mode != callPlain {
			f.later(mode, stack, out, at, func(t *thread, pp, np raw.Pointer) (target, loc) {
				tg, recv := t.methodTarget(s, raw.Add(pp, int(iface.p)*8), raw.Add(pp, int(out.p)*8), raw.Add(np, int(out.n)*8))
				return tg, recv.size
			})
			return
		}
		i.op, i.c, i.d, i.e = opInvoke, int32(len(f.c.sites)), iface.p*8, (out.p+argSize.p)*8
		f.c.sites = append(f.c.sites, s)
		f.emit(i)
	default:
		ft := f.m.typeOf(x.Value.Type())
		if mode != callPlain {
			f.later(mode, stack, out, at, func(t *thread, pp, _ raw.Pointer) (target, loc) {
				p := *raw.At[raw.Pointer](pp, tgt.p*8)
				if p == nil && mode == callDefer {
					return target{c: nilFunction}, loc{} // it panics when it is called
				}
				return t.funcTarget(ft, p), loc{}
			})
			return
		}
		i.op, i.c, i.d = opCallFn, tgt.p*8, f.typeIndex(ft)
		f.emit(i)
	}
	f.move(dst, out, results)
}

// nilFunction is what a deferred nil function is.
var nilFunction = func() *code {
	c := &code{native: func(*thread, raw.Pointer, raw.Pointer) { nilDereference() }}
	c.once.Do(func() {})
	c.ready.Store(true)
	return c
}()

// nativeCall emits the call of a function of compiled Go.
func (f *function) nativeCall(c *code, out loc) {
	p, n := int(out.p)*8, int(out.n)*8
	f.emitFn(func(t *thread, pp, np raw.Pointer) {
		c.get().native(t, raw.Add(pp, p), raw.Add(np, n))
		t.checkStop() // what it has called back may have ended the run
	})
}

// directCall emits the call of a function of compiled Go that takes its arguments from where they are, and
// says whether there is such a way to call it.
func (f *function) directCall(x *ssa.CallCommon, dst loc) bool {
	fn, ok := x.Value.(*ssa.Function)
	if !ok || fn.Blocks != nil {
		return false
	}
	v := f.m.nativeValue(fn)
	if !v.IsValid() || !v.CanInterface() {
		return false
	}
	direct := directFunc(v.Interface())
	if direct == nil {
		return false
	}
	var args []loc
	for _, a := range x.Args {
		args = append(args, f.use(a))
	}
	f.emitFn(direct(args, dst))
	return true
}

// later emits a deferred call or a new goroutine. find gives what is called and the registers of its
// receiver, which it has put after the arguments.
func (f *function) later(mode callMode, stack ssa.Value, out, args loc, find func(t *thread, pp, np raw.Pointer) (target, loc)) {
	var list loc
	if stack != nil {
		list = f.use(stack)
	}
	f.emitFn(func(t *thread, pp, np raw.Pointer) {
		tg, recv := find(t, pp, np)
		size := args.plus(recv)
		d := &deferred{target: tg}
		d.target.c.get()
		if size.p > 0 {
			d.ptrs = append(d.ptrs, raw.Slice[raw.Pointer](raw.Add(pp, int(out.p)*8), int(size.p))...)
		}
		if size.n > 0 {
			d.nums = append(d.nums, raw.Slice[uint64](raw.Add(np, int(out.n)*8), int(size.n))...)
		}
		if mode == callGo {
			t.m.start(t.run, d)
			return
		}
		l := t.frames[t.top].list()
		if stack != nil {
			l = raw.As[deferList](*raw.At[raw.Pointer](pp, list.p*8))
		}
		d.next, l.top = l.top, d
	})
}

// start runs a call in a goroutine of its own.
func (m *Machine) start(r *run, d *deferred) {
	r.began()
	go func() {
		defer r.ended()
		t := newThread(m, r)
		defer func() {
			if r := recover(); r != nil {
				t.died(r)
			}
		}()
		copy(t.ptrs, d.ptrs)
		copy(t.nums, d.nums)
		t.call(d.target)
	}()
}

// died is the end of a goroutine by a panic.
func (t *thread) died(r any) {
	switch r.(type) {
	case stopped, goexit:
		return
	}
	t.run.fail(t.run.errorOf(r))
}

// funcTarget is what a function value calls.
func (t *thread) funcTarget(ft *typ, p raw.Pointer) target {
	if p == nil {
		nilDereference()
	}
	if fn := raw.FuncOf(p); fn != nil {
		if b, ok := fn.Body.(*closureBody); ok {
			return target{b.c.get(), fn}
		}
	}
	sig := ft.t.Underlying().(*types.Signature)
	c := &code{m: t.m, native: t.m.reflectCall(raw.Value(ft.Type, raw.PointerTo(&p)), sig, nil), adapter: raw.Adapter(p)}
	c.ready.Store(true)
	return target{c: c}
}

// methodTarget finds the method of the interface at w and puts the receiver, whose shape it gives, after the
// arguments.
func (t *thread) methodTarget(s *site, w, pp, np raw.Pointer) (target, *shape) {
	word, data := *raw.At[raw.Pointer](w, 0), *raw.At[raw.Pointer](w, 8)
	if word == nil {
		nilDereference()
	}
	x := s.find(word)
	if more, ok := s.more.Load(word); x == nil && ok {
		x = more.(*siteTarget)
	}
	if x == nil {
		x = t.m.method(s, word)
		s.learn(x)
	}
	p := raw.Add(pp, int(s.args.p)*8)
	switch {
	case x.direct && x.shape.boxed:
		box := raw.New(x.shape.t)
		*raw.As[raw.Pointer](box) = data
		*raw.As[raw.Pointer](p) = box
	case x.direct || x.shape.boxed:
		*raw.As[raw.Pointer](p) = data
	default:
		x.shape.load(p, raw.Add(np, int(s.args.n)*8), data)
	}
	return target{c: x.c}, x.shape
}

// method finds a method for a type word.
func (m *Machine) method(s *site, word raw.Pointer) *siteTarget {
	ty := word
	if s.t.hasTab() {
		ty = raw.TabType(word)
	}
	out := &siteTarget{word: word, direct: raw.Direct(ty)}
	if set, ok := m.types.byRaw.Load(ty); ok {
		set := set.(*methods)
		if sel := set.set[s.name]; sel != nil {
			out.c = m.codeOf(m.prog.MethodValue(sel)).get()
			out.shape = m.typeOf(set.t).shape
			if out.c.native == nil {
				out.recv = out.kind()
			}
			return out
		}
	}
	rt := raw.Reflect(ty)
	out.shape = nativeShape(rt)
	out.c = m.nativeMethod(rt, s.name, s.sig, out.shape)
	return out
}

// kind is how the receiver of a method of the machine gets into its registers.
func (x *siteTarget) kind() recvKind {
	switch {
	case x.direct && x.shape.boxed:
		return recvOther
	case x.direct || x.shape.boxed:
		return recvPointer
	case len(x.shape.parts) == 0:
		return recvNothing
	case len(x.shape.parts) == 1 && x.shape.parts[0].kind == part64 && x.shape.parts[0].off == 0:
		return recvNumber
	}
	return recvOther
}

// nativeShape is the shape of a receiver of a type that is not the machine's: it stays in memory.
func nativeShape(rt reflect.Type) *shape {
	t := raw.TypeOf(rt)
	if raw.Direct(t) && rt.Kind() != reflect.Struct && rt.Kind() != reflect.Array {
		s := scalar(partPtr)
		s.t = t
		return s
	}
	return &shape{boxed: true, size: loc{1, 0}, t: t}
}

// native runs a function of compiled Go whose arguments are at p, n.
func (t *thread) native(tg target, p, n int) {
	pp, np := t.regs(p, n)
	tg.c.native(t, pp, np)
	t.checkStop()
}
