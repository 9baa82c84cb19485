package rowcache

import (
	"sync"
	"sync/atomic"

	"github.com/lightning-db/lightning/engine/internal/hugepage"
)

// mappings are the memory of a cache outside Go's heap. They end with the cache.
type mappings struct {
	mu  sync.Mutex // a leaf
	all []hugepage.Mapping
}

// make gives zero words: on the heap while they are few.
func (m *mappings) make(words int) []atomic.Uint64 {
	if 8*words < hugepage.Bytes {
		return make([]atomic.Uint64, words)
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

// drop gives the memory back to the system until it is used again.
func (m *mappings) drop() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, mapped := range m.all {
		mapped.Drop()
	}
}

func (m *mappings) unmap() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, mapped := range m.all {
		mapped.Unmap()
	}
	m.all = nil
}
