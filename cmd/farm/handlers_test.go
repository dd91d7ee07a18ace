package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"farm/internal/cluster"
	"farm/tasks"
	"farm/tasks/taskstest/conform"
)

// handlersEnv makes the test binary a user's worker, of the farm at this address.
const handlersEnv = "FARM_TEST_HANDLERS"

// serveHandlers is the main function of a user's worker. It says "ready" when the
// farm has it.
func serveHandlers(addrs string) {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	fail := func(err error) {
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	c, err := tasks.Dial(ctx, strings.Split(addrs, ",")...)
	fail(err)
	mux := tasks.NewMux()
	tasks.Handle(mux, "square", func(ctx context.Context, n int) (int, error) {
		select {
		case <-time.After(20 * time.Millisecond):
			return n * n, nil
		case <-ctx.Done():
			return 0, context.Cause(ctx)
		}
	})
	name := os.Args[1]
	go func() {
		for ctx.Err() == nil {
			st, err := c.Status(ctx)
			if err == nil && slices.ContainsFunc(st.Workers, func(w tasks.WorkerStatus) bool { return w.ID == name && w.State == "ready" }) {
				fmt.Println("ready")
				return
			}
			time.Sleep(10 * time.Millisecond)
		}
	}()
	fail(c.Serve(ctx, mux, tasks.WorkerOptions{Name: name, Slots: 4}))
	os.Exit(0)
}

// userWorker is a process with serveHandlers.
type userWorker struct {
	*exec.Cmd
	name string
}

func startUserWorker(t *testing.T, c *cluster.Cluster, name string) *userWorker {
	t.Helper()
	w := &userWorker{exec.Command(os.Args[0], name), name}
	w.Env = append(os.Environ(), handlersEnv+"="+strings.Join(c.Addrs(), ","))
	w.Stderr = os.Stderr
	out, err := w.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.Process.Kill(); _ = w.Wait() })
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || line != "ready\n" {
		t.Fatalf("the worker said %q, %v", line, err)
	}
	return w
}

func (w *userWorker) signal(t *testing.T, sig syscall.Signal) {
	t.Helper()
	if err := w.Process.Signal(sig); err != nil {
		t.Fatal(err)
	}
}

// Real nodes do for handlers what the farm in memory does.
func TestHandlersOnRealNodes(t *testing.T) {
	dir := t.TempDir()
	c := startFarm(t, dir)
	conform.Run(t, c.Addrs()...)
	t.Run("faults", func(t *testing.T) { testHandlersSurvive(t, c) })
	t.Run("no cells", func(t *testing.T) { testCellsStayOnNodes(t, c) })
	t.Run("command", func(t *testing.T) { testHandlerCommand(t, c, dir) })
	t.Run("node drain", func(t *testing.T) { testNodeDrain(t, c, dir) })
}

// While handlers run, a worker is killed, another is stopped for longer than its
// lease and comes back with what is no longer its, and the leader is killed: every
// task that was acknowledged comes to one end, and counts once.
func testHandlersSurvive(t *testing.T, c *cluster.Cluster) {
	client, err := tasks.Dial(t.Context(), c.Addrs()...)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	killed, zombie := startUserWorker(t, c, "u1"), startUserWorker(t, c, "u2")
	job, err := client.OpenJob(t.Context(), tasks.JobSpec{})
	if err != nil {
		t.Fatal(err)
	}
	acknowledged := 0
	submit := func(n int) {
		t.Helper()
		in := make([]int, n)
		for i := range in {
			in[i] = acknowledged + i
		}
		if _, err := tasks.SubmitMany(t.Context(), client, "square", in, tasks.Task{ID: fmt.Sprintf("%s-%d", job, acknowledged), Job: job}); err != nil {
			t.Fatal(err)
		}
		acknowledged += n
	}
	submit(200)
	untilRuns(t, client, zombie.name)
	zombie.signal(t, syscall.SIGSTOP)
	untilRuns(t, client, killed.name)
	killed.signal(t, syscall.SIGKILL)
	startUserWorker(t, c, "u3")
	submit(100)
	until(t, "the stopped worker is given up", func() bool { return !slices.Contains(workersOf(t, client), zombie.name) })
	untilRuns(t, client, "u3")
	leader := leaderOf(t, client, c)
	if err := c.Kill(leader); err != nil {
		t.Fatal(err)
	}
	submit(100)
	zombie.signal(t, syscall.SIGCONT)
	if err := c.Restart(t.Context(), leader); err != nil {
		t.Fatal(err)
	}
	if _, err := client.SealJob(t.Context(), job, acknowledged); err != nil {
		t.Fatal(err)
	}
	j, err := client.WaitJob(t.Context(), job)
	if err != nil || j.Total != uint64(acknowledged) || j.Succeeded != j.Total || j.Failed != 0 {
		t.Fatalf("%+v, %v", j, err)
	}
	list, err := client.List(t.Context(), tasks.Filter{Job: job, Limit: 1000})
	if err != nil || len(list) != acknowledged {
		t.Fatalf("%d tasks, %v", len(list), err)
	}
	again := 0
	for _, i := range list {
		var n int
		if err := i.Decode(&n); err != nil || i.State != tasks.Succeeded || n < 0 {
			t.Errorf("%s: %s %s, %v", i.ID, i.State, i.Value, err)
		}
		if i.Attempt > 1 {
			again++
		}
	}
	if again == 0 {
		t.Error("no attempt was lost: nothing was tested")
	}
	until(t, "the stopped worker is used again", func() bool { return slices.Contains(workersOf(t, client), zombie.name) })
	st, err := client.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	late := uint64(0)
	for _, n := range st.Nodes {
		late += n.Refused + n.Withdrawn
	}
	if late == 0 {
		t.Error("the stopped worker came back with nothing")
	}
}

