//go:build !amd64 && !arm64

package raw

// firstEntry is 0: there are no method entries for this processor. See Supported.
func firstEntry() uintptr { return 0 }
