// Package live runs cells: a Context is a namespace loaded into an interpreter.
//
// A Context is a cache of a namespace and can be thrown away at any time; the items are the truth. It
// belongs in a process that may die, because code can end its process (see package yaegi). It never
// talks to a network or disk, and knows nothing of tasks beyond what a cell may ask.
//
// There are two engines, and a namespace is for one of them: the interpreter yaegi, whose code package cell
// lowers, and the machine of package vm, which runs Go as it is. Whatever the engine, it is the same codec
// that keeps the variables, and what follows holds for both.
//
// What makes it fast: a checked cell is kept by (definitions it was checked against, source), a loaded
// function by its content, and a variable is decoded only when code that can touch it runs and the
// engine does not hold that value already. Turning to another namespace is therefore a change of a few
// pointers, unless a name means something else there; then another instance of the engine takes over.
package live

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"

	ns "farm/namespace"
	"farm/namespace/cell"
	"farm/namespace/value"
	"farm/namespace/vm"
)

// Limits of what a context keeps. All of it can be made again.
const (
	maxEngines = 4        // instances of an engine at a time
	maxLoads   = 500      // loads after which an instance is replaced: it never forgets, and may slow down
	maxUnits   = 2000     // checked cells
	maxEnvs    = 500      // environments
	maxParsed  = 64 << 20 // bytes of source a compiler may have taken in before it is replaced
	fewMethods = 2048     // method entries of the process: with fewer, instances are let go of before one is made
)

// DefaultStackBytes is Options.StackBytes where nothing is said.
const DefaultStackBytes = 64 << 20

// Options of a Context.
type Options struct {
	Stdout, Stderr io.Writer // what cells print; nil discards
	Limits         ns.Limits
	// Progress, when set, is called by farm.Progress, from any goroutine of the cell.
	Progress func(done, total int)
	// StackBytes bounds what the calls of one goroutine take on the machine of package vm; 0: DefaultStackBytes.
	// The stack of interpreted code is that of the process.
	StackBytes int
	// Stuck, when set, has cells on the machine of package vm run in the goroutine that calls Run, which costs
	// less than one of their own. Code that was to end and goes on for a second all the same, in compiled code
	// that nothing can end, is not given up then: Stuck is called with the error that Run would return, from
	// another goroutine, and Run does not return. It is for processes that end with a context that is spent.
	Stuck func(error)
}

// Context is a live namespace. Its methods are not safe for concurrent use.
type Context struct {
	opt Options
	lim ns.Limits

	items  ns.Items
	sum    sum // of the definitions in items
	env    *cell.Env
	spent  bool
	checks checker // of what runs submit

	*side // of the engine at hand
	sides map[string]*side
}

// side is all that a context has for one engine: it can be made again.
type side struct {
	engine  string
	comp    *cell.Compiler
	envs    map[sum]*cell.Env
	units   map[unitKey]*unit
	engines []*loaded // most recently used first
}

// New makes a context of the empty namespace. It is cheap: interpreters are made when needed.
func New(opt Options) *Context {
	if opt.StackBytes <= 0 {
		opt.StackBytes = DefaultStackBytes
	}
	opt.Stdout, opt.Stderr = orDiscard(opt.Stdout), orDiscard(opt.Stderr)
	c := &Context{opt: opt, lim: opt.Limits.WithDefaults(), items: ns.Items{}, sides: map[string]*side{}}
	c.turnTo(ns.DefaultEngine)
	return c
}

// turnTo makes an engine the one at hand.
func (c *Context) turnTo(engine string) {
	if c.side != nil && c.side.engine == engine {
		return
	}
	s := c.sides[engine]
	if s == nil {
		s = &side{engine: engine}
		s.reset()
		c.sides[engine] = s
	}
	c.side, c.env = s, nil
}

// reset drops all that can be made again.
func (s *side) reset() {
	s.dropAll()
	value.Forget() // what the compiler that goes has made types of
	s.comp = cell.NewCompilerTo(ns.Target(s.engine))
	s.envs, s.units = map[sum]*cell.Env{}, map[unitKey]*unit{}
}

// Restore makes the context the namespace items. The map is not kept, its values are. It returns
// ns.ErrCorrupt, and is then the empty namespace.
func (c *Context) Restore(items ns.Items) error {
	c.items, c.sum, c.env = maps.Clone(items), sumOf(items), nil
	if c.items == nil {
		c.items = ns.Items{}
	}
	return c.settle()
}

// Update brings the context to the namespace that d makes of it, as when it was changed from outside.
// It returns ns.ErrCorrupt, and is then the empty namespace.
func (c *Context) Update(d ns.Delta) error {
	c.apply(d)
	return c.settle()
}

// settle finds the environment of the items. Values are not looked at until code needs them.
func (c *Context) settle() error {
	engine, err := ns.EngineOf(c.items)
	if err == nil {
		err = c.settleOn(engine)
	}
	if err != nil {
		c.items, c.sum = ns.Items{}, sum{}
		c.turnTo(ns.DefaultEngine)
		c.env, _ = ns.Env(c.comp, nil)
	}
	return err
}

// settleOn finds the environment of the items for an engine, and makes that the one at hand.
func (c *Context) settleOn(engine string) error {
	c.turnTo(engine)
	if len(c.envs) > maxEnvs || len(c.units) > maxUnits || c.comp.Size() > maxParsed {
		c.reset()
	}
	if c.env = c.envs[c.sum]; c.env != nil {
		return nil
	}
	env, err := ns.Env(c.comp, c.items)
	if err != nil {
		return err
	}
	c.env, c.envs[c.sum] = env, env
	return nil
}

