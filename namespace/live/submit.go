package live

import (
	"crypto/sha256"
	"encoding/base32"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"strconv"
	"strings"
	"sync"

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
		s.err = &ns.SubmitError{Number: len(s.list) + 1, Err: err}
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
		x.ID = derivedID(s.task.ID, len(s.list)+1)
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
	case t.Source == "" && t.Call == "" && !t.InJob:
		return x, bad("it has neither Source nor Call")
	case len(t.Inputs) > 0 && t.Call == "" && !t.InJob:
		return x, bad("it has Inputs and no Call")
	case t.Timeout < 0 || t.Delay < 0 || t.Retries < 0 || t.Retries > math.MaxInt32 || t.Priority < math.MinInt32 || t.Priority > math.MaxInt32:
		return x, bad("a field is out of range")
	case len(t.Source) > s.lim.Source:
		return x, &ns.LimitError{What: "source", Limit: int64(s.lim.Source), Got: int64(len(t.Source))}
	case len(t.Inputs) > s.lim.Inputs:
		return x, &ns.LimitError{What: "inputs", Limit: int64(s.lim.Inputs), Got: int64(len(t.Inputs))}
	}
	x = ns.Submission{ID: t.ID, Namespace: t.Namespace, Source: t.Source, Call: t.Call, Args: maps.Clone(t.Args),
		Timeout: t.Timeout, Delay: t.Delay, Retries: t.Retries, Priority: t.Priority}
	for i, in := range t.Inputs {
		if !json.Valid([]byte(in)) {
			return x, bad("input %d is not JSON", i+1)
		}
		x.Inputs = append(x.Inputs, json.RawMessage(in))
	}
	if t.InJob {
		x.Job = s.task.Job
	}
	return x, nil
}

// checkSource checks the source as far as this process can: one for a private context is checked as it
// will be run; of one for a namespace, whose declarations may be others by then, the syntax.
func (s *submissions) checkSource(x *ns.Submission) error {
	switch {
	case x.Source == "":
		return nil
	case x.Namespace == "":
		return s.check.program(x.Source, x.Call)
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

// maxDerived is how long a derived id may get behind that of the first task of its line, in bytes.
const maxDerived = 40

// derivedID is the id of the n-th task that a task submits, unless it has one of its own: the same in each
// attempt, and with a '/', so that no client can have chosen it. The first task of a line is always its
// beginning; of what grows too long behind that the rest is a hash.
func derivedID(task string, n int) string {
	root, rest, _ := strings.Cut(task, "/")
	if rest != "" {
		rest += "/"
	}
	rest += strconv.Itoa(n)
	if len(rest) > maxDerived {
		sum := sha256.Sum256([]byte(task + "/" + strconv.Itoa(n)))
		rest = strings.ToLower(base32.StdEncoding.EncodeToString(sum[:15]))
	}
	return root + "/" + rest
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
	comp  *cell.Compiler
	known map[checked]error
}

// checked is what was checked: a program and the function to be called, or a cell's syntax.
type checked struct {
	source, call string
	syntax       bool
}

// Limits of what a checker keeps.
const (
	maxChecked      = 200     // results
	maxCheckedBytes = 8 << 20 // bytes of source its compiler has taken in
)

func (k *checker) program(source, call string) error {
	return k.once(checked{source: source, call: call}, func() error {
		env, err := ns.Env(k.comp, nil)
		if err != nil {
			return err
		}
		u, err := k.comp.Compile(env, source)
		if err != nil || call == "" {
			return err
		}
		_, err = k.comp.CompileCall(u.Env, call)
		return err
	})
}

func (k *checker) syntax(source string) error {
	return k.once(checked{source: source, syntax: true}, func() error { return k.comp.CheckSyntax(source) })
}

func (k *checker) once(key checked, check func() error) error {
	if k.comp == nil || len(k.known) >= maxChecked || k.comp.Size() > maxCheckedBytes {
		k.comp, k.known = cell.NewCompiler(), map[checked]error{}
	}
	if err, known := k.known[key]; known {
		return err
	}
	err := check()
	k.known[key] = err
	return err
}
