package scheduler

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"farm/internal/wire"
)

// schedule draws a command about schedules.
func (g *traffic) schedule() Command {
	name := fmt.Sprint("s", g.rnd.IntN(2))
	x := g.s.schedules[name]
	soon := (g.now/second + 1 + g.rnd.Int64N(3)) * second
	switch {
	case x == nil || g.one(12):
		c := &PutSchedule{Name: name, Spec: fmt.Sprint("spec", g.rnd.IntN(3)), CatchUp: CatchUpOne, Next: soon, Replace: g.one(2),
			Task: &Submit{Kind: Run, Body: []byte("body")}}
		if g.one(2) {
			c.Task.Namespace, c.Task.Options = "n1", &Options{Timing: Timing{Within: 2 * second, Keep: MinKeep}}
		}
		return c
	case g.one(8):
		return &ChangeSchedule{Name: name, Change: ScheduleChange(1 + g.rnd.IntN(4)), Next: soon, ID: fmt.Sprint(g.ids)}
	}
	c := &FireSchedule{Name: name, Revision: x.Revision, From: x.Next}
	if g.one(6) { // from a leader that knows less
		c.From -= second
	}
	at := (c.From + second - 1) / second * second
	for ; at <= g.s.Clock && len(c.Times) < 4; at += second {
		c.Times = append(c.Times, at)
	}
	c.Next = max(at, c.From+1)
	return c
}

// fired follows a command that may have fired a schedule: no time comes again, and
// none comes early.
func (h *history) fired(s *State, c Command) error {
	switch c := c.(type) {
	case *PutSchedule:
		if x := s.schedules[c.Name]; x == nil || x.Fired == 0 {
			delete(h.ticks, c.Name) // it is another one
		}
	case *FireSchedule:
		x := s.schedules[c.Name]
		if x == nil || x.Revision != c.Revision || x.Next != c.Next || x.Paused || h.answer != OK {
			return nil
		}
		for _, at := range c.Times {
			if at <= h.ticks[c.Name] && x.Last == c.Times[len(c.Times)-1] || at > s.Clock {
				return fmt.Errorf("schedule %s is fired for %d at %d, it was for %d", c.Name, at, s.Clock, h.ticks[c.Name])
			}
			if t := s.Task(TickID(c.Name, at)); t == nil && x.Problem == "" && x.Task.Options == nil {
				return fmt.Errorf("schedule %s was fired for %d, and there is no task", c.Name, at)
			}
			h.ticks[c.Name] = at
		}
	}
	return nil
}

func checkSchedules(s *State) error {
	running, stored := 0, 0
	for name, x := range s.schedules {
		if !x.Paused {
			running++
		}
		if !bytes.Equal(s.rec.Get("s/"+name), x.record()) {
			return fmt.Errorf("schedule %s is not stored as it is", name)
		}
	}
	s.rec.Scan("s/", "", func(string, []byte) bool { stored++; return true })
	for i, x := range s.clockwork.items {
		if x.at() != i || x.Paused || s.schedules[x.Name] != x || i > 0 && x.before(s.clockwork.items[(i-1)/2]) {
			return fmt.Errorf("the heap of schedules is wrong at %d", i)
		}
	}
	if running != s.clockwork.len() || stored != len(s.schedules) {
		return fmt.Errorf("%d schedules run, %d are in the heap; %d are stored", running, s.clockwork.len(), stored)
	}
	return nil
}

// TestTickID: ids say the time in UTC.
func TestTickID(t *testing.T) {
	for _, at := range []string{"1970-01-01T00:00:00Z", "1969-12-31T23:59:59Z", "2000-02-29T12:00:00Z", "2100-02-28T23:59:59Z", "2100-03-01T00:00:00Z", "2026-11-27T02:30:00Z"} {
		x, _ := time.Parse(time.RFC3339, at)
		if want := "s." + x.Format("20060102T150405Z"); TickID("s", x.Unix()*second) != want {
			t.Errorf("%s: %s, want %s", at, TickID("s", x.Unix()*second), want)
		}
	}
	for day := int64(-200_000); day < 200_000; day += 97 {
		if y, m, d := civil(day); fmt.Sprintf("%04d-%02d-%02d", y, m, d) != time.Unix(day*86400, 0).UTC().Format("2006-01-02") {
			t.Fatalf("day %d: %d %d %d", day, y, m, d)
		}
	}
}

