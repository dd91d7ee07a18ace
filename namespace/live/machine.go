package live

import (
	"context"
	"errors"
	"fmt"
	"go/ast"
	"go/token"
	"go/types"
	"maps"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"
	"unsafe"

	ns "farm/namespace"
	"farm/namespace/cell"
	"farm/namespace/typeinfo"
	"farm/namespace/typeinfo/packages"
	"farm/namespace/value"
	"farm/namespace/vm"
	"farm/namespace/vm/gonum"
	"farm/namespace/vm/stdlib"
)

// hurry is how long what a run has started may take to end once it is told to.
const hurry = time.Second

// machine is an instance of the machine of package vm: it runs what was checked.
type machine struct {
	services
	parts *vm.Parts
	comp  *cell.Compiler
	names map[string][]types.Object // that each definition has declared
	funcs map[int]*types.Func       // of units
	loads int
	stuck bool

	stackBytes int            // that Options has for the calls of a goroutine
	given      func(vm.Ended) // tells Options.Stuck; nil without it
	env        *cell.Env      // where the types of values are looked up

	literals map[*ast.FuncLit]*cell.Literal // of the units
	held     map[string]*cell.Literal       // those that values described since Codec have, by name
}

// sourceBase is where positions of packages from source begin: above all those of cells.
const sourceBase = 1 << 40

// importer has the types of packages, for all machines of the process. It takes some time to make.
var importer = sync.OnceValues(func() (*vm.Importer, error) {
	sources, err := stdlib.Sources()
	if err != nil {
		return nil, err
	}
	fset := token.NewFileSet()
	fset.AddFile("", -1, sourceBase)
	im, err := vm.NewImporter(fset, typeinfo.Export, sources, cell.HostPackages()...)
	if err == nil {
		im.Give(cell.FarmPackage(im))
	}
	return im, err
})

// Shares of the bytes of a stack, in a machine: half for calls, a quarter for each kind of registers.
const (
	frameBytes    = 2 * 64 // a call has about 64
	registerBytes = 4 * 8
	// A call of compiled code that calls back takes a stack of its own and some of the process's, here with
	// room to spare.
	callbackBytes = 32 << 10
)

// overflowTrace is how many calls are told of a stack that overflowed: it is mostly the same ones.
const overflowTrace = 10

// newMachine makes an instance for units of a compiler.
func newMachine(comp *cell.Compiler, opt Options) (*machine, error) {
	im, err := importer()
	if err != nil {
		return nil, err
	}
	m := &machine{comp: comp, names: map[string][]types.Object{}, funcs: map[int]*types.Func{}, literals: map[*ast.FuncLit]*cell.Literal{}}
	if opt.Stuck != nil {
		m.given = func(e vm.Ended) { opt.Stuck(exitError(m.Explain(e.Err))) }
	}
	exit := func(code int) { panic(&vm.ExitError{Code: code}) }
	m.services.init(opt, exit, func() int { return m.parts.Goroutines() })
	stack := opt.StackBytes
	m.stackBytes = stack
	m.parts, err = vm.NewParts(im, vm.Options{
		Stdout: opt.Stdout, Stderr: opt.Stderr, Fset: comp.Files(), Symbols: newSymbols(m.members()),
		Limits: vm.Limits{Registers: stack / registerBytes, Frames: stack / frameBytes, Callbacks: stack / callbackBytes},
	})
	if err != nil {
		return nil, err
	}
	return m, nil
}

// compiled are the packages of compiled Go that cells may import.
var compiled = sync.OnceValue(func() stdlib.Table {
	all := maps.Clone(stdlib.Std())
	maps.Copy(all, gonum.Packages())
	return all
})

// symbols are what the host gives, and the packages of compiled Go.
type symbols struct {
	stdlib.Table
	host map[string]map[string]any
}

func newSymbols(host map[string]map[string]any) symbols { return symbols{compiled(), host} }

