package vm

import (
	"fmt"
	"go/token"
	"go/types"
	"reflect"
	"sort"
	"strings"
	"sync"
	"sync/atomic"

	"golang.org/x/tools/go/ssa"
	"golang.org/x/tools/go/types/typeutil"

	"farm/namespace/vm/raw"
)

// typ is a type: what go/types says of it, its run-time type and how its values are held.
type typ struct {
	t    types.Type
	rt   reflect.Type
	Type raw.Type
	*shape

	maker atomic.Pointer[raw.FuncMaker] // of a function type
	tabs  sync.Map                      // of an interface type: raw.Type → raw.Pointer, nil when it does not implement it
}

// typeTable makes run-time types. Its methods are for one goroutine at a time; mu guards it.
type typeTable struct {
	mu      sync.Mutex
	m       *Machine
	prog    *ssa.Program
	all     typeutil.Map // types.Type → *typ
	refl    typeutil.Map // types.Type → reflect.Type
	byRaw   sync.Map     // raw.Type of a type made here → *methods
	static  sync.Map     // raw.Type → types.Type
	depth   int
	pending []pendingMethods
	owners  map[*types.TypeName]*ssa.Function // of local types in instances of generic functions
	forged  []*raw.Forge
	learned map[*types.Package]bool
	hidden  map[*types.TypeName]reflect.Type
}

// pendingMethods is a type whose methods come when all types they mention are there.
type pendingMethods struct {
	f         *raw.Forge
	t         types.Type
	val, ptrs []*types.Selection
}

// methods of a type made here, by name.
type methods struct {
	t   types.Type
	set map[string]*types.Selection
}

var sizes = types.SizesFor("gc", "amd64")

// typeError is code or a type that the machine cannot make.
type typeError struct {
	msg     string
	pos     string // of the code that needed it
	refused bool
}

func (e *typeError) Error() string { return e.msg }

// typeOf gives a type. It panics with a *typeError.
func (m *Machine) typeOf(t types.Type) *typ {
	tt := &m.types
	tt.mu.Lock()
	defer tt.mu.Unlock()
	if x := tt.all.At(t); x != nil {
		return x.(*typ)
	}
	rt := tt.reflect(t)
	x := &typ{t: t, rt: rt, Type: raw.TypeOf(rt)}
	x.shape = tt.shapeOf(t, x.Type)
	tt.all.Set(t, x)
	return x
}

// reflectOf is the run-time type of t.
func (m *Machine) reflectOf(t types.Type) reflect.Type { return m.typeOf(t).rt }

func (tt *typeTable) shapeOf(t types.Type, rt raw.Type) *shape {
	s := tt.parts(t)
	if s == nil {
		s = &shape{boxed: true, size: loc{1, 0}}
	}
	s.t = rt
	return s
}

// parts gives the shape of a type whose values are held in registers, nil for one that is boxed.
func (tt *typeTable) parts(t types.Type) *shape {
	switch u := t.Underlying().(type) {
	case *types.Basic:
		switch u.Kind() {
		case types.Complex64:
			return complexShape(partF32, 4)
		case types.Complex128, types.UntypedComplex:
			return complexShape(part64, 8)
		}
		return scalar(basicPart(u))
	case *types.Pointer, *types.Map, *types.Chan, *types.Signature:
		return scalar(partPtr)
	case *types.Slice:
		return scalar(partSlice)
	case *types.Interface:
		return scalar(partIface)
	case *types.Struct:
		s := &shape{}
		offs := offsets(u)
		for i := range u.NumFields() {
			x := tt.parts(u.Field(i).Type())
			if x == nil {
				return nil
			}
			s.add(x, int32(offs[i]))
			if s.size.p+s.size.n > maxFlat {
				return nil
			}
		}
		return s
	case *types.Array:
		if sizes.Sizeof(t) == 0 {
			return &shape{}
		}
	case *types.Tuple:
		return &shape{}
	}
	return nil
}

