package cachesim

import (
	"encoding/binary"
	"math"
	"math/rand/v2"

	"github.com/lightning-db/lightning/engine/internal/budget"
	"github.com/lightning-db/lightning/engine/internal/cache"
	"github.com/lightning-db/lightning/engine/internal/keyhash"
	"github.com/lightning-db/lightning/engine/internal/rowcache"
)

// Op is a read of one row, or of many that follow each other.
type Op struct {
	Key   uint32
	Count uint32 // of a scan; zero for a point read
}

// Load is a sequence of them.
type Load struct {
	Name string
	Keys int
	Ops  []Op
}

const (
	blockBytes = 8 << 10
	blockRows  = 64 // of 128 bytes
)

// Work is what a load cost.
type Work struct {
	Gets, RowHits int
	Blocks        int     // that were asked for, by point reads and scans
	Reads         int     // of blocks that were not in memory
	RowPart       float64 // of the bytes, in the end
}

// Cost is the work in searches in a block; reading one costs eight.
func (w Work) Cost() int { return w.Gets - w.RowHits + 8*w.Reads }

// shared is both caches of the engine, as a store asks them.
type shared struct {
	rows   *rowcache.Cache
	cache  *cache.Cache[uint32]
	blocks *cache.Part[uint32]

	key   [16]byte
	value [96]byte
	to    []byte
	work  Work
}

// RunShared reads a load through both caches of the engine, which have so many bytes together, and rows a part of them: at first if they
// share, else for good.
func RunShared(l Load, bytes int, part float64, share bool) Work {
	rows := int(part * float64(bytes))
	s := &shared{rows: rowcache.New(rows), cache: cache.New[uint32](bytes - rows)}
	s.blocks = s.cache.Part(0)
	division := budget.NewDivision(bytes, rows)
	look := func(int) {
		if now := division.Rows(); division.Look(s.counts()) != now {
			s.rows.TryResize(division.Rows())
			s.cache.Resize(bytes - division.Rows())
		}
	}
	if share && s.rows != nil {
		s.rows.Notify(look)
		s.cache.Notify(look)
	}
	for _, op := range l.Ops {
		if op.Count == 0 {
			s.get(op.Key)
			continue
		}
		for b := op.Key / blockRows; b <= min(op.Key+op.Count-1, uint32(l.Keys-1))/blockRows; b++ {
			s.block(b, (*cache.Part[uint32]).AddScanned)
		}
	}
	s.work.RowPart = float64(division.Rows()) / float64(bytes)
	return s.work
}

func (s *shared) get(key uint32) {
	s.work.Gets++
	binary.BigEndian.PutUint32(s.key[12:], key)
	q := rowcache.Query{Key: s.key[:], Hash: keyhash.Of(s.key[:]), Version: math.MaxUint64, Sequence: math.MaxUint64}
	var hit bool
	if s.to, hit = s.rows.Get(&q, s.to[:0]); hit {
		s.work.RowHits++
		return
	}
	s.block(key/blockRows, (*cache.Part[uint32]).Add)
	s.rows.Fill(&q, &rowcache.Row{Version: 1, Sequence: 1, Value: s.value[:]})
}

func (s *shared) block(number uint32, add func(*cache.Part[uint32], cache.Place, uint32, int)) {
	s.work.Blocks++
	place := cache.Place{File: uint64(number) >> 10, Offset: uint64(number&1023) * blockBytes}
	if _, hit := s.blocks.Get(place); !hit {
		s.work.Reads++
		add(s.blocks, place, number, blockBytes)
	}
}

func (s *shared) counts() budget.Work {
	r, b := s.rows.Stats(), s.cache.Stats()
	return budget.Work{
		Rows:   budget.Cached{Hits: r.Hits, Misses: r.Misses, Near: r.Near, Far: r.Far, Count: r.Rows, Bytes: r.Bytes},
		Blocks: budget.Cached{Hits: b.Hits, Misses: b.Misses, Near: b.Near, Far: b.Far, Count: b.Count, Bytes: b.Bytes},
	}
}

// Points is the load of a trace's keys, each read alone.
func Points(t Trace) Load {
	l := Load{Name: t.Name, Keys: t.Keys}
	for _, key := range t.Read {
		l.Ops = append(l.Ops, Op{Key: key})
	}
	return l
}

// Neighbours is Zipf of keys whose popular ones lie beside each other.
func Neighbours(seed uint64, keys, reads int) Load {
	p := newPopularity(keys, rand.New(rand.NewPCG(seed, 4)))
	for i := range p.keys {
		p.keys[i] = i
	}
	l := Load{Name: "Zipf 0.99, popular keys are neighbours", Keys: keys}
	for range reads {
		l.Ops = append(l.Ops, Op{Key: p.draw()})
	}
	return l
}

// Uniform reads every key with the same probability.
func Uniform(seed uint64, keys, reads int) Load {
	random := rand.New(rand.NewPCG(seed, 5))
	l := Load{Name: "uniform", Keys: keys}
	for range reads {
		l.Ops = append(l.Ops, Op{Key: random.Uint32N(uint32(keys))})
	}
	return l
}

// Scans begin anywhere, and read so many rows each.
func Scans(seed uint64, keys, scans, rows int) Load {
	random := rand.New(rand.NewPCG(seed, 6))
	l := Load{Name: "short scans", Keys: keys}
	for range scans {
		l.Ops = append(l.Ops, Op{Key: random.Uint32N(uint32(keys)), Count: uint32(rows)})
	}
	return l
}

// FullScans reads the first rows in their order, again and again, so many rows at a time.
func FullScans(keys, rows, ops, each int) Load {
	l := Load{Name: "scans of the same range", Keys: keys}
	for i := range ops {
		l.Ops = append(l.Ops, Op{Key: uint32(i * each % rows), Count: uint32(each)})
	}
	return l
}

// Mixed takes from two loads in turns, so many operations of each.
func Mixed(name string, a Load, as int, b Load, bs int) Load {
	l := Load{Name: name, Keys: max(a.Keys, b.Keys)}
	for i, j := 0, 0; i+as <= len(a.Ops) && j+bs <= len(b.Ops); i, j = i+as, j+bs {
		l.Ops = append(append(l.Ops, a.Ops[i:i+as]...), b.Ops[j:j+bs]...)
	}
	return l
}

// Phases is one load after another.
func Phases(name string, loads ...Load) Load {
	l := Load{Name: name}
	for _, part := range loads {
		l.Keys = max(l.Keys, part.Keys)
		l.Ops = append(l.Ops, part.Ops...)
	}
	return l
}

// SharedLoads are the loads that the shares of rows and blocks are judged by, for a cache of so many keys' rows.
func SharedLoads(seed uint64, keys, reads int) []Load {
	zipf, uniform := Points(Zipf(seed, keys, reads)), Uniform(seed, keys, reads)
	short, full := Scans(seed, keys, reads/4, 100), FullScans(keys, keys/3, reads/8, 1000)
	return []Load{
		zipf, Neighbours(seed, keys, reads), uniform, Points(Loop(keys, reads, keys/3)), Points(Shifting(seed, keys, reads)),
		short, full,
		Mixed("Zipf 0.99 with short scans", zipf, 100, short, 10),
		Mixed("Zipf 0.99 with long scans", zipf, 1000, full, 5),
		Phases("Zipf 0.99, then scans, then Zipf", zipf, full, zipf),
	}
}
