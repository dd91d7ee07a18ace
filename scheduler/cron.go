package scheduler

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"farm/internal/wire"
)

// A schedule submits a task again and again. Which times it names, only the leader
// works out, for that takes a calendar and the rules of time zones, which are not the
// same on every machine for ever: they come with the command, as data. Step makes sure
// that they follow each other, so that each is fired once, whoever leads.

// CatchUp says what becomes of times at which nobody could fire a schedule.
type CatchUp uint8

// What becomes of times that were missed. The leader carries it out.
const (
	CatchUpNone CatchUp = iota + 1 // they are left out
	CatchUpOne                     // the newest is fired, once
	CatchUpAll                     // each is fired
)

// Limits of schedules.
const (
	MaxSchedules    = 1_000
	MaxScheduleName = 64
	MaxSpec         = 256 // bytes of the specification, and of the time zone's name
	MaxTicks        = 100 // times fired with one command
)

// Schedule is a task that is submitted at times. Not to be changed.
type Schedule struct {
	Name     string
	Spec     string // of the times; opaque here
	Zone     string
	CatchUp  CatchUp
	Task     *Submit // without an ID
	Paused   bool
	Revision uint64 // another one whenever it is put
	Created  int64  // unix nanoseconds
	Next     int64  // time it is fired next
	Last     int64  // newest time it was fired for
	LastTask string // submitted then, or by a Change to run it
	Fired    uint64 // tasks submitted
	Problem  string // why the last was not submitted, empty when it was

	place int // in the heap, -1 when paused
}

func (x *Schedule) before(o *Schedule) bool {
	if x.Next != o.Next {
		return x.Next < o.Next
	}
	return x.Name < o.Name
}

func (x *Schedule) moved(i int) { x.place = i }
func (x *Schedule) at() int     { return x.place }

// PutSchedule makes a schedule, or with Replace changes the one there is.
type PutSchedule struct {
	Name, Spec, Zone string
	CatchUp          CatchUp
	Task             *Submit // without an ID
	Next             int64
	Replace          bool
}

// ScheduleChange is what is to be done to a schedule.
type ScheduleChange uint8

// The changes of a schedule.
const (
	Pause  ScheduleChange = iota + 1
	Resume                // with Next: what was missed meanwhile is not caught up with
	Remove                // what it submitted goes on
	RunNow                // submit its task now; ID becomes part of the task's id
)

// ChangeSchedule changes a schedule that is there.
type ChangeSchedule struct {
	Name   string
	Change ScheduleChange
	Next   int64
	ID     string
}

// FireSchedule submits the task of a schedule, once for each of Times. From is the
// schedule's Next, which becomes the Next of the command: so it is applied once.
type FireSchedule struct {
	Name     string
	Revision uint64
	From     int64
	Times    []int64 // ascending, whole seconds in unix nanoseconds
	Next     int64
}

// AppendTo implements Command.
func (c *PutSchedule) AppendTo(b []byte) []byte {
	b = wire.AppendString(append(b, cmdPutSchedule), c.Name)
	b = wire.AppendString(b, c.Spec)
	b = wire.AppendString(b, c.Zone)
	b = append(b, byte(c.CatchUp))
	b = wire.AppendBytes(b, c.Task.AppendTo(nil))
	b = wire.AppendInt(b, c.Next)
	return wire.AppendBool(b, c.Replace)
}

// AppendTo implements Command.
func (c *ChangeSchedule) AppendTo(b []byte) []byte {
	b = wire.AppendString(append(b, cmdChangeSchedule), c.Name)
	b = wire.AppendInt(append(b, byte(c.Change)), c.Next)
	return wire.AppendString(b, c.ID)
}

// AppendTo implements Command.
func (c *FireSchedule) AppendTo(b []byte) []byte {
	b = wire.AppendString(append(b, cmdFireSchedule), c.Name)
	b = wire.AppendInt(wire.AppendUint(b, c.Revision), c.From)
	b = wire.AppendUint(b, uint64(len(c.Times)))
	for _, t := range c.Times {
		b = wire.AppendInt(b, t)
	}
	return wire.AppendInt(b, c.Next)
}

// readSchedule reads a command about schedules, or about a task that did not succeed.
func readSchedule(kind byte, r *wire.Reader) (Command, error) {
	switch kind {
	case cmdPutSchedule:
		c := &PutSchedule{Name: r.String(), Spec: r.String(), Zone: r.String(), CatchUp: CatchUp(r.Byte())}
		task, err := readTemplate(r)
		c.Task, c.Next, c.Replace = task, r.Int(), r.Bool()
		return c, err
	case cmdChangeSchedule:
		return &ChangeSchedule{Name: r.String(), Change: ScheduleChange(r.Byte()), Next: r.Int(), ID: r.String()}, nil
	}
	c := &FireSchedule{Name: r.String(), Revision: r.Uint(), From: r.Int()}
	for range r.Count() {
		c.Times = append(c.Times, r.Int())
	}
	c.Next = r.Int()
	return c, nil
}

