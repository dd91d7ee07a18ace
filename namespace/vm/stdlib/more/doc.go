// Package more has packages of compiled Go that cells may not use, for measuring whole programs on the
// virtual machine. Only the command that measures may import it.
package more

import "farm/namespace/vm/stdlib"

// Table are the packages.
func Table() stdlib.Table { return table }
