package live

import (
	"fmt"
	"io/fs"
	"log"
	"reflect"
	"runtime"
	"strings"
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

// osMembers are what cells have of package os.
func (h *host) osMembers() map[string]any {
	return map[string]any{
		"File":      (*file)(nil),
		"Stdout":    &file{write: h.stdout.Write},
		"Stderr":    &file{write: h.stderr.Write},
		"Args":      reflect.ValueOf(&h.args).Elem(),
		"Exit":      h.exitNow,
		"Getenv":    func(string) string { return "" },
		"LookupEnv": func(string) (string, bool) { return "", false },
		"Environ":   func() []string { return []string{} },
	}
}

// runtimeMembers are what cells have of package runtime. Its constants are folded before.
func (h *host) runtimeMembers() map[string]any {
	return map[string]any{
		"Error":        (*runtime.Error)(nil),
		"Version":      runtime.Version,
		"GC":           runtime.GC,
		"Gosched":      runtime.Gosched,
		"KeepAlive":    func(any) {},
		"NumGoroutine": func() int { return h.remain() + 1 },
		"NumCPU":       runtime.NumCPU,
		"GOMAXPROCS":   h.maxProcs,
		"Goexit":       runtime.Goexit,
	}
}

// maxProcs remembers the number and does no more: the process serves other cells after this one.
func (h *host) maxProcs(n int) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	old := h.procs
	if n > 0 {
		h.procs = n
	}
	return old
}

// logMembers are what cells have of package log.
func (h *host) logMembers() map[string]any {
	const flags = log.Ldate | log.Ltime | log.Lmicroseconds | log.LUTC | log.Lmsgprefix
	fatal := func(s string) {
		h.log.Print(s)
		h.exitNow(exitFatal)
	}
	throw := func(s string) {
		h.log.Print(s)
		panic(s)
	}
	line := func(v []any) string { return strings.TrimSuffix(fmt.Sprintln(v...), "\n") }
	return map[string]any{
		"Flags":     h.log.Flags,
		"SetFlags":  func(f int) { h.log.SetFlags(f & flags) },
		"Prefix":    h.log.Prefix,
		"SetPrefix": h.log.SetPrefix,
		"Print":     func(v ...any) { h.log.Print(v...) },
		"Printf":    func(f string, v ...any) { h.log.Printf(f, v...) },
		"Println":   func(v ...any) { h.log.Println(v...) },
		"Fatal":     func(v ...any) { fatal(fmt.Sprint(v...)) },
		"Fatalf":    func(f string, v ...any) { fatal(fmt.Sprintf(f, v...)) },
		"Fatalln":   func(v ...any) { fatal(line(v)) },
		"Panic":     func(v ...any) { throw(fmt.Sprint(v...)) },
		"Panicf":    func(f string, v ...any) { throw(fmt.Sprintf(f, v...)) },
		"Panicln":   func(v ...any) { throw(line(v)) },
	}
}
