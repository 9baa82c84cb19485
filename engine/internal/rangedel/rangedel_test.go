package rangedel

import (
	"bytes"
	"fmt"
	"math/rand/v2"
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
	covering, meeting := 0, false
	for i := range list {
		c := &list[i]
		if c.Covers(at.User) {
			covering++
			if c.Version <= at.Version && c.Sequence <= at.Sequence && (best == nil || c.Hides(best.Version, best.Sequence)) {
				best = c
			}
		}
		meeting = meeting || c.Sequence > since && bytes.Compare(c.Start, end) < 0 && bytes.Compare(at.User, c.End) < 0 && bytes.Compare(at.User, end) < 0
	}
	version, sequence, ok := s.Newest(at)
	if ok != (best != nil) || ok && (version != best.Version || sequence != best.Sequence) {
		t.Fatalf("%s: newest of %v is %d %d %v, want %v", what, at, version, sequence, ok, best)
	}
	s.Covering(at.User, func(c *Tombstone) bool {
		covering--
		return c.Covers(at.User)
	})
	if covering != 0 {
		t.Fatalf("%s: %d that cover %s are missed", what, covering, at.User)
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
