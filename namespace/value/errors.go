package value

import "fmt"

// UnserializableError says which variable cannot be kept, where in it, and
// why. It is returned by Encode (and by FromGo, with an empty Variable).
type UnserializableError struct {
	Variable string // name of the root
	Path     string // Go-like path from the variable, "" for the variable itself: ".Next[3]"
	Reason   string // what is there: "a channel", "a func value"
}

func (e *UnserializableError) Error() string {
	if e.Variable+e.Path == "" {
		return "the value cannot be kept: it is " + e.Reason
	}
	return fmt.Sprintf("%s%s cannot be kept: it is %s", e.Variable, e.Path, e.Reason)
}

// CorruptError says that encoded bytes are damaged, of an unknown format, or
// of other types than asked for. Nothing has been changed by the call.
type CorruptError struct {
	Offset int // bytes from the start, about where it was noticed
	Reason string
}

func (e *CorruptError) Error() string {
	return fmt.Sprintf("encoded value is corrupt at byte %d: %s", e.Offset, e.Reason)
}

// LimitError says which limit of this package a value exceeds.
type LimitError struct {
	What  string // name of the field of Limits, or of the constant
	Limit int
	Got   int // what was met, at least; it may be more
}

func (e *LimitError) Error() string {
	return fmt.Sprintf("value exceeds %s: %d, limit %d", e.What, e.Got, e.Limit)
}

// JSONError says why JSON text does not fit a type. It is returned by
// FromJSON, InferJSON and DecodeJSON.
type JSONError struct {
	Path   string // where in the JSON: "$.names[2]"
	Reason string
}

func (e *JSONError) Error() string { return fmt.Sprintf("JSON at %s: %s", e.Path, e.Reason) }
