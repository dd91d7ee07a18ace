package tasks

import (
	"encoding/json"
	"fmt"
	"time"

	"farm/api"
	"farm/internal/ask"
	"farm/internal/label"
)

// State is where a task is: "queued", "running", "succeeded", "failed" or
// "cancelled". The last three are final.
type State string

// The states of a task.
const (
	Queued    State = "queued"
	Running   State = "running"
	Succeeded State = "succeeded"
	Failed    State = "failed"
	Cancelled State = "cancelled"
)

// Final tells whether a task in this state never changes again.
func (s State) Final() bool { return s == Succeeded || s == Failed || s == Cancelled }

// Task is what can be asked for: a cell, calls of a function, or a call of a handler.
type Task struct {
	// ID makes the request repeatable: a second Submit with the same ID gets
	// the first one's task. Empty: NewID.
	ID string
	// Namespace the task runs in; empty: a fresh private context, gone afterwards.
	Namespace string
	// Source is a cell; with Call, a program whose functions can be called.
	// With Call it may be empty: the job's, or what the namespace declares.
	Source string
	// Call is a function to call once for each of Inputs (once, without
	// inputs, when it has no parameters).
	Call   string
	Inputs []json.RawMessage
	// Engine runs the code: "ssa" or "yaegi". Empty: that of the namespace, and "ssa"
	// in a new or private one. A namespace keeps the engine of its first cell; a task that
	// asks for another one fails.
	Engine string
	// Handler, instead of Source, is the name of a compiled function of a worker of
	// the user's own (see Handle), and Input what it is called with: JSON, at most
	// MaxInput bytes. It has no namespace.
	Handler string
	Input   json.RawMessage
	// Args can be read by the code.
	Args map[string]string
	// Files can be read by the code, by name, with farm.ReadFile. All together have at
	// most MaxFiles bytes.
	Files map[string][]byte
	// Timeout of one attempt; 0: the farm's default.
	Timeout time.Duration
	// Retries is how often a task that failed by itself is tried again. Losing
	// a worker does not count.
	Retries int
	// Priority: higher goes first where tasks compete; in one namespace order
	// is that of submission whatever the priorities.
	Priority int
	// Backoff is the wait before the first retry; it doubles with each, up to
	// BackoffMax, and is shortened by up to a quarter, by chance. 0: DefaultBackoff;
	// negative: retries come at once. In a namespace the tasks behind it wait as well.
	// What was lost with its worker does not wait.
	Backoff    time.Duration
	BackoffMax time.Duration // 0: DefaultBackoffMax
	// Delay before the task may start.
	Delay time.Duration
	// Queue the task is limited, paused and counted with; empty: DefaultQueue.
	Queue string
	// Key is what the limits per key of the queue count by; at most 256 bytes.
	// Empty: they do not concern the task.
	Key string
	// Unique asks that there is no other task with the same unique key. Not for
	// tasks of a job.
	Unique Unique
	// At is a time before which it does not start, instead of Delay.
	At time.Time
	// Deadline is when the task fails, with an error of kind "expired", unless it has
	// ended by then: one that runs is stopped. Within is the same, from when the task is
	// submitted.
	Deadline time.Time
	Within   time.Duration
	// After are the ids of tasks it runs after, at most 100, and AfterWhen what must
	// have become of them; empty: AllSucceeded. They must be known to the farm. Until
	// then it is queued, and holds up nothing, not even in its namespace.
	After     []string
	AfterWhen When
	// Keep is how long the task is kept after its end, 1 second to 90 days; 0: the
	// farm's default, 7 days.
	Keep time.Duration
	// Labels that a worker must have to be given the task. While none has them
	// all, the task waits.
	Labels map[string]string
	// Job the task belongs to, and the position of its first input in it.
	Job   string
	First uint64
}

// MaxFiles is the most bytes that all files of a task or of a job can have together.
const MaxFiles = 768 << 10

// MaxInput is the most bytes that the input of a handler can have.
const MaxInput = 768 << 10

