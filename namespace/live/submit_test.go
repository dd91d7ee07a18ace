package live

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"go/types"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"farm/internal/ask"
	ns "farm/namespace"
	"farm/namespace/cell"
	"farm/namespace/internal/farm"
)

// submitter is the task that the tests' cells run for.
var submitter = ns.TaskInfo{ID: "t1", Namespace: "lab", Attempt: 1, Job: "j"}

func submits(t *testing.T, c *Context, src string) (ns.Result, error) {
	t.Helper()
	return c.Run(t.Context(), ns.Run{Task: submitter, Source: "import \"farm\"\n" + src})
}

func ids(list []ns.Submission) (out []string) {
	for i := range list {
		out = append(out, list[i].ID)
	}
	return out
}

// TestSubmit: what is submitted comes with the result, with all that was said of it.
func TestSubmit(t *testing.T) { onEngines(t, submitWorks) }

func submitWorks(t *testing.T, engine string) {
	r, err := submits(t, newOn(t, engine, Options{}), `import ("fmt"; "time")
type P struct { X int; Name string }
first := farm.Submit(farm.Task{Source: "1 + 1"})
t := farm.Task{Namespace: "bank", Call: "Pay", Timeout: 3 * time.Second, Delay: time.Minute, Retries: 2, Priority: -1, InJob: true}
t.Inputs = append(t.Inputs, farm.Input("a", P{1, "x"}), farm.Input(5), farm.Input())
t.Args = map[string]string{"k": "v"}
second := farm.Submit(t)
named := farm.Submit(farm.Task{ID: "mine", Source: "x++", Namespace: "bank"})
fmt.Sprintf("%s %s %s %T", first, second, named, t)`)
	if err != nil {
		t.Fatal(err)
	}
	if string(r.JSON) != `"t1/1 t1/2 mine farm.Task"` {
		t.Errorf("the cell sees %s", r.JSON)
	}
	want := []ns.Submission{
		{ID: "t1/1", Source: "1 + 1"},
		{ID: "t1/2", Namespace: "bank", Job: "j", Call: "Pay", Args: map[string]string{"k": "v"}, Options: ask.Options{Timeout: 3 * time.Second, Delay: time.Minute, Retries: 2, Priority: -1},
			Inputs: []json.RawMessage{[]byte(`["a",{"X":1,"Name":"x"}]`), []byte("5"), []byte("null")}},
		{ID: "mine", Source: "x++", Namespace: "bank"},
	}
	if !reflect.DeepEqual(r.Submissions, want) {
		t.Errorf("submitted:\n%+v\nwant\n%+v", r.Submissions, want)
	}
}

// TestSameAgain: a program can submit itself.
func TestSameAgain(t *testing.T) { onEngines(t, sameAgain) }

func sameAgain(t *testing.T, engine string) {
	src := "import \"farm\"\nfunc F(n int) string {\n\tfarm.Submit(farm.Task{Source: farm.Source(), Call: \"F\", Inputs: []string{farm.Input(n + 1)}})\n\treturn farm.Job()\n}"
	r, err := newOn(t, engine, Options{}).Run(t.Context(), ns.Run{Task: submitter, Source: src, Call: "F", Inputs: []json.RawMessage{[]byte("1")}, Discard: true})
	if err != nil || len(r.Submissions) != 1 || r.Submissions[0].Source != src || string(r.Submissions[0].Inputs[0]) != "2" || string(r.Results[0].JSON) != `"j"` {
		t.Errorf("%+v, %v", r, err)
	}
}

// TestTaskIsKept: a task to submit is a value like others, also in another process.
func TestTaskIsKept(t *testing.T) { onEngines(t, taskIsKept) }

