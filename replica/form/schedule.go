package form

import (
	"errors"
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"

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

// Tick is the command that fires a schedule for the times that have come. The error is
// that of a schedule which this build cannot read.
func Tick(x *scheduler.Schedule, now int64) (*scheduler.FireSchedule, error) {
	p, err := planOf(x.Spec, x.Zone)
	if err != nil {
		return nil, err
	}
	c := &scheduler.FireSchedule{Name: x.Name, Revision: x.Revision, From: x.Next}
	c.Times, c.Next = p.due(x.CatchUp, x.Next, now)
	return c, nil
}

// PutSchedule is the command that makes or changes a schedule. The error says what
// cannot be meant.
func PutSchedule(q *api.PutSchedule, now int64) (*scheduler.PutSchedule, error) {
	s := q.GetSchedule()
	if s.GetTask() == nil {
		return nil, errors.New("the schedule has no task")
	}
	p, err := planOf(s.Spec, s.Zone)
	if err != nil {
		return nil, err
	}
	task, err := Submit(s.Task)
	if err != nil {
		return nil, err
	}
	return &scheduler.PutSchedule{Name: s.Name, Spec: s.Spec, Zone: s.Zone, CatchUp: catchUpOf(s.CatchUp), Task: task,
		Next: p.after(now), Replace: q.Replace}, nil
}

var changes = map[string]scheduler.ScheduleChange{"pause": scheduler.Pause, "resume": scheduler.Resume, "remove": scheduler.Remove, "run": scheduler.RunNow}

// ChangeSchedule is the command that changes a schedule; x is the one there is, nil for
// none. The error says what cannot be meant.
func ChangeSchedule(q *api.ChangeSchedule, x *scheduler.Schedule, now int64) (*scheduler.ChangeSchedule, error) {
	c := &scheduler.ChangeSchedule{Name: q.Name, Change: changes[q.Change], ID: q.Id}
	switch {
	case c.Change == 0:
		return nil, fmt.Errorf("%q is no change of a schedule", q.Change)
	case c.Change == scheduler.Resume && x != nil:
		p, err := planOf(x.Spec, x.Zone)
		if err != nil {
			return nil, err
		}
		c.Next = p.after(now)
	}
	return c, nil
}

// Schedule is a schedule as clients see it, with its task as it was asked for, but for
// the times that follow from the log.
func Schedule(x *scheduler.Schedule) *api.Schedule {
	t := x.Task
	v := &api.Submit{Namespace: t.Namespace, Timeout: t.Timeout, Retries: t.Retries, Priority: t.Priority, Delay: t.Delay, Work: &api.Work{}}
	if err := proto.Unmarshal(t.Body, v.Work); err != nil {
		v.Work = nil
	}
	if o := t.Options; o != nil {
		v.Needs, v.Backoff, v.BackoffMax, v.Within, v.Keep = o.Needs, o.Backoff, o.BackoffMax, o.Within, o.Keep
		v.Queue, v.Key, v.Unique = o.Queue, o.Key, unique(o.Unique)
	}
	return &api.Schedule{Name: x.Name, Spec: x.Spec, Zone: x.Zone, CatchUp: catchUps[x.CatchUp], Task: v, Paused: x.Paused, Created: x.Created,
		Next: x.Next, Last: x.Last, LastTask: x.LastTask, Fired: x.Fired, Problem: x.Problem}
}

// Schedules are all schedules as clients see them, without what their tasks are to do,
// which may be large.
func Schedules(s *scheduler.State) (list []*api.Schedule) {
	for _, x := range s.Schedules() {
		v := Schedule(x)
		v.Task.Work = nil
		list = append(list, v)
	}
	return list
}
