package worker

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"farm/api"
)

var seed = flag.Uint64("seed", 0, "of TestChaos; 0: the time")

// model is a leader that keeps farm's rules: it commits a report only if it
// fits, one namespace at a time, and changes its mind at random.
type model struct {
	l      *leader
	rnd    *rand.Rand
	spaces []*modelSpace
	broken int // what went wrong on purpose
	ahead  int
	epoch  uint64
}

type modelSpace struct {
	name     string
	epoch    uint64
	version  uint64
	warm     bool
	items    map[string]string
	tasks    []*modelTask // not committed
	assigned int
	done     []string
}

type modelTask struct {
	id      string
	attempt uint32
	order   uint64
}

// assign gives a namespace's next tasks to the worker.
func (m *model) assign(n *modelSpace) (out []*api.Instruction) {
	for n.assigned < len(n.tasks) && n.assigned < m.ahead {
		t := n.tasks[n.assigned]
		n.assigned++
		t.attempt++
		a := &api.Assign{Task: t.id, Attempt: t.attempt, Namespace: n.name, Epoch: n.epoch, Order: t.order,
			Work: encode(&api.Work{Source: fmt.Sprintf("append x %s,\nappend %s y", t.id, t.id)})}
		if m.rnd.IntN(50) == 0 {
			a.Work = encode(&api.Work{Source: "exit 1"})
		}
		if !n.warm {
			a.Load = &api.Load{Version: n.version}
			for k, v := range n.items {
				a.Load.Items = append(a.Load.Items, &api.Item{Key: k, Value: []byte(v)})
			}
			n.warm = true
		}
		out = append(out, assign(a))
	}
	return out
}

// void takes back the attempts from the i-th on, the last first.
func (m *model) void(n *modelSpace, i int) (out []*api.Instruction) {
	for n.assigned > i {
		n.assigned--
		t := n.tasks[n.assigned]
		out = append(out, voided(t.id, t.attempt))
	}
	return out
}

// release takes a namespace away, and gives it again.
func (m *model) release(n *modelSpace) []*api.Instruction {
	m.broken++
	out := m.void(n, 0)
	m.epoch++
	n.epoch, n.warm = m.epoch, false
	return append(out, m.assign(n)...)
}

func (m *model) find(task string, attempt uint32) (*modelSpace, int) {
	for _, n := range m.spaces {
		for i, t := range n.tasks[:n.assigned] {
			if t.id == task && t.attempt == attempt {
				return n, i
			}
		}
	}
	return nil, 0
}

func (m *model) report(c *api.Complete) (out []*api.Instruction) {
	n, i := m.find(c.Task, c.Attempt)
	if n == nil {
		return []*api.Instruction{voided(c.Task, c.Attempt)}
	}
	if i != 0 || c.Epoch != n.epoch || c.Base != n.version || m.rnd.IntN(40) == 0 {
		return m.release(n)
	}
	out = settle(c)
	if c.Ending != api.Ending_SUCCESS {
		m.broken++
		out = append(out, m.void(n, 1)...)
		n.assigned = 0
		return append(out, m.assign(n)...)
	}
	for _, it := range c.Put {
		n.items[it.Key] = string(it.Value)
	}
	n.version++
	n.done = append(n.done, c.Task)
	n.tasks = n.tasks[1:]
	n.assigned--
	return append(out, m.assign(n)...)
}

// hello is a new leader's: what it knows to be assigned and the worker does not
// hold is placed anew.
func (m *model) hello(h *api.Hello) (out []*api.Instruction) {
	held := map[string]bool{}
	for _, r := range h.Holds {
		held[fmt.Sprint(r.Task, ".", r.Attempt)] = true
		if n, _ := m.find(r.Task, r.Attempt); n == nil {
			out = append(out, voided(r.Task, r.Attempt))
		}
	}
	for _, n := range m.spaces {
		for _, t := range n.tasks[:n.assigned] {
			if !held[fmt.Sprint(t.id, ".", t.attempt)] {
				out = append(out, m.release(n)...)
				break
			}
		}
		out = append(out, m.assign(n)...)
	}
	return out
}

