package consensus

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
)

// openGuarded opens a store of the kind in dir, behind a guard that is armed.
func openGuarded(t *testing.T, dir, kind string) (*guard, *fatals) {
	t.Helper()
	f, err := openFolder(dir, kind, hclog.NewNullLogger())
	if err != nil {
		t.Fatal(err)
	}
	g := newGuard(f, StallLimit)
	fatal := &fatals{}
	g.arm(fatal.add)
	t.Cleanup(func() { _ = g.Close() })
	return g, fatal
}

type fatals struct {
	mu   sync.Mutex
	errs []error
}

func (f *fatals) add(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.errs = append(f.errs, err)
}

func (f *fatals) all() []error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]error(nil), f.errs...)
}

// only fails the test unless there was one fatal error, and it is want and says text.
func (f *fatals) only(t *testing.T, want error, text string) {
	t.Helper()
	errs := f.all()
	if len(errs) != 1 || !errors.Is(errs[0], want) || !strings.Contains(errs[0].Error(), text) {
		t.Errorf("fatal %v, want one %q that names %q", errs, want, text)
	}
}

func entries(from, to uint64) []*raft.Log {
	var out []*raft.Log
	for i := from; i <= to; i++ {
		out = append(out, &raft.Log{Index: i, Term: 1 + i/4, Type: raft.LogType(i % 3), Data: bytes.Repeat(fmt.Appendf(nil, "<%d>", i), 20)})
	}
	return out
}

func hasEntries(t *testing.T, g *guard, from, to uint64) {
	t.Helper()
	if first, err := g.FirstIndex(); err != nil || first != from {
		t.Errorf("first index is %d, %v, want %d", first, err, from)
	}
	if last, err := g.LastIndex(); err != nil || last != to {
		t.Errorf("last index is %d, %v, want %d", last, err, to)
	}
	for _, want := range entries(from, to) {
		var got raft.Log
		if err := g.GetLog(want.Index, &got); err != nil {
			t.Fatal(err)
		}
		if got.Index != want.Index || got.Term != want.Term || got.Type != want.Type || !bytes.Equal(got.Data, want.Data) || got.Extensions != nil {
			t.Errorf("entry %d is %+v, want %+v", want.Index, got, want)
		}
	}
	for _, i := range []uint64{from - 1, to + 1} {
		if err := g.GetLog(i, &raft.Log{}); err != raft.ErrLogNotFound { //nolint:errorlint // raft compares it like this
			t.Errorf("entry %d: %v, want ErrLogNotFound", i, err)
		}
	}
}

// TestStoreConformance is what raft may expect of both kinds of store.
func TestStoreConformance(t *testing.T) {
	stores(t, func(t *testing.T, kind string) {
		dir := t.TempDir()
		g, fatal := openGuarded(t, dir, kind)
		if last, err := g.LastIndex(); err != nil || last != 0 {
			t.Errorf("last index of an empty log is %d, %v", last, err)
		}
		if v, err := g.Get([]byte("vote")); err != nil || len(v) != 0 {
			t.Errorf("a value never set is %q, %v", v, err)
		}
		if v, err := g.GetUint64([]byte("term")); err != nil || v != 0 {
			t.Errorf("a number never set is %d, %v", v, err)
		}
		must := func(err error) {
			t.Helper()
			if err != nil {
				t.Fatal(err)
			}
		}
		must(g.StoreLogs(nil))
		must(g.StoreLogs(entries(1, 10)))
		must(g.StoreLog(entries(11, 11)[0]))
		must(g.StoreLogs(entries(12, 40)))
		hasEntries(t, g, 1, 40)
		must(g.DeleteRange(36, 40)) // a suffix, as after a conflict
		hasEntries(t, g, 1, 35)
		must(g.StoreLogs(entries(36, 50)))
		must(g.DeleteRange(1, 20)) // a prefix, as after a snapshot
		hasEntries(t, g, 21, 50)
		must(g.Set([]byte("vote"), []byte("n1")))
		must(g.Set([]byte("vote"), []byte("n2")))
		must(g.Set([]byte("nothing"), nil))
		must(g.SetUint64([]byte("term"), 1<<63+7))
		must(g.Close())
		must(g.Close())

		g, fatal2 := openGuarded(t, dir, "")
		hasEntries(t, g, 21, 50)
		if v, err := g.Get([]byte("vote")); err != nil || string(v) != "n2" {
			t.Errorf("vote is %q, %v", v, err)
		}
		if v, err := g.Get([]byte("nothing")); err != nil || len(v) != 0 {
			t.Errorf("nothing is %q, %v", v, err)
		}
		if v, err := g.GetUint64([]byte("term")); err != nil || v != 1<<63+7 {
			t.Errorf("term is %d, %v", v, err)
		}
		must(g.DeleteRange(21, 50)) // everything, as after a snapshot was installed
		if last, err := g.LastIndex(); err != nil || last != 0 {
			t.Errorf("last index after deleting everything is %d, %v", last, err)
		}
		must(g.StoreLogs(entries(100, 110))) // behind the snapshot
		hasEntries(t, g, 100, 110)
		if errs := append(fatal.all(), fatal2.all()...); len(errs) > 0 {
			t.Errorf("fatal: %v", errs)
		}
	})
}

