package replica

import (
	"farm/api"
	"farm/replica/form"
	"farm/scheduler"
)

// showHolder answers a submit whose unique key another task has, with that task.
func (n *Node) showHolder(c *call, id string) {
	t := &api.Task{Id: id} // it may not be kept any more
	n.fsm.View(func(s *scheduler.State) {
		if x := s.Task(id); x != nil {
			t = form.Task(x)
		}
	})
	c.task(t)
}

func (n *Node) setQueue(c *call, q *api.SetQueue) {
	n.simple(c, form.SetQueue(q), func() { n.listQueues(c, &api.ListQueues{Name: q.GetName()}) })
}

func (n *Node) listQueues(c *call, q *api.ListQueues) {
	list := &api.QueueList{}
	n.fsm.View(func(s *scheduler.State) { list.Queues = form.Queues(s, q.GetName()) })
	c.reply(&api.Reply{Seq: c.Seq, Result: &api.Reply_Queues{Queues: list}})
}