// A worker with handlers is given no cells, and a node no handlers.
func testCellsStayOnNodes(t *testing.T, c *cluster.Cluster) {
	client, err := tasks.Dial(t.Context(), c.Addrs()...)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	w := startUserWorker(t, c, "u4")
	for range 20 {
		i, err := client.Run(t.Context(), tasks.Task{Source: "1"})
		if err != nil || i.Worker == w.name {
			t.Fatalf("%+v, %v", i, err)
		}
	}
	if _, err := tasks.Call[int](t.Context(), client, "square", 3, tasks.Task{}); err != nil {
		t.Fatal(err)
	}
	w.signal(t, syscall.SIGTERM)
	if err := w.Wait(); err != nil {
		t.Errorf("the worker ended with %v", err)
	}
}

// farm submit calls handlers as it runs cells.
func testHandlerCommand(t *testing.T, c *cluster.Cluster, dir string) {
	startUserWorker(t, c, "u5")
	runProcess(t, dir, "", "submit", "--handler", "square", "--json-input", "7").check(t, 0, "49\n", "")
	runProcess(t, dir, "9", "submit", "--handler", "square", "--json-input", "-", "--id", "by-hand").check(t, 0, "81\n", "")
	if r := runProcess(t, dir, "", "submit", "--handler", "square", "--json-input", `"x"`); r.code != exitUsage || !strings.Contains(r.err, "the input is no int") {
		t.Errorf("%+v", r)
	}
	runProcess(t, dir, "", "task", "show", "-o", "{{.handler}} {{.state}}", "by-hand").check(t, 0, "square succeeded\n", "")
	if r := runProcess(t, dir, "", "status"); r.code != 0 || !strings.Contains(r.out, "u5\t\t4\t0\tready") || !strings.Contains(r.out, "square") {
		t.Errorf("%+v", r)
	}
}

// A node that drains is given nothing new, and the command ends when what ran
// there is at its end.
func testNodeDrain(t *testing.T, c *cluster.Cluster, dir string) {
	client, err := tasks.Dial(t.Context(), c.Addrs()...)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	slow := `import "time"
time.Sleep(700 * time.Millisecond)`
	var there *tasks.Submitted
	node := ""
	until(t, "a cell runs", func() bool {
		h, err := client.Submit(t.Context(), tasks.Task{Source: slow})
		if err != nil {
			t.Fatal(err)
		}
		i, err := h.Get(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		there, node = h, i.Worker
		return i.State == tasks.Running
	})
	if r := runProcess(t, dir, "", "node", "drain", node); r.code != 0 || !strings.Contains(r.err, "it has 0 attempts left") {
		t.Fatalf("%+v", r)
	}
	if i, err := there.Get(t.Context()); err != nil || i.State != tasks.Succeeded {
		t.Errorf("the drain ended before the task, which is %s, %v", i.State, err)
	}
	for range 10 {
		if i, err := client.Run(t.Context(), tasks.Task{Source: "1"}); err != nil || i.Worker == node {
			t.Fatalf("%+v, %v", i, err)
		}
	}
	if r := runProcess(t, dir, "", "node", "drain", "--undo", "-o", "{{.id}} {{.state}}", node); r.code != 0 || r.out != node+" ready\n" {
		t.Fatalf("%+v", r)
	}
	until(t, "it is used again", func() bool {
		i, err := client.Run(t.Context(), tasks.Task{Source: "1"})
		return err == nil && i.Worker == node
	})
	if r := runProcess(t, dir, "", "node", "drain", "nobody"); r.code != exitFailed || !strings.Contains(r.err, "no node or worker nobody") {
		t.Errorf("%+v", r)
	}
}

func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not in time: %s", what)
		}
	}
}

// untilRuns waits until a worker runs something.
func untilRuns(t *testing.T, c *tasks.Client, worker string) {
	t.Helper()
	until(t, worker+" runs something", func() bool {
		st, err := c.Status(t.Context())
		if err != nil && !errors.Is(err, tasks.ErrUnavailable) {
			t.Fatal(err)
		}
		return err == nil && slices.ContainsFunc(st.Workers, func(w tasks.WorkerStatus) bool { return w.ID == worker && w.Busy > 0 })
	})
}

func workersOf(t *testing.T, c *tasks.Client) (names []string) {
	t.Helper()
	st, err := c.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range st.Workers {
		names = append(names, w.ID)
	}
	return names
}

func leaderOf(t *testing.T, c *tasks.Client, farm *cluster.Cluster) int {
	t.Helper()
	st, err := c.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return slices.IndexFunc(farm.Nodes(), func(n cluster.Node) bool { return n.ID == st.Leader })
}
