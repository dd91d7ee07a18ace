package tasks

import (
	"context"
	"fmt"
	"time"

	"farm/api"
	"farm/internal/ask"
	"farm/internal/label"
)

// CatchUp says what becomes of times of a schedule that nobody could submit its task
// at, because the farm had no leader for more than a minute.
type CatchUp string

// The policies of Schedule.CatchUp.
const (
	CatchUpNone CatchUp = "none" // they are left out; the default
	CatchUpOne  CatchUp = "one"  // of all that have passed, the task is submitted for the newest
	CatchUpAll  CatchUp = "all"  // the task is submitted for each
)

// Schedule is a task that is submitted again and again, once for each of its times,
// whatever becomes of nodes meanwhile. Each task has an id made of the schedule's name
// and the time in UTC, such as nightly.20261127T023000Z.
type Schedule struct {
	// Name is 1 to 64 letters, digits, '.', '_' and '-'.
	Name string
	// Spec says when: "MINUTE HOUR DAY MONTH WEEKDAY" as of cron, @hourly, @daily,
	// @weekly, @monthly, @yearly, or "@every 90s". Where clocks are changed, a time that
	// does not exist is the moment of the change, and one that comes twice is the first
	// of them; with * as its hour, hours are counted as they pass.
	Spec string
	// Zone is the time zone of Spec, such as "Europe/Berlin"; empty: UTC.
	Zone string
	// CatchUp is what becomes of times that were missed.
	CatchUp CatchUp
	// Task is what is submitted. It has no ID, Job, At, Deadline or After of its own.
	Task Task
	// Replace a schedule that is there with the name, and differs. Otherwise that is
	// ErrConflict.
	Replace bool
}

// ScheduleInfo is what farm knows of a schedule.
type ScheduleInfo struct {
	Name, Spec, Zone string
	CatchUp          CatchUp
	Task             Task // from Client.GetSchedule; without what the task does from Client.Schedules
	Paused           bool
	Created          time.Time
	Next             time.Time // not while it is paused
	Last             time.Time // newest time it was submitted for
	LastTask         string    // id of the newest task it submitted
	Submitted        int       // tasks so far
	Problem          string    // why the newest was not submitted, such as a limit; empty when it was
}

// Schedule makes a schedule, or with Replace changes one. Making the one that is there
// already changes nothing. Errors, among others: ErrInvalid when Spec or Zone cannot be
// read, ErrConflict.
func (c *Client) Schedule(ctx context.Context, s Schedule) (*ScheduleInfo, error) {
	switch {
	case s.Task.ID != "" || s.Task.Job != "" || !s.Task.At.IsZero() || !s.Task.Deadline.IsZero() || len(s.Task.After) > 0:
		return nil, fmt.Errorf("schedule %s: %w: its task has no ID, Job, At, Deadline or After", s.Name, ErrInvalid)
	case s.Spec == "":
		return nil, fmt.Errorf("schedule %s: %w: it does not say when", s.Name, ErrInvalid)
	}
	task := s.Task
	msg, err := task.submit(false)
	if err != nil {
		return nil, fmt.Errorf("schedule %s: %w", s.Name, err)
	}
	msg.Id = ""
	return c.schedule(ctx, s.Name, &api.Call{Op: &api.Call_PutSchedule{PutSchedule: &api.PutSchedule{Replace: s.Replace,
		Schedule: &api.Schedule{Name: s.Name, Spec: s.Spec, Zone: s.Zone, CatchUp: string(s.CatchUp), Task: msg}}}})
}

// GetSchedule returns what is known of a schedule now.
func (c *Client) GetSchedule(ctx context.Context, name string) (*ScheduleInfo, error) {
	return c.schedule(ctx, name, &api.Call{Op: &api.Call_GetSchedule{GetSchedule: &api.GetSchedule{Name: name}}})
}

// Schedules returns all schedules, by name.
func (c *Client) Schedules(ctx context.Context) ([]*ScheduleInfo, error) {
	r, err := c.conn.do(ctx, &api.Call{Op: &api.Call_ListSchedules{ListSchedules: &api.ListSchedules{}}}, false)
	if err != nil {
		return nil, fmt.Errorf("schedules: %w", err)
	}
	var out []*ScheduleInfo
	for _, s := range r.GetSchedules().GetSchedules() {
		out = append(out, newSchedule(s))
	}
	return out, nil
}

// PauseSchedule has a schedule submit nothing until ResumeSchedule. What falls due
// meanwhile is left out, whatever its catch-up policy.
func (c *Client) PauseSchedule(ctx context.Context, name string) (*ScheduleInfo, error) {
	return c.schedule(ctx, name, change(name, "pause", ""))
}

// ResumeSchedule ends PauseSchedule.
func (c *Client) ResumeSchedule(ctx context.Context, name string) (*ScheduleInfo, error) {
	return c.schedule(ctx, name, change(name, "resume", ""))
}

// RemoveSchedule removes a schedule. Tasks that it has submitted go on. Errors, among
// others: ErrNotFound.
func (c *Client) RemoveSchedule(ctx context.Context, name string) error {
	if _, err := c.GetSchedule(ctx, name); err != nil {
		return err
	}
	_, err := c.schedule(ctx, name, change(name, "remove", ""))
	return err
}

// RunSchedule submits the task of a schedule now, once, whether it is paused or not.
func (c *Client) RunSchedule(ctx context.Context, name string) (*Info, error) {
	r, err := c.conn.do(ctx, change(name, "run", NewID()), false)
	if err != nil {
		return nil, fmt.Errorf("schedule %s: %w", name, err)
	}
	return newInfo(r.GetTask()), nil
}

func change(name, what, id string) *api.Call {
	return &api.Call{Op: &api.Call_ChangeSchedule{ChangeSchedule: &api.ChangeSchedule{Name: name, Change: what, Id: id}}}
}

func (c *Client) schedule(ctx context.Context, name string, msg *api.Call) (*ScheduleInfo, error) {
	r, err := c.conn.do(ctx, msg, false)
	if err != nil {
		return nil, fmt.Errorf("schedule %s: %w", name, err)
	}
	return newSchedule(r.GetSchedule()), nil
}

func newSchedule(s *api.Schedule) *ScheduleInfo {
	i := &ScheduleInfo{Name: s.GetName(), Spec: s.GetSpec(), Zone: s.GetZone(), CatchUp: CatchUp(s.GetCatchUp()), Paused: s.GetPaused(),
		Created: when(s.GetCreated()), Last: when(s.GetLast()), LastTask: s.GetLastTask(), Submitted: int(s.GetFired()), Problem: s.GetProblem()}
	if !i.Paused {
		i.Next = when(s.GetNext())
	}
	i.Task = readTask(s.GetTask())
	return i
}

// readTask is the task that a request asks for, as far as a schedule can have it.
func readTask(s *api.Submit) Task {
	w := s.GetWork()
	t := Task{Namespace: s.GetNamespace(), Source: w.GetSource(), Call: w.GetCall(), Args: w.GetArgs(), Files: w.GetFiles(), Handler: w.GetHandler(), Input: w.GetInput(),
		Engine: w.GetEngine()}
	t.setOptions(ask.Get(s))
	if _, handlers := label.Split(s.GetNeeds()); t.Handler == "" && len(handlers) > 0 { // of a list, which does not have the work
		t.Handler = handlers[0]
	}
	for _, in := range w.GetInputs() {
		t.Inputs = append(t.Inputs, in)
	}
	return t
}
