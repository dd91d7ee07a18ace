package scheduler

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"farm/internal/wire"
)

// Finished tasks are kept in a list, the oldest go first. Those that say how long
// they are to be kept are beside it, and go when their time is over.

// Limits of finished tasks that say how long they are kept. Past them those go first
// whose time is over first.
const (
	MaxKept      = 100_000
	MaxKeptBytes = 1 << 30
)

// kept is a finished task that says how long it is kept.
type kept struct {
	id    string
	ended int64
	until int64
	size  uint64 // bytes of its record
	place int    // in the heap
}

func (k *kept) before(o *kept) bool {
	if k.until != o.until {
		return k.until < o.until
	}
	return k.id < o.id
}

func (k *kept) moved(i int) { k.place = i }
func (k *kept) at() int     { return k.place }

// retainTask keeps a task that has just become final, whose record has size bytes.
func (s *State) retainTask(t *Task, size int) {
	kind, keep := byte(listedTask), t.timing().Keep
	if s.parks(t) {
		s.park(t, 1)
		kind = listedParked
	}
	if keep == 0 {
		s.retain(kind, t.ID, size)
		return
	}
	k := &kept{id: t.ID, ended: s.Clock, until: s.Clock + keep, size: uint64(size)}
	s.addKept(k)
	s.rec.Put("k/"+k.id, k.record())
	for n := 0; n < dropAtOnce && (len(s.kept) > MaxKept || s.keptBytes > MaxKeptBytes); n++ {
		s.dropSoonest()
	}
}

func (k *kept) record() []byte {
	b := wire.AppendInt([]byte{recordVersion}, k.ended)
	b = wire.AppendInt(b, k.until)
	return append(wire.AppendUint(b, k.size), k.id...)
}

func (s *State) addKept(k *kept) {
	s.kept[k.id] = k
	s.keptTill.push(k)
	s.keptBytes += k.size
}

// dropKept removes the task as well.
func (s *State) dropKept(k *kept) {
	s.keptTill.remove(k)
	delete(s.kept, k.id)
	s.keptBytes -= k.size
	if s.parked != nil {
		s.unpark(mustTask(s.rec.Get("t/" + k.id)))
	}
	s.rec.Delete("k/" + k.id)
	s.rec.Delete("t/" + k.id)
}

func (s *State) loadKept(b []byte) error {
	r := wire.NewReader(b)
	if v := r.Byte(); v != recordVersion {
		return &VersionError{"record of a kept task", v, recordVersion}
	}
	k := &kept{ended: r.Int(), until: r.Int(), size: r.Uint()}
	k.id = string(r.Rest())
	s.addKept(k)
	return r.Err()
}

// dropAtOnce is how many tasks whose time is over go with one entry, so that its work
// is bounded; the others go with the next.
const dropAtOnce = 1000

func (s *State) dropOutdated() {
	for n := 0; n < dropAtOnce && s.keptTill.len() > 0 && s.keptTill.min().until <= s.Clock; n++ {
		s.dropSoonest()
	}
}

// dropSoonest removes the task whose time is over first, or keeps it for longer if its
// results are still to be folded.
func (s *State) dropSoonest() {
	k := s.keptTill.min()
	if s.tasks[foldID(k.id)] == nil {
		s.dropKept(k)
		return
	}
	s.keptTill.remove(k)
	k.until = max(k.until, s.Clock) + foldTime
	s.keptTill.push(k)
	s.rec.Put("k/"+k.id, k.record())
}

// foldTime is for how much longer a task is kept whose results are still to be folded.
const foldTime = 60 * second

// ---- reading ----

// ErrPlace is returned when a place in the list of finished tasks is none.
var ErrPlace = errors.New("scheduler: no place in the list of finished tasks")

// place is where one goes on in the list of finished tasks, the newest first: below
// a number of the list, and behind a task of those that say how long they are kept.
type place struct {
	below uint64
	ended int64
	id    string
}

func (p place) String() string { return fmt.Sprintf("%d.%d.%s", p.below, p.ended, p.id) }

func parsePlace(s string) (p place, err error) {
	below, rest, ok := strings.Cut(s, ".")
	ended, id, more := strings.Cut(rest, ".")
	p.id = id
	if p.below, err = strconv.ParseUint(below, 10, 64); err != nil || !ok || !more {
		return p, ErrPlace
	}
	if p.ended, err = strconv.ParseInt(ended, 10, 64); err != nil {
		return p, ErrPlace
	}
	return p, nil
}

// FinishedFrom calls fn for finished tasks, the newest first, until it returns false
// or has seen as many as look. It begins at a place that an earlier call returned, or
// with the newest when that is empty, and returns where to go on, empty at the end.
// Error: ErrPlace.
func (s *State) FinishedFrom(from string, look int, fn func(*Task) bool) (next string, err error) {
	p := place{below: s.FinHi, ended: math.MaxInt64}
	own := s.keptByEnd()
	if from != "" {
		if p, err = parsePlace(from); err != nil {
			return "", err
		}
		p.below = min(p.below, s.FinHi)
		i, _ := slices.BinarySearchFunc(own, p, func(k *kept, p place) int {
			return cmp.Or(cmp.Compare(p.ended, k.ended), strings.Compare(k.id, p.id))
		})
		if own = own[i:]; len(own) > 0 && own[0].id == p.id && own[0].ended == p.ended {
			own = own[1:]
		}
	}
	list := lookup{s: s}
	for ; look > 0; look-- {
		var l listed
		if p.below > s.FinLo {
			l = *list.at(p.below - 1)
		} else if len(own) == 0 {
			return "", nil
		}
		if len(own) > 0 && (p.below <= s.FinLo || own[0].ended > l.at) {
			p.ended, p.id = own[0].ended, own[0].id
			l, own = listed{kind: listedTask, id: own[0].id}, own[1:]
		} else {
			p.below--
		}
		if l.isTask() && !fn(mustTask(s.rec.Get(l.key()))) {
			break
		}
	}
	if p.below <= s.FinLo && len(own) == 0 {
		return "", nil
	}
	return p.String(), nil
}

// keptByEnd are the finished tasks that say how long they are kept, the newest first.
func (s *State) keptByEnd() []*kept {
	out := slices.Clone(s.keptTill.items)
	slices.SortFunc(out, func(a, b *kept) int { return cmp.Or(cmp.Compare(b.ended, a.ended), strings.Compare(a.id, b.id)) })
	return out
}
