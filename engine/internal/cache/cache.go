package cache

import (
	"sync"
	"sync/atomic"
)

// Place names a block: the number of its file and the offset in it.
type Place struct{ File, Offset uint64 }

// shardCount keeps two cores and their goroutines from queueing on one lock.
const shardCount = 16

// Cache maps places to blocks. Safe for concurrent use. A nil Cache holds nothing.
type Cache[V any] struct {
	shards       [shardCount]shard[V]
	hits, misses atomic.Uint64
}

type shard[V any] struct {
	mu       sync.Mutex
	capacity int
	used     int
	entries  map[Place]*entry[V]
	newest   *entry[V] // a ring: newest.before is the oldest
}

type entry[V any] struct {
	place         Place
	value         V
	size          int
	before, after *entry[V]
}

// New makes a cache of so many bytes; zero or fewer makes none.
func New[V any](bytes int) *Cache[V] {
	if bytes <= 0 {
		return nil
	}
	c := &Cache[V]{}
	for i := range c.shards {
		c.shards[i].capacity = bytes / shardCount
		c.shards[i].entries = map[Place]*entry[V]{}
	}
	return c
}

func (c *Cache[V]) shard(p Place) *shard[V] {
	h := (p.File*0x9E3779B97F4A7C15 ^ p.Offset) * 0xD6E8FEB86659FD93
	return &c.shards[h>>60]
}

// Get finds a block and makes it the newest of its shard.
func (c *Cache[V]) Get(p Place) (v V, ok bool) {
	if c == nil {
		return v, false
	}
	s := c.shard(p)
	s.mu.Lock()
	e, ok := s.entries[p]
	if ok {
		s.unlink(e)
		s.link(e)
		v = e.value
	}
	s.mu.Unlock()
	if ok {
		c.hits.Add(1)
	} else {
		c.misses.Add(1)
	}
	return v, ok
}

// Add keeps a block of so many bytes. One larger than half a shard is not kept: it would push out
// everything else.
func (c *Cache[V]) Add(p Place, v V, size int) {
	if c == nil {
		return
	}
	s := c.shard(p)
	s.mu.Lock()
	defer s.mu.Unlock()
	if size > s.capacity/2 || s.entries[p] != nil {
		return
	}
	for s.used+size > s.capacity { // H1
		s.drop(s.newest.before)
	}
	e := &entry[V]{place: p, value: v, size: size}
	s.entries[p] = e
	s.used += size
	s.link(e)
}

func (s *shard[V]) drop(e *entry[V]) {
	s.unlink(e)
	delete(s.entries, e.place)
	s.used -= e.size
}

func (s *shard[V]) link(e *entry[V]) {
	if s.newest == nil {
		e.before, e.after = e, e
	} else {
		e.after, e.before = s.newest, s.newest.before
		e.before.after, e.after.before = e, e
	}
	s.newest = e
}

func (s *shard[V]) unlink(e *entry[V]) {
	if e.after == e {
		s.newest = nil
		return
	}
	e.before.after, e.after.before = e.after, e.before
	if s.newest == e {
		s.newest = e.after
	}
}

// Stats tells how often Get found a block, how often not, and how many bytes are held.
func (c *Cache[V]) Stats() (hits, misses uint64, used int) {
	if c == nil {
		return 0, 0, 0
	}
	for i := range c.shards {
		s := &c.shards[i]
		s.mu.Lock()
		used += s.used
		s.mu.Unlock()
	}
	return c.hits.Load(), c.misses.Load(), used
}
