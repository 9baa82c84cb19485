package merge

import "github.com/lightning-db/lightning/engine/internal/record"

// Cursor is the merge of its parts, which have no row in common. The zero Cursor is ready for Reset.
type Cursor struct {
	parts     []record.Cursor
	direction record.Direction
	row       *record.Row   // of the part that stands first; nil at the end
	first     record.Cursor // that part
	others    []standing    // a heap of the others that have a row
	kept      int           // steps since another part stood first
	err       error
}

// standing is a part with the row at which it stands.
type standing struct {
	part record.Cursor
	row  *record.Row
}

var _ record.Cursor = (*Cursor)(nil)

// New merges parts. With one part it is that part.
func New(parts ...record.Cursor) record.Cursor {
	if len(parts) == 1 {
		return parts[0]
	}
	return &Cursor{parts: parts}
}

// Reset makes the cursor one of other parts, which stands nowhere. It keeps its memory, but not parts.
func (c *Cursor) Reset(parts []record.Cursor) {
	clear(c.others[:cap(c.others)])
	*c = Cursor{parts: parts, others: c.others[:0]}
}

// Seek implements record.Cursor.
func (c *Cursor) Seek(k *record.Key, d record.Direction) *record.Row {
	c.direction, c.err, c.row, c.others = d, nil, nil, c.others[:0]
	for _, p := range c.parts {
		if r := p.Seek(k, d); r != nil {
			c.others = append(c.others, standing{p, r})
		} else if !c.check(p) {
			return nil
		}
	}
	for i := len(c.others)/2 - 1; i >= 0; i-- {
		c.sink(i)
	}
	return c.take()
}

// check ends the walk if a part failed (G1).
func (c *Cursor) check(p record.Cursor) bool {
	if err := p.Err(); err != nil {
		c.err, c.row, c.others = err, nil, c.others[:0]
	}
	return c.err == nil
}

// take makes the next of the others the first part.
func (c *Cursor) take() *record.Row {
	c.kept = 0
	last := len(c.others) - 1
	if last < 0 {
		c.first, c.row = nil, nil
		return nil
	}
	c.first, c.row = c.others[0].part, c.others[0].row
	c.others[0] = c.others[last]
	c.others = c.others[:last]
	c.sink(0)
	return c.row
}

// Step implements record.Cursor. The part that stood first mostly does again: that takes one comparison, and none if
// no other part has a row.
func (c *Cursor) Step() *record.Row {
	return c.Moved(c.first.Step())
}

// Moved is told where the part that stands first was moved to directly, on the way of the walk. It returns what Row does then.
func (c *Cursor) Moved(row *record.Row) *record.Row {
	c.row = row
	switch {
	case c.row == nil:
		if !c.check(c.first) {
			return nil
		}
		return c.take()
	case len(c.others) > 0 && c.before(c.others[0].row, c.row):
		next := c.others[0]
		c.others[0] = standing{c.first, c.row}
		c.first, c.row = next.part, next.row
		c.kept = 0
		c.sink(0)
	default:
		c.kept++
	}
	return c.row
}

// longRun is after how many steps of one part it pays to ask how far that may go alone: a search, which takes as long as some comparisons.
const longRun = 8

// Alone gives the part that stands first, and the row before which all rows of that come next, if it has stood first for some
// time; no row if there are no others. While the part goes no further than that, it may be moved directly.
func (c *Cursor) Alone() (first record.Cursor, before *record.Row, ok bool) {
	switch {
	case c.row == nil || len(c.others) > 0 && c.kept < longRun:
		return nil, nil, false
	case len(c.others) > 0:
		before = c.others[0].row
	}
	return c.first, before, true
}

// First gives the part that stands first; nil at the end.
func (c *Cursor) First() record.Cursor { return c.first }

// before reports whether row a comes before row b in the direction of the walk.
func (c *Cursor) before(a, b *record.Row) bool {
	order := record.Compare(a.Key, b.Key)
	if c.direction == record.Backward {
		return order > 0
	}
	return order < 0
}

func (c *Cursor) sink(i int) {
	for {
		least := i
		for child := 2*i + 1; child <= 2*i+2 && child < len(c.others); child++ {
			if c.before(c.others[child].row, c.others[least].row) {
				least = child
			}
		}
		if least == i {
			return
		}
		c.others[i], c.others[least] = c.others[least], c.others[i]
		i = least
	}
}

// Row implements record.Cursor.
func (c *Cursor) Row() *record.Row { return c.row }

// Err implements record.Cursor.
func (c *Cursor) Err() error { return c.err }
