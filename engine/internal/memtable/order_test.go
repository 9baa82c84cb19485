package memtable

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/lightning-db/lightning/engine/internal/record"
)

// testKey draws keys of several shapes: most share a long prefix, some are close to it or alike in their
// first bytes, so that codes are equal, least and greatest.
func testKey(random *rand.Rand) []byte {
	switch random.IntN(8) {
	case 0:
		return fmt.Appendf(nil, "prefix/user/same-eight/%d", random.IntN(200))
	case 1:
		return []byte("prefix/user/long")[:1+random.IntN(16)]
	case 2:
		return fmt.Appendf(nil, "other%x", random.IntN(50))
	case 3:
		return append([]byte("prefix/user/"), make([]byte, random.IntN(10))...)
	case 4:
		return append([]byte("prefix/user/"), bytes.Repeat([]byte{0xff}, random.IntN(12))...)
	}
	return fmt.Appendf(nil, "prefix/user/%05d", random.IntN(20_000))
}

// T5.
func TestCodesNeverContradictTheOrderOfKeys(t *testing.T) {
	random := rand.New(rand.NewPCG(5, 1))
	for range 50_000 {
		a, b, base := testKey(random), testKey(random), testKey(random)
		base = base[:random.IntN(len(base)+1)]
		if bytes.Compare(a, b) > 0 {
			a, b = b, a
		}
		if encode(base, a) > encode(base, b) {
			t.Fatalf("%q has a greater code than %q under %q", a, b, base)
		}
	}
}

// addKey adds one row and returns its key.
func addKey(m *Memtable, key []byte, sequence uint64) {
	m.Add(AppendRow(nil, record.Put, key, nil, 0), []Ref{{0, sequence}}, sequence)
}

// T3: orders are extended by any number of rows, and each is complete and sorted.
func TestAWalkSeesAllThatWasThereAtItsFirstSeek(t *testing.T) {
	for seed := range uint64(6) {
		random := rand.New(rand.NewPCG(seed, 2))
		m := New(0)
		var keys [][]byte
		sequence := uint64(0)
		for _, most := range []int{1, 3, 40, 3000, 2, 900, 1, 1} {
			for range 1 + random.IntN(most) {
				sequence++
				key := testKey(random)
				addKey(m, key, sequence)
				keys = append(keys, key)
			}
			sorted := slices.Clone(keys)
			slices.SortFunc(sorted, bytes.Compare)
			sorted = slices.CompactFunc(sorted, bytes.Equal)
			c := m.NewCursor()
			compareWalk(t, c, sorted, sequence, random)
			addKey(m, []byte("prefix/user/later"), sequence+1)
			sequence++
			keys = append(keys, []byte("prefix/user/later"))
			compareWalk(t, c, sorted, sequence-1, random)
		}
	}
}

// compareWalk seeks somewhere and walks both ways over the keys that have a row up to a sequence.
func compareWalk(t *testing.T, c *Cursor, sorted [][]byte, sequence uint64, random *rand.Rand) {
	t.Helper()
	start := testKey(random)
	at, _ := slices.BinarySearchFunc(sorted, start, bytes.Compare)
	distinct := func(d record.Direction) (keys [][]byte) {
		k := record.FirstOf(start)
		for c.Seek(&k, d); c.Row() != nil; c.Step() {
			r := c.Row()
			if r.Sequence <= sequence && (len(keys) == 0 || !bytes.Equal(keys[len(keys)-1], r.User)) {
				keys = append(keys, r.User)
			}
		}
		return keys
	}
	if got := distinct(record.Forward); !slices.EqualFunc(got, sorted[at:], bytes.Equal) {
		t.Fatalf("forward from %q: %d keys, want %d", start, len(got), len(sorted)-at)
	}
	got := distinct(record.Backward)
	slices.Reverse(got)
	if !slices.EqualFunc(got, sorted[:at], bytes.Equal) {
		t.Fatalf("backward from %q: %d keys, want %d", start, len(got), at)
	}
}

// Entries that are moved are counted: 20,000 walks between 20,000 single writes move some hundreds
// each, the root of the number of keys a few times, and not all keys each.
func TestWalksBetweenSingleWritesDoNotMoveAllKeysEachTime(t *testing.T) {
	const keys, perWalk = 20_000, 1_000
	random := rand.New(rand.NewPCG(7, 1))
	m := New(0)
	moved := 0
	for sequence := range uint64(keys) {
		before := m.order.Load()
		addKey(m, fmt.Appendf(nil, "key%012d", random.Uint64N(1e12)), sequence+1)
		after := m.ordered()
		moved += len(after.recent)
		if len(after.old) != len(before.old) {
			moved += len(after.old)
		}
	}
	if o := m.order.Load(); len(o.old)+len(o.recent) != keys {
		t.Fatalf("%d and %d keys", len(o.old), len(o.recent))
	}
	if moved > keys*perWalk {
		t.Errorf("%d entries moved for %d keys", moved, keys)
	}
	before := m.Bytes()
	m.order.Store(&order{})
	if order := before - m.Bytes(); order != keys*entryBytes {
		t.Errorf("an order of %d keys counts as %d bytes", keys, order)
	}
}
