package namespace

import (
	"errors"
	"fmt"
	"strings"

	"farm/namespace/cell"
	"farm/namespace/internal/item"
	"farm/namespace/value"
)

// Reasons a run fails, beside those below. All leave the namespace as it was.
type (
	// CompileError is returned when a cell is not valid Go here: Go's own messages with positions
	// line:col in the cell, at most ten.
	CompileError = cell.Error
	// NotAllowedError is returned when a cell uses a package, a member of a package or a construct that
	// farm does not run.
	NotAllowedError = cell.NotAllowedError
	// UnserializableError is returned when a variable holds, after a cell, what cannot be kept.
	UnserializableError = value.UnserializableError
)

// PanicError is returned when the code panicked.
type PanicError struct {
	Value string   // the value given to panic, as fmt prints it
	Stack []string // positions line:col, innermost first; those in the cell say "cell", others name the declaration
}

func (e *PanicError) Error() string {
	if len(e.Stack) == 0 {
		return "panic: " + e.Value
	}
	return "panic: " + e.Value + " (at " + strings.Join(e.Stack, ", ") + ")"
}

// ExitError is returned when the code ended the cell with a code other than 0 (os.Exit, log.Fatal), or its
// goroutine instead of returning (runtime.Goexit, code 0), or a call that was to give a result (os.Exit,
// any code).
type ExitError struct{ Code int }

func (e *ExitError) Error() string {
	if e.Code == 0 {
		return "the cell ended before its end (os.Exit or runtime.Goexit)"
	}
	return fmt.Sprintf("the cell exited (code %d)", e.Code)
}

// LimitError is returned when a cell, a value or a result is larger than a limit allows.
type LimitError struct {
	What       string   // "source", "variables", "declarations", "value of x", "delta", "result", "inputs"
	Limit, Got int64    // bytes or a count, as What says; Got is 0 when it is not known how much it would be
	Stack      []string // where code needed more than it may, as that of PanicError; nil for all else
}

func (e *LimitError) Error() string {
	if e.Got == 0 {
		return fmt.Sprintf("%s: more than the limit of %d", e.What, e.Limit)
	}
	return fmt.Sprintf("%s: %d is over the limit of %d", e.What, e.Got, e.Limit)
}

// GoroutineError is returned when goroutines started by the cell were still running when it returned.
type GoroutineError struct{ Count int }

func (e *GoroutineError) Error() string {
	return fmt.Sprintf("%d goroutine(s) of the cell were still running when it returned: wait for them in the cell", e.Count)
}

// CallError is returned when the function named by Run.Call cannot be called, or failed on an input.
type CallError struct {
	Func  string
	Input int // index of the input, -1 when the function itself is the reason
	Err   error
}

func (e *CallError) Error() string {
	if e.Input < 0 {
		return fmt.Sprintf("call %s: %v", e.Func, e.Err)
	}
	return fmt.Sprintf("call %s, input %d: %v", e.Func, e.Input, e.Err)
}

func (e *CallError) Unwrap() error { return e.Err }

// ReturnedError is what a called function returned as its last result, of type error.
type ReturnedError struct{ Message string }

func (e *ReturnedError) Error() string { return e.Message }

// Errors of reading and changing a namespace as data.
var (
	// ErrCorrupt is returned when an item is not in the documented form.
	ErrCorrupt = item.ErrCorrupt
	// ErrNoVariable is returned when the namespace has no variable of that name.
	ErrNoVariable = errors.New("namespace: no such variable")
	// ErrBadName is returned when a name cannot be that of a variable: not an identifier, blank, a
	// keyword, predeclared, or taken by a declaration or import of the namespace.
	ErrBadName = errors.New("namespace: not a variable name")
	// ErrBadValue is returned when a JSON value does not fit the variable's type or gives no type.
	ErrBadValue = errors.New("namespace: value does not fit")
	// ErrNeedsEngine is returned when a change cannot be made on data alone, because the variable shares
	// memory with others or its type is beyond JSON. An assignment in a cell can make it.
	ErrNeedsEngine = errors.New("namespace: cannot be set from JSON: assign it in a cell")
)

// InUseError is returned when a name cannot be deleted because declarations mention it or variables
// share its memory or have its type.
type InUseError struct {
	Name string
	By   []string // sorted
}

func (e *InUseError) Error() string {
	return fmt.Sprintf("%s is in use by %s", e.Name, strings.Join(e.By, ", "))
}
