package roster

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"farm/api"
	"farm/scheduler"
)

// records is the simplest scheduler.Records.
type records map[string][]byte

func (r records) Get(key string) []byte        { return r[key] }
func (r records) Put(key string, value []byte) { r[key] = append([]byte{}, value...) }
func (r records) Delete(key string)            { delete(r, key) }
func (r records) Scan(prefix, from string, fn func(string, []byte) bool) {
	var keys []string
	for k := range r {
		if k >= from && strings.HasPrefix(k, prefix) {
			keys = append(keys, k)
		}
	}
	slices.Sort(keys)
	for _, k := range keys {
		if !fn(k, r[k]) {
			return
		}
	}
}

// link remembers what a worker is sent.
type link struct {
	said  []string
	ended error
}

func (l *link) End(why error) { l.ended = why }

func (l *link) Push(i *api.Instruction) {
	switch do := i.Do.(type) {
	case *api.Instruction_Assign:
		l.said = append(l.said, fmt.Sprint("assign ", do.Assign.Task, "/", do.Assign.Attempt))
	case *api.Instruction_Voided:
		l.said = append(l.said, fmt.Sprint("voided ", do.Voided.Task, "/", do.Voided.Attempt))
	case *api.Instruction_Settled:
		l.said = append(l.said, fmt.Sprint("settled ", do.Settled.Task, "/", do.Settled.Attempt))
	case *api.Instruction_Stop:
		l.said = append(l.said, fmt.Sprint("stop ", do.Stop.Task, "/", do.Stop.Attempt))
	}
}

// leader is a roster with the state it works on.
type leader struct {
	t   *testing.T
	s   *scheduler.State
	r   *Roster
	now time.Time
}

var times = Times{Lease: 3 * time.Second, Grace: time.Second, Beat: 500 * time.Millisecond}

func newLeader(t *testing.T) *leader {
	s, err := scheduler.Load(records{})
	if err != nil {
		t.Fatal(err)
	}
	l := &leader{t: t, s: s, r: New(times), now: time.Unix(1000, 0)}
	l.r.Lead(true, l.now)
	return l
}

func (l *leader) step(c scheduler.Command) {
	l.t.Helper()
	if r := l.s.Step(c); r.Code != scheduler.OK {
		l.t.Fatalf("%T: %v %s", c, r.Code, r.Detail)
	}
	l.r.Act(l.s, l.s.Effects())
}

func (l *leader) attach(h *api.Hello) (*link, *Session) {
	l.t.Helper()
	k := &link{}
	x, err := l.r.Open(l.s, h, k, l.now)
	if err != nil {
		l.t.Fatal(err)
	}
	return k, x
}

// silent lists who is to be given up, and whom that blames.
func (l *leader) silent() (out []string) {
	for _, c := range l.r.Silent(l.s, l.now) {
		out = append(out, fmt.Sprint(c.Worker, "/", c.Incarnation, " ", c.Began, " ", c.Guess))
	}
	return out
}

func (l *leader) want(what string, got []string, want ...string) {
	l.t.Helper()
	if !slices.Equal(got, want) {
		l.t.Fatalf("%s: %q, want %q", what, got, want)
	}
}

func ref(task string, attempt uint32) *api.AttemptRef {
	return &api.AttemptRef{Task: task, Attempt: attempt}
}

// start has a worker of two slots with two attempts.
func start(t *testing.T) (*leader, *link, *Session) {
	l := newLeader(t)
	l.step(&scheduler.WorkerUp{Worker: "w", Incarnation: 1, Slots: 2})
	k, x := l.attach(&api.Hello{Worker: "w", Incarnation: 1})
	for _, id := range []string{"a", "b"} {
		l.step(&scheduler.Submit{ID: id, Kind: scheduler.Run, Retries: 1})
	}
	l.want("sent", k.said, "assign a/1", "assign b/1")
	return l, k, x
}

func TestLeaseEnds(t *testing.T) {
	l, k, x := start(t)
	x.Heard(&api.FromWorker{Began: []*api.AttemptRef{ref("a", 1)}}, l.now)
	l.now = l.now.Add(times.Lease)
	l.want("at the end of the lease", l.silent())
	l.now = l.now.Add(time.Millisecond)
	l.want("after it", l.silent(), "w/1 [{a 1}] false")
	l.want("while it is proposed", l.silent())
	lost := x.lost("test")
	l.r.GivenUp(lost, errors.New("no leader"))
	l.want("after the proposal failed", l.silent(), "w/1 [{a 1}] false")
	l.step(lost)
	l.r.GivenUp(lost, nil)
	if !errors.Is(k.ended, ErrGivenUp) || len(l.r.Attached()) != 0 {
		t.Fatalf("the session ended with %v, %v are attached", k.ended, l.r.Attached())
	}
}

