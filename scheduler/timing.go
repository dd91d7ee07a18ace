package scheduler

import (
	"slices"

	"farm/internal/wire"
)

// Timing is what a task may ask for of the log's time, and of other tasks. Times
// are unix nanoseconds, durations nanoseconds; 0 asks for nothing.
type Timing struct {
	// Backoff is the wait before the first retry. It doubles with each, up to
	// BackoffMax; see backoff.go.
	Backoff, BackoffMax int64
	// Deadline is when the task fails unless it is final by then; see deadline.go.
	// Within is the same counted from the submission, or from when a finished task
	// was made live again, and then sets Deadline.
	Deadline, Within int64
	// At is a time before which the task does not start. It is in commands alone:
	// the task has NotBefore.
	At int64
	// Keep is for how long the finished task is kept, instead of Retention.
	Keep int64
	// After are the tasks it waits for, and AfterWhen what must have become of them.
	After     []string
	AfterWhen When

	// What follows is state, which only records have.

	ended   []byte // what became of each of After, see after.go
	request string // that made the finished task live again last
}

// Tags of Timing, among those of Options.
const (
	optBackoff  = 20
	optDeadline = 21
	optWithin   = 22
	optAt       = 23
	optKeep     = 24
	optAfter    = 25
	optEnded    = 30
	optRequest  = 31
)

// Limits of times.
const (
	MaxAhead   = 366 * 24 * 3600 * second // how far ahead a time may be
	MaxBackoff = 24 * 3600 * second
	MinKeep    = second
	MaxKeep    = 90 * 24 * 3600 * second
)

// none tells whether none of it is set.
func (o *Timing) none() bool {
	return o.Backoff == 0 && o.BackoffMax == 0 && o.Deadline == 0 && o.Within == 0 && o.At == 0 && o.Keep == 0 &&
		len(o.After) == 0 && len(o.ended) == 0 && o.request == ""
}

func (o *Timing) write(w *optionWriter) {
	whole := func(tag uint64, v int64) {
		if v != 0 {
			w.put(tag, wire.AppendInt(w.room[:0], v))
		}
	}
	if o.Backoff != 0 || o.BackoffMax != 0 {
		w.put(optBackoff, wire.AppendInt(wire.AppendInt(w.room[:0], o.Backoff), o.BackoffMax))
	}
	whole(optDeadline, o.Deadline)
	whole(optWithin, o.Within)
	whole(optAt, o.At)
	whole(optKeep, o.Keep)
	if len(o.After) > 0 {
		w.put(optAfter, appendStrings(append(w.room[:0], byte(o.AfterWhen)), o.After))
	}
	if len(o.ended) > 0 {
		w.put(optEnded, o.ended)
	}
	if o.request != "" {
		w.put(optRequest, append(w.room[:0], o.request...))
	}
}

// set reads one option; false: it is none of Timing.
func (o *Timing) set(tag uint64, r *wire.Reader) bool {
	switch tag {
	case optBackoff:
		o.Backoff, o.BackoffMax = r.Int(), r.Int()
	case optDeadline:
		o.Deadline = r.Int()
	case optWithin:
		o.Within = r.Int()
	case optAt:
		o.At = r.Int()
	case optKeep:
		o.Keep = r.Int()
	case optAfter:
		o.AfterWhen, o.After = When(r.Byte()), readStrings(r)
	case optEnded:
		o.ended = r.Fixed(len(r.Rest()))
	case optRequest:
		o.request = string(r.Fixed(len(r.Rest())))
	default:
		return false
	}
	return true
}

// clone copies what a command asks for.
func (o *Timing) clone() Timing {
	c := *o
	c.After = slices.Clone(o.After)
	return c
}

// allowed says whether a client may ask for this, as far as its form goes.
func (o *Timing) allowed() Result {
	switch {
	case o.Backoff < 0 || o.BackoffMax < o.Backoff || o.BackoffMax > MaxBackoff:
		return refuse(Invalid, "the backoff of a task is out of range: at most %d hours, the longest wait no shorter than the first", MaxBackoff/second/3600)
	case o.Deadline < 0 || o.Within < 0 || o.Within > MaxAhead:
		return refuse(Invalid, "the deadline of a task is out of range: at most %d days ahead", MaxAhead/second/24/3600)
	case o.At < 0:
		return refuse(Invalid, "the time at which a task is to start is out of range")
	case o.Keep != 0 && (o.Keep < MinKeep || o.Keep > MaxKeep):
		return refuse(Invalid, "a finished task is kept for %d seconds to %d days", MinKeep/second, MaxKeep/second/24/3600)
	case o.ended != nil || o.request != "":
		return refuse(Invalid, "the task comes with options that are not its client's")
	}
	return o.afterForm()
}

// timesAllowed says whether the times of a submission, and the tasks it waits for,
// are possible now.
func (s *State) timesAllowed(c *Submit, b *batch) Result {
	if c.Options == nil {
		return Result{Code: OK}
	}
	o := &c.Options.Timing
	switch most := s.Clock + MaxAhead; {
	case o.Deadline > most:
		return refuse(Invalid, "the deadline of the task is more than %d days ahead", MaxAhead/second/24/3600)
	case o.At > most:
		return refuse(Invalid, "the time at which the task is to start is more than %d days ahead", MaxAhead/second/24/3600)
	}
	return s.afterAllowed(c.ID, o, b)
}

// setTimes gives a task that is submitted the times it asks for.
func (s *State) setTimes(t *Task) {
	o := t.Options
	if o == nil {
		return
	}
	if o.At > s.Clock {
		t.NotBefore = max(t.NotBefore, o.At)
	}
	o.At = 0
	s.setDeadline(t)
	s.noteEnded(t)
}

// timing is what a task asks for of time, the zero Timing where it asks for nothing.
func (t *Task) timing() *Timing {
	if t.Options == nil {
		return &noTiming
	}
	return &t.Options.Timing
}

var noTiming Timing // never changed