// Type implements vm.Symbols.
func (s symbols) Type(pkg, name string) reflect.Type {
	if members, ok := s.host[pkg]; ok {
		if t := reflect.TypeOf(members[name]); t != nil && t.Kind() == reflect.Pointer && reflect.ValueOf(members[name]).IsNil() {
			return t.Elem()
		}
		return nil
	}
	return s.Table.Type(pkg, name)
}

// Func implements vm.Symbols.
func (s symbols) Func(pkg, name string) reflect.Value {
	if members, ok := s.host[pkg]; ok {
		if v := reflect.ValueOf(members[name]); v.IsValid() && v.Kind() == reflect.Func {
			return v
		}
		return reflect.Value{}
	}
	return s.Table.Func(pkg, name)
}

// Var implements vm.Symbols: the host's are addressable values, or pointers that are values themselves.
func (s symbols) Var(pkg, name string) reflect.Value {
	members, ok := s.host[pkg]
	if !ok {
		return s.Table.Var(pkg, name)
	}
	switch m := members[name].(type) {
	case reflect.Value:
		return m.Addr()
	case *file:
		if m != nil {
			return reflect.ValueOf(&m)
		}
	}
	return reflect.Value{}
}

// Load implements engine.
func (m *machine) Load(u *cell.Unit, defs []cell.Def) error {
	m.loads++
	fresh := map[string]bool{}
	for _, d := range defs {
		fresh[d.Key] = true
	}
	var scope []types.Object
	for _, d := range u.Defs {
		if !fresh[d.Key] {
			scope = append(scope, m.names[d.Key]...)
		}
	}
	made, err := m.parts.Load(m.comp.File(u, defs), scope)
	if err != nil {
		return err
	}
	for _, d := range defs {
		for _, n := range d.Names {
			if o := made.Lookup(n); o != nil {
				m.names[d.Key] = append(m.names[d.Key], o)
			}
		}
	}
	fn, ok := made.Lookup(u.Func).(*types.Func)
	if !ok {
		return bug("no function %s", u.Func)
	}
	m.funcs[u.N] = fn
	maps.Copy(m.literals, u.Literals)
	return nil
}

// Loads implements engine.
func (m *machine) Loads() int { return m.loads }

// Bad implements engine.
func (m *machine) Bad() bool { return m.stuck }

// Close implements engine. What nothing can end keeps its machine.
func (m *machine) Close() {
	if !m.stuck {
		m.parts.Close()
	}
}

// Vars implements engine.
func (m *machine) Vars(names []string) (map[string]reflect.Value, error) {
	out := map[string]reflect.Value{}
	for _, n := range names {
		for _, o := range m.names[n] {
			v, ok := o.(*types.Var)
			if !ok {
				continue
			}
			r, err := m.parts.Var(v)
			if err != nil { // of its type, the process may have no room for more methods
				return nil, err
			}
			out[n] = r
		}
	}
	return out, nil
}

// Run implements engine.
func (m *machine) Run(ctx context.Context, u *cell.Unit, task *ns.TaskInfo, s *submissions) ended {
	m.services.begin(task, s)
	end := m.parts.Call(ctx, m.parts.Func(m.funcs[u.N]), vm.Call{Program: u.Program, Grace: goroutineGrace, Hurry: hurry, Stuck: m.given})
	m.stuck = m.stuck || end.Stuck
	err := m.Explain(end.Err)
	if err == nil && end.Left > 0 {
		err = &ns.GoroutineError{Count: end.Left}
	}
	return ended{err: err, broken: end.Stuck, spent: end.Stuck}
}

