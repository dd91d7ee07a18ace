package tasks

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime/debug"
	"strings"
	"time"

	"farm/api"
	"farm/internal/attach"
)

// Limits of what a handler's attempt may report; the farm has the same or larger
// ones.
const (
	// MaxResult is the most bytes that a handler's result and what it printed may
	// have together.
	MaxResult    = 480 << 10
	maxCause     = 256      // bytes of a cause
	maxErrorText = 16 << 10 // bytes of an error's message
	maxStack     = 64       // lines of a panic's stack
)

// outcome is how a call of a handler ended.
type outcome struct {
	value json.RawMessage
	typ   string
	err   error
	stack []string      // of a panic
	left  time.Duration // the handler did not return in this time, and was left
}

// panicked is the error of a handler that panicked or ended its goroutine.
type panicked struct{ what string }

func (e *panicked) Error() string { return e.what }

// perform calls an attempt's handler. The outcome is written also when the handler
// ends the goroutine, and nothing is returned to.
func perform(a *run, out *outcome) {
	returned := false
	defer func() {
		if returned {
			return
		}
		what := "the handler ended its goroutine"
		if p := recover(); p != nil {
			what = fmt.Sprint(p)
		}
		*out = outcome{err: &panicked{what}, stack: stackLines(string(debug.Stack()))}
	}()
	value, err := a.handler.call(a.ctx, a.input)
	returned = true
	*out = outcome{value: value, typ: a.handler.typ, err: err}
}

// stackLines takes from a stack, as the runtime prints it, the frames from where
// it panicked on, one a line.
func stackLines(text string) []string {
	lines := strings.Split(strings.TrimSpace(text), "\n")[1:] // after the goroutine's number
	for i, l := range lines {
		if strings.HasPrefix(l, "panic(") { // all before it is about the recovering
			lines = lines[min(i+2, len(lines)):]
			break
		}
	}
	var out []string
	for i := 0; i+1 < len(lines) && len(out) < maxStack; i += 2 {
		if strings.Contains(lines[i], "farm/tasks.perform") {
			break
		}
		at, _, _ := strings.Cut(strings.TrimSpace(lines[i+1]), " +0x")
		out = append(out, clip(lines[i], 512)+" "+clip(at, 512))
	}
	return out
}

// report is what the farm is told of an attempt's end.
func (o outcome) report(a *run) *api.Complete {
	live := a.attempt.live
	live.mu.Lock()
	out := &api.Outcome{Stdout: append([]byte(nil), live.kept.Bytes()...), StdoutCut: live.cut}
	live.mu.Unlock()
	c := &api.Complete{Task: a.task, Attempt: a.attemptKey.attempt, Took: int64(time.Since(a.began)), Outcome: out}
	submits := live.takeSubmits()
	switch {
	case o.err == nil:
		c.Ending, c.Submits = api.Ending_SUCCESS, submits
		out.Value, out.Type = o.value, o.typ
		if a.assign.GetJob() != "" {
			c.Done = 1
		}
		if n := attach.OutcomeSize(out); n > MaxResult {
			out.Value, out.Type = nil, ""
			o.err = fmt.Errorf("result and output: %d bytes is over the limit of %d", n, MaxResult)
			c.Ending, c.Cause, c.Done, c.Submits = api.Ending_PERMANENT, "limit: "+o.err.Error(), 0, nil
			out.Error = &api.TaskError{Kind: "limit", Message: o.err.Error()}
		}
	case o.snoozed() != nil && !errors.Is(a.why, ErrCancelled):
		c.Ending, c.Wait, c.Outcome = api.Ending_SNOOZED, int64(o.snoozed().d), &api.Outcome{}
	default:
		e := o.failure(a)
		out.Error = e
		c.Ending, c.Cause = o.ending(a), clip(e.Kind+": "+e.Message, maxCause)
	}
	return c
}

// snoozed is the wish to be put off, nil when the handler did not ask for it.
func (o outcome) snoozed() (s *snoozeError) {
	errors.As(o.err, &s)
	return s
}

func (o outcome) ending(a *run) api.Ending {
	var final *finalError
	switch {
	case errors.Is(a.why, ErrCancelled):
		return api.Ending_STOPPED
	case errors.As(o.err, &final):
		return api.Ending_PERMANENT
	}
	return api.Ending_FAILURE
}

// failure says why an attempt failed.
func (o outcome) failure(a *run) *api.TaskError {
	e := &api.TaskError{Kind: "error", Message: o.err.Error(), Stack: o.stack}
	var p *panicked
	switch {
	case errors.Is(a.why, ErrCancelled):
		e.Kind, e.Message = "cancelled", "cancelled"
	case errors.Is(a.why, ErrTimeout):
		e.Kind, e.Message = "timeout", fmt.Sprintf("timed out after %v", time.Since(a.began).Round(time.Millisecond))
	case errors.Is(a.why, ErrStuck):
		e.Kind, e.Message = "stuck", fmt.Sprintf("it gave no sign of life for %v", a.handler.stuck)
	case errors.As(o.err, &p):
		e.Kind = "panic"
	case errors.Is(o.err, ErrInvalid):
		e.Kind = "invalid"
	}
	switch {
	case o.left > 0:
		e.Message += fmt.Sprintf("; the handler did not return within %v", o.left)
	case a.why != nil && !errors.Is(o.err, a.why) && !errors.Is(o.err, context.Canceled):
		e.Message += ": " + o.err.Error()
	}
	e.Message = clip(e.Message, maxErrorText)
	return e
}

// clip shortens text for people.
func clip(s string, limit int) string {
	if len(s) <= limit {
		return strings.ToValidUTF8(s, "?")
	}
	const more = "..."
	return strings.ToValidUTF8(s[:limit-len(more)], "") + more
}
