package chaos

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"farm/api"
	"farm/internal/clock"
	"farm/internal/crash"
	"farm/tasks"
)

// Times of a cluster. A slow machine is part of the test: what is checked against
// them must be wrong, not late.
const (
	healthLimit = 90 * time.Second // until a cluster is whole again after a fault
	servedLimit = 45 * time.Second // until it serves clients, well below their patience
	stopLimit   = 30 * time.Second // until a node that was asked to has stopped
	askLimit    = 2 * time.Second  // one question to a node
	pollEvery   = 25 * time.Millisecond
	nodeSlots   = 2 // attempts a node runs at a time
)

// Node is one node of a cluster. A node that is replaced gets another name, and
// addresses of its own.
type node struct {
	id   string
	host int // number of its addresses
	dir  string
	proc *process
	conn *grpc.ClientConn // to its own address, past the proxy
	full bool             // its folder is a file system of its own, which can be filled
}

// clusterOptions are what a scenario asks of its cluster.
type clusterOptions struct {
	dir, binary, logStore string
	nodes                 int
	workers               int      // processes that serve handlers
	args                  []string // more arguments of farm node
	smallDisk             bool     // the folder of the last node is a small file system, where that is allowed
	fixture               string   // archive with the data of the first node
}

// cluster is a farm of real processes. Its methods may be called by any goroutine,
// those that change it by one at a time.
type cluster struct {
	opt clusterOptions
	net *network

	mu      sync.Mutex
	nodes   []*node    // that are members
	workers []*process // that serve handlers
	first   []string
	hosts   int
	known   map[int]string // pid → node, of all that ever ran
}

func startCluster(ctx context.Context, o clusterOptions) (c *cluster, err error) {
	c = &cluster{opt: o, known: map[int]string{}}
	if c.net, err = newNetwork(c.pids, c.owner); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, c.stop())
		}
	}()
	for range o.nodes {
		n, err := c.newNode()
		if err != nil {
			return c, err
		}
		c.first = append(c.first, c.net.front(n.host, apiPort))
		c.nodes = append(c.nodes, n)
	}
	if err := c.prepare(); err != nil {
		return c, err
	}
	for _, n := range c.nodes {
		if err := c.spawn(n); err != nil {
			return c, err
		}
	}
	if err := c.startWorkers(); err != nil {
		return c, err
	}
	return c, c.awaitHealthy(ctx)
}

// prepare puts data in the folders of nodes that have not been started yet.
func (c *cluster) prepare() error {
	if c.opt.fixture != "" {
		return unpack(c.opt.fixture, c.nodes[0].dir)
	}
	if last := c.nodes[len(c.nodes)-1]; c.opt.smallDisk {
		if err := os.MkdirAll(last.dir, 0o700); err != nil {
			return err
		}
		last.full = unix.Mount("farm-chaos", last.dir, "tmpfs", 0, "size="+strconv.Itoa(smallDiskBytes)) == nil
	}
	return nil
}

// newNode makes a node that is not running, with proxies before it.
func (c *cluster) newNode() (*node, error) {
	c.mu.Lock()
	host := c.hosts
	c.hosts++
	c.mu.Unlock()
	if host >= maxHosts {
		return nil, fmt.Errorf("a run has at most %d nodes, one after the other", maxHosts)
	}
	id := "n" + strconv.Itoa(host+1)
	n := &node{id: id, host: host, dir: filepath.Join(c.opt.dir, id)}
	if err := errors.Join(c.net.serve(id, host, apiPort), c.net.serve(id, host, raftPort)); err != nil {
		return nil, err
	}
	var err error
	n.conn, err = grpc.NewClient("passthrough:///"+c.net.bind(host, apiPort), grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(api.MaxMessage)))
	return n, err
}

// spawn starts a node's process; env is added to its environment.
func (c *cluster) spawn(n *node, env ...string) error {
	log, err := os.OpenFile(c.logPath(n), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	args := []string{"node", "--data", n.dir, "--id", n.id, "--slots", strconv.Itoa(nodeSlots),
		"--listen", c.net.bind(n.host, apiPort), "--raft", c.net.bind(n.host, raftPort),
		"--advertise", c.net.front(n.host, apiPort), "--advertise-raft", c.net.front(n.host, raftPort)}
	if n.host < len(c.first) {
		args = append(args, "--bootstrap-expect", strconv.Itoa(len(c.first)))
	}
	if n.host >= len(c.first) || len(c.first) > 1 {
		args = append(args, "--join", strings.Join(c.fronts(), ","))
	}
	if c.opt.logStore != "" && c.opt.fixture == "" {
		args = append(args, "--log-store", c.opt.logStore)
	}
	cmd := exec.Command(c.opt.binary, append(args, c.opt.args...)...)
	cmd.Env = append(os.Environ(), clock.Variable+"="+c.clockPath(n), crash.Variable+"=log.before-write:1:stall:"+c.stallPath(n))
	cmd.Env = append(cmd.Env, env...)
	cmd.Stdout, cmd.Stderr = log, log
	p, err := startProcess(cmd)
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	n.proc = p
	c.known[p.pid()] = n.id
	return nil
}

func (c *cluster) logPath(n *node) string   { return n.dir + ".log" }
func (c *cluster) clockPath(n *node) string { return n.dir + ".clock" }
func (c *cluster) stallPath(n *node) string { return n.dir + ".stall" }

// members are the nodes, those that are down included.
func (c *cluster) members() []*node {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.nodes)
}

