package table

import (
	"github.com/lightning-db/lightning/engine/internal/record"
)

// Cursor walks a table. It has one block at a time. The zero Cursor is ready for Reset.
type Cursor struct {
	reader    *Reader
	keep      bool // whether blocks go into the cache
	direction record.Direction
	at        int    // which block
	block     *block // nil at the end
	index     int    // of the row in it
	plain     bool   // the block's rows have all the same kind, and no expiry
	row       record.Row
	key       []byte // what row.User is
	err       error
	run       run
	ahead     readAhead
	values    *valueReader // of the table, once a value that stands apart was met
	spare     []byte       // memory for the next one
}

var _ record.Cursor = (*Cursor)(nil)

// NewCursor makes a cursor that stands nowhere. keep tells whether the blocks it reads are kept
// in the cache; a walk over everything had better not. Without it a row's bytes are good until the next move only.
func (r *Reader) NewCursor(keep bool) *Cursor {
	c := new(Cursor)
	c.Reset(r, keep)
	return c
}

// Reset makes the cursor one of another table, which stands nowhere. It keeps its memory, if that is not much.
func (c *Cursor) Reset(r *Reader, keep bool) {
	c.reader, c.keep, c.block, c.err = r, keep, nil, nil
	c.row, c.run = record.Row{}, run{}
	if cap(c.key) > maxPooledBytes {
		c.key = nil
	}
	c.ahead.reset()
	if c.values != nil { // rows that it gave may still be read
		if cap(c.values.bytes) <= maxPooledBytes {
			c.spare = c.values.bytes[:0]
		}
		c.values.bytes, c.values = nil, nil
	}
}

// Singly makes the cursor read block by block, so that a fault of the disk costs no block but its own.
func (c *Cursor) Singly() *Cursor {
	c.ahead.singly = true
	return c
}

// Row implements record.Cursor.
func (c *Cursor) Row() *record.Row {
	if c.block == nil {
		return nil
	}
	return &c.row
}

// Properties are those of the table.
func (c *Cursor) Properties() *Properties { return &c.reader.properties }

// Err implements record.Cursor.
func (c *Cursor) Err() error { return c.err }

// Seek implements record.Cursor.
func (c *Cursor) Seek(k *record.Key, d record.Direction) *record.Row {
	c.direction, c.err = d, nil
	x := c.reader.index
	switch {
	case k == nil && d == record.Forward:
		return c.enter(0, 0)
	case k == nil:
		return c.enter(x.count-1, -1)
	case x.count == 0:
		c.block = nil
		return nil
	}
	n := x.find(k)
	if !c.load(n) {
		return nil
	}
	i, _ := c.block.seek(k)
	if d == record.Backward {
		return c.settleBack(i - 1)
	}
	if i == c.block.count {
		return c.enter(n+1, 0)
	}
	return c.settle(i)
}

// enter goes to a row of a block; -1 is the last one.
func (c *Cursor) enter(n, i int) *record.Row {
	if n < 0 || n == c.reader.index.count {
		c.block = nil
		return nil
	}
	if !c.load(n) {
		return nil
	}
	if i < 0 {
		i = c.block.count - 1
	}
	return c.settle(i)
}

// settleBack goes to a row, or to the last one of the block before if the row is -1.
func (c *Cursor) settleBack(i int) *record.Row {
	if i < 0 {
		return c.enter(c.at-1, -1)
	}
	return c.settle(i)
}

// Step implements record.Cursor.
func (c *Cursor) Step() *record.Row {
	if c.direction == record.Backward {
		return c.settleBack(c.index - 1)
	}
	b, i := c.block, c.index+1
	if i == b.count {
		return c.enter(c.at+1, 0)
	}
	c.index = i
	// Of the key before, what this one shares with the first of the group is there already.
	shared := len(b.prefix) + int(b.shared.get(b.data, i))
	start, end := b.starts.get(b.data, i), b.starts.get(b.data, i+1)
	c.key = append(c.key[:shared], b.data[start:end]...)
	c.fill(i)
	return &c.row
}

// settle goes to any row of the block.
func (c *Cursor) settle(i int) *record.Row {
	c.index = i
	c.key = c.block.whole(c.key[:0], c.block.data, i)
	c.fill(i)
	return &c.row
}

// fill makes row i the current one; its key is there already. Kind and expiry are left as load has set them where they are the same for
// all rows of the block.
func (c *Cursor) fill(i int) {
	b, row := c.block, &c.row
	row.User = c.key
	row.Version, row.Sequence = b.version.get(b.data, i), b.sequence.get(b.data, i)
	start, end := b.values.get(b.data, i), b.values.get(b.data, i+1)
	row.Value = b.data[start:end:end]
	if b.far.any {
		c.fillFar(i)
	}
	if !c.plain {
		row.Kind, row.Expiry = record.Kind(b.kind.get(b.data, i)), b.expiry.get(b.data, i)
	}
}

// fillFar says where the value of row i is.
func (c *Cursor) fillFar(i int) {
	if c.row.Far = (record.Far{}); c.block.far.raws.get(c.block.data, i) == 0 {
		return
	}
	if c.values == nil {
		c.values = &valueReader{reader: c.reader, keep: c.keep, singly: c.ahead.singly, bytes: c.spare, want: minAheadBytes}
		c.spare = nil
	}
	c.row.Far = farOf(c.block.far.at(c.block, i, c.reader.index.start(c.at)), c.values)
}

// load makes a block the current one.
func (c *Cursor) load(n int) bool {
	if c.block != nil && c.at == n {
		return true
	}
	b, err := c.ahead.block(c.reader, n, c.keep, c.direction)
	c.row.Far = record.Far{}
	if c.at, c.block = n, b; err != nil {
		c.block, c.err = nil, err
		return false
	}
	if c.plain = b.kind.constant() && b.expiry.constant(); c.plain {
		c.row.Kind, c.row.Expiry = record.Kind(b.kind.base), b.expiry.base
	}
	return true
}
