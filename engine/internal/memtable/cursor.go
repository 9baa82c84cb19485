package memtable

import "github.com/lightning-db/lightning/engine/internal/record"

// Cursor walks a memtable. It sees every row added before its first Seek; of those added later it
// may see some.
type Cursor struct {
	memtable  *Memtable
	order     *order // made by the first Seek
	direction record.Direction
	old       int      // entries of the order's parts before the place where the cursor stands
	recent    int      //
	ahead     int      // entries of old whose rows were looked at
	at        uint32   // a row, or none when the cursor stands nowhere
	newer     []uint32 // Backward: the rows of its key before it, newest first; they have no links back
	row       record.Row
	seen      byte // keeps looks from being left out
}

var _ record.Cursor = (*Cursor)(nil)

// NewCursor makes a cursor that stands nowhere.
func (m *Memtable) NewCursor() *Cursor { return &Cursor{memtable: m} }

// maxPooledRows is how many rows of one key a cursor keeps memory for.
const maxPooledRows = 4 << 10

// Reset makes the cursor one of another memtable, or of none, which stands nowhere. It keeps its memory, if that is not much.
func (c *Cursor) Reset(m *Memtable) {
	newer := c.newer[:0]
	if cap(newer) > maxPooledRows {
		newer = nil
	}
	*c = Cursor{memtable: m, newer: newer}
}

// Seek implements record.Cursor.
func (c *Cursor) Seek(k *record.Key, d record.Direction) *record.Row {
	c.direction = d
	if c.order == nil {
		c.order = c.memtable.ordered()
	}
	switch {
	case k == nil && d == record.Forward:
		c.old, c.recent = 0, 0
		c.enter()
	case k == nil:
		c.old, c.recent = len(c.order.old), len(c.order.recent)
		c.enterLast()
	case d == record.Forward:
		c.seekForward(*k)
	default:
		c.seekBackward(*k)
	}
	c.ahead = c.old + lookAhead
	return c.Row()
}

// lookAhead is how many rows a long walk forwards looks at before it comes to them. The looks do not depend on each other, so
// the processor waits for the memory of several at once; a short walk is spared them.
const lookAhead = 32

// look goes through the rows that come next.
func (c *Cursor) look() {
	m, next := c.memtable, c.order.old[c.old:]
	x := m.index.Load()
	for _, e := range next[:min(lookAhead, len(next))] {
		n := m.arena.node(e.row)
		c.seen += m.arena.row(n)[0]
		if n.older.Load()&replaced == 0 || x == nil {
			continue
		}
		if row := uint32(x.slots[x.first(e.hash)].Load()); row != none { // most often the newest row of the key
			c.seen += m.arena.row(m.arena.node(row))[0]
		}
	}
	c.ahead = c.old + lookAhead
}

// place goes before or behind a key.
func (c *Cursor) place(user []byte, behind bool) {
	c.old = c.memtable.before(c.order, c.order.old, user, behind)
	c.recent = c.memtable.before(c.order, c.order.recent, user, behind)
}

func (c *Cursor) seekForward(k record.Key) {
	m := c.memtable
	c.place(k.User, true)
	for row := m.find(k.User); row != none; row = m.older(row) {
		if record.CompareTime(m.time(row), k) >= 0 {
			c.settle(row)
			return
		}
	}
	c.enter()
}

func (c *Cursor) seekBackward(k record.Key) {
	m := c.memtable
	c.place(k.User, false)
	c.newer = c.newer[:0]
	for row := m.find(k.User); row != none && record.CompareTime(m.time(row), k) < 0; row = m.older(row) {
		c.newer = append(c.newer, row)
	}
	if len(c.newer) > 0 {
		c.settleLast()
		return
	}
	c.enterLast()
}

// enter goes to the first row of the next key.
func (c *Cursor) enter() { c.settle(c.next()) }

// enterLast goes to the last row of the key before.
func (c *Cursor) enterLast() {
	c.newer = c.newer[:0]
	for row := c.previous(); row != none; row = c.memtable.older(row) {
		c.newer = append(c.newer, row)
	}
	c.settleLast()
}

// next steps over the next key and gives its newest row, or none at the end.
func (c *Cursor) next() uint32 {
	m, o := c.memtable, c.order
	switch {
	case c.recent < len(o.recent) && (c.old == len(o.old) || m.compare(o.recent[c.recent], o.old[c.old]) < 0):
		c.recent++
		return m.newestOf(o.recent[c.recent-1])
	case c.old < len(o.old):
		if c.old >= c.ahead {
			c.look()
		}
		c.old++
		return m.newestOf(o.old[c.old-1])
	}
	return none
}

// previous is next in the other direction.
func (c *Cursor) previous() uint32 {
	m, o := c.memtable, c.order
	switch {
	case c.recent > 0 && (c.old == 0 || m.compare(o.recent[c.recent-1], o.old[c.old-1]) > 0):
		c.recent--
		return m.newestOf(o.recent[c.recent])
	case c.old > 0:
		c.old--
		return m.newestOf(o.old[c.old])
	}
	return none
}

// settleLast goes to the last of the gathered rows.
func (c *Cursor) settleLast() {
	last := len(c.newer) - 1
	if last < 0 {
		c.settle(none)
		return
	}
	row := c.newer[last]
	c.newer = c.newer[:last]
	c.settle(row)
}

// Step implements record.Cursor.
func (c *Cursor) Step() *record.Row {
	switch {
	case c.direction == record.Backward && len(c.newer) > 0:
		c.settleLast()
	case c.direction == record.Backward:
		c.enterLast()
	default:
		if row := c.memtable.older(c.at); row != none {
			c.settle(row)
			break
		}
		c.enter()
	}
	return c.Row()
}

func (c *Cursor) settle(row uint32) {
	c.at = row
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