func offsets(u *types.Struct) []int64 {
	fields := make([]*types.Var, u.NumFields())
	for i := range fields {
		fields[i] = u.Field(i)
	}
	return sizes.Offsetsof(fields)
}

func basicPart(b *types.Basic) partKind {
	switch b.Kind() {
	case types.Bool, types.Uint8, types.UntypedBool:
		return partU8
	case types.Int8:
		return partI8
	case types.Int16:
		return partI16
	case types.Int32, types.UntypedRune:
		return partI32
	case types.Uint16:
		return partU16
	case types.Uint32:
		return partU32
	case types.Float32:
		return partF32
	case types.String, types.UntypedString:
		return partStr
	case types.UnsafePointer, types.UntypedNil:
		return partPtr
	}
	return part64
}

func complexShape(k partKind, size int32) *shape {
	s := &shape{}
	s.add(scalar(k), 0)
	s.add(scalar(k), size)
	return s
}

var basicTypes = map[types.BasicKind]reflect.Type{
	types.Bool: reflect.TypeFor[bool](), types.Int: reflect.TypeFor[int](), types.Int8: reflect.TypeFor[int8](),
	types.Int16: reflect.TypeFor[int16](), types.Int32: reflect.TypeFor[int32](), types.Int64: reflect.TypeFor[int64](),
	types.Uint: reflect.TypeFor[uint](), types.Uint8: reflect.TypeFor[uint8](), types.Uint16: reflect.TypeFor[uint16](),
	types.Uint32: reflect.TypeFor[uint32](), types.Uint64: reflect.TypeFor[uint64](), types.Uintptr: reflect.TypeFor[uintptr](),
	types.Float32: reflect.TypeFor[float32](), types.Float64: reflect.TypeFor[float64](),
	types.Complex64: reflect.TypeFor[complex64](), types.Complex128: reflect.TypeFor[complex128](),
	types.String: reflect.TypeFor[string](), types.UnsafePointer: reflect.TypeFor[raw.Pointer](),
	types.UntypedBool: reflect.TypeFor[bool](), types.UntypedInt: reflect.TypeFor[int](), types.UntypedRune: reflect.TypeFor[rune](),
	types.UntypedFloat: reflect.TypeFor[float64](), types.UntypedComplex: reflect.TypeFor[complex128](),
	types.UntypedString: reflect.TypeFor[string](), types.UntypedNil: reflect.TypeFor[raw.Pointer](),
	types.Invalid: reflect.TypeFor[struct{}](),
}

// reflect gives the run-time type of t.
func (tt *typeTable) reflect(t types.Type) reflect.Type {
	t = types.Unalias(t)
	if x := tt.refl.At(t); x != nil {
		return x.(reflect.Type)
	}
	tt.depth++
	rt := tt.make(t)
	tt.depth--
	tt.refl.Set(t, rt)
	tt.static.LoadOrStore(raw.TypeOf(rt), t)
	for tt.depth == 0 && len(tt.pending) > 0 {
		p := tt.pending[0]
		tt.pending = tt.pending[1:]
		tt.depth++
		tt.setMethods(p)
		tt.depth--
	}
	return rt
}

