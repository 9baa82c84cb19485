package engine

import (
	"sync"
	"sync/atomic"

	"github.com/lightning-db/lightning/engine/internal/keyhash"
	"github.com/lightning-db/lightning/engine/internal/levels"
	"github.com/lightning-db/lightning/engine/internal/memtable"
	"github.com/lightning-db/lightning/engine/internal/stripe"
	"github.com/lightning-db/lightning/internal/seededbug"
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

	// references counts readers, in stripes, so that cores do not take one line from each other at every read. While the view is
	// current nobody asks for the sum. Once it is retired, only references are given back, so what the sum of one stripe after the
	// other comes to is not less than what is left at its end: who finds zero, and is the first, releases the view.
	references stripe.Lines
	retired    atomic.Bool
	released   atomic.Bool
}

// newView makes a view that is current; it takes over a reference on the set.
func newView(memory *memtable.Memtable, s []*sealed, set *levels.Set) *view {
	return &view{memory: memory, sealed: s, set: set}
}

// unref gives a reference back.
func (v *view) unref() { v.giveBack(stripe.Index()) }

func (v *view) giveBack(stripe int) {
	v.references[stripe].Add(-1)
	if v.retired.Load() {
		v.release()
	}
}

// retire is for who has replaced the view, without locks.
func (v *view) retire() {
	v.retired.Store(true)
	v.release()
}

// release gives up the files when no reader is left.
func (v *view) release() {
	if v.references.Sum() == 0 && v.released.CompareAndSwap(false, true) {
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

// acquire gives the current view with a reference, or nil when the store is closed. A reference counts if the view is still
// current after it was taken: then who replaces the view sees it. One that does not count is given back in the same stripe, so
// that no sum sees only the giving back.
func (db *DB) acquire() *view {
	i := stripe.Index()
	for {
		v := db.view.Load()
		if v == nil {
			return nil
		}
		v.references[i].Add(1)
		if db.view.Load() == v {
			return v
		}
		v.giveBack(i)
	}
}

// replaceViewLocked publishes the view that next makes of the current one, and returns the old
// one, to be retired without the lock.
func (db *DB) replaceViewLocked(next func(old *view) *view) *view {
	old := db.view.Load()
	db.view.Store(next(old))
	db.noteMemoryLocked()
	db.notifyLocked()
	return old
}

// publish makes visible what was applied up to a state (E10); hashes are those of the keys that have new rows. What the row cache has
// of them goes, and no reader who looked before puts an older row back: see package rowcache. With a range tombstone all of it goes: which of its
// rows are in the range it cannot tell. One goroutine at a time calls it.
func (db *DB) publish(a *applied, hashes []uint64, ranged bool) {
	if ranged && !seededbug.Enabled(seededbug.EngineRangeKeepRows) {
		db.rows.Replace(func() { db.applied.Store(a) })
		return
	}
	db.rows.Begin(hashes)
	db.applied.Store(a)
	db.rows.End(hashes)
}

// appendHashes adds those of a batch's keys.
func (db *DB) appendHashes(hashes []uint64, b *Batch) []uint64 {
	if db.rows == nil {
		return nil
	}
	for i := range b.rows {
		hashes = append(hashes, keyhash.Of(memtable.RowKey(b.buf[b.rows[i].Offset:])))
	}
	return hashes
}

// pending is the hashes of the rows that are in memory and not yet visible, in the order of their batches: Apply adds them, and who leads
// the log takes them. Rows are in the memtable meanwhile, which bounds them.
type pending struct {
	sync.Mutex
	hashes  []uint64
	batches []pendingBatch
	taken   []uint64 // owned by who publishes
}

// pendingBatch says where the hashes of a batch end.
type pendingBatch struct {
	number uint64
	end    int
	ranged bool // it has range tombstones
}

// addPending is called before the log has the batch.
func (db *DB) addPending(number uint64, b *Batch) {
	if db.rows == nil {
		return
	}
	p := &db.pending
	p.Lock()
	defer p.Unlock()
	p.hashes = db.appendHashes(p.hashes, b)
	p.batches = append(p.batches, pendingBatch{number, len(p.hashes), b.ranges > 0})
}

// take gives the hashes of all batches up to one, and whether one of them has range tombstones. They are good until the next call.
func (p *pending) take(number uint64) (hashes []uint64, ranged bool) {
	p.Lock()
	defer p.Unlock()
	n, end := 0, 0
	for n < len(p.batches) && p.batches[n].number <= number {
		end = p.batches[n].end
		ranged = ranged || p.batches[n].ranged
		n++
	}
	p.taken = append(p.taken[:0], p.hashes[:end]...)
	p.hashes = append(p.hashes[:0], p.hashes[end:]...)
	p.batches = append(p.batches[:0], p.batches[n:]...)
	for i := range p.batches {
		p.batches[i].end -= end
	}
	return p.taken, ranged
}
