package fsm

import (
	"context"
	"errors"
	"io"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"farm/scheduler"
)

// TestReadersAndWriter: everything that reads may run beside the log, flushes
// and each other. The race detector is the judge.
func TestReadersAndWriter(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	m := mustOpen(t, Options{Dir: t.TempDir(), FlushEvery: 1, FlushRecords: 100})
	ctx, cancel := context.WithCancel(context.Background())
	var readers sync.WaitGroup
	for _, read := range []func(){
		func() {
			m.View(func(s *scheduler.State) {
				for _, x := range s.Finished("", "", 20) {
					if s.Task(x.ID) == nil {
						t.Error("a finished task is not there")
					}
				}
				for _, n := range s.Namespaces("", 10) {
					count := uint64(0)
					s.Items(n.Name, 0, func(k string, v []byte, _ uint64) {
						if got, _ := s.Item(n.Name, k); string(got) != string(v) {
							t.Errorf("item %s/%s is %q and %q", n.Name, k, v, got)
						}
						count++
					})
					if count != n.Items {
						t.Errorf("namespace %s has %d items, its record says %d", n.Name, count, n.Items)
					}
				}
			})
		},
		func() {
			if _, _, err := m.Hash(ctx); err != nil && ctx.Err() == nil {
				t.Error(err)
			}
		},
		func() {
			if err := m.Verify(ctx); err != nil && ctx.Err() == nil {
				t.Error(err)
			}
		},
		func() {
			_, rc, err := m.Snapshots().Open(stateID)
			if err != nil {
				t.Error(err)
				return
			}
			defer rc.Close()
			if _, err := io.Copy(io.Discard, rc); err != nil {
				t.Error(err)
			}
		},
		func() {
			m.Chain()
			m.Flushed()
			if err := m.WaitApplied(ctx, m.Applied()); err != nil {
				t.Error(err)
			}
		},
	} {
		for range 2 {
			readers.Go(func() {
				for ctx.Err() == nil {
					read()
				}
			})
		}
	}
	logs := newTraffic(21).logs(400)
	for i := 0; i < len(logs); i += 4 {
		m.ApplyBatch(logs[i:min(i+4, len(logs))])
	}
	cancel()
	readers.Wait()
	hash, _ := expected(t, logs)
	if _, got := mustHash(t, m); got != hash {
		t.Error("the state is not that of the log")
	}
	mustClose(t, m)
	mustClose(t, m)
}

// TestWaitApplied: a wait ends with its entry, its context, or the machine.
func TestWaitApplied(t *testing.T) {
	m := mustOpen(t, Options{Dir: t.TempDir()})
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if err := m.WaitApplied(gone, 1); !errors.Is(err, context.Canceled) {
		t.Errorf("a wait without a context: %v", err)
	}
	waits := make(chan error)
	for _, index := range []uint64{1, 2, 5} {
		go func() { waits <- m.WaitApplied(t.Context(), index) }()
	}
	eventually(t, "three wait", func() bool {
		m.applied.mu.Lock()
		defer m.applied.mu.Unlock()
		return len(m.applied.waiting) == 3
	})
	m.ApplyBatch(command(2, submit("a", "")))
	for range 2 {
		if err := <-waits; err != nil {
			t.Error(err)
		}
	}
	if err := m.WaitApplied(gone, 2); err != nil {
		t.Errorf("what is there needs no wait: %v", err)
	}
	mustClose(t, m)
	if err := <-waits; !errors.Is(err, ErrClosed) {
		t.Errorf("a wait outlived the machine: %v", err)
	}
	m.View(func(*scheduler.State) { t.Error("a view of a closed machine") })
}

// TestOnApply: the hook sees every command entry once, with what it did.
func TestOnApply(t *testing.T) {
	var seen []Applied
	dir := t.TempDir()
	o := Options{Dir: dir, FlushEvery: never, OnApply: func(a Applied) {
		a.Effects = append([]scheduler.Effect(nil), a.Effects...)
		seen = append(seen, a)
	}}
	m := mustOpen(t, o)
	logs := append(command(3, &scheduler.WorkerUp{Worker: "w", Incarnation: 1, Slots: 1}, submit("a", "")), command(4, submit("a", ""))...)
	r := m.ApplyBatch(logs)
	if len(seen) != 2 || seen[0].Index != 3 || seen[1].Index != 4 || len(seen[0].Effects) != 1 || seen[0].Effects[0].Kind != scheduler.Assigned || len(seen[1].Effects) != 0 {
		t.Fatalf("seen %+v", seen)
	}
	if a, b := r[0].(*Response).Results, r[1].(*Response).Results; a[1].Code != scheduler.OK || b[0].Code != scheduler.Duplicate {
		t.Errorf("responses %v %v", a, b)
	}
	mustClose(t, m)
	m = mustOpen(t, o)
	defer mustClose(t, m)
	if r := m.ApplyBatch(logs); r[0] != nil || r[1] != nil || len(seen) != 2 {
		t.Errorf("entries that are on disk were applied again: %v", r)
	}
}

// TestNewEntry: an entry of encoded commands is the entry of the commands.
func TestNewEntry(t *testing.T) {
	cmds := []scheduler.Command{submit("a", "x"), &scheduler.Cancel{ID: "a"}, &scheduler.Tick{}}
	var body []byte
	for _, c := range cmds {
		body = c.AppendTo(body)
	}
	b := NewEntry(-5, len(cmds), body)
	if string(b) != string(EncodeEntry(-5, cmds)) {
		t.Error("they differ")
	}
	now, got, err := DecodeEntry(b)
	if err != nil || now != -5 || len(got) != 3 || got[0].(*scheduler.Submit).ID != "a" || got[1].(*scheduler.Cancel).ID != "a" {
		t.Errorf("decoded %d %v %v", now, got, err)
	}
}

func FuzzDecodeEntry(f *testing.F) {
	for _, l := range newTraffic(1).logs(20) {
		f.Add(l.Data)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, b := range [][]byte{b, seal("", b)} { // as it is, and with a right checksum
			now, cmds, err := DecodeEntry(b)
			if err != nil {
				if !errors.Is(err, ErrEntry) && !errors.Is(err, ErrNewerFormat) {
					t.Fatalf("error %v", err)
				}
				continue
			}
			if _, again, err := DecodeEntry(EncodeEntry(now, cmds)); err != nil || len(again) != len(cmds) {
				t.Fatalf("what was decoded cannot be encoded: %v", err)
			}
		}
	})
}
