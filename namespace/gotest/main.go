// Command gotest measures cells against Go's own tests: it runs each `// run` program of GOROOT/test
// through the front end and the engine, as the cell that it is, and compares with what go run does.
//
// Each program runs in a child process, since code can end its process, and for TimeLimit at most. A
// program has passed when it ends without an error and has printed what its .out file says (nothing,
// when there is none). It is refused when farm says clearly that it does not run such a program. All
// else is wrong: other output, a failure, a crash, a program that hangs, and code that the interpreter
// turns out not to be able to load.
//
// It is for developers and CI; it needs a Go installation. It never runs anything in its own process.
package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"go/build/constraint"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	ns "farm/namespace"
)

const (
	// TimeLimit is how much time of processors a program may take, unless a flag says otherwise: so the
	// result hangs little on what else the machine does. By the clock it may be waitFactor times that.
	TimeLimit  = 10 * time.Second
	waitFactor = 5
	// MaxReason bounds the reason kept of a program that did not pass, in bytes.
	MaxReason = 500
	// childVar in the environment makes this program run the file it names.
	childVar = "FARM_GOTEST_FILE"
	// limitVar says how many seconds it may take.
	limitVar = "FARM_GOTEST_SECONDS"
	// engineVar says which engine it runs it on.
	engineVar = "FARM_GOTEST_ENGINE"
)

// engineVM is a way to run a program beside the engines, which run it as a cell: on the machine, without what
// keeps cells from the process.
const engineVM = "programs"

// The classes of programs.
const (
	Passed  = "passed"
	Refused = "refused"
	Wrong   = "wrong"
)

// outcome is what became of one program.
type outcome struct {
	File   string `json:"file"` // below GOROOT/test
	Class  string `json:"class"`
	Reason string `json:"reason,omitempty"`
}

// timeLimit is how much time of processors a program may take.
var timeLimit = TimeLimit

func main() {
	if file := os.Getenv(childVar); file != "" {
		os.Exit(child(file))
	}
	root := flag.String("root", "", "folder of the programs (default: GOROOT/test)")
	sample := flag.Int("sample", 1, "run every n-th program")
	out := flag.String("out", "", "file for the list of outcomes, JSON")
	parallel := flag.Int("parallel", 2, "programs at a time")
	only := flag.String("only", "", "run programs whose path contains this")
	limit := flag.Int("wrong", -1, "fail when more programs than this are wrong")
	flag.DurationVar(&timeLimit, "time", TimeLimit, "how much time of processors a program may take")
	engine := flag.String("engine", ns.DefaultEngine, "what runs them, as cells: "+strings.Join(ns.Engines(), " or ")+"; or "+engineVM+": the virtual machine, with packages that cells do not have")
	flag.Parse()
	if flag.NArg() > 0 {
		fmt.Fprintf(os.Stderr, "gotest: %q is no flag; -only chooses programs\n", flag.Arg(0))
		os.Exit(2)
	}
	if err := choose(*engine); err != nil {
		fmt.Fprintln(os.Stderr, "gotest:", err)
		os.Exit(1)
	}
	err := run(*root, *only, *out, *sample, *parallel, *limit)
	if file := os.Getenv(exportsVar); file != "" {
		os.Remove(file)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "gotest:", err)
		os.Exit(1)
	}
}

// choose sets the engine, which children find in their environment.
func choose(engine string) error {
	switch {
	case slices.Contains(ns.Engines(), engine):
		return os.Setenv(engineVar, engine)
	case engine != engineVM:
		return fmt.Errorf("there is no engine %q", engine)
	}
	file, err := writeExports()
	if err != nil {
		return err
	}
	return errors.Join(os.Setenv(engineVar, engine), os.Setenv(exportsVar, file), os.Setenv(importcfgVar, file))
}

func run(root, only, out string, sample, parallel, limit int) error {
	if root == "" {
		env, err := exec.Command("go", "env", "GOROOT").Output()
		if err != nil {
			return fmt.Errorf("go env GOROOT: %w", err)
		}
		root = filepath.Join(strings.TrimSpace(string(env)), "test")
	}
	root, err := filepath.Abs(root)
	if err != nil {
		return err
	}
	files, err := programs(root)
	if err != nil {
		return err
	}
	files = slices.DeleteFunc(files, func(f string) bool { return !strings.Contains(f, only) })
	files = every(files, sample)
	list := runAll(root, files, parallel)
	if out != "" {
		b, err := json.MarshalIndent(list, "", " ")
		if err != nil {
			return err
		}
		if err := os.WriteFile(out, append(b, '\n'), 0o644); err != nil {
			return err
		}
	}
	count := map[string]int{}
	for _, o := range list {
		count[o.Class]++
		if o.Class == Wrong {
			fmt.Printf("wrong  %s: %s\n", o.File, strings.ReplaceAll(o.Reason, "\n", " | "))
		}
	}
	fmt.Printf("programs %d  passed %d  refused %d  wrong %d\n", len(list), count[Passed], count[Refused], count[Wrong])
	if limit >= 0 && count[Wrong] > limit {
		return fmt.Errorf("%d programs are wrong, more than %d", count[Wrong], limit)
	}
	return nil
}

