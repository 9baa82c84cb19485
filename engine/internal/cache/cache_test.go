package cache

import (
	"math/rand/v2"
	"testing"
)

func TestCacheStaysWithinItsBytesAndKeepsWhatIsUsed(t *testing.T) {
	const capacity = 16 * 1000
	c := New[int](capacity)
	hot := Place{1, 1}
	c.Add(hot, 42, 10)
	random := rand.New(rand.NewPCG(1, 1))
	for i := range 10_000 {
		c.Add(Place{2, uint64(i)}, i, random.IntN(600))
		if v, ok := c.Get(hot); !ok || v != 42 {
			t.Fatalf("the hot block is gone after %d others", i)
		}
		if _, _, used := c.Stats(); used > capacity {
			t.Fatalf("%d bytes used of %d", used, capacity)
		}
	}
	if hits, misses, used := c.Stats(); hits != 10_000 || misses != 0 || used < capacity/2 {
		t.Fatalf("%d hits, %d misses, %d bytes", hits, misses, used)
	}
}

func TestNoCacheHoldsNothing(t *testing.T) {
	c := New[int](-1)
	c.Add(Place{1, 1}, 1, 1)
	if _, ok := c.Get(Place{1, 1}); ok {
		t.Fatal("found")
	}
	c.Stats()
}
