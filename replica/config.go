package replica

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"runtime"
	"time"

	"farm/fsm"
	"farm/internal/label"
	"farm/scheduler"
)

// Limits of a node. A request past one is refused with the limit's name; none
// of them loses what was acknowledged.
const (
	MaxCallsPerStream = 16_384          // calls of one client stream not yet answered
	MaxHeld           = 32_768          // calls waiting for a leader
	HoldTime          = 3 * time.Second // how long a call waits for a leader before it is sent elsewhere: longer than an election
	MaxConnections    = 10_000          // open connections of the API; more wait to be accepted
	MaxStreams        = 1_000           // streams of one connection
	MaxWatchers       = 10_000          // watches on a node
	MaxReplyBytes     = 4 << 20         // values in one list
	MaxStoredBytes    = 6 << 20         // keys and values of a namespace that is read as a whole
	MaxListed         = 1_000           // tasks in one list
	MaxNamespacesList = 10_000          // namespaces in one list
	MaxLiveOutput     = 64 << 10        // bytes of a running task's output kept for late watchers
	ConnectionIdle    = 10 * time.Minute
)

// Leases. A worker is given up when nothing was heard of it for LeaseTime, or
// when its stream broke and it did not come back within Grace.
const (
	LeaseTime = 3 * time.Second
	BeatTime  = 500 * time.Millisecond
	Grace     = time.Second
)

// Config is what a node is started with. The same configuration serves for the
// first start, a restart and joining.
type Config struct {
	Data            string   // folder of the node, made when missing
	Listen          string   // address of the API, host:port; port 0 picks one
	Raft            string   // address of raft, host:port; port 0 picks one
	Advertise       string   // where others reach the API; empty: where it listens
	AdvertiseRaft   string   // where others reach raft; empty: where it listens
	ID              string   // of the node; empty: the one in Data, or a new one
	Join            []string // API addresses of nodes of the cluster, this one may be among them
	BootstrapExpect int      // nodes that start a new cluster together; 0: 1 without Join
	Slots           int      // attempts the node's worker runs at a time; 0: the number of CPUs
	// Labels of the node's worker: tasks that need one are given only to workers
	// that have it. See package label for what they may be.
	Labels   map[string]string
	LogStore string // wal or boltdb; empty: the one in Data, or wal
	// A snapshot is taken when SnapshotEntries entries, 0: 8192, were added to the
	// log since the last, looked at every SnapshotEvery, 0: 20 s. Then the log is
	// cut, but for its newest 10,240 entries.
	SnapshotEntries int
	SnapshotEvery   time.Duration
	// Heartbeat is how long a leader may be silent before others elect one, 0: 700 ms.
	// All nodes of a cluster have the same; less is for those that share a process.
	Heartbeat time.Duration
	Logger    *slog.Logger
	Version   string // of the build, shown in the status
}

// Errors of Start.
var (
	// ErrDataInUse is returned when another process uses the data folder.
	ErrDataInUse = errors.New("the data folder is in use by another process")
	// ErrNodeID is returned when the id asked for is not the one in the data folder.
	ErrNodeID = errors.New("the data folder belongs to another node")
	// ErrConfig is returned when the configuration contradicts itself.
	ErrConfig = errors.New("configuration")
	// ErrNewerFormat is returned when the data folder was written by a newer farm.
	ErrNewerFormat = fsm.ErrNewerFormat
	// ErrJoin is returned when no node of Join took this one in.
	ErrJoin = errors.New("could not join the cluster")
)

// Validate fills in defaults and says what cannot be meant.
func (c *Config) Validate() error {
	bad := func(format string, args ...any) error {
		return fmt.Errorf("%w: %s", ErrConfig, fmt.Sprintf(format, args...))
	}
	if c.Data == "" {
		return bad("a data folder is needed")
	}
	for _, a := range []*string{&c.Listen, &c.Raft} {
		if *a == "" {
			*a = "127.0.0.1:0"
		}
		if _, _, err := net.SplitHostPort(*a); err != nil {
			return bad("%q is not host:port", *a)
		}
	}
	for _, a := range []string{c.Advertise, c.AdvertiseRaft} {
		if host, port, err := net.SplitHostPort(a); a != "" && (err != nil || host == "" || port == "0") {
			return bad("to advertise: %q is not host:port", a)
		}
	}
	if c.Heartbeat < 0 {
		return bad("a heartbeat of %v", c.Heartbeat)
	}
	if c.SnapshotEntries < 0 || c.SnapshotEvery < 0 {
		return bad("snapshots are taken after some entries and some time, not %d and %v", c.SnapshotEntries, c.SnapshotEvery)
	}
	if c.ID != "" && !scheduler.ValidName(c.ID) {
		return bad("%q cannot be a node's id", c.ID)
	}
	for _, a := range c.Join {
		if _, _, err := net.SplitHostPort(a); err != nil {
			return bad("to join: %q is not host:port", a)
		}
	}
	if c.BootstrapExpect < 0 || c.BootstrapExpect > 9 {
		return bad("a cluster is started by 1 to 9 nodes, not %d", c.BootstrapExpect)
	}
	if c.BootstrapExpect > 1 && len(c.Join) == 0 {
		return bad("to start a cluster of %d nodes each must be told to join the others", c.BootstrapExpect)
	}
	if c.BootstrapExpect == 0 && len(c.Join) == 0 {
		c.BootstrapExpect = 1
	}
	if c.Slots < 0 || c.Slots > scheduler.MaxSlots {
		return bad("a worker has 1 to %d slots, not %d", scheduler.MaxSlots, c.Slots)
	}
	if c.Slots == 0 {
		c.Slots = runtime.NumCPU()
	}
	for k, v := range c.Labels {
		if err := label.Check(k, v); err != nil {
			return bad("%v", err)
		}
	}
	if len(c.Labels) > scheduler.MaxHas {
		return bad("a node has at most %d labels, not %d", scheduler.MaxHas, len(c.Labels))
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return nil
}
