package scheduler

import (
	"cmp"
	"slices"
	"strings"

	"farm/internal/wire"
)

// DefaultQueue is the queue of tasks that name none.
const DefaultQueue = "default"

// Limits of queues.
const (
	MaxQueues   = 1_000   // with live tasks, limits, or paused
	MaxKeys     = 100_000 // that are known, in all queues: of live tasks, or whose rate still counts
	MaxKeyBytes = 256     // of a key, and of a unique key
	MaxBusiest  = 20      // keys that a look at a queue tells of
)

// queue is tasks that are limited, paused and counted together.
type queue struct {
	name      string
	paused    bool
	bounds    Bounds
	keyBounds Bounds // of each key
	gate      gate
	refs      int // live tasks
	delayed   int // of them, those that wait for their time
	held      int // and for other tasks
	lanes     []*lane
	keys      map[string]*key

	dirty, stored, gone bool
}

// QueueInfo is a queue for people. The numbers are of tasks that a worker
// carries out.
type QueueInfo struct {
	Name      string
	Paused    bool
	Bounds    Bounds
	KeyBounds Bounds
	Waiting   int // for a worker, for their turn or for a limit
	Running   int
	Delayed   int // for their time, or for other tasks
	Limited   int // of those waiting, that would be next but for a limit or the pause
	Parked    int // failed, and kept; -1 where the farm does not count them, see parked.go
	Keys      int // known
	Busiest   []KeyInfo
}

// KeyInfo is a key of a queue.
type KeyInfo struct {
	Key              string
	Running, Waiting int
}

// SetQueue changes what is given of a queue's settings; nil leaves them.
type SetQueue struct {
	Name           string
	Paused         *bool
	Concurrency    *uint32
	Rate           *Rate
	KeyConcurrency *uint32 // of each key
	KeyRate        *Rate
}

// What a SetQueue changes, in the log.
const (
	setsPaused = 1 << iota
	setsConcurrency
	setsRate
	setsKeyConcurrency
	setsKeyRate
)

// AppendTo implements Command.
func (c *SetQueue) AppendTo(b []byte) []byte {
	b = wire.AppendString(append(b, cmdSetQueue), c.Name)
	sets := len(b)
	b = append(b, 0)
	if c.Paused != nil {
		b[sets] |= setsPaused
		b = wire.AppendBool(b, *c.Paused)
	}
	number := func(flag byte, n *uint32) {
		if n != nil {
			b[sets] |= flag
			b = wire.AppendUint(b, uint64(*n))
		}
	}
	rate := func(flag byte, r *Rate) {
		if r != nil {
			b[sets] |= flag
			b = r.append(b)
		}
	}
	number(setsConcurrency, c.Concurrency)
	rate(setsRate, c.Rate)
	number(setsKeyConcurrency, c.KeyConcurrency)
	rate(setsKeyRate, c.KeyRate)
	return b
}

func readSetQueue(r *wire.Reader) Command {
	c := &SetQueue{Name: r.String()}
	sets := r.Byte()
	if sets&setsPaused != 0 {
		p := r.Bool()
		c.Paused = &p
	}
	number := func(flag byte, to **uint32) {
		if sets&flag != 0 {
			n := uint32(r.Uint())
			*to = &n
		}
	}
	rate := func(flag byte, to **Rate) {
		if sets&flag != 0 {
			x := readRate(r)
			*to = &x
		}
	}
	number(setsConcurrency, &c.Concurrency)
	rate(setsRate, &c.Rate)
	number(setsKeyConcurrency, &c.KeyConcurrency)
	rate(setsKeyRate, &c.KeyRate)
	return c
}

func (r *Rate) append(b []byte) []byte {
	b = wire.AppendUint(b, uint64(r.Count))
	b = wire.AppendInt(b, r.Period)
	return wire.AppendUint(b, uint64(r.Burst))
}

func readRate(r *wire.Reader) Rate {
	return Rate{Count: uint32(r.Uint()), Period: r.Int(), Burst: uint32(r.Uint())}
}

