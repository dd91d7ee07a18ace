package worker

import (
	"cmp"
	"context"
	"slices"

	"farm/api"
	"farm/internal/attach"
)

// Stream is one conversation with the leader.
type Stream = attach.Stream

// Dialer opens a stream to the node that leads.
type Dialer = attach.Dialer

// linked is the worker as its link knows it.
type linked struct{ *Worker }

// Attached implements attach.Worker: it notes that there is a stream, and says
// what the worker holds.
func (w linked) Attached(cut context.CancelFunc) *api.Hello {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.relink = cut
	w.out.Hello()
	h := &api.Hello{Worker: w.cfg.ID, Incarnation: w.cfg.Incarnation, Node: w.cfg.Node, Slots: uint32(w.cfg.Slots), Has: w.cfg.Has}
	for _, a := range w.attempts {
		a.said = false
		if a.state != gone {
			h.Holds = append(h.Holds, a.ref())
		}
		if a.state == running || a.state == reported {
			h.Began = append(h.Began, a.ref())
		}
	}
	return h
}

// Detached implements attach.Worker.
func (w linked) Detached() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.relink = nil
	w.out.End()
	w.poke()
}

// Obey implements attach.Worker. False: the leader took for known what is not.
func (w linked) Obey(m *api.ToWorker) bool { return w.obey(m) }

// resume opens the outbox for a stream whose leader is known to listen, and
// puts into it what the last one may not have heard. The lock is held.
func (w *Worker) resume() {
	w.out.Begin()
	w.sayIsolation()
	if w.draining {
		w.sayDraining()
	}
	var again []*attempt
	for _, a := range w.attempts {
		switch a.state {
		case reported:
			a.told = false
			again = append(again, a)
		case running:
			w.sayBegan(a)
		}
	}
	slices.SortFunc(again, func(a, b *attempt) int { return cmp.Compare(a.counter, b.counter) })
	for _, a := range again {
		if a.space == nil {
			w.out.Report(a.report)
		} else {
			w.deliver(a.space)
		}
	}
}
