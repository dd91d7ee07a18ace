package replica

import (
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"

	"farm/api"
	"farm/replica/consensus"
	"farm/replica/form"
	"farm/scheduler"
)

// call is one call on its way: what was asked, and where the answer goes.
// reply is called exactly once, from any goroutine, and must not block; a
// call held for a leader may be answered by nobody when its stream is gone.
type call struct {
	*api.Call
	stream *stream // whose end makes the answer pointless; nil: none
	reply  func(*api.Reply)
	until  time.Time // held no longer than this; zero: not held yet
}

func (c *call) fail(code api.Code, format string, args ...any) {
	c.reply(&api.Reply{Seq: c.Seq, Error: &api.Error{Code: code, Message: fmt.Sprintf(format, args...)}})
}

func (c *call) job(j *api.Job) {
	c.reply(&api.Reply{Seq: c.Seq, Result: &api.Reply_Job{Job: j}})
}

func (c *call) task(t *api.Task) {
	c.reply(&api.Reply{Seq: c.Seq, Result: &api.Reply_Task{Task: t}})
}

// handle answers the calls of one message: here when this node leads, through
// the leader otherwise.
func (n *Node) handle(calls []*call) {
	var reads []*call
	for _, c := range calls {
		switch {
		case c.Stale && isRead(c.Call):
			n.answerStale(c)
		case !n.leads():
			n.pass(c)
		case isRead(c.Call):
			reads = append(reads, c)
		default:
			n.write(c)
		}
	}
	if len(reads) > 0 {
		n.tasks.Go(func() { n.read(reads) })
	}
}

// pass gives a call to the leader, or back to the node that took this one for
// the leader.
func (n *Node) pass(c *call) {
	if c.Forwarded {
		c.fail(api.Code_NOT_LEADER, "node %s does not lead", n.id)
		return
	}
	n.held.add(c)
}

// write answers a call that changes something. This node leads, or did a
// moment ago.
func (n *Node) write(c *call) {
	switch op := c.Op.(type) {
	case *api.Call_Submit:
		n.submit(c, op.Submit)
	case *api.Call_Cancel:
		n.simple(c, &scheduler.Cancel{ID: op.Cancel.GetId()}, func() { n.showTask(c, op.Cancel.GetId()) })
	case *api.Call_Set:
		n.set(c, op.Set, 0)
	case *api.Call_Delete:
		n.remove(c, op.Delete, 0)
	case *api.Call_Drop:
		n.run(c, &scheduler.Submit{ID: op.Drop.GetId(), Namespace: op.Drop.GetNamespace(), Kind: scheduler.Drop}, func(t *scheduler.Task) { c.task(form.Task(t)) })
	case *api.Call_Restore:
		n.transform(c, op.Restore, scheduler.Restore, scheduler.RestoreBody(op.Restore.GetVersion()))
	case *api.Call_Fork:
		n.transform(c, op.Fork, scheduler.Fork, scheduler.ForkBody(op.Fork.GetFrom()))
	case *api.Call_Import:
		n.importItems(c, op.Import)
	case *api.Call_OpenJob:
		n.openJob(c, op.OpenJob)
	case *api.Call_DrainWorker:
		n.simple(c, &scheduler.WorkerIdle{Worker: op.DrainWorker.GetWorker(), Drain: !op.DrainWorker.GetUndo()}, func() { n.showWorker(c, op.DrainWorker.GetWorker()) })
	case *api.Call_SealJob:
		n.simple(c, &scheduler.SealJob{ID: op.SealJob.GetId(), Total: op.SealJob.GetTotal()}, func() { n.showJob(c, op.SealJob.GetId()) })
	case *api.Call_SetQueue:
		n.setQueue(c, op.SetQueue)
	case *api.Call_CancelJob:
		n.simple(c, &scheduler.CancelJob{ID: op.CancelJob.GetId()}, func() { n.showJob(c, op.CancelJob.GetId()) })
	case *api.Call_RetryTask:
		n.retryTask(c, op.RetryTask)
	case *api.Call_DropTask:
		n.dropTask(c, op.DropTask)
	case *api.Call_PutSchedule:
		n.putSchedule(c, op.PutSchedule)
	case *api.Call_ChangeSchedule:
		n.changeSchedule(c, op.ChangeSchedule)
	case *api.Call_RetryJob:
		n.tasks.Go(func() { n.retryJob(c, op.RetryJob) })
	default:
		c.fail(api.Code_INVALID, "the call has no operation this farm knows")
	}
}

// propose puts one command into the log. done gets its result, or an error
// after which nothing may be assumed.
func (n *Node) propose(cmd scheduler.Command, done func(scheduler.Result, error)) {
	if err := n.raft.ProposeAsync(encode(cmd), typed(done)); err != nil {
		done(scheduler.Result{}, err)
	}
}

// encode is a command as it goes into the log. Most are those of small tasks, and fit
// without growing.
func encode(cmd scheduler.Command) []byte { return cmd.AppendTo(make([]byte, 0, 128)) }

// typed gives done the state machine's answer as what it is.
func typed(done func(scheduler.Result, error)) func(consensus.Result, error) {
	return func(r consensus.Result, err error) {
		x, _ := r.(*scheduler.Result)
		if x == nil {
			x = &scheduler.Result{}
		}
		done(*x, err)
	}
}

