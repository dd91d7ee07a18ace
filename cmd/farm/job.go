package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"farm/tasks"
)

// jobStates are the states of a job.
var jobStates = []string{"open", "running", "succeeded", "failed", "cancelled"}

func (a *app) jobCommand() *cli.Command {
	return &cli.Command{
		Name: "job", Usage: "list, show, wait for, cancel and retry jobs, and read their results", UsageText: "farm job VERB [flags] [args]",
		Subcommands: []*cli.Command{a.jobLsCommand(), a.jobShowCommand(), a.jobWaitCommand(), a.jobResultsCommand(), a.jobFailuresCommand(), a.jobRetryCommand(), a.jobCancelCommand()},
	}
}

func (a *app) jobLsCommand() *cli.Command {
	var f tasks.JobFilter
	return &cli.Command{
		Name: "ls", Usage: "list jobs, the newest first", UsageText: "farm job ls [flags]",
		Description: "Lists the jobs that are not finished and those that are kept, which is as long as tasks are. DONE is of inputs.",
		Flags: a.clientFlags(
			&cli.StringFlag{Name: "state", Usage: "in `STATE`: " + strings.Join(jobStates, ", "), Destination: &f.State},
			&cli.IntFlag{Name: "limit", Usage: "at most `N`", Value: 100, Destination: &f.Limit}),
		Action: func(c *cli.Context) error {
			if _, err := wantArgs(c, 0, 0); err != nil {
				return err
			}
			if f.State != "" && !slices.Contains(jobStates, f.State) {
				return usage("job ls: %q is no state: %s", f.State, strings.Join(jobStates, ", "))
			}
			if f.Limit < 1 {
				return usage("job ls: --limit must be positive")
			}
			return a.with(c, func(ctx context.Context, conn *connection) error { return a.runJobLs(ctx, conn, f, c.Bool("json")) })
		},
	}
}

func (a *app) runJobLs(ctx context.Context, conn *connection, f tasks.JobFilter, asJSON bool) error {
	list, err := conn.Jobs(ctx, f)
	if err != nil {
		return err
	}
	t := a.io.table("ID", "STATE", "DONE", "FAILED", "FOLDED", "CREATED", "TOOK")
	for _, j := range list {
		if asJSON {
			if err := a.printJSON(jsonJob(j)); err != nil {
				return err
			}
			continue
		}
		folded := ""
		if j.Folds > 0 {
			folded = fmt.Sprintf("%d/%d", j.Folded, j.Folds)
		}
		t.row(j.ID, j.State, doneOf(j), j.Failed+j.FoldFailed, folded, a.io.ago(j.Created), jobTook(j))
	}
	if !asJSON && (len(list) > 0 || !a.io.outTerm) {
		t.print()
	}
	return nil
}

// doneOf is how many of a job's inputs are done, or tasks where inputs are not
// counted; how many there will be is not known while it is open.
func doneOf(j *tasks.Job) string {
	done, all := j.Done, j.Inputs
	if all == 0 {
		done, all = j.Succeeded, j.Total
	}
	if j.State == "open" {
		return fmt.Sprint(done)
	}
	return fmt.Sprintf("%d/%d", done, all)
}

func jobTook(j *tasks.Job) string {
	if j.Finished.IsZero() {
		return ""
	}
	return j.Finished.Sub(j.Created).Round(time.Millisecond).String()
}

func (a *app) jobShowCommand() *cli.Command {
	return &cli.Command{
		Name: "show", Usage: "show a job", UsageText: "farm job show [flags] ID", Flags: a.clientFlags(),
		Description: "One task has many inputs; done is how many of them have a result. A retry makes a task for each input that failed.",
		Action: a.onFarm(1, 1, func(ctx context.Context, conn *connection, c *cli.Context, args []string) error {
			j, err := conn.Job(ctx, args[0])
			if err != nil {
				return err
			}
			return a.show(c, jsonJob(j), func() { a.showJob(j) })
		}),
	}
}

func (a *app) showJob(j *tasks.Job) {
	line := func(name string, v any) {
		if s := fmt.Sprint(v); s != "" && s != "0" {
			fmt.Fprintf(a.io.out, "%-12s %s\n", name, s)
		}
	}
	line("id", j.ID)
	line("state", j.State)
	line("inputs", j.Inputs)
	line("done", j.Done)
	line("retries", j.Retries)
	line("tasks", j.Total)
	line("succeeded", j.Succeeded)
	line("failed", j.Failed)
	line("folded", j.Folded)
	line("fold failed", j.FoldFailed)
	line("last fold", j.LastFold)
	line("first error", j.FirstError)
	line("created", jsonTime(j.Created))
	line("finished", jsonTime(j.Finished))
	line("took", jobTook(j))
}

