package boltlog

import (
	"sync"

	hraft "github.com/hashicorp/raft"
)

// tailCache keeps the newest entries of one log, bounded by bytes, as one range without
// holes. The entries' data is shared, not copied.
type tailCache struct {
	maxBytes int

	// mu is a leaf.
	mu      sync.RWMutex
	first   uint64 // index of entries[0]; meaningless when empty
	entries []hraft.Log
	bytes   int
}

// entryCacheOverhead is what an entry costs besides its data.
const entryCacheOverhead = 120

func newTailCache(maxBytes int) *tailCache { return &tailCache{maxBytes: maxBytes} }

func entryCacheBytes(e *hraft.Log) int { return len(e.Data) + entryCacheOverhead }

func (c *tailCache) get(index uint64, out *hraft.Log) bool {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if len(c.entries) == 0 || index < c.first || index-c.first >= uint64(len(c.entries)) {
		return false
	}
	*out = c.entries[index-c.first]
	return true
}

// add appends entries that are durable and directly follow what is held; otherwise what is
// held is forgotten first.
func (c *tailCache) add(entries []*hraft.Log) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.entries) == 0 || entries[0].Index != c.first+uint64(len(c.entries)) {
		c.entries, c.bytes, c.first = nil, 0, entries[0].Index
	}
	for _, e := range entries {
		// A copy: the entry is part of something larger that must not stay with it.
		c.entries = append(c.entries, *e)
		c.bytes += entryCacheBytes(e)
	}
	for len(c.entries) > 0 && c.bytes > c.maxBytes {
		c.bytes -= entryCacheBytes(&c.entries[0])
		c.entries[0] = hraft.Log{} // the slice keeps its array; the data must not stay with it
		c.entries = c.entries[1:]
		c.first++
	}
}

// drop forgets the entries start to end and, to stay one range, everything on the shorter side.
func (c *tailCache) drop(start, end uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.entries) == 0 {
		return
	}
	last := c.first + uint64(len(c.entries)) - 1
	if end < c.first || start > last {
		return
	}
	keepFirst, keepLast := c.first, last
	if end >= last {
		keepLast = start - 1
	} else {
		keepFirst = end + 1
	}
	if keepFirst > keepLast || start <= c.first && end >= last {
		c.entries, c.bytes = nil, 0
		return
	}
	kept := make([]hraft.Log, 0, keepLast-keepFirst+1)
	c.bytes = 0
	for _, e := range c.entries[keepFirst-c.first : keepLast-c.first+1] {
		kept = append(kept, e)
		c.bytes += entryCacheBytes(&e)
	}
	c.entries, c.first = kept, keepFirst
}
