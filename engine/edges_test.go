package engine

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"

	"github.com/lightning-db/lightning/internal/vfs"
)

func TestLargeValuesSurviveFlushAndCompaction(t *testing.T) {
	fs := vfs.NewMem()
	db := mustOpen(t, "db", Options{FS: fs, MemtableBytes: 1 << 20, TableBytes: 1 << 20})
	random := rand.New(rand.NewPCG(1, 1))
	values := map[string][]byte{}
	for _, key := range []string{"a", "b", "c", "d", "e"} {
		value := make([]byte, 8<<20)
		for i := range value {
			value[i] = byte(random.Uint32())
		}
		values[key] = value
		apply(t, db, func(b *Batch) {
			b.Put([]byte(key), value, 0, 0)
			b.Put([]byte(key+"/small"), []byte(key), 0, 0)
		})
	}
	check := func() {
		t.Helper()
		for key, value := range values {
			if row, ok, err := db.Get([]byte(key), MaxVersion); !ok || err != nil || !bytes.Equal(row.Value, value) {
				t.Fatalf("large value of %s differs: %v %v", key, ok, err)
			}
			expectValue(t, db, key+"/small", key)
		}
	}
	check()
	if err := db.Compact(t.Context()); err != nil {
		t.Fatal(err)
	}
	check()
	mustClose(t, db)
	db = mustOpen(t, "db", Options{FS: fs})
	check()
	mustClose(t, db)
}

func TestBatchKeepsNothingOfTheCallersBytesAndCanBeUsedAgain(t *testing.T) {
	db := mustOpen(t, "db", small(vfs.NewMem()))
	b := db.NewBatch()
	key, value := []byte("key"), []byte("value")
	for i := range 3 {
		b.Put(key, value, 0, 0)
		if b.Len() != 1 || b.Bytes() < 8 {
			t.Fatalf("%d rows, %d bytes", b.Len(), b.Bytes())
		}
		key[0], value[0] = 'x', 'x'
		if err := db.Apply(b); err != nil {
			t.Fatal(err)
		}
		key[0], value[0] = 'k', 'v'
		if b.Len() != 0 || db.LastVersion() != Version(i+1) {
			t.Fatalf("after Apply: %d rows, version %d", b.Len(), db.LastVersion())
		}
	}
	expectValue(t, db, "key", "value")
	expectAbsent(t, db, "xey")
	mustClose(t, db)
}

func TestCallersMistakesAreRefusedAndChangeNothing(t *testing.T) {
	db := mustOpen(t, "db", small(vfs.NewMem()))
	apply(t, db, func(b *Batch) { b.Put([]byte("k"), []byte("v"), 10, 0) })
	for name, c := range map[string]struct {
		fill func(b *Batch)
		want error
	}{
		"empty key":    {func(b *Batch) { b.Put(nil, []byte("v"), 0, 0) }, ErrTooLarge},
		"long key":     {func(b *Batch) { b.Delete(make([]byte, MaxKeyBytes+1), 0) }, ErrTooLarge},
		"long value":   {func(b *Batch) { b.Put([]byte("k"), make([]byte, MaxValueBytes+1), 0, 0) }, ErrTooLarge},
		"old version":  {func(b *Batch) { b.Put([]byte("k"), nil, 11, 0); b.Put([]byte("k"), nil, 9, 0) }, ErrVersion},
		"last version": {func(b *Batch) { b.Put([]byte("k"), nil, MaxVersion, 0) }, ErrVersion},
	} {
		b := db.NewBatch()
		c.fill(b)
		rows := b.Len()
		if err := db.Apply(b); !errors.Is(err, c.want) || b.Len() != rows {
			t.Fatalf("%s: %v, %d rows", name, err, b.Len())
		}
		expectValue(t, db, "k", "v")
	}
	if _, _, err := db.Get([]byte("k"), 9); !errors.Is(err, ErrSnapshotTooOld) {
		t.Fatalf("read of a version that is not kept: %v", err)
	}
	if _, err := Open("db2", Options{MemtableBytes: 1}); err == nil {
		t.Fatal("a memtable of one byte was accepted")
	}
	mustClose(t, db)
}

