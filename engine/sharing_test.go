package engine

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/lightning-db/lightning/internal/testkit"
	"github.com/lightning-db/lightning/internal/vfs"
)

// BG1, BG4, RW4.
func TestManyStoresStayWithinTheBudgetsOfTheirRuntime(t *testing.T) {
	const stores, cacheBytes, memtableBytes = 256, 48 << 20, 8 << 20
	r := mustRuntime(t, RuntimeOptions{CacheBytes: cacheBytes, MemtableBytes: memtableBytes, StoreCount: stores})
	all := make([]*DB, stores)
	value := make([]byte, 200)
	check := func(when string) {
		t.Helper()
		m := r.Metrics()
		if m.BlockBytes > cacheBytes-m.RowCacheBytes || m.RowBytes+m.BlockBytes > cacheBytes+cacheBytes/16 || m.FillingBytes > memtableBytes+stores*8<<10 {
			t.Fatalf("%s: %+v", when, m)
		}
	}
	key := func(k int) []byte { return fmt.Appendf(nil, "key%07d", k) }
	for i := range all {
		o := Options{FS: vfs.NewMem(), Runtime: r, MemtableBytes: 256 << 10}
		all[i] = mustOpen(t, "db", o)
		b := all[i].NewBatch()
		for k := range 300 {
			b.Put(key(k), value, 0, 0)
		}
		if err := all[i].Apply(b); err != nil {
			t.Fatal(err)
		}
		check("written")
	}
	for _, db := range all {
		if err := db.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		for _, db := range all {
			for k := range 300 {
				if _, ok, err := db.Get(key(k), MaxVersion); !ok || err != nil {
					t.Fatal(ok, err)
				}
			}
		}
		check("read")
	}
	for _, db := range all {
		mustClose(t, db)
	}
	if m := r.Metrics(); m.StoreCount != 0 || m.RowBytes != 0 || m.BlockBytes != 0 {
		t.Fatalf("%+v", m)
	}
}

// E10, CA1, RW1: readers who move room between rows and blocks, writers, and somebody who resizes and clears.
func TestCachesThatShareRoomAnswerRightWhileTheyAreResizedAndCleared(t *testing.T) {
	seed := uint64(testkit.Seed(t))
	r := mustRuntime(t, RuntimeOptions{CacheBytes: 3 << 20})
	const keys, rounds = 3000, 4000
	var running sync.WaitGroup
	for i := range uint64(2) {
		o := small(vfs.NewMem())
		o.Runtime = r
		db := mustOpen(t, "db", o)
		t.Cleanup(func() { mustClose(t, db) })
		key := func(k int) []byte { return fmt.Appendf(nil, "key%05d", k) }
		for k := range keys {
			apply(t, db, func(b *Batch) { b.Put(key(k), fmt.Appendf(nil, "%0200d", 0), 0, 0) })
		}
		if err := db.Flush(); err != nil {
			t.Fatal(err)
		}
		running.Go(func() { // what is written only grows
			random := rand.New(rand.NewPCG(seed, i))
			for n := range rounds / 10 {
				apply(t, db, func(b *Batch) { b.Put(key(random.IntN(keys)), fmt.Appendf(nil, "%0200d", n+1), 0, 0) })
			}
		})
		for j := range uint64(2) {
			running.Go(func() {
				random := rand.New(rand.NewPCG(seed, 10+10*i+j))
				seen := map[int]string{}
				for range rounds {
					k := random.IntN(keys)
					row, ok, err := db.Get(key(k), MaxVersion)
					if !ok || err != nil || string(row.Value) < seen[k] {
						t.Errorf("store %d, key %d: %.20q, %v, %v after %.20q", i, k, row.Value, ok, err, seen[k])
						return
					}
					seen[k] = string(row.Value)
				}
			})
		}
	}
	running.Go(func() {
		random := rand.New(rand.NewPCG(seed, 99))
		for range 200 {
			switch random.IntN(3) {
			case 0:
				r.SetCacheBytes(random.IntN(6 << 20))
			case 1:
				r.ClearCaches()
			case 2:
				if m := r.Metrics(); m.RowCacheBytes < 0 || m.StoreCount != 2 {
					t.Errorf("%+v", m)
				}
			}
		}
	})
	running.Wait()
	r.SetCacheBytes(1 << 20)
	if m := r.Metrics(); m.BlockBytes > 1<<20 || m.RowBytes > 1<<20 {
		t.Errorf("%+v", m)
	}
}
