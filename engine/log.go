package engine

import (
	"errors"
	"fmt"
	"time"

	"github.com/lightning-db/lightning/engine/internal/corrupt"
	"github.com/lightning-db/lightning/engine/internal/manifest"
	"github.com/lightning-db/lightning/engine/internal/wal"
	"github.com/lightning-db/lightning/internal/entropy"
)

// LogMode says what Apply waits for.
type LogMode uint8

// The modes. They may change from one opening to the next.
const (
	// LogOff is without a log: a batch is durable when a flush has written it.
	LogOff LogMode = iota
	// LogAlways returns from Apply when the batch is synced: no crash loses it.
	LogAlways
	// LogInterval does not wait: records gather in the process, which writes them when they are 64 KiB, and writes and syncs them every
	// Options.LogSyncInterval. When the process dies it loses what has gathered: no more than 64 KiB and a batch, or 4 MiB and a batch while
	// a write or a sync is on its way. When the machine dies it loses the batches of the last interval and of one sync. The latest go
	// first in either case. They are visible at once, so the same holds for what was read of them when the log fails.
	LogInterval
	// LogNever returns from Apply when the operating system has the batch, which costs a call for each batch or for all that
	// wait together: the death of the process loses nothing, that of the machine what the system had not written by itself,
	// the latest batches first.
	LogNever
)

// logShare times the size of a memtable is how much log may belong to one. Rows take about as much there as in memory; batches
// that have none take only log.
const logShare = 2

// wal gives the log's word for the mode.
func (m LogMode) wal() wal.Mode {
	switch m {
	case LogInterval:
		return wal.Interval
	case LogNever:
		return wal.Never
	}
	return wal.Always
}

// openLog repeats what a log has, whatever the mode is now, writes it into tables, and begins a new log. The old one is
// removed when a manifest says that it is not needed.
func (db *DB) openLog() error {
	s := db.durable.Load()
	found, err := wal.Replay(db.options.FS, db.dir, db.logStart(), db.repeat)
	if err != nil {
		return fmt.Errorf("replay log: %w", err)
	}
	db.replay = *found
	if c := found.Cut; c != nil {
		db.options.Logger.Warn("the log ends torn, as after a crash", "dir", db.dir, "file", c.File, "offset", c.Offset, "dropped", c.Records)
	}
	if err := db.Flush(); err != nil {
		return err
	}
	if db.options.Log == LogOff {
		if s.LogUsed {
			err = db.installLog(found.Next(), false)
		}
	} else {
		err = db.beginLog(found)
	}
	if err != nil {
		return err
	}
	return found.Remove(db.options.FS, db.dir)
}

// beginLog makes the first segment and then says in the manifest that it is needed.
func (db *DB) beginLog(found *wal.Replayed) error {
	log, err := wal.Create(wal.Options{
		FS: db.options.FS, Dir: db.dir, Entropy: entropy.System(), Mode: db.options.Log.wal(),
		SegmentBytes: int64(db.options.LogSegmentBytes), Done: db.logged,
	}, found, db.write.last.batch+1)
	if err != nil {
		return fmt.Errorf("create log: %w", err)
	}
	if err := db.installLog(log.Oldest(db.write.last.batch), true); err != nil {
		return errors.Join(err, log.Close(false))
	}
	db.log = log
	if db.options.Log == LogInterval {
		db.loops.Add(1)
		go db.syncLoop()
	}
	return nil
}

// installLog says in the manifest which segments of the log are needed: from one on, or none.
func (db *DB) installLog(segment uint64, used bool) error {
	return db.installEdit(edit{state: func(m *manifest.State) { m.LogSegment, m.LogUsed = segment, used }})
}

// readLog repeats what a log has into memory, for a store that is only read: so it is as large as the log, which is bounded.
func (db *DB) readLog() error {
	found, err := wal.Replay(db.options.FS, db.dir, db.logStart(), db.repeat)
	if err != nil {
		return fmt.Errorf("replay log: %w", err)
	}
	db.replay = *found
	db.write.dirty = false // there is nothing for Close to write
	return nil
}

// logStart says from where on the log is needed.
func (db *DB) logStart() wal.Start {
	s := db.durable.Load()
	return wal.Start{Segment: s.LogSegment, Used: s.LogUsed, Batch: s.LastBatch, ReadOnly: db.options.ReadOnly}
}

// roomToRepeatLocked is makeRoomLocked for a batch of the log.
func (db *DB) roomToRepeatLocked(b *Batch) error {
	if db.options.ReadOnly {
		return nil
	}
	if err := db.failure(); err != nil {
		return err
	}
	return db.makeRoomLocked(b)
}