// programs lists the files below root that say `// run`, sorted.
func programs(root string) ([]string, error) {
	var files []string
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && strings.HasSuffix(path, ".dir") {
			return fs.SkipDir
		}
		if d.IsDir() || filepath.Ext(path) != ".go" {
			return nil
		}
		src, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if !isRun(src) {
			return nil
		}
		rel, err := filepath.Rel(root, path)
		files = append(files, rel)
		return err
	})
	slices.Sort(files)
	return files, err
}

// isRun says that a file is a program to run: its first comment that is no build constraint says so.
func isRun(src []byte) bool {
	for line := range bytes.Lines(src) {
		l := strings.TrimSpace(string(line))
		if strings.HasPrefix(l, "package ") {
			return false
		}
		if l == "" || constraint.IsGoBuild(l) || constraint.IsPlusBuild(l) {
			continue
		}
		return l == "// run"
	}
	return false
}

// forThisPlatform says that the build constraints of a file hold on linux/amd64 and its like.
func forThisPlatform(src []byte) bool {
	for line := range bytes.Lines(src) {
		l := strings.TrimSpace(string(line))
		if strings.HasPrefix(l, "package ") {
			break
		}
		if !constraint.IsGoBuild(l) {
			continue
		}
		x, err := constraint.Parse(l)
		if err != nil {
			return false
		}
		return x.Eval(func(tag string) bool {
			return tag == runtime.GOOS || tag == runtime.GOARCH || tag == "gc" || tag == "unix" || strings.HasPrefix(tag, "go1.")
		})
	}
	return true
}

func every(files []string, n int) []string {
	var out []string
	for i := 0; i < len(files); i += max(n, 1) {
		out = append(out, files[i])
	}
	return out
}

func runAll(root string, files []string, parallel int) []outcome {
	list := make([]outcome, len(files))
	next := make(chan int)
	var wg sync.WaitGroup
	for range max(parallel, 1) {
		wg.Go(func() {
			for i := range next {
				list[i] = runOne(root, files[i])
			}
		})
	}
	for i := range files {
		next <- i
	}
	close(next)
	wg.Wait()
	return list
}

// runOne runs one program in a child process.
func runOne(root, file string) outcome {
	o := outcome{File: file}
	path := filepath.Join(root, file)
	src, err := os.ReadFile(path)
	if err != nil {
		o.Class, o.Reason = Wrong, err.Error()
		return o
	}
	if !forThisPlatform(src) {
		o.Class, o.Reason = Refused, "not for this platform, by its build constraint"
		return o
	}
	ctx, cancel := context.WithTimeout(context.Background(), waitFactor*timeLimit)
	defer cancel()
	self, err := os.Executable()
	if err != nil {
		o.Class, o.Reason = Wrong, err.Error()
		return o
	}
	r, w, err := os.Pipe()
	if err != nil {
		o.Class, o.Reason = Wrong, err.Error()
		return o
	}
	defer func() { _ = r.Close() }()
	c := exec.CommandContext(ctx, self)
	c.Dir = root // as Go's own runner does: some look for files beside them
	c.Env = append(os.Environ(), childVar+"="+path, fmt.Sprintf("%s=%d", limitVar, int(timeLimit.Seconds())), "GOMEMLIMIT=1GiB")
	c.ExtraFiles = []*os.File{w}
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	c.Cancel = func() error { return syscall.Kill(-c.Process.Pid, syscall.SIGKILL) }
	var printed bytes.Buffer
	c.Stdout, c.Stderr = &printed, &printed
	err = c.Start()
	_ = w.Close()
	var said outcome
	if err == nil {
		_ = json.NewDecoder(r).Decode(&said) // nothing, when the child died
		err = c.Wait()
	}
	o.Class, o.Reason = judge(path, printed.Bytes(), said, cmp.Or(ctx.Err(), spent(c.ProcessState)), err)
	if len(o.Reason) > MaxReason {
		o.Reason = o.Reason[:MaxReason]
	}
	return o
}

// spent is an error when a process has used up the time that it has.
func spent(p *os.ProcessState) error {
	if p != nil && !p.Success() && p.UserTime()+p.SystemTime() > timeLimit-time.Second {
		return context.DeadlineExceeded
	}
	return nil
}

// judge gives the class of a program from what its child printed, said and how it ended.
func judge(path string, printed []byte, said outcome, timeout, died error) (class, reason string) {
	switch {
	case timeout != nil:
		return Wrong, "it does not end: stopped after " + timeLimit.String()
	case said.Class == "":
		return Wrong, fmt.Sprintf("its process died: %v: %s", died, firstLines(printed))
	case said.Class != Passed:
		return said.Class, said.Reason
	}
	want, err := os.ReadFile(strings.TrimSuffix(path, ".go") + ".out")
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return Wrong, err.Error()
	}
	if !bytes.Equal(bytes.ReplaceAll(printed, []byte("\r\n"), []byte("\n")), want) {
		return Wrong, "other output: " + difference(string(want), string(printed))
	}
	return Passed, ""
}

func firstLines(b []byte) string {
	return string(b[:min(len(b), MaxReason/2)])
}

// difference shows the first line that differs.
func difference(want, got string) string {
	w, g := strings.Split(want, "\n"), strings.Split(got, "\n")
	for i := range max(len(w), len(g)) {
		var a, b string
		if i < len(w) {
			a = w[i]
		}
		if i < len(g) {
			b = g[i]
		}
		if cmp.Compare(a, b) != 0 {
			return fmt.Sprintf("line %d is %.100q, not %.100q", i+1, b, a)
		}
	}
	return "line ends"
}
