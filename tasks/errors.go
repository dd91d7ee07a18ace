package tasks

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"farm/api"
)

// Errors of calls, for errors.Is.
var (
	// ErrNotFound is returned when the task, job, namespace or key does not
	// exist, or is no longer kept.
	ErrNotFound = errors.New("not found")
	// ErrConflict is returned when a request contradicts what is there.
	ErrConflict = errors.New("conflict")
	// ErrLimit is returned when a request is larger than a limit, or would
	// exceed one.
	ErrLimit = errors.New("limit reached")
	// ErrInvalid is returned when a request breaks a rule, whenever it is made.
	ErrInvalid = errors.New("invalid")
	// ErrUnavailable is returned when no node answered for Options.Timeout. It
	// is not known whether the request was carried out.
	ErrUnavailable = errors.New("farm is unavailable")
	// ErrTimeout is returned when a context's deadline passed before the answer
	// came. The context's error is wrapped as well.
	ErrTimeout = errors.New("timed out")
	// ErrCancelled is what a task that was cancelled has for its error.
	ErrCancelled = errors.New("cancelled")
	// ErrClosed is returned by calls on a client that was closed.
	ErrClosed = errors.New("client is closed")
)

// TaskError is why a task did not succeed. By its kind it is (errors.Is)
// ErrCancelled, ErrConflict, ErrLimit, ErrNotFound or ErrInvalid.
type TaskError struct {
	Task    string   // id
	Kind    string   // compile, not-allowed, panic, exit, crash, timeout, memory, cancelled, unserializable, limit, goroutine, call, conflict, not-found, invalid, lost, expired, dependency, internal; of a handler also error (what it returned) and stuck
	Message string   // for people; positions in a cell are line:col
	Stack   []string // of a panic, innermost first
}

// Error is the message after the kind.
func (e *TaskError) Error() string {
	if e.Message == "" {
		return e.Kind
	}
	return e.Kind + ": " + e.Message
}

// InputError is why one of the inputs of a map, or of a task with many, has no
// result. The error it wraps is a *TaskError.
type InputError struct {
	Task     string          // that had the input
	Position uint64          // of the input in its map, or in its task when that has no job
	Input    json.RawMessage // nil: the task had none, or it was not asked for
	Fold     bool            // what failed was feeding the results of a task to the fold
	Err      *TaskError
}

// Error says which input it is, and why.
func (e *InputError) Error() string {
	if e.Fold {
		return fmt.Sprintf("fold %s: %v", e.Task, e.Err)
	}
	return fmt.Sprintf("input %d: %v", e.Position, e.Err)
}

// Unwrap is why the call failed.
func (e *InputError) Unwrap() error { return e.Err }

// kinds are the kinds of a task's error that are errors of calls as well.
var kinds = map[string]error{"cancelled": ErrCancelled, "conflict": ErrConflict, "limit": ErrLimit, "not-found": ErrNotFound, "invalid": ErrInvalid}

// Is makes a task's error the error of its kind.
func (e *TaskError) Is(target error) bool { return target == kinds[e.Kind] }

// replyError turns the error of a reply into one of the above.
func replyError(e *api.Error) error {
	sentinel := ErrInvalid
	switch e.Code {
	case api.Code_NOT_FOUND:
		sentinel = ErrNotFound
	case api.Code_CONFLICT:
		sentinel = ErrConflict
	case api.Code_LIMIT:
		sentinel = ErrLimit
	case api.Code_TIMEOUT:
		sentinel = ErrTimeout
	case api.Code_UNAVAILABLE, api.Code_NOT_LEADER:
		sentinel = ErrUnavailable
	}
	if e.Message == "" {
		return sentinel
	}
	return fmt.Errorf("%w: %s", sentinel, e.Message)
}

// contextError is the error of a call whose context ended.
func contextError(ctx context.Context) error {
	if err := ctx.Err(); errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("%w: %w", ErrTimeout, err)
	}
	return context.Cause(ctx)
}
