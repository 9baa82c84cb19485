package engine

import (
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/lightning-db/lightning/internal/vfs"
)

// putMany applies rows k000 up to, and without, a number.
func putMany(t *testing.T, db *DB, count, bytes int) {
	t.Helper()
	for start := 0; start < count; start += 20 {
		apply(t, db, func(b *Batch) {
			for i := start; i < start+20; i++ {
				b.Put(fmt.Appendf(nil, "k%03d", i), noise[i:i+bytes], 0, 0)
			}
		})
	}
}

// keysOf lists the keys that a snapshot sees, by an iterator and, which must be the same, by point reads.
func keysOf(t *testing.T, s *Snapshot, count int) (keys []string) {
	t.Helper()
	it := s.NewIterator(IteratorOptions{})
	for ok := it.First(); ok; ok = it.Next() {
		keys = append(keys, string(it.Row().Key))
	}
	if err := it.Close(); err != nil {
		t.Fatal(err)
	}
	found := 0
	for i := range count {
		_, ok, err := s.Get(fmt.Appendf(nil, "k%03d", i), MaxVersion)
		if err != nil {
			t.Fatal(err)
		}
		if ok {
			found++
		}
	}
	if found != len(keys) {
		t.Fatalf("%d keys are walked over, %d are read", len(keys), found)
	}
	return keys
}

func deleteRange(t *testing.T, db *DB, start, end string) {
	t.Helper()
	apply(t, db, func(b *Batch) { b.DeleteRange([]byte(start), []byte(end), 0) })
}

