package ghost

import (
	"math/rand/v2"
	"testing"

	"github.com/lightning-db/lightning/internal/testkit"
)

// GH1, GH2, against a model in which fingerprints of small numbers are all different.
func TestWhatReturnsWasDroppedNotLongBefore(t *testing.T) {
	random := rand.New(rand.NewPCG(uint64(testkit.Seed(t)), 1))
	hash := func(n uint32) uint64 { return uint64(n) << 33 }
	var s Set
	s.Note(hash(1))
	if s.Returns(hash(1)) || s.Counts() != (Counts{}) {
		t.Fatal("something is remembered in no places")
	}
	places := uint32(16)
	s.Fit(int(places))
	held := map[uint32]uint32{} // by place
	var returned uint64
	for i := range 5_000 {
		n := random.Uint32N(200)
		if i%100 == 99 {
			places = 4 << random.Uint32N(5)
			before := held
			held = map[uint32]uint32{}
			s.Fit(int(places))
			for _, n := range before { // of those that share a place now, either may stay
				if *s.at(print(hash(n))) == print(hash(n)) {
					held[n&(places-1)] = n
				}
			}
			for _, n := range before {
				if _, ok := held[n&(places-1)]; !ok {
					t.Fatal("a place is lost")
				}
			}
		}
		if random.IntN(2) == 0 {
			s.Note(hash(n))
			held[n&(places-1)] = n
			continue
		}
		kept, ok := held[n&(places-1)]
		if want := ok && kept == n; s.Returns(hash(n)) != want {
			t.Fatalf("step %d: %d returns is not %v", i, n, want)
		} else if want {
			delete(held, n&(places-1))
			returned++
		}
		if c := s.Counts(); c.Held != len(held) || c.Returned != returned || c.Held > int(places) {
			t.Fatalf("step %d: %+v, want %d held and %d returned", i, c, len(held), returned)
		}
	}
	s.Fit(0)
	if s.Returns(hash(1)) || s.Counts().Held != 0 {
		t.Fatal("something is remembered")
	}
}
