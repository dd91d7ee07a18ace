//go:build !nogonum

package typeinfo

import _ "embed"

//go:embed gonum.bin
var gonumBlob []byte
