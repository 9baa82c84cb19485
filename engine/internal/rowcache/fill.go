package rowcache

import (
	"sync"
	"sync/atomic"

	"github.com/lightning-db/lightning/engine/internal/ghost"
	"github.com/lightning-db/lightning/internal/seededbug"
)

// shard is the part of the cache that some hashes belong to.
type shard struct {
	table atomic.Pointer[table] // stored under mu and publishing
	live  atomic.Int64          // slots that are taken

	// Set by New.
	words    int // in a segment
	chunk    int // segments in a chunk; a power of two
	mappings *mappings

	// mu is held by who fills.
	mu        sync.Mutex
	budget    int
	made      [][]atomic.Uint64 // chunks that have memory
	taken     int               // and those of them that are in use
	block     []atomic.Uint64   // memory for more
	ends      []int             // of each segment, how many words of it are rows
	free      []uint32
	probation queue
	main      queue
	ghosts    ghost.Set // rows that probation dropped, about as many as are held; none while there is room for all
	near      ghost.Set // and rows that the main part dropped last, an eighth as many
	_         [64]byte  // of another shard is what follows
}

// queue is a log of rows in segments, oldest first. Rows go into the last one.
type queue struct{ segments []uint32 }

// Fill puts a row in after a miss, if it may still be the newest one. row must be the row that the store
// answered with to a reader of the present, whatever its version, and nothing if that was absent.
func (c *Cache) Fill(q *Query, row *Row) {
	if c == nil || q.bucket == nil || len(q.Key)+len(row.Value) > c.rowBytes {
		return
	}
	s := &c.shards[q.Hash&c.mask]
	if !s.mu.TryLock() {
		c.refused.Add(1)
		return
	}
	ok := s.fill(c, q, row)
	s.mu.Unlock()
	if ok {
		c.filled.Add(1)
	} else {
		c.refused.Add(1)
	}
}

func (s *shard) fill(c *Cache, q *Query, row *Row) bool {
	t := s.table.Load()
	if seededbug.Enabled(seededbug.EngineFillWithoutStamp) {
		q.table, q.bucket = t, t.bucket(q.Hash)
		q.stamp = q.bucket.stamp.Load()
	}
	if t != q.table || q.bucket.stamp.Load() != q.stamp || s.grow(&c.publishing) {
		return false
	}
	header := headerOf(q.Hash, q.Key, row)
	queue := &s.probation
	s.near.Returns(q.Hash)
	if s.ghosts.Returns(q.Hash) {
		queue = &s.main
	}
	segment, word, ok := s.room(t, queue, rowWords(header))
	if !ok {
		return false
	}
	place := s.place(segment, word)
	writeRow(t.row(place), header, q.Key, row)
	if !s.insert(q, slotOf(q.Hash, place)) {
		return false
	}
	s.ends[segment] += rowWords(header)
	return true
}

// insert gives a row a slot, if the stamp is still the one of the query. While the bucket is locked, readers miss; so when a
// publication has begun meanwhile, nobody has seen the slot, and it goes again (RW1).
func (s *shard) insert(q *Query, slot uint64) bool {
	b := q.bucket
	if !b.stamp.CompareAndSwap(q.stamp, q.stamp|locked) {
		return false
	}
	i := b.victim(q.stamp)
	if b.slots[i].Swap(slot) == 0 {
		s.live.Add(1)
	}
	if b.stamp.CompareAndSwap(q.stamp|locked, q.stamp+change) {
		return true
	}
	if b.slots[i].Swap(0) != 0 {
		s.live.Add(-1)
	}
	b.unlock()
	return false
}

// victim is a free slot, or one that was not used, or any.
func (b *bucket) victim(stamp uint64) int {
	cold := int(stamp / change % slotCount)
	for i := range b.slots {
		slot := b.slots[i].Load()
		if slot == 0 {
			return i
		}
		if slot&used == 0 {
			cold = i
		}
	}
	return cold
}

const (
	// Beyond three quarters, two rows of a hundred find no slot; after growing it is three eighths, and 23 bytes a row.
	fullSlots = slotCount * 3 / 4
	// maxBucketShare of the bytes are for buckets. Small rows need a third: forty bytes in the arena and up to 23 here.
	maxBucketShare = 3
)

// grow doubles the buckets when they are full, or halves them when the budget has shrunk, and tells whether it has. No batch is published
// meanwhile.
func (s *shard) grow(publishing *sync.Mutex) bool {
	n, next := len(s.table.Load().buckets), s.bucketsWithin()
	if next == n && s.live.Load() > int64(n*fullSlots) && 2*n*bucketCost <= s.budget/maxBucketShare && s.bytes()+n*bucketCost <= s.budget {
		next = 2 * n
	}
	if next == n || !publishing.TryLock() {
		return false
	}
	defer publishing.Unlock()
	s.rehash(next)
	return true
}

// rehash replaces the table by one with as many buckets, or twice as many, or fewer, where not all rows may find a slot, and with room for
// the segments that the budget allows. It is called under publishing, too.
func (s *shard) rehash(buckets int) {
	old := s.table.Load()
	next := s.emptyTable(buckets)
	copy(next.chunks, s.made[:s.taken])
	counts := make([]uint8, buckets)
	old.lock()
	for _, first := range []bool{true, false} { // rows that were used come first
		for i := range old.buckets {
			for j := range old.buckets[i].slots {
				slot := old.buckets[i].slots[j].Load()
				if slot == 0 || slot&used == 0 == first {
					continue
				}
				at := slot >> next.shift // the upper bits of the hash
				if counts[at] == slotCount {
					s.live.Add(-1)
					continue
				}
				next.buckets[at].slots[counts[at]].Store(slot)
				counts[at]++
			}
		}
	}
	s.table.Store(next)
	if s.ghosts.Counts().Held > 0 {
		s.fitGhosts(buckets)
	}
}

// remember notes that a row was dropped, from probation or from the main part, which is what grows with the bytes.
func (s *shard) remember(hash uint64, probation bool) {
	s.fitGhosts(len(s.table.Load().buckets))
	if probation {
		s.ghosts.Note(hash)
	} else {
		s.near.Note(hash)
	}
}

func (s *shard) fitGhosts(buckets int) {
	s.near.Fit(buckets)
	s.ghosts.Fit(ghostsPerBucket * buckets)
}
