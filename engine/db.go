package engine

import (
	"context"
	"io"
	"sync"
	"sync/atomic"

	"github.com/lightning-db/lightning/engine/internal/budget"
	"github.com/lightning-db/lightning/engine/internal/levels"
	"github.com/lightning-db/lightning/engine/internal/manifest"
	"github.com/lightning-db/lightning/engine/internal/rowcache"
	"github.com/lightning-db/lightning/engine/internal/table"
	"github.com/lightning-db/lightning/engine/internal/txn"
	"github.com/lightning-db/lightning/engine/internal/wal"
)

// DB is an open store. All methods are safe for concurrent use; doc.go tells how they relate.
type DB struct {
	// Set by Open, never written again.
	dir     string
	options Options
	lock    io.Closer
	runtime *Runtime       // Options.Runtime, or one of its own
	memory  *budget.Member // in the runtime
	blocks  *table.Cache
	rows    *rowcache.Cache // nil for none
	floor   Version         // reads below it fail, whatever the horizon says
	nudge   chan struct{}   // wakes the compaction loop; holds one token
	manual  chan chan error
	retry   chan struct{} // holds one token: of the transaction at the head of the line
	stop    chan struct{} // closed by Close
	loops   sync.WaitGroup
	log     *wal.Log     // nil without Options.Log, and until Open has replayed
	replay  wal.Replayed // what Open found in a log

	// Loaded by anyone.
	view     atomic.Pointer[view]           // nil once closed; stored under mu
	applied  atomic.Pointer[applied]        // what is visible; stored under write, with a log by who leads it
	synced   atomic.Pointer[applied]        // what the log is known to have after a crash; nil without one
	durable  atomic.Pointer[manifest.State] // stored under install
	absence  absence                        // stored by point reads, when what they find changes
	nextFile atomic.Uint64
	latest   atomic.Uint64               // the latest time in milliseconds that the store has used, with Options.Clock
	failed   atomic.Pointer[FailedError] // the first failure; stored under mu
	counts   counters
	events   events

	// filling says that a batch has sealed the memtable and its rows are to come into the next one. It stays until the
	// next batch if that one was refused after all.
	filling atomic.Bool

	snapshots snapshots
	families  families
	pending   pending // rows that the log is to make visible

	// write is held by the one writer: Apply, and whoever rotates the memtable. It may wait for
	// room while it holds it. Order: write, install, mu.
	write struct {
		sync.Mutex
		closed  bool
		dirty   bool   // something was applied since the last rotation
		rotated uint64 // rotations so far

		last     *applied   // after the last batch that was taken, which may not be visible yet
		spare    []applied  // for the next ones
		logBytes int        // of the batches since the last rotation
		record   wal.Batch  // the batch that is taken
		waiter   wal.Waiter // for the log, before a rotation
		hashes   []uint64   // of the keys of the batch that is taken
		setAside *txn.Used  // for the transaction at the head of the line
	}

	// install is held while a manifest is written and its view published: it is the only lock
	// held over I/O, and serialises the writers of the manifest. Readers and Apply never take it.
	install struct {
		sync.Mutex
		unsure bool // a manifest failed: the disk has the state before or the one that it was to have
	}

	// mu is a leaf.
	mu struct {
		sync.Mutex
		flushed  uint64        // number of the last sealed memtable that is durable
		pace     pace          // of the flush and the compaction that run
		full     full          // whether there was room on the disk for them
		asked    uint64        // calls that wait for a flush
		stopping bool          // Close has begun
		ended    bool          // the loops have ended, so no flush is to come
		detached bool          // Close is done with the disk: files are not this store's to remove
		changed  chan struct{} // closed, and replaced, when any of this or the view changes
		released []*levels.Table
	}
}

// notifyLocked wakes everyone in await.
func (db *DB) notifyLocked() {
	close(db.mu.changed)
	db.mu.changed = make(chan struct{})
}

