package scheduler

import (
	"bytes"

	"farm/internal/part"
	"farm/internal/wire"
)

// Command is one request for a change of the state: one of the pointer types
// of this file. A log entry carries many.
type Command interface {
	// AppendTo appends the type byte and the body.
	AppendTo(b []byte) []byte
}

// Type bytes of commands in the log. A number once used is never used for
// something else.
const (
	cmdSubmit         = 1
	cmdCancel         = 2
	cmdComplete       = 3
	cmdReturn         = 4
	cmdWorkerUp       = 5
	cmdWorkerGone     = 6 // WorkerLost without the numbers of attempts
	cmdOpenJob        = 7
	cmdSealJob        = 8
	cmdCancelJob      = 9
	cmdTick           = 10
	cmdWorkerIdle     = 11
	cmdFound          = 12
	cmdWorkerLost     = 13
	cmdUpload         = 14
	cmdCompleteIn     = 15 // Complete with items in parts
	cmdSubmitWith     = 16 // Submit with options
	cmdWorkerWith     = 17 // WorkerUp with what the worker has
	cmdSetQueue       = 20
	cmdRetry          = 25
	cmdDiscard        = 26
	cmdPutSchedule    = 27
	cmdChangeSchedule = 28
	cmdFireSchedule   = 29
	cmdCompleteTo     = 30 // Complete that puts the task off
	cmdSlots          = 31

	cmdCompleteSubmits = 35 // Complete with submissions
	cmdFoundCounting   = 36 // Found, of a farm that counts parked tasks
	cmdCounted         = 37 // a number of inputs, then the Submit or Complete it belongs to
	cmdReplace         = 38
	cmdFoundPaged      = 39 // Found, of one that keeps the list of the finished in pages as well
	cmdNewest          = cmdFoundPaged
)

// Submit asks for a task. The client makes ID, so a repeat is recognised: the
// Result is then that of the task there is, with Duplicate set.
type Submit struct {
	ID, Namespace, Job string
	Kind               Kind
	Body               []byte
	Timeout            int64 // nanoseconds
	Retries            uint32
	Priority           int32
	Delay              int64    // nanoseconds from the log's time
	Options            *Options // nil: none
	// Inputs is how many inputs of its job the task has; 0: its job does not count
	// them. Every task of a job has it, or none.
	Inputs uint64
}

// Cancel asks for the end of a task that is not finished: a queued one is
// cancelled at once, a running one when its worker has stopped it.
type Cancel struct{ ID string }

// Status is how an attempt ended.
type Status uint8

// The ends of an attempt.
const (
	Success   Status = iota + 1
	Failure          // the task's own failure; tried again while Retries are left
	Permanent        // a failure that another try cannot change, such as source that does not compile
	Stopped          // stopped because a cancel was asked for

	// Snoozed says that the code asked for the task to be put off for a while. The
	// attempt counts for nothing. Only of tasks without a namespace, whose order
	// would have to wait with them.
	Snoozed Status = 30
)

func (s Status) known() bool { return s >= Success && s <= Stopped || s == Snoozed }

// Complete reports the end of an attempt. It is applied only if it comes from
// the attempt the state knows: same task, attempt, worker, incarnation, and for
// a namespace the same epoch and the version the attempt started from. Anything
// else is answered with Stale and changes nothing.
type Complete struct {
	Task        string
	Attempt     uint32
	Worker      string
	Incarnation uint64
	Epoch       uint64
	Base        uint64 // the namespace's version the attempt started from
	Status      Status
	Cause       string // why it failed, short, kept with the task
	Change      Change // of the namespace's items; only with Success
	Outcome     []byte
	Took        int64     // nanoseconds the attempt ran
	Wait        int64     // nanoseconds until the task may be placed again; only with Snoozed
	Submits     []*Submit // tasks that the attempt asks for, see submits.go; only with Success
	// Done is how many inputs of its job got a result. An attempt that failed may
	// have some: they count, and are folded, when the failure is the task's last.
	Done uint64
}

// Attempt names one attempt of a task.
type Attempt struct {
	Task   string
	Number uint32
}

// Return gives back attempts a worker has not begun, so that another may run
// them. It costs them nothing. Lacking says that the worker could not begin them
// for want of the namespace's state, and not for want of a slot.
type Return struct {
	Worker      string
	Incarnation uint64
	Lacking     bool
	Attempts    []Attempt
}