// TestLargeLog crosses the WAL's segments, and takes back a suffix that does.
func TestLargeLog(t *testing.T) {
	const size, last = 512 << 10, 80 // 40 MiB, at least two segments
	stores(t, func(t *testing.T, kind string) {
		dir := t.TempDir()
		g, fatal := openGuarded(t, dir, kind)
		large := func(from, to, term uint64) {
			t.Helper()
			for i := from; i <= to; i += 4 {
				var logs []*raft.Log
				for k := i; k < i+4; k++ {
					logs = append(logs, &raft.Log{Index: k, Term: term, Data: bytes.Repeat([]byte{byte(k), byte(term)}, size/2)})
				}
				if err := g.StoreLogs(logs); err != nil {
					t.Fatal(err)
				}
			}
		}
		large(1, last, 1)
		if err := g.DeleteRange(21, last); err != nil {
			t.Fatal(err)
		}
		large(21, last, 2)
		_ = g.Close()
		g, fatal2 := openGuarded(t, dir, kind)
		for i := uint64(1); i <= last; i++ {
			var l raft.Log
			term := uint64(1)
			if i > 20 {
				term = 2
			}
			if err := g.GetLog(i, &l); err != nil || l.Term != term || len(l.Data) != size {
				t.Errorf("entry %d: term %d, %d bytes, %v", i, l.Term, len(l.Data), err)
			}
		}
		if errs := append(fatal.all(), fatal2.all()...); len(errs) > 0 {
			t.Errorf("fatal: %v", errs)
		}
	})
}

// What raft passes in must come out of StoreLogs as it was: raft keeps it.
func TestGuardLeavesEntriesAlone(t *testing.T) {
	g, _ := openGuarded(t, t.TempDir(), LogStoreWAL)
	l := entries(1, 1)[0]
	if err := g.StoreLog(l); err != nil || l.Extensions != nil {
		t.Errorf("%v, extensions %v", err, l.Extensions)
	}
}

// TestCorruptLogOnDisk flips one bit of an entry's data in the files of a store.
func TestCorruptLogOnDisk(t *testing.T) {
	stores(t, func(t *testing.T, kind string) {
		dir := t.TempDir()
		g, _ := openGuarded(t, dir, kind)
		for _, l := range entries(1, 30) {
			if err := g.StoreLog(l); err != nil {
				t.Fatal(err)
			}
		}
		_ = g.Close()
		flipBit(t, dir, []byte("<17><17><17>"))

		g, fatal := openGuarded(t, dir, kind)
		for i := uint64(1); i < 17; i++ {
			if err := g.GetLog(i, &raft.Log{}); err != nil {
				t.Errorf("entry %d: %v", i, err)
			}
		}
		if err := g.GetLog(17, &raft.Log{}); !errors.Is(err, ErrCorrupt) {
			t.Errorf("entry 17: %v, want ErrCorrupt", err)
		}
		fatal.only(t, ErrCorrupt, "entry 17")
		if err := g.StoreLogs(entries(31, 31)); err == nil {
			t.Error("the guard goes on after corruption")
		}
		fatal.only(t, ErrCorrupt, "entry 17")
	})
}

