package replica

import (
	"errors"

	"farm/api"
	"farm/replica/consensus"
	"farm/replica/form"
	"farm/scheduler"
)

// jobsAtOnce is how many finished jobs are looked at before the state is let go.
const jobsAtOnce = 1_000

// listJobs lists the newest jobs that the state has. It looks at all of them, in
// portions, so it is not to be called on the way of other calls.
func (n *Node) listJobs(c *call, q *api.ListJobs) {
	limit := int(q.Limit)
	if limit == 0 {
		limit = 100
	}
	if limit > MaxListed {
		c.fail(api.Code_LIMIT, "a list has at most %d jobs", MaxListed)
		return
	}
	l := form.NewJobs(q.State, limit)
	n.fsm.View(func(s *scheduler.State) { l.Add(s.OpenJobs()) })
	from := ""
	for more := true; more && n.ctx.Err() == nil; {
		n.fsm.View(func(s *scheduler.State) {
			jobs := s.Jobs(from, jobsAtOnce)
			l.Add(jobs)
			if more = len(jobs) == jobsAtOnce; more {
				from = jobs[len(jobs)-1].ID + "\x00"
			}
		})
	}
	c.reply(&api.Reply{Seq: c.Seq, Result: &api.Reply_Jobs{Jobs: &api.JobList{Jobs: l.Newest()}}})
}

// getTask answers with a task, and with what it was to do if that is asked for.
func (n *Node) getTask(c *call, q *api.GetTask) {
	if !q.Inputs {
		n.showTask(c, q.Id)
		return
	}
	t := n.task(q.Id)
	if t == nil {
		c.fail(api.Code_NOT_FOUND, "there is no task %s", q.Id)
		return
	}
	v := form.Task(t)
	if work, err := form.Work(t); err == nil && t.Kind == scheduler.Run {
		v.Inputs, v.First = work.Inputs, work.First
	}
	c.task(v)
}

// task returns a copy of a task: a live one changes.
func (n *Node) task(id string) (t *scheduler.Task) {
	n.fsm.View(func(s *scheduler.State) {
		if x := s.Task(id); x != nil {
			copied := *x
			t = &copied
		}
	})
	return t
}

// listFailures lists what failed of a job, input by input.
func (n *Node) listFailures(c *call, q *api.ListFailures) {
	var list *api.FailureList
	n.fsm.View(func(s *scheduler.State) { list = form.Failures(s, q, MaxReplyBytes/2) })
	if list == nil {
		c.fail(api.Code_NOT_FOUND, "there is no job %s", q.Job)
		return
	}
	c.reply(&api.Reply{Seq: c.Seq, Result: &api.Reply_Failures{Failures: list}})
}

// retryJob replaces what failed of a job, a task at a time, and answers with the
// job. This node leads, or did a moment ago; when it ceases to, the call is begun
// again by the next leader and goes on with what is left.
func (n *Node) retryJob(c *call, q *api.RetryJob) {
	for {
		var list []*scheduler.Task
		var over, known bool
		n.fsm.View(func(s *scheduler.State) { list, over, known = form.ToReplace(s, q) })
		if !known {
			c.fail(api.Code_NOT_FOUND, "there is no job %s", q.Id)
			return
		}
		// What is in the list is gone from the state's when the list was worked off.
		for _, t := range list {
			if err := n.replaceTask(q, t); err != nil {
				n.retryEnded(c, err)
				return
			}
		}
		if over {
			n.showJob(c, q.Id)
			return
		}
	}
}

// retryEnded answers a retry that came to a command that failed.
func (n *Node) retryEnded(c *call, err error) {
	var refused *refusedError
	if errors.As(err, &refused) {
		c.refused(refused.Result)
		return
	}
	n.again(c, err)
}

// refusedError is a command that was refused.
type refusedError struct{ scheduler.Result }

// Error is the refusal's detail.
func (e *refusedError) Error() string { return e.Detail }

// replaceTask puts the tasks that try the inputs of a failed one again into the
// log, in as many commands as they need.
func (n *Node) replaceTask(q *api.RetryJob, t *scheduler.Task) error {
	commands, err := form.Replace(q, t)
	if err != nil {
		return err
	}
	for _, cmd := range commands {
		if err := n.replaceNow(cmd); err != nil {
			return err
		}
	}
	return nil
}

// replaceNow proposes a Replace and waits for its result.
func (n *Node) replaceNow(cmd *scheduler.Replace) error {
	type answer struct {
		r   scheduler.Result
		err error
	}
	got := make(chan answer, 1)
	n.propose(cmd, func(r scheduler.Result, err error) { got <- answer{r, err} })
	select {
	case a := <-got:
		if a.err != nil || a.r.Code == scheduler.OK || a.r.Code == scheduler.Duplicate {
			return a.err
		}
		return &refusedError{a.r}
	case <-n.ctx.Done():
		return consensus.ErrNotLeader
	}
}
