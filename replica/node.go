package replica

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/net/netutil"
	"golang.org/x/sync/semaphore"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/reflection"

	"farm/api"
	"farm/fsm"
	"farm/internal/clock"
	"farm/internal/label"
	"farm/replica/consensus"
	"farm/scheduler"
	"farm/worker"
)

// Node is one running node.
type Node struct {
	api.UnimplementedFarmServer
	api.UnimplementedWorkersServer
	api.UnimplementedPeersServer
	api.UnimplementedPartsServer

	cfg      Config
	log      *slog.Logger
	id       string
	instance string
	raftAddr string
	apiAddr  string
	lock     *os.File
	fsm      *fsm.Machine
	raft     *consensus.Raft
	listener net.Listener
	server   *grpc.Server
	health   *health.Server
	worker   *worker.Worker

	peers    peers
	waiters  waiters
	hub      *hub
	held     *held
	dispatch *dispatcher
	refused  atomic.Uint64 // late reports, since the process started
	// withdrawn are attempts that workers came back with and that were others' then.
	withdrawn atomic.Uint64
	stamps    stamps
	window    *semaphore.Weighted // bytes of parts on their way into the log
	large     *semaphore.Weighted // bytes of large values held for reads and changes

	ctx    context.Context // ends when the node stops
	cancel context.CancelFunc
	tasks  sync.WaitGroup // every goroutine of the node

	stopWorker context.CancelFunc
	workerDone chan struct{}
	stopOnce   sync.Once
	done       chan struct{}
	stopErr    error
}

// reconnect is how connections between nodes come back: quickly, since a node
// that restarts is back within a second.
var reconnect = grpc.ConnectParams{
	Backoff:           backoff.Config{BaseDelay: 50 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: time.Second},
	MinConnectTimeout: time.Second,
}

// Start starts a node and returns when it is a member of a cluster and takes
// calls; ctx bounds that wait and nothing later. Errors: ErrConfig, ErrDataInUse,
// ErrNodeID, ErrJoin, ErrNewerFormat, and those of the disk and network.
// From then on a failure of the disk ends the process.
func Start(ctx context.Context, cfg Config) (*Node, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	n := &Node{cfg: cfg, window: semaphore.NewWeighted(UploadWindow), large: semaphore.NewWeighted(BulkBytes), done: make(chan struct{}), workerDone: make(chan struct{})}
	n.hub = newHub(func(id string) (live bool) {
		n.fsm.View(func(s *scheduler.State) { live = s.IsLive(id) })
		return live
	})
	n.ctx, n.cancel = context.WithCancel(context.Background())
	n.peers.cluster = n.cluster
	n.held = &held{n: n, wake: make(chan struct{}, 1), back: make(chan struct{}, 1)}
	n.dispatch = newDispatcher(n)
	if err := n.start(ctx); err != nil {
		close(n.workerDone)
		return nil, errors.Join(err, n.Stop(context.WithoutCancel(ctx)))
	}
	return n, nil
}

func (n *Node) start(ctx context.Context) error {
	if err := n.openData(); err != nil {
		return err
	}
	if err := n.listen(); err != nil {
		return err
	}
	if err := n.openRaft(); err != nil {
		return err
	}
	n.tasks.Go(func() { n.held.run(n.ctx) })
	n.tasks.Go(func() { n.dispatch.run(n.ctx) })
	n.tasks.Go(n.followLeadership)
	n.tasks.Go(func() { n.agree(n.ctx) })
	n.tasks.Go(func() { n.promote(n.ctx) })
	n.serve()
	if err := n.enter(ctx); err != nil {
		return err
	}
	if err := n.settleIn(ctx); err != nil {
		return err
	}
	if err := n.startWorker(); err != nil {
		return err
	}
	n.health.SetServingStatus("", healthpb.HealthCheckResponse_SERVING)
	return nil
}

func (n *Node) openData() error {
	if err := os.MkdirAll(n.cfg.Data, 0o700); err != nil {
		return err
	}
	var err error
	if n.lock, err = lockDir(n.cfg.Data); err != nil {
		return err
	}
	me, err := loadIdentity(n.cfg.Data, n.cfg.ID)
	if err != nil {
		return err
	}
	n.id, n.instance = me.ID, me.Instance
	n.log = n.cfg.Logger.With("node", n.id)
	if n.fsm, err = fsm.Open(fsm.Options{Dir: n.cfg.Data, OnApply: n.applied, Logger: n.log}); err != nil {
		return err
	}
	n.fsm.View(func(s *scheduler.State) { n.stamps.saw(s.Clock) })
	return nil
}

