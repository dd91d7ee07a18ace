package consensus

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strings"
	"time"

	"github.com/hashicorp/raft"

	"farm/internal/clock"
)

// Result is the answer of the state machine to one command.
type Result = any

// Limits that are not configuration.
const (
	// MinTrailingLogs is the fewest entries kept behind a snapshot. With fewer, a
	// snapshot can be installed behind a follower's log, which livelocks raft.
	MinTrailingLogs = 10240

	// StallLimit is how long one write to the log or stable store may take. raft
	// holds no election while a leader's disk hangs, so the process must end.
	StallLimit = 5 * time.Second

	// ShutdownLimit is how long Shutdown waits for what is in flight, and again for
	// raft's goroutines.
	ShutdownLimit = 10 * time.Second

	// exitCode is the status of a process ended by the default Fatal.
	exitCode = 71
)

// The kinds of log store.
const (
	LogStoreWAL    = "wal"    // hashicorp/raft-wal: append-only segments
	LogStoreBoltDB = "boltdb" // hashicorp/raft-boltdb: one bbolt file
)

// Config says how a node takes part. Start copies it. Fields left zero take the
// default named beside them.
type Config struct {
	ID  string // this node's name in the configuration, for ever
	Dir string // the log, the vote and the term live here; made if missing

	// Bind is the host:port to listen on for raft; port 0 takes any.
	Bind string
	// Address is what peers are told to dial. Default: the address bound, which
	// must then be a specific one.
	Address string
	// API is put behind Address and a '|': where this node's clients call it. It lets
	// port 0 be bound and the API's address ride along.
	API string
	// Instance tells this node from every other that ever was, also from one of the
	// same ID in another cluster: a random number made with Dir. It is put behind API
	// and a '|'. Connections that name another are refused. Empty, for tests, any
	// connection is taken.
	Instance string

	// FSM is applied to; LogConfiguration entries reach its ApplyBatch too, as raft
	// does with a batching state machine. It must skip entries it has already: its
	// state may be ahead of its newest snapshot, never behind, since snapshots are
	// not restored at start.
	FSM       raft.BatchingFSM
	Snapshots raft.SnapshotStore

	// NewEntry makes a log entry of n commands, whose encodings are concatenated in
	// body. It must copy body. Called on one goroutine.
	NewEntry func(now int64, n int, body []byte) []byte
	// Results splits what ApplyBatch answered for one entry: one Result a command,
	// in the order of the body. Called on one goroutine.
	Results func(response any) []Result
	// Now is the wall clock of NewEntry, in nanoseconds since 1970. Default: clock.Now.
	Now func() int64

	// LogStore is LogStoreWAL or LogStoreBoltDB. Default: what Dir holds, else
	// LogStoreWAL. It is written down in Dir and cannot change.
	LogStore string

	// Shorter ones find a dead leader sooner, and take a slow disk for one.
	HeartbeatTimeout   time.Duration // 700ms
	ElectionTimeout    time.Duration // 700ms
	LeaderLeaseTimeout time.Duration // 400ms
	CommitTimeout      time.Duration // 50ms
	SnapshotThreshold  uint64        // entries since the last snapshot: 8192
	SnapshotInterval   time.Duration // 20s
	TrailingLogs       uint64        // MinTrailingLogs, and never fewer

	MaxInFlight     int // entries in flight: 2
	MaxEntryBytes   int // of commands in one entry: 512 KiB
	MaxWaiting      int // commands not yet handed to raft: 65536
	MaxWaitingBytes int // of commands not yet handed to raft: 64 MiB

	// Fatal is called once, with the reason, when the node must not go on: an error
	// or a stall of the log's disk, corruption, a state machine that does not
	// answer. It should not return; if it does, every later write fails. Default:
	// log and exit with status 71.
	Fatal func(error)
	// Logger takes raft's messages and this package's. Default: slog.Default().
	Logger *slog.Logger
	// LogLevel is the least level of raft's own messages. Default: slog.LevelWarn.
	LogLevel slog.Leveler

	hooks hooks
}

// hooks let the tests of this package stand between raft and its surroundings.
type hooks struct {
	transport  func(transport) transport
	store      func(store) store
	stallLimit time.Duration
}

// Server is one member of the cluster.
type Server struct {
	ID      string
	Address string // as given to Bootstrap or Add: see JoinAddress
	Voter   bool   // ignored by Bootstrap: all are voters there
}

