package worker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"

	"farm/api"
	"farm/namespace"
	"farm/namespace/cell"
	"farm/namespace/live"
)

// liveEngine is the engine that children use: package live, with what orders
// need beyond it.
type liveEngine struct {
	c  *live.Context
	at struct { // what runs
		ctx   context.Context
		order *order
	}

	// A fold's program that the namespace is known to have, "" when unknown.
	folding string
	// What a fold's program declares, by its source; dropped when it grows.
	programs map[string]*program
}

// maxPrograms is how many analysed programs a child keeps.
const maxPrograms = 64

func newLiveEngine(h host) engine {
	e := &liveEngine{programs: map[string]*program{}}
	e.c = live.New(live.Options{Stdout: h.stdout, Stderr: h.stderr, Progress: h.progress, StackBytes: h.limits.stack,
		Limits: namespace.Limits{Value: int(h.limits.value), Delta: int(h.limits.change)},
		Stuck: func(err error) {
			a := failed(e.at.ctx, e.at.order, err)
			a.spent = true
			h.stuck(a)
		}})
	// The first cell pays for what the default engine needs of its packages, 8 to 10 ms: not the user's.
	_, _ = e.c.Run(context.Background(), namespace.Run{Source: "1", Discard: true})
	return e
}

func (e *liveEngine) restore(items map[string][]byte) error {
	e.folding = ""
	return e.c.Restore(items)
}

func (e *liveEngine) update(c change) error {
	e.folding = ""
	return e.c.Update(namespace.Delta{Put: c.put, Delete: c.del})
}

func (e *liveEngine) run(ctx context.Context, o *order) *answer {
	e.at.ctx, e.at.order = ctx, o
	if o.set != "" {
		return e.set(ctx, o)
	}
	if o.fold && len(o.inputs) == 0 {
		return &answer{}
	}
	r := namespace.Run{
		Task:    namespace.TaskInfo{ID: o.task, Namespace: o.namespace, Attempt: int(o.attempt), Job: o.job, Args: o.args, Files: o.files},
		Source:  o.source,
		Call:    o.call,
		Engine:  o.engine,
		Discard: o.namespace == "",
	}
	for _, in := range o.inputs {
		r.Inputs = append(r.Inputs, in)
	}
	if o.fold {
		r.Source = e.missing(o)
		if len(e.c.Items()) > 0 {
			r.Engine = "" // that of the namespace
		}
	}
	e.folding = ""
	res, err := e.c.Run(ctx, r)
	if err != nil {
		a := failed(ctx, o, err)
		a.spent = a.spent || e.c.Spent()
		return a
	}
	if o.fold {
		e.folding = o.source
	}
	a := succeeded(o, res)
	a.spent = e.c.Spent() // a call that failed does not fail a run that keeps nothing
	return a
}

func succeeded(o *order, res namespace.Result) *answer {
	a := &answer{value: res.JSON, typ: res.Type, change: change{put: res.Delta.Put, del: res.Delta.Delete}}
	for i, r := range res.Results {
		if r.Error == "" {
			a.results = append(a.results, r.JSON)
			continue
		}
		a.results = append(a.results, nil)
		a.failed = append(a.failed, failedInput{i, clip(r.Error, maxInputError)})
	}
	if len(a.failed) > 0 {
		return partly(o, a)
	}
	if o.fold && len(a.results) > 0 {
		a.value, a.results = a.results[len(a.results)-1], nil
	}
	for i := range res.Submissions {
		x := &res.Submissions[i]
		m, err := submit(x)
		var b []byte
		if err == nil {
			b, err = proto.Marshal(m)
		}
		if err != nil {
			return &answer{failure: &failure{kind: kindInvalid, message: fmt.Sprintf("submission %d, task %s: %v", i+1, x.ID, err), permanent: true}}
		}
		a.submits = append(a.submits, b)
	}
	return a
}

// maxInputError is how many bytes are kept of why one input failed.
const maxInputError = 1 << 10

