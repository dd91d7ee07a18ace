package vm

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/tools/go/ssa"
)

// run is one use of a machine, from its start until nothing of it goes on: what its goroutines look at to
// see whether they are to end.
type run struct {
	stop   atomic.Bool
	done   chan struct{} // closed with stop
	failed atomic.Pointer[failure]
	late   func()                // called when the run is ended, if not nil
	races  atomic.Pointer[races] // nil as long as there is one goroutine

	mu    sync.Mutex
	count int           // goroutines of the program, without the first
	idle  chan struct{} // has something when the count may be zero
}

// failure is the first error of a run that ended it from another goroutine.
type failure struct{ err error }

func newRun() *run { return &run{done: make(chan struct{}), idle: make(chan struct{}, 1)} }

// fail ends the run: at the next turn of a loop, call or wait of each goroutine.
func (r *run) fail(err error) {
	if r.failed.CompareAndSwap(nil, &failure{err}) {
		r.stop.Store(true)
		close(r.done)
		if r.late != nil {
			r.late()
		}
	}
}

// began and ended count the goroutines of the program.
func (r *run) began() {
	r.races.Store(allRaces())
	r.mu.Lock()
	defer r.mu.Unlock()
	r.count++
}

func (r *run) ended() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.count--; r.count == 0 {
		select {
		case r.idle <- struct{}{}:
		default:
		}
	}
}

func (r *run) goroutines() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.count
}

// wait waits until no goroutine is left, stop has a value or the time is over, and says how many are left.
func (r *run) wait(stop <-chan struct{}, patience time.Duration) int {
	if r.goroutines() == 0 {
		return 0
	}
	t := time.NewTimer(patience)
	defer t.Stop()
	for {
		if r.goroutines() == 0 {
			return 0
		}
		select {
		case <-r.idle:
		case <-stop:
			return r.goroutines()
		case <-t.C:
			return r.goroutines()
		}
	}
}

// ErrCancelled is returned by Run when Cancel ended it without an error of its own.
var ErrCancelled = errors.New("cancelled")

// ErrGoexit is returned when the first goroutine of a call ended itself by runtime.Goexit.
var ErrGoexit = errors.New("runtime.Goexit in the first goroutine")

// Cancel ends all that runs in the machine: at the next turn of a loop, call or wait.
func (m *Machine) Cancel(err error) { m.run.Load().fail(err) }

// Goroutines is the number of goroutines of the program at hand, the first included.
func (m *Machine) Goroutines() int { return m.run.Load().goroutines() + 1 }

// RunMain runs the initialisation of a package and its function main. Goroutines that are left end.
func (m *Machine) RunMain(ctx context.Context, pkg *ssa.Package) error {
	r := newRun()
	m.run.Store(r)
	defer context.AfterFunc(ctx, func() { r.fail(context.Cause(ctx)) })()
	err := m.first(r, pkg.Func("init"))
	if f := pkg.Func("main"); err == nil && f != nil {
		err = m.first(r, f)
	}
	if errors.Is(err, ErrGoexit) {
		err = r.withoutMain()
	}
	r.fail(ErrCancelled) // goroutines that are left
	if f := r.failed.Load(); !errors.Is(f.err, ErrCancelled) && !errors.Is(err, errExit0) {
		err = f.err
	}
	if errors.Is(err, errExit0) {
		err = nil
	}
	return err
}

// first calls a function without parameters and results in a thread of its own.
func (m *Machine) first(r *run, fn *ssa.Function) (err error) {
	t := m.threads.Get().(*thread)
	t.run, t.back = r, false
	defer func() {
		x := recover()
		if _, ok := x.(goexit); ok {
			err = ErrGoexit
		} else if x != nil {
			err = r.errorOf(x)
		}
	}()
	t.call(target{c: m.codeOf(fn)})
	t.done()
	return nil
}

// withoutMain waits for the other goroutines when the first one has called runtime.Goexit.
func (r *run) withoutMain() error {
	for r.goroutines() > 0 {
		select {
		case <-r.idle:
		case <-r.done:
			return r.errorOf(stopped{})
		}
	}
	return newPanicError("no goroutines (main called runtime.Goexit) - deadlock!", nil)
}

// errorOf turns what a panic carried out of a thread into an error.
func (r *run) errorOf(x any) error {
	switch x := x.(type) {
	case stopped:
		if f := r.failed.Load(); f != nil {
			return f.err
		}
		return ErrCancelled
	case *PanicError:
		return x
	case *typeError:
		return &LoadError{Msg: x.msg, Pos: x.pos, Refused: x.refused}
	case *ExitError:
		if x.Code == 0 {
			return errExit0
		}
		return x
	case *LimitError:
		return x
	}
	return newPanicError(x, nil)
}

