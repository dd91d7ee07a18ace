package yaegi

import (
	"fmt"
	"reflect"

	"github.com/traefik/yaegi/interp"
)

// Wrappers give interpreted errors more methods than Error in native code, which asks for them: errors.Is
// and errors.As follow Unwrap, and ask Is. The interpreter takes the first of which a type has all methods.
// Their form is that of the interpreter's own wrappers: see package value.
type ( //nolint:errname // the interpreter and package value know wrappers by the underscore
	_errorUnwrapIs struct {
		IValue  any
		WError  func() string
		WUnwrap func() error
		WIs     func(error) bool
	}
	_errorUnwrap struct {
		IValue  any
		WError  func() string
		WUnwrap func() error
	}
	_errorIs struct {
		IValue any
		WError func() string
		WIs    func(error) bool
	}
)

func (w _errorUnwrapIs) Error() string     { return w.WError() }
func (w _errorUnwrapIs) Unwrap() error     { return w.WUnwrap() }
func (w _errorUnwrapIs) Is(err error) bool { return w.WIs(err) }
func (w _errorUnwrap) Error() string       { return w.WError() }
func (w _errorUnwrap) Unwrap() error       { return w.WUnwrap() }
func (w _errorIs) Error() string           { return w.WError() }
func (w _errorIs) Is(err error) bool       { return w.WIs(err) }

var errorWrappers = []reflect.Type{
	reflect.TypeFor[_errorUnwrapIs](), reflect.TypeFor[_errorUnwrap](), reflect.TypeFor[_errorIs](),
}

// wrapErrors makes an interpreter use these wrappers for type error.
func wrapErrors(i *interp.Interpreter) error {
	plain, ok := i.Symbols("")[""]["_error"]
	if !ok {
		return fmt.Errorf("yaegi: the interpreter has no wrapper of errors")
	}
	return i.Use(interp.Exports{".": {"MapTypes": reflect.ValueOf(map[reflect.Value][]reflect.Type{plain: errorWrappers})}})
}

// withErrors puts type error in front of the interfaces that functions of package fmt look for where those
// have Stringer: fmt asks for Error first.
func withErrors(ts []reflect.Type) []reflect.Type {
	for i, t := range ts {
		if t == reflect.TypeFor[fmt.Stringer]() {
			return append(append(ts[:i:i], reflect.TypeFor[error]()), ts[i:]...)
		}
	}
	return ts
}
