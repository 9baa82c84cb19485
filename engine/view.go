package engine

import (
	"sync/atomic"

	"github.com/lightning-db/lightning/engine/internal/levels"
	"github.com/lightning-db/lightning/engine/internal/memtable"
)

// applied is what the store had after some batch. Immutable; a new one is made per batch.
type applied struct {
	batch     uint64 // how many there were, in the whole life of the store
	sequence  uint64 // of the last row
	version   Version
	position  Position
	horizon   Horizon
	unordered bool // some row has a lower version than one before it
}

// sealed is a memtable that takes no more rows and waits to be written, with what the store had
// after its last batch.
type sealed struct {
	memory  *memtable.Memtable
	applied *applied
	number  uint64 // counts rotations; flushes install in this order
}

// view is where all rows of the store are at one moment. It is replaced, never changed, when a
// memtable is sealed and when a flush or a compaction is installed. Readers hold it by a
// reference, which keeps the files of its tables (E3).
type view struct {
	memory *memtable.Memtable
	sealed []*sealed // newest first
	set    *levels.Set

	references atomic.Int32 // one of them is the store's own, while the view is current
}

// newView makes a view with one reference; it takes over a reference on the set.
func newView(memory *memtable.Memtable, s []*sealed, set *levels.Set) *view {
	v := &view{memory: memory, sealed: s, set: set}
	v.references.Store(1)
	return v
}

// tryRef takes a reference unless the last one is gone.
func (v *view) tryRef() bool {
	for {
		n := v.references.Load()
		if n == 0 {
			return false
		}
		if v.references.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

// unref gives a reference back.
func (v *view) unref() {
	if v.references.Add(-1) == 0 {
		v.set.Unref()
	}
}

// leastVersionInMemory is the lowest version of a row that is in no table yet.
func (v *view) leastVersionInMemory() uint64 {
	least := v.memory.LeastVersion()
	for _, s := range v.sealed {
		least = min(least, s.memory.LeastVersion())
	}
	return least
}

// acquire gives the current view with a reference, or nil when the store is closed.
func (db *DB) acquire() *view {
	for {
		v := db.view.Load()
		if v == nil || v.tryRef() {
			return v
		}
	}
}

// replaceViewLocked publishes the view that next makes of the current one, and returns the old
// one, to be unreferenced without the lock.
func (db *DB) replaceViewLocked(next func(old *view) *view) *view {
	old := db.view.Load()
	db.view.Store(next(old))
	db.notifyLocked()
	return old
}
