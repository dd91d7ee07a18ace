// Package yaegi is the engine of a live namespace on the yaegi interpreter.
//
// It loads and runs what package cell has checked and lowered; it checks nothing itself. It assumes
// that everything it is given came from there. One Engine is one interpreter. Interpreted code can end
// the process (running out of memory or stack, concurrent map writes): run engines in a process that
// may die.
package yaegi

import (
	"context"
	"errors"
	"fmt"
	"go/parser"
	"io"
	"path"
	"reflect"
	"strings"

	"github.com/traefik/yaegi/interp"
	"github.com/traefik/yaegi/stdlib"

	"farm/namespace/typeinfo/packages"
)

// Options of an Engine.
type Options struct {
	Stdout, Stderr io.Writer
	// Host are functions, constants and, as a reflect.Value, variables (addressable) and types (a nil
	// pointer to one) that the code can import, by import path and name. It goes before the packages that
	// the interpreter knows.
	Host map[string]map[string]any
}

// Engine is one interpreter. Its methods are not safe for concurrent use.
type Engine struct {
	interp *interp.Interpreter
	calls  map[string]*interp.Program
	loads  int
	trace  *traceWriter
}

// LoadError is what the interpreter says about code it cannot run. The engine is not usable after it.
type LoadError struct{ Msg string }

func (e *LoadError) Error() string { return "the interpreter cannot run this: " + e.Msg }

// PanicError is a panic of the code. Value is what was given to panic.
type PanicError struct {
	Value any
	Trace []string // "file:line:col", innermost first
}

func (e *PanicError) Error() string { return fmt.Sprint("panic: ", e.Value) }

// New makes an engine with nothing loaded.
func New(opt Options) (*Engine, error) {
	t := &traceWriter{out: opt.Stderr}
	i := interp.New(interp.Options{
		Stdin: strings.NewReader(""), Stdout: opt.Stdout, Stderr: t,
		Args: []string{"cell"}, Env: []string{}, GoPath: "/nonexistent",
		SourcecodeFilesystem: noFiles{},
	})
	if err := i.Use(symbols(opt)); err != nil {
		return nil, fmt.Errorf("yaegi: %w", err)
	}
	// Channel operations are compiled so that a run can be stopped in them once one run could have been.
	if _, err := i.EvalWithContext(context.Background(), "package main"); err != nil {
		return nil, fmt.Errorf("yaegi: %w", err)
	}
	return &Engine{interp: i, calls: map[string]*interp.Program{}, trace: t}, nil
}

// printers are the packages of the host whose functions print what they get, when they give nothing back:
// those see the methods of interpreted types as fmt does.
var printers = map[string]bool{"farm": true, "log": true}

// symbols are the native members: those of the allowed packages, with the standard output of the
// engine, and the host's.
func symbols(opt Options) interp.Exports {
	ex := interp.Exports{}
	for _, p := range packages.Allowed {
		base := path.Base(p)
		if p == "math/rand/v2" {
			base = "rand"
		}
		if s, ok := stdlib.Symbols[p+"/"+base]; ok {
			// The doubled slash is the same import path but keeps yaegi from compiling generic sources of
			// its own into each interpreter; lowered code has none.
			ex[p+"//"+base] = s
		}
	}
	prints := map[string][2]any{
		"Print":   {fmt.Print, func(a ...any) (int, error) { return fmt.Fprint(opt.Stdout, a...) }},
		"Printf":  {fmt.Printf, func(f string, a ...any) (int, error) { return fmt.Fprintf(opt.Stdout, f, a...) }},
		"Println": {fmt.Println, func(a ...any) (int, error) { return fmt.Fprintln(opt.Stdout, a...) }},
	}
	// Which parameters take a wrapper with the methods of an interpreted type.
	mapped := map[reflect.Value][]reflect.Type{}
	for k, v := range stdlib.MapTypes {
		mapped[k] = withErrors(v)
	}
	own := map[string]reflect.Value{}
	for n, v := range stdlib.Symbols["fmt/fmt"] {
		own[n] = v
	}
	for n, p := range prints {
		own[n] = reflect.ValueOf(p[1])
		mapped[own[n]] = withErrors(stdlib.MapTypes[reflect.ValueOf(p[0])])
	}
	ex["fmt//fmt"] = own
	for p, members := range opt.Host {
		real := stdlib.Symbols[p+"/"+path.Base(p)]
		m := map[string]reflect.Value{}
		for n, f := range members {
			v, ok := f.(reflect.Value)
			if !ok {
				v = reflect.ValueOf(f)
			}
			m[n] = v
			if printers[p] && v.Kind() == reflect.Func && v.Type().IsVariadic() && v.Type().NumOut() == 0 {
				mapped[v] = withErrors(stdlib.MapTypes[reflect.ValueOf(fmt.Print)])
			}
			if wrapper, ok := real["_"+n]; ok {
				m["_"+n] = wrapper
			}
		}
		ex[p+"//"+path.Base(p)] = m
	}
	ex["."] = map[string]reflect.Value{"MapTypes": reflect.ValueOf(mapped)}
	return ex
}

// Load declares what a source file declares. name must differ between loads. It returns *LoadError;
// the engine is then not usable any more.
func (e *Engine) Load(name, src string) (err error) {
	e.loads++
	defer func() {
		if r := recover(); r != nil {
			err = &LoadError{Msg: fmt.Sprint(r)}
		}
	}()
	f, err := parser.ParseFile(e.interp.FileSet(), name, src, parser.SkipObjectResolution)
	if err != nil {
		return &LoadError{Msg: err.Error()}
	}
	p, err := e.interp.CompileAST(f)
	if err != nil {
		return &LoadError{Msg: err.Error()}
	}
	if _, err := e.interp.Execute(p); err != nil {
		return &LoadError{Msg: err.Error()}
	}
	return nil
}

// Loads counts the loads: the interpreter keeps all it ever compiled and slows down.
func (e *Engine) Loads() int { return e.loads }

// Vars gives the loaded variables, addressable. The map is new at each call.
func (e *Engine) Vars() map[string]reflect.Value { return e.interp.Globals() }

// Prepare makes a loaded function without parameters and results ready to be run. It returns
// *LoadError.
func (e *Engine) Prepare(fn string) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = &LoadError{Msg: fmt.Sprint(r)}
		}
	}()
	p, err := e.interp.Compile(fn + "()")
	if err != nil {
		return &LoadError{Msg: err.Error()}
	}
	e.calls[fn] = p
	return nil
}

// Run runs a prepared function. It returns *PanicError, or the error of ctx when that ends first; the code
// may then still be running (in a native call that waits), and the engine must not be used again.
func (e *Engine) Run(ctx context.Context, fn string) error {
	e.trace.reset()
	_, err := e.interp.ExecuteWithContext(ctx, e.calls[fn])
	// When ctx ends, the interpreter writes that error while its own goroutine may be writing another:
	// what it returned then must not be looked at.
	if cause := ctx.Err(); cause != nil {
		return cause
	}
	if p, ok := errors.AsType[interp.Panic](err); ok {
		v := p.Value
		if rv, ok := v.(reflect.Value); ok && rv.IsValid() && rv.CanInterface() {
			v = rv.Interface()
		}
		return &PanicError{Value: v, Trace: e.trace.positions()}
	}
	return err
}
