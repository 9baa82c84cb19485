package levels

import (
	"bytes"
	"cmp"
	"slices"
	"sort"
	"sync"
	"sync/atomic"

	"github.com/lightning-db/lightning/engine/internal/manifest"
	"github.com/lightning-db/lightning/internal/seededbug"
)

// Count is how many levels there are. Six levels below level 0, each ten times the one above,
// hold 64 MiB times 111,111.
const Count = manifest.LevelCount

// Set is the tables of a store at one moment. Immutable.
type Set struct {
	Levels [Count][]*Table

	references atomic.Int32

	hasRanges   bool
	rangedOnce  sync.Once
	rangedFound ranged
}

// Placed is a table with its level.
type Placed struct {
	Level int
	Table *Table
}

// New makes a set with one reference, which references each table.
func New(tables []Placed) *Set {
	s := &Set{}
	for _, p := range tables {
		s.Levels[p.Level] = append(s.Levels[p.Level], p.Table)
	}
	s.seal()
	return s
}

// With makes a set without some tables and with others. A table may be removed and added at
// another level.
func (s *Set) With(remove []*Table, add []Placed) *Set {
	gone := make(map[*Table]bool, len(remove))
	for _, t := range remove {
		gone[t] = true
	}
	next := &Set{}
	for level, tables := range s.Levels {
		for _, t := range tables {
			if !gone[t] {
				next.Levels[level] = append(next.Levels[level], t)
			}
		}
	}
	for _, p := range add {
		next.Levels[p.Level] = append(next.Levels[p.Level], p.Table)
	}
	next.seal()
	return next
}

// seal sorts the levels and takes the references.
func (s *Set) seal() {
	for level, tables := range s.Levels {
		for _, t := range tables {
			t.references.Add(1)
			s.hasRanges = s.hasRanges || t.Ranges != nil
		}
		if level == 0 {
			if seededbug.Enabled(seededbug.EngineOldestFirst) {
				slices.SortFunc(tables, func(a, b *Table) int { return cmp.Compare(a.Number, b.Number) })
				continue
			}
			slices.SortFunc(tables, func(a, b *Table) int { return cmp.Compare(b.Number, a.Number) })
			continue
		}
		slices.SortFunc(tables, func(a, b *Table) int { return bytes.Compare(a.Properties.Smallest, b.Properties.Smallest) })
	}
	s.references.Store(1)
}

// Ref takes another reference; the caller holds one already, directly or through a view.
func (s *Set) Ref() { s.references.Add(1) }

// Unref gives a reference back; the last one gives back those on the tables.
func (s *Set) Unref() {
	if s.references.Add(-1) > 0 {
		return
	}
	for _, tables := range s.Levels {
		for _, t := range tables {
			t.unref()
		}
	}
}

// Disjoint reports whether every level below 0 keeps L1; a set read from a manifest may not.
func (s *Set) Disjoint() bool {
	for _, tables := range s.Levels[1:] {
		for i := 1; i < len(tables); i++ {
			if bytes.Compare(tables[i-1].Properties.Largest, tables[i].Properties.Smallest) >= 0 {
				return false
			}
		}
	}
	return true
}

// TableCount is the number of all tables.
func (s *Set) TableCount() (n int) {
	for _, tables := range s.Levels {
		n += len(tables)
	}
	return n
}

// Find gives the table of a level below 0 whose range a user key lies in, or nil.
func (s *Set) Find(level int, user []byte) *Table {
	tables := s.Levels[level]
	i := search(tables, user)
	if i < len(tables) && tables[i].Covers(user) {
		return tables[i]
	}
	return nil
}

// search finds the first of a level's tables that does not end before a user key.
func search(tables []*Table, user []byte) int {
	return sort.Search(len(tables), func(i int) bool {
		return bytes.Compare(tables[i].Properties.Largest, user) >= 0
	})
}

// Overlapping gives the tables of a level below 0 whose ranges meet [smallest, largest].
func (s *Set) Overlapping(level int, smallest, largest []byte) []*Table {
	tables := s.Levels[level]
	start := search(tables, smallest)
	end := start
	for end < len(tables) && bytes.Compare(tables[end].Properties.Smallest, largest) <= 0 {
		end++
	}
	return tables[start:end:end]
}

// Within gives the tables of a level below 0 whose ranges meet [start, end), where nil is no end.
func (s *Set) Within(level int, start, end []byte) []*Table {
	tables := s.Levels[level]
	first, last := search(tables, start), len(tables)
	if end != nil {
		last = sort.Search(len(tables), func(i int) bool {
			return bytes.Compare(tables[i].Properties.Smallest, end) >= 0
		})
	}
	return tables[first:max(first, last):max(first, last)]
}

// CoveredFrom reports whether a table at a level or deeper may hold a user key.
func (s *Set) CoveredFrom(level int, user []byte) bool {
	for ; level < Count; level++ {
		if level > 0 {
			if s.Find(level, user) != nil {
				return true
			}
			continue
		}
		if slices.ContainsFunc(s.Levels[0], func(t *Table) bool { return t.Covers(user) }) {
			return true
		}
	}
	return false
}

// MeetsFrom reports whether a table at a level or deeper may hold a key in [start, end).
func (s *Set) MeetsFrom(level int, start, end []byte) bool {
	for ; level < Count; level++ {
		if level > 0 && len(s.Within(level, start, end)) > 0 ||
			level == 0 && slices.ContainsFunc(s.Levels[0], func(t *Table) bool { return t.Meets(start, end) }) {
			return true
		}
	}
	return false
}

// EmptyBelow reports whether no level deeper than one has tables.
func (s *Set) EmptyBelow(level int) bool {
	for _, tables := range s.Levels[level+1:] {
		if len(tables) > 0 {
			return false
		}
	}
	return true
}

// Bytes is the size of all tables of a level.
func (s *Set) Bytes(level int) uint64 { return totalSize(s.Levels[level]) }

// TotalBytes is the size of all tables.
func (s *Set) TotalBytes() (n uint64) {
	for level := range s.Levels {
		n += s.Bytes(level)
	}
	return n
}

func totalSize(tables []*Table) (n uint64) {
	for _, t := range tables {
		n += t.Size
	}
	return n
}
