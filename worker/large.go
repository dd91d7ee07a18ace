package worker

import (
	"context"
	"maps"
	"slices"
	"time"

	"farm/api"
	"farm/internal/carry"
	"farm/internal/crash"
	"farm/internal/part"
)

// Parts is the way of large values between a worker and the farm: in parts,
// before the report that refers to them, and to where a namespace is loaded.
// Safe for concurrent use.
type Parts interface {
	// Put brings parts to the farm, those that it has not. It may be repeated.
	Put(ctx context.Context, worker string, parts []part.Part) error
	// Get gives have those of the parts that the farm has, in any order, each
	// checked against its hash.
	Get(ctx context.Context, hashes []part.Hash, have func(part.Hash, []byte)) error
}

// maxPlainChange is what an attempt may change, bytes, on a worker without Parts.
const maxPlainChange = 1 << 20

// Delays between tries of Parts.
const (
	carryDelayMin = 20 * time.Millisecond
	carryDelayMax = time.Second
)

// pause waits with a growing delay; false when ctx ended.
func pause(ctx context.Context, delay *time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(*delay):
	}
	*delay = min(2**delay, carryDelayMax)
	return true
}

// divide puts the large values of a report in parts, and returns those.
func divide(r *api.Complete, whole int64) (parts []part.Part) {
	sizes := make([]int, len(r.Put))
	for i, it := range r.Put {
		sizes[i] = len(it.Value)
	}
	for i, large := range part.Choose(sizes, uint64(max(whole, 0))) {
		if large {
			m, p := part.Cut(r.Put[i].Value)
			r.Put[i] = &api.Item{Key: r.Put[i].Key, Parts: carry.Manifest(&m)}
			parts = append(parts, p...)
		}
	}
	return parts
}

// ---- to the farm ----

// deliver sends the reports of a namespace in the order in which the attempts
// ran, as far as their parts are in the farm. The lock is held.
func (w *Worker) deliver(s *space) {
	for _, a := range s.chain {
		if a.told {
			continue
		}
		if a.parts != nil && !a.carried {
			w.carry(a)
			return
		}
		a.told = true
		w.tell(a.report, len(s.queue) >= backlog || w.line.len() >= w.cfg.Slots*backlog)
	}
}

// carry puts an attempt in line for its parts to be brought to the farm. The
// lock is held.
func (w *Worker) carry(a *attempt) {
	if a.inCarry {
		return
	}
	a.inCarry = true
	w.carries = append(w.carries, a)
	select {
	case w.toCarry <- struct{}{}:
	default:
	}
}

// carrier brings the parts of one report after the other to the farm, so that
// several do not share out the room there is and wait for each other.
func (w *Worker) carrier(ctx context.Context) {
	for {
		w.mu.Lock()
		var a *attempt
		if len(w.carries) > 0 {
			a, w.carries = w.carries[0], w.carries[1:]
		}
		w.mu.Unlock()
		if a != nil {
			w.carryOne(ctx, a)
			continue
		}
		select {
		case <-ctx.Done():
			return
		case <-w.toCarry:
		}
	}
}

func (w *Worker) carryOne(ctx context.Context, a *attempt) {
	delay := carryDelayMin
	for {
		w.mu.Lock()
		wanted := a.state == reported && w.attempts[a.attemptKey] == a
		a.inCarry = wanted
		parts := a.parts
		w.mu.Unlock()
		if !wanted {
			return
		}
		err := w.cfg.Parts.Put(ctx, w.cfg.ID, parts)
		if err == nil {
			break
		}
		w.log.Warn("the large values of a task are not in the farm yet", "task", a.task, "error", err, "retry_in", delay)
		if !pause(ctx, &delay) {
			return
		}
	}
	crash.Here("report.carried")
	w.mu.Lock()
	defer w.mu.Unlock()
	a.inCarry, a.carried = false, true
	if a.state == reported {
		w.deliver(a.space)
	}
	w.poke()
}