// WorkerUp announces a worker, or a new incarnation of one: what the older
// incarnation held is lost. Repeating it changes nothing.
type WorkerUp struct {
	Worker      string
	Incarnation uint64
	Node        string
	Slots       uint32
	Has         []string // labels and handlers, as in Options.Needs; sorted
}

// WorkerLost says that the leader gave up on an incarnation of a worker. Its
// tasks are queued again. Those in Began lose an attempt, if it is the current
// one: by the time of this command the log may have given the worker another,
// which has not begun. A number of 0 is any attempt. With Guess set the
// leader did not watch long enough to know which had begun, and the first
// Slots assigned are taken to have.
type WorkerLost struct {
	Worker      string
	Incarnation uint64
	Guess       bool
	Began       []Attempt
	Cause       string
}

// WorkerSlots says that a worker has another number of slots from now on, such
// as one whose code does not come back from an attempt that has ended. With 0 it
// is given nothing.
type WorkerSlots struct {
	Worker      string
	Incarnation uint64
	Slots       uint32
}

// AppendTo implements Command.
func (c *WorkerSlots) AppendTo(b []byte) []byte {
	b = wire.AppendUint(wire.AppendString(append(b, cmdSlots), c.Worker), c.Incarnation)
	return wire.AppendUint(b, uint64(c.Slots))
}

// WorkerIdle asks a worker to be given nothing new (Drain) or to be used again.
type WorkerIdle struct {
	Worker string
	Drain  bool
}

// OpenJob makes a job: tasks submitted with its ID belong to it. With Fold set,
// each task of the job that succeeds puts, in the same entry, one task into the
// namespace Fold that is to feed its results to the fold.
type OpenJob struct {
	ID   string
	Body []byte // opaque: what workers need to run the job's tasks
	Fold string // namespace, or empty
}

// SealJob says that Total tasks were submitted to a job and none will follow.
type SealJob struct {
	ID    string
	Total uint64
}

// CancelJob seals a job as it is and cancels its tasks.
type CancelJob struct{ ID string }

// Tick moves the state's clock when nothing else does.
type Tick struct{}

// Upload brings a part of a value, before the change that refers to it. The
// leader has made sure that Hash is that of Bytes. A part that is there is kept
// for longer; one that nothing comes to refer to is removed when UploadLease is
// over.
type Upload struct {
	Owner string // who sends it, a worker; empty: a client
	Hash  part.Hash
	Bytes []byte
}

// AppendTo implements Command.
func (c *Upload) AppendTo(b []byte) []byte {
	b = wire.AppendString(append(b, cmdUpload), c.Owner)
	b = append(b, c.Hash[:]...)
	return wire.AppendBytes(b, c.Bytes)
}

// Found gives the cluster its id, once.
type Found struct {
	Cluster string
	// Form is FormNewest but in the logs of farms that are older.
	Form Form
}

// Form says what a farm keeps since it was founded. Each has what those before it have.
type Form uint8

// The forms of farms.
const (
	FormPlain    Form = iota
	FormCounting      // tasks that failed are counted by queue, see parked.go
	FormPaged         // the list of the finished is in pages, see finished.go
	FormNewest   = FormPaged
)

// foundTypes are the types of Found by form.
var foundTypes = [...]byte{FormPlain: cmdFound, FormCounting: cmdFoundCounting, FormPaged: cmdFoundPaged}

// AppendTo implements Command.
func (c *Found) AppendTo(b []byte) []byte {
	return wire.AppendString(append(b, foundTypes[c.Form]), c.Cluster)
}

// AppendTo implements Command.
func (c *Submit) AppendTo(b []byte) []byte {
	b = appendCount(b, c.Inputs)
	with := !c.Options.None()
	if with {
		b = append(b, cmdSubmitWith)
	} else {
		b = append(b, cmdSubmit)
	}
	b = wire.AppendString(b, c.ID)
	b = wire.AppendString(b, c.Namespace)
	b = wire.AppendString(b, c.Job)
	b = append(b, byte(c.Kind))
	b = wire.AppendBytes(b, c.Body)
	b = wire.AppendInt(b, c.Timeout)
	b = wire.AppendUint(b, uint64(c.Retries))
	b = wire.AppendInt(b, int64(c.Priority))
	b = wire.AppendInt(b, c.Delay)
	if with {
		b = c.Options.append(b)
	}
	return b
}

// AppendTo implements Command.
func (c *Cancel) AppendTo(b []byte) []byte { return wire.AppendString(append(b, cmdCancel), c.ID) }