func (c *Context) apply(d ns.Delta) {
	for k, v := range d.Put {
		if old, ok := c.items[k]; ok {
			c.sum.remove(k, old)
		}
		c.sum.add(k, v)
		c.items[k] = v
	}
	for _, k := range d.Delete {
		if old, ok := c.items[k]; ok {
			c.sum.remove(k, old)
			delete(c.items, k)
		}
	}
}

// Rollback takes the values back to the last good items. Run has done so itself when it failed; it is
// for a caller that lost faith in between. Interpreters are thrown away.
func (c *Context) Rollback() error {
	c.Close()
	return c.settle()
}

// Items is the namespace as it is now. The caller must not change it; the next call may.
func (c *Context) Items() ns.Items { return c.items }

// Spent says that code of a run that failed may still be running, where nothing can stop it. It has no way
// to the namespace any more, but it takes time and memory: the process should not be used much longer.
func (c *Context) Spent() bool { return c.spent }

// Close lets go of the engines. The context can be used again.
func (c *Context) Close() {
	for _, s := range c.sides {
		s.dropAll()
	}
}

func (s *side) dropAll() {
	for _, l := range s.engines {
		l.close()
	}
	s.engines = nil
}

// choose turns to the engine of a run. In a namespace that has none yet it is the one asked for.
func (c *Context) choose(r ns.Run) error {
	if r.Engine == "" || r.Engine == c.engine {
		return nil
	}
	engine, err := ns.ChooseEngine(c.items, r.Engine)
	if err != nil {
		return err
	}
	return c.settleOn(engine)
}

// Run runs a cell, or calls of a function. The result's delta is already applied. On error nothing has
// changed; the error is one of those of package namespace, or that of ctx when it ended first.
func (c *Context) Run(ctx context.Context, r ns.Run) (ns.Result, error) {
	if err := c.checkRun(r); err != nil {
		return ns.Result{}, err
	}
	if err := c.settle(); err != nil {
		return ns.Result{}, err
	}
	if err := c.choose(r); err != nil {
		return ns.Result{}, err
	}
	if err := ctx.Err(); err != nil {
		return ns.Result{}, err
	}
	main, call, err := c.compile(r)
	if err != nil {
		return ns.Result{}, err
	}
	l, err := c.engineFor(main, call)
	if err != nil {
		return ns.Result{}, err
	}
	t := &tx{c: c, l: l, run: r, touched: map[string]cell.Var{}, env: c.env, submits: &submissions{task: &r.Task, source: r.Source, check: &c.checks, lim: c.lim}}
	res, err := t.do(ctx, main, call)
	res.Submissions = t.submits.close()
	if err != nil || r.Discard {
		t.undo()
	}
	if err != nil && t.broken || t.l.eng.Bad() {
		c.drop(t.l)
	}
	if err != nil {
		return ns.Result{}, err
	}
	return res, nil
}

func (c *Context) checkRun(r ns.Run) error {
	if len(r.Source) > c.lim.Source {
		return &ns.LimitError{What: "source", Limit: int64(c.lim.Source), Got: int64(len(r.Source))}
	}
	if len(r.Inputs) > c.lim.Inputs {
		return &ns.LimitError{What: "inputs", Limit: int64(c.lim.Inputs), Got: int64(len(r.Inputs))}
	}
	return nil
}

// compile checks the cell and the call of a run, each nil when there is none.
func (c *Context) compile(r ns.Run) (main, call *unit, err error) {
	env := c.env
	if r.Source != "" || r.Call == "" {
		if main, err = c.unit(unitKey{env: env.Hash(), src: r.Source}, env); err != nil {
			return nil, nil, err
		}
		env = main.Env
	}
	if r.Call != "" {
		call, err = c.unit(unitKey{env: env.Hash(), call: r.Call}, env)
	}
	return main, call, err
}

// engineFor gives an instance of the engine in which the units are loaded. What the interpreter has loaded
// before can keep it from loading more: what a used one cannot load, one that is new must have refused.
func (c *Context) engineFor(units ...*unit) (*loaded, error) {
	for {
		l, err := c.fitting(units)
		if err != nil {
			return nil, err
		}
		fresh := l.eng.Loads() == 0
		if err = l.loadAll(units); err == nil {
			return l, nil
		}
		c.drop(l)
		if fresh {
			return nil, l.eng.Explain(err)
		}
	}
}

// fitting gives an engine that has no other definitions than the units need, and makes it the most recently
// used one.
func (c *Context) fitting(units []*unit) (*loaded, error) {
	fits := func(l *loaded) bool {
		for _, u := range units {
			if u != nil && !l.fits(u.Unit) {
				return false
			}
		}
		return l.eng.Loads() < maxLoads
	}
	at := slices.IndexFunc(c.engines, fits)
	if at < 0 {
		if c.engine == ns.EngineSSA && vm.MethodsLeft() < fewMethods {
			c.dropAll() // what they have of the process is what a new one may lack
		}
		l, err := newLoaded(c.engine, c.comp, c.opt)
		if err != nil {
			return nil, err
		}
		c.engines = append(c.engines, l)
		at = len(c.engines) - 1
	}
	l := c.engines[at]
	copy(c.engines[1:at+1], c.engines[:at])
	c.engines[0] = l
	for _, old := range c.engines[min(len(c.engines), maxEngines):] {
		old.close()
	}
	c.engines = c.engines[:min(len(c.engines), maxEngines)]
	return l, nil
}

func (s *side) drop(l *loaded) {
	l.close()
	for i, e := range s.engines {
		if e == l {
			s.engines = append(s.engines[:i:i], s.engines[i+1:]...)
			return
		}
	}
}

var errBug = errors.New("namespace/live: inconsistent state")

func bug(f string, a ...any) error { return fmt.Errorf("%w: %s", errBug, fmt.Sprintf(f, a...)) }
