package cell

import (
	"go/token"
	"go/types"
	"strings"

	"farm/namespace/typeinfo"
	"farm/namespace/typeinfo/packages"
)

const runsLater = "it runs code after the cell has returned"

// notMembers are the members of allowed packages that cells may not use, with the reason.
var notMembers = map[string]string{
	"time.AfterFunc":                    runsLater,
	"context.AfterFunc":                 runsLater,
	"sync.WaitGroup.Go":                 "the interpreter cannot stop what it starts: use Add, go and Done",
	"fmt.Scan":                          "a cell has no standard input",
	"fmt.Scanf":                         "a cell has no standard input",
	"fmt.Scanln":                        "a cell has no standard input",
	"sync/atomic.Pointer":               "the interpreter does not have it",
	"sync.OnceFunc":                     "the interpreter does not have it",
	"text/template.ParseFS":             "a cell has no files",
	"text/template.ParseGlob":           "a cell has no files",
	"text/template.ParseFiles":          "a cell has no files",
	"text/template.Template.ParseFS":    "a cell has no files",
	"text/template.Template.ParseGlob":  "a cell has no files",
	"text/template.Template.ParseFiles": "a cell has no files",
	"os.Stdin":                          "a cell has no standard input",
	"os.Setenv":                         "a cell has no environment",
	"os.Unsetenv":                       "a cell has no environment",
	"os.File.Close":                     "the output of a task is not a file",
	"os.File.Fd":                        "the output of a task is not a file",
	"os.File.SyscallConn":               "the output of a task is not a file",
	"runtime.SetFinalizer":              runsLater,
	"runtime.AddCleanup":                runsLater,
	"runtime.ReadMemStats":              "it would measure the engine, not the cell",
	"runtime.MemStats":                  "it would measure the engine, not the cell",
	"runtime.Caller":                    ofInterpreter,
	"runtime.Callers":                   ofInterpreter,
	"runtime.CallersFrames":             ofInterpreter,
	"runtime.FuncForPC":                 ofInterpreter,
	"runtime.Stack":                     ofInterpreter,
	"log.New":                           noLogger,
	"log.Logger":                        noLogger,
	"log.Default":                       noLogger,
	"log.SetOutput":                     noLogger,
	"log.Writer":                        noLogger,
	"log.Output":                        noLogger,
	"log.Lshortfile":                    ofInterpreter,
	"log.Llongfile":                     ofInterpreter,
}

const (
	ofInterpreter = "it would show the stack of the engine, not that of the cell"
	noLogger      = "the log of a cell is the output of its task"
)

// whyNotMember is the reason why a member of a package that cells see a part of is not in that part.
func whyNotMember(path, name string) string {
	if why := notMembers[path+"."+name]; why != "" {
		return why
	}
	return whyNotPackage(path)
}

func whyNotPackage(path string) string {
	switch {
	case packages.OfGonum(path):
		return "of gonum, cells can import " + strings.ReplaceAll(strings.Join(packages.Gonum, ", "), packages.GonumPath, "")
	case path == "os" || strings.HasPrefix(path, "os/") || path == "path/filepath" || path == "io/fs" || path == "io/ioutil" || path == "embed":
		return "a cell has no files and no processes"
	case path == "net" || strings.HasPrefix(path, "net/"):
		return "a cell has no network"
	case path == "reflect":
		return "it sees the types of the engine, not those of the cell"
	case path == "unsafe" || path == "syscall" || path == "plugin" || path == "C" ||
		path == "runtime" || strings.HasPrefix(path, "runtime/") || strings.HasPrefix(path, "debug/"):
		return "it reaches the memory or the process of the worker"
	case path == "log" || strings.HasPrefix(path, "log/"):
		return `it acts on the whole process: use farm.Logf of package "farm"`
	case strings.Contains(path, "."):
		return "cells can import standard packages and, on the engine ssa, gonum"
	}
	return "it is not in the list of packages for cells"
}