// Change is a change of this node's leadership.
type Change struct {
	// Leader is true once an entry of Term has been applied here: the state machine
	// then holds everything committed before.
	Leader bool
	Term   uint64 // the term won, or the term in which leadership was lost
}

// Stats are counters and indexes for people; they are not read at one instant.
type Stats struct {
	State             string // what Role says
	Term              uint64
	LastLogIndex      uint64
	CommitIndex       uint64
	AppliedIndex      uint64 // of the state machine, commands and configurations
	LastSnapshotIndex uint64
	Entries           uint64 // proposed by this process
	Commands          uint64 // in those entries
	Waiting           int    // commands not yet handed to raft
	WaitingBytes      int
	ReadRounds        uint64 // rounds of heartbeats for reads
	LogStore          string
}

func def[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

func (c Config) withDefaults() Config {
	def(&c.HeartbeatTimeout, 700*time.Millisecond)
	def(&c.ElectionTimeout, 700*time.Millisecond)
	def(&c.LeaderLeaseTimeout, 400*time.Millisecond)
	def(&c.CommitTimeout, 50*time.Millisecond)
	def(&c.SnapshotThreshold, 8192)
	def(&c.SnapshotInterval, 20*time.Second)
	def(&c.TrailingLogs, MinTrailingLogs)
	def(&c.MaxInFlight, 2)
	def(&c.MaxEntryBytes, 512<<10)
	def(&c.MaxWaiting, 1<<16)
	def(&c.MaxWaitingBytes, 64<<20)
	def(&c.Logger, slog.Default())
	def(&c.hooks.stallLimit, StallLimit)
	if c.LogLevel == nil {
		c.LogLevel = slog.LevelWarn
	}
	if c.Now == nil {
		c.Now = clock.Now
	}
	if c.Fatal == nil {
		log := c.Logger
		c.Fatal = func(err error) {
			log.Error("this node cannot go on", "error", err)
			os.Exit(exitCode)
		}
	}
	return c
}

// Validate says what is missing or out of range, all of it.
func (c Config) Validate() error {
	c = c.withDefaults()
	var errs []error
	need := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf("consensus: "+format, args...))
		}
	}
	need(c.ID != "", "Config.ID is empty")
	need(c.Dir != "", "Config.Dir is empty")
	need(c.FSM != nil, "Config.FSM is nil")
	need(c.Snapshots != nil, "Config.Snapshots is nil")
	need(c.NewEntry != nil, "Config.NewEntry is nil")
	need(c.Results != nil, "Config.Results is nil")
	need(c.LogStore == "" || c.LogStore == LogStoreWAL || c.LogStore == LogStoreBoltDB,
		"Config.LogStore is %q, not %q or %q", c.LogStore, LogStoreWAL, LogStoreBoltDB)
	need(c.TrailingLogs >= MinTrailingLogs, "Config.TrailingLogs is %d, fewer than %d: a snapshot could be installed behind a follower's log", c.TrailingLogs, MinTrailingLogs)
	need(c.MaxInFlight > 0, "Config.MaxInFlight is %d", c.MaxInFlight)
	need(c.MaxEntryBytes > 0 && c.MaxEntryBytes <= maxStoredEntry/2, "Config.MaxEntryBytes is %d, not within 1 and %d", c.MaxEntryBytes, maxStoredEntry/2)
	need(c.MaxWaiting > 0, "Config.MaxWaiting is %d", c.MaxWaiting)
	need(c.MaxWaitingBytes >= c.MaxEntryBytes, "Config.MaxWaitingBytes is %d, less than MaxEntryBytes, %d", c.MaxWaitingBytes, c.MaxEntryBytes)
	if _, _, err := net.SplitHostPort(c.Bind); err != nil {
		need(false, "Config.Bind: %v", err)
	}
	if c.Address != "" {
		_, _, err := net.SplitHostPort(c.Address)
		need(err == nil, "Config.Address: %v", err)
	}
	need(!strings.Contains(c.Address+c.API+c.Instance, "|"), "Config.Address, API or Instance has a '|'")
	need(len(c.Instance) <= maxInstance, "Config.Instance has %d bytes, at most %d", len(c.Instance), maxInstance)
	if err := raft.ValidateConfig(c.raft(nil)); err != nil {
		need(false, "%v", err)
	}
	return errors.Join(errs...)
}