func (tt *typeTable) make(t types.Type) reflect.Type {
	switch t := t.(type) {
	case *types.Basic:
		return basicTypes[t.Kind()]
	case *types.Named:
		return tt.named(t)
	case *types.Pointer:
		return reflect.PointerTo(tt.reflect(t.Elem()))
	case *types.Slice:
		return reflect.SliceOf(tt.reflect(t.Elem()))
	case *types.Array:
		return reflect.ArrayOf(int(t.Len()), tt.reflect(t.Elem()))
	case *types.Map:
		return reflect.MapOf(tt.reflect(t.Key()), tt.reflect(t.Elem()))
	case *types.Chan:
		d := reflect.BothDir
		switch t.Dir() {
		case types.SendOnly:
			d = reflect.SendDir
		case types.RecvOnly:
			d = reflect.RecvDir
		}
		if n := sizes.Sizeof(t.Elem()); n >= 1<<16 {
			panic(&typeError{msg: fmt.Sprintf("channel of elements of %d bytes", n)})
		}
		return reflect.ChanOf(d, tt.reflect(t.Elem()))
	case *types.Signature:
		return reflect.FuncOf(tt.tuple(t.Params()), tt.tuple(t.Results()), t.Variadic())
	case *types.Interface:
		if t.NumMethods() == 0 {
			return reflect.TypeFor[any]()
		}
		f := raw.NewInterface(reflectText(t), "main", false)
		tt.refl.Set(t, f.Type())
		tt.fillInterface(f, t)
		return f.Type()
	case *types.Struct:
		return tt.structType(t)
	case *types.TypeParam:
		panic(&typeError{msg: "a type parameter: " + t.String()})
	}
	return reflect.TypeFor[struct{}]() // of the compiler: tuples, iterators
}

func (tt *typeTable) tuple(t *types.Tuple) (out []reflect.Type) {
	for v := range t.Variables() {
		out = append(out, tt.reflect(v.Type()))
	}
	return out
}

// reflectText is a type as package reflect writes it: packages by name, but by path in type arguments.
func reflectText(t types.Type) string {
	name := func(p *types.Package) string { return p.Name() }
	if n, ok := t.(*types.Named); ok && n.TypeArgs().Len() > 0 {
		var args []string
		for a := range n.TypeArgs().Types() {
			args = append(args, types.TypeString(unaliased(a), nil))
		}
		text := n.Obj().Name() + "[" + strings.Join(args, ",") + "]"
		if n.Obj().Pkg() != nil {
			text = n.Obj().Pkg().Name() + "." + text
		}
		return text
	}
	s := types.TypeString(t, name)
	switch t.(type) {
	case *types.Struct:
		s = strings.Replace(s, "struct{", "struct { ", 1)
	case *types.Interface:
		s = strings.Replace(s, "interface{", "interface { ", 1)
	default:
		return s
	}
	return strings.TrimSuffix(s, "}") + " }"
}

func (tt *typeTable) named(t *types.Named) reflect.Type {
	o := t.Obj()
	if o.Pkg() == nil {
		return reflect.TypeFor[error]() // comparable does not get here
	}
	path := o.Pkg().Path()
	if t.TypeArgs().Len() == 0 && o.Parent() == o.Pkg().Scope() {
		if rt := tt.m.syms.Type(path, o.Name()); rt != nil {
			return rt
		}
		if rt := tt.hiddenType(o); rt != nil {
			return rt
		}
	}
	text := tt.nameOf(t)
	if i, ok := t.Underlying().(*types.Interface); ok {
		if i.NumMethods() == 0 {
			f := raw.NewForge(text, path, true, raw.Layout{Kind: reflect.Interface, Size: 16, Align: 8, Pointers: []uintptr{0, 8}, Comparable: true}, 0, 0)
			f.FillInterface(nil, token.IsExported)
			return f.Type()
		}
		f := raw.NewInterface(text, path, true)
		tt.refl.Set(t, f.Type())
		tt.fillInterface(f, i)
		return f.Type()
	}
	return tt.forge(t, text, path, true)
}

func (tt *typeTable) fillInterface(f *raw.Forge, t *types.Interface) {
	ms := make([]raw.Imethod, 0, t.NumMethods())
	for i := range t.NumMethods() {
		x := t.Method(i)
		ms = append(ms, raw.Imethod{Name: x.Name(), Type: tt.reflect(withoutRecv(x.Signature()))})
	}
	sort.Slice(ms, func(i, j int) bool { return ms[i].Name < ms[j].Name })
	f.FillInterface(ms, token.IsExported)
}

func withoutRecv(s *types.Signature) *types.Signature {
	return types.NewSignatureType(nil, nil, nil, s.Params(), s.Results(), s.Variadic())
}

