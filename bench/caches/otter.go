package main

import (
	"github.com/lightning-db/lightning/engine/cachesim"
	"github.com/maypok86/otter/v2"
)

// tinyLFU is W-TinyLFU as the library otter has it.
type tinyLFU struct {
	cache  *otter.Cache[uint32, struct{}]
	misses int
}

func newTinyLFU(capacity, _ int) cachesim.Policy {
	return &tinyLFU{cache: otter.Must(&otter.Options[uint32, struct{}]{
		MaximumSize: capacity,
		Executor:    func(work func()) { work() },
	})}
}

// Read has the library do its work every few misses: it is made to do that beside its users, and would drop reads
// that it could not look at in time.
func (c *tinyLFU) Read(key uint32) bool {
	if _, hit := c.cache.GetIfPresent(key); hit {
		return true
	}
	c.cache.Set(key, struct{}{})
	if c.misses++; c.misses%16 == 0 {
		c.cache.CleanUp()
	}
	return false
}
