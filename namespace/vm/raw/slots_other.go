//go:build !amd64

package raw

// firstEntry is never called: see Supported.
func firstEntry() uintptr { return 0 }
