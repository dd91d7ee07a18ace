package worker

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"farm/api"
)

// fakeArg makes a child of the test binary that runs the script engine below
// instead of package live: cells cannot do what it does.
const fakeArg = "script-child"

// bareArg makes a child with the script engine that is confined only by what
// the thread that started it hands on.
const bareArg = "bare-child"

// sleeperArg makes a process that only waits to be killed.
const sleeperArg = "sleeper"

func newScript(h host) engine { return &script{h: h, items: map[string][]byte{}} }

func TestMain(m *testing.M) {
	arg := ""
	if len(os.Args) > 1 {
		arg = os.Args[1]
	}
	switch child := os.Getenv(childEnv) != ""; {
	case child && arg == fakeArg:
		os.Exit(serve(newScript))
	case child && arg == bareArg:
		os.Exit(answerOrders(newScript, childLimits{}, nil))
	case arg == sleeperArg:
		time.Sleep(time.Hour)
		return
	}
	if len(os.Args) > 1 && os.Args[1] == lonelyArg {
		lonely()
		return
	}
	Child()
	os.Exit(m.Run())
}

// script runs cells of one command a line. The namespace is its items.
type script struct {
	h     host
	items map[string][]byte
}

func (s *script) restore(items map[string][]byte) error {
	if _, bad := items["v/broken"]; bad {
		return fmt.Errorf("broken items")
	}
	if s.items = maps.Clone(items); s.items == nil {
		s.items = map[string][]byte{}
	}
	return nil
}

func (s *script) update(c change) error {
	maps.Copy(s.items, c.put)
	for _, k := range c.del {
		delete(s.items, k)
	}
	return nil
}

func (s *script) run(ctx context.Context, o *order) *answer {
	a := &answer{change: change{put: map[string][]byte{}}}
	if o.call != "" {
		a.value = []byte(strconv.Quote(o.call))
		a.results = o.inputs
	}
	if o.set != "" {
		a.change.put["v/"+o.set] = o.value
	}
	for line := range strings.Lines(o.source) {
		verb, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		if f := s.do(ctx, verb, rest, a); f != nil {
			return &answer{failure: f, spent: ctx.Err() != nil}
		}
	}
	if o.namespace != "" {
		_ = s.update(a.change)
	}
	return a
}

func (s *script) do(ctx context.Context, verb, rest string, a *answer) *failure {
	switch verb {
	case "append": // key text
		k, text, _ := strings.Cut(rest, " ")
		a.change.put["v/"+k] = append(append([]byte(nil), s.items["v/"+k]...), text...)
	case "grow": // key bytes
		k, size, _ := strings.Cut(rest, " ")
		n, _ := strconv.Atoi(size)
		a.change.put["v/"+k] = grown(n)
	case "del":
		a.change.del = append(a.change.del, "v/"+rest)
	case "value":
		a.value, a.typ = []byte(rest), "any"
	case "get":
		a.value, _ = json.Marshal(string(s.items["v/"+rest]))
	case "pid":
		a.value = []byte(strconv.Itoa(os.Getpid()))
	case "print":
		fmt.Fprint(s.h.stdout, rest)
	case "eprint":
		fmt.Fprint(s.h.stderr, rest)
	case "probe":
		a.value, _ = json.Marshal(probe(rest))
	case "submit": // number of them, bytes of each
		n, size := 0, 0
		_, _ = fmt.Sscan(rest, &n, &size)
		for range n {
			b, _ := proto.Marshal(&api.Submit{Work: &api.Work{Source: string(make([]byte, size))}})
			a.submits = append(a.submits, b)
		}
	case "garble": // a submission that nobody can read
		a.submits = append(a.submits, []byte(rest))
	case "progress":
		s.h.progress(3, 3)
	case "wait":
		<-ctx.Done()
		return &failure{kind: kindCancelled}
	case "fail":
		kind, message, _ := strings.Cut(rest, " ")
		return &failure{kind: kind, message: message, permanent: kind == kindCompile}
	case "spawn": // something that outlives the child, if it can
		exe, _ := os.Executable()
		cmd := exec.Command(exe, sleeperArg)
		if err := cmd.Start(); err != nil {
			return &failure{kind: kindInternal, message: err.Error()}
		}
		a.value = []byte(strconv.Itoa(cmd.Process.Pid))
	default:
		hostile(verb, rest)
	}
	return nil
}

// grown is n bytes without a pattern.
func grown(n int) []byte {
	b := make([]byte, n)
	seed := uint64(n)
	for i := range b {
		seed = seed*6364136223846793005 + 1442695040888963407
		b[i] = byte(seed >> 56)
	}
	return b
}

// probe tries what a child must not be able to do, and says what came of it.
// Systems with confinement have their own.
var probe = func(what string) string { return "no probe " + what }

// hostile is what ends a child or makes it useless.
func hostile(verb, rest string) {
	n, _ := strconv.Atoi(rest)
	switch verb {
	case "sleep": // not to be stopped
		d, _ := time.ParseDuration(rest)
		time.Sleep(d)
	case "exit":
		os.Exit(n)
	case "signal":
		_ = syscall.Kill(os.Getpid(), syscall.Signal(n))
		time.Sleep(time.Minute)
	case "panic":
		go func() { panic(rest) }()
		time.Sleep(time.Minute)
	case "stack":
		fmt.Println(recurse(1))
	case "memory":
		var keep [][]byte
		for {
			b := make([]byte, 16<<20)
			for i := 0; i < len(b); i += 4096 {
				b[i] = 1
			}
			keep = append(keep, b) //nolint:staticcheck // it holds the memory
		}
	case "threads": // so many of them that the runtime has to make more
		var all sync.WaitGroup
		all.Add(n)
		for range n {
			go func() {
				runtime.LockOSThread()
				all.Done()
				select {}
			}()
		}
		all.Wait()
	case "use": // bytes of memory
		b := make([]byte, n)
		for i := 0; i < n; i += 4096 {
			b[i] = 1
		}
		runtime.KeepAlive(b)
	case "garbage":
		_, _ = syscall.Write(answersFD, []byte(strings.Repeat("\xff", 100)))
	case "short": // a frame that never ends
		_, _ = syscall.Write(answersFD, []byte{100, 0, 0, 0, frameAnswer, 1, 2, 3})
		os.Exit(0)
	case "close":
		for fd := range answersFD + 1 {
			_ = syscall.Close(fd)
		}
		time.Sleep(time.Minute)
	case "flood":
		b := []byte(strings.Repeat("x", 1000))
		for ; n > 0; n -= len(b) {
			_, _ = os.Stdout.Write(b[:min(n, len(b))])
			_, _ = os.Stderr.Write(b[:min(n, len(b))])
		}
	case "leave":
		go func() {
			for {
				_, _ = os.Stdout.WriteString("leftover ")
				time.Sleep(100 * time.Microsecond)
			}
		}()
	default:
		panic("script: " + verb)
	}
}

func recurse(n int) int {
	var pad [1000]byte
	pad[n%1000] = byte(n)
	return recurse(n+1) + int(pad[(n+1)%1000]) //nolint:staticcheck // it overflows the stack, as asked
}
