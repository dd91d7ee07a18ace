package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/urfave/cli/v2"

	"farm/internal/cron"
	"farm/tasks"
)

func (a *app) cronCommand() *cli.Command {
	return &cli.Command{
		Name: "cron", Usage: "submit tasks again and again, at times of a calendar", UsageText: "farm cron VERB [flags] [args]",
		Subcommands: []*cli.Command{a.cronAddCommand(), a.cronLsCommand(), a.cronShowCommand(),
			a.cronVerb("pause", "have a schedule submit nothing", "What falls due while it is paused is left out.",
				func(ctx context.Context, conn *connection, name string) (any, error) {
					i, err := conn.PauseSchedule(ctx, name)
					return jsonSchedule(i), err
				}),
			a.cronVerb("resume", "have a paused schedule submit again", "",
				func(ctx context.Context, conn *connection, name string) (any, error) {
					i, err := conn.ResumeSchedule(ctx, name)
					return jsonSchedule(i), err
				}),
			a.cronVerb("rm", "remove schedules", "Tasks that they have submitted go on.",
				func(ctx context.Context, conn *connection, name string) (any, error) {
					return nil, conn.RemoveSchedule(ctx, name)
				}),
			a.cronRunCommand()},
	}
}

type cronOptions struct {
	taskOptions
	schedule tasks.Schedule
}

func (a *app) cronAddCommand() *cli.Command {
	var o cronOptions
	var catchUp string
	return &cli.Command{
		Name: "add", Usage: "make a schedule", UsageText: "farm cron add [flags] NAME SPEC FILE.go | -c CODE NAME SPEC | --handler HANDLER NAME SPEC",
		Description: "SPEC is \"MINUTE HOUR DAY MONTH WEEKDAY\" as of cron, @hourly, @daily, @weekly, @monthly, @yearly, or \"@every 90s\".\n" +
			"For each of its times the task is submitted once, whatever becomes of nodes meanwhile, with an id made of NAME and the\n" +
			"time in UTC, such as nightly.20261127T023000Z. Adding the same schedule again changes nothing. The task is one as of\n" +
			"\"farm submit\", with the same options but for those that make no sense more than once.\n\n" +
			"Where clocks are changed, a time that does not exist is the moment of the change, and one that comes twice is the first\n" +
			"of them; with * as its hour, hours are counted as they pass.",
		Flags: a.clientFlags(append(o.flags(),
			&cli.StringFlag{Name: "tz", Usage: "times are those of `ZONE`, such as Europe/Berlin (default: UTC)", Destination: &o.schedule.Zone},
			&cli.StringFlag{Name: "catch-up", Usage: "of times missed by more than a minute make up `WHICH`: none, one (the newest), all", Value: "none", Destination: &catchUp},
			&cli.BoolFlag{Name: "replace", Usage: "change the schedule that is there", Destination: &o.schedule.Replace},
			&cli.DurationFlag{Name: "delay", Usage: "do not start before this `TIME` has passed since it was submitted", Destination: &o.task.Delay},
			&cli.DurationFlag{Name: "deadline", Usage: "fail unless it has ended `TIME` after it was submitted", Destination: &o.task.Within})...),
		Action: func(c *cli.Context) error {
			args, err := wantArgs(c, 2, 3)
			if err != nil {
				return err
			}
			if len(args) == 3 {
				o.file = args[2]
			}
			o.schedule.Name, o.schedule.Spec, o.schedule.CatchUp = args[0], args[1], tasks.CatchUp(catchUp)
			if err := errors.Join(o.read("cron add", c), o.readTimes()); err != nil {
				return err
			}
			return a.with(c, func(ctx context.Context, conn *connection) error { return a.runCronAdd(ctx, conn, &o, c.Bool("json")) })
		},
	}
}

// readTimes checks when the task is to be submitted.
func (o *cronOptions) readTimes() error {
	switch o.schedule.CatchUp {
	case tasks.CatchUpNone, tasks.CatchUpOne, tasks.CatchUpAll:
	default:
		return usage("cron add: --catch-up is none, one or all")
	}
	if _, err := cron.Parse(o.schedule.Spec); err != nil {
		return usage("cron add: %v", err)
	}
	if _, err := cron.Zone(o.schedule.Zone); err != nil {
		return usage("cron add: --tz: %v", err)
	}
	if o.task.Delay < 0 || o.task.Within < 0 {
		return usage("cron add: --delay and --deadline cannot be negative")
	}
	return nil
}

func (a *app) runCronAdd(ctx context.Context, conn *connection, o *cronOptions, asJSON bool) error {
	src, err := a.load(&o.taskOptions)
	if err != nil {
		return err
	}
	if err := o.checkAlone(src); err != nil { // what a namespace has when it runs is not known
		return a.taskEnd(src, nil, err, "")
	}
	o.schedule.Task = o.task
	i, err := conn.Schedule(ctx, o.schedule)
	if err != nil {
		return err
	}
	if asJSON {
		return a.printJSON(jsonSchedule(i))
	}
	a.io.talk("schedule %s: next at %s", i.Name, nextText(i))
	a.endsHere(conn)
	return nil
}