func (a *app) jobWaitCommand() *cli.Command {
	var timeout time.Duration
	return &cli.Command{
		Name: "wait", Usage: "wait for a job, and end as it does", UsageText: "farm job wait [flags] ID",
		Description: "Shows how far it is, and prints what the last fold returned when the job has one. Ctrl-C ends the waiting, not the\n" +
			"job.",
		Flags: a.clientFlags(&cli.DurationFlag{Name: "timeout", Usage: "wait no longer than `TIME` (exit code 3)", Destination: &timeout}),
		Action: func(c *cli.Context) error {
			args, err := wantArgs(c, 1, 1)
			if err != nil {
				return err
			}
			if timeout < 0 {
				return usage("job wait: --timeout cannot be negative")
			}
			return a.with(c, func(ctx context.Context, conn *connection) error {
				if timeout > 0 {
					var cancel context.CancelFunc
					ctx, cancel = context.WithTimeout(ctx, timeout)
					defer cancel()
				}
				return a.runJobWait(ctx, conn, args[0], c.Bool("json"))
			})
		},
	}
}

func (a *app) runJobWait(ctx context.Context, conn *connection, id string, asJSON bool) error {
	watch := &jobProgress{ctx: ctx, conn: conn, id: id, begun: time.Now()}
	bar := a.io.progress(watch.line)
	defer bar.end()
	j, err := conn.WaitJob(ctx, id)
	bar.end()
	if err != nil {
		a.goesOn(ctx, "job "+id, "farm job wait "+id)
		return err
	}
	if asJSON {
		if err := a.printJSON(jsonJob(j)); err != nil {
			return err
		}
		return a.jobEnd(ctx, conn, j, false)
	}
	if err := a.jobEnd(ctx, conn, j, true); err != nil {
		return err
	}
	if j.LastFold == "" {
		return nil
	}
	fold, err := conn.Get(ctx, j.LastFold)
	if err != nil {
		return err
	}
	return a.showFold(fold, false)
}

// jobEnd is how a finished job ends a command: with the error of the first task
// that failed.
func (a *app) jobEnd(ctx context.Context, conn *connection, j *tasks.Job, tell bool) error {
	if j.State == "succeeded" {
		return nil
	}
	err := fmt.Errorf("job %s %s: %d of %d tasks succeeded, %d folds failed", j.ID, j.State, j.Succeeded, j.Total, j.FoldFailed)
	if !tell {
		return fmt.Errorf("%w (%w)", errSilent, err)
	}
	if j.FirstError != "" {
		if i, e := conn.Get(ctx, j.FirstError); e == nil && i.Error != nil {
			a.io.talk("task %s:", i.ID)
			a.tellFailure(source{name: "program"}, i.Error, "  ")
		}
	}
	return err
}

// goesOn says, after an interrupt, that the work was not cancelled.
func (a *app) goesOn(ctx context.Context, what, how string) {
	if errors.Is(context.Cause(ctx), errInterrupted) {
		a.io.talk("%s goes on; %s", what, how)
	}
}

// jobProgress is the progress line of a job.
type jobProgress struct {
	ctx   context.Context
	conn  *connection
	id    string
	begun time.Time
	first *tasks.Job // as it was when the watching began: only what came after counts for the rate
	last  string
	asked time.Time
}

// jobAskEvery is how often a node is asked how far a job is.
const jobAskEvery = time.Second

func (p *jobProgress) line() string {
	if time.Since(p.asked) < jobAskEvery {
		return p.last
	}
	p.asked = time.Now()
	ctx, cancel := context.WithTimeout(p.ctx, jobAskEvery)
	defer cancel()
	j, err := p.conn.Job(ctx, p.id)
	if err != nil { // the waiting goes on, and so may the asking
		return p.last
	}
	if p.first == nil {
		p.first = j
	}
	p.last = jobLine(p.first, j, time.Since(p.begun))
	return p.last
}

// jobCount is how much of a job is done: of its inputs, or where these are not
// counted, of its tasks and their folds.
func jobCount(j *tasks.Job) (done, all int64) {
	if j.Inputs > 0 {
		return int64(j.Done), int64(j.Inputs)
	}
	all = int64(j.Total + j.Folds)
	if j.Folds > 0 {
		all = int64(2*j.Total - min(j.Failed, j.Total))
	}
	return int64(j.Succeeded + j.Failed + j.Folded + j.FoldFailed), all
}

// jobLine tells how far a job is: what it came to since first.
func jobLine(first, j *tasks.Job, passed time.Duration) string {
	done, all := jobCount(j)
	before, _ := jobCount(first)
	if j.State == "open" {
		what := "tasks"
		if j.Inputs > 0 {
			what = "inputs"
		}
		return fmt.Sprintf("%d %s done, still being submitted  %s", done, what, perSecond(float64(done-before)/max(passed.Seconds(), 0.001)))
	}
	line := bar(done, all)
	rate := float64(done-before) / max(passed.Seconds(), 0.001)
	line += "  " + perSecond(rate)
	if done > before && done < all {
		line += "  " + timeLeft(all-done, rate)
	}
	if j.Inputs > 0 && j.Folds > 0 {
		line += fmt.Sprintf("  %d/%d tasks folded", j.Folded, j.Folds)
	}
	if f := j.Failed + j.FoldFailed; f > 0 {
		line += fmt.Sprintf("  %d failed", f)
	}
	return line
}

