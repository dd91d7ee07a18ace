package tasks

import (
	"fmt"

	"farm/internal/label"
)

// needsOf is labels as the wire has them.
func needsOf(labels map[string]string) ([]string, error) {
	for k, v := range labels {
		if err := label.Check(k, v); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
		}
	}
	return label.Things(labels), nil
}
