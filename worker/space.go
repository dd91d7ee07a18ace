package worker

import (
	"container/list"
	"hash/fnv"
	"maps"
	"slices"
	"strings"

	"farm/api"
	"farm/internal/carry"
	"farm/internal/part"
	"farm/namespace"
)

// attemptKey names an attempt.
type attemptKey struct {
	task    string
	attempt uint32
}

type attemptState int

const (
	waiting  attemptState = iota // for its turn or a slot
	running                      // on a child
	reported                     // its report is kept until the leader answers
	gone                         // nobody wants to hear of it any more
)

// attempt is one try of a task that the leader assigned to this worker.
type attempt struct {
	attemptKey
	assign *api.Assign
	work   *api.Work
	spec   *api.JobSpec // of its job, nil without one
	space  *space       // nil: private
	epoch  uint64
	state  attemptState

	arrived int64 // when it came, nanoseconds
	began   int64 // when it was given to a child
	child   *child
	stop    bool // its end was asked for
	said    bool // the leader was told on this stream that it began

	base    uint64 // version of the namespace it ran on
	undo    *undo  // what takes the namespace back to base; nil: nothing changed
	report  *api.Complete
	counter uint64      // position among all reports
	told    bool        // the report was sent on this stream
	parts   []part.Part // of the large values in the report; nil: none
	carried bool        // they are in the farm
	inCarry bool        // they are in line for it
	room    int64       // bytes of room taken for the answer
}

func (a *attempt) ref() *api.AttemptRef { return &api.AttemptRef{Task: a.task, Attempt: a.attempt} }

// space is what the worker knows of a namespace: its items after the last
// attempt that ran here.
type space struct {
	name     string
	epoch    uint64
	version  uint64
	items    map[string][]byte
	bytes    int64
	whole    int64                     // of them, keys and values that are not large
	pending  map[string]*part.Manifest // values that are not here yet: nothing begins before
	fetching bool
	counted  int64  // what the cache reckons for it
	shape    uint64 // of its definitions; equal ones are cheap to switch between
	stamp    uint64 // of this very content: no other has it, in any space
	patch    *patch // how it came to be from the content before, if that is known

	queue   []*attempt // waiting, by order
	running *attempt
	chain   []*attempt // reported, in the order they ran
	paused  *attempt   // the failure whose answer is waited for
	ready   bool       // in the line for a slot
	since   int64      // when it joined the line, nanoseconds

	child *child // that holds or last held its context
	lru   *list.Element
}

// patch takes a child from the content with one stamp to the next.
type patch struct {
	from   uint64
	change change
}

// undo takes a namespace back to where it was.
type undo struct {
	change  change
	version uint64
}

// held tells whether the leader has heard or will hear of attempts here.
func (s *space) held() bool { return len(s.queue) > 0 || s.running != nil || len(s.chain) > 0 }

// startable tells whether the first of the queue may begin.
func (s *space) startable() bool {
	return len(s.queue) > 0 && s.running == nil && s.paused == nil && len(s.pending) == 0
}

// insert puts an attempt at its place in the queue.
func (s *space) insert(a *attempt) {
	i := len(s.queue)
	for i > 0 && s.queue[i-1].assign.Order > a.assign.Order {
		i--
	}
	s.queue = slices.Insert(s.queue, i, a)
}

// load makes the space what the leader says it is. False: it lacks what the
// load builds on.
func (s *space) load(l *api.Load, stamp uint64) bool {
	c := change{put: make(map[string][]byte, len(l.Items))}
	pending := map[string]*part.Manifest{}
	for _, it := range l.Items {
		c.put[it.Key] = it.Value
		m, err := carry.ReadManifest(it.Parts)
		if err != nil {
			return false
		}
		if m != nil {
			c.put[it.Key], pending[it.Key] = nil, m
		}
	}
	if l.Since == 0 {
		s.items, s.bytes, s.whole, s.shape = make(map[string][]byte, len(l.Items)), 0, 0, 0
		s.change(c)
		s.patch, s.pending = nil, pending
	} else {
		if s.items == nil || s.version < l.Since || s.version > l.Version {
			return false
		}
		s.change(c)
		s.patch = &patch{from: s.stamp, change: c}
		for k := range c.put {
			delete(s.pending, k)
		}
		if s.pending == nil {
			s.pending = pending
		} else {
			maps.Copy(s.pending, pending)
		}
	}
	s.version, s.stamp = l.Version, stamp
	return true
}

// change applies a change and returns what undoes it.
func (s *space) change(c change) change {
	back := change{put: map[string][]byte{}}
	for k, v := range c.put {
		if old, ok := s.items[k]; ok {
			back.put[k] = old
			s.weigh(k, old, -1)
		} else {
			back.del = append(back.del, k)
		}
		s.items[k] = v
		s.weigh(k, v, 1)
	}
	for _, k := range c.del {
		if old, ok := s.items[k]; ok {
			back.put[k] = old
			s.weigh(k, old, -1)
			delete(s.items, k)
		}
	}
	slices.Sort(back.del)
	return back
}

// weigh counts an item in or out. The name of the engine is no part of the shape:
// the first cell writes it, and namespaces before and after that are alike.
func (s *space) weigh(k string, v []byte, sign int) {
	s.bytes += int64(sign * (len(k) + len(v)))
	if len(v) < part.LargeBytes {
		s.whole += int64(sign * (len(k) + len(v)))
	}
	if k == namespace.EngineItem {
		return
	}
	h := fnv.New64a()
	_, _ = h.Write([]byte(k))
	if !strings.HasPrefix(k, "v/") {
		_, _ = h.Write(v)
	}
	s.shape += uint64(sign) * h.Sum64()
}

// unwind undoes the chain back to before its i-th attempt.
func (s *space) unwind(i int, stamp uint64) {
	for n := len(s.chain) - 1; n >= i; n-- {
		a := s.chain[n]
		if a.undo != nil {
			s.change(a.undo.change)
			s.version = a.undo.version
			s.stamp, s.patch = stamp, nil
			a.undo = nil
		}
		if s.paused == a {
			s.paused = nil
		}
	}
	s.chain = slices.Delete(s.chain, i, len(s.chain))
}
