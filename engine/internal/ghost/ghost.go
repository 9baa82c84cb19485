package ghost

// Set is what was dropped last. The zero value remembers nothing until Fit.
type Set struct {
	places   []uint32 // zero for a free one
	count    int
	returned uint64
}

// print is a fingerprint of the upper half of a hash. It is never zero.
func print(hash uint64) uint32 { return uint32(hash>>32) | 1 }

func (s *Set) at(print uint32) *uint32 { return &s.places[print>>1&uint32(len(s.places)-1)] }

// Fit makes so many places, a power of two or none, and keeps what was noted.
func (s *Set) Fit(places int) {
	if places == len(s.places) {
		return
	}
	old := s.places
	s.places, s.count = nil, 0
	if places == 0 {
		return
	}
	s.places = make([]uint32, places)
	for _, print := range old {
		if print != 0 {
			s.put(print)
		}
	}
}

// Note remembers what was dropped.
func (s *Set) Note(hash uint64) {
	if len(s.places) > 0 {
		s.put(print(hash))
	}
}

func (s *Set) put(print uint32) {
	at := s.at(print)
	if *at == 0 {
		s.count++
	}
	*at = print // GH2
}

// Returns tells whether what comes was dropped not long ago, and forgets that it was (GH1).
func (s *Set) Returns(hash uint64) bool {
	if s.count == 0 {
		return false
	}
	at := s.at(print(hash))
	if *at != print(hash) {
		return false
	}
	*at = 0
	s.count--
	s.returned++
	return true
}

// Counts are how much is remembered, and how often something returned.
func (s *Set) Counts() Counts { return Counts{Held: s.count, Returned: s.returned} }

// Counts are figures of a Set.
type Counts struct {
	Held     int    // remembered now
	Returned uint64 // that came again
}

// Add adds another set's.
func (c *Counts) Add(other Counts) {
	c.Held += other.Held
	c.Returned += other.Returned
}
