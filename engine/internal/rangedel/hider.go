package rangedel

import (
	"bytes"

	"github.com/lightning-db/lightning/engine/internal/record"
)

// HidesRow reports whether a tombstone hides a row, with neither version nor sequence above those of upTo.
func (s *Set) HidesRow(row *record.Key, upTo record.Key) bool {
	q := hiding{start: row.User, end: row.User, inclusive: true, of: *row, upTo: upTo}
	return q.in(s)
}

// HidesKeys reports whether a tombstone hides all rows of the keys from one to another, that included, up to a version and a sequence. It
// has neither version nor sequence above those of upTo.
func (s *Set) HidesKeys(smallest, largest []byte, version, sequence uint64, upTo record.Key) bool {
	q := hiding{start: smallest, end: largest, inclusive: true, of: record.Key{Version: version, Sequence: sequence}, upTo: upTo}
	return q.in(s)
}

// HidesRange reports whether another tombstone hides what one does, with neither version nor sequence above those of upTo.
func (s *Set) HidesRange(t *Tombstone, upTo record.Key) bool {
	q := hiding{start: t.Start, end: t.End, of: record.Key{Version: t.Version, Sequence: t.Sequence}, upTo: upTo}
	return q.in(s)
}

// hiding is a search for a tombstone that comes after a row, with all keys from start to end. Which one it finds does not matter, so it
// ends with the first: of many that lie in each other, or have the same range, it looks at a few only.
type hiding struct {
	start, end []byte
	inclusive  bool // end counts
	of, upTo   record.Key
	looks      int // how many tombstones it has looked at
}

func (q *hiding) in(s *Set) bool {
	if s == nil {
		return false
	}
	for _, t := range s.trees {
		if q.search(t, 0, len(t.list)) {
			return true
		}
	}
	return false
}

// search looks into the part [low, high) of a tree.
func (q *hiding) search(t *tree, low, high int) bool {
	for low < high {
		q.looks++
		middle := int(uint(low+high) / 2)
		n := &t.nodes[middle]
		if !q.within(&t.list[n.end]) || n.newest.Before(&q.of) || n.oldest.After(&q.upTo) {
			return false
		}
		c := &t.list[middle]
		if bytes.Compare(q.start, c.Start) < 0 {
			high = middle
			continue
		}
		if q.within(c) && c.Hides(q.of.Version, q.of.Sequence) && c.Version <= q.upTo.Version && c.Sequence <= q.upTo.Sequence ||
			q.search(t, low, middle) {
			return true
		}
		low = middle + 1
	}
	return false
}

// within reports whether a tombstone does not end before the keys do.
func (q *hiding) within(t *Tombstone) bool {
	c := bytes.Compare(q.end, t.End)
	return c < 0 || c == 0 && !q.inclusive
}
