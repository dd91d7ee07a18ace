package tasks

import (
	"fmt"
	"time"

	"farm/api"
)

// When says what must have become of the tasks that a task runs after.
type When string

// The conditions of Task.AfterWhen. When what a task waits for cannot come any more,
// it fails with an error of kind "dependency".
const (
	AllSucceeded When = "all"      // each of them succeeded; the default
	AnySucceeded When = "any"      // one of them succeeded
	AllFinished  When = "finished" // each has ended, however it did
)

// The waits between the attempts of a task that says nothing else.
const (
	DefaultBackoff    = time.Second
	DefaultBackoffMax = 5 * time.Minute
)

// waits are those that a task asks for, with the defaults filled in.
func waits(retries int, first, most time.Duration) (time.Duration, time.Duration) {
	switch {
	case retries == 0 || first < 0:
		return 0, 0
	case first == 0:
		first = DefaultBackoff
	}
	if most == 0 {
		most = DefaultBackoffMax
	}
	return first, max(first, most)
}

// setTimes puts what the task asks for of time and of other tasks into a request.
func (t *Task) setTimes(s *api.Submit) error {
	switch {
	case t.Within < 0 || t.Keep < 0 || t.BackoffMax < 0:
		return fmt.Errorf("%w: a task's deadline, backoff and retention cannot be negative", ErrInvalid)
	case t.Within > 0 && !t.Deadline.IsZero():
		return fmt.Errorf("%w: a task has a deadline or a time within which it must end, not both", ErrInvalid)
	case t.Delay > 0 && !t.At.IsZero():
		return fmt.Errorf("%w: a task begins after a delay or at a time, not both", ErrInvalid)
	}
	first, most := waits(t.Retries, t.Backoff, t.BackoffMax)
	s.Backoff, s.BackoffMax = int64(first), int64(most)
	s.Deadline, s.Within, s.At, s.Keep = nanos(t.Deadline), int64(t.Within), nanos(t.At), int64(t.Keep)
	s.After, s.AfterWhen = t.After, string(t.AfterWhen)
	return nil
}

// nanos is a time as the wire has it, 0 for none.
func nanos(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixNano()
}

// readTimes is the opposite of setTimes, for what is known of a task.
func (i *Info) readTimes(t *api.Task) {
	i.NotBefore, i.Deadline, i.Keep = when(t.GetNotBefore()), when(t.GetDeadline()), time.Duration(t.GetKeep())
	i.After, i.AfterWhen, i.Awaits = t.GetAfter(), When(t.GetAfterWhen()), t.GetAwaits()
}
