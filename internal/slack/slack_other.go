//go:build !linux

package slack

import "time"

// Process does nothing: only Linux has this.
func Process(time.Duration) error { return nil }
