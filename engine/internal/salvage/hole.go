package salvage

import (
	"context"
	"errors"
	"syscall"

	"github.com/lightning-db/lightning/engine/internal/corrupt"
	"github.com/lightning-db/lightning/engine/internal/memtable"
	"github.com/lightning-db/lightning/engine/internal/rangedel"
	"github.com/lightning-db/lightning/engine/internal/record"
	"github.com/lightning-db/lightning/engine/internal/table"
	"github.com/lightning-db/lightning/internal/seededbug"
)

// isDamage tells damage, which is salvaged, from failures such as a missing permission, which end the repair.
func isDamage(err error) bool { return errors.Is(err, corrupt.Err) || errors.Is(err, syscall.EIO) }

// source is where rows come from: a table, or what a log had.
type source struct {
	name   string
	number uint64
	level  int
	size   uint64
	table  *table.Reader // nil for memory, and for a table of which nothing can be read
	memory *memtable.Memtable

	damage error
	hole   *hole // what is lost of the table
	// replaced says that a table of a higher number has rows of this one: it was left behind by a compaction.
	replaced bool
}

// hole is what cannot be read of a table: the rows between two rows.
type hole struct {
	before, after *record.Key // the last row before it and the first behind it; nil at the ends
	sequence      uint64      // no row of the table is later
}

// readable reports whether there are rows to take.
func (s *source) readable() bool { return s.table != nil || s.memory != nil }

// cursor walks forward over what is left.
func (s *source) cursor() record.Cursor {
	if s.memory != nil {
		return s.memory.NewCursor()
	}
	c := s.table.NewCursor(false).Singly()
	if s.hole == nil {
		return c
	}
	return &holed{inner: c, hole: s.hole}
}

// ranges are the range tombstones: a table that can be opened has all of its own.
func (s *source) ranges() []rangedel.Tombstone {
	switch {
	case s.memory != nil:
		return s.memory.Ranges().All()
	case s.table != nil:
		return s.table.Ranges().All()
	}
	return nil
}

// check reads all of a table and finds the hole, if there is one.
func (s *source) check(ctx context.Context) error {
	err := s.table.Verify(ctx)
	if err == nil || !isDamage(err) {
		return err
	}
	s.damage = err
	before, err := s.walk(record.Forward)
	if err == nil || !isDamage(err) {
		return err // if there is none the rows are whole: only what is told about them is not
	}
	after, err := s.walk(record.Backward)
	if seededbug.Enabled(seededbug.EngineRepairStopsAtDamage) {
		after = nil
	}
	switch {
	case err == nil:
		return unsteady(s.name, s.damage)
	case !isDamage(err):
		return err
	case before != nil && after != nil && record.Compare(*before, *after) >= 0:
		return unsteady(s.name, err)
	}
	s.hole = &hole{before: before, after: after, sequence: s.table.Properties().MaxSequence}
	return nil
}

// walk goes from one end as far as it can, and gives the last row.
func (s *source) walk(d record.Direction) (last *record.Key, err error) {
	c := s.table.NewCursor(false).Singly()
	var at record.Key
	var value []byte
	for c.Seek(nil, d); c.Row() != nil; c.Step() {
		r := c.Row()
		if err := r.Load(&value); err != nil {
			return last, err
		}
		at.User = append(at.User[:0], r.User...)
		at.Version, at.Sequence = r.Version, r.Sequence
		last = &at
	}
	return last, c.Err()
}

// bounds are the keys between which rows are lost. The newest row of the first one is not: it is the last before the hole.
func (s *source) bounds() (start, end []byte) {
	p := s.table.Properties()
	start, end = p.Smallest, p.Largest
	if s.hole.before != nil {
		start = s.hole.before.User
	}
	if s.hole.after != nil {
		end = s.hole.after.User
	}
	return start, end
}

// holed is a cursor over a table with a hole, forward only.
type holed struct {
	inner record.Cursor
	hole  *hole
	ended bool
}

// Seek implements record.Cursor.
func (c *holed) Seek(k *record.Key, d record.Direction) *record.Row {
	c.ended = false
	before := c.hole.before
	if before == nil || k != nil && record.Compare(*k, *before) > 0 {
		return c.jump(k)
	}
	return c.inner.Seek(k, d)
}

// jump goes behind the hole, or to k if that is further.
func (c *holed) jump(k *record.Key) *record.Row {
	after := c.hole.after
	if after == nil {
		c.ended = true
		return nil
	}
	if k == nil || record.Compare(*k, *after) < 0 {
		k = after
	}
	return c.inner.Seek(k, record.Forward)
}

// Step implements record.Cursor.
func (c *holed) Step() *record.Row {
	if b := c.hole.before; b != nil && record.Compare(c.inner.Row().Key, *b) == 0 {
		return c.jump(nil)
	}
	return c.inner.Step()
}

// Row implements record.Cursor.
func (c *holed) Row() *record.Row {
	if c.ended {
		return nil
	}
	return c.inner.Row()
}

// Err implements record.Cursor.
func (c *holed) Err() error {
	if c.ended {
		return nil
	}
	return c.inner.Err()
}
