package cachesim

import (
	"math"
	"math/rand/v2"
	"sort"
)

// Trace is a sequence of the keys that are read, each below Keys.
type Trace struct {
	Name string
	Keys int
	Read []uint32
}

const zipfExponent = 0.99

// popularity draws keys with probabilities as of 1/(rank+1)^0.99, exactly, in an order of ranks that has nothing to do
// with the order of keys.
type popularity struct {
	sums   []float64
	keys   []int
	random *rand.Rand
}

func newPopularity(keys int, random *rand.Rand) *popularity {
	p := &popularity{sums: make([]float64, keys), keys: random.Perm(keys), random: random}
	total := 0.0
	for i := range p.sums {
		total += math.Pow(float64(i+1), -zipfExponent)
		p.sums[i] = total
	}
	return p
}

func (p *popularity) draw() uint32 {
	last := len(p.sums) - 1
	rank := min(sort.SearchFloat64s(p.sums, p.random.Float64()*p.sums[last]), last)
	return uint32(p.keys[rank])
}

// Zipf reads keys independently of each other, with Zipf's distribution and exponent 0.99, as YCSB does.
func Zipf(seed uint64, keys, reads int) Trace {
	p := newPopularity(keys, rand.New(rand.NewPCG(seed, 1)))
	t := Trace{Name: "Zipf 0.99", Keys: keys}
	for range reads {
		t.Read = append(t.Read, p.draw())
	}
	return t
}

// ScanMixed is Zipf with scans in between: after every twentieth of keys reads, a fifth of all keys is read in their order,
// from a random one on. So four reads of five belong to scans.
func ScanMixed(seed uint64, keys, reads int) Trace {
	p := newPopularity(keys, rand.New(rand.NewPCG(seed, 2)))
	t := Trace{Name: "Zipf 0.99 with long scans", Keys: keys}
	for len(t.Read) < reads {
		for range keys / 20 {
			t.Read = append(t.Read, p.draw())
		}
		start := p.random.IntN(keys)
		for i := range keys / 5 {
			t.Read = append(t.Read, uint32((start+i)%keys))
		}
	}
	t.Read = t.Read[:reads]
	return t
}

// Loop reads the first of the keys in their order, again and again: a few more than a cache of so many entries holds.
func Loop(keys, reads, capacity int) Trace {
	t := Trace{Name: "loop over 1.2 times the cache", Keys: keys}
	length := min(keys, capacity+capacity/5)
	for i := range reads {
		t.Read = append(t.Read, uint32(i%length))
	}
	return t
}

// Shifting is Zipf whose ranks are dealt anew, in part, ten times: each time a quarter of the keys change places, so that
// what was hot is cold and the other way round.
func Shifting(seed uint64, keys, reads int) Trace {
	p := newPopularity(keys, rand.New(rand.NewPCG(seed, 3)))
	t := Trace{Name: "Zipf 0.99, shifting", Keys: keys}
	for i := range reads {
		if i > 0 && i%(reads/10) == 0 {
			p.shift()
		}
		t.Read = append(t.Read, p.draw())
	}
	return t
}

// shift swaps each of the hundred hottest keys, and an eighth of the others, with random ones.
func (p *popularity) shift() {
	for rank := range p.keys {
		if rank < 100 || p.random.IntN(8) == 0 {
			other := p.random.IntN(len(p.keys))
			p.keys[rank], p.keys[other] = p.keys[other], p.keys[rank]
		}
	}
}