// Explain implements engine.
func (m *machine) Explain(err error) error {
	if err == nil {
		return nil
	}
	if errors.Is(err, vm.ErrGoexit) {
		return &ns.ExitError{}
	}
	if e, ok := errors.AsType[*vm.ExitError](err); ok {
		if e.Code == 0 {
			return errExited
		}
		return &ns.ExitError{Code: e.Code}
	}
	if e, ok := errors.AsType[*vm.PanicError](err); ok {
		return &ns.PanicError{Value: e.Text, Stack: userTrace(e.Stack)}
	}
	if e, ok := errors.AsType[*vm.LimitError](err); ok {
		limit := &ns.LimitError{What: e.What, Limit: e.Limit, Stack: userTrace(e.Stack)}
		if e.What == vm.StackOverflow {
			limit.What, limit.Limit = e.What+": calls within each other, bytes", int64(m.stackBytes)
			limit.Stack = limit.Stack[:min(len(limit.Stack), overflowTrace)]
		}
		return limit
	}
	if e, ok := errors.AsType[*vm.LoadError](err); ok {
		pos := "1:1"
		if at := trace([]string{e.Pos}); len(at) > 0 {
			pos = at[0]
		}
		return &ns.NotAllowedError{What: "this code", Why: "the machine cannot run it: " + e.Msg, Pos: pos, Internal: !e.Refused}
	}
	return err
}

// userTrace gives the positions in a stack of the machine that are in code of users.
func userTrace(stack []string) []string {
	var at []string
	for _, s := range stack {
		if _, pos, ok := strings.Cut(s, " at "); ok {
			at = append(at, pos)
		}
	}
	return trace(at)
}

// Codec implements engine.
func (m *machine) Codec(env *cell.Env) value.Engine {
	m.env, m.held = env, map[string]*cell.Literal{}
	return m
}

// Literals implements engine.
func (m *machine) Literals() map[string]*cell.Literal { return m.held }

// Aliased implements engine: the machine copies what is put into interfaces.
func (m *machine) Aliased() bool { return false }

// ErrorText implements engine.
func (m *machine) ErrorText(ctx context.Context, v reflect.Value) string {
	text, end := m.parts.Text(ctx, v.Interface(), vm.Call{Hurry: hurry})
	m.stuck = m.stuck || end.Stuck
	if end.Err != nil {
		return "an error, whose text cannot be had: " + end.Err.Error()
	}
	return text
}

// Unbox implements value.Engine.
func (m *machine) Unbox(_ types.Type, v reflect.Value) (types.Type, reflect.Value, error) {
	t := m.parts.Static(v.Type())
	if t == nil {
		return nil, v, nil
	}
	own, err := ours(t)
	if err != nil || !own {
		return nil, v, err
	}
	return t, v, nil
}

// ours tells whether only a machine can find a type again: one with the namespace's declarations, or of gonum.
// Types that none can find are refused.
func ours(t types.Type) (own bool, err error) {
	each := func(ts ...types.Type) {
		for _, t := range ts {
			o, bad := ours(t)
			own = own || o
			if err == nil {
				err = bad
			}
		}
	}
	switch t := types.Unalias(t).(type) {
	case *types.Named:
		o := t.Obj()
		if o.Pkg() == nil {
			return false, nil
		}
		if o.Parent() != nil && o.Parent() != o.Pkg().Scope() && o.Pkg().Path() == vm.MainPath && local(o) {
			return true, fmt.Errorf("of type %s, which is declared inside a function", o.Name())
		}
		own = o.Pkg().Path() == vm.MainPath || packages.OfGonum(o.Pkg().Path())
		for a := range t.TypeArgs().Types() {
			own = true
			each(a)
		}
	case *types.Pointer:
		each(t.Elem())
	case *types.Slice:
		each(t.Elem())
	case *types.Array:
		each(t.Elem())
	case *types.Map:
		each(t.Key(), t.Elem())
	case *types.Signature:
		own = true
		for _, list := range []*types.Tuple{t.Params(), t.Results()} {
			for v := range list.Variables() {
				each(v.Type())
			}
		}
	case *types.Interface:
		own = !t.Empty()
	case *types.Struct:
		for f := range t.Fields() {
			own = own || f.Embedded() || !f.Exported()
			each(f.Type())
		}
	}
	return own, err
}