func TestVersionsAreReadAtTheirTimeDownToTheHorizon(t *testing.T) {
	o := small(vfs.NewMem())
	o.RetainVersions = true
	db := mustOpen(t, "db", o)
	for v := Version(10); v <= 50; v += 10 {
		apply(t, db, func(b *Batch) { b.Put([]byte("k"), []byte{byte(v)}, v, 0) })
	}
	apply(t, db, func(b *Batch) { b.Put([]byte("k"), []byte("again"), 30, 0) })
	apply(t, db, func(b *Batch) { b.SetHorizon(Horizon{Version: 25}) })
	for _, where := range []string{"in memory", "in a table"} {
		for at, want := range map[Version]string{25: "\x14", 29: "\x14", 30: "again", 49: "(", 50: "2", MaxVersion: "2"} {
			row, ok, err := db.Get([]byte("k"), at)
			if err != nil || !ok || string(row.Value) != want {
				t.Fatalf("%s, at %d: %q %v %v", where, at, row.Value, ok, err)
			}
		}
		if err := db.Compact(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if _, _, err := db.Get([]byte("k"), 24); !errors.Is(err, ErrSnapshotTooOld) {
		t.Fatalf("below the horizon: %v", err)
	}
	if err := db.Apply(func() *Batch { b := db.NewBatch(); b.Delete([]byte("k"), 24); return b }()); !errors.Is(err, ErrVersion) {
		t.Fatalf("a write below the horizon: %v", err)
	}
	if rows := db.Metrics().Levels[1].Rows; rows != 4 {
		t.Fatalf("%d rows are kept, want 50, 40, 30 again, 20", rows)
	}
	mustClose(t, db)
}

// TestStoreThatForgotVersionsSaysSoWhenItMayRetainThem opens a store without, then with RetainVersions.
func TestStoreThatForgotVersionsSaysSoWhenItMayRetainThem(t *testing.T) {
	o := small(vfs.NewMem())
	db := mustOpen(t, "db", o)
	for range 5 {
		apply(t, db, func(b *Batch) { b.Put([]byte("k"), []byte("v"), 0, 0) })
	}
	mustClose(t, db)
	o.RetainVersions = true
	db = mustOpen(t, "db", o)
	apply(t, db, func(b *Batch) { b.Put([]byte("k"), []byte("w"), 0, 0) })
	if _, _, err := db.Get([]byte("k"), 4); !errors.Is(err, ErrSnapshotTooOld) {
		t.Fatalf("read of a forgotten version: %v", err)
	}
	if row, ok, err := db.Get([]byte("k"), 5); !ok || err != nil || string(row.Value) != "v" {
		t.Fatalf("read of a kept version: %v %v", ok, err)
	}
	mustClose(t, db)
}

// TestADeletedKeyStaysDeletedWhenVersionsAreNotRetainedAnyMore has a tombstone far down that hides a row written after it with a
// lower version: it stays until that row is gone, whatever the options are by then.
func TestADeletedKeyStaysDeletedWhenVersionsAreNotRetainedAnyMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := small(vfs.NewMem())
		o.RetainVersions = true
		db := mustOpen(t, "db", o)
		apply(t, db, func(b *Batch) { b.Put([]byte("k"), []byte("ten"), 10, 0) })
		apply(t, db, func(b *Batch) { b.Delete([]byte("k"), 20) })
		if err := db.Compact(t.Context()); err != nil {
			t.Fatal(err)
		}
		apply(t, db, func(b *Batch) { b.Put([]byte("k"), []byte("fifteen"), 15, 0) })
		mustClose(t, db)
		o.RetainVersions = false
		db = mustOpen(t, "db", o)
		defer mustClose(t, db)
		synctest.Wait() // for the compactions that are due
		expectAbsent(t, db, "k")
		if err := db.Compact(t.Context()); err != nil {
			t.Fatal(err)
		}
		expectAbsent(t, db, "k")
		if n := rowsOf(tablesIn(db)); n != 0 {
			t.Fatalf("%d rows of a deleted key are left", n)
		}
	})
}

