package engine

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/lightning-db/lightning/internal/vfs"
)

// benchRows is small enough to load in a second and large enough for several tables.
const benchRows = 300_000

func benchValue(random *rand.Rand) []byte {
	value := make([]byte, 100)
	for i := range value[:50] {
		value[i] = byte(random.Uint32())
	}
	return value
}

func benchLoad(b *testing.B) *DB {
	b.Helper()
	db := mustOpen(b, b.TempDir()+"/db", Options{FS: vfs.OS(), CacheBytes: 256 << 20})
	random := rand.New(rand.NewPCG(1, 1))
	batch := db.NewBatch()
	for i := range benchRows {
		batch.Put(fmt.Appendf(nil, "user%012d", (i*7919)%benchRows), benchValue(random), 0, 0)
		if batch.Len() == 100 {
			if err := db.Apply(batch); err != nil {
				b.Fatal(err)
			}
		}
	}
	if err := db.Compact(b.Context()); err != nil {
		b.Fatal(err)
	}
	return db
}

func BenchmarkPut(b *testing.B) {
	for _, size := range []int{1, 100} {
		b.Run(fmt.Sprintf("batch=%d", size), func(b *testing.B) {
			db := mustOpen(b, b.TempDir()+"/db", Options{FS: vfs.OS()})
			defer mustClose(b, db)
			random := rand.New(rand.NewPCG(1, 1))
			value := benchValue(random)
			batch := db.NewBatch()
			key := make([]byte, 0, 16)
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				key = fmt.Appendf(key[:0], "user%012d", random.IntN(1_000_000))
				batch.Put(key, value, 0, 0)
				if batch.Len() == size {
					if err := db.Apply(batch); err != nil {
						b.Fatal(err)
					}
				}
			}
		})
	}
}

// BenchmarkLoggedPut is a put of one row with a log, by several writers.
func BenchmarkLoggedPut(b *testing.B) {
	for name, mode := range logModes {
		for _, writers := range []int{1, 16, 64} {
			b.Run(fmt.Sprintf("log=%s/writers=%d", name, writers), func(b *testing.B) {
				db := mustOpen(b, b.TempDir()+"/db", Options{FS: vfs.OS(), Log: mode})
				defer mustClose(b, db)
				var left atomic.Int64
				left.Store(int64(b.N))
				var done sync.WaitGroup
				b.ReportAllocs()
				b.ResetTimer()
				for w := range writers {
					done.Go(func() {
						random := rand.New(rand.NewPCG(1, uint64(w)))
						value, batch, key := benchValue(random), db.NewBatch(), make([]byte, 0, 16)
						for left.Add(-1) >= 0 {
							key = fmt.Appendf(key[:0], "user%012d", random.IntN(1_000_000))
							batch.Put(key, value, 0, 0)
							if err := db.Apply(batch); err != nil {
								b.Error(err)
								return
							}
						}
					})
				}
				done.Wait()
				b.StopTimer()
				m := db.log.Metrics()
				b.ReportMetric(float64(m.Syncs)/float64(b.N), "syncs/op")
				b.ReportMetric(float64(m.Turns)/float64(b.N), "writes/op")
				b.ReportMetric(float64(m.Bytes)/float64(b.N), "log-B/op")
			})
		}
	}
}

func BenchmarkGet(b *testing.B) {
	db := benchLoad(b)
	defer mustClose(b, db)
	random := rand.New(rand.NewPCG(2, 1))
	for name, format := range map[string]string{"present": "user%012d", "absent": "user%012dx"} {
		b.Run("key="+name, func(b *testing.B) {
			b.ReportAllocs()
			key := make([]byte, 0, 24)
			for b.Loop() {
				key = fmt.Appendf(key[:0], format, random.IntN(benchRows))
				if _, ok, err := db.Get(key, MaxVersion); err != nil || ok != (name == "present") {
					b.Fatal(ok, err)
				}
			}
		})
	}
}

func BenchmarkScan(b *testing.B) {
	db := benchLoad(b)
	defer mustClose(b, db)
	random := rand.New(rand.NewPCG(2, 1))
	for _, rows := range []int{100, benchRows} {
		b.Run(fmt.Sprintf("rows=%d", rows), func(b *testing.B) {
			s := db.Snapshot()
			defer s.Close()
			for b.Loop() {
				it := s.NewIterator(IteratorOptions{})
				n := 0
				for ok := it.SeekGE(fmt.Appendf(nil, "user%012d", random.IntN(benchRows-rows+1))); ok && n < rows; ok = it.Next() {
					n++
				}
				if err := it.Close(); err != nil || n != rows {
					b.Fatal(n, err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(rows), "ns/row")
		})
	}
}
