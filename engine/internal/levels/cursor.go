package levels

import (
	"bytes"
	"sort"

	"github.com/lightning-db/lightning/engine/internal/rangedel"
	"github.com/lightning-db/lightning/engine/internal/record"
	"github.com/lightning-db/lightning/engine/internal/table"
)

// Cursor walks the rows of sorted, disjoint tables, one table after another. It opens a table when it comes to it. The zero
// Cursor is ready for Reset.
type Cursor struct {
	tables    []*Table
	keep      bool
	version   uint64 // tables whose rows are all above it are passed over
	direction record.Direction
	at        int
	open      bool         // the cursor is one of tables[at]
	cursor    table.Cursor // what it stands at is what this one does
	row       *record.Row  // nil at the end
}

var _ record.Cursor = (*Cursor)(nil)

// NewCursor makes a cursor over tables that the caller keeps referenced. keep tells whether the
// blocks read are kept in the cache; without it a row's bytes are good until the next move only.
func NewCursor(tables []*Table, keep bool) *Cursor {
	c := new(Cursor)
	c.Reset(tables, keep)
	return c
}

// Reset makes the cursor one over other tables, which stands nowhere. It keeps its memory.
func (c *Cursor) Reset(tables []*Table, keep bool) {
	c.tables, c.keep, c.open, c.row, c.version = tables, keep, false, nil, record.MaxVersion
	c.cursor.Reset(nil, keep)
}

// UpTo makes the cursor leave out tables without a row up to a version.
func (c *Cursor) UpTo(version uint64) { c.version = version }

// Seek implements record.Cursor.
func (c *Cursor) Seek(k *record.Key, d record.Direction) *record.Row {
	c.direction = d
	switch {
	case k != nil && d == record.Forward:
		return c.enter(search(c.tables, k.User), k)
	case k != nil: // the last table that starts at or before the key
		return c.enter(sort.Search(len(c.tables), func(i int) bool {
			return bytes.Compare(c.tables[i].Properties.Smallest, k.User) > 0
		})-1, k)
	case d == record.Forward:
		return c.enter(0, nil)
	}
	return c.enter(len(c.tables)-1, nil)
}

// enter seeks in a table and goes on to its neighbours until one has a row.
func (c *Cursor) enter(i int, k *record.Key) *record.Row {
	for ; i >= 0 && i < len(c.tables); i = c.neighbour(i) {
		if c.tables[i].Properties.MinVersion > c.version {
			k = nil
			continue
		}
		if !c.open || c.at != i {
			c.at, c.open = i, true
			c.cursor.Reset(c.tables[i].Reader, c.keep)
		}
		c.row = c.cursor.Seek(k, c.direction)
		if c.row != nil || c.cursor.Err() != nil {
			return c.row
		}
		k = nil
	}
	c.open, c.row = false, nil
	return nil
}

func (c *Cursor) neighbour(i int) int {
	if c.direction == record.Backward {
		return i - 1
	}
	return i + 1
}

// Step implements record.Cursor.
func (c *Cursor) Step() *record.Row {
	if c.row = c.cursor.Step(); c.row == nil && c.cursor.Err() == nil {
		return c.enter(c.neighbour(c.at), nil)
	}
	return c.row
}

// SkipHidden goes behind the rows that a range tombstone hides, from the current one on, as far as whole tables are older than the
// tombstone; those that lie in its range altogether are not opened. It declines, false, if the current row's table is not older.
func (c *Cursor) SkipHidden(t *rangedel.Tombstone) bool {
	if c.row == nil || !c.tables[c.at].Properties.Before(t.Version, t.Sequence) {
		return false
	}
	bound := record.FirstOf(t.End)
	if c.direction == record.Backward {
		bound = record.FirstOf(t.Start)
	}
	i := c.at
	for c.tables[i].liesIn(t) && c.tables[i].Properties.Before(t.Version, t.Sequence) {
		if i = c.neighbour(i); i < 0 || i == len(c.tables) {
			c.open, c.row = false, nil
			return true
		}
	}
	if c.tables[i].Properties.Before(t.Version, t.Sequence) {
		c.enter(i, &bound)
	} else {
		c.enter(i, nil)
	}
	return true
}

// Row implements record.Cursor.
func (c *Cursor) Row() *record.Row { return c.row }

// Err implements record.Cursor.
func (c *Cursor) Err() error {
	if !c.open {
		return nil
	}
	return c.cursor.Err()
}

// Leaf is the cursor of the table that this one stands in.
func (c *Cursor) Leaf() *table.Cursor { return &c.cursor }
