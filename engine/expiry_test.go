package engine

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lightning-db/lightning/engine/internal/levels"
	"github.com/lightning-db/lightning/internal/clock"
	"github.com/lightning-db/lightning/internal/testkit"
	"github.com/lightning-db/lightning/internal/vfs"
)

// expiring is a model of a store with a clock: each key's last value and its expiry.
type expiring struct {
	t      *testing.T
	what   string
	random *rand.Rand
	clock  *clock.Manual
	disk   *vfs.Mem
	o      Options
	db     *DB
	rows   map[string]Row
	latest uint64 // the latest time that the store was asked at
	shown  uint64 // the latest time that the clock has shown
}

// now uses the store, and gives the time that it must have.
func (e *expiring) now() uint64 {
	e.shown = max(e.shown, clock.Millis(e.clock))
	got, err := e.db.ExpiresIn(0)
	if e.must(err); got < max(e.latest, clock.Millis(e.clock)) || got > e.shown { // a compaction uses the clock, too
		e.t.Fatalf("%s: the store's time is %d, was %d", e.what, got, e.latest)
	}
	e.latest = got
	return got
}

func (e *expiring) must(err error) {
	e.t.Helper()
	if err != nil {
		e.t.Fatalf("%s: %v", e.what, err)
	}
}

// TestExpiredRowsAreGoneAtOnceAndForGood runs random histories with a clock that also goes back: every read, of whatever kind, shows
// exactly the rows whose expiry is after the latest time at which the store was used, also after the store was closed or has crashed.
func TestExpiredRowsAreGoneAtOnceAndForGood(t *testing.T) {
	seed := uint64(testkit.Seed(t))
	for sub := range uint64(30) {
		e := &expiring{
			t: t, what: fmt.Sprintf("seed %d", seed+sub), random: rand.New(rand.NewPCG(seed+sub, 3)),
			clock: clock.NewManual(time.UnixMilli(1_000_000)), disk: vfs.NewMem(), rows: map[string]Row{},
		}
		sets := optionSets()
		e.o = sets[e.random.IntN(len(sets))].Options
		e.o.FS, e.o.Clock, e.o.RetainVersions = e.disk, e.clock, e.random.IntN(2) == 0
		e.db = mustOpen(t, "db", e.o)
		for range 250 {
			e.step()
		}
		e.check()
		e.must(e.db.Verify(t.Context()))
		mustClose(t, e.db)
	}
}

func (e *expiring) step() {
	key := fmt.Sprintf("k%02d", e.random.IntN(30))
	switch n := e.random.IntN(30); {
	case n < 10:
		e.put(key)
	case n < 12:
		apply(e.t, e.db, func(b *Batch) { b.Delete([]byte(key), 0) })
		delete(e.rows, key)
		e.now()
	case n < 20:
		e.clock.Advance(time.Duration(e.random.IntN(400)) * time.Millisecond)
	case n == 20:
		e.shown = max(e.shown, clock.Millis(e.clock))
		e.clock.Advance(-time.Duration(e.random.IntN(4000)) * time.Millisecond)
	case n == 21:
		e.must(e.db.Flush())
	case n == 22:
		e.must(e.db.Compact(e.t.Context()))
	case n == 23:
		e.reopen()
	default:
		e.check()
	}
}

func (e *expiring) put(key string) {
	row := Row{Key: []byte(key), Value: fmt.Append(nil, e.random.Uint64())}
	ttl := time.Duration(e.random.IntN(1500)) * time.Millisecond
	if e.random.IntN(4) > 0 {
		row.ExpiryMillis = e.now() + uint64(ttl.Milliseconds())
	}
	switch {
	case row.ExpiryMillis == 0 || e.random.IntN(2) == 0:
		apply(e.t, e.db, func(b *Batch) { b.Put(row.Key, row.Value, 0, row.ExpiryMillis) })
		e.now()
	default:
		e.must(e.db.Update(e.t.Context(), TxOptions{}, func(tx *Tx) error {
			err := tx.PutTTL(row.Key, row.Value, ttl)
			if _, ok, _ := tx.Get(row.Key); ok != (ttl > 0) {
				err = errors.Join(err, fmt.Errorf("%s: own write with %v to live is there: %v", e.what, ttl, ok))
			}
			return err
		}))
	}
	e.rows[key] = row
}

