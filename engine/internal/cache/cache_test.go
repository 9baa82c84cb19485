package cache

import (
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/lightning-db/lightning/internal/testkit"
)

func seeded(t testing.TB) *rand.Rand { return rand.New(rand.NewPCG(uint64(testkit.Seed(t)), 1)) }

// CA1.
func TestCacheStaysWithinItsBytesAndKeepsWhatIsUsed(t *testing.T) {
	const capacity = 1 << 20
	c := New[int](capacity)
	p := c.Part(1)
	random := seeded(t)
	hot := Place{1, 1}
	p.Add(hot, 42, 1000)
	for i := range 20_000 {
		if v, ok := p.Get(hot); !ok || v != 42 {
			t.Fatalf("the hot block is gone after %d others", i)
		}
		size := 100 << random.IntN(13) // up to 400 KiB
		p.Add(Place{2, uint64(i)}, i, size)
		if s := c.Stats(); s.Bytes > capacity {
			t.Fatalf("%d bytes are held of %d", s.Bytes, capacity)
		}
	}
	if s := c.Stats(); s.Hits != 20_000 || s.Misses != 0 || s.Bytes < capacity/2 || s.Evicted == 0 || s.Refused == 0 {
		t.Fatalf("%+v", s)
	}
}

func TestABlockLargerThanHalfAShardIsNotHeld(t *testing.T) {
	c := New[int](1 << 20)
	p := c.Part(1)
	p.Add(Place{1, 1}, 1, 1<<19)
	if _, ok := p.Get(Place{1, 1}); ok {
		t.Error("held")
	}
	p.Add(Place{1, 2}, 2, 1<<19-Overhead)
	if _, ok := p.Get(Place{1, 2}); !ok {
		t.Error("one that is just small enough is not held")
	}
}

func TestALongScanDoesNotPushOutWhatIsReadOften(t *testing.T) {
	for name, add := range map[string]func(*Part[int], Place, int, int){"known to be one": (*Part[int]).AddScanned, "not known": (*Part[int]).Add} {
		t.Run(name, func(t *testing.T) {
			c := New[int](4 << 20)
			p := c.Part(1)
			const hot = 200
			for range 4 {
				for i := range hot {
					if _, ok := p.Get(Place{1, uint64(i)}); !ok {
						p.Add(Place{1, uint64(i)}, i, 8<<10)
					}
				}
			}
			for i := range 5_000 {
				add(p, Place{2, uint64(i)}, i, 8<<10)
			}
			left := 0
			for i := range hot {
				if _, ok := p.Get(Place{1, uint64(i)}); ok {
					left++
				}
			}
			if left < hot*95/100 {
				t.Errorf("%d of %d hot blocks are left after the scan", left, hot)
			}
		})
	}
}

func TestNewHotBlocksReplaceThoseThatAreReadNoMore(t *testing.T) {
	c := New[int](1 << 20)
	p := c.Part(1)
	round := func(file uint64) (hits int) {
		for i := range 100 {
			if _, ok := p.Get(Place{file, uint64(i)}); ok {
				hits++
			} else {
				p.Add(Place{file, uint64(i)}, i, 8<<10)
			}
		}
		return hits
	}
	for range 100 {
		round(1)
	}
	if hits := round(1); hits < 95 {
		t.Fatalf("%d of 100 hits", hits)
	}
	for range 100 {
		round(2)
	}
	if hits := round(2); hits < 80 {
		t.Fatalf("%d of 100 hits after all others were forgotten", hits)
	}
}

// CA3.
func TestStoresDoNotSeeEachOthersBlocks(t *testing.T) {
	c := New[int](1 << 20)
	one, two := c.Part(1), c.Part(2)
	one.Add(Place{7, 0}, 1, 10)
	if _, ok := two.Get(Place{7, 0}); ok {
		t.Fatal("a block of another store")
	}
	two.Add(Place{7, 0}, 2, 10)
	two.Forget(func(file uint64) bool { return file == 7 })
	if v, ok := one.Get(Place{7, 0}); !ok || v != 1 {
		t.Fatal("another store's file was forgotten")
	}
	if _, ok := two.Get(Place{7, 0}); ok {
		t.Fatal("not forgotten")
	}
}

func TestForgetDropsTheBlocksOfAFileWhereverTheyAre(t *testing.T) {
	c := New[int](1 << 20)
	p := c.Part(1)
	for i := range 100 {
		p.Add(Place{uint64(i % 3), uint64(i)}, i, 5000)
	}
	before := c.Stats().Count
	p.Forget(func(file uint64) bool { return file == 1 })
	for i := range 100 {
		if _, ok := p.Get(Place{uint64(i % 3), uint64(i)}); ok == (i%3 == 1) {
			t.Fatalf("block %d of file %d: held is %v", i, i%3, ok)
		}
	}
	if s := c.Stats(); s.Count != before-33 || s.Bytes != s.Count*(5000+Overhead) {
		t.Fatalf("%+v, of %d before", s, before)
	}
}