// forge makes a type that no package of the binary has.
func (tt *typeTable) forge(t types.Type, text, path string, named bool) reflect.Type {
	val, ptrs := tt.methodsOf(t), tt.methodsOf(types.NewPointer(t))
	f := raw.NewForge(text, path, named, layoutOf(t), len(val), len(ptrs))
	tt.forged = append(tt.forged, f)
	tt.refl.Set(t, f.Type())
	tt.pending = append(tt.pending, pendingMethods{f, t, val, ptrs})
	if s, ok := t.Underlying().(*types.Struct); ok {
		f.FillStruct(tt.fields(s))
	} else {
		f.Fill(tt.reflect(t.Underlying()))
	}
	return f.Type()
}

func (tt *typeTable) fields(s *types.Struct) []raw.Field {
	offs := offsets(s)
	out := make([]raw.Field, s.NumFields())
	for i := range out {
		v := s.Field(i)
		out[i] = raw.Field{Name: v.Name(), Tag: s.Tag(i), Type: tt.reflect(v.Type()), Offset: uintptr(offs[i]), Embedded: v.Embedded(), Exported: v.Exported()}
	}
	return out
}

// structType makes a struct type without a name. Those without embedded fields are the same as those
// of compiled code.
func (tt *typeTable) structType(s *types.Struct) reflect.Type {
	own := false
	for v := range s.Fields() {
		own = own || v.Embedded() || v.Name() == "_" || !token.IsExported(v.Name()) && v.Exported()
	}
	if own {
		return tt.forge(s, reflectText(s), "main", false)
	}
	fields := make([]reflect.StructField, s.NumFields())
	for i := range fields {
		v := s.Field(i)
		fields[i] = reflect.StructField{Name: v.Name(), Type: tt.reflect(v.Type()), Tag: reflect.StructTag(s.Tag(i))}
		if !v.Exported() {
			fields[i].PkgPath = v.Pkg().Path()
		}
	}
	return reflect.StructOf(fields)
}

// methodsOf lists the methods of a type, sorted by name.
func (tt *typeTable) methodsOf(t types.Type) []*types.Selection {
	set := tt.prog.MethodSets.MethodSet(t)
	var out []*types.Selection
	for i := range set.Len() {
		out = append(out, set.At(i))
	}
	sort.Slice(out, func(i, j int) bool { return out[i].Obj().Name() < out[j].Obj().Name() })
	return out
}

func (tt *typeTable) setMethods(p pendingMethods) {
	for _, ptr := range []bool{false, true} {
		list, t, rt := p.val, p.t, p.f.Type()
		if ptr {
			list, t, rt = p.ptrs, types.NewPointer(p.t), p.f.Pointer()
		}
		set := &methods{t: t, set: map[string]*types.Selection{}}
		var ms []raw.Method
		for _, sel := range list {
			o := sel.Obj().(*types.Func)
			set.set[o.Name()] = sel
			sig := withoutRecv(o.Signature())
			x := raw.Method{Name: o.Name(), Type: tt.reflect(sig)}
			if o.Exported() {
				x.Call, x.Direct = tt.methodFuncs(rt, t, sel, sig)
			}
			ms = append(ms, x)
		}
		if err := p.f.SetMethods(ptr, ms); err != nil {
			panic(&typeError{msg: err.Error()})
		}
		tt.byRaw.Store(raw.TypeOf(rt), set)
	}
}

// methodFuncs makes the function values by which Go code calls a method.
func (tt *typeTable) methodFuncs(rt reflect.Type, recv types.Type, sel *types.Selection, sig *types.Signature) (call, direct raw.Pointer) {
	out := tt.tuple(sig.Results())
	fn := func(arg reflect.Type, indirect bool) raw.Pointer {
		if arg.Kind() == reflect.Pointer { // all pointers are passed alike; package reflect never forgets a function type
			arg = basicTypes[types.UnsafePointer]
		}
		in := append([]reflect.Type{arg}, tt.tuple(sig.Params())...)
		body := &methodBody{m: tt.m, sel: sel, recv: recv, indirect: indirect, out: out}
		return raw.NewFuncMaker(reflect.FuncOf(in, out, sig.Variadic())).Make(body, nil, nil).Value()
	}
	if raw.Direct(raw.TypeOf(rt)) {
		return fn(rt, false), nil
	}
	return fn(reflect.PointerTo(rt), true), fn(rt, false)
}