func (a *app) cronLsCommand() *cli.Command {
	return &cli.Command{
		Name: "ls", Usage: "list schedules", UsageText: "farm cron ls [flags]", Flags: a.clientFlags(),
		Action: func(c *cli.Context) error {
			if _, err := wantArgs(c, 0, 0); err != nil {
				return err
			}
			return a.with(c, func(ctx context.Context, conn *connection) error {
				list, err := conn.Schedules(ctx)
				if err != nil {
					return err
				}
				t := a.io.table("NAME", "SPEC", "ZONE", "NEXT", "LAST", "SUBMITTED", "PROBLEM")
				for _, i := range list {
					if c.Bool("json") {
						if err := a.printJSON(jsonSchedule(i)); err != nil {
							return err
						}
						continue
					}
					next := nextText(i)
					if i.Paused {
						next = "paused"
					}
					t.row(i.Name, i.Spec, i.Zone, next, a.io.ago(i.Last), i.Submitted, i.Problem)
				}
				if !c.Bool("json") && (len(list) > 0 || !a.io.outTerm) {
					t.print()
				}
				return nil
			})
		},
	}
}

func (a *app) cronShowCommand() *cli.Command {
	return &cli.Command{
		Name: "show", Usage: "show a schedule", UsageText: "farm cron show [flags] NAME", Flags: a.clientFlags(),
		Action: func(c *cli.Context) error {
			args, err := wantArgs(c, 1, 1)
			if err != nil {
				return err
			}
			return a.with(c, func(ctx context.Context, conn *connection) error {
				i, err := conn.GetSchedule(ctx, args[0])
				if err != nil {
					return err
				}
				if c.Bool("json") {
					return a.printJSON(jsonSchedule(i))
				}
				a.showSchedule(i)
				return nil
			})
		},
	}
}

// nextText is when a schedule submits next, in its own time zone; empty when it will not.
func nextText(i *tasks.ScheduleInfo) string {
	if i.Next.IsZero() {
		return ""
	}
	loc, err := cron.Zone(i.Zone)
	if err != nil { // this machine does not know the zone
		loc = time.UTC
	}
	return i.Next.In(loc).Format(time.RFC3339)
}

func (a *app) showSchedule(i *tasks.ScheduleInfo) {
	line := func(name, text string) {
		if text != "" && text != "0" {
			fmt.Fprintf(a.io.out, "%-10s %s\n", name, text)
		}
	}
	line("name", i.Name)
	line("spec", i.Spec)
	line("zone", i.Zone)
	line("catch-up", string(i.CatchUp))
	if i.Paused {
		line("paused", "yes")
	}
	line("created", jsonTime(i.Created))
	line("next", nextText(i))
	line("last", jsonTime(i.Last))
	line("last task", i.LastTask)
	line("submitted", fmt.Sprint(i.Submitted))
	line("problem", i.Problem)
	a.showTemplate(&i.Task, line)
}

// showTemplate shows what a schedule submits.
func (a *app) showTemplate(t *tasks.Task, line func(name, text string)) {
	line("namespace", t.Namespace)
	line("engine", t.Engine)
	line("handler", t.Handler)
	line("input", string(t.Input))
	line("queue", t.Queue)
	line("key", t.Key)
	line("unique", uniqueText(t.Unique))
	line("labels", hasText(t.Labels, nil))
	line("priority", fmt.Sprint(t.Priority))
	line("retries", fmt.Sprint(t.Retries))
	for _, x := range []struct {
		name string
		d    time.Duration
	}{{"timeout", t.Timeout}, {"delay", t.Delay}, {"deadline", t.Within}, {"kept for", t.Keep}} {
		if x.d > 0 {
			line(x.name, x.d.String())
		}
	}
	if t.Source != "" {
		prefixed(a.io.out, "source     ", t.Source)
	}
}

// uniqueText is a unique key and how long a task has it.
func uniqueText(u tasks.Unique) string {
	switch {
	case u.Key == "":
		return ""
	case u.For > 0:
		return fmt.Sprintf("%s, for %v", u.Key, u.For)
	}
	return fmt.Sprintf("%s, while %s", u.Key, u.While)
}

// cronVerb is a verb for schedules given by their names.
func (a *app) cronVerb(name, about, description string, do func(context.Context, *connection, string) (any, error)) *cli.Command {
	return &cli.Command{
		Name: name, Usage: about, UsageText: fmt.Sprintf("farm cron %s [flags] NAME...", name), Description: description, Flags: a.clientFlags(),
		Action: func(c *cli.Context) error {
			args, err := wantArgs(c, 1, -1)
			if err != nil {
				return err
			}
			return a.with(c, func(ctx context.Context, conn *connection) error {
				return a.each(ctx, args, func(ctx context.Context, name string) (func() error, error) {
					v, err := do(ctx, conn, name)
					if err != nil || v == nil || !c.Bool("json") {
						return nil, err
					}
					return func() error { return a.printJSON(v) }, nil
				})
			})
		},
	}
}

