package rowcache

import (
	"sync"
	"sync/atomic"

	"github.com/lightning-db/lightning/engine/internal/hugepage"
)

// OutsideBytes is from where on a cache lies outside Go's heap, where the collector would let garbage of the same size gather beside
// it. Below, it counts as what debug.SetMemoryLimit bounds.
const OutsideBytes = 64 << 20

// mappings are the memory of a shard outside Go's heap. They end with the cache.
type mappings struct {
	outside bool // whether there may be any

	mu  sync.Mutex // a leaf
	all []hugepage.Mapping
}

// make gives zero words.
func (m *mappings) make(words int) []atomic.Uint64 {
	if 8*words < hugepage.Bytes || !m.outside {
		return hugepage.Make[atomic.Uint64](words)
	}
	mapped, ok := hugepage.Map(words)
	if !ok {
		return hugepage.Make[atomic.Uint64](words)
	}
	m.mu.Lock()
	m.all = append(m.all, mapped)
	m.mu.Unlock()
	return mapped.Words
}

// drop gives the memory back to the system until it is used again, and tells whether there is any.
func (m *mappings) drop() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, mapped := range m.all {
		mapped.Drop()
	}
	return len(m.all) > 0
}

func (m *mappings) unmap() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, mapped := range m.all {
		mapped.Unmap()
	}
	m.all = nil
}
