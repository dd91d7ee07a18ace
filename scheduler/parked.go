package scheduler

import (
	"cmp"
	"slices"

	"farm/internal/wire"
)

// A task that failed and is kept is parked: it can be retried or dropped. How many are
// there is counted for each queue, as they come and go:
//
//	P            that this farm counts them, from its beginning
//	P/<queue>    how many there are, if any
//
// A farm that was founded before this was counted does not begin with it later: its
// replicas must agree, and the commands of its log say nothing of it.

// parkedKey is the record of a queue's number, with an empty name that of the counting.
func parkedKey(queue string) string {
	if queue == "" {
		return "P"
	}
	return "P/" + queue
}

// countParked begins the counting, with what has ended before the farm was founded.
func (s *State) countParked() {
	s.rec.Put(parkedKey(""), []byte{recordVersion})
	s.parked = map[string]uint64{}
	for n := s.FinLo; n < s.FinHi; n++ {
		l := *(&lookup{s: s}).at(n) // anew each time: the list changes
		if l.kind != listedTask {
			continue
		}
		if t := mustTask(s.rec.Get(l.key())); s.parks(t) {
			l.kind = listedParked
			s.relist(n, &l)
			s.park(t, 1)
		}
	}
	for _, k := range s.keptByEnd() {
		if t := mustTask(s.rec.Get("t/" + k.id)); s.parks(t) {
			s.park(t, 1)
		}
	}
}

// parks tells whether a finished task is counted.
func (s *State) parks(t *Task) bool {
	return s.parked != nil && t.State == Failed && t.Kind == Run
}

// park counts a task that parks, or with -1 one that does not any more.
func (s *State) park(t *Task, by int) {
	name := DefaultQueue
	if t.Options != nil {
		name = cmp.Or(t.Options.Queue, name)
	}
	n := s.parked[name] + uint64(by)
	if n == 0 {
		delete(s.parked, name)
		s.rec.Delete(parkedKey(name))
		return
	}
	s.parked[name] = n
	s.rec.Put(parkedKey(name), wire.AppendUint([]byte{recordVersion}, n))
}

// unpark counts off a finished task that is about to be live again, or forgotten.
func (s *State) unpark(t *Task) {
	if s.parks(t) {
		s.park(t, -1)
	}
}

// loadParked reads the numbers.
func (s *State) loadParked() (err error) {
	if s.rec.Get(parkedKey("")) == nil {
		return nil
	}
	s.parked = map[string]uint64{}
	s.rec.Scan("P/", "", func(key string, b []byte) bool {
		r := wire.NewReader(b)
		if v := r.Byte(); v != recordVersion {
			err = &VersionError{"record of parked tasks", v, recordVersion}
			return false
		}
		s.parked[key[len("P/"):]] = r.Uint()
		err = r.Done()
		return err == nil
	})
	return err
}

// parkedIn is how many tasks of a queue are parked, -1 when the farm does not count them.
func (s *State) parkedIn(queue string) int {
	if s.parked == nil {
		return -1
	}
	return int(s.parked[queue])
}

// parkedQueues are the queues that have parked tasks, by name.
func (s *State) parkedQueues() []string {
	out := make([]string, 0, len(s.parked))
	for name := range s.parked { // sorted below
		out = append(out, name)
	}
	slices.Sort(out)
	return out
}
