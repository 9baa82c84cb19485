package engine

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/lightning-db/lightning/internal/testkit"
	"github.com/lightning-db/lightning/internal/vfs"
)

// settleLimit is far more than compactions of these sizes take on a loaded machine.
const settleLimit = 30 * time.Second

// diskUse counts the tables on a disk and their bytes.
func diskUse(t *testing.T, fs vfs.FS) (tables int, size int64) {
	t.Helper()
	names, err := fs.List("db")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if !strings.HasSuffix(name, tableSuffix) {
			continue
		}
		f, err := fs.Open("db/" + name)
		if err != nil {
			continue // removed meanwhile
		}
		n, _ := f.Size()
		f.Close()
		tables, size = tables+1, size+n
	}
	return tables, size
}

func tableCount(db *DB) int {
	m := db.Metrics()
	return m.Tables()
}

// churnValue does not compress.
func churnValue(random *rand.Rand) []byte {
	value := make([]byte, 200)
	for i := range value {
		value[i] = byte(random.Uint32())
	}
	return value
}

// TestOverwritingManyTimesTheDataLeaksNothing overwrites a data set again and again. What is overwritten leaves the disk; files,
// goroutines and memory are what a store needs that was written once.
func TestOverwritingManyTimesTheDataLeaksNothing(t *testing.T) {
	const (
		keys, valueBytes, perBatch = 5000, 200, 20
		mostDisk                   = keys*(valueBytes+20)*3/2 + 4*64<<10 // live rows, a half more, and what level 0 may hold at rest
		mostMemory                 = 8 << 20                             // a few times the memtables and the cache
	)
	heap := func() int64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	for _, retain := range []bool{false, true} {
		before, goroutines := heap(), runtime.NumGoroutine()
		fs := vfs.NewMem()
		o := small(fs)
		o.RetainVersions = retain
		db := mustOpen(t, "db", o)
		random := rand.New(rand.NewPCG(1, 1))
		for range *churnRounds {
			for range keys / perBatch {
				apply(t, db, func(b *Batch) {
					for range perBatch {
						b.Put(fmt.Appendf(nil, "key%04d", random.IntN(keys)), churnValue(random), 0, 0)
					}
					b.SetHorizon(Horizon{Version: db.LastVersion()})
				})
			}
			if err := db.Flush(); err != nil {
				t.Fatal(err)
			}
			testkit.Eventually(t, settleLimit, func() bool {
				_, size := diskUse(t, fs)
				return size < mostDisk
			}, "retain=%v: overwritten rows stay on the disk", retain)
		}
		testkit.Eventually(t, settleLimit, func() bool {
			if err := fs.SyncDir("db"); err != nil { // until then a crash may bring removed files back, so that they are kept
				t.Fatal(err)
			}
			_, size := diskUse(t, fs)
			return heap()-before-size < mostMemory // the disk is in memory, too
		}, "retain=%v: memory is not given back", retain)
		testkit.Eventually(t, settleLimit, func() bool {
			names, err := fs.List("db")
			return err == nil && len(names) == tableCount(db)+2 // LOCK and MANIFEST
		}, "retain=%v: files stay that no manifest names", retain)
		testkit.Eventually(t, settleLimit, func() bool { // a flush loop and a compaction loop; compactions that run end
			return runtime.NumGoroutine() <= goroutines+2
		}, "retain=%v: goroutines stay, there were %d before the store was opened", retain, goroutines)
		mustClose(t, db)
	}
	t.Logf("engine: a data set was overwritten %d times, with versions and without: disk, memory, files and goroutines are flat", *churnRounds)
}

func TestDeletedRowsLeaveTheDisk(t *testing.T) {
	for _, retain := range []bool{false, true} {
		fs := vfs.NewMem()
		o := small(fs)
		o.RetainVersions = retain
		db := mustOpen(t, "db", o)
		random := rand.New(rand.NewPCG(2, 1))
		for i := range 5000 {
			apply(t, db, func(b *Batch) { b.Put(fmt.Appendf(nil, "key%05d", i), churnValue(random), 0, 0) })
		}
		for i := range 5000 {
			apply(t, db, func(b *Batch) { b.Delete(fmt.Appendf(nil, "key%05d", i), 0) })
		}
		apply(t, db, func(b *Batch) { b.SetHorizon(Horizon{Version: db.LastVersion()}) })
		if err := db.Flush(); err != nil {
			t.Fatal(err)
		}
		testkit.Eventually(t, settleLimit, func() bool {
			tables, _ := diskUse(t, fs)
			return tables == 0
		}, "retain=%v: deleted rows stay on the disk", retain)
		mustClose(t, db)
	}
}

