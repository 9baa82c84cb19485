package levels

// Debt is about how many bytes compactions have to write until every level is within its target. What level 0 holds is
// merged into level 1 once it has enough tables; what is over the target of a level goes down, with what it meets there; and what went
// down may make the next level too large.
func (s *Set) Debt(t Targets) (debt uint64) {
	var down uint64 // bytes that come from above
	if len(s.Levels[0]) >= t.CompactCount {
		down = s.Bytes(0)
		debt = down + s.Bytes(1)
	}
	target := t.LevelBytes
	for level := 1; level < Count-1; level++ {
		size := s.Bytes(level) + down
		down = 0
		if size > target {
			down = size - target
			debt += down + meets(down, size, s.Bytes(level+1))
		}
		target *= levelRatio
	}
	return debt
}

// meets is how much of a level is rewritten when a part of the one above goes down into it, if keys lie evenly.
func meets(part, of, below uint64) uint64 {
	return uint64(float64(part) / float64(of) * float64(below))
}
