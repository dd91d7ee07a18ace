package tasks

import (
	"time"

	"farm/api"
	"farm/internal/ask"
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
	DefaultBackoff    = ask.DefaultBackoff
	DefaultBackoffMax = ask.DefaultBackoffMax
)

// readTimes reads what is known of a task's times, and of what it waits for.
func (i *Info) readTimes(t *api.Task) {
	i.NotBefore, i.Deadline, i.Keep = when(t.GetNotBefore()), when(t.GetDeadline()), time.Duration(t.GetKeep())
	i.After, i.AfterWhen, i.Awaits = t.GetAfter(), When(t.GetAfterWhen()), t.GetAwaits()
}
