package worker

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"farm/api"
	"farm/namespace"
)

// What cells try against the machine is refused before it runs, with the name
// of what is not there.
func TestHostileSource(t *testing.T) {
	l := start(t, cells)
	l.onReport = settle
	imports := func(path, use string) string { return fmt.Sprintf("import %q\n%s", path, use) }
	for name, tc := range map[string]struct{ source, message string }{
		"read a file":         {imports("os", `os.ReadFile("/etc/passwd")`), "os."},
		"read the env":        {imports("os", `os.ReadFile("/proc/self/environ")`), "os."},
		"getenv":              {imports("os", `os.Setenv("PATH", "x")`), "os."},
		"ioutil":              {imports("io/ioutil", `ioutil.ReadFile("/etc/passwd")`), `"io/ioutil"`},
		"embed":               {imports("embed", "//go:embed secret\nvar f embed.FS"), `"embed"`},
		"exec":                {imports("os/exec", `exec.Command("/bin/true").Run()`), `"os/exec"`},
		"start a process":     {imports("os", `os.StartProcess("/bin/true", nil, nil)`), "os."},
		"kill":                {imports("syscall", "syscall.Kill(syscall.Getppid(), 9)"), `"syscall"`},
		"raw system call":     {imports("golang.org/x/sys/unix", "unix.Getppid()"), `"golang.org/x/sys/unix"`},
		"listen":              {imports("net", `net.Listen("tcp", ":0")`), `"net"`},
		"http":                {imports("net/http", `http.Get("http://localhost")`), `"net/http"`},
		"unsafe":              {imports("unsafe", "var p unsafe.Pointer"), "unsafe.Pointer"},
		"reflect":             {imports("reflect", "reflect.ValueOf(1)"), "reflect.ValueOf"},
		"runtime":             {imports("runtime", "runtime.LockOSThread()"), "runtime.LockOSThread"},
		"more stack":          {imports("runtime/debug", "debug.SetMaxStack(1 << 40)"), `"runtime/debug"`},
		"plugin":              {imports("plugin", `plugin.Open("x.so")`), `"plugin"`},
		"C":                   {imports("C", "C.fork()"), `"C"`},
		"signals":             {imports("os/signal", "signal.Reset()"), `"os/signal"`},
		"redirect the log":    {imports("log", "log.SetOutput(nil)"), "log.SetOutput"},
		"close a descriptor":  {imports("os", "os.Stdout.Close()"), "os."},
		"template files":      {imports("text/template", `template.ParseFiles("/etc/passwd")`), "ParseFiles"},
		"template files, too": {imports("text/template", `template.New("").ParseGlob("/etc/*")`), "ParseGlob"},
		"standard input":      {imports("fmt", "var s string\nfmt.Scan(&s)"), "fmt.Scan"},
		"code for later":      {imports("time", "time.AfterFunc(1, func() {})"), "AfterFunc"},
		"the interpreter":     {imports("github.com/traefik/yaegi/interp", "interp.New(interp.Options{})"), "yaegi"},
		"its helpers":         {"__host.End()", "__host"},
		"linkname":            {"import _ \"unsafe\"\n//go:linkname exit runtime.exit\nfunc exit(int)\nexit(1)", "has no body"},
		"a deep nest":         {strings.Repeat("(", 100_000) + "1" + strings.Repeat(")", 100_000), ""},
	} {
		l.say(l.private(name, tc.source))
		c := l.report(name, 1)
		kind := c.Outcome.Error.GetKind()
		if c.Ending != api.Ending_PERMANENT || kind != kindNotAllowed && kind != kindCompile || !strings.Contains(c.Outcome.Error.Message, tc.message) {
			t.Errorf("%s: %v, %v", name, c.Ending, c.Outcome.Error)
		}
	}
	if s := l.w.Stats(); s.Died > 0 {
		t.Errorf("%d children died", s.Died)
	}
}

// What cells can do to their own process with what they are allowed costs them
// their child, or their time, and nobody else anything.
func TestBombs(t *testing.T) {
	if raceDetector {
		t.Skip("the race detector takes more memory than a child may have")
	}
	for _, engine := range namespace.Engines() {
		t.Run(engine, func(t *testing.T) { throwBombs(t, engine) })
	}
}

