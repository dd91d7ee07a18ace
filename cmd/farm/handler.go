package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"

	"farm/tasks"
)

// validateHandler checks the flags of a call of a handler, and says of those that
// are for it alone when there is none.
func (o *submitOptions) validateHandler(hasCode bool) error {
	switch {
	case o.task.Handler == "" && o.input != "":
		return usage("submit: --json-input goes with --handler; code reads --arg and --file")
	case o.task.Handler == "":
		return nil
	case hasCode || o.file != "":
		return usage("submit: give code or --handler, not both")
	case o.task.Namespace != "" || len(o.files) > 0:
		return usage("submit: a handler runs in its worker's own process: it has no --ns and no --file")
	case o.input != "" && o.input != "-" && !json.Valid([]byte(o.input)):
		return usage("submit: --json-input %q is not JSON", o.input)
	}
	return nil
}

func (a *app) runSubmitHandler(ctx context.Context, addr string, o *submitOptions) error {
	if o.input == "-" {
		b, err := io.ReadAll(io.LimitReader(a.io.in, tasks.MaxInput+1))
		if err != nil {
			return fmt.Errorf("standard input: %w", err)
		}
		o.input = string(b)
	}
	if o.input != "" {
		o.task.Input = json.RawMessage(o.input)
	}
	conn, err := a.connect(ctx, addr)
	if err != nil {
		return err
	}
	defer conn.close()
	return a.runSubmitTo(ctx, conn, source{name: "handler " + o.task.Handler}, o)
}

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
