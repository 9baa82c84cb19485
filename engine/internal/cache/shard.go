package cache

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"

	"github.com/lightning-db/lightning/engine/internal/ghost"
)

const (
	// maxReads is where reads are not counted further. With seven in place of fifteen a cache of a tenth of the data
	// had 0.1 points fewer hits under Zipf's distribution, and 0.4 more when it shifted.
	maxReads = 15

	// windowShare is the part of the capacity that new blocks have. Ten hundredths lose a tenth of a loop that is slightly larger than the
	// cache; one is less than a block in a shard of 1 MiB.
	windowShare = 0.02

	// drawn is how many blocks are compared to find one to give up. Three find almost as good ones, eight no better.
	drawn = 5

	// hitsPerBlock is after how many hits for each block held the reads are halved. Ten lose 0.6 points under Zipf's
	// distribution and gain as much when it shifts.
	hitsPerBlock = 20

	// nearShare is how much further the one set of ghosts reaches than the other.
	nearShare = 8

	inWindow = -1
)

// shard is a part of the cache with a lock of its own.
type shard[V any] struct {
	index        atomic.Pointer[index[V]]
	hits, misses atomic.Uint64

	mu       sync.Mutex
	capacity int
	used     int // bytes, of window and main
	main     []*entry[V]
	oldest   *entry[V] // of the window
	newest   *entry[V]
	inside   int // bytes in the window
	gone     sketch
	near     ghost.Set // what went last, an eighth to a quarter as many as are held
	far      ghost.Set // and as many, or twice as many
	halved   uint64    // hits when reads were halved last
	random   rand.PCG
	refused  uint64
	evicted  uint64

	_ [64]byte // the next shard's counters are on another cache line
}

func (s *shard[V]) init(capacity int, seed uint64) {
	s.capacity = capacity
	s.random.Seed(seed, 0)
	s.reset()
}

func (s *shard[V]) reset() {
	s.index.Store(newIndex[V](leastSlots))
	s.main, s.oldest, s.newest = nil, nil, nil
	s.used, s.inside = 0, 0
	s.gone = sketch{}
	s.gone.fit(1)
	s.near.Fit(0)
	s.far.Fit(0)
	s.remember(leastSlots / 2)
}

func (s *shard[V]) clear() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reset()
}

func (s *shard[V]) resize(capacity int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.capacity = capacity
	s.settle()
}

func (s *shard[V]) add(e *entry[V], reads uint8) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e.size > s.capacity/2 {
		s.refused++
		return
	}
	index := s.index.Load()
	if index.find(e.hash, e.address) != nil {
		return // another reader missed it, too
	}
	s.maybeHalve()
	s.near.Returns(e.hash)
	s.far.Returns(e.hash)
	e.reads.Store(uint32(min(s.gone.estimate(e.hash)+reads, maxReads)))
	if 2*(index.count+1) > len(index.slots) {
		index = index.grown()
		s.index.Store(index)
		s.gone.fit(len(index.slots) / 2)
		s.remember(len(index.slots) / 2)
	}
	index.insert(e)
	s.used += e.size
	s.enterWindow(e)
	s.settle()
}

// settle brings the window and the whole shard down to their sizes (CA1).
func (s *shard[V]) settle() {
	window := int(windowShare * float64(s.capacity))
	for {
		over := s.used - s.capacity
		full := s.inside > window && (s.oldest != s.newest || over > 0)
		switch {
		case full && over <= 0:
			s.enterMain(s.leaveWindow())
		case full:
			s.compete(over)
		case over > 0 && len(s.main) > 0:
			s.evict(s.draw(len(s.main)))
		case over > 0:
			s.lose(s.leaveWindow())
		default:
			return
		}
	}
}

// compete gives the oldest block of the window a place in the main part, in place of blocks of which at least so many bytes are
// freed, or drops it if those are read more often for their sizes.
func (s *shard[V]) compete(bytes int) {
	e := s.leaveWindow()
	left, freed, reads := len(s.main), 0, 0
	for freed < bytes && left > 0 { // those that would go are gathered at the end
		v := s.main[s.draw(left)]
		left--
		s.swap(v.slot, left)
		freed += v.size
		reads += int(v.reads.Load())
	}
	if freed < bytes || int(e.reads.Load())*freed <= reads*e.size {
		s.refused++
		s.lose(e)
		return
	}
	for len(s.main) > left {
		s.evict(len(s.main) - 1)
	}
	s.enterMain(e)
}

