package engine

import (
	"sync/atomic"
	"time"

	"github.com/lightning-db/lightning/engine/internal/levels"
)

// counters only grow.
type counters struct {
	batches, rows, stalls       atomic.Uint64
	appliedBytes                atomic.Uint64
	stalled                     atomic.Int64 // nanoseconds
	scrubbed, findings          atomic.Uint64
	flushes, flushedBytes       atomic.Uint64
	compactions, compactedBytes atomic.Uint64
	moves, covered              atomic.Uint64
}

// Metrics are figures about a store since it was opened.
type Metrics struct {
	Batches, Rows  uint64 // applied
	AppliedBytes   uint64 // of their keys and values, with a few bytes for each row
	Stalls         uint64 // times that a writer waited for a flush, or for a part of one
	StallTime      time.Duration
	Flushes        uint64
	FlushedBytes   uint64 // written by flushes
	Compactions    uint64
	CompactedBytes uint64 // written by compactions
	Moves          uint64 // tables placed a level deeper without being rewritten
	CoveredTables  uint64 // tables dropped without being read, as a range tombstone covers all of them

	MemtableBytes int // in memory, not yet in tables
	SealedCount   int // memtables waiting to be written
	Levels        [levels.Count]LevelMetrics
	SnapshotCount int

	// CompactionDebt is about how many bytes compactions have to write until every level is within its target.
	CompactionDebt uint64
	// ReadAmplification is how many places a read of a key may have to look into: memtables, tables of level 0, deeper
	// levels with tables. Filters keep most reads out of most of them.
	ReadAmplification int
	EventsDropped     uint64 // because Options.Events was busy

	ScrubbedBytes uint64 // read by scrubs
	ScrubFindings uint64 // damage that they found

	CacheHits, CacheMisses uint64 // of blocks, of all stores of the Runtime
	CacheBytes             int
	RowCache               RowCacheMetrics

	Log LogMetrics
}

// RowCacheMetrics are figures about the cache of rows.
type RowCacheMetrics struct {
	Hits, Misses uint64
	Fills        uint64 // rows that were put in
	RefusedFills uint64 // and that were not, because a batch was published or another row put in meanwhile
	RowCount     int
	Bytes        int
}

// LogMetrics are figures about the log.
type LogMetrics struct {
	Bytes        uint64 // of the records of batches
	Writes       uint64 // calls, each for all batches that had gathered
	Syncs        uint64
	ReusedCount  uint64 // files that began another life
	SegmentCount int    // files that are needed, or written to

	Replayed int // batches that Open took from a log
	// Torn says that the log which Open found ended in the middle of a write, as a crash leaves it, in TornFile at
	// TornOffset; Dropped is how many whole records there were behind.
	Torn       bool
	TornFile   string
	TornOffset int64
	Dropped    int
}

// LevelMetrics are figures about one level.
type LevelMetrics struct {
	TableCount int
	Bytes      uint64
	Rows       uint64
	Tombstones uint64
	// RangeTombstones counts those of DeleteRange. One that lies in several tables counts in each.
	RangeTombstones uint64
	Garbage         uint64 // rows that can go, as far as one table tells: tombstones, and rows with a newer one of their key
}

// WriteAmplification is how many bytes were written to the disk for a byte that was applied, by the log, flushes and
// compactions; zero before anything was applied.
func (m *Metrics) WriteAmplification() float64 {
	if m.AppliedBytes == 0 {
		return 0
	}
	return float64(m.Log.Bytes+m.FlushedBytes+m.CompactedBytes) / float64(m.AppliedBytes)
}

// Tables is the number of tables of all levels.
func (m *Metrics) Tables() (n int) {
	for _, l := range m.Levels {
		n += l.TableCount
	}
	return n
}

// Bytes is the size of the tables of all levels.
func (m *Metrics) Bytes() (n uint64) {
	for _, l := range m.Levels {
		n += l.Bytes
	}
	return n
}

// logMetrics gives the figures about the log.
func (db *DB) logMetrics() LogMetrics {
	m := LogMetrics{Replayed: db.replay.Batches}
	if c := db.replay.Cut; c != nil {
		m.Torn, m.TornFile, m.TornOffset, m.Dropped = true, c.File, c.Offset, c.Records
	}
	if db.log != nil {
		l := db.log.Metrics()
		m.Bytes, m.Writes, m.Syncs, m.ReusedCount, m.SegmentCount = l.Bytes, l.Turns, l.Syncs, l.Reused, l.Segments
	}
	return m
}

// Metrics gives the figures. It never waits.
func (db *DB) Metrics() Metrics {
	c := &db.counts
	m := Metrics{
		Batches: c.batches.Load(), Rows: c.rows.Load(), Stalls: c.stalls.Load(),
		Flushes: c.flushes.Load(), FlushedBytes: c.flushedBytes.Load(),
		Compactions: c.compactions.Load(), CompactedBytes: c.compactedBytes.Load(),
		Moves: c.moves.Load(), CoveredTables: c.covered.Load(), SnapshotCount: db.snapshots.count(),
		AppliedBytes: c.appliedBytes.Load(), StallTime: time.Duration(c.stalled.Load()), EventsDropped: db.events.dropped.Load(),
		ScrubbedBytes: c.scrubbed.Load(), ScrubFindings: c.findings.Load(),
	}
	blocks := db.blocks.Stats()
	m.CacheHits, m.CacheMisses, m.CacheBytes = blocks.Hits, blocks.Misses, blocks.Bytes
	rows := db.rows.Stats()
	m.RowCache = RowCacheMetrics{
		Hits: rows.Hits, Misses: rows.Misses, Fills: rows.Filled, RefusedFills: rows.Refused, RowCount: rows.Rows, Bytes: rows.Bytes,
	}
	m.Log = db.logMetrics()
	v := db.acquire()
	if v == nil {
		return m
	}
	defer v.unref()
	m.MemtableBytes, m.SealedCount = v.memory.Bytes(), len(v.sealed)
	m.ReadAmplification = 1 + len(v.sealed) + len(v.set.Levels[0])
	o := db.options
	m.CompactionDebt = v.set.Debt(levels.Targets{CompactCount: o.CompactCount, LevelBytes: uint64(o.LevelBytes)})
	for _, s := range v.sealed {
		m.MemtableBytes += s.memory.Bytes()
	}
	for level, tables := range v.set.Levels {
		l := &m.Levels[level]
		l.TableCount, l.Bytes = len(tables), v.set.Bytes(level)
		if level > 0 && len(tables) > 0 {
			m.ReadAmplification++
		}
		for _, t := range tables {
			l.Rows += t.Properties.Rows
			l.Tombstones += t.Properties.Tombstones
			l.Garbage += t.Properties.Garbage
			l.RangeTombstones += uint64(t.Ranges.Len())
		}
	}
	return m
}
