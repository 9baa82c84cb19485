package main

import "github.com/lightning-db/lightning/engine/cachesim"

// cacheHits is the name by which the hits of the caches are asked for: they belong to no scene, for only policies are
// measured, on a trace, and no time. bench/caches prints more of them.
const cacheHits = "cache-hits"

// hits are shares of hits in percent, under Zipf's distribution with a cache of a tenth of the data.
type hits struct{ blocks, rows, arc, lru, known, optimum float64 }

func (r *report) hits() (hits, bool) {
	if !wanted(r.settings.workloads, cacheHits) || !wanted(r.settings.engines, lightning.name) {
		return hits{}, false
	}
	if r.measuredHits == nil {
		h := measureHits(mainKeys / r.settings.scale())
		r.measuredHits = &h
	}
	return *r.measuredHits, true
}

func measureHits(keys int) (h hits) {
	const seed, readsPerKey = 1, 10
	capacity := keys / 10
	t := cachesim.Zipf(seed, keys, readsPerKey*keys)
	for _, k := range cachesim.Kinds() {
		to := map[string]*float64{"block cache": &h.blocks, "row cache": &h.rows, "ARC": &h.arc, "LRU": &h.lru}[k.Name]
		if to != nil {
			*to = 100 * cachesim.Run(t, k.New(capacity, keys))
		}
	}
	h.known, h.optimum = 100*cachesim.Hindsight(t, capacity), 100*cachesim.Optimum(t, capacity)
	return h
}

// points is a figure about hits.
func points(figure func(h hits) float64) func(*report) (measurement, bool) {
	return func(r *report) (measurement, bool) {
		h, ok := r.hits()
		return measurement{value: figure(h)}, ok
	}
}