// repeat applies a batch of the log as Apply did.
func (db *DB) repeat(r *wal.Batch) error {
	b := &Batch{
		buf: r.Rows, rows: r.Refs, hasPosition: r.HasPosition, position: Position{Index: r.Index, Term: r.Term},
		horizon: Horizon{Version: Version(r.HorizonVersion), ExpiryMillis: r.HorizonExpiry},
	}
	db.write.Lock()
	defer db.write.Unlock()
	if err := db.roomToRepeatLocked(b); err != nil {
		return err
	}
	next := db.afterLocked(b)
	if next.batch != r.Number || next.firstSequence(b) != r.Sequence {
		return corrupt.Shape("*"+wal.Suffix, 0, "batch and sequence", fmt.Sprint(next.batch, next.firstSequence(b)), fmt.Sprint(r.Number, r.Sequence))
	}
	db.addLocked(b, next)
	db.applied.Store(next)
	db.latest.Store(max(db.latest.Load(), next.horizon.ExpiryMillis))
	return nil
}

// reserveLocked makes sure that the log has room for a batch, before anything else changes.
func (db *DB) reserveLocked(b *Batch, next *applied) error {
	if db.log == nil {
		return nil
	}
	db.write.record = wal.Batch{
		Number: next.batch, Sequence: next.firstSequence(b),
		HasPosition: b.hasPosition, Index: b.position.Index, Term: b.position.Term,
		HorizonVersion: uint64(b.horizon.Version), HorizonExpiry: b.horizon.ExpiryMillis,
		Refs: b.rows, Rows: b.buf, Deletes: b.puts == 0,
	}
	err := db.log.Reserve(&db.write.record)
	if errors.Is(err, wal.ErrFull) {
		return fmt.Errorf("%w: %w", ErrDiskFull, err)
	}
	return err
}

// appendLocked gives a batch to the log, and makes it visible if the mode does not wait for that.
func (db *DB) appendLocked(b *Batch, next *applied) {
	if db.log == nil {
		db.write.hashes = db.appendHashes(db.write.hashes[:0], b)
		db.publish(next, db.write.hashes, b.ranges > 0)
		return
	}
	if db.options.Log == LogInterval {
		db.write.hashes = db.appendHashes(db.write.hashes[:0], b)
	} else {
		db.addPending(next.batch, b)
	}
	db.write.logBytes += db.log.Append(&db.write.record, next)
	db.write.record = wal.Batch{}
	if db.options.Log == LogInterval {
		db.publish(next, db.write.hashes, b.ranges > 0)
	}
}

// logged is told by the log how far it has come. What Apply waits for becomes visible here (E8).
func (db *DB) logged(state any, synced bool) {
	a := state.(*applied)
	if db.options.Log != LogInterval {
		hashes, ranged := db.pending.take(a.batch)
		db.publish(a, hashes, ranged)
	}
	if synced {
		db.synced.Store(a)
	}
}

// publishLocked waits until all that was taken is visible: only that is sealed (E8).
func (db *DB) publishLocked() error {
	if db.applied.Load() == db.write.last {
		return nil
	}
	return db.log.Commit(db.write.last.batch, &db.write.waiter)
}

// releaseLog gives the segments free that the manifest does not need any more.
func (db *DB) releaseLog(log *wal.Log) {
	if err := log.Release(db.durable.Load().LogSegment); err != nil && db.failure() == nil {
		db.options.Logger.Warn("file of the log not removed", "dir", db.dir, "error", err)
	}
}

// syncLoop syncs the log from time to time, until the store stops or the log fails.
func (db *DB) syncLoop() {
	defer db.loops.Done()
	ticker := time.NewTicker(db.options.LogSyncInterval)
	defer ticker.Stop()
	for {
		select {
		case <-db.stop:
			return
		case <-ticker.C:
			if db.logFailure(db.log.Sync()) != nil {
				return
			}
		}
	}
}

// Sync makes every batch applied before the call durable: by the log, or by a flush where there is none.
func (db *DB) Sync() error {
	if db.log == nil {
		return db.Flush()
	}
	return db.logFailure(db.log.Sync())
}

// logFailure makes an error with which the log has failed the failure of the store. It is called without locks.
func (db *DB) logFailure(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, wal.ErrClosed):
		return ErrClosed
	case db.log != nil && errors.Is(err, db.log.Failed()):
		return db.fail(err)
	}
	return err
}

// closeLog ends the log when the loops have ended. If everything is in tables, the manifest says that nothing of it is
// needed, and its files go; otherwise they are left to the next Open.
func (db *DB) closeLog(flushed bool) error {
	if db.log == nil {
		return nil
	}
	var err error
	if flushed {
		err = asFull(db.installLog(db.log.Next(), false))
	}
	if closeErr := db.log.Close(flushed && err == nil); closeErr != nil {
		db.options.Logger.Warn("files of the log not closed or removed", "dir", db.dir, "error", closeErr)
	}
	return err
}