// local tells whether a type is declared in a function. A part's package scope is the parent of what it
// declares at top level.
func local(o *types.TypeName) bool { return o.Pkg().Scope().Lookup(o.Name()) != o }

// Func implements value.FuncEngine.
func (m *machine) Func(word unsafe.Pointer) (value.Func, error) {
	f, err := m.parts.Describe(word)
	if err != nil {
		return value.Func{}, err
	}
	out := value.Func{Name: f.Name}
	needs := map[string]bool{}
	if f.Literal != nil {
		lit := m.literals[f.Literal]
		if lit == nil {
			return out, errors.New("a function literal that is not known")
		}
		if lit.Refused != "" {
			return out, errors.New("a function literal: " + lit.Refused)
		}
		out.Name = lit.Name + f.Name
		needs[lit.Name], m.held[lit.Name] = true, lit
	}
	if f.Of != nil {
		needs[vm.DeclaredKey(f.Of)] = true
	}
	for _, t := range f.Types {
		addDeclared(needs, t)
	}
	for _, c := range f.Captured {
		addDeclared(needs, c.Type)
		if _, err := ours(c.Type); err != nil {
			return out, fmt.Errorf("a function that has captured %s, %w", c.Name, err)
		}
		out.Captured = append(out.Captured, value.Captured(c))
	}
	out.Decls = slices.Sorted(maps.Keys(needs))
	return out, nil
}

// addDeclared adds the names of the namespace's types that a type mentions.
func addDeclared(names map[string]bool, t types.Type) {
	switch t := types.Unalias(t).(type) {
	case *types.Named:
		if o := t.Obj(); o.Pkg() != nil && o.Pkg().Path() == vm.MainPath {
			names[o.Name()] = true
		}
		for a := range t.TypeArgs().Types() {
			addDeclared(names, a)
		}
	case *types.Map:
		addDeclared(names, t.Key())
		addDeclared(names, t.Elem())
	case interface{ Elem() types.Type }:
		addDeclared(names, t.Elem())
	case *types.Signature:
		for _, list := range []*types.Tuple{t.Params(), t.Results()} {
			for v := range list.Variables() {
				addDeclared(names, v.Type())
			}
		}
	case *types.Struct:
		for f := range t.Fields() {
			addDeclared(names, f.Type())
		}
	case *types.Interface:
		for f := range t.Methods() {
			addDeclared(names, f.Type())
		}
	}
}

// MakeFunc implements value.FuncEngine.
func (m *machine) MakeFunc(rt reflect.Type, name string, captured []reflect.Value) (unsafe.Pointer, error) {
	return m.parts.Make(rt, name, captured, m.scope())
}

// TypeOf implements value.FuncEngine.
func (m *machine) TypeOf(text string) (types.Type, reflect.Type, error) {
	return m.parts.TypeOf(text, m.scope())
}

// scope is what is loaded of the namespace at hand.
func (m *machine) scope() (out []types.Object) {
	for _, d := range m.env.Decls {
		out = append(out, m.names[d.Key]...)
	}
	return out
}

// Box implements value.Engine: a value in an interface is what it is.
func (m *machine) Box(_ types.Type, _ reflect.Type, _ types.Type, v reflect.Value) (reflect.Value, error) {
	return v, nil
}

// Named implements value.Engine.
func (m *machine) Named(pkg, name string) (types.Type, reflect.Type, error) {
	if strings.Contains(name, "[") || packages.OfGonum(pkg) { // an instance, or of compiled code
		return m.TypeOf(pkg + "." + name)
	}
	if pkg != vm.MainPath {
		return m.parts.TypeNamed(pkg, name)
	}
	d := m.env.Find(name)
	if d == nil {
		return nil, nil, errors.New("it is not declared")
	}
	for _, o := range m.names[d.Key] {
		if tn, ok := o.(*types.TypeName); ok && tn.Name() == name {
			rt, err := m.parts.Reflect(tn.Type())
			return tn.Type(), rt, err
		}
	}
	return nil, nil, errors.New("it is not loaded")
}
