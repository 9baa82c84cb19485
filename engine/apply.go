package engine

import (
	"context"
	"fmt"

	"github.com/lightning-db/lightning/engine/internal/memtable"
)

// maxSealed is how many memtables may wait to be written. One is being written while the other
// keeps the writer going through a slow moment of the disk; more would only use memory.
const maxSealed = 2

// Apply makes a batch visible, all of its rows at once, and empties it. One batch is applied at a
// time, in the order of the calls. It is durable after a Flush, or after a background flush, as
// Durable tells; until then a crash loses it. While the disk is behind by two memtables, Apply goes
// on as the flush of the older one does. After an error the batch is as it was and nothing of it is visible.
func (db *DB) Apply(b *Batch) error {
	if b.err != nil {
		return b.err
	}
	db.write.Lock()
	defer db.write.Unlock()
	if db.write.closed {
		return ErrClosed
	}
	if err := db.failure(); err != nil {
		return err
	}
	next, err := db.prepareLocked(b)
	if err != nil {
		return err
	}
	if err := db.makeRoomLocked(b.Bytes()); err != nil {
		return err
	}
	for i := range b.rows {
		if b.rows[i].Version == 0 {
			b.rows[i].Version = uint64(db.LastVersion() + 1)
		}
	}
	// Readers take a view first and then what is applied: they never look for rows in a view
	// that is older than them, or they do not see them at all (E2).
	adopted := db.view.Load().memory.Add(b.buf, b.rows, next.sequence-uint64(len(b.rows))+1)
	db.write.dirty = true
	db.counts.batches.Add(1)
	db.counts.rows.Add(uint64(len(b.rows)))
	db.applied.Store(next)
	b.consumed(adopted)
	return nil
}

// prepareLocked checks the versions of a batch and computes what the store has after it.
func (db *DB) prepareLocked(b *Batch) (*applied, error) {
	now := db.applied.Load()
	next := *now
	floor := db.floorOf(now)
	for i := range b.rows {
		v := Version(b.rows[i].Version)
		if v == 0 {
			v = now.version + 1
		}
		if v < floor || v == MaxVersion {
			return nil, fmt.Errorf("version %d, must be between %d and %d: %w", v, floor, MaxVersion-1, ErrVersion)
		}
		next.unordered = next.unordered || v < next.version
		next.version = max(next.version, v)
	}
	next.sequence += uint64(len(b.rows))
	if b.hasPosition {
		next.position = b.position
	}
	next.horizon = now.horizon.max(b.horizon)
	return &next, nil
}

// floorOf is the lowest version that may still be read or written.
func (db *DB) floorOf(a *applied) Version {
	if !db.options.RetainVersions {
		return a.version
	}
	return max(db.floor, a.horizon.Version)
}

// makeRoomLocked rotates the memtable if a batch does not fit, and waits for its share of the memtable while
// flushes are behind. A batch larger than any memtable goes into an empty one.
func (db *DB) makeRoomLocked(batchBytes int) error {
	memory := db.view.Load().memory
	switch bytes := memory.Bytes() + batchBytes; {
	case memory.Empty():
		return nil
	case bytes <= db.options.MemtableBytes:
		return db.paceWriterLocked(bytes)
	}
	return db.rotateLocked()
}

// rotateLocked seals the memtable, if anything was applied since the last time, and starts an
// empty one. It waits while too many are sealed.
func (db *DB) rotateLocked() error {
	if !db.write.dirty {
		return nil
	}
	room := func() bool { return len(db.view.Load().sealed) < maxSealed }
	db.mu.Lock()
	stalled := !room()
	db.mu.Unlock()
	if stalled {
		db.counts.stalls.Add(1)
		if err := db.await(context.Background(), room); err != nil {
			return err
		}
	}
	db.mu.Lock()
	if failed := db.mu.failed; failed != nil {
		db.mu.Unlock()
		return failed
	}
	db.write.rotated++
	old := db.replaceViewLocked(func(v *view) *view {
		v.set.Ref()
		s := &sealed{memory: v.memory, applied: db.applied.Load(), number: db.write.rotated}
		return newView(memtable.New(db.keysExpected(v.memory)), append([]*sealed{s}, v.sealed...), v.set)
	})
	db.mu.Unlock()
	old.unref()
	db.write.dirty = false
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
		return err
	}
	return db.awaitFlushed(target)
}

func (db *DB) awaitFlushed(number uint64) error {
	return db.await(context.Background(), func() bool { return db.mu.flushed >= number })
}
