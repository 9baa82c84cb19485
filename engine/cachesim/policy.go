package cachesim

// Policy is a cache of keys.
type Policy interface {
	// Read tells whether the key was held, and afterwards may hold it.
	Read(key uint32) (hit bool)
}

// Kind is a policy that can be made with any capacity, for a number of keys.
type Kind struct {
	Name string
	New  func(capacity, keys int) Policy
}

// Kinds are the policies of this package but for the optimum.
func Kinds() []Kind {
	return []Kind{
		{"LRU", newLRU}, {"CLOCK", newClock}, {"SIEVE", newSieve}, {"ARC", newARC}, {"S3-FIFO", newS3FIFO},
		{"block cache", newBlocks},
	}
}

// Run reads a trace and gives the share of hits.
func Run(t Trace, p Policy) float64 {
	hits := 0
	for _, key := range t.Read {
		if p.Read(key) {
			hits++
		}
	}
	return float64(hits) / float64(len(t.Read))
}
