package scheduler

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"farm/internal/wire"
)

// TaskState is where a task is. The package doc draws who moves it.
type TaskState uint8

// The states of a task. Succeeded, Failed and Cancelled are final: a task that
// reached one never changes again.
const (
	Queued    TaskState = iota + 1 // waits for a worker, for its turn in its namespace, or for its time
	Running                        // assigned to a worker, which runs it now or next
	Succeeded                      // its outcome and its namespace's change are committed
	Failed                         // it failed, and no retry was left
	Cancelled                      // cancelled before it succeeded
)

var stateNames = [...]string{"", "queued", "running", "succeeded", "failed", "cancelled"}

// String is the name used in JSON and on the command line.
func (s TaskState) String() string {
	if int(s) < len(stateNames) {
		return stateNames[s]
	}
	return fmt.Sprintf("state(%d)", uint8(s))
}

// Final tells whether no command changes a task in this state.
func (s TaskState) Final() bool { return s >= Succeeded }

// Kind says how a task is carried out.
type Kind uint8

// The kinds of task.
const (
	Run        Kind = iota + 1 // by a worker: a cell or a call, described by Body
	Patch                      // by Step itself: Body is an encoded Change of the namespace's items
	Drop                       // by Step itself: the namespace is removed
	Restore                    // by Step itself: the items are those of an earlier version again, see RestoreBody
	Fork                       // by Step itself: a new namespace gets the items of another, see ForkBody
	PatchParts                 // a Patch with items in parts, which it refers to while it waits for its turn
)

// Task is one execution asked for. Fields up to Submitted are fixed when it is
// submitted. Body and Outcome are opaque here: clients and workers agree on
// their shape.
type Task struct {
	ID        string
	Namespace string // empty: a fresh private context
	Job       string // the job it belongs to, or empty
	FoldOf    string // the task whose results this one feeds to its job's fold, or empty
	Kind      Kind
	Body      []byte
	Timeout   int64    // nanoseconds one attempt may take; 0 is the worker's default
	Retries   uint32   // how often it is tried again after it failed by itself
	Priority  int32    // higher is placed first among tasks that could be placed
	NotBefore int64    // unix nanoseconds before which it is not placed
	Parent    string   // the task that submitted it, or empty
	Depth     uint32   // parents above it
	Order     uint64   // position among all submissions
	Submitted int64    // unix nanoseconds, the log's time
	Options   *Options // nil: none

	State       TaskState
	Attempt     uint32 // number of the current or last attempt, from 1; 0 before the first
	Failures    uint32 // attempts that failed by themselves
	Losses      uint32 // attempts that ended because their worker was lost
	Worker      string // of the current or last attempt
	Incarnation uint64 // of that worker
	Epoch       uint64 // of the namespace's placement
	Started     int64  // unix nanoseconds, when the current or last attempt was assigned
	Finished    int64  // unix nanoseconds
	Cancelling  bool   // a cancel was asked for while it ran
	Causes      []string
	Outcome     []byte

	dirty   bool   // the record differs from the object
	stored  bool   // a live record exists
	seq     uint64 // position in its worker's assignments, 0 when not assigned
	done    uint64 // inputs that its last report has a result for
	given   int    // position among its worker's, while it is running
	inDue   int    // position in the heap of deadlines, if it has one
	held    bool   // waits for other tasks, and is in no line
	inQueue int    // position in the delayed heap or in its line, -1 when in neither
	line    *line  // it stands in when its turn has come; nil: it needs no worker
}

// Lengths and numbers a task may have; Step refuses more.
const (
	MaxIDBytes    = 128       // task ids, namespaces, job ids, worker ids
	MaxBodyBytes  = 1 << 20   // one task's body
	MaxCauses     = 8         // causes kept of failed and lost attempts, the newest
	MaxCauseBytes = 256       // one cause
	MaxOutcome    = 512 << 10 // one task's outcome, captured output included
	MaxRetries    = 1000
	MaxLosses     = 5 // workers a task may be running on when they are lost, before it is parked as failed
)

// Records of tasks are allocated together, and go together: when what they were made
// for has been written down.
const (
	recordRoom   = 64 << 10
	mostOfRecord = 1 << 10 // bytes that a record seldom exceeds, body and outcome left out
)

// record encodes a task, in as many bytes as it takes.
func (s *State) record(t *Task) []byte {
	need := len(t.Body) + len(t.Outcome) + mostOfRecord
	switch {
	case need > recordRoom/8:
		return t.append(make([]byte, 0, need))
	case cap(s.room)-len(s.room) < need:
		s.room = make([]byte, 0, recordRoom)
	}
	at, room := len(s.room), cap(s.room)
	b := t.append(s.room)
	if cap(b) != room { // it did not fit, and has moved
		return bytes.Clone(b[at:])
	}
	s.room = b
	return b[at:len(b):len(b)]
}

