package worker

// The kinds of api.TaskError that a worker gives.
const (
	kindCompile        = "compile"
	kindNotAllowed     = "not-allowed"
	kindPanic          = "panic"
	kindExit           = "exit"
	kindCrash          = "crash"
	kindTimeout        = "timeout"
	kindMemory         = "memory"
	kindCancelled      = "cancelled"
	kindUnserializable = "unserializable"
	kindLimit          = "limit"
	kindGoroutine      = "goroutine"
	kindCall           = "call"
	kindConflict       = "conflict"
	kindInvalid        = "invalid"
	kindInternal       = "internal"
)
