package main

import (
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"farm/tasks"
)

// retryFlags say when what failed is tried again, and how long what ended is kept.
func retryFlags() []cli.Flag {
	return []cli.Flag{
		&cli.DurationFlag{Name: "backoff", Value: tasks.DefaultBackoff, Usage: "wait `TIME` before the first retry, and twice as long before each other; 0: do not wait"},
		&cli.DurationFlag{Name: "backoff-max", Value: tasks.DefaultBackoffMax, Usage: "wait no longer than `TIME` before a retry"},
		&cli.DurationFlag{Name: "keep", Usage: "keep the finished task for `TIME`, 1s to 2160h (default: 168h)"},
	}
}

// startFlags say when a task begins, and when it must have ended.
func startFlags() []cli.Flag {
	return []cli.Flag{
		&cli.DurationFlag{Name: "delay", Usage: "do not start before this `TIME` has passed"},
		&cli.StringFlag{Name: "at", Usage: "do not start before `TIME`, such as 2027-01-31T18:00:00+01:00"},
		&cli.StringFlag{Name: "deadline", Usage: "fail unless it has ended by `TIME`, from now (90s) or such as 2027-01-31T18:00:00+01:00"},
		&cli.StringSliceFlag{Name: "after", Usage: "run after the tasks `ID,...` have succeeded"},
		&cli.BoolFlag{Name: "after-all", Usage: "with --after: after all have succeeded, which it says anyway"},
		&cli.BoolFlag{Name: "after-any", Usage: "with --after: after one has succeeded"},
		&cli.BoolFlag{Name: "after-finished", Usage: "with --after: after all have ended, however they did"},
	}
}

// readRetry reads retryFlags.
func readRetry(verb string, c *cli.Context, t *tasks.Task) error {
	t.Backoff, t.BackoffMax, t.Keep = c.Duration("backoff"), c.Duration("backoff-max"), c.Duration("keep")
	if t.Backoff < 0 || t.BackoffMax < 0 || t.Keep < 0 {
		return usage("%s: --backoff, --backoff-max and --keep cannot be negative", verb)
	}
	if t.Backoff == 0 {
		t.Backoff = -1 // the library's word for it
	}
	return nil
}

// readStart reads startFlags.
func readStart(verb string, c *cli.Context, t *tasks.Task) (err error) {
	t.Delay, t.After = c.Duration("delay"), c.StringSlice("after")
	if s := c.String("at"); s != "" {
		if t.At, err = time.Parse(time.RFC3339, s); err != nil {
			return usage("%s: --at %q is no time such as 2027-01-31T18:00:00+01:00", verb, s)
		}
	}
	if s := c.String("deadline"); s != "" {
		if err := readDeadline(verb, s, t); err != nil {
			return err
		}
	}
	for name, when := range map[string]tasks.When{"after-all": tasks.AllSucceeded, "after-any": tasks.AnySucceeded, "after-finished": tasks.AllFinished} {
		switch {
		case !c.Bool(name):
		case len(t.After) == 0:
			return usage("%s: --%s needs --after", verb, name)
		case t.AfterWhen != "":
			return usage("%s: one of --after-all, --after-any and --after-finished", verb)
		default:
			t.AfterWhen = when
		}
	}
	switch {
	case t.Delay < 0:
		return usage("%s: --delay cannot be negative", verb)
	case t.Delay > 0 && !t.At.IsZero():
		return usage("%s: one of --delay and --at", verb)
	}
	return nil
}

// readDeadline reads a duration or a time.
func readDeadline(verb, s string, t *tasks.Task) (err error) {
	if t.Within, err = time.ParseDuration(s); err == nil && t.Within > 0 {
		return nil
	}
	if t.Deadline, err = time.Parse(time.RFC3339, s); err != nil {
		return usage("%s: --deadline %q is neither a duration such as 90s nor a time such as 2027-01-31T18:00:00+01:00", verb, s)
	}
	t.Within = 0
	return nil
}

// startsLater tells whether other tasks may come before it, on purpose.
func startsLater(t *tasks.Task) bool { return t.Delay > 0 || !t.At.IsZero() || len(t.After) > 0 }

// timesText are the lines of farm task show about times and other tasks.
func timesText(i *tasks.Info) (lines [][2]string) {
	add := func(name, text string) {
		if text != "" {
			lines = append(lines, [2]string{name, text})
		}
	}
	if len(i.After) > 0 {
		when := map[tasks.When]string{tasks.AllSucceeded: " succeeded", tasks.AnySucceeded: ", any of them, succeeded", tasks.AllFinished: " ended"}[i.AfterWhen]
		add("after", strings.Join(i.After, ", ")+when)
	}
	if i.State == tasks.Queued {
		add("not before", jsonTime(i.NotBefore))
	}
	add("deadline", jsonTime(i.Deadline))
	if i.Keep > 0 {
		add("kept for", i.Keep.String())
	}
	return lines
}
