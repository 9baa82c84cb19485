package cache

import (
	"sync"
	"sync/atomic"

	"github.com/lightning-db/lightning/engine/internal/ghost"
)

// Place names a block: the number of its file and the offset in it. Files of different stores have the
// same numbers: see Part.
type Place struct{ File, Offset uint64 }

// address is a place with the store that the file belongs to.
type address struct {
	store uint64
	Place
}

// hash spreads addresses, whose parts are small numbers and multiples: the finalizer of splitmix64.
func (a address) hash() uint64 {
	h := a.store*0x9e3779b97f4a7c15 ^ a.File*0xd6e8feb86659fd93 ^ a.Offset
	h = (h ^ h>>30) * 0xbf58476d1ce4e5b9
	h = (h ^ h>>27) * 0x94d049bb133111eb
	return h ^ h>>31
}

// Overhead is what a block costs beyond its own bytes: its entry, its slot in the index, which is at most half full,
// its slot in the main part, and its share of the sketch and of the ghosts.
const Overhead = 200

// maxShards keeps goroutines that miss from queueing on one lock. Those that hit take none.
const maxShards = 16

// shardBytes is how many bytes a shard has at least, unless there is only one: a block that is larger than half a shard is not held.
const shardBytes = 4 << 20

// maxUnfit is how many times more or fewer shards there may be than a capacity should have.
const maxUnfit = 4

// Cache maps blocks of many stores to values. Safe for concurrent use. A nil Cache holds nothing.
type Cache[V any] struct {
	// Set by Notify, before the cache is used.
	missed func(count int)

	shards atomic.Pointer[[]shard[V]] // a power of two of them

	// resize is held by Resize alone.
	resize struct {
		sync.Mutex
		before Stats // of shards that were replaced
	}
}

// New makes a cache of so many bytes; zero or fewer hold nothing.
func New[V any](bytes int) *Cache[V] {
	c := &Cache[V]{}
	shards := newShards[V](max(bytes, 0))
	c.shards.Store(&shards)
	return c
}

// notifyEvery is after how many misses of a shard somebody is told.
const notifyEvery = 256

// Notify has missed called by readers, after as many misses as it is given. Nobody may use the cache yet.
func (c *Cache[V]) Notify(missed func(count int)) { c.missed = missed }

func shardCount(bytes int) int {
	count := 1
	for count < maxShards && bytes/(2*count) >= shardBytes {
		count *= 2
	}
	return count
}

func newShards[V any](bytes int) []shard[V] {
	shards := make([]shard[V], shardCount(bytes))
	for i := range shards {
		shards[i].init(bytes/len(shards), uint64(i))
	}
	return shards
}

// shard finds the shard of a hash by its upper bits; the index within uses the lower ones.
func (c *Cache[V]) shard(h uint64) *shard[V] {
	shards := *c.shards.Load()
	return &shards[h>>48&uint64(len(shards)-1)]
}

func (c *Cache[V]) get(a address) (v V, ok bool) {
	h := a.hash()
	s := c.shard(h)
	e := s.index.Load().find(h, a)
	if e == nil {
		if s.misses.Add(1)%notifyEvery == 0 && c.missed != nil {
			c.missed(notifyEvery)
		}
		return v, false
	}
	// Two readers may count one read together: it is an estimate, and a lost one costs less than an exclusive cache line.
	if n := e.reads.Load(); n < maxReads {
		e.reads.Store(n + 1)
	}
	s.hits.Add(1)
	return e.value, true
}

// Resize changes the capacity, and drops what does not fit any more before it returns. If shards become much too small or too few by it,
// which they do only below 64 MiB, the cache begins with nothing.
func (c *Cache[V]) Resize(bytes int) {
	bytes = max(bytes, 0)
	c.resize.Lock()
	defer c.resize.Unlock()
	shards := *c.shards.Load()
	if want := shardCount(bytes); want <= maxUnfit*len(shards) && len(shards) <= maxUnfit*want {
		for i := range shards {
			shards[i].resize(bytes / len(shards))
		}
		return
	}
	next := newShards[V](bytes)
	c.shards.Store(&next)
	for i := range shards { // a late Add into them finds no room
		shards[i].resize(0)
	}
	c.resize.before.add(statsOf(shards))
}

// Clear drops all blocks, and what is known about others.
func (c *Cache[V]) Clear() {
	if c == nil {
		return
	}
	shards := *c.shards.Load()
	for i := range shards {
		shards[i].clear()
	}
}

// Stats are counts since New, and what is held now.
type Stats struct {
	Hits, Misses uint64
	Refused      uint64       // blocks that were read less than those in whose place they would have come, or are too large
	Evicted      uint64       // blocks that left the main part for others
	Near, Far    ghost.Counts // of blocks for which there was no room any more, and that came again
	Bytes        int          // held, with Overhead
	Count        int          // of blocks held
	Capacity     int          // in bytes
}

func (s *Stats) add(t Stats) {
	s.Hits += t.Hits
	s.Misses += t.Misses
	s.Refused += t.Refused
	s.Evicted += t.Evicted
	s.Near.Add(t.Near)
	s.Far.Add(t.Far)
	s.Bytes += t.Bytes
	s.Count += t.Count
	s.Capacity += t.Capacity
}

func statsOf[V any](shards []shard[V]) (all Stats) {
	for i := range shards {
		all.add(shards[i].stats())
	}
	return all
}

// Stats gives the figures.
func (c *Cache[V]) Stats() Stats {
	if c == nil {
		return Stats{}
	}
	c.resize.Lock()
	defer c.resize.Unlock()
	all := statsOf(*c.shards.Load())
	all.add(c.resize.before)
	return all
}
