package engine

import (
	"errors"
	"math"
	"sync/atomic"

	"github.com/lightning-db/lightning/engine/internal/budget"
	"github.com/lightning-db/lightning/engine/internal/levels"
	"github.com/lightning-db/lightning/engine/internal/rowcache"
	"github.com/lightning-db/lightning/engine/internal/table"
	"github.com/lightning-db/lightning/internal/seededbug"
)

// RuntimeOptions are the settings of a Runtime. The zero value is usable. Everything in it may be changed while stores are open,
// by methods of the Runtime.
type RuntimeOptions struct {
	// CacheBytes bounds the caches of all stores together. Default 64 MiB, negative for none.
	CacheBytes int

	// RowCacheBytes is the part of CacheBytes that is for single rows and not for blocks, for good. Stores have equal shares of it, but for
	// those that need less. Default 0: five eighths at first, and then whatever saves more reads and searches, between a sixteenth
	// and seven eighths. Negative for none, at most CacheBytes.
	RowCacheBytes int

	// StoreCount is how many stores are expected, if they are many. More or fewer are fine, only caches of rows are laid out for it. Default 1.
	StoreCount int

	adaptive bool // no RowCacheBytes were given

	// MemtableBytes bounds what the memtables of all stores hold together, those that are being written with them. When half of
	// it is filling, the largest memtable is flushed, whosever it is; when all of it is taken, writers go on as flushes do. The stores'
	// own bounds, Options.MemtableBytes, apply as well. Default 0: no bound but those.
	MemtableBytes int

	// CompactionCount is how many compactions of all stores run at the same time. The store whose level 0 is fullest comes
	// first. Default 0: as many as the stores have.
	CompactionCount int

	// CompactionBytesPerSecond bounds what compactions of all stores write. Flushes, which writers wait for, do not wait for it,
	// but compactions wait for what flushes have written. Default 0: no bound.
	CompactionBytesPerSecond int64
}

func (o RuntimeOptions) withDefaults() RuntimeOptions {
	setDefault(&o.CacheBytes, 64<<20)
	o.CacheBytes = max(o.CacheBytes, 0)
	o.adaptive = o.adaptive || o.RowCacheBytes == 0
	setDefault(&o.RowCacheBytes, o.CacheBytes/8*5)
	o.RowCacheBytes = max(o.RowCacheBytes, 0)
	return o
}

// OutsideHeapBytes is how much of the caches lies outside Go's heap at most. The collector does not see it: who gives that a limit
// (debug.SetMemoryLimit) takes it off.
func (o RuntimeOptions) OutsideHeapBytes() int {
	o = o.withDefaults()
	switch {
	case o.RowCacheBytes/max(1, o.StoreCount) < rowcache.OutsideBytes:
		return 0
	case o.adaptive:
		return o.CacheBytes - o.CacheBytes/8 // what blocks keep
	}
	return o.RowCacheBytes
}

// Validate reports every setting that is out of its bounds.
func (o RuntimeOptions) Validate() error {
	o = o.withDefaults()
	return errors.Join(
		within("RowCacheBytes", o.RowCacheBytes, 0, o.CacheBytes),
		within("MemtableBytes", o.MemtableBytes, 0, math.MaxInt),
		within("StoreCount", o.StoreCount, 0, 1<<20),
		within("CompactionCount", o.CompactionCount, 0, 1<<20),
		within("CompactionBytesPerSecond", int(o.CompactionBytesPerSecond), 0, math.MaxInt),
	)
}

// Runtime is what several stores of one process share: one budget for caches, one for memory that is not yet in tables, and one for
// background work. Give it to each of them as Options.Runtime. It has no goroutines and needs no Close: a store leaves it
// when it is closed. Safe for concurrent use.
type Runtime struct {
	blocks      *table.Blocks
	memory      budget.Memory
	compactions budget.Slots
	writes      budget.Rate
	numbers     atomic.Uint64 // of the stores that have joined
	sharing     sharing
}

// NewRuntime makes a Runtime for stores that are opened afterwards.
func NewRuntime(o RuntimeOptions) (*Runtime, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	return newRuntime(o.withDefaults()), nil
}

func newRuntime(o RuntimeOptions) *Runtime {
	r := &Runtime{blocks: table.NewBlocks(o.CacheBytes - o.RowCacheBytes)}
	r.sharing.begin(r.blocks, o)
	r.memory.SetLimit(int64(o.MemtableBytes))
	r.compactions.SetLimit(o.CompactionCount)
	r.writes.SetLimit(o.CompactionBytesPerSecond)
	return r
}

// runtime is the one that a store was given, or one of its own with the store's own cache.
func (o Options) runtime() *Runtime {
	if o.Runtime != nil {
		return o.Runtime
	}
	rows := o.rowCacheBytes()
	return newRuntime(RuntimeOptions{CacheBytes: max(o.CacheBytes, 0), RowCacheBytes: rows, adaptive: o.adaptive && rows > 0})
}

// join gives a store its parts.
func (r *Runtime) join(db *DB) {
	db.runtime = r
	number := r.numbers.Add(1)
	if seededbug.Enabled(seededbug.EngineCacheWithoutStore) {
		number = 0
	}
	db.blocks = r.blocks.Part(number)
	db.memory = r.memory.Join(db.trySeal)
	db.rows = r.sharing.join(db.options.RowCacheBytes >= 0)
}

// leave takes back what a store had.
func (r *Runtime) leave(db *DB) {
	db.memory.Leave()
	db.blocks.Forget(func(uint64) bool { return true })
	r.sharing.leave(db.rows)
}

