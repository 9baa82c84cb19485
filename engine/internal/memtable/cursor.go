package memtable

import "github.com/lightning-db/lightning/engine/internal/record"

// Cursor walks a memtable. Rows added during the walk may or may not be seen.
type Cursor struct {
	memtable  *Memtable
	direction record.Direction
	at        uint32
	row       record.Row
}

var _ record.Cursor = (*Cursor)(nil)

// NewCursor makes a cursor that stands nowhere.
func (m *Memtable) NewCursor() *Cursor { return &Cursor{memtable: m} }

// Seek implements record.Cursor.
func (c *Cursor) Seek(k *record.Key, d record.Direction) {
	c.direction = d
	switch {
	case d == record.Backward:
		c.settle(c.memtable.before(k))
	case k == nil:
		c.settle(c.memtable.next(none, 0))
	default:
		c.settle(c.memtable.next(c.memtable.before(k), 0))
	}
}

// Step implements record.Cursor. Backward it searches anew: there are no links back.
func (c *Cursor) Step() {
	if c.direction == record.Backward {
		k := c.row.Key
		c.settle(c.memtable.before(&k))
		return
	}
	c.settle(c.memtable.next(c.at, 0))
}

func (c *Cursor) settle(ref uint32) {
	c.at = ref
	if ref != none {
		c.memtable.row(ref, &c.row)
	}
}

// Row implements record.Cursor.
func (c *Cursor) Row() *record.Row {
	if c.at == none {
		return nil
	}
	return &c.row
}

// Err implements record.Cursor; memory does not fail.
func (c *Cursor) Err() error { return nil }
