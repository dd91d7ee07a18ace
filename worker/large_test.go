package worker

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"farm/api"
	"farm/internal/carry"
	"farm/internal/part"
)

// shelf is a farm's parts. While its gates are shut, calls wait.
type shelf struct {
	mu       sync.Mutex
	parts    map[part.Hash][]byte
	puts     int
	failures int // calls that fail before one does not
	shutPut  chan struct{}
	shutGet  chan struct{}
}

func newShelf() *shelf { return &shelf{parts: map[part.Hash][]byte{}} }

func (s *shelf) enter(ctx context.Context, gate *chan struct{}) error {
	s.mu.Lock()
	shut := *gate
	s.mu.Unlock()
	if shut != nil {
		select {
		case <-shut:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failures > 0 {
		s.failures--
		return errors.New("no leader")
	}
	return nil
}

func (s *shelf) Put(ctx context.Context, owner string, parts []part.Part) error {
	if err := s.enter(ctx, &s.shutPut); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.puts++
	for _, p := range parts {
		s.parts[p.Hash] = bytes.Clone(p.Bytes)
	}
	if owner != "w1" {
		return errors.New("it does not say who it is")
	}
	return nil
}

func (s *shelf) Get(ctx context.Context, hashes []part.Hash, have func(part.Hash, []byte)) error {
	if err := s.enter(ctx, &s.shutGet); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, h := range hashes {
		if b := s.parts[h]; b != nil {
			have(h, b)
		}
	}
	return nil
}

// value is what the value of a report is, put together.
func (s *shelf) value(t *testing.T, c *api.Complete, key string) []byte {
	t.Helper()
	for _, it := range c.Put {
		if it.Key == key {
			if it.Parts == nil || it.Value != nil {
				t.Fatalf("%s is not in parts", key)
			}
			m, err := carry.ReadManifest(it.Parts)
			if err != nil {
				t.Fatal(err)
			}
			b, err := carry.Collect(*m, 1<<30, func(hashes []part.Hash, have func(part.Hash, []byte)) error {
				return s.Get(context.Background(), hashes, have)
			})
			if err != nil {
				t.Fatal(err)
			}
			return b
		}
	}
	t.Fatalf("no %s in the report of %s", key, c.Task)
	return nil
}

// inParts is an item for a load whose value is on the shelf.
func (s *shelf) inParts(key string, value []byte) *api.Item {
	m, parts := part.Cut(value)
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range parts {
		s.parts[p.Hash] = p.Bytes
	}
	return &api.Item{Key: key, Parts: carry.Manifest(&m)}
}

func startLarge(t *testing.T, s *shelf, change func(*Config)) *leader {
	return start(t, func(c *Config) {
		c.Parts = s
		if change != nil {
			change(c)
		}
	})
}

func (l *leader) reports() (tasks []string) {
	for _, c := range l.now().completes {
		tasks = append(tasks, c.Task)
	}
	return tasks
}

// A large value is in the farm before the report that refers to it, and what
// comes after it in its namespace waits for it; other namespaces do not.
func TestLargeChange(t *testing.T) {
	s := newShelf()
	gate := make(chan struct{})
	s.shutPut, s.failures = gate, 2
	l := startLarge(t, s, nil)
	l.say(
		l.in("s", 1, "a", "grow x 1000000", loadOf(0, 0)),
		l.in("s", 1, "b", "append y 1", nil),
		l.in("s", 1, "c", "grow z 600000\nappend y 2", nil),
		l.in("s", 1, "d", "append y 3", nil),
		l.in("t", 1, "e", "append y 1", loadOf(0, 0)),
	)
	l.report("e", 1)
	l.poll("all to have run", func(s Stats) bool { return s.Unsettled == 5 })
	if got := l.reports(); !slices.Equal(got, []string{"e"}) {
		t.Errorf("reported before its parts were there: %v", got)
	}
	close(gate)
	l.report("d", 1)
	if got := l.reports(); !slices.Equal(got, []string{"e", "a", "b", "c", "d"}) {
		t.Errorf("in the order %v", got)
	}
	if got := s.value(t, l.report("a", 1), "v/x"); !bytes.Equal(got, grown(1000000)) {
		t.Errorf("%d bytes came", len(got))
	}
	if c := l.report("d", 1); c.Base != 3 || item(c, "v/y") != "123" {
		t.Errorf("%v", c)
	}
	if s.puts != 2 {
		t.Errorf("parts were brought %d times", s.puts)
	}
}

// Parts that the farm lost before the report came are brought again, and the
// report with those after it is repeated.
func TestMissingParts(t *testing.T) {
	s := newShelf()
	l := startLarge(t, s, nil)
	l.say(l.in("s", 1, "a", "grow x 1000000", loadOf(0, 0)))
	l.report("a", 1)
	s.mu.Lock()
	clear(s.parts)
	s.mu.Unlock()
	l.say(&api.Instruction{Do: &api.Instruction_Missing{Missing: &api.AttemptRef{Task: "a", Attempt: 1}}})
	l.await("the report again", func() bool { return len(l.completes) == 2 })
	if got := s.value(t, l.now().completes[1], "v/x"); len(got) != 1000000 {
		t.Errorf("%d bytes came again", len(got))
	}
	l.say(settled("a", 1))
	l.poll("nothing to be held", func(s Stats) bool { return s.Unsettled == 0 })
	l.say(&api.Instruction{Do: &api.Instruction_Missing{Missing: &api.AttemptRef{Task: "a", Attempt: 1}}}) // too late: nothing
	l.say(l.in("s", 1, "b", "append y 1", nil))
	l.report("b", 1)
}

// A new leader is told what is reported and not what is still on its way.
func TestRelinkWhileCarrying(t *testing.T) {
	s := newShelf()
	gate := make(chan struct{})
	s.shutPut = gate
	l := startLarge(t, s, nil)
	l.say(l.in("s", 1, "a", "append y 1", loadOf(0, 0)), l.in("s", 1, "b", "grow x 1000000", nil), l.in("s", 1, "c", "append y 2", nil))
	l.report("a", 1)
	l.poll("all to have run", func(s Stats) bool { return s.Unsettled == 3 })
	l.hangUp(false)
	l.await("a new stream", func() bool { return len(l.hellos) == 2 })
	l.await("the first report again", func() bool { return len(l.completes) == 2 })
	if got := l.reports(); !slices.Equal(got, []string{"a", "a"}) {
		t.Errorf("told %v", got)
	}
	close(gate)
	l.report("c", 1)
	if got := l.reports(); !slices.Equal(got, []string{"a", "a", "b", "c"}) {
		t.Errorf("told %v", got)
	}
}

// A voided report is not brought any more, and holds no room.
func TestVoidedWhileCarrying(t *testing.T) {
	s := newShelf()
	gate := make(chan struct{})
	s.shutPut = gate
	l := startLarge(t, s, func(c *Config) { c.Limits.UnsettledBytes = 3 << 20 })
	l.say(l.in("s", 1, "a", "grow x 2000000", loadOf(0, 0)))
	l.poll("it to have run", func(s Stats) bool { return s.Unsettled == 1 })
	l.say(voided("a", 1), l.in("s", 2, "b", "grow x 2000000", loadOf(0, 0)))
	l.poll("the next to have run", func(s Stats) bool { return s.Unsettled == 1 && s.Succeeded == 2 })
	close(gate)
	l.report("b", 1)
	if got := l.reports(); !slices.Equal(got, []string{"b"}) {
		t.Errorf("told %v", got)
	}
}

// A namespace begins when its large values are there, and not before.
func TestLargeLoad(t *testing.T) {
	s := newShelf()
	gate := make(chan struct{})
	s.shutGet, s.failures = gate, 2
	l := startLarge(t, s, nil)
	l.onReport = settle
	load := loadOf(3, 0, "v/y", "small")
	load.Items = append(load.Items, s.inParts("v/x", []byte(strings.Repeat("x", 700_000))))
	l.say(l.in("s", 1, "a", "append x 1", load), l.in("t", 1, "b", "append y 1", loadOf(0, 0)))
	l.report("b", 1)
	if got := l.now().began; len(got) > 0 && slices.ContainsFunc(got, func(r *api.AttemptRef) bool { return r.Task == "a" }) {
		t.Error("it began without its values")
	}
	close(gate)
	if got := s.value(t, l.report("a", 1), "v/x"); string(got) != strings.Repeat("x", 700_000)+"1" {
		t.Errorf("%d bytes", len(got))
	}
	// A large value that changed outside reaches the child that holds the rest.
	later := loadOf(5, 4)
	later.Items = append(later.Items, s.inParts("v/x", []byte(strings.Repeat("z", 600_000))))
	l.say(l.in("s", 1, "c", "append x 2\nappend y !", later))
	c := l.report("c", 1)
	if got := s.value(t, c, "v/x"); string(got) != strings.Repeat("z", 600_000)+"2" || item(c, "v/y") != "small!" {
		t.Errorf("%d bytes, %v", len(got), item(c, "v/y"))
	}
	if st := l.w.Stats(); st.Updated != 1 {
		t.Errorf("loaded anew: %+v", st)
	}
}

// A namespace that nobody waits for any more before it was there is forgotten.
func TestVoidedWhileFetching(t *testing.T) {
	s := newShelf()
	gate := make(chan struct{})
	s.shutGet = gate
	l := startLarge(t, s, nil)
	load := loadOf(3, 0)
	load.Items = append(load.Items, s.inParts("v/x", make([]byte, 700_000)), s.inParts("v/y", make([]byte, 600_000)))
	l.say(l.in("s", 1, "a", "append x 1", load))
	l.poll("it to wait", func(s Stats) bool { return s.Waiting == 1 })
	l.say(voided("a", 1))
	l.poll("it to be gone", func(s Stats) bool { return s.Waiting == 0 })
	close(gate)
	l.poll("the namespace to be gone", func(s Stats) bool { return s.Spaces == 0 && s.SpaceSize == 0 })
	l.await("word of it", func() bool { return slices.Contains(l.forgot, "s") })
}

// Answers that are too much together wait in their children.
func TestRoomForAnswers(t *testing.T) {
	s := newShelf()
	l := startLarge(t, s, func(c *Config) { c.Limits.UnsettledBytes = 3 << 20 })
	l.say(l.in("s", 1, "a", "grow x 2000000", loadOf(0, 0)), l.in("t", 1, "b", "grow x 2000000", loadOf(0, 0)))
	l.await("one report", func() bool { return len(l.completes) == 1 })
	first := l.now().completes[0]
	if st := l.w.Stats(); st.Running != 1 || st.Unsettled != 1 {
		t.Errorf("both answers were taken: %+v", st)
	}
	l.say(settled(first.Task, 1))
	l.await("the other", func() bool { return len(l.completes) == 2 })
	l.say(settled(l.now().completes[1].Task, 1))
	l.poll("all to be over", func(s Stats) bool { return s.Unsettled == 0 })
	if free := <-l.w.room.free; free != 3<<20 {
		t.Errorf("%d bytes of room are free", free)
	} else {
		l.w.room.free <- free
	}
}

// Over the limit of a change the attempt fails with its name; at the limit it
// does not. A worker that has no way to large values keeps to what an entry takes.
func TestChangeLimit(t *testing.T) {
	s := newShelf()
	for _, c := range []struct {
		parts Parts
		limit int64
	}{{s, 2 << 20}, {nil, maxPlainChange}} {
		l := start(t, func(cfg *Config) {
			cfg.Parts = c.parts
			cfg.Limits.ChangeBytes = 2 << 20
		})
		l.onReport = settle
		l.say(l.in("s", 1, "a", fmt.Sprintf("grow x %d", c.limit-3), loadOf(0, 0)), l.in("s", 1, "b", fmt.Sprintf("grow x %d", c.limit-2), nil))
		if r := l.report("a", 1); r.Ending != api.Ending_SUCCESS {
			t.Errorf("at the limit: %v", r.Outcome.Error)
		}
		if r := l.report("b", 1); r.Ending != api.Ending_FAILURE || r.Outcome.Error.Kind != kindLimit || !strings.Contains(r.Outcome.Error.Message, fmt.Sprintf("%d bytes is over the limit of %d", c.limit+1, c.limit)) {
			t.Errorf("over the limit: %v", r.Outcome.Error)
		}
	}
	l := start(t, nil)
	load := loadOf(1, 0)
	load.Items = append(load.Items, s.inParts("v/x", make([]byte, 700_000)))
	l.say(l.in("s", 1, "a", "append x 1", load))
	l.awaitReturn("a")
}

// At its end a worker waits for what is on its way.
func TestDrainWhileCarrying(t *testing.T) {
	s := newShelf()
	gate := make(chan struct{})
	s.shutPut = gate
	l := startLarge(t, s, func(c *Config) { c.Limits.DrainTimeout = patience })
	l.onReport = settle
	l.say(l.in("s", 1, "a", "grow x 1000000", loadOf(0, 0)))
	l.poll("it to have run", func(s Stats) bool { return s.Unsettled == 1 })
	ended := make(chan struct{})
	go func() { l.end(); close(ended) }()
	l.await("word that it drains", func() bool { return l.draining })
	close(gate)
	<-ended
	l.report("a", 1)
}
