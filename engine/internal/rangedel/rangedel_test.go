package rangedel

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"sort"
	"testing"

	"github.com/lightning-db/lightning/engine/internal/record"
	"github.com/lightning-db/lightning/internal/testkit"
)

func key(i int) []byte { return fmt.Appendf(nil, "%02d", i) }

func random(r *rand.Rand, sequence int) Tombstone {
	start := r.IntN(60)
	return Tombstone{Start: key(start), End: key(start + 1 + r.IntN(1+r.IntN(39))), Version: uint64(1 + r.IntN(20)), Sequence: uint64(sequence)}
}

// TestASetFindsWhatALookAtEachFinds compares answers with those of a list. RG1.
func TestASetFindsWhatALookAtEachFinds(t *testing.T) {
	seed := uint64(testkit.Seed(t))
	for sub := range uint64(300) {
		r := rand.New(rand.NewPCG(seed+sub, 31))
		var grown *Set
		var list []Tombstone
		for n := range 1 + r.IntN(40) {
			c := random(r, n+1)
			grown = grown.With(c)
			list = append(list, c)
		}
		whole := NewSet(append([]Tombstone(nil), list...))
		for _, s := range []*Set{grown, whole} {
			if s.Len() != len(list) || len(s.All()) != len(list) {
				t.Fatalf("seed %d: %d of %d", seed+sub, s.Len(), len(list))
			}
			for range 40 {
				check(t, fmt.Sprintf("seed %d", seed+sub), r, s, list)
			}
		}
	}
}

func check(t *testing.T, what string, r *rand.Rand, s *Set, list []Tombstone) {
	t.Helper()
	at := record.Key{User: key(r.IntN(102)), Version: uint64(r.IntN(22)), Sequence: uint64(r.IntN(len(list) + 2))}
	end, since := key(r.IntN(102)), uint64(r.IntN(len(list)+1))
	var best *Tombstone
	hidden, all, meeting := false, false, false
	row, upTo := record.Key{User: at.User, Version: uint64(r.IntN(22)), Sequence: uint64(r.IntN(len(list) + 2))}, record.Key{Version: at.Version, Sequence: at.Sequence}
	for i := range list {
		c := &list[i]
		seen := c.Version <= at.Version && c.Sequence <= at.Sequence
		if c.Covers(at.User) && seen && (best == nil || c.Hides(best.Version, best.Sequence)) {
			best = c
		}
		hides := seen && c.Hides(row.Version, row.Sequence) && c.Covers(at.User)
		hidden = hidden || hides
		all = all || hides && bytes.Compare(end, c.End) <= 0
		meeting = meeting || c.Sequence > since && bytes.Compare(c.Start, end) < 0 && bytes.Compare(at.User, c.End) < 0 && bytes.Compare(at.User, end) < 0
	}
	version, sequence, ok := s.Newest(at)
	if ok != (best != nil) || ok && (version != best.Version || sequence != best.Sequence) {
		t.Fatalf("%s: newest of %v is %d %d %v, want %v", what, at, version, sequence, ok, best)
	}
	if s.HidesRow(&row, upTo) != hidden || s.HidesKeys(at.User, at.User, row.Version, row.Sequence, upTo) != hidden {
		t.Fatalf("%s: %v is hidden up to %v: want %v", what, row, upTo, hidden)
	}
	whole := &Tombstone{Start: at.User, End: end, Version: row.Version, Sequence: row.Sequence}
	if bytes.Compare(at.User, end) < 0 && s.HidesRange(whole, upTo) != all {
		t.Fatalf("%s: %v is hidden up to %v: want %v", what, whole, upTo, all)
	}
	spans := s.Spans()
	i := sort.Search(len(spans), func(i int) bool { return bytes.Compare(spans[i].End, at.User) > 0 })
	in := slices.ContainsFunc(list, func(c Tombstone) bool { return c.Covers(at.User) })
	if in != (i < len(spans) && bytes.Compare(spans[i].Start, at.User) <= 0) {
		t.Fatalf("%s: %s in %s: want %v", what, at.User, spans, in)
	}
	if bytes.Compare(at.User, end) < 0 && (s.Meeting(at.User, end, since) != nil) != meeting {
		t.Fatalf("%s: [%s, %s) since %d: want %v", what, at.User, end, since, meeting)
	}
}

