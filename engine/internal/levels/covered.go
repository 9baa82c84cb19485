package levels

import (
	"bytes"

	"github.com/lightning-db/lightning/engine/internal/rangedel"
)

// ReasonCovered is that of dropping a table without reading it, since a range tombstone hides all of it.
const ReasonCovered = "covered"

// ranged is what range tombstones come to in a set. It is made when it is asked for, once.
type ranged struct {
	covered []covered
	// below is about how many rows of deeper tables the range tombstones of a table hide, but for those of tables that
	// are covered whole.
	below map[*Table]uint64
}

// covered is a table of which a range tombstone hides all rows.
type covered struct {
	level             int
	table             *Table
	version, sequence uint64 // of the tombstone
}

// HasRanges reports whether a table has range tombstones.
func (s *Set) HasRanges() bool { return s.hasRanges }

func (s *Set) ranged() *ranged {
	s.rangedOnce.Do(func() {
		if !s.hasRanges {
			return
		}
		s.rangedFound.below = map[*Table]uint64{}
		for level, tables := range s.Levels {
			for _, t := range tables {
				for _, r := range t.Ranges.All() {
					s.look(level, t, &r)
				}
			}
		}
	})
	return &s.rangedFound
}

// look finds what a range tombstone of a table covers.
func (s *Set) look(level int, of *Table, r *rangedel.Tombstone) {
	for l, tables := range s.Levels {
		if l > 0 {
			tables = s.Within(l, r.Start, r.End)
		}
		for _, t := range tables {
			switch {
			case t == of || !t.Meets(r.Start, r.End):
			case t.HiddenBy(r):
				s.rangedFound.covered = append(s.rangedFound.covered, covered{l, t, r.Version, r.Sequence})
			case l > level && t.Reader != nil:
				s.rangedFound.below[of] += t.Reader.EstimateRows(r.Start, r.End)
			}
		}
	}
}

// HiddenBy reports whether a range tombstone hides everything that a table has.
func (t *Table) HiddenBy(r *rangedel.Tombstone) bool {
	return t.liesIn(r) && t.Properties.Before(r.Version, r.Sequence)
}

// liesIn reports whether all keys of a table are in the range of a tombstone.
func (t *Table) liesIn(r *rangedel.Tombstone) bool {
	return bytes.Compare(r.Start, t.Properties.Smallest) <= 0 && bytes.Compare(t.Properties.Largest, r.End) < 0
}

// pickCovered drops a table that nobody can see anything of: the range tombstone, which is in a table and so as durable, is seen by
// everybody.
func (s *Set) pickCovered(d Droppable, r running) *Pick {
	for _, c := range s.ranged().covered {
		if c.version > d.Version || c.sequence > d.OldestSnapshot {
			continue
		}
		if p := r.free(&Pick{Reason: ReasonCovered, Level: c.level, Output: c.level, Inputs: []*Table{c.table}, Drop: true}); p != nil {
			return p
		}
	}
	return nil
}
