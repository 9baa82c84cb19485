package retain

import (
	"bytes"

	"github.com/lightning-db/lightning/engine/internal/rangedel"
	"github.com/lightning-db/lightning/engine/internal/record"
)

// hiderOf is the least sequence of the range tombstones that hide a row of a key from whoever sees them, as newer rows of the key do:
// those of the row's own version, and if they and the row are at or below the horizon all later ones.
func (r *Rules) hiderOf(user []byte, version, sequence uint64) uint64 {
	least := uint64(record.MaxSequence)
	r.Ranges.Covering(user, func(t *rangedel.Tombstone) bool {
		if r.hides(t, version, sequence) {
			least = min(least, t.Sequence)
		}
		return true
	})
	return least
}

func (r *Rules) hides(t *rangedel.Tombstone, version, sequence uint64) bool {
	return t.Hides(version, sequence) && (t.Version <= r.Version || t.Version == version)
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
	hider := uint64(record.MaxSequence)
	all.Covering(t.Start, func(newer *rangedel.Tombstone) bool {
		if bytes.Compare(newer.End, t.End) >= 0 && r.hides(newer, t.Version, t.Sequence) {
			hider = min(hider, newer.Sequence)
		}
		return true
	})
	if !r.neededBelow(t.Sequence, hider) {
		return false
	}
	return t.Version > r.Version || t.Sequence > r.OldestSnapshot() || r.HidesIn(t) // K2
}
