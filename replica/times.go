package replica

import (
	"farm/api"
	"farm/replica/form"
	"farm/scheduler"
)

// ---- tasks that did not succeed ----

func (n *Node) retryTask(c *call, q *api.RetryTask) {
	n.simple(c, &scheduler.Retry{ID: q.GetId(), Request: q.GetRequest()}, func() { n.showTask(c, q.GetId()) })
}

func (n *Node) dropTask(c *call, q *api.DropTask) {
	n.propose(&scheduler.Discard{ID: q.GetId()}, func(r scheduler.Result, err error) {
		switch {
		case err != nil:
			n.again(c, err)
		case r.Code == scheduler.OK || r.Code == scheduler.NotFound: // a repeat finds nothing
			c.task(&api.Task{Id: q.GetId()})
		default:
			c.refused(r)
		}
	})
}

func (n *Node) listTasks(c *call, q *api.ListTasks) {
	if q.Limit > MaxListed {
		c.fail(api.Code_LIMIT, "a list has at most %d tasks", MaxListed)
		return
	}
	var list *api.TaskList
	var err error
	n.fsm.View(func(s *scheduler.State) { list, err = form.Tasks(s, q) })
	if err != nil {
		c.fail(api.Code_INVALID, "%v", err)
		return
	}
	c.reply(&api.Reply{Seq: c.Seq, Result: &api.Reply_Tasks{Tasks: list}})
}
