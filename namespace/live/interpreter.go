package live

import (
	"context"
	"errors"
	"fmt"
	"go/types"
	"reflect"
	"regexp"
	"strings"

	ns "farm/namespace"
	"farm/namespace/cell"
	"farm/namespace/value"
	"farm/namespace/yaegi"
)

// interpreter is an instance of yaegi: it runs lowered source. After an error of any method it is not used
// again.
type interpreter struct {
	yaegi *yaegi.Engine
	host  *host
	defs  map[string]cell.Hash // loaded, shared with the context
	types *cell.Env            // where the types of values are looked up
	boxer *value.Boxer
	boxes int // donors and wrappers made for boxer
	wraps map[string]wrapper
	bad   bool // a load for boxer failed, or the code has ended the cell
}

// newInterpreter makes an instance. silence shuts its output.
func newInterpreter(opt Options, silence func(), defs map[string]cell.Hash) (*interpreter, error) {
	h := newHost(opt)
	h.silence = silence
	e, err := yaegi.New(yaegi.Options{Stdout: opt.Stdout, Stderr: opt.Stderr, Host: h.packages()})
	if err != nil {
		return nil, err
	}
	l := &interpreter{yaegi: e, host: h, defs: defs}
	l.boxer = &value.Boxer{Type: l.typeNamed, Donor: l.donor, Types: l.namedTypes, Wrap: l.wrap}
	return l, nil
}

// Load implements engine.
func (l *interpreter) Load(u *cell.Unit, defs []cell.Def) error {
	var head, body strings.Builder
	head.WriteString("package main\n")
	for _, d := range defs {
		if d.Import != "" {
			fmt.Fprintf(&head, "import %s %q\n", d.Key, d.Import)
		} else {
			body.WriteString(d.Code + "\n")
		}
	}
	src := head.String() + body.String() + u.Code + "\n"
	if err := l.yaegi.Load(cell.BaseFile, src); err != nil {
		return err
	}
	return l.yaegi.Prepare(u.Func)
}

// Loads implements engine.
func (l *interpreter) Loads() int { return l.yaegi.Loads() }

// Vars implements engine.
func (l *interpreter) Vars([]string) (map[string]reflect.Value, error) { return l.yaegi.Vars(), nil }

// Codec implements engine.
func (l *interpreter) Codec(env *cell.Env) value.Engine {
	l.types = env
	return l.boxer
}

// Aliased implements engine.
func (l *interpreter) Aliased() bool {
	a := l.boxer.Aliased
	l.boxer.Aliased = false
	return a
}

// ErrorText implements engine.
func (l *interpreter) ErrorText(_ context.Context, v reflect.Value) string {
	if v.CanInterface() {
		return panicText(v.Interface())
	}
	return v.String()
}

// Bad implements engine.
func (l *interpreter) Bad() bool { return l.bad }

// Explain implements engine.
func (l *interpreter) Explain(err error) error { return runError(err) }

// Run implements engine. A goroutine's panic ends the run at once, as it ends a Go program; what waited
// for that goroutine may wait for ever.
func (l *interpreter) Run(ctx context.Context, u *cell.Unit, task *ns.TaskInfo, s *submissions) ended {
	h := l.host
	run, cut := context.WithCancel(ctx)
	defer cut()
	h.begin(task, s, cut)
	end := context.AfterFunc(run, h.stop)
	err := l.yaegi.Run(run, u.Func)
	if !end() {
		h.stopDone()
	}
	unfinished := err != nil && run.Err() != nil
	code, exited := h.exited()
	switch panicked := h.goroutinePanic(); {
	case exited && ctx.Err() == nil: // a goroutine of it waits for ever
		if err = h.settle(); err == nil && code == 0 {
			err = errExited
		} else if code != 0 {
			err = &ns.ExitError{Code: code}
		}
		l.bad = true
		return ended{err: err, broken: true, spent: true}
	case err == nil:
		err = h.finish()
	case panicked != nil && ctx.Err() == nil:
		err = panicked
	default:
		err = runError(err)
	}
	return ended{err: err, broken: err != nil, spent: err != nil && (unfinished || h.remain() > 0)}
}

// typeNamed finds a type of the namespace.
func (l *interpreter) typeNamed(pkg, name string) types.Type {
	if pkg != "main" || l.types == nil {
		return nil
	}
	p, err := l.types.Types()
	if err != nil {
		return nil
	}
	o, ok := p.Scope().Lookup(name).(*types.TypeName)
	if !ok {
		return nil
	}
	return o.Type()
}

// donor makes a value of a type of the namespace in an interface, for the codec to learn how the
// interpreter does it. The type is loaded: a variable that can hold it brings all types with it.
func (l *interpreter) donor(t types.Type) (reflect.Value, error) {
	text := types.TypeString(t, func(*types.Package) string { return "" })
	l.boxes++
	name := fmt.Sprintf("__box%d", l.boxes)
	src := fmt.Sprintf("package main\nvar %s %s\nvar %ss = []%s{%s}\n", name, text, name, l.interfaceFor(t), name)
	if err := l.yaegi.Load(cell.BaseFile, src); err != nil {
		l.bad = true
		return reflect.Value{}, err
	}
	v := l.yaegi.Vars()[name+"s"]
	if !v.IsValid() || v.Len() != 1 {
		return reflect.Value{}, bug("no donor of type %s", text)
	}
	return v.Index(0), nil
}

