package levels

import (
	"bytes"
	"cmp"
	"slices"
)

// Reasons for a compaction.
const (
	ReasonCount   = "count"   // level 0 has too many tables
	ReasonSize    = "size"    // a level is larger than its target
	ReasonGarbage = "garbage" // much of a table can be dropped
	ReasonSmall   = "small"   // many small neighbours
	ReasonManual  = "manual"  // somebody asked for all of it
)

const (
	// levelRatio is the size of a level over that of the one above: the usual trade between write
	// amplification (about half the ratio a level) and the number of levels.
	levelRatio = 10

	// garbagePart: a table is compacted for its garbage when a quarter of its rows can go. So at
	// most a quarter of a settled store is garbage, and a row is rewritten at most three times for it.
	garbagePart = 4

	// smallRun is how many neighbours below half the table size are merged into one. Frequent
	// small flushes of ascending keys overlap nothing and would fill a level with tiny tables.
	smallRun = 8
)

// Targets are the sizes to keep to.
type Targets struct {
	CompactCount int    // tables of level 0
	LevelBytes   uint64 // level 1; each deeper one levelRatio times more
	TableBytes   uint64

	// Writing says that rows wait in memory, so that level 0 will grow and be compacted without more
	// reasons. Until then garbage that this compaction rewrites anyway can wait for it.
	Writing bool

	// MaxCount is how many compactions may run at once, 0 for one. When it is more than one, one of them is kept for level 0, as
	// writers wait for that.
	MaxCount int
}

// Droppable says what is not needed any more.
type Droppable struct {
	Version        uint64 // reads below it are not answered
	ExpiryMillis   uint64 // values that expired by then are absent
	OldestSnapshot uint64 // sequence of the oldest open snapshot

	// Unordered says that rows may be older in version than rows written before them. Then a
	// tombstone must stay while a shallower table, or memory, has a version below its own.
	Unordered     bool
	MemoryVersion uint64 // lowest version of a row in memory; read only if Unordered
}

// Pick is a compaction to do.
type Pick struct {
	Reason string
	Output int      // level of the outputs
	Inputs []*Table // of one level, the newer one
	Level  int      // that level
	Below  []*Table // inputs at the output level, if that is another one
	Move   bool     // the inputs need not be rewritten, only placed at the output level
	Drop   bool     // the inputs go, and nothing comes instead
}

// Tables lists all inputs.
func (p *Pick) Tables() []*Table { return slices.Concat(p.Inputs, p.Below) }

// OfZero reports whether the pick takes all of level 0.
func (p *Pick) OfZero() bool { return p.Level == 0 }

// running are the compactions that have not ended yet.
type running []*Pick

// meets reports whether a pick must wait for one of them: it reads or writes a level that the other does, where the other has keys.
// So what a compaction found of the levels below its output stays true of its keys until it ends, and no two write
// tables that overlap (L3).
func (r running) meets(p *Pick) bool {
	smallest, largest := span(p.Tables())
	return slices.ContainsFunc(r, func(other *Pick) bool {
		if p.Level > other.Output || other.Level > p.Output {
			return false
		}
		from, to := span(other.Tables())
		return p.OfZero() && other.OfZero() || bytes.Compare(smallest, to) <= 0 && bytes.Compare(from, largest) <= 0
	})
}

// free gives a pick if it need not wait.
func (r running) free(p *Pick) *Pick {
	if p == nil || r.meets(p) {
		return nil
	}
	return p
}

// leaving is how many bytes of a level they will have taken away.
func (r running) leaving(level int) (n uint64) {
	for _, p := range r {
		if p.Level == level && p.Output != level {
			n += totalSize(p.Inputs)
		}
	}
	return n
}

// onlyZero reports whether the compactions that may still begin are kept for level 0.
func (r running) onlyZero(t Targets) bool {
	deeper := 0
	for _, p := range r {
		if !p.OfZero() {
			deeper++
		}
	}
	return t.MaxCount > 1 && deeper >= t.MaxCount-1
}