// await blocks until ready, which is called under mu. It ends early with the failure of the
// store, or with the error of the context.
func (db *DB) await(ctx context.Context, ready func() bool) error {
	for {
		db.mu.Lock()
		failed, done, changed := db.failed.Load(), ready(), db.mu.changed
		db.mu.Unlock()
		switch {
		case done:
			return nil
		case failed != nil:
			return failed
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Applied is the position of the last applied batch that carried one.
func (db *DB) Applied() Position { return db.applied.Load().position }

// LastVersion is the highest version of any row applied.
func (db *DB) LastVersion() Version { return db.applied.Load().version }

// Horizon is the horizon after the last applied batch.
func (db *DB) Horizon() Horizon { return db.applied.Load().horizon }

// Durable is the position that a reopened store would have after a crash now, or an earlier one.
func (db *DB) Durable() Position {
	s := db.durable.Load()
	if a := db.synced.Load(); a != nil && a.batch > s.LastBatch {
		return a.position
	}
	return Position{Index: s.PositionIndex, Term: s.PositionTerm}
}

// fail makes the store refuse writes from now on. The first cause stays (E5).
func (db *DB) fail(cause error) error {
	db.mu.Lock()
	first := db.failed.CompareAndSwap(nil, &FailedError{Cause: cause})
	if first {
		db.notifyLocked()
	}
	failed := db.failed.Load()
	db.mu.Unlock()
	if first {
		db.memory.Leave()
		db.options.Logger.Error("storage failed, writes are refused", "dir", db.dir, "error", cause)
		db.events.emit(Event{Kind: EventFailure, Err: failed})
		db.options.OnFailure(failed)
	}
	return failed
}

// failure is why nothing may be written, or nil.
func (db *DB) failure() error {
	if db.options.ReadOnly {
		return ErrReadOnly
	}
	if failed := db.failed.Load(); failed != nil {
		return failed
	}
	return nil
}

// Close flushes what was applied, stops the background work, waits for it, and lets go of the
// directory. It leaves no log: a store that was closed is tables and a manifest. Snapshots and iterators that are still
// open fail or read on from the files they hold, until they are closed. The first call's error tells whether everything
// is durable.
func (db *DB) Close() error {
	db.write.Lock()
	if db.write.closed {
		db.write.Unlock()
		return ErrClosed
	}
	db.write.closed = true
	err := db.rotateLocked()
	target := db.write.rotated
	db.write.Unlock()
	err = db.logFailure(err)
	db.mu.Lock()
	db.mu.stopping = true // the last flushes wait for no compaction, and none begins after them
	db.notifyLocked()
	db.mu.Unlock()
	close(db.stop)
	db.loops.Wait() // the flush loop ends when all is flushed, or cannot be
	db.mu.Lock()
	db.mu.ended = true
	db.notifyLocked()
	db.mu.Unlock()
	if err == nil {
		err = db.flushedTo(target)
	}
	if db.options.Clock != nil && !db.options.ReadOnly && err == nil {
		err = db.installEdit(edit{state: db.raiseExpiry}) // also what reads have found expired since the last batch
	}
	if logErr := db.closeLog(err == nil); err == nil {
		err = logErr
	}
	if lockErr := db.letGo(); err == nil {
		err = lockErr
	}
	return err
}

// letGo gives up files, view and lock when the loops have ended.
func (db *DB) letGo() error {
	db.mu.Lock()
	db.mu.detached = true
	db.mu.Unlock()
	db.removeReleased()
	db.runtime.leave(db)
	var old *view
	db.rows.Close(func() {
		db.mu.Lock()
		old = db.replaceViewLocked(func(*view) *view { return nil })
		db.mu.Unlock()
	})
	old.retire()
	db.events.end()
	return db.lock.Close()
}

// abort ends a store that Open could not open, and writes nothing more.
func (db *DB) abort() {
	db.mu.Lock()
	db.failed.CompareAndSwap(nil, &FailedError{Cause: ErrClosed})
	db.notifyLocked()
	db.mu.Unlock()
	close(db.stop)
	db.loops.Wait()
	_ = db.closeLog(false) // its files are left to the next Open
	if err := db.letGo(); err != nil {
		db.options.Logger.Warn("lock of engine not released", "dir", db.dir, "error", err)
	}
}