// namedTypes are the types of the namespace.
func (l *interpreter) namedTypes() (out []*types.Named) {
	p, err := l.types.Types()
	if err != nil {
		return nil
	}
	for _, n := range p.Scope().Names() {
		o, ok := p.Scope().Lookup(n).(*types.TypeName)
		if !ok || o.IsAlias() {
			continue
		}
		if t, ok := o.Type().(*types.Named); ok && t.TypeParams() == nil {
			out = append(out, t)
		}
	}
	return out
}

// wrapper is a function of the engine that assigns a variable to an interface: run, it leaves the result
// as the only element of a slice.
type wrapper struct {
	fn      string
	in, out reflect.Value
}

// wrap makes what the interpreter has in an interface of the standard library to which a value of a type
// of the namespace was assigned.
func (l *interpreter) wrap(iface, t types.Type, v reflect.Value) (reflect.Value, error) {
	w, err := l.wrapperFor(iface, t)
	if err != nil {
		l.bad = true
		return reflect.Value{}, err
	}
	if !v.Type().AssignableTo(w.in.Type()) {
		return reflect.Value{}, bug("a %s as a %s", v.Type(), w.in.Type())
	}
	w.in.Set(v)
	defer w.in.SetZero()
	if err := l.yaegi.Run(context.Background(), w.fn); err != nil {
		l.bad = true
		return reflect.Value{}, err
	}
	if w.out.Len() != 1 {
		return reflect.Value{}, bug("nothing was wrapped")
	}
	return w.out.Index(0).Elem(), nil
}

// wrapperFor makes a wrapper for an interface and a type, once. The assignment is in a function that gets
// the value: the interpreter binds methods to the place of the value, which is then nobody else's.
func (l *interpreter) wrapperFor(iface, t types.Type) (wrapper, error) {
	var imports strings.Builder
	text := func(t types.Type) string {
		return types.TypeString(t, func(p *types.Package) string {
			if p.Path() == "main" {
				return ""
			}
			name := "__std" + strings.NewReplacer("/", "_", ".", "_").Replace(p.Path())
			fmt.Fprintf(&imports, "import %s %q\n", name, p.Path())
			return name
		})
	}
	i, of := text(iface), text(t)
	if w, ok := l.wraps[i+" "+of]; ok {
		return w, nil
	}
	l.boxes++
	n := fmt.Sprintf("__box%d", l.boxes)
	src := "package main\n" + imports.String() + fmt.Sprintf("var %[1]s %[2]s\nvar %[1]ss []%[3]s\nfunc %[1]sw(v %[2]s) %[3]s { return v }\nfunc %[1]sf() { %[1]ss = []%[3]s{%[1]sw(%[1]s)} }\n", n, of, i)
	if err := l.yaegi.Load(cell.BaseFile, src); err != nil {
		return wrapper{}, err
	}
	if err := l.yaegi.Prepare(n + "f"); err != nil {
		return wrapper{}, err
	}
	vars := l.yaegi.Vars()
	w := wrapper{fn: n + "f", in: vars[n], out: vars[n+"s"]}
	if !w.in.IsValid() || !w.in.CanSet() || !w.out.IsValid() {
		return wrapper{}, bug("no wrapper of a %s", of)
	}
	if l.wraps == nil {
		l.wraps = map[string]wrapper{}
	}
	l.wraps[i+" "+of] = w
	return w, nil
}

// interfaceFor is an interface of the namespace that t implements, any when there is none: in an empty
// interface the interpreter keeps only types that have methods of their own.
func (l *interpreter) interfaceFor(t types.Type) string {
	p, err := l.types.Types()
	if err != nil {
		return "interface{}"
	}
	for _, n := range p.Scope().Names() {
		o, ok := p.Scope().Lookup(n).(*types.TypeName)
		if !ok || o.IsAlias() {
			continue
		}
		i, ok := o.Type().Underlying().(*types.Interface)
		if _, loaded := l.defs[n]; ok && loaded && i.IsMethodSet() && i.NumMethods() > 0 && types.Implements(t, i) {
			return n
		}
	}
	return "interface{}"
}

var loadMessage = regexp.MustCompile(`^(\S+:\d+(?::\d+)?): (.*)$`)

// runError turns an error of an engine into one of package namespace.
func runError(err error) error {
	if e, ok := errors.AsType[*yaegi.PanicError](err); ok {
		return &ns.PanicError{Value: panicText(e.Value), Stack: trace(e.Trace)}
	}
	if e, ok := errors.AsType[*yaegi.LoadError](err); ok {
		pos, msg := "1:1", e.Msg
		if m := loadMessage.FindStringSubmatch(e.Msg); m != nil {
			msg = m[2]
			if at := trace([]string{m[1]}); len(at) > 0 {
				pos = at[0]
			}
		}
		return &ns.NotAllowedError{What: "this code", Why: "the interpreter cannot run it: " + msg, Pos: strings.TrimPrefix(pos, "cell:"), Internal: true}
	}
	return err
}

func panicText(v any) string {
	v = recovered(v)
	if e, ok := v.(error); ok {
		return e.Error()
	}
	return fmt.Sprint(v)
}

// Literals implements engine: it keeps no functions.
func (*interpreter) Literals() map[string]*cell.Literal { return nil }

// Close implements engine: nothing outside an interpreter refers to it.
func (l *interpreter) Close() {}
