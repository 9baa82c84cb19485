package retain

import (
	"bytes"
	"slices"

	"github.com/lightning-db/lightning/engine/internal/rangedel"
	"github.com/lightning-db/lightning/engine/internal/record"
	"github.com/lightning-db/lightning/internal/seededbug"
)

// Rules say what is still needed.
type Rules struct {
	// Snapshots are the sequences of the open snapshots, ascending. The present is another one.
	Snapshots []uint64
	// Version is the lowest version at which reads are answered; MaxVersion keeps the newest only.
	Version uint64
	// NewestOnly tells of which keys only the newest row is kept, whatever Version is; nil for none. Versions of such a key never decrease.
	NewestOnly func(user []byte) bool
	// ExpiryMillis is the time by which expired values are absent.
	ExpiryMillis uint64
	// Hides tells whether a row that a tombstone of this key and version hides may exist, or may
	// still come, outside the rows that the filter sees. It must not forget any.
	Hides func(user []byte, version uint64) bool
	// HidesIn is Hides of the keys that a range tombstone covers.
	HidesIn func(t *rangedel.Tombstone) bool
	// Ranges are the range tombstones that lie among the rows which the filter sees.
	Ranges *rangedel.Set
}

// OldestSnapshot is the sequence of the oldest open snapshot, or MaxSequence.
func (r *Rules) OldestSnapshot() uint64 {
	if len(r.Snapshots) == 0 {
		return record.MaxSequence
	}
	return r.Snapshots[0]
}

// Filter applies rules to rows in the order O1.
type Filter struct {
	rules Rules

	user      []byte // key of the rows before
	horizon   uint64 // of that key
	seen      bool
	version   uint64 // version of the row before
	sameLeast uint64 // least sequence of newer rows of the same version
	lowLeast  uint64 // least sequence of newer rows at or below the horizon
}

// New makes a filter.
func New(rules Rules) *Filter { return &Filter{rules: rules} }

// Keep tells whether a row is needed. It may turn the row into a tombstone.
func (f *Filter) Keep(r *record.Row) bool {
	if !f.seen || !bytes.Equal(f.user, r.User) {
		f.user = append(f.user[:0], r.User...)
		f.seen = true
		f.lowLeast = record.MaxSequence
		f.sameLeast = record.MaxSequence
		f.horizon = f.rules.Version
		if f.rules.NewestOnly != nil && f.rules.NewestOnly(r.User) {
			f.horizon = record.MaxVersion
		}
	} else if r.Version != f.version {
		f.sameLeast = record.MaxSequence
	}
	f.version = r.Version
	low := r.Version <= f.horizon
	hider := f.sameLeast
	if low {
		hider = min(hider, f.lowLeast)
	}
	needed := hider > f.rules.firstReader(r.Sequence) && !f.rules.rangeHides(&r.Key)
	f.sameLeast = min(f.sameLeast, r.Sequence)
	if low {
		f.lowLeast = min(f.lowLeast, r.Sequence)
	}
	if !needed {
		return false
	}
	if r.Kind == record.Put && (r.Expired(f.rules.ExpiryMillis) || seededbug.Enabled(seededbug.EngineExpireEarly) && r.Expired(f.rules.ExpiryMillis+1)) {
		r.Kind, r.Expiry, r.Value, r.Far = record.Delete, 0, nil, record.Far{}
	}
	if r.Kind == record.Delete && low && r.Sequence <= f.rules.OldestSnapshot() {
		return f.rules.Hides(r.User, r.Version) && !seededbug.Enabled(seededbug.EngineDropTombstone) // K2
	}
	return true
}

// firstReader is the sequence of the first reader, of a snapshot or of the present, who sees a row: what hides the row from that one hides it
// from all later ones.
func (r *Rules) firstReader(sequence uint64) uint64 {
	if i, _ := slices.BinarySearch(r.Snapshots, sequence); i < len(r.Snapshots) {
		return r.Snapshots[i]
	}
	return record.MaxSequence - 1 // nothing has the greatest, which stands for no row at all
}