func (n *Node) listen() error {
	var err error
	if n.listener, err = net.Listen("tcp", n.cfg.Listen); err != nil {
		return err
	}
	n.listener = netutil.LimitListener(n.listener, MaxConnections)
	n.apiAddr = n.cfg.Advertise
	if n.apiAddr == "" {
		n.apiAddr = n.listener.Addr().String()
	}
	for _, a := range []string{n.cfg.Listen, n.cfg.Raft} {
		host, _, _ := net.SplitHostPort(a)
		if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
			n.log.Warn("listening beyond this machine: whoever reaches this address can run code here", "address", a)
		}
	}
	return nil
}

// maxEntry is the size in bytes of a log entry. One command, such as the end of
// a task with the largest change and outcome that submits as much as it may, must
// fit.
const maxEntry = scheduler.MaxSubmitBytes + scheduler.MaxChangeBytes + scheduler.MaxOutcome + 128<<10

func (n *Node) openRaft() error {
	var err error
	n.raft, err = consensus.Start(consensus.Config{
		ID:        n.id,
		Dir:       filepath.Join(n.cfg.Data, "raft"),
		Bind:      n.cfg.Raft,
		Address:   n.cfg.AdvertiseRaft,
		API:       n.apiAddr,
		Instance:  n.instance,
		FSM:       n.fsm,
		Snapshots: n.fsm.Snapshots(),
		LogStore:  n.cfg.LogStore,
		Now:       n.stamps.now,

		SnapshotThreshold: uint64(n.cfg.SnapshotEntries),
		SnapshotInterval:  n.cfg.SnapshotEvery,

		HeartbeatTimeout:   n.cfg.Heartbeat,
		ElectionTimeout:    n.cfg.Heartbeat,
		LeaderLeaseTimeout: n.cfg.Heartbeat * 4 / 7,

		MaxEntryBytes: maxEntry,
		NewEntry:      fsm.NewEntry,
		Results:       results,
		Logger:        n.log,
	})
	if errors.Is(err, consensus.ErrLogStore) {
		return fmt.Errorf("%w: %w", ErrConfig, err)
	}
	if err != nil {
		return err
	}
	n.raftAddr, _, _ = consensus.SplitAddress(n.raft.Address())
	return nil
}

// results takes an entry's answer apart for those who proposed its commands.
func results(response any) []consensus.Result {
	r, _ := response.(*fsm.Response)
	if r == nil {
		return nil
	}
	out := make([]consensus.Result, len(r.Results))
	for i := range r.Results {
		out[i] = &r.Results[i]
	}
	return out
}

func (n *Node) serve() {
	n.server = grpc.NewServer(
		grpc.MaxRecvMsgSize(api.MaxMessage),
		grpc.MaxSendMsgSize(api.MaxWorkerMessage),
		grpc.MaxConcurrentStreams(MaxStreams),
		grpc.ChainUnaryInterceptor(n.meantUnary),
		grpc.ChainStreamInterceptor(n.meantStream),
		grpc.ConnectionTimeout(5*time.Second),
		grpc.KeepaliveParams(keepalive.ServerParameters{MaxConnectionIdle: ConnectionIdle, Time: 10 * time.Second, Timeout: 5 * time.Second}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 5 * time.Second, PermitWithoutStream: true}))
	api.RegisterFarmServer(n.server, n)
	api.RegisterWorkersServer(n.server, n)
	api.RegisterPeersServer(n.server, n)
	api.RegisterPartsServer(n.server, n)
	n.health = health.NewServer()
	n.health.SetServingStatus("", healthpb.HealthCheckResponse_NOT_SERVING)
	healthpb.RegisterHealthServer(n.server, n.health)
	reflection.Register(n.server)
	n.tasks.Go(func() {
		if err := n.server.Serve(n.listener); err != nil {
			n.log.Error("the API stopped", "error", err)
		}
	})
}

// settleIn waits until there is a leader and the cluster has its id.
func (n *Node) settleIn(ctx context.Context) error {
	for n.cluster() == "" {
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w: no leader was elected: %w", ErrJoin, ctx.Err())
		case <-time.After(20 * time.Millisecond):
		}
	}
	return nil
}

