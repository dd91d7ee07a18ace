package namespace

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// Limits of what one run submits. They are met when the code submits, not at its end.
const (
	MaxSubmissions     = 500     // tasks
	MaxSubmissionBytes = 1 << 20 // of source, inputs and arguments, all of them together
	submissionCost     = 256     // bytes that one counts for beside those
	inputCost          = 8       // and an input or argument
)

// Submission is a task that a run asks for. It takes effect with the run, or not at all.
type Submission struct {
	ID        string // chosen by the code, or derived from the task's id and the position
	Namespace string // empty: a private one
	Job       string // that of the task that submits it, or empty
	Source    string
	Call      string
	Inputs    []json.RawMessage
	Args      map[string]string
	Timeout   time.Duration
	Delay     time.Duration
	Retries   int
	Priority  int
}

// Size is what a submission counts for in MaxSubmissionBytes.
func (s *Submission) Size() int {
	n := submissionCost + len(s.ID) + len(s.Namespace) + len(s.Source) + len(s.Call)
	for _, in := range s.Inputs {
		n += len(in) + inputCost
	}
	for k, v := range s.Args {
		n += len(k) + len(v) + 2*inputCost
	}
	return n
}

// SubmitError is returned when the code submitted what cannot be: the run has failed,
// whatever the code did about it.
type SubmitError struct {
	Number int   // of the submission, from 1
	Err    error // *CompileError and *NotAllowedError of its source, *LimitError, or what is wrong with it
}

func (e *SubmitError) Error() string { return fmt.Sprintf("submission %d: %v", e.Number, e.Err) }

func (e *SubmitError) Unwrap() error { return e.Err }

// ErrBadSubmission is returned, inside a SubmitError, for a submission that says nothing to do,
// or has a field out of range.
var ErrBadSubmission = errors.New("namespace: not a task")