// TestSchedule: each time is fired once, whoever says so how often.
func TestSchedule(t *testing.T) {
	s := newScene(t, 1)
	put := &PutSchedule{Name: "s", Spec: "x", Zone: "z", CatchUp: CatchUpAll, Next: s.now + second, Task: &Submit{Kind: Run, Namespace: "n", Body: []byte("b"), Retries: 1}}
	s.do(put)
	s.refused(put, Duplicate, "")
	other := *put
	other.Spec = "y"
	s.refused(&other, Conflict, "another schedule")
	rev := s.schedules["s"].Revision
	fire := &FireSchedule{Name: "s", Revision: rev, From: s.now + second, Times: []int64{s.now + second, s.now + 2*second}, Next: s.now + 5*second}
	s.refused(fire, Invalid, "out of order") // early
	s.wait(3 * second)
	for _, bad := range []FireSchedule{
		{Revision: rev + 1, From: fire.From, Next: fire.Next}, {Revision: rev, From: fire.From + 1, Next: fire.Next}, {Name: "t", Revision: rev},
	} {
		bad.Name += "s"
		if bad.Name != "s" {
			bad.Name = "t"
		}
		s.refused(&bad, Stale, "")
	}
	for _, times := range [][]int64{{fire.Times[1], fire.Times[0]}, {fire.Times[0], fire.Times[0]}, {fire.Times[0] - second}, {fire.Times[0] + 1}, make([]int64, MaxTicks+1)} {
		s.refused(&FireSchedule{Name: "s", Revision: rev, From: fire.From, Times: times, Next: fire.Next}, Invalid, "out of order")
	}
	s.reload()
	s.do(fire)
	s.refused(fire, Stale, "")
	x := s.Schedule("s")
	if x.Fired != 2 || x.Last != fire.Times[1] || x.Next != fire.Next || x.LastTask != TickID("s", x.Last) || s.NextSchedule() != fire.Next {
		t.Errorf("%+v", x)
	}
	s.is(TickID("s", fire.Times[0]), Running)
	s.do(&ChangeSchedule{Name: "s", Change: RunNow, ID: "r"})
	s.refused(&ChangeSchedule{Name: "s", Change: RunNow, ID: "r"}, Duplicate, "")
	if s.Task("s.run-r") == nil || s.NextSchedule() != fire.Next {
		t.Error("it is not run now, or its times changed")
	}
	s.do(&ChangeSchedule{Name: "s", Change: Pause})
	s.refused(&ChangeSchedule{Name: "s", Change: Pause}, Duplicate, "")
	s.reload()
	if s.NextSchedule() != 0 {
		t.Error("a paused schedule is due")
	}
	s.wait(9 * second)
	s.refused(&FireSchedule{Name: "s", Revision: rev, From: fire.Next, Times: []int64{fire.Next}, Next: fire.Next + second}, Stale, "")
	s.do(&ChangeSchedule{Name: "s", Change: Resume, Next: s.now + second})
	other.Replace = true
	s.do(&other)
	if x := s.Schedule("s"); x.Spec != "y" || x.Fired != 3 || x.Revision == rev {
		t.Errorf("%+v", x)
	}
	s.do(&ChangeSchedule{Name: "s", Change: Remove})
	s.refused(&ChangeSchedule{Name: "s", Change: Remove}, NotFound, "no schedule s")
	if s.NextSchedule() != 0 || s.Schedule("s") != nil || s.rec.Get("s/s") != nil {
		t.Error("it is still there")
	}
}