// readTemplate reads the task of a schedule, encoded as the command that submits it.
func readTemplate(r *wire.Reader) (*Submit, error) {
	b := r.Bytes()
	if r.Err() != nil {
		return nil, r.Err()
	}
	if len(b) > 0 && b[0] == cmdPutSchedule {
		return nil, wire.ErrCorrupt // one in the other
	}
	in := wire.NewReader(b)
	c, err := DecodeCommand(in)
	if err != nil {
		return nil, err
	}
	x, ok := c.(*Submit)
	if !ok || in.Done() != nil {
		return nil, wire.ErrCorrupt
	}
	return x, nil
}

// ---- records ----

func (x *Schedule) record() []byte {
	b := wire.AppendString([]byte{recordVersion}, x.Name)
	b = wire.AppendString(b, x.Spec)
	b = wire.AppendString(b, x.Zone)
	b = append(b, byte(x.CatchUp))
	b = wire.AppendBytes(b, x.Task.AppendTo(nil))
	b = wire.AppendBool(b, x.Paused)
	b = wire.AppendUint(b, x.Revision)
	b = wire.AppendInt(b, x.Created)
	b = wire.AppendInt(b, x.Next)
	b = wire.AppendInt(b, x.Last)
	b = wire.AppendString(b, x.LastTask)
	b = wire.AppendUint(b, x.Fired)
	return wire.AppendString(b, x.Problem)
}

func (s *State) loadSchedule(b []byte) error {
	r := wire.NewReader(b)
	if v := r.Byte(); v != recordVersion {
		return &VersionError{"schedule record", v, recordVersion}
	}
	x := &Schedule{Name: r.String(), Spec: r.String(), Zone: r.String(), CatchUp: CatchUp(r.Byte()), place: -1}
	var err error
	if x.Task, err = readTemplate(r); err != nil {
		return err
	}
	x.Paused, x.Revision, x.Created, x.Next, x.Last = r.Bool(), r.Uint(), r.Int(), r.Int(), r.Int()
	x.LastTask, x.Fired, x.Problem = r.String(), r.Uint(), r.String()
	if err := r.Done(); err != nil {
		return err
	}
	s.schedules[x.Name] = x
	if !x.Paused {
		s.clockwork.push(x)
	}
	return nil
}

// wind writes a schedule that was changed, and puts it where it is due.
func (s *State) wind(x *Schedule) {
	s.clockwork.remove(x)
	if !x.Paused {
		s.clockwork.push(x)
	}
	s.rec.Put("s/"+x.Name, x.record())
}

// ---- commands ----

func (s *State) putSchedule(c *PutSchedule) Result {
	old := s.schedules[c.Name]
	if r := s.scheduleAllowed(c, old); r.Code != OK {
		return r
	}
	s.Order++
	x := &Schedule{Name: c.Name, Created: s.Clock, place: -1}
	if old != nil {
		s.clockwork.remove(old)
		*x = *old
	}
	x.Spec, x.Zone, x.CatchUp, x.Next, x.Revision = c.Spec, c.Zone, c.CatchUp, c.Next, s.Order
	t := *c.Task
	t.Body = bytes.Clone(t.Body)
	if t.Options != nil {
		t.Options = t.Options.clone()
	}
	x.Task = &t
	s.schedules[x.Name] = x
	s.wind(x)
	return Result{Code: OK}
}

func (s *State) scheduleAllowed(c *PutSchedule, old *Schedule) Result {
	t := c.Task
	switch {
	case !ValidName(c.Name) || len(c.Name) > MaxScheduleName:
		return refuse(Invalid, "%q is no name of a schedule: 1 to %d letters, digits, '.', '_' and '-'", c.Name, MaxScheduleName)
	case len(c.Spec) > MaxSpec || len(c.Zone) > MaxSpec || c.CatchUp < CatchUpNone || c.CatchUp > CatchUpAll || c.Next <= 0:
		return refuse(Invalid, "a field of the schedule is out of range")
	case t.ID != "" || t.Job != "" || t.Kind != Run:
		return refuse(Invalid, "a schedule's task has no id and no job")
	case t.Options != nil && (t.Options.At != 0 || t.Options.Deadline != 0 || len(t.Options.After) > 0):
		return refuse(Invalid, "a schedule's task has no time of its own, and runs after no other")
	case old != nil && old.same(c):
		return Result{Code: Duplicate}
	case old != nil && !c.Replace:
		return refuse(Conflict, "there is another schedule %s", c.Name)
	case old == nil && len(s.schedules) >= MaxSchedules:
		return refuse(Limit, "there are %d schedules, which is the limit", len(s.schedules))
	}
	try := *t
	try.ID = c.Name
	return s.submitAllowed(&try, nil, nil)
}

