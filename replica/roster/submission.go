package roster

import (
	"errors"
	"fmt"

	"google.golang.org/protobuf/proto"

	"farm/api"
	"farm/scheduler"
)

// errNoWork is returned for a submission that says nothing to do.
var errNoWork = errors.New("the task says nothing to do")

// Submission is the command that a submission asks for, of a client or of a task. It
// does not look at what Step decides.
func Submission(s *api.Submit) (*scheduler.Submit, error) {
	if s.GetWork() == nil {
		return nil, errNoWork
	}
	body, err := proto.Marshal(s.Work)
	if err != nil {
		return nil, fmt.Errorf("the task cannot be encoded: %w", err)
	}
	return &scheduler.Submit{ID: s.Id, Namespace: s.Namespace, Job: s.Job, Kind: scheduler.Run, Body: body,
		Timeout: s.Timeout, Retries: s.Retries, Priority: s.Priority, Delay: s.Delay}, nil
}