func settled(t *testing.T, db *DB) {
	t.Helper()
	if err := db.Compact(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// TestADeletedRangeIsAbsentWhereverItsRowsAre has rows and the range tombstone in memory, in one table or in several, in turn.
func TestADeletedRangeIsAbsentWhereverItsRowsAre(t *testing.T) {
	const count = 120
	for _, mode := range []LogMode{LogOff, LogAlways} {
		for flushes := range 4 {
			o := small(vfs.NewMem())
			o.Log, o.CompactCount = mode, 40
			db := mustOpen(t, "db", o)
			putMany(t, db, count, 200)
			if flushes&1 != 0 {
				if err := db.Flush(); err != nil {
					t.Fatal(err)
				}
			}
			before := db.Snapshot()
			deleteRange(t, db, "k040", "k080")
			apply(t, db, func(b *Batch) { b.Put([]byte("k060"), []byte("again"), 0, 0) })
			if flushes&2 != 0 {
				if err := db.Flush(); err != nil {
					t.Fatal(err)
				}
			}
			after := db.Snapshot()
			for range 2 {
				if n := len(keysOf(t, before, count)); n != count {
					t.Fatalf("%d keys before", n)
				}
				if keys := keysOf(t, after, count); len(keys) != count-39 || keys[40] != "k060" || keys[41] != "k080" {
					t.Fatalf("%d keys after, %q", len(keys), keys[39:42])
				}
				settled(t, db)
			}
			before.Close()
			settled(t, db)
			if n := len(keysOf(t, after, count)); n != count-39 {
				t.Fatalf("%d keys when the older snapshot is closed", n)
			}
			after.Close()
			settled(t, db)
			m := db.Metrics()
			for level, l := range m.Levels {
				if l.RangeTombstones != 0 {
					t.Errorf("%d range tombstones stay at level %d", l.RangeTombstones, level)
				}
			}
			if err := db.Verify(t.Context()); err != nil {
				t.Fatal(err)
			}
			mustClose(t, db)
		}
	}
}

// RG2. A snapshot keeps the rows that a range tombstone hides, and it, so that a compaction writes both, in many tables.
func TestARangeTombstoneIsCutWhereTablesAre(t *testing.T) {
	const count = 600
	o := small(vfs.NewMem())
	db := mustOpen(t, "db", o)
	defer func() { mustClose(t, db) }()
	putMany(t, db, count, 1000)
	s := db.Snapshot()
	deleteRange(t, db, "k010", "k590")
	settled(t, db)
	if m := db.Metrics(); m.Tables() < 5 {
		t.Fatalf("%d tables", m.Tables())
	}
	if n := len(keysOf(t, s, count)); n != count {
		t.Fatalf("%d keys before", n)
	}
	now := db.Snapshot()
	if n := len(keysOf(t, now, count)); n != 20 {
		t.Fatalf("%d keys are left", n)
	}
	now.Close()
	s.Close()
	mustClose(t, db)
	db = mustOpen(t, "db", o)
	now = db.Snapshot()
	defer now.Close()
	if n := len(keysOf(t, now, count)); n != 20 {
		t.Fatalf("%d keys are left after opening again", n)
	}
}

// TestTablesThatARangeCoversGoUnread deletes nearly all of a store: what lies below goes without being read.
func TestTablesThatARangeCoversGoUnread(t *testing.T) {
	const count = 600
	o := small(vfs.NewMem())
	db := mustOpen(t, "db", o)
	defer mustClose(t, db)
	putMany(t, db, count, 1000)
	settled(t, db)
	before := db.Metrics()
	s := db.Snapshot()
	deleteRange(t, db, "", "l")
	if err := db.Flush(); err != nil {
		t.Fatal(err)
	}
	if n := len(keysOf(t, s, count)); n != count {
		t.Fatalf("%d keys are kept for the snapshot", n)
	}
	s.Close()
	awaitTables(t, db, 0)
	m := db.Metrics()
	if m.CoveredTables == 0 || m.CompactedBytes-before.CompactedBytes > before.Bytes()/4 {
		t.Fatalf("%d tables dropped unread, %d bytes written for %d", m.CoveredTables, m.CompactedBytes-before.CompactedBytes, before.Bytes())
	}
}

// awaitTables waits until the store has so many tables.
func awaitTables(t *testing.T, db *DB, count int) {
	t.Helper()
	if err := db.await(t.Context(), func() bool { return db.view.Load().set.TableCount() == count }); err != nil {
		t.Fatal(err)
	}
}

// TestARowInTheCacheGoesWithItsRange reads a row until it is in the row cache, and deletes its range. RW1, E10.
func TestARowInTheCacheGoesWithItsRange(t *testing.T) {
	for _, mode := range []LogMode{LogOff, LogAlways, LogInterval, LogNever} {
		o := small(vfs.NewMem())
		o.Log = mode
		db := flushed(t, o)
		wantValue(t, db, "old")
		wantValue(t, db, "old")
		if m := db.Metrics().RowCache; m.Hits == 0 {
			t.Fatalf("%+v", m)
		}
		deleteRange(t, db, "a", "z")
		if _, ok, err := db.Get([]byte("key"), MaxVersion); ok || err != nil {
			t.Fatalf("a row of a deleted range is read: %v, %v", ok, err)
		}
		putOne(t, db, "key", "new", 0)
		wantValue(t, db, "new")
		mustClose(t, db)
	}
}

// TestNoFillOfTheRowCacheOutlivesADeletedRange reads a row from several goroutines, which put it into the row cache, while its range is
// deleted. RW1.
func TestNoFillOfTheRowCacheOutlivesADeletedRange(t *testing.T) {
	o := small(vfs.NewMem())
	o.CompactCount, o.StopCount = 40, 64
	db := mustOpen(t, "db", o)
	defer mustClose(t, db)
	stop := make(chan struct{})
	var readers sync.WaitGroup
	for range 3 {
		readers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if _, _, err := db.Get([]byte("key"), MaxVersion); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	for n := range 60 {
		value := fmt.Sprint(n)
		putOne(t, db, "key", value, 0)
		if err := db.Flush(); err != nil {
			t.Fatal(err)
		}
		for range 20 {
			wantValue(t, db, value)
		}
		deleteRange(t, db, "a", "z")
		for range 20 {
			if row, ok, err := db.Get([]byte("key"), MaxVersion); ok || err != nil {
				t.Fatalf("round %d: %q of a deleted range is read, %v", n, row.Value, err)
			}
		}
	}
	close(stop)
	readers.Wait()
}

// TestARangeTombstoneHasTheTimeOfItsVersion deletes at versions in the middle of others.
func TestARangeTombstoneHasTheTimeOfItsVersion(t *testing.T) {
	o := small(vfs.NewMem())
	o.RetainVersions = true
	db := mustOpen(t, "db", o)
	defer mustClose(t, db)
	putOne(t, db, "key", "ten", 10)
	putOne(t, db, "key", "thirty", 30)
	apply(t, db, func(b *Batch) { b.DeleteRange([]byte("a"), []byte("z"), 20) })
	putOne(t, db, "key", "fifteen", 15) // older than the range tombstone, and applied later
	for range 3 {
		for at, want := range map[Version]string{9: "", 10: "ten", 15: "fifteen", 19: "fifteen", 20: "", 29: "", 30: "thirty", MaxVersion: "thirty"} {
			row, ok, err := db.Get([]byte("key"), at)
			if err != nil || ok != (want != "") || string(row.Value) != want {
				t.Fatalf("at %d: %q, %v, %v, want %q", at, row.Value, ok, err, want)
			}
		}
		settled(t, db)
	}
}

func TestARangeWithoutAKeyIsRefused(t *testing.T) {
	db := mustOpen(t, "db", small(vfs.NewMem()))
	defer mustClose(t, db)
	for _, r := range [][2]string{{"b", "a"}, {"a", "a"}, {"", ""}} {
		b := db.NewBatch()
		b.DeleteRange([]byte(r[0]), []byte(r[1]), 0)
		if err := db.Apply(b); !errors.Is(err, ErrRange) {
			t.Errorf("%q: %v", r, err)
		}
		tx := mustBegin(t, db, TxOptions{})
		if err := tx.DeleteRange([]byte(r[0]), []byte(r[1])); !errors.Is(err, ErrRange) {
			t.Errorf("%q in a transaction: %v", r, err)
		}
		tx.Rollback()
	}
	b := db.NewBatch()
	b.DeleteRange(nil, make([]byte, MaxKeyBytes+1), 0)
	if err := db.Apply(b); !errors.Is(err, ErrTooLarge) {
		t.Error(err)
	}
}

func TestARangeOfAFamilyEndsWithIt(t *testing.T) {
	o := small(vfs.NewMem())
	o.Families = true
	db := mustOpen(t, "db", o)
	defer mustClose(t, db)
	a, b, c := mustCreate(t, db, "a"), mustCreate(t, db, "b"), mustCreate(t, db, "c")
	apply(t, db, func(batch *Batch) {
		for _, f := range []*Family{a, b, c} {
			batch.In(f).Put([]byte("k"), []byte("v"), 0)
			batch.In(f).Put([]byte{0xff, 0xff}, []byte("v"), 0)
		}
	})
	apply(t, db, func(batch *Batch) { batch.In(b).DeleteRange(nil, nil) })
	for f, want := range map[*Family]bool{a: true, b: false, c: true} {
		for _, key := range [][]byte{[]byte("k"), {0xff, 0xff}} {
			if _, ok, err := f.Get(key); ok != want || err != nil {
				t.Errorf("family %s: %v, %v", f.Name(), ok, err)
			}
		}
	}
	if err := db.DropFamily("b"); err != nil {
		t.Fatal(err)
	}
	batch := db.NewBatch()
	batch.In(b).DeleteRange(nil, nil)
	if err := db.Apply(batch); !errors.Is(err, ErrNoFamily) {
		t.Error(err)
	}
	batch = db.NewBatch()
	batch.DeleteRange([]byte("a"), []byte("b"), 0)
	if err := db.Apply(batch); !errors.Is(err, ErrFamilies) {
		t.Error(err)
	}
}
