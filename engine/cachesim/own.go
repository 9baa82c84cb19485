package cachesim

import "github.com/lightning-db/lightning/engine/internal/cache"

// EntryBytes is what an entry counts in a cache of bytes.
const EntryBytes = 8 << 10

// blocks is the engine's cache of blocks.
type blocks struct{ cache *cache.Part[uint32] }

func newBlocks(capacity, _ int) Policy {
	return blocks{cache.New[uint32](capacity * EntryBytes).Part(0)}
}

func (b blocks) Read(key uint32) bool {
	place := cache.Place{File: uint64(key) >> 10, Offset: uint64(key&1023) * EntryBytes}
	if _, hit := b.cache.Get(place); hit {
		return true
	}
	b.cache.Add(place, key, EntryBytes-cache.Overhead)
	return false
}
