package engine

import (
	"sync/atomic"

	"github.com/lightning-db/lightning/engine/internal/levels"
)

// counters only grow.
type counters struct {
	batches, rows, stalls       atomic.Uint64
	flushes, flushedBytes       atomic.Uint64
	compactions, compactedBytes atomic.Uint64
	moves                       atomic.Uint64
}

// Metrics are figures about a store since it was opened.
type Metrics struct {
	Batches, Rows  uint64 // applied
	Stalls         uint64 // times that a writer waited for a flush, or for a part of one
	Flushes        uint64
	FlushedBytes   uint64 // written by flushes
	Compactions    uint64
	CompactedBytes uint64 // written by compactions
	Moves          uint64 // tables placed a level deeper without being rewritten

	MemtableBytes int // in memory, not yet in tables
	SealedCount   int // memtables waiting to be written
	Levels        [levels.Count]LevelMetrics
	SnapshotCount int

	CacheHits, CacheMisses uint64
	CacheBytes             int
}

// LevelMetrics are figures about one level.
type LevelMetrics struct {
	TableCount int
	Bytes      uint64
	Rows       uint64
	Tombstones uint64
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

// Metrics gives the figures. It never waits.
func (db *DB) Metrics() Metrics {
	c := &db.counts
	m := Metrics{
		Batches: c.batches.Load(), Rows: c.rows.Load(), Stalls: c.stalls.Load(),
		Flushes: c.flushes.Load(), FlushedBytes: c.flushedBytes.Load(),
		Compactions: c.compactions.Load(), CompactedBytes: c.compactedBytes.Load(),
		Moves: c.moves.Load(), SnapshotCount: db.snapshots.count(),
	}
	m.CacheHits, m.CacheMisses, m.CacheBytes = db.blocks.Stats()
	v := db.acquire()
	if v == nil {
		return m
	}
	defer v.unref()
	m.MemtableBytes, m.SealedCount = v.memory.Bytes(), len(v.sealed)
	for _, s := range v.sealed {
		m.MemtableBytes += s.memory.Bytes()
	}
	for level, tables := range v.set.Levels {
		l := &m.Levels[level]
		l.TableCount, l.Bytes = len(tables), v.set.Bytes(level)
		for _, t := range tables {
			l.Rows += t.Properties.Rows
			l.Tombstones += t.Properties.Tombstones
		}
	}
	return m
}
