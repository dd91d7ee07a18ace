package consensus

import (
	"sync"

	"github.com/hashicorp/raft"
)

// cache keeps the newest entries of a log in memory for followers that are a
// little behind: as many as are allowed, in number and in bytes. (raft's own
// counts entries alone, and one entry may have megabytes.)
type cache struct {
	store
	maxEntries int
	maxBytes   int

	mu      sync.RWMutex
	entries map[uint64]*raft.Log
	oldest  uint64 // index of the oldest kept; those kept have no gap
	bytes   int
}

func newCache(s store, maxEntries, maxBytes int) *cache {
	return &cache{store: s, maxEntries: maxEntries, maxBytes: maxBytes, entries: map[uint64]*raft.Log{}}
}

// GetLog implements raft.LogStore.
func (c *cache) GetLog(index uint64, l *raft.Log) error {
	c.mu.RLock()
	kept := c.entries[index]
	c.mu.RUnlock()
	if kept != nil {
		*l = *kept
		return nil
	}
	return c.store.GetLog(index, l)
}

// StoreLog implements raft.LogStore.
func (c *cache) StoreLog(l *raft.Log) error { return c.StoreLogs([]*raft.Log{l}) }

// StoreLogs implements raft.LogStore.
func (c *cache) StoreLogs(logs []*raft.Log) error {
	if err := c.store.StoreLogs(logs); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, l := range logs {
		if _, follows := c.entries[l.Index-1]; !follows || c.entries[l.Index] != nil {
			c.clear()
		}
		if len(c.entries) == 0 {
			c.oldest = l.Index
		}
		c.entries[l.Index] = l
		c.bytes += len(l.Data)
	}
	for len(c.entries) > c.maxEntries || c.bytes > c.maxBytes {
		c.bytes -= len(c.entries[c.oldest].Data)
		delete(c.entries, c.oldest)
		c.oldest++
	}
	return nil
}

// DeleteRange implements raft.LogStore.
func (c *cache) DeleteRange(first, last uint64) error {
	c.mu.Lock()
	c.clear()
	c.mu.Unlock()
	return c.store.DeleteRange(first, last)
}

func (c *cache) clear() {
	clear(c.entries)
	c.bytes = 0
}