// TestCorruptStableValue flips one bit of a vote.
func TestCorruptStableValue(t *testing.T) {
	stores(t, func(t *testing.T, kind string) {
		dir := t.TempDir()
		g, _ := openGuarded(t, dir, kind)
		if err := g.Set([]byte("LastVoteCand"), []byte("a-rather-long-candidate")); err != nil {
			t.Fatal(err)
		}
		_ = g.Close()
		flipBit(t, dir, []byte("a-rather-long-candidate"))
		g, fatal := openGuarded(t, dir, kind)
		if v, err := g.Get([]byte("LastVoteCand")); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%q, %v, want ErrCorrupt", v, err)
		}
		fatal.only(t, ErrCorrupt, "LastVoteCand")
	})
}

// flipBit changes every occurrence of the text in the files under dir.
func flipBit(t *testing.T, dir string, text []byte) {
	t.Helper()
	found := 0
	err := filepath.Walk(dir, func(path string, info os.FileInfo, err error) error {
		if err != nil || info.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for at := 0; ; {
			i := bytes.Index(b[at:], text)
			if i < 0 {
				break
			}
			b[at+i+len(text)/2] ^= 1
			at += i + 1
			found++
		}
		return os.WriteFile(path, b, 0o600)
	})
	if err != nil || found == 0 {
		t.Fatalf("%d occurrences of %q, %v", found, text, err)
	}
}

// memory is a store in memory that does what the test wants.
type memory struct {
	store
	logs   map[uint64]raft.Log
	values map[string][]byte
	write  func() error // before each write
	read   func(*raft.Log) error
}

func newMemory() *memory {
	return &memory{logs: map[uint64]raft.Log{}, values: map[string][]byte{}, write: func() error { return nil }, read: func(*raft.Log) error { return nil }}
}

func (m *memory) StoreLogs(logs []*raft.Log) error {
	if err := m.write(); err != nil {
		return err
	}
	for _, l := range logs {
		m.logs[l.Index] = *l
	}
	return nil
}

func (m *memory) GetLog(i uint64, l *raft.Log) error {
	got, ok := m.logs[i]
	if !ok {
		return raft.ErrLogNotFound
	}
	*l = got
	return m.read(l)
}

func (m *memory) DeleteRange(_, _ uint64) error { return m.write() }
func (m *memory) Set(k, v []byte) error {
	m.values[string(k)] = v
	return m.write()
}
func (m *memory) Get(k []byte) ([]byte, error) { return m.values[string(k)], nil }
func (m *memory) Close() error                 { return nil }

func TestGuardWriteErrors(t *testing.T) {
	gone := errors.New("input/output error")
	for name, write := range map[string]func(g *guard) error{
		"storing entries 1 to 3":  func(g *guard) error { return g.StoreLogs(entries(1, 3)) },
		"deleting entries 1 to 2": func(g *guard) error { return g.DeleteRange(1, 2) },
		`storing "vote"`:          func(g *guard) error { return g.Set([]byte("vote"), nil) },
		`storing "term"`:          func(g *guard) error { return g.SetUint64([]byte("term"), 1) },
	} {
		m, fatal := newMemory(), &fatals{}
		g := newGuard(m, time.Minute)
		g.arm(fatal.add)
		m.write = func() error { return gone }
		if err := write(g); !errors.Is(err, ErrWrite) || !errors.Is(err, gone) {
			t.Errorf("%s: %v", name, err)
		}
		m.write = func() error { t.Error("the store is written after a failure"); return nil }
		if err := g.StoreLogs(entries(4, 4)); !errors.Is(err, gone) {
			t.Errorf("after %s: %v", name, err)
		}
		fatal.only(t, ErrWrite, name)
	}
}

