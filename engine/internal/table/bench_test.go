package table

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/lightning-db/lightning/engine/internal/keyhash"
	"github.com/lightning-db/lightning/engine/internal/record"
	"github.com/lightning-db/lightning/internal/vfs"
)

// benchRows are as those of bench/engine after writes in random order: keys of 16 bytes, values of 100 of which half are random.
func benchRows(n int) []record.Row {
	r := rand.New(rand.NewPCG(1, 1))
	rows := make([]record.Row, n)
	for i := range rows {
		value := make([]byte, 100)
		for j := range value {
			value[j] = 'v'
			if j < 50 {
				value[j] = byte(r.Uint32())
			}
		}
		rows[i] = record.Row{
			Key: record.Key{
				User:    fmt.Appendf(nil, "user%012d", 500_000+2*i),
				Version: 1 + r.Uint64N(10_000), Sequence: 1 + r.Uint64N(1_000_000),
			},
			Kind: record.Put, Value: value,
		}
	}
	return rows
}

// BenchmarkBlock is a search in a decoded block and a walk over one.
func BenchmarkBlock(b *testing.B) {
	const count = 70
	rows := benchRows(count)
	var builder blockBuilder
	for i := range rows {
		builder.add(&rows[i])
	}
	raw := append([]byte(nil), builder.finish()...)
	parsed, err := parseBlock(raw)
	if err != nil {
		b.Fatal(err)
	}
	b.Run("seek", func(b *testing.B) {
		for i := 0; b.Loop(); i = (i*31 + 7) % count {
			k := record.FirstOf(rows[i].User)
			if n, ok := parsed.seek(&k); n != i || !ok {
				b.Fatal(n, i)
			}
		}
		b.ReportMetric(float64(len(raw))/count-116, "overhead-B/row")
		b.ReportMetric(float64(len(appendS2(nil, raw)))/count, "s2-B/row")
	})
	b.Run("parse", func(b *testing.B) {
		for b.Loop() {
			if _, err := parseBlock(raw); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("build", func(b *testing.B) {
		for b.Loop() {
			builder.reset()
			for i := range rows {
				builder.add(&rows[i])
			}
			builder.finish()
		}
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/count, "ns/row")
	})
}

// BenchmarkTable is reads and walks of a table in the cache and of one whose blocks come from the file.
func BenchmarkTable(b *testing.B) {
	const count = 100_000
	rows := benchRows(count)
	fs := vfs.NewMem()
	writeTable(b, fs, "t", 7, rows, 8<<10)
	for _, cached := range []int{0, 64 << 20} {
		table, err := openTable(fs, "t", 7, NewCache(cached))
		if err != nil {
			b.Fatal(err)
		}
		b.Run(fmt.Sprintf("get/cache=%t", cached > 0), func(b *testing.B) {
			b.ReportAllocs()
			var row record.Row
			random := rand.New(rand.NewPCG(1, 1))
			for b.Loop() {
				k := record.FirstOf(rows[random.IntN(count)].User)
				if ok, err := table.Get(&k, keyhash.Of(k.User), &row); err != nil || !ok {
					b.Fatal(ok, err)
				}
			}
		})
		b.Run(fmt.Sprintf("index/cache=%t", cached > 0), func(b *testing.B) {
			random := rand.New(rand.NewPCG(1, 1))
			for b.Loop() {
				k := record.FirstOf(rows[random.IntN(count)].User)
				table.index.find(&k)
			}
		})
		b.Run(fmt.Sprintf("scan/cache=%t", cached > 0), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				c, n := table.NewCursor(true), 0
				for r := c.Seek(nil, record.Forward); r != nil; r = c.Step() {
					n++
				}
				if n != count {
					b.Fatal(n)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/count, "ns/row")
		})
		b.Logf("%.2f bytes a row in the file, %.2f resident", float64(table.Size())/count, float64(table.ResidentBytes())/count)
		table.Close()
	}
}

// BenchmarkWrite is rows added to a table.
func BenchmarkWrite(b *testing.B) {
	rows := benchRows(100_000)
	for name, c := range map[string]Compression{"none": None, "s2": S2, "dense": Dense, "zstd": Zstd} {
		b.Run("compression="+name, func(b *testing.B) {
			var size uint64
			for b.Loop() {
				f, _ := vfs.NewMem().Create("t")
				w := NewWriter(f, 7, Options{BlockBytes: 8 << 10, Compression: c})
				for i := range rows {
					w.Add(&rows[i])
				}
				_, n, err := w.Finish()
				if err != nil {
					b.Fatal(err)
				}
				size = n
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(rows)), "ns/row")
			b.ReportMetric(float64(size)/float64(len(rows)), "B/row")
		})
	}
}
