package replica

import (
	"farm/api"
	"farm/replica/form"
	"farm/replica/roster"
	"farm/scheduler"
)

func workerView(w *scheduler.Worker, a roster.Attachment) *api.WorkerInfo {
	return form.Worker(w, a.Up, a.Isolation)
}

func spaceView(n *scheduler.Namespace) *api.Namespace {
	return &api.Namespace{Name: n.Name, Version: n.Version, Epoch: n.Epoch, Worker: n.Worker, Items: n.Items, Bytes: n.Bytes,
		Queue: uint64(n.Queue()), Created: n.Created, Changed: n.Changed}
}

func historyView(versions []scheduler.Version) *api.History {
	h := &api.History{}
	for _, v := range versions {
		h.Versions = append(h.Versions, &api.Version{Number: v.Number, Made: v.Made, Task: v.Task, Changed: uint64(v.Changed), Restorable: v.Restorable})
	}
	return h
}
