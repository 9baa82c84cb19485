package engine

import (
	"fmt"

	"github.com/lightning-db/lightning/engine/internal/memtable"
)

// maxSealed is how many memtables may wait to be written. One is being written while the other
// keeps the writer going through a slow moment of the disk; more would only use memory.
const maxSealed = 2

// Apply makes a batch visible, all of its rows at once, and empties it. Batches become visible in the order in which
// Apply takes them, one at a time. With Options.Log it returns when the log has the batch as that option says; many callers
// share one write and one sync. Without a log a batch is durable after a Flush, or after a background flush, as
// Durable tells; until then a crash loses it. While the disk is behind by two memtables, Apply goes on as the flush of
// the older one does.
//
// After an error the batch is as it was and nothing of it is visible. Only when it is the log that failed, in this very call, is
// the batch empty, and the next Open may find it or not.
func (db *DB) Apply(b *Batch) error {
	if b.err != nil {
		return b.err
	}
	number, err := db.stage(b)
	if err == nil && db.log != nil {
		err = db.log.Commit(number, &b.waiter)
	}
	return db.logFailure(err)
}

// stage adds a batch to the memtable and to the buffer of the log, and empties it. With a log it is not yet visible.
func (db *DB) stage(b *Batch) (number uint64, err error) {
	db.write.Lock()
	defer db.write.Unlock()
	if db.write.closed {
		return 0, ErrClosed
	}
	if err := db.failure(); err != nil {
		return 0, err
	}
	if err := db.checkVersionsLocked(b); err != nil {
		return 0, err
	}
	if err := db.makeRoomLocked(b); err != nil {
		return 0, err
	}
	if err := db.checkFamiliesLocked(b); err != nil {
		return 0, err
	}
	if b.guard != nil {
		if err := b.guard.validateLocked(); err != nil {
			return 0, err
		}
	}
	if err := db.reserveMemoryLocked(b); err != nil {
		return 0, err
	}
	db.stampLocked(b)
	next := db.afterLocked(b)
	if err := db.reserveLocked(b, next); err != nil {
		db.giveMemoryLocked(b)
		return 0, err
	}
	if b.drops != nil {
		b.drops.dropped.Store(true)
	}
	adopted := db.addLocked(b, next)
	if db.filling.Load() {
		db.filling.Store(false)
	}
	db.appendLocked(b, next)
	b.consumed(adopted)
	return next.batch, nil
}

// checkVersionsLocked refuses a batch with a version that a row cannot have.
func (db *DB) checkVersionsLocked(b *Batch) error {
	now := db.write.last
	floor := db.floorOf(now)
	for i := range b.rows {
		v := Version(b.rows[i].Version)
		if v == 0 {
			v = now.version + 1
		}
		if v < floor || v == MaxVersion {
			return fmt.Errorf("version %d, must be between %d and %d: %w", v, floor, MaxVersion-1, ErrVersion)
		}
	}
	return nil
}

// afterLocked computes what the store has after a batch.
func (db *DB) afterLocked(b *Batch) *applied {
	const atOnce = 32 // a batch of one row would else pay a sixth of its time for this one allocation
	if len(db.write.spare) == 0 {
		db.write.spare = make([]applied, atOnce)
	}
	next := &db.write.spare[0]
	db.write.spare = db.write.spare[1:]
	*next = *db.write.last
	for i := range b.rows {
		v := Version(b.rows[i].Version)
		if v == 0 {
			v = db.write.last.version + 1
		}
		next.unordered = next.unordered || v < next.version
		next.version = max(next.version, v)
	}
	next.batch++
	next.sequence += uint64(len(b.rows))
	if b.hasPosition {
		next.position = b.position
	}
	next.horizon = next.horizon.max(b.horizon)
	return next
}

// addLocked adds the rows to the memtable. Readers take a view first and then what is applied: they never look for
// rows in a view that is older than them, or they do not see them at all (E2).
func (db *DB) addLocked(b *Batch, next *applied) (adopted bool) {
	for i := range b.rows {
		if b.rows[i].Version == 0 {
			b.rows[i].Version = uint64(db.write.last.version + 1)
		}
	}
	memory := db.view.Load().memory
	adopted = memory.Add(b.buf, b.rows, next.firstSequence(b))
	if db.options.Runtime != nil {
		db.memory.Fills(int64(memory.Bytes()))
	}
	db.write.last, db.write.dirty = next, true
	db.counts.batches.Add(1)
	db.counts.rows.Add(uint64(len(b.rows)))
	db.counts.appliedBytes.Add(uint64(len(b.buf)))
	return adopted
}

// firstSequence is that of the first row of a batch, after which the store has a.
func (a *applied) firstSequence(b *Batch) uint64 { return a.sequence - uint64(len(b.rows)) + 1 }

// floorOf is the lowest version that may still be read or written.
func (db *DB) floorOf(a *applied) Version {
	if !db.options.RetainVersions {
		return a.version
	}
	return max(db.floor, a.horizon.Version)
}

// makeRoomLocked rotates the memtable if a batch does not fit, and waits for its share of the memtable while
// flushes are behind. A batch larger than any memtable goes into an empty one.
func (db *DB) makeRoomLocked(b *Batch) error {
	memory := db.view.Load().memory
	switch bytes := memory.Bytes() + b.Bytes(); {
	case db.write.logBytes > logShare*db.options.MemtableBytes:
	case memory.Empty():
		return nil
	case bytes <= db.options.MemtableBytes:
		return db.paceWriterLocked(bytes, b.puts == 0)
	}
	db.filling.Store(true)
	return db.rotateLocked()
}

// rotateLocked seals the memtable, if anything was applied since the last time, and starts an
// empty one. It waits while too many are sealed.
func (db *DB) rotateLocked() error {
	if !db.write.dirty {
		return nil
	}
	if err := db.publishLocked(); err != nil {
		return err
	}
	room := func() bool { return len(db.view.Load().sealed) < maxSealed }
	db.mu.Lock()
	stalled := !room()
	db.mu.Unlock()
	if stalled {
		if err := db.awaitRoom(room); err != nil {
			return err
		}
	}
	db.mu.Lock()
	if err := db.failure(); err != nil {
		db.mu.Unlock()
		return err
	}
	db.write.rotated++
	old := db.replaceViewLocked(func(v *view) *view {
		v.set.Ref()
		s := &sealed{memory: v.memory, applied: db.write.last, number: db.write.rotated}
		return newView(memtable.New(db.keysExpected(v.memory)), append([]*sealed{s}, v.sealed...), v.set)
	})
	db.mu.Unlock()
	old.retire()
	db.write.dirty, db.write.logBytes = false, 0
	db.memory.Fills(0)
	return nil
}

// keysExpected is how many keys the memtable after a full one has room for at once: an index that grows
// under a batch makes it wait for a millisecond, and one that is too large costs an idle store memory.
func (db *DB) keysExpected(full *memtable.Memtable) int {
	if full.Bytes() < db.options.MemtableBytes/2 {
		return 0
	}
	return full.Keys()
}

// Flush makes every batch applied before the call durable.
func (db *DB) Flush() error {
	db.write.Lock()
	if db.write.closed {
		db.write.Unlock()
		return ErrClosed
	}
	if err := db.failure(); err != nil {
		db.write.Unlock()
		return err
	}
	err := db.rotateLocked()
	target := db.write.rotated
	db.write.Unlock()
	if err != nil {
		return db.logFailure(err)
	}
	return db.awaitFlushed(target)
}
