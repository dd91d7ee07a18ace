package sim

import (
	"time"

	"farm/api"
	"farm/replica/roster"
	"farm/scheduler"
)

// link is a stream between a worker and the node it takes for the leader. What
// is sent arrives in order or, when the stream breaks, not at all. It implements
// roster.Link.
type link struct {
	n    *node
	k    *worker
	inc  uint64
	life int // of the node

	sess    *roster.Session
	out     []*api.Instruction
	sending bool
	ended   bool              // by the node
	down    bool              // nothing arrives any more, either way
	heard   map[string]uint32 // attempts of which the node was told that they began

	toWorker, toNode time.Duration // when the last message arrives
}

// Push implements roster.Link.
func (l *link) Push(i *api.Instruction) { l.out = append(l.out, i) }

// End implements roster.Link.
func (l *link) End(error) {
	l.ended = true
	l.n.w.after(l.n.delay(), func() { l.k.do(func() { l.k.unlink(l) }) })
}

// cut breaks the stream. Either side may notice at once, or by itself later.
func (l *link) cut() {
	if l.down {
		return
	}
	l.down = true
	w := l.n.w
	w.after(w.between(l.k.rnd, time.Millisecond, 600*time.Millisecond), func() { l.k.do(func() { l.k.unlink(l) }) })
	if l.k.rnd.IntN(2) == 0 {
		w.after(w.between(l.k.rnd, time.Millisecond, 600*time.Millisecond), l.broke)
	}
}

// broke: the node notices that the stream is of no use.
func (l *link) broke() {
	if l.sess != nil && l.n.life == l.life && l.n.up {
		l.sess.Broke(l.n.w.mono())
	}
}

// say sends what is in line for workers.
func (n *node) say() {
	kept := n.links[:0]
	for _, l := range n.links {
		if l.ended || l.down {
			continue
		}
		kept = append(kept, l)
		if len(l.out) > 0 && !l.sending {
			l.sending = true
			n.after(n.delay(), l.send)
		}
	}
	clear(n.links[len(kept):])
	n.links = kept
}

func (l *link) send() {
	l.sending = false
	if l.ended || l.down {
		return
	}
	m := l.out
	l.out = nil
	l.toWorker = max(l.toWorker, l.n.w.now+l.n.delay())
	l.n.w.at(l.toWorker, func() {
		if !l.down {
			l.k.do(func() { l.k.obey(l, m) })
		}
	})
}

// tell sends a message of the worker.
func (l *link) tell(m *api.FromWorker) {
	if l.down {
		return
	}
	l.toNode = max(l.toNode, l.n.w.now+l.n.w.between(l.k.rnd, 100*time.Microsecond, 3*time.Millisecond))
	l.n.w.at(l.toNode, func() {
		switch {
		case l.down || l.ended:
		case !l.n.up || l.n.life != l.life: // it died before it knew of the stream
			l.cut()
		default:
			l.n.receive(l, m)
		}
	})
}

// receive is a message of a worker at the node.
func (n *node) receive(l *link, m *api.FromWorker) {
	if m.Hello != nil {
		n.admit(l, m.Hello)
		return
	}
	if l.sess == nil {
		return
	}
	for _, b := range m.Began {
		l.heard[b.Task] = b.Attempt
	}
	l.sess.Heard(m, n.w.mono())
	cmds, err := l.sess.Commands(m)
	if err != nil {
		n.w.fail("panic", "a report cannot be encoded: %v", err)
	}
	for _, cmd := range cmds {
		n.propose(cmd, func(r scheduler.Result, err error) {
			c, ok := cmd.(*scheduler.Complete)
			if err != nil && !l.ended {
				l.End(err)
			} else if ok && r.Code == scheduler.Stale {
				l.sess.Refused(c)
				n.say()
			}
		})
	}
}

// admit takes a worker in, as a node does: an older incarnation that it knows is
// given up first.
func (n *node) admit(l *link, h *api.Hello) {
	if !n.leading {
		l.End(nil)
		return
	}
	n.links = append(n.links, l)
	up := func() {
		n.propose(&scheduler.WorkerUp{Worker: h.Worker, Incarnation: h.Incarnation, Node: h.Node, Slots: h.Slots, Has: h.Has}, func(r scheduler.Result, err error) {
			if err != nil || r.Code != scheduler.OK && r.Code != scheduler.Duplicate {
				l.End(err)
				return
			}
			n.welcome(l, h)
		})
	}
	old := n.roster.Replace(h)
	n.say()
	if old == nil {
		up()
		return
	}
	n.propose(old, func(_ scheduler.Result, err error) {
		if err != nil {
			l.End(err)
			return
		}
		up()
	})
}

func (n *node) welcome(l *link, h *api.Hello) {
	var err error
	n.m.View(func(s *scheduler.State) { l.sess, err = n.roster.Open(s, h, l, n.w.mono()) })
	if err != nil {
		l.End(err)
		return
	}
	n.w.note("%s takes in %s/%d, which has %d attempts", n.id, h.Worker, h.Incarnation, len(h.Holds))
	if l.down {
		l.broke()
	}
	n.say()
}