// followLeadership tells the dispatcher whether this node leads.
func (n *Node) followLeadership() {
	for {
		select {
		case <-n.ctx.Done():
			return
		case c := <-n.raft.Leadership():
			n.log.Info("leadership", "leads", c.Leader, "term", c.Term)
			n.dispatch.lead(c.Leader)
			if c.Leader && n.cluster() == "" {
				n.propose(&scheduler.Found{Cluster: "c-" + randomHex(8), Form: scheduler.FormNewest}, func(scheduler.Result, error) {})
			}
		}
	}
}

// startWorker runs the node's own worker, which takes its work from the
// leader as any other does.
func (n *Node) startWorker() error {
	incarnation := uint64(clock.Now())
	n.fsm.View(func(s *scheduler.State) {
		if w := s.Worker(n.id); w != nil && w.Incarnation >= incarnation {
			incarnation = w.Incarnation + 1 // the clock went back since
		}
	})
	var err error
	n.worker, err = worker.New(worker.Config{ID: n.id, Node: n.id, Incarnation: incarnation, Slots: n.cfg.Slots, Has: label.Things(n.cfg.Labels), Dial: n.dialLeader, Parts: partsOf{n}, Logger: n.log})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	n.stopWorker = cancel
	n.tasks.Go(func() {
		defer close(n.workerDone)
		if err := n.worker.Run(ctx); err != nil && ctx.Err() == nil {
			n.log.Error("the worker stopped", "error", err)
		}
	})
	return nil
}

func (n *Node) dialLeader(ctx context.Context) (worker.Stream, error) {
	addr := n.leaderAPI()
	if addr == "" {
		return nil, errors.New("there is no leader")
	}
	conn, err := n.peers.conn(addr)
	if err != nil {
		return nil, err
	}
	return api.NewWorkersClient(conn).Attach(ctx)
}

func (n *Node) leads() bool { return n.dispatch.leading.Load() }

// leaderAPI is where the leader takes calls, empty when it is not known.
func (n *Node) leaderAPI() string {
	_, addr, _ := n.raft.Leader()
	_, a, _ := consensus.SplitAddress(addr)
	return a
}

func (n *Node) cluster() (id string) {
	n.fsm.View(func(s *scheduler.State) { id = s.Cluster() })
	return id
}

// ID is the node's id.
func (n *Node) ID() string { return n.id }

// API is the address at which others reach the node with calls.
func (n *Node) API() string { return n.apiAddr }

// RaftAddr is the address at which other nodes reach raft.
func (n *Node) RaftAddr() string { return n.raftAddr }

// Done is closed when the node has stopped.
func (n *Node) Done() <-chan struct{} { return n.done }

// Err is why stopping was not clean, nil while the node runs.
func (n *Node) Err() error {
	select {
	case <-n.done:
		return n.stopErr
	default:
		return nil
	}
}

// Stop stops the node: no new work for its worker, leadership handed over,
// streams ended, disks closed, in that order. It may be called more than once
// and returns when all is done, or when ctx ends with the rest done abruptly.
func (n *Node) Stop(ctx context.Context) error {
	n.stopOnce.Do(func() {
		n.stopErr = n.stop(ctx)
		close(n.done)
	})
	<-n.done
	return n.stopErr
}

func (n *Node) stop(ctx context.Context) error {
	if n.health != nil {
		n.health.Shutdown()
	}
	if n.stopWorker != nil {
		n.stopWorker() // it gives back what it has not begun, while there is a leader to take it
	}
	select {
	case <-n.workerDone:
	case <-ctx.Done():
	}
	if n.raft != nil && n.leads() {
		if err := n.raft.Transfer(ctx); err != nil && !errors.Is(err, consensus.ErrNoPeer) {
			n.log.Warn("leadership was not handed over", "error", err)
		}
	}
	n.cancel()
	if n.server != nil {
		n.server.Stop()
	} else if n.listener != nil {
		n.listener.Close()
	}
	n.peers.close()
	var errs []error
	if n.raft != nil {
		errs = append(errs, n.raft.Shutdown())
	}
	n.tasks.Wait()
	if n.fsm != nil {
		errs = append(errs, n.fsm.Close())
	}
	if n.lock != nil {
		errs = append(errs, n.lock.Close())
	}
	return errors.Join(errs...)
}
