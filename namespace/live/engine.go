package live

import (
	"context"
	"errors"
	"fmt"
	"go/types"
	"io"
	"reflect"
	"regexp"
	"strings"
	"sync"

	ns "farm/namespace"
	"farm/namespace/cell"
	"farm/namespace/value"
	"farm/namespace/yaegi"
)

// engine is what a context needs of an interpreter. After an error of any method an engine is not used
// again.
type engine interface {
	// Load declares what a source file declares; nothing runs.
	Load(name, src string) error
	// Prepare makes a loaded func() ready to be run.
	Prepare(fn string) error
	// Run runs a prepared function until it returns or ctx ends.
	Run(ctx context.Context, fn string) error
	// Vars are the loaded variables by name, addressable and valid as long as the engine.
	Vars() map[string]reflect.Value
	// Loads counts the calls of Load.
	Loads() int
}

// slot is a variable in an engine.
type slot struct {
	v    reflect.Value
	zero reflect.Value
	item []byte // the item whose value it holds; nil when that is not known
}

func (s *slot) clear() { s.v.Set(s.zero); s.item = nil }

// loaded is an engine and what it holds. Definitions stay when the context turns to another namespace:
// code only reaches what the front end has checked it against.
type loaded struct {
	eng   engine
	host  *host
	gate  *gate
	defs  map[string]cell.Hash
	vars  map[string]*slot
	units map[int]bool
	types *cell.Env // where the types of values are looked up
	boxer *value.Boxer
	boxes int // donors and wrappers made for boxer
	wraps map[string]wrapper
	bad   bool // a load failed: not to be used again
}

func newLoaded(opt Options) (*loaded, error) {
	g := &gate{}
	opt.Stdout, opt.Stderr = gated{g, opt.Stdout}, gated{g, opt.Stderr}
	if progress := opt.Progress; progress != nil {
		opt.Progress = func(done, total int) {
			g.mu.Lock()
			defer g.mu.Unlock()
			if !g.shut {
				progress(done, total)
			}
		}
	}
	h := newHost(opt)
	h.silence = g.close
	e, err := yaegi.New(yaegi.Options{Stdout: opt.Stdout, Stderr: opt.Stderr, Host: h.packages()})
	if err != nil {
		return nil, err
	}
	l := &loaded{eng: e, host: h, gate: g, defs: map[string]cell.Hash{}, vars: map[string]*slot{}, units: map[int]bool{}}
	l.boxer = &value.Boxer{Type: l.typeNamed, Donor: l.donor, Types: l.namedTypes, Wrap: l.wrap}
	return l, nil
}

// typeNamed finds a type of the namespace.
func (l *loaded) typeNamed(pkg, name string) types.Type {
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
func (l *loaded) donor(t types.Type) (reflect.Value, error) {
	text := types.TypeString(t, func(*types.Package) string { return "" })
	l.boxes++
	name := fmt.Sprintf("__box%d", l.boxes)
	src := fmt.Sprintf("package main\nvar %s %s\nvar %ss = []%s{%s}\n", name, text, name, l.interfaceFor(t), name)
	if err := l.eng.Load(cell.BaseFile, src); err != nil {
		l.bad = true
		return reflect.Value{}, err
	}
	v := l.eng.Vars()[name+"s"]
	if !v.IsValid() || v.Len() != 1 {
		return reflect.Value{}, bug("no donor of type %s", text)
	}
	return v.Index(0), nil
}

// namedTypes are the types of the namespace.
func (l *loaded) namedTypes() (out []*types.Named) {
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
func (l *loaded) wrap(iface, t types.Type, v reflect.Value) (reflect.Value, error) {
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
	if err := l.eng.Run(context.Background(), w.fn); err != nil {
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
func (l *loaded) wrapperFor(iface, t types.Type) (wrapper, error) {
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
	if err := l.eng.Load(cell.BaseFile, src); err != nil {
		return wrapper{}, err
	}
	if err := l.eng.Prepare(n + "f"); err != nil {
		return wrapper{}, err
	}
	vars := l.eng.Vars()
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

// gate is shut when an engine is given up: what still runs in it must not write into the output of the
// tasks that follow.
type gate struct {
	mu   sync.Mutex
	shut bool
}

func (g *gate) close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.shut = true
}

type gated struct {
	g *gate
	w io.Writer
}

func (x gated) Write(p []byte) (int, error) {
	x.g.mu.Lock()
	defer x.g.mu.Unlock()
	if x.g.shut {
		return 0, io.ErrClosedPipe
	}
	return x.w.Write(p)
}

// fits says that the engine has no other definition under a name the unit needs.
func (l *loaded) fits(u *cell.Unit) bool {
	if l.units[u.N] {
		return true
	}
	for _, d := range u.Defs {
		if h, ok := l.defs[d.Key]; ok && h != d.Hash {
			return false
		}
	}
	return true
}

func (l *loaded) loadAll(units []*unit) error {
	for _, u := range units {
		if u == nil {
			continue
		}
		if err := l.load(u.Unit); err != nil {
			return err
		}
	}
	return nil
}

// load brings in what the unit needs and is not there yet.
func (l *loaded) load(u *cell.Unit) error {
	if l.units[u.N] {
		return nil
	}
	var head, body strings.Builder
	head.WriteString("package main\n")
	var names []string
	for _, d := range u.Defs {
		if _, ok := l.defs[d.Key]; ok {
			continue
		}
		if d.Import != "" {
			fmt.Fprintf(&head, "import %s %q\n", d.Key, d.Import)
		} else {
			body.WriteString(d.Code + "\n")
		}
		names = append(names, d.Key)
	}
	src := head.String() + body.String() + u.Code + "\n"
	if err := l.eng.Load(cell.BaseFile, src); err != nil {
		return err
	}
	if err := l.eng.Prepare(u.Func); err != nil {
		return err
	}
	for _, d := range u.Defs {
		l.defs[d.Key] = d.Hash
	}
	all := l.eng.Vars()
	for _, n := range names {
		v, ok := all[n]
		if !ok || !v.CanSet() || l.vars[n] != nil {
			continue
		}
		zero := reflect.New(v.Type()).Elem()
		zero.Set(v)
		l.vars[n] = &slot{v: v, zero: zero}
	}
	l.units[u.N] = true
	return nil
}

// interfaceFor is an interface of the namespace that t implements, any when there is none: in an empty
// interface the interpreter keeps only types that have methods of their own.
func (l *loaded) interfaceFor(t types.Type) string {
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

// orDiscard is w, or a writer that discards.
func orDiscard(w io.Writer) io.Writer {
	if w == nil {
		return io.Discard
	}
	return w
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

// trace shortens the file names that the compiler gives positions, and leaves out what nobody wrote.
func trace(list []string) []string {
	var out []string
	for _, p := range list {
		if !strings.Contains(p, "/"+cell.BaseFile) || strings.HasPrefix(p, cell.NoFile) {
			continue
		}
		out = append(out, strings.Replace(p, "/"+cell.BaseFile, "", 1))
	}
	return out
}