// draw picks the slot of the block with the fewest reads for its size out of a few among the first of the main part.
func (s *shard[V]) draw(among int) int {
	best := s.pick(among)
	for range drawn - 1 {
		other := s.pick(among)
		a, b := s.main[other], s.main[best]
		if int(a.reads.Load())*b.size < int(b.reads.Load())*a.size {
			best = other
		}
	}
	return best
}

func (s *shard[V]) pick(among int) int { return int(s.random.Uint64() % uint64(among)) }

func (s *shard[V]) swap(i, j int) {
	s.main[i], s.main[j] = s.main[j], s.main[i]
	s.main[i].slot, s.main[j].slot = i, j
}

// maybeHalve makes what was read long ago count less.
func (s *shard[V]) maybeHalve() {
	hits := s.hits.Load()
	if hits-s.halved < hitsPerBlock*uint64(max(s.index.Load().count, leastSlots)) {
		return
	}
	s.halved = hits
	s.gone.halve()
	for _, e := range s.main {
		e.reads.Store(e.reads.Load() / 2)
	}
	for e := s.oldest; e != nil; e = e.newer {
		e.reads.Store(e.reads.Load() / 2)
	}
}

func (s *shard[V]) enterWindow(e *entry[V]) {
	e.slot, e.older, e.newer = inWindow, s.newest, nil
	if s.newest != nil {
		s.newest.newer = e
	} else {
		s.oldest = e
	}
	s.newest = e
	s.inside += e.size
}

// leaveWindow takes out the oldest block.
func (s *shard[V]) leaveWindow() *entry[V] {
	e := s.oldest
	s.unlink(e)
	return e
}

func (s *shard[V]) unlink(e *entry[V]) {
	if e.older != nil {
		e.older.newer = e.newer
	} else {
		s.oldest = e.newer
	}
	if e.newer != nil {
		e.newer.older = e.older
	} else {
		s.newest = e.older
	}
	e.older, e.newer = nil, nil // a reader who keeps the entry does not keep its neighbours
	s.inside -= e.size
}

func (s *shard[V]) enterMain(e *entry[V]) {
	e.slot = len(s.main)
	s.main = append(s.main, e)
}

func (s *shard[V]) evict(slot int) {
	s.evicted++
	e := s.main[slot]
	s.leaveMain(e)
	s.lose(e)
}

func (s *shard[V]) leaveMain(e *entry[V]) {
	last := len(s.main) - 1
	s.swap(e.slot, last)
	s.main[last] = nil
	s.main = s.main[:last]
}

// drop ends an entry that is in neither part any more, and remembers how often it was read.
func (s *shard[V]) drop(e *entry[V]) {
	s.index.Load().remove(e)
	s.used -= e.size
	s.gone.raise(e.hash, uint8(e.reads.Load()))
}

// lose is drop of an entry for which there is no room.
func (s *shard[V]) lose(e *entry[V]) {
	s.drop(e)
	s.near.Note(e.hash)
	s.far.Note(e.hash)
}

// remember makes room for as many blocks that went.
func (s *shard[V]) remember(blocks int) {
	s.near.Fit(blocks / nearShare)
	s.far.Fit(blocks)
}

// forget drops the blocks of some addresses.
func (s *shard[V]) forget(gone func(address) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := len(s.main) - 1; i >= 0; i-- { // the one that takes a place was looked at already
		if e := s.main[i]; gone(e.address) {
			s.leaveMain(e)
			s.drop(e)
		}
	}
	for e := s.oldest; e != nil; {
		next := e.newer
		if gone(e.address) {
			s.unlink(e)
			s.drop(e)
		}
		e = next
	}
}

func (s *shard[V]) stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	return Stats{
		Hits: s.hits.Load(), Misses: s.misses.Load(), Refused: s.refused, Evicted: s.evicted,
		Near: s.near.Counts(), Far: s.far.Counts(),
		Bytes: s.used, Count: s.index.Load().count, Capacity: s.capacity,
	}
}