func (m *model) message(f *api.FromWorker) (out []*api.Instruction) {
	if f.Hello != nil {
		out = append(out, m.hello(f.Hello)...)
	}
	for _, c := range f.Completes {
		out = append(out, m.report(c)...)
	}
	for _, name := range f.Forgot {
		for _, n := range m.spaces {
			n.warm = n.warm && n.name != name
		}
	}
	for _, r := range f.Returns {
		if n, i := m.find(r.Task, r.Attempt); n != nil {
			out = append(out, m.void(n, i+1)...)
			n.assigned = i
			out = append(out, m.assign(n)...)
		}
	}
	return out
}

// Whatever the leader refuses, whoever dies and however often the stream
// breaks: each task of a namespace takes effect once, in its order, on what
// those before it left.
func TestChaos(t *testing.T) {
	if *seed == 0 {
		*seed = uint64(time.Now().UnixNano())
	}
	t.Logf("-seed %d", *seed)
	const spaces, each = 8, 40
	l := start(t, func(c *Config) {
		c.Contexts = 4
		c.Limits.CacheBytes = 5 * spaceCost
		c.Limits.HandBack = 5 * time.Millisecond
	})
	m := &model{l: l, rnd: rand.New(rand.NewPCG(*seed, 1)), ahead: 6}
	for i := range spaces {
		n := &modelSpace{name: fmt.Sprint("s", i), items: map[string]string{"d/f": fmt.Sprint(i % 3)}}
		for k := range each {
			n.tasks = append(n.tasks, &modelTask{id: fmt.Sprintf("t%d.%d", i, k), order: uint64(k*spaces + i)})
		}
		m.spaces = append(m.spaces, n)
	}
	l.mu.Lock()
	l.handle = m.message
	l.mu.Unlock()
	l.hangUp(false) // whatever came before the model
	left := func() (n int) {
		for _, s := range m.spaces {
			n += len(s.tasks)
		}
		return n
	}
	for step := 4; step > 0; step-- {
		l.await("progress", func() bool { return left() <= spaces*each*step/5 })
		if kids := children(); len(kids) > 0 {
			pid, _ := strconv.Atoi(kids[step%len(kids)])
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
		l.hangUp(false)
	}
	l.await("the end", func() bool { return left() == 0 })
	for i, n := range m.spaces {
		want := ""
		for k := range each {
			want += fmt.Sprintf("t%d.%d,", i, k)
		}
		if n.items["v/x"] != want || len(n.items) != each+2 {
			t.Errorf("%s: %v", n.name, n.items["v/x"])
		}
	}
	t.Logf("%d refusals and failures; %+v", m.broken, l.w.Stats())
}

// lonelyArg makes the test binary a worker without a leader.
const lonelyArg = "lonely-worker"

func lonely() {
	exe, _ := os.Executable()
	w, err := New(Config{ID: "w", Command: []string{exe, fakeArg}, Dial: func(context.Context) (Stream, error) { return nil, os.ErrNotExist }})
	if err != nil {
		panic(err)
	}
	go func() {
		for w.Stats().Children < spares {
			time.Sleep(time.Millisecond)
		}
		fmt.Println(strings.Join(children(), " "))
	}()
	_ = w.Run(context.Background())
}

// Children do not outlive a worker that was killed.
func TestChildrenDieWithTheirWorker(t *testing.T) {
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe, lonelyArg)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line := make([]byte, 1000)
	n, err := out.Read(line)
	if err != nil {
		t.Fatal(err)
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	pids := strings.Fields(string(line[:n]))
	if len(pids) < spares {
		t.Fatalf("children %v", pids)
	}
	for _, p := range pids {
		pid, _ := strconv.Atoi(p)
		for deadline := time.Now().Add(patience); runs(pid); time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("child %d lives", pid)
			}
		}
	}
}
