package replica

import (
	"farm/api"
	"farm/replica/form"
	"farm/scheduler"
)

// scheduleDue tells whether a schedule is to be fired.
func (d *dispatcher) scheduleDue(now int64) bool {
	at := d.schedule.Load()
	return at != 0 && at <= now
}

// fire proposes the times that have come of every schedule. It is not called again
// before all are answered.
func (d *dispatcher) fire(now int64) {
	var come []scheduler.Schedule
	d.n.fsm.View(func(s *scheduler.State) {
		for _, x := range s.Schedules() {
			if !x.Paused && x.Next <= now {
				come = append(come, *x)
			}
		}
	})
	for i := range come {
		c, err := form.Tick(&come[i], now)
		if err != nil { // a newer farm took it in
			d.unreadable(&come[i], err)
			continue
		}
		d.firing.Add(1)
		d.n.propose(c, func(r scheduler.Result, err error) {
			d.firing.Add(-1)
			if err == nil && r.Code != scheduler.OK {
				d.n.log.Warn("a schedule was not fired", "schedule", c.Name, "reason", r.Detail)
			}
		})
	}
}

// unreadable says once of a schedule that this build cannot fire it. It is for run.
func (d *dispatcher) unreadable(x *scheduler.Schedule, err error) {
	if d.told == nil {
		d.told = map[uint64]bool{}
	}
	if !d.told[x.Revision] {
		d.told[x.Revision] = true
		d.n.log.Error("a schedule cannot be read", "schedule", x.Name, "error", err)
	}
}

// ---- calls ----

func (n *Node) putSchedule(c *call, q *api.PutSchedule) {
	cmd, err := form.PutSchedule(q, n.stamps.now())
	if err != nil {
		c.fail(api.Code_INVALID, "%v", err)
		return
	}
	n.simple(c, cmd, func() { n.showSchedule(c, cmd.Name) })
}

func (n *Node) changeSchedule(c *call, q *api.ChangeSchedule) {
	var cmd *scheduler.ChangeSchedule
	var err error
	now := n.stamps.now()
	n.fsm.View(func(s *scheduler.State) { cmd, err = form.ChangeSchedule(q, s.Schedule(q.Name), now) })
	switch {
	case err != nil:
		c.fail(api.Code_INVALID, "%v", err)
	case cmd.Change == scheduler.Remove:
		n.removeSchedule(c, cmd)
	case cmd.Change == scheduler.RunNow:
		n.simple(c, cmd, func() { n.showTask(c, scheduler.RunID(q.Name, q.Id)) })
	default:
		n.simple(c, cmd, func() { n.showSchedule(c, q.Name) })
	}
}

// removeSchedule removes a schedule. A repeated request finds none: the client has
// looked whether there is one before it asked.
func (n *Node) removeSchedule(c *call, cmd *scheduler.ChangeSchedule) {
	n.propose(cmd, func(r scheduler.Result, err error) {
		switch {
		case err != nil:
			n.again(c, err)
		case r.Code == scheduler.OK || r.Code == scheduler.NotFound:
			c.reply(&api.Reply{Seq: c.Seq, Result: &api.Reply_Schedule{Schedule: &api.Schedule{Name: cmd.Name}}})
		default:
			c.refused(r)
		}
	})
}

func (n *Node) showSchedule(c *call, name string) {
	var v *api.Schedule
	n.fsm.View(func(s *scheduler.State) {
		if x := s.Schedule(name); x != nil {
			v = form.Schedule(x)
		}
	})
	if v == nil {
		c.fail(api.Code_NOT_FOUND, "there is no schedule %s", name)
		return
	}
	c.reply(&api.Reply{Seq: c.Seq, Result: &api.Reply_Schedule{Schedule: v}})
}

func (n *Node) listSchedules(c *call) {
	list := &api.ScheduleList{}
	n.fsm.View(func(s *scheduler.State) { list.Schedules = form.Schedules(s) })
	c.reply(&api.Reply{Seq: c.Seq, Result: &api.Reply_Schedules{Schedules: list}})
}
