//go:build !(linux && amd64)

package more

import "farm/namespace/vm/stdlib"

// table is empty: package syscall differs from system to system, and the programs are measured on linux/amd64.
var table map[string]stdlib.Package