func TestEverythingAfterCloseIsRefused(t *testing.T) {
	fs := vfs.NewMem()
	db := mustOpen(t, "db", small(fs))
	apply(t, db, func(b *Batch) { b.Put([]byte("k"), []byte("v"), 0, 0) })
	if _, err := Open("db", small(fs)); !errors.Is(err, vfs.ErrLocked) {
		t.Fatalf("a second Open: %v", err)
	}
	s := db.Snapshot()
	it := s.NewIterator(IteratorOptions{})
	mustClose(t, db)
	if !it.First() || string(it.Row().Value) != "v" || it.Close() != nil {
		t.Fatal("an open iterator does not read on")
	}
	if it.First() || !errors.Is(it.Err(), ErrClosed) {
		t.Fatal("a closed iterator moves")
	}
	_, _, getErr := db.Get([]byte("k"), MaxVersion)
	_, _, snapErr := s.Get([]byte("k"), MaxVersion)
	_, copyErr := db.Checkpoint("copy")
	for i, err := range []error{
		getErr, snapErr, copyErr, db.Apply(db.NewBatch()), db.Flush(), db.Compact(t.Context()),
		db.Verify(t.Context()), db.Close(), s.NewIterator(IteratorOptions{}).Err(),
	} {
		if !errors.Is(err, ErrClosed) {
			t.Fatalf("call %d: %v", i, err)
		}
	}
	s.Close()
	db.Metrics()
}

func TestCheckpointRefusesADirectoryThatExists(t *testing.T) {
	fs := vfs.NewMem()
	db := mustOpen(t, "db", small(fs))
	if err := fs.MkdirAll("copy"); err != nil {
		t.Fatal(err)
	}
	if _, err := db.Checkpoint("copy"); !errors.Is(err, ErrExists) {
		t.Fatal(err)
	}
	mustClose(t, db)
}

func TestStoreWorksOnTheRealFileSystem(t *testing.T) {
	dir := t.TempDir()
	db := mustOpen(t, dir+"/db", Options{})
	apply(t, db, func(b *Batch) { b.Put([]byte("k"), []byte("v"), 0, 0); b.SetPosition(Position{Index: 9, Term: 1}) })
	if p, err := db.Checkpoint(dir + "/copy"); err != nil || p.Index != 9 {
		t.Fatal(p, err)
	}
	mustClose(t, db)
	for _, name := range []string{"/db", "/copy"} {
		db = mustOpen(t, dir+name, Options{})
		expectValue(t, db, "k", "v")
		if err := db.Verify(t.Context()); err != nil {
			t.Fatal(err)
		}
		mustClose(t, db)
	}
}

// TestAHorizonThatIsNotDurableDropsNoRows compacts between the batch that raises the horizon and the flush that makes it durable: after a crash
// the caller applies that batch again, and reads below its horizon are answered until then (E4).
func TestAHorizonThatIsNotDurableDropsNoRows(t *testing.T) {
	disk := vfs.NewMem()
	o := small(disk)
	o.RetainVersions, o.CompactCount, o.StopCount = true, 60, 61
	db := mustOpen(t, "db", o)
	for v := Version(1); v <= 3; v++ {
		apply(t, db, func(b *Batch) { b.Put([]byte("k"), fmt.Append(nil, v), v, 0) })
		if err := db.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	apply(t, db, func(b *Batch) { b.SetHorizon(Horizon{Version: 3}) })
	merge := func() uint64 {
		t.Helper()
		v := db.acquire()
		defer v.unref()
		if err := db.compact(v, v.set.PickAll()); err != nil {
			t.Fatal(err)
		}
		after := db.acquire()
		defer after.unref()
		return rowsOf(after.set.PickAll().Tables())
	}
	if n := merge(); n != 3 {
		t.Fatalf("%d rows of 3 are left", n)
	}
	crashed := mustOpen(t, "db", small(disk.CrashClone(vfs.CrashOptions{})))
	defer mustClose(t, crashed)
	if row, ok, err := crashed.Get([]byte("k"), 3); err != nil || !ok || string(row.Value) != "3" {
		t.Fatal(row, ok, err)
	}
	// Compact, because by now the background may be at the same table.
	if err := db.Compact(t.Context()); err != nil {
		t.Fatal(err)
	}
	v := db.acquire()
	defer v.unref()
	if n := rowsOf(v.set.PickAll().Tables()); n != 1 {
		t.Fatalf("%d rows are left below a durable horizon, want 1", n)
	}
	mustClose(t, db)
}