// missing: the farm has lost parts of a report before it came: both are sent
// again.
func (w *Worker) missing(k attemptKey) {
	if a := w.attempts[k]; a != nil && a.state == reported && a.parts != nil {
		a.carried, a.told = false, false
		w.deliver(a.space)
	}
}

// uncarried counts the reports whose parts are on their way. The lock is held.
func (w *Worker) uncarried() (n int) {
	for _, a := range w.attempts {
		if a.state == reported && a.parts != nil && !a.carried {
			n++
		}
	}
	return n
}

// forget ends what is known of an attempt. The lock is held.
func (w *Worker) forget(a *attempt) {
	delete(w.attempts, a.attemptKey)
	a.parts = nil
	w.room.release(a.room)
	a.room = 0
}

// ---- from the farm ----

// fetch brings the large values of a namespace that was loaded. Until they are
// there nothing of it begins. The lock is held.
func (w *Worker) fetch(s *space) {
	if len(s.pending) > 0 && !s.fetching {
		s.fetching = true
		w.fetches.Go(func() { w.fetchAll(w.inner, s) })
	}
}

func (w *Worker) fetchAll(ctx context.Context, s *space) {
	delay := carryDelayMin
	for {
		key, m := w.nextPending(s)
		if m == nil {
			return
		}
		b, err := carry.Collect(*m, uint64(w.cfg.Limits.ChangeBytes), func(hashes []part.Hash, have func(part.Hash, []byte)) error {
			return w.cfg.Parts.Get(ctx, hashes, have)
		})
		if err != nil {
			w.log.Warn("a large value of a namespace is not here yet", "namespace", s.name, "item", key, "error", err, "retry_in", delay)
			if !pause(ctx, &delay) {
				return
			}
			continue
		}
		delay = carryDelayMin
		w.mu.Lock()
		if s.pending[key] == m {
			delete(s.pending, key)
			s.fill(key, b)
			w.count(s)
		}
		w.mu.Unlock()
	}
}

// nextPending is the next value to fetch, nil when there is none any more: then
// what waits for them may begin. A namespace that nothing waits for is dropped
// instead.
func (w *Worker) nextPending(s *space) (key string, m *part.Manifest) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(s.pending) > 0 && w.spaces[s.name] == s {
		if s.held() {
			key := slices.Min(slices.Collect(maps.Keys(s.pending)))
			return key, s.pending[key]
		}
		w.drop(s)
		w.out.Forgot(s.name)
	}
	s.fetching = false
	if w.spaces[s.name] == s {
		w.join(s)
		w.evict()
		w.dispatch()
	}
	return "", nil
}

// fill puts the value of an item in its place.
func (s *space) fill(key string, value []byte) {
	s.weigh(key, s.items[key], -1)
	s.items[key] = value
	s.weigh(key, value, 1)
	if s.patch != nil {
		if _, in := s.patch.change.put[key]; in {
			s.patch.change.put[key] = value
		}
	}
}

// ---- room for answers ----

// roomFrom is the size from which an answer of a child waits for room.
const roomFrom = 1 << 20

// room bounds the bytes of large answers that are held until the leader has
// answered their reports. It is taken before an answer is read, so that a child
// with much to say waits, and not the others.
type room struct {
	limit int64
	free  chan int64 // holds the bytes that are free
}

func newRoom(limit int64) *room {
	r := &room{limit: limit, free: make(chan int64, 1)}
	r.free <- limit
	return r
}

// take takes n bytes, or all there is if n is more than that, when they are
// free; it returns what it took, 0 when stop said so before.
func (r *room) take(n int64, stop func() bool) int64 {
	n = min(n, r.limit)
	for {
		free := <-r.free
		if free >= n {
			r.free <- free - n
			return n
		}
		r.free <- free
		if stop() {
			return 0
		}
		time.Sleep(roomPoll)
	}
}

// roomPoll is how often what waits for room looks again.
const roomPoll = 5 * time.Millisecond

func (r *room) release(n int64) {
	if n > 0 {
		r.free <- <-r.free + n
	}
}