// SetCacheBytes changes the bound of the caches, and gives back at once what is beyond it. Rows get the part that RuntimeOptions gave them,
// also after a bound of zero. Stores that were opened without room for a cache of rows get none.
func (r *Runtime) SetCacheBytes(bytes int) { r.sharing.resize(max(bytes, 0)) }

// SetMemtableBytes changes the bound of all memtables; zero is none. One below what they hold makes writers wait.
func (r *Runtime) SetMemtableBytes(bytes int) { r.memory.SetLimit(int64(bytes)) }

// SetCompactionCount changes how many compactions run at the same time; zero is no bound. Those that run go on.
func (r *Runtime) SetCompactionCount(count int) { r.compactions.SetLimit(count) }

// SetCompactionBytesPerSecond changes what compactions may write; zero is no bound.
func (r *Runtime) SetCompactionBytesPerSecond(n int64) { r.writes.SetLimit(n) }

// ClearCaches drops all cached blocks and rows of all stores. Reads then read their files again.
func (r *Runtime) ClearCaches() {
	r.blocks.Clear()
	for _, c := range r.sharing.caches() {
		c.Clear()
	}
}

// ClearCaches drops what is cached of this store. What other stores of its Runtime have stays.
func (db *DB) ClearCaches() {
	db.blocks.Forget(func(uint64) bool { return true })
	if db.rows != nil {
		db.rows.Clear()
	}
}

// RuntimeMetrics are figures about a Runtime since it was made.
type RuntimeMetrics struct {
	StoreCount int // open now

	CacheBytes       int // the bound of all caches
	BlockHits        uint64
	BlockMisses      uint64
	BlockCount       int
	BlockBytes       int    // held, with what the cache needs for them
	BlocksRefused    uint64 // that were read less often than those that were there
	BlocksEvicted    uint64
	RowHits          uint64 // of the caches of the stores that are open
	RowMisses        uint64
	RowCount         int
	RowBytes         int
	RowCacheBytes    int // what rows may have now; the rest is for blocks
	MemtableBytes    int // the bound, 0 for none
	FillingBytes     int // of memtables; counted from a store's first batch on, only with a Runtime that was given
	SealedBytes      int // of those that are being written, less what is
	MemoryWaits      uint64
	MemorySeals      uint64 // memtables flushed before they were full, because all together held too much
	CompactionCount  int    // that run
	CompactionQueued int    // that wait for one to end
}

// Metrics gives the figures.
func (r *Runtime) Metrics() RuntimeMetrics {
	b := r.blocks.Stats()
	m := RuntimeMetrics{
		BlockHits: b.Hits, BlockMisses: b.Misses, BlockCount: b.Count, BlockBytes: b.Bytes,
		BlocksRefused: b.Refused, BlocksEvicted: b.Evicted, MemtableBytes: int(r.memory.Limit()),
	}
	filling, sealed := r.memory.Held()
	m.FillingBytes, m.SealedBytes = int(filling), int(sealed)
	m.MemoryWaits, m.MemorySeals = r.memory.Counts()
	_, m.CompactionCount, m.CompactionQueued = r.compactions.Counts()
	rows := r.sharing.metrics(&m)
	m.RowHits, m.RowMisses, m.RowCount, m.RowBytes = rows.Hits, rows.Misses, rows.Rows, rows.Bytes
	return m
}

// reserveMemoryLocked takes memory for a batch out of what all stores share, and waits while others have it.
func (db *DB) reserveMemoryLocked(b *Batch) error {
	if db.options.Runtime == nil {
		return nil
	}
	err := db.memory.Reserve(int64(b.Bytes()), db.sealLocked)
	if err == nil {
		err = db.failure() // for which the wait has ended
	}
	return err
}

// giveMemoryLocked gives back what was reserved for a batch that is refused.
func (db *DB) giveMemoryLocked(b *Batch) {
	if db.options.Runtime != nil {
		db.memory.Give(int64(b.Bytes()))
	}
}

// sealLocked seals the memtable for the sake of all stores, if that needs no wait for a flush.
func (db *DB) sealLocked() (bool, error) {
	if !db.write.dirty || db.failure() != nil || len(db.view.Load().sealed) >= maxSealed {
		return false, nil
	}
	err := db.rotateLocked()
	return err == nil, err
}

// trySeal does that on behalf of another store. A failure is this store's own.
func (db *DB) trySeal() bool {
	if !db.write.TryLock() {
		return false
	}
	defer db.write.Unlock()
	if db.write.closed {
		return false
	}
	sealed, err := db.sealLocked()
	return sealed && db.logFailure(err) == nil
}

// noteMemoryLocked tells the runtime what flushes have still to write. Nobody waits for a store that a full disk holds up: its writers
// are refused by its own bounds.
func (db *DB) noteMemoryLocked() {
	v := db.view.Load()
	if db.options.Runtime == nil || v == nil {
		return
	}
	bytes := 0.0
	for i, s := range v.sealed {
		part := 1.0
		if i == len(v.sealed)-1 { // the oldest, which is being written
			part -= db.mu.pace.flushed
		}
		bytes += part * float64(s.memory.Bytes())
	}
	if db.fullLocked() != nil {
		bytes = 0
	}
	db.memory.Sealed(int64(bytes))
}

// urgency compares stores that want to compact.
func (db *DB) urgency(v *view) float64 {
	return float64(len(v.set.Levels[0])) / float64(db.options.StopCount)
}

// forgetBlocks drops the blocks of tables that nobody reads any more: the reads that they had would keep them for a while.
func (db *DB) forgetBlocks(released []*levels.Table) {
	gone := make(map[uint64]bool, len(released))
	for _, t := range released {
		gone[t.Number] = true
	}
	db.blocks.Forget(func(file uint64) bool { return gone[file] })
}
