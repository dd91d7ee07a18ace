package fsm

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/raft"

	"farm/internal/part"
	"farm/scheduler"
)

const never = time.Hour // a FlushEvery that leaves flushing to the test

// tb is what *testing.T, *testing.B and *rapid.T have in common.
type tb interface {
	Helper()
	Fatalf(format string, args ...any)
}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

func mustOpen(t tb, o Options) *Machine {
	t.Helper()
	if o.Logger == nil {
		o.Logger = quiet()
	}
	if o.Fatal == nil {
		o.Fatal = func(err error) { panic(err) }
	}
	m, err := Open(o)
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	return m
}

func mustClose(t tb, m *Machine) {
	t.Helper()
	if err := m.Close(); err != nil {
		t.Fatalf("close: %v", err)
	}
}

var errCrash = errors.New("crashed by the test")

// crash lets a machine go as kill -9 would: what was not committed is lost.
func abandonAndReopen(t tb, m *Machine) {
	t.Helper()
	m.poison(errCrash)
	if err := m.Close(); !errors.Is(err, errCrash) {
		t.Fatalf("close of a crashed machine: %v", err)
	}
}

func mustHash(t tb, m *Machine) (uint64, string) {
	t.Helper()
	index, sum, err := m.Hash(context.Background())
	if err != nil {
		t.Fatalf("hash: %v", err)
	}
	return index, sum
}

// mustStream is the snapshot of a machine; its announced size must be right.
func mustStream(t tb, m *Machine) []byte {
	t.Helper()
	mustHash(t, m)
	meta, rc, err := m.Snapshots().Open(stateID)
	if err != nil {
		t.Fatalf("open snapshot: %v", err)
	}
	defer rc.Close()
	b, err := io.ReadAll(rc)
	if err != nil {
		t.Fatalf("read snapshot: %v", err)
	}
	if int64(len(b)) != meta.Size {
		t.Fatalf("the snapshot has %d bytes, its description says %d", len(b), meta.Size)
	}
	return b
}

func closer(b []byte) io.ReadCloser { return io.NopCloser(bytes.NewReader(b)) }

// traffic makes a random log that a scheduler would see: it keeps a state of
// its own to know what is running where.
type traffic struct {
	rnd   *rand.Rand
	state *scheduler.State
	now   int64
	index uint64
	ids   int
}

func newTraffic(seed uint64) *traffic {
	s, err := scheduler.Load(&plainRecords{})
	if err != nil {
		panic(err)
	}
	return &traffic{rnd: rand.New(rand.NewPCG(seed, 1)), state: s, now: 1e18}
}

// logs makes n command entries; between them are configurations, and indexes
// of entries that raft keeps to itself.
func (g *traffic) logs(n int) (out []*raft.Log) {
	for range n {
		g.index += 1 + uint64(g.rnd.IntN(2))
		if g.rnd.IntN(20) == 0 {
			c := raft.Configuration{Servers: []raft.Server{{ID: "a", Address: raft.ServerAddress(fmt.Sprint(g.index))}}}
			out = append(out, &raft.Log{Index: g.index, Term: 1 + g.index/10, Type: raft.LogConfiguration, Data: raft.EncodeConfiguration(c)})
			g.index++
		}
		out = append(out, &raft.Log{Index: g.index, Term: 1 + g.index/10, Type: raft.LogCommand, Data: g.entry()})
	}
	return out
}

func (g *traffic) entry() []byte {
	g.now += int64(g.rnd.IntN(int(time.Second)))
	g.state.Advance(g.now)
	cmds := make([]scheduler.Command, 1+g.rnd.IntN(8))
	for i := range cmds {
		cmds[i] = g.command()
		g.state.Step(cmds[i])
	}
	g.state.Effects()
	return EncodeEntry(g.now, cmds)
}

func (g *traffic) id(prefix string) string {
	g.ids++
	return fmt.Sprint(prefix, g.ids)
}

func (g *traffic) worker() string { return fmt.Sprint("w", g.rnd.IntN(3)) }

func (g *traffic) bytes(max int) []byte {
	b := make([]byte, g.rnd.IntN(max))
	for i := range b {
		b[i] = byte(g.rnd.Uint32())
	}
	return b
}

func (g *traffic) change() (c scheduler.Change) {
	keys := []string{"a", "b", "c/d", "e", "\xff"}
	for _, k := range keys {
		switch g.rnd.IntN(4) {
		case 0:
			c.Put = append(c.Put, scheduler.Item{Key: k, Value: g.bytes(30)})
			if g.rnd.IntN(3) == 0 {
				c.Put[len(c.Put)-1] = scheduler.Item{Key: k, Parts: g.manifest()}
			}
		case 1:
			c.Delete = append(c.Delete, k)
		}
	}
	return c
}

// pooled are the bytes of the i-th part that values are made of.
func pooled(i int) []byte { return bytes.Repeat([]byte{byte(i)}, 1000+i) }

