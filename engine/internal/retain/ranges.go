package retain

import (
	"github.com/lightning-db/lightning/engine/internal/rangedel"
	"github.com/lightning-db/lightning/engine/internal/record"
)

// rangeHides tells whether a range tombstone hides a row from all who would see it: one of the row's own version, or one at or below
// the horizon if the row is, too.
func (r *Rules) rangeHides(row *record.Key) bool {
	return r.Ranges != nil && r.Ranges.HidesRow(row, record.Key{Version: max(r.Version, row.Version), Sequence: r.firstReader(row.Sequence)})
}

// KeepRanges gives those of Ranges that are needed, sorted, and joined where they are pieces of one.
func (r *Rules) KeepRanges() (kept []rangedel.Tombstone) {
	if r.Ranges == nil {
		return nil
	}
	all := rangedel.Join(r.Ranges.All())
	joined := rangedel.NewSet(all)
	for i := range all {
		if r.keepRange(&all[i], joined) {
			kept = append(kept, all[i])
		}
	}
	return kept
}

// keepRange tells whether a range tombstone is needed: some reader sees it and no later one that covers all of it, and it hides
// something from somebody.
func (r *Rules) keepRange(t *rangedel.Tombstone, all *rangedel.Set) bool {
	if all.HidesRange(t, record.Key{Version: max(r.Version, t.Version), Sequence: r.firstReader(t.Sequence)}) {
		return false
	}
	return t.Version > r.Version || t.Sequence > r.OldestSnapshot() || r.HidesIn(t) // K2
}