// Call is how a function is run by Machine.Call.
type Call struct {
	// Program says that the function is a whole program: when it returns, its goroutines end. Otherwise
	// they are given Grace to end by themselves.
	Program bool
	Grace   time.Duration // for goroutines when the function has returned
	Hurry   time.Duration // for all that goes on, to end when it is told to
	// Stuck, if not nil, has the function run in the goroutine of the caller, which costs less than one of its
	// own: a new goroutine wakes a processor. Where Call would give the function up as stuck Stuck is called
	// with what Call would return, from another goroutine, and Call does not return.
	Stuck func(Ended)
}

// Ended is what came of a call.
type Ended struct {
	// Err is the error of the code: *PanicError, *ExitError (also of code 0), *LimitError, *LoadError,
	// ErrGoexit, or the cause of the context's end.
	Err error
	// Left are the goroutines that had not ended by themselves in time, those of a program that could not
	// be ended.
	Left int
	// Stuck says that something goes on all the same, in compiled code that nothing can end. The machine
	// is not to be used again.
	Stuck bool
}

// Call runs a function without parameters and results, until all that it has started has ended or ctx has.
// One call at a time.
func (m *Machine) Call(ctx context.Context, fn *ssa.Function, how Call) Ended {
	return m.within(ctx, how, func(r *run) error { return m.first(r, fn) })
}

// Text is a value as a panic shows it. Methods of it may run until ctx ends.
func (m *Machine) Text(ctx context.Context, v any, how Call) (string, Ended) {
	text := make(chan string, 1)
	end := m.within(ctx, how, func(*run) error {
		text <- textOf(v)
		return nil
	})
	select {
	case s := <-text:
		return s, end
	default:
		return "", end
	}
}

// within runs f, the first goroutine, and all that it starts.
func (m *Machine) within(ctx context.Context, how Call, f func(r *run) error) Ended {
	r := newRun()
	begin := r.aside
	if how.Stuck != nil {
		begin = r.here(how)
	}
	m.run.Store(r)
	defer context.AfterFunc(ctx, func() { r.fail(context.Cause(ctx)) })()
	err, stuck := begin(f, how.Hurry)
	left := 0
	if err == nil && !how.Program {
		left = r.wait(r.done, how.Grace)
	}
	r.fail(ErrCancelled)
	if f := r.failed.Load(); !errors.Is(f.err, ErrCancelled) {
		err, left = f.err, 0
	}
	err = exit0(err)
	if n := r.wait(nil, how.Hurry); n > 0 {
		left, stuck = max(left, n), true
	}
	return Ended{Err: err, Left: left, Stuck: stuck}
}

// exit0 is an error as Call tells it.
func exit0(err error) error {
	if errors.Is(err, errExit0) {
		return &ExitError{}
	}
	return err
}

// aside runs f in a goroutine of its own, and gives it up when it does not end.
func (r *run) aside(f func(r *run) error, hurry time.Duration) (err error, stuck bool) {
	over := make(chan error, 1)
	go func() { over <- f(r) }()
	return await(r, over, hurry)
}

// here gives what runs f in the goroutine of its caller, for good if f does not end: then another one tells
// how.Stuck. It is called before anything can end the run.
func (r *run) here(how Call) func(f func(r *run) error, hurry time.Duration) (err error, stuck bool) {
	var over atomic.Bool // f has returned or was given up, whichever was first
	r.late = func() {
		if over.Load() {
			return
		}
		time.AfterFunc(how.Hurry, func() {
			if over.CompareAndSwap(false, true) {
				how.Stuck(Ended{Err: exit0(r.errorOf(stopped{})), Stuck: true})
			}
		})
	}
	return func(f func(r *run) error, _ time.Duration) (error, bool) {
		err := f(r)
		if !over.CompareAndSwap(false, true) {
			select {}
		}
		return err, false
	}
}

// await waits for the first goroutine. When the run has been ended it does so for a while only.
func await(r *run, over <-chan error, hurry time.Duration) (err error, stuck bool) {
	select {
	case err = <-over:
		return err, false
	case <-r.done:
	}
	t := time.NewTimer(hurry)
	defer t.Stop()
	select {
	case err = <-over:
		return err, false
	case <-t.C:
		return r.errorOf(stopped{}), true
	}
}
