package consensus

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/raft"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds every wait of the tests.
const patience = 20 * time.Second

var errCut = errors.New("the test cut this link")

// toy is a counter that remembers the requests it has seen. It lives in memory: at a
// restart the whole log is applied again.
type toy struct {
	mu      sync.Mutex
	total   uint64
	seen    map[uint64]toyResult
	history []uint64      // request ids, in order, repetitions left out
	again   int           // repetitions
	gate    chan struct{} // if set, ApplyBatch waits for it
	asked   atomic.Int64  // calls of ApplyBatch
}

// toyResult names the request it answers, so that a mix-up shows.
type toyResult struct{ ID, Total uint64 }

const toyCommandSize = 16

func toyCommand(id, add uint64) []byte {
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, id), add)
}

func toyEntry(now int64, n int, body []byte) []byte {
	b := binary.BigEndian.AppendUint64(nil, uint64(now))
	b = binary.BigEndian.AppendUint32(b, uint32(n))
	return append(b, body...)
}

func toyResults(response any) []Result {
	r, _ := response.([]Result)
	return r
}

func (f *toy) Apply(l *raft.Log) any { return f.ApplyBatch([]*raft.Log{l})[0] }

func (f *toy) ApplyBatch(logs []*raft.Log) []any {
	f.mu.Lock()
	gate := f.gate
	f.mu.Unlock()
	f.asked.Add(1)
	if gate != nil {
		<-gate
	}
	out := make([]any, len(logs))
	f.mu.Lock()
	for i, l := range logs {
		if l.Type == raft.LogCommand {
			out[i] = f.applyEntry(l.Data)
		}
	}
	f.mu.Unlock()
	return out
}

func (f *toy) applyEntry(b []byte) []Result {
	n := int(binary.BigEndian.Uint32(b[8:]))
	results := make([]Result, n)
	for i := range n {
		c := b[12+i*toyCommandSize:]
		id, add := binary.BigEndian.Uint64(c), binary.BigEndian.Uint64(c[8:])
		r, repeated := f.seen[id]
		if repeated {
			f.again++
		} else {
			f.total += add
			r = toyResult{id, f.total}
			f.seen[id] = r
			f.history = append(f.history, id)
		}
		results[i] = r
	}
	return results
}

func (f *toy) Snapshot() (raft.FSMSnapshot, error) { return nil, errors.New("the toy has none") }
func (f *toy) Restore(io.ReadCloser) error         { return errors.New("the toy has none") }

func (f *toy) read() (total uint64, history []uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.total, slices.Clone(f.history)
}

func (f *toy) hold() (release func()) {
	gate := make(chan struct{})
	f.mu.Lock()
	f.gate = gate
	f.mu.Unlock()
	return sync.OnceFunc(func() {
		f.mu.Lock()
		f.gate = nil
		f.mu.Unlock()
		close(gate)
	})
}

// network decides which node's messages reach which.
type network struct {
	mu  sync.Mutex
	cut map[raft.ServerID]bool // cut off from everybody
}

func (n *network) isolate(id string, cut bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.cut[raft.ServerID(id)] = cut
}

func (n *network) open(from, to raft.ServerID) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return !n.cut[from] && !n.cut[to]
}

// link is one node's transport, as the network allows. It passes one message at a
// time, without pipelines, when plain.
type link struct {
	transport
	net   *network
	self  raft.ServerID
	plain bool

	mu   sync.Mutex
	hold chan struct{} // answers wait for it
	held int           // answers that wait
}

func (l *link) AppendEntries(id raft.ServerID, to raft.ServerAddress, req *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse) error {
	l.mu.Lock()
	hold := l.hold
	l.mu.Unlock()
	if !l.net.open(l.self, id) {
		return errCut
	}
	err := l.transport.AppendEntries(id, to, req, resp)
	if hold != nil && err == nil && resp.Success {
		l.mu.Lock()
		l.held++
		l.mu.Unlock()
		<-hold // the answer is on its way
	}
	return err
}

