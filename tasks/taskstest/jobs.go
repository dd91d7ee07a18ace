package taskstest

import (
	"farm/api"
	"farm/replica/form"
	"farm/scheduler"
)

// Limits of an answer; those of real farms.
const (
	defaultListed = 100
	maxFailures   = 2 << 20 // bytes of inputs and reasons
)

func (n *node) jobs(q *api.ListJobs) *api.Reply {
	limit := min(int(q.Limit), form.MaxListed)
	if limit == 0 {
		limit = defaultListed
	}
	l := form.NewJobs(q.State, limit)
	l.Add(n.state.OpenJobs())
	l.Add(n.state.Jobs("", scheduler.MaxFinished))
	return &api.Reply{Result: &api.Reply_Jobs{Jobs: &api.JobList{Jobs: l.Newest()}}}
}

func (n *node) failures(q *api.ListFailures) *api.Reply {
	list := form.Failures(n.state, q, maxFailures)
	if list == nil {
		return failure(api.Code_NOT_FOUND, "there is no job %s", q.Job)
	}
	return &api.Reply{Result: &api.Reply_Failures{Failures: list}}
}

// retryJob replaces what failed of a job.
func (n *node) retryJob(q *api.RetryJob, reply func(*api.Reply)) {
	for over := false; !over; {
		var list []*scheduler.Task
		list, over, _ = form.ToReplace(n.state, q) // the answer says that there is no such job
		for _, t := range list {
			commands, err := form.Replace(q, t)
			if err != nil {
				reply(failure(api.Code_INVALID, "%v", err))
				return
			}
			for _, c := range commands {
				if r := n.step(c); r.Code != scheduler.OK && r.Code != scheduler.Duplicate {
					reply(refused(r))
					return
				}
			}
		}
	}
	reply(n.job(q.Id))
}
