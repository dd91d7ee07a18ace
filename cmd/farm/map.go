package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"farm/namespace"
	"farm/tasks"
)

// maxLine is the size in bytes of the longest input line: a task's limit, with
// room for what else is in it.
const maxLine = 1<<20 - 64<<10

type mapOptions struct {
	tasks.Map
	file string
	in   string // path, or "-"
	out  string // path; empty: standard output
	fold string // NS:FUNC

	maxFailures int // inputs that may fail before the job is cancelled; negative: any number

	detach bool
	json   bool
}

func (a *app) mapCommand() *cli.Command {
	var o mapOptions
	return &cli.Command{
		Name:      "map",
		Usage:     "call a function for every line of input, as a job",
		UsageText: "farm map --call FUNC [--in FILE.jsonl] [--out FILE.jsonl] [--fold NS:FUNC] [flags] FILE.go",
		Description: "Each input line is a JSON value, the argument of FUNC (an array, when it has several parameters). Results are\n" +
			"printed in the order of the input, one JSON value per line. With --fold each result is fed exactly once to FUNC in\n" +
			"the namespace NS, in the order in which they are there, and what the last call returned is printed instead. NS is\n" +
			"given FILE.go first, so that its variables begin as the file says; --continue goes on from what NS holds.\n" +
			"Ctrl-C cancels the job.\n\n" +
			"An input that FUNC fails with ends the map and cancels the job. With --max-failures N it goes on until more than N\n" +
			"have failed: each is told with its input, its line of output is null, and the exit code is 1 at the end.\n" +
			"\"farm job failures\" lists them, \"farm job retry\" tries them again, each alone, and \"farm job results\" prints\n" +
			"everything then.\n\n" +
			"Inputs are handed to the farm well ahead of the results: when this command is killed the job goes on with what it\n" +
			"has, and \"farm job wait\" and \"farm job results\" come back to it; the same command with --id carries on.\n\n" +
			"With --detach all inputs are handed to the farm, which takes a moment, and then the job's id is printed: it goes on\n" +
			"without this command, and \"farm job wait\" and \"farm job results\" come back to it. Ctrl-C before that cancels it.",
		Flags: a.clientFlags(append(retryFlags(),
			&cli.StringFlag{Name: "call", Usage: "`FUNC` of FILE.go to call", Destination: &o.Call},
			&cli.StringFlag{Name: "in", Usage: "read inputs from `FILE`, - for standard input", Value: "-", Destination: &o.in},
			&cli.StringFlag{Name: "out", Usage: "write results to `FILE` (default: standard output)", Destination: &o.out},
			&cli.StringFlag{Name: "fold", Usage: "`NS:FUNC` to feed results to", Destination: &o.fold},
			engineFlag(&o.Engine),
			&cli.BoolFlag{Name: "continue", Usage: "fold on from what the namespace holds", Destination: &o.Continue},
			&cli.IntFlag{Name: "chunk", Usage: "give each task `N` inputs (default: as suits the time they take)", Destination: &o.Chunk},
			&cli.DurationFlag{Name: "timeout", Usage: "`TIME` one task may take (default: the farm's)", Destination: &o.Timeout},
			&cli.IntFlag{Name: "retries", Usage: "try a task again up to `N` times when it fails", Destination: &o.Retries},
			&cli.IntFlag{Name: "priority", Usage: "higher goes first", Destination: &o.Priority},
			&cli.IntFlag{Name: "max-failures", Usage: "go on when up to `N` inputs fail; -1: any number", Destination: &o.maxFailures},
			&cli.StringFlag{Name: "id", Usage: "`ID` of the job: the same map with it again gets what is done already, and carries on", Destination: &o.ID},
			&cli.StringSliceFlag{Name: "arg", Usage: "`KEY=VALUE` the code can read; may be repeated"},
			fileFlag(),
			queueFlag(&o.Queue), keyFlag(&o.Key), labelFlag(),
			&cli.BoolFlag{Name: "detach", Usage: "hand all inputs over, print the job's id and do not wait", Destination: &o.detach})...),
		Action: func(c *cli.Context) error {
			args, err := wantArgs(c, 1, 1)
			if err != nil {
				return err
			}
			o.file, o.json = args[0], c.Bool("json")
			if o.Args, err = splitArgs("map", c.StringSlice("arg")); err != nil {
				return err
			}
			if o.Files, err = readFiles("map", c.StringSlice("file")); err != nil {
				return err
			}
			if o.Labels, err = labelFlags("map", c); err != nil {
				return err
			}
			var t tasks.Task
			if err := readRetry("map", c, &t); err != nil {
				return err
			}
			o.Backoff, o.BackoffMax, o.Keep = t.Backoff, t.BackoffMax, t.Keep
			if err := o.validate(); err != nil {
				return err
			}
			return a.runMap(c.Context, c.String("addr"), &o)
		},
	}
}

