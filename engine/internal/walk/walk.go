package walk

import (
	"sync"

	"github.com/lightning-db/lightning/engine/internal/levels"
	"github.com/lightning-db/lightning/engine/internal/memtable"
	"github.com/lightning-db/lightning/engine/internal/merge"
	"github.com/lightning-db/lightning/engine/internal/record"
	"github.com/lightning-db/lightning/engine/internal/table"
)

// Walk is the cursors of one iterator, and its memory for keys.
type Walk struct {
	Cursor     record.Cursor // over all rows: of the only place, or a merge
	Start, End []byte        // the range; empty for none
	Key        []byte        // the current user key, for the iterator to set
	Value      []byte        // for the iterator to copy a value to

	bounded bool // there is an end
	merged  merge.Cursor
	parts   []record.Cursor

	// Cursors that parts are made of; those in use come first.
	memory stock[memtable.Cursor]
	zero   stock[table.Cursor]
	level  stock[levels.Cursor]

	target record.Key
	user   []byte // of target
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

// maxPooledBytes is the most memory for keys and values that is kept for the next iterator.
const maxPooledBytes = 64 << 10

// A scan of a hundred rows allocates fifteen times without the pool, and not once with it: BenchmarkScan of the engine.
var walks = sync.Pool{New: func() any { return new(Walk) }}

// Take makes a walk over [start, end), where nil is no end, that has no places yet.
func Take(start, end []byte) *Walk {
	w := walks.Get().(*Walk)
	w.Start, w.End, w.bounded = append(w.Start[:0], start...), append(w.End[:0], end...), end != nil
	return w
}

// AddMemory adds a memtable. One without rows is left out: those that come are not in the snapshot.
func (w *Walk) AddMemory(m *memtable.Memtable) {
	if !m.Empty() {
		c := w.memory.next()
		c.Reset(m)
		w.parts = append(w.parts, c)
	}
}

// AddTables adds those tables of a set that have keys in the range, and rows up to a version. The caller keeps the set until Give.
func (w *Walk) AddTables(set *levels.Set, version uint64) {
	var end []byte
	if w.bounded {
		end = w.End
		if end == nil {
			end = []byte{}
		}
	}
	for _, t := range set.Levels[0] {
		if t.Properties.MinVersion <= version && t.Meets(w.Start, end) {
			c := w.zero.next()
			c.Reset(t.Reader, true)
			w.parts = append(w.parts, c)
		}
	}
	for level := 1; level < levels.Count; level++ {
		if tables := set.Within(level, w.Start, end); len(tables) > 0 {
			c := w.level.next()
			c.Reset(tables, true)
			c.UpTo(version)
			w.parts = append(w.parts, c)
		}
	}
}

// Begin makes Cursor one over what was added.
func (w *Walk) Begin() {
	if len(w.parts) == 1 {
		w.Cursor = w.parts[0]
		return
	}
	w.merged.Reset(w.parts)
	w.Cursor = &w.merged
}

// Give ends the walk, which must not be used any more.
func (w *Walk) Give() {
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
	w.Cursor = nil
	w.target = record.Key{}
	if cap(w.Key)+cap(w.Value)+cap(w.user)+cap(w.Start)+cap(w.End) <= maxPooledBytes {
		walks.Put(w)
	}
}

// Run gives the cursor of the table that the current row is from, if the rows behind it in its block are a run (package table): all of
// them are next, in the range, and visible at a time. It is nil otherwise. The walk must not be moved but by the cursor's StepRun, until that
// has ended or FinishRun is called.
func (w *Walk) Run(at *record.Key, keysOnly bool) *table.Cursor {
	part, before, ok := w.Cursor, (*record.Row)(nil), true
	if part == record.Cursor(&w.merged) {
		if part, before, ok = w.merged.Alone(); !ok {
			return nil
		}
	}
	var c *table.Cursor
	switch p := part.(type) {
	case *table.Cursor:
		c = p
	case *levels.Cursor:
		c = p.Leaf()
	default:
		return nil
	}
	if !c.BeginRun(at, keysOnly) || before != nil && !c.LimitRun(before.User) || w.bounded && !c.LimitRun(w.End) {
		return nil
	}
	return c
}

// SeekFirstOf goes to the first row at or after all rows of a user key, or before it.
func (w *Walk) SeekFirstOf(user []byte, d record.Direction) *record.Row {
	w.user = append(w.user[:0], user...)
	w.target = record.FirstOf(w.user)
	return w.Cursor.Seek(&w.target, d)
}

// SeekLastOfKey goes behind all rows of the current key but one that cannot be.
func (w *Walk) SeekLastOfKey() *record.Row {
	w.target = record.Key{User: w.Key}
	return w.Cursor.Seek(&w.target, record.Forward)
}
