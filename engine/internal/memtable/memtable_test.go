package memtable

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/lightning-db/lightning/engine/internal/record"
)

// fill adds random batches and returns all rows in order.
func fill(m *Memtable, random *rand.Rand, batches int) []record.Row {
	var all []record.Row
	sequence := uint64(1)
	for i := range batches {
		var buf []byte
		var refs []Ref
		first := sequence
		for range 1 + random.IntN(8) {
			r := record.Row{
				Key:  record.Key{User: fmt.Appendf(nil, "k%04d", random.IntN(500)), Version: 1 + random.Uint64N(1<<40), Sequence: sequence},
				Kind: record.Kind(random.IntN(2)), Expiry: random.Uint64N(3) * random.Uint64N(1<<50),
				Value: bytes.Repeat([]byte{byte(i)}, random.IntN(200)),
			}
			if random.IntN(200) == 0 {
				r.Value = make([]byte, 300_000)
			}
			sequence++
			refs = append(refs, Ref{len(buf), r.Version})
			buf = AppendRow(buf, r.Kind, r.User, r.Value, r.Expiry)
			all = append(all, r)
		}
		if !m.Add(buf, refs, first) {
			clear(buf) // it was copied
		}
	}
	slices.SortFunc(all, func(a, b record.Row) int { return record.Compare(a.Key, b.Key) })
	return all
}

func same(a, b *record.Row) bool {
	return record.Compare(a.Key, b.Key) == 0 && a.Kind == b.Kind && a.Expiry == b.Expiry && bytes.Equal(a.Value, b.Value)
}

func TestRowsComeBackInOrderBothWays(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 1))
	m := New(0)
	if !m.Empty() || m.LeastVersion() != record.MaxVersion {
		t.Fatal("a new memtable is not empty")
	}
	all := fill(m, random, 1500)
	c := m.NewCursor()
	i := 0
	for c.Seek(nil, record.Forward); c.Row() != nil; c.Step() {
		if !same(c.Row(), &all[i]) {
			t.Fatalf("row %d differs", i)
		}
		i++
	}
	for c.Seek(nil, record.Backward); c.Row() != nil; c.Step() {
		i--
		if !same(c.Row(), &all[i]) {
			t.Fatalf("row %d differs backward", i)
		}
	}
	if c.Seek(&record.Key{}, record.Forward); c.Row() == nil || !same(c.Row(), &all[0]) {
		t.Fatal("the empty key is not before all others")
	}
	if c.Seek(&record.Key{}, record.Backward); c.Row() != nil {
		t.Fatal("something is before the empty key")
	}
	for range 2000 {
		k := all[random.IntN(len(all))].Key
		k.Version += random.Uint64N(3) - 1
		at := slices.IndexFunc(all, func(r record.Row) bool { return record.Compare(r.Key, k) >= 0 })
		c.Seek(&k, record.Forward)
		if at < 0 && c.Row() != nil || at >= 0 && !same(c.Row(), &all[at]) {
			t.Fatal("seek forward differs")
		}
		c.Seek(&k, record.Backward)
		if at < 0 {
			at = len(all)
		}
		if at == 0 && c.Row() != nil || at > 0 && !same(c.Row(), &all[at-1]) {
			t.Fatal("seek backward differs")
		}
		var got record.Row
		sequence := random.Uint64N(uint64(len(all)))
		want := slices.IndexFunc(all, func(r record.Row) bool {
			return bytes.Equal(r.User, k.User) && r.Version <= k.Version && r.Sequence <= sequence
		})
		ok := m.Get(record.Key{User: k.User, Version: k.Version, Sequence: sequence}, &got)
		if ok != (want >= 0) || ok && !same(&got, &all[want]) {
			t.Fatal("Get differs")
		}
	}
}

// T2, T3. Whatever was published is found, by its key and on a walk, while the index grows.
func TestReadersFindWhatWasPublishedWhileTheWriterGoesOn(t *testing.T) {
	m := New(0)
	var published atomic.Uint64
	var readers sync.WaitGroup
	const rows = 4_000
	key := func(sequence uint64) []byte { return fmt.Appendf(nil, "k%05d", sequence*7919%1000) }
	for reader := range 3 {
		readers.Go(func() {
			random := rand.New(rand.NewPCG(uint64(reader), 1))
			for last := uint64(0); last < rows; {
				if last = published.Load(); last == 0 {
					continue
				}
				want := 1 + random.Uint64N(last)
				var r record.Row
				if !m.Get(record.Key{User: key(want), Version: want, Sequence: last}, &r) || r.Sequence != want {
					t.Errorf("row %d of %d: found %d", want, last, r.Sequence)
					return
				}
				c := m.NewCursor()
				if c.Seek(&record.Key{User: key(want), Version: want, Sequence: want}, record.Forward); c.Row() == nil || c.Row().Sequence != want {
					t.Errorf("a walk from row %d of %d finds %+v", want, last, c.Row())
					return
				}
			}
		})
	}
	var buf []byte
	for sequence := uint64(1); sequence <= rows; sequence++ {
		buf = AppendRow(buf[:0], record.Put, key(sequence), []byte("v"), 0)
		m.Add(buf, []Ref{{0, sequence}}, sequence)
		published.Store(sequence)
	}
	readers.Wait()
}

func TestAnEmptyMemtableIsSmall(t *testing.T) {
	m := New(0)
	if got := m.Bytes(); got > 256 {
		t.Errorf("%d bytes", got)
	}
	m.Add(AppendRow(nil, record.Put, []byte("k"), nil, 0), []Ref{{0, 1}}, 1)
	if got := m.Bytes(); got > 512 {
		t.Errorf("%d bytes with one row", got)
	}
}
