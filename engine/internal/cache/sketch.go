package cache

// sketch estimates how often blocks were read that are not held: a count-min sketch of two rows in one array. It says too
// much when other blocks share both numbers of one, never too little.
type sketch struct {
	counts []uint8 // a power of two
}

// sketchShare is how many numbers there are for each block held. With half of them scans of a hundred times the cache cost a point more.
const sketchShare = 32

func (s *sketch) places(h uint64) (*uint8, *uint8) {
	mask := uint64(len(s.counts) - 1)
	return &s.counts[h>>8&mask], &s.counts[(h>>32|h<<32)*0x9e3779b97f4a7c15>>20&mask]
}

func (s *sketch) estimate(h uint64) uint8 {
	a, b := s.places(h)
	return min(*a, *b)
}

// raise makes the estimate at least so much.
func (s *sketch) raise(h uint64, reads uint8) {
	a, b := s.places(h)
	*a, *b = max(*a, reads), max(*b, reads)
}

func (s *sketch) halve() {
	for i := range s.counts {
		s.counts[i] /= 2
	}
}

// fit makes room for so many blocks. What was estimated stays.
func (s *sketch) fit(blocks int) {
	for len(s.counts) < sketchShare*blocks {
		if len(s.counts) == 0 {
			s.counts = make([]uint8, 1024)
			continue
		}
		s.counts = append(s.counts, s.counts...)
	}
}