// reopen closes the store or lets its machine crash. What was told by a batch or by Close stays expired.
func (e *expiring) reopen() {
	if e.o.Log == LogAlways && e.random.IntN(2) == 0 {
		apply(e.t, e.db, func(b *Batch) { b.Put([]byte("~"), nil, 0, 1) })
		e.now()
		left := e.disk.CrashClone(vfs.CrashOptions{})
		mustClose(e.t, e.db)
		e.disk, e.o.FS = left, left
	} else {
		mustClose(e.t, e.db)
	}
	e.shown = max(e.shown, clock.Millis(e.clock))
	e.clock.Advance(-time.Duration(e.random.IntN(1000)) * time.Millisecond)
	e.db = mustOpen(e.t, "db", e.o)
}

func (e *expiring) check() {
	var want []Row
	now := e.now()
	for _, key := range slices.Sorted(maps.Keys(e.rows)) {
		row := e.rows[key]
		there := row.ExpiryMillis == 0 || row.ExpiryMillis > now
		if got, ok, err := e.db.Get(row.Key, MaxVersion); err != nil || ok != there || string(got.Value) != string(row.Value) && ok {
			e.t.Fatalf("%s: at %d, %s, which expires at %d, is there: %v %v", e.what, now, key, row.ExpiryMillis, ok, err)
		}
		if there {
			want = append(want, row)
		}
	}
	tx := mustBegin(e.t, e.db, TxOptions{Isolation: Isolation(e.random.IntN(2))})
	defer tx.Rollback()
	s := e.db.Snapshot()
	defer s.Close()
	for _, it := range []mover{s.NewIterator(IteratorOptions{}), tx.NewIterator(IteratorOptions{})} {
		i := 0
		for ok := it.First(); ok; ok = it.Next() {
			if i >= len(want) || string(it.Row().Key) != string(want[i].Key) {
				e.t.Fatalf("%s: at %d the walk shows %s", e.what, now, it.Row().Key)
			}
			i++
		}
		for ok := it.Last(); ok; ok = it.Prev() {
			if i--; i < 0 || string(it.Row().Value) != string(want[i].Value) {
				e.t.Fatalf("%s: at %d the walk back shows %s", e.what, now, it.Row().Key)
			}
		}
		if err := it.Close(); err != nil || i != 0 {
			e.t.Fatalf("%s: %d rows left, %v", e.what, i, err)
		}
	}
}

// mover is what both kinds of iterators do.
type mover interface {
	First() bool
	Last() bool
	Next() bool
	Prev() bool
	Row() Row
	Close() error
}

// TestAStoreAtRestGivesTheSpaceOfExpiredRowsBack lets everything expire and writes nothing more.
func TestAStoreAtRestGivesTheSpaceOfExpiredRowsBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := small(vfs.NewMem())
		o.Clock = clock.Real{} // the test's
		db := mustOpen(t, "db", o)
		for i := range 2000 {
			expiry, err := db.ExpiresIn(30 * time.Second)
			if err != nil {
				t.Fatal(err)
			}
			apply(t, db, func(b *Batch) { b.Put(fmt.Appendf(nil, "key%06d", i*7919%2000), make([]byte, 100), 0, expiry) })
		}
		if err := db.Flush(); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if n := rowsOf(tablesIn(db)); n != 2000 {
			t.Fatalf("%d rows are on the disk before they expire", n)
		}
		<-time.After(2 * expiryPeriod) // of the test's clock
		synctest.Wait()
		if n := rowsOf(tablesIn(db)); n > 500 {
			t.Fatalf("%d of 2,000 expired rows are still on the disk", n)
		}
		mustClose(t, db)
	})
}

func TestATimeToLiveNeedsAClock(t *testing.T) {
	db := mustOpen(t, "db", Options{FS: vfs.NewMem()})
	if _, err := db.ExpiresIn(time.Second); !errors.Is(err, ErrNoClock) {
		t.Fatal(err)
	}
	apply(t, db, func(b *Batch) { b.Put([]byte("k"), []byte("v"), 0, 1) })
	expectValue(t, db, "k", "v") // the caller judges
	mustClose(t, db)
}

func tablesIn(db *DB) (all []*levels.Table) {
	v := db.acquire()
	defer v.unref()
	for _, tables := range v.set.Levels {
		all = append(all, tables...)
	}
	return all
}
