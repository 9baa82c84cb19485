package table

import (
	"encoding/binary"
	"math"
	"sort"

	"github.com/lightning-db/lightning/engine/internal/record"
)

// blockCursor walks the rows of one block in both directions. A malformed row ends the walk and
// sets bad.
type blockCursor struct {
	block *block
	start int // of the current row; len(rows) at the end
	next  int // where the row after it starts
	index int // of the restart at or before the current row
	reset int // where the restart after it is
	valid bool
	bad   bool
	row   record.Row
	key   []byte // the current user key, which row.User is
}

func (c *blockCursor) enter(b *block) {
	c.block, c.valid, c.bad = b, false, false
}

// Row is the current row or nil.
func (c *blockCursor) current() *record.Row {
	if !c.valid {
		return nil
	}
	return &c.row
}

// fail ends the walk: the block is malformed.
func (c *blockCursor) fail() bool {
	c.valid, c.bad = false, true
	return false
}

// decode reads the row at an offset, given in key, row.Version and row.Sequence the row before.
func (c *blockCursor) decode(at int) bool {
	c.valid = false
	if at >= len(c.block.rows) {
		return false
	}
	c.start = at
	rest := c.block.rows[at:]
	shared, rest, ok1 := takeLength(rest)
	unshared, rest, ok2 := takeLength(rest)
	if !ok1 || !ok2 || shared > len(c.key) || unshared >= len(rest) {
		return c.fail()
	}
	c.key = append(c.key[:shared], rest[:unshared]...)
	flags := rest[unshared]
	rest = rest[unshared+1:]
	version, w1 := binary.Varint(rest)
	if w1 <= 0 || flags&^flagsKnown != 0 {
		return c.fail()
	}
	sequence, w2 := binary.Varint(rest[w1:])
	if w2 <= 0 {
		return c.fail()
	}
	rest = rest[w1+w2:]
	c.row.Expiry = 0
	if flags&flagExpiry != 0 {
		expiry, w := binary.Uvarint(rest)
		if w <= 0 || expiry == 0 {
			return c.fail()
		}
		c.row.Expiry, rest = expiry, rest[w:]
	}
	length, rest, ok := takeLength(rest)
	if !ok || length > len(rest) {
		return c.fail()
	}
	c.row.User = c.key
	c.row.Version += uint64(version)
	c.row.Sequence += uint64(sequence)
	c.row.Kind = record.Kind(flags & flagPut)
	c.row.Value = rest[:length:length]
	c.next = len(c.block.rows) - len(rest) + length
	c.valid = true
	return true
}

// takeLength reads a uvarint that fits an int32: no length in a block is larger.
func takeLength(b []byte) (n int, rest []byte, ok bool) {
	if len(b) > 0 && b[0] < 0x80 {
		return int(b[0]), b[1:], true
	}
	v, w := binary.Uvarint(b)
	if w <= 0 || v > math.MaxInt32 {
		return 0, nil, false
	}
	return int(v), b[w:], true
}

// toRestart goes to the row at a restart.
func (c *blockCursor) toRestart(i int) bool {
	c.key = c.key[:0]
	c.row.Version, c.row.Sequence = 0, 0
	c.index, c.reset = i, len(c.block.rows)
	if i+1 < c.block.restartCount() {
		c.reset = c.block.restart(i + 1)
	}
	return c.decode(c.block.restart(i))
}

func (c *blockCursor) first() bool { return c.toRestart(0) }

func (c *blockCursor) last() bool {
	c.toRestart(c.block.restartCount() - 1)
	return c.scanTo(len(c.block.rows))
}

// step goes to the next row.
func (c *blockCursor) step() bool {
	switch {
	case c.next >= len(c.block.rows):
		c.valid = false
		return false
	case c.next < c.reset:
		return c.decode(c.next)
	case c.next > c.reset: // a row lies across a restart
		return c.fail()
	}
	return c.toRestart(c.index + 1)
}

// scanTo goes on until the row that ends at an offset.
func (c *blockCursor) scanTo(end int) bool {
	for c.valid && c.next < end {
		c.step()
	}
	if c.valid && c.next != end {
		return c.fail()
	}
	return c.valid
}

// stepBack goes to the row before the current one, by decoding from the restart before it.
func (c *blockCursor) stepBack() bool {
	end := c.start
	if end == 0 {
		c.valid = false
		return false
	}
	i := sort.Search(c.block.restartCount(), func(i int) bool { return c.block.restart(i) >= end })
	c.toRestart(i - 1)
	return c.scanTo(end)
}

// seekRestart goes to the last restart before k, or to the first one.
func (c *blockCursor) seekRestart(k record.Key) bool {
	low, high := 0, c.block.restartCount() // restarts below low are before k, from high on not
	for low < high {
		middle := int(uint(low+high) / 2)
		if !c.toRestart(middle) {
			return c.fail()
		}
		if record.Compare(c.row.Key, k) < 0 {
			low = middle + 1
		} else {
			high = middle
		}
	}
	return c.toRestart(max(low-1, 0))
}

// seek goes to the first row at or after k.
func (c *blockCursor) seek(k record.Key) bool {
	for ok := c.seekRestart(k); ok; ok = c.step() {
		if record.Compare(c.row.Key, k) >= 0 {
			return true
		}
	}
	return false
}

// seekBefore goes to the last row before k.
func (c *blockCursor) seekBefore(k record.Key) bool {
	if c.seek(k) {
		return c.stepBack()
	}
	if c.bad {
		return false
	}
	return c.last()
}
