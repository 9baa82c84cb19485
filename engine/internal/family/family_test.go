package family

import (
	"bytes"
	"math"
	"slices"
	"testing"

	"github.com/lightning-db/lightning/internal/testkit"
)

// TestPrefixesSortAsIDsAndNoneBeginsAnother checks FM1 at every place where the length changes and at random ids.
func TestPrefixesSortAsIDsAndNoneBeginsAnother(t *testing.T) {
	random := testkit.Rand(t)
	ids := []uint64{0, 1, shortIDs - 1, shortIDs, shortIDs + 1, 255, 256, 65535, 65536, 1<<32 - 1, 1 << 32, math.MaxUint64}
	for range 100 {
		ids = append(ids, random.Uint64()>>random.IntN(64))
	}
	for _, a := range ids {
		for _, b := range ids {
			pa, pb := Prefix(a), Prefix(b)
			if id, ok := IDOf(append(bytes.Clone(pa), "key"...)); id != a || !ok {
				t.Fatalf("a key with prefix %x is of %d, %v; want %d", pa, id, ok, a)
			}
			if a != b && bytes.HasPrefix(pa, pb) || (a < b) != (bytes.Compare(pa, pb) < 0) {
				t.Fatalf("%d has prefix %x, %d has %x", a, pa, b, pb)
			}
			if end := End(pa); a < b && bytes.Compare(end, pb) > 0 || bytes.Compare(append(pa, 0xFF, 0xFF), end) >= 0 {
				t.Fatalf("%d ends at %x, %d has prefix %x", a, end, b, pb)
			}
		}
	}
}

func TestDroppedFamiliesCoverTheirKeysOnly(t *testing.T) {
	d := NewDropped([]uint64{2, 300})
	for id, want := range map[uint64]bool{0: false, 1: false, 2: true, 3: false, 299: false, 300: true, 301: false} {
		for _, key := range []string{"", "a", "\xff\xff"} {
			if got := d.Covers(append(Prefix(id), key...)); got != want {
				t.Errorf("family %d: %v", id, got)
			}
		}
	}
	if !d.Meets(Prefix(1), Prefix(3)) || d.Meets(Prefix(3), Prefix(299)) || NewDropped(nil).Covers([]byte{1}) {
		t.Error("ranges are not met as they are")
	}
}

func FuzzEntry(f *testing.F) {
	f.Add(Entry{ID: 7, Name: "users", TTLMillis: 1000, Dropped: true}.Encode())
	f.Add(Entry{ID: 300, Name: "log", NewestOnly: true, OwnCompression: true, Compression: 2}.Encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		e, ok := Decode(b)
		if !ok {
			return
		}
		if again, ok := Decode(e.Encode()); !ok || again != e {
			t.Fatalf("%+v becomes %+v, %v", e, again, ok)
		}
	})
}

// A walk over rows finds the options of the family of each, and those of no other.
func TestStylesAreThoseOfTheFamilyOfAKey(t *testing.T) {
	var entries []Entry
	for _, id := range []uint64{300, 2, 5, 239, 240, 7} {
		entries = append(entries, Entry{ID: id, Name: "f", NewestOnly: id%2 == 0, OwnCompression: id == 5 || id == 239})
	}
	s := NewStyles(entries).Walk()
	for id := range uint64(400) {
		for _, key := range []string{"", "a", "\xff\xff"} {
			e, ok := s.Of(append(Prefix(id), key...))
			want := slices.ContainsFunc(entries, func(e Entry) bool { return e.ID == id && id != 7 })
			if ok != want || ok && e.ID != id {
				t.Errorf("family %d: %v %v", id, e, ok)
			}
		}
	}
	if s := NewStyles(entries[5:]); s.Walk() != nil {
		t.Error("a family like the store has a style")
	}
}

func TestEntriesSurviveTheirEncoding(t *testing.T) {
	for _, e := range []Entry{
		{ID: 1, Name: "a"}, {ID: 1 << 40, Name: "b", TTLMillis: 9, Dropped: true}, {ID: 3, Name: "c", NewestOnly: true},
		{ID: 4, Name: "d", OwnCompression: true}, {ID: 5, Name: "e", OwnCompression: true, Compression: 3, NewestOnly: true, Dropped: true, TTLMillis: 1 << 50},
	} {
		b := e.Encode()
		if got, ok := Decode(b); !ok || got != e {
			t.Errorf("%+v becomes %+v, %v", e, got, ok)
		}
		for n := range len(b) - len(e.Name) + 1 {
			if _, ok := Decode(b[:n]); ok {
				t.Errorf("%d bytes of %x are taken", n, b)
			}
		}
	}
}