func taskIsKept(t *testing.T, engine string) {
	warm, cold := newOn(t, engine, Options{}), newOn(t, engine, Options{})
	if _, err := submits(t, warm, `t := farm.Task{Call: "F", Inputs: []string{"1"}, Retries: 3}`); err != nil {
		t.Fatal(err)
	}
	if err := cold.Restore(warm.Items()); err != nil {
		t.Fatal(err)
	}
	r, err := submits(t, cold, `t.Retries++
farm.Submit(t)
t`)
	if err != nil || len(r.Submissions) != 1 || r.Submissions[0].Options.Retries != 4 || r.Submissions[0].Call != "F" || !strings.Contains(string(r.JSON), `"Retries":4`) {
		t.Errorf("%+v %s, %v", r.Submissions, r.JSON, err)
	}
}

// TestSubmitRefused: what cannot be submitted fails the run, with a reason that names it, and also when
// the code goes on.
func TestSubmitRefused(t *testing.T) { onEngines(t, submitRefused) }

func submitRefused(t *testing.T, engine string) {
	private := func(src string) string { return fmt.Sprintf("farm.Submit(farm.Task{Source: %q})", src) }
	for name, c := range map[string]struct{ src, want string }{
		"nothing":       {`farm.Submit(farm.Task{Namespace: "x"})`, "neither Source nor Call"},
		"negative":      {`farm.Submit(farm.Task{Source: "1", Retries: -1})`, "out of range"},
		"no call":       {`farm.Submit(farm.Task{Source: "1", Inputs: []string{"1"}})`, "no Call"},
		"no JSON":       {`farm.Submit(farm.Task{Call: "F", Inputs: []string{"1", "{"}})`, "input 2 is not JSON"},
		"type":          {private("x := 1\nx + \"a\""), "submission 1: 2:1: invalid operation"},
		"import":        {private(`import "net"`), `package "net"`},
		"function":      {`farm.Submit(farm.Task{Source: "func F() {}", Call: "G"})`, "G is not a function"},
		"syntax":        {`farm.Submit(farm.Task{Namespace: "x", Source: "n++\nif {"})`, "submission 1: 2:"},
		"its import":    {`farm.Submit(farm.Task{Namespace: "x", Source: "import \"os/exec\""})`, "os/exec"},
		"second":        {private("1") + "\n" + private("undefinedThing"), "submission 2: 1:1: undefined: undefinedThing"},
		"recovered":     {"func() {\n\tdefer func() { recover() }()\n\t" + private("y") + "\n}()\n" + private("1"), "submission 1: 1:1: undefined: y"},
		"in a call":     {"func f() { " + private("y") + " }\nf()", "submission 1: "},
		"too many":      {"for i := 0; i <= 500; i++ {\n\tfarm.Submit(farm.Task{Call: \"F\"})\n}", "501 is over the limit of 500"},
		"too large":     {"import \"strings\"\nfor i := 0; i < 5; i++ {\n\tfarm.Submit(farm.Task{Call: \"F\", Inputs: []string{farm.Input(strings.Repeat(\"x\", 250<<10))}})\n}", fmt.Sprint("is over the limit of ", ns.MaxSubmissionBytes)},
		"a long source": {"import \"strings\"\nfarm.Submit(farm.Task{Source: strings.Repeat(\" \", 300<<10)})", "source: "},
		"from a panic":  {private("1") + "\npanic(\"no\")", "panic: no"},
	} {
		c2 := newOn(t, engine, Options{})
		began := len(c2.Items())
		r, err := submits(t, c2, "n := 1\n"+c.src)
		if err == nil || !strings.Contains(err.Error(), c.want) || len(r.Submissions) != 0 || len(c2.Items()) != began {
			t.Errorf("%s: %v, want %q; submitted %v", name, err, c.want, ids(r.Submissions))
		}
		var e *ns.SubmitError
		if errors.As(err, &e) == (name == "from a panic") {
			t.Errorf("%s: the error is a %T", name, err)
		}
	}
	r, err := newOn(t, engine, Options{}).Run(t.Context(), ns.Run{Task: ns.TaskInfo{ID: "t2"}, Source: "import \"farm\"\nfarm.Submit(farm.Task{InJob: true})"})
	if err == nil || !strings.Contains(err.Error(), "belongs to no job") {
		t.Errorf("a job that there is not: %+v, %v", r, err)
	}
}

