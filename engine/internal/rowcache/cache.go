package rowcache

import (
	"math/bits"
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/lightning-db/lightning/engine/internal/ghost"
	"github.com/lightning-db/lightning/engine/internal/hugepage"
	"github.com/lightning-db/lightning/engine/internal/stripe"
)

const (
	maxShards = 16 // so that readers who fill rarely meet
	// shardBytes is what a shard is worth: the buckets of usual rows then have a huge page or two.
	shardBytes = 32 << 20

	// A segment is reclaimed as a whole by the reader whose row comes next, in some 30 µs for 64 KiB.
	minSegmentBytes = 4 << 10
	maxSegmentBytes = 64 << 10
	segmentShare    = 16 // a segment is at most this part of a shard
	maxChunkBytes   = 512 << 10
	// MinBytes is the least that a cache may have.
	MinBytes = segmentShare * minSegmentBytes

	// maxRowBytes is where copying a row costs as much as finding it in a block, and where one row
	// takes the place of thirty of the usual size.
	maxRowBytes = 4 << 10
)

// Cache holds rows of one store. Safe for concurrent use. A nil Cache holds nothing.
type Cache struct {
	// Set by New, never written again.
	shards       []shard
	mask         uint64
	segmentBytes int
	rowBytes     int // of the largest row

	missed func(count int) // set by Notify, before the cache is used

	hits, misses, filled, refused stripe.Lines

	// publishing is held from Begin to End, and while the table of a shard is replaced.
	publishing sync.Mutex
}

// New makes a cache of so many bytes; less than 64 KiB makes none.
func New(bytes int) *Cache {
	if bytes < MinBytes {
		return nil
	}
	count := 1
	for 2*count*shardBytes <= bytes && count < maxShards {
		count *= 2
	}
	segment := minSegmentBytes
	for 2*segment*segmentShare <= bytes/count && segment < maxSegmentBytes {
		segment *= 2
	}
	c := &Cache{
		shards: make([]shard, count), mask: uint64(count - 1), segmentBytes: segment,
		rowBytes: min(maxRowBytes, segment/4),
	}
	for i := range c.shards {
		s := &c.shards[i]
		s.words, s.budget = segment/8, bytes/count
		for s.chunk = 1; 2*s.chunkBytes() <= min(maxChunkBytes, bytes/count/segmentShare); {
			s.chunk *= 2
		}
		s.mappings = &mappings{outside: bytes >= OutsideBytes}
		// Every method that looks at rows also uses the cache after that, so none is under way when nobody can reach it (HP2).
		runtime.AddCleanup(c, (*mappings).unmap, s.mappings)
		s.begin()
	}
	return c
}

// notifyEvery is after how many misses somebody is told.
const notifyEvery = 256

// Notify has missed called by readers, after as many misses as it is given, in Get. Nobody may use the cache yet.
func (c *Cache) Notify(missed func(count int)) { c.missed = missed }

// begin gives a shard an empty table. Memory outside the heap is used again, but given back until then: who still reads rows by the old
// table misses.
func (s *shard) begin() {
	if old := s.table.Load(); old != nil {
		old.lock()
	}
	if !s.mappings.drop() {
		s.made, s.block = nil, nil
	}
	s.probation, s.main, s.taken, s.free, s.ends = queue{}, queue{}, 0, nil, nil
	s.near.Fit(0)
	s.ghosts.Fit(0)
	s.live.Store(0)
	s.table.Store(s.emptyTable(1))
}

// emptyTable makes a table with room for twice the chunks that the budget allows, so that a budget that grows by little needs no other one.
func (s *shard) emptyTable(buckets int) *table {
	return &table{
		buckets: hugepage.Make[bucket](buckets), shift: uint(64 - bits.TrailingZeros(uint(buckets))),
		chunks: make([][]atomic.Uint64, 2*s.maxChunks()), bits: uint(bits.TrailingZeros(uint(s.words * s.chunk))),
	}
}

func (s *shard) maxChunks() int { return max(1, s.budget/s.chunkBytes()) }

func (s *shard) chunkBytes() int { return 8 * s.words * s.chunk }

// Replace forgets everything, while publish changes what the store has in another way than by a batch: nothing is found, and
// nothing gets in, until it returns (RW1).
func (c *Cache) Replace(publish func()) {
	if c == nil {
		publish()
		return
	}
	c.publishing.Lock()
	defer c.publishing.Unlock()
	c.shut()
	publish()
	for i := range c.shards {
		s := &c.shards[i]
		s.mu.Lock()
		s.begin()
		s.mu.Unlock()
	}
}

// Clear forgets everything.
func (c *Cache) Clear() { c.Replace(func() {}) }

// Close forgets everything while publish takes the store away, and for good.
func (c *Cache) Close(publish func()) {
	if c == nil {
		publish()
		return
	}
	c.publishing.Lock()
	defer c.publishing.Unlock()
	c.shut()
	publish()
}

// shut forgets everything, gives the memory back, and lets nothing in.
func (c *Cache) shut() {
	for i := range c.shards {
		c.shards[i].shut()
	}
}

// shut gives a shard a table in which nothing is found, and into which nothing gets.
func (s *shard) shut() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.begin()
	t := s.emptyTable(1)
	t.buckets[0].stamp.Store(odd)
	s.table.Store(t)
}

// Stats are figures about a cache since it was made.
type Stats struct {
	Hits, Misses    uint64       // of Get
	Filled, Refused uint64       // fills; a refused one met a publication, a growing table or another fill
	Near, Far       ghost.Counts // of rows that were dropped and came again
	Rows            int
	Bytes           int // that are taken from the machine
	Budget          int
}

// Stats gives the figures. What other goroutines do meanwhile may be in some and not in others.
func (c *Cache) Stats() (st Stats) {
	if c == nil {
		return st
	}
	st.Hits, st.Misses = uint64(c.hits.Sum()), uint64(c.misses.Sum())
	st.Filled, st.Refused = uint64(c.filled.Sum()), uint64(c.refused.Sum())
	for i := range c.shards {
		s := &c.shards[i]
		s.mu.Lock()
		st.Rows += int(s.live.Load())
		st.Bytes += s.bytes()
		st.Budget += s.budget
		st.Near.Add(s.near.Counts())
		st.Far.Add(s.ghosts.Counts())
		s.mu.Unlock()
	}
	return st
}