// layoutOf is what is known of a type by itself.
func layoutOf(t types.Type) raw.Layout {
	l := raw.Layout{
		Kind: kindOf(t), Size: uintptr(sizes.Sizeof(t)), Align: uintptr(sizes.Alignof(t)),
		Comparable: types.Comparable(t), Regular: regular(t),
	}
	l.Pointers = pointers(t, 0, nil)
	if sig, ok := t.Underlying().(*types.Signature); ok {
		l.Params = sig.Params().Len() + sig.Results().Len()
	}
	return l
}

func kindOf(t types.Type) reflect.Kind {
	switch u := t.Underlying().(type) {
	case *types.Basic:
		return basicTypes[u.Kind()].Kind()
	case *types.Pointer:
		return reflect.Pointer
	case *types.Slice:
		return reflect.Slice
	case *types.Array:
		return reflect.Array
	case *types.Map:
		return reflect.Map
	case *types.Chan:
		return reflect.Chan
	case *types.Signature:
		return reflect.Func
	case *types.Interface:
		return reflect.Interface
	}
	return reflect.Struct
}

// pointers appends the offsets of the pointers in a value at off.
func pointers(t types.Type, off uintptr, list []uintptr) []uintptr {
	switch u := t.Underlying().(type) {
	case *types.Basic:
		if u.Kind() == types.String || u.Kind() == types.UnsafePointer {
			list = append(list, off)
		}
	case *types.Pointer, *types.Slice, *types.Map, *types.Chan, *types.Signature:
		list = append(list, off)
	case *types.Interface:
		list = append(list, off, off+8)
	case *types.Array:
		if len(pointers(u.Elem(), 0, nil)) == 0 {
			return list
		}
		for i := range u.Len() {
			list = pointers(u.Elem(), off+uintptr(i*sizes.Sizeof(u.Elem())), list)
		}
	case *types.Struct:
		for i, o := range offsets(u) {
			list = pointers(u.Field(i).Type(), off+uintptr(o), list)
		}
	}
	return list
}

// regular says that two values are equal when their bytes are.
func regular(t types.Type) bool {
	switch u := t.Underlying().(type) {
	case *types.Basic:
		return u.Info()&(types.IsBoolean|types.IsInteger) != 0 || u.Kind() == types.UnsafePointer
	case *types.Pointer, *types.Chan:
		return true
	case *types.Array:
		return regular(u.Elem())
	case *types.Struct:
		end := int64(0)
		for i, o := range offsets(u) {
			v := u.Field(i)
			if o != end || v.Name() == "_" || !regular(v.Type()) {
				return false
			}
			end = o + sizes.Sizeof(v.Type())
		}
		return end == sizes.Sizeof(t)
	}
	return false
}

// tabFor is the type word for values of type t in the interface type x, and whether t implements it.
func (x *typ) tabFor(t raw.Type) (raw.Pointer, bool) {
	if x.rt.NumMethod() == 0 {
		return t, true
	}
	if tab, ok := x.tabs.Load(t); ok {
		p := tab.(raw.Pointer)
		return p, p != nil
	}
	var tab raw.Pointer
	if raw.Reflect(t).Implements(x.rt) {
		tab = raw.Tab(x.Type, t)
	}
	x.tabs.Store(t, tab)
	return tab, tab != nil
}

// hasTab says that the type word of interfaces of this type is not a type.
func (x *typ) hasTab() bool { return x.rt.NumMethod() > 0 }
