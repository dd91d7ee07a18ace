package live

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"farm/internal/ask"
	ns "farm/namespace"
	"farm/namespace/cell"
	"farm/namespace/internal/farm"
)

// submissions are what a run asks for. Code calls it from any goroutine.
type submissions struct {
	task   *ns.TaskInfo
	source string // that the run runs
	check  *checker
	lim    ns.Limits

	mu     sync.Mutex // guards the following, and check
	closed bool
	list   []ns.Submission
	bytes  int
	err    *ns.SubmitError // the first; it fails the run
}

// submit is farm.Submit. What cannot be submitted ends the code that asked for it, and the run.
func (s *submissions) submit(t farm.Task) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		panic("farm.Submit: the task is over")
	case s.err == nil:
		id, err := s.add(t)
		if err == nil {
			return id
		}
		s.err = &ns.SubmitError{Number: len(s.list) + 1, Task: t.ID, Err: err}
	}
	panic("farm.Submit: " + s.err.Error())
}

func (s *submissions) add(t farm.Task) (string, error) {
	if len(s.list) == ns.MaxSubmissions {
		return "", &ns.LimitError{What: "tasks that a task submits", Limit: ns.MaxSubmissions, Got: int64(len(s.list) + 1)}
	}
	x, err := s.submission(t)
	if err != nil {
		return "", err
	}
	n := s.bytes + x.Size()
	if n > ns.MaxSubmissionBytes {
		return "", &ns.LimitError{What: "bytes of the tasks that a task submits", Limit: ns.MaxSubmissionBytes, Got: int64(n)}
	}
	if err := s.checkSource(&x); err != nil {
		return "", err
	}
	if x.ID == "" && s.task.ID != "" {
		x.ID = ask.ID(s.task.ID, len(s.list)+1)
	}
	s.bytes = n
	s.list = append(s.list, x)
	return x.ID, nil
}

func (s *submissions) submission(t farm.Task) (x ns.Submission, err error) {
	bad := func(f string, a ...any) error { return fmt.Errorf("%w: %s", ns.ErrBadSubmission, fmt.Sprintf(f, a...)) }
	switch {
	case t.InJob && s.task.Job == "":
		return x, bad("InJob: this task belongs to no job")
	case t.Handler != "":
		if err := handlerFits(&t); err != nil {
			return x, err
		}
	case t.Input != "":
		return x, bad("it has an Input and no Handler")
	case t.Source == "" && t.Call == "" && !t.InJob:
		return x, bad("it has neither Source nor Call nor Handler")
	case len(t.Inputs) > 0 && t.Call == "" && !t.InJob:
		return x, bad("it has Inputs and no Call")
	case len(t.Source) > s.lim.Source:
		return x, &ns.LimitError{What: "source", Limit: int64(s.lim.Source), Got: int64(len(t.Source))}
	case len(t.Inputs) > s.lim.Inputs:
		return x, &ns.LimitError{What: "inputs", Limit: int64(s.lim.Inputs), Got: int64(len(t.Inputs))}
	case t.Engine != "" && !slices.Contains(ns.Engines(), t.Engine):
		return x, bad("Engine: %q is none of %s", t.Engine, strings.Join(ns.Engines(), " and "))
	}
	x = ns.Submission{ID: t.ID, Namespace: t.Namespace, Source: t.Source, Call: t.Call, Args: maps.Clone(t.Args), Files: maps.Clone(t.Files),
		Engine: t.Engine, Handler: t.Handler, Options: options(&t)}
	if err := x.Options.Check(); err != nil {
		return x, bad("%v", err)
	}
	for i, in := range t.Inputs {
		if !json.Valid([]byte(in)) {
			return x, bad("input %d is not JSON", i+1)
		}
		x.Inputs = append(x.Inputs, json.RawMessage(in))
	}
	if t.Input != "" {
		x.Input = json.RawMessage(t.Input)
	}
	if t.InJob {
		x.Job = s.task.Job
	}
	return x, nil
}

