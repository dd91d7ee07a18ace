package fsm

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hashicorp/raft"

	"farm/internal/wire"
)

// filled is a machine with some state, and the log that made it.
func filled(t *testing.T, o Options, entries int) (*Machine, []*raft.Log) {
	t.Helper()
	logs := newTraffic(11).logs(entries)
	o.FlushEvery = never
	if o.Dir == "" {
		o.Dir = t.TempDir()
	}
	m := mustOpen(t, o)
	m.ApplyBatch(logs)
	return m, logs
}

// files are the names in a data folder.
func files(t *testing.T, dir string) string {
	t.Helper()
	list, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, f := range list {
		names = append(names, f.Name())
	}
	return strings.Join(names, " ")
}

// TestDamagedSnapshot: a snapshot with one wrong bit, cut off anywhere, or with
// something behind it, is refused and changes nothing.
func TestDamagedSnapshot(t *testing.T) {
	source, _ := filled(t, Options{}, 12)
	defer mustClose(t, source)
	good := mustStream(t, source)

	dir := t.TempDir()
	m := mustOpen(t, Options{Dir: dir, FlushEvery: never})
	defer mustClose(t, m)
	m.ApplyBatch(newTraffic(5).logs(3))
	_, before := mustHash(t, m)
	refused := func(what string, b []byte) {
		t.Helper()
		err := m.Restore(closer(b))
		if !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrNewerFormat) {
			t.Fatalf("%s: %v", what, err)
		}
	}
	rnd := rand.New(rand.NewPCG(1, 1))
	head := len(source.store.durable.Load().header())
	for i := range 150 {
		at := rnd.IntN(len(good))
		if i < 50 {
			at = rnd.IntN(head)
		}
		bad := bytes.Clone(good)
		bad[at] ^= 1 << rnd.IntN(8)
		refused(fmt.Sprintf("bit flipped in byte %d", at), bad)
		if i < 50 {
			n := rnd.IntN(len(good))
			refused(fmt.Sprintf("cut off at %d", n), good[:n])
		}
	}
	refused("something behind it", append(bytes.Clone(good), 0))
	if _, after := mustHash(t, m); after != before {
		t.Error("a refused snapshot changed the state")
	}
	if f := files(t, dir); f != stateFile {
		t.Errorf("a refused snapshot left files: %s", f)
	}
	if err := m.Restore(closer(good)); err != nil {
		t.Fatalf("the good snapshot: %v", err)
	}
	_, want := mustHash(t, source)
	if _, got := mustHash(t, m); got != want {
		t.Error("the restored state is another")
	}
}

