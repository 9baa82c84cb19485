package rowcache

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/lightning-db/lightning/engine/internal/keyhash"
)

const benchRows = 1_000_000

func benchKey(dst []byte, i int) []byte { return fmt.Appendf(dst, "user%012d", i) }

// drawn is keys in the order in which they are read.
func drawn(how string, seed uint64) [][]byte {
	random := rand.New(rand.NewPCG(seed, 1))
	zipf := rand.NewZipf(random, 1.01, 1, benchRows-1)
	keys := make([][]byte, 1<<19)
	for i := range keys {
		n := 0
		switch how {
		case "hot":
			n = random.IntN(10_000) * (benchRows / 10_000)
		case "zipf":
			n = int(zipf.Uint64() * 7919 % benchRows)
		default:
			n = random.IntN(benchRows)
		}
		keys[i] = benchKey(nil, n)
	}
	return keys
}

// BenchmarkGet is hits, with everything in the cache. One goroutine also tells the median of single hits.
func BenchmarkGet(b *testing.B) {
	c := New(256 << 20)
	value := make([]byte, 100)
	for range 2 {
		for i := range benchRows {
			put(c, benchKey(nil, i), value, 1)
		}
	}
	b.Logf("%+v, %d bytes a row", c.Stats(), c.Stats().Bytes/benchRows)
	for _, how := range []string{"hot", "zipf", "uniform"} {
		for _, goroutines := range []int{1, 2} {
			b.Run(fmt.Sprintf("keys=%s/goroutines=%d", how, goroutines), func(b *testing.B) {
				keys := make([][][]byte, goroutines)
				for i := range keys {
					keys[i] = drawn(how, uint64(i))
				}
				runtime.GC()
				b.ReportAllocs()
				b.ResetTimer()
				var all sync.WaitGroup
				for i := range goroutines {
					all.Go(func() {
						mine, dst, hits := keys[i], make([]byte, 0, 100), 0
						for n := range b.N {
							key := mine[n&(len(mine)-1)]
							q := Query{Key: key, Hash: keyhash.Of(key), Version: newest, Sequence: newest}
							if v, hit := c.Get(&q, dst); hit && binary.LittleEndian.Uint64(v) == 0 {
								hits++
							}
						}
						if hits < b.N*9/10 {
							b.Errorf("%d hits of %d", hits, b.N)
						}
					})
				}
				all.Wait()
				if goroutines == 1 {
					b.StopTimer()
					b.ReportMetric(median(c, keys[0]), "median-ns")
				}
			})
		}
	}
}

// median is that of single hits, with the two looks at the clock that it takes to tell.
func median(c *Cache, keys [][]byte) float64 {
	var counts [2000]int
	dst := make([]byte, 0, 100)
	for _, key := range keys[:100_000] {
		start := time.Now()
		q := Query{Key: key, Hash: keyhash.Of(key), Version: newest, Sequence: newest}
		c.Get(&q, dst)
		counts[min(int(time.Since(start)), len(counts)-1)]++
	}
	seen := 0
	for ns, n := range counts {
		if seen += n; seen > 50_000 {
			return float64(ns)
		}
	}
	return 0
}

// BenchmarkPublish is what a batch of new keys costs its writer, with nothing cached and with everything.
func BenchmarkPublish(b *testing.B) {
	for _, rows := range []int{0, benchRows} {
		for _, batch := range []int{1, 100} {
			b.Run(fmt.Sprintf("rows=%d/batch=%d", rows, batch), func(b *testing.B) {
				c := New(256 << 20)
				for i := range rows {
					put(c, benchKey(nil, i), make([]byte, 100), 1)
				}
				random := rand.New(rand.NewPCG(1, 1))
				hashes := make([]uint64, batch)
				for range b.N {
					for i := range hashes {
						hashes[i] = random.Uint64()
					}
					c.Begin(hashes)
					c.End(hashes)
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(batch), "ns/row")
			})
		}
	}
}

// BenchmarkFill is a read of a row that is not there, without the look into the store, in a full cache.
func BenchmarkFill(b *testing.B) {
	for _, bytes := range []int{100, 1024} {
		b.Run(fmt.Sprintf("value=%d", bytes), func(b *testing.B) {
			c := New(64 << 20)
			value, key := make([]byte, bytes), make([]byte, 0, 16)
			fill := func(i int) {
				key = benchKey(key[:0], i)
				put(c, key, value, 1)
			}
			for i := range (64 << 20) / bytes {
				fill(-i)
			}
			b.ReportAllocs()
			b.ResetTimer()
			for i := range b.N {
				fill(i)
			}
		})
	}
}