func TestExpiredRowsLeaveTheDiskWhenTheHorizonPasses(t *testing.T) {
	for _, retain := range []bool{false, true} {
		fs := vfs.NewMem()
		o := small(fs)
		o.RetainVersions = retain
		db := mustOpen(t, "db", o)
		random := rand.New(rand.NewPCG(3, 1))
		for i := range 5000 {
			apply(t, db, func(b *Batch) {
				b.Put(fmt.Appendf(nil, "key%05d", i), churnValue(random), 0, uint64(1000+i))
			})
		}
		advance := func(millis uint64) {
			apply(t, db, func(b *Batch) { b.SetHorizon(Horizon{Version: db.LastVersion(), ExpiryMillis: millis}) })
			if err := db.Flush(); err != nil {
				t.Fatal(err)
			}
		}
		advance(3500)
		testkit.Eventually(t, settleLimit, func() bool {
			_, size := diskUse(t, fs)
			return size < 5000*220*3/4
		}, "retain=%v: half of the rows have expired", retain)
		advance(6000)
		testkit.Eventually(t, settleLimit, func() bool {
			tables, _ := diskUse(t, fs)
			return tables == 0
		}, "retain=%v: all rows have expired", retain)
		mustClose(t, db)
	}
}

func TestSmallFlushesOfAscendingKeysKeepTheNumberOfTablesBounded(t *testing.T) {
	fs := vfs.NewMem()
	db := mustOpen(t, "db", small(fs))
	for i := range 400 {
		apply(t, db, func(b *Batch) { b.Put(fmt.Appendf(nil, "key%05d", i), []byte("value"), 0, 0) })
		if err := db.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	testkit.Eventually(t, settleLimit, func() bool {
		tables, _ := diskUse(t, fs)
		return tables < 24
	})
	mustClose(t, db)
}

// TestGarbageOfASnapshotGoesWhenItIsClosed also shows that an open snapshot keeps what it sees.
func TestGarbageOfASnapshotGoesWhenItIsClosed(t *testing.T) {
	fs := vfs.NewMem()
	db := mustOpen(t, "db", small(fs))
	put := func(value string) {
		for i := range 200 {
			apply(t, db, func(b *Batch) { b.Put(fmt.Appendf(nil, "key%04d", i), []byte(value), 0, 0) })
		}
	}
	put("old")
	s := db.Snapshot()
	put("new")
	for i := range 200 {
		apply(t, db, func(b *Batch) { b.Delete(fmt.Appendf(nil, "key%04d", i), 0) })
	}
	if err := db.Compact(t.Context()); err != nil {
		t.Fatal(err)
	}
	for i := range 200 {
		if row, ok, err := s.Get(fmt.Appendf(nil, "key%04d", i), MaxVersion); !ok || err != nil || !bytes.Equal(row.Value, []byte("old")) {
			t.Fatalf("snapshot lost key %d: %q %v %v", i, row.Value, ok, err)
		}
	}
	if rows := db.Metrics().Levels[1].Rows; rows != 400 {
		t.Fatalf("%d rows, want what the snapshot sees and tombstones", rows)
	}
	s.Close()
	testkit.Eventually(t, settleLimit, func() bool {
		tables, _ := diskUse(t, fs)
		return tables == 0
	})
	mustClose(t, db)
}

func TestFilesGoOnlyAfterTheirLastReader(t *testing.T) {
	fs := vfs.NewMem()
	db := mustOpen(t, "db", small(fs))
	for i := range 500 {
		apply(t, db, func(b *Batch) { b.Put(fmt.Appendf(nil, "key%04d", i), []byte("v"), 0, 0) })
	}
	if err := db.Flush(); err != nil {
		t.Fatal(err)
	}
	before, _ := fs.List("db")
	s := db.Snapshot()
	it := s.NewIterator(IteratorOptions{})
	s.Close()
	it.First()
	if err := db.Compact(t.Context()); err != nil {
		t.Fatal(err)
	}
	now, _ := fs.List("db")
	for _, name := range before {
		if !slices.Contains(now, name) {
			t.Fatalf("%s is gone while an iterator reads it", name)
		}
	}
	n := 1
	for it.Next() {
		n++
	}
	if err := it.Close(); err != nil || n != 500 {
		t.Fatal(n, err)
	}
	testkit.Eventually(t, settleLimit, func() bool {
		tables, _ := diskUse(t, fs)
		return tables == 1
	})
	mustClose(t, db)
}

// TestAValueIsKeptUntilTheHorizonHasReachedItsExpiry is about the millisecond.
func TestAValueIsKeptUntilTheHorizonHasReachedItsExpiry(t *testing.T) {
	for _, retain := range []bool{false, true} {
		o := small(vfs.NewMem())
		o.RetainVersions = retain
		db := mustOpen(t, "db", o)
		const horizon = 5000
		for expiry := uint64(horizon - 3); expiry <= horizon+3; expiry++ {
			apply(t, db, func(b *Batch) { b.Put(fmt.Appendf(nil, "key%d", expiry), []byte("v"), 0, expiry) })
		}
		apply(t, db, func(b *Batch) { b.SetHorizon(Horizon{Version: db.LastVersion(), ExpiryMillis: horizon}) })
		for range 2 {
			if err := db.Compact(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		for expiry := uint64(horizon + 1); expiry <= horizon+3; expiry++ {
			expectValue(t, db, fmt.Sprintf("key%d", expiry), "v")
		}
		if rows := db.Metrics().Levels[1].Rows; rows != 3 {
			t.Fatalf("retain=%v: %d rows are left, want 3", retain, rows)
		}
		mustClose(t, db)
	}
}
