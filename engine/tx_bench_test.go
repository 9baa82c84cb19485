package engine

import (
	"encoding/binary"
	"math/rand/v2"
	"sync/atomic"
	"testing"

	"github.com/lightning-db/lightning/internal/vfs"
)

// BenchmarkTransaction has four reads in five and one read-modify-write, each a transaction of its own, on keys in memory.
func BenchmarkTransaction(b *testing.B) {
	for _, isolation := range []Isolation{SnapshotIsolation, Serializable} {
		b.Run(map[Isolation]string{SnapshotIsolation: "isolation=snapshot", Serializable: "isolation=serializable"}[isolation], func(b *testing.B) {
			db := mustOpen(b, "db", Options{FS: vfs.NewMem()})
			defer db.Close()
			const keys = 100_000
			value := make([]byte, 100)
			for i := range keys {
				apply(b, db, func(batch *Batch) { batch.Put(binary.BigEndian.AppendUint64(nil, uint64(i)), value, 0, 0) })
			}
			var workers, conflicts atomic.Uint64
			b.ReportAllocs()
			b.RunParallel(func(p *testing.PB) {
				random := rand.New(rand.NewPCG(1, workers.Add(1)))
				key, value := make([]byte, 8), make([]byte, 0, 128)
				for p.Next() {
					binary.BigEndian.PutUint64(key, random.Uint64N(keys))
					tx, err := db.Begin(TxOptions{Isolation: isolation})
					if err != nil {
						b.Error(err)
						return
					}
					row, _, err := tx.GetInto(value, key)
					if err == nil && random.IntN(5) == 0 {
						row.Value[0]++
						err = tx.Put(key, row.Value, 0)
					}
					if err != nil || tx.Commit() != nil {
						conflicts.Add(1)
					}
				}
			})
			b.ReportMetric(float64(conflicts.Load())/float64(b.N), "conflicts/op")
		})
	}
}