func (a *app) jobResultsCommand() *cli.Command {
	var most int
	return &cli.Command{
		Name: "results", Usage: "print the results of a map, in the order of its inputs", UsageText: "farm job results [flags] ID",
		Description: "One JSON value a line, as farm map prints them. Waits for those that are not there yet; it can be repeated while the\n" +
			"job's tasks are kept. Ends at the first input that failed, with exit code 1, or goes on as farm map does with\n" +
			"--max-failures. Ctrl-C ends the printing, not the job.",
		Flags: append(a.addrFlags(), &cli.IntFlag{Name: "max-failures", Usage: "print null for up to `N` inputs that failed; -1: any number", Destination: &most}),
		Action: func(c *cli.Context) error {
			args, err := wantArgs(c, 1, 1)
			if err != nil {
				return err
			}
			return a.with(c, func(ctx context.Context, conn *connection) error { return a.runJobResults(ctx, conn, args[0], most) })
		},
	}
}

func (a *app) runJobResults(ctx context.Context, conn *connection, id string, most int) error {
	failed, err := a.writeResults(a.io.out, conn.JobResults(ctx, id), most)
	switch {
	case err != nil:
		a.goesOn(ctx, "job "+id, "farm job results "+id)
		return a.taskEnd(source{name: "program"}, nil, err, "")
	case failed > 0:
		return someFailed(id, failed)
	}
	return nil
}

func (a *app) jobFailuresCommand() *cli.Command {
	return &cli.Command{
		Name: "failures", Usage: "list the inputs of a job that have no result, and why", UsageText: "farm job failures [flags] ID",
		Description: "In the order of their tasks. \"farm job retry\" tries them again. An input of a job that is not finished is listed\n" +
			"when its task has no more tries.",
		Flags: a.clientFlags(),
		Action: a.onFarm(1, 1, func(ctx context.Context, conn *connection, c *cli.Context, args []string) error {
			return a.runJobFailures(ctx, conn, args[0], c.Bool("json"))
		}),
	}
}

func (a *app) runJobFailures(ctx context.Context, conn *connection, id string, asJSON bool) error {
	t := a.io.table("INPUT", "VALUE", "ERROR", "TASK")
	n := 0
	for f, err := range conn.Failures(ctx, id) {
		if err != nil {
			return err
		}
		n++
		if asJSON {
			if err := a.printJSON(jsonFailure(f)); err != nil {
				return err
			}
			continue
		}
		position := fmt.Sprint(f.Position)
		if f.Fold {
			position = "fold"
		}
		t.row(position, cell(string(f.Input)), cell(f.Err.Error()), f.Task)
	}
	if !asJSON && (n > 0 || !a.io.outTerm) {
		t.print()
	}
	return nil
}

// maxCell is how many bytes of a long text a table shows.
const maxCell = 80

func cell(s string) string {
	if len(s) <= maxCell {
		return s
	}
	return strings.ToValidUTF8(s[:maxCell], "") + "..."
}

func (a *app) jobRetryCommand() *cli.Command {
	return &cli.Command{
		Name: "retry", Usage: "try again what failed of jobs", UsageText: "farm job retry [flags] ID...", Flags: a.clientFlags(),
		Description: "Each input without a result, failed or cancelled, is tried again in a task of its own, and what comes of it is\n" +
			"folded where the job has a fold: exactly once for each input, as ever. Results that are there stay. \"farm job wait\"\n" +
			"waits for the end of it. A job of which nothing failed stays as it is.",
		Action: a.onFarm(1, -1, func(ctx context.Context, conn *connection, c *cli.Context, args []string) error {
			return a.each(ctx, args, func(ctx context.Context, id string) (func() error, error) {
				j, err := conn.RetryJob(ctx, id)
				if err != nil {
					return nil, err
				}
				return func() error {
					return a.show(c, jsonJob(j), func() { a.io.talk("job %s is %s: %s inputs done", j.ID, j.State, doneOf(j)) })
				}, nil
			})
		}),
	}
}

func (a *app) jobCancelCommand() *cli.Command {
	return &cli.Command{
		Name: "cancel", Usage: "cancel jobs", UsageText: "farm job cancel [flags] ID...", Flags: a.clientFlags(),
		Description: "Tasks that are finished stay as they are, and so do the results they had folded.",
		Action: a.onFarm(1, -1, func(ctx context.Context, conn *connection, c *cli.Context, args []string) error {
			return a.each(ctx, args, func(ctx context.Context, id string) (func() error, error) {
				j, err := conn.CancelJob(ctx, id)
				if err != nil {
					return nil, err
				}
				return func() error { return a.show(c, jsonJob(j), func() {}) }, nil
			})
		}),
	}
}