// AppendTo implements Command.
func (c *Complete) AppendTo(b []byte) []byte {
	b = appendCount(b, c.Done)
	submits := len(c.Submits) > 0
	inParts := submits || c.Change.InParts()
	putOff := c.Status == Snoozed && c.Change.Empty() && !submits
	switch {
	case putOff:
		b = append(b, cmdCompleteTo)
	case submits:
		b = append(b, cmdCompleteSubmits)
	case inParts:
		b = append(b, cmdCompleteIn)
	default:
		b = append(b, cmdComplete)
	}
	b = wire.AppendString(b, c.Task)
	b = wire.AppendUint(b, uint64(c.Attempt))
	b = wire.AppendString(b, c.Worker)
	b = wire.AppendUint(b, c.Incarnation)
	b = wire.AppendUint(b, c.Epoch)
	b = wire.AppendUint(b, c.Base)
	b = append(b, byte(c.Status))
	b = wire.AppendString(b, c.Cause)
	b = c.Change.append(b)
	if inParts {
		b = c.Change.appendParts(b)
	}
	b = wire.AppendBytes(b, c.Outcome)
	b = wire.AppendInt(b, c.Took)
	if putOff {
		b = wire.AppendInt(b, c.Wait)
	}
	if submits {
		b = appendSubmits(b, c.Submits)
	}
	return b
}

// AppendTo implements Command.
func (c *Return) AppendTo(b []byte) []byte {
	b = append(b, cmdReturn)
	b = wire.AppendString(b, c.Worker)
	b = wire.AppendUint(b, c.Incarnation)
	b = wire.AppendBool(b, c.Lacking)
	b = wire.AppendUint(b, uint64(len(c.Attempts)))
	for _, a := range c.Attempts {
		b = wire.AppendString(b, a.Task)
		b = wire.AppendUint(b, uint64(a.Number))
	}
	return b
}

// AppendTo implements Command.
func (c *WorkerUp) AppendTo(b []byte) []byte {
	if len(c.Has) > 0 {
		b = append(b, cmdWorkerWith)
	} else {
		b = append(b, cmdWorkerUp)
	}
	b = wire.AppendString(b, c.Worker)
	b = wire.AppendUint(b, c.Incarnation)
	b = wire.AppendString(b, c.Node)
	b = wire.AppendUint(b, uint64(c.Slots))
	if len(c.Has) > 0 {
		b = appendStrings(b, c.Has)
	}
	return b
}

// AppendTo implements Command.
func (c *WorkerLost) AppendTo(b []byte) []byte {
	b = append(b, cmdWorkerLost)
	b = wire.AppendString(b, c.Worker)
	b = wire.AppendUint(b, c.Incarnation)
	b = wire.AppendBool(b, c.Guess)
	b = wire.AppendUint(b, uint64(len(c.Began)))
	for _, a := range c.Began {
		b = wire.AppendString(b, a.Task)
		b = wire.AppendUint(b, uint64(a.Number))
	}
	return wire.AppendString(b, c.Cause)
}

// AppendTo implements Command.
func (c *WorkerIdle) AppendTo(b []byte) []byte {
	return wire.AppendBool(wire.AppendString(append(b, cmdWorkerIdle), c.Worker), c.Drain)
}

// AppendTo implements Command.
func (c *OpenJob) AppendTo(b []byte) []byte {
	b = wire.AppendString(append(b, cmdOpenJob), c.ID)
	b = wire.AppendBytes(b, c.Body)
	return wire.AppendString(b, c.Fold)
}

// AppendTo implements Command.
func (c *SealJob) AppendTo(b []byte) []byte {
	return wire.AppendUint(wire.AppendString(append(b, cmdSealJob), c.ID), c.Total)
}

// AppendTo implements Command.
func (c *CancelJob) AppendTo(b []byte) []byte {
	return wire.AppendString(append(b, cmdCancelJob), c.ID)
}

// AppendTo implements Command.
func (c *Tick) AppendTo(b []byte) []byte { return append(b, cmdTick) }

// readComplete reads a Complete, or one of its kinds, after the type byte.
func readComplete(t byte, r *wire.Reader) (*Complete, error) {
	x := &Complete{Task: r.String(), Attempt: uint32(r.Uint()), Worker: r.String(), Incarnation: r.Uint(), Epoch: r.Uint(), Base: r.Uint(),
		Status: Status(r.Byte()), Cause: r.String(), Change: readChange(r)}
	if t == cmdCompleteIn || t == cmdCompleteSubmits {
		x.Change.readParts(r)
	}
	x.Outcome, x.Took = r.Bytes(), r.Int()
	if t == cmdCompleteTo {
		x.Wait = r.Int()
	}
	if t == cmdCompleteSubmits {
		var err error
		if x.Submits, err = readSubmits(r); err != nil {
			return nil, err
		}
	}
	return x, nil
}

