package engine

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/lightning-db/lightning/internal/clock"
	"github.com/lightning-db/lightning/internal/testkit"
	"github.com/lightning-db/lightning/internal/vfs"
)

// TestManyKeysThatExpireTogetherAreGoneInTimeAndLeaveTheDisk puts keys that expire within a minute beside some that do not. As the minute goes by, each is
// read to its last millisecond and not in the next one, by key and by walks, and when it is over their space is given back while the store
// is only read.
func TestManyKeysThatExpireTogetherAreGoneInTimeAndLeaveTheDisk(t *testing.T) {
	const (
		began, minute = 1_000_000, 60_000 // milliseconds
		perBatch      = 500
		lastingEvery  = 100
	)
	seed := uint64(testkit.Seed(t))
	random := rand.New(rand.NewPCG(seed, 8))
	now := clock.NewManual(time.UnixMilli(began))
	o := small(vfs.NewMem())
	o.Clock, o.MemtableBytes, o.TableBytes, o.LevelBytes = now, 1<<20, 1<<20, 4<<20
	db := mustOpen(t, "db", o)
	expiries := make([]uint32, *expiringKeys) // after the beginning; zero for never
	for i := 0; i < len(expiries); i += perBatch {
		apply(t, db, func(b *Batch) {
			for j := i; j < min(i+perBatch, len(expiries)); j++ {
				expiry := uint64(0)
				if j%lastingEvery != 0 {
					expiries[j] = 1 + uint32(random.IntN(minute))
					expiry = began + uint64(expiries[j])
				}
				b.Put(expiringKey(j), expiringKey(j), 0, expiry)
			}
		})
	}
	if err := db.Flush(); err != nil {
		t.Fatal(err)
	}
	for at := uint32(0); at <= minute; at += minute / 20 {
		now.Advance(time.Duration(began+uint64(at)-clock.Millis(now)) * time.Millisecond)
		checkExpiring(t, db, random, expiries, at)
	}
	lasting := (len(expiries) + lastingEvery - 1) / lastingEvery
	testkit.Eventually(t, time.Minute, func() bool {
		db.wakeCompaction() // as a store at rest does each minute
		return rowsOf(tablesIn(db)) < uint64(2*lasting)
	}, "seed %d: expired rows stay on the disk", seed)
	checkExpiring(t, db, random, expiries, minute)
	if err := db.Verify(t.Context()); err != nil {
		t.Fatal(err)
	}
	mustClose(t, db)
	t.Logf("engine: of %d keys that expire within a minute each was there in time and none too long, %d stay, seed %d", len(expiries), lasting, seed)
}

func expiringKey(i int) []byte { return fmt.Appendf(nil, "key/%08d", i) }

// checkExpiring reads some keys and walks over a part of them, at a time.
func checkExpiring(t *testing.T, db *DB, random *rand.Rand, expiries []uint32, at uint32) {
	t.Helper()
	lives := func(i int) bool { return expiries[i] == 0 || expiries[i] > at }
	for range 500 {
		i := random.IntN(len(expiries))
		row, ok, err := db.Get(expiringKey(i), MaxVersion)
		if err != nil || ok != lives(i) || ok && string(row.Value) != string(expiringKey(i)) {
			t.Fatalf("key %d, which expires at %d, is read at %d: %v %v", i, expiries[i], at, ok, err)
		}
	}
	s := db.Snapshot()
	defer s.Close()
	i := random.IntN(len(expiries))
	end := min(i+5000, len(expiries))
	it := s.NewIterator(IteratorOptions{Start: expiringKey(i), End: expiringKey(end)})
	for ok := it.First(); ok; ok = it.Next() {
		for ; i < end && !lives(i); i++ {
		}
		if i == end || string(it.Row().Key) != string(expiringKey(i)) {
			t.Fatalf("a walk at %d is at %s, want %d", at, it.Row().Key, i)
		}
		i++
	}
	for ; i < end && !lives(i); i++ {
	}
	if err := it.Close(); err != nil || i != end {
		t.Fatalf("a walk at %d ends before %d: %v", at, i, err)
	}
}
