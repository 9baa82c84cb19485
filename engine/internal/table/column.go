package table

import (
	"encoding/binary"
	"math"
	"math/bits"
)

// column is numbers of the rows of a block: number i is base + slope·i + the i-th of width bytes, all modulo 2^64. What
// does not change from row to row, or grows evenly, takes no bytes at all, and every number is
// read by one load, whichever row it is of.
type column struct {
	base  uint64
	mask  uint64 // of width bytes
	slope uint32
	width uint32
	at    uint32 // in the block
}

// get gives number i. Eight bytes can be loaded everywhere, as a block ends with eight others.
func (c *column) get(data []byte, i int) uint64 {
	at := int(c.at) + i*int(c.width)
	return c.base + uint64(c.slope)*uint64(i) + binary.LittleEndian.Uint64(data[at:at+8])&c.mask
}

// constant reports whether all numbers are base.
func (c *column) constant() bool { return c.width == 0 && c.slope == 0 }

// fit finds the line under numbers that leaves the least bytes above it: a level one, or the one from the first to the last.
func fit(numbers []uint64) column {
	c := lineUnder(numbers, 0)
	last := len(numbers) - 1
	if c.width == 0 || last < 1 {
		return c
	}
	slope := (numbers[last] - numbers[0]) / uint64(last)
	if slope == 0 || slope > math.MaxUint32 {
		return c
	}
	if rising := lineUnder(numbers, uint32(slope)); rising.width < c.width {
		return rising
	}
	return c
}

func lineUnder(numbers []uint64, slope uint32) column {
	if len(numbers) == 0 {
		return column{}
	}
	var low, high int64 // of the distances to the line through the first number
	first, step := numbers[0], uint64(0)
	for _, n := range numbers {
		d := int64(n - first - step)
		low, high = min(low, d), max(high, d)
		step += uint64(slope)
	}
	width := (bits.Len64(uint64(high)-uint64(low)) + 7) / 8
	return column{base: first + uint64(low), slope: slope, width: uint32(width)}
}

// columnWriter lays columns into a block, and what describes them into its header.
type columnWriter struct {
	body   []byte
	header []byte
}

// numbers gathers a column. As long as all are equal it only counts them.
type numbers struct {
	first uint64
	count int
	list  []uint64 // empty while all are equal to first
}

func (n *numbers) add(number uint64) {
	if n.count == 0 {
		n.first = number
	}
	n.count++
	if number == n.first && len(n.list) == 0 {
		return
	}
	for len(n.list) < n.count-1 {
		n.list = append(n.list, n.first)
	}
	n.list = append(n.list, number)
}

func (n *numbers) reset() { n.count, n.list = 0, n.list[:0] }

func (w *columnWriter) gathered(n *numbers) {
	if len(n.list) > 0 {
		w.add(n.list)
		return
	}
	w.describe(column{base: n.first})
}

func (w *columnWriter) describe(c column) {
	w.header = append(w.header, byte(c.width))
	w.header = binary.AppendUvarint(w.header, c.base)
	w.header = binary.AppendUvarint(w.header, uint64(c.slope))
}

func (w *columnWriter) add(numbers []uint64) {
	c := fit(numbers)
	w.describe(c)
	line := c.base
	switch c.width {
	case 0:
	case 1:
		for _, n := range numbers {
			w.body = append(w.body, byte(n-line))
			line += uint64(c.slope)
		}
	default:
		for _, n := range numbers {
			end := len(w.body) + int(c.width)
			w.body = binary.LittleEndian.AppendUint64(w.body, n-line)[:end]
			line += uint64(c.slope)
		}
	}
}

// columnReader reads what columnWriter wrote.
type columnReader struct {
	header []byte
	at     int // where the next column is
	room   int // where the last one must end at the latest
}

// next gives a column of so many numbers.
func (r *columnReader) next(count int) (c column, ok bool) {
	if len(r.header) == 0 || r.header[0] > 8 {
		return c, false
	}
	c.width = uint32(r.header[0])
	base, w := binary.Uvarint(r.header[1:])
	if w <= 0 {
		return c, false
	}
	slope, v := binary.Uvarint(r.header[1+w:])
	if v <= 0 || slope > math.MaxUint32 {
		return c, false
	}
	r.header = r.header[1+w+v:]
	c.base, c.slope, c.at = base, uint32(slope), uint32(r.at)
	c.mask = 1<<(8*c.width) - 1
	r.at += count * int(c.width)
	return c, r.at <= r.room
}

// length takes a uvarint out of the header.
func (r *columnReader) length() (n int, ok bool) {
	n, rest, ok := takeLength(r.header)
	r.header = rest
	return n, ok
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
