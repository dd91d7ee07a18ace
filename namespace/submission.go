package namespace

import (
	"encoding/json"
	"errors"
	"fmt"

	"farm/internal/ask"
)

// Limits of what one run submits. They are met when the code submits, not at its end.
const (
	MaxSubmissions     = ask.MaxSubmissions     // tasks
	MaxSubmissionBytes = ask.MaxSubmissionBytes // of source, inputs and arguments, all of them together
	submissionCost     = 256                    // bytes that one counts for beside those
	inputCost          = 8                      // and an input or argument
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
	Files     map[string][]byte
	Engine    string
	Handler   string // instead of Source: a function of a worker of the user's own
	Input     json.RawMessage
	Options   ask.Options
}

// Size is what a submission counts for in MaxSubmissionBytes.
func (s *Submission) Size() int {
	n := submissionCost + len(s.ID) + len(s.Namespace) + len(s.Source) + len(s.Call) + len(s.Handler) + len(s.Input) + s.Options.Size()
	for _, in := range s.Inputs {
		n += len(in) + inputCost
	}
	for k, v := range s.Args {
		n += len(k) + len(v) + 2*inputCost
	}
	for k, v := range s.Files {
		n += len(k) + len(v) + 2*inputCost
	}
	return n
}

// SubmitError is returned when the code submitted what cannot be: the run has failed,
// whatever the code did about it.
type SubmitError struct {
	Number int    // of the submission, from 1
	Task   string // its id, empty when it has none yet
	Err    error  // *CompileError and *NotAllowedError of its source, *LimitError, or what is wrong with it
}

func (e *SubmitError) Error() string {
	if e.Task == "" {
		return fmt.Sprintf("submission %d: %v", e.Number, e.Err)
	}
	return fmt.Sprintf("submission %d, task %s: %v", e.Number, e.Task, e.Err)
}

func (e *SubmitError) Unwrap() error { return e.Err }

// ErrBadSubmission is returned, inside a SubmitError, for a submission that says nothing to do,
// or has a field out of range.
var ErrBadSubmission = errors.New("namespace: not a task")
