package fsm

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/raft"
	"go.etcd.io/bbolt"

	"farm/internal/wire"
	"farm/scheduler"
)

func submit(id string, body string) *scheduler.Submit {
	return &scheduler.Submit{ID: id, Kind: scheduler.Run, Body: []byte(body)}
}

func command(index uint64, cmds ...scheduler.Command) []*raft.Log {
	return []*raft.Log{{Index: index, Term: 1, Type: raft.LogCommand, Data: EncodeEntry(int64(index), cmds)}}
}

// marked makes a state file with a live task and a finished one, each with a
// body that can be found in the file.
func marked(t *testing.T) (dir string) {
	t.Helper()
	dir = t.TempDir()
	m := mustOpen(t, Options{Dir: dir, FlushEvery: never})
	m.ApplyBatch(command(1, submit("live", "LIVEBODY"), submit("gone", "GONEBODY"), &scheduler.Cancel{ID: "gone"}))
	mustClose(t, m)
	return dir
}

// flip changes one bit of every occurrence of text in the state file.
func flip(t *testing.T, dir, text string) {
	t.Helper()
	path := filepath.Join(dir, stateFile)
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(b, []byte(text)) {
		t.Fatalf("%q is not in the file", text)
	}
	changed := []byte(text)
	changed[0] ^= 1
	if err := os.WriteFile(path, bytes.ReplaceAll(b, []byte(text), changed), 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestFlippedValue: a wrong bit in a stored value is found when it is read, at
// the latest; the error names the record.
func TestFlippedValue(t *testing.T) {
	dir := marked(t)
	flip(t, dir, "LIVEBODY")
	if _, err := Open(Options{Dir: dir, Logger: quiet()}); !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), `"q/live"`) {
		t.Errorf("open: %v", err)
	}

	dir = marked(t)
	flip(t, dir, "GONEBODY")
	for name, read := range map[string]func(*Machine) error{
		"view": func(m *Machine) (err error) {
			defer func() { err, _ = recover().(error) }()
			m.View(func(s *scheduler.State) { s.Task("gone") })
			return nil
		},
		"apply": func(m *Machine) (err error) {
			defer func() { err, _ = recover().(error) }()
			m.ApplyBatch(command(2, submit("gone", "")))
			return nil
		},
		"verify": func(m *Machine) error { return m.Verify(t.Context()) },
	} {
		var fatal []error
		m := mustOpen(t, Options{Dir: dir, FlushEvery: never, Fatal: func(err error) { fatal = append(fatal, err) }})
		err := read(m)
		if !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), `"t/gone"`) {
			t.Errorf("%s: %v", name, err)
		}
		m.fail(err)
		if len(fatal) != 1 || !errors.Is(fatal[0], ErrCorrupt) {
			t.Errorf("%s: fatal %v", name, fatal)
		}
		if err := m.Close(); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: close: %v", name, err)
		}
	}
}

// TestFlippedAnywhere: one wrong bit anywhere in the file is found, or it is
// where it does no harm.
func TestFlippedAnywhere(t *testing.T) {
	dir := t.TempDir()
	m, _ := filled(t, Options{Dir: dir}, 80)
	want := mustStream(t, m)
	mustClose(t, m)
	good, err := os.ReadFile(filepath.Join(dir, stateFile))
	if err != nil {
		t.Fatal(err)
	}
	good = bytes.TrimRight(good, "\x00") // the file is longer than what is in it
	good = append(good, make([]byte, 4096)...)
	rnd := rand.New(rand.NewPCG(2, 2))
	found := 0
	for range 150 {
		at := rnd.IntN(len(good))
		bad := bytes.Clone(good)
		bad[at] ^= 1 << rnd.IntN(8)
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, stateFile), bad, 0o600); err != nil {
			t.Fatal(err)
		}
		m, err := Open(Options{Dir: dir, FlushEvery: never, Logger: quiet(), Fatal: func(error) {}})
		if err != nil {
			found++
			continue
		}
		if err := m.Verify(t.Context()); err != nil {
			found++
		} else if got := mustStream(t, m); !bytes.Equal(got, want) {
			t.Errorf("the flip in byte %d went unnoticed", at)
		}
		m.Close()
	}
	if found < 20 {
		t.Errorf("only %d of 150 flips were where something is: the test shows little", found)
	}
}

// TestForeignFile: a file that is no state, and one of another program.
func TestForeignFile(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, stateFile), bytes.Repeat([]byte("no state "), 4000), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(Options{Dir: dir, Logger: quiet()}); !errors.Is(err, ErrCorrupt) {
		t.Errorf("open: %v", err)
	}
	dir = t.TempDir()
	edit(t, dir, func(tx *bbolt.Tx) error {
		_, err := tx.CreateBucket(recordsBucket)
		return err
	})
	if _, err := Open(Options{Dir: dir, Logger: quiet()}); !errors.Is(err, ErrCorrupt) {
		t.Errorf("open: %v", err)
	}
}