func (a *app) cronRunCommand() *cli.Command {
	return &cli.Command{
		Name: "run-now", Usage: "submit the task of a schedule now", UsageText: "farm cron run-now [flags] NAME", Flags: a.clientFlags(),
		Description: "Prints the task's id and does not wait. The schedule's times do not change.",
		Action: func(c *cli.Context) error {
			args, err := wantArgs(c, 1, 1)
			if err != nil {
				return err
			}
			return a.with(c, func(ctx context.Context, conn *connection) error {
				i, err := conn.RunSchedule(ctx, args[0])
				if err != nil {
					return err
				}
				if c.Bool("json") {
					return a.printJSON(jsonTask(i))
				}
				fmt.Fprintln(a.io.out, i.ID)
				return nil
			})
		},
	}
}

type scheduleJSON struct {
	Name      string        `json:"name" about:"of the schedule"`
	Spec      string        `json:"spec" about:"when it submits its task"`
	Zone      string        `json:"zone,omitempty" about:"time zone of spec; left out: UTC"`
	CatchUp   tasks.CatchUp `json:"catch_up" about:"what becomes of times that were missed: none, one, all"`
	Paused    bool          `json:"paused" about:"whether it submits nothing"`
	Created   string        `json:"created" about:"time it was made"`
	Next      string        `json:"next,omitempty" about:"time it submits its task next; not while it is paused"`
	Last      string        `json:"last,omitempty" about:"newest time it was submitted for"`
	LastTask  string        `json:"last_task,omitempty" about:"newest task it submitted"`
	Submitted int           `json:"submitted" about:"tasks so far"`
	Problem   string        `json:"problem,omitempty" about:"why the newest was not submitted"`
	templateJSON
}

// templateJSON is what a schedule submits, as it was asked for.
type templateJSON struct {
	Namespace   string            `json:"namespace,omitempty" about:"its task runs in; none for a private context"`
	Source      string            `json:"source,omitempty" about:"of its task; not in cron ls"`
	Engine      string            `json:"engine,omitempty" about:"its task asks for; not in cron ls"`
	Handler     string            `json:"handler,omitempty" about:"its task calls"`
	Input       json.RawMessage   `json:"input,omitempty" about:"of the handler; not in cron ls"`
	Queue       string            `json:"queue,omitempty" about:"of its task; left out: default"`
	Key         string            `json:"key,omitempty" about:"the limits per key of the queue count by"`
	Unique      string            `json:"unique,omitempty" about:"unique key of its task"`
	UniqueWhile string            `json:"unique_while,omitempty" about:"how long the task has it: queued, running, or a time such as 1h0m0s"`
	Labels      map[string]string `json:"labels,omitempty" about:"its worker must have"`
	Priority    int               `json:"priority,omitempty" about:"of its task"`
	Retries     int               `json:"retries,omitempty" about:"of its task"`
	Timeout     string            `json:"timeout,omitempty" about:"of an attempt, such as 1m0s; left out: the default"`
	Delay       string            `json:"delay,omitempty" about:"from its submission to its start"`
	Deadline    string            `json:"deadline,omitempty" about:"from its submission, such as 1h0m0s"`
	Keep        string            `json:"keep,omitempty" about:"how long it is kept after its end; left out: the default"`
}

func jsonTemplate(t *tasks.Task) templateJSON {
	text := func(d time.Duration) string {
		if d <= 0 {
			return ""
		}
		return d.String()
	}
	return templateJSON{Namespace: t.Namespace, Source: t.Source, Engine: t.Engine, Handler: t.Handler, Input: t.Input, Queue: t.Queue, Key: t.Key,
		Unique: t.Unique.Key, UniqueWhile: cmp.Or(text(t.Unique.For), string(t.Unique.While)), Labels: some(t.Labels), Priority: t.Priority, Retries: t.Retries,
		Timeout: text(t.Timeout), Delay: text(t.Delay), Deadline: text(t.Within), Keep: text(t.Keep)}
}

func jsonSchedule(i *tasks.ScheduleInfo) any {
	if i == nil {
		return nil
	}
	return scheduleJSON{i.Name, i.Spec, i.Zone, i.CatchUp, i.Paused, jsonTime(i.Created), jsonTime(i.Next), jsonTime(i.Last), i.LastTask, i.Submitted, i.Problem,
		jsonTemplate(&i.Task)}
}

func scheduleCompletions(ctx context.Context, conn *connection) (out []completion) {
	list, err := conn.Schedules(ctx)
	if err != nil {
		return nil
	}
	for _, i := range list {
		out = append(out, completion{i.Name, i.Spec})
	}
	return out
}