// partly makes the answer of a call that failed with some of its inputs: it has
// what the others gave.
func partly(o *order, a *answer) *answer {
	message := inputMessage(o, a.failed[0].index, a.failed[0].message)
	if n := len(a.failed) - 1; n > 0 {
		message += fmt.Sprintf(" (and %d of the task's other inputs)", n)
	}
	return &answer{failure: &failure{kind: kindCall, message: message}, failed: a.failed, results: a.results}
}

// submit is a submission as the farm takes it: what it asks for is encoded as that of a
// client.
func submit(s *namespace.Submission) (*api.Submit, error) {
	inputs := make([][]byte, len(s.Inputs))
	for i, in := range s.Inputs {
		inputs[i] = in
	}
	m := &api.Submit{Id: s.ID, Namespace: s.Namespace, Job: s.Job,
		Work: &api.Work{Source: s.Source, Call: s.Call, Inputs: inputs, Args: s.Args, Files: s.Files, Engine: s.Engine, Handler: s.Handler, Input: s.Input}}
	return m, s.Options.Put(m)
}

func inputMessage(o *order, i int, why string) string {
	return fmt.Sprintf("input %d: %s", o.first+uint64(i), why)
}

// failed puts an error of package live into the words of a task's error. What
// stopped in the middle of something leaves a child that is not used again.
func failed(ctx context.Context, o *order, err error) *answer {
	f := &failure{kind: kindInternal, message: err.Error()}
	a := &answer{failure: f}
	var (
		compile    *namespace.CompileError
		notAllowed *namespace.NotAllowedError
		limit      *namespace.LimitError
		call       *namespace.CallError
		panicked   *namespace.PanicError
		exited     *namespace.ExitError
		kept       *namespace.UnserializableError
		goroutine  *namespace.GoroutineError
		engine     *namespace.EngineError
		submission *namespace.SubmitError
	)
	if errors.As(err, &panicked) {
		f.stack = panicked.Stack
	}
	errors.As(err, &submission)
	switch {
	case ctx.Err() != nil:
		f.kind, a.spent = kindCancelled, true
	case errors.As(err, &goroutine):
		f.kind, a.spent = kindGoroutine, true
	case errors.As(err, &engine):
		f.kind, f.permanent = kindConflict, true
	case errors.As(err, &compile):
		f.kind, f.permanent = kindCompile, true
	case errors.As(err, &notAllowed):
		f.kind, f.permanent = kindNotAllowed, true
	case errors.As(err, &call):
		f.kind, f.permanent = kindCall, call.Input < 0
		if call.Input >= 0 {
			f.message = inputMessage(o, call.Input, call.Err.Error())
		}
	case errors.As(err, &limit):
		f.stack = limit.Stack
		f.kind, f.permanent = kindLimit, limit.What == "source" || limit.What == "inputs"
	case panicked != nil:
		f.kind, f.message = kindPanic, panicked.Value
	case errors.As(err, &exited):
		f.kind = kindExit
	case errors.As(err, &kept):
		f.kind = kindUnserializable
	case submission != nil:
		f.kind = kindInvalid
	default:
		a.spent = true
	}
	if submission != nil && ctx.Err() == nil {
		f.message, f.permanent = submission.Error(), true
	}
	return a
}

// set gives a variable a JSON value: on the items where that can be done, else
// by a function with a parameter of the variable's type, which is then removed
// again.
func (e *liveEngine) set(ctx context.Context, o *order) *answer {
	d, err := namespace.SetJSON(e.c.Items(), o.set, o.value)
	switch {
	case err == nil:
		if err := e.update(change{d.Put, d.Delete}); err != nil {
			return broken(err)
		}
		return &answer{change: change{d.Put, d.Delete}}
	case !errors.Is(err, namespace.ErrNeedsEngine):
		return &answer{failure: &failure{kind: kindConflict, message: err.Error(), permanent: true}}
	}
	vars, bad := namespace.List(e.c.Items())
	if bad != nil {
		return broken(bad)
	}
	i := slices.IndexFunc(vars, func(v namespace.VarInfo) bool { return v.Name == o.set })
	if i < 0 { // a new one whose type JSON does not tell
		return &answer{failure: &failure{kind: kindConflict, message: err.Error(), permanent: true}}
	}
	return e.assign(ctx, o, vars[i].Type)
}