func (g *traffic) manifest() *part.Manifest {
	m := &part.Manifest{}
	for range 1 + g.rnd.IntN(3) {
		b := pooled(g.rnd.IntN(6))
		m.Parts, m.Size = append(m.Parts, part.HashOf(b)), m.Size+uint64(len(b))
	}
	return m
}

func (g *traffic) command() scheduler.Command {
	if g.rnd.IntN(6) == 0 {
		b := pooled(g.rnd.IntN(6))
		return &scheduler.Upload{Owner: "w0", Hash: part.HashOf(b), Bytes: b}
	}
	switch k := g.rnd.IntN(20); {
	case k < 5:
		return g.submit(scheduler.Run)
	case k < 6:
		x := g.submit(scheduler.Patch)
		c := g.change()
		if x.Body = c.Encode(); c.InParts() {
			x.Kind = scheduler.PatchParts
		}
		return x
	case k < 7 && g.rnd.IntN(4) == 0:
		return g.submit(scheduler.Drop)
	case k < 7 && g.rnd.IntN(3) == 0:
		x := g.submit(scheduler.Fork)
		x.Body = scheduler.ForkBody(fmt.Sprint("n", g.rnd.IntN(4)))
		return x
	case k < 7:
		x := g.submit(scheduler.Restore)
		if n := g.state.Namespace(x.Namespace); n != nil {
			x.Body = scheduler.RestoreBody(n.Version - min(n.Version, uint64(g.rnd.IntN(12))))
		}
		return x
	case k < 8:
		return &scheduler.Cancel{ID: fmt.Sprint("t", g.rnd.IntN(g.ids+1))}
	case k < 10 || g.state.Worker("w0") == nil:
		id, inc := g.worker(), uint64(g.rnd.IntN(4))
		if g.rnd.IntN(3) == 0 {
			return &scheduler.WorkerLost{Worker: id, Incarnation: inc, Guess: true, Cause: "test"}
		}
		return &scheduler.WorkerUp{Worker: id, Incarnation: inc, Slots: 1 + g.rnd.Uint32N(4)}
	case k < 11:
		return g.job()
	}
	return g.complete()
}

func (g *traffic) submit(kind scheduler.Kind) *scheduler.Submit {
	c := &scheduler.Submit{ID: g.id("t"), Kind: kind, Retries: g.rnd.Uint32N(2), Priority: int32(g.rnd.IntN(3)), Body: g.bytes(100)}
	if kind != scheduler.Run || g.rnd.IntN(2) == 0 {
		c.Namespace = fmt.Sprint("n", g.rnd.IntN(4))
	}
	if g.rnd.IntN(8) == 0 {
		c.Delay = int64(g.rnd.IntN(int(3 * time.Second)))
	}
	if g.rnd.IntN(4) == 0 {
		c.Job = "j1"
	}
	return c
}

func (g *traffic) job() scheduler.Command {
	if g.rnd.IntN(2) == 0 {
		return &scheduler.OpenJob{ID: "j1", Fold: "n1"}
	}
	return &scheduler.CancelJob{ID: "j1"}
}

func (g *traffic) complete() scheduler.Command {
	id := g.worker()
	tasks := g.state.Assigned(id)
	if len(tasks) == 0 {
		return &scheduler.Tick{}
	}
	x := tasks[g.rnd.IntN(len(tasks))]
	c := &scheduler.Complete{Task: x.ID, Attempt: x.Attempt, Worker: id, Incarnation: x.Incarnation, Status: scheduler.Success,
		Outcome: g.bytes(200), Took: int64(g.rnd.IntN(int(20 * time.Millisecond)))}
	if n := g.state.Namespace(x.Namespace); n != nil {
		c.Epoch, c.Base, c.Change = n.Epoch, n.Version, g.change()
	}
	switch g.rnd.IntN(8) {
	case 0:
		c.Status, c.Cause, c.Change = scheduler.Failure, "test", scheduler.Change{}
	case 1:
		c.Attempt++
	}
	return c
}

// plainRecords is the simplest scheduler.Records.
type plainRecords struct{ m map[string][]byte }

func (r *plainRecords) Get(key string) []byte { return r.m[key] }

func (r *plainRecords) Put(key string, value []byte) {
	if r.m == nil {
		r.m = map[string][]byte{}
	}
	if value == nil {
		value = []byte{}
	}
	r.m[key] = value
}

func (r *plainRecords) Delete(key string) { delete(r.m, key) }

func (r *plainRecords) Scan(prefix, from string, fn func(string, []byte) bool) {
	var keys []string
	for k := range r.m {
		if k >= from && strings.HasPrefix(k, prefix) {
			keys = append(keys, k)
		}
	}
	slices.Sort(keys)
	for _, k := range keys {
		if !fn(k, r.m[k]) {
			return
		}
	}
}
