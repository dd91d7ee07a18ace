package vm_test

import (
	"bytes"
	"context"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"farm/namespace/typeinfo"
	"farm/namespace/vm"
	"farm/namespace/vm/stdlib"
)

// patience is how long a test waits for what should come soon.
const patience = 20 * time.Second

// output is written by goroutines of a program and read by the test.
type output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

// run runs a program and gives what it printed.
func run(ctx context.Context, t testing.TB, src string, lim vm.Limits, out *output) error {
	t.Helper()
	sources, err := stdlib.Sources()
	if err != nil {
		t.Fatal(err)
	}
	fset := token.NewFileSet()
	im, err := vm.NewImporter(fset, typeinfo.Export, sources)
	if err != nil {
		t.Fatal(err)
	}
	f, err := parser.ParseFile(fset, "main.go", src, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	info := vm.NewInfo()
	conf := types.Config{Importer: im, GoVersion: vm.GoVersion}
	pkg, err := conf.Check("main", fset, []*ast.File{f}, info)
	if err != nil {
		t.Fatal(err)
	}
	prog, sp := im.Build(pkg, []*ast.File{f}, info)
	m, err := vm.New(prog, vm.Options{Stdout: out, Stderr: out, Symbols: stdlib.Std(), Fset: fset, Limits: lim})
	if err != nil {
		t.Skip(err) // not on this processor
	}
	return m.RunMain(ctx, sp)
}

// TestPrograms runs the programs in testdata, each of which has its output in a comment at its end.
func TestPrograms(t *testing.T) {
	files, err := filepath.Glob("testdata/*.go.txt")
	if err != nil || len(files) == 0 {
		t.Fatal("no programs", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".go.txt"), func(t *testing.T) {
			b, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			src, want, ok := strings.Cut(string(b), "\n/* Output:\n")
			if !ok {
				t.Fatal("no output in", file)
			}
			want = strings.TrimSuffix(strings.TrimSpace(want), "*/")
			var out output
			if err := run(t.Context(), t, src, vm.Limits{}, &out); err != nil {
				t.Error(err)
			}
			if got := strings.TrimSpace(out.String()); got != strings.TrimSpace(want) {
				t.Errorf("printed\n%s\nwant\n%s", got, want)
			}
		})
	}
}

// TestCancelEndsAllThatWaits cancels programs that would never end, each blocked somewhere else.
func TestCancelEndsAllThatWaits(t *testing.T) {
	for name, body := range map[string]string{
		"loop":       `for {}`,
		"condition":  `n := 0; for i := 0; i < 1<<62; i++ { n ^= i }; fmt.Println(n)`,
		"loop calls": `f := func() {}; for { f() }`,
		"receive":    `<-make(chan int)`,
		"send":       `make(chan int) <- 1`,
		"nil":        `var c chan int; <-c`,
		"select":     `select {}`,
		"select two": `a, b := make(chan int), make(chan string); select { case <-a: case b <- "x": }`,
		"range":      `for range make(chan int) {}`,
		"sleep":      `time.Sleep(time.Hour)`,
		"mutex":      `var m sync.Mutex; m.Lock(); m.Lock()`,
		"rwmutex":    `var m sync.RWMutex; m.RLock(); m.Lock()`,
		"locker":     `var m sync.Mutex; m.Lock(); var l sync.Locker = &m; l.Lock()`,
		"rlocker":    `var m sync.RWMutex; m.Lock(); m.RLocker().Lock()`,
		"method":     `var m sync.Mutex; m.Lock(); f := m.Lock; f()`,
		"once":       `var o sync.Once; o.Do(func() { select {} })`,
		"waitgroup":  `var w sync.WaitGroup; w.Add(1); w.Wait()`,
		"cond":       `c := sync.NewCond(&sync.Mutex{}); c.L.Lock(); c.Wait()`,
		"context":    `ctx, stop := context.WithCancel(context.Background()); defer stop(); <-ctx.Done()`,
		"deferred":   `defer func() { for {} }(); for {}`,
		"recovers":   `for { func() { defer func() { recover() }(); for {} }() }`,
		"callback":   `sort.Slice([]int{1, 2, 3}, func(i, j int) bool { for {} })`,
		"goroutine":  `c := make(chan int); go func() { for {}; c <- 1 }(); <-c`,
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			var out output
			src := `package main

import ("context"; "fmt"; "sort"; "sync"; "time")

var _ = []any{context.Background, sort.Ints, time.Now, &sync.Mutex{}}

func main() {
	fmt.Println("started")
	` + body + `
}
`
			done := make(chan error, 1)
			go func() { done <- run(ctx, t, src, vm.Limits{}, &out) }()
			wait(t, "the program to start", func() bool { return out.String() != "" })
			cancel()
			select {
			case err := <-done:
				if !errors.Is(err, context.Canceled) {
					t.Error("error is", err)
				}
			case <-time.After(patience):
				t.Fatal("it goes on")
			}
		})
	}
}

