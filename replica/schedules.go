package replica

import (
	"time"

	"farm/api"
	"farm/internal/cron"
	"farm/scheduler"
)

// missedAfter is how late a schedule may be fired for a time; later it was missed, and
// the schedule's catch-up policy counts. It is longer than a change of leader takes.
const missedAfter = time.Minute

// catchUps are the policies by their name on the wire.
var catchUps = []string{scheduler.CatchUpNone: "none", scheduler.CatchUpOne: "one", scheduler.CatchUpAll: "all"}

func catchUpOf(name string) (c scheduler.CatchUp) {
	if name == "" {
		return scheduler.CatchUpNone
	}
	for i, n := range catchUps {
		if n == name {
			c = scheduler.CatchUp(i)
		}
	}
	return c // 0 is refused by the scheduler
}

// plan is the times of a schedule, worked out with a calendar.
type plan struct {
	spec *cron.Spec
	zone *time.Location
}

func planOf(spec, zone string) (plan, error) {
	s, err := cron.Parse(spec)
	if err != nil {
		return plan{}, err
	}
	loc, err := cron.Zone(zone)
	return plan{s, loc}, err
}

// after is the first time after one, in unix nanoseconds; far away when there is none.
func (p plan) after(t int64) int64 {
	next := p.spec.Next(time.Unix(0, t).In(p.zone))
	if next.IsZero() {
		return t + int64(100*365*24*time.Hour)
	}
	return next.UnixNano()
}

// due are the times for which a schedule is to be fired now, of which the first is its
// next one, and what is its next one then.
func (p plan) due(policy scheduler.CatchUp, first, now int64) (times []int64, next int64) {
	recent := now - int64(missedAfter)
	switch {
	case first > recent || policy == scheduler.CatchUpAll:
	case policy == scheduler.CatchUpOne:
		last := p.latest(first, now)
		return []int64{last}, p.after(max(last, now))
	default:
		first = p.after(recent)
	}
	for t := first; ; t = p.after(t) {
		if t > now || len(times) == scheduler.MaxTicks {
			return times, t
		}
		times = append(times, t)
	}
}

// latest is the last time up to now; first is one. It looks at what is near first, as
// the times since may be very many.
func (p plan) latest(first, now int64) int64 {
	for _, back := range []time.Duration{time.Hour, 25 * time.Hour, 32 * 24 * time.Hour} {
		from := now - int64(back)
		if from < first {
			break
		}
		if last := p.last(p.after(from), now); last != 0 {
			return last
		}
	}
	return p.last(first, now)
}

// last is the last time up to now that comes after one of them; 0 when that is later.
func (p plan) last(t, now int64) (last int64) {
	for ; t <= now; t = p.after(t) {
		last = t
	}
	return last
}

// ---- firing ----

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
		c, err := tickOf(&come[i], now)
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

// tickOf is the command that fires a schedule.
func tickOf(x *scheduler.Schedule, now int64) (*scheduler.FireSchedule, error) {
	p, err := planOf(x.Spec, x.Zone)
	if err != nil {
		return nil, err
	}
	c := &scheduler.FireSchedule{Name: x.Name, Revision: x.Revision, From: x.Next}
	c.Times, c.Next = p.due(x.CatchUp, x.Next, now)
	return c, nil
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
	s := q.GetSchedule()
	if s.GetTask() == nil {
		c.fail(api.Code_INVALID, "the schedule has no task")
		return
	}
	p, err := planOf(s.Spec, s.Zone)
	if err != nil {
		c.fail(api.Code_INVALID, "%v", err)
		return
	}
	task, why := submission(s.Task)
	if why != "" {
		c.fail(api.Code_INVALID, "%s", why)
		return
	}
	cmd := &scheduler.PutSchedule{Name: s.Name, Spec: s.Spec, Zone: s.Zone, CatchUp: catchUpOf(s.CatchUp), Task: task,
		Next: p.after(n.stamps.now()), Replace: q.Replace}
	n.simple(c, cmd, func() { n.showSchedule(c, s.Name) })
}

func (n *Node) changeSchedule(c *call, q *api.ChangeSchedule) {
	cmd := &scheduler.ChangeSchedule{Name: q.Name, ID: q.Id}
	switch q.Change {
	case "pause":
		cmd.Change = scheduler.Pause
	case "remove":
		cmd.Change = scheduler.Remove
	case "run":
		cmd.Change = scheduler.RunNow
		n.simple(c, cmd, func() { n.showTask(c, scheduler.RunID(q.Name, q.Id)) })
		return
	case "resume":
		p, err := n.planNow(q.Name)
		if err != nil {
			c.fail(api.Code_INVALID, "%v", err)
			return
		}
		cmd.Change = scheduler.Resume
		if p.spec != nil {
			cmd.Next = p.after(n.stamps.now())
		}
	default:
		c.fail(api.Code_INVALID, "%q is no change of a schedule", q.Change)
		return
	}
	v := n.scheduleView(q.Name)
	n.simple(c, cmd, func() {
		if cmd.Change != scheduler.Remove {
			v = n.scheduleView(q.Name)
		}
		c.reply(&api.Reply{Seq: c.Seq, Result: &api.Reply_Schedule{Schedule: v}})
	})
}

// planNow is that of a schedule as it is; the zero plan when there is no such schedule.
func (n *Node) planNow(name string) (p plan, err error) {
	spec, zone := "", ""
	n.fsm.View(func(s *scheduler.State) {
		if x := s.Schedule(name); x != nil {
			spec, zone = x.Spec, x.Zone
		}
	})
	if spec == "" {
		return plan{}, nil
	}
	return planOf(spec, zone)
}

func (n *Node) showSchedule(c *call, name string) {
	v := n.scheduleView(name)
	if v == nil {
		c.fail(api.Code_NOT_FOUND, "there is no schedule %s", name)
		return
	}
	c.reply(&api.Reply{Seq: c.Seq, Result: &api.Reply_Schedule{Schedule: v}})
}

func (n *Node) listSchedules(c *call) {
	list := &api.ScheduleList{}
	n.fsm.View(func(s *scheduler.State) {
		for _, x := range s.Schedules() {
			v := scheduleView(x)
			v.Task.Work = nil // they may be large
			list.Schedules = append(list.Schedules, v)
		}
	})
	c.reply(&api.Reply{Seq: c.Seq, Result: &api.Reply_Schedules{Schedules: list}})
}

func (n *Node) scheduleView(name string) (v *api.Schedule) {
	n.fsm.View(func(s *scheduler.State) {
		if x := s.Schedule(name); x != nil {
			v = scheduleView(x)
		}
	})
	return v
}