// checkHandler says what cannot be meant of a task that calls a handler.
func (t *Task) checkHandler() error {
	switch {
	case t.Handler == "" && t.Input != nil:
		return fmt.Errorf("%w: an input is for a handler; a cell reads Args", ErrInvalid)
	case t.Handler == "":
		return nil
	case t.Source != "" || t.Call != "" || len(t.Inputs) > 0 || len(t.Files) > 0:
		return fmt.Errorf("%w: a task calls a handler with one input, or runs a cell", ErrInvalid)
	case t.Namespace != "":
		return fmt.Errorf("%w: a handler runs in its worker's own process and has no namespace", ErrInvalid)
	case len(t.Input) > MaxInput:
		return fmt.Errorf("%w: the input has %d bytes, the limit is %d", ErrLimit, len(t.Input), MaxInput)
	case t.Input != nil && !json.Valid(t.Input):
		return fmt.Errorf("%w: the input of a handler is JSON", ErrInvalid)
	}
	return nil
}

func checkFiles(files map[string][]byte) error {
	n := 0
	for name, b := range files {
		n += len(name) + len(b)
	}
	if n > MaxFiles {
		return fmt.Errorf("%w: the files have %d bytes, the limit is %d", ErrLimit, n, MaxFiles)
	}
	return nil
}

func (t *Task) submit(wait bool) (*api.Submit, error) {
	if t.ID == "" {
		t.ID = NewID()
	}
	if err := checkFiles(t.Files); err != nil {
		return nil, err
	}
	if err := t.checkHandler(); err != nil {
		return nil, err
	}
	inputs := make([][]byte, len(t.Inputs))
	for i, in := range t.Inputs {
		inputs[i] = in
	}
	s := &api.Submit{Id: t.ID, Namespace: t.Namespace, Job: t.Job, Wait: wait,
		Work: &api.Work{Source: t.Source, Call: t.Call, Inputs: inputs, Args: t.Args, Files: t.Files, First: t.First, Handler: t.Handler, Input: t.Input, Engine: t.Engine}}
	o := t.options()
	if err := o.Put(s); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	return s, nil
}

// options are what the task asks for besides what it runs.
func (t *Task) options() ask.Options {
	return ask.Options{Timeout: t.Timeout, Delay: t.Delay, At: t.At, Deadline: t.Deadline, Within: t.Within, Retries: t.Retries,
		Backoff: t.Backoff, BackoffMax: t.BackoffMax, Priority: t.Priority, Queue: t.Queue, Key: t.Key,
		Unique: ask.Unique{Key: t.Unique.Key, While: string(t.Unique.While), For: t.Unique.For},
		After:  t.After, AfterWhen: string(t.AfterWhen), Keep: t.Keep, Labels: t.Labels}
}

// setOptions is the opposite of options.
func (t *Task) setOptions(o ask.Options) {
	t.Timeout, t.Delay, t.At, t.Deadline, t.Within = o.Timeout, o.Delay, o.At, o.Deadline, o.Within
	t.Retries, t.Backoff, t.BackoffMax, t.Priority = o.Retries, o.Backoff, o.BackoffMax, o.Priority
	t.Queue, t.Key, t.Unique = o.Queue, o.Key, Unique{o.Unique.Key, While(o.Unique.While), o.Unique.For}
	t.After, t.AfterWhen, t.Keep = o.After, When(o.AfterWhen), o.Keep
	if len(o.Labels) > 0 {
		t.Labels = o.Labels
	}
}

