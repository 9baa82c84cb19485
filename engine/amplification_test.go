package engine

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/lightning-db/lightning/internal/testkit"
	"github.com/lightning-db/lightning/internal/vfs"
)

// load is rows as a shard writes them: batches of some commands and one row of the shard's own, versions
// that are time, and a horizon some seconds behind.
type load struct {
	options   Options
	keys      int
	ascending bool
	rows      int
	perSecond int
}

// run writes all of it, and after each flush waits until nothing is due: the writers are slower
// than the disk. It closes the store, as after a benchmark, and tells what was written.
func (l load) run(t testing.TB) Metrics {
	t.Helper()
	const perBatch, second = 32, 1000 << 16
	db := mustOpen(t, "db", l.options)
	random := rand.New(rand.NewPCG(1, 1))
	noise := rand.NewChaCha8([32]byte{})
	b, value, own := db.NewBatch(), make([]byte, 200), make([]byte, 60)
	version, flushes := Version(100*second), uint64(0)
	for i := 0; i < l.rows; {
		for range perBatch {
			n := i
			if !l.ascending {
				n = random.IntN(l.keys)
			}
			version += Version(second / l.perSecond)
			noise.Read(value)
			b.Put(fmt.Appendf(nil, "user%012d", n), value, version, 0)
			i++
		}
		if !l.ascending {
			b.Put([]byte("own"), own, version, 0)
		}
		b.SetHorizon(Horizon{Version: version - 10*second})
		if err := db.Apply(b); err != nil {
			t.Fatal(err)
		}
		if now := db.counts.flushes.Load(); now != flushes || len(db.view.Load().sealed) > 0 {
			testkit.Eventually(t, settleLimit, func() bool {
				v := db.acquire()
				defer v.unref()
				return len(v.sealed) == 0 && v.set.Pick(db.targets(), db.droppable()) == nil
			}, "compactions do not end")
			flushes = db.counts.flushes.Load()
		}
	}
	mustClose(t, db)
	return db.Metrics()
}

// TestRowsAreSeldomRewritten counts bytes: nothing in it depends on speed.
func TestRowsAreSeldomRewritten(t *testing.T) {
	base := Options{MemtableBytes: 256 << 10, TableBytes: 256 << 10, LevelBytes: 1 << 20, BlockBytes: 1 << 10, RetainVersions: true}
	for _, c := range []struct {
		name string
		load load
		most float64 // bytes of compactions over bytes of flushes
	}{
		{"ascending keys", load{ascending: true, rows: 30_000, perSecond: 500}, 0},
		{"new keys until level 0 is full", load{keys: 1 << 30, rows: 7_000, perSecond: 100}, 0},
		{"new keys for long", load{keys: 1 << 30, rows: 24_000, perSecond: 100}, 1.2},
		{"few keys, all of the time within the horizon", load{keys: 500, rows: 24_000, perSecond: 100}, 0.3},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.load.options = base
			c.load.options.FS = vfs.NewMem()
			m := c.load.run(t)
			if part := float64(m.CompactedBytes) / float64(m.FlushedBytes); part > c.most || m.Flushes < 7 {
				t.Errorf("%d flushes wrote %d bytes, compactions %d: %.2f, limit %.2f", m.Flushes, m.FlushedBytes, m.CompactedBytes, part, c.most)
			} else {
				t.Logf("%d flushes, %d compactions, %.2f", m.Flushes, m.Compactions, part)
			}
		})
	}
}