func wait(t testing.TB, what string, cond func() bool) {
	t.Helper()
	end := time.Now().Add(patience)
	for !cond() {
		if time.Now().After(end) {
			t.Fatal("no end of waiting for", what)
		}
		time.Sleep(time.Millisecond)
	}
}

func TestPanicIsTheError(t *testing.T) {
	for name, c := range map[string]struct{ src, text, at string }{
		"main":      {"func main() {\n\tf(0)\n}\n\nfunc f(n int) { _ = 1 / n }\n", "panic: runtime error: integer divide by zero", "main.f at main.go:7"},
		"goroutine": {"func main() {\n\tgo f(nil)\n\tselect {}\n}\nfunc f(p *int) { *p = 1 }\n", "invalid memory address or nil pointer dereference", "main.f at main.go:7"},
		"deferred":  {"func main() {\n\tdefer func() { panic(\"two\") }()\n\tpanic(\"one\")\n}\n", "panic: two", "main.go:4"},
		"index":     {"func main() {\n\ta := []int{1}\n\ti := 5\n\ta[i]++\n}\n", "index out of range [5] with length 1", "main.main at main.go:6"},
		"assertion": {"type T int\nfunc main() {\n\tvar x any = T(1)\n\t_ = x.(string)\n}\n", "interface conversion: interface {} is main.T, not string", "main.main at main.go:6"},
		"map":       {"func main() {\n\tvar m map[string]int\n\tm[\"a\"] = 1\n}\n", "assignment to entry in nil map", "main.main at main.go:5"},
		"closed":    {"func main() {\n\tc := make(chan int)\n\tclose(c)\n\tclose(c)\n}\n", "close of closed channel", "main.main at main.go:6"},
	} {
		t.Run(name, func(t *testing.T) {
			var out output
			err := run(t.Context(), t, "package main\n\n"+c.src, vm.Limits{}, &out)
			e, ok := errors.AsType[*vm.PanicError](err)
			if !ok || !strings.Contains(err.Error(), c.text) {
				t.Fatalf("error is %v", err)
			}
			if s := strings.Join(e.Stack, "\n"); !strings.Contains(s, c.at) {
				t.Errorf("no %q in\n%s", c.at, s)
			}
		})
	}
}

func TestLimitsAreErrors(t *testing.T) {
	for name, c := range map[string]struct {
		src string
		lim vm.Limits
	}{
		"frames":    {"func f(n int) int { return f(n+1) + 1 }\nfunc main() { f(0) }", vm.Limits{Frames: 1000}},
		"registers": {"func f(n int) int { return f(n+1) + 1 }\nfunc main() { f(0) }", vm.Limits{Registers: 10_000}},
		"callbacks": {"import \"fmt\"\ntype T int\nfunc (t T) String() string { return fmt.Sprint(t + 1) }\nfunc main() { fmt.Println(T(1)) }", vm.Limits{Callbacks: 100}},
	} {
		t.Run(name, func(t *testing.T) {
			var out output
			err := run(t.Context(), t, "package main\n"+c.src, c.lim, &out)
			if _, ok := errors.AsType[*vm.LimitError](err); !ok && !strings.Contains(out.String(), "limit 100") {
				t.Errorf("error is %v, output %.200s", err, out.String())
			}
		})
	}
}

// TestMemoryIsLimited proves that an allocation beyond the limit is an error of the program or of the task.
func TestMemoryIsLimited(t *testing.T) {
	for name, c := range map[string]struct{ body, says string }{
		"make":       {`_ = make([]int, n)`, "makeslice: len out of range"},
		"make cap":   {`_ = make([]int, 0, n)`, "makeslice: cap out of range"},
		"channel":    {`_ = make(chan int, n)`, "makechan: size out of range"},
		"append":     {`var s []byte; for { s = append(s, "0123456789"...) }`, "memory for a slice, bytes: limit 65536"},
		"append one": {`var s []int; for { s = append(s, 1) }`, "memory for a slice, bytes: limit 65536"},
		"text":       {`s := "x"; for { s += s }`, "memory for a string, bytes: limit 65536"},
	} {
		t.Run(name, func(t *testing.T) {
			var out output
			err := run(t.Context(), t, "package main\nvar n = 100_000\nfunc main() { "+c.body+" }", vm.Limits{Memory: 1 << 16}, &out)
			if err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("error is %v", err)
			}
		})
	}
}