func edit(t *testing.T, dir string, fn func(*bbolt.Tx) error) {
	t.Helper()
	db, err := bbolt.Open(filepath.Join(dir, stateFile), 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(db.Update(fn), db.Close()); err != nil {
		t.Fatal(err)
	}
}

// TestNewerFolder: a folder that a newer farm wrote is refused, whatever part of
// it is newer.
func TestNewerFolder(t *testing.T) {
	for what, newer := range map[string]func(*bbolt.Tx) error{
		"file": func(tx *bbolt.Tx) error {
			return tx.Bucket(metaBucket).Put(formatKey, seal("format", wire.AppendUint(nil, storeVersion+1)))
		},
		"meta": func(tx *bbolt.Tx) error {
			return tx.Bucket(metaBucket).Put(metaKey, seal("meta", []byte{metaVersion + 1, 1, 2, 3}))
		},
		"policy": func(tx *bbolt.Tx) error {
			m := &meta{}
			m.Policy = scheduler.PolicyVersion + 1
			return putMeta(tx, m)
		},
		"record": func(tx *bbolt.Tx) error {
			return tx.Bucket(recordsBucket).Put([]byte("q/live"), seal("q/live", []byte{200}))
		},
	} {
		dir := marked(t)
		edit(t, dir, newer)
		_, err := Open(Options{Dir: dir, Logger: quiet()})
		if !errors.Is(err, ErrNewerFormat) || !strings.Contains(err.Error(), "knows up to ") {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// TestLocked: a folder has one user.
func TestLocked(t *testing.T) {
	dir := t.TempDir()
	m := mustOpen(t, Options{Dir: dir})
	defer mustClose(t, m)
	if _, err := Open(Options{Dir: dir, Logger: quiet()}); !errors.Is(err, ErrLocked) {
		t.Errorf("open: %v", err)
	}
}

// TestFailingDisk: an error of the disk is fatal, once, and ends all waiting.
func TestFailingDisk(t *testing.T) {
	fatal := make(chan error, 10)
	m := mustOpen(t, Options{Dir: t.TempDir(), FlushEvery: never, Fatal: func(err error) { fatal <- err }})
	m.ApplyBatch(command(1, submit("a", "")))
	mustHash(t, m)
	// Behind the machine's back, as if the file system had gone.
	closeFile(t, m.store.db)
	m.ApplyBatch(command(2, submit("b", "")))
	for range 2 {
		if _, _, err := m.Hash(t.Context()); err == nil {
			t.Error("a hash of what could not be written")
		}
	}
	if err := m.WaitApplied(t.Context(), 3); err == nil {
		t.Error("a wait went on")
	}
	func() {
		defer func() {
			if recover() == nil {
				t.Error("the machine applied an entry after a fatal error")
			}
		}()
		m.ApplyBatch(command(3, submit("c", "")))
	}()
	m.Close()
	if len(fatal) != 1 {
		t.Errorf("Fatal was called %d times", len(fatal))
	}
	if m.Flushed() != 1 {
		t.Errorf("flushed %d", m.Flushed())
	}
}

// TestFatalHasTheLastWord: while Fatal ends the process nothing else does, a
// panic of raft's goroutine at the next entry least of all.
func TestFatalHasTheLastWord(t *testing.T) {
	called, end := make(chan struct{}), make(chan struct{})
	m := mustOpen(t, Options{Dir: t.TempDir(), FlushEvery: never, Fatal: func(error) { close(called); <-end }})
	m.ApplyBatch(command(1, submit("a", "")))
	go m.fail(errCrash)
	<-called
	panicked := make(chan any, 1)
	go func() {
		defer func() { panicked <- recover() }()
		m.ApplyBatch(command(2, submit("b", "")))
	}()
	select {
	case p := <-panicked:
		t.Fatalf("the next entry was not held: %v", p)
	case <-time.After(50 * time.Millisecond):
	}
	close(end)
	if err, _ := (<-panicked).(error); !errors.Is(err, errCrash) {
		t.Errorf("panic %v", err)
	}
	m.Close()
}

// closeFile makes every write of a database fail.
func closeFile(t *testing.T, db *bbolt.DB) {
	t.Helper()
	fds, err := filepath.Glob("/proc/self/fd/*")
	if err != nil {
		t.Fatal(err)
	}
	for _, fd := range fds {
		if name, _ := os.Readlink(fd); name == db.Path() {
			replaceFD(t, filepath.Base(fd))
			return
		}
	}
	t.Skip("needs /proc to take a file away from a running machine")
}

// TestStuckDisk: a commit that does not end is fatal.
func TestStuckDisk(t *testing.T) {
	fatal := make(chan error, 1)
	m := mustOpen(t, Options{Dir: t.TempDir(), FlushEvery: never, Fatal: func(err error) { fatal <- err }})
	release := make(chan struct{})
	m.limit = 20 * time.Millisecond
	m.hook = func(string) { <-release }
	m.ApplyBatch(command(1, submit("a", "")))
	if _, _, err := m.Hash(t.Context()); err == nil || !strings.Contains(err.Error(), "stuck") {
		t.Errorf("hash: %v", err)
	}
	<-fatal
	close(release)
	m.Close()
}

// TestDamagedEntry: a committed entry that cannot be read ends the process, and
// says which and why.
func TestDamagedEntry(t *testing.T) {
	good := EncodeEntry(5, []scheduler.Command{submit("a", "body"), &scheduler.Tick{}})
	resealed := func(fn func(b []byte) []byte) []byte {
		b := fn(bytes.Clone(good[:len(good)-crcBytes]))
		return seal("", b)
	}
	for name, c := range map[string]struct {
		data []byte
		want error
		text string
	}{
		"empty":         {nil, ErrEntry, "0 bytes"},
		"cut off":       {good[:len(good)-1], ErrEntry, "checksum"},
		"newer version": {resealed(func(b []byte) []byte { b[0] = 2; return b }), ErrNewerFormat, "log entry has format 2, this farm knows up to 1"},
		"flags":         {resealed(func(b []byte) []byte { b[1] = 1; return b }), ErrNewerFormat, "flags"},
		"version 0":     {resealed(func(b []byte) []byte { b[0] = 0; return b }), ErrEntry, "version 0"},
		"command type":  {resealed(func(b []byte) []byte { b[len(b)-1] = 99; return b }), ErrNewerFormat, "command 1"},
		"short":         {resealed(func(b []byte) []byte { return b[:len(b)-1] }), ErrEntry, "command 1"},
		"left over":     {resealed(func(b []byte) []byte { return append(b, 1) }), ErrEntry, ""},
	} {
		m := mustOpen(t, Options{Dir: t.TempDir(), FlushEvery: never})
		func() {
			defer func() {
				err, _ := recover().(error)
				var e *EntryError
				if !errors.As(err, &e) || e.Index != 17 || !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.text) {
					t.Errorf("%s: %v", name, err)
				}
			}()
			m.ApplyBatch([]*raft.Log{{Index: 17, Term: 1, Type: raft.LogCommand, Data: c.data}})
		}()
		if m.Applied() != 0 {
			t.Errorf("%s: it counts as applied", name)
		}
		mustClose(t, m)
	}
	for at := range len(good) * 8 {
		bad := bytes.Clone(good)
		bad[at/8] ^= 1 << (at % 8)
		if _, _, err := DecodeEntry(bad); err == nil {
			t.Fatalf("the flip of bit %d went unnoticed", at)
		}
	}
}

// alien is a command that makes the scheduler panic.
type alien struct{}

func (alien) AppendTo(b []byte) []byte { return b }

// TestPanicInStep: a panic of the scheduler ends the process and says where;
// nothing of the entry reaches the disk.
func TestPanicInStep(t *testing.T) {
	dir := t.TempDir()
	m := mustOpen(t, Options{Dir: dir, FlushEvery: never})
	m.ApplyBatch(command(1, submit("a", "")))
	mustHash(t, m)
	func() {
		defer func() {
			var e *EntryError
			if err, _ := recover().(error); !errors.As(err, &e) || e.Index != 2 || e.Command != 1 {
				t.Errorf("panic %v", err)
			}
		}()
		m.mu.Lock()
		defer m.mu.Unlock()
		m.dirty = true
		m.step(2, 2, []scheduler.Command{submit("half", ""), alien{}})
	}()
	if _, _, err := m.Hash(context.Background()); err == nil {
		t.Error("a hash of half an entry")
	}
	if err := m.writeGeneration(); err != nil { // by a flusher that had begun before
		t.Error(err)
	}
	m.Close()
	m = mustOpen(t, Options{Dir: dir})
	defer mustClose(t, m)
	m.View(func(s *scheduler.State) {
		if s.Task("half") != nil || s.Task("a") == nil {
			t.Error("half an entry reached the disk")
		}
	})
}

// TestBacklog: an apply waits for a disk that falls behind, and loses nothing.
func TestBacklog(t *testing.T) {
	m := mustOpen(t, Options{Dir: t.TempDir(), FlushEvery: never, FlushRecords: 10})
	release := make(chan struct{})
	m.hook = func(string) { <-release }
	var applied atomic.Int64
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i, l := range newTraffic(9).logs(200) {
			m.ApplyBatch([]*raft.Log{l})
			applied.Store(int64(i + 1))
		}
	}()
	eventually(t, "a flush begins", func() bool { return len(m.kick) == 1 })
	if n := applied.Load(); n > 150 {
		t.Errorf("%d entries were applied while nothing could be written", n)
	}
	close(release)
	<-done
	hash, _ := expected(t, newTraffic(9).logs(200))
	if _, got := mustHash(t, m); got != hash {
		t.Error("the state is not that of the log")
	}
	mustClose(t, m)
}
