package namespace

import (
	"strings"

	"farm/namespace/internal/item"
)

// Header is the part of a variable's item that fixes its type and that it
// shares no memory with another: any other value of the same type, in memory of
// its own, begins with the same bytes. It is what a change made by SetJSON
// relies on. Nil for bytes that are not a variable's item with a value of its
// own.
func Header(variable []byte) []byte {
	v, err := item.ParseVar("", variable)
	if err != nil || v.Owner != "" || len(v.Shares) > 0 {
		return nil
	}
	return variable[:len(variable)-len(v.Data)]
}

// IsVariable tells whether the item of that key is a variable.
func IsVariable(key string) bool { return strings.HasPrefix(key, item.VarPrefix) }

// Head is how the item of a variable begins: all but its data. The functions of
// this package that do not look at values take it for the whole. Of what is no
// variable, or too little of one, it is all there is.
func Head(variable []byte) []byte {
	v, err := item.ParseVar("", variable)
	if err != nil {
		return variable
	}
	return variable[:len(variable)-len(v.Data)]
}

// Owner is the name of the variable that holds the value of one that shares
// memory, empty for one that holds its own.
func Owner(variable []byte) string {
	v, err := item.ParseVar("", variable)
	if err != nil {
		return ""
	}
	return v.Owner
}
