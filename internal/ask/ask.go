// Package ask is what a task may ask for besides what it runs: where it waits, when it
// runs, and how often. Clients, handlers and cells ask with the same options, which are
// checked here once, and get the same defaults. What only the farm can know, as whether
// a task that is waited for exists, it checks itself.
package ask

import (
	"cmp"
	"crypto/sha256"
	"encoding/base32"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"farm/api"
	"farm/internal/label"
)

// The waits between the attempts of a task that says nothing else.
const (
	DefaultBackoff    = time.Second
	DefaultBackoffMax = 5 * time.Minute
)

// Limits of what one task submits. They are met when its code submits, not at its end.
const (
	MaxSubmissions     = 500     // tasks
	MaxSubmissionBytes = 1 << 20 // of what they are to do and ask for, all of them together
)

// Limits of what a task may ask for, which the farm has too.
const (
	MaxRetries = 1000
	MaxAhead   = 366 * 24 * time.Hour // how far ahead a time may be
)

// Options are those of one task. Zero fields ask for nothing.
type Options struct {
	Timeout    time.Duration // of one attempt
	Delay      time.Duration // before it may start
	At         time.Time     // before which it does not start, instead of Delay
	Deadline   time.Time     // when it fails unless it has ended
	Within     time.Duration // the same from the submission, instead of Deadline
	Retries    int
	Backoff    time.Duration // before the first retry; 0: DefaultBackoff; negative: none
	BackoffMax time.Duration // 0: DefaultBackoffMax
	Priority   int
	Queue      string
	Key        string
	Unique     Unique
	After      []string // tasks it runs after
	AfterWhen  string   // "all", "any" or "finished"; empty: "all"
	Keep       time.Duration
	Labels     map[string]string // that its worker must have
}

// Unique is a key that one task has at a time.
type Unique struct {
	Key   string
	While string        // "queued" or "running"; empty: "running", unless For is given
	For   time.Duration // from the submission
}

// Error says which option cannot be, and why.
type Error struct{ Option, Why string }

func (e *Error) Error() string { return e.Option + ": " + e.Why }

func bad(option, f string, a ...any) error { return &Error{option, fmt.Sprintf(f, a...)} }

// Check says of options by themselves whether they can be. The error is an *Error.
func (o *Options) Check() error {
	for _, d := range []struct {
		name string
		is   time.Duration
	}{{"Timeout", o.Timeout}, {"Delay", o.Delay}, {"Within", o.Within}, {"BackoffMax", o.BackoffMax}, {"Keep", o.Keep}} {
		if d.is < 0 {
			return bad(d.name, "it cannot be negative")
		}
		if d.is > MaxAhead {
			return bad(d.name, "%v is more than %v", d.is, MaxAhead)
		}
	}
	switch {
	case o.Retries < 0 || o.Retries > MaxRetries:
		return bad("Retries", "%d is out of range, the limit is %d", o.Retries, MaxRetries)
	case o.Priority < math.MinInt32 || o.Priority > math.MaxInt32:
		return bad("Priority", "%d is out of range", o.Priority)
	case o.Within > 0 && !o.Deadline.IsZero():
		return bad("Within", "a task has a deadline or a time within which it must end, not both")
	case o.Delay > 0 && !o.At.IsZero():
		return bad("At", "a task begins after a delay or at a time, not both")
	case o.AfterWhen != "" && len(o.After) == 0:
		return bad("AfterWhen", "the task runs after no other")
	case o.AfterWhen != "" && o.AfterWhen != "all" && o.AfterWhen != "any" && o.AfterWhen != "finished":
		return bad("AfterWhen", "%q is none of all, any and finished", o.AfterWhen)
	}
	for k, v := range o.Labels {
		if err := label.Check(k, v); err != nil {
			return bad("Labels", "%v", err)
		}
	}
	return o.Unique.check()
}