// Info is what farm knows of a task. Fields not known yet are zero.
type Info struct {
	ID        string
	Namespace string
	Job       string
	Handler   string // it calls; empty for a cell
	Parent    string // the task that submitted it; empty for one of a client
	State     State
	Attempt   int // number of the current or last attempt, from 1
	Worker    string
	Value     json.RawMessage   // of the last expression
	Type      string            // Go type of Value
	Results   []json.RawMessage // of a call with inputs, in their order; nil for those it failed with
	Failed    []*InputError     // the inputs without a result, of a call that failed with some of them; without Input
	Stdout    string            // of the last attempt, once it ended
	Stderr    string
	StdoutCut bool // there was more than is kept
	StderrCut bool
	Error     *TaskError // why it failed; nil in other states
	Causes    []string   // why attempts ended that did not succeed
	Progress  *Progress  // what the attempt last said while it runs; nil: nothing
	Waiting   string     // of a queued task, from Client.Get: what for, in words
	Labels    map[string]string
	Queue     string // empty: no worker carries it out
	Key       string
	UniqueKey string
	Submitted time.Time
	Started   time.Time // of the current or last attempt
	Finished  time.Time
	NotBefore time.Time // of a queued task: when it may be tried, for its delay or backoff
	Deadline  time.Time // when it fails unless it has ended
	Keep      time.Duration
	After     []string // tasks it runs after
	AfterWhen When
	Awaits    []string // of After, those that have not ended, while it waits for them
}

// Err is nil unless the task failed or was cancelled.
func (i *Info) Err() error {
	switch {
	case i.State != Failed && i.State != Cancelled:
		return nil
	case i.Error != nil:
		return i.Error
	case i.State == Cancelled:
		return &TaskError{Task: i.ID, Kind: "cancelled"}
	default:
		return &TaskError{Task: i.ID, Kind: "internal", Message: "the task failed without a reason"}
	}
}

// Decode stores the task's value in v, as json.Unmarshal does.
func (i *Info) Decode(v any) error {
	if i.Value == nil {
		return fmt.Errorf("%w: task %s has no value", ErrNotFound, i.ID)
	}
	return json.Unmarshal(i.Value, v)
}

func newInfo(t *api.Task) *Info {
	i := &Info{
		ID: t.GetId(), Namespace: t.GetNamespace(), Job: t.GetJob(), Parent: t.GetParent(), State: State(t.GetState()), Attempt: int(t.GetAttempt()), Worker: t.GetWorker(),
		Value: t.GetValue(), Type: t.GetType(), Stdout: string(t.GetStdout()), Stderr: string(t.GetStderr()),
		StdoutCut: t.GetStdoutCut(), StderrCut: t.GetStderrCut(), Causes: t.GetCauses(),
		Submitted: when(t.GetSubmitted()), Started: when(t.GetStarted()), Finished: when(t.GetFinished()),
	}
	i.Waiting, i.Queue, i.Key, i.UniqueKey = t.GetWaiting(), t.GetQueue(), t.GetKey(), t.GetUnique()
	i.readTimes(t)
	labels, handlers := label.Split(t.GetNeeds())
	if i.Labels = labels; len(handlers) > 0 {
		i.Handler = handlers[0]
	}
	if len(i.Value) == 0 {
		i.Value = nil
	}
	for _, r := range t.GetResults() {
		if len(r) == 0 {
			r = nil
		}
		i.Results = append(i.Results, r)
	}
	for _, f := range t.GetFailed() {
		i.Failed = append(i.Failed, &InputError{Task: i.ID, Position: t.GetFirst() + uint64(f.GetIndex()), Err: newTaskError(i.ID, f.GetError())})
	}
	if p := t.GetProgress(); p != nil {
		i.Progress = newProgress(p)
	}
	i.Error = newTaskError(i.ID, t.GetError())
	return i
}

func newTaskError(task string, e *api.TaskError) *TaskError {
	if e == nil {
		return nil
	}
	return &TaskError{Task: task, Kind: e.Kind, Message: e.Message, Stack: e.Stack}
}

// when is the time of unix nanoseconds, zero for 0.
func when(ns int64) time.Time {
	if ns == 0 {
		return time.Time{}
	}
	return time.Unix(0, ns).UTC()
}