func throwBombs(t *testing.T, engine string) {
	l := start(t, func(c *Config) {
		cells(c)
		c.Limits.MemoryBytes = 256 << 20
		c.Limits.OutputBytes = 1000
	})
	l.onReport = settle
	bombs := map[string]struct{ source, kinds string }{
		"goroutines":     {"for {\n\tgo func() { select {} }()\n}", kindTimeout + " " + kindMemory},
		"busy ones":      {"for range 1000 {\n\tgo func() { for {} }()\n}\nselect {}", kindTimeout},
		"memory":         {"b := []byte{1}\nfor {\n\tb = append(b, b...)\n}", kindMemory + " " + kindCrash},
		"a map":          {"m := map[int][1000]byte{}\nfor i := 0; ; i++ {\n\tm[i] = [1000]byte{1}\n}", kindMemory + " " + kindTimeout + " " + kindCrash},
		"strings":        {"import \"strings\"\nlen(strings.Repeat(\"x\", 1<<40))", kindMemory + " " + kindPanic},
		"a slice":        {"n := 1 << 50\nlen(make([]int, n))", kindMemory + " " + kindPanic},
		"format":         {"import \"fmt\"\nlen(fmt.Sprintf(\"%1000000d\", 1)) + len(fmt.Sprintf(\"%*d\", 1<<40, 1))", "none"},
		"big numbers":    {"import \"math/big\"\nx := big.NewInt(3)\nfor {\n\tx.Mul(x, x)\n}", kindTimeout + " " + kindMemory},
		"native loop":    {"import \"math/big\"\nx := new(big.Int).Exp(big.NewInt(3), big.NewInt(1<<40), nil)\nx.BitLen()", kindTimeout + " " + kindMemory},
		"recursion":      {"func f(n int) int { return f(n+1) + 1 }\nf(0)", kindLimit + " " + kindCrash + " " + kindMemory}, // where others ran before, 256 MiB may have no room for 64 of stack beside the 32 it was
		"template":       {"import (\n\"text/template\"\n\"strings\"\n)\nt := template.Must(template.New(\"t\").Parse(`{{define \"a\"}}{{template \"a\"}}{{end}}{{template \"a\"}}`))\nvar b strings.Builder\nerr := t.Execute(&b, nil)\nif err != nil { panic(err) }", kindPanic + " " + kindCrash + " " + kindTimeout + " " + kindUnserializable},
		"flood":          {"import \"fmt\"\nfor {\n\tfmt.Println(\"flood\")\n}", kindTimeout},
		"map race":       {"import \"sync\"\nm := map[int]int{}\nvar wg sync.WaitGroup\nfor range 8 {\n\twg.Add(1)\n\tgo func() { defer wg.Done(); for i := range 100000 { m[i%7] = i } }()\n}\nwg.Wait()", kindPanic + " " + kindCrash + " " + kindTimeout + " none"},
		"nil":            {"var p *int\n*p", kindPanic},
		"deadlock":       {"c := make(chan int)\n<-c", kindTimeout},
		"sleep":          {"import \"time\"\ntime.Sleep(time.Hour)", kindTimeout},
		"goroutine left": {"go func() { select {} }()", kindGoroutine},
	}
	for name, tc := range bombs {
		a := on(engine, l.private(name, tc.source))
		a.GetAssign().Timeout = int64(30 * time.Second)
		if strings.HasPrefix(tc.kinds, kindTimeout) {
			a.GetAssign().Timeout = int64(200 * time.Millisecond)
		}
		l.say(a, on(engine, l.private(name+"-next", "1 + 1")))
	}
	for name, tc := range bombs {
		c := l.report(name, 1)
		kind := c.Outcome.Error.GetKind()
		if kind == "" {
			kind = "none"
		}
		t.Logf("%s: %s", name, kind)
		if !strings.Contains(" "+tc.kinds+" ", " "+kind+" ") {
			t.Errorf("%s: %v, not %s", name, c.Outcome.Error, tc.kinds)
		}
		if n := len(c.Outcome.Stdout); n > 1000 {
			t.Errorf("%s: %d bytes of output", name, n)
		}
		if n := l.report(name+"-next", 1); string(n.Outcome.Value) != "2" {
			t.Errorf("the one after %s: %v", name, n)
		}
	}
}

// A panic in a goroutine is the cause of the failure, at once, though the cell
// waits for that goroutine; what is left of it dies with its child.
func TestGoroutinePanic(t *testing.T) {
	t.Run("yaegi", func(t *testing.T) { panicInGoroutine(t, "yaegi", 1) })
	t.Run("ssa", func(t *testing.T) { panicInGoroutine(t, "ssa", 0) }) // it ends them itself
}