func (o *mapOptions) validate() error {
	switch {
	case !namespace.KnownEngine(o.Engine):
		return checkEngine("map", o.Engine)
	case o.Call == "":
		return usage("map: --call is needed: the function to call")
	case o.Chunk < 0 || o.Chunk > tasks.MaxChunk:
		return usage("map: --chunk is 1 to %d", tasks.MaxChunk)
	case o.Timeout < 0 || o.Retries < 0:
		return usage("map: --timeout and --retries cannot be negative")
	case o.file == "-" && o.in == "-":
		return usage("map: program and inputs cannot both come from standard input")
	case o.detach && o.out != "":
		return usage("map: --detach and --out do not go together: farm job results prints them later")
	}
	if o.fold != "" {
		ns, fn, ok := strings.Cut(o.fold, ":")
		if !ok || ns == "" || fn == "" {
			return usage("map: --fold %q is not NS:FUNC", o.fold)
		}
		o.FoldNamespace, o.FoldCall = ns, fn
	}
	return nil
}

func (a *app) runMap(ctx context.Context, addr string, o *mapOptions) error {
	src, err := a.readSource(o.file)
	if err != nil {
		return err
	}
	src.engine = o.Engine
	if err := src.checkProgram(o.Call, o.FoldCall); err != nil {
		return a.taskEnd(src, nil, err, "")
	}
	o.Source = src.text
	in, total, err := a.openInputs(ctx, o.in)
	if err != nil {
		return err
	}
	defer in.close()
	if o.detach {
		conn, err := a.connect(ctx, addr)
		if err != nil {
			return err
		}
		defer conn.close()
		return a.handOver(ctx, conn, src, conn.Map(o.Map, in.lines), total, o)
	}
	results, closeOut, err := a.openResults(o)
	if err != nil {
		return err
	}
	conn, err := a.connect(ctx, addr)
	if err != nil {
		return errors.Join(err, closeOut())
	}
	defer conn.close()
	return a.carryOut(ctx, conn, src, conn.Map(o.Map, in.lines), results, closeOut, total, o)
}

// handOver submits a whole map and says how to come back to it.
func (a *app) handOver(ctx context.Context, conn *connection, src source, run *tasks.MapRun, total int64, o *mapOptions) error {
	bar := a.io.progress((&mapProgress{run: run, total: total, begun: time.Now(), end: "sealing the job"}).line)
	defer bar.end()
	job, err := run.Submit(ctx)
	bar.end()
	if err != nil {
		return a.mapFailed(ctx, src, run, err)
	}
	submitted, _ := run.Progress()
	a.io.talk("%d inputs in %d tasks; farm job wait %s follows them, farm job results %s prints what they give", submitted, job.Total, job.ID, job.ID)
	a.endsHere(conn)
	if o.json {
		return a.printJSON(jsonJob(job))
	}
	fmt.Fprintln(a.io.out, job.ID)
	return nil
}

// carryOut carries a map out to its end.
func (a *app) carryOut(ctx context.Context, conn *connection, src source, run *tasks.MapRun, results io.Writer, closeOut func() error, total int64, o *mapOptions) error {
	bar := a.io.progress((&mapProgress{run: run, total: total, begun: time.Now(), end: "waiting for the end of the job"}).line)
	defer bar.end()
	failed, err := a.writeResults(results, run.Results(ctx), o.maxFailures)
	if err != nil {
		bar.end()
		var input *tasks.InputError
		if errors.As(err, &input) && len(input.Input) > 0 {
			a.io.talk("input %d failed, %s; job %s is cancelled", input.Position, cell(string(input.Input)), run.ID)
		}
		return errors.Join(a.mapFailed(ctx, src, run, err), closeOut())
	}
	if err := closeOut(); err != nil {
		return err
	}
	if failed > 0 {
		if o.fold != "" { // what did not fail is folded
			if _, err := run.Handle().Wait(ctx); err != nil {
				return a.mapFailed(ctx, src, run, err)
			}
		}
		bar.end()
		return someFailed(run.ID, failed)
	}
	if o.fold == "" {
		return nil
	}
	info, err := run.Fold(ctx)
	bar.end()
	if err != nil {
		return a.mapFailed(ctx, src, run, err)
	}
	return a.showFold(info, o.json)
}

