package table

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/lightning-db/lightning/engine/internal/keyhash"
	"github.com/lightning-db/lightning/engine/internal/record"
	"github.com/lightning-db/lightning/internal/vfs"
)

// BenchmarkApart is reads and walks of tables with values that stand apart, and with the same beside their keys. What it reads is in files of
// the machine, as the system caches them; the cache of blocks is a tenth of the rows. The table in decision 0033 is made by it.
func BenchmarkApart(b *testing.B) {
	all := corpora(b)
	data := map[string][]record.Row{
		"half-random-1KiB": kibRows(8000), "json-400B": all["json"], "go-source-1000B": all["go-source"], "random-1000B": all["random"],
		"half-random-100B-and-1KiB": mixed(kibRows(6000), benchRows(40_000)),
	}
	for name, rows := range data {
		raw := 0
		for i := range rows {
			raw += len(rows[i].User) + len(rows[i].Value)
		}
		for way, from := range map[string]int{"beside": 0, "apart": 256} {
			if len(rows) == 0 { // this machine does not have them
				continue
			}
			o := Options{BlockBytes: 8 << 10, Compression: S2, ApartBytes: from}
			b.Run(fmt.Sprintf("data=%s/%s", name, way), func(b *testing.B) { benchApart(b, rows, raw, o) })
		}
	}
}

func mixed(a, b []record.Row) []record.Row {
	rows := slices.Concat(a, b)
	slices.SortFunc(rows, func(a, b record.Row) int { return record.Compare(a.Key, b.Key) })
	return slices.CompactFunc(rows, func(a, b record.Row) bool { return string(a.User) == string(b.User) })
}

func benchApart(b *testing.B, rows []record.Row, raw int, o Options) {
	fs, dir := vfs.OS(), b.TempDir()
	b.Run("write", func(b *testing.B) {
		b.SetBytes(int64(raw))
		for b.Loop() {
			writeTableWith(b, vfs.NewMem(), "t", 7, rows, o)
		}
	})
	writeTableWith(b, fs, dir+"/t", 7, rows, o)
	table, err := openTable(fs, dir+"/t", 7, NewCache(raw/10))
	if err != nil {
		b.Fatal(err)
	}
	defer table.Close()
	b.Run("get", func(b *testing.B) {
		b.ReportAllocs()
		random := rand.New(rand.NewPCG(1, 1))
		var value []byte
		for b.Loop() {
			k := record.FirstOf(rows[random.IntN(len(rows))].User)
			var row record.Row
			ok, err := table.Get(&k, keyhash.Of(k.User), &row)
			if ok && err == nil && row.Far.Raw > 0 {
				value, _, err = table.Value(&row.Far, value[:0], false)
			}
			if err != nil || !ok {
				b.Fatal(ok, err)
			}
		}
		b.ReportMetric(float64(table.Size())/float64(raw), "file/raw")
		b.ReportMetric(float64(table.ResidentBytes())/float64(len(rows)), "resident-B/row")
	})
	for _, values := range []bool{true, false} {
		b.Run(fmt.Sprintf("walk/values=%t", values), func(b *testing.B) {
			var value []byte
			for b.Loop() {
				c := table.NewCursor(true)
				for r := c.Seek(nil, record.Forward); r != nil; r = c.Step() {
					if values && r.Load(&value) != nil {
						b.Fatal("unreadable")
					}
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(rows)), "ns/row")
		})
	}
}
