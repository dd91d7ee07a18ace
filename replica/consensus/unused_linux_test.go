package consensus

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
)

// Every suffix that is dropped ends a segment. What the segment had left must not be
// kept from others, and what it holds must still be there.
func TestDroppedSuffixesKeepNoDisk(t *testing.T) {
	dir := t.TempDir()
	open := func() store {
		t.Helper()
		s, err := openWAL(dir, hclog.NewNullLogger())
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	s := open()
	const drops = 20
	next := uint64(1)
	add := func(n int) {
		t.Helper()
		var logs []*raft.Log
		for range n {
			logs = append(logs, &raft.Log{Index: next, Term: 1, Data: []byte("entry")})
			next++
		}
		if err := s.StoreLogs(logs); err != nil {
			t.Fatal(err)
		}
	}
	for range drops {
		add(3)
		if err := s.DeleteRange(next-1, next-1); err != nil {
			t.Fatal(err)
		}
		next--
	}
	used := func() (bytes int64) {
		segments, _ := filepath.Glob(filepath.Join(dir, "*.wal"))
		if len(segments) < drops {
			t.Fatalf("%d segments after %d drops", len(segments), drops)
		}
		for _, path := range segments {
			info, err := os.Stat(path)
			if err != nil {
				t.Fatal(err)
			}
			bytes += info.Sys().(*syscall.Stat_t).Blocks * 512
		}
		return bytes
	}
	if u := used(); u > 2*walSegmentSize {
		t.Errorf("the segments occupy %d MiB", u>>20)
	}
	for range 2 { // also after it was opened again
		for i := uint64(1); i < next; i++ {
			var l raft.Log
			if err := s.GetLog(i, &l); err != nil || string(l.Data) != "entry" {
				t.Fatalf("entry %d: %q, %v", i, l.Data, err)
			}
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		s = open()
	}
	add(3)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}
