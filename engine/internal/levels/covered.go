package levels

import (
	"bytes"
	"sort"

	"github.com/lightning-db/lightning/engine/internal/rangedel"
	"github.com/lightning-db/lightning/engine/internal/record"
)

// ReasonCovered is that of dropping a table without reading it, since a range tombstone hides all of it.
const ReasonCovered = "covered"

// ranged is what range tombstones come to in a set. It is made when it is asked for, once. It is no larger than the number of
// tables with range tombstones times that of all tables, however many range tombstones those have.
type ranged struct {
	covered []covered
	// below is about how many rows of deeper tables the range tombstones of a table hide, but for those of tables that
	// are covered whole.
	below map[*Table]uint64
}

// covered is a table of which some range tombstone of another one hides all rows.
type covered struct {
	level     int
	table, by *Table
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
				if t.Ranges != nil {
					s.look(level, t)
				}
			}
		}
	})
	return &s.rangedFound
}

// look finds what the range tombstones of a table cover.
func (s *Set) look(level int, of *Table) {
	for l, tables := range s.Levels {
		if l > 0 {
			tables = s.Overlapping(l, of.Properties.Smallest, of.Properties.Largest)
		}
		for _, t := range tables {
			switch {
			case t == of || !t.overlaps(of.Properties.Smallest, of.Properties.Largest):
			case of.hides(t, record.MaxVersion, record.MaxSequence):
				s.rangedFound.covered = append(s.rangedFound.covered, covered{l, t, of})
			case l > level && t.Reader != nil:
				s.rangedFound.below[of] += t.estimateIn(of.Ranges.Spans())
			}
		}
	}
}

// estimateIn is about how many rows have keys in any of some spans.
func (t *Table) estimateIn(spans []rangedel.Span) (rows uint64) {
	first := sort.Search(len(spans), func(i int) bool { return bytes.Compare(spans[i].End, t.Properties.Smallest) > 0 })
	for _, g := range spans[first:] {
		if bytes.Compare(g.Start, t.Properties.Largest) > 0 {
			break
		}
		rows += t.Reader.EstimateRows(g.Start, g.End)
	}
	return rows
}

// hides reports whether a range tombstone of a table, with neither version nor sequence above some, hides everything that another one has.
func (t *Table) hides(other *Table, version, sequence uint64) bool {
	p := other.Properties
	return t.Ranges.HidesKeys(p.Smallest, p.Largest, p.MaxVersion, p.MaxSequence, record.Key{Version: version, Sequence: sequence})
}

// liesIn reports whether all keys of a table are in the range of a tombstone.
func (t *Table) liesIn(r *rangedel.Tombstone) bool {
	return bytes.Compare(r.Start, t.Properties.Smallest) <= 0 && bytes.Compare(t.Properties.Largest, r.End) < 0
}

// pickCovered drops a table that nobody can see anything of: the range tombstone, which is in a table and so as durable, is seen by
// everybody.
func (s *Set) pickCovered(d Droppable, r running) *Pick {
	for _, c := range s.ranged().covered {
		if !c.by.hides(c.table, d.Version, d.OldestSnapshot) {
			continue
		}
		if p := r.free(&Pick{Reason: ReasonCovered, Level: c.level, Output: c.level, Inputs: []*Table{c.table}, Drop: true}); p != nil {
			return p
		}
	}
	return nil
}
