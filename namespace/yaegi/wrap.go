package yaegi

import (
	"fmt"
	"reflect"
)

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
