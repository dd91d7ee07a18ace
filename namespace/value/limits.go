package value

// Defaults of Limits and ViewLimits.
const (
	// DefaultMaxBytes bounds one encoded unit, in bytes.
	DefaultMaxBytes = 1 << 20
	// DefaultMaxDepth bounds how deeply values may hold each other inline
	// (struct in array in interface ...), in levels. Pointers, slices and
	// maps do not count: a list may be as long as the bytes allow.
	DefaultMaxDepth = 500
	// DefaultMaxNodes bounds the values visited in one call, in values.
	DefaultMaxNodes = 8 << 20
	// DefaultViewDepth bounds the nesting of a JSON view, in levels.
	DefaultViewDepth = 32
	// DefaultViewBytes bounds a JSON view, in bytes. A view that is cut may
	// exceed it by the closing brackets and the truncation marks.
	DefaultViewBytes = 64 << 10
)

// Limits bound what Encode writes and Decode accepts. A zero field means its
// default.
type Limits struct {
	MaxBytes int // of one encoded unit
	MaxDepth int // levels of inline nesting
	MaxNodes int // values visited in one call
}

func (l Limits) withDefaults() Limits {
	if l.MaxBytes <= 0 {
		l.MaxBytes = DefaultMaxBytes
	}
	if l.MaxDepth <= 0 {
		l.MaxDepth = DefaultMaxDepth
	}
	if l.MaxNodes <= 0 {
		l.MaxNodes = DefaultMaxNodes
	}
	return l
}

// ViewLimits bound a JSON view. A zero field means its default.
type ViewLimits struct {
	MaxDepth int // levels
	MaxBytes int // of JSON
}

func (l ViewLimits) withDefaults() ViewLimits {
	if l.MaxDepth <= 0 {
		l.MaxDepth = DefaultViewDepth
	}
	if l.MaxBytes <= 0 {
		l.MaxBytes = DefaultViewBytes
	}
	return l
}
