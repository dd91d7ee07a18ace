//go:build nogonum

package gonum

import "farm/namespace/vm/stdlib"

// table is empty: the binary is built without gonum.
var table map[string]stdlib.Package
