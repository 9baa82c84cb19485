package engine

import (
	"context"
	"errors"
	"slices"

	"github.com/lightning-db/lightning/engine/internal/levels"
	"github.com/lightning-db/lightning/engine/internal/manifest"
	"github.com/lightning-db/lightning/engine/internal/merge"
	"github.com/lightning-db/lightning/engine/internal/rangedel"
	"github.com/lightning-db/lightning/engine/internal/record"
	"github.com/lightning-db/lightning/engine/internal/retain"
	"github.com/lightning-db/lightning/internal/seededbug"
)

// errStopped ends a compaction because the store is being closed.
var errStopped = errors.New("compaction stopped")

// wakeCompaction makes the compaction loop look again.
func (db *DB) wakeCompaction() {
	select {
	case db.nudge <- struct{}{}:
	default: // it is told already
	}
}

// pick asks what is due that does not conflict with the compactions that run.
func (db *DB) pick(s *levels.Set, running []*levels.Pick) *levels.Pick {
	db.snapshots.awaited.Store(true) // before the look, so that a Close in between is not missed
	d := db.droppable()
	db.snapshots.awaited.Store(s.WaitsForSnapshot(d))
	if p := db.pickSwept(s, running); p != nil {
		return p
	}
	return s.Pick(db.targets(), d, running...)
}

// droppable is what is not needed any more, by the durable horizon (E4) and the open snapshots.
func (db *DB) droppable() levels.Droppable {
	d := levels.Droppable{
		Version:        record.MaxVersion,
		ExpiryMillis:   db.expiryHorizon(),
		OldestSnapshot: db.snapshots.oldest(),
	}
	if db.options.RetainVersions {
		d.Version = db.durable.Load().HorizonVersion
	}
	if d.Unordered = db.unordered(); d.Unordered {
		d.MemoryVersion = db.view.Load().leastVersionInMemory()
	}
	return d
}

// targets puts the compaction of level 0 off to midway between CompactCount and StopCount while rows
// wait in memory, for more tables are to come, and one merge of eight with what lies below writes less than
// two of four. A store at rest keeps to CompactCount.
func (db *DB) targets() levels.Targets {
	o, v := db.options, db.view.Load()
	filling := db.filling.Load() // before a look at the memtable, which has rows when this ends
	t := levels.Targets{
		CompactCount: o.CompactCount, LevelBytes: uint64(o.LevelBytes), TableBytes: uint64(o.TableBytes),
		Writing: filling || !v.memory.Empty() || len(v.sealed) > 0, MaxCount: o.CompactionCount,
	}
	if t.Writing {
		t.CompactCount = (o.CompactCount + o.StopCount) / 2
	}
	return t
}

// compact merges the inputs into new tables at the output level and installs those instead.
func (db *DB) compact(v *view, p *levels.Pick) (err error) {
	inputs := p.Tables()
	if p.Move {
		db.counts.moves.Add(1)
		return db.installEdit(edit{remove: inputs, add: placeAt(p.Output, inputs), state: db.raiseFloor})
	}
	if p.Drop {
		db.counts.covered.Add(uint64(len(inputs)))
		return db.installEdit(edit{remove: inputs, state: db.raiseFloor})
	}
	var tables []*levels.Table
	ended := db.mergeBegins(p, inputs)
	defer func() { ended(totalBytes(tables), err) }()
	h := db.durable.Load()
	if seededbug.Enabled(seededbug.EngineDropByPresentHorizon) {
		present := *h
		present.HorizonVersion = uint64(db.applied.Load().horizon.Version)
		h = &present
	}
	rules := db.rules(Horizon{Version: Version(h.HorizonVersion), ExpiryMillis: db.expiryHorizon()}, v.set, p.Output+1, inputs)
	rules.Ranges = rangesOf(inputs)
	out := &outputs{db: db, filter: retain.New(rules), cutBytes: db.options.TableBytes, last: v.set.EmptyBelow(p.Output),
		dropped: db.families.dropped.Load(), styles: db.families.styles.Load().Walk()}
	out.ranges = out.needed(rules.KeepRanges())
	c := merge.New(inputCursors(v.set, inputs)...)
	at, all := stride{}, float64(rowsOf(inputs))
	paced := p.OfZero() || db.options.CompactionCount == 1
	if paced {
		db.compactionBegins(p.OfZero())
		defer db.compactionEnded()
	}
	for c.Seek(nil, record.Forward); c.Row() != nil; c.Step() {
		if err := out.add(c.Row()); err != nil {
			out.reject(err)
			return err
		}
		if !at.due(c.Row()) {
			continue
		}
		db.runtime.writes.Wait(at.last, db.stop)
		if paced {
			db.compactionAt(float64(at.rows) / all)
		}
		if db.stopped() {
			out.reject(errStopped)
			return errStopped
		}
	}
	if err := c.Err(); err != nil {
		out.abandon()
		return err
	}
	if tables, err = out.finish(); err != nil {
		return err
	}
	db.counts.compactions.Add(1)
	db.counts.compactedBytes.Add(totalBytes(tables))
	db.options.Logger.Debug("compacted", "dir", db.dir, "reason", p.Reason, "level", p.Level,
		"output", p.Output, "inputs", len(inputs), "outputs", len(tables), "rows", at.rows)
	return db.installEdit(edit{remove: inputs, add: placeAt(p.Output, tables), state: db.raiseFloor, dropped: out.dropped})
}

// rangesOf gathers the range tombstones of tables.
func rangesOf(tables []*levels.Table) *rangedel.Set {
	var all []rangedel.Tombstone
	for _, t := range tables {
		all = append(all, t.Ranges.All()...)
	}
	return rangedel.NewSet(all)
}

func rowsOf(tables []*levels.Table) (n uint64) {
	for _, t := range tables {
		n += t.Properties.Rows
	}
	return n
}

// raiseFloor notes in a manifest that only the newest rows were kept, and which have expired.
func (db *DB) raiseFloor(m *manifest.State) {
	if !db.options.RetainVersions {
		m.Floor = m.LastVersion
	}
	db.raiseExpiry(m)
}

func (db *DB) stopped() bool {
	select {
	case <-db.stop:
		return true
	default:
		return false
	}
}

// inputCursors makes one cursor of each level 0 table and one of the tables of each deeper level.
func inputCursors(set *levels.Set, inputs []*levels.Table) (cursors []record.Cursor) {
	for level, tables := range set.Levels {
		var of []*levels.Table
		for _, t := range tables {
			if slices.Contains(inputs, t) {
				of = append(of, t)
			}
		}
		cursors = append(cursors, levelCursors(level, of, false)...)
	}
	return cursors
}

func levelCursors(level int, tables []*levels.Table, fill bool) (cursors []record.Cursor) {
	switch {
	case level == 0:
		for _, t := range tables {
			cursors = append(cursors, t.Reader.NewCursor(fill))
		}
	case len(tables) > 0:
		cursors = append(cursors, levels.NewCursor(tables, fill))
	}
	return cursors
}

// Compact flushes, then merges all tables into one sorted run without anything that can be
// dropped. It rewrites the whole store and needs as much free space meanwhile.
func (db *DB) Compact(ctx context.Context) error {
	if err := db.Flush(); err != nil {
		return err
	}
	done := make(chan error, 1)
	select {
	case db.manual <- done:
	case <-ctx.Done():
		return ctx.Err()
	case <-db.stop:
		return ErrClosed
	}
	select {
	case err := <-done:
		if errors.Is(err, errStopped) {
			return ErrClosed
		}
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}
