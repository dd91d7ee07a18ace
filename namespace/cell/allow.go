package cell

import (
	"go/token"
	"go/types"
	"strings"
	"sync"
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
	"runtime.ReadMemStats":              "it would measure the interpreter, not the cell",
	"runtime.MemStats":                  "it would measure the interpreter, not the cell",
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
	ofInterpreter = "it would show the stack of the interpreter, not that of the cell"
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
	case path == "os" || strings.HasPrefix(path, "os/") || path == "path/filepath" || path == "io/fs" || path == "io/ioutil" || path == "embed":
		return "a cell has no files and no processes"
	case path == "net" || strings.HasPrefix(path, "net/"):
		return "a cell has no network"
	case path == "reflect":
		return "it sees the types of the interpreter, not those of the cell"
	case path == "unsafe" || path == "syscall" || path == "plugin" || path == "C" ||
		path == "runtime" || strings.HasPrefix(path, "runtime/") || strings.HasPrefix(path, "debug/"):
		return "it reaches the memory or the process of the worker"
	case path == "log" || strings.HasPrefix(path, "log/"):
		return `it acts on the whole process: use farm.Logf of package "farm"`
	case strings.Contains(path, "."):
		return "cells can import standard packages only"
	}
	return "it is not in the list of packages for cells"
}

// farmSource is what cells see of package farm. The bodies are in the engine's host.
const farmSource = `package farm

// TaskID is the id of the task that runs this cell.
func TaskID() string

// Attempt is 1 for the first try of the task.
func Attempt() int

// Namespace is the name of the namespace, "" in a private one.
func Namespace() string

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
`

// hostFarm is the type information of package farm, shared and only read.
var hostFarm = sync.OnceValue(func() *types.Package {
	fset := token.NewFileSet()
	f := mustParse(fset, "farm.go", farmSource)
	conf := types.Config{IgnoreFuncBodies: true}
	pkg, err := conf.Check("farm", fset, f, nil)
	if err != nil {
		panic(err) // the source is a constant
	}
	return pkg
})
