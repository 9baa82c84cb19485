package engine

import (
	"bytes"

	"github.com/lightning-db/lightning/engine/internal/keyhash"
	"github.com/lightning-db/lightning/engine/internal/levels"
	"github.com/lightning-db/lightning/engine/internal/memtable"
	"github.com/lightning-db/lightning/engine/internal/rangedel"
	"github.com/lightning-db/lightning/engine/internal/record"
	"github.com/lightning-db/lightning/engine/internal/txn"
	"github.com/lightning-db/lightning/internal/seededbug"
)

// Commit makes the writes of the transaction visible, all at once, and durable as Apply does. If another one was faster it
// returns a ConflictError, and nothing was written. It ends the transaction in any case. One that wrote nothing
// always commits: what it saw was the store at one moment.
func (t *Tx) Commit() error {
	if t.done {
		return ErrTxDone
	}
	defer t.Rollback()
	return t.commit()
}

func (t *Tx) commit() error {
	if t.err != nil {
		return t.err
	}
	b := t.buffers
	if b == nil || b.Writes.Len() == 0 && b.Deleted.Len() == 0 {
		return nil
	}
	batch := Batch{buf: b.Row[:0], rows: b.Rows[:0], families: t.families, guard: t}
	b.Deleted.Join()
	for i := range b.Deleted.Len() {
		batch.addRange(b.Deleted.At(i).Start, b.Deleted.At(i).End, 0)
	}
	for i := range b.Writes.Len() {
		w := b.Writes.At(i)
		batch.add(w.Kind, w.Key, w.Value, 0, w.Expiry)
	}
	b.Ranges.Join()
	since, err := t.validateEarly()
	if err != nil {
		return err
	}
	t.since = since
	err = t.db.Apply(&batch)
	b.Row, b.Rows = batch.buf, batch.rows
	return err
}

// validateEarly does outside of the lock what could take long: looking into tables, and at many rows for ranges. It tells up to
// which sequence there is no conflict.
func (t *Tx) validateEarly() (since uint64, err error) {
	since = t.snapshot.applied.sequence
	a := t.db.applied.Load() // before the view, which then has all rows up to there
	if a.sequence == since || t.buffers.Ranges.Len()+t.buffers.Deleted.Len() == 0 && t.db.durable.Load().LastSequence <= since {
		return since, nil
	}
	v := t.db.acquire()
	if v == nil {
		return 0, ErrClosed
	}
	defer v.unref()
	return a.sequence, t.conflictIn(v, since)
}

// validateLocked decides whether the transaction may commit. Under DB.write it sees every batch that was taken, also those that
// wait for the log and are not visible yet, and none can be taken before its own (E9).
func (t *Tx) validateLocked() error {
	db := t.db
	if aside := db.write.setAside; aside != nil && !t.head {
		if c := t.touches(aside); c != nil {
			return c
		}
	}
	last := db.write.last.sequence
	if seededbug.Enabled(seededbug.EngineTxSkipStaged) {
		last = db.applied.Load().sequence
	}
	if last == t.since {
		return nil
	}
	v := db.acquire()
	if v == nil {
		return ErrClosed
	}
	defer v.unref()
	return t.conflictIn(v, t.since)
}

// touches finds a write of the transaction to what another one, which lost before, has set aside.
func (t *Tx) touches(aside *txn.Used) *ConflictError {
	for i := range t.buffers.Writes.Len() {
		if key := t.buffers.Writes.At(i).Key; aside.Has(key) {
			return &ConflictError{Key: bytes.Clone(key), Written: true}
		}
	}
	for i := range t.buffers.Deleted.Len() {
		if g := t.buffers.Deleted.At(i); aside.HasIn(g) {
			return rangeConflict(g, g.Start).written()
		}
	}
	return nil
}

// conflictIn looks for rows with a sequence above one at what the transaction depends on.
func (t *Tx) conflictIn(v *view, since uint64) error {
	b := t.buffers
	for i := range b.Writes.Len() {
		key := b.Writes.At(i).Key
		if changed, err := v.changedSince(key, since); err != nil {
			return err
		} else if changed {
			return &ConflictError{Key: bytes.Clone(key), Written: true}
		}
	}
	for i := range b.Reads.Len() {
		key := b.Reads.At(i)
		if changed, err := v.changedSince(key, since); err != nil {
			return err
		} else if changed {
			return &ConflictError{Key: bytes.Clone(key)}
		}
	}
	if b.Deleted.Len() > 0 {
		conflict, err := v.rangesSince(&b.Deleted, since)
		if conflict != nil || err != nil {
			return conflict.written().or(err)
		}
	}
	if b.Ranges.Len() == 0 || seededbug.Enabled(seededbug.EngineTxSkipRanges) {
		return nil
	}
	conflict, err := v.rangesSince(&b.Ranges, since)
	return conflict.or(err)
}

