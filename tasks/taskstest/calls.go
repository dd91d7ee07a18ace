package taskstest

import (
	"cmp"
	"context"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"farm/api"
	"farm/replica/form"
	"farm/scheduler"
)

// outlet gathers messages for a stream and sends them in order.
type outlet[M any] struct {
	mu   sync.Mutex
	out  []M
	kick chan struct{} // holds a token while there is something to send
}

func newOutlet[M any]() *outlet[M] { return &outlet[M]{kick: make(chan struct{}, 1)} }

func (o *outlet[M]) put(m M) {
	o.mu.Lock()
	o.out = append(o.out, m)
	o.mu.Unlock()
	select {
	case o.kick <- struct{}{}:
	default:
	}
}

func (o *outlet[M]) take() []M {
	o.mu.Lock()
	defer o.mu.Unlock()
	out := o.out
	o.out = nil
	return out
}

// maxBatch is how many replies go in one message.
const maxBatch = 256

// Do implements api.FarmServer.
func (n *node) Do(g api.Farm_DoServer) error {
	out := newOutlet[*api.Reply]()
	received := make(chan struct{})
	go func() {
		defer close(received)
		for {
			m, err := g.Recv()
			if err != nil {
				return
			}
			for _, c := range m.Calls {
				n.handle(c, func(r *api.Reply) {
					r.Seq = c.Seq
					out.put(r)
				})
			}
		}
	}()
	for {
		select {
		case <-received:
			return nil
		case <-g.Context().Done():
			return g.Context().Err()
		case <-n.ctx.Done():
			return status.Error(codes.Unavailable, "the farm is closed")
		case <-out.kick:
		}
		for rest := out.take(); len(rest) > 0; {
			k := min(len(rest), maxBatch)
			if err := g.Send(&api.Replies{Replies: rest[:k]}); err != nil {
				return err
			}
			rest = rest[k:]
		}
	}
}

