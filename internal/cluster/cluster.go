package cluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"farm/tasks"
)

// Times and sizes.
const (
	// StartTimeout bounds the start of a farm, and the restart of a node.
	StartTimeout = 30 * time.Second
	// StopTimeout is how long nodes may take to stop before they are killed.
	StopTimeout = 15 * time.Second
	// maxLog is the size in bytes from which a log is put aside at a start.
	maxLog = 16 << 20
	// tailBytes and tailLines are how much of a log an error shows.
	tailBytes, tailLines = 4 << 10, 8
	// checkTimeout bounds one question to a node that starts.
	checkTimeout = time.Second
)

// Options of a farm.
type Options struct {
	Dir    string   // its folder, made when missing
	Binary string   // the farm command; empty: this process's own
	Nodes  int      // 1 to 9; 0: as many as the folder has, or 3
	Args   []string // further arguments of "farm node"
	Env    []string // further environment of the nodes
	// OnExit, when set, is called when a node ends that nobody told to, on a
	// goroutine of its own. The error says how, with the end of its log.
	OnExit func(i int, err error)
}

// Cluster is a running farm. Its methods may be called by any goroutine; nodes
// are numbered from 0.
type Cluster struct {
	opt   Options
	lock  *os.File
	nodes []Node
	ports claim
	grace time.Duration // StopTimeout, but for tests

	writing sync.Mutex // of cluster.json

	mu    sync.Mutex
	users *os.File // held since WaitUnused
	procs []*process
	ended bool
}

// process is one run of a node.
type process struct {
	cmd    *exec.Cmd
	exited chan struct{}
	err    error // how it ended, once exited is closed
	asked  bool  // told to end; guarded by Cluster.mu
}

// Start starts a farm and waits until all nodes are ready, one leads, and all
// their workers have reported to it. When that fails, everything is stopped and
// the error has the end of a log. Errors: ErrInUse, ErrNodes, ErrPort.
func Start(ctx context.Context, o Options) (*Cluster, error) {
	ctx, cancel := context.WithTimeout(ctx, StartTimeout)
	defer cancel()
	c := &Cluster{opt: o, grace: StopTimeout}
	if err := c.open(); err != nil {
		return nil, err
	}
	err := c.startAll(ctx)
	if err != nil {
		return nil, errors.Join(err, c.Stop())
	}
	return c, nil
}

func (c *Cluster) open() error {
	var err error
	if c.opt.Nodes < 0 || c.opt.Nodes > maxNodes {
		return fmt.Errorf("%w: 1 to %d nodes, not %d", ErrNodes, maxNodes, c.opt.Nodes)
	}
	if c.opt.Binary == "" {
		if c.opt.Binary, err = os.Executable(); err != nil {
			return err
		}
	}
	if c.opt.Dir, err = filepath.Abs(c.opt.Dir); err != nil {
		return err
	}
	if err := os.MkdirAll(c.opt.Dir, 0o700); err != nil {
		return err
	}
	// Nobody wants this folder in a repository.
	if err := os.WriteFile(c.path(".gitignore"), []byte("*\n"), 0o600); err != nil {
		return err
	}
	if c.lock, err = lockFile(c.path("lock"), unix.LOCK_EX); err != nil {
		return fmt.Errorf("%s: %w", c.opt.Dir, err)
	}
	os.Remove(c.path("cluster.json")) // of a farm that was killed
	if c.opt.Nodes == 0 {
		if _, err := os.Stat(c.path("nodes.json")); err != nil {
			c.opt.Nodes = 3
		}
	}
	if c.nodes, c.ports, err = nodes(c.opt.Dir, c.opt.Nodes); err != nil {
		unlock(c.lock)
	}
	c.procs = make([]*process, len(c.nodes))
	return err
}

func (c *Cluster) path(name string) string { return filepath.Join(c.opt.Dir, name) }

func (c *Cluster) startAll(ctx context.Context) error {
	for i := range c.nodes {
		if err := c.spawn(i); err != nil {
			return err
		}
	}
	for i := range c.nodes {
		if err := c.awaitServing(ctx, i); err != nil {
			return err
		}
	}
	if err := c.awaitWorkers(ctx); err != nil {
		return err
	}
	return c.writeReady()
}

func (c *Cluster) writeReady() error {
	c.writing.Lock() // nodes may be restarted at the same time
	defer c.writing.Unlock()
	r := ready{Addrs: c.Addrs()}
	for i := range c.nodes {
		r.PIDs = append(r.PIDs, c.PID(i))
	}
	return writeJSON(c.path("cluster.json"), r)
}