// TestRacesOnMapsAreErrors lets goroutines use a map without order: it is an error of the program, and the
// process goes on.
func TestRacesOnMapsAreErrors(t *testing.T) {
	for name, body := range map[string]string{
		"writes":   `for range 3 { go func() { for { m[1]++ } }() }; select {}`,
		"read":     `go func() { for { m[1] = 2 } }(); for { _ = m[1] }`,
		"delete":   `go func() { for { delete(m, 1); m[2] = 1 } }(); for { m[1] = 1 }`,
		"range":    `go func() { for { m[1] = 2 } }(); for { for range m {} }`,
		"clear":    `go func() { for { clear(m) } }(); for { m[1] = 1 }`,
		"clone":    `go func() { for { m[1] = 1 } }(); for { _ = maps.Clone(m) }`,
		"callback": `go func() { for { sort.Slice([]int{2, 1, 3}, func(i, j int) bool { m[1]++; return i < j }) } }(); for { m[1] = 1 }`,
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			var out output
			err := run(ctx, t, "package main\nimport (\"maps\"; \"sort\")\nvar _, _ = maps.Clone[map[int]int], sort.Ints\nvar m = map[int]int{}\nfunc main() { "+body+" }", vm.Limits{}, &out)
			e, ok := errors.AsType[*vm.PanicError](err)
			if !ok || !strings.Contains(e.Text, "fatal error: concurrent map") || len(e.Stack) == 0 {
				t.Errorf("error is %v", err)
			}
		})
	}
	t.Run("none", func(t *testing.T) {
		var out output
		err := run(t.Context(), t, `package main
import ("fmt"; "sync")
func main() {
	var mu sync.RWMutex
	var wg sync.WaitGroup
	shared, keys := map[any]int{}, map[int]bool{}
	for i := range 8 {
		keys[i] = true
		wg.Go(func() {
			own := map[string]int{}
			for k := range 2000 {
				own[fmt.Sprint(k%10)]++
				mu.RLock()
				for range shared { break }
				n := shared[i]
				mu.RUnlock()
				mu.Lock()
				shared[i] = n + own[fmt.Sprint(k%10)]
				mu.Unlock()
				mu.Lock()
				func() { defer mu.Unlock(); defer func() { recover() }(); shared[[]int{}] = 1 }() // the use of the map ends
			}
		})
	}
	wg.Wait()
	n := 0
	for i := range keys { n += shared[i] }
	fmt.Println(n, len(shared))
}
`, vm.Limits{}, &out)
		if err == nil && out.String() != "1608000 8\n" {
			t.Errorf("printed %q", out.String())
		}
		if err != nil && !strings.Contains(err.Error(), "concurrent") {
			t.Error(err)
		}
	})
}

// TestLeftGoroutinesEnd lets a program end while others of its goroutines run and wait.
func TestLeftGoroutinesEnd(t *testing.T) {
	var out output
	src := `package main

import ("fmt"; "sync"; "time")

func main() {
	var w sync.WaitGroup
	for i := range 4 {
		w.Add(1)
		go func() {
			w.Done()
			if i == 0 {
				select {}
			}
			for {
				time.Sleep(time.Millisecond)
				fmt.Print(".")
			}
		}()
	}
	w.Wait()
}
`
	before := runtime.NumGoroutine()
	if err := run(t.Context(), t, src, vm.Limits{}, &out); err != nil {
		t.Fatal(err)
	}
	wait(t, "goroutines to end", func() bool { return runtime.NumGoroutine() <= before })
}

func TestStdlib(t *testing.T) {
	sources, err := stdlib.Sources()
	if err != nil || len(sources["slices"]) == 0 || len(sources["iter"]) != 1 {
		t.Fatal(len(sources), err)
	}
	if stdlib.Std().Type("os", "File") != nil || stdlib.Std().Func("os", "Exit").IsValid() {
		t.Error("cells have package os")
	}
}

// TestUnsafeOnlyInRaw keeps package unsafe in one place.
func TestUnsafeOnlyInRaw(t *testing.T) {
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ImportsOnly)
		if err != nil {
			t.Fatal(err)
		}
		for _, i := range f.Imports {
			if p, _ := strconv.Unquote(i.Path.Value); p == "unsafe" {
				t.Error(name, "imports unsafe")
			}
		}
	}
}
