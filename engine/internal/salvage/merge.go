package salvage

import (
	"container/heap"

	"github.com/lightning-db/lightning/engine/internal/record"
)

// merged walks forward over the rows of sources, and knows which of them have the row: unlike those of package merge, the sources
// may have rows in common, where a compaction was cut short.
type merged struct {
	heap cursors
	has  []*source // those that have the current row
	user []byte    // of the row that step leaves
	err  error
}

type part struct {
	cursor record.Cursor
	source *source
}

type cursors []part

func (c cursors) Len() int { return len(c) }
func (c cursors) Less(i, j int) bool {
	return record.Compare(c[i].cursor.Row().Key, c[j].cursor.Row().Key) < 0
}
func (c cursors) Swap(i, j int) { c[i], c[j] = c[j], c[i] }
func (c *cursors) Push(x any)   { *c = append(*c, x.(part)) }
func (c *cursors) Pop() any {
	last := len(*c) - 1
	x := (*c)[last]
	*c = (*c)[:last]
	return x
}

// seek starts at the first row at or after a place, nil for the first of all.
func seek(sources []*source, k *record.Key) *merged {
	m := &merged{}
	for _, s := range sources {
		if !s.readable() {
			continue
		}
		c := s.cursor()
		if c.Seek(k, record.Forward); c.Row() != nil {
			m.heap = append(m.heap, part{c, s})
		} else if m.err = c.Err(); m.err != nil {
			return m
		}
	}
	heap.Init(&m.heap)
	return m
}

// row is the current row, nil at the end and after an error.
func (m *merged) row() *record.Row {
	if m.err != nil || len(m.heap) == 0 {
		return nil
	}
	return m.heap[0].cursor.Row()
}

// owners are the sources that have the current row.
func (m *merged) owners() []*source {
	m.has = m.has[:0]
	m.collect(0, m.row().Key)
	return m.has
}

// collect finds the parts with a row from a place of the heap on: those that have the least row have only such above them.
func (m *merged) collect(i int, at record.Key) {
	if i < len(m.heap) && record.Compare(m.heap[i].cursor.Row().Key, at) == 0 {
		m.has = append(m.has, m.heap[i].source)
		m.collect(2*i+1, at)
		m.collect(2*i+2, at)
	}
}

// step goes behind the current row in all sources that have it.
func (m *merged) step() {
	at := m.row().Key
	m.user = append(m.user[:0], at.User...)
	at.User = m.user
	for r := m.row(); r != nil && record.Compare(r.Key, at) == 0; r = m.row() {
		c := m.heap[0].cursor
		c.Step()
		if c.Row() != nil {
			heap.Fix(&m.heap, 0)
			continue
		}
		m.err = c.Err()
		heap.Pop(&m.heap)
	}
}