// optionsVersion is the format of the record of a task with options, and of a
// worker that has something; those without have the first. childVersion is that of
// a task that a task submitted, with options or without.
const (
	optionsVersion = 2
	childVersion   = 3
)

func (t *Task) append(b []byte) []byte {
	child, with := t.Parent != "" || t.Depth > 0, !t.Options.None()
	switch {
	case child:
		b = append(b, childVersion)
	case with:
		b = append(b, optionsVersion)
	default:
		b = append(b, recordVersion)
	}
	b = wire.AppendString(b, t.ID)
	b = wire.AppendString(b, t.Namespace)
	b = wire.AppendString(b, t.Job)
	b = wire.AppendString(b, t.FoldOf)
	b = append(b, byte(t.Kind), byte(t.State))
	b = wire.AppendBytes(b, t.Body)
	b = wire.AppendInt(b, t.Timeout)
	b = wire.AppendUint(b, uint64(t.Retries))
	b = wire.AppendInt(b, int64(t.Priority))
	b = wire.AppendInt(b, t.NotBefore)
	b = wire.AppendUint(b, t.Order)
	b = wire.AppendInt(b, t.Submitted)
	b = wire.AppendUint(b, uint64(t.Attempt))
	b = wire.AppendUint(b, uint64(t.Failures))
	b = wire.AppendUint(b, uint64(t.Losses))
	b = wire.AppendString(b, t.Worker)
	b = wire.AppendUint(b, t.Incarnation)
	b = wire.AppendUint(b, t.Epoch)
	b = wire.AppendUint(b, t.seq)
	b = wire.AppendInt(b, t.Started)
	b = wire.AppendInt(b, t.Finished)
	b = wire.AppendBool(b, t.Cancelling)
	b = wire.AppendUint(b, uint64(len(t.Causes)))
	for _, c := range t.Causes {
		b = wire.AppendString(b, c)
	}
	b = wire.AppendBytes(b, t.Outcome)
	switch {
	case with:
		b = t.Options.append(b)
	case child:
		b = (&Options{}).append(b)
	}
	if child {
		b = wire.AppendUint(wire.AppendString(b, t.Parent), uint64(t.Depth))
	}
	return b
}

func decodeTask(b []byte) (*Task, error) {
	r := wire.NewReader(b)
	v := r.Byte()
	if v != recordVersion && v != optionsVersion && v != childVersion {
		return nil, &VersionError{What: "task record", Got: v, Want: childVersion}
	}
	t := &Task{inQueue: -1}
	t.ID, t.Namespace, t.Job, t.FoldOf = r.String(), r.String(), r.String(), r.String()
	t.Kind, t.State = Kind(r.Byte()), TaskState(r.Byte())
	t.Body = r.Bytes()
	t.Timeout = r.Int()
	t.Retries = uint32(r.Uint())
	t.Priority = int32(r.Int())
	t.NotBefore = r.Int()
	t.Order = r.Uint()
	t.Submitted = r.Int()
	t.Attempt, t.Failures, t.Losses = uint32(r.Uint()), uint32(r.Uint()), uint32(r.Uint())
	t.Worker = r.String()
	t.Incarnation, t.Epoch, t.seq = r.Uint(), r.Uint(), r.Uint()
	t.Started, t.Finished = r.Int(), r.Int()
	t.Cancelling = r.Bool()
	for range r.Count() {
		t.Causes = append(t.Causes, r.String())
	}
	t.Outcome = r.Bytes()
	if v != recordVersion {
		o, err := readOptions(r)
		if err != nil {
			return nil, err
		}
		if !o.None() {
			t.Options = o
		}
	}
	if v == childVersion {
		t.Parent, t.Depth = r.String(), uint32(r.Uint())
	}
	return t, r.Done()
}

// blame records why an attempt ended, keeping the newest MaxCauses.
func (t *Task) blame(cause string) {
	cause = fmt.Sprintf("attempt %d: %s", t.Attempt, cause)
	if len(cause) > MaxCauseBytes {
		cause = cause[:MaxCauseBytes]
	}
	if len(t.Causes) == MaxCauses {
		t.Causes = t.Causes[1:]
	}
	t.Causes = append(t.Causes[:len(t.Causes):len(t.Causes)], cause)
}

// refusalMark is between code and detail in the cause of a task that Step
// would not carry out.
const refusalMark = ": "

// Refusal says why Step would not carry out a task that needs no worker, or take
// what one submits: a code, and the detail for people. Of a task with an outcome
// that says why it failed it means nothing. A patch refused with Conflict may be
// made again from the newer state.
func (t *Task) Refusal() (Code, string) {
	if t.State != Failed || len(t.Causes) == 0 {
		return 0, ""
	}
	_, cause, _ := strings.Cut(t.Causes[len(t.Causes)-1], ": ") // after the attempt
	name, detail, _ := strings.Cut(cause, refusalMark)
	return Code(max(slices.Index(codeNames[:], name), 0)), detail
}
