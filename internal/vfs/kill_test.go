package vfs

import (
	"testing"

	"github.com/lightning-db/lightning/internal/testkit"
)

// TestACrashAfterAKillTakesWhatACrashInItsPlaceTakes compares the crashes of a disk and of its kill clone, which nothing
// that happens to the disk later may change (D4).
func TestACrashAfterAKillTakesWhatACrashInItsPlaceTakes(t *testing.T) {
	seed := testkit.Seed(t)
	for n := range int64(300) {
		r := testkit.NewRand(seed + n)
		m := NewMem()
		put(t, m, "place", "in place")
		place := must(m.Update("place"))(t)
		work := func() {
			for range 40 {
				randomCall(m, ".", r)
				if r.IntN(4) == 0 {
					_, err := place.WriteAt([]byte{'x'}, r.Int64N(600))
					ok(t, err)
				}
				if r.IntN(8) == 0 {
					ok(t, place.SyncData())
				}
			}
		}
		crashes := func(m *Mem) string {
			all := dump(t, m)
			for _, keep := range []Keep{KeepNone, KeepRandom, KeepAll} {
				all += "\n" + dump(t, m.CrashClone(CrashOptions{KeepUnsynced: keep, Rand: testkit.NewRand(n)}))
			}
			return all
		}
		work()
		want, clone := crashes(m), m.KillClone()
		if got := crashes(clone); got != want {
			t.Fatalf("seed %d: after a kill\n%s\nwant\n%s", seed+n, got, want)
		}
		work()
		if got := crashes(clone); got != want {
			t.Fatalf("seed %d: a kill clone changed to\n%s\nfrom\n%s", seed+n, got, want)
		}
	}
}