// One implements api.FarmServer.
func (n *node) One(ctx context.Context, c *api.Call) (*api.Reply, error) {
	answer := make(chan *api.Reply, 1)
	n.handle(c, func(r *api.Reply) { answer <- r })
	select {
	case r := <-answer:
		return r, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// handle answers a call, now or when what it waits for is there. reply does not
// block.
func (n *node) handle(c *api.Call, reply func(*api.Reply)) {
	n.mu.Lock()
	defer n.mu.Unlock()
	switch op := c.Op.(type) {
	case *api.Call_Submit:
		n.submit(op.Submit, reply)
	case *api.Call_Wait:
		n.wait(op.Wait.Id, time.Duration(op.Wait.Timeout), reply)
	case *api.Call_Cancel:
		n.then(&scheduler.Cancel{ID: op.Cancel.Id}, reply, func() *api.Reply { return n.task(op.Cancel.Id) })
	case *api.Call_GetTask:
		reply(n.task(op.GetTask.Id))
	case *api.Call_ListTasks:
		reply(n.list(op.ListTasks))
	case *api.Call_OpenJob:
		n.openJob(op.OpenJob, reply)
	case *api.Call_SealJob:
		n.then(&scheduler.SealJob{ID: op.SealJob.Id, Total: op.SealJob.Total}, reply, func() *api.Reply { return n.job(op.SealJob.Id) })
	case *api.Call_CancelJob:
		n.then(&scheduler.CancelJob{ID: op.CancelJob.Id}, reply, func() *api.Reply { return n.job(op.CancelJob.Id) })
	case *api.Call_GetJob:
		n.getJob(op.GetJob, reply)
	case *api.Call_DrainWorker:
		n.then(&scheduler.WorkerIdle{Worker: op.DrainWorker.Worker, Drain: !op.DrainWorker.Undo}, reply, func() *api.Reply { return n.worker(op.DrainWorker.Worker) })
	case *api.Call_SetQueue:
		n.then(form.SetQueue(op.SetQueue), reply, func() *api.Reply { return n.queues(op.SetQueue.Name) })
	case *api.Call_ListQueues:
		reply(n.queues(op.ListQueues.Name))
	case *api.Call_ListJobs:
		reply(n.jobs(op.ListJobs))
	case *api.Call_ListFailures:
		reply(n.failures(op.ListFailures))
	case *api.Call_RetryJob:
		n.retryJob(op.RetryJob, reply)
	case *api.Call_RetryTask:
		n.then(&scheduler.Retry{ID: op.RetryTask.Id, Request: op.RetryTask.Request}, reply, func() *api.Reply { return n.task(op.RetryTask.Id) })
	case *api.Call_DropTask:
		n.drop(op.DropTask.Id, reply)
	case *api.Call_PutSchedule:
		n.putSchedule(op.PutSchedule, reply)
	case *api.Call_ChangeSchedule:
		n.changeSchedule(op.ChangeSchedule, reply)
	case *api.Call_GetSchedule:
		reply(n.schedule(op.GetSchedule.Name))
	case *api.Call_ListSchedules:
		reply(&api.Reply{Result: &api.Reply_Schedules{Schedules: &api.ScheduleList{Schedules: form.Schedules(n.state)}}})
	case *api.Call_Status:
		reply(&api.Reply{Result: &api.Reply_Status{Status: n.status()}})
	default:
		reply(failure(api.Code_INVALID, "a farm in memory does not do that"))
	}
}

// then applies a command and answers with what show shows.
func (n *node) then(c scheduler.Command, reply func(*api.Reply), show func() *api.Reply) {
	if r := n.step(c); r.Code != scheduler.OK && r.Code != scheduler.Duplicate {
		reply(refused(r))
		return
	}
	reply(show())
}

func (n *node) submit(s *api.Submit, reply func(*api.Reply)) {
	c, err := form.Submit(s)
	if err != nil {
		reply(failure(api.Code_INVALID, "%v", err))
		return
	}
	switch r := n.step(c); {
	case r.Code != scheduler.OK && r.Code != scheduler.Duplicate:
		reply(refused(r))
	case s.Wait:
		n.wait(cmp.Or(r.Detail, s.Id), 0, reply) // of a duplicate, who has the unique key
	default:
		reply(n.task(cmp.Or(r.Detail, s.Id)))
	}
}

func (n *node) wait(id string, timeout time.Duration, reply func(*api.Reply)) {
	t := n.state.Task(id)
	if t == nil || t.State.Final() {
		reply(n.task(id))
		return
	}
	n.await(id, timeout, func() { reply(n.task(id)) }, func() { reply(failure(api.Code_TIMEOUT, "task %s is not finished after %v", id, timeout)) })
}

func (n *node) getJob(q *api.GetJob, reply func(*api.Reply)) {
	j := n.state.Job(q.Id)
	if !q.Wait || j == nil || j.Finished != 0 {
		reply(n.job(q.Id))
		return
	}
	n.await(jobKey(q.Id), 0, func() { reply(n.job(q.Id)) }, nil)
}

func (n *node) task(id string) *api.Reply {
	t := n.state.Task(id)
	if t == nil {
		return failure(api.Code_NOT_FOUND, "there is no task %s", id)
	}
	v := form.Task(t)
	v.Waiting = n.state.WaitsFor(t)
	if l := n.live[id]; l != nil && t.State == scheduler.Running {
		v.Progress = l.progress
	}
	return &api.Reply{Result: &api.Reply_Task{Task: v}}
}

func (n *node) job(id string) *api.Reply {
	j := n.state.Job(id)
	if j == nil {
		return failure(api.Code_NOT_FOUND, "there is no job %s", id)
	}
	return &api.Reply{Result: &api.Reply_Job{Job: form.Job(j)}}
}

func (n *node) worker(id string) *api.Reply {
	for _, w := range n.status().Workers {
		if w.Id == id {
			return &api.Reply{Result: &api.Reply_Worker{Worker: w}}
		}
	}
	return failure(api.Code_NOT_FOUND, "there is no worker %s", id)
}

// Watch implements api.FarmServer.
func (n *node) Watch(q *api.WatchRequest, g api.Farm_WatchServer) error {
	events := newOutlet[*api.Event]()
	over := make(chan struct{})
	n.mu.Lock()
	t := n.state.Task(q.Id)
	if t == nil {
		n.mu.Unlock()
		return status.Errorf(codes.NotFound, "there is no task %s", q.Id)
	}
	last := func() {
		events.put(&api.Event{Event: &api.Event_Task{Task: form.Task(n.state.Task(q.Id))}})
		close(over)
	}
	if t.State.Final() {
		last()
	} else {
		l := n.listen(q.Id)
		for _, o := range l.outputs {
			events.put(&api.Event{Event: &api.Event_Output{Output: o}})
		}
		if l.progress != nil {
			events.put(&api.Event{Event: &api.Event_Progress{Progress: l.progress}})
		}
		l.watchers = append(l.watchers, events)
		n.await(q.Id, 0, last, nil)
	}
	n.mu.Unlock()
	for {
		ended := false
		select {
		case <-g.Context().Done():
			return g.Context().Err()
		case <-n.ctx.Done():
			return status.Error(codes.Unavailable, "the farm is closed")
		case <-over:
			ended = true
		case <-events.kick:
		}
		for _, e := range events.take() {
			if err := g.Send(e); err != nil {
				return err
			}
		}
		if ended {
			return nil
		}
	}
}

// listen is what is known of a live task.
func (n *node) listen(id string) *liveTask {
	l := n.live[id]
	if l == nil {
		l = &liveTask{}
		n.live[id] = l
	}
	return l
}
