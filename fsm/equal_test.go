package fsm

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"os"
	"testing"

	"github.com/hashicorp/raft"
	"pgregory.net/rapid"

	"farm/internal/wire"
	"farm/scheduler"
)

// expected computes from a log, with the plainest means, the hash and chain that
// every machine must have.
func expected(t tb, logs []*raft.Log) (hash string, chain [32]byte) {
	t.Helper()
	rec := &plainRecords{}
	s, err := scheduler.Load(rec)
	if err != nil {
		t.Fatalf("load: %v", err)
	}
	for _, l := range logs {
		if l.Type != raft.LogCommand {
			continue
		}
		now, cmds, err := DecodeEntry(l.Data)
		if err != nil {
			t.Fatalf("decode: %v", err)
		}
		s.Advance(now)
		for _, c := range cmds {
			s.Step(c)
		}
		s.Effects()
		chain = sha256.Sum256(append(wire.AppendUint(chain[:], l.Index), l.Data...))
	}
	s.Settle()
	var all sum
	for k, v := range rec.m {
		all.add(recordSum(k, v))
	}
	return hex.EncodeToString(all.bytes()), chain
}

// life is a machine that a log is given to while things happen to it.
type life struct {
	t       tb
	rnd     *rand.Rand
	dir     string
	logs    []*raft.Log
	m       *Machine
	scratch func() string
}

// given is the position in the log of the first entry the machine lacks.
func (l *life) given() int {
	for i, x := range l.logs {
		if x.Index > l.m.Applied() {
			return i
		}
	}
	return len(l.logs)
}

// run gives the machine its log in batches of any size, and between them kills,
// restarts, flushes, or replaces it.
func (l *life) run() {
	for next := 0; next < len(l.logs); {
		n := min(1+l.rnd.IntN(6), len(l.logs)-next)
		l.m.ApplyBatch(l.logs[next : next+n])
		next += n
		switch l.rnd.IntN(8) {
		case 0:
			abandonAndReopen(l.t, l.m)
			l.reopen()
			next = l.rnd.IntN(l.given() + 1) // raft replays from where it likes
		case 1:
			mustClose(l.t, l.m)
			l.reopen()
		case 2, 3:
			mustHash(l.t, l.m)
		case 4:
			l.install()
		}
	}
}

func (l *life) reopen() {
	l.m = mustOpen(l.t, Options{Dir: l.dir, FlushEvery: never})
}

// install goes on with a new machine that was given a snapshot of the old one.
func (l *life) install() {
	b := mustStream(l.t, l.m)
	l.dir = l.scratch()
	abandonAndReopen(l.t, l.m)
	l.reopen()
	if err := l.m.Restore(closer(b)); err != nil {
		l.t.Fatalf("restore: %v", err)
	}
}

// TestSameLogSameState: whatever happens to a machine beside its log leaves no
// trace in its hash, chain and snapshot.
func TestSameLogSameState(t *testing.T) {
	base := t.TempDir()
	n := 0
	scratch := func() string { n++; return fmt.Sprint(base, "/", n) }
	rapid.Check(t, func(t *rapid.T) {
		seed := rapid.Uint64().Draw(t, "seed")
		logs := newTraffic(seed).logs(rapid.IntRange(1, 60).Draw(t, "entries"))
		hash, chain := expected(t, logs)
		var streams [2][]byte
		for i := range streams {
			l := &life{t: t, rnd: rand.New(rand.NewPCG(seed, uint64(i))), dir: scratch(), logs: logs, scratch: scratch}
			l.reopen()
			l.run()
			if _, got := mustHash(t, l.m); got != hash {
				t.Fatalf("life %d: hash %s, want %s", i, got, hash)
			}
			if at, got := l.m.Chain(); got != chain || at != logs[len(logs)-1].Index {
				t.Fatalf("life %d: chain %x at %d, want %x", i, got, at, chain)
			}
			if err := l.m.Verify(context.Background()); err != nil {
				t.Fatalf("life %d: %v", i, err)
			}
			streams[i] = mustStream(t, l.m)
			mustClose(t, l.m)
			os.RemoveAll(l.dir)
		}
		if !bytes.Equal(streams[0], streams[1]) {
			t.Fatalf("two replicas at one index make different snapshots")
		}
	})
}
