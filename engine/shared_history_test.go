package engine

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sort"
	"testing"

	"github.com/lightning-db/lightning/internal/testkit"
	"github.com/lightning-db/lightning/internal/vfs"
)

// neighbours are two stores of one runtime with keys that are prefixes and neighbours of each other. Snapshots and iterators stay open
// over batches, flushes, compactions, changes of the caches, and Close.
type neighbours struct {
	t       *testing.T
	seed    uint64
	step    int
	random  *rand.Rand
	options Options
	stores  []*neighbour
}

// neighbour is one of them, with what it must show.
type neighbour struct {
	db        *DB
	name      string
	rows      map[string]string
	snapshots []*standing
	iterators []*course
}

// standing is a snapshot with what it sees.
type standing struct {
	*Snapshot
	rows map[string]string
}

// course is an iterator with the keys that it walks over, and where it is; -1 if nowhere.
type course struct {
	it         *Iterator
	keys       []string
	rows       map[string]string
	at         int
	last       Row
	key, value string // copies of the last row's
}

// TestStoresOfARuntimeShowTheirOwnRowsOnly compares all that is read with plain maps.
func TestStoresOfARuntimeShowTheirOwnRowsOnly(t *testing.T) {
	seed := uint64(testkit.Seed(t))
	for n := range uint64(12 / min(slower, 4)) {
		s := &neighbours{t: t, seed: seed + n, random: rand.New(rand.NewPCG(seed+n, 3))}
		s.run()
	}
}

func (s *neighbours) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatalf("seed %d, step %d: %v", s.seed, s.step, err)
	}
}

func (s *neighbours) key() []byte {
	k := make([]byte, 1+s.random.IntN(6))
	for i := range k {
		k[i] = []byte{0, 0xff, 'a'}[s.random.IntN(3)]
	}
	return k
}

func (s *neighbours) run() {
	r := newRuntime(RuntimeOptions{
		CacheBytes: 1 << s.random.IntN(22), MemtableBytes: []int{0, 100 << 10, 300 << 10}[s.random.IntN(3)], CompactionCount: s.random.IntN(3),
	})
	s.options = small(vfs.NewMem())
	s.options.Runtime, s.options.CacheBytes = r, 0
	s.options.Compression = Compression(s.random.IntN(4))
	s.options.Log = []LogMode{LogOff, LogNever, LogAlways}[s.random.IntN(3)]
	for _, name := range []string{"a", "b"} {
		s.stores = append(s.stores, &neighbour{db: mustOpen(s.t, name, s.options), name: name, rows: map[string]string{}})
	}
	for s.step = range 400 {
		n := s.stores[s.random.IntN(2)]
		switch c := s.random.IntN(30); {
		case c < 10:
			s.apply(n)
		case c < 14:
			s.change(n, c)
		case c == 14:
			r.SetCacheBytes(1 << s.random.IntN(22))
		case c < 20:
			s.get(n)
		default:
			s.iterate(n)
		}
		s.unchanged()
	}
	for _, n := range s.stores {
		s.end(n)
	}
}

func (s *neighbours) apply(n *neighbour) {
	b := n.db.NewBatch()
	for range 1 + s.random.IntN(80) {
		k := s.key()
		if s.random.IntN(3) == 0 {
			b.Delete(k, 0)
			delete(n.rows, string(k))
			continue
		}
		if s.random.IntN(60) == 0 {
			s.deleteRange(n, b, k)
			continue
		}
		v := fmt.Sprintf("%s/%d/%d/%s", n.name, s.step, s.random.IntN(1000), bytes.Repeat([]byte{'v'}, s.random.IntN(400)))
		if s.random.IntN(300) == 0 {
			v += string(make([]byte, 70_000))
		}
		b.Put(k, []byte(v), 0, 0)
		n.rows[string(k)] = v
	}
	s.must(n.db.Apply(b))
}

// deleteRange deletes up to another key, or the least range that has the key.
func (s *neighbours) deleteRange(n *neighbour, b *Batch, start []byte) {
	end := s.key()
	switch c := bytes.Compare(start, end); {
	case c == 0 || s.random.IntN(3) == 0:
		end = append(bytes.Clone(start), 0)
	case c > 0:
		start, end = end, start
	}
	b.DeleteRange(start, end, 0)
	maps.DeleteFunc(n.rows, func(k, _ string) bool { return k >= string(start) && k < string(end) })
}

// change does what must not change what is read.
func (s *neighbours) change(n *neighbour, how int) {
	switch {
	case how == 10:
		s.must(n.db.Flush())
	case how == 11 && s.random.IntN(3) == 0:
		s.must(n.db.Compact(s.t.Context()))
	case how == 12 && len(n.snapshots) < 4:
		n.snapshots = append(n.snapshots, &standing{n.db.Snapshot(), maps.Clone(n.rows)})
	case how == 12:
		n.snapshots[0].Close()
		n.snapshots = n.snapshots[1:]
	case how == 13 && s.random.IntN(4) == 0:
		for _, one := range n.snapshots {
			one.Close()
		}
		for _, c := range n.iterators {
			s.must(c.it.Close())
		}
		n.snapshots, n.iterators = nil, nil
		s.must(n.db.Close())
		n.db = mustOpen(s.t, n.name, s.options)
	}
}