func (b *Bounds) append(to []byte) []byte {
	return b.Rate.append(wire.AppendUint(to, uint64(b.Concurrency)))
}

func readBounds(r *wire.Reader) Bounds {
	return Bounds{Concurrency: uint32(r.Uint()), Rate: readRate(r)}
}

// ---- commands ----

func (s *State) setQueue(c *SetQueue) Result {
	if !ValidName(c.Name) {
		return refuse(Invalid, "a queue's name is not a name: %q", c.Name)
	}
	for _, n := range []*uint32{c.Concurrency, c.KeyConcurrency} {
		if n != nil && *n > MaxLive {
			return refuse(Invalid, "at most %d attempts can run at a time", MaxLive)
		}
	}
	for _, rate := range []*Rate{c.Rate, c.KeyRate} {
		if rate == nil {
			continue
		}
		if r := rate.allowed(); r.Code != OK {
			return r
		}
	}
	if r := s.queueAllowed(c.Name); r.Code != OK {
		return r
	}
	q := s.openQueue(c.Name)
	if c.Paused != nil {
		q.paused = *c.Paused
	}
	q.bounds.set(c.Concurrency, c.Rate)
	q.keyBounds.set(c.KeyConcurrency, c.KeyRate)
	s.rebound(&q.gate)
	if c.KeyConcurrency != nil || c.KeyRate != nil {
		for _, k := range q.keysByName() {
			s.rebound(&k.gate)
			s.dropKey(k)
		}
	}
	s.dropQueue(q)
	return Result{Code: OK}
}

func (b *Bounds) set(concurrency *uint32, rate *Rate) {
	if concurrency != nil {
		b.Concurrency = *concurrency
	}
	if rate != nil {
		b.Rate = *rate
	}
}

// queueAllowed tells whether a queue is there or can be.
func (s *State) queueAllowed(name string) Result {
	if _, there := s.queueIndex(name); !there && len(s.queues) >= MaxQueues {
		return refuse(Limit, "there are %d queues, which is the limit", len(s.queues))
	}
	return Result{Code: OK}
}

func (s *State) queueIndex(name string) (int, bool) {
	return slices.BinarySearchFunc(s.queues, name, func(q *queue, name string) int { return strings.Compare(q.name, name) })
}

func (s *State) openQueue(name string) *queue {
	i, there := s.queueIndex(name)
	if there {
		return s.queues[i]
	}
	q := &queue{name: name, keys: map[string]*key{}}
	q.gate = gate{queue: q, place: -1}
	s.queues = slices.Insert(s.queues, i, q)
	return q
}

// plain tells whether nobody has set anything of a queue.
func (q *queue) plain() bool { return !q.paused && q.bounds.none() && q.keyBounds.none() }

// dropQueue forgets what is not needed of a queue: its record while it is plain,
// all of it when it has no tasks either.
func (s *State) dropQueue(q *queue) {
	if !q.plain() {
		return
	}
	if q.stored {
		q.stored = false
		s.rec.Delete("Q/" + q.name)
	}
	if i, there := s.queueIndex(q.name); there && q.refs == 0 && len(q.keys) == 0 && q.name != DefaultQueue {
		q.gone = true
		s.queues = slices.Delete(s.queues, i, i+1)
	}
}

// ---- records ----

func (s *State) touchGate(g *gate) {
	if k := g.key; k != nil {
		if !k.dirty {
			k.dirty = true
			s.dirtyKeys = append(s.dirtyKeys, k)
		}
		return
	}
	if q := g.queue; !q.dirty {
		q.dirty = true
		s.dirtyQueues = append(s.dirtyQueues, q)
	}
}

