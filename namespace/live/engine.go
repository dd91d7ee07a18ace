package live

import (
	"context"
	"fmt"
	"io"
	"reflect"
	"strings"

	ns "farm/namespace"
	"farm/namespace/cell"
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
	defs  map[string]cell.Hash
	vars  map[string]*slot
	units map[int]bool
}

func newLoaded(opt Options) (*loaded, error) {
	h := newHost(opt)
	e, err := yaegi.New(yaegi.Options{Stdout: opt.Stdout, Stderr: opt.Stderr, Host: h.packages()})
	if err != nil {
		return nil, err
	}
	return &loaded{eng: e, host: h, defs: map[string]cell.Hash{}, vars: map[string]*slot{}, units: map[int]bool{}}, nil
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

// discard is a writer for nil options.
func orDiscard(w io.Writer) io.Writer {
	if w == nil {
		return io.Discard
	}
	return w
}

// runError turns an error of an engine into one of package namespace.
func runError(err error) error {
	switch e := err.(type) {
	case *yaegi.Panic:
		return &ns.PanicError{Value: panicText(e.Value), Stack: trace(e.Trace)}
	case *yaegi.LoadError:
		return &ns.NotAllowedError{What: "this code", Why: e.Error(), Pos: "1:1"}
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

// trace shortens the file names that the compiler gives positions.
func trace(list []string) []string {
	var out []string
	for _, p := range list {
		out = append(out, strings.Replace(p, "/"+cell.BaseFile, "", 1))
	}
	return out
}
