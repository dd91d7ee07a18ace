package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestMain(m *testing.M) {
	if file := os.Getenv(childVar); file != "" {
		os.Exit(child(file))
	}
	os.Exit(m.Run())
}

// TestMachine runs programs that look at what the machine is made of: function addresses, lines, panics by
// way of package reflect, names of local types; and some that it refuses.
func TestMachine(t *testing.T) {
	if err := choose(engineVM); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.Remove(os.Getenv(exportsVar)); err != nil {
			t.Error(err)
		}
		for _, v := range []string{engineVar, exportsVar, importcfgVar} {
			if err := os.Unsetenv(v); err != nil {
				t.Error(err)
			}
		}
	})
	old := timeLimit
	timeLimit = time.Minute
	t.Cleanup(func() { timeLimit = old })
	dir := t.TempDir()
	for name, c := range map[string]struct{ src, want, class, reason string }{
		"functions": {src: `import ("fmt"; "reflect"; "runtime")
type T struct{}
func (*T) P() {}
func (T) V() {}
func f() {}
func name(fn any) string { return runtime.FuncForPC(reflect.ValueOf(fn).Pointer()).Name() }
func main() {
	func() {
		fmt.Println(name(f), name(func() { func() {}() }), name((*T).P), name(T.V), name(T{}.V))
		fmt.Println(name(f) == name(f), reflect.ValueOf(f).Pointer() == reflect.ValueOf(f).Pointer(), reflect.ValueOf(f).Pointer() != reflect.ValueOf(name).Pointer())
		fmt.Println(runtime.FuncForPC(reflect.ValueOf(f).Pointer()) == runtime.FuncForPC(reflect.ValueOf(f).Pointer()))
	}()
}`, want: "main.f main.main.func1.1 main.(*T).P main.T.V main.T.V-fm\ntrue true true\ntrue\n"},
		"closing line": {src: `import ("fmt"; "runtime")
func line() { _, _, n, _ := runtime.Caller(1); fmt.Println(n) }
func main() {
	defer line()
	line()
}`, want: "7\n8\n"},
		"recover by way of reflect": {src: `import ("fmt"; "reflect")
type T struct{}
func (T) M() { fmt.Println(recover()) }
func deferred(f func()) { defer fmt.Println("end"); defer f(); panic(1) }
func main() {
	deferred(reflect.ValueOf(T{}).Method(0).Interface().(func()))
	deferred(reflect.MakeFunc(reflect.TypeOf((func())(nil)), func([]reflect.Value) []reflect.Value { fmt.Println("made", recover()); return nil }).Interface().(func()))
	defer func() { fmt.Println("left", recover()) }()
	deferred(func() { reflect.ValueOf(T{}).Method(0).Call(nil) })
}`, want: "1\nend\nmade 1\nend\n<nil>\nend\nleft 1\n"},
		"local types": {src: `import "fmt"
type A = int
type B[T any] struct{}
func f[T any]() { type L[U any] struct{}; type M struct{}; fmt.Printf("%T %T %T %T\n", L[A]{}, L[M]{}, M{}, B[A]{}) }
func main() { f[A]() }`, want: "main.L[int;int] main.L[int;main.M[int]·2] main.M[int] main.B[int]\n"},
		"promoted offset": {src: `import ("fmt"; "unsafe")
type E struct{ a, B int }
type S[K any] struct { A K; E }
func f[K any](s *S[K]) { fmt.Println(unsafe.Offsetof(s.B), unsafe.Offsetof(s.E), unsafe.Offsetof(s.E.B)) }
func main() { f(new(S[int])) }`, want: "16 8 8\n"},
		"array of which only the length matters": {src: `import "fmt"
type T struct{ a [3]int }
var p *[2]int
var t *T
func q() *[2]int { return nil }
func main() {
	n := 0
	for range *p { n++ }
	for i := range t.a { n += i }
	for i := range (*p) { n += i }
	fmt.Println(n)
	defer func() { fmt.Println(recover()) }()
	for range *q() { n++ }
}`, want: "6\nruntime error: invalid memory address or nil pointer dereference\n"},
		"memory":        {src: "import \"runtime\"\nfunc main() {\n\tvar m runtime.MemStats\n\truntime.ReadMemStats(&m)\n}", class: Refused, reason: "memory.go:6:22: runtime.ReadMemStats is not for programs of the machine"},
		"address space": {src: "import \"syscall\"\nfunc main() { _, _ = syscall.Mmap(-1, 0, 1, 0, 0) }", class: Refused, reason: "syscall.Mmap is not for programs"},
		"ends":          {src: "import \"testing\"\nfunc main() { testing.Main(nil, nil, nil, nil) }", class: Refused, reason: "testing.Main is not for programs"},
	} {
		t.Run(name, func(t *testing.T) {
			file := strings.ReplaceAll(name, " ", "_") + ".go"
			if err := os.WriteFile(filepath.Join(dir, file), []byte("package main\n\n"+c.src+"\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			if c.class == "" {
				c.class = Passed
				if err := os.WriteFile(filepath.Join(dir, strings.TrimSuffix(file, ".go")+".out"), []byte(c.want), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if o := runOne(dir, file); o.Class != c.class || !strings.Contains(o.Reason, c.reason) {
				t.Errorf("%s: %s", o.Class, o.Reason)
			}
		})
	}
}