// A stall is fatal while the write hangs, and the guard stays ended when it returns.
func TestGuardStall(t *testing.T) {
	m := newMemory()
	hang := make(chan struct{})
	m.write = func() error { <-hang; return nil }
	g := newGuard(m, 10*time.Millisecond)
	fatal := make(chan error, 10)
	g.arm(func(err error) { fatal <- err })
	done := make(chan error, 1)
	go func() { done <- g.StoreLogs(entries(1, 2)) }()
	if err := <-fatal; !errors.Is(err, ErrStalled) || !strings.Contains(err.Error(), "storing entries 1 to 2") {
		t.Errorf("fatal: %v", err)
	}
	close(hang)
	if err := <-done; !errors.Is(err, ErrStalled) {
		t.Errorf("the write that hung: %v", err)
	}
	if len(fatal) > 0 {
		t.Errorf("fatal again: %v", <-fatal)
	}
}

func TestGuardFindsWhatTheStoreMixedUp(t *testing.T) {
	for name, change := range map[string]func(l *raft.Log) error{
		"another index":  func(l *raft.Log) error { l.Index++; return nil },
		"another term":   func(l *raft.Log) error { l.Term++; return nil },
		"another type":   func(l *raft.Log) error { l.Type++; return nil },
		"other data":     func(l *raft.Log) error { l.Data = l.Data[1:]; return nil },
		"no checksum":    func(l *raft.Log) error { l.Extensions = nil; return nil },
		"unknown format": func(l *raft.Log) error { l.Extensions[0]++; return nil },
		"an error":       func(l *raft.Log) error { return errors.New("cannot decode") },
		"the seal of another index": func(l *raft.Log) error {
			moved := *l
			moved.Index = 5
			l.Extensions = sealEntry(&moved)
			return nil
		},
		"another good entry": func(l *raft.Log) error {
			*l = *entries(4, 4)[0]
			l.Extensions = sealEntry(l)
			return nil
		},
	} {
		m, fatal := newMemory(), &fatals{}
		g := newGuard(m, time.Minute)
		g.arm(fatal.add)
		if err := g.StoreLogs(entries(1, 3)); err != nil {
			t.Fatal(err)
		}
		m.read = change
		var l raft.Log
		if err := g.GetLog(2, &l); !errors.Is(err, ErrCorrupt) || l.Index != 0 {
			t.Errorf("%s: %v, %+v", name, err, l)
		}
		fatal.only(t, ErrCorrupt, "entry 2")
	}
	m, fatal := newMemory(), &fatals{}
	g := newGuard(m, time.Minute)
	g.arm(fatal.add)
	if err := g.Set([]byte("a"), []byte("12345678")); err != nil {
		t.Fatal(err)
	}
	m.values["b"] = m.values["a"]
	if v, err := g.GetUint64([]byte("b")); !errors.Is(err, ErrCorrupt) {
		t.Errorf("the value of another key: %d, %v", v, err)
	}
	fatal.only(t, ErrCorrupt, `"b"`)
}

// Until it is armed a guard only reports, and arming it later does not lose that.
func TestGuardArmedLate(t *testing.T) {
	m, fatal := newMemory(), &fatals{}
	g := newGuard(m, time.Minute)
	m.write = func() error { return errors.New("full") }
	_ = g.DeleteRange(1, 1)
	g.arm(fatal.add)
	fatal.only(t, ErrWrite, "full")
}