// maxTold is how many failed inputs are told one by one.
const maxTold = 10

// writeResults writes results, one a line, and tells of inputs that failed while
// there are not more than the most that may; negative: any number may.
func (a *app) writeResults(w io.Writer, results iter.Seq2[json.RawMessage, error], most int) (failed int, err error) {
	for j, err := range results {
		var input *tasks.InputError
		if errors.As(err, &input) && (most < 0 || failed < most) {
			if failed++; failed <= maxTold {
				a.io.talk("%v, of %s", input, cell(string(input.Input)))
			}
			j, err = json.RawMessage("null"), nil
		}
		switch {
		case err != nil:
		case a.template != nil:
			err = execute(w, a.template, j)
		default:
			_, err = w.Write(append(j, '\n'))
		}
		if err != nil {
			return failed, err
		}
	}
	return failed, nil
}

// someFailed is the end of a command that went on although inputs failed.
func someFailed(job string, n int) error {
	return fmt.Errorf("%d inputs failed: farm job failures %s lists them, farm job retry %s tries them again", n, job, job)
}

// checkProgram checks the program before anything is sent, and that it
// declares the functions it was promised to.
func (s source) checkProgram(call, fold string) error {
	if err := s.check(nil); err != nil {
		return err
	}
	for _, fn := range []string{call, fold} {
		if fn == "" {
			continue
		}
		if (source{s.name, s.text + "\nvar _ = " + fn + "\n", s.engine}).check(nil) != nil {
			return usage("%s declares no function %s that can be called", s.name, fn)
		}
	}
	return nil
}

func (a *app) mapFailed(ctx context.Context, src source, run *tasks.MapRun, err error) error {
	if ctx.Err() != nil {
		a.io.talk("cancelled job %s", run.ID)
		return err
	}
	return a.taskEnd(src, nil, err, "")
}

// showFold prints the fold's answer: for people, unless JSON was asked for.
func (a *app) showFold(info *tasks.Info, asJSON bool) error {
	if asJSON {
		return a.printJSON(jsonTask(info))
	}
	if info.Value == nil {
		return nil
	}
	var b bytes.Buffer
	if err := json.Indent(&b, info.Value, "", "  "); err != nil {
		return err
	}
	fmt.Fprintln(a.io.out, b.String())
	return nil
}

// openResults says where results go: with a fold, to --out or nowhere.
func (a *app) openResults(o *mapOptions) (w io.Writer, closeOut func() error, err error) {
	switch {
	case o.out != "" && o.out != "-":
		f, err := os.Create(o.out)
		if err != nil {
			return nil, nil, usage("%v", err)
		}
		b := bufio.NewWriter(f)
		return b, func() error { return errors.Join(b.Flush(), f.Close()) }, nil
	case o.fold != "" && o.out == "":
		return io.Discard, func() error { return nil }, nil
	}
	return a.io.out, func() error { return nil }, nil
}

// inputs are the lines of a file or of standard input.
type inputs struct {
	lines iter.Seq2[json.RawMessage, error]
	close func()
}

// openInputs opens the inputs. Those of a file are looked at once before
// anything is submitted: a bad line is found early, and total is known; it is 0
// for other inputs.
func (a *app) openInputs(ctx context.Context, path string) (in inputs, total int64, err error) {
	if path == "-" {
		if a.io.inTerm {
			a.io.talk("reading JSON lines from the terminal; Ctrl-D ends them")
		}
		return inputs{lines: fromPipe(ctx, a.io.in), close: func() {}}, 0, nil
	}
	f, err := os.Open(path)
	if err != nil {
		return in, 0, usage("%v", err)
	}
	if st, err := f.Stat(); err != nil || !st.Mode().IsRegular() {
		return inputs{lines: fromPipe(ctx, f), close: func() { _ = f.Close() }}, 0, err
	}
	for _, err := range jsonLines(f) {
		if err != nil {
			_ = f.Close()
			return in, 0, fmt.Errorf("%s: %w", path, err)
		}
		total++
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		_ = f.Close()
		return in, 0, err
	}
	return inputs{lines: jsonLines(f), close: func() { _ = f.Close() }}, total, nil
}

