package walk

import (
	"github.com/lightning-db/lightning/engine/internal/levels"
	"github.com/lightning-db/lightning/engine/internal/memtable"
	"github.com/lightning-db/lightning/engine/internal/rangedel"
	"github.com/lightning-db/lightning/engine/internal/record"
)

// Ranges are the range tombstones of the places of a walk. The zero value has none.
type Ranges struct{ sets []*rangedel.Set }

// None reports whether no row can be hidden.
func (g *Ranges) None() bool { return len(g.sets) == 0 }

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
	for _, tables := range set.Levels {
		for _, t := range tables {
			if t.Ranges != nil && t.Properties.MinVersion <= version && t.Meets(start, end) {
				g.sets = append(g.sets, t.Ranges)
			}
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
	return nil
}
