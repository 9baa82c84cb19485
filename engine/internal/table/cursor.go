package table

import (
	"github.com/lightning-db/lightning/engine/internal/record"
)

// The three depths of a table's tree.
const (
	depthTop = iota
	depthIndex
	depthData
	depths
)

// Cursor walks a table. It keeps one block of each depth.
type Cursor struct {
	reader    *Reader
	fill      bool // whether blocks go into the cache
	direction record.Direction
	at        [depths]blockCursor
	handles   [depths]handle // of the blocks, for errors
	err       error
	keys      [depths][inlineKeyBytes]byte // where the cursors' keys begin their life
}

// inlineKeyBytes saves three allocations a point read for keys up to it.
const inlineKeyBytes = 64

var _ record.Cursor = (*Cursor)(nil)

// NewCursor makes a cursor that stands nowhere. fill tells whether the blocks it reads are kept
// in the cache; a walk over everything had better not.
func (r *Reader) NewCursor(fill bool) *Cursor {
	c := &Cursor{reader: r, fill: fill}
	for i := range c.at {
		c.at[i].key = c.keys[i][:0]
	}
	c.at[depthTop].enter(r.top)
	return c
}

// Row implements record.Cursor.
func (c *Cursor) Row() *record.Row {
	if c.err != nil {
		return nil
	}
	return c.at[depthData].current()
}

// Err implements record.Cursor.
func (c *Cursor) Err() error { return c.err }

// Seek implements record.Cursor.
func (c *Cursor) Seek(k *record.Key, d record.Direction) {
	c.direction, c.err = d, nil
	c.at[depthTop].enter(c.reader.top)
	c.at[depthData].valid = false
	switch {
	case k == nil:
		c.edge(depthTop)
	case c.descend(*k):
		if d == record.Backward && !c.at[depthData].stepBack() {
			c.turn(depthData)
		}
	case d == record.Backward && c.err == nil: // every row is before k
		c.at[depthTop].enter(c.reader.top)
		c.edge(depthTop)
	}
	c.check(depthData)
}

// descend goes to the first row at or after k. An index row bears the last key of its block, so
// the block that an index finds holds the row.
func (c *Cursor) descend(k record.Key) bool {
	for depth := depthTop; ; depth++ {
		if !c.at[depth].seek(k) {
			c.check(depth)
			if c.err == nil && depth > depthTop {
				c.err = c.reader.malformed(c.handles[depth], "index")
			}
			return false
		}
		if depth == depthData {
			return true
		}
		if !c.load(depth + 1) {
			return false
		}
	}
}

// edge goes down to the first or last row below the block at a depth.
func (c *Cursor) edge(depth int) bool {
	for ; ; depth++ {
		ok := false
		if c.direction == record.Backward {
			ok = c.at[depth].last()
		} else {
			ok = c.at[depth].first()
		}
		if !ok || depth == depthData {
			c.check(depth)
			return ok
		}
		if !c.load(depth + 1) {
			return false
		}
	}
}

// turn goes to the near edge of the neighbour of the block at a depth.
func (c *Cursor) turn(depth int) bool {
	switch {
	case depth == depthTop || c.err != nil:
		return false
	case c.move(depth - 1):
		return c.load(depth) && c.edge(depth)
	}
	return c.turn(depth - 1)
}

// move goes one row on within the block at a depth.
func (c *Cursor) move(depth int) bool {
	ok := false
	if c.direction == record.Backward {
		ok = c.at[depth].stepBack()
	} else {
		ok = c.at[depth].step()
	}
	if !ok {
		c.check(depth)
	}
	return ok
}

// Step implements record.Cursor.
func (c *Cursor) Step() {
	if !c.move(depthData) && c.err == nil {
		c.turn(depthData)
	}
}

// load reads the block that the row at the depth above names.
func (c *Cursor) load(depth int) bool {
	c.at[depth].valid = false
	h, ok := parseHandle(c.at[depth-1].row.Value)
	if !ok {
		c.err = c.reader.malformed(c.handles[depth-1], "block handle")
		return false
	}
	b, err := c.reader.block(h, c.fill)
	if err != nil {
		c.err = err
		return false
	}
	c.handles[depth] = h
	c.at[depth].enter(b)
	return true
}

// check turns a malformed row into the cursor's error.
func (c *Cursor) check(depth int) {
	if c.at[depth].bad && c.err == nil {
		c.err = c.reader.malformed(c.handles[depth], "row")
	}
}