// DecodeCommand reads one command from r. Byte slices of the command are parts
// of r's input. Errors: wire.ErrCorrupt, or *VersionError for a type this
// version does not know.
func DecodeCommand(r *wire.Reader) (Command, error) {
	return decodeCommand(r, r.Byte())
}

// decodeCommand is DecodeCommand after the type byte.
func decodeCommand(r *wire.Reader, t byte) (Command, error) {
	var c Command
	switch t {
	case cmdSubmit, cmdSubmitWith:
		x := &Submit{ID: r.String(), Namespace: r.String(), Job: r.String(), Kind: Kind(r.Byte()), Body: r.Bytes(),
			Timeout: r.Int(), Retries: uint32(r.Uint()), Priority: int32(r.Int()), Delay: r.Int()}
		if t == cmdSubmitWith {
			var err error
			if x.Options, err = readOptions(r); err != nil {
				return nil, err
			}
		}
		c = x
	case cmdComplete, cmdCompleteIn, cmdCompleteTo, cmdCompleteSubmits:
		x, err := readComplete(t, r)
		if err != nil {
			return nil, err
		}
		c = x
	case cmdReturn:
		x := &Return{Worker: r.String(), Incarnation: r.Uint(), Lacking: r.Bool()}
		for range r.Count() {
			x.Attempts = append(x.Attempts, Attempt{r.String(), uint32(r.Uint())})
		}
		c = x
	case cmdWorkerUp, cmdWorkerWith:
		x := &WorkerUp{Worker: r.String(), Incarnation: r.Uint(), Node: r.String(), Slots: uint32(r.Uint())}
		if t == cmdWorkerWith {
			x.Has = readStrings(r)
		}
		c = x
	case cmdWorkerLost, cmdWorkerGone:
		x := &WorkerLost{Worker: r.String(), Incarnation: r.Uint(), Guess: r.Bool()}
		for range r.Count() {
			a := Attempt{Task: r.String()}
			if t == cmdWorkerLost {
				a.Number = uint32(r.Uint())
			}
			x.Began = append(x.Began, a)
		}
		x.Cause = r.String()
		c = x
	case cmdPutSchedule, cmdChangeSchedule, cmdFireSchedule:
		var err error
		if c, err = readSchedule(t, r); err != nil {
			return nil, err
		}
	case cmdCounted:
		return decodeCounted(r)
	default:
		if c = readPlain(t, r); c == nil && r.Err() == nil {
			return nil, &VersionError{What: "command type", Got: t, Want: cmdNewest}
		}
	}
	if err := r.Err(); err != nil {
		return nil, err
	}
	return c, nil
}

// readPlain reads a command of a type that always has the same fields, nil for
// other types.
func readPlain(t byte, r *wire.Reader) Command {
	switch t {
	case cmdCancel:
		return &Cancel{ID: r.String()}
	case cmdReplace:
		return readReplace(r)
	case cmdSlots:
		return &WorkerSlots{Worker: r.String(), Incarnation: r.Uint(), Slots: uint32(r.Uint())}
	case cmdWorkerIdle:
		return &WorkerIdle{Worker: r.String(), Drain: r.Bool()}
	case cmdOpenJob:
		return &OpenJob{ID: r.String(), Body: r.Bytes(), Fold: r.String()}
	case cmdSealJob:
		return &SealJob{ID: r.String(), Total: r.Uint()}
	case cmdCancelJob:
		return &CancelJob{ID: r.String()}
	case cmdTick:
		return &Tick{}
	case cmdUpload:
		return &Upload{Owner: r.String(), Hash: part.Hash(r.Fixed(part.HashBytes)), Bytes: r.Bytes()}
	case cmdFound, cmdFoundCounting, cmdFoundPaged:
		return &Found{Cluster: r.String(), Form: Form(bytes.IndexByte(foundTypes[:], t))}
	case cmdSetQueue:
		return readSetQueue(r)
	case cmdRetry:
		return &Retry{ID: r.String(), Request: r.String()}
	case cmdDiscard:
		return &Discard{ID: r.String()}
	}
	return nil
}
