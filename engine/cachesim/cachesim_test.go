package cachesim

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// share runs a policy by its name.
func share(t *testing.T, name string, tr Trace, capacity int) float64 {
	t.Helper()
	for _, k := range Kinds() {
		if k.Name == name {
			return 100 * Run(tr, k.New(capacity, tr.Keys))
		}
	}
	t.Fatalf("no policy is called %q", name)
	return 0
}

// The margins are those of the design's bars, less what a smaller trace and other seeds make of them.
func TestTheBlockCacheHasMoreHitsThanLRUAndARC(t *testing.T) {
	const keys, reads = 10_000, 100_000
	tr := Zipf(1, keys, reads)
	for _, capacity := range []int{keys / 100, keys / 10, keys / 2} {
		own := share(t, "block cache", tr, capacity)
		lru, arc, best := share(t, "LRU", tr, capacity), share(t, "ARC", tr, capacity), 100*Hindsight(tr, capacity)
		t.Logf("capacity %d: %.1f, LRU %.1f, ARC %.1f, knowing how often each key is read %.1f", capacity, own, lru, arc, best)
		if own <= lru || own <= arc || own < best-3 {
			t.Errorf("capacity %d: %.1f is too little", capacity, own)
		}
	}
}

func TestTheBlockCacheKeepsItsHitsThroughScansAndLoops(t *testing.T) {
	const keys, reads, capacity = 10_000, 100_000, 1_000
	for _, tr := range []Trace{ScanMixed(1, keys, reads), Loop(keys, reads, capacity)} {
		own, lru, optimum := share(t, "block cache", tr, capacity), share(t, "LRU", tr, capacity), 100*Optimum(tr, capacity)
		t.Logf("%s: %.1f, LRU %.1f, optimum %.1f", tr.Name, own, lru, optimum)
		if own < lru+4 {
			t.Errorf("%s: %.1f is too little", tr.Name, own)
		}
	}
}

func TestTheBlockCacheAdaptsWhenTheHotKeysChange(t *testing.T) {
	const keys, reads, capacity = 10_000, 300_000, 1_000
	tr := Shifting(1, keys, reads)
	own, lru := share(t, "block cache", tr, capacity), share(t, "LRU", tr, capacity)
	t.Logf("%.1f, LRU %.1f", own, lru)
	if own < lru-1 {
		t.Errorf("%.1f is too little", own)
	}
}

// The row cache has its index and free room in the same bytes, so it is compared with LRU only, and holds fewer rows.
func TestTheRowCacheHasMoreHitsThanLRU(t *testing.T) {
	const keys, reads, capacity = 10_000, 100_000, 1_000
	for _, tr := range []Trace{Zipf(1, keys, reads), ScanMixed(1, keys, reads), Loop(keys, reads, capacity)} {
		own, lru := share(t, "row cache", tr, capacity), share(t, "LRU", tr, capacity)
		t.Logf("%s: %.1f, LRU %.1f", tr.Name, own, lru)
		if own < lru+1 {
			t.Errorf("%s: %.1f is too little", tr.Name, own)
		}
	}
}

// CS1, against all choices that there are.
func TestTheOptimumIsTheMostThatAnyChoiceGives(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 1))
	for range 60 {
		tr := Trace{Keys: 5}
		for range 9 {
			tr.Read = append(tr.Read, random.Uint32N(5))
		}
		const capacity = 2
		want := float64(mostHits(tr.Read, nil, capacity)) / 9
		if got := Optimum(tr, capacity); got != want {
			t.Fatalf("%v: %v, want %v", tr.Read, got, want)
		}
		for _, k := range Kinds() {
			if k.Least > capacity {
				continue
			}
			if got := Run(tr, k.New(capacity, tr.Keys)); got > want {
				t.Fatalf("%v: %s has %v, the optimum %v", tr.Read, k.Name, got, want)
			}
		}
		if got := Hindsight(tr, capacity); got > want {
			t.Fatalf("%v: hindsight has %v, the optimum %v", tr.Read, got, want)
		}
	}
}

// mostHits tries everything that may be held after each read.
func mostHits(reads []uint32, held []uint32, capacity int) (most int) {
	if len(reads) == 0 {
		return 0
	}
	key, rest := reads[0], reads[1:]
	if slices.Contains(held, key) {
		return 1 + mostHits(rest, held, capacity)
	}
	most = mostHits(rest, held, capacity) // not kept
	if len(held) < capacity {
		return max(most, mostHits(rest, append(slices.Clone(held), key), capacity))
	}
	for i := range held {
		next := slices.Clone(held)
		next[i] = key
		most = max(most, mostHits(rest, next, capacity))
	}
	return most
}

func TestTracesAreTheSameForTheSameSeed(t *testing.T) {
	for _, make := range []func(uint64, int, int) Trace{Zipf, ScanMixed, Shifting} {
		a, b, c := make(1, 1000, 5000), make(1, 1000, 5000), make(2, 1000, 5000)
		if !slices.Equal(a.Read, b.Read) || slices.Equal(a.Read, c.Read) {
			t.Error(a.Name)
		}
		if len(a.Read) != 5000 || slices.Max(a.Read) >= 1000 {
			t.Errorf("%s: %d reads, the highest key is %d", a.Name, len(a.Read), slices.Max(a.Read))
		}
	}
}
