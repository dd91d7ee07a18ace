package taskstest

import (
	"google.golang.org/protobuf/proto"

	"farm/api"
	"farm/replica/form"
	"farm/scheduler"
)

func refused(r scheduler.Result) *api.Reply { return failure(form.Code(r.Code), "%s", r.Detail) }

func (n *node) openJob(o *api.OpenJob, reply func(*api.Reply)) {
	body, err := proto.Marshal(o.Spec)
	if err != nil || o.Spec.GetFoldNamespace() != "" {
		reply(failure(api.Code_INVALID, "a farm in memory has no namespaces to fold into"))
		return
	}
	n.then(&scheduler.OpenJob{ID: o.Id, Body: body}, reply, func() *api.Reply { return n.job(o.Id) })
}

// drop forgets a finished task. One that is not there was dropped before.
func (n *node) drop(id string, reply func(*api.Reply)) {
	if r := n.step(&scheduler.Discard{ID: id}); r.Code != scheduler.OK && r.Code != scheduler.NotFound {
		reply(refused(r))
		return
	}
	reply(&api.Reply{Result: &api.Reply_Task{Task: &api.Task{Id: id}}})
}

func (n *node) list(q *api.ListTasks) *api.Reply {
	list, err := form.Tasks(n.state, q)
	if err != nil {
		return failure(api.Code_INVALID, "%v", err)
	}
	return &api.Reply{Result: &api.Reply_Tasks{Tasks: list}}
}

// queues are all queues, or one.
func (n *node) queues(name string) *api.Reply {
	return &api.Reply{Result: &api.Reply_Queues{Queues: &api.QueueList{Queues: form.Queues(n.state, name)}}}
}

func (n *node) status() *api.Status {
	c := n.state.Counts()
	v := &api.Status{Leader: nodeID, Term: 1, Cluster: n.state.Cluster(), Queued: c.Queued, Running: c.Running, Succeeded: c.Succeeded, Failed: c.Failed, Cancelled: c.Cancelled,
		Nodes:  []*api.NodeInfo{{Id: nodeID, Api: n.addr, Role: "leader", Voter: true, Reachable: true}},
		Queues: form.Queues(n.state, "")}
	attached := n.roster.Attached()
	for _, w := range n.state.Workers() {
		v.Workers = append(v.Workers, form.Worker(w, attached[w.ID].Up, ""))
	}
	return v
}

// ---- schedules ----

func (n *node) putSchedule(q *api.PutSchedule, reply func(*api.Reply)) {
	c, err := form.PutSchedule(q, n.clock())
	if err != nil {
		reply(failure(api.Code_INVALID, "%v", err))
		return
	}
	n.then(c, reply, func() *api.Reply { return n.schedule(c.Name) })
}

func (n *node) changeSchedule(q *api.ChangeSchedule, reply func(*api.Reply)) {
	c, err := form.ChangeSchedule(q, n.state.Schedule(q.Name), n.clock())
	switch {
	case err != nil:
		reply(failure(api.Code_INVALID, "%v", err))
	case c.Change == scheduler.RunNow:
		n.then(c, reply, func() *api.Reply { return n.task(scheduler.RunID(q.Name, q.Id)) })
	case c.Change == scheduler.Remove:
		n.then(c, reply, func() *api.Reply {
			return &api.Reply{Result: &api.Reply_Schedule{Schedule: &api.Schedule{Name: q.Name}}}
		})
	default:
		n.then(c, reply, func() *api.Reply { return n.schedule(q.Name) })
	}
}

func (n *node) schedule(name string) *api.Reply {
	x := n.state.Schedule(name)
	if x == nil {
		return failure(api.Code_NOT_FOUND, "there is no schedule %s", name)
	}
	return &api.Reply{Result: &api.Reply_Schedule{Schedule: form.Schedule(x)}}
}

// fire submits the tasks of schedules whose time has come. The lock is held.
func (n *node) fire() {
	now := n.clock()
	if at := n.state.NextSchedule(); at == 0 || at > now {
		return
	}
	for _, x := range n.state.Schedules() {
		if x.Paused || x.Next > now {
			continue
		}
		if c, err := form.Tick(x, now); err == nil { // it was read when it was made
			n.step(c)
		}
	}
}
