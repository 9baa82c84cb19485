package cachesim

import "slices"

// Hindsight is the share of hits of a cache that is told how often each key will be read, and holds those that are read most
// from their first read on. When reads do not depend on each other, as in Zipf, this is about the most that a policy can have that
// does not know the future: between it and the optimum is what only a look at the order of reads to come gives.
func Hindsight(t Trace, capacity int) float64 {
	reads := make([]int, t.Keys)
	for _, key := range t.Read {
		reads[key]++
	}
	slices.SortFunc(reads, func(a, b int) int { return b - a })
	hits := 0
	for _, n := range reads[:min(capacity, len(reads))] {
		hits += max(0, n-1)
	}
	return float64(hits) / float64(len(t.Read))
}
