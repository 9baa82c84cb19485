package engine

import (
	"context"

	"github.com/lightning-db/lightning/engine/internal/record"
)

const (
	// burstShare is how much of a memtable may be filled at once while two are sealed: what a writer
	// that is faster than the disk has before it is slowed down to the speed of the flush.
	burstShare = 0.125

	// burstTables is how many tables may be flushed during a compaction before flushes are slowed down
	// to its speed.
	burstTables = 2
)

// pace is how far flush and compaction have come. Who waits for them goes on bit by bit with them, in place of
// waiting for their end: a flush takes a tenth of a second, a compaction of level 0 seconds.
type pace struct {
	flushed    float64 // part of the oldest sealed memtable that is written
	compacting bool
	compacted  float64 // part of the rows that the running compaction has read
	burst      int     // tables that level 0 may have at its beginning
	most       int     // and at its end
}

// begin is the pace of a compaction that has not read anything. One that leaves level 0 as it is must leave room for
// the tables that are flushed during the next one.
func (p *pace) begin(tables, stop int, ofZero bool) {
	p.compacting, p.compacted, p.most = true, 0, stop
	if !ofZero {
		p.most = max(tables, (tables+stop)/2)
	}
	p.burst = min(tables+burstTables, (tables+p.most)/2)
}

// stride counts what a flush or a compaction has read, and says when to look at who waits for it or wants it to stop:
// often enough that each look lets a writer go on for a few batches.
type stride struct {
	rows  int
	since int
	bytes int
	last  int // bytes of the stride that was due
}

// due counts a row.
func (s *stride) due(r *record.Row) bool {
	const maxRows, maxBytes = 256, 256 << 10
	s.rows++
	s.since++
	s.bytes += len(r.User) + r.ValueBytes()
	if s.since < maxRows && s.bytes < maxBytes {
		return false
	}
	s.since, s.bytes, s.last = 0, 0, s.bytes
	return true
}

// memoryBytes is how much the memtable may hold while so many are sealed. Of limit all, as long as another one
// may be sealed.
func (p *pace) memoryBytes(sealed, limit int) int {
	if sealed < maxSealed {
		return limit
	}
	return int(float64(limit) * min(1, p.flushed+burstShare))
}

// mayFlush tells whether a flush may go on that has written a part of a table, with so many already in
// level 0. Without a compaction it always may, so one that waits does not wait longer than for the end of that.
func (p *pace) mayFlush(tables int, part float64) bool {
	return !p.compacting || float64(tables)+part <= float64(p.burst)+float64(p.most-p.burst)*p.compacted
}

// paceWriterLocked waits until the memtable may hold so many bytes. On a full disk only deletes get more than the burst.
func (db *DB) paceWriterLocked(bytes int, deletes bool) error {
	if len(db.view.Load().sealed) < maxSealed {
		return nil
	}
	room := func() bool {
		if deletes && db.fullLocked() != nil {
			return true // it fits into the memtable, and no more than that
		}
		return bytes <= db.mu.pace.memoryBytes(len(db.view.Load().sealed), db.options.MemtableBytes)
	}
	db.mu.Lock()
	wait := !room()
	db.mu.Unlock()
	if !wait {
		return nil
	}
	return db.awaitRoom(room)
}

// paceFlush tells writers how far the flush is, and waits while it is ahead of a compaction.
func (db *DB) paceFlush(part float64) error {
	db.mu.Lock()
	db.mu.pace.flushed = part
	db.noteMemoryLocked()
	db.notifyLocked()
	db.mu.Unlock()
	return db.await(context.Background(), func() bool {
		tables := len(db.view.Load().set.Levels[0])
		return db.mu.stopping || db.mu.pace.mayFlush(tables, part)
	})
}

// compactionBegins and compactionAt tell flushes how far the compaction is.
func (db *DB) compactionBegins(ofZero bool) {
	db.mu.Lock()
	defer db.mu.Unlock()
	db.mu.pace.begin(len(db.view.Load().set.Levels[0]), db.options.StopCount, ofZero)
}

func (db *DB) compactionAt(part float64) {
	db.mu.Lock()
	defer db.mu.Unlock()
	db.mu.pace.compacted = part
	db.notifyLocked()
}

// compactionEnded lets flushes go on that waited for one.
func (db *DB) compactionEnded() {
	db.mu.Lock()
	defer db.mu.Unlock()
	db.mu.pace.compacting = false
	db.notifyLocked()
}
