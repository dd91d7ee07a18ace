package vm

import (
	"errors"
	"fmt"
	"go/token"
	"go/types"
	"io"
	"reflect"
	"sync"
	"sync/atomic"

	"golang.org/x/tools/go/ssa"

	"farm/namespace/vm/raw"
)

// Symbols are the packages of compiled Go that programs may use.
type Symbols interface {
	// Type is an exported type of a package, nil when there is none or it is generic.
	Type(pkg, name string) reflect.Type
	// Func is an exported function, not valid when there is none.
	Func(pkg, name string) reflect.Value
	// Var is the address of an exported variable, not valid when there is none.
	Var(pkg, name string) reflect.Value
}

// Limits of a machine.
type Limits struct {
	Frames    int   // calls within each other in a goroutine
	Registers int   // of both kinds, in a goroutine
	Callbacks int   // calls from compiled code back into the machine, within each other, of all goroutines
	Memory    int64 // bytes of one allocation
}

// withDefaults fills in what is zero.
func (l Limits) withDefaults() Limits {
	set := func(v *int, d int) {
		if *v == 0 {
			*v = d
		}
	}
	set(&l.Frames, 4<<20)
	set(&l.Registers, 32<<20)
	set(&l.Callbacks, 10_000)
	if l.Memory == 0 {
		l.Memory = 1 << 36
	}
	return l
}

// Options of a Machine.
type Options struct {
	Stdout, Stderr io.Writer
	Symbols        Symbols
	Fset           *token.FileSet // of the positions in errors
	Limits         Limits
}

// Machine runs a program. Its functions are compiled when they are first called.
type Machine struct {
	opt   Options
	lim   Limits
	syms  Symbols
	prog  *ssa.Program
	types typeTable

	mu      sync.Mutex
	codes   map[*ssa.Function]*code
	globals map[*ssa.Global]raw.Pointer

	run       atomic.Pointer[run] // the one at hand; what compiled code calls back belongs to it
	callbacks atomic.Int64
	threads   sync.Pool
	callers   callers
	adapters  adapters
	natives   sync.Map // raw.Pointer → string: functions of compiled Go as values
}

// New makes a machine for a program. All packages of the program must have been built.
func New(prog *ssa.Program, opt Options) (*Machine, error) {
	if err := raw.Supported(); err != nil {
		return nil, err
	}
	m := &Machine{opt: opt, lim: opt.Limits.withDefaults(), syms: opt.Symbols, prog: prog, codes: map[*ssa.Function]*code{}, globals: map[*ssa.Global]raw.Pointer{}}
	m.run.Store(newRun())
	m.types.m, m.types.prog = m, prog
	m.threads.New = func() any { return newThread(m, nil) }
	return m, nil
}

// codeOf gives the code of a function.
func (m *Machine) codeOf(fn *ssa.Function) *code {
	m.mu.Lock()
	defer m.mu.Unlock()
	c := m.codes[fn]
	if c == nil {
		c = &code{m: m, fn: fn, name: goName(fn), recover: -1}
		m.codes[fn] = c
	}
	return c
}

// global is where a package variable is.
func (m *Machine) global(g *ssa.Global) raw.Pointer {
	m.mu.Lock()
	p := m.globals[g]
	m.mu.Unlock()
	if p != nil {
		return p
	}
	if v := m.syms.Var(g.Pkg.Pkg.Path(), g.Name()); v.IsValid() {
		p = v.UnsafePointer()
	} else {
		p = raw.New(m.typeOf(g.Type().Underlying().(*types.Pointer).Elem()).Type)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if q := m.globals[g]; q != nil {
		return q
	}
	m.globals[g] = p
	return p
}

// MethodsLeft is how many method entries the process has left, for types that are still to be made: up to three for
// each method of a type.
func MethodsLeft() int { return raw.SlotsLeft() }

// Close lets go of what the process keeps for the machine. Nothing of it may run any more, and nobody may use
// values of its types.
func (m *Machine) Close() {
	m.types.mu.Lock()
	defer m.types.mu.Unlock()
	for _, f := range m.types.forged {
		f.Release()
	}
	m.types.forged = nil
}

// stopped is what a panic carries that ends a thread; no code of the program sees it.
type stopped struct{}

var errExit0 = errors.New("exit 0")

// ExitError is returned when the program called os.Exit with another code than 0.
type ExitError struct{ Code int }

func (e *ExitError) Error() string { return fmt.Sprintf("exit status %d", e.Code) }

// LoadError is returned when code cannot be run by the machine.
type LoadError struct {
	Msg     string
	Pos     string // where the code is that cannot be run, "" when that is not known
	Refused bool   // it uses something that the machine does not have on purpose
}

func (e *LoadError) Error() string {
	if e.Pos == "" {
		return e.Msg
	}
	return e.Pos + ": " + e.Msg
}

// LimitError is returned when code needs more than the machine gives.
type LimitError struct {
	What  string
	Limit int64
	Stack []string // where, as that of PanicError; nil when it was not the code's own call
}

// StackOverflow is the LimitError.What of calls within each other that are too many or need too much.
const StackOverflow = "stack overflow"

func (e *LimitError) Error() string { return fmt.Sprintf("%s: limit %d", e.What, e.Limit) }

// PanicError is returned when a goroutine of the program panics.
type PanicError struct {
	Value any
	Text  string   // of the value, made when it happened: later, no method of it can run
	Stack []string // where, innermost first, as "function at file:line:column"
}

func (e *PanicError) Error() string { return "panic: " + e.Text }

// newPanicError describes a panic while methods of its value can still run.
func newPanicError(v any, stack []string) *PanicError {
	return &PanicError{Value: v, Text: textOf(v), Stack: stack}
}

// textOf is a value as a panic shows it. A method of the value may panic again.
func textOf(v any) (text string) {
	defer func() {
		if r := recover(); r != nil {
			text = fmt.Sprintf("a %T, whose text cannot be had", v)
		}
	}()
	if err, ok := v.(error); ok {
		return err.Error()
	}
	return fmt.Sprint(v)
}
