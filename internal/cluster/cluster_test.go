package cluster

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"farm/api"
)

// The test binary is its own node: started as "node …" with this variable, it
// says it is ready and that all workers are there.
const nodeEnv = "FARM_CLUSTER_TEST"

func TestMain(m *testing.M) {
	if how := os.Getenv(nodeEnv); how != "" {
		fakeNode(how)
	}
	goleak.VerifyTestMain(m)
}

// fakeNode never returns. how: "good", "dies" (at once, saying why), "deaf"
// (never ready), "stubborn" (does not stop when asked).
func fakeNode(how string) {
	f := flag.NewFlagSet("node", flag.ExitOnError)
	var listen string
	f.StringVar(&listen, "listen", "", "")
	for _, name := range []string{"data", "id", "raft", "bootstrap-expect", "join", "slots"} {
		f.String(name, "", "")
	}
	if os.Args[1] != "node" || f.Parse(os.Args[2:]) != nil || f.NArg() > 0 {
		fmt.Fprintln(os.Stderr, "unexpected arguments", os.Args)
		os.Exit(9)
	}
	fmt.Fprintln(os.Stderr, "slots", f.Lookup("slots").Value)
	if how == "dies" {
		fmt.Fprintln(os.Stderr, "the disk is full")
		os.Exit(7)
	}
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM)
	l, err := net.Listen("tcp", listen)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(8)
	}
	s := grpc.NewServer()
	h := health.NewServer()
	if how == "deaf" {
		h.SetServingStatus("", healthpb.HealthCheckResponse_NOT_SERVING)
	}
	healthpb.RegisterHealthServer(s, h)
	api.RegisterFarmServer(s, statusServer{})
	go s.Serve(l)
	for range stop {
		if how != "stubborn" {
			os.Exit(0)
		}
	}
}

type statusServer struct{ api.UnimplementedFarmServer }

func (statusServer) Do(g api.Farm_DoServer) error {
	for {
		m, err := g.Recv()
		if err != nil {
			return err
		}
		for _, c := range m.Calls {
			st := &api.Status{Leader: "n1"}
			for i := range 9 {
				st.Workers = append(st.Workers, &api.WorkerInfo{Id: fmt.Sprint(i), State: "ready"})
			}
			g.Send(&api.Replies{Replies: []*api.Reply{{Seq: c.Seq, Result: &api.Reply_Status{Status: st}}}})
		}
	}
}

func start(t *testing.T, o Options, how string) *Cluster {
	t.Helper()
	o.Env = append(o.Env, nodeEnv+"="+how)
	c, err := Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Stop() })
	return c
}

// alive tells whether a process exists and is not a zombie.
func alive(pid int) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && !strings.Contains(string(b), ") Z ")
}

func TestLifeOfACluster(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "deep", "farm")
	c := start(t, Options{Dir: dir, Args: []string{"--slots", "5"}}, "good")
	if len(c.Nodes()) != 3 {
		t.Fatalf("%d nodes", len(c.Nodes()))
	}
	var r ready
	if err := readJSON(filepath.Join(dir, "cluster.json"), &r); err != nil || !slices.Equal(r.Addrs, c.Addrs()) || len(r.PIDs) != 3 || !alive(r.PIDs[2]) {
		t.Errorf("cluster.json: %+v, %v", r, err)
	}
	if log, err := os.ReadFile(c.LogPath(1)); err != nil || !strings.Contains(string(log), "slots 5") {
		t.Errorf("log %q, %v", log, err)
	}
	if _, err := Start(t.Context(), Options{Dir: dir}); !errors.Is(err, ErrInUse) {
		t.Errorf("a second one: %v", err)
	}
	was := c.Nodes()
	if err := c.Stop(); err != nil {
		t.Error(err)
	}
	for _, pid := range r.PIDs {
		if alive(pid) {
			t.Errorf("process %d is left", pid)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "cluster.json")); err == nil {
		t.Error("cluster.json is left")
	}
	if err := c.Stop(); err != nil {
		t.Errorf("stopped twice: %v", err)
	}
	if _, err := Start(t.Context(), Options{Dir: dir, Nodes: 5}); !errors.Is(err, ErrNodes) {
		t.Errorf("another size: %v", err)
	}
	again := start(t, Options{Dir: dir}, "good")
	if !slices.Equal(again.Nodes(), was) {
		t.Errorf("restarted at %v, was %v", again.Nodes(), was)
	}
}

func TestKillRestartPause(t *testing.T) {
	c := start(t, Options{Dir: t.TempDir(), OnExit: func(i int, err error) { t.Errorf("node %d: %v", i, err) }}, "good")
	pid := c.PID(1)
	if err := c.Kill(1); err != nil || alive(pid) {
		t.Errorf("kill: %v", err)
	}
	if err := c.Restart(t.Context(), 1); err != nil || c.PID(1) == pid || !alive(c.PID(1)) {
		t.Errorf("restart: %v", err)
	}
	var r ready
	if readJSON(c.path("cluster.json"), &r); r.PIDs[1] != c.PID(1) {
		t.Error("cluster.json has the old process")
	}
	if err := c.Restart(t.Context(), 1); err == nil {
		t.Error("started a node that runs")
	}
	if err := c.Pause(0); err != nil {
		t.Error(err)
	}
	eventually(t, "stopped", func() bool { return state(c.PID(0)) == "T" })
	if err := c.Resume(0); err != nil {
		t.Error(err)
	}
	eventually(t, "running", func() bool { return state(c.PID(0)) != "T" })
	if err := c.Pause(0); err != nil { // a paused node must not hold Stop up
		t.Error(err)
	}
	begun := time.Now()
	if err := c.Stop(); err != nil || time.Since(begun) > StopTimeout/2 {
		t.Errorf("stop with a paused node: %v after %v", err, time.Since(begun))
	}
}

