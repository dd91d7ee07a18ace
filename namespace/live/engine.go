package live

import (
	"context"
	"errors"
	"io"
	"reflect"
	"strings"
	"sync"

	ns "farm/namespace"
	"farm/namespace/cell"
	"farm/namespace/value"
)

// engine is what a context needs of an instance of an engine.
type engine interface {
	// Load declares the definitions, which are not there yet, and makes the function of the unit ready to
	// run; nothing runs. After an error the instance is not used again.
	Load(u *cell.Unit, defs []cell.Def) error
	// Loads counts the calls of Load.
	Loads() int
	// Vars are loaded variables by name, those asked for at least: addressable, and valid as long as the
	// instance.
	Vars(names []string) (map[string]reflect.Value, error)
	// Run runs the function of a loaded unit until it and all it has started have ended, or ctx has. What it
	// submits goes to s.
	Run(ctx context.Context, u *cell.Unit, task *ns.TaskInfo, s *submissions) ended
	// Codec knows the types in interfaces, of the namespace env.
	Codec(env *cell.Env) value.Engine
	// Literals are the function literals of units that values described by Codec have, by the names of the
	// declarations that keep them.
	Literals() map[string]*cell.Literal
	// Aliased says whether, since it was last asked, Codec has met a value that was memory of another
	// variable and is encoded as a copy.
	Aliased() bool
	// ErrorText is what an error in a variable says; it may run its methods.
	ErrorText(ctx context.Context, v reflect.Value) string
	// Bad says that the instance is not to be used again.
	Bad() bool
	// Close lets go of the instance, which is not used again.
	Close()
	// Explain turns an error of Load into one of package namespace.
	Explain(err error) error
}

// ended is how a run has ended.
type ended struct {
	err    error // of package namespace, errExited, or that of the context
	broken bool  // the instance is not to be used again, should the task fail
	spent  bool  // something goes on that nothing can end
}

// errExited is the error of code that has ended the cell and called that a success.
var errExited = errors.New("namespace/live: the code has ended the cell")

// slot is a variable in an engine.
type slot struct {
	v    reflect.Value
	zero reflect.Value
	item []byte // the item whose value it holds; nil when that is not known
}

func (s *slot) clear() { s.v.Set(s.zero); s.item = nil }

// loaded is an instance of an engine and what it holds. Definitions stay when the context turns to another
// namespace: code only reaches what the front end has checked it against.
type loaded struct {
	eng   engine
	gate  *gate
	defs  map[string]cell.Hash
	vars  map[string]*slot
	units map[int]bool
}

// newLoaded makes an instance of an engine. comp is where its units will come from.
func newLoaded(name string, comp *cell.Compiler, opt Options) (*loaded, error) {
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
	l := &loaded{gate: g, defs: map[string]cell.Hash{}, vars: map[string]*slot{}, units: map[int]bool{}}
	var err error
	if name == ns.EngineSSA {
		l.eng, err = newMachine(comp, opt)
	} else {
		l.eng, err = newInterpreter(opt, g.close, l.defs)
	}
	if err != nil {
		return nil, err
	}
	return l, nil
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
	var fresh []cell.Def
	var names []string
	for _, d := range u.Defs {
		if _, ok := l.defs[d.Key]; !ok {
			fresh = append(fresh, d)
			names = append(names, d.Key)
		}
	}
	if err := l.eng.Load(u, fresh); err != nil {
		return err
	}
	for _, d := range fresh {
		l.defs[d.Key] = d.Hash
	}
	all, err := l.eng.Vars(names)
	if err != nil {
		return err
	}
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

// orDiscard is w, or a writer that discards.
func orDiscard(w io.Writer) io.Writer {
	if w == nil {
		return io.Discard
	}
	return w
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

// close gives an instance up: what still runs in it writes nowhere any more.
func (l *loaded) close() {
	l.gate.close()
	l.eng.Close()
}