func (e *liveEngine) assign(ctx context.Context, o *order, typ string) *answer {
	fn := "farmSet"
	for n := 0; e.declares(fn); n++ {
		fn = fmt.Sprintf("farmSet%d", n)
	}
	e.folding = ""
	res, err := e.c.Run(ctx, namespace.Run{
		Task:   namespace.TaskInfo{ID: o.task, Namespace: o.namespace, Attempt: int(o.attempt)},
		Source: fmt.Sprintf("func %s(v %s) { %s = v }", fn, typ, o.set),
		Call:   fn,
		Inputs: []json.RawMessage{o.value},
	})
	if err != nil {
		a := failed(ctx, o, err)
		a.spent = a.spent || e.c.Spent()
		if a.failure.kind == kindCall {
			a.failure.kind, a.failure.permanent = kindConflict, true
			a.failure.message = "the value does not fit: " + a.failure.message
		}
		return a
	}
	delete(res.Delta.Put, "d/"+fn)
	if err := e.update(change{del: []string{"d/" + fn}}); err != nil {
		return broken(err)
	}
	return &answer{change: change{res.Delta.Put, res.Delta.Delete}}
}

func (e *liveEngine) declares(name string) bool {
	items := e.c.Items()
	for _, prefix := range []string{"d/", "v/", "i/"} {
		if _, ok := items[prefix+name]; ok {
			return true
		}
	}
	return false
}

// program is what a fold's program declares.
type program struct {
	imports map[string]string // local name -> path
	decls   map[string]string // key -> source
	order   []string          // keys, as they were written
	vars    []string
}

// missing gives what of a fold's program is to be run before its function is
// called: nothing where the namespace has it; all of it where none of its
// variables are there; only its declarations where they are, so that they are
// not set back to where they began.
func (e *liveEngine) missing(o *order) string {
	if e.folding == o.source {
		return ""
	}
	p := e.analyse(o)
	if p == nil { // it does not stand alone: let it be checked where it is to run
		if e.declares(o.call) {
			return ""
		}
		return o.source
	}
	decls, err := namespace.Declarations(e.c.Items())
	if err != nil {
		return o.source
	}
	equal, found := 0, 0
	for _, d := range decls {
		src, declared := p.decls[d.Key]
		if d.Kind == "import" {
			src, declared = p.imports[d.Key]
		}
		if declared && src == d.Source {
			equal++
		}
		if declared && d.Kind != "import" {
			found++
		}
	}
	vars := 0
	for _, v := range p.vars {
		if e.declares(v) {
			vars++
		}
	}
	switch {
	case equal == len(p.decls)+len(p.imports) && vars == len(p.vars):
		return ""
	case vars == 0 && (len(p.vars) > 0 || found == 0):
		return o.source
	}
	return p.declarations()
}

func (p *program) declarations() string {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(p.imports)) {
		fmt.Fprintf(&b, "import %s %q\n", name, p.imports[name])
	}
	for _, k := range p.order {
		b.WriteString(p.decls[k])
		b.WriteByte('\n')
	}
	return b.String()
}

// analyse reads what a program declares, nil when it does not compile alone.
func (e *liveEngine) analyse(o *order) *program {
	source := o.source
	if p, ok := e.programs[source]; ok {
		return p
	}
	if len(e.programs) >= maxPrograms {
		clear(e.programs)
	}
	e.programs[source] = nil
	engine, err := namespace.ChooseEngine(e.c.Items(), o.engine)
	if err != nil {
		return nil
	}
	c := cell.NewCompilerTo(namespace.Target(engine))
	env, err := namespace.Env(c, nil)
	if err != nil {
		return nil
	}
	u, err := c.Compile(env, source)
	if err != nil {
		return nil
	}
	p := &program{imports: u.Env.Imports, decls: map[string]string{}, vars: slices.Sorted(maps.Keys(u.Env.Vars))}
	for _, d := range u.Env.Decls {
		p.decls[d.Key] = d.Source
		p.order = append(p.order, d.Key)
	}
	e.programs[source] = p
	return p
}