// same tells whether a command asks for the schedule that is there.
func (x *Schedule) same(c *PutSchedule) bool {
	return x.Spec == c.Spec && x.Zone == c.Zone && x.CatchUp == c.CatchUp && bytes.Equal(x.Task.AppendTo(nil), c.Task.AppendTo(nil))
}

func (s *State) changeSchedule(c *ChangeSchedule) Result {
	x := s.schedules[c.Name]
	if x == nil {
		return refuse(NotFound, "there is no schedule %s", c.Name)
	}
	switch c.Change {
	case Pause, Resume:
		if x.Paused == (c.Change == Pause) {
			return Result{Code: Duplicate}
		}
		if x.Paused = c.Change == Pause; !x.Paused {
			x.Next = max(c.Next, x.Last+1)
		}
		s.wind(x)
	case Remove:
		s.clockwork.remove(x)
		delete(s.schedules, x.Name)
		s.rec.Delete("s/" + x.Name)
	case RunNow:
		return s.runNow(x, c.ID)
	default:
		return refuse(Invalid, "the change of the schedule is unknown")
	}
	return Result{Code: OK}
}

// RunID is the id of the task that a Change to run a schedule submits.
func RunID(schedule, id string) string { return schedule + ".run-" + id }

func (s *State) runNow(x *Schedule, id string) Result {
	t := *x.Task
	t.ID = RunID(x.Name, id)
	r := s.submit(&t)
	if r.Code == OK {
		x.Fired++
		x.LastTask, x.Problem = t.ID, ""
		s.wind(x)
	}
	return r
}

func (s *State) fireSchedule(c *FireSchedule) Result {
	x := s.schedules[c.Name]
	switch {
	case x == nil || x.Revision != c.Revision || x.Paused || x.Next != c.From:
		return refuse(Stale, "schedule %s was fired or changed meanwhile", c.Name)
	case len(c.Times) > MaxTicks || c.Next <= c.From || !slices.IsSorted(c.Times):
		return refuse(Invalid, "the times of schedule %s are out of order", c.Name)
	}
	last := c.From - 1
	for _, t := range c.Times {
		if t <= last || t > s.Clock || t%second != 0 || t >= c.Next {
			return refuse(Invalid, "the times of schedule %s are out of order", c.Name)
		}
		last = t
	}
	x.Next = c.Next
	for _, at := range c.Times {
		s.tick(x, at)
	}
	s.wind(x)
	return Result{Code: OK}
}

// tick submits the task of a schedule for one of its times.
func (s *State) tick(x *Schedule, at int64) {
	t := *x.Task
	t.ID = TickID(x.Name, at)
	x.Last = at
	switch r := s.submit(&t); {
	case r.Code == Duplicate && r.Detail != "":
		x.Problem = fmt.Sprintf("%s: task %s has the unique key", t.ID, r.Detail)
	case r.Code == OK, r.Code == Duplicate: // it was fired before, and the schedule made anew since
		x.Fired++
		x.LastTask, x.Problem = t.ID, ""
	default:
		x.Problem = fmt.Sprintf("%s: %s: %s", t.ID, r.Code, r.Detail)
	}
}

// TickID is the id of the task that a schedule submits for a time, which it says in
// UTC: nightly.20261127T023000Z.
func TickID(schedule string, at int64) string {
	days, rest := at/second/86400, at/second%86400
	if rest < 0 {
		days, rest = days-1, rest+86400
	}
	y, m, d := civil(days)
	return fmt.Sprintf("%s.%04d%02d%02dT%02d%02d%02dZ", schedule, y, m, d, rest/3600, rest/60%60, rest%60)
}

// civil is the date of a day that is given in days since 1970. Years are counted from
// March, so that the day that is now and then comes last, in eras of 400 of them.
func civil(days int64) (year, month, day int64) {
	days += 719468
	era := days / 146097
	inEra := days - era*146097
	yearOfEra := (inEra - inEra/1460 + inEra/36524 - inEra/146096) / 365
	inYear := inEra - (365*yearOfEra + yearOfEra/4 - yearOfEra/100)
	fromMarch := (5*inYear + 2) / 153
	day = inYear - (153*fromMarch+2)/5 + 1
	month = fromMarch + 3
	year = yearOfEra + era*400
	if month > 12 {
		month, year = month-12, year+1
	}
	return year, month, day
}

// ---- reading ----

// NextSchedule is when a schedule has to be fired next, 0 when none has.
func (s *State) NextSchedule() int64 {
	if s.clockwork.len() == 0 {
		return 0
	}
	return s.clockwork.min().Next
}

// Schedule returns a schedule, or nil.
func (s *State) Schedule(name string) *Schedule { return s.schedules[name] }

// Schedules returns all schedules, by name.
func (s *State) Schedules() []*Schedule {
	out := make([]*Schedule, 0, len(s.schedules))
	for _, x := range s.schedules { // sorted below
		out = append(out, x)
	}
	slices.SortFunc(out, func(a, b *Schedule) int { return strings.Compare(a.Name, b.Name) })
	return out
}