func (l *link) AppendEntriesPipeline(id raft.ServerID, to raft.ServerAddress) (raft.AppendPipeline, error) {
	if l.plain {
		return nil, raft.ErrPipelineReplicationNotSupported
	}
	if !l.net.open(l.self, id) {
		return nil, errCut
	}
	p, err := l.transport.AppendEntriesPipeline(id, to)
	if err != nil {
		return nil, err
	}
	return pipe{p, l, id}, nil
}

type pipe struct {
	raft.AppendPipeline
	l  *link
	id raft.ServerID
}

func (p pipe) AppendEntries(req *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse) (raft.AppendFuture, error) {
	if !p.l.net.open(p.l.self, p.id) {
		return nil, errCut
	}
	return p.AppendPipeline.AppendEntries(req, resp)
}

func (l *link) RequestVote(id raft.ServerID, to raft.ServerAddress, req *raft.RequestVoteRequest, resp *raft.RequestVoteResponse) error {
	if !l.net.open(l.self, id) {
		return errCut
	}
	return l.transport.RequestVote(id, to, req, resp)
}

func (l *link) RequestPreVote(id raft.ServerID, to raft.ServerAddress, req *raft.RequestPreVoteRequest, resp *raft.RequestPreVoteResponse) error {
	if !l.net.open(l.self, id) {
		return errCut
	}
	return l.transport.RequestPreVote(id, to, req, resp)
}

func (l *link) TimeoutNow(id raft.ServerID, to raft.ServerAddress, req *raft.TimeoutNowRequest, resp *raft.TimeoutNowResponse) error {
	if !l.net.open(l.self, id) {
		return errCut
	}
	return l.transport.TimeoutNow(id, to, req, resp)
}

// member is one node of a test cluster.
type member struct {
	*Raft
	config Config
	toy    *toy
	link   *link
}

type cluster struct {
	t       testing.TB
	net     *network
	members []*member
}

// newCluster starts n nodes and bootstraps them. change may alter each one's Config.
func newCluster(t testing.TB, n int, change func(i int, c *Config)) *cluster {
	t.Helper()
	c := &cluster{t: t, net: &network{cut: map[raft.ServerID]bool{}}}
	t.Cleanup(c.stop)
	for i := range n {
		c.add(i, change)
	}
	var servers []Server
	for _, m := range c.members {
		servers = append(servers, Server{ID: m.config.ID, Address: m.Address()})
	}
	for _, m := range c.members { // all, so that each knows the others without a leader
		if err := m.Bootstrap(servers); err != nil {
			t.Fatal(err)
		}
	}
	c.elect(c.members[0])
	return c
}

// elect makes one of the candidates the leader at once, as if it had been handed
// leadership: elections need no timeout, so the timeouts can be long enough for a
// busy machine. Not every candidate can win: one may lack entries that another has.
func (c *cluster) elect(candidates ...*member) *member {
	c.t.Helper()
	try := 0
	var won *member
	eventually(c.t, "a candidate to lead", func() bool {
		m := candidates[try%len(candidates)]
		try++
		now := &raft.TimeoutNowRequest{RPCHeader: raft.RPCHeader{ProtocolVersion: raft.ProtocolVersionMax}}
		if !leads(m) {
			_ = m.link.transport.TimeoutNow(raft.ServerID(m.config.ID), raft.ServerAddress(m.Address()), now, &raft.TimeoutNowResponse{})
		}
		for range 200 { // let it collect the votes, and apply
			if _, ok := m.IsLeader(); ok {
				won = m
				return true
			}
			time.Sleep(time.Millisecond)
		}
		return false
	})
	return won
}

// replace isolates the leader and makes another member lead.
func (c *cluster) replace(l *member) *member {
	c.t.Helper()
	c.net.isolate(l.config.ID, true)
	return c.elect(c.others(l)...)
}

// add makes one more node, which belongs to no cluster yet.
func (c *cluster) add(i int, change func(i int, c *Config)) *member {
	c.t.Helper()
	m := &member{config: testConfig(c.t, fmt.Sprintf("n%d", i))}
	if change != nil {
		change(i, &m.config)
	}
	c.start(m)
	c.members = append(c.members, m)
	return m
}

