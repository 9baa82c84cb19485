package engine

import (
	"bytes"
	"sync"

	"github.com/lightning-db/lightning/engine/internal/levels"
	"github.com/lightning-db/lightning/engine/internal/memtable"
	"github.com/lightning-db/lightning/engine/internal/merge"
	"github.com/lightning-db/lightning/engine/internal/record"
	"github.com/lightning-db/lightning/engine/internal/table"
)

// walk is the insides of an iterator: the cursors over all places of a view, and the memory for keys. It is used
// by one iterator after the other, which makes a scan of a hundred rows without any allocation: BenchmarkScan.
type walk struct {
	view   *view
	cursor record.Cursor // of all rows: the only part, or merged
	merged merge.Cursor
	parts  []record.Cursor

	// Cursors that parts are made of; those in use come first.
	memory stock[memtable.Cursor]
	zero   stock[table.Cursor]
	level  stock[levels.Cursor]

	start, end []byte
	key        []byte // the current key, which the row shown has
	value      []byte // a copy of the value, when going backward
	target     record.Key
	user       []byte // of target
}

// stock is cursors that are there for good, of which some are in use.
type stock[C any] struct {
	all  []*C
	used int
}

func (s *stock[C]) next() *C {
	if s.used == len(s.all) {
		s.all = append(s.all, new(C))
	}
	s.used++
	return s.all[s.used-1]
}

// free gives back the cursors in use and lists them.
func (s *stock[C]) free() []*C {
	used := s.all[:s.used]
	s.used = 0
	return used
}

var walks = sync.Pool{New: func() any { return new(walk) }}

// takeWalk makes a walk over the rows of a view in [start, end); it takes over the reference.
func takeWalk(v *view, start, end []byte) *walk {
	w := walks.Get().(*walk)
	w.view = v
	w.start, w.end = append(w.start[:0], start...), append(w.end[:0], end...)
	w.gather(end != nil)
	if len(w.parts) == 1 {
		w.cursor = w.parts[0]
	} else {
		w.merged.Reset(w.parts)
		w.cursor = &w.merged
	}
	return w
}

// gather makes a cursor of each place where rows in the range may be.
func (w *walk) gather(bounded bool) {
	end := w.end
	if !bounded {
		end = nil
	}
	w.gatherMemory(w.view.memory)
	for _, s := range w.view.sealed {
		w.gatherMemory(s.memory)
	}
	for _, t := range w.view.set.Levels[0] {
		if t.Meets(w.start, end) {
			c := w.zero.next()
			c.Reset(t.Reader, true)
			w.parts = append(w.parts, c)
		}
	}
	for level := 1; level < levels.Count; level++ {
		if tables := w.view.set.Within(level, w.start, end); len(tables) > 0 {
			c := w.level.next()
			c.Reset(tables, true)
			w.parts = append(w.parts, c)
		}
	}
}

// gatherMemory leaves out a memtable without rows: those that come are not in the snapshot.
func (w *walk) gatherMemory(m *memtable.Memtable) {
	if !m.Empty() {
		c := w.memory.next()
		c.Reset(m)
		w.parts = append(w.parts, c)
	}
}

// give gives everything back.
func (w *walk) give() {
	for _, c := range w.memory.free() {
		c.Reset(nil)
	}
	for _, c := range w.zero.free() {
		c.Reset(nil, false)
	}
	for _, c := range w.level.free() {
		c.Reset(nil, false)
	}
	w.merged.Reset(nil)
	w.parts = w.parts[:0]
	w.cursor = nil
	w.view.unref()
	w.view = nil
	if cap(w.key)+cap(w.value)+cap(w.user) <= copyLimit {
		walks.Put(w)
	}
}

// seekFirstOf goes to the first row at or after all rows of a user key, or before it.
func (w *walk) seekFirstOf(user []byte, d record.Direction) *record.Row {
	w.user = append(w.user[:0], user...)
	w.target = record.FirstOf(w.user)
	return w.cursor.Seek(&w.target, d)
}

// seekLastOfKey goes behind all rows of the current key but one that cannot be.
func (w *walk) seekLastOfKey() *record.Row {
	w.target = record.Key{User: w.key}
	return w.cursor.Seek(&w.target, record.Forward)
}

// skipLimit is how many rows of one key are stepped over before a seek is cheaper.
const skipLimit = 16

// skipKey goes forward behind all rows of the current key, at one of which the cursor stands.
func (w *walk) skipKey() *record.Row {
	r := w.cursor.Step()
	for n := 1; r != nil && bytes.Equal(r.User, w.key); n++ {
		if n == skipLimit {
			r = w.seekLastOfKey()
			continue
		}
		r = w.cursor.Step()
	}
	return r
}
