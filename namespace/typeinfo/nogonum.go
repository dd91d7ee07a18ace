//go:build nogonum

package typeinfo

// gonumBlob is empty: the binary is built without gonum.
var gonumBlob []byte
