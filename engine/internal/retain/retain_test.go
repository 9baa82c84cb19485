package retain

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/lightning-db/lightning/engine/internal/record"
)

// visible is the definition in doc.go: what a reader of a snapshot sees at a version.
func visible(rows []record.Row, sequence, version, expired uint64) *record.Row {
	for i := range rows {
		r := &rows[i]
		if r.Sequence <= sequence && r.Version <= version {
			if r.Kind == record.Delete || r.Expired(expired) {
				return nil
			}
			return r
		}
	}
	return nil
}

// TestNoReaderSeesADifference checks K1 on random rows of one key, against every snapshot and
// every version at or above the horizon.
func TestNoReaderSeesADifference(t *testing.T) {
	for seed := range uint64(3000) {
		random := rand.New(rand.NewPCG(seed, 1))
		var rows []record.Row
		for i := range 1 + random.IntN(12) {
			r := record.Row{Key: record.Key{User: []byte("k"), Version: 1 + random.Uint64N(8), Sequence: uint64(i + 1)}}
			if random.IntN(3) > 0 {
				r.Kind, r.Expiry = record.Put, uint64(max(0, random.IntN(20)-10))
			}
			rows = append(rows, r)
		}
		slices.SortFunc(rows, func(a, b record.Row) int { return record.Compare(a.Key, b.Key) })
		rules := Rules{Version: random.Uint64N(10), ExpiryMillis: random.Uint64N(10)}
		if random.IntN(3) == 0 {
			rules.Version = record.MaxVersion
		}
		for s := range uint64(13) {
			if random.IntN(5) == 0 {
				rules.Snapshots = append(rules.Snapshots, s)
			}
		}
		below := random.IntN(2) == 0
		rules.Hides = func([]byte, uint64) bool { return below }
		checkFilter(t, seed, rules, rows, below)
	}
}

func checkFilter(t *testing.T, seed uint64, rules Rules, rows []record.Row, below bool) {
	t.Helper()
	var kept []record.Row
	f := New(rules)
	for _, r := range rows {
		if f.Keep(&r) {
			kept = append(kept, r)
		}
	}
	what := fmt.Sprintf("seed %d, rules %+v", seed, rules)
	versions := []uint64{record.MaxVersion}
	for v := rules.Version; v < 10; v++ {
		versions = append(versions, v)
	}
	for _, s := range append(slices.Clone(rules.Snapshots), record.MaxSequence) {
		for _, v := range versions {
			want, got := visible(rows, s, v, rules.ExpiryMillis), visible(kept, s, v, rules.ExpiryMillis)
			if (want == nil) != (got == nil) || want != nil && want.Sequence != got.Sequence {
				t.Fatalf("%s: snapshot %d at %d sees %v, before %v", what, s, v, got, want)
			}
		}
	}
	if len(rules.Snapshots) > 0 || rules.Version != record.MaxVersion {
		return
	}
	// Nothing but the newest row is needed, and a tombstone only above something.
	if len(kept) > 1 || len(kept) == 1 && kept[0].Kind == record.Delete && !below {
		t.Fatalf("%s: keeps %v", what, kept)
	}
}
