package scheduler

import (
	"encoding/binary"

	"farm/internal/wire"
)

// A unique key is held by one task at a time. It is kept in the records alone:
//
//	U/<key>                who has it
//	V/<8 bytes, time><key> that it is let go at that time
//	U                      how many there are
const (
	MaxUniques   = 1_000_000                // unique keys that are held
	MaxUniqueFor = 366 * 24 * 3600 * second // for which a key can be held
	// lapses is how many keys whose time is over are forgotten with one entry.
	lapses = 64
)

// While says how long a task holds its unique key.
type While uint8

// How long a unique key is held.
const (
	WhileQueued  While = iota + 1 // until the task is first given to a worker, or final
	WhileRunning                  // until it is final
	WhilePeriod                   // for a time from its submission, whatever becomes of it
)

// Unique asks that no task is made while another has the key: a Submit is then
// answered with Duplicate and, in Detail, the id of that task.
type Unique struct {
	Key    string
	While  While
	Period int64 // of WhilePeriod, nanoseconds
}

func (u *Unique) allowed() Result {
	switch {
	case len(u.Key) == 0 || len(u.Key) > MaxKeyBytes:
		return refuse(Invalid, "a unique key has 1 to %d bytes", MaxKeyBytes)
	case u.While < WhileQueued || u.While > WhilePeriod || (u.While == WhilePeriod) != (u.Period > 0) || u.Period > MaxUniqueFor:
		return refuse(Invalid, "a unique key is held while the task is queued, while it is queued or running, or for up to 366 days")
	}
	return Result{Code: OK}
}

func (u *Unique) append(b []byte) []byte {
	b = append(wire.AppendString(b, u.Key), byte(u.While))
	return wire.AppendInt(b, u.Period)
}

func readUnique(r *wire.Reader) *Unique {
	return &Unique{Key: r.String(), While: While(r.Byte()), Period: r.Int()}
}

// holder is the record U/<key>.
type holder struct {
	task  string
	while While
	until int64 // of WhilePeriod
}

func (s *State) holderOf(key string) (h holder, there bool) {
	rec := s.rec.Get("U/" + key)
	if rec == nil {
		return h, false
	}
	r := wire.NewReader(rec)
	if v := r.Byte(); v != recordVersion {
		panic("scheduler: unique key: " + (&VersionError{"unique key record", v, recordVersion}).Error())
	}
	h = holder{r.String(), While(r.Byte()), r.Int()}
	if err := r.Done(); err != nil {
		panic("scheduler: unique key: " + err.Error())
	}
	return h, true
}

// UniqueHolder returns the task that has a unique key now, or "".
func (s *State) UniqueHolder(key string) string {
	h, there := s.holderOf(key)
	if !there || h.lapsed(s.Clock) {
		return ""
	}
	return h.task
}

func (h *holder) lapsed(now int64) bool { return h.while == WhilePeriod && h.until <= now }

// uniqueAllowed answers a Submit whose unique key another task has.
func (s *State) uniqueAllowed(u *Unique) Result {
	if id := s.UniqueHolder(u.Key); id != "" {
		r := Result{Code: Duplicate, Detail: id}
		if t := s.Task(id); t != nil {
			r.Order = t.Order
		}
		return r
	}
	if s.uniques >= MaxUniques {
		return refuse(Limit, "%d unique keys are held, which is the limit", s.uniques)
	}
	return Result{Code: OK}
}

// holdKey gives a new task its unique key, which nobody has.
func (s *State) holdKey(t *Task) {
	u := t.Options.Unique
	if h, there := s.holderOf(u.Key); there { // its time is over
		s.unhold(u.Key, &h)
	}
	h := holder{task: t.ID, while: u.While}
	if u.While == WhilePeriod {
		h.until = s.Clock + u.Period
		s.rec.Put(lapseKey(h.until, u.Key), []byte{recordVersion})
		if s.lapse == 0 || h.until < s.lapse {
			s.lapse = h.until
		}
	}
	b := append(wire.AppendString([]byte{recordVersion}, h.task), byte(h.while))
	s.rec.Put("U/"+u.Key, wire.AppendInt(b, h.until))
	s.countUniques(1)
}

// uniqueAgain says whether a finished task can have its unique key again, if it
// had one for as long as it was live.
func (s *State) uniqueAgain(t *Task) Result {
	u := t.Options.unique()
	if u == nil || u.While == WhilePeriod {
		return Result{Code: OK}
	}
	r := s.uniqueAllowed(u)
	if r.Code == Duplicate {
		return refuse(Conflict, "task %s has the unique key of task %s", r.Detail, t.ID)
	}
	return r
}

// holdAgain gives it to the task.
func (s *State) holdAgain(t *Task) {
	if u := t.Options.unique(); u != nil && u.While != WhilePeriod {
		s.holdKey(t)
	}
}

// releaseKey lets a task's unique key go, if it has one for as long as it is queued
// (with begun) or as long as it lives.
func (s *State) releaseKey(t *Task, begun bool) {
	if t.Options == nil || t.Options.Unique == nil {
		return
	}
	u := t.Options.Unique
	if u.While == WhilePeriod || begun && u.While != WhileQueued {
		return
	}
	if h, there := s.holderOf(u.Key); there && h.task == t.ID {
		s.unhold(u.Key, &h)
	}
}

func (s *State) unhold(key string, h *holder) {
	s.rec.Delete("U/" + key)
	if h.while == WhilePeriod {
		s.rec.Delete(lapseKey(h.until, key))
	}
	s.countUniques(-1)
}

func lapseKey(until int64, key string) string {
	return "V/" + string(binary.BigEndian.AppendUint64(nil, uint64(until))) + key
}

// lapseKeys forgets the unique keys whose time is over, some at a time: they
// count no more whether they are forgotten or not.
func (s *State) lapseKeys() {
	if s.lapse == 0 || s.lapse > s.Clock {
		return
	}
	var over []string
	s.lapse = 0
	s.rec.Scan("V/", "", func(at string, _ []byte) bool {
		until := int64(binary.BigEndian.Uint64([]byte(at[2:10])))
		if until > s.Clock || len(over) == lapses {
			s.lapse = until
			return false
		}
		over = append(over, at[10:])
		return true
	})
	for _, key := range over {
		if h, there := s.holderOf(key); there {
			s.unhold(key, &h)
		}
	}
}

func (s *State) countUniques(by int) {
	s.uniques += by
	s.rec.Put("U", wire.AppendUint([]byte{recordVersion}, uint64(s.uniques)))
}

// loadUniques reads how many there are, and when the first lapses.
func (s *State) loadUniques() error {
	if b := s.rec.Get("U"); b != nil {
		r := wire.NewReader(b)
		if v := r.Byte(); v != recordVersion {
			return &VersionError{"record of unique keys", v, recordVersion}
		}
		s.uniques = int(r.Uint())
		if err := r.Done(); err != nil {
			return err
		}
	}
	s.rec.Scan("V/", "", func(at string, _ []byte) bool {
		if len(at) > 10 {
			s.lapse = int64(binary.BigEndian.Uint64([]byte(at[2:10])))
		}
		return false
	})
	return nil
}