// TestNamespaceCellIsNotChecked: what a cell for a namespace mentions may be declared by then.
func TestNamespaceCellIsNotChecked(t *testing.T) { onEngines(t, namespaceCellIsNotChecked) }

func namespaceCellIsNotChecked(t *testing.T, engine string) {
	r, err := submits(t, newOn(t, engine, Options{}), `farm.Submit(farm.Task{Namespace: "x", Source: "declaredThere(thing)"})`)
	if err != nil || len(r.Submissions) != 1 {
		t.Errorf("%+v, %v", r.Submissions, err)
	}
}

// TestSubmitFromCalls: calls that keep nothing fail alone, with what they submit; what the program submits
// it submits once, also when it has to be run again.
func TestSubmitFromCalls(t *testing.T) { onEngines(t, submitFromCalls) }

func submitFromCalls(t *testing.T, engine string) {
	program := `import "farm"
farm.Submit(farm.Task{ID: "program", Call: "F"})
func f(n int) int {
	id := farm.Submit(farm.Task{Call: "F", Inputs: []string{farm.Input(n)}})
	if n == 2 {
		panic(id)
	}
	return n
}`
	var inputs []json.RawMessage
	for n := range 4 {
		inputs = append(inputs, json.RawMessage(fmt.Sprint(n)))
	}
	r, err := newOn(t, engine, Options{}).Run(t.Context(), ns.Run{Task: ns.TaskInfo{ID: "t1"}, Source: program, Call: "f", Inputs: inputs, Discard: true})
	if err != nil {
		t.Fatal(err)
	}
	if got := ids(r.Submissions); !slices.Equal(got, []string{"program", "t1/2", "t1/3", "t1/4"}) || r.Results[2].Error != "panic: t1/4" && !strings.Contains(r.Results[2].Error, "t1/4") {
		t.Errorf("submitted %q, results %+v", got, r.Results)
	}
	if in := r.Submissions[3].Inputs; string(in[0]) != "3" {
		t.Errorf("the last call submitted %s", in)
	}
}

// TestSubmitFromGoroutines: all of it is there, each with an id of its own.
func TestSubmitFromGoroutines(t *testing.T) { onEngines(t, submitFromGoroutines) }

func submitFromGoroutines(t *testing.T, engine string) {
	r, err := submits(t, newOn(t, engine, Options{}), `import "sync"
var wg sync.WaitGroup
for i := 0; i < 50; i++ {
	wg.Add(1)
	go func() {
		defer wg.Done()
		farm.Submit(farm.Task{Source: "1"})
	}()
}
wg.Wait()`)
	if err != nil {
		t.Fatal(err)
	}
	got := ids(r.Submissions)
	slices.Sort(got)
	if len(slices.Compact(got)) != 50 {
		t.Errorf("submitted %q", got)
	}
}

// TestSubmitStopped: a run that is stopped gives that reason, whatever it submitted.
func TestSubmitStopped(t *testing.T) { onEngines(t, submitStopped) }

func submitStopped(t *testing.T, engine string) {
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	_, err := newOn(t, engine, Options{}).Run(ctx, ns.Run{Task: submitter, Source: "import \"farm\"\nfunc() {\n\tdefer func() { recover() }()\n\tfarm.Submit(farm.Task{})\n}()\nfor {\n}"})
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
}

// TestExitKeepsSubmissions: os.Exit(0) ends a cell as a success.
func TestExitKeepsSubmissions(t *testing.T) { onEngines(t, exitKeepsSubmissions) }

func exitKeepsSubmissions(t *testing.T, engine string) {
	r, err := submits(t, newOn(t, engine, Options{}), "import \"os\"\nfarm.Submit(farm.Task{Call: \"F\"})\nos.Exit(0)")
	if err != nil || len(r.Submissions) != 1 {
		t.Errorf("%+v, %v", r.Submissions, err)
	}
}

