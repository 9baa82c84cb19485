package rowcache

import (
	"slices"

	"github.com/lightning-db/lightning/engine/internal/hugepage"
)

// Resize changes how many bytes there may be, and gives back at once what is beyond them: the rows there are lost, others stay. Less than
// 64 KiB leaves room for a few rows only.
func (c *Cache) Resize(bytes int) {
	if c == nil {
		return
	}
	c.release(bytes)
	c.publishing.Lock()
	defer c.publishing.Unlock()
	c.fit()
}

// TryResize is Resize that never waits for a publication, so it may be called by who publishes: then what Resize does with the table, which
// is a small part of the bytes, is left to the next fill or TryResize.
func (c *Cache) TryResize(bytes int) {
	if c == nil {
		return
	}
	c.release(bytes)
	if c.publishing.TryLock() {
		defer c.publishing.Unlock()
		c.fit()
	}
}

// release sets the bytes, and gives back the chunks beyond them, one at a time, so that nobody who fills is held up for long.
func (c *Cache) release(bytes int) {
	for i := range c.shards {
		s := &c.shards[i]
		s.mu.Lock()
		s.budget = max(bytes, MinBytes) / len(c.shards)
		s.mu.Unlock()
		for more := true; more; {
			s.mu.Lock()
			if more = s.taken > s.chunksWithin(); more {
				s.releaseChunk()
			}
			s.mu.Unlock()
		}
	}
}

// fit makes the tables fit the bytes. It is called under publishing.
func (c *Cache) fit() {
	for i := range c.shards {
		s := &c.shards[i]
		s.mu.Lock()
		s.fitTable()
		s.mu.Unlock()
	}
}

// chunksWithin is how many chunks the budget allows beside the buckets that it allows.
func (s *shard) chunksWithin() int {
	return max(1, (s.budget-bucketCost*s.bucketsWithin())/s.chunkBytes())
}

// bucketsWithin is how many of the buckets the budget allows.
func (s *shard) bucketsWithin() int {
	n := len(s.table.Load().buckets)
	for n > 1 && n*bucketCost > s.budget/maxBucketShare {
		n /= 2
	}
	return n
}

// fitTable brings the buckets within their share of the bytes, and makes room in the table for all chunks. It is called under publishing, too.
func (s *shard) fitTable() {
	t := s.table.Load()
	if t.buckets[0].stamp.Load()&odd != 0 {
		return // the cache is closed
	}
	if n := s.bucketsWithin(); n < len(t.buckets) || s.maxChunks() > len(t.chunks) {
		s.rehash(n)
	}
}

// releaseChunk takes the last chunk away, and gives its memory back to the system. What is used in it is lost like the rest: it comes
// again with the next read.
func (s *shard) releaseChunk() {
	t := s.table.Load()
	first := uint32((s.taken - 1) * s.chunk)
	gone := func(id uint32) bool { return id >= first }
	for _, q := range []*queue{&s.probation, &s.main} {
		for _, id := range q.segments {
			if gone(id) {
				s.dropAll(t, id)
			}
		}
		q.segments = slices.DeleteFunc(q.segments, gone)
	}
	s.free = slices.DeleteFunc(s.free, gone)
	s.ends = s.ends[:first]
	s.taken--
	hugepage.Release(s.made[s.taken])
}

// dropAll drops the rows of a segment.
func (s *shard) dropAll(t *table, id uint32) {
	for at := 0; at < s.ends[id]; {
		place := s.place(id, at)
		header := t.row(place)[0].Load()
		at += rowWords(header)
		if b := t.bucket(header); b.find(header, place) >= 0 {
			s.take(b, b.find(header, place), header, place)
			s.remember(header, true)
		}
	}
}

// take takes the slot of a row whatever its mark.
func (s *shard) take(b *bucket, i int, header uint64, place uint32) {
	for {
		slot := b.slots[i].Load()
		if slot&^used != slotOf(header, place) {
			break
		}
		if b.slots[i].CompareAndSwap(slot, 0) {
			s.live.Add(-1)
			break
		}
	}
	b.stamp.Add(change) // RW3
}