// written says that the range of the conflict was deleted.
func (e *ConflictError) written() *ConflictError {
	if e != nil {
		e.Written = true
	}
	return e
}

// or gives an error if there is one, or else the conflict if there is one.
func (e *ConflictError) or(err error) error {
	if err == nil && e != nil {
		return e
	}
	return err
}

// memories gives the memtables that may have rows with a sequence above one, newest first.
func (v *view) memories(since uint64, visit func(*memtable.Memtable) bool) {
	if seededbug.Enabled(seededbug.EngineTxSkipMemtable) || !visit(v.memory) {
		return
	}
	for _, s := range v.sealed {
		if s.applied.sequence <= since || !visit(s.memory) {
			return
		}
	}
}

// changedSince tells whether the newest row of a key has a sequence above one. That row is there: as long as the snapshot of the
// transaction is open, nothing newer than it is dropped but by something newer, and no newer tombstone at all.
func (v *view) changedSince(user []byte, since uint64) (changed bool, err error) {
	newest := record.Key{User: user, Version: record.MaxVersion, Sequence: record.MaxSequence}
	v.memories(since, func(m *memtable.Memtable) bool {
		var r record.Row
		changed = m.Get(newest, &r) && r.Sequence > since || rangeSince(m.Ranges(), user, since)
		return !changed
	})
	for level := 0; level < levels.Count && !changed; level++ {
		if level > 0 {
			changed, err = tableChanged(v.set.Find(level, user), newest, since)
		} else {
			for _, table := range v.set.Levels[0] {
				if changed, err = tableChanged(table, newest, since); changed || err != nil {
					break
				}
			}
		}
		if err != nil {
			return false, err
		}
	}
	return changed, nil
}

// tableChanged is changedSince for one table, which may be nil. Tables that have only older rows are not read.
func tableChanged(t *levels.Table, newest record.Key, since uint64) (bool, error) {
	if t == nil || t.Properties.MaxSequence <= since || !t.Covers(newest.User) {
		return false, nil
	}
	if rangeSince(t.Ranges, newest.User, since) {
		return true, nil
	}
	var r record.Row
	ok, err := t.Reader.Get(&newest, keyhash.Of(newest.User), &r)
	return ok && r.Sequence > since, err
}

// rangeSince tells whether a range tombstone with a sequence above one covers a key. None is dropped that is newer than the snapshot of the
// transaction, but for a newer one.
func rangeSince(set *rangedel.Set, user []byte, since uint64) bool {
	return set != nil && set.Meeting(user, after(user), since) != nil
}

// rangesSince looks for a row or a range tombstone with a sequence above one in any of the ranges.
func (v *view) rangesSince(ranges *txn.Ranges, since uint64) (conflict *ConflictError, err error) {
	v.memories(since, func(m *memtable.Memtable) bool {
		m.Since(since, func(user []byte) bool {
			if g := ranges.Covering(user); g != nil {
				conflict = rangeConflict(g, user)
			}
			return conflict == nil
		})
		for i := 0; i < ranges.Len() && conflict == nil; i++ {
			conflict = rangeMeets(ranges.At(i), m.Ranges(), since)
		}
		return conflict == nil
	})
	for i := 0; i < ranges.Len() && conflict == nil && err == nil; i++ {
		conflict, err = v.rangeInTables(ranges.At(i), since)
	}
	return conflict, err
}

// rangeMeets looks for a range tombstone with a sequence above one that has keys of a range.
func rangeMeets(g *txn.Range, set *rangedel.Set, since uint64) *ConflictError {
	t := set.Meeting(g.Start, g.End, since)
	if t == nil {
		return nil
	}
	if bytes.Compare(t.Start, g.Start) < 0 {
		return rangeConflict(g, g.Start)
	}
	return rangeConflict(g, t.Start)
}

// rangeInTables walks over a range in those tables that have rows with a sequence above one.
func (v *view) rangeInTables(g *txn.Range, since uint64) (*ConflictError, error) {
	for _, tables := range v.set.Levels {
		for _, t := range tables {
			p := t.Properties
			if p.MaxSequence <= since || bytes.Compare(p.Largest, g.Start) < 0 || g.End != nil && bytes.Compare(p.Smallest, g.End) >= 0 {
				continue
			}
			if conflict := rangeMeets(g, t.Ranges, since); conflict != nil {
				return conflict, nil
			}
			c := t.Reader.NewCursor(true)
			first := record.FirstOf(g.Start)
			for r := c.Seek(&first, record.Forward); r != nil && g.Covers(r.User); r = c.Step() {
				if r.Sequence > since {
					return rangeConflict(g, r.User), nil
				}
			}
			if err := c.Err(); err != nil {
				return nil, err
			}
		}
	}
	return nil, nil
}

func rangeConflict(g *txn.Range, key []byte) *ConflictError {
	return &ConflictError{Key: bytes.Clone(key), Start: bytes.Clone(g.Start), End: bytes.Clone(g.End), Range: true}
}
