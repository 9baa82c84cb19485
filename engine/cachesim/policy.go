package cachesim

import "github.com/lightning-db/lightning/engine/internal/rowcache"

// Policy is a cache of keys.
type Policy interface {
	// Read tells whether the key was held, and afterwards may hold it.
	Read(key uint32) (hit bool)
}

// Kind is a policy that can be made with any capacity, for a number of keys. One that counts bytes may hold more than a capacity
// below the least one.
type Kind struct {
	Name  string
	New   func(capacity, keys int) Policy
	Least int
}

// Kinds are the policies of this package but for the optimum.
func Kinds() []Kind {
	return []Kind{
		{Name: "LRU", New: newLRU}, {Name: "CLOCK", New: newClock}, {Name: "SIEVE", New: newSieve},
		{Name: "ARC", New: newARC}, {Name: "S3-FIFO", New: newS3FIFO},
		{Name: "block cache", New: newBlocks}, {Name: "row cache", New: newRows, Least: rowcache.MinBytes / rowBytes},
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