func state(pid int) string {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	_, rest, _ := strings.Cut(string(b), ") ")
	return rest[:1]
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(5 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not in time: %s", what)
		}
	}
}

func TestExitIsTold(t *testing.T) {
	exits := make(chan string, 1)
	c := start(t, Options{Dir: t.TempDir(), OnExit: func(i int, err error) { exits <- fmt.Sprint(i, " ", err) }}, "good")
	if err := unix.Kill(c.PID(2), unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if got := <-exits; !strings.HasPrefix(got, "2 node n3 ended: signal: killed") {
		t.Error(got)
	}
}

func TestANodeThatDiesAtStart(t *testing.T) {
	dir := t.TempDir()
	_, err := Start(t.Context(), Options{Dir: dir, Env: []string{nodeEnv + "=dies"}})
	if err == nil || !strings.Contains(err.Error(), "the disk is full") || !strings.Contains(err.Error(), "exit status 7") {
		t.Errorf("%v", err)
	}
	if c := start(t, Options{Dir: dir}, "good"); c == nil {
		t.Error("the folder is not free again")
	}
}

func TestANodeThatIsNeverReady(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	_, err := Start(ctx, Options{Dir: t.TempDir(), Nodes: 1, Env: []string{nodeEnv + "=deaf"}})
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "n1 is not ready") {
		t.Errorf("%v", err)
	}
}

func TestPortOfANodeIsTaken(t *testing.T) {
	dir := t.TempDir()
	c := start(t, Options{Dir: dir, Nodes: 1}, "good")
	c.Stop()
	l, err := net.Listen("tcp", c.Nodes()[0].API)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if _, err := Start(t.Context(), Options{Dir: dir}); !errors.Is(err, ErrPort) || !strings.Contains(err.Error(), c.Nodes()[0].API) {
		t.Errorf("%v", err)
	}
}

func TestANodeThatDoesNotStopIsKilled(t *testing.T) {
	c := start(t, Options{Dir: t.TempDir(), Nodes: 1}, "stubborn")
	c.grace = 50 * time.Millisecond
	if err := c.Stop(); err == nil || !strings.Contains(err.Error(), "was killed") || alive(c.PID(0)) {
		t.Errorf("%v", err)
	}
}

// Farms that start at the same moment must not choose the same ports.
func TestStartsAtTheSameTime(t *testing.T) {
	const farms = 6
	used := make([][]Node, farms)
	var wg sync.WaitGroup
	for i := range farms {
		dir := t.TempDir()
		wg.Go(func() {
			c, err := Start(t.Context(), Options{Dir: dir, Nodes: 2, Env: []string{nodeEnv + "=good"}})
			if err != nil {
				t.Error(err)
				return
			}
			t.Cleanup(func() { c.Stop() })
			used[i] = c.Nodes()
		})
	}
	wg.Wait()
	seen := map[string]bool{}
	for _, n := range slices.Concat(used...) {
		if seen[n.API] || seen[n.Raft] {
			t.Errorf("%v is used twice", n)
		}
		seen[n.API], seen[n.Raft] = true, true
	}
}

func TestAttach(t *testing.T) {
	dir := t.TempDir()
	if _, err := Attach(t.Context(), filepath.Join(dir, "nothing")); !errors.Is(err, ErrNotRunning) {
		t.Errorf("an absent folder: %v", err)
	}
	c := start(t, Options{Dir: dir, Nodes: 1}, "good")
	a, err := Attach(t.Context(), dir)
	if err != nil || !slices.Equal(a.Addrs, c.Addrs()) {
		t.Fatalf("%+v, %v", a, err)
	}
	short, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := c.WaitUnused(short); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("unused although attached: %v", err)
	}
	a.Release()
	if err := c.WaitUnused(t.Context()); err != nil {
		t.Error(err)
	}
	// From here to the end of Stop, others wait; then they see that it is gone.
	short, cancel = context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := Attach(short, dir); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("while it stops: %v", err)
	}
	late := make(chan error)
	go func() { _, err := Attach(t.Context(), dir); late <- err }()
	c.Stop()
	if err := <-late; !errors.Is(err, ErrNotRunning) {
		t.Errorf("after the end: %v", err)
	}
}

// A farm whose process was killed leaves cluster.json behind and no lock.
func TestAttachAfterAKill(t *testing.T) {
	dir := t.TempDir()
	for name, v := range map[string]any{"lock": "", "cluster.json": ready{Addrs: []string{"127.0.0.1:1"}}} {
		if err := writeJSON(filepath.Join(dir, name), v); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := Attach(t.Context(), dir); !errors.Is(err, ErrNotRunning) {
		t.Errorf("%v", err)
	}
}

func TestLogIsPutAside(t *testing.T) {
	path := filepath.Join(t.TempDir(), "n1.log")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, maxLog+1); err != nil {
		t.Fatal(err)
	}
	f, err := openLog(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if st, err := os.Stat(path); err != nil || st.Size() != 0 {
		t.Errorf("%v, %v", st, err)
	}
	if _, err := os.Stat(path + ".1"); err != nil {
		t.Error(err)
	}
}