// spawn starts a node's process.
func (c *Cluster) spawn(i int) error {
	n := c.nodes[i]
	log, err := openLog(c.LogPath(i))
	if err != nil {
		return err
	}
	defer log.Close()
	args := []string{"node", "--data", c.path(n.ID), "--id", n.ID, "--listen", n.API, "--raft", n.Raft, "--bootstrap-expect", strconv.Itoa(len(c.nodes))}
	if len(c.nodes) > 1 {
		args = append(args, "--join", strings.Join(c.Addrs(), ","))
	}
	cmd := exec.Command(c.opt.Binary, append(args, c.opt.Args...)...)
	cmd.Env = append(os.Environ(), c.opt.Env...)
	cmd.Stdout, cmd.Stderr = log, log
	// A group of its own, so that Ctrl-C in a terminal reaches only the process
	// that runs the farm; and no farm outlives that one. (The signal comes when
	// the thread ends that started the node; Go keeps its threads.)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}

	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended {
		return errors.New("the farm is stopped")
	}
	if p := c.procs[i]; p != nil && !p.over() {
		return fmt.Errorf("node %s runs already", n.ID)
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	p := &process{cmd: cmd, exited: make(chan struct{})}
	c.procs[i] = p
	go c.reap(i, p)
	return nil
}

func (c *Cluster) reap(i int, p *process) {
	p.err = p.cmd.Wait()
	close(p.exited)
	c.mu.Lock()
	asked := p.asked
	c.mu.Unlock()
	if !asked && c.opt.OnExit != nil {
		c.opt.OnExit(i, c.exitError(i, p))
	}
}

func (p *process) over() bool {
	select {
	case <-p.exited:
		return true
	default:
		return false
	}
}

func (c *Cluster) exitError(i int, p *process) error {
	how := "exit status 0"
	if p.err != nil {
		how = p.err.Error()
	}
	return fmt.Errorf("node %s ended: %s%s", c.nodes[i].ID, how, c.tail(i))
}

// awaitServing waits until a node says it is ready.
func (c *Cluster) awaitServing(ctx context.Context, i int) error {
	conn, err := grpc.NewClient("passthrough:///"+c.nodes[i].API, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer conn.Close()
	health := healthpb.NewHealthClient(conn)
	p := c.process(i)
	for {
		conn.ResetConnectBackoff() // the node is about to listen
		check, cancel := context.WithTimeout(ctx, checkTimeout)
		r, err := health.Check(check, &healthpb.HealthCheckRequest{})
		cancel()
		if err == nil && r.Status == healthpb.HealthCheckResponse_SERVING {
			return nil
		}
		if p.over() {
			return c.exitError(i, p)
		}
		if sleep(ctx, pollEvery) != nil {
			return fmt.Errorf("node %s is not ready: %w%s", c.nodes[i].ID, context.Cause(ctx), c.tail(i))
		}
	}
}

// awaitWorkers waits until a leader has all workers.
func (c *Cluster) awaitWorkers(ctx context.Context) error {
	client, err := tasks.Dial(ctx, c.Addrs()...)
	if err != nil {
		return fmt.Errorf("%w%s", err, c.tail(0))
	}
	defer client.Close()
	for {
		s, err := client.Status(ctx)
		if err != nil {
			return fmt.Errorf("no leader: %w%s", err, c.tail(0))
		}
		there := 0
		for _, w := range s.Workers {
			if w.State == "ready" {
				there++
			}
		}
		if s.Leader != "" && there >= len(c.nodes) {
			return nil
		}
		if sleep(ctx, pollEvery) != nil {
			return fmt.Errorf("%d of %d workers are ready: %w%s", there, len(c.nodes), context.Cause(ctx), c.tail(0))
		}
	}
}

// Nodes returns the nodes and where they are found.
func (c *Cluster) Nodes() []Node { return append([]Node(nil), c.nodes...) }

// Addrs returns the addresses for clients.
func (c *Cluster) Addrs() []string {
	out := make([]string, len(c.nodes))
	for i, n := range c.nodes {
		out[i] = n.API
	}
	return out
}

// LogPath is the file with what a node said.
func (c *Cluster) LogPath(i int) string { return c.path(c.nodes[i].ID + ".log") }

// PID is the process of a node, or of its last run.
func (c *Cluster) PID(i int) int { return c.process(i).cmd.Process.Pid }

func (c *Cluster) process(i int) *process {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.procs[i]
}

// Kill ends a node at once, as a power failure ends it, and returns when it is
// gone.
func (c *Cluster) Kill(i int) error { return c.end(i, syscall.SIGKILL) }

// Terminate asks a node to stop and returns when it is gone; it is killed after
// StopTimeout.
func (c *Cluster) Terminate(i int) error { return c.end(i, syscall.SIGTERM) }

func (c *Cluster) end(i int, sig syscall.Signal) error {
	c.mu.Lock()
	p := c.procs[i]
	p.asked = true
	c.mu.Unlock()
	if err := p.signal(sig); err != nil {
		return err
	}
	return p.await(c.grace)
}

// await waits for the end of a process that was told to end, and kills it
// after grace.
func (p *process) await(grace time.Duration) error {
	t := time.NewTimer(grace)
	defer t.Stop()
	select {
	case <-p.exited:
		return nil
	case <-t.C:
	}
	if err := p.signal(syscall.SIGKILL); err != nil {
		return err
	}
	<-p.exited
	return fmt.Errorf("process %d did not stop within %v and was killed", p.cmd.Process.Pid, grace)
}

// signal sends a signal to a process that may be gone.
func (p *process) signal(sig syscall.Signal) error {
	if err := p.cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	return nil
}

// Restart starts a node that ended, and waits until it is ready.
func (c *Cluster) Restart(ctx context.Context, i int) error {
	ctx, cancel := context.WithTimeout(ctx, StartTimeout)
	defer cancel()
	if err := c.spawn(i); err != nil {
		return err
	}
	if err := c.awaitServing(ctx, i); err != nil {
		return err
	}
	return c.writeReady()
}

// Pause stops a node as it is; Resume lets it go on.
func (c *Cluster) Pause(i int) error { return c.process(i).signal(syscall.SIGSTOP) }

// Resume lets a paused node go on.
func (c *Cluster) Resume(i int) error { return c.process(i).signal(syscall.SIGCONT) }

// WaitUnused waits until no command is attached, and keeps new ones waiting
// until Stop: for a farm that others may use while it lasts.
func (c *Cluster) WaitUnused(ctx context.Context) error {
	f, err := waitLock(ctx, c.path("users"), unix.LOCK_EX)
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.users = f
	return nil
}

// Stop asks all nodes to stop, kills those that do not within StopTimeout, and
// gives the folder free. It can be repeated.
func (c *Cluster) Stop() error {
	c.mu.Lock()
	if c.ended {
		c.mu.Unlock()
		return nil
	}
	c.ended = true
	procs := append([]*process(nil), c.procs...)
	for _, p := range procs {
		if p != nil {
			p.asked = true
		}
	}
	c.mu.Unlock()
	os.Remove(c.path("cluster.json"))
	var wg sync.WaitGroup
	errs := make([]error, len(procs))
	for i, p := range procs {
		if p == nil {
			continue
		}
		wg.Go(func() {
			errs[i] = errors.Join(p.signal(syscall.SIGCONT), p.signal(syscall.SIGTERM), p.await(c.grace))
		})
	}
	wg.Wait()
	c.ports.release()
	unlock(c.lock)
	unlock(c.users)
	return errors.Join(errs...)
}

// openLog opens a node's log for appending, and puts a large one aside.
func openLog(path string) (*os.File, error) {
	if st, err := os.Stat(path); err == nil && st.Size() > maxLog {
		if err := os.Rename(path, path+".1"); err != nil {
			return nil, err
		}
	}
	return os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
}

// tail is the end of a node's log, for errors: empty or beginning with a newline.
func (c *Cluster) tail(i int) string {
	f, err := os.Open(c.LogPath(i))
	if err != nil {
		return ""
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return ""
	}
	b := make([]byte, min(st.Size(), tailBytes))
	if _, err := f.ReadAt(b, st.Size()-int64(len(b))); err != nil {
		return ""
	}
	lines := strings.Split(strings.TrimRight(string(b), "\n"), "\n")
	if len(lines) > tailLines {
		lines = lines[len(lines)-tailLines:]
	}
	if lines[0] == "" {
		return ""
	}
	return fmt.Sprintf("\n%s ends with:\n  %s", c.LogPath(i), strings.Join(lines, "\n  "))
}