func (u *Unique) check() error {
	switch {
	case u.Key == "" && *u != (Unique{}):
		return bad("Unique", "it has no key")
	case u.For < 0 || u.For > 0 && u.While != "" || u.While != "" && u.While != "queued" && u.While != "running":
		return bad("Unique", "a key is held while a task is queued, while it is queued or running, or for a time")
	}
	return nil
}

// Put puts options into a request, with the defaults filled in. The error is that of
// Check.
func (o *Options) Put(s *api.Submit) error {
	if err := o.Check(); err != nil {
		return err
	}
	s.Timeout, s.Delay, s.Retries, s.Priority = int64(o.Timeout), int64(o.Delay), uint32(o.Retries), int32(o.Priority)
	s.At, s.Deadline, s.Within, s.Keep = nanos(o.At), nanos(o.Deadline), int64(o.Within), int64(o.Keep)
	first, most := o.waits()
	s.Backoff, s.BackoffMax = int64(first), int64(most)
	s.Queue, s.Key, s.Needs = o.Queue, o.Key, label.Things(o.Labels)
	s.After, s.AfterWhen = o.After, o.AfterWhen
	if u := o.Unique; u.Key != "" {
		s.Unique = &api.Unique{Key: u.Key, While: u.While, Period: int64(u.For)}
		if u.For == 0 {
			s.Unique.While = cmp.Or(u.While, "running")
		}
	}
	return nil
}

// waits are the waits before the first retry and the longest one.
func (o *Options) waits() (first, most time.Duration) {
	if o.Retries == 0 || o.Backoff < 0 {
		return 0, 0
	}
	first = cmp.Or(o.Backoff, DefaultBackoff)
	return first, max(first, cmp.Or(o.BackoffMax, DefaultBackoffMax))
}

// Get is the opposite of Put.
func Get(s *api.Submit) Options {
	labels, _ := label.Split(s.GetNeeds())
	o := Options{Timeout: time.Duration(s.GetTimeout()), Delay: time.Duration(s.GetDelay()), At: when(s.GetAt()), Deadline: when(s.GetDeadline()),
		Within: time.Duration(s.GetWithin()), Retries: int(s.GetRetries()), Priority: int(s.GetPriority()), Backoff: time.Duration(s.GetBackoff()),
		BackoffMax: time.Duration(s.GetBackoffMax()), Queue: s.GetQueue(), Key: s.GetKey(), After: s.GetAfter(), AfterWhen: s.GetAfterWhen(),
		Keep: time.Duration(s.GetKeep()), Labels: labels}
	if u := s.GetUnique(); u != nil {
		o.Unique = Unique{Key: u.Key, While: u.While, For: time.Duration(u.Period)}
	}
	if o.Retries > 0 && o.Backoff == 0 {
		o.Backoff = -1
	}
	return o
}

// nanos is a time as the wire has it, 0 for none.
func nanos(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixNano()
}

func when(ns int64) time.Time {
	if ns == 0 {
		return time.Time{}
	}
	return time.Unix(0, ns).UTC()
}

// Size is about how many bytes options have on the wire.
func (o *Options) Size() int {
	n := len(o.Queue) + len(o.Key) + len(o.Unique.Key)
	for _, id := range o.After {
		n += len(id)
	}
	for k, v := range o.Labels {
		n += len(k) + len(v)
	}
	return n
}

// maxDerived is how long a derived id may get behind that of the first task of its line, in bytes.
const maxDerived = 40

// ID is the id of the n-th task that a task submits, unless it has one of its own: the same in each
// attempt, and with a '/', so that no client can have chosen it. The first task of a line is always its
// beginning; of what grows too long behind that the rest is a hash.
func ID(parent string, n int) string {
	root, rest, _ := strings.Cut(parent, "/")
	if rest != "" {
		rest += "/"
	}
	rest += strconv.Itoa(n)
	if len(rest) > maxDerived {
		sum := sha256.Sum256([]byte(parent + "/" + strconv.Itoa(n)))
		rest = strings.ToLower(base32.StdEncoding.EncodeToString(sum[:15]))
	}
	return root + "/" + rest
}
