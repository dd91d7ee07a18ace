package consensus

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/hashicorp/raft"
)

// counting is a store in memory that counts what is read of it.
type counting struct {
	*raft.InmemStore
	reads int
}

func (c *counting) GetLog(index uint64, l *raft.Log) error {
	c.reads++
	return c.InmemStore.GetLog(index, l)
}

func (c *counting) IsMonotonic() bool { return true }
func (c *counting) Close() error      { return nil }

// TestCache: it has the newest entries within both limits, and what is written
// over is not read from it.
func TestCache(t *testing.T) {
	disk := &counting{InmemStore: raft.NewInmemStore()}
	c := newCache(disk, 10, 1000)
	store := func(size int, text string, indexes ...uint64) {
		t.Helper()
		var logs []*raft.Log
		for _, i := range indexes {
			logs = append(logs, &raft.Log{Index: i, Data: append([]byte(fmt.Sprint(text, i, ":")), make([]byte, size)...)[:size]})
		}
		if err := c.StoreLogs(logs); err != nil {
			t.Fatal(err)
		}
	}
	// reads is which of the entries come from the disk; all must be there.
	reads := func(text string, indexes ...uint64) (from []uint64) {
		t.Helper()
		for _, i := range indexes {
			before := disk.reads
			var l raft.Log
			if err := c.GetLog(i, &l); err != nil || !bytes.HasPrefix(l.Data, []byte(fmt.Sprint(text, i, ":"))) {
				t.Fatalf("entry %d is %q, %v", i, l.Data, err)
			}
			if disk.reads > before {
				from = append(from, i)
			}
		}
		return from
	}
	store(20, "a", 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12)
	if got := fmt.Sprint(reads("a", 1, 2, 3, 4, 12)); got != "[1 2]" {
		t.Errorf("of more than are kept the disk has %s", got)
	}
	store(450, "b", 13, 14)
	if got := fmt.Sprint(reads("b", 13, 14)); got != "[]" {
		t.Errorf("of large ones the disk has %s", got)
	}
	if c.bytes > 1000 || fmt.Sprint(reads("a", 4, 9, 12)) != "[4]" {
		t.Errorf("%d bytes are kept", c.bytes)
	}
	store(2000, "b", 15)
	if len(c.entries) != 0 || c.bytes != 0 || len(reads("b", 15)) != 1 {
		t.Errorf("one over the limit: %d of %d bytes are kept", len(c.entries), c.bytes)
	}
	store(20, "b", 16, 17)
	if err := c.DeleteRange(16, 17); err != nil {
		t.Fatal(err)
	}
	if err := c.GetLog(17, &raft.Log{}); err == nil {
		t.Error("what was removed is there")
	}
	store(20, "c", 16, 17, 18)
	store(20, "d", 17)
	if got := fmt.Sprint(reads("d", 17), reads("c", 18)); got != "[] [18]" {
		t.Errorf("after one was written over: %s", got)
	}
	if !c.IsMonotonic() {
		t.Error("it hides what its store is")
	}
}