// live are the nodes whose processes run.
func (c *cluster) live() []*node {
	return slices.DeleteFunc(c.members(), func(n *node) bool { return n.proc == nil || n.proc.over() })
}

func (c *cluster) fronts() []string {
	var out []string
	for _, n := range c.members() {
		out = append(out, c.net.front(n.host, apiPort))
	}
	return out
}

func (c *cluster) pids() []int {
	var out []int
	for _, n := range c.live() {
		out = append(out, n.proc.pid())
	}
	return out
}

func (c *cluster) owner(pid int) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.known[pid]
}

// dial connects as a client does, through the proxies.
func (c *cluster) dial(ctx context.Context, timeout time.Duration, nodes ...*node) (*tasks.Client, error) {
	addrs := c.fronts()
	if len(nodes) > 0 {
		addrs = nil
		for _, n := range nodes {
			addrs = append(addrs, c.net.front(n.host, apiPort))
		}
	}
	return tasks.Options{Timeout: timeout}.Dial(ctx, addrs...)
}

// info asks a node, past its proxy.
func (c *cluster) info(ctx context.Context, n *node, hash bool) (*api.NodeInfo, error) {
	ctx, cancel := context.WithTimeout(ctx, askLimit)
	defer cancel()
	n.conn.ResetConnectBackoff()
	return api.NewPeersClient(n.conn).Info(ctx, &api.InfoRequest{Hash: hash})
}