func TestAHitTakesNoLockAllocatesNothingAndWritesToAHotBlockNoMore(t *testing.T) {
	c := New[int](64 << 20)
	p := c.Part(1)
	at := Place{1, 2}
	p.Add(at, 7, 100)
	shards := *c.shards.Load()
	for i := range shards {
		shards[i].mu.Lock() // a Get that wanted one would wait for ever
	}
	if n := testing.AllocsPerRun(100, func() {
		if v, ok := p.Get(at); !ok || v != 7 {
			t.Fatal("not found")
		}
		if _, ok := p.Get(Place{1, 3}); ok {
			t.Fatal("found")
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
	a := address{1, at}
	e := c.shard(a.hash()).index.Load().find(a.hash(), a)
	if n := e.reads.Load(); n != maxReads {
		t.Errorf("%d reads are noted, want %d", n, maxReads)
	}
	for i := range shards {
		shards[i].mu.Unlock()
	}
}

// CA1.
func TestResizeDropsAtOnceWhatDoesNotFit(t *testing.T) {
	c := New[int](64 << 20)
	p := c.Part(1)
	fill := func() {
		for i := range 2_500 {
			p.Add(Place{1, uint64(i)}, i, 64<<10)
		}
	}
	fill()
	if s := c.Stats(); s.Bytes < 60<<20 {
		t.Fatalf("%+v", s)
	}
	p.Get(Place{9, 9})
	for _, bytes := range []int{65 << 20, 20 << 20, 1 << 20, 300 << 20, 0, -5, 2 << 20} {
		c.Resize(bytes)
		if s := c.Stats(); s.Bytes > max(bytes, 0) || s.Misses != 1 {
			t.Fatalf("at %d: %+v", bytes, s)
		}
		fill()
		if s := c.Stats(); s.Bytes > max(bytes, 0) || bytes >= 1<<20 && s.Bytes < min(bytes, 160<<20)*8/10 {
			t.Fatalf("filled at %d: %+v", bytes, s)
		}
	}
	c.Clear()
	if s := c.Stats(); s.Bytes != 0 || s.Count != 0 || s.Capacity != 2<<20 {
		t.Fatalf("cleared: %+v", s)
	}
}

// CA1, CA2, CA3.
func TestReadersWritersAndResizesSideBySide(t *testing.T) {
	c := New[Place](8 << 20)
	seed := uint64(testkit.Seed(t))
	var workers sync.WaitGroup
	for worker := range 4 {
		workers.Go(func() {
			random := rand.New(rand.NewPCG(seed, uint64(worker)))
			p := c.Part(uint64(worker % 2))
			for i := range 5_000 {
				at := Place{uint64(worker%2)*100 + random.Uint64N(10), random.Uint64N(200)}
				if got, ok := p.Get(at); ok && got != at {
					t.Errorf("%v under %v", got, at)
					return
				} else if !ok {
					p.Add(at, at, int(at.Offset)*100)
				}
				switch {
				case worker == 0 && i%500 == 0:
					c.Resize((1 + random.IntN(20)) << 20)
				case worker == 1 && i%1000 == 0:
					p.Forget(func(file uint64) bool { return file%2 == 0 })
				case worker == 2 && i%3000 == 0:
					c.Clear()
				case i%50 == 0:
					if s := c.Stats(); s.Bytes > s.Capacity {
						t.Errorf("%+v", s)
					}
				}
			}
		})
	}
	workers.Wait()
}

func TestNoCacheHoldsNothing(t *testing.T) {
	var none *Part[int]
	for _, p := range []*Part[int]{none, New[int](-1).Part(1), New[int](0).Part(1)} {
		p.Add(Place{1, 1}, 1, 0)
		if _, ok := p.Get(Place{1, 1}); ok {
			t.Fatal("found")
		}
		p.Forget(func(uint64) bool { return true })
		if s := p.Stats(); s.Bytes != 0 || s.Count != 0 {
			t.Fatalf("%+v", s)
		}
	}
}

func TestTheIndexFindsWhatAMapFinds(t *testing.T) {
	random := seeded(t)
	x := newIndex[int](8)
	model := map[address]*entry[int]{}
	for range 5_000 {
		a := address{1, Place{1, random.Uint64N(300)}}
		h := a.Offset * 0x9e3779b97f4a7c15 >> 60 // homes are few, so that entries push each other away
		switch e := model[a]; {
		case e == nil:
			if 2*(x.count+1) > len(x.slots) {
				x = x.grown()
			}
			e = &entry[int]{address: a, hash: h}
			x.insert(e)
			model[a] = e
		case random.IntN(2) == 0:
			x.remove(e)
			delete(model, a)
		}
		if got := x.find(h, a); got != model[a] {
			t.Fatalf("%v: %v, want %v", a, got, model[a])
		}
	}
	for a, e := range model {
		if x.find(e.hash, a) != e {
			t.Fatalf("%v is lost", a)
		}
	}
	if x.count != len(model) {
		t.Fatalf("%d entries, want %d", x.count, len(model))
	}
}

func TestTheSketchNeverSaysTooLittle(t *testing.T) {
	random := seeded(t)
	var s sketch
	s.fit(1)
	said := map[uint64]uint8{}
	for i := range 5000 {
		h, reads := random.Uint64(), uint8(random.IntN(maxReads+1))
		s.raise(h, reads)
		said[h] = reads
		if i == 2000 {
			s.fit(500)
		}
	}
	exact := 0
	for h, reads := range said {
		if s.estimate(h) < reads {
			t.Fatalf("%d, want at least %d", s.estimate(h), reads)
		}
		if s.estimate(h) == reads {
			exact++
		}
	}
	if exact < len(said)/3 {
		t.Errorf("%d of %d estimates are exact", exact, len(said))
	}
}

func BenchmarkGet(b *testing.B) {
	c := New[int](64 << 20)
	p := c.Part(1)
	for i := range 7000 {
		p.Add(Place{uint64(i >> 8), uint64(i) << 13}, i, 8<<10)
	}
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for i := uint64(0); pb.Next(); i = (i*5 + 1) & 4095 {
			p.Get(Place{i >> 8, i << 13})
		}
	})
}