func TestFolder(t *testing.T) {
	stores(t, func(t *testing.T, kind string) {
		other := map[string]string{LogStoreWAL: LogStoreBoltDB, LogStoreBoltDB: LogStoreWAL}[kind]
		c := testConfig(t, "n0")
		c.FSM, c.LogStore = &toy{seen: map[uint64]toyResult{}}, kind
		r, err := Start(c)
		if err != nil {
			t.Fatal(err)
		}
		if again, err := Start(c); !errors.Is(err, ErrLocked) {
			t.Errorf("a second node in the folder: %v", err)
			_ = again.Shutdown()
		}
		if err := r.Shutdown(); err != nil {
			t.Fatal(err)
		}
		c.LogStore = other
		if r, err := Start(c); !errors.Is(err, ErrLogStore) || !strings.Contains(err.Error(), kind) {
			t.Errorf("another log store: %v", err)
			_ = r.Shutdown()
		}
		c.LogStore = ""
		if r, err = Start(c); err != nil {
			t.Fatal(err)
		}
		if s := r.Stats(); s.LogStore != kind {
			t.Errorf("the log store found is %q, want %q", s.LogStore, kind)
		}
		if err := r.Shutdown(); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(c.Dir, kindFile), []byte("wa\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Start(c); !errors.Is(err, ErrCorrupt) {
			t.Errorf("a damaged %s file: %v", kindFile, err)
		}
	})
}

// faulty is a node's disk on which writes can be made to fail or hang.
type faulty struct {
	store
	mu   sync.Mutex
	hang chan struct{}
	err  error
}

func (f *faulty) StoreLogs(logs []*raft.Log) error {
	f.mu.Lock()
	hang, err := f.hang, f.err
	f.mu.Unlock()
	if hang != nil {
		<-hang
	}
	if err != nil {
		return err
	}
	return f.store.StoreLogs(logs)
}

// A leader whose disk fails, or hangs, ends; the others go on.
func TestLeaderDiskFaults(t *testing.T) {
	const limit = 300 * time.Millisecond
	for name, fault := range map[string]struct {
		set  func(f *faulty) (release func())
		want error
	}{
		"error": {func(f *faulty) func() { f.err = errors.New("input/output error"); return func() {} }, ErrWrite},
		"stall": {func(f *faulty) func() { f.hang = make(chan struct{}); return func() { close(f.hang) } }, ErrStalled},
	} {
		t.Run(name, func(t *testing.T) {
			disks := make([]*faulty, 3)
			fatal := make([]fatals, 3)
			c := newCluster(t, 3, func(i int, c *Config) {
				c.hooks.store = func(s store) store { disks[i] = &faulty{store: s}; return disks[i] }
				c.hooks.stallLimit = limit
				c.Fatal = fatal[i].add
			})
			l := c.leader()
			c.propose(1, 1)
			var i int
			for i = range c.members {
				if c.members[i] == l {
					break
				}
			}
			disks[i].mu.Lock()
			release := fault.set(disks[i])
			disks[i].mu.Unlock()
			defer release()
			unknown := make(chan error, 1)
			if err := l.ProposeAsync(toyCommand(2, 1), func(_ Result, err error) { unknown <- err }); err != nil {
				t.Fatal(err)
			}
			eventually(t, "the node to end", func() bool { return len(fatal[i].all()) > 0 })
			fatal[i].only(t, fault.want, "storing entries")
			next := c.replace(l) // the process is gone
			if _, err := next.Propose(withTimeout(t), toyCommand(3, 1)); err != nil {
				t.Error(err)
			}
			if name == "error" {
				if err := <-unknown; !errors.Is(err, ErrUnknown) {
					t.Errorf("the proposal the disk failed on: %v", err)
				}
			}
		})
	}
}

// Corruption found at start is an error of Start, not the end of the process.
func TestStartOnCorruptLog(t *testing.T) {
	stores(t, func(t *testing.T, kind string) {
		c := newCluster(t, 1, func(_ int, c *Config) { c.LogStore = kind })
		m := c.leader()
		for id := range uint64(20) {
			c.propose(id<<32|0xfeedface, 1)
		}
		if err := m.Shutdown(); err != nil {
			t.Fatal(err)
		}
		flipBit(t, m.config.Dir, toyCommand(10<<32|0xfeedface, 1))
		config := m.config
		config.FSM = &toy{seen: map[uint64]toyResult{}}
		r, err := Start(config)
		if err == nil {
			_ = r.Shutdown()
		}
		if !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), "entry ") {
			t.Errorf("Start: %v, want ErrCorrupt", err)
		}
		c.members = nil
	})
}