// leader is the node that leads, as a majority of its members says; nil when none
// does.
func (c *cluster) leader(ctx context.Context) *node {
	members := c.members()
	votes := map[string]int{}
	var wg sync.WaitGroup
	var mu sync.Mutex
	for _, n := range members {
		if n.proc == nil || n.proc.over() {
			continue
		}
		wg.Go(func() {
			if i, err := c.info(ctx, n, false); err == nil && i.Leader != "" {
				mu.Lock()
				votes[i.Leader]++
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	for _, n := range members {
		if 2*votes[n.id] > len(members) {
			return n
		}
	}
	return nil
}

// follower is a random node that does not lead.
func (c *cluster) follower(ctx context.Context, pick func(n int) int) (*node, error) {
	l := c.leader(ctx)
	if l == nil {
		return nil, errors.New("nobody leads")
	}
	others := slices.DeleteFunc(c.live(), func(n *node) bool { return n == l })
	if len(others) == 0 {
		return nil, errors.New("there is no follower")
	}
	return others[pick(len(others))], nil
}

// status asks a node for that of the cluster.
func (c *cluster) status(ctx context.Context, n *node) (*api.Status, error) {
	ask, cancel := context.WithTimeout(ctx, 2*askLimit)
	defer cancel()
	r, err := api.NewFarmClient(n.conn).One(ask, &api.Call{Op: &api.Call_Status{Status: &api.GetStatus{}}})
	if err != nil {
		return nil, err
	}
	if r.GetError() != nil {
		return nil, errors.New(r.GetError().Message)
	}
	return r.GetStatus(), nil
}

// unhealthy says why the cluster is not whole: all nodes up, voting, and of one
// mind about members and leader, and all workers ready.
func (c *cluster) unhealthy(ctx context.Context) error {
	l := c.leader(ctx)
	if l == nil {
		return errors.New("nobody leads")
	}
	members := c.members()
	s, err := c.status(ctx, l)
	if err != nil {
		return fmt.Errorf("%s, the leader: %w", l.id, err)
	}
	ready, named := map[string]bool{}, map[string]bool{} // by node, by name
	for _, w := range s.Workers {
		ready[w.Node] = w.State == "ready"
		named[w.Id] = w.State == "ready"
	}
	there := map[string]*api.NodeInfo{}
	for _, n := range s.Nodes {
		there[n.Id] = n
	}
	for _, n := range members {
		switch i := there[n.id]; {
		case i == nil:
			return fmt.Errorf("%s is no member", n.id)
		case !i.Reachable || i.Leader != l.id:
			return fmt.Errorf("%s is not reached, or follows %q", n.id, i.Leader)
		case !i.Voter:
			return fmt.Errorf("%s does not vote yet", n.id)
		case !ready[n.id]:
			return fmt.Errorf("the worker of %s is not ready", n.id)
		case i.Applied+1000 < s.Nodes[0].Applied:
			return fmt.Errorf("%s is at entry %d", n.id, i.Applied)
		}
	}
	for i := range c.opt.workers {
		if !named[workerName(i)] {
			return fmt.Errorf("%s is not ready", workerName(i))
		}
	}
	if len(s.Nodes) != len(members) {
		return fmt.Errorf("the cluster has %d members, not %d", len(s.Nodes), len(members))
	}
	return nil
}

// awaitHealthy waits until the cluster is whole. A node that has ended by itself is
// an error at once.
func (c *cluster) awaitHealthy(ctx context.Context) error {
	limited, cancel := context.WithTimeout(ctx, healthLimit)
	defer cancel()
	var last error
	err := poll(limited, func() (bool, error) {
		for _, n := range c.members() {
			if n.proc != nil && n.proc.over() {
				return false, fmt.Errorf("node %s ended: %s", n.id, c.ending(n))
			}
		}
		last = c.unhealthy(limited)
		return last == nil, nil
	})
	if err != nil && last != nil && ctx.Err() == nil && limited.Err() != nil {
		return fmt.Errorf("the cluster did not become whole within %v: %w", healthLimit, last)
	}
	return err
}

// ending says how a node's process ended, with the end of its log.
func (c *cluster) ending(n *node) string {
	code, sig := n.proc.how()
	text := fmt.Sprintf("exit code %d", code)
	if code < 0 {
		text = "signal " + sig.String()
	}
	return text + c.tail(n)
}

// tail is the end of a node's log.
func (c *cluster) tail(n *node) string {
	b, err := os.ReadFile(c.logPath(n))
	if err != nil {
		return ""
	}
	lines := strings.Split(strings.TrimRight(string(b[max(0, len(b)-4096):]), "\n"), "\n")
	return "\n  " + strings.Join(lines[max(0, len(lines)-6):], "\n  ")
}

// logged tells whether a node has logged text since its log had from bytes.
func (c *cluster) logged(n *node, from int64, text string) bool {
	b, err := os.ReadFile(c.logPath(n))
	return err == nil && int64(len(b)) >= from && strings.Contains(string(b[from:]), text)
}

func (c *cluster) logSize(n *node) int64 {
	st, err := os.Stat(c.logPath(n))
	if err != nil {
		return 0
	}
	return st.Size()
}

// awaitExit waits for the end of a node that was not told to end.
func (c *cluster) awaitExit(ctx context.Context, n *node, limit time.Duration) (code int, sig syscall.Signal, err error) {
	select {
	case <-n.proc.exited:
		code, sig = n.proc.how()
		return code, sig, nil
	case <-time.After(limit):
		return 0, 0, fmt.Errorf("%s did not end within %v", n.id, limit)
	case <-ctx.Done():
		return 0, 0, context.Cause(ctx)
	}
}

// removeMember takes a node out of the cluster.
func (c *cluster) removeMember(ctx context.Context, n *node) error {
	err := poll(ctx, func() (bool, error) {
		l := c.leader(ctx)
		if l == nil {
			return false, nil
		}
		ask, cancel := context.WithTimeout(ctx, 5*askLimit)
		defer cancel()
		r, err := api.NewPeersClient(l.conn).Remove(ask, &api.RemoveRequest{Id: n.id})
		return err == nil && r.Error == nil, nil
	})
	if err != nil {
		return fmt.Errorf("remove %s: %w", n.id, err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.nodes = slices.DeleteFunc(c.nodes, func(x *node) bool { return x == n })
	return nil
}

// addMember starts an empty node that joins.
func (c *cluster) addMember() (*node, error) {
	n, err := c.newNode()
	if err != nil {
		return nil, err
	}
	return n, c.startMember(n)
}

// startMember starts a new node, which joins.
func (c *cluster) startMember(n *node) error {
	err := c.spawn(n)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.nodes = append(c.nodes, n)
	return err
}

// stop ends everything.
func (c *cluster) stop() error {
	var wg sync.WaitGroup
	c.mu.Lock()
	workers := slices.Clone(c.workers)
	c.mu.Unlock()
	for _, p := range workers { // they serve until they are told, and are no part of what is checked at rest
		if err := p.end(syscall.SIGKILL, stopLimit); err != nil {
			return err
		}
	}
	members := c.members()
	errs := make([]error, len(members))
	for i, n := range members {
		wg.Go(func() {
			if n.proc != nil {
				errs[i] = errors.Join(n.proc.signal(syscall.SIGCONT), n.proc.end(syscall.SIGTERM, stopLimit))
			}
			n.conn.Close()
		})
	}
	wg.Wait()
	c.net.close()
	return errors.Join(errs...)
}

// unmount gives file systems back. The data of that node is gone with it.
func (c *cluster) unmount() {
	for _, n := range c.members() {
		if n.full {
			_ = unix.Unmount(n.dir, unix.MNT_DETACH)
		}
	}
}

// poll calls done until it says so, or fails, or ctx ends.
func poll(ctx context.Context, done func() (bool, error)) error {
	for {
		if ok, err := done(); ok || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(pollEvery):
		}
	}
}

// rest lasts as long as a fault is to last.
func rest(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
