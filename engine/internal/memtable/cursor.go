package memtable

import "github.com/lightning-db/lightning/engine/internal/record"

// Cursor walks a memtable. Rows added during the walk may or may not be seen.
type Cursor struct {
	memtable  *Memtable
	direction record.Direction
	key       uint32   // none when the cursor stands nowhere
	at        uint32   // a row of the key
	newer     []uint32 // Backward: the key's rows before at, newest first; they have no links back
	row       record.Row
}

var _ record.Cursor = (*Cursor)(nil)

// NewCursor makes a cursor that stands nowhere.
func (m *Memtable) NewCursor() *Cursor { return &Cursor{memtable: m} }

// Seek implements record.Cursor.
func (c *Cursor) Seek(k *record.Key, d record.Direction) {
	c.direction = d
	m := c.memtable
	switch {
	case k == nil && d == record.Forward:
		c.enter(m.next(none, 0))
	case k == nil:
		c.enterLast(m.before(nil))
	case d == record.Forward:
		c.seekForward(*k)
	default:
		c.seekBackward(*k)
	}
}

func (c *Cursor) seekForward(k record.Key) {
	m := c.memtable
	key := m.next(m.before(&k.User), 0)
	if key != none && m.compare(key, k.User) == 0 {
		for row := m.newest(key); row != none; row = m.older(row) {
			if record.CompareTime(m.time(row), k) >= 0 {
				c.settle(key, row)
				return
			}
		}
		key = m.next(key, 0)
	}
	c.enter(key)
}

func (c *Cursor) seekBackward(k record.Key) {
	m := c.memtable
	before := m.before(&k.User)
	if key := m.next(before, 0); key != none && m.compare(key, k.User) == 0 {
		c.newer = c.newer[:0]
		for row := m.newest(key); row != none && record.CompareTime(m.time(row), k) < 0; row = m.older(row) {
			c.newer = append(c.newer, row)
		}
		if len(c.newer) > 0 {
			c.settleLast(key)
			return
		}
	}
	c.enterLast(before)
}

// enter goes to the first row of a key.
func (c *Cursor) enter(key uint32) {
	if key == none {
		c.settle(none, none)
		return
	}
	c.settle(key, c.memtable.newest(key))
}

// enterLast goes to the last row of a key.
func (c *Cursor) enterLast(key uint32) {
	if key == none {
		c.settle(none, none)
		return
	}
	c.newer = c.newer[:0]
	for row := c.memtable.newest(key); row != none; row = c.memtable.older(row) {
		c.newer = append(c.newer, row)
	}
	c.settleLast(key)
}

// settleLast goes to the last of the gathered rows.
func (c *Cursor) settleLast(key uint32) {
	last := len(c.newer) - 1
	row := c.newer[last]
	c.newer = c.newer[:last]
	c.settle(key, row)
}

// Step implements record.Cursor.
func (c *Cursor) Step() {
	m := c.memtable
	switch {
	case c.direction == record.Backward && len(c.newer) > 0:
		c.settleLast(c.key)
	case c.direction == record.Backward:
		user := m.user(c.key)
		c.enterLast(m.before(&user))
	default:
		if row := m.older(c.at); row != none {
			c.settle(c.key, row)
			return
		}
		c.enter(m.next(c.key, 0))
	}
}

func (c *Cursor) settle(key, row uint32) {
	c.key, c.at = key, row
	if row != none {
		c.memtable.row(row, &c.row)
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