func panicInGoroutine(t *testing.T, engine string, died uint64) {
	l := start(t, cells)
	l.onReport = settle
	l.say(
		on(engine, l.in("s", 1, "a", "n := 1", loadOf(0, 0))),
		l.in("s", 1, "b", "import \"sync\"\nvar wg sync.WaitGroup\nn = 2\nwg.Add(1)\ngo func() { panic(\"boom\") }()\nwg.Wait()", nil),
	)
	if c := l.report("b", 1); c.Ending != api.Ending_FAILURE || c.Outcome.Error.Kind != kindPanic || c.Outcome.Error.Message != "boom" {
		t.Errorf("%v", c)
	}
	l.say(l.in("s", 1, "c", "n", nil))
	if c := l.report("c", 1); string(c.Outcome.Value) != "1" {
		t.Errorf("%v", c)
	}
	if s := l.w.Stats(); s.Died != died {
		t.Errorf("%d children died, not %d", s.Died, died)
	}
}

// A panic in a goroutine is told at once also when the cell is in compiled code that
// nothing can end; its child is given up.
func TestPanicBesideCompiledCode(t *testing.T) {
	l := start(t, cells)
	l.onReport = settle
	// The panic comes once the cell is in compiled code: before, it would end by itself.
	const deaf = "import \"io\"\nr, w := io.Pipe()\ngo func() {\n\tw.Write([]byte(\"a\"))\n\tpanic(\"boom\")\n}()\nio.ReadFull(r, make([]byte, 2))"
	l.say(l.private("a", deaf))
	if c := l.report("a", 1); c.Ending != api.Ending_FAILURE || c.Outcome.Error.Kind != kindPanic || c.Outcome.Error.Message != "boom" {
		t.Errorf("%v", c)
	}
	l.poll("the child ends", func(s Stats) bool { return s.Died == 1 && s.Running == 0 })
}

// Each limit allows what is at it, and not what is past it.
func TestLimitsOfAnAttempt(t *testing.T) {
	const memory = 256 << 20
	l := start(t, func(c *Config) {
		if !raceDetector { // it takes more than that for itself
			c.Limits.MemoryBytes = memory
		}
		c.Limits.OutputBytes = 1000
	})
	l.onReport = settle
	run := func(name, source string, timeout time.Duration) *api.Complete {
		t.Helper()
		a := l.private(name, source)
		a.GetAssign().Timeout = int64(timeout)
		l.say(a)
		return l.report(name, 1)
	}
	out := func(n int) string { return "print " + strings.Repeat("x", n) }
	if o := run("output at", out(1000), time.Minute).Outcome; len(o.Stdout) != 1000 || o.StdoutCut {
		t.Errorf("%d bytes, cut %v", len(o.Stdout), o.StdoutCut)
	}
	if o := run("output past", out(1001), time.Minute).Outcome; len(o.Stdout) != 1000 || !o.StdoutCut {
		t.Errorf("%d bytes, cut %v", len(o.Stdout), o.StdoutCut)
	}
	if c := run("time at", "sleep 50ms\nvalue 1", time.Minute); c.Ending != api.Ending_SUCCESS {
		t.Errorf("in time: %v", c)
	}
	if c := run("time past", "sleep 60s", 50*time.Millisecond); c.Outcome.Error.GetKind() != kindTimeout {
		t.Errorf("out of time: %v", c)
	}
	// Before there are threads: in a binary with cgo each takes 8 MiB of the limit.
	if !raceDetector { // it takes more memory than a child may have
		memoryLimits(t, run, memory)
	}
	if c := run("threads", "threads 8", time.Minute); c.Ending != api.Ending_SUCCESS {
		t.Errorf("few threads: %v", c)
	}
}

func memoryLimits(t *testing.T, run func(name, source string, timeout time.Duration) *api.Complete, memory int) {
	t.Helper()
	if c := run("memory at", fmt.Sprint("use ", memory/2), time.Minute); c.Ending != api.Ending_SUCCESS {
		t.Errorf("half of the memory: %v", c)
	}
	c := run("memory past", fmt.Sprint("use ", memory), time.Minute)
	// A thread of the collector may find that there is no memory first, and faults.
	if k := c.Outcome.Error.GetKind(); k != kindMemory && (k != kindCrash || !strings.HasPrefix(c.Outcome.Error.Message, string(markFault))) {
		t.Errorf("all of the memory: %v", c)
	}
}