// Pick chooses the next compaction, or nil if nothing is due that can run beside those that do. It never picks what would change
// nothing: each kind of pick makes its own reason go away.
func (s *Set) Pick(t Targets, d Droppable, beside ...*Pick) *Pick {
	r := running(beside)
	if p := s.pickCovered(d, r); p != nil {
		return p
	}
	for _, level := range s.due(t, r) {
		var p *Pick
		switch {
		case level == 0:
			p = r.free(s.pickCount(t))
		case !r.onlyZero(t):
			p = s.pickFull(level, t, r)
		}
		if p != nil {
			return p
		}
	}
	if p := s.pickGarbage(t, d, r); p != nil || r.onlyZero(t) {
		return p
	}
	return s.pickSmall(t, r)
}

// due are the levels that are over their targets, the most urgent first.
func (s *Set) due(t Targets, r running) (due []int) {
	var scores [Count]float64
	scores[0] = float64(len(s.Levels[0])) / float64(t.CompactCount)
	target := t.LevelBytes
	for level := 1; level < Count-1; level++ {
		scores[level] = (float64(s.Bytes(level)) - float64(r.leaving(level))) / float64(target)
		target *= levelRatio
	}
	for level, score := range scores {
		if score > 1 || score == 1 && level == 0 {
			due = append(due, level)
		}
	}
	slices.SortStableFunc(due, func(a, b int) int { return cmp.Compare(scores[b], scores[a]) })
	return due
}

// PickAll compacts everything into the deepest level in use.
func (s *Set) PickAll() *Pick {
	p := &Pick{Reason: ReasonManual, Output: 1}
	for l := 1; l < Count; l++ {
		if len(s.Levels[l]) > 0 {
			p.Output = l
		}
	}
	if s.TableCount() == 0 {
		return nil
	}
	for _, tables := range s.Levels {
		p.Inputs = append(p.Inputs, tables...)
	}
	return p
}

// pickCount makes level 0 smaller. The oldest table needs no merge if level 1 has nothing where it is,
// as with ascending keys: everything else in level 0 is newer. A very small one had better be merged.
func (s *Set) pickCount(t Targets) *Pick {
	oldest := s.Levels[0][len(s.Levels[0])-1]
	p := s.down(ReasonCount, 0, oldest)
	if len(p.Below) > 0 || oldest.Size < t.TableBytes/8 {
		return s.pickZero(ReasonCount)
	}
	p.Move = true
	return p
}

// pickZero takes all of level 0: its tables overlap, so a part would often drag in the rest.
func (s *Set) pickZero(reason string) *Pick {
	p := &Pick{Reason: reason, Output: 1, Inputs: s.Levels[0]}
	smallest, largest := span(p.Inputs)
	p.Below = s.Overlapping(1, smallest, largest)
	return p
}

func span(tables []*Table) (smallest, largest []byte) {
	for i, t := range tables {
		if i == 0 || bytes.Compare(t.Properties.Smallest, smallest) < 0 {
			smallest = t.Properties.Smallest
		}
		if i == 0 || bytes.Compare(t.Properties.Largest, largest) > 0 {
			largest = t.Properties.Largest
		}
	}
	return smallest, largest
}

// pickFull moves down the table that drags in the least for its size (RocksDB's
// kMinOverlappingRatio).
func (s *Set) pickFull(level int, t Targets, r running) *Pick {
	var best *Pick
	least := 0.0
	for _, table := range s.Levels[level] {
		p := r.free(s.down(ReasonSize, level, table))
		if p == nil {
			continue
		}
		if cost := float64(totalSize(p.Below)) / float64(table.Size+1); best == nil || cost < least {
			best, least = p, cost
		}
	}
	if best == nil {
		return nil
	}
	// A small table had better be merged with its neighbours below than moved among them.
	best.Move = len(best.Below) == 0 && best.Inputs[0].Size >= t.TableBytes/2
	return best
}