// Job is what farm knows of a job.
type Job struct {
	ID         string
	State      string // open, running, succeeded, failed, cancelled
	Total      uint64 // tasks submitted to it
	Spawned    uint64 // of them, by tasks and not by its client
	Succeeded  uint64
	Failed     uint64 // failed or cancelled
	Folds      uint64 // tasks that feed results to the fold
	Folded     uint64
	FoldFailed uint64
	LastFold   string // id of the newest fold task that succeeded
	FirstError string // id of the first task that did not succeed
	Inputs     uint64 // of its tasks; 0 when an older farm took them
	Done       uint64 // of them, those that have a result
	Retries    uint64 // how often it was retried
	Created    time.Time
	Finished   time.Time
}

func newJob(j *api.Job) *Job {
	return &Job{ID: j.GetId(), State: j.GetState(), Total: j.GetTotal(), Spawned: j.GetSpawned(), Succeeded: j.GetSucceeded(), Failed: j.GetFailed(),
		Folds: j.GetFolds(), Folded: j.GetFolded(), FoldFailed: j.GetFoldFailed(), LastFold: j.GetLastFold(), FirstError: j.GetFirstError(),
		Inputs: j.GetInputs(), Done: j.GetDone(), Retries: j.GetRetries(),
		Created: when(j.GetCreated()), Finished: when(j.GetFinished())}
}

// Status is the state of the cluster as a whole.
type Status struct {
	Leader  string // id of the node that leads, empty while none does
	Term    uint64
	Nodes   []NodeStatus
	Workers []WorkerStatus
	Tasks   TaskCounts
	Queues  []*Queue // those that Client.Queues lists
}

// NodeStatus is one node of the cluster.
type NodeStatus struct {
	ID        string
	Raft, API string // addresses
	PID       int
	Role      string // leader, follower, candidate, unknown
	Voter     bool
	Applied   uint64 // last log entry in its state
	Hash      string // of its state at Applied
	Reachable bool
	Version   string
	// Refused is how many reports of superseded attempts the node saw refused since
	// it started: work of workers that were given up, and were still at it.
	Refused uint64
	// Withdrawn is how many attempts such workers came back with, to this node.
	Withdrawn  uint64
	Goroutines int
}

// WorkerStatus is one worker.
type WorkerStatus struct {
	ID, Node    string
	Slots, Busy int
	State       string // ready, draining, away
	Assigned    int    // attempts it has, running or next
	// Isolation is how well its child processes are confined: "full", or what is
	// missing ("no landlock, no seccomp"); empty when the leader has not heard it.
	Isolation string
	Labels    map[string]string
	Handlers  []string // compiled handlers it serves; if any, it runs no cells
}

// TaskCounts are the tasks in each state: live ones now, final ones ever.
type TaskCounts struct{ Queued, Running, Succeeded, Failed, Cancelled uint64 }

func newStatus(s *api.Status) *Status {
	out := &Status{Leader: s.GetLeader(), Term: s.GetTerm(),
		Tasks: TaskCounts{s.GetQueued(), s.GetRunning(), s.GetSucceeded(), s.GetFailed(), s.GetCancelled()}}
	for _, n := range s.GetNodes() {
		out.Nodes = append(out.Nodes, NodeStatus{ID: n.Id, Raft: n.Raft, API: n.Api, PID: int(n.Pid), Role: n.Role, Voter: n.Voter,
			Applied: n.Applied, Hash: n.Hash, Reachable: n.Reachable, Version: n.Version, Refused: n.Refused, Withdrawn: n.Withdrawn, Goroutines: int(n.Goroutines)})
	}
	for _, q := range s.GetQueues() {
		out.Queues = append(out.Queues, newQueue(q))
	}
	for _, w := range s.GetWorkers() {
		out.Workers = append(out.Workers, newWorker(w))
	}
	return out
}

func newWorker(w *api.WorkerInfo) WorkerStatus {
	labels, handlers := label.Split(w.Has)
	return WorkerStatus{ID: w.Id, Node: w.Node, Slots: int(w.Slots), Busy: int(w.Busy), State: w.State, Assigned: int(w.Assigned), Isolation: w.Isolation,
		Labels: labels, Handlers: handlers}
}
