package raw

// firstEntry is the address of the first method entry.
func firstEntry() uintptr
