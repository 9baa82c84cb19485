package engine

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lightning-db/lightning/internal/testkit"
	"github.com/lightning-db/lightning/internal/vfs"
)

func mustRuntime(t testing.TB, o RuntimeOptions) *Runtime {
	t.Helper()
	r, err := NewRuntime(o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestStoresShareACacheAndKeepApart(t *testing.T) {
	r := mustRuntime(t, RuntimeOptions{CacheBytes: 1 << 20})
	var stores []*DB
	for i := range 3 {
		o := small(vfs.NewMem())
		o.Runtime, o.RowCacheBytes = r, i-1 // the first has no cache of rows
		db := mustOpen(t, "db", o)
		for k := range 2000 {
			apply(t, db, func(b *Batch) { b.Put(fmt.Appendf(nil, "key%05d", k), fmt.Appendf(nil, "%d of store %d", k, i), 0, 0) })
		}
		if err := db.Compact(t.Context()); err != nil {
			t.Fatal(err)
		}
		stores = append(stores, db)
	}
	readAll := func() {
		t.Helper()
		for k := range 2000 {
			for i, db := range stores { // all have the same keys in the same files
				expectValue(t, db, fmt.Sprintf("key%05d", k), fmt.Sprintf("%d of store %d", k, i))
			}
		}
		if m := r.Metrics(); m.BlockBytes > m.CacheBytes-m.RowCacheBytes || m.BlockBytes+m.RowBytes > m.CacheBytes+1<<20 {
			t.Fatalf("more is held than the bound: %+v", m)
		}
	}
	readAll()
	readAll()
	m := r.Metrics()
	if m.StoreCount != 3 || m.BlockHits == 0 || m.BlockCount == 0 || m.RowHits == 0 || m.RowCount == 0 {
		t.Fatalf("%+v", m)
	}
	for _, bytes := range []int{200 << 10, 0, 4 << 20} {
		r.SetCacheBytes(bytes)
		readAll()
		if m := r.Metrics(); m.CacheBytes != bytes || bytes == 0 && m.BlockBytes != 0 {
			t.Fatalf("at %d: %+v", bytes, m)
		}
	}
	before := r.Metrics()
	stores[1].ClearCaches()
	if m := r.Metrics(); m.BlockCount == 0 || m.BlockCount >= before.BlockCount || m.RowCount == 0 || m.RowCount >= before.RowCount {
		t.Fatalf("one store's caches were to be cleared: %+v, before %+v", m, before)
	}
	r.ClearCaches()
	if m := r.Metrics(); m.BlockCount != 0 || m.RowCount != 0 {
		t.Fatalf("not cleared: %+v", m)
	}
	readAll()
	for _, db := range stores {
		mustClose(t, db)
	}
	if m := r.Metrics(); m.StoreCount != 0 || m.BlockCount != 0 || m.RowCount != 0 || len(r.sharing.mu.rows) != 0 {
		t.Fatalf("something is left of closed stores: %+v", m)
	}
}

func TestAnIdleStoreGivesItsMemoryToOneThatWrites(t *testing.T) {
	r := mustRuntime(t, RuntimeOptions{MemtableBytes: 1 << 20})
	o := Options{FS: vfs.NewMem(), Runtime: r}
	idle, writer := mustOpen(t, "idle", o), mustOpen(t, "writer", o)
	value := []byte(strings.Repeat("v", 1000))
	for k := range 300 {
		apply(t, idle, func(b *Batch) { b.Put(fmt.Appendf(nil, "key%05d", k), value, 0, 0) })
	}
	for k := range 300 {
		apply(t, writer, func(b *Batch) { b.Put(fmt.Appendf(nil, "key%05d", k), value, 0, 0) })
	}
	m := r.Metrics()
	if m.MemorySeals == 0 || m.FillingBytes > 600<<10 || m.FillingBytes < 200<<10 {
		t.Fatalf("%+v", m)
	}
	if err := idle.awaitFlushed(1); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, time.Minute, func() bool { return idle.Metrics().Flushes == 1 }, "the flush is not counted")
	if m := idle.Metrics(); m.MemtableBytes > 64<<10 {
		t.Fatalf("%d bytes in memory", m.MemtableBytes)
	}
	mustClose(t, idle)
	mustClose(t, writer)
	if m := r.Metrics(); m.FillingBytes != 0 || m.SealedBytes != 0 {
		t.Fatalf("closed stores hold memory: %+v", m)
	}
}

// BG1, through stores; and whatever the budgets, all that was written is there.
func TestManyStoresWithinSmallBudgetsLoseNothing(t *testing.T) {
	seed := uint64(testkit.Seed(t))
	const limit, stores, batches = 300 << 10, 4, 400
	r := mustRuntime(t, RuntimeOptions{CacheBytes: 256 << 10, MemtableBytes: limit, CompactionCount: 1, CompactionBytesPerSecond: 1 << 30})
	var running sync.WaitGroup
	for i := range uint64(stores) {
		running.Go(func() {
			random := rand.New(rand.NewPCG(seed, i))
			o := small(vfs.NewMem())
			o.Runtime, o.MemtableBytes = r, 1<<20
			if i%2 == 0 {
				o.Log = LogNever
			}
			db := mustOpen(t, "db", o)
			want := map[string]string{}
			for n := range batches {
				b := db.NewBatch()
				for range 1 + random.IntN(5) {
					key, value := fmt.Sprintf("key%03d", random.IntN(200)), strings.Repeat(fmt.Sprint(n, i), 1+random.IntN(300))
					b.Put([]byte(key), []byte(value), 0, 0)
					want[key] = value
				}
				if err := db.Apply(b); err != nil {
					t.Error(err)
					return
				}
				// A memtable has an index and room for rows to come, which are counted after the batch is in.
				if m := r.Metrics(); m.FillingBytes > limit+stores*(64<<10) || m.CompactionCount > 1 {
					t.Errorf("%+v", m)
					return
				}
			}
			for key, value := range want {
				row, ok, err := db.Get([]byte(key), MaxVersion)
				if err != nil || !ok || string(row.Value) != value {
					t.Errorf("store %d: %s is %.20q, %v, %v; want %.20q", i, key, row.Value, ok, err, value)
					return
				}
			}
			if err := db.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	running.Wait()
	if m := r.Metrics(); m.MemorySeals == 0 || m.FillingBytes != 0 || m.SealedBytes != 0 || m.CompactionCount != 0 || m.StoreCount != 0 {
		t.Errorf("%+v", m)
	}
}

func TestARefusedBatchHoldsNoMemory(t *testing.T) {
	r := mustRuntime(t, RuntimeOptions{MemtableBytes: 64 << 20})
	disk := &limited{FS: vfs.NewMem(), limit: 1 << 40}
	db := mustOpen(t, "db", Options{FS: disk, Runtime: r, Families: true, Log: LogNever, LogSegmentBytes: 1 << 20})
	f := mustCreate(t, db, "f")
	value := make([]byte, 100<<10)
	tx, err := db.Begin(TxOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := tx.In(f).Put([]byte("k"), value, 0); err != nil {
		t.Fatal(err)
	}
	apply(t, db, func(b *Batch) { b.In(f).Put([]byte("k"), []byte("v"), 0) })
	held := func() int { return r.Metrics().FillingBytes }
	before := held()
	if err := tx.Commit(); !errors.Is(err, ErrConflict) || held() != before {
		t.Errorf("%d bytes are held after a conflict, %d before: %v", held(), before, err)
	}
	b := db.NewBatch()
	b.Put([]byte("k"), value, 0, 0)
	if err := db.Apply(b); !errors.Is(err, ErrFamilies) || held() != before {
		t.Errorf("%d bytes are held after a batch without a family, %d before: %v", held(), before, err)
	}
	disk.resize(0)
	for err == nil { // until the log finds no room
		before = held()
		b := db.NewBatch()
		b.In(f).Put([]byte("k"), value, 0)
		err = db.Apply(b)
	}
	if !errors.Is(err, ErrDiskFull) || held() != before {
		t.Errorf("%d bytes are held after a full disk, %d before: %v", held(), before, err)
	}
	disk.resize(1 << 40)
	mustClose(t, db)
}

func TestCachesThatComeBackArePartedAsBefore(t *testing.T) {
	r := mustRuntime(t, RuntimeOptions{CacheBytes: 8 << 20})
	o := small(vfs.NewMem())
	o.Runtime = r
	db := mustOpen(t, "db", o)
	before := r.Metrics().RowCacheBytes
	r.SetCacheBytes(0)
	r.SetCacheBytes(8 << 20)
	if r.Metrics().RowCacheBytes != before || before == 0 {
		t.Errorf("rows have %d bytes, had %d", r.Metrics().RowCacheBytes, before)
	}
	apply(t, db, func(b *Batch) { b.Put([]byte("k"), []byte("v"), 0, 0) })
	if err := db.Flush(); err != nil {
		t.Fatal(err)
	}
	for range 4 {
		expectValue(t, db, "k", "v")
	}
	if m := r.Metrics(); m.RowCount == 0 || m.RowHits == 0 {
		t.Errorf("rows are not cached: %+v", m)
	}
	mustClose(t, db)
}

func TestABrokenStoreHoldsUpNoOther(t *testing.T) {
	r := mustRuntime(t, RuntimeOptions{MemtableBytes: 256 << 10})
	broken, healthy := mustOpen(t, "db", Options{FS: vfs.NewMem(), Runtime: r}), mustOpen(t, "db", Options{FS: vfs.NewMem(), Runtime: r})
	value := []byte(strings.Repeat("v", 1000))
	for k := range 120 {
		apply(t, broken, func(b *Batch) { b.Put(fmt.Appendf(nil, "key%05d", k), value, 0, 0) })
	}
	broken.fail(fmt.Errorf("the disk is gone"))
	for k := range 1000 {
		apply(t, healthy, func(b *Batch) { b.Put(fmt.Appendf(nil, "key%05d", k), value, 0, 0) })
	}
	if err := broken.Close(); err == nil {
		t.Error("closed without the failure")
	}
	mustClose(t, healthy)
}

func TestRuntimeOptionsOutOfBoundsAreRefused(t *testing.T) {
	for _, o := range []RuntimeOptions{
		{CacheBytes: 1 << 20, RowCacheBytes: 2 << 20}, {MemtableBytes: -1}, {CompactionCount: -1}, {CompactionBytesPerSecond: -1},
	} {
		if _, err := NewRuntime(o); err == nil {
			t.Errorf("%+v is accepted", o)
		}
	}
}
