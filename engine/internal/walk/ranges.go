package walk

import (
	"bytes"
	"sort"

	"github.com/lightning-db/lightning/engine/internal/levels"
	"github.com/lightning-db/lightning/engine/internal/memtable"
	"github.com/lightning-db/lightning/engine/internal/rangedel"
	"github.com/lightning-db/lightning/engine/internal/record"
)

// Ranges are the range tombstones of the places of a walk. The zero value has none.
type Ranges struct {
	sets   []*rangedel.Set   // of memory and of level 0
	levels [][]*levels.Table // of each deeper level the tables that have some: one of them at most has a key
}

// None reports whether no row can be hidden.
func (g *Ranges) None() bool { return len(g.sets) == 0 && len(g.levels) == 0 }

// AddMemory adds those of a memtable.
func (g *Ranges) AddMemory(m *memtable.Memtable) {
	if set := m.Ranges(); set != nil {
		g.sets = append(g.sets, set)
	}
}

// AddTables adds those of tables that have keys in [start, end), where nil is no end, and anything up to a version.
func (g *Ranges) AddTables(set *levels.Set, start, end []byte, version uint64) {
	if !set.HasRanges() {
		return
	}
	for level, tables := range set.Levels {
		var of []*levels.Table
		for _, t := range tables {
			if t.Ranges == nil || t.Properties.MinVersion > version || !t.Meets(start, end) {
				continue
			}
			if level == 0 {
				g.sets = append(g.sets, t.Ranges)
				continue
			}
			of = append(of, t)
		}
		if len(of) > 0 {
			g.levels = append(g.levels, of)
		}
	}
}

// Hider gives a range tombstone that is seen at a version and a sequence and makes the key of a row absent; nil for none. The row is the
// newest one of its key that is seen there.
func (g *Ranges) Hider(r *record.Row, at *record.Key) *rangedel.Tombstone {
	k := record.Key{User: r.User, Version: at.Version, Sequence: at.Sequence}
	for _, set := range g.sets {
		if t := set.Cover(k); t != nil && t.Hides(r.Version, r.Sequence) {
			return t
		}
	}
	for _, tables := range g.levels {
		i := sort.Search(len(tables), func(i int) bool { return bytes.Compare(tables[i].Properties.Largest, r.User) >= 0 })
		if i == len(tables) || !tables[i].Covers(r.User) {
			continue
		}
		if t := tables[i].Ranges.Cover(k); t != nil && t.Hides(r.Version, r.Sequence) {
			return t
		}
	}
	return nil
}
