package retain

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/lightning-db/lightning/engine/internal/rangedel"
	"github.com/lightning-db/lightning/engine/internal/record"
	"github.com/lightning-db/lightning/internal/testkit"
)

// place is rows of some keys in the order O1, and range tombstones.
type place struct {
	rows   []record.Row
	ranges []rangedel.Tombstone
}

// visibleIn is visible where range tombstones count as rows of each key that they cover.
func visibleIn(places []place, user []byte, sequence, version, expired uint64) *record.Row {
	var of []record.Row
	for _, p := range places {
		for _, r := range p.rows {
			if bytes.Equal(r.User, user) {
				of = append(of, r)
			}
		}
		for _, g := range p.ranges {
			if g.Covers(user) {
				of = append(of, record.Row{Key: record.Key{User: user, Version: g.Version, Sequence: g.Sequence}})
			}
		}
	}
	slices.SortFunc(of, func(a, b record.Row) int { return record.Compare(a.Key, b.Key) })
	return visible(of, sequence, version, expired)
}

// TestNoReaderSeesADifferenceThroughRangeTombstones checks K1 and K2 on random rows and range tombstones of six keys, above older rows
// that the filter does not see, against every snapshot and every version at or above the horizon.
func TestNoReaderSeesADifferenceThroughRangeTombstones(t *testing.T) {
	seed := uint64(testkit.Seed(t))
	for sub := range uint64(800) {
		random := rand.New(rand.NewPCG(seed+sub, 2))
		ordered := random.IntN(2) == 0
		var below, seen place
		sequence := uint64(0)
		version := func() uint64 {
			sequence++
			if ordered {
				return 1 + sequence/3
			}
			return 1 + random.Uint64N(8)
		}
		for n := range 20 {
			at := &below
			if n >= 5 {
				at = &seen
			}
			user := []byte{byte('a' + random.IntN(6))}
			if v := version(); random.IntN(3) > 0 {
				r := record.Row{Key: record.Key{User: user, Version: v, Sequence: sequence}}
				if random.IntN(3) > 0 {
					r.Kind, r.Expiry = record.Put, uint64(max(0, random.IntN(20)-10))
				}
				at.rows = append(at.rows, r)
			} else {
				end := []byte{user[0] + byte(1+random.IntN(4))}
				at.ranges = append(at.ranges, rangedel.Tombstone{Start: user, End: end, Version: v, Sequence: sequence})
			}
		}
		slices.SortFunc(seen.rows, func(a, b record.Row) int { return record.Compare(a.Key, b.Key) })
		rules := Rules{Version: random.Uint64N(10), ExpiryMillis: random.Uint64N(10), Ranges: rangedel.NewSet(slices.Clone(seen.ranges))}
		if random.IntN(3) == 0 {
			rules.Version = record.MaxVersion
		}
		for s := range sequence + 1 {
			if random.IntN(8) == 0 {
				rules.Snapshots = append(rules.Snapshots, s)
			}
		}
		rules.HidesIn = func(g *rangedel.Tombstone) bool {
			return slices.ContainsFunc(below.rows, func(r record.Row) bool { return g.Covers(r.User) })
		}
		rules.Hides = func(user []byte, _ uint64) bool {
			return slices.ContainsFunc(below.rows, func(r record.Row) bool { return bytes.Equal(r.User, user) })
		}
		checkPlaces(t, fmt.Sprintf("seed %d, snapshots %d, horizon %d", seed+sub, rules.Snapshots, rules.Version), rules, seen, below)
	}
}

func checkPlaces(t *testing.T, what string, rules Rules, seen, below place) {
	t.Helper()
	kept := place{ranges: rules.KeepRanges()}
	f := New(rules)
	for _, r := range seen.rows {
		if f.Keep(&r) {
			kept.rows = append(kept.rows, r)
		}
	}
	versions := []uint64{record.MaxVersion}
	for v := rules.Version; v < 10; v++ {
		versions = append(versions, v)
	}
	before, after := []place{seen, below}, []place{kept, below}
	for _, s := range append(slices.Clone(rules.Snapshots), record.MaxSequence-1) {
		for _, v := range versions {
			for user := byte('a'); user < 'g'; user++ {
				want, got := visibleIn(before, []byte{user}, s, v, rules.ExpiryMillis), visibleIn(after, []byte{user}, s, v, rules.ExpiryMillis)
				if (want == nil) != (got == nil) || want != nil && want.Sequence != got.Sequence {
					t.Fatalf("%s: %c, snapshot %d at %d sees %v, before %v\nseen %v\nkept %v\nbelow %v", what, user, s, v, got, want, seen, kept, below)
				}
			}
		}
	}
}
