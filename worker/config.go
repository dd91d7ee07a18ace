package worker

import (
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"time"

	"farm/namespace"
)

// Defaults of Limits.
const (
	DefaultMemoryBytes  = 1 << 30                // bytes of memory of one child
	DefaultStackBytes   = 64 << 20               // bytes of stack of one goroutine of a child
	DefaultTimeout      = 10 * time.Minute       // of an attempt that names none
	DefaultOutputBytes  = 64 << 10               // bytes kept of each of stdout and stderr of an attempt
	DefaultGrace        = 500 * time.Millisecond // between asking a child to stop and killing it
	DefaultHandBack     = 100 * time.Millisecond // how long an attempt waits for a slot before it is given back
	DefaultDrainTimeout = 10 * time.Second       // how long running attempts may go on after Run's context ended
	DefaultCacheBytes   = 256 << 20              // bytes of namespaces kept
	// DefaultUnsettledBytes is for large answers of children that are held until the
	// leader has answered their reports; more wait in their children.
	DefaultUnsettledBytes = 512 << 20
	DefaultRecycleBytes   = 256 << 20        // resident bytes at which an idle child is replaced
	DefaultStartTimeout   = 30 * time.Second // for a child to say that it is ready
)

// Limits bounds what attempts may use. A zero field means its default.
type Limits struct {
	MemoryBytes  int64         // of one child; in a binary with cgo each of its threads takes 8 MiB of it
	StackBytes   int           // of one goroutine of a child
	Timeout      time.Duration // of an attempt that names none
	OutputBytes  int           // kept of each of stdout and stderr of an attempt
	Grace        time.Duration // between asking a child to stop and killing it
	HandBack     time.Duration // how long an attempt waits for a slot before it is given back
	DrainTimeout time.Duration // how long running attempts may go on after Run's context ended
	CacheBytes   int64         // of namespaces kept in memory
	RecycleBytes int64         // resident memory at which an idle child is replaced
	StartTimeout time.Duration // for a child to say that it is ready

	ValueBytes     int   // of one value, or several that share memory
	ChangeBytes    int64 // of what one attempt changes
	UnsettledBytes int64 // of large answers not yet settled
}

// childTitle is the argument by which people know a child in a list of
// processes. Child does not look at it.
const childTitle = "farm-context"

func orDefault[T int | int64 | time.Duration](p *T, d T) {
	if *p <= 0 {
		*p = d
	}
}

func (l Limits) withDefaults() Limits {
	orDefault(&l.MemoryBytes, DefaultMemoryBytes)
	orDefault(&l.StackBytes, DefaultStackBytes)
	orDefault(&l.Timeout, DefaultTimeout)
	orDefault(&l.OutputBytes, DefaultOutputBytes)
	orDefault(&l.Grace, DefaultGrace)
	orDefault(&l.HandBack, DefaultHandBack)
	orDefault(&l.DrainTimeout, DefaultDrainTimeout)
	orDefault(&l.CacheBytes, DefaultCacheBytes)
	orDefault(&l.RecycleBytes, DefaultRecycleBytes)
	orDefault(&l.StartTimeout, DefaultStartTimeout)
	orDefault(&l.ValueBytes, namespace.DefaultMaxValue)
	orDefault(&l.ChangeBytes, namespace.DefaultMaxDelta)
	orDefault(&l.UnsettledBytes, DefaultUnsettledBytes)
	l.ValueBytes = min(l.ValueBytes, namespace.MaxValueBytes)
	l.ChangeBytes = min(l.ChangeBytes, namespace.MaxDeltaBytes)
	return l
}

// Config says what a Worker is. ID and Dial are required.
type Config struct {
	ID   string // name of the worker, unique in the farm
	Node string // the node it lives in, empty for a process of its own
	// Incarnation must grow with each start of the worker; default: the time.
	Incarnation uint64
	Slots       int      // attempts that run at a time; default: the number of CPUs
	Has         []string // what tasks may need of it, sorted, as in api.Hello; usually none
	Dial        Dialer
	// Parts is the way of large values. Without it an attempt may change 1 MiB,
	// and namespaces with large values are given back.
	Parts Parts
	// Contexts is how many child processes are kept, 20 to 30 MB each; default
	// 4 a slot, at least 16. Never fewer than Slots.
	Contexts int
	// Command starts a child, by an absolute path; default: this executable. Its
	// main must begin with Child. It must be the same build as the worker.
	Command []string
	Limits  Limits
	Logger  *slog.Logger // default: discards
}

// ErrConfig is returned by New, wrapped, when a Config cannot be used.
var ErrConfig = errors.New("worker: bad configuration")

func (c Config) withDefaults() (Config, error) {
	if c.ID == "" || c.Dial == nil {
		return c, fmt.Errorf("%w: ID and Dial are required", ErrConfig)
	}
	if c.Incarnation == 0 {
		c.Incarnation = uint64(time.Now().UnixNano())
	}
	orDefault(&c.Slots, runtime.NumCPU())
	orDefault(&c.Contexts, max(4*c.Slots, 16))
	c.Contexts = max(c.Contexts, c.Slots)
	if len(c.Command) == 0 {
		cmd, err := selfCommand()
		if err != nil {
			return c, fmt.Errorf("%w: %w", ErrConfig, err)
		}
		c.Command = cmd
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	c.Limits = c.Limits.withDefaults()
	if c.Parts == nil {
		c.Limits.ChangeBytes = min(c.Limits.ChangeBytes, maxPlainChange)
		c.Limits.ValueBytes = min(c.Limits.ValueBytes, maxPlainChange)
	}
	return c, nil
}

// Stats is a worker at one moment.
type Stats struct {
	Connected bool
	Running   int // attempts
	Waiting   int // attempts not begun
	Unsettled int // attempts reported, the leader's answer not known yet
	Spaces    int // namespaces kept
	SpaceSize int64
	Children  int // child processes alive
	Idle      int // of them, running nothing
	// Isolation is how well children are confined: "full", or what the system
	// does not have ("no landlock, no seccomp"); empty until one has started.
	Isolation string

	// Since New.
	Succeeded, Failed, Returned uint64 // attempts
	Started, Died               uint64 // children
	Kept, Updated, Restored     uint64 // attempts begun on a context as it was, brought up to date, loaded
}
