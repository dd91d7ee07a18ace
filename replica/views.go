package replica

import (
	"strings"

	"google.golang.org/protobuf/proto"

	"farm/api"
	"farm/replica/roster"
	"farm/scheduler"
)

// taskView is a task as clients see it.
func taskView(t *scheduler.Task) *api.Task {
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

func workerView(w *scheduler.Worker, a roster.Attachment) *api.WorkerInfo {
	state := "away"
	switch {
	case w.Drain:
		state = "draining"
	case a.Up:
		state = "ready"
	}
	return &api.WorkerInfo{Id: w.ID, Node: w.Node, Slots: w.Slots, Busy: uint32(w.Busy()), State: state, Assigned: uint32(w.Assigned()), Isolation: a.Isolation, Has: w.Has}
}

func jobView(j *scheduler.Job) *api.Job {
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

func spaceView(n *scheduler.Namespace) *api.Namespace {
	return &api.Namespace{Name: n.Name, Version: n.Version, Epoch: n.Epoch, Worker: n.Worker, Items: n.Items, Bytes: n.Bytes,
		Queue: uint64(n.Queue()), Created: n.Created, Changed: n.Changed}
}

func historyView(versions []scheduler.Version) *api.History {
	h := &api.History{}
	for _, v := range versions {
		h.Versions = append(h.Versions, &api.Version{Number: v.Number, Made: v.Made, Task: v.Task, Changed: uint64(v.Changed), Restorable: v.Restorable})
	}
	return h
}

// scheduleView is a schedule as clients see it, with its task as it was asked for, but
// for the times that follow from the log.
func scheduleView(x *scheduler.Schedule) *api.Schedule {
	t := x.Task
	v := &api.Submit{Namespace: t.Namespace, Timeout: t.Timeout, Retries: t.Retries, Priority: t.Priority, Delay: t.Delay, Work: &api.Work{}}
	if err := proto.Unmarshal(t.Body, v.Work); err != nil {
		v.Work = nil
	}
	if o := t.Options; o != nil {
		v.Needs, v.Backoff, v.BackoffMax, v.Within, v.Keep = o.Needs, o.Backoff, o.BackoffMax, o.Within, o.Keep
		v.Queue, v.Key = o.Queue, o.Key
	}
	return &api.Schedule{Name: x.Name, Spec: x.Spec, Zone: x.Zone, CatchUp: catchUps[x.CatchUp], Task: v, Paused: x.Paused, Created: x.Created,
		Next: x.Next, Last: x.Last, LastTask: x.LastTask, Fired: x.Fired, Problem: x.Problem}
}
