package live

import (
	"fmt"
	"io"
	"io/fs"
	"log"
	"maps"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	ns "farm/namespace"
	"farm/namespace/internal/farm"
)

// programName is what os.Args says.
const programName = "cell"

// exitFatal is the code of log.Fatal.
const exitFatal = 1

// file is what cells have as *os.File: the output of the task, and no way to a file.
type file struct {
	write func(b []byte) (int, error)
}

// Write is that of *os.File.
func (f *file) Write(b []byte) (int, error) {
	if f == nil || f.write == nil {
		return 0, fs.ErrInvalid
	}
	return f.write(b)
}

// WriteString is that of *os.File.
func (f *file) WriteString(s string) (int, error) { return f.Write([]byte(s)) }

// services are what the code of any engine can call natively. Its functions may be called from any
// goroutine.
type services struct {
	progress       func(done, total int)
	stdout, stderr io.Writer
	log            *log.Logger
	task           atomic.Pointer[ns.TaskInfo]
	submits        atomic.Pointer[submissions] // of the run; nil before the first
	exit           func(code int)              // ends the run, and does not return
	goroutines     func() int                  // how many the code has

	mu    sync.Mutex
	args  []string
	procs int // what the code thinks that GOMAXPROCS is
}

func (s *services) init(opt Options, exit func(code int), goroutines func() int) {
	s.progress, s.stdout, s.stderr = opt.Progress, opt.Stdout, opt.Stderr
	s.log = log.New(opt.Stderr, "", log.LstdFlags)
	s.exit, s.goroutines = exit, goroutines
	s.task.Store(&ns.TaskInfo{})
}

// begin prepares for a run.
func (s *services) begin(t *ns.TaskInfo, x *submissions) {
	s.task.Store(t)
	s.submits.Store(x)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.args, s.procs = []string{programName}, runtime.GOMAXPROCS(0)
	s.log.SetFlags(log.LstdFlags)
	s.log.SetPrefix("")
}

// members are the packages that cells see a part of, and package farm.
func (s *services) members() map[string]map[string]any {
	return map[string]map[string]any{
		"os":      s.osMembers(),
		"log":     s.logMembers(),
		"runtime": s.runtimeMembers(),
		"reflect": {"DeepEqual": reflect.DeepEqual},
		"farm":    s.farmMembers(),
	}
}

// farmMembers are package farm.
func (s *services) farmMembers() map[string]any {
	return map[string]any{
		"TaskID":    func() string { return s.task.Load().ID },
		"Attempt":   func() int { return s.task.Load().Attempt },
		"Namespace": func() string { return s.task.Load().Namespace },
		"Job":       func() string { return s.task.Load().Job },
		"Source":    func() string { return s.submits.Load().source },
		"Task":      (*farm.Task)(nil),
		"Unique":    (*farm.Unique)(nil),
		"Submit":    func(t farm.Task) string { return s.submits.Load().submit(t) },
		"Input":     input,
		"Arg":       func(name string) string { return s.task.Load().Args[name] },
		"Args": func() map[string]string {
			m := maps.Clone(s.task.Load().Args)
			if m == nil {
				m = map[string]string{}
			}
			return m
		},
		"Files": func() []string { return slices.Sorted(maps.Keys(s.task.Load().Files)) },
		"ReadFile": func(name string) ([]byte, error) {
			b, ok := s.task.Load().Files[name]
			if !ok {
				return nil, fmt.Errorf("no file %q was given with this task", name)
			}
			return slices.Clone(b), nil
		},
		"Progress": func(done, total int) {
			if s.progress != nil {
				s.progress(done, total)
			}
		},
		"Logf": func(format string, args ...any) { fmt.Fprintf(s.stderr, format+"\n", args...) },
	}
}

// osMembers are what cells have of package os.
func (s *services) osMembers() map[string]any {
	return map[string]any{
		"File":      (*file)(nil),
		"Stdout":    &file{write: s.stdout.Write},
		"Stderr":    &file{write: s.stderr.Write},
		"Args":      reflect.ValueOf(&s.args).Elem(),
		"Exit":      s.exit,
		"Getenv":    func(string) string { return "" },
		"LookupEnv": func(string) (string, bool) { return "", false },
		"Environ":   func() []string { return []string{} },
	}
}

// runtimeMembers are what cells have of package runtime. Its constants are folded before.
func (s *services) runtimeMembers() map[string]any {
	return map[string]any{
		"Error":        (*runtime.Error)(nil),
		"Version":      runtime.Version,
		"GC":           runtime.GC,
		"Gosched":      runtime.Gosched,
		"KeepAlive":    func(any) {},
		"NumGoroutine": s.goroutines,
		"NumCPU":       runtime.NumCPU,
		"GOMAXPROCS":   s.maxProcs,
		"Goexit":       runtime.Goexit,
	}
}

// maxProcs remembers the number and does no more: the process serves other cells after this one.
func (s *services) maxProcs(n int) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	old := s.procs
	if n > 0 {
		s.procs = n
	}
	return old
}

// logMembers are what cells have of package log.
func (s *services) logMembers() map[string]any {
	const flags = log.Ldate | log.Ltime | log.Lmicroseconds | log.LUTC | log.Lmsgprefix
	fatal := func(text string) {
		s.log.Print(text)
		s.exit(exitFatal)
	}
	throw := func(text string) {
		s.log.Print(text)
		panic(text)
	}
	line := func(v []any) string { return strings.TrimSuffix(fmt.Sprintln(v...), "\n") }
	return map[string]any{
		"Flags":     s.log.Flags,
		"SetFlags":  func(f int) { s.log.SetFlags(f & flags) },
		"Prefix":    s.log.Prefix,
		"SetPrefix": s.log.SetPrefix,
		"Print":     func(v ...any) { s.log.Print(v...) },
		"Printf":    func(f string, v ...any) { s.log.Printf(f, v...) },
		"Println":   func(v ...any) { s.log.Println(v...) },
		"Fatal":     func(v ...any) { fatal(fmt.Sprint(v...)) },
		"Fatalf":    func(f string, v ...any) { fatal(fmt.Sprintf(f, v...)) },
		"Fatalln":   func(v ...any) { fatal(line(v)) },
		"Panic":     func(v ...any) { throw(fmt.Sprint(v...)) },
		"Panicf":    func(f string, v ...any) { throw(fmt.Sprintf(f, v...)) },
		"Panicln":   func(v ...any) { throw(line(v)) },
	}
}
