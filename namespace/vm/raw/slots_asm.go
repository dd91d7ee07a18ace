//go:build amd64 || arm64

package raw

// firstEntry is the address of the first method entry.
func firstEntry() uintptr
