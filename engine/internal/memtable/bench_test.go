package memtable

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/lightning-db/lightning/engine/internal/record"
)

func BenchmarkAdd(b *testing.B) {
	for _, order := range []string{"sorted", "random"} {
		b.Run("order="+order, func(b *testing.B) {
			m := New(0)
			value := make([]byte, 100)
			random := rand.New(rand.NewPCG(1, 1))
			var buf []byte
			for i := range b.N {
				if i%150_000 == 0 {
					m = New(0)
				}
				n := uint64(i)
				if order == "random" {
					n = random.Uint64()
				}
				buf = AppendRow(buf[:0], record.Put, fmt.Appendf(nil, "user%012d", n%1e12), value, 0)
				m.Add(buf, []Ref{{0, uint64(i + 1)}}, uint64(i+1))
			}
		})
	}
}

func BenchmarkOverwrite(b *testing.B) {
	m := New(0)
	random := rand.New(rand.NewPCG(1, 1))
	value := make([]byte, 256)
	var buf []byte
	for i := range b.N {
		if i%50_000 == 0 {
			m = New(0)
		}
		buf = AppendRow(buf[:0], record.Put, fmt.Appendf(nil, "user%012d", random.IntN(20_000)), value, 0)
		m.Add(buf, []Ref{{0, uint64(i + 1)}}, uint64(i+1))
	}
}

func BenchmarkGet(b *testing.B) {
	m := New(0)
	random := rand.New(rand.NewPCG(1, 1))
	value := make([]byte, 256)
	const rows = 50_000
	for i := range uint64(rows) {
		m.Add(AppendRow(nil, record.Put, fmt.Appendf(nil, "user%012d", i), value, 0), []Ref{{0, i + 1}}, i+1)
	}
	var r record.Row
	key := []byte("user000000000000")
	for b.Loop() {
		key = fmt.Appendf(key[:0], "user%012d", random.IntN(rows))
		if !m.Get(record.Key{User: key, Version: record.MaxVersion, Sequence: record.MaxSequence}, &r) {
			b.Fatal("not found")
		}
	}
}

// BenchmarkFlush is what a flush of 64 MiB does to memory: it sorts all keys and walks over them.
func BenchmarkFlush(b *testing.B) {
	for _, keys := range []string{"sorted", "new", "again"} {
		b.Run("keys="+keys, func(b *testing.B) {
			random := rand.New(rand.NewPCG(1, 1))
			const rows = 350_000
			m, value := New(rows), make([]byte, 100)
			for i := range uint64(rows) {
				n := map[string]uint64{"sorted": i, "new": random.Uint64N(1e12), "again": random.Uint64N(rows / 3)}[keys]
				m.Add(AppendRow(nil, record.Put, fmt.Appendf(nil, "user%012d", n), value, 0), []Ref{{0, i + 1}}, i+1)
			}
			b.ResetTimer()
			for b.Loop() {
				m.order.Store(&order{})
				c := m.NewCursor()
				for c.Seek(nil, record.Forward); c.Row() != nil; {
					c.Step()
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/rows, "ns/row")
		})
	}
}

// benchFill makes a memtable as full as the engine lets one get, with random keys.
func benchFill(random *rand.Rand) (m *Memtable, rows int) {
	const full = 45_000
	m = New(0)
	value := make([]byte, 256)
	for i := range uint64(full) {
		m.Add(AppendRow(nil, record.Put, fmt.Appendf(nil, "user%012d", random.Uint64N(1e12)), value, 0), []Ref{{0, i + 1}}, i+1)
	}
	return m, full
}

// BenchmarkWalk is what a flush does: it sorts all keys.
func BenchmarkWalk(b *testing.B) {
	random := rand.New(rand.NewPCG(1, 1))
	m, rows := benchFill(random)
	for b.Loop() {
		m.order.Store(&order{})
		c := m.NewCursor()
		for c.Seek(nil, record.Forward); c.Row() != nil; {
			c.Step()
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(rows), "ns/row")
}

// BenchmarkScan walks over ten rows after each few writes of new keys.
func BenchmarkScan(b *testing.B) {
	for _, writes := range []int{0, 1, 100} {
		b.Run(fmt.Sprintf("writes=%d", writes), func(b *testing.B) {
			random := rand.New(rand.NewPCG(1, 1))
			m, rows := benchFill(random)
			value := make([]byte, 256)
			sequence := uint64(rows)
			for b.Loop() {
				if sequence > 2*uint64(rows) {
					m, _ = benchFill(random)
					sequence = uint64(rows)
				}
				for range writes {
					sequence++
					m.Add(AppendRow(nil, record.Put, fmt.Appendf(nil, "user%012d", random.Uint64N(1e12)), value, 0), []Ref{{0, sequence}}, sequence)
				}
				c := m.NewCursor()
				n := 0
				for c.Seek(&record.Key{User: fmt.Appendf(nil, "user%012d", random.Uint64N(1e12))}, record.Forward); c.Row() != nil && n < 10; n++ {
					c.Step()
				}
			}
		})
	}
}
