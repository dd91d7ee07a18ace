package taskstest

import (
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"

	"farm/api"
	"farm/scheduler"
)

// command is what a Submit asks of the scheduler, or why it cannot be meant.
func command(s *api.Submit) (c *scheduler.Submit, why string) {
	if s.GetWork() == nil {
		return nil, "the task says nothing to do"
	}
	body, err := proto.Marshal(s.Work)
	if err != nil {
		return nil, err.Error()
	}
	c = &scheduler.Submit{ID: s.Id, Namespace: s.Namespace, Job: s.Job, Kind: scheduler.Run, Body: body,
		Timeout: s.Timeout, Retries: s.Retries, Priority: s.Priority, Delay: s.Delay}
	if h := s.Work.Handler; h != "" {
		if !scheduler.ValidName(h) {
			return nil, "a handler's name is not a name: " + h
		}
		s.Needs = append(s.Needs, scheduler.NeedHandler+h)
	}
	c.Options = options(s)
	return c, ""
}

func refused(r scheduler.Result) *api.Reply {
	code := api.Code_INVALID
	switch r.Code {
	case scheduler.NotFound:
		code = api.Code_NOT_FOUND
	case scheduler.Conflict, scheduler.Stale:
		code = api.Code_CONFLICT
	case scheduler.Limit:
		code = api.Code_LIMIT
	}
	return failure(code, "%s", r.Detail)
}

func taskView(t *scheduler.Task) *api.Task {
	v := &api.Task{Id: t.ID, Namespace: t.Namespace, Job: t.Job, State: t.State.String(), Attempt: t.Attempt, Worker: t.Worker,
		Submitted: t.Submitted, Started: t.Started, Finished: t.Finished, Causes: slices.Clone(t.Causes), Order: t.Order}
	showOptions(v, t)
	var o api.Outcome
	if err := proto.Unmarshal(t.Outcome, &o); err != nil {
		panic("taskstest: an outcome that was accepted: " + err.Error())
	}
	v.Value, v.Type, v.Results = o.Value, o.Type, o.Results
	v.Stdout, v.Stderr, v.StdoutCut, v.StderrCut = o.Stdout, o.Stderr, o.StdoutCut, o.StderrCut
	if v.Error = o.Error; v.Error != nil {
		return v
	}
	last := ""
	if len(t.Causes) > 0 {
		_, last, _ = strings.Cut(t.Causes[len(t.Causes)-1], ": ")
	}
	switch {
	case t.State == scheduler.Cancelled:
		v.Error = &api.TaskError{Kind: "cancelled", Message: "cancelled"}
	case t.State == scheduler.Failed && t.Losses > scheduler.MaxLosses:
		v.Error = &api.TaskError{Kind: "lost", Message: last}
	case t.State == scheduler.Failed:
		v.Error = &api.TaskError{Kind: "internal", Message: last}
	}
	return v
}

func jobView(j *scheduler.Job) *api.Job {
	v := &api.Job{Id: j.ID, Total: j.Total, Succeeded: j.Succeeded, Failed: j.Failed, FirstError: j.FirstError, Created: j.Created, Finished: j.Finished, State: "open"}
	switch {
	case j.Finished != 0 && j.Cancelled:
		v.State = "cancelled"
	case j.Finished != 0 && j.Failed > 0:
		v.State = "failed"
	case j.Finished != 0:
		v.State = "succeeded"
	case j.Sealed:
		v.State = "running"
	}
	return v
}

func (n *node) openJob(o *api.OpenJob, reply func(*api.Reply)) {
	body, err := proto.Marshal(o.Spec)
	if err != nil || o.Spec.GetFoldNamespace() != "" {
		reply(failure(api.Code_INVALID, "a farm in memory has no namespaces to fold into"))
		return
	}
	n.then(&scheduler.OpenJob{ID: o.Id, Body: body}, reply, func() *api.Reply { return n.job(o.Id) })
}

// list finds tasks as nodes do.
func (n *node) list(q *api.ListTasks) *api.Reply {
	limit := int(q.Limit)
	if limit == 0 {
		limit = 100
	}
	out := &api.TaskList{}
	for _, t := range append(n.state.Live(q.Namespace, q.Job, scheduler.MaxLive), n.state.Finished(q.Namespace, q.Job, limit)...) {
		if (q.State == "" || q.State == t.State.String()) && len(out.Tasks) < limit {
			out.Tasks = append(out.Tasks, taskView(t))
		}
	}
	return &api.Reply{Result: &api.Reply_Tasks{Tasks: out}}
}

func (n *node) status() *api.Status {
	c := n.state.Counts()
	v := &api.Status{Leader: nodeID, Term: 1, Cluster: n.state.Cluster(), Queued: c.Queued, Running: c.Running, Succeeded: c.Succeeded, Failed: c.Failed, Cancelled: c.Cancelled,
		Nodes: []*api.NodeInfo{{Id: nodeID, Api: n.addr, Role: "leader", Voter: true, Reachable: true}}}
	attached := n.roster.Attached()
	for _, w := range n.state.Workers() {
		state := "away"
		switch {
		case w.Drain:
			state = "draining"
		case attached[w.ID].Up:
			state = "ready"
		}
		v.Workers = append(v.Workers, &api.WorkerInfo{Id: w.ID, Slots: w.Slots, Busy: uint32(w.Busy()), Assigned: uint32(w.Assigned()), State: state, Has: w.Has})
	}
	return v
}