// jsonLines yields the lines of r that are not blank. Lines that are not JSON
// or too long are wrong usage.
func jsonLines(r io.Reader) iter.Seq2[json.RawMessage, error] {
	return func(yield func(json.RawMessage, error) bool) {
		s := bufio.NewScanner(r)
		s.Buffer(nil, maxLine)
		n := 0
		for s.Scan() {
			n++
			line := bytes.TrimSpace(s.Bytes())
			if len(line) == 0 {
				continue
			}
			if !json.Valid(line) {
				yield(nil, usage("input line %d is not JSON: %s (text needs quotes of its own; jq -R . makes JSON of lines of text)", n, short(string(line))))
				return
			}
			if !yield(bytes.Clone(line), nil) {
				return
			}
		}
		switch err := s.Err(); {
		case errors.Is(err, bufio.ErrTooLong):
			yield(nil, fmt.Errorf("%w: input line %d is longer than %d bytes", tasks.ErrLimit, n+1, maxLine))
		case err != nil:
			yield(nil, fmt.Errorf("input line %d: %w", n+1, err))
		}
	}
}

// fromPipe is jsonLines of something that may block for ever: it ends with the
// context, and leaves a read that is under way to the end of the process.
func fromPipe(ctx context.Context, r io.Reader) iter.Seq2[json.RawMessage, error] {
	return func(yield func(json.RawMessage, error) bool) {
		type item struct {
			line json.RawMessage
			err  error
		}
		items := make(chan item)
		over := make(chan struct{})
		defer close(over)
		go func() {
			defer close(items)
			for line, err := range jsonLines(r) {
				select {
				case items <- item{line, err}:
				case <-over:
					return
				}
			}
		}()
		for {
			select {
			case it, ok := <-items:
				if !ok || !yield(it.line, it.err) {
					return
				}
			case <-ctx.Done():
				yield(nil, context.Cause(ctx))
				return
			}
		}
	}
}

// mapProgress is the progress line of a map.
type mapProgress struct {
	run   *tasks.MapRun
	total int64 // 0: not known
	begun time.Time
	end   string // what is waited for when all inputs are done
}

func (p *mapProgress) line() string {
	submitted, done := p.run.Progress()
	return progressLine(done, submitted, p.total, time.Since(p.begun), p.end)
}

// progressLine tells how far a map is. total is 0 when it is not known.
func progressLine(done, submitted, total int64, passed time.Duration, end string) string {
	rate := float64(done) / max(passed.Seconds(), 0.001)
	if total == 0 {
		return fmt.Sprintf("%d of %d read so far  %s", done, submitted, perSecond(rate))
	}
	line := bar(done, total)
	if done == total {
		return line + "  " + end
	}
	line += "  " + perSecond(rate)
	if done > 0 {
		line += "  " + timeLeft(total-done, rate)
	}
	return line
}

// bar draws how much of a total is done.
func bar(done, total int64) string {
	const width = 30
	full := int(width * done / max(total, 1))
	full = min(full, width)
	return fmt.Sprintf("[%s%s] %d/%d", strings.Repeat("=", full), strings.Repeat(" ", width-full), done, total)
}

// timeLeft is how long the rest takes at a rate per second.
func timeLeft(left int64, rate float64) string {
	return time.Duration(float64(left)/rate*float64(time.Second)).Round(time.Second).String() + " left"
}

// perSecond is a rate for people; slow ones are told per minute.
func perSecond(rate float64) string {
	switch {
	case rate >= 10:
		return fmt.Sprintf("%.0f/s", rate)
	case rate >= 0.1 || rate == 0:
		return fmt.Sprintf("%.1f/s", rate)
	}
	return fmt.Sprintf("%.1f/min", rate*60)
}
