package scheduler

import (
	"farm/internal/wire"
)

// A finished task that did not succeed is kept with all it needs to run, so that it
// can be made live again, or dropped before its time.

// Retry makes a task live again that failed or was cancelled: the same task, whose
// attempts go on counting, with no failure and no loss to its name. Its place in
// line is the last. A job it belongs to counts it as unfinished again, and is open
// again if it was finished.
type Retry struct {
	ID      string
	Request string // made by the client: a repeat of the last Retry of a task changes nothing
}

// Discard removes a task that failed or was cancelled from the list of the finished.
type Discard struct{ ID string }

// AppendTo implements Command.
func (c *Retry) AppendTo(b []byte) []byte {
	return wire.AppendString(wire.AppendString(append(b, cmdRetry), c.ID), c.Request)
}

// AppendTo implements Command.
func (c *Discard) AppendTo(b []byte) []byte { return wire.AppendString(append(b, cmdDiscard), c.ID) }

func (s *State) retry(c *Retry) Result {
	t := s.Task(c.ID)
	switch {
	case len(c.Request) > MaxIDBytes:
		return refuse(Invalid, "the id of a request has %d bytes, the limit is %d", len(c.Request), MaxIDBytes)
	case t == nil:
		return refuse(NotFound, "there is no task %s", c.ID)
	case !t.State.Final() || c.Request != "" && t.timing().request == c.Request:
		return Result{Code: Duplicate, Order: t.Order}
	case t.State == Succeeded:
		return refuse(Conflict, "task %s succeeded", c.ID)
	}
	if r := s.retryAllowed(t); r.Code != OK {
		return r
	}
	s.unkeep(t)
	s.rejoin(t)
	t.Failures, t.Losses, t.Cancelling, t.Outcome, t.Finished, t.NotBefore = 0, 0, false, nil, 0, 0
	s.renewDeadline(t)
	if t.Kind == PatchParts {
		s.pinBody(t.Body)
	}
	if c.Request != "" {
		t.options().request = c.Request
	}
	s.holdAgain(t)
	s.enter(t)
	return Result{Code: OK, Order: t.Order}
}

// options are those of a task, which has some from now on.
func (t *Task) options() *Options {
	if t.Options == nil {
		t.Options = &Options{}
	}
	return t.Options
}

// retryAllowed says whether a finished task can be made live again. The task is the
// caller's, who makes it live.
func (s *State) retryAllowed(t *Task) Result {
	if r := s.roomFor(t.Namespace); r.Code != OK {
		return r
	}
	if t.Options != nil {
		if r := s.placesAllowed(t.Options); r.Code != OK {
			return r
		}
	}
	if r := s.uniqueAgain(t); r.Code != OK {
		return r
	}
	s.noteEnded(t)
	if r := s.awaitable(t); r.Code != OK {
		return r
	}
	if t.FoldOf != "" && s.Task(t.FoldOf) == nil {
		return refuse(Conflict, "task %s, whose results it folds, is no longer kept", t.FoldOf)
	}
	if t.Job != "" {
		switch j := s.Job(t.Job); {
		case j == nil || j.Created > t.Submitted: // another one with the same id
			return refuse(Conflict, "job %s of the task is no longer kept", t.Job)
		case j.Cancelled:
			return refuse(Conflict, "job %s of the task was cancelled", t.Job)
		case j.Finished != 0 && len(s.jobs) >= MaxJobs:
			return refuse(Limit, "%d jobs are open, which is the limit", len(s.jobs))
		default:
			if r := s.aloneAllowed(j, t); r.Code != OK {
				return r
			}
		}
	}
	if t.Kind == PatchParts {
		x, err := DecodeChange(t.Body)
		if err != nil || s.partsThere(&x).Code != OK {
			return refuse(Conflict, "the large values that task %s was to put are no longer kept", t.ID)
		}
	}
	return Result{Code: OK}
}

// rejoin has the job of a finished task count it as unfinished again.
func (s *State) rejoin(t *Task) {
	if t.Job == "" {
		return
	}
	j := s.Job(t.Job)
	s.reopen(j)
	if j.counted() {
		s.rec.Delete(failedKey(j.ID, t.Order))
	}
	if t.FoldOf != "" {
		j.FoldFailed--
	} else {
		j.Failed--
	}
	if j.FirstError == t.ID {
		j.FirstError = ""
	}
	s.touchJob(j)
}

func (s *State) discard(c *Discard) Result {
	t := s.Task(c.ID)
	switch {
	case t == nil:
		return refuse(NotFound, "there is no task %s", c.ID)
	case t.State != Failed && t.State != Cancelled:
		return refuse(Conflict, "task %s is %s: only what failed or was cancelled can be dropped", c.ID, t.State)
	}
	s.unkeep(t)
	return Result{Code: OK, Order: t.Order}
}

// unkeep takes a finished task out of the list of the finished.
func (s *State) unkeep(t *Task) {
	if k := s.kept[t.ID]; k != nil {
		s.dropKept(k)
		return
	}
	s.unpark(t)
	s.unlist(listedTask, t.ID, t.Finished)
	s.rec.Delete("t/" + t.ID)
}
