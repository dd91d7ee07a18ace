package main

import (
	"fmt"

	"farm/tasks"
)

// progressText is how far an attempt is, in a line.
func progressText(p *tasks.Progress) string {
	text := fmt.Sprint(p.Done)
	if p.Total > 0 {
		text = fmt.Sprintf("%d of %d (%d%%)", p.Done, p.Total, 100*p.Done/p.Total)
	}
	if p.Message != "" {
		text += ": " + p.Message
	}
	return text
}
