package levels

import (
	"bytes"
	"sort"

	"github.com/lightning-db/lightning/engine/internal/record"
	"github.com/lightning-db/lightning/engine/internal/table"
)

// Cursor walks the rows of sorted, disjoint tables, one table after another.
type Cursor struct {
	tables    []*Table
	fill      bool
	direction record.Direction
	at        int
	open      *table.Cursor // of tables[at], nil at the end
}

var _ record.Cursor = (*Cursor)(nil)

// NewCursor makes a cursor over tables that the caller keeps referenced. fill tells whether the
// blocks read are kept in the cache.
func NewCursor(tables []*Table, fill bool) *Cursor {
	return &Cursor{tables: tables, fill: fill}
}

// Seek implements record.Cursor.
func (c *Cursor) Seek(k *record.Key, d record.Direction) {
	c.direction = d
	switch {
	case k != nil && d == record.Forward:
		c.enter(search(c.tables, k.User), k)
	case k != nil: // the last table that starts at or before the key
		c.enter(sort.Search(len(c.tables), func(i int) bool {
			return bytes.Compare(c.tables[i].Properties.Smallest, k.User) > 0
		})-1, k)
	case d == record.Forward:
		c.enter(0, nil)
	default:
		c.enter(len(c.tables)-1, nil)
	}
}

// enter seeks in a table and goes on to its neighbours until one has a row.
func (c *Cursor) enter(i int, k *record.Key) {
	for ; i >= 0 && i < len(c.tables); i = c.neighbour(i) {
		if c.open == nil || c.at != i {
			c.at, c.open = i, c.tables[i].Reader.NewCursor(c.fill)
		}
		c.open.Seek(k, c.direction)
		if c.open.Row() != nil || c.open.Err() != nil {
			return
		}
		k = nil
	}
	c.open = nil
}

func (c *Cursor) neighbour(i int) int {
	if c.direction == record.Backward {
		return i - 1
	}
	return i + 1
}

// Step implements record.Cursor.
func (c *Cursor) Step() {
	c.open.Step()
	if c.open.Row() == nil && c.open.Err() == nil {
		c.enter(c.neighbour(c.at), nil)
	}
}

// Row implements record.Cursor.
func (c *Cursor) Row() *record.Row {
	if c.open == nil {
		return nil
	}
	return c.open.Row()
}

// Err implements record.Cursor.
func (c *Cursor) Err() error {
	if c.open == nil {
		return nil
	}
	return c.open.Err()
}