// handlerFits says whether a task that calls a handler is one.
func handlerFits(t *farm.Task) error {
	switch {
	case t.Source != "" || t.Call != "" || len(t.Inputs) > 0 || len(t.Files) > 0:
		return fmt.Errorf("%w: a task calls a handler with one Input, or runs a cell", ns.ErrBadSubmission)
	case t.Namespace != "" || t.Engine != "":
		return fmt.Errorf("%w: a handler runs in its worker's own process: it has no Namespace and no Engine", ns.ErrBadSubmission)
	case t.Input != "" && !json.Valid([]byte(t.Input)):
		return fmt.Errorf("%w: Input is not JSON", ns.ErrBadSubmission)
	}
	return nil
}

// options are what a task asks for, in the words that clients use too.
func options(t *farm.Task) ask.Options {
	return ask.Options{Timeout: t.Timeout, Delay: t.Delay, At: t.At, Deadline: t.Deadline, Within: t.Within, Retries: t.Retries,
		Backoff: t.Backoff, BackoffMax: t.BackoffMax, Priority: t.Priority, Queue: t.Queue, Key: t.Key, Unique: ask.Unique(t.Unique),
		After: slices.Clone(t.After), AfterWhen: t.AfterWhen, Keep: t.Keep, Labels: maps.Clone(t.Labels)}
}

// checkSource checks the source as far as this process can: one for a private context is checked as it
// will be run; of one for a namespace, whose declarations may be others by then, the syntax.
func (s *submissions) checkSource(x *ns.Submission) error {
	switch {
	case x.Source == "":
		return nil
	case x.Namespace == "":
		return s.check.program(x.Source, x.Call, x.Engine)
	}
	return s.check.syntax(x.Source)
}

// failed is why the run must fail, nil if it must not.
func (s *submissions) failed() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil {
		return nil
	}
	return s.err
}

// mark is how much has been submitted, for cut to go back to.
func (s *submissions) mark() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.list)
}

// cut forgets what was submitted after a mark.
func (s *submissions) cut(mark int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range s.list[mark:] {
		s.bytes -= s.list[mark+i].Size()
	}
	s.list = s.list[:mark]
}

// close ends the run: what still runs of its code can submit nothing more.
func (s *submissions) close() []ns.Submission {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	return s.list
}

// input is farm.Input: nothing, the one argument, or an array of several.
func input(args ...any) string {
	var v any = args
	switch len(args) {
	case 0:
		v = nil
	case 1:
		v = args[0]
	}
	b, err := json.Marshal(v)
	if err != nil {
		panic("farm.Input: " + err.Error())
	}
	return string(b)
}

// checker checks the source of tasks that are submitted. It remembers what it has checked: a task often
// submits the same source many times.
type checker struct {
	comps map[string]*cell.Compiler // by engine
	known map[checked]error
}

// checked is what was checked: a program for an engine and the function to be called, or a cell's syntax.
type checked struct {
	source, call, engine string
	syntax               bool
}

// Limits of what a checker keeps.
const (
	maxChecked      = 200     // results
	maxCheckedBytes = 8 << 20 // bytes of source a compiler of it has taken in
)

func (k *checker) program(source, call, engine string) error {
	return k.once(checked{source: source, call: call, engine: cmp.Or(engine, ns.DefaultEngine)}, func(comp *cell.Compiler) error {
		env, err := ns.Env(comp, nil)
		if err != nil {
			return err
		}
		u, err := comp.Compile(env, source)
		if err != nil || call == "" {
			return err
		}
		_, err = comp.CompileCall(u.Env, call)
		return err
	})
}

func (k *checker) syntax(source string) error {
	return k.once(checked{source: source, engine: ns.DefaultEngine, syntax: true}, func(comp *cell.Compiler) error { return comp.CheckSyntax(source) })
}

func (k *checker) once(key checked, check func(*cell.Compiler) error) error {
	if c := k.comps[key.engine]; k.comps == nil || len(k.known) >= maxChecked || c != nil && c.Size() > maxCheckedBytes {
		k.comps, k.known = map[string]*cell.Compiler{}, map[checked]error{}
	}
	if err, known := k.known[key]; known {
		return err
	}
	if k.comps[key.engine] == nil {
		k.comps[key.engine] = cell.NewCompilerTo(ns.Target(key.engine))
	}
	err := check(k.comps[key.engine])
	k.known[key] = err
	return err
}