// again handles a proposal without a result: everything that was proposed can
// be proposed again, so the call goes back in line; when the log is overloaded
// that is what slows clients down.
func (n *Node) again(c *call, err error) {
	if errors.Is(err, consensus.ErrTooLarge) {
		c.fail(api.Code_LIMIT, "%v", err)
		return
	}
	n.pass(c)
}

// refused answers a call whose command was refused.
func (c *call) refused(r scheduler.Result) {
	c.fail(form.Code(r.Code), "%s", r.Detail)
}

// simple proposes a command and calls show when it was accepted, now or before.
func (n *Node) simple(c *call, cmd scheduler.Command, show func()) {
	n.propose(cmd, func(r scheduler.Result, err error) {
		switch {
		case err != nil:
			n.again(c, err)
		case r.Code == scheduler.OK || r.Code == scheduler.Duplicate:
			show()
		default:
			c.refused(r)
		}
	})
}

func (n *Node) submit(c *call, s *api.Submit) {
	cmd, err := form.Submit(s)
	if err != nil {
		c.fail(api.Code_INVALID, "%v", err)
		return
	}
	if s.Wait {
		n.run(c, cmd, func(t *scheduler.Task) { c.task(form.Task(t)) })
		return
	}
	n.propose(cmd, func(r scheduler.Result, err error) {
		switch {
		case err != nil:
			n.again(c, err)
		case r.Code == scheduler.OK:
			c.task(&api.Task{Id: s.Id, Namespace: s.Namespace, Job: s.Job, State: scheduler.Queued.String(), Order: r.Order})
		case r.Code == scheduler.Duplicate && r.Detail != "":
			n.showHolder(c, r.Detail)
		case r.Code == scheduler.Duplicate:
			n.showTask(c, s.Id)
		default:
			c.refused(r)
		}
	})
}

// run submits a task and calls then with it when it is final.
func (n *Node) run(c *call, cmd *scheduler.Submit, then func(*scheduler.Task)) {
	w := n.waiters.add(cmd.ID, c.stream, func(e ending) { then(e.task) })
	n.propose(cmd, func(r scheduler.Result, err error) {
		switch {
		case r.Code == scheduler.OK && err == nil:
			return // the waiter answers
		case r.Code == scheduler.Duplicate && r.Detail == "" && err == nil:
			n.ifFinal(cmd.ID, w, then)
		case !n.waiters.drop(w):
		case err != nil:
			n.again(c, err)
		case r.Code == scheduler.Duplicate: // another task has the unique key
			n.wait(c, &api.Wait{Id: r.Detail})
		case r.Code == scheduler.Missing:
			n.pass(c) // its parts are gone: from the beginning
		default:
			c.refused(r)
		}
	})
}

// ifFinal calls then at once if the task is final already and its waiter was
// not told.
func (n *Node) ifFinal(id string, w *waiter, then func(*scheduler.Task)) {
	var t *scheduler.Task
	n.fsm.View(func(s *scheduler.State) {
		if t = s.Task(id); t != nil && !t.State.Final() {
			t = nil
		}
	})
	if t != nil && n.waiters.drop(w) {
		then(t)
	}
}

func (n *Node) openJob(c *call, o *api.OpenJob) {
	if o.GetSpec() == nil {
		c.fail(api.Code_INVALID, "the job says nothing to do")
		return
	}
	body, err := proto.Marshal(o.Spec)
	if err != nil {
		c.fail(api.Code_INVALID, "the job cannot be encoded: %v", err)
		return
	}
	n.simple(c, &scheduler.OpenJob{ID: o.Id, Body: body, Fold: o.Spec.FoldNamespace}, func() { n.showJob(c, o.Id) })
}

// showTask answers with a task as it is in this node's state.
func (n *Node) showTask(c *call, id string) {
	var t *api.Task
	n.fsm.View(func(s *scheduler.State) {
		if x := s.Task(id); x != nil {
			t = form.Task(x)
			if x.State == scheduler.Running {
				t.Progress = n.hub.lastProgress(id)
			}
			t.Waiting = s.WaitsFor(x)
		}
	})
	if t == nil {
		c.fail(api.Code_NOT_FOUND, "there is no task %s", id)
		return
	}
	c.task(t)
}

func (n *Node) showJob(c *call, id string) {
	var j *api.Job
	n.fsm.View(func(s *scheduler.State) {
		if x := s.Job(id); x != nil {
			j = form.Job(x)
		}
	})
	if j == nil {
		c.fail(api.Code_NOT_FOUND, "there is no job %s", id)
		return
	}
	c.job(j)
}

// read answers reads that came together, linearizably: one barrier for all.
func (n *Node) read(calls []*call) {
	ctx, cancel := context.WithTimeout(n.ctx, HoldTime)
	defer cancel()
	if err := n.raft.ReadBarrier(ctx); err != nil {
		for _, c := range calls {
			n.pass(c)
		}
		return
	}
	for _, c := range calls {
		n.answer(c)
	}
}

// answerStale answers a read from this node's state, and says how old it may be.
func (n *Node) answerStale(c *call) {
	age := time.Since(n.raft.LastContact())
	if n.leads() {
		age = 0
	}
	reply := c.reply
	fresh := *c
	fresh.reply = func(r *api.Reply) {
		r.Age = int64(age)
		reply(r)
	}
	n.answer(&fresh)
}
