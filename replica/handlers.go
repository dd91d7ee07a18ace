package replica

import (
	"farm/api"
	"farm/scheduler"
)

// showWorker answers with a worker as it is in this node's state.
func (n *Node) showWorker(c *call, id string) {
	attached := n.dispatch.attached()
	var v *api.WorkerInfo
	n.fsm.View(func(s *scheduler.State) {
		if w := s.Worker(id); w != nil {
			v = workerView(w, attached[id])
		}
	})
	if v == nil {
		c.fail(api.Code_NOT_FOUND, "there is no worker %s", id)
		return
	}
	c.reply(&api.Reply{Seq: c.Seq, Result: &api.Reply_Worker{Worker: v}})
}
