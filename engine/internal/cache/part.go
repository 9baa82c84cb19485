package cache

// Part is a store's use of a cache: blocks of one part are never found in another. A nil Part holds nothing.
type Part[V any] struct {
	cache *Cache[V]
	store uint64
}

// Part gives the part of the store with a number, which no other store of the cache may have.
func (c *Cache[V]) Part(store uint64) *Part[V] { return &Part[V]{c, store} }

// Get finds a block. It takes no lock and allocates nothing.
func (p *Part[V]) Get(at Place) (v V, ok bool) {
	if p == nil || p.cache == nil {
		return v, false
	}
	return p.cache.get(address{p.store, at})
}

// Add keeps a block of so many bytes, if it is worth it. One larger than half a shard is not kept: it would push out
// everything else.
func (p *Part[V]) Add(at Place, v V, size int) { p.add(at, v, size, 1) }

// AddScanned keeps a block that was read because it lies behind another one, in a walk that is long: for a while, and
// longer only if it is read again or there is room.
func (p *Part[V]) AddScanned(at Place, v V, size int) { p.add(at, v, size, 0) }

func (p *Part[V]) add(at Place, v V, size int, reads uint8) {
	if p == nil || p.cache == nil {
		return
	}
	a := address{p.store, at}
	h := a.hash()
	e := &entry[V]{address: a, hash: h, value: v, size: size + Overhead}
	p.cache.shard(h).add(e, reads)
}

// Forget drops the blocks of the files that gone names. It looks at all blocks of the cache.
func (p *Part[V]) Forget(gone func(file uint64) bool) {
	if p == nil || p.cache == nil {
		return
	}
	shards := *p.cache.shards.Load()
	for i := range shards {
		shards[i].forget(func(a address) bool { return a.store == p.store && gone(a.File) })
	}
}

// Stats gives the figures of the whole cache.
func (p *Part[V]) Stats() Stats {
	if p == nil {
		return Stats{}
	}
	return p.cache.Stats()
}
