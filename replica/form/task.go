package form

import (
	"fmt"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	"farm/api"
	"farm/scheduler"
)

// Task is a task as clients see it.
func Task(t *scheduler.Task) *api.Task {
	v := &api.Task{Id: t.ID, Namespace: t.Namespace, Job: t.Job, State: t.State.String(), Attempt: t.Attempt, Worker: t.Worker,
		Submitted: t.Submitted, Started: t.Started, Finished: t.Finished, Causes: t.Causes, Order: t.Order, Parent: t.Parent}
	showOptions(v, t)
	var o api.Outcome
	if err := proto.Unmarshal(t.Outcome, &o); err != nil {
		v.Error = &api.TaskError{Kind: "internal", Message: "the stored outcome cannot be read"}
		return v
	}
	if t.State != scheduler.Failed || len(o.Failed) > 0 { // what it would have given, had Step not refused it, is nobody's
		v.Value, v.Type, v.Results, v.Failed = o.Value, o.Type, o.Results, o.Failed
	}
	v.Stdout, v.Stderr, v.StdoutCut, v.StderrCut = o.Stdout, o.Stderr, o.StdoutCut, o.StderrCut
	v.Error = o.Error
	if v.Error == nil {
		v.Error = impliedError(t)
	}
	return v
}

// impliedError is the error of a task that ended without a worker's report.
func impliedError(t *scheduler.Task) *api.TaskError {
	last := ""
	if len(t.Causes) > 0 {
		_, last, _ = strings.Cut(t.Causes[len(t.Causes)-1], ": ")
	}
	switch {
	case t.State == scheduler.Cancelled:
		return &api.TaskError{Kind: "cancelled", Message: "cancelled"}
	case t.State != scheduler.Failed:
		return nil
	case t.Losses > scheduler.MaxLosses:
		return &api.TaskError{Kind: "lost", Message: last}
	}
	code, detail := t.Refusal()
	switch code {
	case scheduler.Conflict:
		return &api.TaskError{Kind: "conflict", Message: detail}
	case scheduler.Limit:
		return &api.TaskError{Kind: "limit", Message: detail}
	case scheduler.NotFound:
		return &api.TaskError{Kind: "not-found", Message: detail}
	case scheduler.Invalid:
		return &api.TaskError{Kind: "invalid", Message: detail}
	}
	if v := verdict(t); v != nil {
		return v
	}
	return &api.TaskError{Kind: "internal", Message: last}
}

// verdict is the error of a task that the scheduler itself failed, nil for others.
func verdict(t *scheduler.Task) *api.TaskError {
	kind, detail := t.Verdict()
	switch {
	case kind == "":
		return nil
	case t.Deadline() > 0 && t.Finished >= t.Deadline():
		detail += fmt.Sprintf(" (%s)", time.Unix(0, t.Deadline()).UTC().Format(time.RFC3339))
	}
	return &api.TaskError{Kind: kind, Message: detail}
}

// queueOf is the queue of a task, empty when no worker carries it out.
func queueOf(t *scheduler.Task) string {
	switch {
	case t.Kind != scheduler.Run:
		return ""
	case t.Options == nil || t.Options.Queue == "":
		return scheduler.DefaultQueue
	}
	return t.Options.Queue
}

// showOptions puts a task's options into its view.
func showOptions(v *api.Task, t *scheduler.Task) {
	v.Queue = queueOf(t)
	o := t.Options
	if t.State == scheduler.Queued {
		v.NotBefore = t.NotBefore
	}
	if o == nil {
		return
	}
	v.Needs, v.Key = o.Needs, o.Key
	if o.Unique != nil {
		v.Unique = o.Unique.Key
	}
	v.Deadline, v.Keep, v.Awaits = o.Deadline, o.Keep, t.Awaits()
	if len(o.After) > 0 {
		v.After, v.AfterWhen = o.After, whens[o.AfterWhen]
	}
}

// Job is a job as clients see it.
func Job(j *scheduler.Job) *api.Job {
	v := &api.Job{Id: j.ID, Total: j.Total, Succeeded: j.Succeeded, Failed: j.Failed, Folds: j.Folds, Folded: j.Folded,
		FoldFailed: j.FoldFailed, LastFold: j.LastFold, FirstError: j.FirstError, Created: j.Created, Finished: j.Finished,
		Inputs: j.Inputs, Done: j.Done, Retries: j.Round, Spawned: j.Spawned}
	switch {
	case j.Finished != 0 && j.Cancelled:
		v.State = "cancelled"
	case j.Finished != 0 && j.Failed+j.FoldFailed > 0:
		v.State = "failed"
	case j.Finished != 0:
		v.State = "succeeded"
	case j.Sealed:
		v.State = "running"
	default:
		v.State = "open"
	}
	return v
}

// Worker is a worker as clients see it: whether it is connected now, and how well its
// children are confined, is the leader's to say.
func Worker(w *scheduler.Worker, up bool, isolation string) *api.WorkerInfo {
	state := "away"
	switch {
	case w.Drain:
		state = "draining"
	case up:
		state = "ready"
	}
	return &api.WorkerInfo{Id: w.ID, Node: w.Node, Slots: w.Slots, Busy: uint32(w.Busy()), State: state, Assigned: uint32(w.Assigned()), Isolation: isolation, Has: w.Has}
}