// settleQueues writes the queues and keys that changed.
func (s *State) settleQueues() {
	for _, q := range s.dirtyQueues {
		if q.dirty = false; !q.gone && !q.plain() {
			s.rec.Put("Q/"+q.name, q.append(nil))
			q.stored = true
		}
	}
	for _, k := range s.dirtyKeys {
		at := keyKey(k.gate.queue.name, k.name)
		switch k.dirty = false; {
		case k.gone:
		case k.gate.next > 0:
			s.rec.Put(at, k.append(nil))
			k.stored = true
		case k.stored:
			s.rec.Delete(at)
			k.stored = false
		}
	}
	s.dirtyQueues, s.dirtyKeys = s.dirtyQueues[:0], s.dirtyKeys[:0]
}

func (q *queue) append(b []byte) []byte {
	b = wire.AppendString(append(b, recordVersion), q.name)
	b = wire.AppendBool(b, q.paused)
	b = q.bounds.append(b)
	b = q.keyBounds.append(b)
	return wire.AppendInt(b, q.gate.next)
}

func (s *State) loadQueue(b []byte) error {
	r := wire.NewReader(b)
	if v := r.Byte(); v != recordVersion {
		return &VersionError{"queue record", v, recordVersion}
	}
	q := s.openQueue(r.String())
	q.stored = true
	q.paused, q.bounds, q.keyBounds, q.gate.next = r.Bool(), readBounds(r), readBounds(r), r.Int()
	return r.Done()
}

func (k *key) append(b []byte) []byte {
	b = wire.AppendString(append(b, recordVersion), k.gate.queue.name)
	b = wire.AppendString(b, k.name)
	return wire.AppendInt(b, k.gate.next)
}

func (s *State) loadKey(b []byte) error {
	r := wire.NewReader(b)
	if v := r.Byte(); v != recordVersion {
		return &VersionError{"key record", v, recordVersion}
	}
	k := s.openKey(s.openQueue(r.String()), r.String())
	k.stored, k.gate.next = true, r.Int()
	return r.Done()
}

// loadGates shuts what is to be shut, when everything else is loaded.
func (s *State) loadGates() {
	for _, q := range s.queues {
		s.regate(&q.gate)
		for _, k := range q.keysByName() {
			s.regate(&k.gate)
			s.dropKey(k)
		}
	}
}

// ---- looking ----

// Queues returns all queues that are known, by name: those with tasks that are not
// finished, or settings, or parked tasks; of those that have only such, at most
// MaxQueues.
func (s *State) Queues() []QueueInfo {
	out := make([]QueueInfo, 0, len(s.queues))
	for _, q := range s.queues {
		out = append(out, s.infoOf(q))
	}
	for i, name := range s.parkedQueues() {
		if _, there := s.queueIndex(name); !there && i < MaxQueues {
			out = append(out, s.Queue(name))
		}
	}
	slices.SortFunc(out, func(a, b QueueInfo) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// Queue returns a queue, with its busiest keys; of one that is not known, that
// it has nothing.
func (s *State) Queue(name string) QueueInfo {
	i, there := s.queueIndex(name)
	if !there {
		return QueueInfo{Name: name, Parked: s.parkedIn(name)}
	}
	q := s.queues[i]
	info := s.infoOf(q)
	keys := q.keysByName()
	slices.SortStableFunc(keys, func(a, b *key) int { return cmp.Compare(b.gate.running+b.gate.waiting, a.gate.running+a.gate.waiting) })
	for _, k := range keys[:min(len(keys), MaxBusiest)] {
		info.Busiest = append(info.Busiest, KeyInfo{k.name, k.gate.running, k.gate.waiting})
	}
	return info
}

func (s *State) infoOf(q *queue) QueueInfo {
	i := QueueInfo{Name: q.name, Parked: s.parkedIn(q.name), Paused: q.paused, Bounds: q.bounds, KeyBounds: q.keyBounds, Waiting: q.refs - q.gate.running - q.delayed - q.held,
		Running: q.gate.running, Delayed: q.delayed + q.held, Keys: len(q.keys)}
	if q.gate.shut {
		i.Limited = q.gate.waiting
		return i
	}
	for _, k := range q.keysByName() {
		if k.gate.shut {
			i.Limited += k.gate.waiting
		}
	}
	return i
}