func (s *neighbours) get(n *neighbour) {
	for range 20 {
		k, rows, get := s.key(), n.rows, n.db.Get
		if len(n.snapshots) > 0 && s.random.IntN(2) == 0 {
			one := n.snapshots[s.random.IntN(len(n.snapshots))]
			rows, get = one.rows, one.Get
		}
		want, wanted := rows[string(k)]
		row, ok, err := get(k, MaxVersion)
		s.must(err)
		if ok != wanted || ok && string(row.Value) != want {
			s.t.Fatalf("seed %d, step %d: %q is there: %v, want %v", s.seed, s.step, k, ok, wanted)
		}
	}
}

func (s *neighbours) iterate(n *neighbour) {
	if len(n.iterators) == 0 || len(n.iterators) < 5 && s.random.IntN(2) == 0 {
		if len(n.snapshots) > 0 && s.random.IntN(2) == 0 {
			one := n.snapshots[s.random.IntN(len(n.snapshots))]
			n.iterators = append(n.iterators, s.course(one.Snapshot, one.rows))
		} else {
			now := n.db.Snapshot()
			n.iterators = append(n.iterators, s.course(now, maps.Clone(n.rows)))
			now.Close()
		}
	}
	i := s.random.IntN(len(n.iterators))
	for range 60 {
		s.move(n.iterators[i])
	}
	if s.random.IntN(3) == 0 {
		s.must(n.iterators[i].it.Close())
		n.iterators = slices.Delete(n.iterators, i, i+1)
	}
}

func (s *neighbours) course(from *Snapshot, rows map[string]string) *course {
	c := &course{rows: rows, at: -1}
	var o IteratorOptions
	if s.random.IntN(2) == 0 {
		o.Start = s.key()
	}
	if s.random.IntN(2) == 0 {
		o.End = s.key()
	}
	for k := range rows {
		if k >= string(o.Start) && (o.End == nil || k < string(o.End)) {
			c.keys = append(c.keys, k)
		}
	}
	sort.Strings(c.keys)
	c.it = from.NewIterator(o)
	return c
}

// move makes a random move. One from nowhere leads nowhere.
func (s *neighbours) move(c *course) {
	k, stands := s.key(), c.at >= 0
	var ok bool
	n := s.random.IntN(12)
	switch {
	case n == 0:
		ok, c.at = c.it.First(), 0
	case n == 1:
		ok, c.at = c.it.Last(), len(c.keys)-1
	case n == 2:
		ok, c.at = c.it.SeekGE(k), sort.SearchStrings(c.keys, string(k))
	case n == 3:
		ok, c.at = c.it.SeekLT(k), sort.SearchStrings(c.keys, string(k))-1
	case n < 8:
		if ok = c.it.Next(); stands {
			c.at++
		}
	default:
		if ok = c.it.Prev(); stands {
			c.at--
		}
	}
	if c.at >= len(c.keys) {
		c.at = -1
	}
	if ok != (c.at >= 0) || c.it.Valid() != ok || c.it.Err() != nil {
		s.t.Fatalf("seed %d, step %d, move %d to %q: %v, want %d of %d, %v", s.seed, s.step, n, k, ok, c.at, len(c.keys), c.it.Err())
	}
	if !ok {
		return
	}
	c.last = c.it.Row()
	c.key, c.value = string(c.last.Key), string(c.last.Value)
	if c.key != c.keys[c.at] || c.value != c.rows[c.key] {
		s.t.Fatalf("seed %d, step %d, move %d: at %q, want %q", s.seed, s.step, n, c.key, c.keys[c.at])
	}
}

// unchanged wants the rows of iterators to stay what they are until the next move.
func (s *neighbours) unchanged() {
	for _, n := range s.stores {
		for _, c := range n.iterators {
			if c.it.Valid() && (string(c.last.Key) != c.key || string(c.last.Value) != c.value) {
				s.t.Fatalf("seed %d, step %d: the row %q changed under its holder", s.seed, s.step, c.key)
			}
		}
	}
}

// end closes the store before its iterators, or after them.
func (s *neighbours) end(n *neighbour) {
	for _, one := range n.snapshots {
		one.Close()
	}
	early := s.random.IntN(2) == 0
	if early {
		s.must(n.db.Close())
	}
	for _, c := range n.iterators {
		for range 60 {
			s.move(c)
		}
		s.must(c.it.Close())
	}
	if !early {
		s.must(n.db.Verify(s.t.Context()))
		s.must(n.db.Close())
	}
}
