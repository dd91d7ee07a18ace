package replica

import (
	"slices"

	"farm/api"
	"farm/scheduler"
)

// handlerRefused says why a task that names a handler cannot be meant, empty
// when it can.
func handlerRefused(s *api.Submit) string {
	w := s.Work
	switch {
	case !scheduler.ValidName(w.Handler):
		return "a handler's name is not a name: " + w.Handler
	case s.Namespace != "":
		return "a handler runs in its worker's own process and has no namespace"
	case w.Source != "" || w.Call != "" || w.Set != nil || len(w.Inputs) > 0 || len(w.Files) > 0:
		return "a task calls a handler with one input, or runs a cell"
	}
	return ""
}

// needHandler has a task given only to workers that have the handler.
func needHandler(c *scheduler.Submit, name string) {
	if c.Options == nil {
		c.Options = &scheduler.Options{}
	}
	c.Options.Needs = append(c.Options.Needs, scheduler.NeedHandler+name)
	slices.Sort(c.Options.Needs)
	c.Options.Needs = slices.Compact(c.Options.Needs)
}

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