func (s *Set) down(reason string, level int, table *Table) *Pick {
	return &Pick{
		Reason: reason, Level: level, Output: level + 1, Inputs: []*Table{table},
		Below: s.Overlapping(level+1, table.Properties.Smallest, table.Properties.Largest),
	}
}

// pickGarbage takes the table with the most rows that can go, if they are a good part of it.
func (s *Set) pickGarbage(t Targets, d Droppable, r running) *Pick {
	var worst *Pick
	most := uint64(0)
	for level, tables := range s.Levels {
		for _, table := range tables {
			if t.Writing && s.rewrittenSoon(level, table) {
				continue
			}
			n := s.droppableRows(level, table, d)
			if n <= most || n*garbagePart < table.Properties.Rows || level > 0 && r.onlyZero(t) {
				continue
			}
			if p := r.free(s.garbageOf(level, table)); p != nil {
				worst, most = p, n
			}
		}
	}
	return worst
}

// garbageOf rids a table of its garbage.
func (s *Set) garbageOf(level int, t *Table) *Pick {
	switch {
	case level == 0:
		return s.pickZero(ReasonGarbage)
	case level == Count-1 || !s.overlapsFrom(level+1, t):
		return &Pick{Reason: ReasonGarbage, Level: level, Output: level, Inputs: []*Table{t}}
	}
	return s.down(ReasonGarbage, level, t)
}

// rewrittenSoon reports whether the next compaction of level 0 has a table among its inputs.
func (s *Set) rewrittenSoon(level int, t *Table) bool {
	if level != 1 || len(s.Levels[0]) == 0 {
		return level == 0
	}
	smallest, largest := span(s.Levels[0])
	return t.overlaps(smallest, largest)
}

func (s *Set) overlapsFrom(level int, t *Table) bool {
	for ; level < Count; level++ {
		if len(s.Overlapping(level, t.Properties.Smallest, t.Properties.Largest)) > 0 {
			return true
		}
	}
	return false
}

// droppableRows estimates how many rows of a table, and of those below that its range tombstones hide, can go. Tombstones and hidden rows count only
// when all of them can: then a compaction is sure to end the reason for it.
func (s *Set) droppableRows(level int, t *Table, d Droppable) uint64 {
	p := t.Properties
	n := p.ExpiredRows(d.ExpiryMillis)
	if p.GarbageVersion <= d.Version && p.GarbageSequence <= d.OldestSnapshot &&
		!(d.Unordered && (d.MemoryVersion < p.GarbageVersion || s.lowerAbove(level, t))) {
		n += p.Garbage + s.ranged().below[t]
	}
	return n
}

// lowerAbove reports whether a table of a shallower level that overlaps t has a version below t's garbage.
func (s *Set) lowerAbove(level int, t *Table) bool {
	for _, tables := range s.Levels[:level] {
		for _, above := range tables {
			if above.Properties.MinVersion < t.Properties.GarbageVersion && above.overlaps(t.Properties.Smallest, t.Properties.Largest) {
				return true
			}
		}
	}
	return false
}

// WaitsForSnapshot reports whether some table has garbage that only an open snapshot keeps.
func (s *Set) WaitsForSnapshot(d Droppable) bool {
	for _, tables := range s.Levels {
		for _, t := range tables {
			if t.Properties.Garbage > 0 && t.Properties.GarbageSequence > d.OldestSnapshot {
				return true
			}
		}
	}
	return false
}

// pickSmall merges a run of small neighbours within their level.
func (s *Set) pickSmall(t Targets, r running) *Pick {
	for level := 1; level < Count; level++ {
		tables := s.Levels[level]
		for start := 0; start < len(tables); {
			end := start
			for end < len(tables) && tables[end].Size < t.TableBytes/2 {
				end++
			}
			if end-start >= smallRun {
				if p := r.free(&Pick{Reason: ReasonSmall, Level: level, Output: level, Inputs: tables[start:end:end]}); p != nil {
					return p
				}
			}
			start = end + 1
		}
	}
	return nil
}