// TestInputRefusesWhatItMisreads: on the interpreter the same types as encoding/json.
func TestInputRefusesWhatItMisreads(t *testing.T) { onEngines(t, inputRefusesWhatItMisreads) }

func inputRefusesWhatItMisreads(t *testing.T, engine string) {
	_, err := submits(t, newOn(t, engine, Options{}), "type T struct{ a int }\nfarm.Input(1, T{1})")
	if engine == ns.EngineSSA { // encoding/json sees such types as they are
		if err != nil {
			t.Error(err)
		}
		return
	}
	if _, ok := errors.AsType[*ns.NotAllowedError](err); !ok || !strings.Contains(err.Error(), "unexported field a") {
		t.Errorf("%v", err)
	}
}

// TestTaskIsWhatCellsAreCheckedAgainst: the fields of the types and of their declarations for cells are the same.
func TestTaskIsWhatCellsAreCheckedAgainst(t *testing.T) {
	k := cell.NewCompiler()
	env, err := ns.Env(k, nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, is := range map[string]reflect.Type{"Task": reflect.TypeFor[farm.Task](), "Unique": reflect.TypeFor[farm.Unique]()} {
		u, err := k.Compile(env, "import \"farm\"\nvar t farm."+name)
		if err != nil {
			t.Fatal(err)
		}
		declared := u.Vars[0].Type.Underlying().(*types.Struct)
		if is.NumField() != declared.NumFields() {
			t.Fatalf("%s: %d fields are declared, there are %d", name, declared.NumFields(), is.NumField())
		}
		for i := range is.NumField() {
			if f, d := is.Field(i), declared.Field(i); f.Name != d.Name() || strings.ReplaceAll(f.Type.String(), "uint8", "byte") != d.Type().String() {
				t.Errorf("%s: field %d is %s %s, and declared as %s", name, i, f.Name, f.Type, d)
			}
		}
	}
}

// TestOldTask: a variable of a task, kept when it had fewer fields, is there with what it had.
func TestOldTask(t *testing.T) { onEngines(t, oldTask) }

// oldTasks is the item of the variable below, as it was kept when a task had eleven fields.
const oldTasks = "AQELW11mYXJtLlRhc2sAAQEIFAGVBGZhcm0EVGFzawsCSUQAAAIJTmFtZXNwYWNlAAACBlNvdXJjZQAAAgRDYWxsAAACBklucHV0cwAAAwRBcmdzAAAEBUluSm9iAAAFB1RpbWVvdXQAAAYFRGVsYXkAAAYHUmV0cmllcwAABwhQcmlvcml0eQAABxEUAhcCAgGGBHRpbWUIRHVyYXRpb24CAAABAQEBAQEBAQAAATEAAAAAAAAGCg=="

func oldTask(t *testing.T, engine string) {
	c := newOn(t, engine, Options{})
	src := "t := []farm.Task{{Source: \"1\", Retries: 3, Priority: 5}}"
	if _, err := submits(t, c, src); err != nil {
		t.Fatal(err)
	}
	old := maps.Clone(c.Items())
	item, err := base64.StdEncoding.DecodeString(oldTasks)
	if err != nil || bytes.Equal(item, old["v/t"]) {
		t.Fatalf("the type has not changed, %v", err)
	}
	old["v/t"] = item
	again := newOn(t, engine, Options{})
	if err := again.Restore(old); err != nil {
		t.Fatal(err)
	}
	r, err := submits(t, again, "t[0].Queue = \"q\"\nt[0]")
	if err != nil || !strings.Contains(string(r.JSON), `"Retries":3`) || !strings.Contains(string(r.JSON), `"Queue":"q"`) || !strings.Contains(string(r.JSON), `"Priority":5`) {
		t.Errorf("%s, %v", r.JSON, err)
	}
}