// TestPiecesAnswerAsTheWhole cuts at random keys and joins again. RG2.
func TestPiecesAnswerAsTheWhole(t *testing.T) {
	seed := uint64(testkit.Seed(t))
	for sub := range uint64(300) {
		r := rand.New(rand.NewPCG(seed+sub, 32))
		var list []Tombstone
		for n := range 1 + r.IntN(20) {
			list = append(list, random(r, n+1))
		}
		whole := Join(append([]Tombstone(nil), list...))
		var pieces []Tombstone
		rest := append([]Tombstone(nil), whole...)
		for at := 0; at < 100; at += 1 + r.IntN(30) {
			var upTo []Tombstone
			upTo, rest = Cut(rest, key(at))
			for i := range upTo {
				if bytes.Compare(upTo[i].Last(), key(at)) > 0 || i > 0 && Compare(&upTo[i-1], &upTo[i]) >= 0 {
					t.Fatalf("seed %d: a piece up to %s goes to %s, or is out of order", seed+sub, key(at), upTo[i].Last())
				}
			}
			pieces = append(pieces, upTo...)
		}
		pieces = append(pieces, rest...)
		s := NewSet(append([]Tombstone(nil), pieces...))
		for range 40 {
			at := record.Key{User: key(r.IntN(102)), Version: uint64(r.IntN(22)), Sequence: uint64(r.IntN(22))}
			v1, s1, ok1 := s.Newest(at)
			v2, s2, ok2 := NewSet(append([]Tombstone(nil), list...)).Newest(at)
			if v1 != v2 || s1 != s2 || ok1 != ok2 {
				t.Fatalf("seed %d: %v: pieces say %d %d %v, the whole %d %d %v", seed+sub, at, v1, s1, ok1, v2, s2, ok2)
			}
		}
		joined := Join(pieces)
		if fmt.Sprint(joined) != fmt.Sprint(whole) {
			t.Fatalf("seed %d: joined\n%v, want\n%v", seed+sub, joined, whole)
		}
	}
}

// TestManyTombstonesInEachOtherAreNotAllLookedAt asks for each of many tombstones whether another one hides what it does, as a flush does: of a
// range that is deleted again and again, of one that grows and of one that shrinks.
func TestManyTombstonesInEachOtherAreNotAllLookedAt(t *testing.T) {
	const count = 4096
	for name, keys := range map[string]func(i int) (start, end int){
		"the same": func(int) (int, int) { return 0, count },
		"growing":  func(i int) (int, int) { return 0, i + 1 },
		"nested":   func(i int) (int, int) { return i, count },
		"sliding":  func(i int) (int, int) { return i, i + 100 },
	} {
		var list []Tombstone
		for i := range count {
			start, end := keys(i)
			list = append(list, Tombstone{Start: fmt.Appendf(nil, "%05d", start), End: fmt.Appendf(nil, "%05d", end), Version: uint64(i + 1), Sequence: uint64(i + 1)})
		}
		s := NewSet(slices.Clone(list))
		for _, snapshot := range []uint64{1, count / 2, record.MaxSequence} {
			looks, past := 0, newest{}
			for i := range list {
				c := &list[i]
				q := hiding{start: c.Start, end: c.End, of: record.Key{Version: c.Version, Sequence: c.Sequence}, upTo: record.Key{Version: record.MaxVersion, Sequence: snapshot}}
				q.in(s)
				looks += q.looks
				past.at = record.Key{User: c.Start, Version: record.MaxVersion, Sequence: 1}
				past.search(s.trees[0], 0, count)
			}
			if looks+past.looks > 100*count {
				t.Errorf("%s, up to %d: %d and %d looks for %d tombstones", name, snapshot, looks, past.looks, count)
			}
		}
	}
}

func BenchmarkNewest(b *testing.B) {
	for _, n := range []int{1, 100, 10_000} {
		b.Run(fmt.Sprintf("tombstones=%d", n), func(b *testing.B) {
			var s *Set
			for i := range n {
				s = s.With(Tombstone{Start: fmt.Appendf(nil, "%08d", i*7919%n*10), End: fmt.Appendf(nil, "%08d", i*7919%n*10+25), Version: uint64(i + 1), Sequence: uint64(i + 1)})
			}
			at := record.Key{User: fmt.Appendf(nil, "%08d", n*5), Version: record.MaxVersion, Sequence: record.MaxSequence}
			for b.Loop() {
				s.Newest(at)
			}
		})
	}
}
