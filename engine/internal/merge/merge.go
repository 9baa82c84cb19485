package merge

import "github.com/lightning-db/lightning/engine/internal/record"

// Cursor is the merge of its parts, which have no row in common.
type Cursor struct {
	parts     []record.Cursor
	heap      []record.Cursor // those that have a row, the next one first
	direction record.Direction
	err       error
}

var _ record.Cursor = (*Cursor)(nil)

// New merges parts. With one part it is that part.
func New(parts ...record.Cursor) record.Cursor {
	if len(parts) == 1 {
		return parts[0]
	}
	return &Cursor{parts: parts}
}

// Seek implements record.Cursor.
func (c *Cursor) Seek(k *record.Key, d record.Direction) {
	c.direction, c.err, c.heap = d, nil, c.heap[:0]
	for _, p := range c.parts {
		p.Seek(k, d)
		if p.Row() != nil {
			c.heap = append(c.heap, p)
		} else if !c.check(p) {
			return
		}
	}
	for i := len(c.heap)/2 - 1; i >= 0; i-- {
		c.sink(i)
	}
}

// check ends the walk if a part failed (G1).
func (c *Cursor) check(p record.Cursor) bool {
	if err := p.Err(); err != nil {
		c.err, c.heap = err, c.heap[:0]
	}
	return c.err == nil
}

// Step implements record.Cursor.
func (c *Cursor) Step() {
	top := c.heap[0]
	top.Step()
	if top.Row() == nil {
		if !c.check(top) {
			return
		}
		last := len(c.heap) - 1
		c.heap[0] = c.heap[last]
		c.heap = c.heap[:last]
	}
	c.sink(0)
}

// before reports whether part a comes before part b in the direction of the walk.
func (c *Cursor) before(a, b record.Cursor) bool {
	order := record.Compare(a.Row().Key, b.Row().Key)
	if c.direction == record.Backward {
		return order > 0
	}
	return order < 0
}

func (c *Cursor) sink(i int) {
	for {
		least := i
		for child := 2*i + 1; child <= 2*i+2 && child < len(c.heap); child++ {
			if c.before(c.heap[child], c.heap[least]) {
				least = child
			}
		}
		if least == i {
			return
		}
		c.heap[i], c.heap[least] = c.heap[least], c.heap[i]
		i = least
	}
}

// Row implements record.Cursor.
func (c *Cursor) Row() *record.Row {
	if len(c.heap) == 0 {
		return nil
	}
	return c.heap[0].Row()
}

// Err implements record.Cursor.
func (c *Cursor) Err() error { return c.err }