// TestLyingSnapshot: a snapshot whose checksum is right but whose records are not
// those of its header, or not in order, is refused.
func TestLyingSnapshot(t *testing.T) {
	m := mustOpen(t, Options{Dir: t.TempDir()})
	defer mustClose(t, m)
	build := func(lie func(*meta), keys ...string) []byte {
		h := &meta{}
		h.Applied, h.Term = 5, 1
		var records []byte
		for _, k := range keys {
			h.add(k, nil)
			records = wire.AppendBytes(wire.AppendString(records, k), nil)
		}
		lie(h)
		b := append(h.header(), records...)
		end := sha256.Sum256(b)
		return append(b, end[:]...)
	}
	for what, b := range map[string][]byte{
		"hash":  build(func(h *meta) { h.Sum[3]++ }, "t/a", "t/b"),
		"bytes": build(func(h *meta) { h.Bytes++ }, "t/a", "t/b"),
		"fewer": build(func(h *meta) { h.Count-- }, "t/a", "t/b"),
		"more":  build(func(h *meta) { h.Count++ }, "t/a", "t/b"),
		"order": build(func(*meta) {}, "t/b", "t/a"),
		"twice": build(func(*meta) {}, "t/a", "t/a"),
		"key":   build(func(*meta) {}, strings.Repeat("k", maxKeyBytes+1)),
	} {
		if err := m.Restore(closer(b)); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if err := m.Restore(closer(build(func(*meta) {}, "t/a", "t/b"))); err != nil || m.Applied() != 5 {
		t.Errorf("the truth: %v", err)
	}
}

// TestNewerSnapshot: a snapshot of a newer farm says so.
func TestNewerSnapshot(t *testing.T) {
	m, _ := filled(t, Options{}, 12)
	defer mustClose(t, m)
	b := mustStream(t, m)
	b[len(snapshotMagic)]++
	err := m.Restore(closer(b))
	if !errors.Is(err, ErrNewerFormat) || !strings.Contains(err.Error(), "format 2, this farm knows up to 1") {
		t.Fatalf("error %v", err)
	}
}

// TestOlderSnapshot: a state is never put back.
func TestOlderSnapshot(t *testing.T) {
	m, _ := filled(t, Options{}, 12)
	defer mustClose(t, m)
	old := mustStream(t, m)
	g := newTraffic(11)
	g.logs(12)
	m.ApplyBatch(g.logs(5))
	at, want := mustHash(t, m)
	if err := m.Restore(closer(old)); err != nil {
		t.Fatal(err)
	}
	if now, got := mustHash(t, m); now != at || got != want {
		t.Errorf("a snapshot of the past replaced the state: at %d, was %d", now, at)
	}
}

type stopHere struct{}

// TestCrashInRestore: killed anywhere in a restore, the folder holds the old
// state or the new one, whole, and nothing else.
func TestCrashInRestore(t *testing.T) {
	source, _ := filled(t, Options{}, 30)
	defer mustClose(t, source)
	b := mustStream(t, source)
	_, newHash := mustHash(t, source)
	for _, point := range []string{"restore: built", "restore: renamed", "while read"} {
		t.Run(point, func(t *testing.T) {
			dir := t.TempDir()
			m := mustOpen(t, Options{Dir: dir, FlushEvery: never})
			m.ApplyBatch(newTraffic(5).logs(3))
			_, oldHash := mustHash(t, m)
			m.hook = func(p string) {
				if p == point {
					panic(stopHere{})
				}
			}
			func() {
				defer func() {
					if p := recover(); p != (stopHere{}) {
						t.Fatalf("the restore did not stop at the point: %v", p)
					}
				}()
				rc := closer(b)
				if point == "while read" {
					rc = io.NopCloser(io.MultiReader(bytes.NewReader(b[:len(b)/2]), panicReader{}))
				}
				if err := m.Restore(rc); err != nil {
					t.Fatal(err)
				}
			}()
			// The process is gone: copy what it leaves.
			left := t.TempDir()
			if err := os.CopyFS(left, os.DirFS(dir)); err != nil {
				t.Fatal(err)
			}
			m = mustOpen(t, Options{Dir: left, FlushEvery: never})
			defer mustClose(t, m)
			want := oldHash
			if point == "restore: renamed" {
				want = newHash
			}
			if _, got := mustHash(t, m); got != want {
				t.Error("the state is not the one expected")
			}
			if err := m.Verify(t.Context()); err != nil {
				t.Error(err)
			}
			if f := files(t, left); f != stateFile {
				t.Errorf("files left: %s", f)
			}
		})
	}
}

type panicReader struct{}

func (panicReader) Read([]byte) (int, error) { panic(stopHere{}) }

// TestReceivedSnapshot: the sink of another replica's snapshot, with the calls
// that raft makes.
func TestReceivedSnapshot(t *testing.T) {
	source, _ := filled(t, Options{}, 12)
	defer mustClose(t, source)
	good := mustStream(t, source)
	index := source.Applied()

	dir := t.TempDir()
	m := mustOpen(t, Options{Dir: dir, FlushEvery: never})
	store := m.Snapshots()
	conf := raft.Configuration{Servers: []raft.Server{{ID: "x", Address: "x"}}}
	create := func() raft.SnapshotSink {
		k, err := store.Create(1, index+7, 9, conf, index, nil)
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	if err := create().Close(); !errors.Is(err, ErrCorrupt) {
		t.Errorf("an empty snapshot was taken: %v", err)
	}
	if list, err := store.List(); err != nil || len(list) != 0 {
		t.Errorf("a new folder lists %v, %v", list, err)
	}
	k := create()
	k.Write(good[:10])
	if err := k.Cancel(); err != nil {
		t.Error(err)
	}
	k = create()
	if _, err := io.Copy(k, bytes.NewReader(good)); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(k.Close(), k.Close()); err != nil {
		t.Fatal(err)
	}
	meta, rc, err := store.Open(k.ID())
	if err != nil {
		t.Fatal(err)
	}
	if meta.Size != int64(len(good)) || meta.Index != index+7 || meta.Term != 9 {
		t.Errorf("described as %+v", meta)
	}
	if err := errors.Join(m.Restore(rc), rc.Close()); err != nil {
		t.Fatal(err)
	}
	if f := files(t, dir); f != stateFile {
		t.Errorf("files left: %s", f)
	}
	abandonAndReopen(t, m)

	m = mustOpen(t, Options{Dir: dir, FlushEvery: never})
	defer mustClose(t, m)
	list, err := m.Snapshots().List()
	if err != nil || len(list) != 1 || list[0].Index != index+7 || list[0].Term != 9 || list[0].Configuration.Servers[0].ID != "x" {
		t.Errorf("after a restart it is %+v, %v", list, err)
	}
	if m.Applied() != index {
		t.Errorf("applied %d, want %d", m.Applied(), index)
	}
	if _, _, err := m.Snapshots().Open("../../etc/passwd"); err == nil {
		t.Error("a file that is no snapshot was opened")
	}
}

// TestStreamOutlivesNothing: a stream of the state reads one moment of it while
// writing goes on, and ends with an error when the machine closes or its state
// is replaced; neither waits for the reader.
func TestStreamOutlivesNothing(t *testing.T) {
	g := newTraffic(3)
	m := mustOpen(t, Options{Dir: t.TempDir(), FlushEvery: never})
	m.ApplyBatch(g.logs(50))
	want := mustStream(t, m)
	_, rc, err := m.Snapshots().Open(stateID)
	if err != nil {
		t.Fatal(err)
	}
	_, idle, err := m.Snapshots().Open(stateID)
	if err != nil {
		t.Fatal(err)
	}
	for range 20 {
		m.ApplyBatch(g.logs(5))
		mustHash(t, m)
	}
	got, err := io.ReadAll(rc)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("the stream changed while it was read: %v", err)
	}
	mustClose(t, m)
	if _, err := io.ReadAll(idle); !errors.Is(err, ErrClosed) {
		t.Errorf("a stream of a closed machine: %v", err)
	}
	if err := errors.Join(rc.Close(), idle.Close(), idle.Close()); err != nil {
		t.Error(err)
	}
	if _, err := m.Snapshot(); err != nil {
		t.Error(err)
	}
	if _, _, err := m.Hash(context.Background()); !errors.Is(err, ErrClosed) {
		t.Errorf("hash of a closed machine: %v", err)
	}
}

// TestLeftovers: temporary files of a crash are removed, others kept.
func TestLeftovers(t *testing.T) {
	dir := t.TempDir()
	for _, n := range []string{restorePrefix + "1", incomePrefix + "2", "mine"} {
		if err := os.WriteFile(filepath.Join(dir, n), []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	m := mustOpen(t, Options{Dir: dir})
	defer mustClose(t, m)
	if f := files(t, dir); f != "mine "+stateFile {
		t.Errorf("files left: %s", f)
	}
}
