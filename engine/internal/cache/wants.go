package cache

// Wants tells whether a block of so many bytes that is not here would be kept if it were added; scanned says that it would be by AddScanned.
// A block that is not wanted counts as one that was refused: who asks often is told yes in the end. So who can do without the block
// in memory of its own need not make that first.
func (p *Part[V]) Wants(at Place, size int, scanned bool) bool {
	if p == nil || p.cache == nil {
		return false
	}
	a := address{p.store, at}
	h := a.hash()
	reads := uint8(1)
	if scanned {
		reads = 0
	}
	return p.cache.shard(h).wants(h, size+Overhead, reads)
}

// wants is what compete would say, but for a block that it would draw.
func (s *shard[V]) wants(hash uint64, size int, reads uint8) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if size > s.capacity/2 {
		return false
	}
	if s.used+size <= s.capacity || len(s.main) == 0 {
		return true
	}
	s.maybeHalve()
	count := min(s.gone.estimate(hash)+reads, maxReads)
	v := s.main[s.draw(len(s.main))]
	if int(count)*v.size > int(v.reads.Load())*size {
		return true
	}
	s.gone.raise(hash, count)
	s.refused++
	return false
}
