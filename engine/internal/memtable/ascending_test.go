package memtable

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/lightning-db/lightning/engine/internal/record"
	"github.com/lightning-db/lightning/internal/testkit"
)

func ascendingKey(n int) []byte { return fmt.Appendf(nil, "key%06d", n) }

// addKeys adds a batch with a row for each number, whose value is the sequence.
func addKeys(m *Memtable, sequence uint64, numbers ...int) uint64 {
	var buf []byte
	var refs []Ref
	for i, n := range numbers {
		refs = append(refs, Ref{Offset: len(buf), Version: sequence + uint64(i)})
		buf = AppendRow(buf, record.Put, ascendingKey(n), fmt.Append(nil, sequence+uint64(i)), 0)
	}
	m.Add(buf, refs, sequence)
	return sequence + uint64(len(numbers))
}

// expectNewest looks for keys by Get and by a cursor in both directions; want gives the sequences of those that exist.
func expectNewest(t *testing.T, m *Memtable, want map[int]uint64, most int) {
	t.Helper()
	for n := range most {
		key := record.Key{User: ascendingKey(n), Version: record.MaxVersion, Sequence: record.MaxSequence}
		var r record.Row
		found := m.Get(key, &r)
		if sequence, ok := want[n]; ok != found || ok && (r.Sequence != sequence || string(r.Value) != fmt.Sprint(sequence)) {
			t.Fatalf("key %d: %v, sequence %d of %d", n, found, r.Sequence, sequence)
		}
	}
	c := m.NewCursor()
	seen := map[int]bool{}
	for c.Seek(nil, record.Forward); c.Row() != nil; c.Step() {
		var n int
		fmt.Sscanf(string(c.Row().User), "key%d", &n)
		if !seen[n] && c.Row().Sequence != want[n] {
			t.Fatalf("the walk shows key %d first with sequence %d, want %d", n, c.Row().Sequence, want[n])
		}
		seen[n] = true
	}
	if len(seen) != len(want) {
		t.Fatalf("the walk shows %d keys of %d", len(seen), len(want))
	}
	for n := 0; n < most; n += 7 {
		k := record.FirstOf(ascendingKey(n))
		c.Seek(&k, record.Forward)
		at := n
		for at < most && want[at] == 0 {
			at++
		}
		if row := c.Row(); at == most && row != nil || at < most && (row == nil || string(row.User) != string(ascendingKey(at))) {
			t.Fatalf("from key %d on comes %v, want %d", n, row, at)
		}
	}
}

// TestAscendingKeysAreFoundBeforeAndAfterThereIsAnIndex adds ascending keys with gaps, then one that is not behind the others, at
// different times and of different kinds.
func TestAscendingKeysAreFoundBeforeAndAfterThereIsAnIndex(t *testing.T) {
	random := testkit.Rand(t)
	for _, count := range []int{0, 1, 2, 100, 3000} {
		for name, last := range map[string]int{"the last again": 2 * count, "the first again": 2, "new before all": 1, "new between": count | 1} {
			m, want, sequence := New(0), map[int]uint64{}, uint64(1)
			for n := 1; n <= count; n += 3 {
				var numbers []int
				for i := n; i < n+3 && i <= count; i++ {
					want[2*i] = sequence + uint64(len(numbers))
					numbers = append(numbers, 2*i)
				}
				sequence = addKeys(m, sequence, numbers...)
			}
			if m.index.Load() != nil {
				t.Fatal("ascending keys have an index")
			}
			if random.IntN(2) == 0 {
				expectNewest(t, m, want, 2*count+3)
			}
			want[last] = sequence
			sequence = addKeys(m, sequence, last)
			expectNewest(t, m, want, 2*count+3)
			for i := range 5 { // and so on, with an index
				want[2*count+i] = sequence
				sequence = addKeys(m, sequence, 2*count+i)
			}
			expectNewest(t, m, want, 2*count+8)
			if count > 2 && m.index.Load() == nil {
				t.Fatalf("%s: no index", name)
			}
		}
	}
}

// TestReadersFindAllWhileTheIndexIsMade: what was published before a read began is found, whichever way.
func TestReadersFindAllWhileTheIndexIsMade(t *testing.T) {
	for range 20 {
		const count = 500
		m := New(0)
		var published atomic.Uint64 // sequences, which are the keys' numbers at first
		var stop atomic.Bool
		var readers sync.WaitGroup
		for w := range 2 {
			readers.Go(func() {
				for i := w; !stop.Load(); i++ {
					sequence := published.Load()
					if sequence == 0 {
						continue
					}
					n := i%min(int(sequence), count) + 1
					var r record.Row
					at := record.Key{User: ascendingKey(n), Version: record.MaxVersion, Sequence: sequence}
					want := uint64(n)
					if again := uint64(count + 1 + count - n); again <= sequence {
						want = again
					}
					if !m.Get(at, &r) || r.Sequence != want {
						t.Errorf("at %d key %d has sequence %d, want %d", sequence, n, r.Sequence, want)
						return
					}
				}
			})
		}
		sequence := uint64(1)
		for n := 1; n <= count; n++ {
			sequence = addKeys(m, sequence, n)
			published.Store(sequence - 1)
		}
		for n := count; n > 0; n-- { // the same once more, from the last on
			sequence = addKeys(m, sequence, n)
			published.Store(sequence - 1)
		}
		stop.Store(true)
		readers.Wait()
	}
}