func testConfig(t testing.TB, id string) Config {
	return Config{
		ID: id, Dir: filepath.Join(t.TempDir(), id), Bind: "127.0.0.1:0", Instance: rand.Text(),
		NewEntry: toyEntry, Results: toyResults, Snapshots: raft.NewDiscardSnapshotStore(),
		HeartbeatTimeout: 2 * time.Second, ElectionTimeout: 2 * time.Second,
		LeaderLeaseTimeout: time.Second, CommitTimeout: 20 * time.Millisecond,
		Fatal:  func(err error) { t.Errorf("%s: fatal: %v", id, err) },
		Logger: testLogger(),
	}
}

func testLogger() *slog.Logger {
	if os.Getenv("CONSENSUS_TEST_LOG") != "" {
		return slog.New(slog.NewTextHandler(os.Stderr, nil))
	}
	return slog.New(slog.DiscardHandler)
}

// start runs the member, a second time with what it has on disk.
func (c *cluster) start(m *member) {
	c.t.Helper()
	m.toy = &toy{seen: map[uint64]toyResult{}}
	config := m.config
	config.FSM = m.toy
	config.hooks.transport = func(t transport) transport {
		m.link = &link{transport: t, net: c.net, self: raft.ServerID(m.config.ID), plain: m.link != nil && m.link.plain}
		return m.link
	}
	r, err := Start(config)
	if err != nil {
		c.t.Fatal(err)
	}
	m.Raft = r
	m.config.Bind, _, _ = SplitAddress(r.Address()) // the same port again at a restart
}

// stop stops the followers first: a leader left behind has nobody to hand over to,
// and need not wait for anybody.
func (c *cluster) stop() {
	for _, leading := range []bool{false, true} {
		for _, m := range c.members {
			if leads(m) && !leading {
				continue
			}
			if err := m.Shutdown(); err != nil {
				c.t.Errorf("stopping %s: %v", m.config.ID, err)
			}
		}
	}
}

// leader waits for a leader among the members that are not in except.
func (c *cluster) leader(except ...*member) *member {
	c.t.Helper()
	var found *member
	eventually(c.t, "a leader", func() bool {
		for _, m := range c.members {
			if _, ok := m.IsLeader(); ok && !slices.Contains(except, m) {
				found = m
				return true
			}
		}
		return false
	})
	return found
}

func (c *cluster) others(m *member) []*member {
	return slices.DeleteFunc(slices.Clone(c.members), func(o *member) bool { return o == m })
}

// agree waits until all members have the same history of n requests.
func (c *cluster) agree(n int) {
	c.t.Helper()
	eventually(c.t, fmt.Sprintf("all members to have the same %d requests", n), func() bool {
		_, first := c.members[0].toy.read()
		for _, m := range c.members {
			if _, h := m.toy.read(); !slices.Equal(h, first) {
				return false
			}
		}
		return len(first) == n
	})
}

// propose tries every member until one takes the request, with the same id always.
func (c *cluster) propose(id, add uint64) toyResult {
	c.t.Helper()
	var got toyResult
	eventually(c.t, fmt.Sprintf("request %d", id), func() bool {
		for _, m := range c.members {
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			r, err := m.Propose(ctx, toyCommand(id, add))
			cancel()
			if err == nil {
				got = r.(toyResult)
				return true
			}
		}
		return false
	})
	return got
}

// eventually polls until the condition holds.
func eventually(t testing.TB, what string, condition func() bool) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for !condition() {
		if time.Now().After(deadline) {
			t.Fatalf("waited %v for %s", patience, what)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

func withTimeout(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// stores runs a test on both kinds of log store.
func stores(t *testing.T, test func(t *testing.T, kind string)) {
	for _, kind := range []string{LogStoreWAL, LogStoreBoltDB} {
		t.Run(kind, func(t *testing.T) { test(t, kind) })
	}
}
