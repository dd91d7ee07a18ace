package chaos

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// client is the name of the harness's own clients among the ends of links.
const client = "client"

// link is one direction between two ends: nodes by id, or client.
type link struct{ from, to string }

// rule is what is wrong with a link. What is held back is delivered when the rule
// is gone, as a network delivers it by sending it again.
type rule struct {
	cut    bool          // nothing goes through
	refuse bool          // connections are closed, and new ones at once
	delay  time.Duration // of what is sent
	jitter time.Duration // random addition to it
	rate   int           // bytes a second, 0: as they come
	loss   float64       // part of the chunks that are sent again, after retransmit
	reset  float64       // part of the chunks that break the connection instead
}

const (
	retransmit = 200 * time.Millisecond
	chunkBytes = 32 << 10
	apiPort    = 7401
	raftPort   = 7400
	proxyFrom  = 100 // host number of the proxy before node 0
	maxHosts   = 90
)

// network is the proxies of a cluster and what is wrong with their links. Every
// node has loopback addresses of its own, and so has its proxy.
type network struct {
	prefix string // 127.A.B.
	owner  func(pid int) string
	pids   func() []int

	mu      sync.Mutex
	rules   map[link]rule
	changed chan struct{} // closed when rules change
	pipes   map[*pipe]bool
	closed  bool
	all     []net.Listener
	running sync.WaitGroup

	stalls, resets, held atomic.Int64
}

// newNetwork finds a free part of the loopback network.
func newNetwork(pids func() []int, owner func(int) string) (*network, error) {
	for range 100 {
		prefix := fmt.Sprintf("127.%d.%d.", 1+rand.N(250), rand.N(250))
		l, err := net.Listen("tcp", prefix+"99:"+strconv.Itoa(apiPort)) // held until the end: it is the claim
		if err == nil {
			n := &network{prefix: prefix, owner: owner, pids: pids, rules: map[link]rule{}, changed: make(chan struct{}), pipes: map[*pipe]bool{}}
			n.all = append(n.all, l)
			return n, nil
		}
	}
	return nil, errors.New("there is no free loopback network")
}

func (n *network) bind(host, port int) string  { return fmt.Sprintf("%s%d:%d", n.prefix, host+1, port) }
func (n *network) front(host, port int) string { return n.bind(host+proxyFrom, port) }

// serve puts a proxy before a port of node to.
func (n *network) serve(to string, host, port int) error {
	l, err := net.Listen("tcp", n.front(host, port))
	if err != nil {
		return err
	}
	n.mu.Lock()
	n.all = append(n.all, l)
	n.mu.Unlock()
	target := n.bind(host, port)
	n.running.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			n.running.Go(func() { n.connect(c.(*net.TCPConn), to, target) })
		}
	})
	return nil
}

// set makes r the rule of links, and the zero rule takes it away.
func (n *network) set(r rule, links ...link) {
	n.mu.Lock()
	for _, l := range links {
		if n.rules[l] = r; r == (rule{}) {
			delete(n.rules, l)
		}
	}
	if r.refuse {
		for p := range n.pipes {
			for _, l := range links {
				if p.link == l {
					p.close()
				}
			}
		}
	}
	close(n.changed)
	n.changed = make(chan struct{})
	n.mu.Unlock()
}

// heal takes every rule away.
func (n *network) heal() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.rules = map[link]rule{}
	close(n.changed)
	n.changed = make(chan struct{})
}

func (n *network) rule(l link) (rule, <-chan struct{}) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.rules[l], n.changed
}

func (n *network) close() {
	n.mu.Lock()
	n.closed = true
	for _, l := range n.all {
		l.Close()
	}
	for p := range n.pipes {
		p.close()
	}
	close(n.changed)
	n.changed = make(chan struct{})
	n.rules = map[link]rule{}
	n.mu.Unlock()
	n.running.Wait()
}

// pipe is one connection through a proxy.
type pipe struct {
	link
	in, out net.Conn
	once    sync.Once
	gone    chan struct{}
}

func (p *pipe) close() {
	p.once.Do(func() {
		close(p.gone)
		p.in.Close()
		if p.out != nil {
			p.out.Close()
		}
	})
}

func (n *network) connect(in *net.TCPConn, to, target string) {
	p := &pipe{link: link{n.whose(in), to}, in: in, gone: make(chan struct{})}
	defer p.close()
	back := link{p.to, p.from}
	if !n.wait(p, p.link, 0) || !n.wait(p, back, 0) { // as the packets that open a connection
		return
	}
	out, err := net.DialTimeout("tcp", target, 2*time.Second)
	if err != nil {
		_ = in.SetLinger(0) // refused, and told so
		return
	}
	p.out = out
	n.mu.Lock()
	if n.closed {
		n.mu.Unlock()
		return
	}
	n.pipes[p] = true
	n.mu.Unlock()
	var both sync.WaitGroup
	both.Go(func() { n.copy(p, out, in, p.link) })
	both.Go(func() { n.copy(p, in, out, back) })
	both.Wait()
	n.mu.Lock()
	delete(n.pipes, p)
	n.mu.Unlock()
}

// copy carries one direction, until either end or the link breaks.
func (n *network) copy(p *pipe, to io.Writer, from io.Reader, l link) {
	defer p.close()
	b := make([]byte, chunkBytes)
	for {
		size, err := from.Read(b)
		if size > 0 {
			if !n.wait(p, l, size) {
				return
			}
			if _, err := to.Write(b[:size]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// wait holds a chunk for as long as the link's rule says; false when the
// connection is to be broken, or is.
func (n *network) wait(p *pipe, l link, size int) bool {
	r, changed := n.rule(l)
	for ; r.cut; r, changed = n.rule(l) {
		n.held.Add(1)
		select {
		case <-changed:
		case <-p.gone:
			return false
		}
	}
	if r.refuse {
		return false
	}
	d := r.delay
	if r.jitter > 0 {
		d += rand.N(r.jitter)
	}
	if r.rate > 0 {
		d += time.Duration(size) * time.Second / time.Duration(r.rate)
	}
	if size > 0 && rand.Float64() < r.loss {
		n.stalls.Add(1)
		d += retransmit
	}
	if size > 0 && rand.Float64() < r.reset {
		n.resets.Add(1)
		return false
	}
	if d == 0 {
		return true
	}
	select {
	case <-time.After(d):
		return true
	case <-p.gone:
		return false
	}
}

// whose finds who opened a connection to a proxy: the kernel says which socket is
// at its other end, and the nodes' open files whose that is.
func (n *network) whose(c *net.TCPConn) string {
	inode := socketInode(c.RemoteAddr().(*net.TCPAddr), c.LocalAddr().(*net.TCPAddr))
	if inode == "" {
		return client
	}
	want := "socket:[" + inode + "]"
	for _, pid := range n.pids() {
		files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
		for _, f := range files {
			if to, err := os.Readlink(f); err == nil && to == want {
				return n.owner(pid)
			}
		}
	}
	return client
}

// socketInode finds the socket that is bound to local and connected to remote.
func socketInode(local, remote *net.TCPAddr) string {
	b, err := os.ReadFile("/proc/net/tcp")
	if err != nil {
		return ""
	}
	hex := func(a *net.TCPAddr) string {
		return fmt.Sprintf("%08X:%04X", binary.NativeEndian.Uint32(a.IP.To4()), a.Port)
	}
	want := " " + hex(local) + " " + hex(remote) + " "
	for line := range strings.Lines(string(b)) {
		if i := strings.Index(line, want); i >= 0 {
			if f := strings.Fields(line); len(f) > 9 {
				return f[9]
			}
		}
	}
	return ""
}