// farmSource is what cells see of package farm. The bodies are in the engine's host.
const farmSource = `package farm

import "time"

// TaskID is the id of the task that runs this cell.
func TaskID() string

// Attempt is 1 for the first try of the task.
func Attempt() int

// Namespace is the name of the namespace, "" in a private one.
func Namespace() string

// Job is the id of the job that the task belongs to, "" when to none.
func Job() string

// Source is the cell that this task runs, or the program that it calls a function of; "" when that is the
// namespace's. It is for tasks that submit more of the same.
func Source() string

// Arg is the argument of the task with that name, "" when there is none.
func Arg(name string) string

// Args are all arguments of the task.
func Args() map[string]string

// Files are the names of the files given with the task, sorted.
func Files() []string

// ReadFile is the content of a file given with the task; an error if there is none of that name.
func ReadFile(name string) ([]byte, error)

// Progress tells how far the task is.
func Progress(done, total int)

// Logf writes a line to the log of the task.
func Logf(format string, args ...any)

// Task is a task to submit: a cell, or calls of a function.
type Task struct {
	// ID makes the task the one of that name: if there is one already, nothing is submitted. Empty: an id
	// of its own, the same in every attempt of this task.
	ID string
	// Namespace it runs in, "" for a private context.
	Namespace string
	// Source is a cell; with Call a program, one of whose functions is called. With Call it may be empty:
	// the function is the namespace's, or, with InJob, the job's.
	Source string
	// Call names a function, to be called once for each of Inputs; once, if there are none and it has no
	// parameters.
	Call string
	// Inputs are the arguments of the calls, as Input gives them.
	Inputs []string
	// Args are read with Arg.
	Args map[string]string
	// InJob makes it a task of the job that this task belongs to.
	InJob bool
	// Timeout of one attempt, 0 for the farm's default.
	Timeout time.Duration
	// Delay before it may begin, counted from the end of this task.
	Delay time.Duration
	// Retries is how often it is tried again after it failed by itself.
	Retries int
	// Priority: higher goes first where tasks compete.
	Priority int
	// Files are read with ReadFile.
	Files map[string][]byte
	// Engine runs the code, "yaegi" or "ssa"; "" for that of the namespace, and ssa in a new or private one.
	Engine string
	// Handler, instead of Source, is a compiled function of a worker of the user's own, and Input its input
	// as JSON, which the function Input gives too.
	Handler string
	Input   string
	// Queue it is limited, paused and counted with, "" for the default one; Key is what the limits per key
	// of the queue count by.
	Queue string
	Key   string
	// Unique asks that there is no other task with the same unique key: if there is, that one is meant.
	Unique Unique
	// Labels that a worker must have to be given it.
	Labels map[string]string
	// Backoff before the first retry; it doubles with each, up to BackoffMax. 0 for the farm's defaults,
	// negative for none.
	Backoff    time.Duration
	BackoffMax time.Duration
	// At is a time before which it does not begin, instead of Delay.
	At time.Time
	// Deadline is when it fails unless it has ended; Within is the same from the end of this task.
	Deadline time.Time
	Within   time.Duration
	// After are tasks it runs after, such as ids that Submit returned; AfterWhen is what must have become of
	// them: "all" of them succeeded, which "" means too, "any" did, or all are "finished".
	After     []string
	AfterWhen string
	// Keep is for how long it is kept when it has ended, 0 for the farm's default.
	Keep time.Duration
}

// Unique is a key that one task has at a time: While it is "queued", while it is "running", queued or
// running, which "" means too, or For a time from its submission.
type Unique struct {
	Key   string
	While string
	For   time.Duration
}

// Submit asks for a task and returns its id. It is submitted when this task succeeds, in the same step as
// what this task changes, and not at all when it does not. A task that cannot be makes this one fail.
func Submit(t Task) string

// Input is the arguments of one call, as JSON.
func Input(args ...any) string
`

// imports gives a compiler its packages: the allowed ones, and farm.
type imports struct {
	*typeinfo.Importer
	to   Target
	farm *types.Package // once it was asked for
}

// Import gives the package with the path, as typeinfo.Importer does.
func (im *imports) Import(path string) (*types.Package, error) {
	if im.to == Interpreter && packages.OfGonum(path) {
		return nil, typeinfo.ErrNotAllowed
	}
	if path != "farm" {
		return im.Importer.Import(path)
	}
	if im.farm == nil {
		im.farm = FarmPackage(im.Importer)
	}
	return im.farm, nil
}

// FarmPackage is the type information of package farm, for users of an importer.
func FarmPackage(imp types.Importer) *types.Package {
	fset := token.NewFileSet()
	conf := types.Config{IgnoreFuncBodies: true, Importer: imp}
	pkg, err := conf.Check("farm", fset, mustParse(fset, "farm.go", farmSource), nil)
	if err != nil {
		panic(err) // the source is a constant
	}
	return pkg
}