// TestScheduleProblem: a time at which nothing can be submitted is told, and not tried
// again.
func TestScheduleProblem(t *testing.T) {
	s := newScene(t, 1)
	s.do(&PutSchedule{Name: "s", Spec: "x", CatchUp: CatchUpNone, Next: s.now + second, Task: &Submit{Kind: Run, Namespace: "n"}})
	for i := range MaxNamespaceQueue {
		s.Step(&Submit{ID: fmt.Sprint("t", i), Namespace: "n", Kind: Run})
	}
	s.wait(second)
	s.do(&FireSchedule{Name: "s", Revision: s.schedules["s"].Revision, From: s.now, Times: []int64{s.now}, Next: s.now + second})
	if x := s.Schedule("s"); x.Fired != 0 || !strings.Contains(x.Problem, "limit") || x.Next != s.now+second {
		t.Errorf("%+v", x)
	}
}

// TestScheduleRefused: what a schedule cannot be.
func TestScheduleRefused(t *testing.T) {
	s := newScene(t, 1)
	ok := PutSchedule{Name: "s", Spec: "x", CatchUp: CatchUpNone, Next: 1}
	for _, c := range []struct {
		task Submit
		put  func(*PutSchedule)
		code Code
	}{
		{Submit{Kind: Run, ID: "x"}, nil, Invalid},
		{Submit{Kind: Run, Job: "j"}, nil, Invalid},
		{Submit{Kind: Drop, Namespace: "n"}, nil, Invalid},
		{Submit{Kind: Run, Options: &Options{Timing: Timing{At: 1}}}, nil, Invalid},
		{Submit{Kind: Run, Options: &Options{Timing: Timing{After: []string{"a"}, AfterWhen: AllFinished}}}, nil, Invalid},
		{Submit{Kind: Run, Namespace: "a b"}, nil, Invalid},
		{Submit{Kind: Run}, func(c *PutSchedule) { c.Name = strings.Repeat("x", MaxScheduleName+1) }, Invalid},
		{Submit{Kind: Run}, func(c *PutSchedule) { c.Spec = strings.Repeat("x", MaxSpec+1) }, Invalid},
		{Submit{Kind: Run}, func(c *PutSchedule) { c.CatchUp = 0 }, Invalid},
		{Submit{Kind: Run}, func(c *PutSchedule) { c.Next = 0 }, Invalid},
		{Submit{Kind: Run, Body: make([]byte, MaxBodyBytes+1)}, nil, Limit},
	} {
		put := ok
		put.Task = &c.task
		if c.put != nil {
			c.put(&put)
		}
		s.refused(&put, c.code, "")
	}
	for i := range MaxSchedules {
		s.schedules[fmt.Sprint("x", i)] = &Schedule{place: -1}
	}
	put := ok
	put.Task = &Submit{Kind: Run}
	s.refused(&put, Limit, fmt.Sprint(MaxSchedules))
}

// TestScheduleCommands: what is written is read, and nothing else.
func TestScheduleCommands(t *testing.T) {
	task := &Submit{Kind: Run, Namespace: "n", Body: []byte("b"), Options: &Options{Timing: Timing{Keep: MinKeep}}}
	for _, c := range []Command{
		&PutSchedule{Name: "s", Spec: "x", Zone: "z", CatchUp: CatchUpOne, Task: task, Next: 5, Replace: true},
		&ChangeSchedule{Name: "s", Change: Resume, Next: 7, ID: "i"},
		&FireSchedule{Name: "s", Revision: 3, From: 4, Times: []int64{5, 6}, Next: 7},
		&Retry{ID: "t", Request: "r"}, &Discard{ID: "t"},
	} {
		b := c.AppendTo(nil)
		if got, err := DecodeCommand(wire.NewReader(b)); err != nil || !reflect.DeepEqual(got, c) {
			t.Errorf("%+v: %+v, %v", c, got, err)
		}
		for i := range b {
			if _, err := DecodeCommand(wire.NewReader(b[:i])); !errors.Is(err, wire.ErrCorrupt) {
				t.Errorf("%T cut at %d: %v", c, i, err)
			}
		}
	}
	inner := (&PutSchedule{Name: "s", Task: task}).AppendTo(nil)
	outer := wire.AppendBytes([]byte{cmdPutSchedule, 1, 's', 0, 0, 1}, inner)
	if _, err := DecodeCommand(wire.NewReader(append(outer, 2, 0))); !errors.Is(err, wire.ErrCorrupt) {
		t.Errorf("a schedule of schedules: %v", err)
	}
}