func TestBrokenStreamHasGrace(t *testing.T) {
	l, _, x := start(t)
	x.Broke(l.now)
	l.now = l.now.Add(times.Grace)
	l.want("at the end of grace", l.silent())
	l.now = l.now.Add(time.Millisecond)
	l.want("after it", l.silent(), "w/1 [] false")
}

func TestNewLeaderGivesALease(t *testing.T) {
	l, k, _ := start(t)
	l.now = l.now.Add(time.Hour)
	l.r.Lead(true, l.now)
	if !errors.Is(k.ended, ErrNotLeader) {
		t.Fatalf("the session ended with %v", k.ended)
	}
	l.now = l.now.Add(times.Lease)
	l.want("within the lease", l.silent())
	l.now = l.now.Add(time.Millisecond)
	l.want("after it", l.silent(), "w/1 [] true")
	l.r.Lead(false, l.now)
	if _, err := l.r.Open(l.s, &api.Hello{Worker: "w", Incarnation: 1}, &link{}, l.now); !errors.Is(err, ErrNotLeader) {
		t.Fatalf("a node that does not lead takes a worker in: %v", err)
	}
}

// What a worker holds when it attaches to a new leader is not all begun.
func TestResync(t *testing.T) {
	l, _, _ := start(t)
	l.r.Lead(true, l.now)
	k, x := l.attach(&api.Hello{Worker: "w", Incarnation: 1,
		Holds: []*api.AttemptRef{ref("a", 1), ref("old", 4)}, Began: []*api.AttemptRef{ref("old", 4)}})
	l.want("what it lacks and what it should not have", k.said, "assign b/1", "voided old/4")
	l.want("nothing began", blamed(x))
	l.r.Lead(true, l.now)
	_, x = l.attach(&api.Hello{Worker: "w", Incarnation: 1,
		Holds: []*api.AttemptRef{ref("a", 1), ref("b", 1)}, Began: []*api.AttemptRef{ref("b", 1)}})
	l.want("one began", blamed(x), "{b 1}")
}

func blamed(x *Session) (out []string) {
	for _, a := range x.lost("test").Began {
		out = append(out, fmt.Sprint(a))
	}
	return out
}

// What is said late of an earlier attempt does not touch the one there is.
func TestEarlierAttempts(t *testing.T) {
	l, k, x := start(t)
	x.Heard(&api.FromWorker{Began: []*api.AttemptRef{ref("a", 1)}}, l.now)
	cmds, err := x.Commands(&api.FromWorker{Completes: []*api.Complete{{Task: "a", Attempt: 1, Ending: api.Ending_FAILURE, Took: 1e6, Outcome: &api.Outcome{}}}})
	if err != nil || len(cmds) != 1 {
		t.Fatalf("%v, %v", cmds, err)
	}
	l.step(cmds[0])
	l.want("sent", k.said[2:], "settled a/1", "assign a/2")
	x.Heard(&api.FromWorker{Began: []*api.AttemptRef{ref("a", 1)}}, l.now)
	l.want("the first began", blamed(x))
	x.Heard(&api.FromWorker{Began: []*api.AttemptRef{ref("a", 2)}}, l.now)
	l.want("the second began", blamed(x), "{a 2}")
	x.Refused(&scheduler.Complete{Task: "a", Attempt: 1})
	l.want("a late report of the first is refused", blamed(x), "{a 2}")
}

func TestReplace(t *testing.T) {
	l, k, x := start(t)
	x.Heard(&api.FromWorker{Began: []*api.AttemptRef{ref("b", 1)}}, l.now)
	if c := l.r.Replace(&api.Hello{Worker: "w", Incarnation: 2}); c == nil || len(c.Began) != 1 || c.Incarnation != 1 {
		t.Fatalf("a new incarnation costs the old one %+v", c)
	}
	if !errors.Is(k.ended, ErrReplaced) {
		t.Fatalf("the session ended with %v", k.ended)
	}
	if c := l.r.Replace(&api.Hello{Worker: "w", Incarnation: 2}); c != nil {
		t.Fatalf("there was no session, and it costs %+v", c)
	}
}
