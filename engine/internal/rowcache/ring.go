package rowcache

import (
	"sync/atomic"

	"github.com/lightning-db/lightning/engine/internal/hugepage"
)

const (
	probationShare = 20 // one segment of so many is for rows on probation
	// maxReclaims bounds the work of one fill. When all of them are full of used rows, it is refused; they are
	// not used any more when the next round comes.
	maxReclaims   = 4
	maxBlockBytes = 16 << 20
	// ghostsPerBucket is about the number of rows that a bucket has. One more is for those that were dropped last.
	ghostsPerBucket = 8
	bucketCost      = bucketBytes + 4*(ghostsPerBucket+1)
)

// room finds place for a row at the end of a queue. The caller takes it by moving the segment's end.
func (s *shard) room(t *table, q *queue, need int) (segment uint32, word int, ok bool) {
	for range maxReclaims {
		if n := len(q.segments); n > 0 && s.ends[q.segments[n-1]]+need <= s.words {
			segment = q.segments[n-1]
			return segment, s.ends[segment], true
		}
		if segment, ok = s.segment(t); ok {
			q.segments = append(q.segments, segment)
			return segment, 0, true
		}
		s.reclaim(t)
	}
	return 0, 0, false
}

// place is what a slot keeps of where a row is. It is not zero.
func (s *shard) place(segment uint32, word int) uint32 {
	return segment*uint32(s.words) + uint32(word) + 1
}

// segment takes an empty segment, if there is one or memory for more (RW4).
func (s *shard) segment(t *table) (uint32, bool) {
	if len(s.free) == 0 && !s.extend(t) {
		return 0, false
	}
	id := s.free[len(s.free)-1]
	s.free = s.free[:len(s.free)-1]
	s.ends[id] = 0
	return id, true
}

// extend gets memory for one more chunk, if the budget has it.
func (s *shard) extend(t *table) bool {
	if s.bytes()+s.growth()+s.chunkBytes() > s.budget && s.taken > 0 || s.taken == len(t.chunks) {
		return false
	}
	if s.taken == len(s.made) {
		s.make()
	}
	if t.chunks[s.taken] == nil { // else it was given back and is taken again: readers who are late may still look at it
		t.chunks[s.taken] = s.made[s.taken]
	}
	s.taken++
	for range s.chunk {
		s.ends = append(s.ends, 0)
	}
	for i := range s.chunk {
		s.free = append(s.free, uint32(len(s.ends)-1-i)) // the first one is taken first
	}
	return true
}

// make gets memory for a chunk, and sometimes for more that come later.
func (s *shard) make() {
	words := s.words * s.chunk
	if len(s.block) == 0 {
		s.block = s.mappings.make(words * s.blockChunks())
	}
	s.made = append(s.made, s.block[:words:words])
	s.block = s.block[words:]
}

// blockChunks is for how many chunks memory is made at once: one by one at first, so that a store that is hardly read
// takes little, and then as many as there are, up to maxBlockBytes, so that they lie on huge pages.
func (s *shard) blockChunks() int {
	bytes := s.chunkBytes()
	if s.taken*bytes < hugepage.Bytes {
		return 1
	}
	return max(1, min(s.taken, maxBlockBytes/bytes, (s.budget-s.bytes()-s.growth())/bytes))
}

func (s *shard) bytes() int { return s.chunkBytes()*s.taken + bucketCost*len(s.table.Load().buckets) }

// growth is what the buckets will take more, when they are about to grow: segments leave room for it, if a shard of such rows
// is still so full with less room that the buckets do grow. Otherwise that room would never be used.
func (s *shard) growth() int {
	n, live := len(s.table.Load().buckets), int(s.live.Load())
	more := bucketCost * n
	if live <= n*fullSlots*3/4 || 2*more > s.budget/maxBucketShare {
		return 0
	}
	if left := s.budget - 2*more; live*left <= n*fullSlots*s.chunkBytes()*s.taken {
		return 0
	}
	return more
}

// reclaim empties the oldest segment of probation, if that has more than its share, else of the main part, or goes on in it.
func (s *shard) reclaim(t *table) {
	q := &s.main
	if len(s.probation.segments) > max(1, len(s.ends)/probationShare) || len(q.segments) == 0 {
		q = &s.probation
	}
	id := q.segments[0]
	q.segments = q.segments[1:]
	kept := s.sift(t, id, q == &s.probation)
	if kept == 0 {
		s.free = append(s.free, id)
		return
	}
	s.ends[id] = kept
	s.main.segments = append(s.main.segments, id)
}

// sift drops the rows of a segment that were not used, and moves the others behind the last row of the main part, or, when
// that segment is full, to the beginning of this one; it tells how many words these are then.
func (s *shard) sift(t *table, id uint32, probation bool) (kept int) {
	end := s.ends[id]
	for at := 0; at < end; {
		place := s.place(id, at)
		row := t.row(place)
		header := row[0].Load()
		size := rowWords(header)
		at += size
		b := t.bucket(header)
		i := b.find(header, place)
		if i < 0 {
			continue
		}
		if b.slots[i].Load()&used == 0 {
			s.drop(b, i, header, place, probation)
			continue
		}
		to, in, word := s.carry(t, size, id, kept)
		if s.move(b, i, header, place, row[:size], to) {
			if in == id {
				kept = word + size
			} else {
				s.ends[in] = word + size
			}
		}
	}
	return kept
}

// carry is where a row of a segment that is sifted goes.
func (s *shard) carry(t *table, size int, id uint32, kept int) (to, segment uint32, word int) {
	if n := len(s.main.segments); n > 0 {
		if last := s.main.segments[n-1]; s.ends[last]+size <= s.words {
			return s.place(last, s.ends[last]), last, s.ends[last]
		}
	}
	return s.place(id, kept), id, kept
}

// drop takes the slot of a row, unless it was used in the last moment and is lost with its place, or is gone already.
func (s *shard) drop(b *bucket, i int, header uint64, place uint32, probation bool) {
	s.take(b, i, header, place)
	s.remember(header, probation)
}

// move copies a row and lets its slot lead to the copy; false if the publisher took the slot.
func (s *shard) move(b *bucket, i int, header uint64, place uint32, row []atomic.Uint64, to uint32) bool {
	b.lock() // RW3: the copy may lie over the row
	defer b.unlock()
	copyWords(s.table.Load().row(to), row)
	for {
		slot := b.slots[i].Load()
		if slot&^used != slotOf(header, place) {
			return false
		}
		if b.slots[i].CompareAndSwap(slot, slotOf(header, to)) {
			return true
		}
	}
}
